//! Mounting on directories of the rump kernel (mount(2), umount2(2)).

use std::ffi::CString;

use abi::mount::{
    MNT_DETACH, MNT_FORCE, MNT_NOATIME, MNT_NODEV, MNT_NOEXEC, MNT_NOSUID, MNT_RDONLY, MNT_RELATIME, MNT_SYNCHRONOUS,
    MNT_UPDATE, MNT_WAIT,
};
use abi::stat::Statvfs;
use abi::{Errno, Out, Result, UserStr};
use client::stubs;

use super::file::done;
use super::kernel;
use crate::route::{self, Owner, RumpAt};
use crate::{sandbox, trace, user};

/// Flags of Linux's mount(2) with those of the rump kernel.
const FLAGS: [(u64, i32); 8] = [
    (libc::MS_RDONLY, MNT_RDONLY),
    (libc::MS_NOSUID, MNT_NOSUID),
    (libc::MS_NODEV, MNT_NODEV),
    (libc::MS_NOEXEC, MNT_NOEXEC),
    (libc::MS_SYNCHRONOUS, MNT_SYNCHRONOUS),
    (libc::MS_REMOUNT, MNT_UPDATE),
    (libc::MS_NOATIME, MNT_NOATIME),
    (libc::MS_RELATIME, MNT_RELATIME),
];

/// Flags that ask for another operation: nothing is shown twice or moved in the rump kernel, and mounts are not passed on.
const OTHERS: u64 =
    libc::MS_BIND | libc::MS_MOVE | libc::MS_SHARED | libc::MS_SLAVE | libc::MS_PRIVATE | libc::MS_UNBINDABLE;

/// Flags about the times of access.
const OF_ACCESS: u64 = libc::MS_NOATIME | libc::MS_NODIRATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;

/// The old mark in the upper half of the flags, which Linux ignores.
const MAGIC: u64 = 0xffff_0000;

/// The file system type that shows a folder of the host.
const HOST_FOLDER: &[u8] = b"hostfs";

/// See mount(2); the types are those of the rump kernel. `EINVAL` for binding, moving and passing on.
pub fn mount(at: &RumpAt, source: usize, kind: usize, flags: u64, data: usize) -> Result<usize> {
    let magic = flags & MAGIC == libc::MS_MGC_VAL;
    let flags = if magic { flags & !MAGIC } else { flags };
    if flags & OTHERS != 0 {
        trace::say(format_args!("mount: flags {flags:#x}: no bind mounts in the rump kernel"));
        return Err(Errno::EINVAL);
    }
    let text = |addr: usize| if addr == 0 { Ok(CString::default()) } else { user::read_path(addr) };
    let (kind, options) = (text(kind)?, text(data)?);
    if kind.is_empty() && flags & libc::MS_REMOUNT == 0 {
        return Err(Errno::EINVAL);
    }
    if kind.to_bytes() == HOST_FOLDER && sandbox::on() {
        trace::say(format_args!("mount: no folders of the host in a sandbox"));
        return Err(Errno::EPERM);
    }
    // A source may lie in the rump kernel, under the program's name for it.
    let source = match route::path(source) {
        Owner::Rump(name) => name.at().path.to_owned(),
        _ => text(source)?,
    };
    let mut given = FLAGS.iter().filter(|(linux, _)| flags & linux != 0).fold(0, |all, (_, flag)| all | flag);
    if flags & libc::MS_REMOUNT != 0 && flags & OF_ACCESS == 0 {
        // What was said of the times of access stays, other than the rest.
        let mut status = Statvfs::default();
        stubs::statvfs1(kernel()?, UserStr::new(at.path), Out::new(&mut status), MNT_WAIT)?;
        given |= status.f_flag as i32 & (MNT_NOATIME | MNT_RELATIME);
    }
    let (source, options) = (UserStr::new(&source), UserStr::new(&options));
    let mounted = stubs::mount_text(kernel()?, source, UserStr::new(at.path), UserStr::new(&kind), given, options);
    if mounted == Err(Errno::EOPNOTSUPP) && kind.to_bytes() == HOST_FOLDER {
        trace::say(format_args!("mount: a kernel inside the program shows no folders of the host; a server does"));
    }
    done(mounted)
}

/// See umount2(2). `EAGAIN` for `MNT_EXPIRE`: no mount is ever marked as expired.
pub fn umount2(at: &RumpAt, flags: i32) -> Result<usize> {
    const EXPIRE_ALONE: i32 = libc::MNT_FORCE | libc::MNT_DETACH;
    if flags & !(libc::MNT_FORCE | libc::MNT_DETACH | libc::MNT_EXPIRE | libc::UMOUNT_NOFOLLOW) != 0
        || (flags & libc::MNT_EXPIRE != 0 && flags & EXPIRE_ALONE != 0)
    {
        return Err(Errno::EINVAL);
    }
    if flags & libc::MNT_EXPIRE != 0 {
        return Err(Errno::EAGAIN);
    }
    let pairs = [(libc::MNT_FORCE, MNT_FORCE), (libc::MNT_DETACH, MNT_DETACH)];
    let given = pairs.iter().filter(|(linux, _)| flags & linux != 0).fold(0, |all, (_, flag)| all | flag);
    done(stubs::unmount(kernel()?, UserStr::new(at.path), given))
}
