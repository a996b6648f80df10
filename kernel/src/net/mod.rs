//! Sockets and the TCP/IP stack.
//!
//! [`Net`] makes sockets by the table of protocols. TCP and datagrams (UDP, ICMP echoes, raw IP) are a thin object per descriptor
//! ([`tcp::TcpSocket`], [`dgram::DgramSocket`]) over one [`stack`] behind one lock; each TCP connection is an engine of its own ([`conn`]).
//! AF_LOCAL sockets ([`local`]) need no stack: two of them share a pair of queues. AF_NETLINK sockets ([`netlink`]) and
//! AF_ROUTE sockets ([`routing`]) ask it about itself.

pub mod addr;
pub mod checksum;
pub mod conn;
pub mod counters;
pub mod device;
pub mod dgram;
pub mod edge;
pub mod ether;
pub mod frag;
pub mod icmp;
pub mod interface;
pub mod ioctl;
pub mod joined;
pub mod link;
pub mod local;
pub mod member;
pub mod ndp;
pub mod neighbour;
pub mod netlink;
pub mod option;
mod output;
pub mod packet;
pub mod port;
mod redirect;
pub mod report;
pub mod route;
mod routing;
pub mod settings;
mod sockets;
pub mod stack;
pub mod tcp;

use std::sync::Arc;
use std::time::Duration;

use abi::netlink::NETLINK_ROUTE;
use abi::socket::{
    AF_INET, AF_INET6, AF_LOCAL, AF_NETLINK, AF_ROUTE, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MAX, IPPROTO_TCP,
    IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, Sockaddr,
};
use abi::stat::{S_IFSOCK, Stat};
use abi::{Errno, Result};

use self::addr::Family;
use self::dgram::{DgramSocket, Flavour};
use self::local::LocalSocket;
use self::netlink::NetlinkSocket;
use self::routing::RouteSocket;
use self::stack::Inet;
use self::tcp::TcpSocket;
use crate::Cx;
use crate::config::{Component, Config};
use crate::file::File;
use crate::rumpuser::Rumpuser;

/// The sockets of a kernel.
pub struct Net {
    inet: Arc<Inet>,
    local: Arc<local::Names>,
    ports: Arc<netlink::Ports>,
    components: crate::config::Components,
}

/// Makes a socket.
type Open = fn(&Net) -> Arc<dyn File>;

/// The protocols: family, type, protocol, and what makes a socket of them.
const PROTOCOLS: &[(i32, i32, i32, Component, Open)] = &[
    (AF_INET, SOCK_STREAM, IPPROTO_TCP, Component::Inet, |net| TcpSocket::open(&net.inet, Family::V4)),
    (AF_INET, SOCK_DGRAM, IPPROTO_UDP, Component::Inet, |net| DgramSocket::udp(&net.inet, Family::V4)),
    (AF_INET6, SOCK_STREAM, IPPROTO_TCP, Component::Inet6, |net| TcpSocket::open(&net.inet, DUAL_STACK)),
    (AF_INET6, SOCK_DGRAM, IPPROTO_UDP, Component::Inet6, |net| DgramSocket::udp(&net.inet, DUAL_STACK)),
    (AF_INET, SOCK_DGRAM, IPPROTO_ICMP, Component::Inet, |net| {
        DgramSocket::open(&net.inet, Flavour::Ping, Family::V4, 0)
    }),
    (AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, Component::Inet6, |net| {
        DgramSocket::open(&net.inet, Flavour::Ping, ONLY_V6, 0)
    }),
    (AF_LOCAL, SOCK_STREAM, 0, Component::Local, |net| LocalSocket::open(&net.local, &net.inet, SOCK_STREAM)),
    (AF_LOCAL, SOCK_DGRAM, 0, Component::Local, |net| LocalSocket::open(&net.local, &net.inet, SOCK_DGRAM)),
    (AF_LOCAL, SOCK_SEQPACKET, 0, Component::Local, |net| LocalSocket::open(&net.local, &net.inet, SOCK_SEQPACKET)),
    (AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, Component::Inet, |net| NetlinkSocket::open(&net.ports, &net.inet, SOCK_RAW)),
    (AF_ROUTE, SOCK_RAW, 0, Component::Inet, |net| RouteSocket::open(&net.inet, 0)),
    (AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE, Component::Inet, |net| {
        NetlinkSocket::open(&net.ports, &net.inet, SOCK_DGRAM)
    }),
];

/// A new IPv6 socket also speaks IPv4, as on Linux; NetBSD's does not.
const DUAL_STACK: Family = Family::V6 { v6only: false };
/// A raw one does not.
const ONLY_V6: Family = Family::V6 { v6only: true };

impl Net {
    /// Makes the stack with its loopback interface.
    pub fn boot(rumpuser: Arc<dyn Rumpuser>, config: &Config) -> Result<Self> {
        let inet = Arc::new(Inet::new(rumpuser));
        Ok(Self { inet, local: Arc::default(), ports: Arc::default(), components: config.components.clone() })
    }

    /// socket(2). `EAFNOSUPPORT` for an unknown family, `EPROTOTYPE` for a type that it lacks or a protocol of another
    /// type, `EPROTONOSUPPORT` for an unknown protocol.
    pub fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Arc<dyn File>> {
        let family = PROTOCOLS.iter().filter(|row| row.0 == domain && self.components.has(row.3));
        let mut rows = family.peekable();
        rows.peek().ok_or(Errno::EAFNOSUPPORT)?;
        match (domain, kind) {
            (AF_INET | AF_INET6, SOCK_RAW) => return self.raw(domain, protocol),
            // The protocol is the family that it hears of.
            (AF_ROUTE, SOCK_RAW) => return Ok(RouteSocket::open(&self.inet, protocol)),
            _ => {}
        }
        let rows: Vec<_> = rows.collect();
        if protocol != 0 && !rows.iter().any(|row| row.2 == protocol) {
            return Err(if (0..IPPROTO_MAX).contains(&protocol) { Errno::EPROTONOSUPPORT } else { Errno::EINVAL });
        }
        let row = rows.iter().find(|row| row.1 == kind && (protocol == 0 || row.2 == protocol));
        row.map(|row| (row.4)(self)).ok_or(Errno::EPROTOTYPE)
    }

    /// Makes a raw socket. `EPROTONOSUPPORT` without a protocol, as on Linux, `EINVAL` for one that no header can bear.
    fn raw(&self, domain: i32, protocol: i32) -> Result<Arc<dyn File>> {
        let family = if domain == AF_INET { Family::V4 } else { ONLY_V6 };
        match u8::try_from(protocol) {
            Ok(0) => Err(Errno::EPROTONOSUPPORT),
            Ok(protocol) => Ok(DgramSocket::open(&self.inet, Flavour::Raw, family, protocol)),
            Err(_) => Err(Errno::EINVAL),
        }
    }

    /// socketpair(2); `EOPNOTSUPP` for a family that has none.
    pub fn pair(&self, cx: &Cx<'_>, domain: i32, kind: i32, protocol: i32) -> Result<[Arc<dyn File>; 2]> {
        self.socket(domain, kind, protocol)?;
        if domain != AF_LOCAL {
            return Err(Errno::EOPNOTSUPP);
        }
        let (a, b) = LocalSocket::pair(&self.local, &self.inet, kind, local::owner(cx));
        Ok([a, b])
    }

    /// Runs the timers that are due at `now`, and returns when the next one is.
    pub fn run_timers(&self, now: Duration) -> Option<Duration> {
        self.inet.run_timers(now)
    }

    /// Sets what is called when a timer is due earlier than [`Net::run_timers`] has said.
    pub fn set_kick(&self, kick: Box<dyn Fn() + Send + Sync>) {
        self.inet.set_kick(kick);
    }
}

/// What fstat(2) says of any socket.
fn socket_stat() -> Stat {
    Stat { st_mode: S_IFSOCK | 0o777, st_nlink: 1, st_blksize: 4096, ..Stat::default() }
}

/// What a message carried besides its bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes stored.
    pub len: usize,
    /// Length of the whole message, if it has one.
    pub full: usize,
    /// Who sent it.
    pub from: Option<Sockaddr>,
    /// `MSG_TRUNC` and the like, NetBSD's numbers.
    pub flags: i32,
    /// Control messages.
    pub control: Vec<Control>,
    /// Whether the urgent byte comes next: what follows is not joined to this.
    pub at_mark: bool,
}

/// A control message, already taken out of its C form.
#[derive(Clone)]
pub enum Control {
    /// Open files (`SCM_RIGHTS`).
    Rights(Vec<Arc<crate::file::OpenFile>>),
    /// Any other: level, type, data as NetBSD lays it out.
    Other { level: i32, kind: i32, data: Vec<u8> },
}

/// A socket. No method blocks: `EAGAIN` means "would have to wait" (also `connect` before the handshake is over: see there).
pub trait Socket: File {
    /// Address family, type and protocol, NetBSD's numbers.
    fn domain(&self) -> (i32, i32, i32);
    /// bind(2).
    fn bind(&self, _cx: &Cx<'_>, _addr: &Sockaddr) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// listen(2).
    fn listen(&self, _cx: &Cx<'_>, _backlog: i32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// connect(2): starts it. `EINPROGRESS` when it goes on; the handler then waits with [`Socket::connected`].
    fn connect(&self, _cx: &Cx<'_>, _addr: &Sockaddr) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether a connect that was started is over: `EAGAIN` while not, its error once (as `SO_ERROR`).
    fn connected(&self) -> Result<()> {
        Ok(())
    }
    /// accept(2): the new socket and its peer; `EAGAIN` when none is ready.
    fn accept(&self, _cx: &Cx<'_>) -> Result<(Arc<dyn File>, Sockaddr)> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Which way the bytes of a stream go, in a word: `segments`, `joined` inside the kernel, `shared` by the programs; empty for others.
    fn path(&self) -> &'static str {
        ""
    }
    /// send(2) and its kin; returns the bytes taken.
    fn send(
        &self,
        _cx: &Cx<'_>,
        _data: &[u8],
        _flags: i32,
        _to: Option<&Sockaddr>,
        _control: Vec<Control>,
    ) -> Result<usize> {
        Err(Errno::EOPNOTSUPP)
    }
    /// recv(2) and its kin.
    fn recv(&self, _cx: &Cx<'_>, _buf: &mut [u8], _flags: i32) -> Result<Received> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether no more messages come, since the receiving side was shut down. Such a socket still answers `EAGAIN` when it has none: what
    /// the program gets depends on whether it would wait.
    fn is_ended(&self) -> bool {
        false
    }
    /// shutdown(2).
    fn shutdown(&self, _how: i32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// getsockname(2).
    fn local(&self) -> Result<Sockaddr>;
    /// getpeername(2); `ENOTCONN` without one.
    fn peer(&self) -> Result<Sockaddr>;
    /// Bytes that can be read, and bytes written that are not gone.
    fn queued(&self) -> (usize, usize) {
        (0, 0)
    }
    /// getsockopt(2); the value as NetBSD lays it out, at most `max` bytes.
    fn option(&self, _level: i32, _name: i32, _max: usize) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }
    /// setsockopt(2).
    fn set_option(&self, _cx: &Cx<'_>, _level: i32, _name: i32, _value: &[u8]) -> Result<()> {
        Err(Errno::ENOPROTOOPT)
    }
    /// What its calls wait for.
    fn waits(&self) -> Waits {
        Waits::default()
    }
}

/// What calls on a socket wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// `SO_RCVTIMEO`; `None` is for ever.
    pub receive: Option<Duration>,
    /// `SO_SNDTIMEO`; the same.
    pub send: Option<Duration>,
    /// `SO_RCVLOWAT`: so many bytes of a stream, if so many are asked for.
    pub enough: usize,
}

#[cfg(test)]
mod frames;
#[cfg(test)]
mod tests;
