//! Entry points of terminals' names: libc makes one of the number alone, and so the host's.

use super::symbols;

/// The names of this family.
#[cfg(test)]
pub const TABLE: &[super::Symbol] = &[
    super::Symbol { name: "ptsname", call: Some("SYS_ioctl") },
    super::Symbol { name: "ptsname_r", call: Some("SYS_ioctl") },
    super::Symbol { name: "__ptsname_r_chk", call: Some("SYS_ioctl") },
];

symbols!(@module ptsname (fd: c_int) *mut c_char, |real| crate::rump::terminal::ptsname(fd, real));
symbols!(@module ptsname_r (fd: c_int, name: *mut c_char, len: size_t) c_int, |real| {
    crate::rump::terminal::ptsname_r(fd, name as usize, len, real)
});
symbols!(@module __ptsname_r_chk (fd: c_int, name: *mut c_char, len: size_t, room: size_t) c_int, |real| {
    crate::rump::terminal::ptsname_r(fd, name as usize, len.min(room), real)
});

/// Finds the real functions of this family.
#[cfg(not(test))]
pub fn resolve() {
    ptsname::resolve();
    ptsname_r::resolve();
    __ptsname_r_chk::resolve();
}
