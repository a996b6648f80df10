//! Files of the host, which etfs shows in the rump kernel.

use std::path::Path;

use abi::{Errno, Result};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::retry_on_intr;

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
}

/// A file of a Linux host.
pub(super) struct LinuxFile {
    fd: rustix::fd::OwnedFd,
    kind: HostKind,
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
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)?;
        let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(errno)?.st_mode) {
            FileType::RegularFile => HostKind::Regular,
            FileType::BlockDevice => HostKind::Block,
            FileType::CharacterDevice => HostKind::Character,
            _ => HostKind::Other,
        };
        Ok(Self { fd, kind })
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
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
