//! What frames say: requests of either side, their answers, and the errors.

use abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::frame::{Class, Frame, HEADER_LEN, Header, Kind};

/// A token of prefork: whoever shows it gets the copied process.
pub type Token = [u8; 16];

const CLAIM: u32 = 0;

/// With the descriptor of [`ClientRequest::Moved`]: bytes were read.
const MOVED_OUT: u32 = 1 << 31;

/// In `u` of a prefork.
const CONNECTED: u32 = 1;

/// The kinds of handshake, in `u` of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake<'a> {
    /// A new process, named after the program (a NUL behind it is cut off).
    Guest(&'a [u8]),
    /// Not implemented by anyone.
    Auth,
    /// Claims a process made by prefork, or releases it.
    Fork {
        /// Which process.
        token: Token,
        /// Release instead of claim.
        cancel: bool,
    },
    /// The program behind a running connection was replaced by the named one.
    Exec(&'a [u8]),
    /// A number that has no meaning.
    Unknown(u32),
}

/// A request from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRequest<'a> {
    /// The start of a connection, or of a new image.
    Handshake(Handshake<'a>),
    /// A system call and its argument block.
    Syscall {
        /// NetBSD's number.
        number: u32,
        /// 8 bytes an argument.
        args: &'a [u8],
    },
    /// Extended: a system call that brings memory along.
    Carrying {
        /// NetBSD's number.
        number: u32,
        /// 8 bytes an argument.
        args: &'a [u8],
        /// What it will read of the client's memory, or some of it: see [`pieces`].
        memory: &'a [u8],
    },
    /// A copy of the process is wanted.
    Prefork {
        /// Extended: with a connection for who is going to claim it, which may not be able to make one. It comes as a descriptor.
        connected: bool,
    },
    /// Extended: the child that a copy was made for has come about: should it end before it claims the copy, nobody will.
    Forked {
        /// What the copy is known by.
        token: Token,
        /// The child, as the client's host numbers it for the client. 0 where it is whoever is at the other end of the connection
        /// that this comes over, on which nothing was said before.
        pid: i32,
    },
    /// Extended: the sleep of the call with this number is to end.
    Interrupt,
    /// Extended: a step towards shared memory.
    Ring(RingStep),
    /// Extended: bytes of a stream were moved ([`crate::stream`]), which somebody at its other end is to hear of.
    Moved {
        /// The client's descriptor.
        fd: i32,
        /// Whether they were read, not written.
        read: bool,
    },
    /// Extended: the client is one of ours.
    Extended {
        /// Its id on its host, by which programs know each other; 0 if it does not say.
        pid: i32,
        /// The path by which it calls the root of the kernel's file system; empty if by none.
        prefix: &'a [u8],
    },
}

/// How two of ours come to send through shared memory ([`crate::ring`]), and back to the socket before an exec. Each step is asked for
/// by the client and answered by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RingStep {
    /// Asks for the memory. Before the answer come four descriptors, in the order of [`RING_DESCRIPTORS`].
    Ask = 0,
    /// The last frame that the client sends over the socket; its answer is the last of the server's.
    On = 1,
    /// The last frame that the client sends through the memory; its answer is the last of the server's.
    Off = 2,
}

/// What comes with the answer to [`RingStep::Ask`]: the memory, and the eventfds that wake the server, that wake the client, and that
/// tell the client of room.
pub const RING_DESCRIPTORS: usize = 4;

impl RingStep {
    /// Reads the field; `None` for an unknown step.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(RingStep::Ask),
            1 => Some(RingStep::On),
            2 => Some(RingStep::Off),
            _ => None,
        }
    }
}

/// A frame that says nothing which its receiver understands; answered with [`Refusal::Malformed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> ClientRequest<'a> {
    /// Reads a frame of class REQ.
    ///
    /// A FORK handshake whose body has not 20 bytes is malformed; so is a type that only servers send.
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<Self, Malformed> {
        match header.kind() {
            Some(Kind::Handshake) => Handshake::decode(header.u, body).map(ClientRequest::Handshake),
            Some(Kind::Syscall) => Ok(ClientRequest::Syscall { number: header.u, args: body }),
            Some(Kind::Carrying) => {
                let (len, rest) = u64::read_from_prefix(body).map_err(|_| Malformed)?;
                let args = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
                let (args, memory) = args.ok_or(Malformed)?;
                Ok(ClientRequest::Carrying { number: header.u, args, memory })
            }
            Some(Kind::Prefork) => Ok(ClientRequest::Prefork { connected: header.u == CONNECTED }),
            Some(Kind::Forked) => {
                let token = *body.first_chunk().ok_or(Malformed)?;
                Ok(ClientRequest::Forked { token, pid: header.u as i32 })
            }
            Some(Kind::Interrupt) => Ok(ClientRequest::Interrupt),
            Some(Kind::Ring) => RingStep::from_raw(header.u).map(ClientRequest::Ring).ok_or(Malformed),
            Some(Kind::Moved) => {
                Ok(ClientRequest::Moved { fd: (header.u & !MOVED_OUT) as i32, read: header.u & MOVED_OUT != 0 })
            }
            Some(Kind::Extended) => Ok(ClientRequest::Extended { pid: header.u as i32, prefix: body }),
            _ => Err(Malformed),
        }
    }

    /// Makes the frame.
    pub fn encode(&self, reqno: u64) -> Frame {
        match self {
            ClientRequest::Handshake(handshake) => {
                let (u, body) = handshake.encode();
                Frame::new(reqno, Class::Req, Kind::Handshake, u, body)
            }
            ClientRequest::Syscall { number, args } => {
                Frame::new(reqno, Class::Req, Kind::Syscall, *number, args.to_vec())
            }
            ClientRequest::Carrying { number, args, memory } => {
                let body = [(args.len() as u64).as_bytes(), args, memory].concat();
                Frame::new(reqno, Class::Req, Kind::Carrying, *number, body)
            }
            ClientRequest::Prefork { connected } => {
                let u = if *connected { CONNECTED } else { 0 };
                Frame::new(reqno, Class::Req, Kind::Prefork, u, Vec::new())
            }
            ClientRequest::Forked { token, pid } => {
                Frame::new(reqno, Class::Req, Kind::Forked, *pid as u32, token.to_vec())
            }
            ClientRequest::Interrupt => Frame::new(reqno, Class::Req, Kind::Interrupt, 0, Vec::new()),
            ClientRequest::Ring(step) => Frame::new(reqno, Class::Req, Kind::Ring, *step as u32, Vec::new()),
            ClientRequest::Moved { fd, read } => {
                let u = *fd as u32 & !MOVED_OUT | if *read { MOVED_OUT } else { 0 };
                Frame::new(reqno, Class::Req, Kind::Moved, u, Vec::new())
            }
            ClientRequest::Extended { pid, prefix } => {
                Frame::new(reqno, Class::Req, Kind::Extended, *pid as u32, prefix.to_vec())
            }
        }
    }
}

impl<'a> Handshake<'a> {
    fn decode(kind: u32, body: &'a [u8]) -> Result<Self, Malformed> {
        let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(match kind {
            0 => Handshake::Guest(name),
            1 => Handshake::Auth,
            2 => {
                let (token, cancel) = body.split_first_chunk::<16>().ok_or(Malformed)?;
                let cancel = <[u8; 4]>::try_from(cancel).map_err(|_| Malformed)?;
                Handshake::Fork { token: *token, cancel: u32::from_ne_bytes(cancel) != CLAIM }
            }
            3 => Handshake::Exec(name),
            other => Handshake::Unknown(other),
        })
    }

    fn encode(&self) -> (u32, Vec<u8>) {
        match self {
            Handshake::Guest(name) => (0, [name, &b"\0"[..]].concat()),
            Handshake::Auth => (1, Vec::new()),
            Handshake::Fork { token, cancel } => (2, [&token[..], &u32::from(*cancel).to_ne_bytes()].concat()),
            Handshake::Exec(name) => (3, [name, &b"\0"[..]].concat()),
            Handshake::Unknown(kind) => (*kind, Vec::new()),
        }
    }
}

/// A request from the server, while a call of the client is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRequest<'a> {
    /// Wants `len` bytes at `addr`.
    CopyIn {
        /// How many.
        len: u64,
        /// From where.
        addr: u64,
    },
    /// Wants the string at `addr`, its NUL included, at most `max` bytes.
    CopyInStr {
        /// At most so many.
        max: u64,
        /// From where.
        addr: u64,
    },
    /// Stores `data` at `addr`; not answered.
    CopyOut {
        /// Where to.
        addr: u64,
        /// What.
        data: &'a [u8],
    },
    /// Wants `size` bytes of fresh memory.
    AnonMmap {
        /// How much.
        size: u64,
    },
    /// Extended: brings a descriptor of the host for a call; not answered.
    Descriptor {
        /// The number of the call.
        request: u64,
    },
    /// Raises a signal (NetBSD's number); not answered, and the frame's number means nothing.
    Raise {
        /// Which.
        signal: i32,
    },
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Copy {
    len: u64,
    addr: u64,
}

const _: () = assert!(size_of::<Copy>() == 16);

/// Puts a piece of memory behind those that are there; `read` fills it, and if it fails nothing is put.
pub fn put_piece<E>(memory: &mut Vec<u8>, addr: u64, len: usize, read: impl FnOnce(&mut [u8]) -> Result<(), E>) {
    let before = memory.len();
    memory.extend_from_slice(Copy { len: len as u64, addr }.as_bytes());
    let start = memory.len();
    memory.resize(start + len, 0);
    if read(memory.get_mut(start..).unwrap_or_default()).is_err() {
        memory.truncate(before);
    }
}

/// The pieces of memory that a call carries: the address of each, and its bytes. They end at one that is not whole.
pub fn pieces(mut memory: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (copy, rest) = Copy::read_from_prefix(memory).ok()?;
        let (data, rest) = rest.split_at_checked(usize::try_from(copy.len).ok()?)?;
        memory = rest;
        Some((copy.addr, data))
    })
}

impl<'a> ServerRequest<'a> {
    /// Reads a frame of class REQ; short bodies and lengths that disagree are malformed.
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<Self, Malformed> {
        let copy = || Copy::read_from_prefix(body).map_err(|_| Malformed);
        Ok(match header.kind().ok_or(Malformed)? {
            Kind::CopyIn => copy().map(|(c, _)| ServerRequest::CopyIn { len: c.len, addr: c.addr })?,
            Kind::CopyInStr => copy().map(|(c, _)| ServerRequest::CopyInStr { max: c.len, addr: c.addr })?,
            Kind::CopyOut | Kind::CopyOutStr => {
                let (copy, data) = copy()?;
                let len = usize::try_from(copy.len).map_err(|_| Malformed)?;
                ServerRequest::CopyOut { addr: copy.addr, data: data.get(..len).ok_or(Malformed)? }
            }
            Kind::AnonMmap => {
                let (size, _) = u64::read_from_prefix(body).map_err(|_| Malformed)?;
                ServerRequest::AnonMmap { size }
            }
            Kind::Descriptor => {
                let (request, _) = u64::read_from_prefix(body).map_err(|_| Malformed)?;
                ServerRequest::Descriptor { request }
            }
            Kind::Raise => ServerRequest::Raise { signal: header.u as i32 },
            _ => return Err(Malformed),
        })
    }

    /// Makes the frame.
    pub fn encode(&self, reqno: u64) -> Frame {
        let copy = |len, addr, data: &[u8]| [Copy { len, addr }.as_bytes(), data].concat();
        match self {
            ServerRequest::CopyIn { len, addr } => {
                Frame::new(reqno, Class::Req, Kind::CopyIn, 0, copy(*len, *addr, &[]))
            }
            ServerRequest::CopyInStr { max, addr } => {
                Frame::new(reqno, Class::Req, Kind::CopyInStr, 0, copy(*max, *addr, &[]))
            }
            ServerRequest::CopyOut { addr, data } => {
                Frame::new(reqno, Class::Req, Kind::CopyOut, 0, copy(data.len() as u64, *addr, data))
            }
            ServerRequest::AnonMmap { size } => {
                Frame::new(reqno, Class::Req, Kind::AnonMmap, 0, size.as_bytes().to_vec())
            }
            ServerRequest::Descriptor { request } => {
                Frame::new(reqno, Class::Req, Kind::Descriptor, 0, request.as_bytes().to_vec())
            }
            ServerRequest::Raise { signal } => Frame::new(reqno, Class::Req, Kind::Raise, *signal as u32, Vec::new()),
        }
    }
}

/// What stands before the data in the frame of a [`ServerRequest::CopyOut`].
pub fn copy_out(reqno: u64, addr: u64, len: usize) -> [u8; COPY_OUT_LEN] {
    let mut head = [0; COPY_OUT_LEN];
    let (header, copy) = head.split_at_mut(HEADER_LEN);
    header.copy_from_slice(Header::new(reqno, Class::Req, Kind::CopyOut, 0, size_of::<Copy>() + len).as_bytes());
    copy.copy_from_slice(Copy { len: len as u64, addr }.as_bytes());
    head
}

/// Length of what [`copy_out`] makes.
pub const COPY_OUT_LEN: usize = HEADER_LEN + size_of::<Copy>();

/// The answer to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SyscallResult {
    /// NetBSD's error number, 0 for success.
    pub error: i32,
    /// Undefined in the original's answers, 0 in ours.
    pub padding: u32,
    /// The two return registers; meaningless after an error.
    pub retval: [i64; 2],
}

const _: () = assert!(size_of::<SyscallResult>() == 24);

impl SyscallResult {
    /// Makes the answer of a call's result.
    pub fn new(result: abi::Result<[i64; 2]>) -> Self {
        match result {
            Ok(retval) => Self { error: 0, padding: 0, retval },
            Err(errno) => Self { error: errno.raw(), padding: 0, retval: [0; 2] },
        }
    }

    /// Reads a body; `None` if it is short.
    pub fn decode(body: &[u8]) -> Option<Self> {
        Self::read_from_prefix(body).ok().map(|(result, _)| result)
    }

    /// Makes the frame that answers request `reqno`.
    pub fn encode(&self, reqno: u64) -> Frame {
        response(reqno, Kind::Syscall, self.as_bytes().to_vec())
    }

    /// Returns what the caller gets.
    pub fn result(&self) -> abi::Result<[i64; 2]> {
        match self.error {
            0 => Ok(self.retval),
            // NetBSD's ERESTART and its like never leave the kernel on purpose.
            -100..0 => Err(Errno::EINTR),
            error => Err(Errno::from_raw(error)),
        }
    }
}

/// Makes the answer to a handshake: an error number, always 0 in practice.
pub fn handshake_done(reqno: u64) -> Frame {
    response(reqno, Kind::Handshake, 0i32.as_bytes().to_vec())
}

/// Makes the answer to a prefork.
pub fn prefork_done(reqno: u64, token: &Token) -> Frame {
    response(reqno, Kind::Prefork, token.to_vec())
}

/// Makes the answer to a step towards shared memory.
pub fn ring_done(reqno: u64, step: RingStep) -> Frame {
    Frame::new(reqno, Class::Resp, Kind::Ring, step as u32, Vec::new())
}

/// Makes the answer to a COPYIN or COPYINSTR, which is typed COPYIN for both.
pub fn copied_in(reqno: u64, data: Vec<u8>) -> Frame {
    response(reqno, Kind::CopyIn, data)
}

/// Makes the answer to an ANONMMAP; 0 if there is no memory.
pub fn mapped(reqno: u64, addr: u64) -> Frame {
    response(reqno, Kind::AnonMmap, addr.as_bytes().to_vec())
}

fn response(reqno: u64, kind: Kind, body: Vec<u8>) -> Frame {
    Frame::new(reqno, Class::Resp, kind, 0, body)
}

/// The codes of frames of class ERROR, which only servers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// No memory for a work item: send again.
    TryAgain = 1,
    /// The first frame was no handshake, or one of a bad kind.
    Auth = 2,
    /// The token of a FORK handshake is unknown.
    InvalidPrefork = 3,
    /// No process could be made.
    ForkFailed = 4,
    /// The client is in the middle of an exec.
    InExec = 5,
    /// No memory for a prefork.
    NoMemory = 6,
    /// A request that makes no sense.
    Malformed = 7,
}

impl Refusal {
    /// Makes the frame that refuses request `reqno`.
    pub fn encode(self, reqno: u64) -> Frame {
        Frame::new(reqno, Class::Error, Kind::Handshake, self as u32, Vec::new())
    }

    /// Returns what an error code means to the caller.
    pub const fn errno(code: u32) -> Errno {
        match code {
            1 => Errno::EAGAIN,
            2 => Errno::EPERM,
            3 => Errno::ESRCH,
            4 => Errno::EIO,
            5 => Errno::EBUSY,
            6 => Errno::ENOMEM,
            7 => Errno::EINVAL,
            // The original sets errno to -1.
            _ => Errno::EPROTO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_the_client_come_back_as_they_went() {
        let requests = [
            ClientRequest::Handshake(Handshake::Guest(b"demo")),
            ClientRequest::Handshake(Handshake::Fork { token: *b"0123456789abcdef", cancel: true }),
            ClientRequest::Handshake(Handshake::Exec(b"next")),
            ClientRequest::Syscall { number: 4, args: &[1, 2, 3, 4, 5, 6, 7, 8] },
            ClientRequest::Carrying { number: 4, args: &[7; 16], memory: b"" },
            ClientRequest::Carrying { number: 4, args: &[], memory: b"pieces" },
            ClientRequest::Prefork { connected: false },
            ClientRequest::Prefork { connected: true },
            ClientRequest::Forked { token: *b"0123456789abcdef", pid: 4711 },
            ClientRequest::Interrupt,
            ClientRequest::Ring(RingStep::Off),
            ClientRequest::Moved { fd: 7, read: false },
            ClientRequest::Moved { fd: i32::MAX, read: true },
            ClientRequest::Extended { pid: 4711, prefix: b"/rump" },
        ];
        for request in requests {
            let frame = request.encode(9);
            assert_eq!(ClientRequest::decode(&frame.header, &frame.body), Ok(request));
        }
    }

    #[test]
    fn pieces_of_memory_come_back_as_they_were_put() {
        let mut memory = Vec::new();
        let mut put = |addr, data: &'static [u8], good: bool| {
            put_piece(&mut memory, addr, data.len(), |to| {
                to.copy_from_slice(data);
                good.then_some(()).ok_or(())
            });
        };
        put(0x1000, b"one", true);
        put(0x2000, b"bad", false);
        put(0x3000, b"", true);
        put(u64::MAX, b"last", true);
        let whole: [(u64, &[u8]); 3] = [(0x1000, b"one"), (0x3000, b""), (u64::MAX, b"last")];
        assert_eq!(pieces(&memory).collect::<Vec<_>>(), whole);
        memory.pop();
        assert_eq!(pieces(&memory).collect::<Vec<_>>(), whole[..2]);
    }

    #[test]
    fn a_carrying_call_whose_arguments_are_not_whole_is_malformed() {
        for body in [&[0; 7][..], &[1, 0, 0, 0, 0, 0, 0, 0], &[0xff; 24]] {
            let frame = Frame::new(1, Class::Req, Kind::Carrying, 4, body.to_vec());
            assert_eq!(ClientRequest::decode(&frame.header, &frame.body), Err(Malformed));
        }
    }

    #[test]
    fn requests_of_the_server_come_back_as_they_went() {
        let requests = [
            ServerRequest::CopyIn { len: 5, addr: 0x1000 },
            ServerRequest::CopyInStr { max: 1024, addr: 0x1000 },
            ServerRequest::CopyOut { addr: 0x1000, data: b"xyz" },
            ServerRequest::AnonMmap { size: 4096 },
            ServerRequest::Descriptor { request: 7 },
            ServerRequest::Raise { signal: 13 },
        ];
        for request in requests {
            let frame = request.encode(9);
            assert_eq!(ServerRequest::decode(&frame.header, &frame.body), Ok(request));
        }
        let whole = ServerRequest::CopyOut { addr: 0x1000, data: b"xyz" }.encode(9).encode();
        assert_eq!([&copy_out(9, 0x1000, 3)[..], b"xyz"].concat(), whole);
    }

    #[test]
    fn a_fork_handshake_of_another_length_is_malformed() {
        let frame = Frame::new(1, Class::Req, Kind::Handshake, 2, vec![0; 19]);
        assert_eq!(ClientRequest::decode(&frame.header, &frame.body), Err(Malformed));
    }

    #[test]
    fn a_copyout_that_promises_more_than_it_brings_is_malformed() {
        let mut frame = ServerRequest::CopyOut { addr: 1, data: b"xyz" }.encode(0);
        frame.body.pop();
        assert_eq!(ServerRequest::decode(&frame.header, &frame.body), Err(Malformed));
    }
}
