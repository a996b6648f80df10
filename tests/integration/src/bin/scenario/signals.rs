//! Signals in blocking calls.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("signals", Processes, signals)];

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
