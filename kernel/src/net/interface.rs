//! Interfaces come, go and change: create and destroy, up and down, addresses and the routes that follow from them.

use std::path::Path;
use std::sync::{Arc, Weak};

use abi::{Errno, Result};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv6Address};

use super::link::{Link, is_link_local};
use super::ndp;
use super::route::{self, Origin, Route, Via};
use super::stack::{Base, Inet};
use crate::dev::net::{KINDS, Request, WRAPPERS};
use crate::rumpuser::Signal;

/// The longest name, with its NUL (`IFNAMSIZ`).
const NAME: usize = 16;
/// Interfaces at most.
const MAX: usize = 256;

impl Inet {
    /// Creates an interface: the name of a kind of devices and a number.
    ///
    /// `EINVAL` for a name that is none, `EEXIST` for one that is taken; and what the device says.
    pub fn create(self: &Arc<Self>, name: &str) -> Result<()> {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (kind, unit) = name.split_at(name.len() - digits);
        let unit: u32 = unit.parse().map_err(|_| Errno::EINVAL)?;
        let open = KINDS.iter().find(|(known, _)| *known == kind).ok_or(Errno::EINVAL)?.1;
        if name.len() >= NAME || name != format!("{kind}{unit}") {
            return Err(Errno::EINVAL);
        }
        if kind == "lo" || self.look(|stack| stack.base.link_by_name(name.as_bytes()).is_some()) {
            return Err(Errno::EEXIST);
        }
        let device = open(&Request { host: &**self.host(), unit })?;
        let signal = device.signal();
        self.with(|stack| {
            let base = &mut stack.base;
            if base.link_by_name(name.as_bytes()).is_some() {
                return Err(Errno::EEXIST);
            }
            if base.links.iter().count() >= MAX {
                return Err(Errno::ENFILE);
            }
            base.last_index += 1;
            let link = Link::new(name, base.last_index, device, base.now, base.random.draw());
            base.links.add(link);
            Ok(())
        })?;
        if let Some(signal) = signal {
            let listening = self.listen_to(name, signal);
            return listening.inspect_err(|_| {
                let _ = self.destroy(name);
            });
        }
        Ok(())
    }

    /// Destroys an interface with its addresses and routes; `ENXIO` if there is none, `EINVAL` for the loopback.
    pub fn destroy(&self, name: &str) -> Result<()> {
        let gone = self.with(|stack| {
            let base = &mut stack.base;
            let at = base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
            if base.links[at].device.is_loopback() {
                return Err(Errno::EINVAL);
            }
            base.routes.remove_all(|route| route.link == at);
            base.neighbours.flush(at);
            Ok(base.links.remove(at, base.now))
        })?;
        // Outside of the lock: its thread may be about to take it.
        drop(gone);
        Ok(())
    }

    /// Connects an interface (`linkstr`), or ends that; errors as the device has them, `EBUSY` while it is up.
    pub fn set_link_string(self: &Arc<Self>, name: &str, to: Option<&Path>) -> Result<()> {
        let host = self.host().clone();
        let signal = self.with(|stack| {
            let at = stack.base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
            let link = &mut stack.base.links[at];
            if link.up {
                return Err(Errno::EBUSY);
            }
            link.device.set_link_string(&*host, to)
        })?;
        match signal {
            Some(signal) => self.listen_to(name, signal).inspect_err(|_| {
                let _ = self.set_link_string(name, None);
            }),
            None => Ok(()),
        }
    }

    /// Starts the thread that waits for frames; `EAGAIN` in a kernel that can start none.
    fn listen_to(self: &Arc<Self>, name: &str, signal: Arc<dyn Signal>) -> Result<()> {
        let stack: Weak<Inet> = Arc::downgrade(self);
        let body = move || {
            while signal.wait() {
                let Some(stack) = stack.upgrade() else { return };
                stack.with(|_| ());
            }
        };
        self.host().spawn(name, Box::new(body))
    }

    /// Puts a wrapper around a device, changes it, or takes it away with the word `off`.
    ///
    /// `EINVAL` for a kind that is not known or words that make no sense to it, `ENXIO` without the interface, `ENOENT` to end what is not
    /// there.
    pub fn wrap(&self, name: &str, kind: &str, words: &str) -> Result<()> {
        let make = WRAPPERS.iter().find(|(known, _)| *known == kind).ok_or(Errno::EINVAL)?.1;
        let host = self.host().clone();
        self.with(|stack| {
            let at = stack.base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
            let mut device = &mut stack.base.links[at].device;
            let null = || Box::new(crate::dev::net::Null);
            while device.wrapper().is_some_and(|(is, _)| is != kind) {
                device = device.inner().ok_or(Errno::ENOENT)?;
            }
            let there = device.wrapper().is_some();
            match words {
                "off" if there => {
                    let inner = device.inner().ok_or(Errno::ENOENT)?;
                    let inner = std::mem::replace(inner, null());
                    *device = inner;
                    Ok(())
                }
                "off" => Err(Errno::ENOENT),
                words if there => device.set_wrapper(words),
                words => {
                    let device = &mut stack.base.links[at].device;
                    match make(&*host, std::mem::replace(device, null()), words) {
                        Ok(wrapped) => {
                            *device = wrapped;
                            Ok(())
                        }
                        Err((error, bare)) => {
                            *device = bare;
                            Err(error)
                        }
                    }
                }
            }
        })
    }
}

impl Base {
    /// Takes an interface up or down. `ENXIO` if its device is not connected to anything.
    pub fn set_up(&mut self, at: usize, up: bool) -> Result<()> {
        if self.links[at].up == up {
            return Ok(());
        }
        self.links[at].device.set_up(up)?;
        self.links[at].up = up;
        if !up {
            self.neighbours.flush(at);
            let lent: Vec<IpAddress> = self.links[at].lent.iter().map(|(addr, _)| *addr).collect();
            for addr in lent {
                let _ = self.remove_address(at, &addr);
            }
            self.routes.remove_all(|route| route.link == at && route.origin == Origin::Advertised);
            self.links[at].tentative.clear();
            self.links[at].solicit = None;
            self.links[at].announcements = super::member::Announcements::default();
            return Ok(());
        }
        self.tell_groups(at);
        let own: Vec<IpAddress> = self.links[at].addrs.iter().map(IpCidr::address).collect();
        for addr in own {
            if let IpAddress::Ipv4(addr) = addr {
                self.announce(at, addr);
            }
        }
        if let Some(mac) = self.links[at].mac().filter(|_| self.links[at].link_local().is_none()) {
            let addr = ndp::by_mac(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), mac);
            self.try_out(at, IpCidr::new(addr.into(), 64), None);
        }
        Ok(())
    }

    /// Gives an interface an address; it goes up with it, as in ifconfig(8). `EEXIST` if the address is there with another prefix,
    /// `EINVAL` for one that no host can have.
    pub fn add_address(&mut self, at: usize, cidr: IpCidr) -> Result<()> {
        let addr = cidr.address();
        if !addr.is_unicast() {
            return Err(Errno::EINVAL);
        }
        self.set_up(at, true)?;
        let link = &mut self.links[at];
        if link.addrs.contains(&cidr) || link.tentative.iter().any(|tentative| tentative.cidr == cidr) {
            return Ok(());
        }
        if link.addrs.iter().any(|old| old.address() == addr) {
            // With another prefix it is another one.
            self.remove_address(at, &addr)?;
        }
        self.links[at].duplicated.retain(|old| *old != addr);
        match addr {
            IpAddress::Ipv6(_) if self.links[at].is_ethernet() => self.try_out(at, cidr, None),
            _ => {
                self.links[at].add(cidr)?;
                self.connect(at, &cidr);
                if let IpAddress::Ipv4(addr) = addr {
                    self.announce(at, addr);
                }
            }
        }
        Ok(())
    }

    /// Takes an address away; `EADDRNOTAVAIL` if it is not there.
    pub fn remove_address(&mut self, at: usize, addr: &IpAddress) -> Result<()> {
        let link = &mut self.links[at];
        let tried = link.tentative.extract_if(.., |tentative| tentative.cidr.address() == *addr).next();
        let known = link.duplicated.extract_if(.., |old| old == addr).count() > 0;
        let cidr = link.addrs.extract_if(.., |cidr| cidr.address() == *addr).next();
        link.lent.retain(|(lent, _)| lent != addr);
        let Some(cidr) = cidr.or(tried.map(|tried| tried.cidr)) else {
            return if known { Ok(()) } else { Err(Errno::EADDRNOTAVAIL) };
        };
        self.leave_node(at, addr);
        let link = &self.links[at];
        let network = route::network(&cidr);
        // Another address may be in the same network.
        let heir = link.addrs.iter().find(|other| route::network(other) == network).map(IpCidr::address);
        let source = |route: &Route| route.link == at && route.origin == Origin::Connected;
        let _ = self.routes.remove(&network, source);
        self.routes.remove_all(|route| route.source == Some(*addr) && route.origin == Origin::Static);
        if heir.is_some() {
            self.connect(at, &cidr);
        }
        Ok(())
    }

    /// Makes the route to the network that an address is in.
    pub(super) fn connect(&mut self, at: usize, cidr: &IpCidr) {
        let alone = cidr.prefix_len() == if matches!(cidr, IpCidr::Ipv4(_)) { 32 } else { 128 };
        if alone || self.links[at].device.is_loopback() {
            return;
        }
        let metric = if matches!(cidr, IpCidr::Ipv6(_)) { 256 } else { 0 };
        let to = route::network(cidr);
        let origin = Origin::Connected;
        let _ = self.routes.add(Route { to, via: Via::Link, link: at, source: None, origin, metric, expires: None });
    }

    /// Adds a route by hand, to a router or on a link; the interface is the one that the router is reached by, unless it is named.
    ///
    /// `ENETUNREACH` if the router cannot be reached directly, `EEXIST` if there is such a route.
    pub fn add_route(
        &mut self,
        to: IpCidr,
        via: Via,
        link: Option<usize>,
        metric: u32,
        source: Option<IpAddress>,
    ) -> Result<()> {
        let link = match via {
            Via::Gateway(gateway) if gateway.version() != to.address().version() => return Err(Errno::EINVAL),
            Via::Gateway(gateway) if self.is_ours(&gateway) => self
                .links
                .places()
                .find(|(_, link)| link.is_ours(&gateway))
                .map(|(at, _)| at)
                .ok_or(Errno::ENETUNREACH)?,
            Via::Gateway(gateway) => match self.route_for(&gateway, link) {
                Some(route) if route.via == Via::Link => route.link,
                _ if is_link_local(&gateway) && link.is_some() => link.unwrap_or(0),
                _ => return Err(Errno::ENETUNREACH),
            },
            Via::Link => link.ok_or(Errno::ENETUNREACH)?,
            Via::Reject | Via::Blackhole => 0,
        };
        let via = match via {
            // A route by one's own address is one on the link, as BSD has it.
            Via::Gateway(gateway) if self.is_ours(&gateway) => Via::Link,
            via => via,
        };
        self.routes.add(Route { to, via, link, source, origin: Origin::Static, metric, expires: None })
    }

    /// Names the hardware address of a neighbour by hand. `EINVAL` for one that is no host's, `EOPNOTSUPP` on a link without such addresses.
    pub fn set_neighbour(&mut self, at: usize, addr: IpAddress, mac: EthernetAddress) -> Result<()> {
        if !self.links[at].is_ethernet() {
            return Err(Errno::EOPNOTSUPP);
        }
        if !mac.is_unicast() || !addr.is_unicast() {
            return Err(Errno::EINVAL);
        }
        let actions = self.neighbours.set(self.now, (at, addr), mac);
        self.perform(actions);
        Ok(())
    }
}
