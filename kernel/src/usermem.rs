//! The memory of a client, reached only by copying (copyin(9)).

use abi::{Errno, In, InOut, Out, Result, UserStr};
use sysproxy::host::Owned;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The longest path that a call takes, its NUL included (Linux's `PATH_MAX`).
pub const PATH_MAX: usize = 4096;
/// The same for NetBSD's programs, whose `PATH_MAX` it is: they count on `ENAMETOOLONG`.
const PATH_MAX_NETBSD: usize = 1024;

/// A client's memory. No lock of the kernel may be held across a method: it waits for the client. What a call has written itself it
/// must not read again: it may see what was there before.
pub trait UserMem: Send + Sync {
    /// Fills `buf` from client memory; `EFAULT` if it cannot be read or the client is gone.
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()>;
    /// Returns the string at `addr` without its NUL; `ENAMETOOLONG` if none ends within `max` bytes.
    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>>;
    /// Stores `data` into client memory; `EFAULT` if that is impossible.
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()>;
    /// Raises a signal (NetBSD's number) in the client.
    fn raise(&self, signal: i32);
    /// Whether [`UserMem::hand_over`] can work.
    fn takes_descriptors(&self) -> bool {
        false
    }
    /// Gives a descriptor of the host to the client, for its call number `request`.
    fn hand_over(&self, _request: u64, _fd: Owned) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether the client is on the kernel's host and of its user: it may then name files of the host.
    fn on_host(&self) -> bool {
        true
    }
    /// Whether the client is ours: data then moves in large pieces, not in those of the original.
    fn extended(&self) -> bool {
        true
    }
}

/// Typed copies on top of [`UserMem`].
impl dyn UserMem + '_ {
    /// Reads `len` bytes.
    pub fn read_bytes(&self, addr: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.fill(addr, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buf`. Nothing is asked for an empty one; a null pointer is `EFAULT` without asking.
    pub fn fill(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        match (buf.is_empty(), addr) {
            (true, _) => Ok(()),
            (_, 0) => Err(Errno::EFAULT),
            _ => self.copyin(addr, buf),
        }
    }

    /// Stores `data`. Nothing is sent for an empty one; a null pointer is `EFAULT` without asking.
    pub fn store(&self, addr: u64, data: &[u8]) -> Result<()> {
        match (data.is_empty(), addr) {
            (true, _) => Ok(()),
            (_, 0) => Err(Errno::EFAULT),
            _ => self.copyout(addr, data),
        }
    }

    /// Reads one structure.
    pub fn read<T: FromBytes + IntoBytes>(&self, from: In) -> Result<T> {
        let mut value = T::new_zeroed();
        self.fill(from.addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Reads one structure that the call may also write.
    pub fn read_inout<T: FromBytes + IntoBytes>(&self, from: InOut) -> Result<T> {
        self.read(In::at(from.addr, 0))
    }

    /// Writes one structure.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, to: Out, value: &T) -> Result<()> {
        self.store(to.addr, value.as_bytes())
    }

    /// Writes back one structure.
    pub fn write_inout<T: IntoBytes + Immutable + ?Sized>(&self, to: InOut, value: &T) -> Result<()> {
        self.store(to.addr, value.as_bytes())
    }

    /// Reads an array of `count` structures.
    pub fn read_array<T: FromBytes + IntoBytes>(&self, addr: u64, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize_with(count, T::new_zeroed);
        if size_of::<T>() != 0 && count != 0 {
            self.fill(addr, values.as_mut_slice().as_mut_bytes())?;
        }
        Ok(values)
    }

    /// The longest path of this client, its NUL included.
    pub fn path_max(&self) -> usize {
        if self.extended() { PATH_MAX } else { PATH_MAX_NETBSD }
    }

    /// Reads a path.
    pub fn path(&self, from: UserStr) -> Result<Vec<u8>> {
        if from.is_null() {
            return Err(Errno::EFAULT);
        }
        self.copyinstr(from.addr, self.path_max())
    }
}
