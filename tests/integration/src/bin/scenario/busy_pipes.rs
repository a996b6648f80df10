//! Fifos through which much has gone, and then all that is not plain reading and writing: what programs moved themselves until then comes
//! together with what the kernel does.

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_pipe_calls", OneProcess, every_call),
    ("busy_pipe_small_writes_are_whole", OneProcess, whole),
    ("busy_pipe_ends", OneProcess, ends),
    ("busy_pipe_waits", OneProcess, waits),
    ("busy_pipe_edges", OneProcess, edges),
    ("busy_pipe_splice", OneProcess, spliced),
    ("busy_pipe_numbers", OneProcess, numbers),
    ("busy_pipe_records_of_several", Processes, records),
    ("busy_pipe_between_processes", Processes, between_processes),
    ("busy_pipe_killed", Processes, killed),
    ("busy_pipe_threads", OneProcess, threads),
    ("busy_pipe_ping_pong", Processes, ping_pong),
];

/// Both ends of a fifo of this name, that reads and that writes.
unsafe fn fifo(folder: &str, name: &str) -> (c_int, c_int) {
    unsafe {
        let name = path(folder, name);
        assert_eq!(mkfifo(name.as_ptr(), 0o600), 0);
        let r = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let w = open(name.as_ptr(), O_WRONLY);
        fcntl(r, F_SETFL, fcntl(r, F_GETFL) & !O_NONBLOCK);
        (r, w)
    }
}

/// The same, after much has gone through it.
unsafe fn busy(folder: &str, name: &str) -> (c_int, c_int) {
    unsafe {
        let (r, w) = fifo(folder, name);
        rounds(r, w, 60);
        (r, w)
    }
}

/// Writes and reads within this process.
unsafe fn rounds(r: c_int, w: c_int, count: usize) {
    unsafe {
        for n in 0..count {
            let said: Vec<u8> = (0..=n).map(|at| (at * 7 + n) as u8).collect();
            assert_eq!(write(w, said.as_ptr().cast(), said.len()), said.len() as isize);
            let mut heard = vec![0u8; said.len() + 9];
            assert_eq!(read(r, heard.as_mut_ptr().cast(), heard.len()), said.len() as isize);
            assert_eq!(&heard[..said.len()], said);
        }
    }
}

unsafe fn say(what: &str, fd: c_int, data: &[u8]) {
    unsafe { show(what, write(fd, data.as_ptr().cast(), data.len()) as i64) };
}

/// Prints what a read(2) gives.
unsafe fn hear(what: &str, fd: c_int, room: usize) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = read(fd, buf.as_mut_ptr().cast(), room);
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
        let mut look = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
        show(what, i64::from(poll(&mut look, 1, 0)));
        println!("{:#x}", look.revents);
    }
}

unsafe fn number(what: &str, fd: c_int) {
    unsafe {
        let mut value: c_int = -1;
        show(what, i64::from(ioctl(fd, FIONREAD, &mut value)));
        println!("{value}");
    }
}

fn every_call(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "calls");
        say("write", w, b"one two three");
        number("FIONREAD", r);
        hear("read", r, 4);
        let mut parts = [[0u8; 3], [0u8; 3]];
        let vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(r, vector.as_ptr(), 2) as i64);
        println!("{}", parts.concat().escape_ascii());
        hear("the rest", r, 50);
        let words = [&b"four"[..], b"", b" five"];
        let vector = words.map(|word| iovec { iov_base: word.as_ptr().cast_mut().cast(), iov_len: word.len() });
        show("writev", writev(w, vector.as_ptr(), 3) as i64);
        show("nothing to read", read(r, null_mut(), 0) as i64);
        show("nothing to write", write(w, null(), 0) as i64);
        show("write to the reading end", write(r, c"x".as_ptr().cast(), 1) as i64);
        show("read from the writing end", read(w, null_mut(), 1) as i64);
        show("send", send(w, c"x".as_ptr().cast(), 1, 0) as i64);
        show("recv", recv(r, null_mut(), 1, 0) as i64);
        show("pread", pread(r, null_mut(), 1, 0) as i64);
        show("lseek", lseek(r, 0, SEEK_CUR));
        show("from nowhere", write(w, 16 as *const c_void, 10) as i64);
        hear("all", r, 50);
        rounds(r, w, 40);
        let mut status: stat = zeroed();
        show("fstat", fstat(r, &mut status));
        println!("{:#o}", status.st_mode);
        rounds(r, w, 40);
    }
}

fn whole(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "whole");
        unblock(w, true);
        rounds(r, w, 60);
        let page = vec![b'p'; 4096];
        let mut pages = 0;
        while write(w, page.as_ptr().cast(), 4096) == 4096 {
            pages += 1;
        }
        println!("full after {pages} pages: {}", errno() == EAGAIN);
        ready("no room", w);
        say("a byte", w, b"x");
        hear("a page", r, 4096);
        ready("room", w);
        say("more than a page, of which a part goes", w, &vec![b'q'; 5000]);
        say("nothing goes", w, b"rest");
        let mut left = 16 * 4096;
        let mut buf = vec![0u8; 10_000];
        unblock(r, true);
        while left > 0 {
            let got = read(r, buf.as_mut_ptr().cast(), buf.len());
            assert!(got > 0, "{left} left");
            left -= got;
        }
        hear("nothing is left", r, 5);
        rounds(r, w, 60);
        hear("nor now", r, 5);
        unblock(w, false);
        unblock(r, false);
        rounds(r, w, 60);
        // A writer of a page waits for a page of room.
        for _ in 0..16 {
            assert_eq!(write(w, page.as_ptr().cast(), 4096), 4096);
        }
        let writer = asleep(move || write(w, vec![b'r'; 4096].as_ptr().cast(), 4096));
        hear("a page", r, 4096);
        println!("goes on: {}", writer.join().unwrap());
        let mut all = 0;
        while all < 16 * 4096 {
            all += read(r, buf.as_mut_ptr().cast(), buf.len());
        }
        println!("all: {all}");
    }
}

fn ends(folder: &str) {
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        let (r, w) = busy(folder, "ends");
        say("write", w, b"last words");
        close(w);
        ready("hung up", r);
        hear("some", r, 5);
        hear("the rest", r, 50);
        hear("end", r, 50);
        ready("hung up still", r);
        let w = open(path(folder, "ends").as_ptr(), O_WRONLY);
        rounds(r, w, 60);
        let other = open(path(folder, "ends").as_ptr(), O_WRONLY);
        say("another writer", other, b"another");
        close(w);
        hear("goes on", r, 50);
        rounds(r, other, 60);
        say("unread", other, b"nobody will read it");
        close(r);
        say("broken", other, b"x");
        ready("broken", other);

        let (r, w) = busy(folder, "asleep");
        let reader = asleep(move || {
            let mut byte = 0u8;
            read(r, (&raw mut byte).cast(), 1)
        });
        close(w);
        println!("a sleeper sees the end: {}", reader.join().unwrap());

        let (r, w) = busy(folder, "full");
        let writer = asleep(move || write(w, vec![1u8; 100_000].as_ptr().cast(), 100_000));
        close(r);
        println!("a sleeper has written: {}", writer.join().unwrap());
    }
}

fn waits(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "waits");
        ready("nothing", r);
        ready("room", w);
        say("write", w, b"x");
        ready("a byte", r);
        hear("read", r, 9);
        let set = epoll_create1(0);
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
        epoll_ctl(set, EPOLL_CTL_ADD, r, &mut event);
        let look = |what: &str, limit: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            show(what, i64::from(epoll_wait(set, found.as_mut_ptr(), 4, limit)));
        };
        for _ in 0..20 {
            look("not yet", 0);
            say("write", w, b"xy");
            look("level", 5000);
            hear("read", r, 1);
            look("level still", 5000);
            hear("read", r, 9);
        }
        for round in 0..20 {
            let reader = asleep(move || {
                let mut look = pollfd { fd: r, events: POLLIN, revents: 0 };
                poll(&mut look, 1, 10_000)
            });
            assert_eq!(write(w, c"z".as_ptr().cast(), 1), 1);
            let woken = reader.join().unwrap();
            let mut byte = 0u8;
            assert_eq!((woken, read(r, (&raw mut byte).cast(), 1)), (1, 1), "{round}");
            let reader = asleep(move || {
                let mut byte = 0u8;
                read(r, (&raw mut byte).cast(), 1)
            });
            assert_eq!(write(w, c"z".as_ptr().cast(), 1), 1);
            assert_eq!(reader.join().unwrap(), 1);
        }
        unblock(r, true);
        for _ in 0..40 {
            hear("nothing", r, 9);
        }
        rounds(r, w, 30);
    }
}

/// A watcher of edges hears of everything that comes, and of room after there was none.
fn edges(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "edges");
        unblock(r, true);
        unblock(w, true);
        let (set, mut event) = (epoll_create1(0), epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 1 });
        epoll_ctl(set, EPOLL_CTL_ADD, r, &mut event);
        let look = |what: &str, limit: c_int| {
            let mut found = [epoll_event { events: 0, u64: 0 }; 4];
            show(what, i64::from(epoll_wait(set, found.as_mut_ptr(), 4, limit)));
        };
        for _ in 0..30 {
            look("no edge", 0);
            say("write", w, b"edge");
            look("edge", 5000);
            look("no edge", 0);
            say("write", w, b"more");
            look("edge", 5000);
            hear("some", r, 3);
            look("no edge", 0);
            hear("the rest", r, 9);
            hear("nothing", r, 9);
        }
        epoll_ctl(set, EPOLL_CTL_DEL, r, &mut event);
        event.events = (EPOLLOUT | EPOLLET) as u32;
        epoll_ctl(set, EPOLL_CTL_ADD, w, &mut event);
        let mut buf = vec![0u8; 65536];
        for _ in 0..5 {
            look("room", 5000);
            look("no edge", 0);
            while write(w, buf.as_ptr().cast(), 8192) > 0 {}
            look("no edge", 0);
            let reader = asleep(move || {
                let mut found = [epoll_event { events: 0, u64: 0 }; 4];
                epoll_wait(set, found.as_mut_ptr(), 4, 10_000)
            });
            while read(r, buf.as_mut_ptr().cast(), 65536) > 0 {}
            println!("room again: {}", reader.join().unwrap());
            rounds(r, w, 20);
            event.events = (EPOLLOUT | EPOLLET) as u32;
            epoll_ctl(set, EPOLL_CTL_MOD, w, &mut event);
        }
    }
}

fn spliced(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "from");
        let (there, here) = busy(folder, "to");
        for _ in 0..5 {
            say("write", w, b"to be moved");
            show("tee", tee(r, here, 5, 0) as i64);
            hear("its copy", there, 20);
            show("splice", splice(r, null_mut(), here, null_mut(), 20, 0) as i64);
            hear("moved", there, 20);
            show("nothing", splice(r, null_mut(), here, null_mut(), 20, SPLICE_F_NONBLOCK) as i64);
            let part = iovec { iov_base: c"mapped".as_ptr().cast_mut().cast(), iov_len: 6 };
            show("vmsplice", vmsplice(w, &part, 1, 0) as i64);
            hear("read", r, 20);
            rounds(r, w, 60);
            rounds(there, here, 60);
        }
    }
}

fn numbers(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "one");
        let (other, its) = fifo(folder, "two");
        let again = dup(r);
        say("write", w, b"twice");
        hear("by the copy", again, 2);
        hear("by the first", r, 9);
        show("dup2", i64::from(dup2(other, r) == r));
        say("write", its, b"another");
        hear("read", r, 20);
        say("write", w, b"the first still");
        hear("by the copy", again, 20);
        rounds(r, its, 60);
        rounds(again, w, 60);
        close(r);
        hear("closed", r, 4);
        // By another open file of the same end.
        let second = open(path(folder, "two").as_ptr(), O_RDONLY | O_NONBLOCK);
        rounds(second, its, 60);
        hear("nothing", second, 3);
        rounds(other, its, 60);
        let both = open(path(folder, "two").as_ptr(), O_RDWR);
        rounds(both, both, 60);
        rounds(other, both, 60);
        rounds(both, its, 60);
    }
}

/// Several write whole records, large and small, to one end.
fn records(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "records");
        const EACH: usize = 300;
        let children = [1u8, 2, 3].map(|mark| {
            let child = fork();
            if child == 0 {
                for n in 0..EACH {
                    let len = [8usize, 200, 4096][n % 3];
                    let mut record = vec![mark; len];
                    record[..2].copy_from_slice(&(len as u16).to_ne_bytes());
                    assert_eq!(write(w, record.as_ptr().cast(), len), len as isize);
                }
                _exit(mark.into());
            }
            child
        });
        close(w);
        let mut counts = [0; 4];
        let take = |len: usize| {
            let (mut record, mut got) = (vec![0u8; len], 0);
            while got < len {
                let now = read(r, record[got..].as_mut_ptr().cast(), len - got);
                if now <= 0 {
                    break;
                }
                got += now as usize;
            }
            record.truncate(got);
            record
        };
        loop {
            let head = take(2);
            let Some(len) = head.first_chunk::<2>().map(|len| usize::from(u16::from_ne_bytes(*len))) else { break };
            let body = take(len - 2);
            assert!(body.len() == len - 2 && body.iter().all(|byte| *byte == body[0]), "torn");
            counts[usize::from(body[0])] += 1;
        }
        println!("{counts:?}");
        children.into_iter().for_each(|child| ended("child", child));
    }
}

/// What is at a place of a stream.
fn byte(at: usize) -> u8 {
    (at * 31 + (at >> 9)) as u8
}

fn between_processes(folder: &str) {
    unsafe {
        let (r, w) = fifo(folder, "between");
        const TOTAL: usize = 4 << 20;
        let child = fork();
        if child == 0 {
            close(r);
            let (mut at, mut size) = (0, 1);
            while at < TOTAL {
                size = (size * 7 + 13) % 90_000;
                let data: Vec<u8> = (at..TOTAL.min(at + size)).map(byte).collect();
                unblock(w, size % 5 == 0);
                at += write(w, data.as_ptr().cast(), data.len()).max(0) as usize;
            }
            _exit(3);
        }
        close(w);
        let (mut at, mut size, mut buf) = (0, 1, vec![0u8; 100_000]);
        loop {
            size = (size * 5 + 11) % 80_000;
            if size % 5 == 2 {
                let mut look = pollfd { fd: r, events: POLLIN, revents: 0 };
                poll(&mut look, 1, -1);
            }
            let got = read(r, buf.as_mut_ptr().cast(), size.max(1)) as usize;
            assert!(buf[..got].iter().enumerate().all(|(n, seen)| *seen == byte(at + n)), "at {at}");
            at += got;
            if got == 0 {
                break;
            }
        }
        println!("all: {}", at == TOTAL);
        ended("child", child);
    }
}

/// Who is killed while it writes has written whole records, and its end is closed.
fn killed(folder: &str) {
    unsafe {
        for turn in 0..10 {
            let (r, w) = busy(folder, &format!("killed{turn}"));
            let child = fork();
            if child == 0 {
                loop {
                    write(w, [7u8; 1024].as_ptr().cast(), 1024);
                }
            }
            close(w);
            let (mut got, mut buf) = (0, vec![0u8; 10_000]);
            while got <= 40_000 * turn {
                got += read(r, buf.as_mut_ptr().cast(), buf.len());
            }
            kill(child, SIGKILL);
            loop {
                let now = read(r, buf.as_mut_ptr().cast(), buf.len());
                assert!(now >= 0 && buf[..now as usize].iter().all(|byte| *byte == 7));
                got += now;
                if now == 0 {
                    break;
                }
            }
            println!("whole records: {}", got % 1024 == 0);
            waitpid(child, null_mut(), 0);
            close(r);
        }
    }
}

fn threads(folder: &str) {
    unsafe {
        let (r, w) = busy(folder, "threads");
        const EACH: usize = 300_000;
        let writers = [1u8, 2, 3].map(|mark| {
            std::thread::spawn(move || {
                let (data, mut sent) = ([mark; 900], 0);
                while sent < EACH {
                    sent += write(w, data.as_ptr().cast(), data.len().min(EACH - sent)) as usize;
                }
            })
        });
        let readers = [(); 3].map(|()| {
            std::thread::spawn(move || {
                let (mut sum, mut buf) = (0u64, [0u8; 700]);
                loop {
                    match read(r, buf.as_mut_ptr().cast(), buf.len()) {
                        len @ 1.. => sum += buf[..len as usize].iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                        _ => return sum,
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        close(w);
        let sum: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        println!("nothing is lost: {}", sum == 6 * EACH as u64);
    }
}

/// Both sides sleep in turns, now and then for longer: nobody is left asleep.
fn ping_pong(folder: &str) {
    unsafe {
        let (there, ours) = fifo(folder, "there");
        let (back, its) = fifo(folder, "back");
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
                assert_eq!(read(there, (&raw mut word).cast(), 4), 4);
                pause(n * 3);
                assert_eq!(write(its, (&raw const word).cast(), 4), 4);
            }
            _exit(5);
        }
        for n in 0..ROUNDS {
            assert_eq!(write(ours, (&raw const n).cast(), 4), 4);
            pause(n);
            let mut word = 0u32;
            assert_eq!(read(back, (&raw mut word).cast(), 4), 4);
            assert_eq!(word, n);
        }
        ended("child", child);
    }
}
