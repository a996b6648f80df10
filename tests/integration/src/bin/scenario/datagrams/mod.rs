//! Datagrams: what control messages tell and wish, devices, sharing of ports.

pub mod ends;
pub mod errors;
pub mod groups;
pub mod loops;
pub mod raw;

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("datagram_control", OneProcess, control),
    ("datagram_wishes", OneProcess, wishes),
    ("datagram_times", OneProcess, times),
    ("datagram_device", OneProcess, device),
    ("datagram_shares", OneProcess, shares),
];

pub const GROUP: [u8; 4] = [239, 1, 2, 3];
pub const LO: [u8; 4] = [127, 0, 0, 1];

/// A UDP socket on any port of all addresses, that does not wait, and the port.
pub fn open4() -> (c_int, u16) {
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        bind(s, ptr(&at([0; 4], 0)), LEN);
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        getsockname(s, (&raw mut own).cast(), &mut len);
        (s, u16::from_be(own.sin_port))
    }
}

pub fn set<T>(what: &str, s: c_int, level: c_int, name: c_int, value: &T) {
    unsafe { show(what, setsockopt(s, level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as u32)) };
}

pub fn quietly(s: c_int, level: c_int, name: c_int, value: c_int) {
    assert_eq!(unsafe { setsockopt(s, level, name, (&raw const value).cast(), 4) }, 0, "{level} {name} {}", errno());
}

pub fn send4(what: &str, s: c_int, data: &[u8], to: [u8; 4], port: u16) {
    unsafe { show(what, sendto(s, data.as_ptr().cast(), data.len(), 0, ptr(&at(to, port)), LEN) as i64) };
}

/// Receives and prints the data (or only its length), where it came from, the flags, and all control messages.
pub fn told(what: &str, s: c_int, flags: c_int) {
    unsafe {
        let (mut data, mut control) = ([0u8; 200], [0u64; 64]);
        let mut from: sockaddr_in6 = zeroed();
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        let mut message: msghdr = zeroed();
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = LEN6;
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        let len = show(what, recvmsg(s, &mut message, flags) as i64);
        if len < 0 {
            return;
        }
        let data = &data[..len as usize];
        match data.is_ascii() {
            true => println!("  {:?} flags {:x}", String::from_utf8_lossy(data), message.msg_flags),
            false => println!("  flags {:x}", message.msg_flags),
        }
        match message.msg_namelen {
            LEN => println!("  from {:x?}", std::slice::from_raw_parts((&raw const from).cast::<u8>().add(4), 4)),
            _ => println!("  from {:x?} of {}", from.sin6_addr.s6_addr, message.msg_namelen),
        }
        let mut next = CMSG_FIRSTHDR(&message);
        while !next.is_null() {
            let header = &*next;
            let bytes = std::slice::from_raw_parts(CMSG_DATA(next), header.cmsg_len - 16);
            match (header.cmsg_level, header.cmsg_type) {
                (SOL_SOCKET, kind) => println!("  socket {kind}: {} bytes", bytes.len()),
                (level, kind) => println!("  {level} {kind}: {bytes:x?}"),
            }
            next = CMSG_NXTHDR(&message, next);
        }
    }
}

pub fn mreq(group: [u8; 4], interface: [u8; 4]) -> [[u8; 4]; 2] {
    [group, interface]
}

/// struct ip_mreqn with the number of an interface.
pub fn mreqn(group: [u8; 4], index: u32) -> [[u8; 4]; 3] {
    [group, [0; 4], index.to_ne_bytes()]
}

/// A socket of IPv6 on any port and the port.
pub fn open6() -> (c_int, u16) {
    unsafe {
        let s = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        bind(s, ptr(&at6([0; 16], 0)), LEN6);
        let (mut own, mut len) = (at6([0; 16], 0), LEN6);
        getsockname(s, (&raw mut own).cast(), &mut len);
        (s, u16::from_be(own.sin6_port))
    }
}

fn control(_: &str) {
    let (s, port) = open4();
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    for (name, what) in [(IP_PKTINFO, "IP_PKTINFO"), (IP_RECVTTL, "IP_RECVTTL"), (IP_RECVTOS, "IP_RECVTOS")] {
        set(what, s, IPPROTO_IP, name, &1i32);
        send4("send", c, b"a", LO, port);
        told("told", s, 0);
    }
    quietly(c, IPPROTO_IP, IP_TOS, 0x10);
    quietly(c, IPPROTO_IP, IP_TTL, 9);
    send4("send", c, b"b", [127, 0, 0, 9], port);
    told("told", s, 0);
    let (six, port) = open6();
    for name in [IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS] {
        quietly(six, IPPROTO_IPV6, name, 1);
    }
    send4("send", c, b"c", LO, port);
    told("IPv4 to IPv6", six, 0);
    for name in [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS] {
        quietly(six, IPPROTO_IP, name, 1);
    }
    send4("send", c, b"d", LO, port);
    told("IPv4 to IPv6", six, 0);
    unsafe {
        let c = socket(AF_INET6, SOCK_DGRAM, 0);
        quietly(c, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
        quietly(c, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5);
        quietly(c, IPPROTO_IP, IP_TOS, 0x8);
        for to in [ONE, MAPPED] {
            show("send", sendto(c, b"e".as_ptr().cast(), 1, 0, ptr(&at6(to, port)), LEN6) as i64);
            told("told", six, 0);
        }
    }
}

/// Sends with one control message.
unsafe fn send_with(what: &str, s: c_int, to: *const sockaddr, len: socklen_t, level: c_int, kind: c_int, data: &[u8]) {
    unsafe {
        let mut control = [0u64; 16];
        let mut vector = iovec { iov_base: b"w".as_ptr().cast_mut().cast(), iov_len: 1 };
        let mut message: msghdr = zeroed();
        (message.msg_name, message.msg_namelen) = (to.cast_mut().cast(), len);
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CMSG_SPACE(data.len() as u32) as usize;
        let header = &mut *CMSG_FIRSTHDR(&message);
        (header.cmsg_level, header.cmsg_type) = (level, kind);
        header.cmsg_len = CMSG_LEN(data.len() as u32) as usize;
        CMSG_DATA(header).copy_from_nonoverlapping(data.as_ptr(), data.len());
        show(what, sendmsg(s, &message, 0) as i64);
    }
}

fn wishes(_: &str) {
    let (s, port) = open4();
    let (six, port6) = open6();
    for name in [IP_RECVTTL, IP_RECVTOS] {
        quietly(s, IPPROTO_IP, name, 1);
    }
    for name in [IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS] {
        quietly(six, IPPROTO_IPV6, name, 1);
    }
    unsafe {
        let (c, c6) = (socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET6, SOCK_DGRAM, 0));
        let (to, to6) = (at(LO, port), at6(ONE, port6));
        let int = |value: c_int| value.to_ne_bytes();
        send_with("IP_TTL", c, ptr(&to), LEN, IPPROTO_IP, IP_TTL, &int(3));
        told("told", s, 0);
        send_with("IP_TOS", c, ptr(&to), LEN, IPPROTO_IP, IP_TOS, &int(0x28));
        told("told", s, 0);
        send_with("IP_TOS as a byte", c, ptr(&to), LEN, IPPROTO_IP, IP_TOS, &[0x30]);
        told("told", s, 0);
        send_with("IP_TTL 0", c, ptr(&to), LEN, IPPROTO_IP, IP_TTL, &int(0));
        send_with("IP_TTL 256", c, ptr(&to), LEN, IPPROTO_IP, IP_TTL, &int(256));
        let info = |index: c_int, source: [u8; 4]| [index.to_ne_bytes(), source, [0; 4]].concat();
        send_with("IP_PKTINFO", c, ptr(&to), LEN, IPPROTO_IP, IP_PKTINFO, &info(1, [127, 0, 0, 7]));
        told("told", s, 0);
        send_with("not ours", c, ptr(&to), LEN, IPPROTO_IP, IP_PKTINFO, &info(0, [10, 255, 3, 3]));
        send_with("IPV6_HOPLIMIT", c6, ptr(&to6), LEN6, IPPROTO_IPV6, IPV6_HOPLIMIT, &int(4));
        told("told", six, 0);
        send_with("IPV6_TCLASS", c6, ptr(&to6), LEN6, IPPROTO_IPV6, IPV6_TCLASS, &int(0x44));
        told("told", six, 0);
        send_with("IPV6_TCLASS 256", c6, ptr(&to6), LEN6, IPPROTO_IPV6, IPV6_TCLASS, &int(256));
        send_with("unknown", c, ptr(&to), LEN, IPPROTO_IP, 99, &int(1));
    }
}

fn times(_: &str) {
    let (s, port) = open4();
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    let shown = |what: &str| {
        let get = |name| unsafe {
            let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
            getsockopt(s, SOL_SOCKET, name, (&raw mut got).cast(), &mut len);
            got
        };
        println!("{what}: {} {}", get(SO_TIMESTAMP), get(SO_TIMESTAMPNS));
    };
    shown("neither");
    for (what, name, on) in [
        ("SO_TIMESTAMP", SO_TIMESTAMP, 1),
        ("SO_TIMESTAMPNS", SO_TIMESTAMPNS, 1),
        ("SO_TIMESTAMP", SO_TIMESTAMP, 1),
        ("off", SO_TIMESTAMP, 0),
    ] {
        quietly(s, SOL_SOCKET, name, on);
        shown(what);
        send4("send", c, b"t", LO, port);
        told("told", s, 0);
    }
    quietly(s, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    quietly(s, IPPROTO_IP, IP_RECVTTL, 1);
    send4("send", c, b"t", LO, port);
    told("and the rest", s, 0);
}

pub fn events(what: &str, s: c_int) {
    let mut fds = [pollfd { fd: s, events: POLLIN | POLLOUT | POLLPRI, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 0) };
    println!("{what}: {:x}", fds[0].revents);
}

fn device(_: &str) {
    unsafe {
        let (s, port) = open4();
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        let set = |what: &str, name: &[u8]| {
            show(what, setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32));
        };
        let shown = |room: socklen_t| {
            let (mut name, mut len) = ([0u8; 20], room);
            show("shown", getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name.as_mut_ptr().cast(), &mut len));
            println!("  {}", len > 0);
        };
        shown(20);
        set("lo", b"lo\0");
        shown(20);
        shown(2);
        send4("send", c, b"x", LO, port);
        told("received", s, 0);
        set("no such", b"nosuch\0");
        set("none", b"");
        shown(20);
        for (what, level, name) in [("IP_MTU", IPPROTO_IP, IP_MTU), ("of a stream", IPPROTO_IP, IP_MTU)] {
            let fd = if what == "IP_MTU" { c } else { socket(AF_INET, SOCK_STREAM, 0) };
            let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
            show(what, getsockopt(fd, level, name, (&raw mut got).cast(), &mut len));
        }
        connect(c, ptr(&at(LO, port)), LEN);
        let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
        show("connected", getsockopt(c, IPPROTO_IP, IP_MTU, (&raw mut got).cast(), &mut len));
        println!("{got}");
        let free = socket(AF_INET, SOCK_DGRAM, 0);
        show("not ours", bind(free, ptr(&at([10, 255, 3, 3], 0)), LEN));
        quietly(free, IPPROTO_IP, IP_FREEBIND, 1);
        show("IP_FREEBIND", bind(free, ptr(&at([10, 255, 3, 3], 0)), LEN));
    }
}

/// Flows to one port that several sockets share: each stays with its socket, and all sockets get some.
fn shares(_: &str) {
    const SHARERS: usize = 4;
    const FLOWS: usize = 64;
    unsafe {
        let mut to = at(LO, 0);
        let sharers: Vec<c_int> = (0..SHARERS)
            .map(|_| {
                let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
                quietly(s, SOL_SOCKET, SO_REUSEPORT, 1);
                assert_eq!(bind(s, ptr(&to), LEN), 0);
                let mut len = LEN;
                getsockname(s, (&raw mut to).cast(), &mut len);
                s
            })
            .collect();
        for flow in 0..FLOWS as u8 {
            let c = socket(AF_INET, SOCK_DGRAM, 0);
            for _ in 0..3 {
                sendto(c, (&raw const flow).cast(), 1, 0, ptr(&to), LEN);
            }
            close(c);
        }
        let mut owner = [None; FLOWS];
        let (mut counts, mut strayed) = ([0; SHARERS], 0);
        for (at, s) in sharers.iter().enumerate() {
            let mut flow = 0u8;
            while recv(*s, (&raw mut flow).cast(), 1, 0) == 1 {
                counts[at] += 1;
                let owner = owner[usize::from(flow)].get_or_insert(at);
                strayed += usize::from(*owner != at);
            }
        }
        println!("all {} strayed {strayed} idle {}", counts.iter().sum::<usize>(), counts.contains(&0));
        let connected = socket(AF_INET, SOCK_DGRAM, 0);
        connect(connected, ptr(&to), LEN);
        let (mut own, mut len) = (at(LO, 0), LEN);
        getsockname(connected, (&raw mut own).cast(), &mut len);
        show("one is connected", connect(sharers[1], ptr(&own), LEN));
        for _ in 0..5 {
            send(connected, b"x".as_ptr().cast(), 1, 0);
        }
        let mut byte = 0u8;
        let got = (0..5).filter(|_| recv(sharers[1], (&raw mut byte).cast(), 1, 0) == 1).count();
        println!("and gets all of its peer: {got}");
        let lone = socket(AF_INET, SOCK_DGRAM, 0);
        show("without the option", bind(lone, ptr(&to), LEN));
    }
}
