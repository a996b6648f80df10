//! Raw host system calls: all host I/O of this crate, the client and the hijack library.
//!
//! A library that hooks libc must not call it: its own `read` is its hook. Everything here goes
//! straight to the kernel, through rustix's linux_raw backend or, where rustix has no such call, [`raw`].

pub mod direct;
pub mod epoll;
pub mod memory;
pub mod network;
pub mod raw;
mod select;
pub mod shared;
pub mod signal;
pub mod wire;

use std::ffi::CStr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, IntoRawFd};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType};
use rustix::{event, fs, io, net, process, thread};

pub use rustix::io::{Errno as Error, IoSlice};
pub use signal::SigSet;

/// What a host call returns; the error has Linux's number.
pub type Result<T> = core::result::Result<T, Error>;

/// Returns the NetBSD error of the same name.
pub fn errno(error: Error) -> abi::Errno {
    abi::Errno::from_linux(error.raw_os_error())
}

/// A descriptor of the host kernel. Only a number: see [`Owned`] for one that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostFd(pub i32);

impl HostFd {
    /// The standard error output.
    pub const STDERR: HostFd = HostFd(2);

    fn borrow(self) -> Result<BorrowedFd<'static>> {
        if self.0 < 0 {
            return Err(Error::BADF);
        }
        // SAFETY: not -1; a number that is closed meanwhile gives EBADF or another file, never undefined behaviour here.
        Ok(unsafe { BorrowedFd::borrow_raw(self.0) })
    }
}

/// A descriptor that is closed when it is dropped.
#[derive(Debug)]
pub struct Owned(HostFd);

impl Owned {
    /// Takes over a descriptor.
    pub const fn new(fd: HostFd) -> Self {
        Owned(fd)
    }

    /// The number.
    pub const fn fd(&self) -> HostFd {
        self.0
    }

    /// Gives the descriptor away.
    pub fn into_fd(self) -> HostFd {
        let fd = self.0;
        core::mem::forget(self);
        fd
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = close(self.fd());
    }
}

fn owned(fd: impl IntoRawFd) -> Owned {
    Owned::new(HostFd(fd.into_raw_fd()))
}

/// Writes a line to the standard error output.
pub fn warn(message: &str) {
    let line = [message.as_bytes(), b"\n"].concat();
    let _ = write(HostFd::STDERR, &line);
}

/// Ends the process at once.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: no pointers; it does not return.
        let _ = unsafe { raw::syscall3(raw::EXIT_GROUP, status as usize, 0, 0) };
    }
}

/// The process's number.
pub fn getpid() -> i32 {
    process::getpid().as_raw_pid()
}

/// How many threads the process has. The error is that of a `/proc` that is not there.
pub fn threads() -> Result<u64> {
    // A folder has two links, and one for each folder in it.
    fs::stat(c"/proc/self/task").map(|stat| stat.st_nlink.saturating_sub(2))
}

/// The thread's number.
pub fn gettid() -> i32 {
    thread::gettid().as_raw_pid()
}

/// Sleeps; shorter if a signal handler runs.
pub fn sleep(time: Duration) {
    if let Ok(request) = thread::Timespec::try_from(time) {
        let _ = thread::nanosleep(&request);
    }
}

/// The monotonic clock. A plain system call: rustix looks for the vDSO's in the auxiliary vector, which crashes where a tool stands
/// between program and kernel (valgrind).
pub fn uptime() -> Duration {
    let mut time = [0u64; 2];
    // SAFETY: the time is valid for the call to write.
    let _ = unsafe { raw::syscall3(raw::CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0) };
    Duration::new(time[0], time[1] as u32)
}

/// See clock_gettime(2).
const CLOCK_MONOTONIC: usize = 1;

/// read(2).
pub fn read(fd: HostFd, buf: &mut [u8]) -> Result<usize> {
    io::read(fd.borrow()?, buf)
}

/// write(2).
pub fn write(fd: HostFd, buf: &[u8]) -> Result<usize> {
    io::write(fd.borrow()?, buf)
}

/// close(2).
pub fn close(fd: HostFd) -> Result<()> {
    if fd.0 < 0 {
        return Err(Error::BADF);
    }
    // SAFETY: no pointers; the caller owns the number.
    unsafe { raw::syscall3(raw::CLOSE, fd.0 as usize, 0, 0) }.map(drop)
}

/// open(2), close-on-exec.
pub fn open(path: &CStr, flags: u32, mode: u32) -> Result<Owned> {
    let flags = OFlags::from_bits_retain(flags) | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::from_bits_retain(mode)).map(owned)
}

/// Reads a small file whole.
pub fn read_file(path: &CStr) -> Result<Vec<u8>> {
    let file = open(path, 0, 0)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match read(file.fd(), &mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Err(Error::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The name of this process: that of its first thread, as `/proc/self/comm` shows it.
pub fn process_name() -> Result<Vec<u8>> {
    let first = thread::gettid() == process::getpid();
    let named = if first { Err(Error::NOENT) } else { read_file(c"/proc/self/comm") };
    let mut name = named.or_else(|_| thread::name().map(|name| name.into_bytes()))?;
    name.truncate(name.iter().position(|byte| *byte == b'\n').unwrap_or(name.len()));
    Ok(name)
}

/// Asks unshare(2) for a thread group of one's own.
const CLONE_THREAD: usize = 0x1_0000;

/// Whether this process has one thread; `false` where that cannot be told.
pub fn one_thread() -> bool {
    match fs::stat(c"/proc/self/task") {
        // A folder has a link for itself, one in its parent, and one for each folder in it.
        Ok(status) => status.st_nlink == 3,
        // SAFETY: without /proc: asks for what one thread has anyway, and which is refused to several.
        Err(_) => unsafe { raw::syscall3(raw::UNSHARE, CLONE_THREAD, 0, 0).is_ok() },
    }
}

/// The current directory.
pub fn getcwd() -> Result<Vec<u8>> {
    let mut path = vec![0; 4096];
    // SAFETY: the buffer is valid for the length that is named.
    let len = unsafe { raw::syscall3(raw::GETCWD, path.as_mut_ptr() as usize, path.len(), 0)? };
    // The length counts the NUL.
    path.truncate(len.saturating_sub(1));
    Ok(path)
}

/// Whether this process may write what is at a path, or connect to it.
pub fn may_write(path: &[u8]) -> bool {
    may(path, fs::Access::WRITE_OK)
}

/// Whether this process may read what is at a path.
pub fn may_read(path: &[u8]) -> bool {
    may(path, fs::Access::READ_OK)
}

fn may(path: &[u8], access: fs::Access) -> bool {
    fs::accessat(fs::CWD, path, access, fs::AtFlags::EACCESS).is_ok()
}

/// Removes a name.
pub fn unlink(path: &[u8]) -> Result<()> {
    fs::unlink(path)
}

/// Changes the mode of an open file; on a socket before bind(2), that of the name to be.
pub fn fchmod(fd: HostFd, mode: u32) -> Result<()> {
    fs::fchmod(fd.borrow()?, Mode::from_bits_retain(mode))
}

/// Device and inode of an open file.
pub fn identity(fd: HostFd) -> Result<(u64, u64)> {
    fs::fstat(fd.borrow()?).map(|stat| (stat.st_dev, stat.st_ino))
}

/// The lowest free number from `min` on gets a close-on-exec duplicate.
pub fn dup_from(fd: HostFd, min: i32) -> Result<Owned> {
    io::fcntl_dupfd_cloexec(fd.borrow()?, min).map(owned)
}

/// Sets whether the descriptor is closed over exec.
pub fn set_cloexec(fd: HostFd, on: bool) -> Result<()> {
    io::fcntl_setfd(fd.borrow()?, if on { io::FdFlags::CLOEXEC } else { io::FdFlags::empty() })
}

/// Sets whether operations on the open file block.
pub fn set_nonblocking(fd: HostFd, on: bool) -> Result<()> {
    let flags = fs::fcntl_getfl(fd.borrow()?)?;
    fs::fcntl_setfl(fd.borrow()?, if on { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK })
}

/// The limit of descriptor numbers.
pub fn descriptor_limit() -> u64 {
    process::getrlimit(process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How far the process may raise it.
pub fn hard_descriptor_limit() -> u64 {
    process::getrlimit(process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Who made a unix connection; `None` on any other socket.
pub fn peer(fd: HostFd) -> Option<Sender> {
    let peer = net::sockopt::socket_peercred(fd.borrow().ok()?).ok()?;
    let ids = (peer.uid.as_raw(), peer.gid.as_raw());
    // A TCP socket answers too, with the id that is none.
    (ids.0 != u32::MAX).then(|| Sender { pid: peer.pid.as_raw_pid(), ids })
}

/// The process at the other end of a unix connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The process, as we number it; 0 for one that we cannot see.
    pub pid: i32,
    /// Its user and group.
    pub ids: (u32, u32),
}

/// Makes a close-on-exec, non-blocking eventfd.
pub fn eventfd() -> Result<Owned> {
    event::eventfd(0, event::EventfdFlags::CLOEXEC | event::EventfdFlags::NONBLOCK).map(owned)
}

/// Makes a close-on-exec descriptor that can be read once a process has ended; see pidfd_open(2).
///
/// `ESRCH` if it has ended and is waited for already.
pub fn process_descriptor(pid: i32) -> Result<Owned> {
    let pid = process::Pid::from_raw(pid).ok_or(Error::SRCH)?;
    process::pidfd_open(pid, process::PidfdFlags::empty()).map(owned)
}

/// Makes an eventfd readable.
pub fn signal_eventfd(fd: HostFd) {
    let _ = write(fd, &1u64.to_ne_bytes());
}

/// Sleeps until [`futex_wake`], if the word still is `expected`; shorter now and then.
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    let _ = thread::futex::wait(word, thread::futex::Flags::PRIVATE, expected, None);
}

/// Wakes all who sleep on a word.
pub fn futex_wake(word: &AtomicU32) {
    let _ = thread::futex::wake(word, thread::futex::Flags::PRIVATE, i32::MAX as u32);
}

/// Makes an eventfd unreadable.
pub fn clear_eventfd(fd: HostFd) {
    let _ = read(fd, &mut [0; 8]);
}

/// Makes a close-on-exec memory file that can be sealed.
pub fn memfd(name: &CStr) -> Result<Owned> {
    fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map(owned)
}

/// How long a file this process may write (`RLIMIT_FSIZE`); a longer one is `EFBIG`, and the signal SIGXFSZ even for a memory file.
pub fn file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// Makes a close-on-exec pipe that holds at least `bytes`, its reading end first. `EPERM` where the host does not allow one of that size.
pub fn pipe_with_room(bytes: usize) -> Result<(Owned, Owned)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?;
    if rustix::pipe::fcntl_getpipe_size(&write)? < bytes {
        rustix::pipe::fcntl_setpipe_size(&write, bytes)?;
    }
    Ok((owned(read), owned(write)))
}

/// Maps fresh, private, writable memory and returns its address.
pub fn map(len: usize) -> Result<u64> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    // SAFETY: the host chooses the place, so nothing of ours is replaced.
    let at =
        unsafe { mmap_anonymous(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    Ok(at as u64)
}

/// There is something to read.
pub const POLLIN: i16 = 0x1;
/// There is room to write.
pub const POLLOUT: i16 = 0x4;
/// The number is not open.
pub const POLLNVAL: i16 = 0x20;
/// The other end of a stream socket has shut down its side.
pub const POLLRDHUP: i16 = 0x2000;

/// The host's `struct pollfd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PollFd {
    /// A negative number is left out.
    pub fd: i32,
    /// What is waited for, in Linux's bits.
    pub events: i16,
    /// What is there.
    pub revents: i16,
}

const _: () = assert!(size_of::<PollFd>() == 8);

impl PollFd {
    /// Waits for `events` on `fd`.
    pub const fn new(fd: HostFd, events: i16) -> Self {
        Self { fd: fd.0, events, revents: 0 }
    }
}

/// Waits for descriptors, for ever without a `timeout`; with a `mask`, under that signal mask. Where the process may open fewer
/// descriptors than that, only `POLLIN` and `POLLOUT` are told.
pub fn ppoll(fds: &mut [PollFd], timeout: Option<Duration>, mask: Option<SigSet>) -> Result<usize> {
    let mut timeout = timeout.map(|time| [time.as_secs().min(i64::MAX as u64), u64::from(time.subsec_nanos())]);
    let timeout = timeout.as_mut().map_or(0, |time| time.as_mut_ptr() as usize);
    let mask = mask.as_ref().map_or(0, |mask| &raw const *mask as usize);
    // SAFETY: the array, the time and the set are valid for what the calls read and write.
    unsafe {
        let args = [fds.as_mut_ptr() as usize, fds.len(), timeout, mask, size_of::<SigSet>(), 0];
        match raw::syscall6(raw::PPOLL, args) {
            Err(select::TOO_MANY) => {
                let sized = [mask, size_of::<SigSet>()];
                select::pselect(fds, timeout, sized.as_ptr() as usize)
            }
            polled => polled,
        }
    }
}

/// Whether a socket is a unix one.
pub fn is_unix(fd: HostFd) -> bool {
    fd.borrow().and_then(net::sockopt::socket_domain).is_ok_and(|family| family == AddressFamily::UNIX)
}

/// Makes a close-on-exec stream socket for unix names.
pub fn unix_socket() -> Result<Owned> {
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map(owned)
}

/// Makes a close-on-exec stream socket for addresses like `address`.
pub fn tcp_socket(address: &SocketAddr) -> Result<Owned> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).map(owned)
}

/// Makes a pair of connected, close-on-exec unix stream sockets.
pub fn socketpair() -> Result<(Owned, Owned)> {
    let pair = net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok((owned(pair.0), owned(pair.1)))
}

/// connect(2) to a unix name.
pub fn connect_unix(fd: HostFd, path: &[u8]) -> Result<()> {
    net::connect(fd.borrow()?, &net::SocketAddrUnix::new(path)?)
}

/// bind(2) to a unix name.
pub fn bind_unix(fd: HostFd, path: &[u8]) -> Result<()> {
    net::bind(fd.borrow()?, &net::SocketAddrUnix::new(path)?)
}

/// connect(2) to an IP address.
pub fn connect_tcp(fd: HostFd, address: &SocketAddr) -> Result<()> {
    net::connect(fd.borrow()?, address)
}

/// bind(2) to an IP address, whose port may be in TIME-WAIT.
pub fn bind_tcp(fd: HostFd, address: &SocketAddr) -> Result<()> {
    net::sockopt::set_socket_reuseaddr(fd.borrow()?, true)?;
    net::bind(fd.borrow()?, address)
}

/// The IP address that a socket is bound to.
pub fn tcp_name(fd: HostFd) -> Result<SocketAddr> {
    let name: SocketAddrAny = net::getsockname(fd.borrow()?)?;
    SocketAddr::try_from(name)
}

/// Sends small segments at once.
pub fn set_nodelay(fd: HostFd) -> Result<()> {
    net::sockopt::set_tcp_nodelay(fd.borrow()?, true)
}

/// listen(2).
pub fn listen(fd: HostFd, backlog: i32) -> Result<()> {
    net::listen(fd.borrow()?, backlog)
}

/// accept(2); the new socket is close-on-exec and non-blocking.
pub fn accept(fd: HostFd) -> Result<Owned> {
    net::accept_with(fd.borrow()?, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).map(owned)
}

/// Sends without blocking and without SIGPIPE.
pub fn sendmsg(fd: HostFd, parts: &[IoSlice<'_>]) -> Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    net::sendmsg(fd.borrow()?, parts, &mut net::SendAncillaryBuffer::default(), flags)
}

/// Receives without blocking.
pub fn recv(fd: HostFd, buf: &mut [u8]) -> Result<usize> {
    net::recv(fd.borrow()?, buf, RecvFlags::DONTWAIT).map(|(n, _)| n)
}

/// Wakes whoever sleeps on the other end of a pair of sockets. It never blocks, whatever others do to them.
pub fn ring(fd: HostFd) {
    // One that is full has been rung.
    let _ = sendmsg(fd, &[IoSlice::new(&[0])]);
}

/// Takes what [`ring`] has sent to this end.
pub fn silence(fd: HostFd) {
    let _ = recv(fd, &mut [0; 64]);
}

/// How many of one byte a receive would bring: 0 at the end. `EAGAIN` if there is nothing.
pub fn peek(fd: HostFd) -> Result<usize> {
    net::recv(fd.borrow()?, &mut [0], RecvFlags::DONTWAIT | RecvFlags::PEEK).map(|(n, _)| n)
}

/// Ends both directions of a connection.
pub fn shutdown(fd: HostFd) -> Result<()> {
    net::shutdown(fd.borrow()?.as_fd(), net::Shutdown::Both)
}
