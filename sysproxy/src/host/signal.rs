//! The host's signals: masks, what is pending, dispositions, signalfd.

use super::raw::{self, syscall3, syscall6};
use super::{HostFd, Owned, Result};

/// A set of signals, as the kernel keeps it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const ALL: SigSet = SigSet(u64::MAX);

    /// The set of one signal; empty for a number outside 1 to 64.
    pub const fn of(signal: i32) -> SigSet {
        if signal >= 1 && signal <= 64 { SigSet(1 << (signal - 1)) } else { SigSet::EMPTY }
    }

    /// Whether the signal is in the set.
    pub const fn contains(self, signal: i32) -> bool {
        self.0 & SigSet::of(signal).0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals of both sets.
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// The signals that are not in `other`.
    pub const fn without(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// The numbers of the signals.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.contains(*signal))
    }
}

/// The kernel's `struct sigaction`, which is not libc's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Action {
    /// [`SIG_DFL`], [`SIG_IGN`] or the address of a function.
    pub handler: usize,
    /// `SA_` flags.
    pub flags: u64,
    /// The trampoline.
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: u64,
}

const _: () = assert!(size_of::<Action>() == 32);

/// The default action.
pub const SIG_DFL: usize = 0;
/// Ignored.
pub const SIG_IGN: usize = 1;
/// A call that the handler interrupts is to be done again.
pub const SA_RESTART: u64 = 0x1000_0000;

const SIG_BLOCK: usize = 0;
const SIG_SETMASK: usize = 2;

/// Replaces the mask of the calling thread and returns the old one.
pub fn set_mask(mask: SigSet) -> SigSet {
    change_mask(SIG_SETMASK, mask)
}

/// Adds signals to the mask of the calling thread and returns the old one.
pub fn block(signals: SigSet) -> SigSet {
    change_mask(SIG_BLOCK, signals)
}

fn change_mask(how: usize, set: SigSet) -> SigSet {
    let mut old = SigSet::EMPTY;
    // SAFETY: both sets are valid for the 8 bytes that are named.
    let _ = unsafe {
        let (new, old) = (&raw const set as usize, &raw mut old as usize);
        syscall6(raw::RT_SIGPROCMASK, [how, new, old, size_of::<SigSet>(), 0, 0])
    };
    old
}

/// Returns the mask of the calling thread.
pub fn mask() -> SigSet {
    let mut old = SigSet::EMPTY;
    // SAFETY: a null new set changes nothing, `old` is valid for the 8 bytes that are named.
    let _ =
        unsafe { syscall6(raw::RT_SIGPROCMASK, [SIG_SETMASK, 0, &raw mut old as usize, size_of::<SigSet>(), 0, 0]) };
    old
}

/// Returns the signals that wait for the calling thread's mask to open, its own and the process's.
pub fn pending() -> SigSet {
    let mut set = SigSet::EMPTY;
    // SAFETY: `set` is valid for the 8 bytes that are named.
    let _ = unsafe { syscall3(raw::RT_SIGPENDING, &raw mut set as usize, size_of::<SigSet>(), 0) };
    set
}

/// Returns what is set for a signal; the default action for a number that has none.
pub fn action(signal: i32) -> Action {
    let mut action = Action::default();
    // SAFETY: a null new action changes nothing; `action` has the kernel's layout.
    let _ = unsafe {
        let old = &raw mut action as usize;
        syscall6(raw::RT_SIGACTION, [signal as usize, 0, old, size_of::<SigSet>(), 0, 0])
    };
    action
}

/// Makes a close-on-exec, non-blocking descriptor that is readable while a signal of `set` is pending.
pub fn signalfd(set: SigSet) -> Result<Owned> {
    const CLOEXEC_NONBLOCK: usize = 0o2_004_000;
    // SAFETY: `set` is valid for the 8 bytes that are named; the descriptor that comes back is ours alone.
    let fd = unsafe {
        let args = [usize::MAX, &raw const set as usize, size_of::<SigSet>(), CLOEXEC_NONBLOCK, 0, 0];
        syscall6(raw::SIGNALFD4, args)?
    };
    Ok(Owned::new(HostFd(fd as i32)))
}

/// Sends a signal to the calling thread.
pub fn raise(signal: i32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { syscall3(raw::TGKILL, super::getpid() as usize, super::gettid() as usize, signal as usize) }.map(drop)
}
