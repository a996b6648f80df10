//! The bytes of streams (TCP inside this kernel, AF_LOCAL, pipes): here, or in memory that programs share ([`sysproxy::stream`]).
//!
//! An object hands the memory out when a program asks for it, and brings the bytes back for whatever is more than plain reading and
//! writing. As long as they are shared it goes on to serve plain calls, through the memory. No wake-up is lost: who waits here stands on a
//! queue, then leaves a mark in the memory, then looks; a program moves bytes, then looks for marks, and tells ([`Sharing::moved`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::fcntl::O_NONBLOCK;
use abi::{Errno, Result};
use sysproxy::host::{self, Owned};
use sysproxy::stream::{Blocks, Moved, Stream};

/// Streams that programs share at most: each takes a descriptor of the host.
const SHARED_MAX: usize = 1024;

/// How many there are in this process.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// An object whose bytes programs can move themselves.
pub trait Sharing {
    /// Hands the memory out.
    ///
    /// `EOPNOTSUPP` if that can never be; `EAGAIN` while something is in play that only the kernel minds.
    fn share(&self) -> Result<Given>;
    /// Whether programs move the bytes themselves now. Whoever begins with that wakes all queues first that stand for an end, so that no
    /// [notice](crate::notice) stays.
    fn is_shared(&self) -> bool;
    /// A program has moved bytes, which somebody is to hear of: has written some, or has `read` some.
    fn moved(&self, read: bool);
    /// The socket on which the program at this end is rung when there are bytes, and rings the other's, and the number of the stream.
    ///
    /// `EAGAIN` if there is none now.
    fn bell(&self) -> Result<(Owned, u64)>;
}

/// What a program at an end is let know of whether its open file blocks, by its flags and whether receiving has a time limit, which only the
/// kernel minds.
pub fn blocks(flags: i32, limited: bool) -> Blocks {
    match (flags & O_NONBLOCK != 0, limited) {
        (true, _) => Blocks::No,
        (false, true) => Blocks::Unknown,
        (false, false) => Blocks::Yes,
    }
}

/// What a program is given to share.
pub struct Given {
    /// The memory.
    pub memory: Owned,
    /// The direction that its end writes.
    pub ours: usize,
    /// Whether only one direction is used, of which the first end writes and the second reads, and small writes are never split.
    pub pipe: bool,
}

/// The memory that programs map, as long as they share it, and a seat among [`SHARED_MAX`].
pub struct Common {
    file: Owned,
}

impl Common {
    /// Makes memory with room for so many bytes in each direction. `EAGAIN` if there are too many.
    pub fn create(room: usize) -> Result<(Arc<Stream>, Self)> {
        if SHARED.fetch_add(1, Ordering::Relaxed) >= SHARED_MAX {
            SHARED.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::EAGAIN);
        }
        match Stream::create(room) {
            Ok((memory, file)) => Ok((memory, Self { file })),
            Err(error) => {
                SHARED.fetch_sub(1, Ordering::Relaxed);
                Err(host::errno(error))
            }
        }
    }

    /// The file, for a program.
    pub fn hand_out(&self) -> Result<Owned> {
        host::dup_from(self.file.fd(), 0).map_err(host::errno)
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        SHARED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an empty queue keeps for the next data.
const SPARE: usize = 64 << 10;

/// Positions in shared memory count so far.
const POSITIONS: u64 = 1 << 40;

/// Bytes in order.
pub enum Bytes {
    /// Here.
    Own(VecDeque<u8>),
    /// In shared memory.
    Shared(Shared),
}

/// Bytes in shared memory.
pub struct Shared {
    memory: Arc<Stream>,
    direction: usize,
    /// Bytes that the kernel has written and read since they are shared.
    by_kernel: [u64; 2],
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Own(VecDeque::new())
    }
}

impl Bytes {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            // What cannot be is seen when they are brought back.
            Self::Shared(shared) => shared.memory.filled(shared.direction).unwrap_or(0),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes; returns how many went. Shared memory may take less than all.
    pub fn push(&mut self, data: &[u8]) -> usize {
        match self {
            Self::Own(bytes) => {
                bytes.extend(data);
                data.len()
            }
            Self::Shared(shared) => shared.push(data),
        }
    }

    /// The shared memory, while there is some.
    pub fn shared(&mut self) -> Option<&mut Shared> {
        if let Self::Shared(shared) = self { Some(shared) } else { None }
    }

    /// The bytes, while they are here.
    pub fn own(&mut self) -> Option<&mut VecDeque<u8>> {
        if let Self::Own(bytes) = self { Some(bytes) } else { None }
    }

    /// Takes bytes, or with `peek` only looks; `None` if a program is about to take them.
    pub fn read(&mut self, buf: &mut [u8], peek: bool) -> Option<usize> {
        match self {
            Self::Own(bytes) => Some(read(bytes, buf, peek)),
            Self::Shared(shared) => shared.read(buf, peek),
        }
    }

    /// Forgets all but the first.
    pub fn truncate(&mut self, len: usize) {
        if let Self::Own(bytes) = self {
            bytes.truncate(len);
            bytes.shrink_to(SPARE);
        }
    }

    /// Puts them into shared memory, where there must be room for them.
    pub fn share(&mut self, memory: Arc<Stream>, direction: usize) -> Result<()> {
        let Self::Own(bytes) = self else { return Err(Errno::EBUSY) };
        let mut shared = Shared { memory, direction, by_kernel: [0; 2] };
        if shared.push(bytes.make_contiguous()) < bytes.len() {
            return Err(Errno::ENOBUFS);
        }
        *self = Self::Shared(shared);
        Ok(())
    }

    /// Brings them back; returns how many programs have written and read themselves. `None` if what the memory says cannot be: then
    /// there are none.
    pub fn take_back(&mut self) -> Option<[u64; 2]> {
        let Self::Shared(shared) = self else { return Some([0; 2]) };
        let ended = shared.memory.end(shared.direction).ok();
        let by_kernel = shared.by_kernel;
        let rest = ended.as_ref().map_or(&[][..], |(_, rest)| rest);
        *self = Self::Own(rest.iter().copied().collect());
        let (positions, _) = ended?;
        let by_programs = |which: usize| positions[which].wrapping_sub(by_kernel[which]) % POSITIONS;
        Some([by_programs(0), by_programs(1)])
    }

    /// Marks that somebody is about to sleep until there are more; whether others may add some without a call.
    pub fn reader_sleeps(&self) -> bool {
        let Self::Shared(shared) = self else { return false };
        shared.memory.reader_sleeps(shared.direction);
        true
    }

    /// Marks whether somebody is to hear of all bytes that come from now on.
    pub fn reader_watches(&self, watches: bool) {
        if let Self::Shared(shared) = self {
            shared.memory.reader_watches(shared.direction, watches);
        }
    }

    /// Marks whether somebody is to hear of all room that there comes to be from now on.
    pub fn writer_watches(&self, watches: bool) {
        if let Self::Shared(shared) = self {
            shared.memory.writer_watches(shared.direction, watches);
        }
    }

    /// Notes whether the open file of an end blocks.
    pub fn set_blocks(&self, end: usize, blocks: Blocks) {
        if let Self::Shared(shared) = self {
            shared.memory.set_blocks(end, blocks);
        }
    }

    /// The socket on which the program at an end is rung, and the number of the stream. `EAGAIN` while they are not shared.
    pub fn bell(&self, end: usize) -> Result<(Owned, u64)> {
        let Self::Shared(shared) = self else { return Err(Errno::EAGAIN) };
        let bell = shared.memory.bell(end).and_then(|bell| host::dup_from(bell, 0)).map_err(host::errno)?;
        Ok((bell, shared.memory.number()))
    }

    /// Wakes a program that sleeps on its bell for bytes that another has added.
    pub fn rouse(&self) {
        if let Self::Shared(shared) = self {
            shared.memory.rouse(shared.direction);
        }
    }

    /// Marks that somebody is about to sleep until there is more room; whether others may make some without a call.
    pub fn writer_sleeps(&self) -> bool {
        let Self::Shared(shared) = self else { return false };
        shared.memory.writer_sleeps(shared.direction);
        true
    }
}

impl Shared {
    fn push(&mut self, data: &[u8]) -> usize {
        let mut pushed = 0;
        while pushed < data.len()
            && let Moved::Bytes { len, .. } = self.write(&data[pushed..], 0)
        {
            pushed += len;
        }
        pushed
    }

    /// Adds bytes, as many as there is room for, or all or nothing of up to `whole`.
    pub fn write(&mut self, data: &[u8], whole: usize) -> Moved {
        let moved = self.memory.write_own(self.direction, data, whole);
        if let Moved::Bytes { len, .. } = moved {
            self.by_kernel[0] += len as u64;
        }
        moved
    }

    fn read(&mut self, buf: &mut [u8], peek: bool) -> Option<usize> {
        match self.memory.read_own(self.direction, buf, peek) {
            Moved::Bytes { len, .. } => {
                self.by_kernel[1] += if peek { 0 } else { len as u64 };
                Some(len)
            }
            Moved::Nothing => Some(0),
            Moved::Busy | Moved::Over => None,
        }
    }
}

/// Takes bytes from a queue.
fn read(bytes: &mut VecDeque<u8>, buf: &mut [u8], peek: bool) -> usize {
    let len = bytes.len().min(buf.len());
    let (front, back) = bytes.as_slices();
    let cut = len.min(front.len());
    buf[..cut].copy_from_slice(&front[..cut]);
    buf[cut..len].copy_from_slice(&back[..len - cut]);
    if !peek {
        bytes.drain(..len);
        if bytes.is_empty() && bytes.capacity() > SPARE {
            bytes.shrink_to(SPARE);
        }
    }
    len
}
