//! Urgent data of AF_LOCAL streams (Linux 5.15), and of what it is an error.

use super::prelude::*;
use super::sigio::urged;
use super::urgent::{at_mark, events, get, put};

/// The family.
pub const TABLE: &[Row] = &[
    ("local_urgent", LocalSockets, urgent),
    ("local_urgent_inline", LocalSockets, inline),
    ("local_urgent_again", LocalSockets, again),
    ("local_urgent_signal", LocalSockets, signal),
    ("local_urgent_errors", LocalSockets, errors),
    ("local_unread", LocalSockets, unread),
];

/// Two sockets that are connected.
fn pair(kind: c_int) -> (c_int, c_int) {
    let mut fds = [0; 2];
    assert_eq!(unsafe { socketpair(AF_UNIX, kind, 0, fds.as_mut_ptr()) }, 0);
    (fds[0], fds[1])
}

fn urgent(_: &str) {
    let (c, a) = pair(SOCK_STREAM);
    get("none yet", a, MSG_OOB);
    at_mark(a);
    put(c, b"abc", MSG_OOB);
    put(c, b"de", 0);
    events(a);
    at_mark(a);
    get("a look at it", a, MSG_OOB | MSG_PEEK);
    get("up to the mark", a, 0);
    at_mark(a);
    events(a);
    get("the urgent byte", a, MSG_OOB);
    get("once", a, MSG_OOB);
    events(a);
    get("the rest", a, 0);
    at_mark(a);
    get("nothing", a, 0);
    put(c, b"x", MSG_OOB);
    events(a);
    get("taken at once", a, MSG_OOB);
    put(c, b"cdU", MSG_OOB);
    put(c, b"ef", 0);
    let mut all = [0u8; 5];
    unsafe { show("up to the mark, though all is asked for", recv(a, all.as_mut_ptr().cast(), 2, MSG_WAITALL) as i64) };
    get("it is lost to who reads on", a, 0);
    get("so it is gone", a, MSG_OOB);
}

fn inline(_: &str) {
    let (c, a) = pair(SOCK_STREAM);
    let on: c_int = 1;
    unsafe { setsockopt(a, SOL_SOCKET, SO_OOBINLINE, (&raw const on).cast(), 4) };
    put(c, b"abU", MSG_OOB);
    put(c, b"de", 0);
    events(a);
    get("not by itself", a, MSG_OOB);
    get("up to the mark", a, 0);
    at_mark(a);
    get("with the rest", a, 0);
    at_mark(a);
    get("nothing", a, 0);
}

/// A second urgent byte makes the first one like all others.
fn again(_: &str) {
    let (c, a) = pair(SOCK_STREAM);
    put(c, b"ab", MSG_OOB);
    put(c, b"cd", MSG_OOB);
    get("the last", a, MSG_OOB);
    get("no other", a, MSG_OOB);
    get("all before", a, 0);
}

fn signal(_: &str) {
    unsafe {
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, SIGURG);
        pthread_sigmask(SIG_BLOCK, &set, null_mut());
        let (c, a) = pair(SOCK_STREAM);
        show("F_SETOWN", fcntl(a, F_SETOWN, getpid()));
        put(c, b"u", MSG_OOB);
        urged("the owner", &set);
    }
}

fn errors(_: &str) {
    for (name, kind) in [("stream", SOCK_STREAM), ("datagrams", SOCK_DGRAM), ("packets", SOCK_SEQPACKET)] {
        println!("{name}");
        let (c, a) = pair(kind);
        put(c, b"", MSG_OOB);
        put(c, b"u", MSG_OOB);
        get("urgent", a, MSG_OOB);
        at_mark(a);
    }
    let s = unsafe { socket(AF_UNIX, SOCK_STREAM, 0) };
    put(s, b"u", MSG_OOB | MSG_NOSIGNAL);
    get("of no peer", s, MSG_OOB);
    at_mark(s);
    let (c, a) = pair(SOCK_STREAM);
    unsafe { shutdown(c, SHUT_WR) };
    put(c, b"u", MSG_OOB | MSG_NOSIGNAL);
    get("at the end", a, MSG_OOB);
    unsafe { close(a) };
    put(c, b"u", MSG_OOB | MSG_NOSIGNAL);
}

/// Who closes without reading what there is has the other side hear of it, once.
fn unread(_: &str) {
    for (name, kind) in [("stream", SOCK_STREAM), ("packets", SOCK_SEQPACKET)] {
        for ear in ["poll", "send", "SO_ERROR", "recv"] {
            println!("{name}, {ear}");
            let (c, a) = pair(kind);
            put(c, b"lost", 0);
            unsafe { close(a) };
            let (mut error, mut len): (c_int, _) = (-1, 4);
            match ear {
                "send" => put(c, b"x", MSG_NOSIGNAL),
                "SO_ERROR" => unsafe {
                    getsockopt(c, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len);
                    println!("error {}", error == ECONNRESET);
                },
                "recv" => get("recv", c, 0),
                _ => {
                    let mut fds = [pollfd { fd: c, events: POLLIN | POLLOUT | POLLRDHUP, revents: 0 }];
                    unsafe { poll(fds.as_mut_ptr(), 1, 0) };
                    println!("events {:x}", fds[0].revents);
                }
            }
            put(c, b"x", MSG_NOSIGNAL);
            get("the end", c, 0);
            get("the end", c, 0);
        }
    }
}
