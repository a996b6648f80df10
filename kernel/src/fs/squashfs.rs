//! squashfs, read-only: version 4, compressed by gzip, xz, lz4 or zstd (the Linux kernel's "Squashfs 4.0 Filesystem").
//!
//! Nothing is read before it is asked for. The compressions are crates in safe Rust; lzma and lzo, for which there is none that is kept
//! well, are refused. Extended attributes are not shown.

mod cache;

use std::sync::{Arc, OnceLock};

use abi::stat::makedev;
use abi::time::Timespec;
use abi::{Errno, Result};

use super::Request;
use super::readonly::{self, Format, Inode, Name};
use super::volume::{Field, Volume};
use crate::rumpuser::Rumpuser;
use crate::vfs::{Attr, FileSystem, FsStat, Kind};
use cache::{Cache, Compression};

/// Bytes of a block of structure, unpacked.
const STRUCTURE: usize = 8192;
/// Marks that there is no fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// Blocks of a file at most: 512 GiB of the usual ones.
const BLOCKS_MAX: u64 = 1 << 22;
/// The bit of a block's size that says that it is stored as it is.
const STORED: u32 = 1 << 24;

struct Squashfs {
    volume: Volume,
    compression: Compression,
    block_bytes: u32,
    bytes: u64,
    inodes: u32,
    ids: u16,
    fragments: u32,
    root: u64,
    id_table: u64,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    /// Unpacked blocks of structure.
    structure: Cache,
    /// Unpacked blocks of content.
    content: Cache,
}

/// A place in the structure: a packed block, and an offset in what it unpacks to.
#[derive(Clone, Copy)]
struct Cursor {
    block: u64,
    offset: usize,
}

/// What is kept of an inode.
enum Own {
    Directory { listing: Cursor, len: u64 },
    File(Pieces),
    Link(Vec<u8>),
    Other,
}

/// Where the content of a file is.
struct Pieces {
    start: u64,
    fragment: u32,
    /// Where its end is in the fragment.
    offset: u32,
    /// Where the sizes of its blocks are listed, and how many there are.
    sizes: Cursor,
    count: u64,
    /// The blocks, read when the first of them is.
    blocks: OnceLock<Blocks>,
}

/// The blocks of a file: where each begins, and its size as stored.
struct Blocks {
    list: Vec<(u64, u32)>,
    host: Arc<dyn Rumpuser>,
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.host.release(self.list.len() * size_of::<(u64, u32)>());
    }
}

/// Mounts an image; `EINVAL` if it is none, or compressed by what is not known.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    let volume = Volume::open(request)?;
    let raw: [u8; 96] = volume.bytes(0).map_err(|_| Errno::EINVAL)?;
    let block_bytes = raw.le32(12);
    let sound = raw.le32(0) == 0x7371_7368
        && raw.le16(28) == 4
        && block_bytes.is_power_of_two()
        && (4096..=1 << 20).contains(&block_bytes);
    if !sound {
        return Err(Errno::EINVAL);
    }
    let Some(compression) = Compression::by_number(raw.le16(20)) else {
        let name = match raw.le16(20) {
            2 => "lzma",
            3 => "lzo",
            _ => "of this number",
        };
        request.say(&format!("squashfs: compression {} ({name}) is not known", raw.le16(20)));
        return Err(Errno::EINVAL);
    };
    let bytes = raw.le64(40).min(volume.size());
    let cache = |blocks| Cache::new(request.host.clone(), blocks);
    readonly::mount(Squashfs {
        compression,
        block_bytes,
        bytes,
        inodes: raw.le32(4),
        ids: raw.le16(26),
        fragments: raw.le32(16),
        root: raw.le64(32),
        id_table: raw.le64(48),
        inode_table: raw.le64(64),
        directory_table: raw.le64(72),
        fragment_table: raw.le64(80),
        structure: cache(32),
        content: cache(4),
        volume,
    })
}

impl Squashfs {
    /// Unpacks a block of structure; returns it, and where the next one is.
    fn structure(&self, at: u64) -> Result<(Arc<Vec<u8>>, u64)> {
        let header = self.volume.bytes::<2>(at)?.le16(0);
        let len = usize::from(header & 0x7fff);
        let next = at.checked_add(2 + len as u64).ok_or(Errno::EIO)?;
        if len == 0 || len > STRUCTURE {
            return Err(Errno::EIO);
        }
        let block = self.structure.get(at, || {
            let mut packed = vec![0; len];
            self.volume.read(at + 2, &mut packed)?;
            if header & 0x8000 != 0 { Ok(packed) } else { self.compression.unpack(&packed, STRUCTURE) }
        })?;
        Ok((block, next))
    }

    /// Fills `buf` from a place in the structure; returns where it goes on.
    fn take(&self, mut from: Cursor, buf: &mut [u8]) -> Result<Cursor> {
        let mut done = 0;
        while done < buf.len() {
            let (block, next) = self.structure(from.block)?;
            let rest = block.get(from.offset..).unwrap_or_default();
            let piece = rest.len().min(buf.len() - done);
            buf[done..done + piece].copy_from_slice(&rest[..piece]);
            done += piece;
            from.offset += piece;
            if from.offset >= block.len() {
                if piece == 0 && block.len() < STRUCTURE {
                    // Only the last block is shorter.
                    return Err(Errno::EIO);
                }
                from = Cursor { block: next, offset: from.offset - block.len() };
            }
        }
        Ok(from)
    }

    fn fixed<const N: usize>(&self, from: Cursor) -> Result<([u8; N], Cursor)> {
        let mut bytes = [0; N];
        let next = self.take(from, &mut bytes)?;
        Ok((bytes, next))
    }

    /// Reads entry `index` of a table that is reached by a list of its blocks.
    fn entry<const N: usize>(&self, table: u64, index: u64) -> Result<[u8; N]> {
        let at = index * N as u64;
        let list = table.checked_add(at / STRUCTURE as u64 * 8).ok_or(Errno::EIO)?;
        let block = self.volume.bytes::<8>(list)?.le64(0);
        Ok(self.fixed(Cursor { block, offset: (at % STRUCTURE as u64) as usize })?.0)
    }

    fn id(&self, index: u16) -> Result<u32> {
        if index >= self.ids {
            return Err(Errno::EIO);
        }
        Ok(self.entry::<4>(self.id_table, u64::from(index))?.le32(0))
    }

    fn cursor(&self, inode: u64) -> Result<Cursor> {
        let block = self.inode_table.checked_add(inode >> 16).ok_or(Errno::EIO)?;
        Ok(Cursor { block, offset: (inode & 0xffff) as usize })
    }

    /// Unpacks a block of content, of which `size` is the size as stored.
    fn content(&self, at: u64, size: u32) -> Result<Arc<Vec<u8>>> {
        let len = (size & (STORED - 1)) as usize;
        let most = self.block_bytes as usize;
        if len == 0 || len > most || size & !(STORED | (STORED - 1)) != 0 {
            return Err(Errno::EIO);
        }
        self.content.get(at, || {
            let mut packed = vec![0; len];
            self.volume.read(at, &mut packed)?;
            if size & STORED != 0 { Ok(packed) } else { self.compression.unpack(&packed, most) }
        })
    }

    /// Returns the blocks of a file.
    fn blocks<'a>(&self, pieces: &'a Pieces) -> Result<&'a [(u64, u32)]> {
        if let Some(blocks) = pieces.blocks.get() {
            return Ok(&blocks.list);
        }
        let host = self.structure.host().clone();
        let mut blocks = Blocks { list: Vec::new(), host };
        let (mut at, mut from) = (pieces.start, pieces.sizes);
        let mut sizes = vec![0; 4 * 1024];
        while (blocks.list.len() as u64) < pieces.count {
            let count = (pieces.count - blocks.list.len() as u64).min(1024) as usize;
            from = self.take(from, &mut sizes[..count * 4])?;
            blocks.host.reserve(count * size_of::<(u64, u32)>())?;
            for size in sizes[..count * 4].chunks_exact(4) {
                let size = size.le32(0);
                blocks.list.push((at, size));
                at = at.checked_add(u64::from(size & (STORED - 1))).ok_or(Errno::EIO)?;
            }
        }
        Ok(&pieces.blocks.get_or_init(|| blocks).list)
    }

    /// Reads the end of a file, which lies in a fragment with the ends of others.
    fn fragment(&self, pieces: &Pieces) -> Result<Arc<Vec<u8>>> {
        if pieces.fragment >= self.fragments {
            return Err(Errno::EIO);
        }
        let entry: [u8; 16] = self.entry(self.fragment_table, u64::from(pieces.fragment))?;
        self.content(entry.le64(0), entry.le32(8))
    }
}

fn device(rdev: u32) -> u64 {
    makedev(rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xf_ff00)
}

/// The kind of an inode's type; those of the larger inodes are the same again.
fn kind(number: u16) -> Result<Kind> {
    Ok(match (number.wrapping_sub(1)) % 7 {
        _ if !(1..=14).contains(&number) => return Err(Errno::EIO),
        0 => Kind::Directory,
        1 => Kind::Regular,
        2 => Kind::Symlink,
        3 => Kind::Block,
        4 => Kind::Character,
        5 => Kind::Fifo,
        _ => Kind::Socket,
    })
}

impl Format for Squashfs {
    type Own = Own;
    const KIND: &'static str = "squashfs";

    fn root(&self) -> u64 {
        self.root
    }

    fn stat(&self) -> FsStat {
        let block_size = u64::from(self.block_bytes);
        FsStat {
            block_size,
            blocks: self.bytes.div_ceil(block_size),
            files: u64::from(self.inodes),
            ..FsStat::default()
        }
    }

    fn inode(&self, number: u64, within: Option<u64>) -> Result<Inode<Own>> {
        let (head, rest) = self.fixed::<16>(self.cursor(number)?)?;
        let (kind, large) = (kind(head.le16(0))?, head.le16(0) > 7);
        let ino = u64::from(head.le32(12));
        let time = Timespec { tv_sec: i64::from(head.le32(8)), tv_nsec: 0 };
        let mut attr = Attr {
            mode: u32::from(head.le16(2)) & 0o7777,
            nlink: 1,
            uid: self.id(head.le16(4))?,
            gid: self.id(head.le16(6))?,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            birthtime: time,
        };
        let mut above = None;
        let own = match kind {
            Kind::Directory => {
                let (listing, parent);
                if large {
                    let raw = self.fixed::<24>(rest)?.0;
                    attr.nlink = raw.le32(0);
                    attr.size = u64::from(raw.le32(4));
                    (listing, parent) = ((raw.le32(8), raw.le16(18)), raw.le32(12));
                } else {
                    let raw = self.fixed::<16>(rest)?.0;
                    attr.nlink = raw.le32(4);
                    attr.size = u64::from(raw.le16(8));
                    (listing, parent) = ((raw.le32(0), raw.le16(10)), raw.le32(12));
                }
                if let Some(within) = within {
                    let up = self.fixed::<16>(self.cursor(within)?)?.0.le32(12);
                    // Another directory than that which it was found in.
                    above = Some(if up == parent { within } else { u64::MAX });
                }
                let block = self.directory_table.checked_add(u64::from(listing.0)).ok_or(Errno::EIO)?;
                let listing = Cursor { block, offset: usize::from(listing.1) };
                // The three bytes are for the dots, which are not listed.
                Own::Directory { listing, len: attr.size.saturating_sub(3) }
            }
            Kind::Regular => {
                let (start, fragment, offset, sizes);
                if large {
                    let (raw, next) = self.fixed::<40>(rest)?;
                    (start, fragment, offset, sizes) = (raw.le64(0), raw.le32(28), raw.le32(32), next);
                    (attr.size, attr.nlink) = (raw.le64(8), raw.le32(24));
                    let sparse = raw.le64(16);
                    attr.blocks = attr.size.saturating_sub(sparse).div_ceil(512);
                } else {
                    let (raw, next) = self.fixed::<16>(rest)?;
                    (start, fragment, offset, sizes) = (u64::from(raw.le32(0)), raw.le32(4), raw.le32(8), next);
                    attr.size = u64::from(raw.le32(12));
                    attr.blocks = attr.size.div_ceil(512);
                }
                let whole = attr.size / u64::from(self.block_bytes);
                let partial = u64::from(!attr.size.is_multiple_of(u64::from(self.block_bytes)));
                let count = if fragment == NO_FRAGMENT { whole + partial } else { whole };
                if count > BLOCKS_MAX {
                    return Err(Errno::EIO);
                }
                Own::File(Pieces { start, fragment, offset, sizes, count, blocks: OnceLock::new() })
            }
            Kind::Symlink => {
                let (raw, next) = self.fixed::<8>(rest)?;
                (attr.nlink, attr.size) = (raw.le32(0), u64::from(raw.le32(4)));
                let mut target = vec![0; attr.size.min(65_536) as usize];
                if target.len() > 4096 {
                    return Err(Errno::EIO);
                }
                self.take(next, &mut target)?;
                Own::Link(target)
            }
            Kind::Block | Kind::Character => {
                let raw = self.fixed::<8>(rest)?.0;
                (attr.nlink, attr.rdev) = (raw.le32(0), device(raw.le32(4)));
                Own::Other
            }
            Kind::Fifo | Kind::Socket => {
                attr.nlink = self.fixed::<4>(rest)?.0.le32(0);
                Own::Other
            }
        };
        Ok(Inode { kind, ino, attr, above, own })
    }

    fn entries(&self, inode: &Inode<Own>, cookie: u64, each: &mut dyn FnMut(Name<'_>) -> bool) -> Result<()> {
        let Own::Directory { listing, len } = inode.own else { return Err(Errno::ENOTDIR) };
        let (mut from, mut done) = (listing, 0);
        while done < len {
            let (head, next) = self.fixed::<12>(from)?;
            (from, done) = (next, done + 12);
            let (count, block, base) = (head.le32(0), u64::from(head.le32(4)), head.le32(8));
            // No header has more entries.
            if count >= 256 {
                return Err(Errno::EIO);
            }
            for _ in 0..=count {
                let (raw, next) = self.fixed::<8>(from)?;
                let mut name = vec![0; usize::from(raw.le16(6)) + 1];
                if name.len() > 256 {
                    return Err(Errno::EIO);
                }
                from = self.take(next, &mut name)?;
                done += 8 + name.len() as u64;
                if done <= cookie {
                    continue;
                }
                let ino = u64::from(base.wrapping_add_signed(i32::from(raw.le16(2) as i16)));
                let inode = block << 16 | u64::from(raw.le16(0));
                if !each(Name { name: &name, inode, ino, kind: kind(raw.le16(4))?, next: done }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn read(&self, inode: &Inode<Own>, offset: u64, buf: &mut [u8]) -> Result<()> {
        let Own::File(pieces) = &inode.own else { return Err(Errno::EINVAL) };
        let block_bytes = u64::from(self.block_bytes);
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (index, into) = (at / block_bytes, (at % block_bytes) as usize);
            // The last block has only what is left of the file.
            let len = (inode.attr.size - index * block_bytes).min(block_bytes) as usize;
            let piece = (len - into).min(buf.len() - done);
            let out = &mut buf[done..done + piece];
            if index < pieces.count {
                match self.blocks(pieces)?.get(index as usize) {
                    None => return Err(Errno::EIO),
                    Some((_, 0)) => out.fill(0),
                    Some((at, size)) => {
                        let content = self.content(*at, *size)?;
                        out.copy_from_slice(content.get(into..into + piece).ok_or(Errno::EIO)?);
                    }
                }
            } else {
                let content = self.fragment(pieces)?;
                let begin = pieces.offset as usize + into;
                out.copy_from_slice(content.get(begin..begin + piece).ok_or(Errno::EIO)?);
            }
            done += piece;
        }
        Ok(())
    }

    fn target(&self, inode: &Inode<Own>) -> Result<Vec<u8>> {
        if let Own::Link(target) = &inode.own { Ok(target.clone()) } else { Err(Errno::EINVAL) }
    }

    fn extent(&self, inode: &Inode<Own>, offset: u64) -> Result<(bool, u64)> {
        let Own::File(pieces) = &inode.own else { return Err(Errno::EINVAL) };
        let index = offset / u64::from(self.block_bytes);
        let is_hole =
            index < pieces.count && self.blocks(pieces)?.get(index as usize).is_some_and(|(_, size)| *size == 0);
        Ok((!is_hole, (index + 1) * u64::from(self.block_bytes)))
    }
}
