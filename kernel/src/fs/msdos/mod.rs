//! FAT: volumes of MS-DOS and of everything that came after it, read and written, with long names.
//!
//! Every change is on the volume when the call returns, in an order that leaves at most clusters that belong to nothing, a chain that is
//! longer than its file, or a name too many when the server is killed: fsck.fat(8) mends all three. No crate is used: none has
//! numbers that files keep, files that live on without a name, and renames of what is open.
//!
//! What FAT cannot say is answered as by Linux's vfat: owner and group are the mount's, of the permissions only "nobody may write" is
//! kept, there are no links, no special files. Names compare without regard to case.
//!
//! Locks, in this order: [`Shared::tree`], held while names are looked up and changed; a node's, of a directory before that
//! of what is in it; [`Shared::table`].

mod data;
mod directory;
mod entry;
mod layout;
mod name;
mod node;
mod table;
mod time;
mod tree;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use abi::mount::MNT_RDONLY;
use abi::time::Timespec;
use abi::{Errno, Result};

use super::Request;
use super::options::{self, Options};
use super::volume::{Field, Volume};
use crate::proc::lock;
use crate::vfs::{FileSystem, FsStat, Node};
use layout::Layout;
use node::FatNode;
use table::Table;

/// The longest file: its length has 32 bits.
const SIZE_MAX: u64 = u32::MAX as u64;
/// Directories whose content stays in memory when nobody uses them.
const RECENT: usize = 64;
/// Numbers of files that were made, or moved, since the volume was mounted.
const FIRST_NUMBER: u64 = 1 << 40;
/// The root directory's number.
const ROOT_NUMBER: u64 = 1;

/// A mounted volume.
struct Msdos {
    shared: Arc<Shared>,
    root: Arc<FatNode>,
}

/// What all nodes of a volume share.
struct Shared {
    volume: Volume,
    layout: Layout,
    options: Settings,
    table: Mutex<Table>,
    tree: Mutex<Tree>,
    /// Whether nothing may be written, not even a time of access.
    read_only: AtomicBool,
    /// Whether the volume was left in good order before it was mounted, so that we may say so again.
    was_clean: bool,
}

/// The options of the mount.
struct Settings {
    uid: u32,
    gid: u32,
    /// Permissions that files do not have, and directories.
    fmask: u32,
    dmask: u32,
    /// Seconds that local time is ahead of UTC.
    offset: i64,
}

/// The nodes in use.
#[derive(Default)]
struct Tree {
    nodes: HashMap<u64, Weak<FatNode>>,
    /// When the table of nodes has grown to this, those that are gone are taken out.
    sweep_at: usize,
    /// Numbers of files by where their entries are, for those that have not the number of the place.
    numbers: HashMap<u64, u64>,
    next_number: u64,
    /// Directories that were used last.
    recent: VecDeque<Arc<FatNode>>,
}

impl Tree {
    /// The number of the file whose entry is at `position`.
    fn number(&self, position: u64) -> u64 {
        self.numbers.get(&position).copied().unwrap_or(position / layout::SLOT_BYTES)
    }

    /// A number that no file had since the volume was mounted.
    fn new_number(&mut self) -> u64 {
        self.next_number += 1;
        FIRST_NUMBER + self.next_number
    }

    fn enter(&mut self, node: &Arc<FatNode>, number: u64) {
        if self.nodes.len() >= self.sweep_at.max(256) {
            self.nodes.retain(|_, node| node.strong_count() > 0);
            self.sweep_at = self.nodes.len() * 2;
        }
        self.nodes.insert(number, Arc::downgrade(node));
    }

    /// Keeps a directory in memory for a while.
    fn used(&mut self, node: &Arc<FatNode>) {
        if self.recent.back().is_some_and(|last| Arc::ptr_eq(last, node)) {
            return;
        }
        if let Some(at) = self.recent.iter().position(|other| Arc::ptr_eq(other, node)) {
            self.recent.remove(at);
        }
        self.recent.push_back(node.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

/// Reads the options: `uid`, `gid`, `umask`, `fmask`, `dmask` and `time_offset` of mount(8).
fn settings(options: &Options<'_>) -> Result<Settings> {
    let mut settings = Settings { uid: 0, gid: 0, fmask: 0o022, dmask: 0o022, offset: 0 };
    for (name, value) in options.iter() {
        match name {
            b"uid" => settings.uid = options::id(value)?,
            b"gid" => settings.gid = options::id(value)?,
            b"umask" => {
                settings.fmask = options::mode(value)? & 0o777;
                settings.dmask = settings.fmask;
            }
            b"fmask" => settings.fmask = options::mode(value)? & 0o777,
            b"dmask" => settings.dmask = options::mode(value)? & 0o777,
            b"time_offset" => settings.offset = minutes(value)? * 60,
            b"tz" if value == Some(b"UTC") => settings.offset = 0,
            // All names are long and in UTF-8 here.
            b"utf8" if matches!(value, None | Some(b"1")) => {}
            b"iocharset" if value == Some(b"utf8") => {}
            b"codepage" if value == Some(b"437") => {}
            b"shortname" if value == Some(b"mixed") => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(settings)
}

/// Minutes, at most a day of them, as mount(8) has it.
fn minutes(value: Option<&[u8]>) -> Result<i64> {
    let text = value.and_then(|text| str::from_utf8(text).ok());
    let minutes = text.and_then(|text| text.parse().ok());
    minutes.filter(|minutes: &i64| minutes.abs() <= 24 * 60).ok_or(Errno::EINVAL)
}

/// Mounts the volume in a disk or file; `EINVAL` if there is none in it.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let options = settings(&request.options)?;
    let volume = Volume::open(request)?;
    let layout = Layout::read(&volume)?;
    let read_only = request.flags & MNT_RDONLY != 0;
    if !read_only && !volume.writable() {
        return Err(Errno::EROFS);
    }
    let was_clean = volume.bytes::<1>(layout.state)?[0] & 1 == 0;
    if !was_clean {
        request.say("msdos: the volume was not unmounted: some data may be lost, fsck.fat mends it");
    }
    let (table, tree) = (Mutex::default(), Mutex::default());
    let read_only = AtomicBool::new(read_only);
    let shared = Arc::new(Shared { volume, layout, options, table, tree, read_only, was_clean });
    let root = FatNode::root(&shared)?;
    shared.mark(!shared.read_only.load(Ordering::Relaxed))?;
    Ok(Arc::new(Msdos { shared, root }))
}

impl Shared {
    fn now(&self) -> Timespec {
        Timespec::from_duration(self.volume.host().wall_clock())
    }

    /// Marks the volume as in use, or no longer; it stays marked if it was so before.
    fn mark(&self, in_use: bool) -> Result<()> {
        if !self.volume.writable() || !self.was_clean {
            return Ok(());
        }
        let byte = self.volume.bytes::<1>(self.layout.state)?[0];
        let marked = byte & !1 | u8::from(in_use);
        if marked == byte { Ok(()) } else { self.volume.write(self.layout.state, &[marked]) }
    }

    /// Writes how many clusters are free where FAT32 keeps that.
    fn summarize(&self) -> Result<()> {
        let Some(at) = self.layout.summary else { return Ok(()) };
        let mut table = lock(&self.table);
        if table.memory() == 0 {
            // Nobody asked: nothing was taken either.
            return Ok(());
        }
        let bytes: [u8; 512] = self.volume.bytes(at)?;
        let sound = bytes.le32(0) == 0x4161_5252 && bytes.le32(484) == 0x6141_7272;
        let (free, hint) = (table.free(&self.volume, &self.layout)?, table.hint());
        if !sound || (bytes.le32(488), bytes.le32(492)) == (free, hint) {
            return Ok(());
        }
        self.volume.write(at + 488, &[free.to_le_bytes(), hint.to_le_bytes()].concat())
    }

    fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    fn sync(&self) -> Result<()> {
        if !self.is_read_only() {
            self.summarize()?;
        }
        self.volume.sync()
    }

    /// Leaves the volume in good order.
    fn leave(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        self.summarize()?;
        self.mark(false)?;
        self.volume.sync()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let bytes = lock(&self.table).memory();
        self.volume.host().release(bytes);
    }
}

impl FileSystem for Msdos {
    fn kind(&self) -> &'static str {
        "msdos"
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }

    /// Free are the clusters that belong to nothing; FAT does not count files.
    fn stat(&self) -> FsStat {
        let (volume, layout) = (&self.shared.volume, &self.shared.layout);
        let blocks_free = u64::from(lock(&self.shared.table).free(volume, layout).unwrap_or(0));
        let blocks = u64::from(layout.clusters());
        FsStat { block_size: layout.cluster_bytes, blocks, blocks_free, ..FsStat::default() }
    }

    fn sync(&self) -> Result<()> {
        self.shared.sync()
    }

    /// `EROFS` if the disk can only be read, `EINVAL` for a change of the options.
    fn update(&self, flags: i32, options: &Options<'_>) -> Result<()> {
        options.none()?;
        let read_only = flags & MNT_RDONLY != 0;
        if !read_only && !self.shared.volume.writable() {
            return Err(Errno::EROFS);
        }
        if read_only {
            self.shared.leave()?;
        } else {
            self.shared.mark(true)?;
        }
        self.shared.read_only.store(read_only, Ordering::Relaxed);
        Ok(())
    }

    /// What was removed but is still open goes with it.
    fn unmounted(&self) -> Result<()> {
        let tree = std::mem::take(&mut *lock(&self.shared.tree));
        let nodes: Vec<_> = tree.nodes.values().filter_map(Weak::upgrade).collect();
        let given_back = nodes.iter().try_for_each(|node| node.give_back());
        drop((tree, nodes));
        let left = self.shared.leave();
        self.shared.read_only.store(true, Ordering::Relaxed);
        given_back.and(left)
    }

    fn name_max(&self) -> usize {
        name::NAME_MAX
    }

    fn size_max(&self) -> u64 {
        SIZE_MAX
    }
}

impl Drop for Msdos {
    fn drop(&mut self) {
        // The directories that are kept would keep what they share, which keeps them.
        let recent = std::mem::take(&mut lock(&self.shared.tree).recent);
        drop(recent);
        // After a lazy unmount nobody else does; nobody hears of an error either.
        let _ = self.shared.leave();
    }
}
