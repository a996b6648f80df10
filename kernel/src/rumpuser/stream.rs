//! Frames over a stream socket of the host, as QEMU's `-netdev stream` and passt(1) speak it: the length of each in four bytes, highest first.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};
use sysproxy::host::{self, HostFd, Owned, POLLIN, POLLOUT, PollFd, errno};

use super::wire::{Port, Signal};
use crate::proc::lock;

/// The longest frame that is taken.
const FRAME: usize = 65536;
/// Bytes that the host has no room for yet; beyond, frames are lost, as on a wire.
const WAITING: usize = 256 << 10;

/// Where the other end is.
enum Place<'a> {
    Unix(&'a [u8]),
    Tcp(SocketAddr),
}

impl<'a> Place<'a> {
    /// Reads `unix://PATH` or `tcp://ADDRESS:PORT`; `EINVAL` for anything else. Beyond the host there is nobody to wait for, with the whole
    /// stack, nor to trust: `EPERM`.
    fn parse(text: &'a str) -> Result<Self> {
        match (text.strip_prefix("unix://"), text.strip_prefix("tcp://")) {
            (Some(path), _) if path.starts_with('/') => Ok(Place::Unix(path.as_bytes())),
            (_, Some(addr)) => {
                let addr: SocketAddr = addr.parse().map_err(|_| Errno::EINVAL)?;
                if addr.ip().is_loopback() { Ok(Place::Tcp(addr)) } else { Err(Errno::EPERM) }
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn socket(&self) -> host::Result<Owned> {
        match self {
            Place::Unix(_) => host::unix_socket(),
            Place::Tcp(addr) => host::tcp_socket(addr),
        }
    }

    fn connect(&self) -> host::Result<Owned> {
        let socket = self.socket()?;
        match self {
            Place::Unix(path) => host::connect_unix(socket.fd(), path)?,
            Place::Tcp(addr) => host::connect_tcp(socket.fd(), addr)?,
        }
        Ok(socket)
    }

    fn listen(&self) -> host::Result<Owned> {
        let socket = self.socket()?;
        match self {
            Place::Unix(path) => host::bind_unix(socket.fd(), path)?,
            Place::Tcp(addr) => host::bind_tcp(socket.fd(), addr)?,
        }
        host::listen(socket.fd(), 1)?;
        Ok(socket)
    }
}

/// What has come and what is to go.
#[derive(Default)]
struct Peer {
    /// The connection, while there is one.
    socket: Option<Owned>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Peer {
    /// Takes the next whole frame out of what has come: its length. A length that no frame has ends the connection.
    fn next(&mut self, buf: &mut [u8]) -> Option<usize> {
        let length = u32::from_be_bytes(*self.incoming.first_chunk()?) as usize;
        if length > FRAME {
            *self = Self::default();
            return None;
        }
        let frame = self.incoming.get(4..4 + length)?;
        let taken = length.min(buf.len());
        buf[..taken].copy_from_slice(&frame[..taken]);
        self.incoming.drain(..4 + length);
        Some(length)
    }

    /// Gives the host what it has room for.
    fn flush(&mut self) {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.outgoing.is_empty()) else { return };
        match host::sendmsg(socket.fd(), &[IoSlice::new(&self.outgoing)]) {
            Ok(sent) => drop(self.outgoing.drain(..sent)),
            Err(host::Error::AGAIN | host::Error::INTR) => {}
            Err(_) => *self = Self::default(),
        }
    }
}

/// A stream socket of a Linux host.
pub struct LinuxStream {
    /// Where others connect, one at a time.
    listener: Option<Owned>,
    peer: Mutex<Peer>,
    /// Wakes the thread that waits.
    bell: Owned,
    stopped: AtomicBool,
    /// The name that was made, which goes with it.
    path: Option<Vec<u8>>,
}

impl LinuxStream {
    /// Connects to `unix://PATH` or `tcp://ADDRESS:PORT`, or waits there for whoever connects if `listen:` stands before it.
    pub fn open(to: &str) -> Result<Self> {
        let (waits, to) = to.strip_prefix("listen:").map_or((false, to), |to| (true, to));
        let place = Place::parse(to)?;
        let (mut peer, mut listener, mut path) = (Peer::default(), None, None);
        if waits {
            listener = Some(place.listen().map_err(errno)?);
            if let Place::Unix(name) = place {
                path = Some(name.to_vec());
            }
        } else {
            peer.socket = Some(place.connect().map_err(errno)?);
        }
        let bell = host::eventfd().map_err(errno)?;
        Ok(Self { listener, peer: Mutex::new(peer), bell, stopped: AtomicBool::new(false), path })
    }

    /// Takes whoever waits to connect, if nobody is connected.
    fn accept(&self, peer: &mut Peer) {
        let Some(listener) = self.listener.as_ref().filter(|_| peer.socket.is_none()) else { return };
        let mut fds = [PollFd::new(listener.fd(), POLLIN)];
        if host::ppoll(&mut fds, Some(std::time::Duration::ZERO), None).is_ok_and(|ready| ready > 0) {
            peer.socket = host::accept(listener.fd()).ok();
        }
    }

    /// What the thread waits for: the connection, or somebody who connects.
    fn watched(&self) -> Option<(HostFd, i16)> {
        let peer = lock(&self.peer);
        match (&peer.socket, &self.listener) {
            (Some(socket), _) if peer.outgoing.is_empty() => Some((socket.fd(), POLLIN)),
            (Some(socket), _) => Some((socket.fd(), POLLIN | POLLOUT)),
            (None, Some(listener)) => Some((listener.fd(), POLLIN)),
            (None, None) => None,
        }
    }
}

impl Drop for LinuxStream {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = host::unlink(path);
        }
    }
}

impl Signal for LinuxStream {
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::new(self.bell.fd(), POLLIN)];
        fds.extend(self.watched().map(|(fd, events)| PollFd::new(fd, events)));
        let _ = host::ppoll(&mut fds, None, None);
        if self.stopped.load(Ordering::SeqCst) {
            return false;
        }
        // Only when it rang: what it counts stays as long as nobody reads.
        let mut rang = [PollFd::new(self.bell.fd(), POLLIN)];
        if host::ppoll(&mut rang, Some(std::time::Duration::ZERO), None).is_ok_and(|ready| ready > 0) {
            host::clear_eventfd(self.bell.fd());
        }
        true
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        host::signal_eventfd(self.bell.fd());
    }
}

impl Port for LinuxStream {
    fn send(&self, frame: &[u8]) -> Result<()> {
        let mut peer = lock(&self.peer);
        if peer.socket.is_none() {
            return Err(Errno::ENOTCONN);
        }
        if peer.outgoing.len() > WAITING {
            return Err(Errno::EAGAIN);
        }
        peer.outgoing.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        peer.outgoing.extend_from_slice(frame);
        let waited = peer.outgoing.len() > 4 + frame.len();
        peer.flush();
        if !peer.outgoing.is_empty() && !waited {
            // The thread must look for room too.
            host::signal_eventfd(self.bell.fd());
        }
        Ok(())
    }

    fn receive(&self, buf: &mut [u8]) -> Result<usize> {
        let mut peer = lock(&self.peer);
        self.accept(&mut peer);
        peer.flush();
        loop {
            if let Some(length) = peer.next(buf) {
                return Ok(length);
            }
            let Some(socket) = &peer.socket else { return Err(Errno::EAGAIN) };
            let mut piece = [0; 16384];
            match host::recv(socket.fd(), &mut piece) {
                Ok(length @ 1..) => peer.incoming.extend_from_slice(&piece[..length]),
                Err(host::Error::INTR) => {}
                Err(host::Error::AGAIN) => return Err(Errno::EAGAIN),
                // It has gone; another one may come.
                Ok(0) | Err(_) => *peer = Peer::default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_whatever_the_pieces() {
        let mut peer = Peer::default();
        let mut buf = [0; 100];
        for byte in [0, 0, 0, 3, b'a', b'b'] {
            peer.incoming.push(byte);
            assert_eq!(peer.next(&mut buf), None);
        }
        peer.incoming.extend([b'c', 0, 0, 0, 0, 0, 0, 0, 1, b'd']);
        assert_eq!((peer.next(&mut buf), &buf[..3]), (Some(3), &b"abc"[..]));
        assert_eq!(peer.next(&mut buf), Some(0));
        assert_eq!((peer.next(&mut buf), buf[0], peer.next(&mut buf)), (Some(1), b'd', None));
        peer.incoming.extend([0xff; 9]);
        assert_eq!((peer.next(&mut buf), peer.incoming.len()), (None, 0));
    }

    #[test]
    fn places_are_named_by_urls() {
        assert!(matches!(Place::parse("unix:///tmp/s"), Ok(Place::Unix(b"/tmp/s"))));
        assert!(matches!(Place::parse("tcp://127.0.0.1:7"), Ok(Place::Tcp(_))));
        for wrong in ["unix://tmp", "tcp://localhost", "tcp://192.0.2.1:7", "/tmp/s", ""] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
