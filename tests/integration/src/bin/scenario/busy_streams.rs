//! TCP connections on which much has been read and written, and then all that is not plain reading and writing: what programs moved
//! themselves until then comes together with what the kernel does.

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_stream_calls", OneProcess, every_call),
    ("busy_stream_waits", OneProcess, waits),
    ("busy_stream_edges_around_levels", OneProcess, edges_around_levels),
    ("busy_stream_ends", OneProcess, ends),
    ("busy_stream_options", OneProcess, options),
    ("busy_stream_urgent", OneProcess, urgent),
    ("busy_stream_bad_memory", OneProcess, bad_memory),
    ("busy_stream_numbers", OneProcess, numbers),
    ("busy_stream_full", OneProcess, full),
    ("busy_stream_between_processes", Processes, between_processes),
    ("busy_stream_of_several", Processes, of_several),
    ("busy_stream_over_exec_and_fork", Processes, over_fork),
    ("busy_stream_threads", OneProcess, threads),
    ("busy_stream_signals", Processes, signals),
];

/// Whether the next byte is the urgent one (sockatmark(3)).
const SIOCATMARK: u64 = 0x8905;

/// Both ends of a connection on which much went to and fro.
unsafe fn busy() -> (c_int, c_int) {
    unsafe {
        let (c, a) = connected();
        rounds(c, a, 60);
        (c, a)
    }
}

/// Sends to and fro within this process.
unsafe fn rounds(c: c_int, a: c_int, count: usize) {
    unsafe {
        for n in 0..count {
            for (from, to) in [(c, a), (a, c)] {
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
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
    }
}

unsafe fn number(what: &str, fd: c_int, command: u64) {
    unsafe {
        let mut value: c_int = -1;
        show(what, i64::from(ioctl(fd, command, &mut value)));
        println!("{value}");
    }
}

/// Waits until an event has come: the host may take its time.
unsafe fn comes(fd: c_int, events: c_short) {
    unsafe {
        let mut look = pollfd { fd, events, revents: 0 };
        assert_eq!(poll(&mut look, 1, 10_000), 1);
    }
}

unsafe fn ready(what: &str, fd: c_int) {
    unsafe {
        let mut look = pollfd { fd, events: POLLIN | POLLOUT | POLLPRI | POLLRDHUP, revents: 0 };
        show(what, i64::from(poll(&mut look, 1, 0)));
        println!("{:#x}", look.revents);
    }
}

unsafe fn option(fd: c_int, level: c_int, name: c_int, value: c_int) {
    unsafe {
        let done = setsockopt(fd, level, name, (&raw const value).cast(), 4);
        show(&format!("option {name}"), i64::from(done));
    }
}

fn every_call(_: &str) {
    unsafe {
        let (c, a) = busy();
        say("write", c, b"one two three four five six");
        hear("peek", a, 3, MSG_PEEK);
        hear("recv", a, 4, 0);
        number("FIONREAD", a, FIONREAD);
        let mut parts = [[0u8; 3], [0u8; 3]];
        let mut vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(a, vector.as_ptr(), 2) as i64);
        println!("{}", parts.concat().escape_ascii());
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_mut_ptr(), 2);
        show("recvmsg", recvmsg(a, &mut header, 0) as i64);
        println!("{}", parts.concat().escape_ascii());
        hear("recv", a, 5, MSG_WAITALL);
        hear("recv", a, 100, MSG_DONTWAIT);
        hear("recv", a, 100, MSG_DONTWAIT);
        show("nothing", read(a, null_mut(), 0) as i64);
        let words = [&b"seven"[..], b"", b" eight"];
        let vector = words.map(|word| iovec { iov_base: word.as_ptr().cast_mut().cast(), iov_len: word.len() });
        show("writev", writev(c, vector.as_ptr(), 3) as i64);
        show("send", send(c, c" nine".as_ptr().cast(), 5, MSG_NOSIGNAL | MSG_DONTWAIT) as i64);
        show("more", send(c, c" ten".as_ptr().cast(), 4, MSG_MORE) as i64);
        show("nothing", write(c, null(), 0) as i64);
        say("write", c, b".");
        hear("all", a, 100, 0);
        rounds(c, a, 40);
        ready("ready", a);
    }
}

fn waits(_: &str) {
    unsafe {
        let (c, a) = busy();
        ready("nothing", a);
        say("write", c, b"x");
        comes(a, POLLIN);
        ready("a byte", a);
        hear("recv", a, 9, 0);
        let set = epoll_create1(0);
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
        epoll_ctl(set, EPOLL_CTL_ADD, a, &mut event);
        let look = |what: &str, limit: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            show(what, i64::from(epoll_wait(set, found.as_mut_ptr(), 4, limit)));
        };
        for _ in 0..20 {
            look("not yet", 0);
            say("write", c, b"xy");
            look("level", 5000);
            look("level again", 5000);
            hear("recv", a, 1, 0);
            look("level still", 5000);
            hear("recv", a, 9, 0);
        }
        for round in 0..20 {
            let reader = asleep(move || {
                let mut look = pollfd { fd: a, events: POLLIN, revents: 0 };
                poll(&mut look, 1, 10_000)
            });
            assert_eq!(write(c, c"z".as_ptr().cast(), 1), 1);
            let woken = reader.join().unwrap();
            let mut byte = 0u8;
            assert_eq!((woken, read(a, (&raw mut byte).cast(), 1)), (1, 1), "{round}");
            let reader = asleep(move || {
                let mut byte = 0u8;
                read(a, (&raw mut byte).cast(), 1)
            });
            assert_eq!(write(c, c"z".as_ptr().cast(), 1), 1);
            assert_eq!(reader.join().unwrap(), 1);
        }
        // One call that the kernel does itself, and then others that it need not see.
        let message = |len: usize| {
            let part = iovec { iov_base: c"0123456789".as_ptr().cast_mut().cast(), iov_len: len };
            let mut header: msghdr = zeroed();
            (header.msg_iov, header.msg_iovlen) = (&raw const part as *mut iovec, 1);
            assert_eq!(sendmsg(c, &header, 0), len as isize);
        };
        let mut room = [0u8; 16];
        for round in 0..20 {
            message(10);
            assert_eq!(recv(a, room.as_mut_ptr().cast(), 16, 0), 10);
            let waiter = asleep(move || {
                let mut found = [epoll_event { events: 0, u64: 0 }; 4];
                epoll_wait(set, found.as_mut_ptr(), 4, 10_000)
            });
            message(1 + round % 5);
            assert_eq!(waiter.join().unwrap(), 1, "{round}");
            assert_eq!(recv(a, room.as_mut_ptr().cast(), 16, 0), 1 + (round % 5) as isize);
        }
        message(10);
        assert_eq!(recv(a, room.as_mut_ptr().cast(), 16, 0), 10);
        event.events = (EPOLLIN | EPOLLET) as u32;
        epoll_ctl(set, EPOLL_CTL_MOD, a, &mut event);
        for _ in 0..20 {
            say("write", c, b"edge");
            look("edge", 5000);
            look("no edge", 0);
            say("write", c, b"more");
            look("edge", 5000);
            hear("recv", a, 3, 0);
            look("no edge", 0);
        }
        hear("the rest", a, 200, 0);
        rounds(c, a, 60);
        look("edge", 0);
        look("no edge", 0);
    }
}

fn ends(_: &str) {
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        let (c, a) = busy();
        say("write", c, b"last words");
        show("shutdown", i64::from(shutdown(c, SHUT_WR)));
        say("write", c, b"x");
        comes(a, POLLRDHUP);
        ready("the other end", a);
        hear("recv", a, 4, 0);
        hear("recv", a, 40, 0);
        hear("end", a, 40, 0);
        say("back", a, b"still open");
        hear("recv", c, 40, 0);
        close(a);
        hear("end", c, 40, 0);
        say("write", c, b"x");

        let (c, a) = busy();
        say("unread", c, b"what nobody reads");
        close(a);
        comes(c, POLLHUP);
        ready("reset", c);
        hear("recv", c, 10, 0);
        hear("recv", c, 10, 0);
        say("write", c, b"x");

        let (c, a) = busy();
        say("write", c, b"before the reset");
        let linger = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), size_of::<linger>() as u32);
        close(c);
        hear("recv", a, 100, 0);
        hear("recv", a, 100, 0);

        let (c, a) = busy();
        let reader = asleep(move || {
            let mut byte = 0u8;
            recv(a, (&raw mut byte).cast(), 1, 0)
        });
        show("shutdown", i64::from(shutdown(c, SHUT_RDWR)));
        show("a sleeper sees the end", reader.join().unwrap() as i64);
    }
}

fn options(_: &str) {
    unsafe {
        let (c, a) = busy();
        option(a, SOL_SOCKET, SO_RCVLOWAT, 5);
        say("write", c, b"abc");
        ready("less than wanted", a);
        hear("recv", a, 9, MSG_DONTWAIT);
        say("write", c, b"defgh");
        comes(a, POLLIN);
        ready("enough", a);
        hear("recv", a, 9, 0);
        option(a, SOL_SOCKET, SO_RCVLOWAT, 1);
        rounds(c, a, 60);
        option(c, IPPROTO_TCP, TCP_NODELAY, 1);
        rounds(c, a, 60);
        option(c, IPPROTO_TCP, TCP_CORK, 1);
        say("corked", c, b"held back");
        hear("recv", a, 20, MSG_DONTWAIT);
        option(c, IPPROTO_TCP, TCP_CORK, 0);
        hear("recv", a, 20, 0);
        rounds(c, a, 60);
        option(c, SOL_SOCKET, SO_SNDBUF, 8192);
        option(a, SOL_SOCKET, SO_RCVBUF, 8192);
        rounds(c, a, 60);
        let time = timeval { tv_sec: 0, tv_usec: 20_000 };
        setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw const time).cast(), size_of::<timeval>() as u32);
        rounds(c, a, 60);
        hear("time limit", a, 20, 0);
        option(c, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000);
        rounds(c, a, 60);
        number("FIONREAD", a, FIONREAD);
        say("write", c, b"12345");
        comes(a, POLLIN);
        number("FIONREAD", a, FIONREAD);
        let flags = fcntl(a, F_GETFL);
        fcntl(a, F_SETFL, flags | O_NONBLOCK);
        hear("recv", a, 20, 0);
        hear("recv", a, 20, 0);
        let mut off: c_int = 0;
        ioctl(a, FIONBIO, &mut off);
        say("write", c, b"6789");
        hear("recv", a, 20, 0);
    }
}

fn urgent(_: &str) {
    unsafe {
        let (c, a) = busy();
        for round in 0..3 {
            say("write", c, b"plain");
            show("urgent", send(c, c"uR".as_ptr().cast(), 2, MSG_OOB) as i64);
            say("write", c, b"behind");
            comes(a, POLLPRI);
            comes(a, POLLIN);
            ready("urgent", a);
            number("at mark", a, SIOCATMARK);
            hear("up to it", a, 40, 0);
            number("at mark", a, SIOCATMARK);
            hear("out of band", a, 4, MSG_OOB);
            hear("behind it", a, 40, 0);
            number("at mark", a, SIOCATMARK);
            rounds(c, a, 20 * round);
        }
        rounds(c, a, 60);
    }
}

fn bad_memory(_: &str) {
    unsafe {
        let (c, a) = busy();
        let nowhere = 16 as *mut c_void;
        show("write from nowhere", write(c, nowhere, 10) as i64);
        say("write", c, b"good");
        hear("recv", a, 10, 0);
        let page = mmap(null_mut(), 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).cast::<u8>();
        munmap(page.add(4096).cast(), 4096);
        page.add(4090).copy_from(c"sixbyt".as_ptr().cast(), 6);
        show("write up to the edge", write(c, page.add(4090).cast(), 6) as i64);
        hear("recv", a, 10, 0);
        rounds(c, a, 10);
    }
}

fn numbers(_: &str) {
    unsafe {
        let (c, a) = busy();
        let (other, its) = connected();
        let again = dup(a);
        say("write", c, b"twice");
        hear("by the copy", again, 2, 0);
        hear("by the first", a, 9, 0);
        // The number comes to be another connection's end.
        show("dup2", i64::from(dup2(its, a) == a));
        say("write", other, b"another");
        hear("recv", a, 20, 0);
        say("write", c, b"the first still");
        hear("by the copy", again, 20, 0);
        rounds(other, a, 60);
        rounds(c, again, 60);
        close(a);
        hear("closed", a, 4, 0);
        let fresh = socket(AF_INET, SOCK_STREAM, 0);
        show("the same number", i64::from(fresh == a));
        hear("not connected", fresh, 4, 0);
        say("write", other, b"by its own");
        hear("recv", its, 20, 0);
    }
}

fn full(_: &str) {
    unsafe {
        let (c, a) = busy();
        let flags = fcntl(c, F_GETFL);
        fcntl(c, F_SETFL, flags | O_NONBLOCK);
        let mut sent = 0usize;
        for size in [1000usize, 70_000, 1].into_iter().cycle() {
            let data: Vec<u8> = (sent..sent + size).map(|at| (at % 251) as u8).collect();
            let put = write(c, data.as_ptr().cast(), size);
            if put < 0 {
                println!("full: {}", errno() == EAGAIN);
                break;
            }
            sent += put as usize;
        }
        println!("much: {}", sent > 100_000);
        let mut look = pollfd { fd: c, events: POLLOUT, revents: 0 };
        println!("room: {}", poll(&mut look, 1, 0));
        let waiter = asleep(move || {
            let mut look = pollfd { fd: c, events: POLLOUT, revents: 0 };
            poll(&mut look, 1, 10_000)
        });
        let (mut got, mut buf) = (0usize, vec![0u8; 50_000]);
        while got < sent {
            let len = recv(a, buf.as_mut_ptr().cast(), buf.len(), 0);
            assert!(
                len > 0 && buf[..len as usize].iter().enumerate().all(|(n, byte)| *byte == ((got + n) % 251) as u8)
            );
            got += len as usize;
        }
        println!("room again: {}", waiter.join().unwrap());
        fcntl(c, F_SETFL, flags);
        let data = vec![9u8; 3 << 20];
        let writer = std::thread::spawn(move || write(c, data.as_ptr().cast(), data.len()));
        let mut got = 0;
        while got < 3 << 20 {
            got += recv(a, buf.as_mut_ptr().cast(), buf.len(), 0);
        }
        println!("one write: {} {got}", writer.join().unwrap());
    }
}

/// What is at a place of a stream.
fn byte(at: usize) -> u8 {
    (at * 31 + (at >> 9)) as u8
}

fn between_processes(_: &str) {
    unsafe {
        let (c, a) = connected();
        const TOTAL: usize = 6 << 20;
        let child = fork();
        if child == 0 {
            close(a);
            let (mut at, mut size) = (0, 1);
            while at < TOTAL {
                size = (size * 7 + 13) % 150_000;
                let data: Vec<u8> = (at..TOTAL.min(at + size)).map(byte).collect();
                let put = match size % 4 {
                    0 => send(c, data.as_ptr().cast(), data.len(), MSG_NOSIGNAL),
                    1 => {
                        let (one, two) = data.split_at(data.len() / 3);
                        let part =
                            |part: &[u8]| iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
                        writev(c, [part(one), part(two)].as_ptr(), 2)
                    }
                    2 => send(c, data.as_ptr().cast(), data.len(), MSG_DONTWAIT),
                    _ => write(c, data.as_ptr().cast(), data.len()),
                };
                at += put.max(0) as usize;
            }
            shutdown(c, SHUT_WR);
            let mut answer = 0u8;
            let got = read(c, (&raw mut answer).cast(), 1);
            _exit(if got == 1 { answer.into() } else { 99 });
        }
        close(c);
        let (mut at, mut size, mut buf) = (0, 1, vec![0u8; 200_000]);
        loop {
            size = (size * 5 + 11) % 180_000;
            let room = size.max(1);
            let got = match size % 5 {
                0 => recv(a, buf.as_mut_ptr().cast(), room, MSG_PEEK),
                1 => recv(a, buf.as_mut_ptr().cast(), room, MSG_DONTWAIT),
                2 => {
                    let mut look = pollfd { fd: a, events: POLLIN, revents: 0 };
                    poll(&mut look, 1, -1);
                    continue;
                }
                _ => read(a, buf.as_mut_ptr().cast(), room),
            };
            if got < 0 {
                assert_eq!(errno(), EAGAIN);
                continue;
            }
            let got = got as usize;
            assert!(buf[..got].iter().enumerate().all(|(n, seen)| *seen == byte(at + n)), "at {at}");
            if size % 5 != 0 {
                at += got;
            }
            if got == 0 {
                break;
            }
        }
        println!("all: {}", at == TOTAL);
        write(a, c"\x07".as_ptr().cast(), 1);
        ended("child", child);
    }
}

/// Several write whole records to one end.
fn of_several(_: &str) {
    unsafe {
        let (c, a) = busy();
        const RECORD: usize = 64;
        let children = [1u8, 2, 3].map(|mark| {
            let child = fork();
            if child == 0 {
                for _ in 0..400 {
                    let record = [mark; RECORD];
                    assert_eq!(write(c, record.as_ptr().cast(), RECORD), RECORD as isize);
                }
                _exit(mark.into());
            }
            child
        });
        let mut counts = [0; 4];
        for _ in 0..3 * 400 {
            let mut record = [0u8; RECORD];
            assert_eq!(recv(a, record.as_mut_ptr().cast(), RECORD, MSG_WAITALL), RECORD as isize);
            assert!(record.iter().all(|byte| *byte == record[0]), "torn");
            counts[usize::from(record[0])] += 1;
        }
        println!("{counts:?}");
        children.into_iter().for_each(|child| ended("child", child));
    }
}

fn over_fork(_: &str) {
    unsafe {
        let (c, a) = busy();
        say("write", c, b"for the child and for us");
        let child = fork();
        if child == 0 {
            let mut buf = [0u8; 13];
            let got = read(a, buf.as_mut_ptr().cast(), 13);
            write(a, buf.as_ptr().cast(), got as usize);
            _exit(0);
        }
        hear("what the child read", c, 40, 0);
        ended("child", child);
        hear("what it left", a, 40, 0);
        let child = fork();
        if child == 0 {
            for _ in 0..60 {
                let mut byte = 0u8;
                assert_eq!(read(a, (&raw mut byte).cast(), 1), 1);
                write(a, (&raw const byte).cast(), 1);
            }
            _exit(0);
        }
        for n in 0..60u8 {
            let mut byte = 0u8;
            assert_eq!((write(c, (&raw const n).cast(), 1), read(c, (&raw mut byte).cast(), 1)), (1, 1));
            assert_eq!(byte, n);
        }
        ended("child", child);
        rounds(c, a, 60);
        println!("goes on");
    }
}

fn threads(_: &str) {
    unsafe {
        let (c, a) = busy();
        const EACH: usize = 300_000;
        let writers = [1u8, 2, 3].map(|mark| {
            std::thread::spawn(move || {
                let (data, mut sent) = ([mark; 900], 0);
                while sent < EACH {
                    sent += write(c, data.as_ptr().cast(), data.len().min(EACH - sent)) as usize;
                }
            })
        });
        let readers = [(); 3].map(|()| {
            std::thread::spawn(move || {
                let (mut sum, mut buf) = (0u64, [0u8; 700]);
                loop {
                    match read(a, buf.as_mut_ptr().cast(), buf.len()) {
                        len @ 1.. => sum += buf[..len as usize].iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                        _ => return sum,
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        shutdown(c, SHUT_WR);
        let sum: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        println!("nothing is lost: {}", sum == 6 * EACH as u64);
    }
}

extern "C" fn nothing(_: c_int) {}

fn signals(_: &str) {
    unsafe {
        let (c, a) = busy();
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
            let got = read(a, (&raw mut byte).cast(), 1);
            show("interrupted", got as i64);
            waitpid(child, null_mut(), 0);
        }
        rounds(c, a, 60);
    }
}

/// An epoll set that reports edges of another, whose members report levels: each arrival is one, whatever was left unread.
fn edges_around_levels(_: &str) {
    unsafe {
        let ends: Vec<_> = (0..3).map(|_| busy()).collect();
        let (inner, outer) = (epoll_create1(0), epoll_create1(0));
        let wait = |set: c_int, time: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            epoll_wait(set, found.as_mut_ptr(), 4, time)
        };
        for (at, (_, a)) in ends.iter().enumerate() {
            let mut event = epoll_event { events: EPOLLIN as u32, u64: at as u64 };
            epoll_ctl(inner, EPOLL_CTL_ADD, *a, &mut event);
        }
        // Two are ready already, and have been seen so.
        for (c, _) in &ends[..2] {
            say("before", *c, b"-");
        }
        println!("inner {}", wait(inner, 10_000));
        let mut event = epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 0 };
        show("add", epoll_ctl(outer, EPOLL_CTL_ADD, inner, &mut event));
        println!("at once {} {}", wait(outer, 10_000), wait(outer, 0));
        for round in 0..3 {
            for (c, a) in &ends {
                say("more", *c, b"more");
                println!("told {} {}", wait(outer, 10_000), wait(outer, 0));
                if round == 1 {
                    hear("taken", *a, 100, 0);
                    println!("inner {}, outer {}", wait(inner, 0), wait(outer, 0));
                }
            }
        }
    }
}
