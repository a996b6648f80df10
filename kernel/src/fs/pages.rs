//! Sparse file contents in memory.

use std::collections::BTreeMap;

use abi::Result;

/// Bytes that one chunk covers.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is taken grows in steps of this.
const PAGE_BYTES: usize = 4096;

/// Where the memory comes from.
pub trait Account {
    /// Takes `bytes`; fails when there are no more.
    fn take(&self, bytes: usize) -> Result<()>;
    /// Gives `bytes` back.
    fn give(&self, bytes: usize);
}

/// The content of a file. What was never written takes no memory and reads as zeros.
#[derive(Default)]
pub struct Pages {
    /// By offset in units of [`CHUNK_BYTES`].
    chunks: BTreeMap<u64, Chunk>,
    /// Length of the file; nothing but zeros is held beyond.
    len: u64,
    /// Bytes taken from the account: the capacities of the chunks.
    taken: usize,
}

/// A piece of a file.
#[derive(Default)]
struct Chunk {
    /// What it holds; up to the full length of a chunk the rest is zeros.
    bytes: Vec<u8>,
    /// The pages that were written, a bit each: no holes.
    written: u16,
    /// The pages that were written or taken in advance: what stat(2) counts.
    pages: u16,
}

const _: () = assert!(CHUNK_BYTES / PAGE_BYTES == u16::BITS as usize);

/// The bits of the pages that the range `start..end` of a chunk touches.
fn touched(start: usize, end: usize) -> u16 {
    bits(start / PAGE_BYTES, end.div_ceil(PAGE_BYTES))
}

/// The bits of the pages from `first` up to, not including, `end`.
fn bits(first: usize, end: usize) -> u16 {
    let below = |page: usize| ((1u32 << page) - 1) as u16;
    if first < end { below(end) & !below(first) } else { 0 }
}

impl Pages {
    /// Returns the length of the file.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Returns the memory taken, in bytes.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the bytes of the pages that were written or taken in advance.
    pub fn used(&self) -> u64 {
        self.chunks.values().map(|chunk| u64::from(chunk.pages.count_ones()) * PAGE_BYTES as u64).sum()
    }

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (index, at, piece) in pieces(offset, len) {
            let out = &mut buf[piece];
            let held = self.chunks.get(&index).and_then(|chunk| chunk.bytes.get(at..)).unwrap_or_default();
            let held = &held[..held.len().min(out.len())];
            let (data, zeros) = out.split_at_mut(held.len());
            data.copy_from_slice(held);
            zeros.fill(0);
        }
        len
    }

    /// Writes at `offset`; returns how much was taken, which is less than all only when memory ran out, and an error
    /// when it was nothing. The sum of both must fit into 64 bits.
    pub fn write(&mut self, offset: u64, data: &[u8], account: &dyn Account) -> Result<usize> {
        let mut done = 0;
        for (index, at, piece) in pieces(offset, data.len()) {
            let part = &data[piece];
            if let Err(errno) = self.hold(index, at + part.len(), account) {
                if done == 0 {
                    return Err(errno);
                }
                break;
            }
            let chunk = self.chunks.entry(index).or_default();
            let end = at + part.len();
            if chunk.bytes.len() < end {
                // Cuts or fills up to where the data begins, so that nothing is zeroed just to be overwritten.
                chunk.bytes.resize(at, 0);
                chunk.bytes.extend_from_slice(part);
            } else {
                chunk.bytes[at..end].copy_from_slice(part);
            }
            chunk.written |= touched(at, end);
            chunk.pages |= touched(at, end);
            done += part.len();
            self.len = self.len.max(offset + done as u64);
        }
        Ok(done)
    }

    /// Makes sure that a chunk can hold `len` bytes.
    fn hold(&mut self, index: u64, len: usize, account: &dyn Account) -> Result<()> {
        let old = self.chunks.get(&index).map_or(0, |chunk| chunk.bytes.capacity());
        if len <= old {
            return Ok(());
        }
        let new = len.next_multiple_of(PAGE_BYTES).max((old * 2).min(CHUNK_BYTES));
        account.take(new - old)?;
        let chunk = self.chunks.entry(index).or_default();
        chunk.bytes.reserve_exact(new - chunk.bytes.len());
        self.taken += new - old;
        Ok(())
    }

    /// Changes the length. What is cut off is given back, and reads as zeros should the file grow again.
    pub fn resize(&mut self, len: u64, account: &dyn Account) {
        if len < self.len {
            let (last, at) = (len / CHUNK_BYTES as u64, (len % CHUNK_BYTES as u64) as usize);
            let gone = self.chunks.split_off(&(if at == 0 { last } else { last + 1 }));
            let mut freed: usize = gone.values().map(|chunk| chunk.bytes.capacity()).sum();
            if let Some(chunk) = self.chunks.get_mut(&last).filter(|_| at > 0) {
                let before = chunk.bytes.capacity();
                chunk.bytes.truncate(at);
                chunk.bytes.shrink_to(at.next_multiple_of(PAGE_BYTES));
                chunk.written &= touched(0, at);
                chunk.pages &= touched(0, at);
                freed += before - chunk.bytes.capacity();
            }
            self.taken -= freed;
            account.give(freed);
        }
        self.len = len;
    }

    /// Takes the memory for a range in advance (fallocate(2)); the file reaches at least to its end then, unless `keep_size`.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let (index, start) = (at / CHUNK_BYTES as u64, at % CHUNK_BYTES as u64);
            let piece = (CHUNK_BYTES as u64 - start).min(end - at);
            self.hold(index, (start + piece) as usize, account)?;
            if let Some(chunk) = self.chunks.get_mut(&index) {
                chunk.pages |= touched(start as usize, (start + piece) as usize);
            }
            at += piece;
        }
        if !keep_size {
            self.len = self.len.max(end);
        }
        Ok(())
    }

    /// Makes a hole of a range; the length stays.
    pub fn punch(&mut self, offset: u64, len: u64, account: &dyn Account) {
        let end = offset.saturating_add(len);
        let mut freed = 0;
        let (first, last) = (offset / CHUNK_BYTES as u64, end / CHUNK_BYTES as u64);
        self.chunks.range_mut(first..=last).for_each(|(index, chunk)| {
            let base = index * CHUNK_BYTES as u64;
            let from = (offset.saturating_sub(base) as usize).min(CHUNK_BYTES);
            let to = ((end - base).min(CHUNK_BYTES as u64)) as usize;
            let held = to.min(chunk.bytes.len());
            if let Some(range) = chunk.bytes.get_mut(from..held) {
                range.fill(0);
            }
            let whole = bits(from.div_ceil(PAGE_BYTES), to / PAGE_BYTES);
            chunk.written &= !whole;
            chunk.pages &= !whole;
            if chunk.pages == 0 {
                freed += chunk.bytes.capacity();
                chunk.bytes = Vec::new();
            }
        });
        self.chunks.retain(|_, chunk| chunk.pages != 0);
        self.taken -= freed;
        account.give(freed);
    }

    /// Returns where written data begins at or after `offset`; `None` if only a hole is left.
    pub fn seek_data(&self, offset: u64) -> Option<u64> {
        let first = offset / CHUNK_BYTES as u64;
        let found = self.chunks.range(first..).find_map(|(index, chunk)| {
            let base = index * CHUNK_BYTES as u64;
            let skip = offset.saturating_sub(base) as usize / PAGE_BYTES;
            let left = chunk.written & bits(skip, u16::BITS as usize);
            (left != 0).then(|| base + u64::from(left.trailing_zeros()) * PAGE_BYTES as u64)
        })?;
        Some(found.max(offset)).filter(|found| *found < self.len)
    }

    /// Returns where a hole begins at or after `offset`; the end of the file is one.
    pub fn seek_hole(&self, offset: u64) -> u64 {
        let mut at = offset;
        while at < self.len {
            let (index, start) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
            let page = start / PAGE_BYTES;
            let Some(chunk) = self.chunks.get(&index) else { return at };
            let holes = !chunk.written & bits(page, u16::BITS as usize);
            if holes != 0 {
                let hole = index * CHUNK_BYTES as u64 + u64::from(holes.trailing_zeros()) * PAGE_BYTES as u64;
                return hole.max(offset).min(self.len);
            }
            at = (index + 1) * CHUNK_BYTES as u64;
        }
        self.len
    }
}

/// Cuts a range of a file into chunks: index of the chunk, offset in it, range of the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let (index, start) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
        let piece = done..len.min(done + CHUNK_BYTES - start);
        done = piece.end;
        Some((index, start, piece))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use abi::Errno;

    use super::*;

    #[derive(Default)]
    struct Budget {
        used: Cell<usize>,
        limit: usize,
    }

    impl Account for Budget {
        fn take(&self, bytes: usize) -> Result<()> {
            let used = self.used.get() + bytes;
            if used > self.limit {
                return Err(Errno::ENOSPC);
            }
            self.used.set(used);
            Ok(())
        }
        fn give(&self, bytes: usize) {
            self.used.set(self.used.get() - bytes);
        }
    }

    #[test]
    fn holes_take_nothing_and_read_as_zeros() {
        let budget = Budget { limit: 1 << 20, ..Budget::default() };
        let mut pages = Pages::default();
        assert_eq!(pages.write(5 << 30, b"end", &budget), Ok(3));
        assert_eq!((pages.size(), pages.taken()), ((5 << 30) + 3, 4096));
        let mut buf = [9; 8];
        assert_eq!(pages.read((5 << 30) - 5, &mut buf), 8);
        assert_eq!(&buf, b"\0\0\0\0\0end");
    }

    #[test]
    fn what_is_cut_off_comes_back_as_zeros() {
        let budget = Budget { limit: 1 << 20, ..Budget::default() };
        let mut pages = Pages::default();
        pages.write(0, &[7; 200_000], &budget).unwrap();
        assert_eq!(pages.taken(), budget.used.get());
        pages.resize(70_000, &budget);
        assert_eq!(pages.taken(), budget.used.get());
        pages.resize(200_000, &budget);
        let mut buf = vec![1; 200_000];
        assert_eq!(pages.read(0, &mut buf), 200_000);
        assert!(buf[..70_000].iter().all(|byte| *byte == 7) && buf[70_000..].iter().all(|byte| *byte == 0));
        pages.resize(0, &budget);
        assert_eq!((pages.taken(), budget.used.get()), (0, 0));
    }

    #[test]
    fn holes_are_found_page_by_page_and_can_be_made() {
        let budget = Budget { limit: 1 << 20, ..Budget::default() };
        let mut pages = Pages::default();
        pages.write(70_000, b"x", &budget).unwrap();
        pages.resize(300_000, &budget);
        assert_eq!((pages.seek_data(0), pages.seek_hole(0), pages.used()), (Some(69_632), 0, 4096));
        assert_eq!((pages.seek_data(70_001), pages.seek_hole(70_000)), (Some(70_001), 73_728));
        assert_eq!((pages.seek_data(73_728), pages.seek_hole(73_728)), (None, 73_728));
        pages.write(0, &[1; 140_000], &budget).unwrap();
        assert_eq!((pages.seek_hole(5), pages.seek_data(5)), (143_360, Some(5)));
        pages.punch(100, 10_000, &budget);
        assert_eq!((pages.seek_hole(0), pages.seek_data(4096)), (4096, Some(8192)));
        let mut buf = [9; 3];
        pages.read(99, &mut buf);
        assert_eq!(buf, [1, 0, 0]);
        pages.read(10_099, &mut buf);
        assert_eq!(buf, [0, 1, 1]);
        pages.punch(0, 1 << 40, &budget);
        assert_eq!((pages.size(), pages.used(), budget.used.get()), (300_000, 0, 0));
    }

    #[test]
    fn a_write_that_meets_the_limit_is_cut_short() {
        let budget = Budget { limit: 3 * CHUNK_BYTES, ..Budget::default() };
        let mut pages = Pages::default();
        assert_eq!(pages.write(0, &vec![1; 4 * CHUNK_BYTES], &budget), Ok(3 * CHUNK_BYTES));
        assert_eq!(pages.write(pages.size(), b"x", &budget), Err(Errno::ENOSPC));
        assert_eq!(pages.size(), 3 * CHUNK_BYTES as u64);
    }
}
