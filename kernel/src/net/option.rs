//! Socket options: what setsockopt(2) sets, for every kind of socket.

use std::time::Duration;

use abi::socket::*;
use abi::{Errno, Result};
use smoltcp::wire::IpAddress;

use super::conn::Congestion;

/// The kinds of sockets, as far as options differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echoes.
    Ping,
    /// Raw IP.
    Raw,
    /// AF_LOCAL.
    Local,
    /// AF_NETLINK.
    Netlink,
    /// AF_ROUTE.
    Route,
}

/// The largest buffer that can be asked for (`kern.sbmax`; NetBSD's is 256 KiB, programs here ask for what Linux grants).
const SB_MAX: usize = 8 << 20;
/// The smallest receive buffer (half of Linux's `SOCK_MIN_RCVBUF`, which counts the bookkeeping in).
const RECEIVE_MIN: usize = 1152;
/// The smallest send buffer (half of `SOCK_MIN_SNDBUF`).
const SEND_MIN: usize = 2304;
/// The smallest and the largest segment that can be asked for (Linux's `TCP_MIN_MSS` and `MAX_TCP_WINDOW`).
const SEGMENTS: std::ops::RangeInclusive<i32> = 88..=32767;
/// The segment of a connection that there is not yet (RFC 9293, 3.7.1).
const DEFAULT_SEGMENT: i32 = 536;
/// SYNs that follow the first one by default, as Linux says (`net.ipv4.tcp_syn_retries`).
const DEFAULT_SYNS: i32 = 6;
/// Length of `struct sockaddr_in6`.
const SOCKADDR_IN6: usize = 28;
/// The longest keep-alive time in seconds (Linux's `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`).
const KEEP_MAX: i32 = 32767;
/// The flags of `SOL_SOCKET` that are a bit each.
const FLAGS: i32 = SO_DEBUG
    | SO_REUSEADDR
    | SO_KEEPALIVE
    | SO_DONTROUTE
    | SO_BROADCAST
    | SO_USELOOPBACK
    | SO_OOBINLINE
    | SO_REUSEPORT
    | SO_NOSIGPIPE
    | SO_TIMESTAMP;

impl Kind {
    /// Whether it is a socket of IPv4 or IPv6.
    fn is_inet(self) -> bool {
        matches!(self, Self::Tcp) || self.is_datagram()
    }

    /// Whether it sends packets as the program gives them.
    fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Ping | Self::Raw)
    }
}

/// The options of one socket.
#[derive(Clone, Debug)]
pub struct Options {
    kind: Kind,
    ipv6: bool,
    flags: i32,
    /// `SO_LINGER`.
    pub linger: Option<Duration>,
    /// The time that `SO_LINGER` was last set to; off, it is kept, as on Linux.
    linger_time: Duration,
    /// `SO_SNDBUF` in bytes.
    pub send_buffer: usize,
    /// `SO_RCVBUF` in bytes.
    pub receive_buffer: usize,
    send_low: usize,
    receive_low: usize,
    /// `SO_SNDTIMEO`.
    pub send_timeout: Option<Duration>,
    /// `SO_RCVTIMEO`.
    pub receive_timeout: Option<Duration>,
    /// `IP_TTL`.
    ttl: Option<u8>,
    /// `IPV6_UNICAST_HOPS`.
    hop_limit: Option<u8>,
    /// `IP_TOS`.
    tos: u8,
    /// `IPV6_TCLASS`.
    traffic_class: u8,
    /// `IP_RECVDSTADDR`.
    pub want_destination: bool,
    /// `IP_RECVPKTINFO`.
    pub want_packet_info_v4: bool,
    /// `IPV6_RECVPKTINFO`.
    pub want_packet_info: bool,
    /// `IP_RECVTTL`.
    pub want_hop_limit_v4: bool,
    /// `IPV6_RECVHOPLIMIT`.
    pub want_hop_limit: bool,
    /// `IP_RECVTOS`.
    pub want_class_v4: bool,
    /// `IPV6_RECVTCLASS`.
    pub want_class: bool,
    /// `IPV6_RECVPATHMTU`.
    pub want_path_mtu: bool,
    /// `SO_TIMESTAMPNS`.
    pub timestamp_ns: bool,
    /// `SO_BINDTODEVICE`: number of the interface.
    pub device: Option<u32>,
    /// `IP_HDRINCL`.
    pub header_included: bool,
    /// `IPV6_CHECKSUM`: where the kernel puts a checksum.
    pub checksum_at: Option<usize>,
    multicast_ttl: i32,
    multicast_loop: i32,
    /// `IP_MULTICAST_ALL`.
    pub multicast_all: bool,
    /// `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`: number of the interface.
    pub multicast_link: Option<u32>,
    /// The address that `IP_MULTICAST_IF` was set by.
    pub multicast_addr: [u8; 4],
    /// `IPV6_DONTFRAG`: refuse what is too long for the way.
    pub dont_fragment: bool,
    /// `TCP_CONGCTL`: how much is sent at a time.
    pub congestion: Congestion,
    /// `IPV6_V6ONLY`; off to begin with, as on Linux (NetBSD: on).
    pub v6only: bool,
    /// `TCP_NODELAY`.
    pub no_delay: bool,
    max_segment: i32,
    keep_idle: Duration,
    keep_interval: Duration,
    keep_count: u32,
    keep_init: Duration,
    /// Hints of Linux that change nothing here: kept so that they read back as they were set.
    hints: Vec<((i32, i32), i32)>,
}

/// An option of Linux that is taken and changes nothing.
struct Hint {
    option: (i32, i32),
    default: i32,
    /// What it may be set to.
    values: std::ops::RangeInclusive<i32>,
    /// What is kept of a value.
    keep: fn(i32) -> i32,
}

const ANY: std::ops::RangeInclusive<i32> = i32::MIN..=i32::MAX;

fn as_is(value: i32) -> i32 {
    value
}

fn truth(value: i32) -> i32 {
    i32::from(value != 0)
}

/// A time in seconds becomes that of so many retransmissions, of which each takes twice as long as the one before (tcp(7)).
fn retransmissions(seconds: i32) -> i32 {
    const LONGEST: i32 = 120;
    let (mut period, mut timeout) = (1, 1);
    while period < seconds && period < i32::MAX - LONGEST {
        timeout = LONGEST.min(timeout * 2);
        period += timeout;
    }
    if seconds > 0 { period } else { 0 }
}

/// Zero means the default (`tcp_fin_timeout`), anything below zero not to wait at all.
fn linger2(value: i32) -> i32 {
    match value {
        0 => 60,
        1.. => value.min(60),
        _ => -1,
    }
}

const HINTS: &[Hint] = &[
    Hint { option: (SOL_SOCKET_EXT, SO_PRIORITY), default: 0, values: ANY, keep: as_is },
    Hint { option: (IPPROTO_IP_EXT, IP_MTU_DISCOVER), default: 1, values: 0..=5, keep: as_is },
    Hint { option: (IPPROTO_IP_EXT, IP_RECVERR), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_IP_EXT, IP_FREEBIND), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_IP_EXT, IP_BIND_ADDRESS_NO_PORT), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_IPV6_EXT, IPV6_MTU_DISCOVER), default: 1, values: 0..=5, keep: as_is },
    Hint { option: (IPPROTO_IPV6_EXT, IPV6_RECVERR), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_IPV6_EXT, IPV6_FREEBIND), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_TCP_EXT, TCP_CORK), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_UDP_EXT, UDP_CORK), default: 0, values: ANY, keep: truth },
    Hint { option: (IPPROTO_TCP_EXT, TCP_SYNCNT), default: DEFAULT_SYNS, values: 1..=127, keep: as_is },
    Hint { option: (IPPROTO_TCP_EXT, TCP_LINGER2), default: 60, values: ANY, keep: linger2 },
    Hint { option: (IPPROTO_TCP_EXT, TCP_DEFER_ACCEPT), default: 0, values: ANY, keep: retransmissions },
    Hint { option: (IPPROTO_TCP_EXT, TCP_QUICKACK), default: 1, values: ANY, keep: truth },
    Hint { option: (IPPROTO_TCP_EXT, TCP_USER_TIMEOUT), default: 0, values: 0..=i32::MAX, keep: as_is },
    Hint { option: (IPPROTO_TCP_EXT, TCP_FASTOPEN), default: 0, values: 0..=i32::MAX, keep: as_is },
    Hint { option: (IPPROTO_TCP_EXT, TCP_FASTOPEN_CONNECT), default: 0, values: 0..=1, keep: as_is },
    Hint { option: (IPPROTO_TCP_EXT, TCP_NOTSENT_LOWAT), default: 0, values: ANY, keep: as_is },
];

impl Options {
    /// Returns the options of a new socket.
    pub fn new(kind: Kind, ipv6: bool) -> Self {
        let buffer = match kind {
            Kind::Tcp => 128 << 10,
            // Linux's default: programs count on datagrams of up to 64 KiB.
            Kind::Udp | Kind::Ping | Kind::Raw | Kind::Local | Kind::Netlink | Kind::Route => 208 << 10,
        };
        Self {
            kind,
            ipv6,
            // Who asks a routing socket hears the answer, unless it says otherwise (route(4)).
            flags: if kind == Kind::Route { SO_USELOOPBACK } else { 0 },
            linger: None,
            linger_time: Duration::ZERO,
            send_buffer: buffer,
            receive_buffer: buffer,
            send_low: 2048,
            receive_low: 1,
            send_timeout: None,
            receive_timeout: None,
            ttl: None,
            hop_limit: None,
            tos: 0,
            traffic_class: 0,
            want_destination: false,
            want_packet_info_v4: false,
            want_packet_info: false,
            want_hop_limit_v4: false,
            want_hop_limit: false,
            want_class_v4: false,
            want_class: false,
            want_path_mtu: false,
            timestamp_ns: false,
            device: None,
            header_included: false,
            checksum_at: None,
            multicast_all: true,
            multicast_link: None,
            multicast_addr: [0; 4],
            multicast_ttl: 1,
            multicast_loop: 1,
            dont_fragment: false,
            congestion: Congestion::default(),
            v6only: false,
            no_delay: false,
            max_segment: 0,
            keep_idle: Duration::from_secs(7200),
            keep_interval: Duration::from_secs(75),
            keep_count: 9,
            keep_init: Duration::from_secs(75),
            hints: Vec::new(),
        }
    }

    /// Whether a flag of `SOL_SOCKET` is set.
    pub fn has(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    /// Whether what is sent to a group goes to this host too (`IP_MULTICAST_LOOP`).
    pub fn loops_back(&self) -> bool {
        self.multicast_loop != 0
    }

    /// Returns the bytes that must be there before a read goes on and poll(2) says so.
    pub fn receive_low(&self) -> usize {
        self.receive_low.min(self.receive_buffer)
    }

    /// Returns the room that must be there before poll(2) says that a write goes on.
    pub fn send_low(&self) -> usize {
        self.send_low.min(self.send_buffer)
    }

    /// Whether all that is sent waits for more (`TCP_CORK`, `UDP_CORK`).
    pub fn is_corked(&self) -> bool {
        let cork = if self.kind == Kind::Tcp { (IPPROTO_TCP_EXT, TCP_CORK) } else { (IPPROTO_UDP_EXT, UDP_CORK) };
        self.hints.contains(&(cork, 1))
    }

    /// The kind of socket.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is a socket of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Type of service or traffic class of what is sent.
    pub fn class(&self, ipv4: bool) -> u8 {
        if ipv4 { self.tos } else { self.traffic_class }
    }

    /// TTL or hop limit of what is sent.
    pub fn hops(&self, ipv4: bool) -> Option<u8> {
        if ipv4 { self.ttl } else { self.hop_limit }
    }

    /// TTL or hop limit of what is sent to a group.
    pub fn multicast_hops(&self) -> u8 {
        u8::try_from(self.multicast_ttl).unwrap_or(1)
    }

    /// `IP_MTU_DISCOVER` or `IPV6_MTU_DISCOVER`.
    pub fn mtu_discover(&self, ipv4: bool) -> i32 {
        match ipv4 {
            true => self.hinted((IPPROTO_IP_EXT, IP_MTU_DISCOVER)),
            false => self.hinted((IPPROTO_IPV6_EXT, IPV6_MTU_DISCOVER)),
        }
    }

    /// `IP_RECVERR` or `IPV6_RECVERR`.
    pub fn wants_errors(&self, ipv4: bool) -> bool {
        self.hinted(if ipv4 { (IPPROTO_IP_EXT, IP_RECVERR) } else { (IPPROTO_IPV6_EXT, IPV6_RECVERR) }) != 0
    }

    /// Whether an address that is not of this host may be bound to (`IP_FREEBIND`, `IPV6_FREEBIND`).
    pub fn may_bind_anything(&self, ipv6: bool) -> bool {
        self.hinted((IPPROTO_IP_EXT, IP_FREEBIND)) != 0 || ipv6 && self.hinted((IPPROTO_IPV6_EXT, IPV6_FREEBIND)) != 0
    }

    /// What calls on a socket with these options wait for.
    pub fn waits(&self) -> super::Waits {
        super::Waits { receive: self.receive_timeout, send: self.send_timeout, enough: self.receive_low() }
    }

    /// How long a connect may take: `TCP_USER_TIMEOUT`, or until `TCP_SYNCNT` more SYNs would have been answered, each after twice the
    /// time of the one before; by default NetBSD's `TCP_KEEPINIT`.
    fn connect_timeout(&self) -> Duration {
        let syns = self.hinted((IPPROTO_TCP_EXT, TCP_SYNCNT));
        let of_syns = || match syns {
            DEFAULT_SYNS => self.keep_init,
            _ => Duration::from_secs((2 << syns.clamp(0, 15)) - 1),
        };
        self.user_timeout().unwrap_or_else(of_syns)
    }

    /// `TCP_USER_TIMEOUT`: how long data may wait for its acknowledgement.
    pub fn user_timeout(&self) -> Option<Duration> {
        let limit = u64::try_from(self.hinted((IPPROTO_TCP_EXT, TCP_USER_TIMEOUT))).unwrap_or(0);
        Some(Duration::from_millis(limit)).filter(|limit| !limit.is_zero())
    }

    /// `TCP_DEFER_ACCEPT`: how long a connection without data is kept from accept(2).
    pub fn defer_accept(&self) -> Option<Duration> {
        let limit = u64::try_from(self.hinted((IPPROTO_TCP_EXT, TCP_DEFER_ACCEPT))).unwrap_or(0);
        Some(Duration::from_secs(limit)).filter(|limit| !limit.is_zero())
    }

    /// `TCP_MAXSEG`, if it was set.
    pub fn max_segment(&self) -> Option<usize> {
        usize::try_from(self.max_segment).ok().filter(|segment| *segment > 0)
    }

    /// What a hint is set to.
    pub fn hinted(&self, option: (i32, i32)) -> i32 {
        let set = self.hints.iter().find(|(known, _)| *known == option);
        let default = || HINTS.iter().find(|hint| hint.option == option).map_or(0, |hint| hint.default);
        set.map_or_else(default, |(_, value)| *value)
    }

    /// Returns what concerns a TCP connection.
    pub fn tuning(&self, ipv4: bool) -> super::conn::Tuning {
        let (idle, interval, count) = (self.keep_idle, self.keep_interval, self.keep_count);
        super::conn::Tuning {
            no_delay: self.no_delay,
            cork: self.is_corked(),
            keep_alive: self.has(SO_KEEPALIVE).then_some(super::conn::KeepAlive { idle, interval, count }),
            hop_limit: self.hops(ipv4),
            connect_timeout: self.connect_timeout(),
            receive_buffer: self.receive_buffer,
            send_buffer: self.send_buffer,
            class: self.class(ipv4),
            max_segment: self.max_segment().and_then(|size| u16::try_from(size).ok()),
            congestion: self.congestion,
        }
    }

    /// Reads an option; `ENOPROTOOPT` for one that is not known.
    pub fn get(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        if level == SOL_SOCKET {
            return self.get_socket(name);
        }
        if (self.kind, level, name) == (Kind::Tcp, IPPROTO_TCP, TCP_CONGCTL) {
            return Ok(self.congestion.field().to_vec());
        }
        let value = match (self.kind, level, name) {
            (Kind::Tcp, IPPROTO_TCP, TCP_NODELAY) => i32::from(self.no_delay),
            (Kind::Tcp, IPPROTO_TCP, TCP_MAXSEG) => match self.max_segment {
                0 => DEFAULT_SEGMENT,
                asked => asked,
            },
            (Kind::Tcp, IPPROTO_TCP, TCP_KEEPIDLE) => seconds(self.keep_idle),
            (Kind::Tcp, IPPROTO_TCP, TCP_KEEPINTVL) => seconds(self.keep_interval),
            (Kind::Tcp, IPPROTO_TCP, TCP_KEEPCNT) => self.keep_count as i32,
            (Kind::Tcp, IPPROTO_TCP, TCP_KEEPINIT) => seconds(self.keep_init),
            (kind, IPPROTO_IP, name) if kind.is_inet() => match name {
                IP_TTL => i32::from(self.ttl.unwrap_or(64)),
                IP_TOS => i32::from(self.tos),
                IP_RECVDSTADDR => i32::from(self.want_destination),
                IP_RECVPKTINFO => i32::from(self.want_packet_info_v4),
                IP_RECVTTL => i32::from(self.want_hop_limit_v4),
                IP_MULTICAST_TTL => self.multicast_ttl,
                IP_MULTICAST_LOOP => self.multicast_loop,
                IP_HDRINCL if kind == Kind::Raw => i32::from(self.header_included),
                _ => return Err(Errno::ENOPROTOOPT),
            },
            (_, IPPROTO_IPV6, name) if self.ipv6 => match name {
                IPV6_V6ONLY => i32::from(self.v6only),
                IPV6_UNICAST_HOPS => i32::from(self.hop_limit.unwrap_or(64)),
                IPV6_RECVPKTINFO => i32::from(self.want_packet_info),
                IPV6_RECVHOPLIMIT => i32::from(self.want_hop_limit),
                IPV6_RECVTCLASS => i32::from(self.want_class),
                IPV6_RECVPATHMTU => i32::from(self.want_path_mtu),
                IPV6_TCLASS => i32::from(self.traffic_class),
                IPV6_DONTFRAG => i32::from(self.dont_fragment),
                IPV6_CHECKSUM if self.kind == Kind::Raw => self.checksum_at.map_or(-1, |at| at as i32),
                IPV6_MULTICAST_HOPS => self.multicast_ttl,
                IPV6_MULTICAST_LOOP => self.multicast_loop,
                _ => return Err(Errno::ENOPROTOOPT),
            },
            (kind, IPPROTO_IP_EXT, IP_RECVTOS) if kind.is_inet() => i32::from(self.want_class_v4),
            (kind, IPPROTO_IP_EXT, IP_MULTICAST_ALL) if kind.is_inet() => i32::from(self.multicast_all),
            (_, SOL_SOCKET_EXT, SO_TIMESTAMPNS) => i32::from(self.timestamp_ns),
            _ => self.hinted(self.hint(level, name).ok_or(Errno::ENOPROTOOPT)?.option),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    /// Finds a hint that a socket of this kind takes.
    fn hint(&self, level: i32, name: i32) -> Option<&'static Hint> {
        let applies = match level {
            SOL_SOCKET_EXT => true,
            IPPROTO_IP_EXT => self.kind.is_inet(),
            IPPROTO_IPV6_EXT => self.ipv6,
            IPPROTO_TCP_EXT => self.kind == Kind::Tcp,
            IPPROTO_UDP_EXT => self.kind == Kind::Udp,
            _ => false,
        };
        HINTS.iter().find(|hint| applies && hint.option == (level, name))
    }

    fn get_socket(&self, name: i32) -> Result<Vec<u8>> {
        let value = match name {
            SO_LINGER => {
                let seconds = seconds(self.linger_time);
                return Ok([i32::from(self.linger.is_some()).to_le_bytes(), seconds.to_le_bytes()].concat());
            }
            SO_SNDTIMEO => return Ok(timeval(self.send_timeout)),
            SO_RCVTIMEO => return Ok(timeval(self.receive_timeout)),
            SO_SNDBUF => self.send_buffer as i32,
            SO_RCVBUF => self.receive_buffer as i32,
            SO_SNDLOWAT => self.send_low as i32,
            SO_RCVLOWAT => self.receive_low() as i32,
            SO_OVERFLOWED => 0,
            // The finer one hides it, as on Linux.
            SO_TIMESTAMP => i32::from(self.has(SO_TIMESTAMP) && !self.timestamp_ns),
            flag if flag & FLAGS == flag && flag.count_ones() == 1 => i32::from(self.has(flag)),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    /// Sets an option; `ENOPROTOOPT` for one that is not known, `EINVAL` for a value that is too short or out of range.
    pub fn set(&mut self, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if level == SOL_SOCKET {
            return self.set_socket(name, value);
        }
        match (self.kind, level) {
            (Kind::Tcp, IPPROTO_TCP) if name == TCP_CONGCTL => {
                self.congestion =
                    Congestion::parse(Some(value).filter(|value| !value.is_empty()).ok_or(Errno::EINVAL)?)?;
                Ok(())
            }
            (Kind::Tcp, IPPROTO_TCP) => self.set_tcp(name, int(value)?),
            (kind, IPPROTO_IP) if kind.is_inet() => self.set_ip(name, value),
            (kind, IPPROTO_IPV6) if self.ipv6 && kind.is_inet() => self.set_ipv6(name, int(value)?),
            (kind, IPPROTO_IP_EXT) if kind.is_inet() && name == IP_RECVTOS => {
                self.want_class_v4 = int(value)? != 0;
                Ok(())
            }
            (kind, IPPROTO_IP_EXT) if kind.is_inet() && name == IP_MULTICAST_ALL => {
                self.multicast_all = int(value)? != 0;
                Ok(())
            }
            (_, SOL_SOCKET_EXT) if name == SO_TIMESTAMPNS => {
                self.timestamp_ns = int(value)? != 0;
                self.flags &= !SO_TIMESTAMP;
                Ok(())
            }
            _ => {
                let hint = self.hint(level, name).ok_or(Errno::ENOPROTOOPT)?;
                let value = Some(int(value)?).filter(|value| hint.values.contains(value)).ok_or(Errno::EINVAL)?;
                self.hints.retain(|(option, _)| *option != hint.option);
                self.hints.push((hint.option, (hint.keep)(value)));
                Ok(())
            }
        }
    }

    fn set_socket(&mut self, name: i32, value: &[u8]) -> Result<()> {
        match name {
            SO_LINGER => {
                let (on, time) = (int(value)?, int(value.get(4..).unwrap_or_default())?);
                if on != 0 {
                    self.linger_time = Duration::from_secs(time.max(0) as u64);
                }
                self.linger = (on != 0).then_some(self.linger_time);
            }
            SO_SNDTIMEO => self.send_timeout = duration(value)?,
            SO_RCVTIMEO => self.receive_timeout = duration(value)?,
            SO_SNDBUF => self.send_buffer = buffer_size(int(value)?, SEND_MIN),
            SO_RCVBUF => self.receive_buffer = buffer_size(int(value)?, RECEIVE_MIN),
            SO_SNDLOWAT => self.send_low = int(value)?.max(1) as usize,
            // Less than nothing is as much as possible, on Linux.
            SO_RCVLOWAT => self.receive_low = usize::try_from(int(value)?).map_or(usize::MAX, |low| low.max(1)),
            flag if flag & FLAGS == flag && flag.count_ones() == 1 => {
                self.timestamp_ns &= flag != SO_TIMESTAMP;
                self.flags = if int(value)? != 0 { self.flags | flag } else { self.flags & !flag };
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn set_tcp(&mut self, name: i32, value: i32) -> Result<()> {
        let positive = || Duration::from_secs(value.max(0) as u64);
        match name {
            TCP_NODELAY => self.no_delay = value != 0,
            // Zero takes the wish back.
            TCP_MAXSEG if value == 0 || SEGMENTS.contains(&value) => self.max_segment = value,
            TCP_KEEPIDLE if (1..=KEEP_MAX).contains(&value) => self.keep_idle = positive(),
            TCP_KEEPINTVL if (1..=KEEP_MAX).contains(&value) => self.keep_interval = positive(),
            TCP_KEEPINIT if value > 0 => self.keep_init = positive(),
            TCP_KEEPCNT if (1..=127).contains(&value) => self.keep_count = value as u32,
            TCP_MAXSEG | TCP_KEEPIDLE | TCP_KEEPINTVL | TCP_KEEPINIT | TCP_KEEPCNT => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn set_ip(&mut self, name: i32, value: &[u8]) -> Result<()> {
        let datagram = self.kind.is_datagram();
        let byte_or_int = || if value.len() == 1 { Ok(i32::from(value[0])) } else { int(value) };
        match name {
            IP_TTL => self.ttl = hops(int(value)?)?,
            IP_TOS => self.tos = byte_or_int()? as u8,
            IP_RECVDSTADDR => self.want_destination = int(value)? != 0,
            IP_RECVPKTINFO => self.want_packet_info_v4 = int(value)? != 0,
            IP_RECVTTL => self.want_hop_limit_v4 = int(value)? != 0,
            IP_HDRINCL if self.kind == Kind::Raw => self.header_included = int(value)? != 0,
            // A stream has no groups to send to, but Linux lets it keep the wish to hear itself.
            IP_MULTICAST_TTL if !datagram => return Err(Errno::EINVAL),
            IP_MULTICAST_TTL => self.multicast_ttl = multicast_hops(byte_or_int()?)?,
            IP_MULTICAST_LOOP => self.multicast_loop = truth(byte_or_int()?),
            IP_ADD_MEMBERSHIP if !datagram => return Err(Errno::EPROTO),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn set_ipv6(&mut self, name: i32, value: i32) -> Result<()> {
        match name {
            IPV6_V6ONLY => self.v6only = value != 0,
            // Zero is allowed, as on Linux: such a packet goes no further than this host.
            IPV6_UNICAST_HOPS if value == 0 => self.hop_limit = Some(0),
            IPV6_UNICAST_HOPS => self.hop_limit = hops(value)?,
            IPV6_RECVPKTINFO => self.want_packet_info = value != 0,
            IPV6_RECVHOPLIMIT => self.want_hop_limit = value != 0,
            IPV6_RECVTCLASS => self.want_class = value != 0,
            IPV6_RECVPATHMTU => self.want_path_mtu = value != 0,
            IPV6_TCLASS => self.traffic_class = value as u8,
            IPV6_DONTFRAG => self.dont_fragment = value != 0,
            IPV6_MULTICAST_HOPS if self.kind.is_datagram() => self.multicast_ttl = multicast_hops(value)?,
            IPV6_MULTICAST_LOOP if !(0..=1).contains(&value) => return Err(Errno::EINVAL),
            IPV6_MULTICAST_LOOP => self.multicast_loop = value,
            IPV6_JOIN_GROUP => return Err(Errno::EPROTO),
            // Checksums stand at even places.
            IPV6_CHECKSUM if self.kind == Kind::Raw && value > 0 && value & 1 != 0 => return Err(Errno::EINVAL),
            IPV6_CHECKSUM if self.kind == Kind::Raw => self.checksum_at = usize::try_from(value).ok(),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

/// The longest packet that a version of IP knows: an MTU beyond it helps nobody.
pub fn longest(to: &IpAddress) -> usize {
    const IPV6_HEADER: usize = 40;
    usize::from(u16::MAX) + if matches!(to, IpAddress::Ipv6(_)) { IPV6_HEADER } else { 0 }
}

/// Lays out `struct ip6_mtuinfo` with an address of NetBSD's, which stays empty for who knows it (getsockopt(2) of `IPV6_PATHMTU`).
///
/// `EINVAL` without room for all of it.
pub fn mtu_info(to: Option<&Sockaddr>, mtu: usize, room: usize) -> Result<Vec<u8>> {
    let mut info = to.map_or_else(Vec::new, |to| to.encode().to_vec());
    info.resize(SOCKADDR_IN6, 0);
    info.extend((mtu as u32).to_le_bytes());
    Some(info).filter(|info| info.len() <= room).ok_or(Errno::EINVAL)
}

/// Reads the int that an option's value begins with.
pub fn int(value: &[u8]) -> Result<i32> {
    let bytes = value.first_chunk().ok_or(Errno::EINVAL)?;
    Ok(i32::from_le_bytes(*bytes))
}

fn hops(value: i32) -> Result<Option<u8>> {
    match value {
        -1 => Ok(None),
        1..=255 => Ok(Some(value as u8)),
        _ => Err(Errno::EINVAL),
    }
}

/// TTL or hop limit towards a group; -1 is the default.
fn multicast_hops(value: i32) -> Result<i32> {
    match value {
        -1 => Ok(1),
        0..=255 => Ok(value),
        _ => Err(Errno::EINVAL),
    }
}

fn buffer_size(asked: i32, least: usize) -> usize {
    usize::try_from(asked).unwrap_or(0).clamp(least, SB_MAX)
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

/// Lays out a timeval of 16 bytes; zero is no limit.
pub fn timeval(time: Option<Duration>) -> Vec<u8> {
    let time = time.unwrap_or_default();
    [time.as_secs().to_le_bytes(), u64::from(time.subsec_micros()).to_le_bytes()].concat()
}

/// Lays out a timespec.
pub fn timespec(time: Duration) -> Vec<u8> {
    [time.as_secs().to_le_bytes(), u64::from(time.subsec_nanos()).to_le_bytes()].concat()
}

/// Reads a timeval; `EDOM` for microseconds out of range, as on Linux and NetBSD.
fn duration(value: &[u8]) -> Result<Option<Duration>> {
    let seconds = i64::from_le_bytes(*value.first_chunk().ok_or(Errno::EINVAL)?);
    let micros = int(value.get(8..).unwrap_or_default())?;
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    let time = Duration::new(u64::try_from(seconds).unwrap_or(0), micros as u32 * 1000);
    Ok((!time.is_zero()).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_enoprotoopt() {
        let mut options = Options::new(Kind::Tcp, false);
        assert_eq!(options.set(SOL_SOCKET, 0x7777, &[0; 4]), Err(Errno::ENOPROTOOPT));
        assert_eq!(options.set(IPPROTO_IPV6, IPV6_V6ONLY, &[0; 4]), Err(Errno::ENOPROTOOPT));
        assert_eq!(options.get(IPPROTO_TCP, 999), Err(Errno::ENOPROTOOPT));
    }

    #[test]
    fn a_value_comes_back_as_it_was_set() {
        let mut options = Options::new(Kind::Tcp, true);
        let linger = [1, 0, 0, 0, 9, 0, 0, 0];
        options.set(SOL_SOCKET, SO_LINGER, &linger).unwrap();
        assert_eq!(options.get(SOL_SOCKET, SO_LINGER), Ok(linger.to_vec()));
        options.set(SOL_SOCKET, SO_RCVTIMEO, &timeval(Some(Duration::from_millis(1500)))).unwrap();
        assert_eq!(options.receive_timeout, Some(Duration::from_millis(1500)));
        options.set(IPPROTO_IPV6, IPV6_V6ONLY, &1i32.to_le_bytes()).unwrap();
        assert!(options.v6only);
    }

    #[test]
    fn a_short_value_is_einval() {
        let mut options = Options::new(Kind::Udp, false);
        assert_eq!(options.set(SOL_SOCKET, SO_REUSEADDR, &[1, 0]), Err(Errno::EINVAL));
    }
}
