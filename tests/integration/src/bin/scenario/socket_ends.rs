//! How connections end and who shares them: shutdown(2), resets, SIGPIPE, threads and processes on one socket.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("shutdown", OneProcess, shutting_down),
    ("half_close", OneProcess, half_close),
    ("broken_pipe", OneProcess, broken_pipe),
    ("threads_on_one_socket", OneProcess, threads),
    ("accept_by_several", Processes, several_processes),
    ("self_connect", OneProcess, to_oneself),
];

fn shutting_down(folder: &str) {
    unsafe {
        let mut byte = 0u8;
        let s = socket(AF_INET, SOCK_STREAM, 0);
        show("idle", shutdown(s, SHUT_RDWR));
        show("bad way", shutdown(s, 7));
        show("a file", shutdown(open(create(folder, "file", b"").as_ptr(), O_RDWR), SHUT_RD));
        let (c, a) = connected();
        show("bad way, connected", shutdown(c, 7));
        show("read side", shutdown(c, SHUT_RD));
        show("end", recv(c, (&raw mut byte).cast(), 1, 0) as i64);
        println!("{:#x}", ready(c, POLLIN | POLLOUT | POLLRDHUP));
        show("still writes", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        show("arrives", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        show("twice", shutdown(c, SHUT_RD));
        show("both", shutdown(c, SHUT_RDWR));
        println!("{:#x}", ready(a, POLLIN | POLLRDHUP));
        show("the peer", shutdown(a, SHUT_RDWR));
        println!("{:#x}", ready(c, POLLIN | POLLOUT | POLLRDHUP));
        show("all over", shutdown(c, SHUT_RDWR));
        // A listener.
        let (l, addr) = listener();
        show("a listener, writing", shutdown(l, SHUT_WR));
        let c = socket(AF_INET, SOCK_STREAM, 0);
        show("still listens", connect(c, ptr(&addr), LEN));
        println!("accepts {}", accept(l, null_mut(), null_mut()) >= 0);
        show("a listener, reading", shutdown(l, SHUT_RD));
        show("listens no more", connect(socket(AF_INET, SOCK_STREAM, 0), ptr(&addr), LEN));
        fcntl(l, F_SETFL, O_NONBLOCK);
        show("accept", accept(l, null_mut(), null_mut()));
        show("listen again", listen(l, 5));
        // Another port by then, if nobody had chosen one.
        let (mut addr, mut len) = (addr, LEN);
        getsockname(l, (&raw mut addr).cast(), &mut len);
        show("connects", connect(socket(AF_INET, SOCK_STREAM, 0), ptr(&addr), LEN));
        // Datagrams.
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        show("datagrams", shutdown(u, SHUT_RDWR));
        let mut own = loopback(0);
        bind(u, ptr(&own), LEN);
        let mut len = LEN;
        getsockname(u, (&raw mut own).cast(), &mut len);
        connect(u, ptr(&own), LEN);
        show("connected ones", shutdown(u, SHUT_RD));
        show("end", recv(u, (&raw mut byte).cast(), 1, 0) as i64);
        show("write side", shutdown(u, SHUT_WR));
        show("send", send(u, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        // A thread that waits is woken.
        let (c, _a) = connected();
        let waiter = std::thread::spawn(move || {
            let mut byte = 0u8;
            recv(c, (&raw mut byte).cast(), 1, 0)
        });
        let mut info = [0u8; 4];
        let mut len = 4;
        getsockopt(c, IPPROTO_TCP, TCP_INFO, info.as_mut_ptr().cast(), &mut len);
        shutdown(c, SHUT_RD);
        show("woken", waiter.join().unwrap() as i64);
    }
}

fn half_close(_: &str) {
    unsafe {
        let mut buf = [0u8; 64];
        let (c, a) = connected();
        send(c, b"question".as_ptr().cast(), 8, 0);
        shutdown(c, SHUT_WR);
        println!("{:#x}", ready(a, POLLIN | POLLRDHUP | POLLOUT) & !POLLHUP);
        show("question", recv(a, buf.as_mut_ptr().cast(), 64, MSG_WAITALL) as i64);
        show("end", recv(a, buf.as_mut_ptr().cast(), 64, 0) as i64);
        show("end stays", recv(a, buf.as_mut_ptr().cast(), 64, 0) as i64);
        let answer = vec![7u8; 200_000];
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while sent < answer.len() {
                let n = send(a, answer.as_ptr().add(sent).cast(), answer.len() - sent, 0);
                assert!(n > 0);
                sent += n as usize;
            }
            close(a);
        });
        let mut total = 0;
        loop {
            let n = recv(c, buf.as_mut_ptr().cast(), 64, 0);
            if n <= 0 {
                show("end", n as i64);
                break;
            }
            total += n;
        }
        println!("{total}");
        sender.join().unwrap();
        println!("{:#x}", ready(c, POLLIN | POLLOUT | POLLRDHUP));
        // Closed while the other still sends: a reset, once.
        let (c, a) = connected();
        close(a);
        println!("{:#x}", ready(c, POLLIN | POLLRDHUP));
        show("first", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        let mut fds = [pollfd { fd: c, events: 0, revents: 0 }];
        poll(fds.as_mut_ptr(), 1, 10_000);
        println!("{:#x}", fds[0].revents);
        show("then", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("read", recv(c, buf.as_mut_ptr().cast(), 1, 0) as i64);
    }
}

static SIGNALS: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn count(_: c_int) {
    SIGNALS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

fn broken_pipe(_: &str) {
    unsafe {
        signal(SIGPIPE, count as *const () as sighandler_t);
        let signals = || SIGNALS.swap(0, std::sync::atomic::Ordering::SeqCst);
        let (c, _a) = connected();
        shutdown(c, SHUT_WR);
        show("write", write(c, b"x".as_ptr().cast(), 1) as i64);
        println!("signals {}", signals());
        show("send", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        println!("signals {}", signals());
        show("without a signal", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        println!("signals {}", signals());
        let vector = [iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 }];
        show("writev", writev(c, vector.as_ptr(), 1) as i64);
        println!("signals {}", signals());
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (vector.as_ptr().cast_mut(), 1);
        show("sendmsg", sendmsg(c, &header, 0) as i64);
        println!("signals {}", signals());
        show("sendmsg, quiet", sendmsg(c, &header, MSG_NOSIGNAL) as i64);
        println!("signals {}", signals());
        show("nothing to write", write(c, b"".as_ptr().cast(), 0) as i64);
        println!("signals {}", signals());
        show("never connected", write(socket(AF_INET, SOCK_STREAM, 0), b"x".as_ptr().cast(), 1) as i64);
        println!("signals {}", signals());
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr());
        close(ends[1]);
        show("a pair", write(ends[0], b"x".as_ptr().cast(), 1) as i64);
        println!("signals {}", signals());
    }
}

fn threads(_: &str) {
    unsafe {
        // Many writers, one reader: no byte is lost, and each message of one send stays whole.
        let (c, a) = connected();
        let writers: Vec<_> = (0..4u8)
            .map(|id| {
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let block = [id; 100];
                        assert_eq!(send(c, block.as_ptr().cast(), 100, 0), 100);
                    }
                })
            })
            .collect();
        let mut counts = [0; 4];
        let mut whole = true;
        for _ in 0..800 {
            let mut block = [0xffu8; 100];
            assert_eq!(recv(a, block.as_mut_ptr().cast(), 100, MSG_WAITALL), 100);
            whole &= block.iter().all(|byte| *byte == block[0]);
            counts[block[0] as usize] += 1;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        println!("{counts:?} {whole}");
        // Many readers of one socket: each message goes to one of them.
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        let mut own = loopback(0);
        bind(u, ptr(&own), LEN);
        let mut len = LEN;
        getsockname(u, (&raw mut own).cast(), &mut len);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut sum = 0;
                    loop {
                        let mut byte = 0u8;
                        match recv(u, (&raw mut byte).cast(), 1, 0) {
                            1 if byte != 0 => sum += u32::from(byte),
                            _ => return sum,
                        }
                    }
                })
            })
            .collect();
        let s = socket(AF_INET, SOCK_DGRAM, 0);
        for byte in (1..=100u8).chain([0; 4]) {
            sendto(s, (&raw const byte).cast(), 1, 0, ptr(&own), LEN);
        }
        println!("{}", readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>());
        // Many that accept.
        let (l, addr) = listener();
        let takers: Vec<_> =
            (0..4).map(|_| std::thread::spawn(move || accept(l, null_mut(), null_mut()) >= 0)).collect();
        for _ in 0..4 {
            let c = socket(AF_INET, SOCK_STREAM, 0);
            connect(c, ptr(&addr), LEN);
        }
        println!("{}", takers.into_iter().all(|taker| taker.join().unwrap()));
        // Reading and writing at the same time.
        let (c, a) = connected();
        let echo = std::thread::spawn(move || {
            let mut buf = vec![0u8; 10_000];
            loop {
                let n = recv(a, buf.as_mut_ptr().cast(), buf.len(), 0);
                if n <= 0 {
                    shutdown(a, SHUT_WR);
                    return;
                }
                let mut sent = 0;
                while sent < n {
                    sent += send(a, buf.as_ptr().add(sent as usize).cast(), (n - sent) as usize, 0);
                }
            }
        });
        let writer = std::thread::spawn(move || {
            for i in 0..500u32 {
                let block = [i as u8; 1000];
                let mut sent = 0;
                while sent < 1000 {
                    sent += send(c, block.as_ptr().add(sent).cast(), 1000 - sent, 0) as usize;
                }
            }
            shutdown(c, SHUT_WR);
        });
        let (mut total, mut right) = (0usize, true);
        let mut buf = vec![0u8; 7777];
        loop {
            let n = recv(c, buf.as_mut_ptr().cast(), buf.len(), 0);
            if n <= 0 {
                break;
            }
            right &= buf[..n as usize].iter().enumerate().all(|(at, byte)| *byte == ((total + at) / 1000) as u8);
            total += n as usize;
        }
        writer.join().unwrap();
        echo.join().unwrap();
        println!("{total} {right}");
    }
}

fn several_processes(_: &str) {
    unsafe {
        let (l, addr) = listener();
        let children: Vec<pid_t> = (0..3)
            .map(|_| {
                let child = fork();
                if child == 0 {
                    // Each serves until it is told to stop.
                    loop {
                        let a = accept(l, null_mut(), null_mut());
                        let mut byte = 0u8;
                        recv(a, (&raw mut byte).cast(), 1, 0);
                        if byte == b'q' {
                            _exit(0);
                        }
                        byte += 1;
                        send(a, (&raw const byte).cast(), 1, 0);
                        close(a);
                    }
                }
                child
            })
            .collect();
        let mut answers = 0;
        for byte in (0..30u8).map(|n| n + 1).chain([b'q'; 3]) {
            let c = socket(AF_INET, SOCK_STREAM, 0);
            connect(c, ptr(&addr), LEN);
            send(c, (&raw const byte).cast(), 1, 0);
            let mut back = 0u8;
            recv(c, (&raw mut back).cast(), 1, 0);
            answers += i32::from(back == byte + 1);
            close(c);
        }
        for child in children {
            let mut how = -1;
            waitpid(child, &mut how, 0);
            println!("{how}");
        }
        println!("{answers} answers");
    }
}

fn to_oneself(_: &str) {
    unsafe {
        // TCP's simultaneous open, as Linux allows it on one socket.
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let mut own = loopback(0);
        bind(s, ptr(&own), LEN);
        let mut len = LEN;
        getsockname(s, (&raw mut own).cast(), &mut len);
        show("connect to itself", connect(s, ptr(&own), LEN));
        show("send", send(s, b"echo".as_ptr().cast(), 4, MSG_NOSIGNAL) as i64);
        let mut buf = [0u8; 8];
        show("recv", recv(s, buf.as_mut_ptr().cast(), 8, MSG_DONTWAIT) as i64);
        let u = socket(AF_INET, SOCK_DGRAM, 0);
        own = loopback(0);
        bind(u, ptr(&own), LEN);
        getsockname(u, (&raw mut own).cast(), &mut len);
        show("datagrams", connect(u, ptr(&own), LEN));
        show("send", send(u, b"echo".as_ptr().cast(), 4, 0) as i64);
        show("recv", recv(u, buf.as_mut_ptr().cast(), 8, 0) as i64);
    }
}
