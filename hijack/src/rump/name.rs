//! Names: making, linking, moving, reading and removing them.

use core::ffi::CStr;

use abi::fcntl::{self, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW};
use abi::{Errno, Fd, Out, Pad, Result, UserStr, device, stat};
use client::stubs;

use super::attr::status;
use super::file::{done, unless_unknown};
use super::kernel;
use crate::fds::RumpFd;
use crate::route::{self, RumpAt};
use crate::user;

/// Longest path, with what Linux puts behind a deleted file's.
const PATH: usize = 4096 + 16;

/// See readlinkat(2); a target is a name inside the rump kernel and comes without the prefix.
pub fn readlinkat(at: &RumpAt, buf: usize, len: usize) -> Result<usize> {
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    stubs::readlinkat(kernel()?, at.dir, UserStr::new(at.path), Out::at(buf as u64, len), len)
}

/// What Linux shows behind `/proc/self/fd/N`: a path below the prefix, or the kind and number of what has none.
///
/// `ENOSYS` from a NetBSD server.
pub fn descriptor(fd: RumpFd) -> Result<Vec<u8>> {
    let mut path = vec![0u8; PATH];
    match stubs::fdpath(kernel()?, fd.fd(), Out::new(path.as_mut_slice()), PATH) {
        Ok(length) => {
            path.truncate(length);
            Ok(below_prefix(&path))
        }
        Err(Errno::EINVAL) => {
            let status = status(fd)?;
            Ok(match status.st_mode & stat::S_IFMT {
                stat::S_IFSOCK => format!("socket:[{}]", status.st_ino),
                stat::S_IFIFO => format!("pipe:[{}]", status.st_ino),
                _ => "anon_inode:[rump]".to_owned(),
            }
            .into_bytes())
        }
        Err(error) => Err(error),
    }
}

/// A path of the rump kernel as the program writes it: as it is if it lies in a blanket, else below the prefix.
pub fn below_prefix(path: &[u8]) -> Vec<u8> {
    match crate::config() {
        Some(spec) if spec.classify(path, false) != spec::PathClass::Blanket => spec.visible_cwd(path),
        _ => path.to_vec(),
    }
}

/// Stores as much of a link's target as there is room for.
pub fn store(target: &[u8], buf: usize, len: usize) -> Result<usize> {
    let target = target.get(..len).unwrap_or(target);
    if target.is_empty() {
        return Err(Errno::EINVAL);
    }
    user::write_bytes(buf, target)?;
    Ok(target.len())
}

/// See unlinkat(2).
pub fn unlinkat(at: &RumpAt, flags: i32) -> Result<usize> {
    let flags = fcntl::at_flags_from_linux(flags, AT_REMOVEDIR)?;
    done(stubs::unlinkat(kernel()?, at.dir, UserStr::new(at.path), flags))
}

/// Whether there is anything to link (linkat(2)).
pub fn exists(at: &RumpAt, flags: i32) -> Result<()> {
    let follow = if flags & libc::AT_SYMLINK_FOLLOW == 0 { fcntl::AT_SYMLINK_NOFOLLOW } else { 0 };
    stubs::faccessat(kernel()?, at.dir, UserStr::new(at.path), fcntl::F_OK, follow)
}

/// Whether the directory that a path's last component is in can be reached.
pub fn above(at: &RumpAt) -> Result<()> {
    let above = route::above(at.path)?;
    stubs::faccessat(kernel()?, at.dir, UserStr::new(&above), fcntl::F_OK, 0)
}

/// See mkdirat(2).
pub fn mkdirat(at: &RumpAt, mode: u32) -> Result<usize> {
    done(stubs::mkdirat(kernel()?, at.dir, UserStr::new(at.path), mode & stat::ALLPERMS))
}

/// See mknodat(2); `EPERM` for a directory, and from a NetBSD server for a socket, which only bind(2) makes there.
pub fn mknodat(at: &RumpAt, mode: u32, dev: u32) -> Result<usize> {
    let (kernel, path) = (kernel()?, UserStr::new(at.path));
    let permissions = mode & stat::ALLPERMS;
    match mode & stat::S_IFMT {
        stat::S_IFIFO => done(stubs::mkfifoat(kernel, at.dir, path, permissions)),
        stat::S_IFCHR => done(stubs::mknodat(kernel, at.dir, path, mode, Pad, device::from_linux(dev.into()))),
        // Both systems put the numbers of a device into the same 32 bits.
        stat::S_IFBLK => done(stubs::mknodat(kernel, at.dir, path, mode, Pad, dev.into())),
        0 | stat::S_IFREG => match stubs::mknodat(kernel, at.dir, path, stat::S_IFREG | permissions, Pad, 0) {
            // Not with every NetBSD.
            Err(Errno::EINVAL | Errno::EPERM) => {
                let flags = fcntl::O_WRONLY | fcntl::O_CREAT | fcntl::O_EXCL;
                let fd = stubs::openat(kernel, at.dir, path, flags, permissions)?;
                done(stubs::close(kernel, fd))
            }
            made => done(made),
        },
        stat::S_IFSOCK => match stubs::mknodat(kernel, at.dir, path, mode, Pad, 0) {
            Err(Errno::EINVAL) => Err(Errno::EPERM),
            made => done(made),
        },
        stat::S_IFDIR => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// See symlinkat(2); the target is stored as it is given.
pub fn symlinkat(target: &CStr, at: &RumpAt) -> Result<usize> {
    done(stubs::symlinkat(kernel()?, UserStr::new(target), at.dir, UserStr::new(at.path)))
}

/// The flags of linkat(2).
pub const LINK_FLAGS: i32 = AT_SYMLINK_FOLLOW | fcntl::AT_EMPTY_PATH;

/// See linkat(2).
pub fn linkat(from: &RumpAt, to: &RumpAt, flags: i32) -> Result<usize> {
    let netbsd = fcntl::at_flags_from_linux(flags, LINK_FLAGS)?;
    done(stubs::linkat(kernel()?, from.dir, UserStr::new(from.path), to.dir, UserStr::new(to.path), netbsd))
}

/// See linkat(2) with an empty path: gives an open file another name, or its first; `fd` may be the working directory (`EPERM`).
/// A NetBSD server has no such file (`ENOENT`).
pub fn link_itself(fd: Fd, to: &RumpAt) -> Result<usize> {
    let (empty, to_path) = (UserStr::new(c""), UserStr::new(to.path));
    done(stubs::linkat(kernel()?, fd, empty, to.dir, to_path, fcntl::AT_EMPTY_PATH))
}

/// See renameat2(2); from a NetBSD server `EINVAL` for any flag, as of a file system that does not know it: mv(1) falls back.
pub fn renameat2(from: &RumpAt, to: &RumpAt, flags: u32) -> Result<usize> {
    let (kernel, old, new) = (kernel()?, UserStr::new(from.path), UserStr::new(to.path));
    if flags != 0 {
        let answer = stubs::renameat2(kernel, from.dir, old, to.dir, new, flags);
        return done(unless_unknown(answer, Err(Errno::EINVAL)));
    }
    // Where possible the POSIX variant: like Linux, it leaves two names of one file alone.
    if from.dir == Fd(AT_FDCWD) && to.dir == Fd(AT_FDCWD) {
        return done(stubs::posix_rename(kernel, old, new));
    }
    done(stubs::renameat(kernel, from.dir, old, to.dir, new))
}
