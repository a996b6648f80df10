//! A connection through shared memory: two rings of bytes, one for each direction, in a memory file that both ends map.
//!
//! As long as both ends are awake, bytes cost two copies and no system call. Whoever is about to sleep says so in the memory and looks
//! once more; the other end then rings a bell, an eventfd that is slept on. Each end keeps its own position to itself and takes the
//! other's for a claim: one that cannot be true ends the connection. So whoever writes nonsense into the memory has sent nonsense, as
//! it could over a socket.

use core::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::Arc;

use crate::host::shared::{self, Mapping};
use crate::host::{self, HostFd, IoSlice, Owned};

/// Bytes that one direction holds; a power of two. A call that carries 64 KiB fits, and the beginning of the next.
pub const CAPACITY: usize = 128 << 10;

/// Where the bytes of the first direction begin.
const DATA: usize = 4096;

/// Length of the memory file.
const LENGTH: usize = DATA + 2 * CAPACITY;

/// A word that one end writes, on a cache line of its own.
#[repr(C, align(64))]
struct Word(AtomicU32);

/// What the ends of one direction tell each other. Positions count all bytes since the beginning, and wrap.
#[repr(C)]
struct Control {
    /// Up to where the writer has written.
    put: Word,
    /// Up to where the reader has read.
    taken: Word,
    /// Whether the reader wants its bell rung when there are bytes.
    reader_sleeps: Word,
    /// Whether the writer wants its bell rung when there is room.
    writer_sleeps: Word,
    /// Descriptors that the writer has sent over the socket, each with a byte there.
    passed: Word,
}

const _: () = assert!(2 * size_of::<Control>() <= DATA && CAPACITY.is_power_of_two());

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up = 0,
    /// From the server to the client.
    Down = 1,
}

/// The memory of a connection.
pub struct Memory(Mapping);

impl Memory {
    /// Makes the memory and the file to share it by, which nobody can make shorter.
    pub fn create() -> host::Result<(Arc<Self>, Owned)> {
        let file = host::memfd(c"rump_sp")?;
        shared::resize(file.fd(), LENGTH as u64)?;
        shared::seal_length(file.fd())?;
        Ok((Self::attach(file.fd())?, file))
    }

    /// Maps the memory that the other end has made. `EINVAL` if it is none, or could be made shorter.
    pub fn attach(file: HostFd) -> host::Result<Arc<Self>> {
        if shared::sealed_length(file)? != LENGTH as u64 {
            return Err(host::Error::INVAL);
        }
        Ok(Arc::new(Self(Mapping::new(file, LENGTH)?)))
    }

    fn control(&self, way: Way) -> &Control {
        // SAFETY: both controls lie at the beginning of the mapping, which is aligned to a page, as long as it lives; they are
        // atomics, which the other process may change at any time.
        unsafe { &*self.0.at(0).cast::<Control>().add(way as usize) }
    }

    /// The place of a position, and how far it goes on from there without a break.
    fn place(&self, way: Way, position: u32) -> (*mut u8, usize) {
        let within = position as usize & (CAPACITY - 1);
        (self.0.at(DATA + way as usize * CAPACITY + within), CAPACITY - within)
    }
}

/// The end of a direction that writes. One thread at a time uses it.
pub struct Writer {
    memory: Arc<Memory>,
    way: Way,
    put: u32,
}

impl Writer {
    /// Makes the end at the beginning of a direction that nobody has used.
    pub fn new(memory: Arc<Memory>, way: Way) -> Self {
        Self { memory, way, put: 0 }
    }

    fn control(&self) -> &Control {
        self.memory.control(self.way)
    }

    /// Room that there is; an error if the reader's position cannot be.
    fn room(&self) -> host::Result<usize> {
        let used = self.put.wrapping_sub(self.control().taken.0.load(Ordering::Acquire)) as usize;
        CAPACITY.checked_sub(used).ok_or(host::Error::PROTO)
    }

    /// Writes as much as there is room for, and returns how much that was. A reader that sleeps is to be told: see
    /// [`Self::reader_sleeps`].
    ///
    /// `EAGAIN` if there is no room.
    pub fn write(&mut self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        let mut room = self.room()?;
        let before = self.put;
        for part in parts {
            let mut rest = part.get(..room).unwrap_or(part);
            room -= rest.len();
            while !rest.is_empty() {
                let (place, straight) = self.memory.place(self.way, self.put);
                let (now, later) = rest.split_at(rest.len().min(straight));
                // SAFETY: the place has room for as much, in the mapping; the other process may look at it, or spoil it.
                unsafe { core::ptr::copy_nonoverlapping(now.as_ptr(), place, now.len()) };
                self.put = self.put.wrapping_add(now.len() as u32);
                rest = later;
            }
        }
        let written = self.put.wrapping_sub(before) as usize;
        if written == 0 && parts.iter().any(|part| !part.is_empty()) {
            return Err(host::Error::AGAIN);
        }
        self.control().put.0.store(self.put, Ordering::Release);
        Ok(written)
    }

    /// Whether the reader's bell is to be rung for what was written; it is told once.
    pub fn reader_sleeps(&self) -> bool {
        // The reader says that it sleeps, then looks; we write, then look whether it has said so: one of us sees the other.
        fence(Ordering::SeqCst);
        told(&self.control().reader_sleeps)
    }

    /// Whether something can be written.
    pub fn has_room(&self) -> host::Result<bool> {
        self.room().map(|room| room > 0)
    }

    /// Counts a descriptor that was sent over the socket. What is written from now on may speak of it.
    pub fn count_passed(&self) {
        let passed = &self.control().passed.0;
        passed.store(passed.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Says that the writer is going to sleep for room; `false` if it must not, because there is some.
    pub fn await_room(&self) -> host::Result<bool> {
        let asleep = &self.control().writer_sleeps.0;
        asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let full = self.room()? == 0;
        if !full {
            asleep.store(0, Ordering::Relaxed);
        }
        Ok(full)
    }
}

/// The end of a direction that reads. One thread at a time uses it.
pub struct Reader {
    memory: Arc<Memory>,
    way: Way,
    taken: u32,
    passed: u32,
}

impl Reader {
    /// Makes the end at the beginning of a direction that nobody has used.
    pub fn new(memory: Arc<Memory>, way: Way) -> Self {
        Self { memory, way, taken: 0, passed: 0 }
    }

    fn control(&self) -> &Control {
        self.memory.control(self.way)
    }

    fn filled(&self) -> usize {
        self.control().put.0.load(Ordering::Acquire).wrapping_sub(self.taken) as usize
    }

    /// Whether there are bytes, or what the writer says cannot be: then a read tells.
    pub fn ready(&self) -> bool {
        self.filled() != 0
    }

    /// Reads what there is, as far as `buf` goes. Returns how much that was, and whether the writer's bell is to be rung.
    ///
    /// `EAGAIN` if there is nothing; another error if the writer's position cannot be.
    pub fn read(&mut self, buf: &mut [u8]) -> host::Result<(usize, bool)> {
        let filled = self.filled();
        if filled > CAPACITY {
            return Err(host::Error::PROTO);
        }
        let len = filled.min(buf.len());
        if len == 0 && !buf.is_empty() {
            return Err(host::Error::AGAIN);
        }
        let mut rest = buf.get_mut(..len).unwrap_or_default();
        while !rest.is_empty() {
            let (place, straight) = self.memory.place(self.way, self.taken);
            let (now, later) = rest.split_at_mut(rest.len().min(straight));
            // SAFETY: the place has as many bytes, in the mapping; the other process may change them meanwhile, and any are good.
            unsafe { core::ptr::copy_nonoverlapping(place, now.as_mut_ptr(), now.len()) };
            self.taken = self.taken.wrapping_add(now.len() as u32);
            rest = later;
        }
        self.control().taken.0.store(self.taken, Ordering::Release);
        fence(Ordering::SeqCst);
        // Not for each byte: a writer that waits has much to write.
        let room = CAPACITY - (filled - len) >= CAPACITY / 2;
        Ok((len, room && told(&self.control().writer_sleeps)))
    }

    /// Says that the reader is going to sleep for bytes; `false` if it must not, because there are some.
    pub fn await_bytes(&self) -> bool {
        let asleep = &self.control().reader_sleeps.0;
        asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = !self.ready();
        if !empty {
            asleep.store(0, Ordering::Relaxed);
        }
        empty
    }

    /// How many descriptors were sent over the socket since this was asked last.
    pub fn take_passed(&mut self) -> u32 {
        let passed = self.control().passed.0.load(Ordering::Acquire);
        passed.wrapping_sub(std::mem::replace(&mut self.passed, passed))
    }
}

/// Takes back the word of the other end that it sleeps; whether it had said so.
fn told(asleep: &Word) -> bool {
    asleep.0.load(Ordering::Relaxed) != 0 && asleep.0.swap(0, Ordering::Relaxed) != 0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::host::{POLLIN, PollFd};
    use crate::link::{Bell, Full, Link, Stream};

    fn pair() -> (Writer, Reader) {
        let (memory, _) = Memory::create().unwrap();
        (Writer::new(memory.clone(), Way::Up), Reader::new(memory, Way::Up))
    }

    fn write(writer: &mut Writer, data: &[u8]) -> host::Result<usize> {
        writer.write(&[IoSlice::new(data)])
    }

    #[test]
    fn bytes_come_in_order_over_the_end_of_the_ring() {
        let (mut writer, mut reader) = pair();
        let piece: Vec<u8> = (0..=255).cycle().take(CAPACITY / 3 * 2).collect();
        for _ in 0..5 {
            assert_eq!(writer.write(&[IoSlice::new(&piece[..7]), IoSlice::new(&piece[7..])]), Ok(piece.len()));
            let mut got = vec![0; CAPACITY];
            assert_eq!(reader.read(&mut got), Ok((piece.len(), false)));
            assert_eq!(&got[..piece.len()], piece);
        }
        assert_eq!(reader.read(&mut [0; 8]), Err(host::Error::AGAIN));
    }

    #[test]
    fn a_full_ring_takes_no_more_and_tells_of_room_once_it_is_half_empty() {
        let (mut writer, mut reader) = pair();
        assert_eq!(write(&mut writer, &vec![1; CAPACITY + 9]), Ok(CAPACITY));
        assert_eq!((write(&mut writer, b"x"), writer.has_room()), (Err(host::Error::AGAIN), Ok(false)));
        assert_eq!(writer.await_room(), Ok(true));
        assert_eq!(reader.read(&mut vec![0; CAPACITY / 2 - 1]), Ok((CAPACITY / 2 - 1, false)));
        assert_eq!(reader.read(&mut [0; 1]), Ok((1, true)));
        assert_eq!(reader.read(&mut [0; 1]), Ok((1, false)));
        assert_eq!(writer.await_room(), Ok(false));
    }

    #[test]
    fn who_sleeps_is_told_once() {
        let (mut writer, mut reader) = pair();
        assert!(reader.await_bytes());
        write(&mut writer, b"x").unwrap();
        assert_eq!((writer.reader_sleeps(), writer.reader_sleeps()), (true, false));
        assert!(reader.ready() && !reader.await_bytes());
        assert_eq!(reader.read(&mut [0; 8]), Ok((1, false)));
    }

    #[test]
    fn positions_that_cannot_be_are_errors() {
        let (mut writer, mut reader) = pair();
        write(&mut writer, b"abc").unwrap();
        writer.control().put.0.store(CAPACITY as u32 + 1, Ordering::Relaxed);
        assert!(reader.ready());
        assert_eq!(reader.read(&mut [0; 8]), Err(host::Error::PROTO));
        writer.control().taken.0.store(4, Ordering::Relaxed);
        assert_eq!(write(&mut writer, b"x"), Err(host::Error::PROTO));
        assert_eq!(writer.await_room(), Err(host::Error::PROTO));
    }

    #[test]
    fn memory_that_could_become_shorter_is_not_mapped() {
        let file = host::memfd(c"other").unwrap();
        shared::resize(file.fd(), LENGTH as u64).unwrap();
        assert_eq!(Memory::attach(file.fd()).err(), Some(host::Error::INVAL));
        shared::resize(file.fd(), LENGTH as u64 - 1).unwrap();
        shared::seal_length(file.fd()).unwrap();
        assert_eq!(Memory::attach(file.fd()).err(), Some(host::Error::INVAL));
        let (one, _) = host::socketpair().unwrap();
        assert!(Memory::attach(one.fd()).is_err());
    }

    /// Two links with shared memory, and what to poll at the second: its bell, and the first's for room.
    fn joined() -> (Stream, Stream, [Owned; 2]) {
        let (near, far) = host::socketpair().unwrap();
        let (memory, _) = Memory::create().unwrap();
        let (bell, room) = (host::eventfd().unwrap(), host::eventfd().unwrap());
        let again = |fd: &Owned| Bell::new(host::dup_from(fd.fd(), 0).unwrap());
        let (near, far) = (Stream::new(near), Stream::new(far));
        near.send_through(Some((Writer::new(memory.clone(), Way::Up), again(&bell))));
        far.receive_through(Some((Reader::new(memory, Way::Up), again(&room))));
        (near, far, [bell, room])
    }

    fn sleep_on(bell: &Owned) {
        host::ppoll(&mut [PollFd::new(bell.fd(), POLLIN)], Some(Duration::from_secs(20)), None).unwrap();
        host::clear_eventfd(bell.fd());
    }

    /// What is sent at a position of the stream.
    fn byte(at: usize) -> u8 {
        (at * 31 + (at >> 8)) as u8
    }

    #[test]
    fn nobody_sleeps_through_what_the_other_end_does() {
        const TOTAL: usize = 24 << 20;
        let (near, far, [bell, room]) = joined();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut at, mut size) = (0, 1);
                while at < TOTAL {
                    // Pieces of all sizes, every third of them quiet and followed by another.
                    size = (size * 7 + 13) % 200_000;
                    let piece: Vec<u8> = (at..TOTAL.min(at + size)).map(byte).collect();
                    let parts = [IoSlice::new(&piece)];
                    let quiet = size % 3 == 0 && at + size < TOTAL;
                    match if quiet { near.send_quietly(&parts) } else { near.send(&parts) } {
                        Ok(sent) => at += sent,
                        Err(host::Error::AGAIN) if quiet => drop(near.send(&parts[..0])),
                        Err(host::Error::AGAIN) => match near.full() {
                            Full::Bell => sleep_on(&room),
                            full => assert_eq!(full, Full::NoMore),
                        },
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            let (mut at, mut buf) = (0, vec![0; 50_000]);
            while at < TOTAL {
                match far.recv(&mut buf) {
                    Ok(got) => {
                        assert!(buf.iter().take(got).enumerate().all(|(n, seen)| *seen == byte(at + n)), "at {at}");
                        at += got;
                    }
                    Err(host::Error::AGAIN) if far.about_to_sleep() => sleep_on(&bell),
                    Err(host::Error::AGAIN) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(20), "somebody slept up to the limit");
    }

    #[test]
    fn descriptors_come_with_the_bytes_that_speak_of_them() {
        let (near, far, _bells) = joined();
        let file = host::memfd(c"passed").unwrap();
        near.send_quietly(&[IoSlice::new(b"one ")]).unwrap();
        near.send_with(&[IoSlice::new(b"two")], file.fd()).unwrap();
        let (mut buf, mut passed) = ([0; 16], Vec::new());
        assert_eq!(far.recv_with(&mut buf, &mut passed), Ok(7));
        assert_eq!((&buf[..7], passed.len()), (&b"one two"[..], 1));
        assert!(!far.upset());
        drop(near);
        assert!(far.upset());
    }
}
