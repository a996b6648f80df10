//! A pseudo terminal: what is written to the master is typed, what is printed on the slave is read from the master.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use abi::ioctl::Winsize;
use abi::ioctl::termios::{VMIN, VTIME};
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM};
use abi::signal::{SIGCONT, SIGHUP};
use abi::stat::{S_IFCHR, Stat};
use abi::time::Timespec;
use abi::{Errno, Result};

use super::job::Control;
use super::line::Line;
use crate::Cx;
use crate::file::{Events, File};
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::wait::{NOTHING_NEW, WaitQueue};

/// Whose a terminal is from the start, and what its node shows.
#[derive(Clone)]
pub struct Owner {
    /// The host, which signals.
    pub host: Arc<dyn Rumpuser>,
    /// User of the node.
    pub uid: u32,
    /// Group of the node.
    pub gid: u32,
}

/// A pseudo terminal.
pub struct Pty {
    /// The `N` of `/dev/pts/N`.
    pub index: u32,
    /// Whose it is.
    pub owner: Owner,
    /// When it was made, wall clock.
    pub since: Timespec,
    pub(super) state: Mutex<State>,
    masters: WaitQueue,
    slaves: WaitQueue,
}

/// What the two sides share.
pub(super) struct State {
    pub line: Line,
    pub size: Winsize,
    /// The slave cannot be opened: nobody has called unlockpt(3) yet.
    pub locked: bool,
    /// Only the superuser may open the slave.
    pub exclusive: bool,
    /// The same was said of the master, which cannot be opened again anyway.
    pub exclusive_master: bool,
    /// Nothing can be typed: the master has stopped itself.
    pub typing_stopped: bool,
    /// Masters that are open: one open file, until it is closed.
    pub has_master: bool,
    /// Slaves that are open.
    slaves: usize,
    /// The last of them was closed: the master is told.
    left: bool,
    /// The session that it controls.
    pub control: Option<Control>,
}

/// The two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `/dev/ptmx`.
    Master,
    /// `/dev/pts/N`.
    Slave,
}

/// How a read waits (`VMIN`, `VTIME`).
pub struct Pace {
    /// It ends when it has this much.
    pub least: usize,
    /// It ends when nothing came for this long since it began.
    pub first: Option<Duration>,
    /// It ends when nothing came for this long since the last character.
    pub between: Option<Duration>,
}

impl Pty {
    pub(super) fn new(index: u32, owner: Owner) -> Self {
        let state = State {
            line: Line::new(),
            size: Winsize::default(),
            locked: true,
            exclusive: false,
            exclusive_master: false,
            typing_stopped: false,
            has_master: true,
            slaves: 0,
            left: false,
            control: None,
        };
        let since = Timespec::from_duration(owner.host.wall_clock());
        let (masters, slaves) = (WaitQueue::new(), WaitQueue::new());
        Self { index, owner, since, state: Mutex::new(state), masters, slaves }
    }

    /// Whether the master is open: if not, it is hung up for good.
    pub fn has_master(&self) -> bool {
        lock(&self.state).has_master
    }

    /// Opens the slave. `EIO` while it is locked or when it is hung up, `EBUSY` if it is someone's alone.
    pub fn open_slave(self: &Arc<Self>, privileged: bool) -> Result<End> {
        let mut state = lock(&self.state);
        if state.locked || !state.has_master {
            return Err(Errno::EIO);
        }
        if state.exclusive && !privileged {
            return Err(Errno::EBUSY);
        }
        state.slaves += 1;
        state.left = false;
        drop(state);
        Ok(End { pty: self.clone(), side: Side::Slave })
    }

    /// Lets go of the state, sends the signals that wait there, and wakes both sides.
    pub(super) fn settle(&self, mut state: MutexGuard<'_, State>, masters: Events, slaves: Events) {
        let signals = std::mem::take(&mut state.line.signals);
        let foreground = state.control.map(|control| control.foreground);
        drop(state);
        for signal in signals {
            if let Some(foreground) = foreground {
                self.owner.host.signal_group(foreground, signal);
            }
        }
        self.masters.wake_for(masters);
        self.slaves.wake_for(slaves);
    }

    /// Wakes everybody who waits at the terminal.
    pub(super) fn wake(&self) {
        self.masters.wake();
        self.slaves.wake();
    }

    /// The master was closed: what is still open reads an end and cannot write, and the session's leader is told.
    fn hang_up(&self) {
        let mut state = lock(&self.state);
        state.has_master = false;
        let control = state.control;
        drop(state);
        if let Some(control) = control {
            self.owner.host.signal_process(control.session, SIGHUP);
            self.owner.host.signal_process(control.session, SIGCONT);
        }
        self.wake();
    }
}

/// An open master or slave.
pub struct End {
    /// The terminal.
    pub pty: Arc<Pty>,
    /// Which side.
    pub side: Side,
}

impl End {
    pub(super) fn master(pty: Arc<Pty>) -> Self {
        Self { pty, side: Side::Master }
    }

    /// How a read waits.
    pub fn pace(&self) -> Pace {
        let state = lock(&self.pty.state);
        if self.side == Side::Master || state.line.canonical() {
            return Pace { least: 1, first: None, between: None };
        }
        let tenths = |which| Duration::from_millis(100 * u64::from(state.line.character(which)));
        let (least, time) = (usize::from(state.line.character(VMIN)), tenths(VTIME));
        match (least, time.is_zero()) {
            (0, true) => Pace { least: 1, first: None, between: None },
            (0, false) => Pace { least: 1, first: Some(time), between: None },
            (least, true) => Pace { least, first: None, between: None },
            (least, false) => Pace { least, first: None, between: Some(time) },
        }
    }

    fn read_master(&self, buf: &mut [u8]) -> Result<usize> {
        let mut state = lock(&self.pty.state);
        let Some((head, rest)) = buf.split_first_mut() else { return Ok(0) };
        let packet = state.line.packet;
        if packet && state.line.status != 0 {
            *head = std::mem::take(&mut state.line.status);
            return Ok(1);
        }
        if state.line.output.is_empty() {
            return Err(if state.left { Errno::EIO } else { Errno::EAGAIN });
        }
        let was_full = state.line.output.room() == 0;
        let len = match packet {
            true => {
                // TIOCPKT_DATA
                *head = 0;
                1 + state.line.take_output(rest)
            }
            false => state.line.take_output(buf),
        };
        let room = was_full && state.line.output.room() > 0;
        self.pty.settle(state, NOTHING_NEW, if room { POLLOUT | POLLWRNORM } else { NOTHING_NEW });
        Ok(len)
    }

    fn read_slave(&self, buf: &mut [u8]) -> Result<usize> {
        let mut state = lock(&self.pty.state);
        if !state.has_master || buf.is_empty() {
            return Ok(0);
        }
        let was_full = state.line.feed_room() == 0;
        match state.line.read(buf) {
            Some(len) => {
                let room = was_full && state.line.feed_room() > 0;
                let told = if room { POLLOUT | POLLWRNORM } else { NOTHING_NEW };
                // What waited for room may be a line now, and echoed.
                self.pty.settle(state, told | POLLIN | POLLRDNORM, POLLIN | POLLRDNORM);
                Ok(len)
            }
            None if !state.line.canonical() && state.line.character(VMIN) == 0 && state.line.character(VTIME) == 0 => {
                Ok(0)
            }
            None => Err(Errno::EAGAIN),
        }
    }
}

impl File for End {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        match self.side {
            Side::Master => self.read_master(buf),
            Side::Slave => self.read_slave(buf),
        }
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        let mut state = lock(&self.pty.state);
        if !state.has_master {
            return Err(Errno::EIO);
        }
        let taken = match self.side {
            Side::Slave => state.line.write(buf),
            Side::Master if state.typing_stopped => None,
            Side::Master => Some(state.line.feed(buf)).filter(|taken| *taken > 0 || buf.is_empty()),
        };
        // Who finds no room has nothing to tell: two who both wait for room would wake each other for ever.
        let taken = taken.ok_or(Errno::EAGAIN)?;
        // Either way there may be output: echoes of what is typed.
        let typed = if self.side == Side::Master { POLLIN | POLLRDNORM } else { NOTHING_NEW };
        self.pty.settle(state, POLLIN | POLLRDNORM, typed);
        Ok(taken)
    }

    fn ready(&self) -> Events {
        const READ: Events = POLLIN | POLLRDNORM;
        const WRITE: Events = POLLOUT | POLLWRNORM;
        let state = lock(&self.pty.state);
        let mut events = 0;
        let mut when = |holds, bits| events |= if holds { bits } else { 0 };
        match self.side {
            Side::Master => {
                let told = state.line.packet && state.line.status != 0;
                when(!state.line.output.is_empty() || told, READ);
                when(told, POLLPRI);
                when(state.line.feed_room() > 0 && !state.typing_stopped, WRITE);
                when(state.left, POLLHUP);
            }
            Side::Slave if !state.has_master => when(true, READ | WRITE | POLLERR | POLLHUP),
            Side::Slave => {
                let least = match state.line.character(VTIME) {
                    0 => usize::from(state.line.character(VMIN)).max(1),
                    _ => 1,
                };
                when(state.line.available(least), READ);
                when(state.line.output.room() > 0, WRITE);
            }
        }
        events
    }

    fn wait_queue(&self) -> &WaitQueue {
        match self.side {
            Side::Master => &self.pty.masters,
            Side::Slave => &self.pty.slaves,
        }
    }

    /// Only asked of a slave that was opened by its master, without a name.
    fn stat(&self) -> Result<Stat> {
        let (since, owner) = (self.pty.since, &self.pty.owner);
        let times = Stat { st_atim: since, st_mtim: since, st_ctim: since, st_birthtim: since, ..Stat::default() };
        let device = abi::device::pts(self.pty.index);
        let (st_uid, st_gid) = (owner.uid, owner.gid);
        Ok(Stat { st_mode: S_IFCHR | 0o620, st_rdev: device, st_nlink: 1, st_uid, st_gid, st_blksize: 1024, ..times })
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        super::ioctl::ioctl(self, cx, command, data)
    }

    fn as_terminal(&self) -> Option<&End> {
        Some(self)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.side == Side::Master {
            return self.pty.hang_up();
        }
        let mut state = lock(&self.pty.state);
        state.slaves -= 1;
        state.left = state.slaves == 0;
        let left = state.left;
        drop(state);
        if left {
            self.pty.masters.wake();
        }
    }
}
