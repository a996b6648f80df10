//! Mappings of rump files that are copies: over tcp, on a NetBSD server, of a file system that cannot share.
//!
//! A shared one is written back where the program has changed it, and fetched anew, when processes meet as programs that share a
//! file arrange it: before a lock is given up and after one is taken (fcntl(2), flock(2)), as NFS does it (nfs(5), "Using file
//! locks with NFS"). With that, databases that map their files lose nothing. The program's own read(2) and write(2) of such a file
//! agree with the mapping; besides, it is written back at fsync(2), close(2), msync(2), munmap(2), exec and exit (`copies/meet.rs`).
//! The file stays open under a descriptor that the program does not see. The copy is memory that a fork shares, so parent and child
//! see each other's changes at once. Beyond the end of the file there are zeros instead of SIGBUS.

pub mod copy;
pub mod meet;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::fcntl::{self, O_ACCMODE, O_RDWR, O_WRONLY};
use abi::{Errno, InOut, Result, stat};
use client::signals::Blocked;
use client::stubs;
use rustix_futex_sync::Mutex;

use self::copy::Copy;
use super::memory::host;
use super::{attr, kernel};
use crate::calls::Outcome;
use crate::fds::RumpFd;
use crate::{borrower, calls, raw, trace};

/// Bytes of a page.
const PAGE: usize = 4096;

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
    let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    if offset % PAGE as i64 != 0 {
        return Err(Errno::EINVAL);
    }
    if shared {
        return remember(Copy::map(fd, open == O_RDWR, [addr, len, raw::word(protection), raw::word(flags)], offset)?);
    }
    let (writable, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, flags | libc::MAP_ANONYMOUS);
    let start = host(libc::SYS_mmap, [addr, len, raw::word(writable), raw::word(anonymous), usize::MAX, 0])?;
    let finish = || {
        copy::fill(fd, start, len, offset)?;
        host(libc::SYS_mprotect, [start, len, raw::word(protection)])
    };
    finish().map(|_| start).inspect_err(|_| {
        let _ = host(libc::SYS_munmap, [start, len]);
    })
}

fn remember(copy: Copy) -> Result<usize> {
    trace::say(format_args!(
        "mmap: a shared mapping of a rump file is a copy here, brought up to date at locks, msync, munmap and exit"
    ));
    if !LEAVES.swap(true, Ordering::Relaxed) {
        // SAFETY: the function lives as long as the library, which is never unloaded. exit(3) calls it; _exit(2) has a row.
        unsafe { libc::atexit(at_exit) };
    }
    let start = copy.start;
    let mut copies = COPIES.lock();
    copies.push(copy);
    COUNT.store(copies.len(), Ordering::Release);
    Ok(start)
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
    // From the end of each file to its beginning: what a header says is true by then.
    for copy in copies.iter_mut().rev().filter(within) {
        all = all.and(copy.write_back());
    }
    all
}

/// Brings all that lies in a range up to date with the files.
fn refresh(copies: &mut [Copy], from: usize, to: usize) -> Result<()> {
    let within = |copy: &&mut Copy| copy.start < to && from < copy.start + copy.len;
    copies.iter_mut().filter(within).try_for_each(|copy| copy.refresh(0, copy.len))
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

/// See msync(2): the host checks the range, then what has changed in it is written; `MS_INVALIDATE` fetches what others wrote.
pub fn msync(addr: usize, len: usize, flags: i32) -> Outcome {
    if !any() {
        return Outcome::Host;
    }
    calls::serve(true, || {
        let done = host(libc::SYS_msync, [addr, len, raw::word(flags)])?;
        let mut copies = COPIES.lock();
        flush(&mut copies, addr, end(addr, len))?;
        if flags & libc::MS_INVALIDATE != 0 {
            refresh(&mut copies, addr, end(addr, len))?;
        }
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
    found.moved(start, wanted);
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
