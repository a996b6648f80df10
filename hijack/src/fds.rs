//! Who owns which number.
use abi::Result;

/// A descriptor of the rump kernel's process. (Its number there, not the program's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RumpFd(pub i32);

impl RumpFd {
    /// The argument of a kernel call.
    pub fn fd(self) -> abi::Fd {
        abi::Fd(self.0)
    }
}

/// A rump descriptor that a call made: the dispatcher gives it a number in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFd {
    /// The descriptor.
    pub fd: RumpFd,
    /// Whether it is closed on exec (already so in the rump kernel; the placeholder follows).
    pub cloexec: bool,
}

/// Gives `new` the lowest free number of the program; closes it in the rump kernel if there is none (`EMFILE`).
pub fn install(_new: NewFd) -> Result<i32> {
    Err(abi::Errno::EMFILE)
}

/// The rump descriptor behind the program's number `fd`, or `None` for a host descriptor.
pub fn lookup(_fd: i32) -> Option<RumpFd> {
    None
}
