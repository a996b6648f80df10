//! Transports: a byte stream to the other side, and the table of URL schemes.

mod stream;
mod tcp;
mod unix;

use std::sync::atomic::AtomicI32;

pub use self::stream::{Bell, Stream};
use crate::host::{self, HostFd, IoSlice, Owned, Sender};
use crate::ring;
use crate::url::{ParseError, Role};

/// Connections that wait to be accepted, as the original.
const BACKLOG: i32 = 256;

/// One end of a connection. Nothing blocks.
pub trait Link: Send + Sync {
    /// What to poll, at this moment.
    fn fd(&self) -> HostFd;
    /// Sends some of the bytes; `EAGAIN` when the link is full.
    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize>;
    /// The same for bytes that can wait for the next that are sent: nobody is woken up for them. The socket has no such way.
    fn send_quietly(&self, _parts: &[IoSlice<'_>]) -> host::Result<usize> {
        Err(host::Error::AGAIN)
    }
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
    /// From now on sends through shared memory, and rings the bell where the reader sleeps; or through the socket again.
    fn send_through(&self, _ring: Option<(ring::Writer, Bell)>) {}
    /// The same for receiving; the bell tells a writer that sleeps of room. What the other side sends over the socket is then looked at
    /// only once this is undone.
    fn receive_through(&self, _ring: Option<(ring::Reader, Bell)>) {}
    /// Whether a receive would find something, or the end; `None` where only a receive can tell.
    fn ready(&self) -> Option<bool> {
        None
    }
    /// Says that the caller is going to sleep until there is something to be received; `false` if it must not, because there is.
    fn about_to_sleep(&self) -> bool {
        true
    }
    /// Says that the caller, to whom a send gave `EAGAIN`, is going to sleep until there is room.
    fn full(&self) -> Full {
        Full::Poll
    }
    /// Whether the socket tells of something while bytes come through shared memory: its end, in all likelihood.
    fn upset(&self) -> bool {
        false
    }
    /// Who is at the other end; `None` where the host cannot tell.
    fn peer(&self) -> Option<Sender> {
        host::peer(self.fd())
    }
    /// Ends the connection in both directions; whoever waits on it sees the end.
    fn shutdown(&self);
    /// Closes its descriptor and goes on by another of the same object, whose number stands in `place`, where it may change. Whoever keeps
    /// it closes it.
    fn go_by(&mut self, place: &'static AtomicI32);
}

/// How whoever found a link full is told of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The socket can be written.
    Poll,
    /// A bell rings.
    Bell,
    /// There is room again.
    NoMore,
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
    /// Connects where `other`, a connection to the same place, could: from its network, if the process has left that since.
    fn connect_beside(&self, _other: HostFd) -> host::Result<Box<dyn Link>> {
        self.connect()
    }
    /// Whether the process has left the network of `other`, a connection to the same place.
    fn has_left(&self, _other: HostFd) -> bool {
        false
    }
    /// Whether this process may connect, as far as can be told without trying.
    fn reachable(&self) -> bool {
        true
    }
    /// Whether the server can know the processes of its clients: they are on its host.
    fn knows_processes(&self) -> bool {
        true
    }
    /// Binds and listens.
    fn listen(&self) -> host::Result<Box<dyn Listener>>;
    /// The URL, absolute.
    fn url(&self) -> String;
}

/// Reads what follows `://`.
type Parse = fn(&str, Role) -> Result<Box<dyn Endpoint>, ParseError>;

/// The schemes; a transport is a file beside this one and a row here.
pub const SCHEMES: &[(&str, Parse)] = &[("unix", unix::parse), ("tcp", tcp::parse), ("tcp6", tcp::refuse_tcp6)];

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
