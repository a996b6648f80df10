//! Memory that calls have named: the library's own is copied as it is, the program's with care, since it may be bad.

use std::sync::OnceLock;

use abi::Region;
use sysproxy::host::{Error, Result, memory};

/// How the program's memory is copied by who knows more of it than the host has to be asked: each answers `EFAULT` for memory that is
/// not there.
pub struct Copies {
    /// Fills a buffer from an address.
    pub read: fn(usize, &mut [u8]) -> abi::Result<()>,
    /// Stores bytes at an address.
    pub write: fn(usize, &[u8]) -> abi::Result<()>,
}

static COPIES: OnceLock<Copies> = OnceLock::new();

/// Has the program's memory copied so from now on; only the first one counts.
pub fn copy_by(copies: Copies) {
    _ = COPIES.set(copies);
}

/// Fills `buf` from address `addr`, which with all of `buf` lies in `region`.
///
/// # Safety
///
/// The call that named the region is under way, and names it as memory to read.
pub unsafe fn read(region: &Region, addr: u64, buf: &mut [u8]) -> Result<()> {
    debug_assert!(region.holds(addr, buf.len()));
    if region.own {
        // SAFETY: whoever waits for the call keeps it.
        unsafe { memory::read_plainly(addr, buf) };
        return Ok(());
    }
    match COPIES.get() {
        Some(copies) => (copies.read)(addr as usize, buf).map_err(|_| Error::FAULT),
        // SAFETY: the program named this memory as the call's to read.
        None => unsafe { memory::read(addr, buf) },
    }
}

/// Stores `data` at address `addr`, which with all of `data` lies in `region`.
///
/// # Safety
///
/// The call that named the region is under way, and names it as memory to overwrite.
pub unsafe fn write(region: &Region, addr: u64, data: &[u8]) -> Result<()> {
    debug_assert!(region.holds(addr, data.len()));
    if region.own {
        // SAFETY: whoever waits for the call keeps it.
        unsafe { memory::write_plainly(addr, data) };
        return Ok(());
    }
    match COPIES.get() {
        Some(copies) => (copies.write)(addr as usize, data).map_err(|_| Error::FAULT),
        // SAFETY: the program named this memory as the call's to overwrite.
        None => unsafe { memory::write(addr, data) },
    }
}
