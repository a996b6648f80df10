//! The client's end of a rump kernel: connection, handshakes, retries, and typed stubs for the kernel's calls.
//!
//! Everything that makes calls does so through [`Caller`]: [`Remote`] sends them to a server, and a
//! kernel in the same process implements the same trait. All signals are blocked while a call is under way
//! ([`signals`]), so this library may take locks and allocate in it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod carry;
mod conn;
mod connect;
mod exchange;
pub mod fds;
pub mod guest;
mod heir;
pub mod lock;
mod notices;
mod pages;
mod poll;
mod regions;
mod remote;
mod retry;
mod serve;
mod shared;
pub mod signals;
mod streams;
pub mod stubs;
pub mod way;

use std::time::Duration;

use abi::poll::PollFd;
use abi::{Fd, Region, Result};
use sysproxy::host::Owned;

pub use connect::{ConnectError, Handshake, program_name, set_prefix, speak_plainly};
pub use heir::Heir;
pub use regions::{Copies, copy_by};
pub use remote::{Adopted, Remote};
pub use retry::Retry;
pub use sysproxy::host::PollFd as HostPollFd;
pub use sysproxy::message::Token;

/// Someone who makes calls to a rump kernel.
pub trait Caller: Sync {
    /// Makes one call: NetBSD's number, one word an argument, and the memory that the call opens to the kernel.
    ///
    /// `EINTR` if a host signal with a handler ended the wait; the handler runs when the caller's
    /// [`signals::Blocked`] ends. `ENOTCONN` if the server is gone.
    fn call(&self, number: u32, args: &[u64], regions: &[Region]) -> Result<[i64; 2]>;

    /// Makes a call that may sleep, and ends its sleep when one of the host's descriptors is ready: `None` then, and the call
    /// has done nothing.
    ///
    /// `EINTR` as for [`Caller::call`]. `EOPNOTSUPP` from a server that is not ours, which cannot be told to end a sleep.
    fn call_or_host(
        &self,
        number: u32,
        args: &[u64],
        regions: &[Region],
        host: &mut [HostPollFd],
    ) -> Result<Option<[i64; 2]>>;

    /// Makes a call for the sake of the host's descriptor that comes with its answer; `None` if none came.
    fn call_for_descriptor(&self, number: u32, args: &[u64]) -> Result<Option<Owned>>;

    /// Whether this program moves the bytes of a descriptor itself, so that it is no file.
    fn moves_itself(&self, _fd: Fd) -> bool {
        false
    }

    /// Waits for descriptors of both kernels at once, and returns how many of each are ready.
    ///
    /// `EINTR` as for [`Caller::call`]. Without a `timeout` it waits for ever.
    fn poll_mixed(
        &self,
        rump: &mut [PollFd],
        host: &mut [HostPollFd],
        timeout: Option<Duration>,
    ) -> Result<(usize, usize)>;
}
