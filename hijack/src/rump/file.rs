//! Files by name and by descriptor: open(2), read(2) and write(2), stat(2), and what changes a file's attributes.
//!
//! What NetBSD lacks goes to our own server by an extension; towards a NetBSD server it is refused with the errno that makes
//! programs fall back. There are no extended attributes.

use core::ffi::CStr;

use abi::fcntl::{self, AT_EACCESS, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use abi::slot::Direction;
use abi::socket::IoVec;
use abi::stat::{self, Stat, Statvfs};
use abi::time::{Timespec, UTIME_OMIT};
use abi::{Errno, Fd, In, InOut, Out, Pad, Region, Result, UserStr, mount};
use client::stubs;
use linux_raw_sys::general as linux;

use super::kernel;
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::user;

/// Most bytes that Linux moves in one call (`MAX_RW_COUNT`).
pub(super) const MAX_TRANSFER: usize = 0x7fff_f000;

/// Set in the device number of every rump file, so that no program takes one for a file of the host that happens to
/// have the same numbers (cp(1) would refuse to copy it onto "itself"). It is major number 0x72000.
const RUMP_DEVICE: u64 = 0x7_2000 << 32;

/// See read(2).
pub fn read(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    stubs::read(kernel()?, fd.fd(), Out::at(buf as u64, len), len)
}

/// See write(2).
pub fn write(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    stubs::write(kernel()?, fd.fd(), In::at(buf as u64, len), len)
}

/// See pread(2).
pub fn pread64(fd: RumpFd, buf: usize, len: usize, offset: i64) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    stubs::pread(kernel()?, fd.fd(), Out::at(buf as u64, len), len, Pad, offset)
}

/// See pwrite(2).
pub fn pwrite64(fd: RumpFd, buf: usize, len: usize, offset: i64) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    stubs::pwrite(kernel()?, fd.fd(), In::at(buf as u64, len), len, Pad, offset)
}

/// See readv(2).
pub fn readv(fd: RumpFd, iov: usize, count: usize) -> Result<usize> {
    let vector = Vector::read(iov, count, Direction::Out)?;
    stubs::with::readv(kernel()?, fd.fd(), vector.array(), vector.count(), &vector.elements)
}

/// See writev(2).
pub fn writev(fd: RumpFd, iov: usize, count: usize) -> Result<usize> {
    let vector = Vector::read(iov, count, Direction::In)?;
    stubs::with::writev(kernel()?, fd.fd(), vector.array(), vector.count(), &vector.elements)
}

/// See preadv(2); the offset is whole in its first half.
pub fn preadv(fd: RumpFd, iov: usize, count: usize, low: i64, _high: usize) -> Result<usize> {
    let vector = Vector::read(iov, count, Direction::Out)?;
    stubs::with::preadv(kernel()?, fd.fd(), vector.array(), vector.count(), Pad, low, &vector.elements)
}

/// See pwritev(2); the offset is whole in its first half.
pub fn pwritev(fd: RumpFd, iov: usize, count: usize, low: i64, _high: usize) -> Result<usize> {
    let vector = Vector::read(iov, count, Direction::In)?;
    stubs::with::pwritev(kernel()?, fd.fd(), vector.array(), vector.count(), Pad, low, &vector.elements)
}

/// The flags of pwritev2(2) that say where to write.
const PLACES: u32 = fcntl::RWF_APPEND | fcntl::RWF_NOAPPEND;

/// See preadv2(2); offset -1 is the current position.
///
/// `EOPNOTSUPP` for `RWF_NOWAIT`, which a memory file system does not have, and for a flag that nobody knows; those of writing change
/// nothing.
pub fn preadv2(fd: RumpFd, iov: usize, count: usize, low: i64, high: usize, flags: u32) -> Result<usize> {
    if flags & !(linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC | PLACES) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if low == -1 { readv(fd, iov, count) } else { preadv(fd, iov, count, low, high) }
}

/// See pwritev2(2); offset -1 is the current position.
///
/// `EOPNOTSUPP` for `RWF_NOWAIT`, which a memory file system does not have, and for a flag that nobody knows.
pub fn pwritev2(fd: RumpFd, iov: usize, count: usize, low: i64, high: usize, flags: u32) -> Result<usize> {
    if flags & !(linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC | PLACES) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let written = match (flags & PLACES, low) {
        (0, -1) => writev(fd, iov, count)?,
        (0, _) => pwritev(fd, iov, count, low, high)?,
        (place, _) => {
            let vector = Vector::read(iov, count, Direction::In)?;
            let (array, count) = (vector.array(), vector.count());
            let written = stubs::with::pwritev2(kernel()?, fd.fd(), array, count, low, place, &vector.elements);
            unless_unknown(written, Err(Errno::EOPNOTSUPP))?
        }
    };
    if flags & (linux::RWF_DSYNC | linux::RWF_SYNC) != 0 {
        fdatasync(fd)?;
    }
    Ok(written)
}

/// The answer of an extension, or `instead` from a server that does not know it.
pub(super) fn unless_unknown<T>(answer: Result<T>, instead: Result<T>) -> Result<T> {
    if let Err(Errno::ENOSYS) = answer { instead } else { answer }
}

/// A vector of the program, and the memory that its elements open to the kernel.
pub(super) struct Vector {
    array: Vec<IoVec>,
    /// The elements.
    pub elements: Vec<Region>,
}

impl Vector {
    /// Reads `count` elements at `iov`; a single empty one for none, which NetBSD refuses and Linux takes.
    pub fn read(iov: usize, count: usize, direction: Direction) -> Result<Self> {
        let mut array = user::read_iovecs(iov, count)?;
        if array.is_empty() {
            array.push(IoVec { iov_base: 0, iov_len: 0 });
        }
        let open = |element: &IoVec| Region { addr: element.iov_base, len: element.iov_len as usize, direction };
        let elements = array.iter().map(open).filter(|region| region.addr != 0 && region.len != 0).collect();
        Ok(Self { array, elements })
    }

    /// The array as an argument.
    pub fn array(&self) -> In {
        In::new(self.array.as_slice())
    }

    /// The length of the array as an argument.
    pub fn count(&self) -> i32 {
        self.array.len() as i32
    }
}

/// See lseek(2); a NetBSD server shows no holes, so there data ends where the file does.
pub fn lseek(fd: RumpFd, offset: i64, whence: i32) -> Result<usize> {
    let at = match stubs::lseek(kernel()?, fd.fd(), Pad, offset, whence) {
        Err(Errno::EINVAL) if whence == fcntl::SEEK_DATA || whence == fcntl::SEEK_HOLE => {
            let (offset, size) = within(fd, offset)?;
            let offset = if whence == fcntl::SEEK_DATA { offset } else { size };
            stubs::lseek(kernel()?, fd.fd(), Pad, offset, fcntl::SEEK_SET)?
        }
        at => at?,
    };
    usize::try_from(at).map_err(|_| Errno::EOVERFLOW)
}

/// Returns `offset` and the size of a file; `ENXIO` if the one is not below the other, `EINVAL` for what is no file.
fn within(fd: RumpFd, offset: i64) -> Result<(i64, i64)> {
    let status = status(fd)?;
    if status.st_mode & stat::S_IFMT != stat::S_IFREG {
        return Err(Errno::EINVAL);
    }
    if (0..status.st_size).contains(&offset) { Ok((offset, status.st_size)) } else { Err(Errno::ENXIO) }
}

pub(super) fn status(fd: RumpFd) -> Result<Stat> {
    let mut status = Stat::default();
    stubs::fstat(kernel()?, fd.fd(), Out::new(&mut status))?;
    status.st_dev |= RUMP_DEVICE;
    Ok(status)
}

pub(super) fn status_at(at: &RumpAt, flags: i32) -> Result<Stat> {
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_NOFOLLOW)?;
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

/// See fstatat(2).
pub fn newfstatat(at: &RumpAt, buf: usize, flags: i32) -> Result<usize> {
    store_stat(buf, &status_at(at, flags)?)
}

/// See statx(2) with an empty path.
pub fn fstatx(fd: RumpFd, flags: i32, mask: u32, buf: usize) -> Result<usize> {
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

/// See ftruncate(2).
pub fn ftruncate(fd: RumpFd, length: i64) -> Result<usize> {
    done(stubs::ftruncate(kernel()?, fd.fd(), Pad, length))
}

/// See fsync(2).
pub fn fsync(fd: RumpFd) -> Result<usize> {
    done(stubs::fsync(kernel()?, fd.fd()))
}

/// See fdatasync(2).
pub fn fdatasync(fd: RumpFd) -> Result<usize> {
    done(stubs::fdatasync(kernel()?, fd.fd()))
}

/// See sync_file_range(2); the whole file is written, and waited for.
///
/// `EINVAL` for an unknown flag or a range that is none, `ESPIPE` for what is neither file nor directory.
pub fn sync_file_range(fd: RumpFd, offset: i64, length: i64, flags: u32) -> Result<usize> {
    let kind = status(fd)?.st_mode & stat::S_IFMT;
    if flags & !SYNC_FLAGS != 0 || offset < 0 || length < 0 || offset.checked_add(length).is_none() {
        return Err(Errno::EINVAL);
    }
    if kind == stat::S_IFREG || kind == stat::S_IFDIR { fdatasync(fd) } else { Err(Errno::ESPIPE) }
}

/// The flags of sync_file_range(2).
const SYNC_FLAGS: u32 =
    linux::SYNC_FILE_RANGE_WAIT_BEFORE | linux::SYNC_FILE_RANGE_WRITE | linux::SYNC_FILE_RANGE_WAIT_AFTER;

/// See syncfs(2); every file system is written.
pub fn syncfs(_fd: RumpFd) -> Result<usize> {
    done(stubs::sync(kernel()?))
}

/// See readahead(2); a hint, not needed. `EBADF` for what is not open for reading, `EINVAL` for what is no file.
pub fn readahead(fd: RumpFd, _offset: i64, _count: usize) -> Result<usize> {
    let flags = stubs::fcntl(kernel()?, fd.fd(), fcntl::F_GETFL, InOut::NULL)?;
    if flags & fcntl::O_ACCMODE == fcntl::O_WRONLY {
        return Err(Errno::EBADF);
    }
    if status(fd)?.st_mode & stat::S_IFMT == stat::S_IFREG { Ok(0) } else { Err(Errno::EINVAL) }
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
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_NOFOLLOW)?;
    match by_path(flags | fcntl::AT_EMPTY_PATH) {
        Err(Errno::EINVAL | Errno::ENOENT) => done(by_fd()),
        answer => done(answer),
    }
}

/// See flock(2); the operations are the same on both.
pub fn flock(fd: RumpFd, operation: i32) -> Result<usize> {
    done(stubs::flock(kernel()?, fd.fd(), operation))
}

/// See fallocate(2); a NetBSD server has no mode but the plain one (`EOPNOTSUPP`).
pub fn fallocate(fd: RumpFd, mode: u32, offset: i64, length: i64) -> Result<usize> {
    match stubs::fallocate(kernel()?, fd.fd(), mode, offset, length) {
        Err(Errno::ENOSYS) if mode == 0 => number(stubs::posix_fallocate(kernel()?, fd.fd(), Pad, offset, length)?),
        answer => done(unless_unknown(answer, Err(Errno::EOPNOTSUPP))),
    }
}

/// See posix_fadvise(2); the advices are the same on both.
pub fn fadvise64(fd: RumpFd, offset: i64, length: i64, advice: i32) -> Result<usize> {
    number(stubs::fadvise(kernel()?, fd.fd(), Pad, offset, length, advice)?)
}

/// Two timespecs.
const TIMES: usize = 32;

/// Whether there is nothing to change: Linux does not even look at the path then.
fn omits(times: usize) -> bool {
    let both: Result<Option<[Timespec; 2]>> = user::read_if(times);
    matches!(both, Ok(Some(times)) if times.iter().all(|time| time.tv_nsec == UTIME_OMIT))
}

fn done(result: Result<()>) -> Result<usize> {
    result.map(|()| 0)
}

/// The result of a call that returns the error number as its value.
fn number(error: i32) -> Result<usize> {
    if error == 0 { Ok(0) } else { Err(Errno::from_raw(error)) }
}

/// See faccessat(2).
pub fn faccessat2(at: &RumpAt, mode: i32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW)?;
    done(stubs::faccessat(kernel()?, at.dir, UserStr::new(at.path), mode, flags))
}

/// See faccessat2(2) with an empty path; where the server cannot, the mode of the open file tells.
pub fn faccess(fd: RumpFd, mode: i32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW)? | fcntl::AT_EMPTY_PATH;
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
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_NOFOLLOW)?;
    done(stubs::fchmodat(kernel()?, at.dir, UserStr::new(at.path), mode & stat::ALLPERMS, flags))
}

/// See fchownat(2).
pub fn fchownat(at: &RumpAt, uid: u32, gid: u32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_NOFOLLOW)?;
    done(stubs::fchownat(kernel()?, at.dir, UserStr::new(at.path), uid, gid, flags))
}

/// See utimensat(2); the structure and its special values are the same on both.
pub fn utimensat(at: &RumpAt, times: usize, flags: i32) -> Result<usize> {
    if omits(times) {
        return Ok(0);
    }
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_NOFOLLOW)?;
    done(stubs::utimensat(kernel()?, at.dir, UserStr::new(at.path), In::at(times as u64, TIMES), flags))
}

/// See readlinkat(2); a target is a name inside the rump kernel and comes without the prefix.
pub fn readlinkat(at: &RumpAt, buf: usize, len: usize) -> Result<usize> {
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    stubs::readlinkat(kernel()?, at.dir, UserStr::new(at.path), Out::at(buf as u64, len), len)
}

/// See unlinkat(2).
pub fn unlinkat(at: &RumpAt, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_REMOVEDIR)?;
    done(stubs::unlinkat(kernel()?, at.dir, UserStr::new(at.path), flags))
}

/// See umount2(2); forced if the flags say so, the others are those of Linux's kernel alone (`EINVAL`).
pub fn umount2(at: &RumpAt, flags: i32) -> Result<usize> {
    if flags & !libc::MNT_FORCE != 0 {
        return Err(Errno::EINVAL);
    }
    let flags = if flags == 0 { 0 } else { mount::MNT_FORCE };
    done(stubs::unmount(kernel()?, UserStr::new(at.path), flags))
}

/// See mkdirat(2).
pub fn mkdirat(at: &RumpAt, mode: u32) -> Result<usize> {
    done(stubs::mkdirat(kernel()?, at.dir, UserStr::new(at.path), mode & stat::ALLPERMS))
}

/// See mknodat(2); `EPERM` for a socket, which only bind(2) makes, and for a directory.
pub fn mknodat(at: &RumpAt, mode: u32, dev: u32) -> Result<usize> {
    let (kernel, path) = (kernel()?, UserStr::new(at.path));
    let permissions = mode & stat::ALLPERMS;
    match mode & stat::S_IFMT {
        stat::S_IFIFO => done(stubs::mkfifoat(kernel, at.dir, path, permissions)),
        // Both systems put the numbers of a device into the same 32 bits.
        stat::S_IFCHR | stat::S_IFBLK => done(stubs::mknodat(kernel, at.dir, path, mode, Pad, dev.into())),
        0 | stat::S_IFREG => {
            let flags = fcntl::O_WRONLY | fcntl::O_CREAT | fcntl::O_EXCL;
            let fd = stubs::openat(kernel, at.dir, path, flags, permissions)?;
            done(stubs::close(kernel, fd))
        }
        stat::S_IFSOCK | stat::S_IFDIR => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// See symlinkat(2); the target is stored as it is given.
pub fn symlinkat(target: &CStr, at: &RumpAt) -> Result<usize> {
    done(stubs::symlinkat(kernel()?, UserStr::new(target), at.dir, UserStr::new(at.path)))
}

/// See truncate(2).
pub fn truncate(at: &RumpAt, length: i64) -> Result<usize> {
    done(stubs::truncate(kernel()?, UserStr::new(at.path), Pad, length))
}

/// See linkat(2).
pub fn linkat(from: &RumpAt, to: &RumpAt, flags: i32) -> Result<usize> {
    let netbsd = fcntl::at_flags_from_linux(flags, AT_SYMLINK_FOLLOW)?;
    done(stubs::linkat(kernel()?, from.dir, UserStr::new(from.path), to.dir, UserStr::new(to.path), netbsd))
}

/// See linkat(2) with an empty path: gives an open file another name, or its first. A NetBSD server has no such file (`ENOENT`).
pub fn link_itself(fd: RumpFd, to: &RumpAt) -> Result<usize> {
    let (empty, to_path) = (UserStr::new(c""), UserStr::new(to.path));
    done(stubs::linkat(kernel()?, fd.fd(), empty, to.dir, to_path, fcntl::AT_EMPTY_PATH))
}

/// See renameat2(2); from a NetBSD server `EINVAL` for any flag, as of a file system that does not know it: mv(1) falls back.
pub fn renameat2(from: &RumpAt, to: &RumpAt, flags: u32) -> Result<usize> {
    let (kernel, old, new) = (kernel()?, UserStr::new(from.path), UserStr::new(to.path));
    if flags != 0 {
        let answer = stubs::renameat2(kernel, from.dir, old, to.dir, new, flags);
        return done(unless_unknown(answer, Err(Errno::EINVAL)));
    }
    // Where possible the POSIX variant: like Linux, it leaves two names of one file alone.
    if from.dir == Fd(AT_FDCWD) && to.dir == Fd(AT_FDCWD) {
        return done(stubs::posix_rename(kernel, old, new));
    }
    done(stubs::renameat(kernel, from.dir, old, to.dir, new))
}
