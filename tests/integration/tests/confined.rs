//! Programs that confine themselves, or are confined: no `/proc`, another user.

use std::process::Command;

use integration::{Rump, Transport, output, stdout};

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
