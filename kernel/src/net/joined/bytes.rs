//! The bytes of one direction: here, or in memory that programs share.

use std::collections::VecDeque;
use std::sync::Arc;

use abi::{Errno, Result};
use sysproxy::stream::{Moved, Stream};

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
            && let Moved::Bytes { len, .. } = self.memory.write_own(self.direction, &data[pushed..])
        {
            pushed += len;
        }
        self.by_kernel[0] += pushed as u64;
        pushed
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
