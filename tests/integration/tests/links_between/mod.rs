//! Runs scripts of `data/links` over a link.

use std::process::Command;

use integration::{built, have, limited, limited_to, output, stdout};

/// Seconds after which a run counts as hung: over a bad link TCP may have to wait for some.
const LIMIT: u32 = 300;

/// What lies between the two sides; see `data/links/net.sh`.
#[derive(Clone, Copy, PartialEq)]
pub enum Link {
    /// Linux and a rump kernel.
    Tap,
    /// The same through a rump kernel that forwards.
    TapRouted,
    /// Two rump kernels.
    Bus,
    /// The same through a third.
    BusRouted,
}

/// A script, what it uses, and what it says when all is right. Words in braces stand for the addresses.
struct Script {
    name: &'static str,
    text: &'static str,
    uses: &'static [&'static str],
    says: fn(&Ends) -> Vec<String>,
}

/// The addresses of both sides.
struct Ends {
    left: [&'static str; 2],
    right: [&'static str; 2],
}

impl Ends {
    /// Who asks whom, in the order of the scripts.
    fn each(&self) -> [(&'static str, &'static str); 4] {
        let ([left4, left6], [right4, right6]) = (self.left, self.right);
        [("left", right4), ("left", right6), ("right", left4), ("right", left6)]
    }

    fn lines(&self, line: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
        self.each().iter().flat_map(|(side, address)| line(side, address)).collect()
    }
}

macro_rules! script {
    ($name:literal, $($uses:literal)*, $says:expr) => {
        Script { name: $name, text: include_str!(concat!("../data/links/", $name, ".sh")), uses: &[$($uses),*], says: $says }
    };
}

const SCRIPTS: &[Script] = &[
    script!("ping", "ping", |ends| ends
        .lines(|side, to| [56, 4000].iter().map(|size| format!("ping: {side} asks {to}, {size}: 1")).collect())),
    script!("curl", "curl" "nginx", |ends| ends.lines(|side, to| vec![format!("curl: {side} from {to}: same")])),
    script!("dig", "dig" "dnsmasq", |ends| ends.lines(|side, to| {
        let many = "2583568980 1692";
        vec![
            format!("dig: {side} @{to} one.test: 392777117 9"),
            format!("dig: {side} @{to} +bufsize=4096 +ignore many.test: {many}"),
            format!("dig: {side} @{to} +tcp many.test: {many}"),
        ]
    })),
    script!("iperf3", "iperf3" "python3", |ends| ends.lines(|side, to| {
        let runs = [("-n", 1), ("-n -R", 1), ("-n -P 4", 4), ("-u", 1), ("-u -R", 1)];
        runs.iter().map(|(words, streams)| format!("iperf3: {side} to {to}, {words}: moved on {streams}")).collect()
    })),
    script!("ssh", "ssh" "sshd" "python3" "curl", |ends| {
        let mut lines = ends.lines(|side, to| vec![format!("ssh: {side} at {to}: same")]);
        lines.push(format!("ssh: left through a port forwarded to {}: same", ends.right[0]));
        lines.push(format!("ssh: right through a port forwarded to {}: same", ends.left[1]));
        lines
    }),
    script!("redis", "redis-server" "redis-cli", |_| {
        vec!["redis: the replica has it all".into(), "master_link_status:up".into()]
    }),
    script!("asyncio", "python3", |ends| {
        let asked = [ends.right[0], ends.left[1]];
        asked.iter().map(|to| format!("asyncio: {to} heard 2000 of 2000")).collect()
    }),
];

/// A shell in namespaces of its own, so that nothing outlives it.
fn alone() -> Command {
    let mut command = limited_to(LIMIT, "unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-euc"]);
    command
}

/// Runs scripts over a link, the file that they send being so long.
pub fn run(link: Link, worse: &str, bytes: usize, names: &[&str]) {
    let scripts = names.iter().map(|name| SCRIPTS.iter().find(|script| script.name == *name).expect("a script"));
    let scripts: Vec<_> = scripts.filter(|script| script.uses.iter().all(|program| have_daemon(program))).collect();
    let try_out = if matches!(link, Link::Tap | Link::TapRouted) { "ip tuntap add dev try0 mode tap" } else { "true" };
    let tried = output(alone().arg(try_out));
    if !tried.status.success() {
        eprintln!("skipped: no namespace of our own: {}", String::from_utf8_lossy(&tried.stderr));
        return;
    }
    let (word, near) = match link {
        Link::Tap => ("tap", true),
        Link::TapRouted => ("tap-routed", false),
        Link::Bus => ("bus", true),
        Link::BusRouted => ("bus-routed", false),
    };
    let right = if near { ["10.1.0.2", "fd01::2"] } else { ["10.2.0.2", "fd02::2"] };
    let ends = Ends { left: ["10.1.0.1", "fd01::1"], right };
    let folder = tempfile::tempdir().unwrap();
    let texts = std::iter::once(include_str!("../data/links/net.sh")).chain(scripts.iter().map(|script| script.text));
    let mut command = alone();
    command.arg(texts.collect::<Vec<_>>().join("\n")).current_dir(folder.path());
    for (name, program) in [("SERVER", "rump_server"), ("CTL", "rumpctl"), ("HIJACK", "rumphijack")] {
        command.env(name, built(program));
    }
    command.env("LINK", word).env("WORSE", worse).env("BYTES", bytes.to_string());
    let told = stdout(&mut command);
    let expected: Vec<String> = scripts.iter().flat_map(|script| (script.says)(&ends)).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    // What a link has spoilt on purpose is wrong indeed.
    if have("tshark") && !worse.contains("corrupt") {
        assert_eq!(faults(&folder.path().join("capture.pcapng")), "", "what tshark says");
    }
}

/// Daemons are where users have no need to look.
fn have_daemon(program: &str) -> bool {
    std::path::Path::new("/usr/sbin").join(program).is_file() || have(program)
}

/// The packets that tshark finds something wrong with.
fn faults(capture: &std::path::Path) -> String {
    // Linux writes 0xffff where the sum is 0, which is the same number (RFC 1624) and is taken for it, but tshark's word for it is Bad.
    let bad = ["ip", "tcp", "udp", "icmp", "icmpv6"]
        .map(|name| format!("({name}.checksum.status == \"Bad\" && {name}.checksum != 0xffff)"));
    // What a stream carries is the program's affair: noise sent as HTTP makes no sense to tshark.
    let filter = format!("(_ws.malformed && !(tcp.len > 0)) || _ws.short || {}", bad.join(" || "));
    let mut command = limited("tshark");
    command.args(["-n", "-r"]).arg(capture).args(["-Y", &filter]);
    // What comes twice or in disorder confuses only the reassembly.
    for setting in [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.desegment_tcp_streams:FALSE",
    ] {
        command.args(["-o", setting]);
    }
    assert!(std::fs::metadata(capture).unwrap().len() > 1000, "an empty capture");
    stdout(&mut command)
}
