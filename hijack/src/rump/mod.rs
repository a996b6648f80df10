//! The rump side: one function a Linux call, a family a file.
//!
//! A handler takes the arguments of the Linux call (its descriptor or path already routed), translates them to NetBSD's,
//! calls the kernel, and answers with the value for the program or an [`Errno`](abi::Errno). It runs with all signals
//! blocked, and reaches the program's memory only through [`crate::user`].

pub mod attr;
mod bad_memory;
pub mod bell;
pub mod both;
mod control;
pub mod copies;
pub mod descriptor;
pub mod dir;
pub mod epoll;
pub mod file;
pub mod interface;
pub mod ioctl;
mod limit;
pub mod listing;
pub mod memory;
pub mod message;
pub mod mount;
pub mod name;
pub mod nest;
pub mod open;
pub mod option;
pub mod passing;
pub mod poll;
pub mod program;
pub mod refuse;
pub mod seccomp;
pub mod sigio;
pub mod socket;
pub mod terminal;
pub mod times;
pub mod transfer;

pub use crate::process::kernel;
pub use abi::Result;
pub use limit::{writer, writer_to};
