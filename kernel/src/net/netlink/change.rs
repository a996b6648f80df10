//! Requests that change something: what `ip addr add`, `ip route add`, `ip neigh add` and `ip link set` send.

use abi::netlink::*;
use abi::{Errno, Result};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};

use super::message::Request;
use crate::net::route::{Origin, Via};
use crate::net::stack::Base;

/// Linux's numbers of the address families.
const INET: u8 = 2;
const INET6: u8 = 10;

/// Does what a request wants; `None` if it wants to change nothing that is known. `EPERM` for who may not.
pub fn change(base: &mut Base, request: &Request<'_>, privileged: bool) -> Option<Result<()>> {
    let change: fn(&mut Base, &Request<'_>) -> Result<()> = match request.header.nlmsg_type {
        RTM_NEWADDR | RTM_DELADDR => address,
        RTM_NEWROUTE | RTM_DELROUTE => route,
        RTM_NEWNEIGH | RTM_DELNEIGH => neighbour,
        RTM_NEWLINK | RTM_SETLINK => link,
        _ => return None,
    };
    Some(if privileged { change(base, request) } else { Err(Errno::EPERM) })
}

fn parse(family: u8, bytes: &[u8]) -> Result<IpAddress> {
    match family {
        INET => Ok(Ipv4Address::from(*bytes.first_chunk::<4>().ok_or(Errno::EINVAL)?).into()),
        INET6 => Ok(Ipv6Address::from(*bytes.first_chunk::<16>().ok_or(Errno::EINVAL)?).into()),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// A network; `EINVAL` if the prefix is longer than an address.
fn network(addr: IpAddress, prefix: u8) -> Result<IpCidr> {
    let longest = if matches!(addr, IpAddress::Ipv4(_)) { 32 } else { 128 };
    if prefix > longest { Err(Errno::EINVAL) } else { Ok(IpCidr::new(addr, prefix)) }
}

fn place(base: &Base, index: u32) -> Result<usize> {
    base.link_by_index(index).ok_or(Errno::ENODEV)
}

fn word(bytes: &[u8]) -> Result<u32> {
    bytes.first_chunk().map(|word| u32::from_ne_bytes(*word)).ok_or(Errno::EINVAL)
}

fn address(base: &mut Base, request: &Request<'_>) -> Result<()> {
    let about = request.read::<Ifaddrmsg>();
    let local = request.attribute::<Ifaddrmsg>(IFA_LOCAL).or_else(|| request.attribute::<Ifaddrmsg>(IFA_ADDRESS));
    let addr = parse(about.ifa_family, local.ok_or(Errno::EINVAL)?)?;
    let at = place(base, about.ifa_index)?;
    if request.header.nlmsg_type == RTM_DELADDR {
        return base.remove_address(at, &addr);
    }
    let there = base.links[at].addrs.iter().any(|cidr| cidr.address() == addr);
    if there && request.header.nlmsg_flags & NLM_F_REPLACE == 0 {
        return Err(Errno::EEXIST);
    }
    // An interface that is down stays down, as on Linux.
    let up = base.links[at].up;
    base.add_address(at, network(addr, about.ifa_prefixlen)?)?;
    base.set_up(at, up)
}

fn route(base: &mut Base, request: &Request<'_>) -> Result<()> {
    let about = request.read::<Rtmsg>();
    let of = |kind| request.attribute::<Rtmsg>(kind);
    let everything = [0; 16];
    let to = parse(about.rtm_family, of(RTA_DST).unwrap_or(&everything))?;
    let to = network(to, about.rtm_dst_len)?;
    let gateway = of(RTA_GATEWAY).map(|bytes| parse(about.rtm_family, bytes)).transpose()?;
    let link = of(RTA_OIF).map(word).transpose()?.map(|index| place(base, index)).transpose()?;
    let metric = of(RTA_PRIORITY).map(word).transpose()?;
    let source = of(RTA_PREFSRC).map(|bytes| parse(about.rtm_family, bytes)).transpose()?;
    let via = match (about.rtm_type, gateway) {
        (RTN_BLACKHOLE, _) => Some(Via::Blackhole),
        (RTN_UNREACHABLE | RTN_PROHIBIT, _) => Some(Via::Reject),
        (_, gateway) => gateway.map(Via::Gateway),
    };
    if request.header.nlmsg_type == RTM_DELROUTE {
        let gone = base.routes.remove(&to, |route| {
            via.is_none_or(|via| via == route.via)
                && link.is_none_or(|link| link == route.link)
                && metric.is_none_or(|metric| metric == route.metric)
        });
        return gone.map(drop);
    }
    if !matches!(about.rtm_type, RTN_UNICAST | RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT) {
        return Err(Errno::EOPNOTSUPP);
    }
    if request.header.nlmsg_flags & NLM_F_REPLACE != 0 {
        let _ = base.routes.remove(&to, |route| route.origin == Origin::Static);
    }
    if source.is_some_and(|source| !base.is_ours(&source)) {
        return Err(Errno::EINVAL);
    }
    base.add_route(to, via.unwrap_or(Via::Link), link, metric.unwrap_or(0), source)
}

fn neighbour(base: &mut Base, request: &Request<'_>) -> Result<()> {
    let about = request.read::<Ndmsg>();
    let addr = parse(about.ndm_family, request.attribute::<Ndmsg>(NDA_DST).ok_or(Errno::EINVAL)?)?;
    let at = place(base, about.ndm_ifindex as u32)?;
    if request.header.nlmsg_type == RTM_DELNEIGH {
        return if base.neighbours.remove(&(at, addr)) { Ok(()) } else { Err(Errno::ENOENT) };
    }
    let mac = request.attribute::<Ndmsg>(NDA_LLADDR).and_then(|bytes| bytes.first_chunk::<6>()).ok_or(Errno::EINVAL)?;
    base.set_neighbour(at, addr, EthernetAddress(*mac))
}

fn link(base: &mut Base, request: &Request<'_>) -> Result<()> {
    let about = request.read::<Ifinfomsg>();
    let name = request.attribute::<Ifinfomsg>(IFLA_IFNAME).and_then(|name| name.split(|byte| *byte == 0).next());
    let at = match (about.ifi_index, name) {
        (0, Some(name)) => base.link_by_name(name).ok_or(Errno::ENODEV)?,
        (index, _) => place(base, index as u32)?,
    };
    if let Some(mtu) = request.attribute::<Ifinfomsg>(IFLA_MTU) {
        let mtu = word(mtu)? as usize;
        base.links[at].set_mtu(base.now, mtu)?;
    }
    if about.ifi_change & IFF_UP != 0 || about.ifi_flags & IFF_UP != 0 {
        base.set_up(at, about.ifi_flags & IFF_UP != 0)?;
    }
    Ok(())
}
