//! A file whose bytes lie in memory of the host, which the kernel lends to the programs that have it open.
//!
//! With the memory a program gets the kernel's own open file of the host: position, access mode, `O_APPEND` and `O_NOATIME` are the host's
//! affair then, for all who have the descriptor and for the kernel, whoever of them reads or writes. Beside it lies a page that the
//! kernel alone writes ([`Header`]): whether the loan is over, how far a program may write without asking, and what fstat(2) said
//! last. What is true of the file at the moment (its length, what it takes, when it was read and written) the host knows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use abi::stat::Stat;
use abi::time::Timespec;
use zerocopy::{FromZeros, IntoBytes};

use crate::host::shared::{self, Mapping, Status, Times};
use crate::host::{self, HostFd, Owned};

/// Length of the page.
const BYTES: usize = 4096;

/// Words of a status.
const WORDS: usize = size_of::<Stat>() / 8;

/// How often a status that changes is looked at again.
const PATIENCE: usize = 16;

/// What the kernel says about an open file.
#[repr(C)]
struct Page {
    /// Whether the loan is over.
    over: AtomicU32,
    /// Whether all writes go to the end.
    appends: AtomicU32,
    /// Up to where a program may write without asking.
    limit: AtomicU64,
    /// Counts the changes of the file's attributes.
    version: AtomicU64,
    /// Odd while the rest is being written.
    writing: AtomicU64,
    /// Of which version the status is.
    of: AtomicU64,
    /// What the host said of the times by then.
    times: [AtomicU64; 4],
    /// What fstat(2) said.
    status: [AtomicU64; WORDS],
}

const _: () = assert!(size_of::<Page>() <= BYTES && size_of::<Stat>() == WORDS * 8);

/// The page.
pub struct Header {
    memory: Mapping,
    /// Held by who writes a status.
    publishing: Mutex<()>,
}

/// The key by which times are compared.
fn key(time: Timespec) -> (i64, i64) {
    (time.tv_sec, time.tv_nsec)
}

/// Whether a file with these times that is read `now` gets another time of the last access: Linux's `relatime`.
pub fn shows_access(accessed: Timespec, modified: Timespec, changed: Timespec, now: Timespec) -> bool {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    key(accessed) <= key(modified).max(key(changed)) || now.tv_sec.saturating_sub(accessed.tv_sec) >= DAY_SECONDS
}

/// The later of two times.
pub fn later(one: Timespec, other: Timespec) -> Timespec {
    if key(one) < key(other) { other } else { one }
}

impl Header {
    /// Makes the page, and the file to hand out, which nobody else can write.
    pub fn create() -> host::Result<(Self, Owned)> {
        let file = host::memfd(c"rump-pages")?;
        shared::resize(file.fd(), BYTES as u64)?;
        let memory = Mapping::inherited(file.fd(), BYTES)?;
        shared::seal_content(file.fd())?;
        Ok((Self { memory, publishing: Mutex::default() }, file))
    }

    /// Maps the page that a kernel has made. `EINVAL` if it is none, or could become shorter.
    pub fn attach(file: HostFd) -> host::Result<Self> {
        if shared::sealed_length(file)? != BYTES as u64 {
            return Err(host::Error::INVAL);
        }
        Ok(Self { memory: Mapping::readable(file, BYTES)?, publishing: Mutex::default() })
    }

    fn page(&self) -> &Page {
        // SAFETY: it lies at the beginning of the mapping, which is aligned to a page, as long as that lives; they are atomics, which the
        // kernel may change at any time. Only the kernel, which maps it for writing, calls what stores there.
        unsafe { &*self.memory.at(0).cast::<Page>() }
    }

    /// Whether the loan is over.
    pub fn is_over(&self) -> bool {
        self.page().over.load(Ordering::Acquire) != 0
    }

    /// Whether all writes go to the end of the file.
    pub fn appends(&self) -> bool {
        self.page().appends.load(Ordering::Relaxed) != 0
    }

    /// Up to where a program may write without asking.
    pub fn limit(&self) -> u64 {
        self.page().limit.load(Ordering::Relaxed)
    }

    /// The kernel's: says whether the loan is over.
    pub fn set_over(&self, over: bool) {
        self.page().over.store(u32::from(over), Ordering::Release);
    }

    /// The kernel's: says whether all writes go to the end.
    pub fn set_appends(&self, appends: bool) {
        self.page().appends.store(u32::from(appends), Ordering::Relaxed);
    }

    /// The kernel's: the attributes have changed; programs may write up to `limit`.
    pub fn changed(&self, limit: u64) {
        self.page().limit.store(limit, Ordering::Relaxed);
        self.page().version.fetch_add(1, Ordering::AcqRel);
    }

    /// The kernel's: which version of the attributes there is. To be asked before they are looked at.
    pub fn version(&self) -> u64 {
        self.page().version.load(Ordering::Acquire)
    }

    /// The kernel's: shows what fstat(2) says of a version, and what the host said of the times before that was found out.
    pub fn show(&self, version: u64, status: &Stat, times: Times) {
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let page = self.page();
        let before = page.writing.load(Ordering::Relaxed);
        page.writing.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        page.of.store(version, Ordering::Relaxed);
        let Times { accessed, modified } = times;
        let times = [accessed.tv_sec, accessed.tv_nsec, modified.tv_sec, modified.tv_nsec];
        page.times.iter().zip(times).for_each(|(word, time)| word.store(time as u64, Ordering::Relaxed));
        for (word, bytes) in page.status.iter().zip(status.as_bytes().as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        page.writing.store(before.wrapping_add(2), Ordering::Release);
    }

    /// What fstat(2) says of the open file `file`: what the kernel has shown, and what the host knows. `None` if the kernel is to be asked.
    pub fn status(&self, file: HostFd) -> Option<Stat> {
        let (mut status, seen) = self.shown()?;
        let now = shared::status(file).ok()?;
        merge(&mut status, seen, &now).then_some(status)
    }

    /// What the kernel has shown, if nothing has changed since.
    fn shown(&self) -> Option<(Stat, Times)> {
        let page = self.page();
        for _ in 0..PATIENCE {
            let before = page.writing.load(Ordering::Acquire);
            if !before.is_multiple_of(2) {
                core::hint::spin_loop();
                continue;
            }
            let of = page.of.load(Ordering::Relaxed);
            let times = page.times.each_ref().map(|word| word.load(Ordering::Relaxed) as i64);
            let mut status = Stat::new_zeroed();
            for (word, bytes) in page.status.iter().zip(status.as_mut_bytes().as_chunks_mut::<8>().0) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            fence(Ordering::Acquire);
            if page.writing.load(Ordering::Relaxed) != before {
                continue;
            }
            let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
            let [accessed, accessed_nsec, modified, modified_nsec] = times;
            let times = Times { accessed: time(accessed, accessed_nsec), modified: time(modified, modified_nsec) };
            return (of != 0 && page.version.load(Ordering::Acquire) == of).then_some((status, times));
        }
        None
    }
}

/// Adds to a status what the host knows better; whether that is all, or the kernel has to note that the file was read.
fn merge(status: &mut Stat, seen: Times, now: &Status) -> bool {
    status.st_size = i64::try_from(now.size).unwrap_or(i64::MAX);
    status.st_blocks = (now.used / 512) as i64;
    if now.times.modified != seen.modified {
        status.st_mtim = now.times.modified;
        status.st_ctim = later(status.st_ctim, now.times.modified);
    }
    let read = now.times.accessed != seen.accessed;
    !(read && shows_access(status.st_atim, status.st_mtim, status.st_ctim, now.times.accessed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tv_sec: i64) -> Timespec {
        Timespec { tv_sec, tv_nsec: 7 }
    }

    #[test]
    fn a_status_is_shown_until_something_changes() {
        let (kernel, file) = Header::create().unwrap();
        let program = Header::attach(file.fd()).unwrap();
        assert!(program.shown().is_none());
        kernel.changed(4096);
        let mut status = Stat::new_zeroed();
        (status.st_ino, status.st_gen, status.st_atim) = (5, 9, at(-3));
        let times = Times { accessed: at(1), modified: at(-2) };
        kernel.show(kernel.version(), &status, times);
        let (shown, of) = program.shown().unwrap();
        assert_eq!((shown.as_bytes(), of, program.limit()), (status.as_bytes(), times, 4096));
        kernel.changed(0);
        assert!(program.shown().is_none() && program.limit() == 0);
        // One that was found out before the change.
        kernel.show(kernel.version() - 1, &status, times);
        assert!(program.shown().is_none());
        kernel.set_over(true);
        kernel.set_appends(true);
        assert!(program.is_over() && program.appends());
    }

    #[test]
    fn nobody_but_the_kernel_writes_the_page() {
        let (_kernel, file) = Header::create().unwrap();
        assert_eq!(shared::pwrite(file.fd(), b"x", 0), Err(host::Error::PERM));
        assert_eq!(shared::resize(file.fd(), 0), Err(host::Error::PERM));
        assert!(Mapping::inherited(file.fd(), BYTES).is_err());
        let again = shared::reopen(file.fd(), 2).unwrap();
        assert_eq!(shared::pwrite(again.fd(), b"x", 0), Err(host::Error::PERM));
        assert!(Header::attach(host::memfd(c"other").unwrap().fd()).is_err());
    }

    #[test]
    fn what_the_host_knows_comes_in() {
        let seen = Times { accessed: at(10), modified: at(10) };
        let mut status = Stat::new_zeroed();
        (status.st_atim, status.st_mtim, status.st_ctim) = (at(20), at(10), at(15));
        let mut now = Status { size: 3, used: 4096, times: seen };
        assert!(merge(&mut status, seen, &now));
        assert_eq!((status.st_size, status.st_blocks, status.st_mtim), (3, 8, at(10)));
        // Read again: nothing to note. Written: the time of that; and then read is to be noted.
        now.times.accessed = at(30);
        assert!(merge(&mut status, seen, &now));
        now.times.modified = at(29);
        assert!(!merge(&mut status, seen, &now));
        assert_eq!((status.st_mtim, status.st_ctim, status.st_atim), (at(29), at(29), at(20)));
        now.times = Times { modified: at(12), ..seen };
        assert!(merge(&mut status, seen, &now));
        assert_eq!((status.st_mtim, status.st_ctim), (at(12), at(29)));
    }
}
