//! One direction of an AF_LOCAL connection, or the inbox of a datagram socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
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
        state.put(message, taken, self.stream);
        drop(state);
        self.reader.wake_for(POLLIN | POLLRDNORM);
        Ok(taken)
    }

    /// Takes the next message, or of a stream what fits `buf`; with `peek` it stays. With `by_sender` what one took comes from one
    /// sender. Zero bytes at the end;
    /// `EAGAIN` when there is nothing yet, `ECONNRESET` once if the peer closed without reading what we had sent.
    pub fn pop(&self, buf: &mut [u8], peek: bool, by_sender: bool) -> Result<Taken> {
        let mut state = lock(&self.state);
        if state.messages.is_empty() {
            return match (std::mem::take(&mut state.reset), state.no_writer || state.no_reader) {
                (true, _) => Err(Errno::ECONNRESET),
                (_, true) => Ok(Taken::default()),
                _ => Err(Errno::EAGAIN),
            };
        }
        let taken = if self.stream { state.take_stream(buf, peek, by_sender) } else { state.take_message(buf, peek) };
        let writers = if peek { Vec::new() } else { std::mem::take(&mut state.writers) };
        drop(state);
        if !peek {
            self.wake_writers(&writers, POLLOUT);
        }
        Ok(taken)
    }

    /// The reader is gone; whether it left something unread.
    pub fn close_reader(&self) -> bool {
        let mut state = lock(&self.state);
        state.no_reader = true;
        let unread = std::mem::take(&mut state.messages);
        state.used = 0;
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        self.wake_writers(&writers, EVERYTHING);
        !unread.is_empty()
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
        let bytes = |message: &Message| message.data.len() - message.read;
        let readable = match self.stream {
            true => state.messages.iter().map(bytes).sum(),
            false => state.messages.front().map_or(0, bytes),
        };
        Look {
            readable,
            any: !state.messages.is_empty(),
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
    /// Whether nobody will write more.
    pub no_writer: bool,
    /// Whether nobody will read more.
    pub no_reader: bool,
    /// Room in bytes.
    pub room: usize,
    /// Room when empty.
    pub limit: usize,
}

impl State {
    fn put(&mut self, mut message: Message, taken: usize, stream: bool) {
        self.used += taken + if stream { 0 } else { OVERHEAD };
        message.data.truncate(taken);
        if stream
            && message.rights.is_empty()
            && let Some(last) = self.messages.back_mut()
            && last.sender == message.sender
            && last.rights.is_empty()
        {
            last.data.append(&mut message.data);
            return;
        }
        self.messages.push_back(message);
    }

    /// Open files stand at the beginning of what one call gives, so a call ends before the next ones.
    fn take_stream(&mut self, buf: &mut [u8], peek: bool, by_sender: bool) -> Taken {
        let mut taken = Taken::default();
        let mut at = 0;
        while let Some(message) = self.messages.get_mut(at) {
            let another = by_sender && message.sender != taken.sender;
            let begins_new = !message.rights.is_empty() && message.read == 0 || another;
            if at > 0 && begins_new || taken.len == buf.len() {
                break;
            }
            if taken.len == 0 {
                taken.rights = if peek { message.rights.clone() } else { std::mem::take(&mut message.rights) };
                taken.sender = message.sender;
            }
            let data = &message.data[message.read..];
            let len = data.len().min(buf.len() - taken.len);
            buf[taken.len..taken.len + len].copy_from_slice(&data[..len]);
            taken.len += len;
            let ended = len == data.len();
            if !peek {
                message.read += len;
                self.used -= len;
            }
            if ended && !peek && at == 0 {
                self.messages.pop_front();
                if !taken.rights.is_empty() {
                    break;
                }
                // The next message is a continuation unless it begins something new.
                let another = |next: &Message| by_sender && next.sender != taken.sender;
                if self.messages.front().is_none_or(|next| !next.rights.is_empty() || another(next)) {
                    break;
                }
                continue;
            }
            if !ended {
                break;
            }
            at += 1;
        }
        taken.full = taken.len;
        taken
    }

    fn take_message(&mut self, buf: &mut [u8], peek: bool) -> Taken {
        let Some(message) = self.messages.front_mut() else { return Taken::default() };
        let full = message.data.len();
        let len = full.min(buf.len());
        buf[..len].copy_from_slice(&message.data[..len]);
        let rights = if peek { message.rights.clone() } else { std::mem::take(&mut message.rights) };
        let taken = Taken { len, full, rights, from: message.from.clone(), sender: message.sender };
        if !peek {
            self.messages.pop_front();
            self.used -= full + OVERHEAD;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(channel.pop(&mut buf, true, false).unwrap().len, 8);
        assert_eq!(channel.pop(&mut buf[..6], false, false).unwrap().len, 6);
        assert_eq!(&buf[..6], b"hello ");
        channel.close_writer(false);
        assert_eq!(channel.pop(&mut buf, false, false).unwrap().len, 2);
        assert_eq!(channel.pop(&mut buf, false, false).unwrap().len, 0);
    }

    #[test]
    fn a_message_is_cut_not_split() {
        let writer = Arc::default();
        let channel = Channel::new(false, 100, Arc::default(), None);
        channel.push(message(b"first"), &writer).unwrap();
        assert_eq!(channel.push(message(b"second"), &writer), Err(Errno::EAGAIN));
        let mut buf = [0; 2];
        let taken = channel.pop(&mut buf, false, false).unwrap();
        assert_eq!((taken.len, taken.full), (2, 5));
        assert_eq!(channel.pop(&mut buf, false, false).err(), Some(Errno::EAGAIN));
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
        assert_eq!(back.pop(&mut [0; 4], false, false).err(), Some(Errno::ECONNRESET));
        assert_eq!(back.pop(&mut [0; 4], false, false).unwrap().len, 0);
    }
}
