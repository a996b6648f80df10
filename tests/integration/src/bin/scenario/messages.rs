//! Messages: UDP, sendmsg(2) and recvmsg(2), flags, control messages.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("udp_connected", OneProcess, connected_datagrams),
    ("udp_sizes", OneProcess, sizes),
    ("udp_errors", OneProcess, failures),
    ("message_flags", OneProcess, flags),
    ("message_vectors", OneProcess, vectors),
    ("message_control", OneProcess, control),
    ("message_control_errors", OneProcess, control_errors),
    ("message_names", OneProcess, names),
    ("many_messages", OneProcess, many),
    ("stream_flags", OneProcess, stream_flags),
    ("big_transfers", OneProcess, transfers),
];

/// A bound UDP socket and its address.
unsafe fn bound() -> (c_int, sockaddr_in) {
    unsafe {
        let first = socket(AF_INET, SOCK_DGRAM, 0);
        let (mut own, mut len) = (loopback(0), LEN);
        bind(first, ptr(&own), LEN);
        getsockname(first, (&raw mut own).cast(), &mut len);
        close(first);
        // By its number: a port that the kernel chose goes with the first association.
        let s = socket(AF_INET, SOCK_DGRAM, 0);
        assert_eq!(bind(s, ptr(&own), LEN), 0);
        (s, own)
    }
}

unsafe fn to(s: c_int, data: &[u8], addr: &sockaddr_in) -> i64 {
    unsafe { sendto(s, data.as_ptr().cast(), data.len(), 0, ptr(addr), LEN) as i64 }
}

fn connected_datagrams(_: &str) {
    unsafe {
        let ((a, to_a), (b, to_b), (c, _)) = (bound(), bound(), bound());
        let mut buf = [0u8; 32];
        show("connect", connect(a, ptr(&to_b), LEN));
        show("from a stranger", to(c, b"stranger", &to_a));
        show("from the peer", to(b, b"peer", &to_a));
        show("only the peer's arrives", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("nothing else", recv(a, buf.as_mut_ptr().cast(), 32, MSG_DONTWAIT) as i64);
        show("to another all the same", to(a, b"x", &to_a));
        show("send", send(a, b"hello".as_ptr().cast(), 5, 0) as i64);
        show("arrives", recv(b, buf.as_mut_ptr().cast(), 32, 0) as i64);
        let (mut peer, mut len) = (loopback(0), LEN);
        show("peer", getpeername(a, (&raw mut peer).cast(), &mut len));
        println!("{}", peer.sin_port == to_b.sin_port);
        let unspec = [0u8; 16];
        show("dissolve", connect(a, unspec.as_ptr().cast(), 16));
        show("no peer", getpeername(a, (&raw mut peer).cast(), &mut len));
        show("no destination", send(a, b"x".as_ptr().cast(), 1, 0) as i64);
        show("from anybody", to(c, b"stranger", &to_a));
        show("arrives", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        getsockname(a, (&raw mut peer).cast(), &mut len);
        println!("port kept {}", peer.sin_port == to_a.sin_port);
        show("connect again", connect(a, ptr(&to_b), LEN));
        show("and elsewhere", connect(a, ptr(&to_a), LEN));
        // One that connects without having been bound.
        let d = socket(AF_INET, SOCK_DGRAM, 0);
        show("unbound", connect(d, ptr(&to_b), LEN));
        getsockname(d, (&raw mut peer).cast(), &mut len);
        println!("{:?} {}", peer.sin_addr.s_addr.to_ne_bytes(), peer.sin_port != 0);
        show("dissolve", connect(d, unspec.as_ptr().cast(), 16));
        getsockname(d, (&raw mut peer).cast(), &mut len);
        println!("{:?} {}", peer.sin_addr.s_addr.to_ne_bytes(), peer.sin_port != 0);
        // What was queued before connect stays.
        let (e, to_e) = bound();
        to(c, b"early", &to_e);
        ready(e, POLLIN);
        connect(e, ptr(&to_b), LEN);
        show("early", recv(e, buf.as_mut_ptr().cast(), 32, MSG_DONTWAIT) as i64);
    }
}

fn sizes(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        let data = vec![7u8; 70_000];
        let mut buf = vec![0u8; 70_000];
        for size in [0, 1, 1471, 1472, 1473, 9000, 65_506, 65_507, 65_508, 65_536] {
            let sent = to(a, &data[..size], &to_b);
            show(&format!("{size}"), sent);
            if sent >= 0 {
                show("  arrives", recv(b, buf.as_mut_ptr().cast(), buf.len(), 0) as i64);
            }
        }
        // Boundaries stay, in order.
        for size in [3, 0, 5, 1] {
            to(a, &data[..size], &to_b);
        }
        for _ in 0..4 {
            show("next", recv(b, buf.as_mut_ptr().cast(), buf.len(), 0) as i64);
        }
        to(a, &data[..10], &to_b);
        to(a, &data[..20], &to_b);
        show("a short read", read(b, buf.as_mut_ptr().cast(), 4) as i64);
        show("loses the rest", read(b, buf.as_mut_ptr().cast(), 100) as i64);
        to(a, &data[..10], &to_b);
        show("no room", recv(b, null_mut(), 0, 0) as i64);
        show("takes it", recv(b, buf.as_mut_ptr().cast(), 100, MSG_DONTWAIT) as i64);
        show("write", {
            connect(a, ptr(&to_b), LEN);
            write(a, data.as_ptr().cast(), 12) as i64
        });
        show("read", read(b, buf.as_mut_ptr().cast(), 100) as i64);
        show("empty write", write(a, data.as_ptr().cast(), 0) as i64);
        show("empty read", read(b, buf.as_mut_ptr().cast(), 100) as i64);
        // More than the queue holds: the rest is lost, the first ones are there.
        for i in 0..2000u32 {
            send(a, i.to_ne_bytes().as_ptr().cast(), 4, 0);
        }
        let mut number = 0u32;
        recv(b, (&raw mut number).cast(), 4, 0);
        let mut count = 1;
        let mut last = number;
        while recv(b, (&raw mut number).cast(), 4, MSG_DONTWAIT) == 4 {
            assert_eq!(number, last + 1);
            (last, count) = (number, count + 1);
        }
        println!("some {}, not all {}", count > 50, count < 2000);
    }
}

fn failures(_: &str) {
    unsafe {
        let (a, own) = bound();
        let mut byte = 0u8;
        let mut to_zero = own;
        to_zero.sin_port = 0;
        show("port 0", to(a, b"x", &to_zero));
        show("connect to port 0", connect(socket(AF_INET, SOCK_DGRAM, 0), ptr(&to_zero), LEN));
        show("short address", sendto(a, b"x".as_ptr().cast(), 1, 0, ptr(&own), 8) as i64);
        show("null address with a length", sendto(a, b"x".as_ptr().cast(), 1, 0, null(), LEN) as i64);
        show("bad data", sendto(a, 8 as *const c_void, 1, 0, ptr(&own), LEN) as i64);
        let mut other = own;
        other.sin_family = AF_INET6 as u16;
        show("another family", to(a, b"x", &other));
        show("no family", {
            other.sin_family = AF_UNSPEC as u16;
            to(a, b"x", &other)
        });
        show("arrives", recv(a, (&raw mut byte).cast(), 1, MSG_DONTWAIT) as i64);
        show("broadcast not asked for", to(a, b"x", &at([255, 255, 255, 255], 9)));
        show("bad flags", sendto(a, b"x".as_ptr().cast(), 1, MSG_OOB, ptr(&own), LEN) as i64);
        show("receive urgent", recv(a, (&raw mut byte).cast(), 1, MSG_OOB | MSG_DONTWAIT) as i64);
        show("listen", listen(a, 1));
        show("accept", accept(a, null_mut(), null_mut()));
        show("errors", recv(a, (&raw mut byte).cast(), 1, MSG_ERRQUEUE) as i64);
        // Refusals come to a connected socket only, once each.
        let (gone, to_gone) = bound();
        close(gone);
        show("unconnected", to(a, b"x", &to_gone));
        show("hears nothing", recv(a, (&raw mut byte).cast(), 1, MSG_DONTWAIT) as i64);
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        connect(c, ptr(&to_gone), LEN);
        show("connected", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        println!("{:#x}", ready(c, POLLIN));
        show("pending", pending(c));
        show("once", pending(c));
        show("send again", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        ready(c, POLLIN);
        show("told by send", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        show("and not again", send(c, b"x".as_ptr().cast(), 1, 0).min(0) as i64);
        ready(c, POLLIN);
        show("told by read", read(c, (&raw mut byte).cast(), 1) as i64);
    }
}

fn flags(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        let mut buf = [0u8; 32];
        let mut receive = |what: &str, room: usize, flags: c_int| {
            let n = recv(b, buf.as_mut_ptr().cast(), room, flags);
            show(what, n as i64);
            if n > 0 {
                println!("  {:?}", String::from_utf8_lossy(&buf[..(n as usize).min(room)]));
            }
        };
        to(a, b"datagram", &to_b);
        to(a, b"second", &to_b);
        receive("peek", 32, MSG_PEEK);
        receive("peek at a part", 3, MSG_PEEK);
        receive("its whole length", 3, MSG_PEEK | MSG_TRUNC);
        receive("length alone", 0, MSG_PEEK | MSG_TRUNC);
        receive("taken, whole length", 3, MSG_TRUNC);
        receive("the next, wait for all", 32, MSG_WAITALL);
        receive("nothing", 32, MSG_DONTWAIT);
        receive("nothing to peek", 32, MSG_PEEK | MSG_DONTWAIT);
        show("confirm", sendto(a, b"c".as_ptr().cast(), 1, MSG_CONFIRM, ptr(&to_b), LEN) as i64);
        receive("arrives", 32, 0);
        show("no route", sendto(a, b"r".as_ptr().cast(), 1, MSG_DONTROUTE, ptr(&to_b), LEN) as i64);
        receive("arrives", 32, 0);
        fcntl(b, F_SETFL, O_NONBLOCK);
        receive("nonblocking", 32, MSG_WAITALL);
    }
}

fn vectors(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        let parts = [&b"one "[..], b"", b"two ", b"three"];
        let mut vector: Vec<iovec> =
            parts.iter().map(|part| iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }).collect();
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_mut_ptr(), 4);
        (header.msg_name, header.msg_namelen) = ((&raw const to_b).cast_mut().cast(), LEN);
        show("sendmsg", sendmsg(a, &header, 0) as i64);
        let (mut x, mut y, mut z) = ([0u8; 3], [0u8; 5], [0u8; 20]);
        let mut into = [
            iovec { iov_base: x.as_mut_ptr().cast(), iov_len: 3 },
            iovec { iov_base: y.as_mut_ptr().cast(), iov_len: 5 },
            iovec { iov_base: z.as_mut_ptr().cast(), iov_len: 20 },
        ];
        let mut back: msghdr = zeroed();
        (back.msg_iov, back.msg_iovlen) = (into.as_mut_ptr(), 3);
        show("recvmsg", recvmsg(b, &mut back, 0) as i64);
        println!("{x:?} {y:?} {:?} flags {:#x}", &z[..6], back.msg_flags);
        // Cut.
        sendmsg(a, &header, 0);
        back.msg_iovlen = 2;
        show("cut", recvmsg(b, &mut back, 0) as i64);
        println!("flags {:#x}", back.msg_flags);
        sendmsg(a, &header, 0);
        show("cut, whole length", recvmsg(b, &mut back, MSG_TRUNC) as i64);
        println!("flags {:#x}", back.msg_flags);
        // None at all.
        let bad = std::ptr::without_provenance::<u8>(8);
        header.msg_iovlen = 0;
        show("no parts", sendmsg(a, &header, 0) as i64);
        back.msg_iovlen = 0;
        show("received", recvmsg(b, &mut back, 0) as i64);
        header.msg_iovlen = 2000;
        show("too many", sendmsg(a, &header, 0) as i64);
        vector[0].iov_len = isize::MAX as usize + 1;
        header.msg_iovlen = 4;
        show("too long", sendmsg(a, &header, 0) as i64);
        vector[0] = iovec { iov_base: bad.cast_mut().cast(), iov_len: 4 };
        show("bad part", sendmsg(a, &header, 0) as i64);
        header.msg_iov = bad.cast_mut().cast();
        show("bad vector", sendmsg(a, &header, 0) as i64);
        show("bad header", sendmsg(a, bad.cast(), 0) as i64);
        show("bad header", recvmsg(b, bad.cast_mut().cast(), MSG_DONTWAIT) as i64);
        // Streams: gathered and scattered alike.
        let (c, d) = connected();
        let whole: Vec<iovec> =
            parts.iter().map(|part| iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }).collect();
        show("writev", writev(c, whole.as_ptr(), 4) as i64);
        show("readv", readv(d, into.as_mut_ptr(), 3) as i64);
        println!("{x:?} {y:?} {:?}", &z[..6]);
    }
}

/// Receives one message and prints its control messages.
unsafe fn receive_control(s: c_int, room: usize) {
    unsafe {
        let mut data = [0u8; 32];
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: 32 };
        let mut space = [0u64; 64];
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&mut vector, 1);
        (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), room);
        let n = recvmsg(s, &mut header, 0);
        println!("  {n} bytes, control {} flags {:#x}", header.msg_controllen, header.msg_flags);
        let mut control = CMSG_FIRSTHDR(&header);
        while !control.is_null() {
            let (level, kind, len) = ((*control).cmsg_level, (*control).cmsg_type, (*control).cmsg_len);
            let bytes = std::slice::from_raw_parts(CMSG_DATA(control), len - CMSG_LEN(0) as usize);
            match (level, kind) {
                // Times differ, and interfaces have other numbers.
                (SOL_SOCKET, _) => println!("  time {} of {len}", bytes.iter().any(|byte| *byte != 0)),
                (IPPROTO_IP, IP_PKTINFO) => println!("  pktinfo {:?} {}", &bytes[4..12], bytes[0] != 0),
                (IPPROTO_IPV6, IPV6_PKTINFO) => println!("  pktinfo {:?} {}", &bytes[..16], bytes[16] != 0),
                _ => println!("  {level} {kind} {bytes:?}"),
            }
            control = CMSG_NXTHDR(&header, control);
        }
    }
}

fn control(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        let on: c_int = 1;
        let turn_on = |s: c_int, level: c_int, name: c_int| {
            show("on", setsockopt(s, level, name, (&raw const on).cast(), 4));
        };
        let send_one = |what: &str, room: usize| {
            println!("{what}");
            to(a, b"data", &to_b);
            receive_control(b, room);
        };
        send_one("none", 512);
        turn_on(b, IPPROTO_IP, IP_PKTINFO);
        send_one("where it came", 512);
        turn_on(b, IPPROTO_IP, IP_RECVTTL);
        send_one("and its hops", 512);
        turn_on(b, SOL_SOCKET, SO_TIMESTAMP);
        send_one("and its time", 512);
        send_one("no room", 0);
        send_one("little room", 8);
        let ttl: c_int = 7;
        setsockopt(a, IPPROTO_IP, IP_TTL, (&raw const ttl).cast(), 4);
        send_one("another number of hops", 512);
        // IPv6.
        let six = socket(AF_INET6, SOCK_DGRAM, 0);
        let (mut own, mut len) = (at6([0; 16], 0), LEN6);
        bind(six, ptr(&own), LEN6);
        getsockname(six, (&raw mut own).cast(), &mut len);
        turn_on(six, IPPROTO_IPV6, IPV6_RECVPKTINFO);
        turn_on(six, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
        own.sin6_addr.s6_addr = ONE;
        let c = socket(AF_INET6, SOCK_DGRAM, 0);
        show("IPv6", sendto(c, b"six".as_ptr().cast(), 3, 0, ptr(&own), LEN6) as i64);
        receive_control(six, 512);
    }
}

fn control_errors(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        let mut vector = iovec { iov_base: b"data".as_ptr().cast_mut().cast(), iov_len: 4 };
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&mut vector, 1);
        (header.msg_name, header.msg_namelen) = ((&raw const to_b).cast_mut().cast(), LEN);
        let mut space = [0u64; 16];
        let mut with = |what: &str, level: c_int, kind: c_int, len: usize, data: &[u8]| {
            let control = space.as_mut_ptr().cast::<cmsghdr>();
            (*control).cmsg_level = level;
            (*control).cmsg_type = kind;
            (*control).cmsg_len = len;
            std::ptr::copy_nonoverlapping(data.as_ptr(), CMSG_DATA(control), data.len());
            (header.msg_control, header.msg_controllen) = (control.cast(), CMSG_SPACE(data.len() as u32) as usize);
            show(what, sendmsg(a, &header, 0) as i64);
        };
        let ttl = 9i32.to_ne_bytes();
        with("hops", IPPROTO_IP, IP_TTL, CMSG_LEN(4) as usize, &ttl);
        with("from an address", IPPROTO_IP, IP_PKTINFO, CMSG_LEN(12) as usize, &[0, 0, 0, 0, 127, 0, 0, 9, 0, 0, 0, 0]);
        with("too short", IPPROTO_IP, IP_TTL, 4, &ttl);
        with("too long", IPPROTO_IP, IP_TTL, 4000, &ttl);
        with("unknown", IPPROTO_IP, 99, CMSG_LEN(4) as usize, &ttl);
        with("of TCP", IPPROTO_TCP, 1, CMSG_LEN(4) as usize, &ttl);
        (header.msg_control, header.msg_controllen) = (8 as *mut c_void, 32);
        show("bad address", sendmsg(a, &header, 0) as i64);
        let on: c_int = 1;
        setsockopt(b, IPPROTO_IP, IP_RECVTTL, (&raw const on).cast(), 4);
        let mut data = [0u8; 16];
        let mut from = loopback(0);
        let mut into = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: 16 };
        for what in ["first", "second"] {
            let mut back: msghdr = zeroed();
            (back.msg_iov, back.msg_iovlen) = (&mut into, 1);
            (back.msg_name, back.msg_namelen) = ((&raw mut from).cast(), LEN);
            let mut space = [0u64; 16];
            (back.msg_control, back.msg_controllen) = (space.as_mut_ptr().cast(), 128);
            show(what, recvmsg(b, &mut back, MSG_DONTWAIT) as i64);
            println!("{:?}", from.sin_addr.s_addr.to_ne_bytes());
        }
    }
}

fn names(_: &str) {
    unsafe {
        let ((a, to_a), (b, to_b)) = (bound(), bound());
        let mut data = [0u8; 16];
        let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: 16 };
        let mut from = loopback(0);
        for room in [0, 4, 16, 100] {
            to(a, b"x", &to_b);
            let mut header: msghdr = zeroed();
            (header.msg_iov, header.msg_iovlen) = (&mut vector, 1);
            (header.msg_name, header.msg_namelen) = ((&raw mut from).cast(), room);
            show(&format!("room of {room}"), recvmsg(b, &mut header, 0) as i64);
            println!("{} {}", header.msg_namelen, room < 16 || from.sin_port == to_a.sin_port);
        }
        to(a, b"x", &to_b);
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen, header.msg_namelen) = (&mut vector, 1, 16);
        show("no name", recvmsg(b, &mut header, 0) as i64);
        println!("{}", header.msg_namelen);
        // recvfrom.
        for room in [0, 4, 100] {
            to(a, b"x", &to_b);
            let mut len = room;
            show("recvfrom", recvfrom(b, data.as_mut_ptr().cast(), 16, 0, (&raw mut from).cast(), &mut len) as i64);
            println!("{len}");
        }
        to(a, b"x", &to_b);
        show("no length", recvfrom(b, data.as_mut_ptr().cast(), 16, 0, (&raw mut from).cast(), null_mut()) as i64);
        show("it is gone", recv(b, data.as_mut_ptr().cast(), 16, MSG_DONTWAIT) as i64);
        // A stream names nobody.
        let (c, d) = connected();
        send(c, b"x".as_ptr().cast(), 1, 0);
        let mut len = LEN;
        show("a stream", recvfrom(d, data.as_mut_ptr().cast(), 16, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{len}");
        show("to somebody", sendto(c, b"x".as_ptr().cast(), 1, 0, ptr(&to_a), LEN) as i64);
    }
}

fn many(_: &str) {
    unsafe {
        let ((a, _), (b, to_b)) = (bound(), bound());
        connect(a, ptr(&to_b), LEN);
        let texts = [&b"one"[..], b"two two", b"", b"three"];
        let mut vectors: Vec<iovec> =
            texts.iter().map(|text| iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() }).collect();
        let mut messages: [mmsghdr; 4] = zeroed();
        for (message, vector) in messages.iter_mut().zip(&mut vectors) {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
        }
        show("sendmmsg", sendmmsg(a, messages.as_mut_ptr(), 4, 0));
        println!("{:?}", messages.map(|message| message.msg_len));
        let mut rooms = [[0u8; 16]; 4];
        let mut vectors: Vec<iovec> =
            rooms.iter_mut().map(|room| iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 16 }).collect();
        for (message, vector) in messages.iter_mut().zip(&mut vectors) {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
        }
        show("two", recvmmsg(b, messages.as_mut_ptr(), 2, 0, null_mut()));
        show("the rest", recvmmsg(b, messages.as_mut_ptr(), 4, MSG_WAITFORONE, null_mut()));
        println!("{} {}", messages[0].msg_len, messages[1].msg_len);
        show("nothing", recvmmsg(b, messages.as_mut_ptr(), 4, MSG_DONTWAIT, null_mut()));
        send(a, b"x".as_ptr().cast(), 1, 0);
        let mut limit = timespec { tv_sec: 0, tv_nsec: 0 };
        show("a limit that is over", recvmmsg(b, messages.as_mut_ptr(), 4, 0, &mut limit));
        limit.tv_nsec = 2_000_000_000;
        show("a bad limit", recvmmsg(b, messages.as_mut_ptr(), 4, 0, &mut limit));
        show("none asked for", recvmmsg(b, messages.as_mut_ptr(), 0, MSG_DONTWAIT, null_mut()));
        show("none to send", sendmmsg(a, messages.as_mut_ptr(), 0, 0));
    }
}

fn stream_flags(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut buf = [0u8; 32];
        send(c, b"0123456789".as_ptr().cast(), 10, 0);
        ready(a, POLLIN);
        show("peek", recv(a, buf.as_mut_ptr().cast(), 4, MSG_PEEK) as i64);
        show("peek again", recv(a, buf.as_mut_ptr().cast(), 32, MSG_PEEK) as i64);
        show("thrown away", recv(a, null_mut(), 3, MSG_TRUNC) as i64);
        show("the next", recv(a, buf.as_mut_ptr().cast(), 2, 0) as i64);
        println!("{:?}", &buf[..2]);
        show("not all there", recv(a, buf.as_mut_ptr().cast(), 32, MSG_WAITALL | MSG_DONTWAIT) as i64);
        let late = std::thread::spawn(move || {
            for part in [&b"ab"[..], b"cde", b"fghij"] {
                send(c, part.as_ptr().cast(), part.len(), 0);
            }
            shutdown(c, SHUT_WR);
        });
        show("all", recv(a, buf.as_mut_ptr().cast(), 8, MSG_WAITALL) as i64);
        show("as much as there is", recv(a, buf.as_mut_ptr().cast(), 32, MSG_WAITALL) as i64);
        late.join().unwrap();
        show("end", recv(a, buf.as_mut_ptr().cast(), 32, MSG_WAITALL) as i64);
        show("nothing asked for", recv(a, buf.as_mut_ptr().cast(), 0, 0) as i64);
        let (c, a) = connected();
        show("more", send(c, b"first ".as_ptr().cast(), 6, MSG_MORE) as i64);
        show("then all", send(c, b"part".as_ptr().cast(), 4, 0) as i64);
        show("arrives", recv(a, buf.as_mut_ptr().cast(), 10, MSG_WAITALL) as i64);
        show("nothing", send(c, null(), 0, 0) as i64);
        show("bad address", send(c, 8 as *const c_void, 4, 0) as i64);
        show("into a bad one", {
            send(c, b"lost".as_ptr().cast(), 4, 0);
            ready(a, POLLIN);
            recv(a, 8 as *mut c_void, 4, 0) as i64
        });
    }
}

fn transfers(_: &str) {
    unsafe {
        let (c, a) = connected();
        let data: Vec<u8> = (0..4_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let copy = data.clone();
        let writer = std::thread::spawn(move || {
            let n = send(c, copy.as_ptr().cast(), copy.len(), 0);
            close(c);
            n
        });
        let mut back = vec![0u8; data.len()];
        show("all of it", recv(a, back.as_mut_ptr().cast(), back.len(), MSG_WAITALL) as i64);
        println!("{} {}", back == data, writer.join().unwrap());
        show("end", recv(a, back.as_mut_ptr().cast(), 1, 0) as i64);
        // Written while nobody reads, without blocking: as much as fits, then the rest.
        let (c, a) = connected();
        fcntl(c, F_SETFL, O_NONBLOCK);
        let mut sent = 0;
        let mut got = 0;
        let mut rounds = 0;
        while got < data.len() {
            let n = send(c, data.as_ptr().add(sent).cast(), data.len() - sent, 0);
            sent += n.max(0) as usize;
            let n = recv(a, back.as_mut_ptr().add(got).cast(), back.len() - got, MSG_DONTWAIT);
            got += n.max(0) as usize;
            rounds += 1;
        }
        println!("{} {}", back == data, rounds > 1);
    }
}
