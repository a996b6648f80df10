//! Memory that processes share: files of memory, and descriptors that travel over a unix socket.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

use abi::time::Timespec;
use rustix::fs::{self, FallocateFlags, OFlags, SealFlags, SeekFrom};
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::{cmsg_space, io};

use super::{Error, HostFd, IoSlice, Owned, Result, Sender, open, owned, raw};

/// Descriptors that one message brings at most; what is more the host closes.
const AT_ONCE: usize = 4;

/// pread(2), of all that there is up to the end of the file.
pub fn pread(fd: HostFd, buf: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match io::pread(fd.borrow()?, buf.get_mut(done..).unwrap_or_default(), offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Error::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// pwrite(2); an error counts only if nothing was written before it.
pub fn pwrite(fd: HostFd, data: &[u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match io::pwrite(fd.borrow()?, data.get(done..).unwrap_or_default(), offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Error::INTR) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// ftruncate(2).
pub fn resize(fd: HostFd, len: u64) -> Result<()> {
    fs::ftruncate(fd.borrow()?, len)
}

/// fallocate(2): takes memory for a range; the length stays.
pub fn allocate(fd: HostFd, offset: u64, len: u64) -> Result<()> {
    fs::fallocate(fd.borrow()?, FallocateFlags::KEEP_SIZE, offset, len)
}

/// fallocate(2): gives a range back.
pub fn punch(fd: HostFd, offset: u64, len: u64) -> Result<()> {
    fs::fallocate(fd.borrow()?, FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, offset, len)
}

/// Where data begins at or after an offset; `ENXIO` if there is none.
pub fn seek_data(fd: HostFd, offset: u64) -> Result<u64> {
    fs::seek(fd.borrow()?, SeekFrom::Data(offset))
}

/// Where a hole begins at or after an offset, which lies in the file.
pub fn seek_hole(fd: HostFd, offset: u64) -> Result<u64> {
    fs::seek(fd.borrow()?, SeekFrom::Hole(offset))
}

/// What the host says of a file in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Length in bytes.
    pub size: u64,
    /// Bytes that it takes.
    pub used: u64,
    /// When it was last read and written.
    pub times: Times,
}

/// The times of a file that reading and writing set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Last access.
    pub accessed: Timespec,
    /// Last change of the content.
    pub modified: Timespec,
}

/// fstat(2).
pub fn status(fd: HostFd) -> Result<Status> {
    let stat = fs::fstat(fd.borrow()?)?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    Ok(Status {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        used: stat.st_blocks as u64 * 512,
        times: Times {
            accessed: time(stat.st_atime, stat.st_atime_nsec as i64),
            modified: time(stat.st_mtime, stat.st_mtime_nsec as i64),
        },
    })
}

/// futimens(2).
pub fn set_times(fd: HostFd, times: Times) -> Result<()> {
    let time = |time: Timespec| fs::Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec as _ };
    let times = fs::Timestamps { last_access: time(times.accessed), last_modification: time(times.modified) };
    fs::futimens(fd.borrow()?, &times)
}

/// Writes at the end, wherever that is at the moment; returns where the data ended and how much was taken. It is for who alone uses the
/// position of the descriptor, which moves.
pub fn append(fd: HostFd, data: &[u8]) -> Result<(u64, usize)> {
    /// Write at the position.
    const AT_POSITION: u64 = u64::MAX;
    let len = io::pwritev2(fd.borrow()?, &[IoSlice::new(data)], AT_POSITION, io::ReadWriteFlags::APPEND)?;
    Ok((fs::tell(fd.borrow()?)?, len))
}

/// Sets whether an open file writes at its end (`O_APPEND`) and leaves the time of the last access alone (`O_NOATIME`).
pub fn set_manners(fd: HostFd, appends: bool, quiet: bool) -> Result<()> {
    let flags = fs::fcntl_getfl(fd.borrow()?)? - (OFlags::APPEND | OFlags::NOATIME);
    let append = if appends { OFlags::APPEND } else { OFlags::empty() };
    let noatime = if quiet { OFlags::NOATIME } else { OFlags::empty() };
    fs::fcntl_setfl(fd.borrow()?, flags | append | noatime)
}

/// Has a memory file stay as it is: nobody can forbid to write it, or to change its length.
pub fn seal_seals(fd: HostFd) -> Result<()> {
    fs::fcntl_add_seals(fd.borrow()?, SealFlags::SEAL)
}

/// Has a memory file be written from now on only through what is mapped already; its length stays for good.
pub fn seal_content(fd: HostFd) -> Result<()> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    fs::fcntl_add_seals(fd.borrow()?, seals)
}

/// Opens an open file once more, with another access mode (`O_RDONLY`, …).
pub fn reopen(fd: HostFd, flags: u32) -> Result<Owned> {
    let name = CString::new(format!("/proc/self/fd/{}", fd.0)).map_err(|_| Error::INVAL)?;
    open(&name, flags, 0)
}

/// Has a memory file keep its length for good.
pub fn seal_length(fd: HostFd) -> Result<()> {
    fs::fcntl_add_seals(fd.borrow()?, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
}

/// The same, and nobody is to write it any more but by the mappings that there are.
pub fn seal_writing(fd: HostFd) -> Result<()> {
    fs::fcntl_add_seals(fd.borrow()?, SealFlags::FUTURE_WRITE)?;
    seal_length(fd)
}

/// The length of a memory file that cannot become shorter; `EINVAL` for any other file.
pub fn sealed_length(fd: HostFd) -> Result<u64> {
    match fs::fcntl_get_seals(fd.borrow()?)?.contains(SealFlags::SHRINK) {
        true => fs::fstat(fd.borrow()?).map(|stat| stat.st_size as u64),
        false => Err(Error::INVAL),
    }
}

/// The beginning of a file in memory, shared with all who map it.
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address and a length; what lies there is used by who has the address.
unsafe impl Send for Mapping {}
// SAFETY: the same.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes, which the file must have and keep. The child of a fork has none of it.
    pub fn new(fd: HostFd, len: usize) -> Result<Self> {
        Self::inherited(fd, len)?.kept_from_children()
    }

    /// The same, but children have it too.
    pub fn inherited(fd: HostFd, len: usize) -> Result<Self> {
        Self::with_access(fd, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same, for reading only.
    pub fn to_read(fd: HostFd, len: usize) -> Result<Self> {
        Self::with_access(fd, len, ProtFlags::READ)
    }

    /// The same as [`Self::new`], for reading only.
    pub fn readable(fd: HostFd, len: usize) -> Result<Self> {
        Self::to_read(fd, len)?.kept_from_children()
    }

    fn kept_from_children(self) -> Result<Self> {
        // SAFETY: the mapping is ours alone, and no child knows of it.
        unsafe { mm::madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontFork)? };
        Ok(self)
    }

    fn with_access(fd: HostFd, len: usize, access: ProtFlags) -> Result<Self> {
        // SAFETY: a new mapping, at an address that the host chooses.
        let start = unsafe { mm::mmap(null_mut(), len, access, MapFlags::SHARED, fd.borrow()?, 0)? };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Error::NOMEM)?, len })
    }

    /// The address of a byte, which must lie within.
    pub fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.len);
        // SAFETY: within the mapping, as the caller sees to.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; whoever has addresses has the mapping too, and nobody has it any more.
        let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Sends without blocking and without SIGPIPE; the descriptor goes with the first byte.
pub fn send_with(fd: HostFd, parts: &[IoSlice<'_>], passed: HostFd) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [passed.borrow()?];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Error::NOBUFS);
    }
    net::sendmsg(fd.borrow()?, parts, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// Has the host tell with all that a unix socket receives who sent it.
pub fn tell_senders(fd: HostFd) -> Result<()> {
    net::sockopt::set_socket_passcred(fd.borrow()?, true)
}

/// Receives without blocking, and returns who sent it where that is told.
///
/// Not by rustix, for which nobody has the number 0: a process that we cannot see has.
pub fn recv_told(fd: HostFd, buf: &mut [u8]) -> Result<(usize, Option<Sender>)> {
    /// struct msghdr, with struct iovec behind it.
    #[repr(C)]
    struct Message {
        name: [usize; 2],
        parts: [usize; 2],
        control: [usize; 2],
        flags: usize,
        part: [usize; 2],
    }
    const DONTWAIT: usize = 0x40;
    /// struct cmsghdr: its length in two words, `SOL_SOCKET`, `SCM_CREDENTIALS`; and struct ucred.
    const HEAD: [u32; 4] = [28, 0, 1, 2];
    #[repr(align(8))]
    struct Control([u32; 8]);
    let mut control = Control([0; 8]);
    let mut message = Message {
        name: [0; 2],
        parts: [0, 1],
        control: [control.0.as_mut_ptr() as usize, size_of::<Control>()],
        flags: 0,
        part: [buf.as_mut_ptr() as usize, buf.len()],
    };
    message.parts[0] = &raw const message.part as usize;
    // SAFETY: the message names this buffer and `control`, both as long as it says.
    let received = unsafe { raw::syscall3(raw::RECVMSG, fd.0 as usize, &raw mut message as usize, DONTWAIT)? };
    let [head @ .., pid, uid, gid, _] = control.0;
    let told = message.control[1] >= 28 && head == HEAD;
    Ok((received, told.then_some(Sender { pid: pid as i32, ids: (uid, gid) })))
}

/// Receives without blocking; `passed` gets the descriptors that came along, close-on-exec.
pub fn recv_with(fd: HostFd, buf: &mut [u8], passed: &mut Vec<Owned>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = net::recvmsg(fd.borrow()?, &mut [io::IoSliceMut::new(buf)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors.map(owned));
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{memfd, socketpair};
    use super::*;

    #[test]
    fn a_descriptor_travels_with_the_bytes() {
        let (here, there) = socketpair().unwrap();
        let memory = memfd(c"travels").unwrap();
        pwrite(memory.fd(), b"content", 0).unwrap();
        assert_eq!(send_with(here.fd(), &[IoSlice::new(b"look")], memory.fd()), Ok(4));
        let (mut buf, mut passed) = ([0; 16], Vec::new());
        assert_eq!(recv_with(there.fd(), &mut buf, &mut passed), Ok(4));
        assert_eq!(pread(passed[0].fd(), &mut buf, 0), Ok(7));
        assert_eq!(&buf[..7], b"content");
    }

    #[test]
    fn a_file_opened_again_for_reading_cannot_be_written() {
        let memory = memfd(c"again").unwrap();
        resize(memory.fd(), 5).unwrap();
        let readable = reopen(memory.fd(), 0).unwrap();
        assert_eq!(pread(readable.fd(), &mut [0; 9], 0), Ok(5));
        assert_eq!(pwrite(readable.fd(), b"x", 0), Err(Error::BADF));
    }
}
