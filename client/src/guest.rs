//! A child that shares its parent's memory, but not its parent's descriptors: that of vfork(2), until it execs or ends.
//!
//! It runs on the memory of the thread that made it, which stands still meanwhile, and may be killed at any place. So whatever it leaves
//! behind must be known by its name: locks ([`crate::lock`]) and numbers ([`crate::fds`]).

use std::cell::Cell;

use sysproxy::host;

/// Names are below it.
pub const NAMES: u32 = 1 << 28;

thread_local! {
    /// The name of the child that the thread makes, and the process that the thread itself is of.
    static GUEST: Cell<(u32, i32)> = const { Cell::new((0, 0)) };
}

/// The name of the child that the caller is; 0 for the process itself.
pub fn name() -> u32 {
    match GUEST.get() {
        (0, _) => 0,
        (name, parent) if parent != host::getpid() => name,
        _ => 0,
    }
}

/// Says that the calling thread is about to make such a child. No other has this name, which is neither 0 nor above [`NAMES`].
pub fn expect(name: u32) {
    GUEST.set((name, host::getpid()));
}

/// Says that there is none any more.
pub fn gone() {
    GUEST.set((0, 0));
}
