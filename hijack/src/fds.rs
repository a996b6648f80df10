//! Who owns which number: the table from the program's descriptors to the rump kernel's.
//!
//! A rump descriptor's number is reserved in the host kernel by a placeholder, a duplicate of one `O_PATH` descriptor of a
//! sealed memfd: the two kernels never hand out the same number, and the host keeps lowest-free-number, FD_CLOEXEC,
//! RLIMIT_NOFILE, fork and exec right. Every number of the program has a rump descriptor of its own (a duplicate if need be), so
//! that closing a number closes exactly one descriptor in each kernel.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use abi::{Errno, Result};
use client::fds::{self as cfds, Lasting};
use client::lock::{self, Lock, LockGuard};
use client::signals::{Blocked, Held};
use client::stubs;
use rustix_futex_sync::Mutex;
use sysproxy::host::{self, HostFd, Owned};

use crate::process::kernel;
use crate::quick::{hot, near};
use crate::rump::nest;
use crate::{borrower, raw, trace};

/// A descriptor of the rump kernel's process. (Its number there, not the program's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RumpFd(pub i32);

impl RumpFd {
    /// The argument of a kernel call.
    pub fn fd(self) -> abi::Fd {
        abi::Fd(self.0)
    }
}

/// A rump descriptor that a call made: the dispatcher gives it a number in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFd {
    /// The descriptor.
    pub fd: RumpFd,
    /// Whether it is closed on exec (already so in the rump kernel; the placeholder follows).
    pub cloexec: bool,
}

/// Counts, for a number (its low 16 bits), the reasons to look closer: it may not be a plain host descriptor, which [`lookup`] and
/// [`is_ours`] tell, or it comes near the library's own, which [`make_way`] then moves.
pub static OWNED: [AtomicU8; 1 << 16] = [const { AtomicU8::new(0) }; 1 << 16];

/// How many numbers there can be.
pub const NUMBERS: usize = 1 << 20;

/// The rump descriptor behind a number, plus one; 0 for a host descriptor.
static TABLE: [AtomicI32; NUMBERS] = [const { AtomicI32::new(0) }; NUMBERS];

/// All rump numbers are below it.
static END: AtomicUsize = AtomicUsize::new(0);

/// Held while a number changes hands, and over fork.
static LOCK: Lock<()> = Lock::new(());

/// Counts the changes.
static CHANGES: AtomicUsize = AtomicUsize::new(0);

/// Device and inode of the descriptor that placeholders are duplicates of; 0 before [`init`].
static TEMPLATE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// `fdoff=`: lowest number of a new rump descriptor.
static OFFSET: AtomicI32 = AtomicI32::new(0);

/// From this number on the program comes near the library's own descriptors, which begin at [`FAR`].
static NEAR: AtomicI32 = AtomicI32::new(i32::MAX);

/// All marked for that reason are below it.
static FAR: AtomicI32 = AtomicI32::new(0);

/// The highest number from there on that was seen; 0 for none.
static SEEN: AtomicI32 = AtomicI32::new(0);

/// How often a hooked function may make a descriptor until its number is looked at: looking costs as much as all else, since the processor
/// does not foresee the way back out of a frame that a system call was made in. Threads may take from it at once and count as one.
#[unsafe(link_section = hot!())]
pub static UNSEEN: AtomicI32 = AtomicI32::new(0);

/// What [`UNSEEN`] begins with: a small part of the way to the library's own descriptors.
static PERIOD: AtomicI32 = AtomicI32::new(0);

/// Most calls that make descriptors of which only one is looked at.
const LONGEST_PERIOD: i32 = 32;

/// Held while `NEAR` changes.
static STEPPING: Mutex<()> = Mutex::new(());

/// Makes the template of the placeholders, or takes over the one that came through exec.
pub fn init(offset: i32, template: Option<i32>) -> Result<()> {
    OFFSET.store(offset, Ordering::Relaxed);
    cfds::tell(|fd, ours| if ours { mark(fd) } else { unmark(fd) });
    match template {
        Some(template) => cfds::adopt(Lasting::Template, HostFd(template)),
        None => keep(Lasting::Template, make_template()?)?,
    }
    let identity = cfds::with(Lasting::Template, |fd| identity(fd.0)).ok_or(Errno::EBADF)?;
    TEMPLATE.iter().zip([identity.0, identity.1]).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    if trace::on() {
        // Each call is to be seen.
        (0..1 << 16).for_each(mark);
    }
    step();
    Ok(())
}

/// Moves a host descriptor up, out of the program's way, and keeps it as the library's own.
pub fn keep(kind: Lasting, fd: i32) -> Result<()> {
    cfds::keep(kind, Owned::new(HostFd(fd))).map_err(host::errno)
}

/// Looks closer at the numbers that are near the library's own now.
fn step() {
    let _blocked = Blocked::enter();
    let _stepping = STEPPING.lock();
    let now = cfds::next_step();
    let before = NEAR.load(Ordering::Relaxed)..FAR.swap(now.end, Ordering::Relaxed);
    NEAR.store(if now.is_empty() { i32::MAX } else { now.start }, Ordering::Relaxed);
    let period = if now.is_empty() { LONGEST_PERIOD } else { (now.len() as i32 / 8).min(LONGEST_PERIOD) };
    PERIOD.store(period, Ordering::Relaxed);
    UNSEEN.store(0, Ordering::Relaxed);
    if before != now {
        now.for_each(mark);
        before.for_each(unmark);
    }
}

/// Whether the program has come near the library's own descriptors.
#[inline(always)]
pub fn crowded() -> bool {
    SEEN.load(Ordering::Relaxed) != 0
}

/// Whether the number that a function makes need not be looked at this time.
#[inline(always)]
pub fn goes_unseen() -> bool {
    let unseen: *const AtomicI32 = near!(UNSEEN);
    // SAFETY: a static.
    let unseen = unsafe { &*unseen };
    let left = unseen.load(Ordering::Relaxed).wrapping_sub(1);
    unseen.store(left, Ordering::Relaxed);
    left >= 0
}

/// Notes a number that a function of the host has made.
pub fn look_at(fd: i32) {
    UNSEEN.store(PERIOD.load(Ordering::Relaxed), Ordering::Relaxed);
    saw(fd);
    if crowded() {
        make_way();
    }
}

/// Notes a number that the program has.
#[inline(always)]
pub fn saw(fd: i32) {
    if fd >= NEAR.load(Ordering::Relaxed) {
        SEEN.fetch_max(fd, Ordering::Relaxed);
    }
}

/// Moves the library's own descriptors further away from the program's. Called where nothing is held.
#[cold]
pub fn make_way() {
    // The descriptors of a child that shares this memory are others.
    if !borrower::shares_memory() {
        cfds::make_way(SEEN.swap(0, Ordering::Relaxed));
        step();
    }
}

/// Moves the library's own descriptor away from a number that the program wants for something else.
pub fn move_away(fd: i32) {
    if is_ours(fd) {
        let _ = cfds::move_away(HostFd(fd));
    }
}

/// A sealed memfd, opened so that only its number can be used.
fn make_template() -> Result<i32> {
    let name = c"rumphijack";
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let memfd = raw::checked(raw::call(libc::SYS_memfd_create, [name.as_ptr() as usize, flags as usize]))? as i32;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    raw::fcntl(memfd, libc::F_ADD_SEALS, raw::word(seals));
    let opened = open_again(memfd).or_else(|_| open_path(&format!("/proc/self/fd/{memfd}\0")));
    raw::close(memfd);
    // Both may be refused together, by a filter and for want of /proc.
    opened.or_else(|_| open_path("/\0"))
}

/// Opens the file of a descriptor anew with `O_PATH`. It needs no name, but Linux 5.2; filters of containers may refuse it.
fn open_again(fd: i32) -> Result<i32> {
    let flags = libc::AT_EMPTY_PATH | libc::OPEN_TREE_CLOEXEC as i32;
    let args = [raw::word(fd), c"".as_ptr() as usize, raw::word(flags)];
    raw::checked(raw::call(libc::SYS_open_tree, args)).map(|fd| fd as i32)
}

fn open_path(name: &str) -> Result<i32> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let args = [raw::word(libc::AT_FDCWD), name.as_ptr() as usize, raw::word(flags)];
    raw::checked(raw::call(libc::SYS_openat, args)).map(|fd| fd as i32)
}

/// Does something with the template that does not wait.
pub fn with_template<T>(does: impl FnOnce(i32) -> T) -> T {
    cfds::with(Lasting::Template, |fd| does(fd.0))
}

/// The template, for exec to hand on.
pub fn template() -> i32 {
    cfds::number(Lasting::Template).0
}

/// Whether the host holds a placeholder of our template under this number.
pub fn is_placeholder(fd: i32) -> bool {
    let flags = raw::fcntl(fd, libc::F_GETFL, 0);
    let [device, inode] = TEMPLATE.each_ref().map(|word| word.load(Ordering::Relaxed));
    flags >= 0 && flags & libc::O_PATH as isize != 0 && identity(fd) == Some((device, inode))
}

/// Device and inode of a host descriptor.
fn identity(fd: i32) -> Option<(u64, u64)> {
    stat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// What fstat(2) says of a host descriptor; `None` if it is not open.
pub fn stat(fd: i32) -> Option<rustix::fs::Stat> {
    // SAFETY: used only for the duration of the call; a number that is not open is an error of the host.
    let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(fd.max(0)) };
    rustix::fs::fstat(fd).ok()
}

/// Whether `fd` may be something else than a plain host descriptor; never wrong when it says no.
#[inline(always)]
pub fn perhaps(fd: i32) -> bool {
    let table: *const [AtomicU8; 1 << 16] = near!(OWNED);
    // SAFETY: a static.
    let owned = unsafe { &*table }.get(fd as usize & 0xffff);
    owned.is_some_and(|byte| byte.load(Ordering::Relaxed) != 0)
}

/// The rump descriptor behind the program's number `fd`, or `None` for a host descriptor.
#[inline]
pub fn lookup(fd: i32) -> Option<RumpFd> {
    if !perhaps(fd) {
        return None;
    }
    let found = match borrower::current() {
        Some(child) => child.lookup(fd),
        None => entry(fd),
    };
    // Who asks about the library's own (a list of /proc/self/fd) has not come near them.
    if found.is_some() || !is_ours(fd) {
        saw(fd);
    }
    found
}

/// The process's own entry of a number.
pub fn entry(fd: i32) -> Option<RumpFd> {
    let word = TABLE.get(usize::try_from(fd).ok()?)?.load(Ordering::Acquire);
    (word != 0).then_some(RumpFd(word - 1))
}

/// Whether `fd` is a host descriptor of the library itself, which the program does not know of.
pub fn is_ours(fd: i32) -> bool {
    perhaps(fd) && cfds::owns(HostFd(fd))
}

/// Whether there is, or ever was, a rump number.
#[inline]
pub fn any() -> bool {
    END.load(Ordering::Relaxed) != 0 || borrower::current().is_some()
}

/// As [`any`], of the process itself.
#[inline(always)]
pub fn any_entry() -> bool {
    END.load(Ordering::Relaxed) != 0
}

/// How often a number changed hands so far.
pub fn changes() -> usize {
    CHANGES.load(Ordering::Acquire)
}

/// Keeps numbers from changing hands; a handler of signals, which may want to change some, does not run meanwhile.
pub fn lock() -> (LockGuard<'static, ()>, Held) {
    let held = Held::enter();
    (LOCK.lock(), held)
}

/// Takes back what a child that shared this memory had, and is gone.
pub fn inherit(guest: u32) {
    lock::inherit(&LOCK, guest);
}

/// Says that `fd` now is `rump` (or the host's, for `None`) and returns what it was. Called under [`lock`].
pub fn set(fd: i32, rump: Option<RumpFd>) -> Option<RumpFd> {
    if let Some(child) = borrower::for_change() {
        return child.set(fd, rump);
    }
    CHANGES.fetch_add(1, Ordering::AcqRel);
    let slot = TABLE.get(usize::try_from(fd).ok()?)?;
    if rump.is_some() {
        saw(fd);
        mark(fd);
        END.fetch_max(fd as usize + 1, Ordering::AcqRel);
    }
    let before = slot.swap(rump.map_or(0, |rump| rump.0 + 1), Ordering::AcqRel);
    if before != 0 {
        unmark(fd);
    }
    (before != 0).then(|| RumpFd(before - 1))
}

/// Adds a reason to look closer at a number (and those with the same low 16 bits).
pub fn mark(fd: i32) {
    if let Some(byte) = OWNED.get(fd as usize & 0xffff) {
        byte.fetch_add(1, Ordering::AcqRel);
    }
}

/// Takes a [`mark`] back.
pub fn unmark(fd: i32) {
    if let Some(byte) = OWNED.get(fd as usize & 0xffff) {
        byte.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rump numbers from `first` to `last`, in order.
pub fn range(first: u32, last: u32) -> Vec<(i32, RumpFd)> {
    if let Some(child) = borrower::current() {
        return child.range(first, last);
    }
    entries(first, last)
}

/// As [`range`], of the process itself.
pub fn entries(first: u32, last: u32) -> Vec<(i32, RumpFd)> {
    let end = END.load(Ordering::Acquire).min((last as usize).saturating_add(1));
    (first as usize..end).filter_map(|fd| Some((fd as i32, entry(fd as i32)?))).collect()
}

/// Reserves the lowest free number from `least` on in the host; `EMFILE` if there is none.
pub fn reserve(least: i32, cloexec: bool) -> Result<i32> {
    let command = if cloexec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    let least = least.max(OFFSET.load(Ordering::Relaxed));
    let fd = raw::checked(with_template(|template| raw::fcntl(template, command, raw::word(least))))? as i32;
    if fd as usize >= TABLE.len() {
        raw::close(fd);
        return Err(Errno::EMFILE);
    }
    Ok(fd)
}

/// The promise that a number is free, for calls that must do nothing when there is none; it ends before [`install`].
pub struct Room(i32);

impl Room {
    /// `EMFILE` if no number is free.
    pub fn take() -> Result<Self> {
        reserve(0, true).map(Room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        raw::close(self.0);
    }
}

/// Gives `new` the lowest free number of the program; closes it in the rump kernel if there is none (`EMFILE`).
pub fn install(new: NewFd) -> Result<i32> {
    install_from(0, new)
}

/// As [`install`], with the lowest free number from `least` on.
pub fn install_from(least: i32, new: NewFd) -> Result<i32> {
    match reserve(least, new.cloexec) {
        Ok(fd) => {
            let _lock = lock();
            set(fd, Some(new.fd));
            Ok(fd)
        }
        Err(error) => {
            let _ = kernel().and_then(|kernel| stubs::close(kernel, new.fd.fd()));
            Err(error)
        }
    }
}

/// Takes the locks before a fork.
pub fn before_fork() {
    core::mem::forget((LOCK.lock(), STEPPING.lock()));
    nest::before_fork();
}

/// Gives the locks back after a fork, in the parent and in the child.
///
/// # Safety
/// [`before_fork`] was called by this thread (or, in a child, by its copy).
pub unsafe fn after_fork() {
    // SAFETY: the caller says that the locks are held.
    unsafe {
        nest::after_fork();
        STEPPING.force_unlock();
        LOCK.force_unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_owner_and_its_mark_outlives_none() {
        let high = (7 << 16) | 400;
        assert_eq!((lookup(400), lookup(high), lookup(-1)), (None, None, None));
        assert_eq!(set(400, Some(RumpFd(5))), None);
        assert_eq!(set(high, Some(RumpFd(6))), None);
        assert_eq!((lookup(400), lookup(high)), (Some(RumpFd(5)), Some(RumpFd(6))));
        assert_eq!(set(400, None), Some(RumpFd(5)));
        assert!(perhaps(400) && lookup(400).is_none());
        assert_eq!(entries(0, u32::MAX), [(high, RumpFd(6))]);
        assert_eq!(set(high, None), Some(RumpFd(6)));
        assert!(!perhaps(400));
    }

    #[test]
    fn a_placeholder_is_known_by_its_inode() {
        init(0, None).unwrap();
        let fd = reserve(100, true).unwrap();
        assert!(fd >= 100 && is_placeholder(fd));
        assert!(!is_placeholder(0) && !is_placeholder(-1));
        raw::close(fd);
        assert!(!is_placeholder(fd));
    }
}
