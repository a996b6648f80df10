//! What is counted, as netstat(1) shows it and `/proc/net/snmp`: in NetBSD's tables (`net.inet.ip.stats` and its kin), 64 bits each, at the
//! places that its headers give (`ip_var.h`, `ip6_var.h`, `tcp_var.h`, `udp_var.h`, `icmp_var.h`, `icmp6.h`). What nobody counts stays zero.
//!
//! A connection of the fast loop has no segments: it counts as a connection only.

use smoltcp::wire::{IpAddress, IpProtocol, TcpPacket};

use super::conn::Queues;
use super::packet::{self, Packet};

/// Something that is counted of IP: its place in the table of IPv4, and in that of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip(usize, usize);

/// Names the rows of a table that is not the same for both versions of IP.
macro_rules! places {
    ($kind:ident { $($name:ident $v4:literal $v6:literal,)* }) => {
        impl $kind {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self($v4, $v6);)*
        }
    };
}

places! { Ip {
    TOTAL 0 0, TOOSHORT 2 1, TOOSMALL 3 2, BADVERS 23 19, FRAGMENTS 6 3, FORWARD 9 7, CANTFORWARD 11 8, REDIRECTSENT 12 9,
    DELIVERED 14 10, LOCALOUT 15 11, REASSEMBLED 17 13, FRAGMENTED 18 14, OFRAGMENTS 19 15, CANTFRAG 20 16, NOROUTE 22 18,
    BADADDR 29 21,
} }

/// Something that is counted of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp(usize, usize);

places! { Udp {
    IPACKETS 0 0, HDROPS 1 1, BADSUM 2 2, BADLEN 3 4, NOPORT 4 5, NOPORTBCAST 5 6, FULLSOCK 6 7, OPACKETS 8 9,
} }

/// What only IPv4 knows: a wrong checksum of the header, its length, a protocol that nobody serves.
mod v4 {
    pub const BADSUM: usize = 1;
    pub const BADHLEN: usize = 4;
    pub const BADLEN: usize = 5;
    pub const NOPROTO: usize = 13;
}

/// Something that is counted of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpStat(usize);

/// Names the rows of TCP's table.
macro_rules! tcp {
    ($($name:ident $place:literal,)*) => {
        impl TcpStat {
            $(#[doc = concat!("`TCP_STAT_", stringify!($name), "`.")] pub const $name: Self = Self($place);)*
        }
    };
}

tcp! {
    CONNATTEMPT 0, ACCEPTS 1, CONNECTS 2, DROPS 3, CONNDROPS 4, CLOSED 5, TIMEOUTDROP 9, SNDTOTAL 18, SNDPACK 19, SNDBYTE 20,
    SNDREXMITPACK 21, SNDACKS 23, SNDURG 25, SNDCTRL 27, RCVTOTAL 28, RCVPACK 29, RCVBYTE 30, RCVBADSUM 31, RCVSHORT 34,
    RCVACKPACK 47, RCVACKBYTE 48, NOPORT 54, SC_ADDED 57, SC_COMPLETED 58, SC_OVERFLOWED 60,
    RESETS 80,
}

/// Where the types of ICMP's messages are counted: those sent, those received, and how many types there are.
const HISTOGRAMS: [(usize, usize, usize); 2] = [(3, 27, 19), (3, 264, 256)];
/// What is wrong with a message of ICMP: too short, the checksum.
const ICMP_WRONG: [(usize, usize); 2] = [(23, 24), (260, 261)];

/// A table.
type Table<const N: usize> = [u64; N];

/// TCP's table.
#[derive(Clone, Copy, Debug)]
pub struct TcpTable(Table<81>);

impl Default for TcpTable {
    fn default() -> Self {
        Self([0; 81])
    }
}

impl TcpTable {
    /// Counts one.
    pub fn count(&mut self, what: TcpStat) {
        self.add(what, 1);
    }

    /// Counts many.
    pub fn add(&mut self, what: TcpStat, many: usize) {
        self.0[what.0] += many as u64;
    }

    /// Counts what a segment has done to the queues of its connection.
    pub fn segment(&mut self, before: &Queues, after: &Queues) {
        let received = after.readable.saturating_sub(before.readable);
        let acknowledged = before.unsent.saturating_sub(after.unsent);
        if received > 0 {
            self.count(TcpStat::RCVPACK);
            self.add(TcpStat::RCVBYTE, received);
        }
        if acknowledged > 0 {
            self.count(TcpStat::RCVACKPACK);
            self.add(TcpStat::RCVACKBYTE, acknowledged);
        }
    }

    /// Counts a connection that both sides have agreed to: whether the other one has asked, and by a segment.
    pub fn begins(&mut self, accepted: bool, by_segments: bool) {
        self.count(TcpStat::CONNECTS);
        if accepted {
            self.count(TcpStat::ACCEPTS);
        }
        if accepted && by_segments {
            self.count(TcpStat::SC_COMPLETED);
        }
    }

    /// Counts a connection that does not end as it should, whether it had begun, and whether the other side was silent.
    pub fn fails(&mut self, begun: bool, silent: bool) {
        self.count(if begun { TcpStat::DROPS } else { TcpStat::CONNDROPS });
        if begun && silent {
            self.count(TcpStat::TIMEOUTDROP);
        }
    }

    /// Counts a connection that is over, of which so many segments were sent once more.
    pub fn ends(&mut self, repeated: u32) {
        self.count(TcpStat::CLOSED);
        self.add(TcpStat::SNDREXMITPACK, repeated as usize);
    }

    /// How many there were.
    pub fn of(&self, what: TcpStat) -> u64 {
        self.0[what.0]
    }

    /// What two tables have counted.
    pub fn with(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
        self
    }

    /// NetBSD's table; behind it stands one more of our own.
    pub fn all(&self) -> &[u64] {
        &self.0
    }
}

/// All that is counted; of two tables the first is IPv4's.
#[derive(Clone, Debug)]
pub struct Counters {
    ip: [Table<32>; 2],
    udp: [Table<10>; 2],
    icmp: [Table<521>; 2],
    /// TCP: what concerns its segments.
    pub tcp: TcpTable,
}

impl Default for Counters {
    fn default() -> Self {
        Self { ip: [[0; 32]; 2], udp: [[0; 10]; 2], icmp: [[0; 521]; 2], tcp: TcpTable::default() }
    }
}

/// Which of two tables: that of the version that an address is of.
pub fn version(addr: &IpAddress) -> usize {
    usize::from(matches!(addr, IpAddress::Ipv6(_)))
}

impl Counters {
    /// Counts something of IP.
    pub fn ip(&mut self, version: usize, what: Ip) {
        self.ip[version][[what.0, what.1][version]] += 1;
    }

    /// Counts something of UDP.
    pub fn udp(&mut self, version: usize, what: Udp) {
        self.udp[version][[what.0, what.1][version]] += 1;
    }

    /// How many there were of IP.
    pub fn of_ip(&self, version: usize, what: Ip) -> u64 {
        self.ip[version][[what.0, what.1][version]]
    }

    /// How many there were of UDP.
    pub fn of_udp(&self, version: usize, what: Udp) -> u64 {
        self.udp[version][[what.0, what.1][version]]
    }

    /// Counts a message of ICMP that came; `right` says whether its checksum is.
    pub fn icmp_received(&mut self, version: usize, message: &[u8], right: bool) {
        let (short, wrong) = ICMP_WRONG[version];
        let (_, received, types) = HISTOGRAMS[version];
        match message.first().map(|kind| usize::from(*kind)) {
            None => self.icmp[version][short] += 1,
            Some(_) if !right => self.icmp[version][wrong] += 1,
            Some(kind) if kind < types => self.icmp[version][received + kind] += 1,
            Some(_) => {}
        }
    }

    /// Counts an error that is told to who has sent a packet.
    pub fn icmp_error(&mut self, version: usize) {
        self.icmp[version][0] += 1;
    }

    /// Counts a message of ICMP that was sent.
    pub fn icmp_sent(&mut self, version: usize, message: &[u8]) {
        let (sent, _, types) = HISTOGRAMS[version];
        let kind = message.first().map(|kind| usize::from(*kind)).filter(|kind| *kind < types);
        if let Some(kind) = kind {
            self.icmp[version][sent + kind] += 1;
        }
    }

    /// Messages of ICMP that came, and that were sent.
    pub fn of_icmp(&self, version: usize) -> (u64, u64) {
        let (sent, received, types) = HISTOGRAMS[version];
        let sum = |from: usize| self.icmp[version][from..from + types].iter().sum();
        (sum(received), sum(sent))
    }

    /// Counts a packet that nobody can make sense of, or whose addresses cannot be.
    pub fn senseless(&mut self, bytes: &[u8]) {
        match bytes {
            [head, ..] if head >> 4 == 6 => {
                let what = match bytes.get(..packet::IPV6_HEADER) {
                    None => Ip::TOOSMALL,
                    Some(header) => {
                        let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
                        let whole = bytes.len() >= packet::IPV6_HEADER + payload;
                        if whole { Ip::BADADDR } else { Ip::TOOSHORT }
                    }
                };
                self.ip(1, what);
            }
            [head, _, high, low, ..] if head >> 4 == 4 => {
                let (header, total) = (usize::from(head & 15) * 4, usize::from(u16::from_be_bytes([*high, *low])));
                match () {
                    () if bytes.len() < packet::IPV4_HEADER => self.ip(0, Ip::TOOSMALL),
                    () if header < packet::IPV4_HEADER || header > bytes.len() => self.ip[0][v4::BADHLEN] += 1,
                    () if packet::checksum(&bytes[..header]) != 0 => self.ip[0][v4::BADSUM] += 1,
                    () if total < header => self.ip[0][v4::BADLEN] += 1,
                    () if total > bytes.len() => self.ip(0, Ip::TOOSHORT),
                    () => self.ip(0, Ip::BADADDR),
                }
            }
            [head, ..] if head >> 4 == 4 => self.ip(0, Ip::TOOSMALL),
            _ => self.ip(0, Ip::BADVERS),
        }
    }

    /// Packets of a version of which nobody could make sense.
    pub fn of_senseless(&self, version: usize) -> u64 {
        let both = [Ip::TOOSHORT, Ip::TOOSMALL, Ip::BADVERS];
        let own: u64 = [v4::BADSUM, v4::BADHLEN, v4::BADLEN].iter().map(|place| self.ip[0][*place]).sum();
        both.iter().map(|what| self.of_ip(version, *what)).sum::<u64>() + if version == 0 { own } else { 0 }
    }

    /// Counts a packet of a protocol that nobody serves, which NetBSD counts of IPv4 only.
    pub fn unserved(&mut self, version: usize) {
        if version == 0 {
            self.ip[0][v4::NOPROTO] += 1;
        }
    }

    /// Packets of IPv4 that nobody serves.
    pub fn of_unserved(&self) -> u64 {
        self.ip[0][v4::NOPROTO]
    }

    /// Counts a packet of this host, by what it carries; it leaves as so many segments, if it is one of TCP.
    pub fn sent(&mut self, bytes: &[u8]) {
        let Some(packet) = Packet::parse(bytes, true) else { return };
        let version = version(&packet.to);
        self.ip(version, Ip::LOCALOUT);
        match packet.protocol {
            IpProtocol::Udp => self.udp(version, Udp::OPACKETS),
            IpProtocol::Tcp => {
                if let Ok(segment) = TcpPacket::new_checked(packet.payload) {
                    self.segment_sent(&segment);
                }
            }
            _ => {}
        }
    }

    fn segment_sent(&mut self, segment: &TcpPacket<&[u8]>) {
        let len = segment.payload().len();
        self.tcp.count(TcpStat::SNDTOTAL);
        self.tcp.count(match () {
            () if len > 0 => TcpStat::SNDPACK,
            () if segment.syn() || segment.fin() || segment.rst() => TcpStat::SNDCTRL,
            () if segment.urg() => TcpStat::SNDURG,
            () => TcpStat::SNDACKS,
        });
        self.tcp.add(TcpStat::SNDBYTE, len);
        if segment.rst() {
            self.tcp.count(TcpStat::RESETS);
        }
    }

    /// Counts that a packet of TCP left in so many pieces, which [`Counters::sent`] took for one.
    pub fn cut(&mut self, version: usize, pieces: usize) {
        for _ in 1..pieces {
            self.ip(version, Ip::LOCALOUT);
        }
        self.tcp.add(TcpStat::SNDTOTAL, pieces.saturating_sub(1));
        self.tcp.add(TcpStat::SNDPACK, pieces.saturating_sub(1));
    }

    /// The table of a version of IP.
    pub fn ip_table(&self, version: usize) -> &[u64] {
        &self.ip[version]
    }

    /// UDP's table of a version of IP.
    pub fn udp_table(&self, version: usize) -> &[u64] {
        &self.udp[version]
    }

    /// ICMP's table of a version of IP.
    pub fn icmp_table(&self, version: usize) -> &[u64] {
        &self.icmp[version]
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::Ipv4Address;

    use super::*;

    #[test]
    fn what_makes_no_sense_is_counted_by_its_fault() {
        let (from, to) = (Ipv4Address::new(10, 0, 0, 1).into(), Ipv4Address::new(10, 0, 0, 2).into());
        let good = packet::build(from, to, IpProtocol::Udp, 64, &[0; 8]);
        let mut counters = Counters::default();
        let mut wrong = |change: &dyn Fn(&mut Vec<u8>), place: usize| {
            let mut bytes = good.clone();
            change(&mut bytes);
            let before = counters.ip[0][place];
            counters.senseless(&bytes);
            assert_eq!(counters.ip[0][place], before + 1, "{place}: {:?}", &counters.ip[0]);
        };
        wrong(&|bytes| bytes.truncate(10), Ip::TOOSMALL.0);
        wrong(&|bytes| bytes.truncate(24), Ip::TOOSHORT.0);
        wrong(&|bytes| bytes[0] = 0x44, v4::BADHLEN);
        wrong(&|bytes| bytes[10] ^= 1, v4::BADSUM);
        wrong(&|bytes| bytes[0] = 0x55, Ip::BADVERS.0);
        wrong(&|_| (), Ip::BADADDR.0);
        assert_eq!(counters.of_senseless(0), 5);
    }

    #[test]
    fn what_is_sent_is_counted_by_what_it_carries() {
        let (from, to) = (Ipv4Address::new(10, 0, 0, 1).into(), Ipv4Address::new(10, 0, 0, 2).into());
        let mut counters = Counters::default();
        let mut segment = [0; 25];
        (segment[12], segment[13]) = (0x50, 0x10);
        counters.sent(&packet::build(from, to, IpProtocol::Tcp, 64, &segment));
        counters.sent(&packet::build(from, to, IpProtocol::Tcp, 64, &segment[..20]));
        segment[13] = 0x14;
        counters.sent(&packet::build(from, to, IpProtocol::Tcp, 64, &segment[..20]));
        counters.sent(&packet::build(from, to, IpProtocol::Udp, 64, &[0; 8]));
        let tcp = [
            TcpStat::SNDTOTAL,
            TcpStat::SNDPACK,
            TcpStat::SNDBYTE,
            TcpStat::SNDACKS,
            TcpStat::SNDCTRL,
            TcpStat::RESETS,
        ];
        assert_eq!(tcp.map(|what| counters.tcp.of(what)), [3, 1, 5, 1, 1, 1]);
        assert_eq!((counters.of_ip(0, Ip::LOCALOUT), counters.of_udp(0, Udp::OPACKETS)), (4, 1));
    }
}
