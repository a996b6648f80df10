//! The rump process of this process: connection, working directory, umask, fork and spawn.
//!
//! A child of fork(2) has its own rump process before it runs a line of the program: the parent asks the server for a copy (prefork)
//! and the child claims it, in handlers that libc runs inside fork, daemon and forkpty alike. The child of posix_spawn(3), and so of
//! system and popen, shares the parent's memory until it execs; what it does to descriptors goes to a [`Borrower`], never to
//! the parent's table.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use abi::{Errno, Result};
use client::signals::Blocked;
use client::{Caller, Handshake, Remote, Retry, Token, stubs};
use rustix_futex_sync::Mutex;
use sysproxy::HostFd;

use crate::calls::{self, Outcome};
use crate::fds::{self, RumpFd};
use crate::local::Local;
use crate::route::{self, Owner};
use crate::rump::{copies, dir};
use crate::{alloc, first, pages, raw, roomy, sandbox, sets, trace};

/// Where the rump process is.
pub enum Rump {
    /// On a server.
    Remote(Remote),
    /// In a kernel of this process.
    Local(Local),
    /// Nowhere any more: the child of a fork could not claim its copy.
    Lost,
}

/// The rump process; leaked when a fork replaces it, null before the constructor.
static RUMP: AtomicPtr<Rump> = AtomicPtr::new(core::ptr::null_mut());

/// Whether relative paths go to the rump kernel.
static CWD_IN_RUMP: AtomicBool = AtomicBool::new(false);

/// The process that the tables describe.
static PID: AtomicI32 = AtomicI32::new(0);

thread_local! {
    /// What the thread is about in a function of libc that spawns.
    static SPAWNING: Cell<Spawning> = const { Cell::new(Spawning::No) };
    /// End of the stack that the child's calls run on; 0 before its first.
    static STACK: Cell<usize> = const { Cell::new(0) };
    /// What the child that shares this thread's memory has made.
    static BORROWER: Cell<Option<&'static Borrower>> = const { Cell::new(None) };
    /// The copy of the rump process that a fork is to claim.
    static FORKING: Cell<Option<Token>> = const { Cell::new(None) };
    /// Signals are blocked between the handlers of a fork.
    static BLOCKED: Cell<ManuallyDrop<Option<Blocked>>> = const { Cell::new(ManuallyDrop::new(None)) };
}

/// Whether a thread is inside posix_spawn or a function that uses it.
#[derive(Clone, Copy)]
enum Spawning {
    /// It is not.
    No,
    /// It is, and the child has a copy of the rump process to claim, if there could be one.
    Yes(Option<Token>),
}

/// The view of a child that shares its parent's memory.
pub struct Borrower {
    /// Its own rump process; none in a kernel of the parent's, which it must leave alone.
    remote: Option<Remote>,
    cwd_in_rump: AtomicBool,
    table: Mutex<BTreeMap<i32, RumpFd>>,
    /// The library's host descriptors that only this child has.
    numbers: Vec<HostFd>,
}

impl Borrower {
    /// The rump descriptor behind a number.
    pub fn lookup(&self, fd: i32) -> Option<RumpFd> {
        self.table.lock().get(&fd).copied()
    }

    /// Says what a number is now, and returns what it was.
    pub fn set(&self, fd: i32, rump: Option<RumpFd>) -> Option<RumpFd> {
        let mut table = self.table.lock();
        match rump {
            Some(rump) => table.insert(fd, rump),
            None => table.remove(&fd),
        }
    }

    /// The rump numbers from `first` to `last`.
    pub fn range(&self, first: u32, last: u32) -> Vec<(i32, RumpFd)> {
        let wanted = |fd: i32| (first..=last).contains(&(fd as u32));
        self.table.lock().iter().filter(|(fd, _)| wanted(**fd)).map(|(fd, rump)| (*fd, *rump)).collect()
    }
}

/// Takes up the rump process; once, in the constructor.
pub fn init(rump: Rump, cwd_in_rump: bool) {
    PID.store(raw::getpid(), Ordering::Relaxed);
    CWD_IN_RUMP.store(cwd_in_rump, Ordering::Relaxed);
    RUMP.store(Box::into_raw(Box::new(rump)), Ordering::Release);
    // SAFETY: the three functions live as long as the library, which is never unloaded.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
}

/// The rump process, once there is one.
fn rump() -> Option<&'static Rump> {
    // SAFETY: what was stored is never freed.
    unsafe { RUMP.load(Ordering::Acquire).as_ref() }
}

/// Whether the constructor has run.
pub fn ready() -> bool {
    rump().is_some()
}

/// The rump kernel that serves this process.
///
/// `ENOTCONN` where there is none.
pub fn kernel() -> Result<&'static dyn Caller> {
    if shares_memory() {
        let remote = borrower_or_new().remote.as_ref().ok_or(Errno::ENOTCONN)?;
        return Ok(remote);
    }
    match rump() {
        Some(Rump::Remote(remote)) => Ok(remote),
        Some(Rump::Local(local)) => Ok(local),
        Some(Rump::Lost) | None => Err(Errno::ENOTCONN),
    }
}

/// The connection that an exec hands on: none for a kernel in this process.
pub fn remote() -> Option<&'static Remote> {
    if shares_memory() {
        return borrower_or_new().remote.as_ref();
    }
    match rump() {
        Some(Rump::Remote(remote)) => Some(remote),
        _ => None,
    }
}

/// Whether this is a child that still shares its parent's memory.
pub fn shares_memory() -> bool {
    matches!(SPAWNING.get(), Spawning::Yes(_)) && raw::getpid() != PID.load(Ordering::Relaxed)
}

/// Runs a call, on a larger stack where it is made by a child that has only a small one.
pub fn with_room(call: impl FnOnce() -> Outcome) -> Outcome {
    if !shares_memory() {
        return call();
    }
    if STACK.get() == 0 {
        let rw = raw::word(libc::PROT_READ | libc::PROT_WRITE);
        let private = raw::word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let map = raw::call(libc::SYS_mmap, [0, roomy::STACK_BYTES, rw, private, usize::MAX, 0]);
        match raw::checked(map) {
            Ok(start) => STACK.set(start + roomy::STACK_BYTES),
            Err(_) => return call(),
        }
    }
    // SAFETY: the mapping is the child's alone, which has one thread and makes one call at a time.
    unsafe { roomy::on_stack(STACK.get(), call) }.unwrap_or(Outcome::Host)
}

/// The view of a child that shares its parent's memory and has changed something.
pub fn borrower() -> Option<&'static Borrower> {
    if shares_memory() { BORROWER.get() } else { None }
}

/// As [`borrower`], for a change: the child gets a rump process of its own.
pub fn borrower_for_change() -> Option<&'static Borrower> {
    shares_memory().then(borrower_or_new)
}

fn borrower_or_new() -> &'static Borrower {
    if let Some(child) = BORROWER.get() {
        return child;
    }
    let before: Vec<HostFd> = client::fds::all().collect();
    let remote = claim();
    let child: &Borrower = Box::leak(Box::new(Borrower {
        remote,
        cwd_in_rump: AtomicBool::new(CWD_IN_RUMP.load(Ordering::Relaxed)),
        table: Mutex::new(fds::entries(0, u32::MAX).into_iter().collect()),
        numbers: client::fds::all().filter(|fd| !before.contains(fd)).collect(),
    }));
    BORROWER.set(Some(child));
    child
}

/// Claims the copy of the rump process for a child that shares its parent's memory.
fn claim() -> Option<Remote> {
    let (Some(Rump::Remote(parent)), Spawning::Yes(Some(token))) = (rump(), SPAWNING.get()) else { return None };
    Remote::connect(&parent.url()?, Handshake::Fork(token), Retry::Never).ok()
}

/// Runs a function of libc that spawns a child in this memory, and forgets afterwards what the child did.
pub fn spawn<R>(real: impl FnOnce() -> R) -> R {
    let (Some(rump), Spawning::No) = (rump(), SPAWNING.get()) else { return real() };
    let token = if let Rump::Remote(remote) = rump { remote.prefork().ok() } else { None };
    SPAWNING.set(Spawning::Yes(token));
    first::attend();
    let answer = real();
    first::relax();
    SPAWNING.set(Spawning::No);
    if let top @ 1.. = STACK.replace(0) {
        raw::call(libc::SYS_munmap, [top - roomy::STACK_BYTES, roomy::STACK_BYTES]);
        pages::forget();
    }
    if let Some(child) = BORROWER.take() {
        let _blocked = Blocked::enter();
        child.numbers.iter().for_each(|fd| client::fds::forget(*fd));
        child.table.lock().keys().filter(|fd| fds::entry(**fd).is_none()).for_each(|fd| fds::unmark(*fd));
    }
    answer
}

/// Asks for the copy of the rump process that the coming fork will claim.
pub fn prefork() -> Result<()> {
    if let Some(Rump::Remote(remote)) = rump() {
        FORKING.set(Some(remote.prefork()?));
    }
    Ok(())
}

/// Forgets the copy, for a fork that did not happen.
pub fn forget_fork() {
    FORKING.set(None);
}

extern "C" fn before_fork() {
    BLOCKED.set(ManuallyDrop::new(Some(Blocked::enter())));
    if FORKING.get().is_none() {
        // For daemon and forkpty; the child finds nothing to claim if this fails.
        let _ = prefork();
    }
    copies::before_fork();
    fds::before_fork();
    alloc::before_fork();
}

/// Gives back what [`before_fork`] took.
fn unlock() -> Option<Blocked> {
    // SAFETY: libc has called `before_fork` in this thread before.
    unsafe {
        alloc::after_fork();
        fds::after_fork();
        copies::after_fork();
    }
    ManuallyDrop::into_inner(BLOCKED.replace(ManuallyDrop::new(None)))
}

extern "C" fn after_fork_in_parent() {
    drop(unlock());
    FORKING.set(None);
}

extern "C" fn after_fork_in_child() {
    let blocked = unlock();
    PID.store(raw::getpid(), Ordering::Relaxed);
    first::after_fork_in_child();
    sets::after_fork_in_child();
    // A mapping can be left out of a fork.
    pages::forget();
    if let Some(Rump::Remote(parent)) = rump() {
        let claimed = FORKING.take().ok_or(Errno::ENOTCONN.into()).and_then(|token| parent.fork_child(token));
        let child = claimed.map_or_else(
            |error| {
                trace::say(format_args!("fork: the child has no rump process: {error}"));
                Rump::Lost
            },
            Rump::Remote,
        );
        RUMP.store(Box::into_raw(Box::new(child)), Ordering::Release);
    }
    drop(blocked);
}

/// Whether relative paths go to the rump kernel.
pub fn cwd_in_rump() -> bool {
    borrower().map_or(&CWD_IN_RUMP, |child| &child.cwd_in_rump).load(Ordering::Relaxed)
}

/// As [`cwd_in_rump`], of the process itself.
#[inline(always)]
pub fn own_cwd_in_rump() -> bool {
    CWD_IN_RUMP.load(Ordering::Relaxed)
}

fn set_cwd_in_rump(inside: bool) {
    borrower_for_change().map_or(&CWD_IN_RUMP, |child| &child.cwd_in_rump).store(inside, Ordering::Relaxed);
}

/// Makes a call of the host that leaves the rump working directory behind.
fn leave(nr: i64, arg: usize) -> Outcome {
    if !cwd_in_rump() {
        return Outcome::Host;
    }
    if let (true, refused @ Outcome::Done(_)) = (sandbox::on(), sandbox::judge(nr as usize, &[arg, 0, 0, 0, 0, 0])) {
        return refused;
    }
    let result = raw::call(nr, [arg]);
    if result == 0 {
        set_cwd_in_rump(false);
    }
    Outcome::Done(result)
}

fn entered(done: usize) -> usize {
    set_cwd_in_rump(true);
    done
}

/// See chdir(2).
pub fn chdir(path: usize) -> Outcome {
    match route::path(path) {
        Owner::Host | Owner::Descriptor(_) => leave(libc::SYS_chdir, path),
        Owner::Rump(name) => calls::serve(true, || dir::chdir(&name.at()).map(entered)),
    }
}

/// See fchdir(2).
pub fn fchdir(fd: i32) -> Outcome {
    match fds::lookup(fd) {
        None => leave(libc::SYS_fchdir, raw::word(fd)),
        Some(rump) => calls::serve(true, || dir::fchdir(rump).map(entered)),
    }
}

/// See getcwd(2).
pub fn getcwd(buf: usize, size: usize) -> Outcome {
    if cwd_in_rump() { calls::serve(true, || dir::getcwd(buf, size)) } else { Outcome::Host }
}

/// See umask(2): both kernels have one, and the host's answers.
pub fn umask(mask: u32) -> Outcome {
    if rump().is_some() {
        let _blocked = Blocked::enter();
        let _ = kernel().and_then(|kernel| stubs::umask(kernel, mask & 0o777));
    }
    Outcome::Host
}

/// The library's own host descriptors, in order.
pub fn own_numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> = client::fds::all().map(|fd| fd.0 as u32).collect();
    numbers.extend(trace::numbers().map(|fd| fd as u32));
    numbers.push(fds::template() as u32);
    numbers.sort_unstable();
    numbers
}

/// Moves the library's own descriptor away from a number that the program wants for something else.
pub fn move_away(fd: i32) {
    fds::move_away(fd);
    trace::move_away(fd);
    if client::fds::owns(HostFd(fd))
        && let Some(remote) = remote()
    {
        let _ = remote.move_away(HostFd(fd));
    }
}
