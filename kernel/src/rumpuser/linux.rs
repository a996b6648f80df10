//! The real host: Linux.
//!
//! Nothing here goes through a libc function that a preloaded library could have replaced: all host calls are raw
//! (rustix). [`LinuxHost::server`] serves a process of its own; [`LinuxHost::local`] a kernel inside the program that uses it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use abi::signal::signal_to_linux;
use abi::{Errno, Result};
use rustix::time::{ClockId, Timespec, clock_gettime};
use sysproxy::host::signal::{self, SIG_DFL, SIG_IGN, SigSet};
use sysproxy::host::{self, HostFd, Owned, PollFd};

use super::file::LinuxFile;
use super::folder::LinuxNode;
use super::jobs::{self, Group};
use super::memory::Account;
use super::shared::{Keeper, LinuxShared, file_memory};
use super::stream::LinuxStream;
use super::wire::{LinuxBus, LinuxTap};
use super::{Access, Bell, Bus, HostFile, HostNode, LinuxBell, Parker, Port, Rumpuser, SharedMemory, Woken};
use crate::config::Config;
use crate::proc::lock;

/// The lowest number for descriptors of a kernel inside a program: out of the program's way.
const LOWEST_PRIVATE_FD: i32 = 960;

/// Descriptors for large contents at most.
const LARGE_MAX: usize = 64 << 10;

/// Where the console goes.
const STDOUT: HostFd = HostFd(1);

/// After so much was given back, the allocator is asked to let the host have it.
const TRIM_BYTES: u64 = 8 << 20;

/// How long to wait for more to come before it is asked.
const TRIM_AFTER: Duration = Duration::from_millis(200);

/// A Linux host.
pub struct LinuxHost {
    memory: Account,
    sleep: Sleep,
    returned: Arc<Returned>,
    /// Descriptors that large contents may still take.
    large: Arc<AtomicUsize>,
}

/// What was given back since the allocator was last asked to let the host have it.
#[derive(Default)]
struct Returned {
    bytes: AtomicU64,
    trimming: AtomicBool,
}

/// The descriptor of a large content.
struct Large {
    fd: Owned,
    left: Arc<AtomicUsize>,
}

impl Keeper for Large {
    fn with<T>(&self, does: impl FnOnce(HostFd) -> T) -> T {
        self.fd.with(does)
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a thread of the kernel sleeps.
#[derive(Clone, Copy)]
enum Sleep {
    /// On a futex; the host's signals do not concern it.
    Futex,
    /// In ppoll(2), so that a signal that waits for the program ends the sleep.
    Poll,
}

impl LinuxHost {
    /// The host of a kernel that has a process to itself.
    pub fn server(config: &Config) -> Self {
        // Half of the descriptors stay for clients. Under a limit of the size of files memory had better not be one.
        let unlimited = host::file_limit() == u64::MAX;
        let large =
            if unlimited { usize::try_from(host::descriptor_limit() / 2).unwrap_or(0).min(LARGE_MAX) } else { 0 };
        Self::new(config, Sleep::Futex, large)
    }

    /// The host of a kernel inside the program that uses it: starts no threads, and a sleep ends when the host
    /// has a signal for the sleeping thread (which has all signals blocked meanwhile).
    pub fn local(config: &Config) -> Self {
        Self::new(config, Sleep::Poll, 0)
    }

    fn new(config: &Config, sleep: Sleep, large: usize) -> Self {
        let large = Arc::new(AtomicUsize::new(large));
        Self { memory: Account::new(config.memlimit), sleep, returned: Arc::default(), large }
    }

    /// Has what was freed go back to the host, by a thread of its own a little later. A program's own allocator is left alone.
    fn trim(&self) {
        let returned = self.returned.clone();
        let body = move || {
            std::thread::sleep(TRIM_AFTER);
            returned.bytes.store(0, Ordering::Relaxed);
            returned.trimming.store(false, Ordering::Relaxed);
            #[expect(unsafe_code, reason = "the allocator is libc's")]
            // SAFETY: malloc_trim(3) asks nothing of its caller.
            unsafe {
                malloc_trim(0)
            };
        };
        if std::thread::Builder::new().name("trim".to_owned()).spawn(body).is_err() {
            self.returned.trimming.store(false, Ordering::Relaxed);
        }
    }
}

impl Rumpuser for LinuxHost {
    fn monotonic(&self) -> Duration {
        duration(clock_gettime(ClockId::Monotonic))
    }

    fn wall_clock(&self) -> Duration {
        duration(clock_gettime(ClockId::Realtime))
    }

    fn random(&self, buf: &mut [u8]) {
        let mut rest = buf;
        while !rest.is_empty() {
            match rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty()) {
                Ok(got) => rest = rest.get_mut(got..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn console(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match host::write(STDOUT, rest) {
                Ok(wrote) => rest = rest.get(wrote..).unwrap_or_default(),
                Err(host::Error::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn parker(&self) -> Box<dyn Parker> {
        match self.sleep {
            Sleep::Futex => Box::new(FutexParker::default()),
            Sleep::Poll => Box::new(PollParker::default()),
        }
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<()> {
        match self.sleep {
            Sleep::Poll => Err(Errno::EAGAIN),
            Sleep::Futex => {
                std::thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(|_| Errno::EAGAIN)
            }
        }
    }

    fn reserve(&self, bytes: usize) -> Result<()> {
        self.memory.reserve(bytes)
    }

    fn release(&self, bytes: usize) {
        self.memory.release(bytes);
        let returned = self.returned.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if returned >= TRIM_BYTES
            && matches!(self.sleep, Sleep::Futex)
            && !self.returned.trimming.swap(true, Ordering::Relaxed)
        {
            self.trim();
        }
    }

    fn cpus(&self) -> usize {
        let set = rustix::thread::sched_getaffinity(None);
        set.map_or(1, |set| set.count() as usize).max(1)
    }

    fn physical_memory(&self) -> u64 {
        let info = rustix::system::sysinfo();
        info.totalram as u64 * u64::from(info.mem_unit)
    }

    fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn host_pid(&self) -> u32 {
        rustix::process::getpid().as_raw_nonzero().get() as u32
    }

    fn group_of(&self, pid: i32) -> Option<Group> {
        jobs::group_of(pid)
    }

    fn session_of_group(&self, pgrp: i32) -> Option<i32> {
        jobs::session_of_group(pgrp)
    }

    fn is_orphaned(&self, pgrp: i32) -> bool {
        jobs::is_orphaned(pgrp)
    }

    fn process_file(&self, pid: i32, name: &str) -> Option<Vec<u8>> {
        jobs::process_file(pid, name)
    }

    fn process_link(&self, pid: i32, name: &str) -> Option<Vec<u8>> {
        jobs::process_link(pid, name)
    }

    fn process_threads(&self, pid: i32) -> Vec<i32> {
        jobs::process_threads(pid)
    }

    fn has_terminal(&self, pid: i32) -> bool {
        jobs::has_terminal(pid)
    }

    fn signal_group(&self, pgrp: i32, signal: i32) {
        if let Some(signal) = signal_to_linux(signal) {
            jobs::signal_group(pgrp, signal);
        }
    }

    fn signal_process(&self, pid: i32, signal: i32) {
        if let Some(signal) = signal_to_linux(signal) {
            jobs::signal_process(pid, signal);
        }
    }

    fn shared_memory(&self) -> Result<Box<dyn SharedMemory>> {
        Ok(Box::new(LinuxShared::new()?))
    }

    fn bell(&self) -> Result<Box<dyn Bell>> {
        Ok(Box::new(LinuxBell::new(Ok)?))
    }

    fn large_memory(&self) -> Option<Box<dyn SharedMemory>> {
        let less = |left: usize| left.checked_sub(1);
        self.large.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        let left = self.large.clone();
        match file_memory() {
            Ok(fd) => Some(Box::new(LinuxShared::keep(Large { fd, left }))),
            Err(_) => {
                left.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn open_host(&self, path: &Path, access: Access) -> Result<Box<dyn HostFile>> {
        Ok(Box::new(LinuxFile::open(path, access)?))
    }

    fn open_folder(&self, path: &Path) -> Result<Box<dyn HostNode>> {
        Ok(Box::new(LinuxNode::open_folder(path)?))
    }

    fn create_host(&self, path: &Path) -> Result<Box<dyn HostFile>> {
        Ok(Box::new(LinuxFile::create(path)?))
    }

    fn open_tap(&self, name: &str) -> Result<Arc<dyn Port>> {
        Ok(Arc::new(LinuxTap::open(name)?))
    }

    fn open_stream(&self, to: &str) -> Result<Arc<dyn Port>> {
        Ok(Arc::new(LinuxStream::open(to)?))
    }

    fn open_bus(&self, path: &Path, len: usize) -> Result<Arc<dyn Bus>> {
        Ok(Arc::new(LinuxBus::open(path, len)?))
    }
}

#[expect(unsafe_code, reason = "the allocator is libc's")]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> i32;
}

fn duration(time: Timespec) -> Duration {
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

fn remaining(deadline: Option<Duration>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_sub(duration(clock_gettime(ClockId::Monotonic))))
}

#[derive(Default)]
struct FutexParker {
    token: Mutex<bool>,
    changed: Condvar,
}

impl Parker for FutexParker {
    fn park(&self, deadline: Option<Duration>) -> Woken {
        let mut token = lock(&self.token);
        while !*token {
            token = match remaining(deadline) {
                None => self.changed.wait(token).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Woken::TimedOut,
                Some(left) => self.changed.wait_timeout(token, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        *token = false;
        Woken::Unparked
    }

    fn unpark(&self) {
        *lock(&self.token) = true;
        self.changed.notify_one();
    }
}

/// `IDLE`, `TOLD` (an unpark is pending), or `ASLEEP` (the eventfd must be written).
#[derive(Default)]
struct PollParker {
    state: AtomicU32,
    event: OnceLock<Owned>,
}

const IDLE: u32 = 0;
const TOLD: u32 = 1;
const ASLEEP: u32 = 2;

impl PollParker {
    fn sleep(&self, event: Option<&Owned>, deadline: Option<Duration>) -> Woken {
        let mut watched = SigSet::ALL;
        loop {
            let (Some(event), Ok(signals)) = (event, host::signal::signalfd(watched)) else {
                // Without descriptors there is nothing to sleep on: look again soon.
                host::sleep(remaining(deadline).unwrap_or(Duration::MAX).min(Duration::from_millis(10)));
                return Woken::Unparked;
            };
            let signals = host::dup_from(signals.fd(), LOWEST_PRIVATE_FD).unwrap_or(signals);
            let mut fds = [PollFd::new(event.fd(), host::POLLIN), PollFd::new(signals.fd(), host::POLLIN)];
            match host::ppoll(&mut fds, remaining(deadline), None) {
                Ok(0) => return Woken::TimedOut,
                Ok(_) if fds[1].revents != 0 => {
                    let ignored = ignored(signal::pending());
                    if !signal::pending().without(ignored).is_empty() {
                        return Woken::Signalled;
                    }
                    watched = watched.without(ignored);
                }
                _ => return Woken::Unparked,
            }
        }
    }

    fn event(&self) -> Option<&Owned> {
        if self.event.get().is_none() {
            let low = host::eventfd().ok()?;
            let high = host::dup_from(low.fd(), LOWEST_PRIVATE_FD).unwrap_or(low);
            let _ = self.event.set(high);
        }
        self.event.get()
    }
}

/// Those of `set` that the program does not notice: they interrupt nothing.
fn ignored(set: SigSet) -> SigSet {
    // SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
    const BY_DEFAULT: [i32; 4] = [17, 18, 23, 28];
    let ignored = |signal: &i32| match signal::action(*signal).handler {
        SIG_IGN => true,
        SIG_DFL => BY_DEFAULT.contains(signal),
        _ => false,
    };
    set.iter().filter(ignored).fold(SigSet::EMPTY, |all, signal| all.union(SigSet::of(signal)))
}

impl Parker for PollParker {
    fn park(&self, deadline: Option<Duration>) -> Woken {
        let event = self.event();
        if self.state.compare_exchange(IDLE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.state.store(IDLE, Ordering::SeqCst);
            return Woken::Unparked;
        }
        let woken = self.sleep(event, deadline);
        if self.state.swap(IDLE, Ordering::SeqCst) == TOLD {
            if let Some(event) = event {
                host::clear_eventfd(event.fd());
            }
            return if woken == Woken::Signalled { woken } else { Woken::Unparked };
        }
        woken
    }

    fn unpark(&self) {
        if self.state.swap(TOLD, Ordering::SeqCst) == ASLEEP
            && let Some(event) = self.event.get()
        {
            host::signal_eventfd(event.fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parkers_keep_an_early_unpark_and_know_their_deadline() {
        for host in [LinuxHost::server(&Config::default()), LinuxHost::local(&Config::default())] {
            let parker = host.parker();
            parker.unpark();
            assert_eq!(parker.park(None), Woken::Unparked);
            assert_eq!(parker.park(Some(host.monotonic() + Duration::from_millis(5))), Woken::TimedOut);
        }
    }

    #[test]
    fn a_sleeper_in_ppoll_is_woken_by_another_thread() {
        let parker: std::sync::Arc<dyn Parker> = LinuxHost::local(&Config::default()).parker().into();
        let sleeper = parker.clone();
        let thread = std::thread::spawn(move || sleeper.park(None));
        std::thread::sleep(Duration::from_millis(10));
        parker.unpark();
        assert_eq!(thread.join().ok(), Some(Woken::Unparked));
    }
}
