//! Signals around the rump path: blocked while the library works, let through when the kernel was interrupted.
//!
//! A handler that ran inside the library could call a hooked function while a lock of the library is held by the same
//! thread. So everything on the rump path runs under a [`Guard`]; a call that blocks is ended by the client library when a
//! signal is waiting (`EINTR`), and [`Guard::let_through`] then runs the handlers and says whether to go on.

use sysproxy::host;

/// A set of signals as the kernel has it: bit n-1 for signal n.
pub type Mask = u64;

/// Signals that report a fault of the running instruction (and SIGSYS): never blocked.
const SYNCHRONOUS: Mask =
    bit(libc::SIGSEGV) | bit(libc::SIGBUS) | bit(libc::SIGFPE) | bit(libc::SIGILL) | bit(libc::SIGTRAP) | bit(libc::SIGSYS);

const fn bit(signal: i32) -> Mask {
    1 << (signal - 1)
}

/// The kernel's struct sigaction.
#[repr(C)]
#[derive(Default)]
struct Sigaction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: Mask,
}

/// What became of the signals that interrupted a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// No handler was for them, or all handlers ask for a restart.
    Restart,
    /// A handler without SA_RESTART ran.
    Interrupt,
    /// Handlers ran, all with SA_RESTART.
    RestartIfAble,
}

/// Signals are blocked while it lives.
pub struct Guard {
    before: Mask,
}

/// Changes the mask of the thread and returns the former one.
fn set_mask(mask: Mask) -> Mask {
    host::sigmask(mask)
}

impl Guard {
    /// Blocks all signals but the synchronous ones.
    pub fn block() -> Self {
        Self { before: set_mask(!SYNCHRONOUS) }
    }

    /// Signals that the program itself has blocked.
    pub fn before(&self) -> Mask {
        self.before
    }

    /// Opens the mask for an instant, so that pending signals are delivered, and says how their handlers
    /// want the interrupted call to go on.
    pub fn let_through(&self) -> After {
        self.let_through_mask(self.before)
    }

    /// As [`Guard::let_through`], with `mask` (of ppoll or pselect) instead of the program's own.
    pub fn let_through_mask(&self, mask: Mask) -> After {
        let pending = host::sigpending() & !mask;
        let mut after = After::Restart;
        for signal in (1..=64).filter(|signal| pending & bit(*signal) != 0) {
            let (handler, flags) = host::sigaction(signal);
            if handler <= 1 {
                continue;
            }
            if flags & libc::SA_RESTART as usize == 0 {
                after = After::Interrupt;
            } else if after == After::Restart {
                after = After::RestartIfAble;
            }
        }
        set_mask(mask);
        set_mask(!SYNCHRONOUS);
        after
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        set_mask(self.before);
    }
}
