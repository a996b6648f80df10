//! The preload library.
pub mod fds;
pub mod process;
pub mod route;
pub mod rump;
pub mod spec;
pub mod user;

pub use abi::Result;
