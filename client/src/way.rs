//! Which way the bytes of a descriptor go, for whoever writes that down.

use std::sync::OnceLock;

use abi::Fd;

/// How a descriptor's bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the program itself, in memory that it shares with the kernel.
    Shared,
    /// By calls to the kernel, as at first.
    Calls,
}

static LISTENER: OnceLock<fn(Fd, Way)> = OnceLock::new();

/// Has a function told of every change from now on. It is called with all signals blocked, and makes no calls to the kernel; only
/// the first one counts.
pub fn listen(listener: fn(Fd, Way)) {
    _ = LISTENER.set(listener);
}

/// Tells that a descriptor changes its way.
pub(crate) fn changed(fd: Fd, way: Way) {
    if let Some(listener) = LISTENER.get() {
        listener(fd, way);
    }
}
