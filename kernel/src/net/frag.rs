//! Packets that are longer than a link allows: cut into fragments, and put together again (RFC 791, RFC 8200, 4.5).

use std::collections::HashMap;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpProtocol};

use super::packet::{self, IPV4_HEADER, IPV6_HEADER, Packet};

/// How long the parts of a packet are waited for (Linux's `ipfrag_time`).
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The same for IPv6 (RFC 8200, 4.5).
const PATIENCE6: Duration = Duration::from_secs(60);
/// Bytes of all packets that are not whole yet.
const MAX_BYTES: usize = 4 << 20;
/// Parts of one packet.
const MAX_PIECES: usize = 128;
/// The longest packet that there is.
const MAX_PAYLOAD: usize = 65535;
/// Length of the fragment header of IPv6.
const FRAGMENT_HEADER: usize = 8;

/// What the parts of one packet have in common.
type Key = (IpAddress, IpAddress, u8, u32);

struct Partial {
    /// Where each part stands, and its bytes; sorted, without overlaps.
    pieces: Vec<(usize, Vec<u8>)>,
    total: Option<usize>,
    hop_limit: u8,
    until: Instant,
    bytes: usize,
    /// The first part as it came, for the message that the time is over.
    first: Option<Vec<u8>>,
}

/// Packets of which parts have arrived.
#[derive(Default)]
pub struct Reassembly {
    partial: HashMap<Key, Partial>,
    bytes: usize,
}

impl Reassembly {
    /// Takes a part; the whole packet if it was the last one missing. An overlap spoils the packet (RFC 5722).
    pub fn add(&mut self, now: Instant, part: &Packet<'_>) -> Option<Vec<u8>> {
        let piece = part.piece?;
        let protocol: u8 = part.protocol.into();
        let end = piece.offset + part.payload.len();
        let odd = piece.more && !part.payload.len().is_multiple_of(8);
        if odd || part.payload.is_empty() || end > MAX_PAYLOAD - IPV4_HEADER {
            return None;
        }
        let key = (part.from, part.to, if matches!(part.to, IpAddress::Ipv4(_)) { protocol } else { 0 }, piece.id);
        if self.bytes + part.payload.len() > MAX_BYTES {
            self.drop_oldest();
        }
        let fresh = || Partial {
            pieces: Vec::new(),
            total: None,
            hop_limit: part.hop_limit,
            until: now + if matches!(part.to, IpAddress::Ipv6(_)) { PATIENCE6 } else { PATIENCE },
            bytes: 0,
            first: None,
        };
        let partial = self.partial.entry(key).or_insert_with(fresh);
        let at = partial.pieces.partition_point(|(offset, _)| *offset < piece.offset);
        if partial.pieces.get(at).is_some_and(|(offset, data)| *offset == piece.offset && data == part.payload) {
            return None;
        }
        let before = at.checked_sub(1).and_then(|at| partial.pieces.get(at));
        let overlaps = before.is_some_and(|(offset, data)| offset + data.len() > piece.offset)
            || partial.pieces.get(at).is_some_and(|(offset, _)| *offset < end);
        let wrong_end = match partial.total {
            Some(total) => end > total || !piece.more && end != total,
            None => !piece.more && partial.pieces.last().is_some_and(|(offset, data)| offset + data.len() > end),
        };
        if overlaps || wrong_end || partial.pieces.len() >= MAX_PIECES {
            self.forget(&key);
            return None;
        }
        if !piece.more {
            partial.total = Some(end);
        }
        if piece.offset == 0 {
            partial.first = Some(part.bytes.to_vec());
            partial.hop_limit = part.hop_limit;
        }
        partial.pieces.insert(at, (piece.offset, part.payload.to_vec()));
        partial.bytes += part.payload.len();
        self.bytes += part.payload.len();
        if partial.total != Some(partial.bytes) {
            return None;
        }
        // Without overlaps, as many bytes as there are in all are all of them.
        let first = partial.first.as_deref().and_then(|first| Packet::parse(first, true));
        let protocol = first.map_or(part.protocol, |first| first.protocol);
        let payload: Vec<u8> = partial.pieces.iter().flat_map(|(_, data)| data.iter().copied()).collect();
        let whole = packet::build(part.from, part.to, protocol, partial.hop_limit, &payload);
        self.forget(&key);
        Some(whole)
    }

    /// Gives up what took too long: the first parts of those, if they have come. And when to look again.
    pub fn expire(&mut self, now: Instant) -> (Vec<Vec<u8>>, Option<Instant>) {
        let over: Vec<Key> =
            self.partial.iter().filter(|(_, partial)| partial.until <= now).map(|(key, _)| *key).collect();
        let firsts = over.iter().filter_map(|key| self.forget(key)?.first).collect();
        (firsts, self.partial.values().map(|partial| partial.until).min())
    }

    fn forget(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.bytes -= partial.bytes;
        Some(partial)
    }

    fn drop_oldest(&mut self) {
        if let Some(key) = self.partial.iter().min_by_key(|(_, partial)| partial.until).map(|(key, _)| *key) {
            self.forget(&key);
        }
    }
}

/// Cuts a packet into fragments of at most `mtu` bytes, all with the number `id`.
pub fn fragment(bytes: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let Some(whole) = Packet::parse(bytes, true) else { return Vec::new() };
    let v4 = matches!(whole.to, IpAddress::Ipv4(_));
    let header = if v4 { whole.header } else { IPV6_HEADER };
    let headers = if v4 { header } else { header + FRAGMENT_HEADER };
    let room = mtu.saturating_sub(headers) / 8 * 8;
    let Some(data) = bytes.get(header..whole.bytes.len()).filter(|_| room > 0) else { return Vec::new() };
    // A fragment may be cut again on its way.
    let (start, last_more) = whole.piece.filter(|_| v4).map_or((0, false), |piece| (piece.offset, piece.more));
    let count = data.len().div_ceil(room);
    let piece = |(number, chunk): (usize, &[u8])| {
        let (offset, more) = (start + number * room, number + 1 < count || last_more);
        let mut head = bytes[..header].to_vec();
        if v4 {
            let id = if whole.piece.is_some() { [bytes[4], bytes[5]] } else { (id as u16).to_be_bytes() };
            let position = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
            head[2..4].copy_from_slice(&((header + chunk.len()) as u16).to_be_bytes());
            head[4..6].copy_from_slice(&id);
            head[6..8].copy_from_slice(&position.to_be_bytes());
            packet::fill_header_checksum(&mut head);
        } else {
            let position = offset as u16 | u16::from(more);
            head[4..6].copy_from_slice(&((FRAGMENT_HEADER + chunk.len()) as u16).to_be_bytes());
            head.extend_from_slice(&[bytes[6], 0]);
            head.extend_from_slice(&position.to_be_bytes());
            head.extend_from_slice(&id.to_be_bytes());
            head[6] = IpProtocol::Ipv6Frag.into();
        }
        head.extend_from_slice(chunk);
        head
    };
    data.chunks(room).enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(v6: bool, len: usize) -> Vec<u8> {
        let payload: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
        let (from, to) = match v6 {
            false => (IpAddress::v4(10, 0, 0, 1), IpAddress::v4(10, 0, 0, 2)),
            true => (IpAddress::v6(1, 0, 0, 0, 0, 0, 0, 1), IpAddress::v6(1, 0, 0, 0, 0, 0, 0, 2)),
        };
        packet::build(from, to, IpProtocol::Udp, 64, &payload)
    }

    fn add(all: &mut Reassembly, bytes: &[u8]) -> Option<Vec<u8>> {
        all.add(Instant::ZERO, &Packet::parse(bytes, false).unwrap())
    }

    #[test]
    fn fragments_in_any_order_make_the_packet_again() {
        for v6 in [false, true] {
            let bytes = whole(v6, 5000);
            let mut pieces = fragment(&bytes, 1280, 77);
            assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= 1280));
            pieces.rotate_left(2);
            let mut all = Reassembly::default();
            let last = pieces.pop().unwrap();
            pieces.iter().for_each(|piece| assert_eq!(add(&mut all, piece), None));
            assert_eq!(add(&mut all, &pieces[0]), None);
            assert_eq!(add(&mut all, &last), Some(bytes));
            assert_eq!((all.bytes, all.partial.len()), (0, 0));
        }
    }

    #[test]
    fn a_fragment_can_be_cut_again() {
        let bytes = whole(false, 3000);
        let mut all = Reassembly::default();
        let pieces = fragment(&bytes, 1500, 5);
        let smaller: Vec<Vec<u8>> = pieces.iter().flat_map(|piece| fragment(piece, 576, 9)).collect();
        let done: Vec<Vec<u8>> = smaller.iter().filter_map(|piece| add(&mut all, piece)).collect();
        assert_eq!(done, [bytes]);
    }

    #[test]
    fn an_overlap_spoils_the_packet() {
        let bytes = whole(false, 3000);
        let pieces = fragment(&bytes, 1500, 5);
        let mut other = pieces[1].clone();
        // One step back: over the end of the first.
        let position = u16::from_be_bytes([other[6], other[7]]) - 1;
        other[6..8].copy_from_slice(&position.to_be_bytes());
        packet::fill_header_checksum(&mut other);
        let mut all = Reassembly::default();
        assert_eq!((add(&mut all, &pieces[0]), add(&mut all, &other)), (None, None));
        assert_eq!((add(&mut all, &pieces[1]), add(&mut all, &pieces[2])), (None, None));
        assert_eq!(all.partial.len(), 1);
    }

    #[test]
    fn what_does_not_come_in_time_is_given_up_and_memory_is_limited() {
        let mut all = Reassembly::default();
        let pieces = fragment(&whole(false, 3000), 1500, 5);
        add(&mut all, &pieces[0]);
        assert_eq!(all.expire(Instant::from_secs(29)), (Vec::new(), Some(Instant::from_secs(30))));
        assert_eq!(all.expire(Instant::from_secs(30)), (vec![pieces[0].clone()], None));
        for id in 0..10_000 {
            add(&mut all, &fragment(&whole(true, 3000), 1500, id)[0]);
        }
        assert!(all.bytes <= MAX_BYTES);
    }
}
