//! What a file system may take: blocks for the content of files, nodes, and memory of the host for everything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use abi::time::Timespec;
use abi::{Errno, Result};

use super::{BLOCK_BYTES, TmpNode};
use crate::fs::options;
use crate::fs::pages::Account;
use crate::rumpuser::{Rumpuser, SharedMemory};

/// The limits of a file system, in blocks and nodes; 0 is none.
#[derive(Clone, Copy)]
pub struct Limits {
    pub blocks: u64,
    pub nodes: u64,
}

impl Limits {
    /// Those of a mount without options: half of the host's memory, and a node for each page of it.
    pub fn usual(host: &Arc<dyn Rumpuser>) -> Self {
        let half = host.physical_memory() / 2 / BLOCK_BYTES;
        Self { blocks: half, nodes: half }
    }

    /// Reads an option; `EINVAL` for one that is none of these.
    pub fn read(&mut self, name: &[u8], value: Option<&[u8]>, host: &Arc<dyn Rumpuser>) -> Result<()> {
        match name {
            b"size" => self.blocks = options::size(value, host.physical_memory())?.div_ceil(BLOCK_BYTES),
            b"nr_blocks" => self.blocks = options::size(value, 0)?,
            b"nr_inodes" => self.nodes = options::size(value, 0)?,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

/// A limit and what is used of it.
pub struct Budget {
    used: AtomicU64,
    /// 0 is none.
    limit: AtomicU64,
}

impl Budget {
    pub fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    /// `ENOSPC` at the limit.
    fn take(&self, amount: u64) -> Result<()> {
        let limit = self.limit();
        let more = |used: u64| used.checked_add(amount).filter(|used| *used <= limit || limit == 0);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Errno::ENOSPC)
    }

    fn give(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }

    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// `EINVAL` if more is used already.
    pub fn set_limit(&self, limit: u64) -> Result<()> {
        if limit != 0 && limit < self.used.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL);
        }
        self.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }

    /// What may still be taken.
    pub fn free(&self) -> u64 {
        if self.limit() == 0 { u64::MAX } else { self.left() }
    }

    pub fn left(&self) -> u64 {
        self.limit().saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

/// What all nodes of a file system share.
pub struct Shared {
    pub host: Arc<dyn Rumpuser>,
    /// Held while the tree changes.
    pub tree: Mutex<()>,
    pub next_ino: AtomicU64,
    pub blocks: Budget,
    pub nodes: Budget,
    /// Nodes whose memory is lent.
    pub loans: Mutex<Vec<Weak<TmpNode>>>,
}

/// The content of files, in whole blocks.
impl Account for Shared {
    fn take(&self, bytes: usize) -> Result<()> {
        let blocks = bytes as u64 / BLOCK_BYTES;
        self.blocks.take(blocks)?;
        self.take_memory(bytes).inspect_err(|_| self.blocks.give(blocks))
    }

    fn give(&self, bytes: usize) {
        self.blocks.give(bytes as u64 / BLOCK_BYTES);
        self.give_memory(bytes);
    }

    fn large(&self) -> Option<Box<dyn SharedMemory>> {
        self.host.large_memory()
    }
}

impl Shared {
    /// Takes memory that does not count as content; `ENOSPC` if the host has no more.
    pub fn take_memory(&self, bytes: usize) -> Result<()> {
        self.host.reserve(bytes).map_err(|_| Errno::ENOSPC)
    }

    pub fn give_memory(&self, bytes: usize) {
        self.host.release(bytes);
    }

    /// Takes a node, or a further link to one, which counts as one as on Linux.
    pub fn take_node(&self, bytes: usize) -> Result<()> {
        self.nodes.take(1)?;
        self.take_memory(bytes).inspect_err(|_| self.nodes.give(1))
    }

    pub fn give_node(&self, bytes: usize) {
        self.nodes.give(1);
        self.give_memory(bytes);
    }

    pub fn now(&self) -> Timespec {
        Timespec::from_duration(self.host.wall_clock())
    }
}
