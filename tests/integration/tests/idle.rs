//! Who waits sleeps: no thread of a program or of the server runs while nothing happens, and there are no helper threads.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use integration::{Rump, Transport, have};

/// Waits for ever, in the way that it is told, for descriptors of both kernels.
const WAITER: &str = r"
import os, select, socket, sys
rump = socket.create_server(('127.0.0.1', 0))
host, _ = os.pipe()
event = os.eventfd(0)
os.mkfifo('/rump/tmp/' + sys.argv[1])
fifo = os.open('/rump/tmp/' + sys.argv[1], os.O_RDWR)
all = [rump, host, event, fifo]
print(os.getpid(), flush=True)
if sys.argv[1] == 'poll':
    set = select.poll()
    for one in all: set.register(one, select.POLLIN)
    set.poll()
elif sys.argv[1] == 'select':
    select.select(all, [], [])
elif sys.argv[1] == 'epoll':
    set = select.epoll()
    for one in all: set.register(one, select.EPOLLIN)
    set.poll()
elif sys.argv[1] == 'accept':
    rump.accept()
elif sys.argv[1] == 'read':
    os.read(fifo, 1)
";

/// How often each thread of a process was put on a processor, by its id.
fn runs(pid: i32) -> Vec<(String, u64)> {
    let mut threads: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| {
            let task = task.unwrap();
            let status = std::fs::read_to_string(task.path().join("status")).unwrap();
            let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
            let sum = switches.map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()).sum();
            (task.file_name().into_string().unwrap(), sum)
        })
        .collect();
    threads.sort();
    threads
}

#[test]
fn idle_waiters_and_their_server_sleep() {
    if !have("python3") {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    let mut waiters: Vec<_> = ["poll", "select", "epoll", "accept", "read"]
        .map(|way| {
            let mut command = rump.command("python3");
            let mut child = command.args(["-c", WAITER, way]).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            (way, child, line.trim().parse::<i32>().unwrap())
        })
        .into();
    let all = || -> Vec<_> { waiters.iter().map(|(.., pid)| runs(*pid)).chain([runs(rump.pid())]).collect() };
    // They come to rest, once: a wake-up every second or so would keep this from ending.
    let begun = Instant::now();
    loop {
        let before = all();
        std::thread::sleep(Duration::from_millis(1500));
        let after = all();
        if before == after {
            assert!(after.iter().take(waiters.len()).all(|threads| threads.len() == 1), "helper threads: {after:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "somebody wakes up: {before:?} {after:?}");
    }
    for (way, child, pid) in &mut waiters {
        // SAFETY: plain kill(2) of a process that this test has started.
        unsafe { libc::kill(*pid, libc::SIGTERM) };
        assert!(!child.wait().unwrap().success(), "{way}");
    }
}
