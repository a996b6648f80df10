//! Socket options: NetBSD's level and number, Linux's, and what the value is, in one row.
//!
//! An option of Linux that NetBSD lacks but that programs do use travels under a level of ours, `EXTENSION` plus Linux's
//! level, with Linux's number; a NetBSD server answers `ENOPROTOOPT`.

use linux_raw_sys::net as host;

use super::{IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP};

/// The level of socket options.
pub const SOL_SOCKET: i32 = 0xffff;
/// The level of local sockets' own options.
pub const SOL_LOCAL: i32 = 0;
/// What is added to Linux's level to make the level of our extensions.
pub const EXTENSION: i32 = 0x4c58_0000;
/// Extensions of `SOL_SOCKET`.
pub const SOL_SOCKET_EXT: i32 = EXTENSION + host::SOL_SOCKET as i32;
/// Extensions of `IPPROTO_IP`.
pub const IPPROTO_IP_EXT: i32 = EXTENSION + IPPROTO_IP;
/// Extensions of `IPPROTO_IPV6`.
pub const IPPROTO_IPV6_EXT: i32 = EXTENSION + IPPROTO_IPV6;
/// Extensions of `IPPROTO_TCP`.
pub const IPPROTO_TCP_EXT: i32 = EXTENSION + IPPROTO_TCP;
/// Options of UDP.
pub const IPPROTO_UDP_EXT: i32 = EXTENSION + IPPROTO_UDP;

/// Extensions of `IPPROTO_RAW`.
pub const IPPROTO_RAW_EXT: i32 = EXTENSION + IPPROTO_RAW;

/// What the value of an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An int.
    Int,
    /// An int that may also be given, and is shown by NetBSD, as one byte.
    Byte,
    /// A timeval.
    Timeval,
    /// struct linger, the same layout on both.
    Linger,
    /// An errno, which is translated.
    Error,
    /// An address family, which is translated.
    Family,
    /// An IPv4 interface: its address, ip_mreq or ip_mreqn.
    Interface,
    /// ip_mreq or ip_mreqn.
    Membership,
    /// struct tcp_info.
    TcpInfo,
    /// Bits that mean pass on NetBSD and block on Linux.
    Icmp6Filter,
    /// The same bytes on both.
    Bytes,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// The name on NetBSD, or Linux's for an extension.
    pub name: &'static str,
    /// Level and number on NetBSD.
    pub netbsd: (i32, i32),
    /// Level and number on Linux.
    pub linux: Option<(i32, i32)>,
    /// What the value is.
    pub kind: Kind,
}

macro_rules! options {
    ($($level:ident, $host_level:path { $($kind:ident $name:ident $number:literal $(=> $twin:expr)?;)* })*) => {
        $($(
            #[doc = concat!("Option `", stringify!($name), "` of level `", stringify!($level), "`.")]
            pub const $name: i32 = $number;
        )*)*

        /// The options.
        pub const OPTIONS: &[SocketOption] = &[$($(
            SocketOption {
                name: stringify!($name),
                netbsd: ($level, $number),
                linux: options!(@linux $host_level $(, $twin)?),
                kind: Kind::$kind,
            },
        )*)*];
    };
    (@linux $level:path) => { None };
    (@linux $level:path, $twin:expr) => { Some(($level as i32, $twin as i32)) };
}

options! {
    SOL_SOCKET, host::SOL_SOCKET {
        Int SO_DEBUG 0x1 => host::SO_DEBUG;
        Int SO_ACCEPTCONN 0x2 => host::SO_ACCEPTCONN;
        Int SO_REUSEADDR 0x4 => host::SO_REUSEADDR;
        Int SO_KEEPALIVE 0x8 => host::SO_KEEPALIVE;
        Int SO_DONTROUTE 0x10 => host::SO_DONTROUTE;
        Int SO_BROADCAST 0x20 => host::SO_BROADCAST;
        Int SO_USELOOPBACK 0x40;
        Linger SO_LINGER 0x80 => host::SO_LINGER;
        Int SO_OOBINLINE 0x100 => host::SO_OOBINLINE;
        Int SO_REUSEPORT 0x200 => host::SO_REUSEPORT;
        Int SO_NOSIGPIPE 0x800;
        Bytes SO_ACCEPTFILTER 0x1000;
        Int SO_SNDBUF 0x1001 => host::SO_SNDBUF;
        Int SO_RCVBUF 0x1002 => host::SO_RCVBUF;
        Int SO_SNDLOWAT 0x1003 => host::SO_SNDLOWAT;
        Int SO_RCVLOWAT 0x1004 => host::SO_RCVLOWAT;
        Error SO_ERROR 0x1007 => host::SO_ERROR;
        Int SO_TYPE 0x1008 => host::SO_TYPE;
        Int SO_OVERFLOWED 0x1009;
        Int SO_NOHEADER 0x100a;
        Timeval SO_SNDTIMEO 0x100b => host::SO_SNDTIMEO;
        Timeval SO_RCVTIMEO 0x100c => host::SO_RCVTIMEO;
        Int SO_TIMESTAMP 0x2000 => host::SO_TIMESTAMP;
    }
    SOL_LOCAL, host::SOL_SOCKET {
        Int LOCAL_OCREDS 1;
        Int LOCAL_CONNWAIT 2;
        Bytes LOCAL_PEEREID 3 => host::SO_PEERCRED;
        Int LOCAL_CREDS 4 => host::SO_PASSCRED;
    }
    SOL_SOCKET_EXT, host::SOL_SOCKET {
        Int SO_PRIORITY 12 => host::SO_PRIORITY;
        Bytes SO_BINDTODEVICE 25 => host::SO_BINDTODEVICE;
        Int SO_SNDBUFFORCE 32 => host::SO_SNDBUFFORCE;
        Int SO_RCVBUFFORCE 33 => host::SO_RCVBUFFORCE;
        Int SO_TIMESTAMPNS 35 => host::SO_TIMESTAMPNS;
        Int SO_MARK 36 => host::SO_MARK;
        Int SO_PROTOCOL 38 => host::SO_PROTOCOL;
        Family SO_DOMAIN 39 => host::SO_DOMAIN;
        Int SO_PEEK_OFF 42 => host::SO_PEEK_OFF;
        Int SO_INCOMING_CPU 49 => host::SO_INCOMING_CPU;
        Bytes SO_COOKIE 57 => host::SO_COOKIE;
        Bytes SO_PEERGROUPS 59 => host::SO_PEERGROUPS;
    }
    IPPROTO_IP, host::IPPROTO_IP {
        Bytes IP_OPTIONS 1 => host::IP_OPTIONS;
        Int IP_HDRINCL 2 => host::IP_HDRINCL;
        Byte IP_TOS 3 => host::IP_TOS;
        Byte IP_TTL 4 => host::IP_TTL;
        Int IP_RECVOPTS 5 => host::IP_RECVOPTS;
        Int IP_RECVRETOPTS 6 => host::IP_RETOPTS;
        Int IP_RECVDSTADDR 7;
        Bytes IP_RETOPTS 8;
        Interface IP_MULTICAST_IF 9 => host::IP_MULTICAST_IF;
        Byte IP_MULTICAST_TTL 10 => host::IP_MULTICAST_TTL;
        Byte IP_MULTICAST_LOOP 11 => host::IP_MULTICAST_LOOP;
        Membership IP_ADD_MEMBERSHIP 12 => host::IP_ADD_MEMBERSHIP;
        Membership IP_DROP_MEMBERSHIP 13 => host::IP_DROP_MEMBERSHIP;
        Int IP_PORTALGO 18;
        Int IP_PORTRANGE 19;
        Int IP_RECVIF 20;
        Int IP_ERRORMTU 21;
        Bytes IP_IPSEC_POLICY 22 => host::IP_IPSEC_POLICY;
        Int IP_RECVTTL 23 => host::IP_RECVTTL;
        Byte IP_MINTTL 24 => host::IP_MINTTL;
        Bytes IP_PKTINFO 25;
        Int IP_RECVPKTINFO 26 => host::IP_PKTINFO;
    }
    IPPROTO_IP_EXT, host::IPPROTO_IP {
        Int IP_MTU_DISCOVER 10 => host::IP_MTU_DISCOVER;
        Int IP_RECVERR 11 => host::IP_RECVERR;
        Int IP_RECVTOS 13 => host::IP_RECVTOS;
        Int IP_MTU 14 => host::IP_MTU;
        Int IP_FREEBIND 15 => host::IP_FREEBIND;
        Int IP_TRANSPARENT 19 => host::IP_TRANSPARENT;
        Int IP_BIND_ADDRESS_NO_PORT 24 => host::IP_BIND_ADDRESS_NO_PORT;
        Int IP_MULTICAST_ALL 49 => host::IP_MULTICAST_ALL;
        Bytes IP_UNICAST_IF 50 => host::IP_UNICAST_IF;
    }
    IPPROTO_IPV6, host::IPPROTO_IPV6 {
        Int IPV6_UNICAST_HOPS 4 => host::IPV6_UNICAST_HOPS;
        Int IPV6_MULTICAST_IF 9 => host::IPV6_MULTICAST_IF;
        Int IPV6_MULTICAST_HOPS 10 => host::IPV6_MULTICAST_HOPS;
        Int IPV6_MULTICAST_LOOP 11 => host::IPV6_MULTICAST_LOOP;
        Bytes IPV6_JOIN_GROUP 12 => host::IPV6_ADD_MEMBERSHIP;
        Bytes IPV6_LEAVE_GROUP 13 => host::IPV6_DROP_MEMBERSHIP;
        Int IPV6_PORTRANGE 14;
        Int IPV6_PORTALGO 17;
        Int IPV6_CHECKSUM 26 => host::IPV6_CHECKSUM;
        Int IPV6_V6ONLY 27 => host::IPV6_V6ONLY;
        Bytes IPV6_IPSEC_POLICY 28 => host::IPV6_IPSEC_POLICY;
        Int IPV6_FAITH 29;
        Bytes IPV6_RTHDRDSTOPTS 35 => host::IPV6_RTHDRDSTOPTS;
        Int IPV6_RECVPKTINFO 36 => host::IPV6_RECVPKTINFO;
        Int IPV6_RECVHOPLIMIT 37 => host::IPV6_RECVHOPLIMIT;
        Int IPV6_RECVRTHDR 38 => host::IPV6_RECVRTHDR;
        Int IPV6_RECVHOPOPTS 39 => host::IPV6_RECVHOPOPTS;
        Int IPV6_RECVDSTOPTS 40 => host::IPV6_RECVDSTOPTS;
        Int IPV6_USE_MIN_MTU 42;
        Int IPV6_RECVPATHMTU 43 => host::IPV6_RECVPATHMTU;
        Bytes IPV6_PATHMTU 44 => host::IPV6_PATHMTU;
        Bytes IPV6_PKTINFO 46 => host::IPV6_PKTINFO;
        Int IPV6_HOPLIMIT 47 => host::IPV6_HOPLIMIT;
        Bytes IPV6_NEXTHOP 48 => host::IPV6_NEXTHOP;
        Bytes IPV6_HOPOPTS 49 => host::IPV6_HOPOPTS;
        Bytes IPV6_DSTOPTS 50 => host::IPV6_DSTOPTS;
        Bytes IPV6_RTHDR 51 => host::IPV6_RTHDR;
        Int IPV6_RECVTCLASS 57 => host::IPV6_RECVTCLASS;
        Int IPV6_TCLASS 61 => host::IPV6_TCLASS;
        Int IPV6_DONTFRAG 62 => host::IPV6_DONTFRAG;
        Int IPV6_PREFER_TEMPADDR 63;
    }
    IPPROTO_IPV6_EXT, host::IPPROTO_IPV6 {
        Int IPV6_MTU_DISCOVER 23 => host::IPV6_MTU_DISCOVER;
        Int IPV6_MTU 24 => host::IPV6_MTU;
        Int IPV6_RECVERR 25 => host::IPV6_RECVERR;
        Int IPV6_MULTICAST_ALL 29 => host::IPV6_MULTICAST_ALL;
        Int IPV6_FREEBIND 78 => host::IPV6_FREEBIND;
    }
    IPPROTO_ICMPV6, host::IPPROTO_ICMPV6 {
        Icmp6Filter ICMP6_FILTER 18 => 1;
    }
    IPPROTO_RAW_EXT, IPPROTO_RAW {
        Bytes ICMP_FILTER 1 => 1;
    }
    IPPROTO_TCP, host::IPPROTO_TCP {
        Int TCP_NODELAY 1 => host::TCP_NODELAY;
        Int TCP_MAXSEG 2 => host::TCP_MAXSEG;
        Int TCP_KEEPIDLE 3 => host::TCP_KEEPIDLE;
        Int TCP_KEEPINTVL 5 => host::TCP_KEEPINTVL;
        Int TCP_KEEPCNT 6 => host::TCP_KEEPCNT;
        Int TCP_KEEPINIT 7;
        TcpInfo TCP_INFO 9 => host::TCP_INFO;
        Bytes TCP_MD5SIG 16 => host::TCP_MD5SIG;
        Bytes TCP_CONGCTL 32 => host::TCP_CONGESTION;
    }
    IPPROTO_TCP_EXT, host::IPPROTO_TCP {
        Int TCP_CORK 3 => host::TCP_CORK;
        Int TCP_SYNCNT 7 => host::TCP_SYNCNT;
        Int TCP_LINGER2 8 => host::TCP_LINGER2;
        Int TCP_DEFER_ACCEPT 9 => host::TCP_DEFER_ACCEPT;
        Int TCP_WINDOW_CLAMP 10 => host::TCP_WINDOW_CLAMP;
        Int TCP_QUICKACK 12 => host::TCP_QUICKACK;
        Int TCP_USER_TIMEOUT 18 => host::TCP_USER_TIMEOUT;
        Int TCP_FASTOPEN 23 => host::TCP_FASTOPEN;
        Int TCP_NOTSENT_LOWAT 25 => host::TCP_NOTSENT_LOWAT;
        Int TCP_FASTOPEN_CONNECT 30 => host::TCP_FASTOPEN_CONNECT;
    }
    IPPROTO_UDP, host::IPPROTO_UDP {
        Int UDP_ENCAP 100 => 100;
    }
    IPPROTO_UDP_EXT, host::IPPROTO_UDP {
        Int UDP_CORK 1 => 1;
    }
}

/// Returns the row of an option of Linux.
pub fn socket_option_from_linux(level: i32, name: i32) -> Option<&'static SocketOption> {
    OPTIONS.iter().find(|option| option.linux == Some((level, name)))
}

/// Translates an option: level, number, and what the value is. `None` for one that has no row (`ENOPROTOOPT` to the program).
pub fn option_from_linux(level: i32, name: i32) -> Option<(i32, i32, Kind)> {
    socket_option_from_linux(level, name).map(|option| (option.netbsd.0, option.netbsd.1, option.kind))
}

/// Translates an option to Linux.
pub fn option_to_linux(level: i32, name: i32) -> Option<(i32, i32, Kind)> {
    let option = OPTIONS.iter().find(|option| option.netbsd == (level, name))?;
    option.linux.map(|(level, name)| (level, name, option.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_translate_with_their_levels() {
        assert_eq!(option_from_linux(1, 2), Some((SOL_SOCKET, SO_REUSEADDR, Kind::Int)));
        assert_eq!(option_from_linux(1, 17), Some((SOL_LOCAL, LOCAL_PEEREID, Kind::Bytes)));
        assert_eq!(option_from_linux(0, 8), Some((IPPROTO_IP, IP_RECVPKTINFO, Kind::Int)));
        assert_eq!(option_from_linux(41, 26), Some((IPPROTO_IPV6, IPV6_V6ONLY, Kind::Int)));
        assert_eq!(option_from_linux(6, 11), Some((IPPROTO_TCP, TCP_INFO, Kind::TcpInfo)));
        assert_eq!(option_from_linux(1, 9999), None);
        assert_eq!(option_to_linux(SOL_SOCKET, SO_ERROR), Some((1, 4, Kind::Error)));
    }

    #[test]
    fn extensions_keep_linuxs_numbers() {
        assert_eq!(option_from_linux(6, 3), Some((IPPROTO_TCP_EXT, TCP_CORK, Kind::Int)));
        for option in OPTIONS.iter().filter(|option| option.netbsd.0 & 0xffff_0000_u32 as i32 == EXTENSION) {
            let (level, name) = option.netbsd;
            assert_eq!(option.linux, Some((level - EXTENSION, name)), "{}", option.name);
        }
    }

    #[test]
    fn no_option_of_linux_stands_twice() {
        for (at, option) in OPTIONS.iter().enumerate() {
            let rest = OPTIONS.iter().skip(at + 1);
            assert!(option.linux.is_none() || rest.clone().all(|other| other.linux != option.linux), "{}", option.name);
        }
    }
}
