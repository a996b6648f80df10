//! A rump kernel: file name space, TCP/IP stack, processes and descriptors of its own, in user space.
//!
//! [`Kernel::boot`] makes one; it is a value, so a test boots as many as it likes. Whatever a client may do goes
//! through [`syscall::syscall`]. All that the kernel needs of its host goes through [`rumpuser::Rumpuser`].

#![deny(unsafe_code)]

pub mod clock;
pub mod config;
pub mod current;
pub mod dev;
pub mod fdtable;
pub mod file;
pub mod fs;
pub mod kqueue;
pub mod net;
pub mod notice;
pub mod parked;
pub mod proc;
pub mod rumpuser;
mod scratch;
pub mod server;
pub mod sigio;
pub mod stream;
pub mod syscall;
pub mod sysctl;
pub mod tty;
pub mod usermem;
pub mod vfs;
pub mod wait;

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use abi::Result;
use abi::mount::{RB_AUTOBOOT, RB_DUMP, RB_NOSYNC};
use fdtable::FdTable;
use file::OpenFile;
use proc::{Lwp, Proc, lock};
use rumpuser::{Parker, Rumpuser};
use usermem::UserMem;
use wait::WaitQueue;

/// A running kernel.
pub struct Kernel {
    /// The host below.
    pub rumpuser: Arc<dyn Rumpuser>,
    /// What it was booted with.
    pub config: config::Config,
    /// Time.
    pub clock: clock::Clock,
    /// Processes.
    pub procs: proc::Table,
    /// Names of the host and domain, and other values that sysctl(7) can set.
    pub names: sysctl::Names,
    /// Files on their way between processes.
    pub parked: parked::Files,
    /// File name space; empty when the component is absent.
    pub vfs: vfs::Vfs,
    /// Sockets and the network stack.
    pub net: net::Net,
    /// Tables that parts of the kernel show below `/proc/net`.
    pub reports: Vec<(&'static str, Report)>,
    /// What programs know of open files without asking.
    pub notices: notice::Notices,
    /// Pseudo terminals.
    pub terminals: Arc<tty::Terminals>,
    /// CPU time, as procfs has seen it.
    pub usage: Mutex<fs::procfs::Usage>,
    /// Who sleeps until a timer's deadline, in a kernel without a thread for that.
    pub timer_sleepers: Arc<WaitQueue>,
    softclock: Arc<dyn Parker>,
    ticking: AtomicBool,
    halted: AtomicI32,
}

/// A text about a part of the kernel, made when somebody reads it.
pub type Report = fn(&Kernel) -> Vec<u8>;

/// What [`Kernel::halted`] holds while the kernel runs.
const RUNNING: i32 = -1;

/// A system call in progress: who calls, and how to reach the caller's memory.
pub struct Cx<'a> {
    /// The kernel.
    pub kernel: &'a Arc<Kernel>,
    /// The calling process.
    pub proc: &'a Arc<Proc>,
    /// The calling thread.
    pub lwp: &'a Arc<Lwp>,
    /// The caller's memory.
    pub mem: &'a dyn UserMem,
}

impl Kernel {
    /// Boots a kernel: processes 0 and 1, the root file system, `lo0`.
    pub fn boot(rumpuser: Arc<dyn Rumpuser>, config: config::Config) -> Result<Arc<Kernel>> {
        let clock = clock::Clock::new(rumpuser.clone());
        let vfs = vfs::Vfs::boot(rumpuser.clone(), &config)?;
        let net = net::Net::boot(rumpuser.clone(), &config)?;
        let procs = proc::Table::boot(vfs.root(), clock.now());
        let names = sysctl::Names::new(&*rumpuser, &config);
        let softclock: Arc<dyn Parker> = rumpuser.parker().into();
        let timer_sleepers = Arc::new(WaitQueue::new());
        let (sleepers, clerk) = (timer_sleepers.clone(), softclock.clone());
        net.set_kick(Box::new(move || {
            clerk.unpark();
            sleepers.wake();
        }));
        let kernel = Arc::new(Kernel {
            rumpuser,
            config,
            clock,
            procs,
            parked: parked::Files::default(),
            names,
            vfs,
            net,
            reports: net::report::tables().collect(),
            notices: notice::Notices::default(),
            terminals: Arc::default(),
            usage: Mutex::default(),
            timer_sleepers,
            softclock,
            ticking: AtomicBool::new(false),
            halted: AtomicI32::new(RUNNING),
        });
        kernel.names.add_rows(net::settings::ROWS.iter().chain(vfs::files::ROWS).copied());
        kernel.start_softclock();
        *lock(&kernel.procs.get(1)?.fds) = kernel.console_fds();
        if kernel.config.verbose {
            kernel.printf(&sysctl::version());
            kernel.printf(&format!("total memory = {} KB\n", kernel.rumpuser.physical_memory() / 1024));
        }
        Ok(kernel)
    }

    /// Starts the thread that runs timers when they are due; without it, whoever sleeps runs them.
    fn start_softclock(self: &Arc<Self>) {
        let (kernel, parker) = (Arc::downgrade(self), self.softclock.clone());
        let ticking = self.config.threads
            && self.rumpuser.spawn("softclock", Box::new(move || softclock(&kernel, &*parker))).is_ok();
        self.ticking.store(ticking, Ordering::Relaxed);
    }

    /// Runs due timers and returns the deadline of the next; `None` if there is none or a thread sees to them.
    pub fn run_timers(&self) -> Option<Duration> {
        if self.ticking.load(Ordering::Relaxed) {
            return None;
        }
        self.net.run_timers(self.clock.uptime())
    }

    /// Makes the descriptors of a new process: 0, 1 and 2 on the console, for writing only.
    pub fn console_fds(&self) -> FdTable {
        let console = dev::console::Console::new(self.rumpuser.clone(), self.clock.now());
        let file = OpenFile::new(Arc::new(console), abi::fcntl::O_WRONLY);
        let mut fds = FdTable::default();
        for _ in 0..3 {
            let _ = fds.insert(file.clone(), false, 0, fdtable::SOFT_LIMIT);
        }
        fds
    }

    /// Makes a process for a new client: child of process 1, descriptors 0, 1 and 2 on the console.
    pub fn spawn(&self, name: &[u8]) -> Result<Arc<Proc>> {
        self.procs.spawn(name, self.console_fds(), self.clock.now())
    }

    /// Makes a copy of `parent` (fork(2)).
    pub fn fork(&self, parent: &Proc) -> Result<Arc<Proc>> {
        self.procs.fork(parent, self.clock.now())
    }

    /// Ends a process no call of which is left.
    pub fn exit(&self, proc: &Arc<Proc>) {
        if let Some(pid) = proc.local_pid() {
            self.terminals.leader_gone(pid);
        }
        self.procs.exit(proc);
        self.parked.orphan(proc.pid, self.clock.uptime());
    }

    /// Writes a line of the kernel's own to the console.
    pub fn printf(&self, text: &str) {
        self.rumpuser.console(text.as_bytes());
    }

    /// Ends the kernel (reboot(2)) with the `RB_*` bits of `howto`; whoever drives it sees [`Kernel::halted`].
    pub fn halt(&self, howto: i32) {
        self.printf("rump kernel halting...\n");
        self.halted.store(howto & i32::MAX, Ordering::SeqCst);
    }

    /// Takes all file systems away and writes them back, unless the kernel was halted with `RB_NOSYNC` or `RB_DUMP`; no call is served then.
    pub fn shutdown(&self) {
        let howto = self.halted().unwrap_or(RB_AUTOBOOT);
        self.vfs.shutdown(howto & (RB_NOSYNC | RB_DUMP) == 0);
    }

    /// Returns how the kernel was ended, if it was.
    pub fn halted(&self) -> Option<i32> {
        Some(self.halted.load(Ordering::SeqCst)).filter(|howto| *howto != RUNNING)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.softclock.unpark();
    }
}

/// Body of the softclock thread; it ends with the kernel.
fn softclock(kernel: &Weak<Kernel>, parker: &dyn Parker) {
    while let Some(running) = kernel.upgrade() {
        let next = running.net.run_timers(running.clock.uptime());
        drop(running);
        parker.park(next);
    }
}
