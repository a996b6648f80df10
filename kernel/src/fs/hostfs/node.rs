//! What a node of a host folder does.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::Owned;

use super::{LEVELS_MAX, Shared, id};
use crate::proc::lock;
use crate::rumpuser::{Access, Found, HostChange, HostFile, HostNode};
use crate::vfs::node::Entry;
use crate::vfs::pipe::Ways;
use crate::vfs::{Attr, Change, Kind, New, Node, Position, Rename, Vnode};

/// Flags of renameat2(2).
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
const RENAME_WHITEOUT: u32 = 4;

/// The cookie of the host's that stands for all that are larger: positions are signed, and two are taken by the dots.
const COOKIE_MAX: u64 = i64::MAX as u64 - 2;

/// An object of the folder.
pub(super) struct FolderNode {
    vnode: Vnode,
    shared: Arc<Shared>,
    this: Weak<FolderNode>,
    pub(super) host: Box<dyn HostNode>,
    /// The host's numbers.
    id: (u64, u64),
    /// The directory that it was found in last, if it is a directory: where `..` leads unless the host has moved it.
    above: Mutex<Weak<FolderNode>>,
    /// The content, opened for the first who reads, writes, or does both, and kept as long as the node.
    content: [OnceLock<Box<dyn HostFile>>; 3],
    /// The content, opened for who reads without a trace.
    quiet: OnceLock<Box<dyn HostFile>>,
}

impl FolderNode {
    pub fn new(shared: &Arc<Shared>, host: Box<dyn HostNode>, kind: Kind, id: (u64, u64)) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            vnode: Vnode::new(kind, shared.ino(id)),
            shared: shared.clone(),
            this: this.clone(),
            host,
            id,
            above: Mutex::default(),
            content: Default::default(),
            quiet: OnceLock::new(),
        })
    }

    /// Returns the node behind `node`, which must be of this file system.
    fn own(&self, node: &Arc<dyn Node>) -> Result<Arc<FolderNode>> {
        let any: Arc<dyn Any + Send + Sync> = node.clone();
        let own = any.downcast::<FolderNode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&own.shared, &self.shared) { Ok(own) } else { Err(Errno::EXDEV) }
    }

    fn status(&self) -> Result<Stat> {
        self.host.status()
    }

    /// Returns the entry `name` as it is at this moment.
    fn find(&self, name: &[u8]) -> Result<Arc<FolderNode>> {
        let host = self.host.lookup(name)?;
        let status = host.status()?;
        let found = self.shared.node((host, status))?;
        found.lies_in(self);
        Ok(found)
    }

    fn lies_in(&self, above: &FolderNode) {
        if self.vnode.kind == Kind::Directory {
            *lock(&self.above) = above.this.clone();
        }
    }

    /// The slot of the content that was opened with an access, and is sure to be there.
    fn slot(&self, access: Access) -> &OnceLock<Box<dyn HostFile>> {
        let [read, write, both] = &self.content;
        match access {
            Access::Read => read,
            Access::Write => write,
            Access::ReadWrite => both,
        }
    }

    /// Returns the content, opened with one of the accesses, or opens it with the first.
    fn content(&self, accesses: &[Access]) -> Result<&dyn HostFile> {
        if let Some(open) = accesses.iter().find_map(|access| self.slot(*access).get()) {
            return Ok(&**open);
        }
        let first = *accesses.first().ok_or(Errno::EBADF)?;
        if self.vnode.kind != Kind::Regular {
            return Err(Errno::EINVAL);
        }
        let open = self.host.open(first, self.shared.reads_quietly())?;
        Ok(&**self.slot(first).get_or_init(|| open))
    }

    fn reader(&self) -> Result<&dyn HostFile> {
        self.content(&[Access::Read, Access::ReadWrite])
    }

    fn writer(&self) -> Result<&dyn HostFile> {
        self.content(&[Access::Write, Access::ReadWrite])
    }

    /// What is open already, to ask or tell it something for which the access does not matter.
    fn any(&self) -> Result<&dyn HostFile> {
        self.content(&[Access::Read, Access::ReadWrite, Access::Write])
    }

    /// Finishes a node that was made here: it is to be whose `new` says, where the host lets the server give it away.
    fn made(&self, (host, found): Found, new: &New<'_>) -> Result<Arc<FolderNode>> {
        let uid = (found.st_uid != new.uid).then_some(new.uid);
        let gid = (found.st_gid != new.gid).then_some(new.gid);
        if uid.is_some() || gid.is_some() {
            match host.change(&HostChange { uid, gid, ..HostChange::default() }) {
                // Another owner takes set-user-ID away.
                Ok(()) if new.mode & 0o6000 != 0 && new.kind != Kind::Symlink => {
                    host.change(&HostChange { mode: Some(new.mode), ..HostChange::default() })?;
                }
                // It stays the server's.
                Ok(()) | Err(Errno::EPERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        let node = self.shared.node((host, found))?;
        node.lies_in(self);
        Ok(node)
    }

    /// Told that a name of the node may be gone.
    fn unnamed(&self) {
        if self.vnode.kind == Kind::Socket && self.status().is_ok_and(|found| found.st_nlink == 0) {
            self.vnode.unbind();
            self.shared.drop_socket(self);
        }
    }
}

impl Drop for FolderNode {
    fn drop(&mut self) {
        let mut nodes = lock(&self.shared.nodes);
        // Another may have taken the place since the last reference went.
        if nodes.get(&self.id).is_some_and(|node| node.strong_count() == 0) {
            nodes.remove(&self.id);
        }
    }
}

impl Node for FolderNode {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        // An object that is open can always be asked, but on a network file system whose server forgot it.
        let found = self.status().unwrap_or_default();
        Attr {
            mode: found.st_mode & 0o7777,
            nlink: found.st_nlink,
            uid: found.st_uid,
            gid: found.st_gid,
            rdev: found.st_rdev,
            size: found.st_size.max(0) as u64,
            blocks: found.st_blocks.max(0) as u64,
            atime: found.st_atim,
            mtime: found.st_mtim,
            ctime: found.st_ctim,
            birthtime: found.st_birthtim,
        }
    }

    fn set_attr(&self, change: &Change) -> Result<()> {
        if let Some(size) = change.size {
            self.writer()?.resize(size)?;
        }
        let &Change { mode, uid, gid, atime, mtime, size } = change;
        match (HostChange { mode, uid, gid, atime, mtime }) {
            // The length was all, and the host has noted the times.
            change if size.is_some() && change == HostChange::default() => Ok(()),
            change => self.host.change(&change),
        }
    }

    fn opened(&self, ways: Ways) -> Result<()> {
        match (self.vnode.kind, ways) {
            (Kind::Regular, Ways { read: true, write: false }) => self.reader().map(drop),
            (Kind::Regular, Ways { read: false, write: true }) => self.writer().map(drop),
            (Kind::Regular, _) => self.content(&[Access::ReadWrite]).map(drop),
            // Whether the host lets the server read it shows before it is needed.
            (Kind::Directory, _) => self.host.may_list(),
            _ => Ok(()),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.reader()?.read_at(offset, buf)
    }

    fn read_quietly(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if self.shared.reads_quietly() || self.vnode.kind != Kind::Regular {
            return self.read_at(offset, buf);
        }
        let reader = match self.quiet.get() {
            Some(open) => open,
            None => match self.host.open(Access::Read, true) {
                Ok(open) => self.quiet.get_or_init(|| open),
                // It was open for reading before; to leave no trace is no promise.
                Err(_) => return self.read_at(offset, buf),
            },
        };
        reader.read_at(offset, buf)
    }

    fn write_at(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        match position {
            Position::End => self.writer()?.append(data),
            Position::At(offset) => self.writer()?.write_at(offset, data).map(|len| (offset + len as u64, len)),
        }
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        self.writer()?.allocate(offset, len, keep_size)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.writer()?.punch(offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.any()?.seek(offset, true)
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.any()?.seek(offset, false)
    }

    fn share(&self, access: Access) -> Result<Owned> {
        if !self.shared.may_share() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.content(&[access])?.share()
    }

    fn sync(&self) -> Result<()> {
        match self.vnode.kind {
            Kind::Regular => self.content(&[Access::Write, Access::ReadWrite, Access::Read])?.sync(),
            Kind::Directory => self.host.sync(false),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.host.read_link()
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        Ok(self.find(name)?)
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        if self.id == self.shared.root {
            return Ok(self.this.upgrade().ok_or(Errno::ENOENT)?);
        }
        let known = lock(&self.above).upgrade();
        let above = id(&self.host.status_of(b"..")?);
        if let Some(known) = known.filter(|known| known.id == above) {
            return Ok(known);
        }
        let up = self.host.lookup(b"..")?;
        let up_status = up.status()?;
        let up_id = id(&up_status);
        // The host has moved it, or nobody has the directory above. It is ours only if the root is met on the way up.
        let (mut level, mut level_id) = (up.lookup(b".."), up_id);
        for _ in 0..LEVELS_MAX {
            if level_id == self.shared.root {
                let above = self.shared.node((up, up_status))?;
                self.lies_in(&above);
                return Ok(above);
            }
            let next = level?;
            let next_id = id(&next.status()?);
            if next_id == level_id {
                break;
            }
            (level, level_id) = (next.lookup(b".."), next_id);
        }
        Err(Errno::ENOENT)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        if self.vnode.kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.host.list(cookie, &mut |entry| {
            // A kind that the rump kernel does not know cannot be looked up either.
            let Some(kind) = Kind::from_mode(entry.format) else { return true };
            let next = entry.next.min(COOKIE_MAX);
            each(Entry { ino: self.shared.ino(entry.id), kind, name: entry.name, next })
        })
    }

    fn create(&self, name: &[u8], new: &New<'_>) -> Result<Arc<dyn Node>> {
        if matches!(new.kind, Kind::Character | Kind::Block) {
            return Err(Errno::EPERM);
        }
        let node = self.made(self.host.make(name, new.kind.format() | new.mode, new.target)?, new)?;
        if new.kind == Kind::Socket {
            self.shared.keep_socket(&node);
        }
        Ok(node)
    }

    fn create_unnamed(&self, new: &New<'_>, linkable: bool) -> Result<Arc<dyn Node>> {
        Ok(self.made(self.host.make_unnamed(new.mode, linkable)?, new)?)
    }

    fn link(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        self.host.link(name, &*self.own(node)?.host)
    }

    fn remove(&self, name: &[u8], node: &Arc<dyn Node>) -> Result<()> {
        let node = self.own(node)?;
        if id(&self.host.status_of(name)?) != node.id {
            return Err(Errno::ENOENT);
        }
        self.host.remove(name, node.vnode.kind == Kind::Directory)?;
        node.unnamed();
        Ok(())
    }

    fn rename(&self, from: &[u8], into: &Arc<dyn Node>, to: &[u8], how: Rename) -> Result<()> {
        let into = self.own(into)?;
        // Only a socket must hear that its name is gone.
        let socket = |found: &Stat| Kind::from_mode(found.st_mode) == Some(Kind::Socket);
        let replaced = into.host.status_of(to).ok().filter(socket).and_then(|_| into.find(to).ok());
        let flags = match how {
            Rename::Exchange => RENAME_EXCHANGE,
            Rename::Move { replaces, whiteout } => {
                let keeps = if replaces { 0 } else { RENAME_NOREPLACE };
                keeps | if whiteout.is_some() { RENAME_WHITEOUT } else { 0 }
            }
        };
        self.host.rename(from, &*into.host, to, flags)?;
        if let Some(replaced) = replaced {
            replaced.unnamed();
        }
        Ok(())
    }
}
