//! The content of files.

use abi::{Errno, Result};

use super::node::Inner;
use super::table::{Run, Table};
use super::{SIZE_MAX, Shared};
use crate::proc::lock;
use crate::vfs::Position;

/// Bytes of zeros that are written at once.
const ZEROS: usize = 64 * 1024;

impl Inner {
    /// Reads; `EIO` where the chain is shorter than the file.
    pub fn read(&mut self, shared: &Shared, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = u64::from(self.entry.size).saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let mut done = 0;
        while done < len {
            let (at, room) = self.place(shared, offset + done as u64)?;
            let piece = usize::try_from(room).map_or(len - done, |room| room.min(len - done));
            match shared.volume.read(at, &mut buf[done..done + piece]) {
                Err(_) if done > 0 => break,
                read => read?,
            }
            done += piece;
        }
        Ok(len.min(done))
    }

    /// Where the byte at `offset` is on the volume, and how many follow it there.
    fn place(&mut self, shared: &Shared, offset: u64) -> Result<(u64, u64)> {
        let (volume, layout) = (&shared.volume, &shared.layout);
        let (index, rest) = (offset / layout.cluster_bytes, offset % layout.cluster_bytes);
        let run = self.chain.find(volume, layout, self.entry.first, index as u32)?.ok_or(Errno::EIO)?;
        Ok((layout.cluster(run.cluster)? + rest, u64::from(run.len) * layout.cluster_bytes - rest))
    }

    /// Writes. The length comes last, so that nobody reads from a new cluster what was there before.
    ///
    /// `EFBIG` at 4 GiB; `ENOSPC` if not even a part has room.
    pub fn write(&mut self, shared: &Shared, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        let old = u64::from(self.entry.size);
        let offset = if let Position::At(offset) = position { offset } else { old };
        if data.is_empty() {
            return Ok((offset, 0));
        }
        if offset >= SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        let wanted = SIZE_MAX.min(offset + data.len() as u64);
        let end = self.take(shared, wanted)?.min(wanted);
        if end <= offset {
            return self.trim(shared).and(Err(Errno::ENOSPC));
        }
        let len = (end - offset) as usize;
        let written = self.zero(shared, old, offset).and_then(|()| self.fill(shared, offset, &data[..len]));
        if let Err(errno) = written {
            self.trim(shared)?;
            return Err(errno);
        }
        self.entry.size = old.max(end) as u32;
        self.modified(shared);
        self.store(shared)?;
        Ok((end, len))
    }

    /// Writes zeros from `from` up to `to`, if that is farther.
    fn zero(&mut self, shared: &Shared, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; ZEROS.min(to.saturating_sub(from) as usize)];
        let mut at = from;
        while at < to {
            let len = ((to - at) as usize).min(zeros.len());
            self.fill(shared, at, &zeros[..len])?;
            at += len as u64;
        }
        Ok(())
    }

    fn fill(&mut self, shared: &Shared, offset: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            let (at, room) = self.place(shared, offset + done as u64)?;
            let piece = usize::try_from(room).map_or(data.len() - done, |room| room.min(data.len() - done));
            shared.volume.write(at, &data[done..done + piece])?;
            done += piece;
        }
        Ok(())
    }

    /// Makes the chain long enough for `size` bytes, or as long as there are free clusters; returns for how many it is.
    fn take(&mut self, shared: &Shared, size: u64) -> Result<u64> {
        let (volume, layout) = (&shared.volume, &shared.layout);
        let needed = size.div_ceil(layout.cluster_bytes) as u32;
        let there = self.chain.find(volume, layout, self.entry.first, needed.saturating_sub(1))?;
        if needed > 0 && there.is_none() {
            let had = self.chain.known();
            let mut table = lock(&shared.table);
            let wanted = self.chain.last().map_or(0, |last| last + 1);
            match table.allocate(volume, layout, needed - had, wanted) {
                Ok(runs) => {
                    if let Err(errno) = self.attach(shared, &runs) {
                        self.chain.cut(had);
                        let _ = table.give(volume, layout, &runs);
                        return Err(errno);
                    }
                }
                Err(Errno::ENOSPC) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(u64::from(self.chain.known()) * layout.cluster_bytes)
    }

    /// Lets clusters follow the last one.
    fn attach(&mut self, shared: &Shared, runs: &[Run]) -> Result<()> {
        let last = self.chain.last();
        runs.iter().try_for_each(|run| self.chain.push(&shared.volume, *run))?;
        let Some(first) = runs.first() else { return Ok(()) };
        match last {
            Some(last) => Table::link(&shared.volume, &shared.layout, last, Some(first.cluster)),
            None => {
                self.entry.first = first.cluster;
                self.store(shared).inspect_err(|_| self.entry.first = 0)
            }
        }
    }

    /// Frees the clusters behind the end of the file.
    pub fn trim(&mut self, shared: &Shared) -> Result<()> {
        let (volume, layout) = (&shared.volume, &shared.layout);
        let keep = u64::from(self.entry.size).div_ceil(layout.cluster_bytes) as u32;
        let Some(run) = self.chain.find(volume, layout, self.entry.first, keep)? else { return Ok(()) };
        let last = match keep.checked_sub(1) {
            Some(last) => self.chain.find(volume, layout, self.entry.first, last)?,
            None => None,
        };
        match last {
            Some(last) => Table::link(volume, layout, last.cluster, None)?,
            None => {
                self.entry.first = 0;
                self.store(shared)?;
            }
        }
        self.chain.cut(keep);
        lock(&shared.table).free_chain(volume, layout, run.cluster)
    }

    /// Changes the length; growing takes the clusters and fills them, for FAT has no holes.
    ///
    /// `EFBIG` from 4 GiB on; `ENOSPC` leaves the length as it was.
    pub fn resize(&mut self, shared: &Shared, size: u64) -> Result<()> {
        let old = u64::from(self.entry.size);
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        if size > old {
            if self.take(shared, size)? < size {
                return self.trim(shared).and(Err(Errno::ENOSPC));
            }
            if let Err(errno) = self.zero(shared, old, size) {
                self.trim(shared)?;
                return Err(errno);
            }
        }
        self.entry.size = size as u32;
        self.store(shared)?;
        if size < old { self.trim(shared) } else { Ok(()) }
    }

    /// Takes clusters in advance; the file grows over them unless `keep_size`.
    pub fn allocate(&mut self, shared: &Shared, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX).ok_or(Errno::EFBIG)?;
        let old = u64::from(self.entry.size);
        if end <= old {
            return Ok(());
        }
        if keep_size {
            let enough = self.take(shared, end)? >= end;
            self.ahead = true;
            return if enough { Ok(()) } else { self.trim(shared).and(Err(Errno::ENOSPC)) };
        }
        self.resize(shared, end)?;
        self.modified(shared);
        self.store(shared)
    }
}
