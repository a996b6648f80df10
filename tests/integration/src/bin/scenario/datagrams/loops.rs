//! Groups on the loopback: who hears what this host sends to them, and the interfaces of RFC 3678 and of IPv6.

use super::super::prelude::*;
use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("multicast_loop", OneProcess, looped),
    ("multicast_requests", OneProcess, requests),
    ("multicast_interfaces_ipv6", OneProcess, interfaces6),
];

/// A group of IPv6.
pub const GROUP6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x77];

fn looped(_: &str) {
    let (s, port) = open4();
    let c = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    set("IP_ADD_MEMBERSHIP", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq(GROUP, LO));
    set("IP_MULTICAST_IF", c, IPPROTO_IP, IP_MULTICAST_IF, &LO);
    for (what, value) in [("by default", None), ("off", Some(0)), ("on", Some(1)), ("any number", Some(77))] {
        if let Some(value) = value {
            set("IP_MULTICAST_LOOP", c, IPPROTO_IP, IP_MULTICAST_LOOP, &value);
        }
        send4(what, c, b"to all", GROUP, port);
        told("  heard", s, 0);
    }
    set("IP_MULTICAST_LOOP as a byte", c, IPPROTO_IP, IP_MULTICAST_LOOP, &0u8);
    set("of the receiver", s, IPPROTO_IP, IP_MULTICAST_LOOP, &0i32);
    send4("off", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("IP_MULTICAST_LOOP", c, IPPROTO_IP, IP_MULTICAST_LOOP, &1i32);
    send4("the sender's counts", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    quietly(s, IPPROTO_IP, IP_RECVTTL, 1);
    send4("one hop", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("IP_MULTICAST_TTL", c, IPPROTO_IP, IP_MULTICAST_TTL, &0i32);
    send4("no hop, but to this host", c, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("IP_TTL is another", c, IPPROTO_IP, IP_TTL, &9i32);
    send4("still none", c, b"to all", GROUP, port);
    told("  heard", s, 0);
}

/// struct ipv6_mreq.
pub fn mreq6(group: [u8; 16], index: u32) -> [u8; 20] {
    let mut request = [0u8; 20];
    request[..16].copy_from_slice(&group);
    request[16..].copy_from_slice(&index.to_ne_bytes());
    request
}

/// struct group_req of RFC 3678: the number of an interface and a group of any family.
pub fn request(index: u32, group: &[u8]) -> [u8; 136] {
    let mut request = [0u8; 136];
    request[..4].copy_from_slice(&index.to_ne_bytes());
    match group.len() {
        4 => {
            request[8] = AF_INET as u8;
            request[12..16].copy_from_slice(group);
        }
        _ => {
            request[8] = AF_INET6 as u8;
            request[16..32].copy_from_slice(group);
        }
    }
    request
}

/// The interface that is the same for both families.
fn requests(_: &str) {
    let ((s, port), (six, _)) = (open4(), open6());
    let c4 = unsafe { socket(AF_INET, SOCK_DGRAM, 0) };
    set("IP_MULTICAST_IF", c4, IPPROTO_IP, IP_MULTICAST_IF, &LO);
    for (what, level, group) in [
        ("of IPv4", IPPROTO_IP, request(1, &GROUP)),
        ("of no interface", IPPROTO_IP, request(99, &GROUP)),
        ("of no group", IPPROTO_IP, request(1, &[10, 1, 2, 3])),
        ("of the other family", IPPROTO_IP, request(1, &GROUP6)),
    ] {
        set(&format!("MCAST_JOIN_GROUP {what}"), s, level, MCAST_JOIN_GROUP, &group);
    }
    send4("send", c4, b"to all", GROUP, port);
    told("  heard", s, 0);
    set("known by the other interface", s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreqn(GROUP, 1));
    set("MCAST_LEAVE_GROUP", s, IPPROTO_IP, MCAST_LEAVE_GROUP, &request(1, &GROUP));
    set("again", s, IPPROTO_IP, MCAST_LEAVE_GROUP, &request(1, &GROUP));
    set("too short", s, IPPROTO_IP, MCAST_JOIN_GROUP, &[1u8; 12]);
    for (what, group) in [
        ("of IPv6", request(1, &GROUP6)),
        ("again", request(1, &GROUP6)),
        ("of no interface", request(99, &GROUP6)),
        ("of no group", request(1, &ONE)),
        ("of the other family", request(1, &GROUP)),
    ] {
        set(&format!("MCAST_JOIN_GROUP {what}"), six, IPPROTO_IPV6, MCAST_JOIN_GROUP, &group);
    }
    set("MCAST_LEAVE_GROUP", six, IPPROTO_IPV6, MCAST_LEAVE_GROUP, &request(1, &GROUP6));
    set("again", six, IPPROTO_IPV6, MCAST_LEAVE_GROUP, &request(1, &GROUP6));
}

fn interfaces6(_: &str) {
    let (s, _) = open6();
    let shown = |what: &str, name| unsafe {
        let (mut value, mut len) = (-7i32, 4);
        show(what, getsockopt(s, IPPROTO_IPV6, name, (&raw mut value).cast(), &mut len));
        println!("  {value} {len}");
    };
    shown("IPV6_MULTICAST_IF", IPV6_MULTICAST_IF);
    for index in [1, 0, 99, -1] {
        set(&format!("IPV6_MULTICAST_IF {index}"), s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index);
        shown("now", IPV6_MULTICAST_IF);
    }
    shown("IPV6_MULTICAST_HOPS", IPV6_MULTICAST_HOPS);
    shown("IPV6_MULTICAST_LOOP", IPV6_MULTICAST_LOOP);
    shown("IPV6_UNICAST_HOPS", IPV6_UNICAST_HOPS);
    for hops in [-2, 256, -1, 1] {
        set(&format!("IPV6_UNICAST_HOPS {hops}"), s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops);
        shown("now", IPV6_UNICAST_HOPS);
    }
    set("join", s, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &mreq6(GROUP6, 1));
    set("leave on any", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &mreq6(GROUP6, 0));
    set("leave again", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &mreq6(GROUP6, 1));
    set("leave on none", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &mreq6(GROUP6, 99));
    set("leave what is no group", s, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &mreq6(ONE, 1));
}
