//! etfs: files and disks of the host under names in the root directory (rump_etfs(3)).
//!
//! A key is not a directory entry: it is compared with all that remains of a path when a walk is in the root directory
//! of the root file system, so it may contain slashes, hides an ordinary entry, and is not listed. A regular file goes
//! straight to the host's; a disk is a window into one, under a device number of its own. Host directories, NetBSD's
//! types `DIR` and `DIR_SUBDIRS`, are not served.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use abi::stat::{major, makedev, minor};
use abi::time::Timespec;
use abi::{Errno, Result};

use crate::config::Disks;
use crate::proc::lock;
use crate::rumpuser::{Access, HostFile, HostKind, Rumpuser};
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

/// What all disks have in common: their sectors, and the faults that are injected.
#[derive(Default)]
struct Behaviour {
    sector_shift: u32,
    fail: u32,
    /// The last number of the generator.
    drawn: AtomicU32,
}

impl Behaviour {
    /// Fails now and then, as `RUMP_BLKFAIL` says.
    fn draw(&self) -> Result<()> {
        if self.fail == 0 {
            return Ok(());
        }
        let next = |last: u32| last.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        let last = self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let drawn = last.map_or_else(next, next);
        if drawn % Disks::REQUESTS < self.fail { Err(Errno::EIO) } else { Ok(()) }
    }
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
        let rest = host.size()?.checked_sub(window.offset).ok_or(Errno::EINVAL)?;
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

/// A regular file, which goes straight to the host's: reads end where that ends, writes make it longer.
struct Passage {
    rumpuser: Arc<dyn Rumpuser>,
    hostpath: PathBuf,
    offset: u64,
    /// Opened for the first reader, and kept.
    reader: OnceLock<Box<dyn HostFile>>,
    /// Opened for the first writer, and kept.
    writer: OnceLock<Box<dyn HostFile>>,
    gone: AtomicBool,
}

impl Passage {
    fn new(rumpuser: Arc<dyn Rumpuser>, hostpath: &Path, offset: u64) -> Self {
        let (reader, writer) = (OnceLock::new(), OnceLock::new());
        Self { rumpuser, hostpath: hostpath.to_owned(), offset, reader, writer, gone: AtomicBool::new(false) }
    }

    fn open(&self, ways: Ways) -> Result<()> {
        let wanted = [(ways.read, &self.reader, Access::Read), (ways.write, &self.writer, Access::Write)];
        for (_, file, access) in wanted.iter().filter(|(wanted, file, _)| *wanted && file.get().is_none()) {
            let _ = file.set(self.rumpuser.open_host(&self.hostpath, *access)?);
        }
        Ok(())
    }

    fn host_offset(&self, offset: u64) -> Result<u64> {
        self.offset.checked_add(offset).filter(|at| *at <= i64::MAX as u64).ok_or(Errno::EINVAL)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.reader.get().ok_or(Errno::EBADF)?.read_at(self.host_offset(offset)?, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.writer.get().ok_or(Errno::EBADF)?.write_at(self.host_offset(offset)?, data)
    }

    fn sync(&self) -> Result<()> {
        self.writer.get().map_or(Ok(()), |file| file.sync())
    }
}

/// A disk: a window into a host file, with an end.
struct Disk {
    file: Box<dyn HostFile>,
    writable: bool,
    offset: u64,
    size: u64,
    gone: AtomicBool,
    behaviour: Arc<Behaviour>,
}

impl Disk {
    fn sync(&self) -> Result<()> {
        if self.writable { self.file.sync() } else { Ok(()) }
    }
}

/// An open disk.
pub struct OpenDisk {
    disk: Arc<Disk>,
    /// Opened as a character device: whole sectors only. A block device takes any length, as through a buffer cache;
    /// but what is written is on the host at once.
    raw: bool,
}

impl OpenDisk {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.disk.size
    }

    /// Reads; less than asked for where the disk ends, 0 at its end, `EINVAL` behind that.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = self.transfer(offset, buf.len())?;
        self.disk.file.read_at(self.disk.offset + offset, &mut buf[..len])
    }

    /// Writes; less than asked for where the disk ends, `EINVAL` behind its end.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        match self.transfer(offset, data.len())? {
            // At the end Linux says this; NetBSD takes nothing, which makes programs try for ever.
            0 if !data.is_empty() => Err(Errno::ENOSPC),
            len => self.disk.file.write_at(self.disk.offset + offset, &data[..len]),
        }
    }

    /// Waits until everything written is on the host's disk.
    pub fn sync(&self) -> Result<()> {
        self.disk.sync()
    }

    /// How many of `len` bytes can be moved at `offset`.
    fn transfer(&self, offset: u64, len: usize) -> Result<usize> {
        if self.disk.gone.load(Ordering::Relaxed) {
            return Err(Errno::ENXIO);
        }
        let sector = 1 << self.disk.behaviour.sector_shift;
        if self.raw && !(offset.is_multiple_of(sector) && (len as u64).is_multiple_of(sector)) {
            return Err(Errno::EINVAL);
        }
        let rest = self.disk.size.checked_sub(offset).ok_or(Errno::EINVAL)?;
        self.disk.behaviour.draw()?;
        Ok(usize::try_from(rest).map_or(len, |rest| rest.min(len)))
    }
}

#[cfg(test)]
mod tests {
    use abi::fcntl::{O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SEEK_END, SEEK_SET};

    use super::*;
    use crate::config::Config;
    use crate::file::File;
    use crate::rumpuser::sim::SimHost;
    use crate::vfs::namei::Follow;
    use crate::vfs::{Vfs, VnodeFile};

    /// A name space on a host with a file of 32768 bytes that all differ from their neighbours.
    fn boot() -> (Vfs, Arc<SimHost>) {
        let host = SimHost::new(1);
        let image: Vec<u8> = (0..32768u32).map(|at| (at % 251) as u8).collect();
        host.put_file("/host/img", &image);
        (Vfs::boot(host.clone(), &Config::default()).unwrap(), host)
    }

    fn register(vfs: &Vfs, key: &str, kind: Kind, offset: u64, size: Option<u64>) -> Result<()> {
        vfs.etfs_register(key.as_bytes(), Path::new("/host/img"), kind, Window { offset, size })
    }

    fn open(vfs: &Vfs, path: &str, flags: i32) -> Result<Arc<VnodeFile>> {
        let view = vfs.root_view().unwrap();
        view.open(&view.cwd, path.as_bytes(), flags, 0o644)
    }

    #[test]
    fn a_file_goes_straight_to_the_host() {
        let (vfs, host) = boot();
        register(&vfs, "/f", Kind::Regular, 16000, Some(100)).unwrap();
        let file = open(&vfs, "/f", O_RDWR | O_TRUNC).unwrap();
        let stat = file.stat().unwrap();
        assert_eq!((stat.st_size, stat.st_mode), (100, 0o100755));
        let mut buf = vec![0; 32768];
        assert_eq!(file.read(&mut buf), Ok(16768), "the size is no bound");
        assert_eq!(buf[..16768], host.file("/host/img")[16000..]);
        assert_eq!(file.write(b"more"), Ok(4));
        assert_eq!((host.file("/host/img").len(), file.stat().unwrap().st_size), (32772, 100));
        assert_eq!(file.seek(0, SEEK_END), Ok(100));
        file.status_changed(O_APPEND);
        assert_eq!((file.write(b"end"), file.position()), (Ok(3), 103));
        assert_eq!(host.file("/host/img")[16100..16103], *b"end");
        assert_eq!(file.sync(), Ok(()));
        let reader = open(&vfs, "/f", O_RDONLY).unwrap();
        assert_eq!(reader.read_at(u64::MAX - 5, &mut buf), Err(Errno::EINVAL));
    }

    #[test]
    fn a_disk_ends_where_its_window_does() {
        let (vfs, host) = boot();
        register(&vfs, "/whole", Kind::Block, 0, None).unwrap();
        register(&vfs, "/part", Kind::Block, 16000, Some(16000)).unwrap();
        let mut buf = vec![0; 40000];
        assert_eq!(open(&vfs, "/whole", O_RDONLY).unwrap().read(&mut buf), Ok(32768));
        let part = open(&vfs, "/part", O_RDWR | O_CREAT).unwrap();
        assert_eq!(part.stat().unwrap().st_rdev, makedev(MAJOR, 1));
        assert_eq!((part.read(&mut buf), part.read(&mut buf)), (Ok(16000), Ok(0)));
        assert_eq!(buf[..16000], host.file("/host/img")[16000..32000]);
        assert_eq!(part.seek(-2, SEEK_END), Ok(15998));
        assert_eq!((part.write(b"abcd"), part.write(b"cd")), (Ok(2), Err(Errno::ENOSPC)));
        assert_eq!(host.file("/host/img")[31998..32000], *b"ab");
        assert_eq!(part.read_at(16001, &mut buf), Err(Errno::EINVAL));
    }

    #[test]
    fn a_character_device_moves_whole_sectors() {
        let (vfs, host) = boot();
        register(&vfs, "/raw", Kind::Character, 0, Some(1024)).unwrap();
        let raw = open(&vfs, "/raw", O_RDWR).unwrap();
        let mut buf = [0; 2048];
        assert_eq!(raw.read(&mut buf[..100]), Err(Errno::EINVAL));
        assert_eq!(raw.write_at(100, &[7; 512]), Err(Errno::EINVAL));
        assert_eq!(raw.write_at(512, &[7; 1024]), Ok(512));
        assert_eq!(host.file("/host/img")[512..1024], [7; 512]);
        assert_eq!((raw.seek(0, SEEK_SET), raw.read(&mut buf)), (Ok(0), Ok(1024)));
        // The number leads there from anywhere; an unused one nowhere.
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/same", Kind::Block, 0o600, makedev(MAJOR, 0)).unwrap();
        view.mknod(&view.cwd, b"/tmp/none", Kind::Block, 0o600, makedev(MAJOR, 5)).unwrap();
        assert_eq!(open(&vfs, "/tmp/same", O_RDONLY).unwrap().read(&mut buf[..10]), Ok(10));
        assert_eq!(open(&vfs, "/tmp/none", O_RDONLY).map(drop), Err(Errno::ENXIO));
    }

    #[test]
    fn a_key_is_the_rest_of_a_path_verbatim() {
        let (vfs, _) = boot();
        register(&vfs, "////key//with/slashes", Kind::Regular, 0, None).unwrap();
        register(&vfs, "/etc", Kind::Regular, 0, None).unwrap();
        let mut view = vfs.root_view().unwrap();
        for path in ["/key//with/slashes", "key//with/slashes", "///key//with/slashes", "/tmp/../key//with/slashes"] {
            assert!(open(&vfs, path, O_RDONLY).is_ok(), "{path}");
        }
        for path in ["/key/with/slashes", "/key//with/slashes/", "/key//with", "/tmp/key//with/slashes"] {
            assert_eq!(open(&vfs, path, O_RDONLY).map(drop), Err(Errno::ENOENT), "{path}");
        }
        let found = view.namei(&view.cwd, b"/etc", Follow::Never).unwrap();
        assert_eq!(found.node.vnode().kind, Kind::Regular, "before the ordinary entry");
        let mut names = Vec::new();
        let root = view.root.node.clone();
        root.read_dir(0, &mut |entry| {
            names.push(entry.name.to_vec());
            true
        })
        .unwrap();
        assert!(!names.iter().any(|name| name.starts_with(b"key")));
        assert_eq!(view.unlink(&view.cwd, b"/etc"), Err(Errno::EOPNOTSUPP));
        assert_eq!(view.rename(&view.cwd, b"/etc", &view.cwd, b"/tmp/etc"), Err(Errno::EOPNOTSUPP));
        view.root = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
        view.cwd = view.root.clone();
        assert_eq!(view.namei(&view.cwd, b"/key//with/slashes", Follow::Always).map(drop), Err(Errno::ENOENT));
    }

    #[test]
    fn registering_and_removing_check_the_key_and_the_window() {
        let (vfs, _) = boot();
        let whole = Window::default();
        assert_eq!(register(&vfs, "f", Kind::Regular, 0, None), Err(Errno::EINVAL));
        assert_eq!(register(&vfs, "/f", Kind::Directory, 0, None), Err(Errno::EOPNOTSUPP));
        assert_eq!(register(&vfs, "/f", Kind::Block, 32769, None), Err(Errno::EINVAL));
        assert_eq!(register(&vfs, "/f", Kind::Regular, 1, Some(32768)), Err(Errno::EINVAL));
        assert_eq!(register(&vfs, "/f", Kind::Regular, 1, Some(u64::MAX)), Err(Errno::EINVAL));
        assert_eq!(vfs.etfs_register(b"/f", Path::new("/host/none"), Kind::Block, whole), Err(Errno::ENOENT));
        for unit in 0..UNITS {
            register(&vfs, &format!("/disk{unit}"), Kind::Block, 0, None).unwrap();
        }
        assert_eq!(register(&vfs, "/disk16", Kind::Block, 0, None), Err(Errno::EBUSY));
        assert_eq!(register(&vfs, "//disk3", Kind::Block, 0, None), Err(Errno::EEXIST));
        let file = open(&vfs, "/disk3", O_WRONLY).unwrap();
        assert_eq!(vfs.etfs_remove(b"disk3"), Err(Errno::EINVAL));
        assert_eq!(vfs.etfs_remove(b"/disk3"), Ok(()));
        assert_eq!(vfs.etfs_remove(b"/disk3"), Err(Errno::ENOENT));
        assert_eq!(file.write(b"x"), Err(Errno::ENXIO));
        assert_eq!(register(&vfs, "/again", Kind::Block, 0, None), Ok(()));
    }

    #[test]
    fn faults_come_as_often_as_asked_for_and_the_same_seed_repeats_them() {
        let faults = |fail| {
            let host = SimHost::new(1);
            host.put_file("/host/img", &[0; 4096]);
            let disks = Disks { fail: Some(fail), seed: Some(7), ..Disks::default() };
            let vfs = Vfs::boot(host, &Config { disks, ..Config::default() }).unwrap();
            register(&vfs, "/dk", Kind::Block, 0, None).unwrap();
            let disk = open(&vfs, "/dk", O_RDONLY).unwrap();
            (0..1000).map(|_| disk.read_at(0, &mut [0; 512]) == Err(Errno::EIO)).collect::<Vec<_>>()
        };
        let count = |fail| faults(fail).into_iter().filter(|fault| *fault).count();
        assert_eq!((count(0), count(10_000)), (0, 1000));
        assert!((400..600).contains(&count(5000)));
        assert_eq!(faults(5000), faults(5000));
    }
}
