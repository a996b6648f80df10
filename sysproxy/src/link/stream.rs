//! A stream socket of the host, of any family; between two of ours on one host its bytes may go through shared memory.

use std::sync::atomic::{AtomicI32, Ordering};

use rustix_futex_sync::Mutex;

use super::{Full, Link};
use crate::host::{self, HostFd, IoSlice, Owned, Sender};
use crate::ring;

/// A descriptor: our own, or one that somebody else keeps and whose number stands at a place.
enum Handle {
    Own(Owned),
    Kept(&'static AtomicI32),
}

impl Handle {
    fn fd(&self) -> HostFd {
        match self {
            Handle::Own(own) => own.fd(),
            Handle::Kept(place) => HostFd(place.load(Ordering::Acquire)),
        }
    }
}

/// An eventfd that wakes the other end, or tells it of room.
pub struct Bell(Handle);

impl Bell {
    /// Takes over an eventfd.
    pub const fn new(eventfd: Owned) -> Self {
        Self(Handle::Own(eventfd))
    }

    /// Goes by the number that stands in `place`.
    pub const fn by(place: &'static AtomicI32) -> Self {
        Self(Handle::Kept(place))
    }

    fn ring(&self) {
        host::signal_eventfd(self.0.fd());
    }
}

/// A connected socket.
pub struct Stream {
    socket: Handle,
    /// Where bytes go instead of into the socket.
    out: Mutex<Option<(ring::Writer, Bell)>>,
    /// Where they come from instead.
    back: Mutex<Option<(ring::Reader, Bell)>>,
    /// Who is at the other end, where the host tells that with what is received; `None` inside until it has.
    told: Option<Mutex<Option<Sender>>>,
}

impl Stream {
    /// Takes over a connected socket.
    pub const fn new(socket: Owned) -> Self {
        Self::of(Handle::Own(socket))
    }

    /// Goes by the number that stands in `place`; see [`Link::go_by`].
    pub const fn by(place: &'static AtomicI32) -> Self {
        Self::of(Handle::Kept(place))
    }

    /// Makes a connection within this host, whose other end somebody is given: who that is shows when something comes.
    pub fn pair() -> host::Result<(Self, Owned)> {
        let (near, far) = host::socketpair()?;
        host::shared::tell_senders(near.fd())?;
        Ok((Self { told: Some(Mutex::new(None)), ..Self::new(near) }, far))
    }

    const fn of(socket: Handle) -> Self {
        Self { socket, out: Mutex::new(None), back: Mutex::new(None), told: None }
    }
}

impl Link for Stream {
    fn fd(&self) -> HostFd {
        self.socket.fd()
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        let mut out = self.out.lock();
        let Some((ring, bell)) = &mut *out else { return host::sendmsg(self.fd(), parts) };
        let sent = ring.write(parts);
        // Also where there was no room: it may be taken up by what was sent quietly.
        if ring.reader_sleeps() {
            bell.ring();
        }
        sent
    }

    fn send_quietly(&self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        self.out.lock().as_mut().map_or(Err(host::Error::AGAIN), |(ring, _)| ring.write(parts))
    }

    fn recv(&self, buf: &mut [u8]) -> host::Result<usize> {
        match &mut *self.back.lock() {
            Some(back) => receive(back, buf).map(|(received, _)| received),
            None => match &self.told {
                Some(told) => {
                    let (received, sender) = host::shared::recv_told(self.fd(), buf)?;
                    if sender.is_some() {
                        *told.lock() = sender;
                    }
                    Ok(received)
                }
                None => host::recv(self.fd(), buf),
            },
        }
    }

    fn passes_descriptors(&self) -> bool {
        host::is_unix(self.fd())
    }

    fn send_with(&self, parts: &[IoSlice<'_>], passed: HostFd) -> host::Result<usize> {
        if let Some((ring, _)) = &*self.out.lock() {
            if !ring.has_room()? {
                return Err(host::Error::AGAIN);
            }
            // The byte only carries the descriptor; it is there before what is written next.
            host::shared::send_with(self.fd(), &[IoSlice::new(&[0])], passed)?;
            ring.count_passed();
        } else {
            return host::shared::send_with(self.fd(), parts, passed);
        }
        self.send(parts)
    }

    fn recv_with(&self, buf: &mut [u8], passed: &mut Vec<Owned>) -> host::Result<usize> {
        let mut back = self.back.lock();
        let Some(back) = &mut *back else { return host::shared::recv_with(self.fd(), buf, passed) };
        let (received, announced) = receive(back, buf)?;
        let carriers = (0..announced).map_while(|_| host::shared::recv_with(self.fd(), &mut [0], passed).ok());
        carriers.take_while(|carried| *carried > 0).for_each(drop);
        Ok(received)
    }

    fn send_through(&self, ring: Option<(ring::Writer, Bell)>) {
        *self.out.lock() = ring;
    }

    fn receive_through(&self, ring: Option<(ring::Reader, Bell)>) {
        *self.back.lock() = ring;
    }

    fn ready(&self) -> Option<bool> {
        self.back.lock().as_ref().map(|(ring, _)| ring.ready())
    }

    fn about_to_sleep(&self) -> bool {
        self.back.lock().as_ref().is_none_or(|(ring, _)| ring.await_bytes())
    }

    fn full(&self) -> Full {
        match self.out.lock().as_ref().map(|(ring, _)| ring.await_room()) {
            None => Full::Poll,
            Some(Ok(true)) => Full::Bell,
            // The next send tells of the error.
            Some(Ok(false) | Err(_)) => Full::NoMore,
        }
    }

    fn upset(&self) -> bool {
        self.back.lock().is_some() && host::peek(self.fd()) != Err(host::Error::AGAIN)
    }

    fn peer(&self) -> Option<Sender> {
        self.told.as_ref().map_or_else(|| host::peer(self.fd()), |told| *told.lock())
    }

    fn shutdown(&self) {
        let _ = host::shutdown(self.fd());
    }

    fn go_by(&mut self, place: &'static AtomicI32) {
        self.socket = Handle::Kept(place);
    }
}

/// Reads shared memory; tells also how many descriptors were sent over the socket before what is read.
fn receive((ring, bell): &mut (ring::Reader, Bell), buf: &mut [u8]) -> host::Result<(usize, u32)> {
    let (received, full) = ring.read(buf)?;
    if full {
        bell.ring();
    }
    Ok((received, ring.take_passed()))
}
