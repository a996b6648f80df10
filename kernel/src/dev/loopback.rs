//! `lo`: what is sent arrives here.

use std::collections::VecDeque;

use smoltcp::phy::Medium;
use smoltcp::time::Instant;

use super::net::{Counters, NetDevice};

/// The longest packet; all that an IPv4 header can say. Linux says one more, which no packet can have: only the number itself tells.
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

    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        self.counters.went(frame.len());
        self.queue.push_back(frame);
    }

    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        let frame = self.queue.pop_front()?;
        self.counters.came(frame.len());
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
        lo.transmit(Instant::ZERO, vec![1]);
        lo.transmit(Instant::ZERO, vec![2, 2]);
        assert_eq!(lo.receive(Instant::ZERO), Some(vec![1]));
        assert_eq!(lo.receive(Instant::ZERO), Some(vec![2, 2]));
        assert_eq!(lo.receive(Instant::ZERO), None);
        assert_eq!((lo.counters().packets_in, lo.counters().bytes_out), (2, 3));
    }
}
