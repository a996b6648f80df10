//! `librumphijack.so`: takes the file and socket calls of an unmodified program to a rump kernel.
//!
//! The life of a hooked call, `read(3, buf, 10)`:
//!
//! 1. The program calls `read`. The row of [`symbols`] makes the words of a Linux call of it; for a number that is surely the
//!    host's ([`fds::OWNED`], one load) it jumps to the real function at once. A read that libc makes by itself comes through [`deep`].
//! 2. Both doors ask [`calls::dispatch`], whose row says how the call is routed ([`route`], [`fds`]) and who serves it.
//!    `Host` goes on as if the library were not there.
//! 3. [`calls::serve`] blocks all signals, so that what follows may lock and allocate, and calls the handler in [`rump`].
//! 4. The handler translates to NetBSD's words and calls a stub of the client library, which asks the server, or the
//!    kernel in this process ([`local`]). The kernel copies the data itself; [`user`] is for structures.
//! 5. A new descriptor gets a number ([`fds::install`]), an error becomes errno ([`entry`]), signals are let through again.
//!
//! The library makes its own host calls raw ([`raw`], `sysproxy::host`): the C library's functions are its own hooks.
//! Until the constructor has run, every hook serves the host by a raw system call.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod alloc;
pub mod borrower;
pub mod calls;
pub mod cancel;
pub mod clone;
#[cfg(test)]
mod compatibility;
pub mod deep;
pub mod entry;
mod environment;
pub mod exec;
pub mod fds;
pub mod first;
mod handlers;
mod image;
mod job;
mod later;
mod local;
mod original;
pub mod pages;
mod preload;
pub mod process;
mod quick;
pub mod raw;
mod reach;
mod roomy;
pub mod route;
pub mod rump;
mod sandbox;
pub mod sets;
#[cfg_attr(test, expect(dead_code, reason = "tests have no constructor"))]
mod start;
mod symbols;
pub mod trace;
pub mod user;

pub use abi::Result;
pub use start::{config, server};
