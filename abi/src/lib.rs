//! What is said between a client and a rump kernel: NetBSD/amd64's system call interface as data.
//!
//! Pure data, no I/O. One file per C header holds NetBSD's numbers and structures beside their
//! Linux pairs and converts both ways; [`mod@syscalls`] is the kernel call table, [`slot`] how one argument travels,
//! [`pairs`] how a constant and its twin stand in one row, [`linux`] the host's structures that look different.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod device;
pub mod errno;
pub mod event;
pub mod fcntl;
pub mod ioctl;
mod layout;
pub mod linux;
pub mod mount;
pub mod netlink;
pub mod pairs;
pub mod poll;
pub mod resource;
pub mod route;
pub mod signal;
pub mod slot;
pub mod socket;
pub mod stat;
pub mod syscalls;
pub mod sysctl;
pub mod time;

pub use errno::{Errno, Result};
pub use slot::{Fd, In, InOut, Out, Pad, Region, Retval, Slot, UserStr};
