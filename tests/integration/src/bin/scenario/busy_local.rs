//! AF_UNIX streams on which much has been read and written, and then all that is not plain reading and writing: what programs moved
//! themselves until then comes together with what the kernel does.

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_local_calls", LocalSockets, every_call),
    ("busy_local_rights", LocalSockets, rights),
    ("busy_local_credentials", LocalSockets, credentials),
    ("busy_local_ends", LocalSockets, ends),
    ("busy_local_waits", LocalSockets, waits),
    ("busy_local_edges", LocalSockets, edges),
    ("busy_local_full", LocalSockets, full),
    ("busy_local_by_name", LocalSockets, by_name),
    ("busy_local_between_processes", LocalSockets, between_processes),
    ("busy_local_threads", LocalSockets, threads),
    ("busy_local_signals", LocalSockets, signals),
    ("busy_local_ping_pong", LocalSockets, ping_pong),
];

/// Two ends on which much went to and fro.
unsafe fn busy() -> (c_int, c_int) {
    unsafe {
        let (a, b) = pair();
        rounds(a, b, 60);
        (a, b)
    }
}

unsafe fn pair() -> (c_int, c_int) {
    unsafe {
        let mut ends = [0; 2];
        assert_eq!(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()), 0);
        (ends[0], ends[1])
    }
}

/// Sends to and fro within this process.
unsafe fn rounds(a: c_int, b: c_int, count: usize) {
    unsafe {
        for n in 0..count {
            for (from, to) in [(a, b), (b, a)] {
                let said: Vec<u8> = (0..=n).map(|at| (at * 7 + n) as u8).collect();
                assert_eq!(write(from, said.as_ptr().cast(), said.len()), said.len() as isize);
                let mut heard = vec![0u8; said.len() + 9];
                assert_eq!(read(to, heard.as_mut_ptr().cast(), heard.len()), said.len() as isize);
                assert_eq!(&heard[..said.len()], said);
            }
        }
    }
}

unsafe fn say(what: &str, fd: c_int, data: &[u8]) {
    unsafe { show(what, write(fd, data.as_ptr().cast(), data.len()) as i64) };
}

/// Prints what a recv(2) gives.
unsafe fn hear(what: &str, fd: c_int, room: usize, flags: c_int) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = recv(fd, buf.as_mut_ptr().cast(), room, flags);
        show(what, got as i64);
        println!("{}", buf[..got.clamp(0, 40) as usize].escape_ascii());
    }
}

unsafe fn unblock(fd: c_int, on: bool) {
    unsafe {
        let flags = fcntl(fd, F_GETFL) & !O_NONBLOCK;
        assert_eq!(fcntl(fd, F_SETFL, flags | if on { O_NONBLOCK } else { 0 }), 0);
    }
}

unsafe fn ready(what: &str, fd: c_int) {
    unsafe {
        let mut look = pollfd { fd, events: POLLIN | POLLOUT | POLLPRI | POLLRDHUP, revents: 0 };
        show(what, i64::from(poll(&mut look, 1, 0)));
        println!("{:#x}", look.revents);
    }
}

unsafe fn option(fd: c_int, name: c_int, value: c_int) {
    unsafe {
        let done = setsockopt(fd, SOL_SOCKET, name, (&raw const value).cast(), 4);
        show(&format!("option {name}"), i64::from(done));
    }
}

fn every_call(_: &str) {
    unsafe {
        let (a, b) = busy();
        say("write", a, b"one two three four five six");
        hear("peek", b, 3, MSG_PEEK);
        hear("recv", b, 4, 0);
        let mut left: c_int = -1;
        show("FIONREAD", i64::from(ioctl(b, FIONREAD, &mut left)));
        println!("{left}");
        let mut parts = [[0u8; 3], [0u8; 3]];
        let mut vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(b, vector.as_ptr(), 2) as i64);
        println!("{}", parts.concat().escape_ascii());
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_mut_ptr(), 2);
        show("recvmsg", recvmsg(b, &mut header, 0) as i64);
        println!("{}", parts.concat().escape_ascii());
        hear("recv", b, 5, MSG_WAITALL);
        hear("recv", b, 100, MSG_DONTWAIT);
        hear("recv", b, 100, MSG_DONTWAIT);
        let words = [&b"seven"[..], b"", b" eight"];
        let vector = words.map(|word| iovec { iov_base: word.as_ptr().cast_mut().cast(), iov_len: word.len() });
        show("writev", writev(a, vector.as_ptr(), 3) as i64);
        show("send", send(a, c" nine".as_ptr().cast(), 5, MSG_NOSIGNAL | MSG_DONTWAIT) as i64);
        show("nothing", write(a, null(), 0) as i64);
        hear("all", b, 100, 0);
        show("from nowhere", write(a, 16 as *const c_void, 10) as i64);
        rounds(a, b, 60);
        ready("ready", b);
    }
}

/// Sends a byte or more with a descriptor.
unsafe fn pass(to: c_int, data: &[u8], fd: c_int) -> isize {
    unsafe {
        let mut space = [0u64; 4];
        let part = iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw const part as *mut iovec, 1);
        (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), CMSG_SPACE(4) as usize);
        let control = CMSG_FIRSTHDR(&header);
        ((*control).cmsg_level, (*control).cmsg_type, (*control).cmsg_len) =
            (SOL_SOCKET, SCM_RIGHTS, CMSG_LEN(4) as usize);
        CMSG_DATA(control).cast::<c_int>().write_unaligned(fd);
        sendmsg(to, &header, 0)
    }
}

/// Receives up to `room` bytes and perhaps a descriptor.
unsafe fn take(from: c_int, room: usize) -> (isize, c_int) {
    unsafe {
        let (mut space, mut buf) = ([0u64; 4], vec![0u8; room]);
        let part = iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: room };
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw const part as *mut iovec, 1);
        (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), 32);
        let got = recvmsg(from, &mut header, 0);
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
        let control = CMSG_FIRSTHDR(&header);
        if control.is_null() { (got, -1) } else { (got, CMSG_DATA(control).cast::<c_int>().read_unaligned()) }
    }
}

fn rights(_: &str) {
    unsafe {
        let (a, b) = busy();
        for round in 0..3 {
            let (one, other) = pair();
            say("before", a, b"before");
            show("with a descriptor", pass(a, b"with", one) as i64);
            say("after", a, b"after");
            hear("before", b, 6, 0);
            let (_, fd) = take(b, 100);
            println!("a descriptor came: {}", fd >= 0);
            hear("after", b, 100, 0);
            close(one);
            rounds(fd, other, 30);
            rounds(a, b, 30 + 20 * round);
        }
        // An end of a busy stream itself.
        let (one, other) = busy();
        say("unread", other, b"for who gets it");
        show("with a descriptor", pass(a, b"!", one) as i64);
        close(one);
        let (_, fd) = take(b, 10);
        hear("by the new number", fd, 50, 0);
        rounds(fd, other, 60);
    }
}

fn credentials(_: &str) {
    unsafe {
        let (a, b) = busy();
        say("nobody asks yet", a, b"first");
        hear("recv", b, 9, 0);
        for round in 0..3 {
            option(b, SO_PASSCRED, 1);
            say("write", a, b"who");
            let (mut space, mut buf) = ([0u64; 8], [0u8; 16]);
            let part = iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 16 };
            let mut header: msghdr = zeroed();
            (header.msg_iov, header.msg_iovlen) = (&raw const part as *mut iovec, 1);
            (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), 64);
            show("recvmsg", recvmsg(b, &mut header, 0) as i64);
            let control = CMSG_FIRSTHDR(&header);
            println!("told: {}", !control.is_null() && (*control).cmsg_type == SCM_CREDENTIALS);
            let told = CMSG_DATA(control).cast::<ucred>().read_unaligned();
            println!("user {} group {}", told.uid, told.gid);
            option(b, SO_PASSCRED, 0);
            rounds(a, b, 30 * round);
        }
        let (mut peer, mut len): (ucred, _) = (zeroed(), size_of::<ucred>() as socklen_t);
        show("the peer", getsockopt(a, SOL_SOCKET, SO_PEERCRED, (&raw mut peer).cast(), &mut len));
        println!("{}", peer.uid);
    }
}

fn ends(_: &str) {
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        let (a, b) = busy();
        say("write", a, b"last words");
        show("shutdown", i64::from(shutdown(a, SHUT_WR)));
        say("write", a, b"x");
        ready("the other end", b);
        hear("recv", b, 4, 0);
        hear("recv", b, 40, 0);
        hear("end", b, 40, 0);
        say("back", b, b"still open");
        hear("recv", a, 40, 0);
        close(b);
        hear("end", a, 40, 0);
        say("write", a, b"x");

        let (a, b) = busy();
        say("unread", a, b"what nobody reads");
        close(b);
        ready("reset", a);
        hear("recv", a, 10, 0);
        hear("recv", a, 10, 0);
        say("write", a, b"x");

        let (a, b) = busy();
        say("write", a, b"what was sent");
        close(a);
        hear("recv", b, 100, 0);
        hear("end", b, 100, 0);

        let (a, b) = busy();
        show("no more reading", i64::from(shutdown(b, SHUT_RD)));
        say("broken", a, b"x");
        hear("end", b, 10, 0);
        say("the other way", b, b"goes on");
        hear("recv", a, 10, 0);

        let (a, b) = busy();
        let reader = asleep(move || {
            let mut byte = 0u8;
            recv(b, (&raw mut byte).cast(), 1, 0)
        });
        show("shutdown", i64::from(shutdown(a, SHUT_RDWR)));
        show("a sleeper sees the end", reader.join().unwrap() as i64);
    }
}

fn waits(_: &str) {
    unsafe {
        let (a, b) = busy();
        ready("nothing", b);
        say("write", a, b"x");
        ready("a byte", b);
        hear("recv", b, 9, 0);
        let set = epoll_create1(0);
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
        epoll_ctl(set, EPOLL_CTL_ADD, b, &mut event);
        let look = |what: &str, limit: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            show(what, i64::from(epoll_wait(set, found.as_mut_ptr(), 4, limit)));
        };
        for _ in 0..20 {
            look("not yet", 0);
            say("write", a, b"xy");
            look("level", 5000);
            hear("recv", b, 1, 0);
            look("level still", 5000);
            hear("recv", b, 9, 0);
        }
        for round in 0..20 {
            let reader = asleep(move || {
                let mut look = pollfd { fd: b, events: POLLIN, revents: 0 };
                poll(&mut look, 1, 10_000)
            });
            assert_eq!(write(a, c"z".as_ptr().cast(), 1), 1);
            let woken = reader.join().unwrap();
            let mut byte = 0u8;
            assert_eq!((woken, read(b, (&raw mut byte).cast(), 1)), (1, 1), "{round}");
            let reader = asleep(move || {
                let mut byte = 0u8;
                read(b, (&raw mut byte).cast(), 1)
            });
            assert_eq!(write(a, c"z".as_ptr().cast(), 1), 1);
            assert_eq!(reader.join().unwrap(), 1);
        }
        let time = timeval { tv_sec: 0, tv_usec: 20_000 };
        setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, (&raw const time).cast(), size_of::<timeval>() as u32);
        hear("time limit", b, 20, 0);
        rounds(a, b, 40);
        unblock(b, true);
        for _ in 0..40 {
            hear("nothing", b, 9, 0);
            ready("but room", b);
        }
        rounds(a, b, 30);
        unblock(b, false);
        hear("time limit", b, 20, 0);
    }
}

/// A watcher of edges hears of everything that comes.
fn edges(_: &str) {
    unsafe {
        let (a, b) = busy();
        unblock(b, true);
        let (set, mut event) = (epoll_create1(0), epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 1 });
        epoll_ctl(set, EPOLL_CTL_ADD, b, &mut event);
        let look = |what: &str, limit: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            show(what, i64::from(epoll_wait(set, found.as_mut_ptr(), 4, limit)));
        };
        for _ in 0..30 {
            look("no edge", 0);
            say("write", a, b"edge");
            look("edge", 5000);
            look("no edge", 0);
            say("write", a, b"more");
            look("edge", 5000);
            hear("some", b, 3, 0);
            look("no edge", 0);
            hear("the rest", b, 9, 0);
            hear("nothing", b, 9, 0);
        }
        let child = fork();
        if child == 0 {
            for n in 0..200u32 {
                usleep(n % 7 * 50);
                assert_eq!(write(a, (&raw const n).cast(), 4), 4);
            }
            _exit(0);
        }
        let mut got = 0;
        while got < 800 {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            assert_eq!(epoll_wait(set, found.as_mut_ptr(), 4, 20_000), 1, "{got}");
            loop {
                let mut buf = [0u8; 64];
                let now = read(b, buf.as_mut_ptr().cast(), buf.len());
                if now < 0 {
                    break;
                }
                got += now;
            }
        }
        println!("all: {got}");
        ended("child", child);
    }
}

fn full(_: &str) {
    unsafe {
        let (a, b) = busy();
        unblock(a, true);
        let (mut sent, data) = (0usize, vec![b'd'; 3000]);
        loop {
            let put = write(a, data.as_ptr().cast(), data.len());
            if put < 0 {
                println!("full: {}", errno() == EAGAIN);
                break;
            }
            sent += put as usize;
        }
        println!("much: {}", sent > 50_000);
        let mut look = pollfd { fd: a, events: POLLOUT, revents: 0 };
        println!("room: {}", poll(&mut look, 1, 0));
        let waiter = asleep(move || {
            let mut look = pollfd { fd: a, events: POLLOUT, revents: 0 };
            poll(&mut look, 1, 10_000)
        });
        let (mut got, mut buf) = (0usize, vec![0u8; 50_000]);
        while got < sent {
            got += recv(b, buf.as_mut_ptr().cast(), buf.len(), 0) as usize;
        }
        println!("room again: {}", waiter.join().unwrap());
        unblock(a, false);
        let data = vec![9u8; 3 << 20];
        let writer = std::thread::spawn(move || write(a, data.as_ptr().cast(), data.len()));
        let mut got = 0;
        while got < 3 << 20 {
            got += recv(b, buf.as_mut_ptr().cast(), buf.len(), 0);
        }
        println!("one write: {} {got}", writer.join().unwrap());
        option(a, SO_SNDBUF, 8192);
        rounds(a, b, 60);
    }
}

fn by_name(folder: &str) {
    unsafe {
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        let mut addr: sockaddr_un = zeroed();
        addr.sun_family = AF_UNIX as u16;
        let name = path(folder, "socket");
        addr.sun_path.iter_mut().zip(name.as_bytes_with_nul()).for_each(|(to, from)| *to = *from as c_char);
        let len = (2 + name.as_bytes_with_nul().len()) as socklen_t;
        show("bind", i64::from(bind(s, (&raw const addr).cast(), len)));
        show("listen", i64::from(listen(s, 5)));
        let c = socket(AF_UNIX, SOCK_STREAM, 0);
        show("connect", i64::from(connect(c, (&raw const addr).cast(), len)));
        let a = accept(s, null_mut(), null_mut());
        rounds(c, a, 60);
        let again = dup(a);
        say("write", c, b"twice");
        hear("by the copy", again, 2, 0);
        hear("by the first", a, 9, 0);
        close(a);
        rounds(c, again, 60);
        let child = fork();
        if child == 0 {
            for _ in 0..60 {
                let mut byte = 0u8;
                assert_eq!(read(again, (&raw mut byte).cast(), 1), 1);
                write(again, (&raw const byte).cast(), 1);
            }
            _exit(0);
        }
        for n in 0..60u8 {
            let mut byte = 0u8;
            assert_eq!((write(c, (&raw const n).cast(), 1), read(c, (&raw mut byte).cast(), 1)), (1, 1));
            assert_eq!(byte, n);
        }
        ended("child", child);
        rounds(c, again, 60);
    }
}

/// What is at a place of a stream.
fn byte(at: usize) -> u8 {
    (at * 31 + (at >> 9)) as u8
}

fn between_processes(_: &str) {
    unsafe {
        let (a, b) = pair();
        const TOTAL: usize = 4 << 20;
        let child = fork();
        if child == 0 {
            close(b);
            let (mut at, mut size) = (0, 1);
            while at < TOTAL {
                size = (size * 7 + 13) % 150_000;
                let data: Vec<u8> = (at..TOTAL.min(at + size)).map(byte).collect();
                let put = match size % 3 {
                    0 => send(a, data.as_ptr().cast(), data.len(), MSG_NOSIGNAL),
                    1 => send(a, data.as_ptr().cast(), data.len(), MSG_DONTWAIT),
                    _ => write(a, data.as_ptr().cast(), data.len()),
                };
                at += put.max(0) as usize;
            }
            shutdown(a, SHUT_WR);
            let mut answer = 0u8;
            let got = read(a, (&raw mut answer).cast(), 1);
            _exit(if got == 1 { answer.into() } else { 99 });
        }
        close(a);
        let (mut at, mut size, mut buf) = (0, 1, vec![0u8; 200_000]);
        loop {
            size = (size * 5 + 11) % 180_000;
            let room = size.max(1);
            let got = match size % 5 {
                1 => recv(b, buf.as_mut_ptr().cast(), room, MSG_DONTWAIT),
                2 => {
                    let mut look = pollfd { fd: b, events: POLLIN, revents: 0 };
                    poll(&mut look, 1, -1);
                    continue;
                }
                _ => read(b, buf.as_mut_ptr().cast(), room),
            };
            if got < 0 {
                assert_eq!(errno(), EAGAIN);
                continue;
            }
            let got = got as usize;
            assert!(buf[..got].iter().enumerate().all(|(n, seen)| *seen == byte(at + n)), "at {at}");
            at += got;
            if got == 0 {
                break;
            }
        }
        println!("all: {}", at == TOTAL);
        write(b, c"\x07".as_ptr().cast(), 1);
        ended("child", child);
    }
}

fn threads(_: &str) {
    unsafe {
        let (a, b) = busy();
        const EACH: usize = 300_000;
        let writers = [1u8, 2, 3].map(|mark| {
            std::thread::spawn(move || {
                let (data, mut sent) = ([mark; 900], 0);
                while sent < EACH {
                    sent += write(a, data.as_ptr().cast(), data.len().min(EACH - sent)) as usize;
                }
            })
        });
        let readers = [(); 3].map(|()| {
            std::thread::spawn(move || {
                let (mut sum, mut buf) = (0u64, [0u8; 700]);
                loop {
                    match read(b, buf.as_mut_ptr().cast(), buf.len()) {
                        len @ 1.. => sum += buf[..len as usize].iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                        _ => return sum,
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        shutdown(a, SHUT_WR);
        let sum: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        println!("nothing is lost: {}", sum == 6 * EACH as u64);
    }
}

extern "C" fn nothing(_: c_int) {}

fn signals(_: &str) {
    unsafe {
        let (a, b) = busy();
        let mut action: sigaction = zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        sigaction(SIGUSR1, &action, null_mut());
        let parent = getpid();
        for _ in 0..10 {
            let child = fork();
            if child == 0 {
                until_asleep(parent, parent);
                kill(parent, SIGUSR1);
                _exit(0);
            }
            let mut byte = 0u8;
            show("interrupted", read(b, (&raw mut byte).cast(), 1) as i64);
            waitpid(child, null_mut(), 0);
        }
        rounds(a, b, 60);
    }
}

/// Both sides sleep in turns, now and then for longer: nobody is left asleep.
fn ping_pong(_: &str) {
    unsafe {
        let (a, b) = pair();
        const ROUNDS: u32 = 3000;
        let pause = |n: u32| {
            if n.is_multiple_of(7) {
                usleep(n % 13 * 20);
            }
        };
        let child = fork();
        if child == 0 {
            for n in 0..ROUNDS {
                let mut word = 0u32;
                assert_eq!(read(b, (&raw mut word).cast(), 4), 4);
                pause(n * 3);
                assert_eq!(write(b, (&raw const word).cast(), 4), 4);
            }
            _exit(5);
        }
        for n in 0..ROUNDS {
            assert_eq!(write(a, (&raw const n).cast(), 4), 4);
            pause(n);
            let mut word = 0u32;
            assert_eq!(read(a, (&raw mut word).cast(), 4), 4);
            assert_eq!(word, n);
        }
        ended("child", child);
    }
}
