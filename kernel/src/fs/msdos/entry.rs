//! The short entry of a directory: what FAT knows of a file.

use abi::time::Timespec;

use super::{Shared, time};
use crate::fs::volume::Field;

/// Attribute: nobody may write.
pub const READ_ONLY: u8 = 0x01;
/// Attribute: the volume's own name, not a file.
pub const VOLUME_LABEL: u8 = 0x08;
/// Attribute: a directory.
pub const DIRECTORY: u8 = 0x10;
/// Attribute: changed since the last backup.
pub const ARCHIVE: u8 = 0x20;
/// Attributes that mark a piece of a long name.
pub const LONG_NAME: u8 = 0x0f;

/// A file's entry without its name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The attributes.
    pub attributes: u8,
    /// The first cluster; 0 if there is none.
    pub first: u32,
    /// Length in bytes; 0 for a directory.
    pub size: u32,
    /// Last access, a day.
    pub atime: Timespec,
    /// Last change.
    pub mtime: Timespec,
    /// When it was made.
    pub birthtime: Timespec,
}

impl Entry {
    /// A new entry.
    pub fn new(attributes: u8, first: u32, now: Timespec, offset: i64) -> Self {
        let (atime, mtime) = (time::to_day(now, offset), time::to_two_seconds(now, offset));
        Self { attributes, first, size: 0, atime, mtime, birthtime: time::to_hundredths(now, offset) }
    }

    /// Reads an entry.
    pub fn decode(raw: &[u8; 32], shared: &Shared) -> Self {
        let high = if shared.layout.fixed_root.is_none() { u32::from(raw.le16(20)) << 16 } else { 0 };
        let offset = shared.options.offset;
        let attributes = raw[11];
        Self {
            attributes,
            first: high | u32::from(raw.le16(26)),
            size: if attributes & DIRECTORY == 0 { raw.le32(28) } else { 0 },
            atime: time::decode(raw.le16(18), 0, 0, offset),
            mtime: time::decode(raw.le16(24), raw.le16(22), 0, offset),
            birthtime: time::decode(raw.le16(16), raw.le16(14), raw[13], offset),
        }
    }

    /// Writes the entry into its bytes, beside the name.
    pub fn encode(&self, raw: &mut [u8; 32], shared: &Shared) {
        let offset = shared.options.offset;
        raw[11] = self.attributes;
        let (date, clock, hundredths) = time::encode(self.birthtime, offset);
        raw[13] = hundredths;
        raw[14..16].copy_from_slice(&clock.to_le_bytes());
        raw[16..18].copy_from_slice(&date.to_le_bytes());
        raw[18..20].copy_from_slice(&time::encode(self.atime, offset).0.to_le_bytes());
        let (date, clock, _) = time::encode(self.mtime, offset);
        raw[22..24].copy_from_slice(&clock.to_le_bytes());
        raw[24..26].copy_from_slice(&date.to_le_bytes());
        set_first(raw, self.first, shared);
        raw[28..32].copy_from_slice(&self.size.to_le_bytes());
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }
}

/// Sets the first cluster.
pub fn set_first(raw: &mut [u8; 32], first: u32, shared: &Shared) {
    raw[26..28].copy_from_slice(&(first as u16).to_le_bytes());
    if shared.layout.fixed_root.is_none() {
        raw[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
    }
}
