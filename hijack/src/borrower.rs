//! A child that shares its parent's memory until it execs or ends: of vfork(2), posix_spawn(3), system, popen, clone(CLONE_VM | CLONE_VFORK).
//!
//! The parent's thread stands still meanwhile, its other threads do not. The child has descriptors of its own in the host, and so in
//! the rump kernel: with its first change, or its first call there, it claims a copy of the rump process, and what it does to
//! numbers goes to a [`Borrower`], never to the parent's table. When the parent goes on, all of it is undone.
//!
//! The child may be killed at any place. So what it makes lies in a heap of its own ([`alloc`]), which is given back whole, and the locks that it may
//! have had at its end are taken over by their name. What is shared and holds more than words it leaves alone.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

use abi::Result;
use client::signals::{self, Blocked};
use client::{Heir, Remote, guest};

use crate::calls::Outcome;
use crate::fds::{self, RumpFd};
use crate::later::Later;
use crate::process::{self, Rump};
use crate::rump::copies;
use crate::{alloc, cancel, first, pages, raw, roomy, sets, trace};

thread_local! {
    /// What the child is to find, in a function that has one.
    static SPAWNING: Cell<Option<&'static Plan>> = const { Cell::new(None) };
    /// End of the stack that the child's calls run on; 0 before its first.
    static STACK: Cell<usize> = const { Cell::new(0) };
    /// Whether a call of the child runs on that stack.
    static ROOMY: Cell<bool> = const { Cell::new(false) };
    /// What the child has made.
    static BORROWER: Cell<Option<&'static Borrower>> = const { Cell::new(None) };
}

/// What is kept for a child, of one moment: other threads of the parent go on opening and closing.
struct Plan {
    /// The name that no other such child has; see [`guest`].
    name: u32,
    /// The copy of the rump process, if there could be one.
    heir: Option<Heir>,
    /// The server, if the parent has not connected to it.
    later: Option<&'static Later>,
    table: Vec<(i32, RumpFd)>,
}

/// The view of the child.
pub struct Borrower {
    /// Its own rump process; none in a kernel of the parent's, which it must leave alone.
    remote: Option<Remote>,
    cwd_in_rump: AtomicBool,
    /// The rump descriptor behind each number, plus one; 0 for a host descriptor.
    table: Box<[AtomicI32]>,
    /// All rump numbers are below it.
    end: AtomicUsize,
    /// Its epoll sets.
    sets: sets::Own,
}

impl Borrower {
    /// Its own rump process.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Its epoll sets, where they are not the parent's.
    pub fn sets(&self) -> &sets::Own {
        &self.sets
    }

    /// Whether relative paths go to the rump kernel.
    pub fn cwd_in_rump(&self) -> &AtomicBool {
        &self.cwd_in_rump
    }

    /// The rump descriptor behind a number.
    pub fn lookup(&self, fd: i32) -> Option<RumpFd> {
        let word = self.table.get(usize::try_from(fd).ok()?)?.load(Ordering::Relaxed);
        (word != 0).then_some(RumpFd(word - 1))
    }

    /// Says what a number is now, and returns what it was.
    pub fn set(&self, fd: i32, rump: Option<RumpFd>) -> Option<RumpFd> {
        let word = self.table.get(usize::try_from(fd).ok()?)?;
        if rump.is_some() {
            fds::mark(fd);
            self.end.fetch_max(fd as usize + 1, Ordering::Relaxed);
        }
        let before = word.swap(rump.map_or(0, |rump| rump.0 + 1), Ordering::Relaxed);
        if before != 0 {
            fds::unmark(fd);
        }
        (before != 0).then(|| RumpFd(before - 1))
    }

    /// The rump numbers from `first` to `last`.
    pub fn range(&self, first: u32, last: u32) -> Vec<(i32, RumpFd)> {
        let end = self.end.load(Ordering::Relaxed).min((last as usize).saturating_add(1));
        (first as usize..end).filter_map(|fd| Some((fd as i32, self.lookup(fd as i32)?))).collect()
    }
}

/// Whether this is such a child.
pub fn shares_memory() -> bool {
    SPAWNING.get().is_some() && raw::getpid() != process::pid()
}

/// Runs a call, on a larger stack where it is made by a child, or a handler, that has only a small one.
///
/// A call inside of one, by a function of libc that it uses or in a signal handler, stays where it is: the stack is in use.
pub fn with_room(call: impl FnOnce() -> Outcome) -> Outcome {
    if !shares_memory() {
        return roomy::with_room(call).unwrap_or(Outcome::Done(-(libc::ENOMEM as isize)));
    }
    if ROOMY.get() {
        return call();
    }
    if STACK.get() == 0 {
        let rw = raw::word(libc::PROT_READ | libc::PROT_WRITE);
        let private = raw::word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let map = raw::call(libc::SYS_mmap, [0, roomy::STACK_BYTES, rw, private, usize::MAX, 0]);
        match raw::checked(map) {
            Ok(start) => STACK.set(start + roomy::STACK_BYTES),
            Err(_) => return call(),
        }
    }
    ROOMY.set(true);
    // SAFETY: the mapping is the child's alone, which has one thread, and nothing else runs on it as long as ROOMY says so.
    let outcome = unsafe { roomy::on_stack(STACK.get(), call) }.unwrap_or(Outcome::Host);
    ROOMY.set(false);
    outcome
}

/// The view of such a child that has changed something.
pub fn current() -> Option<&'static Borrower> {
    if shares_memory() { BORROWER.get() } else { None }
}

/// As [`current`], for a change: the child gets a rump process of its own.
pub fn for_change() -> Option<&'static Borrower> {
    shares_memory().then(get_or_make)
}

/// As [`for_change`], in such a child.
pub fn get_or_make() -> &'static Borrower {
    if let Some(child) = BORROWER.get() {
        return child;
    }
    // A handler that comes here too would claim the same copy.
    let _blocked = Blocked::enter();
    let plan = SPAWNING.get();
    let child: &Borrower = Box::leak(Box::new(Borrower {
        remote: plan.and_then(claim),
        cwd_in_rump: AtomicBool::new(process::cwd_in_rump()),
        // SAFETY: a word of zeros is an atomic one. Pages of it that nobody touches are no memory.
        table: unsafe { Box::new_zeroed_slice(fds::NUMBERS).assume_init() },
        end: AtomicUsize::new(0),
        sets: sets::Own::inherited(),
    }));
    // Numbers that changed hands after the plan was made are not the child's.
    let kept = plan.iter().flat_map(|plan| &plan.table).filter(|(fd, _)| fds::is_placeholder(*fd));
    kept.for_each(|(fd, rump)| {
        child.set(*fd, Some(*rump));
    });
    BORROWER.set(Some(child));
    child
}

/// Where such a child is to connect that has not needed it yet.
pub fn later() -> Option<&'static Later> {
    if BORROWER.get().is_some() { None } else { SPAWNING.get()?.later }
}

/// Claims the copy of the rump process, or connects where there was none.
fn claim(plan: &Plan) -> Option<Remote> {
    if let Some(later) = plan.later {
        return later.connect_guest().ok();
    }
    let Some(Rump::Remote(parent)) = process::rump() else {
        trace::say(format_args!("spawn: the kernel is in the parent's process: the child has none"));
        return None;
    };
    let claimed = plan.heir.and_then(|heir| parent.guest_child(heir).ok());
    if claimed.is_none() {
        trace::say(format_args!("spawn: the child has no rump process: its copy cannot be claimed"));
    }
    claimed
}

/// Gets ready for a child in this memory that the calling thread will make. `false` if it has one already.
pub fn begin() -> Result<bool> {
    if !process::ready() || SPAWNING.get().is_some() {
        return Ok(false);
    }
    let _blocked = Blocked::enter();
    // What the new image maps of the same files, and what it reads.
    copies::flush_all();
    let lock = fds::lock();
    // Looked at under the lock: whoever connects meanwhile has no descriptors in the table yet.
    let (heir, later) = match process::rump() {
        Some(Rump::Remote(remote)) => (Some(remote.prefork(false)?), None),
        Some(Rump::Later(later)) => (None, Some(later)),
        _ => (None, None),
    };
    let table = fds::entries(0, u32::MAX);
    drop(lock);
    plan(heir, later, table);
    Ok(true)
}

fn plan(heir: Option<Heir>, later: Option<&'static Later>, table: Vec<(i32, RumpFd)>) {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    first::attend();
    let name = NAMES.fetch_add(1, Ordering::Relaxed) % (guest::NAMES - 1) + 1;
    guest::expect(name);
    SPAWNING.set(Some(Box::leak(Box::new(Plan { name, heir, later, table }))));
}

/// Forgets what the child did: it has its own memory now, or has ended.
pub fn end() {
    let Some(plan) = SPAWNING.take() else { return };
    first::relax();
    // A child that was killed in the middle of a call has left the note that signals are blocked.
    signals::forget_blocked();
    let _blocked = Blocked::enter();
    // An exec, or an end, in the middle of a call.
    ROOMY.set(false);
    if let top @ 1.. = STACK.replace(0) {
        raw::call(libc::SYS_munmap, [top - roomy::STACK_BYTES, roomy::STACK_BYTES]);
        pages::forget();
    }
    guest::gone();
    fds::inherit(plan.name);
    client::fds::forget_guest(plan.name);
    // SAFETY: `plan` leaked it, and nobody has it any more: the child is gone.
    let plan = unsafe { Box::from_raw(core::ptr::from_ref(plan).cast_mut()) };
    match (BORROWER.take(), process::rump(), plan.heir) {
        // Its table is never in the middle of something; its connection may be, and ended with its descriptors.
        (Some(child), _, heir) => {
            heir.map(Heir::let_go);
            child.range(0, u32::MAX).iter().for_each(|(fd, _)| fds::unmark(*fd));
            child.sets.marked().for_each(fds::unmark);
        }
        (None, Some(Rump::Remote(remote)), Some(heir)) => remote.release(heir),
        _ => {}
    }
    // SAFETY: all that was made there was the child's, and `BORROWER` was the last that led there.
    unsafe { alloc::end_guest() };
}

/// In the child of a fork: whatever its parent's thread was about, it is not.
pub fn forget() {
    guest::gone();
    SPAWNING.set(None);
    BORROWER.set(None);
    STACK.set(0);
    ROOMY.set(false);
}

/// Runs a function that has a child in this memory, and comes back when that has its own or has ended.
pub fn spawn<R>(real: impl FnOnce() -> R) -> R {
    say_unseen();
    let begun = prepare();
    let answer = real();
    if begun {
        end();
    }
    answer
}

/// The same of a function that goes on to wait for the child, in which the thread may be cancelled.
///
/// The frame has no destructor, nor may those above it.
#[inline(always)]
pub fn spawn_and_wait<R>(real: impl FnOnce() -> R) -> R {
    extern "C" fn cancelled(_: usize) {
        end();
    }
    say_unseen();
    if !prepare() {
        return real();
    }
    let answer = cancel::with_cleanup(cancelled, 0, real);
    end();
    answer
}

/// Says what a child loses whose dup2 and exec inside libc pass by: its placeholders are no descriptors.
fn say_unseen() {
    if !first::all_inside() && fds::any() {
        trace::say(format_args!(
            "spawn: the new program gets no rump descriptors, since what libc does inside is not seen"
        ));
    }
}

/// Gets ready for a child; whether that is to be undone.
fn prepare() -> bool {
    let begun = begin();
    if begun.is_err() {
        // The child has no rump process, which is said when it wants one.
        let _blocked = Blocked::enter();
        plan(None, None, fds::entries(0, u32::MAX));
    }
    begun != Ok(false)
}
