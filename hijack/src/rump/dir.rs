//! Directories: reading them, and the working directory of the process in the rump kernel.
//!
//! Our own server gives a directory's entries in Linux's layout, each with the position behind it. From a NetBSD server they come
//! in NetBSD's layout without positions: every entry of one call then carries the position behind the last, so that seekdir(3) to a
//! place in between goes on later than it should.

use abi::fcntl::SEEK_CUR;
use abi::ioctl::JGETDENTS;
use abi::slot::Direction;
use abi::stat::Dirents;
use abi::{Errno, InOut, Out, Pad, Region, Result, UserStr};
use client::stubs;

use super::{kernel, name};
use crate::fds::RumpFd;
use crate::reach::{self, Use};
use crate::route::RumpAt;
use crate::user;

/// Most bytes of NetBSD's records asked for at once.
const MOST: usize = 64 * 1024;

/// The shortest entry of Linux.
const SHORTEST: usize = 24;

/// Longest path of the rump kernel, its NUL included.
const PATH: usize = 4096;

/// Longest path of a working directory.
const PATH_DEEP: usize = 1 << 20;

/// See getdents(2); `EINVAL` if the buffer does not hold the next entry, `EFAULT` if that is because of bad memory. No entry is read that
/// finds no room.
pub fn getdents64(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let room = if reach::is_fillable(buf, len) { len } else { reach::good(buf, len, Use::Fill) };
    let given = match in_linux_layout(fd, buf, room) {
        Err(Errno::ENOTTY) => in_netbsd_layout(fd, buf, room),
        answer => answer,
    };
    if given == Err(Errno::EINVAL) && room < len && len >= SHORTEST { Err(Errno::EFAULT) } else { given }
}

/// Asks our own server; `ENOTTY` from any other.
fn in_linux_layout(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let mut request = [buf as u64, len as u64, 0];
    let records = Region { addr: buf as u64, len, direction: Direction::Out, own: false };
    stubs::with::ioctl(kernel()?, fd.fd(), JGETDENTS, InOut::new(&mut request), &[records])?;
    let [_, stored, _] = request;
    usize::try_from(stored).map_err(|_| Errno::EIO)
}

/// Asks for so many records of NetBSD that Linux's, at most half again as long, find room.
fn in_netbsd_layout(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let kernel = kernel()?;
    let mut records = vec![0u8; (len / 3 * 2).min(MOST) & !7];
    let mut converted = Vec::new();
    // A piece of nothing but removed entries is no end.
    while converted.is_empty() {
        let room = records.len();
        let got = stubs::getdents(kernel, fd.fd(), Out::new(records.as_mut_slice()), room)?;
        if got == 0 {
            return Ok(0);
        }
        let next = stubs::lseek(kernel, fd.fd(), Pad, 0, SEEK_CUR)?;
        let given = records.get(..got).unwrap_or_default();
        for entry in Dirents::new(given).filter(|entry| entry.fileno != 0) {
            entry.write_linux(&mut converted, next, len);
        }
    }
    user::write_bytes(buf, &converted)?;
    Ok(converted.len())
}

/// See getdents(2) in its oldest form: the same records, the type in the last byte and the name a byte further ahead.
pub fn getdents(fd: RumpFd, buf: usize, len: usize) -> Result<usize> {
    let got = getdents64(fd, buf, len)?;
    let mut records = vec![0u8; got];
    user::read_bytes(buf, &mut records)?;
    let mut rest = records.as_mut_slice();
    while let Some(&[low, high]) = rest.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some((record, next)) = rest.split_at_mut_checked(length) else { break };
        if let Some(tail) = record.get_mut(18..) {
            tail.rotate_left(1);
        }
        rest = next;
    }
    user::write_bytes(buf, &records)?;
    Ok(got)
}

/// See chdir(2): moves the rump kernel's working directory, whatever kernel relative paths go to.
pub fn chdir(at: &RumpAt) -> Result<usize> {
    stubs::chdir(kernel()?, UserStr::new(at.path))?;
    Ok(0)
}

/// See fchdir(2).
pub fn fchdir(fd: RumpFd) -> Result<usize> {
    stubs::fchdir(kernel()?, fd.fd())?;
    Ok(0)
}

/// Returns the rump kernel's working directory, without the prefix.
///
/// `ENOENT` if it was removed.
pub fn working_directory() -> Result<Vec<u8>> {
    let mut room = PATH;
    loop {
        let mut path = vec![0u8; room];
        match stubs::getcwd(kernel()?, Out::new(path.as_mut_slice()), room) {
            Ok(length) => {
                path.truncate(length.saturating_sub(1));
                return Ok(path);
            }
            // Who goes down step by step comes deeper than a path can say.
            Err(Errno::ERANGE) if room < PATH_DEEP => room *= 2,
            Err(error) => return Err(error),
        }
    }
}

/// See getcwd(2): the rump kernel's working directory below the prefix, and its length with the NUL.
///
/// `ERANGE` if it does not fit.
pub fn getcwd(buf: usize, size: usize) -> Result<usize> {
    let mut visible = name::below_prefix(&working_directory()?);
    visible.push(0);
    if visible.len() > size {
        return Err(Errno::ERANGE);
    }
    user::write_bytes(buf, &visible)?;
    Ok(visible.len())
}
