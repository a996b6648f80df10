//! `qemu`: Ethernet over a stream socket of the host, as QEMU (`-netdev stream`), passt(1) and libslirp's helpers speak it.
//!
//! Its link string is where the other end is: `unix://PATH` or `tcp://ADDRESS:PORT`, or, with `listen:` before it, where it will come to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use abi::{Errno, Result};
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::net::{Counters, ETHERNET_MTU, NetDevice, Request, within};
use crate::rumpuser::{Port, Rumpuser, Signal};

/// The longest that can be asked for: what QEMU's socket takes, less the header.
const MAX_MTU: usize = 65521;
/// The longest frame that is taken.
const FRAME: usize = 65536;

struct Qemu {
    /// The socket, and how it was named.
    connected: Option<(Arc<dyn Port>, Vec<u8>)>,
    mac: EthernetAddress,
    mtu: usize,
    up: bool,
    counters: Counters,
    buffer: Vec<u8>,
}

/// Makes `qemuN`.
pub fn open(request: &Request<'_>) -> Result<Box<dyn NetDevice>> {
    // The prefix of QEMU's own addresses, which are administered locally too.
    let (mac, counters) = (request.mac([0x52, 0x54, 0]), Counters::default());
    Ok(Box::new(Qemu { connected: None, mac, mtu: ETHERNET_MTU, up: false, counters, buffer: vec![0; FRAME] }))
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if let Some((port, _)) = &self.connected {
            port.stop();
        }
    }
}

impl NetDevice for Qemu {
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
        if up && self.connected.is_none() {
            return Err(Errno::ENXIO);
        }
        self.up = up;
        Ok(())
    }

    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        // Nobody may be there (`ENOTCONN`), or there may be no room.
        match self.connected.as_ref().map(|(port, _)| port.send(&frame)) {
            Some(Ok(())) => self.counters.went(frame.len()),
            _ => self.counters.dropped_out += 1,
        }
    }

    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        let (port, _) = self.connected.as_ref()?;
        loop {
            let len = port.receive(&mut self.buffer).ok()?;
            if self.up {
                self.counters.came(len);
                return Some(self.buffer[..len.min(FRAME)].to_vec());
            }
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn link_string(&self) -> Result<Vec<u8>> {
        self.connected.as_ref().map(|(_, name)| name.clone()).ok_or(Errno::ENOENT)
    }

    fn set_link_string(&mut self, host: &dyn Rumpuser, to: Option<&Path>) -> Result<Option<Arc<dyn Signal>>> {
        let Some(to) = to else {
            if let Some((port, _)) = self.connected.take() {
                port.stop();
            }
            return Ok(None);
        };
        if self.connected.is_some() {
            return Err(Errno::EBUSY);
        }
        let port = host.open_stream(to.to_str().ok_or(Errno::EINVAL)?)?;
        self.connected = Some((port.clone(), to.as_os_str().as_bytes().to_vec()));
        Ok(Some(port))
    }
}
