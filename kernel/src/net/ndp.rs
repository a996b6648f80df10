//! Neighbour discovery of IPv6 (RFC 4861), addresses that a host gives itself (RFC 4862), and what becomes of addresses with time.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpProtocol, Ipv6Address};

use super::ether;
use super::link::{Tentative, solicited_node};
use super::neighbour::Learn;
use super::packet::{self, Packet};
use super::route::{Origin, Route, Via};
use super::stack::Base;

/// Types of ICMPv6.
pub const ROUTER_SOLICIT: u8 = 133;
const ROUTER_ADVERT: u8 = 134;
const NEIGHBOUR_SOLICIT: u8 = 135;
const NEIGHBOUR_ADVERT: u8 = 136;
/// The last of them.
pub const REDIRECT: u8 = 137;

const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;

/// What every such packet has, so that none comes from beyond the link.
const HOPS: u8 = 255;
/// Between two questions.
const RETRANS: Duration = Duration::from_secs(1);
/// Between two questions for routers, and how often they are asked.
const SOLICIT_AGAIN: (Duration, u8) = (Duration::from_secs(4), 3);
/// A length of life that does not end.
const FOR_EVER: u32 = u32::MAX;
/// Addresses and routes of routers on one link at most.
const MAX_LENT: usize = 16;

const ALL_NODES: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The address of a host by the hardware address of its interface (RFC 4291, appendix A).
pub fn by_mac(prefix: Ipv6Address, mac: EthernetAddress) -> Ipv6Address {
    let mut octets = prefix.octets();
    let [a, b, c, d, e, f] = mac.0;
    octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Address::from(octets)
}

/// The options of a message: type, and the bytes behind type and length. A malformed one ends them.
fn each(mut options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&kind, &units) = (options.first()?, options.get(1)?);
        let length = usize::from(units) * 8;
        let bytes = options.get(2..length)?;
        options = options.get(length..)?;
        Some((kind, bytes))
    })
}

/// Finds an option.
fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    each(options).find(|(kind, _)| *kind == wanted).map(|(_, bytes)| bytes)
}

fn mac(options: &[u8], wanted: u8) -> Option<EthernetAddress> {
    Some(EthernetAddress(*option(options, wanted)?.first_chunk::<6>()?))
}

/// Reads an address.
pub(super) fn address(bytes: &[u8], at: usize) -> Option<Ipv6Address> {
    Some(Ipv6Address::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

/// The hardware address of a target, among options.
pub(super) fn target_mac(options: &[u8]) -> Option<EthernetAddress> {
    mac(options, TARGET_MAC)
}

/// Appends it.
pub(super) fn append_target_mac(body: &mut Vec<u8>, mac: EthernetAddress) {
    body.extend_from_slice(&[TARGET_MAC, 1]);
    body.extend_from_slice(mac.as_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Base {
    /// Takes a message of neighbour discovery in; its checksum is right.
    pub(super) fn ndp_input(&mut self, at: usize, packet: &Packet<'_>) -> Option<()> {
        let body = packet.payload;
        let IpAddress::Ipv6(from) = packet.from else { return None };
        if packet.hop_limit != HOPS || *body.get(1)? != 0 || !self.links[at].is_ethernet() {
            return None;
        }
        match *body.first()? {
            NEIGHBOUR_SOLICIT => self.solicited(at, from, packet.to, body),
            NEIGHBOUR_ADVERT => self.advertised(at, packet.to, body),
            ROUTER_ADVERT => self.router_advertised(at, from, body),
            REDIRECT => self.redirect6(at, from, body),
            _ => None,
        }
    }

    /// Somebody asks for an address.
    fn solicited(&mut self, at: usize, from: Ipv6Address, to: IpAddress, body: &[u8]) -> Option<()> {
        let target = address(body, 8)?;
        let options = body.get(24..)?;
        let own = IpAddress::Ipv6(target);
        if self.links[at].tentative.iter().any(|tentative| tentative.cidr.address() == own) {
            // Who asks without an address tries it out too, and neither of us can have it.
            return if from.is_unspecified() { self.duplicated(at, own) } else { None };
        }
        if !self.links[at].addrs.iter().any(|cidr| cidr.address() == own) {
            return None;
        }
        if from.is_unspecified() {
            if !to.is_multicast() {
                return None;
            }
            self.advertise(at, target, ALL_NODES, false);
            return Some(());
        }
        if let Some(mac) = mac(options, SOURCE_MAC) {
            let learn = Learn { create: true, overrides: true, ..Learn::default() };
            let actions = self.neighbours.learn(self.now, (at, from.into()), mac, learn);
            self.perform(actions);
        }
        self.advertise(at, target, from, true);
        Some(())
    }

    /// Somebody names the hardware address of an address.
    fn advertised(&mut self, at: usize, to: IpAddress, body: &[u8]) -> Option<()> {
        let (flags, target) = (*body.get(4)?, address(body, 8)?);
        let (router, solicited, overrides) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0);
        if target.is_multicast() || solicited && to.is_multicast() {
            return None;
        }
        let own = IpAddress::Ipv6(target);
        if self.links[at].tentative.iter().any(|tentative| tentative.cidr.address() == own) {
            return self.duplicated(at, own);
        }
        if self.links[at].is_ours(&own) {
            let text = format!("{}: somebody else has {target} too\n", self.links[at].name);
            self.host.console(text.as_bytes());
            return None;
        }
        let mac = mac(body.get(24..)?, TARGET_MAC)?;
        let learn = Learn { answer: solicited, create: false, overrides, router: Some(router) };
        let actions = self.neighbours.learn(self.now, (at, own), mac, learn);
        self.perform(actions);
        Some(())
    }

    /// A router says what it knows: itself as a way out, networks on the link, addresses to take.
    fn router_advertised(&mut self, at: usize, from: Ipv6Address, body: &[u8]) -> Option<()> {
        let lifetime = u16::from_be_bytes([*body.get(6)?, *body.get(7)?]);
        let options = body.get(16..)?;
        if !from.is_unicast_link_local() || !self.settings.accept_routers || self.settings.forward6 {
            return None;
        }
        self.links[at].solicit = None;
        if let Some(mac) = mac(options, SOURCE_MAC) {
            let learn = Learn { create: true, overrides: true, router: Some(true), ..Learn::default() };
            let actions = self.neighbours.learn(self.now, (at, from.into()), mac, learn);
            self.perform(actions);
        }
        let everything = IpCidr::new(Ipv6Address::UNSPECIFIED.into(), 0);
        let via = Via::Gateway(from.into());
        let route = |to: IpCidr, via: Via, expires: Option<Instant>| Route {
            to,
            via,
            link: at,
            source: None,
            origin: Origin::Advertised,
            metric: 1024,
            expires,
        };
        let mine = |old: &Route| old.link == at && old.origin == Origin::Advertised;
        if lifetime == 0 {
            let _ = self.routes.remove(&everything, |old| mine(old) && old.via == via);
        } else if self.routes.all().iter().filter(|old| mine(old)).count() < MAX_LENT {
            let ends = self.now + Duration::from_secs(lifetime.into());
            self.routes.renew(route(everything, via, Some(ends)));
            self.note_due(ends);
        }
        if let Some(mtu) = option(options, MTU).and_then(|option| word(option, 2)) {
            let mtu = usize::try_from(mtu).unwrap_or(0);
            if (1280..self.links[at].device.mtu()).contains(&mtu) {
                let _ = self.links[at].set_mtu(self.now, mtu);
            }
        }
        for (_, prefix) in each(options).filter(|(kind, _)| *kind == PREFIX) {
            self.prefix_advertised(at, prefix, &route);
        }
        Some(())
    }

    fn prefix_advertised(
        &mut self,
        at: usize,
        option: &[u8],
        route: &dyn Fn(IpCidr, Via, Option<Instant>) -> Route,
    ) -> Option<()> {
        let (length, flags) = (*option.first()?, *option.get(1)?);
        let (valid, preferred) = (word(option, 2)?, word(option, 6)?);
        let prefix = address(option, 14)?;
        if length > 128 || prefix.is_unicast_link_local() || prefix.is_multicast() || preferred > valid {
            return None;
        }
        let ends = (valid != FOR_EVER).then(|| self.now + Duration::from_secs(valid.into()));
        let network = IpCidr::new(prefix.into(), length);
        if flags & 0x80 != 0 {
            let there = |old: &Route| old.link == at && old.origin == Origin::Advertised && old.via == Via::Link;
            match valid {
                0 => drop(self.routes.remove(&network, there)),
                _ if self.routes.all().iter().filter(|old| there(old)).count() < MAX_LENT => {
                    self.routes.renew(route(network, Via::Link, ends));
                }
                _ => {}
            }
        }
        let mac = self.links[at].mac()?;
        if flags & 0x40 != 0 && length == 64 && valid > 0 {
            let own = IpAddress::Ipv6(by_mac(prefix, mac));
            let link = &mut self.links[at];
            if link.addrs.iter().any(|cidr| cidr.address() == own) {
                link.lent.retain(|(addr, _)| *addr != own);
                link.lent.extend(ends.map(|ends| (own, ends)));
            } else if link.lent.len() + link.tentative.len() < MAX_LENT && !link.duplicated.contains(&own) {
                self.try_out(at, IpCidr::new(own, 64), ends);
            }
        }
        if let Some(ends) = ends {
            self.note_due(ends);
        }
        Some(())
    }

    /// Begins to try an address out, unless that is already done; without questions it is taken at once.
    pub(super) fn try_out(&mut self, at: usize, cidr: IpCidr, ends: Option<Instant>) {
        let (now, count) = (self.now, self.settings.dad_count);
        let link = &self.links[at];
        if link.tentative.iter().any(|tentative| tentative.cidr.address() == cidr.address()) {
            return;
        }
        if count == 0 || !link.is_ethernet() {
            self.join_node(at, &cidr.address());
            return self.take(at, cidr, ends);
        }
        self.join_node(at, &cidr.address());
        let link = &mut self.links[at];
        let due = now + RETRANS * u32::from(count);
        link.tentative.push(Tentative { cidr, due, ends });
        self.note_due(due);
        if ends.is_none() {
            self.connect(at, &cidr);
        }
        if let IpAddress::Ipv6(target) = cidr.address() {
            self.solicit_neighbour(at, Ipv6Address::UNSPECIFIED, target, None);
        }
    }

    /// An address is the interface's.
    fn take(&mut self, at: usize, cidr: IpCidr, ends: Option<Instant>) {
        if self.links[at].add(cidr).is_err() {
            return;
        }
        if let Some(ends) = ends {
            self.links[at].lent.push((cidr.address(), ends));
            self.note_due(ends);
        } else {
            self.connect(at, &cidr);
        }
        let link_local = matches!(cidr.address(), IpAddress::Ipv6(addr) if addr.is_unicast_link_local());
        if link_local && self.settings.accept_routers && !self.settings.forward6 && self.links[at].is_ethernet() {
            self.links[at].solicit = Some((self.now, SOLICIT_AGAIN.1));
            self.note_due(self.now);
        }
    }

    fn duplicated(&mut self, at: usize, addr: IpAddress) -> Option<()> {
        let link = &mut self.links[at];
        link.tentative.retain(|tentative| tentative.cidr.address() != addr);
        if link.duplicated.len() < MAX_LENT {
            link.duplicated.push(addr);
        }
        let text = format!("{}: DAD detected duplicate IPv6 address {addr}\n", link.name);
        self.host.console(text.as_bytes());
        Some(())
    }

    /// Does what is due about addresses, and asks for routers; returns when the next is.
    pub(super) fn run_addresses(&mut self) -> Option<Instant> {
        let now = self.now;
        let places: Vec<usize> = self.links.places().map(|(at, _)| at).collect();
        for &at in &places {
            let ready = |tentative: &mut Tentative| tentative.due <= now;
            for Tentative { cidr, ends, .. } in self.links[at].tentative.extract_if(.., ready).collect::<Vec<_>>() {
                self.take(at, cidr, ends);
            }
            let over = |lent: &mut (IpAddress, Instant)| lent.1 <= now;
            for (addr, _) in self.links[at].lent.extract_if(.., over).collect::<Vec<_>>() {
                let _ = self.remove_address(at, &addr);
            }
            if let Some((due, left)) = self.links[at].solicit.filter(|(due, _)| *due <= now) {
                self.solicit_routers(at);
                self.links[at].solicit = (left > 1).then(|| (due + SOLICIT_AGAIN.0, left - 1));
            }
        }
        let due = |at: &usize| {
            let link = &self.links[*at];
            let tentative = link.tentative.iter().map(|tentative| tentative.due);
            tentative.chain(link.lent.iter().map(|lent| lent.1)).chain(link.solicit.map(|solicit| solicit.0)).min()
        };
        places.iter().filter_map(due).min()
    }

    /// Sends a message of neighbour discovery.
    fn send_ndp(&mut self, at: usize, from: Ipv6Address, to: Ipv6Address, mac: EthernetAddress, mut body: Vec<u8>) {
        let (source, target) = (IpAddress::Ipv6(from), IpAddress::Ipv6(to));
        let sum = packet::pseudo_checksum(&source, &target, IpProtocol::Icmpv6, &body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        self.counters.icmp_sent(1, &body);
        let packet = packet::build(source, target, IpProtocol::Icmpv6, HOPS, &body);
        self.counters.sent(&packet);
        self.send_frame(at, mac, &packet);
    }

    fn with_mac(&self, at: usize, mut body: Vec<u8>, kind: u8) -> Vec<u8> {
        if let Some(mac) = self.links[at].mac() {
            body.extend_from_slice(&[kind, 1]);
            body.extend_from_slice(mac.as_bytes());
        }
        body
    }

    /// Asks for a neighbour: everybody, or the one that had the address.
    pub(super) fn solicit_neighbour(
        &mut self,
        at: usize,
        source: Ipv6Address,
        target: Ipv6Address,
        known: Option<EthernetAddress>,
    ) {
        let mut body = vec![NEIGHBOUR_SOLICIT, 0, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&target.octets());
        if !source.is_unspecified() {
            body = self.with_mac(at, body, SOURCE_MAC);
        }
        let group = solicited_node(&target);
        let (to, mac) = match known {
            Some(mac) => (target, Some(mac)),
            None => (group, ether::group(&group.into())),
        };
        if let Some(mac) = mac {
            self.send_ndp(at, source, to, mac, body);
        }
    }

    /// Names our hardware address.
    fn advertise(&mut self, at: usize, own: Ipv6Address, to: Ipv6Address, solicited: bool) {
        let router = if self.settings.forward6 { 0x80 } else { 0 };
        let flags = router | if solicited { 0x40 } else { 0 } | 0x20;
        let mut body = vec![NEIGHBOUR_ADVERT, 0, 0, 0, flags, 0, 0, 0];
        body.extend_from_slice(&own.octets());
        let body = self.with_mac(at, body, TARGET_MAC);
        if let Some(mac) = ether::group(&to.into()) {
            return self.send_ndp(at, own, to, mac, body);
        }
        self.send_ndp_to_host(at, own, to, body);
    }

    /// Sends a message of neighbour discovery to one host, whose hardware address may have to be asked for first.
    pub(super) fn send_ndp_to_host(&mut self, at: usize, own: Ipv6Address, to: Ipv6Address, mut body: Vec<u8>) {
        let (source, target) = (IpAddress::Ipv6(own), IpAddress::Ipv6(to));
        let sum = packet::pseudo_checksum(&source, &target, IpProtocol::Icmpv6, &body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        self.counters.icmp_sent(1, &body);
        let packet = packet::build(source, target, IpProtocol::Icmpv6, HOPS, &body);
        self.dispatch(at, packet, true);
    }

    /// Takes note of the hardware address of a neighbour of which another one has told.
    pub(super) fn told_of(&mut self, at: usize, addr: IpAddress, mac: EthernetAddress, router: bool) {
        let learn = Learn { create: true, overrides: true, router: router.then_some(true), ..Learn::default() };
        let actions = self.neighbours.learn(self.now, (at, addr), mac, learn);
        self.perform(actions);
    }

    fn solicit_routers(&mut self, at: usize) {
        let Some(source) = self.links[at].link_local() else { return };
        let body = self.with_mac(at, vec![ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0], SOURCE_MAC);
        if let Some(mac) = ether::group(&ALL_ROUTERS.into()) {
            self.send_ndp(at, source, ALL_ROUTERS, mac, body);
        }
    }
}
