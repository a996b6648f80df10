//! The library's own host descriptors: high numbers, out of the program's way, and known by number.
//!
//! The list of numbers is lock-free, because the child of a fork reads it while other threads of the
//! parent may have been anywhere.

use std::sync::atomic::{AtomicI32, Ordering};

use sysproxy::host::{self, HostFd, Owned, Result};

/// Numbers start a little below this: out of sight of most programs, and low enough for the host's
/// descriptor table, which is copied at each fork, to stay small.
const CEILING: u64 = 1024;

/// Room left below [`CEILING`], or below the limit of descriptors where that is lower.
const ROOM: u64 = 64;

/// How many descriptors the library can have at a time.
const SLOTS: usize = 1024;

/// -1 in a free slot.
static KEPT: [AtomicI32; SLOTS] = [const { AtomicI32::new(-1) }; SLOTS];

/// A descriptor on a high number that the library knows as its own, closed when it is dropped.
#[derive(Debug)]
pub struct Kept(Owned);

impl Kept {
    /// Moves a descriptor up and keeps it.
    pub fn new(fd: Owned) -> Result<Self> {
        let high = raise(fd.fd())?;
        note(high.fd());
        Ok(Kept(high))
    }

    /// The number, at this moment.
    pub fn fd(&self) -> HostFd {
        self.0.fd()
    }

    /// Has no number any more, and returns the one it had, which stays open.
    pub fn let_go(&self) -> HostFd {
        self.0.replace(HostFd(-1))
    }

    /// Moves to another number; see [`move_number`].
    pub fn move_away(&self) -> Result<HostFd> {
        move_number(self.fd(), |fd| self.0.replace(fd))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        forget(self.fd());
    }
}

/// Makes a close-on-exec duplicate on a high number.
pub fn raise(fd: HostFd) -> Result<Owned> {
    let mut base = host::descriptor_limit().min(CEILING).saturating_sub(ROOM).max(3);
    loop {
        match host::dup_from(fd, base as i32) {
            Err(host::Error::MFILE | host::Error::INVAL) if base > 3 => base = (base / 2).max(3),
            done => return done,
        }
    }
}

/// Continues with a duplicate on another number, and closes the old one.
pub fn move_number(old: HostFd, replace: impl FnOnce(HostFd) -> HostFd) -> Result<HostFd> {
    let new = raise(old)?.into_fd();
    note(new);
    forget(old);
    let _ = host::close(replace(new));
    Ok(new)
}

/// Remembers a number as the library's own.
pub fn note(fd: HostFd) {
    let _ = KEPT.iter().find(|slot| slot.compare_exchange(-1, fd.0, Ordering::AcqRel, Ordering::Relaxed).is_ok());
}

/// Forgets a number.
pub fn forget(fd: HostFd) {
    if fd.0 >= 0 {
        let _ = KEPT.iter().find(|slot| slot.compare_exchange(fd.0, -1, Ordering::AcqRel, Ordering::Relaxed).is_ok());
    }
}

/// Whether a number is the library's own.
pub fn owns(fd: HostFd) -> bool {
    fd.0 >= 0 && KEPT.iter().any(|slot| slot.load(Ordering::Acquire) == fd.0)
}

/// The library's own numbers.
pub fn all() -> impl Iterator<Item = HostFd> {
    KEPT.iter().map(|slot| HostFd(slot.load(Ordering::Acquire))).filter(|fd| fd.0 >= 0)
}

/// Forgets them all, which are somebody else's.
pub fn forget_all() {
    KEPT.iter().for_each(|slot| slot.store(-1, Ordering::Release));
}

/// Closes them all and forgets them: the child of a fork does so with what it inherited. Whoever had
/// them in the parent must not be dropped in the child.
pub fn close_all() {
    for slot in &KEPT {
        let _ = host::close(HostFd(slot.swap(-1, Ordering::AcqRel)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_descriptor_is_high_known_and_can_move() {
        let kept = Kept::new(host::eventfd().unwrap()).unwrap();
        let first = kept.fd();
        assert!(first.0 > 2 && owns(first));
        let second = kept.move_away().unwrap();
        assert!(second != first && owns(second) && kept.fd() == second);
        drop(kept);
        assert!(!owns(second));
    }
}
