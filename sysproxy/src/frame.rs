//! Frames: a header of 24 bytes and a body, in the byte order of the host.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::host::{self, Owned};
use crate::link::Link;

/// Length of the header.
pub const HEADER_LEN: usize = size_of::<Header>();

/// The longest frame that either side takes; the original has no bound.
pub const FRAME_MAX: usize = (16 << 20) + 64;

/// Growth of a body's buffer, so that a length alone takes no memory.
const GROWTH: usize = 256 << 10;

/// What a frame is, in its `class` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Class {
    /// A request, numbered by its sender.
    Req = 0,
    /// The answer to a request, with the request's number.
    Resp = 1,
    /// The refusal of a request; `u` is the code.
    Error = 2,
}

impl Class {
    /// Reads the field; `None` for an unknown class.
    pub const fn from_raw(raw: u16) -> Option<Self> {
        match raw {
            0 => Some(Class::Req),
            1 => Some(Class::Resp),
            2 => Some(Class::Error),
            _ => None,
        }
    }
}

/// What a frame is about, in its `kind` field (the original calls it `type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// The first frame of a connection, or the first after an exec.
    Handshake = 0,
    /// A system call.
    Syscall = 1,
    /// The server reads client memory.
    CopyIn = 2,
    /// The server reads a string in client memory; the answer's type is [`Kind::CopyIn`].
    CopyInStr = 3,
    /// The server writes client memory.
    CopyOut = 4,
    /// Treated as [`Kind::CopyOut`]; never sent by the original.
    CopyOutStr = 5,
    /// The server asks for fresh memory in the client.
    AnonMmap = 6,
    /// The client asks for a copy of its process.
    Prefork = 7,
    /// The server raises a signal in the client.
    Raise = 8,
    /// Extended: the client ends the sleep of its outstanding call with this number. No answer.
    Interrupt = 16,
    /// Extended: the client says that it is one of ours, and by which path its program reaches the root. No answer.
    Extended = 17,
    /// Extended: a descriptor of the host comes with this frame, for the outstanding call of the client that the body names. No
    /// answer.
    Descriptor = 18,
    /// Extended: as [`Kind::Syscall`], and brings memory that the call will read.
    Carrying = 19,
    /// Extended: a step of the way to shared memory, or back (see [`crate::message::RingStep`]), in `u`.
    Ring = 20,
    /// Extended: the client has moved bytes of a stream itself, whose descriptor is in `u`. No answer.
    Moved = 21,
    /// Extended: the process that a prefork was for has come about; its number is in `u`, the token in the body. No answer.
    Forked = 22,
}

impl Kind {
    /// Reads the field; `None` for an unknown type.
    pub const fn from_raw(raw: u16) -> Option<Self> {
        Some(match raw {
            0 => Kind::Handshake,
            1 => Kind::Syscall,
            2 => Kind::CopyIn,
            3 => Kind::CopyInStr,
            4 => Kind::CopyOut,
            5 => Kind::CopyOutStr,
            6 => Kind::AnonMmap,
            7 => Kind::Prefork,
            8 => Kind::Raise,
            16 => Kind::Interrupt,
            17 => Kind::Extended,
            18 => Kind::Descriptor,
            19 => Kind::Carrying,
            20 => Kind::Ring,
            21 => Kind::Moved,
            22 => Kind::Forked,
            _ => return None,
        })
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Length of the whole frame, this header included.
    pub len: u64,
    /// Number of the request; each side numbers its own.
    pub reqno: u64,
    /// A [`Class`], as it came.
    pub class: u16,
    /// A [`Kind`], as it came.
    pub kind: u16,
    /// System call number, error code, kind of handshake or signal number; else 0.
    pub u: u32,
}

const _: () = assert!(size_of::<Header>() == 24);
const _: () = assert!(core::mem::offset_of!(Header, class) == 16 && core::mem::offset_of!(Header, u) == 20);

impl Header {
    /// Makes the header of a frame with a body of `body` bytes.
    pub const fn new(reqno: u64, class: Class, kind: Kind, u: u32, body: usize) -> Self {
        Self { len: (HEADER_LEN + body) as u64, reqno, class: class as u16, kind: kind as u16, u }
    }

    /// The class, if it is known.
    pub const fn class(&self) -> Option<Class> {
        Class::from_raw(self.class)
    }

    /// The type, if it is known.
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_raw(self.kind)
    }

    /// Length of the body; `None` if the length cannot be one or is above the cap.
    pub fn body_len(&self) -> Option<usize> {
        usize::try_from(self.len).ok().filter(|len| *len <= FRAME_MAX)?.checked_sub(HEADER_LEN)
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The header; its `len` is that of the frame.
    pub header: Header,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Frame {
    /// Makes a frame.
    pub fn new(reqno: u64, class: Class, kind: Kind, u: u32, body: Vec<u8>) -> Self {
        Self { header: Header::new(reqno, class, kind, u, body.len()), body }
    }

    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.body.len());
        bytes.extend_from_slice(self.header.as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Why a connection is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// The other side closed it.
    Closed,
    /// A length below the header's or above the cap, or no memory for the body.
    BadLength,
    /// The host refused to read.
    Host(host::Error),
}

/// Descriptors that wait to be taken at most.
const DESCRIPTORS_MAX: usize = 16;

/// Reads frames from a link as their bytes come, in whatever pieces.
pub struct FrameReader {
    /// Bytes read and not yet looked at: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read brought less than there was room for: the link then has no more at the moment.
    short: bool,
    partial: Option<Partial>,
    /// Descriptors that came and were not yet taken; `None` if they are not wanted.
    passed: Option<Vec<Owned>>,
}

/// A frame whose header is there; `body` is shorter than `want`.
struct Partial {
    header: Header,
    body: Vec<u8>,
    want: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// Bytes asked of the link at once; longer bodies are read to where they stay.
    const CHUNK: usize = 16 << 10;
    /// The same for shared memory, where a second read costs little: most frames are no longer.
    const GLANCE: usize = 512;

    /// Makes a reader at the start of a frame.
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, short: false, partial: None, passed: None }
    }

    /// The same, for one that keeps the descriptors which come along; any other has the host close them.
    pub fn with_descriptors() -> Self {
        Self { passed: Some(Vec::new()), ..Self::new() }
    }

    /// Takes the next descriptor: the one that came with the frame that announces it.
    pub fn take_descriptor(&mut self) -> Option<Owned> {
        let passed = self.passed.as_mut().filter(|passed| !passed.is_empty())?;
        Some(passed.remove(0))
    }

    /// Takes bytes that came by another way.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(bytes);
        self.end = self.buffer.len();
    }

    /// Moves what is unread to the front.
    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the next frame out of the bytes already here; `None` if it is not complete.
    pub fn buffered(&mut self) -> Result<Option<Frame>, Dead> {
        if self.partial.is_none() {
            let Ok((header, _)) = Header::read_from_prefix(self.unread()) else { return Ok(None) };
            let want = header.body_len().ok_or(Dead::BadLength)?;
            self.start += HEADER_LEN;
            self.partial = Some(Partial { header, body: Vec::new(), want });
        }
        let Some(partial) = &mut self.partial else { return Ok(None) };
        let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
        let take = unread.len().min(partial.want - partial.body.len());
        reserve(&mut partial.body, take, partial.want)?;
        partial.body.extend_from_slice(unread.get(..take).unwrap_or_default());
        self.start += take;
        if partial.body.len() < partial.want {
            return Ok(None);
        }
        Ok(self.partial.take().map(|partial| Frame { header: partial.header, body: partial.body }))
    }

    /// Returns the next frame, reading the link as long as it has more; `None` if it is not complete. For a caller that is told when
    /// there is something to read as long as there is something: a link that comes to its end right behind its last bytes says so
    /// with the next read.
    pub fn next(&mut self, link: &dyn Link) -> Result<Option<Frame>, Dead> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if std::mem::take(&mut self.short) || !self.fill(link)? {
                return Ok(None);
            }
        }
    }

    /// Reads the link once; `false` if it has nothing.
    pub fn fill(&mut self, link: &dyn Link) -> Result<bool, Dead> {
        let (got, room) = match &mut self.partial {
            // A long body is read to where it stays.
            Some(partial) if self.start >= self.end && partial.want - partial.body.len() >= Self::CHUNK => {
                let have = partial.body.len();
                let piece = GROWTH.min(partial.want - have);
                reserve(&mut partial.body, piece, partial.want)?;
                partial.body.resize(have + piece, 0);
                let got = receive(link, partial.body.get_mut(have..).unwrap_or_default(), &mut self.passed);
                partial.body.truncate(have + got.as_ref().map_or(0, |n| n.unwrap_or(0)));
                (got?, piece)
            }
            _ => {
                self.compact();
                // No more than a part of a header is left: the rest has gone to the body.
                let room = if link.ready().is_some() { Self::GLANCE } else { Self::CHUNK };
                if self.buffer.len() < self.end + room {
                    self.buffer.resize(self.end + room, 0);
                }
                let free = self.buffer.get_mut(self.end..self.end + room).unwrap_or_default();
                let got = receive(link, free, &mut self.passed)?;
                self.end += got.unwrap_or(0);
                (got, room)
            }
        };
        self.short = got.is_some_and(|got| got < room);
        Ok(got.is_some())
    }
}

/// Makes room for `more` bytes of a body that will have `want`.
fn reserve(body: &mut Vec<u8>, more: usize, want: usize) -> Result<(), Dead> {
    if body.capacity() - body.len() >= more {
        return Ok(());
    }
    let ahead = more.max(body.len()).max(GROWTH).min(want - body.len());
    body.try_reserve_exact(ahead).map_err(|_| Dead::BadLength)
}

/// Reads once: `None` if the link has nothing.
fn receive(link: &dyn Link, buf: &mut [u8], passed: &mut Option<Vec<Owned>>) -> Result<Option<usize>, Dead> {
    loop {
        let received = match passed {
            Some(passed) if passed.len() < DESCRIPTORS_MAX => link.recv_with(buf, passed),
            _ => link.recv(buf),
        };
        match received {
            Ok(0) => return Err(Dead::Closed),
            Ok(n) => return Ok(Some(n)),
            Err(host::Error::AGAIN) => return Ok(None),
            Err(host::Error::INTR) => {}
            Err(error) => return Err(Dead::Host(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn a_frame_may_come_byte_by_byte() {
        let frame = Frame::new(7, Class::Req, Kind::CopyOut, 0, b"body".to_vec());
        let mut reader = FrameReader::new();
        let bytes = frame.encode();
        let (last, rest) = bytes.split_last().unwrap();
        for byte in rest {
            reader.feed(&[*byte]);
            assert_eq!(reader.buffered(), Ok(None));
        }
        reader.feed(&[*last]);
        assert_eq!(reader.buffered(), Ok(Some(frame)));
    }

    #[test]
    fn frames_that_come_together_are_taken_apart() {
        let frames: Vec<_> = (0..9).map(|n| Frame::new(n, Class::Resp, Kind::Syscall, 0, vec![n as u8; 24])).collect();
        let mut reader = FrameReader::new();
        reader.feed(&frames.iter().flat_map(Frame::encode).collect::<Vec<_>>());
        for frame in frames {
            assert_eq!(reader.buffered(), Ok(Some(frame)));
        }
        assert_eq!(reader.buffered(), Ok(None));
    }

    #[test]
    fn lengths_below_the_header_and_above_the_cap_end_the_connection() {
        for len in [0, 23, FRAME_MAX as u64 + 1, u64::MAX] {
            let mut header = Header::new(0, Class::Req, Kind::Syscall, 0, 0);
            header.len = len;
            let mut reader = FrameReader::new();
            reader.feed(header.as_bytes());
            assert_eq!(reader.buffered(), Err(Dead::BadLength), "length {len}");
        }
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut reader = FrameReader::new();
        reader.feed(Header::new(0, Class::Req, Kind::Syscall, 0, FRAME_MAX - HEADER_LEN).as_bytes());
        assert_eq!(reader.buffered(), Ok(None));
        assert!(reader.partial.unwrap().body.capacity() <= GROWTH);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..2000 {
            let mut reader = FrameReader::new();
            for _ in 0..8 {
                let mut bytes: Vec<u8> = (0..random(&mut seed) % 70).map(|_| random(&mut seed) as u8).collect();
                if random(&mut seed) & 1 == 0 {
                    bytes.iter_mut().skip(1).take(7).for_each(|byte| *byte = 0);
                }
                reader.feed(&bytes);
                while let Ok(Some(frame)) = reader.buffered() {
                    let _ = crate::message::ClientRequest::decode(&frame.header, &frame.body);
                    let _ = crate::message::ServerRequest::decode(&frame.header, &frame.body);
                    let _ = crate::message::SyscallResult::decode(&frame.body);
                }
            }
        }
    }
}
