//! epoll: sets with members of both kernels.
//!
//! The host's epoll watches the host's members, a kqueue of the rump kernel the others ([`crate::sets`]); epoll_wait asks both, and sleeps in a
//! kevent(2) that a ready host member ends. A set in a set is a member in both kernels. A call on a set without rump members is the host's.

use core::time::Duration;

use abi::event::*;
use abi::poll::{events_from_linux, events_to_linux};
use abi::slot::Direction;
use abi::syscalls::nr;
use abi::{Errno, In, Out, Region, Result};
use client::signals::Blocked;
use client::{HostPollFd, stubs};
use sysproxy::host::{self, SigSet};

use super::poll::{self, duration, signal_mask};
use super::{bell, kernel, nest};
use crate::calls::{self, Outcome, Wanted};
use crate::entry::{Call, Return, c_return, hooked};
use crate::fds::{self, RumpFd};
use crate::sets::{Gone, Set};
use crate::{borrower, first, process, raw, sets, trace, user};

/// struct epoll_event: without padding on x86-64.
pub const EVENT_BYTES: usize = size_of::<libc::epoll_event>();
/// Where its data lies.
const DATA_AT: usize = EVENT_BYTES - 8;
/// Most events of one call, on Linux.
const MAX_EVENTS: i32 = i32::MAX / EVENT_BYTES as i32;
/// Most events that are fetched for one call; the program asks again for the rest.
const FETCHED: usize = 1 << 16;

const ET: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// What may stand beside `EPOLLEXCLUSIVE`.
const EXCLUSIVE_WITH: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLWAKEUP | libc::EPOLLET) as u32;

/// An event of the program's: what is waited for or there, and its own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `EPOLL*`.
    pub events: u32,
    /// Comes back untouched.
    pub data: u64,
}

impl Event {
    /// Reads the structure at `addr`.
    pub fn read(addr: usize) -> Result<Self> {
        let mut bytes = [0; EVENT_BYTES];
        user::read_bytes(addr, &mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    /// Reads the structure's bytes.
    pub fn parse(bytes: &[u8]) -> Self {
        let events = bytes.first_chunk().map_or(0, |four| u32::from_ne_bytes(*four));
        let data = bytes.get(DATA_AT..).and_then(<[u8]>::first_chunk).map_or(0, |eight| u64::from_ne_bytes(*eight));
        Self { events, data }
    }

    /// The structure's bytes.
    pub fn bytes(&self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        if let Some(four) = bytes.first_chunk_mut() {
            *four = self.events.to_ne_bytes();
        }
        if let Some(eight) = bytes.get_mut(DATA_AT..).and_then(<[u8]>::first_chunk_mut) {
            *eight = self.data.to_ne_bytes();
        }
        bytes
    }
}

/// See epoll_create1(2).
pub fn create1(flags: i32) -> Outcome {
    created(raw::call(libc::SYS_epoll_create1, [raw::word(flags)]))
}

/// See epoll_create(2).
pub fn create(size: i32) -> Outcome {
    created(raw::call(libc::SYS_epoll_create, [raw::word(size)]))
}

/// The functions epoll_create(2) and epoll_create1(2). Almost every call makes a set of the host, which only has to be noted.
pub fn create_function<R: Return>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    if first::passes(Wanted::No, &args)
        && let Outcome::Done(fd) = created(raw::syscall(nr as usize, args))
    {
        return c_return(fd);
    }
    hooked(nr, wanted, args, real.map(|real| move || real(args)))
}

/// Notes a new set, so that its duplicates are known when it gets a rump member.
fn created(fd: isize) -> Outcome {
    if let Ok(fd) = raw::checked(fd)
        && process::ready()
    {
        closed(fd as i32);
        // A child that shares its parent's memory need not have a rump process for its sets, as long as there can be no rump members.
        if !borrower::shares_memory() || fds::any() {
            Set::born(fd as i32);
        }
    }
    Outcome::Done(fd)
}

/// Notes that a number is no longer what it was: closed, or made another's.
pub fn closed(fd: i32) {
    if let Some(gone) = sets::forget(fd) {
        bury(gone);
    }
}

/// Notes that `to` now is another number for the host's `from`.
pub fn duplicated(from: i32, to: i32) {
    if let Some(gone) = sets::duplicated(from, to) {
        bury(gone);
    }
}

fn bury(gone: Gone) {
    if gone.kqueue.is_some() || nest::any() {
        let _blocked = Blocked::enter();
        if !gone.set.is_own() {
            nest::gone(gone.set);
        }
        if let Some(kqueue) = gone.kqueue {
            let _ = kernel().and_then(|kernel| stubs::close(kernel, kqueue.fd()));
        }
    }
}

/// See epoll_ctl(2).
pub fn ctl(set: i32, operation: i32, fd: i32, event: usize) -> Outcome {
    if !fds::perhaps(set) && !fds::perhaps(fd) {
        return Outcome::Host;
    }
    match (fds::lookup(set), fds::lookup(fd)) {
        (None, None) if is_hidden(set) || is_hidden(fd) => calls::outcome(Err(Errno::EBADF)),
        (None, None) => match (Set::of(set), Set::of(fd)) {
            // The list of sets in sets is the parent's alone: in a child that shares its memory they are the host's.
            (Some(outer), Some(inner)) if set != fd && borrower::shares_memory() => {
                match outer.kqueue().or(inner.kqueue()) {
                    Some(_) => calls::outcome(Err(refused_to_child())),
                    None => Outcome::Host,
                }
            }
            (Some(outer), Some(inner)) if set != fd => {
                calls::serve(false, || nest::ctl((set, outer), operation, (fd, inner), event))
            }
            _ => Outcome::Host,
        },
        (None, Some(member)) => calls::serve(false, || member_ctl(set, operation, fd, member, event)),
        (Some(_), member) => calls::outcome(Err(match member.is_some() || raw::fcntl(fd, libc::F_GETFD, 0) >= 0 {
            true => Errno::EINVAL,
            false => Errno::EBADF,
        })),
    }
}

/// Whether a number is the library's own. A set is not; that is told faster.
fn is_hidden(fd: i32) -> bool {
    Set::of(fd).is_none() && fds::is_ours(fd)
}

/// Makes a change to a rump member, as epoll_ctl(2) does.
fn member_ctl(set: i32, operation: i32, fd: i32, member: RumpFd, event: usize) -> Result<usize> {
    let event = match operation {
        libc::EPOLL_CTL_DEL => Event::default(),
        _ => Event::read(event)?,
    };
    raw::checked(raw::fcntl(set, libc::F_GETFD, 0))?;
    let set = Set::found(set).ok_or(Errno::EINVAL)?;
    let flags = match operation {
        libc::EPOLL_CTL_ADD => EV_ADD | EV_FLAG1,
        libc::EPOLL_CTL_MOD => EV_ENABLE,
        libc::EPOLL_CTL_DEL => EV_DELETE,
        _ => return Err(Errno::EINVAL),
    };
    if event.events & EXCLUSIVE != 0
        && (operation == libc::EPOLL_CTL_MOD || event.events & !(EXCLUSIVE | EXCLUSIVE_WITH) != 0)
    {
        return Err(Errno::EINVAL);
    }
    let kqueue = match set.kqueue() {
        Some(kqueue) => kqueue,
        None if operation == libc::EPOLL_CTL_ADD => make_kqueue(set)?,
        None => return Err(Errno::ENOENT),
    };
    change(kqueue, member, fd, flags, event).map(|()| 0)
}

/// Gives a set its kqueue, and makes it a member of those that have the set as a member.
///
/// `EPERM` on a server that is not ours: its kqueues know nothing of epoll; and in a child that shares its parent's memory for a set of the
/// parent's, which would have to know.
pub fn make_kqueue(set: Set) -> Result<RumpFd> {
    if borrower::shares_memory() && !set.is_own() {
        return Err(refused_to_child());
    }
    if process::remote().is_some_and(|remote| !remote.extended()) {
        trace::say(format_args!("epoll: the server is not of this library and cannot watch descriptors for a set"));
        return Err(Errno::EPERM);
    }
    let kernel = kernel()?;
    let kqueue = RumpFd(stubs::kqueue(kernel)?.0);
    if let Err(there) = set.set_kqueue(kqueue) {
        // Another thread was first.
        let _ = stubs::close(kernel, kqueue.fd());
        return Ok(there);
    }
    if !set.is_own() {
        bell::ring(set)?;
        nest::has_kqueue(set, kqueue)?;
    }
    Ok(kqueue)
}

/// What a child that shares its parent's memory is told where its parent would have to take part.
fn refused_to_child() -> Errno {
    trace::say(format_args!(
        "epoll: a child in its parent's memory cannot give its parent's set the first rump member, nor put a set with such members into another"
    ));
    Errno::EPERM
}

/// Registers, changes or ends a member of a kqueue; `fd` is the program's number of it.
pub fn change(kqueue: RumpFd, member: RumpFd, fd: i32, flags: u32, event: Event) -> Result<()> {
    let mut change = Kevent { ident: member.0 as u64, filter: EVFILT_POLL, flags, ..Kevent::default() };
    let flag = |linux: u32, flag: u32| if event.events & linux != 0 { flag } else { 0 };
    change.flags |= flag(ET, EV_CLEAR) | flag(ONESHOT, EV_DISPATCH) | flag(EXCLUSIVE, EV_FLAG2);
    // NetBSD has one bit for the two that say "writable"; the wish goes along in the caller's half.
    let writable = event.events & (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
    change.fflags = u32::from(events_from_linux(event.events as i16) as u16) | writable << 16;
    change.data = i64::from(fd);
    change.udata = event.data;
    let changes = [change];
    stubs::kevent(kernel()?, kqueue.fd(), In::new(&changes), 1, Out::NULL, 0, In::NULL, 0).map(drop)
}

/// Whether a call waits for a set.
pub fn waits(nr: i64) -> bool {
    matches!(nr, libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2)
}

/// The time limit of a call that waits for a set.
pub fn time_limit(nr: i64, limit: usize) -> Result<Option<Duration>> {
    match nr {
        libc::SYS_epoll_pwait2 => duration(user::read_if(limit)?),
        _ => Ok(u64::try_from(limit as i32).ok().map(Duration::from_millis)),
    }
}

/// See epoll_wait(2).
pub fn wait(set: i32, events: usize, max: i32, timeout: i32) -> Outcome {
    waited((libc::SYS_epoll_wait, [raw::word(set), events, raw::word(max), raw::word(timeout), 0, 0]), max, None)
}

/// See epoll_pwait(2).
pub fn pwait(set: i32, events: usize, max: i32, timeout: i32, mask: usize, size: usize) -> Outcome {
    let host = (libc::SYS_epoll_pwait, [raw::word(set), events, raw::word(max), raw::word(timeout), mask, size]);
    waited(host, max, Some((mask, size)))
}

/// See epoll_pwait2(2).
pub fn pwait2(set: i32, events: usize, max: i32, timeout: usize, mask: usize, size: usize) -> Outcome {
    let host = (libc::SYS_epoll_pwait2, [raw::word(set), events, raw::word(max), timeout, mask, size]);
    waited(host, max, Some((mask, size)))
}

/// Waits; `host` is the call as the host has it.
fn waited((nr, args): (i64, [usize; 6]), max: i32, mask: Option<(usize, usize)>) -> Outcome {
    let [fd, events, _, limit, ..] = args;
    let fd = fd as i32;
    if fds::lookup(fd).is_some() {
        return calls::outcome(Err(Errno::EINVAL));
    }
    let Some(set) = Set::of(fd) else {
        return if fds::is_ours(fd) { calls::outcome(Err(Errno::EBADF)) } else { Outcome::Host };
    };
    let mut waited = Duration::ZERO;
    if set.kqueue().is_none() {
        let begun = (time_limit(nr, limit) != Ok(None)).then(host::uptime);
        if let Some(result) = bell::wait_in_host(set, events, nr, args) {
            return Outcome::Done(result);
        }
        waited = begun.map_or(Duration::ZERO, |begun| host::uptime().saturating_sub(begun));
    }
    let Some(kqueue) = set.kqueue() else { return Outcome::Host };
    let _blocked = Blocked::enter();
    calls::outcome((|| {
        let room = usize::try_from(max).ok().filter(|_| (1..=MAX_EVENTS).contains(&max)).ok_or(Errno::EINVAL)?;
        let wait = Wait { fd, set, kqueue, room: room.min(FETCHED) };
        let (timeout, mask): (_, Option<SigSet>) = (time_limit(nr, limit)?, signal_mask(mask)?);
        let timeout = timeout.map(|timeout| timeout.saturating_sub(waited));
        let found = poll::retried(timeout, mask, |left| wait.once(left))?;
        let bytes: Vec<u8> = found.iter().flat_map(Event::bytes).collect();
        user::write_bytes(events, &bytes)?;
        Ok(found.len())
    })())
}

/// One epoll_wait(2) on a set of both kernels.
struct Wait {
    fd: i32,
    set: Set,
    kqueue: RumpFd,
    room: usize,
}

/// What a kernel has found; the second says whether the member is a set itself.
type Found = Vec<(Event, bool)>;

impl Wait {
    /// Waits at most `left`. Each kernel is asked once, because what reports levels would show twice; the one that gets all the room is
    /// asked last the next time. `None` if a member of the host was ready, and somebody else was faster.
    fn once(&self, left: Option<Duration>) -> Result<Option<Vec<Event>>> {
        let rump_first = self.set.rump_first();
        let mut timed_out = false;
        let mut found = if rump_first { Vec::new() } else { self.host(self.room)? };
        if found.len() < self.room {
            let left = if found.is_empty() { left } else { Some(Duration::ZERO) };
            let rump = self.rump(self.room - found.len(), left)?;
            let host_is_ready = rump.is_none() || rump_first;
            timed_out = rump.is_some();
            merge(&mut found, rump.unwrap_or_default());
            if host_is_ready && found.len() < self.room {
                let host = self.host(self.room - found.len())?;
                merge(&mut found, host);
            }
        }
        self.set.set_rump_first(found.len() == self.room && !rump_first);
        let found = Some(found).filter(|found| !found.is_empty() || timed_out);
        Ok(found.map(|found| found.into_iter().map(|(event, _)| event).collect()))
    }

    /// What the host has now. A number that another thread has closed meanwhile has nothing.
    fn host(&self, room: usize) -> Result<Found> {
        let mut bytes = vec![0u8; room * EVENT_BYTES];
        let args = [raw::word(self.fd), bytes.as_mut_ptr() as usize, room, 0, 0, 8];
        match raw::checked(raw::call(libc::SYS_epoll_pwait, args)) {
            Ok(count) => {
                let events = bytes.chunks_exact(EVENT_BYTES).take(count).map(|event| (Event::parse(event), false));
                let (bells, found): (Found, Found) = events.partition(|(event, _)| bell::is_bell(event));
                if !bells.is_empty() {
                    bell::heard(self.set);
                }
                Ok(found)
            }
            Err(Errno::EBADF | Errno::EINVAL) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What the rump kernel has within `left`; `None` if the host was ready first.
    fn rump(&self, room: usize, left: Option<Duration>) -> Result<Option<Found>> {
        const WORDS: usize = size_of::<Kevent>() / size_of::<u64>();
        let mut words = vec![0u64; room * WORDS];
        let events =
            Region { addr: words.as_mut_ptr() as u64, len: size_of_val(&*words), direction: Direction::Out, own: true };
        let limit = left.map_or(0, |left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX - 1).saturating_add(1));
        let args = [self.kqueue.0 as u64, 0, 0, events.addr, room as u64, 0, limit];
        let kernel = kernel()?;
        let answer = match left {
            Some(Duration::ZERO) => Some(kernel.call(nr::kevent, &args, &[events])?),
            _ => {
                let mut host = [HostPollFd::new(host::HostFd(self.fd), host::POLLIN)];
                kernel.call_or_host(nr::kevent, &args, &[events], &mut host)?
            }
        };
        let Some([count, _]) = answer else { return Ok(None) };
        let count = usize::try_from(count).unwrap_or(0).min(room);
        Ok(Some(words.chunks_exact(WORDS).take(count).map(found).collect()))
    }
}

/// Reads an event of the kqueue.
fn found(words: &[u64]) -> (Event, bool) {
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    let (flags, fflags, data) = ((word(1) >> 32) as u32, word(2) as u32, word(4));
    let events = events_to_linux(fflags as i16, (fflags >> 16) as i16);
    (Event { events: u32::from(events as u16), data }, flags & EV_FLAG1 != 0)
}

/// Adds what the other kernel has found. A set in the set that both have found is one event.
fn merge(found: &mut Found, more: Found) {
    let before = found.len();
    for (event, nested) in more {
        let twin = found
            .iter_mut()
            .take(before)
            .find(|(other, other_nested)| (nested || *other_nested) && other.data == event.data);
        match twin {
            Some((twin, _)) => twin.events |= event.events,
            None => found.push((event, nested)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_written_as_c_has_it() {
        let event = libc::epoll_event { events: 0x8000_2001, u64: 0x0123_4567_89ab_cdef };
        let ours = Event::read(&raw const event as usize).unwrap();
        assert_eq!(ours, Event { events: 0x8000_2001, data: 0x0123_4567_89ab_cdef });
        assert_eq!(Event::parse(&ours.bytes()), ours);
        assert_eq!(Event::read(0), Err(Errno::EFAULT));
    }

    #[test]
    fn a_set_that_both_kernels_have_found_is_one_event() {
        let event = |events, data| Event { events, data };
        let mut found_so_far = vec![(event(1, 7), false), (event(4, 8), false)];
        merge(&mut found_so_far, vec![(event(0x40, 7), true), (event(1, 8), false)]);
        assert_eq!(found_so_far, [(event(0x41, 7), false), (event(4, 8), false), (event(1, 8), false)]);
    }

    #[test]
    fn a_kevent_becomes_an_event() {
        let words = [3, 1 << 32 | u64::from(EVFILT_POLL), (0x100 << 16 | 0x5), 3, 99];
        assert_eq!(found(&words), (Event { events: 0x101, data: 99 }, false));
    }

    #[test]
    fn a_call_on_a_set_of_the_host_is_the_hosts() {
        assert_eq!(ctl(0, libc::EPOLL_CTL_ADD, 1, 0), Outcome::Host);
        assert_eq!(wait(0, 0, 0, 0), Outcome::Host);
    }
}
