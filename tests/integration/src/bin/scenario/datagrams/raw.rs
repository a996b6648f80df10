//! Raw sockets.

use super::super::prelude::*;
use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("raw_icmp", OneProcess, raw_icmp),
    ("raw_icmp6", OneProcess, raw_icmp6),
    ("raw_others", OneProcess, raw_others),
    ("raw_own_header", OneProcess, own_header),
    ("raw_errors", OneProcess, raw_errors),
];

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
        let (u, port) = open4();
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
