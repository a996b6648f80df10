//! Structures and flags of the interface commands (netintro(4)).

use linux_raw_sys::net as host;

use crate::pairs::{pairs, plain};
use crate::route::IfData;
use crate::socket::{SockaddrIn, SockaddrIn6};

/// The longest interface name, with its NUL.
pub const IFNAMSIZ: usize = 16;

plain! {
    /// A request about an interface: its name and a union; Linux's union has 24 bytes.
    pub struct Ifreq {
        pub ifr_name: [u8; 16],
        /// The union: an address, or a number in its first bytes.
        pub ifr_ifru: [u8; 128],
    }

    /// A request for all addresses, the same layout on both.
    pub struct Ifconf {
        pub ifc_len: i32,
        pub pad0: u32,
        pub ifc_buf: u64,
    }

    /// A request to add an IPv4 address (`SIOCAIFADDR`).
    pub struct Ifaliasreq {
        pub ifra_name: [u8; 16],
        pub ifra_addr: SockaddrIn,
        pub ifra_dstaddr: SockaddrIn,
        pub ifra_mask: SockaddrIn,
    }

    /// A request about an interface's IPv6 address.
    pub struct In6Ifreq {
        pub ifr_name: [u8; 16],
        pub ifr_ifru: [u8; 272],
    }

    /// How long an IPv6 address lives.
    pub struct In6Addrlifetime {
        pub ia6t_expire: i64,
        pub ia6t_preferred: i64,
        pub ia6t_vltime: u32,
        pub ia6t_pltime: u32,
    }

    /// A request to add an IPv6 address (`SIOCAIFADDR_IN6`).
    pub struct In6Aliasreq {
        pub ifra_name: [u8; 16],
        pub ifra_addr: SockaddrIn6,
        pub ifra_dstaddr: SockaddrIn6,
        pub ifra_prefixmask: SockaddrIn6,
        pub ifra_flags: i32,
        pub ifra_lifetime: In6Addrlifetime,
    }

    /// A command for an interface's driver.
    pub struct Ifdrv {
        pub ifd_name: [u8; 16],
        pub ifd_cmd: u64,
        pub ifd_len: u64,
        pub ifd_data: u64,
    }

    /// What an interface can do, and does.
    pub struct Ifcapreq {
        pub ifcr_name: [u8; 16],
        pub ifcr_capabilities: u64,
        pub ifcr_capenable: u64,
    }

    /// A request for the kinds of interfaces that can be made.
    pub struct IfClonereq {
        pub ifcr_total: i32,
        pub ifcr_count: i32,
        pub ifcr_buffer: u64,
    }

    /// A request for an interface's counters.
    pub struct Ifdatareq {
        pub ifdr_name: [u8; 16],
        pub ifdr_data: IfData,
    }

    /// A request for an interface's media.
    pub struct Ifmediareq {
        pub ifm_name: [u8; 16],
        pub ifm_current: i32,
        pub ifm_mask: i32,
        pub ifm_status: i32,
        pub ifm_active: i32,
        pub ifm_count: i32,
        pub pad0: u32,
        pub ifm_ulist: u64,
    }
}

impl Ifreq {
    /// The interface's name, up to its NUL.
    pub fn name(&self) -> &[u8] {
        crate::stat::until_nul(&self.ifr_name)
    }

    /// The union as a number.
    pub fn value(&self) -> i32 {
        self.ifr_ifru.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
    }

    /// Stores a number in the union.
    pub fn set_value(&mut self, value: i32) {
        self.set_bytes(&value.to_ne_bytes());
    }

    /// The union as interface flags.
    pub fn flags(&self) -> i32 {
        self.value() & 0xffff
    }

    /// Stores interface flags (2 bytes) in the union.
    pub fn set_flags(&mut self, flags: i32) {
        self.set_bytes(&(flags as u16).to_ne_bytes());
    }

    /// Stores bytes, for instance an address, at the start of the union.
    pub fn set_bytes(&mut self, bytes: &[u8]) {
        self.ifr_ifru.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }
}

pairs! {
    /// The flags of an interface.
    INTERFACE_FLAGS: i32 {
        IFF_UP 0x1 => host::net_device_flags::IFF_UP;
        IFF_BROADCAST 0x2 => host::net_device_flags::IFF_BROADCAST;
        IFF_DEBUG 0x4 => host::net_device_flags::IFF_DEBUG;
        IFF_LOOPBACK 0x8 => host::net_device_flags::IFF_LOOPBACK;
        IFF_POINTOPOINT 0x10 => host::net_device_flags::IFF_POINTOPOINT;
        IFF_NOTRAILERS 0x20 => host::net_device_flags::IFF_NOTRAILERS;
        IFF_RUNNING 0x40 => host::net_device_flags::IFF_RUNNING;
        IFF_NOARP 0x80 => host::net_device_flags::IFF_NOARP;
        IFF_PROMISC 0x100 => host::net_device_flags::IFF_PROMISC;
        IFF_ALLMULTI 0x200 => host::net_device_flags::IFF_ALLMULTI;
        IFF_OACTIVE 0x400;
        IFF_SIMPLEX 0x800;
        IFF_LINK0 0x1000;
        IFF_LINK1 0x2000;
        IFF_LINK2 0x4000;
        IFF_MULTICAST 0x8000 => host::net_device_flags::IFF_MULTICAST;
    }
}

/// The flags that a program cannot change.
pub const IFF_CANTCHANGE: i32 = 0x8f52;

/// `ifi_type` of an interface that is nothing special.
pub const IFT_OTHER: u8 = 1;
/// `ifi_type` of Ethernet.
pub const IFT_ETHER: u8 = 6;
/// `ifi_type` of the loopback.
pub const IFT_LOOP: u8 = 24;
/// `ifi_type` of a tunnel.
pub const IFT_TUNNEL: u8 = 131;
/// `ifi_type` of a bridge.
pub const IFT_BRIDGE: u8 = 209;

/// Nothing is known about the link.
pub const LINK_STATE_UNKNOWN: i32 = 0;
/// The link is down.
pub const LINK_STATE_DOWN: i32 = 1;
/// The link is up.
pub const LINK_STATE_UP: i32 = 2;

/// Flag of an IPv6 address: an anycast address.
pub const IN6_IFF_ANYCAST: i32 = 0x1;
/// Flag of an IPv6 address: not yet known to be unique.
pub const IN6_IFF_TENTATIVE: i32 = 0x2;
/// Flag of an IPv6 address: another host has it.
pub const IN6_IFF_DUPLICATED: i32 = 0x4;
/// Flag of an IPv6 address: its router is gone.
pub const IN6_IFF_DETACHED: i32 = 0x8;
/// Flag of an IPv6 address: no longer used for new connections.
pub const IN6_IFF_DEPRECATED: i32 = 0x10;
/// Flag of an IPv6 address: not checked for being unique.
pub const IN6_IFF_NODAD: i32 = 0x20;
/// Flag of an IPv6 address: made of a router's advertisement.
pub const IN6_IFF_AUTOCONF: i32 = 0x40;
/// Flag of an IPv6 address: made for privacy.
pub const IN6_IFF_TEMPORARY: i32 = 0x80;
/// Lifetime of an IPv6 address that does not end.
pub const ND6_INFINITE_LIFETIME: u32 = u32::MAX;
