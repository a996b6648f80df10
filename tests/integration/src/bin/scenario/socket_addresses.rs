//! Sockets and their addresses: socket(2), bind(2), getsockname(2), IPv4 on IPv6 sockets, ports, ioctl(2).

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("bind", OneProcess, binding),
    ("socket_names", OneProcess, names),
    ("dual_stack", OneProcess, dual_stack),
    ("ipv6_only", OneProcess, ipv6_only),
    ("ephemeral_ports", OneProcess, ephemeral),
    ("socket_errors", OneProcess, sockets),
    ("socket_ioctls", OneProcess, controls),
    ("scopes", OneProcess, scopes),
];

fn binding(folder: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let any = at([0, 0, 0, 0], 0);
        show("bind", bind(s, ptr(&any), LEN));
        show("again", bind(s, ptr(&any), LEN));
        let t = socket(AF_INET, SOCK_STREAM, 0);
        show("foreign address", bind(t, ptr(&at([192, 0, 2, 99], 0)), LEN));
        show("short", bind(t, (&raw const any).cast(), 8));
        show("no length", bind(t, (&raw const any).cast(), 0));
        show("one byte", bind(t, (&raw const any).cast(), 1));
        show("negative length", bind(t, (&raw const any).cast(), u32::MAX));
        show("too long", bind(t, [0u8; 256].as_ptr().cast(), 200));
        show("null", bind(t, null(), LEN));
        show("bad address", bind(t, 8 as *const sockaddr, LEN));
        let mut other = any;
        other.sin_family = AF_INET6 as u16;
        show("another family", bind(t, ptr(&other), LEN));
        other.sin_family = AF_UNIX as u16;
        show("a local one", bind(t, ptr(&other), LEN));
        other.sin_family = AF_UNSPEC as u16;
        show("no family, any address", bind(t, ptr(&other), LEN));
        let t = socket(AF_INET, SOCK_STREAM, 0);
        other.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        show("no family, an address", bind(t, ptr(&other), LEN));
        show(
            "long is fine",
            bind(t, [2u8, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9].as_ptr().cast(), 20),
        );
        let t6 = socket(AF_INET6, SOCK_STREAM, 0);
        show("IPv6, short", bind(t6, ptr(&at6(ONE, 0)), 20));
        show("IPv6 of an IPv4 address", bind(t6, ptr(&any), LEN));
        show("IPv6, without scope", bind(t6, ptr(&at6(ONE, 0)), 24));
        let (c, _a) = connected();
        show("connected", bind(c, ptr(&any), LEN));
        let file = open(create(folder, "file", b"").as_ptr(), O_RDWR);
        show("a file", bind(file, ptr(&any), LEN));
        close(t);
        show("closed", bind(t, ptr(&any), LEN));
        show("the whole of 127", bind(socket(AF_INET, SOCK_STREAM, 0), ptr(&at([127, 7, 8, 9], 0)), LEN));
        show("broadcast", bind(socket(AF_INET, SOCK_STREAM, 0), ptr(&at([255, 255, 255, 255], 0)), LEN));
    }
}

/// Addresses that mean something on one interface only.
fn scopes(_: &str) {
    const NEAR: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77];
    const LEN6: socklen_t = size_of::<sockaddr_in6>() as socklen_t;
    unsafe {
        let none = at6(NEAR, 9);
        let mut missing = none;
        missing.sin6_scope_id = 9999;
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            let new = || socket(AF_INET6, kind, 0);
            show("connect", connect(new(), ptr(&none), LEN6));
            show("connect by an interface that is not there", connect(new(), ptr(&missing), LEN6));
            show("bind", bind(new(), ptr(&none), LEN6));
            show("bind on an interface that is not there", bind(new(), ptr(&missing), LEN6));
            let s = new();
            let mut loopback = none;
            loopback.sin6_scope_id = 1;
            show("bind on the loopback", bind(s, ptr(&loopback), LEN6));
            show("then by another interface", connect(s, ptr(&missing), LEN6));
        }
        let s = socket(AF_INET6, SOCK_DGRAM, 0);
        let sent = sendto(s, b"x".as_ptr().cast(), 1, 0, ptr(&missing), LEN6);
        show("send by an interface that is not there", sent as i64);
        let global = at6(ONE, 9);
        show("what has no scope", connect(s, ptr(&global), LEN6));
    }
}

fn names(folder: &str) {
    unsafe {
        let (c, a) = connected();
        let mut own = [0xeeu8; 32];
        for room in [0, 1, 2, 8, 15, 16, 32] {
            own.fill(0xee);
            let mut len = room;
            show(&format!("own name in {room}"), getsockname(c, own.as_mut_ptr().cast(), &mut len));
            let touched = 32 - own.iter().rev().take_while(|byte| **byte == 0xee).count();
            println!("{len}, no more than fits {}", touched <= room as usize);
            let mut len = room;
            show("peer", getpeername(a, own.as_mut_ptr().cast(), &mut len));
            println!("{len}");
        }
        let mut len = LEN;
        show("null address", getsockname(c, null_mut(), &mut len));
        show("null length", getsockname(c, own.as_mut_ptr().cast(), null_mut()));
        show("bad address", getsockname(c, 8 as *mut sockaddr, &mut len));
        show("peer, null", getpeername(c, null_mut(), &mut len));
        let mut negative = -5i32;
        show("negative", getsockname(c, own.as_mut_ptr().cast(), (&raw mut negative).cast()));
        let s = socket(AF_INET, SOCK_STREAM, 0);
        len = LEN;
        show("unbound", getsockname(s, own.as_mut_ptr().cast(), &mut len));
        println!("{:?} {len}", &own[..16]);
        show("no peer", getpeername(s, own.as_mut_ptr().cast(), &mut len));
        let file = open(create(folder, "file", b"").as_ptr(), O_RDWR);
        show("of a file", getsockname(file, own.as_mut_ptr().cast(), &mut len));
        show("peer of a file", getpeername(file, own.as_mut_ptr().cast(), &mut len));
        show("of none", getsockname(9999, own.as_mut_ptr().cast(), &mut len));
        let u = socket(AF_UNIX, SOCK_STREAM, 0);
        len = 32;
        show("local, unbound", getsockname(u, own.as_mut_ptr().cast(), &mut len));
        println!("{len}");
        let six = socket(AF_INET6, SOCK_DGRAM, 0);
        len = 32;
        show("IPv6, unbound", getsockname(six, own.as_mut_ptr().cast(), &mut len));
        println!("{len} {:?}", &own[..28]);
        // The peer closes: it is still known, until the connection is over.
        close(a);
        ready(c, POLLIN);
        len = 32;
        show("peer that closed", getpeername(c, own.as_mut_ptr().cast(), &mut len));
    }
}

fn dual_stack(_: &str) {
    unsafe {
        let l = socket(AF_INET6, SOCK_STREAM, 0);
        let mut any = at6([0; 16], 0);
        show("bind", bind(l, ptr(&any), LEN6));
        listen(l, 5);
        let mut len = LEN6;
        getsockname(l, (&raw mut any).cast(), &mut len);
        let port = u16::from_be(any.sin6_port);
        let report = |what: &str, s: c_int| {
            let mut addr = at6([0xee; 16], 0);
            let mut len = LEN6;
            let mut peer = addr;
            let mut peer_len = LEN6;
            getsockname(s, (&raw mut addr).cast(), &mut len);
            getpeername(s, (&raw mut peer).cast(), &mut peer_len);
            println!("{what}: {} {len} {:?} {:?}", addr.sin6_family, addr.sin6_addr.s6_addr, peer.sin6_addr.s6_addr);
        };
        let c4 = socket(AF_INET, SOCK_STREAM, 0);
        show("by IPv4", connect(c4, ptr(&at([127, 0, 0, 1], port)), LEN));
        report("accepted", accept(l, null_mut(), null_mut()));
        let c6 = socket(AF_INET6, SOCK_STREAM, 0);
        show("by IPv6", connect(c6, ptr(&at6(ONE, port)), LEN6));
        report("accepted", accept(l, null_mut(), null_mut()));
        report("connector", c6);
        let mapped = socket(AF_INET6, SOCK_STREAM, 0);
        show("by a mapped one", connect(mapped, ptr(&at6(MAPPED, port)), LEN6));
        report("accepted", accept(l, null_mut(), null_mut()));
        report("connector", mapped);
        let plain = socket(AF_INET6, SOCK_STREAM, 0);
        show("an IPv4 address on an IPv6 socket", connect(plain, ptr(&at([127, 0, 0, 1], port)), LEN));
        let taken = socket(AF_INET, SOCK_STREAM, 0);
        show("the port is taken for IPv4 too", bind(taken, ptr(&at([0, 0, 0, 0], port)), LEN));
        let m = socket(AF_INET6, SOCK_STREAM, 0);
        show("bound to a mapped one", bind(m, ptr(&at6(MAPPED, 0)), LEN6));
        report("it", m);
        show("to IPv6 from there", connect(m, ptr(&at6(ONE, port)), LEN6));
        show("any of IPv6", connect(socket(AF_INET6, SOCK_STREAM, 0), ptr(&at6([0; 16], port)), LEN6));
        // Datagrams.
        let u6 = socket(AF_INET6, SOCK_DGRAM, 0);
        bind(u6, ptr(&at6([0; 16], 0)), LEN6);
        getsockname(u6, (&raw mut any).cast(), &mut len);
        let u4 = socket(AF_INET, SOCK_DGRAM, 0);
        let to = at([127, 0, 0, 1], u16::from_be(any.sin6_port));
        show("sendto", sendto(u4, b"four".as_ptr().cast(), 4, 0, ptr(&to), LEN) as i64);
        let mut from = at6([0; 16], 0);
        let mut buf = [0u8; 16];
        len = LEN6;
        show("recvfrom", recvfrom(u6, buf.as_mut_ptr().cast(), 16, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{:?}", from.sin6_addr.s6_addr);
        show("back", sendto(u6, b"back".as_ptr().cast(), 4, 0, ptr(&from), LEN6) as i64);
        show("arrives", recv(u4, buf.as_mut_ptr().cast(), 16, 0) as i64);
    }
}

fn ipv6_only(_: &str) {
    unsafe {
        let on: c_int = 1;
        // A port that nobody else has in either family.
        let (l, port) = loop {
            let (four, six) = (socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET6, SOCK_STREAM, 0));
            setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, (&raw const on).cast(), 4);
            let (mut any, mut len) = (at([0, 0, 0, 0], 0), LEN);
            assert_eq!(bind(four, ptr(&any), LEN), 0);
            getsockname(four, (&raw mut any).cast(), &mut len);
            let port = u16::from_be(any.sin_port);
            let bound = bind(six, ptr(&at6([0; 16], port)), LEN6);
            close(four);
            if bound == 0 {
                break (six, port);
            }
            close(six);
        };
        listen(l, 5);
        show("by IPv4", connect(socket(AF_INET, SOCK_STREAM, 0), ptr(&at([127, 0, 0, 1], port)), LEN));
        show("by IPv6", connect(socket(AF_INET6, SOCK_STREAM, 0), ptr(&at6(ONE, port)), LEN6));
        let four = socket(AF_INET, SOCK_STREAM, 0);
        show("the same port for IPv4", bind(four, ptr(&at([0, 0, 0, 0], port)), LEN));
        show("listens", listen(four, 5));
        show("by IPv4", connect(socket(AF_INET, SOCK_STREAM, 0), ptr(&at([127, 0, 0, 1], port)), LEN));
        let s = socket(AF_INET6, SOCK_STREAM, 0);
        setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, (&raw const on).cast(), 4);
        show("to a mapped one", connect(s, ptr(&at6(MAPPED, port)), LEN6));
        show("bound to a mapped one", bind(s, ptr(&at6(MAPPED, 0)), LEN6));
    }
}

fn ephemeral(_: &str) {
    unsafe {
        let mut ports = std::collections::BTreeSet::new();
        let mut all = Vec::new();
        for _ in 0..200 {
            let s = socket(AF_INET, SOCK_STREAM, 0);
            assert_eq!(bind(s, ptr(&loopback(0)), LEN), 0);
            let mut addr = loopback(0);
            let mut len = LEN;
            getsockname(s, (&raw mut addr).cast(), &mut len);
            ports.insert(u16::from_be(addr.sin_port));
            all.push(s);
        }
        println!("{} different ones, all unprivileged {}", ports.len(), ports.iter().all(|port| *port >= 1024));
        for s in all {
            close(s);
        }
        let (l, addr) = listener();
        let mut ports = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let c = socket(AF_INET, SOCK_STREAM, 0);
            assert_eq!(connect(c, ptr(&addr), LEN), 0);
            let mut own = loopback(0);
            let mut len = LEN;
            getsockname(c, (&raw mut own).cast(), &mut len);
            ports.insert(own.sin_port);
            // Open on this side: a port of a connection that is over may come again.
            close(accept(l, null_mut(), null_mut()));
        }
        println!("{} of connections", ports.len());
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        sendto(u, b"x".as_ptr().cast(), 1, 0, ptr(&addr), LEN);
        let mut own = loopback(0);
        let mut len = LEN;
        getsockname(u, (&raw mut own).cast(), &mut len);
        println!("bound by sending {} {:?}", own.sin_port != 0, own.sin_addr.s_addr.to_ne_bytes());
    }
}

fn sockets(_: &str) {
    unsafe {
        let make = |what: &str, domain, kind, protocol| {
            let s = socket(domain, kind, protocol);
            works(what, s);
            close(s);
        };
        make("tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP);
        make("udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP);
        make("tcp6", AF_INET6, SOCK_STREAM, IPPROTO_TCP);
        make("with flags", AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        make("stream of udp", AF_INET, SOCK_STREAM, IPPROTO_UDP);
        make("datagrams of tcp", AF_INET, SOCK_DGRAM, IPPROTO_TCP);
        make("unknown type", AF_INET, 9, 0);
        make("unknown flags", AF_INET, SOCK_STREAM | 0x4000, 0);
        make("unknown family", 77, SOCK_STREAM, 0);
        make("negative family", -1, SOCK_STREAM, 0);
        make("unknown protocol", AF_INET, SOCK_STREAM, 250);
        make("negative protocol", AF_INET, SOCK_STREAM, -1);
        make("huge protocol", AF_INET, SOCK_STREAM, 5000);
        make("no family", AF_UNSPEC, SOCK_STREAM, 0);
        make("sequenced packets", AF_INET, SOCK_SEQPACKET, 0);
        let mut pair = [-1; 2];
        show("a pair of TCP", socketpair(AF_INET, SOCK_STREAM, 0, pair.as_mut_ptr()));
        show("a pair of nothing", socketpair(77, SOCK_STREAM, 0, pair.as_mut_ptr()));
        show("a pair without room", socketpair(AF_UNIX, SOCK_STREAM, 0, null_mut()));
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        println!("{:#o} {}", fcntl(s, F_GETFL), fcntl(s, F_GETFD));
        let mut st: stat = zeroed();
        show("fstat", fstat(s, &mut st));
        println!("{:o}", st.st_mode);
        show("lseek", lseek(s, 0, SEEK_SET));
        show("ftruncate", ftruncate(s, 0));
        show("pread", pread(s, pair.as_mut_ptr().cast(), 1, 0) as i64);
        show("fsync", fsync(s));
        show("fchdir", fchdir(s));
        show("getdents", syscall(SYS_getdents64, s, pair.as_mut_ptr(), 8));
        show("isatty", isatty(s));
    }
}

fn controls(_: &str) {
    unsafe {
        let (c, a) = connected();
        let ask = |what: &str, fd: c_int, request: Ioctl| {
            let mut n: c_int = -7;
            show(what, ioctl(fd, request, &mut n));
            println!("{n}");
        };
        const SIOCATMARK: Ioctl = 0x8905;
        ask("FIONREAD", a, FIONREAD);
        send(c, b"hello".as_ptr().cast(), 5, 0);
        ready(a, POLLIN);
        ask("FIONREAD", a, FIONREAD);
        ask("TIOCOUTQ of the reader", a, TIOCOUTQ);
        ask("SIOCATMARK", a, SIOCATMARK);
        let (l, _) = listener();
        ask("FIONREAD of a listener", l, FIONREAD);
        ask("FIONREAD of an idle one", socket(AF_INET, SOCK_STREAM, 0), FIONREAD);
        let on: c_int = 1;
        show("FIONBIO", ioctl(a, FIONBIO, &on));
        show("is", fcntl(a, F_GETFL) & O_NONBLOCK);
        let off: c_int = 0;
        show("FIONBIO off", ioctl(a, FIONBIO, &off));
        show("is", fcntl(a, F_GETFL) & O_NONBLOCK);
        show("FIOCLEX", ioctl(a, FIOCLEX));
        show("is", fcntl(a, F_GETFD));
        show("FIONCLEX", ioctl(a, FIONCLEX));
        show("is", fcntl(a, F_GETFD));
        show("unknown", ioctl(a, 0x1234, &on));
        show("of a terminal", ioctl(a, TIOCGWINSZ, [0u16; 4].as_mut_ptr()));
        show("bad address", ioctl(a, FIONREAD, 8));
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        let mut own = loopback(0);
        bind(u, ptr(&own), LEN);
        let mut len = LEN;
        getsockname(u, (&raw mut own).cast(), &mut len);
        ask("no datagram", u, FIONREAD);
        for text in [&b"first"[..], b"the second"] {
            sendto(u, text.as_ptr().cast(), text.len(), 0, ptr(&own), LEN);
        }
        ready(u, POLLIN);
        ask("the first of two", u, FIONREAD);
        ask("TIOCOUTQ", u, TIOCOUTQ);
    }
}
