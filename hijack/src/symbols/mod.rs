//! THE symbols table: each libc entry point, the call that it is, and the names that share its prototype. A family a file.
//!
//! Only entry points that are one call stand here, for speed and for a C library that cannot be patched; what libc does
//! on top of them (stdio, directories, names) reaches the calls table through [`deep`](crate::deep). A function that touches
//! nothing of the rump kernel's (`pipe`, `eventfd`) needs no row. `docs/COMPATIBILITY.md` is printed from these rows.

#[cfg(not(test))]
use crate::calls::{self, Wanted};
#[cfg(not(test))]
use crate::first::CWD;

mod descriptors;
mod interfaces;
#[cfg(not(test))]
mod number;
mod paths;
mod processes;
mod sockets;
mod terminals;
mod waiting;

/// An entry point that is hooked.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Its name in libc.
    pub name: &'static str,
    /// The calls that it is, by their names in `libc` (`SYS_openat`); none for one that makes a process.
    pub call: Option<&'static str>,
}

/// The rows of all families.
#[cfg(test)]
pub const TABLES: [&[Symbol]; 8] = [
    descriptors::TABLE,
    interfaces::TABLE,
    paths::TABLE,
    sockets::TABLE,
    terminals::TABLE,
    waiting::TABLE,
    processes::TABLE,
    processes::MAKERS,
];

/// Finds the real function of every row, once, so that nothing is resolved inside a hook.
#[cfg(not(test))]
pub fn resolve() {
    descriptors::resolve();
    interfaces::resolve();
    paths::resolve();
    sockets::resolve();
    terminals::resolve();
    waiting::resolve();
    processes::resolve();
    processes::resolve_makers();
}

/// The address of the symbol of this name behind ours; 0 if there is none.
#[cfg(not(test))]
fn next(name: &std::ffi::CStr) -> usize {
    // SAFETY: the name is a C string.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) as usize }
}

/// Whether the C library has a symbol of this name behind ours.
#[cfg(not(test))]
fn exists(name: &std::ffi::CStr) -> bool {
    next(name) != 0
}

/// Fills up the registers of a call.
#[cfg(not(test))]
#[inline(always)]
fn words<const N: usize>(args: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (slot, arg) in all.iter_mut().zip(args) {
        *slot = arg;
    }
    all
}

/// What is wanted of a call whose arguments are written so: a directory that is always the working directory is none.
#[cfg(not(test))]
#[expect(clippy::indexing_slicing, reason = "a row has as many values as its call arguments")]
const fn here(wanted: Wanted, values: &[&str]) -> Wanted {
    match wanted {
        Wanted::At(dir, path) if dir != CWD && calls::same(values[dir as usize].as_bytes(), b"AT_FDCWD") => {
            Wanted::At(CWD, path)
        }
        wanted => wanted,
    }
}

/// What the rows say in C's words.
#[cfg(not(test))]
mod c {
    pub use libc::{
        AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CREAT, O_TRUNC, O_WRONLY, S_IFIFO, TCGETS,
    };
    pub use libc::{
        c_char, c_int, c_long, c_uint, c_ulong, c_void, dev_t, gid_t, mode_t, off_t, pid_t, size_t, socklen_t, ssize_t,
        uid_t,
    };
    pub use libc::{
        dirent64, fd_set, iovec, itimerspec, mmsghdr, msghdr, nfds_t, pollfd, sigset_t, sockaddr, stat, statfs, statx,
        timespec, timeval, utimbuf,
    };
    pub use std::ptr::null;
}

/// Expands a row to one hook a name: `fn dup(fd: c_int) -> c_int = SYS_dup(fd);` becomes a row of `TABLE` and a module with
/// ```text
/// extern "C-unwind" fn dup(fd: c_int) -> c_int { hooked(libc::SYS_dup, WANTED, [fd.word(), 0…], REAL) }
/// pub fn resolve() { REAL = next(c"dup") }
/// ```
/// The function is not [`redhook::hook!`]'s, through whose frame, which catches all, no cancelled thread can be unwound. That one
/// makes the hooks that are more than their call.
///
/// A binary of unit tests has the table, any other the hooks.
macro_rules! symbols {
    ($(fn $name:ident $args:tt -> $return:ty = $nr:ident $values:tt $(through $family:ident::$by:ident)? $(, also $($alias:ident)+)?;)*) => {
        /// The names of this family.
        #[cfg(test)]
        pub const TABLE: &[$crate::symbols::Symbol] = &[$(
            $crate::symbols::Symbol { name: stringify!($name), call: Some(stringify!($nr)) },
            $($($crate::symbols::Symbol { name: stringify!($alias), call: Some(stringify!($nr)) },)+)?
        )*];

        $(symbols!(@hook $name $args $return, $nr $values $(through $family::$by)?);)*
        $($($(symbols!(@hook $alias $args $return, $nr $values);)+)?)*

        /// Finds the real functions of this family.
        #[cfg(not(test))]
        pub fn resolve() {
            $($name::resolve();)*
            $($($($alias::resolve();)+)?)*
        }
    };

    (@hook $name:ident ($($arg:ident: $type:ty),*) $return:ty, $nr:ident ($($value:expr),*) through $family:ident::$by:ident) => {
        symbols!(@real $name ($($arg: $type),*) $return, |real| {
            // Judged when the library is built.
            const CALL: crate::entry::Call = crate::entry::Call::of(libc::$nr);
            let real = real.map(|real| move |words: [usize; 6]| {
                let [$($arg,)* ..] = words;
                // SAFETY: the real function, with arguments that are as good as the program's.
                unsafe { real($(crate::entry::OfWord::of_word($arg)),*) }
            });
            let args = words([$($value.word()),*]);
            match real {
                Some(real) if crate::first::is_plain(CALL, args) => real(args),
                real => crate::rump::$family::$by(CALL, args, real),
            }
        });
    };

    (@hook $name:ident $args:tt $return:ty, $nr:ident ($($value:expr),*)) => {
        symbols!(@point $name $args $return, |real| {
            // Judged when the library is built.
            const WANTED: crate::calls::Wanted = here(crate::calls::wanted(libc::$nr as usize), &[$(stringify!($value)),*]);
            hooked(libc::$nr, WANTED, words([$($value.word()),*]), real)
        });
    };

    (@point $name:ident ($($arg:ident: $type:ty),*) $return:ty, |$real:ident| $body:expr) => {
        symbols!(@real $name ($($arg: $type),*) $return, |$real| {
            let $real = $real.map(|real| {
                // SAFETY: the real function, with the arguments that the program gave for it.
                move || unsafe { real($($arg),*) }
            });
            $body
        });
    };

    (@real $name:ident ($($arg:ident: $type:ty),*) $return:ty, |$real:ident| $body:expr) => {
        #[cfg(not(test))]
        #[allow(non_snake_case, reason = "_Exit")]
        mod $name {
            #[allow(unused_imports, reason = "no row needs all of them")]
            use crate::entry::{IsZero, Number, Word, hooked};
            #[allow(unused_imports, reason = "no row needs all of them")]
            use crate::symbols::{c::*, here, next, words};
            use crate::quick::hot;
            use std::sync::atomic::{AtomicUsize, Ordering};

            type Prototype = unsafe extern "C-unwind" fn($($type),*) -> $return;

            /// The real function; 0 before it is found.
            #[unsafe(link_section = hot!())]
            static REAL: AtomicUsize = AtomicUsize::new(0);

            // SAFETY: the name and prototype are libc's, whose function this one stands in for.
            #[unsafe(link_section = "rumphijack_hooks")]
            #[unsafe(no_mangle)]
            unsafe extern "C-unwind" fn $name($($arg: $type),*) -> $return {
                let found = REAL.load(Ordering::Relaxed);
                // SAFETY: 0 is `None`; all else is what `resolve` found under this name.
                let $real = unsafe { std::mem::transmute::<usize, Option<Prototype>>(found) };
                $body
            }

            pub fn resolve() {
                const NAME: &str = concat!(stringify!($name), "\0");
                let found = std::ffi::CStr::from_bytes_with_nul(NAME.as_bytes()).map_or(0, next);
                REAL.store(found, Ordering::Relaxed);
            }
        }
    };

    (@module $name:ident ($($arg:ident: $type:ty),*) $return:ty, |$real:ident| $body:expr) => {
        #[cfg(not(test))]
        #[allow(non_snake_case, reason = "_Exit, _Fork")]
        mod $name {
            #[allow(unused_imports, reason = "no row needs all of them")]
            use crate::entry::{IsZero, Number, Word, hooked};
            #[allow(unused_imports, reason = "no row needs all of them")]
            use crate::symbols::{c::*, exists, processes::{forked, forked_bare, identified, spawned, working_directory}, words};
            use std::sync::atomic::{AtomicUsize, Ordering};

            type Prototype = unsafe extern "C" fn($($type),*) -> $return;

            /// The real function; 0 before it is found.
            static REAL: AtomicUsize = AtomicUsize::new(0);

            redhook::hook! {
                unsafe fn $name($($arg: $type),*) -> $return => hook {
                    let found = REAL.load(Ordering::Relaxed);
                    // SAFETY: 0 is `None`; all else is what `resolve` found under this name.
                    let real = unsafe { std::mem::transmute::<usize, Option<Prototype>>(found) };
                    let $real = real.map(|real| {
                        // SAFETY: the real function, with the arguments that the program gave for it.
                        move || unsafe { real($($arg),*) }
                    });
                    $body
                }
            }

            pub fn resolve() {
                const NAME: &str = concat!(stringify!($name), "\0");
                if std::ffi::CStr::from_bytes_with_nul(NAME.as_bytes()).is_ok_and(exists) {
                    REAL.store(redhook::real!($name) as usize, Ordering::Relaxed);
                }
            }
        }
    };
}
use symbols;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls;

    /// Calls that stand here because a page may be unreadable after them.
    const MEMORY: [&str; 6] =
        ["SYS_mprotect", "SYS_pkey_mprotect", "SYS_madvise", "SYS_remap_file_pages", "SYS_shmat", "SYS_shmdt"];

    fn all() -> impl Iterator<Item = &'static Symbol> {
        TABLES.into_iter().flatten()
    }

    #[test]
    fn no_name_stands_twice_and_each_is_a_call_of_the_table() {
        for (at, symbol) in all().enumerate() {
            assert!(all().skip(at + 1).all(|other| other.name != symbol.name), "{} stands twice", symbol.name);
            let known =
                |call: &str| call == "ANY" || MEMORY.contains(&call) || calls::TABLE.iter().any(|row| row.name == call);
            assert!(symbol.call.is_none_or(known), "{symbol:?} is no row of the calls table");
        }
    }
}
