//! One shared mapping that is a copy: what it holds, what the file held when both were last compared.

use abi::fcntl::{F_DUPFD_CLOEXEC, F_DUPFD_QUIET};
use abi::{Errno, InOut, Result};
use client::stubs;

use super::super::memory::host;
use super::super::{attr, file, kernel};
use super::PAGE;
use crate::fds::RumpFd;
use crate::{raw, user};

/// Bytes that are fetched at a time.
const PIECE: usize = 64 * 1024;

/// A shared mapping, or what is left of it.
pub struct Copy {
    /// Where the program sees it.
    pub start: usize,
    pub len: usize,
    /// Where the library sees the same memory: always readable and writable, whatever the program's protection is.
    own: usize,
    /// Where in the file it begins.
    offset: i64,
    /// The file, under a descriptor of its own.
    fd: RumpFd,
    /// Device and number of the file.
    pub file: (u64, u64),
    /// Whether what is changed may be written back.
    writes: bool,
    /// What the file held when it was last looked at; shorter than the mapping where the file is.
    seen: Vec<u8>,
}

/// Fills memory from a file, up to its end, and returns how far that was.
pub fn fill(fd: RumpFd, start: usize, len: usize, offset: i64) -> Result<usize> {
    let mut done = 0;
    while done < len {
        match file::pread64(fd, start + done, len - done, offset + done as i64)? {
            0 => break,
            got => done += got,
        }
    }
    Ok(done)
}

impl Copy {
    /// Maps memory that holds what the file does, with the first four arguments of the program's mmap(2).
    pub fn map(fd: RumpFd, writes: bool, args: [usize; 4], offset: i64) -> Result<Self> {
        let [addr, len, protection, flags] = args;
        let whole = len.checked_next_multiple_of(PAGE).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
        let name = c"rump file".as_ptr() as usize;
        let memory = raw::checked(raw::call(libc::SYS_memfd_create, [name, libc::MFD_CLOEXEC as usize]))?;
        let views = || {
            raw::checked(raw::call(libc::SYS_ftruncate, [memory, whole]))?;
            let both = raw::word(libc::PROT_READ | libc::PROT_WRITE);
            let own = host(libc::SYS_mmap, [0, whole, both, raw::word(libc::MAP_SHARED), memory, 0])?;
            let filled = fill(fd, own, len, offset);
            let start = filled.and_then(|_| host(libc::SYS_mmap, [addr, len, protection, flags, memory, 0]));
            let undo = |_: &Errno| {
                let _ = host(libc::SYS_munmap, [own, whole]);
            };
            Ok((own, filled.inspect_err(undo)?, start.inspect_err(undo)?))
        };
        let made = views();
        raw::close(memory as i32);
        let (own, filled, start) = made?;
        let finish = || {
            let status = attr::status(fd)?;
            let mut seen = vec![0; filled];
            user::read_bytes(own, &mut seen)?;
            Ok((another(fd)?, (status.st_dev, status.st_ino), seen))
        };
        let (fd, file, seen) = finish().inspect_err(|_| {
            let _ = host(libc::SYS_munmap, [own, whole]).and(host(libc::SYS_munmap, [start, whole]));
        })?;
        Ok(Self { start, len: whole, own, offset, fd, file, writes, seen })
    }

    /// Writes what the program has changed to the file, as far as that reaches now: what comes last in the file first, since
    /// what comes first is what others look at first.
    pub fn write_back(&mut self) -> Result<()> {
        if !self.writes {
            return Ok(());
        }
        let size = attr::status(self.fd)?.st_size.saturating_sub(self.offset);
        let reach = self.len.min(usize::try_from(size).unwrap_or(0));
        if reach > self.seen.len() {
            // It has grown since; what was beyond its end the program has seen as zeros.
            self.seen.resize(reach, 0);
        }
        for at in (0..reach).step_by(PAGE).rev() {
            let end = (at + PAGE).min(reach);
            let Some(seen) = self.seen.get_mut(at..end) else { break };
            let mut now = [0u8; PAGE];
            let Some(now) = now.get_mut(..seen.len()) else { break };
            user::read_bytes(self.own + at, now)?;
            if now == seen {
                continue;
            }
            for (from, bytes) in changed(seen, now).into_iter().rev() {
                let offset = self.offset + (at + from) as i64;
                if file::pwrite64(self.fd, bytes.as_ptr() as usize, bytes.len(), offset)? != bytes.len() {
                    return Err(Errno::EIO);
                }
            }
            seen.copy_from_slice(now);
        }
        Ok(())
    }

    /// Takes over what others have changed in a part of the file, from its beginning on.
    pub fn refresh(&mut self, from: usize, to: usize) -> Result<()> {
        let (mut at, to) = (from.min(self.len), to.min(self.len));
        let mut piece = vec![0; PIECE.min(to.saturating_sub(at))];
        while at < to {
            let wanted = piece.len().min(to - at);
            let got = fill(self.fd, piece.as_mut_ptr() as usize, wanted, self.offset + at as i64)?;
            if self.seen.len() < at + got {
                self.seen.resize(at + got, 0);
            }
            let (Some(fresh), Some(seen)) = (piece.get(..got), self.seen.get_mut(at..at + got)) else { break };
            for (from, bytes) in changed(seen, fresh) {
                user::write_bytes(self.own + at + from, bytes)?;
            }
            seen.copy_from_slice(fresh);
            at += got;
            if got < wanted {
                self.ends_at(at)?;
                break;
            }
        }
        Ok(())
    }

    /// Takes over the part that bytes `from..to` of the file are in.
    pub fn refresh_range(&mut self, from: i64, to: i64) -> Result<()> {
        let within = |at: i64| usize::try_from(at.saturating_sub(self.offset)).unwrap_or(0);
        self.refresh(within(from), within(to))
    }

    /// Where the file ends now; what the mapping held of it beyond is gone.
    fn ends_at(&mut self, at: usize) -> Result<()> {
        let gone = self.seen.len().saturating_sub(at);
        self.seen.truncate(at);
        user::write_bytes(self.own + at, &vec![0; gone])
    }

    /// Follows the program's mremap(2) to a new place and a length that is not larger.
    pub fn moved(&mut self, start: usize, len: usize) {
        let cut = self.len - len;
        if cut > 0 {
            let _ = host(libc::SYS_munmap, [self.own + len, cut]);
        }
        (self.start, self.len) = (start, len);
        self.seen.truncate(len);
    }

    /// Cuts a range of addresses out; returns what is left on either side.
    pub fn without(mut self, from: usize, to: usize) -> Vec<Self> {
        let end = self.start + self.len;
        let (low, high) = (from.max(self.start) - self.start, to.min(end) - self.start);
        let _ = host(libc::SYS_munmap, [self.own + low, high - low]);
        let mut left = Vec::new();
        if to < end {
            let seen = self.seen.split_off(high.min(self.seen.len()));
            let fd = if from > self.start { another(self.fd) } else { Ok(self.fd) };
            if let Ok(fd) = fd {
                left.push(Self {
                    start: self.start + high,
                    len: end - to,
                    own: self.own + high,
                    offset: self.offset + high as i64,
                    fd,
                    seen,
                    ..self
                });
            }
        }
        if from > self.start {
            self.len = low;
            self.seen.truncate(low);
            left.push(self);
        } else if left.is_empty() {
            close(self.fd);
        }
        left
    }
}

/// The runs of bytes in which `after` differs from `before`, with their places.
fn changed<'a>(before: &[u8], after: &'a [u8]) -> Vec<(usize, &'a [u8])> {
    let pairs: Vec<bool> = before.iter().zip(after).map(|(before, after)| before != after).collect();
    let mut at = 0;
    let runs = pairs.chunk_by(|one, other| one == other).filter_map(|run| {
        let begin = at;
        at += run.len();
        if run.first() == Some(&true) { Some((begin, after.get(begin..at)?)) } else { None }
    });
    runs.collect()
}

fn another(fd: RumpFd) -> Result<RumpFd> {
    let duplicate = |command| Ok(RumpFd(stubs::fcntl(kernel()?, fd.fd(), command, InOut::NULL)?));
    // On a NetBSD server, the end of a mapping is also the end of the process's record locks of the file.
    duplicate(F_DUPFD_QUIET).or_else(|_: Errno| duplicate(F_DUPFD_CLOEXEC))
}

fn close(fd: RumpFd) {
    let _ = kernel().and_then(|kernel| stubs::close(kernel, fd.fd()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(start: usize, pages: usize) -> Copy {
        let (len, seen) = (pages * PAGE, vec![1; pages * PAGE - 100]);
        let flags = raw::word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let own = host(libc::SYS_mmap, [0, len, raw::word(libc::PROT_READ), flags, usize::MAX, 0]).unwrap();
        Copy { start, len, own, offset: 0, fd: RumpFd(7), file: (1, 1), writes: true, seen }
    }

    fn shape(copies: &[Copy], own: usize) -> Vec<(usize, usize, usize, i64, usize)> {
        let shape = |copy: &Copy| (copy.start, copy.len / PAGE, copy.own - own, copy.offset, copy.seen.len());
        copies.iter().map(shape).collect()
    }

    #[test]
    fn a_mapping_loses_its_start_or_its_end() {
        let base = 16 * PAGE;
        let (whole, other) = (copy(base, 4), copy(base, 4));
        let (own, others) = (whole.own, other.own);
        let kept = whole.without(0, base + PAGE);
        assert_eq!(shape(&kept, own), [(base + PAGE, 3, PAGE, PAGE as i64, 3 * PAGE - 100)]);
        let kept = other.without(base + 3 * PAGE, base + 9 * PAGE);
        assert_eq!(shape(&kept, others), [(base, 3, 0, 0, 3 * PAGE)]);
        assert!(copy(base, 4).without(base, base + 4 * PAGE).is_empty());
    }

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(changed(b"0123456789", b"0x234yz78!"), [(1, &b"x"[..]), (5, b"yz"), (9, b"!")]);
    }
}
