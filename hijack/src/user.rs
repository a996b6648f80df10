//! Reads and writes the program's memory: the only file that follows the program's pointers.
//!
//! A bad address becomes `EFAULT` and not a fault in the library: little is copied directly once its pages are known
//! to be readable or writable ([`pages`]); all else is copied by the host kernel (process_vm_readv(2) on this very process). Where the
//! host refuses that call (an old kernel, a strict sandbox), the bytes are copied directly and a bad address
//! faults, as it would have in the program's own code.

use core::ffi::CStr;
use core::ops::Deref;
use std::ffi::CString;

use abi::socket::IoVec;
use abi::{Errno, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::pages::{self, PAGE, Page};
use crate::raw;

/// Most elements that a vector call takes (`IOV_MAX`).
const IOV_MAX: usize = 1024;

/// Most pages of which the host is asked one by one.
const FEW: usize = 4;

/// Fills `into` with the program's bytes at `addr`; `EFAULT` if not all of them can be read.
pub fn read_bytes(addr: usize, into: &mut [u8]) -> Result<()> {
    if into.is_empty() {
        return Ok(());
    }
    if readable(addr, into.len())? {
        // SAFETY: `into` is ours, and the pages could be read a moment ago.
        unsafe { core::ptr::copy(addr as *const u8, into.as_mut_ptr(), into.len()) };
        return Ok(());
    }
    let generation = pages::generation();
    match copy(libc::SYS_process_vm_readv, into.as_mut_ptr() as usize, addr, into.len()) {
        Ok(n) if n == into.len() => {
            pages::note_readable(addr, n, generation);
            Ok(())
        }
        Err(error) if refused(error) => {
            mapped(addr)?;
            // SAFETY: `into` is ours and as long as the copy; the program vouches for `addr`.
            unsafe { core::ptr::copy(addr as *const u8, into.as_mut_ptr(), into.len()) };
            Ok(())
        }
        _ => Err(Errno::EFAULT),
    }
}

/// Whether `len` bytes at `addr` are known to be readable, or few, of which the host is asked; `EFAULT` if they are known not to be.
fn readable(addr: usize, len: usize) -> Result<bool> {
    if pages::are_readable(addr, len) {
        return Ok(true);
    }
    let (first, last) = (addr / PAGE, addr.checked_add(len - 1).ok_or(Errno::EFAULT)? / PAGE);
    if last - first >= FEW {
        return Ok(false);
    }
    for page in first..=last {
        match pages::look(page * PAGE) {
            Page::Readable => {}
            Page::Unreadable => return Err(Errno::EFAULT),
            Page::Unknown => return Ok(false),
        }
    }
    Ok(true)
}

/// Stores `bytes` at the program's `addr`; `EFAULT` if not all of it can be written.
pub fn write_bytes(addr: usize, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if pages::written_plainly() && readable(addr, bytes.len())? {
        // SAFETY: the pages are there; that they may be written the program vouches for, as without the library.
        unsafe { core::ptr::copy(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
        return Ok(());
    }
    if pages::are_writable(addr, bytes.len()) {
        // SAFETY: the pages could be written a moment ago.
        unsafe { core::ptr::copy(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
        return Ok(());
    }
    let generation = pages::generation();
    match copy(libc::SYS_process_vm_writev, bytes.as_ptr() as usize, addr, bytes.len()) {
        Ok(n) if n == bytes.len() => {
            pages::note_writable(addr, n, generation);
            Ok(())
        }
        Err(error) if refused(error) => {
            mapped(addr)?;
            // SAFETY: `bytes` is ours and as long as the copy; the program vouches for `addr`.
            unsafe { core::ptr::copy(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
            Ok(())
        }
        _ => Err(Errno::EFAULT),
    }
}

/// Has the host copy `len` bytes between our memory and the program's, and returns how many it did.
fn copy(call: i64, ours: usize, theirs: usize, len: usize) -> Result<usize> {
    let local = IoVec { iov_base: ours as u64, iov_len: len as u64 };
    let remote = IoVec { iov_base: theirs as u64, iov_len: len as u64 };
    let (local, remote) = (&raw const local as usize, &raw const remote as usize);
    raw::checked(raw::call(call, [raw::getpid() as usize, local, 1, remote, 1, 0]))
}

/// Whether the host does not let a process copy so, whatever the address.
fn refused(error: Errno) -> bool {
    matches!(error, Errno::ENOSYS | Errno::EPERM)
}

/// `EFAULT` for the null pointer and its neighbours, which no program has mapped.
fn mapped(addr: usize) -> Result<()> {
    if addr < PAGE { Err(Errno::EFAULT) } else { Ok(()) }
}

/// Reads the C structure at `addr`.
pub fn read<T: FromBytes + IntoBytes>(addr: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    read_bytes(addr, value.as_mut_bytes())?;
    Ok(value)
}

/// Stores the C structure `value` at `addr`.
pub fn write<T: IntoBytes + Immutable + ?Sized>(addr: usize, value: &T) -> Result<()> {
    write_bytes(addr, value.as_bytes())
}

/// Reads the C structure at `addr` unless the pointer is null.
pub fn read_if<T: FromBytes + IntoBytes>(addr: usize) -> Result<Option<T>> {
    if addr == 0 { Ok(None) } else { read(addr).map(Some) }
}

/// Reads an array of `count` vector elements.
///
/// `EINVAL` if there are more than 1024, or if their lengths add up to more than a call can return.
pub fn read_iovecs(addr: usize, count: usize) -> Result<Vec<IoVec>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut vector = vec![IoVec::new_zeroed(); count];
    read_bytes(addr, vector.as_mut_bytes())?;
    let mut total = 0u64;
    for element in &vector {
        total = total.checked_add(element.iov_len).filter(|&sum| sum <= isize::MAX as u64).ok_or(Errno::EINVAL)?;
    }
    Ok(vector)
}

/// Room for a string: small, because the child of posix_spawn(3) has a stack of 32 KiB; longer ones are rare.
const STRING: usize = 1040;

/// A string of the program, copied to the stack.
#[derive(Clone)]
pub struct UserString {
    /// The string, its NUL, and rubbish.
    bytes: [u8; STRING],
}

impl UserString {
    /// Copies a string that is not the program's; `ENAMETOOLONG` if it is longer than the rump kernel takes.
    pub fn new(text: &[u8]) -> Result<Self> {
        let mut string = UserString { bytes: [0; STRING] };
        let room = string.bytes.get_mut(..text.len()).filter(|_| text.len() < STRING);
        room.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(text);
        Ok(string)
    }

    /// Whether the program's string is longer than this.
    pub fn is_cut(&self) -> bool {
        !self.bytes.get(..STRING - 1).unwrap_or_default().contains(&0)
    }
}

impl Deref for UserString {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

/// Reads the string at `addr`; `EFAULT` if it leaves mapped memory.
///
/// Of a string that is longer than almost all paths only the beginning is kept ([`UserString::is_cut`]).
pub fn read_cstr(addr: usize) -> Result<UserString> {
    let mut string = UserString { bytes: [0; STRING] };
    let mut done = 0;
    while done < STRING - 1 {
        let from = addr.wrapping_add(done);
        let to_page_end = PAGE - from % PAGE;
        let length = to_page_end.min(STRING - 1 - done);
        let Some(piece) = string.bytes.get_mut(done..done + length) else { break };
        if readable(from, length)? {
            // SAFETY: the rest of a page that could be read a moment ago.
            unsafe { copy_to_end(from, piece) };
        } else {
            read_bytes(from, piece)?;
        }
        if piece.contains(&0) {
            break;
        }
        done += length;
    }
    Ok(string)
}

/// Fills `piece` from `addr` up to a NUL and not beyond it, where a memory checker of the program's would see a fault.
///
/// # Safety
/// As many bytes as `piece` has can be read.
unsafe fn copy_to_end(addr: usize, piece: &mut [u8]) {
    for (at, to) in piece.iter_mut().enumerate() {
        // SAFETY: as the caller says. Volatile, or the loop becomes a call of strlen and memcpy.
        *to = unsafe { core::ptr::read_volatile((addr + at) as *const u8) };
        if *to == 0 {
            break;
        }
    }
}

/// Longest path of the host, its NUL included.
const HOST_PATH: usize = 4096;

/// Reads a path, which may be long; `ENAMETOOLONG` if neither kernel takes one so long.
pub fn read_path(addr: usize) -> Result<CString> {
    let path = read_string(addr, HOST_PATH)?;
    if path.len() < HOST_PATH { CString::new(path).map_err(|_| Errno::EFAULT) } else { Err(Errno::ENAMETOOLONG) }
}

/// Reads a string without its NUL: `max` bytes of one that does not end within them.
pub fn read_string(addr: usize, max: usize) -> Result<Vec<u8>> {
    let mut string = Vec::new();
    while string.len() < max {
        let from = addr.wrapping_add(string.len());
        let mut piece = [0u8; PAGE];
        let piece = piece.get_mut(..(PAGE - from % PAGE).min(max - string.len())).unwrap_or_default();
        read_bytes(from, piece)?;
        let end = piece.iter().position(|byte| *byte == 0);
        string.extend_from_slice(piece.get(..end.unwrap_or(piece.len())).unwrap_or_default());
        if end.is_some() {
            break;
        }
    }
    Ok(string)
}

/// Reads a list of pointers up to the null that ends it, `most` at most.
pub fn read_pointers(addr: usize, most: usize) -> Result<Vec<usize>> {
    let mut pointers = Vec::new();
    while pointers.len() < most {
        match read::<usize>(addr.wrapping_add(pointers.len() * size_of::<usize>()))? {
            0 => break,
            pointer => pointers.push(pointer),
        }
    }
    Ok(pointers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_read_to_its_end() {
        let string = c"/rump/etc/passwd";
        assert_eq!(&*read_cstr(string.as_ptr() as usize).unwrap(), string);
    }

    #[test]
    fn a_long_string_keeps_more_than_the_kernel_takes() {
        let long = [b'x'; 8192];
        assert!(read_cstr(long.as_ptr() as usize).unwrap().is_cut());
    }

    #[test]
    fn a_path_of_the_host_may_be_longer() {
        let long = CString::new([b'x'; 3000]).unwrap();
        assert_eq!(read_path(long.as_ptr() as usize), Ok(long.clone()));
        let longer = CString::new([b'x'; 9000]).unwrap();
        assert_eq!(read_path(longer.as_ptr() as usize), Err(Errno::ENAMETOOLONG));
        let list = [3usize, 2, 1, 0, 7];
        assert_eq!(read_pointers(list.as_ptr() as usize, 9), Ok(vec![3, 2, 1]));
        assert_eq!(read_pointers(list.as_ptr() as usize, 2), Ok(vec![3, 2]));
    }

    #[test]
    fn bad_addresses_are_faults() {
        assert_eq!(read::<u64>(0), Err(Errno::EFAULT));
        assert_eq!(write(8, &7u32), Err(Errno::EFAULT));
        assert_eq!(read_cstr(0).map(drop), Err(Errno::EFAULT));
        assert_eq!(read_bytes(usize::MAX - 2, &mut [0; 2]), Err(Errno::EFAULT));
    }

    #[test]
    fn values_go_there_and_back() {
        let mut there = 0u64;
        write(&raw mut there as usize, &42u64).unwrap();
        assert_eq!(read::<u64>(&raw const there as usize), Ok(42));
        assert_eq!(there, 42);
        assert_eq!(read_if::<u64>(0), Ok(None));
    }

    #[test]
    fn vectors_are_bounded() {
        let huge = [IoVec { iov_base: 0, iov_len: u64::MAX / 2 }; 2];
        assert_eq!(read_iovecs(huge.as_ptr() as usize, 2).map(drop), Err(Errno::EINVAL));
        assert_eq!(read_iovecs(huge.as_ptr() as usize, 1025).map(drop), Err(Errno::EINVAL));
        assert_eq!(read_iovecs(huge.as_ptr() as usize, 0).map(|v| v.len()), Ok(0));
    }
}
