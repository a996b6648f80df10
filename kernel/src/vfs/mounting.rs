//! Joining file systems into the tree and taking them out of it (mount(2), unmount(2)).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::mount::{MNT_DETACH, MNT_FORCE, MNT_NOATIME, MNT_RDONLY, MNT_RELATIME, MNT_UPDATE};
use abi::{Errno, Result};

use super::mount::write;
use super::namei::Follow;
use super::{Dir, Mount, View};
use crate::fs;
use crate::fs::options::Options;

/// Flags that a mount keeps from mount(2): the visible ones that a caller may set.
pub const KEPT: i32 = MNT_NOATIME | MNT_RELATIME | 0x3f;
/// Mounts at most.
const MOUNTS_MAX: usize = 1024;

impl View<'_> {
    /// Mounts a file system of type `kind` on the directory `path` (mount(2)); `options` is text, see [`Options`].
    ///
    /// `EPERM` unless the superuser asks, `ENODEV` for an unknown type, `ENOTDIR`, `ENOMEM` for too many. `MNT_UPDATE` changes the
    /// flags of a mount: `EINVAL` if nothing is mounted there, `EBUSY` if it would become read-only beside an open writer.
    pub fn mount(&self, kind: &str, source: &[u8], path: &[u8], flags: i32, options: &[u8]) -> Result<()> {
        self.superuser()?;
        let (flags, options) = Options::parse(options, flags);
        let at = self.namei(&self.cwd, path, Follow::Always)?.directory()?;
        if flags & MNT_UPDATE != 0 {
            return update(&at, flags & KEPT, &options);
        }
        let path = self.path_of(&at)?;
        let request = fs::Request { host: &self.vfs.rumpuser, view: Some(self), source, flags: flags & KEPT, options };
        let fs = fs::mount(kind, &request)?;
        let mut mounts = write(&self.vfs.mounts);
        if mounts.len() >= MOUNTS_MAX {
            return Err(Errno::ENOMEM);
        }
        // Somebody may have mounted something here, or taken away what this is on, while the file system was made.
        let at = super::namei::topmost(&mounts, at);
        at.mount.alive()?;
        at.node.vnode().covers.fetch_add(1, Ordering::Release);
        mounts.push(self.vfs.new_mount(fs, Some(at), path, source, flags & KEPT));
        Ok(())
    }

    /// Takes the file system mounted on `path` away (unmount(2)).
    ///
    /// `EINVAL` if `path` is no mount point, `EBUSY` for the root, while another is mounted on it, or while something on it is in use.
    /// What is in use then answers `EIO` with `MNT_FORCE`, and goes on as if nothing had happened with `MNT_DETACH`.
    pub fn unmount(&self, path: &[u8], flags: i32) -> Result<()> {
        self.superuser()?;
        let at = self.namei(&self.cwd, path, Follow::Always)?;
        if self.vfs.root().is_some_and(|root| root.same(&at)) {
            return Err(Errno::EBUSY);
        }
        if !at.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let mount = at.mount;
        let (force, detach) = (flags & MNT_FORCE != 0, flags & MNT_DETACH != 0);
        // One reference is the table's, one is ours.
        let busy = || Arc::strong_count(&mount) > 2 && !force && !detach;
        if busy() {
            return Err(Errno::EBUSY);
        }
        let written = if detach { Ok(()) } else { mount.fs.sync() };
        if !force {
            written?;
        }
        let mut mounts = write(&self.vfs.mounts);
        let above = |other: &Arc<Mount>| other.covered.as_ref().is_some_and(|on| Arc::ptr_eq(&on.mount, &mount));
        if busy() || mounts.iter().any(above) {
            return Err(Errno::EBUSY);
        }
        let index = mounts.iter().position(|other| Arc::ptr_eq(other, &mount)).ok_or(Errno::EINVAL)?;
        mounts.remove(index);
        if let Some(covered) = &mount.covered {
            covered.node.vnode().covers.fetch_sub(1, Ordering::Release);
        }
        if !detach {
            mount.be_gone();
        }
        drop(mounts);
        if detach { Ok(()) } else { mount.fs.unmounted() }
    }

    /// Checks that the superuser asks; `EPERM` if not.
    pub fn superuser(&self) -> Result<()> {
        if self.cred.privileged() { Ok(()) } else { Err(Errno::EPERM) }
    }
}

/// Changes the flags of the mount whose root `at` is.
fn update(at: &Dir, flags: i32, options: &Options<'_>) -> Result<()> {
    let mount = &at.mount;
    if !at.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let nature = mount.fs.nature();
    if flags & MNT_RDONLY < nature & MNT_RDONLY {
        return Err(Errno::EROFS);
    }
    let old = mount.flags();
    let new = old & !KEPT | flags | nature;
    let becomes_read_only = new & !old & MNT_RDONLY != 0;
    if becomes_read_only {
        // From here on nobody begins to write.
        mount.flags.fetch_or(MNT_RDONLY as u32, Ordering::SeqCst);
    }
    let busy = if becomes_read_only && mount.is_written() { Err(Errno::EBUSY) } else { Ok(()) };
    let written = busy.and_then(|()| if becomes_read_only { mount.fs.sync() } else { Ok(()) });
    let done = written.and_then(|()| mount.fs.update(new, options));
    mount.flags.store(if done.is_ok() { new } else { old } as u32, Ordering::SeqCst);
    mount.tell_loans();
    done
}

#[cfg(test)]
mod tests {
    use abi::fcntl::{O_CREAT, O_RDONLY, O_RDWR};

    use super::*;
    use crate::file::File;
    use crate::vfs::{Kind, testing};

    #[test]
    fn the_top_mount_hides_what_lies_below() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/below", Kind::Regular, 0o644, 0).unwrap();
        view.mount("tmpfs", b"", b"/tmp", 0, b"").unwrap();
        assert!(view.namei(&view.cwd, b"/tmp/below", Follow::Always).is_err());
        assert_eq!(view.rmdir(&view.cwd, b"/tmp"), Err(Errno::EBUSY));
        let top = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
        assert_eq!(view.unmount(b"/tmp", 0), Err(Errno::EBUSY));
        drop(top);
        assert_eq!(view.unmount(b"/tmp", 0), Ok(()));
        assert!(view.namei(&view.cwd, b"/tmp/below", Follow::Always).is_ok());
        assert_eq!(view.unmount(b"/tmp", 0), Err(Errno::EINVAL));
        assert_eq!(view.unmount(b"/", 0), Err(Errno::EBUSY));
    }

    #[test]
    fn a_read_only_mount_refuses_changes() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mount("tmpfs", b"", b"/usr", 0, b"ro").unwrap();
        assert_eq!(view.mkdir(&view.cwd, b"/usr/d", 0o755), Err(Errno::EROFS));
        view.mount("", b"", b"/usr", MNT_UPDATE, b"").unwrap();
        assert_eq!(view.mkdir(&view.cwd, b"/usr/d", 0o755), Ok(()));
        assert_eq!(view.mount("nosuchfs", b"", b"/usr", 0, b""), Err(Errno::ENODEV));
        assert_eq!(view.mount("tmpfs", b"", b"/usr", 0, b"no-such-option"), Err(Errno::EINVAL));
        assert_eq!(view.mount("", b"", b"/usr/d", MNT_UPDATE, b""), Err(Errno::EINVAL));
    }

    #[test]
    fn a_mount_with_an_open_writer_does_not_become_read_only() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mount("tmpfs", b"", b"/usr", 0, b"nodev").unwrap();
        let file = view.open(&view.cwd, b"/usr/f", O_RDWR | O_CREAT, 0o644).unwrap();
        assert_eq!(view.mount("", b"", b"/usr", MNT_UPDATE, b"ro"), Err(Errno::EBUSY));
        assert_eq!(file.write(b"x"), Ok(1));
        drop(file);
        let reader = view.open(&view.cwd, b"/usr/f", O_RDONLY, 0).unwrap();
        assert_eq!(view.mount("", b"", b"/usr", MNT_UPDATE, b"ro"), Ok(()));
        assert_eq!(view.open(&view.cwd, b"/usr/f", O_RDWR, 0).map(drop), Err(Errno::EROFS));
        assert_eq!(reader.read(&mut [0; 4]), Ok(1));
    }

    #[test]
    fn mounts_lie_on_mounts_and_go_from_the_top() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mount("tmpfs", b"first", b"/usr", 0, b"").unwrap();
        view.mount("tmpfs", b"second", b"/usr", 0, b"").unwrap();
        view.mkdir(&view.cwd, b"/usr/d", 0o755).unwrap();
        view.mount("tmpfs", b"third", b"/usr/d", 0, b"").unwrap();
        for flags in [0, MNT_FORCE, MNT_DETACH] {
            assert_eq!(view.unmount(b"/usr", flags), Err(Errno::EBUSY));
        }
        let from = || vfs.mounts().iter().map(|mount| mount.from().to_vec()).collect::<Vec<_>>();
        assert_eq!(from(), [&b"tmpfs"[..], b"devfs", b"first", b"second", b"third"]);
        assert_eq!(view.unmount(b"/usr/d", 0), Ok(()));
        assert_eq!(view.unmount(b"/usr", 0), Ok(()));
        assert_eq!(from(), [&b"tmpfs"[..], b"devfs", b"first"]);
        assert_eq!(view.unmount(b"/usr", 0), Ok(()));
        assert_eq!(view.mknod(&view.cwd, b"/tmp/f", Kind::Regular, 0o644, 0).map(drop), Ok(()));
        assert_eq!(view.mount("tmpfs", b"", b"/tmp/f", 0, b""), Err(Errno::ENOTDIR));
    }

    #[test]
    fn what_was_taken_away_by_force_answers_eio_and_what_was_detached_goes_on() {
        for (flags, written) in [(MNT_FORCE, Err(Errno::EIO)), (MNT_DETACH, Ok(1))] {
            let vfs = testing::boot();
            let mut view = vfs.root_view().unwrap();
            view.mount("tmpfs", b"", b"/usr", 0, b"").unwrap();
            let file = view.open(&view.cwd, b"/usr/f", O_RDWR | O_CREAT, 0o644).unwrap();
            view.cwd = view.namei(&view.cwd, b"/usr", Follow::Always).unwrap();
            assert_eq!(view.unmount(b"/usr", 0), Err(Errno::EBUSY));
            assert_eq!(view.unmount(b"/usr", flags), Ok(()));
            assert_eq!(
                (file.write(b"x"), file.read_at(0, &mut [0]), file.write_at(0, b"x")),
                (written, written, written)
            );
            assert_eq!(view.mkdir(&view.cwd, b"d", 0o755), written.map(drop));
            assert_eq!(view.namei(&view.cwd, b"f", Follow::Always).map(drop), written.map(drop));
            assert_eq!(view.namei(&view.cwd, b"/usr/f", Follow::Always).map(drop), Err(Errno::ENOENT));
        }
    }
}
