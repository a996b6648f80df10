//! Transports: a byte stream to the other side, and the table of URL schemes.

mod tcp;
mod unix;

use std::sync::atomic::{AtomicI32, Ordering};

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
    /// Closes its descriptor and goes on by another of the same object, whose number stands in `place`, where it may change. Whoever keeps
    /// it closes it.
    fn go_by(&mut self, place: &'static AtomicI32);
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
pub struct Stream(Socket);

enum Socket {
    Own(Owned),
    /// Kept by somebody else.
    Kept(&'static AtomicI32),
}

impl Stream {
    /// Takes over a connected socket.
    pub const fn new(socket: Owned) -> Self {
        Self(Socket::Own(socket))
    }

    /// Goes by the number that stands in `place`; see [`Link::go_by`].
    pub const fn by(place: &'static AtomicI32) -> Self {
        Self(Socket::Kept(place))
    }
}

impl Link for Stream {
    fn fd(&self) -> HostFd {
        match &self.0 {
            Socket::Own(socket) => socket.fd(),
            Socket::Kept(place) => HostFd(place.load(Ordering::Acquire)),
        }
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        host::sendmsg(self.fd(), parts)
    }

    fn recv(&self, buf: &mut [u8]) -> host::Result<usize> {
        host::recv(self.fd(), buf)
    }

    fn passes_descriptors(&self) -> bool {
        host::is_unix(self.fd())
    }

    fn send_with(&self, parts: &[IoSlice<'_>], passed: HostFd) -> host::Result<usize> {
        host::shared::send_with(self.fd(), parts, passed)
    }

    fn recv_with(&self, buf: &mut [u8], passed: &mut Vec<Owned>) -> host::Result<usize> {
        host::shared::recv_with(self.fd(), buf, passed)
    }

    fn shutdown(&self) {
        let _ = host::shutdown(self.fd());
    }

    fn go_by(&mut self, place: &'static AtomicI32) {
        *self = Self::by(place);
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
