//! Reading an open directory (getdents(2)).

use abi::stat::Dirent;
use abi::{Errno, Result};

use super::{Kind, View, VnodeFile};
use crate::Cx;
use crate::proc::lock;

/// Entries that every directory begins with.
const DOTS: u64 = 2;
/// Bytes of directory entries that one call gives at most.
pub const DIRENTS_MAX: u64 = 256 * 1024;

impl VnodeFile {
    /// Shows directory entries from the position on to `put`, which keeps one, or answers false when there is no room. `.` and
    /// `..` come first. `EINVAL` if not even one fits, `ENOENT` in a removed directory.
    fn entries(&self, view: &View<'_>, put: &mut dyn FnMut(&Dirent<'_>, u64) -> bool) -> Result<()> {
        let node = &self.at.node;
        if node.vnode().kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.at.mount.alive()?;
        let mut position = lock(&self.position);
        let start = *position;
        while *position < DOTS {
            let (name, ino) = match *position {
                0 => (&b"."[..], node.vnode().ino),
                _ => (&b".."[..], view.above(&self.at)?.node.vnode().ino),
            };
            if !put(&Dirent { fileno: ino, kind: Kind::Directory.dirent(), name }, *position + 1) {
                return if *position == start { Err(Errno::EINVAL) } else { Ok(()) };
            }
            *position += 1;
        }
        let mut full = false;
        node.read_dir(*position - DOTS, &mut |entry| {
            let record = Dirent { fileno: entry.ino, kind: entry.kind.dirent(), name: entry.name };
            let next = entry.next.saturating_add(DOTS);
            full = !put(&record, next);
            if !full {
                *position = next;
            }
            !full
        })?;
        self.accessed();
        if full && *position == start { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Reads entries of the directory as getdents(2) shows them, at most `max` bytes.
    pub fn getdents(&self, view: &View<'_>, max: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.entries(view, &mut |entry, _| entry.write(&mut out, max))?;
        Ok(out)
    }

    /// The same in Linux's layout, whose `d_off` is the position of the next entry.
    pub fn getdents_linux(&self, view: &View<'_>, max: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.entries(view, &mut |entry, next| entry.write_linux(&mut out, next as i64, max))?;
        Ok(out)
    }

    /// Serves [`JGETDENTS`](abi::ioctl::JGETDENTS): `data` holds address, length and a spare word; length becomes what
    /// was stored.
    pub(super) fn ioctl_getdents(&self, cx: &Cx<'_>, data: &mut [u8]) -> Result<()> {
        let word = |at: usize| data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let (addr, len) = (word(0).ok_or(Errno::EINVAL)?, word(8).ok_or(Errno::EINVAL)?);
        let records = self.getdents_linux(&View::of(cx)?, len.min(DIRENTS_MAX) as usize)?;
        cx.mem.store(addr, &records)?;
        data[8..16].copy_from_slice(&(records.len() as u64).to_le_bytes());
        Ok(())
    }
}
