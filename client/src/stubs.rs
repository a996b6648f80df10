//! A typed function for each row of the kernel call table.
//!
//! `6 close(fd: Fd) -> ();` becomes `close(kernel, fd) -> Result<()>`, which puts the arguments into
//! their slots and opens the memory that they name. The same function in [`with`] opens further memory, for
//! calls whose structures hold pointers (`msghdr`, `iovec`, `ifconf`).

use abi::slot::Direction;
use abi::{Fd, In, InOut, Out, Pad, Region, Result, Retval, Slot, UserStr};

use crate::Caller;

/// Most pieces of memory that a call's own arguments name.
const MOST: usize = 4;

/// Puts the memory that a call's arguments name and `extra` into one row. Almost no call has any `extra`, and then nothing is allocated.
///
/// A thread may have a stack of 16 KiB, so there is little room in its frame.
#[inline(always)]
fn opened<T>(own: &[Option<Region>], extra: &[Region], call: impl FnOnce(&[Region]) -> T) -> T {
    let mut room = [const { Region { addr: 0, len: 0, direction: Direction::In, own: true } }; MOST];
    let mut used = 0;
    for (slot, region) in room.iter_mut().zip(own.iter().flatten()) {
        (*slot, used) = (*region, used + 1);
    }
    let few = extra.is_empty() && own.iter().flatten().count() == used;
    match room.get(..used) {
        Some(all) if few => call(all),
        _ => call(&in_one_row(own, extra)),
    }
}

#[cold]
#[inline(never)]
fn in_one_row(own: &[Option<Region>], extra: &[Region]) -> Vec<Region> {
    own.iter().flatten().chain(extra).copied().collect()
}

macro_rules! stubs {
    ($($faction:ident $number:literal $name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
        $(
            #[doc = concat!("Makes call ", $number, ", `", stringify!($name), "`.")]
            #[allow(clippy::too_many_arguments)]
            pub fn $name(kernel: &dyn Caller, $($arg: $type),*) -> Result<$ret> {
                with::$name(kernel, $($arg,)* &[])
            }
        )*

        /// The calls again, with further memory that the kernel may touch.
        pub mod with {
            use super::*;
            $(
                #[doc = concat!("Makes call ", $number, ", `", stringify!($name), "`.")]
                #[allow(clippy::too_many_arguments)]
                pub fn $name(kernel: &dyn Caller, $($arg: $type,)* extra: &[Region]) -> Result<$ret> {
                    let own: &[Option<Region>] = &[$($arg.region()),*];
                    opened(own, extra, |regions| kernel.call($number, &[$($arg.to_slot()),*], regions)).map(<$ret>::from_retval)
                }
            )*
        }
    };
}

abi::syscalls!(stubs);
