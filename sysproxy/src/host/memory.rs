//! The process's own memory at addresses that someone else named: a bad one is `EFAULT`, not a crash.

use std::sync::atomic::{AtomicBool, Ordering};

use super::raw::{self, syscall6};
use super::{Error, Result};

/// Whether the host refuses `process_vm_readv` altogether (an old container's filter).
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Has all copies made plainly from now on: a tool that watches memory (valgrind) sees those only.
pub fn copy_plainly() {
    REFUSED.store(true, Ordering::Relaxed);
}

#[repr(C)]
struct IoVec {
    base: usize,
    len: usize,
}

/// Fills `buf` from address `addr`; `EFAULT` if some of it cannot be read.
///
/// # Safety
///
/// If the host refuses the checked copy, the bytes are read plainly: then the memory must be there.
pub unsafe fn read(addr: u64, buf: &mut [u8]) -> Result<()> {
    // SAFETY: the kernel writes to `buf` only; the plain read is the caller's to answer for.
    unsafe { copy(raw::PROCESS_VM_READV, buf.as_mut_ptr() as usize, addr as usize, buf.len()) }
}

/// Stores `data` at address `addr`; `EFAULT` if some of it cannot be written.
///
/// # Safety
///
/// The memory must be the caller's to overwrite. If the host refuses the checked copy, it must also be there.
pub unsafe fn write(addr: u64, data: &[u8]) -> Result<()> {
    // SAFETY: the kernel only reads `data`; what is overwritten is the caller's to answer for.
    unsafe { copy(raw::PROCESS_VM_WRITEV, data.as_ptr() as usize, addr as usize, data.len()) }
}

/// Fills `buf` from address `addr`.
///
/// # Safety
///
/// The memory must be there.
pub unsafe fn read_plainly(addr: u64, buf: &mut [u8]) {
    // SAFETY: `buf` is ours; the rest is the caller's to answer for.
    unsafe { core::ptr::copy(addr as *const u8, buf.as_mut_ptr(), buf.len()) };
}

/// Stores `data` at address `addr`.
///
/// # Safety
///
/// The memory must be there, and the caller's to overwrite.
pub unsafe fn write_plainly(addr: u64, data: &[u8]) {
    // SAFETY: `data` is ours; the rest is the caller's to answer for.
    unsafe { core::ptr::copy(data.as_ptr(), addr as *mut u8, data.len()) };
}

/// Copies `len` bytes between `local`, which is good, and `remote`, which may not be.
unsafe fn copy(call: usize, local: usize, remote: usize, len: usize) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    if remote.checked_add(len).is_none() {
        return Err(Error::FAULT);
    }
    let mut done = 0;
    while done < len && !REFUSED.load(Ordering::Relaxed) {
        let from = IoVec { base: local + done, len: len - done };
        let to = IoVec { base: remote + done, len: len - done };
        // SAFETY: both vectors have one element each; the kernel checks the addresses in them.
        let copied = unsafe {
            let (from, to) = (&raw const from as usize, &raw const to as usize);
            syscall6(call, [super::getpid() as usize, from, 1, to, 1, 0])
        };
        match copied {
            Ok(0) => return Err(Error::FAULT),
            Ok(n) => done += n,
            Err(Error::NOSYS | Error::PERM | Error::ACCESS) => REFUSED.store(true, Ordering::Relaxed),
            Err(error) => return Err(error),
        }
    }
    let (local, remote) = ((local + done) as *mut u8, (remote + done) as *mut u8);
    // SAFETY: one side is a slice of ours, the other the caller answers for; `copy` allows them to overlap.
    unsafe {
        match call {
            raw::PROCESS_VM_READV => core::ptr::copy(remote, local, len - done),
            _ => core::ptr::copy(local, remote, len - done),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_memory_is_copied_and_bad_memory_is_efault() {
        let from = *b"hello";
        let mut to = [0; 5];
        // SAFETY: `from` and `to` live here; the other addresses are refused by the host.
        unsafe {
            assert_eq!(read(from.as_ptr() as u64, &mut to), Ok(()));
            assert_eq!(to, from);
            assert_eq!(write(to.as_mut_ptr() as u64, b"HELLO"), Ok(()));
            assert_eq!(read(8, &mut to), Err(Error::FAULT));
            assert_eq!(write(u64::MAX - 2, b"HELLO"), Err(Error::FAULT));
        }
        assert_eq!(&to, b"HELLO");
    }
}
