//! The library's own host descriptors: high numbers, out of the program's way, known by number, and movable.
//!
//! A number may change while threads use it: the program wants it for something else, or has so many descriptors of its own that it comes
//! near. Whoever moves one makes a duplicate, publishes its number, wakes all who sleep on the old one, waits until nobody has it any more
//! ([`using`]), and only then closes it: no thread ever uses a number that means something else by now.
//!
//! The list of numbers is read without locks, because the child of a fork reads it while other threads of the parent may have been
//! anywhere; it changes under one.
//!
//! A child that shares this memory ([`guest`]) has a table of descriptors of its own: at first that has all of the parent's numbers. What it
//! makes, and what it gives up to its program, stands in the list under its name.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix_futex_sync::OnceLock;
use sysproxy::host::{self, Error, HostFd, Owned, POLLIN, PollFd, Result};

use crate::guest;
use crate::lock::{self, Lock, LockGuard};
use crate::signals::Blocked;

/// The first numbers are a little below this: out of sight of most programs, and low enough for the host's descriptor table, which
/// is copied at each fork, to stay small.
const CEILING: i32 = 1024;

/// Room left below [`CEILING`], or below the limit of descriptors where that is lower.
const ROOM: i32 = 64;

/// No number is chosen beyond this: a program with more descriptors meets ours.
const HIGHEST: i32 = 1 << 16;

/// How many descriptors the library can have at a time.
const SLOTS: usize = 4096;

/// No descriptor: the slot is free.
const FREE: i32 = -1;

/// No descriptor: it was let go, and the slot is still somebody's.
const GONE: i32 = -2;

/// Goes with its process: the child of a fork closes it.
const PROCESS: u32 = 0;
/// Belongs to nobody any more, and is about to be closed.
const RETIRED: u32 = u32::MAX;
/// The child of a fork goes on with it.
const LASTING: u32 = u32::MAX - 1;
/// Beside the name of a [`guest`]: its program has put something else under this number of its parent's. As many times as a kind of
/// [`Lasting`] says: the guest's own in the place of its parent's.
const ROLE: u32 = guest::NAMES;
const TAKEN: u32 = 4 * ROLE;

/// Whose a slot is that a guest owns; 0 for the others.
const fn guest_of(owner: u32) -> u32 {
    if matches!(owner, RETIRED | LASTING) { 0 } else { owner % ROLE }
}

struct Slot {
    number: AtomicI32,
    /// [`PROCESS`], [`RETIRED`], [`LASTING`], or the name of the [`guest`] whose it is, and what it is to that.
    owner: AtomicU32,
}

/// The descriptors; the first are those of [`Lasting`] and the whistle.
static SLOT: [Slot; SLOTS] = [const { Slot { number: AtomicI32::new(FREE), owner: AtomicU32::new(PROCESS) } }; SLOTS];

/// All slots that were ever used are below it.
static END: AtomicUsize = AtomicUsize::new(RESERVED);

/// An eventfd that wakes all who sleep on the library's numbers.
const WHISTLE: usize = 0;

/// Where the other slots begin.
const RESERVED: usize = 4;

/// Descriptors of which there is one at most, and which the child of a fork goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// What placeholders are duplicates of.
    Template = 1,
    /// The trace's file.
    Trace = 2,
    /// The summary's.
    Summary = 3,
}

/// From where numbers are chosen; it grows with the program's own.
static BASE: AtomicI32 = AtomicI32::new(CEILING - ROOM);

/// Held while the list changes.
static CHANGING: Lock<()> = Lock::new(());

/// Told of every number that becomes the library's (`true`) or ceases to be.
static TELL: OnceLock<fn(i32, bool)> = OnceLock::new();

/// Counts the times that numbers have moved.
static ERA: AtomicUsize = AtomicUsize::new(0);

/// Threads that use numbers, by the era in which they began, modulo 2.
static USERS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Execs under way, whose new image has been told numbers.
static PINS: AtomicU32 = AtomicU32::new(0);

/// Counts the forks that this process is a child of.
static LIFE: AtomicU32 = AtomicU32::new(0);

/// Another number after each fork, in the child: what was the parent's is told from what is the child's.
pub fn life() -> u32 {
    LIFE.load(Ordering::Relaxed)
}

/// Asks to be told of every number that becomes the library's (`true`) or ceases to be, those included that are so already.
pub fn tell(told: fn(i32, bool)) {
    let _changing = changing();
    if TELL.set(told).is_ok() {
        slots().map(|slot| slot.number.load(Ordering::Acquire)).filter(|fd| *fd >= 0).for_each(|fd| told(fd, true));
    }
}

fn told(fd: i32, ours: bool) {
    TELL.get().into_iter().for_each(|tell| tell(fd, ours));
}

/// Forgets what a child had that shared this memory, and is gone.
pub fn forget_guest(guest: u32) {
    lock::inherit(&CHANGING, guest);
    let _changing = changing();
    slots().filter(|slot| guest_of(slot.owner.load(Ordering::Relaxed)) == guest).for_each(|slot| {
        vacate(slot, FREE);
    });
}

/// The lock of the list, and signals blocked: a handler may close or open anything.
fn changing() -> (LockGuard<'static, ()>, Blocked) {
    let blocked = Blocked::enter();
    (CHANGING.lock(), blocked)
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    SLOT.iter().take(END.load(Ordering::Acquire))
}

/// Gives a slot another number, or none, and returns what it had. The caller has the lock.
fn vacate(slot: &Slot, number: i32) -> i32 {
    let before = slot.number.swap(number, Ordering::AcqRel);
    if before >= 0 {
        told(before, false);
    }
    before
}

/// Puts a number into a free slot. The caller has the lock.
fn occupy(fd: i32, owner: u32) -> Option<usize> {
    if let guest @ 1.. = guest_of(owner) {
        // The number is the library's again.
        let taken = |slot: &&Slot| slot.owner.load(Ordering::Relaxed) == guest | TAKEN;
        slots().filter(taken).filter(|slot| slot.number.load(Ordering::Acquire) == fd).for_each(|slot| {
            vacate(slot, FREE);
        });
    }
    let at = SLOT.iter().skip(RESERVED).position(|slot| slot.number.load(Ordering::Relaxed) == FREE)? + RESERVED;
    fill(at, fd, owner);
    Some(at)
}

fn fill(at: usize, fd: i32, owner: u32) {
    let Some(slot) = SLOT.get(at) else { return };
    told(fd, true);
    slot.owner.store(owner, Ordering::Relaxed);
    slot.number.store(fd, Ordering::Release);
    END.fetch_max(at + 1, Ordering::AcqRel);
}

/// A descriptor on a high number that the library knows as its own, closed when it is dropped.
///
/// In the child of a fork, what was its parent's has no number, and dropping it does nothing.
#[derive(Debug)]
pub struct Kept {
    slot: usize,
    /// The [`life`] that it is of.
    life: u32,
}

impl Kept {
    /// Moves a descriptor up and keeps it.
    pub fn new(fd: Owned) -> Result<Self> {
        Self::duplicate(fd.fd())
    }

    /// Keeps a duplicate on a high number.
    ///
    /// `EMFILE` if there are too many.
    pub fn duplicate(fd: HostFd) -> Result<Self> {
        let _changing = changing();
        let high = raise(fd)?;
        let slot = occupy(high.fd().0, guest::name()).ok_or(Error::MFILE)?;
        let _ = high.into_fd();
        Ok(Self { slot, life: life() })
    }

    fn slot(&self) -> Option<&'static Slot> {
        SLOT.get(self.slot).filter(|_| self.life == life())
    }

    /// Where the number stands.
    pub fn place(&self) -> &'static AtomicI32 {
        static NOWHERE: AtomicI32 = AtomicI32::new(GONE);
        self.slot().map_or(&NOWHERE, |slot| &slot.number)
    }

    /// The number, which others may change unless the caller is [`using`] it.
    pub fn fd(&self) -> HostFd {
        HostFd(self.place().load(Ordering::Acquire))
    }

    /// Does something with the number that does not wait.
    pub fn with<T>(&self, does: impl FnOnce(HostFd) -> T) -> T {
        let _using = using();
        does(self.fd())
    }

    /// Gives it a name, by which [`Self::from_name`] makes it again.
    pub fn into_name(self) -> i32 {
        let name = self.slot as i32;
        core::mem::forget(self);
        name
    }

    /// Makes a close-on-exec duplicate, on a high number, of what [`Self::into_name`] has named. The library does not know of it.
    pub fn duplicate_of(name: i32) -> Result<Owned> {
        let kept = core::mem::ManuallyDrop::new(Self::from_name(name));
        kept.with(raise)
    }

    /// Takes up what [`Self::into_name`] has named; once.
    pub fn from_name(name: i32) -> Self {
        Self { slot: usize::try_from(name).unwrap_or(SLOTS), life: life() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            let _changing = changing();
            let _ = host::close(HostFd(slot.number.load(Ordering::Acquire)));
            vacate(slot, FREE);
        }
    }
}

/// Moves a descriptor up and keeps it as the one of its kind, in place of the one before.
pub fn keep(kind: Lasting, fd: Owned) -> Result<()> {
    let _changing = changing();
    let high = raise(fd.fd())?.into_fd();
    put(kind, high);
    Ok(())
}

/// Takes over a descriptor that has a high number already.
pub fn adopt(kind: Lasting, fd: HostFd) {
    let _changing = changing();
    put(kind, fd);
}

fn put(kind: Lasting, fd: HostFd) {
    if let Some(slot) = SLOT.get(kind as usize) {
        let before = vacate(slot, GONE);
        fill(kind as usize, fd.0, LASTING);
        let _ = host::close(HostFd(before));
    }
}

/// The descriptor of a kind, none below 0; others may change it unless the caller is [`using`] it.
pub fn number(kind: Lasting) -> HostFd {
    let guest = guest::name();
    if guest != 0
        && let Some(own) = numbers_of(guest | (kind as u32 * ROLE)).next()
    {
        return HostFd(own);
    }
    HostFd(SLOT.get(kind as usize).map_or(GONE, |slot| slot.number.load(Ordering::Acquire)))
}

/// Does something with the descriptor of a kind that does not wait.
pub fn with<T>(kind: Lasting, does: impl FnOnce(HostFd) -> T) -> T {
    let _using = using();
    does(number(kind))
}

/// Makes a close-on-exec duplicate on a high number, which the library does not know of: it may be closed under its feet.
pub fn raise(fd: HostFd) -> Result<Owned> {
    let mut base = BASE.load(Ordering::Relaxed).min(top());
    loop {
        match host::dup_from(fd, base) {
            Err(Error::MFILE | Error::INVAL) if base > 3 => base = (base / 2).max(3),
            done => return done,
        }
    }
}

/// The highest base under the limit of descriptors.
fn top() -> i32 {
    top_under(host::descriptor_limit())
}

/// The highest base under a limit: a small one leaves a quarter.
fn top_under(limit: u64) -> i32 {
    let limit = i32::try_from(limit).unwrap_or(HIGHEST).min(HIGHEST);
    (limit - ROOM.min(limit / 4)).max(3)
}

/// The numbers of an owner.
fn numbers_of(owner: u32) -> impl Iterator<Item = i32> {
    let of = move |slot: &&Slot| slot.owner.load(Ordering::Relaxed) == owner;
    slots().filter(of).map(|slot| slot.number.load(Ordering::Acquire)).filter(|fd| *fd >= 0)
}

/// Whether the library has a number in the table of descriptors of the caller, which is the child `guest` or, for 0, the process.
fn is_in_table(slot: &Slot, guest: u32) -> bool {
    let owner = slot.owner.load(Ordering::Relaxed);
    guest_of(owner) == 0 || owner == guest || guest_of(owner) == guest && owner < TAKEN
}

/// Whether a number is the library's own. One that is being moved is so until it is closed.
pub fn owns(fd: HostFd) -> bool {
    let guest = guest::name();
    let here = |slot: &Slot| slot.number.load(Ordering::Acquire) == fd.0 && is_in_table(slot, guest);
    let is = || fd.0 >= 0 && slots().any(here);
    if !is() {
        return false;
    }
    if guest != 0 {
        return numbers_of(guest | TAKEN).all(|taken| taken != fd.0);
    }
    let _changing = changing();
    is()
}

/// The library's own numbers.
pub fn all() -> impl Iterator<Item = HostFd> {
    let guest = guest::name();
    let mine = slots().filter(move |slot| is_in_table(slot, guest)).map(|slot| slot.number.load(Ordering::Acquire));
    let taken = move |fd: i32| guest != 0 && numbers_of(guest | TAKEN).any(|taken| taken == fd);
    mine.filter(move |fd| *fd >= 0 && !taken(*fd)).map(HostFd)
}

/// Forgets what goes with the process, and is somebody else's.
pub fn forget_all() {
    part(|_| {});
}

/// Closes what goes with the process and forgets it: the child of a fork does so with what it inherited. Whoever had it in the parent must not
/// be dropped in the child.
pub fn close_all() {
    part(|fd| {
        let _ = host::close(fd);
    });
}

/// What belongs to a child that shared the parent's memory was never in this process.
fn part(with: impl Fn(HostFd)) {
    LIFE.fetch_add(1, Ordering::Relaxed);
    for slot in slots() {
        match slot.owner.swap(PROCESS, Ordering::Relaxed) {
            LASTING => slot.owner.store(LASTING, Ordering::Relaxed),
            PROCESS | RETIRED => with(HostFd(vacate(slot, FREE))),
            _ => {
                vacate(slot, FREE);
            }
        }
    }
}

/// Takes the lock before a fork: the child gets a list that is whole.
pub fn before_fork() {
    core::mem::forget(CHANGING.lock());
}

/// Gives it back, in the parent and in the child.
///
/// # Safety
/// [`before_fork`] was called by this thread (or, in a child, by its copy).
pub unsafe fn after_fork() {
    // SAFETY: the caller says that the lock is held.
    unsafe { CHANGING.force_unlock() };
}

/// In the child of a fork: there are no other threads, and none of its numbers is in use.
pub fn after_fork_in_child() {
    USERS.iter().chain([&PINS]).for_each(|users| users.store(0, Ordering::SeqCst));
}

/// As long as it lives, numbers that are read mean the same.
#[derive(Debug)]
pub struct Using {
    era: Option<usize>,
    /// It counts a thread.
    not_send: PhantomData<*const ()>,
}

/// Says that the calling thread, which has signals blocked, reads and uses numbers. What it does meanwhile does not wait, except in [`sleep`].
pub fn using() -> Using {
    let era = (guest::name() == 0).then(|| {
        loop {
            let era = ERA.load(Ordering::SeqCst) % 2;
            users(era).fetch_add(1, Ordering::SeqCst);
            if ERA.load(Ordering::SeqCst) % 2 == era {
                return era;
            }
            leave(era);
        }
    });
    Using { era, not_send: PhantomData }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.era.into_iter().for_each(leave);
    }
}

fn users(era: usize) -> &'static AtomicU32 {
    let [even, odd] = &USERS;
    if era == 0 { even } else { odd }
}

fn leave(era: usize) {
    if users(era).fetch_sub(1, Ordering::SeqCst) == 1 && ERA.load(Ordering::SeqCst) % 2 != era {
        host::futex_wake(users(era));
    }
}

/// Makes what wakes sleepers, once in a process; anew in the child of a fork, if `anew`.
pub fn prepare(anew: bool) -> Result<()> {
    if guest::name() != 0 || !anew && whistle().0 >= 0 {
        return Ok(());
    }
    let low = host::eventfd()?;
    let _changing = changing();
    if anew || whistle().0 < 0 {
        let high = raise(low.fd())?.into_fd();
        let before = SLOT.get(WHISTLE).map_or(GONE, |slot| vacate(slot, GONE));
        fill(WHISTLE, high.0, PROCESS);
        let _ = host::close(HostFd(before));
    }
    Ok(())
}

fn whistle() -> HostFd {
    HostFd(SLOT.get(WHISTLE).map_or(GONE, |slot| slot.number.load(Ordering::Acquire)))
}

/// Waits in ppoll(2) for `fds`, to which `number` gives the library's own numbers as they are now. It may end early, with none of them ready, since
/// numbers have moved; the answer is 0 for a time limit only. The caller has signals blocked, and has called [`prepare`].
pub fn sleep(fds: &mut Vec<PollFd>, number: impl FnOnce(&mut [PollFd]), timeout: Option<Duration>) -> Result<usize> {
    let _using = using();
    number(fds);
    fds.push(PollFd::new(if guest::name() == 0 { whistle() } else { HostFd(GONE) }, POLLIN));
    let ready = host::ppoll(fds, timeout, None);
    fds.pop();
    ready
}

/// Gives a number to the program, which wants it for something else: its descriptor goes on under another.
pub fn move_away(fd: HostFd) -> Result<()> {
    let _changing = changing();
    match guest::name() {
        0 => relocate(|number| number == fd.0, raise),
        guest => part_with(fd, guest),
    }
}

/// The same in a child that shares this memory: its parent's descriptors stay where they are.
fn part_with(fd: HostFd, guest: u32) -> Result<()> {
    let has = |slot: &Slot| slot.number.load(Ordering::Acquire) == fd.0;
    let owner = |slot: &Slot| slot.owner.load(Ordering::Relaxed);
    let own = slots().find(|slot| has(slot) && guest_of(owner(slot)) == guest && owner(slot) < TAKEN);
    let parents = slots().enumerate().find(|(_, slot)| has(slot) && guest_of(owner(slot)) == 0);
    if let Some(slot) = own {
        let new = raise(fd)?.into_fd().0;
        told(new, true);
        vacate(slot, new);
    }
    if let Some((kind, slot)) = parents {
        let stand_in = guest | (kind as u32 * ROLE);
        if owner(slot) == LASTING && numbers_of(stand_in).next().is_none() {
            let new = raise(fd)?;
            occupy(new.fd().0, stand_in).ok_or(Error::MFILE)?;
            let _ = new.into_fd();
        }
        occupy(fd.0, guest | TAKEN).ok_or(Error::MFILE)?;
    }
    host::close(fd)
}

/// Moves everything out of the way of a program that has come to the number `seen`, as far as its limit allows.
pub fn make_way(seen: i32) {
    let _changing = changing();
    let (top, before) = (top(), BASE.load(Ordering::Relaxed));
    let mut base = before;
    while base / 2 <= seen && base < top {
        base = base.saturating_mul(2).min(top);
    }
    // What an exec has told its new image stays as it is.
    if base > before && PINS.load(Ordering::SeqCst) == 0 {
        BASE.store(base, Ordering::Relaxed);
        let _ = relocate(|number| number < base, |fd| host::dup_from(fd, base));
    }
}

/// The numbers of the program at which [`make_way`] is due: a long way before the library's own, but where the limit leaves no higher place a
/// short one, in case that the limit is raised until then. None where it cannot be.
pub fn next_step() -> Range<i32> {
    let base = BASE.load(Ordering::Relaxed);
    let from = match () {
        () if base < top() => base / 2,
        () if base < top_under(host::hard_descriptor_limit()) => (base - ROOM).max(base / 2),
        () => base,
    };
    from..base
}

/// Moves what is `wanted` to the number of the duplicate that `duplicate` makes. The caller has the lock.
fn relocate(wanted: impl Fn(i32) -> bool, duplicate: impl Fn(HostFd) -> Result<Owned>) -> Result<()> {
    let mut moved = false;
    for slot in slots() {
        let (fd, owner) = (slot.number.load(Ordering::Acquire), slot.owner.load(Ordering::Relaxed));
        if fd < 0 || !matches!(owner, PROCESS | LASTING) || !wanted(fd) {
            continue;
        }
        let new = duplicate(HostFd(fd))?;
        if occupy(fd, RETIRED).is_none() {
            return Err(Error::MFILE);
        }
        told(new.fd().0, true);
        vacate(slot, new.into_fd().0);
        moved = true;
    }
    if moved {
        settle();
        for slot in slots().filter(|slot| slot.owner.load(Ordering::Relaxed) == RETIRED) {
            let _ = host::close(HostFd(slot.number.load(Ordering::Acquire)));
            slot.owner.store(PROCESS, Ordering::Relaxed);
            vacate(slot, FREE);
        }
    }
    Ok(())
}

/// Waits until all threads use the numbers as they are now.
fn settle() {
    let era = ERA.fetch_add(1, Ordering::SeqCst) % 2;
    if users(era).load(Ordering::SeqCst) == 0 {
        return;
    }
    host::signal_eventfd(whistle());
    loop {
        match users(era).load(Ordering::SeqCst) {
            0 => break,
            some => host::futex_wait(users(era), some),
        }
    }
    host::clear_eventfd(whistle());
}

/// Says that an exec tells its new image numbers: only what must be moved is moved until it drops.
///
/// Those of a child that shares this memory nobody else moves, and it does not come back from a successful exec.
#[derive(Debug)]
pub struct Pinned {
    counts: bool,
}

/// See [`Pinned`].
pub fn pin() -> Pinned {
    let counts = guest::name() == 0;
    if counts {
        let _changing = changing();
        PINS.fetch_add(1, Ordering::SeqCst);
    }
    Pinned { counts }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.counts {
            PINS.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_descriptor_is_high_known_and_can_move() {
        let kept = Kept::new(host::eventfd().unwrap()).unwrap();
        let first = kept.fd();
        assert!(first.0 > 2 && owns(first));
        move_away(first).unwrap();
        let second = kept.fd();
        assert!(second != first && owns(second) && !owns(first));
        drop(kept);
        assert!(!owns(second));
    }

    #[test]
    fn a_number_moves_under_the_feet_of_those_who_sleep_on_it() {
        prepare(false).unwrap();
        let bell = Kept::new(host::eventfd().unwrap()).unwrap();
        let rounds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _blocked = Blocked::enter();
                let mut fds = vec![PollFd::new(HostFd(-1), POLLIN)];
                let number = |fds: &mut [PollFd]| fds[0].fd = bell.fd().0;
                while fds[0].revents == 0 {
                    rounds.fetch_add(1, Ordering::SeqCst);
                    sleep(&mut fds, number, None).unwrap();
                }
                assert_eq!(fds[0].revents, POLLIN);
            });
            for _ in 0..200 {
                let old = bell.fd();
                move_away(old).unwrap();
                // The number is something else now, which is never ready: a sleeper on it would sleep for ever.
                let other = host::eventfd().unwrap();
                drop(host::dup_from(other.fd(), old.0).unwrap());
            }
            bell.with(host::signal_eventfd);
        });
        assert!(rounds.load(Ordering::SeqCst) > 0);
    }
}
