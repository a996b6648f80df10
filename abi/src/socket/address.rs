//! Socket addresses: NetBSD's begin with a length byte and a family byte, Linux's with a 16-bit family.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use smallvec::SmallVec;

use super::{AF_INET, AF_INET6, AF_LOCAL, AF_MAX, AF_UNSPEC, family_from_linux, family_to_linux};
use crate::pairs::plain;
use crate::{Errno, Result};

/// An address in one of the layouts: few are so long that they ask for memory.
pub type AddressBytes = SmallVec<[u8; 128]>;

plain! {
    /// Room for any address (struct sockaddr_storage).
    pub struct SockaddrStorage {
        pub ss_len: u8,
        pub ss_family: u8,
        pub data: [u8; 126],
    }

    /// An IPv4 address and port, both in network order (struct sockaddr_in).
    pub struct SockaddrIn {
        pub sin_len: u8,
        pub sin_family: u8,
        pub sin_port: [u8; 2],
        pub sin_addr: [u8; 4],
        pub sin_zero: [u8; 8],
    }

    /// An IPv6 address and port in network order (struct sockaddr_in6).
    pub struct SockaddrIn6 {
        pub sin6_len: u8,
        pub sin6_family: u8,
        pub sin6_port: [u8; 2],
        pub sin6_flowinfo: [u8; 4],
        pub sin6_addr: [u8; 16],
        pub sin6_scope_id: u32,
    }

    /// A local address (struct sockaddr_un).
    pub struct SockaddrUn {
        pub sun_len: u8,
        pub sun_family: u8,
        pub sun_path: [u8; 104],
    }

    /// A link-layer address (struct sockaddr_dl).
    pub struct SockaddrDl {
        pub sdl_len: u8,
        pub sdl_family: u8,
        pub sdl_index: u16,
        pub sdl_type: u8,
        pub sdl_nlen: u8,
        pub sdl_alen: u8,
        pub sdl_slen: u8,
        pub sdl_data: [u8; 12],
    }
}

/// The longest address.
pub const SOCK_MAXADDRLEN: usize = 255;
/// The longest path of a local address on NetBSD.
pub const SUN_PATH_LEN: usize = 104;
/// Bytes in front of an address's data, on both systems.
const HEADER: usize = 2;
/// Length of an IPv6 address without its scope, which Linux accepts (RFC 2133).
const INET6_MIN: usize = 24;

/// A socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sockaddr {
    /// No address (`AF_UNSPEC`): connect(2) to it dissolves a datagram socket's association.
    Unspec,
    /// IPv4.
    Inet {
        /// The address in network order.
        addr: [u8; 4],
        /// The port in host order.
        port: u16,
    },
    /// IPv6.
    Inet6 {
        /// The address in network order.
        addr: [u8; 16],
        /// The port in host order.
        port: u16,
        /// The flow label and class in host order.
        flowinfo: u32,
        /// The zone of a link-local address: an interface index.
        scope_id: u32,
    },
    /// A path, without NUL at the end; empty for an unbound socket. A path that begins with a NUL is Linux's
    /// abstract name, which only our server knows.
    Local(Vec<u8>),
    /// Another family.
    Other {
        /// The family, NetBSD's number.
        family: u8,
        /// The bytes behind length and family.
        data: Vec<u8>,
    },
}

impl Sockaddr {
    /// The IPv4 address 0.0.0.0, port 0.
    pub const INET_ANY: Sockaddr = Sockaddr::Inet { addr: [0; 4], port: 0 };
    /// The IPv6 address ::, port 0.
    pub const INET6_ANY: Sockaddr = Sockaddr::Inet6 { addr: [0; 16], port: 0, flowinfo: 0, scope_id: 0 };

    /// The family, NetBSD's number.
    pub fn family(&self) -> i32 {
        match self {
            Sockaddr::Unspec => AF_UNSPEC,
            Sockaddr::Inet { .. } => AF_INET,
            Sockaddr::Inet6 { .. } => AF_INET6,
            Sockaddr::Local(_) => AF_LOCAL,
            Sockaddr::Other { family, .. } => i32::from(*family),
        }
    }

    /// Reads an address in NetBSD's layout, whose length is that of `bytes`: the length byte counts for nothing, except that
    /// with family 0 it is the family (so an address that begins with a little-endian 16-bit family works).
    /// `EINVAL` when it is too short for its family or longer than 255 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (&[len, family], data) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
        if bytes.len() > SOCK_MAXADDRLEN {
            return Err(Errno::EINVAL);
        }
        let family = if family == 0 && i32::from(len) < AF_MAX { len } else { family };
        Self::of_family(family, data)
    }

    /// Reads an address in Linux's layout. `EINVAL` when it is too short for its family, `EAFNOSUPPORT` for a family
    /// that NetBSD lacks.
    pub fn from_linux(bytes: &[u8]) -> Result<Self> {
        let (family, data) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
        if bytes.len() > size_of::<SockaddrStorage>() {
            return Err(Errno::EINVAL);
        }
        let family = family_from_linux(i32::from(u16::from_ne_bytes(*family))).ok_or(Errno::EAFNOSUPPORT)?;
        Self::of_family(family as u8, data)
    }

    /// Reads what stands behind the first two bytes, which is the same on both systems.
    fn of_family(family: u8, data: &[u8]) -> Result<Self> {
        match i32::from(family) {
            AF_UNSPEC => Ok(Sockaddr::Unspec),
            AF_INET => Self::parse_inet(data).ok_or(Errno::EINVAL),
            AF_INET6 => Self::parse_inet6(data).ok_or(Errno::EINVAL),
            AF_LOCAL => Ok(Sockaddr::Local(local_path(data).to_vec())),
            _ => Ok(Sockaddr::Other { family, data: data.to_vec() }),
        }
    }

    fn parse_inet(data: &[u8]) -> Option<Self> {
        let data: &[u8; size_of::<SockaddrIn>() - HEADER] = data.first_chunk()?;
        let (port, data) = data.split_first_chunk()?;
        Some(Sockaddr::Inet { addr: *data.first_chunk()?, port: u16::from_be_bytes(*port) })
    }

    fn parse_inet6(data: &[u8]) -> Option<Self> {
        if data.len() < INET6_MIN - HEADER {
            return None;
        }
        let (port, data) = data.split_first_chunk()?;
        let (flowinfo, data) = data.split_first_chunk()?;
        let (addr, data) = data.split_first_chunk()?;
        Some(Sockaddr::Inet6 {
            addr: *addr,
            port: u16::from_be_bytes(*port),
            flowinfo: u32::from_be_bytes(*flowinfo),
            scope_id: data.first_chunk().map_or(0, |scope| u32::from_ne_bytes(*scope)),
        })
    }

    /// Makes NetBSD's layout, with length and family bytes. A path ends with a NUL that the length counts; an unbound
    /// local socket's address is `02 01`. No address is all zeros, its length byte too: a kernel would take it for the family.
    pub fn encode(&self) -> AddressBytes {
        let mut bytes = AddressBytes::from_slice(&[0, self.family() as u8]);
        self.write_data(&mut bytes);
        if *self == Sockaddr::Unspec {
            return bytes;
        }
        bytes.truncate(SOCK_MAXADDRLEN);
        let length = bytes.len() as u8;
        if let Some(first) = bytes.first_mut() {
            *first = length;
        }
        bytes
    }

    /// Makes Linux's layout. A family that Linux lacks is shown as `AF_UNSPEC`.
    pub fn to_linux(&self) -> AddressBytes {
        let family = family_to_linux(self.family()).unwrap_or_default() as u16;
        let mut bytes = AddressBytes::from_slice(&family.to_ne_bytes());
        self.write_data(&mut bytes);
        bytes
    }

    /// Appends what stands behind the first two bytes.
    fn write_data(&self, bytes: &mut AddressBytes) {
        match self {
            Sockaddr::Unspec => bytes.resize(size_of::<SockaddrIn>(), 0),
            Sockaddr::Inet { addr, port } => {
                bytes.extend_from_slice(&port.to_be_bytes());
                bytes.extend_from_slice(addr);
                bytes.resize(size_of::<SockaddrIn>(), 0);
            }
            Sockaddr::Inet6 { addr, port, flowinfo, scope_id } => {
                bytes.extend_from_slice(&port.to_be_bytes());
                bytes.extend_from_slice(&flowinfo.to_be_bytes());
                bytes.extend_from_slice(addr);
                bytes.extend_from_slice(&scope_id.to_ne_bytes());
            }
            Sockaddr::Local(path) => {
                bytes.extend_from_slice(path);
                if path.first().is_some_and(|byte| *byte != 0) {
                    bytes.push(0);
                }
            }
            Sockaddr::Other { data, .. } => bytes.extend_from_slice(data),
        }
    }

    /// The address and port, if it is one of the Internet.
    pub fn to_socket_addr(&self) -> Option<SocketAddr> {
        match *self {
            Sockaddr::Inet { addr, port } => Some(SocketAddr::from((addr, port))),
            Sockaddr::Inet6 { addr, port, flowinfo, scope_id } => {
                Some(SocketAddr::V6(SocketAddrV6::new(addr.into(), port, flowinfo, scope_id)))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Sockaddr {
    fn from(address: SocketAddr) -> Self {
        match (address.ip(), address) {
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
                Sockaddr::Inet6 { addr: ip.octets(), port: v6.port(), flowinfo: v6.flowinfo(), scope_id: v6.scope_id() }
            }
            (IpAddr::V6(ip), _) => {
                Sockaddr::Inet6 { addr: ip.octets(), port: address.port(), flowinfo: 0, scope_id: 0 }
            }
            (IpAddr::V4(ip), _) => Sockaddr::Inet { addr: ip.octets(), port: address.port() },
        }
    }
}

/// Cuts a path at its NUL; an abstract name, which begins with one, is kept whole.
fn local_path(data: &[u8]) -> &[u8] {
    match data.iter().position(|&byte| byte == 0) {
        Some(0) if data.iter().any(|&byte| byte != 0) => data,
        Some(end) => data.get(..end).unwrap_or_default(),
        None => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_in_both_layouts() {
        let address = Sockaddr::Inet { addr: [10, 0, 0, 1], port: 80 };
        assert_eq!(address.encode()[..], [16, 2, 0, 80, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(address.to_linux()[..8], [2, 0, 0, 80, 10, 0, 0, 1]);
        assert_eq!(Sockaddr::parse(&address.encode()), Ok(address.clone()));
        assert_eq!(Sockaddr::from_linux(&address.to_linux()), Ok(address));
    }

    #[test]
    fn a_linux_family_word_is_understood_by_the_kernel() {
        let linux = Sockaddr::Inet { addr: [1, 2, 3, 4], port: 7 }.to_linux();
        assert_eq!(Sockaddr::parse(&linux), Ok(Sockaddr::Inet { addr: [1, 2, 3, 4], port: 7 }));
    }

    #[test]
    fn ipv6_has_another_family_number() {
        let address = Sockaddr::Inet6 { addr: [9; 16], port: 0x1234, flowinfo: 5, scope_id: 3 };
        assert_eq!(address.encode()[..4], [28, 24, 0x12, 0x34]);
        assert_eq!(address.to_linux()[..4], [10, 0, 0x12, 0x34]);
        assert_eq!(Sockaddr::parse(&address.encode()), Ok(address.clone()));
        assert_eq!(Sockaddr::from_linux(&address.to_linux()), Ok(address));
    }

    #[test]
    fn a_local_path_ends_at_its_nul() {
        let address = Sockaddr::Local(b"/tmp/s".to_vec());
        assert_eq!(&address.encode()[..], b"\x09\x01/tmp/s\0");
        assert_eq!(Sockaddr::parse(b"\x6a\x01/tmp/s\0\0\0"), Ok(address.clone()));
        assert_eq!(Sockaddr::parse(b"\x08\x01/tmp/s"), Ok(address.clone()));
        assert_eq!(Sockaddr::from_linux(b"\x01\x00/tmp/s\0junk"), Ok(address));
    }

    #[test]
    fn an_unbound_local_socket_has_two_bytes() {
        assert_eq!(Sockaddr::Local(Vec::new()).encode()[..], [2, 1]);
        assert_eq!(Sockaddr::parse(&[2, 1]), Ok(Sockaddr::Local(Vec::new())));
    }

    #[test]
    fn no_address_is_not_mistaken_for_a_family_word() {
        let bytes = Sockaddr::Unspec.encode();
        assert_eq!(bytes[..], [0; 16]);
        assert_eq!(Sockaddr::parse(&bytes), Ok(Sockaddr::Unspec));
        assert_eq!(Sockaddr::from_linux(&[0, 0]), Ok(Sockaddr::Unspec));
    }

    #[test]
    fn an_abstract_name_is_kept_whole() {
        let name = Sockaddr::Local(b"\0name".to_vec());
        assert_eq!(Sockaddr::from_linux(&name.to_linux()), Ok(name.clone()));
        assert_eq!(Sockaddr::parse(&name.encode()), Ok(name));
    }

    #[test]
    fn short_and_long_addresses_are_refused() {
        assert_eq!(Sockaddr::parse(&[2]), Err(Errno::EINVAL));
        assert_eq!(Sockaddr::parse(&[8, 2, 0, 80, 1, 2, 3, 4]), Err(Errno::EINVAL));
        assert_eq!(Sockaddr::parse(&[1; 256]), Err(Errno::EINVAL));
        assert_eq!(Sockaddr::from_linux(&[38, 0, 0, 0]), Err(Errno::EAFNOSUPPORT));
    }
}
