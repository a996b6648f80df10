//! The program's handlers of signals: while a kernel is in this process, or shares memory with it, each begins with a few instructions
//! of ours.
//!
//! Those look at the thread's word ([`client::signals`]): if no handler is to run now, the signal is sent once more, to wait until the mask is open;
//! else the program's handler is jumped to, with the stack and the registers as the host has made them. Each handler has a beginning of its own, and the
//! host keeps which one is installed, as it keeps the flags and the mask: so nothing here changes when one is, and neither a child in this memory nor
//! another thread disturbs anybody. The program is shown its own function.
//!
//! Faults go to the program's handlers directly: they wait for nothing.

use std::arch::{global_asm, naked_asm};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::Result;
use client::signals;
use sysproxy::host::SigSet;
use sysproxy::host::signal::{self, Action, SIG_DFL, SIG_IGN};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::calls::{Outcome, outcome};
use crate::{raw, user};

/// Whether handlers are to begin with code of ours.
static ON: AtomicBool = AtomicBool::new(false);

/// Whether all handlers are installed through a door.
static SEEN: AtomicBool = AtomicBool::new(false);

/// How many handlers have a beginning of their own.
const OWN: usize = 1024;
/// When these are used up, each signal's has one.
const SHARED: usize = 2 * SIGNALS;
const SIGNALS: usize = 64;
/// Length of a beginning.
const ROOM: usize = 16;

/// The program's handler behind each beginning; 0 for none yet. Those at even places do not ask for SA_SIGINFO.
static HANDLERS: [AtomicUsize; OWN + SHARED] = [const { AtomicUsize::new(0) }; OWN + SHARED];

const SA_SIGINFO: u64 = libc::SA_SIGINFO as u64;
const SA_RESETHAND: u64 = 0x8000_0000;

/// The first of the signals of which each is kept, in their order. (The C library has the first two for itself.)
const REAL_TIME: i32 = 32;

global_asm!(
    ".pushsection .text.rumphijack_handlers, \"ax\", @progbits",
    ".p2align 4",
    ".globl rumphijack_handlers",
    ".hidden rumphijack_handlers",
    ".type rumphijack_handlers, @function",
    "rumphijack_handlers:",
    ".cfi_startproc",
    ".set rumphijack_place, 0",
    ".rept {all}",
    "mov ecx, offset rumphijack_place",
    "jmp {begin}",
    ".p2align 4",
    ".set rumphijack_place, rumphijack_place + 1",
    ".endr",
    ".cfi_endproc",
    ".size rumphijack_handlers, . - rumphijack_handlers",
    ".popsection",
    all = const OWN + SHARED, begin = sym begin_handler,
);

unsafe extern "C" {
    fn rumphijack_handlers();
}

/// What a handler begins with: rdi, rsi, rdx are the host's arguments, rcx says which one it is.
#[unsafe(naked)]
unsafe extern "C" fn begin_handler() {
    naked_asm!(
        "mov rax, qword ptr [rip + rumphijack_signals@GOTTPOFF]",
        "cmp byte ptr fs:[rax], 0",
        "jne {defer}",
        "lea rax, [rip + {handlers}]",
        "mov rcx, qword ptr [rax + 8 * rcx]",
        // As the host leaves it, for a handler without a prototype.
        "xor eax, eax",
        "jmp rcx",
        defer = sym defer, handlers = sym HANDLERS,
    )
}

/// Has the signal wait until the mask is open.
///
/// # Safety
/// The host has called a beginning with these.
unsafe extern "C" fn defer(number: i32, info: &libc::siginfo_t, context: &mut libc::ucontext_t, place: usize) {
    // SAFETY: the host's set of signals is the first word of libc's, which is as aligned.
    signals::defer(unsafe { &mut *(&raw mut context.uc_sigmask).cast::<SigSet>() });
    let mut action = signal::action(number);
    if action.handler == SIG_DFL && action.flags & SA_RESETHAND != 0 {
        // It has not been called yet.
        action.handler = beginning(place);
        set_action(number, &action);
    }
    if number >= REAL_TIME && signal::pending().contains(number) {
        send_before_others(number, info);
    } else {
        send(number, info);
    }
}

/// Sends a signal to this thread as it came.
fn send(number: i32, info: &libc::siginfo_t) {
    let [pid, thread] = [libc::SYS_getpid, libc::SYS_gettid].map(|nr| raw::call(nr, []) as usize);
    let info = core::ptr::from_ref(info) as usize;
    if raw::call(libc::SYS_rt_tgsigqueueinfo, [pid, thread, number as usize, info]) != 0 {
        // No more may be queued: this way one goes that says nothing of who sent it.
        raw::call(libc::SYS_kill, [pid, number as usize]);
    }
}

/// Sends a signal that has come before others of its number, which are to keep their order.
fn send_before_others(number: i32, info: &libc::siginfo_t) {
    // SAFETY: a structure of numbers.
    let mut mark: libc::siginfo_t = unsafe { core::mem::zeroed() };
    mark.si_signo = number;
    mark.si_code = libc::SI_QUEUE;
    // SAFETY: the structure of a queued signal has its value here.
    unsafe { (&raw mut mark).cast::<usize>().add(3).write(&raw const mark as usize) };
    send(number, &mark);
    // All that stand before the mark come to stand behind it; then the mark goes.
    let mut others = 0;
    while let Some(other) = next(number) {
        if is_same(&other, &mark) {
            break;
        }
        send(number, &other);
        others += 1;
    }
    send(number, info);
    (0..others).filter_map(|_| next(number)).for_each(|other| send(number, &other));
}

/// Takes the next of the signals that are pending under a number.
fn next(number: i32) -> Option<libc::siginfo_t> {
    let (set, now) = (SigSet::of(number), [0u64; 2]);
    // SAFETY: a structure of numbers.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let args = [&raw const set as usize, &raw mut info as usize, now.as_ptr() as usize, size_of::<SigSet>()];
    (raw::call(libc::SYS_rt_sigtimedwait, args) == number as isize).then_some(info)
}

/// Whether two signals carry the same value.
fn is_same(one: &libc::siginfo_t, other: &libc::siginfo_t) -> bool {
    // SAFETY: any three words of a siginfo can be read; the last of them is the value of a queued one.
    let value = |info: &libc::siginfo_t| unsafe { core::ptr::from_ref(info).cast::<usize>().add(3).read() };
    one.si_code == other.si_code && value(one) == value(other)
}

/// Whether handlers begin with code of ours.
#[inline(always)]
pub fn are_ours() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Says that all handlers are installed through a door from now on.
pub fn are_seen() {
    SEEN.store(true, Ordering::SeqCst);
}

/// Takes the handlers over, those that are there already and those that come, if all are installed through a door; from then on guards may be
/// light.
pub fn begin() {
    // A child that shares this memory has actions of its own.
    if !SEEN.load(Ordering::SeqCst) || client::guest::name() != 0 || ON.swap(true, Ordering::SeqCst) {
        return;
    }
    (1..=SIGNALS as i32).filter(|number| is_deferred(*number)).for_each(take_over);
    signals::set_deferring(true);
    if !SEEN.load(Ordering::SeqCst) {
        signals::set_deferring(false);
    }
}

/// Gives a signal's handler our beginning, while other threads may install others.
fn take_over(number: i32) {
    let mut there = signal::action(number);
    let mut new = ours(number, there);
    if new == there {
        return;
    }
    loop {
        let before = exchange_action(number, &new);
        if before == there {
            return;
        }
        // Another thread's has come between, and is to stay.
        there = new;
        new = ours(number, theirs(before));
    }
}

/// Has all guards block signals again, since handlers may be installed that nobody sees.
pub fn end() {
    SEEN.store(false, Ordering::SeqCst);
    signals::set_deferring(false);
}

/// Whether handlers of a signal are made to wait. Faults are not, nor what has no handler.
fn is_deferred(number: i32) -> bool {
    signals::is_blocked(number) && number != libc::SIGKILL && number != libc::SIGSTOP
}

/// struct sigaction, as the host has it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw([u64; 4]);

impl From<Raw> for Action {
    fn from(Raw([handler, flags, restorer, mask]): Raw) -> Self {
        Self { handler: handler as usize, flags, restorer: restorer as usize, mask }
    }
}

impl From<Action> for Raw {
    fn from(action: Action) -> Self {
        Self([action.handler as u64, action.flags, action.restorer as u64, action.mask])
    }
}

/// See sigaction(2).
pub fn rt_sigaction(number: i32, new: usize, old: usize, size: usize) -> Outcome {
    if !are_ours() || !is_deferred(number) || size != size_of::<SigSet>() || (new, old) == (0, 0) {
        return Outcome::Host;
    }
    outcome(change(number, new, old))
}

fn change(number: i32, new: usize, old: usize) -> Result<usize> {
    let new = user::read_if::<Raw>(new)?.map(|action| ours(number, action.into()));
    let mut before = Action::default();
    let new = new.as_ref().map_or(0, |action| core::ptr::from_ref(action) as usize);
    let args = [number as usize, new, &raw mut before as usize, size_of::<SigSet>()];
    raw::checked(raw::call(libc::SYS_rt_sigaction, args))?;
    if old != 0 {
        user::write(old, &Raw::from(theirs(before)))?;
    }
    Ok(0)
}

fn set_action(number: i32, action: &Action) {
    let args = [number as usize, core::ptr::from_ref(action) as usize, 0, size_of::<SigSet>()];
    raw::call(libc::SYS_rt_sigaction, args);
}

fn exchange_action(number: i32, action: &Action) -> Action {
    let mut before = Action::default();
    let args = [number as usize, core::ptr::from_ref(action) as usize, &raw mut before as usize, size_of::<SigSet>()];
    raw::call(libc::SYS_rt_sigaction, args);
    before
}

/// The action with our beginning. What a signal is about is asked for in any case, since it may have to be sent again.
fn ours(number: i32, action: Action) -> Action {
    match action.handler {
        SIG_DFL | SIG_IGN => action,
        handler => {
            let asks = action.flags & SA_SIGINFO != 0;
            Action { handler: beginning(place(number, handler, asks)), flags: action.flags | SA_SIGINFO, ..action }
        }
    }
}

/// The action as the program has made it.
fn theirs(action: Action) -> Action {
    let place = action.handler.wrapping_sub(beginning(0)) / ROOM;
    match HANDLERS.get(place).filter(|_| action.handler >= beginning(0)) {
        Some(handler) => {
            let flags = if place.is_multiple_of(2) { action.flags & !SA_SIGINFO } else { action.flags };
            Action { handler: handler.load(Ordering::Relaxed), flags, ..action }
        }
        None => action,
    }
}

/// Where the beginning at a place stands.
fn beginning(place: usize) -> usize {
    rumphijack_handlers as *const () as usize + place * ROOM
}

/// The place of a handler; it gets one if it has none.
fn place(number: i32, handler: usize, asks: bool) -> usize {
    for (place, there) in HANDLERS.iter().enumerate().take(OWN).skip(asks.into()).step_by(2) {
        match there.compare_exchange(0, handler, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return place,
            Err(other) if other == handler => return place,
            Err(_) => {}
        }
    }
    let place = OWN + 2 * (number.unsigned_abs() as usize - 1) + usize::from(asks);
    HANDLERS.get(place).into_iter().for_each(|there| there.store(handler, Ordering::Release));
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_shown_what_it_has_installed() {
        let action = |handler, flags| Action { handler, flags, restorer: 5, mask: 6 };
        for flags in [0, SA_SIGINFO, SA_RESETHAND] {
            let made = ours(10, action(0x4444, flags));
            assert!(made.flags & SA_SIGINFO != 0 && made.handler != 0x4444);
            let shown = theirs(made);
            assert_eq!((shown.handler, shown.flags, shown.restorer, shown.mask), (0x4444, flags, 5, 6));
            assert_eq!(ours(12, action(0x4444, flags)).handler, made.handler);
        }
        for handler in [SIG_DFL, SIG_IGN] {
            assert_eq!(ours(10, action(handler, 0)).handler, handler);
        }
        assert_eq!(theirs(action(7, 0)).handler, 7);
        // More than there are places.
        let made: Vec<_> = (0..OWN).map(|at| ours(40, action(0x10_0000 + at, 0))).collect();
        assert_eq!(made.last().map(|made| theirs(*made).handler), Some(0x10_0000 + OWN - 1));
        assert_eq!(made.first().map(|made| theirs(*made).handler), Some(0x10_0000));
    }
}
