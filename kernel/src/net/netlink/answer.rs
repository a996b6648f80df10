//! What is answered to a request.

use abi::netlink::*;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address, Ipv6Address};
use zerocopy::IntoBytes;

use super::message::{Request, attribute, begin, finish};
use crate::net::link::Link;
use crate::net::stack::Base;

/// Linux's numbers of the address families.
const INET: u8 = 2;
const INET6: u8 = 10;
/// The most that one datagram of a list holds, beside a single longer message.
const DATAGRAM: usize = 4096;

/// The datagrams that answer one request, sent to the socket of port id `port`.
pub fn answer(base: &Base, port: u32, request: &Request<'_>) -> Vec<Vec<u8>> {
    let asked = request.header;
    if asked.nlmsg_flags & NLM_F_REQUEST == 0 || asked.nlmsg_type < RTM_NEWLINK {
        return Vec::new();
    }
    let reply = Reply { seq: asked.nlmsg_seq, port };
    // The questions are every fourth from RTM_GETLINK on; the others want a change, and are never lists.
    let list = asked.nlmsg_type % 4 == RTM_GETLINK % 4 && asked.nlmsg_flags & NLM_F_DUMP == NLM_F_DUMP;
    let found = match (asked.nlmsg_type, list) {
        (RTM_GETLINK, true) => Ok(base.links.iter().map(|link| reply.link(link, NLM_F_MULTI)).collect()),
        (RTM_GETLINK, false) => one_link(base, &reply, request).map(|message| vec![message]),
        (RTM_GETADDR, true) => Ok(addresses(base, &reply, request)),
        (RTM_GETROUTE, true) => Ok(routes(base, &reply, request)),
        (RTM_GETROUTE, false) => one_route(base, &reply, request).map(|message| vec![message]),
        // There is no cache of neighbours and no rule to show.
        (RTM_GETNEIGH | RTM_GETRULE, true) => Ok(Vec::new()),
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
        let about = Ifinfomsg {
            ifi_type: if loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER },
            ifi_index: link.index as i32,
            ifi_flags: IFF_UP | IFF_RUNNING | IFF_LOWER_UP | kind,
            ..Ifinfomsg::default()
        };
        let mut message = begin(self.header(RTM_NEWLINK, flags), &about);
        attribute(&mut message, IFLA_IFNAME, &[link.name.as_bytes(), &[0]].concat());
        attribute(&mut message, IFLA_TXQLEN, &1000u32.to_ne_bytes());
        attribute(&mut message, IFLA_OPERSTATE, &[if loopback { IF_OPER_UNKNOWN } else { IF_OPER_UP }]);
        attribute(&mut message, IFLA_LINKMODE, &[0]);
        attribute(&mut message, IFLA_MTU, &(link.device.mtu() as u32).to_ne_bytes());
        attribute(&mut message, IFLA_QDISC, b"noqueue\0");
        if loopback {
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
        let about = Ifaddrmsg {
            ifa_family: family(&cidr.address()),
            ifa_prefixlen: cidr.prefix_len(),
            ifa_flags: IFA_F_PERMANENT,
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
        attribute(&mut message, IFA_FLAGS, &u32::from(IFA_F_PERMANENT).to_ne_bytes());
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
        base.links.iter().flat_map(move |link| link.addrs.iter().map(move |cidr| (link, cidr))).filter(
            move |(link, cidr)| {
                let here = wanted.ifa_index == 0 || wanted.ifa_index == link.index;
                family(&cidr.address()) == kind && here && !hidden(link, cidr)
            },
        )
    };
    let kinds = [INET, INET6].into_iter().filter(|kind| wanted.ifa_family == 0 || wanted.ifa_family == *kind);
    kinds.flat_map(of).map(|(link, cidr)| reply.address(link, cidr)).collect()
}

/// Whether Linux has no such address: its loopback is without a link-local one, as NetBSD's is not. A resolver that saw it would take
/// IPv6 for configured, and leave IPv4 out (`AI_ADDRCONFIG`).
fn hidden(link: &Link, cidr: &IpCidr) -> bool {
    link.device.is_loopback() && matches!(cidr, IpCidr::Ipv6(cidr) if cidr.address().is_unicast_link_local())
}

/// The routes: to our own addresses, and to the networks that they are in.
fn routes(base: &Base, reply: &Reply, request: &Request<'_>) -> Vec<Vec<u8>> {
    let wanted = request.read::<Rtmsg>();
    let mut messages = Vec::new();
    for (link, cidr) in base.links.iter().flat_map(|link| link.addrs.iter().map(move |cidr| (link, cidr))) {
        let own = IpCidr::new(cidr.address(), if matches!(cidr, IpCidr::Ipv4(_)) { 32 } else { 128 });
        let network = network(cidr);
        for (to, local) in
            [(network, link.device.is_loopback() && own.address().version() == INET_VERSION), (own, true)]
        {
            let shown = wanted.rtm_family == 0 || wanted.rtm_family == family(&to.address());
            let table = if local { RT_TABLE_LOCAL } else { RT_TABLE_MAIN };
            if shown && (wanted.rtm_table == 0 || wanted.rtm_table == table) && (to != own || local) {
                messages.push(reply.route(link, &to, local, cidr.address(), NLM_F_MULTI));
            }
        }
    }
    messages
}

const INET_VERSION: smoltcp::wire::IpVersion = smoltcp::wire::IpVersion::Ipv4;

/// The way to one address; `EINVAL` if none is named, `ENETUNREACH` without a route.
fn one_route(base: &Base, reply: &Reply, request: &Request<'_>) -> Result<Vec<u8>> {
    let to = request.attribute::<Rtmsg>(RTA_DST).unwrap_or_default();
    let to: IpAddress = match request.read::<Rtmsg>().rtm_family {
        INET => Ipv4Address::from(*to.first_chunk::<4>().ok_or(Errno::EINVAL)?).into(),
        INET6 => Ipv6Address::from(*to.first_chunk::<16>().ok_or(Errno::EINVAL)?).into(),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let (at, source) = base.route(&to)?;
    let whole = IpCidr::new(to, if matches!(to, IpAddress::Ipv4(_)) { 32 } else { 128 });
    Ok(reply.route(&base.links[at], &whole, base.is_ours(&to), source, 0))
}

/// The network that an address is in.
fn network(cidr: &IpCidr) -> IpCidr {
    match cidr {
        IpCidr::Ipv4(cidr) => IpCidr::Ipv4(cidr.network()),
        IpCidr::Ipv6(cidr) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(cidr.prefix_len())).unwrap_or(0);
            IpCidr::new(Ipv6Address::from(u128::from(cidr.address()) & mask).into(), cidr.prefix_len())
        }
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
