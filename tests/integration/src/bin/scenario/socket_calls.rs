//! The life of a connection: bind(2), connect(2), listen(2), accept(2), shutdown(2), names of both ends, errors and their order.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("connect_errors", OneProcess, connecting),
    ("connect_nonblocking", OneProcess, nonblocking),
    ("listen", OneProcess, listening),
    ("accept_errors", OneProcess, accepting),
    ("backlog", OneProcess, backlog),
];

/// A port on which nobody listens: one that was just given back.
unsafe fn free_port() -> u16 {
    unsafe {
        let (s, addr) = listener();
        close(s);
        u16::from_be(addr.sin_port)
    }
}

fn connecting(folder: &str) {
    unsafe {
        let nobody = at([127, 0, 0, 1], free_port());
        let s = socket(AF_INET, SOCK_STREAM, 0);
        show("refused", connect(s, ptr(&nobody), LEN));
        show("pending", pending(s));
        show("refused again", connect(s, ptr(&nobody), LEN));
        let (l, addr) = listener();
        show("then accepted", connect(s, ptr(&addr), LEN));
        show("again", connect(s, ptr(&addr), LEN));
        show("a listener", connect(l, ptr(&addr), LEN));
        let t = socket(AF_INET, SOCK_STREAM, 0);
        show("short", connect(t, (&raw const addr).cast(), 4));
        show("null", connect(t, null(), LEN));
        let mut other = addr;
        other.sin_family = AF_INET6 as u16;
        show("another family", connect(t, ptr(&other), LEN));
        other.sin_family = 99;
        show("unknown family", connect(t, ptr(&other), LEN));
        show("port 0", connect(t, ptr(&at([127, 0, 0, 1], 0)), LEN));
        let file = open(create(folder, "file", b"").as_ptr(), O_RDWR);
        show("a file", connect(file, ptr(&addr), LEN));
        // Any address means this host.
        let t = socket(AF_INET, SOCK_STREAM, 0);
        show("any address", connect(t, ptr(&at([0, 0, 0, 0], u16::from_be(addr.sin_port))), LEN));
        let mut peer = loopback(0);
        let mut len = LEN;
        getpeername(t, (&raw mut peer).cast(), &mut len);
        println!("{:?}", peer.sin_addr.s_addr.to_ne_bytes());
        // Dissolved.
        let unspec = [0u8; 16];
        show("dissolve", connect(t, unspec.as_ptr().cast(), LEN));
        show("no peer", getpeername(t, (&raw mut peer).cast(), &mut len));
        show("connects anew", connect(t, ptr(&addr), LEN));
        show("bare family", connect(t, unspec.as_ptr().cast(), 2));
        show("no peer", getpeername(t, (&raw mut peer).cast(), &mut len));
        show("dissolve nothing", connect(socket(AF_INET, SOCK_STREAM, 0), unspec.as_ptr().cast(), LEN));
        // From a chosen port.
        let t = socket(AF_INET, SOCK_STREAM, 0);
        let own = at([127, 0, 0, 3], 0);
        show("bind", bind(t, ptr(&own), LEN));
        show("connect", connect(t, ptr(&addr), LEN));
        getsockname(t, (&raw mut peer).cast(), &mut len);
        println!("from {:?}", peer.sin_addr.s_addr.to_ne_bytes());
        // The same pair twice.
        let u = socket(AF_INET, SOCK_STREAM, 0);
        let on = 1;
        setsockopt(t, SOL_SOCKET, SO_REUSEADDR, (&raw const on).cast(), 4);
        setsockopt(u, SOL_SOCKET, SO_REUSEADDR, (&raw const on).cast(), 4);
        show("same port", bind(u, ptr(&peer), LEN));
        show("same pair", connect(u, ptr(&addr), LEN));
    }
}

fn nonblocking(_: &str) {
    unsafe {
        let (l, addr) = listener();
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        let r = connect(s, ptr(&addr), LEN);
        println!("{}", r == 0 || errno() == EINPROGRESS);
        println!("{:#x}", ready(s, POLLOUT | POLLIN));
        show("pending", pending(s));
        let mut peer = loopback(0);
        let mut len = LEN;
        show("peer", getpeername(s, (&raw mut peer).cast(), &mut len));
        let r = connect(s, ptr(&addr), LEN);
        println!("once more {}", r == 0 || errno() == EISCONN);
        show("and again", connect(s, ptr(&addr), LEN));
        let mut byte = 0u8;
        show("nothing to read", recv(s, (&raw mut byte).cast(), 1, 0) as i64);
        fcntl(l, F_SETFL, O_NONBLOCK);
        let a = accept4(l, null_mut(), null_mut(), SOCK_NONBLOCK | SOCK_CLOEXEC);
        println!("flags {:#o} {}", fcntl(a, F_GETFL) & O_NONBLOCK, fcntl(a, F_GETFD));
        show("accept", accept(l, null_mut(), null_mut()).min(0));
    }
}

/// The rest of it, where nobody listens; a name of its own since the listener of the other would block.
fn refused_later() {
    unsafe {
        let nobody = at([127, 0, 0, 1], free_port());
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        let r = connect(s, ptr(&nobody), LEN);
        println!("{}", r < 0 && (errno() == EINPROGRESS || errno() == ECONNREFUSED));
        if errno() == EINPROGRESS {
            println!("{:#x}", ready(s, POLLOUT | POLLIN));
            show("pending", pending(s));
        }
        show("cleared", pending(s));
    }
}

fn listening(folder: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        show("unbound", listen(s, 5));
        let mut own = loopback(0);
        let mut len = LEN;
        getsockname(s, (&raw mut own).cast(), &mut len);
        println!("{:?} {}", own.sin_addr.s_addr.to_ne_bytes(), own.sin_port != 0);
        show("again", listen(s, 1));
        show("negative", listen(s, -1));
        show("zero", listen(s, 0));
        show("huge", listen(s, c_int::MAX));
        println!("{:#x}", {
            let mut fds = [pollfd { fd: s, events: POLLIN | POLLOUT, revents: 0 }];
            poll(fds.as_mut_ptr(), 1, 0);
            fds[0].revents
        });
        let mut byte = 0u8;
        show("read", read(s, (&raw mut byte).cast(), 1) as i64);
        show("recv", recv(s, (&raw mut byte).cast(), 1, 0) as i64);
        signal(SIGPIPE, SIG_IGN);
        show("write", write(s, (&raw const byte).cast(), 1) as i64);
        show("send", send(s, (&raw const byte).cast(), 1, MSG_NOSIGNAL) as i64);
        show("no peer", getpeername(s, (&raw mut own).cast(), &mut len));
        show("datagrams", listen(socket(AF_INET, SOCK_DGRAM, 0), 5));
        let (c, _a) = connected();
        show("connected", listen(c, 5));
        show("a file", listen(open(create(folder, "file", b"").as_ptr(), O_RDWR), 5));
        show("local, unbound", listen(socket(AF_UNIX, SOCK_STREAM, 0), 5));
        refused_later();
    }
}

fn accepting(folder: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        show("no listener", accept(s, null_mut(), null_mut()));
        show("datagrams", accept(socket(AF_INET, SOCK_DGRAM, 0), null_mut(), null_mut()));
        show("a file", accept(open(create(folder, "file", b"").as_ptr(), O_RDWR), null_mut(), null_mut()));
        show("bad flags", accept4(s, null_mut(), null_mut(), 0x55));
        let (l, addr) = listener();
        fcntl(l, F_SETFL, O_NONBLOCK);
        show("nobody", accept(l, null_mut(), null_mut()));
        let dial = || {
            let c = socket(AF_INET, SOCK_STREAM, 0);
            connect(c, ptr(&addr), LEN);
            ready(l, POLLIN);
            c
        };
        dial();
        let mut peer = loopback(0);
        println!("address without length: {}", {
            let a = accept(l, (&raw mut peer).cast(), null_mut());
            if a < 0 { errno() } else { 0 }
        });
        dial();
        let mut len = 4;
        println!("cut: {}", accept(l, (&raw mut peer).cast(), &mut len) >= 0);
        println!("{len}");
        dial();
        len = 0;
        println!("no room: {}", accept(l, (&raw mut peer).cast(), &mut len) >= 0);
        println!("{len}");
        dial();
        let mut len = -1i32;
        let a = accept(l, (&raw mut peer).cast(), (&raw mut len).cast());
        println!("negative room: {}", if a < 0 { errno() } else { 0 });
        dial();
        println!("length alone: {}", accept(l, null_mut(), (&raw mut len).cast()) >= 0);
        // One that is gone before it is accepted.
        let c = dial();
        send(c, b"left behind".as_ptr().cast(), 11, 0);
        close(c);
        let a = accept(l, null_mut(), null_mut());
        let mut buf = [0u8; 32];
        ready(a, POLLIN);
        show("what it left", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("end", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        // One that was reset before.
        let c = dial();
        let abort = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const abort).cast(), 8);
        close(c);
        let a = accept(l, null_mut(), null_mut());
        println!("a reset one is accepted {}", a >= 0);
        show("and says so", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
    }
}

fn backlog(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let mut addr = loopback(0);
        bind(s, ptr(&addr), LEN);
        let mut len = LEN;
        getsockname(s, (&raw mut addr).cast(), &mut len);
        listen(s, 2);
        let mut open_ones = Vec::new();
        // One more than the number fits.
        for i in 0..3 {
            let c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            connect(c, ptr(&addr), LEN);
            println!("{i}: {:#x}", ready(c, POLLOUT));
            open_ones.push(c);
        }
        let late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        show("the next must wait", connect(late, ptr(&addr), LEN));
        let mut fds = [pollfd { fd: late, events: POLLOUT, revents: 0 }];
        show("waits", poll(fds.as_mut_ptr(), 1, 100));
        for _ in 0..3 {
            println!("accepted {}", accept(s, null_mut(), null_mut()) >= 0);
        }
        println!("{:#x}", ready(late, POLLOUT));
        println!("accepted {}", accept(s, null_mut(), null_mut()) >= 0);
    }
}
