//! Signals and threads in blocking calls: restart, handlers that call, timers, closing under a sleeper.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::forking::{ended, fresh, print_file, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("restart_or_not", Processes, restart_or_not),
    ("handler_makes_calls", Processes, handler_makes_calls),
    ("timers_during_transfer", Processes, timers_during_transfer),
    ("stopped_and_continued", Processes, stopped_and_continued),
    ("broken_pipes", OneProcess, broken_pipes),
    ("blocked_signals_wait", Processes, blocked_signals_wait),
    ("signal_ends_a_call", Processes, signal_ends_a_call),
    ("terminal_interrupts", Processes, terminal_interrupts),
    ("close_under_a_reader", OneProcess, close_under_a_reader),
    ("shutdown_under_a_reader", OneProcess, shutdown_under_a_reader),
    ("longjmp_out_of_a_handler", Processes, longjmp_out_of_a_handler),
    ("threads_on_one_socket", OneProcess, threads_on_one_socket),
    ("alternate_stack", OneProcess, alternate_stack),
];

static HANDLED: AtomicI32 = AtomicI32::new(0);
static FD: AtomicI32 = AtomicI32::new(-1);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

unsafe fn handle(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    unsafe {
        let mut action: sigaction = zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as *const () as usize, flags);
        assert_eq!(sigaction(signal, &action, null_mut()), 0);
    }
}

/// A child that sends a signal to this process again and again, until it is killed.
unsafe fn pestered(signal: c_int) -> pid_t {
    unsafe {
        let parent = getpid();
        let child = fork();
        if child == 0 {
            while getppid() == parent {
                until_asleep(parent, parent);
                kill(parent, signal);
            }
            _exit(0);
        }
        child
    }
}

unsafe fn relieve(child: pid_t) {
    unsafe {
        kill(child, SIGKILL);
        waitpid(child, null_mut(), 0);
    }
}

/// Runs a call that a signal interrupts, and says what it answered.
unsafe fn interrupted(what: &str, call: &dyn Fn() -> i64) {
    unsafe {
        HANDLED.store(0, Ordering::SeqCst);
        let child = pestered(SIGUSR1);
        let value = call();
        show(what, value);
        relieve(child);
        println!("handled: {}", HANDLED.load(Ordering::SeqCst) > 0);
    }
}

fn restart_or_not(folder: &str) {
    unsafe {
        let (_c, a) = connected();
        let (s, _) = listener();
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let fifo = open(name.as_ptr(), O_RDWR);
        let mut bytes = vec![0u8; 1 << 20];
        let bytes = bytes.as_mut_ptr().cast::<c_void>();
        for flags in [0, SA_RESTART] {
            handle(SIGUSR1, count, flags);
            if flags == 0 {
                interrupted("read", &|| read(a, bytes, 1) as i64);
                interrupted("accept", &|| i64::from(accept(s, null_mut(), null_mut())));
                interrupted("fifo", &|| read(fifo, bytes, 1) as i64);
            }
            let mut fds = pollfd { fd: a, events: POLLIN, revents: 0 };
            let fds = &raw mut fds;
            interrupted("poll", &|| i64::from(poll(fds, 1, -1)));
            let mut set: fd_set = zeroed();
            let set = &raw mut set;
            interrupted("select", &|| {
                FD_SET(a, set);
                i64::from(select(a + 1, set, null_mut(), null_mut(), null_mut()))
            });
            let limit = timeval { tv_sec: 20, tv_usec: 0 };
            setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16);
            interrupted("recv with a limit", &|| recv(a, bytes, 1, 0) as i64);
            let none: timeval = zeroed();
            setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw const none).cast(), 16);
        }
    }
}

extern "C" fn calls(_: c_int) {
    unsafe {
        let saved = errno();
        let fd = FD.load(Ordering::SeqCst);
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        put(fd, b".");
        let (c, a) = connected();
        put(c, b"x");
        let mut byte = 0u8;
        recv(a, (&raw mut byte).cast(), 1, 0);
        close(a);
        close(c);
        HANDLED.fetch_add(1, Ordering::SeqCst);
        *__errno_location() = saved;
    }
}

fn handler_makes_calls(folder: &str) {
    unsafe {
        FD.store(fresh(folder, "f"), Ordering::SeqCst);
        let (c, a) = connected();
        handle(SIGUSR1, calls, SA_RESTART);
        let pester = pestered(SIGUSR1);
        let child = fork();
        if child == 0 {
            signal(SIGUSR1, SIG_IGN);
            let fd = FD.load(Ordering::SeqCst);
            while lseek(fd, 0, SEEK_CUR) < 5 {
                usleep(1000);
            }
            put(c, b"y");
            _exit(0);
        }
        let mut byte = 0u8;
        show("recv", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        relieve(pester);
        ended("child", child);
        println!("handled: {}", HANDLED.load(Ordering::SeqCst) >= 5);
    }
}

fn timers_during_transfer(folder: &str) {
    unsafe {
        handle(SIGALRM, count, SA_RESTART);
        let fd = fresh(folder, "f");
        let (c, a) = connected();
        let child = fork();
        if child == 0 {
            close(a);
            let data = vec![3u8; 1 << 16];
            for _ in 0..32 {
                let mut sent = 0;
                while sent < data.len() {
                    sent += write(c, data.as_ptr().add(sent).cast(), data.len() - sent) as usize;
                }
            }
            _exit(0);
        }
        close(c);
        let tick = timeval { tv_sec: 0, tv_usec: 100 };
        setitimer(ITIMER_REAL, &itimerval { it_interval: tick, it_value: tick }, null_mut());
        let (mut total, mut bytes) = (0, vec![0u8; 1 << 16]);
        loop {
            let got = read(a, bytes.as_mut_ptr().cast(), bytes.len());
            if got <= 0 {
                show("end", got as i64);
                break;
            }
            total += got;
            assert_eq!(pwrite(fd, bytes.as_ptr().cast(), got as usize, 0), got);
            assert!(bytes[..got as usize].iter().all(|byte| *byte == 3));
        }
        setitimer(ITIMER_REAL, &zeroed(), null_mut());
        println!("{total}");
        println!("handled: {}", HANDLED.load(Ordering::SeqCst) > 0);
        ended("child", child);
    }
}

fn stopped_and_continued(_: &str) {
    unsafe {
        let (c, a) = connected();
        let child = fork();
        if child == 0 {
            let mut byte = 0u8;
            let got = recv(a, (&raw mut byte).cast(), 1, 0);
            _exit(got as c_int);
        }
        let mut status = 0;
        kill(child, SIGSTOP);
        waitpid(child, &mut status, WUNTRACED);
        println!("stopped: {}", WIFSTOPPED(status));
        kill(child, SIGCONT);
        waitpid(child, &mut status, WCONTINUED);
        println!("continued: {}", WIFCONTINUED(status));
        kill(child, SIGTSTP);
        waitpid(child, &mut status, WUNTRACED);
        println!("stopped: {} {}", WIFSTOPPED(status), WSTOPSIG(status) == SIGTSTP);
        kill(child, SIGCONT);
        put(c, b"x");
        ended("got", child);
    }
}

fn broken_pipes(folder: &str) {
    unsafe {
        handle(SIGPIPE, count, 0);
        let told = |what: &str, value: isize| {
            show(what, value as i64);
            println!("{}", HANDLED.swap(0, Ordering::SeqCst));
        };
        let (c, a) = connected();
        shutdown(c, SHUT_WR);
        told("write", write(c, b"x".as_ptr().cast(), 1));
        told("send", send(c, b"x".as_ptr().cast(), 1, 0));
        told("MSG_NOSIGNAL", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL));
        let mut vector = iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        told("writev", writev(c, &vector, 1));
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        told("sendmsg", sendmsg(c, &message, 0));
        told("sendmsg without", sendmsg(c, &message, MSG_NOSIGNAL));
        close(a);
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let writer = open(name.as_ptr(), O_WRONLY);
        close(reader);
        told("fifo", write(writer, b"x".as_ptr().cast(), 1));
        signal(SIGPIPE, SIG_IGN);
        told("ignored", write(writer, b"x".as_ptr().cast(), 1));
    }
}

fn blocked_signals_wait(_: &str) {
    unsafe {
        handle(SIGUSR1, count, 0);
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, null_mut());
        let (c, a) = connected();
        let parent = getpid();
        let child = fork();
        if child == 0 {
            kill(parent, SIGUSR1);
            put(c, b"x");
            _exit(0);
        }
        let mut byte = 0u8;
        show("not interrupted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        ended("child", child);
        println!("handled: {}", HANDLED.load(Ordering::SeqCst));
        let mut fds = pollfd { fd: a, events: POLLIN, revents: 0 };
        show("ppoll opens the mask", ppoll(&mut fds, 1, null(), &zeroed()));
        println!("handled: {}", HANDLED.load(Ordering::SeqCst));
        let mut pending: sigset_t = zeroed();
        raise(SIGUSR1);
        sigpending(&mut pending);
        println!("pending: {}", sigismember(&pending, SIGUSR1));
        sigprocmask(SIG_UNBLOCK, &set, null_mut());
        println!("handled: {}", HANDLED.load(Ordering::SeqCst));
    }
}

fn signal_ends_a_call(_: &str) {
    unsafe {
        for (number, what) in [(SIGTERM, 0), (SIGINT, 1), (SIGKILL, 2), (SIGQUIT, 3), (SIGHUP, 4)] {
            let (_c, a) = connected();
            let (s, _) = listener();
            let child = fork();
            if child == 0 {
                setrlimit(RLIMIT_CORE, &zeroed());
                let mut byte = 0u8;
                let mut fds = pollfd { fd: a, events: POLLIN, revents: 0 };
                match what {
                    0 => _ = recv(a, (&raw mut byte).cast(), 1, 0),
                    1 => _ = accept(s, null_mut(), null_mut()),
                    2 => _ = read(a, (&raw mut byte).cast(), 1),
                    3 => _ = poll(&mut fds, 1, -1),
                    _ => _ = recvfrom(a, (&raw mut byte).cast(), 1, 0, null_mut(), null_mut()),
                }
                _exit(0);
            }
            kill(child, number);
            ended("killed", child);
        }
    }
}

/// Ctrl-C and Ctrl-Z, typed at a terminal whose foreground program sleeps in a call; a leader watches it, as a shell does.
fn terminal_interrupts(_: &str) {
    unsafe {
        for what in 0..4 {
            let (_c, a) = connected();
            let (s, _) = listener();
            let mut ends = [0; 2];
            pipe(ends.as_mut_ptr());
            let mut terminal = -1;
            let leader = forkpty(&mut terminal, null_mut(), null(), null());
            if leader == 0 {
                signal(SIGTTOU, SIG_IGN);
                let sleeper = fork();
                if sleeper == 0 {
                    setpgid(0, 0);
                    tcsetpgrp(0, getpid());
                    let mut byte = 0u8;
                    let mut fds = pollfd { fd: a, events: POLLIN, revents: 0 };
                    put(ends[1], b"r");
                    match what {
                        0 => _ = recv(a, (&raw mut byte).cast(), 1, 0),
                        1 => _ = accept(s, null_mut(), null_mut()),
                        2 => _ = read(a, (&raw mut byte).cast(), 1),
                        _ => _ = poll(&mut fds, 1, -1),
                    }
                    _exit(0);
                }
                let mut status = 0;
                waitpid(sleeper, &mut status, WUNTRACED);
                put(ends[1], if WIFSTOPPED(status) { b"z" } else { b"?" });
                kill(sleeper, SIGCONT);
                waitpid(sleeper, &mut status, 0);
                _exit(if WIFSIGNALED(status) { WTERMSIG(status) } else { 0 });
            }
            let mut byte = 0u8;
            read(ends[0], (&raw mut byte).cast(), 1);
            put(terminal, b"\x1a");
            read(ends[0], (&raw mut byte).cast(), 1);
            println!("Ctrl-Z: {}", byte as char);
            put(terminal, b"\x03");
            ended("Ctrl-C", leader);
            close(terminal);
        }
    }
}

/// On Linux a sleeper keeps the file: it goes on sleeping, and what arrives is still its own.
fn close_under_a_reader(folder: &str) {
    unsafe {
        let (c, a) = connected();
        let (ready, wait) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            ready.send(gettid()).unwrap();
            let mut byte = 0u8;
            let got = recv(a, (&raw mut byte).cast(), 1, 0);
            (got, byte)
        });
        until_asleep(getpid(), wait.recv().unwrap());
        show("close", close(a));
        println!("number is free: {}", dup2(fresh(folder, "f"), a) == a);
        println!("sent: {}", put(c, b"z"));
        println!("{:?}", reader.join().unwrap());
        println!("the new owner: {}", put(a, b"file"));
    }
}

fn shutdown_under_a_reader(_: &str) {
    unsafe {
        let (_c, a) = connected();
        let (s, _) = listener();
        for (fd, accepts) in [(a, false), (s, true)] {
            let (ready, wait) = std::sync::mpsc::channel();
            let sleeper = std::thread::spawn(move || {
                ready.send(gettid()).unwrap();
                let mut byte = 0u8;
                let got = if accepts {
                    accept(fd, null_mut(), null_mut()) as isize
                } else {
                    recv(fd, (&raw mut byte).cast(), 1, 0)
                };
                (got, if got < 0 { errno() } else { 0 })
            });
            until_asleep(getpid(), wait.recv().unwrap());
            show("shutdown", shutdown(fd, SHUT_RDWR));
            println!("{:?}", sleeper.join().unwrap());
        }
    }
}

unsafe extern "C" {
    fn __sigsetjmp(buffer: *mut c_void, save: c_int) -> c_int;
    fn siglongjmp(buffer: *mut c_void, value: c_int) -> !;
}

static JUMP: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

extern "C" fn jump(_: c_int) {
    unsafe { siglongjmp(JUMP.as_ptr().cast_mut().cast(), 1) };
}

fn longjmp_out_of_a_handler(folder: &str) {
    unsafe {
        let (_c, a) = connected();
        let fd = fresh(folder, "f");
        handle(SIGUSR1, jump, 0);
        static ROUND: AtomicI32 = AtomicI32::new(0);
        static CHILD: AtomicI32 = AtomicI32::new(0);
        if __sigsetjmp(JUMP.as_ptr().cast_mut().cast(), 1) == 0 {
            CHILD.store(pestered(SIGUSR1), Ordering::SeqCst);
        }
        if ROUND.fetch_add(1, Ordering::SeqCst) < 5 {
            let mut byte = 0u8;
            recv(a, (&raw mut byte).cast(), 1, 0);
            println!("not reached");
        }
        signal(SIGUSR1, SIG_IGN);
        relieve(CHILD.load(Ordering::SeqCst));
        println!("works: {}", put(fd, b"x"));
        let mut mask: sigset_t = zeroed();
        sigprocmask(SIG_BLOCK, null(), &mut mask);
        println!("blocked: {} {}", sigismember(&mask, SIGTERM), sigismember(&mask, SIGUSR1));
        print_file(fd);
    }
}

fn threads_on_one_socket(_: &str) {
    unsafe {
        let (c, a) = connected();
        let readers: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    let (mut total, mut bytes) = (0, [0u8; 100]);
                    loop {
                        let got = recv(a, bytes.as_mut_ptr().cast(), 100, 0);
                        if got <= 0 {
                            return total;
                        }
                        total += got;
                    }
                })
            })
            .collect();
        for _ in 0..2000 {
            assert!(put(c, &[1; 77]));
        }
        close(c);
        println!("{}", readers.into_iter().map(|reader| reader.join().unwrap()).sum::<isize>());
    }
}

fn alternate_stack(folder: &str) {
    unsafe {
        let mut stack = vec![0u128; 1 << 12];
        let given = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: 16 << 12 };
        show("sigaltstack", sigaltstack(&given, null_mut()));
        FD.store(fresh(folder, "f"), Ordering::SeqCst);
        handle(SIGUSR2, calls, SA_ONSTACK);
        for _ in 0..3 {
            raise(SIGUSR2);
        }
        println!("{}", HANDLED.load(Ordering::SeqCst));
        print_file(FD.load(Ordering::SeqCst));
    }
}
