//! ioctl(2) on sockets: queue lengths, and what there is to know about interfaces.

mod change;

use std::sync::Arc;

use abi::ioctl::*;
use abi::socket::{AF_INET, AF_LINK, Sockaddr};
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr};
use zerocopy::{FromBytes, IntoBytes};

use super::link::Link;
use super::stack::Inet;
use crate::Cx;

/// Length of `struct ifreq`.
const IFREQ: usize = 144;
/// Where its union begins.
const UNION: usize = 16;

/// How full a socket's queues are.
pub struct Fill<F> {
    /// Bytes that can be read.
    pub readable: F,
    /// Bytes that are written and not gone.
    pub unsent: usize,
    /// Room for more.
    pub room: usize,
    /// Whether the urgent byte comes next; `None` for a socket that knows no urgent data.
    pub at_mark: Option<bool>,
}

/// Serves an ioctl of any socket.
pub fn socket(
    cx: &Cx<'_>,
    inet: &Arc<Inet>,
    command: u64,
    data: &mut [u8],
    fill: Fill<impl FnOnce() -> Result<usize>>,
) -> Result<()> {
    let value = match command {
        FIONREAD => (fill.readable)()?,
        FIONWRITE => fill.unsent,
        FIONSPACE => fill.room,
        SIOCATMARK => usize::from(fill.at_mark.ok_or(Errno::ENOTTY)?),
        SIOCGIFCONF => return list(cx, inet, data),
        _ if change::is_change(command) => return change::change(cx, inet, command, data),
        _ => return interface(inet, command, data),
    };
    put(data, 0, &i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes());
    Ok(())
}

/// Lists one `ifreq` per address of each interface, a link-layer one first.
fn list(cx: &Cx<'_>, inet: &Inet, data: &mut [u8]) -> Result<()> {
    let mut conf = Ifconf::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
    let requests = inet.look(|stack| stack.base.links.iter().flat_map(requests).collect::<Vec<u8>>());
    if conf.ifc_buf == 0 {
        conf.ifc_len = requests.len() as i32;
    } else {
        let room = usize::try_from(conf.ifc_len).unwrap_or(0) / IFREQ * IFREQ;
        let bytes = &requests[..requests.len().min(room)];
        cx.mem.store(conf.ifc_buf, bytes)?;
        conf.ifc_len = bytes.len() as i32;
    }
    put(data, 0, conf.as_bytes());
    Ok(())
}

fn requests(link: &Link) -> Vec<u8> {
    let link_layer = link_address(link);
    let tried = link.tentative.iter().map(|tentative| tentative.cidr.address()).chain(link.duplicated.iter().copied());
    let addrs = link.addrs.iter().map(|cidr| cidr.address()).chain(tried).map(|addr| sockaddr(link, addr));
    let mut bytes = Vec::new();
    for addr in std::iter::once(link_layer).chain(addrs) {
        let mut request = vec![0; IFREQ];
        put(&mut request, 0, link.name.as_bytes());
        put(&mut request, UNION, &addr);
        bytes.append(&mut request);
    }
    bytes
}

/// Makes the `sockaddr_dl` of an interface.
pub(super) fn link_address(link: &Link) -> Vec<u8> {
    let name = link.name.as_bytes();
    let kind = if link.device.is_loopback() { IFT_LOOP } else { IFT_ETHER };
    let index = (link.index as u16).to_le_bytes();
    let mac = link.mac().map_or(Vec::new(), |mac| mac.0.to_vec());
    let mut addr = vec![0, AF_LINK as u8, index[0], index[1], kind, name.len() as u8, mac.len() as u8, 0];
    addr.extend_from_slice(name);
    addr.extend_from_slice(&mac);
    addr.resize(addr.len().next_multiple_of(4).max(20), 0);
    addr[0] = addr.len() as u8;
    addr
}

pub(super) fn sockaddr(link: &Link, addr: IpAddress) -> Vec<u8> {
    match addr {
        IpAddress::Ipv4(addr) => Sockaddr::Inet { addr: addr.octets(), port: 0 },
        IpAddress::Ipv6(addr) => {
            let scope_id = if addr.is_unicast_link_local() { link.index } else { 0 };
            Sockaddr::Inet6 { addr: addr.octets(), port: 0, flowinfo: 0, scope_id }
        }
    }
    .encode()
    .to_vec()
}

/// IFT_LOOP of if_types(4).
const IFT_LOOP: u8 = 24;
/// IFT_ETHER.
const IFT_ETHER: u8 = 6;

/// Answers a question about the interface that `data` names; `ENXIO` if there is none.
fn interface(inet: &Inet, command: u64, data: &mut [u8]) -> Result<()> {
    if command == SIOCGIFNAME {
        return name_of(inet, data);
    }
    if iocgroup(command) != b'i' && command != SIOCGIFHWADDR || data.len() < IFNAMSIZ {
        return Err(Errno::ENOTTY);
    }
    inet.look(|stack| {
        let name = data[..IFNAMSIZ].split(|byte| *byte == 0).next().unwrap_or_default();
        let link = stack.base.links.iter().find(|link| link.name.as_bytes() == name).ok_or(Errno::ENXIO)?;
        let answer = match command {
            SIOCGIFFLAGS => flags(link).to_le_bytes().to_vec(),
            SIOCGIFMTU => (link.device.mtu() as i32).to_le_bytes().to_vec(),
            SIOCGIFMETRIC => vec![0; 4],
            SIOCGIFINDEX => link.index.to_le_bytes().to_vec(),
            SIOCGIFDATA => data_of(link),
            // An extension, in Linux's layout: the kind of hardware, and its address.
            SIOCGIFHWADDR => {
                let (kind, mac) = match link.mac() {
                    Some(mac) => (ARPHRD_ETHER, mac.0),
                    None => (if link.device.is_loopback() { ARPHRD_LOOPBACK } else { ARPHRD_NONE }, [0; 6]),
                };
                [&kind.to_le_bytes()[..], &mac, &[0; 8]].concat()
            }
            SIOCGIFADDR | SIOCGIFNETMASK | SIOCGIFBRDADDR | SIOCGIFDSTADDR => inet_answer(link, command)?,
            SIOCGIFALIAS => alias(link, data)?,
            SIOCGIFADDR_IN6 => inet6_answer(link, data)?.0,
            SIOCGIFNETMASK_IN6 => inet6_answer(link, data)?.1,
            SIOCGIFAFLAG_IN6 => address_flags(link, data)?.to_le_bytes().to_vec(),
            _ => return Err(Errno::ENOTTY),
        };
        put(data, UNION, &answer);
        Ok(())
    })
}

/// Names the interface whose number the request holds; `ENXIO` if there is none.
fn name_of(inet: &Inet, data: &mut [u8]) -> Result<()> {
    let index = data.get(UNION..).and_then(|data| data.first_chunk()).ok_or(Errno::EINVAL)?;
    let index = u32::from_ne_bytes(*index);
    let name = inet.look(|stack| {
        let link = stack.base.links.iter().find(|link| link.index == index);
        link.map(|link| link.name.clone()).ok_or(Errno::ENXIO)
    })?;
    let mut field = [0; IFNAMSIZ];
    put(&mut field, 0, &name.as_bytes()[..name.len().min(IFNAMSIZ - 1)]);
    put(data, 0, &field);
    Ok(())
}

/// Linux's kind of Ethernet.
const ARPHRD_ETHER: u16 = 1;
/// Linux's kind of a loopback.
const ARPHRD_LOOPBACK: u16 = 772;
/// Linux's kind of what has no hardware address.
const ARPHRD_NONE: u16 = 0xfffe;

/// Returns the interface flags of net/if.h.
pub(super) fn flags(link: &Link) -> u16 {
    let loopback = link.device.is_loopback();
    let kind = if loopback { IFF_LOOPBACK } else { IFF_BROADCAST | IFF_SIMPLEX };
    let up = if link.up { IFF_UP | IFF_RUNNING } else { 0 };
    (up | IFF_MULTICAST | kind) as u16
}

fn inet_answer(link: &Link, command: u64) -> Result<Vec<u8>> {
    let v4 = link.addrs.iter().find_map(|cidr| match cidr {
        IpCidr::Ipv4(cidr) => Some(*cidr),
        IpCidr::Ipv6(_) => None,
    });
    let v4 = v4.ok_or(Errno::EADDRNOTAVAIL)?;
    let addr = match command {
        SIOCGIFADDR => v4.address(),
        SIOCGIFNETMASK => v4.netmask(),
        SIOCGIFBRDADDR if !link.device.is_loopback() => v4.broadcast().ok_or(Errno::EADDRNOTAVAIL)?,
        SIOCGIFBRDADDR => return Err(Errno::EINVAL),
        _ if link.device.is_loopback() => v4.address(),
        _ => return Err(Errno::EINVAL),
    };
    let bytes = Sockaddr::Inet { addr: addr.octets(), port: 0 }.encode();
    debug_assert_eq!(i32::from(bytes[1]), AF_INET);
    Ok(bytes.to_vec())
}

/// Returns address, broadcast address and mask of the IPv4 address that the request holds: what `struct ifaliasreq` has behind the name.
fn alias(link: &Link, data: &[u8]) -> Result<Vec<u8>> {
    let asked = data.get(UNION..UNION + 16).and_then(|bytes| Sockaddr::parse(bytes).ok());
    let Some(Sockaddr::Inet { addr: asked, .. }) = asked else { return Err(Errno::EADDRNOTAVAIL) };
    let found = link.addrs.iter().find_map(|cidr| match cidr {
        IpCidr::Ipv4(cidr) if cidr.address().octets() == asked || asked == [0; 4] => Some(*cidr),
        _ => None,
    });
    let cidr = found.ok_or(Errno::EADDRNOTAVAIL)?;
    let broadcast = cidr.broadcast().filter(|_| !link.device.is_loopback()).map_or([0; 4], |addr| addr.octets());
    let all = [cidr.address().octets(), broadcast, cidr.netmask().octets()];
    Ok(all.into_iter().flat_map(|addr| Sockaddr::Inet { addr, port: 0 }.encode()).collect())
}

/// It is not known yet whether somebody else has the address.
const IN6_IFF_TENTATIVE: i32 = 2;
/// Somebody else has it.
const IN6_IFF_DUPLICATED: i32 = 4;
/// It was made of what a router said.
const IN6_IFF_AUTOCONF: i32 = 0x40;

/// Returns the flags of the IPv6 address that the request holds.
fn address_flags(link: &Link, data: &[u8]) -> Result<i32> {
    let asked = data.get(UNION..UNION + 28).and_then(|bytes| Sockaddr::parse(bytes).ok());
    let Some(Sockaddr::Inet6 { addr, .. }) = asked else { return Err(Errno::EADDRNOTAVAIL) };
    let addr = IpAddress::Ipv6(addr.into());
    let lent = link.lent.iter().any(|lent| lent.0 == addr);
    Ok(match () {
        () if link.tentative.iter().any(|tentative| tentative.cidr.address() == addr) => IN6_IFF_TENTATIVE,
        () if link.duplicated.contains(&addr) => IN6_IFF_DUPLICATED,
        () if lent => IN6_IFF_AUTOCONF,
        () if link.addrs.iter().any(|cidr| cidr.address() == addr) => 0,
        () => return Err(Errno::EADDRNOTAVAIL),
    })
}

/// Returns address and mask of the IPv6 address that the request holds.
fn inet6_answer(link: &Link, data: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let asked = data.get(UNION..UNION + 28).and_then(|bytes| Sockaddr::parse(bytes).ok());
    let Some(Sockaddr::Inet6 { addr: asked, .. }) = asked else { return Err(Errno::EADDRNOTAVAIL) };
    let tried = link.tentative.iter().map(|tentative| &tentative.cidr);
    let found = link.addrs.iter().chain(tried).find_map(|cidr| match cidr {
        IpCidr::Ipv6(cidr) if cidr.address().octets() == asked || asked == [0; 16] => Some(*cidr),
        _ => None,
    });
    let cidr = found.ok_or(Errno::EADDRNOTAVAIL)?;
    let mask = u128::MAX.checked_shl(128 - u32::from(cidr.prefix_len())).unwrap_or(0);
    let mask = Sockaddr::Inet6 { addr: mask.to_be_bytes(), port: 0, flowinfo: 0, scope_id: 0 };
    Ok((sockaddr(link, cidr.address().into()), mask.encode().to_vec()))
}

/// Makes `struct if_data`.
pub(super) fn data_of(link: &Link) -> Vec<u8> {
    let counters = link.device.counters();
    let mut data = vec![0; 136];
    data[0] = if link.device.is_loopback() { IFT_LOOP } else { IFT_ETHER };
    let numbers = [
        (8, link.device.mtu() as u64),
        (104, counters.dropped_in),
        (56, counters.dropped_out),
        (32, counters.packets_in),
        (48, counters.packets_out),
        (72, counters.bytes_in),
        (80, counters.bytes_out),
    ];
    numbers.into_iter().for_each(|(at, value)| put(&mut data, at, &value.to_le_bytes()));
    data
}

/// Stores what fits.
fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    let data = data.get_mut(at..).unwrap_or_default();
    let len = data.len().min(bytes.len());
    data[..len].copy_from_slice(&bytes[..len]);
}
