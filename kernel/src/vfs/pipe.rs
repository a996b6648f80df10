//! Pipes, and fifos as they are opened through the file name space (pipe(7), fifo(7)).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi::ioctl::FIONREAD;
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::Stat;
use abi::{Errno, Result};
use zerocopy::FromZeros;

use super::{Kind, Node};
use crate::Cx;
use crate::file::{Events, File};
use crate::proc::lock;
use crate::wait::{NOTHING_NEW, WaitQueue};

/// Bytes that a pipe holds at most.
pub const CAPACITY_BYTES: usize = 64 * 1024;
/// A write of at most this many bytes is never split (Linux's `PIPE_BUF`; NetBSD's is 512).
pub const PIPE_BUF: usize = 4096;

/// Numbers the pipes, for `st_ino`.
static NEXT_INO: AtomicU64 = AtomicU64::new(1);

/// A pipe. Its ends keep it alive.
pub struct Pipe {
    state: Mutex<State>,
    queue: WaitQueue,
    ino: u64,
}

#[derive(Default)]
struct State {
    data: VecDeque<u8>,
    readers: usize,
    writers: usize,
    /// How often it was opened for reading, ever: an opener that waits sees also who has gone again.
    reader_opens: u64,
    writer_opens: u64,
}

impl State {
    /// Whether a write that is never split has room.
    fn has_room(&self) -> bool {
        CAPACITY_BYTES - self.data.len() >= PIPE_BUF
    }

    /// Copies what is next to be read; returns how much.
    fn show(&self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.data.len());
        let (front, back) = self.data.as_slices();
        let first = len.min(front.len());
        buf[..first].copy_from_slice(&front[..first]);
        buf[first..len].copy_from_slice(&back[..len - first]);
        len
    }
}

/// What an end of a pipe can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// Reads.
    pub read: bool,
    /// Writes.
    pub write: bool,
}

/// Makes a pipe; returns the end to read from and the end to write to.
pub fn pair() -> (Arc<dyn File>, Arc<dyn File>) {
    let pipe = Pipe::new();
    let read = End::new(&pipe, Ways { read: true, write: false });
    let write = End::new(&pipe, Ways { read: false, write: true });
    (Arc::new(read), Arc::new(write))
}

/// Opens an end of a fifo's pipe, which is made when the first one opens it.
///
/// `ENXIO` for a non-blocking writer when nobody reads. A blocking opener then waits with [`End::has_partner`].
pub(super) fn open_fifo(node: &dyn Node, ways: Ways, nonblocking: bool) -> Result<End> {
    let mut slot = lock(&node.vnode().fifo);
    let pipe = slot.upgrade();
    let readers = pipe.as_ref().map_or(0, |pipe| lock(&pipe.state).readers);
    if nonblocking && ways == (Ways { read: false, write: true }) && readers == 0 {
        return Err(Errno::ENXIO);
    }
    let pipe = pipe.unwrap_or_else(|| {
        let pipe = Pipe::new();
        *slot = Arc::downgrade(&pipe);
        pipe
    });
    Ok(End::new(&pipe, ways))
}

impl Pipe {
    fn new() -> Arc<Self> {
        let ino = NEXT_INO.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { state: Mutex::default(), queue: WaitQueue::new(), ino })
    }
}

/// One end of a pipe; both at once for a fifo that is opened for reading and writing.
pub struct End {
    pipe: Arc<Pipe>,
    ways: Ways,
    /// The count of openings of the other kind that means: nobody has met this end yet.
    seen: u64,
}

impl End {
    fn new(pipe: &Arc<Pipe>, ways: Ways) -> Self {
        let mut state = lock(&pipe.state);
        // A partner that is there already counts as one that came.
        let seen = match ways.read {
            true => state.writer_opens.wrapping_sub(u64::from(state.writers > 0)),
            false => state.reader_opens.wrapping_sub(u64::from(state.readers > 0)),
        };
        if ways.read {
            state.readers += 1;
            state.reader_opens += 1;
        }
        if ways.write {
            state.writers += 1;
            state.writer_opens += 1;
        }
        drop(state);
        pipe.queue.wake();
        Self { pipe: pipe.clone(), ways, seen }
    }

    /// Whether somebody has, or had since this end was opened, the other end: `EAGAIN` while not.
    pub(super) fn has_partner(&self) -> Result<()> {
        let state = lock(&self.pipe.state);
        let met = match self.ways {
            Ways { read: true, write: true } => true,
            Ways { read: true, .. } => state.writer_opens != self.seen,
            _ => state.reader_opens != self.seen,
        };
        if met { Ok(()) } else { Err(Errno::EAGAIN) }
    }
}

impl File for End {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        if !self.ways.read {
            return Err(Errno::EBADF);
        }
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = lock(&self.pipe.state);
        if state.data.is_empty() {
            return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let had_room = state.has_room();
        let len = state.show(buf);
        state.data.drain(..len);
        let news = if state.has_room() && !had_room { POLLOUT } else { NOTHING_NEW };
        drop(state);
        self.pipe.queue.wake_for(news);
        Ok(len)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        if !self.ways.read {
            return Err(Errno::EBADF);
        }
        let state = lock(&self.pipe.state);
        match state.data.is_empty() && !buf.is_empty() {
            true if state.writers > 0 => Err(Errno::EAGAIN),
            _ => Ok(state.show(buf)),
        }
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        if !self.ways.write {
            return Err(Errno::EBADF);
        }
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = lock(&self.pipe.state);
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let room = CAPACITY_BYTES - state.data.len();
        if room == 0 || (buf.len() <= PIPE_BUF && room < buf.len()) {
            return Err(Errno::EAGAIN);
        }
        let len = buf.len().min(room);
        state.data.extend(&buf[..len]);
        drop(state);
        self.pipe.queue.wake_for(POLLIN | POLLRDNORM);
        Ok(len)
    }

    fn ready(&self) -> Events {
        let state = lock(&self.pipe.state);
        let mut events = 0;
        if self.ways.read {
            if !state.data.is_empty() {
                events |= POLLIN | POLLRDNORM;
            }
            // A fifo that nobody has opened for writing yet has not been hung up.
            if state.writers == 0 && state.writer_opens != self.seen {
                events |= POLLHUP;
            }
        }
        if self.ways.write {
            if state.has_room() {
                events |= POLLOUT;
            }
            if state.readers == 0 {
                events |= POLLERR;
            }
        }
        events
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.pipe.queue
    }

    fn stat(&self) -> Result<Stat> {
        let mut stat = Stat::new_zeroed();
        stat.st_mode = Kind::Fifo.format() | 0o600;
        stat.st_ino = self.pipe.ino;
        stat.st_nlink = 1;
        stat.st_size = lock(&self.pipe.state).data.len() as i64;
        stat.st_blksize = 4096;
        Ok(stat)
    }

    fn ioctl(&self, _cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let len = lock(&self.pipe.state).data.len() as i32;
        data.get_mut(..4).ok_or(Errno::EINVAL)?.copy_from_slice(&len.to_le_bytes());
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.pipe.state);
        state.readers -= usize::from(self.ways.read);
        state.writers -= usize::from(self.ways.write);
        drop(state);
        self.pipe.queue.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_are_never_split() {
        let (read, write) = pair();
        assert_eq!(read.read(&mut [0; 8]), Err(Errno::EAGAIN));
        assert_eq!(write.write(&[1; CAPACITY_BYTES - 100]), Ok(CAPACITY_BYTES - 100));
        assert_eq!(write.write(&[2; 101]), Err(Errno::EAGAIN));
        assert_eq!(write.ready() & POLLOUT, 0);
        assert_eq!(write.write(&[2; PIPE_BUF + 1]), Ok(100));
        let mut all = vec![0; CAPACITY_BYTES + 1];
        assert_eq!(read.read(&mut all), Ok(CAPACITY_BYTES));
        assert_eq!((all[0], all[CAPACITY_BYTES - 1]), (1, 2));
    }

    #[test]
    fn ends_notice_each_other_going() {
        let (read, write) = pair();
        write.write(b"last").unwrap();
        drop(write);
        assert_eq!(read.ready(), POLLIN | POLLRDNORM | POLLHUP);
        let mut buf = [0; 8];
        assert_eq!((read.read(&mut buf), &buf[..4]), (Ok(4), &b"last"[..]));
        assert_eq!(read.read(&mut buf), Ok(0));
        let (read, write) = pair();
        drop(read);
        assert_eq!(write.write(b"x"), Err(Errno::EPIPE));
        assert_eq!(write.ready() & POLLERR, POLLERR);
    }
}
