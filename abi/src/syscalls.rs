//! The kernel call table: number, name, arguments, result (NetBSD's syscalls.master).
//!
//! [`syscalls!`](crate::syscalls!) hands the table to another macro, which expands it: to the
//! client's stubs, to the kernel's dispatcher, to [`TABLE`]. A row reads: the component that serves
//! the call (`K` the base kernel, `V` the file systems, `N` the network), the number, the name without its
//! version suffix, the arguments (one slot each) and the result.
//!
//! The numbers from [`EXTENSIONS`] on are ours: what Linux has and NetBSD lacks. A NetBSD server answers `ENOSYS` to any
//! number above 511.

/// Calls `$callback! { rows }` with every row of the kernel call table.
#[macro_export]
macro_rules! syscalls {
    ($callback:path) => {
        $callback! {
            K 3 read(fd: Fd, buf: Out, nbyte: usize) -> usize;
            K 4 write(fd: Fd, buf: In, nbyte: usize) -> usize;
            V 5 open(path: UserStr, flags: i32, mode: u32) -> Fd;
            K 6 close(fd: Fd) -> ();
            V 9 link(path: UserStr, link: UserStr) -> ();
            V 10 unlink(path: UserStr) -> ();
            V 12 chdir(path: UserStr) -> ();
            V 13 fchdir(fd: Fd) -> ();
            V 15 chmod(path: UserStr, mode: u32) -> ();
            V 16 chown(path: UserStr, uid: u32, gid: u32) -> ();
            K 20 getpid() -> (i32, i32);
            V 22 unmount(path: UserStr, flags: i32) -> ();
            K 23 setuid(uid: u32) -> ();
            K 24 getuid() -> (u32, u32);
            K 25 geteuid() -> u32;
            N 27 recvmsg(s: Fd, msg: InOut, flags: i32) -> usize;
            N 28 sendmsg(s: Fd, msg: In, flags: i32) -> usize;
            N 29 recvfrom(s: Fd, buf: Out, len: usize, flags: i32, from: Out, fromlenaddr: InOut) -> usize;
            N 30 accept(s: Fd, name: Out, anamelen: InOut) -> Fd;
            N 31 getpeername(fdes: Fd, asa: Out, alen: InOut) -> ();
            N 32 getsockname(fdes: Fd, asa: Out, alen: InOut) -> ();
            V 33 access(path: UserStr, flags: i32) -> ();
            V 36 sync() -> ();
            K 39 getppid() -> i32;
            K 41 dup(fd: Fd) -> Fd;
            K 42 pipe() -> (Fd, Fd);
            K 43 getegid() -> u32;
            K 47 getgid() -> (u32, u32);
            K 49 getlogin(namebuf: Out, namelen: usize) -> ();
            K 50 setlogin(namebuf: UserStr) -> ();
            K 54 ioctl(fd: Fd, com: u64, data: InOut) -> ();
            V 57 symlink(path: UserStr, link: UserStr) -> ();
            V 58 readlink(path: UserStr, buf: Out, count: usize) -> usize;
            V 60 umask(newmask: u32) -> u32;
            V 61 chroot(path: UserStr) -> ();
            K 79 getgroups(gidsetsize: i32, gidset: Out) -> i32;
            K 80 setgroups(gidsetsize: i32, gidset: In) -> ();
            K 81 getpgrp() -> i32;
            K 82 setpgid(pid: i32, pgid: i32) -> ();
            K 90 dup2(from: Fd, to: Fd) -> Fd;
            K 92 fcntl(fd: Fd, cmd: i32, arg: InOut) -> i32;
            V 95 fsync(fd: Fd) -> ();
            N 98 connect(s: Fd, name: In, namelen: u32) -> ();
            N 104 bind(s: Fd, name: In, namelen: u32) -> ();
            N 105 setsockopt(s: Fd, level: i32, name: i32, val: In, valsize: u32) -> ();
            N 106 listen(s: Fd, backlog: i32) -> ();
            N 118 getsockopt(s: Fd, level: i32, name: i32, val: Out, avalsize: InOut) -> ();
            K 120 readv(fd: Fd, iovp: In, iovcnt: i32) -> usize;
            K 121 writev(fd: Fd, iovp: In, iovcnt: i32) -> usize;
            V 123 fchown(fd: Fd, uid: u32, gid: u32) -> ();
            V 124 fchmod(fd: Fd, mode: u32) -> ();
            K 126 setreuid(ruid: u32, euid: u32) -> ();
            K 127 setregid(rgid: u32, egid: u32) -> ();
            V 128 rename(from: UserStr, to: UserStr) -> ();
            K 131 flock(fd: Fd, how: i32) -> ();
            V 132 mkfifo(path: UserStr, mode: u32) -> ();
            N 133 sendto(s: Fd, buf: In, len: usize, flags: i32, to: In, tolen: u32) -> usize;
            N 134 shutdown(s: Fd, how: i32) -> ();
            N 135 socketpair(domain: i32, kind: i32, protocol: i32, rsv: Out) -> ();
            V 136 mkdir(path: UserStr, mode: u32) -> ();
            V 137 rmdir(path: UserStr) -> ();
            K 147 setsid() -> i32;
            V 173 pread(fd: Fd, buf: Out, nbyte: usize, pad: Pad, offset: i64) -> usize;
            V 174 pwrite(fd: Fd, buf: In, nbyte: usize, pad: Pad, offset: i64) -> usize;
            K 181 setgid(gid: u32) -> ();
            K 182 setegid(egid: u32) -> ();
            K 183 seteuid(euid: u32) -> ();
            V 191 pathconf(path: UserStr, name: i32) -> i64;
            K 192 fpathconf(fd: Fd, name: i32) -> i64;
            K 194 getrlimit(which: i32, rlp: Out) -> ();
            K 195 setrlimit(which: i32, rlp: In) -> ();
            V 199 lseek(fd: Fd, pad: Pad, offset: i64, whence: i32) -> i64;
            V 200 truncate(path: UserStr, pad: Pad, length: i64) -> ();
            V 201 ftruncate(fd: Fd, pad: Pad, length: i64) -> ();
            K 202 sysctl(name: In, namelen: u32, oldv: Out, oldlenp: InOut, newv: In, newlen: usize) -> ();
            K 207 getpgid(pid: i32) -> i32;
            K 208 reboot(opt: i32, bootstr: UserStr) -> ();
            K 209 poll(fds: InOut, nfds: u32, timeout: i32) -> i32;
            V 241 fdatasync(fd: Fd) -> ();
            V 270 posix_rename(from: UserStr, to: UserStr) -> ();
            V 274 lchmod(path: UserStr, mode: u32) -> ();
            V 275 lchown(path: UserStr, uid: u32, gid: u32) -> ();
            V 283 posix_chown(path: UserStr, uid: u32, gid: u32) -> ();
            V 284 posix_fchown(fd: Fd, uid: u32, gid: u32) -> ();
            V 285 posix_lchown(path: UserStr, uid: u32, gid: u32) -> ();
            K 286 getsid(pid: i32) -> i32;
            V 289 preadv(fd: Fd, iovp: In, iovcnt: i32, pad: Pad, offset: i64) -> usize;
            V 290 pwritev(fd: Fd, iovp: In, iovcnt: i32, pad: Pad, offset: i64) -> usize;
            V 296 getcwd(bufp: Out, length: usize) -> usize;
            V 297 fchroot(fd: Fd) -> ();
            K 305 issetugid() -> i32;
            K 344 kqueue() -> Fd;
            V 354 fsync_range(fd: Fd, flags: i32, start: i64, length: i64) -> ();
            V 356 getvfsstat(buf: Out, bufsize: usize, flags: i32) -> i32;
            V 357 statvfs1(path: UserStr, buf: Out, flags: i32) -> ();
            V 358 fstatvfs1(fd: Fd, buf: Out, flags: i32) -> ();
            V 390 getdents(fd: Fd, buf: Out, count: usize) -> usize;
            N 394 socket(domain: i32, kind: i32, protocol: i32) -> Fd;
            V 410 mount(kind: UserStr, path: UserStr, flags: i32, data: InOut, data_len: usize) -> i32;
            K 416 fadvise(fd: Fd, pad: Pad, offset: i64, len: i64, advice: i32) -> i32;
            K 417 select(nd: i32, readfds: InOut, writefds: InOut, exceptfds: InOut, tv: In) -> i32;
            K 418 gettimeofday(tp: Out, tzp: Out) -> ();
            K 419 settimeofday(tv: In, tzp: In) -> ();
            V 420 utimes(path: UserStr, tptr: In) -> ();
            V 423 futimes(fd: Fd, tptr: In) -> ();
            V 424 lutimes(path: UserStr, tptr: In) -> ();
            K 427 clock_gettime(clock_id: i32, tp: Out) -> ();
            K 428 clock_settime(clock_id: i32, tp: In) -> ();
            K 429 clock_getres(clock_id: i32, tp: Out) -> ();
            K 430 nanosleep(rqtp: In, rmtp: Out) -> ();
            K 435 kevent(fd: Fd, changelist: In, nchanges: usize, eventlist: Out, nevents: usize, timeout: In, limit: u64) -> i32;
            K 436 pselect(nd: i32, readfds: InOut, writefds: InOut, exceptfds: InOut, ts: In, mask: In) -> i32;
            K 437 pollts(fds: InOut, nfds: u32, ts: In, mask: In) -> i32;
            V 439 stat(path: UserStr, ub: Out) -> ();
            K 440 fstat(fd: Fd, sb: Out) -> ();
            V 441 lstat(path: UserStr, ub: Out) -> ();
            V 450 mknod(path: UserStr, mode: u32, dev: u64) -> ();
            K 453 pipe2(fds: Out, flags: i32) -> ();
            K 454 dup3(from: Fd, to: Fd, flags: i32) -> Fd;
            K 455 kqueue1(flags: i32) -> Fd;
            N 456 paccept(s: Fd, name: Out, anamelen: InOut, mask: In, flags: i32) -> Fd;
            V 457 linkat(fd1: Fd, name1: UserStr, fd2: Fd, name2: UserStr, flags: i32) -> ();
            V 458 renameat(fromfd: Fd, from: UserStr, tofd: Fd, to: UserStr) -> ();
            V 459 mkfifoat(fd: Fd, path: UserStr, mode: u32) -> ();
            V 460 mknodat(fd: Fd, path: UserStr, mode: u32, pad: Pad, dev: u64) -> ();
            V 461 mkdirat(fd: Fd, path: UserStr, mode: u32) -> ();
            V 462 faccessat(fd: Fd, path: UserStr, amode: i32, flag: i32) -> ();
            V 463 fchmodat(fd: Fd, path: UserStr, mode: u32, flag: i32) -> ();
            V 464 fchownat(fd: Fd, path: UserStr, owner: u32, group: u32, flag: i32) -> ();
            V 466 fstatat(fd: Fd, path: UserStr, buf: Out, flag: i32) -> ();
            V 467 utimensat(fd: Fd, path: UserStr, tptr: In, flag: i32) -> ();
            V 468 openat(fd: Fd, path: UserStr, oflags: i32, mode: u32) -> Fd;
            V 469 readlinkat(fd: Fd, path: UserStr, buf: Out, bufsize: usize) -> usize;
            V 470 symlinkat(path1: UserStr, fd: Fd, path2: UserStr) -> ();
            V 471 unlinkat(fd: Fd, path: UserStr, flag: i32) -> ();
            V 472 futimens(fd: Fd, tptr: In) -> ();
            N 475 recvmmsg(s: Fd, mmsg: InOut, vlen: u32, flags: u32, timeout: In) -> i32;
            N 476 sendmmsg(s: Fd, mmsg: InOut, vlen: u32, flags: u32) -> i32;
            K 477 clock_nanosleep(clock_id: i32, flags: i32, rqtp: In, rmtp: Out) -> i32;
            V 479 posix_fallocate(fd: Fd, pad: Pad, pos: i64, len: i64) -> i32;
            V 1024 openat2(fd: Fd, path: UserStr, oflags: i32, mode: u32, resolve: u32) -> Fd;
            V 1025 renameat2(fromfd: Fd, from: UserStr, tofd: Fd, to: UserStr, flags: u32) -> ();
            V 1026 fallocate(fd: Fd, mode: u32, offset: i64, len: i64) -> ();
            V 1027 pwritev2(fd: Fd, iovp: In, iovcnt: i32, offset: i64, flags: u32) -> usize;
            V 1028 copy_file_range(from: Fd, from_at: InOut, to: Fd, to_at: InOut, len: usize) -> usize;
            V 1029 splice(from: Fd, from_at: InOut, to: Fd, to_at: InOut, len: usize, flags: u32) -> usize;
            V 1030 sendfile(to: Fd, from: Fd, from_at: InOut, len: usize) -> usize;
            K 1031 peek(fd: Fd, buf: Out, len: usize) -> usize;
            V 1032 mapfile(fd: Fd) -> ();
            K 1033 park(fd: Fd, token: Out) -> ();
            K 1034 claim(token: In, close_on_exec: i32, keep: i32) -> Fd;
            V 1035 fdpath(fd: Fd, buf: Out, len: usize) -> usize;
            V 1036 mount_text(source: UserStr, path: UserStr, kind: UserStr, flags: i32, options: UserStr) -> ();
            V 1037 etfs_register(key: UserStr, hostpath: UserStr, kind: u32, offset: u64, size: u64) -> ();
            V 1038 etfs_remove(key: UserStr) -> ();
            V 1039 snapshot() -> Fd;
            K 1040 setcred(ids: In, ngroups: i32, groups: In) -> ();
            K 1060 sigio(fd: Fd, side: i32) -> ();
            K 1061 share(fd: Fd) -> usize;
            K 1062 notice(fd: Fd, again: i32) -> usize;
            K 1063 bell(fd: Fd) -> usize;
        }
    };
}

/// The first number of a call that NetBSD does not have.
pub const EXTENSIONS: u32 = 1024;

/// Which component of the kernel serves a call; without the component the call is `ENOSYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faction {
    /// The base kernel.
    K,
    /// The virtual file system (rumpvfs).
    V,
    /// The network (rumpnet).
    N,
}

/// A row of the table, without its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The call's number.
    pub number: u32,
    /// The call's name, without NetBSD's version suffix.
    pub name: &'static str,
    /// Length of the argument block in slots of 8 bytes.
    pub slots: usize,
    /// Who serves it.
    pub faction: Faction,
}

macro_rules! table {
    ($($faction:ident $number:literal $name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
        /// The rows, in the order of their numbers.
        pub const TABLE: &[Row] = &[
            $(Row {
                number: $number,
                name: stringify!($name),
                slots: <[&str]>::len(&[$(stringify!($arg)),*]),
                faction: Faction::$faction,
            }),*
        ];

        /// The numbers by name: `nr::OPEN`.
        #[expect(non_upper_case_globals, reason = "spelt as the calls are")]
        pub mod nr {
            $(#[doc = concat!("`", stringify!($name), "`")] pub const $name: u32 = $number;)*
        }
    };
}

syscalls!(table);

/// Returns the row of a call number.
pub fn row(number: u32) -> Option<&'static Row> {
    TABLE.binary_search_by_key(&number, |row| row.number).ok().and_then(|at| TABLE.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_no_number_stands_twice() {
        assert!(TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn no_call_has_more_than_eight_slots() {
        assert!(TABLE.iter().all(|row| row.slots <= 8));
    }

    #[test]
    fn a_number_is_netbsds_or_an_extension() {
        assert!(TABLE.iter().all(|row| row.number < 512 || row.number >= EXTENSIONS));
    }
}
