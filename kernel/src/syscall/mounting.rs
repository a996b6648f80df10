//! What is mounted, and mounting it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use abi::fcntl::O_RDONLY;
use abi::mount::{
    ISOFSMNT_NOJOLIET, ISOFSMNT_NORRIP, IsoArgs, MNT_FORCE, MNT_GETARGS, MNT_UPDATE, MsdosfsArgs, NullArgs,
    TMPFS_ARGS_VERSION, TmpfsArgs, UfsArgs, VFS_MAXMOUNTDATA, VFS_MNAME_LEN, VFS_TYPENAME_LEN,
};
use abi::stat::{S_IFMT, Statvfs};
use abi::{Errno, Fd, InOut, Out, Result, UserStr};
use zerocopy::FromBytes;

use crate::Cx;
use crate::file::OpenFile;
use crate::fs::etfs::Window;
use crate::vfs::{Kind, View};

/// mount(2): the data is a structure of the type's own.
pub fn mount(cx: &Cx<'_>, kind: UserStr, path: UserStr, flags: i32, data: InOut, data_len: usize) -> Result<i32> {
    let kind = kind_name(cx, kind)?;
    if data_len > VFS_MAXMOUNTDATA {
        return Err(Errno::EINVAL);
    }
    let data = if data.is_null() { Vec::new() } else { cx.mem.read_bytes(data.addr, data_len)? };
    let path = cx.mem.path(path)?;
    if flags & MNT_GETARGS != 0 {
        // No file system of ours keeps its arguments.
        return Err(Errno::EOPNOTSUPP);
    }
    let (source, options) = arguments(cx, &kind, &data)?;
    View::of(cx)?.mount(&kind, &source, &path, flags, &options)?;
    Ok(0)
}

/// mount(2) in Linux's manner, an extension: source and options are text.
pub fn mount_text(
    cx: &Cx<'_>,
    source: UserStr,
    path: UserStr,
    kind: UserStr,
    flags: i32,
    options: UserStr,
) -> Result<()> {
    let text = |from: UserStr, max| if from.is_null() { Ok(Vec::new()) } else { cx.mem.copyinstr(from.addr, max) };
    let kind = if kind.is_null() && flags & MNT_UPDATE != 0 { String::new() } else { kind_name(cx, kind)? };
    let (source, options) = (text(source, VFS_MNAME_LEN)?, text(options, VFS_MAXMOUNTDATA)?);
    let path = cx.mem.path(path)?;
    View::of(cx)?.mount(&kind, &source, &path, flags & !(MNT_FORCE | MNT_GETARGS), &options)
}

/// The name of a type; one that is not even text is as good as unknown.
fn kind_name(cx: &Cx<'_>, kind: UserStr) -> Result<String> {
    if kind.is_null() {
        return Err(Errno::EFAULT);
    }
    String::from_utf8(cx.mem.copyinstr(kind.addr, VFS_TYPENAME_LEN)?).map_err(|_| Errno::ENODEV)
}

/// The source and the options in a structure of NetBSD's for mount(2). A type that NetBSD does not have takes a pointer to its
/// source, as ffs does.
fn arguments(cx: &Cx<'_>, kind: &str, data: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let string = |addr| if addr == 0 { Ok(Vec::new()) } else { cx.mem.copyinstr(addr, VFS_MNAME_LEN) };
    match kind {
        _ if data.is_empty() => Ok((Vec::new(), Vec::new())),
        "devfs" | "kernfs" | "procfs" | "ptyfs" => Ok((Vec::new(), Vec::new())),
        "tmpfs" => {
            let (args, _) = TmpfsArgs::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            if args.ta_version != TMPFS_ARGS_VERSION {
                return Err(Errno::EINVAL);
            }
            let TmpfsArgs { ta_size_max: size, ta_nodes_max: nodes, ta_root_mode: mode, .. } = args;
            let mut text = format!("uid={},gid={},mode={:o}", args.ta_root_uid, args.ta_root_gid, mode & 0o7777);
            // Less than a block and up to three nodes mean what is usual.
            if size >= 4096 {
                text = format!("{text},size={size}");
            }
            if nodes > 3 {
                text = format!("{text},nr_inodes={nodes}");
            }
            Ok((Vec::new(), text.into_bytes()))
        }
        "null" => {
            let (args, _) = NullArgs::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            Ok((string(args.target)?, Vec::new()))
        }
        "msdos" => {
            let (args, _) = MsdosfsArgs::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            // The masks name what may be set; those of the options, what may not.
            let (files, directories) = (!args.mask & 0o777, !args.dirmask & 0o777);
            let directories = if args.version < 2 { files } else { directories };
            let offset = if args.version < 3 { 0 } else { args.gmtoff / 60 };
            let owner = format!("uid={},gid={}", args.uid, args.gid);
            let text = format!("{owner},fmask={files:o},dmask={directories:o},time_offset={offset}");
            Ok((string(args.fspec)?, text.into_bytes()))
        }
        "cd9660" => {
            let (args, _) = IsoArgs::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            let words = [(ISOFSMNT_NORRIP, "norock"), (ISOFSMNT_NOJOLIET, "nojoliet")];
            let words: Vec<&str> =
                words.iter().filter(|(flag, _)| args.flags & flag != 0).map(|(_, word)| *word).collect();
            Ok((string(args.fspec)?, words.join(",").into_bytes()))
        }
        _ => {
            let (args, _) = UfsArgs::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            Ok((string(args.fspec)?, Vec::new()))
        }
    }
}

/// unmount(2).
pub fn unmount(cx: &Cx<'_>, path: UserStr, flags: i32) -> Result<()> {
    let path = cx.mem.path(path)?;
    View::of(cx)?.unmount(&path, flags)
}

/// rump_etfs_register_withsize(3), an extension: `kind` are the bits of `S_IFMT` that it appears with.
///
/// `EPERM` unless the superuser asks, from the kernel's own host.
pub fn etfs_register(cx: &Cx<'_>, key: UserStr, hostpath: UserStr, kind: u32, offset: u64, size: u64) -> Result<()> {
    let (key, hostpath) = (cx.mem.path(key)?, cx.mem.path(hostpath)?);
    operator(cx)?;
    let kind = Kind::from_mode(kind & S_IFMT).ok_or(Errno::EINVAL)?;
    let window = Window { offset, size: Some(size) };
    cx.kernel.vfs.etfs_register(&key, Path::new(OsStr::from_bytes(&hostpath)), kind, window)
}

/// rump_etfs_remove(3), an extension.
pub fn etfs_remove(cx: &Cx<'_>, key: UserStr) -> Result<()> {
    let key = cx.mem.path(key)?;
    operator(cx)?;
    cx.kernel.vfs.etfs_remove(&key)
}

/// `EPERM` unless the superuser asks, from the kernel's own host.
fn operator(cx: &Cx<'_>) -> Result<()> {
    let view = View::of(cx)?;
    view.superuser()?;
    if view.on_host { Ok(()) } else { Err(Errno::EPERM) }
}

/// The root file system as a tar archive, an extension: a descriptor to read it from.
pub fn snapshot(cx: &Cx<'_>) -> Result<Fd> {
    let archive = View::of(cx)?.snapshot()?;
    cx.proc.install(OpenFile::new(archive, O_RDONLY), true)
}

/// getvfsstat(2): how many mounts there are without a buffer, else how many were stored.
pub fn getvfsstat(cx: &Cx<'_>, buf: Out, bufsize: usize, _flags: i32) -> Result<i32> {
    let mounts = cx.kernel.vfs.mounts();
    if buf.is_null() {
        return Ok(mounts.len() as i32);
    }
    let room = bufsize / size_of::<Statvfs>();
    let answers: Vec<Statvfs> = mounts.iter().take(room).map(|mount| mount.statvfs()).collect();
    cx.mem.write(buf, answers.as_slice())?;
    Ok(answers.len() as i32)
}
