//! Unpacking blocks, and keeping those that were used last.

use std::io::Read;
use std::sync::{Arc, Mutex};

use abi::{Errno, Result};

use crate::proc::lock;
use crate::rumpuser::Rumpuser;

/// How an image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zlib's format.
    Gzip,
    /// xz.
    Xz,
    /// lz4, bare blocks.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Memory that unpacking xz may take, in KiB: a dictionary is no larger than a block.
const XZ_KIB: u32 = 16 * 1024;

/// The window that Zstandard may have.
const ZSTD_BYTES: u64 = 8 << 20;

impl Compression {
    /// The compression with a number of the superblock.
    pub fn by_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Gzip,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            _ => return None,
        })
    }

    /// Unpacks a block, which must not become longer than `most`; `EIO` if it is broken.
    pub fn unpack(self, packed: &[u8], most: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        match self {
            Self::Gzip => {
                content =
                    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, most).map_err(|_| Errno::EIO)?;
            }
            Self::Lz4 => {
                content.resize(most, 0);
                let len = lz4_flex::block::decompress_into(packed, &mut content).map_err(|_| Errno::EIO)?;
                content.truncate(len);
            }
            Self::Xz => {
                let reader = lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_KIB);
                reader.take(most as u64 + 1).read_to_end(&mut content).map_err(|_| Errno::EIO)?;
            }
            Self::Zstd => {
                content.resize(most, 0);
                let mut decoder = ruzstd::decoding::FrameDecoder::new();
                decoder.set_max_window_size(ZSTD_BYTES);
                let len = decoder.decode_all(packed, &mut content).map_err(|_| Errno::EIO)?;
                content.truncate(len);
            }
        }
        if content.len() <= most { Ok(content) } else { Err(Errno::EIO) }
    }
}

/// Blocks that were used last, by where they are; the last one at the end.
pub struct Cache {
    host: Arc<dyn Rumpuser>,
    most: usize,
    blocks: Mutex<Vec<(u64, Arc<Vec<u8>>)>>,
}

impl Cache {
    /// Makes a cache of at most `most` blocks.
    pub fn new(host: Arc<dyn Rumpuser>, most: usize) -> Self {
        Self { host, most, blocks: Mutex::default() }
    }

    /// The host, whose memory it takes.
    pub fn host(&self) -> &Arc<dyn Rumpuser> {
        &self.host
    }

    /// Returns the block at a place, made by `make` if it is not there.
    pub fn get(&self, place: u64, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        let mut blocks = lock(&self.blocks);
        if let Some(at) = blocks.iter().position(|(other, _)| *other == place) {
            let found = blocks.remove(at);
            let block = found.1.clone();
            blocks.push(found);
            return Ok(block);
        }
        drop(blocks);
        let block = Arc::new(make()?);
        let mut blocks = lock(&self.blocks);
        if blocks.iter().all(|(other, _)| *other != place) && self.host.reserve(block.len()).is_ok() {
            blocks.push((place, block.clone()));
            if blocks.len() > self.most {
                let (_, gone) = blocks.remove(0);
                self.host.release(gone.len());
            }
        }
        Ok(block)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let bytes: usize = lock(&self.blocks).iter().map(|(_, block)| block.len()).sum();
        self.host.release(bytes);
    }
}
