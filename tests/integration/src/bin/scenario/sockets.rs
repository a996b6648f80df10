//! Sockets: TCP, UDP, options.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("tcp", Processes, tcp), ("tcp_errors", OneProcess, tcp_errors), ("udp", OneProcess, udp)];

pub unsafe fn loopback(port: u16) -> sockaddr_in {
    let mut addr: sockaddr_in = unsafe { zeroed() };
    addr.sin_family = AF_INET as u16;
    addr.sin_port = port.to_be();
    addr.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    addr
}

/// A pointer to an address of any family.
pub fn ptr<T>(addr: &T) -> *const sockaddr {
    std::ptr::from_ref(addr).cast()
}

pub const LEN: socklen_t = size_of::<sockaddr_in>() as socklen_t;
pub const LEN6: socklen_t = size_of::<sockaddr_in6>() as socklen_t;
pub const ONE: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub const MAPPED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];

/// An IPv4 address.
pub fn at(addr: [u8; 4], port: u16) -> sockaddr_in {
    let mut to = unsafe { loopback(port) };
    to.sin_addr.s_addr = u32::from_ne_bytes(addr);
    to
}

/// An IPv6 address.
pub fn at6(addr: [u8; 16], port: u16) -> sockaddr_in6 {
    let mut to: sockaddr_in6 = unsafe { zeroed() };
    (to.sin6_family, to.sin6_port, to.sin6_addr.s6_addr) = (AF_INET6 as u16, port.to_be(), addr);
    to
}

/// Waits for an event of one descriptor and returns what there is.
pub unsafe fn ready(fd: c_int, events: c_short) -> c_short {
    let mut fds = [pollfd { fd, events, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 10_000) };
    fds[0].revents
}

/// The pending error of a socket.
pub unsafe fn pending(fd: c_int) -> c_int {
    let (mut error, mut len) = (-1, 4);
    unsafe { getsockopt(fd, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len) };
    error
}

/// A listener on the loopback and its address.
pub unsafe fn listener() -> (c_int, sockaddr_in) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let mut addr = loopback(0);
        assert_eq!(bind(s, (&raw const addr).cast(), LEN), 0);
        assert_eq!(listen(s, 8), 0);
        let mut len = LEN;
        assert_eq!(getsockname(s, (&raw mut addr).cast(), &mut len), 0);
        (s, addr)
    }
}

/// A connected pair of TCP sockets.
pub unsafe fn connected() -> (c_int, c_int) {
    unsafe {
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        assert_eq!(connect(c, (&raw const addr).cast(), LEN), 0);
        let a = accept(s, null_mut(), null_mut());
        close(s);
        (c, a)
    }
}

fn tcp(_: &str) {
    unsafe {
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        show("connect", connect(c, (&raw const addr).cast(), LEN));
        let mut peer: sockaddr_in = zeroed();
        let mut len = LEN;
        let a = accept4(s, (&raw mut peer).cast(), &mut len, SOCK_NONBLOCK);
        println!("accept: {} {} {}", a >= 0, len, peer.sin_family);
        show("nonblocking", fcntl(a, F_GETFL) & O_NONBLOCK);
        let mut local: sockaddr_in = zeroed();
        getsockname(c, (&raw mut local).cast(), &mut len);
        println!(
            "the peer is the client: {}",
            local.sin_port == peer.sin_port && local.sin_addr.s_addr == peer.sin_addr.s_addr
        );
        let mut buf = [0u8; 100];
        show("would block", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        fcntl(a, F_SETFL, 0);
        show("send", send(c, b"hello".as_ptr().cast(), 5, 0) as i64);
        show("peek", recv(a, buf.as_mut_ptr().cast(), 2, MSG_PEEK) as i64);
        let mut n: c_int = 0;
        show("FIONREAD", ioctl(a, FIONREAD, &mut n));
        println!("{n}");
        show("recv", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("dontwait", recv(a, buf.as_mut_ptr().cast(), 100, MSG_DONTWAIT) as i64);
        show("write", write(a, b"back".as_ptr().cast(), 4) as i64);
        show("read", read(c, buf.as_mut_ptr().cast(), 100) as i64);
        show("half close", shutdown(c, SHUT_WR));
        show("end", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("other way", send(a, b"more".as_ptr().cast(), 4, 0) as i64);
        show("arrives", recv(c, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("send after shutdown", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        close(a);
        show("end", recv(c, buf.as_mut_ptr().cast(), 100, 0) as i64);
        close(c);
        close(s);
        let (c, a) = connected();
        let child = fork();
        if child == 0 {
            close(a);
            let data = vec![5u8; 1 << 20];
            let mut sent = 0;
            while sent < data.len() {
                sent += write(c, data.as_ptr().add(sent).cast(), data.len() - sent) as usize;
            }
            _exit(0);
        }
        close(c);
        let (mut total, mut chunk) = (0, vec![0u8; 65536]);
        loop {
            let n = read(a, chunk.as_mut_ptr().cast(), chunk.len());
            if n <= 0 {
                break;
            }
            total += n;
        }
        println!("{total} bytes from another process");
        waitpid(child, null_mut(), 0);
    }
}

fn tcp_errors(_: &str) {
    unsafe {
        let (s, addr) = listener();
        let t = socket(AF_INET, SOCK_STREAM, 0);
        show("in use", bind(t, (&raw const addr).cast(), LEN));
        close(s);
        show("refused", connect(t, (&raw const addr).cast(), LEN));
        let mut peer: sockaddr_in = zeroed();
        let mut len = LEN;
        let u = socket(AF_INET, SOCK_STREAM, 0);
        show("no peer", getpeername(u, (&raw mut peer).cast(), &mut len));
        show("not connected", recv(u, null_mut(), 0, 0) as i64);
        show("pipe", send(u, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("accept of no listener", accept(u, null_mut(), null_mut()));
        show("shutdown of unconnected", shutdown(u, SHUT_RDWR));
        let far = sockaddr_in { sin_addr: in_addr { s_addr: u32::from_ne_bytes([1, 2, 3, 4]) }, ..loopback(0) };
        show("foreign address", bind(u, (&raw const far).cast(), LEN));
        show("short address", bind(u, (&raw const far).cast(), 4));
        show("unknown family", socket(77, SOCK_STREAM, 0));
        show("unknown type", socket(AF_INET, 77, 0));
        show("wrong protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
        let (c, a) = connected();
        show("again", connect(c, (&raw const addr).cast(), LEN));
        let linger = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(a, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), 8);
        close(a);
        let mut byte = 0u8;
        let mut fds = [pollfd { fd: c, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        show("reset", recv(c, (&raw mut byte).cast(), 1, 0) as i64);
        let (c, a) = connected();
        close(a);
        show("first send", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        let (s, addr) = listener();
        let n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        let r = connect(n, (&raw const addr).cast(), LEN);
        println!("nonblocking connect: {}", r == 0 || errno() == EINPROGRESS);
        let mut fds = [pollfd { fd: n, events: POLLOUT, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        println!("{:#x}", fds[0].revents);
        let mut error: c_int = 77;
        let mut len = 4;
        show("SO_ERROR", getsockopt(n, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len));
        println!("{error}");
        close(s);
    }
}

fn udp(_: &str) {
    unsafe {
        let a = socket(AF_INET, SOCK_DGRAM, 0);
        let mut addr = loopback(0);
        show("bind", bind(a, (&raw const addr).cast(), LEN));
        let mut len = LEN;
        getsockname(a, (&raw mut addr).cast(), &mut len);
        let b = socket(AF_INET, SOCK_DGRAM, 0);
        show("sendto", sendto(b, b"datagram".as_ptr().cast(), 8, 0, (&raw const addr).cast(), LEN) as i64);
        show("empty", sendto(b, null(), 0, 0, (&raw const addr).cast(), LEN) as i64);
        let mut buf = [0u8; 100];
        let mut from: sockaddr_in = zeroed();
        show("short", recvfrom(a, buf.as_mut_ptr().cast(), 4, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{} {}", len, from.sin_family);
        show("empty", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("nothing", recv(a, buf.as_mut_ptr().cast(), 100, MSG_DONTWAIT) as i64);
        show("no destination", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        show("connect", connect(b, (&raw const addr).cast(), LEN));
        show("send", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        show("too long", send(b, vec![0u8; 70_000].as_ptr().cast(), 70_000, 0) as i64);
        close(a);
        show("to nobody", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        let mut fds = [pollfd { fd: b, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        show("refused", recv(b, buf.as_mut_ptr().cast(), 100, 0) as i64);
        let s6 = socket(AF_INET6, SOCK_DGRAM, 0);
        let mut addr6: sockaddr_in6 = zeroed();
        addr6.sin6_family = AF_INET6 as u16;
        show("bind v6", bind(s6, (&raw const addr6).cast(), 28));
        let mut len6 = 28;
        getsockname(s6, (&raw mut addr6).cast(), &mut len6);
        let v4 = loopback(u16::from_be(addr6.sin6_port));
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        show("v4 to v6", sendto(c, b"x".as_ptr().cast(), 1, 0, (&raw const v4).cast(), LEN) as i64);
        show("arrives", recvfrom(s6, buf.as_mut_ptr().cast(), 100, 0, (&raw mut addr6).cast(), &mut len6) as i64);
        println!("{:?} {}", addr6.sin6_addr.s6_addr, len6);
    }
}
