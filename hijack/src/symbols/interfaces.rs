//! Entry points of interfaces' names: libc asks on a socket of its own, a local one if it can, and so the host's.

use super::symbols;

/// The names of this family.
#[cfg(test)]
pub const TABLE: &[super::Symbol] = &[
    super::Symbol { name: "if_nametoindex", call: Some("SYS_ioctl") },
    super::Symbol { name: "if_indextoname", call: Some("SYS_ioctl") },
];

symbols!(@module if_nametoindex (name: *const c_char) c_uint, |real| {
    crate::rump::interface::name_to_index(name as usize, real)
});
symbols!(@module if_indextoname (index: c_uint, name: *mut c_char) *mut c_char, |real| {
    crate::rump::interface::index_to_name(index, name, real)
});

/// Finds the real functions of this family.
#[cfg(not(test))]
pub fn resolve() {
    if_nametoindex::resolve();
    if_indextoname::resolve();
}
