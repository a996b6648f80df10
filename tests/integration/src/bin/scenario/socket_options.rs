//! getsockopt(2) and setsockopt(2): every option that programs use, and what goes wrong.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("options", OneProcess, options),
    ("options_of_tcp", OneProcess, |_| every_option(AF_INET, SOCK_STREAM)),
    ("options_of_udp", OneProcess, |_| every_option(AF_INET, SOCK_DGRAM)),
    ("options_of_tcp6", OneProcess, |_| every_option(AF_INET6, SOCK_STREAM)),
    ("options_of_udp6", OneProcess, |_| every_option(AF_INET6, SOCK_DGRAM)),
    ("option_lengths", OneProcess, lengths),
    ("option_errors", OneProcess, failures),
    ("option_buffers", OneProcess, buffers),
    ("option_inheritance", OneProcess, inheritance),
    ("option_tcp_info", OneProcess, information),
    ("option_congestion", OneProcess, congestion),
];

/// Options that are an int: name, level, number, a value that may be set.
const OPTIONS: &[(&str, c_int, c_int, c_int)] = &[
    ("SO_TYPE", SOL_SOCKET, SO_TYPE, 1),
    ("SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, 1),
    ("SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, 1),
    ("SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, 1),
    ("SO_ERROR", SOL_SOCKET, SO_ERROR, 1),
    ("SO_DEBUG", SOL_SOCKET, SO_DEBUG, 1),
    ("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 7),
    ("SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1),
    ("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1),
    ("SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1),
    ("SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 1),
    ("SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1),
    ("SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1),
    ("SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3),
    ("SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 5),
    ("SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, 5),
    ("IP_TTL", IPPROTO_IP, IP_TTL, 33),
    ("IP_TOS", IPPROTO_IP, IP_TOS, 0x10),
    ("IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, 1),
    ("IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, 1),
    ("IP_RECVTOS", IPPROTO_IP, IP_RECVTOS, 1),
    ("IP_RECVERR", IPPROTO_IP, IP_RECVERR, 1),
    ("IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, 0),
    ("IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, 1),
    ("IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1),
    ("IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, 4),
    ("IP_MULTICAST_LOOP", IPPROTO_IP, IP_MULTICAST_LOOP, 0),
    ("IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, 1),
    ("IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9),
    ("IPV6_MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 9),
    ("IPV6_MULTICAST_LOOP", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0),
    ("IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1),
    ("IPV6_RECVHOPLIMIT", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1),
    ("IPV6_RECVTCLASS", IPPROTO_IPV6, IPV6_RECVTCLASS, 1),
    ("IPV6_RECVPATHMTU", IPPROTO_IPV6, IPV6_RECVPATHMTU, 1),
    ("IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, 0x20),
    ("IPV6_DONTFRAG", IPPROTO_IPV6, IPV6_DONTFRAG, 1),
    ("IPV6_RECVERR", IPPROTO_IPV6, IPV6_RECVERR, 1),
    ("IPV6_MTU_DISCOVER", IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0),
    ("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1),
    ("TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 1000),
    ("TCP_CORK", IPPROTO_TCP, TCP_CORK, 1),
    ("TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 60),
    ("TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 10),
    ("TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 5),
    ("TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 3),
    ("TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 10),
    ("TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 1),
    ("TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 0),
    ("TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 5000),
    ("TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, 5),
    ("TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1),
    ("TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096),
    ("none", SOL_SOCKET, 9999, 1),
    ("none of IP", IPPROTO_IP, 9999, 1),
    ("none of TCP", IPPROTO_TCP, 9999, 1),
    ("of no level", 9999, 1, 1),
];

fn get(s: c_int, level: c_int, name: c_int) -> String {
    let (mut value, mut len): (c_int, socklen_t) = (-7, 4);
    match unsafe { getsockopt(s, level, name, (&raw mut value).cast(), &mut len) } {
        0 => format!("{value} ({len})"),
        _ => unsafe { CStr::from_ptr(strerror(errno())) }.to_string_lossy().into_owned(),
    }
}

pub fn set(s: c_int, level: c_int, name: c_int, value: c_int) -> String {
    match unsafe { setsockopt(s, level, name, (&raw const value).cast(), 4) } {
        0 => "set".into(),
        _ => unsafe { CStr::from_ptr(strerror(errno())) }.to_string_lossy().into_owned(),
    }
}

/// TCP_CONGESTION: only "reno" is on every Linux.
fn congestion(_: &str) {
    unsafe {
        let (c, a) = connected();
        let get = |what: &str, s: c_int, len: socklen_t| {
            let (mut name, mut len) = ([b'#'; 32], len);
            show(what, getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name.as_mut_ptr().cast(), &mut len));
            println!("{len} {:?}", String::from_utf8_lossy(&name));
        };
        let set = |what: &str, s: c_int, name: &[u8]| {
            show(what, setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name.as_ptr().cast(), name.len() as u32));
        };
        set("reno", c, b"reno");
        get("reno", c, 32);
        get("three bytes", c, 3);
        get("none", c, 0);
        set("with a zero", c, b"reno\0");
        set("unknown", c, b"nonsense");
        set("empty", c, b"");
        get("still", c, 16);
        let (l, to) = listener();
        set("listener", l, b"reno");
        let c = socket(AF_INET, SOCK_STREAM, 0);
        connect(c, ptr(&to), LEN);
        get("accepted", accept(l, null_mut(), null_mut()), 16);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        set("datagrams", u, b"reno");
        close(a);
    }
}

fn every_option(domain: c_int, kind: c_int) {
    for (what, level, name, value) in OPTIONS {
        let s = unsafe { socket(domain, kind, 0) };
        let (before, done, after) = (get(s, *level, *name), set(s, *level, *name, *value), get(s, *level, *name));
        println!("{what}: {before}, {done}, {after}, off {}: {}", set(s, *level, *name, 0), get(s, *level, *name));
        unsafe { close(s) };
    }
}

fn options(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let get = |what: &str, level: c_int, name: c_int| {
            let (mut value, mut len): (c_int, socklen_t) = (-7, 4);
            show(what, getsockopt(s, level, name, (&raw mut value).cast(), &mut len));
            println!("{value} {len}");
        };
        let set = |what: &str, level: c_int, name: c_int, value: c_int| {
            show(what, setsockopt(s, level, name, (&raw const value).cast(), 4));
        };
        get("SO_TYPE", SOL_SOCKET, SO_TYPE);
        get("SO_DOMAIN", SOL_SOCKET, SO_DOMAIN);
        get("SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
        get("SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
        set("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1);
        get("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR);
        set("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
        get("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);
        set("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
        get("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
        get("SO_ERROR", SOL_SOCKET, SO_ERROR);
        set("IP_TTL", IPPROTO_IP, IP_TTL, 33);
        get("IP_TTL", IPPROTO_IP, IP_TTL);
        let limit = timeval { tv_sec: 0, tv_usec: 50_000 };
        show("SO_RCVTIMEO", setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16));
        set("unknown", SOL_SOCKET, 9999, 1);
        let (c, _a) = connected();
        setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16);
        let mut byte = 0u8;
        show("times out", recv(c, (&raw mut byte).cast(), 1, 0) as i64);
        show("bad value", setsockopt(s, SOL_SOCKET, SO_REUSEADDR, null(), 4));
    }
}

fn lengths(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        let value = [1u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (what, fd, level, name) in [
            ("SO_KEEPALIVE", s, SOL_SOCKET, SO_KEEPALIVE),
            ("SO_LINGER", s, SOL_SOCKET, SO_LINGER),
            ("SO_RCVTIMEO", s, SOL_SOCKET, SO_RCVTIMEO),
            ("SO_RCVBUF", s, SOL_SOCKET, SO_RCVBUF),
            ("TCP_NODELAY", s, IPPROTO_TCP, TCP_NODELAY),
            ("TCP_KEEPIDLE", s, IPPROTO_TCP, TCP_KEEPIDLE),
            ("IP_TOS", s, IPPROTO_IP, IP_TOS),
            ("IP_TTL", s, IPPROTO_IP, IP_TTL),
            ("IP_MULTICAST_TTL", u, IPPROTO_IP, IP_MULTICAST_TTL),
        ] {
            for len in [1, 2, 3, 4, 8, 16] {
                show(&format!("{what} set {len}"), setsockopt(fd, level, name, value.as_ptr().cast(), len));
            }
            for len in [0, 1, 2, 4, 8, 16] {
                let (mut out, mut room) = ([0xeeu8; 16], len as socklen_t);
                let r = getsockopt(fd, level, name, out.as_mut_ptr().cast(), &mut room);
                // What a value is depends on what was set; which bytes were touched does not.
                let touched = out.iter().filter(|byte| **byte != 0xee).count();
                println!("{what} get {len}: {r} {room} {touched}");
            }
        }
        let mut room = -1i32;
        let mut out = [0u8; 4];
        show("negative room", getsockopt(s, SOL_SOCKET, SO_TYPE, out.as_mut_ptr().cast(), (&raw mut room).cast()));
        show("negative length", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, value.as_ptr().cast(), u32::MAX));
    }
}

fn failures(folder: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let (mut value, mut len) = (1 as c_int, 4 as socklen_t);
        let bad = 8 as *mut c_void;
        show("null value", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, null(), 4));
        show("bad value", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, bad, 4));
        show("null room", getsockopt(s, SOL_SOCKET, SO_TYPE, (&raw mut value).cast(), null_mut()));
        show("bad room", getsockopt(s, SOL_SOCKET, SO_TYPE, bad, &mut len));
        let file = open(create(folder, "file", b"").as_ptr(), O_RDWR);
        show("of a file", getsockopt(file, SOL_SOCKET, SO_TYPE, (&raw mut value).cast(), &mut len));
        show("set of a file", setsockopt(file, SOL_SOCKET, SO_KEEPALIVE, (&raw const value).cast(), 4));
        close(s);
        show("of a closed one", getsockopt(s, SOL_SOCKET, SO_TYPE, (&raw mut value).cast(), &mut len));
        let s = socket(AF_INET, SOCK_STREAM, 0);
        for (what, level, name, value) in [
            ("IP_TTL 256", IPPROTO_IP, IP_TTL, 256),
            ("IP_TTL 0", IPPROTO_IP, IP_TTL, 0),
            ("IP_TTL -1", IPPROTO_IP, IP_TTL, -1),
            ("TCP_KEEPIDLE 0", IPPROTO_TCP, TCP_KEEPIDLE, 0),
            ("TCP_KEEPIDLE 40000", IPPROTO_TCP, TCP_KEEPIDLE, 40_000),
            ("TCP_KEEPINTVL 0", IPPROTO_TCP, TCP_KEEPINTVL, 0),
            ("TCP_KEEPCNT 128", IPPROTO_TCP, TCP_KEEPCNT, 128),
            ("TCP_KEEPCNT 0", IPPROTO_TCP, TCP_KEEPCNT, 0),
            ("TCP_MAXSEG 1", IPPROTO_TCP, TCP_MAXSEG, 1),
            ("TCP_USER_TIMEOUT -1", IPPROTO_TCP, TCP_USER_TIMEOUT, -1),
            ("SO_TYPE", SOL_SOCKET, SO_TYPE, 1),
            ("SO_ERROR", SOL_SOCKET, SO_ERROR, 1),
            ("SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, 1),
        ] {
            println!("{what}: {}", set(s, level, name, value));
        }
        let late = timeval { tv_sec: 0, tv_usec: 1_000_000 };
        show("microseconds", setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const late).cast(), 16));
        let early = timeval { tv_sec: -1, tv_usec: 0 };
        show("negative time", setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const early).cast(), 16));
        println!("IPV6_V6ONLY of IPv4: {}", set(s, IPPROTO_IPV6, IPV6_V6ONLY, 1));
        println!("TCP_NODELAY of UDP: {}", set(socket(AF_INET, SOCK_DGRAM, 0), IPPROTO_TCP, TCP_NODELAY, 1));
        let six = socket(AF_INET6, SOCK_STREAM, 0);
        let mut any: sockaddr_in6 = zeroed();
        any.sin6_family = AF_INET6 as u16;
        bind(six, (&raw const any).cast(), 28);
        println!("IPV6_V6ONLY once bound: {}", set(six, IPPROTO_IPV6, IPV6_V6ONLY, 1));
        println!("IP_TTL of IPv6: {} {}", set(six, IPPROTO_IP, IP_TTL, 5), get(six, IPPROTO_IP, IP_TTL));
    }
}

fn buffers(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        for name in [SO_RCVBUF, SO_SNDBUF] {
            for size in [0, 1000, 10_000, 100_000] {
                println!("{size}: {} {}", set(s, SOL_SOCKET, name, size), get(s, SOL_SOCKET, name));
            }
            let (mut value, mut len): (c_int, socklen_t) = (0, 4);
            set(s, SOL_SOCKET, name, c_int::MAX);
            getsockopt(s, SOL_SOCKET, name, (&raw mut value).cast(), &mut len);
            println!("cut: {}", (200_000..c_int::MAX).contains(&value));
        }
    }
}

fn inheritance(_: &str) {
    unsafe {
        let (s, addr) = listener();
        let given = [
            (SOL_SOCKET, SO_KEEPALIVE, 1),
            (SOL_SOCKET, SO_REUSEADDR, 1),
            (SOL_SOCKET, SO_OOBINLINE, 1),
            (SOL_SOCKET, SO_RCVBUF, 50_000),
            (SOL_SOCKET, SO_SNDBUF, 60_000),
            (IPPROTO_TCP, TCP_NODELAY, 1),
            (IPPROTO_TCP, TCP_KEEPIDLE, 77),
            (IPPROTO_TCP, TCP_KEEPCNT, 6),
            (IPPROTO_IP, IP_TTL, 44),
            (IPPROTO_IP, IP_TOS, 0x08),
        ];
        for (level, name, value) in given {
            set(s, level, name, value);
        }
        let limit = timeval { tv_sec: 3, tv_usec: 500_000 };
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16);
        let linger = linger { l_onoff: 1, l_linger: 5 };
        setsockopt(s, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), 8);
        fcntl(s, F_SETFL, O_NONBLOCK);
        let c = socket(AF_INET, SOCK_STREAM, 0);
        connect(c, (&raw const addr).cast(), LEN);
        let a = accept(s, null_mut(), null_mut());
        for (level, name, _) in given {
            println!("{level} {name}: {}", get(a, level, name));
        }
        println!("SO_ACCEPTCONN {} {}", get(s, SOL_SOCKET, SO_ACCEPTCONN), get(a, SOL_SOCKET, SO_ACCEPTCONN));
        let (mut time, mut len): (timeval, socklen_t) = (zeroed(), 16);
        getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw mut time).cast(), &mut len);
        println!("SO_RCVTIMEO {} {}", time.tv_sec, time.tv_usec);
        let (mut kept, mut len) = (libc::linger { l_onoff: 0, l_linger: 0 }, 8);
        getsockopt(a, SOL_SOCKET, SO_LINGER, (&raw mut kept).cast(), &mut len);
        println!("SO_LINGER {} {}", kept.l_onoff, kept.l_linger);
        show("O_NONBLOCK is not", fcntl(a, F_GETFL) & O_NONBLOCK);
    }
}

fn information(_: &str) {
    unsafe {
        let (c, a) = connected();
        let state = |fd| {
            let (mut info, mut len): ([u8; 232], socklen_t) = ([0; 232], 232);
            let r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, info.as_mut_ptr().cast(), &mut len);
            println!("{r} state {} room enough {}", info[0], len >= 104);
            info
        };
        let info = state(c);
        let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
        println!("segment {} pmtu {}", word(16) > 0, word(60) > 0);
        shutdown(c, SHUT_WR);
        let mut byte = 0u8;
        recv(a, (&raw mut byte).cast(), 1, 0);
        state(a);
        close(a);
        recv(c, (&raw mut byte).cast(), 1, 0);
        let (s, _) = listener();
        state(s);
        state(socket(AF_INET, SOCK_STREAM, 0));
        let (mut few, mut len) = ([0u8; 8], 8);
        show("few bytes", getsockopt(s, IPPROTO_TCP, TCP_INFO, few.as_mut_ptr().cast(), &mut len));
        println!("{len} {}", few[0]);
    }
}
