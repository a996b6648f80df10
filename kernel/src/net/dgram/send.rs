//! Sending: where a datagram goes, what comes before its data, and packets with a header of the program's own.

use abi::socket::{IPPROTO_ICMPV6, IPPROTO_RAW, SO_BROADCAST, SO_DONTROUTE};
use abi::{Errno, Result};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv6Packet, UdpPacket, UdpRepr};

use super::{Dgrams, Flavour, Pcb, Wish};
use crate::net::addr::Binding;
use crate::net::checksum::Sum;
use crate::net::port::Id;
use crate::net::stack::{Base, Way};
use crate::net::tcp::destination;

/// The most that fits an IPv4 packet.
const MAX_V4: usize = 65535 - IPV4_HEADER;
/// The most that fits an IPv6 packet.
const MAX_V6: usize = 65535;
/// The shortest IPv4 header.
const IPV4_HEADER: usize = 20;
/// UDP's header.
const UDP_HEADER: usize = 8;
/// The header of an echo.
const ECHO_HEADER: usize = 8;
/// ICMP's echo request.
const ECHO: u8 = 8;
/// ICMPv6's.
const ECHO_V6: u8 = 128;
/// Where the checksum of an ICMP message stands.
const ICMP_CHECKSUM: usize = 2;
/// `IP_PMTUDISC_DO`: never fragment, and refuse what would have to be.
const PMTUDISC_DO: i32 = 2;
/// `IP_PMTUDISC_PROBE`: never fragment, believe the interface's MTU only.
const PMTUDISC_PROBE: i32 = 3;

/// The beginning of a datagram (`MSG_MORE`, `UDP_CORK`): where it goes is what its first part said.
#[derive(Debug)]
pub struct Corked {
    data: Vec<u8>,
    to: Option<IpEndpoint>,
    wish: Wish,
}

/// The way that a datagram goes.
struct Route {
    link: usize,
    from: IpEndpoint,
    to: IpEndpoint,
    hop_limit: u8,
    class: u8,
}

impl Dgrams {
    /// Sends one datagram, or a part of one if there is `more` to come. As on Linux, a datagram that does not become one is lost whole,
    /// and the parts behind its first go where that goes.
    pub fn send_part(
        &mut self,
        base: &mut Base,
        id: Id,
        data: &[u8],
        to: Option<IpEndpoint>,
        wish: Wish,
        more: bool,
    ) -> Result<usize> {
        let more = self.flavour == Flavour::Udp && (more || self.pcb(id)?.options.is_corked());
        let pcb = self.pcb_mut(id)?;
        match pcb.corked.take() {
            None if more => {
                self.prepare(base, id, data, to, wish)?;
                let remote = to.or(self.pcb(id)?.remote);
                self.pcb_mut(id)?.corked = Some(Corked { data: data.to_vec(), to: remote, wish });
            }
            None => return self.send(base, id, data, to, wish),
            Some(mut corked) => {
                corked.data.extend_from_slice(data);
                match more {
                    true => {
                        self.prepare(base, id, &corked.data, corked.to, corked.wish)?;
                        self.pcb_mut(id)?.corked = Some(corked);
                    }
                    false => drop(self.send(base, id, &corked.data, corked.to, corked.wish)?),
                }
            }
        }
        Ok(data.len())
    }

    /// Sends what waits for more, which will not come.
    pub fn uncork(&mut self, base: &mut Base, id: Id) {
        let corked = self.pcb_mut(id).ok().and_then(|pcb| pcb.corked.take());
        if let Some(Corked { data, to, wish }) = corked {
            // Who sets an option is not told.
            let _ = self.send(base, id, &data, to, wish);
        }
    }

    /// Sends one datagram.
    fn send(&mut self, base: &mut Base, id: Id, data: &[u8], to: Option<IpEndpoint>, wish: Wish) -> Result<usize> {
        let route = self.prepare(base, id, data, to, wish)?;
        let pcb = self.pcb(id)?;
        let frame = match self.flavour {
            Flavour::Udp => udp_frame(base, &route, data),
            Flavour::Ping => ping_frame(base, &route, data)?,
            Flavour::Raw if pcb.options.header_included && route.to.addr.version() == IpVersion::Ipv4 => {
                own_header(&route, data)?
            }
            Flavour::Raw => raw_frame(base, &route, pcb, data)?,
        };
        let looped = self.pcb(id)?.options.loops_back();
        match route.to.addr.is_unicast() {
            true if !base.is_broadcast(&route.to.addr) => base.output(route.link, frame),
            _ => base.output_to_all(route.link, frame, looped),
        }
        Ok(data.len())
    }

    /// Finds the way of a datagram. `ENETUNREACH` (IPv6: `EINVAL`) for a source that is not of this host, as on Linux.
    fn prepare(&mut self, base: &mut Base, id: Id, data: &[u8], to: Option<IpEndpoint>, wish: Wish) -> Result<Route> {
        let flavour = self.flavour;
        let pcb = self.pcb_mut(id)?;
        let remote = destination(to.or(pcb.remote).ok_or(Errno::EDESTADDRREQ)?);
        let ipv4 = remote.addr.version() == IpVersion::Ipv4;
        let header = match flavour {
            Flavour::Udp => UDP_HEADER,
            Flavour::Ping | Flavour::Raw => 0,
        };
        let own_header = flavour == Flavour::Raw && pcb.options.header_included && ipv4;
        let max = match (ipv4, own_header) {
            (true, true) => MAX_V4 + IPV4_HEADER,
            (true, false) => MAX_V4 - header,
            (false, _) => MAX_V6 - header,
        };
        if data.len() > max {
            return Err(Errno::EMSGSIZE);
        }
        if remote.port == 0 && flavour == Flavour::Udp {
            return Err(Errno::EINVAL);
        }
        let Way { link, source, mtu, direct } = match wish.link {
            Some(index) => {
                let link = base.link_by_index(index).ok_or(Errno::ENODEV)?;
                base.route_by(&remote.addr, Some(link))?
            }
            None => pcb.way(base, &remote.addr)?,
        };
        if !direct && (wish.direct || pcb.options.has(SO_DONTROUTE)) {
            return Err(Errno::ENETUNREACH);
        }
        if base.is_broadcast(&remote.addr) && !pcb.options.has(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let whole = data.len() + header + if own_header { 0 } else { ip_header(ipv4) };
        if whole > mtu && (pcb.never_fragments(ipv4) || own_header) {
            pcb.too_long(base, remote, mtu);
            if pcb.options.dont_fragment && pcb.options.want_path_mtu && !ipv4 {
                pcb.narrow = Some((remote.addr, mtu));
            }
            return Err(Errno::EMSGSIZE);
        }
        // What is wrong with the datagram itself comes first, as on Linux.
        if let Some(error) = pcb.error.take() {
            return Err(error);
        }
        if pcb.shut_write {
            return Err(Errno::EPIPE);
        }
        if wish.source.is_some_and(|source| !base.is_ours(&source)) {
            return Err(if ipv4 { Errno::ENETUNREACH } else { Errno::EINVAL });
        }
        let (family, default_hops) = (pcb.family, pcb.options.hops(ipv4).unwrap_or(64));
        let hop_limit = match remote.addr.is_multicast() {
            true => pcb.options.multicast_hops(),
            false => default_hops,
        };
        let hop_limit = wish.hop_limit.unwrap_or(hop_limit);
        let class = wish.class.unwrap_or(pcb.options.class(ipv4));
        if pcb.binding.is_none() && flavour != Flavour::Raw {
            self.bind(base, id, Binding { family, addr: None, port: 0 }, true)?;
        }
        let binding = self.pcb(id)?.binding;
        let source = wish.source.or(binding.and_then(|binding| binding.source())).unwrap_or(source);
        if source.version() != remote.addr.version() {
            return Err(Errno::ENETUNREACH);
        }
        let port = binding.map_or(0, |binding| binding.port);
        Ok(Route { link, from: IpEndpoint::new(source, port), to: remote, hop_limit, class })
    }
}

impl Pcb {
    /// Whether what is too long for the interface is refused (`IP_MTU_DISCOVER`, `IPV6_DONTFRAG`).
    fn never_fragments(&self, ipv4: bool) -> bool {
        let refused = self.options.dont_fragment && !ipv4;
        refused || matches!(self.options.mtu_discover(ipv4), PMTUDISC_DO | PMTUDISC_PROBE)
    }
}

/// Length of an IP header without options.
fn ip_header(ipv4: bool) -> usize {
    if ipv4 { IPV4_HEADER } else { 40 }
}

/// Makes a packet of `len` bytes behind IP's header and returns it with the length of that.
fn packet(base: &mut Base, route: &Route, protocol: IpProtocol, len: usize) -> (Vec<u8>, usize) {
    let ip = IpRepr::new(route.from.addr, route.to.addr, protocol, len, route.hop_limit);
    let mut frame = base.buffer(route.link, ip.header_len() + len);
    // Raw sockets show the header, checksum included: it is always right.
    ip.emit(&mut frame[..], &ChecksumCapabilities::default());
    if route.class != 0 {
        set_class(&mut frame, route.class);
    }
    (frame, ip.header_len())
}

/// Sets the type of service, or the traffic class, of a packet.
pub fn set_class(frame: &mut [u8], class: u8) {
    match IpVersion::of_packet(frame) {
        Ok(IpVersion::Ipv4) => {
            let mut packet = Ipv4Packet::new_unchecked(frame);
            packet.set_dscp(class >> 2);
            packet.set_ecn(class & 3);
            packet.fill_checksum();
        }
        Ok(IpVersion::Ipv6) => Ipv6Packet::new_unchecked(frame).set_traffic_class(class),
        Err(_) => {}
    }
}

fn udp_frame(base: &mut Base, route: &Route, data: &[u8]) -> Vec<u8> {
    let (from, to) = (route.from, route.to);
    let udp = UdpRepr { src_port: from.port, dst_port: to.port };
    let (mut frame, header) = packet(base, route, IpProtocol::Udp, udp.header_len() + data.len());
    let checksums = base.checksums(route.link);
    let mut packet = UdpPacket::new_unchecked(&mut frame[header..]);
    udp.emit(&mut packet, &from.addr, &to.addr, data.len(), |buf| buf.copy_from_slice(data), &checksums);
    frame
}

/// Makes an echo request, whose identifier is the socket's; `EINVAL` for any other message.
fn ping_frame(base: &mut Base, route: &Route, data: &[u8]) -> Result<Vec<u8>> {
    let ipv4 = route.to.addr.version() == IpVersion::Ipv4;
    let request = if ipv4 { ECHO } else { ECHO_V6 };
    if data.len() < ECHO_HEADER || data[..2] != [request, 0] {
        return Err(Errno::EINVAL);
    }
    let protocol = if ipv4 { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    let (mut frame, header) = packet(base, route, protocol, data.len());
    let message = &mut frame[header..];
    message.copy_from_slice(data);
    message[4..6].copy_from_slice(&route.from.port.to_be_bytes());
    fill_checksum(message, ICMP_CHECKSUM, route, protocol)?;
    Ok(frame)
}

/// Makes a packet of a raw socket whose header the kernel writes.
fn raw_frame(base: &mut Base, route: &Route, pcb: &Pcb, data: &[u8]) -> Result<Vec<u8>> {
    let protocol = IpProtocol::from(pcb.protocol);
    let (mut frame, header) = packet(base, route, protocol, data.len());
    frame[header..].copy_from_slice(data);
    if route.to.addr.version() == IpVersion::Ipv6 {
        let icmp = i32::from(pcb.protocol) == IPPROTO_ICMPV6;
        let at = if icmp { Some(ICMP_CHECKSUM) } else { pcb.options.checksum_at };
        if let Some(at) = at {
            fill_checksum(&mut frame[header..], at, route, protocol)?;
        }
    }
    Ok(frame)
}

/// Sets the checksum of a message: that of ICMP for IPv4 covers no addresses. `EINVAL` for a message that does not reach so far.
fn fill_checksum(message: &mut [u8], at: usize, route: &Route, protocol: IpProtocol) -> Result<()> {
    let Some(field) = message.get_mut(at..at + 2) else { return Err(Errno::EINVAL) };
    field.fill(0);
    let sum = match protocol {
        IpProtocol::Icmp => Sum::default(),
        _ => Sum::default().pseudo_header(&route.from.addr, &route.to.addr, protocol, message.len()),
    };
    let sum = sum.with(message).finish();
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Takes a packet whose header the program wrote (`IP_HDRINCL`). As raw(7) says, the kernel sets length and checksum, and source and
/// identification where they are zero. `EINVAL` for what is no IPv4 header.
fn own_header(route: &Route, data: &[u8]) -> Result<Vec<u8>> {
    let (IpAddress::Ipv4(source), true) = (route.from.addr, data.len() >= IPV4_HEADER) else {
        return Err(Errno::EINVAL);
    };
    let mut frame = data.to_vec();
    let length = u16::try_from(frame.len()).map_err(|_| Errno::EMSGSIZE)?;
    let header = usize::from(frame[0] & 0xf) * 4;
    if header < IPV4_HEADER || header > frame.len() {
        return Err(Errno::EINVAL);
    }
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[..]);
    packet.set_total_len(length);
    if packet.src_addr().is_unspecified() {
        packet.set_src_addr(source);
    }
    packet.fill_checksum();
    Ok(frame)
}

/// Whether a raw socket of `protocol` only sends: packets with a header of its own.
pub fn only_sends(protocol: u8) -> bool {
    i32::from(protocol) == IPPROTO_RAW
}
