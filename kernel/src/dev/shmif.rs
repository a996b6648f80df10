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

use super::net::{Counters, ETHERNET_MTU, NetDevice, Request, within};
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
/// Frames that wait for others to be sent with.
const TOGETHER: usize = 64;
/// Bytes that are moved between the ring and our own memory at once; longer than any record with its frame.
const PIECE: usize = 64 << 10;
/// The longest name of a file (`E2BIG` beyond).
const NAME: usize = 1024;
/// The longest packet that can be asked for.
const MAX_MTU: usize = 9000;

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
    /// Frames to be sent: they wait for others, or for the lock.
    waiting: VecDeque<Vec<u8>>,
    /// Frames that were read from the ring.
    came: VecDeque<Vec<u8>>,
    /// Whether there are more than were read.
    more: bool,
    /// What the lock and the header were since when, if the lock was found held the last time.
    held: Option<(u32, Header, Instant)>,
    time: Instant,
}

/// A part of the ring that was read in advance, to look at record after record.
#[derive(Default)]
struct Ahead {
    at: u32,
    bytes: Vec<u8>,
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
    Ok(Box::new(Shmif { mac, mtu: ETHERNET_MTU, sender, up: false, connected: None, counters: Counters::default() }))
}

impl Connected {
    fn open(host: &dyn Rumpuser, path: &Path, token: u32) -> Result<Self> {
        let bus = host.open_bus(path, BUS)?;
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        let time = Instant::from_micros(host.monotonic().as_micros() as i64);
        let mut connected = Self {
            path: name,
            bus,
            position: 0,
            generation: 0,
            waiting: VecDeque::new(),
            came: VecDeque::new(),
            more: false,
            held: None,
            time,
        };
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
        (self.more, self.came) = (false, VecDeque::new());
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

    /// Reads from the ring.
    fn read(&self, at: u32, buf: &mut [u8]) -> Result<()> {
        let at = at % RING;
        let before = buf.len().min((RING - at) as usize);
        let (head, tail) = buf.split_at_mut(before);
        self.bus.load(RING_AT + at as usize, head)?;
        self.bus.load(RING_AT, tail)
    }

    /// Stores in the ring.
    fn store(&self, at: u32, data: &[u8]) -> Result<()> {
        let (head, tail) = data.split_at(data.len().min((RING - at) as usize));
        self.bus.store(RING_AT + at as usize, head)?;
        self.bus.store(RING_AT, tail)
    }

    /// Length of the frame whose record stands at a place, and who sent it.
    fn record(&self, at: u32) -> Result<(u32, u64)> {
        let mut record = [0; RECORD as usize];
        self.read(at, &mut record)?;
        Ok(parse(&record))
    }

    /// The same, with more read in advance.
    fn record_ahead(&self, at: u32, ahead: &mut Ahead) -> Result<(u32, u64)> {
        let at = at % RING;
        let known = |ahead: &Ahead| {
            let from = at.checked_sub(ahead.at)? as usize;
            ahead.bytes.get(from..)?.first_chunk().map(parse)
        };
        if let Some(record) = known(ahead) {
            return Ok(record);
        }
        ahead.at = at;
        ahead.bytes.resize(PIECE.min((RING - at) as usize), 0);
        self.read(at, &mut ahead.bytes)?;
        // One at the seam is not.
        known(ahead).map_or_else(|| self.record(at), Ok)
    }

    /// Where the record behind another one stands.
    fn next(&self, at: u32, ahead: &mut Ahead) -> Result<u32> {
        let (len, _) = self.record_ahead(at, ahead)?;
        // A frame that is longer than any can be was torn by a crash; then the ring begins anew behind it.
        let len = if len > *FRAME.end() { 0 } else { len };
        Ok(((u64::from(at) + u64::from(RECORD + len)) % u64::from(RING)) as u32)
    }

    /// Makes room for a piece behind others, and returns where the next one goes: what it will overwrite is not the oldest packet any more.
    fn make_room(&self, header: &mut Header, at: u32, len: u32, ahead: &mut Ahead) -> Result<u32> {
        // As the original counts: one more when the piece ends exactly at the end of the ring.
        let covers = |first: u32, off: u32, len: u32| {
            let len = if off + len == RING { len + 1 } else { len };
            off <= first.saturating_add(RECORD) && off + len > first
        };
        let before = len.min(RING - at);
        for (off, len) in [(at, before), (0, len - before)] {
            let mut steps = 0;
            while len > 0 && covers(header.first, off, len) {
                header.first = self.next(header.first, ahead)?;
                steps += 1;
                if steps > RING / RECORD {
                    // Torn by a crash: the oldest is the one that is being written.
                    header.first = header.last;
                    break;
                }
            }
        }
        if at + len >= RING {
            header.generation += 1;
        }
        Ok((at + len) % RING)
    }

    /// Puts some of the frames that wait on the bus, behind each other; the lock is held. They are lost if that fails.
    fn put(&mut self, sender: u64, counters: &mut Counters) -> Result<()> {
        let mut header = self.header()?;
        let mut ahead = Ahead::default();
        let begin = self.next(header.last, &mut ahead)?;
        let micros = self.time.total_micros().max(0) as u64;
        let (mut at, mut bytes) = (begin, Vec::new());
        while bytes.len() < PIECE
            && let Some(frame) = self.waiting.pop_front()
        {
            let mut record = [0; RECORD as usize];
            record[..4].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
            record[4..8].copy_from_slice(&((micros / 1_000_000) as u32).to_ne_bytes());
            record[8..12].copy_from_slice(&((micros % 1_000_000) as u32).to_ne_bytes());
            record[16..].copy_from_slice(&sender.to_ne_bytes());
            header.last = at;
            for piece in [&record[..], &frame] {
                at = self.make_room(&mut header, at, piece.len() as u32, &mut ahead)?;
                bytes.extend_from_slice(piece);
            }
            counters.went(frame.len());
        }
        self.store(begin, &bytes)?;
        self.set_header(header)
    }

    /// Goes on behind something that was read.
    fn advance(&mut self, len: u32) {
        let end = self.position + len;
        self.generation = self.generation.wrapping_add(u64::from(end >= RING));
        self.position = end % RING;
    }

    /// Reads what is new, as far as one piece goes; the lock is held. Frames of others that are `wanted` are kept.
    fn get(&mut self, sender: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
        let header = self.header()?;
        let end = self.next(header.last, &mut Ahead::default())?;
        let ring = u64::from(RING);
        let newest = header.generation.wrapping_mul(ring).wrapping_add(u64::from(end));
        // The oldest is of the lap before, unless it stands before the end of the newest.
        let back = if header.first >= end { ring } else { 0 };
        let span = newest
            .wrapping_sub(newest.wrapping_sub(u64::from(end)).wrapping_add(u64::from(header.first)).wrapping_sub(back));
        let mut behind = newest.wrapping_sub(self.generation.wrapping_mul(ring).wrapping_add(u64::from(self.position)));
        self.more = false;
        if behind == 0 {
            return Ok(());
        }
        if behind > span {
            // What was to be read next is overwritten.
            let oldest = newest.wrapping_sub(span);
            (self.position, self.generation, behind) = ((oldest % ring) as u32, oldest / ring, span);
        }
        let mut piece = vec![0; behind.min(PIECE as u64) as usize];
        self.read(self.position, &mut piece)?;
        let mut rest = &piece[..];
        while let Some((record, after)) = rest.split_first_chunk()
            && let (len, from) = parse(record)
            && len <= *FRAME.end()
            && let Some((frame, after)) = after.split_at_checked(len as usize)
        {
            self.advance(RECORD);
            self.advance(len);
            if from != sender && FRAME.contains(&len) && wanted(frame) {
                self.came.push_back(frame.to_vec());
            }
            rest = after;
        }
        if rest.len() == piece.len() {
            // Torn by a crash.
            (self.position, self.generation) = (end, header.generation);
        }
        self.more = (self.position, self.generation) != (end, header.generation);
        Ok(())
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
        let Some(connected) = self.connected.as_mut().filter(|connected| !connected.waiting.is_empty()) else {
            return Ok(());
        };
        connected.time = now;
        if !connected.lock(token)? {
            connected.bus.remind();
            return Ok(());
        }
        let mut done = Ok(());
        while !connected.waiting.is_empty() && done.is_ok() {
            done = connected.put(self.sender, &mut self.counters);
        }
        self.counters.dropped_out += u64::from(done.is_err());
        connected.unlock(token)?;
        connected.bus.tell(VERSION_AT, &VERSION.to_ne_bytes())?;
        done
    }

    fn take(&mut self, now: Instant) -> Result<Option<Vec<u8>>> {
        let token = self.token();
        let Some(connected) = &mut self.connected else { return Ok(None) };
        connected.time = now;
        loop {
            if let Some(frame) = connected.came.pop_front() {
                return Ok(Some(frame));
            }
            // First forget what was told, then look: who tells meanwhile is heard the next time.
            if !connected.bus.was_told() && !connected.more || !self.up {
                return Ok(None);
            }
            if !connected.lock(token)? {
                connected.bus.remind();
                return Ok(None);
            }
            let mac = self.mac;
            let wanted = |frame: &[u8]| {
                let to = frame.get(..6).map(EthernetAddress::from_bytes);
                to.is_some_and(|to| to == mac || !to.is_unicast())
            };
            let done = connected.get(self.sender, wanted);
            connected.unlock(token)?;
            done?;
            if connected.came.is_empty() && !connected.more {
                return Ok(None);
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
        self.mtu = within(mtu, MAX_MTU)?;
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
            Some(connected) => (connected.more, connected.came) = (false, VecDeque::new()),
            None => {}
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
        if connected.waiting.len() >= TOGETHER {
            let _ = self.send(now);
        }
    }

    fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let frame = self.take(now).ok()??;
        self.counters.came(frame.len());
        Some(frame)
    }

    fn flush(&mut self, now: Instant) {
        let _ = self.send(now);
        if let Some(connected) =
            self.connected.as_ref().filter(|connected| connected.more || !connected.came.is_empty())
        {
            connected.bus.remind();
        }
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
