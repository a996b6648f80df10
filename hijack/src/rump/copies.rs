//! Mappings of rump files that are copies: over tcp, on a NetBSD server, of a file system that cannot share.
//!
//! A shared one is written back where the program has changed it: at msync(2), munmap(2), exec and exit. For that a second copy
//! is kept of what the file held, and the file stays open under a descriptor that the program does not see. The program's copy is
//! memory that a fork shares, so parent and child see each other's changes; other processes see them once they are written back and
//! mapped anew. Beyond the end of the file there are zeros instead of SIGBUS.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::fcntl::{self, F_DUPFD_CLOEXEC, O_ACCMODE, O_RDWR, O_WRONLY};
use abi::{Errno, InOut, Result, stat};
use client::signals::Blocked;
use client::stubs;
use rustix_futex_sync::Mutex;

use super::memory::host;
use super::{attr, file, kernel};
use crate::calls::Outcome;
use crate::fds::RumpFd;
use crate::{borrower, calls, raw, trace, user};

/// Bytes of a page.
const PAGE: usize = 4096;

/// A shared mapping, or what is left of it.
struct Copy {
    start: usize,
    len: usize,
    /// Where in the file it begins.
    offset: i64,
    /// The file, under a descriptor of its own.
    fd: RumpFd,
    /// What the file held when it was last looked at; shorter than the mapping where the file is.
    seen: Vec<u8>,
}

/// The shared mappings of this process.
static COPIES: Mutex<Vec<Copy>> = Mutex::new(Vec::new());

/// Whether exit(3) knows that there may be some.
static LEAVES: AtomicBool = AtomicBool::new(false);

/// How many there are, so that nobody else's munmap takes the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// See mmap(2): the file as it is now, copied.
///
/// `EACCES` for a file that is not open for reading, or for a shared mapping to be written of one that is not open for writing.
pub fn mmap(fd: RumpFd, addr: usize, len: usize, protection: i32, flags: i32, offset: usize) -> Result<usize> {
    if attr::status(fd)?.st_mode & stat::S_IFMT != stat::S_IFREG {
        return Err(Errno::ENODEV);
    }
    let shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
    let open = stubs::fcntl(kernel()?, fd.fd(), fcntl::F_GETFL, InOut::NULL)? & O_ACCMODE;
    if open == O_WRONLY || (shared && protection & libc::PROT_WRITE != 0 && open != O_RDWR) {
        return Err(Errno::EACCES);
    }
    if !offset.is_multiple_of(PAGE) || i64::try_from(offset).is_err() {
        return Err(Errno::EINVAL);
    }
    let (writable, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_ANONYMOUS);
    let start = host(libc::SYS_mmap, [addr, len, raw::word(writable), raw::word(anonymous), usize::MAX, 0])?;
    let finish = || {
        let filled = fill(fd, start, len, offset as i64)?;
        if shared && open == O_RDWR {
            remember(fd, start, len, offset as i64, filled)?;
        }
        host(libc::SYS_mprotect, [start, len, raw::word(protection)])
    };
    finish().map(|_| start).inspect_err(|_| {
        let _ = host(libc::SYS_munmap, [start, len]);
    })
}

/// Fills memory from a file, up to its end, and returns how far that was.
fn fill(fd: RumpFd, start: usize, len: usize, offset: i64) -> Result<usize> {
    let mut done = 0;
    while done < len {
        match file::pread64(fd, start + done, len - done, offset + done as i64)? {
            0 => break,
            got => done += got,
        }
    }
    Ok(done)
}

fn remember(fd: RumpFd, start: usize, len: usize, offset: i64, filled: usize) -> Result<()> {
    trace::say(format_args!(
        "mmap: a shared mapping of a rump file is a copy here, written back at msync, munmap and exit"
    ));
    let own = another(fd)?;
    let mut seen = vec![0; filled];
    user::read_bytes(start, &mut seen)?;
    let len = len.next_multiple_of(PAGE);
    if !LEAVES.swap(true, Ordering::Relaxed) {
        // SAFETY: the function lives as long as the library, which is never unloaded. exit(3) calls it; _exit(2) has a row.
        unsafe { libc::atexit(at_exit) };
    }
    let mut copies = COPIES.lock();
    copies.push(Copy { start, len, offset, fd: own, seen });
    COUNT.store(copies.len(), Ordering::Release);
    Ok(())
}

impl Copy {
    /// Writes what the program has changed to the file, as far as that reaches now.
    fn write_back(&mut self) -> Result<()> {
        let size = attr::status(self.fd)?.st_size.saturating_sub(self.offset);
        let reach = self.len.min(usize::try_from(size).unwrap_or(0));
        if reach > self.seen.len() {
            // It has grown since; what was beyond its end the program has seen as zeros.
            self.seen.resize(reach, 0);
        }
        let mut at = 0;
        while at < reach {
            let end = (at + PAGE).min(reach);
            let Some(seen) = self.seen.get_mut(at..end) else { break };
            let mut now = [0u8; PAGE];
            let Some(now) = now.get_mut(..seen.len()) else { break };
            // The program may have taken the right to read away; what it cannot read it has not changed.
            if user::read_bytes(self.start + at, now).is_ok() && now != seen {
                changed(seen, now, |from, bytes| {
                    let offset = self.offset + (at + from) as i64;
                    let wrote = file::pwrite64(self.fd, bytes.as_ptr() as usize, bytes.len(), offset)?;
                    if wrote == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
                })?;
                seen.copy_from_slice(now);
            }
            at = end;
        }
        Ok(())
    }

    /// Cuts a range of addresses out; returns what is left on either side.
    fn without(mut self, from: usize, to: usize) -> Vec<Copy> {
        let end = self.start + self.len;
        let mut left = Vec::new();
        if to < end {
            let skip = to.max(self.start) - self.start;
            let seen = self.seen.split_off(skip.min(self.seen.len()));
            let fd = if from > self.start { another(self.fd) } else { Ok(self.fd) };
            if let Ok(fd) = fd {
                left.push(Copy {
                    start: self.start + skip,
                    len: end - to,
                    offset: self.offset + skip as i64,
                    fd,
                    seen,
                });
            }
        }
        if from > self.start {
            self.len = from - self.start;
            self.seen.truncate(self.len);
            left.push(self);
        } else if left.is_empty() {
            close(self.fd);
        }
        left
    }
}

/// Tells the runs of bytes in which two pieces differ.
fn changed(before: &[u8], after: &[u8], mut each: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
    let mut at = 0;
    for run in
        before.iter().zip(after).collect::<Vec<_>>().chunk_by(|one, other| (one.0 == one.1) == (other.0 == other.1))
    {
        let end = at + run.len();
        if run.first().is_some_and(|(before, after)| before != after) {
            each(at, after.get(at..end).unwrap_or_default())?;
        }
        at = end;
    }
    Ok(())
}

fn another(fd: RumpFd) -> Result<RumpFd> {
    Ok(RumpFd(stubs::fcntl(kernel()?, fd.fd(), F_DUPFD_CLOEXEC, InOut::NULL)?))
}

fn close(fd: RumpFd) {
    let _ = kernel().and_then(|kernel| stubs::close(kernel, fd.fd()));
}

/// Whether there are any.
#[inline(always)]
pub fn any() -> bool {
    COUNT.load(Ordering::Acquire) != 0
}

/// Writes back all that lies in a range; the first error counts.
fn flush(copies: &mut [Copy], from: usize, to: usize) -> Result<()> {
    let within = |copy: &&mut Copy| copy.start < to && from < copy.start + copy.len;
    let mut all = Ok(());
    for copy in copies.iter_mut().filter(within) {
        all = all.and(copy.write_back());
    }
    all
}

/// Forgets the mappings of a range, written back before.
fn forget(copies: &mut Vec<Copy>, from: usize, to: usize) {
    let all = core::mem::take(copies);
    for copy in all {
        if copy.start < to && from < copy.start + copy.len {
            copies.extend(copy.without(from, to));
        } else {
            copies.push(copy);
        }
    }
    COUNT.store(copies.len(), Ordering::Release);
}

fn end(addr: usize, len: usize) -> usize {
    addr.saturating_add(len.checked_next_multiple_of(PAGE).unwrap_or(usize::MAX))
}

/// See munmap(2).
pub fn munmap(addr: usize, len: usize) -> Outcome {
    if !any() {
        return Outcome::Host;
    }
    calls::serve(false, || {
        let mut copies = COPIES.lock();
        let _ = flush(&mut copies, addr, end(addr, len));
        let done = host(libc::SYS_munmap, [addr, len])?;
        forget(&mut copies, addr, end(addr, len));
        Ok(done)
    })
}

/// Writes back and forgets what a new mapping is about to replace (`MAP_FIXED`).
pub fn replaced(addr: usize, len: usize, flags: i32) {
    if any() && flags & libc::MAP_FIXED != 0 {
        let _blocked = Blocked::enter();
        let mut copies = COPIES.lock();
        let _ = flush(&mut copies, addr, end(addr, len));
        forget(&mut copies, addr, end(addr, len));
    }
}

/// See msync(2): the host checks the range, then what has changed in it is written.
pub fn msync(addr: usize, len: usize, flags: i32) -> Outcome {
    if !any() {
        return Outcome::Host;
    }
    calls::serve(true, || {
        let done = host(libc::SYS_msync, [addr, len, raw::word(flags)])?;
        flush(&mut COPIES.lock(), addr, end(addr, len))?;
        Ok(done)
    })
}

/// See mremap(2): one whole mapping may shrink or move. `ENOMEM` for one that is to grow, which the copy cannot; `EINVAL` for a part.
pub fn mremap(addr: usize, old: usize, new: usize, flags: i32, to: usize) -> Outcome {
    if !any() {
        return Outcome::Host;
    }
    let _blocked = Blocked::enter();
    let mut copies = COPIES.lock();
    if !copies.iter().any(|copy| copy.start < end(addr, old.max(1)) && addr < copy.start + copy.len) {
        return Outcome::Host;
    }
    calls::outcome(moved(&mut copies, addr, old, new, flags, to))
}

fn moved(copies: &mut [Copy], addr: usize, old: usize, new: usize, flags: i32, to: usize) -> Result<usize> {
    let (had, wanted) = (old.next_multiple_of(PAGE), new.next_multiple_of(PAGE));
    let found = copies.iter_mut().find(|copy| copy.start == addr && copy.len == had).ok_or(Errno::EINVAL)?;
    if wanted > had {
        return Err(Errno::ENOMEM);
    }
    found.write_back()?;
    let start = host(libc::SYS_mremap, [addr, old, new, raw::word(flags), to])?;
    (found.start, found.len) = (start, wanted);
    found.seen.truncate(wanted);
    Ok(start)
}

extern "C" fn at_exit() {
    flush_all();
}

/// Writes everything back before the process ends or becomes another program.
///
/// A child that shares its parent's memory leaves that to its parent, which has done it before.
pub fn flush_all() {
    if any() && !borrower::shares_memory() {
        let _blocked = Blocked::enter();
        let _ = flush(&mut COPIES.lock(), 0, usize::MAX);
    }
}

/// Takes the lock before a fork.
pub fn before_fork() {
    core::mem::forget(COPIES.lock());
}

/// Gives the lock back after a fork, in the parent and in the child.
///
/// # Safety
/// [`before_fork`] was called by this thread (or, in a child, by its copy).
pub unsafe fn after_fork() {
    // SAFETY: the caller says that the lock is held.
    unsafe { COPIES.force_unlock() };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(start: usize, pages: usize) -> Copy {
        Copy { start, len: pages * PAGE, offset: 0, fd: RumpFd(7), seen: vec![1; pages * PAGE - 100] }
    }

    fn shape(copies: &[Copy]) -> Vec<(usize, usize, i64, usize)> {
        copies.iter().map(|copy| (copy.start, copy.len / PAGE, copy.offset, copy.seen.len())).collect()
    }

    #[test]
    fn a_mapping_loses_its_start_or_its_end() {
        let base = 16 * PAGE;
        let kept = copy(base, 4).without(0, base + PAGE);
        assert_eq!(shape(&kept), [(base + PAGE, 3, PAGE as i64, 3 * PAGE - 100)]);
        let kept = copy(base, 4).without(base + 3 * PAGE, base + 9 * PAGE);
        assert_eq!(shape(&kept), [(base, 3, 0, 3 * PAGE)]);
        assert!(copy(base, 4).without(base, base + 4 * PAGE).is_empty());
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut told = Vec::new();
        let each = |at: usize, bytes: &[u8]| {
            told.push((at, bytes.to_vec()));
            Ok(())
        };
        changed(b"0123456789", b"0x234yz78!", each).unwrap();
        assert_eq!(told, [(1, b"x".to_vec()), (5, b"yz".to_vec()), (9, b"!".to_vec())]);
    }
}
