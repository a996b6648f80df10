//! What becomes of datagrams that nobody can take: sockets that are shut down or full, and errors that ICMP tells.

use super::super::prelude::*;
use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("datagrams_shut_down", OneProcess, shut_down),
    ("datagrams_fill_buffers", OneProcess, full),
    ("icmp_errors", OneProcess, icmp_errors),
    ("icmp_errors_ipv6", OneProcess, icmp_errors6),
];

/// Two sockets of datagrams that are connected with each other.
fn pair() -> [c_int; 2] {
    let ((a, of_a), (b, of_b)) = (open4(), open4());
    unsafe {
        assert_eq!(connect(a, ptr(&at(LO, of_b)), LEN), 0);
        assert_eq!(connect(b, ptr(&at(LO, of_a)), LEN), 0);
    }
    [a, b]
}

/// Receives by all ways, without waiting and waiting.
fn taken(what: &str, s: c_int) {
    let mut buf = [0u8; 16];
    let at = buf.as_mut_ptr().cast();
    for flags in [0, O_NONBLOCK] {
        unsafe {
            fcntl(s, F_SETFL, flags);
            println!("{what}, flags {flags:o}");
            show("  recv", recv(s, at, 16, 0) as i64);
            show("  MSG_DONTWAIT", recv(s, at, 16, MSG_DONTWAIT) as i64);
            show("  MSG_PEEK", recv(s, at, 16, MSG_PEEK) as i64);
            show("  read", read(s, at, 16) as i64);
        }
        events("  poll", s);
    }
}

fn shut_down(_: &str) {
    unsafe {
        let [a, b] = pair();
        show("what is there already", send(b, b"kept".as_ptr().cast(), 4, 0) as i64);
        show("SHUT_RD", shutdown(a, SHUT_RD));
        let mut buf = [0u8; 16];
        show("comes out", recv(a, buf.as_mut_ptr().cast(), 16, 0) as i64);
        taken("then", a);
        show("its peer sends on", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        show("and it too", send(a, b"back".as_ptr().cast(), 4, 0) as i64);
        show("arrives", recv(b, buf.as_mut_ptr().cast(), 16, 0) as i64);
        show("SHUT_WR", shutdown(a, SHUT_WR));
        show("send", send(a, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("the peer hears of nothing", recv(b, buf.as_mut_ptr().cast(), 16, 0) as i64);
        let six = open6().0;
        show("connect", connect(six, ptr(&at6(ONE, 9)), LEN6));
        show("SHUT_RDWR", shutdown(six, SHUT_RDWR));
        taken("IPv6", six);
        let raw = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, 253);
        show("connect", connect(raw, ptr(&at(LO, 0)), LEN));
        show("SHUT_RD", shutdown(raw, SHUT_RD));
        taken("raw", raw);
        // Who waits is woken.
        let [a, _b] = pair();
        fcntl(a, F_SETFL, 0);
        let waiter = asleep(move || recv(a, [0u8; 4].as_mut_ptr().cast(), 4, 0));
        show("SHUT_RD", shutdown(a, SHUT_RD));
        show("woken", waiter.join().unwrap() as i64);
    }
}

/// How many datagrams of so many bytes a socket keeps that nobody reads.
fn kept(limit: Option<c_int>, len: usize) -> usize {
    let [a, b] = pair();
    if let Some(limit) = limit {
        quietly(a, SOL_SOCKET, SO_RCVBUF, limit);
    }
    let data = vec![0u8; len];
    unsafe {
        for _ in 0..20_000 {
            assert_eq!(send(b, data.as_ptr().cast(), len, 0), len as isize);
        }
        let kept = std::iter::from_fn(|| Some(recv(a, [0u8; 1].as_mut_ptr().cast(), 1, 0)).filter(|n| *n >= 0)).count();
        for s in [a, b] {
            close(s);
        }
        kept
    }
}

/// What a datagram costs beside its bytes is each kernel's own affair: not how many fit is compared, but that the limit limits.
fn full(_: &str) {
    let (small, usual) = (kept(Some(10_000), 1000), kept(None, 1000));
    println!("SO_RCVBUF limits {} {}", (3..=20).contains(&small), (50..1000).contains(&usual));
    println!("even empty ones {}", (3..=100).contains(&kept(Some(10_000), 0)));
    println!("one larger than the limit {}", kept(Some(2500), 50_000));
    let ((s, _), (_, port)) = (open4(), open4());
    quietly(s, SOL_SOCKET, SO_SNDBUF, 5000);
    send4("one is sent whatever SO_SNDBUF says", s, &[0; 60_000], LO, port);
    send4("however long", s, &[0; 9000], LO, port);
}

/// The internet checksum.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// A message of ICMP, its type and code, about a datagram that went from one address and port to another.
pub fn about((kind, code): (u8, u8), mtu: u16, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
    let head = [0x45, 0, 0, 29, 0, 1, 0x40, 0, 64, 17, 0, 0];
    let mut ip = [&head[..], &from.0, &to.0].concat();
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let [[a, b], [c, d], [m, n]] = [from.1, to.1, mtu].map(u16::to_be_bytes);
    let mut message = [&[kind, code, 0, 0, 0, 0, m, n], &ip[..], &[a, b, c, d, 0, 9, 0, 0, b'x']].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// Unreachable with all its codes, time exceeded, parameter problem, source quench.
const MESSAGES: [(u8, std::ops::RangeInclusive<u8>); 4] = [(3, 0..=15), (4, 0..=0), (11, 0..=1), (12, 0..=1)];

fn icmp_errors(_: &str) {
    let ((s, from), (_, to)) = (open4(), open4());
    unsafe {
        let router = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        connect(s, ptr(&at(LO, to)), LEN);
        for listens in [0, 1] {
            quietly(s, IPPROTO_IP, IP_RECVERR, listens);
            for (kind, code) in MESSAGES.into_iter().flat_map(|(kind, codes)| codes.map(move |code| (kind, code))) {
                // Too narrow a way is another matter: the kernel notes it. That a host is cut off no router says (RFC 1812, 5.2.7.1), and
                // NetBSD has no number for it.
                if kind == 3 && matches!(code, 4 | 8) {
                    continue;
                }
                let message = about((kind, code), 0, (LO, from), (LO, to));
                sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(LO, 0)), LEN);
                println!("{kind} {code}: SO_ERROR {}", pending(s));
                if listens == 1 {
                    told("  queue", s, MSG_ERRQUEUE);
                }
            }
        }
        quietly(s, IPPROTO_IP, IP_RECVERR, 0);
        for (what, from, to) in [("another port", from, 9), ("another sender", 9, to)] {
            let message = about((3, 3), 0, (LO, from), (LO, to));
            sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(LO, 0)), LEN);
            println!("about {what}: {}", pending(s));
        }
        // Who is not connected hears of it only when it asks.
        let free = open4();
        let message = about((3, 3), 0, (LO, free.1), (LO, to));
        for listens in [0, 1] {
            quietly(free.0, IPPROTO_IP, IP_RECVERR, listens);
            sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(LO, 0)), LEN);
            println!("unconnected: {}", pending(free.0));
        }
        let message = about((3, 3), 0, (LO, from), (LO, to));
        sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(LO, 0)), LEN);
        show("the next send says so", send(s, b"x".as_ptr().cast(), 1, 0) as i64);
        show("once", send(s, b"x".as_ptr().cast(), 1, 0) as i64);
        sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at(LO, 0)), LEN);
        show("or the next recv", recv(s, [0u8; 4].as_mut_ptr().cast(), 4, 0) as i64);
        show("once", recv(s, [0u8; 4].as_mut_ptr().cast(), 4, 0) as i64);
    }
}

fn icmp_errors6(_: &str) {
    let ((s, from), (_, to)) = (open6(), open6());
    unsafe {
        let router = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
        connect(s, ptr(&at6(ONE, to)), LEN6);
        for listens in [0, 1] {
            quietly(s, IPPROTO_IPV6, IPV6_RECVERR, listens);
            // Unreachable, time exceeded, parameter problem.
            let messages = [(1u8, 0..=7u8), (3, 0..=1), (4, 0..=2)];
            for (kind, code) in messages.into_iter().flat_map(|(kind, codes)| codes.map(move |code| (kind, code))) {
                let [[a, b], [c, d]] = [from, to].map(u16::to_be_bytes);
                let head = [0x60, 0, 0, 0, 0, 9, 17, 64];
                let quoted = [&head[..], &ONE, &ONE, &[a, b, c, d, 0, 9, 0, 0, b'x']].concat();
                // The kernel fills the checksum in.
                let message = [&[kind, code, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
                sendto(router, message.as_ptr().cast(), message.len(), 0, ptr(&at6(ONE, 0)), LEN6);
                println!("{kind} {code}: SO_ERROR {}", pending(s));
                if listens == 1 {
                    told("  queue", s, MSG_ERRQUEUE);
                }
            }
        }
    }
}
