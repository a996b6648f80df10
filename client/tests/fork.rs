//! A fork: the child closes what it inherited and claims its process on a connection of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use abi::{Errno, Fd};
use client::{Handshake, Remote, Retry, fds, stubs};
use sysproxy::frame::{Frame, HEADER_LEN, Header, Kind};
use sysproxy::message::{self, SyscallResult};
use zerocopy::FromBytes;

const TOKEN: [u8; 16] = *b"sixteen bytes it";

fn hear(stream: &mut UnixStream) -> Option<Frame> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).ok()?;
    let header = Header::read_from_bytes(&header).unwrap();
    let mut body = vec![0; header.body_len().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some(Frame { header, body })
}

/// Serves one client: handshakes, preforks, and calls that answer with the number of the connection.
fn serve(mut stream: UnixStream, number: i64) {
    stream.write_all(b"RUMPSP-0.4-NetBSD-7.99.34/amd64\n").unwrap();
    while let Some(frame) = hear(&mut stream) {
        let reqno = frame.header.reqno;
        let answer = match frame.header.kind() {
            Some(Kind::Handshake) if number == 2 => {
                assert_eq!((frame.header.u, &frame.body[..16]), (2, &TOKEN[..]));
                message::handshake_done(reqno)
            }
            Some(Kind::Handshake) => message::handshake_done(reqno),
            Some(Kind::Prefork) => message::prefork_done(reqno, &TOKEN),
            _ => SyscallResult::new(Ok([number, 0])).encode(reqno),
        };
        stream.write_all(&answer.encode()).unwrap();
    }
}

#[test]
fn a_child_claims_what_its_parent_asked_for_and_both_go_on() {
    let path = std::env::temp_dir().join(format!("client-fork-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            thread::spawn(move || serve(stream.unwrap(), number as i64 + 1));
        }
    });
    let url = format!("unix://{}", path.display());
    let remote = Remote::connect(&url, Handshake::Guest(b"parent".to_vec()), Retry::Never).unwrap();
    assert_eq!(stubs::dup(&remote, Fd(0)), Ok(Fd(1)));
    let token = remote.prefork(false).unwrap();
    let inherited = remote.socket_fd();
    // SAFETY: the child makes its own connection and ends by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let own = remote.fork_child(token, false).ok();
        std::mem::forget(remote);
        let ok = own.is_some_and(|own| {
            let only_own = fds::all().count() == 3 && own.owns(own.socket_fd());
            only_own && inherited.0 > 2 && stubs::dup(&own, Fd(0)) == Ok(Fd(2))
        });
        // SAFETY: plain call.
        unsafe { libc::_exit(i32::from(!ok)) };
    }
    let mut status = -1;
    // SAFETY: `status` is ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0);
    assert_eq!(stubs::dup(&remote, Fd(0)), Ok(Fd(1)));
    std::fs::remove_file(&path).unwrap();
}

/// What the handler in the test below forks with, and what the child has got.
static PARENT: OnceLock<Remote> = OnceLock::new();
static GRANTED: OnceLock<client::Heir> = OnceLock::new();
static CHILD: OnceLock<Remote> = OnceLock::new();
static FORKED: AtomicI32 = AtomicI32::new(0);

extern "C" fn fork_now(_: i32) {
    let (Some(parent), Some(token)) = (PARENT.get(), GRANTED.get()) else { return };
    // SAFETY: the child makes its own connection and ends by _exit.
    let child = unsafe { libc::fork() };
    FORKED.store(child, Ordering::SeqCst);
    if child == 0
        && let Ok(own) = parent.fork_child(*token, false)
    {
        let _ = CHILD.set(own);
    }
}

/// As the server of the original: a call cannot be interrupted, so the handler runs in the middle of it.
fn serve_slowly(mut stream: UnixStream, answer: &Mutex<Receiver<()>>, asked: &Sender<()>) {
    stream.write_all(b"RUMPSP-0.4-NetBSD-7.99.34/amd64\n").unwrap();
    while let Some(frame) = hear(&mut stream) {
        let reqno = frame.header.reqno;
        let reply = match frame.header.kind() {
            Some(Kind::Handshake) => message::handshake_done(reqno),
            Some(Kind::Prefork) => message::prefork_done(reqno, &TOKEN),
            _ => {
                asked.send(()).unwrap();
                answer.lock().unwrap().recv().unwrap();
                SyscallResult::new(Ok([7, 0])).encode(reqno)
            }
        };
        stream.write_all(&reply.encode()).unwrap();
    }
}

#[test]
fn a_handler_that_forks_inside_a_call_leaves_the_call_to_the_parent() {
    let path = std::env::temp_dir().join(format!("client-handler-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let ((go, answer), (tell, asked)) = (channel(), channel());
    let answer = Arc::new(Mutex::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, tell) = (Arc::clone(&answer), tell.clone());
            thread::spawn(move || serve_slowly(stream.unwrap(), &answer, &tell));
        }
    });
    let url = format!("unix://{}", path.display());
    let remote = Remote::connect(&url, Handshake::Guest(b"parent".to_vec()), Retry::Never).unwrap();
    let remote = PARENT.get_or_init(|| remote);
    GRANTED.set(remote.prefork(false).unwrap()).unwrap();
    // SAFETY: the handler is a plain function; the thread that makes the call gets the signal.
    let caller = unsafe {
        libc::signal(libc::SIGUSR1, fork_now as *const () as usize);
        libc::pthread_self()
    };
    let helper = thread::spawn(move || {
        asked.recv().unwrap();
        // SAFETY: that thread waits for this one.
        unsafe { libc::pthread_kill(caller, libc::SIGUSR1) };
        while FORKED.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        let mut status = -1;
        // SAFETY: `status` is ours. The child ends although nobody answers the call.
        while unsafe { libc::waitpid(FORKED.load(Ordering::SeqCst), &raw mut status, 0) } < 0 {}
        go.send(()).unwrap();
        status
    });
    let me = std::process::id();
    let got = stubs::dup(remote, Fd(0));
    if std::process::id() != me {
        let ok = got == Err(Errno::EINTR) && CHILD.get().is_some() && stubs::dup(remote, Fd(0)) == Err(Errno::ENOTCONN);
        // SAFETY: plain call.
        unsafe { libc::_exit(if ok { 5 } else { 6 }) };
    }
    assert_eq!(got, Ok(Fd(7)));
    assert_eq!(libc::WEXITSTATUS(helper.join().unwrap()), 5);
    std::fs::remove_file(&path).unwrap();
}
