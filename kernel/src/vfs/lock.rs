//! Advisory locks: record locks of processes and of open files (fcntl(2)), and whole-file locks of open files (flock(2)).
//!
//! Record locks and whole-file locks do not see each other, as on Linux.

use std::sync::Arc;

use abi::fcntl::{
    F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLKW, F_UNLCK, F_WRLCK, Flock, LOCK_EX, LOCK_NB,
    LOCK_SH, LOCK_UN, SEEK_CUR, SEEK_END, SEEK_SET,
};
use abi::{Errno, Result};

use super::{Kind, Node, Vnode, VnodeFile};
use crate::file::OpenFile;
use crate::proc::{Lwp, lock};
use crate::{Cx, wait};

/// Record locks on one file at most.
const RECORDS_MAX: usize = 4096;

/// The locks on one node.
#[derive(Default)]
pub struct Locks {
    /// Record locks; those of one owner neither overlap nor, if of one kind, touch.
    records: Vec<Record>,
    /// Whole-file locks: the open file and whether it is exclusive.
    whole: Vec<(u64, bool)>,
}

/// Who holds a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// A process, until it closes any descriptor of the file.
    Process(i32),
    /// An open file (`F_OFD_SETLK`), until its last descriptor is closed.
    File(u64),
}

impl Owner {
    /// The process, for `l_pid` and for finding deadlocks; an open file is none.
    fn pid(self) -> Option<i32> {
        if let Owner::Process(pid) = self { Some(pid) } else { None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    owner: Owner,
    exclusive: bool,
    start: u64,
    /// The byte after the last; `u64::MAX` is the end of the file, wherever that will be.
    end: u64,
}

impl Record {
    fn overlaps(&self, other: &Record) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn conflicts(&self, other: &Record) -> bool {
        self.owner != other.owner && (self.exclusive || other.exclusive) && self.overlaps(other)
    }
}

impl Locks {
    fn blockers(&self, wanted: &Record) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|held| held.conflicts(wanted))
    }

    /// Takes the range of `wanted` out of the locks of its owner; whether anything changed.
    fn clear(&mut self, wanted: &Record) -> bool {
        let mut kept = Vec::with_capacity(self.records.len() + 1);
        let mut changed = false;
        for held in self.records.drain(..) {
            if held.owner != wanted.owner || !held.overlaps(wanted) {
                kept.push(held);
                continue;
            }
            changed = true;
            let before = Record { end: wanted.start, ..held };
            let after = Record { start: wanted.end, ..held };
            kept.extend([before, after].into_iter().filter(|part| part.start < part.end));
        }
        self.records = kept;
        changed
    }

    fn set(&mut self, mut wanted: Record) {
        self.clear(&wanted);
        self.records.retain(|held| {
            let joins = held.owner == wanted.owner
                && held.exclusive == wanted.exclusive
                && (held.end == wanted.start || held.start == wanted.end);
            if joins {
                wanted.start = wanted.start.min(held.start);
                wanted.end = wanted.end.max(held.end);
            }
            !joins
        });
        self.records.push(wanted);
    }
}

/// A process that sleeps for a record lock.
pub struct Waiter {
    lwp: Arc<Lwp>,
    pid: i32,
    /// The file, and what it wants there.
    node: Arc<dyn Node>,
    wanted: Record,
}

impl Waiter {
    /// The processes that hold what it waits for: none, once it has got it.
    fn blockers(&self) -> Vec<i32> {
        let locks = lock(&self.node.vnode().locks);
        locks.blockers(&self.wanted).filter_map(|held| held.owner.pid()).collect()
    }
}

/// Takes an entry out of the list of who waits, whatever ends the wait.
struct Waiting<'a> {
    cx: &'a Cx<'a>,
}

impl Waiting<'_> {
    fn withdraw(&self) {
        lock(&self.cx.kernel.vfs.waiting).retain(|waiter| !Arc::ptr_eq(&waiter.lwp, self.cx.lwp));
    }

    /// Notes what the caller waits for; `EDEADLK` if somebody who holds it waits, by whatever way, for the caller.
    ///
    /// Who holds what is looked up now, with the list locked: whoever stands on the list has not returned from his call, so
    /// that what he holds he keeps, and who has just been given his lock waits for nobody, though he is still on the list.
    fn announce(&self, node: &Arc<dyn Node>, wanted: Record) -> Result<()> {
        let pid = self.cx.proc.pid;
        let mut waiting = lock(&self.cx.kernel.vfs.waiting);
        waiting.retain(|waiter| !Arc::ptr_eq(&waiter.lwp, self.cx.lwp));
        let caller = Waiter { lwp: self.cx.lwp.clone(), pid, node: node.clone(), wanted };
        let mut reached = caller.blockers();
        let mut next = 0;
        while let Some(&other) = reached.get(next) {
            next += 1;
            if other == pid {
                return Err(Errno::EDEADLK);
            }
            for blocker in waiting.iter().filter(|waiter| waiter.pid == other).flat_map(Waiter::blockers) {
                if !reached.contains(&blocker) {
                    reached.push(blocker);
                }
            }
        }
        waiting.push(caller);
        Ok(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Serves `F_GETLK`, `F_SETLK`, `F_SETLKW` of fcntl(2) and their `F_OFD_` twins.
///
/// `EAGAIN` if another owner is in the way, `EDEADLK` if processes would wait for each other for ever (of open files that is not
/// noticed, as on Linux), `EBADF` if the access mode does not fit the lock, `EINVAL`, `ENOLCK`, `EINTR`.
pub fn record_lock(cx: &Cx<'_>, open: &Arc<OpenFile>, cmd: i32, flock: &mut Flock) -> Result<()> {
    let file = open.file.as_vnode().ok_or(Errno::EINVAL)?;
    let vnode = file.at.node.vnode();
    let ofd = matches!(cmd, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW);
    if ofd && flock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if ofd { Owner::File(file.id) } else { Owner::Process(cx.proc.pid) };
    let wanted = record(owner, file, flock)?;
    let waits = matches!(cmd, F_SETLKW | F_OFD_SETLKW);
    if matches!(cmd, F_GETLK | F_OFD_GETLK) {
        if i32::from(flock.l_type) == F_UNLCK {
            return Err(Errno::EINVAL);
        }
        let held = lock(&vnode.locks).blockers(&wanted).next().copied();
        match held {
            Some(held) => describe(cx, &held, flock),
            None => flock.l_type = F_UNLCK as i16,
        }
        return Ok(());
    }
    match i32::from(flock.l_type) {
        F_UNLCK => {
            if lock(&vnode.locks).clear(&wanted) {
                vnode.unlocked.wake();
            }
            return Ok(());
        }
        F_RDLCK if !open.readable() => return Err(Errno::EBADF),
        F_WRLCK if !open.writable() => return Err(Errno::EBADF),
        _ => {}
    }
    let waiting = Waiting { cx };
    let try_once = || {
        let mut locks = lock(&vnode.locks);
        if locks.blockers(&wanted).next().is_none() {
            if locks.records.len() >= RECORDS_MAX {
                return Err(Errno::ENOLCK);
            }
            locks.set(wanted);
            return Ok(());
        }
        drop(locks);
        if cmd == F_SETLKW {
            waiting.announce(&file.at.node, wanted)?;
        }
        Err(Errno::EAGAIN)
    };
    if !waits {
        return changed(vnode, { try_once }());
    }
    changed(vnode, wait::until(cx, &[&vnode.unlocked], None, try_once))
}

/// Setting a lock may have turned an exclusive one into a shared one, for which others wait.
fn changed(vnode: &Vnode, result: Result<()>) -> Result<()> {
    result.inspect(|()| vnode.unlocked.wake())
}

fn record(owner: Owner, file: &VnodeFile, flock: &Flock) -> Result<Record> {
    if !matches!(i32::from(flock.l_type), F_RDLCK | F_WRLCK | F_UNLCK) {
        return Err(Errno::EINVAL);
    }
    let base = match i32::from(flock.l_whence) {
        SEEK_SET => 0,
        SEEK_CUR => file.position() as i64,
        SEEK_END => file.at.node.attr().size as i64,
        _ => return Err(Errno::EINVAL),
    };
    let at = base.checked_add(flock.l_start).ok_or(Errno::EOVERFLOW)?;
    // The first byte and the last; the largest offset is the end of the file, wherever that will be.
    let (start, last) = match flock.l_len {
        0 => (at, i64::MAX),
        len if len > 0 => (at, at.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (at.checked_add(len).ok_or(Errno::EINVAL)?, at - 1),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    let end = if last == i64::MAX { u64::MAX } else { (last + 1) as u64 };
    Ok(Record { owner, exclusive: i32::from(flock.l_type) == F_WRLCK, start, end })
}

fn describe(cx: &Cx<'_>, held: &Record, flock: &mut Flock) {
    flock.l_type = if held.exclusive { F_WRLCK } else { F_RDLCK } as i16;
    flock.l_whence = SEEK_SET as i16;
    flock.l_start = held.start as i64;
    flock.l_len = if held.end == u64::MAX { 0 } else { (held.end - held.start) as i64 };
    // Programs know each other by the host's ids; NetBSD's clients by the rump kernel's.
    let known_as = |pid| match cx.mem.extended() {
        true => cx.kernel.procs.get(pid).map_or(pid, |proc| proc.known_as()),
        false => pid,
    };
    flock.l_pid = held.owner.pid().map_or(-1, known_as);
}

/// Serves flock(2): `EAGAIN` with `LOCK_NB` if another open file is in the way, `EINVAL`, `EINTR`.
pub fn flock(cx: &Cx<'_>, open: &Arc<OpenFile>, how: i32) -> Result<()> {
    let file = open.file.as_vnode().ok_or(Errno::EINVAL)?;
    let vnode = file.at.node.vnode();
    let exclusive = match how & !LOCK_NB {
        LOCK_SH => false,
        LOCK_EX => true,
        LOCK_UN => {
            unlock_whole(vnode, file.id);
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    let try_once = || {
        let mut locks = lock(&vnode.locks);
        // A change of the kind gives the old lock up first, so two that both wait to change cannot block each other.
        let had = locks.whole.iter().position(|(owner, _)| *owner == file.id);
        let downgraded = had.map(|at| locks.whole.swap_remove(at)).is_some_and(|(_, was)| was && !exclusive);
        let blocked = locks.whole.iter().any(|(_, other)| *other || exclusive);
        if !blocked {
            locks.whole.push((file.id, exclusive));
        }
        drop(locks);
        if downgraded || (had.is_some() && blocked) {
            vnode.unlocked.wake();
        }
        if blocked { Err(Errno::EAGAIN) } else { Ok(()) }
    };
    if how & LOCK_NB != 0 { try_once() } else { wait::until(cx, &[&vnode.unlocked], None, try_once) }
}

/// Gives up the whole-file lock of an open file.
fn unlock_whole(vnode: &Vnode, owner: u64) {
    release(vnode, |locks| locks.whole.retain(|(other, _)| *other != owner));
}

/// Gives up all locks of an open file, which is being closed.
pub(super) fn unlock_file(vnode: &Vnode, owner: u64) {
    release(vnode, |locks| {
        locks.whole.retain(|(other, _)| *other != owner);
        locks.records.retain(|held| held.owner != Owner::File(owner));
    });
}

/// Takes locks away, and wakes who waits for them.
fn release(vnode: &Vnode, take: impl FnOnce(&mut Locks)) {
    let mut locks = lock(&vnode.locks);
    let before = locks.whole.len() + locks.records.len();
    take(&mut locks);
    let changed = locks.whole.len() + locks.records.len() != before;
    drop(locks);
    if changed {
        vnode.unlocked.wake();
    }
}

/// Gives up the record locks of process `pid` on a file of which it closes a descriptor: any one, as POSIX demands.
pub fn on_close(pid: i32, open: &OpenFile) {
    let Some(file) = open.file.as_vnode() else { return };
    let vnode = file.at.node.vnode();
    if open.is_place() || (vnode.kind != Kind::Regular && vnode.kind != Kind::Directory) {
        return;
    }
    release(vnode, |locks| locks.records.retain(|held| held.owner != Owner::Process(pid)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pid: i32, exclusive: bool, start: u64, end: u64) -> Record {
        Record { owner: Owner::Process(pid), exclusive, start, end }
    }

    #[test]
    fn a_lock_replaces_the_part_of_an_older_one() {
        let mut locks = Locks::default();
        locks.set(held(1, true, 0, 100));
        locks.set(held(1, false, 40, 60));
        let mut records = locks.records.clone();
        records.sort_by_key(|record| record.start);
        assert_eq!(records, [held(1, true, 0, 40), held(1, false, 40, 60), held(1, true, 60, 100)]);
        locks.set(held(1, true, 40, 60));
        assert_eq!(locks.records, [held(1, true, 0, 100)]);
        assert!(locks.clear(&held(1, false, 0, u64::MAX)));
        assert!(locks.records.is_empty());
    }

    #[test]
    fn shared_locks_bear_each_other() {
        let mut locks = Locks::default();
        locks.set(held(1, false, 0, 10));
        assert_eq!(locks.blockers(&held(2, false, 0, u64::MAX)).count(), 0);
        assert_eq!(locks.blockers(&held(2, true, 9, 10)).count(), 1);
        assert_eq!(locks.blockers(&held(2, true, 10, 11)).count(), 0);
        assert_eq!(locks.blockers(&held(1, true, 0, 10)).count(), 0);
    }
}
