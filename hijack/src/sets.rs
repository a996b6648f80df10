//! Epoll sets: which numbers are one, and the kqueue that watches a set's rump members.
//!
//! The program's number of a set is a descriptor of the host's epoll, which watches the host's members as ever. The set gets a kqueue
//! in the rump kernel with its first rump member. All numbers that the process has for a set share the kqueue, which goes with the
//! last of them. A set is known from epoll_create on, so that duplicates made before its first rump member share it too.
//!
//! No locks: an entry is a word, and the host keeps two threads from making the same number.
//!
//! A child that shares its parent's memory has numbers and sets of its own ([`Own`]) over those of its parent, which stay as they are.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicUsize, Ordering};

use crate::fds::{self, RumpFd};
use crate::{borrower, raw};

/// Sets of a process at most; those beyond take no rump members.
const MOST: usize = 4096;

/// How `/proc/self/fd` shows a set.
const LINK: &[u8] = b"anon_inode:[eventpoll]";

/// The set of a number, counted from one; 0 for any other descriptor.
static NUMBERS: [AtomicU16; 1 << 20] = [const { AtomicU16::new(0) }; 1 << 20];

/// All numbers of sets are below it.
static END: AtomicUsize = AtomicUsize::new(0);

/// The sets.
static SETS: [Slot; MOST] = [const { Slot::new() }; MOST];

struct Slot {
    /// How many numbers it has; 0 for a free slot.
    numbers: AtomicU32,
    /// Its kqueue, plus one; 0 without.
    kqueue: AtomicI32,
    /// Whether the rump kernel's events come first the next time.
    rump_first: AtomicBool,
    /// Threads that wait for it in the host alone, what wakes them (its name; -1 for nothing), and how often that was heard by others:
    /// see [`crate::rump::bell`].
    waiters: AtomicU32,
    bell: AtomicI32,
    heard: AtomicU32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            numbers: AtomicU32::new(0),
            kqueue: AtomicI32::new(0),
            rump_first: AtomicBool::new(false),
            waiters: AtomicU32::new(0),
            bell: AtomicI32::new(-1),
            heard: AtomicU32::new(0),
        }
    }
}

/// Sets of a child that shares its parent's memory, at most.
const MOST_OWN: usize = 64;

/// What a child that shares its parent's memory has in place of the parent's. It goes with the child, wherever that ends.
pub struct Own {
    /// As [`NUMBERS`]; 0 where the parent's is the child's as well, [`NONE`] where it is not.
    numbers: Box<[AtomicU16]>,
    /// Its own sets, counted from [`MOST`] on.
    slots: [Slot; MOST_OWN],
    end: AtomicUsize,
}

/// A number is no set.
const NONE: u16 = u16::MAX;

impl Own {
    /// Nothing but what the parent has.
    pub fn inherited() -> Self {
        // SAFETY: a word of zeros is an atomic one. Pages of it that nobody touches are no memory.
        let numbers = unsafe { Box::new_zeroed_slice(NUMBERS.len()).assume_init() };
        Self { numbers, slots: [const { Slot::new() }; MOST_OWN], end: AtomicUsize::new(0) }
    }

    fn word(&self, fd: usize) -> Option<&AtomicU16> {
        self.numbers.get(fd)
    }

    /// The numbers that have a mark for the child's sake; see [`fds::mark`].
    pub fn marked(&self) -> impl Iterator<Item = i32> {
        let numbers = self.numbers.iter().take(self.end.load(Ordering::Relaxed)).enumerate();
        numbers.filter(|(_, word)| !matches!(word.load(Ordering::Relaxed), 0 | NONE)).map(|(fd, _)| fd as i32)
    }

    /// Says what a number is.
    fn name(&self, fd: i32, set: Option<Set>) -> Option<Set> {
        let at = usize::try_from(fd).ok()?;
        let none = if NUMBERS.get(at)?.load(Ordering::Acquire) == 0 { 0 } else { NONE };
        if set.is_some() {
            fds::mark(fd);
            self.end.fetch_max(at + 1, Ordering::Relaxed);
        }
        let before = self.word(at)?.swap(set.map_or(none, |set| set.0), Ordering::AcqRel);
        if matches!(before, 0 | NONE) {
            return None;
        }
        fds::unmark(fd);
        Some(Set(before))
    }

    /// Takes a number away; the set that is gone, if it was the child's and this its last number.
    fn forget(&self, fd: i32) -> Option<Gone> {
        let set = self.name(fd, None).filter(|set| set.is_own())?;
        let (kqueue, slot) = (set.kqueue(), set.slot()?);
        (slot.numbers.fetch_sub(1, Ordering::AcqRel) == 1).then_some(Gone { set, kqueue })
    }
}

/// Claims a free slot.
fn claim(slots: &[Slot]) -> Option<usize> {
    slots.iter().position(|slot| slot.numbers.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok())
}

/// An epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set(u16);

impl Set {
    /// The set that a number is.
    #[inline]
    pub fn of(fd: i32) -> Option<Self> {
        let fd = usize::try_from(fd).ok()?;
        let own = borrower::current().and_then(|child| child.sets().word(fd)).map(|word| word.load(Ordering::Relaxed));
        let word = match own {
            None | Some(0) => NUMBERS.get(fd)?.load(Ordering::Acquire),
            Some(NONE) => 0,
            Some(word) => word,
        };
        (word != 0).then_some(Set(word))
    }

    /// Whether it is that of a child which shares its parent's memory.
    pub fn is_own(self) -> bool {
        usize::from(self.0) > MOST
    }

    /// Notes that a number is a new set; `None` if there are too many.
    pub fn born(fd: i32) -> Option<Self> {
        let at = match borrower::for_change() {
            Some(child) => MOST + claim(&child.sets().slots)?,
            None => claim(&SETS)?,
        };
        let set = Set(u16::try_from(at + 1).ok()?);
        set.slot()?.kqueue.store(0, Ordering::Release);
        set.name(fd);
        Some(set)
    }

    /// The set that a number is, also one that nobody has seen being made: it came through exec, or in a message.
    pub fn found(fd: i32) -> Option<Self> {
        Self::of(fd).or_else(|| if is_epoll(fd) { Self::born(fd) } else { None })
    }

    /// Notes that a set has another number.
    pub fn also(self, fd: i32) {
        if !self.is_own() && borrower::current().is_some() {
            // The parent does not count the child's numbers.
            self.name(fd);
        } else if let Some(slot) = self.slot() {
            slot.numbers.fetch_add(1, Ordering::AcqRel);
            self.name(fd);
        }
    }

    fn name(self, fd: i32) {
        if let Some(child) = borrower::current() {
            child.sets().name(fd, Some(self));
            return;
        }
        if let Some(number) = usize::try_from(fd).ok().and_then(|fd| NUMBERS.get(fd)) {
            END.fetch_max(fd as usize + 1, Ordering::AcqRel);
            fds::mark(fd);
            if number.swap(self.0, Ordering::AcqRel) != 0 {
                fds::unmark(fd);
            }
        }
    }

    /// The set as one word.
    pub fn word(self) -> usize {
        self.0.into()
    }

    /// The set that [`Set::word`] has made one word of.
    pub fn of_word(word: usize) -> Self {
        Self(word as u16)
    }

    fn slot(self) -> Option<&'static Slot> {
        match usize::from(self.0).checked_sub(1)? {
            at if self.is_own() => borrower::current()?.sets().slots.get(at - MOST),
            at => SETS.get(at),
        }
    }

    /// Its kqueue.
    pub fn kqueue(self) -> Option<RumpFd> {
        let word = self.slot()?.kqueue.load(Ordering::SeqCst);
        (word != 0).then_some(RumpFd(word - 1))
    }

    /// Gives it a kqueue; if it has one already, that is the answer.
    pub fn set_kqueue(self, kqueue: RumpFd) -> Result<(), RumpFd> {
        let Some(slot) = self.slot() else { return Err(kqueue) };
        let set = slot.kqueue.compare_exchange(0, kqueue.0 + 1, Ordering::SeqCst, Ordering::SeqCst);
        set.map(drop).map_err(|there| RumpFd(there - 1))
    }

    /// Whether the rump kernel's events come first.
    pub fn rump_first(self) -> bool {
        self.slot().is_some_and(|slot| slot.rump_first.load(Ordering::Relaxed))
    }

    /// One of its numbers.
    pub fn number(self) -> Option<i32> {
        range(0, u32::MAX).find(|(_, set)| *set == self).map(|(fd, _)| fd)
    }

    /// Counts a thread in that waits in the host alone. Only then it looks whether there is a kqueue.
    pub fn enter(self) {
        if let Some(slot) = self.slot() {
            slot.waiters.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts it out; whether it was the last one.
    pub fn leave(self) -> bool {
        self.slot().is_some_and(|slot| slot.waiters.fetch_sub(1, Ordering::SeqCst) == 1)
    }

    /// How many threads wait in the host alone.
    pub fn waiters(self) -> u32 {
        self.slot().map_or(0, |slot| slot.waiters.load(Ordering::SeqCst))
    }

    /// Notes what wakes those who wait in the host alone, -1 for nothing; returns what did before.
    pub fn set_bell(self, bell: i32) -> Option<i32> {
        let slot = self.slot()?;
        slot.heard.store(0, Ordering::Relaxed);
        Some(slot.bell.swap(bell, Ordering::SeqCst)).filter(|before| *before >= 0)
    }

    /// Counts how often others have heard the bell.
    pub fn hears_bell(self) -> u32 {
        self.slot().map_or(0, |slot| slot.heard.fetch_add(1, Ordering::Relaxed))
    }

    /// Says which kernel's events come first the next time.
    pub fn set_rump_first(self, first: bool) {
        if let Some(slot) = self.slot() {
            slot.rump_first.store(first, Ordering::Relaxed);
        }
    }
}

/// Whether a number is a set without rump members.
#[inline(always)]
pub fn is_plain(fd: i32) -> bool {
    let word = usize::try_from(fd).ok().and_then(|fd| NUMBERS.get(fd)).map_or(0, |word| word.load(Ordering::Acquire));
    let slot = usize::from(word).checked_sub(1).and_then(|at| SETS.get(at));
    slot.is_some_and(|slot| slot.kqueue.load(Ordering::SeqCst) == 0)
}

/// The kqueue beside the set that a number is, if it has one.
#[inline]
pub fn kqueue(fd: i32) -> Option<RumpFd> {
    if fds::perhaps(fd) { Set::of(fd)?.kqueue() } else { None }
}

/// Notes that `to` now is another number for what `from` is; the set that is gone, if `to` was its last number.
pub fn duplicated(from: i32, to: i32) -> Option<Gone> {
    let gone = forget(to);
    if (!borrower::shares_memory() || borrower::current().is_some())
        && let Some(set) = Set::of(from)
    {
        set.also(to);
    }
    gone
}

/// A set that has no number left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// What it was.
    pub set: Set,
    /// Its kqueue, which is to be closed.
    pub kqueue: Option<RumpFd>,
}

/// Notes that a number is closed; the set that is gone, if it was its last number.
///
/// A child that shares its parent's memory leaves the parent's sets alone.
pub fn forget(fd: i32) -> Option<Gone> {
    if !fds::perhaps(fd) {
        return None;
    }
    if borrower::shares_memory() {
        return borrower::current()?.sets().forget(fd);
    }
    let word = NUMBERS.get(usize::try_from(fd).ok()?)?.swap(0, Ordering::AcqRel);
    let set = Set((word != 0).then_some(word)?);
    fds::unmark(fd);
    let kqueue = set.kqueue();
    let slot = set.slot()?;
    if slot.numbers.load(Ordering::Acquire) == 1 {
        slot.kqueue.store(0, Ordering::Release);
    }
    (slot.numbers.fetch_sub(1, Ordering::AcqRel) == 1).then_some(Gone { set, kqueue })
}

/// The numbers of sets from `first` to `last`, in order.
pub fn range(first: u32, last: u32) -> impl Iterator<Item = (i32, Set)> {
    let own = borrower::current().map_or(0, |child| child.sets().end.load(Ordering::Relaxed));
    let end = END.load(Ordering::Acquire).max(own).min((last as usize).saturating_add(1));
    (first as usize..end).filter_map(|fd| Some((fd as i32, Set::of(fd as i32)?)))
}

/// In the child of a fork: forgets the threads of the parent, and the bells, which are closed.
pub fn after_fork_in_child() {
    for slot in SETS.iter().filter(|slot| slot.numbers.load(Ordering::Relaxed) > 0) {
        slot.waiters.store(0, Ordering::Relaxed);
        slot.bell.store(-1, Ordering::Relaxed);
    }
}

/// Takes over the sets of the image before exec, and returns the kqueues of which no number is left.
pub fn inherit(numbers: &[(i32, RumpFd)]) -> Vec<RumpFd> {
    let mut unused: Vec<RumpFd> = numbers.iter().map(|(_, kqueue)| *kqueue).collect();
    for (fd, kqueue) in numbers.iter().filter(|(fd, _)| is_epoll(*fd)) {
        unused.retain(|other| other != kqueue);
        let same = numbers.iter().filter(|(_, other)| other == kqueue).find_map(|(fd, _)| Set::of(*fd));
        match same {
            Some(set) => set.also(*fd),
            None => {
                let set = Set::born(*fd);
                unused.extend(set.map_or(Some(*kqueue), |set| set.set_kqueue(*kqueue).err()));
            }
        }
    }
    unused.sort_unstable_by_key(|kqueue| kqueue.0);
    unused.dedup();
    unused
}

/// Whether the host has an epoll set under a number.
pub fn is_epoll(fd: i32) -> bool {
    let name = format!("/proc/self/fd/{fd}\0");
    let mut link = [0u8; LINK.len() + 1];
    let args = [raw::word(libc::AT_FDCWD), name.as_ptr() as usize, link.as_mut_ptr() as usize, link.len()];
    match raw::checked(raw::call(libc::SYS_readlinkat, args)) {
        Ok(got) => link.get(..got) == Some(LINK),
        // It is not open, or there is no /proc.
        Err(_) => collects(fd),
    }
}

/// Whether the host's epoll_wait(2) accepts a number. Nothing is collected: what is ready is put back when it cannot be stored.
fn collects(fd: i32) -> bool {
    let answer = raw::call(libc::SYS_epoll_wait, [raw::word(fd), 0, 1, 0]);
    answer == 0 || answer == -(libc::EFAULT as isize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kqueue_goes_with_the_last_number_of_its_set() {
        let set = Set::born(300).unwrap();
        assert_eq!(duplicated(300, 301), None);
        assert_eq!((Set::of(301), kqueue(301)), (Some(set), None));
        assert_eq!(set.set_kqueue(RumpFd(9)), Ok(()));
        assert_eq!(set.set_kqueue(RumpFd(10)), Err(RumpFd(9)));
        assert_eq!((kqueue(300), kqueue(301)), (Some(RumpFd(9)), Some(RumpFd(9))));
        assert_eq!(forget(300), None);
        assert_eq!((Set::of(300), fds::perhaps(300)), (None, false));
        assert_eq!(duplicated(1, 301), Some(Gone { set, kqueue: Some(RumpFd(9)) }));
        assert_eq!((Set::of(301), range(300, 301).count()), (None, 0));
    }

    #[test]
    fn a_set_is_known_by_its_link() {
        // SAFETY: a descriptor of this test's own.
        let fd = unsafe { libc::epoll_create1(0) };
        assert!(is_epoll(fd) && !is_epoll(0) && !is_epoll(-1));
        assert!(collects(fd) && !collects(0) && !collects(-1));
        raw::close(fd);
        assert!(!is_epoll(fd));
    }
}
