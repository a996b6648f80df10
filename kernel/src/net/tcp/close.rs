//! How TCP sockets and connections end.

use smoltcp::wire::IpEndpoint;

use super::{Id, MAX_ORPHANS, Pcb, Role, Tcp};
use crate::net::conn::TcpState;
use crate::net::icmp::{Kind, Report};
use crate::net::stack::Base;
use crate::wait::EVERYTHING;

impl Tcp {
    /// The descriptor is gone: ends a listener and its queue at once, a connection in good order if that can be.
    pub fn close(&mut self, base: &mut Base, id: Id) {
        self.stop_listening(base, id);
        let orphans = self.orphans;
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        let linger = pcb.options.linger;
        let Role::Connection(conn) = &mut pcb.role else { return self.forget(base, id) };
        let rude = linger.is_some_and(|time| time.is_zero()) || conn.engine.queues().readable > 0;
        match conn.engine.state() {
            TcpState::Closed | TcpState::SynSent => return self.forget(base, id),
            _ if rude || orphans >= MAX_ORPHANS => {
                self.counters.fails(true, false);
                conn.engine.abort();
            }
            _ => conn.engine.shut_write(),
        }
        pcb.owned = false;
        if let Some(at) = conn.deadline.take() {
            self.timers.remove(&(at, id));
        }
        self.orphans += 1;
        self.emit(base, id);
    }

    /// Whether there is a connection between two ends.
    pub fn knows(&self, local: IpEndpoint, remote: IpEndpoint) -> bool {
        self.flows.contains_key(&(local, remote))
    }

    /// Takes note of what became of a segment. A connect that is told so ends, as on Linux; an open connection goes on trying.
    pub fn icmp_error(&mut self, base: &mut Base, report: &Report) {
        let Some(&id) = self.flows.get(&(report.local, report.remote)) else { return };
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        let Role::Connection(conn) = &mut pcb.role else { return };
        if conn.seen != TcpState::SynSent {
            // The reason, if it times out later (RFC 1122, 4.2.3.9).
            let reason = Some(report.kind.errno()).filter(|_| !matches!(report.kind, Kind::TooBig { .. }));
            conn.soft_error = reason.or(conn.soft_error);
            return;
        }
        if matches!(report.kind, Kind::TooBig { .. }) {
            return;
        }
        conn.engine.abort();
        conn.seen = TcpState::Closed;
        pcb.error = pcb.error.or(Some(report.kind.errno()));
        self.counters.fails(false, false);
        base.wake(&pcb.queue, EVERYTHING);
        self.end_flow(id);
    }

    /// Ends listening, and resets what waited in the queue.
    pub fn stop_listening(&mut self, base: &mut Base, id: Id) {
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        if !matches!(pcb.role, Role::Listening { .. }) {
            return;
        }
        pcb.role = Role::Idle;
        if let Some(port) = pcb.binding.map(|binding| binding.port) {
            self.listen(id, port, false);
            self.ports.make_shareable(id, port);
        }
        let children = self.pcbs.iter().filter(|(_, pcb)| pcb.parent == Some(id));
        for child in children.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&child) {
                conn.engine.abort();
                conn.engine.emit(&mut base.links[conn.link], base.now);
            }
            self.forget(base, child);
        }
    }

    /// Makes a socket as good as new, except for what bind(2) gave it.
    pub fn disconnect(&mut self, base: &mut Base, id: Id) {
        self.end_flow(id);
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        let queue = pcb.queue.clone();
        if let Role::Connection(conn) = &mut pcb.role {
            conn.engine.abort();
            conn.engine.emit(&mut base.links[conn.link], base.now);
            base.host.release(conn.reserved);
            let claimed = conn.claimed;
            let mate = conn.mate;
            self.stirred.extend(mate);
            pcb.role = Role::Idle;
            (pcb.shut_read, pcb.shut_write) = (false, false);
            if let Some(binding) = pcb.binding.filter(|_| !claimed) {
                pcb.binding = None;
                self.ports.connection_ends(id, binding.port);
            }
        }
        self.unbind_implicit(id);
        base.wake(&queue, EVERYTHING);
    }

    /// Takes a connection out of the tables that packets and timers go by.
    pub fn end_flow(&mut self, id: Id) {
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        let Role::Connection(conn) = &mut pcb.role else { return };
        let flow = (conn.local, conn.remote);
        if let Some(at) = conn.deadline.take() {
            self.timers.remove(&(at, id));
        }
        if self.flows.get(&flow) == Some(&id) {
            self.flows.remove(&flow);
            self.counters.ends(conn.engine.measured().repeated);
        }
    }

    /// Removes a socket without a word to its peer.
    pub fn forget(&mut self, base: &mut Base, id: Id) {
        self.end_flow(id);
        let Some(pcb) = self.pcbs.remove(&id) else { return };
        base.wake(&pcb.queue, EVERYTHING);
        let Some(binding) = pcb.binding else { return };
        match pcb.role {
            Role::Connection(mut conn) => {
                if conn.mate.is_some() && !conn.engine.state().is_over() {
                    conn.engine.abort();
                }
                self.stir(conn.mate);
                base.host.release(conn.reserved);
                if conn.claimed {
                    self.ports.release(id, binding.port);
                } else {
                    self.ports.connection_ends(id, binding.port);
                }
                if conn.remembered {
                    self.time_waits -= conn.room();
                } else {
                    self.orphans -= usize::from(!pcb.owned && pcb.parent.is_none());
                }
            }
            Role::Idle | Role::Listening { .. } => self.ports.release(id, binding.port),
        }
    }
}
