//! File systems at their places in the tree, and what statvfs(2) says about them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use abi::mount::{MNT_LOCAL, MNT_RDONLY, MNT_ROOTFS};
use abi::stat::Statvfs;
use abi::{Errno, Result};
use zerocopy::FromZeros;

use super::lending::Loan;
use super::pipe::Pipe;
use super::{Dir, FileSystem, Node, Vfs};
use crate::fs;
use crate::fs::options::Options;
use crate::proc::lock;

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
    /// What is mounted; the type's name where that is nothing.
    from: Vec<u8>,
    pub(super) flags: AtomicU32,
    /// Open files that may write.
    writers: AtomicU32,
    /// Set when it was taken away by force, or the kernel has ended: what is still open answers `EIO`.
    pub(super) gone: AtomicBool,
    /// Open files whose memory is lent.
    loans: Mutex<Vec<Weak<Loan>>>,
    /// Fifos whose bytes programs move themselves, or did.
    streams: Mutex<Vec<Weak<Pipe>>>,
}

impl Mount {
    /// Returns the flags, `MNT_*`.
    pub fn flags(&self) -> i32 {
        self.flags.load(Ordering::Relaxed) as i32
    }

    /// Path of the mount point, as it was when it was mounted.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What is mounted: a source as mount(2) got it, or the type's name.
    pub fn from(&self) -> &[u8] {
        &self.from
    }

    /// Checks that it was not taken away; `EIO` if it was.
    pub fn alive(&self) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Notes that programs are going to move the bytes of a fifo themselves, before they do.
    pub(super) fn shares(&self, pipe: &Arc<Pipe>) {
        let mut streams = lock(&self.streams);
        streams.retain(|other| other.strong_count() > 0 && other.as_ptr() != Arc::as_ptr(pipe));
        streams.push(Arc::downgrade(pipe));
    }

    /// Has everything that is in use answer `EIO`.
    pub(super) fn be_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
        let streams = std::mem::take(&mut *lock(&self.streams));
        streams.iter().filter_map(Weak::upgrade).for_each(|pipe| pipe.take_back());
        self.tell_loans();
    }

    /// Checks that the mount is not read-only; `EROFS` if it is.
    pub fn writable(&self) -> Result<()> {
        self.alive()?;
        if self.flags() & MNT_RDONLY == 0 { Ok(()) } else { Err(Errno::EROFS) }
    }

    /// Whether a file is open that may write.
    pub(super) fn is_written(&self) -> bool {
        self.writers.load(Ordering::SeqCst) > 0
    }

    /// Has an open file, whose memory is lent, told of changes.
    pub(super) fn watch(&self, loan: &Arc<Loan>) {
        let mut loans = lock(&self.loans);
        loans.retain(|other| other.strong_count() > 0);
        loans.push(Arc::downgrade(loan));
    }

    /// Tells the open files whose memory is lent that flags have changed, or that the mount is gone.
    pub(super) fn tell_loans(&self) {
        let loans: Vec<_> = lock(&self.loans).iter().filter_map(Weak::upgrade).collect();
        loans.iter().for_each(|loan| loan.follow());
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
        answer.f_bavail = stat.blocks_free.saturating_sub(stat.blocks_kept);
        answer.f_bresvd = stat.blocks_kept;
        answer.f_files = stat.files;
        answer.f_ffree = stat.files_free;
        answer.f_favail = stat.files_free;
        answer.f_fsid = self.id;
        answer.f_fsidx = [self.id as i32, 0];
        answer.f_namemax = self.fs.name_max() as u64;
        put(&mut answer.f_fstypename, self.fs.kind().as_bytes());
        put(&mut answer.f_mntonname, &self.path);
        put(&mut answer.f_mntfromname, &self.from);
        answer
    }
}

/// Keeps a mount from becoming read-only while a file of it is open for writing.
pub(super) struct Writing(Arc<Mount>);

impl Writing {
    /// Registers a writer; `EROFS` if the mount is read-only.
    pub fn begin(mount: &Arc<Mount>) -> Result<Self> {
        // Counted first: whoever makes the mount read-only sets the flag and then looks at the count.
        mount.writers.fetch_add(1, Ordering::SeqCst);
        let writing = Self(mount.clone());
        mount.writable().map(|()| writing)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::SeqCst);
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

pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Vfs {
    /// Mounts a file system as the root.
    pub(super) fn mount_root(&self, kind: &str) -> Result<()> {
        let (host, options) = (&self.rumpuser, Options::default());
        let fs = fs::mount(kind, &fs::Request { host, view: None, source: b"", flags: MNT_ROOTFS, options })?;
        write(&self.mounts).push(self.new_mount(fs, None, b"/".to_vec(), b"", MNT_ROOTFS));
        Ok(())
    }

    pub(super) fn new_mount(
        &self,
        fs: Arc<dyn FileSystem>,
        covered: Option<Dir>,
        path: Vec<u8>,
        source: &[u8],
        flags: i32,
    ) -> Arc<Mount> {
        let id = self.next_device.fetch_add(1, Ordering::Relaxed);
        let flags = AtomicU32::new((flags | fs.nature() | MNT_LOCAL) as u32);
        let from = if source.is_empty() { fs.kind().as_bytes() } else { source }.to_vec();
        let (writers, gone) = (AtomicU32::new(0), AtomicBool::new(false));
        Arc::new(Mount {
            root: fs.root(),
            fs,
            covered,
            id,
            path,
            from,
            flags,
            writers,
            gone,
            streams: Mutex::default(),
            loans: Mutex::default(),
        })
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

    /// Takes all mounts away, the last first, at the end of the kernel; `writes` their contents to where they last.
    pub fn shutdown(&self, writes: bool) {
        for mount in self.mounts().iter().rev() {
            let gone = mount.gone.swap(true, Ordering::SeqCst);
            mount.tell_loans();
            if !gone && writes {
                // Nobody is left to hear of an error.
                let _ = mount.fs.unmounted();
            }
        }
        if writes {
            self.etfs.sync();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::vfs::testing;

    #[test]
    fn statvfs_names_type_and_place() {
        let vfs = testing::boot();
        let names: Vec<_> = vfs.mounts().iter().map(|mount| mount.statvfs().f_mntonname[..5].to_vec()).collect();
        assert_eq!(names, [b"/\0\0\0\0", b"/dev\0"]);
    }
}
