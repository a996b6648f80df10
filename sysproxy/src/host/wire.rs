//! Where frames of a network come from and go to: an interface of the host (tap), and a file that several processes map.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{self, Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::raw::{self, syscall3};
use super::{Error, HostFd, Owned, Result, memory, owned};

/// See ioctl(2) and `linux/if_tun.h`.
const TUNSETIFF: usize = 0x4004_54ca;
const IFF_TAP: u16 = 0x2;
const IFF_NO_PI: u16 = 0x1000;
/// Length of Linux's `struct ifreq`, and of the name in it.
const IFREQ: usize = 40;
const NAME: usize = 16;

/// Opens an interface of the host that gives and takes Ethernet frames; non-blocking. It is made if it is not there, and goes with the descriptor then.
///
/// `EPERM` without the right to, `EBUSY` if somebody else has it, `ENOENT` or `ENODEV` on a host that has no such interfaces.
pub fn tap(name: &[u8]) -> Result<Owned> {
    let mut request = [0u8; IFREQ];
    let field = request.get_mut(..name.len()).filter(|_| name.len() < NAME).ok_or(Error::NAMETOOLONG)?;
    field.copy_from_slice(name);
    request[NAME..NAME + 2].copy_from_slice(&(IFF_TAP | IFF_NO_PI).to_ne_bytes());
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = owned(fs::open(c"/dev/net/tun", flags, Mode::empty())?);
    // SAFETY: the request is valid for the call to read and write.
    unsafe { syscall3(raw::IOCTL, device.fd().0 as usize, TUNSETIFF, request.as_mut_ptr() as usize)? };
    Ok(device)
}

/// A file that is mapped, shared with whoever else has it. What is in it may change at any time; a part that somebody has cut off the file is
/// `EFAULT`.
pub struct Mapping {
    file: Owned,
    at: u64,
    len: usize,
}

impl Mapping {
    /// Maps a file, which is made if it is not there, and made longer if it is shorter.
    pub fn open(path: &CStr, len: usize) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = owned(fs::open(path, flags, Mode::from_bits_retain(0o644))?);
        let status = fs::fstat(file.fd().borrow()?)?;
        if fs::FileType::from_raw_mode(status.st_mode) != fs::FileType::RegularFile {
            return Err(Error::INVAL);
        }
        if u64::try_from(status.st_size).unwrap_or(0) < len as u64 {
            fs::ftruncate(file.fd().borrow()?, len as u64)?;
        }
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the host chooses the place, so nothing of ours is replaced.
        let at = unsafe { mmap(core::ptr::null_mut(), len, rights, MapFlags::SHARED, file.fd().borrow()?, 0)? };
        Ok(Self { file, at: at as u64, len })
    }

    fn place(&self, offset: usize, len: usize) -> Result<u64> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len);
        end.map(|_| self.at + offset as u64).ok_or(Error::FAULT)
    }

    /// Reads bytes.
    pub fn load(&self, offset: usize, buf: &mut [u8]) -> Result<()> {
        // SAFETY: the range is in the mapping, which is there as long as the value is.
        unsafe { memory::read(self.place(offset, buf.len())?, buf) }
    }

    /// Writes bytes.
    pub fn store(&self, offset: usize, data: &[u8]) -> Result<()> {
        // SAFETY: the range is in the mapping, which no reference of ours looks into.
        unsafe { memory::write(self.place(offset, data.len())?, data) }
    }

    /// Replaces the word at an aligned offset if it is `old`; returns what it was.
    pub fn exchange(&self, offset: usize, old: u32, new: u32) -> Result<u32> {
        // Whether it is still there: a plain access to a part that was cut off is a signal.
        self.load(offset, &mut [0; 4])?;
        let at = self.place(offset, 4)?;
        if !at.is_multiple_of(4) {
            return Err(Error::FAULT);
        }
        // SAFETY: aligned, and in the mapping. Others change the word too, by atomic instructions only.
        let word = unsafe { &*(at as *const AtomicU32) };
        Ok(word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|found| found))
    }

    /// The file.
    pub fn fd(&self) -> HostFd {
        self.file.fd()
    }

    /// Makes a non-blocking descriptor that becomes readable when somebody calls write(2) on the file.
    pub fn watch(&self) -> Result<Owned> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, format!("/proc/self/fd/{}", self.fd().0), WatchFlags::MODIFY)?;
        Ok(owned(watch))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing of ours points into it: `exchange` has returned.
        let _ = unsafe { munmap(self.at as *mut _, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::super::shared::pwrite;
    use super::super::{POLLIN, PollFd, ppoll};
    use super::*;

    #[test]
    fn two_mappings_of_a_file_are_one_memory() {
        let path = std::env::temp_dir().join(format!("mapping-{}", std::process::id()));
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        let (one, other) = (Mapping::open(&name, 8192).unwrap(), Mapping::open(&name, 8192).unwrap());
        one.store(8188, &[1, 2, 3, 4]).unwrap();
        let mut buf = [0; 4];
        other.load(8188, &mut buf).unwrap();
        assert_eq!(buf, [1, 2, 3, 4]);
        assert_eq!((one.exchange(24, 0, 7), other.exchange(24, 0, 9), other.exchange(24, 7, 9)), (Ok(0), Ok(7), Ok(7)));
        assert_eq!((one.load(8190, &mut buf), one.exchange(25, 0, 1)), (Err(Error::FAULT), Err(Error::FAULT)));
        let watch = other.watch().unwrap();
        let readable =
            |wait| ppoll(&mut [PollFd::new(watch.fd(), POLLIN)], Some(std::time::Duration::from_secs(wait)), None);
        one.store(100, &[1]).unwrap();
        assert_eq!(readable(0), Ok(0));
        pwrite(one.fd(), &[3, 0, 0, 0], 4).unwrap();
        assert_eq!(readable(5), Ok(1));
        // What is cut off is an error, not a signal.
        super::super::shared::resize(other.fd(), 0).unwrap();
        assert_eq!((one.load(0, &mut buf), one.exchange(24, 9, 0)), (Err(Error::FAULT), Err(Error::FAULT)));
        std::fs::remove_file(&path).unwrap();
    }
}
