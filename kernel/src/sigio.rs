//! Signals of files that became ready (`O_ASYNC`, see fcntl(2)), and of urgent data (`SIGURG`, socket(7)).
//!
//! A kernel in another process cannot send a program the signal that it asked for: it has not the right, knows neither the program's
//! threads nor its groups, and may not say in `siginfo_t` what the host's kernel says. So the host's kernel sends it, for a pipe of the host:
//! the client asks on the pipe's end for what the program asked for on its file, and this kernel moves a byte through the pipe whenever the
//! file becomes ready. Who is told, by what signal, and with what right, is kept by the host with the end, whose number in the
//! program needs not stay open; it goes with the open file here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::Result;
use abi::poll::{POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use sysproxy::host::Owned;

use crate::file::Events;
use crate::rumpuser::{Bell, Side};
use crate::wait::{EVERYTHING, Waiter};

/// Tells a program that an open file became ready.
pub struct Sigio {
    bell: Box<dyn Bell>,
    readable: bool,
    writable: bool,
    on: AtomicBool,
}

impl Sigio {
    /// Makes one for a file that can be read, or written, or both.
    pub fn new(bell: Box<dyn Bell>, readable: bool, writable: bool, on: bool) -> Arc<Self> {
        Arc::new(Self { bell, readable, writable, on: AtomicBool::new(on) })
    }

    /// Begins or stops to tell.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// The end of the host's for a client.
    pub fn end(&self, side: Side) -> Result<Owned> {
        self.bell.end(side)
    }
}

impl Waiter for Sigio {
    fn by_edges(&self) -> bool {
        true
    }

    fn notify(self: Arc<Self>, news: Events) -> bool {
        // Urgent data signals the owner whatever the flag says (SIGURG); a wake-up that does not say what happened is none.
        if news != EVERYTHING && news & POLLPRI != 0 {
            self.bell.ring(Side::Urgent);
        }
        if self.on.load(Ordering::Relaxed) {
            if self.readable && news & (POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI) != 0 {
                self.bell.ring(Side::Read);
            }
            if self.writable && news & (POLLOUT | POLLWRNORM | POLLWRBAND) != 0 {
                self.bell.ring(Side::Write);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::proc::lock;
    use crate::wait::{EVERYTHING, NOTHING_NEW, WaitQueue};

    struct Rung(Arc<Mutex<Vec<Side>>>);

    impl Bell for Rung {
        fn ring(&self, side: Side) {
            lock(&self.0).push(side);
        }
        fn end(&self, _: Side) -> Result<Owned> {
            Err(abi::Errno::EOPNOTSUPP)
        }
    }

    #[test]
    fn who_can_only_read_hears_of_nothing_else() {
        let (rung, queue) = (Arc::new(Mutex::default()), WaitQueue::new());
        let taken = || std::mem::take(&mut *lock(&rung));
        let reader = Sigio::new(Box::new(Rung(rung.clone())), true, false, false);
        queue.register(&reader, false);
        queue.wake();
        assert_eq!(taken(), []);
        reader.switch(true);
        [EVERYTHING, POLLOUT, NOTHING_NEW, POLLIN].into_iter().for_each(|news| queue.wake_for(news));
        assert_eq!(taken(), [Side::Read, Side::Read]);
        reader.switch(false);
        queue.wake_for(POLLPRI);
        assert_eq!(taken(), [Side::Urgent], "also without the flag");
        let both = Sigio::new(Box::new(Rung(rung.clone())), true, true, true);
        queue.register(&both, false);
        queue.wake();
        assert_eq!(taken(), [Side::Read, Side::Write]);
    }
}
