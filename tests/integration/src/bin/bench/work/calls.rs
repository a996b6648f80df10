//! Calls that do next to nothing, so that what is measured is the way to the kernel and back.

use super::{Task, done, each, fail};
use crate::row::{Bound, Of, Row, Unit, Way, row};

/// What a call may cost that does nothing.
const NULL: &[Bound] = &[
    Bound { way: Way::Extended, of: Of::RoundTrip, floor: 1.0, aim: 0.05 },
    Bound { way: Way::Wire, of: Of::RoundTrip, floor: 1.5, aim: 1.5 },
    Bound { way: Way::Local, of: Of::Itself, floor: 150e-9, aim: 50e-9 },
];

pub const ROWS: &[Row] = &[
    row("null call: getsockname", Unit::Time, getsockname, 0).bound(NULL),
    row("null call: lseek", Unit::Time, lseek, 0).bound(NULL),
    row("fcntl F_GETFL", Unit::Time, flags, 0),
    row("dup and close", Unit::Time, duplicate, 0),
    row("socket and close", Unit::Time, socket, 0),
];

fn udp() -> i32 {
    // SAFETY: see socket(2).
    done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }, "socket")
}

fn getsockname(task: &Task, _: usize) -> f64 {
    let fd = udp();
    each(task, || {
        // SAFETY: see getsockname(2).
        unsafe {
            let mut name: libc::sockaddr_in = std::mem::zeroed();
            let mut len = size_of_val(&name) as libc::socklen_t;
            done(libc::getsockname(fd, (&raw mut name).cast(), &mut len), "getsockname");
        }
    })
}

fn lseek(task: &Task, _: usize) -> f64 {
    let path = task.path("file");
    // SAFETY: see open(2) and lseek(2).
    unsafe {
        let fd = done(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600), "open");
        each(task, || {
            if libc::lseek(fd, 0, libc::SEEK_CUR) != 0 {
                fail("lseek");
            }
        })
    }
}

fn flags(task: &Task, _: usize) -> f64 {
    let fd = udp();
    // SAFETY: see fcntl(2).
    each(task, || _ = done(unsafe { libc::fcntl(fd, libc::F_GETFL) }, "fcntl"))
}

fn duplicate(task: &Task, _: usize) -> f64 {
    let fd = udp();
    // SAFETY: see dup(2).
    each(task, || _ = done(unsafe { libc::close(done(libc::dup(fd), "dup")) }, "close"))
}

fn socket(task: &Task, _: usize) -> f64 {
    // SAFETY: a descriptor of our own.
    each(task, || _ = done(unsafe { libc::close(udp()) }, "close"))
}
