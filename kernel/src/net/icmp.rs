//! ICMP of both versions (RFC 792, RFC 4443): echoes are answered, errors made, and errors of others told to sockets.

use abi::Errno;
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol};

use super::counters::version;
use super::dgram::set_class;
use super::packet::{self, Packet};
use super::stack::Base;
use super::{member, ndp};

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listens at its port.
    Refused,
    /// There is no way to its network.
    NetUnreachable,
    /// There is a way, but its host does not answer, or somebody forbids it.
    HostUnreachable,
    /// It is longer than the way allows.
    TooBig {
        /// What the way allows.
        mtu: usize,
    },
    /// It has made too many hops, or its pieces did not arrive in time.
    TimeExceeded,
    /// Its header makes no sense to somebody.
    BadHeader,
    /// Something else that Linux has a word for.
    Other {
        /// That word.
        errno: Errno,
        /// Whether it is no use to try again.
        fatal: bool,
    },
}

impl Kind {
    /// The error that a socket is told, as on Linux (ip(7)).
    pub fn errno(self) -> Errno {
        match self {
            Self::Refused => Errno::ECONNREFUSED,
            Self::NetUnreachable => Errno::ENETUNREACH,
            Self::HostUnreachable | Self::TimeExceeded => Errno::EHOSTUNREACH,
            Self::TooBig { .. } => Errno::EMSGSIZE,
            Self::BadHeader => Errno::EPROTO,
            Self::Other { errno, .. } => errno,
        }
    }

    /// Whether it is no use to try again.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Refused | Self::BadHeader | Self::Other { fatal: true, .. })
    }
}

/// An error about a packet of ours.
#[derive(Clone, Debug)]
pub struct Report {
    /// Our end; port 0 where the protocol has none.
    pub local: IpEndpoint,
    /// The other end.
    pub remote: IpEndpoint,
    /// The protocol of the packet.
    pub protocol: IpProtocol,
    /// What happened.
    pub kind: Kind,
    /// Who says so; one of our own addresses if we found out ourselves.
    pub from: IpAddress,
    /// Type and code of the message.
    pub number: (u8, u8),
    /// What was quoted of the packet behind the header of its protocol.
    pub quoted: Vec<u8>,
}

impl Report {
    /// Makes a report about a packet of which `quoted` is the beginning; `None` if it says too little.
    pub fn about(quoted: &[u8], kind: Kind, number: (u8, u8)) -> Option<Self> {
        let (from, to, protocol, rest) = Packet::parse_quoted(quoted)?;
        let ports = matches!(protocol, IpProtocol::Tcp | IpProtocol::Udp);
        let port = |at: usize| match rest.get(at..at + 2) {
            Some(port) if ports => Some(u16::from_be_bytes([port[0], port[1]])),
            None if ports => None,
            _ => Some(0),
        };
        let (local, remote) = (IpEndpoint::new(from, port(0)?), IpEndpoint::new(to, port(2)?));
        let behind = match protocol {
            IpProtocol::Udp => 8,
            IpProtocol::Tcp => 20,
            _ => 0,
        };
        let quoted = rest.get(behind..).unwrap_or_default().to_vec();
        Some(Self { local, remote, protocol, kind, from: to, number, quoted })
    }
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Nobody speaks its protocol.
    Protocol,
    /// Nobody listens at its port.
    Port,
    /// There is no way to its network.
    Net,
    /// Its host does not answer, or the way is closed.
    Host,
    /// It is too long for the way, and may not be cut.
    TooBig(usize),
    /// It has made too many hops.
    Time,
    /// Its pieces did not come in time.
    Reassembly,
}

impl Problem {
    /// The message about a packet, without its checksum.
    pub(super) fn about(self, packet: &Packet<'_>) -> Vec<u8> {
        let v4 = matches!(packet.to, IpAddress::Ipv4(_));
        let (kind, code, word) = self.message(v4, packet.protocol_at);
        // As much as surely arrives.
        let room = if v4 { 576 } else { 1280 } - packet::header_len(&packet.to) - HEADER;
        let mut body = vec![kind, code, 0, 0];
        body.extend_from_slice(&word.to_be_bytes());
        body.extend_from_slice(&packet.bytes[..packet.bytes.len().min(room)]);
        body
    }

    /// Type, code, and the word behind the checksum.
    fn message(self, v4: bool, protocol_at: usize) -> (u8, u8, u32) {
        match (self, v4) {
            (Self::Protocol, true) => (3, 2, 0),
            (Self::Protocol, false) => (4, 1, protocol_at as u32),
            (Self::Port, true) => (3, 3, 0),
            (Self::Port, false) => (1, 4, 0),
            (Self::Net, true) => (3, 0, 0),
            (Self::Net, false) => (1, 0, 0),
            (Self::Host, true) => (3, 1, 0),
            (Self::Host, false) => (1, 3, 0),
            (Self::TooBig(mtu), true) => (3, 4, mtu as u32 & 0xffff),
            (Self::TooBig(mtu), false) => (2, 0, mtu as u32),
            (Self::Time, true) => (11, 0, 0),
            (Self::Time, false) => (3, 0, 0),
            (Self::Reassembly, true) => (11, 1, 0),
            (Self::Reassembly, false) => (3, 1, 0),
        }
    }
}

const REDIRECT4: u8 = 5;
const ECHO4: u8 = 8;
const ECHO6: u8 = 128;
const ECHO_REPLY6: u8 = 129;
/// Length of the header of a message.
const HEADER: usize = 8;
/// TTL or hop limit of what this host sends by itself.
const HOPS: u8 = 64;
/// Error messages at once, and in a second (Linux's `icmp_msgs_burst` and `icmp_msgs_per_sec`).
const ERRORS: (u32, u32) = (50, 1000);

/// Makes the checksum of a message right; returns its protocol.
pub(super) fn fill_checksum(from: &IpAddress, to: &IpAddress, body: &mut [u8]) -> IpProtocol {
    let protocol = if matches!(to, IpAddress::Ipv4(_)) { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    body[2..4].fill(0);
    let sum = match protocol {
        IpProtocol::Icmp => packet::checksum(body),
        _ => packet::pseudo_checksum(from, to, protocol, body),
    };
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    protocol
}

impl Base {
    /// Takes an ICMP message in.
    pub(super) fn icmp_input(&mut self, at: usize, packet: &Packet<'_>) {
        let v4 = matches!(packet.to, IpAddress::Ipv4(_));
        let trusted = self.links[at].device.is_loopback();
        let sum = match v4 {
            _ if trusted => 0,
            true => packet::checksum(packet.payload),
            false => packet::pseudo_checksum(&packet.from, &packet.to, IpProtocol::Icmpv6, packet.payload),
        };
        let right = matches!(packet.protocol, IpProtocol::Icmp) == v4 && sum == 0;
        self.counters.icmp_received(version(&packet.to), packet.payload, right);
        let Some((head, body)) = packet.payload.split_first_chunk::<HEADER>().filter(|_| right) else { return };
        match (v4, head[0]) {
            (true, ECHO4) | (false, ECHO6) if head[1] == 0 => self.echo(at, packet),
            (true, 3 | 11 | 12) | (false, 1..=4) => self.error_input(packet, head, body),
            (true, REDIRECT4) if head[1] < 4 => {
                let _ = self.redirect4(at, packet.from, [head[4], head[5], head[6], head[7]], body);
            }
            (false, member::QUERY6) => {
                let _ = self.mld_input(at, packet);
            }
            (false, ndp::ROUTER_SOLICIT..=ndp::REDIRECT) => drop(self.ndp_input(at, packet)),
            _ => {}
        }
    }

    /// Answers an echo request; one to everybody is not answered (Linux's `icmp_echo_ignore_broadcasts`) in IPv4.
    fn echo(&mut self, at: usize, packet: &Packet<'_>) {
        let own = self.is_ours(&packet.to);
        let v4 = matches!(packet.to, IpAddress::Ipv4(_));
        if !own && v4 || packet.from.is_unspecified() {
            return;
        }
        let source = if own { Some(packet.to) } else { self.links[at].source_for(&packet.from) };
        let Some(source) = source else { return };
        let mut body = packet.payload.to_vec();
        body[0] = if v4 { 0 } else { ECHO_REPLY6 };
        // With the type of service of the request, as on Linux.
        self.send_icmp(at, source, packet.from, body, packet.class);
    }

    /// Somebody tells what became of a packet of ours.
    fn error_input(&mut self, packet: &Packet<'_>, head: &[u8; HEADER], body: &[u8]) {
        let v4 = matches!(packet.to, IpAddress::Ipv4(_));
        let word = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let fatal = |errno| Kind::Other { errno, fatal: true };
        // Linux's tables (icmp_err_convert, tab_unreach).
        let kind = match (v4, head[0], head[1]) {
            (true, 3, 2) => fatal(Errno::ENOPROTOOPT),
            (true, 3, 3) | (false, 1, 4) => Kind::Refused,
            (true, 3, 4) => Kind::TooBig { mtu: word as usize & 0xffff },
            (false, 2, _) => Kind::TooBig { mtu: word as usize },
            (true, 3, 5) => Kind::Other { errno: Errno::EOPNOTSUPP, fatal: false },
            (true, 3, 6 | 9) => fatal(Errno::ENETUNREACH),
            // Linux says ENONET of a host that is cut off (8), for which NetBSD has no number; routers do not say so (RFC 1812, 5.2.7.1).
            (true, 3, 7 | 8) => fatal(Errno::EHOSTDOWN),
            (true, 3, 10 | 13..=15) => fatal(Errno::EHOSTUNREACH),
            (true, 3, 0 | 11) | (false, 1, 0) => Kind::NetUnreachable,
            (true, 3, 1 | 12) | (false, 1, 2 | 3) => Kind::HostUnreachable,
            (false, 1, 1 | 5 | 6) => fatal(Errno::EACCES),
            // That pieces did not arrive in time is not told in IPv4.
            (true, 11, 0) | (false, 3, _) => Kind::TimeExceeded,
            (true, 12, _) | (false, 1 | 4, _) => Kind::BadHeader,
            _ => return,
        };
        let Some(report) = Report::about(body, kind, (head[0], head[1])) else { return };
        if !self.is_ours(&report.local.addr) {
            return;
        }
        self.reports.push(Report { from: packet.from, ..report });
    }

    /// Tells who has sent a packet that it is not taken, unless that could go round in circles or be misused (RFC 1122, 3.2.2; RFC 4443, 2.4).
    pub(super) fn refuse(&mut self, at: usize, packet: &Packet<'_>, problem: Problem) {
        let v4 = matches!(packet.to, IpAddress::Ipv4(_));
        let is_error = match (packet.protocol, packet.payload.first()) {
            (IpProtocol::Icmp, Some(kind)) => !matches!(kind, 0 | 8 | 13 | 14),
            (IpProtocol::Icmpv6, Some(kind)) => *kind < 128,
            _ => false,
        };
        let later = packet.piece.is_some_and(|piece| piece.offset > 0);
        let to_all = packet.to.is_multicast() || self.links[at].is_broadcast(&packet.to);
        // IPv6 says of a group too that a packet was too long for it.
        let to_all = to_all && (v4 || !matches!(problem, Problem::TooBig(_)));
        if is_error
            || later
            || to_all
            || packet.from.is_unspecified()
            || packet.from.is_multicast()
            || !self.may_send_error()
        {
            return;
        }
        let source = if self.is_ours(&packet.to) { Some(packet.to) } else { self.links[at].source_for(&packet.from) };
        let source = source.or_else(|| self.route(&packet.from).ok().map(|(_, source)| source));
        let Some(source) = source else { return };
        self.counters.icmp_error(version(&packet.to));
        self.send_icmp(at, source, packet.from, problem.about(packet), 0);
    }

    /// Sends a message, whose checksum is filled in.
    pub(super) fn send_icmp(&mut self, at: usize, from: IpAddress, to: IpAddress, mut body: Vec<u8>, class: u8) {
        let protocol = fill_checksum(&from, &to, &mut body);
        self.counters.icmp_sent(version(&to), &body);
        let mut packet = packet::build(from, to, protocol, HOPS, &body);
        if class != 0 {
            set_class(&mut packet, class);
        }
        let link = if self.is_ours(&to) { 0 } else { at };
        self.output(link, packet);
    }

    /// Whether one more message that nobody has asked for may be sent now.
    pub(super) fn may_send_error(&mut self) -> bool {
        let (left, since) = self.errors_left;
        let earned = (self.now - since).total_micros() * u64::from(ERRORS.1) / 1_000_000;
        let left = if earned > 0 { ERRORS.0.min(left.saturating_add(earned as u32)) } else { left };
        let since = if earned > 0 { self.now } else { since };
        self.errors_left = (left.saturating_sub(1), since);
        left > 0
    }
}
