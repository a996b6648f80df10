//! Signals: numbers by name, [`Sigset`].

use linux_raw_sys::general as host;

use crate::pairs::{pairs, plain};

pairs! {
    /// The signals that have a name.
    SIGNALS: i32 {
        SIGHUP 1 => host::SIGHUP;
        SIGINT 2 => host::SIGINT;
        SIGQUIT 3 => host::SIGQUIT;
        SIGILL 4 => host::SIGILL;
        SIGTRAP 5 => host::SIGTRAP;
        SIGABRT 6 => host::SIGABRT;
        SIGEMT 7;
        SIGFPE 8 => host::SIGFPE;
        SIGKILL 9 => host::SIGKILL;
        SIGBUS 10 => host::SIGBUS;
        SIGSEGV 11 => host::SIGSEGV;
        SIGSYS 12 => host::SIGSYS;
        SIGPIPE 13 => host::SIGPIPE;
        SIGALRM 14 => host::SIGALRM;
        SIGTERM 15 => host::SIGTERM;
        SIGURG 16 => host::SIGURG;
        SIGSTOP 17 => host::SIGSTOP;
        SIGTSTP 18 => host::SIGTSTP;
        SIGCONT 19 => host::SIGCONT;
        SIGCHLD 20 => host::SIGCHLD;
        SIGTTIN 21 => host::SIGTTIN;
        SIGTTOU 22 => host::SIGTTOU;
        SIGIO 23 => host::SIGIO;
        SIGXCPU 24 => host::SIGXCPU;
        SIGXFSZ 25 => host::SIGXFSZ;
        SIGVTALRM 26 => host::SIGVTALRM;
        SIGPROF 27 => host::SIGPROF;
        SIGWINCH 28 => host::SIGWINCH;
        SIGINFO 29;
        SIGUSR1 30 => host::SIGUSR1;
        SIGUSR2 31 => host::SIGUSR2;
        SIGPWR 32 => host::SIGPWR;
    }
}

/// One more than the last signal; 33 to 63 are the real-time signals.
pub const NSIG: i32 = 64;

/// Translates a signal by its name; `None` for one that Linux lacks: nothing is raised.
pub fn signal_to_linux(netbsd: i32) -> Option<i32> {
    SIGNALS.to_linux(netbsd)
}

/// Translates a signal by its name; `None` for one that NetBSD lacks.
pub fn signal_from_linux(linux: i32) -> Option<i32> {
    SIGNALS.from_linux(linux)
}

plain! {
    /// A set of signals (sigset_t); Linux's kernel takes 8 bytes.
    pub struct Sigset {
        pub bits: [u32; 4],
    }
}

impl Sigset {
    /// Adds a signal; a number out of range is ignored.
    pub fn insert(&mut self, signal: i32) {
        if let Some((word, bit)) = Self::place(signal)
            && let Some(word) = self.bits.get_mut(word)
        {
            *word |= bit;
        }
    }

    /// Whether a signal is in the set.
    pub fn contains(&self, signal: i32) -> bool {
        Self::place(signal).is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }

    fn place(signal: i32) -> Option<(usize, u32)> {
        let at = usize::try_from(signal).ok()?.checked_sub(1)?;
        Some((at / 32, 1 << (at % 32)))
    }

    /// Translates the kernel's 64-bit set of Linux, signal by signal; what NetBSD lacks is dropped.
    pub fn from_linux(linux: u64) -> Self {
        let mut set = Self::default();
        for signal in 1..=64 {
            if linux & 1 << (signal - 1) != 0
                && let Some(netbsd) = signal_from_linux(signal)
            {
                set.insert(netbsd);
            }
        }
        set
    }

    /// Makes the kernel's 64-bit set of Linux; what Linux lacks is dropped.
    pub fn to_linux(&self) -> u64 {
        let numbers = (1..NSIG).filter(|signal| self.contains(*signal)).filter_map(signal_to_linux);
        numbers.fold(0, |set, signal| set | 1 << (signal - 1))
    }
}

/// sigprocmask(2): add; Linux's numbers are one less.
pub const SIG_BLOCK: i32 = 1;
/// sigprocmask(2): take away.
pub const SIG_UNBLOCK: i32 = 2;
/// sigprocmask(2): replace.
pub const SIG_SETMASK: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_translate_by_name() {
        assert_eq!(signal_to_linux(SIGPIPE), Some(13));
        assert_eq!(signal_to_linux(SIGUSR1), Some(10));
        assert_eq!(signal_to_linux(SIGINFO), None);
        assert_eq!(signal_from_linux(17), Some(SIGCHLD));
        assert_eq!(signal_from_linux(16), None, "Linux's SIGSTKFLT has no twin");
    }

    #[test]
    fn sets_translate_signal_by_signal() {
        let linux = 1 << (17 - 1) | 1 << (2 - 1) | 1 << (40 - 1);
        let set = Sigset::from_linux(linux);
        assert!(set.contains(SIGCHLD) && set.contains(SIGINT) && !set.contains(SIGSTOP));
        assert_eq!(set.to_linux(), 1 << 16 | 1 << 1);
    }
}
