//! What is measured of the calls that pass by: a row for each call of the library's table (a test there holds it against this file).

use std::ffi::CStr;

use libc::*;

/// A call of the host: its number, the function of libc that makes it, and the arguments of that function. Where libc has no
/// function, an empty name: then `syscall` makes it.
pub struct Row {
    pub number: c_long,
    pub function: &'static CStr,
    pub args: [usize; 6],
    /// The arguments of the system call, where they are others.
    pub raw: [usize; 6],
    /// Why it may cost more.
    pub dearer: Option<&'static str>,
}

/// Calls that cannot be made over and over. (Nothing reads the list but the test.)
#[expect(dead_code, reason = "the test of the calls table reads this file")]
pub const ONCE: &[(c_long, &str)] = &[
    (SYS_fork, "makes a process"),
    (SYS_vfork, "makes a process"),
    (SYS_clone, "makes a process"),
    (SYS_clone3, "makes a process"),
    (SYS_execve, "a failed one is looked at, a good one ends the program"),
    (SYS_execveat, "a failed one is looked at, a good one ends the program"),
    (SYS_exit_group, "ends the process"),
    (SYS_unshare, "changes what the process sees"),
    (SYS_seccomp, "changes what the process may do"),
    (SYS_sync, "writes all file systems of the host"),
    (SYS_io_uring_setup, "answered by the library"),
    (SYS_io_setup, "answered by the library"),
];

/// What the rows are about.
pub struct Host {
    pub fd: i32,
    pub file: i32,
    pub socket: i32,
    pub set: i32,
    pub path: &'static CStr,
    pub room: &'static mut [u64; 1024],
}

/// The rows. Almost all fail early in the kernel, so that there is little but the way there and back.
pub fn rows(host: &Host) -> Vec<Row> {
    let mut rows = Vec::with_capacity(200);
    let mut add = |number: c_long, function: &'static CStr, args: &[usize]| {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        rows.push(Row { number, function, args: all, raw: all, dearer: None });
    };
    const NONE: usize = -1_isize as usize;
    const HERE: usize = AT_FDCWD as isize as usize;
    let (fd, file, socket, set) = (host.fd as usize, host.file as usize, host.socket as usize, host.set as usize);
    let (path, empty, room) = (host.path.as_ptr() as usize, c"".as_ptr() as usize, host.room.as_ptr() as usize);
    let (members, times) = (room, room + 1024);

    add(SYS_read, c"read", &[file, room, 0]);
    add(SYS_write, c"write", &[file, room, 0]);
    add(SYS_pread64, c"pread64", &[file, room, 0, 0]);
    add(SYS_pwrite64, c"pwrite64", &[file, room, 0, 0]);
    add(SYS_readv, c"readv", &[file, room, 0]);
    add(SYS_writev, c"writev", &[file, room, 0]);
    add(SYS_preadv, c"preadv64", &[file, room, 0, 0]);
    add(SYS_pwritev, c"pwritev64", &[file, room, 0, 0]);
    add(SYS_preadv2, c"preadv2", &[file, room, 0, 0, 0]);
    add(SYS_pwritev2, c"pwritev2", &[file, room, 0, 0, 0]);
    add(SYS_lseek, c"lseek", &[file, 0, 1]);
    add(SYS_fstat, c"", &[file, room]);
    add(SYS_fstatfs, c"fstatfs", &[file, room]);
    add(SYS_ftruncate, c"ftruncate", &[NONE, 0]);
    add(SYS_fsync, c"fsync", &[NONE]);
    add(SYS_fdatasync, c"fdatasync", &[NONE]);
    add(SYS_sync_file_range, c"sync_file_range", &[NONE, 0, 0, 0]);
    add(SYS_syncfs, c"syncfs", &[NONE]);
    add(SYS_readahead, c"readahead", &[NONE, 0, 0]);
    add(SYS_fchmod, c"fchmod", &[NONE, 0]);
    add(SYS_fchown, c"fchown", &[NONE, 0, 0]);
    add(SYS_flock, c"flock", &[NONE, LOCK_UN as usize]);
    add(SYS_fallocate, c"fallocate64", &[NONE, 0, 0, 1]);
    add(SYS_fadvise64, c"posix_fadvise64", &[NONE, 0, 0, 0]);
    add(SYS_fgetxattr, c"fgetxattr", &[NONE, path, room, 8]);
    add(SYS_fsetxattr, c"fsetxattr", &[NONE, path, room, 8, 0]);
    add(SYS_flistxattr, c"flistxattr", &[NONE, room, 8]);
    add(SYS_fremovexattr, c"fremovexattr", &[NONE, path]);
    add(SYS_open_by_handle_at, c"open_by_handle_at", &[NONE, room, 0]);
    add(SYS_quotactl_fd, c"", &[NONE, 0, 0, 0]);
    add(SYS_timerfd_settime, c"timerfd_settime", &[NONE, 0, times, 0]);
    add(SYS_timerfd_gettime, c"timerfd_gettime", &[NONE, times]);
    add(SYS_signalfd, c"", &[fd, room, 8]);
    add(SYS_signalfd4, c"signalfd", &[fd, room, 0]);
    add(SYS_setns, c"setns", &[NONE, 0]);
    add(SYS_fsconfig, c"fsconfig", &[NONE, 0, 0, 0, 0]);
    add(SYS_fsmount, c"fsmount", &[NONE, 0, 0]);
    add(SYS_getdents, c"", &[NONE, room, 64]);
    add(SYS_getdents64, c"getdents64", &[NONE, room, 64]);
    add(SYS_ioctl, c"ioctl", &[file, FIONREAD as usize, room]);

    add(SYS_open, c"", &[path, 0, 0]);
    add(SYS_creat, c"", &[empty, 0]);
    add(SYS_openat, c"open", &[path, 0, 0]);
    add(SYS_stat, c"", &[path, room]);
    add(SYS_lstat, c"", &[path, room]);
    add(SYS_newfstatat, c"stat", &[path, room]);
    add(SYS_statx, c"statx", &[HERE, path, 0, 0, room]);
    add(SYS_statfs, c"statfs", &[path, room]);
    add(SYS_access, c"access", &[path, 0]);
    add(SYS_faccessat, c"", &[HERE, path, 0]);
    add(SYS_faccessat2, c"faccessat", &[HERE, path, 0, AT_EACCESS as usize]);
    add(SYS_chmod, c"chmod", &[path, 0]);
    add(SYS_fchmodat, c"", &[HERE, path, 0]);
    add(SYS_fchmodat2, c"", &[HERE, path, 0, 0]);
    add(SYS_chown, c"chown", &[path, NONE, NONE]);
    add(SYS_lchown, c"lchown", &[path, NONE, NONE]);
    add(SYS_fchownat, c"fchownat", &[HERE, path, NONE, NONE, 0]);
    add(SYS_utimensat, c"utimensat", &[HERE, path, 0, 0]);
    add(SYS_utime, c"", &[path, 0]);
    add(SYS_utimes, c"", &[path, 0]);
    add(SYS_futimesat, c"", &[HERE, path, 0]);
    add(SYS_readlink, c"readlink", &[path, room, 8]);
    add(SYS_readlinkat, c"readlinkat", &[HERE, path, room, 8]);
    add(SYS_unlink, c"unlink", &[path]);
    add(SYS_rmdir, c"rmdir", &[path]);
    add(SYS_unlinkat, c"unlinkat", &[HERE, path, 0]);
    add(SYS_mkdir, c"mkdir", &[empty, 0]);
    add(SYS_mkdirat, c"mkdirat", &[HERE, empty, 0]);
    add(SYS_mknod, c"", &[empty, 0, 0]);
    add(SYS_mknodat, c"mknodat", &[HERE, empty, 0, 0]);
    add(SYS_symlink, c"symlink", &[path, empty]);
    add(SYS_symlinkat, c"symlinkat", &[path, HERE, empty]);
    add(SYS_truncate, c"truncate64", &[path, 0]);
    add(SYS_link, c"link", &[path, path]);
    add(SYS_rename, c"rename", &[path, path]);
    add(SYS_renameat, c"renameat", &[HERE, path, HERE, path]);
    add(SYS_renameat2, c"renameat2", &[HERE, path, HERE, path, 0]);
    add(SYS_getxattr, c"getxattr", &[path, path, room, 8]);
    add(SYS_lgetxattr, c"lgetxattr", &[path, path, room, 8]);
    add(SYS_setxattr, c"setxattr", &[path, path, room, 8, 0]);
    add(SYS_lsetxattr, c"lsetxattr", &[path, path, room, 8, 0]);
    add(SYS_listxattr, c"listxattr", &[path, room, 8]);
    add(SYS_llistxattr, c"llistxattr", &[path, room, 8]);
    add(SYS_removexattr, c"removexattr", &[path, path]);
    add(SYS_lremovexattr, c"lremovexattr", &[path, path]);
    add(SYS_inotify_add_watch, c"inotify_add_watch", &[NONE, path, 1]);
    add(SYS_fanotify_mark, c"fanotify_mark", &[NONE, 0, 0, HERE, path]);
    add(SYS_name_to_handle_at, c"name_to_handle_at", &[HERE, path, room, room, 0]);
    add(SYS_mount, c"mount", &[path, path, path, 0, 0]);
    add(SYS_umount2, c"umount2", &[path, 0]);
    add(SYS_open_tree, c"open_tree", &[HERE, path, 0]);
    add(SYS_fspick, c"fspick", &[HERE, path, 0]);
    add(SYS_mount_setattr, c"mount_setattr", &[HERE, path, 0, room, 0]);
    add(SYS_move_mount, c"move_mount", &[HERE, path, HERE, path, 0]);
    add(SYS_pivot_root, c"", &[path, path]);
    add(SYS_quotactl, c"quotactl", &[NONE, path, 0, 0]);
    add(SYS_swapon, c"swapon", &[path, NONE]);
    add(SYS_swapoff, c"swapoff", &[path]);
    add(SYS_acct, c"acct", &[path]);
    add(SYS_uselib, c"", &[path]);
    add(SYS_chroot, c"chroot", &[path]);
    add(SYS_openat2, c"", &[HERE, path, times, 24]);
    add(SYS_linkat, c"linkat", &[HERE, path, HERE, path, 0]);
    add(SYS_chdir, c"chdir", &[path]);
    add(SYS_fchdir, c"fchdir", &[NONE]);
    add(SYS_getcwd, c"", &[room, 8192]);

    add(SYS_socket, c"socket", &[AF_UNIX as usize, NONE, 0]);
    add(SYS_socketpair, c"socketpair", &[AF_UNIX as usize, NONE, 0, room]);
    add(SYS_bind, c"bind", &[socket, room, NONE]);
    add(SYS_connect, c"connect", &[socket, room, NONE]);
    add(SYS_listen, c"listen", &[NONE, 1]);
    add(SYS_accept, c"accept", &[NONE, 0, 0]);
    add(SYS_accept4, c"accept4", &[NONE, 0, 0, 0]);
    add(SYS_getsockname, c"getsockname", &[NONE, room, room]);
    add(SYS_getpeername, c"getpeername", &[NONE, room, room]);
    add(SYS_getsockopt, c"getsockopt", &[socket, 0, 0, 0, 0]);
    add(SYS_setsockopt, c"setsockopt", &[socket, 0, 0, 0, 0]);
    add(SYS_sendto, c"sendto", &[socket, room, 0, MSG_DONTWAIT as usize, 0, 0]);
    add(SYS_recvfrom, c"recvfrom", &[socket, room, 0, MSG_DONTWAIT as usize, 0, 0]);
    add(SYS_sendmsg, c"sendmsg", &[NONE, room, 0]);
    add(SYS_recvmsg, c"recvmsg", &[NONE, room, 0]);
    add(SYS_sendmmsg, c"sendmmsg", &[NONE, room, 0, 0]);
    add(SYS_recvmmsg, c"recvmmsg", &[NONE, room, 0, 0, 0]);
    add(SYS_shutdown, c"shutdown", &[NONE, 0]);

    add(SYS_close, c"close", &[NONE]);
    add(SYS_dup, c"dup", &[NONE]);
    add(SYS_fcntl, c"fcntl64", &[file, F_GETFD as usize, 0]);
    add(SYS_dup2, c"dup2", &[NONE, fd]);
    add(SYS_dup3, c"dup3", &[NONE, fd, 0]);
    add(SYS_close_range, c"close_range", &[fd + 200, fd + 201, 0]);
    add(SYS_mmap, c"mmap64", &[0, 0, 0, 0, file, 0]);
    add(SYS_sendfile, c"sendfile64", &[NONE, NONE, 0, 0]);
    add(SYS_copy_file_range, c"copy_file_range", &[NONE, 0, NONE, 0, 0, 0]);
    add(SYS_splice, c"splice", &[NONE, 0, NONE, 0, 1, 0]);
    add(SYS_tee, c"tee", &[NONE, NONE, 1, 0]);
    add(SYS_vmsplice, c"vmsplice", &[NONE, room, 1, 0]);
    add(SYS_munmap, c"munmap", &[1, 0]);
    add(SYS_msync, c"msync", &[1, 0, 0]);
    add(SYS_mremap, c"mremap", &[1, 0, 0, 0]);

    add(SYS_poll, c"poll", &[members, 1, 0]);
    add(SYS_ppoll, c"ppoll", &[members, 1, times, 0]);
    add(SYS_select, c"", &[0, 0, 0, 0, times]);
    add(SYS_pselect6, c"pselect", &[8, times, 0, 0, times, 0]);
    add(SYS_epoll_create, c"epoll_create", &[0]);
    add(SYS_epoll_create1, c"epoll_create1", &[NONE]);
    add(SYS_epoll_ctl, c"epoll_ctl", &[NONE, NONE, NONE, room]);
    add(SYS_epoll_wait, c"epoll_wait", &[set, room, 8, 0]);
    add(SYS_epoll_pwait, c"epoll_pwait", &[set, room, 8, 0, 0]);
    add(SYS_epoll_pwait2, c"epoll_pwait2", &[set, room, 8, times, 0]);

    add(SYS_umask, c"umask", &[0o22]);
    add(SYS_rt_sigaction, c"", &[0, 0, 0, 8]);
    add(SYS_prctl, c"prctl", &[PR_GET_DUMPABLE as usize, 0, 0, 0, 0]);
    // Calls by their numbers, and one that is not in the table at all.
    add(SYS_access, c"", &[path, 0]);
    add(SYS_lseek, c"", &[file, 0, 1]);
    add(SYS_getppid, c"", &[]);
    let mut raw = |number: c_long, args: &[usize]| {
        rows.iter_mut().filter(|row| row.number == number).for_each(|row| row.raw[..args.len()].copy_from_slice(args));
    };
    raw(SYS_openat, &[HERE, path, 0, 0]);
    raw(SYS_newfstatat, &[HERE, path, room, 0]);
    raw(SYS_signalfd4, &[fd, room, 8, 0]);
    raw(SYS_ppoll, &[members, 1, times, 0, 8]);
    raw(SYS_epoll_pwait, &[set, room, 8, 0, 0, 8]);
    raw(SYS_epoll_pwait2, &[set, room, 8, times, 0, 8]);
    for (number, why) in DEARER {
        rows.iter_mut().filter(|row| row.number == *number).for_each(|row| row.dearer = Some(why));
    }
    rows
}

/// Calls of the host that are more than that.
const DEARER: &[(c_long, &str)] = &[
    (SYS_openat2, "only syscall(2) makes it"),
    (SYS_pselect6, "a jump back more, which the processor does not foresee after a system call"),
    (SYS_umask, "the rump process is told as well"),
    (SYS_chroot, "the server may be out of reach afterwards: the library sees to its connection first"),
    (SYS_setns, "as chroot"),
    (SYS_epoll_create, "the set is noted; libc makes none inside"),
    (SYS_epoll_create1, "the set is noted; libc makes none inside"),
];
