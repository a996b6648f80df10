//! What a file system in an image is read from and written to: a disk, or a file that holds one.
//!
//! Everything is written through, in the order in which the file system writes: whoever kills the server finds on the host what
//! was written so far. What is kept in memory are blocks that were read for their structure, so many and no more.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use abi::fcntl::{O_RDONLY, O_RDWR};
use abi::mount::MNT_RDONLY;
use abi::{Errno, Result};

use super::Request;
use super::pieces::pieces;
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::vfs::{Kind, VnodeFile};

/// Bytes of a cached block.
const BLOCK_BYTES: usize = 4096;
/// Blocks of one generation of the cache; there are two.
const GENERATION: usize = 256;

/// A disk that is mounted, or a file in its place.
pub struct Volume {
    file: Arc<VnodeFile>,
    host: Arc<dyn Rumpuser>,
    size: u64,
    writable: bool,
    cache: Mutex<Cache>,
    /// Blocks that are read from elsewhere, and the bytes of one.
    moved: (HashMap<u64, Moved>, u64),
}

/// Where a block is read instead.
#[derive(Clone, Copy)]
pub struct Moved {
    /// Where on the volume.
    pub place: u64,
    /// What the block begins with, if not with what is there; big-endian.
    pub first: Option<u32>,
}

/// Blocks as they are on the disk. One that is asked for is young; when so many are, the old ones go, and the young are old.
#[derive(Default)]
struct Cache {
    young: HashMap<u64, Box<[u8]>>,
    old: HashMap<u64, Box<[u8]>>,
}

impl Volume {
    /// Opens the source of a mount, a path of the rump kernel, for writing too if it allows that and the mount wants it.
    ///
    /// `EINVAL` without a source, `ENOTBLK` for what is neither block device nor file, `EBUSY` if it is mounted already.
    pub fn open(request: &Request<'_>) -> Result<Self> {
        let view = request.view.filter(|_| !request.source.is_empty()).ok_or(Errno::EINVAL)?;
        let open = |flags| view.open(&view.cwd, request.source, flags, 0);
        let for_writing = if request.flags & MNT_RDONLY == 0 { open(O_RDWR) } else { Err(Errno::EROFS) };
        let (file, writable) = match for_writing {
            Ok(file) => (file, true),
            Err(Errno::EISDIR) => return Err(Errno::ENOTBLK),
            Err(_) => (open(O_RDONLY)?, false),
        };
        let vnode = file.at.node.vnode();
        if !matches!(vnode.kind, Kind::Block | Kind::Regular) {
            return Err(Errno::ENOTBLK);
        }
        let size = file.size().ok_or(Errno::ENOTBLK)?;
        if vnode.mounted.swap(true, Ordering::Relaxed) {
            return Err(Errno::EBUSY);
        }
        let (host, cache, moved) = (request.host.clone(), Mutex::default(), (HashMap::new(), 1));
        Ok(Self { file, host, size, writable, cache, moved })
    }

    /// Has blocks read from elsewhere from now on. It is for a volume that is only read.
    pub fn read_elsewhere(&mut self, moved: HashMap<u64, Moved>, block_bytes: u64) {
        lock(&self.cache).clear(&*self.host);
        self.moved = (moved, block_bytes);
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The host.
    pub fn host(&self) -> &dyn Rumpuser {
        &*self.host
    }

    /// Whether it can be written.
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// Fills `buf` with content, past the cache; `EIO` where the volume ends before.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (moved, block_bytes) = &self.moved;
        if moved.is_empty() {
            return self.read_here(offset, buf);
        }
        for (block, at, piece) in pieces(*block_bytes as usize, offset, buf.len()) {
            let from = block * block_bytes + at as u64;
            let Some(Moved { place, first }) = moved.get(&block) else {
                self.read_here(from, &mut buf[piece])?;
                continue;
            };
            let out = &mut buf[piece];
            self.read_here(place + at as u64, out)?;
            let first = first.map_or(Vec::new(), |first| first.to_be_bytes().to_vec());
            out.iter_mut().zip(first.iter().skip(at)).for_each(|(out, byte)| *out = *byte);
        }
        Ok(())
    }

    fn read_here(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inside(offset, buf.len())?;
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(offset + done as u64, &mut buf[done..])? {
                0 => return Err(Errno::EIO),
                len => done += len,
            }
        }
        Ok(())
    }

    /// Fills `buf` with structure, which is kept for the next time.
    pub fn read_cached(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inside(offset, buf.len())?;
        let mut cache = lock(&self.cache);
        for (block, at, piece) in pieces(BLOCK_BYTES, offset, buf.len()) {
            let out = &mut buf[piece];
            if let Some(bytes) = cache.get(block) {
                out.copy_from_slice(bytes.get(at..at + out.len()).ok_or(Errno::EIO)?);
                continue;
            }
            let begin = block * BLOCK_BYTES as u64;
            let mut bytes = vec![0; (self.size - begin).min(BLOCK_BYTES as u64) as usize].into_boxed_slice();
            self.read(begin, &mut bytes)?;
            out.copy_from_slice(bytes.get(at..at + out.len()).ok_or(Errno::EIO)?);
            cache.put(&*self.host, block, bytes);
        }
        Ok(())
    }

    /// Returns `N` bytes of structure.
    pub fn bytes<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_cached(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes, on the host at once; `EIO` behind the volume's end, `EROFS` if it cannot be written.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        if !self.writable {
            return Err(Errno::EROFS);
        }
        self.inside(offset, data.len())?;
        let mut cache = lock(&self.cache);
        for (block, at, piece) in pieces(BLOCK_BYTES, offset, data.len()) {
            if let Some(bytes) = cache.get(block).and_then(|bytes| bytes.get_mut(at..at + piece.len())) {
                bytes.copy_from_slice(&data[piece]);
            }
        }
        let mut done = 0;
        while done < data.len() {
            match self.file.write_at(offset + done as u64, &data[done..]) {
                Ok(len @ 1..) => done += len,
                failed => {
                    // Nobody knows what is on the disk now.
                    pieces(BLOCK_BYTES, offset, data.len()).for_each(|(block, ..)| cache.forget(&*self.host, block));
                    return Err(failed.err().unwrap_or(Errno::EIO));
                }
            }
        }
        Ok(())
    }

    /// Waits until everything written is on the host's disk.
    pub fn sync(&self) -> Result<()> {
        if self.writable { self.file.sync() } else { Ok(()) }
    }

    fn inside(&self, offset: u64, len: usize) -> Result<()> {
        let end = offset.checked_add(len as u64);
        if end.is_some_and(|end| end <= self.size) { Ok(()) } else { Err(Errno::EIO) }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        lock(&self.cache).clear(&*self.host);
        self.file.at.node.vnode().mounted.store(false, Ordering::Relaxed);
    }
}

impl Cache {
    fn get(&mut self, block: u64) -> Option<&mut Box<[u8]>> {
        if let Some(bytes) = self.old.remove(&block) {
            self.young.insert(block, bytes);
        }
        self.young.get_mut(&block)
    }

    /// Keeps a block, if there is memory for it.
    fn put(&mut self, host: &dyn Rumpuser, block: u64, bytes: Box<[u8]>) {
        if self.young.len() >= GENERATION {
            let gone = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            host.release(gone.len() * BLOCK_BYTES);
        }
        if host.reserve(BLOCK_BYTES).is_err() {
            self.clear(host);
        } else {
            self.young.insert(block, bytes);
        }
    }

    fn forget(&mut self, host: &dyn Rumpuser, block: u64) {
        if self.young.remove(&block).or_else(|| self.old.remove(&block)).is_some() {
            host.release(BLOCK_BYTES);
        }
    }

    fn clear(&mut self, host: &dyn Rumpuser) {
        host.release((self.young.len() + self.old.len()) * BLOCK_BYTES);
        *self = Self::default();
    }
}

/// Numbers in a structure of an image. What lies outside of it reads as 0; checks of what must be there come first.
pub trait Field {
    /// A little-endian number of two bytes.
    fn le16(&self, at: usize) -> u16;
    /// A little-endian number of four bytes.
    fn le32(&self, at: usize) -> u32;
    /// A little-endian number of eight bytes.
    fn le64(&self, at: usize) -> u64;
}

impl Field for [u8] {
    fn le16(&self, at: usize) -> u16 {
        self.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn le32(&self, at: usize) -> u32 {
        self.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn le64(&self, at: usize) -> u64 {
        self.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}
