//! THE symbols table: each libc entry point, the call that it is, and the names that share its prototype.
//!
//! Only entry points that are one call stand here, for speed and for a C library that cannot be patched; what libc does
//! on top of them (stdio, directories, names) reaches the calls table through [`deep`](crate::deep).

use crate::entry::{Return, Word, c_return, hooked};
use crate::{process, raw};

/// What the rows say in C's words.
mod c {
    pub use libc::{AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CREAT, O_TRUNC, O_WRONLY, S_IFIFO};
    pub use libc::{
        c_char, c_int, c_uint, c_ulong, c_void, dev_t, gid_t, mode_t, off_t, pid_t, size_t, socklen_t, ssize_t, uid_t,
    };
    pub use libc::{
        dirent64, fd_set, iovec, mmsghdr, msghdr, nfds_t, pollfd, sigset_t, sockaddr, stat, statfs, timespec, timeval,
    };
}

/// Whether the C library has a symbol of this name behind ours.
fn exists(name: &std::ffi::CStr) -> bool {
    // SAFETY: the name is a C string; the answer is only compared.
    unsafe { !libc::dlsym(libc::RTLD_NEXT, name.as_ptr()).is_null() }
}

/// Expands a row to one hook a name: `fn dup(fd: c_int) -> c_int = SYS_dup(fd);` becomes a module with
/// ```text
/// redhook::hook! { unsafe fn dup(fd: c_int) -> c_int => hook { hooked(libc::SYS_dup, [fd.word(), 0…], RESOLVED.then(real!(dup))) } }
/// pub fn resolve() { if exists(c"dup") { real!(dup); RESOLVED = true } }
/// ```
macro_rules! symbols {
    ($(fn $name:ident $args:tt -> $return:ty = $nr:ident $values:tt $(, also $($alias:ident)+)?;)*) => {
        $(symbols!(@hook $name $args $return, $nr $values);)*
        $($($(symbols!(@hook $alias $args $return, $nr $values);)+)?)*

        /// Finds the real function of every row, once, so that nothing is resolved inside a hook.
        pub fn resolve() {
            $($name::resolve();)*
            $($($($alias::resolve();)+)?)*
        }
    };

    (@hook $name:ident $args:tt $return:ty, $nr:ident ($($value:expr),*)) => {
        symbols!(@module $name $args $return, |real| hooked(libc::$nr, words([$($value.word()),*]), real));
    };

    (@module $name:ident ($($arg:ident: $type:ty),*) $return:ty, |$real:ident| $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "no row needs all of them")]
            use super::{Word, c::*, exists, forked, hooked, spawned, words};
            use std::sync::atomic::{AtomicBool, Ordering};

            static RESOLVED: AtomicBool = AtomicBool::new(false);

            redhook::hook! {
                unsafe fn $name($($arg: $type),*) -> $return => hook {
                    let $real = RESOLVED.load(Ordering::Relaxed).then_some(|| {
                        // SAFETY: the real function, with the arguments that the program gave for it.
                        unsafe { redhook::real!($name)($($arg),*) }
                    });
                    $body
                }
            }

            pub fn resolve() {
                const NAME: &str = concat!(stringify!($name), "\0");
                if std::ffi::CStr::from_bytes_with_nul(NAME.as_bytes()).is_ok_and(exists) {
                    let _ = redhook::real!($name);
                    RESOLVED.store(true, Ordering::Relaxed);
                }
            }
        }
    };
}

/// Expands the functions that make processes: `around spawned fn system(…) -> c_int;` runs the real one inside [`spawned`].
macro_rules! processes {
    ($(around $around:ident fn $name:ident $args:tt -> $return:ty;)*) => {
        $(symbols!(@module $name $args $return, |real| $around(real));)*

        /// Finds the real functions that make processes.
        pub fn resolve_processes() {
            $($name::resolve();)*
        }
    };
}

/// Forks: the copy of the rump process is asked for first, so that a refusal is fork's.
fn forked(real: Option<impl FnOnce() -> c::pid_t>) -> c::pid_t {
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
fn spawned<R: Return>(real: Option<impl FnOnce() -> R>) -> R {
    real.map_or_else(|| c_return(-(libc::ENOSYS as isize)), process::spawn)
}

/// Fills up the registers of a call.
#[inline]
fn words<const N: usize>(args: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (slot, arg) in all.iter_mut().zip(args) {
        *slot = arg;
    }
    all
}

processes! {
    around forked fn fork() -> pid_t;
    around spawned fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    around spawned fn system(command: *const c_char) -> c_int;
    around spawned fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void;
}

/// vfork(2) is fork: the child would share the library's tables with its parent.
mod vfork {
    use super::{c::pid_t, fork};

    redhook::hook! {
        unsafe fn vfork() -> pid_t => hook {
            // SAFETY: the hook of fork asks nothing of its caller.
            unsafe { fork::hook() }
        }
    }
}

symbols! {
    fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t = SYS_read(fd, buf, len);
    fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t) -> ssize_t = SYS_read(fd, buf, len);
    fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t = SYS_write(fd, buf, len);
    fn pread(fd: c_int, buf: *mut c_void, len: size_t, offset: off_t) -> ssize_t = SYS_pread64(fd, buf, len, offset), also pread64;
    fn __pread_chk(fd: c_int, buf: *mut c_void, len: size_t, offset: off_t, room: size_t) -> ssize_t = SYS_pread64(fd, buf, len, offset), also __pread64_chk;
    fn pwrite(fd: c_int, buf: *const c_void, len: size_t, offset: off_t) -> ssize_t = SYS_pwrite64(fd, buf, len, offset), also pwrite64;
    fn readv(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t = SYS_readv(fd, iov, count);
    fn writev(fd: c_int, iov: *const iovec, count: c_int) -> ssize_t = SYS_writev(fd, iov, count);
    fn preadv(fd: c_int, iov: *const iovec, count: c_int, offset: off_t) -> ssize_t = SYS_preadv(fd, iov, count, offset, 0), also preadv64;
    fn pwritev(fd: c_int, iov: *const iovec, count: c_int, offset: off_t) -> ssize_t = SYS_pwritev(fd, iov, count, offset, 0), also pwritev64;
    fn preadv2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t = SYS_preadv2(fd, iov, count, offset, 0, flags), also preadv64v2;
    fn pwritev2(fd: c_int, iov: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t = SYS_pwritev2(fd, iov, count, offset, 0, flags), also pwritev64v2;
    fn lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t = SYS_lseek(fd, offset, whence), also lseek64;
    fn fsync(fd: c_int) -> c_int = SYS_fsync(fd);
    fn fdatasync(fd: c_int) -> c_int = SYS_fdatasync(fd);
    fn syncfs(fd: c_int) -> c_int = SYS_syncfs(fd);
    fn flock(fd: c_int, operation: c_int) -> c_int = SYS_flock(fd, operation);
    fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int = SYS_fallocate(fd, mode, offset, length), also fallocate64;
    fn ftruncate(fd: c_int, length: off_t) -> c_int = SYS_ftruncate(fd, length), also ftruncate64;
    fn truncate(path: *const c_char, length: off_t) -> c_int = SYS_truncate(path, length), also truncate64;
    fn getdents64(fd: c_int, buf: *mut dirent64, len: size_t) -> ssize_t = SYS_getdents64(fd, buf, len);
    fn ioctl(fd: c_int, command: c_ulong, data: *mut c_void) -> c_int = SYS_ioctl(fd, command, data);

    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = SYS_openat(AT_FDCWD, path, flags, mode), also open64;
    fn __open_2(path: *const c_char, flags: c_int) -> c_int = SYS_openat(AT_FDCWD, path, flags, 0), also __open64_2;
    fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int = SYS_openat(dir, path, flags, mode), also openat64;
    fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int = SYS_openat(dir, path, flags, 0), also __openat64_2;
    fn creat(path: *const c_char, mode: mode_t) -> c_int = SYS_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode), also creat64;
    fn close(fd: c_int) -> c_int = SYS_close(fd);

    fn stat(path: *const c_char, buf: *mut stat) -> c_int = SYS_newfstatat(AT_FDCWD, path, buf, 0), also stat64;
    fn lstat(path: *const c_char, buf: *mut stat) -> c_int = SYS_newfstatat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW), also lstat64;
    fn fstat(fd: c_int, buf: *mut stat) -> c_int = SYS_fstat(fd, buf), also fstat64;
    fn fstatat(dir: c_int, path: *const c_char, buf: *mut stat, flags: c_int) -> c_int = SYS_newfstatat(dir, path, buf, flags), also fstatat64;
    fn __xstat(version: c_int, path: *const c_char, buf: *mut stat) -> c_int = SYS_newfstatat(AT_FDCWD, path, buf, 0), also __xstat64;
    fn __lxstat(version: c_int, path: *const c_char, buf: *mut stat) -> c_int = SYS_newfstatat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW), also __lxstat64;
    fn __fxstat(version: c_int, fd: c_int, buf: *mut stat) -> c_int = SYS_fstat(fd, buf), also __fxstat64;
    fn __fxstatat(version: c_int, dir: c_int, path: *const c_char, buf: *mut stat, flags: c_int) -> c_int = SYS_newfstatat(dir, path, buf, flags), also __fxstatat64;
    fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buf: *mut statx) -> c_int = SYS_statx(dir, path, flags, mask, buf);
    fn statfs(path: *const c_char, buf: *mut statfs) -> c_int = SYS_statfs(path, buf), also statfs64;
    fn fstatfs(fd: c_int, buf: *mut statfs) -> c_int = SYS_fstatfs(fd, buf), also fstatfs64;
    fn access(path: *const c_char, mode: c_int) -> c_int = SYS_access(path, mode);
    fn chmod(path: *const c_char, mode: mode_t) -> c_int = SYS_chmod(path, mode);
    fn fchmod(fd: c_int, mode: mode_t) -> c_int = SYS_fchmod(fd, mode);
    // With AT_SYMLINK_NOFOLLOW the C library would ask /proc/self/fd, which is the host's.
    fn fchmodat(dir: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int = SYS_fchmodat2(dir, path, mode, flags);
    fn chown(path: *const c_char, uid: uid_t, gid: gid_t) -> c_int = SYS_chown(path, uid, gid);
    fn lchown(path: *const c_char, uid: uid_t, gid: gid_t) -> c_int = SYS_lchown(path, uid, gid);
    fn fchown(fd: c_int, uid: uid_t, gid: gid_t) -> c_int = SYS_fchown(fd, uid, gid);
    fn fchownat(dir: c_int, path: *const c_char, uid: uid_t, gid: gid_t, flags: c_int) -> c_int = SYS_fchownat(dir, path, uid, gid, flags);
    fn utimensat(dir: c_int, path: *const c_char, times: *const timespec, flags: c_int) -> c_int = SYS_utimensat(dir, path, times, flags);
    fn futimens(fd: c_int, times: *const timespec) -> c_int = SYS_utimensat(fd, std::ptr::null::<c_char>(), times, 0);
    fn readlink(path: *const c_char, buf: *mut c_char, len: size_t) -> ssize_t = SYS_readlink(path, buf, len);
    fn readlinkat(dir: c_int, path: *const c_char, buf: *mut c_char, len: size_t) -> ssize_t = SYS_readlinkat(dir, path, buf, len);
    fn unlink(path: *const c_char) -> c_int = SYS_unlink(path);
    fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int = SYS_unlinkat(dir, path, flags);
    fn rmdir(path: *const c_char) -> c_int = SYS_rmdir(path);
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int = SYS_mkdir(path, mode);
    fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int = SYS_mkdirat(dir, path, mode);
    fn mknod(path: *const c_char, mode: mode_t, dev: dev_t) -> c_int = SYS_mknod(path, mode, dev);
    fn mknodat(dir: c_int, path: *const c_char, mode: mode_t, dev: dev_t) -> c_int = SYS_mknodat(dir, path, mode, dev);
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int = SYS_mknod(path, mode | S_IFIFO, 0);
    fn mkfifoat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int = SYS_mknodat(dir, path, mode | S_IFIFO, 0);
    fn symlink(target: *const c_char, path: *const c_char) -> c_int = SYS_symlink(target, path);
    fn symlinkat(target: *const c_char, dir: c_int, path: *const c_char) -> c_int = SYS_symlinkat(target, dir, path);
    fn link(path: *const c_char, new: *const c_char) -> c_int = SYS_link(path, new);
    fn linkat(dir: c_int, path: *const c_char, newdir: c_int, new: *const c_char, flags: c_int) -> c_int = SYS_linkat(dir, path, newdir, new, flags);
    fn rename(from: *const c_char, to: *const c_char) -> c_int = SYS_rename(from, to);
    fn renameat(dir: c_int, from: *const c_char, newdir: c_int, to: *const c_char) -> c_int = SYS_renameat(dir, from, newdir, to);
    fn renameat2(dir: c_int, from: *const c_char, newdir: c_int, to: *const c_char, flags: c_uint) -> c_int = SYS_renameat2(dir, from, newdir, to, flags);
    fn chdir(path: *const c_char) -> c_int = SYS_chdir(path);
    fn fchdir(fd: c_int) -> c_int = SYS_fchdir(fd);
    fn chroot(path: *const c_char) -> c_int = SYS_chroot(path);
    fn umask(mask: mode_t) -> mode_t = SYS_umask(mask);

    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = SYS_socket(domain, kind, protocol);
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int = SYS_socketpair(domain, kind, protocol, pair);
    fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int = SYS_bind(fd, addr, len);
    fn connect(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int = SYS_connect(fd, addr, len);
    fn listen(fd: c_int, backlog: c_int) -> c_int = SYS_listen(fd, backlog);
    fn accept(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_accept(fd, addr, len);
    fn accept4(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int = SYS_accept4(fd, addr, len, flags);
    fn getsockname(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_getsockname(fd, addr, len);
    fn getpeername(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_getpeername(fd, addr, len);
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int = SYS_getsockopt(fd, level, name, value, len);
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int = SYS_setsockopt(fd, level, name, value, len);
    fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t = SYS_sendto(fd, buf, len, flags, 0, 0);
    fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, addr: *const sockaddr, addrlen: socklen_t) -> ssize_t = SYS_sendto(fd, buf, len, flags, addr, addrlen);
    fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, 0, 0);
    fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, 0, 0);
    fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, addr, addrlen);
    fn __recvfrom_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, addr, addrlen);
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t = SYS_sendmsg(fd, message, flags);
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t = SYS_recvmsg(fd, message, flags);
    fn sendmmsg(fd: c_int, vector: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int = SYS_sendmmsg(fd, vector, count, flags);
    fn recvmmsg(fd: c_int, vector: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int = SYS_recvmmsg(fd, vector, count, flags, timeout);
    fn shutdown(fd: c_int, how: c_int) -> c_int = SYS_shutdown(fd, how);

    fn dup(fd: c_int) -> c_int = SYS_dup(fd);
    fn dup2(from: c_int, to: c_int) -> c_int = SYS_dup2(from, to);
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int = SYS_dup3(from, to, flags);
    fn fcntl(fd: c_int, command: c_int, data: *mut c_void) -> c_int = SYS_fcntl(fd, command, data), also fcntl64;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int = SYS_close_range(first, last, flags);
    fn mmap(addr: *mut c_void, len: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void = SYS_mmap(addr, len, protection, flags, fd, offset), also mmap64;
    fn sendfile(out: c_int, input: c_int, offset: *mut off_t, count: size_t) -> ssize_t = SYS_sendfile(out, input, offset, count), also sendfile64;
    fn copy_file_range(input: c_int, in_offset: *mut off_t, out: c_int, out_offset: *mut off_t, len: size_t, flags: c_uint) -> ssize_t = SYS_copy_file_range(input, in_offset, out, out_offset, len, flags);
    fn splice(input: c_int, in_offset: *mut off_t, out: c_int, out_offset: *mut off_t, len: size_t, flags: c_uint) -> ssize_t = SYS_splice(input, in_offset, out, out_offset, len, flags);

    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = SYS_poll(fds, count, timeout);
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int = SYS_poll(fds, count, timeout);
    fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int = SYS_ppoll(fds, count, timeout, mask, 8);
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t) -> c_int = SYS_ppoll(fds, count, timeout, mask, 8);
    fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int = SYS_select(count, read, write, except, timeout);
    fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int = SYS_pselect6(count, read, write, except, timeout, &[mask as usize, 8]);
    fn epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut c_void) -> c_int = SYS_epoll_ctl(set, operation, fd, event);

    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int = SYS_execve(path, argv, envp);
}
