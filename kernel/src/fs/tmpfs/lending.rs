//! Files whose memory is lent to clients, which read and write it by themselves ([`sysproxy::pages`]): what they have done comes in here
//! when somebody looks, and they hear of what others do.

use std::sync::{Arc, Weak};

use abi::time::Timespec;
use abi::{Errno, Result};
use sysproxy::host::shared::Times;
use sysproxy::host::{HostFd, Owned};
use sysproxy::pages::{Header, later, shows_access};

use super::content::Writing;
use super::space::Shared;
use super::{BLOCK_BYTES, Body, Inner, TmpNode, read, write};
use crate::proc::lock;
use crate::rumpuser::Access;
use crate::vfs::Position;

/// The bits of a mode that a write may have to take away, which is the kernel's to do.
const SETID: u32 = 0o6000;

impl Inner {
    /// Tells the clients that have the memory that something has changed, and up to where they may write by themselves.
    pub(super) fn tell(&self) {
        if self.loans.is_empty() {
            return;
        }
        let limit = if let Body::File(content) = &self.body { content.limit() } else { 0 };
        for (header, writes) in &self.loans {
            if let Some(header) = header.upgrade() {
                header.changed(if *writes && self.mode & SETID == 0 { limit } else { 0 });
            }
        }
    }

    /// Notes that the content was changed here, so that it is not taken for a client's doing.
    pub(super) fn written(&mut self) {
        if let Body::File(content) = &self.body
            && let Some(status) = content.status()
        {
            self.seen.modified = status.times.modified;
        }
    }

    /// Has the host say the times that there are here: it then says others as soon as a client reads or writes.
    pub(super) fn tell_times(&mut self, accessed: Timespec) {
        let times = Times { accessed, modified: self.mtime };
        if let Body::File(content) = &self.body
            && let Some(seen) = content.set_times(times)
        {
            self.seen = seen;
        }
    }
}

impl Shared {
    /// The nodes whose memory is lent.
    fn lent(&self) -> Vec<Arc<TmpNode>> {
        lock(&self.loans).iter().filter_map(Weak::upgrade).collect()
    }

    /// How many bytes of content are taken in advance, and not there.
    pub fn advanced(&self) -> u64 {
        let advanced = |node: &Arc<TmpNode>| match &read(&node.inner).body {
            Body::File(content) => content.advanced(),
            _ => 0,
        };
        self.lent().iter().map(advanced).sum()
    }

    /// Takes back what was given in advance, since there is no more; whether that was anything. No node is locked.
    pub fn take_back_advances(&self) -> bool {
        let take_back = |node: &Arc<TmpNode>| match &mut write(&node.inner).body {
            Body::File(content) => content.take_back_advance(self),
            _ => 0,
        };
        self.lent().iter().map(take_back).sum::<u64>() > 0
    }
}

impl TmpNode {
    /// Notes what clients have done by themselves.
    pub(super) fn note(&self) {
        let news = |inner: &Inner| match &inner.body {
            Body::File(content) => content.status().map(|status| status.times).filter(|times| *times != inner.seen),
            _ => None,
        };
        if news(&read(&self.inner)).is_none() {
            return;
        }
        let mut inner = write(&self.inner);
        let Some(times) = news(&inner) else { return };
        if times.modified != inner.seen.modified {
            inner.mtime = times.modified;
            inner.ctime = later(inner.ctime, times.modified);
        }
        let mut atime = lock(&self.atime);
        if times.accessed != inner.seen.accessed && shows_access(*atime, inner.mtime, inner.ctime, times.accessed) {
            *atime = times.accessed;
        }
        inner.seen = times;
    }

    /// See [`crate::vfs::Node::lend`].
    pub(super) fn lend_to(&self, access: Access, header: &Arc<Header>) -> Result<Owned> {
        let mut changing = write(&self.inner);
        let inner = &mut *changing;
        let Body::File(content) = &mut inner.body else { return Err(Errno::ENODEV) };
        let memory = content.lend(access, &*self.shared)?;
        let writes = access != Access::Read;
        if writes {
            content.advance(self.shared.blocks.free().saturating_mul(BLOCK_BYTES), &*self.shared);
        }
        if inner.loans.is_empty() {
            inner.tell_times(*lock(&self.atime));
        }
        inner.loans.push((Arc::downgrade(header), writes));
        drop(changing);
        let mut loans = lock(&self.shared.loans);
        loans.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &self.this));
        loans.push(self.this.clone());
        Ok(memory)
    }

    /// See [`crate::vfs::Node::returned`].
    pub(super) fn take_loan_back(&self) {
        self.note();
        let mut changing = write(&self.inner);
        let inner = &mut *changing;
        inner.loans.retain(|(header, _)| header.strong_count() > 0);
        if let Body::File(content) = &mut inner.body
            && inner.loans.is_empty()
        {
            content.return_loan(&*self.shared);
        }
        let lent = !inner.loans.is_empty();
        drop(changing);
        if !lent {
            lock(&self.shared.loans).retain(|other| !Weak::ptr_eq(other, &self.this));
        }
    }

    /// Writes, through a client's open file of the host if there is one.
    pub(super) fn store(&self, position: Position, data: &[u8], by: Option<HostFd>) -> Result<(u64, usize)> {
        let (end, len) = match self.store_once(position, data, by) {
            Err(Errno::ENOSPC) if self.shared.take_back_advances() => self.store_once(position, data, by)?,
            done => done?,
        };
        if len < data.len() && self.shared.take_back_advances() {
            let position = if position == Position::End { position } else { Position::At(end) };
            return Ok(match self.store_once(position, &data[len..], by) {
                Ok((end, more)) => (end, len + more),
                Err(_) => (end, len),
            });
        }
        Ok((end, len))
    }

    fn store_once(&self, position: Position, data: &[u8], by: Option<HostFd>) -> Result<(u64, usize)> {
        let now = self.shared.now();
        let mut changing = write(&self.inner);
        let inner = &mut *changing;
        let Body::File(content) = &mut inner.body else { return Err(Errno::EINVAL) };
        let offset = match position {
            Position::At(offset) => offset,
            Position::End => content.size(),
        };
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::EFBIG);
        }
        let done = content.write(Writing { offset, data, appends: position == Position::End, by }, &*self.shared)?;
        if inner.loans.iter().any(|(_, writes)| *writes) {
            content.advance(self.shared.blocks.free().saturating_mul(BLOCK_BYTES), &*self.shared);
        }
        inner.modified(now);
        inner.written();
        Ok(done)
    }
}
