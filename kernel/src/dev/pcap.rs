//! `pcap`: a wrapper that writes all frames to a file of the host, in the format of pcapng, which tshark and Wireshark read.
//!
//! Packets on the loopback bear no checksums; in the file they do.

use std::path::Path;
use std::sync::Arc;

use abi::{Errno, Result};
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpProtocol};

use super::net::{Counters, NetDevice};
use crate::net::packet::{self, Packet};
use crate::rumpuser::{HostFile, Rumpuser, Signal};

/// See the pcapng specification.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Kinds of links: Ethernet, and bare IP packets.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;
/// Option: which way a packet went; inbound and outbound.
const FLAGS: u16 = 2;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

struct Pcap {
    inner: Box<dyn NetDevice>,
    path: String,
    file: Box<dyn HostFile>,
    /// Where the next block goes; `None` once the file could not be written.
    at: Option<u64>,
    /// The wall clock less the stack's, in microseconds.
    offset: i64,
}

/// Puts a wrapper around a device, that writes to the file of the host called `words`.
pub fn wrap(
    host: &dyn Rumpuser,
    inner: Box<dyn NetDevice>,
    words: &str,
) -> std::result::Result<Box<dyn NetDevice>, (Errno, Box<dyn NetDevice>)> {
    let path = words.trim();
    if path.is_empty() {
        return Err((Errno::EINVAL, inner));
    }
    let file = match host.create_host(Path::new(path)) {
        Ok(file) => file,
        Err(error) => return Err((error, inner)),
    };
    let offset = host.wall_clock().as_micros() as i64 - host.monotonic().as_micros() as i64;
    let mut pcap = Pcap { inner, path: path.to_owned(), file, at: Some(0), offset };
    pcap.begin();
    Ok(Box::new(pcap))
}

/// Makes a block: its type, its length before and behind it.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, &body, &length].concat()
}

impl Pcap {
    fn begin(&mut self) {
        // Version 1.0, of a length that is not known.
        let section = [&BYTE_ORDER.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat();
        let kind = if self.inner.medium() == Medium::Ethernet { ETHERNET } else { RAW };
        let interface = [&kind.to_le_bytes()[..], &[0; 6]].concat();
        self.write(&block(SECTION, &section));
        self.write(&block(INTERFACE, &interface));
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(at) = self.at else { return };
        let written = self.file.write_at(at, bytes);
        self.at = written.ok().filter(|len| *len == bytes.len()).map(|len| at + len as u64);
    }

    fn note(&mut self, now: Instant, frame: &[u8], direction: u32) {
        let whole = self.inner.is_loopback().then(|| with_checksums(frame));
        let frame = whole.as_deref().unwrap_or(frame);
        let time = now.total_micros().saturating_add(self.offset) as u64;
        let len = (frame.len() as u32).to_le_bytes();
        let (high, low) = ((time >> 32) as u32, time as u32);
        let mut body = [&[0; 4][..], &high.to_le_bytes(), &low.to_le_bytes(), &len, &len, frame].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend_from_slice(&FLAGS.to_le_bytes());
        body.extend_from_slice(&4u16.to_le_bytes());
        body.extend_from_slice(&direction.to_le_bytes());
        // The end of the options.
        body.extend_from_slice(&[0; 4]);
        self.write(&block(PACKET, &body));
    }
}

/// A packet of the loopback with the checksums that it would have on a wire.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    let Some(parsed) = Packet::parse(bytes, true) else { return whole };
    let (from, to, protocol, at) = (parsed.from, parsed.to, parsed.protocol, parsed.header);
    let place = match protocol {
        _ if parsed.piece.is_some() => None,
        IpProtocol::Tcp => Some(16),
        IpProtocol::Udp => Some(6),
        IpProtocol::Icmp | IpProtocol::Icmpv6 => Some(2),
        _ => None,
    };
    if bytes[0] >> 4 == 4 {
        packet::fill_header_checksum(&mut whole);
    }
    let Some(place) = place.filter(|place| parsed.payload.len() >= place + 2) else { return whole };
    whole[at + place..at + place + 2].fill(0);
    let payload = &whole[at..parsed.bytes.len()];
    let sum = match protocol {
        IpProtocol::Icmp => packet::checksum(payload),
        _ => packet::pseudo_checksum(&from, &to, protocol, payload),
    };
    // Zero would say that there is none.
    let sum = if protocol == IpProtocol::Udp && sum == 0 { u16::MAX } else { sum };
    whole[at + place..at + place + 2].copy_from_slice(&sum.to_be_bytes());
    whole
}

impl NetDevice for Pcap {
    fn medium(&self) -> Medium {
        self.inner.medium()
    }

    fn mtu(&self) -> usize {
        self.inner.mtu()
    }

    fn set_mtu(&mut self, mtu: usize) -> Result<()> {
        self.inner.set_mtu(mtu)
    }

    fn mac(&self) -> Option<EthernetAddress> {
        self.inner.mac()
    }

    fn set_up(&mut self, up: bool) -> Result<()> {
        self.inner.set_up(up)
    }

    fn transmit(&mut self, now: Instant, frame: Vec<u8>) {
        // On the loopback every packet would be there twice.
        if !self.inner.is_loopback() {
            self.note(now, &frame, OUTBOUND);
        }
        self.inner.transmit(now, frame);
    }

    fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let frame = self.inner.receive(now)?;
        self.note(now, &frame, INBOUND);
        Some(frame)
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.inner.buffer(len)
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.inner.recycle(frame);
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn is_loopback(&self) -> bool {
        self.inner.is_loopback()
    }

    fn link_string(&self) -> Result<Vec<u8>> {
        self.inner.link_string()
    }

    fn set_link_string(&mut self, host: &dyn Rumpuser, to: Option<&Path>) -> Result<Option<Arc<dyn Signal>>> {
        self.inner.set_link_string(host, to)
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn inner(&mut self) -> Option<&mut Box<dyn NetDevice>> {
        Some(&mut self.inner)
    }

    fn wrapper(&self) -> Option<(&'static str, String)> {
        Some(("pcap", self.path.clone()))
    }
}
