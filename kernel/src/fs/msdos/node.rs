//! Nodes: files and directories in use.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use abi::time::Timespec;
use abi::{Errno, Result};

use super::directory::{Index, Record, Slots};
use super::entry::{DIRECTORY, Entry, READ_ONLY, set_first};
use super::layout::{FIRST_CLUSTER, SLOT_BYTES};
use super::table::Chain;
use super::{ROOT_NUMBER, Shared, Tree, time};
use crate::fs::volume::Field;
use crate::proc::lock;
use crate::vfs::node::Entry as Shown;
use crate::vfs::{Attr, Change, Kind, New, Node, Position, Rename, Vnode};

/// A file or directory.
pub struct FatNode {
    pub vnode: Vnode,
    pub shared: Arc<Shared>,
    this: Weak<FatNode>,
    pub inner: Mutex<Inner>,
}

/// What the node's lock guards.
pub struct Inner {
    /// Where its entry is; the root has none, and neither has what was removed.
    pub position: Option<u64>,
    pub entry: Entry,
    pub chain: Chain,
    /// The directory above, for a directory; `None` for the root. A removed one keeps that which it was in.
    pub above: Option<Arc<FatNode>>,
    /// Set when it is removed.
    pub removed: bool,
    /// Whether it may have more clusters than it needs (fallocate(2)); they go when nobody uses it, as on Linux.
    pub ahead: bool,
    /// The content of a directory, once it was asked for.
    pub index: Option<Index>,
}

impl FatNode {
    fn new(shared: &Arc<Shared>, number: u64, inner: Inner) -> Arc<Self> {
        let kind = if inner.entry.is_directory() { Kind::Directory } else { Kind::Regular };
        let (vnode, shared) = (Vnode::new(kind, number), shared.clone());
        Arc::new_cyclic(|this| Self { vnode, shared, this: this.clone(), inner: Mutex::new(inner) })
    }

    /// Makes the root directory's node, whose times are FAT's beginning of time.
    pub fn root(shared: &Arc<Shared>) -> Result<Arc<Self>> {
        let start = time::to_day(Timespec { tv_sec: 0, tv_nsec: 0 }, shared.options.offset);
        let entry = Entry {
            attributes: DIRECTORY,
            first: shared.layout.root_cluster,
            size: 0,
            atime: start,
            mtime: start,
            birthtime: start,
        };
        let inner = Inner {
            position: None,
            entry,
            chain: Chain::default(),
            above: None,
            removed: false,
            ahead: false,
            index: None,
        };
        Ok(Self::new(shared, ROOT_NUMBER, inner))
    }

    pub fn is_directory(&self) -> bool {
        self.vnode.kind == Kind::Directory
    }

    /// Itself, as others hold it.
    pub fn me(&self) -> Result<Arc<FatNode>> {
        self.this.upgrade().ok_or(Errno::ENOENT)
    }

    /// Locks a directory that can still be used: `ENOTDIR`, `ENOENT` if it was removed.
    pub fn directory(&self) -> Result<MutexGuard<'_, Inner>> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let inner = lock(&self.inner);
        if inner.removed { Err(Errno::ENOENT) } else { Ok(inner) }
    }

    /// Returns the node of an entry of this directory, the same as long as anybody has it.
    pub fn node_of(&self, tree: &mut Tree, record: &Record) -> Result<Arc<FatNode>> {
        let number = tree.number(record.position);
        if let Some(node) = tree.nodes.get(&number).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let raw: [u8; 32] = self.shared.volume.bytes(record.position)?;
        let entry = Entry::decode(&raw, &self.shared);
        if entry.is_directory() != record.is_directory || record.is_bad {
            return Err(Errno::EIO);
        }
        let above = if record.is_directory { Some(self.me()?) } else { None };
        if record.is_directory {
            self.check_child(entry.first)?;
        }
        let inner = Inner {
            position: Some(record.position),
            entry,
            chain: Chain::default(),
            above,
            removed: false,
            ahead: false,
            index: None,
        };
        let node = FatNode::new(&self.shared, number, inner);
        tree.enter(&node, number);
        Ok(node)
    }

    /// Checks that a directory's `..` leads here: else the tree would have rings.
    fn check_child(&self, first: u32) -> Result<()> {
        let layout = &self.shared.layout;
        let raw: [u8; 32] = self.shared.volume.bytes(layout.cluster(first)? + SLOT_BYTES)?;
        let high = if layout.fixed_root.is_none() { u32::from(raw.le16(20)) << 16 } else { 0 };
        let above = high | u32::from(raw.le16(26));
        let own = lock(&self.inner).entry.first;
        let root = self.vnode.ino == ROOT_NUMBER;
        let leads_here = above == own || (root && above == 0);
        if raw[..11] == *b"..         " && leads_here { Ok(()) } else { Err(Errno::EIO) }
    }

    /// What a `..` that leads here has as its first cluster.
    pub fn as_parent(&self) -> u32 {
        if self.vnode.ino == ROOT_NUMBER { 0 } else { lock(&self.inner).entry.first }
    }

    /// Gives the clusters of what was removed back.
    pub fn give_back(&self) -> Result<()> {
        let mut inner = lock(&self.inner);
        if inner.removed { inner.free(&self.shared) } else { Ok(()) }
    }

    fn mode(&self, entry: &Entry) -> u32 {
        let options = &self.shared.options;
        if self.is_directory() {
            return 0o777 & !options.dmask;
        }
        let read_only = if entry.attributes & READ_ONLY != 0 { 0o222 } else { 0 };
        0o777 & !options.fmask & !read_only
    }

    /// Judges a mode as Linux's vfat does: returns whether nobody may write from now on, or `None` if it cannot be said, which is
    /// no error. Set-user-ID and the like are `EPERM`.
    fn judge(&self, entry: &Entry, mode: u32) -> Result<Option<bool>> {
        if mode & !0o777 != 0 {
            return Err(Errno::EPERM);
        }
        let options = &self.shared.options;
        let mask = if self.is_directory() { options.dmask } else { options.fmask };
        let (wanted, now) = (mode & !mask, self.mode(entry));
        let writable = wanted & 0o222;
        let all = 0o222 & !mask;
        let can_hold = !self.is_directory() && all != 0;
        let sound = wanted & 0o555 == now & 0o555 && (writable == all || (can_hold && writable == 0));
        Ok(sound.then_some(can_hold && writable == 0))
    }
}

impl Inner {
    /// Where the slots of a directory are.
    pub fn slots<'a>(&'a mut self, shared: &'a Shared) -> (Slots<'a>, Option<&'a mut Index>) {
        let slots = Slots { shared, first: self.entry.first, chain: &mut self.chain };
        (slots, self.index.as_mut())
    }

    /// Returns the content of a directory, which is read the first time.
    pub fn index(&mut self, shared: &Shared) -> Result<&mut Index> {
        if self.index.is_none() {
            self.index = Some(Index::load(self.slots(shared).0)?);
        }
        self.index.as_mut().ok_or(Errno::EIO)
    }

    /// Writes the entry to the volume, if it has a place there.
    pub fn store(&self, shared: &Shared) -> Result<()> {
        let Some(position) = self.position else { return Ok(()) };
        let mut raw: [u8; 32] = shared.volume.bytes(position)?;
        self.entry.encode(&mut raw, shared);
        shared.volume.write(position, &raw)
    }

    /// Lets `..` of a directory lead to another first cluster.
    pub fn store_parent(&mut self, shared: &Shared, first: u32) -> Result<()> {
        let position = shared.layout.cluster(self.entry.first)? + SLOT_BYTES;
        let mut raw: [u8; 32] = shared.volume.bytes(position)?;
        set_first(&mut raw, first, shared);
        shared.volume.write(position, &raw)
    }

    /// Frees all clusters.
    pub fn free(&mut self, shared: &Shared) -> Result<()> {
        let first = std::mem::take(&mut self.entry.first);
        self.entry.size = 0;
        self.chain.clear(&shared.volume);
        if first < FIRST_CLUSTER {
            return Ok(());
        }
        lock(&shared.table).free_chain(&shared.volume, &shared.layout, first)
    }

    /// Notes a change of the content, now.
    pub fn modified(&mut self, shared: &Shared) {
        self.entry.mtime = time::to_two_seconds(shared.now(), shared.options.offset);
    }

    /// Notes a reading, now; the day is stored when it is another.
    pub fn accessed(&mut self, shared: &Shared) {
        let today = time::to_day(shared.now(), shared.options.offset);
        if today != self.entry.atime && !shared.read_only.load(Ordering::Relaxed) {
            self.entry.atime = today;
            // Reading works though the time cannot be noted.
            let _ = self.store(shared);
        }
    }
}

impl Drop for FatNode {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(index) = &mut inner.index {
            index.clear(&self.shared);
        }
        if inner.ahead && !inner.removed && !self.shared.is_read_only() {
            // Harmless where it fails.
            let _ = inner.trim(&self.shared);
        }
        inner.chain.clear(&self.shared.volume);
        if inner.removed && !self.shared.is_read_only() {
            // Nobody is left to hear of an error; fsck.fat finds the clusters.
            let _ = inner.free(&self.shared);
        }
        // One above the other, without recursion: there may be many.
        let mut above = inner.above.take();
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| match node.inner.get_mut() {
                Ok(inner) => inner.above.take(),
                Err(poisoned) => poisoned.into_inner().above.take(),
            });
        }
    }
}

impl Node for FatNode {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        let shared = &self.shared;
        let mut inner = lock(&self.inner);
        let entry = inner.entry;
        let cluster_bytes = shared.layout.cluster_bytes;
        let (mut size, mut nlink) = (u64::from(entry.size), u32::from(!inner.removed));
        if self.is_directory() && !inner.removed {
            // A broken directory has no more than its dots.
            nlink = 2 + inner.index(shared).map_or(0, |index| index.directories);
            size = match shared.layout.fixed_root.filter(|_| entry.first == 0) {
                Some((_, slots)) => u64::from(slots) * SLOT_BYTES,
                None => u64::from(inner.chain.known()) * cluster_bytes,
            };
        }
        Attr {
            mode: self.mode(&entry),
            nlink,
            uid: shared.options.uid,
            gid: shared.options.gid,
            rdev: 0,
            size,
            blocks: size.div_ceil(cluster_bytes) * cluster_bytes / 512,
            atime: entry.atime,
            mtime: entry.mtime,
            // There is but one time for both, as on Linux.
            ctime: entry.mtime,
            birthtime: entry.birthtime,
        }
    }

    /// `EPERM` for another owner or group, `EFBIG`, `ENOSPC`. A mode that FAT cannot say is left as it was, as on Linux.
    fn set_attr(&self, change: &Change) -> Result<()> {
        let shared = &self.shared;
        let options = &shared.options;
        if change.uid.is_some_and(|uid| uid != options.uid) || change.gid.is_some_and(|gid| gid != options.gid) {
            return Err(Errno::EPERM);
        }
        let mut inner = lock(&self.inner);
        let read_only = match change.mode {
            Some(mode) => self.judge(&inner.entry, mode)?,
            None => None,
        };
        if let Some(size) = change.size {
            if self.is_directory() {
                return Err(Errno::EINVAL);
            }
            inner.resize(shared, size)?;
            inner.modified(shared);
        }
        if let Some(read_only) = read_only {
            inner.entry.attributes = inner.entry.attributes & !READ_ONLY | if read_only { READ_ONLY } else { 0 };
        }
        if let Some(atime) = change.atime {
            inner.entry.atime = time::to_day(atime, options.offset);
        }
        if let Some(mtime) = change.mtime {
            inner.entry.mtime = time::to_two_seconds(mtime, options.offset);
        }
        inner.store(shared)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if self.is_directory() {
            return Err(Errno::EINVAL);
        }
        let mut inner = lock(&self.inner);
        let len = inner.read(&self.shared, offset, buf)?;
        inner.accessed(&self.shared);
        Ok(len)
    }

    fn write_at(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        if self.is_directory() {
            return Err(Errno::EINVAL);
        }
        lock(&self.inner).write(&self.shared, position, data)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        if self.is_directory() {
            return Err(Errno::ENODEV);
        }
        lock(&self.inner).allocate(&self.shared, offset, len, keep_size)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        Ok(self.find(name)?)
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let above = lock(&self.inner).above.clone();
        Ok(above.map_or_else(|| self.me(), Ok)?)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Shown<'_>) -> bool) -> Result<()> {
        let tree = lock(&self.shared.tree);
        let mut inner = self.directory()?;
        let index = inner.index(&self.shared)?;
        let Ok(first) = u32::try_from(cookie) else { return Ok(()) };
        for (slot, record) in index.records.range(first..) {
            let kind = if record.is_directory { Kind::Directory } else { Kind::Regular };
            let (ino, name) = (tree.number(record.position), record.name.as_bytes());
            if !each(Shown { ino, kind, name, next: u64::from(*slot) + 1 }) {
                break;
            }
        }
        inner.accessed(&self.shared);
        Ok(())
    }

    fn create(&self, name: &[u8], new: &New<'_>) -> Result<Arc<dyn Node>> {
        Ok(self.make(name, new.kind)?)
    }

    fn remove(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        self.unlink(name, node)
    }

    /// `EINVAL` for a whiteout, which FAT cannot keep.
    fn rename(&self, from: &[u8], into: &Arc<dyn Node>, to: &[u8], how: Rename) -> Result<()> {
        self.move_to(from, into, to, how)
    }
}
