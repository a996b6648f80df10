//! What a file system implements: [`FileSystem`] and [`Node`].

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, Weak};

use abi::stat::Stat;
use abi::time::Timespec;
use abi::{Errno, Result};
use sysproxy::host::{HostFd, Owned};
use sysproxy::pages::Header;
use zerocopy::FromZeros;

use super::lock::Locks;
use super::pipe::{Pipe, Ways};
use super::{Dir, Mount, NAME_MAX};
use crate::fs::options::Options;
use crate::proc::lock;
use crate::rumpuser::Access;
use crate::wait::WaitQueue;

/// A mounted file system.
pub trait FileSystem: Send + Sync {
    /// The type's name, as in mount(2).
    fn kind(&self) -> &'static str;
    /// The root directory.
    fn root(&self) -> Arc<dyn Node>;
    /// Sizes, for statvfs(2).
    fn stat(&self) -> FsStat {
        FsStat::default()
    }
    /// Writes everything to where it lasts.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    /// Flags that its mount has whatever mount(2) said: `MNT_RDONLY` if nothing can ever be changed, `MNT_NODEV`.
    fn nature(&self) -> i32 {
        0
    }
    /// Told the flags of its mount, `MNT_*`, and its options, before they change (`MNT_UPDATE`); an error leaves all as it was.
    fn update(&self, _flags: i32, options: &Options<'_>) -> Result<()> {
        options.none()
    }
    /// The longest name that an entry can have, in bytes.
    fn name_max(&self) -> usize {
        NAME_MAX
    }
    /// The longest file that there can be, in bytes: no position lies beyond it.
    fn size_max(&self) -> u64 {
        super::open::SIZE_MAX
    }
    /// Calls `during` while nothing is made, linked, moved or removed, if the file system can promise that.
    fn hold_still(&self, during: &mut dyn FnMut()) {
        during();
    }
    /// Told that it is in the tree no more, and that nothing will change it; leaves in good order what it lies on.
    fn unmounted(&self) -> Result<()> {
        self.sync()
    }
}

/// Sizes of a file system; blocks are of `block_size` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStat {
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub blocks_free: u64,
    /// Free blocks that the superuser keeps.
    pub blocks_kept: u64,
    /// Nodes in all.
    pub files: u64,
    /// Nodes that are free.
    pub files_free: u64,
}

/// The kind of a node, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// The name of a socket.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Kind {
    /// The bits of `S_IFMT`.
    pub const fn format(self) -> u32 {
        match self {
            Kind::Fifo => 0o010000,
            Kind::Character => 0o020000,
            Kind::Directory => 0o040000,
            Kind::Block => 0o060000,
            Kind::Regular => 0o100000,
            Kind::Symlink => 0o120000,
            Kind::Socket => 0o140000,
        }
    }

    /// The kind of a mode as mknod(2) takes it; no format bits mean a file.
    pub const fn from_mode(mode: u32) -> Option<Kind> {
        Some(match mode & 0o170000 {
            0 | 0o100000 => Kind::Regular,
            0o010000 => Kind::Fifo,
            0o020000 => Kind::Character,
            0o040000 => Kind::Directory,
            0o060000 => Kind::Block,
            0o120000 => Kind::Symlink,
            0o140000 => Kind::Socket,
            _ => return None,
        })
    }

    /// The type in a directory entry (`DT_*`).
    pub const fn dirent(self) -> u8 {
        (self.format() >> 12) as u8
    }
}

/// Attributes of a node.
#[derive(Clone, Copy)]
pub struct Attr {
    /// Permission bits, 07777.
    pub mode: u32,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of a device node.
    pub rdev: u64,
    /// Length in bytes.
    pub size: u64,
    /// Memory or disk taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of content.
    pub mtime: Timespec,
    /// Last change of attributes.
    pub ctime: Timespec,
    /// When it was made.
    pub birthtime: Timespec,
}

/// New values of attributes; `None` leaves the old one. A change of anything sets `ctime`.
#[derive(Clone, Copy, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Timespec>,
    /// Last change of content.
    pub mtime: Option<Timespec>,
    /// Length; growing shows zeros. Sets `mtime` too.
    pub size: Option<u64>,
}

/// What a new node shall be.
#[derive(Clone, Copy)]
pub struct New<'a> {
    /// Kind.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number, for a device.
    pub rdev: u64,
    /// Target, for a symbolic link.
    pub target: &'a [u8],
}

/// How a node is moved (renameat2(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It gets the new name instead of the old one.
    Move {
        /// Whether what has the new name goes; else it is `EEXIST`.
        replaces: bool,
        /// The user and group for whom a whiteout takes the old name.
        whiteout: Option<(u32, u32)>,
    },
    /// The two swap their names.
    Exchange,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At this offset.
    At(u64),
    /// At the end, wherever that is at the moment.
    End,
}

/// One entry of a directory, as [`Node::read_dir`] shows it.
pub struct Entry<'a> {
    /// Number of the node.
    pub ino: u64,
    /// Kind of the node.
    pub kind: Kind,
    /// Name.
    pub name: &'a [u8],
    /// The cookie of what follows.
    pub next: u64,
}

/// An object of a file system. The same object is always the same `Arc`.
///
/// Names are never empty, `.`, `..`, longer than [`FileSystem::name_max`], nor contain a slash. Permissions, read-only mounts, times of
/// opening and the like are judged by the caller.
pub trait Node: Any + Send + Sync {
    /// What the VFS keeps with the node.
    fn vnode(&self) -> &Vnode;
    /// Attributes now.
    fn attr(&self) -> Attr;
    /// Changes attributes, all or none.
    fn set_attr(&self, _change: &Change) -> Result<()> {
        Err(Errno::EROFS)
    }
    /// Told that a file is being opened; refuses what cannot be opened so.
    fn opened(&self, _ways: Ways) -> Result<()> {
        Ok(())
    }
    /// Reads from a file; 0 at or after its end.
    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// Reads from a file as for `O_NOATIME`. It is for who notes accesses without being told; others just read.
    fn read_quietly(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read_at(offset, buf)
    }
    /// Told that a file, directory or symbolic link was read: the time of the last access.
    fn accessed(&self) {}
    /// Writes to a file; returns where the data ended and how much was taken.
    fn write_at(&self, _position: Position, _data: &[u8]) -> Result<(u64, usize)> {
        Err(Errno::EROFS)
    }
    /// Takes the memory for a range of a file in advance; the file reaches at least to its end afterwards, unless `keep_size`.
    fn allocate(&self, _offset: u64, _len: u64, _keep_size: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Gives a range of a file back: it reads as zeros, and the length stays.
    fn punch(&self, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Returns where data begins at or after `offset`, which lies in the file; `ENXIO` if only a hole is left.
    fn seek_data(&self, offset: u64) -> Result<u64> {
        Ok(offset)
    }
    /// Returns where a hole begins at or after `offset`, which lies in the file; the end of the file is one.
    fn seek_hole(&self, _offset: u64) -> Result<u64> {
        Ok(self.attr().size)
    }
    /// Returns a descriptor of the host that maps to the content of a file: what is stored there is in the file at once.
    fn share(&self, _access: Access) -> Result<Owned> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Lends the memory of a file to a client that has it open with `access`, until `header` goes: an open file of the host, through which
    /// the client reads and writes by itself. `EAGAIN` if there is none to lend just now.
    fn lend(&self, _access: Access, _header: &Arc<Header>) -> Result<Owned> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Told that a header has gone.
    fn returned(&self) {}
    /// The same as [`Node::write_at`] through what was lent: where that open file of the host stands, which should be at the position.
    fn write_through(&self, _by: HostFd, _position: Position, _data: &[u8]) -> Result<(u64, usize)> {
        Err(Errno::EROFS)
    }
    /// Writes what a file has to where it lasts; `EOPNOTSUPP` where the file system as a whole sees to it.
    fn sync(&self) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// What a symbolic link leads to that needs no path to be found, as `/proc/PID/fd/N`; most need one. `mount` is the link's own.
    fn leads_to(&self, _mount: &Arc<Mount>) -> Result<Option<Dir>> {
        Ok(None)
    }
    /// Returns the target of a symbolic link.
    fn read_link(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }
    /// Returns the entry `name` of a directory, or `ENOENT`.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Node>> {
        Err(Errno::ENOTDIR)
    }
    /// Returns the directory above; the root's is itself, and a removed one's that which it was removed from.
    fn parent(&self) -> Result<Arc<dyn Node>> {
        Err(Errno::ENOTDIR)
    }
    /// Shows the entries from `cookie` on (0 is the first, no `.` or `..`) until `each` answers false for one, which is
    /// then not consumed. An entry that stays is shown once, whatever happens to others between two calls. `ENOENT` if the
    /// directory was removed.
    fn read_dir(&self, _cookie: u64, _each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// Makes a node called `name`, `EEXIST` if there is one.
    fn create(&self, _name: &[u8], _new: &New<'_>) -> Result<Arc<dyn Node>> {
        Err(Errno::EROFS)
    }
    /// Makes a file without a name (`O_TMPFILE`), which [`Node::link`] can give one if it is `linkable`.
    fn create_unnamed(&self, _new: &New<'_>, _linkable: bool) -> Result<Arc<dyn Node>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Gives a node another name, `EEXIST` if there is one.
    fn link(&self, _name: &[u8], _node: &Arc<dyn Node>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes `name`, which must still be `node`; `ENOTEMPTY` for a directory with entries.
    fn remove(&self, _name: &[u8], _node: &Arc<dyn Node>) -> Result<()> {
        Err(Errno::EROFS)
    }
    /// Moves `from` to the name `to` of the directory `into`, in one step; `how` says what becomes of a node that is there.
    ///
    /// `EINVAL` if a directory would come to lie in itself, `ENOTEMPTY`, `EISDIR`, `ENOTDIR`, `EEXIST` by what is there.
    fn rename(&self, _from: &[u8], _into: &Arc<dyn Node>, _to: &[u8], _how: Rename) -> Result<()> {
        Err(Errno::EROFS)
    }
}

impl dyn Node {
    /// The endpoint of a socket node while something is bound to it.
    pub fn bound_socket(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        lock(&self.vnode().endpoint).clone()
    }

    /// Attributes as stat(2) shows them.
    pub fn stat(&self, device: u64) -> Stat {
        let (vnode, attr) = (self.vnode(), self.attr());
        let mut stat = Stat::new_zeroed();
        stat.st_dev = device;
        stat.st_mode = vnode.kind.format() | attr.mode;
        stat.st_ino = vnode.ino;
        stat.st_nlink = attr.nlink;
        stat.st_uid = attr.uid;
        stat.st_gid = attr.gid;
        stat.st_rdev = attr.rdev;
        stat.st_atim = attr.atime;
        stat.st_mtim = attr.mtime;
        stat.st_ctim = attr.ctime;
        stat.st_birthtim = attr.birthtime;
        stat.st_size = attr.size as i64;
        stat.st_blocks = attr.blocks as i64;
        stat.st_blksize = 4096;
        stat
    }
}

/// Whether both are the same node.
pub fn same(one: &Arc<dyn Node>, other: &Arc<dyn Node>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// What the VFS keeps with every node; a file system makes it and otherwise leaves it alone.
pub struct Vnode {
    /// Kind.
    pub kind: Kind,
    /// Number, unique within the file system.
    pub ino: u64,
    /// Whether a file system is mounted from this disk or file.
    pub(crate) mounted: AtomicBool,
    /// How many mounts cover this directory.
    pub(super) covers: AtomicU32,
    /// Advisory locks.
    pub(super) locks: Mutex<Locks>,
    /// Woken when a lock goes.
    pub(super) unlocked: WaitQueue,
    /// The pipe of a fifo while somebody has it open.
    pub(super) fifo: Mutex<Weak<Pipe>>,
    /// The socket that is bound here.
    pub(super) endpoint: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}

impl Vnode {
    /// Makes the VFS's part of a node.
    pub fn new(kind: Kind, ino: u64) -> Self {
        Self {
            kind,
            ino,
            mounted: AtomicBool::new(false),
            covers: AtomicU32::new(0),
            locks: Mutex::default(),
            unlocked: WaitQueue::new(),
            fifo: Mutex::new(Weak::new()),
            endpoint: Mutex::new(None),
        }
    }

    /// Lets go of the socket that is bound here: a file system calls this when the last name is gone.
    pub fn unbind(&self) {
        let endpoint = lock(&self.endpoint).take();
        drop(endpoint);
    }
}
