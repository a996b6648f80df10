//! Streams whose bytes this program moves itself, in memory that it shares with the program at the other end ([`sysproxy::stream`]).
//!
//! After some calls that have moved data on a descriptor the server is asked for the memory. From then on reading and writing look there
//! first, and become calls when there is nothing to read, or no room: sleeping, and all that is not plain, stays the server's. All signals are
//! blocked meanwhile.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use abi::socket::IoVec;
use abi::syscalls::nr;
use abi::{Errno, Fd, In, Region, Result, Slot};
use rustix_futex_sync::Mutex;
use sysproxy::host::Owned;
use sysproxy::spin::Spin;
use sysproxy::stream::{Moved, Stream};

use crate::regions;
use crate::way::{self, Way};

/// Descriptors that may have a stream: those below this number.
const DESCRIPTORS: usize = 4096;

/// After so many calls that have moved data the server is asked for the memory; twice as many after each time that it had a reason not
/// to give it, or took it back.
const CALLS: u32 = 16;

/// The most that this grows to.
const CALLS_MAX: u32 = 1 << 20;

/// How long to look for what the other end does, as long as that pays.
const SPIN: Duration = Duration::from_micros(50);

/// The same once in a while: as long as the server takes to wake the other end up.
const LONGER: Duration = Duration::from_micros(500);

/// So many looks take some microseconds.
const YIELD: u32 = 100;

/// [`Entry::calls`] of a descriptor with memory.
const SHARED: u32 = u32::MAX;

/// [`Entry::calls`] of what is no such stream.
const NEVER: u32 = u32::MAX - 1;

/// `MSG_DONTWAIT`, NetBSD's number.
const DONTWAIT: u64 = abi::socket::MSG_DONTWAIT as u64;

/// `MSG_NOSIGNAL`, NetBSD's number.
const NOSIGNAL: u64 = abi::socket::MSG_NOSIGNAL as u64;

/// An end of a stream.
struct End {
    stream: Arc<Stream>,
    /// The direction that it writes.
    ours: usize,
    /// Whether calls are worth a wait.
    blocking: bool,
    bytes: Spin,
    room: Spin,
}

/// What is known of a descriptor.
#[derive(Default)]
struct Entry {
    /// How many calls have moved data, or one of the words above.
    calls: AtomicU32,
    /// How many there are to be before the server is asked, if not [`CALLS`].
    patience: AtomicU32,
    /// Threads that use the end, or look whether there is one.
    users: AtomicU32,
    /// Written by who holds the lock, while the entry is not [`SHARED`] and has no users.
    end: UnsafeCell<Option<End>>,
}

// SAFETY: the end is changed only when no thread uses it, as said there.
unsafe impl Sync for Entry {}

/// The streams of a process.
#[derive(Default)]
pub struct Streams {
    entries: OnceLock<Box<[Entry]>>,
    changing: Mutex<()>,
}

/// A call that moves data.
#[derive(Clone, Copy)]
struct Call<'a> {
    /// The memory to write from, or to read into.
    parts: &'a [Region],
    writes: bool,
    flags: u64,
}

impl<'a> Call<'a> {
    /// Takes a call that only moves data; `None` for any other.
    fn of(number: u32, args: &[u64], regions: &'a [Region]) -> Option<Self> {
        let flags = args.get(3).copied().unwrap_or(0);
        let plain = flags & !(DONTWAIT | NOSIGNAL) == 0 && args.get(4).is_none_or(|address| *address == 0);
        let (parts, writes, flags) = match number {
            nr::read => (regions, false, 0),
            nr::write => (regions, true, 0),
            nr::recvfrom if plain => (regions.get(..1)?, false, flags),
            nr::sendto if plain => (regions.get(..1)?, true, flags),
            // The first is the array.
            nr::readv => (regions.get(1..)?, false, 0),
            nr::writev => (regions.get(1..)?, true, 0),
            _ => return None,
        };
        Some(Self { parts, writes, flags })
    }

    fn len(&self) -> usize {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.len))
    }

    /// Moves bytes between a place in the ring and what is `done` bytes into the call's memory.
    fn copy(&self, mut done: usize, mut place: *mut u8, mut len: usize) -> sysproxy::host::Result<()> {
        for part in self.parts {
            let Some(left) = part.len.checked_sub(done).filter(|left| *left > 0) else {
                done -= part.len;
                continue;
            };
            let now = left.min(len);
            let addr = part.addr + done as u64;
            // SAFETY: the ring has as many bytes at the place, which the other program may change at any time: any are good. The call
            // that is under way has named the memory as its to read, or to overwrite.
            unsafe {
                if self.writes {
                    regions::read(part, addr, core::slice::from_raw_parts_mut(place, now))?;
                } else {
                    regions::write(part, addr, core::slice::from_raw_parts(place, now))?;
                }
                place = place.add(now);
            }
            (done, len) = (0, len - now);
            if len == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// What became of a call.
pub enum Done {
    /// All of it is done. Whether the server is to be told.
    All(Result<usize>, bool),
    /// So many bytes are written, and a call is to be made for the others.
    Part(usize, bool),
    /// A call is to be made.
    Nothing,
}

impl Streams {
    fn entry(&self, fd: u64) -> Option<&Entry> {
        let fresh = || (0..DESCRIPTORS).map(|_| Entry::default()).collect();
        usize::try_from(fd as i32).ok().and_then(|fd| self.entries.get_or_init(fresh).get(fd))
    }

    /// Does a call without the server, as far as that can be.
    pub fn shortcut(&self, number: u32, args: &[u64], regions: &[Region]) -> Done {
        let [fd, ..] = args else { return Done::Nothing };
        if let Some((fds, why)) = ends(number, args) {
            self.forget(fds, why);
        }
        let Some(call) = Call::of(number, args, regions) else { return Done::Nothing };
        let entry = self.entries.get().and_then(|entries| entries.get(usize::try_from(*fd as i32).ok()?));
        let Some(entry) = entry else { return Done::Nothing };
        if entry.calls.load(Ordering::Relaxed) != SHARED {
            return Done::Nothing;
        }
        entry.users.fetch_add(1, Ordering::SeqCst);
        let shared = entry.calls.load(Ordering::SeqCst) == SHARED;
        // SAFETY: as there is a user, nobody changes it.
        let end = unsafe { (*entry.end.get()).as_ref() };
        let done = match end.filter(|_| shared) {
            Some(end) => end.serve(&call),
            None => Ok(Done::Nothing),
        };
        entry.users.fetch_sub(1, Ordering::SeqCst);
        done.unwrap_or_else(|Over| {
            self.forget((*fd, *fd), Why::Over);
            Done::Nothing
        })
    }

    /// Counts a call that the server has answered; whether it is time to ask for the memory of the stream.
    pub fn count(&self, number: u32, args: &[u64], regions: &[Region]) -> bool {
        let Some(fd) = args.first().filter(|_| Call::of(number, args, regions).is_some()) else { return false };
        let Some(entry) = self.entry(*fd) else { return false };
        let calls = entry.calls.load(Ordering::Relaxed);
        if calls >= NEVER {
            return false;
        }
        let enough = entry.patience.load(Ordering::Relaxed).max(CALLS);
        entry.calls.store((calls + 1) % enough, Ordering::Relaxed);
        calls + 1 >= enough
    }

    /// Takes the server's answer to the question: the memory, the direction that is ours to write, and whether calls are worth a wait.
    pub fn answer(&self, fd: u64, answer: Result<(Owned, usize, bool)>) {
        let Some(entry) = self.entry(fd) else { return };
        let _changing = self.changing.lock();
        let end = answer.and_then(|(memory, ours, blocking)| {
            let stream = Stream::attach(memory.fd()).map_err(sysproxy::host::errno)?;
            let ours = Some(ours).filter(|ours| *ours < 2).ok_or(Errno::EPROTO)?;
            Ok(End { stream, ours, blocking, bytes: Spin::new(), room: Spin::new() })
        });
        match end {
            // Somebody may still use what was there before.
            Ok(end) if entry.calls.load(Ordering::SeqCst) != SHARED && entry.users.load(Ordering::SeqCst) == 0 => {
                // SAFETY: nobody uses it, nor will before the word is changed.
                unsafe { *entry.end.get() = Some(end) };
                entry.calls.store(SHARED, Ordering::SeqCst);
                way::changed(Fd(fd as i32), Way::Shared);
            }
            Ok(_) => {}
            Err(Errno::EAGAIN) => entry.wait_longer(),
            Err(_) => entry.calls.store(NEVER, Ordering::SeqCst),
        }
    }

    /// Forgets what is known of some descriptors, from the first to the last.
    fn forget(&self, (first, last): (u64, u64), why: Why) {
        let Some(entries) = self.entries.get() else { return };
        let number = |fd: u64| usize::try_from(fd as i32).unwrap_or(usize::MAX);
        let entries = entries.iter().enumerate().take(number(last).saturating_add(1)).skip(number(first));
        for (fd, entry) in entries.filter(|(_, entry)| entry.calls.load(Ordering::Relaxed) != 0) {
            let changing = self.changing.lock();
            let was_shared = entry.calls.swap(0, Ordering::SeqCst) == SHARED;
            if entry.users.load(Ordering::SeqCst) == 0 {
                // SAFETY: who comes now sees that the entry is not shared.
                unsafe { *entry.end.get() = None };
            }
            match why {
                Why::Closed => entry.patience.store(0, Ordering::Relaxed),
                Why::Changed => {}
                Why::Over => entry.wait_longer(),
            }
            drop(changing);
            if was_shared && why != Why::Closed {
                way::changed(Fd(fd as i32), Way::Calls);
            }
        }
    }

    /// Forgets everything: the descriptors are another kernel's.
    pub fn forget_all(&self) {
        self.forget((0, i32::MAX as u64), Why::Closed);
    }
}

/// Why what is known of a descriptor is forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It comes to be something else.
    Closed,
    /// Its status flags are changed.
    Changed,
    /// The server has the bytes itself again.
    Over,
}

impl Entry {
    fn wait_longer(&self) {
        let patience = self.patience.load(Ordering::Relaxed).max(CALLS);
        self.patience.store((patience * 2).min(CALLS_MAX), Ordering::Relaxed);
    }
}

/// What is known of which descriptors is forgotten with a call, and why.
fn ends(number: u32, args: &[u64]) -> Option<((u64, u64), Why)> {
    let fd = *args.first()?;
    match (number, args.get(1)) {
        (nr::close, _) => Some(((fd, fd), Why::Closed)),
        (nr::dup2 | nr::dup3, Some(&onto)) => Some(((onto, onto), Why::Closed)),
        (nr::fcntl, Some(command)) => match *command as i32 {
            abi::fcntl::F_CLOSEM => Some(((fd, i32::MAX as u64), Why::Closed)),
            abi::fcntl::F_SETFL => Some(((fd, fd), Why::Changed)),
            _ => None,
        },
        (nr::ioctl, Some(command)) if *command == abi::ioctl::FIONBIO => Some(((fd, fd), Why::Changed)),
        _ => None,
    }
}

/// The kernel has the bytes itself again.
struct Over;

impl End {
    fn attempt(&self, call: &Call<'_>, len: usize, skip: usize) -> sysproxy::host::Result<Moved> {
        let copy = |done: usize, place: *mut u8, len: usize| call.copy(skip + done, place, len);
        match call.writes {
            true => self.stream.write(self.ours, len - skip, copy),
            false => self.stream.read(1 - self.ours, len - skip, copy),
        }
    }

    /// Whether looking again may pay.
    fn stirs(&self, call: &Call<'_>) -> bool {
        let direction = if call.writes { self.ours } else { 1 - self.ours };
        match call.writes {
            true => self.stream.room(direction) > 0,
            false => self.stream.filled(direction).is_ok_and(|filled| filled > 0),
        }
    }

    /// Looks for a short time, if that pays, whether something can be moved.
    fn look(&self, call: &Call<'_>) -> bool {
        let mut looks = 0u32;
        let stirs = || {
            looks += 1;
            if looks.is_multiple_of(YIELD) {
                // The other end may stand behind us on the same processor.
                std::thread::yield_now();
            }
            self.stirs(call).then_some(())
        };
        if call.writes {
            return self.room.look_for(SPIN, LONGER, stirs).is_some();
        }
        let found = match self.stream.is_awake(self.ours) {
            true => self.bytes.look_now(SPIN, stirs),
            false => self.bytes.look_for(SPIN, LONGER, stirs),
        };
        self.stream.set_awake(1 - self.ours, found.is_some());
        found.is_some()
    }

    fn serve(&self, call: &Call<'_>) -> core::result::Result<Done, Over> {
        let len = call.len();
        let waits = self.blocking && call.flags & DONTWAIT == 0;
        let (mut moved, mut told) = (0, false);
        if len == 0 {
            return Ok(Done::Nothing);
        }
        loop {
            let attempt = match self.attempt(call, len, moved) {
                Ok(attempt) => attempt,
                // Some of the memory may be good: as much as that is the server's to find out.
                Err(_) if call.writes => break,
                Err(error) => return Ok(Done::All(Err(sysproxy::host::errno(error)), told)),
            };
            match attempt {
                Moved::Bytes { len: now, tell } => {
                    moved += now;
                    told |= tell;
                    if moved == len || !call.writes {
                        return Ok(Done::All(Ok(moved), told));
                    }
                }
                Moved::Nothing if waits => {
                    if told {
                        // Who sleeps for what is written would not make room.
                        break;
                    }
                    if !self.look(call) {
                        break;
                    }
                }
                Moved::Nothing if call.flags & DONTWAIT != 0 => {
                    let answer = if moved > 0 { Ok(moved) } else { Err(Errno::EAGAIN) };
                    return Ok(Done::All(answer, told));
                }
                Moved::Nothing | Moved::Busy => break,
                Moved::Over if moved == 0 => return Err(Over),
                Moved::Over => break,
            }
        }
        Ok(if moved > 0 { Done::Part(moved, told) } else { Done::Nothing })
    }
}

/// A call for what is left.
pub struct Rest {
    /// Its arguments.
    pub args: Vec<u64>,
    /// Its memory.
    pub regions: Vec<Region>,
    /// Its array of parts, if it has one: what its arguments point to.
    _array: Vec<IoVec>,
}

/// Makes the call that writes what is left after `done` bytes.
pub fn rest(number: u32, args: &[u64], regions: &[Region], done: usize) -> Rest {
    let mut args = args.to_vec();
    let parts = if number == nr::writev { regions.get(1..).unwrap_or_default() } else { regions };
    let mut skip = done;
    let mut left = Vec::new();
    for part in parts {
        let gone = skip.min(part.len);
        skip -= gone;
        if gone < part.len {
            left.push(Region { addr: part.addr + gone as u64, len: part.len - gone, ..*part });
        }
    }
    if number != nr::writev {
        if let ([_, addr, len, ..], Some(part)) = (args.as_mut_slice(), left.first()) {
            (*addr, *len) = (part.addr, part.len as u64);
        }
        return Rest { args, regions: left, _array: Vec::new() };
    }
    let array: Vec<_> = left.iter().map(|part| IoVec { iov_base: part.addr, iov_len: part.len as u64 }).collect();
    let named = In::new(array.as_slice());
    if let [_, addr, count, ..] = args.as_mut_slice() {
        (*addr, *count) = (named.addr, array.len() as u64);
    }
    let regions = named.region().into_iter().chain(left).collect();
    Rest { args, regions, _array: array }
}
