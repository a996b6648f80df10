//! The server under clients that call at once, go away, do not read, or end the kernel.

use std::time::{Duration, Instant};

use abi::syscalls::nr;
use sysproxy::frame::{Class, Kind};
use sysproxy::message::{ClientRequest, Handshake, put_piece};

mod common;
use common::{Client, Running};

/// Makes a pipe.
fn pipe(client: &mut Client, reqno: u64) -> (u64, u64) {
    let [read, write] = client.simple(reqno, nr::pipe, &[]).unwrap();
    (read as u64, write as u64)
}

/// Writes through a pipe's end.
fn write(client: &mut Client, reqno: u64, fd: u64, data: &[u8]) {
    client.call(reqno, nr::write, &[fd, 0x3000, data.len() as u64]);
    client.give(Kind::CopyIn, data);
}

#[test]
fn a_sleeping_call_does_not_hold_up_another() {
    let server = Running::start();
    let mut client = server.guest(b"threads");
    let (read, out) = pipe(&mut client, 20);
    client.call(21, nr::read, &[read, 0x2000, 100]);
    assert_eq!(client.simple(22, nr::getpid, &[]), Ok([2, 1]));
    write(&mut client, 23, out, b"xyz");
    // The writer's answer and the reader's data come in either order.
    let mut frames = [client.next(), client.next(), client.next()];
    frames.sort_by_key(|frame| (frame.header.class, frame.header.reqno));
    assert_eq!(frames[0].header.kind(), Some(Kind::CopyOut));
    assert_eq!(&frames[0].body[16..], b"xyz");
    assert_eq!([frames[1].header.reqno, frames[2].header.reqno], [21, 23]);
}

#[test]
fn two_hundred_sleepers_wedge_nobody() {
    let server = Running::start();
    let mut client = server.guest(b"sleepers");
    let (read, out) = pipe(&mut client, 2);
    for reqno in 100..300 {
        client.call(reqno, nr::read, &[read, 0x2000, 1]);
    }
    let mut other = server.guest(b"other");
    assert_eq!(other.simple(2, nr::getpid, &[]), Ok([3, 1]));
    write(&mut client, 3, out, &[b'x'; 200]);
    let mut answered = Vec::new();
    while answered.len() < 201 {
        let frame = client.next();
        if frame.header.class() == Some(Class::Resp) {
            answered.push(frame.header.reqno);
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, std::iter::once(3).chain(100..300).collect::<Vec<_>>());
}

#[test]
fn an_interrupt_ends_a_sleep() {
    let server = Running::start();
    let mut client = server.guest(b"signals");
    let (read, _) = pipe(&mut client, 2);
    client.call(3, nr::read, &[read, 0x2000, 1]);
    client.send(&ClientRequest::Interrupt.encode(3));
    assert_eq!(client.result(3), Err(4));
    // One that names no call changes nothing.
    client.send(&ClientRequest::Interrupt.encode(99));
    assert_eq!(client.simple(4, nr::getpid, &[]), Ok([2, 1]));
}

#[test]
fn an_exec_ends_sleeping_calls_and_closes_descriptors() {
    let server = Running::start();
    let mut client = server.guest(b"old");
    let (read, out) = pipe(&mut client, 2);
    assert_eq!(client.simple(3, nr::fcntl, &[out, 2, 1]), Ok([0, 0]));
    client.call(4, nr::read, &[read, 0x2000, 1]);
    client.call(5, nr::write, &[1, 0x1000, 3]);
    assert_eq!(client.next().header.kind(), Some(Kind::CopyIn));
    client.send(&ClientRequest::Handshake(Handshake::Exec(b"new")).encode(0));
    let mut numbers: Vec<u64> = (0..3).map(|_| client.next().header.reqno).collect();
    assert_eq!(numbers.pop(), Some(0));
    numbers.sort_unstable();
    assert_eq!(numbers, [4, 5]);
    assert_eq!(client.simple(6, nr::fcntl, &[out, 1, 0]), Err(9));
    assert_eq!(client.simple(7, nr::fcntl, &[read, 1, 0]), Ok([0, 0]));
    let kernel = server.server.kernel();
    assert_eq!(*kernel::proc::lock(&kernel.procs.get(2).unwrap().name), "new");
}

#[test]
fn a_client_that_dies_in_a_call_leaves_nothing() {
    let server = Running::start();
    let mut client = server.guest(b"dying");
    let (read, _) = pipe(&mut client, 2);
    client.call(3, nr::read, &[read, 0x2000, 1]);
    client.call(4, nr::write, &[1, 0x1000, 3]);
    drop(client);
    let kernel = server.server.kernel();
    let begun = Instant::now();
    while kernel.procs.get(2).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the process ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(kernel.procs.list().len(), 2);
}

#[test]
fn a_client_that_does_not_read_harms_nobody() {
    let server = Running::start();
    let mut deaf = server.guest(b"deaf");
    for reqno in 2..20_000 {
        deaf.call(reqno, nr::getpid, &[]);
    }
    let mut other = server.guest(b"other");
    for reqno in 2..50 {
        assert_eq!(other.simple(reqno, nr::getpid, &[]), Ok([3, 1]));
    }
}

#[test]
fn three_hundred_clients_are_served() {
    let server = Running::start();
    let mut clients: Vec<Client> = (0..300).map(|_| server.guest(b"many")).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.simple(2, nr::getpid, &[]), Ok([2 + n as i64, 1]));
    }
}

#[test]
fn large_data_moves_whole_for_a_client_of_ours() {
    let server = Running::start();
    let mut client = server.guest(b"ours");
    client.send(&ClientRequest::Extended { pid: 4711, prefix: b"" }.encode(0));
    client.call(2, nr::write, &[1, 0x1000, 10]);
    client.give(Kind::CopyIn, b"to stdout\n");
    assert_eq!(client.result(2), Ok([10, 0]));
    let (read, out) = pipe(&mut client, 3);
    client.call(4, nr::write, &[out, 0x1000, 50_000]);
    client.give(Kind::CopyIn, &[7; 50_000]);
    assert_eq!(client.result(4), Ok([50_000, 0]));
    client.call(5, nr::read, &[read, 0x1000, 60_000]);
    assert_eq!(client.next().body.len(), 16 + 50_000);
    assert_eq!(client.result(5), Ok([50_000, 0]));
}

#[test]
fn memory_that_comes_along_is_not_asked_for() {
    let server = Running::start();
    let mut client = server.guest(b"ours");
    let (read, out) = pipe(&mut client, 2);
    let carried = |pieces: &[(u64, &[u8])]| {
        let mut memory = Vec::new();
        for (addr, data) in pieces {
            put_piece(&mut memory, *addr, data.len(), |to| {
                to.copy_from_slice(data);
                Ok::<_, ()>(())
            });
        }
        memory
    };
    let write = |client: &mut Client, reqno, memory: &[u8], from: u64| {
        let args: Vec<u8> = [out, from, 4].iter().flat_map(|slot| slot.to_le_bytes()).collect();
        client.send(&ClientRequest::Carrying { number: nr::write, args: &args, memory }.encode(reqno));
    };
    // A part of a piece, and the second of two.
    write(&mut client, 3, &carried(&[(0x1000, b"none"), (0x2000, b"--data--")]), 0x2002);
    assert_eq!(client.result(3), Ok([4, 0]));
    // What is not there, short, or not whole is asked for.
    for memory in
        [carried(&[(0x1000, b"none")]), carried(&[(0x3000, b"sho")]), carried(&[(0x3000, b"data")])[..18].to_vec()]
    {
        write(&mut client, 4, &memory, 0x3000);
        client.give(Kind::CopyIn, b"ask!");
        assert_eq!(client.result(4), Ok([4, 0]));
    }
    // Data and answer come together, in this order.
    client.call(5, nr::read, &[read, 0x4000, 100]);
    assert_eq!(&client.next().body[16..], b"dataask!ask!ask!");
    assert_eq!(client.result(5), Ok([16, 0]));
    // A string ends in its piece, or is asked for.
    let args: Vec<u8> = [0x5000u64, 0o755].iter().flat_map(|slot| slot.to_le_bytes()).collect();
    let memory = carried(&[(0x5000, b"/here\0")]);
    client.send(&ClientRequest::Carrying { number: nr::mkdir, args: &args, memory: &memory }.encode(6));
    assert_eq!(client.result(6), Ok([0, 0]));
    let memory = carried(&[(0x5000, b"/here")]);
    client.send(&ClientRequest::Carrying { number: nr::mkdir, args: &args, memory: &memory }.encode(7));
    client.give(Kind::CopyInStr, b"/here\0");
    assert_eq!(client.result(7), Err(abi::Errno::EEXIST.raw()));
}

#[test]
fn reboot_answers_and_ends_the_server() {
    let mut server = Running::start();
    let mut client = server.guest(b"halt");
    assert_eq!(client.simple(2, nr::reboot, &[0, 0]), Ok([0, 0]));
    assert_eq!(client.try_next(), None);
    server.join();
    assert!(!server.path.exists());
}

#[test]
fn processes_show_in_sysctl() {
    let server = Running::start();
    let mut client = server.guest(b"ps");
    let name: Vec<u8> = [1i32, 47, 0, 0, 680, 100].iter().flat_map(|n| n.to_le_bytes()).collect();
    client.send(&ClientRequest::Extended { pid: 4711, prefix: b"" }.encode(0));
    client.call(2, nr::sysctl, &[0x1000, 6, 0x2000, 0x3000, 0, 0]);
    client.give(Kind::CopyIn, &name);
    client.give(Kind::CopyIn, &100_000u64.to_le_bytes());
    let table = client.next();
    assert_eq!(table.body.len(), 16 + 3 * 680);
    assert_eq!(&table.body[16 + 2 * 680 + 368..][..3], b"ps\0");
    assert_eq!(&client.next().body[16..], (3 * 680u64).to_le_bytes());
    assert_eq!(client.result(2), Ok([0, 0]));
}
