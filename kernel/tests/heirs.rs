//! Connections that a client has made for its child.

use abi::syscalls::nr;
use kernel::config::Config;
use sysproxy::message::{self, ClientRequest, Handshake};

mod common;
use common::{Client, Running};

fn extended(server: &Running) -> Client {
    let mut client = server.guest(b"parent");
    client.send(&ClientRequest::Extended { pid: std::process::id() as i32, prefix: b"/rump" }.encode(0));
    client
}

#[test]
fn a_child_comes_over_the_connection_that_its_parent_was_given() {
    let server = Running::start();
    let mut parent = extended(&server);
    let (token, child) = parent.prefork_connected(2);
    let mut child = child.expect("a connection");
    child.send(&ClientRequest::Handshake(Handshake::Fork { token, cancel: false }).encode(1));
    assert_eq!(child.next(), message::handshake_done(1));
    let [pid, _] = child.simple(2, nr::getpid, &[]).unwrap();
    assert_ne!(parent.simple(3, nr::getpid, &[]).unwrap()[0], pid);
    // It may have children in the same way.
    child.send(&ClientRequest::Extended { pid: 0, prefix: b"" }.encode(0));
    let (token, grandchild) = child.prefork_connected(3);
    let mut grandchild = grandchild.expect("a connection");
    grandchild.send(&ClientRequest::Handshake(Handshake::Fork { token, cancel: true }).encode(1));
    assert_eq!(grandchild.try_next(), None);
    assert_eq!(child.simple(4, nr::getpid, &[]).unwrap()[0], pid);
}

#[test]
fn a_client_of_the_original_is_given_none() {
    let server = Running::start();
    let mut client = server.guest(b"original");
    assert!(client.prefork_connected(2).1.is_none());
}

#[test]
fn who_comes_over_it_is_who_the_host_says() {
    let server = Running::start_with(Config { creds_from_peer: true, ..Config::default() });
    let mut parent = extended(&server);
    let (_, child) = parent.prefork_connected(2);
    let mut child = child.expect("a connection");
    // A process of its own is not the server's user because the server has made the connection.
    child.send(&ClientRequest::Handshake(Handshake::Guest(b"stranger")).encode(1));
    assert_eq!(child.next(), message::handshake_done(1));
    let uid = sysproxy::host::peer(sysproxy::HostFd(std::os::fd::AsRawFd::as_raw_fd(&parent.stream))).unwrap().ids.0;
    assert_eq!(child.simple(2, nr::getuid, &[]).unwrap()[0], i64::from(uid));
}

/// A pipe of whose writing end only the copy for a child is left: its reading end.
fn last_writer(parent: &mut Client, prefork: impl FnOnce(&mut Client)) -> u64 {
    let [reader, writer] = parent.simple(10, nr::pipe, &[]).unwrap().map(|end| end as u64);
    prefork(parent);
    parent.simple(11, nr::close, &[writer]).unwrap();
    reader
}

#[test]
fn the_copy_for_a_child_that_is_killed_goes_with_it() {
    let server = Running::start();
    let mut parent = extended(&server);
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let reader = last_writer(&mut parent, |parent| {
        let token = parent.prefork(2);
        parent.send(&ClientRequest::Forked { token, pid }.encode(0));
    });
    parent.call(12, nr::read, &[reader, 0x1000, 1]);
    child.kill().unwrap();
    assert_eq!(parent.result(12).unwrap()[0], 0);
    child.wait().unwrap();
}

#[test]
fn the_copy_for_a_child_goes_with_the_connection_that_was_made_for_it() {
    let server = Running::start();
    let mut parent = extended(&server);
    let mut connection = None;
    let reader = last_writer(&mut parent, |parent| {
        let (token, child) = parent.prefork_connected(2);
        let mut child = child.expect("a connection");
        child.send(&ClientRequest::Forked { token, pid: 0 }.encode(0));
        connection = Some(child);
    });
    parent.call(12, nr::read, &[reader, 0x1000, 1]);
    drop(connection);
    assert_eq!(parent.result(12).unwrap()[0], 0);
}
