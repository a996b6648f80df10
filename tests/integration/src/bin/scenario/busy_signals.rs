//! Signals that come while programs move the bytes of busy connections themselves: their handlers run, make calls of the same kind, and
//! disturb nothing.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_signals_storm", Processes, storm),
    ("busy_signals_shown", OneProcess, shown),
    ("busy_signals_once_and_masked", OneProcess, once_and_masked),
    ("busy_signals_threads", OneProcess, threads),
    ("busy_sleepers_end_by_signals", Processes, ended_by_signals),
    ("busy_sleepers_cancelled", Processes, cancelled),
    ("busy_sleepers_closed", Processes, closed),
    ("busy_sleepers_several", Processes, several),
    ("busy_sleepers_whose_peer_is_killed", Processes, peer_killed),
    ("busy_sleepers_with_limits", Processes, limits),
    ("busy_sleepers_ends", Processes, ends),
];

static HANDLED: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);
static ENDS: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];

/// Both ends of a connection whose bytes this program moves itself.
unsafe fn busy() -> (c_int, c_int) {
    unsafe {
        let (c, a) = connected();
        for n in 0..120u8 {
            let mut heard = [0u8; 100];
            assert_eq!(write(c, [n; 70].as_ptr().cast(), 70), 70);
            assert_eq!(read(a, heard.as_mut_ptr().cast(), 100), 70);
            assert_eq!(write(a, [n; 30].as_ptr().cast(), 30), 30);
            assert_eq!(read(c, heard.as_mut_ptr().cast(), 100), 30);
        }
        (c, a)
    }
}

/// Moves bytes on a connection of its own.
extern "C" fn moves(_: c_int) {
    unsafe {
        let saved = errno();
        let [c, a] = ENDS.each_ref().map(|end| end.load(Ordering::SeqCst));
        let said = HANDLED.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        let mut heard = [0u8; 4];
        let moved = write(c, said.as_ptr().cast(), 4) == 4 && read(a, heard.as_mut_ptr().cast(), 4) == 4;
        if !moved || heard != said {
            WRONG.fetch_add(1, Ordering::SeqCst);
        }
        *__errno_location() = saved;
    }
}

extern "C" fn counts(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

unsafe fn handle(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    unsafe {
        let mut action: sigaction = zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as *const () as usize, flags);
        assert_eq!(sigaction(signal, &action, null_mut()), 0);
    }
}

unsafe fn alarms(micros: i64) {
    unsafe {
        let every = timeval { tv_sec: 0, tv_usec: micros };
        setitimer(ITIMER_REAL, &itimerval { it_interval: every, it_value: every }, null_mut());
    }
}

/// What is at a place of a stream.
fn byte(at: usize) -> u8 {
    (at * 29 + (at >> 10)) as u8
}

/// Writes all of a stream, however often it is interrupted.
unsafe fn pour(fd: c_int, total: usize) {
    unsafe {
        let (mut at, mut size) = (0, 1);
        while at < total {
            size = (size * 7 + 13) % 40_000 + 1;
            let data: Vec<u8> = (at..total.min(at + size)).map(byte).collect();
            let put = write(fd, data.as_ptr().cast(), data.len());
            assert!(put > 0 || errno() == EINTR, "{}", errno());
            at += put.max(0) as usize;
        }
    }
}

/// Reads all of a stream; whether it is what was written.
unsafe fn drain(fd: c_int, total: usize) -> bool {
    unsafe {
        let (mut at, mut size, mut buf) = (0, 1, vec![0u8; 60_000]);
        while at < total {
            size = (size * 5 + 11) % 50_000 + 1;
            let got = read(fd, buf.as_mut_ptr().cast(), size);
            assert!(got > 0 || got < 0 && errno() == EINTR, "{got} {}", errno());
            let got = got.max(0) as usize;
            if !buf[..got].iter().enumerate().all(|(n, seen)| *seen == byte(at + n)) {
                return false;
            }
            at += got;
        }
        true
    }
}

/// Handlers run in the middle of everything, at both ends, with SA_RESTART and without.
fn storm(_: &str) {
    unsafe {
        const TOTAL: usize = 24 << 20;
        for flags in [0, SA_RESTART] {
            let (c, a) = busy();
            let child = fork();
            let (x, y) = busy();
            ENDS[0].store(x, Ordering::SeqCst);
            ENDS[1].store(y, Ordering::SeqCst);
            handle(SIGALRM, moves, flags);
            alarms(if child == 0 { 1100 } else { 900 });
            if child == 0 {
                pour(c, TOTAL);
                _exit((WRONG.load(Ordering::SeqCst) > 0).into());
            }
            println!("all: {}", drain(a, TOTAL));
            alarms(0);
            let mut status = 0;
            while waitpid(child, &mut status, 0) < 0 {
                assert_eq!(errno(), EINTR);
            }
            println!("writer: {status}, handled: {}", HANDLED.swap(0, Ordering::SeqCst) > 0);
            println!("wrong: {}", WRONG.load(Ordering::SeqCst));
            [c, a, x, y].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
        }
    }
}

/// A program is shown the handlers that it has installed, before and after its connections became busy.
fn shown(_: &str) {
    unsafe {
        let look = |signal: c_int| {
            let mut action: sigaction = zeroed();
            assert_eq!(sigaction(signal, null(), &mut action), 0);
            let own = action.sa_sigaction == counts as *const () as usize;
            println!("{signal}: its own {own}, flags {:#x}", action.sa_flags & !0x0400_0000);
        };
        handle(SIGUSR1, counts, SA_RESTART);
        handle(SIGUSR2, counts, SA_NODEFER | SA_ONSTACK);
        signal(SIGTERM, SIG_IGN);
        let (c, a) = busy();
        [SIGUSR1, SIGUSR2, SIGTERM].into_iter().for_each(look);
        handle(SIGUSR2, counts, SA_RESETHAND);
        handle(SIGHUP, counts, 0);
        [SIGUSR2, SIGHUP].into_iter().for_each(look);
        for signal in [SIGUSR1, SIGUSR2, SIGHUP, SIGTERM] {
            raise(signal);
            println!("{signal}: handled {}", HANDLED.load(Ordering::SeqCst));
        }
        [SIGUSR1, SIGHUP].into_iter().for_each(look);
        let mut action: sigaction = zeroed();
        sigaction(SIGUSR2, null(), &mut action);
        println!("default again: {}", action.sa_sigaction == SIG_DFL);
        show("write", write(c, b"x".as_ptr().cast(), 1) as i64);
        show("read", read(a, (&raw mut action).cast(), 9) as i64);
    }
}

/// What a program has blocked stays blocked, and comes once it is let through.
fn once_and_masked(_: &str) {
    unsafe {
        let (c, a) = busy();
        handle(SIGUSR1, counts, 0);
        let mut set: sigset_t = zeroed();
        sigemptyset(&mut set);
        sigaddset(&mut set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, null_mut());
        kill(getpid(), SIGUSR1);
        let mut byte = 0u8;
        for _ in 0..50 {
            assert_eq!((write(c, b"x".as_ptr().cast(), 1), read(a, (&raw mut byte).cast(), 1)), (1, 1));
        }
        println!("blocked: {}", HANDLED.load(Ordering::SeqCst));
        let mut mask: sigset_t = zeroed();
        sigprocmask(SIG_UNBLOCK, &set, &mut mask);
        println!("let through: {} {}", HANDLED.load(Ordering::SeqCst), sigismember(&mask, SIGUSR1));
        sigprocmask(SIG_BLOCK, null(), &mut mask);
        println!("open: {} {}", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGTERM));
    }
}

/// Handlers run in whatever thread of a program is in the middle of a transfer.
fn threads(_: &str) {
    unsafe {
        const TOTAL: usize = 6 << 20;
        let ends: Vec<_> = (0..3).map(|_| busy()).collect();
        handle(SIGALRM, counts, SA_RESTART);
        alarms(700);
        let writers: Vec<_> =
            ends.iter().map(|(c, _)| *c).map(|c| std::thread::spawn(move || pour(c, TOTAL))).collect();
        let readers: Vec<_> =
            ends.iter().map(|(_, a)| *a).map(|a| std::thread::spawn(move || drain(a, TOTAL))).collect();
        println!("all: {}", readers.into_iter().all(|reader| reader.join().unwrap()));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        alarms(0);
        println!("handled: {}", HANDLED.load(Ordering::SeqCst) > 0);
    }
}

/// Both ends of a connection whose reader has slept so often that it does so on a bell: a child answers each byte, after a pause, until it is
/// told to end.
unsafe fn answered() -> (c_int, pid_t) {
    unsafe {
        let (c, a) = busy();
        let child = fork();
        if child == 0 {
            close(c);
            let mut byte = 0u8;
            while read(a, (&raw mut byte).cast(), 1) == 1 && byte != b'.' {
                match byte {
                    b'p' => until_asleep(getppid(), getppid()),
                    b'-' => continue,
                    b'k' => {
                        raise(SIGKILL);
                    }
                    b's' => {
                        until_asleep(getppid(), getppid());
                        kill(getppid(), SIGUSR1);
                        continue;
                    }
                    b'q' => {
                        usleep(200_000);
                        shutdown(a, SHUT_WR);
                        continue;
                    }
                    _ => {}
                }
                assert_eq!(write(a, (&raw const byte).cast(), 1), 1);
            }
            _exit(0);
        }
        close(a);
        for _ in 0..8 {
            assert_eq!(ask(c, b"p"), 1);
        }
        (c, child)
    }
}

/// Sends a byte and waits for one.
unsafe fn ask(c: c_int, what: &[u8; 1]) -> isize {
    unsafe {
        assert_eq!(write(c, what.as_ptr().cast(), 1), 1);
        let mut byte = 0u8;
        read(c, (&raw mut byte).cast(), 1)
    }
}

/// Says good-bye to the child.
unsafe fn leave(c: c_int, child: pid_t) {
    unsafe {
        assert_eq!(write(c, b".".as_ptr().cast(), 1), 1);
        ended("child", child);
    }
}

/// A handler without SA_RESTART ends the sleep, one with it does not, nor does a signal that is ignored, or blocked.
fn ended_by_signals(_: &str) {
    unsafe {
        let (c, child) = answered();
        handle(SIGUSR1, counts, 0);
        for _ in 0..5 {
            show("interrupted", ask(c, b"s") as i64);
        }
        println!("handled: {}", HANDLED.swap(0, Ordering::SeqCst));
        handle(SIGUSR1, counts, SA_RESTART);
        for _ in 0..5 {
            assert_eq!(write(c, b"sp".as_ptr().cast(), 2), 2);
            let mut byte = 0u8;
            show("restarted", read(c, (&raw mut byte).cast(), 1) as i64);
        }
        println!("handled: {}", HANDLED.swap(0, Ordering::SeqCst));
        signal(SIGUSR1, SIG_IGN);
        assert_eq!(write(c, b"sp".as_ptr().cast(), 2), 2);
        let mut byte = 0u8;
        show("ignored", read(c, (&raw mut byte).cast(), 1) as i64);
        handle(SIGUSR1, counts, 0);
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, null_mut());
        assert_eq!(write(c, b"sp".as_ptr().cast(), 2), 2);
        show("blocked", read(c, (&raw mut byte).cast(), 1) as i64);
        println!("handled: {}", HANDLED.load(Ordering::SeqCst));
        sigprocmask(SIG_UNBLOCK, &set, null_mut());
        println!("handled: {}", HANDLED.load(Ordering::SeqCst));
        show("still there", ask(c, b"p") as i64);
        leave(c, child);
    }
}

extern "C" fn reads(c: *mut c_void) -> *mut c_void {
    unsafe {
        let mut byte = 0u8;
        read(c as usize as c_int, (&raw mut byte).cast(), 1) as usize as *mut c_void
    }
}

/// A thread that is cancelled where it sleeps ends there.
fn cancelled(_: &str) {
    unsafe {
        let (c, child) = answered();
        for _ in 0..3 {
            let mut thread: pthread_t = zeroed();
            assert_eq!(pthread_create(&mut thread, null(), reads, c as usize as *mut c_void), 0);
            usleep(20_000);
            assert_eq!(pthread_cancel(thread), 0);
            let mut value = null_mut();
            pthread_join(thread, &mut value);
            println!("cancelled: {}", value as isize == -1);
        }
        show("still there", ask(c, b"p") as i64);
        leave(c, child);
    }
}

/// Who sleeps on a connection whose descriptor another thread closes, or puts something else in the place of, goes on sleeping, and gets what comes.
fn closed(_: &str) {
    unsafe {
        for round in 0..6 {
            let (c, child) = answered();
            let again = dup(c);
            let sleeper = asleep(move || {
                let mut byte = 0u8;
                (read(c, (&raw mut byte).cast(), 1), byte)
            });
            if round % 2 == 0 {
                close(c);
            } else {
                let other = open(c"/dev/null".as_ptr(), O_RDONLY);
                dup2(other, c);
                close(other);
            }
            assert_eq!(write(again, b"x".as_ptr().cast(), 1), 1);
            println!("{:?}", sleeper.join().unwrap());
            show("goes on", ask(again, b"p") as i64);
            leave(again, child);
            close(again);
        }
    }
}

/// Several sleep at one end, threads and processes: each byte comes to one of them, and all are told of the end.
fn several(_: &str) {
    unsafe {
        let (c, child) = answered();
        let sleeper = move || {
            let (mut count, mut byte) = (0, 0u8);
            while read(c, (&raw mut byte).cast(), 1) == 1 {
                count += 1;
            }
            count
        };
        let (others, threads) = (fork(), 3);
        if others == 0 {
            // Threads of another process.
            let all: Vec<_> = (0..threads).map(|_| std::thread::spawn(sleeper)).collect();
            _exit(all.into_iter().map(|one| one.join().unwrap()).sum());
        }
        let all: Vec<_> = (0..threads).map(|_| std::thread::spawn(sleeper)).collect();
        for round in 0..60 {
            assert_eq!(write(c, b"xyz".as_ptr().cast(), 3), 3);
            usleep(round % 7 * 100);
        }
        assert_eq!(write(c, b"q".as_ptr().cast(), 1), 1);
        let own: i32 = all.into_iter().map(|one| one.join().unwrap()).sum();
        let mut status = 0;
        waitpid(others, &mut status, 0);
        println!("all: {}", own + WEXITSTATUS(status));
        leave(c, child);
    }
}

/// Who sleeps hears that the other is killed, even if another sleeps at the same end.
fn peer_killed(_: &str) {
    unsafe {
        for _ in 0..3 {
            let (c, child) = answered();
            let other = asleep(move || ask(c, b"-"));
            show("end", ask(c, b"k") as i64);
            show("end", other.join().unwrap() as i64);
            let mut status = 0;
            waitpid(child, &mut status, 0);
            println!("killed: {}", WTERMSIG(status));
            close(c);
        }
    }
}

/// A time limit that comes into play counts from the next call on.
fn limits(_: &str) {
    unsafe {
        let (c, child) = answered();
        let limit = |usec: i64| {
            let limit = timeval { tv_sec: 0, tv_usec: usec };
            assert_eq!(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16), 0);
        };
        limit(60_000);
        show("limit", ask(c, b"-") as i64);
        show("limit", ask(c, b"-") as i64);
        limit(0);
        show("none", ask(c, b"p") as i64);
        let sleeper = asleep(move || ask(c, b"-"));
        // Who sleeps already knows of no limit.
        limit(20_000);
        usleep(60_000);
        assert_eq!(fcntl(c, F_SETFL, O_NONBLOCK), 0);
        usleep(20_000);
        assert_eq!(write(c, b"x".as_ptr().cast(), 1), 1);
        show("slept on", sleeper.join().unwrap() as i64);
        show("non-blocking", ask(c, b"-") as i64);
        leave(c, child);
    }
}

/// The other end's shutdown, and this end's own, end a sleep.
fn ends(_: &str) {
    unsafe {
        for round in 0..4 {
            let (c, child) = answered();
            if round % 2 == 0 {
                show("theirs", ask(c, b"q") as i64);
            } else {
                let sleeper = asleep(move || ask(c, b"-"));
                show("shutdown", i64::from(shutdown(c, SHUT_RD)));
                show("ours", sleeper.join().unwrap() as i64);
            }
            leave(c, child);
            close(c);
        }
    }
}
