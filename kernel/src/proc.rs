//! Processes and their threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::{Errno, Fd, Result};

use crate::fdtable::{FdTable, HARD_LIMIT, SOFT_LIMIT};
use crate::file::OpenFile;
use crate::rumpuser::{Parker, Rumpuser, Woken};
use crate::usermem::UserMem;
use crate::vfs::Dir;

/// Processes at most (NetBSD's `kern.maxproc` in a rump kernel).
pub const MAXPROC: usize = 532;

/// Locks, and goes on after another thread's panic: all data stays consistent between statements.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User and group ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Saved user.
    pub svuid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved group.
    pub svgid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Whether the effective user is the superuser.
    pub fn privileged(&self) -> bool {
        self.euid == 0
    }

    /// Whether the effective or a supplementary group is `gid`.
    pub fn in_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }
}

/// Where a process stands in the file name space.
#[derive(Clone)]
pub struct Cwd {
    /// Working directory; `None` in a kernel without a file system.
    pub dir: Option<Dir>,
    /// Root directory (chroot(2)).
    pub root: Option<Dir>,
    /// umask(2).
    pub umask: u32,
}

/// A process.
pub struct Proc {
    /// Process id.
    pub pid: i32,
    /// Parent's id; 1 once the parent is gone.
    pub ppid: Mutex<i32>,
    /// Process group and session.
    pub pgrp: Mutex<(i32, i32)>,
    /// Program name, 16 bytes at most.
    pub name: Mutex<String>,
    /// Credentials.
    pub cred: Mutex<Credentials>,
    /// Working directory, root, umask.
    pub cwd: Mutex<Cwd>,
    /// Descriptors.
    pub fds: Mutex<FdTable>,
    /// Soft and hard limit of descriptors.
    pub nofile: Mutex<(usize, usize)>,
    /// Threads in a call now.
    pub lwps: Mutex<Vec<Arc<Lwp>>>,
    /// Set while an exec drains the process: new calls are `EBUSY`.
    pub draining: AtomicBool,
    /// When it began, wall clock.
    pub started: Duration,
}

impl Proc {
    /// Returns what `fd` points to, or `EBADF`.
    pub fn file(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        lock(&self.fds).get(fd)
    }

    /// Puts `file` on the lowest free descriptor.
    pub fn install(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<Fd> {
        let limit = lock(&self.nofile).0;
        lock(&self.fds).insert(file, close_on_exec, 0, limit)
    }

    /// Closes a descriptor; the object goes with its last reference, outside the table's lock.
    pub fn close(&self, fd: Fd) -> Result<()> {
        let entry = lock(&self.fds).take(fd)?;
        drop(entry);
        Ok(())
    }

    /// Credentials of the process now.
    pub fn credentials(&self) -> Credentials {
        lock(&self.cred).clone()
    }
}

/// A thread of a process, for the duration of one call.
pub struct Lwp {
    parker: Box<dyn Parker>,
    interrupted: AtomicBool,
    /// The request that it serves, for an interrupt to name; counted by the session.
    pub request: u64,
}

impl Lwp {
    /// Makes a thread that serves request number `request`.
    pub fn new(host: &dyn Rumpuser, request: u64) -> Arc<Self> {
        Arc::new(Self { parker: host.parker(), interrupted: AtomicBool::new(false), request })
    }

    /// Ends the sleep of the call, now or as soon as it sleeps: it answers `EINTR`.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.parker.unpark();
    }

    /// Whether the call shall not sleep any more.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Wakes the thread to look again.
    pub fn wake(&self) {
        self.parker.unpark();
    }

    /// Sleeps; see [`Parker::park`].
    pub fn park(&self, deadline: Option<Duration>) {
        if self.parker.park(deadline) == Woken::Signalled {
            self.interrupted.store(true, Ordering::SeqCst);
        }
    }
}

/// All processes of a kernel.
#[derive(Default)]
pub struct Table {
    all: Mutex<BTreeMap<i32, Arc<Proc>>>,
    next: AtomicU32,
}
