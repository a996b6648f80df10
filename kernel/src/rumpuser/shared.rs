//! Memory of the host that a kernel shares with its clients.

use abi::Result;
use sysproxy::host::shared::{self as host, Status, Times};
use sysproxy::host::{self as raw, HostFd, Owned, errno};

use super::Access;

/// A growing piece of the host's memory, which clients can map. Its length is what [`SharedMemory::resize`] said last; nothing is
/// believed of what a client may have done to it.
pub trait SharedMemory: Send + Sync {
    /// Reads at an offset; what is not there reads as zeros. Returns how much there was.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize;
    /// Writes at an offset, growing if need be.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize>;
    /// Changes the length; growing shows zeros.
    fn resize(&self, len: u64) -> Result<()>;
    /// Takes the memory for a range in advance.
    fn allocate(&self, offset: u64, len: u64) -> Result<()>;
    /// Gives a range back; it reads as zeros.
    fn punch(&self, offset: u64, len: u64) -> Result<()>;
    /// Where data begins at or after `offset`.
    fn seek_data(&self, offset: u64) -> Result<u64>;
    /// Where a hole begins at or after `offset`.
    fn seek_hole(&self, offset: u64) -> Result<u64>;
    /// Writes at the end as the host knows it; returns where the data ended and how much was taken. One caller at a time.
    fn append(&self, data: &[u8]) -> Result<(u64, usize)>;
    /// What the host says of it: to be believed where a client may read and write it by itself.
    fn status(&self) -> Status;
    /// Sets the times that the host says.
    fn set_times(&self, times: Times) -> Result<()>;
    /// Bytes that it takes.
    fn used(&self) -> u64 {
        self.status().used
    }
    /// A descriptor for a client to map.
    fn descriptor(&self, access: Access) -> Result<Owned>;
}

/// Who keeps the descriptor of the memory.
pub trait Keeper: Send + Sync {
    /// Does something with the number.
    fn with<T>(&self, does: impl FnOnce(HostFd) -> T) -> T;
}

impl Keeper for Owned {
    fn with<T>(&self, does: impl FnOnce(HostFd) -> T) -> T {
        does(self.fd())
    }
}

/// Makes an empty memfd for the content of a file: nobody but its owner can open it anew, with another access mode, nobody can seal it, and the
/// kernel's own reading leaves the time of the last access alone.
pub fn file_memory() -> raw::Result<Owned> {
    let file = raw::memfd(c"rump-file")?;
    raw::fchmod(file.fd(), 0o600)?;
    host::set_manners(file.fd(), false, true)?;
    host::seal_seals(file.fd())?;
    Ok(file)
}

/// Memory of a Linux host: a memfd.
pub struct LinuxShared<K>(K);

impl LinuxShared<Owned> {
    /// Makes an empty one.
    pub fn new() -> Result<Self> {
        file_memory().map(Self).map_err(errno)
    }
}

impl<K: Keeper> LinuxShared<K> {
    /// Takes over a memfd.
    pub const fn keep(keeper: K) -> Self {
        Self(keeper)
    }
}

impl<K: Keeper> SharedMemory for LinuxShared<K> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let got = self.0.with(|fd| host::pread(fd, buf, offset)).unwrap_or(0);
        if let Some(rest) = buf.get_mut(got..) {
            rest.fill(0);
        }
        got
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.0.with(|fd| host::pwrite(fd, data, offset)).map_err(errno)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.0.with(|fd| host::resize(fd, len)).map_err(errno)
    }
    fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.0.with(|fd| host::allocate(fd, offset, len)).map_err(errno)
    }
    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.0.with(|fd| host::punch(fd, offset, len)).map_err(errno)
    }
    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.0.with(|fd| host::seek_data(fd, offset)).map_err(errno)
    }
    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.0.with(|fd| host::seek_hole(fd, offset)).map_err(errno)
    }
    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        self.0.with(|fd| host::append(fd, data)).map_err(errno)
    }
    fn status(&self) -> Status {
        self.0.with(host::status).unwrap_or_default()
    }
    fn set_times(&self, times: Times) -> Result<()> {
        self.0.with(|fd| host::set_times(fd, times)).map_err(errno)
    }
    fn descriptor(&self, access: Access) -> Result<Owned> {
        let flags = match access {
            Access::Read => 0,
            Access::Write => 1,
            Access::ReadWrite => 2,
        };
        self.0.with(|fd| host::reopen(fd, flags)).map_err(errno)
    }
}
