//! Who is told when routes, interfaces and addresses change. Nothing that changes them knows of this: what there is now is compared with
//! what there was, as long as somebody listens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use abi::Errno;
use abi::poll::{POLLERR, POLLIN, POLLRDNORM};
use abi::route::*;
use smoltcp::wire::IpCidr;

use super::super::link::Link;
use super::super::route::Route;
use super::super::stack::Base;
use super::message;
use crate::proc::lock;
use crate::wait::WaitQueue;

/// What a routing socket has not read yet.
pub struct Inbox {
    /// Who waits for a message.
    pub queue: Arc<WaitQueue>,
    /// The family whose routes it hears of; 0 for all.
    family: i32,
    held: Mutex<Held>,
}

struct Held {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    room: usize,
    /// `ENOBUFS` when messages were lost.
    error: Option<Errno>,
}

impl Inbox {
    /// Makes one for so many bytes.
    pub fn new(family: i32, room: usize) -> Arc<Self> {
        let held = Held { messages: VecDeque::new(), bytes: 0, room, error: None };
        Arc::new(Self { queue: Arc::new(WaitQueue::new()), family, held: Mutex::new(held) })
    }

    /// Changes how many bytes wait at most.
    pub fn set_room(&self, room: usize) {
        lock(&self.held).room = room;
    }

    fn put(&self, message: &[u8]) {
        let mut held = lock(&self.held);
        if held.bytes + message.len() > held.room {
            held.error = Some(Errno::ENOBUFS);
            return;
        }
        held.bytes += message.len();
        held.messages.push_back(message.to_vec());
    }

    /// Takes the oldest message; `peek` leaves it. `EAGAIN` without one, `ENOBUFS` once when some were lost.
    pub fn take(&self, peek: bool) -> Result<Vec<u8>, Errno> {
        let mut held = lock(&self.held);
        if let Some(error) = held.error.take() {
            return Err(error);
        }
        if peek {
            return held.messages.front().cloned().ok_or(Errno::EAGAIN);
        }
        let message = held.messages.pop_front().ok_or(Errno::EAGAIN)?;
        held.bytes -= message.len();
        Ok(message)
    }

    /// Takes the error that waits.
    pub fn take_error(&self) -> Option<Errno> {
        lock(&self.held).error.take()
    }

    /// Length of the oldest message, and what poll(2) says.
    pub fn fill(&self) -> (usize, crate::file::Events) {
        let held = lock(&self.held);
        let next = held.messages.front().map_or(0, Vec::len);
        let readable = if held.messages.is_empty() { 0 } else { POLLIN | POLLRDNORM };
        (next, readable | if held.error.is_some() { POLLIN | POLLERR } else { 0 })
    }
}

/// An interface as it was.
struct Interface {
    at: usize,
    index: u32,
    name: String,
    up: bool,
    mtu: usize,
    addrs: Vec<IpCidr>,
}

impl Interface {
    fn of((at, link): (usize, &Link)) -> Self {
        let (index, name, up) = (link.index, link.name.clone(), link.up);
        Self { at, index, name, up, mtu: link.device.mtu(), addrs: link.addrs.clone() }
    }

    /// Whether nothing has changed.
    fn is(&self, link: &Link) -> bool {
        (self.index, self.up, self.mtu) == (link.index, link.up, link.device.mtu()) && self.addrs == link.addrs
    }
}

/// Who listens, and what they were told last.
#[derive(Default)]
pub struct Watch {
    inboxes: Vec<Weak<Inbox>>,
    interfaces: Vec<Interface>,
    routes: Vec<Route>,
}

impl Base {
    /// Begins to tell somebody; it ends with the inbox.
    pub fn begin_watch(&mut self, inbox: &Arc<Inbox>) {
        self.watch.inboxes.push(Arc::downgrade(inbox));
        self.remember();
    }

    /// Takes what there is now as known.
    pub fn remember(&mut self) {
        self.watch.interfaces = self.links.places().map(Interface::of).collect();
        self.watch.routes = self.routes.all().to_vec();
    }

    /// Tells of what has changed.
    pub fn tell_watchers(&mut self) {
        if self.watch.inboxes.is_empty() {
            return;
        }
        self.watch.inboxes.retain(|inbox| inbox.strong_count() > 0);
        let known = &self.watch.interfaces;
        let same = known.len() == self.links.places().count()
            && known.iter().zip(self.links.places()).all(|(old, (at, link))| old.at == at && old.is(link));
        if same && self.watch.routes == self.routes.all() {
            return;
        }
        for (family, message) in self.news() {
            self.tell_all(family, &message, None);
        }
        self.remember();
    }

    /// Puts a message into the inboxes of a family, but for one.
    pub fn tell_all(&mut self, family: i32, message: &[u8], but: Option<&Arc<Inbox>>) {
        let inboxes: Vec<Arc<Inbox>> = self.watch.inboxes.iter().filter_map(Weak::upgrade).collect();
        for inbox in inboxes {
            let wants = family == 0 || inbox.family == 0 || inbox.family == family;
            if wants && but.is_none_or(|but| !Arc::ptr_eq(but, &inbox)) {
                inbox.put(message);
                self.wake(&inbox.queue, POLLIN | POLLRDNORM);
            }
        }
    }

    /// The messages about all changes, and their families.
    fn news(&self) -> Vec<(i32, Vec<u8>)> {
        let mut news = Vec::new();
        let old = &self.watch.interfaces;
        for link in self.links.iter().filter(|link| old.iter().all(|old| old.index != link.index)) {
            news.push((0, message::announce(link.index, &link.name, IFAN_ARRIVAL)));
        }
        for route in self.watch.routes.iter().filter(|route| !self.routes.all().contains(route)) {
            news.extend(self.about_route(RTM_DELETE, route));
        }
        for link in &self.links {
            let known = old.iter().find(|old| old.index == link.index);
            let addrs = known.map_or(&[][..], |known| &known.addrs);
            for addr in addrs.iter().filter(|addr| !link.addrs.contains(addr)) {
                news.push((message::family(&addr.address()), message::about_address(RTM_DELADDR, link, addr)));
            }
            if known.is_none_or(|known| (known.up, known.mtu) != (link.up, link.device.mtu())) {
                news.push((0, message::about_link(link)));
            }
            for addr in link.addrs.iter().filter(|addr| !addrs.contains(addr)) {
                news.push((message::family(&addr.address()), message::about_address(RTM_NEWADDR, link, addr)));
            }
        }
        for route in self.routes.all().iter().filter(|route| !self.watch.routes.contains(route)) {
            news.extend(self.about_route(RTM_ADD, route));
        }
        for old in old.iter().filter(|old| self.links.iter().all(|link| old.index != link.index)) {
            news.push((0, message::announce(old.index, &old.name, IFAN_DEPARTURE)));
        }
        news
    }

    fn about_route(&self, kind: u8, route: &Route) -> Option<(i32, Vec<u8>)> {
        // Of an interface that is gone the loopback speaks.
        let link = self.links.get(route.link).or_else(|| self.links.get(0))?;
        let header = RtMsghdr {
            rtm_type: kind,
            rtm_index: link.index as u16,
            rtm_flags: message::flags(route) | RTF_DONE,
            ..RtMsghdr::default()
        };
        let message = message::about_route(header, &message::addresses(link, route));
        Some((message::family(&route.to.address()), message))
    }
}
