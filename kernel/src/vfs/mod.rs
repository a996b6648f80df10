//! The file name space: what every file system shares.
//!
//! A file system implements [`FileSystem`] and [`Node`]; all the rest is here. [`namei`] walks paths, [`perm`] judges
//! permissions, [`tree`] makes, links, renames and removes, [`attr`] changes attributes, [`open`] gives open files,
//! [`dirents`] reads directories, [`mount`] and [`mounting`] join file systems into one tree, [`lock`] keeps advisory locks, [`pipe`] serves
//! pipes and fifos.
//! Every operation by name is a method of [`View`]: what one process sees, and what it may do.

pub mod attr;
pub mod dirents;
pub(crate) mod files;
mod lending;
pub mod lock;
pub mod mount;
mod mounting;
pub mod namei;
pub mod node;
pub mod open;
mod opening;
pub mod perm;
pub mod pipe;
pub mod snapshot;
pub mod tree;

use std::any::Any;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use abi::mount::{MNT_NOATIME, MNT_RDONLY};
use abi::{Errno, Result};

pub use mount::Mount;
pub use mounting::KEPT;
pub use node::{Attr, Change, FileSystem, FsStat, Kind, New, Node, Position, Rename, Vnode};
pub use open::VnodeFile;

use crate::Cx;
use crate::config::{Component, Config};
use crate::fs::etfs::{Etfs, Window};
use crate::proc::{Credentials, lock};
use crate::rumpuser::Rumpuser;

/// The longest name of a directory entry.
pub const NAME_MAX: usize = 255;

/// A place in the file name space: a node, and the mount through which it was reached.
#[derive(Clone)]
pub struct Dir {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The node, of `mount`'s file system.
    pub node: Arc<dyn Node>,
}

impl Dir {
    /// Whether both are the same node of the same mount.
    pub fn same(&self, other: &Dir) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && node::same(&self.node, &other.node)
    }

    /// Notes that the node was read, where the mount keeps that.
    pub fn accessed(&self) {
        if self.mount.flags() & (MNT_RDONLY | MNT_NOATIME) == 0 {
            self.node.accessed();
        }
    }

    /// Checks that a directory has not been removed; `ENOENT` if it was, and nothing can be made in it any more.
    pub fn is_alive(&self) -> Result<()> {
        if self.node.attr().nlink > 0 { Ok(()) } else { Err(Errno::ENOENT) }
    }

    /// Returns the place if it is a directory, else `ENOTDIR`.
    pub fn directory(self) -> Result<Dir> {
        if self.node.vnode().kind == Kind::Directory { Ok(self) } else { Err(Errno::ENOTDIR) }
    }
}

/// The file name space of a kernel: its mounts. Without any, the component is absent.
pub struct Vfs {
    rumpuser: Arc<dyn Rumpuser>,
    /// In the order of mounting; the first is the root.
    mounts: RwLock<Vec<Arc<Mount>>>,
    next_device: AtomicU64,
    /// What the host shows in the root directory.
    etfs: Etfs,
    /// Who sleeps for a record lock, and who is in the way.
    waiting: Mutex<Vec<lock::Waiter>>,
    /// Held for a step of a splice(2).
    pub(crate) splicing: Mutex<()>,
    /// What file systems had to say, the last lines of it.
    messages: Mutex<String>,
}

/// Bytes of messages that are kept.
const MESSAGES_MAX: usize = 16 << 10;

impl Vfs {
    /// Mounts the root file system, makes the usual directories, and mounts the devices on `/dev`.
    pub fn boot(rumpuser: Arc<dyn Rumpuser>, config: &Config) -> Result<Self> {
        let mut vfs = Self::absent(rumpuser);
        if !config.components.has(Component::Vfs) {
            return Ok(vfs);
        }
        vfs.etfs = Etfs::new(&*vfs.rumpuser, config.disks);
        vfs.mount_root("tmpfs")?;
        let view = vfs.root_view()?;
        for (path, mode) in DIRECTORIES {
            view.mkdir(&view.cwd, path, *mode)?;
        }
        view.mount("devfs", b"", b"/dev", 0, b"")?;
        Ok(vfs)
    }

    /// Makes an empty file name space: the component is absent.
    pub fn absent(rumpuser: Arc<dyn Rumpuser>) -> Self {
        let next_device = AtomicU64::new(1);
        let (mounts, etfs, waiting) = (RwLock::default(), Etfs::default(), Mutex::default());
        Self { rumpuser, mounts, next_device, etfs, waiting, splicing: Mutex::default(), messages: Mutex::default() }
    }

    /// Keeps a line of text; the oldest lines go.
    pub fn note(&self, line: &str) {
        let mut messages = crate::proc::lock(&self.messages);
        messages.push_str(line);
        while messages.len() > MESSAGES_MAX {
            let end = messages.find('\n').map_or(messages.len(), |at| at + 1);
            messages.drain(..end);
        }
    }

    /// The lines that were kept.
    pub fn messages(&self) -> String {
        crate::proc::lock(&self.messages).clone()
    }

    /// Returns the root directory, if there is any file system.
    pub fn root(&self) -> Option<Dir> {
        let mount = mount::read(&self.mounts).first()?.clone();
        Some(Dir { node: mount.root.clone(), mount })
    }

    /// Returns the whole name space as the superuser sees it.
    pub fn root_view(&self) -> Result<View<'_>> {
        let root = self.root().ok_or(Errno::ENOSYS)?;
        Ok(View {
            vfs: self,
            cwd: root.clone(),
            root,
            cred: Credentials::default(),
            umask: 0,
            resolve: 0,
            prefix: None,
            on_host: true,
        })
    }

    /// Shows a window of the host file `hostpath` under `key` in the root directory; see [`Etfs::register`].
    ///
    /// `ENOSYS` in a kernel without file systems.
    pub fn etfs_register(&self, key: &[u8], hostpath: &Path, kind: Kind, window: Window) -> Result<()> {
        self.root().ok_or(Errno::ENOSYS)?;
        self.etfs.register(&self.rumpuser, key, hostpath, kind, window)
    }

    /// Takes a key away; see [`Etfs::remove`].
    pub fn etfs_remove(&self, key: &[u8]) -> Result<()> {
        self.etfs.remove(key)
    }

    /// Makes a socket node at `path` that leads to `endpoint`; `EADDRINUSE` if the name exists.
    ///
    /// The node keeps `endpoint` alive until it is removed.
    pub fn bind_socket(&self, cx: &Cx<'_>, path: &[u8], endpoint: Arc<dyn Any + Send + Sync>) -> Result<()> {
        let view = View::of(cx)?;
        let node = match view.mknod(&view.cwd, path, Kind::Socket, 0o777, 0) {
            Err(Errno::EEXIST) => return Err(Errno::EADDRINUSE),
            made => made?,
        };
        *lock(&node.vnode().endpoint) = Some(endpoint);
        Ok(())
    }

    /// Returns the endpoint that is bound at `path`.
    ///
    /// `ECONNREFUSED` if nothing is bound there, `EACCES` without permission to write.
    pub fn lookup_socket(&self, cx: &Cx<'_>, path: &[u8]) -> Result<Arc<dyn Any + Send + Sync>> {
        let view = View::of(cx)?;
        let found = view.namei(&view.cwd, path, namei::Follow::Always)?;
        perm::access(&*found.node, &view.cred, perm::WRITE)?;
        found.node.bound_socket().ok_or(Errno::ECONNREFUSED)
    }
}

/// Directories of a fresh root, with their modes.
const DIRECTORIES: &[(&[u8], u32)] = &[
    (b"/dev", 0o755),
    (b"/etc", 0o755),
    (b"/home", 0o755),
    (b"/root", 0o755),
    (b"/tmp", 0o1777),
    (b"/usr", 0o755),
    (b"/var", 0o755),
];

/// What one process sees of the file name space, and who it is.
pub struct View<'a> {
    /// The name space.
    pub vfs: &'a Vfs,
    /// Where relative paths begin.
    pub cwd: Dir,
    /// Where absolute paths begin; `..` goes no higher.
    pub root: Dir,
    /// Who asks.
    pub cred: Credentials,
    /// Mode bits that new nodes do not get.
    pub umask: u32,
    /// What walking a path must not do: `RESOLVE_*` of openat2(2).
    pub resolve: u32,
    /// What is taken off the absolute targets of symbolic links: the path by which the program reaches the root.
    pub prefix: Option<Arc<[u8]>>,
    /// Whether files of the host may be named: not by a client from another host.
    pub on_host: bool,
}

impl<'a> View<'a> {
    /// Returns the view of the calling process; `ENOSYS` in a kernel without file systems.
    pub fn of(cx: &'a Cx<'_>) -> Result<Self> {
        let cwd = lock(&cx.proc.cwd).clone();
        let top = cx.kernel.vfs.root();
        let root = cwd.root.or_else(|| top.clone()).ok_or(Errno::ENOSYS)?;
        // After chroot(2) the names of the program are no longer below its prefix.
        let prefix = cwd.prefix.filter(|_| top.is_some_and(|top| top.same(&root)));
        let dir = cwd.dir.unwrap_or_else(|| root.clone());
        let (vfs, cred, umask) = (&cx.kernel.vfs, cx.proc.credentials(), cwd.umask);
        Ok(View { vfs, cwd: dir, root, cred, umask, resolve: 0, prefix, on_host: cx.mem.on_host() })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A name space for unit tests.

    use super::*;
    use crate::rumpuser::sim::SimHost;

    /// Boots a file name space on a simulated host.
    pub fn boot() -> Vfs {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        Vfs::boot(host, &Config::default()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_root_has_the_usual_directories() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        for (path, mode) in DIRECTORIES {
            let found = view.namei(&view.cwd, path, namei::Follow::Always).unwrap();
            assert_eq!((found.node.vnode().kind, found.node.attr().mode), (Kind::Directory, *mode));
        }
        assert!(view.namei(&view.cwd, b"/dev/null", namei::Follow::Always).is_ok());
    }

    #[test]
    fn an_absent_component_has_no_root() {
        let host: Arc<dyn Rumpuser> = crate::rumpuser::sim::SimHost::new(1);
        assert!(Vfs::absent(host).root().is_none());
    }
}
