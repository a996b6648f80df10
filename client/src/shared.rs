//! Shared memory with a server of ours on the same host: how a connection comes to it, and leaves it before an exec.

use std::sync::Arc;

use sysproxy::host::Owned;
use sysproxy::message::{ClientRequest, RingStep};
use sysproxy::ring::Memory;

use crate::conn::Conn;
use crate::exchange::{Outcome, Request, Terms, exchange};
use crate::fds::Kept;

/// The memory of a connection, and the eventfds with which the ends wake each other.
pub struct Shared {
    /// The memory.
    pub memory: Arc<Memory>,
    /// Wakes the server.
    pub server: Kept,
    /// Wakes whoever reads here.
    pub client: Kept,
    /// Tells whoever writes here of room.
    pub room: Kept,
}

impl Shared {
    /// Takes over what came with the answer.
    fn new(passed: Vec<Owned>) -> Option<Arc<Self>> {
        let [memory, server, client, room] = <[Owned; 4]>::try_from(passed).ok()?;
        let memory = Memory::attach(memory.fd()).ok()?;
        let kept = |fd| Kept::new(fd).ok();
        Some(Arc::new(Self { memory, server: kept(server)?, client: kept(client)?, room: kept(room)? }))
    }
}

/// Has a connection go through shared memory, if the server has some: else it stays as it is.
pub fn enter(conn: &Conn) {
    let wanted = conn.steps();
    if !*wanted {
        return;
    }
    let ask = |_: &Conn, number| ClientRequest::Ring(RingStep::Ask).encode(number);
    // No handler runs meanwhile: it could want to step back, or fork, and the child would have half of each way.
    let Ok(Outcome::Answer(_, passed)) = exchange(conn, None, &Request::new(&ask, Terms::default())) else { return };
    let Some(shared) = Shared::new(passed) else { return };
    // Another thread may hear the answer before this one goes on.
    conn.share(shared);
    let on = |_: &Conn, number| ClientRequest::Ring(RingStep::On).encode(number);
    step(conn, &Request { then: Some(&Conn::send_through_memory), ..Request::new(&on, Terms::default()) });
}

/// Has a connection go through its socket again, over which a new image takes it up, and stay there.
pub fn leave(conn: &Conn) {
    let mut wanted = conn.steps();
    *wanted = false;
    if conn.shares() {
        let off = |_: &Conn, number| ClientRequest::Ring(RingStep::Off).encode(number);
        step(conn, &Request { then: Some(&Conn::send_through_socket), ..Request::new(&off, Terms::default()) });
    }
}

/// Undoes the last word of [`leave`], since there is no new image.
pub fn allow(conn: &Conn) {
    *conn.steps() = true;
    conn.count_anew();
}

/// A step that the two sides take together, or not at all: what was sent since has not been heard then.
fn step(conn: &Conn, request: &Request<'_>) {
    if exchange(conn, None, request).is_err() {
        conn.die();
    }
}
