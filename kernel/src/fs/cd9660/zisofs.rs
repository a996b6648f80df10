//! Files that mkzftree(1) or xorriso(1) have compressed, which Rock Ridge marks by "ZF" (the "zisofs format", version 1): blocks of
//! zlib's behind a table of where each begins. An empty block is all zeros.

use abi::{Errno, Result};

use crate::fs::volume::Field;

/// What such a file begins with.
const MAGIC: [u8; 8] = [0x37, 0xe4, 0x53, 0x96, 0xc9, 0xdb, 0xd6, 0x07];
/// Binary logarithms of the sizes that blocks may have.
const BLOCKS: std::ops::RangeInclusive<u8> = 15..=17;

/// How a file is compressed.
#[derive(Clone, Copy)]
pub struct Packed {
    /// Bytes of the content.
    pub size: u64,
    header_bytes: u64,
    block_bits: u8,
}

impl Packed {
    /// Takes it from an entry of Rock Ridge's; nothing for an algorithm that is not known, which shows the file as it is stored.
    pub fn new(entry: &[u8]) -> Option<Self> {
        let known = entry.get(4..6) == Some(b"pz") && entry.len() >= 16 && BLOCKS.contains(&entry[7]);
        known.then(|| Self {
            size: u64::from(entry.le32(8)),
            header_bytes: u64::from(entry[6]) * 4,
            block_bits: entry[7],
        })
    }

    /// Reads content that lies in the file; `stored` reads what the volume has of it. `EIO` for what is damaged.
    pub fn read(&self, offset: u64, buf: &mut [u8], stored: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<()> {
        let mut head = [0; 16];
        stored(0, &mut head)?;
        let same = head[..8] == MAGIC
            && u64::from(head.le32(8)) == self.size
            && u64::from(head[12]) * 4 == self.header_bytes
            && head[13] == self.block_bits;
        if !same {
            return Err(Errno::EIO);
        }
        let block_bytes = 1u64 << self.block_bits;
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (block, into) = (at / block_bytes, (at % block_bytes) as usize);
            let len = block_bytes.min(self.size.saturating_sub(block * block_bytes)) as usize;
            let piece = len.checked_sub(into).filter(|len| *len > 0).ok_or(Errno::EIO)?.min(buf.len() - done);
            let mut ends = [0; 8];
            stored(self.header_bytes + block * 4, &mut ends)?;
            let (begin, end) = (u64::from(ends.le32(0)), u64::from(ends.le32(4)));
            let out = &mut buf[done..done + piece];
            match end.checked_sub(begin).ok_or(Errno::EIO)? {
                0 => out.fill(0),
                // What does not become smaller grows by a little.
                bytes if bytes > 2 * block_bytes => return Err(Errno::EIO),
                bytes => {
                    let mut packed = vec![0; bytes as usize];
                    stored(begin, &mut packed)?;
                    let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&packed, len);
                    let unpacked = unpacked.map_err(|_| Errno::EIO)?;
                    out.copy_from_slice(unpacked.get(into..into + piece).ok_or(Errno::EIO)?);
                }
            }
            done += piece;
        }
        Ok(())
    }
}
