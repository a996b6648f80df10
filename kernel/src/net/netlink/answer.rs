//! What is answered to a request.

use abi::netlink::*;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address, Ipv6Address};
use zerocopy::IntoBytes;

use super::change;
use super::message::{Request, attribute, begin, finish};
use crate::net::link::Link;
use crate::net::neighbour;
use crate::net::route::{self, Origin, Via};
use crate::net::stack::Base;

/// Linux's numbers of the address families.
const INET: u8 = 2;
const INET6: u8 = 10;
/// The most that one datagram of a list holds, beside a single longer message.
const DATAGRAM: usize = 4096;

/// The datagrams that answer one request, sent to the socket of port id `port`; `privileged` says whether it may change something.
pub fn answer(base: &mut Base, port: u32, request: &Request<'_>, privileged: bool) -> Vec<Vec<u8>> {
    let asked = request.header;
    if asked.nlmsg_flags & NLM_F_REQUEST == 0 || asked.nlmsg_type < RTM_NEWLINK {
        return Vec::new();
    }
    let reply = Reply { seq: asked.nlmsg_seq, port };
    // The questions are every fourth from RTM_GETLINK on; the others want a change, and are never lists.
    let list = asked.nlmsg_type % 4 == RTM_GETLINK % 4 && asked.nlmsg_flags & NLM_F_DUMP == NLM_F_DUMP;
    if let Some(changed) = change::change(base, request, privileged) {
        return match changed {
            Ok(()) if asked.nlmsg_flags & NLM_F_ACK == 0 => Vec::new(),
            Ok(()) => vec![reply.error(0, &asked)],
            Err(errno) => vec![reply.error(-errno.to_linux(), &asked)],
        };
    }
    let base = &*base;
    let found = match (asked.nlmsg_type, list) {
        (RTM_GETLINK, true) => Ok(base.links.iter().map(|link| reply.link(link, NLM_F_MULTI)).collect()),
        (RTM_GETLINK, false) => one_link(base, &reply, request).map(|message| vec![message]),
        (RTM_GETADDR, true) => Ok(addresses(base, &reply, request)),
        (RTM_GETROUTE, true) => Ok(routes(base, &reply, request)),
        (RTM_GETROUTE, false) => one_route(base, &reply, request).map(|message| vec![message]),
        (RTM_GETNEIGH, true) => Ok(neighbours(base, &reply, request)),
        // There is no rule to show.
        (RTM_GETRULE, true) => Ok(Vec::new()),
        _ => Err(Errno::EOPNOTSUPP),
    };
    match found {
        Err(errno) => vec![reply.error(-errno.to_linux(), &asked)],
        Ok(messages) if list => reply.list(messages),
        Ok(messages) if asked.nlmsg_flags & NLM_F_ACK != 0 => {
            messages.into_iter().chain([reply.error(0, &asked)]).collect()
        }
        Ok(messages) => messages,
    }
}

/// Makes the messages of one answer.
struct Reply {
    seq: u32,
    port: u32,
}

impl Reply {
    fn header(&self, kind: u16, flags: u16) -> Nlmsghdr {
        Nlmsghdr {
            nlmsg_type: kind,
            nlmsg_flags: flags,
            nlmsg_seq: self.seq,
            nlmsg_pid: self.port,
            ..Nlmsghdr::default()
        }
    }

    /// Tells how a request ended: 0 or a negative errno of Linux.
    fn error(&self, errno: i32, asked: &Nlmsghdr) -> Vec<u8> {
        let mut message = begin(self.header(NLMSG_ERROR, 0), &errno);
        message.extend_from_slice(asked.as_bytes());
        finish(message)
    }

    /// Packs the messages of a list into datagrams; its end has one of its own.
    fn list(&self, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for message in messages {
            match datagrams.last_mut().filter(|last| last.len() + message.len() <= DATAGRAM) {
                Some(last) => last.extend(message),
                None => datagrams.push(message),
            }
        }
        datagrams.push(finish(begin(self.header(NLMSG_DONE, NLM_F_MULTI), &0i32)));
        datagrams
    }

    fn link(&self, link: &Link, flags: u16) -> Vec<u8> {
        let loopback = link.device.is_loopback();
        let kind = if loopback { IFF_LOOPBACK } else { IFF_BROADCAST | IFF_MULTICAST };
        let up = if link.up { IFF_UP | IFF_RUNNING | IFF_LOWER_UP } else { 0 };
        let state = match (loopback, link.up) {
            (true, _) => IF_OPER_UNKNOWN,
            (false, true) => IF_OPER_UP,
            (false, false) => IF_OPER_DOWN,
        };
        let about = Ifinfomsg {
            ifi_type: if loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER },
            ifi_index: link.index as i32,
            ifi_flags: up | kind,
            ..Ifinfomsg::default()
        };
        let mut message = begin(self.header(RTM_NEWLINK, flags), &about);
        attribute(&mut message, IFLA_IFNAME, &[link.name.as_bytes(), &[0]].concat());
        attribute(&mut message, IFLA_TXQLEN, &1000u32.to_ne_bytes());
        attribute(&mut message, IFLA_OPERSTATE, &[state]);
        attribute(&mut message, IFLA_LINKMODE, &[0]);
        attribute(&mut message, IFLA_MTU, &(link.device.mtu() as u32).to_ne_bytes());
        attribute(&mut message, IFLA_QDISC, b"noqueue\0");
        if let Some(mac) = link.mac() {
            attribute(&mut message, IFLA_ADDRESS, &mac.0);
            attribute(&mut message, IFLA_BROADCAST, &[0xff; 6]);
        } else if loopback {
            attribute(&mut message, IFLA_ADDRESS, &[0; 6]);
            attribute(&mut message, IFLA_BROADCAST, &[0; 6]);
        }
        let counters = link.device.counters();
        // Packets and bytes, received and sent; the errors that follow do not happen.
        let mut wide = [0u64; 24];
        wide[..4].copy_from_slice(&[counters.packets_in, counters.packets_out, counters.bytes_in, counters.bytes_out]);
        attribute(&mut message, IFLA_STATS64, wide.as_bytes());
        attribute(&mut message, IFLA_STATS, wide.map(|value| value as u32).as_bytes());
        finish(message)
    }

    fn address(&self, link: &Link, cidr: &IpCidr) -> Vec<u8> {
        let tried = link.tentative.iter().any(|tentative| tentative.cidr == *cidr);
        let lent = link.lent.iter().any(|(addr, _)| *addr == cidr.address());
        let flags = if lent { 0 } else { IFA_F_PERMANENT } | if tried { IFA_F_TENTATIVE } else { 0 };
        let about = Ifaddrmsg {
            ifa_family: family(&cidr.address()),
            ifa_prefixlen: cidr.prefix_len(),
            ifa_flags: flags,
            ifa_scope: scope(&cidr.address()),
            ifa_index: link.index,
        };
        let mut message = begin(self.header(RTM_NEWADDR, NLM_F_MULTI), &about);
        attribute(&mut message, IFA_ADDRESS, &octets(&cidr.address()));
        if let IpCidr::Ipv4(v4) = cidr {
            attribute(&mut message, IFA_LOCAL, &v4.address().octets());
            if let Some(broadcast) = v4.broadcast().filter(|_| !link.device.is_loopback()) {
                attribute(&mut message, IFA_BROADCAST, &broadcast.octets());
            }
            attribute(&mut message, IFA_LABEL, &[link.name.as_bytes(), &[0]].concat());
        }
        attribute(&mut message, IFA_FLAGS, &u32::from(flags).to_ne_bytes());
        // Preferred and valid for ever.
        attribute(&mut message, IFA_CACHEINFO, [u32::MAX, u32::MAX, 0, 0].as_bytes());
        finish(message)
    }

    /// A route through `link` to `to`; `source` is the address to speak from.
    fn route(&self, link: &Link, to: &IpCidr, local: bool, source: IpAddress, flags: u16) -> Vec<u8> {
        let table = if local { RT_TABLE_LOCAL } else { RT_TABLE_MAIN };
        let v4 = matches!(to, IpCidr::Ipv4(_));
        let about = Rtmsg {
            rtm_family: family(&to.address()),
            rtm_dst_len: to.prefix_len(),
            rtm_table: table,
            rtm_protocol: RTPROT_KERNEL,
            rtm_scope: match local {
                true if v4 => RT_SCOPE_HOST,
                false if v4 => RT_SCOPE_LINK,
                _ => RT_SCOPE_UNIVERSE,
            },
            rtm_type: if local { RTN_LOCAL } else { RTN_UNICAST },
            ..Rtmsg::default()
        };
        let mut message = begin(self.header(RTM_NEWROUTE, flags), &about);
        attribute(&mut message, RTA_TABLE, &u32::from(table).to_ne_bytes());
        attribute(&mut message, RTA_DST, &octets(&to.address()));
        if v4 {
            attribute(&mut message, RTA_PREFSRC, &octets(&source));
        }
        attribute(&mut message, RTA_OIF, &link.index.to_ne_bytes());
        finish(message)
    }
}

impl Reply {
    /// A route of the table; `to` is what was asked for.
    fn table_route(&self, base: &Base, route: &route::Route, to: &IpCidr, flags: u16) -> Vec<u8> {
        let v4 = matches!(to, IpCidr::Ipv4(_));
        let about = Rtmsg {
            rtm_family: family(&to.address()),
            rtm_dst_len: to.prefix_len(),
            rtm_table: RT_TABLE_MAIN,
            rtm_protocol: match route.origin {
                Origin::Connected => RTPROT_KERNEL,
                Origin::Static => RTPROT_BOOT,
                Origin::Advertised => RTPROT_RA,
                Origin::Redirected => RTPROT_REDIRECT,
            },
            rtm_scope: if v4 && route.via == Via::Link { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE },
            rtm_type: match route.via {
                Via::Link | Via::Gateway(_) => RTN_UNICAST,
                Via::Reject => RTN_UNREACHABLE,
                Via::Blackhole => RTN_BLACKHOLE,
            },
            ..Rtmsg::default()
        };
        let mut message = begin(self.header(RTM_NEWROUTE, flags), &about);
        attribute(&mut message, RTA_TABLE, &u32::from(RT_TABLE_MAIN).to_ne_bytes());
        if to.prefix_len() > 0 {
            attribute(&mut message, RTA_DST, &octets(&to.address()));
        }
        if route.metric > 0 {
            attribute(&mut message, RTA_PRIORITY, &route.metric.to_ne_bytes());
        }
        if let Via::Gateway(gateway) = route.via {
            attribute(&mut message, RTA_GATEWAY, &octets(&gateway));
        }
        let own =
            || base.links[route.link].source_for(&to.address()).filter(|_| v4 && route.origin == Origin::Connected);
        if let Some(source) = route.source.or_else(own) {
            attribute(&mut message, RTA_PREFSRC, &octets(&source));
        }
        if matches!(route.via, Via::Link | Via::Gateway(_)) {
            attribute(&mut message, RTA_OIF, &base.links[route.link].index.to_ne_bytes());
        }
        finish(message)
    }

    fn neighbour(&self, link: &Link, addr: &IpAddress, neighbour: &neighbour::Neighbour) -> Vec<u8> {
        use neighbour::State;
        let about = Ndmsg {
            ndm_family: family(addr),
            ndm_ifindex: link.index as i32,
            ndm_state: match neighbour.state {
                State::Incomplete => NUD_INCOMPLETE,
                State::Reachable => NUD_REACHABLE,
                State::Stale => NUD_STALE,
                State::Delay => NUD_DELAY,
                State::Probe => NUD_PROBE,
                State::Permanent => NUD_PERMANENT,
                State::Failed => NUD_FAILED,
            },
            ndm_flags: if neighbour.router { NTF_ROUTER } else { 0 },
            ndm_type: RTN_UNICAST,
            ..Ndmsg::default()
        };
        let mut message = begin(self.header(RTM_NEWNEIGH, NLM_F_MULTI), &about);
        attribute(&mut message, NDA_DST, &octets(addr));
        if !matches!(neighbour.state, State::Incomplete | State::Failed) {
            attribute(&mut message, NDA_LLADDR, &neighbour.mac.0);
        }
        finish(message)
    }
}

/// One interface, by number or name; `ENODEV` if there is none, `EINVAL` if none is asked for.
fn one_link(base: &Base, reply: &Reply, request: &Request<'_>) -> Result<Vec<u8>> {
    let index = request.read::<Ifinfomsg>().ifi_index;
    let name = request.attribute::<Ifinfomsg>(IFLA_IFNAME).and_then(|name| name.split(|byte| *byte == 0).next());
    if index == 0 && name.is_none() {
        return Err(Errno::EINVAL);
    }
    let asked = |link: &&Link| match name {
        Some(name) if index == 0 => link.name.as_bytes() == name,
        _ => i64::from(link.index) == i64::from(index),
    };
    base.links.iter().find(asked).map(|link| reply.link(link, 0)).ok_or(Errno::ENODEV)
}

/// The addresses of all interfaces, of one family or all, IPv4 first.
fn addresses(base: &Base, reply: &Reply, request: &Request<'_>) -> Vec<Vec<u8>> {
    let wanted = request.read::<Ifaddrmsg>();
    let of = |kind: u8| {
        base.links.iter().flat_map(move |link| every(link).map(move |cidr| (link, cidr))).filter(move |(link, cidr)| {
            let here = wanted.ifa_index == 0 || wanted.ifa_index == link.index;
            family(&cidr.address()) == kind && here && !hidden(link, cidr)
        })
    };
    let kinds = [INET, INET6].into_iter().filter(|kind| wanted.ifa_family == 0 || wanted.ifa_family == *kind);
    kinds.flat_map(of).map(|(link, cidr)| reply.address(link, cidr)).collect()
}

/// The addresses of an interface, those that are tried out included.
fn every(link: &Link) -> impl Iterator<Item = &IpCidr> {
    link.addrs.iter().chain(link.tentative.iter().map(|tentative| &tentative.cidr))
}

/// Whether Linux has no such address: its loopback is without a link-local one, as NetBSD's is not. A resolver that saw it would take
/// IPv6 for configured, and leave IPv4 out (`AI_ADDRCONFIG`).
fn hidden(link: &Link, cidr: &IpCidr) -> bool {
    link.device.is_loopback() && matches!(cidr, IpCidr::Ipv6(cidr) if cidr.address().is_unicast_link_local())
}

/// The routes: those of the table, and those to our own addresses and the networks that they are in.
fn routes(base: &Base, reply: &Reply, request: &Request<'_>) -> Vec<Vec<u8>> {
    let wanted = request.read::<Rtmsg>();
    let shown = |kind: u8, table: u8| {
        (wanted.rtm_family == 0 || wanted.rtm_family == kind) && (wanted.rtm_table == 0 || wanted.rtm_table == table)
    };
    let mut messages = Vec::new();
    for route in base.routes.all() {
        if shown(family(&route.to.address()), RT_TABLE_MAIN) {
            messages.push(reply.table_route(base, route, &route.to, NLM_F_MULTI));
        }
    }
    for (link, cidr) in base.links.iter().flat_map(|link| link.addrs.iter().map(move |cidr| (link, cidr))) {
        let own = whole(cidr.address());
        let network = route::network(cidr);
        // The whole network of the loopback is ours.
        let local = link.device.is_loopback() && matches!(own, IpCidr::Ipv4(_)) && network != own;
        if link.device.is_loopback() && network != own && shown(family(&own.address()), table(local)) {
            messages.push(reply.route(link, &network, local, cidr.address(), NLM_F_MULTI));
        }
        if shown(family(&own.address()), RT_TABLE_LOCAL) {
            messages.push(reply.route(link, &own, true, cidr.address(), NLM_F_MULTI));
        }
    }
    messages
}

fn table(local: bool) -> u8 {
    if local { RT_TABLE_LOCAL } else { RT_TABLE_MAIN }
}

/// The network that is one address only.
fn whole(addr: IpAddress) -> IpCidr {
    IpCidr::new(addr, if matches!(addr, IpAddress::Ipv4(_)) { 32 } else { 128 })
}

/// The neighbours, of one family and on one interface, or all.
fn neighbours(base: &Base, reply: &Reply, request: &Request<'_>) -> Vec<Vec<u8>> {
    let wanted = request.read::<Ndmsg>();
    let mut all: Vec<_> = base.neighbours.all().collect();
    all.sort_by_key(|(key, _)| **key);
    let message = |(key, neighbour): (&neighbour::Key, &neighbour::Neighbour)| {
        let link = base.links.get(key.0)?;
        let here = wanted.ndm_ifindex == 0 || wanted.ndm_ifindex == link.index as i32;
        let shown = here && (wanted.ndm_family == 0 || wanted.ndm_family == family(&key.1));
        shown.then(|| reply.neighbour(link, &key.1, neighbour))
    };
    all.into_iter().filter_map(message).collect()
}

/// The way to one address; `EINVAL` if none is named, `ENETUNREACH` without a route.
fn one_route(base: &Base, reply: &Reply, request: &Request<'_>) -> Result<Vec<u8>> {
    let to = request.attribute::<Rtmsg>(RTA_DST).unwrap_or_default();
    let to: IpAddress = match request.read::<Rtmsg>().rtm_family {
        INET => Ipv4Address::from(*to.first_chunk::<4>().ok_or(Errno::EINVAL)?).into(),
        INET6 => Ipv6Address::from(*to.first_chunk::<16>().ok_or(Errno::EINVAL)?).into(),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let (at, source) = base.route(&to)?;
    match base.route_for(&to, None).filter(|_| !base.is_ours(&to)) {
        Some(found) => Ok(reply.table_route(base, &route::Route { source: Some(source), ..*found }, &whole(to), 0)),
        None => Ok(reply.route(&base.links[at], &whole(to), base.is_ours(&to), source, 0)),
    }
}

fn family(addr: &IpAddress) -> u8 {
    if matches!(addr, IpAddress::Ipv4(_)) { INET } else { INET6 }
}

fn octets(addr: &IpAddress) -> Vec<u8> {
    match addr {
        IpAddress::Ipv4(addr) => addr.octets().to_vec(),
        IpAddress::Ipv6(addr) => addr.octets().to_vec(),
    }
}

fn scope(addr: &IpAddress) -> u8 {
    match addr {
        IpAddress::Ipv4(addr) if addr.is_loopback() => RT_SCOPE_HOST,
        IpAddress::Ipv6(addr) if addr.is_loopback() => RT_SCOPE_HOST,
        IpAddress::Ipv4(addr) if addr.is_link_local() => RT_SCOPE_LINK,
        IpAddress::Ipv6(addr) if addr.is_unicast_link_local() => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    }
}
