//! What no object of the rump kernel can do: each refused with the errno that Linux gives on an object that cannot.
//!
//! A refusal is seen on the trace and in its summary, like every call that the rump kernel does not support.

use abi::{Errno, Result};

use super::attr;
use crate::calls::{Outcome, outcome};
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::{process, raw};

/// `EOPNOTSUPP`: an extended attribute of a path that exists; what the path itself fails with comes first.
pub fn attribute(at: &RumpAt<'_>, flags: i32) -> Result<usize> {
    attr::status_at(at, flags)?;
    Err(Errno::EOPNOTSUPP)
}

/// `EOPNOTSUPP`: an extended attribute of an open file.
pub fn attribute_of(_: RumpFd) -> Result<usize> {
    Err(Errno::EOPNOTSUPP)
}

/// `EOPNOTSUPP`: file handles and detached mounts of a file system that has none.
pub fn unsupported<T>(_: T) -> Result<usize> {
    Err(Errno::EOPNOTSUPP)
}

/// `EOPNOTSUPP`: a handle of a path that exists, as by a file system that makes none; a link at its end is followed only if asked for.
pub fn handle(at: &RumpAt<'_>, flags: i32) -> Result<usize> {
    let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
    attr::status_at(at, if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW })?;
    Err(Errno::EOPNOTSUPP)
}

/// `EINVAL`: a descriptor or path of the wrong kind.
pub fn wrong_kind<T>(_: T) -> Result<usize> {
    Err(Errno::EINVAL)
}

/// `EINVAL`: two paths of the wrong kind.
pub fn wrong_kinds<T>(_: T, _: T) -> Result<usize> {
    Err(Errno::EINVAL)
}

/// `ENOSYS`: quotas, accounting and libraries of the kernel.
pub fn not_built_in<T>(_: T) -> Result<usize> {
    Err(Errno::ENOSYS)
}

/// `ENOTBLK`: quotas of what is no disk.
pub fn no_disk<T>(_: T) -> Result<usize> {
    Err(Errno::ENOTBLK)
}

/// `ESTALE`: a handle of a file system that makes none.
pub fn stale<T>(_: T) -> Result<usize> {
    Err(Errno::ESTALE)
}

/// See inotify_add_watch(2): what is wrong with the path, else `EOPNOTSUPP`. Programs then look at the file from time to time.
pub fn watch(at: &RumpAt<'_>, fd: i32, mask: u32) -> Result<usize> {
    raw::checked(raw::fcntl(fd, libc::F_GETFD, 0))?;
    let nofollow = if mask & libc::IN_DONT_FOLLOW != 0 { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    attr::faccessat2(at, libc::R_OK, nofollow)?;
    Err(Errno::EOPNOTSUPP)
}

/// See io_uring_setup(2): `ENOSYS`, since a ring takes descriptors past both front doors. Programs then use the calls.
pub fn io_uring() -> Outcome {
    if process::ready() { outcome(Err(Errno::ENOSYS)) } else { Outcome::Host }
}
