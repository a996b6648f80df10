//! How calls travel: the sysproxy wire protocol (rump_sp(7)) and its transports. Knows no call by name.
//!
//! A connection starts with a [`banner`] from the server; after that both sides send frames
//! ([`frame`]) that carry typed [`message`]s over a [`link`], which a [`url`] names. [`peer`] is the
//! bookkeeping that both ends share, and [`host`] all the host I/O of this crate, the client and the hijack library.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod banner;
pub mod board;
pub mod frame;
#[doc(hidden)]
pub mod golden;
pub mod host;
pub mod link;
pub mod message;
pub mod pages;
pub mod peer;
pub mod ring;
pub mod spin;
pub mod stream;
pub mod url;

pub use frame::{Frame, FrameReader, Header};
pub use host::HostFd;
pub use link::{Link, Listener};
pub use url::{Locator, Role};
