//! The memory file system: the root, and whatever is mounted as `tmpfs`.
//!
//! Locks: one per node, held for a moment and never two at once; and one per file system for changes of the tree
//! (making, linking, moving, removing), so that these see a tree that stands still. Reading, writing and looking up take
//! only the node's.

mod content;
mod lending;
mod node;
mod space;

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use abi::time::Timespec;
use abi::{Errno, Result};

use sysproxy::host::shared::Times;
use sysproxy::pages::Header;

use content::Content;
use space::{Budget, Limits, Shared};

use super::pages::{Account, PAGE_BYTES};
use super::{Request, options};
use crate::proc::lock;
use crate::vfs::{FileSystem, FsStat, Kind, New, Node, Vnode};

/// Size of a block in statvfs(2).
const BLOCK_BYTES: u64 = PAGE_BYTES as u64;
/// Targets of symbolic links from this length on take a block, as on Linux.
const SHORT_TARGET: usize = 128;
/// What a node costs beside its content.
const NODE_BYTES: usize = 512;
/// What a directory entry costs beside its name.
const ENTRY_BYTES: usize = 128;
/// Links to one node at most.
const LINKS_MAX: u32 = 32767;
/// What Linux calls the size of an entry, so that a directory's size grows with it.
const SHOWN_ENTRY_BYTES: u64 = 20;

/// A file system in memory.
struct Tmpfs {
    shared: Arc<Shared>,
    root: Arc<TmpNode>,
}

/// Takes the options of Linux's tmpfs(5): `size` or `nr_blocks`, `nr_inodes`, `uid`, `gid`, `mode`. Without them the content of
/// files may take half of the host's memory, and there may be as many names as that has pages; 0 is no limit.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let host = request.host;
    let mut limits = Limits::usual(host);
    let mut root = (0, 0, 0o755);
    for (name, value) in request.options.iter() {
        match name {
            b"uid" => root.0 = options::id(value)?,
            b"gid" => root.1 = options::id(value)?,
            b"mode" => root.2 = options::mode(value)?,
            _ => limits.read(name, value, host)?,
        }
    }
    let shared = Arc::new(Shared {
        host: host.clone(),
        tree: Mutex::new(()),
        next_ino: AtomicU64::new(2),
        nodes: Budget::new(limits.nodes),
        blocks: Budget::new(limits.blocks),
        loans: Mutex::default(),
    });
    let new = New { kind: Kind::Directory, uid: root.0, gid: root.1, mode: root.2, rdev: 0, target: b"" };
    let root = TmpNode::new(&shared, &new, Weak::new())?;
    write(&root.inner).nlink = 2;
    Ok(Arc::new(Tmpfs { shared, root }))
}

impl FileSystem for Tmpfs {
    fn kind(&self) -> &'static str {
        "tmpfs"
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }

    fn hold_still(&self, during: &mut dyn FnMut()) {
        let _tree = lock(&self.shared.tree);
        during();
    }

    fn stat(&self) -> FsStat {
        let shared = &self.shared;
        FsStat {
            block_size: BLOCK_BYTES,
            blocks: shared.blocks.limit(),
            blocks_free: shared.blocks.left() + shared.advanced() / BLOCK_BYTES,
            blocks_kept: 0,
            files: shared.nodes.limit(),
            files_free: shared.nodes.left(),
        }
    }

    /// Takes new limits, as Linux does; what is used already must fit.
    fn update(&self, _flags: i32, options: &options::Options<'_>) -> Result<()> {
        let shared = &self.shared;
        let mut limits = Limits { blocks: shared.blocks.limit(), nodes: shared.nodes.limit() };
        for (name, value) in options.iter() {
            limits.read(name, value, &shared.host)?;
        }
        let before = shared.blocks.limit();
        shared.blocks.set_limit(limits.blocks)?;
        shared.nodes.set_limit(limits.nodes).or_else(|errno| shared.blocks.set_limit(before).and(Err(errno)))
    }
}

/// A node.
struct TmpNode {
    vnode: Vnode,
    shared: Arc<Shared>,
    this: Weak<TmpNode>,
    birthtime: Timespec,
    /// Apart from the rest, because reading changes it.
    atime: Mutex<Timespec>,
    inner: RwLock<Inner>,
}

/// What the node's lock guards.
struct Inner {
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    mtime: Timespec,
    ctime: Timespec,
    /// Whether it may get a name though it has none (`O_TMPFILE`).
    linkable: bool,
    /// The open files whose memory is lent, and whether each may write.
    loans: Vec<(Weak<Header>, bool)>,
    /// What the host said of the times when they were last noted here.
    seen: Times,
    body: Body,
}

enum Body {
    File(Content),
    Directory(Directory),
    Link(Vec<u8>),
    Special(u64),
}

/// What a removed directory keeps: the directory above it, which may itself be removed.
struct Removed(Option<Arc<TmpNode>>);

struct Directory {
    /// The directory above; nothing for the root, whose `parent` is itself.
    above: Weak<TmpNode>,
    /// Set when it is removed: nothing may be made in it any more. Its `..` still leads up, as on Linux.
    removed: Option<Removed>,
    names: BTreeMap<Arc<[u8]>, (u64, Arc<TmpNode>)>,
    /// The names in the order in which they were made; the numbers are the cookies of readdir.
    order: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
}

fn read(inner: &RwLock<Inner>) -> RwLockReadGuard<'_, Inner> {
    inner.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(inner: &RwLock<Inner>) -> Changing<'_> {
    Changing(inner.write().unwrap_or_else(PoisonError::into_inner))
}

/// The node's lock while something changes; the clients that have the memory hear of it in the end.
struct Changing<'a>(RwLockWriteGuard<'a, Inner>);

impl Deref for Changing<'_> {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.0
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Inner {
    fn directory(&self) -> Result<&Directory> {
        if let Body::Directory(directory) = &self.body { Ok(directory) } else { Err(Errno::ENOTDIR) }
    }

    fn directory_mut(&mut self) -> Result<&mut Directory> {
        if let Body::Directory(directory) = &mut self.body { Ok(directory) } else { Err(Errno::ENOTDIR) }
    }

    fn modified(&mut self, now: Timespec) {
        self.mtime = now;
        self.ctime = now;
    }
}

impl Directory {
    fn get(&self, name: &[u8]) -> Result<&Arc<TmpNode>> {
        self.names.get(name).map(|(_, node)| node).ok_or(Errno::ENOENT)
    }

    /// Puts an entry at the end; returns the node that had the name.
    fn put(&mut self, name: &[u8], node: Arc<TmpNode>) -> Option<Arc<TmpNode>> {
        let name: Arc<[u8]> = name.into();
        let old = self.take(&name);
        self.order.insert(self.next, name.clone());
        self.names.insert(name, (self.next, node));
        self.next += 1;
        old
    }

    /// Puts another node under a name that there is, in its place.
    fn exchange(&mut self, name: &[u8], node: Arc<TmpNode>) -> Result<()> {
        self.names.get_mut(name).ok_or(Errno::ENOENT)?.1 = node;
        Ok(())
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<TmpNode>> {
        let (number, node) = self.names.remove(name)?;
        self.order.remove(&number);
        Some(node)
    }
}

/// What the target of a symbolic link takes of the file system's size: a short one is stored with the node.
fn shown_target(target: &[u8]) -> usize {
    if target.len() < SHORT_TARGET { 0 } else { BLOCK_BYTES as usize }
}

fn entry_cost(name: &[u8]) -> usize {
    ENTRY_BYTES + name.len()
}

impl TmpNode {
    fn new(shared: &Arc<Shared>, new: &New<'_>, above: Weak<TmpNode>) -> Result<Arc<Self>> {
        shared.take_node(NODE_BYTES + new.target.len())?;
        if let Err(errno) = shared.take(shown_target(new.target)) {
            shared.give_node(NODE_BYTES + new.target.len());
            return Err(errno);
        }
        let (names, order) = (BTreeMap::new(), BTreeMap::new());
        let body = match new.kind {
            Kind::Regular => Body::File(Content::default()),
            Kind::Directory => Body::Directory(Directory { above, removed: None, names, order, next: 0 }),
            Kind::Symlink => Body::Link(new.target.to_vec()),
            _ => Body::Special(new.rdev),
        };
        let now = shared.now();
        let ino = shared.next_ino.fetch_add(1, Ordering::Relaxed);
        let &New { mode, uid, gid, .. } = new;
        Ok(Arc::new_cyclic(|this| Self {
            vnode: Vnode::new(new.kind, ino),
            shared: shared.clone(),
            this: this.clone(),
            birthtime: now,
            atime: Mutex::new(now),
            inner: RwLock::new(Inner {
                mode,
                nlink: 0,
                uid,
                gid,
                mtime: now,
                ctime: now,
                linkable: false,
                loans: Vec::new(),
                seen: Times::default(),
                body,
            }),
        }))
    }

    fn is_directory(&self) -> bool {
        self.vnode.kind == Kind::Directory
    }

    /// Returns the node behind `node`, which must be of this file system.
    fn own(&self, node: &Arc<dyn Node>) -> Result<Arc<TmpNode>> {
        let any: Arc<dyn Any + Send + Sync> = node.clone();
        let own = any.downcast::<TmpNode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&own.shared, &self.shared) { Ok(own) } else { Err(Errno::EXDEV) }
    }

    /// Adds an entry. The tree's lock is held.
    fn enter(&self, name: &[u8], node: &Arc<TmpNode>, now: Timespec) -> Result<()> {
        self.shared.take_memory(entry_cost(name))?;
        let mut inner = write(&self.inner);
        let directory = match inner.directory_mut() {
            Ok(directory) if directory.removed.is_some() => Err(Errno::ENOENT),
            Ok(directory) if directory.names.contains_key(name) => Err(Errno::EEXIST),
            other => other,
        };
        match directory {
            Ok(directory) => directory.put(name, node.clone()),
            Err(errno) => {
                drop(inner);
                self.shared.give_memory(entry_cost(name));
                return Err(errno);
            }
        };
        inner.nlink += u32::from(node.is_directory());
        inner.modified(now);
        Ok(())
    }

    /// Takes an entry out. The tree's lock is held.
    fn leave(&self, name: &[u8], now: Timespec) -> Result<Arc<TmpNode>> {
        let mut inner = write(&self.inner);
        let node = inner.directory_mut()?.take(name).ok_or(Errno::ENOENT)?;
        inner.nlink -= u32::from(node.is_directory());
        inner.modified(now);
        drop(inner);
        self.shared.give_memory(entry_cost(name));
        Ok(node)
    }

    /// Counts a name less; a directory without a name is dead. The tree's lock is held.
    fn unlinked(&self, now: Timespec) {
        let mut inner = write(&self.inner);
        if !self.is_directory() && inner.nlink > 1 {
            self.shared.give_node(0);
        }
        inner.nlink = if self.is_directory() { 0 } else { inner.nlink.saturating_sub(1) };
        inner.ctime = now;
        if let Body::Directory(directory) = &mut inner.body {
            directory.removed = Some(Removed(directory.above.upgrade()));
        }
        let last = inner.nlink == 0;
        drop(inner);
        if last {
            // A bound socket may hold the file system: it goes with its last name.
            self.vnode.unbind();
        }
    }

    fn empty(&self) -> bool {
        read(&self.inner).directory().is_ok_and(|directory| directory.names.is_empty())
    }

    /// Lets go of the directory above a removed one.
    fn release_above(&mut self) -> Option<Arc<TmpNode>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Body::Directory(directory) = &mut inner.body else { return None };
        directory.removed.as_mut().and_then(|removed| removed.0.take())
    }

    /// Whether `self` is `other` or lies above it. The tree's lock is held.
    fn contains(&self, other: &Arc<TmpNode>) -> bool {
        let mut at = Some(other.clone());
        while let Some(node) = at {
            if std::ptr::eq(self, Arc::as_ptr(&node)) {
                return true;
            }
            at = read(&node.inner).directory().ok().and_then(|directory| directory.above.upgrade());
        }
        false
    }

    /// Checks that `moved` may take the place of `replaced`. The tree's lock is held.
    fn may_replace(moved: &TmpNode, replaced: &TmpNode) -> Result<()> {
        match (moved.is_directory(), replaced.is_directory()) {
            (false, true) => Err(Errno::EISDIR),
            (true, false) => Err(Errno::ENOTDIR),
            (true, true) if !replaced.empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }
}

impl Drop for TmpNode {
    fn drop(&mut self) {
        let mut bytes = NODE_BYTES;
        let mut above = self.release_above();
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        match &mut inner.body {
            Body::File(content) => self.shared.give(content.taken()),
            Body::Link(target) => {
                bytes += target.len();
                self.shared.give(shown_target(target));
            }
            Body::Special(_) => {}
            Body::Directory(directory) => {
                bytes += directory.names.keys().map(|name| entry_cost(name)).sum::<usize>();
                dismantle(directory);
            }
        }
        // The memory itself goes before it is counted as free, so that the host gets it back.
        inner.body = Body::Special(0);
        self.shared.give_node(bytes);
        // A chain of removed directories may be longer than the stack, too.
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| node.release_above());
        }
    }
}

/// Drops a tree from the top without recursion: it may be deeper than the stack.
fn dismantle(directory: &mut Directory) {
    let mut pending: Vec<_> = std::mem::take(&mut directory.names).into_values().map(|(_, node)| node).collect();
    while let Some(node) = pending.pop() {
        if Arc::strong_count(&node) > 1 || !node.is_directory() {
            continue;
        }
        let mut inner = write(&node.inner);
        if let Body::Directory(directory) = &mut inner.body {
            let names = std::mem::take(&mut directory.names);
            let bytes = names.keys().map(|name| entry_cost(name)).sum();
            pending.extend(names.into_values().map(|(_, node)| node));
            node.shared.give_memory(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rumpuser::Rumpuser;
    use crate::rumpuser::sim::SimHost;
    use crate::vfs::{Position, Rename};

    fn new(kind: Kind) -> New<'static> {
        New { kind, mode: 0o755, uid: 0, gid: 0, rdev: 0, target: b"" }
    }

    fn mounted(host: &Arc<dyn Rumpuser>, text: &str) -> Result<Arc<dyn FileSystem>> {
        let (flags, options) = options::Options::parse(text.as_bytes(), 0);
        mount(&Request { host, view: None, source: b"", flags, options })
    }

    fn names(root: &Arc<dyn Node>, cookie: u64, max: usize) -> (Vec<Vec<u8>>, u64) {
        let (mut names, mut next) = (Vec::new(), cookie);
        root.read_dir(cookie, &mut |entry| {
            let room = names.len() < max;
            if room {
                names.push(entry.name.to_vec());
                next = entry.next;
            }
            room
        })
        .unwrap();
        (names, next)
    }

    #[test]
    fn a_scan_that_removes_what_it_sees_sees_everything() {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let root = mounted(&host, "").unwrap().root();
        for at in 0..1000 {
            root.create(format!("f{at}").as_bytes(), &new(Kind::Regular)).unwrap();
        }
        let (mut cookie, mut seen) = (0, 0);
        loop {
            let (batch, next) = names(&root, cookie, 7);
            if batch.is_empty() {
                break;
            }
            for name in &batch {
                root.remove(name, &root.lookup(name).unwrap()).unwrap();
            }
            (cookie, seen) = (next, seen + batch.len());
        }
        assert_eq!((seen, names(&root, 0, 9).0.len()), (1000, 0));
    }

    #[test]
    fn everything_taken_is_given_back() {
        let sim = SimHost::new(1);
        let host: Arc<dyn Rumpuser> = sim.clone();
        let fs = mounted(&host, "").unwrap();
        let root = fs.root();
        let before = fs.stat();
        let mut at = root.clone();
        for _ in 0..20_000 {
            at = at.create(b"deeper", &new(Kind::Directory)).unwrap();
        }
        let file = at.create(b"f", &new(Kind::Regular)).unwrap();
        file.write_at(Position::At(1 << 20), &[1; 100_000]).unwrap();
        at.create(b"g", &new(Kind::Regular)).unwrap();
        let moving = Rename::Move { replaces: true, whiteout: None };
        at.rename(b"f", &root, b"f", moving).unwrap();
        root.rename(b"f", &at, b"g", moving).unwrap();
        at.remove(b"g", &file).unwrap();
        drop((at, file));
        let top = root.lookup(b"deeper").unwrap();
        assert_eq!(root.remove(b"deeper", &top), Err(Errno::ENOTEMPTY));
        drop((top, root));
        assert_ne!(fs.stat(), before);
        drop(fs);
        assert_eq!(sim.memory.used(), 0);
    }

    #[test]
    fn limits_are_kept() {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let fs = mounted(&host, "nr_inodes=4,size=64k,mode=1777").unwrap();
        let root = fs.root();
        assert_eq!(root.attr().mode, 0o1777);
        let file = root.create(b"a", &new(Kind::Regular)).unwrap();
        assert_eq!(file.write_at(Position::At(0), &[0; 1 << 17]), Ok((1 << 16, 1 << 16)));
        assert_eq!(file.write_at(Position::End, b"x"), Err(Errno::ENOSPC));
        // Neither an empty file nor a folder is content, and what is there can be written again.
        assert_eq!(file.write_at(Position::At(4095), b"xyz"), Ok((4098, 3)));
        root.create(b"b", &new(Kind::Directory)).unwrap();
        root.link(b"c", &file).unwrap();
        assert_eq!((fs.stat().blocks, fs.stat().blocks_free, fs.stat().files, fs.stat().files_free), (16, 0, 4, 0));
        assert_eq!(root.create(b"d", &new(Kind::Regular)).map(drop), Err(Errno::ENOSPC));
        assert_eq!(root.link(b"d", &file), Err(Errno::ENOSPC));
        root.remove(b"a", &file).unwrap();
        root.create(b"d", &new(Kind::Regular)).unwrap();
        root.remove(b"c", &file).unwrap();
        drop(file);
        assert_eq!((fs.stat().blocks_free, fs.stat().files_free), (16, 1));
        for bad in ["size=", "size=x", "uid=-1", "mode=10000", "quick"] {
            assert_eq!(mounted(&host, bad).map(drop), Err(Errno::EINVAL), "{bad}");
        }
    }

    #[test]
    fn limits_can_be_changed_but_not_below_what_is_used() {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let fs = mounted(&host, "nr_inodes=10,size=64k").unwrap();
        let file = fs.root().create(b"a", &new(Kind::Regular)).unwrap();
        file.write_at(Position::At(0), &[0; 20_000]).unwrap();
        let update = |text: &str| fs.update(0, &options::Options::parse(text.as_bytes(), 0).1);
        assert_eq!(update("size=16k"), Err(Errno::EINVAL));
        assert_eq!(update("size=20k,nr_inodes=1"), Err(Errno::EINVAL));
        assert_eq!((fs.stat().blocks, fs.stat().files), (16, 10));
        assert_eq!(update("size=20k,nr_inodes=2"), Ok(()));
        assert_eq!(file.write_at(Position::End, &[0; 1000]), Ok((20_480, 480)));
        assert_eq!(update("size=0"), Ok(()));
        assert_eq!(file.write_at(Position::End, &[0; 1000]), Ok((21_480, 1000)));
    }

    #[test]
    fn a_long_chain_of_removed_directories_goes_without_recursion() {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let root = mounted(&host, "").unwrap().root();
        let mut chain = vec![root];
        for _ in 0..100_000 {
            let next = chain[chain.len() - 1].create(b"d", &new(Kind::Directory)).unwrap();
            chain.push(next);
        }
        let bottom = chain[chain.len() - 1].clone();
        while let Some(last) = chain.pop()
            && let Some(above) = chain.last()
        {
            above.remove(b"d", &last).unwrap();
        }
        // Each now keeps the one above it.
        let above = bottom.parent().unwrap();
        assert!(above.parent().unwrap().parent().is_ok());
        drop((above, bottom));
    }

    #[test]
    fn nothing_is_made_in_a_removed_directory() {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let root = mounted(&host, "").unwrap().root();
        let gone = root.create(b"d", &new(Kind::Directory)).unwrap();
        root.remove(b"d", &gone).unwrap();
        assert_eq!(gone.create(b"x", &new(Kind::Regular)).map(drop), Err(Errno::ENOENT));
        assert_eq!(gone.read_dir(0, &mut |_| true), Err(Errno::ENOENT));
        assert!(crate::vfs::node::same(&gone.parent().unwrap(), &root));
        assert_eq!((gone.attr().nlink, root.attr().nlink), (0, 2));
    }
}
