//! Options that change what other calls do: linger, time limits, addresses used again.

use super::prelude::*;
use super::socket_options::set;

/// The family.
pub const TABLE: &[Row] = &[
    ("option_linger", OneProcess, lingering),
    ("option_timeouts", OneProcess, timeouts),
    ("option_timeouts_plain", OneProcess, timeouts_of_plain_calls),
    ("option_reuse", OneProcess, reuse),
];

fn lingering(_: &str) {
    unsafe {
        let get = |fd| {
            let (mut value, mut len) = (linger { l_onoff: -1, l_linger: -1 }, 8);
            getsockopt(fd, SOL_SOCKET, SO_LINGER, (&raw mut value).cast(), &mut len);
            println!("{} {} {len}", value.l_onoff, value.l_linger);
        };
        let (c, a) = connected();
        get(c);
        let value = linger { l_onoff: 5, l_linger: 7 };
        show("set", setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const value).cast(), 8));
        get(c);
        let value = linger { l_onoff: 0, l_linger: 9 };
        show("off", setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const value).cast(), 8));
        get(c);
        // Off: close returns at once, and what was sent arrives.
        send(c, b"last words".as_ptr().cast(), 10, 0);
        close(c);
        let mut buf = [0u8; 32];
        show("arrives", recv(a, buf.as_mut_ptr().cast(), 32, MSG_WAITALL) as i64);
        // On, zero: reset, and what was on its way is lost.
        let (c, a) = connected();
        let value = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const value).cast(), 8);
        close(c);
        let mut fds = [pollfd { fd: a, events: POLLIN, revents: 0 }];
        poll(fds.as_mut_ptr(), 1, 10_000);
        println!("{:#x}", fds[0].revents);
        show("reset", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("only once", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("and then", send(a, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        // On, some time: close waits until the peer has it.
        let (c, a) = connected();
        let value = linger { l_onoff: 1, l_linger: 10 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const value).cast(), 8);
        send(c, b"words".as_ptr().cast(), 5, 0);
        show("close", close(c));
        show("all", recv(a, buf.as_mut_ptr().cast(), 32, MSG_WAITALL) as i64);
        // Unread data at close is a reset too.
        let (c, a) = connected();
        send(c, b"unread".as_ptr().cast(), 6, 0);
        let mut fds = [pollfd { fd: a, events: POLLIN, revents: 0 }];
        poll(fds.as_mut_ptr(), 1, 10_000);
        close(a);
        let mut fds = [pollfd { fd: c, events: POLLIN, revents: 0 }];
        poll(fds.as_mut_ptr(), 1, 10_000);
        show("reset", recv(c, buf.as_mut_ptr().cast(), 32, 0) as i64);
    }
}

/// Whether a call took about as long as its limit of 100 ms.
unsafe fn timed(what: &str, call: impl FnOnce() -> i64) {
    let start = std::time::Instant::now();
    let value = call();
    show(what, value);
    let took = start.elapsed().as_millis();
    println!("  in time {}", if (80..5000).contains(&took) { "yes".into() } else { format!("no: {took} ms") });
}

static LIMIT: timeval = timeval { tv_sec: 0, tv_usec: 100_000 };

unsafe fn limited_pair() -> (c_int, c_int) {
    unsafe {
        let (c, a) = connected();
        for name in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(c, SOL_SOCKET, name, (&raw const LIMIT).cast(), 16);
        }
        (c, a)
    }
}

/// Fills a socket until it takes no more.
unsafe fn fill(c: c_int) {
    let data = vec![0u8; 1 << 20];
    unsafe { while send(c, data.as_ptr().cast(), data.len(), MSG_DONTWAIT) > 0 {} }
}

fn timeouts(_: &str) {
    unsafe {
        let (c, _a) = limited_pair();
        let (mut time, mut len): (timeval, socklen_t) = (zeroed(), 16);
        show("get", getsockopt(c, SOL_SOCKET, SO_RCVTIMEO, (&raw mut time).cast(), &mut len));
        println!("{} {} {len}", time.tv_sec, time.tv_usec);
        let mut buf = [0u8; 16];
        timed("recv", || recv(c, buf.as_mut_ptr().cast(), 16, 0) as i64);
        let mut buf = [0u8; 16];
        timed("recvfrom", || recvfrom(c, buf.as_mut_ptr().cast(), 16, 0, null_mut(), null_mut()) as i64);
        fill(c);
        let data = vec![0u8; 32 << 20];
        timed("send", || i64::from(send(c, data.as_ptr().cast(), data.len(), 0) < data.len() as isize));
        let (s, _) = listener();
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const LIMIT).cast(), 16);
        timed("accept", || accept(s, null_mut(), null_mut()) as i64);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, (&raw const LIMIT).cast(), 16);
        bind(u, ptr(&loopback(0)), LEN);
        let mut buf = [0u8; 16];
        timed("a datagram", || recv(u, buf.as_mut_ptr().cast(), 16, 0) as i64);
        let zero = timeval { tv_sec: 0, tv_usec: 0 };
        show("off", setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, (&raw const zero).cast(), 16));
        let mut fds = [pollfd { fd: u, events: POLLIN, revents: 0 }];
        show("poll takes no notice", poll(fds.as_mut_ptr(), 1, 150));
        // A limit that is over in the middle: what has come so far.
        let (c, a) = limited_pair();
        send(a, b"half".as_ptr().cast(), 4, 0);
        let mut buf = [0u8; 16];
        timed("some of all", || recv(c, buf.as_mut_ptr().cast(), 16, MSG_WAITALL) as i64);
    }
}

fn timeouts_of_plain_calls(_: &str) {
    unsafe {
        let (c, _a) = limited_pair();
        let mut buf = [0u8; 16];
        timed("read", || read(c, buf.as_mut_ptr().cast(), 16) as i64);
        let mut buf = [0u8; 16];
        let mut vector = [iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 16 }];
        timed("readv", || readv(c, vector.as_mut_ptr(), 1) as i64);
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_mut_ptr(), 1);
        timed("recvmsg", || recvmsg(c, &mut header, 0) as i64);
        fill(c);
        // More than any buffer: whatever room there still is, it is not enough.
        let data = vec![0u8; 32 << 20];
        let short = |n: isize| i64::from(n < data.len() as isize);
        timed("write", || short(write(c, data.as_ptr().cast(), data.len())));
        let vector = [iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() }];
        timed("writev", || short(writev(c, vector.as_ptr(), 1)));
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_ptr().cast_mut(), 1);
        timed("sendmsg", || short(sendmsg(c, &header, 0)));
        let big = vec![0u8; 8 << 20];
        let (c, a) = limited_pair();
        let start = std::time::Instant::now();
        let sent = write(c, big.as_ptr().cast(), big.len());
        println!(
            "a part of a big one: {} {}",
            sent > 0 && sent < big.len() as isize,
            start.elapsed().as_millis() >= 80
        );
        close(a);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, (&raw const LIMIT).cast(), 16);
        bind(u, ptr(&loopback(0)), LEN);
        let mut buf = [0u8; 16];
        timed("read of a datagram", || read(u, buf.as_mut_ptr().cast(), 16) as i64);
    }
}

fn reuse(_: &str) {
    unsafe {
        let bound = |what: &str, kind: c_int, option: c_int, addr: &sockaddr_in, listens: bool| {
            let s = socket(AF_INET, kind, 0);
            if option != 0 {
                set(s, SOL_SOCKET, option, 1);
            }
            let r = bind(s, (&raw const *addr).cast(), LEN);
            show(what, r);
            if r == 0 && listens {
                show("  listen", listen(s, 5));
            }
            s
        };
        let name = |s| {
            let (mut addr, mut len) = (loopback(0), LEN);
            getsockname(s, (&raw mut addr).cast(), &mut len);
            addr
        };
        for option in [0, SO_REUSEADDR, SO_REUSEPORT] {
            println!("option {option}");
            let first = bound("first", SOCK_STREAM, option, &loopback(0), false);
            let addr = name(first);
            let second = bound("second", SOCK_STREAM, option, &addr, false);
            show("first listens", listen(first, 5));
            show("second listens", listen(second, 5));
            let third = bound("third", SOCK_STREAM, option, &addr, true);
            let any = sockaddr_in { sin_addr: in_addr { s_addr: 0 }, ..addr };
            let fourth = bound("any address", SOCK_STREAM, option, &any, false);
            let fifth = bound(
                "another address",
                SOCK_STREAM,
                option,
                &sockaddr_in { sin_addr: in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 2]) }, ..addr },
                true,
            );
            for s in [first, second, third, fourth, fifth] {
                close(s);
            }
            let first = bound("datagrams, first", SOCK_DGRAM, option, &loopback(0), false);
            let second = bound("datagrams, second", SOCK_DGRAM, option, &name(first), false);
            close(first);
            close(second);
        }
        // The port of a connection that was closed here first: both must have agreed, the listener of then and the new one.
        for then in [0, 1] {
            let (s, addr) = listener();
            set(s, SOL_SOCKET, SO_REUSEADDR, then);
            let c = socket(AF_INET, SOCK_STREAM, 0);
            connect(c, ptr(&addr), LEN);
            let a = accept(s, null_mut(), null_mut());
            close(s);
            close(a);
            let mut byte = 0u8;
            recv(c, (&raw mut byte).cast(), 1, 0);
            close(c);
            close(bound("in TIME_WAIT", SOCK_STREAM, 0, &addr, false));
            close(bound("in TIME_WAIT, reused", SOCK_STREAM, SO_REUSEADDR, &addr, true));
        }
    }
}
