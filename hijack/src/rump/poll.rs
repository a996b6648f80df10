//! Waiting: poll and select.
//!
//! A call on host descriptors alone is the host's. Otherwise the descriptors are sorted by kernel and waited for at once
//! ([`client::Caller::poll_mixed`]). select is poll on the descriptors of its sets, as in Linux's kernel.

use core::time::Duration;
use std::time::Instant;

use abi::linux::Timeval;
use abi::poll::{self as events, PollFd};
use abi::time::Timespec;
use abi::{Errno, Result};
use client::HostPollFd;
use client::signals::{self, Blocked};
use sysproxy::host::SigSet;

use super::kernel;
use crate::calls::{self, Outcome};
use crate::entry::{Call, Return, hooked};
use crate::fds::{self, RumpFd};
use crate::{sets, user};

/// Most descriptors of one call that are looked at.
const MOST: usize = 1 << 20;

/// Entries that are read at a time to find the rump ones.
const PIECE: usize = 16;

/// What is waited for in a set of select, and what shows there (Linux's kernel, `POLLIN_SET` and its sisters).
const READ: (i16, i16) = (
    libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLIN,
    libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLIN | libc::POLLHUP | libc::POLLERR,
);
const WRITE: (i16, i16) = (
    libc::POLLWRNORM | libc::POLLWRBAND | libc::POLLOUT,
    libc::POLLWRNORM | libc::POLLWRBAND | libc::POLLOUT | libc::POLLERR,
);
const EXCEPT: (i16, i16) = (libc::POLLPRI, libc::POLLPRI);

/// A program's descriptor, with Linux's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watched {
    fd: i32,
    events: i16,
    revents: i16,
}

/// See poll(2).
pub fn poll(addr: usize, count: usize, timeout: i32) -> Outcome {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    polled(addr, count, || Ok(timeout), None)
}

/// See ppoll(2).
pub fn ppoll(addr: usize, count: usize, timeout: usize, mask: usize, size: usize) -> Outcome {
    polled(addr, count, || duration(user::read_if::<Timespec>(timeout)?), Some((mask, size)))
}

fn polled(
    addr: usize,
    count: usize,
    timeout: impl FnOnce() -> Result<Option<Duration>>,
    mask: Option<(usize, usize)>,
) -> Outcome {
    if !fds::any() || !(0..count.min(MOST)).step_by(PIECE).any(|at| has_rump_entry(addr, at, count.min(MOST) - at)) {
        return Outcome::Host;
    }
    let _blocked = Blocked::enter();
    calls::outcome(poll_now(addr, count, timeout, mask))
}

/// Whether one of the next entries of poll's array has a rump descriptor; a look without allocating.
fn has_rump_entry(addr: usize, at: usize, left: usize) -> bool {
    let mut piece = [0u8; PIECE * size_of::<HostPollFd>()];
    let piece = piece.get_mut(..left.min(PIECE) * size_of::<HostPollFd>()).unwrap_or_default();
    user::read_bytes(addr.wrapping_add(at * size_of::<HostPollFd>()), piece).is_ok()
        && piece.chunks_exact(8).any(|entry| rump_side(watched_from(entry).fd).is_some())
}

/// What the rump kernel watches for a number: its descriptor, or the kqueue of an epoll set, which the host watches too.
fn rump_side(fd: i32) -> Option<RumpFd> {
    fds::lookup(fd).or_else(|| sets::kqueue(fd))
}

fn poll_now(
    addr: usize,
    count: usize,
    timeout: impl FnOnce() -> Result<Option<Duration>>,
    mask: Option<(usize, usize)>,
) -> Result<usize> {
    let mut raw = vec![0u8; count * size_of::<HostPollFd>()];
    user::read_bytes(addr, &mut raw)?;
    let mut watched: Vec<Watched> = raw.chunks_exact(8).map(watched_from).collect();
    let ready = wait(&mut watched, timeout()?, signal_mask(mask)?)?;
    for (bytes, watched) in raw.chunks_exact_mut(8).zip(&watched) {
        if let Some(revents) = bytes.get_mut(6..8) {
            revents.copy_from_slice(&watched.revents.to_ne_bytes());
        }
    }
    user::write_bytes(addr, &raw)?;
    Ok(ready)
}

fn watched_from(bytes: &[u8]) -> Watched {
    let short = |at: usize| bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, i16::from_ne_bytes);
    let fd = bytes.first_chunk::<4>().map_or(-1, |fd| i32::from_ne_bytes(*fd));
    Watched { fd, events: short(4), revents: 0 }
}

/// A time of the program; `EINVAL` for a negative one or a second's worth of nanoseconds.
pub(super) fn duration(time: Option<Timespec>) -> Result<Option<Duration>> {
    let Some(time) = time else { return Ok(None) };
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanoseconds @ 0..1_000_000_000)) => Ok(Some(Duration::new(seconds, nanoseconds))),
        _ => Err(Errno::EINVAL),
    }
}

/// The mask of ppoll or pselect, if it has one; `EINVAL` for a set of another size.
pub(super) fn signal_mask(mask: Option<(usize, usize)>) -> Result<Option<SigSet>> {
    match mask {
        None | Some((0, _)) => Ok(None),
        Some((addr, 8)) => Ok(Some(SigSet(user::read::<u64>(addr)?))),
        Some(_) => Err(Errno::EINVAL),
    }
}

/// Waits, and fills in what is there; returns how many descriptors have something.
fn wait(watched: &mut [Watched], timeout: Option<Duration>, mask: Option<SigSet>) -> Result<usize> {
    retried(timeout, mask, |left| wait_once(watched, left).map(Some))
}

/// Waits with `once`, which gets the time that is left, until it has an answer or the time is over. A signal with a handler ends it,
/// whatever SA_RESTART says.
pub(super) fn retried<T: Default>(
    timeout: Option<Duration>,
    mask: Option<SigSet>,
    mut once: impl FnMut(Option<Duration>) -> Result<Option<T>>,
) -> Result<T> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut once = || match once(left) {
            Err(Errno::EINTR) if calls::again(false) => Ok(None),
            answer => answer,
        };
        let answer = match mask {
            Some(mask) => signals::with_mask(mask, once)?,
            None => once()?,
        };
        match answer {
            Some(answer) => return Ok(answer),
            None if left == Some(Duration::ZERO) => return Ok(T::default()),
            None => {}
        }
    }
}

fn wait_once(watched: &mut [Watched], timeout: Option<Duration>) -> Result<usize> {
    let (mut rump, mut host) = (Vec::new(), Vec::new());
    let mut sides = Vec::with_capacity(watched.len());
    for entry in watched.iter() {
        let in_rump = rump_side(entry.fd).filter(|_| entry.fd >= 0);
        let in_host = entry.fd >= 0 && fds::lookup(entry.fd).is_none();
        sides.push((in_rump.is_some(), in_host));
        let events = events::events_from_linux(entry.events);
        rump.extend(in_rump.map(|fd| PollFd { fd: fd.0, events, revents: 0 }));
        if in_host {
            let fd = if fds::is_ours(entry.fd) { i32::MAX } else { entry.fd };
            host.push(HostPollFd { fd, events: entry.events, revents: 0 });
        }
    }
    kernel()?.poll_mixed(&mut rump, &mut host, timeout)?;
    let (mut rump, mut host) = (rump.iter(), host.iter());
    let mut ready = 0;
    for (entry, (in_rump, in_host)) in watched.iter_mut().zip(sides) {
        let rump = if in_rump { rump.next().map_or(0, |fd| fd.revents) } else { 0 };
        let host = if in_host { host.next().map_or(0, |fd| fd.revents) } else { 0 };
        entry.revents = events::events_to_linux(rump, entry.events) | host;
        ready += usize::from(entry.revents != 0);
    }
    Ok(ready)
}

/// The three sets of select.
struct Sets {
    addrs: [usize; 3],
    bits: [Vec<u8>; 3],
}

impl Sets {
    fn read(count: usize, addrs: [usize; 3]) -> Result<Self> {
        let mut bits = [const { Vec::new() }; 3];
        for (bits, addr) in bits.iter_mut().zip(addrs).filter(|(_, addr)| *addr != 0) {
            *bits = vec![0; events::linux_fd_set_bytes(count)];
            user::read_bytes(addr, bits)?;
        }
        Ok(Self { addrs, bits })
    }

    /// What is waited for on each descriptor that stands in a set.
    fn watched(&self, count: usize) -> Vec<Watched> {
        let wanted = |fd: usize| {
            let sets = self.bits.iter().zip([READ, WRITE, EXCEPT]);
            sets.filter(|(bits, _)| events::fd_isset(bits, fd)).fold(0, |sum, (_, (wanted, _))| sum | wanted)
        };
        let all = (0..count).map(|fd| Watched { fd: fd as i32, events: wanted(fd), revents: 0 });
        all.filter(|watched| watched.events != 0).collect()
    }

    /// Leaves in the sets what is there, stores them, and returns the number of bits.
    fn store(mut self, watched: &[Watched]) -> Result<usize> {
        let mut ready = 0;
        for ((bits, addr), (_, shows)) in self.bits.iter_mut().zip(self.addrs).zip([READ, WRITE, EXCEPT]) {
            let before = std::mem::replace(bits, vec![0; bits.len()]);
            for entry in watched.iter().filter(|entry| entry.revents & shows != 0) {
                if events::fd_isset(&before, entry.fd as usize) {
                    events::fd_set(bits, entry.fd as usize);
                    ready += 1;
                }
            }
            user::write_bytes(addr, bits)?;
        }
        Ok(ready)
    }
}

/// See select(2); the time left is stored, as Linux does.
pub fn select(count: i32, read: usize, write: usize, except: usize, timeout: usize) -> Outcome {
    let time = || match user::read_if::<Timeval>(timeout)? {
        Some(time) if time.tv_sec < 0 || time.tv_usec < 0 => Err(Errno::EINVAL),
        Some(time) => Ok(Some(Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64))),
        None => Ok(None),
    };
    let store = |left: Duration| user::write(timeout, &[left.as_secs() as i64, i64::from(left.subsec_micros())]);
    selected(count, [read, write, except], time, store, 0)
}

/// The function pselect(2): the system call takes the mask's address and size by one argument.
#[inline(never)]
pub fn pselect_function<R: Return>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let [count, read, write, except, timeout, mask] = args;
    let both = [mask, size_of::<u64>()];
    let raw = [count, read, write, except, timeout, both.as_ptr() as usize];
    hooked(nr, wanted, raw, real.map(|real| move || real(args)))
}

/// See pselect6(2), whose last argument points to the mask and its size.
pub fn pselect6(count: i32, read: usize, write: usize, except: usize, timeout: usize, mask: usize) -> Outcome {
    let time = || duration(user::read_if::<Timespec>(timeout)?);
    let store = |left: Duration| user::write(timeout, &[left.as_secs() as i64, i64::from(left.subsec_nanos())]);
    selected(count, [read, write, except], time, store, mask)
}

fn selected(
    count: i32,
    addrs: [usize; 3],
    time: impl FnOnce() -> Result<Option<Duration>>,
    store: impl FnOnce(Duration) -> Result<()>,
    mask: usize,
) -> Outcome {
    let count = usize::try_from(count).unwrap_or(0).min(MOST);
    if !fds::any() || !addrs.iter().any(|addr| *addr != 0 && has_rump(*addr, count)) {
        return Outcome::Host;
    }
    let _blocked = Blocked::enter();
    calls::outcome(select_now(count, addrs, time, store, mask))
}

/// Whether a set has a rump descriptor; a look without allocating.
fn has_rump(addr: usize, count: usize) -> bool {
    let mut piece = [0u8; 8 * PIECE];
    (0..events::linux_fd_set_bytes(count)).step_by(piece.len()).any(|at| {
        let left = events::linux_fd_set_bytes(count) - at;
        let bits = piece.get_mut(..left.min(8 * PIECE)).unwrap_or_default();
        let rump = |fd: usize| at * 8 + fd < count && rump_side((at * 8 + fd) as i32).is_some();
        user::read_bytes(addr.wrapping_add(at), bits).is_ok()
            && (0..bits.len() * 8).any(|fd| events::fd_isset(bits, fd) && rump(fd))
    })
}

fn select_now(
    count: usize,
    addrs: [usize; 3],
    time: impl FnOnce() -> Result<Option<Duration>>,
    store: impl FnOnce(Duration) -> Result<()>,
    mask: usize,
) -> Result<usize> {
    let mask = match user::read_if::<[usize; 2]>(mask)? {
        Some([addr, size]) => signal_mask(Some((addr, size)))?,
        None => None,
    };
    let sets = Sets::read(count, addrs)?;
    let mut watched = sets.watched(count);
    let (timeout, begun) = (time()?, Instant::now());
    wait(&mut watched, timeout, mask)?;
    if watched.iter().any(|entry| entry.revents & libc::POLLNVAL != 0) {
        return Err(Errno::EBADF);
    }
    let ready = sets.store(&watched)?;
    if let Some(timeout) = timeout {
        // A time in read-only memory stays as it is.
        let _ = store(timeout.saturating_sub(begun.elapsed()));
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_on_host_descriptors_is_the_hosts() {
        let fds = [HostPollFd { fd: 0, events: 1, revents: 0 }];
        assert_eq!(poll(fds.as_ptr() as usize, 1, 0), Outcome::Host);
        let set = [1u64];
        assert_eq!(select(1, set.as_ptr() as usize, 0, 0, 0), Outcome::Host);
        assert_eq!(poll(8, 1, 0), Outcome::Host);
    }

    #[test]
    fn sets_become_entries_and_entries_sets() {
        let mut bits = [[0b1010u64], [0b1000], [0]];
        let addrs = bits.each_mut().map(|set| set.as_mut_ptr() as usize);
        let sets = Sets::read(4, addrs).unwrap();
        let mut watched = sets.watched(4);
        assert_eq!(watched.iter().map(|entry| entry.fd).collect::<Vec<_>>(), [1, 3]);
        watched[1].revents = libc::POLLHUP | libc::POLLOUT;
        assert_eq!(sets.store(&watched), Ok(2));
        assert_eq!(bits, [[0b1000], [0b1000], [0]]);
    }

    #[test]
    fn a_time_is_checked() {
        assert_eq!(duration(Some(Timespec { tv_sec: 0, tv_nsec: 1_000_000_000 })), Err(Errno::EINVAL));
        assert_eq!(duration(Some(Timespec { tv_sec: -1, tv_nsec: 0 })), Err(Errno::EINVAL));
        assert_eq!(duration(None), Ok(None));
    }
}
