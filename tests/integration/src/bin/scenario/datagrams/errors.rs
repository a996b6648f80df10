//! What becomes of datagrams: the error queue, and ways that are too narrow.

use super::super::prelude::*;
use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("error_queue", OneProcess, error_queue),
    ("error_queue_ipv6", OneProcess, error_queue6),
    ("path_mtu", OneProcess, path_mtu),
];

/// A port of the loopback at which nobody listens.
fn closed_port() -> u16 {
    let (s, port) = open4();
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

/// Whether an MTU is that of the loopback, which may differ by a byte.
fn of_loopback(mtu: &[u8]) -> bool {
    mtu.first_chunk().is_some_and(|mtu| (65535..=65536).contains(&u32::from_ne_bytes(*mtu)))
}

/// Shows what getsockopt(2) tells of the way to the peer.
fn way(what: &str, s: c_int, room: usize) {
    let (mut info, mut len) = ([0xeeu8; 40], room as socklen_t);
    let told = unsafe { show(what, getsockopt(s, IPPROTO_IPV6, IPV6_PATHMTU, info.as_mut_ptr().cast(), &mut len)) };
    if told == 0 {
        println!("  {len} {:02x?} {}", &info[..28], of_loopback(&info[28..]));
    }
}

fn mtu(what: &str, s: c_int, level: c_int, name: c_int) {
    let (mut value, mut len) = ([0u8; 4], 4);
    if unsafe { show(what, getsockopt(s, level, name, value.as_mut_ptr().cast(), &mut len)) } == 0 {
        println!("  {}", of_loopback(&value));
    }
}

/// Receives and shows what is told of a way that is too narrow.
fn narrow(what: &str, s: c_int, flags: c_int) {
    unsafe {
        let (mut data, mut control) = ([0u8; 10], [0u64; 16]);
        let mut from: sockaddr_in6 = zeroed();
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        let mut message: msghdr = zeroed();
        (message.msg_name, message.msg_namelen) = ((&raw mut from).cast(), LEN6);
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        if show(what, recvmsg(s, &mut message, flags) as i64) < 0 {
            return;
        }
        println!(
            "  flags {:x}, of {} {:x?} port {}",
            message.msg_flags, message.msg_namelen, from.sin6_addr.s6_addr, from.sin6_port
        );
        let header = &*CMSG_FIRSTHDR(&message);
        let bytes = std::slice::from_raw_parts(CMSG_DATA(header), header.cmsg_len - 16);
        let (level, kind) = (header.cmsg_level, header.cmsg_type);
        println!("  {level} {kind}: {:x?} {}", &bytes[..28], of_loopback(&bytes[28..]));
    }
}

/// The way that datagrams and streams go, which on the loopback is as wide as its MTU.
fn path_mtu(_: &str) {
    unsafe {
        let ((s, _), (_, port)) = (open6(), open6());
        let to = at6(ONE, port);
        set("IPV6_PATHMTU is told only", s, IPPROTO_IPV6, IPV6_PATHMTU, &1);
        way("of no peer", s, 32);
        show("connect", connect(s, ptr(&to), LEN6));
        way("of the peer", s, 40);
        way("without room", s, 31);
        mtu("IPV6_MTU", s, IPPROTO_IPV6, IPV6_MTU);
        let (listener, stream) = (socket(AF_INET6, SOCK_STREAM, 0), socket(AF_INET6, SOCK_STREAM, 0));
        mtu("IPV6_MTU of no peer", stream, IPPROTO_IPV6, IPV6_MTU);
        let (mut own, mut len) = (at6(ONE, 0), LEN6);
        bind(listener, ptr(&own), LEN6);
        listen(listener, 1);
        getsockname(listener, (&raw mut own).cast(), &mut len);
        show("connect", connect(stream, ptr(&own), LEN6));
        way("of a stream", stream, 32);
        mtu("IPV6_MTU", stream, IPPROTO_IPV6, IPV6_MTU);
        let (c, _) = connected();
        mtu("IP_MTU", c, IPPROTO_IP, IP_MTU);

        let (s, _) = open6();
        set("IPV6_RECVPATHMTU", s, IPPROTO_IPV6, IPV6_RECVPATHMTU, &1);
        set("IPV6_DONTFRAG", s, IPPROTO_IPV6, IPV6_DONTFRAG, &1);
        narrow("nothing to tell", s, 0);
        let long = vec![0u8; 65527];
        let send = |what| show(what, sendto(s, long.as_ptr().cast(), long.len(), 0, ptr(&to), LEN6) as i64);
        send("too long for the link");
        events("no event tells", s);
        narrow("told", s, 0);
        narrow("once", s, 0);
        send("too long again");
        narrow("a look takes it too", s, MSG_PEEK);
        narrow("so it is gone", s, 0);
        set("IPV6_RECVPATHMTU off", s, IPPROTO_IPV6, IPV6_RECVPATHMTU, &0);
        send("too long unheard");
        narrow("nothing", s, 0);
    }
}
