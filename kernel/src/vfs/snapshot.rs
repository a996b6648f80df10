//! The whole tree of a file system as a tar archive, read from a descriptor while clients go on.
//!
//! What is of one moment: the tree with all its names and hard links, taken while nothing can be made, moved or removed; each symbolic
//! link and each node's attributes (of a moment during that time); the content of each file up to [`ATOMIC_BYTES`], though files
//! one after the other while the archive is read. A longer file that somebody writes meanwhile may be in pieces of different moments; its length
//! is that of its attributes. Sockets are left out; a comment in the archive says so.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use abi::Result;
use abi::poll::{POLLIN, POLLRDNORM};
use abi::stat::{S_IFREG, Stat, major, minor};
use abi::time::Timespec;
use tar::{EntryType, GnuExtSparseHeader, Header};

use super::node::{Attr, Kind, Node};
use super::{Mount, View};
use crate::file::{Events, File};
use crate::proc::lock;
use crate::wait::WaitQueue;

/// A block of an archive.
const BLOCK: usize = 512;
/// What an archive ends with.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The longest file whose content is taken at one moment.
const ATOMIC_BYTES: u64 = 16 << 20;
/// Bytes that are read of a longer one at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Holes are found in units of this.
const PAGE_BYTES: usize = 4096;
/// Longest name that a header itself holds.
const NAME_BYTES: usize = 100;

/// A node in the archive to be.
struct Item {
    path: Vec<u8>,
    node: Arc<dyn Node>,
    attr: Attr,
    what: What,
}

enum What {
    Node,
    /// One more name of what stands under another.
    Link(Vec<u8>),
    /// The target of a symbolic link.
    Symlink(Vec<u8>),
}

/// Ranges of a file, by begin and end.
type Pieces = VecDeque<(u64, u64)>;

/// An archive that is being read.
pub struct Snapshot {
    state: Mutex<State>,
    queue: WaitQueue,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// The file whose content comes next, and the pieces of it that are left.
    current: Option<(Arc<dyn Node>, Pieces)>,
    /// Bytes to be read, from `at` on.
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

impl View<'_> {
    /// Takes a snapshot of the root file system.
    ///
    /// `EPERM` unless the superuser asks.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        self.superuser()?;
        let mount = self.vfs.root().ok_or(abi::Errno::ENOSYS)?.mount;
        Ok(Arc::new(Snapshot { state: Mutex::new(State::of(&mount)?), queue: WaitQueue::new() }))
    }
}

impl State {
    fn of(mount: &Mount) -> Result<Self> {
        let (mut items, mut done) = (VecDeque::new(), Ok(()));
        mount.fs.hold_still(&mut || done = walk(&mount.root, &mut items));
        done.map(|()| Self { items, ..Self::default() })
    }

    /// Makes more bytes ready; without any the archive has ended.
    fn refill(&mut self) -> Result<()> {
        (self.at, self.ready) = (0, Vec::new());
        if let Some((node, pieces)) = &mut self.current {
            match pieces.pop_front() {
                Some((begin, end)) => {
                    let stop = end.min(begin + PIECE_BYTES);
                    if stop < end {
                        pieces.push_front((stop, end));
                    }
                    self.ready = content(&**node, begin, stop)?;
                    if stop == end && pieces.is_empty() {
                        self.current = None;
                    }
                }
                None => self.current = None,
            }
            if self.current.is_none() {
                self.ready.resize(self.ready.len().next_multiple_of(BLOCK), 0);
            }
        } else if let Some(item) = self.items.pop_front() {
            self.entry(item)?;
        } else if !self.ended {
            self.ended = true;
            self.ready = END.to_vec();
        }
        Ok(())
    }

    /// Makes an entry ready, or the begin of a long one.
    fn entry(&mut self, item: Item) -> Result<()> {
        let Item { path, node, attr, what } = item;
        let kind = match (&what, node.vnode().kind) {
            (What::Link(_), _) => EntryType::Link,
            (_, Kind::Symlink) => EntryType::Symlink,
            (_, Kind::Directory) => EntryType::Directory,
            (_, Kind::Fifo) => EntryType::Fifo,
            (_, Kind::Character) => EntryType::Char,
            (_, Kind::Block) => EntryType::Block,
            (_, Kind::Regular) => EntryType::Regular,
            (_, Kind::Socket) => {
                let text = [b"socket skipped: ", path.as_slice()].concat();
                self.extended(EntryType::XGlobalHeader, &[("comment", &text)]);
                return Ok(());
            }
        };
        let link = match &what {
            What::Link(target) | What::Symlink(target) => target.as_slice(),
            What::Node => b"",
        };
        let whole = if kind == EntryType::Regular && attr.size <= ATOMIC_BYTES {
            Some(content(&*node, 0, attr.size)?)
        } else {
            None
        };
        let pieces: Pieces = match &whole {
            Some(bytes) => written(bytes).into(),
            None if kind == EntryType::Regular => data(&*node, attr.size)?.into(),
            None => VecDeque::new(),
        };
        let stored: u64 = pieces.iter().map(|(begin, end)| end - begin).sum();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(attr.mode);
        header.set_uid(attr.uid.into());
        header.set_gid(attr.gid.into());
        header.set_mtime(attr.mtime.tv_sec.max(0) as u64);
        header.set_size(stored);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let gnu = header.as_gnu_mut();
            if let Some(gnu) = gnu {
                gnu.set_device_major(major(attr.rdev));
                gnu.set_device_minor(minor(attr.rdev));
            }
        }
        let mut records: Vec<(&str, &[u8])> = Vec::new();
        let old = header.as_old_mut();
        for (name, text, field) in [("path", path.as_slice(), &mut old.name), ("linkpath", link, &mut old.linkname)] {
            if text.len() > NAME_BYTES {
                records.push((name, text));
            }
            let len = text.len().min(NAME_BYTES);
            field[..len].copy_from_slice(&text[..len]);
        }
        let times = [("mtime", attr.mtime), ("atime", attr.atime), ("ctime", attr.ctime)];
        let times = times.map(|(name, time)| (name, seconds(time)));
        records.extend(times.iter().map(|(name, text)| (*name, text.as_bytes())));
        self.extended(EntryType::XHeader, &records);
        let more = if kind == EntryType::Regular && stored != attr.size {
            sparse(&mut header, &pieces, attr.size)
        } else {
            Vec::new()
        };
        header.set_cksum();
        self.ready.extend_from_slice(header.as_bytes());
        for block in &more {
            self.ready.extend_from_slice(block.as_bytes());
        }
        match whole {
            Some(bytes) => {
                for (begin, end) in pieces {
                    self.ready.extend_from_slice(&bytes[begin as usize..end as usize]);
                }
                self.ready.resize(self.ready.len().next_multiple_of(BLOCK), 0);
            }
            None => self.current = Some((node, pieces)),
        }
        Ok(())
    }

    /// Makes an extended header ready (pax(1)): what the next one, or a global one, has no room for.
    fn extended(&mut self, kind: EntryType, records: &[(&str, &[u8])]) {
        let mut body = Vec::new();
        for (name, value) in records {
            // The length counts itself.
            let rest = name.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            body.extend_from_slice(format!("{len} {name}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        let name = b"PaxHeaders/x";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        header.set_cksum();
        self.ready.extend_from_slice(header.as_bytes());
        self.ready.extend_from_slice(&body);
        self.ready.resize(self.ready.len().next_multiple_of(BLOCK), 0);
    }
}

/// Collects a tree, each directory before what is in it.
fn walk(root: &Arc<dyn Node>, items: &mut VecDeque<Item>) -> Result<()> {
    let mut first_names: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut below = vec![(b"./".to_vec(), root.clone())];
    while let Some((path, node)) = below.pop() {
        let (attr, kind) = (node.attr(), node.vnode().kind);
        let what = match first_names.get(&node.vnode().ino) {
            Some(first) => What::Link(first.clone()),
            None if kind == Kind::Symlink => What::Symlink(node.read_link()?),
            None => What::Node,
        };
        if kind == Kind::Directory {
            let mut names = Vec::new();
            node.read_dir(0, &mut |entry| {
                names.push(entry.name.to_vec());
                true
            })?;
            // The last is taken first.
            for name in names.iter().rev() {
                let found = node.lookup(name)?;
                let slash: &[u8] = if found.vnode().kind == Kind::Directory { b"/" } else { b"" };
                below.push(([path.as_slice(), name, slash].concat(), found));
            }
        } else if attr.nlink > 1 && matches!(what, What::Node | What::Symlink(_)) {
            first_names.insert(node.vnode().ino, path.clone());
        }
        items.push_back(Item { path, node, attr, what });
    }
    Ok(())
}

/// The bytes of a range of a file; zeros where it has become shorter.
fn content(node: &dyn Node, begin: u64, end: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (end - begin) as usize];
    let mut got = 0;
    while got < bytes.len() {
        match node.read_at(begin + got as u64, &mut bytes[got..])? {
            0 => break,
            more => got += more,
        }
    }
    bytes[got..].fill(0);
    Ok(bytes)
}

/// The ranges of whole pages of `bytes` that are not all zeros.
fn written(bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (at, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        if page.iter().all(|byte| *byte == 0) {
            continue;
        }
        let begin = (at * PAGE_BYTES) as u64;
        let end = begin + page.len() as u64;
        match ranges.last_mut() {
            Some(last) if last.1 == begin => last.1 = end,
            _ => ranges.push((begin, end)),
        }
    }
    ranges
}

/// The ranges of a file that hold data.
fn data(node: &dyn Node, size: u64) -> Result<Vec<(u64, u64)>> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < size {
        let begin = match node.seek_data(at) {
            Ok(begin) if begin < size => begin,
            Ok(_) | Err(abi::Errno::ENXIO) => break,
            Err(errno) => return Err(errno),
        };
        let end = node.seek_hole(begin).unwrap_or(size).clamp(begin + 1, size);
        ranges.push((begin, end));
        at = end;
    }
    Ok(ranges)
}

/// Makes the header that of a sparse file; returns the blocks that follow it.
fn sparse(header: &mut Header, pieces: &Pieces, size: u64) -> Vec<GnuExtSparseHeader> {
    header.set_entry_type(EntryType::GNUSparse);
    let Some(gnu) = header.as_gnu_mut() else { return Vec::new() };
    gnu.set_real_size(size);
    // The last piece has no length: it says where the file ends.
    let mut rest = pieces.iter().map(|(begin, end)| (*begin, end - begin)).chain([(size, 0)]);
    for (field, (offset, len)) in gnu.sparse.iter_mut().zip(&mut rest) {
        field.set_offset(offset);
        field.set_length(len);
    }
    let rest: Vec<(u64, u64)> = rest.collect();
    gnu.set_is_extended(!rest.is_empty());
    let mut more = Vec::new();
    let mut left = rest.as_slice();
    while !left.is_empty() {
        let mut block = GnuExtSparseHeader::new();
        let (now, later) = left.split_at(left.len().min(block.sparse.len()));
        for (field, (offset, len)) in block.sparse.iter_mut().zip(now) {
            field.set_offset(*offset);
            field.set_length(*len);
        }
        block.set_is_extended(!later.is_empty());
        more.push(block);
        left = later;
    }
    more
}

/// A time as an extended header has it.
fn seconds(time: Timespec) -> String {
    match (time.tv_sec, time.tv_nsec) {
        (seconds, 0) => seconds.to_string(),
        // The fraction counts away from zero.
        (-1, nanos) => format!("-0.{:09}", 1_000_000_000 - nanos),
        (before @ ..0, nanos) => format!("{}.{:09}", before + 1, 1_000_000_000 - nanos),
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

impl File for Snapshot {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        let mut state = lock(&self.state);
        while state.at == state.ready.len() {
            state.refill()?;
            if state.ready.is_empty() && state.ended {
                return Ok(0);
            }
        }
        let left = &state.ready[state.at..];
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        state.at += len;
        Ok(len)
    }

    fn ready(&self) -> Events {
        POLLIN | POLLRDNORM
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(Stat { st_mode: S_IFREG | 0o400, st_nlink: 1, st_blksize: PAGE_BYTES as i32, ..Stat::default() })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn inherited(&self) -> bool {
        false
    }
}
