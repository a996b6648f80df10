//! Making, linking, moving and removing names.

use std::sync::Arc;

use abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, check_rename};
use abi::{Errno, Result};

use super::namei::{Follow, Last, Target};
use super::{Dir, Kind, New, Node, Rename, View, perm};

/// The longest target of a symbolic link.
const TARGET_MAX: usize = crate::usermem::PATH_MAX - 1;
/// What makes the set-group-ID bit that of a program, not the mark of mandatory locking.
const SETGID_PROGRAM: u32 = perm::SETGID | 0o010;

impl View<'_> {
    /// Makes a directory (mkdir(2)).
    pub fn mkdir(&self, at: &Dir, path: &[u8], mode: u32) -> Result<()> {
        let target = self.walk(at, path, Follow::Never)?;
        self.make(&target, Kind::Directory, mode & 0o1777, 0, b"").map(drop)
    }

    /// Makes a node that is neither directory nor symbolic link (mknod(2), mkfifo(2)); `EPERM` for a device
    /// unless the superuser asks.
    pub fn mknod(&self, at: &Dir, path: &[u8], kind: Kind, mode: u32, rdev: u64) -> Result<Arc<dyn Node>> {
        let target = self.walk(at, path, Follow::Never)?;
        self.make(&target, kind, mode & 0o7777, rdev, b"")
    }

    /// Makes a symbolic link at `path` (symlink(2)).
    pub fn symlink(&self, contents: &[u8], at: &Dir, path: &[u8]) -> Result<()> {
        match contents.len() {
            0 => return Err(Errno::ENOENT),
            1..=TARGET_MAX => {}
            _ => return Err(Errno::ENAMETOOLONG),
        }
        let target = self.walk(at, path, Follow::Never)?;
        self.make(&target, Kind::Symlink, 0o777, 0, contents).map(drop)
    }

    /// Makes the node that a path names but that does not exist yet; `EEXIST` if it does.
    pub(super) fn make(&self, target: &Target, kind: Kind, mode: u32, rdev: u64, link: &[u8]) -> Result<Arc<dyn Node>> {
        let Last::Name(name) = &target.last else { return Err(Errno::EEXIST) };
        if target.found.is_some() {
            return Err(Errno::EEXIST);
        }
        if target.slash && kind != Kind::Directory {
            return Err(Errno::ENOENT);
        }
        target.dir.is_alive()?;
        self.may_change(&target.dir)?;
        if matches!(kind, Kind::Character | Kind::Block) && !self.cred.privileged() {
            return Err(Errno::EPERM);
        }
        let new = self.new_node(&target.dir, kind, mode, rdev, link);
        target.dir.node.create(name, &new)
    }

    /// What a new node in `dir` is to be: owner and group by who asks and where, the mode without the bits of umask.
    pub(super) fn new_node<'l>(&self, dir: &Dir, kind: Kind, mode: u32, rdev: u64, link: &'l [u8]) -> New<'l> {
        let above = dir.node.attr();
        let inherits = above.mode & perm::SETGID != 0;
        let gid = if inherits { above.gid } else { self.cred.egid };
        let mut mode = if kind == Kind::Symlink { mode } else { mode & !self.umask };
        if inherits && kind == Kind::Directory {
            mode |= perm::SETGID;
        } else if mode & SETGID_PROGRAM == SETGID_PROGRAM && !self.cred.privileged() && !self.cred.in_group(gid) {
            mode &= !perm::SETGID;
        }
        New { kind, mode, uid: self.cred.euid, gid, rdev, target: link }
    }

    /// Gives `old` another name (link(2)); a symbolic link is itself linked.
    ///
    /// `EPERM` for a directory, `EXDEV` across mounts.
    pub fn link(&self, old: &Dir, at: &Dir, path: &[u8]) -> Result<()> {
        let target = self.walk(at, path, Follow::Never)?;
        let Last::Name(name) = &target.last else { return Err(Errno::EEXIST) };
        if target.found.is_some() {
            return Err(Errno::EEXIST);
        }
        if target.slash {
            return Err(Errno::ENOENT);
        }
        target.dir.is_alive()?;
        target.dir.mount.writable()?;
        if !Arc::ptr_eq(&target.dir.mount, &old.mount) {
            return Err(Errno::EXDEV);
        }
        self.may_change(&target.dir)?;
        if old.node.vnode().kind == Kind::Directory {
            return Err(Errno::EPERM);
        }
        target.dir.node.link(name, &old.node)
    }

    /// Removes a name that is not a directory's (unlink(2)); `EISDIR` for a directory, as on Linux.
    pub fn unlink(&self, at: &Dir, path: &[u8]) -> Result<()> {
        let mut target = self.parent(at, path)?;
        if !matches!(target.last, Last::Name(_)) {
            return Err(Errno::EISDIR);
        }
        let found = self.look_up_to_change(&mut target)?.ok_or(Errno::ENOENT)?;
        let Last::Name(name) = &target.last else { return Err(Errno::EISDIR) };
        let is_directory = found.node.vnode().kind == Kind::Directory;
        if target.slash && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        self.may_remove(&target.dir, &*found.node)?;
        if is_directory {
            return Err(Errno::EISDIR);
        }
        target.dir.node.remove(name, &found.node)
    }

    /// Removes an empty directory (rmdir(2)).
    pub fn rmdir(&self, at: &Dir, path: &[u8]) -> Result<()> {
        let mut target = self.parent(at, path)?;
        match &target.last {
            Last::Name(_) => {}
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        }
        let found = self.look_up_to_change(&mut target)?.ok_or(Errno::ENOENT)?;
        let Last::Name(name) = &target.last else { return Err(Errno::EBUSY) };
        if found.is_mount_root() {
            return Err(Errno::EBUSY);
        }
        self.may_remove(&target.dir, &*found.node)?;
        let found = found.directory()?;
        target.dir.node.remove(name, &found.node)
    }

    /// Moves a name (rename(2)). Two names of one file are both left alone, as POSIX demands.
    pub fn rename(&self, from_at: &Dir, from: &[u8], to_at: &Dir, to: &[u8]) -> Result<()> {
        self.rename_found(self.parent(from_at, from)?, self.parent(to_at, to)?, 0)
    }

    /// Moves a name, or swaps two (renameat2(2)), whose directories are found already; `flags` are `RENAME_*`.
    ///
    /// `EXDEV` across mounts, `EBUSY` for `.`, `..` and mount points, `EINVAL` for a directory into itself and for flags that
    /// contradict each other, `EEXIST` with `RENAME_NOREPLACE`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY` by what is replaced.
    pub fn rename_found(&self, mut from: Target, mut to: Target, flags: u32) -> Result<()> {
        check_rename(flags)?;
        let exchange = flags & RENAME_EXCHANGE != 0;
        if !Arc::ptr_eq(&from.dir.mount, &to.dir.mount) {
            return Err(Errno::EXDEV);
        }
        if !matches!(from.last, Last::Name(_)) {
            return Err(Errno::EBUSY);
        }
        if !matches!(to.last, Last::Name(_)) {
            return Err(if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY });
        }
        let moved = self.look_up_to_change(&mut from)?.ok_or(Errno::ENOENT)?;
        self.look_up_to_change(&mut to)?;
        let (Last::Name(from_name), Last::Name(to_name)) = (&from.last, &to.last) else { return Err(Errno::EBUSY) };
        if flags & RENAME_NOREPLACE != 0 && to.found.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange && to.found.is_none() {
            return Err(Errno::ENOENT);
        }
        let is_directory = moved.node.vnode().kind == Kind::Directory;
        if (from.slash || (to.slash && !exchange)) && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        if !is_directory && !exchange && to.found.as_ref().is_some_and(|replaced| from.dir.lies_in(replaced)) {
            // It holds what is moved, at least, whatever else would be said of a directory in the place of a file.
            return Err(Errno::ENOTEMPTY);
        }
        if moved.is_mount_root() || to.found.as_ref().is_some_and(Dir::is_mount_root) {
            return Err(Errno::EBUSY);
        }
        self.may_remove(&from.dir, &*moved.node)?;
        if let Some(replaced) = &to.found {
            self.may_remove(&to.dir, &*replaced.node)?;
            if to.slash && replaced.node.vnode().kind != Kind::Directory {
                return Err(Errno::ENOTDIR);
            }
        } else {
            self.may_change(&to.dir)?;
        }
        if is_directory && !from.dir.same(&to.dir) {
            // The entry `..` of the directory changes.
            perm::access(&*moved.node, &self.cred, perm::WRITE)?;
        }
        let whiteout = (flags & RENAME_WHITEOUT != 0).then_some((self.cred.euid, self.cred.egid));
        let replaces = flags & RENAME_NOREPLACE == 0;
        let how = if exchange { Rename::Exchange } else { Rename::Move { replaces, whiteout } };
        from.dir.node.rename(from_name, &to.dir.node, to_name, how)
    }

    /// Looks up what is to be taken away or replaced; `EROFS` comes before any error of the name itself.
    fn look_up_to_change(&self, target: &mut Target) -> Result<Option<Dir>> {
        target.dir.mount.writable()?;
        self.look_up(target)?;
        Ok(target.found.clone())
    }

    /// Reads a symbolic link (readlink(2)); `EINVAL` if it is none.
    pub fn read_link(&self, at: &Dir, path: &[u8]) -> Result<Vec<u8>> {
        let found = self.namei(at, path, Follow::WithSlash)?;
        let target = found.node.read_link()?;
        found.accessed();
        Ok(target)
    }
}

impl Dir {
    /// Whether it is `above` or below that, on one file system.
    fn lies_in(&self, above: &Dir) -> bool {
        let mut node = self.node.clone();
        while !super::node::same(&node, &above.node) {
            match node.parent() {
                Ok(parent) if !super::node::same(&node, &self.mount.root) => node = parent,
                _ => return false,
            }
        }
        true
    }

    /// Whether it is the root of a mount.
    pub(super) fn is_mount_root(&self) -> bool {
        super::node::same(&self.node, &self.mount.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testing;

    fn tmp(view: &View<'_>) -> Dir {
        view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap()
    }

    #[test]
    fn odd_last_components_have_their_own_errors() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let at = tmp(&view);
        view.mkdir(&at, b"d", 0o755).unwrap();
        assert_eq!(view.mkdir(&at, b"d/.", 0o755), Err(Errno::EEXIST));
        assert_eq!(view.mkdir(&at, b"/", 0o755), Err(Errno::EEXIST));
        assert_eq!(view.rmdir(&at, b"d/."), Err(Errno::EINVAL));
        assert_eq!(view.rmdir(&at, b"d/.."), Err(Errno::ENOTEMPTY));
        assert_eq!(view.rmdir(&at, b"/"), Err(Errno::EBUSY));
        assert_eq!(view.rmdir(&at, b"/dev"), Err(Errno::EBUSY));
        assert_eq!(view.unlink(&at, b"d"), Err(Errno::EISDIR));
        assert_eq!(view.rename(&at, b"d/.", &at, b"e"), Err(Errno::EBUSY));
        assert_eq!(view.rename(&at, b"d", &at, b"/dev/d"), Err(Errno::EXDEV));
    }

    #[test]
    fn a_trailing_slash_asks_for_a_directory() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let at = tmp(&view);
        assert_eq!(view.mkdir(&at, b"d///", 0o755), Ok(()));
        assert_eq!(view.mknod(&at, b"f/", Kind::Regular, 0o644, 0).map(drop), Err(Errno::ENOENT));
        view.mknod(&at, b"f", Kind::Regular, 0o644, 0).unwrap();
        assert_eq!(view.unlink(&at, b"f/"), Err(Errno::ENOTDIR));
        assert_eq!(view.rename(&at, b"f", &at, b"g/"), Err(Errno::ENOTDIR));
        assert_eq!(view.rename(&at, b"d", &at, b"e/"), Ok(()));
        view.symlink(b"e", &at, b"s").unwrap();
        assert_eq!(view.rmdir(&at, b"s/"), Err(Errno::ENOTDIR));
        assert_eq!(view.rmdir(&at, b"e/"), Ok(()));
    }

    #[test]
    fn rename_keeps_the_tree_a_tree() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let at = tmp(&view);
        for path in [&b"a"[..], b"a/b", b"a/b/c", b"x"] {
            view.mkdir(&at, path, 0o755).unwrap();
        }
        assert_eq!(view.rename(&at, b"a", &at, b"a/b/c/d"), Err(Errno::EINVAL));
        assert_eq!(view.rename(&at, b"a", &at, b"a/b"), Err(Errno::EINVAL));
        assert_eq!(view.rename(&at, b"x", &at, b"a"), Err(Errno::ENOTEMPTY));
        assert_eq!(view.rename(&at, b"a/b/c", &at, b"x"), Ok(()));
        view.mknod(&at, b"f", Kind::Regular, 0o644, 0).unwrap();
        assert_eq!(view.rename(&at, b"f", &at, b"x"), Err(Errno::EISDIR));
        assert_eq!(view.rename(&at, b"x", &at, b"f"), Err(Errno::ENOTDIR));
        assert_eq!(at.node.attr().nlink, 4);
    }

    #[test]
    fn a_directory_with_setgid_passes_its_group_on() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let at = tmp(&view);
        view.mkdir(&at, b"d", 0o755).unwrap();
        let d = view.namei(&at, b"d", Follow::Always).unwrap();
        view.chown(&d, None, Some(42)).unwrap();
        view.chmod(&d, 0o2755).unwrap();
        view.mkdir(&d, b"e", 0o755).unwrap();
        let e = view.namei(&d, b"e", Follow::Always).unwrap().node.attr();
        assert_eq!((e.gid, e.mode), (42, 0o2755));
        assert_eq!(view.mknod(&d, b"f", Kind::Regular, 0o644, 0).unwrap().attr().gid, 42);
    }

    #[test]
    fn links_share_the_node() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let at = tmp(&view);
        view.mknod(&at, b"f", Kind::Regular, 0o644, 0).unwrap();
        let f = view.namei(&at, b"f", Follow::Never).unwrap();
        view.link(&f, &at, b"g").unwrap();
        assert_eq!(f.node.attr().nlink, 2);
        assert_eq!(view.rename(&at, b"f", &at, b"g"), Ok(()));
        assert!(view.namei(&at, b"f", Follow::Never).is_ok());
        assert_eq!(view.link(&at, &at, b"h"), Err(Errno::EPERM));
        view.unlink(&at, b"f").unwrap();
        view.unlink(&at, b"g").unwrap();
        assert_eq!(f.node.attr().nlink, 0);
        assert_eq!(view.link(&f, &at, b"again"), Err(Errno::ENOENT));
    }
}
