//! Sockets: families, types, `MSG_` flags; addresses, options, messages and control messages.

mod address;
mod control;
mod message;
mod option;
mod value;

use linux_raw_sys::{general, net as host};

pub use self::address::*;
pub use self::control::*;
pub use self::message::*;
pub use self::option::*;
pub use self::value::*;
pub use crate::ioctl::{Ifconf, Ifreq};
use crate::pairs::pairs;
use crate::{Errno, Result};

pairs! {
    /// The address families. `AF_NETLINK` is an extension: a NetBSD server answers `EAFNOSUPPORT`.
    FAMILIES: i32 {
        AF_UNSPEC 0 => host::AF_UNSPEC;
        AF_LOCAL 1 => host::AF_UNIX;
        AF_INET 2 => host::AF_INET;
        AF_ISO 7;
        AF_APPLETALK 16 => host::AF_APPLETALK;
        AF_OROUTE 17;
        AF_LINK 18 -> host::AF_PACKET;
        AF_IPX 23 => host::AF_IPX;
        AF_INET6 24 => host::AF_INET6;
        AF_NATM 27;
        AF_ARP 28;
        AF_BLUETOOTH 31 => host::AF_BLUETOOTH;
        AF_IEEE80211 32;
        AF_MPLS 33 => 28;
        AF_ROUTE 34;
        AF_NETLINK 240 => host::AF_NETLINK;
    }
}

/// The same as `AF_LOCAL`.
pub const AF_UNIX: i32 = AF_LOCAL;
/// The same as `AF_ISO`.
pub const AF_OSI: i32 = AF_ISO;
/// One more than the last family.
pub const AF_MAX: i32 = 35;
/// The same as `AF_UNSPEC`.
pub const PF_UNSPEC: i32 = AF_UNSPEC;
/// The same as `AF_LOCAL`.
pub const PF_LOCAL: i32 = AF_LOCAL;
/// The same as `AF_INET`.
pub const PF_INET: i32 = AF_INET;
/// The same as `AF_INET6`.
pub const PF_INET6: i32 = AF_INET6;
/// The same as `AF_ROUTE`.
pub const PF_ROUTE: i32 = AF_ROUTE;

/// Translates a family; `None` for one that NetBSD lacks (`EAFNOSUPPORT` to the program).
pub fn family_from_linux(linux: i32) -> Option<i32> {
    FAMILIES.from_linux(linux)
}

/// Translates a family; `None` for one that Linux lacks.
pub fn family_to_linux(netbsd: i32) -> Option<i32> {
    FAMILIES.to_linux(netbsd)
}

/// Byte stream; the types are the same on both.
pub const SOCK_STREAM: i32 = 1;
/// Datagrams.
pub const SOCK_DGRAM: i32 = 2;
/// Raw packets.
pub const SOCK_RAW: i32 = 3;
/// Reliably delivered messages.
pub const SOCK_RDM: i32 = 4;
/// A stream of records.
pub const SOCK_SEQPACKET: i32 = 5;
/// Connected datagrams (`SOCK_DCCP` on Linux).
pub const SOCK_CONN_DGRAM: i32 = 6;
/// Mask of the flags in a type; the highest bit is in it.
pub const SOCK_FLAGS_MASK: i32 = 0xf000_0000_u32 as i32;

pairs! {
    /// The flags that socket(2), accept4(2) and their kin take.
    SOCK_FLAGS: i32 {
        SOCK_CLOEXEC 0x1000_0000 => general::O_CLOEXEC;
        SOCK_NONBLOCK 0x2000_0000 => general::O_NONBLOCK;
        SOCK_NOSIGPIPE 0x4000_0000;
    }
}

/// Translates the flags of accept4(2); `EINVAL` for an unknown one.
pub fn sock_flags_from_linux(linux: i32) -> Result<i32> {
    match SOCK_FLAGS.flags_from_linux(linux) {
        (flags, 0) => Ok(flags),
        _ => Err(Errno::EINVAL),
    }
}

/// Translates the type of socket(2) with its flags; `EINVAL` for an unknown flag.
pub fn socket_type_from_linux(linux: i32) -> Result<i32> {
    const TYPE_MASK: i32 = 0xf;
    Ok(linux & TYPE_MASK | sock_flags_from_linux(linux & !TYPE_MASK)?)
}

/// shutdown(2): no more receiving; the numbers of shutdown are the same on both.
pub const SHUT_RD: i32 = 0;
/// shutdown(2): no more sending.
pub const SHUT_WR: i32 = 1;
/// shutdown(2): neither.
pub const SHUT_RDWR: i32 = 2;
/// The longest listen queue.
pub const SOMAXCONN: i32 = 128;

/// Internet protocols have one number everywhere.
pub const IPPROTO_IP: i32 = 0;
/// ICMP.
pub const IPPROTO_ICMP: i32 = 1;
/// IGMP.
pub const IPPROTO_IGMP: i32 = 2;
/// TCP.
pub const IPPROTO_TCP: i32 = 6;
/// UDP.
pub const IPPROTO_UDP: i32 = 17;
/// IPv6.
pub const IPPROTO_IPV6: i32 = 41;
/// ICMP for IPv6.
pub const IPPROTO_ICMPV6: i32 = 58;
/// Raw IP.
pub const IPPROTO_RAW: i32 = 255;
/// One more than the last protocol.
pub const IPPROTO_MAX: i32 = 256;

pairs! {
    /// The flags of send(2), recv(2) and their kin. `MSG_TRUNC` as an input flag, `MSG_MORE` and `MSG_ERRQUEUE` mean something to our server only.
    MSG_FLAGS: i32 {
        MSG_OOB 0x1 => host::MSG_OOB;
        MSG_PEEK 0x2 => host::MSG_PEEK;
        MSG_DONTROUTE 0x4 => host::MSG_DONTROUTE;
        MSG_EOR 0x8 => host::MSG_EOR;
        MSG_TRUNC 0x10 => host::MSG_TRUNC;
        MSG_CTRUNC 0x20 => host::MSG_CTRUNC;
        MSG_WAITALL 0x40 => host::MSG_WAITALL;
        MSG_DONTWAIT 0x80 => host::MSG_DONTWAIT;
        MSG_BCAST 0x100;
        MSG_MCAST 0x200;
        MSG_NOSIGNAL 0x400 => host::MSG_NOSIGNAL;
        MSG_CMSG_CLOEXEC 0x800 => host::MSG_CMSG_CLOEXEC;
        MSG_NBIO 0x1000;
        MSG_WAITFORONE 0x2000 => 0x1_0000;
        MSG_NOTIFICATION 0x4000;
        MSG_MORE 0x8000 => host::MSG_MORE;
        MSG_ERRQUEUE 0x1_0000 => host::MSG_ERRQUEUE;
    }
}

/// Linux's `MSG_FASTOPEN`.
const LINUX_MSG_FASTOPEN: i32 = 0x2000_0000;

/// The flags that a caller may pass.
pub const MSG_USERFLAGS: i32 = 0xff_ffff;

/// Translates the flags of send(2) and recv(2). `EOPNOTSUPP` for `MSG_FASTOPEN`; the hint `MSG_CONFIRM` and what Linux ignores are dropped.
pub fn msg_flags_from_linux(linux: i32) -> Result<i32> {
    if linux & LINUX_MSG_FASTOPEN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(MSG_FLAGS.flags_from_linux(linux).0)
}

/// Translates the flags that a received message came with.
pub fn msg_flags_to_linux(netbsd: i32) -> i32 {
    MSG_FLAGS.flags_to_linux(netbsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_translate_by_name() {
        assert_eq!(family_from_linux(10), Some(AF_INET6));
        assert_eq!(family_from_linux(16), Some(AF_NETLINK), "netlink is not appletalk");
        assert_eq!(family_to_linux(AF_INET6), Some(10));
        assert_eq!(family_from_linux(17), None);
    }

    #[test]
    fn a_type_carries_flags() {
        assert_eq!(socket_type_from_linux(0x80801), Ok(SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK));
        assert_eq!(socket_type_from_linux(0x1002), Err(Errno::EINVAL));
    }

    #[test]
    fn message_flags_translate() {
        assert_eq!(msg_flags_from_linux(0x4000 | 0x40 | 0x8000), Ok(MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE));
        assert_eq!(msg_flags_from_linux(0x2000), Ok(MSG_ERRQUEUE));
        assert_eq!(msg_flags_to_linux(MSG_TRUNC | MSG_CTRUNC | MSG_EOR), 0x20 | 0x8 | 0x80);
    }
}
