//! The fast loop: a connection between two sockets of this host joins them directly (`net.inet.tcp.fastloop`).

use abi::socket::{SO_REUSEADDR, SO_REUSEPORT};
use smoltcp::wire::IpEndpoint;

use super::{Conn, Id, Pcb, Role, Tcp, is_v4};
use crate::net::addr::Binding;
use crate::net::conn::TcpState;
use crate::net::joined::Joined;
use crate::net::stack::Base;

impl Tcp {
    /// Connects a socket with a listener of this host, if there is one with room in its queue and nobody watches the interface;
    /// otherwise segments say what becomes of it.
    pub(super) fn join_local(
        &mut self,
        base: &mut Base,
        id: Id,
        link: usize,
        local: IpEndpoint,
        remote: IpEndpoint,
    ) -> bool {
        let device = &base.links[link].device;
        if self.slow_loop || !device.is_loopback() || device.is_watched() || local == remote {
            return false;
        }
        let Some(listener) = self.listener(base, link, remote, local) else { return false };
        if let Some(old) = self.flows.get(&(remote, local)).copied() {
            if self.state(old) != TcpState::TimeWait {
                return false;
            }
            self.forget(base, old);
        }
        let Ok(ours) = self.pcb(id).map(|pcb| pcb.options.tuning(is_v4(&local))) else { return false };
        let Some(parent) = self.pcbs.get_mut(&listener) else { return false };
        let Role::Listening { backlog, embryos, ready } = &mut parent.role else { return false };
        if *embryos + ready.len() > *backlog {
            return false;
        }
        *embryos += 1;
        let (family, options) = (parent.family, parent.options.clone());
        let (reuse_addr, reuse_port) = (options.has(SO_REUSEADDR), options.has(SO_REUSEPORT));
        let [our_end, their_end] = Joined::pair(&ours, &options.tuning(is_v4(&remote)));
        let mut conn = Conn::new(Box::new(their_end), remote, local, link, 0);
        (conn.seen, conn.mate) = (TcpState::SynReceived, Some(id));
        let accepted = self.insert(Pcb {
            family,
            queue: Default::default(),
            options,
            binding: Some(Binding { family, addr: Some(remote.addr), port: remote.port }),
            bound_explicitly: false,
            role: Role::Connection(Box::new(conn)),
            error: None,
            shut_read: false,
            shut_write: false,
            owned: false,
            parent: Some(listener),
        });
        self.flows.insert((remote, local), accepted);
        self.ports.connection_begins(accepted, remote, reuse_addr, reuse_port);
        self.settle(base, accepted, false);
        self.schedule(base, accepted);
        let mut conn = Conn::new(Box::new(our_end), local, remote, link, 0);
        (conn.seen, conn.mate, conn.claimed) = (TcpState::SynSent, Some(accepted), true);
        self.begin_flow(base, id, conn);
        true
    }

    /// Takes note that the other end of a joined pair has something to look at.
    pub(super) fn stir(&mut self, mate: Option<Id>) {
        self.stirred.extend(mate);
    }

    /// Looks at one end of a joined pair of which the other did something; whether there was one.
    pub(super) fn run_stirred(&mut self, base: &mut Base) -> bool {
        let Some(id) = self.stirred.pop() else { return false };
        self.settle(base, id, false);
        self.schedule(base, id);
        true
    }
}
