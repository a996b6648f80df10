//! Job control: which session a terminal controls, who is in its foreground, and what the others must not do.

use std::sync::Arc;

use abi::ioctl::termios::TOSTOP;
use abi::signal::{SIGCONT, SIGHUP};
use abi::{Errno, Result};

use super::pty::{End, Pty, Side};
use crate::proc::{Proc, lock};
use crate::rumpuser::Rumpuser;
use crate::rumpuser::jobs::Group;
use crate::{Cx, Kernel};

/// The session that a terminal controls, in numbers of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The session; also the process that leads it.
    pub session: i32,
    /// The process group in the foreground.
    pub foreground: i32,
}

/// What a process is about to do with its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Change its settings, its foreground, or what is on its way.
    Change,
}

/// Who does something with a terminal.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The process.
    pub proc: &'a Proc,
}

impl<'a> From<&'a Cx<'_>> for Caller<'a> {
    fn from(cx: &'a Cx<'_>) -> Self {
        Self { kernel: cx.kernel, proc: cx.proc }
    }
}

/// Group and session of a process on the host; `None` if that is not certain.
pub fn group_of(proc: &Proc, host: &dyn Rumpuser) -> Option<Group> {
    host.group_of(proc.local_pid()?)
}

/// The terminal that controls the calling process; `ENXIO` if there is none, as open(2) of `/dev/tty` says.
pub fn controlling(cx: Caller<'_>) -> Result<Arc<Pty>> {
    let group = group_of(cx.proc, &*cx.kernel.rumpuser).ok_or(Errno::ENXIO)?;
    let pty = cx.kernel.terminals.of_session(group.session).ok_or(Errno::ENXIO)?;
    if cx.proc.gave_up_terminal(group.session) { Err(Errno::ENXIO) } else { Ok(pty) }
}

impl Pty {
    pub(super) fn controls(&self, session: i32) -> bool {
        lock(&self.state).control.is_some_and(|control| control.session == session)
    }

    /// The group of the caller, if this is its controlling terminal, and what is in the foreground.
    fn caller(&self, cx: Caller<'_>) -> Option<(Group, Control)> {
        let control = lock(&self.state).control?;
        let group = group_of(cx.proc, &*cx.kernel.rumpuser).filter(|group| group.session == control.session)?;
        (!cx.proc.gave_up_terminal(group.session)).then_some((group, control))
    }

    /// Whether the terminal controls the caller, and another group is in its foreground.
    pub fn in_background(&self, cx: Caller<'_>) -> bool {
        self.caller(cx).is_some_and(|(group, control)| group.pgrp != control.foreground)
    }

    /// Makes this the controlling terminal of the session that the caller leads (`TIOCSCTTY`).
    ///
    /// `EPERM` if it leads none, has a terminal, or the terminal has another session: only the superuser may `steal` that.
    pub fn take_control(&self, cx: Caller<'_>, steal: bool) -> Result<()> {
        let host = &*cx.kernel.rumpuser;
        let group = group_of(cx.proc, host).ok_or(Errno::EPERM)?;
        let leads = cx.proc.local_pid() == Some(group.session);
        if leads && self.controls(group.session) {
            return Ok(());
        }
        let has_one = cx.kernel.terminals.of_session(group.session).is_some() || host.has_terminal(group.session);
        if !leads || has_one {
            return Err(Errno::EPERM);
        }
        let mut state = lock(&self.state);
        if state.control.is_some() && !(steal && cx.proc.credentials().privileged()) {
            return Err(Errno::EPERM);
        }
        state.control = Some(Control { session: group.session, foreground: group.pgrp });
        Ok(())
    }

    /// Gives the terminal up (`TIOCNOTTY`): for the whole session if its leader does; `ENOTTY` if it is not the caller's.
    pub fn give_up(&self, cx: Caller<'_>) -> Result<()> {
        let (group, control) = self.caller(cx).ok_or(Errno::ENOTTY)?;
        if cx.proc.local_pid() != Some(group.session) {
            cx.proc.give_up_terminal(group.session);
            return Ok(());
        }
        lock(&self.state).control = None;
        self.owner.host.signal_group(control.foreground, SIGHUP);
        self.owner.host.signal_group(control.foreground, SIGCONT);
        self.wake();
        Ok(())
    }

    /// The leader of a session has ended.
    pub(super) fn leader_gone(&self, pid: i32) {
        let mut state = lock(&self.state);
        let Some(control) = state.control.take_if(|control| control.session == pid) else { return };
        let hung_up = !state.has_master;
        drop(state);
        self.owner.host.signal_group(control.foreground, SIGHUP);
        if hung_up {
            self.owner.host.signal_group(control.foreground, SIGCONT);
        }
        self.wake();
    }

    /// Returns the foreground (`TIOCGPGRP`). Of a slave only to whom it controls; 0 if it controls nobody.
    pub fn foreground(&self, cx: Caller<'_>, side: Side) -> Result<i32> {
        self.visible(cx, side)?;
        Ok(lock(&self.state).control.map_or(0, |control| control.foreground))
    }

    /// Returns the session (`TIOCGSID`); `ENOTTY` if it controls none.
    pub fn session(&self, cx: Caller<'_>, side: Side) -> Result<i32> {
        self.visible(cx, side)?;
        lock(&self.state).control.map(|control| control.session).ok_or(Errno::ENOTTY)
    }

    /// Returns the foreground while the terminal controls `session`.
    pub fn foreground_of(&self, session: i32) -> Option<i32> {
        let control = lock(&self.state).control?;
        (control.session == session).then_some(control.foreground)
    }

    fn visible(&self, cx: Caller<'_>, side: Side) -> Result<()> {
        if side == Side::Slave && self.caller(cx).is_none() { Err(Errno::ENOTTY) } else { Ok(()) }
    }

    /// Puts a group into the foreground (`TIOCSPGRP`): `ENOTTY` unless this is the caller's terminal, `ESRCH` for a group that does
    /// not exist, `EPERM` for one of another session.
    pub fn set_foreground(&self, cx: Caller<'_>, pgrp: i32) -> Result<()> {
        let (group, _) = self.caller(cx).ok_or(Errno::ENOTTY)?;
        if pgrp < 0 {
            return Err(Errno::EINVAL);
        }
        let session = cx.kernel.rumpuser.session_of_group(pgrp).ok_or(Errno::ESRCH)?;
        if session != group.session {
            return Err(Errno::EPERM);
        }
        if let Some(control) = &mut lock(&self.state).control {
            control.foreground = pgrp;
        }
        // Who sleeps in a read looks again whether it may.
        self.wake();
        Ok(())
    }
}

impl End {
    /// Refuses what a process in the background must not do: `EBACKGROUND…` for our own client, which knows what becomes of its
    /// signals. No other client can have a controlling terminal.
    pub fn may(&self, cx: Caller<'_>, how: Use) -> Result<()> {
        if self.side == Side::Master || !self.pty.in_background(cx) {
            return Ok(());
        }
        if how == Use::Write && lock(&self.pty.state).line.termios().c_lflag & TOSTOP as u32 == 0 {
            return Ok(());
        }
        let host = &*cx.kernel.rumpuser;
        let orphaned = group_of(cx.proc, host).is_none_or(|group| host.is_orphaned(group.pgrp));
        Err(match how {
            Use::Read if orphaned => Errno::EIO,
            Use::Read => Errno::EBACKGROUNDREAD,
            _ if orphaned => Errno::EBACKGROUNDORPHAN,
            _ => Errno::EBACKGROUNDWRITE,
        })
    }

    /// Acquires the terminal for the session of who has just opened it, as Linux does without `O_NOCTTY`: if it leads a session, and
    /// neither has one yet.
    pub fn opened(&self, cx: Caller<'_>) {
        if self.side == Side::Slave && lock(&self.pty.state).control.is_none() {
            // Whoever cannot have it goes without.
            let _ = self.pty.take_control(cx, false);
        }
    }
}
