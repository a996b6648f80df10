//! A typed function for each row of the kernel call table.
//!
//! `6 close(fd: Fd) -> ();` becomes `close(kernel, fd) -> Result<()>`, which puts the arguments into
//! their slots and opens the memory that they name. The same function in [`with`] opens further memory, for
//! calls whose structures hold pointers (`msghdr`, `iovec`, `ifconf`).

use abi::{Fd, In, InOut, Out, Pad, Region, Result, Retval, Slot, UserStr};

use crate::Caller;

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
                    let regions: Vec<Region> = own.iter().flatten().chain(extra).copied().collect();
                    kernel.call($number, &[$($arg.to_slot()),*], &regions).map(<$ret>::from_retval)
                }
            )*
        }
    };
}

abi::syscalls!(stubs);
