//! Much data over TCP, and many connections.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use libc::{sockaddr_in, socklen_t};

use super::{Task, beside, done, each, fail, moved, ping};
use crate::row::{Bound, Of, Row, Unit, Way, row};

const HALF: &[Bound] = &[Bound { way: Way::Extended, of: Of::Host, floor: 0.5, aim: 2.5 }];
const REMOTE: &[Way] = &[Way::Wire, Way::Extended];

pub const ROWS: &[Row] = &[
    row("TCP bulk, 1 stream, writes of 128 KiB", Unit::Bytes, one, 128 << 10).bound(HALF),
    row("TCP bulk, 1 stream, writes of 1 KiB", Unit::Bytes, one, 1 << 10).bound(HALF),
    row("TCP bulk, 8 streams, writes of 128 KiB", Unit::Bytes, eight, 128 << 10).bound(HALF),
    row("TCP bulk, 8 streams, writes of 1 KiB", Unit::Bytes, eight, 1 << 10).bound(HALF),
    row("connect, accept, close", Unit::Rate, connections, 0),
    row("shmif bulk, two kernels, writes of 128 KiB", Unit::Bytes, meeting, 128 << 10).paired(),
    row("goodput, 10 ms, no loss", Unit::Bytes, one, 128 << 10).by(REMOTE).on(&["netem lo0 delay 5ms seed 1"], 1.0),
    row("goodput, 10 ms, 1 % loss", Unit::Bytes, one, 128 << 10)
        .by(REMOTE)
        .on(&["netem lo0 delay 5ms loss 1% seed 1"], 2.0),
    row("goodput, 10 ms, 5 % loss", Unit::Bytes, one, 128 << 10)
        .by(REMOTE)
        .on(&["netem lo0 delay 5ms loss 5% seed 1"], 2.0),
];

/// What is received at a time.
const ROOM: usize = 256 << 10;

/// An address for bind(2) and its kin.
pub fn address(host: [u8; 4], port: u16) -> (sockaddr_in, socklen_t) {
    let addr = libc::in_addr { s_addr: u32::from_ne_bytes(host) };
    let family = libc::AF_INET as libc::sa_family_t;
    let name = sockaddr_in { sin_family: family, sin_port: port.to_be(), sin_addr: addr, sin_zero: [0; 8] };
    (name, size_of_val(&name) as socklen_t)
}

/// The address of a socket.
pub fn name_of(fd: c_int) -> (sockaddr_in, socklen_t) {
    let (mut name, mut len) = address([0; 4], 0);
    // SAFETY: see getsockname(2).
    done(unsafe { libc::getsockname(fd, (&raw mut name).cast(), &mut len) }, "getsockname");
    (name, len)
}

/// A socket that sends at once.
pub fn stream() -> c_int {
    // SAFETY: see socket(2).
    let fd = done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }, "socket");
    set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
    fd
}

/// Turns an option on.
fn set(fd: c_int, level: c_int, option: c_int) {
    let on: c_int = 1;
    // SAFETY: see setsockopt(2).
    done(unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), 4) }, "setsockopt");
}

/// A socket that listens on a port of the loopback network, and its name.
pub fn listener(host: [u8; 4], port: u16) -> (c_int, (sockaddr_in, socklen_t)) {
    let (fd, (name, len)) = (stream(), address(host, port));
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR);
    // SAFETY: see bind(2) and listen(2).
    unsafe {
        done(libc::bind(fd, (&raw const name).cast(), len), "bind");
        done(libc::listen(fd, 4096), "listen");
    }
    (fd, name_of(fd))
}

/// Connects to a listener.
pub fn connect(to: &(sockaddr_in, socklen_t)) -> c_int {
    let fd = stream();
    // SAFETY: see connect(2).
    done(unsafe { libc::connect(fd, (&raw const to.0).cast(), to.1) }, "connect");
    fd
}

/// Accepts a connection.
pub fn accept(listener: c_int) -> c_int {
    // SAFETY: see accept(2).
    let fd = done(unsafe { libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) }, "accept");
    set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
    fd
}

/// Two ends of a connection.
pub fn pair() -> (c_int, c_int) {
    let (listener, name) = listener([127, 0, 0, 1], 0);
    let mine = connect(&name);
    let its = accept(listener);
    // SAFETY: our own descriptor.
    unsafe { libc::close(listener) };
    (mine, its)
}

/// The connection between the two processes of a pair, and whether this is the one that waited for it.
pub fn meet(task: &Task) -> (c_int, bool) {
    let (host, port, waits) = task.meet.expect("a row of two processes");
    if waits {
        return (accept(listener(host, port).0), true);
    }
    let (name, len) = address(host, port);
    let begin = Instant::now();
    loop {
        let fd = stream();
        // SAFETY: see connect(2).
        if unsafe { libc::connect(fd, (&raw const name).cast(), len) } == 0 {
            return (fd, false);
        }
        // The other process may not listen yet.
        if begin.elapsed() > Duration::from_secs(5) {
            fail("connect");
        }
        // SAFETY: our own descriptor.
        unsafe { libc::close(fd) };
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Receives all that comes, and says so at the end.
fn drain(fd: c_int) {
    let mut room = vec![0u8; ROOM];
    // SAFETY: see read(2).
    while moved(unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) }, "read") > 0 {}
    ping::say(fd, b".");
}

/// Sends for so long, and returns how many bytes have arrived and how long that took.
fn pour(fd: c_int, size: usize, time: Duration) -> (f64, Duration) {
    let (data, begin, mut sent) = (vec![b'd'; size], Instant::now(), 0);
    while begin.elapsed() < time {
        // SAFETY: see write(2).
        sent += moved(unsafe { libc::write(fd, data.as_ptr().cast(), size) }, "write");
    }
    // SAFETY: see shutdown(2).
    done(unsafe { libc::shutdown(fd, libc::SHUT_WR) }, "shutdown");
    if !ping::hear(fd, &mut [0]) {
        fail("the other end is gone");
    }
    (sent as f64, begin.elapsed())
}

/// Bytes per second of so many streams at once.
fn streams(task: &Task, count: usize, size: usize) -> f64 {
    let (mine, its): (Vec<_>, Vec<_>) = (0..count).map(|_| pair()).unzip();
    let drained = its.clone();
    let _other = beside(task, &its, &mine, move || {
        let threads = drained.into_iter().map(|fd| std::thread::spawn(move || drain(fd)));
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| _ = thread.join());
    });
    let time = task.time;
    let begin = Instant::now();
    let threads: Vec<_> = mine.into_iter().map(|fd| std::thread::spawn(move || pour(fd, size, time).0)).collect();
    let sent: f64 = threads.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum();
    sent / begin.elapsed().as_secs_f64()
}

fn one(task: &Task, size: usize) -> f64 {
    let (mine, its) = pair();
    let _other = beside(task, &[its], &[mine], move || drain(its));
    let (sent, time) = pour(mine, size, task.time);
    sent / time.as_secs_f64()
}

fn eight(task: &Task, size: usize) -> f64 {
    streams(task, 8, size)
}

/// Bulk between the two processes of a pair.
fn meeting(task: &Task, size: usize) -> f64 {
    let (fd, waits) = meet(task);
    if waits {
        drain(fd);
        return 0.0;
    }
    let (sent, time) = pour(fd, size, task.time);
    sent / time.as_secs_f64()
}

/// Connections per second, each made, accepted and closed.
fn connections(task: &Task, _: usize) -> f64 {
    let (listener, name) = listener([127, 0, 0, 1], 0);
    let _other = beside(task, &[], &[], move || {
        loop {
            // SAFETY: our own descriptor.
            unsafe { libc::close(accept(listener)) };
        }
    });
    1.0 / each(task, || {
        let fd = connect(&name);
        if ping::hear(fd, &mut [0]) {
            fail("data where none was sent");
        }
        // SAFETY: our own descriptor.
        unsafe { libc::close(fd) };
    })
}
