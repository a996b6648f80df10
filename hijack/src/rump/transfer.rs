//! Calls that move data between two descriptors: sendfile(2), splice(2), tee(2), vmsplice(2), copy_file_range(2).
//!
//! Between two rump descriptors our own server does it all. Between the kernels (and on a NetBSD server) data is read here and
//! written there, in pieces that the target is sure to take, so that no byte is read that cannot be written.

use core::time::Duration;

use abi::poll::{POLLIN, POLLOUT, PollFd};
use abi::stat::{S_IFDIR, S_IFIFO, S_IFMT, S_IFREG};
use abi::{Errno, InOut, Out, Result, fcntl};
use client::{HostPollFd, stubs};
use linux_raw_sys::general as linux;

use super::{attr, file, kernel, writer};
use crate::fds::{self, RumpFd};
use crate::{raw, user};

/// Bytes moved at a time into a file.
const PIECE: usize = 64 * 1024;

/// Bytes moved at a time to what may block: what a pipe or socket that polls writable takes at once.
const SMALL_PIECE: usize = 2048;

/// The flags of splice(2) and its kin.
const SPLICE_FLAGS: u32 = 0xf;

/// An offset of the program, if the pointer is not null, that our server reads and writes.
fn offset(addr: usize) -> InOut {
    InOut::at(addr as u64, size_of::<i64>())
}

fn host<const N: usize>(nr: i64, args: [usize; N]) -> Result<usize> {
    raw::checked(raw::call(nr, args))
}

/// One end of a transfer.
#[derive(Clone, Copy)]
enum End {
    Host(i32),
    Rump(RumpFd),
}

impl End {
    fn of(fd: i32) -> Self {
        fds::lookup(fd).map_or(End::Host(fd), End::Rump)
    }

    /// The bits of `S_IFMT`.
    fn kind(self) -> Result<u32> {
        let mode = match self {
            End::Host(fd) => {
                let mut status = abi::linux::Stat::default();
                host(libc::SYS_fstat, [raw::word(fd), &raw mut status as usize])?;
                status.st_mode
            }
            End::Rump(fd) => attr::status(fd)?.st_mode,
        };
        Ok(mode & S_IFMT)
    }

    /// The status flags, in Linux's numbers.
    fn flags(self) -> Result<i32> {
        match self {
            End::Host(fd) => raw::checked(raw::fcntl(fd, libc::F_GETFL, 0)).map(|flags| flags as i32),
            End::Rump(fd) => {
                stubs::fcntl(kernel()?, fd.fd(), fcntl::F_GETFL, InOut::NULL).map(fcntl::open_flags_to_linux)
            }
        }
    }

    fn seek(self, offset: i64, whence: i32) -> Result<i64> {
        let at = match self {
            End::Host(fd) => host(libc::SYS_lseek, [raw::word(fd), offset as usize, raw::word(whence)])?,
            End::Rump(fd) => file::lseek(fd, offset, whence)?,
        };
        Ok(at as i64)
    }

    /// Reads at an offset, or what comes next.
    fn read(self, buf: &mut [u8], at: Option<i64>) -> Result<usize> {
        let (addr, len) = (buf.as_mut_ptr() as usize, buf.len());
        match (self, at) {
            (End::Host(fd), Some(at)) => host(libc::SYS_pread64, [raw::word(fd), addr, len, at as usize]),
            (End::Host(fd), None) => host(libc::SYS_read, [raw::word(fd), addr, len]),
            (End::Rump(fd), Some(at)) => file::pread64(fd, addr, len, at),
            (End::Rump(fd), None) => file::read(fd, addr, len),
        }
    }

    /// Writes all of `buf` at an offset, or next; waits for room if need be. Less is written only at an error.
    fn write_all(self, buf: &[u8], mut at: Option<i64>) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let rest = buf.get(done..).unwrap_or_default();
            let (addr, len) = (rest.as_ptr() as usize, rest.len());
            let wrote = match (self, at) {
                (End::Host(fd), Some(at)) => host(libc::SYS_pwrite64, [raw::word(fd), addr, len, at as usize]),
                (End::Host(fd), None) => host(libc::SYS_write, [raw::word(fd), addr, len]),
                (End::Rump(fd), Some(at)) => file::pwrite64(fd, addr, len, at),
                (End::Rump(fd), None) => file::write(fd, addr, len),
            };
            match wrote {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    at = at.map(|at| at + n as i64);
                }
                // Somebody else was faster to fill it. What is in hand must not be lost.
                Err(Errno::EAGAIN) => drop(self.wait(POLLOUT, None)?),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Waits for an event; whether it came in time.
    fn wait(self, event: i16, limit: Option<Duration>) -> Result<bool> {
        let ready = match self {
            End::Host(fd) => {
                // POLLIN and POLLOUT are the same on both.
                kernel()?.poll_mixed(&mut [], &mut [HostPollFd { fd, events: event, revents: 0 }], limit)?
            }
            End::Rump(fd) => {
                kernel()?.poll_mixed(&mut [PollFd { fd: fd.0, events: event, revents: 0 }], &mut [], limit)?
            }
        };
        Ok(ready != (0, 0))
    }
}

/// Waits for an end; `EAGAIN` for one that shall not be waited for.
fn ready(end: End, event: i16, nonblocking: bool) -> Result<()> {
    let limit = nonblocking.then_some(Duration::ZERO);
    if end.wait(event, limit)? { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Copies up to `count` bytes; an error, or an end that has to be waited for, counts only if nothing was moved before it.
struct Transfer {
    from: End,
    from_at: Option<i64>,
    to: End,
    to_at: Option<i64>,
    /// Whether the source, and the target, must not be waited for.
    nonblocking: [bool; 2],
    /// Whether to go on until everything is moved.
    all: bool,
    piece: usize,
}

impl Transfer {
    fn run(&mut self, count: usize) -> Result<usize> {
        let mut buf = vec![0; self.piece.min(count)];
        let mut moved = 0;
        while moved < count {
            match self.step(&mut buf, count - moved, moved > 0) {
                Ok(0) => break,
                Ok(n) => moved += n,
                Err(error) if moved == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(moved)
    }

    fn step(&mut self, buf: &mut [u8], left: usize, started: bool) -> Result<usize> {
        if self.from_at.is_none() {
            ready(self.from, POLLIN, self.nonblocking[0] || (started && !self.all))?;
        }
        if self.to_at.is_none() {
            ready(self.to, POLLOUT, self.nonblocking[1] || (started && !self.all))?;
        }
        let wanted = buf.len().min(left);
        let got = self.from.read(buf.get_mut(..wanted).unwrap_or_default(), self.from_at)?;
        let wrote = self.to.write_all(buf.get(..got).unwrap_or_default(), self.to_at)?;
        self.from_at = self.from_at.map(|at| at + wrote as i64);
        self.to_at = self.to_at.map(|at| at + wrote as i64);
        Ok(wrote)
    }
}

/// See sendfile(2) with a rump descriptor at one end or both.
///
/// `EINVAL` if the source is not a file with a position, or the target is open for appending.
pub fn sendfile(out: i32, input: i32, offset_at: usize, count: usize) -> Result<usize> {
    let (to, from, count) = (End::of(out), End::of(input), count.min(file::MAX_TRANSFER));
    if let (End::Rump(to), End::Rump(from)) = (to, from) {
        match stubs::sendfile(writer()?, to.fd(), from.fd(), offset(offset_at), count) {
            Err(Errno::ENOSYS) => {}
            answer => return answer,
        }
    }
    let here =
        from.seek(0, fcntl::SEEK_CUR).map_err(|error| if error == Errno::ESPIPE { Errno::EINVAL } else { error })?;
    let start = user::read_if::<i64>(offset_at)?.unwrap_or(here);
    if start < 0 || to.flags()? & libc::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let (file, nonblocking) = (to.kind()? == S_IFREG, to.flags()? & libc::O_NONBLOCK != 0);
    let piece = if file { PIECE } else { SMALL_PIECE };
    let nonblocking = [false, nonblocking && !file];
    let mut transfer = Transfer { from, from_at: Some(start), to, to_at: None, nonblocking, all: true, piece };
    // A folder has a position, but is no source.
    let moved = transfer.run(count).map_err(|error| if error == Errno::EISDIR { Errno::EINVAL } else { error })?;
    let end = start + moved as i64;
    match offset_at {
        0 => from.seek(end, fcntl::SEEK_SET).map(drop)?,
        addr => user::write(addr, &end)?,
    }
    Ok(moved)
}

/// See copy_file_range(2); `EXDEV` between the kernels, as between file systems: programs then read and write.
///
/// Before that `EISDIR` for a folder, `EINVAL` for what is no file, `EBADF` for one that may not be read, or written at a place.
pub fn copy_file_range(input: i32, in_at: usize, out: i32, out_at: usize, len: usize, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (End::Rump(from), End::Rump(to)) = (End::of(input), End::of(out)) else {
        let ends = [End::of(input), End::of(out)];
        let [from, to] = [ends[0].flags()?, ends[1].flags()?];
        let kinds = [ends[0].kind()?, ends[1].kind()?];
        return Err(match () {
            () if kinds.contains(&S_IFDIR) => Errno::EISDIR,
            () if kinds != [S_IFREG; 2] => Errno::EINVAL,
            () if from & libc::O_ACCMODE == libc::O_WRONLY => Errno::EBADF,
            () if to & libc::O_ACCMODE == libc::O_RDONLY || to & libc::O_APPEND != 0 => Errno::EBADF,
            () => Errno::EXDEV,
        });
    };
    let len = len.min(file::MAX_TRANSFER);
    let copied = stubs::copy_file_range(writer()?, from.fd(), offset(in_at), to.fd(), offset(out_at), len);
    file::unless_unknown(copied, Err(Errno::EXDEV))
}

/// See splice(2).
///
/// `EINVAL` unless one end is a pipe, `ESPIPE` for an offset into a pipe.
pub fn splice(input: i32, in_at: usize, out: i32, out_at: usize, len: usize, flags: u32) -> Result<usize> {
    let (from, to, len) = (End::of(input), End::of(out), len.min(file::MAX_TRANSFER));
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    if let (End::Rump(from), End::Rump(to)) = (from, to) {
        match stubs::splice(writer()?, from.fd(), offset(in_at), to.fd(), offset(out_at), len, flags) {
            Err(Errno::ENOSYS) => {}
            answer => return answer,
        }
    }
    let kinds = [from.kind()?, to.kind()?];
    let pipes = kinds.map(|kind| kind == S_IFIFO);
    if pipes == [false; 2] {
        return Err(Errno::EINVAL);
    }
    if (pipes[0] && in_at != 0) || (pipes[1] && out_at != 0) {
        return Err(Errno::ESPIPE);
    }
    let status = [from.flags()?, to.flags()?];
    if status[1] & libc::O_APPEND != 0 && !pipes[1] {
        return Err(Errno::EINVAL);
    }
    let quiet = flags & fcntl::SPLICE_F_NONBLOCK != 0
        || pipes.iter().zip(status).any(|(pipe, status)| *pipe && status & libc::O_NONBLOCK != 0);
    let nonblocking = [0, 1].map(|end: usize| match pipes.get(end) {
        Some(true) => quiet,
        _ => status.get(end).is_some_and(|status| status & libc::O_NONBLOCK != 0),
    });
    let place = |end: End, kind: u32, addr: usize| match addr {
        0 if kind == S_IFREG => end.seek(0, fcntl::SEEK_CUR).map(Some),
        0 => Ok(None),
        // A socket has no places; nothing may be read for it that it will not take.
        _ if kind != S_IFREG && end.seek(0, fcntl::SEEK_CUR).is_err() => Err(Errno::EINVAL),
        _ => user::read(addr).map(Some),
    };
    let (from_at, to_at) = (place(from, kinds[0], in_at)?, place(to, kinds[1], out_at)?);
    let piece = if kinds[1] == S_IFREG { PIECE } else { SMALL_PIECE };
    let mut transfer = Transfer { from, from_at, to, to_at, nonblocking, all: false, piece };
    let moved = transfer.run(len)?;
    for (end, at, addr) in [(from, transfer.from_at, in_at), (to, transfer.to_at, out_at)] {
        match (at, addr) {
            (None, _) => {}
            (Some(at), 0) => drop(end.seek(at, fcntl::SEEK_SET)?),
            (Some(at), addr) => user::write(addr, &at)?,
        }
    }
    Ok(moved)
}

/// See tee(2): what the source holds is written to the target, and stays.
///
/// `EINVAL` unless both are pipes, and not the same one; also on a NetBSD server, whose pipes cannot be looked into.
pub fn tee(input: i32, out: i32, len: usize, flags: u32) -> Result<usize> {
    let (from, to) = (End::of(input), End::of(out));
    if flags & !SPLICE_FLAGS != 0 || [from.kind()?, to.kind()?] != [S_IFIFO; 2] {
        return Err(Errno::EINVAL);
    }
    if let (End::Rump(one), End::Rump(other)) = (from, to)
        && attr::status(one)?.st_ino == attr::status(other)?.st_ino
    {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let quiet = flags & fcntl::SPLICE_F_NONBLOCK != 0 || (from.flags()? | to.flags()?) & libc::O_NONBLOCK != 0;
    ready(from, POLLIN, quiet)?;
    ready(to, POLLOUT, quiet)?;
    let mut buf = vec![0u8; len.min(SMALL_PIECE)];
    let room = buf.len();
    let there = match from {
        End::Rump(fd) => {
            let shown = stubs::peek(kernel()?, fd.fd(), Out::new(buf.as_mut_slice()), room);
            file::unless_unknown(shown, Err(Errno::EINVAL))?
        }
        End::Host(fd) => host_peek(fd, &mut buf)?,
    };
    to.write_all(buf.get(..there).unwrap_or_default(), None)
}

/// Looks into a pipe of the host, by the host's own tee(2) into a pipe of ours.
fn host_peek(fd: i32, buf: &mut [u8]) -> Result<usize> {
    let mut ends = [-1i32; 2];
    host(libc::SYS_pipe2, [ends.as_mut_ptr() as usize, (libc::O_CLOEXEC | libc::O_NONBLOCK) as usize])?;
    let [reader, writer] = ends;
    let nonblocking = fcntl::SPLICE_F_NONBLOCK as usize;
    let shown = host(libc::SYS_tee, [raw::word(fd), raw::word(writer), buf.len(), nonblocking])
        .and_then(|_| host(libc::SYS_read, [raw::word(reader), buf.as_mut_ptr() as usize, buf.len()]));
    raw::close(reader);
    raw::close(writer);
    match shown {
        // Nothing was there: the writers are gone.
        Err(Errno::EAGAIN) => Ok(0),
        shown => shown,
    }
}

/// See vmsplice(2): memory is copied into the pipe, or filled from it; `EBADF` for what is no pipe.
pub fn vmsplice(fd: RumpFd, iov: usize, count: usize, flags: u32) -> Result<usize> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let end = End::Rump(fd);
    if user::read_iovecs(iov, count)?.iter().all(|element| element.iov_len == 0) {
        return Ok(0);
    }
    if end.kind()? != S_IFIFO {
        return Err(Errno::EBADF);
    }
    let writes = end.flags()? & libc::O_ACCMODE != libc::O_RDONLY;
    if flags & fcntl::SPLICE_F_NONBLOCK != 0 {
        ready(end, if writes { POLLOUT } else { POLLIN }, true)?;
    }
    if writes { file::writev(fd, iov, count) } else { file::readv(fd, iov, count) }
}

const _: () =
    assert!(fcntl::SPLICE_F_NONBLOCK == 2 && linux::POLLIN == POLLIN as u32 && linux::POLLOUT == POLLOUT as u32);
