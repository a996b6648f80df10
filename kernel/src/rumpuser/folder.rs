//! Folders of the host, which hostfs shows in the rump kernel.
//!
//! An object is held by an `O_PATH` descriptor, so it stays the same whatever the host makes of its names, and it is reached
//! by one name at a time from the directory that it is in: no path is ever given to the host, no symbolic link followed by it.

use std::any::Any;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi::stat::Stat;
use abi::time::Timespec;
use abi::{Errno, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, SeekFrom, StatxFlags, StatxTimestamp, Timestamps, Uid,
};
use rustix::io::retry_on_intr;
use sysproxy::host;

use super::file::{LinuxFile, errno};
use super::{Access, HostFile};
use crate::proc::lock;

/// Bytes of directory entries that are read from the host at a time.
const LISTING_BYTES: usize = 32 * 1024;
/// Descriptors that are left to others at most.
const LEFT_MAX: u64 = 512;

/// An entry of a host directory.
pub struct HostEntry<'a> {
    /// Its name; `.` and `..` are left out.
    pub name: &'a [u8],
    /// Number of the device and of the object.
    pub id: (u64, u64),
    /// Its kind, as the bits of `S_IFMT`.
    pub format: u32,
    /// The cookie of what follows.
    pub next: u64,
}

/// New attributes; `None` leaves the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostChange {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Timespec>,
    /// Last change of content.
    pub mtime: Option<Timespec>,
}

/// Sizes of the file system that an object is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSizes {
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all, free, and free for everybody.
    pub blocks: [u64; 3],
    /// Objects in all, and how many more there can be.
    pub files: [u64; 2],
}

/// An object, and its attributes when it was found or made.
pub type Found = (Box<dyn HostNode>, Stat);

/// An object of a host folder. Names are single: never empty, `.`, nor with a slash; `..` only for [`HostNode::lookup`].
pub trait HostNode: Any + Send + Sync {
    /// Attributes now, as the host has them.
    fn status(&self) -> Result<Stat>;
    /// Attributes of the entry `name` of a directory, a symbolic link's own: what [`HostNode::lookup`] would find.
    fn status_of(&self, name: &[u8]) -> Result<Stat>;
    /// Returns the entry `name` of a directory, a symbolic link itself.
    fn lookup(&self, name: &[u8]) -> Result<Box<dyn HostNode>>;
    /// Checks that the host lets a directory be listed, a removed one too.
    fn may_list(&self) -> Result<()>;
    /// Shows the entries of a directory from a cookie on (0 is the first) until `each` answers false.
    fn list(&self, cookie: u64, each: &mut dyn FnMut(HostEntry<'_>) -> bool) -> Result<()>;
    /// Opens the content of a regular file; `quiet` asks not to change the time of the last access.
    fn open(&self, access: Access, quiet: bool) -> Result<Box<dyn HostFile>>;
    /// Returns the target of a symbolic link.
    fn read_link(&self) -> Result<Vec<u8>>;
    /// Makes an entry of the kind and with the permissions that `mode` says; `target` is a symbolic link's.
    fn make(&self, name: &[u8], mode: u32, target: &[u8]) -> Result<Found>;
    /// Makes a regular file without a name on a directory's file system.
    fn make_unnamed(&self, mode: u32, linkable: bool) -> Result<Found>;
    /// Gives `node` one more name, in this directory.
    fn link(&self, name: &[u8], node: &dyn HostNode) -> Result<()>;
    /// Removes an entry; `directory` says of which kind it must be.
    fn remove(&self, name: &[u8], directory: bool) -> Result<()>;
    /// Moves an entry; `flags` are those of renameat2(2).
    fn rename(&self, from: &[u8], into: &dyn HostNode, to: &[u8], flags: u32) -> Result<()>;
    /// Changes attributes; one of nothing notes the time of the change only, as chown(2) of nothing does.
    fn change(&self, change: &HostChange) -> Result<()>;
    /// Sizes of the file system that it is on.
    fn sizes(&self) -> Result<HostSizes>;
    /// Writes a directory to the disk, or `all` of the file system that it is on.
    fn sync(&self, all: bool) -> Result<()>;
}

/// An object of a Linux host.
pub(super) struct LinuxNode {
    fd: OwnedFd,
    taken: Taken,
    /// For listing a directory: opened when that is done first, and kept, since the cookies may be this descriptor's alone.
    listing: Mutex<Option<Arc<Listing>>>,
}

/// A directory that is open for reading.
struct Listing {
    fd: OwnedFd,
    _taken: Taken,
}

/// How many descriptors folders may take: some are left for clients to connect.
struct Descriptors {
    used: AtomicU64,
    limit: u64,
}

/// A descriptor that is counted.
struct Taken(Arc<Descriptors>);

impl Descriptors {
    /// Of the descriptors that the host gives, a quarter is left, of many fewer.
    fn new() -> Arc<Self> {
        let all = host::descriptor_limit();
        Arc::new(Self { used: AtomicU64::new(0), limit: all - (all / 4).min(LEFT_MAX) })
    }

    /// Takes one; `ENFILE` if there are no more.
    fn take(self: &Arc<Self>) -> Result<Taken> {
        let taken = Taken(self.clone());
        if self.used.fetch_add(1, Ordering::Relaxed) < self.limit { Ok(taken) } else { Err(Errno::ENFILE) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LinuxNode {
    /// Opens a folder.
    pub fn open_folder(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let taken = Descriptors::new().take()?;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map_err(errno)?;
        Ok(Self { fd, taken, listing: Mutex::default() })
    }

    /// Opens an entry of this directory.
    fn openat(&self, name: &[u8], flags: OFlags, mode: Mode) -> Result<Self> {
        let taken = self.taken.0.take()?;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags | OFlags::CLOEXEC, mode)).map_err(errno)?;
        Ok(Self { fd, taken, listing: Mutex::default() })
    }

    /// Opens an entry of this directory for itself, whatever it is.
    fn place(&self, name: &[u8]) -> Result<Self> {
        self.openat(name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// The host's name for the object itself, whatever it is called: for calls that take no descriptor.
    fn own_name(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn reopen(&self, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        retry_on_intr(|| rustix::fs::open(self.own_name(), flags, Mode::empty())).map_err(errno)
    }

    fn listing(&self) -> Result<Arc<Listing>> {
        let mut listing = lock(&self.listing);
        if let Some(open) = &*listing {
            return Ok(open.clone());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let _taken = self.taken.0.take()?;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, ".", flags, Mode::empty())).map_err(errno)?;
        Ok(listing.insert(Arc::new(Listing { fd, _taken })).clone())
    }

    /// Gives a new object exactly the permissions that were asked for, which the server's umask may have cut.
    fn with_mode(self, mode: u32, mut found: Stat) -> Result<Found> {
        if found.st_mode & 0o7777 != mode & 0o7777 {
            self.chmod(mode)?;
            found = self.status()?;
        }
        Ok((Box::new(self), found))
    }

    fn chmod(&self, mode: u32) -> Result<()> {
        rustix::fs::chmod(self.own_name(), Mode::from_raw_mode(mode & 0o7777)).map_err(errno)
    }
}

/// What behind `node` is this host's.
fn own(node: &dyn HostNode) -> Result<&LinuxNode> {
    let any: &dyn Any = node;
    any.downcast_ref().ok_or(Errno::EXDEV)
}

fn status(fd: impl AsFd, name: &[u8]) -> Result<Stat> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = rustix::fs::statx(fd, name, flags, wanted).map_err(errno)?;
    let time = |time: StatxTimestamp| Timespec { tv_sec: time.tv_sec, tv_nsec: i64::from(time.tv_nsec) };
    let born = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Stat {
        st_dev: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        st_mode: u32::from(found.stx_mode),
        st_ino: found.stx_ino,
        st_nlink: found.stx_nlink,
        st_uid: found.stx_uid,
        st_gid: found.stx_gid,
        st_rdev: rustix::fs::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        st_atim: time(found.stx_atime),
        st_mtim: time(found.stx_mtime),
        st_ctim: time(found.stx_ctime),
        st_birthtim: time(if born { found.stx_btime } else { found.stx_ctime }),
        st_size: found.stx_size as i64,
        st_blocks: found.stx_blocks as i64,
        st_blksize: found.stx_blksize as i32,
        ..Stat::default()
    })
}

impl HostNode for LinuxNode {
    fn status(&self) -> Result<Stat> {
        status(&self.fd, b"")
    }

    fn status_of(&self, name: &[u8]) -> Result<Stat> {
        status(&self.fd, name)
    }

    fn lookup(&self, name: &[u8]) -> Result<Box<dyn HostNode>> {
        Ok(Box::new(self.place(name)?))
    }

    fn may_list(&self) -> Result<()> {
        self.listing().map(drop)
    }

    fn list(&self, cookie: u64, each: &mut dyn FnMut(HostEntry<'_>) -> bool) -> Result<()> {
        let open = self.listing()?;
        // The descriptor has one position, which others set too; an entry that is shown may need this directory itself.
        let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
        let mut next = cookie;
        let mut device = None;
        loop {
            let listing = lock(&self.listing);
            rustix::fs::seek(&open.fd, SeekFrom::Start(next)).map_err(errno)?;
            let mut entries = RawDir::new(&open.fd, &mut buffer);
            let mut piece = match entries.next() {
                Some(first) => Some(first.map_err(errno)?),
                None => return Ok(()),
            };
            drop(listing);
            while let Some(entry) = piece.take() {
                next = entry.next_entry_cookie();
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    let format = match entry.file_type() {
                        FileType::Unknown => 0,
                        kind => kind.as_raw_mode(),
                    };
                    let here = match device {
                        Some(here) => here,
                        None => *device.insert(self.status()?.st_dev),
                    };
                    // A directory's number may be that of what the host has mounted on it.
                    let looked = (matches!(entry.file_type(), FileType::Unknown | FileType::Directory))
                        .then(|| status(&self.fd, name));
                    let (id, format) = match looked {
                        Some(Ok(found)) => ((found.st_dev, found.st_ino), found.st_mode & abi::stat::S_IFMT),
                        // It is gone already.
                        Some(Err(Errno::ENOENT)) => ((0, 0), 0),
                        _ => ((here, entry.ino()), format),
                    };
                    if format != 0 && !each(HostEntry { name, id, format, next }) {
                        return Ok(());
                    }
                }
                if entries.is_buffer_empty() {
                    break;
                }
                piece = entries.next().transpose().map_err(errno)?;
            }
        }
    }

    fn open(&self, access: Access, quiet: bool) -> Result<Box<dyn HostFile>> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let taken = self.taken.0.take()?;
        let fd = match if quiet { self.reopen(flags | OFlags::NOATIME) } else { Err(Errno::EPERM) } {
            // Only the owner may ask for that.
            Err(Errno::EPERM) => self.reopen(flags)?,
            opened => opened?,
        };
        Ok(Box::new(LinuxFile::of(fd)?.holding(taken)))
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        rustix::fs::readlinkat(&self.fd, "", Vec::new()).map(|target| target.into_bytes()).map_err(
            |error| match error {
                // An O_PATH descriptor of what is no link.
                rustix::io::Errno::NOENT => Errno::EINVAL,
                error => errno(error),
            },
        )
    }

    fn make(&self, name: &[u8], mode: u32, target: &[u8]) -> Result<Found> {
        let bits = Mode::from_raw_mode(mode & 0o7777);
        let kind = FileType::from_raw_mode(mode);
        match kind {
            FileType::Directory => rustix::fs::mkdirat(&self.fd, name, bits).map_err(errno)?,
            FileType::Symlink => {
                rustix::fs::symlinkat(target, &self.fd, name).map_err(errno)?;
            }
            FileType::RegularFile | FileType::Fifo | FileType::Socket => {
                rustix::fs::mknodat(&self.fd, name, kind, bits, 0).map_err(errno)?;
            }
            // Devices of the host are not for the rump kernel.
            _ => return Err(Errno::EPERM),
        }
        let made = self.place(name)?;
        let found = made.status()?;
        // Somebody on the host may have put something else in its place: that keeps its permissions.
        if kind == FileType::Symlink || found.st_mode & abi::stat::S_IFMT != kind.as_raw_mode() {
            return Ok((Box::new(made), found));
        }
        made.with_mode(mode, found)
    }

    fn make_unnamed(&self, mode: u32, linkable: bool) -> Result<Found> {
        let exclusive = if linkable { OFlags::empty() } else { OFlags::EXCL };
        let flags = OFlags::TMPFILE | OFlags::RDWR | exclusive;
        let made = self.openat(b".", flags, Mode::from_raw_mode(mode & 0o7777))?;
        let found = made.status()?;
        made.with_mode(mode, found)
    }

    fn link(&self, name: &[u8], node: &dyn HostNode) -> Result<()> {
        let node = own(node)?;
        rustix::fs::linkat(rustix::fs::CWD, node.own_name(), &self.fd, name, AtFlags::SYMLINK_FOLLOW).map_err(errno)
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&self.fd, name, flags).map_err(errno)
    }

    fn rename(&self, from: &[u8], into: &dyn HostNode, to: &[u8], flags: u32) -> Result<()> {
        let flags = RenameFlags::from_bits_retain(flags);
        rustix::fs::renameat_with(&self.fd, from, &own(into)?.fd, to, flags).map_err(errno)
    }

    fn change(&self, change: &HostChange) -> Result<()> {
        if change.uid.is_some() || change.gid.is_some() || *change == HostChange::default() {
            let (uid, gid) = (change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw));
            rustix::fs::chownat(&self.fd, "", uid, gid, AtFlags::EMPTY_PATH).map_err(errno)?;
        }
        if let Some(mode) = change.mode {
            self.chmod(mode)?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let time = |time: Option<Timespec>| match time {
                Some(time) => rustix::fs::Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec },
                None => rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            };
            let times = Timestamps { last_access: time(change.atime), last_modification: time(change.mtime) };
            rustix::fs::utimensat(&self.fd, "", &times, AtFlags::EMPTY_PATH).map_err(errno)?;
        }
        Ok(())
    }

    fn sizes(&self) -> Result<HostSizes> {
        let found = rustix::fs::fstatvfs(&self.fd).map_err(errno)?;
        Ok(HostSizes {
            block_size: found.f_frsize,
            blocks: [found.f_blocks, found.f_bfree, found.f_bavail],
            files: [found.f_files, found.f_ffree],
        })
    }

    fn sync(&self, all: bool) -> Result<()> {
        let open = self.listing()?;
        let sync = || if all { rustix::fs::syncfs(&open.fd) } else { rustix::fs::fsync(&open.fd) };
        retry_on_intr(sync).map_err(errno)
    }
}
