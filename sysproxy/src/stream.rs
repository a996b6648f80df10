//! The bytes of a stream between two programs, in memory that both of them and the kernel map: what one end writes the other reads
//! without a call.
//!
//! Each direction is a ring. Whoever wants to write (any thread of any program that has the end, or the kernel for it) takes the writer's
//! turn, copies, and gives the turn back together with the new position: one word holds both, so that a turn which was taken away
//! meanwhile moves nothing. The same holds for reading. Nobody waits for a turn: a program that finds it taken makes a plain call
//! instead, and the kernel ends the sharing ([`Stream::end`]) and keeps the bytes itself from then on. It does so too for whatever is not
//! plain reading and writing. Sleeping is the kernel's as well: before somebody sleeps there it leaves a mark, and whoever then writes or
//! reads tells it. Somebody who is to hear of everything that comes (a watcher of edges) leaves a mark that stays.
//!
//! A program that reads may sleep by itself too, on a bell: of a pair of sockets each end has one, and rings the other's. Whoever then writes sees that
//! somebody lies there, and rings, without the kernel if he has asked for his end's socket. There is one place to lie for each end; it is given
//! free by nobody but who has taken it, so that he alone hears what was rung for him. Who finds it taken sleeps in the kernel.
//!
//! A pipe uses the first direction only, and has small writes never split.
//!
//! All that is in the memory is a claim of the other side's: positions that cannot be end the sharing, and nobody follows them.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crate::host::shared::{self, Mapping};
use crate::host::{self, HostFd, Owned};

/// Bytes that a direction may hold at most.
pub const CAPACITY_MAX: usize = 4 << 20;

/// Where the bytes of the first direction begin; each direction is a multiple of it.
const DATA: usize = 4096;

/// Streams of a kernel with bells at most: each pair takes two descriptors of the host.
const BELLS_MAX: usize = 256;

/// How many there are in this process.
static BELLS: AtomicUsize = AtomicUsize::new(0);

/// How often a turn that somebody else had is looked at again.
const PATIENCE: usize = 64;

/// A position and whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn(u64);

impl Turn {
    const POSITION: u64 = (1 << 40) - 1;
    const HELD: u64 = 1 << 62;
    const OVER: u64 = 1 << 63;

    /// Bytes since the beginning; wraps.
    fn position(self) -> u64 {
        self.0 & Self::POSITION
    }

    fn is_held(self) -> bool {
        self.0 & Self::HELD != 0
    }

    /// Whether the kernel has ended the sharing.
    fn is_over(self) -> bool {
        self.0 & Self::OVER != 0
    }

    /// The same with the turn taken, as nobody has taken it lately: by another number than the turns before.
    fn taken(self) -> Self {
        let number = (self.0 & !Self::HELD).wrapping_add(Self::POSITION + 1) & !(Self::HELD | Self::OVER);
        Self(number & !Self::POSITION | self.position() | Self::HELD)
    }

    /// The same with the turn given back, so many bytes further.
    fn given_back(self, moved: usize) -> Self {
        let position = self.position().wrapping_add(moved as u64) & Self::POSITION;
        Self(self.0 & !(Self::POSITION | Self::HELD) | position)
    }

    /// How far it is ahead of another.
    fn ahead_of(self, other: Self) -> u64 {
        self.position().wrapping_sub(other.position()) & Self::POSITION
    }
}

/// A cache line of its own.
#[repr(C, align(64))]
struct Line<T>(T);

/// What is known of a direction.
#[repr(C)]
struct Control {
    /// Up to where bytes were written.
    put: Line<AtomicU64>,
    /// Up to where they were read.
    taken: Line<AtomicU64>,
    /// How many there may be.
    limit: Line<AtomicU32>,
    /// Room that is worth telling of: a writer that waits has much to write.
    enough: Line<AtomicU32>,
    /// So many bytes count as having come to the reader; what is more than that is news to it when it has read of them.
    window: Line<AtomicU32>,
    /// Whether the kernel wants to hear of bytes: one of the numbers below.
    reader_sleeps: Line<AtomicU32>,
    /// Whether the kernel wants to hear of room.
    writer_sleeps: Line<AtomicU32>,
    /// Whether the program that reads has looked for the bytes that came last, and not slept.
    reader_awake: Line<AtomicU32>,
    /// Whether the open file of the end that writes this direction blocks, a number of [`Blocks`].
    blocks: Line<AtomicU32>,
    /// Whether a program sleeps on a bell until there are bytes: one of the numbers below. Free again by who sleeps only.
    bed: Line<AtomicU32>,
    /// The number of the stream, which no other of its kernel has.
    number: Line<AtomicU64>,
}

/// Nobody sleeps on the bell.
const FREE: u32 = 0;
/// Somebody sleeps on it, or is about to: to be rung once.
const ASLEEP: u32 = 1;
/// Somebody was rung, and has not risen yet.
const RUNG: u32 = 2;

/// Nobody sleeps.
const NOBODY: u32 = 0;
/// Somebody sleeps, or is about to: to be told once.
const ONCE: u32 = 1;
/// Somebody is to hear of everything.
const ALWAYS: u32 = 2;

/// Whether the open file of an end blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Only the kernel knows: there are several.
    Unknown,
    /// It does.
    Yes,
    /// It does not (`O_NONBLOCK`).
    No,
}

const _: () = assert!(2 * size_of::<Control>() <= DATA);

/// What came of an attempt to write or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes were moved; the kernel is to be told if `tell`.
    Bytes {
        /// How many.
        len: usize,
        /// Whether somebody sleeps in the kernel for them.
        tell: bool,
    },
    /// There is no room, or nothing to read.
    Nothing,
    /// It is somebody else's turn.
    Busy,
    /// The kernel keeps the bytes itself, or must, since what the memory says cannot be.
    Over,
}

/// Moves bytes between a place in the ring and what is `done` bytes into the caller's memory.
pub trait Copy {
    /// Moves `len` bytes; an error for memory that is not there.
    fn copy(&mut self, done: usize, place: *mut u8, len: usize) -> host::Result<()>;
}

impl<F: FnMut(usize, *mut u8, usize) -> host::Result<()>> Copy for F {
    fn copy(&mut self, done: usize, place: *mut u8, len: usize) -> host::Result<()> {
        self(done, place, len)
    }
}

/// The memory of a stream, with a direction for each end's writing.
pub struct Stream {
    memory: Mapping,
    capacity: usize,
    /// The kernel's: a socket for each end, of a pair.
    bells: OnceLock<[Owned; 2]>,
}

impl Stream {
    /// Makes the memory, with room for at least so many bytes a direction, and the file to share it by, which nobody can make shorter.
    ///
    /// `EINVAL` for more than [`CAPACITY_MAX`].
    pub fn create(room: usize) -> host::Result<(Arc<Self>, Owned)> {
        let capacity = room.max(DATA).checked_next_power_of_two().filter(|bytes| *bytes <= CAPACITY_MAX);
        let capacity = capacity.ok_or(host::Error::INVAL)?;
        let file = host::memfd(c"rump-stream")?;
        shared::resize(file.fd(), (DATA + 2 * capacity) as u64)?;
        shared::seal_length(file.fd())?;
        let stream = Self::attach(file.fd())?;
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        stream.control(0).number.0.store(NUMBER.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok((stream, file))
    }

    /// Maps the memory that the kernel has made. `EINVAL` if it is none, or could be made shorter.
    pub fn attach(file: HostFd) -> host::Result<Arc<Self>> {
        let length = usize::try_from(shared::sealed_length(file)?).map_err(|_| host::Error::INVAL)?;
        let capacity = length.checked_sub(DATA).ok_or(host::Error::INVAL)? / 2;
        if length != DATA + 2 * capacity || !capacity.is_power_of_two() || !(DATA..=CAPACITY_MAX).contains(&capacity) {
            return Err(host::Error::INVAL);
        }
        // A handler may fork in the middle of a copy, and the child goes on with it.
        Ok(Arc::new(Self { memory: Mapping::inherited(file, length)?, capacity, bells: OnceLock::new() }))
    }

    fn control(&self, direction: usize) -> &Control {
        debug_assert!(direction < 2);
        // SAFETY: both controls lie at the beginning of the mapping, which is aligned to a page, as long as it lives; they are
        // atomics, which another process may change at any time.
        unsafe { &*self.memory.at(0).cast::<Control>().add(direction & 1) }
    }

    /// Its number among those of its kernel.
    pub fn number(&self) -> u64 {
        self.control(0).number.0.load(Ordering::Relaxed)
    }

    /// Says how many bytes a direction may hold, no more than there is room for, and how much room is worth telling a writer of.
    pub fn limit(&self, direction: usize, bytes: usize, enough: usize) {
        let control = self.control(direction);
        let short = |bytes: usize| bytes.min(self.capacity) as u32;
        control.limit.0.store(short(bytes), Ordering::Relaxed);
        control.enough.0.store(short(enough.min(bytes)), Ordering::Relaxed);
        control.window.0.store(u32::MAX, Ordering::Relaxed);
    }

    /// Says how many bytes count as having come to the reader of a direction; all of them, if it is not said.
    pub fn window(&self, direction: usize, bytes: usize) {
        self.control(direction).window.0.store(bytes.min(self.capacity) as u32, Ordering::Relaxed);
    }

    /// Says whether the open file of the end blocks that writes a direction.
    pub fn set_blocks(&self, end: usize, blocks: Blocks) {
        self.control(end).blocks.0.store(blocks as u32, Ordering::Relaxed);
    }

    /// Whether the open file of the end blocks that writes a direction.
    pub fn blocks(&self, end: usize) -> Blocks {
        match self.control(end).blocks.0.load(Ordering::Relaxed) {
            word if word == Blocks::Yes as u32 => Blocks::Yes,
            word if word == Blocks::No as u32 => Blocks::No,
            _ => Blocks::Unknown,
        }
    }

    /// How much of a direction's limit is free, if that is plain: a quarter, a half and such.
    pub fn is_half_free(&self, direction: usize) -> bool {
        let limit = self.control(direction).limit.0.load(Ordering::Relaxed) as usize;
        self.room(direction) * 2 >= limit.min(self.capacity)
    }

    /// Whether the kernel has ended the sharing of a direction.
    pub fn is_over(&self, direction: usize) -> bool {
        let control = self.control(direction);
        [&control.put, &control.taken].iter().any(|word| Turn(word.0.load(Ordering::Acquire)).is_over())
    }

    /// How many bytes are in a direction; `EPROTO` if that cannot be.
    pub fn filled(&self, direction: usize) -> host::Result<usize> {
        let control = self.control(direction);
        let mut filled = 0;
        for _ in 0..PATIENCE {
            let taken = control.taken.0.load(Ordering::Acquire);
            filled = Turn(control.put.0.load(Ordering::Acquire)).ahead_of(Turn(taken));
            if control.taken.0.load(Ordering::Acquire) == taken {
                return Self::possible(filled, self.capacity);
            }
        }
        // It moves all the time.
        Ok(filled.min(self.capacity as u64) as usize)
    }

    /// How many bytes may be added to a direction now.
    pub fn room(&self, direction: usize) -> usize {
        let limit = (self.control(direction).limit.0.load(Ordering::Relaxed) as usize).min(self.capacity);
        limit.saturating_sub(self.filled(direction).unwrap_or(limit))
    }

    fn possible(filled: u64, capacity: usize) -> host::Result<usize> {
        usize::try_from(filled).ok().filter(|filled| *filled <= capacity).ok_or(host::Error::PROTO)
    }

    /// Runs `copy` over the ring from a position on.
    fn run(&self, direction: usize, position: u64, len: usize, copy: &mut impl Copy) -> host::Result<()> {
        let mut done = 0;
        while done < len {
            let within = (position.wrapping_add(done as u64) as usize) & (self.capacity - 1);
            let straight = (len - done).min(self.capacity - within);
            copy.copy(done, self.memory.at(DATA + direction * self.capacity + within), straight)?;
            done += straight;
        }
        Ok(())
    }

    /// Takes a turn if it is free, moves bytes, and gives it back.
    fn turn(
        &self,
        word: &AtomicU64,
        mut measure: impl FnMut(Turn) -> host::Result<usize>,
        mut work: impl FnMut(u64, usize) -> host::Result<usize>,
    ) -> host::Result<Moved> {
        for _ in 0..PATIENCE {
            let seen = Turn(word.load(Ordering::Acquire));
            if seen.is_over() {
                return Ok(Moved::Over);
            }
            if seen.is_held() {
                core::hint::spin_loop();
                continue;
            }
            let len = match measure(seen) {
                Ok(0) => return Ok(Moved::Nothing),
                Ok(len) => len,
                Err(_) => return Ok(Moved::Over),
            };
            let ours = seen.taken();
            if word.compare_exchange(seen.0, ours.0, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            let moved = work(ours.position(), len);
            let after = ours.given_back(*moved.as_ref().unwrap_or(&0));
            if word.compare_exchange(ours.0, after.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return moved.map(|len| Moved::Bytes { len, tell: false });
            }
            // Somebody has taken the turn away: what was moved does not count.
        }
        Ok(Moved::Busy)
    }

    /// Writes up to `len` bytes, or all or nothing of up to `whole`.
    ///
    /// The error of `copy`: then nothing was written.
    pub fn write(&self, direction: usize, len: usize, whole: usize, copy: impl Copy) -> host::Result<Moved> {
        let moved = self.put(direction, len, whole, copy)?;
        let Moved::Bytes { len, .. } = moved else { return Ok(moved) };
        // The kernel says that somebody sleeps, then looks; we write, then look whether it has said so: one of us sees the other.
        fence(Ordering::SeqCst);
        Ok(Moved::Bytes { len, tell: told(&self.control(direction).reader_sleeps) })
    }

    fn put(&self, direction: usize, len: usize, whole: usize, mut copy: impl Copy) -> host::Result<Moved> {
        let control = self.control(direction);
        let room = |put: Turn| {
            let filled = Self::possible(put.ahead_of(Turn(control.taken.0.load(Ordering::Acquire))), self.capacity)?;
            let limit = (control.limit.0.load(Ordering::Relaxed) as usize).min(self.capacity);
            let room = limit.saturating_sub(filled).min(len);
            Ok(if room < len && len <= whole { 0 } else { room })
        };
        self.turn(&control.put.0, room, |position, len| {
            self.run(direction, position, len, &mut copy)?;
            Ok(len)
        })
    }

    /// Reads up to `len` bytes.
    ///
    /// The error of `copy`: then nothing was read.
    pub fn read(&self, direction: usize, len: usize, copy: impl Copy) -> host::Result<Moved> {
        let moved = self.take(direction, len, false, copy)?;
        let Moved::Bytes { len, .. } = moved else { return Ok(moved) };
        fence(Ordering::SeqCst);
        let control = self.control(direction);
        let filled = self.filled(direction).unwrap_or(usize::MAX);
        // Who reports edges is not told by the writer of what lies beyond the window.
        let watched = control.reader_sleeps.0.load(Ordering::Relaxed) == ALWAYS;
        let news = watched && filled.saturating_add(len) > control.window.0.load(Ordering::Relaxed) as usize;
        Ok(Moved::Bytes { len, tell: self.has_enough(direction) && told(&control.writer_sleeps) || news })
    }

    /// Whether there is so much room that a writer which waits is to hear of it.
    pub fn has_enough(&self, direction: usize) -> bool {
        self.room(direction) >= self.control(direction).enough.0.load(Ordering::Relaxed) as usize
    }

    fn take(&self, direction: usize, len: usize, peek: bool, mut copy: impl Copy) -> host::Result<Moved> {
        let control = self.control(direction);
        let filled = |taken: Turn| {
            let filled = Turn(control.put.0.load(Ordering::Acquire)).ahead_of(taken);
            Self::possible(filled, self.capacity).map(|filled| filled.min(len))
        };
        let mut seen = 0;
        let moved = self.turn(&control.taken.0, filled, |position, len| {
            self.run(direction, position, len, &mut copy)?;
            seen = len;
            Ok(if peek { 0 } else { len })
        })?;
        Ok(if let Moved::Bytes { tell, .. } = moved { Moved::Bytes { len: seen, tell } } else { moved })
    }

    /// Says whether the program that reads looks for bytes, or sleeps for them.
    pub fn set_awake(&self, direction: usize, awake: bool) {
        self.control(direction).reader_awake.0.store(u32::from(awake), Ordering::Relaxed);
    }

    /// Whether the program that reads looked for the last bytes: what it answers will soon be there.
    pub fn is_awake(&self, direction: usize) -> bool {
        self.control(direction).reader_awake.0.load(Ordering::Relaxed) != 0
    }

    /// The kernel's: writes bytes of its own, as many as there is room for. The mark of who sleeps stays: the kernel has its own word for
    /// when to wake him.
    pub fn write_own(&self, direction: usize, data: &[u8], whole: usize) -> Moved {
        let copy = |done: usize, place: *mut u8, len: usize| {
            let from = data.get(done..done + len).unwrap_or_default();
            // SAFETY: the ring has room for as many there; another process may look at it, or spoil it.
            unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), place, from.len()) };
            Ok(())
        };
        let moved = self.put(direction, data.len(), whole, copy).unwrap_or(Moved::Over);
        self.rouse(direction);
        moved
    }

    /// The kernel's: reads into memory of its own; with `peek` the bytes stay.
    pub fn read_own(&self, direction: usize, buf: &mut [u8], peek: bool) -> Moved {
        let len = buf.len();
        let copy = |done: usize, place: *mut u8, len: usize| {
            // SAFETY: a place in the ring, of this length.
            unsafe { copy_out(place, buf.get_mut(done..done + len).unwrap_or_default()) };
            Ok(())
        };
        self.take(direction, len, peek, copy).unwrap_or(Moved::Over)
    }

    /// Somebody is about to sleep until there are bytes. What there is now is to be looked at once more after it.
    pub fn reader_sleeps(&self, direction: usize) {
        sleeps(&self.control(direction).reader_sleeps);
    }

    /// Somebody is about to sleep, or to go away, until there is room. What there is now is to be looked at once more after it.
    pub fn writer_sleeps(&self, direction: usize) {
        sleeps(&self.control(direction).writer_sleeps);
    }

    /// The kernel's: whether somebody is to hear of all bytes that come from now on.
    pub fn reader_watches(&self, direction: usize, watches: bool) {
        watch(&self.control(direction).reader_sleeps, watches);
    }

    /// The kernel's: whether somebody is to hear of all room that there comes to be from now on.
    pub fn writer_watches(&self, direction: usize, watches: bool) {
        watch(&self.control(direction).writer_sleeps, watches);
    }

    /// Takes the place to sleep until a direction has bytes; `false` if somebody has it. What there is now is to be looked at once more
    /// after it.
    pub fn lie_down(&self, direction: usize) -> bool {
        let bed = &self.control(direction).bed.0;
        let taken = bed.compare_exchange(FREE, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        fence(Ordering::SeqCst);
        taken
    }

    /// Goes on sleeping at a place that one has, after one was rung.
    pub fn lie_still(&self, direction: usize) {
        self.control(direction).bed.0.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Gives a place free that one has.
    pub fn rise(&self, direction: usize) {
        self.control(direction).bed.0.store(FREE, Ordering::Release);
    }

    /// Whether somebody sleeps on the bell of who reads a direction. To be asked after a [write](Self::write).
    pub fn has_sleeper(&self, direction: usize) -> bool {
        self.control(direction).bed.0.load(Ordering::Relaxed) == ASLEEP
    }

    /// Whether the caller is the one that is to ring for who sleeps there.
    pub fn takes_the_bell(&self, direction: usize) -> bool {
        let bed = &self.control(direction).bed.0;
        bed.compare_exchange(ASLEEP, RUNG, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The kernel's: the socket of an end, on which its program is rung, and rings.
    pub fn bell(&self, end: usize) -> host::Result<HostFd> {
        if self.bells.get().is_none() {
            if BELLS.fetch_add(1, Ordering::Relaxed) >= BELLS_MAX {
                BELLS.fetch_sub(1, Ordering::Relaxed);
                return Err(host::Error::AGAIN);
            }
            let made = host::socketpair().map(|(one, other)| self.bells.set([one, other]).is_ok());
            if made != Ok(true) {
                BELLS.fetch_sub(1, Ordering::Relaxed);
                made?;
            }
        }
        self.bells.get().and_then(|bells| bells.get(end)).map(Owned::fd).ok_or(host::Error::INVAL)
    }

    /// The kernel's: wakes who sleeps on the bell for bytes that may have come.
    pub fn rouse(&self, direction: usize) {
        fence(Ordering::SeqCst);
        if self.has_sleeper(direction) && self.takes_the_bell(direction) {
            self.ring(direction);
        }
    }

    fn ring(&self, direction: usize) {
        self.bells.get().and_then(|bells| bells.get(direction)).into_iter().for_each(|bell| host::ring(bell.fd()));
    }

    /// The kernel's: ends the sharing of a direction, whoever's turn it is, and returns how many bytes were written and read (modulo 2^40)
    /// and those that were not read.
    ///
    /// `EPROTO` if there cannot be so many.
    pub fn end(&self, direction: usize) -> host::Result<([u64; 2], Vec<u8>)> {
        let control = self.control(direction);
        let over = |word: &AtomicU64| Turn(word.fetch_or(Turn::OVER, Ordering::AcqRel));
        // The writer first: a reader cannot be ahead of it then.
        let (put, taken) = (over(&control.put.0), over(&control.taken.0));
        self.ring(direction);
        let len = Self::possible(put.ahead_of(taken), self.capacity)?;
        let mut rest = vec![0; len];
        self.run(direction, taken.position(), len, &mut |done: usize, place: *mut u8, len: usize| {
            // SAFETY: a place in the ring, of this length.
            unsafe { copy_out(place, rest.get_mut(done..done + len).unwrap_or_default()) };
            Ok(())
        })?;
        Ok(([put.position(), taken.position()], rest))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.bells.get().is_some() {
            BELLS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Copies from a place in a ring.
///
/// # Safety
///
/// The ring has as many bytes there; another process may change them meanwhile, and any are good.
unsafe fn copy_out(place: *mut u8, to: &mut [u8]) {
    // SAFETY: as the caller says.
    unsafe { core::ptr::copy_nonoverlapping(place, to.as_mut_ptr(), to.len()) };
}

/// Says that somebody sleeps, who looks once more after it: either he sees what the other has done, or the other, who looks after that,
/// sees the mark.
fn sleeps(mark: &Line<AtomicU32>) {
    let _ = mark.0.compare_exchange(NOBODY, ONCE, Ordering::Relaxed, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// Says whether somebody watches. Who did may sleep still.
fn watch(mark: &Line<AtomicU32>, watches: bool) {
    match watches {
        true => mark.0.store(ALWAYS, Ordering::Relaxed),
        false => drop(mark.0.compare_exchange(ALWAYS, ONCE, Ordering::Relaxed, Ordering::Relaxed)),
    }
    fence(Ordering::SeqCst);
}

/// Whether somebody is to be told; of those who sleep it is taken back.
fn told(mark: &Line<AtomicU32>) -> bool {
    match mark.0.load(Ordering::Relaxed) {
        NOBODY => false,
        ALWAYS => true,
        _ => {
            let taken = mark.0.compare_exchange(ONCE, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
            // Another has told them, or they have come to watch.
            taken.is_ok() || taken == Err(ALWAYS)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const ROOM: usize = 8192;

    fn stream() -> Arc<Stream> {
        let (stream, file) = Stream::create(ROOM).unwrap();
        (0..2).for_each(|direction| stream.limit(direction, ROOM, ROOM / 3));
        drop(file);
        stream
    }

    fn write(stream: &Stream, data: &[u8]) -> Moved {
        // SAFETY: a place in the ring, of this length.
        let copy = |done: usize, place: *mut u8, len: usize| unsafe {
            core::ptr::copy_nonoverlapping(data[done..].as_ptr(), place, len);
            Ok(())
        };
        stream.write(0, data.len(), 0, copy).unwrap()
    }

    fn read(stream: &Stream, buf: &mut [u8]) -> Moved {
        let len = buf.len();
        // SAFETY: the same.
        stream
            .read(0, len, |done: usize, place: *mut u8, len: usize| unsafe {
                copy_out(place, &mut buf[done..done + len]);
                Ok(())
            })
            .unwrap()
    }

    fn bytes(len: usize) -> Moved {
        Moved::Bytes { len, tell: false }
    }

    #[test]
    fn bytes_come_in_order_over_the_end_of_the_ring() {
        let stream = stream();
        let data: Vec<u8> = (0..=255).cycle().take(ROOM * 2 / 3).collect();
        for _ in 0..5 {
            assert_eq!(write(&stream, &data), bytes(data.len()));
            let mut got = vec![0; ROOM];
            assert_eq!(stream.read_own(0, &mut got, true), bytes(data.len()));
            assert_eq!(read(&stream, &mut got), bytes(data.len()));
            assert_eq!(got[..data.len()], data);
        }
        assert_eq!((read(&stream, &mut [0]), stream.filled(0)), (Moved::Nothing, Ok(0)));
    }

    #[test]
    fn no_more_is_written_than_may_be() {
        let stream = stream();
        stream.limit(0, 100, 33);
        assert_eq!(write(&stream, &[1; 300]), bytes(100));
        assert_eq!((write(&stream, &[1]), stream.room(0)), (Moved::Nothing, 0));
        stream.limit(0, usize::MAX >> 33, 100);
        assert_eq!(write(&stream, &vec![1; 2 * ROOM]), bytes(ROOM - 100));
    }

    #[test]
    fn who_sleeps_is_told_once_and_of_room_when_there_is_enough() {
        let stream = stream();
        stream.reader_sleeps(0);
        assert_eq!(stream.write_own(0, &[1; ROOM / 2], 0), bytes(ROOM / 2));
        assert_eq!(write(&stream, &[1; ROOM / 4]), Moved::Bytes { len: ROOM / 4, tell: true });
        assert_eq!(write(&stream, &[1; ROOM / 4]), bytes(ROOM / 4));
        stream.writer_sleeps(0);
        assert_eq!(read(&stream, &mut [0; 100]), bytes(100));
        assert_eq!(stream.read_own(0, &mut [0; ROOM / 2], false), bytes(ROOM / 2));
        assert_eq!(read(&stream, &mut [0; 1]), Moved::Bytes { len: 1, tell: true });
        assert_eq!(read(&stream, &mut [0; 1]), bytes(1));
    }

    #[test]
    fn what_is_to_be_whole_is_written_whole_or_not() {
        let stream = stream();
        assert_eq!(stream.write_own(0, &[1; ROOM - 100], 0), bytes(ROOM - 100));
        assert_eq!(stream.write_own(0, &[2; 101], 4096), Moved::Nothing);
        assert_eq!(stream.write_own(0, &[2; 100], 4096), bytes(100));
        assert_eq!(read(&stream, &mut [0; 60]), bytes(60));
        assert_eq!(stream.write_own(0, &[3; 4097], 4096), bytes(60));
    }

    #[test]
    fn who_watches_is_told_of_everything() {
        let stream = stream();
        let tell = |len: usize, tell: bool| Moved::Bytes { len, tell };
        stream.reader_watches(0, true);
        stream.reader_sleeps(0);
        assert_eq!((write(&stream, b"a"), write(&stream, b"b")), (tell(1, true), tell(1, true)));
        stream.reader_watches(0, false);
        // He may sleep still.
        assert_eq!((write(&stream, b"c"), write(&stream, b"d")), (tell(1, true), tell(1, false)));
        stream.writer_watches(0, true);
        assert_eq!((read(&stream, &mut [0]), read(&stream, &mut [0])), (tell(1, true), tell(1, true)));
        stream.writer_watches(0, false);
        assert_eq!((read(&stream, &mut [0]), read(&stream, &mut [0])), (tell(1, true), tell(1, false)));
        stream.reader_watches(0, true);
        stream.window(0, 3);
        assert_eq!(write(&stream, b"12345"), tell(5, true));
        // What lay beyond the window has come in by this.
        assert_eq!([1; 3].map(|len| read(&stream, &mut vec![0; len])), [tell(1, true), tell(1, true), tell(1, false)]);
    }

    #[test]
    fn who_sleeps_on_a_bell_is_rung_once_and_has_the_place_alone() {
        let stream = stream();
        let bells = [0, 1].map(|end| stream.bell(end).unwrap());
        let is_rung = |end: usize| host::recv(bells[end], &mut [0; 8]).is_ok();
        assert!(stream.lie_down(0) && !stream.lie_down(0));
        assert_eq!(stream.write_own(0, b"hello", 0), bytes(5));
        assert!(!stream.has_sleeper(0) && !stream.takes_the_bell(0) && !stream.lie_down(0), "rung, and there still");
        assert_eq!((is_rung(1), is_rung(1), is_rung(0)), (true, false, false));
        assert_eq!((stream.write_own(0, b"!", 0), is_rung(1)), (bytes(1), false));
        stream.lie_still(0);
        assert_eq!((write(&stream, b"more"), stream.has_sleeper(0)), (bytes(4), true));
        assert!(stream.takes_the_bell(0) && !stream.takes_the_bell(0));
        stream.rise(0);
        stream.end(1).unwrap();
        assert!(is_rung(0) && !is_rung(1) && stream.lie_down(0));
        stream.end(0).unwrap();
        assert!(is_rung(1));
    }

    #[test]
    fn a_turn_that_is_taken_away_moves_nothing() {
        let stream = stream();
        write(&stream, b"hello");
        let mut rest = Vec::new();
        let moved = stream.read(0, 5, |_: usize, _: *mut u8, _: usize| {
            if rest.is_empty() {
                // Another finds the turn taken; the kernel does not mind.
                assert_eq!((read(&stream, &mut [0]), stream.filled(0)), (Moved::Busy, Ok(5)));
                rest = stream.end(0).unwrap().1;
            }
            Ok(())
        });
        assert_eq!((moved, rest.as_slice()), (Ok(Moved::Over), &b"hello"[..]));
        assert_eq!((write(&stream, b"x"), read(&stream, &mut [0])), (Moved::Over, Moved::Over));
    }

    #[test]
    fn memory_that_is_not_there_moves_nothing() {
        let stream = stream();
        write(&stream, b"hello");
        let bad = |_: usize, _: *mut u8, _: usize| Err(host::Error::FAULT);
        assert_eq!(stream.read(0, 5, bad), Err(host::Error::FAULT));
        assert_eq!(stream.write(0, 5, 0, bad), Err(host::Error::FAULT));
        assert_eq!(read(&stream, &mut [0; 9]), bytes(5));
    }

    #[test]
    fn positions_that_cannot_be_are_not_followed() {
        let stream = stream();
        write(&stream, b"hello");
        stream.control(0).put.0.store(ROOM as u64 + 1, Ordering::Relaxed);
        assert_eq!((read(&stream, &mut [0; 9]), write(&stream, b"x")), (Moved::Over, Moved::Over));
        assert_eq!((stream.filled(0), stream.room(0)), (Err(host::Error::PROTO), 0));
        assert_eq!(stream.end(0).err(), Some(host::Error::PROTO));
    }

    #[test]
    fn positions_wrap() {
        let stream = stream();
        for word in [&stream.control(0).put, &stream.control(0).taken] {
            word.0.store(Turn::POSITION - 2, Ordering::Relaxed);
        }
        assert_eq!(write(&stream, b"hello"), bytes(5));
        assert_eq!(stream.filled(0), Ok(5));
        let mut got = [0; 5];
        assert_eq!((read(&stream, &mut got), &got), (bytes(5), b"hello"));
        write(&stream, b"more");
        assert_eq!(stream.end(0).map(|(_, rest)| rest), Ok(b"more".to_vec()));
    }

    #[test]
    fn memory_that_could_become_shorter_is_not_mapped() {
        let file = host::memfd(c"other").unwrap();
        shared::resize(file.fd(), (DATA + 2 * ROOM) as u64).unwrap();
        assert_eq!(Stream::attach(file.fd()).err(), Some(host::Error::INVAL));
        shared::resize(file.fd(), (DATA + 2 * ROOM + 2) as u64).unwrap();
        shared::seal_length(file.fd()).unwrap();
        assert_eq!(Stream::attach(file.fd()).err(), Some(host::Error::INVAL));
        assert_eq!(Stream::create(CAPACITY_MAX + 1).err(), Some(host::Error::INVAL));
    }

    #[test]
    fn many_who_take_turns_lose_nothing_and_the_end_is_clean() {
        const EACH: u64 = 40_000;
        let stream = stream();
        let over = AtomicBool::new(false);
        let (mut read_sum, mut written) = (0u64, [0u64; 3]);
        let mut rest = Vec::new();
        std::thread::scope(|scope| {
            let writers = [1u8, 2, 3].map(|mark| {
                let stream = &stream;
                scope.spawn(move || {
                    let mut sent = 0;
                    while sent < EACH {
                        match write(stream, &vec![mark; (sent % 700 + 1) as usize]) {
                            Moved::Bytes { len, .. } => sent += len as u64,
                            Moved::Over => break,
                            Moved::Nothing | Moved::Busy => std::thread::yield_now(),
                        }
                    }
                    sent
                })
            });
            let readers = [(); 2].map(|()| {
                let (stream, over) = (&stream, &over);
                scope.spawn(move || {
                    let (mut sum, mut buf) = (0, [0; 500]);
                    loop {
                        match read(stream, &mut buf) {
                            Moved::Bytes { len, .. } => {
                                sum += buf[..len].iter().map(|byte| u64::from(*byte)).sum::<u64>()
                            }
                            Moved::Over => return sum,
                            Moved::Nothing if over.load(Ordering::Relaxed) => return sum,
                            Moved::Nothing | Moved::Busy => std::thread::yield_now(),
                        }
                    }
                })
            });
            written = writers.map(|writer| writer.join().unwrap());
            rest = stream.end(0).unwrap().1;
            over.store(true, Ordering::Relaxed);
            read_sum = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        });
        let rest: u64 = rest.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(read_sum + rest, written[0] + 2 * written[1] + 3 * written[2]);
        assert!(written.iter().all(|sent| *sent >= EACH));
    }
}
