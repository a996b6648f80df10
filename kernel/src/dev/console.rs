//! The console: descriptors 0, 1 and 2 of every new process. Can be written, not read.

use std::sync::Arc;
use std::time::Duration;

use abi::ioctl::TIOCGETA;
use abi::poll::{POLLOUT, POLLWRNORM};
use abi::stat::{S_IFCHR, Stat};
use abi::time::Timespec;
use abi::{Errno, Result};

use crate::Cx;
use crate::file::{Events, File};
use crate::rumpuser::Rumpuser;
use crate::wait::WaitQueue;

/// An open console.
pub struct Console {
    host: Arc<dyn Rumpuser>,
    since: Timespec,
    queue: WaitQueue,
}

impl Console {
    /// Opens the console of `host`; `since` is the time that fstat(2) shows.
    pub fn new(host: Arc<dyn Rumpuser>, since: Duration) -> Self {
        Self { host, since: Timespec::from_duration(since), queue: WaitQueue::new() }
    }
}

impl File for Console {
    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.host.console(buf);
        Ok(buf.len())
    }

    fn ready(&self) -> Events {
        POLLOUT | POLLWRNORM
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        let since = self.since;
        let times = Stat { st_atim: since, st_mtim: since, st_ctim: since, st_birthtim: since, ..Stat::default() };
        Ok(Stat { st_mode: S_IFCHR | 0o600, ..times })
    }

    /// `TIOCGETA` succeeds with an empty termios, which is enough for isatty(3); anything else is `ENOTTY`.
    fn ioctl(&self, _cx: &Cx<'_>, command: u64, _data: &mut [u8]) -> Result<()> {
        if command == TIOCGETA { Ok(()) } else { Err(Errno::ENOTTY) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rumpuser::sim::SimHost;

    #[test]
    fn what_is_written_reaches_the_host_and_nothing_can_be_read() {
        let host = SimHost::new(0);
        let console = Console::new(host.clone(), Duration::ZERO);
        assert_eq!(console.write(b"hello"), Ok(5));
        assert_eq!(host.console_text(), "hello");
        assert_eq!(console.read(&mut [0; 4]), Err(Errno::EBADF));
        assert_eq!(console.ready(), POLLOUT);
    }
}
