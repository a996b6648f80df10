//! Signals stay blocked while a call is under way, and what happens to those that come meanwhile.
//!
//! The locks of this library are taken only under [`Blocked`], so that no signal handler can find
//! one of them held by its own thread. A handler may itself make calls: it runs only when the mask is open.
//!
//! To block signals costs two system calls, far more than a call of a kernel in the same process. Where every handler begins with code of ours
//! ([`set_deferring`]), a guard may only say in a word of the thread that no handler is to run ([`Blocked::lightly`]): one that comes all the
//! same finds the word, blocks the signals then, and has its own sent once more ([`defer`]). From there on all is as if they had been blocked from
//! the beginning. Whoever is about to sleep, or looks at what is pending, blocks them in earnest ([`block_in_earnest`]).

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use sysproxy::host::signal::{self, Action, SA_RESTART, SIG_DFL, SIG_IGN};
use sysproxy::host::{self, Owned, SigSet};

use crate::fds::{Kept, life};

/// Raised by the program's own instructions: blocking them would end the process.
const SYNCHRONOUS: SigSet = SigSet::of(4)
    .union(SigSet::of(5))
    .union(SigSet::of(7))
    .union(SigSet::of(8))
    .union(SigSet::of(11))
    .union(SigSet::of(31));

/// What is blocked while a call is under way.
const BLOCKED: SigSet = SigSet::ALL.without(SYNCHRONOUS);

/// With what pthread_cancel(3) of glibc and musl wakes a thread. Its handler may end the thread where it stands.
pub const SIGCANCEL: i32 = 32;

/// What a thread has said about its signals. The first byte is looked at by the code that handlers begin with.
#[repr(C)]
struct Word {
    /// Whether no handler is to run, although the mask is open.
    light: u8,
    /// Whether this library has all signals blocked.
    blocked: u8,
    /// The program's own mask, while they are.
    outer: SigSet,
}

/// Whether guards may be light.
static DEFERRING: AtomicBool = AtomicBool::new(false);

// The thread's `Word`. Not a `thread_local!`, for which a function of the loader's would have to be called, and which assembly has no name for.
core::arch::global_asm!(
    ".pushsection .tbss, \"awT\", @nobits",
    ".p2align 3",
    ".globl rumphijack_signals",
    ".hidden rumphijack_signals",
    ".type rumphijack_signals, @object",
    ".size rumphijack_signals, {size}",
    "rumphijack_signals: .zero {size}",
    ".popsection",
    size = const size_of::<Word>(),
);

/// The thread's own. Read and written as what a handler, which may come between any two instructions, changes too.
fn word() -> *mut Word {
    let at: *mut Word;
    // SAFETY: the first word of a thread's block is its own address; the loader has put the variable's distance from there at the place that is read.
    unsafe {
        core::arch::asm!(
            "mov {at}, qword ptr fs:[0]", "add {at}, qword ptr [rip + rumphijack_signals@GOTTPOFF]",
            at = out(reg) at, options(pure, readonly, nostack)
        );
    }
    at
}

/// The program's own mask, while this library has all signals blocked.
struct Outer;

/// See [`Outer`].
const OUTER: Outer = Outer;

impl Outer {
    fn get(&self) -> Option<SigSet> {
        let word = word();
        // SAFETY: the thread's own.
        unsafe { (*word).blocked_now().then(|| (&raw const (*word).outer).read_volatile()) }
    }

    fn set(&self, mask: Option<SigSet>) {
        let word = word();
        // SAFETY: the thread's own.
        unsafe {
            (&raw mut (*word).outer).write_volatile(mask.unwrap_or_default());
            (&raw mut (*word).blocked).write_volatile(mask.is_some().into());
        }
    }

    fn replace(&self, mask: Option<SigSet>) -> Option<SigSet> {
        let before = self.get();
        self.set(mask);
        before
    }

    fn take(&self) -> Option<SigSet> {
        let before = self.get();
        if before.is_some() {
            self.set(None);
        }
        before
    }
}

impl Word {
    fn blocked_now(&self) -> bool {
        // SAFETY: a reference is good.
        unsafe { (&raw const self.blocked).read_volatile() != 0 }
    }
}

/// Whether no handler is to run although the mask is open, or was when the guard began.
fn is_light() -> bool {
    // SAFETY: the thread's own.
    unsafe { (&raw const (*word()).light).read_volatile() != 0 }
}

fn set_light(light: bool) {
    // SAFETY: the thread's own. The fences keep on its side what is done under the word.
    unsafe {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        (&raw mut (*word()).light).write_volatile(light.into());
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// Says whether every handler begins with code that looks at the thread's word, so that guards may be light.
pub fn set_deferring(deferring: bool) {
    DEFERRING.store(deferring, Ordering::Relaxed);
}

/// Whether guards may be light.
pub fn is_deferring() -> bool {
    DEFERRING.load(Ordering::Relaxed)
}

/// Whether a signal is blocked while a call is under way.
pub const fn is_blocked(number: i32) -> bool {
    BLOCKED.contains(number)
}

/// Blocks the signals of a thread whose guard is light, if it has one.
pub fn block_in_earnest() {
    if is_light() {
        let mask = signal::block(BLOCKED);
        // Else a handler was there before, and knows the program's mask.
        if OUTER.get().is_none() {
            OUTER.set(Some(mask));
        }
    }
}

/// For a handler that has come while a guard is light: blocks all signals, and has them stay blocked when the handler returns to where the mask was
/// `interrupted`. The guard gives that mask back at its end.
pub fn defer(interrupted: &mut SigSet) {
    signal::block(BLOCKED);
    // A second handler that the host has put above this one had the first one's mask: the last who comes knows the thread's.
    OUTER.set(Some(*interrupted));
    *interrupted = interrupted.union(BLOCKED);
}

thread_local! {
    /// Whether the call under way is a cancellation point: [`SIGCANCEL`] ends it, and stays blocked until [`end_point`].
    static POINT: Cell<bool> = const { Cell::new(false) };
    /// Whether handlers run in the middle of a cancellation point. Stays on if one of them leaves by longjmp.
    static HANDLING: Cell<bool> = const { Cell::new(false) };
    /// How many [`Held`] there are.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// Whether a call that begins now is inside another: of this library, or that a handler has interrupted.
pub fn is_inside() -> bool {
    let handling = HANDLING.get() && signal::mask().contains(SIGCANCEL);
    HANDLING.set(handling);
    handling || OUTER.get().is_some() || is_light()
}

/// Begins a call that is a cancellation point: blocks signals until [`end_point`], as [`Blocked`] does.
///
/// The thread may be ended by [`SIGCANCEL`] until this has returned, so no frame that comes here has a destructor.
#[inline(always)]
pub fn begin_point() {
    if is_deferring() {
        set_light(true);
    } else {
        let mask = signal::block(BLOCKED);
        OUTER.set(Some(mask));
    }
    POINT.set(true);
}

/// Ends what [`begin_point`] began. All signals that came meanwhile are delivered.
#[inline(always)]
pub fn end_point() {
    POINT.set(false);
    end();
}

/// Ends the outermost guard: whatever came meanwhile is delivered.
#[inline(always)]
fn end() {
    // First: from here on no handler blocks the signals for the guard's sake.
    set_light(false);
    if let Some(mask) = OUTER.take() {
        signal::set_mask(mask);
    }
}

/// Lets signals through for the time of `f`; inside a cancellation point all but [`SIGCANCEL`].
fn with_open_mask<T>(mask: SigSet, f: impl FnOnce() -> T) -> T {
    let (point, handling) = (POINT.replace(false), HANDLING.get());
    HANDLING.set(point || handling);
    set_light(false);
    signal::set_mask(if point { mask.union(SigSet::of(SIGCANCEL)) } else { mask });
    let value = f();
    signal::block(BLOCKED);
    HANDLING.set(handling);
    POINT.set(point);
    OUTER.set(Some(mask));
    value
}

/// Blocks all signals as long as it lives. Cheap when they are blocked already.
#[derive(Debug)]
pub struct Blocked {
    outermost: bool,
    /// The mask belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks all signals of the calling thread.
    pub fn enter() -> Self {
        block_in_earnest();
        let outermost = OUTER.get().is_none();
        if outermost {
            OUTER.set(Some(signal::block(BLOCKED)));
        }
        Self { outermost, not_send: PhantomData }
    }

    /// As [`Blocked::enter`], for what makes no call of the host that a signal could end: no more than a word is written if nothing comes.
    pub fn lightly() -> Self {
        if is_light() {
            return Self { outermost: false, not_send: PhantomData };
        }
        if !is_deferring() || OUTER.get().is_some() {
            return Self::enter();
        }
        set_light(true);
        Self { outermost: true, not_send: PhantomData }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if self.outermost {
            end();
        }
    }
}

/// As long as it lives, no handler runs in the calling thread, not even while it waits for an answer: the thread has locks that a handler's
/// calls may want. What it waits for then is answered at once, and ends by no signal.
#[derive(Debug)]
pub struct Held {
    _blocked: Blocked,
}

impl Held {
    /// Blocks all signals until it is dropped.
    pub fn enter() -> Self {
        let blocked = Blocked::enter();
        HELD.set(HELD.get() + 1);
        Self { _blocked: blocked }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(1));
    }
}

/// Whether the calling thread has locks.
pub fn is_held() -> bool {
    HELD.get() != 0
}

/// The program's own mask.
pub fn outer() -> SigSet {
    OUTER.get().unwrap_or_else(signal::mask)
}

/// Forgets that signals are blocked, for a thread whose memory was used by a child that ended in the middle of a call: the mask
/// that was noted is the child's, its own is as it was.
pub fn forget_blocked() {
    set_light(false);
    OUTER.set(None);
    POINT.set(false);
    HANDLING.set(false);
    HELD.set(0);
}

/// Opens the mask for an instant: handlers run, default actions happen, ignored signals are forgotten.
///
/// `false` if a handler has forked, and this is the child: nothing of what the parent's thread was about is its own.
#[must_use = "the child must leave alone what its parent's thread was about"]
pub fn open() -> bool {
    let before = life();
    block_in_earnest();
    if !is_held()
        && let Some(mask) = OUTER.take()
    {
        with_open_mask(mask, || {});
    }
    before == life()
}

/// Runs `f` with the program's own mask, and blocks all signals again.
pub fn unblocked<T>(f: impl FnOnce() -> T) -> T {
    block_in_earnest();
    let Some(mask) = OUTER.take() else { return f() };
    with_open_mask(mask, f)
}

/// Runs `f` as if the program's own mask were `mask` (ppoll(2), pselect(2)): signals outside it interrupt,
/// and [`open`] runs their handlers under it.
pub fn with_mask<T>(mask: SigSet, f: impl FnOnce() -> T) -> T {
    let _blocked = Blocked::enter();
    let before = OUTER.replace(Some(mask));
    let value = f();
    OUTER.set(before);
    value
}

/// The signals that wait for the mask to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Those with a handler: they interrupt a call. Also [`SIGCANCEL`], where it counts.
    pub caught: SigSet,
    /// Those that are ignored or have their default action: they do not.
    pub other: SigSet,
    /// Whether every handler was installed with SA_RESTART.
    pub restart: bool,
    /// Whether the thread is to end: the call is not done again.
    pub cancel: bool,
}

impl Pending {
    /// Whether nothing waits for the mask to open.
    pub const fn is_empty(&self) -> bool {
        self.caught.is_empty() && self.other.is_empty()
    }
}

/// Looks at the signals that wait for the mask to open; those that the program itself blocks are left out.
pub fn pending() -> Pending {
    block_in_earnest();
    let all = signal::pending();
    let cancel = POINT.get() && all.contains(SIGCANCEL);
    let caught = if cancel { SigSet::of(SIGCANCEL) } else { SigSet::EMPTY };
    let mut found = Pending { caught, other: SigSet::EMPTY, restart: true, cancel };
    for number in all.without(outer()).without(caught).iter() {
        match signal::action(number) {
            Action { handler: SIG_DFL | SIG_IGN, .. } => found.other = found.other.union(SigSet::of(number)),
            Action { flags, .. } => {
                found.caught = found.caught.union(SigSet::of(number));
                found.restart &= flags & SA_RESTART != 0;
            }
        }
    }
    found
}

/// Makes a descriptor that is readable while any signal is pending; see [`Watch`].
pub fn descriptor() -> host::Result<Owned> {
    signal::signalfd(BLOCKED)
}

/// The signals that a wait looks out for.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    shared: Option<&'a Kept>,
    own: Option<Kept>,
}

impl<'a> Watch<'a> {
    /// Looks out for any signal, through the shared descriptor.
    pub(crate) const fn new(shared: Option<&'a Kept>) -> Self {
        Self { shared, own: None }
    }

    /// What to poll.
    pub(crate) fn fd(&self) -> Option<&Kept> {
        self.own.as_ref().or(self.shared)
    }

    /// Looks out no more for signals that the program blocks itself, nor for `seen`.
    pub(crate) fn without(&mut self, seen: SigSet) {
        self.own = signal::signalfd(BLOCKED.without(outer()).without(seen)).and_then(Kept::new).ok();
        self.shared = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGWINCH: i32 = 28;

    #[test]
    fn an_ignored_signal_is_pending_while_blocked_and_gone_after_the_mask_was_open() {
        let _blocked = Blocked::enter();
        signal::raise(SIGWINCH).unwrap();
        assert!(pending().caught.is_empty() && pending().other.contains(SIGWINCH));
        assert!(open());
        assert!(pending().is_empty());
    }

    #[test]
    fn what_the_program_blocks_itself_is_left_out() {
        let _blocked = Blocked::enter();
        with_mask(SigSet::of(SIGWINCH), || {
            signal::raise(SIGWINCH).unwrap();
            assert!(pending().is_empty());
        });
        assert!(open());
    }

    #[test]
    fn guards_nest() {
        let before = signal::mask();
        {
            let _first = Blocked::enter();
            let _second = Blocked::enter();
            assert_eq!(outer(), before);
            assert!(signal::mask().contains(2) && !signal::mask().contains(11));
        }
        assert_eq!(signal::mask(), before);
    }
}
