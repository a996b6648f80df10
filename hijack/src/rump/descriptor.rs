//! Descriptor numbers: close, the dup family, fcntl, close_range.
//!
//! These judge numbers themselves, because a number changes its owner here, and because the library's own host descriptors
//! must stay alive under the program's feet: to the program they do not exist.

use abi::fcntl::{self, Flock};
use abi::ioctl::JREOPEN;
use abi::stat::{S_IFDIR, S_IFIFO, S_IFMT, Stat};
use abi::{Errno, InOut, Out, Result, linux};
use client::signals::Blocked;
use client::{Caller, stubs};

use super::{kernel, listing, sigio};
use crate::calls::Outcome;
use crate::fds::{self, NewFd, RumpFd};
use crate::{calls, process, raw, user};

/// What a fifo holds.
const PIPE_BYTES: usize = 65536;

const EBADF: Outcome = Outcome::Done(-(libc::EBADF as isize));

/// See close(2).
pub fn close(fd: i32) -> Outcome {
    if fds::lookup(fd).is_some() {
        return calls::serve(false, || forget(fd));
    }
    if fds::is_ours(fd) {
        return EBADF;
    }
    listing::closed(fd);
    Outcome::Host
}

/// Gives a rump number back to both kernels.
fn forget(fd: i32) -> Result<usize> {
    let rump = {
        let _lock = fds::lock();
        let rump = fds::set(fd, None).ok_or(Errno::EBADF)?;
        raw::close(fd);
        rump
    };
    // Linux has closed the descriptor whatever close answers; an interrupted close is not to be repeated.
    match stubs::close(kernel()?, rump.fd()) {
        Err(Errno::EINTR) => Ok(0),
        answer => answer.map(|()| 0),
    }
}

/// See dup(2).
pub fn dup(fd: i32) -> Outcome {
    match fds::lookup(fd) {
        Some(rump) => calls::serve(false, || duplicate(rump, false)),
        None if fds::is_ours(fd) => EBADF,
        None if listing::is_followed(fd) => followed(fd, raw::call(libc::SYS_dup, [raw::word(fd)])),
        None => Outcome::Host,
    }
}

/// Notes that an epoll set or a list of descriptors has another number, if it has.
fn followed(from: i32, to: isize) -> Outcome {
    if let Ok(to) = raw::checked(to) {
        listing::duplicated(from, to as i32);
    }
    Outcome::Done(to)
}

/// A second descriptor for what `rump` points to.
pub fn duplicate(rump: RumpFd, cloexec: bool) -> Result<NewFd> {
    let command = if cloexec { fcntl::F_DUPFD_CLOEXEC } else { fcntl::F_DUPFD };
    let fd = stubs::fcntl(kernel()?, rump.fd(), command, InOut::NULL)?;
    Ok(NewFd { fd: RumpFd(fd), cloexec })
}

/// See open(2) of `/dev/fd/N`: the file is opened anew, as on Linux. An original server cannot do that: there it is, as in NetBSD,
/// another descriptor for the same open file, whatever the flags say.
pub fn reopen(rump: RumpFd, flags: i32) -> Result<NewFd> {
    let cloexec = flags & libc::O_CLOEXEC != 0;
    let mut word = fcntl::open_flags_from_linux(flags)?;
    match stubs::ioctl(kernel()?, rump.fd(), JREOPEN, InOut::new(&mut word)) {
        Ok(()) => Ok(NewFd { fd: RumpFd(word), cloexec }),
        Err(Errno::ENOTTY) => duplicate(rump, cloexec),
        Err(error) => Err(error),
    }
}

/// See dup2(2).
pub fn dup2(from: i32, to: i32) -> Outcome {
    if from != to {
        return onto(from, to, 0);
    }
    match fds::lookup(from) {
        Some(_) => Outcome::Done(to as isize),
        None if fds::is_ours(from) => EBADF,
        None => Outcome::Host,
    }
}

/// See dup3(2).
pub fn dup3(from: i32, to: i32, flags: i32) -> Outcome {
    let known = fds::perhaps(from) || fds::perhaps(to);
    if known && (from == to || flags & !libc::O_CLOEXEC != 0) {
        return Outcome::Done(-(libc::EINVAL as isize));
    }
    onto(from, to, flags)
}

fn onto(from: i32, to: i32, flags: i32) -> Outcome {
    if !fds::perhaps(from) && !fds::perhaps(to) {
        return Outcome::Host;
    }
    if fds::is_ours(from) {
        return EBADF;
    }
    let _blocked = Blocked::enter();
    match (fds::lookup(from), fds::lookup(to)) {
        (Some(from), _) => calls::serve(false, || rump_onto(from, to, flags)),
        (None, Some(_)) => calls::serve(false, || host_onto(from, to, flags)),
        (None, None) => {
            fds::move_away(to);
            match listing::is_followed(from) || listing::is_followed(to) {
                true => followed(from, raw::dup3(from, to, flags)),
                false => Outcome::Host,
            }
        }
    }
}

/// Makes `to` another number for `from`, whatever it was.
fn rump_onto(from: RumpFd, to: i32, flags: i32) -> Result<usize> {
    let cloexec = flags & libc::O_CLOEXEC != 0;
    let place = || raw::checked(fds::with_template(|template| raw::dup3(template, to, flags)));
    let lock = fds::lock();
    if let Some(there) = fds::lookup(to) {
        // In its place: whoever uses the number meanwhile meets the one file or the other, as on Linux.
        stubs::dup3(kernel()?, from.fd(), there.fd(), if cloexec { fcntl::O_CLOEXEC } else { 0 })?;
        let placed = place();
        drop(lock);
        listing::closed(to);
        return placed;
    }
    drop(lock);
    let new = duplicate(from, cloexec)?;
    // Only now: a call that connects, as a child's first does, may have put the library's socket there.
    fds::move_away(to);
    let lock = fds::lock();
    let before = fds::set(to, Some(new.fd));
    let placed = place();
    if placed.is_err() {
        fds::set(to, before);
    }
    drop(lock);
    if placed.is_ok() {
        listing::closed(to);
    }
    let unused = if placed.is_ok() { before } else { Some(new.fd) };
    if let Some(unused) = unused {
        let _ = stubs::close(kernel()?, unused.fd());
    }
    placed
}

/// Makes the rump number `to` another number for the host's `from`.
fn host_onto(from: i32, to: i32, flags: i32) -> Result<usize> {
    let lock = fds::lock();
    let placed = raw::checked(raw::dup3(from, to, flags))?;
    let before = fds::set(to, None);
    drop(lock);
    listing::duplicated(from, to);
    if let Some(before) = before {
        let _ = stubs::close(kernel()?, before.fd());
    }
    Ok(placed)
}

/// See fcntl(2).
pub fn fcntl(fd: i32, command: i32, arg: usize) -> Outcome {
    match fds::lookup(fd) {
        Some(rump) => calls::serve(true, || control(fd, rump, command, arg)),
        None if fds::is_ours(fd) => EBADF,
        None if listing::is_followed(fd) && matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => {
            followed(fd, raw::fcntl(fd, command, arg))
        }
        None => Outcome::Host,
    }
}

fn control(fd: i32, rump: RumpFd, command: i32, arg: usize) -> Result<usize> {
    let kernel = kernel()?;
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {
            let least = i32::try_from(arg as u32).map_err(|_| Errno::EINVAL)?;
            let new = duplicate(rump, command == libc::F_DUPFD_CLOEXEC)?;
            fds::install_from(least, new).map(|fd| fd as usize)
        }
        libc::F_GETFD => raw::checked(raw::fcntl(fd, libc::F_GETFD, 0)),
        libc::F_SETFD => {
            let flags = arg & fcntl::FD_CLOEXEC as usize;
            stubs::fcntl(kernel, rump.fd(), fcntl::F_SETFD, InOut::at(flags as u64, 0))?;
            raw::checked(raw::fcntl(fd, libc::F_SETFD, flags))
        }
        libc::F_GETFL => {
            let flags = stubs::fcntl(kernel, rump.fd(), fcntl::F_GETFL, InOut::NULL)?;
            Ok((fcntl::open_flags_to_linux(flags) | libc::O_LARGEFILE) as usize)
        }
        libc::F_SETFL => {
            let flags = fcntl::open_flags_from_linux(arg as i32 & !libc::O_TMPFILE)?;
            let mut flags = flags & (fcntl::STATUS_FLAGS | fcntl::O_NOATIME);
            if flags & fcntl::O_ASYNC != 0 && !sigio::begin(fd, rump)? {
                flags &= !fcntl::O_ASYNC;
            }
            number(stubs::fcntl(kernel, rump.fd(), fcntl::F_SETFL, InOut::at(flags as u64, 0))?)
        }
        libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW => lock(kernel, rump, command, arg),
        libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => lock(kernel, rump, command, arg),
        command if sigio::concerns(command) => sigio::control(rump, command, arg),
        libc::F_GETPIPE_SZ | libc::F_SETPIPE_SZ => pipe_size(rump, command, arg),
        libc::F_NOTIFY => match status(rump)?.st_mode & S_IFMT {
            S_IFDIR => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTDIR),
        },
        // No file of the rump kernel can be leased, so none is.
        libc::F_GETLEASE => Ok(libc::F_UNLCK as usize),
        _ => Err(Errno::EINVAL),
    }
}

fn status(rump: RumpFd) -> Result<Stat> {
    let mut status = Stat::default();
    stubs::fstat(kernel()?, rump.fd(), Out::new(&mut status))?;
    Ok(status)
}

/// A fifo of the rump kernel holds [`PIPE_BYTES`], and cannot be made to hold more.
fn pipe_size(rump: RumpFd, command: i32, arg: usize) -> Result<usize> {
    if status(rump)?.st_mode & S_IFMT != S_IFIFO {
        return Err(Errno::EBADF);
    }
    match command == libc::F_SETPIPE_SZ && arg > PIPE_BYTES {
        true => Err(Errno::EPERM),
        false => Ok(PIPE_BYTES),
    }
}

/// Record locks of the process or, from our own server, of the open file (`F_OFD_*`; `EINVAL` from NetBSD's).
fn lock(kernel: &dyn Caller, rump: RumpFd, command: i32, arg: usize) -> Result<usize> {
    let wanted: linux::Flock = match user::read(arg) {
        // A place has no locks, wherever the wish may be.
        Err(_) if stubs::fcntl(kernel, rump.fd(), fcntl::F_GETFL, InOut::NULL)? & fcntl::O_PATH != 0 => {
            return Err(Errno::EBADF);
        }
        wanted => wanted?,
    };
    let mut flock = Flock::from_linux(&wanted)?;
    let netbsd = fcntl::fcntl_cmd_from_linux(command).ok_or(Errno::EINVAL)?;
    stubs::fcntl(kernel, rump.fd(), netbsd, InOut::new(&mut flock))?;
    if command == libc::F_GETLK || command == libc::F_OFD_GETLK {
        user::write(arg, &flock.to_linux())?;
    }
    Ok(0)
}

fn number(value: i32) -> Result<usize> {
    Ok(value as usize)
}

/// See close_range(2).
pub fn close_range(first: u32, last: u32, flags: u32) -> Outcome {
    if first > last || flags & !(libc::CLOSE_RANGE_UNSHARE | libc::CLOSE_RANGE_CLOEXEC) != 0 {
        return Outcome::Host;
    }
    let _blocked = Blocked::enter();
    if flags & libc::CLOSE_RANGE_CLOEXEC != 0 {
        return close_on_exec(first, last);
    }
    let rump = fds::range(first, last);
    rump.iter().for_each(|(fd, _)| {
        let _ = forget(*fd);
    });
    listing::closed_range(first, last);
    // The library's own descriptors split the range.
    let mut from = first;
    for ours in process::own_numbers().into_iter().filter(|ours| (first..=last).contains(ours)) {
        if from < ours {
            raw::call(libc::SYS_close_range, [from as usize, ours as usize - 1, flags as usize]);
        }
        from = ours.saturating_add(1);
    }
    if from > last {
        return Outcome::Done(0);
    }
    Outcome::Done(raw::call(libc::SYS_close_range, [from as usize, last as usize, flags as usize]))
}

/// Marks the rump numbers of the range in the rump kernel; the host marks the placeholders with the rest.
fn close_on_exec(first: u32, last: u32) -> Outcome {
    for (_, rump) in fds::range(first, last) {
        let flag = InOut::at(fcntl::FD_CLOEXEC as u64, 0);
        let _ = kernel().and_then(|kernel| stubs::fcntl(kernel, rump.fd(), fcntl::F_SETFD, flag));
    }
    Outcome::Host
}
