//! THE calls table: each Linux system call that the library looks at, how it is routed, and who serves it.
//!
//! Both front doors ask [`dispatch`]. A row reads as a sentence:
//!
//! ```text
//! by fd(fd)        SYS_read(fd, buf, len) => file::read(buf, len);            a rump descriptor: the handler gets it first
//! by path(path)    SYS_mkdir(path, mode) => name::mkdirat(mode);              a path from the working directory: RumpAt first
//! by at(dir, path) SYS_openat(dir, path, flags, mode) => open::openat(flags, mode);
//! by at(dir, path, flags or attr::fstat(buf)) …                               the same; a null or (AT_EMPTY_PATH) empty path is by fd
//! by at(dir, path or descriptor::reopen(flags)) …                             the same for a name of a descriptor: /dev/fd/5
//! by two(d, p, e, q) …                                                        two paths: two RumpAt first
//! by name(dir, path) …                                                        the handler judges for itself whose the path is
//! by number(fd) …, by call() …                                                the handler judges for itself
//! by fds(from, to) …, by names(d, p, e, q) …, by family(domain) …,             the same; the word says when it need not be asked
//! by inside() …, by outside(…) …, by value(arg, VALUE) …, by range() …,        (see Wanted)
//! by copied() …, by polled() …, by selected() …, by waits(set) …, by handlers() …
//! ```
//!
//! Arguments of a handler are made of the call's by [`Arg`], in the type that the handler has. `once` at the end of a row says
//! that an interrupted call is not done again, whatever SA_RESTART says.

use abi::fcntl::AT_FDCWD;
use abi::{Errno, Result};
use client::signals::{self, Blocked};

pub use crate::deep::Outcome;
use crate::fds::{self, NewFd, RumpFd};
pub use crate::first::Wanted;
use crate::route::{self, End, Owner, RumpAt};
use crate::rump::{
    attr, bell, both, copies, descriptor, dir, epoll, file, ioctl, listing, message, mount, name, open, option, poll,
    refuse, seccomp, socket, times, transfer,
};
use crate::user;
use crate::{borrower, cancel, clone, exec, first, handlers, job, process, sandbox, trace};

/// An argument as the handler wants it.
pub trait Arg: Sized {
    /// Reads the declared width of an argument.
    fn arg(word: usize) -> Self;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Arg for $type {
            fn arg(word: usize) -> Self {
                word as Self
            }
        }
    )*};
}

numbers!(i32, u32, i64, u64, usize);

fn arg<T: Arg>(word: usize) -> T {
    T::arg(word)
}

/// What a handler may answer: a value, or a descriptor that needs a number.
pub trait Answer {
    /// Makes the value for the program.
    fn finish(self) -> Result<usize>;
}

impl Answer for usize {
    fn finish(self) -> Result<usize> {
        Ok(self)
    }
}

impl Answer for NewFd {
    fn finish(self) -> Result<usize> {
        fds::install(self).map(|fd| fd as usize)
    }
}

/// Does a call in the rump kernel: signals blocked meanwhile, again if a signal interrupted it and `restart` allows it.
pub fn serve<T: Answer>(restart: bool, call: impl FnMut() -> Result<T>) -> Outcome {
    serve_unless(restart, || false, call)
}

/// The same on a descriptor: as on Linux, a call on a socket with a time limit is not done again, or regular signals would
/// put the limit off for ever.
fn serve_fd<T: Answer>(fd: RumpFd, restart: bool, call: impl FnMut() -> Result<T>) -> Outcome {
    serve_unless(restart, || option::has_time_limit(fd), call)
}

/// Serves a call on one descriptor. Another thread may put something else under its number (dup2) after it was looked up: then
/// the call is that one's, and not `EBADF`.
fn by_fd<T: Answer>(fd: i32, restart: bool, mut call: impl FnMut(RumpFd) -> Result<T>) -> Outcome {
    while let Some(rump) = fds::lookup(fd) {
        let done = serve_fd(rump, restart, || call(rump));
        if done != EBADF || fds::lookup(fd) == Some(rump) {
            return done;
        }
    }
    if fds::is_ours(fd) { EBADF } else { Outcome::Host }
}

const EBADF: Outcome = Outcome::Done(-(libc::EBADF as isize));

fn serve_unless<T: Answer>(restart: bool, once: impl Fn() -> bool, mut call: impl FnMut() -> Result<T>) -> Outcome {
    let _blocked = Blocked::lightly();
    let answer = loop {
        match call() {
            Err(Errno::EINTR) if again(restart && !once()) => {}
            Err(error) if job::is_refusal(error) => {
                if let Some(error) = job::refused(error, restart) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
            Ok(answer) => break answer.finish(),
        }
    };
    outcome(answer)
}

/// Lets the signals through that interrupted a call, and says whether the call is to be done again.
///
/// As on Linux: yes if none had a handler (the process was stopped and continued, perhaps), or if the call can be restarted and
/// all handlers ask for it. No if the thread was cancelled.
pub fn again(restart: bool) -> bool {
    let pending = signals::pending();
    // In the child of a fork that a handler has made, the call goes on as in the parent: on the child's own connection.
    let _ = signals::open();
    !pending.cancel && (pending.caught.is_empty() || restart && pending.restart)
}

/// What the kernel would have returned.
pub fn outcome(answer: Result<usize>) -> Outcome {
    Outcome::Done(match answer {
        Ok(value) => value as isize,
        Err(error) => -(error.to_linux() as isize),
    })
}

/// Runs a row in a frame of its own: all of them in one would take 11 KiB of stack, and a thread may have no more than 16.
#[inline(never)]
fn apart(row: impl FnOnce() -> Outcome) -> Outcome {
    row()
}

/// Serves a call on one path.
fn by_path<T: Answer>(restart: bool, owner: Owner, mut call: impl FnMut(&RumpAt<'_>) -> Result<T>) -> Outcome {
    match owner {
        Owner::Host | Owner::Descriptor(_) => Outcome::Host,
        Owner::Rump(name) => serve(restart, || call(&name.at())),
        Owner::WorkingDirectory => serve(restart, || call(&RumpAt { dir: abi::Fd(AT_FDCWD), path: c"." })),
    }
}

/// Serves a call on two paths.
fn by_two(from: End, to: End, mut call: impl FnMut(&RumpAt<'_>, &RumpAt<'_>) -> Result<usize>) -> Outcome {
    match route::two(from, to, name::above) {
        Ok(None) => Outcome::Host,
        Ok(Some((from, to))) => serve(true, || call(&from.at(), &to.at())),
        Err(error) => outcome(Err(error)),
    }
}

/// Whether a call on a directory descriptor means the descriptor itself: no path, or an empty one that `flags` allows.
fn means_fd(fd: usize, path: usize, flags: usize) -> bool {
    fds::lookup(fd as i32).is_some()
        && (path == 0 || flags & libc::AT_EMPTY_PATH as usize != 0 && matches!(user::read::<u8>(path), Ok(0)))
}

/// Where `name` stands among `names`.
#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
const fn position(names: &[&str], name: &str) -> usize {
    let mut at = 0;
    while at < names.len() {
        if same(names[at].as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    at
}

/// The number of the argument `name`; that of the working directory if there is none of this name.
const fn place(names: &[&str], name: &str) -> u8 {
    match position(names, name) {
        at if at < names.len() => at as u8,
        _ => first::CWD,
    }
}

#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
pub const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A row without its types: what the trace and the tests read.
#[derive(Debug)]
pub struct Row {
    /// Number of the Linux call.
    pub nr: usize,
    /// Its name in `libc`: `SYS_read`.
    pub name: &'static str,
    /// What its arguments are called.
    pub arguments: &'static [&'static str],
    /// Which argument is a path, to be shown as one.
    pub path: Option<usize>,
    /// Who serves it: `file::read`.
    pub handler: &'static str,
}

impl Row {
    /// The name of its manual page.
    pub fn plain_name(&self) -> &'static str {
        self.name.trim_start_matches("SYS_")
    }

    /// Whether the host answered. An exec is the host's in the end, although the library makes the call.
    pub fn is_host(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Host || matches!(self.nr as i64, libc::SYS_execve | libc::SYS_execveat)
    }
}

/// Expands the rows to [`dispatch`], [`wanted`] and [`TABLE`]: `by fd(fd) SYS_read(fd, buf, len) => file::read(buf, len);` becomes
/// ```text
/// libc::SYS_read => { let [fd, buf, len, ..] = args; by_fd(fd as i32, true, |rump| file::read(rump, arg(buf), arg(len))) }
/// ```
macro_rules! calls {
    ($(by $how:ident $key:tt $nr:ident $args:tt => $family:ident::$handler:ident $values:tt $($once:ident)?;)*) => {
        #[allow(unused_variables, reason = "a row names all arguments of its call")]
        fn route(nr: usize, args: [usize; 6]) -> Outcome {
            match nr as i64 {
                $(libc::$nr => apart(|| calls!(@$how args $key $args ($family::$handler) $values calls!(@restart $($once)?))),)*
                _ => Outcome::Host,
            }
        }

        /// Says which calls the front doors ask about, and by which argument they may judge that they need not.
        pub const fn wanted(nr: usize) -> Wanted {
            match nr as i64 {
                $(libc::$nr => calls!(@wanted $how $key $args),)*
                _ => Wanted::No,
            }
        }

        /// The rows.
        pub const TABLE: &[Row] = &[
            $(Row {
                nr: libc::$nr as usize,
                name: stringify!($nr),
                arguments: &calls!(@names $args),
                path: calls!(@shown $how $key $args),
                handler: concat!(stringify!($family), "::", stringify!($handler)),
            }),*
        ];
    };

    (@restart once) => { false };
    (@restart) => { true };

    (@fd $all:ident ($fd:ident) ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        by_fd($fd as i32, $restart, |rump| $($handler)+(rump $(, arg($value))*))
    }};
    (@path $all:ident ($path:ident) ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        by_path($restart, route::path($path), |at| $($handler)+(at $(, arg($value))*))
    }};
    (@at $all:ident ($dir:ident, $path:ident) ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        by_path($restart, route::at($dir as i32, $path), |at| $($handler)+(at $(, arg($value))*))
    }};
    (@at $all:ident ($dir:ident, $path:ident, $flags:ident or $($by_fd:ident)::+($($own:expr),*))
        ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        match fds::lookup($dir as i32) {
            Some(rump) if means_fd($dir, $path, $flags) => serve($restart, || $($by_fd)::+(rump $(, arg($own))*)),
            _ => match route::at($dir as i32, $path) {
                Owner::Descriptor(rump) if $flags & NOFOLLOW == 0 => serve($restart, || $($by_fd)::+(rump $(, arg($own))*)),
                Owner::WorkingDirectory if $flags & NOFOLLOW != 0 => Outcome::Host,
                owner => by_path($restart, owner, |at| $($handler)+(at $(, arg($value))*)),
            },
        }
    }};
    (@at $all:ident ($dir:ident, $path:ident or $($by_fd:ident)::+($($own:expr),*))
        ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        match route::at($dir as i32, $path) {
            Owner::Descriptor(rump) => serve($restart, || $($by_fd)::+(rump $(, arg($own))*)),
            owner => by_path($restart, owner, |at| $($handler)+(at $(, arg($value))*)),
        }
    }};
    (@two $all:ident ($dir:expr, $path:ident, $dir2:expr, $path2:ident)
        ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        by_two(End::new($dir as i32, $path), End::new($dir2 as i32, $path2), |from, to| {
            $($handler)+(from, to $(, arg($value))*)
        })
    }};
    (@number $all:ident ($fd:ident) ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        $($handler)+($(arg($value)),*)
    }};
    (@$own:ident $all:ident $key:tt ($($arg:ident),*) ($($handler:tt)+) ($($value:expr),*) $restart:expr) => {{
        let [$($arg,)* ..] = $all;
        $($handler)+($(arg($value)),*)
    }};

    (@wanted fd ($fd:ident) $args:tt) => { Wanted::Fd(calls!(@place $fd $args)) };
    (@wanted number ($fd:ident) $args:tt) => { Wanted::Fd(calls!(@place $fd $args)) };
    (@wanted fds ($one:ident, $two:ident) $args:tt) => {
        Wanted::Fds(calls!(@place $one $args), calls!(@place $two $args))
    };
    (@wanted path ($path:ident) $args:tt) => { Wanted::At(first::CWD, calls!(@place $path $args)) };
    (@wanted name ($dir:ident, $path:ident) $args:tt) => {
        Wanted::At(calls!(@place $dir $args), calls!(@place $path $args))
    };
    (@wanted at ($dir:ident, $path:ident $($rest:tt)*) $args:tt) => {
        Wanted::At(calls!(@place $dir $args), calls!(@place $path $args))
    };
    (@wanted two ($dir:ident, $path:ident, $dir2:ident, $path2:ident) $args:tt) => {
        Wanted::Two([
            calls!(@place $dir $args), calls!(@place $path $args), calls!(@place $dir2 $args), calls!(@place $path2 $args),
        ])
    };
    (@wanted family ($domain:ident) $args:tt) => { Wanted::Family(calls!(@place $domain $args)) };
    (@wanted names ($dir:ident, $path:ident, $dir2:ident, $path2:ident) $args:tt) => {
        calls!(@wanted two ($dir, $path, $dir2, $path2) $args)
    };
    (@wanted inside () $args:tt) => { Wanted::Inside };
    (@wanted outside ($fd:ident) $args:tt) => { Wanted::OutsideFd(calls!(@place $fd $args)) };
    (@wanted outside ($dir:ident, $path:ident) $args:tt) => {
        Wanted::OutsideAt(calls!(@place $dir $args), calls!(@place $path $args))
    };
    (@wanted value ($arg:ident, $value:ident) $args:tt) => { Wanted::Value(calls!(@place $arg $args), libc::$value as i32) };
    (@wanted range () $args:tt) => { Wanted::Range };
    (@wanted waits ($set:ident) $args:tt) => { Wanted::Waits(calls!(@place $set $args)) };
    (@wanted copied () $args:tt) => { Wanted::Copied };
    (@wanted polled () $args:tt) => { Wanted::Polled };
    (@wanted selected () $args:tt) => { Wanted::Selected };
    (@wanted handlers () $args:tt) => { Wanted::Handlers };
    (@wanted call () $args:tt) => { Wanted::Always };

    (@place $name:ident $args:tt) => { place(&calls!(@names $args), stringify!($name)) };

    (@shown at ($dir:ident, $path:ident $($rest:tt)*) $args:tt) => {
        Some(position(&calls!(@names $args), stringify!($path)))
    };
    (@shown name ($dir:ident, $path:ident) $args:tt) => {
        Some(position(&calls!(@names $args), stringify!($path)))
    };
    (@shown names ($dir:ident, $path:ident $($rest:tt)*) $args:tt) => { Some(position(&calls!(@names $args), stringify!($path))) };
    (@shown outside ($dir:ident, $path:ident) $args:tt) => { Some(position(&calls!(@names $args), stringify!($path))) };
    (@shown path ($path:ident) $args:tt) => { Some(position(&calls!(@names $args), stringify!($path))) };
    (@shown $how:ident $key:tt $args:tt) => { None };

    (@names ($($arg:ident),*)) => { [$(stringify!($arg)),*] };
}

calls! {
    by fd(fd) SYS_read(fd, buf, len) => file::read(buf, len);
    by fd(fd) SYS_write(fd, buf, len) => file::write(buf, len);
    by fd(fd) SYS_pread64(fd, buf, len, offset) => file::pread64(buf, len, offset);
    by fd(fd) SYS_pwrite64(fd, buf, len, offset) => file::pwrite64(buf, len, offset);
    by fd(fd) SYS_readv(fd, iov, count) => file::readv(iov, count);
    by fd(fd) SYS_writev(fd, iov, count) => file::writev(iov, count);
    by fd(fd) SYS_preadv(fd, iov, count, low, high) => file::preadv(iov, count, low, high);
    by fd(fd) SYS_pwritev(fd, iov, count, low, high) => file::pwritev(iov, count, low, high);
    by fd(fd) SYS_preadv2(fd, iov, count, low, high, flags) => file::preadv2(iov, count, low, high, flags);
    by fd(fd) SYS_pwritev2(fd, iov, count, low, high, flags) => file::pwritev2(iov, count, low, high, flags);
    by fd(fd) SYS_lseek(fd, offset, whence) => file::lseek(offset, whence);
    by fd(fd) SYS_fstat(fd, buf) => attr::fstat(buf);
    by fd(fd) SYS_fstatfs(fd, buf) => attr::fstatfs(buf);
    by fd(fd) SYS_ftruncate(fd, length) => file::ftruncate(length);
    by fd(fd) SYS_fsync(fd) => file::fsync();
    by fd(fd) SYS_fdatasync(fd) => file::fdatasync();
    by fd(fd) SYS_sync_file_range(fd, offset, length, flags) => file::sync_file_range(offset, length, flags);
    by fd(fd) SYS_syncfs(fd) => file::syncfs();
    by fd(fd) SYS_readahead(fd, offset, count) => file::readahead(offset, count);
    by fd(fd) SYS_fchmod(fd, mode) => attr::fchmod(mode);
    by fd(fd) SYS_fchown(fd, uid, gid) => attr::fchown(uid, gid);
    by fd(fd) SYS_flock(fd, operation) => file::flock(operation);
    by fd(fd) SYS_fallocate(fd, mode, offset, length) => file::fallocate(mode, offset, length);
    by fd(fd) SYS_fadvise64(fd, offset, length, advice) => file::fadvise64(offset, length, advice);
    by fd(fd) SYS_fgetxattr(fd, name, value, size) => refuse::attribute_of(name);
    by fd(fd) SYS_fsetxattr(fd, name, value, size, flags) => refuse::change_of(name);
    by fd(fd) SYS_flistxattr(fd, list, size) => attr::flistxattr();
    by fd(fd) SYS_fremovexattr(fd, name) => refuse::change_of(name);
    by fd(fd) SYS_open_by_handle_at(fd, handle, flags) => refuse::stale();
    by fd(fd) SYS_quotactl_fd(fd, command, id, data) => refuse::not_built_in();
    by fd(fd) SYS_timerfd_settime(fd, flags, new, old) => refuse::wrong_kind();
    by fd(fd) SYS_timerfd_gettime(fd, value) => refuse::wrong_kind();
    by fd(fd) SYS_signalfd(fd, mask, size) => refuse::wrong_kind();
    by fd(fd) SYS_signalfd4(fd, mask, size, flags) => refuse::wrong_kind();
    by fd(fd) SYS_fsconfig(fd, command, key, value, aux) => refuse::wrong_kind();
    by fd(fd) SYS_fsmount(fd, flags, attributes) => refuse::wrong_kind();
    by fd(fd) SYS_getdents(fd, buf, len) => dir::getdents(buf, len);
    by fd(fd) SYS_getdents64(fd, buf, len) => dir::getdents64(buf, len);
    by fd(fd) SYS_ioctl(fd, command, data) => ioctl::ioctl(fd, command, data);

    by at(CWD, path or descriptor::reopen(flags)) SYS_open(path, flags, mode) => open::openat(flags, mode);
    by path(path) SYS_creat(path, mode) => open::openat(O_CREAT, mode);
    by at(dir, path or descriptor::reopen(flags)) SYS_openat(dir, path, flags, mode) => open::openat(flags, mode);
    by at(CWD, path or attr::fstat(buf)) SYS_stat(path, buf) => attr::newfstatat(buf, 0);
    by path(path) SYS_lstat(path, buf) => attr::newfstatat(buf, NOFOLLOW);
    by at(dir, path, flags or attr::fstat_itself(path, buf, flags)) SYS_newfstatat(dir, path, buf, flags) => attr::newfstatat(buf, flags);
    by at(dir, path, flags or attr::fstatx(path, flags, mask, buf)) SYS_statx(dir, path, flags, mask, buf) => attr::statx(flags, mask, buf);
    by at(CWD, path or attr::fstatfs(buf)) SYS_statfs(path, buf) => attr::statfs(buf);
    by at(CWD, path or attr::faccess(mode, 0)) SYS_access(path, mode) => attr::faccessat2(mode, 0);
    by at(dir, path or attr::faccess(mode, 0)) SYS_faccessat(dir, path, mode) => attr::faccessat2(mode, 0);
    by at(dir, path, flags or attr::faccess(mode, flags)) SYS_faccessat2(dir, path, mode, flags) => attr::faccessat2(mode, flags);
    by at(CWD, path or attr::fchmod_itself(mode, 0)) SYS_chmod(path, mode) => attr::fchmodat(mode, 0);
    by at(dir, path or attr::fchmod_itself(mode, 0)) SYS_fchmodat(dir, path, mode) => attr::fchmodat(mode, 0);
    by at(dir, path, flags or attr::fchmod_itself(mode, flags)) SYS_fchmodat2(dir, path, mode, flags) => attr::fchmodat(mode, flags);
    by at(CWD, path or attr::fchown_itself(uid, gid, 0)) SYS_chown(path, uid, gid) => attr::fchownat(uid, gid, 0);
    by path(path) SYS_lchown(path, uid, gid) => attr::fchownat(uid, gid, NOFOLLOW);
    by at(dir, path, flags or attr::fchown_itself(uid, gid, flags)) SYS_fchownat(dir, path, uid, gid, flags) => attr::fchownat(uid, gid, flags);
    by at(dir, path, flags or attr::futimens(path, times, flags)) SYS_utimensat(dir, path, times, flags) => attr::utimensat(times, flags);
    by path(path) SYS_utime(path, times) => times::utime(times);
    by at(CWD, path or times::futimes(times)) SYS_utimes(path, times) => times::utimes(times);
    by at(dir, path, NO_FLAGS or times::futimes(times)) SYS_futimesat(dir, path, times) => times::utimes(times);
    by name(HERE, path) SYS_readlink(path, buf, len) => both::readlinkat(HERE, path, buf, len);
    by name(dir, path) SYS_readlinkat(dir, path, buf, len) => both::readlinkat(dir, path, buf, len);
    by path(path) SYS_unlink(path) => name::unlinkat(0);
    by path(path) SYS_rmdir(path) => name::unlinkat(REMOVEDIR);
    by at(dir, path) SYS_unlinkat(dir, path, flags) => name::unlinkat(flags);
    by path(path) SYS_mkdir(path, mode) => name::mkdirat(mode);
    by at(dir, path) SYS_mkdirat(dir, path, mode) => name::mkdirat(mode);
    by path(path) SYS_mknod(path, mode, dev) => name::mknodat(mode, dev);
    by at(dir, path) SYS_mknodat(dir, path, mode, dev) => name::mknodat(mode, dev);
    by path(path) SYS_symlink(target, path) => both::symlinkat(target);
    by at(dir, path) SYS_symlinkat(target, dir, path) => both::symlinkat(target);
    by at(CWD, path or file::truncate_itself(length)) SYS_truncate(path, length) => file::truncate(length);
    by names(HERE, path, HERE, link) SYS_link(path, link) => both::linkat(HERE, path, HERE, link, 0);
    by two(CWD, from, CWD, to) SYS_rename(from, to) => name::renameat2(0);
    by two(dir, from, dir2, to) SYS_renameat(dir, from, dir2, to) => name::renameat2(0);
    by path(path) SYS_getxattr(path, name, value, size) => refuse::attribute(name, 0);
    by path(path) SYS_lgetxattr(path, name, value, size) => refuse::attribute(name, NOFOLLOW);
    by path(path) SYS_setxattr(path, name, value, size, flags) => refuse::change(name, 0);
    by path(path) SYS_lsetxattr(path, name, value, size, flags) => refuse::change(name, NOFOLLOW);
    by path(path) SYS_listxattr(path, list, size) => attr::listxattr(0);
    by path(path) SYS_llistxattr(path, list, size) => attr::listxattr(NOFOLLOW);
    by path(path) SYS_removexattr(path, name) => refuse::change(name, 0);
    by path(path) SYS_lremovexattr(path, name) => refuse::change(name, NOFOLLOW);
    by path(path) SYS_inotify_add_watch(fd, path, mask) => refuse::watch(fd, mask);
    by at(dir, path, NO_FLAGS or refuse::unsupported()) SYS_fanotify_mark(fd, flags, mask, dir, path) => refuse::unsupported();
    by at(dir, path, flags or refuse::unsupported()) SYS_name_to_handle_at(dir, path, handle, mount, flags) => refuse::handle(flags);
    by path(path) SYS_mount(source, path, kind, flags, data) => mount::mount(source, kind, flags, data);
    by path(path) SYS_umount2(path, flags) => mount::umount2(flags);
    by at(dir, path) SYS_open_tree(dir, path, flags) => refuse::unsupported();
    by at(dir, path) SYS_fspick(dir, path, flags) => refuse::wrong_kind();
    by at(dir, path) SYS_mount_setattr(dir, path, flags, attributes, size) => refuse::wrong_kind();
    by two(dir, from, dir2, to) SYS_move_mount(dir, from, dir2, to, flags) => refuse::wrong_kinds();
    by two(CWD, path, CWD, old) SYS_pivot_root(path, old) => refuse::wrong_kinds();
    by path(path) SYS_quotactl(command, path, id, data) => refuse::no_disk();
    by path(path) SYS_swapon(path, flags) => refuse::wrong_kind();
    by path(path) SYS_swapoff(path) => refuse::wrong_kind();
    by path(path) SYS_acct(path) => refuse::not_built_in();
    by path(path) SYS_uselib(path) => refuse::not_built_in();
    by outside(dir, path) SYS_openat2(dir, path, how, size) => open::openat2(dir, path, how, size);
    by names(dir, path, dir2, link) SYS_linkat(dir, path, dir2, link, flags) => both::linkat(dir, path, dir2, link, flags);
    by names(dir, from, dir2, to) SYS_renameat2(dir, from, dir2, to, flags) => both::renameat2(dir, from, dir2, to, flags);
    by outside(CWD, path) SYS_chdir(path) => process::chdir(path);
    by outside(fd) SYS_fchdir(fd) => process::fchdir(fd);
    by inside() SYS_getcwd(buf, size) => process::getcwd(buf, size);
    by call() SYS_umask(mask) => process::umask(mask);
    by call() SYS_chroot(path) => process::chroot(path);
    by call() SYS_unshare(flags) => process::unshare(flags);
    by call() SYS_setns(fd, kind) => process::setns(fd);

    by call() SYS_sync() => both::sync();

    by family(domain) SYS_socket(domain, kind, protocol) => both::socket(domain, kind, protocol);
    by family(domain) SYS_socketpair(domain, kind, protocol, pair) => both::socketpair(domain, kind, protocol, pair);
    by fd(fd) SYS_bind(fd, addr, len) => socket::bind(addr, len);
    by fd(fd) SYS_connect(fd, addr, len) => socket::connect(addr, len);
    by fd(fd) SYS_listen(fd, backlog) => socket::listen(backlog);
    by fd(fd) SYS_accept(fd, addr, len) => socket::accept4(addr, len, 0);
    by fd(fd) SYS_accept4(fd, addr, len, flags) => socket::accept4(addr, len, flags);
    by fd(fd) SYS_getsockname(fd, addr, len) => socket::getsockname(addr, len);
    by fd(fd) SYS_getpeername(fd, addr, len) => socket::getpeername(addr, len);
    by fd(fd) SYS_getsockopt(fd, level, name, value, len) => option::getsockopt(level, name, value, len);
    by fd(fd) SYS_setsockopt(fd, level, name, value, len) => option::setsockopt(level, name, value, len);
    by fd(fd) SYS_sendto(fd, buf, len, flags, addr, addrlen) => socket::sendto(buf, len, flags, addr, addrlen);
    by fd(fd) SYS_recvfrom(fd, buf, len, flags, addr, addrlen) => socket::recvfrom(buf, len, flags, addr, addrlen);
    by fd(fd) SYS_sendmsg(fd, message, flags) => message::sendmsg(message, flags);
    by fd(fd) SYS_recvmsg(fd, message, flags) => message::recvmsg(message, flags);
    by fd(fd) SYS_sendmmsg(fd, vector, count, flags) => message::sendmmsg(vector, count, flags);
    by fd(fd) SYS_recvmmsg(fd, vector, count, flags, timeout) => message::recvmmsg(vector, count, flags, timeout);
    by fd(fd) SYS_shutdown(fd, how) => socket::shutdown(how);

    by number(fd) SYS_close(fd) => descriptor::close(fd);
    by number(fd) SYS_dup(fd) => descriptor::dup(fd);
    by number(fd) SYS_fcntl(fd, command, data) => descriptor::fcntl(fd, command, data);
    by fds(from, to) SYS_dup2(from, to) => descriptor::dup2(from, to);
    by fds(from, to) SYS_dup3(from, to, flags) => descriptor::dup3(from, to, flags);
    by range() SYS_close_range(first, last, flags) => descriptor::close_range(first, last, flags);
    by number(fd) SYS_mmap(addr, len, protection, flags, fd, offset) => both::mmap(addr, len, protection, flags, fd, offset);
    by fds(out, input) SYS_sendfile(out, input, offset, count) => both::sendfile(out, input, offset, count);
    by fds(input, out) SYS_copy_file_range(input, in_at, out, out_at, len, flags) => both::copy_file_range(input, in_at, out, out_at, len, flags);
    by fds(input, out) SYS_splice(input, in_at, out, out_at, len, flags) => both::splice(input, in_at, out, out_at, len, flags);
    by fds(input, out) SYS_tee(input, out, len, flags) => both::tee(input, out, len, flags);
    by fd(fd) SYS_vmsplice(fd, iov, count, flags) => transfer::vmsplice(iov, count, flags);
    by copied() SYS_munmap(addr, len) => copies::munmap(addr, len);
    by copied() SYS_msync(addr, len, flags) => copies::msync(addr, len, flags);
    by copied() SYS_mremap(addr, old, new, flags, to) => copies::mremap(addr, old, new, flags, to);

    by polled() SYS_poll(fds, count, timeout) => poll::poll(fds, count, timeout);
    by polled() SYS_ppoll(fds, count, timeout, mask, size) => poll::ppoll(fds, count, timeout, mask, size);
    by selected() SYS_select(count, read, write, except, timeout) => poll::select(count, read, write, except, timeout);
    by selected() SYS_pselect6(count, read, write, except, timeout, mask) => poll::pselect6(count, read, write, except, timeout, mask);
    by call() SYS_epoll_create(size) => epoll::create(size);
    by call() SYS_epoll_create1(flags) => epoll::create1(flags);
    by fds(set, fd) SYS_epoll_ctl(set, operation, fd, event) => epoll::ctl(set, operation, fd, event);
    by waits(set) SYS_epoll_wait(set, events, max, timeout) => epoll::wait(set, events, max, timeout);
    by waits(set) SYS_epoll_pwait(set, events, max, timeout, mask, size) => epoll::pwait(set, events, max, timeout, mask, size);
    by waits(set) SYS_epoll_pwait2(set, events, max, timeout, mask, size) => epoll::pwait2(set, events, max, timeout, mask, size);

    by handlers() SYS_rt_sigaction(signal, new, old, size) => handlers::rt_sigaction(signal, new, old, size);

    by call() SYS_fork() => clone::fork();
    by call() SYS_vfork() => clone::fork();
    by call() SYS_clone(flags, stack, parent_id, child_id, tls) => clone::clone(flags, stack, parent_id, child_id, tls);
    by call() SYS_clone3(arguments, size) => clone::clone3(arguments, size);
    by call() SYS_exit_group(status) => both::exit_group();
    by call() SYS_io_uring_setup(entries, parameters) => refuse::submission();
    by call() SYS_io_setup(events, context) => refuse::submission();

    by call() SYS_execve(path, argv, envp) => exec::execve(path, argv, envp);
    by value(option, PR_SET_SECCOMP) SYS_prctl(option, second, third, fourth, fifth) => seccomp::prctl(option, second, third);
    by call() SYS_seccomp(operation, flags, program) => seccomp::seccomp(operation, flags, program);
    by call() SYS_execveat(dir, path, argv, envp, flags) => exec::execveat(dir, path, argv, envp, flags);
}

const CWD: i32 = libc::AT_FDCWD;
const NOFOLLOW: usize = libc::AT_SYMLINK_NOFOLLOW as usize;
const HERE: usize = CWD as usize;
const NO_FLAGS: usize = 0;
const REMOVEDIR: usize = libc::AT_REMOVEDIR as usize;
const O_CREAT: usize = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as usize;

/// Whether a call makes a descriptor and returns a number that the host chooses.
pub const fn makes_number(nr: i64) -> bool {
    matches!(
        nr,
        libc::SYS_open
            | libc::SYS_openat
            | libc::SYS_creat
            | libc::SYS_socket
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_dup
    )
}

/// Serves a Linux call, or says that it is the host's; a call that libc makes inside itself.
///
/// On the way to [`Outcome::Host`] nothing is allocated, locked or called in libc, except to record the call.
pub fn dispatch(nr: usize, args: [usize; 6]) -> Outcome {
    if bell::is_waiting(nr, &args) {
        if trace::on() {
            trace::record(nr, &args, Outcome::Host);
        }
        return Outcome::Host;
    }
    // Where libc's own call is a cancellation point, libc has made the thread's type asynchronous.
    cancel::point(nr, &args, false, || {
        let outcome = decide(nr, args);
        if trace::on() {
            trace::record(nr, &args, outcome);
        }
        outcome
    })
}

/// The same for a hooked function, which leaves the host's calls to the real one if `goes_on`.
///
/// `function` says that it is a cancellation point if its call is in the list of [`cancel`].
pub fn dispatch_first(nr: usize, args: [usize; 6], goes_on: bool, function: bool) -> Outcome {
    cancel::point(nr, &args, function, || guarded(nr, args, goes_on))
}

/// A frame apart: a thread that is cancelled is not unwound through what catches panics.
#[inline(never)]
fn guarded(nr: usize, args: [usize; 6], goes_on: bool) -> Outcome {
    let served = std::panic::catch_unwind(|| {
        let outcome = decide(nr, args);
        if trace::on() {
            trace::first(nr, &args, outcome, goes_on);
        }
        outcome
    });
    served.unwrap_or(Outcome::Host)
}

#[inline]
fn decide(nr: usize, args: [usize; 6]) -> Outcome {
    let outcome = borrower::with_room(|| {
        let then = copies::meet::before(nr, &args);
        let outcome = match route(nr, args) {
            Outcome::Host if sandbox::on() => sandbox::judge(nr, &args),
            outcome => outcome,
        };
        let outcome = if outcome == Outcome::Host { listing::meet(nr, &args) } else { outcome };
        copies::meet::after(then, outcome)
    });
    if fds::crowded() {
        fds::make_way();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_stands_twice_and_all_are_wanted() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(row.arguments.len() <= 6 && wanted(row.nr) != Wanted::No, "{}", row.name);
            assert!(TABLE.iter().skip(at + 1).all(|other| other.nr != row.nr), "{} stands twice", row.name);
        }
    }

    #[test]
    fn what_each_call_costs_that_passes_by_is_measured() {
        let measured = include_str!("../../tests/integration/src/bin/bench/passing/calls.rs");
        for row in TABLE {
            assert!(measured.contains(&format!("({},", row.name)), "{}: no row in the benchmark", row.name);
        }
    }

    #[test]
    fn a_row_says_which_argument_decides() {
        assert_eq!(wanted(libc::SYS_read as usize), Wanted::Fd(0));
        assert_eq!(wanted(libc::SYS_mmap as usize), Wanted::Fd(4));
        assert_eq!(wanted(libc::SYS_openat as usize), Wanted::At(0, 1));
        assert_eq!(wanted(libc::SYS_rename as usize), Wanted::Two([first::CWD, 0, first::CWD, 1]));
        assert_eq!(wanted(libc::SYS_symlinkat as usize), Wanted::At(1, 2));
        assert_eq!(wanted(libc::SYS_execve as usize), Wanted::Always);
        assert_eq!(wanted(libc::SYS_getpid as usize), Wanted::No);
    }

    #[test]
    fn without_a_configuration_all_is_the_hosts() {
        let path = c"/rump/x";
        let args = [libc::AT_FDCWD as usize, path.as_ptr() as usize, 0, 0, 0, 0];
        assert_eq!(dispatch(libc::SYS_openat as usize, args), Outcome::Host);
        assert_eq!(dispatch(libc::SYS_read as usize, [900, 0, 0, 0, 0, 0]), Outcome::Host);
    }
}
