//! Calls on a file of the host that go straight to memory of the program: the host finds out itself whether that is good.

use rustix::fs::{self, SeekFrom};

use super::{HostFd, Result, raw};

/// Which way a call moves data, and where in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether it writes.
    pub writes: bool,
    /// Whether the memory is an array of parts (struct iovec).
    pub vector: bool,
    /// At which offset; `None` for the position, which then moves.
    pub at: Option<u64>,
}

/// read(2), write(2), and their forms with an offset or an array: `address` and `count` as they take them.
///
/// # Safety
///
/// The program has named the memory as the call's to read, or to overwrite. An array lies where it says.
pub unsafe fn transfer(fd: HostFd, way: Way, address: u64, count: usize) -> Result<usize> {
    const READ: usize = 0;
    const WRITE: usize = 1;
    const PREAD: usize = 17;
    const PWRITE: usize = 18;
    const READV: usize = 19;
    const WRITEV: usize = 20;
    const PREADV: usize = 295;
    const PWRITEV: usize = 296;
    let number = match (way.writes, way.vector, way.at.is_some()) {
        (false, false, false) => READ,
        (true, false, false) => WRITE,
        (false, false, true) => PREAD,
        (true, false, true) => PWRITE,
        (false, true, false) => READV,
        (true, true, false) => WRITEV,
        (false, true, true) => PREADV,
        (true, true, true) => PWRITEV,
    };
    let offset = way.at.unwrap_or(0) as usize;
    // SAFETY: passed on to the caller; the host checks all addresses.
    unsafe { raw::syscall6(number, [fd.0 as usize, address as usize, count, offset, 0, 0]) }
}

/// lseek(2), by numbers as the host has them.
pub fn seek(fd: HostFd, offset: i64, whence: i32) -> Result<u64> {
    const LSEEK: usize = 8;
    // SAFETY: no pointers.
    unsafe { raw::syscall3(LSEEK, fd.0 as usize, offset as usize, whence as usize).map(|at| at as u64) }
}

/// Where the next read or write begins.
pub fn position(fd: HostFd) -> Result<u64> {
    fs::tell(fd.borrow()?)
}

/// Moves the position.
pub fn set_position(fd: HostFd, at: u64) -> Result<()> {
    fs::seek(fd.borrow()?, SeekFrom::Start(at)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::memfd;
    use super::*;

    #[test]
    fn data_goes_both_ways_in_all_forms() {
        let file = memfd(c"direct").unwrap();
        let (text, mut buf) = (*b"0123456789", [0u8; 16]);
        let array = [text.as_ptr() as u64, 4, text[4..].as_ptr() as u64, 6];
        let way = |writes, vector, at| Way { writes, vector, at };
        // SAFETY: the addresses are those of `text`, `buf` and `array`.
        unsafe {
            assert_eq!(transfer(file.fd(), way(true, false, None), text.as_ptr() as u64, 10), Ok(10));
            assert_eq!((position(file.fd()), set_position(file.fd(), 8)), (Ok(10), Ok(())));
            assert_eq!(transfer(file.fd(), way(true, true, None), array.as_ptr() as u64, 2), Ok(10));
            assert_eq!(transfer(file.fd(), way(true, true, Some(2)), array.as_ptr() as u64, 1), Ok(4));
            assert_eq!(transfer(file.fd(), way(false, false, Some(0)), buf.as_mut_ptr() as u64, 16), Ok(16));
            assert_eq!(&buf, b"0101236701234567");
            assert_eq!(transfer(file.fd(), way(false, false, None), buf.as_mut_ptr() as u64, 16), Ok(0));
            assert_eq!(transfer(file.fd(), way(false, false, Some(0)), 8, 16), Err(super::super::Error::FAULT));
        }
        assert_eq!((seek(file.fd(), -3, 2), seek(file.fd(), -1, 0)), (Ok(15), Err(super::super::Error::INVAL)));
    }
}
