//! Job control: sessions, foreground and background, signals of the keyboard and of a new size, hanging up.
//!
//! A child leads a session of its own and takes the terminal; the parent has the master, and hears from the child over a pipe of the host.

use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("terminal_session", JobControl, session),
    ("terminal_opened_by_a_leader", JobControl, opened_by_a_leader),
    ("terminal_keys", JobControl, keys),
    ("terminal_keys_reach_idle", JobControl, keys_reach_idle),
    ("terminal_size_signal", JobControl, size_signal),
    ("terminal_background_read", JobControl, background_read),
    ("terminal_background_write", JobControl, background_write),
    ("terminal_background_change", JobControl, background_change),
    ("terminal_hangup_signal", JobControl, hangup_signal),
    ("terminal_leader_ends", JobControl, leader_ends),
    ("terminal_stop_and_continue", JobControl, stop_and_continue),
    ("terminal_shell", JobControl, shell),
];

/// Runs `body` in a child that leads a session and has the slave as its terminal; returns the master and the child.
unsafe fn led(folder: &str, body: impl FnOnce(c_int)) -> (c_int, pid_t) {
    unsafe {
        let master = master(folder);
        let child = fork();
        if child == 0 {
            setsid();
            let slave = slave(folder, master);
            close(master);
            assert_eq!(ioctl(slave, TIOCSCTTY, 0), 0, "TIOCSCTTY: {}", errno());
            alarm(30);
            body(slave);
            flush();
            _exit(0);
        }
        (master, child)
    }
}

/// What a child has printed must be out before it ends by `_exit`.
fn flush() {
    use std::io::Write;
    std::io::stdout().flush().unwrap();
}

/// Says how a child ended.
unsafe fn ended(what: &str, child: pid_t) {
    unsafe {
        let mut status = 0;
        assert_eq!(waitpid(child, &mut status, WUNTRACED), child);
        if WIFSIGNALED(status) {
            println!("{what}: by {}", text(strsignal(WTERMSIG(status))));
        } else if WIFSTOPPED(status) {
            println!("{what}: stopped by {}", text(strsignal(WSTOPSIG(status))));
        } else {
            println!("{what}: {}", WEXITSTATUS(status));
        }
        flush();
    }
}

/// Lets the other side go on.
unsafe fn go(pipe: &[c_int; 2]) {
    unsafe { assert_eq!(write(pipe[1], c"!".as_ptr().cast(), 1), 1) };
}

/// Waits until the other side lets this one go on.
unsafe fn wait_go(pipe: &[c_int; 2]) {
    let mut byte = 0u8;
    unsafe { while read(pipe[0], (&raw mut byte).cast(), 1) < 0 && errno() == EINTR {} }
}

unsafe fn host_pipe() -> [c_int; 2] {
    let mut ends = [0; 2];
    unsafe { assert_eq!(pipe(ends.as_mut_ptr()), 0) };
    ends
}

fn session(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            let mut value = 0;
            show("TIOCSCTTY again", ioctl(slave, TIOCSCTTY, 0));
            println!("session {}", tcgetsid(slave) == getpid());
            println!("foreground {}", tcgetpgrp(slave) == getpgrp());
            show("no such group", tcsetpgrp(slave, 0x3fff_ff00));
            show("no group", tcsetpgrp(slave, -1));
            show("another session's", tcsetpgrp(slave, getppid()));
            let member = fork();
            if member == 0 {
                setpgid(0, 0);
                println!("in the background {}", tcgetpgrp(slave) == getppid());
                signal(SIGTTOU, SIG_IGN);
                show("into the foreground", tcsetpgrp(slave, getpgrp()));
                println!("{}", tcgetpgrp(slave) == getpid());
                show("not its leader", ioctl(slave, TIOCSCTTY, 0));
                show("back", tcsetpgrp(slave, getppid()));
                show("TIOCNOTTY", ioctl(slave, TIOCNOTTY));
                show("without", ioctl(slave, TIOCGPGRP, &mut value));
                flush();
                _exit(0);
            }
            ended("member", member);
            println!("still {}", tcgetpgrp(slave) == getpgrp());
            signal(SIGHUP, SIG_IGN);
            show("TIOCNOTTY", ioctl(slave, TIOCNOTTY));
            show("without", ioctl(slave, TIOCGPGRP, &mut value));
            show("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
        });
        ended("leader", child);
        let mut value = 0;
        show("of the master", ioctl(master, TIOCGSID, &mut value));
        close(master);
    }
}

fn opened_by_a_leader(folder: &str) {
    unsafe {
        let master = master(folder);
        let tty = CString::new(format!("{}/tty", devices_of(folder))).unwrap();
        let child = fork();
        if child == 0 {
            setsid();
            show("no terminal", open(tty.as_ptr(), O_RDWR));
            let path = name_of(folder, master);
            let slave = open(path.as_ptr(), O_RDWR | O_NOCTTY);
            show("with O_NOCTTY", tcgetpgrp(slave));
            works("open", open(path.as_ptr(), O_RDWR));
            println!("{}", tcgetpgrp(slave) == getpid());
            let own = works("its terminal", open(tty.as_ptr(), O_RDWR));
            let own = if own >= 0 { open(tty.as_ptr(), O_RDWR) } else { own };
            println!("{} {}", isatty(own), tcgetpgrp(own) == getpid());
            write(own, c"hello".as_ptr().cast(), 5);
            flush();
            _exit(0);
        }
        ended("leader", child);
        println!("\"{}\"", shown(&heard_until(master, b"o")));
        close(master);
    }
}

/// What a handler does.
static HANDLER: std::sync::Mutex<Option<Box<dyn Fn() + Send>>> = std::sync::Mutex::new(None);

/// Has a signal do something.
unsafe fn on(signal: c_int, flags: c_int, body: impl Fn() + Send + 'static) {
    extern "C" fn caught(_: c_int) {
        if let Ok(handler) = HANDLER.try_lock()
            && let Some(handler) = &*handler
        {
            handler();
        }
    }
    *HANDLER.lock().unwrap() = Some(Box::new(body));
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = caught as *const () as usize;
        action.sa_flags = flags;
        sigaction(signal, &action, null_mut());
    }
}

/// Whether a process has a handler for SIGINT.
fn catches_interrupt(pid: pid_t) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
    u64::from_str_radix(caught, 16).unwrap() & 1 << (SIGINT - 1) != 0
}

/// Waits in ppoll(2), which alone lets `signal` in, until it comes; the caller has it blocked.
unsafe fn interrupted_by(signal: c_int, fd: c_int) {
    unsafe {
        let mut mask: sigset_t = zeroed();
        sigprocmask(SIG_BLOCK, null(), &mut mask);
        sigdelset(&mut mask, signal);
        let mut look = pollfd { fd, events: POLLIN, revents: 0 };
        show("ppoll", ppoll(&mut look, 1, null(), &mask));
    }
}

unsafe fn block(signal: c_int) {
    unsafe {
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, signal);
        sigprocmask(SIG_BLOCK, &set, null_mut());
    }
}

/// Ends of the processes of the foreground, each in a read of the terminal.
fn keys(folder: &str) {
    unsafe {
        for (what, key) in [("^C", b"\x03"), ("^\\", b"\x1c")] {
            let (master, child) = led(folder, |slave| {
                setrlimit(RLIMIT_CORE, &rlimit { rlim_cur: 0, rlim_max: 0 });
                write(slave, c"ready".as_ptr().cast(), 5);
                reads("never", slave, 10);
            });
            heard_until(master, b"ready");
            types(master, key);
            ended(what, child);
            close(master);
        }
        // A handler runs, and the read goes on or not. The key may come before the read, so it is typed until it was noticed there.
        for flags in [0, SA_RESTART] {
            let noticed = host_pipe();
            let (master, child) = led(folder, |slave| {
                on(SIGINT, flags, || ());
                if flags == SA_RESTART {
                    on(SIGINT, flags, move || go(&noticed));
                }
                reads("read", slave, 10);
                signal(SIGINT, SIG_IGN);
                if flags == 0 {
                    go(&noticed);
                    reads("read again", slave, 10);
                }
            });
            let mut look = pollfd { fd: noticed[0], events: POLLIN, revents: 0 };
            // Not before it has the terminal and the handler: the key would end it.
            let mut foreground = 0;
            while foreground != child || !catches_interrupt(child) {
                ioctl(master, TIOCGPGRP, &mut foreground);
            }
            while poll(&mut look, 1, 5) == 0 {
                types(master, b"gone\x03");
            }
            types(master, b"line\n");
            ended("leader", child);
            close(master);
        }
    }
}

/// A process that never calls the terminal gets the signal too.
fn keys_reach_idle(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            let other = fork();
            if other == 0 {
                close(slave);
                loop {
                    pause();
                }
            }
            signal(SIGINT, SIG_IGN);
            let sleeper = fork();
            if sleeper == 0 {
                signal(SIGINT, SIG_DFL);
                let busy = std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
                write(slave, c"ready".as_ptr().cast(), 5);
                busy.join().unwrap();
            }
            ended("a process", other);
            ended("another", sleeper);
        });
        heard_until(master, b"ready");
        types(master, b"\x03");
        ended("leader", child);
        close(master);
    }
}

fn size_signal(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            block(SIGWINCH);
            on(SIGWINCH, 0, || ());
            write(slave, c"ready".as_ptr().cast(), 5);
            interrupted_by(SIGWINCH, slave);
            let mut size: winsize = zeroed();
            ioctl(slave, TIOCGWINSZ, &mut size);
            println!("{} {}", size.ws_row, size.ws_col);
        });
        heard_until(master, b"ready");
        let size = winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let done = ioctl(master, TIOCSWINSZ, &size);
        // Both print, one after the other.
        ended("leader", child);
        show("size", done);
        close(master);
    }
}

/// A child of the leader in a group of its own, in the background.
unsafe fn in_background(body: impl FnOnce()) -> pid_t {
    unsafe {
        flush();
        let child = fork();
        if child == 0 {
            setpgid(0, 0);
            alarm(30);
            body();
            flush();
            _exit(0);
        }
        setpgid(child, child);
        child
    }
}

fn background_read(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            signal(SIGTTOU, SIG_IGN);
            let child = in_background(|| reads("read", slave, 100));
            ended("background", child);
            println!("{}", tcsetpgrp(slave, child));
            kill(child, SIGCONT);
            ended("foreground", child);
            tcsetpgrp(slave, getpgrp());
            let child = in_background(|| {
                signal(SIGTTIN, SIG_IGN);
                reads("ignored", slave, 100);
            });
            ended("ignoring", child);
            let child = in_background(|| {
                let mut set: sigset_t = zeroed();
                sigaddset(&mut set, SIGTTIN);
                sigprocmask(SIG_BLOCK, &set, null_mut());
                reads("blocked", slave, 100);
            });
            ended("blocking", child);
            let child = in_background(|| {
                on(SIGTTIN, 0, || {
                    write(1, c"caught\n".as_ptr().cast(), 7);
                });
                reads("caught", slave, 100);
            });
            ended("catching", child);
            // A child whose parent has gone: nobody could continue its group.
            let (gone, done) = (host_pipe(), host_pipe());
            let child = in_background(|| {
                let parent = getpid();
                let orphan = fork();
                if orphan == 0 {
                    setpgid(0, 0);
                    while getppid() == parent {
                        sched_yield();
                    }
                    wait_go(&gone);
                    reads("orphan", slave, 100);
                    flush();
                    go(&done);
                    _exit(0);
                }
            });
            ended("its parent", child);
            go(&gone);
            wait_go(&done);
        });
        types(master, b"line\n");
        ended("leader", child);
        close(master);
    }
}

fn background_write(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            let prints = |what: &'static str| {
                move || {
                    let len = write(slave, c"x".as_ptr().cast(), 1);
                    println!("{what}: {}", if len < 0 { text(strerror(errno())) } else { len.to_string() });
                }
            };
            ended("without TOSTOP", in_background(prints("written")));
            set(slave, |t| t.c_lflag |= TOSTOP);
            let child = in_background(prints("written after all"));
            ended("with TOSTOP", child);
            signal(SIGTTOU, SIG_IGN);
            tcsetpgrp(slave, child);
            kill(child, SIGCONT);
            ended("in the foreground", child);
            tcsetpgrp(slave, getpgrp());
            ended("ignoring", in_background(prints("ignored")));
        });
        ended("leader", child);
        println!("\"{}\"", shown(&heard_until(master, b"xxx")));
        close(master);
    }
}

fn background_change(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            let mut settings: termios = zeroed();
            tcgetattr(slave, &mut settings);
            let child = in_background(|| {
                let mut own: termios = zeroed();
                show("look", tcgetattr(slave, &mut own));
                flush();
                show("change", tcsetattr(slave, TCSANOW, &settings));
            });
            ended("change", child);
            kill(child, SIGKILL);
            ended("killed", child);
            let child = in_background(|| {
                show("foreground", tcsetpgrp(slave, getpgrp()));
            });
            ended("foreground", child);
            kill(child, SIGKILL);
            ended("killed", child);
            let child = in_background(|| {
                signal(SIGTTOU, SIG_IGN);
                show("change", tcsetattr(slave, TCSANOW, &settings));
                show("flush", tcflush(slave, TCIFLUSH));
                show("foreground", tcsetpgrp(slave, getpgrp()));
            });
            ended("ignoring", child);
            let child = in_background(|| {
                let mut set: sigset_t = zeroed();
                sigaddset(&mut set, SIGTTOU);
                sigprocmask(SIG_BLOCK, &set, null_mut());
                show("change", tcsetattr(slave, TCSANOW, &settings));
                let size = winsize { ws_row: 1, ws_col: 1, ws_xpixel: 0, ws_ypixel: 0 };
                show("size", ioctl(slave, TIOCSWINSZ, &size));
            });
            ended("blocking", child);
        });
        ended("leader", child);
        close(master);
    }
}

fn hangup_signal(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            write(slave, c"ready".as_ptr().cast(), 5);
            loop {
                pause();
            }
        });
        heard_until(master, b"ready");
        close(master);
        ended("leader", child);
    }
}

fn leader_ends(folder: &str) {
    unsafe {
        let told = host_pipe();
        let (master, child) = led(folder, |slave| {
            let member = fork();
            if member == 0 {
                block(SIGHUP);
                on(SIGHUP, 0, || ());
                write(slave, c"ready".as_ptr().cast(), 5);
                interrupted_by(SIGHUP, slave);
                show("no terminal", tcgetpgrp(slave));
                flush();
                go(&told);
                _exit(0);
            }
            let mut look = pollfd { fd: slave, events: POLLIN, revents: 0 };
            poll(&mut look, 1, 10_000);
        });
        heard_until(master, b"ready");
        kill(child, SIGKILL);
        wait_go(&told);
        ended("leader", child);
        close(master);
    }
}

fn stop_and_continue(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            signal(SIGTTOU, SIG_IGN);
            let job = in_background(|| {
                write(slave, c"ready".as_ptr().cast(), 5);
                reads("the job", slave, 100);
            });
            tcsetpgrp(slave, job);
            ended("^Z", job);
            tcsetpgrp(slave, getpgrp());
            write(slave, c"shell".as_ptr().cast(), 5);
            reads("the shell", slave, 100);
            kill(job, SIGCONT);
            ended("in the background", job);
            tcsetpgrp(slave, job);
            kill(job, SIGCONT);
            write(slave, c"job".as_ptr().cast(), 3);
            ended("in the foreground", job);
        });
        heard_until(master, b"ready");
        // It may be a moment until the job is in the foreground.
        let mut foreground = 0;
        while foreground == 0 || foreground == child {
            ioctl(master, TIOCGPGRP, &mut foreground);
        }
        types(master, b"\x1a");
        heard_until(master, b"shell");
        types(master, b"for the shell\n");
        heard_until(master, b"job");
        types(master, b"for the job\n");
        ended("leader", child);
        close(master);
    }
}

fn shell(folder: &str) {
    unsafe {
        let (master, child) = led(folder, |slave| {
            for fd in 0..3 {
                dup2(slave, fd);
            }
            let shell = c"stty -echo; test -t 0 && read -r line && echo \"got $line\"; stty -a | head -n 1";
            execlp(c"sh".as_ptr(), c"sh".as_ptr(), c"-c".as_ptr(), shell.as_ptr(), null::<c_char>());
        });
        types(master, b"something\n");
        ended("shell", child);
        let all = heard_until(master, b"line = 0;\r\n");
        println!(
            "{}",
            String::from_utf8_lossy(&all).contains("got something\r\nspeed 38400 baud; rows 0; columns 0; ")
        );
        close(master);
    }
}
