//! Two TCP sockets of this host joined directly: what one writes, the other reads, without segments.
//!
//! All that programs can see is as if segments had passed between them: the states of both ends, what a window and a buffer limit,
//! half-closed connections, TIME-WAIT for who closes first, resets. Memory is taken as data comes and given back once it is read.
//!
//! Programs that read and write much map the bytes and move them themselves ([`sysproxy::stream`]). What then is more than plain reading
//! and writing has the bytes brought back here first.

use std::sync::{Arc, Mutex};

use abi::{Errno, Result};
use smoltcp::time::{Duration, Instant};
use sysproxy::host::Owned;
use sysproxy::stream::Blocks;

use super::conn::{Ending, Held, Hold, Queues, TcpConn, TcpState, Tuning};
use super::link::Link;
use crate::proc::lock;
use crate::stream::{Bytes, Common};

/// How long the end that closed first is remembered (Linux's `TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// One direction.
struct Way {
    data: Bytes,
    /// What the reader has room for.
    window: usize,
    /// What the writer may have written beyond that.
    send_buffer: usize,
    /// Whether the writer has ended it.
    ended: bool,
    /// Whether it did so before it had seen the other way's end.
    first: bool,
}

impl Way {
    fn new(window: usize, send_buffer: usize) -> Self {
        Self { data: Bytes::default(), window, send_buffer, ended: false, first: false }
    }

    fn readable(&self) -> usize {
        self.data.len().min(self.window)
    }

    fn unsent(&self) -> usize {
        self.data.len() - self.readable()
    }

    /// Whether the reader knows that it has ended.
    fn end_is_seen(&self) -> bool {
        self.ended && self.unsent() == 0
    }
}

/// Both directions; the first is the one that the end of number 0 writes.
struct Pair {
    ways: [Way; 2],
    /// Which end has ended the connection with a reset.
    reset_by: Option<usize>,
    /// What programs share.
    shared: Option<Common>,
    /// Bytes that they have written and read themselves, for each direction, and nobody has counted yet.
    moved: [[u64; 2]; 2],
}

impl Pair {
    /// Brings the bytes back that programs share. What they cannot have done ends the connection.
    fn take_back(&mut self) {
        if self.shared.take().is_none() {
            return;
        }
        for (direction, (way, moved)) in self.ways.iter_mut().zip(&mut self.moved).enumerate() {
            match way.data.take_back() {
                Some(by_programs) => (0..2).for_each(|which| moved[which] += by_programs[which]),
                None => self.reset_by = self.reset_by.or(Some(direction)),
            }
        }
    }
}

/// One end of a joined pair.
pub struct Joined {
    pair: Arc<Mutex<Pair>>,
    side: usize,
    held: Held,
    tuning: Tuning,
    /// When TIME-WAIT is over; `None` before it has begun.
    forgotten: Option<Instant>,
    over: bool,
}

impl Joined {
    /// Makes both ends, the one that connects first.
    pub fn pair(ours: &Tuning, theirs: &Tuning) -> [Self; 2] {
        let way = |from: &Tuning, to: &Tuning| Way::new(to.receive_buffer, from.send_buffer);
        let ways = [way(ours, theirs), way(theirs, ours)];
        let pair = Pair { ways, reset_by: None, shared: None, moved: [[0; 2]; 2] };
        let pair = Arc::new(Mutex::new(pair));
        [(0, *ours), (1, *theirs)].map(|(side, tuning)| {
            let (pair, held) = (pair.clone(), Held::default());
            Self { pair, side, held, tuning, forgotten: None, over: false }
        })
    }

    fn push(&self, data: &[u8]) {
        let mut pair = lock(&self.pair);
        let pushed = pair.ways[self.side].data.push(data);
        if pushed < data.len() {
            // A program is in the middle of writing, or has written what there was room for.
            pair.take_back();
            pair.ways[self.side].data.push(&data[pushed..]);
        }
    }

    fn release(&mut self) {
        let held = self.held.release();
        if !held.is_empty() {
            self.push(&held);
        }
    }
}

impl TcpConn for Joined {
    /// No segment belongs to it.
    fn on_segment(&mut self, _link: &mut Link, _now: Instant, _frame: &[u8]) {}

    fn emit(&mut self, _link: &mut Link, now: Instant) {
        if self.held.is_due(now) {
            self.release();
        }
        self.over |= self.forgotten.is_some_and(|at| at <= now);
    }

    fn deadline(&mut self, _link: &mut Link, now: Instant) -> Option<Instant> {
        if self.state() == TcpState::TimeWait {
            return Some(*self.forgotten.get_or_insert(now + TIME_WAIT));
        }
        self.held.until()
    }

    fn state(&self) -> TcpState {
        let pair = lock(&self.pair);
        let (own, other) = (&pair.ways[self.side], &pair.ways[1 - self.side]);
        match (own.ended, own.end_is_seen(), other.end_is_seen()) {
            _ if self.over || pair.reset_by.is_some() => TcpState::Closed,
            (false, _, false) => TcpState::Established,
            (false, _, true) => TcpState::CloseWait,
            (true, false, false) => TcpState::FinWait1,
            (true, true, false) => TcpState::FinWait2,
            (true, false, true) if own.first => TcpState::Closing,
            (true, false, true) => TcpState::LastAck,
            (true, true, true) if own.first => TcpState::TimeWait,
            (true, true, true) => TcpState::Closed,
        }
    }

    fn ending(&self) -> Ending {
        match lock(&self.pair).reset_by {
            Some(side) if side != self.side => Ending::Reset,
            Some(_) => Ending::Unknown,
            None => Ending::Orderly,
        }
    }

    fn send(&mut self, data: &[u8], hold: Option<Hold>) -> usize {
        let data = &data[..data.len().min(self.queues().writable())];
        if data.is_empty() {
            return 0;
        }
        if hold.is_none() && self.held.is_empty() {
            self.push(data);
        } else {
            lock(&self.pair).take_back();
            let now = self.held.add(data, hold);
            self.push(&now);
        }
        data.len()
    }

    fn recv(&mut self, buf: &mut [u8], peek: bool) -> usize {
        let mut pair = lock(&self.pair);
        let way = &mut pair.ways[1 - self.side];
        let len = way.readable().min(buf.len());
        if let Some(got) = way.data.read(&mut buf[..len], peek) {
            return got;
        }
        pair.take_back();
        let way = &mut pair.ways[1 - self.side];
        let len = way.readable().min(buf.len());
        way.data.read(&mut buf[..len], peek).unwrap_or(0)
    }

    fn queues(&self) -> Queues {
        let pair = lock(&self.pair);
        let (own, other) = (&pair.ways[self.side], &pair.ways[1 - self.side]);
        Queues {
            readable: other.readable(),
            receive_buffer: other.window,
            unsent: own.unsent() + self.held.len(),
            // What the peer has room for can be written too.
            send_buffer: own.send_buffer + (own.window - own.readable()),
        }
    }

    fn shut_write(&mut self) {
        self.release();
        let mut pair = lock(&self.pair);
        pair.take_back();
        let first = !pair.ways[1 - self.side].end_is_seen();
        let own = &mut pair.ways[self.side];
        if !own.ended {
            (own.ended, own.first) = (true, first);
        }
    }

    fn abort(&mut self) {
        let mut pair = lock(&self.pair);
        pair.take_back();
        if pair.reset_by.is_none() {
            pair.reset_by = Some(self.side);
            // What has arrived can still be read, as on Linux.
            let sent = &mut pair.ways[self.side];
            sent.data.truncate(sent.readable());
            pair.ways[1 - self.side].data.truncate(0);
        }
    }

    fn tune(&mut self, tuning: &Tuning) {
        let before = std::mem::replace(&mut self.tuning, *tuning);
        if before.cork && !tuning.cork || tuning.no_delay && !before.no_delay {
            self.release();
        }
        let mut pair = lock(&self.pair);
        if (before.send_buffer, before.receive_buffer) != (tuning.send_buffer, tuning.receive_buffer) {
            pair.take_back();
        }
        pair.ways[self.side].send_buffer = tuning.send_buffer;
        // A window that was offered is not taken back (RFC 9293, 3.8.6).
        let inbound = &mut pair.ways[1 - self.side];
        inbound.window = tuning.receive_buffer.max(inbound.readable());
    }

    fn share(&mut self) -> Result<(usize, Owned)> {
        if !self.held.is_empty() || self.tuning.cork {
            return Err(Errno::EAGAIN);
        }
        let mut pair = lock(&self.pair);
        if pair.reset_by.is_some() || pair.ways.iter().any(|way| way.ended) {
            return Err(Errno::EAGAIN);
        }
        if pair.shared.is_none() {
            let limit = |way: &Way| way.window + way.send_buffer;
            if pair.ways.iter().any(|way| way.data.len() > limit(way)) {
                return Err(Errno::EAGAIN);
            }
            let room = pair.ways.iter().map(limit).max().unwrap_or(0);
            let (memory, common) = Common::create(room)?;
            for (direction, way) in pair.ways.iter_mut().enumerate() {
                memory.limit(direction, limit(way), limit(way) / 3);
                memory.window(direction, way.window);
                way.data.share(memory.clone(), direction)?;
                // Somebody may sleep already.
                way.data.reader_sleeps();
                way.data.writer_sleeps();
            }
            pair.shared = Some(common);
        }
        Ok((self.side, pair.shared.as_ref().ok_or(Errno::EAGAIN)?.hand_out()?))
    }

    fn set_blocks(&self, blocks: Blocks) {
        lock(&self.pair).ways[self.side].data.set_blocks(self.side, blocks);
    }

    fn bell(&self) -> Result<(Owned, u64)> {
        lock(&self.pair).ways[self.side].data.bell(self.side)
    }

    fn rouse(&self) {
        lock(&self.pair).ways[1 - self.side].data.rouse();
    }

    fn watch(&self, edges: bool) {
        lock(&self.pair).ways[1 - self.side].data.reader_watches(edges);
    }

    fn is_shared(&self) -> bool {
        lock(&self.pair).shared.is_some()
    }

    fn take_back(&mut self) -> [u64; 2] {
        let mut pair = lock(&self.pair);
        pair.take_back();
        let (own, other) = (self.side, 1 - self.side);
        [std::mem::take(&mut pair.moved[other][1]), std::mem::take(&mut pair.moved[own][0])]
    }

    fn await_bytes(&self) -> bool {
        let pair = lock(&self.pair);
        pair.ways[1 - self.side].data.reader_sleeps()
    }

    fn await_room(&self) -> bool {
        let pair = lock(&self.pair);
        pair.ways[self.side].data.writer_sleeps()
    }
}
