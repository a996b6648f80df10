//! When a copy and its file are made one: around the calls by which a program meets the other users of a file.

use abi::fcntl;
use abi::{InOut, Result};
use client::signals::Blocked;
use client::stubs;

use super::super::{attr, kernel};
use super::{COPIES, Copy, any, flush, refresh};
use crate::calls::Outcome;
use crate::fds::{self, RumpFd};
use crate::user;

/// What is to be done after a call.
#[derive(Clone, Copy)]
pub enum Then {
    Nothing,
    /// A lock was taken: what others did before is to be seen.
    Fetch,
    /// This file was written, where the call says.
    Written(RumpFd, Where),
}

/// What a call has written.
#[derive(Clone, Copy)]
pub enum Where {
    /// As many bytes as it returns, from here on.
    At(i64),
    /// As many bytes as it returns, before the current position.
    Here,
    Anywhere,
}

/// Brings files up to date that the call is going to look at, or that others may look at after it.
pub fn before(nr: usize, args: &[usize; 6]) -> Then {
    if !any() {
        return Then::Nothing;
    }
    let [first, second, third, fourth, ..] = *args;
    match nr as i64 {
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => {
            own(first);
            Then::Nothing
        }
        libc::SYS_sendfile => {
            own(second);
            written(first, Where::Anywhere)
        }
        libc::SYS_copy_file_range | libc::SYS_splice => {
            own(first);
            written(third, Where::Anywhere)
        }
        libc::SYS_write | libc::SYS_writev => written(first, Where::Here),
        libc::SYS_pwrite64 | libc::SYS_pwritev => written(first, Where::At(fourth as i64)),
        libc::SYS_pwritev2 | libc::SYS_ftruncate | libc::SYS_fallocate => written(first, Where::Anywhere),
        libc::SYS_fcntl => match second as i32 {
            libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => {
                locks(first, user::read::<i16>(third).is_ok_and(|kind| i32::from(kind) != libc::F_UNLCK))
            }
            _ => Then::Nothing,
        },
        libc::SYS_flock => locks(first, second as i32 & libc::LOCK_UN == 0),
        libc::SYS_close | libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs => locks(first, false),
        libc::SYS_dup2 | libc::SYS_dup3 => locks(second, false),
        libc::SYS_close_range | libc::SYS_sync => all(),
        _ => Then::Nothing,
    }
}

/// Brings copies up to date that the call has changed the files of, or that it gave a right to see the files of.
pub fn after(then: Then, outcome: Outcome) -> Outcome {
    let (Then::Fetch | Then::Written(..), Outcome::Done(answer @ 0..)) = (then, outcome) else { return outcome };
    let _blocked = Blocked::enter();
    // What cannot be fetched stays as it is: the call itself is done.
    let _ = match then {
        Then::Nothing => Ok(()),
        Then::Fetch => refresh(&mut COPIES.lock(), 0, usize::MAX),
        Then::Written(fd, place) => fetch(fd, place, answer as i64),
    };
    outcome
}

/// Writes back all there is when locks of a rump file may go, or come.
fn locks(fd: usize, taken: bool) -> Then {
    if fds::lookup(fd as i32).is_none() {
        return Then::Nothing;
    }
    all();
    if taken { Then::Fetch } else { Then::Nothing }
}

fn all() -> Then {
    let _blocked = Blocked::enter();
    let _ = flush(&mut COPIES.lock(), 0, usize::MAX);
    Then::Nothing
}

/// The copies of an open file.
fn of(copies: &mut [Copy], fd: RumpFd) -> Result<impl Iterator<Item = &mut Copy>> {
    let status = attr::status(fd)?;
    Ok(copies.iter_mut().filter(move |copy| copy.file == (status.st_dev, status.st_ino)))
}

/// Writes back what the program has changed in its mappings of a file.
fn own(fd: usize) -> Option<RumpFd> {
    let fd = fds::lookup(fd as i32)?;
    let _blocked = Blocked::enter();
    for copy in of(&mut COPIES.lock(), fd).ok()? {
        let _ = copy.write_back();
    }
    Some(fd)
}

fn written(fd: usize, place: Where) -> Then {
    own(fd).map_or(Then::Nothing, |fd| Then::Written(fd, place))
}

fn fetch(fd: RumpFd, place: Where, len: i64) -> Result<()> {
    let mut copies = COPIES.lock();
    let mut of = of(&mut copies, fd)?.peekable();
    if of.peek().is_none() {
        return Ok(());
    }
    let appends = stubs::fcntl(kernel()?, fd.fd(), fcntl::F_GETFL, InOut::NULL)? & fcntl::O_APPEND != 0;
    let (from, to) = match place {
        Where::At(at) if !appends => (at, at.saturating_add(len)),
        Where::Here => {
            let end = stubs::lseek(kernel()?, fd.fd(), abi::Pad, 0, fcntl::SEEK_CUR)?;
            (end.saturating_sub(len), end)
        }
        _ => (0, i64::MAX),
    };
    of.try_for_each(|copy| copy.refresh_range(from, to))
}
