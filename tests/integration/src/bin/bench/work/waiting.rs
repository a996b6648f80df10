//! poll and epoll on many descriptors of both kernels, and an active connection among idle ones.

use std::ffi::c_int;

use super::{Other, Task, beside, bulk, done, each, fail, ping};
use crate::row::{Bound, Of, Row, Unit, Way, row};

/// An active connection does not feel idle ones. What is measured is noise of some hundredths.
const UNFELT: &[Bound] = &[Bound { way: Way::Extended, of: Of::Itself, floor: 1.1, aim: 1.0 }];

const EPOLL: &[Way] = &[Way::Host, Way::Extended, Way::Local];

/// Ten thousand descriptors: a client of the original protocol may not have so many.
const MANY: &[Way] = EPOLL;

/// Twice as many: a kernel in the program has both ends in one process.
const TWICE: &[Way] = &[Way::Host, Way::Extended];

pub const ROWS: &[Row] = &[
    row("poll, 10 descriptors of both kernels", Unit::Time, poll, 10),
    row("poll, 1,000 descriptors of both kernels", Unit::Time, poll, 1000),
    row("poll, 10,000 descriptors of both kernels", Unit::Time, poll, 10_000).by(MANY),
    // Over the original protocol epoll refuses rump descriptors.
    row("epoll, 10 descriptors of both kernels", Unit::Time, epoll, 10).by(EPOLL),
    row("epoll, 1,000 descriptors of both kernels", Unit::Time, epoll, 1000).by(EPOLL),
    row("epoll, 10,000 descriptors of both kernels", Unit::Time, epoll, 10_000).by(EPOLL),
    row("recv that would block (EAGAIN)", Unit::Time, again, 0),
    row("poll of one that is not ready, timeout 0", Unit::Time, not_yet, 0),
    row("TCP ping-pong among 10,000 idle", Unit::Time, among, 10_000).by(TWICE),
    row("the same : without idle ones", Unit::Times, slowdown, 10_000).by(TWICE).bound(UNFELT),
];

fn udp() -> c_int {
    // SAFETY: see socket(2).
    done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }, "socket")
}

/// So many descriptors, half of them the host's in any case (eventfds), half sockets; one socket in the middle is readable.
fn mixed(task: &Task, count: usize) -> Vec<c_int> {
    let count = task.many(count);
    let quiet = |at: usize| match at % 2 {
        // SAFETY: see eventfd(2).
        0 => done(unsafe { libc::eventfd(0, 0) }, "eventfd"),
        _ => udp(),
    };
    let fds: Vec<c_int> = (0..count).map(quiet).collect();
    let ready = fds[(count / 2) | 1];
    let (name, len) = bulk::address([127, 0, 0, 1], 0);
    // SAFETY: see bind(2) and sendto(2).
    unsafe {
        done(libc::bind(ready, (&raw const name).cast(), len), "bind");
        let (name, len) = bulk::name_of(ready);
        let sent = libc::sendto(udp(), c"x".as_ptr().cast(), 1, 0, (&raw const name).cast(), len);
        done(sent as c_int, "sendto");
    }
    fds
}

fn poll(task: &Task, count: usize) -> f64 {
    let watch = |fd: c_int| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds: Vec<libc::pollfd> = mixed(task, count).into_iter().map(watch).collect();
    each(task, || {
        // SAFETY: see poll(2).
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 10_000) };
        if done(ready, "poll") != 1 {
            fail("poll: one is ready");
        }
    })
}

fn epoll(task: &Task, count: usize) -> f64 {
    // SAFETY: see epoll_ctl(2) and epoll_wait(2).
    unsafe {
        let set = done(libc::epoll_create1(0), "epoll_create1");
        for fd in mixed(task, count) {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
            done(libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &mut event), "epoll_ctl");
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        each(task, || {
            if done(libc::epoll_wait(set, events.as_mut_ptr(), 16, 10_000), "epoll_wait") != 1 {
                fail("epoll_wait: one is ready");
            }
        })
    }
}

fn again(task: &Task, _: usize) -> f64 {
    let fd = udp();
    each(task, || {
        // SAFETY: see recv(2).
        if unsafe { libc::recv(fd, [0u8; 16].as_mut_ptr().cast(), 16, libc::MSG_DONTWAIT) } >= 0 {
            fail("recv: there is nothing");
        }
    })
}

fn not_yet(task: &Task, _: usize) -> f64 {
    let mut fd = libc::pollfd { fd: udp(), events: libc::POLLIN, revents: 0 };
    each(task, || {
        // SAFETY: see poll(2).
        if done(unsafe { libc::poll(&mut fd, 1, 0) }, "poll") != 0 {
            fail("poll: nothing is ready");
        }
    })
}

/// An active connection to another process, which accepts idle ones as well.
struct Active {
    fd: c_int,
    _other: Other,
}

impl Active {
    /// Makes it; a byte from the listener says that all idle ones are accepted.
    fn among(task: &Task, idle: usize) -> Self {
        let (listener, name) = bulk::listener([127, 0, 0, 1], 0);
        let other = beside(task, &[], &[], move || {
            let fd = bulk::accept(listener);
            (0..idle).for_each(|_| _ = bulk::accept(listener));
            ping::say(fd, b"!");
            ping::echo(fd, fd, 1);
        });
        let fd = bulk::connect(&name);
        (0..idle).for_each(|_| _ = bulk::connect(&name));
        if !ping::hear(fd, &mut [0]) {
            fail("the other end is gone");
        }
        Self { fd, _other: other }
    }

    fn trip(&self) {
        ping::say(self.fd, b"x");
        if !ping::hear(self.fd, &mut [0]) {
            fail("the other end is gone");
        }
    }
}

fn among(task: &Task, idle: usize) -> f64 {
    let active = Active::among(task, task.many(idle));
    each(task, || active.trip())
}

/// How much longer a round trip takes with idle connections than without, in turns.
fn slowdown(task: &Task, idle: usize) -> f64 {
    let alone = Active::among(task, 0);
    let without = each(task, || alone.trip());
    drop(alone);
    let active = Active::among(task, task.many(idle));
    each(task, || active.trip()) / without
}
