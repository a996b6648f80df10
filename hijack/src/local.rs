//! A rump kernel in this process (`RUMP_SERVER` unset or `local:`): the only file that names the kernel.
//!
//! A call is a function call on the caller's own thread, and a copy of memory is a copy, checked by the host. The kernel starts no
//! threads: whoever waits runs its timers, and sleeps in ppoll(2) so that a signal, or a host descriptor of a mixed poll, ends the sleep.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use abi::poll::PollFd;
use abi::syscalls::nr;
use abi::time::Timespec;
use abi::{Errno, In, InOut, Region, Result, Slot};
use client::fds::Kept;
use client::signals::{self, Blocked};
use client::{Caller, HostPollFd};
use kernel::Kernel;
use kernel::config::Config;
use kernel::proc::{Lwp, Proc};
use kernel::rumpuser::jobs::Group;
use kernel::rumpuser::linux::LinuxHost;
use kernel::rumpuser::shared::{Keeper, LinuxShared};
use kernel::rumpuser::{Bell, LinuxBell, Parker, Rumpuser, SharedMemory, Woken};
use kernel::usermem::UserMem;
use rustix_futex_sync::OnceLock;
use sysproxy::host::{self, HostFd, Owned, POLLIN, SigSet, memory};

/// A kernel in this process, and the process that we are in it.
pub struct Local {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    /// Threads of calls that are over, each owned by its slot: most calls need not allocate one.
    spare: [AtomicPtr<Lwp>; SPARE],
}

/// How many threads of calls are kept.
const SPARE: usize = 8;

/// The thread of a call in progress.
struct Running<'a> {
    lwp: ManuallyDrop<Arc<Lwp>>,
    spare: &'a [AtomicPtr<Lwp>; SPARE],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: it ends here.
        let mut lwp = unsafe { ManuallyDrop::take(&mut self.lwp) };
        if !lwp.renew() {
            return;
        }
        let lwp = Arc::into_raw(lwp).cast_mut();
        let free = |slot: &AtomicPtr<Lwp>| {
            slot.compare_exchange(core::ptr::null_mut(), lwp, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        if !self.spare.iter().any(free) {
            // SAFETY: made above, and nobody has it.
            drop(unsafe { Arc::from_raw(lwp) });
        }
    }
}

thread_local! {
    /// The descriptor that the call in progress has handed over, or -1.
    static GIVEN: Cell<i32> = const { Cell::new(-1) };
    /// Host descriptors that end the thread's sleep, while it lasts; see [`also`].
    static ALSO: Cell<(*mut HostPollFd, usize)> = const { Cell::new((core::ptr::null_mut(), 0)) };
}

impl Local {
    /// Boots a kernel as the environment says, read through `variable`; the error is the line for the user.
    pub fn boot(name: &[u8], variable: impl Fn(&'static str) -> Option<String>) -> core::result::Result<Self, String> {
        let cpus = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
        let mut config = Config::from_environment(variable, cpus).map_err(|error| error.to_string())?;
        config.threads = false;
        let host = LocalHost { inner: LinuxHost::local(&config) };
        let boot = || {
            let kernel = Kernel::boot(Arc::new(host), config)?;
            let proc = kernel.spawn(name)?;
            proc.set_prefix(crate::config().and_then(|spec| spec.prefix.as_deref()).unwrap_or_default());
            proc.host_pid.store(host::getpid(), Ordering::Relaxed);
            proc.set_local_pid(host::getpid());
            // The host limits the numbers of descriptors.
            proc.lift_limit();
            client::fds::prepare(false).map_err(host::errno)?;
            Ok(Self { kernel, proc, spare: Default::default() })
        };
        boot().map_err(|error: Errno| format!("rump kernel does not boot: {error}"))
    }
}

impl Caller for Local {
    fn call(&self, number: u32, args: &[u64], regions: &[Region]) -> Result<[i64; 2]> {
        let _blocked = Blocked::lightly();
        let running = self.run();
        kernel::syscall::syscall(&self.kernel, &self.proc, &running.lwp, number, args, &OwnMemory { regions })
    }

    fn call_or_host(
        &self,
        number: u32,
        args: &[u64],
        regions: &[Region],
        host: &mut [HostPollFd],
    ) -> Result<Option<[i64; 2]>> {
        let _blocked = Blocked::enter();
        match also(host, || self.call(number, args, regions)) {
            Err(Errno::EINTR) if look(host)? > 0 => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn call_for_descriptor(&self, number: u32, args: &[u64]) -> Result<Option<Owned>> {
        let _blocked = Blocked::enter();
        let answer = self.call(number, args, &[]);
        let given = GIVEN.replace(-1);
        let given = (given >= 0).then(|| Owned::new(HostFd(given)));
        answer.map(|_| given)
    }

    fn poll_mixed(
        &self,
        rump: &mut [PollFd],
        host: &mut [HostPollFd],
        timeout: Option<Duration>,
    ) -> Result<(usize, usize)> {
        let _blocked = Blocked::enter();
        let ready = look(host)?;
        let timeout = if ready > 0 { Some(Duration::ZERO) } else { timeout };
        match (also(host, || self.pollts(rump, timeout)), look(host)?) {
            (Ok(rump), host) => Ok((rump, host)),
            (Err(Errno::EINTR), host @ 1..) => {
                rump.iter_mut().for_each(|fd| fd.revents = 0);
                Ok((0, host))
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// Runs a call whose sleep the descriptors of `host` end.
fn also<T>(host: &mut [HostPollFd], call: impl FnOnce() -> T) -> T {
    let before = ALSO.replace((host.as_mut_ptr(), host.len()));
    let answer = call();
    ALSO.set(before);
    answer
}

/// Looks at the host's descriptors without waiting.
fn look(host: &mut [HostPollFd]) -> Result<usize> {
    host::ppoll(host, Some(Duration::ZERO), None).map_err(host::errno)
}

impl Local {
    /// A thread for a call.
    fn run(&self) -> Running<'_> {
        let mut kept = self.spare.iter().map(|slot| slot.swap(core::ptr::null_mut(), Ordering::AcqRel));
        let lwp = match kept.find(|lwp| !lwp.is_null()) {
            // SAFETY: a slot owned it, and does no more.
            Some(lwp) => unsafe { Arc::from_raw(lwp) },
            None => Lwp::new(&*self.kernel.rumpuser, 0),
        };
        Running { lwp: ManuallyDrop::new(lwp), spare: &self.spare }
    }

    fn pollts(&self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize> {
        let mut time = timeout.map(Timespec::from_duration);
        let time = time.as_mut().map_or(In::NULL, |time| In::new(time));
        let (set, len) = (InOut::new(fds), fds.len() as u64);
        let regions: Vec<Region> = [set.region(), time.region()].into_iter().flatten().collect();
        self.call(nr::pollts, &[set.to_slot(), len, time.to_slot(), 0], &regions).map(|[count, _]| count as usize)
    }
}

/// The program's memory, in which the library's own lies.
struct OwnMemory<'a> {
    /// What the call has named.
    regions: &'a [Region],
}

impl OwnMemory<'_> {
    /// The library's own memory that holds an address, if it holds `len` bytes from there.
    fn own(&self, addr: u64, len: usize) -> Option<&Region> {
        self.regions.iter().find(|region| region.own && region.holds(addr, len))
    }
}

impl UserMem for OwnMemory<'_> {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        if self.own(addr, buf.len()).is_some() {
            // SAFETY: the caller of the call, in this thread, keeps it.
            unsafe { memory::read_plainly(addr, buf) };
            return Ok(());
        }
        crate::user::read_bytes(addr as usize, buf)
    }

    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        if let Some(region) = self.own(addr, 1) {
            let room = region.len - (addr - region.addr) as usize;
            // SAFETY: the caller of the call, in this thread, keeps it.
            let bytes = unsafe { core::slice::from_raw_parts(addr as *const u8, room.min(max)) };
            let end = bytes.iter().position(|byte| *byte == 0).ok_or(Errno::ENAMETOOLONG)?;
            return Ok(bytes.get(..end).unwrap_or_default().to_vec());
        }
        let text = crate::user::read_string(addr as usize, max)?;
        if text.len() < max { Ok(text) } else { Err(Errno::ENAMETOOLONG) }
    }

    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        if self.own(addr, data.len()).is_some() {
            // SAFETY: the caller of the call, in this thread, keeps it.
            unsafe { memory::write_plainly(addr, data) };
            return Ok(());
        }
        crate::user::write_bytes(addr as usize, data)
    }

    fn takes_descriptors(&self) -> bool {
        true
    }

    fn hand_over(&self, _request: u64, fd: Owned) -> Result<()> {
        let before = GIVEN.replace(fd.into_fd().0);
        drop((before >= 0).then(|| Owned::new(HostFd(before))));
        Ok(())
    }

    fn raise(&self, signal: i32) {
        if let Some(signal) = abi::signal::signal_to_linux(signal) {
            let _ = host::signal::raise(signal);
        }
    }
}

/// The real host, on which a sleep ends for a signal or a descriptor of a mixed poll.
struct LocalHost {
    inner: LinuxHost,
}

impl Rumpuser for LocalHost {
    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }
    fn wall_clock(&self) -> Duration {
        self.inner.wall_clock()
    }
    fn random(&self, buf: &mut [u8]) {
        self.inner.random(buf);
    }
    fn console(&self, bytes: &[u8]) {
        self.inner.console(bytes);
    }
    fn parker(&self) -> Box<dyn Parker> {
        Box::new(LocalParker { state: AtomicU32::new(IDLE), bell: OnceLock::new() })
    }
    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> Result<()> {
        Err(Errno::EAGAIN)
    }
    fn reserve(&self, bytes: usize) -> Result<()> {
        self.inner.reserve(bytes)
    }
    fn release(&self, bytes: usize) {
        self.inner.release(bytes);
    }
    fn cpus(&self) -> usize {
        self.inner.cpus()
    }
    fn physical_memory(&self) -> u64 {
        self.inner.physical_memory()
    }
    fn host_name(&self) -> String {
        self.inner.host_name()
    }
    fn host_pid(&self) -> u32 {
        self.inner.host_pid()
    }
    fn bell(&self) -> Result<Box<dyn Bell>> {
        let keep = |low: Owned| Kept::new(low).map(High).map_err(host::errno);
        Ok(Box::new(LinuxBell::new(keep)?))
    }
    fn group_of(&self, pid: i32) -> Option<Group> {
        self.inner.group_of(pid)
    }
    fn session_of_group(&self, pgrp: i32) -> Option<i32> {
        self.inner.session_of_group(pgrp)
    }
    fn is_orphaned(&self, pgrp: i32) -> bool {
        self.inner.is_orphaned(pgrp)
    }
    fn process_file(&self, pid: i32, name: &str) -> Option<Vec<u8>> {
        self.inner.process_file(pid, name)
    }
    fn process_link(&self, pid: i32, name: &str) -> Option<Vec<u8>> {
        self.inner.process_link(pid, name)
    }
    fn process_threads(&self, pid: i32) -> Vec<i32> {
        self.inner.process_threads(pid)
    }
    fn has_terminal(&self, pid: i32) -> bool {
        self.inner.has_terminal(pid)
    }
    fn signal_group(&self, pgrp: i32, signal: i32) {
        self.inner.signal_group(pgrp, signal);
    }
    fn signal_process(&self, pid: i32, signal: i32) {
        self.inner.signal_process(pid, signal);
    }
    fn shared_memory(&self) -> Result<Box<dyn SharedMemory>> {
        let low = host::memfd(c"rump-file").map_err(host::errno)?;
        let high = Kept::new(low).map_err(host::errno)?;
        Ok(Box::new(LinuxShared::keep(High(high))))
    }
}

/// A descriptor of the library's own, out of the program's way.
struct High(Kept);

impl Keeper for High {
    fn with<T>(&self, does: impl FnOnce(HostFd) -> T) -> T {
        let _blocked = Blocked::enter();
        self.0.with(does)
    }
}

const IDLE: u32 = 0;
/// An unpark came first.
const TOLD: u32 = 1;
/// The bell must be rung.
const ASLEEP: u32 = 2;

struct LocalParker {
    state: AtomicU32,
    /// An eventfd, made by the first sleep.
    bell: OnceLock<Kept>,
}

impl Parker for LocalParker {
    fn park(&self, deadline: Option<Duration>) -> Woken {
        // A handler that comes is to end the sleep.
        signals::block_in_earnest();
        if self.bell.get().is_none()
            && let Ok(bell) = host::eventfd().and_then(Kept::new)
        {
            let _ = self.bell.set(bell);
        }
        if self.state.swap(ASLEEP, Ordering::SeqCst) == TOLD {
            self.state.store(IDLE, Ordering::SeqCst);
            return Woken::Unparked;
        }
        let woken = self.sleep(deadline);
        if self.state.swap(IDLE, Ordering::SeqCst) == TOLD { Woken::Unparked } else { woken }
    }

    fn unpark(&self) {
        if self.state.swap(TOLD, Ordering::SeqCst) == ASLEEP
            && let Some(bell) = self.bell.get()
        {
            bell.with(host::signal_eventfd);
        }
    }
}

impl LocalParker {
    fn sleep(&self, deadline: Option<Duration>) -> Woken {
        // Signals that the program blocks itself do not end a sleep.
        let signals = host::signal::signalfd(SigSet::ALL.without(signals::outer())).and_then(Kept::new).ok();
        let own = [self.bell.get(), signals.as_ref()];
        let mut fds = own.map(|_| host::PollFd::new(HostFd(-1), POLLIN)).to_vec();
        let name = |fds: &mut [host::PollFd]| {
            fds.iter_mut().zip(own).for_each(|(fd, own)| fd.fd = own.map_or(-1, |own| own.fd().0));
        };
        let (also, count) = ALSO.get();
        if !also.is_null() {
            // SAFETY: `also` of this thread has set it, and waits for us before its slice ends.
            fds.extend_from_slice(unsafe { core::slice::from_raw_parts(also, count) });
        }
        let timeout = deadline.map(|deadline| deadline.saturating_sub(host::uptime()));
        let ready = client::fds::sleep(&mut fds, name, timeout);
        let mut fired = fds.iter().map(|fd| fd.revents != 0);
        match (ready, fired.next(), fired.any(|fired| fired)) {
            (Ok(0), ..) => Woken::TimedOut,
            (Ok(_), Some(true), _) => {
                self.bell.get().into_iter().for_each(|bell| bell.with(host::clear_eventfd));
                Woken::Unparked
            }
            (Ok(_), _, true) => Woken::Signalled,
            _ => Woken::Unparked,
        }
    }
}
