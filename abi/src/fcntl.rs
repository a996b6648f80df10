//! fcntl(2), open(2), flock(2), access(2), lseek(2) and the *at calls: flags, commands and [`Flock`].
//!
//! Linux's `O_LARGEFILE` has no twin and changes nothing that a program of the rump kernel could
//! see: it is dropped. What Linux has and NetBSD lacks (`O_PATH`, `O_TMPFILE`, `O_NOATIME`, `F_OFD_*`, `SEEK_DATA`, `AT_EMPTY_PATH`) are
//! extensions with numbers that mean nothing in NetBSD: its server refuses them, or, of the flags of open, never sees them, because
//! they go through the extension `openat2`.

use linux_raw_sys::general as host;

use crate::pairs::{pairs, plain};
use crate::{Errno, Result, linux};

/// Open for reading only.
pub const O_RDONLY: i32 = 0;
/// Open for writing only.
pub const O_WRONLY: i32 = 1;
/// Open for reading and writing.
pub const O_RDWR: i32 = 2;
/// Mask of the access mode.
pub const O_ACCMODE: i32 = 3;
/// The same as `O_NONBLOCK`.
pub const O_NDELAY: i32 = O_NONBLOCK;
/// The same as `O_SYNC`.
pub const O_FSYNC: i32 = O_SYNC;

pairs! {
    /// The flags of open(2) beside the access mode. `O_SYNC` stands before the `O_DSYNC` that it contains on Linux.
    OPEN_FLAGS: i32 {
        O_NONBLOCK 0x4 => host::O_NONBLOCK;
        O_APPEND 0x8 => host::O_APPEND;
        O_SHLOCK 0x10;
        O_EXLOCK 0x20;
        O_ASYNC 0x40 => host::FASYNC;
        O_SYNC 0x80 => host::O_SYNC;
        O_NOFOLLOW 0x100 => host::O_NOFOLLOW;
        O_CREAT 0x200 => host::O_CREAT;
        O_TRUNC 0x400 => host::O_TRUNC;
        O_EXCL 0x800 => host::O_EXCL;
        O_NOCTTY 0x8000 => host::O_NOCTTY;
        O_DSYNC 0x1_0000 => host::O_DSYNC;
        O_RSYNC 0x2_0000 -> host::O_SYNC;
        O_ALT_IO 0x4_0000;
        O_DIRECT 0x8_0000 => host::O_DIRECT;
        O_DIRECTORY 0x20_0000 => host::O_DIRECTORY;
        O_CLOEXEC 0x40_0000 => host::O_CLOEXEC;
        O_SEARCH 0x80_0000;
        O_NOSIGPIPE 0x100_0000;
        O_PATH 0x1000_0000 => host::O_PATH;
        O_TMPFILE 0x2000_0000 => host::O_TMPFILE & !host::O_DIRECTORY;
        O_NOATIME 0x4000_0000 => host::O_NOATIME;
    }
}

/// The flags that `F_GETFL` shows beside the access mode and that `F_SETFL` changes.
pub const STATUS_FLAGS: i32 =
    O_APPEND | O_NONBLOCK | O_ASYNC | O_SYNC | O_DSYNC | O_RSYNC | O_ALT_IO | O_DIRECT | O_NOSIGPIPE;

/// The flags of open that only our own server understands, in the extension `openat2`.
pub const EXTENDED_FLAGS: i32 = O_PATH | O_TMPFILE | O_NOATIME;

/// What `F_GETFL` shows on Linux beside the access mode and [`STATUS_FLAGS`].
pub const LASTING_FLAGS: i32 = EXTENDED_FLAGS | O_NOFOLLOW | O_DIRECTORY;

/// Translates the flags of open(2); Linux ignores unknown bits, and so does this. With `O_PATH` all but three are ignored.
///
/// `EINVAL` for an `O_TMPFILE` that lacks `O_DIRECTORY` or is not for writing, as Linux has it.
pub fn open_flags_from_linux(linux: i32) -> Result<i32> {
    if linux & host::O_PATH as i32 != 0 {
        let kept = linux & (host::O_PATH | host::O_DIRECTORY | host::O_NOFOLLOW | host::O_CLOEXEC) as i32;
        return Ok(OPEN_FLAGS.flags_from_linux(kept).0);
    }
    let flags = linux & O_ACCMODE | OPEN_FLAGS.flags_from_linux(linux & !O_ACCMODE).0;
    if flags & O_TMPFILE != 0 && (flags & O_DIRECTORY == 0 || flags & O_ACCMODE == O_RDONLY || flags & O_CREAT != 0) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

/// Translates open flags, for instance the answer of `F_GETFL`.
pub fn open_flags_to_linux(netbsd: i32) -> i32 {
    netbsd & O_ACCMODE | OPEN_FLAGS.flags_to_linux(netbsd & !O_ACCMODE)
}

pairs! {
    /// The commands of fcntl(2), and an extension: `F_DUPFD_QUIET` is `F_DUPFD_CLOEXEC` for a descriptor by which a mapping holds its
    /// file, whose closing gives no record locks up.
    FCNTL_COMMANDS: i32 {
        F_DUPFD 0 => host::F_DUPFD;
        F_GETFD 1 => host::F_GETFD;
        F_SETFD 2 => host::F_SETFD;
        F_GETFL 3 => host::F_GETFL;
        F_SETFL 4 => host::F_SETFL;
        F_GETOWN 5 => host::F_GETOWN;
        F_SETOWN 6 => host::F_SETOWN;
        F_GETLK 7 => host::F_GETLK;
        F_SETLK 8 => host::F_SETLK;
        F_SETLKW 9 => host::F_SETLKW;
        F_CLOSEM 10;
        F_MAXFD 11;
        F_DUPFD_CLOEXEC 12 => host::F_DUPFD_CLOEXEC;
        F_GETNOSIGPIPE 13;
        F_SETNOSIGPIPE 14;
        F_OFD_GETLK 0x4c24 => host::F_OFD_GETLK;
        F_OFD_SETLK 0x4c25 => host::F_OFD_SETLK;
        F_OFD_SETLKW 0x4c26 => host::F_OFD_SETLKW;
        F_DUPFD_QUIET 0x4c30;
    }
}

/// Translates a command of fcntl(2); `None` for one that NetBSD lacks (`EINVAL` to the program).
pub fn fcntl_cmd_from_linux(linux: i32) -> Option<i32> {
    FCNTL_COMMANDS.from_linux(linux)
}

/// Translates a command of fcntl(2); `None` for one that Linux lacks.
pub fn fcntl_cmd_to_linux(netbsd: i32) -> Option<i32> {
    FCNTL_COMMANDS.to_linux(netbsd)
}

/// The descriptor flag of `F_SETFD`, the same number on both.
pub const FD_CLOEXEC: i32 = 1;

pairs! {
    /// The kinds of record locks.
    LOCK_TYPES: i32 {
        F_RDLCK 1 => host::F_RDLCK;
        F_UNLCK 2 => host::F_UNLCK;
        F_WRLCK 3 => host::F_WRLCK;
    }
}

plain! {
    /// A record lock (struct flock).
    pub struct Flock {
        pub l_start: i64,
        pub l_len: i64,
        pub l_pid: i32,
        pub l_type: i16,
        pub l_whence: i16,
    }
}

impl Flock {
    /// Translates Linux's structure; `EINVAL` for an unknown kind of lock.
    pub fn from_linux(linux: &linux::Flock) -> Result<Self> {
        let kind = LOCK_TYPES.from_linux(i32::from(linux.l_type)).ok_or(Errno::EINVAL)?;
        Ok(Self {
            l_start: linux.l_start,
            l_len: linux.l_len,
            l_pid: linux.l_pid,
            l_type: kind as i16,
            l_whence: linux.l_whence,
        })
    }

    /// Makes Linux's structure.
    pub fn to_linux(&self) -> linux::Flock {
        let kind = LOCK_TYPES.to_linux(i32::from(self.l_type)).unwrap_or(host::F_UNLCK as i32);
        linux::Flock {
            l_type: kind as i16,
            l_whence: self.l_whence,
            l_start: self.l_start,
            l_len: self.l_len,
            l_pid: self.l_pid,
            ..Default::default()
        }
    }
}

/// flock(2): shared lock; the numbers of flock are the same on both.
pub const LOCK_SH: i32 = 1;
/// flock(2): exclusive lock.
pub const LOCK_EX: i32 = 2;
/// flock(2): do not wait.
pub const LOCK_NB: i32 = 4;
/// flock(2): unlock.
pub const LOCK_UN: i32 = 8;

/// The current directory in place of a descriptor, the same on both.
pub const AT_FDCWD: i32 = -100;

pairs! {
    /// The flags of the *at calls. On Linux `AT_EACCESS` and `AT_REMOVEDIR` are one number, so each call has its own mask.
    AT_FLAGS: i32 {
        AT_EACCESS 0x100 => host::AT_EACCESS;
        AT_SYMLINK_NOFOLLOW 0x200 => host::AT_SYMLINK_NOFOLLOW;
        AT_SYMLINK_FOLLOW 0x400 => host::AT_SYMLINK_FOLLOW;
        AT_REMOVEDIR 0x800 => host::AT_REMOVEDIR;
    }
}

/// The path may be empty and then means the descriptor itself: an extension, with Linux's number.
pub const AT_EMPTY_PATH: i32 = host::AT_EMPTY_PATH as i32;

/// Flags of stat(2)'s family that mean nothing to the rump kernel.
pub const AT_STATUS_HINTS: i32 = (host::AT_NO_AUTOMOUNT | host::AT_STATX_SYNC_TYPE) as i32;

/// Translates the `flags` of an *at call that takes those in `allowed` (NetBSD's numbers). [`AT_EMPTY_PATH`] and
/// [`AT_STATUS_HINTS`] are dropped if they are allowed; `EINVAL` for any other bit.
pub fn at_flags_from_linux(linux: i32, allowed: i32) -> Result<i32> {
    let mut netbsd = 0;
    let mut left = linux & !(allowed & (AT_EMPTY_PATH | AT_STATUS_HINTS));
    for pair in AT_FLAGS.0.iter().filter(|pair| pair.netbsd & allowed != 0) {
        let Some(bits) = pair.linux.filter(|bits| left & bits != 0) else { continue };
        netbsd |= pair.netbsd;
        left &= !bits;
    }
    if left == 0 { Ok(netbsd) } else { Err(Errno::EINVAL) }
}

/// access(2): the file exists; the modes of access are the same on both.
pub const F_OK: i32 = 0;
/// access(2): may be executed or searched.
pub const X_OK: i32 = 1;
/// access(2): may be written.
pub const W_OK: i32 = 2;
/// access(2): may be read.
pub const R_OK: i32 = 4;

/// lseek(2): from the start.
pub const SEEK_SET: i32 = 0;
/// lseek(2): from the current position.
pub const SEEK_CUR: i32 = 1;
/// lseek(2): from the end.
pub const SEEK_END: i32 = 2;
/// lseek(2): to the next data; an extension, with Linux's number.
pub const SEEK_DATA: i32 = 3;
/// lseek(2): to the next hole; an extension, with Linux's number.
pub const SEEK_HOLE: i32 = 4;

/// openat2(2), `resolve`: cross no mount. The numbers are Linux's, since only our own server has the call.
pub const RESOLVE_NO_XDEV: u32 = host::RESOLVE_NO_XDEV;
/// openat2(2), `resolve`: follow no magic link, of which there are none.
pub const RESOLVE_NO_MAGICLINKS: u32 = host::RESOLVE_NO_MAGICLINKS;
/// openat2(2), `resolve`: follow no symbolic link.
pub const RESOLVE_NO_SYMLINKS: u32 = host::RESOLVE_NO_SYMLINKS;
/// openat2(2), `resolve`: refuse to leave the starting directory.
pub const RESOLVE_BENEATH: u32 = host::RESOLVE_BENEATH;
/// openat2(2), `resolve`: the starting directory is the root.
pub const RESOLVE_IN_ROOT: u32 = host::RESOLVE_IN_ROOT;
/// openat2(2), `resolve`: only what is in memory.
pub const RESOLVE_CACHED: u32 = host::RESOLVE_CACHED;
/// All of them.
pub const RESOLVE_FLAGS: u32 =
    RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

/// renameat2(2): replace nothing.
pub const RENAME_NOREPLACE: u32 = host::RENAME_NOREPLACE;
/// renameat2(2): swap the two names.
pub const RENAME_EXCHANGE: u32 = host::RENAME_EXCHANGE;
/// renameat2(2): leave a whiteout under the old name.
pub const RENAME_WHITEOUT: u32 = host::RENAME_WHITEOUT;

/// Checks the flags of renameat2(2): `EINVAL` for unknown ones, and for those that contradict each other.
pub fn check_rename(flags: u32) -> Result<()> {
    let unknown = flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0;
    let contradict = flags & RENAME_EXCHANGE != 0 && flags != RENAME_EXCHANGE;
    if unknown || contradict { Err(Errno::EINVAL) } else { Ok(()) }
}

/// fallocate(2): the length of the file stays.
pub const FALLOC_FL_KEEP_SIZE: u32 = host::FALLOC_FL_KEEP_SIZE;
/// fallocate(2): give the range back; it reads as zeros.
pub const FALLOC_FL_PUNCH_HOLE: u32 = host::FALLOC_FL_PUNCH_HOLE;

/// pwritev2(2): write at the end, whatever the offset.
pub const RWF_APPEND: u32 = 0x10;
/// pwritev2(2): write at the offset, whatever `O_APPEND` says.
pub const RWF_NOAPPEND: u32 = 0x20;
/// Flag of pwritev2, ours alone: writes to the terminal from its background too, since the caller does not mind `SIGTTOU`.
pub const RWF_ANYWAY: u32 = 0x8000_0000;

/// splice(2): do not wait for a pipe.
pub const SPLICE_F_NONBLOCK: u32 = 2;

/// fsync_range(2): data and the metadata needed to read it.
pub const FDATASYNC: i32 = 0x10;
/// fsync_range(2): data and metadata.
pub const FFILESYNC: i32 = 0x20;
/// fsync_range(2): flush the disk's cache too.
pub const FDISKSYNC: i32 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags_translate_by_name() {
        let linux = (host::O_WRONLY | host::O_CREAT | host::O_TRUNC | host::O_CLOEXEC) as i32;
        assert_eq!(open_flags_from_linux(linux), Ok(O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC));
        assert_eq!(open_flags_to_linux(O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC), linux);
        assert_eq!(open_flags_to_linux(O_RDWR | O_NOSIGPIPE), O_RDWR);
    }

    #[test]
    fn sync_contains_dsync_on_linux_only() {
        assert_eq!(open_flags_from_linux(host::O_SYNC as i32), Ok(O_SYNC));
        assert_eq!(open_flags_from_linux(host::O_DSYNC as i32), Ok(O_DSYNC));
        assert_eq!(open_flags_to_linux(O_SYNC), host::O_SYNC as i32);
        assert_eq!(open_flags_to_linux(O_RSYNC), host::O_SYNC as i32);
    }

    #[test]
    fn flags_without_a_twin_are_refused_or_dropped() {
        assert_eq!(open_flags_from_linux(host::O_TMPFILE as i32), Err(Errno::EINVAL));
        assert_eq!(
            open_flags_from_linux((host::O_TMPFILE | host::O_RDWR) as i32),
            Ok(O_TMPFILE | O_DIRECTORY | O_RDWR)
        );
        assert_eq!(open_flags_from_linux((host::O_DIRECTORY | host::O_PATH | 2) as i32), Ok(O_DIRECTORY | O_PATH));
        assert_eq!(open_flags_from_linux((host::O_NOATIME | host::O_LARGEFILE) as i32), Ok(O_NOATIME));
    }

    #[test]
    fn commands_translate() {
        assert_eq!(fcntl_cmd_from_linux(1030), Some(F_DUPFD_CLOEXEC));
        assert_eq!(fcntl_cmd_from_linux(1032), None);
        assert_eq!(fcntl_cmd_to_linux(F_SETLKW), Some(7));
    }

    #[test]
    fn one_linux_number_is_two_at_flags() {
        assert_eq!(at_flags_from_linux(0x200, AT_REMOVEDIR), Ok(AT_REMOVEDIR));
        assert_eq!(at_flags_from_linux(0x300, AT_EACCESS | AT_SYMLINK_NOFOLLOW), Ok(AT_EACCESS | AT_SYMLINK_NOFOLLOW));
        assert_eq!(at_flags_from_linux(0x1100, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH), Ok(AT_SYMLINK_NOFOLLOW));
        assert_eq!(at_flags_from_linux(0x1100, AT_SYMLINK_NOFOLLOW), Err(Errno::EINVAL));
        assert_eq!(at_flags_from_linux(0x2800, AT_SYMLINK_NOFOLLOW | AT_STATUS_HINTS), Ok(0));
        assert_eq!(at_flags_from_linux(0x100, AT_REMOVEDIR), Err(Errno::EINVAL));
    }

    #[test]
    fn a_lock_survives_the_round_trip() {
        let lock = Flock { l_start: 5, l_len: 7, l_pid: 9, l_type: F_WRLCK as i16, l_whence: SEEK_END as i16 };
        assert_eq!(lock.to_linux().l_type, 1);
        assert_eq!(Flock::from_linux(&lock.to_linux()), Ok(lock));
        assert_eq!(Flock::from_linux(&linux::Flock { l_type: 9, ..Default::default() }), Err(Errno::EINVAL));
    }
}
