//! A process connects to its server when it needs it, and not before: a program that touches nothing of the rump kernel's never does.

use std::process::Command;

use integration::{Rump, Transport, built, have, limited, output, stdout};

/// How often processes connect to the server while a script of a shell runs.
fn connections(rump: &Rump, script: &str) -> usize {
    let trace = rump.folder().join("connections");
    let server = rump.url();
    let mut command = limited("strace");
    command.args(["-f", "-qq", "-s", "200", "-e", "trace=connect", "-o"]).arg(&trace);
    command.arg("-E").arg(format!("LD_PRELOAD={}", built("librumphijack.so").display()));
    stdout(command.arg("-E").arg(format!("RUMP_SERVER={server}")).args(["sh", "-ec", script]));
    let path = server.strip_prefix("unix://").expect("a unix socket").to_owned();
    std::fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains(&path)).count()
}

#[test]
fn who_does_not_need_the_server_never_connects() {
    if !have("strace") || !have("python3") {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    for script in [
        "exec /bin/true",
        "ls -lR /etc/default > /dev/null; cat /etc/passwd | grep root | wc -l; (cd /tmp; umask 77; umask); find /etc/default -exec true ';'",
        "env -i /bin/true; bash -c '/bin/true; $(true) < /dev/null'; nohup true > /dev/null 2>&1",
        "python3 -c 'import os, subprocess; subprocess.run([\"true\"]); os.system(\"true\"); os.popen(\"true\").read(); os.spawnlp(os.P_WAIT, \"true\", \"true\")'",
    ] {
        assert_eq!(connections(&rump, script), 0, "{script}");
    }
    // One for the shell, which its programs go on with; one more for a child that is copied from it.
    assert_eq!(connections(&rump, "echo x > /rump/tmp/f; exec /bin/true"), 1);
    assert_eq!(connections(&rump, "exec cat < /dev/null > /rump/tmp/f"), 1);
    assert_eq!(connections(&rump, "true; echo x > /rump/tmp/f; /bin/true; exec /bin/true"), 2);
}

#[test]
fn who_may_not_reach_the_server_later_connects_at_once() {
    if !have("strace") || !have("setpriv") || !rustix::process::geteuid().is_root() {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    std::fs::create_dir(rump.folder().join("root")).unwrap();
    let root = rump.folder().join("root");
    for script in [
        "exec setpriv --reuid=65534 --clear-groups true",
        &format!("exec python3 -c 'import os; os.chroot(\"{}\")'", root.display()),
        "exec unshare -n true",
        "exec python3 -c 'import ctypes; ctypes.CDLL(None).unshare(0x20000)'",
    ] {
        assert_eq!(connections(&rump, script), 1, "{script}");
    }
    // And what it has then works.
    let script =
        "import os; os.chroot('/proc'); os.setgid(65534); os.setuid(65534); open('/rump/tmp/after', 'w').write('x')
print(os.getuid(), open('/rump/tmp/after').read())";
    assert_eq!(stdout(rump.command("python3").args(["-c", script])), "65534 x\n");
}

#[test]
fn a_server_that_is_not_there_ends_who_needs_it() {
    let mut command = limited("sh");
    command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", "unix:///nowhere/at-all");
    let done = output(command.args(["-c", "echo begun; cat /rump/x; echo \"cat: $?\"; echo > /rump/y; echo never"]));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "begun\ncat: 1\n");
    assert_eq!(done.status.code(), Some(1));
    let error = |who| {
        format!(
            "{who}: cannot reach rump server unix:///nowhere/at-all: No such file or directory (is rump_server running?)\n"
        )
    };
    assert_eq!(String::from_utf8_lossy(&done.stderr), [error("cat"), error("sh")].concat());
    // What is no locator is refused at once.
    let mut command = limited("true");
    let done = output(command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", "nonsense:x"));
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0));
}

/// Runs a program of python on a kernel.
fn python(rump: &Rump, script: &str) -> String {
    let mut command: Command = rump.command("python3");
    stdout(command.args(["-c", script]))
}

#[test]
fn the_first_calls_may_come_from_many_threads_and_forks_at_once() {
    if !have("python3") {
        return;
    }
    let script = r"
import os, threading
for round in range(25):
    pid = os.fork()
    if pid == 0:
        # Not connected yet: eight threads and two children come to the server at the same time.
        all, done = threading.Barrier(9), []
        def first(at):
            all.wait()
            os.mkdir(f'/rump/tmp/{round}.{at}')
            done.append(at)
        threads = [threading.Thread(target=first, args=(at,)) for at in range(8)]
        for thread in threads: thread.start()
        all.wait()
        children = []
        for at in range(2):
            child = os.fork()
            if child == 0:
                os.mkdir(f'/rump/tmp/{round}.child{at}')
                os._exit(0)
            children.append(child)
        for thread in threads: thread.join()
        good = [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        os._exit(0 if good and sorted(done) == list(range(8)) else 1)
    assert os.waitpid(pid, 0)[1] == 0, round
print(len(os.listdir('/rump/tmp')))
";
    for transport in [Transport::Unix, Transport::Tcp] {
        assert_eq!(python(&Rump::start(transport), script), "250\n");
    }
}

#[test]
fn what_was_set_before_the_connection_holds_after_it() {
    if !have("python3") {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    let script = r"
import os, subprocess, resource
os.umask(0o27)
pid = os.fork()
if pid == 0:
    os.umask(0o77)
    os.close(os.open('/rump/tmp/child', os.O_CREAT | os.O_WRONLY))
    os._exit(0)
os.waitpid(pid, 0)
# A child in this memory that comes to the server before its parent.
subprocess.run(['touch', 'spawned'], cwd='/rump/tmp', check=True)
# Without a free descriptor there is no connection; with some there is.
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
full = []
try:
    while True: full.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error:
    assert error.errno == 24, error
try:
    os.stat('/rump/tmp')
    print('reached')
except OSError as error:
    print(error.errno)
for fd in full: os.close(fd)
os.close(os.open('/rump/tmp/parent', os.O_CREAT | os.O_WRONLY))
for name in sorted(os.listdir('/rump/tmp')): print(name, oct(os.stat('/rump/tmp/' + name).st_mode & 0o777))
";
    assert_eq!(python(&rump, script), "24\nchild 0o700\nparent 0o750\nspawned 0o640\n");
}
