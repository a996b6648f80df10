//! Waiting for descriptors of both kernels at once.
//!
//! A `pollts` is left outstanding on the connection while the host's descriptors are watched by the thread
//! that waits for its answer. When the host is first, our own server ends the `pollts` on an INTERRUPT; the
//! original's has no such thing, so there the set holds the reading end of a rump pipe, and a byte wakes it.

use std::time::Duration;

use abi::poll::{POLLIN, PollFd};
use abi::slot::Direction;
use abi::syscalls::nr;
use abi::{Errno, Fd, In, Region, Result};
use sysproxy::host::{self, HostFd, SigSet};

use crate::conn::Conn;
use crate::exchange::Terms;
use crate::fds::{self, Kept};
use crate::notices::Question;
use crate::remote::Remote;
use crate::signals::{self, Blocked, Watch};
use crate::{HostPollFd, stubs};

/// What is written to wake a foreign server: as much as the original writes.
const WAKE: [u8; 8] = [0; 8];

/// See [`crate::Caller::poll_mixed`].
pub fn mixed(
    remote: &Remote,
    rump: &mut [PollFd],
    host: &mut [HostPollFd],
    timeout: Option<Duration>,
) -> Result<(usize, usize)> {
    let _blocked = Blocked::enter();
    if rump.is_empty() {
        return Ok((0, host_only(remote.signals(), host, timeout)?));
    }
    if let Some(rump_ready) = remote.polled(rump, timeout != Some(Duration::ZERO)) {
        return Ok((rump_ready, look(host)?));
    }
    let ready = look(host)?;
    let timeout = if ready > 0 { Some(Duration::ZERO) } else { timeout };
    // With nothing to wait for on the host, or no time to wait, there is nothing to wake.
    if host.iter().all(|host| host.fd < 0) || timeout == Some(Duration::ZERO) {
        let rump_ready = pollts(remote, rump, timeout, Terms::default())?;
        if rump_ready == 0 {
            remote.looked_in_vain(rump);
        }
        return Ok((rump_ready, look(host)?));
    }
    let result = match remote.extended() {
        true => {
            let wake = |conn: &Conn, number: u64| conn.interrupt(number);
            pollts(remote, rump, timeout, Terms { host, on_host: &wake, ..Terms::default() })
        }
        false => foreign(remote, rump, host, timeout),
    };
    match (result, look(host)?) {
        (Ok(rump_ready), host_ready) => Ok((rump_ready, host_ready)),
        // The sleep was ended because of the host; the answer says nothing about the rump side.
        (Err(Errno::EINTR), host_ready @ 1..) => {
            rump.iter_mut().for_each(|fd| fd.revents = 0);
            Ok((0, host_ready))
        }
        (Err(errno), _) => Err(errno),
    }
}

/// See [`crate::Caller::call_or_host`].
pub fn call_or_host(
    remote: &Remote,
    number: u32,
    args: &[u64],
    regions: &[Region],
    host: &mut [HostPollFd],
) -> Result<Option<[i64; 2]>> {
    let _blocked = Blocked::enter();
    if !remote.extended() {
        return Err(Errno::EOPNOTSUPP);
    }
    let wake = |conn: &Conn, number: u64| conn.interrupt(number);
    let terms = Terms { regions, interruptible: true, host, on_host: &wake, ..Terms::default() };
    match remote.syscall(number, args, terms) {
        Err(Errno::EINTR) if look(host)? > 0 => {
            if let Some(question) = Question::of(number, args) {
                remote.asked_in_vain(question);
            }
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// Looks at the host's descriptors without waiting.
fn look(host: &mut [HostPollFd]) -> Result<usize> {
    match host.is_empty() {
        true => Ok(0),
        false => host::ppoll(host, Some(Duration::ZERO), None).map_err(host::errno),
    }
}

/// Waits for the host alone; `EINTR` for a signal that ends a call.
fn host_only(signals: &Kept, host: &mut [HostPollFd], timeout: Option<Duration>) -> Result<usize> {
    let deadline = timeout.map(|timeout| host::uptime().saturating_add(timeout));
    let mut watch = Watch::new(Some(signals));
    let mut all = host.to_vec();
    all.push(HostPollFd::new(HostFd(-1), POLLIN));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(host::uptime()));
        let number = |all: &mut [HostPollFd]| {
            all.last_mut().into_iter().for_each(|told| told.fd = watch.fd().map_or(-1, |watch| watch.fd().0));
        };
        let ready = fds::sleep(&mut all, number, left).map_err(host::errno)?;
        let (told, rest) = all.split_last_mut().ok_or(Errno::EIO)?;
        let count = rest.iter().filter(|host| host.revents != 0).count();
        if ready == 0 || count > 0 {
            host.copy_from_slice(rest);
            return Ok(count);
        }
        if told.revents == 0 {
            continue;
        }
        let pending = signals::pending();
        if pending.is_empty() {
            watch.without(SigSet::EMPTY);
        } else if pending.caught.is_empty() && signals::open() {
            continue;
        } else {
            return Err(Errno::EINTR);
        }
    }
}

/// Leaves a `pollts` with the pipe in its set outstanding, and writes to the pipe when the host is first.
fn foreign(remote: &Remote, rump: &mut [PollFd], host: &[HostPollFd], timeout: Option<Duration>) -> Result<usize> {
    let (reader, writer) = stubs::pipe(remote)?;
    let mut set = rump.to_vec();
    set.push(PollFd { fd: reader.0, events: POLLIN, revents: 0 });
    let wake = |_: &Conn, _: u64| {
        let _ = stubs::write(remote, writer, In::new(&WAKE), WAKE.len());
    };
    let result = pollts(remote, &mut set, timeout, Terms { host, on_host: &wake, ..Terms::default() });
    close_both(remote, reader, writer);
    result?;
    for (fd, answer) in rump.iter_mut().zip(&set) {
        fd.revents = answer.revents;
    }
    Ok(rump.iter().filter(|fd| fd.revents != 0).count())
}

fn close_both(remote: &Remote, reader: Fd, writer: Fd) {
    let _ = stubs::close(remote, reader);
    let _ = stubs::close(remote, writer);
}

fn pollts(remote: &Remote, set: &mut [PollFd], timeout: Option<Duration>, terms: Terms<'_>) -> Result<usize> {
    let time = timeout.map(|time| [time.as_secs(), u64::from(time.subsec_nanos())]);
    let time = time.as_ref().map_or(In::NULL, In::new);
    let fds = Region { addr: set.as_mut_ptr() as u64, len: size_of_val(set), direction: Direction::Both, own: true };
    let regions = [fds, Region { addr: time.addr, len: time.len, direction: Direction::In, own: true }];
    let args = [fds.addr, set.len() as u64, time.addr, 0];
    let terms = Terms { regions: &regions, interruptible: true, ..terms };
    remote.syscall(nr::pollts, &args, terms).map(|retval| retval[0] as usize)
}
