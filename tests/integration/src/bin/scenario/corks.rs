//! Sending in parts: MSG_MORE, UDP_CORK, TCP_CORK (udp(7), tcp(7)).

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("datagrams_in_parts", OneProcess, datagrams_in_parts),
    ("datagrams_too_long_in_parts", OneProcess, datagrams_too_long_in_parts),
    ("streams_in_parts", OneProcess, streams_in_parts),
    ("streams_held_and_ended", OneProcess, streams_held_and_ended),
];

const UDP_CORK: c_int = 1;

/// A datagram socket, bound, and its address.
unsafe fn bound(family: c_int) -> (c_int, sockaddr_storage, u32) {
    unsafe {
        let s = socket(family, SOCK_DGRAM, 0);
        let mut address: sockaddr_storage = zeroed();
        let mut len = size_of::<sockaddr_storage>() as u32;
        if family == AF_INET {
            *(&raw mut address).cast::<sockaddr_in>() = loopback(0);
        } else {
            let six = (&raw mut address).cast::<sockaddr_in6>();
            (*six).sin6_family = AF_INET6 as u16;
            (*six).sin6_addr.s6_addr[15] = 1;
        }
        let size = if family == AF_INET { size_of::<sockaddr_in>() } else { size_of::<sockaddr_in6>() };
        assert_eq!(bind(s, (&raw const address).cast(), size as u32), 0);
        assert_eq!(getsockname(s, (&raw mut address).cast(), &mut len), 0);
        (s, address, len)
    }
}

/// What has arrived, or that nothing has.
unsafe fn arrived(what: &str, fd: c_int) {
    unsafe {
        let mut bytes = vec![0u8; 1 << 16];
        let got = recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), MSG_DONTWAIT);
        match usize::try_from(got) {
            Ok(got) if got < 20 => println!("{what}: {:?}", String::from_utf8_lossy(&bytes[..got])),
            Ok(got) => println!("{what}: {got} bytes"),
            Err(_) => _ = show(what, got as i64),
        }
    }
}

unsafe fn sent(fd: c_int, text: &[u8], flags: c_int) -> i64 {
    unsafe { send(fd, text.as_ptr().cast(), text.len(), flags) as i64 }
}

unsafe fn set(fd: c_int, level: c_int, name: c_int, value: c_int) -> c_int {
    unsafe { setsockopt(fd, level, name, (&raw const value).cast(), 4) }
}

unsafe fn is_set(fd: c_int, level: c_int, name: c_int) -> c_int {
    let (mut value, mut len) = (-1, 4);
    unsafe { getsockopt(fd, level, name, (&raw mut value).cast(), &mut len) };
    value
}

fn datagrams_in_parts(_: &str) {
    for family in [AF_INET, AF_INET6] {
        unsafe {
            let (first, to_first, len) = bound(family);
            let (second, to_second, _) = bound(family);
            let to_first = (&raw const to_first).cast();
            let to_second = (&raw const to_second).cast();
            let c = socket(family, SOCK_DGRAM, 0);
            show("first part", sendto(c, c"a".as_ptr().cast(), 1, MSG_MORE, to_first, len) as i64);
            arrived("not yet", first);
            show("second part, elsewhere", sendto(c, c"b".as_ptr().cast(), 1, MSG_MORE, to_second, len) as i64);
            show("the last", sendto(c, c"c".as_ptr().cast(), 1, 0, to_second, len) as i64);
            arrived("whole", first);
            arrived("elsewhere", second);
            show("connect", connect(c, to_first, len));
            show("more", sent(c, b"d", MSG_MORE));
            show("write ends it", write(c, c"e".as_ptr().cast(), 1) as i64);
            arrived("whole", first);
            show("connect elsewhere", connect(c, to_second, len));
            show("nothing, and more", sent(c, b"", MSG_MORE));
            arrived("not yet", second);
            show("nothing more", sent(c, b"", 0));
            arrived("empty", second);
            arrived("no more", second);

            println!("corked: {}", is_set(c, IPPROTO_UDP, UDP_CORK));
            show("cork", set(c, IPPROTO_UDP, UDP_CORK, 7));
            println!("corked: {}", is_set(c, IPPROTO_UDP, UDP_CORK));
            show("send", sent(c, b"f", 0));
            show("write", write(c, c"g".as_ptr().cast(), 1) as i64);
            arrived("not yet", second);
            show("uncork", set(c, IPPROTO_UDP, UDP_CORK, 0));
            arrived("together", second);
            show("uncork again", set(c, IPPROTO_UDP, UDP_CORK, 0));
            arrived("nothing", second);

            let mut vector = [iovec { iov_base: c"hi".as_ptr().cast_mut().cast(), iov_len: 2 }; 2];
            let mut messages: [mmsghdr; 2] = zeroed();
            for (message, vector) in messages.iter_mut().zip(&mut vector) {
                (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
            }
            show("sendmmsg", sendmmsg(c, messages.as_mut_ptr(), 2, MSG_MORE));
            show("sendmsg", sendmsg(c, &messages[0].msg_hdr, 0) as i64);
            arrived("three in one", second);

            show("more", sent(c, b"lost", MSG_MORE));
            close(c);
            arrived("closed over it", second);
            close(first);
            close(second);
        }
    }
}

fn datagrams_too_long_in_parts(_: &str) {
    unsafe {
        let (s, to, len) = bound(AF_INET);
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        show("no destination", sent(c, b"x", MSG_MORE));
        show("connect", connect(c, (&raw const to).cast(), len));
        let long = [b'l'; 40_000];
        show("more", sent(c, &long, MSG_MORE));
        show("too much", sent(c, &long, MSG_MORE));
        show("all is lost", sent(c, b"x", 0));
        arrived("alone", s);
        show("more", sent(c, &long, MSG_MORE));
        show("more", sent(c, &long[..20_000], MSG_MORE));
        show("enough", sent(c, b"x", 0));
        arrived("whole", s);
        show("more", sent(c, b"y", MSG_MORE));
        show("out of band", sent(c, b"z", MSG_OOB));
        show("enough", sent(c, b"z", 0));
        arrived("whole", s);
    }
}

/// Runs `check` until it has taken less time than a stream holds bytes back.
unsafe fn in_time(mut check: impl FnMut() -> String) {
    loop {
        let begun = std::time::Instant::now();
        let said = check();
        if begun.elapsed().as_millis() < 150 {
            return print!("{said}");
        }
    }
}

/// All that comes until there are `count` bytes.
unsafe fn take(fd: c_int, count: usize) -> String {
    unsafe {
        let mut bytes = vec![0u8; count];
        let got = recv(fd, bytes.as_mut_ptr().cast(), count, MSG_WAITALL);
        bytes.truncate(got.max(0) as usize);
        if got < 20 { String::from_utf8_lossy(&bytes).into_owned() } else { format!("{got} bytes") }
    }
}

unsafe fn nothing_yet(fd: c_int) -> bool {
    let mut byte = 0u8;
    unsafe { recv(fd, (&raw mut byte).cast(), 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno() == EAGAIN }
}

fn streams_in_parts(_: &str) {
    unsafe {
        let (c, a) = connected();
        in_time(|| {
            let mut said = format!("more: {}\n", sent(c, b"a", MSG_MORE));
            said += &format!("not yet: {}\n", nothing_yet(a));
            said += &format!("the rest: {}\n", sent(c, b"b", 0));
            said + &format!("together: {}\n", take(a, 2))
        });
        println!("more: {}", sent(c, b"c", MSG_MORE));
        println!("in the end: {}", take(a, 1));
        in_time(|| {
            let mut said = format!("cork: {} {}\n", set(c, IPPROTO_TCP, TCP_CORK, 1), is_set(c, IPPROTO_TCP, TCP_CORK));
            said += &format!("written: {}\n", write(c, c"d".as_ptr().cast(), 1));
            said += &format!("not yet: {}\n", nothing_yet(a));
            said += &format!("uncork: {}\n", set(c, IPPROTO_TCP, TCP_CORK, 0));
            said += &format!("at once: {}\n", !nothing_yet(a));
            said + &format!("{}\n", take(a, 1))
        });
        in_time(|| {
            set(c, IPPROTO_TCP, TCP_NODELAY, 0);
            let mut said = format!("cork: {}\n", set(c, IPPROTO_TCP, TCP_CORK, 1));
            said += &format!("written: {} {}\n", sent(c, b"e", 0), nothing_yet(a));
            said += &format!("no delay: {}\n", set(c, IPPROTO_TCP, TCP_NODELAY, 1));
            said += &format!("at once: {}\n", !nothing_yet(a));
            set(c, IPPROTO_TCP, TCP_CORK, 0);
            said + &format!("{}\n", take(a, 1))
        });
        let long: Vec<u8> = (0..150_000u32).map(|at| (at % 251) as u8).collect();
        let mut got = vec![0u8; long.len()];
        let writer = std::thread::spawn({
            let long = long.clone();
            move || {
                for part in long.chunks(7000) {
                    assert_eq!(sent(c, part, MSG_MORE), part.len() as i64);
                }
                sent(c, b"!", 0)
            }
        });
        println!("long: {}", recv(a, got.as_mut_ptr().cast(), got.len(), MSG_WAITALL));
        println!("as sent: {}", got == long);
        println!("and {} {}", take(a, 1), writer.join().unwrap());
    }
}

fn streams_held_and_ended(_: &str) {
    unsafe {
        let (c, a) = connected();
        show("more", sent(c, b"last", MSG_MORE));
        show("shutdown", shutdown(c, SHUT_WR));
        println!("{} and the end {:?}", take(a, 4), take(a, 1));
        let (c, a) = connected();
        set(c, IPPROTO_TCP, TCP_CORK, 1);
        show("corked", sent(c, b"words", 0));
        show("close", close(c));
        println!("{} and the end {:?}", take(a, 5), take(a, 1));
    }
}
