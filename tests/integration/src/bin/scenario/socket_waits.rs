//! What connections wait for: their turn, room, so many bytes, a signal, a limit of time.

use std::sync::atomic::{AtomicU32, Ordering};

use super::prelude::*;
use super::socket_options::set;

/// The family.
pub const TABLE: &[Row] = &[
    ("accept_in_order", OneProcess, in_order),
    ("connect_waits", OneProcess, waits),
    ("connect_times_out", OneProcess, times_out),
    ("option_low_water", OneProcess, low_water),
    ("option_buffers_limit", OneProcess, buffers_limit),
    ("option_device_of_streams", OneProcess, device),
    ("local_buffers_limit", LocalSockets, local_buffers),
    ("local_names_sent", LocalSockets, local_names),
    ("local_datagrams_shut_down", LocalSockets, local_shut),
];

fn own_port(s: c_int) -> u16 {
    let (mut own, mut len) = (unsafe { loopback(0) }, LEN);
    unsafe { getsockname(s, (&raw mut own).cast(), &mut len) };
    u16::from_be(own.sin_port)
}

/// Connections come out in the order in which they were made.
fn in_order(_: &str) {
    unsafe {
        let (l, addr) = listener();
        let clients: Vec<c_int> = (0..8)
            .map(|_| {
                let c = socket(AF_INET, SOCK_STREAM, 0);
                assert_eq!(connect(c, ptr(&addr), LEN), 0);
                c
            })
            .collect();
        // The third is over by then, and keeps its place.
        let ports: Vec<u16> = clients.iter().map(|c| own_port(*c)).collect();
        close(clients[2]);
        let accepted = (0..8).map(|_| {
            let (mut peer, mut len) = (loopback(0), LEN);
            assert!(accept(l, (&raw mut peer).cast(), &mut len) >= 0);
            u16::from_be(peer.sin_port)
        });
        println!("in order {}", accepted.collect::<Vec<_>>() == ports);
    }
}

/// A listener whose queue is full, and those who are in it.
unsafe fn crowded() -> (c_int, sockaddr_in, Vec<c_int>) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let mut addr = loopback(0);
        bind(s, ptr(&addr), LEN);
        listen(s, 0);
        addr.sin_port = own_port(s).to_be();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        assert_eq!(connect(c, ptr(&addr), LEN), 0);
        (s, addr, vec![c])
    }
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Sends the signal to a thread that sleeps, until it has come.
unsafe fn disturb(thread: pid_t) {
    unsafe {
        let before = HANDLED.load(Ordering::SeqCst);
        until_asleep(getpid(), thread);
        syscall(SYS_tgkill, getpid(), thread, SIGUSR1);
        while HANDLED.load(Ordering::SeqCst) == before {
            usleep(1000);
        }
    }
}

/// A connect that has to wait goes on whatever ends the wait.
fn waits(_: &str) {
    unsafe {
        for flags in [0, SA_RESTART] {
            let mut action: sigaction = zeroed();
            (action.sa_sigaction, action.sa_flags) = (count as *const () as usize, flags);
            sigaction(SIGUSR1, &action, null_mut());
            let (l, addr, _full) = crowded();
            let c = socket(AF_INET, SOCK_STREAM, 0);
            let (tell, told) = std::sync::mpsc::channel();
            let caller = std::thread::spawn(move || {
                tell.send(gettid()).unwrap();
                let r = connect(c, ptr(&addr), LEN);
                (r, errno())
            });
            disturb(told.recv().unwrap());
            if flags == 0 {
                let (r, error) = caller.join().unwrap();
                println!("interrupted {r} {}", error == EINTR);
                let other = std::thread::spawn(move || {
                    fcntl(c, F_SETFL, O_NONBLOCK);
                    let r = connect(c, ptr(&addr), LEN);
                    (r, errno())
                });
                let (r, error) = other.join().unwrap();
                println!("goes on {r} {}", error == EALREADY);
                accept(l, null_mut(), null_mut());
                println!("and is made {:#x} {}", ready(c, POLLOUT), pending(c));
            } else {
                accept(l, null_mut(), null_mut());
                println!("restarted {}", caller.join().unwrap().0);
            }
            println!("accepted {}", accept(l, null_mut(), null_mut()) >= 0);
        }
        let (l, addr, _full) = crowded();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        let limit = timeval { tv_sec: 0, tv_usec: 100_000 };
        setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, (&raw const limit).cast(), 16);
        let r = connect(c, ptr(&addr), LEN);
        println!("SO_SNDTIMEO {r} {}", errno() == EINPROGRESS);
        let r = connect(c, ptr(&addr), LEN);
        println!("again {r} {}", errno() == EALREADY || errno() == EINPROGRESS);
        accept(l, null_mut(), null_mut());
        println!("and is made {:#x} {}", ready(c, POLLOUT), pending(c));
    }
}

fn times_out(_: &str) {
    unsafe {
        let (_l, addr, _full) = crowded();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        println!("TCP_USER_TIMEOUT {}", set(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 300));
        let r = connect(c, ptr(&addr), LEN);
        println!("nobody takes it {r} {}", errno() == ETIMEDOUT);
        println!("pending {}", pending(c));
        let n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        set(n, IPPROTO_TCP, TCP_USER_TIMEOUT, 300);
        let r = connect(n, ptr(&addr), LEN);
        println!("in progress {r} {}", errno() == EINPROGRESS);
        println!("{:#x}", ready(n, POLLIN | POLLOUT | POLLRDHUP));
        println!("pending {}", pending(n) == ETIMEDOUT);
        let r = send(n, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL);
        println!("send {r} {}", errno() == EPIPE);
    }
}

fn poll_now(s: c_int) -> c_short {
    let mut fds = [pollfd { fd: s, events: POLLIN, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 0) };
    fds[0].revents
}

fn low_water(_: &str) {
    unsafe {
        let (c, a) = connected();
        println!("SO_RCVLOWAT {}", set(a, SOL_SOCKET, SO_RCVLOWAT, 5));
        let mut buf = [0u8; 16];
        let at = buf.as_mut_ptr().cast::<c_void>();
        send(c, b"four".as_ptr().cast(), 4, 0);
        let mut there = 0;
        while there < 4 {
            ioctl(a, FIONREAD, &mut there);
        }
        println!("too few {:x}", poll_now(a));
        show("who does not wait takes them", recv(a, at, 16, MSG_DONTWAIT) as i64);
        send(c, b"four".as_ptr().cast(), 4, 0);
        let address = at as usize;
        let waiter = asleep(move || recv(a, address as *mut c_void, 16, 0));
        // Linux counts anew behind what it has given out already.
        send(c, b"12345".as_ptr().cast(), 5, 0);
        show("who waits, all nine", waiter.join().unwrap() as i64);
        send(c, b"12345".as_ptr().cast(), 5, 0);
        println!("enough {:x}", ready(a, POLLIN));
        show("no more than are asked for", recv(a, at, 3, 0) as i64);
        show("nor fewer", recv(a, at, 2, 0) as i64);
        send(c, b"12".as_ptr().cast(), 2, 0);
        shutdown(c, SHUT_WR);
        println!("the end is enough {:x}", ready(a, POLLIN));
        show("the rest", recv(a, at, 16, 0) as i64);
        show("the end", recv(a, at, 16, 0) as i64);
        for value in [0, -1, c_int::MAX, 1] {
            let done = set(a, SOL_SOCKET, SO_RCVLOWAT, value);
            let (mut got, mut len): (c_int, socklen_t) = (-7, 4);
            getsockopt(a, SOL_SOCKET, SO_RCVLOWAT, (&raw mut got).cast(), &mut len);
            // How much is the most depends on the buffer.
            let most = value < 0 || value == c_int::MAX;
            println!("{value}: {done} {}", if most { (got > 5000).to_string() } else { got.to_string() });
        }
    }
}

/// How much a connection takes that nobody reads.
unsafe fn taken(send_buffer: Option<c_int>, receive_buffer: Option<c_int>) -> isize {
    unsafe {
        let (l, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        if let Some(size) = receive_buffer {
            set(l, SOL_SOCKET, SO_RCVBUF, size);
        }
        if let Some(size) = send_buffer {
            set(c, SOL_SOCKET, SO_SNDBUF, size);
        }
        connect(c, ptr(&addr), LEN);
        let a = accept(l, null_mut(), null_mut());
        fcntl(c, F_SETFL, O_NONBLOCK);
        let chunk = [0u8; 1000];
        let mut sum = 0;
        // Until nothing moves any more: what the peer's kernel takes makes room here.
        let mut fds = [pollfd { fd: c, events: POLLOUT, revents: 0 }];
        while poll(fds.as_mut_ptr(), 1, 50) > 0 {
            sum += send(c, chunk.as_ptr().cast(), 1000, 0).max(0);
        }
        for s in [c, a, l] {
            close(s);
        }
        sum
    }
}

/// Not the numbers are compared, which depend on what a kernel counts, but that the options limit.
fn buffers_limit(_: &str) {
    unsafe {
        let both = taken(Some(8192), Some(8192));
        let usual = taken(None, None);
        println!("both small {}", (2_000..60_000).contains(&both));
        println!("the usual is more {}", usual > 2 * both);
        let (wide_here, wide_there) = (taken(Some(100_000), Some(8192)), taken(Some(8192), Some(100_000)));
        println!("either is more {} {}", wide_here > both, wide_there > both);
    }
}

/// SO_BINDTODEVICE on streams.
fn device(_: &str) {
    unsafe {
        let bound = |s: c_int, name: &CStr| {
            let name = name.to_bytes();
            show("SO_BINDTODEVICE", setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name.as_ptr().cast(), name.len() as u32))
        };
        let (l, addr) = listener();
        bound(l, c"lo");
        let c = socket(AF_INET, SOCK_STREAM, 0);
        bound(c, c"lo");
        show("by it", connect(c, ptr(&addr), LEN));
        let a = accept(l, null_mut(), null_mut());
        let (mut name, mut len) = ([0u8; 16], 16);
        show("inherited", getsockopt(a, SOL_SOCKET, SO_BINDTODEVICE, name.as_mut_ptr().cast(), &mut len));
        println!("{}", len > 0);
        bound(a, c"none");
        bound(a, c"a name that is far too long for an interface");
        bound(a, c"");
        show("none", getsockopt(a, SOL_SOCKET, SO_BINDTODEVICE, name.as_mut_ptr().cast(), &mut len));
        println!("{len}");
    }
}

fn local_buffers(_: &str) {
    unsafe {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            let taken = |size: Option<c_int>| {
                let mut ends = [0; 2];
                socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, ends.as_mut_ptr());
                if let Some(size) = size {
                    set(ends[0], SOL_SOCKET, SO_SNDBUF, size);
                    set(ends[1], SOL_SOCKET, SO_RCVBUF, size);
                }
                let chunk = [0u8; 100];
                let mut sum = 0;
                loop {
                    let n = send(ends[0], chunk.as_ptr().cast(), 100, 0);
                    if n < 0 {
                        break;
                    }
                    sum += n;
                }
                println!("full {}", errno() == EAGAIN);
                for s in ends {
                    close(s);
                }
                sum
            };
            let (small, usual) = (taken(Some(4608)), taken(None));
            println!("{kind}: some {}, no more than the usual {}", small >= 100, small <= usual);
        }
    }
}

/// SO_PASSCRED, and who a message says that it is from.
fn local_names(_: &str) {
    unsafe {
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_DGRAM, 0, ends.as_mut_ptr());
        let [a, b] = ends;
        let say = |what: &str, who: Option<ucred>| {
            let mut control = [0u64; 8];
            let mut vector = iovec { iov_base: b"hello".as_ptr().cast_mut().cast(), iov_len: 5 };
            let mut message: msghdr = zeroed();
            (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
            if let Some(who) = who {
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = CMSG_SPACE(12) as usize;
                let header = &mut *CMSG_FIRSTHDR(&message);
                (header.cmsg_level, header.cmsg_type) = (SOL_SOCKET, SCM_CREDENTIALS);
                header.cmsg_len = CMSG_LEN(12) as usize;
                CMSG_DATA(header).cast::<ucred>().write_unaligned(who);
            }
            show(what, sendmsg(a, &message, 0) as i64);
        };
        let hear = |room: usize| {
            let (mut control, mut data) = ([0u64; 8], [0u8; 8]);
            let mut vector = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: 8 };
            let mut message: msghdr = zeroed();
            (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), room);
            show("recvmsg", recvmsg(b, &mut message, MSG_DONTWAIT) as i64);
            let header = CMSG_FIRSTHDR(&message);
            println!("  flags {:x} control {}", message.msg_flags, message.msg_controllen);
            if !header.is_null() && message.msg_controllen >= CMSG_LEN(12) as usize {
                let who = CMSG_DATA(header).cast::<ucred>().read_unaligned();
                println!("  {} us {} {} {}", (*header).cmsg_type, who.pid == getpid(), who.uid, who.gid);
            }
        };
        let own = ucred { pid: getpid(), uid: getuid(), gid: getgid() };
        say("not asked for", Some(own));
        hear(64);
        println!("SO_PASSCRED {}", set(b, SOL_SOCKET, SO_PASSCRED, 1));
        say("not told", None);
        hear(64);
        say("told", Some(own));
        hear(64);
        say("no room", None);
        hear(0);
        say("little room", None);
        hear(20);
        say("somebody else's name", Some(ucred { uid: 12, gid: 34, ..own }));
        hear(64);
        say("room for no more", Some(own));
        hear(CMSG_SPACE(12) as usize);
        println!("SO_PASSCRED off {}", set(b, SOL_SOCKET, SO_PASSCRED, 0));
        say("off", None);
        hear(64);
    }
}

fn local_shut(_: &str) {
    unsafe {
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_DGRAM, 0, ends.as_mut_ptr());
        let [a, b] = ends;
        let mut buf = [0u8; 8];
        send(b, b"kept".as_ptr().cast(), 4, 0);
        show("SHUT_RD", shutdown(a, SHUT_RD));
        show("recv", recv(a, buf.as_mut_ptr().cast(), 8, 0) as i64);
        show("waits", recv(a, buf.as_mut_ptr().cast(), 8, 0) as i64);
        show("MSG_DONTWAIT", recv(a, buf.as_mut_ptr().cast(), 8, MSG_DONTWAIT) as i64);
        show("send to it", send(b, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("it sends", send(a, b"back".as_ptr().cast(), 4, 0) as i64);
        show("arrives", recv(b, buf.as_mut_ptr().cast(), 8, 0) as i64);
        close(a);
        show("nobody there", recv(b, buf.as_mut_ptr().cast(), 8, MSG_DONTWAIT) as i64);
        show("nor to send to", send(b, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        println!("{:x}", poll_now(b));
    }
}
