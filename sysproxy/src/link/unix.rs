//! `unix://PATH`: a unix stream socket.

use std::sync::atomic::{AtomicBool, Ordering};

use abi::Errno;

use super::{BACKLOG, Endpoint, Link, Listener, Stream, connect_patiently};
use crate::host::{self, HostFd, Owned};
use crate::url::{ParseError, Role};

/// Room for a path and its NUL in the host's `sockaddr_un`.
const SUN_PATH: usize = 108;

/// Only the owner may connect: whoever connects is root in the rump kernel.
const MODE: u32 = 0o600;

struct Unix {
    path: String,
}

/// Reads a path, and makes a relative one absolute.
///
/// `ENAMETOOLONG`, without a message, if it does not fit the host's address.
pub fn parse(rest: &str, _: Role) -> Result<Box<dyn Endpoint>, ParseError> {
    let fits = |path: &str| match path.len() < SUN_PATH {
        true => Ok(()),
        false => Err(ParseError::silent(Errno::ENAMETOOLONG)),
    };
    fits(rest)?;
    if rest.starts_with('/') {
        return Ok(Box::new(Unix { path: rest.to_owned() }));
    }
    let Some(cwd) = host::getcwd().ok().and_then(|cwd| String::from_utf8(cwd).ok()) else {
        host::warn("warning: cannot determine cwd, omitting socket cleanup");
        return Ok(Box::new(Unix { path: rest.to_owned() }));
    };
    let path = format!("{}/{rest}", cwd.trim_end_matches('/'));
    fits(&path)?;
    Ok(Box::new(Unix { path }))
}

impl Endpoint for Unix {
    fn connect(&self) -> host::Result<Box<dyn Link>> {
        let socket = host::unix_socket()?;
        connect_patiently(|| host::connect_unix(socket.fd(), self.path.as_bytes()))?;
        Ok(Box::new(Stream::new(socket)))
    }

    fn reachable(&self) -> bool {
        host::may_write(self.path.as_bytes())
    }

    fn listen(&self) -> host::Result<Box<dyn Listener>> {
        let socket = host::unix_socket()?;
        host::fchmod(socket.fd(), MODE)?;
        host::bind_unix(socket.fd(), self.path.as_bytes())?;
        let door = Door { socket, path: self.path.clone(), gone: AtomicBool::new(false) };
        host::listen(door.fd(), BACKLOG)?;
        host::set_nonblocking(door.fd(), true)?;
        Ok(Box::new(door))
    }

    fn url(&self) -> String {
        format!("unix://{}", self.path)
    }
}

struct Door {
    socket: Owned,
    path: String,
    gone: AtomicBool,
}

impl Listener for Door {
    fn fd(&self) -> HostFd {
        self.socket.fd()
    }

    fn accept(&self) -> host::Result<Box<dyn Link>> {
        Ok(Box::new(Stream::new(host::accept(self.fd())?)))
    }

    fn url(&self) -> String {
        format!("unix://{}", self.path)
    }

    fn unlink(&self) {
        // A relative name may mean another file by now.
        if self.path.starts_with('/') && !self.gone.swap(true, Ordering::Relaxed) {
            let _ = host::unlink(self.path.as_bytes());
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.unlink();
    }
}
