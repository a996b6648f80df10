//! Permissions.

use abi::{Errno, Result};

use super::{Attr, Dir, Kind, Node, View};
use crate::proc::Credentials;

/// Permission to read.
pub const READ: u32 = 4;
/// Permission to write.
pub const WRITE: u32 = 2;
/// Permission to execute a file or search a directory.
pub const EXEC: u32 = 1;

/// `S_ISUID`.
pub const SETUID: u32 = 0o4000;
/// `S_ISGID`.
pub const SETGID: u32 = 0o2000;
/// `S_ISVTX`.
pub const STICKY: u32 = 0o1000;

/// Checks that `cred` has every permission in `want`; `EACCES` if not.
///
/// The superuser has all, except executing a file that nobody may execute.
pub fn access(node: &dyn Node, cred: &Credentials, want: u32) -> Result<()> {
    if cred.privileged() && (want & EXEC == 0 || node.vnode().kind == Kind::Directory) {
        return Ok(());
    }
    let attr = node.attr();
    let granted = if cred.privileged() { READ | WRITE | u32::from(attr.mode & 0o111 != 0) } else { bits(&attr, cred) };
    if granted & want == want { Ok(()) } else { Err(Errno::EACCES) }
}

/// The permission bits of the first class that `cred` belongs to: owner, group, others.
fn bits(attr: &Attr, cred: &Credentials) -> u32 {
    if attr.uid == cred.euid {
        attr.mode >> 6 & 7
    } else if cred.in_group(attr.gid) {
        attr.mode >> 3 & 7
    } else {
        attr.mode & 7
    }
}

/// Checks that `cred` is the owner or the superuser; `EPERM` if not.
pub fn owner(attr: &Attr, cred: &Credentials) -> Result<()> {
    if cred.privileged() || attr.uid == cred.euid { Ok(()) } else { Err(Errno::EPERM) }
}

impl View<'_> {
    /// Checks that entries of `dir` may be made or removed: `EROFS`, `EACCES`.
    pub(super) fn may_change(&self, dir: &Dir) -> Result<()> {
        dir.mount.writable()?;
        access(&*dir.node, &self.cred, WRITE | EXEC)
    }

    /// Checks that `child` may be taken out of `dir`: in a sticky directory only by the owner of either (`EPERM`), and
    /// nothing that the host shows (`EOPNOTSUPP`).
    pub(super) fn may_remove(&self, dir: &Dir, child: &dyn Node) -> Result<()> {
        self.may_change(dir)?;
        if self.vfs.etfs.shows(child) {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.cred.privileged() {
            return Ok(());
        }
        let above = dir.node.attr();
        let mine = above.uid == self.cred.euid || child.attr().uid == self.cred.euid;
        if above.mode & STICKY == 0 || mine { Ok(()) } else { Err(Errno::EPERM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::namei::Follow;
    use crate::vfs::testing;

    #[test]
    fn the_first_class_that_fits_decides() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        let node = view.mknod(&view.cwd, b"/tmp/f", Kind::Regular, 0o067, 0).unwrap();
        view.chown(&view.namei(&view.cwd, b"/tmp/f", Follow::Always).unwrap(), Some(5), Some(6)).unwrap();
        let cred = |euid, egid| Credentials { euid, egid, ..Credentials::default() };
        assert_eq!(access(&*node, &cred(5, 6), READ), Err(Errno::EACCES));
        assert_eq!(access(&*node, &cred(9, 6), READ | WRITE), Ok(()));
        assert_eq!(access(&*node, &cred(9, 6), EXEC), Err(Errno::EACCES));
        assert_eq!(access(&*node, &cred(9, 9), READ | WRITE | EXEC), Ok(()));
        view.cred = cred(0, 0);
        assert_eq!(access(&*node, &view.cred, EXEC), Ok(()));
    }

    #[test]
    fn in_a_sticky_directory_only_owners_remove() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/theirs", Kind::Regular, 0o666, 0).unwrap();
        view.cred.euid = 7;
        assert_eq!(view.unlink(&view.cwd, b"/tmp/theirs"), Err(Errno::EPERM));
        view.mknod(&view.cwd, b"/tmp/mine", Kind::Regular, 0o666, 0).unwrap();
        assert_eq!(view.unlink(&view.cwd, b"/tmp/mine"), Ok(()));
    }
}
