//! The content of a file: the kernel's own pages while it is small; memory of the host once it is large or a client has mapped it.
//!
//! Memory of the host costs a descriptor for each file, but all of it goes back at once, and clients can map it.

use std::collections::BTreeMap;

use abi::{Errno, Result};
use sysproxy::host::Owned;

use crate::fs::pages::{Account, PAGE_BYTES, Pages};
use crate::rumpuser::{Access, Rumpuser, SharedMemory};

/// Bytes copied at a time when a file becomes shared.
const PIECE_BYTES: usize = 1 << 20;
/// A content that takes more than this is large.
const LARGE_BYTES: usize = 64 << 10;
/// Pages that one word of [`Held`] tells about.
const WORD: u64 = u64::BITS as u64;

/// The content of a file.
pub enum Content {
    /// Pages of the kernel.
    Own(Pages),
    /// Memory of the host.
    Host(Host),
}

/// A content in memory of the host.
pub struct Host {
    memory: Box<dyn SharedMemory>,
    /// Length of the file.
    len: u64,
    /// The pages that are taken from the account.
    held: Held,
    /// Bytes taken from the account: those of `held`, and of what clients have touched.
    taken: usize,
    /// Whether a client has a descriptor: then it is no longer known which pages there are, nor when the last mapping ends.
    mapped: bool,
}

/// A set of pages.
#[derive(Default)]
struct Held(BTreeMap<u64, u64>);

impl Held {
    fn has(&self, page: u64) -> bool {
        self.0.get(&(page / WORD)).is_some_and(|word| word >> (page % WORD) & 1 != 0)
    }

    fn add(&mut self, page: u64) {
        *self.0.entry(page / WORD).or_default() |= 1 << (page % WORD);
    }

    /// Takes the pages `from..to` out, and returns how many there were.
    fn remove(&mut self, from: u64, to: u64) -> usize {
        let mut removed = 0;
        let words = from / WORD..to.div_ceil(WORD).max(from / WORD);
        for (index, word) in self.0.range_mut(words) {
            let base = index * WORD;
            let low = u64::MAX.checked_shl(from.saturating_sub(base) as u32).unwrap_or(0);
            let high = if to - base >= WORD { u64::MAX } else { (1 << (to - base)) - 1 };
            removed += (*word & low & high).count_ones() as usize;
            *word &= !(low & high);
        }
        removed
    }
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
            Content::Host(host) => host.len,
        }
    }

    /// Returns the bytes taken from the account.
    pub fn taken(&self) -> usize {
        match self {
            Content::Own(pages) => pages.taken(),
            Content::Host(host) => host.taken,
        }
    }

    /// Returns the bytes that are no hole.
    pub fn used(&self) -> u64 {
        match self {
            Content::Host(host) if host.mapped => host.memory.used(),
            _ => self.taken() as u64,
        }
    }

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        match self {
            Content::Own(pages) => pages.read(offset, buf),
            Content::Host(host) => {
                let left = host.len.saturating_sub(offset);
                let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                host.memory.read_at(offset, &mut buf[..len]);
                len
            }
        }
    }

    /// Writes at `offset`; returns how much was taken, less than all only when memory ran out.
    pub fn write(&mut self, offset: u64, data: &[u8], account: &dyn Account) -> Result<usize> {
        if let Content::Own(pages) = self
            && pages.taken().saturating_add(data.len()) > LARGE_BYTES
            && let Some(memory) = account.large()
        {
            // Where the host has no more, the kernel's own pages will do.
            let _ = self.move_to(memory);
        }
        match self {
            Content::Own(pages) => pages.write(offset, data, account),
            Content::Host(host) => host.write(offset, data, account),
        }
    }

    /// Changes the length.
    pub fn resize(&mut self, len: u64, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.resize(len, account),
            Content::Host(host) if len == 0 && !host.mapped => {
                account.give(host.taken);
                *self = Content::default();
            }
            Content::Host(host) => host.resize(len, account)?,
        }
        Ok(())
    }

    /// Takes the memory for a range in advance, all of it or nothing.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        if let Content::Own(pages) = self
            && (pages.taken() as u64).saturating_add(len) > LARGE_BYTES as u64
            && let Some(memory) = account.large()
        {
            let _ = self.move_to(memory);
        }
        match self {
            Content::Own(pages) => pages.allocate(offset, len, keep_size, account),
            Content::Host(host) => host.allocate(offset, len, keep_size, account),
        }
    }

    /// Makes a hole of a range.
    pub fn punch(&mut self, offset: u64, len: u64, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.punch(offset, len, account),
            Content::Host(host) => {
                host.memory.punch(offset, len)?;
                let page = PAGE_BYTES as u64;
                host.give(offset.div_ceil(page), offset.saturating_add(len) / page, account);
            }
        }
        Ok(())
    }

    /// Returns where data begins at or after `offset`; `ENXIO` if only a hole is left.
    pub fn seek_data(&self, offset: u64) -> Result<u64> {
        match self {
            Content::Own(pages) => pages.seek_data(offset).ok_or(Errno::ENXIO),
            Content::Host(host) => host.memory.seek_data(offset),
        }
    }

    /// Returns where a hole begins at or after `offset`.
    pub fn seek_hole(&self, offset: u64) -> Result<u64> {
        match self {
            Content::Own(pages) => Ok(pages.seek_hole(offset)),
            Content::Host(host) => host.memory.seek_hole(offset).map(|hole| hole.min(host.len)),
        }
    }

    /// Returns a descriptor to map; the first one moves the content to memory that can be shared.
    pub fn share(&mut self, access: Access, host: &dyn Rumpuser) -> Result<Owned> {
        if let Content::Own(_) = self {
            self.move_to(host.shared_memory()?)?;
        }
        match self {
            Content::Host(host) => {
                host.mapped = true;
                host.memory.descriptor(access)
            }
            Content::Own(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Moves the kernel's own pages to memory of the host, with what is no hole and what is taken in advance.
    fn move_to(&mut self, memory: Box<dyn SharedMemory>) -> Result<()> {
        let Content::Own(pages) = self else { return Ok(()) };
        memory.resize(pages.size())?;
        let mut buf = vec![0; PIECE_BYTES.min(pages.taken())];
        let mut at = 0;
        while let Some(data) = pages.seek_data(at) {
            let end = pages.seek_hole(data).min(data + PIECE_BYTES as u64);
            let piece = &mut buf[..(end - data) as usize];
            pages.read(data, piece);
            if memory.write_at(data, piece)? < piece.len() {
                return Err(Errno::ENOSPC);
            }
            at = end;
        }
        let mut held = Held::default();
        for (page, written) in pages.iter() {
            held.add(page);
            if !written {
                memory.allocate(page * PAGE_BYTES as u64, PAGE_BYTES as u64)?;
            }
        }
        *self = Content::Host(Host { memory, len: pages.size(), held, taken: pages.taken(), mapped: false });
        Ok(())
    }
}

impl Host {
    /// Takes a page, if it is not there yet; whether it was not.
    fn take_page(&mut self, page: u64, account: &dyn Account) -> Result<bool> {
        if self.held.has(page) {
            return Ok(false);
        }
        account.take(PAGE_BYTES)?;
        self.held.add(page);
        self.taken += PAGE_BYTES;
        Ok(true)
    }

    /// Gives the pages `from..to` back.
    fn give(&mut self, from: u64, to: u64, account: &dyn Account) {
        let bytes = self.held.remove(from, to) * PAGE_BYTES;
        if self.mapped {
            // What a client has done to them is not known.
            return self.settle(account);
        }
        account.give(bytes);
        self.taken -= bytes;
    }

    fn write(&mut self, offset: u64, data: &[u8], account: &dyn Account) -> Result<usize> {
        let page_bytes = PAGE_BYTES as u64;
        let mut len = 0;
        while len < data.len() {
            let page = (offset + len as u64) / page_bytes;
            match self.take_page(page, account) {
                Ok(_) => len = (((page + 1) * page_bytes - offset) as usize).min(data.len()),
                Err(errno) if len == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        let done = self.memory.write_at(offset, &data[..len]);
        let end = offset + *done.as_ref().unwrap_or(&0) as u64;
        self.len = self.len.max(end);
        if done.as_ref().is_ok_and(|done| *done == len) {
            self.settle(account);
        } else {
            // The host had no room for what was taken.
            self.give(end.div_ceil(page_bytes), (offset + len as u64).div_ceil(page_bytes), account);
        }
        done
    }

    fn resize(&mut self, len: u64, account: &dyn Account) -> Result<()> {
        self.memory.resize(len)?;
        // Growing keeps what was taken in advance beyond the end; the length that it has does not, as on Linux.
        if len <= self.len {
            self.give(len.div_ceil(PAGE_BYTES as u64), u64::MAX, account);
        }
        self.len = len;
        Ok(())
    }

    fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        let page_bytes = PAGE_BYTES as u64;
        let mut fresh = Vec::new();
        let undo = |host: &mut Self, fresh: &[u64]| fresh.iter().for_each(|page| host.give(*page, page + 1, account));
        for page in offset / page_bytes..(offset + len).div_ceil(page_bytes) {
            match self.take_page(page, account) {
                Ok(true) => fresh.push(page),
                Ok(false) => {}
                Err(errno) => {
                    undo(self, &fresh);
                    return Err(errno);
                }
            }
        }
        let end = self.len.max(offset + len);
        let done = self.memory.allocate(offset, len).and_then(|()| match keep_size || end == self.len {
            true => Ok(self.len),
            false => self.memory.resize(end).map(|()| end),
        });
        match done {
            Ok(len) => self.len = len,
            Err(errno) => {
                undo(self, &fresh);
                return Err(errno);
            }
        }
        self.settle(account);
        Ok(())
    }

    /// Makes the account agree with what the memory takes, once clients may have touched it. That is theirs already, so where
    /// the account has no more it stays behind.
    fn settle(&mut self, account: &dyn Account) {
        if !self.mapped {
            return;
        }
        let used = usize::try_from(self.memory.used()).unwrap_or(usize::MAX);
        if used < self.taken {
            account.give(self.taken - used);
        } else if used > self.taken && account.take(used - self.taken).is_err() {
            return;
        }
        self.taken = used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_in_and_out_across_words() {
        let mut held = Held::default();
        (60..200).for_each(|page| held.add(page));
        assert!(!held.has(59) && held.has(60) && held.has(199) && !held.has(200));
        assert_eq!((held.remove(0, 60), held.remove(63, 65), held.remove(63, 65)), (0, 2, 0));
        assert!(held.has(62) && !held.has(63) && !held.has(64) && held.has(65));
        assert_eq!((held.remove(128, 128), held.remove(150, u64::MAX), held.remove(0, u64::MAX)), (0, 50, 88));
    }
}
