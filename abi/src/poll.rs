//! poll(2) and select(2): events both ways, and descriptor sets.

use linux_raw_sys::general as host;

use crate::pairs::{pairs, plain};

plain! {
    /// A descriptor to watch (struct pollfd), the same layout on both.
    pub struct PollFd {
        pub fd: i32,
        pub events: i16,
        pub revents: i16,
    }
}

pairs! {
    /// The events of poll(2).
    EVENTS: i16 {
        POLLIN 0x1 => host::POLLIN;
        POLLPRI 0x2 => host::POLLPRI;
        POLLOUT 0x4 => host::POLLOUT;
        POLLERR 0x8 => host::POLLERR;
        POLLHUP 0x10 => host::POLLHUP;
        POLLNVAL 0x20 => host::POLLNVAL;
        POLLRDNORM 0x40 => host::POLLRDNORM;
        POLLRDBAND 0x80 => host::POLLRDBAND;
        POLLWRBAND 0x100 => host::POLLWRBAND;
    }
}

/// The same as `POLLOUT` on NetBSD.
pub const POLLWRNORM: i16 = POLLOUT;
/// The peer has shut down its sending side: Linux's event under Linux's number, which NetBSD does not use. A NetBSD
/// server ignores it; ours reports it.
pub const POLLRDHUP: i16 = host::POLLRDHUP as i16;

/// Translates events of Linux. `POLLWRNORM` becomes `POLLOUT`.
pub fn events_from_linux(linux: i16) -> i16 {
    let linux = i32::from(linux);
    let mut netbsd = EVENTS.flags_from_linux(linux).0 as i16;
    if linux & host::POLLWRNORM as i32 != 0 {
        netbsd |= POLLWRNORM;
    }
    netbsd | linux as i16 & POLLRDHUP
}

/// Translates events to Linux, of which the program asked for `requested` (Linux's numbers): `POLLOUT` shows as the
/// `POLLOUT` and `POLLWRNORM` that it wanted.
pub fn events_to_linux(netbsd: i16, requested: i16) -> i16 {
    let mut linux = EVENTS.flags_to_linux(i32::from(netbsd & !POLLOUT)) as i16 | netbsd & POLLRDHUP;
    if netbsd & POLLOUT != 0 {
        linux |= requested & (host::POLLOUT | host::POLLWRNORM) as i16;
    }
    linux
}

/// The most descriptors of a `fd_set` of NetBSD.
pub const FD_SETSIZE: usize = 256;

/// Returns the bytes of a NetBSD set for descriptors below `nd`: whole 32-bit words.
pub const fn fd_set_bytes(nd: usize) -> usize {
    nd.div_ceil(32) * 4
}

/// Returns the bytes of a Linux set for descriptors below `nd`: whole 64-bit words.
pub const fn linux_fd_set_bytes(nd: usize) -> usize {
    nd.div_ceil(64) * 8
}

/// Whether descriptor `fd` is in a set. On a little-endian machine the two systems' sets differ only in length.
pub fn fd_isset(set: &[u8], fd: usize) -> bool {
    set.get(fd / 8).is_some_and(|byte| byte & 1 << (fd % 8) != 0)
}

/// Adds descriptor `fd` to a set; one beyond the end is ignored.
pub fn fd_set(set: &mut [u8], fd: usize) {
    if let Some(byte) = set.get_mut(fd / 8) {
        *byte |= 1 << (fd % 8);
    }
}

/// Takes descriptor `fd` out of a set.
pub fn fd_clr(set: &mut [u8], fd: usize) {
    if let Some(byte) = set.get_mut(fd / 8) {
        *byte &= !(1 << (fd % 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_shows_as_what_was_asked() {
        assert_eq!(events_from_linux(0x100), POLLOUT);
        assert_eq!(events_from_linux(0x200), POLLWRBAND);
        assert_eq!(events_to_linux(POLLOUT, 0x100), 0x100);
        assert_eq!(events_to_linux(POLLOUT | POLLIN, 0x5), 0x5);
        assert_eq!(events_to_linux(POLLWRBAND, 0x200), 0x200);
    }

    #[test]
    fn the_peers_shutdown_travels_under_linuxs_number() {
        assert_eq!(events_from_linux(0x2001), POLLRDHUP | POLLIN);
        assert_eq!(events_to_linux(POLLRDHUP | POLLHUP, 0), 0x2010);
    }

    #[test]
    fn sets_are_arrays_of_words() {
        assert_eq!((fd_set_bytes(0), fd_set_bytes(1), fd_set_bytes(33)), (0, 4, 8));
        assert_eq!(linux_fd_set_bytes(65), 16);
        let mut set = [0; 8];
        fd_set(&mut set, 35);
        fd_set(&mut set, 64);
        assert_eq!(u64::from_le_bytes(set), 1 << 35);
        assert!(fd_isset(&set, 35) && !fd_isset(&set, 34) && !fd_isset(&set, 99));
        fd_clr(&mut set, 35);
        assert_eq!(set, [0; 8]);
    }
}
