//! Connections whose bytes programs move themselves ([`sysproxy::stream`]).

use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use abi::{Errno, Result};
use sysproxy::host::Owned;

use super::{Conn, Pcb, Role, Tcp};
use crate::net::conn::TcpState;
use crate::net::port::Id;
use crate::net::stack::Base;
use crate::stream::{self, Given};
use crate::wait::NOTHING_NEW;

impl Tcp {
    /// Lets the program at one end of a joined pair, and the one at the other, move the bytes themselves: which direction is this end's
    /// to write, and the memory to map.
    ///
    /// `EOPNOTSUPP` for what is no such end; `EAGAIN` while something is in play that only the kernel minds: a low-water mark, a cork, a
    /// time limit for acknowledgements, urgent data.
    pub fn share(&mut self, base: &mut Base, id: Id) -> Result<Given> {
        let Role::Connection(conn) = &self.pcb(id)?.role else { return Err(Errno::EOPNOTSUPP) };
        let mate = conn.mate.ok_or(Errno::EOPNOTSUPP)?;
        if ![id, mate].into_iter().all(|end| self.pcb(end).is_ok_and(is_plain)) {
            return Err(Errno::EAGAIN);
        }
        let Role::Connection(conn) = &mut self.pcb_mut(id)?.role else { return Err(Errno::EOPNOTSUPP) };
        let (ours, memory) = conn.engine.share()?;
        for end in [id, mate] {
            if let Ok(Pcb { role: Role::Connection(conn), queue, .. }) = self.pcb_mut(end) {
                conn.shared = true;
                conn.engine.watch(queue.by_edges());
                base.wake(queue, NOTHING_NEW);
            }
        }
        Ok(Given { memory, ours, pipe: false })
    }

    /// Lets the program at an end know whether its open file blocks.
    pub fn set_blocks(&self, id: Id, flags: i32) {
        if let Ok(Pcb { role: Role::Connection(conn), options, .. }) = self.pcb(id) {
            conn.engine.set_blocks(stream::blocks(flags, options.receive_timeout.is_some()));
        }
    }

    /// The socket on which the program at an end is rung, and the number of the stream. `EAGAIN` while it is not shared.
    pub fn bell(&self, id: Id) -> Result<(Owned, u64)> {
        let Role::Connection(conn) = &self.pcb(id)?.role else { return Err(Errno::EAGAIN) };
        conn.engine.bell()
    }

    /// Brings the bytes of a joined pair back here.
    pub fn take_back(&mut self, id: Id) {
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return };
        conn.take_back();
        let mate = conn.mate;
        if let Some(Pcb { role: Role::Connection(conn), .. }) = mate.and_then(|mate| self.pcbs.get_mut(&mate)) {
            conn.take_back();
        }
    }

    /// Whether programs move the bytes of a connection themselves.
    pub fn is_shared(&self, id: Id) -> bool {
        self.pcb(id).is_ok_and(|pcb| matches!(&pcb.role, Role::Connection(conn) if conn.engine.is_shared()))
    }

    /// Which way the bytes of a connection go, in a word for `sockstat -v`.
    pub fn path(&self, id: Id) -> &'static str {
        match self.pcb(id).map(|pcb| &pcb.role) {
            Ok(Role::Connection(conn)) if conn.engine.is_shared() => "shared",
            Ok(Role::Connection(conn)) if conn.mate.is_some() => "joined",
            Ok(Role::Connection(_)) => "segments",
            _ => "",
        }
    }

    /// Brings the bytes back if an option has come into play that only the kernel minds.
    pub fn look_if_plain(&mut self, id: Id) {
        if self.is_shared(id) && !self.pcb(id).is_ok_and(is_plain) {
            self.take_back(id);
        }
    }

    /// A program has written by itself, or has `read`, which somebody is to hear of.
    pub fn moved(&mut self, base: &mut Base, id: Id, read: bool) {
        let Ok(Pcb { role: Role::Connection(conn), queue, .. }) = self.pcb(id) else { return };
        if read && conn.engine.queues().readable > 0 && queue.by_edges() {
            // What lay beyond the window has come in.
            base.wake(queue, POLLIN | POLLRDNORM);
        }
        let Some(Ok(mate)) = conn.mate.map(|mate| self.pcb(mate)) else { return };
        if let Role::Connection(other) = &mate.role
            && !read
        {
            other.engine.watch(mate.queue.by_edges());
            other.engine.rouse();
        }
        base.wake(&mate.queue, if read { POLLOUT } else { POLLIN | POLLRDNORM });
    }
}

impl Conn {
    /// Brings the bytes back here, and counts what the program has moved itself.
    pub(super) fn take_back(&mut self) {
        if self.shared {
            self.shared = false;
            let [read, written] = self.engine.take_back();
            self.read += read;
            self.written += written;
        }
    }
}

/// Whether there is nothing about an end that a program which moves bytes itself would not mind.
fn is_plain(pcb: &Pcb) -> bool {
    let Role::Connection(conn) = &pcb.role else { return false };
    let options = &pcb.options;
    conn.seen == TcpState::Established
        && pcb.owned
        && !(pcb.shut_read || pcb.shut_write || conn.urgent.is_some())
        && pcb.error.is_none()
        && options.receive_low() <= 1
        && options.user_timeout().is_none()
        && !options.is_corked()
}
