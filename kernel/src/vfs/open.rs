//! Open files: a node with a position (open(2), read(2), lseek(2), getdents(2)).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use abi::fcntl::{
    FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_ACCMODE, O_APPEND, O_NOATIME, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY,
    RWF_APPEND, RWF_NOAPPEND, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET,
};
use abi::ioctl::FIONREAD;
use abi::poll::{POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::{self, HostFd, Owned, direct};

use super::lending::Loan;
use super::mount::Writing;
use super::pipe::{End, Ways};
use super::{Dir, Kind, Position, View, pipe};
use crate::file::{Events, File};
use crate::fs::{devfs, etfs};
use crate::proc::lock;
use crate::rumpuser::Access;
use crate::stream::{Given, Sharing};
use crate::tty::End as Terminal;
use crate::wait::WaitQueue;
use crate::{Cx, current, wait};

/// The longest file: offsets are signed.
pub(crate) const SIZE_MAX: u64 = i64::MAX as u64;

/// Numbers the open files, as owners of flock(2) locks.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// `EINVAL` if the end of what is to be moved from a position on has no number, as on Linux.
fn countable(position: u64, len: usize) -> Result<()> {
    if position.checked_add(len as u64).is_none_or(|end| end > SIZE_MAX) { Err(Errno::EINVAL) } else { Ok(()) }
}

/// An open file of a file system.
pub struct VnodeFile {
    /// What is open.
    pub at: Dir,
    /// The directory and the name by which it was opened, if there was one; it may have been moved since.
    pub(super) opened_as: Option<(Dir, Vec<u8>)>,
    /// Unique among open files.
    pub(super) id: u64,
    body: Body,
    /// `O_APPEND`.
    append: AtomicBool,
    /// `O_NOATIME`.
    silent: AtomicBool,
    /// Offset in a file, unless there is a loan, which has it then; cookie in a directory.
    pub(super) position: Mutex<u64>,
    /// Set once clients have the memory; changes while the position is locked.
    pub(super) loan: OnceLock<Arc<Loan>>,
    queue: WaitQueue,
    /// There if the file may be written.
    writing: Option<Writing>,
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

impl VnodeFile {
    /// Makes what an `O_PATH` descriptor points to: a place, of which nothing is open.
    pub(super) fn place(at: Dir) -> Self {
        Self::with_body(at, Body::Node, 0)
    }

    /// Notes by what name it was opened.
    pub(super) fn opened_as(mut self, name: Option<(Dir, Vec<u8>)>) -> Self {
        self.opened_as = name;
        self
    }

    fn with_body(at: Dir, body: Body, flags: i32) -> Self {
        Self {
            at,
            opened_as: None,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            body,
            append: AtomicBool::new(flags & O_APPEND != 0),
            silent: AtomicBool::new(flags & O_NOATIME != 0),
            position: Mutex::new(0),
            loan: OnceLock::new(),
            queue: WaitQueue::new(),
            writing: None,
        }
    }

    pub(super) fn new(at: Dir, flags: i32, view: &View<'_>) -> Result<Self> {
        let access = flags & O_ACCMODE;
        let ways = Ways { read: access != O_WRONLY, write: access != O_RDONLY };
        let rdev = at.node.attr().rdev;
        let body = match at.node.vnode().kind {
            // For neither reading nor writing, which only Linux knows.
            Kind::Fifo if access == O_ACCMODE => return Err(Errno::EINVAL),
            Kind::Fifo => Body::Fifo(pipe::open_fifo(&*at.node, ways, flags & O_NONBLOCK != 0)?),
            kind @ (Kind::Character | Kind::Block) if etfs::is_disk(rdev) => {
                Body::Disk(view.vfs.etfs.open(rdev, kind, ways)?)
            }
            Kind::Character => Body::Device(devfs::open(rdev, flags, &view.vfs.rumpuser)?),
            Kind::Block => return Err(Errno::ENXIO),
            _ => {
                at.node.opened(ways)?;
                Body::Node
            }
        };
        let changes_content = ways.write && at.node.vnode().kind == Kind::Regular;
        let writing = changes_content.then(|| Writing::begin(&at.mount)).transpose()?;
        let mut file = Self::with_body(at, body, flags);
        file.writing = writing;
        Ok(file)
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
        let position = lock(&self.position);
        self.loan.get().map_or(*position, |loan| loan.position())
    }

    /// Whether all writes go to the end (`O_APPEND`).
    pub(super) fn appends(&self) -> bool {
        self.append.load(Ordering::Relaxed)
    }

    /// Whether reading is not to show (`O_NOATIME`).
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Moves the position (lseek(2)); in a directory it is a cookie, and only 0 or an earlier answer means anything.
    ///
    /// `ESPIPE` for a fifo or a terminal, `EINVAL` for a negative result and for one beyond the longest file.
    pub fn seek(&self, offset: i64, whence: i32) -> Result<i64> {
        match &self.body {
            Body::Node | Body::Disk(_) => {}
            // A memory device has no position, but Linux's take a seek.
            Body::Device(_) if devfs::seeks(self.at.node.attr().rdev) => return Ok(0),
            _ => return Err(Errno::ESPIPE),
        }
        let mut position = lock(&self.position);
        let loan = self.loan.get();
        if let Some(loan) = loan
            && matches!(whence, SEEK_SET | SEEK_CUR | SEEK_END)
        {
            // In one step with what clients do; the numbers are the same.
            return direct::seek(loan.file(), offset, whence).map(|at| at as i64).map_err(host::errno);
        }
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *position as i64,
            SEEK_END => self.end().ok_or(Errno::EINVAL)?,
            SEEK_DATA | SEEK_HOLE => {
                let at = self.seek_content(offset, whence == SEEK_DATA)?;
                match loan {
                    Some(loan) => loan.set_position(at)?,
                    None => *position = at,
                }
                return Ok(at as i64);
            }
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add(offset).ok_or(Errno::EINVAL)?;
        let at = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
        if at > self.size_max() {
            return Err(Errno::EINVAL);
        }
        *position = at;
        Ok(target)
    }

    /// Where data, or a hole, begins at or after `offset`; `ENXIO` unless that lies in the file.
    fn seek_content(&self, offset: i64, data: bool) -> Result<u64> {
        let end = self.end().ok_or(Errno::EINVAL)?;
        let offset = u64::try_from(offset).ok().filter(|offset| *offset < end as u64).ok_or(Errno::ENXIO)?;
        match &self.body {
            Body::Node if data => self.at.node.seek_data(offset),
            Body::Node => self.at.node.seek_hole(offset),
            _ => Ok(if data { offset } else { end as u64 }),
        }
    }

    /// Returns the length of a file or disk.
    pub fn size(&self) -> Option<u64> {
        self.end().map(|end| end as u64)
    }

    /// The furthest position.
    fn size_max(&self) -> u64 {
        match self.at.node.vnode().kind {
            Kind::Regular => self.at.mount.fs.size_max(),
            _ => SIZE_MAX,
        }
    }

    /// Where it ends; a directory has no end.
    fn end(&self) -> Option<i64> {
        match &self.body {
            Body::Disk(disk) => Some(disk.size() as i64),
            _ => (self.at.node.vnode().kind == Kind::Regular).then(|| self.at.node.attr().size as i64),
        }
    }

    /// Notes that it was read, unless that shall not show.
    pub(super) fn accessed(&self) {
        if !self.silent.load(Ordering::Relaxed) {
            self.at.accessed();
        }
    }

    /// Reads at an offset; the position stays (pread(2)).
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.at.mount.alive()?;
        match &self.body {
            Body::Node if self.at.node.vnode().kind == Kind::Directory => Err(Errno::EISDIR),
            Body::Node => {
                let node = &self.at.node;
                let quietly = self.silent.load(Ordering::Relaxed);
                let len = if quietly { node.read_quietly(offset, buf) } else { node.read_at(offset, buf) }?;
                self.accessed();
                Ok(len)
            }
            Body::Disk(disk) => disk.read_at(offset, buf),
            Body::Fifo(_) => Err(Errno::ESPIPE),
            Body::Device(device) => self.memory(&**device)?.read(buf),
        }
    }

    /// A device that has no offset, but takes one; `ESPIPE` for a terminal.
    fn memory<'d>(&self, device: &'d dyn File) -> Result<&'d dyn File> {
        if devfs::seeks(self.at.node.attr().rdev) { Ok(device) } else { Err(Errno::ESPIPE) }
    }

    /// Writes at an offset; the position stays (pwrite(2)). With `O_APPEND` it writes at the end, as Linux does.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.write_flagged(Some(offset), data, 0)
    }

    /// Writes at an offset or, without one, at the position, with flags of pwritev2(2).
    pub fn write_flagged(&self, offset: Option<u64>, data: &[u8], flags: u32) -> Result<usize> {
        self.at.mount.alive()?;
        let Some(offset) = offset else {
            let Body::Node = self.body else { return File::write(self, data) };
            let mut position = lock(&self.position);
            let loan = self.loan.get();
            let start = loan.map_or(*position, |loan| loan.position());
            countable(start, data.len())?;
            let at = Position::At(start);
            // The host moves the position of what is lent, but for flags that make the one write another than the others.
            if let Some(loan) = loan.filter(|_| flags == 0) {
                return self.write_node(at, data, flags, Some(loan.file())).map(|(_, len)| len);
            }
            let (end, len) = self.write_node(at, data, flags, None)?;
            // A write of nothing does not even go to the end for `O_APPEND`.
            match loan {
                _ if len == 0 => {}
                Some(loan) => loan.set_position(end)?,
                None => *position = end,
            }
            return Ok(len);
        };
        match &self.body {
            Body::Node => self.write_node(Position::At(offset), data, flags, None).map(|(_, len)| len),
            Body::Disk(disk) => disk.write_at(offset, data),
            Body::Fifo(_) => Err(Errno::ESPIPE),
            Body::Device(device) => self.memory(&**device)?.write(data),
        }
    }

    /// Writes everything to where it lasts (fsync(2)); `EINVAL` for what keeps nothing.
    pub fn sync(&self) -> Result<()> {
        self.at.mount.alive()?;
        match &self.body {
            Body::Disk(disk) => disk.sync(),
            Body::Fifo(_) | Body::Device(_) => Err(Errno::EINVAL),
            Body::Node => match self.at.node.sync() {
                Err(Errno::EOPNOTSUPP) => self.at.mount.fs.sync(),
                done => done,
            },
        }
    }

    fn write_node(&self, position: Position, data: &[u8], flags: u32, by: Option<HostFd>) -> Result<(u64, usize)> {
        let appends = flags & RWF_APPEND != 0 || (flags & RWF_NOAPPEND == 0 && self.append.load(Ordering::Relaxed));
        let position = if appends { Position::End } else { position };
        if let Position::At(offset) = position
            && data.is_empty()
        {
            return Ok((offset, 0));
        }
        if data.is_empty() {
            return self.at.node.write_at(position, data);
        }
        let start = match position {
            Position::At(offset) => offset,
            Position::End => self.at.node.attr().size,
        };
        let room = SIZE_MAX.saturating_sub(start).min(current::writable_from(start)?);
        if room == 0 {
            return Err(Errno::EFBIG);
        }
        let len = usize::try_from(room).map_or(data.len(), |room| room.min(data.len()));
        match by {
            Some(by) => self.at.node.write_through(by, position, &data[..len]),
            None => self.at.node.write_at(position, &data[..len]),
        }
    }

    /// Changes the length (ftruncate(2)); `EINVAL` for what is no file.
    pub fn truncate(&self, view: &View<'_>, length: u64) -> Result<()> {
        if self.at.node.vnode().kind != Kind::Regular {
            return Err(Errno::EINVAL);
        }
        view.resize(&self.at, length)
    }

    /// Takes the memory for a range in advance (posix_fallocate(2)), or gives it back (`FALLOC_FL_PUNCH_HOLE`).
    ///
    /// `ESPIPE` for a fifo, `EISDIR` for a directory, `ENODEV` for anything else that is no file; `EFBIG`.
    pub fn allocate(&self, offset: u64, len: u64, mode: u32) -> Result<()> {
        self.at.mount.alive()?;
        match self.at.node.vnode().kind {
            Kind::Regular => {}
            Kind::Fifo => return Err(Errno::ESPIPE),
            Kind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::ENODEV),
        }
        let end = offset.checked_add(len).filter(|end| *end <= self.size_max()).ok_or(Errno::EFBIG)?;
        match mode & FALLOC_FL_PUNCH_HOLE {
            0 => {
                super::attr::may_grow(&*self.at.node, end)?;
                self.at.node.allocate(offset, end - offset, mode & FALLOC_FL_KEEP_SIZE != 0)
            }
            _ => self.at.node.punch(offset, end - offset),
        }
    }

    /// Returns a descriptor of the host that maps to the content, with the access mode that the file is open with.
    ///
    /// `ENODEV` for what has no content of its own; `EOPNOTSUPP` of a file system that cannot share.
    pub fn share(&self, flags: i32) -> Result<Owned> {
        self.at.mount.alive()?;
        let (Body::Node, Kind::Regular) = (&self.body, self.at.node.vnode().kind) else { return Err(Errno::ENODEV) };
        self.at.node.share(match flags & O_ACCMODE {
            O_WRONLY => Access::Write,
            O_RDWR => Access::ReadWrite,
            _ => Access::Read,
        })
    }
}

impl File for VnodeFile {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.at.mount.alive()?;
        match &self.body {
            Body::Node | Body::Disk(_) => {
                let mut position = lock(&self.position);
                if let Some(loan) = self.loan.get() {
                    let len = host::read(loan.file(), buf).map_err(host::errno)?;
                    self.accessed();
                    return Ok(len);
                }
                countable(*position, buf.len())?;
                let len = self.read_at(*position, buf)?;
                *position += len as u64;
                Ok(len)
            }
            Body::Fifo(end) => end.read(buf),
            Body::Device(device) => device.read(buf),
        }
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.at.mount.alive()?;
        match &self.body {
            Body::Node => self.write_flagged(None, buf, 0),
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

    fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        match &self.body {
            Body::Node | Body::Disk(_) => {
                let position = self.position();
                self.read_at(position, buf)
            }
            Body::Fifo(end) => end.peek(buf),
            Body::Device(_) => Err(Errno::EINVAL),
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
        self.at.mount.alive()?;
        Ok(match self.loan.get() {
            Some(loan) => loan.stat(),
            None => self.at.node.stat(self.at.mount.id),
        })
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
        self.silent.store(flags & O_NOATIME != 0, Ordering::Relaxed);
        if let Some(loan) = self.loan.get() {
            loan.set_manners(self.appends(), self.is_silent());
        }
    }

    fn as_stream(&self) -> Option<&dyn Sharing> {
        if let Body::Fifo(_) = self.body { Some(self) } else { None }
    }

    fn as_terminal(&self) -> Option<&Terminal> {
        if let Body::Device(device) = &self.body { device.as_terminal() } else { None }
    }

    fn as_vnode(&self) -> Option<&VnodeFile> {
        Some(self)
    }
}

impl Drop for VnodeFile {
    fn drop(&mut self) {
        super::lock::unlock_file(self.at.node.vnode(), self.id);
    }
}

impl Sharing for VnodeFile {
    fn share(&self) -> Result<Given> {
        let Body::Fifo(end) = &self.body else { return Err(Errno::EOPNOTSUPP) };
        self.at.mount.shares(end.pipe());
        let given = end.share()?;
        if let Err(gone) = self.at.mount.alive() {
            end.pipe().take_back();
            return Err(gone);
        }
        Ok(given)
    }

    fn is_shared(&self) -> bool {
        matches!(&self.body, Body::Fifo(end) if end.is_shared())
    }

    fn moved(&self, read: bool) {
        if let Body::Fifo(end) = &self.body {
            end.moved(read);
        }
    }

    fn bell(&self) -> Result<(Owned, u64)> {
        if let Body::Fifo(end) = &self.body { end.bell() } else { Err(Errno::EAGAIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testing;
    use abi::fcntl::{O_CREAT, O_RDWR};

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
        assert_eq!(all.len(), 9 * 24 + 6 * 32);
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
