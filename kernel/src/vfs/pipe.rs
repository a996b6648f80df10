//! Pipes, and fifos as they are opened through the file name space (pipe(7), fifo(7)).
//!
//! Programs that read and write much move the bytes themselves ([`crate::stream`]), as long as somebody has either end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi::ioctl::FIONREAD;
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::Owned;
use sysproxy::stream::Moved;
use zerocopy::FromZeros;

use super::{Kind, Node};
use crate::Cx;
use crate::file::{Events, File};
use crate::proc::lock;
use crate::stream::{self, Bytes, Common, Given, Sharing};
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
    data: Bytes,
    /// What programs share.
    shared: Option<Common>,
    readers: usize,
    writers: usize,
    /// How often it was opened for reading, ever: an opener that waits sees also who has gone again.
    reader_opens: u64,
    writer_opens: u64,
}

impl State {
    /// How many bytes more there may be.
    fn room(&self) -> usize {
        CAPACITY_BYTES.saturating_sub(self.data.len())
    }

    /// Whether a write that is never split has room.
    fn has_room(&self) -> bool {
        self.room() >= PIPE_BUF
    }

    /// Brings the bytes back that programs share.
    fn take_back(&mut self) {
        if self.shared.take().is_some() {
            // What they cannot have done they have done to their own bytes.
            self.data.take_back();
        }
    }

    /// Takes what is next to be read; returns how much.
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let taken = match self.data.read(buf, false) {
            Some(0) if self.data.reader_sleeps() => self.data.read(buf, false),
            taken => taken,
        };
        taken.unwrap_or_else(|| {
            // A program is in the middle of reading.
            self.take_back();
            self.data.read(buf, false).unwrap_or(0)
        })
    }

    /// Adds bytes; returns how many went, none if there is no room.
    fn put(&mut self, data: &[u8]) -> usize {
        let mut put = self.data.shared().map(|shared| shared.write(data, PIPE_BUF));
        if put == Some(Moved::Nothing) {
            self.data.writer_sleeps();
            put = self.data.shared().map(|shared| shared.write(data, PIPE_BUF));
        }
        match put {
            Some(Moved::Bytes { len, .. }) => return len,
            Some(Moved::Nothing) => return 0,
            Some(Moved::Busy | Moved::Over) | None => self.take_back(),
        }
        let room = self.room();
        if data.len() <= PIPE_BUF && room < data.len() { 0 } else { self.data.push(&data[..data.len().min(room)]) }
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

    /// Brings the bytes back that programs share.
    pub(super) fn take_back(&self) {
        lock(&self.state).take_back();
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

    /// Which of the two ends it is, of those that programs share: the first writes.
    fn side(&self) -> usize {
        usize::from(self.ways.read)
    }

    /// The pipe.
    pub(super) fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
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
        let had_room = state.has_room();
        let len = state.take(buf);
        if len == 0 {
            return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let news = if state.has_room() && !had_room { POLLOUT } else { NOTHING_NEW };
        drop(state);
        self.pipe.queue.wake_for(news);
        Ok(len)
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        if !self.ways.read {
            return Err(Errno::EBADF);
        }
        let mut state = lock(&self.pipe.state);
        // Who looks is going to take what it has seen.
        state.take_back();
        match state.data.read(buf, true) {
            Some(0) | None if state.writers > 0 && !buf.is_empty() => Err(Errno::EAGAIN),
            seen => Ok(seen.unwrap_or(0)),
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
        let len = state.put(buf);
        if len == 0 {
            return Err(Errno::EAGAIN);
        }
        drop(state);
        self.pipe.queue.wake_for(POLLIN | POLLRDNORM);
        Ok(len)
    }

    fn ready(&self) -> Events {
        let state = lock(&self.pipe.state);
        state.data.reader_watches(self.pipe.queue.by_edges());
        let mut events = 0;
        if self.ways.read {
            // Who finds nothing may wait for it now.
            if !state.data.is_empty() || state.data.reader_sleeps() && !state.data.is_empty() {
                events |= POLLIN | POLLRDNORM;
            }
            // A fifo that nobody has opened for writing yet has not been hung up.
            if state.writers == 0 && state.writer_opens != self.seen {
                events |= POLLHUP;
            }
        }
        if self.ways.write {
            if state.has_room() || state.data.writer_sleeps() && state.has_room() {
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

    fn status_changed(&self, flags: i32) {
        lock(&self.pipe.state).data.set_blocks(self.side(), stream::blocks(flags, false));
    }

    fn as_stream(&self) -> Option<&dyn Sharing> {
        Some(self)
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

impl Sharing for End {
    fn share(&self) -> Result<Given> {
        if self.ways.read && self.ways.write {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = lock(&self.pipe.state);
        if state.readers == 0 || state.writers == 0 {
            return Err(Errno::EAGAIN);
        }
        if state.shared.is_none() {
            let (memory, common) = Common::create(CAPACITY_BYTES)?;
            memory.limit(0, CAPACITY_BYTES, PIPE_BUF);
            state.data.share(memory, 0)?;
            state.shared = Some(common);
            // Somebody may sleep already, or watch.
            state.data.reader_sleeps();
            state.data.writer_sleeps();
            state.data.reader_watches(self.pipe.queue.by_edges());
        }
        let memory = state.shared.as_ref().ok_or(Errno::EAGAIN)?.hand_out()?;
        drop(state);
        self.pipe.queue.wake_for(NOTHING_NEW);
        Ok(Given { memory, ours: self.side(), pipe: true })
    }

    fn is_shared(&self) -> bool {
        lock(&self.pipe.state).shared.is_some()
    }

    fn moved(&self, read: bool) {
        if !read {
            let state = lock(&self.pipe.state);
            state.data.reader_watches(self.pipe.queue.by_edges());
            state.data.rouse();
        }
        self.pipe.queue.wake_for(if read { POLLOUT } else { POLLIN | POLLRDNORM });
    }

    fn bell(&self) -> Result<(Owned, u64)> {
        lock(&self.pipe.state).data.bell(self.side())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.pipe.state);
        state.readers -= usize::from(self.ways.read);
        state.writers -= usize::from(self.ways.write);
        if state.readers == 0 || state.writers == 0 {
            // The end of the file, and a broken pipe, are told by calls.
            state.take_back();
        }
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
    fn bytes_that_programs_share_are_the_same_pipe_and_come_back_with_the_end() {
        let (read, write) = pair();
        write.write(b"before").unwrap();
        let [theirs, ours] = [&write, &read].map(|end| end.as_stream().unwrap().share().unwrap());
        assert_eq!((theirs.ours, ours.ours, ours.pipe), (0, 1, true));
        let memory = sysproxy::stream::Stream::attach(ours.memory.fd()).unwrap();
        assert_eq!(memory.write_own(0, b" and after", PIPE_BUF), Moved::Bytes { len: 10, tell: false });
        let mut buf = [0; 32];
        assert_eq!((read.read(&mut buf), &buf[..16]), (Ok(16), &b"before and after"[..]));
        assert_eq!((read.read(&mut buf), read.ready()), (Err(Errno::EAGAIN), 0));
        let mut left = CAPACITY_BYTES;
        while let Ok(len) = write.write(&[1; 10_000]) {
            left -= len;
        }
        assert_eq!((left, write.write(b"x"), write.ready()), (0, Err(Errno::EAGAIN), 0));
        assert_eq!(memory.read_own(0, &mut vec![0; PIPE_BUF], false), Moved::Bytes { len: PIPE_BUF, tell: false });
        assert_eq!((write.ready(), write.write(&[2; PIPE_BUF])), (POLLOUT, Ok(PIPE_BUF)));
        // Who looks into it is alone.
        assert_eq!((read.peek(&mut buf), memory.is_over(0)), (Ok(32), true));
        let again = read.as_stream().unwrap().share().unwrap();
        let memory = sysproxy::stream::Stream::attach(again.memory.fd()).unwrap();
        drop(write);
        assert!(memory.is_over(0) && read.as_stream().unwrap().share().is_err());
        let mut all = vec![0; CAPACITY_BYTES + 1];
        assert_eq!((read.read(&mut all), read.read(&mut all)), (Ok(CAPACITY_BYTES), Ok(0)));
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
