//! The content of a file: the kernel's own pages, or, once a client has mapped it, memory of the host that both share.

use abi::{Errno, Result};
use sysproxy::host::Owned;

use crate::fs::pages::{Account, Pages};
use crate::rumpuser::{Access, Rumpuser, SharedMemory};

/// Bytes copied at a time when a file becomes shared.
const PIECE_BYTES: usize = 1 << 20;

/// What memory is taken in.
const PAGE_BYTES: u64 = 4096;

/// The content of a file.
pub enum Content {
    /// Pages of the kernel.
    Own(Pages),
    /// Shared memory.
    Shared(Shared),
}

/// A file that clients have mapped; it stays so until it goes, since nobody tells when the last mapping ends.
pub struct Shared {
    memory: Box<dyn SharedMemory>,
    /// Length of the file.
    len: u64,
    /// Bytes taken from the account. What clients touch for the first time is noticed at the next call.
    taken: usize,
}

impl Default for Content {
    fn default() -> Self {
        Content::Own(Pages::default())
    }
}

impl Content {
    /// Returns the length.
    pub fn size(&self) -> u64 {
        match self {
            Content::Own(pages) => pages.size(),
            Content::Shared(shared) => shared.len,
        }
    }

    /// Returns the bytes taken from the account.
    pub fn taken(&self) -> usize {
        match self {
            Content::Own(pages) => pages.taken(),
            Content::Shared(shared) => shared.taken,
        }
    }

    /// Returns the bytes that are no hole.
    pub fn used(&self) -> u64 {
        match self {
            Content::Own(pages) => pages.used(),
            Content::Shared(shared) => shared.memory.used(),
        }
    }

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        match self {
            Content::Own(pages) => pages.read(offset, buf),
            Content::Shared(shared) => {
                let left = shared.len.saturating_sub(offset);
                let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                shared.memory.read_at(offset, &mut buf[..len]);
                len
            }
        }
    }

    /// Writes at `offset`; returns how much was taken.
    pub fn write(&mut self, offset: u64, data: &[u8], account: &dyn Account) -> Result<usize> {
        match self {
            Content::Own(pages) => pages.write(offset, data, account),
            Content::Shared(shared) => {
                shared.take_for(offset, data.len() as u64, account)?;
                let done = shared.memory.write_at(offset, data);
                shared.len = shared.len.max(offset + *done.as_ref().unwrap_or(&0) as u64);
                shared.settle(account);
                done
            }
        }
    }

    /// Changes the length.
    pub fn resize(&mut self, len: u64, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.resize(len, account),
            Content::Shared(shared) => {
                shared.memory.resize(len)?;
                shared.len = len;
                shared.settle(account);
            }
        }
        Ok(())
    }

    /// Takes the memory for a range in advance.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.allocate(offset, len, keep_size, account),
            Content::Shared(shared) => {
                shared.take_for(offset, len, account)?;
                let end = shared.len.max(offset + len);
                let done = shared.memory.allocate(offset, len).and_then(|()| match keep_size || end == shared.len {
                    true => Ok(shared.len),
                    false => shared.memory.resize(end).map(|()| end),
                });
                shared.settle(account);
                shared.len = done?;
                Ok(())
            }
        }
    }

    /// Makes a hole of a range.
    pub fn punch(&mut self, offset: u64, len: u64, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.punch(offset, len, account),
            Content::Shared(shared) => {
                shared.memory.punch(offset, len)?;
                shared.settle(account);
            }
        }
        Ok(())
    }

    /// Returns where data begins at or after `offset`; `ENXIO` if only a hole is left.
    pub fn seek_data(&self, offset: u64) -> Result<u64> {
        match self {
            Content::Own(pages) => pages.seek_data(offset).ok_or(Errno::ENXIO),
            Content::Shared(shared) => shared.memory.seek_data(offset),
        }
    }

    /// Returns where a hole begins at or after `offset`.
    pub fn seek_hole(&self, offset: u64) -> Result<u64> {
        match self {
            Content::Own(pages) => Ok(pages.seek_hole(offset)),
            Content::Shared(shared) => shared.memory.seek_hole(offset).map(|hole| hole.min(shared.len)),
        }
    }

    /// Returns a descriptor to map; the first one moves the content to memory that can be shared.
    pub fn share(&mut self, access: Access, host: &dyn Rumpuser, account: &dyn Account) -> Result<Owned> {
        if let Content::Own(pages) = self {
            let mut shared = Shared { memory: host.shared_memory()?, len: pages.size(), taken: 0 };
            shared.fill(pages)?;
            account.give(pages.taken());
            shared.settle(account);
            *self = Content::Shared(shared);
        }
        match self {
            Content::Shared(shared) => shared.memory.descriptor(access),
            Content::Own(_) => Err(Errno::EOPNOTSUPP),
        }
    }
}

impl Shared {
    /// Copies what is no hole.
    fn fill(&mut self, pages: &Pages) -> Result<()> {
        self.memory.resize(self.len)?;
        let mut buf = vec![0; PIECE_BYTES];
        let mut at = 0;
        while let Some(data) = pages.seek_data(at) {
            let end = pages.seek_hole(data).min(data + PIECE_BYTES as u64);
            let piece = &mut buf[..(end - data) as usize];
            pages.read(data, piece);
            if self.memory.write_at(data, piece)? < piece.len() {
                return Err(Errno::ENOSPC);
            }
            at = end;
        }
        Ok(())
    }

    /// Takes as much as a range may cost at most; [`Shared::settle`] gives the rest back.
    fn take_for(&mut self, offset: u64, len: u64, account: &dyn Account) -> Result<()> {
        let pages = (offset % PAGE_BYTES + len).div_ceil(PAGE_BYTES);
        let bytes = usize::try_from(pages * PAGE_BYTES).map_err(|_| Errno::EFBIG)?;
        account.take(bytes)?;
        self.taken += bytes;
        Ok(())
    }

    /// Makes the account agree with what the memory takes now. What clients have touched is theirs already, so where the account
    /// has no more it stays behind.
    fn settle(&mut self, account: &dyn Account) {
        let used = usize::try_from(self.memory.used()).unwrap_or(usize::MAX);
        if used < self.taken {
            account.give(self.taken - used);
        } else if used > self.taken && account.take(used - self.taken).is_err() {
            return;
        }
        self.taken = used;
    }
}
