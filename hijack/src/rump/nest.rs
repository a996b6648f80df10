//! Epoll sets in epoll sets: a set with members of both kernels is a member in both kernels.
//!
//! The host judges whether a set may be a member, and watches it for its host members. Its kqueue becomes a member of the outer set's
//! kqueue, at once or when it gets one: until then the membership stands in a list.

use abi::event::{EV_ADD, EV_DELETE};
use abi::{Errno, Result};
use core::sync::atomic::{AtomicBool, Ordering};
use rustix_futex_sync::Mutex;

use super::epoll::{self, Event};
use crate::fds::RumpFd;
use crate::raw;
use crate::sets::Set;

/// A set that is a member of another.
#[derive(Clone, Copy, Debug)]
struct Member {
    outer: Set,
    inner: Set,
    /// The program's number of the inner one when it became a member.
    fd: i32,
    event: Event,
}

/// All of them; held over fork.
static MEMBERS: Mutex<Vec<Member>> = Mutex::new(Vec::new());

/// Whether there ever was one.
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether a set ever was a member of another.
pub fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Makes a change to a member that is a set.
pub fn ctl((set, outer): (i32, Set), operation: i32, (fd, inner): (i32, Set), event: usize) -> Result<usize> {
    let args = [raw::word(set), raw::word(operation), raw::word(fd), event];
    raw::checked(raw::call(libc::SYS_epoll_ctl, args))?;
    let is_it = |member: &Member| member.outer == outer && member.inner == inner && member.fd == fd;
    if operation == libc::EPOLL_CTL_DEL {
        MEMBERS.lock().retain(|member| !is_it(member));
        if let (Some(outer), Some(inner)) = (outer.kqueue(), inner.kqueue()) {
            ended(epoll::change(outer, inner, fd, EV_DELETE, Event::default()))?;
        }
        return Ok(0);
    }
    let member = Member { outer, inner, fd, event: Event::read(event)? };
    ANY.store(true, Ordering::Relaxed);
    let mut members = MEMBERS.lock();
    members.retain(|member| !is_it(member));
    members.push(member);
    drop(members);
    if let Some(kqueue) = inner.kqueue() {
        join(&member, kqueue)?;
    }
    Ok(0)
}

/// A registration that is not there needs no end.
fn ended(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}

/// Makes the kqueue of a set that is a member one of the outer set's.
fn join(member: &Member, kqueue: RumpFd) -> Result<()> {
    let outer = match member.outer.kqueue() {
        Some(outer) => outer,
        None => epoll::make_kqueue(member.outer)?,
    };
    epoll::change(outer, kqueue, member.fd, EV_ADD, member.event)
}

/// A set has got its kqueue: the sets that it is a member of hear of it.
pub fn has_kqueue(set: Set, kqueue: RumpFd) -> Result<()> {
    let members: Vec<Member> = MEMBERS.lock().iter().filter(|member| member.inner == set).copied().collect();
    members.iter().try_for_each(|member| join(member, kqueue))
}

/// A set is gone: it is a member of none, and none is a member of it.
pub fn gone(set: Set) {
    MEMBERS.lock().retain(|member| member.inner != set && member.outer != set);
}

/// Takes the lock before a fork.
pub fn before_fork() {
    core::mem::forget(MEMBERS.lock());
}

/// Gives the lock back after a fork, in the parent and in the child.
///
/// # Safety
/// [`before_fork`] was called by this thread (or, in a child, by its copy).
pub unsafe fn after_fork() {
    // SAFETY: the caller says that the lock is held.
    unsafe { MEMBERS.force_unlock() };
}
