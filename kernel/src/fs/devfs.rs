//! Device nodes: `/dev`, and what opening a character device leads to on any file system.

use std::sync::{Arc, Mutex};

use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::{Stat, makedev};
use abi::time::Timespec;
use abi::{Errno, Result};

use super::Request;
use crate::dev::console::Console;
use crate::file::{Events, File};
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::vfs::node::Entry;
use crate::vfs::{Attr, Change, FileSystem, Kind, Node, Vnode};
use crate::wait::WaitQueue;

type Read = fn(&dyn Rumpuser, &mut [u8]) -> Result<usize>;
type Write = fn(&[u8]) -> Result<usize>;

/// A memory device.
struct Device {
    name: &'static str,
    /// NetBSD's number of the device.
    rdev: u64,
    read: Read,
    write: Write,
    /// Whether epoll takes it, as on Linux.
    can_poll: bool,
}

/// The number of `/dev/console`.
pub const CONSOLE: u64 = makedev(0, 0);

/// The memory devices.
const DEVICES: &[Device] = &[
    Device { name: "null", rdev: makedev(2, 2), read: read_nothing, write: swallow, can_poll: false },
    Device { name: "zero", rdev: makedev(2, 12), read: read_zeros, write: swallow, can_poll: false },
    Device { name: "full", rdev: makedev(2, 11), read: read_zeros, write: refuse, can_poll: false },
    Device { name: "random", rdev: makedev(46, 0), read: read_random, write: swallow, can_poll: true },
    Device { name: "urandom", rdev: makedev(46, 1), read: read_random, write: swallow, can_poll: false },
];

fn read_nothing(_: &dyn Rumpuser, _: &mut [u8]) -> Result<usize> {
    Ok(0)
}

fn read_zeros(_: &dyn Rumpuser, buf: &mut [u8]) -> Result<usize> {
    buf.fill(0);
    Ok(buf.len())
}

fn read_random(host: &dyn Rumpuser, buf: &mut [u8]) -> Result<usize> {
    host.random(buf);
    Ok(buf.len())
}

fn swallow(data: &[u8]) -> Result<usize> {
    Ok(data.len())
}

fn refuse(data: &[u8]) -> Result<usize> {
    if data.is_empty() { Ok(0) } else { Err(Errno::ENOSPC) }
}

/// Opens the character device with number `rdev`; `ENXIO` if there is none.
pub fn open(rdev: u64, host: &Arc<dyn Rumpuser>) -> Result<Box<dyn File>> {
    if rdev == CONSOLE {
        return Ok(Box::new(Console::new(host.clone(), host.wall_clock())));
    }
    let device = DEVICES.iter().find(|device| device.rdev == rdev).ok_or(Errno::ENXIO)?;
    Ok(Box::new(Opened { device, host: host.clone(), queue: WaitQueue::new() }))
}

/// An open memory device.
struct Opened {
    device: &'static Device,
    host: Arc<dyn Rumpuser>,
    queue: WaitQueue,
}

impl File for Opened {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        (self.device.read)(&*self.host, buf)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        (self.device.write)(buf)
    }

    fn ready(&self) -> Events {
        POLLIN | POLLRDNORM | POLLOUT
    }

    fn can_poll(&self) -> bool {
        self.device.can_poll
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        // Only ever asked through the node.
        Err(Errno::EBADF)
    }
}

/// Number of the root directory's node; the devices follow.
const ROOT_INO: u64 = 2;

/// The file system: one directory, whose entries never change.
struct Devfs {
    root: Arc<DevNode>,
}

/// The root directory or a device; the devices are the root's.
struct DevNode {
    vnode: Vnode,
    attr: Mutex<Attr>,
    entries: Vec<(&'static str, Arc<DevNode>)>,
    this: std::sync::Weak<DevNode>,
}

/// Makes a file system of device nodes; it knows no options.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    let now = Timespec::from_duration(request.host.wall_clock());
    let console = [("console", CONSOLE)];
    let devices = DEVICES.iter().map(|device| (device.name, device.rdev)).chain(console);
    let entries = devices.zip(ROOT_INO + 1..).map(|((name, rdev), ino)| {
        let mode = if rdev == CONSOLE { 0o600 } else { 0o666 };
        (name, DevNode::new(Kind::Character, ino, mode, rdev, now, Vec::new()))
    });
    Ok(Arc::new(Devfs { root: DevNode::new(Kind::Directory, ROOT_INO, 0o755, 0, now, entries.collect()) }))
}

impl FileSystem for Devfs {
    fn kind(&self) -> &'static str {
        "devfs"
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }
}

impl DevNode {
    fn new(
        kind: Kind,
        ino: u64,
        mode: u32,
        rdev: u64,
        now: Timespec,
        entries: Vec<(&'static str, Arc<DevNode>)>,
    ) -> Arc<Self> {
        let nlink = if kind == Kind::Directory { 2 } else { 1 };
        let (atime, mtime, ctime, birthtime) = (now, now, now, now);
        let attr = Attr { mode, nlink, uid: 0, gid: 0, rdev, size: 0, blocks: 0, atime, mtime, ctime, birthtime };
        let (vnode, attr) = (Vnode::new(kind, ino), Mutex::new(attr));
        Arc::new_cyclic(|this| Self { vnode, attr, entries, this: this.clone() })
    }

    fn directory(&self) -> Result<()> {
        if self.vnode.kind == Kind::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
    }
}

impl Node for DevNode {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        *lock(&self.attr)
    }

    fn set_attr(&self, change: &Change) -> Result<()> {
        if change.size.is_some() {
            return Err(Errno::EINVAL);
        }
        let mut attr = lock(&self.attr);
        attr.mode = change.mode.unwrap_or(attr.mode);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.unwrap_or(attr.atime);
        attr.mtime = change.mtime.unwrap_or(attr.mtime);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        self.directory()?;
        let (_, node) = self.entries.iter().find(|(other, _)| other.as_bytes() == name).ok_or(Errno::ENOENT)?;
        Ok(node.clone())
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        self.directory()?;
        Ok(self.this.upgrade().ok_or(Errno::ENOENT)?)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        self.directory()?;
        let first = usize::try_from(cookie).unwrap_or(usize::MAX);
        for ((name, node), next) in self.entries.iter().zip(1..).skip(first) {
            let vnode = &node.vnode;
            if !each(Entry { ino: vnode.ino, kind: vnode.kind, name: name.as_bytes(), next }) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use abi::fcntl::{O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};

    use super::*;
    use crate::vfs::testing;

    #[test]
    fn devices_do_what_their_pages_say() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let open = |path: &[u8], flags| view.open(&view.cwd, path, flags, 0).unwrap();
        let mut buf = [1; 16];
        assert_eq!(open(b"/dev/null", O_RDWR | O_CREAT | O_TRUNC).write(b"gone"), Ok(4));
        assert_eq!(open(b"/dev/null", O_RDONLY).read(&mut buf), Ok(0));
        assert_eq!((open(b"/dev/zero", O_RDONLY).read(&mut buf), buf), (Ok(16), [0; 16]));
        assert_eq!(open(b"/dev/full", O_WRONLY).write(b"x"), Err(Errno::ENOSPC));
        assert_eq!(open(b"/dev/urandom", O_RDONLY).read(&mut buf), Ok(16));
        assert_ne!(buf, [0; 16]);
        assert_eq!(open(b"/dev/console", O_WRONLY).write(b"hello"), Ok(5));
    }

    #[test]
    fn a_device_node_anywhere_leads_to_the_device() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/null", Kind::Character, 0o666, makedev(2, 2)).unwrap();
        view.mknod(&view.cwd, b"/tmp/none", Kind::Character, 0o666, makedev(99, 1)).unwrap();
        assert_eq!(view.open(&view.cwd, b"/tmp/null", O_WRONLY, 0).unwrap().write(b"abc"), Ok(3));
        assert_eq!(view.open(&view.cwd, b"/tmp/none", O_WRONLY, 0).map(drop), Err(Errno::ENXIO));
        assert_eq!(view.unlink(&view.cwd, b"/dev/null"), Err(Errno::EROFS));
        assert_eq!(view.open(&view.cwd, b"/dev/new", O_WRONLY | O_CREAT, 0o644).map(drop), Err(Errno::EROFS));
    }
}
