//! The content of a file: the kernel's own pages while it is small; memory of the host once it is large, or a client has mapped it or
//! reads and writes it by itself.
//!
//! Memory of the host costs a descriptor for each file, but all of it goes back at once, and clients can use it. To a client that reads and
//! writes by itself it is lent: the length is then what the host says. Such a client keeps to the pages that are taken from the account, of which there are
//! some in advance.

use std::collections::BTreeMap;
use std::ops::Range;

use abi::{Errno, Result};
use sysproxy::host::{self, HostFd, Owned, direct};

use crate::fs::pages::{Account, PAGE_BYTES, Pages};
use crate::rumpuser::{Access, Rumpuser, SharedMemory};
use sysproxy::host::shared::{Status, Times};

/// Bytes copied at a time when a file becomes shared.
const PIECE_BYTES: usize = 1 << 20;
/// A content that takes more than this is large.
const LARGE_BYTES: usize = 64 << 10;
/// A loan has no fewer and no more bytes in advance than these; in between it is as much as the file has.
const ADVANCE_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;
/// So many times the advance must be free.
const FREE_ADVANCES: u64 = 16;
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
    /// Length of the file, while the memory is not lent.
    len: u64,
    /// The pages that are taken from the account.
    held: Held,
    /// All pages below it are held.
    prefix: u64,
    /// Whether it is lent.
    lent: bool,
    /// Pages that are held in advance: as far as the file does not reach them, nothing is there.
    advance: Range<u64>,
    /// Bytes taken from the account: those of `held`, and of what clients have touched.
    taken: usize,
    /// Whether a client has a descriptor: then it is no longer known which pages there are, nor when the last mapping ends.
    mapped: bool,
}

/// A set of pages.
#[derive(Default)]
struct Held {
    words: BTreeMap<u64, u64>,
    count: usize,
}

impl Held {
    fn has(&self, page: u64) -> bool {
        self.words.get(&(page / WORD)).is_some_and(|word| word >> (page % WORD) & 1 != 0)
    }

    fn add(&mut self, page: u64) {
        self.count += usize::from(!self.has(page));
        *self.words.entry(page / WORD).or_default() |= 1 << (page % WORD);
    }

    /// Takes the pages `from..to` out, and returns how many there were.
    fn remove(&mut self, from: u64, to: u64) -> usize {
        let mut removed = 0;
        let words = from / WORD..to.div_ceil(WORD).max(from / WORD);
        for (index, word) in self.words.range_mut(words) {
            let base = index * WORD;
            let low = u64::MAX.checked_shl(from.saturating_sub(base) as u32).unwrap_or(0);
            let high = if to - base >= WORD { u64::MAX } else { (1 << (to - base)) - 1 };
            removed += (*word & low & high).count_ones() as usize;
            *word &= !(low & high);
        }
        self.count -= removed;
        removed
    }
}

/// What is to be written into a content.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// Where.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
    /// Whether they go to the end as the host knows it, whatever `offset` says.
    pub appends: bool,
    /// A client's open file through which it may be done: it stands at the place, or appends.
    pub by: Option<HostFd>,
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
            Content::Host(host) => host.len(),
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
            Content::Host(host) if host.mapped || host.lent => host.memory.used(),
            _ => self.taken() as u64,
        }
    }

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        match self {
            Content::Own(pages) => pages.read(offset, buf),
            Content::Host(host) if host.lent => host.memory.read_at(offset, buf),
            Content::Host(host) => {
                let left = host.len.saturating_sub(offset);
                let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                host.memory.read_at(offset, &mut buf[..len]);
                len
            }
        }
    }

    /// Writes; returns where the data ended and how much was taken, less than all only when memory ran out.
    pub fn write(&mut self, new: Writing, account: &dyn Account) -> Result<(u64, usize)> {
        if let Content::Own(pages) = self
            && pages.taken().saturating_add(new.data.len()) > LARGE_BYTES
            && let Some(memory) = account.large()
        {
            // Where the host has no more, the kernel's own pages will do.
            let _ = self.move_to(memory);
        }
        match self {
            Content::Own(pages) => pages.write(new.offset, new.data, account).map(|len| (new.offset + len as u64, len)),
            Content::Host(host) => host.write(new, account),
        }
    }

    /// Changes the length.
    pub fn resize(&mut self, len: u64, account: &dyn Account) -> Result<()> {
        match self {
            Content::Own(pages) => pages.resize(len, account),
            Content::Host(host) if len == 0 && !host.mapped && !host.lent => {
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
                host.take_back_advance(account);
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
            Content::Host(host) => host.memory.seek_hole(offset).map(|hole| hole.min(host.len())),
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

    /// Lends the memory to a client that reads and writes by itself from now on, until [`Self::return_loan`]. `EAGAIN` if there is none to lend.
    pub fn lend(&mut self, access: Access, account: &dyn Account) -> Result<Owned> {
        if let Content::Own(_) = self {
            let memory = account.large().ok_or(Errno::EAGAIN)?;
            self.move_to(memory).map_err(|_| Errno::EAGAIN)?;
        }
        let Content::Host(host) = self else { return Err(Errno::EAGAIN) };
        let memory = host.memory.descriptor(access)?;
        if !host.lent {
            // What a client may have done to the length does not count until now.
            host.memory.resize(host.len)?;
            host.lent = true;
        }
        Ok(memory)
    }

    /// Believes the host no more: no client has the memory by a loan.
    pub fn return_loan(&mut self, account: &dyn Account) {
        let Content::Host(host) = self else { return };
        host.take_back_advance(account);
        host.len = host.len();
        host.lent = false;
        if !host.mapped && host.memory.used() != host.taken as u64 {
            // A client has left holes within the advance, or written where it should not.
            host.mapped = true;
            host.settle(account);
        }
        if !host.mapped && host.len <= LARGE_BYTES as u64 {
            self.move_back();
        }
    }

    /// What the host says of memory that is lent.
    pub fn status(&self) -> Option<Status> {
        match self {
            Content::Host(host) if host.lent => Some(host.memory.status()),
            _ => None,
        }
    }

    /// Sets the times that the host says of memory that is lent; returns what it says then.
    pub fn set_times(&self, times: Times) -> Option<Times> {
        let Content::Host(host) = self else { return None };
        // A host that refuses shows what it has.
        let _ = host.memory.set_times(times);
        self.status().map(|status| status.times)
    }

    /// Up to where a client may write by itself.
    pub fn limit(&self) -> u64 {
        match self {
            Content::Host(host) if host.lent => host.prefix.saturating_mul(PAGE_BYTES as u64),
            _ => 0,
        }
    }

    /// Takes pages in advance for what a client is going to write by itself, if its file has no holes and `free` bytes are free.
    pub fn advance(&mut self, free: u64, account: &dyn Account) {
        let Content::Host(host) = self else { return };
        let (len, page_bytes) = (host.len(), PAGE_BYTES as u64);
        let bytes = len.clamp(*ADVANCE_BYTES.start(), *ADVANCE_BYTES.end());
        let end = len.div_ceil(page_bytes);
        if !host.lent || host.prefix != end || free < bytes.saturating_mul(FREE_ADVANCES) {
            return;
        }
        let from = host.advance.start.min(end);
        for page in end..end + bytes / page_bytes {
            if host.take_page(page, account).is_err() {
                break;
            }
        }
        host.advance = if host.advance.is_empty() { end..host.prefix } else { from..host.prefix };
    }

    /// Gives back what was taken in advance and is not there; how many bytes that was.
    pub fn take_back_advance(&mut self, account: &dyn Account) -> u64 {
        if let Content::Host(host) = self { host.take_back_advance(account) } else { 0 }
    }

    /// How many bytes are taken in advance and not there.
    pub fn advanced(&self) -> u64 {
        match self {
            Content::Host(host) if host.lent => {
                host.unused_advance().map_or(0, |pages| (pages.end - pages.start) * PAGE_BYTES as u64)
            }
            _ => 0,
        }
    }

    /// Moves a small content back to the kernel's own pages, if all of it was written.
    fn move_back(&mut self) {
        let Content::Host(host) = self else { return };
        let page_bytes = PAGE_BYTES as u64;
        let mut pages = Pages::default();
        let mut buf = [0; PAGE_BYTES];
        let mut at = 0;
        while let Ok(data) = host.memory.seek_data(at) {
            let from = data / page_bytes * page_bytes;
            let piece = &mut buf[..host.len.saturating_sub(from).min(page_bytes) as usize];
            host.memory.read_at(from, piece);
            if piece.is_empty() || pages.write(from, piece, &Taken).is_err() {
                break;
            }
            at = from + page_bytes;
        }
        if pages.taken() == host.taken {
            pages.resize(host.len, &Taken);
            *self = Content::Own(pages);
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
        let (len, taken) = (pages.size(), pages.taken());
        let mut host = Host { memory, len, held, prefix: 0, lent: false, advance: 0..0, taken, mapped: false };
        host.extend_prefix();
        *self = Content::Host(host);
        Ok(())
    }
}

/// An account of what is taken already.
struct Taken;

impl Account for Taken {
    fn take(&self, _: usize) -> Result<()> {
        Ok(())
    }
    fn give(&self, _: usize) {}
}

impl Host {
    fn len(&self) -> u64 {
        if self.lent { self.memory.status().size } else { self.len }
    }

    fn extend_prefix(&mut self) {
        while self.held.has(self.prefix) {
            self.prefix += 1;
        }
    }

    /// The pages of the advance that the file does not reach.
    fn unused_advance(&self) -> Option<Range<u64>> {
        let from = self.advance.start.max(self.len().div_ceil(PAGE_BYTES as u64));
        Some(from..self.advance.end).filter(|pages| !pages.is_empty())
    }

    /// Gives back what was taken in advance and is not there; how many bytes that was.
    fn take_back_advance(&mut self, account: &dyn Account) -> u64 {
        let unused = self.unused_advance();
        self.advance = 0..0;
        let Some(Range { start, end }) = unused else { return 0 };
        let bytes = self.held.remove(start, end) * PAGE_BYTES;
        self.prefix = self.prefix.min(start);
        account.give(bytes);
        self.taken -= bytes;
        bytes as u64
    }

    /// Takes a page, if it is not there yet; whether it was not.
    fn take_page(&mut self, page: u64, account: &dyn Account) -> Result<bool> {
        if self.held.has(page) {
            return Ok(false);
        }
        account.take(PAGE_BYTES)?;
        self.held.add(page);
        self.taken += PAGE_BYTES;
        self.extend_prefix();
        Ok(true)
    }

    /// Gives the pages `from..to` back.
    fn give(&mut self, from: u64, to: u64, account: &dyn Account) {
        let bytes = self.held.remove(from, to) * PAGE_BYTES;
        if from < to {
            self.prefix = self.prefix.min(from);
        }
        if self.mapped || self.lent {
            // What a client has done to them is not known.
            return self.settle(account);
        }
        account.give(bytes);
        self.taken -= bytes;
    }

    fn write(&mut self, new: Writing, account: &dyn Account) -> Result<(u64, usize)> {
        let Writing { offset, data, appends, by } = new;
        let page_bytes = PAGE_BYTES as u64;
        if self.lent && offset > self.len() {
            // A hole comes to lie in the advance.
            self.take_back_advance(account);
        }
        let mut len = 0;
        while len < data.len() {
            let page = (offset + len as u64) / page_bytes;
            match self.take_page(page, account) {
                Ok(_) => len = (((page + 1) * page_bytes - offset) as usize).min(data.len()),
                Err(errno) if len == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        let done = match by {
            // Where the client's open file stands, or at the end if it is one of that kind.
            Some(by) => {
                host::write(by, &data[..len]).and_then(|len| Ok((direct::position(by)?, len))).map_err(host::errno)
            }
            None if appends && self.lent => self.memory.append(&data[..len]),
            None => self.memory.write_at(offset, &data[..len]).map(|len| (offset + len as u64, len)),
        };
        let end = offset + done.as_ref().map_or(0, |(_, done)| *done as u64);
        if !self.lent {
            self.len = self.len.max(end);
        }
        if done.as_ref().is_ok_and(|(_, done)| *done == len) {
            self.settle(account);
        } else {
            // The host had no room for what was taken.
            self.give(end.div_ceil(page_bytes), (offset + len as u64).div_ceil(page_bytes), account);
        }
        done
    }

    fn resize(&mut self, len: u64, account: &dyn Account) -> Result<()> {
        self.take_back_advance(account);
        let before = self.len();
        self.memory.resize(len)?;
        // Growing keeps what was taken in advance beyond the end; the length that it has does not, as on Linux.
        if len <= before {
            self.give(len.div_ceil(PAGE_BYTES as u64), u64::MAX, account);
        }
        self.len = len;
        Ok(())
    }

    fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        let page_bytes = PAGE_BYTES as u64;
        self.take_back_advance(account);
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
        let before = self.len();
        let end = before.max(offset + len);
        let done = self.memory.allocate(offset, len).and_then(|()| match keep_size || end == before {
            true => Ok(before),
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
        if !self.mapped && !self.lent {
            return;
        }
        let used = usize::try_from(self.memory.used()).unwrap_or(usize::MAX);
        // What is taken in advance stays so.
        let used = if self.lent { used.max(self.held.count * PAGE_BYTES) } else { used };
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
