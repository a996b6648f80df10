//! Network interfaces: a device, its addresses, and the packet machinery between them and the sockets.

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv6Address};

use crate::dev::net::NetDevice;

/// A network interface.
pub struct Link {
    /// `lo0` and the like.
    pub name: String,
    /// Its number, from 1.
    pub index: u32,
    /// Its addresses.
    pub addrs: Vec<IpCidr>,
    /// The groups that somebody here listens to, and how many do.
    pub groups: Vec<(IpAddress, usize)>,
    /// What frames go through.
    pub device: Box<dyn NetDevice>,
    /// smoltcp's interface. It answers for any address: which ones are ours is decided here.
    interface: Interface,
    /// A set without a socket: a packet given to it gets the answer of a closed port.
    nobody: SocketSet<'static>,
}

impl Link {
    /// Makes an interface; `seed` feeds its initial sequence numbers.
    pub fn new(
        name: &str,
        index: u32,
        mut device: Box<dyn NetDevice>,
        addrs: Vec<IpCidr>,
        now: Instant,
        seed: u64,
    ) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut Wire::out(&mut *device), now);
        interface.set_any_ip(true);
        Self {
            name: name.into(),
            index,
            addrs,
            groups: Vec::new(),
            device,
            interface,
            nobody: SocketSet::new(Vec::new()),
        }
    }

    /// Makes `lo0` with 127.0.0.1/8, ::1/128 and fe80::1/64.
    pub fn loopback(device: Box<dyn NetDevice>, now: Instant, seed: u64) -> Self {
        let addrs = vec![
            IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8),
            IpCidr::new(IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1), 128),
            IpCidr::new(IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64),
        ];
        Self::new("lo0", 1, device, addrs, now, seed)
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

    /// One socket more listens to a group.
    pub fn join(&mut self, group: IpAddress) {
        match self.groups.iter_mut().find(|(member, _)| *member == group) {
            Some((_, count)) => *count += 1,
            None => self.groups.push((group, 1)),
        }
    }

    /// Ends what [`Link::join`] began.
    pub fn leave(&mut self, group: IpAddress) {
        if let Some((_, count)) = self.groups.iter_mut().find(|(member, _)| *member == group) {
            *count -= 1;
        }
        self.groups.retain(|(_, count)| *count > 0);
    }

    /// Returns the address to speak from when speaking to `to` through this interface.
    pub fn source_for(&self, to: &IpAddress) -> Option<IpAddress> {
        let same_version = || self.addrs.iter().filter(|cidr| cidr.address().version() == to.version());
        let near = same_version().find(|cidr| cidr.contains_addr(to));
        near.or_else(|| same_version().next()).map(IpCidr::address)
    }

    /// Gives a frame to one set of sockets; answers go out through the device.
    pub fn ingress(&mut self, now: Instant, frame: &[u8], sockets: &mut SocketSet<'static>) {
        self.interface.poll_ingress_single(now, &mut Wire { device: &mut *self.device, frame: Some(frame) }, sockets);
    }

    /// Answers a frame that nobody wants: a reset, an unreachable, an echo.
    pub fn refuse(&mut self, now: Instant, frame: &[u8]) {
        let mut wire = Wire { device: &mut *self.device, frame: Some(frame) };
        self.interface.poll_ingress_single(now, &mut wire, &mut self.nobody);
    }

    /// Lets the sockets of a set send one packet each; whether one did.
    pub fn egress(&mut self, now: Instant, sockets: &mut SocketSet<'static>) -> bool {
        let sent = self.interface.poll_egress(now, &mut Wire::out(&mut *self.device), sockets);
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

/// An IPv4-mapped IPv6 address taken apart.
pub fn mapped(addr: Ipv6Address) -> Option<Ipv4Address> {
    addr.to_ipv4_mapped()
}

/// A device with at most one received frame, as smoltcp wants to see it.
struct Wire<'a> {
    device: &'a mut dyn NetDevice,
    frame: Option<&'a [u8]>,
}

impl<'a> Wire<'a> {
    fn out(device: &'a mut dyn NetDevice) -> Self {
        Self { device, frame: None }
    }
}

struct Rx<'a>(&'a [u8]);
struct Tx<'a>(&'a mut dyn NetDevice);

impl phy::Device for Wire<'_> {
    type RxToken<'a>
        = Rx<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        let frame = self.frame.take()?;
        Some((Rx(frame), Tx(&mut *self.device)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut *self.device))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = self.device.medium();
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
        let mut frame = self.0.buffer(len);
        let result = f(&mut frame);
        self.0.transmit(frame);
        result
    }
}
