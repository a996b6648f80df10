//! A server that the process has not connected to yet: a program that touches nothing of the rump kernel's never does.
//!
//! The connection is made by the first call that goes there, or by what may put the server out of reach ([`process`](crate::process)). A server
//! that cannot be reached then ends the program, as it would have in the constructor: it never runs unhijacked by accident.

use std::sync::atomic::{AtomicU32, Ordering};

use abi::{Errno, Result};
use client::{ConnectError, Handshake, Remote, Retry, program_name, stubs};
use sysproxy::host;

use crate::raw;

/// The umask of a new process of the kernel.
const FRESH_UMASK: u32 = 0o022;

/// What is known of the server, and what it is to be told.
pub struct Later {
    /// Absolute.
    url: String,
    retry: Retry,
    /// The program's umask: to ask the host for it later would change it for a moment, in all threads.
    umask: AtomicU32,
}

impl Later {
    /// A server at `url`, of which nothing is asked yet; the error says what is wrong with the locator.
    pub fn new(url: &str, retry: Retry) -> core::result::Result<Self, ConnectError> {
        let mask = raw::call(libc::SYS_umask, [0]) as usize;
        raw::call(libc::SYS_umask, [mask]);
        Ok(Self { url: Remote::absolute(url)?, retry, umask: AtomicU32::new(mask as u32) })
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Notes the umask that the program is about to have.
    pub fn note_umask(&self, mask: u32) {
        self.umask.store(mask & 0o777, Ordering::Relaxed);
    }

    /// Connects. The error is what the process has too little of; any other ends the program.
    pub fn connect(&self) -> Result<Remote> {
        self.connect_as(self.retry)
    }

    /// The same in a child that shares its parent's memory.
    pub fn connect_guest(&self) -> Result<Remote> {
        self.connect_as(Retry::Never)
    }

    fn connect_as(&self, retry: Retry) -> Result<Remote> {
        let remote = match Remote::connect(&self.url, Handshake::Guest(program_name()), retry) {
            Ok(remote) => remote,
            Err(ConnectError {
                errno: errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS),
                ..
            }) => {
                return Err(errno);
            }
            Err(ConnectError { message: Some(message), .. }) => die(&message),
            Err(ConnectError { errno, .. }) => {
                die(&format!("cannot reach rump server {}: {}", self.url, reason(errno)))
            }
        };
        match self.umask.load(Ordering::Relaxed) {
            FRESH_UMASK => {}
            mask => _ = stubs::umask(&remote, mask),
        }
        Ok(remote)
    }
}

/// Why a server cannot be reached, and what to do about it.
fn reason(errno: Errno) -> String {
    match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => format!("{errno} (is rump_server running?)"),
        errno => errno.to_string(),
    }
}

/// Ends the program with a line.
pub fn die(message: &str) -> ! {
    host::warn(&format!("{}: {message}", String::from_utf8_lossy(&program_name())));
    host::exit(1)
}
