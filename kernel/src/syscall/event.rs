//! kqueue, kevent.

use std::time::Duration;

use abi::event::{EV_ERROR, EV_RECEIPT, Kevent};
use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_NOSIGPIPE, O_RDWR};
use abi::time::Timespec;
use abi::{Errno, Fd, In, Out, Result};
use zerocopy::IntoBytes;

use crate::Cx;
use crate::file::OpenFile;
use crate::kqueue::Kqueue;
use crate::wait;

/// How many changes are copied in at a time by the original, and events copied out (`KQ_NEVENTS`).
const BLOCK: usize = 8;

/// kqueue(2).
pub fn kqueue(cx: &Cx<'_>) -> Result<Fd> {
    kqueue1(cx, 0)
}

/// kqueue1(2). A client of ours makes epoll sets of it, which the child of a fork shares; NetBSD's queues are not inherited.
pub fn kqueue1(cx: &Cx<'_>, flags: i32) -> Result<Fd> {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_NOSIGPIPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = OpenFile::new(Kqueue::new(cx.mem.extended()), O_RDWR | flags & !O_CLOEXEC);
    cx.proc.install(file, flags & O_CLOEXEC != 0)
}

/// kevent(2).
///
/// `limit` is an extension: how long to wait in nanoseconds, plus one. It saves a client of ours the question for `timeout`; to a NetBSD
/// client, whose argument block ends before it, it is zero, and nothing is said by it.
#[expect(clippy::too_many_arguments, reason = "they are those of the call")]
pub fn kevent(
    cx: &Cx<'_>,
    fd: Fd,
    changelist: In,
    nchanges: usize,
    eventlist: Out,
    nevents: usize,
    timeout: In,
    limit: u64,
) -> Result<i32> {
    let file = cx.proc.file(fd)?;
    let kqueue = Kqueue::of(&file)?;
    let timeout = match (limit, timeout.is_null()) {
        (1.., _) => Some(Duration::from_nanos(limit - 1)),
        (0, true) => None,
        (0, false) => Some(cx.mem.read::<Timespec>(timeout)?.to_duration()?),
    };
    let told = changes(cx, kqueue, changelist, nchanges, eventlist, nevents)?;
    if told > 0 || nevents == 0 {
        return Ok(told as i32);
    }
    let noted = file.changes();
    let events = collect(cx, kqueue, nevents, timeout)?;
    if events.is_empty() {
        file.found_nothing(noted);
    }
    store(cx, eventlist, 0, &events)?;
    Ok(events.len() as i32)
}

/// Makes the changes, and returns how many events tell of them: failures, and what asks for a receipt. A failure that there is no room
/// to tell of is the call's.
fn changes(cx: &Cx<'_>, kqueue: &Kqueue, from: In, count: usize, to: Out, room: usize) -> Result<usize> {
    let mut told = 0;
    let mut done = 0;
    while done < count {
        let at = from.addr.wrapping_add((done * size_of::<Kevent>()) as u64);
        let block: Vec<Kevent> = cx.mem.read_array(at, (count - done).min(BLOCK))?;
        for change in &block {
            let error = match kqueue.change(cx, change) {
                Err(errno) => errno.raw(),
                Ok(()) if change.flags & EV_RECEIPT != 0 => 0,
                Ok(()) => continue,
            };
            if told == room {
                return if error == 0 { Ok(told) } else { Err(Errno::from_raw(error)) };
            }
            let answer = Kevent { flags: change.flags | EV_ERROR, data: i64::from(error), ..*change };
            store(cx, to, told, &[answer])?;
            told += 1;
        }
        done += block.len();
    }
    Ok(told)
}

/// Stores events from the `at`th on, in blocks as the original does.
fn store(cx: &Cx<'_>, to: Out, at: usize, events: &[Kevent]) -> Result<()> {
    let block = if cx.mem.extended() { usize::MAX } else { BLOCK };
    let mut addr = to.addr.wrapping_add((at * size_of::<Kevent>()) as u64);
    for events in events.chunks(block) {
        cx.mem.store(addr, events.as_bytes())?;
        addr = addr.wrapping_add(size_of_val(events) as u64);
    }
    Ok(())
}

fn collect(cx: &Cx<'_>, kqueue: &Kqueue, max: usize, timeout: Option<Duration>) -> Result<Vec<Kevent>> {
    if timeout == Some(Duration::ZERO) {
        cx.kernel.run_timers();
        return Ok(kqueue.collect(cx, max));
    }
    let deadline = timeout.and_then(|timeout| cx.kernel.clock.uptime().checked_add(timeout));
    let found = wait::until(cx, &[crate::file::File::wait_queue(kqueue)], deadline, || {
        let events = kqueue.collect(cx, max);
        if events.is_empty() { Err(Errno::EAGAIN) } else { Ok(events) }
    });
    match found {
        Err(Errno::EAGAIN) => Ok(Vec::new()),
        found => found,
    }
}
