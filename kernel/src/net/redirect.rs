//! Redirects: a router tells a host that another one on the same link is nearer to where it sends to (RFC 1122, 3.2.2.2; RFC 4861, 8).

use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};

use super::counters::Ip;
use super::link::is_link_local;
use super::ndp;
use super::packet::{IPV4_HEADER, IPV6_HEADER, Packet};
use super::route::{self, Origin, Route, Via};
use super::stack::Base;

/// How long a redirect is believed (NetBSD's `icmp_redirtimeout`).
const AGE: Duration = Duration::from_secs(600);
/// Routes made by redirects at most.
const MOST: usize = 256;
/// Type and code of the message: for a host.
const REDIRECT4: [u8; 2] = [5, 1];
/// The option that quotes a packet.
const REDIRECTED: u8 = 4;
/// The longest message about a packet of IPv6.
const LONGEST6: usize = 1280 - IPV6_HEADER;

impl Base {
    /// Takes an ICMP redirect in: its gateway, and the packet that it is about.
    pub(super) fn redirect4(&mut self, at: usize, from: IpAddress, gateway: [u8; 4], quoted: &[u8]) -> Option<()> {
        let gateway = IpAddress::Ipv4(Ipv4Address::from(gateway));
        let (source, to, ..) = Packet::parse_quoted(quoted)?;
        if !self.settings.accept_redirects4 || self.settings.forward4 || !self.is_ours(&source) {
            return None;
        }
        self.redirect(at, from, gateway, to)
    }

    /// Takes an ICMPv6 redirect in; it came from the link itself.
    pub(super) fn redirect6(&mut self, at: usize, from: Ipv6Address, body: &[u8]) -> Option<()> {
        let (target, to) = (ndp::address(body, 8)?, ndp::address(body, 24)?);
        if !self.settings.accept_redirects6 || self.settings.forward6 || !from.is_unicast_link_local() {
            return None;
        }
        if target != to && !target.is_unicast_link_local() {
            return None;
        }
        self.redirect(at, from.into(), target.into(), to.into())?;
        ndp::target_mac(body.get(40..)?).map(|mac| self.told_of(at, target.into(), mac, target != to))
    }

    /// Sends what goes to `to` by `gateway` from now on, if the one who says so is the router that it goes by, and the new one is on its link.
    fn redirect(&mut self, at: usize, from: IpAddress, gateway: IpAddress, to: IpAddress) -> Option<()> {
        let now = *self.route_for(&to, None)?;
        let near = is_link_local(&gateway)
            || self.route_for(&gateway, Some(at)).is_some_and(|route| route.via == Via::Link && route.link == at);
        let itself = gateway == to && matches!(to, IpAddress::Ipv6(_));
        let believed = now.link == at && now.via == Via::Gateway(from) && (near || itself);
        let redirected = |route: &&Route| route.origin == Origin::Redirected;
        if !believed
            || !gateway.is_unicast()
            || !to.is_unicast()
            || self.is_ours(&gateway)
            || self.is_ours(&to)
            || self.routes.all().iter().filter(redirected).count() >= MOST
        {
            return None;
        }
        let host = IpCidr::new(to, if matches!(to, IpAddress::Ipv4(_)) { 32 } else { 128 });
        if self.routes.all().iter().any(|route| route.to == host && route.origin != Origin::Redirected) {
            return None;
        }
        let _ = self.routes.remove(&host, |route| route.origin == Origin::Redirected);
        let via = if gateway == to { Via::Link } else { Via::Gateway(gateway) };
        let ends = self.now + AGE;
        let (origin, expires) = (Origin::Redirected, Some(ends));
        self.routes.add(Route { to: host, via, link: at, source: None, origin, metric: 0, expires }).ok()?;
        self.note_due(ends);
        Some(())
    }

    /// Tells the sender of a packet, which is passed on through the interface that it came in by, where else it could send such.
    pub(super) fn advise(&mut self, at: usize, packet: &Packet<'_>, hop: IpAddress) {
        let neighbour = self.links[at].addrs.iter().any(|cidr| route::contains(cidr, &packet.from));
        if !neighbour || packet.to.is_multicast() || hop == packet.from {
            return;
        }
        match (packet.from, hop, packet.to) {
            (IpAddress::Ipv4(_), IpAddress::Ipv4(hop), _) if self.settings.send_redirects4 => {
                // Who is not on the sender's network cannot be its router.
                let shared = |cidr: &IpCidr| [packet.from, hop.into()].iter().all(|addr| route::contains(cidr, addr));
                let Some(source) = self.links[at].addrs.iter().find(|cidr| shared(cidr)).map(IpCidr::address) else {
                    return;
                };
                if self.may_send_error() {
                    // The header and 8 bytes behind it.
                    let quoted = packet.header.max(IPV4_HEADER) + 8;
                    let quoted = packet.bytes.get(..quoted).unwrap_or(packet.bytes);
                    let body = [&REDIRECT4[..], &[0, 0], &hop.octets(), quoted].concat();
                    self.counters.ip(0, Ip::REDIRECTSENT);
                    self.send_icmp(at, source, packet.from, body, 0);
                }
            }
            (IpAddress::Ipv6(from), IpAddress::Ipv6(hop), IpAddress::Ipv6(to)) if self.settings.send_redirects6 => {
                let Some(own) = self.links[at].link_local().filter(|_| hop == to || hop.is_unicast_link_local()) else {
                    return;
                };
                if self.may_send_error() {
                    let known = self.neighbours.all().find(|(key, _)| **key == (at, hop.into()));
                    let mac = known.map(|(_, neighbour)| neighbour.mac).filter(EthernetAddress::is_unicast);
                    let body = message6(hop, to, mac, packet.bytes);
                    self.send_ndp_to_host(at, own, from, body);
                }
            }
            _ => {}
        }
    }
}

/// Makes the message of IPv6, without its checksum.
fn message6(hop: Ipv6Address, to: Ipv6Address, mac: Option<EthernetAddress>, quoted: &[u8]) -> Vec<u8> {
    let mut body = [&[ndp::REDIRECT, 0, 0, 0, 0, 0, 0, 0][..], &hop.octets(), &to.octets()].concat();
    if let Some(mac) = mac {
        ndp::append_target_mac(&mut body, mac);
    }
    // The length counts units of 8 bytes, of which the option's head is one.
    let room = (LONGEST6 - body.len() - 8).min(quoted.len()) / 8 * 8;
    body.extend_from_slice(&[REDIRECTED, (room / 8 + 1) as u8, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&quoted[..room]);
    body
}
