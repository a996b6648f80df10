//! One direction of an AF_LOCAL connection, or the inbox of a datagram socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use abi::poll::{POLLIN, POLLOUT, POLLPRI, POLLRDNORM};
use abi::socket::Unpcbid;
use abi::{Errno, Result};

use crate::file::{Events, OpenFile};
use crate::proc::lock;
use crate::wait::{EVERYTHING, WaitQueue};

/// What a queued message counts beside its bytes.
const OVERHEAD: usize = 64;

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
    state: Mutex<State>,
    /// Woken when there is something to read.
    reader: Arc<WaitQueue>,
    /// Woken when there is room, if one socket alone writes.
    writer: Option<Arc<WaitQueue>>,
}

struct State {
    messages: VecDeque<Message>,
    used: usize,
    limit: usize,
    no_reader: bool,
    no_writer: bool,
    reset: bool,
    /// Who waits for room.
    writers: Vec<Weak<WaitQueue>>,
}

impl Channel {
    /// Makes a channel that holds `limit` bytes.
    pub fn new(stream: bool, limit: usize, reader: Arc<WaitQueue>, writer: Option<Arc<WaitQueue>>) -> Arc<Self> {
        let state = State {
            messages: VecDeque::new(),
            used: 0,
            limit,
            no_reader: false,
            no_writer: false,
            reset: false,
            writers: Vec::new(),
        };
        Arc::new(Self { stream, state: Mutex::new(state), reader, writer })
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
        let room = state.limit.saturating_sub(state.used);
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
        state.no_writer = true;
        state.reset |= reset;
        drop(state);
        self.reader.wake();
    }

    /// Looks: bytes (of the next message, unless a stream) to be read, whether the end is reached, room.
    pub fn look(&self) -> Look {
        let state = lock(&self.state);
        let readable = match self.stream {
            true => state.messages.iter().map(Message::left).sum(),
            false => state.messages.front().map_or(0, Message::left),
        };
        Look {
            readable,
            any: !state.messages.is_empty(),
            urgent: state.messages.iter().any(|message| message.urgent),
            at_mark: state.at_mark(),
            reset: state.reset,
            no_writer: state.no_writer,
            no_reader: state.no_reader,
            room: state.limit.saturating_sub(state.used),
            limit: state.limit,
        }
    }

    /// Changes how much fits.
    pub fn set_limit(&self, limit: usize) {
        lock(&self.state).limit = limit;
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

impl State {
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
            return;
        }
        self.messages.push_back(message);
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
                if ended {
                    self.messages.remove(at);
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
        if !peek {
            self.messages.pop_front();
            self.used -= full + OVERHEAD;
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
