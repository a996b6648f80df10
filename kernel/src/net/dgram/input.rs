//! Arriving packets: which sockets they are for.

use abi::poll::{POLLIN, POLLRDNORM};
use abi::socket::{IPPROTO_UDP, SO_REUSEPORT, SO_TIMESTAMP};
use smoltcp::wire::{IpAddress, IpEndpoint, IpVersion};

use super::{Datagram, Dgrams, OVERHEAD, Pcb};
use crate::net::counters::{Udp, version};
use crate::net::port::{Claim, Id};
use crate::net::stack::Base;

/// What is known of a packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Number of the interface that it came through.
    pub link: u32,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub class: u8,
}

/// How well a socket fits a packet; the best one gets it.
type Fit = (bool, bool, bool, bool);

impl Dgrams {
    /// Delivers a datagram: one for a single host to the socket that fits best, one for a group or a whole network to all that
    /// fit. Whether there was one.
    pub fn input(
        &mut self,
        base: &mut Base,
        arrival: &Arrival,
        local: IpEndpoint,
        remote: IpEndpoint,
        data: &[u8],
    ) -> bool {
        if !local.addr.is_multicast() && !base.is_broadcast(&local.addr) {
            let Some(id) = self.choose(base, arrival, local, remote) else { return false };
            return self.pcbs.get_mut(&id).is_some_and(|pcb| {
                pcb.deliver(base, arrival, local.addr, remote, data);
                true
            });
        }
        let fitting: Vec<Id> = self.fitting(arrival, local, remote).map(|(_, id)| id).collect();
        for id in &fitting {
            if let Some(pcb) = self.pcbs.get_mut(id) {
                pcb.deliver(base, arrival, local.addr, remote, data);
            }
        }
        !fitting.is_empty()
    }

    /// The sockets that a packet is for, and how well they fit.
    fn fitting(
        &self,
        arrival: &Arrival,
        local: IpEndpoint,
        remote: IpEndpoint,
    ) -> impl Iterator<Item = (Fit, Id)> + Clone {
        self.ports.at(local.port).iter().filter_map(move |claim| self.fit(claim, arrival, local, remote))
    }

    fn fit(&self, claim: &Claim, arrival: &Arrival, local: IpEndpoint, remote: IpEndpoint) -> Option<(Fit, Id)> {
        let pcb = self.pcbs.get(&claim.id)?;
        let device = pcb.options.device;
        let wanted = pcb.binding?.covers(&local.addr)
            && pcb.remote.is_none_or(|only| only == remote)
            && device.is_none_or(|only| only == arrival.link)
            && (!local.addr.is_multicast() || pcb.wants_group(arrival.link, local.addr));
        let same_family = pcb.family.any().version() == local.addr.version();
        let fit = (pcb.remote.is_some(), pcb.binding?.addr.is_some(), device.is_some(), same_family);
        wanted.then_some((fit, claim.id))
    }

    /// Chooses the socket that fits best. Among those that fit equally: with `SO_REUSEPORT` by the two ends of the flow, so that a flow stays
    /// with its socket and flows are spread evenly; otherwise the youngest, as on Linux.
    fn choose(&self, base: &Base, arrival: &Arrival, local: IpEndpoint, remote: IpEndpoint) -> Option<Id> {
        let fitting = self.fitting(arrival, local, remote);
        let (best, youngest) = fitting.clone().max()?;
        let shares = |id: &Id| self.pcbs.get(id).is_some_and(|pcb| pcb.options.has(SO_REUSEPORT));
        let mut equal = fitting.filter(|(fit, _)| *fit == best).map(|(_, id)| id);
        if !shares(&youngest) || equal.clone().nth(1).is_none() {
            return Some(youngest);
        }
        let mut sharing: Vec<Id> = equal.by_ref().filter(shares).collect();
        sharing.sort_unstable();
        sharing.get(base.spread(local, remote, sharing.len())).copied()
    }

    /// Delivers an answer to an echo: the whole message, to the socket whose identifier it bears.
    pub fn echo_input(
        &mut self,
        base: &mut Base,
        arrival: &Arrival,
        to: IpAddress,
        from: IpAddress,
        message: &[u8],
    ) -> bool {
        const REPLY: (u8, u8) = (0, 129);
        let kind = if to.version() == IpVersion::Ipv4 { REPLY.0 } else { REPLY.1 };
        let Some([got, _, _, _, high, low]) = message.first_chunk() else { return false };
        if *got != kind {
            return false;
        }
        let port = u16::from_be_bytes([*high, *low]);
        let claims: Vec<Id> = self.ports.at(port).iter().map(|claim| claim.id).collect();
        let mut taken = false;
        for id in claims {
            let Some(pcb) = self.pcbs.get_mut(&id) else { continue };
            let wanted = pcb.binding.is_some_and(|binding| binding.covers(&to))
                && pcb.remote.is_none_or(|only| only.addr == from)
                && pcb.options.device.is_none_or(|only| only == arrival.link);
            if wanted {
                pcb.deliver(base, arrival, to, IpEndpoint::new(from, 0), message);
                taken = true;
            }
        }
        taken
    }

    /// Gives a packet to all raw sockets that want it: of IPv4 the whole, of IPv6 what is behind the headers. Whether there was one.
    pub fn raw_input(
        &mut self,
        base: &mut Base,
        arrival: &Arrival,
        ends: (IpAddress, IpAddress),
        protocol: u8,
        packet: &[u8],
        payload: &[u8],
    ) -> bool {
        let ((from, to), kind) = (ends, payload.first().copied().unwrap_or(0));
        let ipv4 = to.version() == IpVersion::Ipv4;
        let mut taken = false;
        for pcb in self.pcbs.values_mut() {
            let blocked = match (i32::from(protocol), ipv4) {
                (abi::socket::IPPROTO_ICMP, true) => pcb.filter.blocks_v4(kind),
                (abi::socket::IPPROTO_ICMPV6, false) => pcb.filter.blocks_v6(kind),
                _ => false,
            };
            let wanted = pcb.protocol == protocol
                && pcb.family.any().version() == to.version()
                && pcb.binding.is_none_or(|binding| binding.covers(&to))
                && pcb.remote.is_none_or(|only| only.addr == from)
                && pcb.options.device.is_none_or(|only| only == arrival.link)
                && (!to.is_multicast() || pcb.wants_group(arrival.link, to));
            if !wanted || super::send::only_sends(pcb.protocol) {
                continue;
            }
            taken = true;
            if !blocked {
                let data = if ipv4 { packet } else { payload };
                pcb.deliver(base, arrival, to, IpEndpoint::new(from, 0), data);
            }
        }
        taken
    }
}

impl Pcb {
    /// Puts a datagram into the inbox; one that has no room, or that nobody will read, is lost.
    fn deliver(&mut self, base: &mut Base, arrival: &Arrival, to: IpAddress, from: IpEndpoint, data: &[u8]) {
        let cost = data.len() + OVERHEAD;
        let room = self.inbox.is_empty() || self.inbox_bytes + cost <= self.options.receive_buffer;
        if !room && i32::from(self.protocol) == IPPROTO_UDP {
            base.counters.udp(version(&to), Udp::FULLSOCK);
        }
        if !room || self.shut_read {
            return;
        }
        self.inbox_bytes += cost;
        let wants_time = self.options.has(SO_TIMESTAMP) || self.options.timestamp_ns;
        let Arrival { link, hop_limit, class } = *arrival;
        let at = wants_time.then(|| base.host.wall_clock());
        let many = to.is_multicast() || base.is_broadcast(&to);
        let answer_from = match many.then(|| base.route(&from.addr)) {
            Some(Ok((_, IpAddress::Ipv4(source)))) => Some(source),
            _ => None,
        };
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(data);
        self.inbox.push_back(Datagram { from, to, hop_limit, class, link, answer_from, at, data: bytes });
        base.wake(&self.queue, POLLIN | POLLRDNORM);
    }
}
