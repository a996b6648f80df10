//! Groups and broadcast.

use super::super::prelude::*;
use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("multicast", OneProcess, multicast),
    ("multicast_interfaces", OneProcess, interfaces),
    ("multicast_ipv6", OneProcess, multicast6),
    ("broadcast", OneProcess, broadcast),
];

fn multicast(_: &str) {
    let (s, port) = open4();
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
    let (second, _) = open4();
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
    let (s, _) = open4();
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
    let (s, port) = open4();
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
