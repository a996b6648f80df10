//! Processes and their threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::resource::RLIM_INFINITY;
use abi::{Errno, Fd, Result};

use crate::fdtable::{FdTable, HARD_LIMIT, SOFT_LIMIT};
use crate::file::{Events, OpenFile};
use crate::rumpuser::{Parker, Rumpuser, Woken};
use crate::vfs::Dir;

/// Processes at most (NetBSD's `kern.maxproc` in a rump kernel).
pub const MAXPROC: usize = 532;
/// Bytes of a process name (`MAXCOMLEN`).
pub const MAXCOMLEN: usize = 16;

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
    /// The credentials of `uid` and `gid`, real, effective and saved, without supplementary groups.
    pub fn of(uid: u32, gid: u32) -> Self {
        Self { uid, euid: uid, svuid: uid, gid, egid: gid, svgid: gid, groups: Vec::new() }
    }

    /// Whether the effective user is the superuser.
    pub fn privileged(&self) -> bool {
        self.euid == 0
    }

    /// Whether the effective or a supplementary group is `gid`.
    pub fn in_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }
}

/// The longest prefix that a client may announce.
const PREFIX_MAX: usize = 1023;

/// Where a process stands in the file name space.
#[derive(Clone)]
pub struct Cwd {
    /// Working directory; `None` in a kernel without a file system.
    pub dir: Option<Dir>,
    /// Root directory (chroot(2)).
    pub root: Option<Dir>,
    /// umask(2).
    pub umask: u32,
    /// By which path the program reaches the root, if it is one of ours: what its symbolic links may begin with.
    pub prefix: Option<Arc<[u8]>>,
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
    /// How long a file it may write (`RLIMIT_FSIZE`), soft and hard; [`RLIM_INFINITY`] if that is not limited.
    pub fsize: Mutex<(u64, u64)>,
    /// Threads in a call now.
    pub lwps: Mutex<Vec<Arc<Lwp>>>,
    /// Set while an exec drains the process: new calls are `EBUSY`.
    pub draining: AtomicBool,
    /// Set once the process has ended: new calls are `ESRCH`.
    pub dead: AtomicBool,
    /// When it began, wall clock.
    pub started: Duration,
    /// The host's id of the client; 0 where that is not known.
    pub host_pid: AtomicI32,
    /// The same as the kernel's own host numbers it, if that is certain; else 0.
    local_pid: AtomicI32,
    /// The session whose terminal it has given up for itself alone; else 0.
    without_terminal: AtomicI32,
}

impl Proc {
    /// Returns what `fd` points to; `EBADF` if it is not open, or no more than a place (`O_PATH`).
    pub fn file(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        Some(self.place(fd)?).filter(|file| !file.is_place()).ok_or(Errno::EBADF)
    }

    /// As [`Proc::file`], a mere place included: for what needs nothing open.
    pub fn place(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        lock(&self.fds).get(fd)
    }

    /// Whether a descriptor is free; `EMFILE` if not, for calls that must have done nothing then.
    pub fn has_room(&self) -> Result<()> {
        let limit = lock(&self.nofile).0;
        lock(&self.fds).has_room(limit)
    }

    /// What is open, in the order of the numbers.
    pub fn open_files(&self) -> Vec<(Fd, Arc<OpenFile>)> {
        let fds = lock(&self.fds);
        fds.numbers().filter_map(|fd| Some((fd, fds.get(fd).ok()?))).collect()
    }

    /// Puts `file` on the lowest free descriptor.
    pub fn install(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<Fd> {
        let limit = lock(&self.nofile).0;
        lock(&self.fds).insert(file, close_on_exec, 0, limit)
    }

    /// Closes a descriptor; the object goes with its last reference, outside the table's lock.
    pub fn close(&self, fd: Fd) -> Result<()> {
        let entry = lock(&self.fds).take(fd)?;
        self.dropped([entry]);
        Ok(())
    }

    /// Notes by which path the program reaches the root: none if it is not an absolute path, or all slashes, which mean the root anyway.
    pub fn set_prefix(&self, prefix: &[u8]) {
        let named = prefix.starts_with(b"/") && prefix.iter().any(|byte| *byte != b'/');
        lock(&self.cwd).prefix = (named && prefix.len() <= PREFIX_MAX).then(|| prefix.into());
    }

    /// Lets go of entries that were taken out of the table: the process's record locks on them go too.
    pub fn dropped(&self, entries: impl IntoIterator<Item = crate::fdtable::Entry>) {
        for entry in entries.into_iter().filter(|entry| !entry.quiet) {
            crate::vfs::lock::on_close(self.pid, &entry.file);
        }
    }

    /// The id that the program knows the process by: the host's, if that is known.
    pub fn known_as(&self) -> i32 {
        match self.host_pid.load(Ordering::Relaxed) {
            0 => self.pid,
            host => host,
        }
    }

    /// The number of the process on the kernel's own host, if that is certain: what the host can be asked about, and signals be sent to.
    pub fn local_pid(&self) -> Option<i32> {
        Some(self.local_pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    /// Notes the number of the process on the kernel's own host. Only for a number that the host itself has told.
    pub fn set_local_pid(&self, pid: i32) {
        self.local_pid.store(pid, Ordering::Relaxed);
    }

    /// Whether it has given up the terminal that controls `session`.
    pub fn gave_up_terminal(&self, session: i32) -> bool {
        self.without_terminal.load(Ordering::Relaxed) == session
    }

    /// Gives up, for this process and its children to come, the terminal that controls `session`.
    pub fn give_up_terminal(&self, session: i32) {
        self.without_terminal.store(session, Ordering::Relaxed);
    }

    /// Lifts the limit of file sizes: the image after an exec tells its own.
    pub fn forget_file_limit(&self) {
        *lock(&self.fsize) = (RLIM_INFINITY, RLIM_INFINITY);
    }

    /// Raises the soft limit of descriptors as far as it goes.
    pub fn lift_limit(&self) {
        let mut nofile = lock(&self.nofile);
        nofile.0 = nofile.1;
    }

    /// Credentials of the process now.
    pub fn credentials(&self) -> Credentials {
        lock(&self.cred).clone()
    }

    /// Counts `lwp` in until the guard goes; `EBUSY` while an exec drains the process, `ESRCH` once it has ended.
    pub fn attach(self: &Arc<Self>, lwp: &Arc<Lwp>) -> Result<Attached> {
        let mut lwps = lock(&self.lwps);
        if self.dead.load(Ordering::SeqCst) {
            return Err(Errno::ESRCH);
        }
        if self.draining.load(Ordering::SeqCst) {
            return Err(Errno::EBUSY);
        }
        lwps.push(lwp.clone());
        Ok(Attached { proc: self.clone(), lwp: lwp.clone() })
    }

    /// Makes every call of the process return.
    pub fn interrupt_all(&self) {
        lock(&self.lwps).iter().for_each(|lwp| lwp.interrupt());
    }

    /// Begins an exec: new calls are refused, sleeping ones return. `EBUSY` if one is under way.
    pub fn begin_exec(&self) -> Result<()> {
        let lwps = lock(&self.lwps);
        if self.draining.swap(true, Ordering::SeqCst) {
            return Err(Errno::EBUSY);
        }
        lwps.iter().for_each(|lwp| lwp.interrupt());
        Ok(())
    }

    /// Ends an exec once no call is left: descriptors with `FD_CLOEXEC` are closed, the name is the new one.
    pub fn finish_exec(&self, name: &[u8]) {
        let closed = lock(&self.fds).drain(|_, entry| entry.close_on_exec);
        self.dropped(closed);
        *lock(&self.name) = comm(name);
        self.draining.store(false, Ordering::SeqCst);
    }
}

/// The name of a process: up to the NUL, 16 bytes at most, printable.
pub fn comm(name: &[u8]) -> String {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len()).min(MAXCOMLEN);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// An lwp counted in its process.
pub struct Attached {
    proc: Arc<Proc>,
    lwp: Arc<Lwp>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut lwps = lock(&self.proc.lwps);
        if let Some(at) = lwps.iter().position(|other| Arc::ptr_eq(other, &self.lwp)) {
            lwps.swap_remove(at);
        }
    }
}

/// A thread of a process, for the duration of one call.
pub struct Lwp {
    parker: Box<dyn Parker>,
    interrupted: AtomicBool,
    /// Whether it has slept: what wakes it may still be held by others.
    slept: AtomicBool,
    /// The request that it serves, for an interrupt to name; counted by the session.
    pub request: u64,
}

impl Lwp {
    /// Makes a thread that serves request number `request`.
    pub fn new(host: &dyn Rumpuser, request: u64) -> Arc<Self> {
        let (interrupted, slept) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { parker: host.parker(), interrupted, slept, request })
    }

    /// Makes the thread of a call that is over fit for another one; `false` if it has slept, or somebody has it still.
    pub fn renew(self: &mut Arc<Self>) -> bool {
        Arc::get_mut(self).is_some_and(|lwp| {
            *lwp.interrupted.get_mut() = false;
            !*lwp.slept.get_mut()
        })
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

    /// Sleeps; see [`Parker::park`].
    pub fn park(&self, deadline: Option<Duration>) {
        crate::wait::about_to_sleep();
        self.slept.store(true, Ordering::Relaxed);
        if self.parker.park(deadline) == Woken::Signalled {
            self.interrupted.store(true, Ordering::SeqCst);
        }
    }
}

impl crate::wait::Waiter for Lwp {
    /// Wakes the thread to look again, whatever is new.
    fn notify(self: Arc<Self>, _news: Events) -> bool {
        self.parker.unpark();
        true
    }
}

/// All processes of a kernel.
#[derive(Default)]
pub struct Table {
    all: Mutex<BTreeMap<i32, Arc<Proc>>>,
}

impl Table {
    /// Makes the table with process 0, the kernel, and process 1, `rumplocal`, whose working directory is `root`.
    pub fn boot(root: Option<Dir>, now: Duration) -> Self {
        let table = Self::default();
        for (pid, name) in [(0, "system"), (1, "rumplocal")] {
            let cwd = Cwd { dir: root.clone(), root: root.clone(), umask: 0o022, prefix: None };
            let proc = Proc {
                pid,
                ppid: Mutex::new(0),
                pgrp: Mutex::new((0, 0)),
                name: Mutex::new(name.to_owned()),
                cred: Mutex::default(),
                cwd: Mutex::new(cwd),
                fds: Mutex::default(),
                nofile: Mutex::new((SOFT_LIMIT, HARD_LIMIT)),
                fsize: Mutex::new((RLIM_INFINITY, RLIM_INFINITY)),
                lwps: Mutex::default(),
                draining: AtomicBool::new(false),
                dead: AtomicBool::new(false),
                started: now,
                host_pid: AtomicI32::new(0),
                local_pid: AtomicI32::new(0),
                without_terminal: AtomicI32::new(0),
            };
            lock(&table.all).insert(pid, Arc::new(proc));
        }
        table
    }

    /// Returns the process `pid`, or `ESRCH`.
    pub fn get(&self, pid: i32) -> Result<Arc<Proc>> {
        lock(&self.all).get(&pid).cloned().ok_or(Errno::ESRCH)
    }

    /// Lists the processes by pid.
    pub fn list(&self) -> Vec<Arc<Proc>> {
        lock(&self.all).values().cloned().collect()
    }

    /// Makes a child of process 1 with descriptors of its own; `EAGAIN` if there are too many processes.
    pub fn spawn(&self, name: &[u8], fds: FdTable, now: Duration) -> Result<Arc<Proc>> {
        let init = self.get(1)?;
        self.derive(&init, 1, comm(name), fds, now)
    }

    /// Makes a child of `parent` with copies of everything; the open files are shared.
    pub fn fork(&self, parent: &Proc, now: Duration) -> Result<Arc<Proc>> {
        let mut fds = lock(&parent.fds).clone();
        fds.drain(|_, entry| !entry.file.file.inherited());
        let name = lock(&parent.name).clone();
        self.derive(parent, parent.pid, name, fds, now)
    }

    /// Makes the process that a fork ends in: it takes over the descriptors of `forked`, which ends.
    ///
    /// Since `forked` is its parent, it is a child of process 1 from the start, as in the original.
    pub fn claim(&self, forked: &Arc<Proc>, now: Duration) -> Result<Arc<Proc>> {
        let name = lock(&forked.name).clone();
        let proc = self.derive(forked, 1, name, FdTable::default(), now)?;
        let fds = std::mem::take(&mut *lock(&forked.fds));
        *lock(&proc.fds) = fds;
        self.exit(forked);
        Ok(proc)
    }

    fn derive(&self, from: &Proc, ppid: i32, name: String, fds: FdTable, now: Duration) -> Result<Arc<Proc>> {
        let (pgrp, cred, cwd) = (*lock(&from.pgrp), from.credentials(), lock(&from.cwd).clone());
        let (nofile, fsize) = (*lock(&from.nofile), *lock(&from.fsize));
        let mut all = lock(&self.all);
        if all.len() >= MAXPROC {
            return Err(Errno::EAGAIN);
        }
        let pid = (2..).find(|pid| !all.contains_key(pid)).ok_or(Errno::EAGAIN)?;
        let proc = Arc::new(Proc {
            pid,
            ppid: Mutex::new(ppid),
            pgrp: Mutex::new(pgrp),
            name: Mutex::new(name),
            cred: Mutex::new(cred),
            cwd: Mutex::new(cwd),
            fds: Mutex::new(fds),
            nofile: Mutex::new(nofile),
            fsize: Mutex::new(fsize),
            lwps: Mutex::default(),
            draining: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            started: now,
            host_pid: AtomicI32::new(0),
            local_pid: AtomicI32::new(0),
            without_terminal: AtomicI32::new(from.without_terminal.load(Ordering::Relaxed)),
        });
        all.insert(pid, proc.clone());
        Ok(proc)
    }

    /// Ends a process no call of which is left: descriptors are closed, children become process 1's.
    pub fn exit(&self, proc: &Arc<Proc>) {
        proc.dead.store(true, Ordering::SeqCst);
        let closed = lock(&proc.fds).drain(|_, _| true);
        proc.dropped(closed);
        let mut all = lock(&self.all);
        all.remove(&proc.pid);
        for child in all.values() {
            let mut ppid = lock(&child.ppid);
            if *ppid == proc.pid {
                *ppid = 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_processes_begin_at_two_and_take_the_lowest_free_pid() {
        let table = Table::boot(None, Duration::ZERO);
        let first = table.spawn(b"first\0", FdTable::default(), Duration::ZERO).unwrap();
        let second = table.spawn(b"a name that is too long", FdTable::default(), Duration::ZERO).unwrap();
        assert_eq!((first.pid, second.pid), (2, 3));
        assert_eq!(*lock(&second.name), "a name that is t");
        table.exit(&first);
        assert_eq!(table.spawn(b"x", FdTable::default(), Duration::ZERO).unwrap().pid, 2);
    }

    #[test]
    fn a_claimed_fork_is_a_child_of_process_one() {
        let table = Table::boot(None, Duration::ZERO);
        let parent = table.spawn(b"p", FdTable::default(), Duration::ZERO).unwrap();
        let forked = table.fork(&parent, Duration::ZERO).unwrap();
        assert_eq!(*lock(&forked.ppid), parent.pid);
        let child = table.claim(&forked, Duration::ZERO).unwrap();
        assert_eq!((child.pid, *lock(&child.ppid)), (4, 1));
        assert!(table.get(forked.pid).is_err());
    }

    #[test]
    fn there_are_at_most_maxproc_processes() {
        let table = Table::boot(None, Duration::ZERO);
        for _ in 2..MAXPROC {
            table.spawn(b"x", FdTable::default(), Duration::ZERO).unwrap();
        }
        assert_eq!(table.spawn(b"x", FdTable::default(), Duration::ZERO).err(), Some(Errno::EAGAIN));
    }

    #[test]
    fn an_exec_refuses_calls_until_it_is_over() {
        let table = Table::boot(None, Duration::ZERO);
        let proc = table.spawn(b"old", FdTable::default(), Duration::ZERO).unwrap();
        let lwp = Lwp::new(&*crate::rumpuser::sim::SimHost::new(0), 1);
        let attached = proc.attach(&lwp).unwrap();
        proc.begin_exec().unwrap();
        assert!(lwp.interrupted());
        assert_eq!(proc.attach(&lwp).err(), Some(Errno::EBUSY));
        drop(attached);
        proc.finish_exec(b"new\0");
        assert!(proc.attach(&lwp).is_ok());
        assert_eq!(*lock(&proc.name), "new");
    }
}
