//! epoll(7): waiting for many descriptors at a cost that does not grow with their number.

use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{Error, HostFd, Owned, Result, owned};

/// Descriptors that one wait tells of at most.
const TOLD: usize = 64;

/// A set of descriptors, each under a key of the caller's. Any thread may change it while another waits.
pub struct Epoll(Owned);

impl Epoll {
    /// Makes an empty set.
    pub fn new() -> Result<Self> {
        epoll::create(CreateFlags::CLOEXEC).map(|fd| Self(owned(fd)))
    }

    /// Adds a descriptor that is waited for until it can be read, or has come to its end.
    pub fn add(&self, fd: HostFd, key: u64) -> Result<()> {
        epoll::add(self.0.fd().borrow()?, fd.borrow()?, EventData::new_u64(key), interest(false))
    }

    /// Says whether a descriptor is waited for until it can be written, too.
    pub fn change(&self, fd: HostFd, key: u64, writable: bool) -> Result<()> {
        epoll::modify(self.0.fd().borrow()?, fd.borrow()?, EventData::new_u64(key), interest(writable))
    }

    /// Takes a descriptor out.
    pub fn remove(&self, fd: HostFd) -> Result<()> {
        epoll::delete(self.0.fd().borrow()?, fd.borrow()?)
    }

    /// Waits until some are ready, and puts their keys into `ready`, which is emptied first; for ever without a `timeout`.
    pub fn wait(&self, ready: &mut Vec<u64>, timeout: Option<Duration>) -> Result<()> {
        ready.clear();
        let nothing = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [nothing; TOLD];
        let timeout = timeout.map(|time| Timespec::try_from(time).map_err(|_| Error::INVAL)).transpose()?;
        let told = epoll::wait(self.0.fd().borrow()?, &mut events, timeout.as_ref())?;
        ready.extend(events.iter().take(told).map(|event| event.data.u64()));
        Ok(())
    }
}

fn interest(writable: bool) -> EventFlags {
    if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn the_keys_of_ready_descriptors_are_told() {
        let set = Epoll::new().unwrap();
        let (one, other) = host::socketpair().unwrap();
        set.add(one.fd(), 7).unwrap();
        let mut ready = vec![1];
        set.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
        host::write(other.fd(), b"x").unwrap();
        set.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [7]);
        host::recv(one.fd(), &mut [0; 8]).unwrap();
        set.change(one.fd(), 7, true).unwrap();
        set.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [7]);
        set.remove(one.fd()).unwrap();
        set.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
    }
}
