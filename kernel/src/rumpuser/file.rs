//! Files of the host, which etfs and hostfs show in the rump kernel.

use std::any::Any;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Mutex;

use abi::{Errno, Result};
use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::{ReadWriteFlags, retry_on_intr};
use sysproxy::host::{self, HostFd, Owned};

use crate::proc::lock;

/// What a host file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
}

/// What a host file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A file.
    Regular,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// Anything else.
    Other,
}

/// An open file of the host.
pub trait HostFile: Send + Sync {
    /// What it is.
    fn kind(&self) -> HostKind;
    /// Length in bytes, as it is now; 0 for a character device.
    fn size(&self) -> Result<u64>;
    /// Reads at an offset; 0 at the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;
    /// Writes at an offset.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize>;
    /// Waits until everything written is on the disk.
    fn sync(&self) -> Result<()>;
    /// Writes at the end, wherever that is at the moment; returns where the data ended and how much was taken.
    fn append(&self, _data: &[u8]) -> Result<(u64, usize)> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Changes the length; growing shows zeros.
    fn resize(&self, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Takes the room for a range in advance; the file reaches at least to its end then, unless `keep_size`.
    fn allocate(&self, _offset: u64, _len: u64, _keep_size: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Gives a range back; it reads as zeros, and the length stays.
    fn punch(&self, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Where data (or a hole) begins at or after `offset`; `ENXIO` if there is none.
    fn seek(&self, _offset: u64, _data: bool) -> Result<u64> {
        Err(Errno::EOPNOTSUPP)
    }
    /// A descriptor for a client to map, with the access that the file was opened for.
    fn share(&self) -> Result<Owned> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// A file of a Linux host.
pub(super) struct LinuxFile {
    fd: rustix::fd::OwnedFd,
    kind: HostKind,
    /// Held by whoever uses the position of the descriptor.
    position: Mutex<()>,
    /// What ends with it.
    _holds: Option<Box<dyn Any + Send + Sync>>,
}

impl LinuxFile {
    /// Opens a file that exists, without waiting for anybody.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = mode | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        Self::of(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)?)
    }

    /// Makes a file, or empties it.
    pub fn create(path: &Path) -> Result<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        Self::of(retry_on_intr(|| rustix::fs::open(path, flags, Mode::from_bits_retain(0o644))).map_err(errno)?)
    }

    /// Takes an open file.
    pub fn of(fd: rustix::fd::OwnedFd) -> Result<Self> {
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(errno)?.st_mode) {
            FileType::RegularFile => HostKind::Regular,
            FileType::BlockDevice => HostKind::Block,
            FileType::CharacterDevice => HostKind::Character,
            _ => HostKind::Other,
        };
        Ok(Self { fd, kind, position: Mutex::default(), _holds: None })
    }

    /// Keeps something as long as the file is open.
    pub fn holding(mut self, what: impl Any + Send + Sync) -> Self {
        self._holds = Some(Box::new(what));
        self
    }
}

pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_linux(error.raw_os_error())
}

impl HostFile for LinuxFile {
    fn kind(&self) -> HostKind {
        self.kind
    }

    fn size(&self) -> Result<u64> {
        match self.kind {
            // A block device has no st_size. The position serves nothing else.
            HostKind::Block => rustix::fs::seek(&self.fd, SeekFrom::End(0)).map_err(errno),
            HostKind::Character => Ok(0),
            _ => Ok(rustix::fs::fstat(&self.fd).map_err(errno)?.st_size.max(0) as u64),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buf, offset)).map_err(errno)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        retry_on_intr(|| rustix::io::pwrite(&self.fd, data, offset)).map_err(errno)
    }

    fn sync(&self) -> Result<()> {
        retry_on_intr(|| rustix::fs::fsync(&self.fd)).map_err(errno)
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        /// Write at the position of the descriptor, which moves.
        const AT_POSITION: u64 = u64::MAX;
        let _position = lock(&self.position);
        let data = [IoSlice::new(data)];
        let len = retry_on_intr(|| rustix::io::pwritev2(&self.fd, &data, AT_POSITION, ReadWriteFlags::APPEND))
            .map_err(errno)?;
        Ok((rustix::fs::tell(&self.fd).map_err(errno)?, len))
    }

    fn resize(&self, len: u64) -> Result<()> {
        retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len)).map_err(errno)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        let mode = if keep_size { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
        retry_on_intr(|| rustix::fs::fallocate(&self.fd, mode, offset, len)).map_err(errno)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        retry_on_intr(|| rustix::fs::fallocate(&self.fd, mode, offset, len)).map_err(errno)
    }

    fn seek(&self, offset: u64, data: bool) -> Result<u64> {
        let _position = lock(&self.position);
        let to = if data { SeekFrom::Data(offset) } else { SeekFrom::Hole(offset) };
        rustix::fs::seek(&self.fd, to).map_err(errno)
    }

    fn share(&self) -> Result<Owned> {
        use std::os::fd::AsRawFd;
        host::dup_from(HostFd(self.fd.as_raw_fd()), 0).map_err(host::errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_file_is_read_and_written_at_offsets() {
        let path = std::env::temp_dir().join(format!("hostfile-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let file = LinuxFile::open(&path, Access::ReadWrite).unwrap();
        let mut buf = [0; 8];
        assert_eq!((file.kind(), file.size()), (HostKind::Regular, Ok(10)));
        assert_eq!((file.read_at(6, &mut buf), &buf[..4]), (Ok(4), &b"6789"[..]));
        assert_eq!(file.write_at(12, b"end"), Ok(3));
        assert_eq!((file.size(), file.read_at(15, &mut buf), file.sync()), (Ok(15), Ok(0), Ok(())));
        let reader = LinuxFile::open(&path, Access::Read).unwrap();
        assert_eq!(reader.write_at(0, b"x"), Err(Errno::EBADF));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(LinuxFile::open(&path, Access::Read).map(drop), Err(Errno::ENOENT));
        assert_eq!(LinuxFile::open(Path::new("/tmp"), Access::Read).unwrap().kind(), HostKind::Other);
    }
}
