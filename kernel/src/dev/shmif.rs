//! `shmif`: Ethernet over a file that any number of kernels map, NetBSD's rump kernels among them.
//!
//! The file is a ring of frames behind a header ([`Header`]); all numbers are in the host's byte order. Who sends a frame stores it behind the newest,
//! over the oldest if there is no room; who is too slow loses frames, as on a wire. A write(2) to the file tells all others.
//!
//! One word is the lock of the ring: 0 is free. Who finds it held for [`PATIENCE`] takes it over: its holder needs microseconds, so it has died
//! (or was stopped; then it finds that the lock is no longer its own). The original writes 1 there; a number of our own tells us apart.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use abi::{Errno, Result};
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::net::{Counters, NetDevice, Request};
use crate::rumpuser::{Bus, Rumpuser, Signal};

/// Length of the file.
const BUS: usize = 1 << 20;
/// Where the ring begins.
const RING_AT: usize = 32;
/// Length of the ring.
const RING: u32 = (BUS - RING_AT) as u32;
/// What the file begins with.
const MAGIC: u32 = 0xca11_d054;
/// What the file says that its format is, once somebody has sent something.
const VERSION: u32 = 3;
/// Where the version stands, the generation, the place of the oldest packet, and the lock.
const VERSION_AT: usize = 4;
const GENERATION_AT: usize = 8;
const LOCK_AT: usize = 24;
/// Length of what stands before each frame.
const RECORD: u32 = 24;
/// Lengths of a frame.
const FRAME: std::ops::RangeInclusive<u32> = 14..=9018;
/// Tries for the lock before a sender lets its frames wait for the reader.
const TRIES: u32 = 200;
/// How long one holder may have the lock.
const PATIENCE: Duration = Duration::from_millis(500);
/// Frames that wait for the lock.
const WAITING: usize = 1024;
/// The longest name of a file (`E2BIG` beyond).
const NAME: usize = 1024;
/// The longest packet to begin with, the longest and the shortest that can be asked for.
const MTU: usize = 1500;
const MTUS: std::ops::RangeInclusive<usize> = 68..=9000;

struct Shmif {
    mac: EthernetAddress,
    mtu: usize,
    /// Who we are on the bus.
    sender: u64,
    up: bool,
    connected: Option<Connected>,
    counters: Counters,
}

struct Connected {
    path: Vec<u8>,
    bus: Arc<dyn Bus>,
    /// Where the next packet is read.
    position: u32,
    /// How often the ring had begun anew by then.
    generation: u64,
    /// Frames that wait for the lock.
    waiting: VecDeque<Vec<u8>>,
    /// What the lock and the header were since when, if the lock was found held the last time.
    held: Option<(u32, Header, Instant)>,
    time: Instant,
}

/// What stands between the version and the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    generation: u64,
    /// The oldest packet.
    first: u32,
    /// The newest.
    last: u32,
}

/// Makes `shmifN`.
pub fn open(request: &Request<'_>) -> Result<Box<dyn NetDevice>> {
    let (mut mac, mut sender) = ([0xb2, 0xa0, 0, 0, 0, 0], [0; 8]);
    request.host.random(&mut mac[2..]);
    request.host.random(&mut sender);
    let (mac, sender) = (EthernetAddress(mac), u64::from_ne_bytes(sender));
    Ok(Box::new(Shmif { mac, mtu: MTU, sender, up: false, connected: None, counters: Counters::default() }))
}

impl Connected {
    fn open(host: &dyn Rumpuser, path: &Path, token: u32) -> Result<Self> {
        let bus = host.open_bus(path, BUS)?;
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        let time = Instant::from_micros(host.monotonic().as_micros() as i64);
        let mut connected =
            Self { path: name, bus, position: 0, generation: 0, waiting: VecDeque::new(), held: None, time };
        let magic = connected.word(0)?;
        if magic != 0 && magic != MAGIC {
            host.console(b"bus is not magical\n");
            return Err(Errno::ENOEXEC);
        }
        // Nothing else runs before the interface is there, so it may take as long as a holder may.
        let give_up = host.monotonic() + PATIENCE;
        let mut found = connected.bus.exchange(LOCK_AT, 0, token)?;
        while found != 0 {
            let expected = if host.monotonic() < give_up { 0 } else { found };
            connected.bus.rest();
            found = match connected.bus.exchange(LOCK_AT, expected, token)? {
                old if old == expected => 0,
                other => other,
            };
        }
        if connected.word(0)? == 0 {
            let fresh = Header { generation: 0, first: RING, last: 0 };
            connected.set_header(fresh)?;
            connected.bus.store(0, &MAGIC.to_ne_bytes())?;
        }
        connected.bus.exchange(LOCK_AT, token, 0)?;
        connected.rewind()?;
        Ok(connected)
    }

    /// Begins with the newest packet.
    fn rewind(&mut self) -> Result<()> {
        let header = self.header()?;
        let (len, _) = self.record(header.last)?;
        // One that reaches the end of the ring is counted already.
        let wraps = header.last + RECORD + len.min(*FRAME.end()) >= RING;
        (self.position, self.generation) = (header.last, header.generation.wrapping_sub(u64::from(wraps)));
        Ok(())
    }

    fn word(&self, at: usize) -> Result<u32> {
        let mut word = [0; 4];
        self.bus.load(at, &mut word)?;
        Ok(u32::from_ne_bytes(word))
    }

    fn header(&self) -> Result<Header> {
        let mut bytes = [0; 16];
        self.bus.load(GENERATION_AT, &mut bytes)?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let generation = u64::from(word(0)) | u64::from(word(4)) << 32;
        // Whatever stands there, no place is beyond the ring.
        Ok(Header { generation, first: word(8).min(RING), last: word(12) % RING })
    }

    fn set_header(&self, header: Header) -> Result<()> {
        let (first, last) = (header.first.to_ne_bytes(), header.last.to_ne_bytes());
        self.bus.store(GENERATION_AT, &[&header.generation.to_ne_bytes()[..], &first, &last].concat())
    }

    /// Tries to take the lock; takes it over from a holder that has had it for too long.
    fn lock(&mut self, token: u32) -> Result<bool> {
        let mut found = 0;
        for _ in 0..TRIES {
            found = self.bus.exchange(LOCK_AT, 0, token)?;
            if found == 0 {
                self.held = None;
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        let header = self.header()?;
        match self.held {
            Some((holder, before, since)) if (holder, before) == (found, header) => {
                if self.time < since + PATIENCE.into() {
                    self.bus.rest();
                    return Ok(false);
                }
                self.held = None;
                Ok(self.bus.exchange(LOCK_AT, found, token)? == found)
            }
            _ => {
                self.held = Some((found, header, self.time));
                Ok(false)
            }
        }
    }

    /// Gives the lock back, unless somebody has taken it over meanwhile.
    fn unlock(&self, token: u32) -> Result<()> {
        self.bus.exchange(LOCK_AT, token, 0).map(drop)
    }

    /// Reads from the ring; returns where the next byte stands, and whether the end of the ring was passed.
    fn read(&self, at: u32, buf: &mut [u8]) -> Result<(u32, bool)> {
        let at = at % RING;
        let before = buf.len().min((RING - at) as usize);
        let (head, tail) = buf.split_at_mut(before);
        self.bus.load(RING_AT + at as usize, head)?;
        self.bus.load(RING_AT, tail)?;
        let end = u64::from(at) + buf.len() as u64;
        Ok(((end % u64::from(RING)) as u32, end >= u64::from(RING)))
    }

    /// Length of the frame whose record stands at a place, and who sent it.
    fn record(&self, at: u32) -> Result<(u32, u64)> {
        let mut record = [0; RECORD as usize];
        self.read(at, &mut record)?;
        Ok(parse(&record))
    }

    /// Where the record behind another one stands.
    fn next(&self, at: u32) -> Result<u32> {
        let (len, _) = self.record(at)?;
        // A frame that is longer than any can be was torn by a crash; then the ring begins anew behind it.
        let len = if len > *FRAME.end() { 0 } else { len };
        Ok(((u64::from(at) + u64::from(RECORD + len)) % u64::from(RING)) as u32)
    }

    /// Stores a piece behind others; what is overwritten is not the oldest packet any more.
    fn write(&self, header: &mut Header, at: u32, data: &[u8]) -> Result<u32> {
        let len = data.len() as u32;
        // As the original counts: one more when the piece ends exactly at the end of the ring.
        let covers = |first: u32, off: u32, len: u32| {
            let len = if off + len == RING { len + 1 } else { len };
            off <= first.saturating_add(RECORD) && off + len > first
        };
        let before = len.min(RING - at);
        for (off, len) in [(at, before), (0, len - before)] {
            let mut steps = 0;
            while len > 0 && covers(header.first, off, len) {
                header.first = self.next(header.first)?;
                steps += 1;
                if steps > RING / RECORD {
                    // Torn by a crash: the oldest is the one that is being written.
                    header.first = header.last;
                    break;
                }
            }
        }
        let (head, tail) = data.split_at(before as usize);
        self.bus.store(RING_AT + at as usize, head)?;
        self.bus.store(RING_AT, tail)?;
        if at + len >= RING {
            header.generation += 1;
        }
        Ok((at + len) % RING)
    }

    /// Puts a frame on the bus; the lock is held.
    fn put(&self, sender: u64, now: Instant, frame: &[u8]) -> Result<()> {
        let mut header = self.header()?;
        header.last = self.next(header.last)?;
        let micros = now.total_micros().max(0) as u64;
        let mut record = [0; RECORD as usize];
        record[..4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        record[4..8].copy_from_slice(&((micros / 1_000_000) as u32).to_ne_bytes());
        record[8..12].copy_from_slice(&((micros % 1_000_000) as u32).to_ne_bytes());
        record[16..].copy_from_slice(&sender.to_ne_bytes());
        let last = header.last;
        let at = self.write(&mut header, last, &record)?;
        self.write(&mut header, at, frame)?;
        self.set_header(header)
    }

    /// Takes the next frame; the lock is held. `None` when there is no more, an empty one for one of no interest.
    fn get(&mut self, sender: u64) -> Result<Option<Vec<u8>>> {
        let header = self.header()?;
        let end = self.next(header.last)?;
        let ring = u64::from(RING);
        let newest = header.generation.wrapping_mul(ring).wrapping_add(u64::from(end));
        // The oldest is of the lap before, unless it stands before the end of the newest.
        let back = if header.first >= end { ring } else { 0 };
        let span = newest
            .wrapping_sub(newest.wrapping_sub(u64::from(end)).wrapping_add(u64::from(header.first)).wrapping_sub(back));
        let behind = newest.wrapping_sub(self.generation.wrapping_mul(ring).wrapping_add(u64::from(self.position)));
        if behind == 0 {
            return Ok(None);
        }
        if behind > span {
            // What was to be read next is overwritten.
            let oldest = newest.wrapping_sub(span);
            (self.position, self.generation) = ((oldest % ring) as u32, oldest / ring);
        }
        let mut record = [0; RECORD as usize];
        let (at, wrapped) = self.read(self.position, &mut record)?;
        let (len, from) = parse(&record);
        if len > *FRAME.end() {
            // Torn by a crash.
            (self.position, self.generation) = (end, header.generation);
            return Ok(None);
        }
        let mut frame = vec![0; len as usize];
        let (next, again) = self.read(at, &mut frame)?;
        self.position = next;
        self.generation = self.generation.wrapping_add(u64::from(wrapped || again && len > 0));
        if from == sender || !FRAME.contains(&len) {
            frame.clear();
        }
        Ok(Some(frame))
    }
}

/// Takes a record apart: the length of the frame, and who sent it.
fn parse(record: &[u8; RECORD as usize]) -> (u32, u64) {
    let mut sender = [0; 8];
    sender.copy_from_slice(&record[16..]);
    (u32::from_ne_bytes([record[0], record[1], record[2], record[3]]), u64::from_ne_bytes(sender))
}

impl Shmif {
    /// The number by which we hold the lock: neither free nor the original's.
    fn token(&self) -> u32 {
        (self.sender as u32 | 2) & !(1 << 31)
    }

    /// Sends what waits, if the lock can be had.
    fn send(&mut self, now: Instant) -> Result<()> {
        let token = self.token();
        let Some(connected) = &mut self.connected else { return Ok(()) };
        connected.time = now;
        if connected.waiting.is_empty() || !connected.lock(token)? {
            if !connected.waiting.is_empty() {
                connected.bus.remind();
            }
            return Ok(());
        }
        let mut done = Ok(());
        while let Some(frame) = connected.waiting.pop_front() {
            done = connected.put(self.sender, now, &frame);
            if done.is_err() {
                self.counters.dropped_out += 1;
                break;
            }
            self.counters.went(frame.len());
        }
        connected.unlock(token)?;
        connected.bus.tell(VERSION_AT, &VERSION.to_ne_bytes())?;
        done
    }

    fn take(&mut self, now: Instant) -> Result<Option<Vec<u8>>> {
        let token = self.token();
        let Some(connected) = &mut self.connected else { return Ok(None) };
        connected.time = now;
        loop {
            // First forget what was told, then look: who tells meanwhile is heard the next time.
            if !connected.bus.was_told() {
                return Ok(None);
            }
            if !self.up {
                return Ok(None);
            }
            if !connected.lock(token)? {
                connected.bus.remind();
                return Ok(None);
            }
            let frame = connected.get(self.sender);
            connected.unlock(token)?;
            match frame? {
                None => return Ok(None),
                Some(frame) => {
                    connected.bus.remind();
                    let to = frame.get(..6).map(EthernetAddress::from_bytes);
                    if to.is_some_and(|to| to == self.mac || !to.is_unicast()) {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }
}

impl Drop for Shmif {
    fn drop(&mut self) {
        if let Some(connected) = &self.connected {
            connected.bus.stop();
        }
    }
}

impl NetDevice for Shmif {
    fn medium(&self) -> Medium {
        Medium::Ethernet
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn set_mtu(&mut self, mtu: usize) -> Result<()> {
        self.mtu = Some(mtu).filter(|mtu| MTUS.contains(mtu)).ok_or(Errno::EINVAL)?;
        Ok(())
    }

    fn mac(&self) -> Option<EthernetAddress> {
        Some(self.mac)
    }

    fn set_up(&mut self, up: bool) -> Result<()> {
        let connected = self.connected.as_mut();
        match connected {
            None if up => return Err(Errno::ENXIO),
            Some(connected) if up => {
                // The newest packet is read once more, as in the original.
                connected.rewind()?;
                connected.bus.remind();
            }
            _ => {}
        }
        self.up = up;
        Ok(())
    }

    fn transmit(&mut self, now: Instant, frame: Vec<u8>) {
        let Some(connected) = self.connected.as_mut().filter(|_| FRAME.contains(&(frame.len() as u32))) else {
            self.counters.dropped_out += 1;
            return;
        };
        if connected.waiting.len() >= WAITING {
            self.counters.dropped_out += 1;
            return;
        }
        connected.waiting.push_back(frame);
        let _ = self.send(now);
    }

    fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.connected.as_ref().is_some_and(|connected| !connected.waiting.is_empty()) {
            let _ = self.send(now);
        }
        let frame = self.take(now).ok()??;
        self.counters.came(frame.len());
        Some(frame)
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn link_string(&self) -> Result<Vec<u8>> {
        self.connected.as_ref().map(|connected| connected.path.clone()).ok_or(Errno::ENOENT)
    }

    fn set_link_string(&mut self, host: &dyn Rumpuser, to: Option<&Path>) -> Result<Option<Arc<dyn Signal>>> {
        let Some(path) = to else {
            if let Some(connected) = self.connected.take() {
                connected.bus.stop();
            }
            return Ok(None);
        };
        if self.connected.is_some() {
            return Err(Errno::EBUSY);
        }
        match path.as_os_str().len() {
            0 => return Err(Errno::EINVAL),
            1..=NAME => {}
            _ => return Err(Errno::E2BIG),
        }
        let connected = Connected::open(host, path, self.token())?;
        let signal = connected.bus.clone();
        self.connected = Some(connected);
        Ok(Some(signal))
    }
}

#[cfg(test)]
mod tests;
