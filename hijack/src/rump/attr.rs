//! What is known of a file, and what changes that: stat(2), access(2), chmod(2), chown(2), utimensat(2), statfs(2).
//!
//! There are no extended attributes.

use abi::fcntl::{self, AT_EACCESS, AT_SYMLINK_NOFOLLOW};
use abi::stat::{self, Stat, Statvfs};
use abi::time::{Timespec, UTIME_OMIT};
use abi::{Errno, In, Out, Result, UserStr, mount};
use client::stubs;
use linux_raw_sys::general as linux;

use super::file::done;
use super::kernel;
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::user;

/// Set in the device number of every rump file, so that no program takes one for a file of the host that happens to
/// have the same numbers (cp(1) would refuse to copy it onto "itself"). It is major number 0x72000.
const RUMP_DEVICE: u64 = 0x7_2000 << 32;

/// The flags of most calls that have some.
const NOFOLLOW: i32 = AT_SYMLINK_NOFOLLOW | fcntl::AT_EMPTY_PATH;

pub(super) fn status(fd: RumpFd) -> Result<Stat> {
    let mut status = Stat::default();
    stubs::fstat(kernel()?, fd.fd(), Out::new(&mut status))?;
    status.st_dev |= RUMP_DEVICE;
    Ok(status)
}

pub(super) fn status_at(at: &RumpAt, flags: i32) -> Result<Stat> {
    let flags = fcntl::at_flags_from_linux(flags, NOFOLLOW | fcntl::AT_STATUS_HINTS)?;
    let mut status = Stat::default();
    stubs::fstatat(kernel()?, at.dir, UserStr::new(at.path), Out::new(&mut status), flags)?;
    status.st_dev |= RUMP_DEVICE;
    Ok(status)
}

fn store_stat(buf: usize, status: &Stat) -> Result<usize> {
    user::write(buf, &status.to_linux())?;
    Ok(0)
}

fn store_statx(buf: usize, mask: u32, status: &Stat) -> Result<usize> {
    let mut extended = status.to_statx();
    // Linux says that it has these only if they were asked for.
    extended.stx_mask &= !(linux::STATX_MTIME | linux::STATX_CTIME | linux::STATX_BTIME) | mask;
    extended.stx_dev_major |= (RUMP_DEVICE >> 32) as u32;
    user::write(buf, &extended)?;
    Ok(0)
}

/// See fstat(2).
pub fn fstat(fd: RumpFd, buf: usize) -> Result<usize> {
    store_stat(buf, &status(fd)?)
}

/// See fstatat(2) with an empty path, or a null one; `EFAULT` if the flags do not say so.
pub fn fstat_itself(fd: RumpFd, path: usize, buf: usize, flags: i32) -> Result<usize> {
    named(path, flags)?;
    fstat(fd, buf)
}

/// Only with `AT_EMPTY_PATH` may there be no path at all.
fn named(path: usize, flags: i32) -> Result<()> {
    if path == 0 && flags & libc::AT_EMPTY_PATH == 0 { Err(Errno::EFAULT) } else { Ok(()) }
}

/// See fstatat(2).
pub fn newfstatat(at: &RumpAt, buf: usize, flags: i32) -> Result<usize> {
    store_stat(buf, &status_at(at, flags)?)
}

/// See statx(2) with an empty path.
pub fn fstatx(fd: RumpFd, path: usize, flags: i32, mask: u32, buf: usize) -> Result<usize> {
    named(path, flags)?;
    sound(flags, mask)?;
    store_statx(buf, mask, &status(fd)?)
}

/// See statx(2); the mask is a wish, the basic fields are always there.
pub fn statx(at: &RumpAt, flags: i32, mask: u32, buf: usize) -> Result<usize> {
    sound(flags, mask)?;
    store_statx(buf, mask, &status_at(at, flags)?)
}

/// `EINVAL` for the reserved bit of a mask, or for two ways to synchronise at once.
fn sound(flags: i32, mask: u32) -> Result<()> {
    let both_ways = flags as u32 & linux::AT_STATX_SYNC_TYPE == linux::AT_STATX_SYNC_TYPE;
    if mask & linux::STATX__RESERVED != 0 || both_ways { Err(Errno::EINVAL) } else { Ok(()) }
}

/// See listxattr(2); nothing has any, and the list is empty as on any file system of Linux without them.
pub fn listxattr(at: &RumpAt, flags: i32) -> Result<usize> {
    status_at(at, flags).map(|_| 0)
}

/// See flistxattr(2).
pub fn flistxattr(fd: RumpFd) -> Result<usize> {
    status(fd).map(|_| 0)
}

/// See fstatfs(2).
pub fn fstatfs(fd: RumpFd, buf: usize) -> Result<usize> {
    let mut status = Statvfs::default();
    stubs::fstatvfs1(kernel()?, fd.fd(), Out::new(&mut status), mount::MNT_WAIT)?;
    user::write(buf, &status.to_linux())?;
    Ok(0)
}

/// See statfs(2).
pub fn statfs(at: &RumpAt, buf: usize) -> Result<usize> {
    let mut status = Statvfs::default();
    stubs::statvfs1(kernel()?, UserStr::new(at.path), Out::new(&mut status), mount::MNT_WAIT)?;
    user::write(buf, &status.to_linux())?;
    Ok(0)
}

/// See fchmod(2).
pub fn fchmod(fd: RumpFd, mode: u32) -> Result<usize> {
    done(stubs::fchmod(kernel()?, fd.fd(), mode & stat::ALLPERMS))
}

/// See fchown(2).
pub fn fchown(fd: RumpFd, uid: u32, gid: u32) -> Result<usize> {
    done(stubs::fchown(kernel()?, fd.fd(), uid, gid))
}

/// See utimensat(2) with an empty path, or (futimens(3)) without one, where an `O_PATH` descriptor will not do.
pub fn futimens(fd: RumpFd, path: usize, times: usize, flags: i32) -> Result<usize> {
    if omits(times) {
        return Ok(0);
    }
    let times = In::at(times as u64, TIMES);
    match (path, flags) {
        (0, 0) => done(stubs::futimens(kernel()?, fd.fd(), times)),
        (0, _) => Err(Errno::EINVAL),
        _ => itself(
            flags,
            |flags| stubs::utimensat(kernel()?, fd.fd(), UserStr::new(c""), times, flags),
            || stubs::futimens(kernel()?, fd.fd(), times),
        ),
    }
}

/// See fchmodat2(2) with an empty path.
pub fn fchmod_itself(fd: RumpFd, mode: u32, flags: i32) -> Result<usize> {
    let mode = mode & stat::ALLPERMS;
    itself(
        flags,
        |flags| stubs::fchmodat(kernel()?, fd.fd(), UserStr::new(c""), mode, flags),
        || stubs::fchmod(kernel()?, fd.fd(), mode),
    )
}

/// See fchownat(2) with an empty path.
pub fn fchown_itself(fd: RumpFd, uid: u32, gid: u32, flags: i32) -> Result<usize> {
    itself(
        flags,
        |flags| stubs::fchownat(kernel()?, fd.fd(), UserStr::new(c""), uid, gid, flags),
        || stubs::fchown(kernel()?, fd.fd(), uid, gid),
    )
}

/// Does by an empty path, which reaches an `O_PATH` descriptor too, what a server without `AT_EMPTY_PATH` does by the descriptor.
fn itself(flags: i32, by_path: impl Fn(i32) -> Result<()>, by_fd: impl Fn() -> Result<()>) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, NOFOLLOW)?;
    match by_path(flags | fcntl::AT_EMPTY_PATH) {
        Err(Errno::EINVAL | Errno::ENOENT) => done(by_fd()),
        answer => done(answer),
    }
}

/// Two timespecs.
const TIMES: usize = 32;

/// Whether there is nothing to change: Linux does not even look at the path then.
fn omits(times: usize) -> bool {
    let both: Result<Option<[Timespec; 2]>> = user::read_if(times);
    matches!(both, Ok(Some(times)) if times.iter().all(|time| time.tv_nsec == UTIME_OMIT))
}

/// See faccessat(2).
pub fn faccessat2(at: &RumpAt, mode: i32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_EACCESS | NOFOLLOW)?;
    done(stubs::faccessat(kernel()?, at.dir, UserStr::new(at.path), mode, flags))
}

/// See faccessat2(2) with an empty path; where the server cannot, the mode of the open file tells.
pub fn faccess(fd: RumpFd, mode: i32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_EACCESS | NOFOLLOW)? | fcntl::AT_EMPTY_PATH;
    match stubs::faccessat(kernel()?, fd.fd(), UserStr::new(c""), mode, flags) {
        Err(Errno::EINVAL | Errno::ENOENT) if mode & !7 == 0 => {}
        answer => return done(answer),
    }
    // A client is root in the rump kernel: only execution asks for a bit, and any of the three will do.
    let status = status(fd)?;
    let directory = status.st_mode & stat::S_IFMT == stat::S_IFDIR;
    if mode & fcntl::X_OK != 0 && !directory && status.st_mode & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(0)
}

/// See fchmodat(2); `flags` is fchmodat2(2)'s.
pub fn fchmodat(at: &RumpAt, mode: u32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, NOFOLLOW)?;
    done(stubs::fchmodat(kernel()?, at.dir, UserStr::new(at.path), mode & stat::ALLPERMS, flags))
}

/// See fchownat(2).
pub fn fchownat(at: &RumpAt, uid: u32, gid: u32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, NOFOLLOW)?;
    done(stubs::fchownat(kernel()?, at.dir, UserStr::new(at.path), uid, gid, flags))
}

/// See utimensat(2); the structure and its special values are the same on both.
pub fn utimensat(at: &RumpAt, times: usize, flags: i32) -> Result<usize> {
    if omits(times) {
        return Ok(0);
    }
    let flags = fcntl::at_flags_from_linux(flags, NOFOLLOW)?;
    done(stubs::utimensat(kernel()?, at.dir, UserStr::new(at.path), In::at(times as u64, TIMES), flags))
}
