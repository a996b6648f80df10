//! kqueue(2): events, filters and flags, and a filter of our own that an epoll set is made of.

use crate::pairs::plain;

plain! {
    /// A change to a queue, or an event out of it (struct kevent).
    pub struct Kevent {
        /// The descriptor.
        pub ident: u64,
        /// `EVFILT_*`.
        pub filter: u32,
        /// `EV_*`.
        pub flags: u32,
        /// `NOTE_*`; for [`EVFILT_POLL`] the events.
        pub fflags: u32,
        pub pad: u32,
        /// What the filter counts; for [`EVFILT_POLL`] the caller's own name of the descriptor.
        pub data: i64,
        /// The caller's; comes back untouched.
        pub udata: u64,
    }
}

/// Something can be read; `data` says how many bytes, or how many connections.
pub const EVFILT_READ: u32 = 0;
/// Something can be written; `data` says how many bytes.
pub const EVFILT_WRITE: u32 = 1;
/// Events of poll(2), as epoll_ctl(2) has them. An extension, used only between a client and a server of ours.
///
/// The low half of `fflags` are the events in NetBSD's numbers; the high half is the caller's and comes back untouched. `data` names
/// the registration together with the open file, as the descriptor's number does on Linux, so that the caller may have the
/// open file under another number later. Without [`EV_ADD`], [`EV_ENABLE`] replaces what is registered (`EPOLL_CTL_MOD`).
pub const EVFILT_POLL: u32 = 0x5255_4d50;

/// Register, or change what is registered.
pub const EV_ADD: u32 = 0x1;
/// Unregister.
pub const EV_DELETE: u32 = 0x2;
/// Report again.
pub const EV_ENABLE: u32 = 0x4;
/// Do not report.
pub const EV_DISABLE: u32 = 0x8;
/// Unregister with the first report.
pub const EV_ONESHOT: u32 = 0x10;
/// Report only what is new since the last report.
pub const EV_CLEAR: u32 = 0x20;
/// Answer a change with an event, even if all went well.
pub const EV_RECEIPT: u32 = 0x40;
/// Disable with the first report.
pub const EV_DISPATCH: u32 = 0x80;
/// The filter's own; for [`EVFILT_POLL`] in a change: `EEXIST` if it is registered already; in an event: the descriptor
/// is a queue itself.
pub const EV_FLAG1: u32 = 0x2000;
/// The filter's own; for [`EVFILT_POLL`]: of several queues that wait for the same, one is enough (`EPOLLEXCLUSIVE`).
pub const EV_FLAG2: u32 = 0x1000;
/// A change failed; `data` is the errno.
pub const EV_ERROR: u32 = 0x4000;
/// The other end is gone.
pub const EV_EOF: u32 = 0x8000;
