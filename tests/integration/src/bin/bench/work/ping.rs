//! Messages to and fro between two processes: the time of a round trip.

use std::ffi::c_int;

use super::{Other, Task, beside, bulk, done, each, fail, moved};
use crate::row::{Bound, Of, Row, Unit, Way, row};

/// What a byte to and fro may take.
const TCP: &[Bound] = &[Bound { way: Way::Extended, of: Of::Host, floor: 1.0, aim: 0.02 }];

/// The measure of a wake-up of one process by another.
pub const ROUND_TRIP: Row = row("unix-socket round trip", Unit::Time, local, 1).by(&[Way::Host]);

pub const ROWS: &[Row] = &[
    ROUND_TRIP,
    row("pipe (FIFO) ping-pong, 1 B", Unit::Time, fifo, 1),
    row("pipe (FIFO) ping-pong, 1 KiB", Unit::Time, fifo, 1024),
    row("AF_LOCAL ping-pong, 1 B", Unit::Time, local, 1),
    row("AF_LOCAL ping-pong, 1 KiB", Unit::Time, local, 1024),
    row("UDP ping-pong, 1 B", Unit::Time, udp, 1),
    row("UDP ping-pong, 1 KiB", Unit::Time, udp, 1024),
    row("TCP ping-pong, 1 B", Unit::Time, tcp, 1).bound(TCP),
    row("TCP ping-pong, 1 KiB", Unit::Time, tcp, 1024),
    row("shmif ping-pong, 1 B, two kernels", Unit::Time, meet, 1).paired(),
    row("shmif ping-pong, 1 KiB, two kernels", Unit::Time, meet, 1024).paired(),
];

/// Sends a message of a stream whole, which fits into its buffer.
pub fn say(fd: c_int, message: &[u8]) {
    // SAFETY: see write(2).
    if moved(unsafe { libc::write(fd, message.as_ptr().cast(), message.len()) }, "write") != message.len() {
        fail("write: a part only");
    }
}

/// Receives a whole message; false at the end of the stream.
pub fn hear(fd: c_int, message: &mut [u8]) -> bool {
    let mut got = 0;
    while got < message.len() {
        let room = &mut message[got..];
        // SAFETY: see read(2).
        match moved(unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) }, "read") {
            0 => return false,
            n => got += n,
        }
    }
    true
}

/// Sends back what comes, up to the end.
pub fn echo(from: c_int, to: c_int, size: usize) {
    let mut message = vec![0; size];
    while hear(from, &mut message) {
        say(to, &message);
    }
}

/// Measures round trips by a pair of ends; `_other` echoes.
fn trips(task: &Task, from: c_int, to: c_int, size: usize, _other: Other) -> f64 {
    let mut message = vec![b'm'; size];
    each(task, || {
        say(to, &message);
        if !hear(from, &mut message) {
            fail("the other end is gone");
        }
    })
}

/// Two named pipes: pipe(2) makes pipes of the host, a FIFO of a rump file system is the rump kernel's.
fn fifo(task: &Task, size: usize) -> f64 {
    let ends = ["there", "back"].map(|name| {
        let path = task.path(name);
        // SAFETY: see mkfifo(3) and open(2).
        unsafe {
            done(libc::mkfifo(path.as_ptr(), 0o600), "mkfifo");
            // Linux, and so the rump kernel, opens a FIFO for both without waiting for anybody.
            let read = done(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK), "open");
            let write = done(libc::open(path.as_ptr(), libc::O_WRONLY), "open");
            done(libc::fcntl(read, libc::F_SETFL, 0), "fcntl");
            (read, write)
        }
    });
    let [(there, to), (from, back)] = ends;
    let other = beside(task, &[there, back], &[from, to], move || echo(there, back, size));
    trips(task, from, to, size, other)
}

fn local(task: &Task, size: usize) -> f64 {
    let mut ends = [0; 2];
    // SAFETY: see socketpair(2).
    done(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) }, "socketpair");
    let [mine, its] = ends;
    let other = beside(task, &[its], &[mine], move || echo(its, its, size));
    trips(task, mine, mine, size, other)
}

fn udp(task: &Task, size: usize) -> f64 {
    let [mine, its] = [(); 2].map(|()| {
        // SAFETY: see socket(2) and bind(2).
        unsafe {
            let fd = done(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0), "socket");
            let (name, len) = bulk::address([127, 0, 0, 1], 0);
            done(libc::bind(fd, (&raw const name).cast(), len), "bind");
            fd
        }
    });
    for (one, two) in [(mine, its), (its, mine)] {
        let (name, len) = bulk::name_of(two);
        // SAFETY: see connect(2).
        done(unsafe { libc::connect(one, (&raw const name).cast(), len) }, "connect");
    }
    let other = beside(task, &[its], &[mine], move || echo(its, its, size));
    trips(task, mine, mine, size, other)
}

fn tcp(task: &Task, size: usize) -> f64 {
    let (mine, its) = bulk::pair();
    let other = beside(task, &[its], &[mine], move || echo(its, its, size));
    trips(task, mine, mine, size, other)
}

/// Round trips between the two processes of a pair.
fn meet(task: &Task, size: usize) -> f64 {
    let (fd, waits) = bulk::meet(task);
    if waits {
        echo(fd, fd, size);
        return 0.0;
    }
    let mut message = vec![b'm'; size];
    each(task, || {
        say(fd, &message);
        if !hear(fd, &mut message) {
            fail("the other end is gone");
        }
    })
}
