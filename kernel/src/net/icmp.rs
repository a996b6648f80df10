//! What ICMP says about packets that this host has sent, in the words of both versions at once (RFC 792, RFC 4443).

use abi::Errno;
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol};

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listens at its port, or speaks its protocol.
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
        }
    }

    /// Whether it is no use to try again.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Refused | Self::BadHeader)
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
