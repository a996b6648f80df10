//! The routing table: which way packets go. The longest prefix wins, then the smallest metric, then the oldest.

use abi::{Errno, Result};
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpCidr, Ipv6Address};

/// What is done with packets that a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// They go to hosts on the link itself.
    Link,
    /// They go to a router.
    Gateway(IpAddress),
    /// They are refused; who sends them is told (`RTF_REJECT`).
    Reject,
    /// They vanish (`RTF_BLACKHOLE`).
    Blackhole,
}

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The address of an interface.
    Connected,
    /// Somebody by hand.
    Static,
    /// A router's advertisement.
    Advertised,
    /// A router that knows a better one (RFC 792, RFC 4861, 8).
    Redirected,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network that it is for.
    pub to: IpCidr,
    /// What is done.
    pub via: Via,
    /// The interface, by its place among the links.
    pub link: usize,
    /// The address to speak from, if it matters.
    pub source: Option<IpAddress>,
    /// Who made it.
    pub origin: Origin,
    /// Of two to one network the smaller is taken.
    pub metric: u32,
    /// When it ends.
    pub expires: Option<Instant>,
}

/// Routes at most.
const MAX: usize = 4096;

/// The table.
#[derive(Default)]
pub struct Table {
    routes: Vec<Route>,
}

impl Table {
    /// All routes, the longest prefix first.
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// Adds a route. `EEXIST` if there is one to the same network by the same way, `ENOBUFS` for one too many.
    pub fn add(&mut self, route: Route) -> Result<()> {
        let route = Route { to: network(&route.to), ..route };
        let same = |old: &Route| old.to == route.to && old.metric == route.metric && old.link == route.link;
        // A network may stand on several links; to one by a router there is one way.
        let twice = |old: &Route| same(old) && (old.via == route.via || route.origin == Origin::Static);
        if self.routes.iter().any(twice) {
            return Err(Errno::EEXIST);
        }
        if self.routes.len() >= MAX {
            return Err(Errno::ENOBUFS);
        }
        let rank = |route: &Route| (std::cmp::Reverse(route.to.prefix_len()), route.metric);
        let at = self.routes.partition_point(|old| rank(old) <= rank(&route));
        self.routes.insert(at, route);
        Ok(())
    }

    /// Adds a route, or renews the one that is the same but for its end.
    pub fn renew(&mut self, route: Route) {
        let route = Route { to: network(&route.to), ..route };
        self.routes
            .retain(|old| (old.to, old.via, old.link, old.origin) != (route.to, route.via, route.link, route.origin));
        let _ = self.add(route);
    }

    /// Removes routes to a network that are `meant`; `ESRCH` if there is none.
    pub fn remove(&mut self, to: &IpCidr, meant: impl Fn(&Route) -> bool) -> Result<Route> {
        let to = network(to);
        let at = self.routes.iter().position(|route| route.to == to && meant(route)).ok_or(Errno::ESRCH)?;
        Ok(self.routes.remove(at))
    }

    /// Removes all that are `meant`.
    pub fn remove_all(&mut self, meant: impl Fn(&Route) -> bool) {
        self.routes.retain(|route| !meant(route));
    }

    /// Finds the route to an address among those that are `usable`.
    pub fn lookup(&self, to: &IpAddress, usable: impl Fn(&Route) -> bool) -> Option<&Route> {
        self.routes.iter().find(|route| contains(&route.to, to) && usable(route))
    }

    /// Removes what has ended; returns when the next does.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.routes.retain(|route| route.expires.is_none_or(|at| at > now));
        self.routes.iter().filter_map(|route| route.expires).min()
    }
}

/// Whether an address is in a network; unlike smoltcp's, it knows that all of one version are in `0.0.0.0/0` and `::/0`.
pub fn contains(network: &IpCidr, addr: &IpAddress) -> bool {
    network.address().version() == addr.version() && (network.prefix_len() == 0 || network.contains_addr(addr))
}

/// The network that an address is in.
pub fn network(cidr: &IpCidr) -> IpCidr {
    match cidr {
        IpCidr::Ipv4(cidr) => IpCidr::Ipv4(cidr.network()),
        IpCidr::Ipv6(cidr) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(cidr.prefix_len())).unwrap_or(0);
            IpCidr::new(Ipv6Address::from(u128::from(cidr.address()) & mask).into(), cidr.prefix_len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> IpAddress {
        IpAddress::Ipv4(text.parse().unwrap())
    }

    fn route(to: &str, prefix: u8, via: Via, link: usize) -> Route {
        let to = IpCidr::new(v4(to), prefix);
        Route { to, via, link, source: None, origin: Origin::Static, metric: 0, expires: None }
    }

    #[test]
    fn the_longest_prefix_wins_and_the_default_is_last() {
        let mut table = Table::default();
        let gateway = Via::Gateway(v4("10.0.0.254"));
        table.add(route("0.0.0.0", 0, gateway, 1)).unwrap();
        table.add(route("10.0.0.7", 8, Via::Link, 2)).unwrap();
        table.add(route("10.1.2.0", 24, Via::Blackhole, 0)).unwrap();
        table.add(route("10.1.0.0", 16, Via::Reject, 0)).unwrap();
        let via = |to: &str| table.lookup(&v4(to), |_| true).map(|route| route.via);
        assert_eq!(via("10.1.2.3"), Some(Via::Blackhole));
        assert_eq!(via("10.1.9.3"), Some(Via::Reject));
        assert_eq!(via("10.9.9.3"), Some(Via::Link));
        assert_eq!(via("192.0.2.1"), Some(gateway));
        assert_eq!(table.lookup(&v4("10.1.2.3"), |route| route.link == 1).map(|route| route.via), Some(gateway));
        assert_eq!(table.lookup(&IpAddress::v6(1, 0, 0, 0, 0, 0, 0, 0), |_| true), None);
    }

    #[test]
    fn a_route_is_there_once_and_goes_when_it_ends() {
        let mut table = Table::default();
        let ending = Route { expires: Some(Instant::from_secs(5)), ..route("10.0.0.0", 8, Via::Link, 1) };
        table.add(ending).unwrap();
        assert_eq!(table.add(ending), Err(Errno::EEXIST));
        table.renew(Route { expires: Some(Instant::from_secs(9)), ..ending });
        assert_eq!((table.all().len(), table.expire(Instant::from_secs(5))), (1, Some(Instant::from_secs(9))));
        assert_eq!(table.remove(&IpCidr::new(v4("10.0.0.0"), 9), |_| true), Err(Errno::ESRCH));
        assert_eq!((table.expire(Instant::from_secs(9)), table.all().len()), (None, 0));
    }
}
