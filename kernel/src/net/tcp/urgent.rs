//! Urgent data (`MSG_OOB`): the last byte marked so, and where in the stream it stands (tcp(7), RFC 6093).

use abi::poll::{POLLIN, POLLPRI, POLLRDNORM};
use abi::socket::SO_OOBINLINE;
use abi::{Errno, Result};

use super::{Conn, Id, Pcb, Role, Tcp};
use crate::net::stack::Base;

/// The urgent byte of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Urgent {
    /// Its place in the stream, counted from the connection's first byte.
    at: u64,
    /// The byte.
    byte: u8,
    /// Whether it was received with `MSG_OOB`.
    taken: bool,
}

impl Conn {
    /// Takes received bytes; what is read at a time ends before the urgent byte, which is left out unless it is wanted `inline`.
    pub(super) fn take(&mut self, buf: &mut [u8], peek: bool, inline: bool) -> usize {
        let ahead = self.urgent.and_then(|urgent| urgent.at.checked_sub(self.read));
        let room = match ahead {
            Some(ahead @ 1..) => buf.len().min(usize::try_from(ahead).unwrap_or(usize::MAX)),
            _ => buf.len(),
        };
        if room == 0 {
            return 0;
        }
        let leave_out = ahead == Some(0) && !inline;
        if leave_out && peek {
            let mut more = vec![0; room + 1];
            let got = self.engine.recv(&mut more, true).saturating_sub(1);
            buf[..got].copy_from_slice(&more[1..=got]);
            return got;
        }
        if leave_out {
            self.read += self.engine.recv(&mut [0], false) as u64;
        }
        let got = self.engine.recv(&mut buf[..room], peek);
        if !peek {
            self.read += got as u64;
            self.urgent = self.urgent.filter(|urgent| urgent.at >= self.read);
        }
        got
    }

    /// Whether the next byte is the urgent one (sockatmark(3)).
    pub(super) fn at_mark(&self) -> bool {
        self.urgent.is_some_and(|urgent| urgent.at == self.read)
    }

    /// Bytes that can be read before the urgent one, or at all (`FIONREAD`).
    pub(super) fn readable(&self, inline: bool) -> usize {
        let all = self.engine.queues().readable;
        let before = self.urgent.filter(|_| !inline).and_then(|urgent| usize::try_from(urgent.at - self.read).ok());
        before.map_or(all, |before| before.min(all))
    }

    /// Whether the urgent byte waits to be received (`POLLPRI`).
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent.is_some_and(|urgent| !urgent.taken)
    }
}

impl Tcp {
    /// Marks the byte that a socket has written last as urgent.
    pub(super) fn mark_urgent(&mut self, base: &mut Base, id: Id, byte: u8) {
        let Some(Pcb { role: Role::Connection(Conn { written, mate: Some(mate), .. }), .. }) = self.pcbs.get(&id)
        else {
            return;
        };
        let (at, mate) = (*written - 1, *mate);
        let Some(pcb) = self.pcbs.get_mut(&mate) else { return };
        let inline = pcb.options.has(SO_OOBINLINE);
        let Role::Connection(conn) = &mut pcb.role else { return };
        if conn.at_mark() && !inline && conn.read < at {
            // Nobody has looked at the one before: it is lost, as on Linux.
            conn.read += conn.engine.recv(&mut [0], false) as u64;
        }
        conn.urgent = Some(Urgent { at, byte, taken: false });
        base.wake(&pcb.queue, POLLPRI | POLLIN | POLLRDNORM);
    }

    /// Receives the urgent byte. `EINVAL` if there is none, or if it comes with the others (`SO_OOBINLINE`).
    pub fn recv_urgent(&mut self, id: Id, buf: &mut [u8], peek: bool) -> Result<usize> {
        let pcb = self.pcb_mut(id)?;
        let inline = pcb.options.has(SO_OOBINLINE);
        let urgent = match &mut pcb.role {
            Role::Listening { .. } => return Err(Errno::ENOTCONN),
            Role::Idle => None,
            Role::Connection(conn) => conn.urgent.as_mut(),
        };
        let urgent = urgent.filter(|urgent| !inline && !urgent.taken).ok_or(Errno::EINVAL)?;
        urgent.taken |= !peek;
        match buf.first_mut() {
            Some(first) => *first = urgent.byte,
            None => return Ok(0),
        }
        Ok(1)
    }
}
