//! One direction of an AF_LOCAL connection, or the inbox of a datagram socket.
//!
//! The bytes of both directions of a busy stream are moved by the programs themselves ([`crate::stream`]), until something else than bytes
//! is sent, somebody asks who has sent them, looks at them without taking them, or an end goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use abi::poll::{POLLIN, POLLOUT, POLLPRI, POLLRDNORM};
use abi::socket::Unpcbid;
use abi::{Errno, Result};
use sysproxy::host::Owned;
use sysproxy::stream::{Blocks, Moved};

use crate::file::{Events, OpenFile};
use crate::proc::lock;
use crate::stream::{Bytes, Common, Given};
use crate::wait::{EVERYTHING, NOTHING_NEW, WaitQueue};

/// What a queued message counts beside its bytes.
const OVERHEAD: usize = 64;

/// Buffers that are kept for the messages to come.
const SPARE: usize = 8;

/// The largest that is.
const SPARE_BYTES: usize = 4096;

/// Something sent.
#[derive(Default)]
pub struct Message {
    /// Its bytes.
    pub data: Vec<u8>,
    /// How many of them were read.
    pub read: usize,
    /// Open files that travel with its first byte.
    pub rights: Vec<Arc<OpenFile>>,
    /// The name of the sender's socket.
    pub from: Option<Vec<u8>>,
    /// Who sent it.
    pub sender: Option<Unpcbid>,
    /// Whether it is the urgent byte of a stream that was sent last (`MSG_OOB`); those before it are bytes like all others.
    pub urgent: bool,
}

/// How something is taken out.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// It stays (`MSG_PEEK`).
    pub peek: bool,
    /// What one takes comes from one sender.
    pub by_sender: bool,
    /// The urgent byte is one like all others (`SO_OOBINLINE`).
    pub inline: bool,
}

/// What came out of a channel.
#[derive(Default)]
pub struct Taken {
    /// Bytes stored.
    pub len: usize,
    /// Length of the whole message.
    pub full: usize,
    /// Open files.
    pub rights: Vec<Arc<OpenFile>>,
    /// The name of the sender's socket.
    pub from: Option<Vec<u8>>,
    /// Who sent it.
    pub sender: Option<Unpcbid>,
    /// Whether the urgent byte comes next.
    pub at_mark: bool,
}

/// A queue of messages.
pub struct Channel {
    /// Whether message boundaries count for nothing.
    stream: bool,
    /// Which direction of its connection it is.
    direction: usize,
    state: Mutex<State>,
    /// Woken when there is something to read.
    reader: Arc<WaitQueue>,
    /// Woken when there is room, if one socket alone writes.
    writer: Option<Arc<WaitQueue>>,
}

struct State {
    messages: VecDeque<Message>,
    used: usize,
    /// The bytes instead of messages, while programs share them; else none.
    bytes: Bytes,
    /// What they share, in both directions.
    shared: Option<Arc<Common>>,
    /// Whether the reader asks who has sent what.
    by_sender: bool,
    limit: usize,
    no_reader: bool,
    no_writer: bool,
    reset: bool,
    /// Who waits for room.
    writers: Vec<Weak<WaitQueue>>,
    /// Empty buffers.
    spare: Vec<Vec<u8>>,
}

impl Channel {
    /// Makes a channel that holds `limit` bytes.
    pub fn new(stream: bool, limit: usize, reader: Arc<WaitQueue>, writer: Option<Arc<WaitQueue>>) -> Arc<Self> {
        Self::of_pair(0, stream, limit, reader, writer)
    }

    /// Makes one direction, 0 or 1, of a connection.
    pub fn of_pair(
        direction: usize,
        stream: bool,
        limit: usize,
        reader: Arc<WaitQueue>,
        writer: Option<Arc<WaitQueue>>,
    ) -> Arc<Self> {
        let state = State {
            messages: VecDeque::new(),
            used: 0,
            bytes: Bytes::default(),
            shared: None,
            by_sender: false,
            limit,
            no_reader: false,
            no_writer: false,
            reset: false,
            writers: Vec::new(),
            spare: Vec::new(),
        };
        Arc::new(Self { stream, direction, state: Mutex::new(state), reader, writer })
    }

    /// Copies the bytes of a message to be put in.
    pub fn copy(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = lock(&self.state).spare.pop().unwrap_or_default();
        bytes.extend_from_slice(data);
        bytes
    }

    /// Puts a message in; a stream takes as much as there is room for. `EAGAIN` without room: `writer` is woken when
    /// there is some. `EPIPE` when nobody will read it, `EMSGSIZE` for one that never fits.
    pub fn push(&self, message: Message, writer: &Arc<WaitQueue>) -> Result<usize> {
        let mut state = lock(&self.state);
        if state.no_reader {
            return Err(Errno::EPIPE);
        }
        let len = message.data.len();
        if !self.stream && len > state.limit {
            return Err(Errno::EMSGSIZE);
        }
        if !message.rights.is_empty() || message.urgent {
            state.take_back();
        }
        let pushed = state.push_bytes(&message.data);
        if let Some(pushed @ 1..) = pushed {
            drop(state);
            self.reader.wake_for(POLLIN | POLLRDNORM);
            return Ok(pushed);
        }
        let room = if pushed.is_some() { 0 } else { state.limit.saturating_sub(state.used) };
        let taken = if self.stream { len.min(room) } else { len };
        let full = if self.stream { room == 0 && len > 0 } else { state.used > 0 && len + OVERHEAD > room };
        if full {
            state.writers.retain(|other| other.strong_count() > 0 && other.as_ptr() != Arc::as_ptr(writer));
            state.writers.push(Arc::downgrade(writer));
            return Err(Errno::EAGAIN);
        }
        if self.stream && taken == 0 {
            return Ok(0);
        }
        let urgent = if message.urgent { POLLPRI } else { 0 };
        state.put(message, taken, self.stream);
        drop(state);
        self.reader.wake_for(POLLIN | POLLRDNORM | urgent);
        Ok(taken)
    }

    /// Takes the next message, or of a stream what fits `buf`. Zero bytes at the end;
    /// `EAGAIN` when there is nothing yet, `ECONNRESET` once if the peer closed without reading what we had sent.
    pub fn pop(&self, buf: &mut [u8], how: How) -> Result<Taken> {
        let mut state = lock(&self.state);
        if how.peek || how.by_sender {
            state.take_back();
        }
        if let Some(len @ 1..) = state.pop_bytes(buf) {
            let writers = std::mem::take(&mut state.writers);
            drop(state);
            self.wake_writers(&writers, POLLOUT);
            return Ok(Taken { len, full: len, ..Taken::default() });
        }
        let used = state.used;
        let taken = if self.stream { state.take_stream(buf, how) } else { state.take_message(buf, how.peek) };
        // Room may come about with nothing taken: by an urgent byte that nobody asked for.
        let room = taken.is_some() && !how.peek || state.used < used;
        let writers = if room { std::mem::take(&mut state.writers) } else { Vec::new() };
        let taken = taken.map_or_else(|| state.without_data(), Ok);
        drop(state);
        if room {
            self.wake_writers(&writers, POLLOUT);
        }
        taken
    }

    /// Takes the urgent byte; `EINVAL` if there is none.
    pub fn pop_urgent(&self, buf: &mut [u8], peek: bool) -> Result<usize> {
        let mut state = lock(&self.state);
        let at = state.messages.iter().position(|message| message.urgent).ok_or(Errno::EINVAL)?;
        let message = &mut state.messages[at];
        let len = buf.len().min(1);
        buf[..len].copy_from_slice(&message.data[..len]);
        if !peek {
            // Its place stays marked until what is behind it is read; of two such places that meet one stays.
            (message.urgent, message.read) = (false, 1);
            state.used -= 1;
            if at > 0 && state.messages[at - 1].left() == 0 {
                state.messages.remove(at - 1);
            }
            let writers = std::mem::take(&mut state.writers);
            drop(state);
            self.wake_writers(&writers, POLLOUT);
        }
        Ok(len)
    }

    /// Whether the peer has closed without reading what we had sent; told once.
    pub fn take_reset(&self) -> bool {
        std::mem::take(&mut lock(&self.state).reset)
    }

    /// The reader is gone; whether it left something unread.
    pub fn close_reader(&self) -> bool {
        let mut state = lock(&self.state);
        state.take_back();
        state.no_reader = true;
        let messages = std::mem::take(&mut state.messages);
        let unread = messages.iter().any(|message| !self.stream || message.left() > 0);
        state.used = 0;
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        self.wake_writers(&writers, EVERYTHING);
        unread
    }

    /// The reader wants no more; what is there can still be read.
    pub fn shut_reader(&self) {
        let mut state = lock(&self.state);
        state.take_back();
        state.no_reader = true;
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        self.reader.wake();
        self.wake_writers(&writers, EVERYTHING);
    }

    fn wake_writers(&self, waiting: &[Weak<WaitQueue>], news: Events) {
        waiting.iter().filter_map(Weak::upgrade).chain(self.writer.clone()).for_each(|queue| queue.wake_for(news));
    }

    /// The writer is gone; with `reset` without having read what was sent to it.
    pub fn close_writer(&self, reset: bool) {
        let mut state = lock(&self.state);
        state.take_back();
        state.no_writer = true;
        state.reset |= reset;
        drop(state);
        self.reader.wake();
    }

    /// Looks: bytes (of the next message, unless a stream) to be read, whether the end is reached, room.
    pub fn look(&self) -> Look {
        lock(&self.state).look(self.stream)
    }

    /// The same for who may wait then, for bytes if it `reads`, or for room.
    pub fn look_to_wait(&self, reads: bool) -> Look {
        let state = lock(&self.state);
        self.note_watchers(&state);
        let look = state.look(self.stream);
        let marked = match reads {
            true => !look.any && state.bytes.reader_sleeps(),
            false => !look.has_room() && state.bytes.writer_sleeps(),
        };
        if marked { state.look(self.stream) } else { look }
    }

    /// Has programs tell of everything, as long as somebody is to hear of it.
    fn note_watchers(&self, state: &State) {
        if state.shared.is_some() {
            state.bytes.reader_watches(self.reader.by_edges());
            state.bytes.writer_watches(self.writer.as_ref().is_some_and(|queue| queue.by_edges()));
        }
    }

    /// Changes how much fits.
    pub fn set_limit(&self, limit: usize) {
        let mut state = lock(&self.state);
        if state.limit != limit {
            state.take_back();
            state.limit = limit;
        }
    }

    /// Notes whether the reader asks who has sent what.
    pub fn mind_senders(&self, by_sender: bool) {
        let mut state = lock(&self.state);
        state.by_sender = by_sender;
        if by_sender {
            state.take_back();
        }
    }

    /// Lets programs move the bytes of a connection themselves, of which one end reads `rx` and writes `tx`.
    ///
    /// `EAGAIN` while something is in play that only the kernel minds.
    pub fn share(rx: &Self, tx: &Self) -> Result<Given> {
        let (first, second) = if rx.direction < tx.direction { (rx, tx) } else { (tx, rx) };
        let mut states = [lock(&first.state), lock(&second.state)];
        if !states.iter().all(|state| state.is_plain()) {
            return Err(Errno::EAGAIN);
        }
        let given = |common: &Common| Ok(Given { memory: common.hand_out()?, ours: tx.direction, pipe: false });
        if let [Some(one), Some(other)] = states.each_ref().map(|state| &state.shared)
            && Arc::ptr_eq(one, other)
        {
            return given(one);
        }
        states.iter_mut().for_each(|state| state.take_back());
        if states.iter().any(|state| state.used > state.limit) {
            return Err(Errno::EAGAIN);
        }
        let (memory, common) = Common::create(states.iter().map(|state| state.limit).max().unwrap_or(0))?;
        let common = Arc::new(common);
        for (direction, (state, channel)) in states.iter_mut().zip([first, second]).enumerate() {
            memory.limit(direction, state.limit, state.limit / Look::PART);
            let messages = std::mem::take(&mut state.messages);
            state.used = 0;
            if let Some(bytes) = state.bytes.own() {
                messages.iter().for_each(|message| bytes.extend(&message.data[message.read..]));
            }
            state.bytes.share(memory.clone(), direction)?;
            state.shared = Some(common.clone());
            // Somebody may sleep already, or watch.
            state.bytes.reader_sleeps();
            state.bytes.writer_sleeps();
            channel.note_watchers(state);
        }
        drop(states);
        [first, second].iter().for_each(|channel| channel.reader.wake_for(NOTHING_NEW));
        given(&common)
    }

    /// Whether programs move the bytes themselves.
    pub fn is_shared(&self) -> bool {
        lock(&self.state).shared.is_some()
    }

    /// Lets the program that writes know whether its open file blocks.
    pub fn set_blocks(&self, blocks: Blocks) {
        lock(&self.state).bytes.set_blocks(self.direction, blocks);
    }

    /// The socket on which the program that writes is rung when there is something for it to read, and the number of the stream.
    pub fn bell(&self) -> Result<(Owned, u64)> {
        lock(&self.state).bytes.bell(self.direction)
    }

    /// A program has written by itself, which somebody is to hear of.
    pub fn written(&self) {
        let state = lock(&self.state);
        self.note_watchers(&state);
        state.bytes.rouse();
        drop(state);
        self.reader.wake_for(POLLIN | POLLRDNORM);
    }

    /// A program has read by itself, which somebody is to hear of.
    pub fn was_read(&self) {
        let mut state = lock(&self.state);
        self.note_watchers(&state);
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        self.wake_writers(&writers, POLLOUT);
    }
}

/// What [`Channel::look`] sees.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Bytes that the next read can give.
    pub readable: usize,
    /// Whether there is a message, if only an empty one.
    pub any: bool,
    /// Whether an urgent byte waits to be received.
    pub urgent: bool,
    /// Whether it comes next, or its place if it was received.
    pub at_mark: bool,
    /// Whether the peer has closed without reading what we had sent.
    pub reset: bool,
    /// Whether nobody will write more.
    pub no_writer: bool,
    /// Whether nobody will read more.
    pub no_reader: bool,
    /// Room in bytes.
    pub room: usize,
    /// Room when empty.
    pub limit: usize,
}

impl Message {
    /// Bytes that were not read.
    fn left(&self) -> usize {
        self.data.len() - self.read
    }

    /// Whether it is no urgent byte, nor the place of one.
    fn is_plain(&self) -> bool {
        !self.urgent && self.left() > 0
    }
}

impl Look {
    /// Poll says that there is room once there is this part of all.
    const PART: usize = 4;

    /// Whether there is so much room that poll(2) says so.
    pub fn has_room(&self) -> bool {
        self.room * Self::PART >= self.limit
    }
}

impl State {
    fn look(&self, stream: bool) -> Look {
        let shared = self.bytes.len();
        let readable = match stream {
            true => shared + self.messages.iter().map(Message::left).sum::<usize>(),
            false => self.messages.front().map_or(0, Message::left),
        };
        Look {
            readable,
            any: shared > 0 || !self.messages.is_empty(),
            urgent: self.messages.iter().any(|message| message.urgent),
            at_mark: self.at_mark(),
            reset: self.reset,
            no_writer: self.no_writer,
            no_reader: self.no_reader,
            room: self.limit.saturating_sub(self.used + shared),
            limit: self.limit,
        }
    }

    /// Whether there is nothing but bytes.
    fn is_plain(&self) -> bool {
        let bytes_only = self.messages.iter().all(|message| message.rights.is_empty() && message.is_plain());
        bytes_only && !(self.no_reader || self.no_writer || self.reset || self.by_sender)
    }

    /// Brings the bytes back that programs share. Nobody knows who of them has sent what.
    fn take_back(&mut self) {
        if self.shared.take().is_none() {
            return;
        }
        // What they cannot have done they have done to their own bytes.
        self.bytes.take_back();
        let data: Vec<u8> =
            std::mem::take(&mut self.bytes).own().map(|bytes| bytes.drain(..).collect()).unwrap_or_default();
        self.used = data.len();
        if !data.is_empty() {
            self.messages.push_back(Message { data, ..Message::default() });
        }
    }

    /// Adds bytes to those that programs share, if they do; returns how many went.
    fn push_bytes(&mut self, data: &[u8]) -> Option<usize> {
        let mut moved = self.bytes.shared()?.write(data, 0);
        if moved == Moved::Nothing {
            self.bytes.writer_sleeps();
            moved = self.bytes.shared()?.write(data, 0);
        }
        match moved {
            Moved::Bytes { len, .. } => return Some(len),
            Moved::Nothing => return Some(0),
            Moved::Busy | Moved::Over => self.take_back(),
        }
        None
    }

    /// Takes some of the bytes that programs share, if they do.
    fn pop_bytes(&mut self, buf: &mut [u8]) -> Option<usize> {
        self.shared.as_ref()?;
        let got = match self.bytes.read(buf, false) {
            Some(0) if self.bytes.reader_sleeps() => self.bytes.read(buf, false),
            got => got,
        };
        if got.is_none() {
            // A program is in the middle of reading.
            self.take_back();
        }
        got
    }

    fn put(&mut self, mut message: Message, taken: usize, stream: bool) {
        self.used += taken + if stream { 0 } else { OVERHEAD };
        message.data.truncate(taken);
        if message.urgent {
            self.messages.iter_mut().for_each(|before| before.urgent = false);
        } else if stream
            && message.rights.is_empty()
            && let Some(last) = self.messages.back_mut()
            && last.is_plain()
            && last.sender == message.sender
            && last.rights.is_empty()
        {
            last.data.append(&mut message.data);
            return self.keep(message.data);
        }
        self.messages.push_back(message);
    }

    /// Keeps a buffer for a message to come.
    fn keep(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// What there is to say when there is nothing to read.
    fn without_data(&mut self) -> Result<Taken> {
        match (std::mem::take(&mut self.reset), self.no_writer || self.no_reader) {
            (true, _) => Err(Errno::ECONNRESET),
            (_, true) => Ok(Taken::default()),
            _ => Err(Errno::EAGAIN),
        }
    }

    /// Whether the urgent byte comes next, or its place if it was received with `MSG_OOB`.
    fn at_mark(&self) -> bool {
        let mut messages = self.messages.iter();
        let Some(first) = messages.next() else { return false };
        let waits = self.messages.iter().any(|message| message.urgent);
        first.urgent || first.left() == 0 && (!waits || messages.next().is_some_and(|next| next.urgent))
    }

    /// Open files stand at the beginning of what one call gives, so a call ends before the next ones; and it ends before the urgent byte.
    ///
    /// As on Linux that byte is lost to who reads on without having asked for it, and a place from which it was received joins nothing.
    fn take_stream(&mut self, buf: &mut [u8], how: How) -> Option<Taken> {
        let mut taken = Taken::default();
        let (mut at, mut begun) = (0, false);
        let mut waits = self.messages.iter().any(|message| message.urgent);
        while let Some(message) = self.messages.get_mut(at) {
            let another = how.by_sender && message.sender != taken.sender;
            let begins_new = !message.rights.is_empty() && message.read == 0 || another || message.urgent;
            if begun && (begins_new || taken.len == buf.len() || message.left() == 0 && !waits) {
                break;
            }
            let mark = message.left() == 0 || message.urgent && !how.inline;
            if !how.peek && message.urgent {
                (message.urgent, waits) = (false, false);
            }
            if mark && how.peek {
                at += 1;
                continue;
            }
            if mark {
                self.used -= message.left();
                self.messages.remove(at);
                continue;
            }
            if !begun {
                taken.rights = if how.peek { message.rights.clone() } else { std::mem::take(&mut message.rights) };
                taken.sender = message.sender;
            }
            begun = true;
            let data = &message.data[message.read..];
            let len = data.len().min(buf.len() - taken.len);
            buf[taken.len..taken.len + len].copy_from_slice(&data[..len]);
            taken.len += len;
            let ended = len == data.len();
            if how.peek {
                at += 1;
            } else {
                message.read += len;
                self.used -= len;
                if ended && let Some(message) = self.messages.remove(at) {
                    self.keep(message.data);
                }
            }
            if !ended || !taken.rights.is_empty() {
                break;
            }
        }
        taken.full = taken.len;
        taken.at_mark = begun && !how.peek && self.at_mark();
        begun.then_some(taken)
    }

    fn take_message(&mut self, buf: &mut [u8], peek: bool) -> Option<Taken> {
        let message = self.messages.front_mut()?;
        let full = message.data.len();
        let len = full.min(buf.len());
        buf[..len].copy_from_slice(&message.data[..len]);
        let rights = if peek { message.rights.clone() } else { std::mem::take(&mut message.rights) };
        let taken = Taken { len, full, rights, from: message.from.clone(), sender: message.sender, at_mark: false };
        if !peek && let Some(message) = self.messages.pop_front() {
            self.used -= full + OVERHEAD;
            self.keep(message.data);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEEK: How = How { peek: true, by_sender: false, inline: false };

    fn message(data: &[u8]) -> Message {
        Message { data: data.to_vec(), ..Message::default() }
    }

    #[test]
    fn a_stream_forgets_boundaries_and_takes_what_fits() {
        let writer = Arc::default();
        let channel = Channel::new(true, 8, Arc::default(), None);
        assert_eq!(channel.push(message(b"hello"), &writer), Ok(5));
        assert_eq!(channel.push(message(b" world"), &writer), Ok(3));
        assert_eq!(channel.push(message(b"!"), &writer), Err(Errno::EAGAIN));
        let mut buf = [0; 16];
        assert_eq!(channel.pop(&mut buf, PEEK).unwrap().len, 8);
        assert_eq!(channel.pop(&mut buf[..6], How::default()).unwrap().len, 6);
        assert_eq!(&buf[..6], b"hello ");
        channel.close_writer(false);
        assert_eq!(channel.pop(&mut buf, How::default()).unwrap().len, 2);
        assert_eq!(channel.pop(&mut buf, How::default()).unwrap().len, 0);
    }

    #[test]
    fn a_message_is_cut_not_split() {
        let writer = Arc::default();
        let channel = Channel::new(false, 100, Arc::default(), None);
        channel.push(message(b"first"), &writer).unwrap();
        assert_eq!(channel.push(message(b"second"), &writer), Err(Errno::EAGAIN));
        let mut buf = [0; 2];
        let taken = channel.pop(&mut buf, How::default()).unwrap();
        assert_eq!((taken.len, taken.full), (2, 5));
        assert_eq!(channel.pop(&mut buf, How::default()).err(), Some(Errno::EAGAIN));
        assert_eq!(channel.push(message(&[0; 101]), &writer), Err(Errno::EMSGSIZE));
    }

    #[test]
    fn a_stream_that_programs_share_takes_bytes_only() {
        let writer = Arc::default();
        let [there, back] = [0, 1].map(|direction| Channel::of_pair(direction, true, 8192, Arc::default(), None));
        there.push(message(b"before"), &writer).unwrap();
        let [ours, theirs] = [(&back, &there), (&there, &back)].map(|(rx, tx)| Channel::share(rx, tx).unwrap());
        assert_eq!((ours.ours, theirs.ours, ours.pipe, there.is_shared()), (0, 1, false, true));
        let memory = sysproxy::stream::Stream::attach(theirs.memory.fd()).unwrap();
        assert_eq!(memory.write_own(0, b" and after", 0), Moved::Bytes { len: 10, tell: false });
        assert_eq!((there.look().readable, there.look().room), (16, 8192 - 16));
        let mut buf = [0; 32];
        assert_eq!(there.pop(&mut buf[..7], How::default()).unwrap().len, 7);
        assert_eq!(there.pop(&mut buf[7..], How::default()).unwrap().len, 9);
        assert_eq!(&buf[..16], b"before and after");
        assert_eq!(there.pop(&mut buf, How::default()).err(), Some(Errno::EAGAIN));
        assert_eq!(there.push(message(&[7; 9000]), &writer), Ok(8192));
        assert_eq!(there.push(message(b"x"), &writer), Err(Errno::EAGAIN));
        assert_eq!(there.pop(&mut [0; 8000], PEEK).unwrap().len, 8000);
        assert!(memory.is_over(0) && !memory.is_over(1), "who looks has the kernel keep the bytes");
        assert_eq!((there.look().readable, there.push(message(b"x"), &writer)), (8192, Err(Errno::EAGAIN)));
        back.mind_senders(true);
        assert!(memory.is_over(1) && Channel::share(&back, &there).is_err());
        back.mind_senders(false);
        Channel::share(&back, &there).unwrap();
        assert_eq!(there.pop(&mut vec![0; 9000], How::default()).unwrap().len, 8192);
        back.close_writer(false);
        assert!(Channel::share(&back, &there).is_err());
        assert_eq!(back.pop(&mut buf, How::default()).unwrap().len, 0);
    }

    #[test]
    fn nobody_reads_is_epipe_and_unread_is_a_reset() {
        let writer = Arc::default();
        let (there, back) = (Channel::new(true, 8, Arc::default(), None), Channel::new(true, 8, Arc::default(), None));
        there.push(message(b"x"), &writer).unwrap();
        let unread = there.close_reader();
        assert!(unread);
        back.close_writer(unread);
        assert_eq!(there.push(message(b"y"), &writer), Err(Errno::EPIPE));
        assert_eq!(back.pop(&mut [0; 4], How::default()).err(), Some(Errno::ECONNRESET));
        assert_eq!(back.pop(&mut [0; 4], How::default()).unwrap().len, 0);
    }

    #[test]
    fn an_urgent_byte_ends_a_read_and_is_lost_to_who_reads_on() {
        let writer = Arc::default();
        let channel = Channel::new(true, 100, Arc::default(), None);
        let urgent = |byte: u8| Message { urgent: true, ..message(&[byte]) };
        let read = |how| {
            let mut buf = [0; 16];
            channel.pop(&mut buf, how).map(|taken| (buf[..taken.len].to_vec(), taken.at_mark))
        };
        for data in [message(b"ab"), urgent(b'x'), message(b"cd"), urgent(b'y'), message(b"e")] {
            channel.push(data, &writer).unwrap();
        }
        // The first has become one like all others.
        assert_eq!(read(PEEK), Ok((b"abxcd".to_vec(), false)));
        assert_eq!(read(How::default()), Ok((b"abxcd".to_vec(), true)));
        assert!(channel.look().at_mark && channel.look().urgent);
        assert_eq!(read(How { inline: true, ..PEEK }), Ok((b"ye".to_vec(), false)));
        assert_eq!(read(How::default()), Ok((b"e".to_vec(), false)));
        assert_eq!((channel.look().room, channel.pop_urgent(&mut [0], false)), (100, Err(Errno::EINVAL)));
        channel.push(message(b"f"), &writer).unwrap();
        channel.push(urgent(b'z'), &writer).unwrap();
        channel.push(message(b"g"), &writer).unwrap();
        let mut byte = [0];
        assert_eq!((channel.pop_urgent(&mut byte, false), byte), (Ok(1), *b"z"));
        assert_eq!(channel.pop_urgent(&mut byte, false), Err(Errno::EINVAL));
        assert_eq!(read(How::default()), Ok((b"f".to_vec(), true)));
        assert_eq!(read(How::default()), Ok((b"g".to_vec(), false)));
        assert_eq!(read(How::default()), Err(Errno::EAGAIN));
    }
}
