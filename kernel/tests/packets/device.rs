//! A network device whose wire is in the hands of the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use kernel::dev::net::{Counters, NetDevice};
use kernel::proc::lock;
use smoltcp::phy::Medium;
use smoltcp::time::Instant;

/// What is on the wire, both ways.
#[derive(Default)]
pub struct Wire {
    /// To the kernel.
    pub arriving: VecDeque<Vec<u8>>,
    /// From the kernel.
    pub leaving: VecDeque<Vec<u8>>,
}

/// The kernel's side of the wire.
pub struct TestDevice(pub Arc<Mutex<Wire>>);

impl NetDevice for TestDevice {
    fn medium(&self) -> Medium {
        Medium::Ip
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        lock(&self.0).leaving.push_back(frame);
    }
    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        lock(&self.0).arriving.pop_front()
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}
