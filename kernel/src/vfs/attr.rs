//! Changing attributes: who may, and what else changes with it.

use abi::{Errno, Result};

use super::{Change, Dir, Kind, Node, View, perm};
use abi::time::Timespec;

/// A time for utimensat(2).
#[derive(Clone, Copy)]
pub enum Time {
    /// The present.
    Now,
    /// Leave it (`UTIME_OMIT`).
    Omit,
    /// This.
    At(Timespec),
}

impl View<'_> {
    /// Changes permission bits (chmod(2)); `EPERM` unless owner or superuser.
    pub fn chmod(&self, at: &Dir, mode: u32) -> Result<()> {
        at.mount.writable()?;
        if at.node.vnode().kind == Kind::Symlink {
            // Linux has no permissions on symbolic links.
            return Err(Errno::EOPNOTSUPP);
        }
        let attr = at.node.attr();
        perm::owner(&attr, &self.cred)?;
        let mut mode = mode & 0o7777;
        if !self.cred.privileged() && !self.cred.in_group(attr.gid) {
            mode &= !perm::SETGID;
        }
        at.node.set_attr(&Change { mode: Some(mode), ..Change::default() })
    }

    /// Changes owner and group (chown(2)). Only the superuser gives away; an owner may choose among its groups.
    pub fn chown(&self, at: &Dir, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        at.mount.writable()?;
        let attr = at.node.attr();
        let mine = attr.uid == self.cred.euid;
        let gives = uid.is_some_and(|uid| uid != attr.uid)
            || gid.is_some_and(|gid| !self.cred.in_group(gid) && gid != attr.gid);
        if !self.cred.privileged() && (gives || (!mine && (uid.is_some() || gid.is_some()))) {
            return Err(Errno::EPERM);
        }
        // Linux takes the bits from files, whoever changes the owner, and leaves directories alone.
        let stripped = strip(attr.mode);
        let mode = (at.node.vnode().kind != Kind::Directory && stripped != attr.mode).then_some(stripped);
        at.node.set_attr(&Change { uid, gid, mode, ..Change::default() })
    }

    /// Changes times (utimensat(2)). Setting both to the present needs only permission to write. `EINVAL` for what is no time.
    pub fn utimes(&self, at: &Dir, atime: Time, mtime: Time) -> Result<()> {
        if [atime, mtime]
            .iter()
            .any(|time| matches!(time, Time::At(time) if !(0..1_000_000_000).contains(&time.tv_nsec)))
        {
            return Err(Errno::EINVAL);
        }
        at.mount.writable()?;
        match (atime, mtime) {
            (Time::Omit, Time::Omit) => return Ok(()),
            (Time::Now, Time::Now) => {
                perm::owner(&at.node.attr(), &self.cred)
                    .or_else(|_| perm::access(&*at.node, &self.cred, perm::WRITE))?;
            }
            _ => perm::owner(&at.node.attr(), &self.cred)?,
        }
        let now = now(self.vfs);
        let value = |time| match time {
            Time::Now => Some(now),
            Time::Omit => None,
            Time::At(time) => Some(time),
        };
        at.node.set_attr(&Change { atime: value(atime), mtime: value(mtime), ..Change::default() })
    }

    /// Changes the length of a file by name (truncate(2)).
    pub fn truncate(&self, at: &Dir, length: u64) -> Result<()> {
        match at.node.vnode().kind {
            Kind::Directory => return Err(Errno::EISDIR),
            Kind::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
        at.mount.writable()?;
        perm::access(&*at.node, &self.cred, perm::WRITE)?;
        self.resize(at, length)
    }

    /// Changes the length of a file that may be written.
    pub(super) fn resize(&self, at: &Dir, length: u64) -> Result<()> {
        at.mount.alive()?;
        may_grow(&*at.node, length)?;
        let mode = self.without_setid(at);
        at.node.set_attr(&Change { size: Some(length), mode, ..Change::default() })
    }

    /// Takes set-user-ID and set-group-ID away from what is about to be written by anybody but the superuser.
    pub fn strip_setid(&self, at: &Dir) -> Result<()> {
        match self.without_setid(at) {
            None => Ok(()),
            mode => at.node.set_attr(&Change { mode, ..Change::default() }),
        }
    }

    /// The mode that remains when somebody but the superuser changes the content, if it differs.
    fn without_setid(&self, at: &Dir) -> Option<u32> {
        let mode = at.node.attr().mode;
        (!self.cred.privileged() && strip(mode) != mode).then_some(strip(mode))
    }
}

/// Whether a file has set-user-ID, or set-group-ID, for a write to take away.
pub fn has_setid(node: &dyn Node) -> bool {
    let mode = node.attr().mode;
    node.vnode().kind == Kind::Regular && strip(mode) != mode
}

/// Takes away set-user-ID, and set-group-ID where it is not the mark of mandatory locking.
fn strip(mode: u32) -> u32 {
    let gid = if mode & 0o010 != 0 { perm::SETGID } else { 0 };
    mode & !(perm::SETUID | gid)
}

/// The present, for time stamps.
pub fn now(vfs: &super::Vfs) -> Timespec {
    let now = vfs.rumpuser.wall_clock();
    Timespec { tv_sec: now.as_secs() as i64, tv_nsec: i64::from(now.subsec_nanos()) }
}

/// `EFBIG` if a file shall get longer than the calling process may make it.
pub(super) fn may_grow(node: &dyn Node, length: u64) -> Result<()> {
    match length.checked_sub(1) {
        Some(last) if length > node.attr().size => crate::current::writable_from(last).map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::namei::Follow;
    use crate::vfs::testing;

    #[test]
    fn only_the_owner_changes_the_mode() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/f", Kind::Regular, 0o644, 0).unwrap();
        let f = view.namei(&view.cwd, b"/tmp/f", Follow::Always).unwrap();
        view.cred.euid = 5;
        assert_eq!(view.chmod(&f, 0o777), Err(Errno::EPERM));
        assert_eq!(view.chown(&f, Some(5), None), Err(Errno::EPERM));
        assert_eq!(view.truncate(&f, 1), Err(Errno::EACCES));
        assert_eq!(view.utimes(&f, Time::Now, Time::Now), Err(Errno::EACCES));
        assert_eq!(view.chown(&f, None, None), Ok(()));
    }

    #[test]
    fn a_new_owner_loses_set_user_id() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/f", Kind::Regular, 0o755, 0).unwrap();
        let f = view.namei(&view.cwd, b"/tmp/f", Follow::Always).unwrap();
        view.chmod(&f, 0o6755).unwrap();
        view.chown(&f, Some(3), None).unwrap();
        assert_eq!((f.node.attr().mode, f.node.attr().uid), (0o755, 3));
    }

    #[test]
    fn omitted_times_stay() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let tmp = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
        view.utimes(&tmp, Time::At(Timespec { tv_sec: -1, tv_nsec: 5 }), Time::Omit).unwrap();
        view.utimes(&tmp, Time::Omit, Time::At(Timespec { tv_sec: 9, tv_nsec: 0 })).unwrap();
        let attr = tmp.node.attr();
        assert_eq!((attr.atime.tv_sec, attr.atime.tv_nsec, attr.mtime.tv_sec), (-1, 5, 9));
    }
}
