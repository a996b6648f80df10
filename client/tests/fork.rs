//! A fork: the child closes what it inherited and claims its process on a connection of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use abi::Fd;
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
    let token = remote.prefork().unwrap();
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
