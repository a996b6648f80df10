//! Entry points of the life of a process: working directory, exec, and those that make processes.

#[cfg(not(test))]
use super::c::{c_char, pid_t};
use super::symbols;
#[cfg(not(test))]
use crate::calls::Wanted;
#[cfg(not(test))]
use crate::entry::{Return, c_return, hooked};
#[cfg(not(test))]
use crate::{borrower, process, raw};

/// Expands the functions that make processes: `around spawned fn system(…) -> c_int;` runs the real one inside [`spawned`].
macro_rules! processes {
    ($(around $around:ident fn $name:ident $args:tt -> $return:ty;)*) => {
        /// The functions that make processes, and the others that are more than their call.
        #[cfg(test)]
        pub const MAKERS: &[super::Symbol] = &[
            $(super::Symbol { name: stringify!($name), call: None },)*
            super::Symbol { name: "vfork", call: None },
            super::Symbol { name: "clone", call: None },
            super::Symbol { name: "getcwd", call: Some("SYS_getcwd") },
            super::Symbol { name: "system", call: None },
            super::Symbol { name: "syscall", call: Some("ANY") },
        ];

        $(symbols!(@module $name $args $return, |real| $around(real));)*

        /// Finds the real functions that make processes.
        #[cfg(not(test))]
        pub fn resolve_makers() {
            $($name::resolve();)*
            clone_function::resolve();
            getcwd::resolve();
            system::resolve();
            super::number::resolve();
        }
    };
}

/// Forks.
#[cfg(not(test))]
pub fn forked(real: Option<impl FnOnce() -> pid_t>) -> pid_t {
    let Some(real) = real else { return c_return(raw::call(libc::SYS_fork, [])) };
    or_error(process::fork(false, real))
}

/// Forks by a function that runs no handlers.
#[cfg(not(test))]
pub fn forked_bare(real: Option<impl FnOnce() -> pid_t>) -> pid_t {
    let Some(real) = real else { return c_return(raw::call(libc::SYS_fork, [])) };
    or_error(process::fork_bare(false, real))
}

/// errno and -1 for an error.
#[cfg(not(test))]
fn or_error(child: abi::Result<pid_t>) -> pid_t {
    child.unwrap_or_else(|error| c_return(-(error.to_linux() as isize)))
}

/// Changes the program's ids; the rump kernel is told.
#[cfg(not(test))]
pub fn identified<R: Return>(real: Option<impl FnOnce() -> R>) -> R {
    real.map_or_else(|| c_return(-(libc::ENOSYS as isize)), process::change_ids)
}

/// Runs a function that has a child in this memory for a while.
#[cfg(not(test))]
pub fn spawned<R: Return>(real: Option<impl FnOnce() -> R>) -> R {
    real.map_or_else(|| c_return(-(libc::ENOSYS as isize)), borrower::spawn)
}

processes! {
    around forked fn fork() -> pid_t;
    around forked_bare fn _Fork() -> pid_t;
    around spawned fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void;
    around identified fn setuid(uid: uid_t) -> c_int;
    around identified fn seteuid(uid: uid_t) -> c_int;
    around identified fn setreuid(real_id: uid_t, effective: uid_t) -> c_int;
    around identified fn setresuid(real_id: uid_t, effective: uid_t, saved: uid_t) -> c_int;
    around identified fn setfsuid(uid: uid_t) -> c_int;
    around identified fn setgid(gid: gid_t) -> c_int;
    around identified fn setegid(gid: gid_t) -> c_int;
    around identified fn setregid(real_id: gid_t, effective: gid_t) -> c_int;
    around identified fn setresgid(real_id: gid_t, effective: gid_t, saved: gid_t) -> c_int;
    around identified fn setfsgid(gid: gid_t) -> c_int;
    around identified fn setgroups(count: size_t, groups: *const gid_t) -> c_int;
    around identified fn initgroups(user: *const c_char, group: gid_t) -> c_int;
    around spawned fn wordexp(words: *const c_char, result: *mut c_void, flags: c_int) -> c_int;
}

/// system(3), in which the thread may be cancelled while it waits for the command.
#[cfg(not(test))]
pub fn run_and_waited(real: Option<impl FnOnce() -> i32>) -> i32 {
    real.map_or_else(|| c_return(-(libc::ENOSYS as isize)), borrower::spawn_and_wait)
}

symbols!(@point system (command: *const c_char) c_int, |real| crate::symbols::processes::run_and_waited(real));

/// vfork(2). It returns twice on one stack: the child's calls overwrite what lies below its caller's frame, so the way
/// back is kept in a register meanwhile, as libc does.
#[cfg(not(test))]
mod vfork {
    use super::{super::c::pid_t, borrower, c_return, or_error, process};

    /// 0 to go ahead; else the error is told.
    extern "C" fn before() -> pid_t {
        if process::ready() { or_error(borrower::begin().map(|_| 0)) } else { 0 }
    }

    /// In the parent, when the child has its own memory or has ended.
    extern "C" fn after(result: isize) -> pid_t {
        borrower::end();
        c_return(result)
    }

    // SAFETY: the name and prototype are libc's, whose function this one stands in for.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    unsafe extern "C" fn vfork() -> pid_t {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "call {before}",
            "add rsp, 8",
            ".cfi_adjust_cfa_offset -8",
            "test eax, eax",
            "jnz 2f",
            "pop rdx",
            ".cfi_adjust_cfa_offset -8",
            ".cfi_register rip, rdx",
            "mov eax, {number}",
            "syscall",
            "push rdx",
            ".cfi_adjust_cfa_offset 8",
            ".cfi_rel_offset rip, 0",
            "test rax, rax",
            "jz 2f",
            "mov rdi, rax",
            "sub rsp, 8",
            ".cfi_adjust_cfa_offset 8",
            "call {after}",
            "add rsp, 8",
            ".cfi_adjust_cfa_offset -8",
            "2:",
            "ret",
            ".cfi_endproc",
            before = sym before, after = sym after, number = const libc::SYS_vfork,
        )
    }
}

/// clone(2): libc's function, whose child begins in a function of the program, on a stack of its own.
#[cfg(not(test))]
mod clone_function {
    use super::super::c::{c_int, c_void, pid_t};
    use super::{borrower, or_error, process};
    use crate::clone::{FILES, Kind, Run, Start, kind, remark, start};

    redhook::hook! {
        unsafe fn clone(run: Option<Run>, stack: *mut c_void, flags: c_int, arg: *mut c_void, parent_id: *mut pid_t, tls: *mut c_void, child_id: *mut pid_t) -> c_int => hook {
            // SAFETY: the real function, with the arguments that the program gave for it; libc takes those it has no use for as well.
            let real = |run, arg| unsafe { redhook::real!(clone)(run, stack, flags, arg, parent_id, tls, child_id) };
            made(flags as usize, run, arg, real)
        }
    }

    fn made(
        flags: usize,
        run: Option<Run>,
        arg: *mut c_void,
        real: impl FnOnce(Option<Run>, *mut c_void) -> c_int,
    ) -> c_int {
        let Some(function) = run.filter(|_| process::ready()) else { return real(run, arg) };
        remark(flags);
        match kind(flags) {
            Kind::Thread | Kind::Companion => real(run, arg),
            Kind::Borrower => borrower::spawn(|| real(run, arg)),
            Kind::Fork => or_error(process::fork_elsewhere(flags & FILES != 0, |ready| {
                let mut child = Start { run: function, arg, ready, shared: flags & FILES != 0 };
                real(Some(start), (&raw mut child).cast())
            })),
        }
    }

    pub fn resolve() {
        let _ = redhook::real!(clone);
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
    fn unshare(flags: c_int) -> c_int = SYS_unshare(flags);
    fn setns(fd: c_int, kind: c_int) -> c_int = SYS_setns(fd, kind);
    fn prctl(option: c_int, second: usize, third: usize, fourth: usize, fifth: usize) -> c_int = SYS_prctl(option, second, third, fourth, fifth);
}
