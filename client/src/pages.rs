//! Files whose memory the server lends to this program ([`sysproxy::pages`]): reading, writing, seeking and looking at them are calls of the
//! host, on an open file of the host that the kernel and all who have the descriptor share.
//!
//! After some calls that have moved data the server is asked for it. What is not plain stays the server's, and so do writes that need
//! memory which nobody has accounted for. All signals are blocked meanwhile.

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use abi::fcntl::{SEEK_CUR, SEEK_END, SEEK_SET};
use abi::stat::Stat;
use abi::syscalls::nr;
use abi::{Errno, Fd, Region, Result};
use rustix_futex_sync::Mutex;
use sysproxy::host::direct::{self, Way};
use sysproxy::host::{self, HostFd, Owned, shared};
use sysproxy::pages::Header;
use zerocopy::IntoBytes;

use crate::fds::Kept;
use crate::{guest, regions, way};

/// Descriptors whose memory may be lent: those below this number.
const DESCRIPTORS: usize = 4096;

/// After calls of so much weight the server is asked; twice as much after each time that it had a reason not to lend.
const WEIGHT: u32 = 16;

/// The most that this grows to.
const WEIGHT_MAX: u32 = 1 << 20;

/// So many bytes weigh as much as a call.
const HEAVY_BYTES: i64 = 16 << 10;

/// So many files are lent at a time at most, and no more than this part of the descriptors that the program may have.
const LOANS_MAX: usize = 64;
const PART: u64 = 16;

/// [`Entry::weight`] of a descriptor whose memory is lent.
const LENT: u32 = u32::MAX;

/// [`Entry::weight`] of what has no memory to lend.
const NEVER: u32 = u32::MAX - 1;

/// How often a file that is about to be forgotten is looked at, while another thread is in the middle of a call on it.
const PATIENCE: u32 = 100_000;

/// What the server has lent.
struct Loan {
    file: Kept,
    header: Header,
    reads: bool,
    writes: bool,
}

/// What is known of a descriptor.
#[derive(Default)]
struct Entry {
    /// How much calls have weighed, or one of the words above.
    weight: AtomicU32,
    /// How much there is to be before the server is asked, if not [`WEIGHT`].
    patience: AtomicU32,
    /// Threads that use the loan, or look whether there is one.
    users: AtomicU32,
    /// Whether it was used lately.
    used: AtomicBool,
    /// Written by who holds the lock, while the entry is not [`LENT`] and has no users.
    loan: UnsafeCell<Option<Box<Loan>>>,
}

// SAFETY: the loan is changed only when no thread uses it, as said there.
unsafe impl Sync for Entry {}

/// The files of a process that are lent.
#[derive(Default)]
pub struct Pages {
    entries: OnceLock<Box<[Entry]>>,
    changing: Mutex<()>,
    /// How many are lent.
    count: AtomicUsize,
    /// Where to look next for one to give up.
    hand: AtomicUsize,
}

/// A call that needs no server.
enum Call {
    /// Moves data: which way, and the arguments for it.
    Transfer(Way, u64, usize),
    Seek(i64, i32),
    /// Where the status goes.
    Status(u64),
    /// Everything lasts as long as it can: nothing to do.
    Sync,
}

impl Call {
    fn of(number: u32, args: &[u64]) -> Option<Self> {
        let arg = |index: usize| args.get(index).copied().unwrap_or(0);
        let offset = || u64::try_from(arg(4) as i64).ok();
        let transfer = |writes, vector, at| Some(Self::Transfer(Way { writes, vector, at }, arg(1), arg(2) as usize));
        match number {
            nr::read => transfer(false, false, None),
            nr::write => transfer(true, false, None),
            nr::readv => transfer(false, true, None),
            nr::writev => transfer(true, true, None),
            nr::pread => transfer(false, false, Some(offset()?)),
            nr::pwrite => transfer(true, false, Some(offset()?)),
            nr::preadv => transfer(false, true, Some(offset()?)),
            nr::pwritev => transfer(true, true, Some(offset()?)),
            nr::lseek => {
                let whence = arg(3) as i32;
                // The other ones have other numbers on the host.
                matches!(whence, SEEK_SET | SEEK_CUR | SEEK_END).then_some(Self::Seek(arg(2) as i64, whence))
            }
            nr::fstat => Some(Self::Status(arg(1))),
            nr::fsync | nr::fdatasync => Some(Self::Sync),
            _ => None,
        }
    }

    /// How much it weighs that the server has answered such a call so.
    fn weight(number: u32, args: &[u64], answer: i64) -> Option<u32> {
        let Some(Self::Transfer(..)) = Self::of(number, args) else { return None };
        Some(1 + u32::try_from(answer / HEAVY_BYTES).unwrap_or(0).min(WEIGHT))
    }
}

impl Pages {
    fn entry(&self, fd: u64) -> Option<&Entry> {
        let fresh = || (0..DESCRIPTORS).map(|_| Entry::default()).collect();
        usize::try_from(fd as i32).ok().and_then(|fd| self.entries.get_or_init(fresh).get(fd))
    }

    /// Does a call without the server, if that can be.
    pub fn shortcut(&self, number: u32, args: &[u64], regions: &[Region]) -> Option<Result<[i64; 2]>> {
        let fd = *args.first()?;
        if let Some(fds) = ends(number, args) {
            self.forget(fds, false);
        }
        let entry = self.entries.get()?.get(usize::try_from(fd as i32).ok()?)?;
        if entry.weight.load(Ordering::Relaxed) != LENT {
            return None;
        }
        let call = Call::of(number, args)?;
        entry.users.fetch_add(1, Ordering::SeqCst);
        let lent = entry.weight.load(Ordering::SeqCst) == LENT;
        // SAFETY: as there is a user, nobody changes it.
        let loan = unsafe { (*entry.loan.get()).as_ref() };
        let (mut over, mut done) = (false, None);
        if let Some(loan) = loan.filter(|_| lent) {
            entry.used.store(true, Ordering::Relaxed);
            over = loan.header.is_over();
            done = if over { None } else { loan.file.with(|file| loan.serve(file, &call, regions)) };
        }
        entry.users.fetch_sub(1, Ordering::SeqCst);
        if over {
            self.forget((fd, fd), true);
        }
        done.map(|done| done.map(|value| [value as i64, 0]))
    }

    /// Counts a call that the server has answered; whether it is time to ask for the memory of the file.
    pub fn count(&self, number: u32, args: &[u64], answer: i64) -> bool {
        let (Some(fd), Some(weight)) = (args.first(), Call::weight(number, args, answer)) else { return false };
        let Some(entry) = self.entry(*fd) else { return false };
        let before = entry.weight.load(Ordering::Relaxed);
        // A child that shares this memory leaves nothing in it.
        if before >= NEVER || guest::name() != 0 {
            return false;
        }
        let enough = entry.patience.load(Ordering::Relaxed).max(WEIGHT);
        let after = before.saturating_add(weight);
        entry.weight.store(if after < enough { after } else { 0 }, Ordering::Relaxed);
        after >= enough
    }

    /// Takes the server's answer to the question: the open file of the host, the page beside it, whether it reads, and whether it writes.
    pub fn answer(&self, fd: u64, answer: Result<(Owned, Owned, bool, bool)>) {
        let Some(entry) = self.entry(fd) else { return };
        let loan = answer.and_then(|(file, page, reads, writes)| {
            let header = Header::attach(page.fd()).map_err(host::errno)?;
            self.make_room();
            // Where there are no descriptors left, later perhaps.
            let file = Kept::new(file).map_err(|_| Errno::EAGAIN)?;
            Ok(Box::new(Loan { file, header, reads, writes }))
        });
        let _changing = self.changing.lock();
        match loan {
            // Somebody may still use what was there before.
            Ok(loan) if entry.weight.load(Ordering::SeqCst) != LENT && entry.users.load(Ordering::SeqCst) == 0 => {
                // SAFETY: nobody uses it, nor will before the word is changed.
                let before = unsafe { (*entry.loan.get()).replace(loan) };
                if before.is_none() {
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                entry.used.store(true, Ordering::Relaxed);
                entry.weight.store(LENT, Ordering::SeqCst);
                way::changed(Fd(fd as i32), way::Way::Shared);
            }
            Ok(_) => {}
            Err(Errno::EAGAIN) => entry.wait_longer(),
            Err(_) => entry.weight.store(NEVER, Ordering::SeqCst),
        }
    }

    /// Gives up files that were not used lately, while there are too many.
    fn make_room(&self) {
        let part = usize::try_from(host::descriptor_limit() / PART).unwrap_or(LOANS_MAX);
        let max = part.clamp(1, LOANS_MAX);
        // Once around to clear the marks, once to find one without.
        for _ in 0..2 * DESCRIPTORS {
            if self.count.load(Ordering::Relaxed) < max {
                return;
            }
            let at = self.hand.fetch_add(1, Ordering::Relaxed) % DESCRIPTORS;
            let Some(entry) = self.entries.get().and_then(|entries| entries.get(at)) else { return };
            if entry.weight.load(Ordering::Relaxed) == LENT && !entry.used.swap(false, Ordering::Relaxed) {
                self.forget((at as u64, at as u64), true);
            }
        }
    }

    /// Forgets some descriptors, from the first to the last, once nobody is in the middle of a call on them; `longer` has the server asked later
    /// than before.
    fn forget(&self, (first, last): (u64, u64), longer: bool) {
        let Some(entries) = self.entries.get() else { return };
        let number = |fd: u64| usize::try_from(fd as i32).unwrap_or(usize::MAX);
        let entries = entries.iter().take(number(last).saturating_add(1)).skip(number(first));
        let known = |(_, entry): &(usize, &Entry)| {
            entry.weight.load(Ordering::Relaxed) != 0 || entry.patience.load(Ordering::Relaxed) != 0
        };
        for (fd, entry) in (number(first)..).zip(entries).filter(known) {
            let _changing = self.changing.lock();
            entry.weight.store(0, Ordering::SeqCst);
            // What another thread has begun is done on the file that there is, not on what the server does next.
            let mut looks = 0;
            while entry.users.load(Ordering::SeqCst) > 0 && looks < PATIENCE {
                std::thread::yield_now();
                looks += 1;
            }
            if entry.users.load(Ordering::SeqCst) == 0 {
                // SAFETY: who comes now sees that the entry is not lent.
                if unsafe { (*entry.loan.get()).take() }.is_some() {
                    self.count.fetch_sub(1, Ordering::Relaxed);
                    if longer {
                        way::changed(Fd(fd as i32), way::Way::Calls);
                    }
                }
            }
            if longer {
                entry.wait_longer();
            } else {
                entry.patience.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Forgets everything: the descriptors are another kernel's.
    pub fn forget_all(&self) {
        self.forget((0, i32::MAX as u64), false);
    }
}

impl Entry {
    fn wait_longer(&self) {
        let patience = self.patience.load(Ordering::Relaxed).max(WEIGHT);
        self.patience.store((patience * 2).min(WEIGHT_MAX), Ordering::Relaxed);
    }
}

/// Which descriptors are forgotten with a call.
fn ends(number: u32, args: &[u64]) -> Option<(u64, u64)> {
    let fd = *args.first()?;
    match (number, args.get(1)) {
        (nr::close, _) => Some((fd, fd)),
        (nr::dup2 | nr::dup3, Some(&onto)) => Some((onto, onto)),
        (nr::fcntl, Some(&command)) if command as i32 == abi::fcntl::F_CLOSEM => Some((fd, i32::MAX as u64)),
        _ => None,
    }
}

impl Loan {
    /// Makes a call on the host, unless it is the server's.
    fn serve(&self, file: HostFd, call: &Call, regions: &[Region]) -> Option<Result<usize>> {
        let done = match *call {
            Call::Transfer(way, address, count) => {
                let may =
                    if way.writes { self.writes && self.has_room(file, way, count, regions)? } else { self.reads };
                // SAFETY: the call has named the memory as its to read, or to overwrite; the array is the library's.
                if may { unsafe { direct::transfer(file, way, address, count) } } else { return None }
            }
            Call::Seek(offset, whence) => direct::seek(file, offset, whence).map(|at| at as usize),
            Call::Status(address) => {
                let status: Stat = self.header.status(file)?;
                let region = regions.first().filter(|region| region.holds(address, size_of::<Stat>()))?;
                // SAFETY: the call has named the memory as its to overwrite.
                unsafe { regions::write(region, address, status.as_bytes()).map(|()| 0) }
            }
            Call::Sync => Ok(0),
        };
        Some(done.map_err(host::errno))
    }

    /// Whether what is to be written ends where the memory is accounted for. `None` if nobody knows.
    fn has_room(&self, file: HostFd, way: Way, count: usize, regions: &[Region]) -> Option<bool> {
        let limit = self.header.limit();
        // With a vector the first is the array.
        let parts = if way.vector { regions.get(1..).unwrap_or_default() } else { regions };
        let len =
            if way.vector { parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len)) } else { count };
        let from = match way.at {
            // On Linux even then.
            _ if self.header.appends() => shared::status(file).ok()?.size,
            Some(at) => at,
            None => direct::position(file).ok()?,
        };
        // A write of nothing is not worth a thought.
        Some(len > 0 && from.checked_add(len as u64).is_some_and(|end| end <= limit))
    }
}
