//! A thread that waits in the host kernel alone, while another gives the set its first rump member: a bell wakes it.
//!
//! A set without rump members is the host's. The library makes the host's call itself and counts who waits
//! so; [`ring`] makes an eventfd, always readable, a member of the set. Whoever wakes goes on in both kernels, and the last one
//! takes the bell away. The program never sees its event.

use core::time::Duration;

use abi::Result;
use client::signals::Blocked;
use sysproxy::host::{self, HostFd};

use super::epoll::{EVENT_BYTES, Event};
use crate::sets::Set;
use crate::{raw, user};

/// The data of the bell's event: "rumpbell".
const DATA: u64 = 0x7275_6d70_6265_6c6c;

/// How often the bell may be heard; by then a thread that has not come back from the host never will (it has left by longjmp).
const PATIENCE: u32 = 1000;

/// Makes the host's call that waits for a set; `None` if the set has got a kqueue and there is nothing from the host.
///
/// `events` is where the events go. Signals are as the program has them.
pub fn wait_in_host(set: Set, events: usize, nr: i64, args: [usize; 6]) -> Option<isize> {
    set.enter();
    let result = if set.kqueue().is_some() { 0 } else { raw::syscall(nr as usize, args) };
    if set.leave() {
        hush(set);
    }
    if set.kqueue().is_none() {
        return Some(result);
    }
    let _blocked = Blocked::enter();
    let result = usize::try_from(result).map_or(result, |count| without_bell(events, count).unwrap_or(count) as isize);
    (result != 0).then_some(result)
}

/// Takes the bell's event out of those of the program, and returns how many are left.
fn without_bell(events: usize, count: usize) -> Result<usize> {
    let mut bytes = vec![0; count * EVENT_BYTES];
    user::read_bytes(events, &mut bytes)?;
    let rung = |event: &&[u8]| !is_bell(&Event::parse(event));
    let kept: Vec<u8> = bytes.chunks_exact(EVENT_BYTES).filter(rung).flatten().copied().collect();
    user::write_bytes(events, &kept)?;
    Ok(kept.len() / EVENT_BYTES)
}

/// Whether an event is the bell's.
pub fn is_bell(event: &Event) -> bool {
    event.data == DATA && event.events == libc::EPOLLIN as u32
}

/// Wakes the threads that wait in the host for a set, which now has a kqueue. The caller has signals blocked.
pub fn ring(set: Set) -> Result<()> {
    let Some(number) = set.number().filter(|_| set.waiters() > 0) else { return Ok(()) };
    let bell = host::eventfd().and_then(|low| client::fds::raise(low.fd())).map_err(host::errno)?.into_fd();
    client::fds::note(bell);
    host::signal_eventfd(bell);
    if let Some(before) = set.set_bell(bell.0) {
        take_down(before);
    }
    let event = Event { events: libc::EPOLLIN as u32, data: DATA }.bytes();
    let args = [raw::word(number), raw::word(libc::EPOLL_CTL_ADD), raw::word(bell.0), event.as_ptr() as usize];
    let rung = raw::checked(raw::call(libc::SYS_epoll_ctl, args));
    if rung.is_err() || set.waiters() == 0 {
        hush(set);
    }
    rung.map(drop)
}

/// Takes the bell away; it leaves the set with its only descriptor.
fn hush(set: Set) {
    if let Some(bell) = set.set_bell(-1) {
        take_down(bell);
    }
}

fn take_down(bell: i32) {
    client::fds::forget(HostFd(bell));
    raw::close(bell);
}

/// Gives those a moment who still wait in the host, since the bell was heard by one who waits in both kernels.
pub fn heard(set: Set) {
    if set.hears_bell() > PATIENCE {
        hush(set);
    } else {
        host::sleep(Duration::from_millis(1));
    }
}
