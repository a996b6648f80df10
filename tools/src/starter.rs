//! Starting a server in another process and learning when it is ready.
//!
//! The child has one end of a socket pair as its standard input and writes a 4-byte status on it: 0 when it accepts
//! connections, else the number of the error. A child that dies without a word counts as `ESRCH`, as in the original.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use abi::Errno;

/// Environment variable that tells a server what its standard input is.
pub const ROLE: &str = "RUMP_SERVER__ROLE";

/// What a server process was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// By a user, in the foreground or about to detach itself.
    Command,
    /// By itself, to detach: report on standard input, then forget it.
    Daemon,
    /// By the launcher: report on standard input, end when the launcher does, and remove the socket's folder.
    Private,
}

impl Role {
    /// Reads the role from the environment.
    pub fn from_env() -> Role {
        match std::env::var(ROLE).as_deref() {
            Ok("daemon") => Role::Daemon,
            Ok("private") => Role::Private,
            _ => Role::Command,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Role::Command => "command",
            Role::Daemon => "daemon",
            Role::Private => "private",
        }
    }
}

/// A server that was started, and the line to it: a private server ends when the line is dropped.
pub struct Started {
    /// The process.
    pub child: Child,
    /// The line.
    pub line: UnixStream,
}

/// Starts `program` in `role`, in a session of its own, and waits until it is ready.
///
/// The error is the number that the child reported, NetBSD's for what went wrong in the kernel.
pub fn start(program: &std::path::Path, args: &[OsString], role: Role) -> io::Result<Result<Started, i32>> {
    let (mut line, theirs) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command.args(args).env(ROLE, role.name()).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let child = command.spawn()?;
    drop(command);
    let mut status = [0; 4];
    let code = match line.read_exact(&mut status) {
        Ok(()) => i32::from_ne_bytes(status),
        Err(_) => Errno::ESRCH.raw(),
    };
    Ok(if code == 0 { Ok(Started { child, line }) } else { Err(code) })
}

/// Tells the starter how it went.
pub fn report(code: i32) -> io::Result<()> {
    rustix::io::write(rustix::stdio::stdin(), &code.to_ne_bytes())?;
    Ok(())
}
