//! The commands: launcher, server and rumpctl, their status, messages, signals, and what they leave behind.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use integration::{Rump, Transport, built, limited, output, stdout, until};

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
        && !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default().contains(") Z ")
}

#[test]
fn the_launcher_ends_as_the_program_did() {
    let rump = Rump::start(Transport::Private);
    assert_eq!(output(rump.command("sh").args(["-c", "exit 7"])).status.code(), Some(7));
    // timeout(1), which limits the launcher, ends by the same signal.
    assert_eq!(output(rump.command("sh").args(["-c", "kill -TERM $$"])).status.signal(), Some(libc::SIGTERM));
    assert_eq!(output(&mut rump.command("/no/such/program")).status.code(), Some(127));
    assert_eq!(output(&mut rump.command("/etc/passwd")).status.code(), Some(126));
}

#[test]
fn the_launcher_passes_signals_on_and_leaves_nothing_behind() {
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGKILL] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(built("rumphijack"));
        command.env("TMPDIR", folder.path()).args(["--", "sh", "-c", "echo $$; echo ready > /rump/tmp/f; exec cat"]);
        let mut launcher = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(launcher.stdout.take().unwrap()), &mut line).unwrap();
        let program: i32 = line.trim().parse().unwrap();
        // Kept open: the program must not end by itself.
        let _input = launcher.stdin.take();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the private server's folder");
        // SAFETY: plain kill(2) of our own child.
        unsafe { libc::kill(launcher.id() as i32, signal) };
        let status = launcher.wait().unwrap();
        assert!(!status.success());
        until("the program ends", || !alive(program));
        until("the folder goes", || std::fs::read_dir(folder.path()).unwrap().count() == 0);
    }
}

#[test]
fn what_a_program_leaves_behind_ends_with_the_private_server() {
    let rump = Rump::start(Transport::Private);
    let script = "exec 3<> /rump/dev/null; python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 0)).accept()' \
                  > /dev/null 2>&1 & echo $!";
    let left: i32 = stdout(rump.command("sh").args(["-ec", script])).trim().parse().unwrap();
    until("the program left behind ends", || !alive(left));
}

#[test]
fn mistakes_give_one_clear_line_and_status_1() {
    let missing =
        limited(built("rumphijack")).args(["--server", "unix:///nonexistent/socket", "--", "true"]).output().unwrap();
    let wrong = limited(built("rumphijack")).args(["--server", "carrier-pigeon://x", "--", "true"]).output().unwrap();
    let rump = Rump::start(Transport::Unix);
    let string = output(rump.launch(&["--config", "pth=/rump"], "true").stderr(Stdio::piped()));
    let prefix = output(&mut rump.launch(&["--config", "path=rump"], "true"));
    for done in [missing, wrong, string, prefix] {
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(done.stdout.is_empty());
    }
}

#[test]
fn the_server_detaches_when_it_accepts_and_ends_cleanly() {
    let rump = Rump::start(Transport::Unix);
    let (pid, socket) = (rump.pid(), rump.folder().join("socket"));
    assert!(alive(pid) && socket.exists());
    let again = output(limited(built("rump_server")).arg(rump.url()));
    assert_eq!(again.status.code(), Some(48), "EADDRINUSE of NetBSD");
    // SAFETY: plain kill(2) of our own server.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    until("the server ends", || !alive(pid));
    assert!(!socket.exists());
    std::fs::remove_file(rump.folder().join("pid")).ok();
}

#[test]
fn the_server_stays_in_the_foreground_with_s() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/socket", folder.path().display());
    let mut server =
        std::process::Command::new(built("rump_server")).args(["-s", &url]).stdout(Stdio::piped()).spawn().unwrap();
    until("it serves", || limited(built("rumpctl")).args(["-s", &url, "ps"]).output().unwrap().status.success());
    // SAFETY: plain kill(2) of our own child.
    unsafe { libc::kill(server.id() as i32, libc::SIGINT) };
    assert!(server.wait().unwrap().success());
    assert!(!folder.path().join("socket").exists());
}

#[test]
fn the_server_aborts_after_a_halt_with_a_dump() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/socket", folder.path().display());
    let mut command = std::process::Command::new(built("rump_server"));
    // A core file would be left in the working directory.
    let mut server = command.args(["-s", &url]).current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    until("it serves", || limited(built("rumpctl")).args(["-s", &url, "ps"]).output().unwrap().status.success());
    stdout(limited(built("rumpctl")).args(["-s", &url, "halt", "-d"]));
    assert_eq!(server.wait().unwrap().signal(), Some(libc::SIGABRT));
    assert!(!folder.path().join("socket").exists());
}

#[test]
fn the_server_refuses_bad_usage() {
    for args in [
        &["-x", "unix://s"][..],
        &[],
        &["unix://a", "unix://b"],
        &["-d", "key=/a", "unix://s"],
        &["-l", "nosuchlib", "unix://s"],
    ] {
        let done = limited(built("rump_server")).args(args).output().unwrap();
        assert!(!done.status.success() && !done.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn the_server_exposes_host_files() {
    let folder = tempfile::tempdir().unwrap();
    let (url, image) = (format!("unix://{}/socket", folder.path().display()), folder.path().join("img"));
    let content: Vec<u8> = (0..64 * 512u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&image, &content).unwrap();
    let image = image.to_str().unwrap();
    let drives = [
        format!("key=/file,hostpath={image},size=host,type=reg"),
        format!("key=/dk,hostpath={image},size=host"),
        format!("key=//odd//part,hostpath={image},offset=16000,size=16000"),
        format!("key=/raw,hostpath={}/new,size=8k,type=chr", folder.path().display()),
    ];
    let mut server = limited(built("rump_server"));
    server.args(drives.iter().flat_map(|drive| ["-d", drive])).arg(&url);
    stdout(&mut server);
    let run = |program: &str, args: &[&str]| {
        let mut command = limited(built("rumphijack"));
        let done = output(command.args(["--server", &url, "--", program]).args(args));
        assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    assert_eq!(run("cat", &["/rump/file"]), content);
    assert_eq!(run("cat", &["/rump/dk"]), content);
    assert_eq!(run("dd", &["if=/rump/odd//part", "bs=1000", "status=none"]), content[16000..32000]);
    assert_eq!(run("stat", &["-c", "%F %a %s", "/rump/file"]), b"regular file 755 32768\n");
    assert_eq!(run("stat", &["-c", "%F %a", "/rump/raw"]), b"character special file 660\n");
    let write = |from: &str, to: &str, seek: &str| {
        run("dd", &[&format!("if={from}"), &format!("of={to}"), "bs=512", "count=2", seek, "conv=notrunc,fsync"]);
    };
    write("/dev/urandom", "/rump/dk", "seek=3");
    write("/dev/urandom", "/rump/file", "seek=64");
    write("/rump/dk", "/rump/raw", "seek=14");
    let (now, new) = (std::fs::read(image).unwrap(), std::fs::read(folder.path().join("new")).unwrap());
    assert_eq!((now.len(), new.len()), (66 * 512, 8192), "a file grows, a disk is made as long as it shall be");
    assert!(now[..1536] == content[..1536] && now[1536..2560] != content[1536..2560] && now[2560] == content[2560]);
    assert_eq!(new[7168..], now[..1024]);
    assert_eq!(run("cat", &["/rump/file"]), now);
    let missing = format!("key=/d,hostpath={}/none,size=host", folder.path().display());
    for (drive, message, detached) in [
        (&*missing, "etfs hostpath open: No such file or directory", libc::ENOENT),
        (&format!("key=d,hostpath={image},size=1k"), "etfs register: Invalid argument", libc::EINVAL),
        (
            &format!("key=/d,hostpath={image},disklabel=a"),
            "disklabel not found: No such file or directory",
            libc::ENOENT,
        ),
        ("key=/d,hostpath=x,colour=red", "invalid dtoken", 1),
    ] {
        for (options, status) in [(&["-s", "-d", drive][..], 1), (&["-d", drive], detached)] {
            let done = output(limited(built("rump_server")).args(options).arg("unix:///nonexistent/socket"));
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(text.contains(message), "{drive}: {text}");
            assert_eq!(done.status.code(), Some(status), "{drive}: {text}");
        }
    }
    stdout(limited(built("rumpctl")).args(["-s", &url, "halt"]));
}

#[test]
fn rumpctl_looks_at_a_running_kernel() {
    let rump = Rump::start(Transport::Unix);
    assert!(rump.ctl(&["sysctl", "kern.ostype"]).starts_with("kern.ostype = NetBSD"));
    assert!(rump.ctl(&["sysctl", "-a"]).contains("hw.ncpu = "));
    assert!(rump.ctl(&["sysctl", "kern.hostname=elsewhere"]).ends_with("-> elsewhere\n"));
    assert_eq!(rump.ctl(&["sysctl", "kern.hostname"]), "kern.hostname = elsewhere\n");
    let interfaces = rump.ctl(&["ifconfig"]);
    assert!(
        interfaces.starts_with("lo0: flags=") && interfaces.contains("inet 127.0.0.1 netmask 0xff000000"),
        "{interfaces}"
    );
    assert!(interfaces.contains("inet6 ::1 prefixlen 128"), "{interfaces}");
    assert!(rump.ctl(&["mount"]).lines().any(|line| line.contains(" on / type tmpfs")));
    assert!(rump.ctl(&["ps"]).contains("rumpctl"));
    assert!(rump.ctl(&["--json", "ps"]).starts_with("[{"));
    stdout(limited(built("rumpctl")).args(["-s", &rump.url(), "halt"]));
    until("the server ends", || !rump.folder().join("socket").exists());
    std::fs::remove_file(rump.folder().join("pid")).ok();
}

#[test]
fn sockets_are_shown_with_who_has_them() {
    let rump = Rump::start(Transport::Unix);
    let script = "import os, socket, sys\n\
                  listener = socket.create_server(('127.0.0.1', 80))\n\
                  one = socket.create_connection(('127.0.0.1', 80)); two, _ = listener.accept(); one.send(b'12345')\n\
                  udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(('::1', 53))\n\
                  closed = socket.create_connection(('127.0.0.1', 80)); closed.close()\n\
                  local = socket.socket(socket.AF_UNIX); local.bind('/name'); local.listen(3)\n\
                  os.fork() or sys.stdin.read()\n\
                  print('ready', flush=True); sys.stdin.read()";
    let mut command = rump.launch(&["--config", "path=/rump,socket=all"], "python3");
    let mut python = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(python.stdout.as_mut().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");

    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let all = words(&rump.ctl(&["sockstat", "-l"]));
    let count = |rows: &[Vec<String>], tail: &[&str]| {
        rows.iter().filter(|row| row.ends_with(&tail.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())).count()
    };
    // Both processes have them.
    assert_eq!(count(&all, &["tcp", "127.0.0.1.80", "*.*"]), 2, "{all:?}");
    assert_eq!(count(&all, &["udp6", "::1.53", "*.*"]), 2, "{all:?}");
    assert_eq!(count(&all, &["stream", "/name", "*.*"]), 2, "{all:?}");
    assert!(all[1..].iter().all(|row| row[0] == "python3"), "{all:?}");
    let local = words(&rump.ctl(&["sockstat", "-u"]));
    assert_eq!(local.len(), 3, "{local:?}");
    // The sockets themselves: of the listener one connection that waits; of the accepted one five bytes.
    let active = rump.ctl(&["netstat", "-an"]);
    let find = |what: &str| active.lines().find(|line| line.split_whitespace().eq(what.split(' ')));
    assert!(find("tcp 1 128 127.0.0.1.80 *.* LISTEN").is_some(), "{active}");
    assert!(find("udp6 0 0 ::1.53 *.*").is_some(), "{active}");
    assert_eq!(active.lines().filter(|line| line.contains("ESTABLISHED")).count(), 2, "{active}");
    assert!(active.lines().any(|line| line.starts_with("tcp         5      0 127.0.0.1.80")), "{active}");
    assert!(active.contains("FIN_WAIT_2") && active.contains("CLOSE_WAIT"), "{active}");
    assert!(!rump.ctl(&["netstat"]).contains("LISTEN"));
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&rump.ctl(&["--json", "sockstat", "-v"])).unwrap();
    assert!(parsed.iter().any(|row| row["pid"].is_null() && row["state"] == "FIN_WAIT_2"), "{parsed:?}");
    assert!(parsed.iter().any(|row| row["command"] == "python3" && row["receive_queue"] == 5), "{parsed:?}");
    drop(python.stdin.take());
    assert!(python.wait().unwrap().success());
}

#[test]
fn what_was_counted_is_told_in_the_words_of_bsd() {
    let rump = Rump::start(Transport::Unix);
    rump.ctl(&["sysctl", "net.inet.tcp.fastloop=0"]);
    let script = "import socket\n\
                  listener = socket.create_server((\"127.0.0.1\", 80))\n\
                  one = socket.create_connection((\"127.0.0.1\", 80)); two, _ = listener.accept()\n\
                  one.sendall(bytes(100000)); one.shutdown(1)\n\
                  while two.recv(65536): pass\n\
                  print(socket.socket().connect_ex((\"127.0.0.1\", 81)))\n\
                  socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b\"x\", (\"::1\", 53))";
    assert_eq!(rump.sh(&format!("python3 -c '{script}'")), "111\n");
    rump.ctl(&["ping", "-c", "2", "-i", "0.01", "127.0.0.1"]);
    let counted: serde_json::Value = serde_json::from_str(&rump.ctl(&["--json", "netstat", "-s"])).unwrap();
    let of = |protocol: &str, words: &[&str]| -> Vec<u64> {
        words
            .iter()
            .map(|word| counted[protocol][word].as_u64().unwrap_or_else(|| panic!("{protocol} {word}")))
            .collect()
    };
    assert_eq!(of("tcp", &["bytes_sent", "bytes_received", "bytes_acknowledged"]), [100_000; 3], "{counted}");
    let connections = ["connects", "accepts", "established", "embryos_dropped", "no_socket"];
    assert_eq!(of("tcp", &connections), [2, 1, 2, 1, 1], "{counted}");
    let [sent, received, parts @ ..] = &of("tcp", &["sent", "received", "data_sent", "acks_sent", "control_sent"])[..]
    else {
        unreachable!()
    };
    assert_eq!((*sent, *sent), (*received, parts.iter().sum()), "{counted}");
    assert_eq!(of("udp6", &["received", "sent", "no_socket"]), [1; 3], "{counted}");
    assert_eq!((&counted["icmp"]["input"]["echo"], &counted["icmp"]["output"]["echo reply"]), (&2.into(), &2.into()));
    let text = rump.ctl(&["netstat", "-s", "-p", "tcp"]);
    assert!(text.starts_with("tcp:\n") && text.contains("\t1 connection accept\n"), "{text}");
    assert!(text.contains(" packets (100000 bytes) received in-sequence\n"), "{text}");
}

#[test]
fn changes_of_routes_are_told_as_they_come() {
    let rump = Rump::start(Transport::Unix);
    let mut monitor = limited(built("rumpctl"));
    let mut monitor = monitor.args(["-s", &rump.url(), "route", "monitor"]).stdout(Stdio::piped()).spawn().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(monitor.stdout.take().unwrap()));
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    // It hears once it listens.
    let mut heard = Vec::new();
    until("it listens", || {
        rump.ctl(&["route", "add", "-net", "10.9.0.0/16", "127.0.0.1"]);
        rump.ctl(&["route", "delete", "10.9.0.0/16"]);
        heard.extend(told.try_iter());
        heard.iter().any(|line: &String| line.starts_with("RTM_DELETE: Delete Route: len "))
    });
    let head = heard.iter().position(|line| line.starts_with("got message of size ")).unwrap();
    // As ctime(3) writes it.
    let (_, date) = heard[head].split_once(" on ").unwrap();
    assert!(date.len() == "Mon Jan  1 00:00:00 2024".len() && date.matches(':').count() == 2, "{date}");
    assert!(heard[head + 1].ends_with(",STATIC>"), "{heard:?}");
    assert_eq!(
        heard[head + 2..head + 5],
        ["locks:  inits: ", "sockaddrs: <DST,GATEWAY,NETMASK>", " 10.9.0.0 lo0 255.255.0.0"]
    );
    rump.ctl(&["ifconfig", "lo0", "inet", "10.7.0.1/24"]);
    until("the address is told", || {
        heard.extend(told.try_iter());
        heard.iter().any(|line| line.starts_with("RTM_NEWADDR: address being added to iface: len "))
    });
    // SAFETY: plain kill(2) of a child that is not waited for yet; it is timeout(1), which passes the signal on.
    unsafe { libc::kill(monitor.id() as i32, libc::SIGTERM) };
    monitor.wait().unwrap();
    drop(told);
    let _ = reader.join().unwrap();
}

#[test]
fn routes_and_neighbours_are_shown_and_changed_in_the_words_of_bsd() {
    let rump = Rump::start(Transport::Unix);
    let sums = rump.ctl(&["route", "add", "-net", "10.9.0.0", "127.0.0.1", "-netmask", "255.255.0.0"]);
    assert_eq!(sums, "add net 10.9.0.0/16: gateway 127.0.0.1\n");
    rump.ctl(&["route", "add", "-host", "10.8.0.1", "127.0.0.1", "-reject"]);
    rump.ctl(&["route", "add", "-inet6", "-net", "fd09::/16", "::1", "-blackhole"]);
    let get = |to: &[&str]| rump.ctl(&[&["route", "-n", "get"], to].concat());
    let text = get(&["10.9.1.2"]);
    for line in
        ["   route to: 10.9.1.2", "destination: 10.9.0.0", "       mask: 255.255.0.0", "      flags: <UP,DONE,STATIC>"]
    {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    assert!(text.contains("  interface: lo0\n") && text.contains(" local addr: 127.0.0.1\n"), "{text}");
    assert!(get(&["10.8.0.1"]).contains("<UP,HOST,REJECT,DONE,STATIC>"), "{}", get(&["10.8.0.1"]));
    assert!(get(&["fd09::7"]).contains("<UP,DONE,STATIC,BLACKHOLE>"), "{}", get(&["fd09::7"]));
    assert!(get(&["127.0.0.1"]).contains(",LOCAL>"), "{}", get(&["127.0.0.1"]));
    let nowhere = output(limited(built("rumpctl")).args(["-s", &rump.url(), "route", "get", "default"]));
    assert_eq!(String::from_utf8_lossy(&nowhere.stderr), "rumpctl: 0.0.0.0: not in table\n");
    rump.ctl(&["route", "add", "default", "127.0.0.1"]);
    assert!(get(&["default"]).contains("destination: default\n       mask: default\n"), "{}", get(&["default"]));
    let table = rump.ctl(&["netstat", "-rn", "-f", "inet"]);
    let to: Vec<_> = table.lines().skip(4).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(to, ["default", "10.8.0.1", "10.9.0.0/16", "127.0.0.0/8", "127.0.0.1"], "{table}");
    let parsed: serde_json::Value = serde_json::from_str(&rump.ctl(&["--json", "route", "get", "10.9.1.2"])).unwrap();
    assert_eq!((&parsed["destination"], &parsed["interface"]), (&"10.9.0.0".into(), &"lo0".into()));
    // The way inside is one hop.
    for host in ["127.0.0.1", "::1"] {
        let way = rump.ctl(&["traceroute", "-q", "1", host]);
        assert_eq!(way.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)), Some(host), "{way}");
    }
    assert_eq!(rump.ctl(&["sysctl", "-n", "net.inet.tcp.congctl.selected"]), "cubic\n");
    rump.ctl(&["sysctl", "-w", "net.inet.tcp.congctl.selected=reno"]);
    let name = "import socket; s = socket.socket(); print(s.getsockopt(6, 13, 16).rstrip(bytes(1)).decode())";
    assert_eq!(rump.sh(&format!("python3 -c '{name}'")), "reno\n");
    // Ports that nobody chose are of the range, and not one after the other.
    rump.ctl(&["sysctl", "net.inet.ip.anonportmin=20000", "net.inet.ip.anonportmax=20999"]);
    let ports = "import socket\nfor _ in range(9): s = socket.socket(); s.bind((\"\", 0)); print(s.getsockname()[1])";
    let ports = rump.sh(&format!("python3 -c '{ports}'"));
    let ports: Vec<u16> = ports.lines().map(|port| port.parse().unwrap()).collect();
    assert!(ports.iter().all(|port| (20000..21000).contains(port)), "{ports:?}");
    assert!(!ports.is_sorted(), "{ports:?}");
}
