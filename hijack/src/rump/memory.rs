//! Calls that join a rump descriptor to memory or to another file: mmap(2), sendfile(2), splice(2).
//!
//! The host cannot map a rump file or move its pages. A private mapping is a copy; sendfile is done by reading and writing, across
//! the two kernels in either direction; the others are refused as a file system refuses them that lacks them, so that
//! programs read and write instead.

use core::time::Duration;

use abi::{Errno, Result, fcntl};
use client::HostPollFd;

use super::{file, kernel};
use crate::fds::{self, RumpFd};
use crate::{pages, raw, user};

/// Bytes moved at a time.
const PIECE: usize = 64 * 1024;

/// Bytes moved at a time to something that may block: what a pipe that polls writable takes at once.
const SMALL_PIECE: usize = 4096;

/// See mmap(2): a private mapping is a copy of the file as it is now; `ENODEV` for a shared one, as of a file that cannot be mapped.
pub fn mmap(fd: RumpFd, addr: usize, len: usize, protection: i32, flags: i32, offset: usize) -> Result<usize> {
    if flags & libc::MAP_TYPE != libc::MAP_PRIVATE {
        return Err(Errno::ENODEV);
    }
    let (writable, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_ANONYMOUS);
    let start = host(libc::SYS_mmap, [addr, len, raw::word(writable), raw::word(anonymous), usize::MAX, 0])?;
    // It may have replaced other memory.
    pages::forget();
    let filled = fill(fd, start, len, offset as i64)
        .and_then(|()| host(libc::SYS_mprotect, [start, len, raw::word(protection)]));
    pages::forget();
    filled.map(|_| start).inspect_err(|_| {
        raw::call(libc::SYS_munmap, [start, len]);
        pages::forget();
    })
}

/// Fills memory from a file, up to its end.
fn fill(fd: RumpFd, start: usize, len: usize, offset: i64) -> Result<()> {
    let mut done = 0;
    while done < len {
        match file::pread64(fd, start + done, len - done, offset + done as i64)? {
            0 => break,
            got => done += got,
        }
    }
    Ok(())
}

/// See copy_file_range(2); `EXDEV`, as between file systems: programs copy by reading and writing.
pub fn copy_file_range() -> Result<usize> {
    Err(Errno::EXDEV)
}

/// See splice(2), tee(2), vmsplice(2); `EINVAL`, as of a file system without them.
pub fn splice() -> Result<usize> {
    Err(Errno::EINVAL)
}

/// One end of a sendfile(2).
#[derive(Clone, Copy)]
enum End {
    Host(i32),
    Rump(RumpFd),
}

impl End {
    fn of(fd: i32) -> Self {
        fds::lookup(fd).map_or(End::Host(fd), End::Rump)
    }

    fn seek(self, offset: i64, whence: i32) -> Result<i64> {
        let at = match self {
            End::Host(fd) => host(libc::SYS_lseek, [raw::word(fd), offset as usize, raw::word(whence)])?,
            End::Rump(fd) => file::lseek(fd, offset, whence)?,
        };
        Ok(at as i64)
    }

    fn pread(self, buf: &mut [u8], offset: i64) -> Result<usize> {
        let (addr, len) = (buf.as_mut_ptr() as usize, buf.len());
        match self {
            End::Host(fd) => host(libc::SYS_pread64, [raw::word(fd), addr, len, offset as usize]),
            End::Rump(fd) => file::pread64(fd, addr, len, offset),
        }
    }

    fn write(self, buf: &[u8]) -> Result<usize> {
        let (addr, len) = (buf.as_ptr() as usize, buf.len());
        match self {
            End::Host(fd) => {
                // All signals are blocked here: wait where one can interrupt, then write what does not block.
                let mut wanted = [HostPollFd { fd, events: libc::POLLOUT, revents: 0 }];
                kernel()?.poll_mixed(&mut [], &mut wanted, None::<Duration>)?;
                host(libc::SYS_write, [raw::word(fd), addr, len])
            }
            End::Rump(fd) => file::write(fd, addr, len),
        }
    }
}

fn host<const N: usize>(nr: i64, args: [usize; N]) -> Result<usize> {
    raw::checked(raw::call(nr, args))
}

/// See sendfile(2) with a rump descriptor at one end or both.
///
/// `EINVAL` if the source is not a file with a position.
pub fn sendfile(out: i32, input: i32, offset: usize, count: usize) -> Result<usize> {
    let (to, from) = (End::of(out), End::of(input));
    let here =
        from.seek(0, fcntl::SEEK_CUR).map_err(|error| if error == Errno::ESPIPE { Errno::EINVAL } else { error })?;
    let start = user::read_if::<i64>(offset)?.unwrap_or(here);
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let piece = if to.seek(0, fcntl::SEEK_CUR).is_ok() { PIECE } else { SMALL_PIECE };
    let moved = transfer(to, from, start, count.min(file::MAX_TRANSFER), piece)?;
    let end = start + moved as i64;
    match offset {
        0 => from.seek(end, fcntl::SEEK_SET).map(drop)?,
        addr => user::write(addr, &end)?,
    }
    Ok(moved)
}

/// Copies up to `count` bytes from position `start` on; an error counts only if nothing was moved before it.
fn transfer(to: End, from: End, start: i64, count: usize, piece: usize) -> Result<usize> {
    let mut buf = vec![0; piece.min(count)];
    let mut moved = 0;
    while moved < count {
        let wanted = buf.len().min(count - moved);
        let step = from.pread(buf.get_mut(..wanted).unwrap_or_default(), start + moved as i64);
        let written = match step {
            Ok(0) => break,
            Ok(n) => to.write(buf.get(..n).unwrap_or_default()).map(|written| (written, written < n)),
            Err(error) => Err(error),
        };
        match written {
            Ok((n, short)) => {
                moved += n;
                if short {
                    break;
                }
            }
            Err(error) if moved == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(moved)
}
