//! The routing socket (route(4)): `socket(AF_ROUTE, SOCK_RAW, family or 0)`.

use crate::pairs::plain;
use crate::time::Timeval;

/// Gives names of one meaning their numbers.
macro_rules! numbers {
    ($($meaning:literal: $type:ty { $($name:ident $value:literal,)* })*) => {$($(
        #[doc = concat!($meaning, ": `", stringify!($name), "`.")]
        pub const $name: $type = $value;
    )*)*};
}

/// The version of the messages.
pub const RTM_VERSION: u8 = 4;

numbers! {
    "Message": u8 {
        RTM_ADD 1, RTM_DELETE 2, RTM_CHANGE 3, RTM_GET 4, RTM_LOSING 5, RTM_REDIRECT 6, RTM_MISS 7, RTM_LOCK 8,
        RTM_NEWADDR 12, RTM_DELADDR 13, RTM_IFANNOUNCE 16, RTM_IEEE80211 17, RTM_SETGATE 18, RTM_LLINFO_UPD 19,
        RTM_IFINFO 20, RTM_CHGADDR 21,
    }
    "Flag of a route": i32 {
        RTF_UP 0x1, RTF_GATEWAY 0x2, RTF_HOST 0x4, RTF_REJECT 0x8, RTF_DYNAMIC 0x10, RTF_MODIFIED 0x20, RTF_DONE 0x40,
        RTF_MASK 0x80, RTF_CONNECTED 0x100, RTF_LLDATA 0x400, RTF_STATIC 0x800, RTF_BLACKHOLE 0x1000,
        RTF_PROTO2 0x4000, RTF_PROTO1 0x8000, RTF_SRC 0x1_0000, RTF_ANNOUNCE 0x2_0000, RTF_LOCAL 0x4_0000,
        RTF_BROADCAST 0x8_0000,
    }
    "Address present": i32 {
        RTA_DST 0x1, RTA_GATEWAY 0x2, RTA_NETMASK 0x4, RTA_GENMASK 0x8, RTA_IFP 0x10, RTA_IFA 0x20, RTA_AUTHOR 0x40,
        RTA_BRD 0x80, RTA_TAG 0x100,
    }
    "Place of an address": usize {
        RTAX_DST 0, RTAX_GATEWAY 1, RTAX_NETMASK 2, RTAX_GENMASK 3, RTAX_IFP 4, RTAX_IFA 5, RTAX_AUTHOR 6, RTAX_BRD 7,
        RTAX_TAG 8, RTAX_MAX 9,
    }
    "Metric set or locked": i32 {
        RTV_MTU 0x1, RTV_HOPCOUNT 0x2, RTV_EXPIRE 0x4, RTV_RPIPE 0x8, RTV_SPIPE 0x10, RTV_SSTHRESH 0x20, RTV_RTT 0x40,
        RTV_RTTVAR 0x80,
    }
    "Dump by sysctl": i32 { NET_RT_DUMP 1, NET_RT_FLAGS 2, NET_RT_IFLIST 5, }
    "What happened to an interface": u16 { IFAN_ARRIVAL 0, IFAN_DEPARTURE 1, }
}

plain! {
    /// The metrics of a route.
    pub struct RtMetrics {
        pub rmx_locks: u64,
        pub rmx_mtu: u64,
        pub rmx_hopcount: u64,
        pub rmx_recvpipe: u64,
        pub rmx_sendpipe: u64,
        pub rmx_ssthresh: u64,
        pub rmx_rtt: u64,
        pub rmx_rttvar: u64,
        pub rmx_expire: i64,
        pub rmx_pksent: i64,
    }

    /// The header of a message about a route; addresses follow, each padded to 8 bytes.
    pub struct RtMsghdr {
        pub rtm_msglen: u16,
        pub rtm_version: u8,
        pub rtm_type: u8,
        pub rtm_index: u16,
        pub pad0: u16,
        pub rtm_flags: i32,
        pub rtm_addrs: i32,
        pub rtm_pid: i32,
        pub rtm_seq: i32,
        pub rtm_errno: i32,
        pub rtm_use: i32,
        pub rtm_inits: i32,
        pub pad1: u32,
        pub rtm_rmx: RtMetrics,
    }

    /// Counters of an interface.
    pub struct IfData {
        pub ifi_type: u8,
        pub ifi_addrlen: u8,
        pub ifi_hdrlen: u8,
        pub pad0: u8,
        pub ifi_link_state: i32,
        pub ifi_mtu: u64,
        pub ifi_metric: u64,
        pub ifi_baudrate: u64,
        pub ifi_ipackets: u64,
        pub ifi_ierrors: u64,
        pub ifi_opackets: u64,
        pub ifi_oerrors: u64,
        pub ifi_collisions: u64,
        pub ifi_ibytes: u64,
        pub ifi_obytes: u64,
        pub ifi_imcasts: u64,
        pub ifi_omcasts: u64,
        pub ifi_iqdrops: u64,
        pub ifi_noproto: u64,
        pub ifi_lastchange: Timeval,
    }

    /// The header of a message about an interface.
    pub struct IfMsghdr {
        pub ifm_msglen: u16,
        pub ifm_version: u8,
        pub ifm_type: u8,
        pub ifm_addrs: i32,
        pub ifm_flags: i32,
        pub ifm_index: u16,
        pub pad0: u16,
        pub ifm_data: IfData,
    }

    /// The header of a message about an interface's address.
    pub struct IfaMsghdr {
        pub ifam_msglen: u16,
        pub ifam_version: u8,
        pub ifam_type: u8,
        pub ifam_addrs: i32,
        pub ifam_flags: i32,
        pub ifam_metric: i32,
        pub ifam_index: u16,
        pub pad0: [u16; 3],
    }

    /// A message about an interface that came or went.
    pub struct IfAnnouncemsghdr {
        pub ifan_msglen: u16,
        pub ifan_version: u8,
        pub ifan_type: u8,
        pub ifan_index: u16,
        pub ifan_name: [u8; 16],
        pub ifan_what: u16,
    }
}

/// Returns the room that an address with length byte `sa_len` takes in a message.
pub const fn rt_roundup(sa_len: usize) -> usize {
    if sa_len == 0 { 8 } else { sa_len.next_multiple_of(8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_takes_room() {
        assert_eq!((rt_roundup(0), rt_roundup(16), rt_roundup(20)), (8, 16, 24));
    }
}
