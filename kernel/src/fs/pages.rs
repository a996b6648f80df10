//! Sparse file contents in memory.

use std::collections::BTreeMap;

use abi::Result;

use super::pieces::pieces;
use crate::rumpuser::SharedMemory;

/// What is taken and given back at a time.
pub const PAGE_BYTES: usize = 4096;

/// Where the memory comes from.
pub trait Account {
    /// Takes `bytes`; fails when there are no more.
    fn take(&self, bytes: usize) -> Result<()>;
    /// Gives `bytes` back.
    fn give(&self, bytes: usize);
    /// Memory of the host for a content that has become large; `None` where it has to stay in the kernel's own.
    fn large(&self) -> Option<Box<dyn SharedMemory>> {
        None
    }
}

/// The content of a file. What was never written takes no memory and reads as zeros.
#[derive(Default)]
pub struct Pages {
    /// The first page, apart from the others because most files have no more.
    first: Option<Page>,
    /// The others, by their number.
    others: BTreeMap<u64, Page>,
    /// Length of the file; nothing but zeros is held beyond.
    len: u64,
}

/// A page that is taken from the account.
#[derive(Default)]
struct Page {
    /// What it holds; up to the full length of a page the rest is zeros.
    bytes: Vec<u8>,
    /// Whether it was written, and not only taken in advance: no hole.
    written: bool,
}

impl Pages {
    /// Returns the length of the file.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Returns the memory taken, in bytes: what was written or taken in advance, in whole pages.
    pub fn taken(&self) -> usize {
        (usize::from(self.first.is_some()) + self.others.len()) * PAGE_BYTES
    }

    /// Returns the numbers of the pages that are taken, and whether each was written.
    pub fn iter(&self) -> impl Iterator<Item = (u64, bool)> {
        let first = self.first.iter().map(|page| (0, page));
        first.chain(self.others.iter().map(|(index, page)| (*index, page))).map(|(index, page)| (index, page.written))
    }

    fn get(&self, index: u64) -> Option<&Page> {
        if index == 0 { self.first.as_ref() } else { self.others.get(&index) }
    }

    fn get_mut(&mut self, index: u64) -> Option<&mut Page> {
        if index == 0 { self.first.as_mut() } else { self.others.get_mut(&index) }
    }

    /// The page, taken from the account if it is not there yet.
    fn hold(&mut self, index: u64, account: &dyn Account) -> Result<&mut Page> {
        if self.get(index).is_none() {
            account.take(PAGE_BYTES)?;
        }
        Ok(match index {
            0 => self.first.get_or_insert_default(),
            _ => self.others.entry(index).or_default(),
        })
    }

    /// Gives back the pages with the numbers `from..to`.
    fn drop_range(&mut self, from: u64, to: u64, account: &dyn Account) {
        let before = self.taken();
        if from == 0 && to > 0 {
            self.first = None;
        }
        if from < to {
            let mut gone = self.others.split_off(&from);
            self.others.append(&mut gone.split_off(&to));
        }
        account.give(before - self.taken());
    }

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (index, at, piece) in pieces(PAGE_BYTES, offset, len) {
            let out = &mut buf[piece];
            let held = self.get(index).and_then(|page| page.bytes.get(at..)).unwrap_or_default();
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
        for (index, at, piece) in pieces(PAGE_BYTES, offset, data.len()) {
            let page = match self.hold(index, account) {
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
                Ok(page) => page,
            };
            let part = &data[piece];
            let end = at + part.len();
            if page.bytes.len() < end {
                // Cuts or fills up to where the data begins, so that nothing is zeroed just to be overwritten.
                page.bytes.resize(at, 0);
                page.bytes.extend_from_slice(part);
            } else {
                page.bytes[at..end].copy_from_slice(part);
            }
            page.written = true;
            done += part.len();
            self.len = self.len.max(offset + done as u64);
        }
        Ok(done)
    }

    /// Changes the length. What is cut off is given back, and reads as zeros should the file grow again.
    pub fn resize(&mut self, len: u64, account: &dyn Account) {
        // Growing keeps what was taken in advance beyond the end; the length that it has does not, as on Linux.
        if len <= self.len {
            let (last, at) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
            self.drop_range(if at == 0 { last } else { last + 1 }, u64::MAX, account);
            if let Some(page) = self.get_mut(last).filter(|page| at > 0 && page.bytes.len() > at) {
                page.bytes.truncate(at);
                page.bytes.shrink_to_fit();
            }
        }
        self.len = len;
    }

    /// Takes the memory for a range in advance (fallocate(2)), all of it or nothing; the file reaches at least to its end then,
    /// unless `keep_size`.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_size: bool, account: &dyn Account) -> Result<()> {
        let end = offset + len;
        let range = offset / PAGE_BYTES as u64..end.div_ceil(PAGE_BYTES as u64);
        let mut fresh = Vec::new();
        for index in range {
            if self.get(index).is_some() {
                continue;
            }
            if let Err(errno) = self.hold(index, account) {
                fresh.iter().for_each(|index| self.drop_range(*index, index + 1, account));
                return Err(errno);
            }
            fresh.push(index);
        }
        if !keep_size {
            self.len = self.len.max(end);
        }
        Ok(())
    }

    /// Makes a hole of a range; the length stays.
    pub fn punch(&mut self, offset: u64, len: u64, account: &dyn Account) {
        let (end, page_bytes) = (offset.saturating_add(len), PAGE_BYTES as u64);
        let (first, last) = (offset.div_ceil(page_bytes), end / page_bytes);
        self.drop_range(first, last, account);
        // The parts of pages at both ends.
        let mut edges = [Some(offset / page_bytes), Some(last)];
        if edges[0] == edges[1] {
            edges[1] = None;
        }
        for index in edges.into_iter().flatten() {
            let base = index * page_bytes;
            let from = offset.saturating_sub(base).min(page_bytes) as usize;
            let to = end.saturating_sub(base).min(page_bytes) as usize;
            if let Some(page) = self.get_mut(index) {
                let to = to.min(page.bytes.len());
                if let Some(range) = page.bytes.get_mut(from..to) {
                    range.fill(0);
                }
            }
        }
    }

    /// Returns where written data begins at or after `offset`; `None` if only a hole is left.
    pub fn seek_data(&self, offset: u64) -> Option<u64> {
        let first = offset / PAGE_BYTES as u64;
        let here = self.first.iter().filter(|page| first == 0 && page.written).map(|_| 0);
        let others = self.others.range(first..).filter(|(_, page)| page.written).map(|(index, _)| *index);
        let found = here.chain(others).next()? * PAGE_BYTES as u64;
        Some(found.max(offset)).filter(|found| *found < self.len)
    }

    /// Returns where a hole begins at or after `offset`; the end of the file is one.
    pub fn seek_hole(&self, offset: u64) -> u64 {
        let mut index = offset / PAGE_BYTES as u64;
        while self.get(index).is_some_and(|page| page.written) {
            index += 1;
        }
        (index * PAGE_BYTES as u64).max(offset).min(self.len)
    }
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
        assert_eq!((pages.taken(), budget.used.get()), (18 * 4096, 18 * 4096));
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
        assert_eq!((pages.seek_data(0), pages.seek_hole(0), pages.taken()), (Some(69_632), 0, 4096));
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
        pages.punch(10_200, 5, &budget);
        pages.read(10_199, &mut buf);
        assert_eq!(buf, [1, 0, 0]);
        pages.punch(0, 1 << 40, &budget);
        assert_eq!((pages.size(), pages.taken(), budget.used.get()), (300_000, 0, 0));
    }

    #[test]
    fn a_write_that_meets_the_limit_is_cut_short_at_a_page() {
        let budget = Budget { limit: 3 * PAGE_BYTES, ..Budget::default() };
        let mut pages = Pages::default();
        assert_eq!(pages.write(100, &[1; 5 * PAGE_BYTES], &budget), Ok(3 * PAGE_BYTES - 100));
        assert_eq!(pages.write(pages.size(), b"x", &budget), Err(Errno::ENOSPC));
        assert_eq!(pages.size(), 3 * PAGE_BYTES as u64);
        // What is there can be written again.
        assert_eq!(pages.write(0, &[2; 3 * PAGE_BYTES], &budget), Ok(3 * PAGE_BYTES));
    }

    #[test]
    fn pages_are_taken_in_advance_all_or_none() {
        let budget = Budget { limit: 4 * PAGE_BYTES, ..Budget::default() };
        let mut pages = Pages::default();
        pages.write(PAGE_BYTES as u64, b"x", &budget).unwrap();
        assert_eq!(pages.allocate(0, 5 * PAGE_BYTES as u64, false, &budget), Err(Errno::ENOSPC));
        assert_eq!((pages.taken(), budget.used.get(), pages.size()), (4096, 4096, 4097));
        assert_eq!(pages.allocate(0, 4 * PAGE_BYTES as u64, false, &budget), Ok(()));
        assert_eq!((pages.seek_data(0), pages.seek_hole(4096)), (Some(4096), 8192));
        // They are there to be written.
        assert_eq!(pages.write(0, &[1; 4 * PAGE_BYTES], &budget), Ok(4 * PAGE_BYTES));
    }
}
