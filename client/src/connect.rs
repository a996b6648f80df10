//! How a connection begins: socket, banner, handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use abi::{Errno, Result};
use rustix_futex_sync::OnceLock;
use sysproxy::host::{self, POLLIN, PollFd};
use sysproxy::link::Endpoint;
use sysproxy::message::{self, ClientRequest, Token};
use sysproxy::url::ParseError;
use sysproxy::{Link, banner};

use crate::conn::Conn;
use crate::exchange::{Outcome, Request, Terms, exchange};
use crate::fds::Kept;

/// How long a server may take to show its banner.
const BANNER_TIME: Duration = Duration::from_secs(30);

/// What [`set_prefix`] was given.
static PREFIX: OnceLock<Vec<u8>> = OnceLock::new();

/// Says, before the first connection, by which path this program reaches the root of the kernel's file system: our own kind of
/// server takes it off the targets of symbolic links, which the program made with it.
pub fn set_prefix(prefix: &[u8]) {
    let _ = PREFIX.set(prefix.to_vec());
}

fn prefix() -> &'static [u8] {
    PREFIX.get().map(Vec::as_slice).unwrap_or_default()
}

/// What [`speak_plainly`] was given.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Says, before the first connection, whether the original protocol is to be spoken even to our own kind of server.
pub fn speak_plainly(plainly: bool) {
    PLAIN.store(plainly, Ordering::Relaxed);
}

/// How a client introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A new process of this name.
    Guest(Vec<u8>),
    /// The process that a parent's prefork made.
    Fork(Token),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The error number.
    pub errno: Errno,
    /// The line for the user, where a number does not say enough.
    pub message: Option<String>,
}

impl From<Errno> for ConnectError {
    fn from(errno: Errno) -> Self {
        Self { errno, message: None }
    }
}

impl From<host::Error> for ConnectError {
    fn from(error: host::Error) -> Self {
        host::errno(error).into()
    }
}

impl From<ParseError> for ConnectError {
    fn from(error: ParseError) -> Self {
        Self { errno: error.errno, message: error.message }
    }
}

impl core::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => self.errno.fmt(f),
        }
    }
}

impl core::error::Error for ConnectError {}

/// The name of the running program, as the host knows it; `???` if it cannot be read.
pub fn program_name() -> Vec<u8> {
    let name = host::process_name().unwrap_or_default();
    if name.is_empty() { b"???".to_vec() } else { name }
}

/// Connects and reads the banner; see [`begin`].
pub fn open(endpoint: &dyn Endpoint, first: u64) -> host::Result<Arc<Conn>> {
    begin(endpoint.connect()?, first)
}

/// Reads the banner and moves the socket to a high number. `first` is the number that the handshake will have.
pub fn begin(mut link: Box<dyn Link>, first: u64) -> host::Result<Arc<Conn>> {
    let extended = read_banner(&*link)?;
    let socket = Kept::duplicate(link.fd())?;
    link.go_by(socket.place());
    socket.with(|fd| host::set_nonblocking(fd, true))?;
    Ok(Arc::new(Conn::new(link, socket, extended, first)))
}

/// Reads the banner and returns whether the server is to be spoken to as ours.
///
/// `ECONNREFUSED` if there is none: the server is full, or no such server.
fn read_banner(link: &dyn Link) -> host::Result<bool> {
    let deadline = host::uptime() + BANNER_TIME;
    let mut line = Vec::new();
    while !banner::valid(&line) {
        let left = deadline.checked_sub(host::uptime()).ok_or(host::Error::TIMEDOUT)?;
        let _ = host::ppoll(&mut [PollFd::new(link.fd(), POLLIN)], Some(left), None);
        let mut piece = [0; banner::MAX];
        let room = piece.get_mut(line.len()..).unwrap_or_default();
        match link.recv(room) {
            Ok(0) => return Err(host::Error::CONNREFUSED),
            Ok(n) => line.extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(host::Error::AGAIN | host::Error::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(banner::extended(&line) && !PLAIN.load(Ordering::Relaxed))
}

/// Introduces the client. The errno of the server's refusal; `ENOTCONN` if it hangs up.
pub fn introduce(conn: &Conn, signals: Option<&Kept>, handshake: &message::Handshake<'_>) -> Result<()> {
    let frame = |_: &Conn, number| ClientRequest::Handshake(*handshake).encode(number);
    match exchange(conn, signals, &Request::new(&frame, Terms::default()))? {
        Outcome::Lost => Err(Errno::ENOTCONN),
        Outcome::Answer(body, _) => match body.first_chunk::<4>().map(|error| i32::from_ne_bytes(*error)) {
            Some(0) => {
                if conn.extended {
                    // Data then moves in large pieces. No answer comes, so the number is of no account.
                    let hello = ClientRequest::Extended { pid: host::getpid(), prefix: prefix() };
                    conn.send(&hello.encode(0)).map_err(host::errno)?;
                }
                Ok(())
            }
            Some(error) => Err(Errno::from_raw(error)),
            None => Err(Errno::EPROTO),
        },
    }
}
