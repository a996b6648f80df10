//! Descriptors that are asked again and again in vain, without waiting: what comes then is seen by the next question, whoever brought it
//! about, and errors are what they were.

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_looks_datagrams", OneProcess, datagrams),
    ("busy_looks_listeners", OneProcess, listeners),
    ("busy_looks_streams", OneProcess, streams),
    ("busy_looks_flags", OneProcess, flags),
    ("busy_looks_errors", OneProcess, errors),
    ("busy_looks_numbers", OneProcess, numbers),
    ("busy_looks_pipes", OneProcess, pipes),
    ("busy_looks_local", LocalSockets, local),
    ("busy_looks_from_outside", Processes, from_outside),
    ("busy_looks_threads", OneProcess, threads),
];

/// More than enough for the library to look at memory.
const MANY: usize = 60;

/// A bound datagram socket and its address.
unsafe fn bound(kind: c_int) -> (c_int, sockaddr_in) {
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | kind, 0);
        let mut addr = loopback(0);
        assert_eq!(bind(s, (&raw const addr).cast(), LEN), 0);
        let mut len = LEN;
        assert_eq!(getsockname(s, (&raw mut addr).cast(), &mut len), 0);
        (s, addr)
    }
}

unsafe fn send_to(from: c_int, to: &sockaddr_in, data: &[u8]) {
    unsafe {
        let sent = sendto(from, data.as_ptr().cast(), data.len(), 0, (to as *const sockaddr_in).cast(), LEN);
        assert_eq!(sent, data.len() as isize);
    }
}

/// What poll(2) says without waiting, of what there is to be read.
unsafe fn looked(fd: c_int) -> (c_int, c_short) {
    unsafe {
        let mut look = pollfd { fd, events: POLLIN, revents: 0 };
        (poll(&mut look, 1, 0), look.revents)
    }
}

unsafe fn selected(fd: c_int) -> c_int {
    unsafe {
        let (mut set, mut time): (fd_set, timeval) = (zeroed(), zeroed());
        FD_SET(fd, &mut set);
        select(fd + 1, &mut set, null_mut(), null_mut(), &mut time)
    }
}

/// Receives up to nine bytes; `None` for `EAGAIN`.
unsafe fn got(fd: c_int, flags: c_int) -> Option<isize> {
    unsafe {
        let mut buf = [0u8; 9];
        let got = recv(fd, buf.as_mut_ptr().cast(), 9, flags);
        (got >= 0 || errno() != EAGAIN).then_some(got)
    }
}

/// Asks in vain, many times and in many ways.
unsafe fn in_vain(fd: c_int, flags: c_int) {
    unsafe {
        for _ in 0..MANY {
            assert_eq!((got(fd, flags), looked(fd), selected(fd)), (None, (0, 0), 0));
        }
    }
}

fn datagrams(_: &str) {
    unsafe {
        let ((a, to), (b, _)) = (bound(SOCK_NONBLOCK), bound(0));
        for round in 0..20 {
            in_vain(a, 0);
            send_to(b, &to, b"first");
            println!("{round}: {:?} {}", looked(a), selected(a));
            send_to(b, &to, b"second");
            println!("{:?} {:?} {:?}", got(a, 0), got(a, MSG_PEEK), looked(a));
            println!("{:?} {:?} {:?}", got(a, 0), got(a, 0), looked(a));
        }
        // By other calls.
        let mut buf = [0u8; 9];
        let part = iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 9 };
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw const part as *mut iovec, 1);
        for _ in 0..MANY {
            assert_eq!((recvmsg(a, &mut header, 0), errno()), (-1, EAGAIN));
            assert_eq!((read(a, buf.as_mut_ptr().cast(), 9), errno()), (-1, EAGAIN));
            assert_eq!((readv(a, &part, 1), errno()), (-1, EAGAIN));
        }
        for call in 0..3 {
            send_to(b, &to, b"x");
            let got = match call {
                0 => recvmsg(a, &mut header, 0),
                1 => read(a, buf.as_mut_ptr().cast(), 9),
                _ => readv(a, &part, 1),
            };
            show("another call", got as i64);
        }
        // One of several, some of the host's.
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let mut looks = [a, ends[0]].map(|fd| pollfd { fd, events: POLLIN, revents: 0 });
        for _ in 0..MANY {
            assert_eq!(poll(looks.as_mut_ptr(), 2, 0), 0);
        }
        write(ends[1], c"x".as_ptr().cast(), 1);
        show("the pipe", poll(looks.as_mut_ptr(), 2, 0));
        send_to(b, &to, b"x");
        show("both", poll(looks.as_mut_ptr(), 2, 0));
        println!("{:?}", looks.map(|look| look.revents));
        looks[0].events |= POLLOUT;
        got(a, 0);
        show("room", poll(looks.as_mut_ptr(), 1, 0));
    }
}

fn listeners(_: &str) {
    unsafe {
        let (s, addr) = listener();
        fcntl(s, F_SETFL, O_NONBLOCK);
        for _ in 0..5 {
            for _ in 0..MANY {
                assert_eq!((accept(s, null_mut(), null_mut()), errno()), (-1, EAGAIN));
                assert_eq!((accept4(s, null_mut(), null_mut(), SOCK_NONBLOCK), errno()), (-1, EAGAIN));
                assert_eq!(looked(s), (0, 0));
            }
            show("wrong flags", accept4(s, null_mut(), null_mut(), 77));
            let c = [(); 2].map(|()| {
                let c = socket(AF_INET, SOCK_STREAM, 0);
                assert_eq!(connect(c, (&raw const addr).cast(), LEN), 0);
                c
            });
            println!("{:?}", looked(s));
            works("accept", accept(s, null_mut(), null_mut()));
            println!("{:?}", looked(s));
            works("accept4", accept4(s, null_mut(), null_mut(), SOCK_CLOEXEC));
            println!("{:?}", looked(s));
            show("no more", accept(s, null_mut(), null_mut()));
            for end in c {
                close(end);
            }
        }
        shutdown(s, SHUT_RD);
        show("no listener any more", accept(s, null_mut(), null_mut()));
        println!("{:#x}", looked(s).1);
    }
}

fn streams(_: &str) {
    unsafe {
        for way in 0..4 {
            let (c, a) = connected();
            fcntl(a, F_SETFL, O_NONBLOCK);
            in_vain(a, 0);
            write(c, c"first".as_ptr().cast(), 5);
            println!("{:?} {:?}", looked(a), got(a, 0));
            in_vain(a, 0);
            match way {
                0 => close(c),
                1 => shutdown(c, SHUT_WR),
                2 => shutdown(a, SHUT_RD),
                _ => {
                    let linger = linger { l_onoff: 1, l_linger: 0 };
                    setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), size_of::<linger>() as u32);
                    close(c)
                }
            };
            println!("{:#x}", looked(a).1);
            println!("{:?} {:?}", got(a, 0), got(a, 0));
        }
        // A connection is under way until it is made.
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        show("not connected", recv(c, null_mut(), 1, 0) as i64);
        let done = connect(c, (&raw const addr).cast(), LEN);
        println!("{}", done == 0 || errno() == EINPROGRESS);
        let a = accept(s, null_mut(), null_mut());
        in_vain(c, 0);
        write(a, c"hello".as_ptr().cast(), 5);
        println!("{:?}", got(c, 0));
    }
}

fn flags(_: &str) {
    unsafe {
        let ((a, to), (b, _)) = (bound(SOCK_NONBLOCK), bound(0));
        in_vain(a, 0);
        fcntl(a, F_SETFL, 0);
        in_vain(a, MSG_DONTWAIT);
        let reader = asleep(move || got(a, 0));
        send_to(b, &to, b"woken");
        println!("{:?}", reader.join().unwrap());
        let time = timeval { tv_sec: 0, tv_usec: 10_000 };
        setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw const time).cast(), size_of::<timeval>() as u32);
        for _ in 0..20 {
            let mut before: timespec = zeroed();
            clock_gettime(CLOCK_MONOTONIC, &mut before);
            assert_eq!(got(a, 0), None);
            let mut after: timespec = zeroed();
            clock_gettime(CLOCK_MONOTONIC, &mut after);
            let waited = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
            assert!(waited >= 9_000_000, "{waited}");
        }
        let mut on: c_int = 1;
        ioctl(a, FIONBIO, &mut on);
        in_vain(a, 0);
        let again = dup(a);
        in_vain(again, 0);
        fcntl(again, F_SETFL, 0);
        let reader = asleep(move || got(a, 0));
        println!("time limit: {:?}", reader.join().unwrap());
    }
}

fn errors(_: &str) {
    unsafe {
        let ((a, _), (b, nobody)) = (bound(SOCK_NONBLOCK), bound(0));
        close(b);
        in_vain(a, 0);
        show("connect", connect(a, (&raw const nobody).cast(), LEN));
        in_vain(a, 0);
        show("send to nobody", send(a, c"x".as_ptr().cast(), 1, 0) as i64);
        println!("{:#x}", looked(a).1);
        show("refused", recv(a, null_mut(), 1, 0) as i64);
        in_vain(a, 0);
        show("wrong call", accept(a, null_mut(), null_mut()));
        show("shutdown", shutdown(a, SHUT_RD));
        println!("{:#x}", looked(a).1);
        let ((r, _), (c, _)) = (connected(), connected());
        fcntl(r, F_SETFL, O_NONBLOCK);
        in_vain(r, 0);
        show("accept of a connection", accept(r, null_mut(), null_mut()));
        show("listen", listen(r, 1));
        show("bad flags", recv(r, null_mut(), 1, MSG_OOB) as i64);
        close(c);
    }
}

fn numbers(_: &str) {
    unsafe {
        let ((a, to_a), (b, to_b)) = (bound(SOCK_NONBLOCK), bound(SOCK_NONBLOCK));
        in_vain(a, 0);
        send_to(a, &to_b, b"for b");
        // The number is another socket's now, of which something is known too.
        dup2(b, a);
        println!("{:?} {:?}", got(a, 0), got(a, 0));
        in_vain(a, 0);
        in_vain(b, 0);
        send_to(b, &to_b, b"again");
        println!("{:?} {:?}", looked(a), looked(b));
        close(a);
        show("closed", recv(a, null_mut(), 1, 0) as i64);
        let fresh = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        show("the same number", i64::from(fresh == a));
        show("another kind", recv(fresh, null_mut(), 1, 0) as i64);
        // Many come and go.
        for _ in 0..40 {
            let (fd, to) = bound(SOCK_NONBLOCK);
            in_vain(fd, 0);
            send_to(b, &to, b"x");
            assert_eq!((looked(fd), got(fd, 0)), ((1, POLLIN), Some(1)));
            close(fd);
        }
        let gone = socket(AF_INET, SOCK_DGRAM, 0);
        send_to(gone, &to_a, b"to nobody");
        println!("done");
    }
}

fn pipes(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let r = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let w = open(name.as_ptr(), O_WRONLY);
        let mut buf = [0u8; 9];
        for round in 0..5 {
            for _ in 0..MANY {
                assert_eq!((read(r, buf.as_mut_ptr().cast(), 9), errno()), (-1, EAGAIN));
                assert_eq!((looked(r), looked(w)), ((0, 0), (0, 0)));
                assert_eq!(recv(r, buf.as_mut_ptr().cast(), 9, 0), -1);
                assert_eq!(errno(), ENOTSOCK);
            }
            write(w, c"x".as_ptr().cast(), 1);
            println!("{round}: {:?} {}", looked(r), read(r, buf.as_mut_ptr().cast(), 9));
        }
        close(w);
        println!("{:#x} {}", looked(r).1, read(r, buf.as_mut_ptr().cast(), 9));
        let w = open(name.as_ptr(), O_WRONLY);
        println!("{:?} {}", looked(r), read(r, buf.as_mut_ptr().cast(), 9));
        close(w);
    }
}

fn local(_: &str) {
    unsafe {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            let mut ends = [0; 2];
            assert_eq!(socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, ends.as_mut_ptr()), 0);
            let [a, b] = ends;
            for _ in 0..5 {
                in_vain(a, 0);
                write(b, c"x".as_ptr().cast(), 1);
                println!("{:?} {:?} {:?}", looked(a), got(a, 0), got(a, 0));
            }
            in_vain(a, 0);
            close(b);
            println!("{:#x} {:?}", looked(a).1, got(a, 0));
        }
    }
}

/// What another process has done is seen by who was told of it in another way.
fn from_outside(_: &str) {
    unsafe {
        let (a, to) = bound(SOCK_NONBLOCK);
        let (c, s) = connected();
        fcntl(s, F_SETFL, O_NONBLOCK);
        let (mut tell, mut go) = ([0; 2], [0; 2]);
        pipe(tell.as_mut_ptr());
        pipe(go.as_mut_ptr());
        const ROUNDS: usize = 300;
        let child = fork();
        if child == 0 {
            let b = socket(AF_INET, SOCK_DGRAM, 0);
            let mut byte = 0u8;
            for n in 0..ROUNDS {
                assert_eq!(read(go[0], (&raw mut byte).cast(), 1), 1);
                match n % 2 {
                    0 => send_to(b, &to, b"x"),
                    _ => assert_eq!(write(c, c"x".as_ptr().cast(), 1), 1),
                }
                write(tell[1], c"x".as_ptr().cast(), 1);
            }
            _exit(0);
        }
        in_vain(a, 0);
        in_vain(s, 0);
        let mut byte = 0u8;
        for n in 0..ROUNDS {
            let fd = if n % 2 == 0 { a } else { s };
            assert_eq!((got(fd, 0), looked(fd)), (None, (0, 0)));
            write(go[1], c"x".as_ptr().cast(), 1);
            assert_eq!(read(tell[0], (&raw mut byte).cast(), 1), 1);
            if n % 3 == 0 {
                assert_eq!(looked(fd), (1, POLLIN), "{n}");
            }
            assert_eq!(got(fd, 0), Some(1), "{n}");
        }
        println!("all");
        ended("child", child);
    }
}

/// Several ask at once while it comes and goes.
fn threads(_: &str) {
    unsafe {
        let ((a, to), (b, _)) = (bound(SOCK_NONBLOCK), bound(0));
        const EACH: usize = 3000;
        let askers = [(); 3].map(|()| {
            std::thread::spawn(move || {
                let mut heard = 0;
                loop {
                    looked(a);
                    match got(a, 0) {
                        Some(5) => return heard,
                        Some(_) => heard += 1,
                        None => std::thread::yield_now(),
                    }
                }
            })
        });
        for n in 0..EACH {
            send_to(b, &to, b"x");
            if n % 50 == 0 {
                usleep(200);
            }
            // No more than there is room for.
            while n % 20 == 0 && looked(a).0 > 0 {
                std::thread::yield_now();
            }
        }
        (0..3).for_each(|_| send_to(b, &to, b"leave"));
        let heard: usize = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        println!("nothing is lost: {}", heard == EACH);
    }
}
