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
    /// By offset in units of [`CHUNK_BYTES`]; what a chunk does not hold up to its full length is zeros.
    chunks: BTreeMap<u64, Vec<u8>>,
    /// Length of the file; nothing but zeros is held beyond.
    len: u64,
    /// Bytes taken from the account: the capacities of the chunks.
    taken: usize,
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

    /// Reads at `offset`; returns how much there was.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (index, at, piece) in pieces(offset, len) {
            let out = &mut buf[piece];
            let held = self.chunks.get(&index).and_then(|chunk| chunk.get(at..)).unwrap_or_default();
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
            if chunk.len() < at + part.len() {
                // Cuts or fills up to where the data begins, so that nothing is zeroed just to be overwritten.
                chunk.resize(at, 0);
                chunk.extend_from_slice(part);
            } else {
                chunk[at..at + part.len()].copy_from_slice(part);
            }
            done += part.len();
            self.len = self.len.max(offset + done as u64);
        }
        Ok(done)
    }

    /// Makes sure that a chunk can hold `len` bytes.
    fn hold(&mut self, index: u64, len: usize, account: &dyn Account) -> Result<()> {
        let old = self.chunks.get(&index).map_or(0, Vec::capacity);
        if len <= old {
            return Ok(());
        }
        let new = len.next_multiple_of(PAGE_BYTES).max((old * 2).min(CHUNK_BYTES));
        account.take(new - old)?;
        let chunk = self.chunks.entry(index).or_default();
        chunk.reserve_exact(new - chunk.len());
        self.taken += new - old;
        Ok(())
    }

    /// Changes the length. What is cut off is given back, and reads as zeros should the file grow again.
    pub fn resize(&mut self, len: u64, account: &dyn Account) {
        if len < self.len {
            let (last, at) = (len / CHUNK_BYTES as u64, (len % CHUNK_BYTES as u64) as usize);
            let gone = self.chunks.split_off(&(if at == 0 { last } else { last + 1 }));
            let mut freed: usize = gone.values().map(Vec::capacity).sum();
            if let Some(chunk) = self.chunks.get_mut(&last).filter(|_| at > 0) {
                let before = chunk.capacity();
                chunk.truncate(at);
                chunk.shrink_to(at.next_multiple_of(PAGE_BYTES));
                freed += before - chunk.capacity();
            }
            self.taken -= freed;
            account.give(freed);
        }
        self.len = len;
    }

    /// Takes the memory for a range in advance (posix_fallocate(2)) and makes the file reach at least to its end.
    pub fn allocate(&mut self, offset: u64, len: u64, account: &dyn Account) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let (index, start) = (at / CHUNK_BYTES as u64, at % CHUNK_BYTES as u64);
            let piece = (CHUNK_BYTES as u64 - start).min(end - at);
            self.hold(index, (start + piece) as usize, account)?;
            at += piece;
        }
        self.len = self.len.max(end);
        Ok(())
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
    fn a_write_that_meets_the_limit_is_cut_short() {
        let budget = Budget { limit: 3 * CHUNK_BYTES, ..Budget::default() };
        let mut pages = Pages::default();
        assert_eq!(pages.write(0, &vec![1; 4 * CHUNK_BYTES], &budget), Ok(3 * CHUNK_BYTES));
        assert_eq!(pages.write(pages.size(), b"x", &budget), Err(Errno::ENOSPC));
        assert_eq!(pages.size(), 3 * CHUNK_BYTES as u64);
    }
}
