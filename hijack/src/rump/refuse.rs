//! What no object of the rump kernel can do: each refused with the errno that Linux gives on an object that cannot.
//!
//! A refusal is seen on the trace and in its summary, like every call that the rump kernel does not support.

use abi::stat::{S_IFDIR, S_IFMT, S_IFREG, Stat};
use abi::{Errno, Result};

use super::attr;
use crate::calls::{Outcome, outcome};
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::{process, raw, user};

/// Longest name of an extended attribute (`XATTR_NAME_MAX`).
const ATTRIBUTE_NAME: usize = 255;

/// See getxattr(2), of a file system without attributes: what is wrong with the name, then with the path, then `ENODATA` for one of the
/// user's of what is neither file nor directory, which has none anywhere (xattr(7)), else `EOPNOTSUPP`.
pub fn attribute(at: &RumpAt<'_>, name: usize, flags: i32) -> Result<usize> {
    without_attributes(name, || attr::status_at(at, flags), Errno::ENODATA)
}

/// The same of an open file.
pub fn attribute_of(fd: RumpFd, name: usize) -> Result<usize> {
    without_attributes(name, || attr::status(fd), Errno::ENODATA)
}

/// See setxattr(2) and removexattr(2): the same with `EPERM`.
pub fn change(at: &RumpAt<'_>, name: usize, flags: i32) -> Result<usize> {
    without_attributes(name, || attr::status_at(at, flags), Errno::EPERM)
}

/// The same of an open file.
pub fn change_of(fd: RumpFd, name: usize) -> Result<usize> {
    without_attributes(name, || attr::status(fd), Errno::EPERM)
}

/// `ERANGE` for a name that is empty or too long, as Linux has it before it looks at the path.
fn without_attributes(name: usize, status: impl FnOnce() -> Result<Stat>, never: Errno) -> Result<usize> {
    let name = user::read_string(name, ATTRIBUTE_NAME + 1)?;
    if name.is_empty() || name.len() > ATTRIBUTE_NAME {
        return Err(Errno::ERANGE);
    }
    let kind = status()?.st_mode & S_IFMT;
    let never_any = name.starts_with(b"user.") && kind != S_IFREG && kind != S_IFDIR;
    Err(if never_any { never } else { Errno::EOPNOTSUPP })
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

/// See io_uring_setup(2) and io_setup(2): `ENOSYS`, since what is submitted there names descriptors past both front doors. Programs then use the calls.
pub fn submission() -> Outcome {
    if process::ready() { outcome(Err(Errno::ENOSYS)) } else { Outcome::Host }
}
