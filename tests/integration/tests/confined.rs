//! Programs that confine themselves, or are confined: no `/proc`, another user, no way to the server's socket.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use integration::{Rump, Transport, built, limited, output, stdout};

/// Whether this machine lets a test have a mount table of its own; says so when not.
fn can_hide_proc() -> bool {
    let hidden = output(Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none /proc"]));
    if !hidden.status.success() {
        eprintln!("skipped: no /proc can be hidden here: {}", String::from_utf8_lossy(&hidden.stderr));
    }
    hidden.status.success()
}

#[test]
fn without_proc_programs_stay_on_their_server_and_hand_on_their_descriptors() {
    if !can_hide_proc() {
        return;
    }
    // Each line is another image: were one of them to boot a kernel of its own, the file would not be there.
    let script = r#"
        test -e /proc/self && exit 1
        echo kept > /rump/tmp/f
        /bin/cat /rump/tmp/f
        exec 7< /rump/tmp/f
        /bin/cat <&7
        cd /rump/tmp
        /bin/ls
        env -i LD_PRELOAD="$LD_PRELOAD" /bin/sh -c '/bin/pwd; /bin/echo over >> f; /bin/cat /rump/tmp/f'
    "#;
    for transport in Transport::REMOTE {
        let rump = Rump::start(transport);
        let hide = format!("mount -t tmpfs none /proc\n{script}");
        let text = stdout(rump.command("unshare").args(["-rm", "sh", "-ec", &hide]));
        assert_eq!(text, "kept\nkept\nf\n/rump/tmp\nkept\nover\n", "{transport:?}");
    }
}

#[test]
fn without_proc_an_epoll_set_keeps_its_rump_members_over_exec() {
    if !can_hide_proc() {
        return;
    }
    let program = r#"
import os, select, socket, sys
a, b = socket.socketpair()
c = socket.create_server(('127.0.0.1', 0))
d = socket.create_connection(c.getsockname())
e, _ = c.accept()
s = select.epoll()
s.register(a, select.EPOLLIN)
s.register(e, select.EPOLLIN)
for x in (a, b, c, d, e, s): os.set_inheritable(x.fileno(), True)
again = '''
import os, select, sys
s, a, b, d, e = map(int, sys.argv[1:])
s = select.epoll.fromfd(s)
print(s.poll(0))
os.write(d, b"x")
print(s.poll(10) == [(e, 1)])
os.write(b, b"x")
print(sorted(s.poll(10)) == sorted([(a, 1), (e, 1)]))
'''
os.execv(sys.executable, ['python3', '-c', again] + [str(x.fileno()) for x in (s, a, b, d, e)])
"#;
    let rump = Rump::start(Transport::Unix);
    let hide = "mount -t tmpfs none /proc && exec /usr/bin/python3 -c \"$0\"";
    let text = stdout(rump.command("unshare").args(["-rm", "sh", "-c", hide, program]));
    assert_eq!(text, "[]\nTrue\nTrue\n");
}

/// The programs in a folder that any user may enter.
fn for_everybody() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    for name in ["rumphijack", "librumphijack.so"] {
        std::fs::copy(built(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn another_user_has_children_on_the_server_though_its_socket_is_closed_to_them() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only the superuser becomes another user");
    }
    let programs = for_everybody();
    let script = r#"
        echo hi > /rump/tmp/f
        /bin/cat /rump/tmp/f
        (/usr/bin/id -u; /bin/cat /rump/tmp/f) | /usr/bin/tr a-z A-Z
        exec 7>> /rump/tmp/f
        /bin/sh -c '/bin/echo more >&7; /bin/sh -c "/bin/cat /rump/tmp/f"'
        /usr/bin/python3 -c '
import os, subprocess
print(subprocess.check_output(["/bin/cat", "/rump/tmp/f"]), flush=True)
if os.fork() == 0: print(os.listdir("/rump/tmp"), flush=True); os._exit(0)
os.wait()'
    "#;
    for creds in [&[][..], &["--creds=peer"]] {
        let rump = Rump::start_with(Transport::Unix, creds);
        let mut command = limited(programs.path().join("rumphijack"));
        command.args(["--server", &rump.url(), "--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        let text = stdout(command.args(["sh", "-ec", script]));
        assert_eq!(text, "hi\n65534\nHI\nhi\nmore\nb'hi\\nmore\\n'\n['f']\n", "{creds:?}");
        let owner = stdout(rump.command("stat").args(["-c", "%u", "/rump/tmp/f"]));
        assert_eq!(owner, if creds.is_empty() { "0\n" } else { "65534\n" });
    }
}

#[test]
fn the_trace_goes_on_where_its_file_cannot_be_opened_any_more() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only the superuser becomes another user");
    }
    let (programs, rump) = (for_everybody(), Rump::start(Transport::Unix));
    let [lines, table] = ["lines", "table"].map(|name| rump.folder().join(name));
    let mut command = limited(programs.path().join("rumphijack"));
    command.arg(format!("--trace={}", lines.display())).args(["--server", &rump.url(), "--config"]);
    command.arg(format!("path=/rump,socket=all:nolocal,trace=summary:{}", table.display()));
    command.args(["--", "setpriv", "--reuid=65534", "--clear-groups", "sh", "-ec", "/bin/ls /rump/tmp; exec /bin/pwd"]);
    stdout(&mut command);
    let lines = std::fs::read_to_string(lines).unwrap();
    assert!(lines.lines().any(|line| line.contains(" rump openat(") && line.contains("/rump/tmp")), "{lines}");
    let table = std::fs::read_to_string(table).unwrap();
    for program in [" sh until it ran /bin/pwd", " ls", " pwd"] {
        assert!(table.lines().any(|line| line.contains("summary of") && line.ends_with(program)), "{program}\n{table}");
    }
}

#[test]
fn where_the_socket_has_no_name_children_come_all_the_same() {
    if !can_hide_proc() {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    let script =
        "mount -t tmpfs none $0; ls $0; echo hi > /rump/tmp/f; /bin/cat /rump/tmp/f; (/bin/ls /rump/tmp) | /bin/cat";
    let text = stdout(rump.command("unshare").args(["-rm", "sh", "-ec", script]).arg(rump.folder()));
    assert_eq!(text, "hi\nf\n");
}

#[test]
fn a_program_whose_user_cannot_open_the_library_is_named_and_kept_in_by_a_fence() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only the superuser becomes another user");
    }
    let (programs, rump) = (for_everybody(), Rump::start(Transport::Unix));
    std::fs::set_permissions(programs.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let run = |option: &str| {
        let mut command = limited(programs.path().join("rumphijack"));
        command.args([option, "--server", &rump.url(), "--"]);
        let program = "import os\nos.setuid(65534)\ntry: os.execv('/bin/echo', ['echo', 'out'])\nexcept OSError as e: print(e.strerror)";
        output(command.args(["/usr/bin/python3", "-c", program]))
    };
    let traced = run("--trace=/dev/stderr");
    let text = String::from_utf8_lossy(&traced.stderr);
    assert!(text.contains("not taken: /bin/echo: it cannot open the library's file"), "{text}");
    assert_eq!(String::from_utf8_lossy(&traced.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&run("--sandbox").stdout), "Permission denied\n");
}

#[test]
fn in_another_network_programs_still_have_children_on_a_server_of_this_one() {
    let alone = output(Command::new("unshare").args(["-n", "true"]));
    if !alone.status.success() {
        eprintln!("skipped: no network can be had here: {}", String::from_utf8_lossy(&alone.stderr));
        return;
    }
    // By fork and by vfork, of images that were there before and of new ones.
    let script = r#"
        echo hi > /rump/tmp/f
        /bin/cat /rump/tmp/f
        (/bin/ls /rump/tmp; /bin/true) | /bin/cat
        bash -c '(cat < /rump/tmp/f; echo child >> /rump/tmp/f); cat /rump/tmp/f; cat /rump/tmp/f | (sort; exit 0)'
    "#;
    let rump = Rump::start(Transport::Tcp);
    let text = stdout(rump.command("unshare").args(["-n", "sh", "-ec", script]));
    assert_eq!(text, "hi\nf\nhi\nhi\nchild\nchild\nhi\n");
}
