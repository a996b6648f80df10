//! The content of open files: read(2) and write(2) in all their forms, lseek(2), fallocate(2), the sync family.
//!
//! What NetBSD lacks goes to our own server by an extension; towards a NetBSD server it is refused with the errno that makes
//! programs fall back.

use abi::fcntl;
use abi::slot::Direction;
use abi::socket::IoVec;
use abi::{Errno, In, InOut, Out, Pad, Region, Result, UserStr, stat};
use client::stubs;
use linux_raw_sys::general as linux;

use super::attr::status;
use super::bad_memory::{Way, taking, taking_vector, to_fill, vector_to_fill};
use super::{descriptor, kernel, writer, writer_to};
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::{job, user};

/// Most bytes that Linux moves in one call (`MAX_RW_COUNT`).
pub(super) const MAX_TRANSFER: usize = 0x7fff_f000;

/// See read(2).
pub fn read(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let len = to_fill(fd, buf, len.min(MAX_TRANSFER), Way::Next)?;
    stubs::read(kernel()?, fd.fd(), Out::at(buf as u64, len), len)
}

/// See write(2).
pub fn write(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    if job::anyway() {
        let array = vec![IoVec { iov_base: buf as u64, iov_len: len as u64 }];
        return write_anyway(fd, &mut Vector::of(array, Direction::In));
    }
    taking(fd, buf, len, Way::Next, |len| stubs::write(writer_to(fd)?, fd.fd(), In::at(buf as u64, len), len))
}

/// See pread(2).
pub fn pread64(fd: RumpFd, buf: usize, len: usize, offset: i64) -> Result<usize> {
    let len = to_fill(fd, buf, len.min(MAX_TRANSFER), Way::At(offset))?;
    stubs::pread(kernel()?, fd.fd(), Out::at(buf as u64, len), len, Pad, offset)
}

/// See pwrite(2).
pub fn pwrite64(fd: RumpFd, buf: usize, len: usize, offset: i64) -> Result<usize> {
    let len = len.min(MAX_TRANSFER);
    taking(fd, buf, len, Way::At(offset), |len| {
        stubs::pwrite(writer()?, fd.fd(), In::at(buf as u64, len), len, Pad, offset)
    })
}

/// See readv(2).
pub fn readv(fd: RumpFd, iov: usize, count: usize) -> Result<usize> {
    let mut vector = Vector::read(iov, count, Direction::Out)?;
    vector_to_fill(fd, &mut vector, Way::Next)?;
    stubs::with::readv(kernel()?, fd.fd(), vector.array(), vector.count(), &vector.elements)
}

/// See writev(2).
pub fn writev(fd: RumpFd, iov: usize, count: usize) -> Result<usize> {
    let mut vector = Vector::read(iov, count, Direction::In)?;
    if job::anyway() {
        return write_anyway(fd, &mut vector);
    }
    taking_vector(fd, &mut vector, Way::Next, |vector| {
        stubs::with::writev(writer_to(fd)?, fd.fd(), vector.array(), vector.count(), &vector.elements)
    })
}

/// Writes to a terminal although it refused: the program does not mind `SIGTTOU`.
fn write_anyway(fd: RumpFd, vector: &mut Vector) -> Result<usize> {
    write_so(fd, vector, -1, fcntl::RWF_ANYWAY)
}

/// Writes with a flag of pwritev2(2), an extension.
fn write_so(fd: RumpFd, vector: &mut Vector, offset: i64, flag: u32) -> Result<usize> {
    taking_vector(fd, vector, Way::Next, |vector| {
        let (array, count) = (vector.array(), vector.count());
        stubs::with::pwritev2(writer()?, fd.fd(), array, count, offset, flag, &vector.elements)
    })
}

/// See preadv(2); the offset is whole in its first half.
pub fn preadv(fd: RumpFd, iov: usize, count: usize, low: i64, _high: usize) -> Result<usize> {
    let mut vector = Vector::read(iov, count, Direction::Out)?;
    vector_to_fill(fd, &mut vector, Way::At(low))?;
    stubs::with::preadv(kernel()?, fd.fd(), vector.array(), vector.count(), Pad, low, &vector.elements)
}

/// See pwritev(2); the offset is whole in its first half.
pub fn pwritev(fd: RumpFd, iov: usize, count: usize, low: i64, _high: usize) -> Result<usize> {
    let mut vector = Vector::read(iov, count, Direction::In)?;
    taking_vector(fd, &mut vector, Way::At(low), |vector| {
        stubs::with::pwritev(writer()?, fd.fd(), vector.array(), vector.count(), Pad, low, &vector.elements)
    })
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
            let mut vector = Vector::read(iov, count, Direction::In)?;
            unless_unknown(write_so(fd, &mut vector, low, place), Err(Errno::EOPNOTSUPP))?
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
    direction: Direction,
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
        Ok(Self::of(array, direction))
    }

    /// Makes one of its elements.
    fn of(array: Vec<IoVec>, direction: Direction) -> Self {
        let open =
            |element: &IoVec| Region { addr: element.iov_base, len: element.iov_len as usize, direction, own: false };
        let elements = array.iter().map(open).filter(|region| region.addr != 0 && region.len != 0).collect();
        Self { array, direction, elements }
    }

    /// The parts.
    pub fn parts(&self) -> &[IoVec] {
        &self.array
    }

    /// The bytes of all parts.
    pub fn len(&self) -> usize {
        self.array.iter().fold(0, |sum, part| sum.saturating_add(part.iov_len as usize))
    }

    /// Leaves `len` bytes at most.
    pub fn cut(&mut self, len: usize) {
        let mut left = len as u64;
        for part in &mut self.array {
            part.iov_len = part.iov_len.min(left);
            left -= part.iov_len;
        }
        *self = Self::of(core::mem::take(&mut self.array), self.direction);
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

/// See ftruncate(2).
pub fn ftruncate(fd: RumpFd, length: i64) -> Result<usize> {
    done(stubs::ftruncate(writer()?, fd.fd(), Pad, length))
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

/// See flock(2); the operations are the same on both.
pub fn flock(fd: RumpFd, operation: i32) -> Result<usize> {
    done(stubs::flock(kernel()?, fd.fd(), operation))
}

/// See fallocate(2); a NetBSD server has no mode but the plain one (`EOPNOTSUPP`).
pub fn fallocate(fd: RumpFd, mode: u32, offset: i64, length: i64) -> Result<usize> {
    match stubs::fallocate(writer()?, fd.fd(), mode, offset, length) {
        Err(Errno::ENOSYS) if mode == 0 => number(stubs::posix_fallocate(writer()?, fd.fd(), Pad, offset, length)?),
        answer => done(unless_unknown(answer, Err(Errno::EOPNOTSUPP))),
    }
}

/// See posix_fadvise(2); the advices are the same on both.
pub fn fadvise64(fd: RumpFd, offset: i64, length: i64, advice: i32) -> Result<usize> {
    number(stubs::fadvise(kernel()?, fd.fd(), Pad, offset, length, advice)?)
}

/// The result of a call that has no value.
pub(super) fn done(result: Result<()>) -> Result<usize> {
    result.map(|()| 0)
}

/// The result of a call that returns the error number as its value.
fn number(error: i32) -> Result<usize> {
    if error == 0 { Ok(0) } else { Err(Errno::from_raw(error)) }
}

/// See truncate(2) of a descriptor's name: what is open is opened anew, for writing.
pub fn truncate_itself(fd: RumpFd, length: i64) -> Result<usize> {
    let again = descriptor::reopen(fd, libc::O_WRONLY)?.fd;
    let cut = ftruncate(again, length);
    let _ = stubs::close(kernel()?, again.fd());
    cut
}

/// See truncate(2).
pub fn truncate(at: &RumpAt, length: i64) -> Result<usize> {
    done(stubs::truncate(writer()?, UserStr::new(at.path), Pad, length))
}
