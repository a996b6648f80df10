//! What a descriptor points to.

use std::any::Any;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use abi::poll::{POLLOUT, POLLWRBAND};
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::board::Word;

use crate::kqueue::Kqueue;
use crate::net::Socket;
use crate::notice::Notice;
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::sigio::Sigio;
use crate::stream::Sharing;
use crate::tty;
use crate::vfs::VnodeFile;
use crate::wait::{WaitQueue, Waiter};
use crate::{Cx, Kernel};

/// Events that say only that there is room.
const ROOM: Events = POLLOUT | POLLWRBAND;

/// Readiness, in the bits of poll(2) (NetBSD's numbers, `abi::poll`).
pub type Events = i16;

/// An object behind a descriptor. No method blocks: `EAGAIN` says that the operation would have to
/// wait, whatever `O_NONBLOCK` says, and [`File::wait_queue`] is woken when trying again may pay.
/// The last reference to go closes the object (`Drop`).
pub trait File: Any + Send + Sync {
    /// Reads at the file's own position.
    fn read(&self, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EBADF)
    }
    /// Writes at the file's own position. `EPIPE` makes the caller raise `SIGPIPE`.
    fn write(&self, _buf: &[u8]) -> Result<usize> {
        Err(Errno::EBADF)
    }
    /// Reads what the next [`File::read`] will read, and leaves it there; `EINVAL` where that cannot be done.
    fn peek(&self, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EINVAL)
    }
    /// The events of poll(2) that hold now.
    fn ready(&self) -> Events;
    /// Woken whenever [`File::ready`] may have changed.
    fn wait_queue(&self) -> &WaitQueue;
    /// fstat(2).
    fn stat(&self) -> Result<Stat>;
    /// ioctl(2); `data` has the length that the command encodes, filled for an IN command and copied out for an
    /// OUT command on success. `FIOCLEX`, `FIONCLEX`, `FIONBIO` and `FIOASYNC` never come here.
    fn ioctl(&self, _cx: &Cx<'_>, _command: u64, _data: &mut [u8]) -> Result<()> {
        Err(Errno::ENOTTY)
    }
    /// Whether the child of a fork gets it too.
    fn inherited(&self) -> bool {
        true
    }
    /// Whether epoll_ctl(2) takes it: on Linux, not what is ready always (regular files, directories, memory devices).
    fn can_poll(&self) -> bool {
        true
    }
    /// Told when fcntl(2) has changed the status flags (`O_APPEND` and the like).
    fn status_changed(&self, _flags: i32) {}
    /// The socket, if it is one.
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }
    /// The stream whose bytes programs may move themselves, if it is one.
    fn as_stream(&self) -> Option<&dyn Sharing> {
        None
    }
    /// Whether programs move bytes themselves, here or in what it watches: then there may be something that the kernel has not heard of.
    fn has_shared_bytes(&self) -> bool {
        self.as_stream().is_some_and(|stream| stream.is_shared())
    }
    /// The side of a terminal, if it is one.
    fn as_terminal(&self) -> Option<&tty::End> {
        None
    }
    /// The open file of a file system, if it is one.
    fn as_vnode(&self) -> Option<&VnodeFile> {
        None
    }
}

/// An open file description: an object and the status flags that all its descriptors share.
pub struct OpenFile {
    /// The object.
    pub file: Arc<dyn File>,
    /// Access mode and status flags, `abi::fcntl::O_*` of NetBSD.
    flags: AtomicU32,
    /// Who is to be told of changes (`F_SETOWN`), as a client numbers it that cannot be told.
    owner: AtomicI32,
    /// Tells those who can, while `O_ASYNC` is on.
    sigio: OnceLock<Arc<Sigio>>,
    /// Its number among all that were ever opened.
    number: u64,
    /// What programs know of it without asking.
    notice: OnceLock<Arc<Notice>>,
    /// Counts what changes it otherwise than by an event; locked while its notice is made to say that there is nothing.
    changes: Mutex<u32>,
    /// Told when the last descriptor is gone.
    mourners: Mutex<Vec<Weak<dyn Waiter>>>,
}

impl OpenFile {
    /// Wraps an object with its open flags (only access mode and status flags are kept).
    pub fn new(file: Arc<dyn File>, flags: i32) -> Arc<Self> {
        // netstat knows no number of one digit.
        static OPENED: AtomicU64 = AtomicU64::new(1000);
        Arc::new(Self {
            file,
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            flags: AtomicU32::new(flags as u32),
            owner: AtomicI32::new(0),
            sigio: OnceLock::new(),
            notice: OnceLock::new(),
            changes: Mutex::default(),
            mourners: Mutex::default(),
        })
    }

    /// What fstat(2) says. An object that has no number of its own, a socket, has that of its open file, so that it can be told from
    /// others, and found: it is what stands in `/proc/net/tcp`, and behind `/proc/PID/fd/N`.
    pub fn stat(&self) -> Result<Stat> {
        let stat = self.file.stat()?;
        Ok(if stat.st_ino == 0 { Stat { st_ino: self.number, ..stat } } else { stat })
    }

    /// Has `who` stand on the object's queue, and told when the last descriptor is gone.
    pub fn watch<T: Waiter + 'static>(&self, who: &Arc<T>, exclusive: bool) {
        let mourner: Weak<T> = Arc::downgrade(who);
        let mut mourners = lock(&self.mourners);
        mourners.retain(|other| other.strong_count() > 0);
        mourners.push(mourner);
        drop(mourners);
        self.file.wait_queue().register(who, exclusive);
    }

    /// What tells that it became ready.
    pub fn sigio(&self, rumpuser: &dyn Rumpuser) -> Result<&Sigio> {
        if let Some(sigio) = self.sigio.get() {
            return Ok(sigio);
        }
        let on = self.flags() & abi::fcntl::O_ASYNC != 0;
        let new = Sigio::new(rumpuser.bell()?, self.readable(), self.writable(), on);
        let sigio = self.sigio.get_or_init(|| {
            self.file.wait_queue().register(&new, false);
            // Who hears of every event does not ask for each.
            self.file.ready();
            new
        });
        Ok(sigio)
    }

    /// What programs know of it without asking, from now on. `EOPNOTSUPP` for what is neither a socket, nor a pipe to be read, nor an event
    /// queue.
    pub fn notice(&self, kernel: &Kernel) -> Result<&Arc<Notice>> {
        if let Some(notice) = self.notice.get() {
            return Ok(notice);
        }
        let can = self.file.as_socket().is_some() || self.file.as_stream().is_some() || Kqueue::of(self).is_ok();
        if !can || !self.readable() {
            return Err(Errno::EOPNOTSUPP);
        }
        let new = kernel.notices.take()?;
        let notice = self.notice.get_or_init(|| new.clone());
        if Arc::ptr_eq(notice, &new) {
            self.file.wait_queue().register(&new, false);
        }
        Ok(notice)
    }

    /// How often it was changed, for [`OpenFile::found_nothing`].
    pub fn changes(&self) -> u32 {
        if self.notice.get().is_some() { *lock(&self.changes) } else { 0 }
    }

    /// The events of poll(2) that hold now, for who tells a program of them: it may then not be known to another that there is nothing.
    pub fn ready(&self) -> Events {
        let events = self.file.ready();
        if events & !ROOM != 0 {
            self.found_something();
        }
        events
    }

    /// Lets programs know that there is nothing, if that is so: what has come since the caller looked is seen here, and what comes
    /// from now on takes it back. `changes` are those that there were before the caller looked.
    pub fn found_nothing(&self, changes: u32) {
        let Some(notice) = self.notice.get() else { return };
        let now = lock(&self.changes);
        let word = if self.nonblocking() { Word::Again } else { Word::Waits };
        notice.deny(word, || *now == changes && !self.file.has_shared_bytes() && self.file.ready() & !ROOM == 0);
    }

    /// To be called when a call has found something: who hears of that may ask at once.
    fn found_something(&self) {
        if let Some(notice) = self.notice.get() {
            notice.take_back();
        }
    }

    /// To be called when a call has changed what it does next: what programs know is not so any more.
    pub fn changed(&self) {
        if let Some(notice) = self.notice.get() {
            let mut changes = lock(&self.changes);
            *changes = changes.wrapping_add(1);
            notice.take_back();
        }
    }

    /// Returns the owner.
    pub fn owner(&self) -> i32 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Sets the owner.
    pub fn set_owner(&self, owner: i32) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Returns access mode and status flags.
    pub fn flags(&self) -> i32 {
        self.flags.load(Ordering::Relaxed) as i32
    }

    /// Replaces the status flags in `mask` by those in `flags`.
    pub fn set_flags(&self, mask: i32, flags: i32) {
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            Some(old & !(mask as u32) | (flags & mask) as u32)
        });
        if let Some(sigio) = self.sigio.get() {
            sigio.switch(self.flags() & abi::fcntl::O_ASYNC != 0);
        }
        self.file.status_changed(self.flags());
        self.changed();
    }

    /// Whether it is only a place in the file name space (`O_PATH`).
    pub fn is_place(&self) -> bool {
        self.flags() & abi::fcntl::O_PATH != 0
    }

    /// Whether operations answer `EAGAIN` instead of waiting.
    pub fn nonblocking(&self) -> bool {
        self.flags() & abi::fcntl::O_NONBLOCK != 0
    }

    /// Whether the access mode allows reading.
    pub fn readable(&self) -> bool {
        matches!(self.flags() & abi::fcntl::O_ACCMODE, abi::fcntl::O_RDONLY | abi::fcntl::O_RDWR)
    }

    /// Whether the access mode allows writing.
    pub fn writable(&self) -> bool {
        matches!(self.flags() & abi::fcntl::O_ACCMODE, abi::fcntl::O_WRONLY | abi::fcntl::O_RDWR)
    }

    /// Returns the socket, or `ENOTSOCK`.
    pub fn socket(&self) -> Result<&dyn Socket> {
        self.file.as_socket().ok_or(Errno::ENOTSOCK)
    }

    /// Tries `operation` until it no longer answers `EAGAIN`, unless the file is non-blocking.
    pub fn wait<T>(&self, cx: &Cx<'_>, operation: impl FnMut() -> Result<T>) -> Result<T> {
        self.wait_until(cx, self.nonblocking(), None, operation)
    }

    /// The same with `MSG_DONTWAIT` and a time limit taken into account.
    pub fn wait_until<T>(
        &self,
        cx: &Cx<'_>,
        nonblocking: bool,
        deadline: Option<std::time::Duration>,
        mut operation: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let changes = self.changes();
        let done = match nonblocking {
            true => operation(),
            false => crate::wait::until(cx, &[self.file.wait_queue()], deadline, operation),
        };
        match &done {
            Err(Errno::EAGAIN) => self.found_nothing(changes),
            _ => self.found_something(),
        }
        done
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // What the end of the object brings about is no news to who has closed it.
        if let Some(sigio) = self.sigio.get() {
            sigio.switch(false);
        }
        let mourners = std::mem::take(self.mourners.get_mut().unwrap_or_else(PoisonError::into_inner));
        mourners.iter().filter_map(Weak::upgrade).for_each(|who| who.closed());
    }
}
