//! The rump process of this process: connection, working directory, umask, fork and spawn.
//!
//! A child of fork(2) has its own rump process before it runs a line of the program: the parent asks the server for a copy (prefork)
//! and the child claims it, in handlers that libc runs inside fork, daemon and forkpty alike. What shares the parent's memory
//! (vfork, posix_spawn) is told in [`borrower`](crate::borrower), the odder ways to make a process in [`clone`](crate::clone).

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use abi::fcntl::F_CLOSEM;
use abi::{Errno, Fd, In, InOut, Result};
use client::lock::Lock;
use client::signals::{Blocked, Held};
use client::{Caller, Heir, Remote, stubs};

use crate::borrower::{self, shares_memory};
use crate::calls::{self, Outcome};
use crate::later::Later;
use crate::local::Local;
use crate::quick::LINE;
use crate::route::{self, Owner};
use crate::rump::{copies, dir};
use crate::{alloc, clone, entry, fds, first, pages, raw, sandbox, sets, trace};

/// Where the rump process is.
pub enum Rump {
    /// On a server, to which the process connects when it needs it.
    Later(Later),
    /// On a server.
    Remote(Remote),
    /// In a kernel of this process.
    Local(Local),
    /// Nowhere any more: the child of a fork could not claim its copy.
    Lost,
}

/// The rump process; leaked when another replaces it, null before the constructor.
static RUMP: AtomicPtr<Rump> = AtomicPtr::new(core::ptr::null_mut());

/// The process that the tables describe.
static PID: AtomicI32 = AtomicI32::new(0);

/// Non-zero in memory whose owner has a rump process: the host zeroes it in the child of every kind of fork, so that one which
/// came about behind the library's back is noticed and does not speak on its parent's connection. Null if the host is too old.
static CLAIMED: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// Held by the thread that connects, and over fork.
static CONNECTING: Lock<()> = Lock::new(());

thread_local! {
    /// What a fork is to claim.
    static FORKING: Cell<Option<Copy>> = const { Cell::new(None) };
    /// What a fork that is over was to claim.
    static DONE: Cell<Option<Copy>> = const { Cell::new(None) };
    /// Signals are blocked between the handlers of a fork.
    static BLOCKED: Cell<ManuallyDrop<Option<Blocked>>> = const { Cell::new(ManuallyDrop::new(None)) };
}

/// A copy of the rump process that the server has made.
#[derive(Clone, Copy)]
struct Copy {
    heir: Heir,
    /// [`fds::changes`] before it was made.
    changes: usize,
    /// Whether the child will share the host's descriptors: what is closed here is closed there.
    shared: bool,
}

impl Copy {
    fn ask(remote: &Remote, shared: bool) -> Result<Self> {
        let changes = fds::changes();
        Ok(Self { heir: remote.prefork(!shared)?, changes, shared })
    }
}

/// Takes up the rump process; once, in the constructor.
pub fn init(rump: Rump, cwd_in_rump: bool) {
    PID.store(raw::getpid(), Ordering::Relaxed);
    map_claim();
    LINE.inside.store(cwd_in_rump, Ordering::Relaxed);
    RUMP.store(Box::into_raw(Box::new(rump)), Ordering::Release);
    if let Some(Rump::Local(_)) = self::rump() {
        // A server asks the host whose the connection is.
        tell_ids();
    }
    // SAFETY: the three functions live as long as the library, which is never unloaded.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
}

/// Maps the page of [`CLAIMED`].
fn map_claim() {
    const PAGE: usize = 4096;
    let (rw, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let args = [0, PAGE, raw::word(rw), raw::word(private), usize::MAX, 0];
    let Ok(page) = raw::checked(raw::call(libc::SYS_mmap, args)) else { return };
    if raw::call(libc::SYS_madvise, [page, PAGE, raw::word(libc::MADV_WIPEONFORK)]) == 0 {
        CLAIMED.store(page as *mut AtomicU32, Ordering::Release);
        set_claimed();
    }
}

fn claim_word() -> Option<&'static AtomicU32> {
    // SAFETY: null, or a page that is never unmapped.
    unsafe { CLAIMED.load(Ordering::Acquire).as_ref() }
}

fn set_claimed() {
    claim_word().into_iter().for_each(|word| word.store(1, Ordering::Release));
}

/// Whether this memory is that of a child which has no rump process, because it was forked behind the library's back.
fn unclaimed() -> bool {
    claim_word().is_some_and(|word| word.load(Ordering::Relaxed) == 0)
}

/// The process that the tables describe.
pub fn pid() -> i32 {
    PID.load(Ordering::Relaxed)
}

/// The rump process, once there is one.
pub fn rump() -> Option<&'static Rump> {
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
        let remote = borrower::get_or_make().remote().ok_or(Errno::ENOTCONN)?;
        return Ok(remote);
    }
    if let Some(Rump::Later(later)) = rump() {
        connect(later)?;
    }
    match rump() {
        Some(Rump::Remote(_)) if unclaimed() => Err(Errno::ENOTCONN),
        Some(Rump::Remote(remote)) => Ok(remote),
        Some(Rump::Local(local)) => Ok(local),
        Some(Rump::Lost | Rump::Later(_)) | None => Err(Errno::ENOTCONN),
    }
}

/// Connects to the server, in the one thread that comes first.
#[cold]
fn connect(later: &Later) -> Result<()> {
    let _blocked = Blocked::enter();
    let _held = Held::enter();
    let _connecting = CONNECTING.lock();
    if matches!(rump(), Some(Rump::Later(_))) {
        let remote = later.connect()?;
        set_claimed();
        RUMP.store(Box::into_raw(Box::new(Rump::Remote(remote))), Ordering::Release);
    }
    Ok(())
}

/// Connects a process that is about to become what may not reach the server any more: another user, or one that sees other names
/// of files, another network, or may make few calls.
pub fn connect_before_it_is_late() {
    if rump().is_some() {
        // The trace, or the first call, says what is wrong.
        let _ = kernel();
    }
}

/// What an exec hands on.
pub enum Handed {
    /// The connection.
    Remote(&'static Remote),
    /// Where to connect.
    Later(&'static Later),
    /// A kernel of this process ends with it.
    Nothing,
}

/// What an exec hands on.
pub fn to_hand_on() -> Handed {
    let later = if shares_memory() {
        borrower::later()
    } else if let Some(Rump::Later(later)) = rump() {
        Some(later)
    } else {
        None
    };
    match later {
        Some(later) => Handed::Later(later),
        None => remote().map_or(Handed::Nothing, Handed::Remote),
    }
}

/// The connection, if there is one already and no kernel in this process.
pub fn remote() -> Option<&'static Remote> {
    if shares_memory() {
        return borrower::get_or_make().remote();
    }
    match rump() {
        Some(Rump::Remote(remote)) if !unclaimed() => Some(remote),
        _ => None,
    }
}

/// Forks by `fork`, which has the child share the host's descriptors if `shared`: the copy of the rump process is asked for first, so that a refusal is fork's, and given back if there is no child.
pub fn fork(shared: bool, fork: impl FnOnce() -> i32) -> Result<i32> {
    let copy = loop {
        let life = client::fds::life();
        match rump() {
            Some(Rump::Remote(remote)) if !unclaimed() => match Copy::ask(remote, shared) {
                // A handler has forked meanwhile, and this is its child.
                Err(Errno::EINTR) if life != client::fds::life() => {}
                asked => break Some(asked?),
            },
            _ => break None,
        }
    };
    // A handler may come here between the lines.
    let outer = FORKING.replace(copy);
    let child = fork();
    if child < 0 {
        give_back(&DONE);
    } else if let (Some(copy), Some(Rump::Remote(remote))) = (DONE.take(), rump()) {
        // In the parent only: its copy is claimed in the child.
        remote.forked(copy.heir, child);
    }
    DONE.set(None);
    FORKING.set(outer.filter(|_| child != 0));
    Ok(child)
}

/// As [`fork`](fn@fork), by something that runs none of libc's handlers. The child has its rump process when this returns in it.
pub fn fork_bare(shared: bool, bare: impl FnOnce() -> i32) -> Result<i32> {
    fork(shared, || {
        before_fork();
        let child = bare();
        if child == 0 {
            begin_child(shared)
        } else {
            after_fork_in_parent()
        }
        child
    })
}

/// As [`fork_bare`], for a child that begins elsewhere: there it calls the function that it is given.
pub fn fork_elsewhere(shared: bool, elsewhere: impl FnOnce(fn(bool)) -> i32) -> Result<i32> {
    fork(shared, || {
        before_fork();
        let child = elsewhere(begin_child);
        after_fork_in_parent();
        child
    })
}

/// Gives a copy back, for a fork that did not happen.
fn give_back(copy: &'static std::thread::LocalKey<Cell<Option<Copy>>>) {
    if let (Some(copy), Some(Rump::Remote(remote))) = (copy.take(), rump()) {
        remote.release(copy.heir);
    }
}

extern "C" fn before_fork() {
    BLOCKED.set(ManuallyDrop::new(Some(Blocked::enter())));
    let _held = Held::enter();
    copies::before_fork();
    fds::before_fork();
    core::mem::forget(CONNECTING.lock());
    let shared = FORKING.get().is_some_and(|copy| copy.shared);
    if FORKING.get().is_some_and(|copy| copy.changes != fds::changes()) {
        // Another thread has opened or closed something since: the child would have one thing in its table, another in the copy.
        give_back(&FORKING);
    }
    if let (None, Some(Rump::Remote(remote)), false) = (FORKING.get(), rump(), unclaimed()) {
        // For daemon and forkpty too; the child finds nothing to claim if this fails.
        FORKING.set(Copy::ask(remote, shared).ok());
    }
    // The last ones: asking takes them.
    client::fds::before_fork();
    alloc::before_fork();
}

/// Gives back what [`before_fork`] took.
fn unlock() -> Option<Blocked> {
    // SAFETY: libc has called `before_fork` in this thread before.
    unsafe {
        alloc::after_fork();
        client::fds::after_fork();
        CONNECTING.force_unlock();
        fds::after_fork();
        copies::after_fork();
    }
    ManuallyDrop::into_inner(BLOCKED.replace(ManuallyDrop::new(None)))
}

/// libc calls it for a fork that failed too.
extern "C" fn after_fork_in_parent() {
    let copy = FORKING.take();
    let blocked = unlock();
    DONE.set(copy.map(|copy| Copy { heir: copy.heir.let_go(), ..copy }));
    drop(blocked);
}

extern "C" fn after_fork_in_child() {
    begin_child(false);
}

/// Takes up the copy in the child; `shared` if the host's descriptors are the parent's as well.
fn begin_child(shared: bool) {
    let blocked = unlock();
    PID.store(raw::getpid(), Ordering::Relaxed);
    client::fds::after_fork_in_child();
    first::after_fork_in_child();
    sets::after_fork_in_child();
    set_claimed();
    borrower::forget();
    if let Some(Rump::Local(_) | Rump::Later(_)) = rump() {
        // The parent's wakes the parent's threads.
        let _ = client::fds::prepare(true);
    }
    if let Some(Rump::Local(_)) = rump() {
        trace::say(format_args!("fork: the kernel is in this process: the child goes on with a copy of it"));
    }
    // A mapping can be left out of a fork.
    pages::forget();
    if let Some(Rump::Remote(parent)) = rump() {
        let claimed =
            FORKING.take().ok_or(Errno::ENOTCONN.into()).and_then(|copy| parent.fork_child(copy.heir, shared));
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
    borrower::current().map_or(&LINE.inside, |child| child.cwd_in_rump()).load(Ordering::Relaxed)
}

/// As [`cwd_in_rump`], of the process itself.
#[inline(always)]
pub fn own_cwd_in_rump() -> bool {
    LINE.inside.load(Ordering::Relaxed)
}

fn set_cwd_in_rump(inside: bool) {
    borrower::for_change().map_or(&LINE.inside, |child| child.cwd_in_rump()).store(inside, Ordering::Relaxed);
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
        Owner::Host => leave(libc::SYS_chdir, path),
        Owner::Descriptor(rump) => calls::serve(true, || dir::fchdir(rump).map(entered)),
        Owner::WorkingDirectory => Outcome::Done(0),
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
    let _blocked = Blocked::enter();
    if shares_memory() || !noted_for_later(mask) {
        let _ = kernel().and_then(|kernel| stubs::umask(kernel, mask & 0o777));
    }
    Outcome::Host
}

/// Notes the umask for a connection that is not made yet; `false` if there is one.
fn noted_for_later(mask: u32) -> bool {
    let _connecting = CONNECTING.lock();
    match rump() {
        Some(Rump::Later(later)) => later.note_umask(mask),
        Some(_) => return false,
        None => {}
    }
    true
}

/// See chroot(2): `EPERM` for a folder of the rump kernel, since only half of the program's paths could be held below it.
pub fn chroot(path: usize) -> Outcome {
    match route::path(path) {
        Owner::Host => {
            connect_before_it_is_late();
            Outcome::Host
        }
        _ => calls::outcome(Err(Errno::EPERM)),
    }
}

/// See unshare(2).
pub fn unshare(flags: i32) -> Outcome {
    if flags & clone::NAMES != 0 {
        connect_before_it_is_late();
    }
    Outcome::Host
}

/// See setns(2).
pub fn setns(fd: i32) -> Outcome {
    if fds::lookup(fd).is_some() {
        return calls::outcome(Err(Errno::EINVAL));
    }
    connect_before_it_is_late();
    Outcome::Host
}

/// Closes the rump descriptors of a process that ends: who waits for its end (wait(2)) shall find its locks, sockets and pipes
/// gone, and the server would notice the end of the connection only some time later.
///
/// Other threads that still run must not see that; with them it is left to the server, as for a process that is killed.
pub fn ends() {
    if shares_memory() || !fds::any() || !sysproxy::host::one_thread() {
        return;
    }
    if let Some(remote) = remote().filter(|remote| remote.extended()) {
        // For good: as on Linux, no signal changes how a process ends that has begun to. Who waits at the other end of its terminal
        // may hang up at once, and would kill it between this and the host's exit.
        std::mem::forget(Blocked::enter());
        let _ = stubs::fcntl(remote, Fd(0), F_CLOSEM, InOut::NULL);
    }
}

/// Runs a function that changes the ids of the process, and tells the rump kernel what they are then.
pub fn change_ids<R>(change: impl FnOnce() -> R) -> R {
    connect_before_it_is_late();
    let answer = change();
    if rump().is_some() {
        let _blocked = Blocked::enter();
        let errno = entry::errno();
        tell_ids();
        entry::set_errno(errno);
    }
    answer
}

/// Tells the rump kernel the ids of the process; it heeds them where clients have the credentials of their host processes.
pub fn tell_ids() {
    let told = kernel().and_then(|kernel| {
        let (ids, groups) = own_ids()?;
        let count = i32::try_from(groups.len()).map_err(|_| Errno::EINVAL)?;
        stubs::setcred(kernel, In::new(&ids), count, In::new(groups.as_slice()))
    });
    match told {
        // Not our own server.
        Ok(()) | Err(Errno::ENOSYS) => {}
        Err(error) => trace::say(format_args!("the rump kernel keeps the ids that the program had: {error}")),
    }
}

/// User and group, each real, the one that file systems judge by, and saved; and the supplementary groups.
fn own_ids() -> Result<([u32; 6], Vec<u32>)> {
    let mut ids = [0u32; 6];
    let [uid, euid, suid, gid, egid, sgid] = ids.each_mut().map(|id| &raw mut *id as usize);
    raw::checked(raw::call(libc::SYS_getresuid, [uid, euid, suid]))?;
    raw::checked(raw::call(libc::SYS_getresgid, [gid, egid, sgid]))?;
    // What is no id changes nothing, and the answer is what the id was.
    let [_, euid, _, _, egid, _] = &mut ids;
    *euid = raw::call(libc::SYS_setfsuid, [usize::MAX]) as u32;
    *egid = raw::call(libc::SYS_setfsgid, [usize::MAX]) as u32;
    let count = raw::checked(raw::call(libc::SYS_getgroups, [0, 0]))?;
    let mut groups = vec![0u32; count];
    let got = raw::checked(raw::call(libc::SYS_getgroups, [count, groups.as_mut_ptr() as usize]))?;
    groups.truncate(got);
    Ok((ids, groups))
}

/// The library's own host descriptors, in order.
pub fn own_numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> = client::fds::all().map(|fd| fd.0 as u32).collect();
    numbers.sort_unstable();
    numbers
}
