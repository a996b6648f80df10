//! Ethernet frames, and ARP on them (RFC 894, RFC 826, RFC 5227).

use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpAddress, Ipv4Address};

use super::neighbour::{Key, Learn};
use super::stack::Base;

/// Length of an Ethernet header.
pub const HEADER: usize = 14;
/// What an ARP packet for IPv4 over Ethernet begins with.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Length of such a packet.
const ARP: usize = 28;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// The hardware address that packets to a group go to; `None` if `addr` is none (RFC 1112, RFC 2464).
pub fn group(addr: &IpAddress) -> Option<EthernetAddress> {
    match addr {
        IpAddress::Ipv4(addr) if addr.is_multicast() => {
            let [_, b, c, d] = addr.octets();
            Some(EthernetAddress([1, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddress::Ipv6(addr) if addr.is_multicast() => {
            let octets = addr.octets();
            Some(EthernetAddress([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]))
        }
        _ => None,
    }
}

impl Base {
    /// Looks at a frame. Gives the IP packet that it carries to this host, if it does.
    pub(super) fn ethernet_input<'a>(&mut self, at: usize, frame: &'a [u8]) -> Option<&'a [u8]> {
        let head: &[u8; HEADER] = frame.first_chunk()?;
        let to = EthernetAddress::from_bytes(&head[..6]);
        let own = self.links[at].mac()?;
        if !self.links[at].up || to != own && to.is_unicast() {
            return None;
        }
        let payload = &frame[HEADER..];
        match EthernetProtocol::from(u16::from_be_bytes([head[12], head[13]])) {
            EthernetProtocol::Arp => {
                self.arp_input(at, own, payload);
                None
            }
            EthernetProtocol::Ipv4 => Some(payload).filter(|bytes| bytes.first().is_some_and(|first| first >> 4 == 4)),
            EthernetProtocol::Ipv6 => Some(payload).filter(|bytes| bytes.first().is_some_and(|first| first >> 4 == 6)),
            EthernetProtocol::Unknown(_) => None,
        }
    }

    /// Sends a frame.
    pub(super) fn send_ethernet(&mut self, link: usize, to: EthernetAddress, kind: EthernetProtocol, payload: &[u8]) {
        let now = self.now;
        let link = &mut self.links[link];
        let Some(own) = link.mac() else { return };
        let mut frame = link.device.buffer(HEADER + payload.len());
        frame[..6].copy_from_slice(to.as_bytes());
        frame[6..12].copy_from_slice(own.as_bytes());
        frame[12..14].copy_from_slice(&u16::from(kind).to_be_bytes());
        frame[HEADER..].copy_from_slice(payload);
        link.device.transmit(now, frame);
    }

    fn arp_input(&mut self, at: usize, own: EthernetAddress, bytes: &[u8]) {
        let Some(arp) = bytes.first_chunk::<ARP>().filter(|arp| arp.starts_with(&ARP_HEAD) && arp[6] == 0) else {
            return;
        };
        let from = EthernetAddress::from_bytes(&arp[8..14]);
        let sender = Ipv4Address::new(arp[14], arp[15], arp[16], arp[17]);
        let target = Ipv4Address::new(arp[24], arp[25], arp[26], arp[27]);
        let ours = self.links[at].addrs.iter().any(|cidr| cidr.address() == IpAddress::Ipv4(target));
        let credible = from.is_unicast() && from != own && !sender.is_multicast() && !sender.is_loopback();
        if !credible {
            return;
        }
        if self.links[at].addrs.iter().any(|cidr| cidr.address() == IpAddress::Ipv4(sender)) {
            // Somebody else says that our address is his. We say that it is ours (RFC 5227, 2.4 (b)).
            let text =
                format!("{}: duplicate IP address {sender} sent from link address {from}\n", self.links[at].name);
            self.host.console(text.as_bytes());
            return self.announce(at, sender);
        }
        if !sender.is_unspecified() {
            // Whoever asks for us will be spoken to; anybody else is only of interest if he is known already.
            let learn = Learn { answer: arp[7] == REPLY && ours, create: ours, overrides: true, router: None };
            let actions = self.neighbours.learn(self.now, (at, sender.into()), from, learn);
            self.perform(actions);
        }
        if arp[7] == REQUEST && ours {
            self.send_arp(at, REPLY, from, target, (from, sender));
        }
    }

    fn send_arp(
        &mut self,
        at: usize,
        operation: u8,
        to: EthernetAddress,
        source: Ipv4Address,
        target: (EthernetAddress, Ipv4Address),
    ) {
        let Some(own) = self.links[at].mac() else { return };
        let mut arp = [0; ARP];
        arp[..6].copy_from_slice(&ARP_HEAD);
        arp[7] = operation;
        arp[8..14].copy_from_slice(own.as_bytes());
        arp[14..18].copy_from_slice(&source.octets());
        arp[18..24].copy_from_slice(target.0.as_bytes());
        arp[24..28].copy_from_slice(&target.1.octets());
        self.send_ethernet(at, to, EthernetProtocol::Arp, &arp);
    }

    /// Tells everybody on the link that an address is ours (RFC 5227, 2.3).
    pub(super) fn announce(&mut self, at: usize, addr: Ipv4Address) {
        self.send_arp(at, REQUEST, EthernetAddress::BROADCAST, addr, (EthernetAddress([0; 6]), addr));
    }

    /// Asks for the hardware address of a neighbour.
    pub(super) fn ask(&mut self, (at, addr): Key, known: Option<EthernetAddress>) {
        match addr {
            IpAddress::Ipv4(target) => {
                let source = match self.links[at].source_for(&addr) {
                    Some(IpAddress::Ipv4(source)) => source,
                    _ => Ipv4Address::UNSPECIFIED,
                };
                let to = known.unwrap_or(EthernetAddress::BROADCAST);
                self.send_arp(at, REQUEST, to, source, (EthernetAddress([0; 6]), target));
            }
            IpAddress::Ipv6(target) => {
                let source = match self.links[at].source_for(&addr) {
                    Some(IpAddress::Ipv6(source)) => source,
                    _ => smoltcp::wire::Ipv6Address::UNSPECIFIED,
                };
                self.solicit_neighbour(at, source, target, known);
            }
        }
    }
}
