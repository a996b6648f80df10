//! Multicast groups: which ones a socket has joined, and through which interface it sends to them.

use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, Ipv4Address, Ipv6Address};

use super::Pcb;
use crate::net::stack::Base;

/// Groups of one socket at most (Linux's `net.ipv4.igmp_max_memberships`).
const MOST: usize = 20;

/// A group that a socket has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Number of the interface.
    pub link: u32,
    /// The group.
    pub group: IpAddress,
}

impl Membership {
    /// Ends it at the interface.
    pub fn end(&self, base: &mut Base) {
        if let Some(at) = base.link_by_index(self.link) {
            base.leave_group(at, self.group);
        }
    }
}

/// Finds the interface of an `ip_mreq`: by its address, by its number (0.x.x.x), or for 0.0.0.0 by the route to the group.
pub fn link_of(base: &Base, interface: [u8; 4], group: Option<Ipv4Address>) -> Option<u32> {
    match (interface, group) {
        ([0, 0, 0, 0], Some(group)) => base.route(&group.into()).ok().map(|(at, _)| base.links[at].index),
        ([0, b, c, d], _) => {
            let number = u32::from_be_bytes([0, b, c, d]);
            base.link_by_index(number).map(|_| number)
        }
        (addr, _) => {
            let addr = Ipv4Address::from(addr).into();
            base.links.iter().find(|link| link.is_ours(&addr)).map(|link| link.index)
        }
    }
}

impl Pcb {
    /// Joins an IPv4 group. `EINVAL` for an address that is none, `ENODEV` without such an interface, `EADDRINUSE` if it has joined
    /// it already, `ENOBUFS` for too many.
    pub fn join_v4(&mut self, base: &mut Base, group: [u8; 4], interface: [u8; 4]) -> Result<()> {
        let group = Ipv4Address::from(group);
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let link = link_of(base, interface, Some(group)).ok_or(Errno::ENODEV)?;
        self.join(base, Membership { link, group: group.into() })
    }

    /// Leaves an IPv4 group; with interface 0.0.0.0 and no route to it the one that it was joined on. `EADDRNOTAVAIL` if it has not joined it.
    pub fn leave_v4(&mut self, base: &mut Base, group: [u8; 4], interface: [u8; 4]) -> Result<()> {
        let group = Ipv4Address::from(group);
        let link = link_of(base, interface, Some(group)).ok_or(Errno::ENODEV)?;
        self.leave(base, Membership { link, group: group.into() })
    }

    /// Joins an IPv6 group; `link` 0 is the one that the route to it goes through. Errors as [`Pcb::join_v4`].
    pub fn join_v6(&mut self, base: &mut Base, group: [u8; 16], link: u32) -> Result<()> {
        let group = Ipv6Address::from(group);
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let link = Self::link_v6(base, group, link)?;
        self.join(base, Membership { link, group: group.into() })
    }

    /// Leaves an IPv6 group; `link` 0 is any. `EINVAL` for an address that is none, `EADDRNOTAVAIL` if it has not joined it.
    pub fn leave_v6(&mut self, base: &mut Base, group: [u8; 16], link: u32) -> Result<()> {
        let group = Ipv6Address::from(group);
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let joined = |joined: &&Membership| joined.group == group.into() && (link == 0 || joined.link == link);
        let membership = *self.groups.iter().find(joined).ok_or(Errno::EADDRNOTAVAIL)?;
        self.leave(base, membership)
    }

    fn link_v6(base: &Base, group: Ipv6Address, link: u32) -> Result<u32> {
        match link {
            0 => base.route(&group.into()).map(|(at, _)| base.links[at].index).map_err(|_| Errno::ENODEV),
            number if base.links.iter().any(|link| link.index == number) => Ok(number),
            _ => Err(Errno::ENODEV),
        }
    }

    fn join(&mut self, base: &mut Base, membership: Membership) -> Result<()> {
        if self.groups.contains(&membership) {
            return Err(Errno::EADDRINUSE);
        }
        if self.groups.len() >= MOST {
            return Err(Errno::ENOBUFS);
        }
        let link = base.link_by_index(membership.link).ok_or(Errno::ENODEV)?;
        base.join_group(link, membership.group);
        self.groups.push(membership);
        Ok(())
    }

    fn leave(&mut self, base: &mut Base, membership: Membership) -> Result<()> {
        let at = self.groups.iter().position(|joined| *joined == membership).ok_or(Errno::EADDRNOTAVAIL)?;
        self.groups.swap_remove(at);
        membership.end(base);
        Ok(())
    }

    /// Whether a packet to a group is for this socket: by default whatever group some socket of the host has joined, as on Linux
    /// (`IP_MULTICAST_ALL`).
    pub fn wants_group(&self, link: u32, group: IpAddress) -> bool {
        self.options.multicast_all || self.groups.contains(&Membership { link, group })
    }
}
