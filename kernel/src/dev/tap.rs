//! `virt` and `tap`: Ethernet to the real network, by a tap interface of the host.
//!
//! `virtN` is the host's `tunN`, as in the original; `tapN` is the host's interface of the same name. What is sent through one arrives at
//! the other. The host's interface is made if it is not there, and goes with ours then; one that `ip tuntap add` has made stays.

use std::sync::Arc;

use abi::Result;
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::net::{Counters, ETHERNET_MTU, NetDevice, Request, within};
use crate::rumpuser::{Port, Signal};

/// The longest that can be asked for: the original's receive buffer, less the header.
const MAX_MTU: usize = 9004;
/// The longest frame that is taken.
const FRAME: usize = 65536;

struct Tap {
    port: Arc<dyn Port>,
    mac: EthernetAddress,
    mtu: usize,
    up: bool,
    counters: Counters,
    buffer: Vec<u8>,
}

/// Makes `virtN`.
pub fn open_virt(request: &Request<'_>) -> Result<Box<dyn NetDevice>> {
    let mut random = [0; 1];
    request.host.random(&mut random);
    let mac = [0xb2, 0x0a, random[0], 0x0b, 0x0e, request.unit as u8];
    open(request, &format!("tun{}", request.unit), EthernetAddress(mac))
}

/// Makes `tapN`.
pub fn open_tap(request: &Request<'_>) -> Result<Box<dyn NetDevice>> {
    let name = format!("tap{}", request.unit);
    open(request, &name, request.mac([0xf2, 0x0b, 0xa4]))
}

fn open(request: &Request<'_>, name: &str, mac: EthernetAddress) -> Result<Box<dyn NetDevice>> {
    let port = request.host.open_tap(name)?;
    let counters = Counters::default();
    Ok(Box::new(Tap { port, mac, mtu: ETHERNET_MTU, up: false, counters, buffer: vec![0; FRAME] }))
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.port.stop();
    }
}

impl NetDevice for Tap {
    fn medium(&self) -> Medium {
        Medium::Ethernet
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn set_mtu(&mut self, mtu: usize) -> Result<()> {
        self.mtu = within(mtu, MAX_MTU)?;
        Ok(())
    }

    fn mac(&self) -> Option<EthernetAddress> {
        Some(self.mac)
    }

    fn set_up(&mut self, up: bool) -> Result<()> {
        self.up = up;
        Ok(())
    }

    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        // The host's interface may be down (`EIO`), or its queue full.
        match self.port.send(&frame) {
            Ok(()) => self.counters.went(frame.len()),
            Err(_) => self.counters.dropped_out += 1,
        }
    }

    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        loop {
            let len = self.port.receive(&mut self.buffer).ok()?;
            if self.up {
                self.counters.came(len);
                return Some(self.buffer[..len.min(FRAME)].to_vec());
            }
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn signal(&self) -> Option<Arc<dyn Signal>> {
        Some(self.port.clone())
    }
}
