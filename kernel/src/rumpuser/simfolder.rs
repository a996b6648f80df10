//! Folders of a simulated host: a tree in memory, whose objects stay what they are whatever becomes of their names.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use abi::stat::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat};
use abi::{Errno, Result};

use super::folder::{Found, HostChange, HostEntry, HostNode, HostSizes};
use super::sim::SimFile;
use super::{Access, HostFile};
use crate::proc::lock;

/// Flags of renameat2(2).
const RENAME_NOREPLACE: u32 = 1;
const RENAME_EXCHANGE: u32 = 2;
/// Number of the root directory.
const ROOT: u64 = 1;
/// The device that all objects are on.
const DEVICE: u64 = 77;

/// All objects of a simulated host.
pub struct SimTree {
    objects: Mutex<BTreeMap<u64, Object>>,
}

#[derive(Default)]
struct Object {
    stat: Stat,
    file: SimFile,
    target: Vec<u8>,
    /// With the cookie of each.
    entries: BTreeMap<Vec<u8>, (u64, u64)>,
    above: u64,
    next_cookie: u64,
}

impl SimTree {
    /// Makes a host with an empty root directory.
    pub fn new() -> Arc<Self> {
        let tree = Arc::new(Self { objects: Mutex::default() });
        tree.add(ROOT, S_IFDIR | 0o755, b"", 2);
        tree
    }

    /// The root directory.
    pub fn root(self: &Arc<Self>) -> SimNode {
        SimNode { tree: self.clone(), number: ROOT }
    }

    fn add(self: &Arc<Self>, above: u64, mode: u32, target: &[u8], nlink: u32) -> SimNode {
        let mut objects = lock(&self.objects);
        let number = objects.keys().last().map_or(ROOT, |last| last + 1);
        let stat = Stat { st_dev: DEVICE, st_ino: number, st_mode: mode, st_nlink: nlink, ..Stat::default() };
        let object = Object { stat, target: target.to_vec(), above, next_cookie: 1, ..Object::default() };
        objects.insert(number, object);
        SimNode { tree: self.clone(), number }
    }
}

impl Object {
    fn directory(&mut self) -> Result<&mut Self> {
        if self.stat.st_mode & S_IFMT == S_IFDIR { Ok(self) } else { Err(Errno::ENOTDIR) }
    }

    fn find(&mut self, name: &[u8]) -> Result<u64> {
        self.directory()?.entries.get(name).map(|(_, number)| *number).ok_or(Errno::ENOENT)
    }

    fn enter(&mut self, name: &[u8], number: u64) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.entries.insert(name.to_vec(), (cookie, number));
    }
}

/// An object of a simulated host.
pub struct SimNode {
    tree: Arc<SimTree>,
    number: u64,
}

impl SimNode {
    fn with<T>(&self, number: u64, done: impl FnOnce(&mut Object) -> Result<T>) -> Result<T> {
        lock(&self.tree.objects).get_mut(&number).ok_or(Errno::EIO).and_then(done)
    }

    fn own<T>(&self, done: impl FnOnce(&mut Object) -> Result<T>) -> Result<T> {
        self.with(self.number, done)
    }

    fn node(&self, number: u64) -> Box<dyn HostNode> {
        Box::new(SimNode { tree: self.tree.clone(), number })
    }

    fn is_directory(&self, number: u64) -> bool {
        self.with(number, |object| object.directory().map(drop)).is_ok()
    }

    /// Whether `number` is `other` or lies above it.
    fn contains(&self, number: u64, other: u64) -> bool {
        let mut at = other;
        while at != number && at != ROOT {
            at = self.with(at, |object| Ok(object.above)).unwrap_or(ROOT);
        }
        at == number
    }

    /// Puts an object under a name of this directory.
    fn enter(&self, name: &[u8], number: u64) -> Result<()> {
        self.own(|object| {
            object.enter(name, number);
            Ok(())
        })
    }

    /// Notes in which directory an object is.
    fn lies_in(&self, number: u64, above: u64) -> Result<()> {
        self.with(number, |object| {
            object.above = above;
            Ok(())
        })
    }

    fn lose(&self, number: u64) -> Result<()> {
        self.with(number, |object| {
            let directory = object.stat.st_mode & S_IFMT == S_IFDIR;
            object.stat.st_nlink = if directory { 0 } else { object.stat.st_nlink - 1 };
            Ok(())
        })
    }
}

impl HostNode for SimNode {
    fn status(&self) -> Result<Stat> {
        self.own(|object| {
            let size = object.file.size().unwrap_or(0).max(object.target.len() as u64);
            Ok(Stat { st_size: size as i64, ..object.stat })
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<Box<dyn HostNode>> {
        let number = match name {
            b"." => self.number,
            b".." => self.own(|object| Ok(object.directory()?.above))?,
            _ => self.own(|object| object.find(name))?,
        };
        Ok(self.node(number))
    }

    fn status_of(&self, name: &[u8]) -> Result<Stat> {
        self.lookup(name)?.status()
    }

    fn may_list(&self) -> Result<()> {
        self.own(|object| object.directory().map(drop))
    }

    fn list(&self, cookie: u64, each: &mut dyn FnMut(HostEntry<'_>) -> bool) -> Result<()> {
        let mut entries: Vec<(u64, Vec<u8>, u64)> = self.own(|object| {
            let entries = &object.directory()?.entries;
            Ok(entries.iter().map(|(name, (cookie, number))| (*cookie, name.clone(), *number)).collect())
        })?;
        entries.sort();
        for (next, name, number) in entries.into_iter().filter(|(at, ..)| *at > cookie) {
            let format = self.with(number, |object| Ok(object.stat.st_mode & S_IFMT))?;
            if !each(HostEntry { name: &name, id: (DEVICE, number), format, next }) {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, _access: Access, _quiet: bool) -> Result<Box<dyn HostFile>> {
        self.own(|object| Ok(Box::new(object.file.clone()) as Box<dyn HostFile>))
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        self.own(
            |object| {
                if object.stat.st_mode & S_IFMT == S_IFLNK { Ok(object.target.clone()) } else { Err(Errno::EINVAL) }
            },
        )
    }

    fn make(&self, name: &[u8], mode: u32, target: &[u8]) -> Result<Found> {
        self.own(|object| match object.find(name) {
            Err(Errno::ENOENT) if object.stat.st_nlink > 0 => Ok(()),
            Ok(_) => Err(Errno::EEXIST),
            Err(errno) => Err(errno),
        })?;
        let nlink = if mode & S_IFMT == S_IFDIR { 2 } else { 1 };
        let made = self.tree.add(self.number, mode, target, nlink);
        self.own(|object| {
            object.enter(name, made.number);
            Ok(())
        })?;
        let found = made.status()?;
        Ok((Box::new(made), found))
    }

    fn make_unnamed(&self, mode: u32, _linkable: bool) -> Result<Found> {
        let made = self.tree.add(self.number, S_IFREG | mode, b"", 0);
        let found = made.status()?;
        Ok((Box::new(made), found))
    }

    fn link(&self, name: &[u8], node: &dyn HostNode) -> Result<()> {
        let number = own(node)?.number;
        if self.own(|object| object.find(name)).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.with(number, |object| {
            object.stat.st_nlink += 1;
            Ok(())
        })?;
        self.own(|object| {
            object.enter(name, number);
            Ok(())
        })
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let number = self.own(|object| object.find(name))?;
        match (directory, self.is_directory(number)) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            (true, true) if self.with(number, |object| Ok(!object.entries.is_empty()))? => {
                return Err(Errno::ENOTEMPTY);
            }
            _ => {}
        }
        self.own(|object| Ok(object.entries.remove(name)))?;
        self.lose(number)
    }

    fn rename(&self, from: &[u8], into: &dyn HostNode, to: &[u8], flags: u32) -> Result<()> {
        let into = own(into)?;
        let moved = self.own(|object| object.find(from))?;
        let there = into.own(|object| object.find(to));
        if self.is_directory(moved) && self.contains(moved, into.number) {
            return Err(Errno::EINVAL);
        }
        match there {
            Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            Ok(number) if number == moved => return Ok(()),
            Ok(number) if flags & RENAME_EXCHANGE != 0 => {
                if self.is_directory(number) && self.contains(number, self.number) {
                    return Err(Errno::EINVAL);
                }
                self.enter(from, number)?;
                self.lies_in(number, self.number)?;
            }
            Ok(number) => {
                match (self.is_directory(moved), self.is_directory(number)) {
                    (false, true) => return Err(Errno::EISDIR),
                    (true, false) => return Err(Errno::ENOTDIR),
                    (true, true) if self.with(number, |object| Ok(!object.entries.is_empty()))? => {
                        return Err(Errno::ENOTEMPTY);
                    }
                    _ => self.lose(number)?,
                }
                self.own(|object| Ok(object.entries.remove(from)))?;
            }
            Err(Errno::ENOENT) if flags & RENAME_EXCHANGE == 0 => {
                self.own(|object| Ok(object.entries.remove(from)))?;
            }
            Err(errno) => return Err(errno),
        }
        into.enter(to, moved)?;
        self.lies_in(moved, into.number)
    }

    fn change(&self, change: &HostChange) -> Result<()> {
        self.own(|object| {
            let stat = &mut object.stat;
            stat.st_mode = change.mode.map_or(stat.st_mode, |mode| stat.st_mode & S_IFMT | mode);
            stat.st_uid = change.uid.unwrap_or(stat.st_uid);
            stat.st_gid = change.gid.unwrap_or(stat.st_gid);
            stat.st_atim = change.atime.unwrap_or(stat.st_atim);
            stat.st_mtim = change.mtime.unwrap_or(stat.st_mtim);
            Ok(())
        })
    }

    fn sizes(&self) -> Result<HostSizes> {
        Ok(HostSizes { block_size: 4096, blocks: [1000, 500, 400], files: [100, 50] })
    }

    fn sync(&self, _all: bool) -> Result<()> {
        Ok(())
    }
}

fn own(node: &dyn HostNode) -> Result<&SimNode> {
    let any: &dyn Any = node;
    any.downcast_ref().ok_or(Errno::EXDEV)
}
