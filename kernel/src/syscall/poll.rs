//! poll, pollts, select, pselect.
//!
//! Signals are not delivered here, so a mask has no effect: the client's side sees to that.

use std::sync::Arc;
use std::time::Duration;

use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, PollFd};
use abi::poll::{fd_isset, fd_set, fd_set_bytes};
use abi::time::{Timespec, Timeval};
use abi::{Errno, Fd, In, InOut, Result};

use crate::Cx;
use crate::file::{Events, OpenFile};
use crate::proc::lock;
use crate::wait;

/// What NetBSD lets poll(2) name beyond the size of the descriptor table.
const SURPLUS: usize = 1000;

/// poll(2): `timeout` in milliseconds, -1 for ever.
pub fn poll(cx: &Cx<'_>, fds: InOut, nfds: u32, timeout: i32) -> Result<i32> {
    let timeout = match timeout {
        -1 => None,
        milliseconds => Some(Duration::from_millis(u64::try_from(milliseconds).map_err(|_| Errno::EINVAL)?)),
    };
    poll_for(cx, fds, nfds, timeout)
}

/// pollts(2).
pub fn pollts(cx: &Cx<'_>, fds: InOut, nfds: u32, ts: In, mask: In) -> Result<i32> {
    let timeout = timespec(cx, ts)?;
    read_mask(cx, mask)?;
    poll_for(cx, fds, nfds, timeout)
}

/// select(2).
pub fn select(cx: &Cx<'_>, nd: i32, readfds: InOut, writefds: InOut, exceptfds: InOut, tv: In) -> Result<i32> {
    let timeout = match tv.is_null() {
        true => None,
        false => Some(cx.mem.read::<Timeval>(tv)?.to_duration()?),
    };
    select_for(cx, nd, [readfds, writefds, exceptfds], timeout)
}

/// pselect(2).
pub fn pselect(
    cx: &Cx<'_>,
    nd: i32,
    readfds: InOut,
    writefds: InOut,
    exceptfds: InOut,
    ts: In,
    mask: In,
) -> Result<i32> {
    let timeout = timespec(cx, ts)?;
    read_mask(cx, mask)?;
    select_for(cx, nd, [readfds, writefds, exceptfds], timeout)
}

fn timespec(cx: &Cx<'_>, ts: In) -> Result<Option<Duration>> {
    match ts.is_null() {
        true => Ok(None),
        false => cx.mem.read::<Timespec>(ts)?.to_duration().map(Some),
    }
}

fn read_mask(cx: &Cx<'_>, mask: In) -> Result<()> {
    match mask.is_null() {
        true => Ok(()),
        false => cx.mem.read_bytes(mask.addr, 16).map(drop),
    }
}

fn poll_for(cx: &Cx<'_>, at: InOut, nfds: u32, timeout: Option<Duration>) -> Result<i32> {
    let most = lock(&cx.proc.nofile).0 + SURPLUS;
    if nfds as usize > most {
        return Err(Errno::EINVAL);
    }
    let mut fds: Vec<PollFd> = cx.mem.read_array(at.addr, nfds as usize)?;
    let watched: Vec<Watched> = fds.iter().map(|poll| Watched::new(cx, poll.fd, poll.events)).collect();
    let revents = ready(cx, &watched, timeout)?;
    for (poll, revents) in fds.iter_mut().zip(&revents) {
        poll.revents = *revents;
    }
    cx.mem.store(at.addr, zerocopy::IntoBytes::as_bytes(fds.as_slice()))?;
    Ok(revents.iter().filter(|revents| **revents != 0).count() as i32)
}

/// A descriptor to watch.
enum Watched {
    /// Left out.
    Nothing,
    /// Not open.
    Closed,
    Open(Arc<OpenFile>, Events),
}

impl Watched {
    fn new(cx: &Cx<'_>, fd: i32, events: Events) -> Self {
        match cx.proc.file(Fd(fd)) {
            _ if fd < 0 => Watched::Nothing,
            Err(_) => Watched::Closed,
            Ok(file) => Watched::Open(file, events),
        }
    }

    /// The same for who does not wait, and may look again and again.
    fn look_once(&self) -> Events {
        let Watched::Open(file, _) = self else { return self.revents() };
        let changes = file.changes();
        let revents = self.revents();
        if revents == 0 {
            file.found_nothing(changes);
        }
        revents
    }

    fn revents(&self) -> Events {
        match self {
            Watched::Nothing => 0,
            Watched::Closed => POLLNVAL,
            Watched::Open(file, events) => file.ready() & (events | POLLERR | POLLHUP),
        }
    }
}

/// Waits until something is ready or the time has passed, and returns what each has.
fn ready(cx: &Cx<'_>, watched: &[Watched], timeout: Option<Duration>) -> Result<Vec<Events>> {
    let look = || watched.iter().map(Watched::revents).collect::<Vec<_>>();
    if timeout == Some(Duration::ZERO) {
        cx.kernel.run_timers();
        return Ok(watched.iter().map(Watched::look_once).collect());
    }
    let queues: Vec<_> = watched
        .iter()
        .filter_map(|one| match one {
            Watched::Open(file, _) => Some(file.file.wait_queue()),
            _ => None,
        })
        .collect();
    let deadline = timeout.and_then(|timeout| cx.kernel.clock.uptime().checked_add(timeout));
    let found = wait::until(cx, &queues, deadline, || {
        let revents = look();
        if revents.iter().any(|revents| *revents != 0) { Ok(revents) } else { Err(Errno::EAGAIN) }
    });
    match found {
        Err(Errno::EAGAIN) => Ok(vec![0; watched.len()]),
        found => found,
    }
}

/// The events that make a descriptor count in each of the three sets, and those that are asked for.
const SETS: [(Events, Events); 3] = [
    (POLLIN | POLLRDNORM | POLLHUP | POLLERR, POLLIN | POLLRDNORM),
    (POLLOUT | POLLWRBAND | POLLERR, POLLOUT),
    (POLLPRI | POLLRDBAND, POLLPRI | POLLRDBAND),
];

fn select_for(cx: &Cx<'_>, nd: i32, at: [InOut; 3], timeout: Option<Duration>) -> Result<i32> {
    let limit = lock(&cx.proc.nofile).0;
    let nd = usize::try_from(nd).map_err(|_| Errno::EINVAL)?.min(limit);
    let len = fd_set_bytes(nd);
    let mut sets = [const { Vec::new() }; 3];
    for (set, at) in sets.iter_mut().zip(at) {
        *set = if at.is_null() { vec![0; len] } else { cx.mem.read_bytes(at.addr, len)? };
    }
    let mut numbers = Vec::new();
    let mut watched = Vec::new();
    for fd in 0..nd {
        let asked = sets.iter().zip(SETS).filter(|(set, _)| fd_isset(set, fd)).map(|(_, (_, asked))| asked);
        let events = asked.fold(0, |events, asked| events | asked);
        if events != 0 {
            let file = cx.proc.file(Fd(fd as i32))?;
            numbers.push(fd);
            watched.push(Selected { sets: sets.each_ref().map(|set| fd_isset(set, fd)), file, events });
        }
    }
    let watched_files: Vec<_> = watched.iter().map(|one| Watched::Open(one.file.clone(), one.events)).collect();
    let revents = ready_in_sets(cx, &watched, &watched_files, timeout)?;
    let mut count = 0;
    let mut answer = [const { Vec::new() }; 3];
    for (which, (set, (counts, _))) in answer.iter_mut().zip(SETS).enumerate() {
        *set = vec![0; len];
        for ((fd, one), revents) in numbers.iter().zip(&watched).zip(&revents) {
            if one.sets[which] && revents & counts != 0 {
                fd_set(set, *fd);
                count += 1;
            }
        }
    }
    for (set, at) in answer.iter().zip(at).filter(|(_, at)| !at.is_null()) {
        cx.mem.store(at.addr, set)?;
    }
    Ok(count)
}

/// A descriptor in one or more of the sets.
struct Selected {
    sets: [bool; 3],
    file: Arc<OpenFile>,
    events: Events,
}

impl Selected {
    /// The events that make it count.
    fn counts(&self) -> Events {
        self.sets.iter().zip(SETS).filter(|(there, _)| **there).fold(0, |events, (_, (counts, _))| events | counts)
    }
}

/// Waits like [`ready`], but a hang-up of a descriptor in the write set alone does not count.
fn ready_in_sets(
    cx: &Cx<'_>,
    selected: &[Selected],
    watched: &[Watched],
    timeout: Option<Duration>,
) -> Result<Vec<Events>> {
    let deadline = timeout.and_then(|timeout| cx.kernel.clock.uptime().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(cx.kernel.clock.uptime()));
        let mut revents = ready(cx, watched, left)?;
        let useless = revents.iter().any(|revents| *revents != 0);
        revents.iter_mut().zip(selected).for_each(|(revents, one)| *revents &= one.counts());
        if revents.iter().any(|revents| *revents != 0) || !useless || left == Some(Duration::ZERO) {
            return Ok(revents);
        }
        // Only hang-ups that no set asks about: they stay, so look again after a while.
        let nap = Duration::from_millis(10).min(left.unwrap_or(Duration::MAX));
        let until = cx.kernel.clock.uptime().checked_add(nap);
        match wait::until(cx, &[], until, || Err::<(), _>(Errno::EAGAIN)) {
            Err(Errno::EAGAIN) | Ok(()) => {}
            Err(errno) => return Err(errno),
        }
    }
}
