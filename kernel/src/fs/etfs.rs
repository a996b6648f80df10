//! etfs: files and disks of the host under names in the root directory (rump_etfs(3)).
//!
//! A key is not a directory entry: it is compared with all that remains of a path when a walk is in the root directory
//! of the root file system, so it may contain slashes, hides an ordinary entry, and is not listed. A regular file goes
//! straight to the host's; a disk is a window into one, under a device number of its own. Host directories, NetBSD's
//! types `DIR` and `DIR_SUBDIRS`, are not served.

mod disk;
mod passage;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use abi::stat::{major, makedev, minor};
use abi::time::Timespec;
use abi::{Errno, Result};

pub use disk::OpenDisk;
use disk::{Behaviour, Disk};
use passage::Passage;

use crate::config::Disks;
use crate::proc::lock;
use crate::rumpuser::{Access, HostKind, Rumpuser};
use crate::vfs::pipe::Ways;
use crate::vfs::{Attr, Change, Kind, Node, Position, Vnode};

/// Major number of the disks (NetBSD's `RUMPBLK_DEVMAJOR`).
const MAJOR: u32 = 197;
/// Disks at most.
const UNITS: u32 = 16;
/// Unit of `st_blocks` in bytes.
const BLOCK_BYTES: u64 = 512;
/// Number of the first node: far above those that the root file system gives its own.
const FIRST_INO: u64 = 1 << 32;

/// The keys and what they lead to.
#[derive(Default)]
pub struct Etfs {
    entries: RwLock<Vec<Entry>>,
    registered: AtomicU64,
    behaviour: Arc<Behaviour>,
}

struct Entry {
    /// Without leading slashes.
    key: Vec<u8>,
    node: Arc<EtNode>,
}

/// A part of a host file; all of it from `offset` on without a `size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Where it begins in the host file.
    pub offset: u64,
    /// How many bytes it has.
    pub size: Option<u64>,
}

impl Etfs {
    /// Makes an empty table; the console hears of faults that will be injected.
    pub fn new(rumpuser: &dyn Rumpuser, disks: Disks) -> Self {
        let seed = disks.seed.unwrap_or_else(|| {
            let mut bytes = [0; 4];
            rumpuser.random(&mut bytes);
            u32::from_ne_bytes(bytes)
        });
        if let Some(fail) = disks.fail {
            let text = format!("rumpblk: FAULT INJECTION ACTIVE! fail {fail}/{}. seed {seed}\n", Disks::REQUESTS);
            rumpuser.console(text.as_bytes());
        }
        let (sector_shift, fail) = (disks.sector_shift, disks.fail.unwrap_or(0));
        let behaviour = Arc::new(Behaviour { sector_shift, fail, drawn: AtomicU32::new(seed) });
        Self { behaviour, ..Self::default() }
    }

    /// Shows a window of the host file `hostpath` under `key` as a regular file, block or character device.
    ///
    /// `EINVAL` for a key without a leading slash, a window that ends behind the host file, a host file that is neither
    /// file nor device; `EEXIST` for a key in use; `EBUSY` for more than 16 devices; the host's error in opening it.
    pub fn register(
        &self,
        rumpuser: &Arc<dyn Rumpuser>,
        key: &[u8],
        hostpath: &Path,
        kind: Kind,
        window: Window,
    ) -> Result<()> {
        let key = stripped(key)?;
        if !matches!(kind, Kind::Regular | Kind::Block | Kind::Character) {
            return Err(Errno::EOPNOTSUPP);
        }
        let host = rumpuser.open_host(hostpath, Access::Read)?;
        if host.kind() == HostKind::Other {
            return Err(Errno::EINVAL);
        }
        let whole = match host.kind() {
            // It has no end of its own: as much is shown as was asked for.
            HostKind::Character => window.offset.saturating_add(window.size.unwrap_or(0)),
            _ => host.size()?,
        };
        let rest = whole.checked_sub(window.offset).ok_or(Errno::EINVAL)?;
        let size = window.size.unwrap_or(rest);
        if size > rest {
            return Err(Errno::EINVAL);
        }
        let mut entries = write(&self.entries);
        if entries.iter().any(|entry| entry.key == key) {
            return Err(Errno::EEXIST);
        }
        let (mode, rdev, body) = if kind == Kind::Regular {
            (0o755, 0, Body::File(Passage::new(rumpuser.clone(), hostpath, window.offset)))
        } else {
            let used = |unit: &u32| entries.iter().any(|entry| entry.node.rdev == makedev(MAJOR, *unit));
            let unit = (0..UNITS).find(|unit| !used(unit)).ok_or(Errno::EBUSY)?;
            // NetBSD's mode is 0755 here too, which lets everybody read the disk.
            (0o660, makedev(MAJOR, unit), Body::Disk(self.disk(&**rumpuser, hostpath, window.offset, size)?))
        };
        let ino = FIRST_INO + self.registered.fetch_add(1, Ordering::Relaxed);
        let now = Timespec::from_duration(rumpuser.wall_clock());
        let (atime, mtime, ctime, birthtime) = (now, now, now, now);
        let blocks = size.div_ceil(BLOCK_BYTES);
        let attr = Attr { mode, nlink: 1, uid: 0, gid: 0, rdev, size, blocks, atime, mtime, ctime, birthtime };
        let node = EtNode { vnode: Vnode::new(kind, ino), attr: Mutex::new(attr), rdev, body };
        entries.push(Entry { key: key.to_vec(), node: Arc::new(node) });
        Ok(())
    }

    fn disk(&self, rumpuser: &dyn Rumpuser, hostpath: &Path, offset: u64, size: u64) -> Result<Arc<Disk>> {
        let (file, writable) = match rumpuser.open_host(hostpath, Access::ReadWrite) {
            Ok(file) => (file, true),
            Err(_) => (rumpuser.open_host(hostpath, Access::Read)?, false),
        };
        let (behaviour, gone) = (self.behaviour.clone(), AtomicBool::new(false));
        Ok(Arc::new(Disk { file, writable, offset, size, gone, behaviour }))
    }

    /// Takes `key` away; what is still open answers `ENXIO` from then on.
    ///
    /// `EINVAL` for a key without a leading slash, `ENOENT` for an unknown one.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        let key = stripped(key)?;
        let mut entries = write(&self.entries);
        let at = entries.iter().position(|entry| entry.key == key).ok_or(Errno::ENOENT)?;
        match &entries.remove(at).node.body {
            Body::File(passage) => passage.gone.store(true, Ordering::Relaxed),
            Body::Disk(disk) => disk.gone.store(true, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Returns what the rest of a path, met in the root directory, is the key of.
    pub fn lookup(&self, rest: &[u8]) -> Option<Arc<dyn Node>> {
        let entries = read(&self.entries);
        entries.iter().find(|entry| entry.key == rest).map(|entry| entry.node.clone() as Arc<dyn Node>)
    }

    /// Whether `node` is shown here.
    pub fn shows(&self, node: &dyn Node) -> bool {
        read(&self.entries).iter().any(|entry| std::ptr::addr_eq(Arc::as_ptr(&entry.node), node))
    }

    /// Opens the disk with number `rdev`; `ENXIO` if there is none, `EACCES` for writing one that the host lets only read.
    pub fn open(&self, rdev: u64, kind: Kind, ways: Ways) -> Result<OpenDisk> {
        let entries = read(&self.entries);
        let disk = entries.iter().find_map(|entry| match &entry.node.body {
            Body::Disk(disk) if entry.node.rdev == rdev => Some(disk.clone()),
            _ => None,
        });
        let disk = disk.ok_or(Errno::ENXIO)?;
        if ways.write && !disk.writable {
            return Err(Errno::EACCES);
        }
        Ok(OpenDisk { disk, raw: kind == Kind::Character })
    }

    /// Writes everything to where it lasts.
    pub fn sync(&self) {
        let nodes: Vec<_> = read(&self.entries).iter().map(|entry| entry.node.clone()).collect();
        for node in nodes {
            // Asked by sync(2), which cannot fail.
            let _ = node.sync();
        }
    }
}

/// Whether a device number is a disk's.
pub fn is_disk(rdev: u64) -> bool {
    major(rdev) == MAJOR && minor(rdev) < UNITS
}

/// Takes the leading slashes from a key, of which there must be one at least, and something after them.
fn stripped(key: &[u8]) -> Result<&[u8]> {
    let begin = key.iter().position(|byte| *byte != b'/').ok_or(Errno::EINVAL)?;
    if begin > 0 { Ok(&key[begin..]) } else { Err(Errno::EINVAL) }
}

fn read(entries: &RwLock<Vec<Entry>>) -> RwLockReadGuard<'_, Vec<Entry>> {
    entries.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(entries: &RwLock<Vec<Entry>>) -> RwLockWriteGuard<'_, Vec<Entry>> {
    entries.write().unwrap_or_else(PoisonError::into_inner)
}

/// What a key leads to.
struct EtNode {
    vnode: Vnode,
    attr: Mutex<Attr>,
    /// Number of the disk; 0 for a file.
    rdev: u64,
    body: Body,
}

enum Body {
    File(Passage),
    Disk(Arc<Disk>),
}

impl EtNode {
    fn passage(&self) -> Result<&Passage> {
        match &self.body {
            Body::File(passage) if passage.gone.load(Ordering::Relaxed) => Err(Errno::ENXIO),
            Body::File(passage) => Ok(passage),
            Body::Disk(_) => Err(Errno::EINVAL),
        }
    }
}

impl Node for EtNode {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        *lock(&self.attr)
    }

    /// Changes what is seen here; nothing on the host. The length stays what it was registered with, as in NetBSD.
    fn set_attr(&self, change: &Change) -> Result<()> {
        let mut attr = lock(&self.attr);
        attr.mode = change.mode.unwrap_or(attr.mode);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.unwrap_or(attr.atime);
        attr.mtime = change.mtime.unwrap_or(attr.mtime);
        Ok(())
    }

    fn opened(&self, ways: Ways) -> Result<()> {
        self.passage()?.open(ways)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.passage()?.read_at(offset, buf)
    }

    fn write_at(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        let offset = match position {
            Position::At(offset) => offset,
            Position::End => self.attr().size,
        };
        let len = self.passage()?.write_at(offset, data)?;
        Ok((offset + len as u64, len))
    }

    fn sync(&self) -> Result<()> {
        match &self.body {
            Body::File(passage) => passage.sync(),
            Body::Disk(disk) => disk.sync(),
        }
    }
}
