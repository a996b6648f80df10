//! The lists of `net.route.rtable` (sysctl(7)): routes, neighbours, interfaces and their addresses, in the messages of route(4).

use abi::route::*;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr};

use super::super::stack::Base;
use super::{message, request};

/// Lists what `rest` names: a family or 0, `NET_RT_DUMP`, `NET_RT_FLAGS` or `NET_RT_IFLIST`, and an argument: flags that the routes must
/// have one of, or the number of an interface. `EINVAL` for a name of another length or another list.
pub fn table(base: &Base, rest: &[i32]) -> Result<Vec<u8>> {
    let &[family, list, argument] = rest else { return Err(Errno::EINVAL) };
    let wanted = |addr: &IpAddress| family == 0 || family == message::family(addr);
    match list {
        NET_RT_DUMP => Ok(routes(base, wanted, 0)),
        NET_RT_FLAGS if argument & RTF_LLDATA != 0 => Ok(neighbours(base, wanted)),
        NET_RT_FLAGS => Ok(routes(base, wanted, argument)),
        NET_RT_IFLIST => Ok(interfaces(base, wanted, argument)),
        _ => Err(Errno::EINVAL),
    }
}

/// The routes, those to the addresses of this host first; with one of the flags, if any are given.
fn routes(base: &Base, wanted: impl Fn(&IpAddress) -> bool, with: i32) -> Vec<u8> {
    let own = base.links.iter().flat_map(|link| link.addrs.iter().map(IpCidr::address)).map(|addr| {
        let route = request::local_route(&addr);
        (route, message::flags(&route) | RTF_LOCAL)
    });
    let all = own.chain(base.routes.all().iter().map(|route| (*route, message::flags(route))));
    let mut list = Vec::new();
    for (route, flags) in all.filter(|(route, flags)| wanted(&route.to.address()) && (with == 0 || flags & with != 0)) {
        let Some(link) = base.links.get(route.link) else { continue };
        let header = RtMsghdr {
            rtm_type: RTM_GET,
            rtm_index: link.index as u16,
            rtm_flags: flags,
            rtm_rmx: request::metrics(base, &route),
            ..RtMsghdr::default()
        };
        list.extend(message::about_route(header, &message::addresses(link, &route)));
    }
    list
}

fn neighbours(base: &Base, wanted: impl Fn(&IpAddress) -> bool) -> Vec<u8> {
    let there = base.neighbours.all().filter(|((at, addr), _)| wanted(addr) && base.links.get(*at).is_some());
    let mut all: Vec<_> = there.collect();
    all.sort_by_key(|(key, _)| **key);
    let header = RtMsghdr { rtm_type: RTM_GET, ..RtMsghdr::default() };
    all.into_iter().flat_map(|(key, neighbour)| request::about_neighbour(base, header, *key, neighbour)).collect()
}

/// The interfaces, or the one of a number, each with its addresses.
fn interfaces(base: &Base, wanted: impl Fn(&IpAddress) -> bool, index: i32) -> Vec<u8> {
    let mut list = Vec::new();
    for link in base.links.iter().filter(|link| index == 0 || link.index as i32 == index) {
        list.extend(message::about_link(link));
        for cidr in link.addrs.iter().filter(|cidr| wanted(&cidr.address())) {
            list.extend(message::about_address(RTM_NEWADDR, link, cidr));
        }
    }
    list
}
