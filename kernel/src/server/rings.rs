//! Clients of ours on the same host, who send and receive through shared memory once they make many calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sysproxy::host::{self, Owned};
use sysproxy::link::Bell;
use sysproxy::message::{self, Refusal, RingStep};
use sysproxy::ring::{self, Memory, Way};

use super::reader::BELL;
use super::session::{Session, Then};

/// Clients with shared memory at most; further ones stay with their sockets.
const SEATS: usize = 512;

/// How far a client is on the way to shared memory.
#[derive(Default)]
pub enum Seat {
    /// It has none.
    #[default]
    Standing,
    /// It was given some.
    Offered(Offer),
    /// It uses it.
    Taken {
        /// Wakes the reading thread.
        bell: Owned,
        _place: Place,
    },
}

/// What a client was given, as far as it is ours.
pub struct Offer {
    memory: Arc<Memory>,
    /// Wakes the reading thread.
    bell: Owned,
    /// Wakes the client.
    theirs: Owned,
    /// Tells the client of room.
    room: Owned,
    place: Place,
}

/// One of [`SEATS`].
pub struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let one_more = |now| (now < SEATS).then_some(now + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a step.
pub fn serve(session: &Session, reqno: u64, step: RingStep) {
    let done = match step {
        RingStep::Ask => offer(session, reqno),
        RingStep::On => enter(session, reqno),
        RingStep::Off => leave(session, reqno),
    };
    if let Err(refusal) = done {
        session.post(&refusal.encode(reqno));
    }
}

fn offer(session: &Session, reqno: u64) -> Result<(), Refusal> {
    if !session.link().passes_descriptors() || !session.with_seat(|seat| matches!(seat, Seat::Standing)) {
        return Err(Refusal::Malformed);
    }
    let place = Place::take(&session.server.rings).ok_or(Refusal::NoMemory)?;
    let (offer, theirs) = make(place).map_err(|_| Refusal::NoMemory)?;
    session.with_seat(|seat| *seat = Seat::Offered(offer));
    theirs.into_iter().for_each(|fd| session.post_descriptor(reqno, fd));
    session.post(&message::ring_done(reqno, RingStep::Ask));
    Ok(())
}

/// Makes an offer, and what the client is given.
fn make(place: Place) -> host::Result<(Offer, [Owned; message::RING_DESCRIPTORS])> {
    let (memory, file) = Memory::create()?;
    let (bell, theirs, room) = (host::eventfd()?, host::eventfd()?, host::eventfd()?);
    let again = |fd: &Owned| host::dup_from(fd.fd(), 0);
    let given = [file, again(&bell)?, again(&theirs)?, again(&room)?];
    Ok((Offer { memory, bell, theirs, room, place }, given))
}

fn enter(session: &Session, reqno: u64) -> Result<(), Refusal> {
    let offer = session.with_seat(|seat| match std::mem::take(seat) {
        Seat::Offered(offer) => Ok(offer),
        other => {
            *seat = other;
            Err(Refusal::Malformed)
        }
    })?;
    let Offer { memory, bell, theirs, room, place } = offer;
    session.server.epoll.add(bell.fd(), session.id | BELL).map_err(|_| Refusal::NoMemory)?;
    session.with_seat(|seat| *seat = Seat::Taken { bell, _place: place });
    session.link().receive_through(Some((ring::Reader::new(memory.clone(), Way::Up), Bell::new(room))));
    let through = Then::Through(ring::Writer::new(memory, Way::Down), Bell::new(theirs));
    session.post_last(&message::ring_done(reqno, RingStep::On), through);
    Ok(())
}

fn leave(session: &Session, reqno: u64) -> Result<(), Refusal> {
    if !session.leave_memory() {
        return Err(Refusal::Malformed);
    }
    session.link().receive_through(None);
    session.post_last(&message::ring_done(reqno, RingStep::Off), Then::Socket);
    Ok(())
}

impl Session {
    /// Has the client's bell heard no more; whether it was.
    pub fn leave_memory(&self) -> bool {
        let seat = self.with_seat(std::mem::take);
        if let Seat::Taken { bell, .. } = &seat {
            // The client has it too: closing alone would not take it out.
            let _ = self.server.epoll.remove(bell.fd());
        }
        matches!(seat, Seat::Taken { .. })
    }

    /// Notes that the client's bell was heard.
    pub fn clear_bell(&self) {
        self.with_seat(|seat| {
            if let Seat::Taken { bell, .. } = seat {
                host::clear_eventfd(bell.fd());
            }
        });
    }
}
