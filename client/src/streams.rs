//! Streams whose bytes this program moves itself, in memory that it shares with the program at the other end ([`sysproxy::stream`]).
//!
//! After some calls that have moved data on a descriptor, or have said `EAGAIN`, the server is asked for the memory. From then on reading and
//! writing look there first, and become calls when there is nothing to read, or no room: sleeping, and all that is not plain, stays the
//! server's. What does not block (`O_NONBLOCK`, `MSG_DONTWAIT`, a poll without time) is answered from the memory too. All signals are blocked
//! meanwhile.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use abi::poll::{POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDHUP, POLLRDNORM, POLLWRBAND, PollFd};
use abi::socket::IoVec;
use abi::syscalls::nr;
use abi::{Errno, Fd, In, Region, Result, Slot};
use rustix_futex_sync::Mutex;
use sysproxy::host::Owned;
use sysproxy::spin::Spin;
use sysproxy::stream::{Blocks, Moved, Stream};

use crate::fds::Kept;
use crate::notices::{Boards, Notice, Question};
use crate::way::{self, Way};
use crate::{guest, regions, signals};

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

/// After so many sleeps at an end, or bytes of which only the server could tell who sleeps for them, the server is asked for the end's bell.
const SLEEPS: u32 = 4;

/// Ends with a bell at most: each takes a descriptor.
const BELLS_MAX: usize = 64;

/// So many looks take some microseconds.
const YIELD: u32 = 100;

/// So many looks in a row may find something that is not there then: the other program spoils the memory.
const VAIN: u32 = 1000;

/// A write to a pipe of at most this many bytes is never split (`PIPE_BUF`).
const WHOLE: usize = 4096;

/// What poll(2) is asked about besides, and does not happen as long as the memory is shared.
const QUIET: i16 = POLLPRI | POLLRDBAND | POLLWRBAND | POLLRDHUP;

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
    /// Whether calls are worth a wait, as far as that was known when the memory came.
    blocking: bool,
    /// Whether it is a pipe's: the first end writes, the second reads.
    pipe: bool,
    bytes: Spin,
    room: Spin,
    /// How often a bell would have been of use.
    missed: AtomicU32,
    bell: OnceLock<Bell>,
}

/// The socket on which this end is rung, and rings the other; see [`sysproxy::stream`].
struct Bell(Kept);

/// How many there are.
static BELLS: AtomicUsize = AtomicUsize::new(0);

impl Bell {
    fn new(socket: Owned) -> Option<Self> {
        if BELLS.fetch_add(1, Ordering::Relaxed) < BELLS_MAX
            && let Ok(kept) = Kept::new(socket)
        {
            return Some(Self(kept));
        }
        BELLS.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        BELLS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What ended a sleep.
pub enum Woken {
    /// The bell, or something else that is worth a look.
    Rung,
    /// A signal that ends the call.
    Signal,
    /// Something that is the server's to find out.
    Other,
}

/// Sleeps on a bell.
pub type Sleeper<'a> = &'a dyn Fn(&Kept) -> Woken;

/// What came of a sleep.
enum Slept {
    /// There is something to look at.
    Up,
    Interrupted,
    /// To be slept on in the server.
    There,
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
    /// What is known besides.
    notice: Notice,
    /// Written by who holds the lock, while the entry is not [`SHARED`] and has no users.
    end: UnsafeCell<Option<End>>,
}

// SAFETY: the end is changed only when no thread uses it, as said there.
unsafe impl Sync for Entry {}

/// The streams of a process.
#[derive(Default)]
pub struct Streams {
    known: OnceLock<Box<Known>>,
    changing: Mutex<()>,
}

/// What is known of descriptors.
struct Known {
    entries: Vec<Entry>,
    boards: Boards,
}

/// A call that moves data.
#[derive(Clone, Copy)]
struct Call<'a> {
    /// The memory to write from, or to read into.
    parts: &'a [Region],
    writes: bool,
    flags: u64,
    /// Whether only sockets have it.
    of_socket: bool,
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
        let of_socket = matches!(number, nr::recvfrom | nr::sendto);
        Some(Self { parts, writes, flags, of_socket })
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
        let fresh = || {
            let entries = (0..DESCRIPTORS).map(|_| Entry::default()).collect();
            Box::new(Known { entries, boards: Boards::default() })
        };
        usize::try_from(fd as i32).ok().and_then(|fd| self.known.get_or_init(fresh).entries.get(fd))
    }

    /// What is known of a descriptor, and the board, if anything is.
    fn known(&self, fd: u64) -> Option<(&Entry, &Boards)> {
        let known = self.known.get()?;
        Some((known.entries.get(usize::try_from(fd as i32).ok()?)?, &known.boards))
    }

    /// Does a call without the server, as far as that can be.
    pub fn shortcut(&self, number: u32, args: &[u64], regions: &[Region], sleeper: Sleeper<'_>) -> Done {
        let [fd, ..] = args else { return Done::Nothing };
        if let Some((fds, why)) = ends(number, args) {
            self.forget(fds, why);
        }
        let Some(call) = Call::of(number, args, regions) else { return Done::Nothing };
        let Some((entry, _)) = self.known(*fd) else { return Done::Nothing };
        let done = entry.with_end(|end| end.map_or(Ok(Done::Nothing), |end| end.serve(&call, sleeper)));
        done.unwrap_or_else(|Over| {
            self.forget((*fd, *fd), Why::Over);
            Done::Nothing
        })
    }

    /// Whether the server is to be asked for the bell of a descriptor's end: once.
    pub fn wants_bell(&self, fd: u64) -> bool {
        // A child that shares this memory leaves nothing in it.
        let wants = |end: &End| {
            end.bell.get().is_none() && end.missed.load(Ordering::Relaxed) == SLEEPS && guest::name() == 0 && {
                end.missed.fetch_add(1, Ordering::Relaxed) == SLEEPS
            }
        };
        self.known(fd).is_some_and(|(entry, _)| entry.with_end(|end| end.is_some_and(wants)))
    }

    /// Takes the server's answer to that: the socket, and the number of the stream that it belongs to.
    pub fn take_bell(&self, fd: u64, socket: Owned, number: u64) {
        let Some((entry, _)) = self.known(fd) else { return };
        entry.with_end(|end| {
            if let Some(end) = end.filter(|end| end.stream.number() == number)
                && let Some(bell) = Bell::new(socket)
            {
                _ = end.bell.set(bell);
            }
        });
    }

    /// Whether a descriptor has memory.
    pub fn has(&self, fd: u64) -> bool {
        self.known(fd).is_some_and(|(entry, _)| entry.calls.load(Ordering::Relaxed) == SHARED)
    }

    /// The descriptor of a call that moves data and does nothing else.
    pub fn moves(number: u32, args: &[u64], regions: &[Region]) -> Option<u64> {
        args.first().copied().filter(|_| Call::of(number, args, regions).is_some())
    }

    /// Counts a call that the server has answered; whether it is time to ask for the memory of the stream.
    pub fn count(&self, fd: u64) -> bool {
        let Some(entry) = self.entry(fd) else { return false };
        let calls = entry.calls.load(Ordering::Relaxed);
        if calls >= NEVER {
            return false;
        }
        let enough = entry.patience.load(Ordering::Relaxed).max(CALLS);
        entry.calls.store((calls + 1) % enough, Ordering::Relaxed);
        calls + 1 >= enough
    }

    /// Whether a call writes.
    pub fn writes(number: u32) -> bool {
        matches!(number, nr::write | nr::writev | nr::sendto)
    }

    /// Takes the server's answer to the question: the memory, and what it is: see the call `share`.
    pub fn answer(&self, fd: u64, answer: Result<(Owned, usize)>) {
        let Some(entry) = self.entry(fd) else { return };
        let _changing = self.changing.lock();
        let end = answer.and_then(|(memory, given)| {
            let stream = Stream::attach(memory.fd()).map_err(sysproxy::host::errno)?;
            let (ours, blocking, pipe) = (given & 1, given & 2 == 0, given & 4 != 0);
            let (bytes, room) = (Spin::new(), Spin::new());
            Ok(End { stream, ours, blocking, pipe, bytes, room, missed: AtomicU32::new(0), bell: OnceLock::new() })
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

    /// Looks what poll(2) would say of descriptors, if all of them have memory and nothing else is in play; how many have something.
    ///
    /// What is not there is left to the server if there is time to wait for it.
    pub fn poll(&self, set: &mut [PollFd], waits: bool) -> Option<usize> {
        let mut count = 0;
        for polled in set {
            polled.revents = self.polled(polled)?;
            count += usize::from(polled.revents != 0);
        }
        Some(count).filter(|count| *count > 0 || !waits)
    }

    fn polled(&self, polled: &PollFd) -> Option<i16> {
        let (entry, boards) = self.known(polled.fd as u64)?;
        if let Some(ready) = entry.with_end(|end| end?.ready(polled.events)) {
            return Some(ready);
        }
        let to_read = polled.events & !(POLLIN | POLLRDNORM | QUIET) == 0;
        (to_read && boards.deny(&entry.notice, Question::poll(polled.fd as u64))).then_some(0)
    }

    /// Whether it is known that there is nothing for a call that does not wait.
    pub fn denies(&self, question: Question) -> bool {
        self.known(question.fd).is_some_and(|(entry, boards)| boards.deny(&entry.notice, question))
    }

    /// Notes a question that the server has answered so; whether it is time to ask for the word of the descriptor, and then whether the
    /// board is there already.
    pub fn asked_in_vain(&self, question: Question) -> Option<bool> {
        self.entry(question.fd)?;
        let (entry, boards) = self.known(question.fd)?;
        entry.notice.asked_in_vain(question).then(|| boards.is_there())
    }

    /// Takes the server's answer to that: which word, and the board if it came along.
    pub fn noticed(&self, fd: u64, answer: Result<(usize, Option<Owned>)>) {
        if let Some((entry, boards)) = self.known(fd) {
            let _changing = self.changing.lock();
            boards.answer(&entry.notice, answer);
        }
    }

    /// Forgets what is known of some descriptors, from the first to the last.
    fn forget(&self, (first, last): (u64, u64), why: Why) {
        let Some(known) = self.known.get() else { return };
        let number = |fd: u64| usize::try_from(fd as i32).unwrap_or(usize::MAX);
        let entries = known.entries.iter().enumerate().take(number(last).saturating_add(1)).skip(number(first));
        for (fd, entry) in
            entries.filter(|(_, entry)| entry.calls.load(Ordering::Relaxed) != 0 || entry.notice.is_used())
        {
            let changing = self.changing.lock();
            let was_shared = entry.calls.swap(0, Ordering::SeqCst) == SHARED;
            if entry.users.load(Ordering::SeqCst) == 0 {
                // SAFETY: who comes now sees that the entry is not shared.
                unsafe { *entry.end.get() = None };
            }
            match why {
                Why::Closed => {
                    entry.patience.store(0, Ordering::Relaxed);
                    entry.notice.forget();
                }
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
        if let Some(known) = self.known.get() {
            known.boards.leave();
        }
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
    /// Does something with the end, if there is one.
    fn with_end<T>(&self, work: impl FnOnce(Option<&End>) -> T) -> T {
        if self.calls.load(Ordering::Relaxed) != SHARED {
            return work(None);
        }
        self.users.fetch_add(1, Ordering::SeqCst);
        let shared = self.calls.load(Ordering::SeqCst) == SHARED;
        // SAFETY: as there is a user, nobody changes it.
        let end = unsafe { (*self.end.get()).as_ref() };
        let done = work(end.filter(|_| shared));
        self.users.fetch_sub(1, Ordering::SeqCst);
        done
    }

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
            true => self.stream.write(self.ours, len - skip, self.whole(len), copy),
            false => self.stream.read(1 - self.ours, len - skip, copy),
        }
    }

    /// Up to how many bytes a write of `len` must not be split.
    fn whole(&self, len: usize) -> usize {
        if self.pipe && len <= WHOLE { WHOLE } else { 0 }
    }

    /// Whether the call is for such an end.
    fn suits(&self, call: &Call<'_>) -> bool {
        !self.pipe || !call.of_socket && call.writes == (self.ours == 0)
    }

    /// Whether the call waits for what is not there; `None` if only the server knows.
    fn waits(&self, call: &Call<'_>) -> Option<bool> {
        match self.stream.blocks(self.ours) {
            _ if call.flags & DONTWAIT != 0 => Some(false),
            Blocks::Yes => Some(true),
            Blocks::No => Some(false),
            Blocks::Unknown => None,
        }
    }

    /// Whether looking again may pay: there is as much as the call needs at least.
    fn stirs(&self, call: &Call<'_>, len: usize) -> bool {
        match call.writes {
            true => self.stream.room(self.ours) >= if self.whole(len) > 0 { len } else { 1 },
            false => self.stream.filled(1 - self.ours).is_ok_and(|filled| filled > 0),
        }
    }

    /// What poll(2) says; `None` if only the server knows. As long as the memory is shared nothing else than bytes and room is there to be
    /// told of.
    fn ready(&self, events: i16) -> Option<i16> {
        let (reads, writes) = (events & (POLLIN | POLLRDNORM), events & POLLOUT);
        let wrong = if self.ours == 0 { reads } else { writes };
        if events & !(reads | writes | QUIET) != 0 || self.pipe && wrong != 0 {
            return None;
        }
        let filled = self.stream.filled(1 - self.ours).ok()?;
        let mut ready = if filled > 0 { reads } else { 0 };
        if writes != 0 {
            // The kernel has its own measure of a little room.
            self.stream.is_half_free(self.ours).then_some(())?;
            ready |= writes;
        }
        // Bytes that were brought back meanwhile are to be seen there.
        let over = (0..2).any(|direction| self.stream.is_over(direction));
        if over { None } else { Some(ready) }
    }

    /// Looks for a short time, if that pays, whether something can be moved.
    fn look(&self, call: &Call<'_>, len: usize) -> bool {
        let mut looks = 0u32;
        let stirs = || {
            looks += 1;
            if looks.is_multiple_of(YIELD) {
                // The other end may stand behind us on the same processor.
                std::thread::yield_now();
            }
            self.stirs(call, len).then_some(())
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

    /// Sleeps until there is something to read.
    ///
    /// Another thread could close the descriptor meanwhile, and who sleeps would have to go on doing so in the server, which is to know of it first:
    /// so nobody but a program's only thread sleeps here.
    fn sleep(&self, sleeper: Sleeper<'_>) -> Slept {
        let from = 1 - self.ours;
        let Some(Bell(bell)) = self.bell.get() else {
            self.missed.fetch_add(u32::from(self.missed.load(Ordering::Relaxed) < SLEEPS), Ordering::Relaxed);
            return Slept::There;
        };
        // Who has locks sleeps nowhere; a child that shares this memory may be killed at any place.
        let lonely = !signals::is_held() && guest::name() == 0 && sysproxy::host::threads() == Ok(1);
        if !lonely || !self.stream.lie_down(from) {
            return Slept::There;
        }
        let up = || self.stream.is_over(from) || self.stream.filled(from) != Ok(0);
        let mut vain = 0;
        let slept = loop {
            if up() {
                break Slept::Up;
            }
            if vain > VAIN {
                break Slept::There;
            }
            match sleeper(bell) {
                Woken::Rung => vain += 1,
                Woken::Signal => break Slept::Interrupted,
                Woken::Other => break Slept::There,
            }
            if up() {
                break Slept::Up;
            }
            self.stream.lie_still(from);
        };
        self.stream.rise(from);
        slept
    }

    /// Tells the program at the other end of bytes, if it sleeps on its bell; whether the server is to do so.
    fn rings_in_vain(&self) -> bool {
        if !self.stream.has_sleeper(self.ours) {
            return false;
        }
        match self.bell.get() {
            Some(Bell(bell)) => {
                if self.stream.takes_the_bell(self.ours) {
                    bell.with(sysproxy::host::ring);
                }
                false
            }
            None => {
                self.missed.fetch_add(u32::from(self.missed.load(Ordering::Relaxed) < SLEEPS), Ordering::Relaxed);
                true
            }
        }
    }

    fn serve(&self, call: &Call<'_>, sleeper: Sleeper<'_>) -> core::result::Result<Done, Over> {
        let len = call.len();
        if len == 0 || !self.suits(call) {
            return Ok(Done::Nothing);
        }
        let waits = self.waits(call);
        let (mut moved, mut told, mut vain, mut marked) = (0, false, 0, false);
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
                    told |= tell | (call.writes && self.rings_in_vain());
                    vain = 0;
                    if moved == len || !call.writes {
                        return Ok(Done::All(Ok(moved), told));
                    }
                }
                Moved::Nothing if waits.unwrap_or(self.blocking) => {
                    vain += 1;
                    // Who sleeps for what is written would not make room.
                    if told || vain > VAIN {
                        break;
                    }
                    if self.look(call, len - moved) {
                        continue;
                    }
                    // The server knows of time limits, and wakes who waits for room.
                    if call.writes || waits != Some(true) {
                        break;
                    }
                    match self.sleep(sleeper) {
                        Slept::Up => {}
                        Slept::Interrupted => return Ok(Done::All(Err(Errno::EINTR), told)),
                        Slept::There => break,
                    }
                }
                // Whoever watches for room is told once there is some.
                Moved::Nothing if waits == Some(false) && call.writes && !marked => {
                    self.stream.writer_sleeps(self.ours);
                    marked = true;
                }
                Moved::Nothing if waits == Some(false) => {
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
