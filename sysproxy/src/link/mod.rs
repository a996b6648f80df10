//! Transports: a byte stream to the other side, and the table of URL schemes.

mod tcp;
mod unix;

use crate::host::{self, HostFd, IoSlice, Owned};
use crate::url::{ParseError, Role};

/// Connections that wait to be accepted, as the original.
const BACKLOG: i32 = 256;

/// One end of a connection. Nothing blocks.
pub trait Link: Send + Sync {
    /// What to poll, at this moment.
    fn fd(&self) -> HostFd;
    /// Sends some of the bytes; `EAGAIN` when the link is full.
    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize>;
    /// Receives some bytes; `EAGAIN` when there are none, 0 at the end.
    fn recv(&self, buf: &mut [u8]) -> host::Result<usize>;
    /// Whether descriptors can go along.
    fn passes_descriptors(&self) -> bool {
        false
    }
    /// Sends some of the bytes, and a descriptor with the first of them.
    fn send_with(&self, _parts: &[IoSlice<'_>], _passed: HostFd) -> host::Result<usize> {
        Err(host::Error::OPNOTSUPP)
    }
    /// Receives some bytes, and the descriptors that came along.
    fn recv_with(&self, buf: &mut [u8], _passed: &mut Vec<Owned>) -> host::Result<usize> {
        self.recv(buf)
    }
    /// Ends the connection in both directions; whoever waits on it sees the end.
    fn shutdown(&self);
    /// Goes on with another descriptor of the same object; the old number stays open and is returned.
    fn move_to(&self, fd: HostFd) -> HostFd;
}

/// Where clients arrive.
pub trait Listener: Send + Sync {
    /// What to poll.
    fn fd(&self) -> HostFd;
    /// Takes the next client; `EAGAIN` when there is none.
    fn accept(&self) -> host::Result<Box<dyn Link>>;
    /// The locator that clients use: absolute, and with the port that the host chose.
    fn url(&self) -> String;
    /// Removes the name, so that no one arrives any more. Dropping does so too.
    fn unlink(&self);
}

/// Where a URL leads.
pub trait Endpoint: Send + Sync {
    /// Connects, waiting as long as it takes. The link is still blocking where its socket is read directly.
    fn connect(&self) -> host::Result<Box<dyn Link>>;
    /// Binds and listens.
    fn listen(&self) -> host::Result<Box<dyn Listener>>;
    /// The URL, absolute.
    fn url(&self) -> String;
}

/// Reads what follows `://`.
type Parse = fn(&str, Role) -> Result<Box<dyn Endpoint>, ParseError>;

/// The schemes; a transport is a file beside this one and a row here.
pub const SCHEMES: &[(&str, Parse)] = &[("unix", unix::parse), ("tcp", tcp::parse), ("tcp6", tcp::refuse_tcp6)];

/// A stream socket of the host, of any family.
pub struct Stream(Owned);

impl Stream {
    /// Takes over a connected socket.
    pub const fn new(socket: Owned) -> Self {
        Self(socket)
    }
}

impl Link for Stream {
    fn fd(&self) -> HostFd {
        self.0.fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        host::sendmsg(self.0.fd(), parts)
    }

    fn recv(&self, buf: &mut [u8]) -> host::Result<usize> {
        host::recv(self.0.fd(), buf)
    }

    fn passes_descriptors(&self) -> bool {
        host::is_unix(self.0.fd())
    }

    fn send_with(&self, parts: &[IoSlice<'_>], passed: HostFd) -> host::Result<usize> {
        host::shared::send_with(self.0.fd(), parts, passed)
    }

    fn recv_with(&self, buf: &mut [u8], passed: &mut Vec<Owned>) -> host::Result<usize> {
        host::shared::recv_with(self.0.fd(), buf, passed)
    }

    fn shutdown(&self) {
        let _ = host::shutdown(self.0.fd());
    }

    fn move_to(&self, fd: HostFd) -> HostFd {
        self.0.replace(fd)
    }
}

/// Connects, again if a signal came.
fn connect_patiently(connect: impl Fn() -> host::Result<()>) -> host::Result<()> {
    loop {
        match connect() {
            Err(host::Error::INTR) => {}
            // The interrupted attempt went on and was done when it was repeated.
            Err(host::Error::ISCONN) => return Ok(()),
            done => return done,
        }
    }
}
