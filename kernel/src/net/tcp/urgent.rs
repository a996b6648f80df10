//! Urgent data (`MSG_OOB`): the last byte marked so, and where in the stream it stands (tcp(7), RFC 6093).

use abi::poll::{POLLIN, POLLPRI, POLLRDNORM};
use abi::socket::SO_OOBINLINE;
use abi::{Errno, Result};
use smoltcp::wire::TcpPacket;

use super::{Conn, Id, Pcb, Role, Tcp};
use crate::net::conn::TcpState;
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

/// What segments have said of urgent bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pointer {
    /// The number of the peer's SYN.
    begin: Option<u32>,
    /// The place that was pointed to last.
    last: Option<u64>,
    /// The place of a byte that has not come yet.
    awaited: Option<u64>,
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
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return };
        match conn.mate {
            Some(mate) => {
                let at = conn.written - 1;
                self.urgent_arrives(base, mate, at, byte);
            }
            None => conn.engine.urge(conn.written),
        }
    }

    /// Looks for urgent data in a segment: at what it points to, and for the byte that an earlier one has pointed to.
    pub(super) fn look_for_urgent(&mut self, base: &mut Base, id: Id, segment: &TcpPacket<&[u8]>) {
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return };
        if segment.syn() {
            conn.pointer.begin = Some(segment.seq_number().0 as u32);
        }
        let Some(begin) = conn.pointer.begin else { return };
        if conn.seen < TcpState::Established || conn.seen.peer_is_done() || segment.rst() {
            return;
        }
        // Places in the stream from numbers of 32 bits: they lie near what was read last.
        let read = conn.read;
        let place =
            |seq: u32| read.checked_add_signed(i64::from(seq.wrapping_sub(begin.wrapping_add(1 + read as u32)) as i32));
        let seq = segment.seq_number().0 as u32;
        if segment.urg()
            && segment.urgent_at() > 0
            && let Some(at) = place(seq.wrapping_add(u32::from(segment.urgent_at()) - 1))
            && conn.pointer.last.is_none_or(|last| at > last)
            && at >= read
        {
            (conn.pointer.last, conn.pointer.awaited) = (Some(at), Some(at));
        }
        let (Some(at), Some(start)) = (conn.pointer.awaited, place(seq)) else { return };
        let byte = at.checked_sub(start).and_then(|offset| segment.payload().get(usize::try_from(offset).ok()?));
        if let Some(byte) = byte.copied() {
            conn.pointer.awaited = None;
            self.urgent_arrives(base, id, at, byte);
        }
    }

    /// Tells a socket of an urgent byte at a place of what it receives.
    fn urgent_arrives(&mut self, base: &mut Base, id: Id, at: u64, byte: u8) {
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
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
