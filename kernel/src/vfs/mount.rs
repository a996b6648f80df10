//! Mounts: file systems joined into one tree (mount(2), statvfs(2)).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use abi::mount::{MNT_FORCE, MNT_LOCAL, MNT_RDONLY, MNT_ROOTFS, MNT_UPDATE};
use abi::stat::Statvfs;
use abi::{Errno, Result};
use zerocopy::FromZeros;

use super::namei::Follow;
use super::{Dir, FileSystem, NAME_MAX, Node, Vfs, View};
use crate::fs;

/// Flags that a mount keeps from mount(2): the visible ones that a caller may set.
const KEPT: i32 = 0x0400_003f | 0x0002_0000;
/// Mounts at most.
const MOUNTS_MAX: usize = 1024;

/// A file system at its place in the tree.
pub struct Mount {
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// Its root directory.
    pub root: Arc<dyn Node>,
    /// The directory that it covers; `None` for the root.
    pub covered: Option<Dir>,
    /// Number of the device: `st_dev`, `f_fsid`.
    pub id: u64,
    /// Path of the mount point when it was mounted.
    path: Vec<u8>,
    flags: AtomicU32,
}

impl Mount {
    /// Returns the flags, `MNT_*`.
    pub fn flags(&self) -> i32 {
        self.flags.load(Ordering::Relaxed) as i32
    }

    /// Checks that the mount is not read-only; `EROFS` if it is.
    pub fn writable(&self) -> Result<()> {
        if self.flags() & MNT_RDONLY == 0 { Ok(()) } else { Err(Errno::EROFS) }
    }

    /// Describes the mount for statvfs(2).
    pub fn statvfs(&self) -> Statvfs {
        let stat = self.fs.stat();
        let mut answer = Statvfs::new_zeroed();
        answer.f_flag = u64::from(self.flags.load(Ordering::Relaxed));
        answer.f_bsize = stat.block_size;
        answer.f_frsize = stat.block_size;
        answer.f_iosize = stat.block_size;
        answer.f_blocks = stat.blocks;
        answer.f_bfree = stat.blocks_free;
        answer.f_bavail = stat.blocks_free;
        answer.f_files = stat.files;
        answer.f_ffree = stat.files_free;
        answer.f_favail = stat.files_free;
        answer.f_fsid = self.id;
        answer.f_fsidx = [self.id as i32, 0];
        answer.f_namemax = NAME_MAX as u64;
        put(&mut answer.f_fstypename, self.fs.kind().as_bytes());
        put(&mut answer.f_mntonname, &self.path);
        put(&mut answer.f_mntfromname, self.fs.kind().as_bytes());
        answer
    }
}

/// Stores a string with its NUL, cut off if it is too long.
fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len() - 1);
    field[..len].copy_from_slice(&text[..len]);
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Vfs {
    /// Mounts a file system as the root.
    pub(super) fn mount_root(&self, kind: &str) -> Result<()> {
        let fs = fs::mount(kind, &self.rumpuser, &[])?;
        write(&self.mounts).push(self.new_mount(fs, None, b"/".to_vec(), MNT_ROOTFS));
        Ok(())
    }

    fn new_mount(&self, fs: Arc<dyn FileSystem>, covered: Option<Dir>, path: Vec<u8>, flags: i32) -> Arc<Mount> {
        let id = self.next_device.fetch_add(1, Ordering::Relaxed);
        let flags = AtomicU32::new((flags | MNT_LOCAL) as u32);
        Arc::new(Mount { root: fs.root(), fs, covered, id, path, flags })
    }

    /// Lists the mounts, the root first.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        read(&self.mounts).clone()
    }

    /// Writes everything to where it lasts (sync(2)).
    pub fn sync(&self) {
        for mount in self.mounts() {
            // sync(2) has no way to say that it failed; fsync(2) has.
            let _ = mount.fs.sync();
        }
        self.etfs.sync();
    }
}

impl View<'_> {
    /// Mounts a file system of type `kind` on the directory `path` (mount(2)).
    ///
    /// `EPERM` unless the superuser asks, `ENODEV` for an unknown type, `ENOTDIR`. `MNT_UPDATE` changes the flags of a mount.
    pub fn mount(&self, kind: &str, path: &[u8], flags: i32, data: &[u8]) -> Result<()> {
        self.superuser()?;
        let at = self.namei(&self.cwd, path, Follow::Always)?.directory()?;
        if flags & MNT_UPDATE != 0 {
            if !super::node::same(&at.node, &at.mount.root) {
                return Err(Errno::EINVAL);
            }
            let rest = at.mount.flags() & !KEPT;
            at.mount.flags.store((rest | flags & KEPT) as u32, Ordering::Relaxed);
            return Ok(());
        }
        let path = self.path_of(&at)?;
        let fs = fs::mount(kind, &self.vfs.rumpuser, data)?;
        let mount = self.vfs.new_mount(fs, Some(at.clone()), path, flags & KEPT);
        let mut mounts = write(&self.vfs.mounts);
        if mounts.len() >= MOUNTS_MAX {
            return Err(Errno::ENOMEM);
        }
        mounts.push(mount);
        at.node.vnode().covers.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Takes the file system mounted on `path` away (unmount(2)).
    ///
    /// `EINVAL` if `path` is no mount point, `EBUSY` for the root, while another is mounted on it, or while something on
    /// it is in use; what is in use lives on in a file system that `MNT_FORCE` takes away.
    pub fn unmount(&self, path: &[u8], flags: i32) -> Result<()> {
        self.superuser()?;
        let at = self.namei(&self.cwd, path, Follow::Always)?;
        let covered = at.mount.covered.as_ref().filter(|_| super::node::same(&at.node, &at.mount.root));
        let Some(covered) = covered else {
            let root = self.vfs.root().is_some_and(|root| root.same(&at));
            return Err(if root { Errno::EBUSY } else { Errno::EINVAL });
        };
        let mut mounts = write(&self.vfs.mounts);
        let above = |other: &Arc<Mount>| other.covered.as_ref().is_some_and(|on| Arc::ptr_eq(&on.mount, &at.mount));
        // One reference is the table's, one is ours.
        let used = Arc::strong_count(&at.mount) > 2;
        if mounts.iter().any(above) || (used && flags & MNT_FORCE == 0) {
            return Err(Errno::EBUSY);
        }
        let index = mounts.iter().position(|mount| Arc::ptr_eq(mount, &at.mount)).ok_or(Errno::EINVAL)?;
        mounts.remove(index);
        covered.node.vnode().covers.fetch_sub(1, Ordering::Release);
        drop(mounts);
        at.mount.fs.sync()
    }

    /// Checks that the superuser asks; `EPERM` if not.
    pub fn superuser(&self) -> Result<()> {
        if self.cred.privileged() { Ok(()) } else { Err(Errno::EPERM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Kind, testing};

    #[test]
    fn the_top_mount_hides_what_lies_below() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mknod(&view.cwd, b"/tmp/below", Kind::Regular, 0o644, 0).unwrap();
        view.mount("tmpfs", b"/tmp", 0, &[]).unwrap();
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
        view.mount("tmpfs", b"/usr", MNT_RDONLY, &[]).unwrap();
        assert_eq!(view.mkdir(&view.cwd, b"/usr/d", 0o755), Err(Errno::EROFS));
        view.mount("", b"/usr", MNT_UPDATE, &[]).unwrap();
        assert_eq!(view.mkdir(&view.cwd, b"/usr/d", 0o755), Ok(()));
        assert_eq!(view.mount("nosuchfs", b"/usr", 0, &[]), Err(Errno::ENODEV));
    }

    #[test]
    fn statvfs_names_type_and_place() {
        let vfs = testing::boot();
        let names: Vec<_> = vfs.mounts().iter().map(|mount| mount.statvfs().f_mntonname[..5].to_vec()).collect();
        assert_eq!(names, [b"/\0\0\0\0", b"/dev\0"]);
    }
}
