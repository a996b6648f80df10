//! Packets on their way out: the route, the pieces, the neighbour; and what is due by itself.

use abi::{Errno, Result};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpAddress};

use super::counters::{Ip, version};
use super::icmp::{self, Kind, Report};
use super::link::is_link_local;
use super::neighbour::Action;
use super::packet::Packet;
use super::route::{Route, Via};
use super::stack::{Base, Way};
use super::{edge, ether, frag};

/// How long a path is believed to be narrow (RFC 8201, 4).
const PATH_MTU_AGE: Duration = Duration::from_secs(600);
/// Packets to this host itself that wait at most.
const LOOPED: usize = 1024;
/// Paths remembered at most.
const PATHS: usize = 4096;
/// The narrowest path that is believed: Linux's `min_pmtu`, and what IPv6 demands.
const NARROWEST: [usize; 2] = [552, 1280];

impl Base {
    /// Returns the interface towards `to` and the address to speak from.
    ///
    /// `ENETUNREACH` without a route, `EHOSTUNREACH` for one that refuses, `EINVAL` for one that leads nowhere (as on Linux).
    pub fn route(&self, to: &IpAddress) -> Result<(usize, IpAddress)> {
        self.route_by(to, None).map(|way| (way.link, way.source))
    }

    /// Returns the way to `to`, through the interface at `only` if one is given; errors as [`Base::route`].
    pub fn route_by(&self, to: &IpAddress, only: Option<usize>) -> Result<Way> {
        // A packet to one of our own addresses stays inside.
        if self.is_ours(to) {
            let own = self.links.iter().find(|link| link.is_ours(to)).and_then(|link| link.source_for(to));
            let source = own.or_else(|| self.links[0].source_for(to)).ok_or(Errno::EADDRNOTAVAIL)?;
            return Ok(Way { link: 0, source, mtu: self.links[0].device.mtu(), direct: true });
        }
        let everybody = || self.links.places().find(|(_, link)| link.is_directed_broadcast(to));
        let found = match everybody().filter(|(at, _)| only.is_none_or(|only| only == *at)) {
            Some((at, _)) => Ok((at, *to, None)),
            None => self.hop(to, only),
        };
        let (link, hop, source) = match found {
            Ok(found) => found,
            // On a link that was named everybody can be reached, and a group is on every one.
            Err(Errno::ENETUNREACH) if only.is_some_and(|at| self.links.get(at).is_some_and(|link| link.up)) => {
                (only.unwrap_or(0), *to, None)
            }
            Err(error) => return Err(error),
        };
        let any = || {
            self.links.iter().filter(|link| link.up).filter_map(|link| link.source_for(to)).find(|a| !is_link_local(a))
        };
        // A router of IPv6 is named by an address that means nothing beyond the link.
        let near = if is_link_local(&hop) { to } else { &hop };
        let source = source.or_else(|| self.links[link].source_for(near)).or_else(any);
        let source = self.links[link].source_for(to).filter(|_| is_link_local(to)).or(source);
        let source = source.ok_or(Errno::EADDRNOTAVAIL)?;
        Ok(Way { link, source, mtu: self.mtu(link, to), direct: hop == *to })
    }

    /// The route that packets to `to` go by.
    pub fn route_for(&self, to: &IpAddress, only: Option<usize>) -> Option<&Route> {
        let usable = |route: &Route| {
            let leads = matches!(route.via, Via::Link | Via::Gateway(_));
            let up = || self.links.get(route.link).is_some_and(|link| link.up);
            if leads { up() && only.is_none_or(|only| route.link == only) } else { only.is_none() }
        };
        self.routes.lookup(to, usable)
    }

    /// Interface and neighbour that packets to `to` go to next, and the address to speak from if the route says so.
    fn hop(&self, to: &IpAddress, only: Option<usize>) -> Result<(usize, IpAddress, Option<IpAddress>)> {
        let Some(route) = self.route_for(to, only) else {
            // IPv6 groups are on every link.
            let ready = |(_, link): &(usize, &super::link::Link)| {
                link.up && !link.device.is_loopback() && link.source_for(to).is_some()
            };
            return match to {
                IpAddress::Ipv6(group) if group.is_multicast() => match only {
                    Some(at) => Ok((at, *to, None)),
                    None => self.links.places().find(ready).map(|(at, _)| (at, *to, None)).ok_or(Errno::ENETUNREACH),
                },
                _ => Err(Errno::ENETUNREACH),
            };
        };
        match route.via {
            Via::Link => Ok((route.link, *to, route.source)),
            Via::Gateway(gateway) => Ok((route.link, gateway, route.source)),
            Via::Reject => Err(Errno::EHOSTUNREACH),
            Via::Blackhole => Err(Errno::EINVAL),
        }
    }

    /// The longest packet to `to`.
    fn mtu(&self, link: usize, to: &IpAddress) -> usize {
        let path = self.path_mtus.get(to).filter(|(_, until)| *until > self.now).map_or(usize::MAX, |(mtu, _)| *mtu);
        self.links[link].device.mtu().min(path)
    }

    /// Takes note that the way to a host is narrow.
    pub fn learn_path_mtu(&mut self, to: IpAddress, mtu: usize) {
        let narrowest = NARROWEST[usize::from(matches!(to, IpAddress::Ipv6(_)))];
        if self.path_mtus.len() >= PATHS {
            self.path_mtus.clear();
        }
        let known = self.path_mtus.get(&to).filter(|(_, until)| *until > self.now).map_or(usize::MAX, |(mtu, _)| *mtu);
        self.path_mtus.insert(to, (mtu.max(narrowest).min(known), self.now + PATH_MTU_AGE));
    }

    /// The number of the interface by which a packet has come that the interface at `at` brought: what this host sends to itself comes by
    /// the one whose address it names, although the loopback carries it.
    pub fn arrived_by(&self, at: usize, to: &IpAddress) -> u32 {
        let link = &self.links[at];
        let named = || self.links.iter().find(|link| link.is_ours(to));
        if link.device.is_loopback() { named().unwrap_or(link).index } else { link.index }
    }

    /// Sends a datagram as [`Base::output`], and to this host too if it is for everybody on the link, or for a group of which it is a member
    /// there and `looped` says so. A group's packet without a hop left goes no further.
    pub fn output_to_all(&mut self, at: usize, packet: Vec<u8>, looped: bool) {
        let Some(parsed) = Packet::parse(&packet, true).filter(|_| !self.links[at].device.is_loopback()) else {
            return self.output(at, packet);
        };
        let group = parsed.to.is_multicast();
        let here = if group { looped && self.accepts(at, &parsed.to) } else { self.links[at].is_broadcast(&parsed.to) };
        let stays = group && parsed.hop_limit == 0;
        if here && self.looped.len() < LOOPED {
            self.looped.push_back((at, packet.clone()));
        }
        if !stays {
            self.output(at, packet);
        }
    }

    /// Sends an IP packet of this host, complete with all headers, on the way that [`Base::route`] has found.
    pub fn output(&mut self, link: usize, packet: Vec<u8>) {
        if self.links[link].device.is_loopback() {
            let now = self.now;
            return self.links[link].device.transmit(now, packet);
        }
        self.dispatch(link, packet, true);
    }

    /// Sends what the engines have left at their interfaces.
    pub fn flush(&mut self) {
        loop {
            let full = self.links.iter_mut().find(|(_, link)| !link.out.is_empty());
            let Some((at, link)) = full else { return };
            for packet in std::mem::take(&mut link.out) {
                self.output(at, packet);
            }
        }
    }

    /// Finds the way of a packet that the interface at `at` is meant for, and sends it in as many pieces as it takes.
    pub fn dispatch(&mut self, at: usize, packet: Vec<u8>, own: bool) {
        let Some(parsed) = Packet::parse(&packet, true) else { return };
        let (to, dont_fragment) = (parsed.to, !own && (packet[0] >> 4 == 6 || packet[6] & 0x40 != 0));
        if self.is_ours(&to) {
            let now = self.now;
            return self.links[0].device.transmit(now, packet);
        }
        if own {
            self.counters.sent(&packet);
        }
        let everybody = to.is_multicast() || self.links[at].is_broadcast(&to);
        let hop = if everybody { Ok((at, to, None)) } else { self.hop(&to, Some(at)).or_else(|_| self.hop(&to, None)) };
        let (link, hop) = match hop {
            Ok((link, hop, _)) => (link, hop),
            // Who named the interface says that the host is on it.
            Err(Errno::ENETUNREACH) if own && self.links[at].up => (at, to),
            Err(error) => {
                self.counters.ip(version(&to), Ip::NOROUTE);
                let kind = if error == Errno::ENETUNREACH { Kind::NetUnreachable } else { Kind::HostUnreachable };
                if own && error != Errno::EINVAL {
                    self.report_own(&packet, kind);
                }
                return;
            }
        };
        let mtu = self.mtu(link, &to);
        if packet.len() <= mtu {
            return self.send_to(link, hop, packet);
        }
        if dont_fragment {
            self.counters.ip(version(&to), Ip::CANTFRAG);
            return self.refuse(at, &parsed, icmp::Problem::TooBig(mtu));
        }
        if own && let Some(segments) = edge::cut(&packet, mtu) {
            self.counters.cut(version(&to), segments.len());
            return segments.into_iter().for_each(|segment| self.send_to(link, hop, segment));
        }
        let id = self.random.draw() as u32;
        self.counters.ip(version(&to), Ip::FRAGMENTED);
        for piece in frag::fragment(&packet, mtu, id) {
            self.counters.ip(version(&to), Ip::OFRAGMENTS);
            self.send_to(link, hop, piece);
        }
    }

    /// Sends a packet to a neighbour.
    fn send_to(&mut self, link: usize, hop: IpAddress, packet: Vec<u8>) {
        if !self.links[link].up {
            return;
        }
        if !self.links[link].is_ethernet() {
            let now = self.now;
            return self.links[link].device.transmit(now, packet);
        }
        let group =
            if self.links[link].is_broadcast(&hop) { Some(EthernetAddress::BROADCAST) } else { ether::group(&hop) };
        match group {
            Some(mac) => self.send_frame(link, mac, &packet),
            None => {
                let actions = self.neighbours.output(self.now, (link, hop), packet);
                self.perform(actions);
            }
        }
    }

    /// Sends an IP packet in an Ethernet frame.
    pub(super) fn send_frame(&mut self, link: usize, to: EthernetAddress, packet: &[u8]) {
        let kind = if packet.first().is_some_and(|first| first >> 4 == 6) {
            EthernetProtocol::Ipv6
        } else {
            EthernetProtocol::Ipv4
        };
        self.send_ethernet(link, to, kind, packet);
    }

    /// Does what the cache of neighbours wants.
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(key, mac, packet) => self.send_frame(key.0, mac, &packet),
                Action::Ask(key, known) => self.ask(key, known),
                Action::Lost(key, packets) => {
                    for packet in packets {
                        self.lost(key.0, &packet);
                    }
                }
            }
        }
        if let Some(at) = self.neighbours.deadline() {
            self.note_due(at);
        }
    }

    /// A neighbour did not answer: who has sent a packet to it is told.
    fn lost(&mut self, link: usize, packet: &[u8]) {
        let Some(parsed) = Packet::parse(packet, true) else { return };
        match self.is_ours(&parsed.from) {
            true => self.report_own(packet, Kind::HostUnreachable),
            false => self.refuse(link, &parsed, icmp::Problem::Host),
        }
    }

    /// Tells the socket that has sent a packet what we ourselves found out about it.
    fn report_own(&mut self, packet: &[u8], kind: Kind) {
        let v4 = packet.first().is_some_and(|first| first >> 4 == 4);
        let number = match (kind, v4) {
            (Kind::NetUnreachable, true) => (3, 0),
            (_, true) => (3, 1),
            (Kind::NetUnreachable, false) => (1, 0),
            (_, false) => (1, 3),
        };
        let report = Report::about(packet, kind, number);
        self.reports.extend(report.map(|report| Report { from: report.local.addr, ..report }));
    }

    /// Whether packets to `addr` that come in through the interface at `at` are for this host.
    pub fn accepts(&self, at: usize, addr: &IpAddress) -> bool {
        let link = &self.links[at];
        if addr.is_multicast() {
            return link.is_member(addr);
        }
        if link.is_broadcast(addr) {
            return true;
        }
        if is_link_local(addr) && matches!(addr, IpAddress::Ipv6(_)) && !link.device.is_loopback() {
            return link.is_ours(addr);
        }
        self.is_ours(addr)
    }

    /// Whether a packet can have come in through the interface at `at` at all (RFC 1122, 3.2.1.3).
    pub fn is_credible(&self, at: usize, packet: &Packet<'_>) -> bool {
        let inside = |addr: &IpAddress| match addr {
            IpAddress::Ipv4(addr) => addr.is_loopback(),
            IpAddress::Ipv6(addr) => addr.is_loopback(),
        };
        let link = &self.links[at];
        if packet.from.is_multicast() || packet.from.is_broadcast() || packet.to.is_unspecified() {
            return false;
        }
        link.device.is_loopback() || !inside(&packet.from) && !inside(&packet.to)
    }

    /// Passes on a packet that is for somebody else.
    pub fn forward(&mut self, at: usize, packet: &Packet<'_>) {
        let on = match packet.to {
            IpAddress::Ipv4(_) => self.settings.forward4,
            IpAddress::Ipv6(_) => self.settings.forward6,
        };
        let beyond = |addr: &IpAddress| is_link_local(addr) || addr.is_unspecified() || addr.is_multicast();
        if !on || beyond(&packet.to) || beyond(&packet.from) || self.links[at].device.is_loopback() {
            self.counters.ip(version(&packet.to), Ip::CANTFORWARD);
            return;
        }
        if packet.hop_limit <= 1 {
            return self.refuse(at, packet, icmp::Problem::Time);
        }
        let (link, hop) = match self.hop(&packet.to, None) {
            Ok((link, hop, _)) => (link, hop),
            Err(Errno::EINVAL) => return,
            Err(error) => {
                self.counters.ip(version(&packet.to), Ip::CANTFORWARD);
                let problem = if error == Errno::EHOSTUNREACH { icmp::Problem::Host } else { icmp::Problem::Net };
                return self.refuse(at, packet, problem);
            }
        };
        let mtu = self.mtu(link, &packet.to);
        if packet.bytes.len() > mtu && (packet.bytes[0] >> 4 == 6 || packet.bytes[6] & 0x40 != 0) {
            self.counters.ip(version(&packet.to), Ip::CANTFRAG);
            return self.refuse(at, packet, icmp::Problem::TooBig(mtu));
        }
        if link == at {
            self.advise(at, packet, hop);
        }
        let mut bytes = packet.bytes.to_vec();
        match packet.to {
            IpAddress::Ipv4(_) => {
                bytes[8] -= 1;
                super::packet::fill_header_checksum(&mut bytes);
            }
            IpAddress::Ipv6(_) => bytes[7] -= 1,
        }
        self.counters.ip(version(&packet.to), Ip::FORWARD);
        self.dispatch(link, bytes, false);
    }

    /// When [`Base::run_timers`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let devices = self.links.iter().filter_map(|link| link.device.deadline());
        devices.chain(self.due).min()
    }

    /// Takes note that something is due.
    pub(super) fn note_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Does what is due by itself.
    pub fn run_timers(&mut self) {
        if self.due.is_none_or(|due| due > self.now) {
            return;
        }
        self.due = None;
        let actions = self.neighbours.run(self.now);
        self.perform(actions);
        let (late, next) = self.pieces.expire(self.now);
        for first in late {
            let Some(packet) = Packet::parse(&first, true) else { continue };
            let Ok((at, _)) = self.route(&packet.from) else { continue };
            self.refuse(at, &packet, icmp::Problem::Reassembly);
        }
        let routes = self.routes.expire(self.now);
        let addresses = self.run_addresses();
        let announcements = self.run_announcements();
        for at in [next, routes, addresses, announcements].into_iter().flatten() {
            self.note_due(at);
        }
    }
}
