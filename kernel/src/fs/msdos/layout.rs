//! Where things are on a FAT volume: the boot sector (Microsoft's "FAT File System Specification", section 3).

use abi::{Errno, Result};

use crate::fs::volume::{Field, Volume};

/// Bytes of a directory entry.
pub const SLOT_BYTES: u64 = 32;
/// The first cluster's number.
pub const FIRST_CLUSTER: u32 = 2;

/// How wide the entries of the table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// FAT12.
    Twelve,
    /// FAT16.
    Sixteen,
    /// FAT32, of whose entries the upper four bits are not ours.
    ThirtyTwo,
}

/// The geometry of a volume, all in bytes.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How wide the entries of the table are.
    pub width: Width,
    /// Bytes of a cluster, a power of two.
    pub cluster_bytes: u64,
    /// Where the tables begin that are written; the first of them is read.
    pub tables: Vec<u64>,
    /// Where the root directory is, unless it is a chain of clusters: offset and number of slots.
    pub fixed_root: Option<(u64, u32)>,
    /// The root directory's first cluster; 0 if it is fixed.
    pub root_cluster: u32,
    /// Where the first cluster begins.
    pub data: u64,
    /// One more than the last cluster's number.
    pub end_cluster: u32,
    /// Where the summary of FAT32 is.
    pub summary: Option<u64>,
    /// Where the byte with the mark of a volume in use is.
    pub state: u64,
}

impl Layout {
    /// Reads the boot sector; `EINVAL` if it is none, or describes what cannot be.
    pub fn read(volume: &Volume) -> Result<Self> {
        let boot: [u8; 512] = volume.bytes(0).map_err(|_| Errno::EINVAL)?;
        let sector = u64::from(boot.le16(11));
        let cluster_sectors = u64::from(boot[13]);
        let (reserved, tables, root_slots) = (u64::from(boot.le16(14)), u64::from(boot[16]), u64::from(boot.le16(17)));
        let media = boot[21];
        let table_sectors = match boot.le16(22) {
            0 => u64::from(boot.le32(36)),
            sectors => u64::from(sectors),
        };
        let is_32 = boot.le16(22) == 0;
        let total = match boot.le16(19) {
            0 => u64::from(boot.le32(32)),
            sectors => u64::from(sectors),
        };
        let sound = matches!(sector, 512 | 1024 | 2048 | 4096)
            && cluster_sectors.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&tables)
            && table_sectors > 0
            && (media >= 0xf8 || media == 0xf0)
            && (root_slots * SLOT_BYTES).is_multiple_of(sector)
            && is_32 == (root_slots == 0);
        if !sound {
            return Err(Errno::EINVAL);
        }
        let first_table = reserved * sector;
        let table_bytes = table_sectors * sector;
        let root = first_table + tables * table_bytes;
        let data = root + root_slots * SLOT_BYTES;
        let clusters = (total * sector).checked_sub(data).ok_or(Errno::EINVAL)? / (cluster_sectors * sector);
        let width = match clusters {
            _ if is_32 => Width::ThirtyTwo,
            0..=4084 => Width::Twelve,
            _ => Width::Sixteen,
        };
        // A table that is too short for all clusters bounds them.
        let (bits, most) = match width {
            Width::Twelve => (12, 0xff5),
            Width::Sixteen => (16, 0xfff5),
            Width::ThirtyTwo => (32, 0x0fff_fff5),
        };
        let end = (clusters + 2).min(table_bytes * 8 / bits).min(most);
        let end_cluster = u32::try_from(end).map_err(|_| Errno::EINVAL)?;
        let root_cluster = if is_32 { boot.le32(44) } else { 0 };
        if end_cluster <= FIRST_CLUSTER || data > volume.size() {
            return Err(Errno::EINVAL);
        }
        if is_32 && !(FIRST_CLUSTER..end_cluster).contains(&root_cluster) {
            return Err(Errno::EINVAL);
        }
        // FAT32 can say that only one table is kept up to date.
        let mirroring = boot.le16(40);
        let only = (is_32 && mirroring & 0x80 != 0).then_some(u64::from(mirroring & 0xf));
        if only.is_some_and(|only| only >= tables) {
            return Err(Errno::EINVAL);
        }
        let written = (0..tables).filter(|table| only.is_none_or(|only| only == *table));
        let summary = Some(u64::from(boot.le16(48))).filter(|at| is_32 && *at > 0 && *at < reserved);
        Ok(Self {
            width,
            cluster_bytes: cluster_sectors * sector,
            tables: written.map(|table| first_table + table * table_bytes).collect(),
            fixed_root: (!is_32).then_some((root, root_slots as u32)),
            root_cluster,
            data,
            end_cluster,
            summary: summary.map(|at| at * sector),
            state: if is_32 { 65 } else { 37 },
        })
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> u32 {
        self.end_cluster - FIRST_CLUSTER
    }

    /// Whether a number is a cluster's.
    pub fn is_cluster(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.end_cluster).contains(&cluster)
    }

    /// Where a cluster begins; `EIO` if there is no such cluster.
    pub fn cluster(&self, cluster: u32) -> Result<u64> {
        if !self.is_cluster(cluster) {
            return Err(Errno::EIO);
        }
        Ok(self.data + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes)
    }
}
