//! RUMPHIJACK_SANDBOX: a call that would go to the host for a name outside of the list, or for a socket, is `EACCES`.
//!
//! The host's names are judged as the host resolves them: through links, `..`, and the names in `/proc/self/fd`. It is a fence, not
//! a wall: a program that makes system calls without libc, or changes a link between the look and the call, can step over it.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicPtr, Ordering};

use abi::{Errno, Result};
use client::signals::Blocked;
use spec::sandbox::{Access, Sandbox};

use crate::calls::{self, Outcome, Wanted};
use crate::{first, raw, user};

/// Longest path of the host.
const PATH: usize = 4096;

/// Null without a sandbox.
static SANDBOX: AtomicPtr<Sandbox> = AtomicPtr::new(core::ptr::null_mut());

/// Whether there is one.
#[inline(always)]
pub fn on() -> bool {
    !SANDBOX.load(Ordering::Relaxed).is_null()
}

/// Fences the program in from now on.
pub fn begin(sandbox: Sandbox) {
    SANDBOX.store(Box::into_raw(Box::new(sandbox)), Ordering::Release);
    first::attend();
}

/// Judges a call that the table leaves to the host.
#[cold]
pub fn judge(nr: usize, args: &[usize; 6]) -> Outcome {
    // SAFETY: what was stored is never freed.
    let Some(sandbox) = (unsafe { SANDBOX.load(Ordering::Acquire).as_ref() }) else { return Outcome::Host };
    let _blocked = Blocked::enter();
    match allowed(sandbox, nr as i64, args) {
        true => Outcome::Host,
        false => calls::outcome(Err(Errno::EACCES)),
    }
}

fn allowed(sandbox: &Sandbox, nr: i64, args: &[usize; 6]) -> bool {
    if let libc::SYS_socket | libc::SYS_socketpair | libc::SYS_open_by_handle_at | libc::SYS_chroot = nr {
        return false;
    }
    let arg = |at: u8| args.get(usize::from(at)).copied().unwrap_or_default();
    let (access, follow) = (access(nr, args), follows(nr, args));
    names(nr).into_iter().flatten().all(|(dir, path)| {
        let dir = if dir == first::CWD { libc::AT_FDCWD } else { arg(dir) as i32 };
        real_name(dir, arg(path), follow).is_none_or(|name| sandbox.allows(&name, access))
    })
}

/// The arguments of a call that are a name, each with that of the directory it starts from.
fn names(nr: i64) -> [Option<(u8, u8)>; 2] {
    match calls::wanted(nr as usize) {
        Wanted::At(dir, path) | Wanted::OutsideAt(dir, path) => [Some((dir, path)), None],
        Wanted::Two([dir, path, dir2, path2]) => [Some((dir, path)), Some((dir2, path2))],
        Wanted::Always => {
            let row = calls::TABLE.iter().find(|row| row.nr == nr as usize);
            let arguments = row.map_or(&[][..], |row| row.arguments);
            let place = |name: &str| Some(arguments.iter().position(|argument| *argument == name)? as u8);
            let pair = |dir: &str, path: &str| Some((place(dir).unwrap_or(first::CWD), place(path)?));
            [pair("dir", "path"), pair("dir2", "link")]
        }
        _ => [None; 2],
    }
}

/// What the call wants of its names; what is not known to be harmless is a change.
fn access(nr: i64, args: &[usize; 6]) -> Access {
    let opens = |flags: usize| match flags as i32 & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE)
    {
        libc::O_RDONLY if flags as i32 & libc::O_PATH != 0 => Access::Look,
        libc::O_RDONLY | libc::O_DIRECTORY => Access::Read,
        _ => Access::Write,
    };
    match (nr, args) {
        (libc::SYS_open, [_, flags, ..]) | (libc::SYS_openat, [_, _, flags, ..]) => opens(*flags),
        (libc::SYS_openat2, [_, _, how, ..]) => {
            user::read::<u64>(*how).map_or(Access::Write, |flags| opens(flags as usize))
        }
        (libc::SYS_stat | libc::SYS_lstat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_statfs, _) => {
            Access::Look
        }
        (libc::SYS_access | libc::SYS_faccessat | libc::SYS_faccessat2, _) => Access::Look,
        (libc::SYS_readlink | libc::SYS_readlinkat | libc::SYS_name_to_handle_at, _) => Access::Look,
        (libc::SYS_getxattr | libc::SYS_lgetxattr | libc::SYS_listxattr | libc::SYS_llistxattr, _) => Access::Look,
        (libc::SYS_chdir | libc::SYS_execve | libc::SYS_execveat | libc::SYS_inotify_add_watch, _) => Access::Read,
        _ => Access::Write,
    }
}

/// Whether a link at the end of a name is followed.
fn follows(nr: i64, args: &[usize; 6]) -> bool {
    let nofollow = |flags: usize| flags & libc::AT_SYMLINK_NOFOLLOW as usize != 0;
    let exclusive = (libc::O_CREAT | libc::O_EXCL) as usize;
    let opens = |flags: usize| flags & libc::O_NOFOLLOW as usize == 0 && flags & exclusive != exclusive;
    match (nr, args) {
        (libc::SYS_open, [_, flags, ..]) | (libc::SYS_openat, [_, _, flags, ..]) => opens(*flags),
        (
            libc::SYS_newfstatat | libc::SYS_faccessat2 | libc::SYS_fchmodat2 | libc::SYS_utimensat,
            [_, _, _, flags, ..],
        ) => !nofollow(*flags),
        (libc::SYS_statx, [_, _, flags, ..]) | (libc::SYS_fchownat, [_, _, _, _, flags, _]) => !nofollow(*flags),
        (libc::SYS_lstat | libc::SYS_readlink | libc::SYS_readlinkat | libc::SYS_lchown | libc::SYS_unlink, _) => false,
        (libc::SYS_unlinkat | libc::SYS_rmdir | libc::SYS_mkdir | libc::SYS_mkdirat | libc::SYS_mknod, _) => false,
        (libc::SYS_mknodat | libc::SYS_symlink | libc::SYS_symlinkat | libc::SYS_rename | libc::SYS_renameat, _) => {
            false
        }
        (libc::SYS_renameat2 | libc::SYS_lgetxattr | libc::SYS_lsetxattr | libc::SYS_llistxattr, _) => false,
        (libc::SYS_lremovexattr, _) => false,
        // link(2) does not follow unless it is told to; a name that is refused either way must not be linked.
        _ => true,
    }
}

/// The name at `path` as the host resolves it; `None` where there is nothing to judge: an object without a name, or a call that
/// the host will refuse itself.
fn real_name(dir: RawFd, path: usize, follow: bool) -> Option<Vec<u8>> {
    if path == 0 {
        return None;
    }
    let path = user::read_path(path).ok()?;
    match open(dir, &path, follow) {
        // An empty path is the descriptor itself, which the program may have.
        _ if path.is_empty() => None,
        Ok(fd) => name_of(fd),
        Err(Errno::ENOENT) => {
            let bytes = path.as_bytes();
            let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            let bytes = bytes.get(..end)?;
            let slash = bytes.iter().rposition(|byte| *byte == b'/');
            let (parent, last) = slash.map_or((&b"."[..], bytes), |at| {
                (bytes.get(..at.max(1)).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default())
            });
            // A link that leads nowhere yet: where it would lead to cannot be said.
            if follow && let Ok(fd) = open(dir, &path, false) {
                raw::close(fd);
                return Some(b"(a dangling link)".to_vec());
            }
            let mut name = name_of(open(dir, &CString::new(parent).ok()?, true).ok()?)?;
            if name != b"/" {
                name.push(b'/');
            }
            name.extend_from_slice(last);
            Some(name)
        }
        Err(_) => None,
    }
}

fn open(dir: RawFd, path: &CString, follow: bool) -> Result<RawFd> {
    let flags = libc::O_PATH | libc::O_CLOEXEC | if follow { 0 } else { libc::O_NOFOLLOW };
    let args = [raw::word(dir), path.as_ptr() as usize, raw::word(flags)];
    raw::checked(raw::call(libc::SYS_openat, args)).map(|fd| fd as RawFd)
}

/// The name of an open file, which is closed; `None` for a pipe, a socket or another that has none.
fn name_of(fd: RawFd) -> Option<Vec<u8>> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut name = vec![0u8; PATH];
    let args = [raw::word(libc::AT_FDCWD), link.as_ptr() as usize, name.as_mut_ptr() as usize, name.len()];
    let got = raw::checked(raw::call(libc::SYS_readlinkat, args));
    raw::close(fd);
    match got {
        Ok(got) => name.truncate(got),
        // Without /proc nothing can be said to be in the list.
        Err(_) => return Some(b"(a name that cannot be told)".to_vec()),
    }
    let named = name.first() == Some(&b'/') && !name.starts_with(b"/memfd:");
    named.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(dir: RawFd, path: &str, follow: bool) -> Option<String> {
        let path = CString::new(path).unwrap();
        real_name(dir, path.as_ptr() as usize, follow).map(|name| String::from_utf8(name).unwrap())
    }

    #[test]
    fn a_name_is_what_the_host_makes_of_it() {
        let folder =
            std::fs::canonicalize(std::env::temp_dir()).unwrap().join(format!("sandbox-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let here = folder.to_str().unwrap().to_owned();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", folder.join("dangling")).unwrap();
        let cwd = libc::AT_FDCWD;
        assert_eq!(name(cwd, "/usr/../etc/./passwd", true).as_deref(), Some("/etc/passwd"));
        assert_eq!(name(cwd, &format!("{here}/link"), true).as_deref(), Some("/etc/passwd"));
        assert_eq!(name(cwd, &format!("{here}/link"), false), Some(format!("{here}/link")));
        assert_eq!(name(cwd, &format!("{here}/dangling"), true).as_deref(), Some("(a dangling link)"));
        assert_eq!(name(cwd, &format!("{here}/none"), true), Some(format!("{here}/none")));
        assert_eq!(name(cwd, &format!("{here}/new/"), false), Some(format!("{here}/new")));
        assert_eq!(name(cwd, "/none", true).as_deref(), Some("/none"));
        assert_eq!(name(cwd, &format!("{here}/none/none"), true), None, "the host says ENOENT");
        assert_eq!(name(cwd, "/proc/self/root/etc/passwd", true).as_deref(), Some("/etc/passwd"));
        assert_eq!(name(cwd, "", true), None);
        assert_eq!(real_name(cwd, 0, true), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn each_call_with_a_name_is_judged_by_it() {
        for row in calls::TABLE {
            let paths = row.arguments.iter().filter(|name| matches!(**name, "path" | "link")).count();
            let found = names(row.nr as i64).into_iter().flatten().count();
            assert!(found >= paths, "{}", row.name);
        }
        assert_eq!(names(libc::SYS_linkat), [Some((0, 1)), Some((2, 3))]);
        assert_eq!(names(libc::SYS_rename), [Some((first::CWD, 0)), Some((first::CWD, 1))]);
        assert_eq!(names(libc::SYS_execve), [Some((first::CWD, 0)), None]);
        assert_eq!(names(libc::SYS_read), [None; 2]);
    }

    #[test]
    fn only_what_is_known_to_be_harmless_may_be_done_to_what_is_readable() {
        let flags = |flags: i32| [0, 0, flags as usize, 0, 0, 0];
        let openat = |bits| access(libc::SYS_openat, &flags(bits));
        assert_eq!(openat(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK), Access::Read);
        assert_eq!(openat(libc::O_RDONLY | libc::O_DIRECTORY), Access::Read);
        assert_eq!(openat(libc::O_PATH), Access::Look);
        for bits in [libc::O_RDWR, libc::O_WRONLY, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE] {
            assert_eq!(openat(bits), Access::Write);
        }
        assert_eq!(access(libc::SYS_newfstatat, &flags(0)), Access::Look);
        assert_eq!(access(libc::SYS_truncate, &flags(0)), Access::Write);
    }
}
