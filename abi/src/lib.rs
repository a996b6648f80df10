//! What is said between a client and a rump kernel: NetBSD/amd64's system call interface as data.
//!
//! Pure data, no I/O. One file per C header holds NetBSD's numbers and structures beside their
//! Linux pairs and converts both ways; [`syscalls`] is the kernel call table, [`slot`] how one argument travels.

#![forbid(unsafe_code)]

pub mod errno;
pub mod slot;
pub mod syscalls;

pub use errno::{Errno, Result};
pub use slot::{Fd, In, InOut, Out, Pad, Region, Retval, Slot, UserStr};
