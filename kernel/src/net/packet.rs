//! IP packets: taken apart and put together. Every byte that comes in is doubted; nothing here panics.

use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Address, Ipv6Address};

use super::checksum::Sum;

/// Length of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Extension headers at most.
const EXTENSIONS: usize = 8;

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What the parts of one packet have in common.
    pub id: u32,
    /// Where it stands.
    pub offset: usize,
    /// Whether more follows.
    pub more: bool,
}

/// An IP packet taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub from: IpAddress,
    /// Where it goes.
    pub to: IpAddress,
    /// The protocol behind all headers of IP.
    pub protocol: IpProtocol,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub class: u8,
    /// What is behind the headers of IP.
    pub payload: &'a [u8],
    /// All of it, without what the link layer has put behind it.
    pub bytes: &'a [u8],
    /// Length of the headers of IP.
    pub header: usize,
    /// Which part it is, if it is only one.
    pub piece: Option<Piece>,
    /// Where the number of the protocol stands.
    pub protocol_at: usize,
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; `None` if it makes no sense. With `trusted` checksums mean nothing.
    pub fn parse(bytes: &'a [u8], trusted: bool) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes, trusted),
            6 => Self::parse_v6(bytes),
            _ => None,
        }
    }

    fn parse_v4(bytes: &'a [u8], trusted: bool) -> Option<Self> {
        let head: &[u8; IPV4_HEADER] = bytes.first_chunk()?;
        let header = usize::from(head[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if header < IPV4_HEADER || total < header || !trusted && checksum(bytes.get(..header)?) != 0 {
            return None;
        }
        let bytes = bytes.get(..total)?;
        let position = u16::from_be_bytes([head[6], head[7]]);
        let (offset, more) = (usize::from(position & 0x1fff) * 8, position & 0x2000 != 0);
        let id = u32::from(u16::from_be_bytes([head[4], head[5]]));
        Some(Self {
            from: Ipv4Address::new(head[12], head[13], head[14], head[15]).into(),
            to: Ipv4Address::new(head[16], head[17], head[18], head[19]).into(),
            protocol: IpProtocol::from(head[9]),
            hop_limit: head[8],
            class: head[1],
            payload: bytes.get(header..)?,
            bytes,
            header,
            piece: (offset > 0 || more).then_some(Piece { id, offset, more }),
            protocol_at: 9,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let head: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
        let bytes = bytes.get(..IPV6_HEADER + usize::from(u16::from_be_bytes([head[4], head[5]])))?;
        let mut packet = Self {
            from: address(&head[8..24])?,
            to: address(&head[24..40])?,
            protocol: IpProtocol::from(head[6]),
            hop_limit: head[7],
            class: head[0] << 4 | head[1] >> 4,
            payload: bytes.get(IPV6_HEADER..)?,
            bytes,
            header: IPV6_HEADER,
            piece: None,
            protocol_at: 6,
        };
        for _ in 0..EXTENSIONS {
            let rest = bytes.get(packet.header..)?;
            let length = match packet.protocol {
                IpProtocol::HopByHop | IpProtocol::Ipv6Opts => usize::from(*rest.get(1)?) * 8 + 8,
                // Only one that leads nowhere else (RFC 5095).
                IpProtocol::Ipv6Route if *rest.get(3)? == 0 => usize::from(*rest.get(1)?) * 8 + 8,
                IpProtocol::Ipv6Route => return None,
                IpProtocol::Ipv6Frag => {
                    let fields: &[u8; 8] = rest.first_chunk()?;
                    let position = u16::from_be_bytes([fields[2], fields[3]]);
                    let (offset, more) = (usize::from(position & 0xfff8), position & 1 != 0);
                    let id = u32::from_be_bytes([fields[4], fields[5], fields[6], fields[7]]);
                    // One that is the whole packet is no fragment (RFC 6946).
                    packet.piece = (offset > 0 || more).then_some(Piece { id, offset, more });
                    8
                }
                _ => break,
            };
            packet.payload = rest.get(length..)?;
            packet.protocol = IpProtocol::from(*rest.first()?);
            packet.protocol_at = packet.header;
            packet.header += length;
            if packet.piece.is_some() {
                break;
            }
        }
        Some(packet)
    }

    /// Takes the beginning of a packet apart that an error message quotes: it may be cut, and its checksum may be anything.
    pub fn parse_quoted(bytes: &[u8]) -> Option<(IpAddress, IpAddress, IpProtocol, &[u8])> {
        match bytes.first()? >> 4 {
            4 => {
                let head: &[u8; IPV4_HEADER] = bytes.first_chunk()?;
                let header = usize::from(head[0] & 15) * 4;
                let from = Ipv4Address::new(head[12], head[13], head[14], head[15]);
                let to = Ipv4Address::new(head[16], head[17], head[18], head[19]);
                // Only the first part of a packet has ports.
                let first = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
                first.then_some((from.into(), to.into(), IpProtocol::from(head[9]), bytes.get(header..)?))
            }
            6 => {
                let head: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
                let (mut protocol, mut rest) = (IpProtocol::from(head[6]), &bytes[IPV6_HEADER..]);
                if protocol == IpProtocol::Ipv6Frag {
                    let fields: &[u8; 8] = rest.first_chunk()?;
                    if u16::from_be_bytes([fields[2], fields[3]]) & 0xfff8 != 0 {
                        return None;
                    }
                    (protocol, rest) = (IpProtocol::from(fields[0]), &rest[8..]);
                }
                Some((address(&head[8..24])?, address(&head[24..40])?, protocol, rest))
            }
            _ => None,
        }
    }

    /// Whether there are headers between the first and the payload.
    pub fn has_options(&self) -> bool {
        self.header != header_len(&self.to)
    }

    /// The same packet without options.
    pub fn plain(&self) -> Vec<u8> {
        build(self.from, self.to, self.protocol, self.hop_limit, self.payload)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddress> {
    Some(Ipv6Address::from(*bytes.first_chunk::<16>()?).into())
}

/// Length of the plain header of a packet to `to`.
pub fn header_len(to: &IpAddress) -> usize {
    if matches!(to, IpAddress::Ipv4(_)) { IPV4_HEADER } else { IPV6_HEADER }
}

/// Puts a packet together; the payload's own checksum is its maker's. Both addresses are of one version.
pub fn build(from: IpAddress, to: IpAddress, protocol: IpProtocol, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (from, to) {
        (IpAddress::Ipv4(from), IpAddress::Ipv4(to)) => {
            let total = u16::try_from(IPV4_HEADER + payload.len()).unwrap_or(u16::MAX);
            let mut head = [0; IPV4_HEADER];
            head[0] = 0x45;
            head[2..4].copy_from_slice(&total.to_be_bytes());
            head[6] = 0x40;
            (head[8], head[9]) = (hop_limit, protocol.into());
            head[12..16].copy_from_slice(&from.octets());
            head[16..20].copy_from_slice(&to.octets());
            fill_header_checksum(&mut head);
            head.to_vec()
        }
        (from, to) => {
            let six = |addr: IpAddress| match addr {
                IpAddress::Ipv4(addr) => addr.to_ipv6_mapped().octets(),
                IpAddress::Ipv6(addr) => addr.octets(),
            };
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            let mut head = [0; IPV6_HEADER];
            head[0] = 0x60;
            head[4..6].copy_from_slice(&length.to_be_bytes());
            (head[6], head[7]) = (protocol.into(), hop_limit);
            head[8..24].copy_from_slice(&six(from));
            head[24..40].copy_from_slice(&six(to));
            head.to_vec()
        }
    };
    packet.extend_from_slice(payload);
    packet
}

/// Makes the checksum of an IPv4 header right.
pub fn fill_header_checksum(header: &mut [u8]) {
    let Some(length) = header.first().map(|first| usize::from(first & 15) * 4) else { return };
    let Some(header) = header.get_mut(..length).filter(|header| header.len() >= IPV4_HEADER) else { return };
    header[10..12].fill(0);
    let sum = checksum(header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
}

/// The internet checksum of bytes; 0 over what holds its own.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::default().with(bytes).finish()
}

/// The checksum of a payload together with the addresses, as TCP, UDP and ICMPv6 have it.
pub fn pseudo_checksum(from: &IpAddress, to: &IpAddress, protocol: IpProtocol, payload: &[u8]) -> u16 {
    Sum::default().pseudo_header(from, to, protocol, payload.len()).with(payload).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddress {
        IpAddress::v4(10, 0, 0, last)
    }

    fn v6(last: u16) -> IpAddress {
        IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, last)
    }

    #[test]
    fn what_was_put_together_comes_apart() {
        for (from, to) in [(v4(1), v4(2)), (v6(1), v6(2))] {
            let bytes = build(from, to, IpProtocol::Udp, 7, b"payload");
            let padded = [&bytes[..], &[0; 10]].concat();
            let packet = Packet::parse(&padded, false).unwrap();
            assert_eq!((packet.from, packet.to, packet.hop_limit), (from, to, 7));
            assert_eq!((packet.payload, packet.bytes, packet.piece), (&b"payload"[..], &bytes[..], None));
            assert_eq!(packet.plain(), bytes);
        }
    }

    #[test]
    fn extension_headers_are_skipped_and_a_routing_one_is_refused() {
        let inner = |kind: u8, fields: [u8; 7]| {
            let payload = [&[17][..], &fields[..], b"payload"].concat();
            build(v6(1), v6(2), IpProtocol::from(kind), 64, &payload)
        };
        for kind in [0, 60, 43] {
            let bytes = inner(kind, [0; 7]);
            let packet = Packet::parse(&bytes, false).unwrap();
            assert_eq!((packet.protocol, packet.payload), (IpProtocol::Udp, &b"payload"[..]));
            assert!(packet.has_options());
        }
        assert!(Packet::parse(&inner(43, [0, 0, 1, 0, 0, 0, 0]), false).is_none());
        let piece = inner(44, [0, 0, 9, 0, 0, 0, 5]);
        let piece = Packet::parse(&piece, false).unwrap();
        assert_eq!(piece.piece, Some(Piece { id: 5, offset: 8, more: true }));
    }

    #[test]
    fn no_bytes_do_harm() {
        let mut random = crate::net::stack::Random::new(3);
        for _ in 0..100_000 {
            let mut bytes: Vec<u8> = (0..random.draw() % 90).map(|_| random.draw() as u8).collect();
            if let Some(first) = bytes.first_mut() {
                *first = [0x45, 0x46, 0x60, 0x6f][(random.draw() % 4) as usize];
            }
            if bytes.len() > 6 && random.draw().is_multiple_of(2) {
                bytes[4..6].copy_from_slice(&[0, (random.draw() % 50) as u8]);
                bytes[6] = [0, 43, 44, 60][(random.draw() % 4) as usize];
            }
            let _ = (Packet::parse(&bytes, true), Packet::parse_quoted(&bytes));
        }
    }
}
