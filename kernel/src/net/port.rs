//! Who holds which port of one protocol.

use std::collections::HashMap;

use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint};

use super::addr::Binding;
use super::stack::Random;

/// The ports that are handed out when none is asked for (RFC 6335): the first and the last.
pub const EPHEMERAL: (u16, u16) = (49152, 65535);

/// How many ports are looked at before one is shared.
const PROBES: usize = 64;

/// A socket of the stack.
pub type Id = u64;

/// What bind(2) needs to know of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The socket.
    pub id: Id,
    /// What it holds.
    pub binding: Binding,
    /// `SO_REUSEADDR` at the time.
    pub reuse_addr: bool,
    /// `SO_REUSEPORT` at the time.
    pub reuse_port: bool,
    /// Whether it listens: then `SO_REUSEADDR` does not let another one in.
    pub exclusive: bool,
}

impl Claim {
    fn conflicts(&self, other: &Claim) -> bool {
        let both_ports = self.reuse_port && other.reuse_port;
        let both_addrs = self.reuse_addr && other.reuse_addr && !self.exclusive && !other.exclusive;
        self.id != other.id && self.binding.overlaps(&other.binding) && !both_ports && !both_addrs
    }
}

/// A connection that holds no claim of its own.
struct Connection {
    local: IpAddress,
    reuse_addr: bool,
    reuse_port: bool,
}

impl Connection {
    /// As on Linux both must have agreed: the listener of old, whose options the connection has, and the newcomer.
    fn conflicts(&self, claim: &Claim) -> bool {
        let agreed = self.reuse_addr && claim.reuse_addr || self.reuse_port && claim.reuse_port;
        claim.binding.covers(&self.local) && !agreed
    }
}

/// The ports of one protocol.
#[derive(Default)]
pub struct Ports {
    claims: HashMap<u16, Vec<Claim>>,
    /// Connections that came in through a listener, by port.
    connections: HashMap<u16, HashMap<Id, Connection>>,
}

impl Ports {
    /// Returns the sockets that hold a port.
    pub fn at(&self, port: u16) -> &[Claim] {
        self.claims.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Takes a port; `EADDRINUSE` if another socket is in the way.
    pub fn claim(&mut self, claim: Claim) -> Result<()> {
        let port = claim.binding.port;
        let busy = |held: &HashMap<Id, Connection>| held.values().any(|connection| connection.conflicts(&claim));
        if self.connections.get(&port).is_some_and(busy) || self.at(port).iter().any(|other| claim.conflicts(other)) {
            return Err(Errno::EADDRINUSE);
        }
        self.claims.entry(port).or_default().push(claim);
        Ok(())
    }

    /// Takes a port for a connection whose four ends nobody else has, whoever else holds it.
    pub fn share(&mut self, id: Id, binding: Binding) {
        let claim = Claim { id, binding, reuse_addr: true, reuse_port: false, exclusive: false };
        self.claims.entry(binding.port).or_default().push(claim);
    }

    /// Marks a socket as the one that listens; `EADDRINUSE` if another one already does.
    pub fn make_exclusive(&mut self, id: Id, port: u16) -> Result<()> {
        let claims = self.claims.get_mut(&port).ok_or(Errno::EINVAL)?;
        let at = claims.iter().position(|claim| claim.id == id).ok_or(Errno::EINVAL)?;
        let own = Claim { exclusive: true, ..claims[at] };
        if claims.iter().any(|other| other.exclusive && own.conflicts(other)) {
            return Err(Errno::EADDRINUSE);
        }
        claims[at] = own;
        Ok(())
    }

    /// Takes back [`Ports::make_exclusive`].
    pub fn make_shareable(&mut self, id: Id, port: u16) {
        if let Some(claim) = self.claims.get_mut(&port).and_then(|all| all.iter_mut().find(|claim| claim.id == id)) {
            claim.exclusive = false;
        }
    }

    /// Changes what a socket holds on its port: its address, once connected.
    pub fn narrow(&mut self, id: Id, binding: Binding) {
        if let Some(claim) = self.claims.get_mut(&binding.port).and_then(|all| all.iter_mut().find(|c| c.id == id)) {
            claim.binding = binding;
        }
    }

    /// Gives back what a socket held on a port.
    pub fn release(&mut self, id: Id, port: u16) {
        if let Some(claims) = self.claims.get_mut(&port) {
            claims.retain(|claim| claim.id != id);
            if claims.is_empty() {
                self.claims.remove(&port);
            }
        }
    }

    /// Changes what the holder of a port agrees to; options may be set after bind(2).
    pub fn agree(&mut self, id: Id, port: u16, reuse_addr: bool, reuse_port: bool) {
        if let Some(claim) = self.claims.get_mut(&port).and_then(|all| all.iter_mut().find(|claim| claim.id == id)) {
            (claim.reuse_addr, claim.reuse_port) = (reuse_addr, reuse_port);
        }
        if let Some(connection) = self.connections.get_mut(&port).and_then(|held| held.get_mut(&id)) {
            (connection.reuse_addr, connection.reuse_port) = (reuse_addr, reuse_port);
        }
    }

    /// Takes note of a connection that holds no claim; it has agreed to what its listener had.
    pub fn connection_begins(&mut self, id: Id, local: IpEndpoint, reuse_addr: bool, reuse_port: bool) {
        let connection = Connection { local: local.addr, reuse_addr, reuse_port };
        self.connections.entry(local.port).or_default().insert(id, connection);
    }

    /// Ends what [`Ports::connection_begins`] noted.
    pub fn connection_ends(&mut self, id: Id, port: u16) {
        if let Some(held) = self.connections.get_mut(&port) {
            held.remove(&id);
            if held.is_empty() {
                self.connections.remove(&port);
            }
        }
    }

    /// Chooses a port between `first` and `last` that nobody uses; failing that, one that `usable` takes. `None` if there is none.
    pub fn ephemeral(
        &self,
        random: &mut Random,
        (first, last): (u16, u16),
        usable: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let count = u32::from(last.checked_sub(first)?) + 1;
        let start = (random.draw() % u64::from(count)) as u32;
        let all = || (0..count).map(|step| first + ((start + step) % count) as u16);
        let free = |port: &u16| !self.claims.contains_key(port) && !self.connections.contains_key(port);
        // Near the end of all ports it takes less to share one than to find the last free one.
        let soon = all().take(PROBES).find(free);
        soon.or_else(|| all().find(|&port| usable(port))).or_else(|| all().find(free))
    }
}

#[cfg(test)]
mod tests {
    use super::super::addr::Family;
    use super::*;

    fn claim(id: Id, reuse_addr: bool, reuse_port: bool) -> Claim {
        let binding = Binding { family: Family::V4, addr: None, port: 80 };
        Claim { id, binding, reuse_addr, reuse_port, exclusive: false }
    }

    #[test]
    fn a_port_is_taken_once_unless_both_agree() {
        let mut ports = Ports::default();
        ports.claim(claim(1, true, false)).unwrap();
        assert_eq!(ports.claim(claim(2, false, false)), Err(Errno::EADDRINUSE));
        ports.claim(claim(3, true, false)).unwrap();
        ports.make_exclusive(1, 80).unwrap();
        assert_eq!(ports.make_exclusive(3, 80), Err(Errno::EADDRINUSE));
        assert_eq!(ports.claim(claim(4, true, false)), Err(Errno::EADDRINUSE));
        ports.release(1, 80);
        ports.make_exclusive(3, 80).unwrap();
    }

    #[test]
    fn a_finished_connection_yields_when_both_agree() {
        let mut ports = Ports::default();
        let local = IpEndpoint::new(IpAddress::v4(127, 0, 0, 1), 80);
        ports.connection_begins(9, local, false, false);
        assert_eq!(ports.claim(claim(1, true, false)), Err(Errno::EADDRINUSE));
        ports.connection_begins(9, local, true, false);
        assert_eq!(ports.claim(claim(1, false, false)), Err(Errno::EADDRINUSE));
        ports.claim(claim(1, true, false)).unwrap();
        ports.release(1, 80);
        let elsewhere = Binding { family: Family::V4, addr: Some(IpAddress::v4(10, 0, 0, 1)), port: 80 };
        ports.claim(Claim { binding: elsewhere, ..claim(1, false, false) }).unwrap();
        ports.release(1, 80);
        ports.connection_ends(9, 80);
        ports.claim(claim(1, false, false)).unwrap();
    }

    #[test]
    fn an_ephemeral_port_is_in_its_range_and_free() {
        let mut ports = Ports::default();
        for id in 0..300 {
            let port = ports.ephemeral(&mut Random::new(7), (4000, 4299), |_| false).unwrap();
            assert!((4000..4300).contains(&port) && ports.at(port).is_empty());
            let binding = Binding { family: Family::V4, addr: None, port };
            ports.claim(Claim { id, binding, ..claim(id, false, false) }).unwrap();
        }
        assert_eq!(ports.ephemeral(&mut Random::new(7), (4000, 4299), |_| false), None);
        assert_eq!(ports.ephemeral(&mut Random::new(7), (4000, 4299), |port| port == 4100), Some(4100));
        assert_eq!(ports.ephemeral(&mut Random::new(7), (65535, 65535), |_| false), Some(65535));
    }
}
