//! A network device whose wire is in the hands of the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use kernel::dev::net::{Counters, NetDevice};
use kernel::proc::lock;
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// What is on the wire, both ways.
#[derive(Default)]
pub struct Wire {
    /// To the kernel.
    pub arriving: VecDeque<Vec<u8>>,
    /// From the kernel.
    pub leaving: VecDeque<Vec<u8>>,
}

/// The kernel's side of the wire; with a hardware address it is Ethernet.
pub struct TestDevice(pub Arc<Mutex<Wire>>, pub Option<EthernetAddress>);

impl NetDevice for TestDevice {
    fn medium(&self) -> Medium {
        if self.1.is_some() { Medium::Ethernet } else { Medium::Ip }
    }
    fn mac(&self) -> Option<EthernetAddress> {
        self.1
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        if !tells_of_groups(&frame) {
            lock(&self.0).leaving.push_back(frame);
        }
    }
    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        lock(&self.0).arriving.pop_front()
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// Whether a frame tells routers of a group of IPv6: that comes at times of its own, and no script is about it.
fn tells_of_groups(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&0) && frame.get(62) == Some(&143)
}
