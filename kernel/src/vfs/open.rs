//! Open files: a node with a position (open(2), read(2), lseek(2), getdents(2)).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use abi::fcntl::{
    O_ACCMODE, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY, SEEK_CUR,
    SEEK_END, SEEK_SET,
};
use abi::ioctl::FIONREAD;
use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::Stat;
use abi::{Errno, Result};

use super::namei::{Follow, Last};
use super::pipe::{End, Ways};
use super::{Change, Dir, Kind, Position, View, attr, perm, pipe};
use crate::file::{Events, File};
use crate::fs::{devfs, etfs};
use crate::proc::lock;
use crate::wait::WaitQueue;
use crate::{Cx, wait};

/// The longest file: offsets are signed.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Numbers the open files, as owners of flock(2) locks.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An open file of a file system.
pub struct VnodeFile {
    /// What is open.
    pub at: Dir,
    /// Unique among open files.
    pub(super) id: u64,
    body: Body,
    /// `O_APPEND`.
    append: AtomicBool,
    /// Whether a write must take away set-user-ID: the superuser's does not.
    strips: bool,
    /// Offset in a file; cookie in a directory.
    pub(super) position: Mutex<u64>,
    queue: WaitQueue,
}

/// What reads and writes go to.
enum Body {
    /// The node itself.
    Node,
    /// A fifo's pipe.
    Fifo(End),
    /// A device.
    Device(Box<dyn File>),
    /// A disk.
    Disk(etfs::OpenDisk),
}

impl View<'_> {
    /// Opens `path` (open(2)). A fifo's opener must then [`VnodeFile::meet`] its partner.
    ///
    /// `ELOOP` for a symbolic link with `O_NOFOLLOW`, as Linux says (NetBSD: `EFTYPE`); `EISDIR` for writing a directory;
    /// `ENXIO` for a socket, as Linux says (NetBSD: `EOPNOTSUPP`), and for a device that does not exist.
    pub fn open(&self, at: &Dir, path: &[u8], flags: i32, mode: u32) -> Result<Arc<VnodeFile>> {
        if flags & O_ACCMODE == O_ACCMODE {
            return Err(Errno::EINVAL);
        }
        let (found, made) = if flags & O_CREAT == 0 {
            let follow = if flags & O_NOFOLLOW == 0 { Follow::Always } else { Follow::WithSlash };
            (self.namei(at, path, follow)?, false)
        } else {
            self.create(at, path, flags, mode)?
        };
        self.open_found(found, flags, made)
    }

    /// Opens what is open already, whatever name it has now.
    pub fn open_again(&self, found: &Dir, flags: i32) -> Result<Arc<VnodeFile>> {
        if flags & O_ACCMODE == O_ACCMODE {
            return Err(Errno::EINVAL);
        }
        self.open_found(found.clone(), flags & !O_CREAT, false)
    }

    fn open_found(&self, found: Dir, flags: i32, made: bool) -> Result<Arc<VnodeFile>> {
        self.may_open(&found, flags, made)?;
        if flags & O_TRUNC != 0 && !made && found.node.vnode().kind == Kind::Regular {
            self.resize(&found, 0)?;
        }
        VnodeFile::new(found, flags, self)
    }

    /// Finds what `path` names, or makes a file there; whether it was made.
    fn create(&self, at: &Dir, path: &[u8], flags: i32, mode: u32) -> Result<(Dir, bool)> {
        if flags & O_DIRECTORY != 0 {
            return Err(Errno::EINVAL);
        }
        let exclusive = flags & O_EXCL != 0;
        let follow = if exclusive || flags & O_NOFOLLOW != 0 { Follow::Never } else { Follow::Always };
        loop {
            let target = self.walk(at, path, follow)?;
            if exclusive && target.found.is_some() {
                return Err(Errno::EEXIST);
            }
            if target.slash || !matches!(target.last, Last::Name(_)) {
                return Err(Errno::EISDIR);
            }
            if let Some(found) = target.found {
                return Ok((found, false));
            }
            match self.make(&target, Kind::Regular, mode & 0o7777, 0, b"") {
                Ok(node) => return Ok((Dir { mount: target.dir.mount, node }, true)),
                // Somebody else was faster: open theirs.
                Err(Errno::EEXIST) if !exclusive => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn may_open(&self, found: &Dir, flags: i32, made: bool) -> Result<()> {
        let kind = found.node.vnode().kind;
        let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
        match kind {
            Kind::Symlink => return Err(Errno::ELOOP),
            Kind::Socket => return Err(Errno::ENXIO),
            Kind::Directory if writes || flags & O_CREAT != 0 => return Err(Errno::EISDIR),
            Kind::Directory => {}
            _ if flags & O_DIRECTORY != 0 => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if made {
            return Ok(());
        }
        if writes && matches!(kind, Kind::Regular | Kind::Directory) {
            found.mount.writable()?;
        }
        let read = if flags & O_ACCMODE != O_WRONLY { perm::READ } else { 0 };
        perm::access(&*found.node, &self.cred, read | if writes { perm::WRITE } else { 0 })
    }
}

impl VnodeFile {
    fn new(at: Dir, flags: i32, view: &View<'_>) -> Result<Arc<Self>> {
        let access = flags & O_ACCMODE;
        let ways = Ways { read: access != O_WRONLY, write: access != O_RDONLY };
        let rdev = at.node.attr().rdev;
        let body = match at.node.vnode().kind {
            Kind::Fifo => Body::Fifo(pipe::open_fifo(&*at.node, ways, flags & O_NONBLOCK != 0)?),
            kind @ (Kind::Character | Kind::Block) if etfs::is_disk(rdev) => {
                Body::Disk(view.vfs.etfs.open(rdev, kind, ways)?)
            }
            Kind::Character => Body::Device(devfs::open(rdev, &view.vfs.rumpuser)?),
            Kind::Block => return Err(Errno::ENXIO),
            _ => {
                at.node.opened(ways)?;
                Body::Node
            }
        };
        Ok(Arc::new(Self {
            at,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            body,
            append: AtomicBool::new(flags & O_APPEND != 0),
            strips: !view.cred.privileged(),
            position: Mutex::new(0),
            queue: WaitQueue::new(),
        }))
    }

    /// Waits until the fifo's other end is open too, unless `nonblocking`; anything else is ready at once.
    pub fn meet(&self, cx: &Cx<'_>, nonblocking: bool) -> Result<()> {
        match &self.body {
            Body::Fifo(end) if !nonblocking => wait::until(cx, &[end.wait_queue()], None, || end.has_partner()),
            _ => Ok(()),
        }
    }

    /// Returns the position.
    pub fn position(&self) -> u64 {
        *lock(&self.position)
    }

    /// Moves the position (lseek(2)); in a directory it is a cookie, and only 0 or an earlier answer means anything.
    ///
    /// `ESPIPE` for a fifo or a terminal, `EINVAL` for a negative result.
    pub fn seek(&self, offset: i64, whence: i32) -> Result<i64> {
        match &self.body {
            Body::Node | Body::Disk(_) => {}
            // A memory device has no position, but Linux's take a seek.
            Body::Device(_) if self.at.node.attr().rdev != devfs::CONSOLE => return Ok(0),
            _ => return Err(Errno::ESPIPE),
        }
        let mut position = lock(&self.position);
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *position as i64,
            SEEK_END => self.end().ok_or(Errno::EINVAL)?,
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add(offset).ok_or(Errno::EOVERFLOW)?;
        *position = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
        Ok(target)
    }

    /// Where it ends; a directory has no end.
    fn end(&self) -> Option<i64> {
        match &self.body {
            Body::Disk(disk) => Some(disk.size() as i64),
            _ => (self.at.node.vnode().kind == Kind::Regular).then(|| self.at.node.attr().size as i64),
        }
    }

    /// Reads at an offset; the position stays (pread(2)).
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        match &self.body {
            Body::Node if self.at.node.vnode().kind == Kind::Directory => Err(Errno::EISDIR),
            Body::Node => self.at.node.read_at(offset, buf),
            Body::Disk(disk) => disk.read_at(offset, buf),
            Body::Fifo(_) => Err(Errno::ESPIPE),
            Body::Device(device) => device.read(buf),
        }
    }

    /// Writes at an offset; the position stays (pwrite(2)). With `O_APPEND` it writes at the end, as Linux does.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        match &self.body {
            Body::Node => self.write_node(Position::At(offset), data).map(|(_, len)| len),
            Body::Disk(disk) => disk.write_at(offset, data),
            Body::Fifo(_) => Err(Errno::ESPIPE),
            Body::Device(device) => device.write(data),
        }
    }

    /// Writes everything to where it lasts (fsync(2)).
    pub fn sync(&self) -> Result<()> {
        match &self.body {
            Body::Disk(disk) => disk.sync(),
            _ => self.at.node.sync().and_then(|()| self.at.mount.fs.sync()),
        }
    }

    fn write_node(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        let position = if self.append.load(Ordering::Relaxed) { Position::End } else { position };
        if let Position::At(offset) = position
            && data.is_empty()
        {
            return Ok((offset, 0));
        }
        let room = match position {
            Position::At(offset) => SIZE_MAX.saturating_sub(offset),
            Position::End => SIZE_MAX - self.at.node.attr().size.min(SIZE_MAX),
        };
        if room == 0 {
            return Err(Errno::EFBIG);
        }
        let len = usize::try_from(room).map_or(data.len(), |room| room.min(data.len()));
        let done = self.at.node.write_at(position, &data[..len])?;
        if self.strips {
            let mode = self.at.node.attr().mode;
            if attr::strip(mode) != mode {
                self.at.node.set_attr(&Change { mode: Some(attr::strip(mode)), ..Change::default() })?;
            }
        }
        Ok(done)
    }

    /// Changes the length (ftruncate(2)); `EINVAL` for what is no file.
    pub fn truncate(&self, view: &View<'_>, length: u64) -> Result<()> {
        if self.at.node.vnode().kind != Kind::Regular {
            return Err(Errno::EINVAL);
        }
        view.resize(&self.at, length)
    }

    /// Takes the memory for a range in advance (posix_fallocate(2)); `ENODEV` for what is no file.
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        if self.at.node.vnode().kind != Kind::Regular {
            return Err(if matches!(self.body, Body::Fifo(_)) { Errno::ESPIPE } else { Errno::ENODEV });
        }
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX).ok_or(Errno::EFBIG)?;
        self.at.node.allocate(offset, end - offset)
    }
}

impl File for VnodeFile {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        match &self.body {
            Body::Node | Body::Disk(_) => {
                let mut position = lock(&self.position);
                let len = self.read_at(*position, buf)?;
                *position += len as u64;
                Ok(len)
            }
            Body::Fifo(end) => end.read(buf),
            Body::Device(device) => device.read(buf),
        }
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        match &self.body {
            Body::Node => {
                let mut position = lock(&self.position);
                let (end, len) = self.write_node(Position::At(*position), buf)?;
                *position = end;
                Ok(len)
            }
            Body::Disk(disk) => {
                let mut position = lock(&self.position);
                let len = disk.write_at(*position, buf)?;
                *position += len as u64;
                Ok(len)
            }
            Body::Fifo(end) => end.write(buf),
            Body::Device(device) => device.write(buf),
        }
    }

    fn ready(&self) -> Events {
        match &self.body {
            Body::Node | Body::Disk(_) => POLLIN | POLLRDNORM | POLLOUT,
            Body::Fifo(end) => end.ready(),
            Body::Device(device) => device.ready(),
        }
    }

    fn can_poll(&self) -> bool {
        match &self.body {
            Body::Node | Body::Disk(_) => false,
            Body::Fifo(_) => true,
            Body::Device(device) => device.can_poll(),
        }
    }

    fn wait_queue(&self) -> &WaitQueue {
        match &self.body {
            Body::Node | Body::Disk(_) => &self.queue,
            Body::Fifo(end) => end.wait_queue(),
            Body::Device(device) => device.wait_queue(),
        }
    }

    fn stat(&self) -> Result<Stat> {
        Ok(self.at.node.stat(self.at.mount.id))
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        match &self.body {
            Body::Fifo(end) => return end.ioctl(cx, command, data),
            Body::Device(device) => return device.ioctl(cx, command, data),
            Body::Node | Body::Disk(_) => {}
        }
        match (command, self.at.node.vnode().kind) {
            (abi::ioctl::JGETDENTS, Kind::Directory) => self.ioctl_getdents(cx, data),
            (FIONREAD, Kind::Regular) => {
                let left = self.at.node.attr().size.saturating_sub(self.position());
                let left = i32::try_from(left).unwrap_or(i32::MAX);
                data.get_mut(..4).ok_or(Errno::EINVAL)?.copy_from_slice(&left.to_le_bytes());
                Ok(())
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn status_changed(&self, flags: i32) {
        self.append.store(flags & O_APPEND != 0, Ordering::Relaxed);
    }

    fn as_vnode(&self) -> Option<&VnodeFile> {
        Some(self)
    }
}

impl Drop for VnodeFile {
    fn drop(&mut self) {
        super::lock::unlock_whole(self.at.node.vnode(), self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testing;
    use abi::fcntl::O_RDWR;

    #[test]
    fn open_checks_what_it_finds() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let open = |path: &[u8], flags| view.open(&view.cwd, path, flags, 0o644).map(drop);
        view.symlink(b"/tmp/made", &view.cwd, b"/tmp/link").unwrap();
        view.mknod(&view.cwd, b"/tmp/socket", Kind::Socket, 0o644, 0).unwrap();
        assert_eq!(open(b"/tmp/made", O_RDONLY), Err(Errno::ENOENT));
        assert_eq!(open(b"/tmp/link", O_WRONLY | O_CREAT | O_EXCL), Err(Errno::EEXIST));
        assert_eq!(open(b"/tmp/link", O_RDONLY | O_NOFOLLOW), Err(Errno::ELOOP));
        assert_eq!(open(b"/tmp/link", O_WRONLY | O_CREAT), Ok(()));
        assert_eq!(open(b"/tmp/made", O_WRONLY | O_CREAT | O_EXCL), Err(Errno::EEXIST));
        assert_eq!(open(b"/tmp/made/", O_RDONLY), Err(Errno::ENOTDIR));
        assert_eq!(open(b"/tmp/other/", O_WRONLY | O_CREAT), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp/made", O_RDONLY | O_DIRECTORY), Err(Errno::ENOTDIR));
        assert_eq!(open(b"/tmp", O_RDONLY | O_CREAT), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp", O_WRONLY), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp", O_RDONLY | O_DIRECTORY), Ok(()));
        assert_eq!(open(b"/tmp/socket", O_RDONLY), Err(Errno::ENXIO));
        assert_eq!(open(b"/tmp/made", O_ACCMODE), Err(Errno::EINVAL));
    }

    #[test]
    fn the_position_moves_and_appending_ignores_it() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let file = view.open(&view.cwd, b"/tmp/f", O_RDWR | O_CREAT, 0o644).unwrap();
        assert_eq!(file.write(b"hello"), Ok(5));
        assert_eq!(file.seek(5 << 30, SEEK_CUR), Ok((5 << 30) + 5));
        assert_eq!(file.seek(-6, SEEK_SET), Err(Errno::EINVAL));
        assert_eq!(file.seek(-1, SEEK_END), Ok(4));
        file.status_changed(O_APPEND);
        assert_eq!(file.write(b" you"), Ok(4));
        assert_eq!(file.position(), 9);
        assert_eq!(file.write_at(0, b"!"), Ok(1));
        let mut buf = [0; 16];
        assert_eq!((file.read_at(0, &mut buf), &buf[..10]), (Ok(10), &b"hello you!"[..]));
        view.unlink(&view.cwd, b"/tmp/f").unwrap();
        assert_eq!(file.read_at(8, &mut buf), Ok(2));
        assert_eq!(file.stat().unwrap().st_nlink, 0);
        file.status_changed(0);
        assert_eq!(file.write_at(i64::MAX as u64, b"x"), Err(Errno::EFBIG));
    }

    #[test]
    fn directory_records_fit_or_are_refused() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let dir = view.open(&view.cwd, b"/dev", O_RDONLY, 0).unwrap();
        assert_eq!(dir.read(&mut [0; 8]), Err(Errno::EISDIR));
        assert_eq!(dir.getdents(&view, 15), Err(Errno::EINVAL));
        let all = dir.getdents_linux(&view, 4096).unwrap();
        assert_eq!(all.len(), 5 * 24 + 3 * 32);
        assert_eq!(dir.getdents(&view, 4096), Ok(Vec::new()));
        // The second word of the first record is its cookie: what follows `.`.
        let after_dot = u64::from_le_bytes(all[8..16].try_into().unwrap());
        dir.seek(after_dot as i64, SEEK_SET).unwrap();
        assert_eq!(&dir.getdents(&view, 16).unwrap()[13..15], b"..");
    }

    #[test]
    fn a_fifo_waits_for_both_ends() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/p", Kind::Fifo, 0o644, 0).unwrap();
        let open = |flags| view.open(&view.cwd, b"/tmp/p", flags, 0);
        let met = |file: &VnodeFile| matches!(&file.body, Body::Fifo(end) if end.has_partner().is_ok());
        assert_eq!(open(O_WRONLY | O_NONBLOCK).map(drop), Err(Errno::ENXIO));
        let reader = open(O_RDONLY).unwrap();
        assert!(!met(&reader));
        assert_eq!(reader.ready(), 0);
        let writer = open(O_WRONLY | O_NONBLOCK).unwrap();
        assert!(met(&reader) && met(&writer));
        assert_eq!(writer.write(b"through"), Ok(7));
        drop(writer);
        assert!(met(&reader));
        assert_eq!(reader.read(&mut [0; 16]), Ok(7));
        assert_eq!(reader.read(&mut [0; 16]), Ok(0));
        assert_eq!(reader.seek(0, SEEK_SET), Err(Errno::ESPIPE));
    }
}
