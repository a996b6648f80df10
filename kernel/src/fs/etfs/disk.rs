//! Disks: windows into files and devices of the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::{Errno, Result};

use crate::config::Disks;
use crate::rumpuser::HostFile;

/// What all disks have in common: their sectors, and the faults that are injected.
#[derive(Default)]
pub(super) struct Behaviour {
    pub sector_shift: u32,
    pub fail: u32,
    /// The last number of the generator.
    pub drawn: AtomicU32,
}

impl Behaviour {
    /// Fails now and then, as `RUMP_BLKFAIL` says.
    fn draw(&self) -> Result<()> {
        if self.fail == 0 {
            return Ok(());
        }
        let next = |last: u32| last.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        let last = self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let drawn = last.map_or_else(next, next);
        if drawn % Disks::REQUESTS < self.fail { Err(Errno::EIO) } else { Ok(()) }
    }
}

/// A disk: a window into a host file, with an end.
pub(super) struct Disk {
    pub file: Box<dyn HostFile>,
    pub writable: bool,
    pub offset: u64,
    pub size: u64,
    pub gone: AtomicBool,
    pub behaviour: Arc<Behaviour>,
}

impl Disk {
    pub fn sync(&self) -> Result<()> {
        if self.writable { self.file.sync() } else { Ok(()) }
    }
}

/// An open disk.
pub struct OpenDisk {
    pub(super) disk: Arc<Disk>,
    /// Opened as a character device: whole sectors only. A block device takes any length, as through a buffer cache;
    /// but what is written is on the host at once.
    pub(super) raw: bool,
}

impl OpenDisk {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.disk.size
    }

    /// Reads; less than asked for where the disk ends, 0 at its end, `EINVAL` behind that.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = self.transfer(offset, buf.len())?;
        self.disk.file.read_at(self.disk.offset + offset, &mut buf[..len])
    }

    /// Writes; less than asked for where the disk ends, `EINVAL` behind its end.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        match self.transfer(offset, data.len())? {
            // At the end Linux says this; NetBSD takes nothing, which makes programs try for ever.
            0 if !data.is_empty() => Err(Errno::ENOSPC),
            len => self.disk.file.write_at(self.disk.offset + offset, &data[..len]),
        }
    }

    /// Waits until everything written is on the host's disk.
    pub fn sync(&self) -> Result<()> {
        self.disk.sync()
    }

    /// How many of `len` bytes can be moved at `offset`.
    fn transfer(&self, offset: u64, len: usize) -> Result<usize> {
        if self.disk.gone.load(Ordering::Relaxed) {
            return Err(Errno::ENXIO);
        }
        let sector = 1 << self.disk.behaviour.sector_shift;
        if self.raw && !(offset.is_multiple_of(sector) && (len as u64).is_multiple_of(sector)) {
            return Err(Errno::EINVAL);
        }
        let rest = self.disk.size.checked_sub(offset).ok_or(Errno::EINVAL)?;
        self.disk.behaviour.draw()?;
        Ok(usize::try_from(rest).map_or(len, |rest| rest.min(len)))
    }
}
