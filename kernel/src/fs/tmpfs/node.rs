//! What a node of the memory file system does.

use std::sync::{Arc, Weak};

use abi::{Errno, Result};
use sysproxy::host::{HostFd, Owned};
use sysproxy::pages::{Header, shows_access};

use super::{Body, LINKS_MAX, Removed, SHOWN_ENTRY_BYTES, TmpNode, entry_cost, read, write};
use crate::proc::lock;
use crate::rumpuser::Access;
use crate::vfs::node::{Entry, same};
use crate::vfs::{Attr, Change, Kind, New, Node, Position, Rename, Vnode};

impl Node for TmpNode {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        self.note();
        let inner = read(&self.inner);
        let (size, taken, rdev) = match &inner.body {
            Body::File(content) => (content.size(), content.used(), 0),
            Body::Directory(directory) => ((directory.names.len() as u64 + 2) * SHOWN_ENTRY_BYTES, 0, 0),
            Body::Link(target) => (target.len() as u64, 0, 0),
            Body::Special(rdev) => (0, 0, *rdev),
        };
        Attr {
            mode: inner.mode,
            nlink: inner.nlink,
            uid: inner.uid,
            gid: inner.gid,
            rdev,
            size,
            blocks: taken / 512,
            atime: *lock(&self.atime),
            mtime: inner.mtime,
            ctime: inner.ctime,
            birthtime: self.birthtime,
        }
    }

    fn set_attr(&self, change: &Change) -> Result<()> {
        self.note();
        let now = self.shared.now();
        let mut changing = write(&self.inner);
        let inner = &mut *changing;
        if let Some(size) = change.size {
            let Body::File(content) = &mut inner.body else { return Err(Errno::EINVAL) };
            content.resize(size, &*self.shared)?;
            inner.mtime = now;
        }
        inner.ctime = now;
        inner.mode = change.mode.unwrap_or(inner.mode);
        inner.uid = change.uid.unwrap_or(inner.uid);
        inner.gid = change.gid.unwrap_or(inner.gid);
        inner.mtime = change.mtime.unwrap_or(inner.mtime);
        let mut atime = lock(&self.atime);
        *atime = change.atime.unwrap_or(*atime);
        inner.written();
        if change.atime.is_some() || change.mtime.is_some() {
            inner.tell_times(*atime);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let inner = read(&self.inner);
        let Body::File(content) = &inner.body else { return Err(Errno::EINVAL) };
        Ok(content.read(offset, buf))
    }

    /// Sets the time of the last access if it is older than the last change or than a day (Linux's `relatime`).
    fn accessed(&self) {
        self.note();
        let (modified, changed, lent) = {
            let inner = read(&self.inner);
            (inner.mtime, inner.ctime, !inner.loans.is_empty())
        };
        let now = self.shared.now();
        let mut atime = lock(&self.atime);
        if shows_access(*atime, modified, changed, now) {
            *atime = now;
            drop(atime);
            if lent {
                drop(write(&self.inner));
            }
        }
    }

    fn write_at(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        self.store(position, data, None)
    }

    fn write_through(&self, by: HostFd, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        self.store(position, data, Some(by))
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        let attempt = || {
            let now = self.shared.now();
            let mut changing = write(&self.inner);
            let inner = &mut *changing;
            let Body::File(content) = &mut inner.body else { return Err(Errno::ENODEV) };
            content.allocate(offset, len, keep_size, &*self.shared)?;
            inner.modified(now);
            inner.written();
            Ok(())
        };
        match attempt() {
            Err(Errno::ENOSPC) if self.shared.take_back_advances() => attempt(),
            done => done,
        }
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let now = self.shared.now();
        let mut changing = write(&self.inner);
        let inner = &mut *changing;
        let Body::File(content) = &mut inner.body else { return Err(Errno::ENODEV) };
        content.punch(offset, len, &*self.shared)?;
        inner.modified(now);
        inner.written();
        Ok(())
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        if let Body::File(content) = &read(&self.inner).body { content.seek_data(offset) } else { Err(Errno::EINVAL) }
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        if let Body::File(content) = &read(&self.inner).body { content.seek_hole(offset) } else { Err(Errno::EINVAL) }
    }

    fn share(&self, access: Access) -> Result<Owned> {
        let mut inner = write(&self.inner);
        let Body::File(content) = &mut inner.body else { return Err(Errno::ENODEV) };
        content.share(access, &*self.shared.host)
    }

    fn lend(&self, access: Access, header: &Arc<Header>) -> Result<Owned> {
        self.lend_to(access, header)
    }

    fn returned(&self) {
        self.take_loan_back();
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        let inner = read(&self.inner);
        let Body::Link(target) = &inner.body else { return Err(Errno::EINVAL) };
        Ok(target.clone())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        let node = read(&self.inner).directory()?.get(name)?.clone();
        Ok(node)
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        let inner = read(&self.inner);
        let directory = inner.directory()?;
        if let Some(Removed(above)) = &directory.removed {
            return above.clone().map(|above| above as Arc<dyn Node>).ok_or(Errno::ENOENT);
        }
        Ok(directory.above.upgrade().or_else(|| self.this.upgrade()).ok_or(Errno::ENOENT)?)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let inner = read(&self.inner);
        let directory = inner.directory()?;
        if directory.removed.is_some() {
            // As on Linux, where not even the dots are left.
            return Err(Errno::ENOENT);
        }
        for (number, name) in directory.order.range(cookie..) {
            let vnode = &directory.get(name)?.vnode;
            if !each(Entry { ino: vnode.ino, kind: vnode.kind, name, next: number + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn create(&self, name: &[u8], new: &New<'_>) -> Result<Arc<dyn Node>> {
        let _tree = lock(&self.shared.tree);
        let inner = read(&self.inner);
        if inner.directory()?.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if new.kind == Kind::Directory && inner.nlink >= LINKS_MAX {
            return Err(Errno::EMLINK);
        }
        drop(inner);
        let node = TmpNode::new(&self.shared, new, self.this.clone())?;
        write(&node.inner).nlink = if node.is_directory() { 2 } else { 1 };
        self.enter(name, &node, self.shared.now())?;
        Ok(node)
    }

    fn create_unnamed(&self, new: &New<'_>, linkable: bool) -> Result<Arc<dyn Node>> {
        // In a removed directory too, as on Linux: it is in none anyway.
        read(&self.inner).directory()?;
        let node = TmpNode::new(&self.shared, new, Weak::new())?;
        write(&node.inner).linkable = linkable;
        Ok(node)
    }

    fn link(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        let node = self.own(node)?;
        if node.is_directory() {
            return Err(Errno::EPERM);
        }
        let _tree = lock(&self.shared.tree);
        let (nlink, linkable) = (read(&node.inner).nlink, read(&node.inner).linkable);
        match nlink {
            // Its last name went.
            0 if !linkable => return Err(Errno::ENOENT),
            LINKS_MAX.. => return Err(Errno::EMLINK),
            _ => {}
        }
        let now = self.shared.now();
        // A further name counts as a node, as on Linux.
        let further = nlink > 0;
        if further {
            self.shared.take_node(0)?;
        }
        if let Err(errno) = self.enter(name, &node, now) {
            if further {
                self.shared.give_node(0);
            }
            return Err(errno);
        }
        let mut inner = write(&node.inner);
        inner.nlink += 1;
        inner.linkable = false;
        inner.ctime = now;
        Ok(())
    }

    fn remove(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        let _tree = lock(&self.shared.tree);
        let found = read(&self.inner).directory()?.get(name)?.clone();
        let found_node: Arc<dyn Node> = found.clone();
        if !same(&found_node, node) {
            return Err(Errno::ENOENT);
        }
        if found.is_directory() && !found.empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let now = self.shared.now();
        // Dead before it is gone, so that nothing can be made in it in between.
        found.unlinked(now);
        self.leave(name, now).map(drop)
    }

    fn rename(&self, from: &[u8], into: &Arc<dyn Node>, to: &[u8], how: Rename) -> Result<()> {
        let into = self.own(into)?;
        let (replaces, whiteout) = match how {
            Rename::Exchange => return self.exchange(from, &into, to),
            Rename::Move { replaces, whiteout } => (replaces, whiteout),
        };
        let _tree = lock(&self.shared.tree);
        let moved = read(&self.inner).directory()?.get(from)?.clone();
        let replaced = {
            let inner = read(&into.inner);
            let directory = inner.directory()?;
            if directory.removed.is_some() {
                return Err(Errno::ENOENT);
            }
            directory.get(to).ok().cloned()
        };
        if replaced.is_some() && !replaces {
            return Err(Errno::EEXIST);
        }
        if replaced.as_ref().is_some_and(|replaced| Arc::ptr_eq(replaced, &moved)) {
            return Ok(());
        }
        if moved.is_directory() && moved.contains(&into) {
            return Err(Errno::EINVAL);
        }
        if let Some(replaced) = &replaced {
            TmpNode::may_replace(&moved, replaced)?;
        }
        let now = self.shared.now();
        let whiteout = whiteout.map(|owner| self.whiteout(owner)).transpose()?;
        self.shared.take_memory(entry_cost(to))?;
        if let Some(replaced) = &replaced {
            replaced.unlinked(now);
            self.shared.give_memory(entry_cost(to));
        }
        // The new name comes before the old one goes: whoever looks finds the node under one of them at least.
        let mut inner = write(&into.inner);
        inner.directory_mut()?.put(to, moved.clone());
        inner.nlink += u32::from(moved.is_directory());
        inner.nlink -= replaced.as_ref().map_or(0, |replaced| u32::from(replaced.is_directory()));
        inner.modified(now);
        drop(inner);
        match whiteout {
            Some(whiteout) => {
                let mut inner = write(&self.inner);
                inner.directory_mut()?.put(from, whiteout);
                inner.nlink -= u32::from(moved.is_directory());
                inner.modified(now);
            }
            None => drop(self.leave(from, now)?),
        }
        let mut inner = write(&moved.inner);
        inner.ctime = now;
        if let Body::Directory(directory) = &mut inner.body {
            directory.above = into.this.clone();
        }
        Ok(())
    }
}

impl TmpNode {
    /// Makes what stands for a removed name in an overlay: a character device without a number.
    fn whiteout(&self, (uid, gid): (u32, u32)) -> Result<Arc<TmpNode>> {
        let new = New { kind: Kind::Character, mode: 0, uid, gid, rdev: abi::device::from_linux(0), target: b"" };
        let node = TmpNode::new(&self.shared, &new, Weak::new())?;
        write(&node.inner).nlink = 1;
        Ok(node)
    }

    /// Swaps the name `from` here with the name `to` of `into`.
    fn exchange(&self, from: &[u8], into: &Arc<TmpNode>, to: &[u8]) -> Result<()> {
        let _tree = lock(&self.shared.tree);
        let one = read(&self.inner).directory()?.get(from)?.clone();
        let other = read(&into.inner).directory()?.get(to)?.clone();
        if Arc::ptr_eq(&one, &other) {
            return Ok(());
        }
        let holder = self.this.upgrade().ok_or(Errno::ENOENT)?;
        if (one.is_directory() && one.contains(into)) || (other.is_directory() && other.contains(&holder)) {
            return Err(Errno::EINVAL);
        }
        let now = self.shared.now();
        for (directory, name, comes, goes) in [(&holder, from, &other, &one), (into, to, &one, &other)] {
            let mut inner = write(&directory.inner);
            inner.directory_mut()?.exchange(name, comes.clone())?;
            inner.nlink += u32::from(comes.is_directory());
            inner.nlink -= u32::from(goes.is_directory());
            inner.modified(now);
            drop(inner);
            let mut inner = write(&comes.inner);
            inner.ctime = now;
            if let Body::Directory(moved) = &mut inner.body {
                moved.above = directory.this.clone();
            }
        }
        Ok(())
    }
}
