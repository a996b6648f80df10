//! What is in a directory, kept in memory while it is in use: names to slots, and the slots that are free.

use std::collections::{BTreeMap, HashMap, HashSet};

use abi::{Errno, Result};

use super::Shared;
use super::entry::{DIRECTORY, Entry, LONG_NAME, VOLUME_LABEL};
use super::layout::SLOT_BYTES;
use super::name::{self, Name, SLOT_LETTERS};
use super::table::{Chain, Run, Table};
use crate::proc::lock;

/// Slots of a directory at most.
const SLOTS_MAX: u32 = 65_536;
/// What a record costs beside its names.
const RECORD_BYTES: usize = 192;
/// Marks a slot that is free.
const FREE: u8 = 0xe5;

/// One name.
#[derive(Clone, Debug)]
pub struct Record {
    /// The first of its slots; the last is the short entry.
    pub first: u32,
    /// The slot of the short entry.
    pub slot: u32,
    /// Where the short entry is on the volume.
    pub position: u64,
    /// As it is shown.
    pub name: String,
    /// The short name.
    pub alias: [u8; 11],
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it leads where another one led already: it cannot be used.
    pub is_bad: bool,
}

impl Record {
    fn bytes(&self) -> usize {
        RECORD_BYTES + 2 * self.name.len()
    }
}

/// The content of a directory.
pub struct Index {
    /// By the slot of the short entry.
    pub records: BTreeMap<u32, Record>,
    /// By names, long and short, without regard to case.
    names: HashMap<String, u32>,
    /// Which slots are taken, for all that there are.
    used: Vec<bool>,
    /// From here on no slot was ever used, which a zero marks.
    end: u32,
    /// No slot below it is free.
    hint: u32,
    /// How many directories there are.
    pub directories: u32,
    /// Bytes of memory that were asked of the host.
    reserved: usize,
}

/// Where the slots of a directory are.
pub struct Slots<'a> {
    /// The volume.
    pub shared: &'a Shared,
    /// The first cluster; 0 for the root where that has its own place.
    pub first: u32,
    /// Its chain.
    pub chain: &'a mut Chain,
}

impl Slots<'_> {
    fn fixed(&self) -> Option<(u64, u32)> {
        self.shared.layout.fixed_root.filter(|_| self.first == 0)
    }

    fn per_cluster(&self) -> u64 {
        self.shared.layout.cluster_bytes / SLOT_BYTES
    }

    /// How many there are.
    fn count(&mut self) -> Result<u32> {
        if let Some((_, slots)) = self.fixed() {
            return Ok(slots);
        }
        let (volume, layout) = (&self.shared.volume, &self.shared.layout);
        let most = u64::from(SLOTS_MAX) / self.per_cluster();
        // A longer chain is looked at no further.
        self.chain.find(volume, layout, self.first, most as u32)?;
        let clusters = u64::from(self.chain.known()).min(most);
        if clusters == 0 {
            return Err(Errno::EIO);
        }
        Ok((clusters * self.per_cluster()) as u32)
    }

    /// Where a slot is on the volume.
    fn position(&mut self, slot: u32) -> Result<u64> {
        if let Some((begin, slots)) = self.fixed() {
            return if slot < slots { Ok(begin + u64::from(slot) * SLOT_BYTES) } else { Err(Errno::EIO) };
        }
        let (volume, layout) = (&self.shared.volume, &self.shared.layout);
        let (index, rest) = (u64::from(slot) / self.per_cluster(), u64::from(slot) % self.per_cluster());
        let run = self.chain.find(volume, layout, self.first, index as u32)?.ok_or(Errno::EIO)?;
        Ok(layout.cluster(run.cluster)? + rest * SLOT_BYTES)
    }

    /// Adds a cluster of empty slots.
    fn grow(&mut self) -> Result<u32> {
        if self.fixed().is_some() {
            return Err(Errno::ENOSPC);
        }
        let (volume, layout) = (&self.shared.volume, &self.shared.layout);
        let last = self.chain.last().ok_or(Errno::EIO)?;
        let mut table = lock(&self.shared.table);
        let runs = table.allocate(volume, layout, 1, last + 1)?;
        let cluster = runs.first().map_or(0, |run| run.cluster);
        let zeroed = volume.write(layout.cluster(cluster)?, &vec![0; layout.cluster_bytes as usize]);
        let linked = zeroed.and_then(|()| Table::link(volume, layout, last, Some(cluster)));
        let known = linked.and_then(|()| self.chain.push(volume, Run { cluster, len: 1 }));
        if let Err(errno) = known {
            let _ = Table::link(volume, layout, last, None);
            let _ = table.give(volume, layout, &runs);
            return Err(errno);
        }
        Ok(self.per_cluster() as u32)
    }
}

impl Index {
    /// Reads a directory; `EIO` if its chain is broken.
    pub fn load(mut slots: Slots<'_>) -> Result<Self> {
        let count = slots.count()?;
        let shared = slots.shared;
        let mut index = Index {
            records: BTreeMap::new(),
            names: HashMap::new(),
            used: vec![false; count as usize],
            end: count,
            hint: 0,
            directories: 0,
            reserved: 0,
        };
        index.reserve(shared, count as usize)?;
        let read = index.read(&mut slots, count);
        if read.is_err() {
            index.clear(shared);
        }
        read.map(|()| index)
    }

    fn read(&mut self, slots: &mut Slots<'_>, count: u32) -> Result<()> {
        let shared = slots.shared;
        let piece = (shared.layout.cluster_bytes / SLOT_BYTES).min(u64::from(count)) as u32;
        let mut bytes = Vec::new();
        let mut long = Long::default();
        let mut seen = HashSet::new();
        for slot in 0..count {
            if slot % piece == 0 {
                let left = (count - slot).min(piece);
                bytes.resize(left as usize * SLOT_BYTES as usize, 0);
                let position = slots.position(slot)?;
                shared.volume.read(position, &mut bytes)?;
            }
            let at = (slot % piece) as usize * SLOT_BYTES as usize;
            let raw: [u8; 32] = bytes[at..at + 32].try_into().map_err(|_| Errno::EIO)?;
            match raw[0] {
                0 => {
                    self.end = slot;
                    break;
                }
                FREE => long = Long::default(),
                _ => {
                    self.used[slot as usize] = true;
                    if raw[11] & LONG_NAME == LONG_NAME {
                        long.take(slot, &raw);
                        continue;
                    }
                    let long = std::mem::take(&mut long);
                    let alias: [u8; 11] = raw[..11].try_into().map_err(|_| Errno::EIO)?;
                    if raw[11] & VOLUME_LABEL != 0 || alias == *b".          " || alias == *b"..         " {
                        continue;
                    }
                    let whole = long.whole(&alias);
                    let first = if whole.is_some() { long.first } else { slot };
                    let name = whole.unwrap_or_else(|| name::shown(&alias, raw[12]));
                    let entry = Entry::decode(&raw, shared);
                    let is_directory = entry.attributes & DIRECTORY != 0;
                    // A directory that could be reached twice would make a tree that never ends.
                    let is_bad = is_directory && !seen.insert(entry.first);
                    let position = slots.position(slot)?;
                    let record = Record { first, slot, position, name, alias, is_directory, is_bad };
                    self.reserve(shared, record.bytes())?;
                    self.put(record, false);
                }
            }
        }
        Ok(())
    }

    fn reserve(&mut self, shared: &Shared, bytes: usize) -> Result<()> {
        shared.volume.host().reserve(bytes)?;
        self.reserved += bytes;
        Ok(())
    }

    /// Gives the memory back.
    pub fn clear(&mut self, shared: &Shared) {
        shared.volume.host().release(std::mem::take(&mut self.reserved));
    }

    /// Notes a record; of two with one name, the `newer` one is found, else the one that was there.
    fn put(&mut self, record: Record, newer: bool) {
        self.directories += u32::from(record.is_directory);
        for slot in record.first..=record.slot {
            if let Some(used) = self.used.get_mut(slot as usize) {
                *used = true;
            }
        }
        for name in [name::folded(&record.name), name::folded(&name::shown(&record.alias, 0))] {
            if newer {
                self.names.insert(name, record.slot);
            } else {
                self.names.entry(name).or_insert(record.slot);
            }
        }
        self.records.insert(record.slot, record);
    }

    /// Finds a name.
    pub fn find(&self, name: &str) -> Option<&Record> {
        self.records.get(self.names.get(&name::folded(name))?)
    }

    /// Adds a name for `raw`, an entry whose own name does not matter yet.
    ///
    /// The pieces of a long name are on the volume before the entry itself. `ENOSPC` if there is no room.
    pub fn add(&mut self, slots: &mut Slots<'_>, new: &Name, mut raw: [u8; 32]) -> Result<Record> {
        let shared = slots.shared;
        let taken = |alias: &[u8; 11]| self.names.contains_key(&name::folded(&name::shown(alias, 0)));
        let (alias, mut bytes) = match new.short() {
            Some(short) => (short, Vec::new()),
            None => {
                let alias = new.alias(taken)?;
                (alias, name::slots(&new.letters, &alias))
            }
        };
        raw[..11].copy_from_slice(&alias);
        raw[12] = 0;
        let is_directory = raw[11] & DIRECTORY != 0;
        bytes.push(raw);
        let count = bytes.len() as u32;
        let first = self.room(slots, count)?;
        let slot = first + count - 1;
        let position = slots.position(slot)?;
        let text = new.text.clone();
        let record = Record { first, slot, position, name: text, alias, is_directory, is_bad: false };
        self.reserve(shared, record.bytes())?;
        if let Err(errno) = self.write(slots, first, &bytes) {
            // What is half there must not be found later.
            (first..first + count).for_each(|slot| self.empty(slots, slot));
            shared.volume.host().release(record.bytes());
            self.reserved -= record.bytes();
            return Err(errno);
        }
        self.end = self.end.max(first + count);
        self.put(record.clone(), true);
        Ok(record)
    }

    /// Writes slots that follow each other.
    fn write(&self, slots: &mut Slots<'_>, first: u32, bytes: &[[u8; 32]]) -> Result<()> {
        let volume = &slots.shared.volume;
        let after = first + bytes.len() as u32;
        // Whoever reads on must find the end.
        if after > self.end && (after as usize) < self.used.len() {
            volume.write(slots.position(after)?, &[0; 32])?;
        }
        (first..).zip(bytes).try_for_each(|(slot, bytes)| volume.write(slots.position(slot)?, bytes))
    }

    /// Finds `count` free slots in a row, in new clusters if need be.
    fn room(&mut self, slots: &mut Slots<'_>, count: u32) -> Result<u32> {
        let (mut begin, mut at) = (self.hint, self.hint);
        loop {
            while at - begin < count && (at as usize) < self.used.len() {
                if self.used[at as usize] {
                    begin = at + 1;
                }
                at += 1;
            }
            if at - begin >= count {
                if begin == self.hint {
                    self.hint = begin + count;
                }
                return Ok(begin);
            }
            if self.used.len() as u64 + slots.per_cluster() > u64::from(SLOTS_MAX) {
                return Err(Errno::ENOSPC);
            }
            let more = slots.grow()? as usize;
            self.used.resize(self.used.len() + more, false);
        }
    }

    /// Takes a name away, the entry first and then the pieces of its long name.
    pub fn remove(&mut self, slots: &mut Slots<'_>, slot: u32) -> Result<()> {
        let record = self.records.get(&slot).ok_or(Errno::EIO)?.clone();
        slots.shared.volume.write(record.position, &[FREE])?;
        self.used[slot as usize] = false;
        (record.first..record.slot).rev().for_each(|slot| self.empty(slots, slot));
        self.hint = self.hint.min(record.first);
        self.directories -= u32::from(record.is_directory);
        for name in [name::folded(&record.name), name::folded(&name::shown(&record.alias, 0))] {
            if self.names.get(&name) == Some(&slot) {
                self.names.remove(&name);
            }
        }
        self.records.remove(&slot);
        slots.shared.volume.host().release(record.bytes());
        self.reserved -= record.bytes();
        Ok(())
    }

    /// Marks a slot as free; where that fails it is used no more, so that nothing comes to lie among the pieces of another name.
    fn empty(&mut self, slots: &mut Slots<'_>, slot: u32) {
        let emptied = slots.position(slot).and_then(|position| slots.shared.volume.write(position, &[FREE]));
        if let Some(used) = self.used.get_mut(slot as usize) {
            *used = emptied.is_err();
        }
    }

    /// Notes that a name is a directory's now, or a file's.
    pub fn becomes(&mut self, slot: u32, is_directory: bool) {
        let Some(record) = self.records.get_mut(&slot) else { return };
        self.directories = self.directories - u32::from(record.is_directory) + u32::from(is_directory);
        record.is_directory = is_directory;
    }
}

/// The pieces of a long name that came so far, the last one first.
#[derive(Default)]
struct Long {
    first: u32,
    checksum: u8,
    /// Number of the piece that came last.
    number: u8,
    letters: Vec<u16>,
}

impl Long {
    fn take(&mut self, slot: u32, raw: &[u8; 32]) {
        let (number, is_last) = (raw[0] & 0x3f, raw[0] & 0x40 != 0);
        let follows = !is_last && number + 1 == self.number && raw[13] == self.checksum;
        if is_last && (1..=20).contains(&number) {
            let letters = vec![0; usize::from(number) * SLOT_LETTERS];
            *self = Self { first: slot, checksum: raw[13], number, letters };
        } else if follows && number > 0 {
            self.number = number;
        } else {
            *self = Self::default();
            return;
        }
        let at = (usize::from(number) - 1) * SLOT_LETTERS;
        if let Some(place) = self.letters.get_mut(at..at + SLOT_LETTERS) {
            place.copy_from_slice(&name::letters(raw));
        }
    }

    /// The name, if all pieces came and belong to this short one.
    fn whole(&self, alias: &[u8; 11]) -> Option<String> {
        if self.number != 1 || self.checksum != name::checksum(alias) {
            return None;
        }
        let end = self.letters.iter().position(|letter| *letter == 0).unwrap_or(self.letters.len());
        name::decoded(&self.letters[..end])
    }
}
