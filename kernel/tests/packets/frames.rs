//! Frames that are no TCP segments, in words; see `script.rs`.

use std::net::{Ipv4Addr, Ipv6Addr};

use kernel::net::packet::{self, Packet};
use smoltcp::wire::{IpAddress, IpProtocol};

/// The kernel's hardware address.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The peer's.
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The kernel's addresses.
pub const OURS: IpAddress = IpAddress::v4(192, 0, 2, 1);
pub const OURS6: IpAddress = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The peer's.
const PEER: IpAddress = IpAddress::v4(192, 0, 2, 2);
const PEER6: IpAddress = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// What is behind the Ethernet header, if there is one.
pub fn bare(frame: &[u8], ethernet: bool) -> &[u8] {
    if ethernet { frame.get(14..).unwrap_or_default() } else { frame }
}

/// Puts an Ethernet header before a packet for the kernel.
pub fn framed(packet: Vec<u8>, ethernet: bool) -> Vec<u8> {
    match (ethernet, packet[0] >> 4) {
        (false, _) => packet,
        (true, 4) => with_header(0x800, &packet),
        (true, _) => with_header(0x86dd, &packet),
    }
}

fn with_header(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&OUR_MAC[..], &PEER_MAC, &kind.to_be_bytes(), payload].concat()
}

/// Whether words speak of such a frame, and not of a segment.
pub fn is_one(words: &str) -> bool {
    let first = words.split_whitespace().next().unwrap_or_default();
    ["arp", "ns", "na", "rs", "ra", "icmp", "icmp6", "echo", "echo6", "udp", "udp6", "frag", "frag6"].contains(&first)
}

/// Makes the frame that words describe; errors of ICMP quote the `last` packet that has left.
pub fn make(text: &str, last: &[u8], ethernet: bool) -> Option<Vec<u8>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let field = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let number = |name: &str| field(name).and_then(|value| value.parse::<usize>().ok());
    let packet = match words[..] {
        ["arp", "request", target, "from", sender] => return arp(1, sender, target),
        ["arp", "reply", sender, "to", target] => return arp(2, sender, target),
        ["ns", target, "from", sender] => {
            let (target, sender) = (target.parse::<Ipv6Addr>().ok()?, sender.parse::<Ipv6Addr>().ok()?);
            let tail = target.octets();
            let to = Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(tail[13]),
                u16::from_be_bytes([tail[14], tail[15]]),
            );
            let option: &[u8] = if sender.is_unspecified() { &[] } else { &[1, 1, 2, 0, 0, 0, 0, 9] };
            let body = [&[0; 4], &tail[..], option].concat();
            icmp6(sender.into(), to.into(), 135, 0, &body, 255)
        }
        ["na", sender, ref flags @ ..] => {
            let sender = sender.parse::<Ipv6Addr>().ok()?;
            let solicited = if flags.contains(&"unsolicited") { 0x20 } else { 0x60 };
            let to = if solicited == 0x60 { OURS6 } else { IpAddress::v6(0xff02, 0, 0, 0, 0, 0, 0, 1) };
            let body = [&[solicited, 0, 0, 0], &sender.octets()[..], &[2, 1], &PEER_MAC].concat();
            icmp6(sender.into(), to, 136, 0, &body, number("hops").unwrap_or(255) as u8)
        }
        ["ra", prefix, ..] => {
            let prefix = prefix.parse::<Ipv6Addr>().ok()?;
            let lifetime = (number("valid").unwrap_or(3600) as u32).to_be_bytes();
            let option = [&[3, 4, 64, 0xc0], &lifetime[..], &lifetime, &[0; 4], &prefix.octets()].concat();
            let body = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0], &option[..]].concat();
            let router = IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 2);
            icmp6(router, IpAddress::v6(0xff02, 0, 0, 0, 0, 0, 0, 1), 134, 0, &body, 255)
        }
        ["icmp" | "icmp6", kind, ..] => {
            let (kind, code) = kind.split_once('/')?;
            let (kind, code, mtu) = (kind.parse().ok()?, code.parse().ok()?, number("mtu").unwrap_or(0) as u32);
            let mut quoted = last.get(..last.len().min(number("quote").unwrap_or(100)))?.to_vec();
            if let (Some(port), Some(at)) = (number("port"), Packet::parse(last, true).map(|packet| packet.header)) {
                quoted.get_mut(at + 2..at + 4)?.copy_from_slice(&(port as u16).to_be_bytes());
            }
            let body = [&mtu.to_be_bytes(), &quoted[..]].concat();
            if words[0] == "icmp" { icmp(kind, code, &body) } else { icmp6(PEER6, OURS6, kind, code, &body, 64) }
        }
        ["echo" | "echo6", seq, ..] => {
            let seq = seq.parse::<u16>().ok()?;
            let body = [&[0, 7], &seq.to_be_bytes()[..], &vec![b'e'; number("len")?]].concat();
            if words[0] == "echo" { icmp(8, 0, &body) } else { icmp6(PEER6, OURS6, 128, 0, &body, 64) }
        }
        ["udp" | "udp6", from, ">", to, "len", len, ..] => {
            let (from, to) = if words[0] == "udp" { ((PEER, from), (OURS, to)) } else { ((PEER6, from), (OURS6, to)) };
            let (ports, len) = ((from.1.parse().ok()?, to.1.parse().ok()?), len.parse().ok()?);
            let mut datagram = udp(from.0, to.0, ports, len);
            if words.contains(&"damaged") {
                *datagram.last_mut()? ^= 1;
            }
            packet::build(from.0, to.0, IpProtocol::Udp, 64, &datagram)
        }
        ["frag" | "frag6", ..] => {
            let (id, offset, len, whole) = (number("id")?, number("off")?, number("len")?, number("of")?);
            let more = words.contains(&"more");
            let (from, to) = if words[0] == "frag" { (PEER, OURS) } else { (PEER6, OURS6) };
            // Beyond the end of what was meant there are other bytes.
            let mut all = udp(from, to, (5000, 53), whole - 8);
            all.resize(whole.max(offset + len), b'z');
            let piece = all.get(offset..offset + len)?;
            if words[0] == "frag" {
                let mut bytes = packet::build(from, to, IpProtocol::Udp, 64, piece);
                bytes[4..6].copy_from_slice(&(id as u16).to_be_bytes());
                let place = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
                bytes[6..8].copy_from_slice(&place.to_be_bytes());
                packet::fill_header_checksum(&mut bytes);
                bytes
            } else {
                let place = (offset as u16) | u16::from(more);
                let head = [&[17, 0], &place.to_be_bytes()[..], &(id as u32).to_be_bytes()].concat();
                packet::build(from, to, IpProtocol::Unknown(44), 64, &[&head, piece].concat())
            }
        }
        _ => return None,
    };
    Some(framed(packet, ethernet))
}

fn arp(operation: u8, sender: &str, target: &str) -> Option<Vec<u8>> {
    let [sender, target] = [sender, target].map(|addr| addr.parse::<Ipv4Addr>().map(|addr| addr.octets()));
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    Some(with_header(0x806, &[&head[..], &PEER_MAC, &sender.ok()?, &OUR_MAC, &target.ok()?].concat()))
}

fn icmp(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], body].concat();
    let sum = packet::checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    packet::build(PEER, OURS, IpProtocol::Icmp, 64, &message)
}

fn icmp6(from: IpAddress, to: IpAddress, kind: u8, code: u8, body: &[u8], hops: u8) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], body].concat();
    let sum = packet::pseudo_checksum(&from, &to, IpProtocol::Icmpv6, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    packet::build(from, to, IpProtocol::Icmpv6, hops, &message)
}

/// A datagram whose bytes follow from their places.
fn udp(from: IpAddress, to: IpAddress, ports: (u16, u16), len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let length = ((8 + len) as u16).to_be_bytes();
    let mut datagram = [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length, &[0, 0], &data].concat();
    let sum = packet::pseudo_checksum(&from, &to, IpProtocol::Udp, &datagram).to_be_bytes();
    datagram[6..8].copy_from_slice(&sum);
    datagram
}

/// Says in words what a frame is that the kernel has sent.
pub fn show(frame: &[u8], ethernet: bool) -> String {
    if ethernet && frame.get(12..14) == Some(&[8, 6]) {
        let addr = |at: usize| {
            frame.get(at..at + 4).map_or(String::new(), |b| Ipv4Addr::new(b[0], b[1], b[2], b[3]).to_string())
        };
        return match frame.get(21) {
            Some(1) => format!("arp request {} from {}", addr(38), addr(28)),
            _ => format!("arp reply {} to {}", addr(28), addr(38)),
        };
    }
    let Some(packet) = Packet::parse(bare(frame, ethernet), false) else { return "no packet".into() };
    let payload = packet.payload;
    if let Some(piece) = packet.piece {
        let more = if piece.more { " more" } else { "" };
        return format!("frag off {} len {}{more}", piece.offset, payload.len());
    }
    let word = |at: usize| payload.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let six = if matches!(packet.to, IpAddress::Ipv6(_)) { "6" } else { "" };
    let target = || {
        payload
            .get(8..24)
            .and_then(|b| <[u8; 16]>::try_from(b).ok())
            .map_or(String::new(), |b| Ipv6Addr::from(b).to_string())
    };
    if packet.protocol == IpProtocol::Udp {
        return format!("udp{six} {} > {} len {}", word(0), word(2), payload.len() - 8);
    }
    match (packet.protocol, payload.first().copied().unwrap_or(0)) {
        (IpProtocol::Icmp, 0) | (IpProtocol::Icmpv6, 129) => {
            format!("reply{six} {} len {}", word(6), payload.len() - 8)
        }
        (IpProtocol::Icmpv6, 133) => "rs".into(),
        (IpProtocol::Icmpv6, 135) => format!("ns {} from {}", target(), packet.from),
        (IpProtocol::Icmpv6, 136) => format!("na {} to {}", target(), packet.to),
        (IpProtocol::Icmp | IpProtocol::Icmpv6, kind) => {
            format!("icmp{six} {kind}/{} mtu {}", payload.get(1).copied().unwrap_or(0), word(6))
        }
        (protocol, _) => format!("protocol {protocol} len {}", payload.len()),
    }
}
