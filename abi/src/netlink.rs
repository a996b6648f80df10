//! Linux's routing messages (rtnetlink(7)): an extension, since NetBSD has no netlink.
//!
//! glibc's getifaddrs(3) and all of Linux's network tools ask this way. The messages travel as they are, in Linux's layout and
//! with Linux's numbers; all fields are in host order.

use crate::pairs::plain;

/// Gives names of one meaning their numbers.
macro_rules! numbers {
    ($($meaning:literal: $type:ty { $($name:ident $value:literal,)* })*) => {$($(
        #[doc = concat!($meaning, ": `", stringify!($name), "`.")]
        pub const $name: $type = $value;
    )*)*};
}

numbers! {
    "Message": u16 {
        NLMSG_NOOP 1, NLMSG_ERROR 2, NLMSG_DONE 3,
        RTM_NEWLINK 16, RTM_DELLINK 17, RTM_GETLINK 18, RTM_SETLINK 19, RTM_NEWADDR 20, RTM_DELADDR 21, RTM_GETADDR 22,
        RTM_NEWROUTE 24, RTM_DELROUTE 25, RTM_GETROUTE 26, RTM_NEWNEIGH 28, RTM_DELNEIGH 29, RTM_GETNEIGH 30, RTM_GETRULE 34,
    }
    "Flag of a message": u16 { NLM_F_REQUEST 0x1, NLM_F_MULTI 0x2, NLM_F_ACK 0x4, NLM_F_DUMP 0x300, }
    "Attribute of an interface": u16 {
        IFLA_ADDRESS 1, IFLA_BROADCAST 2, IFLA_IFNAME 3, IFLA_MTU 4, IFLA_QDISC 6, IFLA_STATS 7, IFLA_TXQLEN 13,
        IFLA_OPERSTATE 16, IFLA_LINKMODE 17, IFLA_STATS64 23,
    }
    "Attribute of an address": u16 {
        IFA_ADDRESS 1, IFA_LOCAL 2, IFA_LABEL 3, IFA_BROADCAST 4, IFA_CACHEINFO 6, IFA_FLAGS 8,
    }
    "Attribute of a route": u16 {
        RTA_DST 1, RTA_OIF 4, RTA_GATEWAY 5, RTA_PRIORITY 6, RTA_PREFSRC 7, RTA_CACHEINFO 12, RTA_TABLE 15,
    }
    "Attribute of a neighbour": u16 { NDA_DST 1, NDA_LLADDR 2, }
    "State of a neighbour": u16 {
        NUD_INCOMPLETE 0x1, NUD_REACHABLE 0x2, NUD_STALE 0x4, NUD_DELAY 0x8, NUD_PROBE 0x10, NUD_FAILED 0x20, NUD_PERMANENT 0x80,
    }
    "Flag of a neighbour": u8 { NTF_ROUTER 0x80, }
    "Flag of a change": u16 { NLM_F_REPLACE 0x100, NLM_F_EXCL 0x200, NLM_F_CREATE 0x400, }
    "Routing table": u8 { RT_TABLE_MAIN 254, RT_TABLE_LOCAL 255, }
    "How far something reaches": u8 { RT_SCOPE_UNIVERSE 0, RT_SCOPE_LINK 253, RT_SCOPE_HOST 254, }
    "Kind of a route": u8 { RTN_UNICAST 1, RTN_LOCAL 2, RTN_BLACKHOLE 6, RTN_UNREACHABLE 7, RTN_PROHIBIT 8, }
    "Who made a route": u8 { RTPROT_REDIRECT 1, RTPROT_KERNEL 2, RTPROT_BOOT 3, RTPROT_STATIC 4, RTPROT_RA 9, }
    "Kind of an interface": u16 { ARPHRD_ETHER 1, ARPHRD_LOOPBACK 772, }
    "Flag of an interface": u32 {
        IFF_UP 0x1, IFF_BROADCAST 0x2, IFF_LOOPBACK 0x8, IFF_RUNNING 0x40, IFF_MULTICAST 0x1000, IFF_LOWER_UP 0x1_0000,
    }
    "State of an interface": u8 { IF_OPER_UNKNOWN 0, IF_OPER_DOWN 2, IF_OPER_UP 6, }
    "Flag of an address": u8 { IFA_F_DADFAILED 0x8, IFA_F_TENTATIVE 0x40, IFA_F_PERMANENT 0x80, }
    "Protocol": i32 { NETLINK_ROUTE 0, }
}

plain! {
    /// The address of a netlink socket behind its family (struct sockaddr_nl).
    pub struct SockaddrNl {
        pub nl_pad: u16,
        pub nl_pid: [u8; 4],
        pub nl_groups: [u8; 4],
    }

    /// What every message begins with.
    pub struct Nlmsghdr {
        pub nlmsg_len: u32,
        pub nlmsg_type: u16,
        pub nlmsg_flags: u16,
        pub nlmsg_seq: u32,
        pub nlmsg_pid: u32,
    }

    /// A message about an interface.
    pub struct Ifinfomsg {
        pub ifi_family: u8,
        pub ifi_pad: u8,
        pub ifi_type: u16,
        pub ifi_index: i32,
        pub ifi_flags: u32,
        pub ifi_change: u32,
    }

    /// A message about an address.
    pub struct Ifaddrmsg {
        pub ifa_family: u8,
        pub ifa_prefixlen: u8,
        pub ifa_flags: u8,
        pub ifa_scope: u8,
        pub ifa_index: u32,
    }

    /// A message about a route.
    pub struct Rtmsg {
        pub rtm_family: u8,
        pub rtm_dst_len: u8,
        pub rtm_src_len: u8,
        pub rtm_tos: u8,
        pub rtm_table: u8,
        pub rtm_protocol: u8,
        pub rtm_scope: u8,
        pub rtm_type: u8,
        pub rtm_flags: u32,
    }

    /// A message about a neighbour.
    pub struct Ndmsg {
        pub ndm_family: u8,
        pub ndm_pad1: u8,
        pub ndm_pad2: u16,
        pub ndm_ifindex: i32,
        pub ndm_state: u16,
        pub ndm_flags: u8,
        pub ndm_type: u8,
    }

    /// The head of an attribute; its value follows, padded to 4 bytes.
    pub struct Rtattr {
        pub rta_len: u16,
        pub rta_type: u16,
    }
}
