//! Regular files under a key.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use abi::{Errno, Result};

use crate::rumpuser::{Access, HostFile, Rumpuser};
use crate::vfs::pipe::Ways;

/// A regular file, which goes straight to the host's: reads end where that ends, writes make it longer.
pub(super) struct Passage {
    rumpuser: Arc<dyn Rumpuser>,
    hostpath: PathBuf,
    offset: u64,
    /// Opened for the first reader, and kept.
    reader: OnceLock<Box<dyn HostFile>>,
    /// Opened for the first writer, and kept.
    writer: OnceLock<Box<dyn HostFile>>,
    pub gone: AtomicBool,
}

impl Passage {
    pub fn new(rumpuser: Arc<dyn Rumpuser>, hostpath: &Path, offset: u64) -> Self {
        let (reader, writer) = (OnceLock::new(), OnceLock::new());
        Self { rumpuser, hostpath: hostpath.to_owned(), offset, reader, writer, gone: AtomicBool::new(false) }
    }

    pub fn open(&self, ways: Ways) -> Result<()> {
        let wanted = [(ways.read, &self.reader, Access::Read), (ways.write, &self.writer, Access::Write)];
        for (_, file, access) in wanted.iter().filter(|(wanted, file, _)| *wanted && file.get().is_none()) {
            let _ = file.set(self.rumpuser.open_host(&self.hostpath, *access)?);
        }
        Ok(())
    }

    fn host_offset(&self, offset: u64) -> Result<u64> {
        self.offset.checked_add(offset).filter(|at| *at <= i64::MAX as u64).ok_or(Errno::EINVAL)
    }

    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.reader.get().ok_or(Errno::EBADF)?.read_at(self.host_offset(offset)?, buf)
    }

    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.writer.get().ok_or(Errno::EBADF)?.write_at(self.host_offset(offset)?, data)
    }

    pub fn sync(&self) -> Result<()> {
        self.writer.get().map_or(Ok(()), |file| file.sync())
    }
}
