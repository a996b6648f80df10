//! hostfs: a folder of the host, which cannot be left.
//!
//! A node holds an object of the host by a descriptor, and finds others from there by one name at a time: `..` and the targets
//! of symbolic links are the VFS's work, so they mean names of the rump kernel. Nothing is remembered of what the host can change: each
//! lookup asks the host, each look at the attributes too. Devices of the host are shown and not opened (the mount has `nodev`), fifos
//! and sockets are meeting points within the rump kernel.
//!
//! The server does everything as the user that it runs as: what the host refuses to that user fails, and new files are that user's
//! where it may not give them away.
//!
//! A directory that the host moves out of the folder while it is in use can be used on, as on Linux; but its `..` leads nowhere.

mod node;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use abi::mount::{MNT_NOATIME, MNT_NODEV, MNT_RDONLY};
use abi::stat::Stat;
use abi::{Errno, Result};

use super::Request;
use super::options::Options;
use crate::proc::lock;
use crate::rumpuser::Found;
use crate::vfs::{FileSystem, FsStat, Kind, Node};
use node::FolderNode;

/// Levels between a directory and the root of the folder that `..` is looked for through.
const LEVELS_MAX: usize = 4096;
/// Bits of the host's inode number that stay as they are; those above number the host's file systems.
const INO_BITS: u32 = 48;

/// A mounted folder.
struct Hostfs {
    shared: Arc<Shared>,
    root: Arc<FolderNode>,
}

/// What all nodes of a folder share.
struct Shared {
    /// The nodes in use by the host's numbers of device and object, which nothing else has while a node holds it.
    nodes: Mutex<HashMap<(u64, u64), Weak<FolderNode>>>,
    /// The names of sockets that somebody may be bound to: nobody else holds these nodes.
    sockets: Mutex<Vec<Arc<FolderNode>>>,
    /// The devices of the host that objects were seen on, the root's first.
    devices: Mutex<Vec<u64>>,
    /// Device and number of the root.
    root: (u64, u64),
    /// The mount's, `MNT_*`.
    flags: AtomicI32,
}

/// Shows the folder that the source names, which is an absolute path of the host. It knows no options.
///
/// `EPERM` for a client that is on another host; `EINVAL` for a relative path; the host's error in opening it.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    if request.view.is_some_and(|view| !view.on_host) {
        return Err(Errno::EPERM);
    }
    let path = Path::new(OsStr::from_bytes(request.source));
    if path.is_relative() {
        return Err(Errno::EINVAL);
    }
    let folder = request.host.open_folder(path)?;
    let found = folder.status()?;
    let root = (found.st_dev, found.st_ino);
    let shared = Arc::new(Shared {
        nodes: Mutex::default(),
        sockets: Mutex::default(),
        devices: Mutex::new(vec![found.st_dev]),
        root,
        flags: AtomicI32::new(request.flags),
    });
    let root = shared.node((folder, found))?;
    Ok(Arc::new(Hostfs { shared, root }))
}

impl FileSystem for Hostfs {
    fn kind(&self) -> &'static str {
        "hostfs"
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }

    fn stat(&self) -> FsStat {
        let sizes = self.root.host.sizes().unwrap_or_default();
        let ([blocks, free, for_all], [files, files_free]) = (sizes.blocks, sizes.files);
        let blocks_kept = free.saturating_sub(for_all);
        FsStat { block_size: sizes.block_size, blocks, blocks_free: free, blocks_kept, files, files_free }
    }

    fn sync(&self) -> Result<()> {
        self.root.host.sync(true)
    }

    fn nature(&self) -> i32 {
        MNT_NODEV
    }

    fn update(&self, flags: i32, options: &Options<'_>) -> Result<()> {
        options.none()?;
        self.shared.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }
}

impl Shared {
    /// Returns the node of an object of the host: the same `Arc` as long as anybody has it.
    fn node(self: &Arc<Self>, (host, found): Found) -> Result<Arc<FolderNode>> {
        let id = id(&found);
        let kind = Kind::from_mode(found.st_mode).ok_or(Errno::EIO)?;
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get(&id).and_then(Weak::upgrade) {
            // Never within the lock: a node that goes takes it.
            drop(nodes);
            return Ok(node);
        }
        let node = FolderNode::new(self, host, kind, id);
        nodes.insert(id, Arc::downgrade(&node));
        Ok(node)
    }

    /// The number of an object within the file system, which does not change while it is mounted: the host's on the device of the
    /// root; the host may have mounted others below, whose numbers are made different by their device.
    fn ino(&self, (device, ino): (u64, u64)) -> u64 {
        let mut devices = lock(&self.devices);
        let at = devices.iter().position(|known| *known == device).unwrap_or_else(|| {
            devices.push(device);
            devices.len() - 1
        });
        ino ^ (at as u64) << INO_BITS
    }

    fn has(&self, flag: i32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Whether programs may map the host's own files: not if they must not change, since a descriptor could be opened once more.
    fn may_share(&self) -> bool {
        !self.has(MNT_RDONLY)
    }

    /// Whether reading shall leave no trace.
    fn reads_quietly(&self) -> bool {
        self.has(MNT_NOATIME)
    }

    /// Keeps the node of a new socket until its name goes; those that the host removed meanwhile are let go.
    fn keep_socket(&self, node: &Arc<FolderNode>) {
        let mut sockets = lock(&self.sockets);
        let gone = |node: &Arc<FolderNode>| node.host.status().is_ok_and(|found| found.st_nlink == 0);
        let dropped: Vec<_> = sockets.extract_if(.., |node| gone(node)).collect();
        sockets.push(node.clone());
        drop(sockets);
        drop(dropped);
    }

    /// Lets the node of a socket go whose last name is gone.
    fn drop_socket(&self, node: &FolderNode) {
        let mut sockets = lock(&self.sockets);
        let at = sockets.iter().position(|kept| std::ptr::eq(&**kept, node));
        let dropped = at.map(|at| sockets.swap_remove(at));
        drop(sockets);
        drop(dropped);
    }
}

/// The host's numbers of an object.
fn id(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

#[cfg(test)]
mod tests;
