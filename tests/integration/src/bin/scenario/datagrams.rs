//! Datagrams in all their corners: groups, broadcasts, what is told of them, the queue of errors, raw sockets.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("multicast", OneProcess, multicast),
    ("multicast_interfaces", OneProcess, interfaces),
    ("multicast_ipv6", OneProcess, multicast6),
    ("broadcast", OneProcess, broadcast),
    ("datagram_control", OneProcess, control),
    ("datagram_wishes", OneProcess, wishes),
    ("datagram_times", OneProcess, times),
    ("error_queue", OneProcess, error_queue),
    ("error_queue_ipv6", OneProcess, error_queue6),
    ("datagram_device", OneProcess, device),
    ("datagram_shares", OneProcess, shares),
    ("raw_icmp", OneProcess, raw_icmp),
    ("raw_icmp6", OneProcess, raw_icmp6),
    ("raw_others", OneProcess, raw_others),
    ("raw_own_header", OneProcess, own_header),
    ("raw_errors", OneProcess, raw_errors),
];

const GROUP: [u8; 4] = [239, 1, 2, 3];
const LO: [u8; 4] = [127, 0, 0, 1];

/// A UDP socket on any port of all addresses, that does not wait, and the port.
fn open() -> (c_int, u16) {
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        bind(s, ptr(&at([0; 4], 0)), LEN);
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        getsockname(s, (&raw mut own).cast(), &mut len);
        (s, u16::from_be(own.sin_port))
    }
}

fn set<T>(what: &str, s: c_int, level: c_int, name: c_int, value: &T) {
    unsafe { show(what, setsockopt(s, level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as u32)) };
}

fn quietly(s: c_int, level: c_int, name: c_int, value: c_int) {
    assert_eq!(unsafe { setsockopt(s, level, name, (&raw const value).cast(), 4) }, 0, "{level} {name} {}", errno());
}

fn send4(what: &str, s: c_int, data: &[u8], to: [u8; 4], port: u16) {
    unsafe { show(what, sendto(s, data.as_ptr().cast(), data.len(), 0, ptr(&at(to, port)), LEN) as i64) };
}

/// Receives and prints the data (or only its length), where it came from, the flags, and all control messages.
fn told(what: &str, s: c_int, flags: c_int) {
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

fn mreq(group: [u8; 4], interface: [u8; 4]) -> [[u8; 4]; 2] {
    [group, interface]
}

/// struct ip_mreqn with the number of an interface.
fn mreqn(group: [u8; 4], index: u32) -> [[u8; 4]; 3] {
    [group, [0; 4], index.to_ne_bytes()]
}

fn multicast(_: &str) {
    let (s, port) = open();
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    set("join", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO));
    set("join again", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO));
    set("by whom", c, IPPROTO_IP, IP_MULTICAST_IF, &LO);
    for (level, name) in [(IPPROTO_IP, IP_PKTINFO), (IPPROTO_IP, IP_RECVTTL)] {
        quietly(s, level, name, 1);
    }
    send4("send", c, b"to all", GROUP, port);
    told("received", s, 0);
    told("once", s, 0);
    set("ttl", c, IPPROTO_IP, IP_MULTICAST_TTL, &7i32);
    send4("send", c, b"further", GROUP, port);
    told("received", s, 0);
    send4("another group", c, b"x", [239, 9, 9, 9], port);
    told("not received", s, 0);
    let (second, _) = open();
    unsafe {
        let share = |fd| quietly(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        let twins: Vec<c_int> = (0..2)
            .map(|_| {
                let twin = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
                share(twin);
                twin
            })
            .collect();
        show("bound to the group", bind(twins[0], ptr(&at(GROUP, 0)), LEN));
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        getsockname(twins[0], (&raw mut own).cast(), &mut len);
        show("and again", bind(twins[1], ptr(&own), LEN));
        let shared = u16::from_be(own.sin_port);
        twins.iter().for_each(|twin| set("join", *twin, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO)));
        send4("send", c, b"both", GROUP, shared);
        twins.iter().for_each(|twin| told("each", *twin, 0));
    }
    quietly(second, IPPROTO_IP, 49, 0);
    println!("whoever has not joined:");
    let (mut own, mut len) = (at([0; 4], 0), LEN);
    unsafe { getsockname(second, (&raw mut own).cast(), &mut len) };
    send4("send", c, b"x", GROUP, u16::from_be(own.sin_port));
    told("does not receive", second, 0);
    quietly(second, IPPROTO_IP, 49, 1);
    send4("send", c, b"x", GROUP, u16::from_be(own.sin_port));
    told("or does, since somebody has", second, 0);
    set("leave", s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mreq(GROUP, LO));
    set("leave again", s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mreq(GROUP, LO));
    let stream = unsafe { socket(AF_INET, SOCK_STREAM, 0) };
    set("of a stream", stream, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO));
    unsafe {
        // struct group_req of RFC 3678.
        let mut request = [0u8; 136];
        request[0] = 1;
        request[8] = AF_INET as u8;
        request[12..16].copy_from_slice(&GROUP);
        let by = |what: &str, name| show(what, setsockopt(s, IPPROTO_IP, name, request.as_ptr().cast(), 136));
        by("MCAST_JOIN_GROUP", MCAST_JOIN_GROUP);
        by("again", MCAST_JOIN_GROUP);
        send4("send", c, b"by the other interface", GROUP, port);
        told("received", s, 0);
        by("MCAST_LEAVE_GROUP", MCAST_LEAVE_GROUP);
        by("again", MCAST_LEAVE_GROUP);
    }
}

fn interfaces(_: &str) {
    let (s, _) = open();
    set("no group", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq([10, 1, 2, 3], LO));
    set("no such address", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, [10, 255, 9, 9]));
    set("no such number", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreqn(GROUP, 99));
    set("by number", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreqn(GROUP, 1));
    set("the same by address", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO));
    set("leave by number", s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mreqn(GROUP, 1));
    set("too short", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &GROUP);
    let shown = |what: &str| unsafe {
        let (mut value, mut len) = ([9u8; 4], 4);
        show(what, getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, value.as_mut_ptr().cast(), &mut len));
        println!("  {value:?} {len}");
    };
    shown("none");
    set("by address", s, IPPROTO_IP, IP_MULTICAST_IF, &LO);
    shown("address");
    set("by number", s, IPPROTO_IP, IP_MULTICAST_IF, &mreqn([0; 4], 1));
    shown("number");
    set("no such", s, IPPROTO_IP, IP_MULTICAST_IF, &[10u8, 255, 9, 9]);
    set("no such number", s, IPPROTO_IP, IP_MULTICAST_IF, &mreqn([0; 4], 99));
    set("none", s, IPPROTO_IP, IP_MULTICAST_IF, &[0u8; 4]);
    shown("none");
    for value in [-1, 0, 255, 256] {
        set(&format!("ttl {value}"), s, IPPROTO_IP, IP_MULTICAST_TTL, &value);
        unsafe {
            let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
            getsockopt(s, IPPROTO_IP, IP_MULTICAST_TTL, (&raw mut got).cast(), &mut len);
            println!("  {got}");
        }
    }
    let groups = 0..25u8;
    let joined = groups.filter(|last| unsafe {
        let request = mreq([239, 5, 5, *last], LO);
        setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (&raw const request).cast(), 8) == 0
    });
    println!("at most {}: {}", joined.count(), errno() == ENOBUFS);
}

fn multicast6(_: &str) {
    unsafe {
        let s = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        let group = |last: u8, index: u32| {
            let mut request = [0u8; 20];
            (request[0], request[1], request[15]) = (0xff, 2, last);
            request[16..].copy_from_slice(&index.to_ne_bytes());
            request
        };
        set("join", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group(0x77, 1));
        set("again", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group(0x77, 1));
        set("no such interface", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group(0x77, 99));
        let mut single = group(0x77, 1);
        single[0] = 0xfe;
        set("no group", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &single);
        set("leave another", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &group(0x78, 1));
        set("leave", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &group(0x77, 1));
        set("interface", s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &1i32);
        set("no such interface", s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &99i32);
        let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
        show("shown", getsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, (&raw mut got).cast(), &mut len));
        println!("{got}");
    }
}

fn broadcast(_: &str) {
    let (s, port) = open();
    const ALL: [u8; 4] = [127, 255, 255, 255];
    quietly(s, IPPROTO_IP, IP_PKTINFO, 1);
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    send4("not allowed", c, b"x", ALL, port);
    unsafe { show("nor connected", connect(c, ptr(&at(ALL, port)), LEN)) };
    quietly(c, SOL_SOCKET, SO_BROADCAST, 1);
    send4("allowed", c, b"hear", ALL, port);
    told("received", s, 0);
    unsafe {
        show("connect", connect(c, ptr(&at(ALL, port)), LEN));
        show("send", send(c, b"y".as_ptr().cast(), 1, 0) as i64);
        told("received", s, 0);
        let one = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        quietly(one, SOL_SOCKET, SO_REUSEADDR, 1);
        bind(one, ptr(&at(LO, 0)), LEN);
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        getsockname(one, (&raw mut own).cast(), &mut len);
        let to = u16::from_be(own.sin_port);
        let b = socket(AF_INET, SOCK_DGRAM, 0);
        quietly(b, SOL_SOCKET, SO_BROADCAST, 1);
        send4("to one address", b, b"x", ALL, to);
        told("not to who is bound to one", one, 0);
        let all = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        quietly(all, SOL_SOCKET, SO_REUSEADDR, 1);
        show("bind to it", bind(all, ptr(&at(ALL, to)), LEN));
        send4("send", b, b"z", ALL, to);
        told("who is bound to it", all, 0);
        let stream = socket(AF_INET, SOCK_STREAM, 0);
        show("of a stream", connect(stream, ptr(&at(ALL, 9)), LEN));
    }
}

/// A socket of IPv6 on any port and the port.
fn open6() -> (c_int, u16) {
    unsafe {
        let s = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        bind(s, ptr(&at6([0; 16], 0)), LEN6);
        let (mut own, mut len) = (at6([0; 16], 0), LEN6);
        getsockname(s, (&raw mut own).cast(), &mut len);
        (s, u16::from_be(own.sin6_port))
    }
}

fn control(_: &str) {
    let (s, port) = open();
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
    let (s, port) = open();
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
    let (s, port) = open();
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

fn events(what: &str, s: c_int) {
    let mut fds = [pollfd { fd: s, events: POLLIN | POLLOUT | POLLPRI, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 0) };
    println!("{what}: {:x}", fds[0].revents);
}

/// A port of the loopback at which nobody listens.
fn closed_port() -> u16 {
    let (s, port) = open();
    unsafe { close(s) };
    port
}

fn error_queue(_: &str) {
    let port = closed_port();
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        told("empty", s, MSG_ERRQUEUE);
        send4("nobody", s, b"lost", LO, port);
        println!("unconnected hears nothing: {}", pending(s));
        set("IP_RECVERR", s, IPPROTO_IP, IP_RECVERR, &1i32);
        send4("nobody", s, b"hello", LO, port);
        events("poll", s);
        told("the error first", s, 0);
        told("then nothing", s, 0);
        events("but the queue", s);
        told("queue", s, MSG_ERRQUEUE);
        events("empty", s);
        told("queue", s, MSG_ERRQUEUE);
        send4("one", s, b"first", LO, port);
        send4("fails for the one before", s, b"second", LO, port);
        send4("two", s, b"third", LO, port);
        println!("pending {}", pending(s));
        let mut few = [0u8; 2];
        show("cut", recv(s, few.as_mut_ptr().cast(), 2, MSG_ERRQUEUE) as i64);
        println!("the next {}", pending(s));
        told("queue", s, MSG_ERRQUEUE);
        println!("none {}", pending(s));
        send4("one", s, b"first", LO, port);
        set("off", s, IPPROTO_IP, IP_RECVERR, &0i32);
        told("gone", s, MSG_ERRQUEUE);
        let c = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        connect(c, ptr(&at(LO, port)), LEN);
        show("connected", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        told("no queue", c, MSG_ERRQUEUE);
        println!("pending {}", pending(c));
    }
}

fn error_queue6(_: &str) {
    let port = closed_port();
    unsafe {
        let s = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        set("IPV6_RECVERR", s, IPPROTO_IPV6, IPV6_RECVERR, &1i32);
        let send = |what: &str, to| {
            show(what, sendto(s, b"hello".as_ptr().cast(), 5, 0, ptr(&at6(to, port)), LEN6) as i64);
        };
        send("nobody", ONE);
        told("queue", s, MSG_ERRQUEUE);
        send("mapped", MAPPED);
        told("not asked for", s, MSG_ERRQUEUE);
        set("IP_RECVERR", s, IPPROTO_IP, IP_RECVERR, &1i32);
        send("mapped", MAPPED);
        told("queue", s, MSG_ERRQUEUE);
    }
}

fn device(_: &str) {
    unsafe {
        let (s, port) = open();
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

/// An ICMP message with its checksum: type, the rest of its header, and four bytes.
fn echo(kind: u8) -> [u8; 12] {
    let mut message = [kind, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c', b'd'];
    let sum: u32 = message.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Receives a packet of IPv4 and prints what does not depend on who sent it: all but identification, flags and checksum.
fn packet(what: &str, s: c_int) {
    unsafe {
        let (mut bytes, mut from, mut len) = ([0u8; 100], at([9; 4], 9), LEN);
        let n = recvfrom(s, bytes.as_mut_ptr().cast(), 100, 0, (&raw mut from).cast(), &mut len) as i64;
        if show(what, n) < 0 {
            return;
        }
        bytes[4..8].fill(0);
        bytes[10..12].fill(0);
        let from = (from.sin_addr.s_addr.to_ne_bytes(), from.sin_port);
        println!("  {:x?} from {from:?}", &bytes[..n as usize]);
    }
}

fn raw_icmp(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
        let (mut own, mut len) = (at([9; 4], 9), LEN);
        getsockname(s, (&raw mut own).cast(), &mut len);
        println!("{:?} {}", own.sin_addr.s_addr.to_ne_bytes(), u16::from_be(own.sin_port));
        let request = echo(8);
        send4("send", s, &request, LO, 0);
        packet("the request", s);
        packet("the answer", s);
        packet("no more", s);
        let (mut mask, mut len) = (9u32, 4);
        show("ICMP_FILTER", getsockopt(s, 255, 1, (&raw mut mask).cast(), &mut len));
        println!("{mask}");
        set("blocks requests", s, 255, 1, &(1u32 << 8));
        send4("send", s, &request, LO, 77);
        packet("the answer", s);
        packet("no more", s);
        show("connect", connect(s, ptr(&at(LO, 77)), LEN));
        getsockname(s, (&raw mut own).cast(), &mut len);
        println!("{:?} {}", own.sin_addr.s_addr.to_ne_bytes(), u16::from_be(own.sin_port));
        let mut len = LEN;
        show("peer", getpeername(s, (&raw mut own).cast(), &mut len));
        println!("{:?} {}", own.sin_addr.s_addr.to_ne_bytes(), u16::from_be(own.sin_port));
        show("send", send(s, request.as_ptr().cast(), 12, 0) as i64);
        packet("the answer", s);
        show("bind once connected", bind(s, ptr(&at(LO, 0)), LEN));
        show("listen", listen(s, 1));
        let value = |name| {
            let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
            getsockopt(s, SOL_SOCKET, name, (&raw mut got).cast(), &mut len);
            got
        };
        println!("type {} protocol {}", value(SO_TYPE), value(SO_PROTOCOL));
        let other = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
        show("bind", bind(other, ptr(&at([127, 0, 0, 2], 5)), LEN));
        show("bind again", bind(other, ptr(&at([127, 0, 0, 3], 5)), LEN));
        show("not ours", bind(other, ptr(&at([10, 255, 1, 1], 5)), LEN));
        send4("to another address", s, &request, LO, 0);
        packet("not for it", other);
    }
}

fn raw_icmp6(_: &str) {
    unsafe {
        let s = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMPV6);
        let request = [128u8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c', b'd'];
        quietly(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
        let to = at6(ONE, 0);
        let sent = |what: &str| {
            show(what, sendto(s, request.as_ptr().cast(), 12, 0, ptr(&to), LEN6) as i64);
        };
        let got = |what: &str| {
            let mut bytes = [0u8; 100];
            let n = show(what, recv(s, bytes.as_mut_ptr().cast(), 100, 0) as i64);
            if n > 0 {
                println!("  {:x?}", &bytes[..n as usize]);
            }
        };
        sent("send");
        got("the request");
        told("the answer", s, 0);
        set("nothing passes", s, IPPROTO_ICMPV6, 1, &[0xffu8; 32]);
        sent("send");
        got("nothing");
        let (mut mask, mut len) = ([0u8; 32], 32);
        show("ICMP6_FILTER", getsockopt(s, IPPROTO_ICMPV6, 1, mask.as_mut_ptr().cast(), &mut len));
        println!("{mask:x?}");
        let mut passes = [0xffu8; 32];
        passes[16] &= !2;
        set("answers pass", s, IPPROTO_ICMPV6, 1, &passes);
        sent("send");
        got("the answer");
        got("no more");
        set("its checksum is fixed", s, IPPROTO_IPV6, IPV6_CHECKSUM, &4i32);
    }
}

fn raw_others(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, 253);
        quietly(s, IPPROTO_IP, IP_TOS, 0x10);
        quietly(s, IPPROTO_IP, IP_TTL, 17);
        send4("send", s, b"data", LO, 0);
        packet("received", s);
        send4("empty", s, b"", LO, 0);
        packet("received", s);
        let spy = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_UDP);
        let (u, port) = open();
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        send4("send", c, b"seen", LO, port);
        told("received", u, 0);
        let mut bytes = [0u8; 100];
        show("and seen", recv(spy, bytes.as_mut_ptr().cast(), 100, 0) as i64);
        println!("{}", String::from_utf8_lossy(&bytes[28..32]));
        let six = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK, 253);
        let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
        show("IPV6_CHECKSUM", getsockopt(six, IPPROTO_IPV6, IPV6_CHECKSUM, (&raw mut got).cast(), &mut len));
        println!("{got}");
        set("at 2", six, IPPROTO_IPV6, IPV6_CHECKSUM, &2i32);
        set("at 3", six, IPPROTO_IPV6, IPV6_CHECKSUM, &3i32);
        let to = |port| at6(ONE, port);
        show("send", sendto(six, b"abcdef".as_ptr().cast(), 6, 0, ptr(&to(0)), LEN6) as i64);
        let n = show("received", recv(six, bytes.as_mut_ptr().cast(), 100, 0) as i64);
        println!("{:x?}", &bytes[..n.max(0) as usize]);
        show("too short", sendto(six, b"abc".as_ptr().cast(), 3, 0, ptr(&to(0)), LEN6) as i64);
        show("a port", sendto(six, b"abcdef".as_ptr().cast(), 6, 0, ptr(&to(7)), LEN6) as i64);
    }
}

fn own_header(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
        let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
        show("IP_HDRINCL", getsockopt(s, IPPROTO_IP, IP_HDRINCL, (&raw mut got).cast(), &mut len));
        println!("{got}");
        let spy = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
        for name in [IP_RECVTTL, IP_RECVTOS] {
            quietly(spy, IPPROTO_IP, name, 1);
        }
        let mut header = [0x45, 0x10, 0, 0, 0, 0, 0, 0, 33, 1, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1];
        let whole = [&header[..], &echo(8)].concat();
        send4("send", s, &whole, LO, 0);
        packet("the request", spy);
        packet("the answer", spy);
        header[12..16].copy_from_slice(&[127, 0, 0, 5]);
        send4("from another", s, &[&header[..], &echo(8)].concat(), LO, 0);
        packet("the request", spy);
        packet("the answer", spy);
        send4("half a header", s, &header[..10], LO, 0);
        header[0] = 0x41;
        send4("a short header", s, &header, LO, 0);
        header[0] = 0x4f;
        send4("a long header", s, &header, LO, 0);
        let other = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, 253);
        set("IP_HDRINCL", other, IPPROTO_IP, IP_HDRINCL, &1i32);
        header[0] = 0x45;
        header[9] = 253;
        send4("send", other, &header, LO, 0);
        packet("received", other);
    }
}

fn raw_errors(_: &str) {
    unsafe {
        works("no protocol", socket(AF_INET, SOCK_RAW, 0));
        works("none of IPv6", socket(AF_INET6, SOCK_RAW, 0));
        works("a stream of ICMP", socket(AF_INET, SOCK_STREAM, IPPROTO_ICMP));
        works("a pair", socketpair(AF_INET, SOCK_RAW, IPPROTO_ICMP, [0; 2].as_mut_ptr()));
        let s = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, 253);
        show("nowhere", send(s, b"x".as_ptr().cast(), 1, 0) as i64);
        let (mut own, mut len) = (at(LO, 0), LEN);
        show("no peer", getpeername(s, (&raw mut own).cast(), &mut len));
        show("shutdown", shutdown(s, SHUT_WR));
        send4("too long", s, &[0; 65516], LO, 0);
        show("another family", sendto(s, b"x".as_ptr().cast(), 1, 0, ptr(&at6(ONE, 0)), LEN6) as i64);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        set("IP_HDRINCL of UDP", u, IPPROTO_IP, IP_HDRINCL, &1i32);
        set("ICMP_FILTER of another", s, 255, 1, &1u32);
        let mut byte = 0u8;
        show("nothing there", recv(s, (&raw mut byte).cast(), 1, 0) as i64);
        connect(s, ptr(&at(LO, 0)), LEN);
        show("shutdown", shutdown(s, SHUT_RD));
        fcntl(s, F_SETFL, 0);
        show("ended", recv(s, (&raw mut byte).cast(), 1, 0) as i64);
    }
}
