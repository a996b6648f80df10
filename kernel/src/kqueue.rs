//! Event queues (kqueue(2)), which also are what epoll is made of.
//!
//! The algorithm is that of Linux's epoll. A [`Knote`] stands on the wait queue of the object that it watches. A wake-up puts it on
//! the ready list of its [`Kqueue`]; [`Kqueue::collect`] takes it off, looks whether the object is ready, and puts it back if it reports
//! levels. So a collection costs as much as there is on the list, whatever else is registered.
//!
//! Locks: `looking` first, that of an outer queue before that of an inner one; then the object's own; `state` and a knote's `settings`
//! are innermost and never held while anything else is called. A wake-up takes none but these two (and those of the wait queues of
//! the queues outwards), so it may come at any time.

mod knote;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use abi::event::{EV_ADD, EV_DELETE, EV_FLAG1, EVFILT_POLL, EVFILT_READ, EVFILT_WRITE, Kevent};
use abi::poll::{POLLIN, POLLRDNORM};
use abi::stat::{S_IFIFO, Stat};
use abi::{Errno, Fd, Result};
use zerocopy::FromZeros;

use self::knote::{After, Key, Knote};
use crate::Cx;
use crate::file::{Events, File, OpenFile};
use crate::proc::lock;
use crate::wait::{NOTHING_NEW, WaitQueue, Waiter};

/// Queues in queues at most. (Linux allows five epoll sets, which its own kernel sees to.)
const NESTED_MAX: usize = 8;

/// Held while a queue becomes a member of another, so that no two make a circle together.
static NESTING: Mutex<()> = Mutex::new(());

/// A queue of events.
pub struct Kqueue {
    own: Weak<Kqueue>,
    inherited: bool,
    /// Held by who looks at members or changes them: two who collect at once see the same levels.
    looking: Mutex<()>,
    state: Mutex<State>,
    queue: WaitQueue,
    /// The queues that this one is, or was, a member of; a dead or doubled entry does no harm.
    outer: Mutex<Vec<Weak<Kqueue>>>,
}

#[derive(Default)]
struct State {
    knotes: HashMap<Key, Arc<Knote>>,
    /// What may have something to report: woken, or ready when last looked at.
    ready: VecDeque<Arc<Knote>>,
    /// How many registrations are known to be on objects whose bytes programs move themselves.
    shared: usize,
}

impl Kqueue {
    /// Makes an empty queue; `inherited` says whether the child of a fork gets it too (an epoll set is, NetBSD's queues are not).
    pub fn new(inherited: bool) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            inherited,
            looking: Mutex::default(),
            state: Mutex::default(),
            queue: WaitQueue::new(),
            outer: Mutex::default(),
        })
    }

    /// The queue that an open file is; `EBADF` if it is something else.
    pub fn of(file: &OpenFile) -> Result<&Self> {
        let any: &dyn std::any::Any = &*file.file;
        any.downcast_ref().ok_or(Errno::EBADF)
    }

    /// Makes a change: registers a descriptor of the caller, changes what is registered, or ends it.
    ///
    /// `EINVAL` for a filter that does not exist, and for a change that an exclusive registration cannot have; `EBADF` for a descriptor that is not
    /// open; `EPERM` from `EVFILT_POLL` for one that is ready always; `EEXIST` and `ENOENT` as the flags say; `ELOOP` for a queue that would
    /// contain itself.
    pub fn change(&self, cx: &Cx<'_>, change: &Kevent) -> Result<()> {
        if !matches!(change.filter, EVFILT_READ | EVFILT_WRITE | EVFILT_POLL) {
            return Err(Errno::EINVAL);
        }
        let fd = i32::try_from(change.ident).map_err(|_| Errno::EBADF)?;
        let file = cx.proc.file(Fd(fd))?;
        if change.filter == EVFILT_POLL && !file.file.can_poll() {
            return Err(Errno::EPERM);
        }
        let inner = Self::of(&file).ok();
        let _nesting = inner.map(|_| lock(&NESTING));
        // What is being reported is not changed meanwhile: a one-shot registration that is armed again stays so.
        let _looking = lock(&self.looking);
        let key = Key::new(&file, change);
        match self.knote(&key) {
            Some(knote) if change.flags & EV_DELETE != 0 => self.remove(&knote),
            Some(_) if change.filter == EVFILT_POLL && change.flags & EV_FLAG1 != 0 => return Err(Errno::EEXIST),
            Some(knote) => {
                knote.set(change)?;
                self.rouse(&knote, &file);
                self.look_inside(&knote, inner);
            }
            None if change.flags & EV_ADD == 0 => return Err(Errno::ENOENT),
            None => {
                if let Some(inner) = inner {
                    self.can_contain(inner)?;
                    lock(&inner.outer).push(self.own.clone());
                }
                let knote = Arc::new(Knote::new(key, self.own.clone(), &file, change, inner.is_some()));
                lock(&self.state).knotes.insert(knote.key, knote.clone());
                file.watch(&knote, knote.exclusive);
                self.rouse(&knote, &file);
                self.look_inside(&knote, inner);
            }
        }
        Ok(())
    }

    /// Puts a knote on the ready list if its object is ready now.
    fn rouse(&self, knote: &Arc<Knote>, file: &OpenFile) {
        if knote.shows(file) != 0 {
            self.activate(knote);
        }
    }

    /// Looks at all that is in an `inner` queue which comes to be watched by edges: from then on everything that happens to it is told.
    fn look_inside(&self, knote: &Knote, inner: Option<&Kqueue>) {
        if let Some(inner) = inner.filter(|_| knote.by_edges()) {
            let members: Vec<_> = lock(&inner.state).knotes.values().cloned().collect();
            for (member, file) in members.iter().filter_map(|member| Some((member, member.file()?))) {
                member.shows(&file);
                inner.look_inside(member, Self::of(&file).ok());
            }
        }
    }

    /// Puts a knote on the ready list and wakes who waits for the queue; whether there is somebody.
    fn activate(&self, knote: &Arc<Knote>) -> bool {
        {
            let mut state = lock(&self.state);
            if !knote.registered() {
                return false;
            }
            if knote.enlist() {
                state.ready.push_back(knote.clone());
            }
        }
        self.queue.tell(POLLIN | POLLRDNORM)
    }

    /// Notes whether programs move the bytes of a registration's object themselves; who knows that there is nothing hears that from now on it may
    /// not be so.
    fn note_sharing(&self, knote: &Knote, shared: bool) {
        let mut state = lock(&self.state);
        if !knote.registered() || knote.is_shared() == shared {
            return;
        }
        knote.set_shared(shared);
        state.shared = if shared { state.shared + 1 } else { state.shared - 1 };
        drop(state);
        if shared {
            self.queue.wake_for(NOTHING_NEW);
        }
    }

    /// The registration with this key.
    fn knote(&self, key: &Key) -> Option<Arc<Knote>> {
        lock(&self.state).knotes.get(key).cloned()
    }

    /// Ends a registration.
    fn remove(&self, knote: &Arc<Knote>) {
        let mut state = lock(&self.state);
        if knote.registered() && knote.is_shared() {
            state.shared -= 1;
        }
        knote.retire();
        if state.knotes.get(&knote.key).is_some_and(|known| Arc::ptr_eq(known, knote)) {
            state.knotes.remove(&knote.key);
        }
        if knote.delist() {
            state.ready.retain(|other| !Arc::ptr_eq(other, knote));
        }
    }

    /// Returns at most `max` events. What reports levels comes last the next time, so that everything has its turn.
    pub fn collect(&self, cx: &Cx<'_>, max: usize) -> Vec<Kevent> {
        let mut found = Vec::new();
        // The last reference to a file may be ours: it must go when no lock is held.
        let mut files = Vec::new();
        let mut levels = Vec::new();
        let looking = lock(&self.looking);
        let due = lock(&self.state).ready.len();
        for _ in 0..due {
            let knote = if found.len() < max { self.next_ready() } else { None };
            let Some(knote) = knote else { break };
            let Some(file) = knote.file() else { continue };
            if let Some((event, after)) = knote.report(cx, &file) {
                found.push(event);
                match after {
                    After::Again => levels.push(knote),
                    After::Remove => self.remove(&knote),
                    After::Wait => {}
                }
            }
            files.push(file);
        }
        let mut state = lock(&self.state);
        for knote in levels {
            if knote.registered() && knote.enlist() {
                state.ready.push_back(knote);
            }
        }
        drop((state, looking));
        found
    }

    /// Takes the next knote off the ready list: what wakes it from now on puts it back.
    fn next_ready(&self) -> Option<Arc<Knote>> {
        let mut state = lock(&self.state);
        let knote = state.ready.pop_front()?;
        knote.delist();
        Some(knote)
    }

    /// Whether something on the ready list is ready; what is not leaves the list.
    fn any_ready(&self) -> bool {
        let mut files = Vec::new();
        let looking = lock(&self.looking);
        let due = lock(&self.state).ready.len();
        let mut any = false;
        for _ in 0..due {
            let Some(knote) = self.next_ready() else { break };
            let Some(file) = knote.file() else { continue };
            any = knote.shows(&file) != 0;
            files.push(file);
            if any {
                let mut state = lock(&self.state);
                if knote.registered() && knote.enlist() {
                    state.ready.push_front(knote);
                }
                break;
            }
        }
        drop(looking);
        any
    }

    /// `ELOOP` if `inner` contains this queue, or if there would be too many inside each other.
    fn can_contain(&self, inner: &Kqueue) -> Result<()> {
        let below = inner.depth(self, NESTED_MAX)?;
        let above = self.height(NESTED_MAX)?;
        if below + above > NESTED_MAX { Err(Errno::ELOOP) } else { Ok(()) }
    }

    /// How many queues there are from this one inwards; `ELOOP` if `outer` is among them.
    fn depth(&self, outer: &Kqueue, most: usize) -> Result<usize> {
        if std::ptr::eq(self, outer) || most == 0 {
            return Err(Errno::ELOOP);
        }
        let inner: Vec<_> = lock(&self.state).knotes.values().filter(|knote| knote.nested).cloned().collect();
        let mut deepest = 0;
        for file in inner.iter().filter_map(|knote| knote.file()) {
            deepest = deepest.max(Self::of(&file)?.depth(outer, most - 1)?);
        }
        Ok(deepest + 1)
    }

    /// How many queues there are from this one outwards.
    fn height(&self, most: usize) -> Result<usize> {
        if most == 0 {
            return Err(Errno::ELOOP);
        }
        let outer: Vec<_> = {
            let mut outer = lock(&self.outer);
            outer.retain(|outer| outer.strong_count() > 0);
            outer.iter().filter_map(Weak::upgrade).collect()
        };
        let mut highest = 0;
        for outer in outer {
            highest = highest.max(outer.height(most - 1)?);
        }
        Ok(highest + 1)
    }
}

impl File for Kqueue {
    fn ready(&self) -> Events {
        if self.any_ready() { POLLIN | POLLRDNORM } else { 0 }
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn has_shared_bytes(&self) -> bool {
        lock(&self.state).shared > 0
    }

    /// A fifo whose size is the number of events that may be there.
    fn stat(&self) -> Result<Stat> {
        let mut stat = Stat::new_zeroed();
        stat.st_mode = S_IFIFO;
        stat.st_size = lock(&self.state).ready.len() as i64;
        stat.st_blksize = size_of::<Kevent>() as i32;
        Ok(stat)
    }

    fn inherited(&self) -> bool {
        self.inherited
    }
}
