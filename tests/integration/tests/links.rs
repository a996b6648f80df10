//! Links between kernels: two and three rump kernels on buses, and a rump kernel beside Linux on a tap interface.

use std::path::Path;
use std::process::Command;

use integration::{Rump, Transport, built, have, limited, output, stdout};

/// A kernel whose addresses need not be tried out first.
fn kernel() -> Rump {
    let rump = Rump::start(Transport::Unix);
    rump.ctl(&["sysctl", "net.inet6.ip6.dad_count=0"]);
    rump
}

/// Puts an interface on a bus.
fn join(rump: &Rump, interface: &str, bus: &Path, addresses: [&str; 2]) {
    let bus = bus.to_str().unwrap();
    rump.ctl(&["ifconfig", interface, "create", "linkstr", bus, "inet", addresses[0], "inet6", addresses[1]]);
}

/// A web server on a kernel, which ends with the value.
struct Web(std::process::Child);

impl Web {
    /// Serves the folder of the kernel.
    fn start(rump: &Rump, address: &str, port: &str) -> Web {
        let mut command = rump.command("python3");
        command.args(["-m", "http.server", port, "--bind", address]).current_dir(rump.folder());
        let null = std::process::Stdio::null;
        Web(command.stdout(null()).stderr(null()).spawn().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // The launcher has become the program; `timeout` passes the signal on.
        // SAFETY: plain kill(2) of a child that is not waited for yet.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

/// Bytes that are never the same for long.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// Fetches a file by a kernel; tries again as long as nobody listens yet.
fn fetch(rump: &Rump, url: &str) -> Vec<u8> {
    let script = r#"until curl -gsS -o "$2" "$1"; do [ $? = 7 ] && sleep 0.05 || exit 1; done"#;
    let file = rump.folder().join("got");
    stdout(rump.command("bash").args(["-c", script, "fetch", url]).arg(&file));
    std::fs::read(&file).unwrap()
}

#[test]
fn two_kernels_on_a_bus_speak_through_a_third_that_forwards() {
    if !have("curl") || !have("python3") {
        return;
    }
    let (one, two, between) = (kernel(), kernel(), kernel());
    let buses = tempfile::tempdir().unwrap();
    let (left, right) = (buses.path().join("left"), buses.path().join("right"));
    join(&one, "shmif0", &left, ["10.1.0.1/24", "fd01::1/64"]);
    join(&two, "shmif0", &right, ["10.2.0.2/24", "fd02::2/64"]);
    join(&between, "shmif0", &left, ["10.1.0.3/24", "fd01::3/64"]);
    join(&between, "shmif1", &right, ["10.2.0.3/24", "fd02::3/64"]);
    between.ctl(&["sysctl", "net.inet.ip.forwarding=1", "net.inet6.ip6.forwarding=1"]);
    one.ctl(&["route", "add", "default", "10.1.0.3"]);
    one.ctl(&["route", "add", "-inet6", "default", "fd01::3"]);
    two.ctl(&["route", "add", "-net", "10.1.0.0/24", "10.2.0.3"]);
    two.ctl(&["route", "add", "fd01::/64", "fd02::3"]);

    let content = noise(10_000_000);
    std::fs::write(two.folder().join("file"), &content).unwrap();
    let capture = buses.path().join("capture.pcapng");
    two.ctl(&["pcap", "shmif0", capture.to_str().unwrap()]);
    {
        let _web = (Web::start(&two, "10.2.0.2", "80"), Web::start(&two, "fd02::2", "80"));
        assert!(fetch(&one, "http://10.2.0.2/file") == content, "10 MB over IPv4");
        two.ctl(&["pcap", "shmif0", "off"]);
        // A link that loses and disorders still delivers.
        one.ctl(&["netem", "shmif0", "loss", "3%", "reorder", "3%", "delay", "1ms", "seed", "7"]);
        std::fs::write(two.folder().join("file"), &content[..500_000]).unwrap();
        assert!(fetch(&one, "http://[fd02::2]/file") == content[..500_000], "IPv6 over a bad link");
    }
    let (packets, wrong) = check(&std::fs::read(&capture).unwrap());
    assert!(packets > 7000, "{packets} packets");
    assert_eq!(wrong, Vec::<String>::new());

    let ping = one.ctl(&["ping", "-c", "2", "-i", "0.01", "10.2.0.2"]);
    assert!(ping.contains("64 bytes from 10.2.0.2: icmp_seq=") && ping.contains("ttl=63"), "{ping}");
    one.ctl(&["netem", "shmif0", "off"]);
    let way = one.ctl(&["traceroute", "-q", "1", "fd02::2"]);
    let hosts: Vec<&str> = way.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(hosts, ["fd01::3", "fd02::2"], "{way}");
    let counted = between.ctl(&["--json", "netstat", "-s"]);
    assert!(!counted.contains("\"forwarded\":0,"), "{counted}");

    // What is known of the neighbours, and of the way.
    assert!(one.ctl(&["arp", "-a"]).contains("? (10.1.0.3) at b2:a0:"), "{}", one.ctl(&["arp", "-a"]));
    assert!(one.ctl(&["ndp", "-a"]).contains("fd01::3"), "{}", one.ctl(&["ndp", "-a"]));
    let way = one.ctl(&["route", "get", "10.2.0.2"]);
    assert!(way.contains("gateway: 10.1.0.3") && way.contains("interface: shmif0"), "{way}");
    one.ctl(&["ifconfig", "shmif0", "destroy"]);
    assert_eq!(one.ctl(&["ifconfig", "-l"]), "lo0\n");
    assert_eq!(one.sh("python3 -c 'import socket; print(socket.socket().connect_ex((\"10.2.0.2\", 80)))'"), "101\n");
}

#[test]
fn two_kernels_speak_over_a_socket_as_qemu_does() {
    if !have("curl") || !have("python3") {
        return;
    }
    let (one, two) = (kernel(), kernel());
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", folder.path().join("socket").display());
    let connect = |rump: &Rump, to: &str, addresses: [&str; 2]| {
        rump.ctl(&["ifconfig", "qemu0", "create", "linkstr", to, "inet", addresses[0], "inet6", addresses[1]]);
    };
    connect(&one, &format!("listen:{socket}"), ["10.3.0.1/24", "fd03::1/64"]);
    connect(&two, &socket, ["10.3.0.2/24", "fd03::2/64"]);
    let content = noise(3_000_000);
    std::fs::write(one.folder().join("file"), &content).unwrap();
    let _web = Web::start(&one, "10.3.0.1", "80");
    assert!(fetch(&two, "http://10.3.0.1/file") == content);
    assert!(two.ctl(&["ping", "-c", "1", "fd03::1"]).contains("1 packets received"));
    // Another one comes when the first has gone.
    two.ctl(&["ifconfig", "qemu0", "destroy"]);
    connect(&two, &socket, ["10.3.0.2/24", "fd03::2/64"]);
    assert!(fetch(&two, "http://10.3.0.1/file") == content);
    let refused =
        output(limited(built("rumpctl")).args(["-s", &one.url(), "ifconfig", "qemu1", "create", "linkstr", "x"]));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Invalid argument"));
}

/// Reads a capture with blocks of pcapng: how many packets there are, and which have a wrong checksum.
fn check(file: &[u8]) -> (usize, Vec<String>) {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut packets, mut wrong) = (0, 0, Vec::new());
    assert_eq!((word(0), word(8)), (0x0a0d_0d0a, 0x1a2b_3c4d));
    while at < file.len() {
        let (kind, length) = (word(at), word(at + 4));
        assert_eq!(word(at + length - 4), length, "the length stands at both ends");
        if kind == 6 {
            packets += 1;
            let frame = &file[at + 28..at + 28 + word(at + 20)];
            wrong.extend(judge(frame).map(|what| format!("packet {packets}: {what}")));
        }
        at += length;
    }
    (packets, wrong)
}

/// The checksum over parts, each but the last of even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let total: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (total & 0xffff) + (total >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn judge(frame: &[u8]) -> Option<&'static str> {
    let packet = &frame[14..];
    match (frame[12], frame[13]) {
        (8, 6) => (packet.len() < 28).then_some("a short ARP packet"),
        (8, 0) => {
            let total = usize::from(packet[2]) << 8 | usize::from(packet[3]);
            let (header, payload) = packet[..total].split_at(20);
            let length = (payload.len() as u16).to_be_bytes();
            let pseudo = [&header[12..20], &[0, header[9]], &length].concat();
            match header[9] {
                _ if sum(&[header]) != 0 => Some("a wrong checksum of IPv4"),
                6 | 17 if sum(&[&pseudo, payload]) != 0 => Some("a wrong checksum of TCP or UDP"),
                1 if sum(&[payload]) != 0 => Some("a wrong checksum of ICMP"),
                _ => None,
            }
        }
        (0x86, 0xdd) => {
            let (header, payload) = packet.split_at(40);
            // What tells routers of groups has a header for them.
            let (next, payload) = match header[6] {
                0 => (payload[0], &payload[8 + 8 * usize::from(payload[1])..]),
                next => (next, payload),
            };
            let length = (payload.len() as u32).to_be_bytes();
            let pseudo = [&header[8..40], &length, &[0, 0, 0, next]].concat();
            (sum(&[&pseudo, payload]) != 0).then_some("a wrong checksum over IPv6")
        }
        _ => Some("an unknown kind"),
    }
}

/// Whether this host lets us make a network namespace with a tap interface; says so when not.
fn has_tap() -> bool {
    let tried = output(limited("unshare").args(["-n", "ip", "tuntap", "add", "dev", "try0", "mode", "tap"]));
    if !tried.status.success() {
        eprintln!("skipped: no tap interface in a network namespace: {}", String::from_utf8_lossy(&tried.stderr));
    }
    tried.status.success()
}

#[test]
fn linux_and_a_rump_kernel_speak_over_a_tap_interface() {
    if !have("curl") || !have("python3") || !have("ip") || !has_tap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), noise(3_000_000)).unwrap();
    let mut command = limited("unshare");
    command.args(["-n", "bash", "-euc", include_str!("data/tap.sh")]).current_dir(folder.path());
    let folder = |name: &str| built(name).into_os_string();
    command.env("SERVER", folder("rump_server")).env("CTL", folder("rumpctl")).env("HIJACK", folder("rumphijack"));
    let told = stdout(&mut command);
    let expected = "echo 4: 64 4008\necho 6: 64\nto rump 4: same\nto rump 6: same\nto linux 4: same\nto linux 6: same\n\
                    refused: 111 111\nnobody: 113\nudp: pong pong\ndatagram of 5000 bytes: 5000\nlinux asks: refused\n";
    assert_eq!(told, expected);
}

#[test]
fn words_that_make_no_sense_are_refused_with_a_reason() {
    let rump = kernel();
    let refused = |args: &[&str]| {
        let done = output(Command::new(built("rumpctl")).args(["-s", &rump.url()]).args(args));
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&done.stderr).trim_start_matches("rumpctl: ").trim().to_owned()
    };
    assert_eq!(refused(&["ifconfig", "shmif0"]), "shmif0: No such device or address");
    assert_eq!(refused(&["ifconfig", "eth0", "create"]), "eth0: create: Invalid argument");
    rump.ctl(&["ifconfig", "shmif0", "create"]);
    assert_eq!(refused(&["ifconfig", "shmif0", "create"]), "shmif0: create: File exists");
    assert_eq!(refused(&["ifconfig", "shmif0", "up"]), "shmif0: up: No such device or address");
    assert_eq!(refused(&["netem", "shmif0", "loss", "many"]), "shmif0: Invalid argument");
    assert_eq!(refused(&["route", "add", "10.5.0.0/16", "10.4.0.1"]), "10.5.0.0/16: Network is unreachable");
    let text = std::env::temp_dir().join(format!("no-bus-{}", std::process::id()));
    std::fs::write(&text, "no bus, but text").unwrap();
    let path = text.to_str().unwrap().to_owned();
    assert_eq!(refused(&["ifconfig", "shmif0", "linkstr", &path]), format!("shmif0: {path}: Exec format error"));
    std::fs::remove_file(&text).unwrap();
}
