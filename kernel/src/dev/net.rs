//! Network devices: what frames go out through and come in from.

use std::path::Path;
use std::sync::Arc;

use abi::{Errno, Result};
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::rumpuser::{Rumpuser, Signal};

/// Frames and bytes that passed a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames received.
    pub packets_in: u64,
    /// Frames sent.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Frames that came and were lost, as far as the device knows.
    pub dropped_in: u64,
    /// Frames that could not be sent.
    pub dropped_out: u64,
}

impl Counters {
    /// Counts a frame that came.
    pub fn came(&mut self, len: usize) {
        self.packets_in += 1;
        self.bytes_in += len as u64;
    }

    /// Counts a frame that was sent.
    pub fn went(&mut self, len: usize) {
        self.packets_out += 1;
        self.bytes_out += len as u64;
    }
}

/// A network device. It reads no clock and never blocks; one that wraps another is a device itself.
pub trait NetDevice: Send {
    /// Whether frames are Ethernet frames or bare IP packets.
    fn medium(&self) -> Medium;
    /// The longest packet in bytes, without what Ethernet puts before it.
    fn mtu(&self) -> usize;
    /// Changes that; `EINVAL` where it cannot be changed, or to that.
    fn set_mtu(&mut self, _mtu: usize) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// The hardware address of an Ethernet device.
    fn mac(&self) -> Option<EthernetAddress> {
        None
    }
    /// Begins or ends to work; `ENXIO` without what it is to be connected to.
    fn set_up(&mut self, _up: bool) -> Result<()> {
        Ok(())
    }
    /// Sends a frame, by the next [`NetDevice::flush`] at the latest; what does not fit is lost, as on a wire.
    fn transmit(&mut self, now: Instant, frame: Vec<u8>);
    /// Takes the next frame that arrived.
    fn receive(&mut self, now: Instant) -> Option<Vec<u8>>;
    /// All is quiet for now: sends what waits to be sent with others, and sees to it that what was not received yet is asked for.
    fn flush(&mut self, now: Instant) {
        if let Some(inner) = self.inner() {
            inner.flush(now);
        }
    }
    /// When [`NetDevice::receive`] must be called at the latest, whatever happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Returns a buffer of `len` bytes for a frame to be sent; its contents are arbitrary.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        vec![0; len]
    }
    /// Takes back a buffer that [`NetDevice::receive`] gave.
    fn recycle(&mut self, _frame: Vec<u8>) {}
    /// What passed so far.
    fn counters(&self) -> Counters;
    /// Whether somebody looks at what passes or changes it, so that no connection may go round it.
    fn is_watched(&self) -> bool {
        false
    }
    /// Whether what is sent arrives here again, so that checksums mean nothing.
    fn is_loopback(&self) -> bool {
        false
    }
    /// What it is connected to (`SIOCGLINKSTR`); `ENOENT` if that is not set, `EINVAL` for a device that has no such thing.
    fn link_string(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }
    /// Connects it, or ends that (`SIOCSLINKSTR`); returns what tells that frames have arrived.
    fn set_link_string(&mut self, _host: &dyn Rumpuser, _to: Option<&Path>) -> Result<Option<Arc<dyn Signal>>> {
        Err(Errno::EINVAL)
    }
    /// What tells that frames have arrived, for a device that is connected from its beginning.
    fn signal(&self) -> Option<Arc<dyn Signal>> {
        None
    }
    /// The device below, for one that wraps another.
    fn inner(&mut self) -> Option<&mut Box<dyn NetDevice>> {
        None
    }
    /// The name of its kind as a wrapper, and how it is set.
    fn wrapper(&self) -> Option<(&'static str, String)> {
        None
    }
    /// Changes how a wrapper works; `EINVAL` for words that make no sense to it.
    fn set_wrapper(&mut self, _words: &str) -> Result<()> {
        Err(Errno::EINVAL)
    }
}

/// What a device is made of.
pub struct Request<'a> {
    /// The host.
    pub host: &'a dyn Rumpuser,
    /// The number behind the name of its kind.
    pub unit: u32,
}

impl Request<'_> {
    /// Returns a hardware address that begins as given and goes on at random.
    pub fn mac(&self, begin: [u8; 3]) -> EthernetAddress {
        let [one, two, three] = begin;
        let mut mac = [one, two, three, 0, 0, 0];
        self.host.random(&mut mac[3..]);
        EthernetAddress(mac)
    }
}

/// The longest packet of Ethernet, to begin with.
pub const ETHERNET_MTU: usize = 1500;

/// Returns an MTU that IPv4 can live with (RFC 791) and that is not above the longest; `EINVAL` for any other.
pub fn within(mtu: usize, longest: usize) -> Result<usize> {
    const SHORTEST: usize = 68;
    Some(mtu).filter(|mtu| (SHORTEST..=longest).contains(mtu)).ok_or(Errno::EINVAL)
}

/// Makes a device of one kind.
type Open = fn(&Request<'_>) -> Result<Box<dyn NetDevice>>;

/// The kinds of devices, by the name of their interfaces.
pub const KINDS: &[(&str, Open)] = &[
    ("lo", |_| Ok(Box::new(super::loopback::Loopback::default()))),
    ("qemu", super::qemu::open),
    ("shmif", super::shmif::open),
    ("tap", super::tap::open_tap),
    ("virt", super::tap::open_virt),
];

/// Puts a wrapper of one kind around a device.
type Wrap =
    fn(&dyn Rumpuser, Box<dyn NetDevice>, &str) -> std::result::Result<Box<dyn NetDevice>, (Errno, Box<dyn NetDevice>)>;

/// The kinds of wrappers.
pub const WRAPPERS: &[(&str, Wrap)] = &[("netem", super::netem::wrap), ("pcap", super::pcap::wrap)];

/// A device that loses everything: in the place of one that was destroyed.
pub struct Null;

impl NetDevice for Null {
    fn medium(&self) -> Medium {
        Medium::Ip
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn transmit(&mut self, _now: Instant, _frame: Vec<u8>) {}

    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        None
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}
