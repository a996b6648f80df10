//! Pseudo terminals (pts(4), tty_ioctl(4)).
//!
//! [`line`] is the line discipline, a state machine; [`pty`] puts a master and a slave around it; [`ioctl`] serves their commands;
//! [`job`] knows which session a terminal controls and who is in its foreground. [`Terminals`] are the terminals of a kernel.
//!
//! Sessions and process groups are the host's: setsid(2), setpgid(2) and kill(2) of a program go there. So the terminal keeps
//! the host's numbers, asks the host in which group a caller is, and lets the host signal a group, members that never call the rump
//! kernel included. This needs to know for certain which process of the host a client is
//! ([`Proc::local_pid`](crate::proc::Proc)): over a unix socket the host says it, in a kernel of its own a program is it itself. Anybody
//! else (over tcp, in another pid name space) has terminals without job control: none can become its controlling terminal.

pub mod ioctl;
pub mod job;
pub mod line;
mod output;
pub mod pty;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use abi::{Errno, Result};

use crate::proc::lock;
pub use job::{Caller, Use};
pub use pty::{End, Pty, Side};

/// Terminals at most (`/proc/sys/kernel/pty/max`).
const TERMINALS_MAX: u32 = 4096;

/// The pseudo terminals of a kernel.
#[derive(Default)]
pub struct Terminals {
    all: Mutex<BTreeMap<u32, Weak<Pty>>>,
}

impl Terminals {
    /// Makes a terminal with the lowest free number and returns its master; `ENOSPC` if there are too many.
    pub fn open_master(self: &Arc<Self>, owner: pty::Owner) -> Result<End> {
        let mut all = lock(&self.all);
        all.retain(|_, pty| pty.strong_count() > 0);
        let index = (0..TERMINALS_MAX).find(|index| !all.contains_key(index)).ok_or(Errno::ENOSPC)?;
        let pty = Arc::new(Pty::new(index, owner));
        all.insert(index, Arc::downgrade(&pty));
        Ok(End::master(pty))
    }

    /// Returns the terminal with this number, if its master is open; `ENXIO` if not.
    pub fn get(&self, index: u32) -> Result<Arc<Pty>> {
        let pty = lock(&self.all).get(&index).and_then(Weak::upgrade);
        pty.filter(|pty| pty.has_master()).ok_or(Errno::ENXIO)
    }

    /// Lists the terminals whose master is open, by number.
    pub fn list(&self) -> Vec<Arc<Pty>> {
        let mut all = self.everyone();
        all.retain(|pty| pty.has_master());
        all
    }

    /// All terminals, hung up ones too.
    fn everyone(&self) -> Vec<Arc<Pty>> {
        lock(&self.all).values().filter_map(Weak::upgrade).collect()
    }

    /// Returns the terminal that controls a session.
    pub fn of_session(&self, session: i32) -> Option<Arc<Pty>> {
        self.list().into_iter().find(|pty| pty.controls(session))
    }

    /// Takes note that a process has ended: the terminal that it was given as a session's leader is free, and its foreground is told.
    pub fn leader_gone(&self, pid: i32) {
        for pty in self.everyone() {
            pty.leader_gone(pid);
        }
    }
}

#[cfg(test)]
mod tests;
