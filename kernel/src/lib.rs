//! A rump kernel: file name space, TCP/IP stack, processes and descriptors of its own, in user space.
//!
//! [`Kernel::boot`] makes one; it is a value, so a test boots as many as it likes. Whatever a client may do goes
//! through [`syscall::syscall`]. All that the kernel needs of its host goes through [`rumpuser::Rumpuser`].

#![deny(unsafe_code)]

pub mod clock;
pub mod config;
pub mod dev;
pub mod fdtable;
pub mod file;
pub mod fs;
pub mod net;
pub mod proc;
pub mod rumpuser;
pub mod server;
pub mod syscall;
pub mod sysctl;
pub mod usermem;
pub mod vfs;
pub mod wait;

use std::sync::Arc;

use proc::{Lwp, Proc};
use rumpuser::Rumpuser;
use usermem::UserMem;

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
    /// File name space; empty when the component is absent.
    pub vfs: vfs::Vfs,
    /// Sockets and the network stack.
    pub net: net::Net,
}

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
