//! Signals around the rump path: blocked while the library works, let through when the kernel was interrupted.
//!
//! A handler that ran inside the library could call a hooked function while a lock of the library is held by the same
//! thread. So everything on the rump path runs under a [`Guard`]; a call that blocks is ended by the client library when a
//! signal is waiting (`EINTR`), and [`Guard::let_through`] then runs the handlers and says whether to go on.

use crate::raw;

/// A set of signals as the kernel has it: bit n-1 for signal n.
pub type Mask = u64;

/// Signals that report a fault of the running instruction (and SIGSYS): never blocked.
const SYNCHRONOUS: Mask =
    bit(libc::SIGSEGV) | bit(libc::SIGBUS) | bit(libc::SIGFPE) | bit(libc::SIGILL) | bit(libc::SIGTRAP) | bit(libc::SIGSYS);

/// Signals whose default is to do nothing.
const IGNORED_BY_DEFAULT: Mask =
    bit(libc::SIGCHLD) | bit(libc::SIGURG) | bit(libc::SIGWINCH) | bit(libc::SIGCONT);

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

/// How the handlers of the signals that interrupted a call want it to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// None ran.
    Nothing,
    /// All ran with SA_RESTART.
    Restart,
    /// One ran without SA_RESTART.
    Interrupt,
}

/// Signals are blocked while it lives.
pub struct Guard {
    before: Mask,
}

impl Guard {
    /// Blocks all signals but the synchronous ones.
    pub fn block() -> Self {
        Self { before: set_mask(!SYNCHRONOUS) }
    }

    /// The program's own mask.
    pub fn before(&self) -> Mask {
        self.before
    }

    /// Opens the mask for an instant, so that waiting signals are delivered, and says what became of them.
    pub fn let_through(&self) -> After {
        self.let_through_as(self.before)
    }

    /// As [`Guard::let_through`], with the mask of ppoll or pselect in place of the program's own.
    pub fn let_through_as(&self, mask: Mask) -> After {
        let waiting = pending() & !mask;
        let mut after = After::Nothing;
        for signal in (1..=64).filter(|signal| waiting & bit(*signal) != 0) {
            match action(signal) {
                Sigaction { handler: 0 | 1, .. } => {}
                Sigaction { flags, .. } if flags & libc::SA_RESTART as usize == 0 => after = After::Interrupt,
                _ if after == After::Nothing => after = After::Restart,
                _ => {}
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

/// Whether a signal waits that `mask` lets through and that does something: runs a handler, ends or stops the process.
pub fn worth_waking(mask: Mask) -> bool {
    let waiting = pending() & !mask;
    (1..=64).filter(|signal| waiting & bit(*signal) != 0).any(|signal| match action(signal).handler {
        0 => IGNORED_BY_DEFAULT & bit(signal) == 0,
        handler => handler != 1,
    })
}

/// Changes the mask of the thread and returns the former one.
fn set_mask(mask: Mask) -> Mask {
    let mut before: Mask = 0;
    let (new, old) = (&raw const mask as usize, &raw mut before as usize);
    raw::call(libc::SYS_rt_sigprocmask, [raw::word(libc::SIG_SETMASK), new, old, size_of::<Mask>()]);
    before
}

/// Signals that wait for the thread or the process.
fn pending() -> Mask {
    let mut set: Mask = 0;
    raw::call(libc::SYS_rt_sigpending, [&raw mut set as usize, size_of::<Mask>()]);
    set
}

fn action(signal: i32) -> Sigaction {
    let mut action = Sigaction::default();
    let into = &raw mut action as usize;
    raw::call(libc::SYS_rt_sigaction, [raw::word(signal), 0, into, size_of::<Mask>()]);
    action
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_restores_the_mask_it_found() {
        let outer = Guard::block();
        let inner = Guard::block();
        assert_eq!(inner.before(), !SYNCHRONOUS & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP)));
        drop(inner);
        drop(outer);
        assert_eq!(Guard::block().before() & bit(libc::SIGUSR1), 0);
    }

    #[test]
    fn a_signal_that_is_ignored_wakes_nobody() {
        let guard = Guard::block();
        raw::call(libc::SYS_tgkill, [raw::word(raw::getpid()), raw::call(libc::SYS_gettid, []) as usize, libc::SIGURG as usize]);
        assert!(!worth_waking(guard.before()));
        assert_eq!(guard.let_through(), After::Nothing);
    }
}
