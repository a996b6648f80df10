//! Network interfaces: a device, its addresses, and the packet machinery between them and the TCP engines.

use abi::{Errno, Result};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};

use super::edge::Edge;
use crate::dev::net::{NetDevice, Null};

/// Addresses of one interface at most.
const MAX_ADDRS: usize = 256;

/// A network interface.
pub struct Link {
    /// `lo0` and the like.
    pub name: String,
    /// Its number, from 1.
    pub index: u32,
    /// Its addresses.
    pub addrs: Vec<IpCidr>,
    /// When addresses that a router has lent end.
    pub lent: Vec<(IpAddress, Instant)>,
    /// Addresses of which it is not known yet that nobody else has them (RFC 4862, 5.4).
    pub tentative: Vec<Tentative>,
    /// Addresses that somebody else has.
    pub duplicated: Vec<IpAddress>,
    /// The groups that somebody here listens to, and how many do.
    pub groups: Vec<(IpAddress, usize)>,
    /// What is to be told of them.
    pub announcements: super::member::Announcements,
    /// What frames go through.
    pub device: Box<dyn NetDevice>,
    /// Whether it is up.
    pub up: bool,
    /// Routers that still are to be asked for: when the next time, and how often.
    pub solicit: Option<(Instant, u8)>,
    /// Packets that the engines have sent; the stack finds their way.
    pub out: Vec<Vec<u8>>,
    /// smoltcp's interface. It answers for any address: which ones are ours is decided here.
    interface: Interface,
    seed: u64,
}

/// An address that is being tried out.
#[derive(Clone, Copy, Debug)]
pub struct Tentative {
    /// The address.
    pub cidr: IpCidr,
    /// When it becomes one of the interface.
    pub due: Instant,
    /// When it ends, if a router has lent it.
    pub ends: Option<Instant>,
}

impl Link {
    /// Makes an interface; `seed` feeds its initial sequence numbers.
    pub fn new(name: &str, index: u32, mut device: Box<dyn NetDevice>, now: Instant, seed: u64) -> Self {
        let mut out = Vec::new();
        let interface = machine(&mut *device, &mut out, now, seed);
        Self {
            name: name.into(),
            index,
            addrs: Vec::new(),
            lent: Vec::new(),
            tentative: Vec::new(),
            duplicated: Vec::new(),
            groups: Vec::new(),
            announcements: super::member::Announcements::default(),
            device,
            up: false,
            solicit: None,
            out,
            interface,
            seed,
        }
    }

    /// Makes `lo0` with 127.0.0.1/8, ::1/128 and fe80::1/64.
    pub fn loopback(device: Box<dyn NetDevice>, now: Instant, seed: u64) -> Self {
        let addrs = vec![
            IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8),
            IpCidr::new(IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1), 128),
            IpCidr::new(IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64),
        ];
        Self { addrs, up: true, ..Self::new("lo0", 1, device, now, seed) }
    }

    /// What remains of an interface that was destroyed: connections may still name its place.
    pub fn gone(now: Instant) -> Self {
        Self::new("", 0, Box::new(Null), now, 0)
    }

    /// Whether it was destroyed.
    pub fn is_gone(&self) -> bool {
        self.index == 0
    }

    /// Its hardware address, if its frames have such.
    pub fn mac(&self) -> Option<EthernetAddress> {
        self.device.mac()
    }

    /// Whether frames are Ethernet frames.
    pub fn is_ethernet(&self) -> bool {
        self.device.medium() == Medium::Ethernet
    }

    /// Changes the longest packet. `EINVAL` for one that the device cannot have or IP cannot live with.
    pub fn set_mtu(&mut self, now: Instant, mtu: usize) -> Result<()> {
        self.device.set_mtu(mtu)?;
        self.interface = machine(&mut *self.device, &mut self.out, now, self.seed.rotate_left(17) ^ mtu as u64);
        Ok(())
    }

    /// Adds an address; `EEXIST` if it is there, `ENOBUFS` for one too many.
    pub fn add(&mut self, cidr: IpCidr) -> Result<()> {
        if self.addrs.iter().any(|old| old.address() == cidr.address()) {
            return Err(Errno::EEXIST);
        }
        if self.addrs.len() >= MAX_ADDRS {
            return Err(Errno::ENOBUFS);
        }
        self.addrs.push(cidr);
        Ok(())
    }

    /// Whether `addr` is one of this interface; the whole of 127/8 is, as on Linux.
    pub fn is_ours(&self, addr: &IpAddress) -> bool {
        match addr {
            IpAddress::Ipv4(v4) if v4.is_loopback() => self.device.is_loopback() && !self.is_broadcast(addr),
            _ => self.addrs.iter().any(|cidr| cidr.address() == *addr),
        }
    }

    /// Whether `addr` means all hosts that can be reached through it.
    pub fn is_broadcast(&self, addr: &IpAddress) -> bool {
        addr.is_broadcast() || self.is_directed_broadcast(addr)
    }

    /// Whether `addr` means all hosts of one of its networks; 127.255.255.255 is one too, as on Linux.
    pub fn is_directed_broadcast(&self, addr: &IpAddress) -> bool {
        let IpAddress::Ipv4(addr) = addr else { return false };
        self.addrs.iter().any(|cidr| match cidr {
            IpCidr::Ipv4(cidr) => cidr.broadcast() == Some(*addr),
            IpCidr::Ipv6(_) => false,
        })
    }

    /// Whether somebody here listens to a group, the ones that every host is in included.
    pub fn is_member(&self, group: &IpAddress) -> bool {
        let all = match group {
            IpAddress::Ipv4(group) => group.octets() == [224, 0, 0, 1],
            IpAddress::Ipv6(group) => {
                let is_node =
                    |addr: IpAddress| matches!(addr, IpAddress::Ipv6(addr) if solicited_node(&addr) == *group);
                matches!(group.segments(), [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1])
                    || self.addrs.iter().map(|cidr| cidr.address()).any(is_node)
                    || self.tentative.iter().map(|tentative| tentative.cidr.address()).any(is_node)
            }
        };
        all || self.groups.iter().any(|(member, _)| member == group)
    }

    /// Begins to listen to a group; whether it is the first who does.
    pub fn join(&mut self, group: IpAddress) -> bool {
        match self.groups.iter_mut().find(|(member, _)| *member == group) {
            Some((_, count)) => {
                *count += 1;
                false
            }
            None => {
                self.groups.push((group, 1));
                true
            }
        }
    }

    /// Ends what [`Link::join`] began; whether it was the last who did.
    pub fn leave(&mut self, group: IpAddress) -> bool {
        if let Some((_, count)) = self.groups.iter_mut().find(|(member, _)| *member == group) {
            *count -= 1;
        }
        self.groups.extract_if(.., |(_, count)| *count == 0).count() > 0
    }

    /// Returns the address to speak from when speaking to `to` through this interface: of its network, else of its reach, and of those the
    /// one that has most in common with it (RFC 6724, 5).
    pub fn source_for(&self, to: &IpAddress) -> Option<IpAddress> {
        let same_version = || self.addrs.iter().filter(|cidr| cidr.address().version() == to.version());
        let near = same_version().find(|cidr| super::route::contains(cidr, to));
        let common = |cidr: &&IpCidr| match (cidr.address(), to) {
            (IpAddress::Ipv6(own), IpAddress::Ipv6(to)) => (u128::from(own) ^ u128::from(*to)).leading_zeros(),
            _ => 0,
        };
        let reach = is_link_local(to);
        // Of equals the first.
        let same_reach =
            || same_version().filter(|cidr| is_link_local(&cidr.address()) == reach).rev().max_by_key(common);
        near.or_else(same_reach).or_else(|| same_version().next()).map(IpCidr::address)
    }

    /// Its IPv6 link-local address, if it has one.
    pub fn link_local(&self) -> Option<Ipv6Address> {
        self.addrs.iter().find_map(|cidr| match cidr.address() {
            IpAddress::Ipv6(addr) if addr.is_unicast_link_local() => Some(addr),
            _ => None,
        })
    }

    /// Gives a packet to one set of sockets; answers go out past the edge.
    pub fn ingress(&mut self, now: Instant, packet: &[u8], sockets: &mut SocketSet<'static>, edge: &mut Edge) {
        let mut wire = Wire { device: &mut *self.device, out: &mut self.out, packet: Some(packet), edge: Some(edge) };
        self.interface.poll_ingress_single(now, &mut wire, sockets);
    }

    /// Leaves a packet for the stack, which finds its way.
    pub fn leave_packet(&mut self, now: Instant, packet: Vec<u8>) {
        send(&mut *self.device, &mut self.out, now, packet);
    }

    /// Lets the sockets of a set send one packet each, past the edge; whether one did.
    pub fn egress(&mut self, now: Instant, sockets: &mut SocketSet<'static>, edge: &mut Edge) -> bool {
        let mut wire = Wire { device: &mut *self.device, out: &mut self.out, packet: None, edge: Some(edge) };
        let sent = self.interface.poll_egress(now, &mut wire, sockets);
        sent == smoltcp::iface::PollResult::SocketStateChanged
    }

    /// Returns when the sockets of a set want attention again.
    pub fn deadline(&mut self, now: Instant, sockets: &SocketSet<'static>) -> Option<Instant> {
        self.interface.poll_at(now, sockets)
    }

    /// Returns what a socket needs to start a connection.
    pub fn context(&mut self) -> &mut smoltcp::iface::Context {
        self.interface.context()
    }
}

/// All interfaces. Each keeps its place as long as it is there; of one that was destroyed something remains, so that every place that
/// was ever given names something, and is shown to nobody.
pub struct Links(Vec<Link>);

impl Links {
    /// Begins with some.
    pub fn new(links: impl IntoIterator<Item = Link>) -> Self {
        Self(links.into_iter().collect())
    }

    /// Those that are there.
    pub fn iter(&self) -> impl Iterator<Item = &Link> + Clone {
        self.0.iter().filter(|link| !link.is_gone())
    }

    /// Those that are there, with their places.
    pub fn places(&self) -> impl Iterator<Item = (usize, &Link)> + Clone {
        self.0.iter().enumerate().filter(|(_, link)| !link.is_gone())
    }

    /// Those that are there, for changing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Link)> {
        self.0.iter_mut().enumerate().filter(|(_, link)| !link.is_gone())
    }

    /// The one at a place.
    pub fn get(&self, at: usize) -> Option<&Link> {
        self.0.get(at).filter(|link| !link.is_gone())
    }

    /// Adds one; returns its place.
    pub fn add(&mut self, link: Link) -> usize {
        match self.0.iter().position(Link::is_gone) {
            Some(at) => {
                self.0[at] = link;
                at
            }
            None => {
                self.0.push(link);
                self.0.len() - 1
            }
        }
    }

    /// Destroys the one at a place.
    pub fn remove(&mut self, at: usize, now: Instant) -> Option<Link> {
        self.get(at)?;
        Some(std::mem::replace(&mut self.0[at], Link::gone(now)))
    }
}

impl<'a> IntoIterator for &'a Links {
    type Item = &'a Link;
    type IntoIter = std::vec::IntoIter<&'a Link>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}

impl std::ops::Index<usize> for Links {
    type Output = Link;

    fn index(&self, at: usize) -> &Link {
        &self.0[at]
    }
}

impl std::ops::IndexMut<usize> for Links {
    fn index_mut(&mut self, at: usize) -> &mut Link {
        &mut self.0[at]
    }
}

/// An IPv4-mapped IPv6 address taken apart.
pub fn mapped(addr: Ipv6Address) -> Option<Ipv4Address> {
    addr.to_ipv4_mapped()
}

/// Whether an address means something on one link only.
pub fn is_link_local(addr: &IpAddress) -> bool {
    match addr {
        IpAddress::Ipv4(addr) => addr.is_link_local(),
        IpAddress::Ipv6(addr) => addr.is_unicast_link_local() || matches!(addr.segments()[0] & 0xff0f, 0xff01 | 0xff02),
    }
}

/// The group that asks for an address (RFC 4291, 2.7.1).
pub fn solicited_node(addr: &Ipv6Address) -> Ipv6Address {
    let tail = addr.octets();
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Address::new(0xff02, 0, 0, 0, 0, 1, word(0xff, tail[13]), word(tail[14], tail[15]))
}

/// Makes smoltcp's interface for a device.
fn machine(device: &mut dyn NetDevice, out: &mut Vec<Vec<u8>>, now: Instant, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut Wire { device, out, packet: None, edge: None }, now);
    interface.set_any_ip(true);
    interface
}

/// A device with at most one received packet, as smoltcp wants to see it: whatever the frames are, it sees bare packets. What goes out of
/// the loopback comes in at once; anything else still has to find its way.
struct Wire<'a> {
    device: &'a mut dyn NetDevice,
    out: &'a mut Vec<Vec<u8>>,
    packet: Option<&'a [u8]>,
    edge: Option<&'a mut Edge>,
}

struct Rx<'a>(&'a [u8]);

struct Tx<'a> {
    device: &'a mut dyn NetDevice,
    out: &'a mut Vec<Vec<u8>>,
    edge: Option<&'a mut Edge>,
    now: Instant,
}

/// What goes out of the loopback comes in at once; anything else waits for the stack.
fn send(device: &mut dyn NetDevice, out: &mut Vec<Vec<u8>>, now: Instant, packet: Vec<u8>) {
    match device.is_loopback() {
        true => device.transmit(now, packet),
        false => out.push(packet),
    }
}

impl phy::Device for Wire<'_> {
    type RxToken<'a>
        = Rx<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a>
    where
        Self: 'a;

    fn receive(&mut self, now: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        let packet = self.packet.take()?;
        Some((Rx(packet), Tx { device: &mut *self.device, out: &mut *self.out, edge: self.edge.as_deref_mut(), now }))
    }

    fn transmit(&mut self, now: Instant) -> Option<Tx<'_>> {
        Some(Tx { device: &mut *self.device, out: &mut *self.out, edge: self.edge.as_deref_mut(), now })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.device.mtu();
        if self.device.is_loopback() {
            caps.checksum = ChecksumCapabilities::ignored();
            caps.checksum.ipv4 = Checksum::None;
        }
        caps
    }
}

impl phy::RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = self.device.buffer(len);
        let result = f(&mut packet);
        let checksums = !self.device.is_loopback();
        if let Some(edge) = self.edge {
            edge.leaves(self.now, &mut packet, checksums);
        }
        send(self.device, self.out, self.now, packet);
        result
    }
}
