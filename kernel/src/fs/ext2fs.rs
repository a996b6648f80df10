//! ext2, ext3 and ext4, read-only (the Linux kernel's "ext4 Data Structures and Algorithms").
//!
//! What a journal has that was not written back before a crash is read from there. No crate
//! is used: what there is knows neither numbers of inodes nor links and holes, and cannot be shared by threads.

mod journal;

use std::sync::Arc;

use abi::stat::makedev;
use abi::time::Timespec;
use abi::{Errno, Result};

use super::Request;
use super::readonly::{self, Format, Inode, Name};
use super::volume::{Field, Volume};
use crate::vfs::{Attr, FileSystem, FsStat, Kind};

/// Where the superblock is.
const SUPERBLOCK: u64 = 1024;
/// The root directory's inode.
const ROOT: u64 = 2;

/// Features without which a volume is read wrongly; those that we know.
const INCOMPATIBLE: &[u32] = &[
    0x2,     // filetype
    RECOVER, // needs_recovery
    META_BG, 0x40, // extent
    BITS_64, 0x100,   // mmp
    0x200,   // flex_bg
    0x400,   // ea_inode
    0x2000,  // metadata_csum_seed
    0x4000,  // large_dir
    0x8000,  // inline_data
    0x20000, // casefold
];
const RECOVER: u32 = 0x4;
/// Where the superblock says which inode the journal is.
const JOURNAL: usize = 224;
const META_BG: u32 = 0x10;
const BITS_64: u32 = 0x80;

/// Flags of an inode.
const ENCRYPTED: u32 = 0x800;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// A volume.
struct Ext2 {
    volume: Volume,
    block_bytes: u64,
    blocks: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_bytes: u64,
    blocks_per_group: u64,
    first_block: u64,
    descriptor_bytes: u64,
    /// The descriptors from this block of them on lie in their own groups.
    meta_groups_from: u64,
    stat: FsStat,
}

/// What is kept of an inode.
struct Own {
    flags: u32,
    /// The pointers, or the root of the extents, or the data itself.
    block: [u8; 60],
    /// All of a file that lies in its inode.
    inline: Option<Vec<u8>>,
}

/// Mounts a volume; `noload` has its journal left alone. `EINVAL` if there is none, or one with features that are not known.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let mut replays = true;
    for (name, _) in request.options.iter() {
        match name {
            b"noload" | b"norecovery" => replays = false,
            _ => return Err(Errno::EINVAL),
        }
    }
    let volume = Volume::open(request)?;
    let raw: [u8; 1024] = volume.bytes(SUPERBLOCK).map_err(|_| Errno::EINVAL)?;
    let mut fs = Ext2::of(volume, &raw, request)?;
    let recovers = raw.le32(96) & RECOVER != 0;
    if recovers && !replays {
        request.say("ext2fs: the volume was not unmounted, and its journal is left alone");
    } else if recovers {
        let newer = journal::newer(&fs, raw.le32(JOURNAL)).inspect_err(|_| {
            request.say("ext2fs: the volume was not unmounted, and its journal cannot be read: noload leaves it alone");
        })?;
        request.say(&format!("ext2fs: the volume was not unmounted: {} blocks are read from its journal", newer.len()));
        let block_bytes = fs.block_bytes;
        fs.volume.read_elsewhere(newer, block_bytes);
        // The superblock may be among them.
        let raw: [u8; 1024] = fs.volume.bytes(SUPERBLOCK).map_err(|_| Errno::EINVAL)?;
        fs = Ext2::of(fs.volume, &raw, request)?;
        if fs.block_bytes != block_bytes {
            return Err(Errno::EINVAL);
        }
    }
    readonly::mount(fs)
}

impl Ext2 {
    /// Takes the sizes from a superblock; `EINVAL` for some that cannot be, and for features that are not known.
    fn of(volume: Volume, raw: &[u8; 1024], request: &Request<'_>) -> Result<Self> {
        let incompatible = raw.le32(96);
        let known = INCOMPATIBLE.iter().fold(0, |known, feature| known | feature);
        if raw.le16(56) != 0xef53 || raw.le32(24) > 6 {
            return Err(Errno::EINVAL);
        }
        if incompatible & !known != 0 {
            request.say(&format!("ext2fs: features that are not known: {:#x}", incompatible & !known));
            return Err(Errno::EINVAL);
        }
        let is_64 = incompatible & BITS_64 != 0;
        let high = |at| if is_64 { u64::from(raw.le32(at)) << 32 } else { 0 };
        let block_bytes = 1024u64 << raw.le32(24);
        let blocks = u64::from(raw.le32(4)) | high(0x150);
        let revision = raw.le32(76);
        let (inodes, inodes_per_group) = (raw.le32(0), raw.le32(40));
        let inode_bytes = if revision == 0 { 128 } else { u64::from(raw.le16(88)) };
        let descriptor_bytes = if is_64 { u64::from(raw.le16(254)) } else { 32 };
        let meta_groups_from = if incompatible & META_BG != 0 { u64::from(raw.le32(260)) } else { u64::MAX };
        let (blocks_per_group, first_block) = (u64::from(raw.le32(32)), u64::from(raw.le32(20)));
        let sound = (1..=inodes).contains(&inodes_per_group)
            && blocks_per_group > 0
            && blocks > first_block
            && first_block <= 1
            && inode_bytes.is_power_of_two()
            && (128..=block_bytes).contains(&inode_bytes)
            && descriptor_bytes.is_power_of_two()
            && (if is_64 { 64 } else { 32 }..=block_bytes).contains(&descriptor_bytes);
        if !sound {
            return Err(Errno::EINVAL);
        }
        let stat = FsStat {
            block_size: block_bytes,
            blocks,
            blocks_free: (u64::from(raw.le32(12)) | high(0x158)).min(blocks),
            blocks_kept: u64::from(raw.le32(8)) | high(0x154),
            files: u64::from(inodes),
            files_free: u64::from(raw.le32(16)),
        };
        Ok(Self {
            volume,
            block_bytes,
            blocks,
            inodes,
            inodes_per_group,
            inode_bytes,
            blocks_per_group,
            first_block,
            descriptor_bytes,
            meta_groups_from,
            stat,
        })
    }
}

/// Whether a group begins with a copy of the superblock.
fn has_superblock(group: u64) -> bool {
    let is_power_of = |base: u64| {
        std::iter::successors(Some(base), |power| power.checked_mul(base))
            .take_while(|power| *power <= group)
            .any(|power| power == group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}

/// A time: seconds, and the word that adds nanoseconds and two more bits of seconds.
fn time(seconds: u32, extra: u32) -> Timespec {
    let nanoseconds = i64::from(extra >> 2);
    let tv_sec = i64::from(seconds as i32) + (i64::from(extra & 3) << 32);
    Timespec { tv_sec, tv_nsec: if nanoseconds < 1_000_000_000 { nanoseconds } else { 0 } }
}

fn device(block: &[u8; 60]) -> u64 {
    match block.le32(0) {
        0 => {
            let new = block.le32(4);
            makedev(new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
        }
        old => makedev(old >> 8 & 0xff, old & 0xff),
    }
}

impl Ext2 {
    /// Where a block is; `EIO` if there is no such block.
    fn block(&self, block: u64) -> Result<u64> {
        if block == 0 || block >= self.blocks { Err(Errno::EIO) } else { Ok(block * self.block_bytes) }
    }

    /// Where an inode is.
    fn place(&self, inode: u64) -> Result<u64> {
        let index = inode.checked_sub(1).filter(|index| *index < u64::from(self.inodes)).ok_or(Errno::EIO)?;
        let (group, rest) = (index / u64::from(self.inodes_per_group), index % u64::from(self.inodes_per_group));
        let per_block = self.block_bytes / self.descriptor_bytes;
        let piece = group / per_block;
        let block = if piece < self.meta_groups_from {
            self.first_block + 1 + piece
        } else {
            let first = piece * per_block;
            self.first_block + first * self.blocks_per_group + u64::from(has_superblock(first))
        };
        let at = self.block(block)? + group % per_block * self.descriptor_bytes;
        let descriptor: [u8; 64] = match self.descriptor_bytes {
            32 => {
                let mut descriptor = [0; 64];
                descriptor[..32].copy_from_slice(&self.volume.bytes::<32>(at)?);
                descriptor
            }
            _ => self.volume.bytes(at)?,
        };
        let table = u64::from(descriptor.le32(8)) | u64::from(descriptor.le32(40)) << 32;
        self.block(table)?.checked_add(rest * self.inode_bytes).ok_or(Errno::EIO)
    }

    /// Finds where block `index` of a file is, if it is not in a hole, and how many blocks there are alike.
    fn map(&self, own: &Own, index: u64) -> Result<(Option<u64>, u64)> {
        let index = u32::try_from(index).map_err(|_| Errno::EIO)?;
        if own.flags & EXTENTS != 0 { self.map_extent(own, index) } else { self.map_pointer(own, index) }
    }

    fn map_extent(&self, own: &Own, index: u32) -> Result<(Option<u64>, u64)> {
        let mut node = own.block.to_vec();
        let mut depth = None;
        // Where the next subtree begins.
        let mut bound = u64::from(u32::MAX) + 1;
        loop {
            let (entries, level) = (usize::from(node.le16(2)), node.le16(6));
            let sound = node.le16(0) == 0xf30a
                && entries < node.len() / 12
                && level <= 5
                && depth.is_none_or(|depth| level + 1 == depth);
            if !sound {
                return Err(Errno::EIO);
            }
            let begins = |entry: usize| node.le32(12 + entry * 12);
            let after = (0..entries).take_while(|entry| begins(*entry) <= index).count();
            if after < entries {
                bound = bound.min(u64::from(begins(after)));
            }
            let Some(entry) = after.checked_sub(1).map(|entry| &node[12 + entry * 12..]) else {
                return Ok((None, bound - u64::from(index)));
            };
            if level == 0 {
                let (begin, len) = (entry.le32(0), u32::from(entry.le16(4)));
                // Longer ones were taken in advance, and read as zeros.
                let (len, written) = if len > 0x8000 { (len - 0x8000, false) } else { (len, true) };
                let into = index - begin;
                if into >= len {
                    return Ok((None, bound - u64::from(index)));
                }
                let start = u64::from(entry.le32(8)) | u64::from(entry.le16(6)) << 32;
                let block = start + u64::from(into);
                return Ok((written.then_some(block), u64::from(len - into)));
            }
            let block = u64::from(entry.le32(4)) | u64::from(entry.le16(8)) << 32;
            let mut below = vec![0; self.block_bytes as usize];
            self.volume.read_cached(self.block(block)?, &mut below)?;
            (node, depth) = (below, Some(level));
        }
    }

    fn map_pointer(&self, own: &Own, index: u32) -> Result<(Option<u64>, u64)> {
        let per_block = self.block_bytes / 4;
        let mut rest = u64::from(index);
        if rest < 12 {
            let block = own.block.le32(rest as usize * 4);
            return Ok(((block != 0).then_some(u64::from(block)), 1));
        }
        rest -= 12;
        for level in 1..=3u32 {
            let reach = per_block.pow(level);
            if rest >= reach {
                rest -= reach;
                continue;
            }
            let mut block = u64::from(own.block.le32((11 + level as usize) * 4));
            for level in (0..level).rev() {
                let reach = per_block.pow(level);
                if block == 0 {
                    // Nothing below here: the hole reaches to the end of what it would lead to.
                    let whole = reach * per_block;
                    return Ok((None, whole - rest % whole));
                }
                let at = self.block(block)? + rest / reach % per_block * 4;
                block = u64::from(self.volume.bytes::<4>(at)?.le32(0));
            }
            return Ok(((block != 0).then_some(block), 1));
        }
        Err(Errno::EIO)
    }

    /// Reads data that lies in the inode: the first part in place of the pointers, the rest as an extended attribute.
    fn inline(&self, raw: &[u8], block: &[u8; 60]) -> Vec<u8> {
        let mut data = block.to_vec();
        let begin = 128 + usize::from(raw.le16(128));
        let attributes = raw.get(begin..).unwrap_or_default();
        if attributes.le32(0) != 0xea02_0000 {
            return data;
        }
        let entries = &attributes[4..];
        let mut at = 0;
        while entries.le32(at) != 0 && at + 16 <= entries.len() {
            let len = usize::from(entries[at]);
            let name = entries.get(at + 16..at + 16 + len).unwrap_or_default();
            if entries[at + 1] == 7 && name == b"data" {
                let (from, len) = (usize::from(entries.le16(at + 2)), entries.le32(at + 8) as usize);
                data.extend_from_slice(entries.get(from..from.saturating_add(len)).unwrap_or_default());
                break;
            }
            at += 16 + len.next_multiple_of(4);
        }
        data
    }

    fn read_own(&self, own: &Own, offset: u64, buf: &mut [u8]) -> Result<()> {
        if let Some(data) = &own.inline {
            let part = usize::try_from(offset).ok().and_then(|at| data.get(at..at.checked_add(buf.len())?));
            buf.copy_from_slice(part.ok_or(Errno::EIO)?);
            return Ok(());
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (block, run) = self.map(own, at / self.block_bytes)?;
            let room = run.saturating_mul(self.block_bytes).saturating_sub(at % self.block_bytes);
            let piece = usize::try_from(room).map_or(buf.len() - done, |room| room.min(buf.len() - done));
            let out = &mut buf[done..done + piece];
            match block {
                Some(block) => {
                    let last = (at % self.block_bytes + piece as u64 - 1) / self.block_bytes;
                    self.block(block + last)?;
                    self.volume.read(self.block(block)? + at % self.block_bytes, out)?;
                }
                None => out.fill(0),
            }
            done += piece;
        }
        Ok(())
    }

    /// Shows the entries in a piece of a directory, which begins at `base` of it; answers whether to go on.
    fn entries_in(&self, piece: &[u8], base: u64, cookie: u64, each: &mut dyn FnMut(Name<'_>) -> bool) -> Result<bool> {
        let mut at = 0;
        while at + 8 <= piece.len() {
            let (inode, len, name_len) = (piece.le32(at), usize::from(piece.le16(at + 4)), usize::from(piece[at + 6]));
            // A block of 64 KiB cannot say its length.
            let len = if len == 0 || len == 0xffff { piece.len() - at } else { len };
            if len < 8 + name_len || !len.is_multiple_of(4) || at + len > piece.len() {
                return Err(Errno::EIO);
            }
            let next = base + (at + len) as u64;
            let name = &piece[at + 8..at + 8 + name_len];
            let kind = piece[at + 7];
            at += len;
            if inode == 0 || next <= cookie || matches!(name, b"." | b"..") {
                continue;
            }
            let inode = u64::from(inode);
            let kind = match kind {
                1 => Kind::Regular,
                2 => Kind::Directory,
                3 => Kind::Character,
                4 => Kind::Block,
                5 => Kind::Fifo,
                6 => Kind::Socket,
                7 => Kind::Symlink,
                // Old volumes do not say.
                _ => self.inode(inode, None).map_or(Kind::Regular, |inode| inode.kind),
            };
            if !each(Name { name, inode, ino: inode, kind, next }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Format for Ext2 {
    type Own = Own;
    const KIND: &'static str = "ext2fs";
    const SYNCS: bool = true;

    fn root(&self) -> u64 {
        ROOT
    }

    fn stat(&self) -> FsStat {
        self.stat
    }

    fn inode(&self, number: u64, _: Option<u64>) -> Result<Inode<Own>> {
        let mut raw = vec![0; self.inode_bytes.min(4096) as usize];
        self.volume.read_cached(self.place(number)?, &mut raw)?;
        let mode = u32::from(raw.le16(0));
        let kind = Kind::from_mode(mode).filter(|_| mode & 0o170000 != 0).ok_or(Errno::EIO)?;
        let nlink = u32::from(raw.le16(26));
        if nlink == 0 {
            return Err(Errno::EIO);
        }
        let flags = raw.le32(32);
        let mut block = [0; 60];
        block.copy_from_slice(&raw[40..100]);
        let inline = (flags & INLINE_DATA != 0).then(|| self.inline(&raw, &block));
        let own = Own { flags, block, inline };
        let large = if kind == Kind::Regular { u64::from(raw.le32(108)) << 32 } else { 0 };
        let size = u64::from(raw.le32(4)) | large;
        if size > i64::MAX as u64 {
            return Err(Errno::EIO);
        }
        let extra = |at: usize| if at + 4 <= 128 + usize::from(raw.le16(128)) { raw.le32(at) } else { 0 };
        let has_extra = self.inode_bytes > 128;
        let extra = |at: usize| if has_extra { extra(at) } else { 0 };
        let ctime = time(raw.le32(12), extra(132));
        let has_birth = has_extra && 128 + usize::from(raw.le16(128)) >= 152;
        let is_device = matches!(kind, Kind::Character | Kind::Block);
        let attr = Attr {
            mode: mode & 0o7777,
            nlink,
            uid: u32::from(raw.le16(2)) | u32::from(raw.le16(120)) << 16,
            gid: u32::from(raw.le16(24)) | u32::from(raw.le16(122)) << 16,
            rdev: if is_device { device(&own.block) } else { 0 },
            size: if is_device { 0 } else { size },
            blocks: u64::from(raw.le32(28)) | u64::from(raw.le16(116)) << 32,
            atime: time(raw.le32(8), extra(140)),
            mtime: time(raw.le32(16), extra(136)),
            ctime,
            birthtime: if has_birth { time(raw.le32(144), extra(148)) } else { ctime },
        };
        let mut inode = Inode { kind, ino: number, attr, above: None, own };
        if kind == Kind::Directory {
            inode.above = Some(match &inode.own.inline {
                Some(data) => u64::from(data.le32(0)),
                None => {
                    let mut dots = [0; 24];
                    self.read_own(&inode.own, 0, &mut dots)?;
                    if dots.le16(4) != 12 || dots[20..22] != *b".." {
                        return Err(Errno::EIO);
                    }
                    u64::from(dots.le32(12))
                }
            });
        }
        Ok(inode)
    }

    fn entries(&self, inode: &Inode<Own>, cookie: u64, each: &mut dyn FnMut(Name<'_>) -> bool) -> Result<()> {
        if inode.own.flags & ENCRYPTED != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(data) = &inode.own.inline {
            // The number of the directory above comes first, and the two parts do not run into each other.
            let data = data.get(..inode.attr.size as usize).unwrap_or(data);
            let (first, second) = data.split_at(data.len().min(60));
            let first = first.get(4..).unwrap_or_default();
            return match self.entries_in(first, 4, cookie, each)? {
                true => self.entries_in(second, 60, cookie, each).map(drop),
                false => Ok(()),
            };
        }
        let mut block = vec![0; self.block_bytes as usize];
        // The cookie is where an entry ends, which may be where a block does.
        let mut at = cookie / self.block_bytes * self.block_bytes;
        while at < inode.attr.size {
            let (place, _) = self.map(&inode.own, at / self.block_bytes)?;
            self.volume.read_cached(self.block(place.ok_or(Errno::EIO)?)?, &mut block)?;
            if !self.entries_in(&block, at, cookie, each)? {
                break;
            }
            at += self.block_bytes;
        }
        Ok(())
    }

    fn read(&self, inode: &Inode<Own>, offset: u64, buf: &mut [u8]) -> Result<()> {
        if inode.own.flags & ENCRYPTED != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.read_own(&inode.own, offset, buf)
    }

    fn target(&self, inode: &Inode<Own>) -> Result<Vec<u8>> {
        let len = usize::try_from(inode.attr.size).ok().filter(|len| *len <= 4096).ok_or(Errno::EIO)?;
        if inode.own.inline.is_none() && inode.own.flags & EXTENTS == 0 && len < 60 {
            return Ok(inode.own.block[..len].to_vec());
        }
        let mut target = vec![0; len];
        self.read(inode, 0, &mut target)?;
        Ok(target)
    }

    fn extent(&self, inode: &Inode<Own>, offset: u64) -> Result<(bool, u64)> {
        if inode.own.inline.is_some() {
            return Ok((true, inode.attr.size));
        }
        let index = offset / self.block_bytes;
        let (block, run) = self.map(&inode.own, index)?;
        Ok((block.is_some(), (index + run).saturating_mul(self.block_bytes)))
    }
}
