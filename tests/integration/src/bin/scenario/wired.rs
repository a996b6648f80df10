//! An interface besides the loopback, `shmif0` with an MTU of 1500, on whose link nobody answers: what cannot be reached, and what can be
//! sent there nevertheless.
//!
//! Its addresses, and routes that lead nowhere, are made by who runs these: see `tests/scenarios.rs`.

use super::datagrams::loops::{GROUP6, mreq6, request};
use super::datagrams::{GROUP, events, mreq, open4, open6, quietly, send4, set, told};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("wired_no_way", Wired, no_way),
    ("wired_no_answer", Wired, no_answer),
    ("wired_connect_times_out", Wired, times_out),
    ("wired_sources", Wired, sources),
    ("wired_devices", Wired, devices),
    ("wired_path_mtu", Wired, path_mtu),
    ("wired_broadcast", Wired, broadcast),
    ("wired_multicast", Wired, multicast),
    ("wired_multicast_ipv6", Wired, multicast6),
];

/// The interface's addresses.
const OWN: [u8; 4] = [192, 0, 2, 1];
const OWN6: [u8; 16] = in_net(0, 1);
/// Nobody has these addresses, but of the second it is known where it would be.
const NOBODY: [u8; 4] = [192, 0, 2, 9];
const NOBODY6: [u8; 16] = in_net(0, 9);
const SILENT: [u8; 4] = [192, 0, 2, 77];
const SILENT6: [u8; 16] = in_net(0, 0x77);
/// Routes go to the first by a gateway, to the second they say that it is unreachable, to the third nothing.
const BEHIND: [u8; 4] = [198, 18, 0, 1];
const REJECTED: [u8; 4] = [203, 0, 113, 1];
const REJECTED6: [u8; 16] = in_net(1, 1);
const SWALLOWED: [u8; 4] = [203, 0, 113, 65];
const SWALLOWED6: [u8; 16] = in_net(2, 1);
/// There is no route to these.
const FAR: [u8; 4] = [198, 51, 100, 1];
const FAR6: [u8; 16] = in_net(9, 1);

/// An address of the nets for documentation (RFC 3849).
const fn in_net(net: u8, host: u8) -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, host]
}

fn index() -> u32 {
    let index = unsafe { if_nametoindex(c"shmif0".as_ptr()) };
    assert_ne!(index, 0);
    index
}

/// What connect(2) and sendto(2) say at once.
fn tried(what: &str, to: *const sockaddr, len: socklen_t) {
    let family = i32::from(unsafe { (*to).sa_family });
    unsafe {
        let s = socket(family, SOCK_STREAM, 0);
        show(&format!("{what}: connect"), connect(s, to, len));
        println!("  SO_ERROR {}", pending(s));
        let s = socket(family, SOCK_DGRAM, 0);
        show("  sendto", sendto(s, b"x".as_ptr().cast(), 1, 0, to, len) as i64);
        show("  connect of datagrams", connect(s, to, len));
    }
}

fn no_way(_: &str) {
    unsafe {
        for (what, to) in [("ENETUNREACH", FAR), ("EHOSTUNREACH", REJECTED), ("EINVAL", SWALLOWED)] {
            tried(what, ptr(&at(to, 80)), LEN);
        }
        for (what, to) in [("ENETUNREACH", FAR6), ("EHOSTUNREACH", REJECTED6), ("EINVAL", SWALLOWED6)] {
            tried(what, ptr(&at6(to, 80)), LEN6);
        }
        let s = socket(AF_INET, SOCK_DGRAM, 0);
        send4("by a gateway", s, b"x", BEHIND, 9);
        let to = at(BEHIND, 9);
        let direct = sendto(s, b"x".as_ptr().cast(), 1, MSG_DONTROUTE, ptr(&to), LEN);
        show("MSG_DONTROUTE", direct as i64);
        quietly(s, SOL_SOCKET, SO_DONTROUTE, 1);
        send4("SO_DONTROUTE", s, b"x", BEHIND, 9);
        send4("on the link", s, b"x", SILENT, 9);
        let stream = socket(AF_INET, SOCK_STREAM, 0);
        quietly(stream, SOL_SOCKET, SO_DONTROUTE, 1);
        show("of a stream", connect(stream, ptr(&to), LEN));
        let raw = socket(AF_INET, SOCK_RAW, 253);
        send4("raw", raw, b"x", FAR, 0);
    }
}

/// Asks for a neighbour three times, a second each.
fn no_answer(_: &str) {
    unsafe {
        let (four, six) =
            (socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
        show("IPv4", connect(four, ptr(&at(NOBODY, 80)), LEN));
        show("IPv6", connect(six, ptr(&at6(NOBODY6, 80)), LEN6));
        let blocking = std::thread::spawn(|| {
            let s = socket(AF_INET, SOCK_STREAM, 0);
            let r = connect(s, ptr(&at(NOBODY, 81)), LEN);
            (r, errno())
        });
        let datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        quietly(datagrams, IPPROTO_IP, IP_RECVERR, 1);
        send4("a datagram", datagrams, b"lost", NOBODY, 9);
        for s in [four, six] {
            println!("{:#x}", ready(s, POLLIN | POLLOUT | POLLRDHUP));
            println!("SO_ERROR {}", pending(s));
        }
        let (r, error) = blocking.join().unwrap();
        println!("who waits {r} {}", error == EHOSTUNREACH);
        println!("{:#x}", ready(datagrams, POLLIN));
        println!("the datagram {}", pending(datagrams) == EHOSTUNREACH);
    }
}

fn times_out(_: &str) {
    unsafe {
        let limited = |domain| {
            let s = socket(domain, SOCK_STREAM | SOCK_NONBLOCK, 0);
            quietly(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 300);
            s
        };
        let (four, six) = (limited(AF_INET), limited(AF_INET6));
        show("IPv4", connect(four, ptr(&at(SILENT, 80)), LEN));
        show("IPv6", connect(six, ptr(&at6(SILENT6, 80)), LEN6));
        show("goes on", connect(four, ptr(&at(SILENT, 80)), LEN));
        let waiting = limited(AF_INET);
        fcntl(waiting, F_SETFL, 0);
        show("who waits", connect(waiting, ptr(&at(SILENT, 80)), LEN));
        for s in [four, six] {
            println!("{:#x}", ready(s, POLLIN | POLLOUT | POLLRDHUP));
            println!("ETIMEDOUT {}", pending(s) == ETIMEDOUT);
        }
    }
}

/// Which address a socket has once it knows its peer.
fn sources(_: &str) {
    unsafe {
        let own = |s| {
            let (mut own, mut len) = (at6([0; 16], 0), LEN6);
            getsockname(s, (&raw mut own).cast(), &mut len);
            match i32::from(own.sin6_family) {
                AF_INET => format!("{:?}", (&raw const own).cast::<sockaddr_in>().read().sin_addr.s_addr.to_ne_bytes()),
                _ => format!("{:x?}", own.sin6_addr.s6_addr),
            }
        };
        for to in [OWN, NOBODY, BEHIND, LO] {
            let s = socket(AF_INET, SOCK_DGRAM, 0);
            show("connect", connect(s, ptr(&at(to, 9)), LEN));
            println!("  from {}", own(s));
        }
        for to in [OWN6, NOBODY6, ONE] {
            let s = socket(AF_INET6, SOCK_DGRAM, 0);
            show("connect", connect(s, ptr(&at6(to, 9)), LEN6));
            println!("  from {}", own(s));
        }
        let (l, addr) = listener_of(OWN);
        let c = socket(AF_INET, SOCK_STREAM, 0);
        show("to its own address", connect(c, ptr(&addr), LEN));
        println!("  from {}", own(c));
        println!("accepted {}", own(accept(l, null_mut(), null_mut())));
        let other = socket(AF_INET, SOCK_STREAM, 0);
        show("not by the loopback", connect(other, ptr(&at(LO, u16::from_be(addr.sin_port))), LEN));
        let from = socket(AF_INET, SOCK_STREAM, 0);
        show("bind", bind(from, ptr(&at(LO, 0)), LEN));
        show("from the loopback", connect(from, ptr(&addr), LEN));
        println!("  from {}", own(from));
    }
}

const LO: [u8; 4] = [127, 0, 0, 1];

fn listener_of(addr: [u8; 4]) -> (c_int, sockaddr_in) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let (mut own, mut len) = (at(addr, 0), LEN);
        assert_eq!(bind(s, ptr(&own), LEN), 0);
        listen(s, 5);
        getsockname(s, (&raw mut own).cast(), &mut len);
        (s, own)
    }
}

fn bind_to_device(s: c_int, name: &CStr) {
    let name = name.to_bytes();
    unsafe {
        let done = setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32);
        show("SO_BINDTODEVICE", done);
    }
}

/// SO_BINDTODEVICE, IP_PKTINFO and IP_MULTICAST_IF where there is a choice.
fn devices(_: &str) {
    unsafe {
        let (s, port) = open4();
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        for (name, to) in [(c"shmif0", LO), (c"shmif0", OWN), (c"lo", LO), (c"lo", OWN), (c"", OWN)] {
            bind_to_device(s, name);
            send4(&format!("{name:?} to {to:?}"), c, b"x", to, port);
            told("  heard", s, 0);
        }
        bind_to_device(c, c"shmif0");
        send4("what no route leads to is on the link", c, b"x", FAR, 9);
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        show("connect", connect(c, ptr(&at(FAR, 9)), LEN));
        getsockname(c, (&raw mut own).cast(), &mut len);
        println!("  from {:?}", own.sin_addr.s_addr.to_ne_bytes());
        let (six, port) = open6();
        let c = socket(AF_INET6, SOCK_DGRAM, 0);
        for name in [c"shmif0", c"lo"] {
            bind_to_device(six, name);
            show("to its own address", sendto(c, b"x".as_ptr().cast(), 1, 0, ptr(&at6(OWN6, port)), LEN6) as i64);
            told("  heard", six, 0);
        }
        let stream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        bind_to_device(stream, c"shmif0");
        show("a stream", connect(stream, ptr(&at(FAR, 80)), LEN));
    }
}

fn mtu(what: &str, s: c_int, level: c_int, name: c_int) {
    let (mut value, mut len) = (-7i32, 4);
    unsafe { show(what, getsockopt(s, level, name, (&raw mut value).cast(), &mut len)) };
    println!("  {value}");
}

/// What does not fit the link, or the way behind it.
fn path_mtu(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        show("connect", connect(s, ptr(&at(SILENT, 9)), LEN));
        mtu("IP_MTU", s, IPPROTO_IP, IP_MTU);
        let data = [0u8; 5000];
        let say = |what: &str, s, len: usize| show(what, send(s, data.as_ptr().cast(), len, 0) as i64);
        for (what, how) in [("dont", 0), ("want", 1), ("do", 2), ("probe", 3)] {
            set(&format!("IP_MTU_DISCOVER {what}"), s, IPPROTO_IP, IP_MTU_DISCOVER, &how);
            say("fits", s, 1472);
            say("does not", s, 1473);
        }
        set("IP_RECVERR", s, IPPROTO_IP, IP_RECVERR, &1i32);
        set("IP_MTU_DISCOVER do", s, IPPROTO_IP, IP_MTU_DISCOVER, &2i32);
        say("too long", s, 3000);
        events("events", s);
        println!("SO_ERROR {}", pending(s));
        told("IP_RECVERR", s, MSG_ERRQUEUE);
        let six = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        show("connect", connect(six, ptr(&at6(SILENT6, 9)), LEN6));
        mtu("IPV6_MTU", six, IPPROTO_IPV6, IPV6_MTU);
        say("in pieces", six, 3000);
        set("IPV6_DONTFRAG", six, IPPROTO_IPV6, IPV6_DONTFRAG, &1i32);
        say("fits", six, 1452);
        say("does not", six, 1453);
        // A router on the way says that it is narrower: here the test itself.
        let (mut own, mut len) = (at([0; 4], 0), LEN);
        getsockname(s, (&raw mut own).cast(), &mut len);
        let from = u16::from_be(own.sin_port);
        let router = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        let message = super::datagrams::ends::about((3, 4), 1300, (OWN, from), (SILENT, 9));
        sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(OWN, 0)), LEN);
        println!("SO_ERROR {}", pending(s));
        told("IP_RECVERR", s, MSG_ERRQUEUE);
        mtu("IP_MTU", s, IPPROTO_IP, IP_MTU);
        say("fits", s, 1272);
        say("does not", s, 1273);
        set("IP_MTU_DISCOVER want", s, IPPROTO_IP, IP_MTU_DISCOVER, &1i32);
        say("in pieces", s, 1473);
        let other = socket(AF_INET, SOCK_DGRAM, 0);
        connect(other, ptr(&at(SILENT, 99)), LEN);
        mtu("IP_MTU of another", other, IPPROTO_IP, IP_MTU);
    }
}

fn broadcast(_: &str) {
    unsafe {
        let (s, port) = open4();
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        for to in [[192, 0, 2, 255], [255; 4]] {
            quietly(c, SOL_SOCKET, SO_BROADCAST, 0);
            send4("not allowed", c, b"x", to, port);
            quietly(c, SOL_SOCKET, SO_BROADCAST, 1);
            send4("SO_BROADCAST", c, b"hear", to, port);
            told("  heard", s, 0);
            let stream = socket(AF_INET, SOCK_STREAM, 0);
            show("of a stream", connect(stream, ptr(&at(to, 9)), LEN));
        }
        let bound = socket(AF_INET, SOCK_DGRAM, 0);
        show("bind", bind(bound, ptr(&at(OWN, 0)), LEN));
        send4("by its address's interface, not allowed", bound, b"x", [255; 4], port);
        quietly(bound, SOL_SOCKET, SO_BROADCAST, 1);
        send4("SO_BROADCAST", bound, b"hear", [255; 4], port);
        told("  heard", s, 0);
        send4("a group", bound, b"x", [224, 0, 0, 1], port);
        told("  heard", s, 0);
    }
}

fn multicast(_: &str) {
    let (s, port) = open4();
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    quietly(s, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    quietly(s, IPPROTO_IP, IP_RECVTTL, 1);
    set("IP_ADD_MEMBERSHIP", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, OWN));
    for interface in [OWN, LO] {
        set(&format!("IP_MULTICAST_IF {interface:?}"), c, IPPROTO_IP, IP_MULTICAST_IF, &interface);
        send4("send", c, b"to all", GROUP, port);
        told("  heard", s, 0);
    }
    set("IP_MULTICAST_IF", c, IPPROTO_IP, IP_MULTICAST_IF, &OWN);
    set("IP_MULTICAST_LOOP off", c, IPPROTO_IP, IP_MULTICAST_LOOP, &0i32);
    send4("send", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("IP_MULTICAST_LOOP on", c, IPPROTO_IP, IP_MULTICAST_LOOP, &1i32);
    set("IP_MULTICAST_TTL", c, IPPROTO_IP, IP_MULTICAST_TTL, &5i32);
    send4("send", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("IP_DROP_MEMBERSHIP", s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mreq(GROUP, OWN));
    send4("send", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("MCAST_JOIN_GROUP", s, IPPROTO_IP, MCAST_JOIN_GROUP, &request(index(), &GROUP));
    send4("send", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("MCAST_LEAVE_GROUP", s, IPPROTO_IP, MCAST_LEAVE_GROUP, &request(index(), &GROUP));
}

/// Receives, and says what does not depend on numbers and addresses that the kernel chose.
fn heard6(what: &str, s: c_int) {
    unsafe {
        let (mut data, mut control) = ([0u8; 16], [0u64; 32]);
        let mut from: sockaddr_in6 = zeroed();
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        let mut message: msghdr = zeroed();
        (message.msg_name, message.msg_namelen) = ((&raw mut from).cast(), LEN6);
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        if show(what, recvmsg(s, &mut message, 0) as i64) < 0 {
            return;
        }
        let near = from.sin6_addr.s6_addr[0] == 0xfe;
        println!("  from the link {near}, by it {}", from.sin6_scope_id == if near { index() } else { 0 });
        let mut next = CMSG_FIRSTHDR(&message);
        while !next.is_null() {
            let bytes = std::slice::from_raw_parts(CMSG_DATA(next), (*next).cmsg_len - 16);
            match (*next).cmsg_type {
                IPV6_PKTINFO => println!("  to {:x?} {}", &bytes[..16], bytes[16..] == index().to_ne_bytes()),
                kind => println!("  {kind}: {bytes:x?}"),
            }
            next = CMSG_NXTHDR(&message, next);
        }
    }
}

fn send6(what: &str, s: c_int, to: [u8; 16], port: u16, scope: u32) {
    let mut to = at6(to, port);
    to.sin6_scope_id = scope;
    unsafe { show(what, sendto(s, b"to all".as_ptr().cast(), 6, 0, ptr(&to), LEN6) as i64) };
}

fn multicast6(_: &str) {
    let ((s, port), link) = (open6(), index());
    let c = unsafe { socket(AF_INET6, SOCK_DGRAM, 0) };
    for name in [IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT] {
        quietly(s, IPPROTO_IPV6, name, 1);
    }
    quietly(s, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    send6("without a membership", c, GROUP6, port, link);
    heard6("  not heard", s);
    set("IPV6_ADD_MEMBERSHIP", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &mreq6(GROUP6, link));
    send6("by a scope", c, GROUP6, port, link);
    heard6("  heard", s);
    unsafe {
        show("IPV6_MULTICAST_IF", setsockopt(c, IPPROTO_IPV6, IPV6_MULTICAST_IF, (&raw const link).cast(), 4));
    }
    send6("by an interface", c, GROUP6, port, 0);
    heard6("  heard", s);
    send6("by another scope", c, GROUP6, port, 99);
    for hops in [-2, -1, 0, 7, 255, 256] {
        set(&format!("IPV6_MULTICAST_HOPS {hops}"), c, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops);
        send6("so far", c, GROUP6, port, link);
        heard6("  heard", s);
    }
    for value in [0i32, 1, 2] {
        set(&format!("IPV6_MULTICAST_LOOP {value}"), c, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &value);
        send6("to this host", c, GROUP6, port, link);
        heard6("  heard", s);
    }
    set("IPV6_DROP_MEMBERSHIP", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &mreq6(GROUP6, link));
    send6("left", c, GROUP6, port, link);
    heard6("  not heard", s);
    set("MCAST_JOIN_GROUP", s, IPPROTO_IPV6, MCAST_JOIN_GROUP, &request(link, &GROUP6));
    send6("joined", c, GROUP6, port, link);
    heard6("  heard", s);
    unsafe {
        let mut group = at6(GROUP6, 0);
        let bound = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        show("bind to a group without a scope", bind(bound, ptr(&group), LEN6));
        group.sin6_scope_id = link;
        show("bind to a group", bind(bound, ptr(&group), LEN6));
        set("join", bound, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &mreq6(GROUP6, link));
        let mut len = LEN6;
        getsockname(bound, (&raw mut group).cast(), &mut len);
        send6("send", c, GROUP6, u16::from_be(group.sin6_port), link);
        heard6("  heard", bound);
        send6("to one only", c, OWN6, u16::from_be(group.sin6_port), 0);
        heard6("  not heard", bound);
        show("connect to a group", connect(c, ptr(&group), LEN6));
        show("send", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        heard6("  heard", bound);
    }
}
