//! Hypercalls: all that the kernel asks of its host (rumpuser(3)).
//!
//! [`linux::LinuxHost`] is the real host, [`sim::SimHost`] a simulated one for tests: virtual time, seeded
//! randomness, injected failures.

use std::path::Path;
use std::time::Duration;

use abi::{Errno, Result};

pub use bell::{Bell, LinuxBell, Side};
pub use file::{Access, HostFile, HostKind};
pub use folder::{Found, HostChange, HostEntry, HostNode, HostSizes};
pub use shared::SharedMemory;
pub use wire::{Bus, Port, Signal};

pub mod bell;
pub mod file;
pub mod folder;
pub mod jobs;
pub mod linux;
pub mod memory;
pub mod shared;
pub mod sim;
pub mod simfolder;
pub mod stream;
pub mod wire;

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// [`Parker::unpark`] was called.
    Unparked,
    /// The time came.
    TimedOut,
    /// The host has a signal for the sleeping thread (only in local mode).
    Signalled,
}

/// A place for one thread to sleep. An `unpark` before the `park` is not lost.
pub trait Parker: Send + Sync {
    /// Sleeps until [`Parker::unpark`], or until the host's monotonic clock reads `deadline`.
    fn park(&self, deadline: Option<Duration>) -> Woken;
    /// Wakes the thread that sleeps here, or the next that would.
    fn unpark(&self);
}

/// The host of a kernel.
pub trait Rumpuser: Send + Sync {
    /// Time since some fixed point, never set back.
    fn monotonic(&self) -> Duration;
    /// Time since 1970-01-01 00:00 UTC.
    fn wall_clock(&self) -> Duration;
    /// Fills `buf` with random bytes.
    fn random(&self, buf: &mut [u8]);
    /// Writes to the console; what the host refuses is lost.
    fn console(&self, bytes: &[u8]);
    /// Makes a place to sleep.
    fn parker(&self) -> Box<dyn Parker>;
    /// Starts a kernel thread; `EAGAIN` if the host has none left.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<()>;
    /// Asks whether `bytes` more of memory may be taken (`RUMP_MEMLIMIT`, injected failures); `ENOMEM` if not.
    fn reserve(&self, bytes: usize) -> Result<()>;
    /// Gives back what [`Rumpuser::reserve`] granted.
    fn release(&self, bytes: usize);
    /// Number of CPUs that the host has online.
    fn cpus(&self) -> usize;
    /// Physical memory of the host in bytes.
    fn physical_memory(&self) -> u64;
    /// The host's own name.
    fn host_name(&self) -> String;
    /// The host's id of the process that holds the kernel.
    fn host_pid(&self) -> u32;
    /// Group and session of a process of the host; `None` if it does not exist, or the host has none to show.
    fn group_of(&self, _pid: i32) -> Option<jobs::Group> {
        None
    }
    /// The session of a group of the host's processes; `None` if nobody is in it.
    fn session_of_group(&self, _pgrp: i32) -> Option<i32> {
        None
    }
    /// Whether nobody could continue the processes of a group if they were stopped.
    fn is_orphaned(&self, _pgrp: i32) -> bool {
        false
    }
    /// What the host shows about a process under this name of `/proc/PID`.
    fn process_file(&self, _pid: i32, _name: &str) -> Option<Vec<u8>> {
        None
    }
    /// The target of a link that the host shows about a process.
    fn process_link(&self, _pid: i32, _name: &str) -> Option<Vec<u8>> {
        None
    }
    /// The numbers of a process's threads.
    fn process_threads(&self, _pid: i32) -> Vec<i32> {
        Vec::new()
    }
    /// Whether a process has a controlling terminal of the host.
    fn has_terminal(&self, _pid: i32) -> bool {
        false
    }
    /// Sends a signal, NetBSD's number, to a group of the host's processes.
    fn signal_group(&self, _pgrp: i32, _signal: i32) {}
    /// Sends a signal, NetBSD's number, to a process of the host.
    fn signal_process(&self, _pid: i32, _signal: i32) {}
    /// Makes memory that clients can map; `EOPNOTSUPP` on a host that has no such thing.
    fn shared_memory(&self) -> Result<Box<dyn SharedMemory>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Makes what signals programs (`O_ASYNC`); `EOPNOTSUPP` on a host that has no signals.
    fn bell(&self) -> Result<Box<dyn Bell>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Makes such memory for content that has become large, if that is better kept there than in the kernel's own: all of it goes
    /// back to the host at once, and clients can map it.
    fn large_memory(&self) -> Option<Box<dyn SharedMemory>> {
        None
    }
    /// Opens a file of the host that exists; a host that shows none answers `EOPNOTSUPP`.
    fn open_host(&self, _path: &Path, _access: Access) -> Result<Box<dyn HostFile>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Opens a folder of the host; a host that shows none answers `EOPNOTSUPP`.
    fn open_folder(&self, _path: &Path) -> Result<Box<dyn HostNode>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Makes a file of the host, or empties it.
    fn create_host(&self, _path: &Path) -> Result<Box<dyn HostFile>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Opens a tap interface of the host; a host that has none answers `EOPNOTSUPP`.
    fn open_tap(&self, _name: &str) -> Result<std::sync::Arc<dyn Port>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Opens a stream socket of the host for frames (see [`stream`]); a host that has none answers `EOPNOTSUPP`.
    fn open_stream(&self, _to: &str) -> Result<std::sync::Arc<dyn Port>> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Opens a file of the host as a bus of `len` bytes; a host that has no such thing answers `EOPNOTSUPP`.
    fn open_bus(&self, _path: &Path, _len: usize) -> Result<std::sync::Arc<dyn Bus>> {
        Err(Errno::EOPNOTSUPP)
    }
}
