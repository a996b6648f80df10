//! What Debian's own programs see of the rump kernel that the host has no counterpart for; their work is in the table of programs.

use integration::{Rump, Transport, have, output, stdout};

fn on(transports: &[Transport], test: impl Fn(&Rump, Transport)) {
    for &transport in transports {
        eprintln!("--- {transport:?}");
        test(&Rump::start(transport), transport);
    }
}

#[test]
fn ls_lists_the_root_and_the_devices() {
    on(&Transport::ALL, |rump, _| {
        let text = stdout(rump.command("ls").args(["-la", "/rump", "/rump/dev"]));
        for name in
            ["dev", "etc", "home", "root", "tmp", "usr", "var", "null", "zero", "full", "random", "urandom", "console"]
        {
            assert!(text.lines().any(|line| line.ends_with(&format!(" {name}"))), "{name} is missing in\n{text}");
        }
        assert!(text.lines().any(|line| line.starts_with("drwxrwxrwt") && line.ends_with(" tmp")), "{text}");
        assert!(text.lines().any(|line| line.starts_with("crw-rw-rw-") && line.ends_with(" null")), "{text}");
    });
}

#[test]
fn netcat_talks_over_the_rump_stack_and_the_host_does_not_see_it() {
    if !have("nc") {
        return;
    }
    on(&Transport::REMOTE, |rump, _| {
        let port = integration::free_port();
        let text = rump.sh(&format!(
            "nc -l 127.0.0.1 {port} > /rump/got & \
             until echo over the rump stack | nc -N 127.0.0.1 {port} 2> /dev/null; do :; done; \
             grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp && echo the host listens; wait; cat /rump/got"
        ));
        assert_eq!(text, "over the rump stack\n");
    });
}

#[test]
fn python_moves_60000_bytes_through_one_process() {
    if !have("python3") {
        return;
    }
    let script = "import os,socket; s=socket.create_server((\"127.0.0.1\",0)); c=socket.create_connection(s.getsockname()); \
                  a,_=s.accept(); c.sendall(b\"x\"*60000); c.close(); n=0\n\
                  while (d:=a.recv(65536)): n+=len(d)\nprint(n, sorted(os.listdir(\"/rump\")))";
    on(&Transport::ALL, |rump, _| {
        let text = stdout(rump.command("python3").args(["-c", script]));
        assert_eq!(text, "60000 ['dev', 'etc', 'home', 'root', 'tmp', 'usr', 'var']\n");
    });
}

#[test]
fn two_programs_share_a_server_and_a_third_on_another_sees_nothing() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let (shared, other) = (Rump::start(transport), Rump::start(transport));
        shared.sh("echo mine > /rump/tmp/note");
        assert_eq!(stdout(shared.command("cat").arg("/rump/tmp/note")), "mine\n");
        assert_eq!(other.sh("ls -A /rump/tmp"), "");
        if have("nc") {
            let port = integration::free_port();
            let mut listener = shared
                .command("nc")
                .args(["-l", "127.0.0.1", &port.to_string()])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            shared.sh(&format!("until echo hello | nc -N 127.0.0.1 {port} 2> /dev/null; do :; done"));
            let mut got = String::new();
            std::io::Read::read_to_string(listener.stdout.as_mut().unwrap(), &mut got).unwrap();
            assert!(listener.wait().unwrap().success());
            assert_eq!(got, "hello\n");
            assert_eq!(other.sh(&format!("nc -z 127.0.0.1 {port} || echo refused")), "refused\n");
        }
    }
}

#[test]
fn tcp_and_udp_work_over_both_versions_of_ip() {
    if !have("python3") {
        return;
    }
    let script = r#"
import socket
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    s = socket.create_server((host, 0), family=family)
    c = socket.create_connection(s.getsockname()[:2]); a, peer = s.accept()
    assert peer[:2] == c.getsockname()[:2], (peer, c.getsockname())
    c.sendall(b"ping"); print(a.recv(10)); a.sendall(b"pong"); print(c.recv(10))
    u = socket.socket(family, socket.SOCK_DGRAM); u.bind((host, 0))
    v = socket.socket(family, socket.SOCK_DGRAM); v.sendto(b"datagram", u.getsockname())
    data, frm = u.recvfrom(100); print(data, frm[0] == host)
"#;
    on(&Transport::ALL, |rump, _| {
        let text = stdout(rump.command("python3").args(["-c", script]));
        assert_eq!(text, "b'ping'\nb'pong'\nb'datagram' True\n".repeat(2));
    });
}

#[test]
fn the_configuration_says_what_is_taken() {
    let rump = Rump::start(Transport::Unix);
    let missing =
        stdout(rump.launch(&["--config", "socket=inet"], "sh").args(["-c", "test -e /rump || echo no /rump"]));
    assert_eq!(missing, "no /rump\n");
    let moved = stdout(rump.launch(&["--config", "path=/virt"], "ls").arg("/virt"));
    assert!(moved.contains("dev\n") && moved.contains("tmp\n"), "{moved}");
    rump.sh("echo name=value > /rump/etc/rc.conf; echo other > /rump/etc/other");
    let taken = stdout(rump.launch(&["--config", "blanket=/etc/rc.conf"], "cat").arg("/etc/rc.conf"));
    assert_eq!(taken, "name=value\n");
    let host = stdout(rump.launch(&["--config", "blanket=/etc/rc.conf"], "cat").arg("/etc/passwd"));
    assert_eq!(host, std::fs::read_to_string("/etc/passwd").unwrap());
    let nothing = stdout(rump.launch(&["--config", ""], "sh").args(["-c", "test -e /rump || echo no /rump"]));
    assert_eq!(nothing, "no /rump\n");
}

#[test]
fn a_program_notices_that_its_server_is_gone() {
    let script = "exec 5> /rump/tmp/f; kill -9 $SERVER; while echo x 2> /dev/null >&5; do :; done; echo lost";
    for (retry, status, text) in [("0", 0, "lost\n"), ("once", 0, "lost\n"), ("die", 1, "")] {
        let rump = Rump::start(Transport::Unix);
        let mut command = rump.command("bash");
        command.args(["-c", script]).env("SERVER", rump.pid().to_string()).env("RUMPHIJACK_RETRYCONNECT", retry);
        let done = integration::output(&mut command);
        assert_eq!((done.status.code(), &*String::from_utf8_lossy(&done.stdout)), (Some(status), text), "{retry}");
        std::fs::remove_file(rump.folder().join("pid")).ok();
    }
}

#[test]
fn who_lists_descriptors_does_not_move_those_of_the_library() {
    let rump = Rump::start(Transport::Unix);
    let script =
        "exec 5< /rump; ls -lL /proc/self/fd > /dev/null; ls -l /proc/self/fd /dev/fd/; stat -c %n /proc/self/fd/5";
    let done = output(rump.command("sh").args(["-ec", script]));
    let (text, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && errors.is_empty() && text.contains(" 5 -> "), "{text}{errors}");
}
