//! A server on a fresh socket, and a client that speaks in raw frames.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::Kernel;
use kernel::config::Config;
use kernel::rumpuser::linux::LinuxHost;
use kernel::server::Server;
use sysproxy::frame::{Class, Frame, Kind};
use sysproxy::host::{self, Owned, POLLIN, PollFd};
use sysproxy::message::{ClientRequest, Handshake, RING_DESCRIPTORS, RingStep, SyscallResult, Token};
use sysproxy::{FrameReader, HostFd};

/// A running server; ends with the value.
pub struct Running {
    pub server: Arc<Server>,
    pub path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start() -> Self {
        Self::start_with(Config::default())
    }

    pub fn start_with(config: Config) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rumpkernel-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let kernel = Kernel::boot(Arc::new(LinuxHost::server(&config)), config).expect("the kernel boots");
        let server = Server::bind(kernel, &format!("unix://{}", path.display())).expect("the server binds");
        let server = Arc::new(server);
        let body = server.clone();
        let thread = Some(std::thread::spawn(move || body.run()));
        Self { server, path, thread }
    }

    /// A connection, its banner read.
    pub fn connect(&self) -> Client {
        Client::on(UnixStream::connect(&self.path).expect("the server accepts"))
    }

    /// A connection with a process.
    pub fn guest(&self, name: &[u8]) -> Client {
        let mut client = self.connect();
        client.send(&ClientRequest::Handshake(Handshake::Guest(name)).encode(1));
        assert_eq!(client.next(), sysproxy::message::handshake_done(1));
        client
    }

    /// Waits until [`Server::run`] has returned.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends well");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.stop();
        self.join();
        assert!(!self.path.exists(), "the socket is gone");
    }
}

/// A client's end of a connection.
pub struct Client {
    pub stream: UnixStream,
    reader: FrameReader,
}

impl Client {
    /// Reads the banner.
    pub fn on(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket has a time limit");
        let mut client = Client { stream, reader: FrameReader::new() };
        let mut banner = Vec::new();
        while banner.last() != Some(&b'\n') {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).expect("a banner comes");
            banner.push(byte[0]);
        }
        assert_eq!(String::from_utf8_lossy(&banner), sysproxy::banner::OURS);
        client
    }

    pub fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.encode());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next frame; `None` at the end of the connection.
    pub fn try_next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.buffered().expect("frames are well formed") {
                return Some(frame);
            }
            let mut piece = vec![0; 1 << 16];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Ok(got) => self.reader.feed(&piece[..got]),
                Err(error) => panic!("no frame: {error}"),
            }
        }
    }

    pub fn next(&mut self) -> Frame {
        self.try_next().expect("the connection goes on")
    }

    /// Sends a call with its slots.
    pub fn call(&mut self, reqno: u64, number: u32, slots: &[u64]) {
        let args: Vec<u8> = slots.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        self.send(&ClientRequest::Syscall { number, args: &args }.encode(reqno));
    }

    /// The next frame as the answer to call `reqno`.
    pub fn result(&mut self, reqno: u64) -> Result<[i64; 2], i32> {
        let frame = self.next();
        assert_eq!((frame.header.class(), frame.header.kind()), (Some(Class::Resp), Some(Kind::Syscall)), "{frame:?}");
        assert_eq!(frame.header.reqno, reqno);
        let result = SyscallResult::decode(&frame.body).expect("24 bytes");
        if result.error == 0 { Ok(result.retval) } else { Err(result.error) }
    }

    /// A call that asks for no memory.
    pub fn simple(&mut self, reqno: u64, number: u32, slots: &[u64]) -> Result<[i64; 2], i32> {
        self.call(reqno, number, slots);
        self.result(reqno)
    }

    /// Answers the next request for memory, which must be of `kind`, with `data`.
    pub fn give(&mut self, kind: Kind, data: &[u8]) {
        let frame = self.next();
        assert_eq!((frame.header.class(), frame.header.kind()), (Some(Class::Req), Some(kind)), "{frame:?}");
        self.send(&sysproxy::message::copied_in(frame.header.reqno, data.to_vec()));
    }

    /// Asks for shared memory; the memory file and the eventfd that wakes the server.
    pub fn ask_for_memory(&mut self, reqno: u64) -> (Owned, Owned) {
        self.send(&ClientRequest::Ring(RingStep::Ask).encode(reqno));
        let (frame, passed) = self.next_with(Kind::Ring);
        assert_eq!(frame, sysproxy::message::ring_done(reqno, RingStep::Ask));
        let [memory, bell, ..] = <[Owned; RING_DESCRIPTORS]>::try_from(passed).expect("four descriptors");
        (memory, bell)
    }

    /// The next frame of a kind, and the descriptors that came before it.
    pub fn next_with(&mut self, kind: Kind) -> (Frame, Vec<Owned>) {
        let mut passed = Vec::new();
        loop {
            while let Some(frame) = self.reader.buffered().expect("frames are well formed") {
                match frame.header.kind() {
                    Some(other) if other == kind => return (frame, passed),
                    other => assert_eq!(other, Some(Kind::Descriptor)),
                }
            }
            host::ppoll(&mut [PollFd::new(self.fd(), POLLIN)], None, None).expect("the server answers");
            let mut piece = [0; 1024];
            let got = host::shared::recv_with(self.fd(), &mut piece, &mut passed).expect("the server answers");
            assert_ne!(got, 0, "the connection goes on");
            self.reader.feed(&piece[..got]);
        }
    }

    fn fd(&self) -> HostFd {
        HostFd(self.stream.as_raw_fd())
    }

    /// Asks for a token.
    pub fn prefork(&mut self, reqno: u64) -> Token {
        self.send(&ClientRequest::Prefork { connected: false }.encode(reqno));
        let frame = self.next();
        assert_eq!((frame.header.reqno, frame.header.kind()), (reqno, Some(Kind::Prefork)));
        *frame.body.first_chunk().expect("16 bytes")
    }

    /// The same, and a connection for who is going to claim it.
    pub fn prefork_connected(&mut self, reqno: u64) -> (Token, Option<Client>) {
        self.send(&ClientRequest::Prefork { connected: true }.encode(reqno));
        let (frame, passed) = self.next_with(Kind::Prefork);
        let stream = passed.into_iter().next().map(|fd| {
            // SAFETY: nobody else has it.
            unsafe { UnixStream::from_raw_fd(fd.into_fd().0) }
        });
        (*frame.body.first_chunk().expect("16 bytes"), stream.map(Client::on))
    }
}
