//! Memory that calls have named: the library's own is copied as it is, the program's with care, since it may be bad.

use abi::Region;
use sysproxy::host::{Result, memory};

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
    // SAFETY: the program named this memory as the call's to read.
    unsafe { memory::read(addr, buf) }
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
    // SAFETY: the program named this memory as the call's to overwrite.
    unsafe { memory::write(addr, data) }
}
