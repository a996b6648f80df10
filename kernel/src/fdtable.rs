//! The descriptors of a process.

use std::sync::Arc;

use abi::{Errno, Fd, Result};

use crate::file::OpenFile;

/// Soft limit of a new process (NetBSD's `RLIMIT_NOFILE` is 128; ours is Linux's usual value).
pub const SOFT_LIMIT: usize = 1024;
/// Hard limit of a process.
pub const HARD_LIMIT: usize = 65536;

/// What one descriptor holds.
#[derive(Clone)]
pub struct Entry {
    /// The open file description.
    pub file: Arc<OpenFile>,
    /// `FD_CLOEXEC`.
    pub close_on_exec: bool,
    /// Whether it is a mapping's, of which the program knows nothing: closing it gives no record locks up.
    pub quiet: bool,
}

/// A descriptor table; the lowest free number is taken first.
#[derive(Clone, Default)]
pub struct FdTable {
    entries: Vec<Option<Entry>>,
    /// No number below it is free.
    lowest: usize,
}

impl FdTable {
    /// Returns what `fd` points to, or `EBADF`.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        self.entry(fd).map(|entry| entry.file.clone())
    }

    /// Returns the entry of `fd`, or `EBADF`.
    pub fn entry(&self, fd: Fd) -> Result<&Entry> {
        usize::try_from(fd.0).ok().and_then(|at| self.entries.get(at)?.as_ref()).ok_or(Errno::EBADF)
    }

    /// Returns the entry of `fd` for changing, or `EBADF`.
    pub fn entry_mut(&mut self, fd: Fd) -> Result<&mut Entry> {
        usize::try_from(fd.0).ok().and_then(|at| self.entries.get_mut(at)?.as_mut()).ok_or(Errno::EBADF)
    }

    /// The numbers that are open.
    pub fn numbers(&self) -> impl Iterator<Item = Fd> {
        self.entries.iter().zip(0..).filter_map(|(entry, fd)| entry.as_ref().map(|_| Fd(fd)))
    }

    /// Puts `file` on the lowest free number from `from` on; `EMFILE` at the limit.
    pub fn insert(&mut self, file: Arc<OpenFile>, close_on_exec: bool, from: usize, limit: usize) -> Result<Fd> {
        let free = (from.max(self.lowest)..self.entries.len()).find(|&at| self.entries[at].is_none());
        let at = free.unwrap_or(self.entries.len().max(from));
        if from <= self.lowest {
            self.lowest = at;
        }
        if at >= limit {
            return Err(Errno::EMFILE);
        }
        self.put(at, Entry { file, close_on_exec, quiet: false });
        Ok(Fd(at as i32))
    }

    /// Whether there is a free number below `limit`; `EMFILE` if not.
    pub fn has_room(&self, limit: usize) -> Result<()> {
        let free = self.entries.len() < limit || self.entries.iter().take(limit).any(Option::is_none);
        if free { Ok(()) } else { Err(Errno::EMFILE) }
    }

    /// Puts an entry on exactly `fd` and returns what was there.
    pub fn replace(&mut self, fd: Fd, entry: Entry, limit: usize) -> Result<Option<Entry>> {
        let at = usize::try_from(fd.0).ok().filter(|&at| at < limit).ok_or(Errno::EBADF)?;
        Ok(self.put(at, entry))
    }

    fn put(&mut self, at: usize, entry: Entry) -> Option<Entry> {
        if self.entries.len() <= at {
            self.entries.resize(at + 1, None);
        }
        self.entries[at].replace(entry)
    }

    /// Takes `fd` out, or `EBADF`. Drop the result only after the table's lock is gone.
    pub fn take(&mut self, fd: Fd) -> Result<Entry> {
        let at = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let entry = self.entries.get_mut(at).and_then(Option::take).ok_or(Errno::EBADF)?;
        self.lowest = self.lowest.min(at);
        Ok(entry)
    }

    /// Takes out every entry that `which` selects.
    pub fn drain(&mut self, mut which: impl FnMut(Fd, &Entry) -> bool) -> Vec<Entry> {
        self.lowest = 0;
        let slots = self.entries.iter_mut().enumerate();
        slots.filter_map(|(at, slot)| slot.take_if(|entry| which(Fd(at as i32), entry))).collect()
    }

    /// Lists the open descriptors.
    pub fn iter(&self) -> impl Iterator<Item = (Fd, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(at, slot)| slot.as_ref().map(|entry| (Fd(at as i32), entry)))
    }

    /// Returns the highest open descriptor.
    pub fn highest(&self) -> Option<Fd> {
        self.iter().last().map(|(fd, _)| fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::pipe;

    #[test]
    fn the_lowest_free_number_is_taken_whatever_went_before() {
        let (file, _) = pipe::pair();
        let file = OpenFile::new(file, 0);
        let mut table = FdTable::default();
        let next = |table: &mut FdTable, from| table.insert(file.clone(), false, from, 100).unwrap().0;
        assert_eq!([0, 0, 0, 50, 0].map(|from| next(&mut table, from)), [0, 1, 2, 50, 3]);
        table.take(Fd(1)).unwrap();
        assert_eq!([2, 0, 0].map(|from| next(&mut table, from)), [4, 1, 5]);
        table.drain(|fd, _| fd.0 == 2);
        assert_eq!([0, 0, 50].map(|from| next(&mut table, from)), [2, 6, 51]);
    }
}
