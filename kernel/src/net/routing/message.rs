//! The messages of route(4), in NetBSD's layout ([`abi::route`]): a header, and behind it addresses, each padded to 8 bytes.

use abi::route::*;
use abi::socket::{AF_INET, AF_INET6, AF_LINK, Sockaddr};
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr};
use zerocopy::{FromBytes, IntoBytes};

use super::super::ioctl;
use super::super::link::Link;
use super::super::route::{Origin, Route, Via};

/// The addresses of a message, by their places.
#[derive(Default)]
pub struct Addresses([Option<Vec<u8>>; RTAX_MAX]);

impl Addresses {
    /// Puts an address in its place.
    pub fn with(mut self, place: usize, addr: Vec<u8>) -> Self {
        self.0[place] = Some(addr);
        self
    }

    /// Reads the addresses that stand behind a header, by the bits of those that do; `EINVAL` if one is cut off.
    pub fn parse(mut bytes: &[u8], present: i32) -> Result<Self> {
        let mut all = Self::default();
        for (place, addr) in all.0.iter_mut().enumerate() {
            if present & 1 << place == 0 {
                continue;
            }
            let length = usize::from(*bytes.first().ok_or(Errno::EINVAL)?);
            *addr = Some(bytes.get(..length).ok_or(Errno::EINVAL)?.to_vec());
            // The padding of the last may be missing.
            bytes = bytes.get(rt_roundup(length)..).unwrap_or_default();
        }
        Ok(all)
    }

    /// The bytes at a place.
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        self.0.get(place)?.as_deref()
    }

    /// The bits of those that are there.
    fn present(&self) -> i32 {
        self.0.iter().enumerate().filter(|(_, addr)| addr.is_some()).fold(0, |bits, (place, _)| bits | 1 << place)
    }

    fn append(&self, message: &mut Vec<u8>) {
        for addr in self.0.iter().flatten() {
            let end = message.len() + rt_roundup(addr.len());
            message.extend_from_slice(addr);
            message.resize(end, 0);
        }
    }
}

/// Writes the length of a message into its beginning.
fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_ne_bytes();
    message[..2].copy_from_slice(&length);
    message
}

/// Makes a message about a route.
pub fn about_route(header: RtMsghdr, addrs: &Addresses) -> Vec<u8> {
    let header = RtMsghdr { rtm_version: RTM_VERSION, rtm_addrs: addrs.present(), ..header };
    let mut message = header.as_bytes().to_vec();
    addrs.append(&mut message);
    finish(message)
}

/// Makes the message about an interface (`RTM_IFINFO`).
pub fn about_link(link: &Link) -> Vec<u8> {
    let addrs = Addresses::default().with(RTAX_IFP, ioctl::link_address(link));
    let (data, _) = IfData::read_from_prefix(&ioctl::data_of(link)).unwrap_or_default();
    let header = IfMsghdr {
        ifm_version: RTM_VERSION,
        ifm_type: RTM_IFINFO,
        ifm_addrs: addrs.present(),
        ifm_flags: i32::from(ioctl::flags(link)),
        ifm_index: link.index as u16,
        ifm_data: data,
        ..IfMsghdr::default()
    };
    let mut message = header.as_bytes().to_vec();
    addrs.append(&mut message);
    finish(message)
}

/// Makes the message about an address of an interface (`RTM_NEWADDR`, `RTM_DELADDR`).
pub fn about_address(kind: u8, link: &Link, cidr: &IpCidr) -> Vec<u8> {
    let broadcast = match cidr {
        IpCidr::Ipv4(cidr) if !link.device.is_loopback() => cidr.broadcast().map(IpAddress::Ipv4),
        _ => None,
    };
    let own = ioctl::sockaddr(link, cidr.address());
    let addrs = Addresses::default()
        .with(RTAX_NETMASK, mask(cidr))
        .with(RTAX_IFP, ioctl::link_address(link))
        .with(RTAX_BRD, broadcast.map_or_else(|| own.clone(), |addr| ioctl::sockaddr(link, addr)))
        .with(RTAX_IFA, own);
    let header = IfaMsghdr {
        ifam_version: RTM_VERSION,
        ifam_type: kind,
        ifam_addrs: addrs.present(),
        ifam_index: link.index as u16,
        ..IfaMsghdr::default()
    };
    let mut message = header.as_bytes().to_vec();
    addrs.append(&mut message);
    finish(message)
}

/// Makes the message about an interface that came or went (`RTM_IFANNOUNCE`).
pub fn announce(index: u32, name: &str, what: u16) -> Vec<u8> {
    let mut header = IfAnnouncemsghdr {
        ifan_version: RTM_VERSION,
        ifan_type: RTM_IFANNOUNCE,
        ifan_index: index as u16,
        ifan_what: what,
        ..IfAnnouncemsghdr::default()
    };
    let length = name.len().min(header.ifan_name.len() - 1);
    header.ifan_name[..length].copy_from_slice(&name.as_bytes()[..length]);
    finish(header.as_bytes().to_vec())
}

/// The flags of a route.
pub fn flags(route: &Route) -> i32 {
    let how = match route.via {
        Via::Link => 0,
        Via::Gateway(_) => RTF_GATEWAY,
        Via::Reject => RTF_REJECT,
        Via::Blackhole => RTF_BLACKHOLE,
    };
    let whose = match route.origin {
        Origin::Connected => RTF_CONNECTED,
        Origin::Static => RTF_STATIC,
        Origin::Advertised | Origin::Redirected => RTF_DYNAMIC,
    };
    RTF_UP | how | whose | if is_host(&route.to) { RTF_HOST } else { 0 }
}

/// Whether a network is one host.
pub fn is_host(to: &IpCidr) -> bool {
    to.prefix_len() == if matches!(to, IpCidr::Ipv4(_)) { 32 } else { 128 }
}

/// Destination, way and mask of a route that leads through `link`.
pub fn addresses(link: &Link, route: &Route) -> Addresses {
    let v4 = matches!(route.to, IpCidr::Ipv4(_));
    let gateway = match route.via {
        Via::Link => ioctl::link_address(link),
        Via::Gateway(gateway) => ioctl::sockaddr(link, gateway),
        Via::Reject | Via::Blackhole if v4 => ioctl::sockaddr(link, IpAddress::v4(127, 0, 0, 1)),
        Via::Reject | Via::Blackhole => ioctl::sockaddr(link, IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1)),
    };
    let addrs =
        Addresses::default().with(RTAX_DST, ioctl::sockaddr(link, route.to.address())).with(RTAX_GATEWAY, gateway);
    if is_host(&route.to) { addrs } else { addrs.with(RTAX_NETMASK, mask(&route.to)) }
}

/// The mask of a network.
fn mask(to: &IpCidr) -> Vec<u8> {
    let ones = |bits: u32| u128::MAX.checked_shl(bits - u32::from(to.prefix_len())).unwrap_or(0);
    match to {
        IpCidr::Ipv4(_) => Sockaddr::Inet { addr: (ones(32) as u32).to_be_bytes(), port: 0 },
        IpCidr::Ipv6(_) => Sockaddr::Inet6 { addr: ones(128).to_be_bytes(), port: 0, flowinfo: 0, scope_id: 0 },
    }
    .encode()
    .to_vec()
}

/// Reads the address of a host or network, and the interface that it means something on; `EINVAL` for one of another family.
pub fn ip(bytes: &[u8]) -> Result<(IpAddress, Option<u32>)> {
    match Sockaddr::parse(bytes)? {
        Sockaddr::Inet { addr, .. } => Ok((IpAddress::Ipv4(addr.into()), None)),
        Sockaddr::Inet6 { mut addr, scope_id, .. } => {
            // BSD's programs may have put the interface into the address itself.
            let near = addr[0] == 0xfe && addr[1] & 0xc0 == 0x80;
            let inside = u32::from(u16::from_be_bytes([addr[2], addr[3]]));
            if near {
                addr[2..4].fill(0);
            }
            let scope = [scope_id, if near { inside } else { 0 }].into_iter().find(|scope| *scope != 0);
            Ok((IpAddress::Ipv6(addr.into()), scope))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Reads a mask: trailing zeros may be left out, and its family counts for nothing. `EINVAL` for one with holes.
pub fn prefix(bytes: &[u8], v4: bool) -> Result<u8> {
    let (at, length) = if v4 { (4, 4) } else { (8, 16) };
    let mut mask = [0; 16];
    let given = bytes.get(at..).unwrap_or_default();
    let given = &given[..given.len().min(length)];
    mask[..given.len()].copy_from_slice(given);
    let mask = u128::from_be_bytes(mask);
    let ones = mask.leading_ones();
    let holes = mask.checked_shl(ones).unwrap_or(0);
    if holes == 0 { Ok(ones as u8) } else { Err(Errno::EINVAL) }
}

/// What a link-layer address says: the number of the interface, its name, and the hardware address.
pub struct LinkLayer<'a> {
    /// Its number, or 0.
    pub index: u32,
    /// Its name, or nothing.
    pub name: &'a [u8],
    /// Its hardware address, if one of Ethernet is given.
    pub mac: Option<[u8; 6]>,
}

/// Reads a link-layer address; `None` for one of another family.
pub fn link_layer(bytes: &[u8]) -> Option<LinkLayer<'_>> {
    let head = bytes.first_chunk::<8>().filter(|head| i32::from(head[1]) == AF_LINK)?;
    let (names, macs) = (usize::from(head[5]), usize::from(head[6]));
    let name = bytes.get(8..8 + names)?;
    let mac = bytes.get(8 + names..8 + names + macs).and_then(|mac| mac.try_into().ok());
    Some(LinkLayer { index: u32::from(u16::from_ne_bytes([head[2], head[3]])), name, mac })
}

/// NetBSD's number of the family of an address.
pub fn family(addr: &IpAddress) -> i32 {
    if matches!(addr, IpAddress::Ipv4(_)) { AF_INET } else { AF_INET6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_may_be_short_and_has_no_holes() {
        assert_eq!(prefix(&[7, 0, 0, 0, 255, 255, 255], true), Ok(24));
        assert_eq!((prefix(&[0], true), prefix(&[], false)), (Ok(0), Ok(0)));
        assert_eq!(prefix(&[16, 2, 0, 0, 255, 0, 255, 0, 9, 9], true), Err(Errno::EINVAL));
        assert_eq!(prefix(&[16, 2, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0], true), Ok(32));
        let mut mask = vec![28, 24, 0, 0, 0, 0, 0, 0];
        mask.extend([0xff; 16]);
        assert_eq!((prefix(&mask, false), prefix(&mask[..16], false)), (Ok(128), Ok(64)));
    }

    #[test]
    fn addresses_that_are_cut_off_are_refused() {
        let one = [16, 2, 0, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let all = Addresses::parse(&[one, one].concat(), RTA_DST | RTA_GATEWAY).unwrap();
        assert_eq!(
            (all.get(RTAX_DST), all.get(RTAX_GATEWAY), all.get(RTAX_NETMASK)),
            (Some(&one[..]), Some(&one[..]), None)
        );
        assert!(Addresses::parse(&one[..15], RTA_DST).is_err());
        assert!(Addresses::parse(&one, RTA_DST | RTA_NETMASK).is_err());
        let short = [&[7, 0, 0, 0, 255, 255, 255][..], &[0], &one].concat();
        assert_eq!(Addresses::parse(&short, RTA_NETMASK | RTA_IFA).unwrap().get(RTAX_IFA), Some(&one[..]));
    }

    #[test]
    fn a_link_layer_address_names_an_interface() {
        let addr = [20, AF_LINK as u8, 3, 0, 6, 2, 6, 0, b't', b'0', 1, 2, 3, 4, 5, 6, 0, 0, 0, 0];
        let parsed = link_layer(&addr).unwrap();
        assert_eq!((parsed.index, parsed.name, parsed.mac), (3, &b"t0"[..], Some([1, 2, 3, 4, 5, 6])));
        assert!(link_layer(&addr[..9]).is_none() && link_layer(&[16, 2]).is_none());
    }
}
