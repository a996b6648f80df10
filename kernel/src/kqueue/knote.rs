//! A registration in a kqueue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use abi::event::*;
use abi::ioctl::{FIONREAD, FIONSPACE};
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM};
use abi::{Errno, Result};

use super::Kqueue;
use crate::Cx;
use crate::file::{Events, File, OpenFile};
use crate::proc::lock;
use crate::wait::Waiter;

/// What a knote is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where the open file lies: it ends its knotes before another could lie there.
    file: usize,
    filter: u32,
    /// The descriptor's number, or the caller's name for it.
    name: i64,
}

impl Key {
    /// The key of the knote that `change` means.
    pub fn new(file: &Arc<OpenFile>, change: &Kevent) -> Self {
        let name = if change.filter == EVFILT_POLL { change.data } else { change.ident as i64 };
        Self { file: Arc::as_ptr(file) as usize, filter: change.filter, name }
    }
}

/// A registration: which object, which filter, and what the caller said of it.
pub struct Knote {
    /// What it is found by.
    pub key: Key,
    /// Whether the object is a queue itself.
    pub nested: bool,
    /// Whether one of several such knotes on an object is enough to be woken.
    pub exclusive: bool,
    kqueue: Weak<Kqueue>,
    file: Weak<OpenFile>,
    /// Whether it stands on the ready list; changed under the lock of the queue's state.
    listed: AtomicBool,
    /// Whether the registration has ended; likewise.
    retired: AtomicBool,
    /// Whether programs may come to move the bytes of the object themselves, and are known to; likewise.
    sharable: bool,
    shared: AtomicBool,
    settings: Mutex<Settings>,
}

/// What a change can change.
#[derive(Clone, Copy)]
struct Settings {
    ident: u64,
    flags: u32,
    fflags: u32,
    udata: u64,
    disabled: bool,
}

/// What happens to a knote that has reported.
pub enum After {
    /// It is looked at the next time.
    Again,
    /// It waits for a wake-up.
    Wait,
    /// It ends.
    Remove,
}

impl Knote {
    /// Makes the knote that `change` asks for.
    pub fn new(key: Key, kqueue: Weak<Kqueue>, file: &Arc<OpenFile>, change: &Kevent, nested: bool) -> Self {
        let &Kevent { ident, flags, fflags, udata, .. } = change;
        Self {
            key,
            nested,
            exclusive: change.filter == EVFILT_POLL && flags & EV_FLAG2 != 0,
            kqueue,
            file: Arc::downgrade(file),
            listed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            sharable: nested || file.file.as_stream().is_some(),
            shared: AtomicBool::new(false),
            settings: Mutex::new(Settings { ident, flags, fflags, udata, disabled: flags & EV_DISABLE != 0 }),
        }
    }

    /// Makes a change; `EINVAL` for one of an exclusive knote, as on Linux.
    pub fn set(&self, change: &Kevent) -> Result<()> {
        if self.exclusive {
            return Err(Errno::EINVAL);
        }
        let &Kevent { ident, flags, fflags, udata, .. } = change;
        let mut settings = lock(&self.settings);
        if flags & EV_ADD != 0 || change.filter == EVFILT_POLL {
            *settings = Settings { ident, flags, fflags, udata, ..*settings };
        }
        if flags & (EV_ENABLE | EV_DISABLE) != 0 {
            settings.disabled = flags & EV_DISABLE != 0;
        }
        Ok(())
    }

    /// The open file, unless its last descriptor is gone.
    pub fn file(&self) -> Option<Arc<OpenFile>> {
        self.file.upgrade()
    }

    /// Notes that it is on the ready list; whether it was not.
    pub fn enlist(&self) -> bool {
        !self.listed.swap(true, Ordering::Relaxed)
    }

    /// Notes that it is not on the ready list; whether it was.
    pub fn delist(&self) -> bool {
        self.listed.swap(false, Ordering::Relaxed)
    }

    /// Whether it is still registered.
    pub fn registered(&self) -> bool {
        !self.retired.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether programs are known to move the bytes of the object themselves.
    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Notes that.
    pub fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    /// The events that it waits for.
    fn wanted(&self) -> Events {
        let settings = lock(&self.settings);
        match self.key.filter {
            _ if settings.disabled => 0,
            EVFILT_READ => POLLIN | POLLRDNORM | POLLERR | POLLHUP,
            EVFILT_WRITE => POLLOUT | POLLERR | POLLHUP,
            _ => settings.fflags as Events | POLLERR | POLLHUP,
        }
    }

    /// The events that it waits for and that hold.
    pub fn shows(&self, file: &OpenFile) -> Events {
        if self.sharable
            && let Some(kqueue) = self.kqueue.upgrade()
        {
            kqueue.note_sharing(self, file.file.has_shared_bytes());
        }
        match self.wanted() {
            0 => 0,
            wanted => file.ready() & wanted,
        }
    }

    /// The event that it has to report, if any, and what becomes of it.
    pub fn report(&self, cx: &Cx<'_>, file: &OpenFile) -> Option<(Kevent, After)> {
        let shows = Some(self.shows(file)).filter(|shows| *shows != 0)?;
        let mut settings = lock(&self.settings);
        let Settings { ident, fflags, udata, flags, .. } = *settings;
        settings.disabled |= flags & EV_DISPATCH != 0;
        drop(settings);
        let after = match () {
            () if flags & EV_ONESHOT != 0 => After::Remove,
            () if flags & (EV_DISPATCH | EV_CLEAR) != 0 => After::Wait,
            () => After::Again,
        };
        let mut event = Kevent { ident, filter: self.key.filter, udata, ..Kevent::default() };
        if event.filter == EVFILT_POLL {
            event.flags = if self.nested { EV_FLAG1 } else { 0 };
            event.fflags = fflags & 0xffff_0000 | u32::from(shows as u16);
            event.data = self.key.name;
        } else {
            event.flags = flags & (EV_ONESHOT | EV_CLEAR | EV_DISPATCH);
            event.data = amount(cx, file, event.filter);
            if shows & POLLHUP != 0 || event.filter == EVFILT_READ && file.file.ready() & POLLRDHUP != 0 {
                event.flags |= EV_EOF;
            }
        }
        Some((event, after))
    }
}

/// How many bytes can be read or written; 1 for an object that does not say.
fn amount(cx: &Cx<'_>, file: &OpenFile, filter: u32) -> i64 {
    let command = if filter == EVFILT_READ { FIONREAD } else { FIONSPACE };
    let mut bytes = [0; 4];
    match file.file.ioctl(cx, command, &mut bytes) {
        Ok(()) => i64::from(i32::from_le_bytes(bytes)),
        Err(_) => 1,
    }
}

impl Waiter for Knote {
    /// One that reports levels passes on what happens to a queue around its own, which may report edges.
    fn by_edges(&self) -> bool {
        let edges = lock(&self.settings).flags & EV_CLEAR != 0;
        edges || self.kqueue.upgrade().is_some_and(|kqueue| kqueue.wait_queue().by_edges())
    }

    /// Goes onto the ready list for news that it waits for.
    fn notify(self: Arc<Self>, news: Events) -> bool {
        let Some(kqueue) = self.kqueue.upgrade() else { return false };
        if self.wanted() & news != 0 {
            return kqueue.activate(&self);
        }
        // Sharing begins with a wake-up. Whether this is such a one the next look tells; what is activated is looked at anyway.
        if self.sharable && !self.is_shared() {
            kqueue.note_sharing(&self, true);
        }
        false
    }

    fn closed(&self) {
        let kqueue = self.kqueue.upgrade();
        let this = kqueue.as_ref().and_then(|kqueue| kqueue.knote(&self.key));
        if let (Some(kqueue), Some(this)) = (kqueue, this) {
            kqueue.remove(&this);
        }
    }
}
