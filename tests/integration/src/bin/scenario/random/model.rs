//! A tree as Linux's manual pages describe it, in memory: what each call on it answers, and what the tree is afterwards.
//!
//! The kernel's own property test (`kernel/tests/vfs_model.rs`) uses it, too. Paths end in a name, not in a dot.

use std::collections::BTreeMap;

use libc::{
    EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, O_CREAT, O_EXCL, O_NOFOLLOW, O_TRUNC,
    RENAME_EXCHANGE, RENAME_NOREPLACE, c_int,
};

/// What a call answers: its errno if it fails.
pub type Answer<T = ()> = Result<T, c_int>;

/// A number of an object.
pub type Id = usize;

/// The tree's top.
pub const TOP: Id = 0;

/// Links that one walk follows (path_resolution(7)).
const LINKS_MAX: u32 = 40;

/// An object.
#[derive(Clone, Debug)]
pub enum Node {
    Directory { entries: BTreeMap<String, Id>, parent: Id },
    File(Vec<u8>),
    Link(String),
}

/// The tree; objects keep their numbers, and stay when their last name has gone.
#[derive(Clone, Debug)]
pub struct Model {
    nodes: Vec<Node>,
    /// What an absolute target of a link begins with if it leads into the tree.
    top: String,
    /// The working directory: where paths begin without a `/`.
    pub at: Id,
}

/// Where a walk ended: a directory, the last name, and what it names.
struct Found {
    directory: Id,
    name: String,
    what: Option<Id>,
}

impl Model {
    /// An empty tree whose top has this path.
    pub fn new(top: &str) -> Self {
        let directory = Node::Directory { entries: BTreeMap::new(), parent: TOP };
        Self { nodes: vec![directory], top: top.to_owned(), at: TOP }
    }

    /// An object.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    fn entries(&self, id: Id) -> Answer<&BTreeMap<String, Id>> {
        if let Node::Directory { entries, .. } = &self.nodes[id] { Ok(entries) } else { Err(ENOTDIR) }
    }

    fn entries_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.nodes[id] {
            Node::Directory { entries, .. } => entries,
            other => unreachable!("{other:?} is no directory"),
        }
    }

    /// The content of a file.
    pub fn content(&mut self, id: Id) -> &mut Vec<u8> {
        match &mut self.nodes[id] {
            Node::File(content) => content,
            other => unreachable!("{other:?} is no file"),
        }
    }

    /// Walks a path (namei); `follow` says whether a link at its end is followed.
    fn walk(&self, path: &str, follow: bool) -> Answer<Found> {
        let absolute = path.strip_prefix('/');
        let mut left: Vec<String> = absolute.unwrap_or(path).split('/').rev().map(str::to_owned).collect();
        let (mut at, mut links) = (if absolute.is_some() { TOP } else { self.at }, 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                at = self.above(at)?;
                continue;
            }
            let what = self.entries(at)?.get(&name).copied();
            match what.map(|id| &self.nodes[id]) {
                Some(Node::Link(target)) if follow || !left.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(ELOOP);
                    }
                    let below = target.strip_prefix(&self.top);
                    at = if below.is_some() { TOP } else { at };
                    let names = below.unwrap_or(target).split('/').filter(|name| !name.is_empty());
                    left.extend(names.rev().map(str::to_owned));
                }
                _ if left.is_empty() => return Ok(Found { directory: at, name, what }),
                Some(_) => at = what.unwrap_or_default(),
                None => return Err(ENOENT),
            }
        }
        unreachable!("a path has a last name, and so has a target")
    }

    /// The directory above one, which a removed one keeps.
    fn above(&self, id: Id) -> Answer<Id> {
        if let Node::Directory { parent, .. } = &self.nodes[id] { Ok(*parent) } else { Err(ENOTDIR) }
    }

    fn find(&self, path: &str, follow: bool) -> Answer<Id> {
        self.walk(path, follow)?.what.ok_or(ENOENT)
    }

    /// A place for a new name.
    fn place(&self, path: &str) -> Answer<Found> {
        let found = self.walk(path, false)?;
        match found.what {
            Some(_) => Err(EEXIST),
            None if self.is_removed(found.directory) => Err(ENOENT),
            None => Ok(found),
        }
    }

    /// Whether a directory has been removed; nothing can be made in it any more.
    fn is_removed(&self, directory: Id) -> bool {
        self.in_tree().all(|id| id != directory)
    }

    fn add(&mut self, Found { directory, name, .. }: Found, node: Node) -> Id {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.entries_mut(directory).insert(name, id);
        id
    }

    pub fn mkdir(&mut self, path: &str) -> Answer {
        let place = self.place(path)?;
        let parent = place.directory;
        self.add(place, Node::Directory { entries: BTreeMap::new(), parent });
        Ok(())
    }

    pub fn symlink(&mut self, target: &str, path: &str) -> Answer {
        let place = self.place(path)?;
        self.add(place, Node::Link(target.to_owned()));
        Ok(())
    }

    pub fn link(&mut self, old: &str, new: &str) -> Answer {
        let id = self.find(old, false)?;
        let place = self.place(new)?;
        if matches!(self.nodes[id], Node::Directory { .. }) {
            return Err(EPERM);
        }
        self.entries_mut(place.directory).insert(place.name, id);
        Ok(())
    }

    /// See open(2), for reading and writing.
    pub fn open(&mut self, path: &str, flags: c_int) -> Answer<Id> {
        let exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
        let found = self.walk(path, !exclusive && flags & O_NOFOLLOW == 0)?;
        let id = match found.what {
            Some(_) if exclusive => return Err(EEXIST),
            Some(id) => id,
            None if flags & O_CREAT == 0 || self.is_removed(found.directory) => return Err(ENOENT),
            None => return Ok(self.add(found, Node::File(Vec::new()))),
        };
        match &mut self.nodes[id] {
            Node::Directory { .. } => Err(EISDIR),
            Node::Link(_) => Err(ELOOP),
            Node::File(content) => {
                if flags & O_TRUNC != 0 {
                    content.clear();
                }
                Ok(id)
            }
        }
    }

    pub fn truncate(&mut self, path: &str, len: usize) -> Answer {
        let id = self.find(path, true)?;
        match &mut self.nodes[id] {
            Node::File(content) => {
                content.resize(len, 0);
                Ok(())
            }
            _ => Err(EISDIR),
        }
    }

    pub fn unlink(&mut self, path: &str) -> Answer {
        let found = self.walk(path, false)?;
        match self.nodes[found.what.ok_or(ENOENT)?] {
            Node::Directory { .. } => Err(EISDIR),
            _ => {
                self.entries_mut(found.directory).remove(&found.name);
                Ok(())
            }
        }
    }

    pub fn rmdir(&mut self, path: &str) -> Answer {
        let found = self.walk(path, false)?;
        if !self.entries(found.what.ok_or(ENOENT)?)?.is_empty() {
            return Err(ENOTEMPTY);
        }
        self.entries_mut(found.directory).remove(&found.name);
        Ok(())
    }

    pub fn readlink(&self, path: &str) -> Answer<String> {
        match &self.nodes[self.find(path, false)?] {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(EINVAL),
        }
    }

    /// What stat(2), or lstat(2), finds.
    pub fn stat(&self, path: &str, follow: bool) -> Answer<Id> {
        self.find(path, follow)
    }

    /// Whether `id` is `below` or a directory above it.
    fn is_above(&self, id: Id, below: Id) -> bool {
        let mut at = below;
        loop {
            match self.nodes[at] {
                _ if at == id => return true,
                Node::Directory { parent, .. } if at != TOP => at = parent,
                _ => return false,
            }
        }
    }

    /// In the order of Linux's do_renameat2() and vfs_rename().
    pub fn rename(&mut self, from: &str, to: &str, flags: u32) -> Answer {
        // Both walks to the directories come before the look at the last names.
        let walks = (self.walk(from, false), self.walk(to, false));
        let (from, to) = (walks.0?, walks.1?);
        let moved = from.what.ok_or(ENOENT)?;
        match (flags, to.what) {
            (RENAME_NOREPLACE, Some(_)) => return Err(EEXIST),
            (RENAME_EXCHANGE, None) => return Err(ENOENT),
            _ => {}
        }
        if to.what.is_none() && self.is_removed(to.directory) {
            return Err(ENOENT);
        }
        if self.is_above(moved, to.directory) {
            return Err(EINVAL);
        }
        if to.what.is_some_and(|replaced| self.is_above(replaced, from.directory)) {
            return Err(if flags == RENAME_EXCHANGE { EINVAL } else { ENOTEMPTY });
        }
        if to.what == Some(moved) {
            return Ok(());
        }
        let is_directory = |id: Id| matches!(self.nodes[id], Node::Directory { .. });
        match to.what {
            Some(replaced) if flags == RENAME_EXCHANGE => self.put(from.directory, from.name, replaced),
            Some(replaced) if is_directory(moved) && !is_directory(replaced) => return Err(ENOTDIR),
            Some(replaced) if !is_directory(moved) && is_directory(replaced) => return Err(EISDIR),
            Some(replaced) if is_directory(moved) && !self.entries(replaced)?.is_empty() => return Err(ENOTEMPTY),
            _ => drop(self.entries_mut(from.directory).remove(&from.name)),
        }
        self.put(to.directory, to.name, moved);
        Ok(())
    }

    fn put(&mut self, directory: Id, name: String, id: Id) {
        self.entries_mut(directory).insert(name, id);
        if let Node::Directory { parent, .. } = &mut self.nodes[id] {
            *parent = directory;
        }
    }

    /// `st_nlink`: the names of a file; of a directory, those of `.` and `..`, too.
    pub fn links(&self, id: Id) -> usize {
        let names = |node: &Node| match node {
            Node::Directory { entries, .. } => entries.values().filter(|entry| **entry == id).count(),
            _ => 0,
        };
        match &self.nodes[id] {
            Node::Directory { entries, .. } => {
                let below = entries.values().filter(|entry| matches!(self.nodes[**entry], Node::Directory { .. }));
                2 + below.count()
            }
            _ => self.in_tree().map(|id| names(&self.nodes[id])).sum(),
        }
    }

    /// The directories that can be reached from the top.
    fn in_tree(&self) -> impl Iterator<Item = Id> {
        let mut left = vec![TOP];
        std::iter::from_fn(move || {
            let at = left.pop()?;
            if let Node::Directory { entries, .. } = &self.nodes[at] {
                let directories = entries.values().filter(|id| matches!(self.nodes[**id], Node::Directory { .. }));
                left.extend(directories);
            }
            Some(at)
        })
    }
}
