//! Terminals: settings in Linux's other structures, opening a slave by its master, the name of a slave.

use core::ffi::c_char;

use abi::ioctl::{JPTPEER, TIOCGETA, TIOCGPTN, TIOCSETA, TIOCSETAF, TIOCSETAW, Termios, termios};
use abi::{Errno, InOut, Result, fcntl, linux};
use client::stubs;
use linux_raw_sys::{general, ioctl};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{kernel, name};
use crate::calls::{self, Outcome};
use crate::fds::{self, NewFd, RumpFd};
use crate::{entry, job, user};

/// struct termios2: the speeds are numbers.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Termios2 {
    termios: linux::Termios,
    c_ispeed: u32,
    c_ospeed: u32,
}

const _: () = assert!(size_of::<Termios2>() == 44);

/// Serves the commands that have no number of their own in NetBSD's kernel; `None` for any other.
pub fn ioctl(fd: RumpFd, command: u32, data: usize) -> Option<Result<usize>> {
    Some(match command {
        ioctl::TCGETS2 => get(fd, data),
        ioctl::TCSETS2 => set(fd, TIOCSETA, data),
        ioctl::TCSETSW2 => set(fd, TIOCSETAW, data),
        ioctl::TCSETSF2 => set(fd, TIOCSETAF, data),
        ioctl::TIOCGPTPEER => open_peer(fd, data as i32),
        _ => return None,
    })
}

fn get(fd: RumpFd, data: usize) -> Result<usize> {
    let mut settings = Termios::default();
    stubs::ioctl(kernel()?, fd.fd(), TIOCGETA, InOut::new(&mut settings))?;
    let mut termios = settings.to_linux();
    if termios::SPEEDS.to_linux(settings.c_ospeed).is_none() {
        termios.c_cflag = termios.c_cflag & !general::CBAUD | general::BOTHER;
    }
    let (c_ispeed, c_ospeed) = (settings.c_ispeed as u32, settings.c_ospeed as u32);
    user::write(data, &Termios2 { termios, c_ispeed, c_ospeed })?;
    Ok(0)
}

fn set(fd: RumpFd, command: u64, data: usize) -> Result<usize> {
    let wanted: Termios2 = user::read(data)?;
    let mut settings = Termios::from_linux(&wanted.termios);
    if wanted.termios.c_cflag & general::CBAUD == general::BOTHER {
        (settings.c_ispeed, settings.c_ospeed) = (wanted.c_ispeed as i32, wanted.c_ospeed as i32);
    }
    stubs::ioctl(kernel()?, fd.fd(), anyway(command), InOut::new(&mut settings))?;
    Ok(0)
}

/// The command, as one that the background may give if that was found out before.
pub fn anyway(command: u64) -> u64 {
    if job::anyway() { command | abi::ioctl::IOC_ANYWAY } else { command }
}

/// Opens the slave of a master (`TIOCGPTPEER`); `flags` are those of open(2).
fn open_peer(fd: RumpFd, flags: i32) -> Result<usize> {
    let mut word = fcntl::open_flags_from_linux(flags)?;
    stubs::ioctl(kernel()?, fd.fd(), JPTPEER, InOut::new(&mut word))?;
    fds::install(NewFd { fd: RumpFd(word), cloexec: flags & libc::O_CLOEXEC != 0 }).map(|number| number as usize)
}

/// See ptsname_r(3): the path by which the program reaches the slave, below the prefix or in a blanket. The error's number, which
/// is also errno: `ENOTTY` for what is no master, `ERANGE` if there is no room.
pub fn ptsname_r(fd: i32, buf: usize, len: usize, real: Option<impl FnOnce() -> i32>) -> i32 {
    if let (None, Some(real)) = (fds::lookup(fd), real) {
        return real();
    }
    match calls::serve(true, || store_name(fd, buf, len)) {
        Outcome::Done(error @ ..0) => {
            entry::set_errno(-error as i32);
            -error as i32
        }
        _ => 0,
    }
}

/// See ptsname(3): the name stays until the next call, of any thread.
pub fn ptsname(fd: i32, real: Option<impl FnOnce() -> *mut c_char>) -> *mut c_char {
    static mut NAME: [u8; 4096] = [0; 4096];
    if let (None, Some(real)) = (fds::lookup(fd), real) {
        return real();
    }
    let name = &raw mut NAME;
    let none = None::<fn() -> i32>;
    if ptsname_r(fd, name as usize, 4096, none) == 0 { name.cast() } else { core::ptr::null_mut() }
}

fn store_name(fd: i32, buf: usize, len: usize) -> Result<usize> {
    let master = fds::lookup(fd).ok_or(Errno::EBADF)?;
    let mut index = 0i32;
    stubs::ioctl(kernel()?, master.fd(), TIOCGPTN, InOut::new(&mut index))?;
    let mut path = name::below_prefix(format!("/dev/pts/{index}").as_bytes());
    path.push(0);
    if path.len() > len {
        return Err(Errno::ERANGE);
    }
    user::write_bytes(buf, &path)?;
    Ok(0)
}
