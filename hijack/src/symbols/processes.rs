//! Entry points of the life of a process: working directory, exec, and those that make processes.

#[cfg(not(test))]
use super::c::{c_char, pid_t};
use super::symbols;
#[cfg(not(test))]
use crate::calls::Wanted;
#[cfg(not(test))]
use crate::entry::{Return, c_return, hooked};
#[cfg(not(test))]
use crate::{process, raw};

/// Expands the functions that make processes: `around spawned fn system(…) -> c_int;` runs the real one inside [`spawned`].
macro_rules! processes {
    ($(around $around:ident fn $name:ident $args:tt -> $return:ty;)*) => {
        /// The functions that make processes, and the others that are more than their call.
        #[cfg(test)]
        pub const MAKERS: &[super::Symbol] = &[
            $(super::Symbol { name: stringify!($name), call: None },)*
            super::Symbol { name: "vfork", call: None },
            super::Symbol { name: "getcwd", call: Some("SYS_getcwd") },
        ];

        $(symbols!(@module $name $args $return, |real| $around(real));)*

        /// Finds the real functions that make processes.
        #[cfg(not(test))]
        pub fn resolve_makers() {
            $($name::resolve();)*
            getcwd::resolve();
        }
    };
}

/// Forks: the copy of the rump process is asked for first, so that a refusal is fork's.
#[cfg(not(test))]
pub fn forked(real: Option<impl FnOnce() -> pid_t>) -> pid_t {
    let Some(real) = real else { return c_return(raw::call(libc::SYS_fork, [])) };
    if let Err(error) = process::prefork() {
        return c_return(-(error.to_linux() as isize));
    }
    let child = real();
    if child < 0 {
        process::forget_fork();
    }
    child
}

/// Runs a function that has a child in this memory for a while.
#[cfg(not(test))]
pub fn spawned<R: Return>(real: Option<impl FnOnce() -> R>) -> R {
    real.map_or_else(|| c_return(-(libc::ENOSYS as isize)), process::spawn)
}

processes! {
    around forked fn fork() -> pid_t;
    around spawned fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn system(command: *const c_char) -> c_int;
    around spawned fn wordexp(words: *const c_char, result: *mut c_void, flags: c_int) -> c_int;
    around spawned fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void;
}

/// vfork(2) is fork: the child would share the library's tables with its parent.
#[cfg(not(test))]
mod vfork {
    use super::{super::c::pid_t, fork};

    redhook::hook! {
        unsafe fn vfork() -> pid_t => hook {
            // SAFETY: the hook of fork asks nothing of its caller.
            unsafe { fork::hook() }
        }
    }
}

symbols!(@module getcwd (buf: *mut c_char, size: size_t) *mut c_char, |real| working_directory(buf, size, real));

/// See getcwd(3): without a buffer, one is allocated; `EINVAL` for one without room, of which the system call would say `ERANGE`.
#[cfg(not(test))]
pub fn working_directory(buf: *mut c_char, size: usize, real: Option<impl FnOnce() -> *mut c_char>) -> *mut c_char {
    if let (false, Some(real)) = (process::cwd_in_rump(), real) {
        return real();
    }
    if !buf.is_null() && size == 0 {
        return no_directory(libc::EINVAL);
    }
    let size = if buf.is_null() && size == 0 { libc::PATH_MAX as usize } else { size };
    // SAFETY: a fresh block, which free(3) of the caller gives back.
    let room = if buf.is_null() { unsafe { libc::malloc(size) }.cast::<c_char>() } else { buf };
    if room.is_null() {
        return no_directory(libc::ENOMEM);
    }
    match hooked::<isize>(libc::SYS_getcwd, Wanted::Inside, super::words([room as usize, size]), None::<fn() -> isize>)
    {
        0.. => room,
        _ => {
            if buf.is_null() {
                // SAFETY: allocated above, and nobody has seen it.
                unsafe { libc::free(room.cast()) };
            }
            std::ptr::null_mut()
        }
    }
}

/// Fails as getcwd does.
#[cfg(not(test))]
fn no_directory(errno: i32) -> *mut c_char {
    c_return::<isize>(-(errno as isize));
    std::ptr::null_mut()
}

symbols! {
    fn umask(mask: mode_t) -> mode_t = SYS_umask(mask);
    fn chroot(path: *const c_char) -> c_int = SYS_chroot(path);
    fn chdir(path: *const c_char) -> c_int = SYS_chdir(path);
    fn fchdir(fd: c_int) -> c_int = SYS_fchdir(fd);

    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int = SYS_execve(path, argv, envp);
    fn execveat(dir: c_int, path: *const c_char, argv: *const *const c_char, envp: *const *const c_char, flags: c_int) -> c_int = SYS_execveat(dir, path, argv, envp, flags);
    fn fexecve(fd: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int = SYS_execveat(fd, c"".as_ptr(), argv, envp, AT_EMPTY_PATH);
    fn _exit(status: c_int) -> () = SYS_exit_group(status), also _Exit;
    fn setns(fd: c_int, kind: c_int) -> c_int = SYS_setns(fd, kind);
    fn prctl(option: c_int, second: usize, third: usize, fourth: usize, fifth: usize) -> c_int = SYS_prctl(option, second, third, fourth, fifth);
    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long = ANY(number, a, b, c, d, e, f);
}
