//! Waiting: poll and select over descriptors of both kernels.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("poll_mixed", Processes, poll_mixed),
    ("poll_stream_ends", OneProcess, poll_stream_ends),
    ("poll_connects", OneProcess, poll_connects),
    ("poll_datagrams", OneProcess, poll_datagrams),
    ("poll_fifo", OneProcess, poll_fifo),
    ("poll_kinds", OneProcess, poll_kinds),
    ("poll_terminal", OneProcess, poll_terminal),
    ("poll_odd_entries", OneProcess, poll_odd_entries),
    ("poll_shared_by_fork", Processes, poll_shared_by_fork),
    ("ppoll_mask", OneProcess, ppoll_mask),
    ("pselect_mask", OneProcess, pselect_mask),
    ("select_bits", OneProcess, select_bits),
    ("select_high_numbers", OneProcess, select_high_numbers),
    ("select_time_left", OneProcess, select_time_left),
];

/// Polls one descriptor and prints what is there.
unsafe fn look(what: &str, fd: c_int, events: c_short, limit: c_int) {
    unsafe {
        let mut one = pollfd { fd, events, revents: 0 };
        let ready = poll(&mut one, 1, limit);
        println!("{what}: {ready} {:#x}", one.revents);
    }
}

const ALL: c_short = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM;

fn poll_stream_ends(_: &str) {
    unsafe {
        let (c, a) = connected();
        look("open", a, ALL, 0);
        shutdown(c, SHUT_WR);
        look("half closed", a, POLLRDHUP, 5000);
        look("half closed, all", a, ALL, 5000);
        look("the other end", c, ALL, 0);
        shutdown(a, SHUT_WR);
        look("both", a, ALL, 5000);
        look("both, the other end", c, POLLHUP, 5000);
        close(a);
        close(c);
        let (c, a) = connected();
        let linger = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), size_of::<linger>() as socklen_t);
        close(c);
        look("reset", a, 0, 5000);
        look("reset, all", a, ALL, 0);
        let mut byte = 0u8;
        show("recv", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        look("reset and told", a, ALL, 0);
        close(a);
        let (c, a) = connected();
        shutdown(a, SHUT_RD);
        look("reading shut", a, ALL, 0);
        close(a);
        close(c);
    }
}

fn poll_connects(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        look("fresh", s, ALL, 0);
        let (l, addr) = listener();
        look("listening", l, ALL, 0);
        let c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(c, (&raw const addr).cast(), LEN);
        look("connected", c, ALL, 5000);
        look("to be accepted", l, ALL, 5000);
        let mut error = 0;
        let mut len = size_of::<c_int>() as socklen_t;
        getsockopt(c, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len);
        println!("{error}");
        let a = accept(l, null_mut(), null_mut());
        look("accepted", l, ALL, 0);
        close(l);
        let c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(c, (&raw const addr).cast(), LEN);
        look("refused", c, POLLOUT, 5000);
        look("refused, all", c, ALL, 0);
        getsockopt(c, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len);
        println!("{error}");
        look("refused and told", c, ALL, 0);
        close(a);
    }
}

fn poll_datagrams(_: &str) {
    unsafe {
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        let mut addr = loopback(0);
        bind(u, (&raw const addr).cast(), LEN);
        let mut len = LEN;
        getsockname(u, (&raw mut addr).cast(), &mut len);
        look("empty", u, ALL, 0);
        let v = socket(AF_INET, SOCK_DGRAM, 0);
        show("send", sendto(v, b"x".as_ptr().cast(), 1, 0, (&raw const addr).cast(), LEN) as i64);
        look("one", u, ALL, 5000);
        let mut byte = 0u8;
        recv(u, (&raw mut byte).cast(), 1, 0);
        look("none", u, POLLIN, 20);
        close(u);
        connect(v, (&raw const addr).cast(), LEN);
        show("to nobody", send(v, b"x".as_ptr().cast(), 1, 0) as i64);
        look("refused", v, POLLIN, 5000);
        show("recv", recv(v, (&raw mut byte).cast(), 1, 0) as i64);
        look("told", v, ALL, 0);
        shutdown(v, SHUT_RD);
        look("reading shut", v, ALL, 0);
    }
}

fn poll_fifo(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        show("mkfifo", mkfifo(name.as_ptr(), 0o600));
        let r = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        look("nobody writes yet", r, ALL, 0);
        let w = open(name.as_ptr(), O_WRONLY | O_NONBLOCK);
        look("writer", w, ALL, 0);
        look("reader", r, ALL, 0);
        write(w, b"xy".as_ptr().cast(), 2);
        look("reader has", r, ALL, 0);
        let mut some = [0u8; 4096];
        while write(w, some.as_ptr().cast(), some.len()) > 0 {}
        look("full", w, ALL, 0);
        while read(r, some.as_mut_ptr().cast(), some.len()) == some.len() as isize {}
        look("room", w, ALL, 0);
        write(w, b"z".as_ptr().cast(), 1);
        close(w);
        look("writer gone", r, ALL, 0);
        read(r, some.as_mut_ptr().cast(), some.len());
        look("and empty", r, ALL, 0);
        let w = open(name.as_ptr(), O_WRONLY | O_NONBLOCK);
        close(r);
        look("reader gone", w, ALL, 0);
        unlink(name.as_ptr());
    }
}

/// Descriptors that only the host has, beside a socket.
fn poll_kinds(_: &str) {
    unsafe {
        let (c, a) = connected();
        let folder = path("/tmp", &format!("scenario-{}", getpid()));
        mkdir(folder.as_ptr(), 0o700);
        let inotify = inotify_init1(0);
        inotify_add_watch(inotify, folder.as_ptr(), IN_CREATE);
        let mut block: sigset_t = zeroed();
        sigemptyset(&mut block);
        sigaddset(&mut block, SIGUSR1);
        sigprocmask(SIG_BLOCK, &block, null_mut());
        let fds = [eventfd(0, 0), timerfd_create(CLOCK_MONOTONIC, 0), signalfd(-1, &block, 0), inotify, a];
        let mut set = fds.map(|fd| pollfd { fd, events: POLLIN, revents: 0 });
        let mut round = |what: &str, limit: c_int| {
            show(what, poll(set.as_mut_ptr(), set.len() as nfds_t, limit));
            println!("{:?}", set.map(|one| one.revents));
        };
        round("nothing", 20);
        let one = 1u64;
        write(fds[0], (&raw const one).cast(), 8);
        round("event", 5000);
        let mut eight = 0u64;
        read(fds[0], (&raw mut eight).cast(), 8);
        let soon = itimerspec { it_interval: zeroed(), it_value: timespec { tv_sec: 0, tv_nsec: 20_000_000 } };
        timerfd_settime(fds[1], 0, &soon, null_mut());
        round("timer", 5000);
        read(fds[1], (&raw mut eight).cast(), 8);
        kill(getpid(), SIGUSR1);
        round("signal", 5000);
        let mut info: signalfd_siginfo = zeroed();
        read(fds[2], (&raw mut info).cast(), size_of::<signalfd_siginfo>());
        println!("{}", info.ssi_signo);
        let name = path(folder.to_str().unwrap(), "x");
        close(open(name.as_ptr(), O_CREAT | O_WRONLY, 0o600));
        round("watch", 5000);
        let mut events = [0u8; 256];
        read(fds[3], events.as_mut_ptr().cast(), events.len());
        send(c, b"x".as_ptr().cast(), 1, 0);
        round("socket", 5000);
        write(fds[0], (&raw const one).cast(), 8);
        round("event and socket", 5000);
        unlink(name.as_ptr());
        rmdir(folder.as_ptr());
    }
}

fn poll_terminal(_: &str) {
    unsafe {
        let (c, a) = connected();
        let master = posix_openpt(O_RDWR | O_NOCTTY);
        grantpt(master);
        unlockpt(master);
        let slave = open(ptsname(master), O_RDWR | O_NOCTTY);
        let mut fds = [slave, a].map(|fd| pollfd { fd, events: POLLIN, revents: 0 });
        show("nothing", poll(fds.as_mut_ptr(), 2, 20));
        write(master, b"line\n".as_ptr().cast(), 5);
        show("a line", poll(fds.as_mut_ptr(), 2, 5000));
        println!("{} {}", fds[0].revents, fds[1].revents);
        let mut line = [0u8; 64];
        show("read", read(slave, line.as_mut_ptr().cast(), 64) as i64);
        send(c, b"x".as_ptr().cast(), 1, 0);
        show("the socket", poll(fds.as_mut_ptr(), 2, 5000));
        println!("{} {}", fds[0].revents, fds[1].revents);
        close(master);
        show("hung up", poll(fds.as_mut_ptr(), 2, 5000));
        println!("{:#x} {}", fds[0].revents, fds[1].revents);
    }
}

fn poll_odd_entries(_: &str) {
    unsafe {
        let (c, a) = connected();
        let gone = dup(a);
        close(gone);
        let mut fds = [a, -1, gone, -7, c].map(|fd| pollfd { fd, events: POLLIN, revents: 0x7fff });
        show("odd", poll(fds.as_mut_ptr(), 5, 5000));
        println!("{:?}", fds.map(|one| one.revents));
        let mut twice = [a, a].map(|fd| pollfd { fd, events: POLLOUT, revents: 0 });
        show("twice", poll(twice.as_mut_ptr(), 2, 5000));
        let mut limit = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
        show("no such time", ppoll(twice.as_mut_ptr(), 2, &limit, null()));
        limit = timespec { tv_sec: -1, tv_nsec: 0 };
        show("past", ppoll(twice.as_mut_ptr(), 2, &limit, null()));
        show("negative", poll(twice.as_mut_ptr(), 2, -5));
        let mut quiet = pollfd { fd: a, events: 0, revents: 0 };
        show("asks for nothing", poll(&mut quiet, 1, 20));
        close(c);
        shutdown(a, SHUT_WR);
        show("and is told of the end", poll(&mut quiet, 1, 5000));
        println!("{:#x}", quiet.revents);
    }
}

fn poll_shared_by_fork(_: &str) {
    unsafe {
        let (c, a) = connected();
        let child = fork();
        if child == 0 {
            let mut one = pollfd { fd: a, events: POLLIN, revents: 0 };
            let ready = poll(&mut one, 1, 10_000);
            _exit(if (ready, one.revents) == (1, POLLIN) { 7 } else { 1 });
        }
        send(c, b"x".as_ptr().cast(), 1, 0);
        look("parent", a, POLLIN, 10_000);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("child {}", WEXITSTATUS(status));
    }
}

extern "C" fn noted(_: c_int) {
    NOTED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

static NOTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Blocks SIGUSR1, has it noted when it is delivered, and leaves one pending; the mask without it.
pub unsafe fn pending_signal() -> sigset_t {
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = noted as extern "C" fn(c_int) as usize;
        action.sa_flags = SA_RESTART;
        sigaction(SIGUSR1, &action, null_mut());
        let mut mask: sigset_t = zeroed();
        sigemptyset(&mut mask);
        sigaddset(&mut mask, SIGUSR1);
        let mut before: sigset_t = zeroed();
        sigprocmask(SIG_BLOCK, &mask, &mut before);
        kill(getpid(), SIGUSR1);
        before
    }
}

/// How many signals were noted.
pub fn noted_signals() -> u32 {
    NOTED.load(std::sync::atomic::Ordering::SeqCst)
}

fn ppoll_mask(_: &str) {
    unsafe {
        let (_c, a) = connected();
        let mask = pending_signal();
        let mut one = pollfd { fd: a, events: POLLIN, revents: 0 };
        let short = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        show("blocked", ppoll(&mut one, 1, &short, null()));
        println!("{}", noted_signals());
        show("let through", ppoll(&mut one, 1, null(), &mask));
        println!("{}", noted_signals());
        show("gone", ppoll(&mut one, 1, &short, &mask));
        one.events = POLLOUT;
        show("ready", ppoll(&mut one, 1, null(), &mask));
    }
}

fn pselect_mask(_: &str) {
    unsafe {
        let (_c, a) = connected();
        let mask = pending_signal();
        let mut set: fd_set = zeroed();
        let mut round = |what: &str, limit: *const timespec, mask: *const sigset_t| {
            FD_SET(a, &mut set);
            show(what, pselect(a + 1, &mut set, null_mut(), null_mut(), limit, mask));
            println!("{} {}", FD_ISSET(a, &set), noted_signals());
        };
        let short = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        round("blocked", &short, null());
        round("let through", null(), &mask);
        round("gone", &short, &mask);
    }
}

fn select_high_numbers(_: &str) {
    unsafe {
        let (c, a) = connected();
        let high = fcntl(a, F_DUPFD, 900);
        show("number", high);
        let mut set: fd_set = zeroed();
        FD_SET(high, &mut set);
        send(c, b"x".as_ptr().cast(), 1, 0);
        show("select", select(high + 1, &mut set, null_mut(), null_mut(), null_mut()));
        println!("{}", FD_ISSET(high, &set));
        let mut none = timeval { tv_sec: 0, tv_usec: 0 };
        show("below it", select(high, &mut set, null_mut(), null_mut(), &mut none));
        show("negative", select(-1, &mut set, null_mut(), null_mut(), &mut none));
        none.tv_usec = -1;
        show("negative time", select(high + 1, &mut set, null_mut(), null_mut(), &mut none));
    }
}

fn select_time_left(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut set: fd_set = zeroed();
        FD_SET(a, &mut set);
        let mut limit = timeval { tv_sec: 0, tv_usec: 20_000 };
        show("over", select(a + 1, &mut set, null_mut(), null_mut(), &mut limit));
        println!("{} {}", limit.tv_sec, limit.tv_usec);
        send(c, b"x".as_ptr().cast(), 1, 0);
        FD_SET(a, &mut set);
        limit = timeval { tv_sec: 50, tv_usec: 0 };
        show("early", select(a + 1, &mut set, null_mut(), null_mut(), &mut limit));
        println!("{}", (40..50).contains(&limit.tv_sec));
    }
}

fn poll_mixed(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let mut fds = [
            pollfd { fd: a, events: POLLIN, revents: 0 },
            pollfd { fd: ends[0], events: POLLIN, revents: 0 },
            pollfd { fd: c, events: POLLOUT, revents: 0 },
        ];
        let mut round = |what: &str, count: nfds_t, limit: c_int| {
            show(what, poll(fds.as_mut_ptr(), count, limit));
            println!("{:#x} {:#x}", fds[0].revents, fds[1].revents);
        };
        round("nothing", 2, 20);
        round("at once", 2, 0);
        write(ends[1], b"x".as_ptr().cast(), 1);
        round("host", 2, -1);
        send(c, b"x".as_ptr().cast(), 1, 0);
        round("both", 2, -1);
        let mut byte = 0u8;
        read(ends[0], (&raw mut byte).cast(), 1);
        round("rump", 2, -1);
        round("three", 3, -1);
        recv(a, (&raw mut byte).cast(), 1, 0);
        let child = fork();
        if child == 0 {
            until_asleep(getppid(), getppid());
            write(ends[1], b"y".as_ptr().cast(), 1);
            _exit(0);
        }
        round("host later", 2, -1);
        waitpid(child, null_mut(), 0);
        read(ends[0], (&raw mut byte).cast(), 1);
        let child = fork();
        if child == 0 {
            until_asleep(getppid(), getppid());
            send(c, b"y".as_ptr().cast(), 1, 0);
            _exit(0);
        }
        round("rump later", 2, -1);
        waitpid(child, null_mut(), 0);
        close(c);
        recv(a, (&raw mut byte).cast(), 1, 0);
        round("closed", 1, -1);
        close(a);
        round("invalid", 1, -1);
        show("sleep", poll(null_mut(), 0, 10));
    }
}

fn select_bits(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let mut readable: fd_set = zeroed();
        FD_SET(a, &mut readable);
        FD_SET(ends[0], &mut readable);
        let mut writable: fd_set = zeroed();
        FD_SET(c, &mut writable);
        let top = [a, c, ends[0]].into_iter().max().unwrap() + 1;
        let mut limit = timeval { tv_sec: 5, tv_usec: 0 };
        show("writable", select(top, &mut readable, &mut writable, null_mut(), &mut limit));
        println!("{} {} {}", FD_ISSET(a, &readable), FD_ISSET(ends[0], &readable), FD_ISSET(c, &writable));
        FD_SET(a, &mut readable);
        let mut limit = timeval { tv_sec: 0, tv_usec: 10_000 };
        show("timeout", select(top, &mut readable, null_mut(), null_mut(), &mut limit));
        println!("{}", FD_ISSET(a, &readable));
        send(c, b"x".as_ptr().cast(), 1, 0);
        FD_SET(a, &mut readable);
        FD_SET(ends[0], &mut readable);
        show("readable", select(top, &mut readable, null_mut(), null_mut(), null_mut()));
        println!("{} {}", FD_ISSET(a, &readable), FD_ISSET(ends[0], &readable));
        close(a);
        FD_SET(a, &mut readable);
        show("closed", select(top, &mut readable, null_mut(), null_mut(), null_mut()));
    }
}
