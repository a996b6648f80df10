//! Urgent data, and what else of TCP only options show: deferred accepts, shared ports, a time limit for data.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("urgent", OneProcess, urgent),
    ("urgent_inline", OneProcess, inline),
    ("urgent_again", OneProcess, again),
    ("urgent_poll", OneProcess, polled),
    ("urgent_errors", OneProcess, errors),
    ("tcp_defer_accept", OneProcess, defer),
    ("tcp_shares", OneProcess, shares),
    ("tcp_user_timeout", OneProcess, user_timeout),
    ("tcp_half_closed_states", OneProcess, states),
    ("tcp_window", OneProcess, window),
];

/// Sends some bytes.
pub fn put(s: c_int, data: &[u8], flags: c_int) {
    unsafe {
        show(
            &format!("send {:?}", String::from_utf8_lossy(data)),
            send(s, data.as_ptr().cast(), data.len(), flags) as i64,
        )
    };
}

/// Receives what there is.
pub fn get(what: &str, s: c_int, flags: c_int) {
    unsafe {
        let mut data = [0u8; 100];
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        let len = show(what, recvmsg(s, &mut message, flags | MSG_DONTWAIT) as i64);
        if len >= 0 {
            println!("  {:?} flags {:x}", String::from_utf8_lossy(&data[..len as usize]), message.msg_flags);
        }
    }
}

pub fn at_mark(s: c_int) {
    unsafe extern "C" {
        fn sockatmark(fd: c_int) -> c_int;
    }
    let (mut readable, mut mark) = (-1, -1);
    let (r, m) = unsafe { (ioctl(s, FIONREAD, &mut readable), ioctl(s, SIOCATMARK, &mut mark)) };
    println!("FIONREAD {r} {readable} SIOCATMARK {m} {mark} sockatmark {}", unsafe { sockatmark(s) });
}

/// Linux's number; libc lacks it.
const SIOCATMARK: c_ulong = 0x8905;

pub fn events(s: c_int) {
    let mut fds = [pollfd { fd: s, events: POLLIN | POLLPRI | POLLRDBAND, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 0) };
    println!("events {:x}", fds[0].revents);
}

fn urgent(_: &str) {
    unsafe {
        let (c, a) = connected();
        at_mark(a);
        put(c, b"abc", MSG_OOB);
        put(c, b"de", 0);
        events(a);
        at_mark(a);
        get("peek", a, MSG_PEEK);
        get("up to the mark", a, 0);
        at_mark(a);
        events(a);
        get("peek at the urgent byte", a, MSG_OOB | MSG_PEEK);
        get("the urgent byte", a, MSG_OOB);
        events(a);
        get("once", a, MSG_OOB);
        at_mark(a);
        get("peek over it", a, MSG_PEEK);
        get("the rest", a, 0);
        at_mark(a);
        get("nothing", a, 0);
        put(c, b"x", MSG_OOB);
        events(a);
        get("only urgent", a, 0);
        events(a);
        get("the byte is gone with it", a, MSG_OOB);
        put(c, b"", MSG_OOB);
        put(c, b"ab", MSG_OOB);
        get("read before", a, MSG_OOB);
        get("the rest", a, 0);
        get("nothing", a, 0);
        put(c, b"cdU", MSG_OOB);
        put(c, b"ef", 0);
        let mut all = [0u8; 5];
        show("all", recv(a, all.as_mut_ptr().cast(), 5, MSG_WAITALL) as i64);
        println!("{:?}", String::from_utf8_lossy(&all));
    }
}

fn inline(_: &str) {
    unsafe {
        let (c, a) = connected();
        let on: c_int = 1;
        setsockopt(a, SOL_SOCKET, SO_OOBINLINE, (&raw const on).cast(), 4);
        put(c, b"abU", MSG_OOB);
        put(c, b"de", 0);
        at_mark(a);
        get("not by itself", a, MSG_OOB);
        get("up to the mark", a, 0);
        at_mark(a);
        events(a);
        get("with the rest", a, 0);
        at_mark(a);
        events(a);
    }
}

fn again(_: &str) {
    unsafe {
        let (c, a) = connected();
        put(c, b"ab1", MSG_OOB);
        put(c, b"cd2", MSG_OOB);
        at_mark(a);
        get("the one before is plain now", a, 0);
        at_mark(a);
        get("the second", a, MSG_OOB);
        put(c, b"3", MSG_OOB);
        at_mark(a);
        get("the third", a, MSG_OOB);
        get("nothing else", a, 0);
        put(c, b"end", MSG_OOB);
        shutdown(c, SHUT_WR);
        get("before the end", a, 0);
        get("urgent at the end", a, MSG_OOB);
        get("the end", a, 0);
        get("after it", a, MSG_OOB);
    }
}

fn polled(_: &str) {
    unsafe {
        let (c, a) = connected();
        let set = epoll_create1(0);
        let mut wanted = epoll_event { events: (EPOLLPRI | EPOLLET) as u32, u64: 7 };
        epoll_ctl(set, EPOLL_CTL_ADD, a, &mut wanted);
        let mut got = [epoll_event { events: 0, u64: 0 }; 2];
        show("nothing", epoll_wait(set, got.as_mut_ptr(), 2, 0));
        put(c, b"u", MSG_OOB);
        show("urgent", epoll_wait(set, got.as_mut_ptr(), 2, 10_000));
        println!("{:x}", { got[0].events });
        let mut except: fd_set = zeroed();
        FD_SET(a, &mut except);
        let mut limit = timeval { tv_sec: 10, tv_usec: 0 };
        show("select", select(a + 1, null_mut(), null_mut(), &mut except, &mut limit));
        println!("{}", FD_ISSET(a, &except));
        get("urgent", a, MSG_OOB);
        show("no more", epoll_wait(set, got.as_mut_ptr(), 2, 0));
    }
}

fn errors(_: &str) {
    unsafe {
        let (_c, a) = connected();
        get("none", a, MSG_OOB);
        let s = socket(AF_INET, SOCK_STREAM, 0);
        get("unconnected", s, MSG_OOB);
        let (l, _) = listener();
        get("listening", l, MSG_OOB);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        bind(u, ptr(&loopback(0)), LEN);
        get("of datagrams", u, MSG_OOB);
        connect(u, ptr(&loopback(9)), LEN);
        put(u, b"x", MSG_OOB);
        let mut mark = -1;
        show("SIOCATMARK of datagrams", ioctl(u, SIOCATMARK, &mut mark));
        get("queue of errors", a, MSG_ERRQUEUE);
    }
}

fn option(s: c_int, name: c_int, value: c_int) -> String {
    let set = super::socket_options::set(s, IPPROTO_TCP, name, value);
    let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
    unsafe { getsockopt(s, IPPROTO_TCP, name, (&raw mut got).cast(), &mut len) };
    format!("{set} {got}")
}

fn defer(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        for value in [-1, 0, 1, 2, 3, 5, 10, 100] {
            println!("TCP_DEFER_ACCEPT {value}: {}", option(s, TCP_DEFER_ACCEPT, value));
        }
        bind(s, ptr(&loopback(0)), LEN);
        listen(s, 5);
        let (mut addr, mut len) = (loopback(0), LEN);
        getsockname(s, (&raw mut addr).cast(), &mut len);
        let c = socket(AF_INET, SOCK_STREAM, 0);
        show("connect", connect(c, ptr(&addr), LEN));
        works("not without data", accept(s, null_mut(), null_mut()));
        put(c, b"data", 0);
        println!("ready {:x}", ready(s, POLLIN));
        let a = works("with it", accept(s, null_mut(), null_mut()));
        println!("{}", a == 0);
    }
}

/// Connections to one port that several listeners share: all get some.
fn shares(_: &str) {
    const SHARERS: usize = 4;
    const FLOWS: usize = 64;
    unsafe {
        let mut to = loopback(0);
        let on: c_int = 1;
        let sharers: Vec<c_int> = (0..SHARERS)
            .map(|_| {
                let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
                setsockopt(s, SOL_SOCKET, SO_REUSEPORT, (&raw const on).cast(), 4);
                assert_eq!(bind(s, ptr(&to), LEN), 0);
                assert_eq!(listen(s, FLOWS as c_int), 0);
                let mut len = LEN;
                getsockname(s, (&raw mut to).cast(), &mut len);
                s
            })
            .collect();
        let clients: Vec<c_int> = (0..FLOWS)
            .map(|_| {
                let c = socket(AF_INET, SOCK_STREAM, 0);
                assert_eq!(connect(c, ptr(&to), LEN), 0);
                c
            })
            .collect();
        let got: Vec<usize> = sharers
            .iter()
            .map(|s| std::iter::from_fn(|| Some(accept(*s, null_mut(), null_mut())).filter(|a| *a >= 0)).count())
            .collect();
        println!("all {} of {}, idle {}", got.iter().sum::<usize>(), clients.len(), got.contains(&0));
    }
}

fn user_timeout(_: &str) {
    unsafe {
        let (c, _a) = connected();
        println!("TCP_USER_TIMEOUT: {}", option(c, TCP_USER_TIMEOUT, 300));
        fcntl(c, F_SETFL, O_NONBLOCK);
        let chunk = vec![0u8; 1 << 16];
        while send(c, chunk.as_ptr().cast(), chunk.len(), MSG_NOSIGNAL) > 0 {}
        println!("full: {}", errno() == EAGAIN);
        // Nobody reads: what is behind the window is not acknowledged in time.
        let mut fds = [pollfd { fd: c, events: 0, revents: 0 }];
        poll(fds.as_mut_ptr(), 1, 20_000);
        println!("events {:x}", fds[0].revents);
        println!("{}", pending(c) == ETIMEDOUT);
        show("and then", send(c, chunk.as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
    }
}

fn state(fd: c_int) -> u8 {
    let (mut info, mut len): ([u8; 232], socklen_t) = ([0; 232], 232);
    unsafe { getsockopt(fd, IPPROTO_TCP, TCP_INFO, info.as_mut_ptr().cast(), &mut len) };
    info[0]
}

/// Linux's number of FIN-WAIT-2.
const FIN_WAIT2: u8 = 5;

/// Waits for a state: the peer's acknowledgement of an end may be late.
fn until(fd: c_int, wanted: u8) {
    while state(fd) != wanted {
        unsafe { usleep(1000) };
    }
}

fn states(_: &str) {
    unsafe {
        let (c, a) = connected();
        println!("open {} {}", state(c), state(a));
        shutdown(c, SHUT_WR);
        get("end", a, 0);
        until(c, FIN_WAIT2);
        println!("half closed {} {}", state(c), state(a));
        put(a, b"still", 0);
        get("arrives", c, 0);
        shutdown(a, SHUT_WR);
        get("end", c, 0);
        println!("both {} {}", state(c), state(a));
        show("again", shutdown(a, SHUT_WR));
        let (c, a) = connected();
        put(c, b"unread", 0);
        close(a);
        get("reset", c, 0);
        println!("reset {}", state(c));
        let (c, a) = connected();
        put(a, b"last", 0);
        put(c, b"unread", 0);
        close(a);
        get("what came before the reset", c, 0);
        println!("pending {}", pending(c) == ECONNRESET);
    }
}

fn window(_: &str) {
    unsafe {
        let (c, a) = connected();
        fcntl(c, F_SETFL, O_NONBLOCK);
        let chunk = vec![7u8; 1 << 16];
        let mut sent = 0;
        loop {
            let n = send(c, chunk.as_ptr().cast(), chunk.len(), 0);
            if n < 0 {
                break;
            }
            sent += n;
        }
        println!("full: {} {}", sent > 100_000, errno() == EAGAIN);
        let mut queued = 0;
        show("SIOCOUTQ", ioctl(c, TIOCOUTQ, &mut queued));
        println!("some wait {}", queued > 0);
        shutdown(c, SHUT_WR);
        println!("the end waits too: {}", state(c));
        let (mut got, mut buf) = (0, vec![0u8; 10_000]);
        loop {
            let n = recv(a, buf.as_mut_ptr().cast(), buf.len(), 0);
            assert!(n >= 0 && buf[..n as usize].iter().all(|byte| *byte == 7));
            if n == 0 {
                break;
            }
            got += n;
        }
        println!("all of it: {}", got == sent);
        until(c, FIN_WAIT2);
        show("SIOCOUTQ", ioctl(c, TIOCOUTQ, &mut queued));
        println!("{queued} {}", state(c));
    }
}
