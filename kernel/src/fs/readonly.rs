//! What file systems that are only read have in common: nodes over what a format says of its inodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use abi::mount::MNT_RDONLY;
use abi::{Errno, Result};

use crate::proc::lock;
use crate::vfs::node::Entry;
use crate::vfs::{Attr, FileSystem, FsStat, Kind, Node, Vnode};

/// Directories that stay in memory when nobody uses them.
const RECENT: usize = 64;

/// Pieces of a file that a search looks at.
const EXTENTS_MAX: u32 = 1 << 22;

/// An entry of a directory.
pub struct Name<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What the format finds the inode by.
    pub inode: u64,
    /// Number that is shown.
    pub ino: u64,
    /// Kind of the inode; the inode's own counts where they differ.
    pub kind: Kind,
    /// The cookie of what follows.
    pub next: u64,
}

/// What is known of an inode.
pub struct Inode<T> {
    /// Kind.
    pub kind: Kind,
    /// Number that is shown.
    pub ino: u64,
    /// Attributes.
    pub attr: Attr,
    /// The inode of the directory that its `..` leads to, if the format knows: a directory can be reached from there only,
    /// or the tree would have rings.
    pub above: Option<u64>,
    /// What the format itself needs to read it.
    pub own: T,
}

/// A format. Each image is hostile: what is wrong in it is `EIO`, and no loop runs longer than the image is.
pub trait Format: Send + Sync + 'static {
    /// What it keeps of an inode.
    type Own: Send + Sync;
    /// The type's name, as in mount(2).
    const KIND: &'static str;
    /// Whether fsync(2) succeeds: what never has anything to write refuses it on Linux.
    const SYNCS: bool = false;

    /// The root directory's inode.
    fn root(&self) -> u64;
    /// Sizes, for statvfs(2).
    fn stat(&self) -> FsStat;
    /// Reads an inode; `within` is the directory that it was found in.
    fn inode(&self, inode: u64, within: Option<u64>) -> Result<Inode<Self::Own>>;
    /// Shows the entries of a directory from `cookie` on, without `.` and `..`, until `each` answers false.
    fn entries(&self, inode: &Inode<Self::Own>, cookie: u64, each: &mut dyn FnMut(Name<'_>) -> bool) -> Result<()>;
    /// Reads from a file; the range lies in it.
    fn read(&self, inode: &Inode<Self::Own>, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Returns the target of a symbolic link.
    fn target(&self, inode: &Inode<Self::Own>) -> Result<Vec<u8>>;
    /// Returns whether there is data at `offset`, and where that changes.
    fn extent(&self, inode: &Inode<Self::Own>, _offset: u64) -> Result<(bool, u64)> {
        Ok((true, inode.attr.size))
    }
    /// Finds a name; formats with an index are faster.
    fn lookup(&self, inode: &Inode<Self::Own>, name: &[u8]) -> Result<u64> {
        let mut found = None;
        self.entries(inode, 0, &mut |entry| {
            if entry.name == name {
                found = Some(entry.inode);
            }
            found.is_none()
        })?;
        found.ok_or(Errno::ENOENT)
    }
}

/// A mounted image.
struct Image<F: Format> {
    shared: Arc<Shared<F>>,
    root: Arc<RoNode<F>>,
}

struct Shared<F: Format> {
    format: F,
    nodes: Mutex<Nodes<F>>,
}

struct Nodes<F: Format> {
    known: HashMap<u64, Weak<RoNode<F>>>,
    sweep_at: usize,
    /// Directories that were used last.
    recent: Vec<Arc<RoNode<F>>>,
}

struct RoNode<F: Format> {
    vnode: Vnode,
    shared: Arc<Shared<F>>,
    this: Weak<RoNode<F>>,
    inode: Inode<F::Own>,
    /// What it was found by.
    number: u64,
    /// The directory above; none for files and for the root.
    above: Option<Arc<RoNode<F>>>,
}

/// Makes a file system of an image.
pub fn mount<F: Format>(format: F) -> Result<Arc<dyn FileSystem>> {
    let number = format.root();
    let inode = format.inode(number, None)?;
    if inode.kind != Kind::Directory {
        return Err(Errno::EINVAL);
    }
    let nodes = Nodes { known: HashMap::new(), sweep_at: 256, recent: Vec::new() };
    let shared = Arc::new(Shared { format, nodes: Mutex::new(nodes) });
    let root = RoNode::new(&shared, number, inode, None);
    lock(&shared.nodes).known.insert(number, Arc::downgrade(&root));
    Ok(Arc::new(Image { shared, root }))
}

impl<F: Format> FileSystem for Image<F> {
    fn kind(&self) -> &'static str {
        F::KIND
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }

    fn stat(&self) -> FsStat {
        self.shared.format.stat()
    }

    fn nature(&self) -> i32 {
        MNT_RDONLY
    }
}

impl<F: Format> Drop for Image<F> {
    fn drop(&mut self) {
        // The directories that are kept would keep what they share, which keeps them.
        let recent = std::mem::take(&mut lock(&self.shared.nodes).recent);
        drop(recent);
    }
}

impl<F: Format> RoNode<F> {
    fn new(shared: &Arc<Shared<F>>, number: u64, inode: Inode<F::Own>, above: Option<Arc<Self>>) -> Arc<Self> {
        let (vnode, shared) = (Vnode::new(inode.kind, inode.ino), shared.clone());
        Arc::new_cyclic(|this| Self { vnode, shared, this: this.clone(), inode, number, above })
    }

    fn directory(&self) -> Result<()> {
        if self.inode.kind == Kind::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    fn file(&self) -> Result<()> {
        if self.inode.kind == Kind::Regular { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Returns where data, or a hole, begins at or after `offset`; the file's length if there is none.
    fn seek(&self, offset: u64, data: bool) -> Result<u64> {
        let (mut at, size) = (offset, self.inode.attr.size);
        for _ in 0..EXTENTS_MAX {
            if at >= size {
                return Ok(size);
            }
            match self.shared.format.extent(&self.inode, at)? {
                (is_data, _) if is_data == data => return Ok(at),
                (_, next) => at = next.max(at + 1),
            }
        }
        // More pieces than any file has.
        Err(Errno::EIO)
    }

    /// Returns the node of an inode that was found here, the same as long as anybody has it.
    fn child(&self, number: u64) -> Result<Arc<Self>> {
        let known = lock(&self.shared.nodes).known.get(&number).and_then(Weak::upgrade);
        let node = match known {
            Some(node) => node,
            None => {
                let inode = self.shared.format.inode(number, Some(self.number))?;
                let is_directory = inode.kind == Kind::Directory;
                let above = if is_directory { self.this.upgrade() } else { None };
                let node = RoNode::new(&self.shared, number, inode, above);
                let mut nodes = lock(&self.shared.nodes);
                if nodes.known.len() >= nodes.sweep_at {
                    nodes.known.retain(|_, node| node.strong_count() > 0);
                    nodes.sweep_at = (nodes.known.len() * 2).max(256);
                }
                // Somebody else may have been faster.
                match nodes.known.get(&number).and_then(Weak::upgrade) {
                    Some(node) => node,
                    None => {
                        nodes.known.insert(number, Arc::downgrade(&node));
                        node
                    }
                }
            }
        };
        if node.inode.kind == Kind::Directory {
            let found_here = node.above.as_ref().is_some_and(|above| above.number == self.number);
            if !found_here || node.inode.above.is_some_and(|above| above != self.number) {
                return Err(Errno::EIO);
            }
            self.keep(&node);
        }
        Ok(node)
    }

    /// Keeps a directory in memory for a while.
    fn keep(&self, node: &Arc<Self>) {
        let mut nodes = lock(&self.shared.nodes);
        let at = nodes.recent.iter().position(|other| Arc::ptr_eq(other, node));
        let gone = match at {
            Some(at) => nodes.recent.remove(at),
            None if nodes.recent.len() >= RECENT => nodes.recent.remove(0),
            None => node.clone(),
        };
        nodes.recent.push(node.clone());
        drop(nodes);
        drop(gone);
    }
}

impl<F: Format> Drop for RoNode<F> {
    fn drop(&mut self) {
        // One above the other, without recursion: there may be many.
        let mut above = self.above.take();
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| node.above.take());
        }
    }
}

impl<F: Format> Node for RoNode<F> {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        self.inode.attr
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.file()?;
        let left = self.inode.attr.size.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        if len > 0 {
            self.shared.format.read(&self.inode, offset, &mut buf[..len])?;
        }
        Ok(len)
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.file()?;
        let found = self.seek(offset, true)?;
        if found < self.inode.attr.size { Ok(found) } else { Err(Errno::ENXIO) }
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.file()?;
        self.seek(offset, false)
    }

    fn sync(&self) -> Result<()> {
        if F::SYNCS { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        if self.inode.kind != Kind::Symlink {
            return Err(Errno::EINVAL);
        }
        let target = self.shared.format.target(&self.inode)?;
        if target.is_empty() || target.contains(&0) { Err(Errno::EIO) } else { Ok(target) }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        self.directory()?;
        let number = self.shared.format.lookup(&self.inode, name)?;
        Ok(self.child(number)?)
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        self.directory()?;
        let above = self.above.clone().or_else(|| self.this.upgrade());
        Ok(above.ok_or(Errno::ENOENT)?)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        self.directory()?;
        self.shared.format.entries(&self.inode, cookie, &mut |entry| {
            // What could not be a name is not one, whatever an image says.
            let sound = !entry.name.is_empty() && !entry.name.iter().any(|byte| matches!(byte, 0 | b'/'));
            let dots = matches!(entry.name, b"." | b"..");
            !sound || dots || each(Entry { ino: entry.ino, kind: entry.kind, name: entry.name, next: entry.next })
        })
    }
}
