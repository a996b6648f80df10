//! Network devices: what frames go out through and come in from.

use smoltcp::phy::Medium;

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
}

/// A network device. It reads no clock and never blocks; one that wraps another is a device itself.
pub trait NetDevice: Send {
    /// Whether frames are Ethernet frames or bare IP packets.
    fn medium(&self) -> Medium;
    /// The longest frame in bytes.
    fn mtu(&self) -> usize;
    /// Sends a frame; what does not fit is lost, as on a wire.
    fn transmit(&mut self, frame: Vec<u8>);
    /// Takes the next frame that arrived.
    fn receive(&mut self) -> Option<Vec<u8>>;
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
}

/// Makes a device of one kind.
type Open = fn() -> Box<dyn NetDevice>;

/// The kinds of devices, by the name of their interfaces.
pub const KINDS: &[(&str, Open)] = &[("lo", || Box::new(super::loopback::Loopback::default()))];
