//! Signals of a file that became ready: `F_SETOWN`, `F_SETSIG` and their kin, `O_ASYNC` (fcntl(2)).
//!
//! The host's kernel sends them, for an end of a pipe that our server hands out (`kernel/src/sigio.rs`). All that a program asks on its
//! file is asked on that end, and kept there by the host, also over fork and exec; the end itself is closed at once. A server that can hand
//! nothing over (tcp, NetBSD's) keeps the owner and refuses the rest.

use abi::stat::{S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK};
use abi::syscalls::nr;
use abi::{Errno, InOut, Result, Slot, fcntl};
use client::{Caller, stubs};
use linux_raw_sys::ioctl as linux;
use sysproxy::host::Owned;

use super::{attr, kernel};
use crate::entry::{Call, Return, Word, hooked};
use crate::fds::{self, RumpFd};
use crate::{raw, trace, user};

/// The commands of fcntl(2) that libc's headers have and its crate lacks.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
/// What the owner of a file is: a thread, a process, a group of processes.
const F_OWNER_TID: i32 = 0;
const F_OWNER_PID: i32 = 1;
const F_OWNER_PGRP: i32 = 2;

/// The sides of a file, as the server numbers them: reading and writing.
const SIDES: [i32; 2] = [0, 1];
/// The side of urgent data, which signals the owner always (`SIGURG`).
const URGENT: i32 = 2;

/// Whether a command of fcntl(2) is about these signals.
pub fn concerns(command: i32) -> bool {
    matches!(command, libc::F_SETOWN | libc::F_GETOWN | F_SETSIG | F_GETSIG | F_SETOWN_EX | F_GETOWN_EX)
}

/// The host's end for one side of a file.
fn end(rump: RumpFd, side: i32) -> Result<Owned> {
    let given = kernel()?.call_for_descriptor(nr::sigio, &[rump.fd().to_slot(), side.to_slot()])?;
    given.ok_or(Errno::EOPNOTSUPP)
}

/// See fcntl(2).
pub fn control(rump: RumpFd, command: i32, arg: usize) -> Result<usize> {
    let [read, write] = SIDES;
    let ask = |end: &Owned| raw::checked(raw::fcntl(end.fd().0, command, arg));
    let read = match end(rump, read) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return kept(kernel()?, rump, command, arg),
        end => ask(&end?)?,
    };
    match command {
        libc::F_SETOWN | F_SETOWN_EX => {
            urge(rump, command, arg)?;
            ask(&end(rump, write)?)
        }
        F_SETSIG => ask(&end(rump, write)?),
        _ => Ok(read),
    }
}

/// Has the host signal the owner when urgent data comes, if the file can have any.
fn urge(rump: RumpFd, command: i32, arg: usize) -> Result<()> {
    let end = match end(rump, URGENT) {
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        end => end?,
    };
    let ask = |command, arg| raw::checked(raw::fcntl(end.fd().0, command, arg)).map(drop);
    ask(command, arg)?;
    ask(F_SETSIG, libc::SIGURG as usize)?;
    ask(libc::F_SETFL, raw::word(libc::O_NONBLOCK | libc::O_ASYNC))
}

/// What can be kept where no signal is sent: the owner, at the server.
fn kept(kernel: &dyn Caller, rump: RumpFd, command: i32, arg: usize) -> Result<usize> {
    let own = |owner: i32| {
        let owner = InOut::at(u64::from(owner as u32), 0);
        stubs::fcntl(kernel, rump.fd(), fcntl::F_SETOWN, owner).map(|value| value as usize)
    };
    let owner = || stubs::fcntl(kernel, rump.fd(), fcntl::F_GETOWN, InOut::NULL);
    match command {
        libc::F_GETOWN => owner().map(|owner| owner as usize),
        libc::F_SETOWN => own(arg as i32),
        F_SETOWN_EX => match user::read::<[i32; 2]>(arg)? {
            [F_OWNER_TID | F_OWNER_PID, id] => own(id),
            [F_OWNER_PGRP, id] => own(-id),
            [_, _] => Err(Errno::EINVAL),
        },
        F_GETOWN_EX => {
            let owner = owner()?;
            let kind = if owner < 0 { F_OWNER_PGRP } else { F_OWNER_PID };
            user::write(arg, &[kind, owner.abs()]).map(|()| 0)
        }
        F_SETSIG if arg != 0 => {
            trace::say(format_args!("fcntl: F_SETSIG: this server can have no signal sent for a file"));
            Err(Errno::EINVAL)
        }
        _ => Ok(0),
    }
}

/// Has the host signal, with the program's number of the file in `siginfo_t`, from now on; the server begins to tell with the flag itself.
/// Whether the file is of a kind that tells: on Linux the flag stays off where it is not.
///
/// `EOPNOTSUPP` where the server can have no signal sent.
pub fn begin(number: i32, rump: RumpFd) -> Result<bool> {
    let status = stubs::fcntl(kernel()?, rump.fd(), fcntl::F_GETFL, InOut::NULL)?;
    if status & fcntl::O_ASYNC != 0 {
        return Ok(true);
    }
    if !matches!(attr::status(rump)?.st_mode & S_IFMT, S_IFSOCK | S_IFIFO | S_IFCHR) {
        return Ok(false);
    }
    for side in SIDES {
        match end(rump, side) {
            Ok(end) => ask(number, rump, &end)?,
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                trace::say(format_args!("O_ASYNC: this server can have no signal sent for descriptor {number}"));
                return Err(Errno::EOPNOTSUPP);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Sets `O_ASYNC` on an end by the number `number`: the host notes the number that the flag is set by. The placeholder is back before anybody
/// else can see that it was away: forks wait for the lock, and other calls do not reach the host with this number.
fn ask(number: i32, rump: RumpFd, end: &Owned) -> Result<()> {
    let _lock = fds::lock();
    if fds::lookup(number) != Some(rump) {
        return Err(Errno::EBADF);
    }
    let closes = raw::fcntl(number, libc::F_GETFD, 0) & libc::FD_CLOEXEC as isize != 0;
    let flags = if closes { libc::O_CLOEXEC } else { 0 };
    raw::checked(raw::dup3(end.fd().0, number, flags))?;
    // Off first: a flag that is on already would keep the number that it was set by.
    let set = [libc::O_NONBLOCK, libc::O_NONBLOCK | libc::O_ASYNC]
        .map(|status| raw::checked(raw::fcntl(number, libc::F_SETFL, raw::word(status))));
    raw::checked(raw::dup3(fds::template(), number, flags))?;
    set.into_iter().try_for_each(|set| set.map(drop))
}

/// See ioctl(2): the commands of sockets that are twins of fcntl's. `None` for any other.
pub fn ioctl(rump: RumpFd, number: i32, command: u32, data: usize) -> Option<Result<usize>> {
    let twin = match command {
        linux::FIOASYNC => {
            let tells = user::read::<i32>(data).and_then(|on| if on != 0 { begin(number, rump) } else { Ok(true) });
            // The flag itself goes to the server like any other command.
            return match tells {
                Ok(true) => None,
                Ok(false) => Some(Err(Errno::ENOTTY)),
                Err(error) => Some(Err(error)),
            };
        }
        linux::FIOSETOWN | linux::SIOCSPGRP => {
            user::read::<i32>(data).and_then(|owner| control(rump, libc::F_SETOWN, owner as usize))
        }
        linux::FIOGETOWN | linux::SIOCGPGRP => owner(rump).and_then(|owner| user::write(data, &owner)).map(|()| 0),
        _ => return None,
    };
    Some(twin)
}

/// The owner, negative for a group.
fn owner(rump: RumpFd) -> Result<i32> {
    let mut owner = [0i32; 2];
    control(rump, F_GETOWN_EX, owner.as_mut_ptr() as usize)?;
    let [kind, id] = owner;
    Ok(if kind == F_OWNER_PGRP { -id } else { id })
}

/// fcntl(2) as a function: as in libc, a group whose number could be taken for an error is none.
pub fn function<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let [fd, command, ..] = args;
    if command as i32 != libc::F_GETOWN || fds::lookup(fd as i32).is_none() {
        return hooked(nr, wanted, args, real.map(|real| move || real(args)));
    }
    let mut owner = [0i32; 2];
    let args = [fd, F_GETOWN_EX as usize, owner.as_mut_ptr() as usize, 0, 0, 0];
    let got: R = hooked(nr, wanted, args, real.map(|real| move || real(args)));
    match (got.word() as i32, owner) {
        (0, [F_OWNER_PGRP, id]) => R::of(-(id as isize)),
        (0, [_, id]) => R::of(id as isize),
        _ => got,
    }
}
