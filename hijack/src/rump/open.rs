//! Opening files: open(2), openat2(2).
//!
//! `O_PATH`, `O_TMPFILE` and restrictions of the path walk are extensions. A NetBSD server opens an `O_PATH` descriptor for reading,
//! and has none of the others.

use abi::fcntl::{self, EXTENDED_FLAGS, RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_FLAGS, RESOLVE_IN_ROOT};
use abi::{Errno, Fd, Result, UserStr, stat};
use client::stubs;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::unless_unknown;
use super::{descriptor, kernel};
use crate::calls::{Outcome, outcome, serve};
use crate::fds::{self, NewFd, RumpFd};
use crate::route::{self, Owner, RumpAt};
use crate::user;

/// See openat(2).
///
/// `ELOOP` for a symbolic link under `O_NOFOLLOW`, `ENOTDIR` with `O_DIRECTORY` as well (NetBSD says `EFTYPE`).
pub fn openat(at: &RumpAt, flags: i32, mode: u32) -> Result<NewFd> {
    restricted(at, flags, mode & stat::ALLPERMS, 0)
}

/// Opens a path whose walk is under the restrictions `resolve`.
fn restricted(at: &RumpAt, linux: i32, mode: u32, resolve: u32) -> Result<NewFd> {
    let flags = fcntl::open_flags_from_linux(linux)?;
    // A call that fails for want of a number must not have made a file.
    let _room = if flags & (fcntl::O_CREAT | fcntl::O_TMPFILE) != 0 { Some(fds::Room::take()?) } else { None };
    let (kernel, path) = (kernel()?, UserStr::new(at.path));
    let plain = || stubs::openat(kernel, at.dir, path, flags & !EXTENDED_FLAGS, mode);
    let neither = flags & fcntl::O_ACCMODE == fcntl::O_ACCMODE;
    let opened = match (flags & EXTENDED_FLAGS, resolve) {
        (0, 0) if !neither => plain(),
        _ => match stubs::openat2(kernel, at.dir, path, flags, mode, resolve) {
            // A fifo or a device must not be waited for, since O_PATH opens nothing.
            Err(Errno::ENOSYS) if flags & fcntl::O_PATH != 0 && resolve == 0 => {
                stubs::openat(kernel, at.dir, path, flags & !EXTENDED_FLAGS | fcntl::O_NONBLOCK, 0)
            }
            // It keeps the time of the access all the same.
            Err(Errno::ENOSYS) if flags & EXTENDED_FLAGS == fcntl::O_NOATIME && resolve == 0 && !neither => plain(),
            Err(Errno::ENOSYS) if resolve == 0 => Err(Errno::EOPNOTSUPP),
            opened => opened,
        },
    };
    match opened {
        Ok(Fd(fd)) => Ok(NewFd { fd: RumpFd(fd), cloexec: flags & fcntl::O_CLOEXEC != 0 }),
        Err(Errno::EFTYPE) if flags & fcntl::O_DIRECTORY != 0 => Err(Errno::ENOTDIR),
        Err(Errno::EFTYPE) if flags & fcntl::O_NOFOLLOW != 0 => Err(Errno::ELOOP),
        Err(error) => Err(error),
    }
}

/// The argument of openat2(2).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Length of the first version of [`OpenHow`], which is all that there is.
const HOW: usize = size_of::<OpenHow>();

/// Longest that any version may be: a page.
const HOW_MAX: usize = 4096;

/// The flags of openat2(2), which refuses unknown ones: those that fcntl.h names.
const KNOWN: u64 = (linux::O_ACCMODE
    | linux::O_CREAT
    | linux::O_EXCL
    | linux::O_NOCTTY
    | linux::O_TRUNC
    | linux::O_APPEND
    | linux::O_NONBLOCK
    | linux::O_SYNC
    | linux::FASYNC
    | linux::O_DIRECT
    | linux::O_LARGEFILE
    | linux::O_DIRECTORY
    | linux::O_NOFOLLOW
    | linux::O_NOATIME
    | linux::O_CLOEXEC
    | linux::O_PATH
    | linux::O_TMPFILE) as u64;

impl OpenHow {
    /// Reads the argument: `EINVAL` if it is short, `E2BIG` if it says something in a part that we do not know.
    fn read(addr: usize, size: usize) -> Result<Self> {
        match size {
            HOW => {}
            0..HOW => return Err(Errno::EINVAL),
            _ if size > HOW_MAX => return Err(Errno::E2BIG),
            _ => {
                let mut rest = vec![0u8; size - HOW];
                user::read_bytes(addr.wrapping_add(HOW), &mut rest)?;
                if rest.iter().any(|byte| *byte != 0) {
                    return Err(Errno::E2BIG);
                }
            }
        }
        user::read(addr)
    }

    /// The flags of open(2), the mode and the restrictions; `EINVAL` for what open(2) would ignore.
    fn checked(&self) -> Result<(i32, u32, u32)> {
        let makes = u64::from(linux::O_CREAT | linux::O_TMPFILE & !linux::O_DIRECTORY);
        let resolve = u32::try_from(self.resolve).map_err(|_| Errno::EINVAL)?;
        let beside_path = u64::from(!(linux::O_PATH | linux::O_DIRECTORY | linux::O_NOFOLLOW | linux::O_CLOEXEC));
        let wrong = self.flags & !KNOWN != 0
            || self.mode & !u64::from(stat::ALLPERMS) != 0
            || (self.mode != 0 && self.flags & makes == 0)
            || (self.flags & u64::from(linux::O_PATH) != 0 && self.flags & beside_path != 0)
            || resolve & !RESOLVE_FLAGS != 0
            || resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) == RESOLVE_BENEATH | RESOLVE_IN_ROOT;
        if wrong {
            return Err(Errno::EINVAL);
        }
        // What makes or cuts a file is never only a look into memory.
        if resolve & RESOLVE_CACHED != 0 && self.flags & (makes | u64::from(linux::O_TRUNC)) != 0 {
            return Err(Errno::EAGAIN);
        }
        Ok((self.flags as i32, self.mode as u32, resolve))
    }
}

/// See openat2(2); `ENOSYS` from a NetBSD server for any restriction of the path walk, which programs take for an old kernel.
///
/// Within a rump directory (`RESOLVE_BENEATH`, `RESOLVE_IN_ROOT`) an absolute path is the rump kernel's, too.
pub fn openat2(dir: i32, path: usize, how: usize, size: usize) -> Outcome {
    let confined = match OpenHow::read(how, size) {
        Ok(how) => how.resolve & u64::from(RESOLVE_BENEATH | RESOLVE_IN_ROOT) != 0,
        Err(_) => false,
    };
    let owner = if confined { route::within(dir, path) } else { route::at(dir, path) };
    let arguments = || OpenHow::read(how, size).and_then(|how| how.checked());
    match owner {
        Owner::Host => Outcome::Host,
        Owner::Descriptor(rump) => match arguments() {
            Ok((flags, ..)) => serve(true, || descriptor::reopen(rump, flags)),
            Err(error) => outcome(Err(error)),
        },
        Owner::Rump(name) => serve(true, || within_rump(&name.at(), arguments()?)),
        Owner::WorkingDirectory => {
            serve(true, || within_rump(&RumpAt { dir: Fd(fcntl::AT_FDCWD), path: c"." }, arguments()?))
        }
    }
}

fn within_rump(at: &RumpAt, (flags, mode, resolve): (i32, u32, u32)) -> Result<NewFd> {
    let opened = restricted(at, flags, mode, resolve);
    if resolve == 0 { opened } else { unless_unknown(opened, Err(Errno::ENOSYS)) }
}
