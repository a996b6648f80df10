//! Signals that come while programs move the bytes of busy connections themselves: their handlers run, make calls of the same kind, and
//! disturb nothing.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_signals_storm", Processes, storm),
    ("busy_signals_shown", OneProcess, shown),
    ("busy_signals_once_and_masked", OneProcess, once_and_masked),
    ("busy_signals_threads", OneProcess, threads),
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
