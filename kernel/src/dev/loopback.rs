//! `lo`: what is sent arrives here.

use std::collections::VecDeque;

use smoltcp::phy::Medium;

use super::net::{Counters, NetDevice};

/// The longest packet; all that an IPv4 header can say.
const MTU: usize = 65535;
/// Buffers kept for the next packets.
const SPARE: usize = 16;

/// The loopback device.
#[derive(Default)]
pub struct Loopback {
    queue: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    counters: Counters,
}

impl NetDevice for Loopback {
    fn medium(&self) -> Medium {
        Medium::Ip
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn transmit(&mut self, frame: Vec<u8>) {
        self.counters.packets_out += 1;
        self.counters.bytes_out += frame.len() as u64;
        self.queue.push_back(frame);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let frame = self.queue.pop_front()?;
        self.counters.packets_in += 1;
        self.counters.bytes_in += frame.len() as u64;
        Some(frame)
    }

    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(frame);
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn is_loopback(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order_and_are_counted() {
        let mut lo = Loopback::default();
        lo.transmit(vec![1]);
        lo.transmit(vec![2, 2]);
        assert_eq!(lo.receive(), Some(vec![1]));
        assert_eq!(lo.receive(), Some(vec![2, 2]));
        assert_eq!(lo.receive(), None);
        assert_eq!((lo.counters().packets_in, lo.counters().bytes_out), (2, 3));
    }
}
