//! Looking names up, making, removing and moving them.

use std::any::Any;
use std::sync::Arc;

use abi::{Errno, Result};

use super::directory::{Index, Record};
use super::entry::{ARCHIVE, DIRECTORY, Entry};
use super::name::Name;
use super::node::{FatNode, Inner};
use super::{Shared, Tree};
use crate::proc::lock;
use crate::vfs::node::same;
use crate::vfs::{Kind, Node, Rename};

/// Finds a name in the content of a directory.
fn found(index: &Index, name: &[u8]) -> Option<Record> {
    // No name of a FAT volume has other bytes, and dots at the end do not count.
    let text = str::from_utf8(name).ok()?.trim_end_matches('.');
    index.find(text).cloned()
}

impl Inner {
    fn find(&mut self, shared: &Shared, name: &[u8]) -> Result<Option<Record>> {
        Ok(found(self.index(shared)?, name))
    }

    /// Adds a name for an entry.
    fn add(&mut self, shared: &Shared, name: &Name, raw: [u8; 32]) -> Result<Record> {
        self.index(shared)?;
        let (mut slots, index) = self.slots(shared);
        let record = index.ok_or(Errno::EIO)?.add(&mut slots, name, raw)?;
        self.touched(shared);
        Ok(record)
    }

    /// Takes a name away.
    fn remove(&mut self, shared: &Shared, slot: u32) -> Result<()> {
        let (mut slots, index) = self.slots(shared);
        index.ok_or(Errno::EIO)?.remove(&mut slots, slot)?;
        self.touched(shared);
        Ok(())
    }

    /// Notes a change of the names. They are what they are even if the time of it cannot be stored.
    fn touched(&mut self, shared: &Shared) {
        self.modified(shared);
        let _ = self.store(shared);
    }
}

impl FatNode {
    /// Returns the entry `name`.
    pub fn find(&self, name: &[u8]) -> Result<Arc<FatNode>> {
        let me = self.me()?;
        let mut tree = lock(&self.shared.tree);
        let record = self.directory()?.find(&self.shared, name)?.ok_or(Errno::ENOENT)?;
        let node = self.node_of(&mut tree, &record)?;
        tree.used(&me);
        Ok(node)
    }

    /// Makes a file or directory; `EPERM` for anything else, `EINVAL` for a name that FAT cannot keep.
    pub fn make(&self, name: &[u8], kind: Kind) -> Result<Arc<FatNode>> {
        let shared = &self.shared;
        if !matches!(kind, Kind::Regular | Kind::Directory) {
            return Err(Errno::EPERM);
        }
        let name = Name::new(name)?;
        let mut tree = lock(&shared.tree);
        let mut inner = self.directory()?;
        if inner.find(shared, name.text.as_bytes())?.is_some() {
            return Err(Errno::EEXIST);
        }
        let attributes = if kind == Kind::Directory { DIRECTORY } else { ARCHIVE };
        let mut entry = Entry::new(attributes, 0, shared.now(), shared.options.offset);
        let mut raw = [0; 32];
        let above = if self.vnode.ino == super::ROOT_NUMBER { 0 } else { inner.entry.first };
        if kind == Kind::Directory {
            entry.first = shared.new_directory(&entry, above)?;
        }
        entry.encode(&mut raw, shared);
        let record = match inner.add(shared, &name, raw) {
            Ok(record) => record,
            Err(errno) => {
                if entry.first != 0 {
                    lock(&shared.table).free_chain(&shared.volume, &shared.layout, entry.first)?;
                }
                return Err(errno);
            }
        };
        drop(inner);
        let number = tree.new_number();
        tree.numbers.insert(record.position, number);
        self.node_of(&mut tree, &record)
    }

    /// Removes `name`, which must be `node`.
    pub fn unlink(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        let shared = &self.shared;
        let mut tree = lock(&shared.tree);
        let record = self.directory()?.find(shared, name)?.ok_or(Errno::ENOENT)?;
        let found = self.node_of(&mut tree, &record)?;
        let as_node: Arc<dyn Node> = found.clone();
        if !same(&as_node, node) {
            return Err(Errno::ENOENT);
        }
        if found.is_directory() && !found.is_empty()? {
            return Err(Errno::ENOTEMPTY);
        }
        self.directory()?.remove(shared, record.slot)?;
        tree.numbers.remove(&record.position);
        found.unlinked(&mut tree);
        Ok(())
    }

    fn is_empty(&self) -> Result<bool> {
        Ok(self.directory()?.index(&self.shared)?.records.is_empty())
    }

    /// Notes that it has no name any more: its clusters go when nobody uses it.
    fn unlinked(&self, tree: &mut Tree) {
        tree.recent.retain(|other| !std::ptr::eq(&**other, self));
        let mut inner = lock(&self.inner);
        inner.removed = true;
        inner.position = None;
    }

    fn own(&self, node: &Arc<dyn Node>) -> Result<Arc<FatNode>> {
        let any: Arc<dyn Any + Send + Sync> = node.clone();
        let node = any.downcast::<FatNode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&node.shared, &self.shared) { Ok(node) } else { Err(Errno::EXDEV) }
    }

    /// Whether `other` is this directory, or lies in it.
    fn contains(&self, other: &Arc<FatNode>) -> bool {
        let mut at = Some(other.clone());
        while let Some(node) = at {
            if std::ptr::eq(self, &*node) {
                return true;
            }
            at = lock(&node.inner).above.clone();
        }
        false
    }

    /// Moves `from` to the name `to` of `into`; see [`Node::rename`].
    pub fn move_to(&self, from: &[u8], into: &Arc<dyn Node>, to: &[u8], how: Rename) -> Result<()> {
        let shared = &self.shared;
        let into = self.own(into)?;
        let replaces = match how {
            Rename::Exchange => return self.exchange(from, &into, to),
            Rename::Move { whiteout: Some(_), .. } => return Err(Errno::EINVAL),
            Rename::Move { replaces, whiteout: None } => replaces,
        };
        let mut tree = lock(&shared.tree);
        let old = self.directory()?.find(shared, from)?.ok_or(Errno::ENOENT)?;
        let moved = self.node_of(&mut tree, &old)?;
        let there = into.directory()?.find(shared, to)?;
        let same_name = there.as_ref().is_some_and(|there| there.position == old.position);
        if same_name && old.name.as_bytes() == to {
            return Ok(());
        }
        let replaced = match there.filter(|_| !same_name) {
            Some(_) if !replaces => return Err(Errno::EEXIST),
            Some(there) => Some((into.node_of(&mut tree, &there)?, there)),
            None => None,
        };
        if moved.is_directory() && moved.contains(&into) {
            return Err(Errno::EINVAL);
        }
        if let Some((replaced, _)) = &replaced {
            match (moved.is_directory(), replaced.is_directory()) {
                (false, true) => return Err(Errno::EISDIR),
                (true, false) => return Err(Errno::ENOTDIR),
                (true, true) if !replaced.is_empty()? => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        // The new name comes before the old one goes: whoever finds both finds the same clusters under them, and fsck.fat keeps one.
        let mut raw: [u8; 32] = shared.volume.bytes(old.position)?;
        lock(&moved.inner).entry.encode(&mut raw, shared);
        let position = match replaced {
            Some((replaced, record)) => {
                shared.put_in_place(&raw, record.position)?;
                lock(&into.inner).touched(shared);
                replaced.unlinked(&mut tree);
                record.position
            }
            None => into.directory()?.add(shared, &Name::new(to)?, raw)?.position,
        };
        self.directory()?.remove(shared, old.slot)?;
        tree.numbers.remove(&old.position);
        moved.moved(&mut tree, position, &into)
    }

    /// Notes that the entry is elsewhere now, under the same number.
    fn moved(&self, tree: &mut Tree, position: u64, into: &Arc<FatNode>) -> Result<()> {
        tree.numbers.insert(position, self.vnode.ino);
        let parent = into.as_parent();
        let mut inner = lock(&self.inner);
        inner.position = Some(position);
        let above = inner.above.as_ref().filter(|above| !Arc::ptr_eq(above, into)).map(|_| into.clone());
        let Some(above) = above else { return Ok(()) };
        inner.above = Some(above);
        inner.store_parent(&self.shared, parent)
    }

    /// Swaps the name `from` here with the name `to` of `into`.
    fn exchange(&self, from: &[u8], into: &Arc<FatNode>, to: &[u8]) -> Result<()> {
        let shared = &self.shared;
        let mut tree = lock(&shared.tree);
        let mut find = |directory: &FatNode, name: &[u8]| {
            let record = directory.directory()?.find(shared, name)?.ok_or(Errno::ENOENT)?;
            Ok((directory.node_of(&mut tree, &record)?, record))
        };
        let ((one, here), (other, there)) = (find(self, from)?, find(into, to)?);
        if Arc::ptr_eq(&one, &other) {
            return Ok(());
        }
        let me = self.me()?;
        if (one.is_directory() && one.contains(into)) || (other.is_directory() && other.contains(&me)) {
            return Err(Errno::EINVAL);
        }
        let entries: [[u8; 32]; 2] = [shared.volume.bytes(here.position)?, shared.volume.bytes(there.position)?];
        shared.put_in_place(&entries[0], there.position)?;
        shared.put_in_place(&entries[1], here.position)?;
        for (directory, record, comes) in [(&me, &here, &other), (into, &there, &one)] {
            let mut inner = directory.directory()?;
            inner.index(shared)?.becomes(record.slot, comes.is_directory());
            inner.touched(shared);
            drop(inner);
            comes.moved(&mut tree, record.position, directory)?;
        }
        Ok(())
    }
}

impl Shared {
    /// Writes an entry in the place of another, whose name stays.
    fn put_in_place(&self, raw: &[u8; 32], position: u64) -> Result<()> {
        let mut there: [u8; 32] = self.volume.bytes(position)?;
        there[11] = raw[11];
        there[13..].copy_from_slice(&raw[13..]);
        self.volume.write(position, &there)
    }

    /// Makes a cluster with `.` and `..`; returns its number.
    fn new_directory(&self, entry: &Entry, above: u32) -> Result<u32> {
        let mut table = lock(&self.table);
        let runs = table.allocate(&self.volume, &self.layout, 1, 0)?;
        let first = runs.first().map_or(0, |run| run.cluster);
        let mut content = vec![0; self.layout.cluster_bytes as usize];
        for (at, (name, cluster)) in [(b".          ", first), (b"..         ", above)].into_iter().enumerate() {
            let mut raw = [0; 32];
            Entry { first: cluster, ..*entry }.encode(&mut raw, self);
            raw[..11].copy_from_slice(name);
            content[at * 32..at * 32 + 32].copy_from_slice(&raw);
        }
        let written = self.layout.cluster(first).and_then(|at| self.volume.write(at, &content));
        if let Err(errno) = written {
            let _ = table.give(&self.volume, &self.layout, &runs);
            return Err(errno);
        }
        Ok(first)
    }
}
