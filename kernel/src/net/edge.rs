//! What stands between a TCP engine and the wire: what programs ask of segments and the engine does not know of, and what RFC 5961 and RFC 9293
//! ask for and the engine does not do.
//!
//! Each segment of a connection passes its [`Edge`] both ways. It sets the type of service, the segment size that is announced, and the urgent
//! pointer; it answers what a blind attacker could have sent by a challenge; it lets two SYNs that have crossed complete each other.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpEndpoint, IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use super::conn::{Measured, TcpState};
use super::packet::{self, Packet};

/// Between two challenges of a connection (RFC 5961, 7): Linux's `tcp_invalid_ratelimit`.
const CHALLENGES: Duration = Duration::from_millis(500);
/// The kind of TCP's option for the size of segments (RFC 9293, 3.2).
const OPTION_MSS: u8 = 2;
/// The one that shifts windows (RFC 7323, 2.2), and the most that it may.
const OPTION_SCALE: u8 = 3;
const MAX_SCALE: u8 = 14;

/// What was said last.
#[derive(Clone, Copy)]
struct Said {
    /// Behind all that was sent.
    next: TcpSeqNumber,
    /// What was acknowledged.
    ack: Option<TcpSeqNumber>,
    /// The window that was offered.
    window: u16,
}

/// Who speaks to whom.
#[derive(Clone, Copy)]
struct Ends {
    from: IpEndpoint,
    to: IpEndpoint,
}

/// What becomes of a segment that has arrived.
pub enum Verdict {
    /// The engine gets it.
    Take,
    /// The engine gets this in its place.
    TakeAs(Vec<u8>),
    /// The engine gets it, and this is answered besides.
    TakeAndAnswer(Vec<u8>),
    /// It is answered by this packet, and the engine never sees it.
    Answer(Vec<u8>),
    /// Nobody sees it.
    Drop,
}

/// The edge of one connection.
#[derive(Default)]
pub struct Edge {
    /// `IP_TOS` or `IPV6_TCLASS`.
    pub class: u8,
    /// `TCP_MAXSEG`.
    pub max_segment: Option<u16>,
    /// Behind the urgent byte that was sent last.
    urgent: Option<TcpSeqNumber>,
    /// Our SYN's number.
    begin: Option<TcpSeqNumber>,
    /// The peer's.
    peer_begin: Option<TcpSeqNumber>,
    /// What the peer takes in a segment, if it says so.
    peer_segment: Option<u16>,
    said: Option<Said>,
    /// By how many bits our windows are shifted, if the peer agrees.
    scale: u8,
    ends: Option<Ends>,
    /// Our answer to the peer's SYN, as long as it may have to be repeated.
    greeting: Vec<u8>,
    challenged: Option<Instant>,
    /// Behind the segment whose round trip is being measured, and when it left.
    timed: Option<(TcpSeqNumber, Instant)>,
    round_trip: Option<(std::time::Duration, std::time::Duration)>,
    repeated: u32,
    /// What the peer has acknowledged.
    acked: Option<TcpSeqNumber>,
}

impl Edge {
    /// How much data a segment may carry, as far as both sides have said.
    pub fn segment(&self) -> Option<usize> {
        [self.peer_segment, self.max_segment].into_iter().flatten().min().map(usize::from)
    }

    /// Marks the stream as urgent up to the byte before `end`, counted from its first (RFC 6093: the pointer names the byte behind).
    pub fn urge(&mut self, end: u64) {
        let offset = (end as u32).wrapping_add(1);
        self.urgent = self.begin.map(|begin| TcpSeqNumber((begin.0 as u32).wrapping_add(offset) as i32));
    }

    /// Takes note of a segment that leaves, and sets what it is to bear. Without `checksums` nobody looks at them.
    pub fn leaves(&mut self, now: Instant, bytes: &mut [u8], checksums: bool) {
        let Some(parsed) = Packet::parse(bytes, true).filter(|packet| packet.protocol == IpProtocol::Tcp) else {
            return;
        };
        let (from, to, header) = (parsed.from, parsed.to, parsed.header);
        let ends = TcpPacket::new_checked(parsed.payload).ok().map(|segment| Ends {
            from: IpEndpoint::new(from, segment.src_port()),
            to: IpEndpoint::new(to, segment.dst_port()),
        });
        let Some((head, body)) = bytes.split_at_mut_checked(header) else { return };
        let Ok(mut segment) = TcpPacket::new_checked(body) else { return };
        let seq = segment.seq_number();
        if segment.syn() {
            self.begin = Some(seq);
            let options = segment.options_mut();
            let scale = find_option(options, (OPTION_SCALE, 3)).and_then(|at| options.get(at).copied());
            self.scale = scale.unwrap_or(0).min(MAX_SCALE);
        }
        let mut changed = segment.syn() && self.announce(&mut segment);
        if let Some(end) = self.urgent.filter(|_| !segment.syn() && !segment.rst()) {
            let ahead = (end.0 as u32).wrapping_sub(seq.0 as u32);
            if (1..=0xffff).contains(&ahead) {
                segment.set_urg(true);
                segment.set_urgent_at(ahead as u16);
                changed = true;
            }
        }
        if !segment.rst() {
            let end = seq + segment.segment_len();
            self.measure_sent(now, seq, end);
            let next = self.said.map_or(end, |said| if end > said.next { end } else { said.next });
            self.said =
                Some(Said { next, ack: segment.ack().then(|| segment.ack_number()), window: segment.window_len() });
        }
        if changed && checksums {
            segment.fill_checksum(&from, &to);
        }
        let greeting = segment.syn() && segment.ack();
        if self.class != 0 {
            set_class(head, self.class);
        }
        if greeting {
            self.greeting = bytes.to_vec();
        }
        if self.ends.is_none() {
            self.ends = ends;
        }
    }

    /// What was seen of its segments.
    pub fn measured(&self) -> Measured {
        let in_flight = match (self.said, self.acked) {
            (Some(said), Some(acked)) if said.next > acked => said.next - acked,
            _ => 0,
        };
        Measured { round_trip: self.round_trip, repeated: self.repeated, in_flight }
    }

    /// Takes note of what has left: what left before is measured no more, for nobody knows which of the two is acknowledged (RFC 6298, 3).
    fn measure_sent(&mut self, now: Instant, seq: TcpSeqNumber, end: TcpSeqNumber) {
        let again = self.said.is_some_and(|said| seq < said.next) && end > seq;
        if again {
            self.repeated = self.repeated.saturating_add(1);
            self.timed = None;
        } else if end > seq && self.timed.is_none() {
            self.timed = Some((end, now));
        }
    }

    /// Takes note of an acknowledgement (RFC 6298, 2).
    fn measure_acked(&mut self, now: Instant, ack: TcpSeqNumber) {
        let known = self.said.is_some_and(|said| ack <= said.next);
        if !known || self.acked.is_some_and(|acked| ack < acked) {
            return;
        }
        self.acked = Some(ack);
        let Some((_, left)) = self.timed.take_if(|(end, _)| ack >= *end) else { return };
        let sample = std::time::Duration::from(now - left);
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                let variation = (variation * 3 + smoothed.abs_diff(sample)) / 4;
                ((smoothed * 7 + sample) / 8, variation)
            }
        });
    }

    /// Lowers the size that a SYN announces to what was asked for; whether it did.
    fn announce(&self, segment: &mut TcpPacket<&mut [u8]>) -> bool {
        let Some(wanted) = self.max_segment else { return false };
        let options = segment.options_mut();
        let Some(at) = find_option(options, (OPTION_MSS, 4)) else { return false };
        let Some(Ok(size)) = options.get_mut(at..at + 2).map(<&mut [u8; 2]>::try_from) else { return false };
        *size = wanted.min(u16::from_be_bytes(*size)).to_be_bytes();
        true
    }

    /// Judges a segment that has arrived.
    pub fn arrives(&mut self, now: Instant, bytes: &[u8], state: TcpState) -> Verdict {
        let Some(packet) = Packet::parse(bytes, true) else { return Verdict::Drop };
        let Ok(segment) = TcpPacket::new_checked(packet.payload) else { return Verdict::Drop };
        let seq = segment.seq_number();
        if segment.ack() {
            self.measure_acked(now, segment.ack_number());
        }
        if segment.syn() && state < TcpState::Established {
            let crossed = state == TcpState::SynReceived && segment.ack() && self.peer_begin == Some(seq);
            if crossed {
                return self.complete(&packet, &segment);
            }
            if state == TcpState::SynReceived
                && !segment.ack()
                && !segment.rst()
                && !self.greeting.is_empty()
                && self.peer_begin == Some(seq)
            {
                // Our answer was lost.
                return Verdict::Answer(self.greeting.clone());
            }
            if matches!(state, TcpState::Listen | TcpState::SynSent) {
                return self.begins(&packet, &segment);
            }
        }
        if state >= TcpState::Established && self.greeting.capacity() > 0 {
            self.greeting = Vec::new();
        }
        let open = state >= TcpState::SynReceived && state != TcpState::TimeWait;
        match self.said.filter(|_| open) {
            // RFC 5961, 4.2: whoever knows no more than the addresses cannot end a connection by a SYN; a peer that has forgotten it answers the
            // challenge with the reset that ends it.
            Some(said) if segment.syn() && !segment.rst() && state != TcpState::SynReceived => {
                self.challenge(now, said)
            }
            // RFC 5961, 3.2: a reset must be exact; one that is only near is asked for again.
            Some(said) if segment.rst() && said.ack.is_some_and(|ack| ack != seq) => {
                // A peer that does not shift has us take more for near than it is: all that costs is an answer.
                let window = u32::from(said.window) << self.scale;
                let near = said.ack.is_some_and(|ack| (seq.0 as u32).wrapping_sub(ack.0 as u32) < window);
                if near { self.challenge(now, said) } else { Verdict::Drop }
            }
            // An end before what comes before it: the engine forgets it, and does not say what is missing (RFC 9293, 3.10.7.4, first).
            Some(said) if segment.fin() && segment.payload().is_empty() && said.ack.is_some_and(|ack| seq > ack) => {
                self.answer(said).map_or(Verdict::Take, Verdict::TakeAndAnswer)
            }
            _ => Verdict::Take,
        }
    }

    /// Asks whether the peer is there: a segment before what it expects next must be answered (RFC 1122, 4.2.3.6).
    pub fn question(&self, hop_limit: Option<u8>) -> Option<Vec<u8>> {
        let said = self.said?;
        let before = TcpSeqNumber((said.next.0 as u32).wrapping_sub(1) as i32);
        let mut packet = self.answer(Said { next: before, ..said })?;
        if let Some(hop_limit) = hop_limit.filter(|limit| *limit != 0) {
            set_hop_limit(&mut packet, hop_limit);
        }
        Some(packet)
    }

    /// Takes note of the peer's SYN; the engine hears of no larger segments than the program wants.
    fn begins(&mut self, packet: &Packet<'_>, segment: &TcpPacket<&[u8]>) -> Verdict {
        self.peer_begin = Some(segment.seq_number());
        let repr = TcpRepr::parse(segment, &packet.from, &packet.to, &ChecksumCapabilities::ignored());
        self.peer_segment = repr.ok().and_then(|repr| repr.max_seg_size).filter(|size| *size != 0);
        match (self.max_segment, self.peer_segment) {
            (Some(wanted), Some(said)) if wanted < said => {
                let mut bytes = packet.bytes.to_vec();
                let Ok(mut segment) = TcpPacket::new_checked(&mut bytes[packet.header..]) else { return Verdict::Drop };
                self.announce(&mut segment);
                segment.fill_checksum(&packet.from, &packet.to);
                Verdict::TakeAs(bytes)
            }
            _ => Verdict::Take,
        }
    }

    /// Makes the acknowledgement that it is of a SYN that has crossed ours (RFC 9293, 3.5, figure 7); the engine knows the SYN already.
    fn complete(&self, packet: &Packet<'_>, segment: &TcpPacket<&[u8]>) -> Verdict {
        let mut bytes = packet.bytes.to_vec();
        let Ok(mut plain) = TcpPacket::new_checked(&mut bytes[packet.header..]) else { return Verdict::Drop };
        plain.set_syn(false);
        plain.set_seq_number(segment.seq_number() + 1);
        plain.fill_checksum(&packet.from, &packet.to);
        Verdict::TakeAs(bytes)
    }

    /// Says again where we are.
    fn challenge(&mut self, now: Instant, said: Said) -> Verdict {
        if self.challenged.is_some_and(|last| now < last + CHALLENGES) {
            return Verdict::Drop;
        }
        self.challenged = Some(now);
        self.answer(said).map_or(Verdict::Drop, Verdict::Answer)
    }

    /// A segment without data that says where we are.
    fn answer(&self, said: Said) -> Option<Vec<u8>> {
        let mut answer = bare(self.ends?, TcpControl::None, said.next, said.ack, said.window);
        set_class(&mut answer, self.class);
        Some(answer)
    }
}

/// Where the value of an option stands, by its kind and its length.
fn find_option(options: &[u8], wanted: (u8, u8)) -> Option<usize> {
    let mut at = 0;
    loop {
        match (*options.get(at)?, options.get(at + 1)) {
            (0, _) => return None,
            (1, _) => at += 1,
            (kind, Some(length)) if (kind, *length) == wanted => return Some(at + 2),
            (_, Some(length)) if *length >= 2 => at += usize::from(*length),
            _ => return None,
        }
    }
}

/// The reset that answers a segment which belongs to no connection (RFC 9293, 3.5.2, group 1); `None` for a reset.
pub fn reset(packet: &Packet<'_>, segment: &TcpPacket<&[u8]>) -> Option<Vec<u8>> {
    if segment.rst() {
        return None;
    }
    let (seq, ack) = match segment.ack() {
        true => (segment.ack_number(), None),
        false => (TcpSeqNumber(0), Some(segment.seq_number() + segment.segment_len())),
    };
    let ends = Ends {
        from: IpEndpoint::new(packet.to, segment.dst_port()),
        to: IpEndpoint::new(packet.from, segment.src_port()),
    };
    Some(bare(ends, TcpControl::Rst, seq, ack, 0))
}

/// A segment without data.
fn bare(
    ends: Ends,
    control: TcpControl,
    seq_number: TcpSeqNumber,
    ack_number: Option<TcpSeqNumber>,
    window_len: u16,
) -> Vec<u8> {
    let Ends { from: IpEndpoint { addr: from, port: src_port }, to: IpEndpoint { addr: to, port: dst_port } } = ends;
    let tcp = TcpRepr {
        src_port,
        dst_port,
        control,
        seq_number,
        ack_number,
        window_len,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let mut bytes = vec![0; tcp.buffer_len()];
    tcp.emit(&mut TcpPacket::new_unchecked(&mut bytes[..]), &from, &to, &ChecksumCapabilities::default());
    packet::build(from, to, IpProtocol::Tcp, 64, &bytes)
}

/// Sets the type of service, or the traffic class, in a header of IP.
fn set_class(head: &mut [u8], class: u8) {
    match head {
        [first, second, ..] if *first >> 4 == 6 => {
            *first = 0x60 | class >> 4;
            *second = class << 4 | *second & 15;
        }
        [first, second, ..] => {
            *second = class;
            let header = usize::from(*first & 15) * 4;
            if let Some(header) = head.get_mut(..header) {
                packet::fill_header_checksum(header);
            }
        }
        _ => {}
    }
}

/// Sets the TTL or hop limit in a header of IP.
fn set_hop_limit(bytes: &mut [u8], limit: u8) {
    match bytes.first().map(|first| first >> 4) {
        Some(6) => bytes[7] = limit,
        Some(4) => {
            bytes[8] = limit;
            packet::fill_header_checksum(bytes);
        }
        _ => {}
    }
}

/// Cuts a segment of TCP into such as fit packets of `mtu` bytes: the way has turned out to be narrower than the engine was told. `None` if it
/// is none, or cannot be cut.
pub fn cut(bytes: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let packet =
        Packet::parse(bytes, true).filter(|packet| packet.protocol == IpProtocol::Tcp && packet.piece.is_none())?;
    let segment = TcpPacket::new_checked(packet.payload).ok().filter(|segment| !segment.syn() && !segment.rst())?;
    let heads = packet.header + usize::from(segment.header_len());
    let room = mtu.checked_sub(heads).filter(|room| *room > 0)?;
    let (last, mut cut) = (segment.payload().len().div_ceil(room).checked_sub(1)?, Vec::new());
    for (at, data) in segment.payload().chunks(room).enumerate() {
        let mut piece = [&bytes[..heads], data].concat();
        let length = piece.len();
        if piece[0] >> 4 == 6 {
            piece[4..6].copy_from_slice(&((length - packet::IPV6_HEADER) as u16).to_be_bytes());
        } else {
            piece[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            packet::fill_header_checksum(&mut piece[..packet.header]);
        }
        let mut part = TcpPacket::new_unchecked(&mut piece[packet.header..]);
        part.set_seq_number(segment.seq_number() + at * room);
        part.set_fin(segment.fin() && at == last);
        part.set_psh(segment.psh() && at == last);
        if segment.urg() {
            let ahead = usize::from(segment.urgent_at()).checked_sub(at * room).filter(|ahead| *ahead > 0);
            part.set_urg(ahead.is_some());
            part.set_urgent_at(ahead.unwrap_or(0) as u16);
        }
        part.fill_checksum(&packet.from, &packet.to);
        cut.push(piece);
    }
    Some(cut)
}
