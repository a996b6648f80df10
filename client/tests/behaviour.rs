//! Our client against servers that answer late, in any order, wrongly, or not at all.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use abi::poll::PollFd;
use abi::syscalls::nr;
use abi::{Errno, Fd, In, Out};
use client::{Caller, Handshake, HostPollFd, Remote, Retry, stubs};
use sysproxy::banner;
use sysproxy::frame::{Frame, HEADER_LEN, Header, Kind};
use sysproxy::message::{self, ClientRequest, ServerRequest, SyscallResult};
use zerocopy::FromBytes;

const ORIGINAL: &str = "RUMPSP-0.4-NetBSD-7.99.34/amd64\n";

/// A listening socket on a fresh name.
struct Door {
    listener: UnixListener,
    path: std::path::PathBuf,
}

impl Door {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("client-behaviour-{}-{number}", std::process::id()));
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    fn connect(&self, retry: Retry) -> Remote {
        let url = format!("unix://{}", self.path.display());
        Remote::connect(&url, Handshake::Guest(b"test".to_vec()), retry).unwrap()
    }

    /// Takes a client and answers its handshake, whose number it returns.
    fn accept(&self, banner: &str) -> (Server, u64) {
        let mut server = Server(self.listener.accept().unwrap().0);
        server.0.write_all(banner.as_bytes()).unwrap();
        let hello = server.hear();
        server.say(&message::handshake_done(hello.header.reqno));
        if banner == banner::OURS {
            assert_eq!(server.hear().header.kind(), Some(Kind::Extended));
        }
        (server, hello.header.reqno)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The server's end of a connection.
struct Server(UnixStream);

impl Server {
    fn hear(&mut self) -> Frame {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).unwrap();
        let header = Header::read_from_bytes(&header).unwrap();
        let mut body = vec![0; header.body_len().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        Frame { header, body }
    }

    fn say(&mut self, frame: &Frame) {
        self.0.write_all(&frame.encode()).unwrap();
    }

    fn done(&mut self, call: &Frame, result: abi::Result<i64>) {
        self.say(&SyscallResult::new(result.map(|value| [value, 0])).encode(call.header.reqno));
    }

    /// Asks for memory and returns what the client answers.
    fn copyin(&mut self, addr: u64, len: u64) -> Vec<u8> {
        self.say(&ServerRequest::CopyIn { len, addr }.encode(0));
        self.hear().body
    }
}

/// Runs `serve` with the first client and `client` beside it.
fn session<T: Send>(banner: &'static str, serve: impl FnOnce(Server) -> T + Send, client: impl FnOnce(&Remote)) -> T {
    let door = Door::new();
    thread::scope(|scope| {
        let served = scope.spawn(|| serve(door.accept(banner).0));
        client(&door.connect(Retry::Never));
        served.join().unwrap()
    })
}

#[test]
fn calls_of_several_threads_are_answered_in_any_order() {
    const THREADS: i32 = 8;
    let serve = |mut server: Server| {
        for _ in 0..20 {
            let mut calls: Vec<_> = (0..THREADS).map(|_| server.hear()).collect();
            calls.reverse();
            for call in calls {
                let fd = i64::from(call.body[0]);
                server.done(&call, Ok(fd + 100));
            }
        }
    };
    session(ORIGINAL, serve, |remote| {
        thread::scope(|scope| {
            for fd in 0..THREADS {
                scope.spawn(move || {
                    for _ in 0..20 {
                        assert_eq!(stubs::dup(remote, Fd(fd)), Ok(Fd(fd + 100)));
                    }
                });
            }
        });
    });
}

#[test]
fn a_server_cannot_touch_what_no_call_named() {
    let secret = *b"secret";
    let addr = secret.as_ptr() as u64;
    let serve = move |mut server: Server| {
        let call = server.hear();
        assert_eq!(server.copyin(addr, 6), [0; 6], "the original's server gets zeros");
        server.say(&ServerRequest::CopyOut { addr, data: b"public" }.encode(1));
        server.done(&call, Ok(0));
    };
    session(ORIGINAL, serve, |remote| assert_eq!(stubs::close(remote, Fd(3)), Err(Errno::EFAULT)));
    assert_eq!(std::hint::black_box(&secret), b"secret");

    let serve = move |mut server: Server| {
        let call = server.hear();
        assert_eq!(server.copyin(addr, 6), [0; 0], "ours is told");
        server.done(&call, Err(Errno::EFAULT));
    };
    session(banner::OURS, serve, |remote| assert_eq!(stubs::close(remote, Fd(3)), Err(Errno::EFAULT)));
}

#[test]
fn a_bad_pointer_is_efault_in_both_directions() {
    let serve = |mut server: Server| {
        let call = server.hear();
        assert_eq!(server.copyin(8, 4), [0; 4]);
        server.done(&call, Ok(4));
        let call = server.hear();
        server.say(&ServerRequest::CopyOut { addr: 8, data: b"data" }.encode(1));
        server.done(&call, Ok(4));
    };
    session(ORIGINAL, serve, |remote| {
        assert_eq!(stubs::write(remote, Fd(3), In::at(8, 4), 4), Err(Errno::EFAULT));
        assert_eq!(stubs::read(remote, Fd(3), Out::at(8, 4), 4), Err(Errno::EFAULT));
    });
}

#[test]
fn a_server_that_is_gone_is_enotconn() {
    let door = Door::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = door.accept(ORIGINAL).0;
            server.hear();
        });
        let remote = door.connect(Retry::Never);
        assert_eq!(stubs::geteuid(&remote), Err(Errno::ENOTCONN));
        assert_eq!(stubs::geteuid(&remote), Err(Errno::ENOTCONN));
    });
}

#[test]
fn a_server_without_a_banner_refuses() {
    let door = Door::new();
    thread::scope(|scope| {
        scope.spawn(|| drop(door.listener.accept().unwrap()));
        let url = format!("unix://{}", door.path.display());
        let error = Remote::connect(&url, Handshake::Guest(b"test".to_vec()), Retry::Forever).err().unwrap();
        assert_eq!(error.errno, Errno::ECONNREFUSED);
    });
}

#[test]
fn a_lost_call_is_sent_again_to_a_new_process_and_numbers_go_on() {
    let door = Door::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut server, hello) = door.accept(ORIGINAL);
            assert_eq!((hello, server.hear().header.reqno), (1, 2));
            drop(server);
            let (mut server, hello) = door.accept(ORIGINAL);
            let call = server.hear();
            assert_eq!((hello, call.header.reqno, call.header.u), (4, 5, 25));
            server.done(&call, Ok(7));
        });
        assert_eq!(stubs::geteuid(&door.connect(Retry::Once)), Ok(7));
    });
}

#[test]
fn a_server_without_memory_gets_the_request_again() {
    let serve = |mut server: Server| {
        let call = server.hear();
        server.say(&message::Refusal::TryAgain.encode(call.header.reqno));
        let again = server.hear();
        assert_eq!(again.body, call.body);
        server.done(&again, Ok(1));
    };
    session(ORIGINAL, serve, |remote| assert_eq!(stubs::umask(remote, 0o22), Ok(1)));
}

#[test]
fn the_program_may_take_the_number_of_the_socket() {
    let serve = |mut server: Server| {
        for _ in 0..2 {
            let call = server.hear();
            server.done(&call, Ok(1));
        }
    };
    session(ORIGINAL, serve, |remote| {
        let before = remote.socket_fd();
        assert!(remote.owns(before));
        assert_eq!(stubs::geteuid(remote), Ok(1));
        client::fds::move_away(before).unwrap();
        assert!(remote.socket_fd() != before && !remote.owns(before));
        assert_eq!(stubs::geteuid(remote), Ok(1));
    });
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

/// Installs a handler that counts, and makes a thread that sends the signal to the caller once `go` allows it.
fn send_myself(signal: i32) -> impl FnOnce() + Send {
    extern "C" fn count(_: i32) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only counts.
    let me = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        libc::pthread_self()
    };
    // SAFETY: the thread waits for its call meanwhile.
    move || unsafe {
        libc::pthread_kill(me, signal);
    }
}

#[test]
fn a_signal_interrupts_a_call_to_our_server() {
    let kick = send_myself(libc::SIGUSR1);
    let serve = move |mut server: Server| {
        let call = server.hear();
        kick();
        let interrupt = server.hear();
        assert_eq!(interrupt.header.kind(), Some(Kind::Interrupt));
        assert_eq!((interrupt.header.reqno, interrupt.body.len()), (call.header.reqno, 0));
        server.done(&call, Err(Errno::EINTR));
    };
    session(banner::OURS, serve, |remote| assert_eq!(stubs::listen(remote, Fd(3), 1), Err(Errno::EINTR)));
}

#[test]
fn a_signal_does_not_interrupt_a_call_to_the_original_s_server() {
    let kick = send_myself(libc::SIGUSR2);
    let serve = move |mut server: Server| {
        let call = server.hear();
        let before = HANDLED.load(Ordering::Relaxed);
        kick();
        while HANDLED.load(Ordering::Relaxed) == before {
            thread::sleep(Duration::from_millis(1));
        }
        server.done(&call, Ok(0));
    };
    session(ORIGINAL, serve, |remote| assert_eq!(stubs::listen(remote, Fd(3), 1), Ok(())));
}

#[test]
fn an_ignored_signal_does_not_interrupt() {
    // SAFETY: plain calls.
    let me = unsafe { libc::pthread_self() };
    let serve = move |mut server: Server| {
        let call = server.hear();
        // SAFETY: the thread waits for its call meanwhile.
        unsafe { libc::pthread_kill(me, libc::SIGWINCH) };
        thread::sleep(Duration::from_millis(50));
        server.done(&call, Ok(0));
        server.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let more = server.0.read(&mut [0; 64]);
        assert!(matches!(more, Ok(0) | Err(_)), "nothing else was sent");
    };
    session(banner::OURS, serve, |remote| assert_eq!(stubs::listen(remote, Fd(3), 1), Ok(())));
}

#[test]
fn a_signal_from_the_server_is_raised_before_its_call_returns() {
    let _ = send_myself(libc::SIGHUP);
    let serve = |mut server: Server| {
        let call = server.hear();
        server.say(&ServerRequest::Raise { signal: 1 }.encode(u64::MAX));
        server.done(&call, Err(Errno::EPIPE));
    };
    session(ORIGINAL, serve, |remote| {
        let before = HANDLED.load(Ordering::Relaxed);
        assert_eq!(stubs::listen(remote, Fd(3), 1), Err(Errno::EPIPE));
        assert!(HANDLED.load(Ordering::Relaxed) > before);
    });
}

#[test]
fn a_server_of_ours_gets_what_a_call_reads_along_with_it() {
    let serve = |mut server: Server| {
        let call = server.hear();
        let Ok(ClientRequest::Carrying { number, memory, .. }) = ClientRequest::decode(&call.header, &call.body) else {
            panic!("{call:?} brings nothing along");
        };
        assert_eq!((number, message::pieces(memory).next().unwrap().1), (nr::write, &b"data"[..]));
        server.done(&call, Ok(4));
        // What cannot be read, and what is long, is asked for. What the server makes of it is the answer: it may have moved something before.
        for (wanted, answer) in [(4, Err(Errno::EFAULT)), (4, Ok(1)), (100_000, Ok(1))] {
            let call = server.hear();
            assert_eq!(call.header.kind(), Some(Kind::Syscall));
            let from = u64::from_ne_bytes(call.body[8..16].try_into().unwrap());
            assert_eq!(server.copyin(from, wanted).len(), if wanted == 4 { 0 } else { wanted as usize });
            server.done(&call, answer);
        }
    };
    session(banner::OURS, serve, |remote| {
        assert_eq!(stubs::write(remote, Fd(3), In::new(b"data"), 4), Ok(4));
        assert_eq!(stubs::write(remote, Fd(3), In::at(8, 4), 4), Err(Errno::EFAULT));
        assert_eq!(stubs::write(remote, Fd(3), In::at(8, 4), 4), Ok(1));
        assert_eq!(stubs::write(remote, Fd(3), In::new(&[1; 100_000]), 100_000), Ok(1));
    });
}

#[test]
fn a_mixed_wait_ends_for_the_rump_s_sake() {
    let (reader, _writer) = UnixStream::pair().unwrap();
    let serve = |mut server: Server| {
        let call = server.hear();
        let Ok(ClientRequest::Carrying { args, memory, .. }) = ClientRequest::decode(&call.header, &call.body) else {
            panic!("{call:?} brings nothing along");
        };
        let set = u64::from_ne_bytes(args[..8].try_into().unwrap());
        let (_, there) = message::pieces(memory).find(|(addr, _)| *addr == set).unwrap();
        let answer = [&there[..6], &[1, 0]].concat();
        server.say(&ServerRequest::CopyOut { addr: set, data: &answer }.encode(1));
        server.done(&call, Ok(1));
    };
    session(banner::OURS, serve, |remote| {
        let mut rump = [PollFd { fd: 3, events: 1, revents: 0 }];
        let mut host = [HostPollFd { fd: reader.as_raw_fd(), events: 1, revents: 0 }];
        assert_eq!(remote.poll_mixed(&mut rump, &mut host, Some(Duration::from_secs(5))), Ok((1, 0)));
        assert_eq!((rump[0].revents, host[0].revents), (1, 0));
    });
}

#[test]
fn a_mixed_wait_ends_for_the_host_s_sake_at_our_server() {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let serve = move |mut server: Server| {
        let call = server.hear();
        writer.write_all(b"x").unwrap();
        assert_eq!(server.hear().header.kind(), Some(Kind::Interrupt));
        server.done(&call, Err(Errno::EINTR));
    };
    session(banner::OURS, serve, |remote| {
        let mut rump = [PollFd { fd: 3, events: 1, revents: 0 }];
        let mut host = [HostPollFd { fd: reader.as_raw_fd(), events: 1, revents: 0 }];
        assert_eq!(remote.poll_mixed(&mut rump, &mut host, None), Ok((0, 1)));
        assert_eq!((rump[0].revents, host[0].revents & 1), (0, 1));
    });
}

#[test]
fn a_mixed_wait_ends_for_the_host_s_sake_at_the_original_s_server() {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let serve = move |mut server: Server| {
        let pipe = server.hear();
        assert_eq!(pipe.header.u, 42);
        server.say(&SyscallResult::new(Ok([7, 8])).encode(pipe.header.reqno));
        let wait = server.hear();
        let set = u64::from_ne_bytes(wait.body[..8].try_into().unwrap());
        let asked = server.copyin(set, 16);
        assert_eq!(asked[8], 7, "the pipe is in the set");
        writer.write_all(b"x").unwrap();
        let wake = server.hear();
        assert_eq!((wake.header.u, wake.body[0]), (4, 8));
        let answer = [&asked[..14], &[1, 0]].concat();
        server.say(&ServerRequest::CopyOut { addr: set, data: &answer }.encode(1));
        server.done(&wait, Ok(1));
        server.done(&wake, Ok(8));
        for fd in [7, 8] {
            let close = server.hear();
            assert_eq!((close.header.u, close.body[0]), (6, fd));
            server.done(&close, Ok(0));
        }
    };
    session(ORIGINAL, serve, |remote| {
        let mut rump = [PollFd { fd: 3, events: 1, revents: 0 }];
        let mut host = [HostPollFd { fd: reader.as_raw_fd(), events: 1, revents: 0 }];
        assert_eq!(remote.poll_mixed(&mut rump, &mut host, None), Ok((0, 1)));
        assert_eq!((rump[0].revents, host[0].revents & 1), (0, 1));
    });
}
