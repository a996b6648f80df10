//! Addresses of sockets: between `sockaddr` and what the stack counts with.

use abi::socket::Sockaddr;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6; without `v6only` it also speaks IPv4, by mapped addresses.
    V6 {
        /// `IPV6_V6ONLY`.
        v6only: bool,
    },
}

impl Family {
    /// Whether the family can speak the version of `addr`.
    pub fn speaks(self, addr: &IpAddress) -> bool {
        match (self, addr) {
            (Self::V4, IpAddress::Ipv4(_)) | (Self::V6 { .. }, IpAddress::Ipv6(_)) => true,
            (Self::V6 { v6only }, IpAddress::Ipv4(_)) => !v6only,
            (Self::V4, IpAddress::Ipv6(_)) => false,
        }
    }

    /// Returns address and port of `addr`; `EAFNOSUPPORT` for one of another family.
    pub fn endpoint(self, addr: &Sockaddr) -> Result<IpEndpoint> {
        match (self, addr) {
            (Self::V4, Sockaddr::Inet { addr, port }) => Ok(IpEndpoint::new(Ipv4Address::from(*addr).into(), *port)),
            (Self::V6 { v6only }, Sockaddr::Inet6 { addr, port, .. }) => {
                let addr = Ipv6Address::from(*addr);
                match addr.to_ipv4_mapped() {
                    Some(_) if v6only => Err(Errno::ENETUNREACH),
                    Some(v4) => Ok(IpEndpoint::new(v4.into(), *port)),
                    None => Ok(IpEndpoint::new(addr.into(), *port)),
                }
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// Returns the `sockaddr` of an endpoint as a socket of this family shows it.
    pub fn sockaddr(self, endpoint: IpEndpoint) -> Sockaddr {
        let port = endpoint.port;
        match (self, endpoint.addr) {
            (Self::V4, IpAddress::Ipv4(v4)) => Sockaddr::Inet { addr: v4.octets(), port },
            (_, addr) => {
                let (addr, link_local) = match addr {
                    IpAddress::Ipv4(v4) => (v4.to_ipv6_mapped(), false),
                    IpAddress::Ipv6(v6) => (v6, v6.is_unicast_link_local()),
                };
                Sockaddr::Inet6 { addr: addr.octets(), port, flowinfo: 0, scope_id: u32::from(link_local) }
            }
        }
    }

    /// The same for a socket that speaks through the interface of a number: an address that means something there only is shown with it.
    pub fn sockaddr_on(self, endpoint: IpEndpoint, device: Option<u32>) -> Sockaddr {
        let mut addr = self.sockaddr(endpoint);
        if let (Sockaddr::Inet6 { scope_id: scope_id @ 1.., .. }, Some(device)) = (&mut addr, device) {
            *scope_id = device;
        }
        addr
    }

    /// Returns the wildcard address.
    pub fn any(self) -> IpAddress {
        match self {
            Self::V4 => Ipv4Address::UNSPECIFIED.into(),
            Self::V6 { .. } => Ipv6Address::UNSPECIFIED.into(),
        }
    }
}

/// Takes note of the interface on which an address means something, as if it had been set by `SO_BINDTODEVICE` (`device`), as on Linux; for a
/// group it may also be the one that groups are sent to by (`IPV6_MULTICAST_IF`).
///
/// `EINVAL` if none is known, or the socket is bound to another one.
pub fn scope(addr: &Sockaddr, device: &mut Option<u32>, by_group: Option<u32>) -> Result<()> {
    let Sockaddr::Inet6 { addr, scope_id, .. } = addr else { return Ok(()) };
    if !is_of_a_link(addr) {
        return Ok(());
    }
    let given = Some(*scope_id).filter(|scope| *scope != 0);
    if given.is_some_and(|given| device.is_some_and(|device| device != given)) {
        return Err(Errno::EINVAL);
    }
    let by_group = by_group.filter(|_| addr[0] == 0xff);
    *device = Some(device.or(given).or(by_group).ok_or(Errno::EINVAL)?);
    Ok(())
}

/// Whether an address of IPv6 means something on one link only.
pub fn is_of_a_link(addr: &[u8; 16]) -> bool {
    let addr = Ipv6Address::from(*addr);
    addr.is_unicast_link_local() || matches!(addr.segments()[0] & 0xff0f, 0xff01 | 0xff02)
}

/// What a socket is bound to; without an address to every one that its family speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Family of the socket.
    pub family: Family,
    /// The address, `None` for all.
    pub addr: Option<IpAddress>,
    /// The port.
    pub port: u16,
}

impl Binding {
    /// Whether packets to `addr` come to this binding.
    pub fn covers(&self, addr: &IpAddress) -> bool {
        self.addr.map_or_else(|| self.family.speaks(addr), |own| own == *addr)
    }

    /// Returns the address that packets from here bear: one that is not a group's.
    pub fn source(&self) -> Option<IpAddress> {
        self.addr.filter(|addr| !addr.is_multicast() && !addr.is_broadcast())
    }

    /// Whether some packet could come to either.
    pub fn overlaps(&self, other: &Binding) -> bool {
        match (&self.addr, &other.addr) {
            (_, Some(addr)) => self.covers(addr),
            (Some(addr), None) => other.covers(addr),
            (None, None) => {
                let both = |addr: IpAddress| self.family.speaks(&addr) && other.family.speaks(&addr);
                both(Ipv4Address::UNSPECIFIED.into()) || both(Ipv6Address::UNSPECIFIED.into())
            }
        }
    }

    /// Returns address and port, as getsockname(2) shows them.
    pub fn endpoint(&self) -> IpEndpoint {
        IpEndpoint::new(self.addr.unwrap_or(self.family.any()), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dual_stack_wildcard_overlaps_ipv4() {
        let of = |family, addr| Binding { family, addr, port: 80 };
        let dual = of(Family::V6 { v6only: false }, None);
        let only = of(Family::V6 { v6only: true }, None);
        let four = of(Family::V4, None);
        let lo = of(Family::V4, Some(IpAddress::v4(127, 0, 0, 1)));
        assert!(dual.overlaps(&four) && dual.overlaps(&lo) && lo.overlaps(&dual));
        assert!(!only.overlaps(&four) && !only.overlaps(&lo) && !lo.overlaps(&only));
    }

    #[test]
    fn a_mapped_address_is_ipv4_inside_and_ipv6_outside() {
        let family = Family::V6 { v6only: false };
        let addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
        let outside = Sockaddr::Inet6 { addr, port: 7, flowinfo: 0, scope_id: 0 };
        let inside = family.endpoint(&outside).unwrap();
        assert_eq!(inside, IpEndpoint::new(IpAddress::v4(127, 0, 0, 1), 7));
        assert_eq!(family.sockaddr(inside), outside);
    }
}
