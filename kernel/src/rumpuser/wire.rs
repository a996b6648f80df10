//! Where the frames of network devices come from and go to: the host's tap interfaces, and files that are a bus.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, Result};
use sysproxy::host::wire::Mapping;
use sysproxy::host::{self, HostFd, Owned, POLLIN, PollFd, errno};

/// Tells one thread that frames have arrived.
pub trait Signal: Send + Sync {
    /// Sleeps until there are some; `false` once [`Signal::stop`] was called.
    fn wait(&self) -> bool;
    /// Ends the sleep, and every later one.
    fn stop(&self);
}

/// An interface of the host: what is sent here the host receives.
pub trait Port: Signal {
    /// Sends a frame; `EAGAIN` if there is no room for it.
    fn send(&self, frame: &[u8]) -> Result<()>;
    /// Takes a frame; `EAGAIN` if there is none.
    fn receive(&self, buf: &mut [u8]) -> Result<usize>;
}

/// A file that several kernels share. What it holds may change at any time.
pub trait Bus: Signal {
    /// Reads bytes; `EFAULT` where somebody has cut them off.
    fn load(&self, offset: usize, buf: &mut [u8]) -> Result<()>;
    /// Writes bytes.
    fn store(&self, offset: usize, data: &[u8]) -> Result<()>;
    /// Replaces a word if it is `old`; returns what it was.
    fn exchange(&self, offset: usize, old: u32, new: u32) -> Result<u32>;
    /// Writes bytes so that everybody who waits is told.
    fn tell(&self, offset: usize, data: &[u8]) -> Result<()>;
    /// Whether somebody has told something, or this was not asked since; asking forgets it.
    fn was_told(&self) -> bool;
    /// Makes [`Bus::was_told`] true, and ends a sleep.
    fn remind(&self);
    /// Lets another thread or process run.
    fn rest(&self);
}

/// Sleeps on a descriptor until it is readable, or until the other one is.
struct Sleeper {
    stop: Owned,
    stopped: AtomicBool,
}

impl Sleeper {
    fn new() -> Result<Self> {
        Ok(Self { stop: host::eventfd().map_err(errno)?, stopped: AtomicBool::new(false) })
    }

    fn sleep(&self, fd: HostFd) -> bool {
        let mut fds = [PollFd::new(fd, POLLIN), PollFd::new(self.stop.fd(), POLLIN)];
        let _ = host::ppoll(&mut fds, None, None);
        !self.stopped.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        host::signal_eventfd(self.stop.fd());
    }
}

/// A tap interface of a Linux host.
pub struct LinuxTap {
    device: Owned,
    sleeper: Sleeper,
    /// Whether there may be something; what is false is seen without a call to the host.
    ready: AtomicBool,
}

impl LinuxTap {
    /// Opens the interface of a name.
    pub fn open(name: &str) -> Result<Self> {
        let device = host::wire::tap(name.as_bytes()).map_err(errno)?;
        Ok(Self { device, sleeper: Sleeper::new()?, ready: AtomicBool::new(true) })
    }
}

impl Signal for LinuxTap {
    fn wait(&self) -> bool {
        let goes_on = self.sleeper.sleep(self.device.fd());
        self.ready.store(true, Ordering::SeqCst);
        goes_on
    }

    fn stop(&self) {
        self.sleeper.stop();
    }
}

impl Port for LinuxTap {
    fn send(&self, frame: &[u8]) -> Result<()> {
        host::write(self.device.fd(), frame).map(drop).map_err(errno)
    }

    fn receive(&self, buf: &mut [u8]) -> Result<usize> {
        if !self.ready.load(Ordering::SeqCst) {
            return Err(Errno::EAGAIN);
        }
        loop {
            match host::read(self.device.fd(), buf) {
                Err(host::Error::INTR) => {}
                // Should a frame have come meanwhile: the host says so again, to whoever waits.
                Err(error) => {
                    self.ready.store(false, Ordering::SeqCst);
                    return Err(errno(error));
                }
                Ok(len) => return Ok(len),
            }
        }
    }
}

/// A file of a Linux host that is a bus.
pub struct LinuxBus {
    mapping: Mapping,
    watch: Owned,
    sleeper: Sleeper,
    told: AtomicBool,
}

impl LinuxBus {
    /// Maps `len` bytes of a file, which is made if it is not there.
    pub fn open(path: &Path, len: usize) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        let mapping = Mapping::open(&path, len).map_err(errno)?;
        let watch = mapping.watch().map_err(errno)?;
        Ok(Self { mapping, watch, sleeper: Sleeper::new()?, told: AtomicBool::new(true) })
    }
}

impl Signal for LinuxBus {
    fn wait(&self) -> bool {
        // What was told and not looked at yet needs no sleep.
        let goes_on = if self.told.load(Ordering::SeqCst) {
            !self.sleeper.stopped.load(Ordering::SeqCst)
        } else {
            self.sleeper.sleep(self.watch.fd())
        };
        let mut events = [0; 4096];
        while host::read(self.watch.fd(), &mut events).is_ok_and(|len| len > 0) {}
        if goes_on {
            host::clear_eventfd(self.sleeper.stop.fd());
        }
        self.told.store(true, Ordering::SeqCst);
        goes_on && !self.sleeper.stopped.load(Ordering::SeqCst)
    }

    fn stop(&self) {
        self.sleeper.stop();
    }
}

impl Bus for LinuxBus {
    fn load(&self, offset: usize, buf: &mut [u8]) -> Result<()> {
        self.mapping.load(offset, buf).map_err(errno)
    }

    fn store(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.mapping.store(offset, data).map_err(errno)
    }

    fn exchange(&self, offset: usize, old: u32, new: u32) -> Result<u32> {
        self.mapping.exchange(offset, old, new).map_err(errno)
    }

    fn tell(&self, offset: usize, data: &[u8]) -> Result<()> {
        host::shared::pwrite(self.mapping.fd(), data, offset as u64).map(drop).map_err(errno)
    }

    fn was_told(&self) -> bool {
        self.told.swap(false, Ordering::SeqCst)
    }

    fn remind(&self) {
        self.told.store(true, Ordering::SeqCst);
        host::signal_eventfd(self.sleeper.stop.fd());
    }

    fn rest(&self) {
        std::thread::yield_now();
    }
}
