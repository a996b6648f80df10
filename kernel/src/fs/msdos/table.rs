//! The file allocation table: which cluster follows which, and which are free.

use abi::{Errno, Result};

use super::layout::{FIRST_CLUSTER, Layout, Width};
use crate::fs::volume::{Field, Volume};

/// Clusters that follow each other on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first.
    pub cluster: u32,
    /// How many.
    pub len: u32,
}

/// What an entry of the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This cluster follows.
    Cluster(u32),
    /// It is the last one.
    End,
    /// It is free, bad, or leads nowhere.
    Nothing,
}

/// Returns what follows `cluster`.
pub fn next(volume: &Volume, layout: &Layout, cluster: u32) -> Result<Next> {
    let value = get(volume, layout, cluster)?;
    let end = match layout.width {
        Width::Twelve => 0xff8,
        Width::Sixteen => 0xfff8,
        Width::ThirtyTwo => 0x0fff_fff8,
    };
    Ok(match value {
        value if value >= end => Next::End,
        value if layout.is_cluster(value) => Next::Cluster(value),
        _ => Next::Nothing,
    })
}

fn get(volume: &Volume, layout: &Layout, cluster: u32) -> Result<u32> {
    if !layout.is_cluster(cluster) {
        return Err(Errno::EIO);
    }
    let (table, cluster) = (*layout.tables.first().ok_or(Errno::EIO)?, u64::from(cluster));
    Ok(match layout.width {
        Width::Twelve => {
            let pair = u32::from(volume.bytes::<2>(table + cluster * 3 / 2)?.le16(0));
            if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
        }
        Width::Sixteen => u32::from(volume.bytes::<2>(table + cluster * 2)?.le16(0)),
        Width::ThirtyTwo => volume.bytes::<4>(table + cluster * 4)?.le32(0) & 0x0fff_ffff,
    })
}

/// Sets the entries of clusters that follow each other, in all tables.
fn put(volume: &Volume, layout: &Layout, cluster: u32, values: &[u32]) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let (first, count) = (u64::from(cluster), values.len() as u64);
    let (offset, len) = match layout.width {
        Width::Twelve => (first * 3 / 2, (first + count) * 3 / 2 + (first + count) % 2 - first * 3 / 2),
        Width::Sixteen => (first * 2, count * 2),
        Width::ThirtyTwo => (first * 4, count * 4),
    };
    let mut bytes = vec![0; len as usize];
    // What of other entries lies between, and FAT32's upper bits, stay.
    volume.read_cached(layout.tables.first().ok_or(Errno::EIO)? + offset, &mut bytes)?;
    for (index, value) in values.iter().enumerate() {
        match layout.width {
            Width::Twelve => {
                let at = ((first + index as u64) * 3 / 2 - offset) as usize;
                let old = bytes.le16(at);
                let even = (first + index as u64).is_multiple_of(2);
                let new = if even { old & 0xf000 | *value as u16 & 0xfff } else { old & 0xf | (*value as u16) << 4 };
                bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
            }
            Width::Sixteen => bytes[index * 2..index * 2 + 2].copy_from_slice(&(*value as u16).to_le_bytes()),
            Width::ThirtyTwo => {
                let new = bytes.le32(index * 4) & 0xf000_0000 | value & 0x0fff_ffff;
                bytes[index * 4..index * 4 + 4].copy_from_slice(&new.to_le_bytes());
            }
        }
    }
    layout.tables.iter().try_for_each(|table| volume.write(table + offset, &bytes))
}

/// What marks a chain's last cluster.
const END: u32 = 0x0fff_ffff;

/// Which clusters are free, as far as it is known.
#[derive(Default)]
pub struct Table {
    /// A bit a cluster, set if it is taken; read when it is needed first.
    taken: Option<Vec<u64>>,
    free: u32,
    /// Where the search begins.
    hint: u32,
}

impl Table {
    /// Returns how many clusters are free.
    pub fn free(&mut self, volume: &Volume, layout: &Layout) -> Result<u32> {
        self.load(volume, layout)?;
        Ok(self.free)
    }

    /// Where the search for a free cluster would begin.
    pub fn hint(&self) -> u32 {
        self.hint.max(FIRST_CLUSTER)
    }

    /// What it takes of the host's memory, in bytes.
    pub fn memory(&self) -> usize {
        self.taken.as_ref().map_or(0, |taken| taken.len() * 8)
    }

    fn load(&mut self, volume: &Volume, layout: &Layout) -> Result<()> {
        if self.taken.is_some() {
            return Ok(());
        }
        let words = (layout.end_cluster as usize).div_ceil(64);
        volume.host().reserve(words * 8)?;
        match scan(volume, layout, words) {
            Ok((taken, free)) => {
                (self.taken, self.free, self.hint) = (Some(taken), free, FIRST_CLUSTER);
                Ok(())
            }
            Err(errno) => {
                volume.host().release(words * 8);
                Err(errno)
            }
        }
    }

    /// Takes up to `count` clusters, near `wanted` if that is possible, and chains them; `ENOSPC` if there are none.
    pub fn allocate(&mut self, volume: &Volume, layout: &Layout, count: u32, wanted: u32) -> Result<Vec<Run>> {
        self.load(volume, layout)?;
        let taken = self.taken.as_mut().ok_or(Errno::EIO)?;
        let count = count.min(self.free);
        if count == 0 {
            return Err(Errno::ENOSPC);
        }
        let begin =
            if layout.is_cluster(wanted) { wanted } else { self.hint.clamp(FIRST_CLUSTER, layout.end_cluster - 1) };
        let mut runs: Vec<Run> = Vec::new();
        let mut left = count;
        let mut at = begin;
        let mut seen = 0;
        while left > 0 && seen < layout.clusters() {
            let word = taken[at as usize / 64];
            if word == u64::MAX && at.is_multiple_of(64) && at + 64 <= layout.end_cluster {
                (at, seen) = (at + 64, seen + 64);
            } else {
                if word >> (at % 64) & 1 == 0 {
                    taken[at as usize / 64] |= 1 << (at % 64);
                    left -= 1;
                    match runs.last_mut() {
                        Some(run) if run.cluster + run.len == at => run.len += 1,
                        _ => runs.push(Run { cluster: at, len: 1 }),
                    }
                }
                (at, seen) = (at + 1, seen + 1);
            }
            if at >= layout.end_cluster {
                at = FIRST_CLUSTER;
            }
        }
        self.free -= count - left;
        self.hint = at;
        for (index, run) in runs.iter().enumerate() {
            let after = runs.get(index + 1).map_or(END, |run| run.cluster);
            let values: Vec<u32> = (run.cluster + 1..run.cluster + run.len).chain([after]).collect();
            if let Err(errno) = put(volume, layout, run.cluster, &values) {
                self.forget(&runs);
                return Err(errno);
            }
        }
        if runs.is_empty() { Err(Errno::ENOSPC) } else { Ok(runs) }
    }

    /// Gives clusters back that are chained to nothing yet.
    pub fn give(&mut self, volume: &Volume, layout: &Layout, runs: &[Run]) -> Result<()> {
        self.forget(runs);
        runs.iter().try_for_each(|run| put(volume, layout, run.cluster, &vec![0; run.len as usize]))
    }

    /// Notes that clusters are free.
    fn forget(&mut self, runs: &[Run]) {
        let Some(taken) = &mut self.taken else { return };
        for cluster in runs.iter().flat_map(|run| run.cluster..run.cluster + run.len) {
            let Some(word) = taken.get_mut(cluster as usize / 64) else { continue };
            if *word >> (cluster % 64) & 1 == 1 {
                *word &= !(1 << (cluster % 64));
                self.free += 1;
            }
        }
    }

    /// Makes `to` follow `from`, or nothing.
    pub fn link(volume: &Volume, layout: &Layout, from: u32, to: Option<u32>) -> Result<()> {
        if !layout.is_cluster(from) {
            return Err(Errno::EIO);
        }
        put(volume, layout, from, &[to.unwrap_or(END)])
    }

    /// Frees a chain from `cluster` on. What leads nowhere ends it, and so does a ring, of which the first cluster is free then.
    pub fn free_chain(&mut self, volume: &Volume, layout: &Layout, cluster: u32) -> Result<()> {
        let mut run = Run { cluster, len: 0 };
        let mut at = cluster;
        while layout.is_cluster(at) {
            let after = match next(volume, layout, at)? {
                Next::Cluster(after) => after,
                Next::End => 0,
                // Somebody else freed it: it is not given back twice.
                Next::Nothing => break,
            };
            run.len += 1;
            // Written piece by piece, each before it is left, so that a ring ends.
            if after != at + 1 || run.len >= 4096 {
                self.give(volume, layout, &[run])?;
                run = Run { cluster: after, len: 0 };
            }
            at = after;
        }
        if run.len > 0 { self.give(volume, layout, &[run]) } else { Ok(()) }
    }
}

/// Reads the whole table: a bit a cluster, set if it is taken, and the number of those that are free.
fn scan(volume: &Volume, layout: &Layout, words: usize) -> Result<(Vec<u64>, u32)> {
    let mut taken = vec![u64::MAX; words];
    let mut free = 0;
    let table = *layout.tables.first().ok_or(Errno::EIO)?;
    // A multiple of 3 bytes, so that no entry of FAT12 lies in two pieces.
    let mut piece = vec![0; 48 * 1024];
    let per_piece = match layout.width {
        Width::Twelve => piece.len() * 2 / 3,
        Width::Sixteen => piece.len() / 2,
        Width::ThirtyTwo => piece.len() / 4,
    };
    for base in (0..layout.end_cluster as usize).step_by(per_piece) {
        let count = per_piece.min(layout.end_cluster as usize - base);
        let (offset, len) = match layout.width {
            Width::Twelve => (base * 3 / 2, (count * 3).div_ceil(2)),
            Width::Sixteen => (base * 2, count * 2),
            Width::ThirtyTwo => (base * 4, count * 4),
        };
        volume.read(table + offset as u64, &mut piece[..len])?;
        for index in 0..count {
            let value = match layout.width {
                Width::Twelve => {
                    // The last entry may end with the table.
                    let low = u32::from(piece.get(index * 3 / 2).copied().unwrap_or(0));
                    let pair = low | u32::from(piece.get(index * 3 / 2 + 1).copied().unwrap_or(0)) << 8;
                    if index.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
                }
                Width::Sixteen => u32::from(piece.le16(index * 2)),
                Width::ThirtyTwo => piece.le32(index * 4) & 0x0fff_ffff,
            };
            let cluster = base + index;
            if value == 0 && cluster >= FIRST_CLUSTER as usize {
                taken[cluster / 64] &= !(1 << (cluster % 64));
                free += 1;
            }
        }
    }
    Ok((taken, free))
}

/// What is known of a chain: runs from its beginning on.
#[derive(Default)]
pub struct Chain {
    /// Index of the first cluster of each run in the file, and the run.
    runs: Vec<(u32, Run)>,
    /// Whether that is all.
    complete: bool,
    /// Bytes of memory that were asked of the host.
    reserved: usize,
}

/// Runs whose memory is asked for at once.
const RESERVE_RUNS: usize = 1024;

impl Chain {
    /// How many clusters are known so far.
    pub fn known(&self) -> u32 {
        self.runs.last().map_or(0, |(index, run)| index + run.len)
    }

    /// The last cluster that is known.
    pub fn last(&self) -> Option<u32> {
        self.runs.last().map(|(_, run)| run.cluster + run.len - 1)
    }

    /// Returns where cluster `index` is and how many follow it directly, or `None` behind the chain's end; `first` is where the
    /// chain begins. `EIO` if it leads nowhere.
    pub fn find(&mut self, volume: &Volume, layout: &Layout, first: u32, index: u32) -> Result<Option<Run>> {
        while self.known() <= index && !self.complete {
            let next = match self.last() {
                None if first == 0 => Next::End,
                None if layout.is_cluster(first) => Next::Cluster(first),
                None => Next::Nothing,
                Some(last) => next(volume, layout, last)?,
            };
            match next {
                Next::Cluster(cluster) if self.known() < layout.clusters() => {
                    self.push(volume, Run { cluster, len: 1 })?;
                }
                Next::End => self.complete = true,
                // Longer than the volume has clusters: it runs in a ring.
                _ => return Err(Errno::EIO),
            }
        }
        let after = self.runs.partition_point(|(begin, _)| *begin <= index);
        let Some((begin, run)) = after.checked_sub(1).and_then(|at| self.runs.get(at)) else { return Ok(None) };
        let skip = index - begin;
        Ok((skip < run.len).then(|| Run { cluster: run.cluster + skip, len: run.len - skip }))
    }

    /// Adds a run at the end.
    pub fn push(&mut self, volume: &Volume, run: Run) -> Result<()> {
        let known = self.known();
        if let Some((_, last)) = self.runs.last_mut()
            && last.cluster + last.len == run.cluster
        {
            last.len += run.len;
            return Ok(());
        }
        if self.runs.len().is_multiple_of(RESERVE_RUNS) && !self.runs.is_empty() {
            let bytes = RESERVE_RUNS * size_of::<(u32, Run)>();
            volume.host().reserve(bytes)?;
            self.reserved += bytes;
        }
        self.runs.push((known, run));
        Ok(())
    }

    /// Cuts all but the first `count` clusters off.
    pub fn cut(&mut self, count: u32) {
        self.runs.retain_mut(|(index, run)| {
            run.len = run.len.min(count.saturating_sub(*index));
            run.len > 0
        });
        self.complete = true;
    }

    /// Gives the memory back.
    pub fn clear(&mut self, volume: &Volume) {
        volume.host().release(self.reserved);
        *self = Self::default();
    }
}
