//! Job control (tty_ioctl(4), termios(3)): what becomes of a call that a terminal refuses to its background.
//!
//! Which group a process is in, and who is in the foreground, the rump kernel knows. What the process does with `SIGTTIN` and
//! `SIGTTOU` only this side knows, and so it is this side that sends them: to the process's whole group, as Linux does.

use std::cell::Cell;

use abi::Errno;
use client::signals;
use sysproxy::host::signal::{SIG_IGN, action};

use crate::calls::again;
use crate::raw;

thread_local! {
    /// The call is made once more, and the terminal is not to refuse it: the process does not mind `SIGTTOU`.
    static ANYWAY: Cell<bool> = const { Cell::new(false) };
}

/// Whether the call that begins now is to be made from the background too; only once.
pub fn anyway() -> bool {
    ANYWAY.take()
}

/// Whether an error is a terminal's refusal.
pub fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::EBACKGROUNDREAD | Errno::EBACKGROUNDWRITE | Errno::EBACKGROUNDORPHAN)
}

/// Stops the group as Linux does, and returns what the call then answers; `None` if it is to be made again.
///
/// `EIO` for reading when the signal is ignored or blocked, and for anything in a group that nobody could continue; `EINTR` if a
/// handler does not want the call restarted.
pub fn refused(error: Errno, restart: bool) -> Option<Errno> {
    signals::block_in_earnest();
    let signal = if error == Errno::EBACKGROUNDREAD { libc::SIGTTIN } else { libc::SIGTTOU };
    let ignored = signals::outer().contains(signal) || action(signal).handler == SIG_IGN;
    match (error, ignored) {
        (Errno::EBACKGROUNDREAD, true) | (Errno::EBACKGROUNDORPHAN, false) => Some(Errno::EIO),
        (_, true) => {
            ANYWAY.set(true);
            None
        }
        _ => {
            raw::call(libc::SYS_kill, [0, signal as usize]);
            if again(restart) { None } else { Some(Errno::EINTR) }
        }
    }
}
