//! Device nodes: `/dev`, and what opening a character device leads to on any file system.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use abi::fcntl::O_NOCTTY;
use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::{Stat, major, makedev, minor};
use abi::time::Timespec;
use abi::{Errno, Result, device};

use super::Request;
use crate::dev::console::Console;
use crate::file::{Events, File, OpenFile};
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::tty::{self, Pty};
use crate::vfs::node::Entry;
use crate::vfs::{Attr, Change, FileSystem, Kind, Node, Vnode};
use crate::wait::WaitQueue;
use crate::{Cx, current};

type Read = fn(&dyn Rumpuser, &mut [u8]) -> Result<usize>;
type Write = fn(&[u8]) -> Result<usize>;

/// A memory device.
struct Device {
    name: &'static str,
    /// NetBSD's number of the device.
    rdev: u64,
    read: Read,
    write: Write,
    /// Whether it is Linux's random device: epoll takes it, poll says that it can be read only.
    can_poll: bool,
}

/// The memory devices.
const DEVICES: &[Device] = &[
    Device { name: "null", rdev: device::NULL, read: read_nothing, write: swallow, can_poll: false },
    Device { name: "zero", rdev: device::ZERO, read: read_zeros, write: swallow, can_poll: false },
    Device { name: "full", rdev: device::FULL, read: read_zeros, write: refuse, can_poll: false },
    Device { name: "random", rdev: device::RANDOM, read: read_random, write: swallow, can_poll: true },
    Device { name: "urandom", rdev: device::URANDOM, read: read_random, write: swallow, can_poll: false },
];

/// The devices that are not memory, with their modes.
const OTHERS: &[(&str, u64, u32)] = &[
    ("console", device::CONSOLE, 0o600),
    ("tty", device::TTY, 0o666),
    ("ptmx", device::PTMX, 0o666),
    ("stdin", descriptor(0), 0o666),
    ("stdout", descriptor(1), 0o666),
    ("stderr", descriptor(2), 0o666),
];

/// NetBSD's major of the devices that stand for descriptors.
const DESCRIPTOR: u32 = 22;

/// The number of `/dev/fd/N`.
const fn descriptor(fd: u32) -> u64 {
    makedev(DESCRIPTOR, fd)
}

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

/// Whether a device takes a seek, although it has no position: the memory devices do.
pub fn seeks(rdev: u64) -> bool {
    DEVICES.iter().any(|device| device.rdev == rdev)
}

/// Opens the character device with number `rdev`; `flags` are those of open(2).
///
/// `ENXIO` if there is none, for `/dev/tty` of a process that has no terminal, and for the descriptor of a number that is not open.
pub fn open(rdev: u64, flags: i32, host: &Arc<dyn Rumpuser>) -> Result<Box<dyn File>> {
    match rdev {
        device::CONSOLE => return Ok(Box::new(Console::new(host.clone(), host.wall_clock()))),
        device::TTY | device::PTMX => return Ok(Box::new(open_terminal(rdev)?)),
        _ if major(rdev) == DESCRIPTOR => return Ok(Box::new(Same::open(minor(rdev))?)),
        _ if rdev == device::pts(minor(rdev)) => return Ok(Box::new(open_slave(minor(rdev), flags)?)),
        _ => {}
    }
    let device = DEVICES.iter().find(|device| device.rdev == rdev).ok_or(Errno::ENXIO)?;
    Ok(Box::new(Opened { device, host: host.clone(), queue: WaitQueue::new() }))
}

/// Opens the caller's terminal, or the master of a new one.
fn open_terminal(rdev: u64) -> Result<tty::End> {
    let (kernel, proc) = current::get().ok_or(Errno::ENXIO)?;
    let cred = proc.credentials();
    if rdev == device::PTMX {
        let owner = tty::pty::Owner { host: kernel.rumpuser.clone(), uid: cred.euid, gid: TTY_GROUP };
        return kernel.terminals.open_master(owner);
    }
    tty::job::controlling(tty::Caller { kernel: &kernel, proc: &proc })?.open_slave(cred.privileged())
}

/// Opens a slave; without `O_NOCTTY` it becomes the terminal of who leads a session that has none.
fn open_slave(index: u32, flags: i32) -> Result<tty::End> {
    let (kernel, proc) = current::get().ok_or(Errno::ENXIO)?;
    let end = kernel.terminals.get(index)?.open_slave(proc.credentials().privileged())?;
    if flags & O_NOCTTY == 0 {
        end.opened(tty::Caller { kernel: &kernel, proc: &proc });
    }
    Ok(end)
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
        if self.device.can_poll { POLLIN | POLLRDNORM } else { POLLIN | POLLRDNORM | POLLOUT }
    }

    fn can_poll(&self) -> bool {
        self.device.can_poll
    }

    /// None has commands; Linux's random devices have, and say of one that is not theirs that it is wrong.
    fn ioctl(&self, _: &Cx<'_>, _: u64, _: &mut [u8]) -> Result<()> {
        Err(if matches!(self.device.rdev, device::RANDOM | device::URANDOM) { Errno::EINVAL } else { Errno::ENOTTY })
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        // Only ever asked through the node.
        Err(Errno::EBADF)
    }
}

/// What another descriptor of the process has open: NetBSD's `/dev/fd/N` is that, and not another open file. Our own client knows what its
/// program means by a number, and asks for it otherwise.
struct Same(Arc<OpenFile>);

impl Same {
    fn open(fd: u32) -> Result<Self> {
        let (_, proc) = current::get().ok_or(Errno::ENXIO)?;
        let fd = i32::try_from(fd).map_err(|_| Errno::ENXIO)?;
        let open = proc.file(abi::Fd(fd)).map_err(|_| Errno::ENXIO)?;
        // One that is itself such a name would lead in a circle if it were its own.
        let leads_on = open.file.as_vnode().is_some_and(|file| major(file.at.node.attr().rdev) == DESCRIPTOR);
        if leads_on && open.file.as_vnode().is_some_and(|file| file.at.node.vnode().kind == Kind::Character) {
            return Err(Errno::ELOOP);
        }
        Ok(Self(open))
    }
}

impl File for Same {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        if self.0.readable() { self.0.file.read(buf) } else { Err(Errno::EBADF) }
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        if self.0.writable() { self.0.file.write(buf) } else { Err(Errno::EBADF) }
    }

    fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        self.0.file.peek(buf)
    }

    fn ready(&self) -> Events {
        self.0.file.ready()
    }

    fn can_poll(&self) -> bool {
        self.0.file.can_poll()
    }

    fn wait_queue(&self) -> &WaitQueue {
        self.0.file.wait_queue()
    }

    fn stat(&self) -> Result<Stat> {
        self.0.file.stat()
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        self.0.file.ioctl(cx, command, data)
    }

    fn as_terminal(&self) -> Option<&tty::End> {
        self.0.file.as_terminal()
    }
}

/// Number of the root directory's node; the devices follow.
const ROOT_INO: u64 = 2;
/// Number of the node of `/dev/pts/0`; the others follow.
const PTS_INO: u64 = 1 << 16;
/// Number of the node of `/dev/fd/0`; the others follow.
const FD_INO: u64 = 1 << 32;
/// The group of terminals.
const TTY_GROUP: u32 = 5;
/// How a terminal may be used: its owner reads and writes, members of its group write(1).
const TTY_MODE: u32 = 0o620;

/// The file system: a directory of devices, and two that change: terminals, and descriptors of who looks.
struct Devfs {
    root: Arc<DevNode>,
}

/// The nodes of terminals by their numbers.
type Slaves = BTreeMap<u32, (Weak<Pty>, Arc<DevNode>)>;

/// What a node has below it.
enum Content {
    /// Nothing: it is a device.
    Device,
    /// The same always.
    Fixed(Vec<(&'static str, Arc<DevNode>)>),
    /// The terminals whose master is open; kept here as long as somebody has them.
    Terminals(Mutex<Slaves>),
    /// The descriptors of the calling process.
    Descriptors,
}

/// A directory or a device.
struct DevNode {
    vnode: Vnode,
    attr: Mutex<Attr>,
    content: Content,
    /// The directory above; the root's is gone with the file system, and it is its own.
    above: Weak<DevNode>,
}

/// Makes a file system of device nodes; it knows no options.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    let now = Timespec::from_duration(request.host.wall_clock());
    let root = Arc::new_cyclic(|root: &Weak<DevNode>| {
        let devices = DEVICES.iter().map(|device| (device.name, device.rdev, 0o666)).chain(OTHERS.iter().copied());
        let device = |(name, rdev, mode)| (name, Kind::Character, mode, rdev, Content::Device);
        let directories = [
            ("pts", Kind::Directory, 0o755, 0, Content::Terminals(Mutex::default())),
            ("fd", Kind::Directory, 0o555, 0, Content::Descriptors),
        ];
        let rows = devices.map(device).chain(directories).zip(ROOT_INO + 1..);
        let entries = rows.map(|((name, kind, mode, rdev, content), ino)| {
            let node = DevNode { above: root.clone(), ..DevNode::new(kind, ino, attributes(mode, rdev, now), content) };
            (name, Arc::new(node))
        });
        let attr = Attr { nlink: 4, ..attributes(0o755, 0, now) };
        let content = Content::Fixed(entries.collect());
        DevNode { above: root.clone(), ..DevNode::new(Kind::Directory, ROOT_INO, attr, content) }
    });
    Ok(Arc::new(Devfs { root }))
}

fn attributes(mode: u32, rdev: u64, now: Timespec) -> Attr {
    let (atime, mtime, ctime, birthtime) = (now, now, now, now);
    Attr { mode, nlink: 1, uid: 0, gid: 0, rdev, size: 0, blocks: 0, atime, mtime, ctime, birthtime }
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
    fn new(kind: Kind, ino: u64, attr: Attr, content: Content) -> Self {
        let nlink = if kind == Kind::Directory { attr.nlink.max(2) } else { 1 };
        let attr = Mutex::new(Attr { nlink, ..attr });
        Self { vnode: Vnode::new(kind, ino), attr, content, above: Weak::new() }
    }

    /// The node of a terminal, made when somebody first asks.
    fn terminal(&self, pty: &Arc<Pty>) -> Option<Arc<DevNode>> {
        let Content::Terminals(nodes) = &self.content else { return None };
        let mut nodes = lock(nodes);
        nodes.retain(|_, (pty, _)| pty.strong_count() > 0);
        let make = || {
            let attr = attributes(TTY_MODE, device::pts(pty.index), pty.since);
            let attr = Attr { uid: pty.owner.uid, gid: pty.owner.gid, ..attr };
            let ino = PTS_INO + u64::from(pty.index);
            (Arc::downgrade(pty), Arc::new(DevNode::new(Kind::Character, ino, attr, Content::Device)))
        };
        Some(nodes.entry(pty.index).or_insert_with(make).1.clone())
    }

    fn descriptor(&self, fd: u32) -> Arc<DevNode> {
        let now = self.attr().mtime;
        let attr = attributes(0o666, descriptor(fd), now);
        Arc::new(DevNode::new(Kind::Character, FD_INO + u64::from(fd), attr, Content::Device))
    }
}

/// A name that is a number, written as one is.
fn number(name: &[u8]) -> Option<u32> {
    let number: u32 = std::str::from_utf8(name).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == name).then_some(number)
}

/// The name of a descriptor: a number, which may have zeros before it.
fn descriptor_number(name: &[u8]) -> Option<u32> {
    std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|c| c.is_ascii_digit()))?.parse().ok()
}

/// The descriptors that the calling process has open.
fn open_descriptors() -> Vec<u32> {
    let Some((_, proc)) = current::get() else { return Vec::new() };
    let fds = lock(&proc.fds);
    fds.numbers().filter_map(|fd| u32::try_from(fd.0).ok()).collect()
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
        match &self.content {
            Content::Device => Err(Errno::ENOTDIR),
            Content::Fixed(entries) => {
                let (_, node) = entries.iter().find(|(other, _)| other.as_bytes() == name).ok_or(Errno::ENOENT)?;
                Ok(node.clone())
            }
            Content::Terminals(_) => {
                let (index, kernel) = number(name).zip(current::kernel()).ok_or(Errno::ENOENT)?;
                let pty = kernel.terminals.get(index).map_err(|_| Errno::ENOENT)?;
                Ok(self.terminal(&pty).ok_or(Errno::ENOENT)?)
            }
            Content::Descriptors => {
                let fd = descriptor_number(name).filter(|fd| open_descriptors().contains(fd)).ok_or(Errno::ENOENT)?;
                Ok(self.descriptor(fd))
            }
        }
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        if let Content::Device = self.content {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.above.upgrade().ok_or(Errno::ENOENT)?)
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        let mut show =
            |next: u64, ino: u64, kind: Kind, name: &[u8]| next <= cookie || each(Entry { ino, kind, name, next });
        // The cookie of what has a number is one more than that.
        let mut numbered = |numbers: Vec<u32>, first: u64| {
            let mut numbers = numbers.into_iter().map(u64::from);
            numbers.all(|number| show(number + 1, first + number, Kind::Character, number.to_string().as_bytes()));
        };
        match &self.content {
            Content::Device => return Err(Errno::ENOTDIR),
            Content::Fixed(entries) => {
                let mut entries = entries.iter().zip(1..);
                entries.all(|((name, node), next)| show(next, node.vnode.ino, node.vnode.kind, name.as_bytes()));
            }
            Content::Terminals(_) => {
                let all = current::kernel().map(|kernel| kernel.terminals.list()).unwrap_or_default();
                numbered(all.iter().map(|pty| pty.index).collect(), PTS_INO);
            }
            Content::Descriptors => numbered(open_descriptors(), FD_INO),
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
