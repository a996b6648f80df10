//! Signals in blocking calls.

use std::sync::atomic::{AtomicI32, Ordering};

use super::forking::fresh;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("signals", Processes, signals),
    ("handlers_amid_calls", OneProcess, handlers_amid_calls),
    ("queued_signals_amid_calls", OneProcess, queued_signals_amid_calls),
    ("handlers_for_once", OneProcess, handlers_for_once),
    ("handlers_as_installed", OneProcess, handlers_as_installed),
];

static HANDLED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// Where the handler says that it has run, if anywhere.
static TOLD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn handler(_: c_int) {
    HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let told = TOLD.load(std::sync::atomic::Ordering::SeqCst);
    if told >= 0 {
        unsafe { write(told, b"h".as_ptr().cast(), 1) };
    }
}

fn signals(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        sigaction(SIGALRM, &action, null_mut());
        // It repeats: a tick between setting it and the call must not be the last.
        let tick = timeval { tv_sec: 0, tv_usec: 30_000 };
        let (timer, off) = (itimerval { it_interval: tick, it_value: tick }, zeroed::<itimerval>());
        setitimer(ITIMER_REAL, &timer, null_mut());
        let mut byte = 0u8;
        show("interrupted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        let mut fds = [pollfd { fd: a, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, -1));
        setitimer(ITIMER_REAL, &off, null_mut());
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst) > 1);
        action.sa_flags = SA_RESTART;
        sigaction(SIGALRM, &action, null_mut());
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            // Sends only after the parent's handler has run.
            read(ends[0], (&raw mut byte).cast(), 1);
            send(c, b"x".as_ptr().cast(), 1, 0);
            _exit(0);
        }
        TOLD.store(ends[1], std::sync::atomic::Ordering::SeqCst);
        setitimer(ITIMER_REAL, &timer, null_mut());
        show("restarted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        setitimer(ITIMER_REAL, &off, null_mut());
        HANDLED.store(0, std::sync::atomic::Ordering::SeqCst);
        waitpid(child, null_mut(), 0);
        action.sa_flags = 0;
        sigaction(SIGPIPE, &action, null_mut());
        shutdown(c, SHUT_WR);
        show("broken pipe", write(c, b"x".as_ptr().cast(), 1) as i64);
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
        let child = fork();
        if child == 0 {
            signal(SIGTERM, SIG_DFL);
            recv(a, (&raw mut byte).cast(), 1, 0);
            recv(a, (&raw mut byte).cast(), 1, 0);
            let (_c, b) = connected();
            recv(b, (&raw mut byte).cast(), 1, 0);
            _exit(0);
        }
        until_asleep(child, child);
        kill(child, SIGTERM);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("killed by {}", WTERMSIG(status));
    }
}

/// The file that handlers read and write, what went wrong there, and how often one has run.
static FILE: AtomicI32 = AtomicI32::new(-1);
static WRONG: AtomicI32 = AtomicI32::new(0);
static RUN: AtomicI32 = AtomicI32::new(0);

unsafe fn written_and_read(at: off_t, byte: u8) -> bool {
    unsafe {
        let (fd, mut back) = (FILE.load(Ordering::SeqCst), 0u8);
        let wrote = pwrite(fd, (&raw const byte).cast(), 1, at) == 1;
        wrote && pread(fd, (&raw mut back).cast(), 1, at) == 1 && back == byte
    }
}

extern "C" fn calling(_: c_int) {
    let run = RUN.fetch_add(1, Ordering::SeqCst);
    if !unsafe { written_and_read(1, run as u8) } {
        WRONG.fetch_add(1, Ordering::SeqCst);
    }
}

unsafe fn install(signal: c_int, handler: usize, flags: c_int) {
    unsafe {
        let mut action: sigaction = zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        assert_eq!(sigaction(signal, &action, null_mut()), 0);
    }
}

unsafe fn alarm_after(micros: i64) {
    unsafe {
        let once = itimerval { it_value: timeval { tv_sec: 0, tv_usec: micros }, it_interval: zeroed() };
        setitimer(ITIMER_REAL, &once, null_mut());
    }
}

/// Calls that do not sleep, with handlers in their midst that make calls themselves.
fn handlers_amid_calls(folder: &str) {
    unsafe {
        FILE.store(fresh(folder, "f"), Ordering::SeqCst);
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr());
        for flags in [0, SA_RESTART, SA_NODEFER] {
            RUN.store(0, Ordering::SeqCst);
            install(SIGALRM, calling as *const () as usize, flags);
            let (mut wrong, mut round, mut byte, mut armed) = (0, 0u8, 0u8, -1);
            while RUN.load(Ordering::SeqCst) < 100 {
                // One at a time: handlers that SA_NODEFER lets in over one another would never end on a slow machine.
                if armed < RUN.load(Ordering::SeqCst) {
                    armed = RUN.load(Ordering::SeqCst);
                    alarm_after(50);
                }
                round = round.wrapping_add(1);
                wrong += i32::from(!written_and_read(0, round));
                wrong += i32::from(lseek(FILE.load(Ordering::SeqCst), 7, SEEK_SET) != 7);
                wrong += i32::from(write(ends[0], (&raw const round).cast(), 1) != 1);
                wrong += i32::from(read(ends[1], (&raw mut byte).cast(), 1) != 1 || byte != round);
            }
            println!("{wrong} wrong, {} in handlers", WRONG.load(Ordering::SeqCst));
        }
    }
}

/// How many signals are queued.
const QUEUED: i32 = 2000;

extern "C" fn in_order(_: c_int, info: &siginfo_t, _: *mut c_void) {
    let expected = RUN.fetch_add(1, Ordering::SeqCst);
    unsafe {
        let right = info.si_value().sival_ptr as i32 == expected && info.si_pid() == getpid();
        if !right || info.si_code != SI_QUEUE || !written_and_read(1, expected as u8) {
            WRONG.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Queued signals come in their order, and with what they carry.
fn queued_signals_amid_calls(folder: &str) {
    unsafe {
        FILE.store(fresh(folder, "f"), Ordering::SeqCst);
        let number = SIGRTMIN() + 1;
        install(number, in_order as *const () as usize, SA_SIGINFO);
        let sender = std::thread::spawn(move || {
            let mut set: sigset_t = zeroed();
            sigaddset(&mut set, number);
            pthread_sigmask(SIG_BLOCK, &set, null_mut());
            for value in 0..QUEUED {
                while sigqueue(getpid(), number, sigval { sival_ptr: value as usize as *mut c_void }) != 0 {
                    sched_yield();
                }
            }
        });
        let (mut wrong, mut round) = (0, 0u8);
        while RUN.load(Ordering::SeqCst) < QUEUED {
            round = round.wrapping_add(1);
            wrong += i32::from(!written_and_read(0, round));
        }
        sender.join().unwrap();
        println!("{wrong} wrong, {} in handlers", WRONG.load(Ordering::SeqCst));
    }
}

/// A handler that is installed for one signal gets it, also in the midst of a call.
fn handlers_for_once(folder: &str) {
    unsafe {
        FILE.store(fresh(folder, "f"), Ordering::SeqCst);
        let mut wrong = 0;
        for round in 1..=100 {
            install(SIGALRM, calling as *const () as usize, SA_RESETHAND as c_int);
            alarm_after(50);
            while RUN.load(Ordering::SeqCst) < round {
                wrong += i32::from(!written_and_read(0, round as u8));
            }
            let mut now: sigaction = zeroed();
            sigaction(SIGALRM, null(), &mut now);
            wrong += i32::from(now.sa_sigaction != SIG_DFL);
        }
        println!("{wrong} wrong, {} in handlers", WRONG.load(Ordering::SeqCst));
    }
}

/// A program is shown the handlers that it has installed, by whatever call.
fn handlers_as_installed(_: &str) {
    unsafe {
        let handlers = [calling as *const () as usize, in_order as *const () as usize];
        let name = |handler: usize| match handlers.iter().position(|known| *known == handler) {
            Some(at) => format!("handler {at}"),
            None => format!("{handler}"),
        };
        for handler in [handlers[0], handlers[1], SIG_IGN, SIG_DFL] {
            println!("signal: {}", name(signal(SIGUSR1, handler)));
        }
        let mut before: sigaction = zeroed();
        for (handler, flags) in [(0, SA_RESTART), (1, SA_SIGINFO), (0, SA_NODEFER), (1, SA_SIGINFO | SA_ONSTACK)] {
            let mut action: sigaction = zeroed();
            (action.sa_sigaction, action.sa_flags) = (handlers[handler], flags);
            sigaddset(&mut action.sa_mask, SIGTERM);
            show("sigaction", sigaction(SIGUSR2, &action, &mut before));
            println!("{} {:#x} {}", name(before.sa_sigaction), before.sa_flags, sigismember(&before.sa_mask, SIGTERM));
        }
        // As the host has it: handler, flags, restorer, mask.
        let mut words = [0usize; 4];
        show("rt_sigaction", syscall(SYS_rt_sigaction, SIGUSR2, null::<usize>(), words.as_mut_ptr(), 8) as c_int);
        println!("{} {:#x}", name(words[0]), words[1] & !0x0400_0000);
        show("of nothing", syscall(SYS_rt_sigaction, SIGKILL, words.as_ptr(), null::<usize>(), 8) as c_int);
        show("of no signal", syscall(SYS_rt_sigaction, 65, words.as_ptr(), null::<usize>(), 8) as c_int);
        show("from nowhere", syscall(SYS_rt_sigaction, SIGUSR2, 8, null::<usize>(), 8) as c_int);
        show("to nowhere", syscall(SYS_rt_sigaction, SIGUSR2, null::<usize>(), 8, 8) as c_int);
        show("a short set", syscall(SYS_rt_sigaction, SIGUSR2, words.as_ptr(), null::<usize>(), 4) as c_int);
    }
}
