//! What is asked for by writing to a routing socket: routes and neighbours are added, deleted, changed and looked up.

use abi::route::*;
use abi::{Errno, Result};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use zerocopy::{FromBytes, IntoBytes};

use super::super::ioctl;
use super::super::neighbour::{Neighbour, State};
use super::super::route::{Origin, Route, Via, network};
use super::super::stack::Base;
use super::message::{self, Addresses};

/// A request, taken apart.
struct Request {
    header: RtMsghdr,
    addrs: Addresses,
    /// The host or network that it is about.
    to: IpCidr,
    /// The interface that the destination means something on.
    scope: Option<u32>,
}

/// Serves a request. Returns how it ended and the message that tells everybody, if it was understood so far.
///
/// `EINVAL` for what is no message, `EPROTONOSUPPORT` for one of another version, `EACCES` for who may not, `EOPNOTSUPP` for a type that is
/// not known, `EEXIST` for a route that is there, `ESRCH` for one that is not, `ENETUNREACH` for a router that cannot be reached.
pub fn serve(base: &mut Base, bytes: &[u8], pid: i32, privileged: bool) -> (Result<()>, Option<Vec<u8>>) {
    let Ok((header, rest)) = RtMsghdr::read_from_prefix(bytes) else { return (Err(Errno::EINVAL), None) };
    if usize::from(header.rtm_msglen) != bytes.len() {
        return (Err(Errno::EINVAL), None);
    }
    let header = RtMsghdr { rtm_pid: pid, ..header };
    let done = perform(base, header, rest, privileged);
    let (result, message) = match done {
        Ok(Some(message)) => (Ok(()), message),
        Ok(None) => (Ok(()), [header.as_bytes(), rest].concat()),
        Err(errno) => (Err(errno), [header.as_bytes(), rest].concat()),
    };
    (result, Some(mark(message, result)))
}

/// Notes in a message whether it is done.
fn mark(message: Vec<u8>, result: Result<()>) -> Vec<u8> {
    let Ok((mut header, rest)) = RtMsghdr::read_from_prefix(&message) else { return message };
    match result {
        Ok(()) => (header.rtm_flags, header.rtm_errno) = (header.rtm_flags | RTF_DONE, 0),
        Err(errno) => header.rtm_errno = errno.raw(),
    }
    [header.as_bytes(), rest].concat()
}

/// Does it; returns the message that answers, if it is another than the request.
fn perform(base: &mut Base, header: RtMsghdr, rest: &[u8], privileged: bool) -> Result<Option<Vec<u8>>> {
    if header.rtm_version != RTM_VERSION {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let request = Request::parse(header, rest)?;
    if header.rtm_type != RTM_GET && !privileged {
        return Err(Errno::EACCES);
    }
    match header.rtm_type {
        RTM_ADD => request.add(base).map(|()| None),
        RTM_DELETE => request.delete(base).map(|()| None),
        RTM_CHANGE => request.change(base).map(|()| None),
        RTM_GET => request.get(base).map(Some),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

impl Request {
    fn parse(header: RtMsghdr, rest: &[u8]) -> Result<Self> {
        let addrs = Addresses::parse(rest, header.rtm_addrs)?;
        let (addr, scope) = message::ip(addrs.get(RTAX_DST).ok_or(Errno::EINVAL)?)?;
        let v4 = matches!(addr, IpAddress::Ipv4(_));
        let whole = if v4 { 32 } else { 128 };
        let prefix = match addrs.get(RTAX_NETMASK) {
            Some(mask) if header.rtm_flags & RTF_HOST == 0 => message::prefix(mask, v4)?,
            _ => whole,
        };
        Ok(Self { header, addrs, to: IpCidr::new(addr, prefix), scope })
    }

    fn has(&self, flag: i32) -> bool {
        self.header.rtm_flags & flag != 0
    }

    /// The interface that is named, by number or name; `ENXIO` if there is none such.
    fn link(&self, base: &Base) -> Result<Option<usize>> {
        for place in [RTAX_IFP, RTAX_GATEWAY] {
            let Some(layer) = self.addrs.get(place).and_then(message::link_layer) else { continue };
            if layer.index != 0 {
                return base.link_by_index(layer.index).map(Some).ok_or(Errno::ENXIO);
            }
            if !layer.name.is_empty() {
                return base.link_by_name(layer.name).map(Some).ok_or(Errno::ENXIO);
            }
        }
        if let Some(addr) = self.addrs.get(RTAX_IFA) {
            let (addr, _) = message::ip(addr)?;
            return Ok(base.links.places().find(|(_, link)| link.is_ours(&addr)).map(|(at, _)| at));
        }
        Ok(self.scope.and_then(|index| base.link_by_index(index)))
    }

    /// The way that the route is to go, and the interface.
    fn way(&self, base: &Base) -> Result<(Via, Option<usize>)> {
        let gateway = self.addrs.get(RTAX_GATEWAY).ok_or(Errno::EINVAL)?;
        let link = self.link(base)?;
        if self.has(RTF_BLACKHOLE) {
            return Ok((Via::Blackhole, None));
        }
        if self.has(RTF_REJECT) {
            return Ok((Via::Reject, None));
        }
        if message::link_layer(gateway).is_some() {
            return Ok((Via::Link, link));
        }
        let (gateway, scope) = message::ip(gateway)?;
        let link = link.or_else(|| scope.and_then(|index| base.link_by_index(index)));
        Ok((Via::Gateway(gateway), link))
    }

    fn source(&self, base: &Base) -> Result<Option<IpAddress>> {
        let Some(addr) = self.addrs.get(RTAX_IFA) else { return Ok(None) };
        let (addr, _) = message::ip(addr)?;
        Ok(Some(addr).filter(|addr| base.is_ours(addr)))
    }

    fn add(&self, base: &mut Base) -> Result<()> {
        let gateway = self.addrs.get(RTAX_GATEWAY).and_then(message::link_layer);
        if let Some(mac) = gateway.and_then(|layer| layer.mac).filter(|_| message::is_host(&self.to)) {
            let named = self.link(base)?;
            let at = named.or_else(|| base.route(&self.to.address()).ok().map(|(at, _)| at));
            return base.set_neighbour(at.ok_or(Errno::ENETUNREACH)?, self.to.address(), EthernetAddress(mac));
        }
        let (via, link) = self.way(base)?;
        let source = self.source(base)?;
        base.add_route(self.to, via, link, 0, source)
    }

    /// The neighbour that is meant.
    fn neighbour<'a>(&self, base: &'a Base) -> Option<((usize, IpAddress), &'a Neighbour)> {
        let link = self.link(base).ok()?;
        let meant = |(at, addr): &(usize, IpAddress)| {
            *addr == self.to.address() && link.is_none_or(|link| link == *at) && !base.links[*at].is_gone()
        };
        base.neighbours.all().find(|(key, _)| meant(key)).map(|(key, neighbour)| (*key, neighbour))
    }

    fn delete(&self, base: &mut Base) -> Result<()> {
        if self.has(RTF_LLDATA) {
            let (key, _) = self.neighbour(base).ok_or(Errno::ESRCH)?;
            base.neighbours.remove(&key);
            return Ok(());
        }
        let link = self.link(base)?;
        base.routes.remove(&self.to, |route| link.is_none_or(|link| link == route.link)).map(drop)
    }

    fn change(&self, base: &mut Base) -> Result<()> {
        let to = network(&self.to);
        let old = *base.routes.all().iter().find(|route| route.to == to).ok_or(Errno::ESRCH)?;
        let (via, link) = self.way(base)?;
        let source = self.source(base)?.or(old.source);
        base.routes.remove(&to, |route| *route == old)?;
        let changed = base.add_route(self.to, via, link, old.metric, source);
        if changed.is_err() {
            base.routes.add(old)?;
        }
        changed
    }

    fn get(&self, base: &Base) -> Result<Vec<u8>> {
        let addr = self.to.address();
        if self.has(RTF_LLDATA)
            && let Some((key, neighbour)) = self.neighbour(base)
        {
            return Ok(about_neighbour(base, self.header, key, neighbour));
        }
        let scope = self.scope.and_then(|index| base.link_by_index(index));
        let (route, link) = if base.is_ours(&addr) {
            (local_route(&addr), 0)
        } else {
            let exact = self.addrs.get(RTAX_NETMASK).map(|_| network(&self.to));
            let found = match exact {
                Some(to) => base.routes.all().iter().find(|route| route.to == to),
                None => base.route_for(&addr, scope),
            };
            let route = *found.ok_or(Errno::ESRCH)?;
            (route, route.link)
        };
        let link = base.links.get(link).ok_or(Errno::ESRCH)?;
        let mut addrs = message::addresses(link, &route);
        if self.header.rtm_addrs & (RTA_IFP | RTA_IFA) != 0 {
            let source = route.source.or_else(|| base.route_by(&addr, scope).ok().map(|way| way.source));
            addrs = addrs.with(RTAX_IFP, ioctl::link_address(link));
            if let Some(source) = source {
                addrs = addrs.with(RTAX_IFA, ioctl::sockaddr(link, source));
            }
        }
        Ok(message::about_route(self.answer(base, &route, link.index), &addrs))
    }

    fn answer(&self, base: &Base, route: &Route, index: u32) -> RtMsghdr {
        let flags = if base.is_ours(&self.to.address()) { RTF_LOCAL } else { 0 } | message::flags(route);
        RtMsghdr { rtm_index: index as u16, rtm_flags: flags, rtm_rmx: metrics(base, route), ..self.header }
    }
}

/// The route to an address of this host.
pub fn local_route(addr: &IpAddress) -> Route {
    let prefix = if matches!(addr, IpAddress::Ipv4(_)) { 32 } else { 128 };
    let to = IpCidr::new(*addr, prefix);
    Route { to, via: Via::Link, link: 0, source: Some(*addr), origin: Origin::Connected, metric: 0, expires: None }
}

/// The metrics of a route; its end is a time of the clock that starts with the kernel.
pub fn metrics(base: &Base, route: &Route) -> RtMetrics {
    let mtu = match route.via {
        Via::Link | Via::Gateway(_) => base.links.get(route.link).map_or(0, |link| link.device.mtu() as u64),
        Via::Reject | Via::Blackhole => 0,
    };
    let path = base.path_mtus.get(&route.to.address()).filter(|_| message::is_host(&route.to));
    let mtu = path.map_or(mtu, |(path, _)| mtu.min(*path as u64));
    let expire = route.expires.map_or(0, |at| at.secs());
    RtMetrics { rmx_mtu: mtu, rmx_hopcount: u64::from(route.metric), rmx_expire: expire, ..RtMetrics::default() }
}

/// Makes the message about a neighbour: a host route by its hardware address.
pub fn about_neighbour(base: &Base, header: RtMsghdr, key: (usize, IpAddress), neighbour: &Neighbour) -> Vec<u8> {
    let link = &base.links[key.0];
    let known = !matches!(neighbour.state, State::Incomplete | State::Failed);
    let mut gateway = ioctl::link_address(link);
    // Of the link-layer address only the number of the interface and the hardware address matter here.
    gateway.truncate(8);
    gateway[5..7].copy_from_slice(&[0, if known { 6 } else { 0 }]);
    gateway.extend_from_slice(if known { &neighbour.mac.0 } else { &[] });
    gateway.resize(gateway.len().max(20), 0);
    gateway[0] = gateway.len() as u8;
    let fixed = neighbour.state == State::Permanent;
    let addrs = Addresses::default().with(RTAX_DST, ioctl::sockaddr(link, key.1)).with(RTAX_GATEWAY, gateway);
    let addrs = match link.source_for(&key.1).filter(|_| header.rtm_addrs & (RTA_IFP | RTA_IFA) != 0) {
        Some(source) => addrs.with(RTAX_IFP, ioctl::link_address(link)).with(RTAX_IFA, ioctl::sockaddr(link, source)),
        None => addrs,
    };
    let expire = neighbour.due.filter(|_| !fixed).map_or(i64::from(!fixed), |at| at.secs());
    let header = RtMsghdr {
        rtm_index: link.index as u16,
        rtm_flags: RTF_UP | RTF_HOST | RTF_LLDATA | if fixed { RTF_STATIC } else { 0 },
        rtm_rmx: RtMetrics { rmx_expire: expire, ..RtMetrics::default() },
        ..header
    };
    message::about_route(header, &addrs)
}
