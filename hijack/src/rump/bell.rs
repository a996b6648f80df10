//! A thread that waits in the host kernel alone, while another gives the set its first rump member: a bell wakes it.
//!
//! A set without rump members is the host's. The library counts who waits
//! so; [`ring`] makes an eventfd, always readable, a member of the set. Whoever wakes goes on in both kernels, and the last one
//! takes the bell away. The program never sees its event.
//!
//! The wait itself is the C library's own function, a cancellation point, where the program called that ([`wait`]); else the library makes
//! the host's call.

use core::time::Duration;
use std::cell::Cell;

use abi::Result;
use abi::time::Timespec;
use client::fds::Kept;
use client::signals::Blocked;
use sysproxy::host;

use super::epoll::{self, EVENT_BYTES, Event};
use crate::calls::Outcome;
use crate::entry::{Call, Return, Word, errno, hooked, set_errno};
use crate::sets::Set;
use crate::{borrower, cancel, fds, raw, trace, user};

/// The data of the bell's event: "rumpbell".
const DATA: u64 = 0x7275_6d70_6265_6c6c;

/// How often the bell may be heard; by then a thread that has not come back from the host never will (it has left by longjmp).
const PATIENCE: u32 = 1000;

thread_local! {
    /// The number and the place of the events of the wait in which the C library's function is.
    static IN_FUNCTION: Cell<(usize, usize)> = const { Cell::new((usize::MAX, 0)) };
}

/// Whether a call is the one that the C library makes for [`wait`].
pub fn is_waiting(nr: usize, args: &[usize; 6]) -> bool {
    let [fd, events, ..] = *args;
    epoll::waits(nr as i64) && IN_FUNCTION.get() == (fd, events)
}

/// See epoll_wait(2), epoll_pwait(2), epoll_pwait2(2).
///
/// No frame has a destructor while the host's set is waited for: the thread may be cancelled.
#[inline(never)]
pub fn wait<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let [fd, events, max, limit, mask, size] = args;
    let again = real.map(|real| move || real(args));
    let Some((set, real)) = host_set(fd as i32).zip(real) else { return hooked(nr, wanted, args, again) };
    let deadline = match epoll::time_limit(nr, limit) {
        // Not a time: the host says so.
        Err(_) => return hooked(nr, wanted, args, again),
        Ok(limit) => limit.map(|limit| host::uptime().saturating_add(limit)),
    };
    if trace::on() {
        trace::first(nr as usize, &args, Outcome::Host, true);
    }
    let result = in_function(set, (fd, events), || real(args));
    match result {
        Some(result) if set.kqueue().is_none() => return result,
        Some(result) if (result.word() as isize) < 0 => return result,
        Some(result) => match without_bell(events, result.word()) {
            0 => {}
            left => return R::of(left as isize),
        },
        None => {}
    }
    let left = deadline.map(|deadline| Timespec::from_duration(deadline.saturating_sub(host::uptime())));
    let limit = left.as_ref().map_or(0, |left| core::ptr::from_ref(left) as usize);
    let mask = if nr == libc::SYS_epoll_wait { [0, 8] } else { [mask, size] };
    hooked(libc::SYS_epoll_pwait2, wanted, [fd, events, max, limit, mask[0], mask[1]], again)
}

/// The set of a number, as long as it is the host's alone.
fn host_set(fd: i32) -> Option<Set> {
    if !fds::perhaps(fd) || borrower::shares_memory() {
        return None;
    }
    Set::of(fd).filter(|set| set.kqueue().is_none())
}

/// Runs the C library's function, counted in; `None` if the set has got a kqueue just now.
#[inline(always)]
fn in_function<R>(set: Set, call: (usize, usize), real: impl FnOnce() -> R) -> Option<R> {
    extern "C" fn cancelled(set: usize) {
        IN_FUNCTION.set((usize::MAX, 0));
        leave(Set::of_word(set));
    }
    set.enter();
    let before = IN_FUNCTION.replace(call);
    let result = match set.kqueue() {
        Some(_) => None,
        None => Some(cancel::with_cleanup(cancelled, set.word(), real)),
    };
    IN_FUNCTION.set(before);
    let error = errno();
    leave(set);
    set_errno(error);
    result
}

fn leave(set: Set) {
    if set.leave() {
        hush(set);
    }
}

/// Makes the host's call that waits for a set; `None` if the set has got a kqueue and there is nothing from the host.
///
/// `events` is where the events go. Signals are as the program has them.
pub fn wait_in_host(set: Set, events: usize, nr: i64, args: [usize; 6]) -> Option<isize> {
    set.enter();
    let result = if set.kqueue().is_some() { 0 } else { raw::syscall(nr as usize, args) };
    leave(set);
    if set.kqueue().is_none() {
        return Some(result);
    }
    let result = usize::try_from(result).map_or(result, |count| without_bell(events, count) as isize);
    (result != 0).then_some(result)
}

/// Takes the bell's event out of those of the program, and returns how many are left.
fn without_bell(events: usize, count: usize) -> usize {
    let _blocked = Blocked::enter();
    strip(events, count).unwrap_or(count)
}

fn strip(events: usize, count: usize) -> Result<usize> {
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
    let bell = host::eventfd().and_then(Kept::new).map_err(host::errno)?;
    let event = Event { events: libc::EPOLLIN as u32, data: DATA }.bytes();
    let rung = bell.with(|bell| {
        host::signal_eventfd(bell);
        let args = [raw::word(number), raw::word(libc::EPOLL_CTL_ADD), raw::word(bell.0), event.as_ptr() as usize];
        raw::checked(raw::call(libc::SYS_epoll_ctl, args))
    });
    if let Some(before) = set.set_bell(bell.into_name()) {
        take_down(before);
    }
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
    drop(Kept::from_name(bell));
}

/// Gives those a moment who still wait in the host, since the bell was heard by one who waits in both kernels.
pub fn heard(set: Set) {
    if set.hears_bell() > PATIENCE {
        hush(set);
    } else {
        host::sleep(Duration::from_millis(1));
    }
}
