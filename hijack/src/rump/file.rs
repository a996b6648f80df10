//! Files by name and by descriptor: open(2), read(2) and write(2), stat(2), and what changes a file's attributes.
//!
//! Known differences from Linux: an `O_PATH` descriptor is an ordinary one, opened for reading; extended
//! attributes, `O_TMPFILE` and `RENAME_NOREPLACE` are refused with the errno that makes programs fall back.

use core::ffi::CStr;

use abi::fcntl::{self, AT_EACCESS, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW};
use abi::slot::Direction;
use abi::socket::IoVec;
use abi::stat::{self, Stat, Statvfs};
use abi::{Errno, Fd, In, Out, Pad, Region, Result, UserStr, mount};
use client::stubs;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::kernel;
use crate::fds::{NewFd, RumpFd};
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

/// See preadv2(2); `EOPNOTSUPP` for any flag, offset -1 is the current position.
pub fn preadv2(fd: RumpFd, iov: usize, count: usize, low: i64, high: usize, flags: i32) -> Result<usize> {
    match (flags, low) {
        (0, -1) => readv(fd, iov, count),
        (0, _) => preadv(fd, iov, count, low, high),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// See pwritev2(2); `EOPNOTSUPP` for any flag, offset -1 is the current position.
pub fn pwritev2(fd: RumpFd, iov: usize, count: usize, low: i64, high: usize, flags: i32) -> Result<usize> {
    match (flags, low) {
        (0, -1) => writev(fd, iov, count),
        (0, _) => pwritev(fd, iov, count, low, high),
        _ => Err(Errno::EOPNOTSUPP),
    }
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

/// See lseek(2); a rump file has no holes to find, so data ends where the file does.
pub fn lseek(fd: RumpFd, offset: i64, whence: i32) -> Result<usize> {
    let (offset, whence) = match whence as u32 {
        linux::SEEK_DATA => (within(fd, offset)?.0, fcntl::SEEK_SET),
        linux::SEEK_HOLE => (within(fd, offset)?.1, fcntl::SEEK_SET),
        _ => (offset, whence),
    };
    let at = stubs::lseek(kernel()?, fd.fd(), Pad, offset, whence)?;
    usize::try_from(at).map_err(|_| Errno::EOVERFLOW)
}

/// Returns `offset` and the size of the file; `ENXIO` if the one is not below the other.
fn within(fd: RumpFd, offset: i64) -> Result<(i64, i64)> {
    stubs::lseek(kernel()?, fd.fd(), Pad, 0, fcntl::SEEK_CUR)?;
    let size = status(fd)?.st_size;
    if (0..size).contains(&offset) { Ok((offset, size)) } else { Err(Errno::ENXIO) }
}

fn status(fd: RumpFd) -> Result<Stat> {
    let mut status = Stat::default();
    stubs::fstat(kernel()?, fd.fd(), Out::new(&mut status))?;
    status.st_dev |= RUMP_DEVICE;
    Ok(status)
}

fn status_at(at: &RumpAt, flags: i32) -> Result<Stat> {
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

fn store_statx(buf: usize, status: &Stat) -> Result<usize> {
    let mut extended = status.to_statx();
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
pub fn fstatx(fd: RumpFd, buf: usize) -> Result<usize> {
    store_statx(buf, &status(fd)?)
}

/// See statx(2); the mask is a wish, the basic fields are always there.
pub fn statx(at: &RumpAt, flags: i32, mask: u32, buf: usize) -> Result<usize> {
    if mask & linux::STATX__RESERVED != 0 {
        return Err(Errno::EINVAL);
    }
    store_statx(buf, &status_at(at, flags)?)
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
pub fn sync_file_range(fd: RumpFd, _offset: i64, _length: i64, _flags: u32) -> Result<usize> {
    fdatasync(fd)
}

/// See syncfs(2); every file system is written.
pub fn syncfs(_fd: RumpFd) -> Result<usize> {
    done(stubs::sync(kernel()?))
}

/// See readahead(2); a hint, not needed.
pub fn readahead(_fd: RumpFd, _offset: i64, _count: usize) -> Result<usize> {
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

/// See futimens(3), which is utimensat(2) without a path.
pub fn futimens(fd: RumpFd, times: usize) -> Result<usize> {
    done(stubs::futimens(kernel()?, fd.fd(), In::at(times as u64, TIMES)))
}

/// See flock(2); the operations are the same on both.
pub fn flock(fd: RumpFd, operation: i32) -> Result<usize> {
    done(stubs::flock(kernel()?, fd.fd(), operation))
}

/// See fallocate(2); `EOPNOTSUPP` for every mode but the plain one.
pub fn fallocate(fd: RumpFd, mode: i32, offset: i64, length: i64) -> Result<usize> {
    if mode != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    number(stubs::posix_fallocate(kernel()?, fd.fd(), Pad, offset, length)?)
}

/// See posix_fadvise(2); the advices are the same on both.
pub fn fadvise64(fd: RumpFd, offset: i64, length: i64, advice: i32) -> Result<usize> {
    number(stubs::fadvise(kernel()?, fd.fd(), Pad, offset, length, advice)?)
}

/// Two timespecs.
const TIMES: usize = 32;

fn done(result: Result<()>) -> Result<usize> {
    result.map(|()| 0)
}

/// The result of a call that returns the error number as its value.
fn number(error: i32) -> Result<usize> {
    if error == 0 { Ok(0) } else { Err(Errno::from_raw(error)) }
}

/// See openat(2).
///
/// `ELOOP` for a symbolic link under `O_NOFOLLOW`, `ENOTDIR` with `O_DIRECTORY` as well (NetBSD says `EFTYPE`).
pub fn openat(at: &RumpAt, flags: i32, mode: u32) -> Result<NewFd> {
    let cloexec = flags as u32 & linux::O_CLOEXEC != 0;
    let flags = if flags as u32 & linux::O_PATH != 0 {
        // A fifo or a device must not be waited for, since O_PATH opens nothing.
        let kept = flags as u32 & (linux::O_DIRECTORY | linux::O_NOFOLLOW | linux::O_CLOEXEC);
        fcntl::open_flags_from_linux((kept | linux::O_NONBLOCK) as i32)?
    } else {
        fcntl::open_flags_from_linux(flags)?
    };
    match stubs::openat(kernel()?, at.dir, UserStr::new(at.path), flags, mode & stat::ALLPERMS) {
        Ok(Fd(fd)) => Ok(NewFd { fd: RumpFd(fd), cloexec }),
        Err(Errno::EFTYPE) if flags & fcntl::O_DIRECTORY != 0 => Err(Errno::ENOTDIR),
        Err(Errno::EFTYPE) if flags & fcntl::O_NOFOLLOW != 0 => Err(Errno::ELOOP),
        Err(error) => Err(error),
    }
}

/// The argument of openat2(2).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// See openat2(2).
///
/// `ENOSYS` for any restriction of the path walk, which programs take for an old kernel; `E2BIG` for a longer `how`.
pub fn openat2(at: &RumpAt, how: usize, size: usize) -> Result<NewFd> {
    match size {
        0..24 => return Err(Errno::EINVAL),
        24 => {}
        _ => return Err(Errno::E2BIG),
    }
    let how: OpenHow = user::read(how)?;
    if how.resolve != 0 {
        return Err(Errno::ENOSYS);
    }
    let flags = i32::try_from(how.flags).map_err(|_| Errno::EINVAL)?;
    openat(at, flags, how.mode as u32)
}

/// See faccessat(2).
pub fn faccessat2(at: &RumpAt, mode: i32, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW)?;
    done(stubs::faccessat(kernel()?, at.dir, UserStr::new(at.path), mode, flags))
}

/// See faccessat(2) with an empty path: the open file exists, and its mode tells the rest.
pub fn faccess(fd: RumpFd, mode: i32) -> Result<usize> {
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

/// See mknodat(2); `EPERM` for a socket, which only bind(2) makes.
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
        stat::S_IFSOCK => Err(Errno::EPERM),
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

/// See linkat(2); `EOPNOTSUPP` for a link to an open file without a name.
pub fn linkat(from: &RumpAt, to: &RumpAt, flags: i32) -> Result<usize> {
    if flags as u32 & linux::AT_EMPTY_PATH != 0 && from.path.is_empty() {
        return Err(Errno::EOPNOTSUPP);
    }
    let flags = fcntl::at_flags_from_linux(flags, AT_SYMLINK_FOLLOW)?;
    done(stubs::linkat(kernel()?, from.dir, UserStr::new(from.path), to.dir, UserStr::new(to.path), flags))
}

/// See renameat2(2); `EINVAL` for any flag, as of a file system that does not know it: mv(1) falls back.
pub fn renameat2(from: &RumpAt, to: &RumpAt, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (kernel, old, new) = (kernel()?, UserStr::new(from.path), UserStr::new(to.path));
    // Where possible the POSIX variant: like Linux, it leaves two names of one file alone.
    if from.dir == Fd(AT_FDCWD) && to.dir == Fd(AT_FDCWD) {
        return done(stubs::posix_rename(kernel, old, new));
    }
    done(stubs::renameat(kernel, from.dir, old, to.dir, new))
}
