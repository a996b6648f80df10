//! Commands of terminals (tty_ioctl(4), ioctl_tty(2)): NetBSD's, and Linux's where NetBSD has none.

use abi::ioctl::*;
use abi::signal::{SIGWINCH, signal_from_linux};
use abi::{Errno, Result, device};
use zerocopy::{FromBytes, IntoBytes};

use super::pty::{End, Side, State};
use crate::Cx;
use crate::file::Events;
use crate::proc::lock;
use crate::wait::{EVERYTHING, NOTHING_NEW};

/// Commands that a process of the background must not give.
const CHANGES: &[u64] = &[
    TIOCSETA, TIOCSETAW, TIOCSETAF, TIOCSPGRP, TIOCFLUSH, TIOCDRAIN, TCFLSH, TCXONC, TCSBRK, TCSBRKP, TIOCSBRK,
    TIOCCBRK, TIOCSETD,
];

/// Whether a command changes the terminal for everybody.
pub fn changes(command: u64) -> bool {
    CHANGES.contains(&command)
}

/// What throws away.
#[derive(Clone, Copy)]
struct Flush {
    input: bool,
    output: bool,
}

/// Serves a command of an open terminal.
///
/// `ENOTTY` for what is no command of this side, `EIO` for a slave that is hung up, `EINVAL` for an argument that means nothing. Input
/// cannot be faked (`TIOCSTI`: `EIO`, as on Linux unless `dev.tty.legacy_tiocsti` is set).
pub fn ioctl(end: &End, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
    if !end.pty.has_master() {
        return Err(if command == TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
    }
    match command {
        TIOCGETA => store(data, lock(&end.pty.state).line.termios().as_bytes()),
        TIOCSETA | TIOCSETAW | TIOCSETAF => set_termios(end, data, command == TIOCSETAF),
        TIOCGWINSZ => store(data, lock(&end.pty.state).size.as_bytes()),
        TIOCSWINSZ => set_size(end, data),
        TIOCGPGRP => store(data, end.pty.foreground(cx.into(), end.side)?.as_bytes()),
        TIOCSPGRP => end.pty.set_foreground(cx.into(), int(data)?),
        TIOCGSID => store(data, end.pty.session(cx.into(), end.side)?.as_bytes()),
        TIOCSCTTY => end.pty.take_control(cx.into(), int(data)? == 1),
        TIOCNOTTY => end.pty.give_up(cx.into()),
        FIONREAD => store(data, waiting(end).as_bytes()),
        // What is printed is with the master at once.
        FIONWRITE | TIOCOUTQ => store(data, 0i32.as_bytes()),
        TIOCDRAIN | TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK => Ok(()),
        TCFLSH => match int(data)? {
            0 => flush(end, Flush { input: true, output: false }),
            1 => flush(end, Flush { input: false, output: true }),
            2 => flush(end, Flush { input: true, output: true }),
            _ => Err(Errno::EINVAL),
        },
        TIOCFLUSH => match int(data)? {
            0 => flush(end, Flush { input: true, output: true }),
            which => flush(end, Flush { input: which & 1 != 0, output: which & 2 != 0 }),
        },
        TCXONC => flow(end, int(data)?),
        TIOCEXCL | TIOCNXCL => {
            *exclusive(end, &mut lock(&end.pty.state)) = command == TIOCEXCL;
            Ok(())
        }
        TIOCGEXCL => store(data, i32::from(*exclusive(end, &mut lock(&end.pty.state))).as_bytes()),
        TIOCGETD => store(data, 0i32.as_bytes()),
        TIOCSETD => {
            if int(data)? == 0 {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            }
        }
        TIOCGDEV => store(data, (device::to_linux(device::pts(end.pty.index)) as u32).as_bytes()),
        TIOCSTI => Err(Errno::EIO),
        _ if end.side == Side::Master => of_master(end, command, data),
        _ => Err(Errno::ENOTTY),
    }
}

fn of_master(end: &End, command: u64, data: &mut [u8]) -> Result<()> {
    let mut state = lock(&end.pty.state);
    match command {
        TIOCGPTN => store(data, end.pty.index.as_bytes()),
        TIOCSPTLCK => {
            state.locked = int(data)? != 0;
            Ok(())
        }
        TIOCGPTLCK => store(data, i32::from(state.locked).as_bytes()),
        TIOCPKT => {
            let packet = int(data)? != 0;
            if packet && !state.line.packet {
                state.line.status = 0;
            }
            state.line.packet = packet;
            Ok(())
        }
        TIOCGPKT => store(data, i32::from(state.line.packet).as_bytes()),
        TIOCSIG => {
            let signal = signal_from_linux(int(data)?).ok_or(Errno::EINVAL)?;
            state.line.signals.push(signal);
            end.pty.settle(state, NOTHING_NEW, NOTHING_NEW);
            Ok(())
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// The number that an argument holds; a value, where the command takes no pointer.
fn int(data: &[u8]) -> Result<i32> {
    Ok(i32::from_le_bytes(*data.first_chunk().ok_or(Errno::EINVAL)?))
}

fn store(data: &mut [u8], value: &[u8]) -> Result<()> {
    data.get_mut(..value.len()).ok_or(Errno::EINVAL)?.copy_from_slice(value);
    Ok(())
}

fn exclusive<'s>(end: &End, state: &'s mut State) -> &'s mut bool {
    match end.side {
        Side::Master => &mut state.exclusive_master,
        Side::Slave => &mut state.exclusive,
    }
}

/// Sets what both sides share, whichever asks.
fn set_termios(end: &End, data: &[u8], flushes: bool) -> Result<()> {
    let (termios, _) = Termios::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
    let mut state = lock(&end.pty.state);
    if flushes {
        state.line.flush_input();
    }
    state.line.set_termios(&termios);
    settle(end, state, EVERYTHING);
    Ok(())
}

/// The foreground is told of a size that is new.
fn set_size(end: &End, data: &[u8]) -> Result<()> {
    let (size, _) = Winsize::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
    let mut state = lock(&end.pty.state);
    if state.size != size {
        state.size = size;
        state.line.signals.push(SIGWINCH);
    }
    settle(end, state, NOTHING_NEW);
    Ok(())
}

fn waiting(end: &End) -> i32 {
    let state = lock(&end.pty.state);
    let len = if end.side == Side::Master { state.line.output.len() } else { state.line.readable() };
    len as i32
}

fn flush(end: &End, what: Flush) -> Result<()> {
    let mut state = lock(&end.pty.state);
    match end.side {
        Side::Slave => {
            if what.input {
                state.line.flush_input();
            }
            if what.output {
                state.line.flush_output();
            }
        }
        Side::Master => {
            if what.input {
                state.line.output.clear();
            }
            if what.output {
                state.line.flush_pending();
            }
        }
    }
    settle(end, state, EVERYTHING);
    Ok(())
}

fn flow(end: &End, action: i32) -> Result<()> {
    let mut state = lock(&end.pty.state);
    match (end.side, action) {
        (Side::Slave, _) if state.line.flow(action) => {}
        (Side::Master, 0 | 1) => state.typing_stopped = action == 0,
        (Side::Master, 2 | 3) => {
            // The master's own characters, which nobody can change: ^S and ^Q.
            let c = if action == 2 { 0o23 } else { 0o21 };
            state.line.feed(&[c]);
        }
        _ => return Err(Errno::EINVAL),
    }
    settle(end, state, EVERYTHING);
    Ok(())
}

fn settle(end: &End, state: std::sync::MutexGuard<'_, State>, news: Events) {
    end.pty.settle(state, news, news);
}
