//! System calls: the dispatcher, expanded from the table in `abi`, and the handlers, a family a file.
//!
//! A handler is called what its manual page is called and gets the arguments of its row. It decodes, checks and acts;
//! client memory it reaches through [`Cx::mem`] only, and where it has to wait it uses [`crate::wait::until`].

use std::sync::Arc;

use abi::syscalls::Faction;
use abi::{Errno, Fd, In, InOut, Out, Pad, Result, Retval, Slot, UserStr};

use crate::config::Component;
use crate::proc::{Lwp, Proc};
use crate::usermem::UserMem;
use crate::{Cx, Kernel};

pub mod cwd;
pub mod descriptor;
pub mod event;
pub mod file;
pub mod ident;
pub mod message;
pub mod mounting;
pub mod passing;
pub mod path;
pub mod poll;
pub mod sharing;
pub mod sigio;
pub mod socket;
pub mod system;
pub mod terminal;
pub mod time;
pub mod transfer;

/// Every handler by its name.
mod handlers {
    pub use super::cwd::*;
    pub use super::descriptor::*;
    pub use super::event::{kevent, kqueue, kqueue1};
    pub use super::file::*;
    pub use super::ident::*;
    pub use super::message::*;
    pub use super::mounting::*;
    pub use super::passing::*;
    pub use super::path::*;
    pub use super::poll::*;
    pub use super::sharing::*;
    pub use super::sigio::*;
    pub use super::socket::*;
    pub use super::system::*;
    pub use super::time::*;
    pub use super::transfer::*;
}

/// Slots of an argument block at most.
pub const SLOTS: usize = 8;

/// Runs a system call of `proc` on `lwp`; `args` is the argument block, missing slots count as zero.
///
/// `EBUSY` while an exec drains the process, `ESRCH` once it has ended; otherwise what the handler answers.
pub fn syscall(
    kernel: &Arc<Kernel>,
    proc: &Arc<Proc>,
    lwp: &Arc<Lwp>,
    nr: u32,
    args: &[u64],
    mem: &dyn UserMem,
) -> Result<[i64; 2]> {
    let _attached = proc.attach(lwp)?;
    let _current = crate::current::enter(kernel, proc);
    let result = dispatch(&Cx { kernel, proc, lwp, mem }, nr, args);
    if crate::current::take_beyond() && result == Err(Errno::EFBIG) {
        mem.raise(abi::signal::SIGXFSZ);
    }
    result
}

/// Cuts the bytes of an argument block into slots; short blocks are filled with zeros, long ones cut.
pub fn slots(block: &[u8]) -> [u64; SLOTS] {
    let mut slots = [0; SLOTS];
    for (slot, bytes) in slots.iter_mut().zip(block.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        *slot = u64::from_le_bytes(word);
    }
    slots
}

/// `K 6 close(fd: Fd) -> ();` becomes
/// `6 => { cx.require(Faction::K)?; let fd = Fd::from_slot(next()); handlers::close(cx, fd).map(|ret: ()| ret.to_retval()) }`.
macro_rules! dispatcher {
    ($($faction:ident $number:literal $name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
        fn dispatch(cx: &Cx<'_>, nr: u32, args: &[u64]) -> Result<[i64; 2]> {
            let mut args = args.iter().copied();
            let mut next = move || args.next().unwrap_or(0);
            match nr {
                $($number => {
                    require(cx, Faction::$faction)?;
                    let _ = &mut next;
                    $(let $arg = <$type as Slot>::from_slot(next());)*
                    apart(|| handlers::$name(cx, $($arg),*).map(|ret: $ret| ret.to_retval()))
                })*
                _ => unknown(cx, nr),
            }
        }
    };
}

abi::syscalls!(dispatcher);

/// Serves a call in a frame of its own: those of all calls in one would take 4 KiB of stack, and a thread of a program with a kernel in
/// its process may have no more than 16.
#[inline(never)]
fn apart(call: impl FnOnce() -> Result<[i64; 2]>) -> Result<[i64; 2]> {
    call()
}

/// `ENOSYS` if the component that serves a call is absent.
fn require(cx: &Cx<'_>, faction: Faction) -> Result<()> {
    let components = &cx.kernel.config.components;
    let there = match faction {
        Faction::K => true,
        Faction::V => components.has(Component::Vfs),
        Faction::N => components.has(Component::Net),
    };
    if there { Ok(()) } else { Err(Errno::ENOSYS) }
}

/// Calls that belong to a module which is not there, old variants included, as first and last number.
const MODULES: &[(u32, u32)] = &[
    (7, 8),
    (14, 14),
    (18, 19),
    (21, 21),
    (38, 38),
    (40, 40),
    (46, 46),
    (48, 48),
    (52, 53),
    (55, 55),
    (62, 65),
    (71, 71),
    (83, 89),
    (93, 93),
    (97, 97),
    (99, 99),
    (101, 103),
    (108, 114),
    (116, 117),
    (122, 122),
    (125, 125),
    (129, 130),
    (138, 138),
    (140, 146),
    (148, 150),
    (155, 158),
    (161, 164),
    (169, 171),
    (184, 190),
    (196, 196),
    (206, 206),
    (210, 210),
    (220, 234),
    (237, 238),
    (240, 240),
    (244, 244),
    (247, 266),
    (272, 272),
    (276, 276),
    (278, 280),
    (291, 291),
    (295, 295),
    (298, 303),
    (320, 320),
    (345, 345),
    (359, 359),
    (373, 374),
    (387, 389),
    (392, 393),
    (398, 406),
    (422, 422),
    (432, 434),
    (438, 438),
    (442, 444),
];

/// Answers a number without a row: `ENOSYS`, with SIGSYS before it if a module would have served the call.
fn unknown(cx: &Cx<'_>, nr: u32) -> Result<[i64; 2]> {
    if MODULES.iter().any(|(first, last)| (*first..=*last).contains(&nr)) {
        cx.mem.raise(abi::signal::SIGSYS);
    }
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_block_is_filled_with_zeros() {
        assert_eq!(slots(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 1]), [1, 0x102, 0, 0, 0, 0, 0, 0]);
        assert_eq!(slots(&[0xff; 100]), [u64::MAX; 8]);
    }

    #[test]
    fn no_call_of_the_table_is_left_to_a_module() {
        for row in abi::syscalls::TABLE {
            assert!(!MODULES.iter().any(|(first, last)| (*first..=*last).contains(&row.number)), "{}", row.name);
        }
    }
}
