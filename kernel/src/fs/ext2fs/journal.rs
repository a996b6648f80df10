//! The journal of ext3 and ext4: what was promised before a crash and is not yet where it belongs (the Linux kernel's
//! "ext4 Data Structures and Algorithms", "Journal (jbd2)").
//!
//! The volume is only read, so nothing is written back: the blocks of complete transactions are read from where the journal has them.
//! Checksums are not looked at; a transaction without its commit block does not count, and neither do "fast commits".

use std::collections::{HashMap, HashSet};

use abi::{Errno, Result};

use super::{Ext2, Own};
use crate::fs::readonly::Format;
use crate::fs::volume::Moved;

/// What each block of structure begins with.
const MAGIC: u32 = 0xc03b_3998;
/// The kinds of such blocks.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// Features of a journal that change how it is read; those that we know.
const REVOKES: u32 = 0x1;
const BITS_64: u32 = 0x2;
const ASYNC_COMMIT: u32 = 0x4;
const CHECKSUMS_2: u32 = 0x8;
const CHECKSUMS_3: u32 = 0x10;
const FAST_COMMIT: u32 = 0x20;
const KNOWN: u32 = REVOKES | BITS_64 | ASYNC_COMMIT | CHECKSUMS_2 | CHECKSUMS_3 | FAST_COMMIT;

/// Flags of a block in a transaction.
const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Blocks of fast commits, if the journal does not say.
const FAST_BLOCKS: u32 = 256;

/// A journal that is being read.
struct Journal<'a> {
    fs: &'a Ext2,
    own: Own,
    features: u32,
    /// The blocks of the log: it goes round in them.
    first: u32,
    end: u32,
}

/// What a log says, in its order.
#[derive(Default)]
struct Log {
    /// Number of the transaction, the block, and where its content is.
    blocks: Vec<(u32, u64, Moved)>,
    /// Blocks that were given up, with the last transaction that did.
    revoked: HashMap<u64, u32>,
}

fn be32(block: &[u8], at: usize) -> u32 {
    block.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Whether transaction `one` is later than, or the same as, `other`: the numbers go round.
fn reaches(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) as i32 >= 0
}

/// The blocks of a volume that its journal has newer, by their numbers.
///
/// `EINVAL` for a journal that is not there, of features that are not known, or with nothing but damage in it.
pub fn newer(fs: &Ext2, inode: u32) -> Result<HashMap<u64, Moved>> {
    let own = fs.inode(u64::from(inode), None).map_err(|_| Errno::EINVAL)?.own;
    let mut journal = Journal { fs, own, features: 0, first: 0, end: 0 };
    let head = journal.place(0).and_then(|place| journal.content(place)).map_err(|_| Errno::EINVAL)?;
    let (kind, start, sequence) = (be32(&head, 4), be32(&head, 28), be32(&head, 24));
    if be32(&head, 0) != MAGIC || !matches!(kind, 3 | 4) || u64::from(be32(&head, 12)) != fs.block_bytes {
        return Err(Errno::EINVAL);
    }
    // A superblock of the first version knows no features.
    journal.features = if kind == 4 { be32(&head, 40) } else { 0 };
    (journal.first, journal.end) = (be32(&head, 20), be32(&head, 16));
    if journal.features & FAST_COMMIT != 0 {
        let fast = Some(be32(&head, 84)).filter(|blocks| *blocks > 0).unwrap_or(FAST_BLOCKS);
        journal.end = journal.end.checked_sub(fast).ok_or(Errno::EINVAL)?;
    }
    let within = journal.first..journal.end;
    if journal.features & !KNOWN != 0 || journal.first == 0 || start != 0 && !within.contains(&start) {
        return Err(Errno::EINVAL);
    }
    if start == 0 {
        return Ok(HashMap::new());
    }
    let log = journal.read(start, sequence)?;
    let counts = |(sequence, block, _): &&(u32, u64, Moved)| {
        log.revoked.get(block).is_none_or(|revoked| !reaches(*revoked, *sequence))
    };
    Ok(log.blocks.iter().filter(counts).map(|(_, block, moved)| (*block, *moved)).collect())
}

impl Journal<'_> {
    /// Where a block of the journal is on the volume.
    fn place(&self, index: u32) -> Result<u64> {
        let (Some(block), _) = self.fs.map(&self.own, u64::from(index))? else { return Err(Errno::EIO) };
        self.fs.block(block)
    }

    fn content(&self, place: u64) -> Result<Vec<u8>> {
        let mut content = vec![0; self.fs.block_bytes as usize];
        self.fs.volume.read(place, &mut content)?;
        Ok(content)
    }

    fn after(&self, index: u32) -> u32 {
        if index + 1 >= self.end { self.first } else { index + 1 }
    }

    /// Reads transactions until one is not complete, which is where the log ends.
    ///
    /// Each block is looked at once at most, so that what it takes is bounded by what the image has; `EINVAL` for a journal that
    /// claims to be longer by having blocks in it twice.
    fn read(&self, start: u32, sequence: u32) -> Result<Log> {
        let (mut log, mut open) = (Log::default(), Log::default());
        let (mut at, mut sequence, mut seen) = (start, sequence, HashSet::new());
        let mut next = || -> Result<Option<u64>> {
            let Ok(place) = self.place(at) else { return Ok(None) };
            let again = !seen.insert(place);
            if again && at != start {
                return Err(Errno::EINVAL);
            }
            at = self.after(at);
            Ok((!again).then_some(place))
        };
        while let Some(place) = next()? {
            let Ok(block) = self.content(place) else { break };
            if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
                break;
            }
            match be32(&block, 4) {
                DESCRIPTOR => {
                    for (number, flags) in self.tags(&block) {
                        let Some(place) = next()? else { return Ok(log) };
                        let first = (flags & ESCAPED != 0).then_some(MAGIC);
                        open.blocks.push((sequence, number, Moved { place, first }));
                    }
                }
                REVOKE => self.revokes(&block, |block| {
                    open.revoked.insert(block, sequence);
                }),
                COMMIT => {
                    log.blocks.append(&mut open.blocks);
                    log.revoked.extend(open.revoked.drain());
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(log)
    }

    /// The blocks that a descriptor names, with their flags.
    fn tags(&self, block: &[u8]) -> Vec<(u64, u32)> {
        let has = |feature| self.features & feature != 0;
        let bytes = match (has(CHECKSUMS_3), has(BITS_64)) {
            (true, _) => 16,
            (false, wide) => 8 + 4 * usize::from(wide) + 2 * usize::from(has(CHECKSUMS_2)),
        };
        let end = block.len() - if has(CHECKSUMS_2 | CHECKSUMS_3) { 4 } else { 0 };
        let (mut at, mut tags) = (12, Vec::new());
        while at + bytes <= end {
            let flags = if has(CHECKSUMS_3) { be32(block, at + 4) } else { be32(block, at + 4) & 0xffff };
            let high = if has(BITS_64) { u64::from(be32(block, at + 8)) << 32 } else { 0 };
            tags.push((high | u64::from(be32(block, at)), flags));
            at += bytes + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        tags
    }

    fn revokes(&self, block: &[u8], mut each: impl FnMut(u64)) {
        let wide = self.features & BITS_64 != 0;
        let end = (be32(block, 12) as usize).min(block.len());
        for at in (16..end).step_by(if wide { 8 } else { 4 }) {
            each(if wide {
                u64::from(be32(block, at)) << 32 | u64::from(be32(block, at + 4))
            } else {
                be32(block, at).into()
            });
        }
    }
}
