//! The server: accepts clients on a sysproxy link and lets them call the kernel (rump_sp(7)).
//!
//! One thread reads all sockets and never blocks ([`Server::run`]); [`requests`] answers what needs no waiting;
//! system calls run on [`worker`] threads. A [`session`] is one client: what it still has to be sent, whom it is asked for
//! memory by, its process. A client that does not read, floods, or dies in mid-call holds up nobody but itself.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::Errno;
use sysproxy::host::{self, Owned, POLLIN, POLLOUT, PollFd};
use sysproxy::url::ParseError;
use sysproxy::{FrameReader, Link, Listener, Locator, Role, banner};

use crate::Kernel;
use crate::proc::lock;

mod forks;
mod memory;
mod requests;
mod session;
mod worker;

use forks::Forks;
use session::Session;
use worker::Pool;

/// reboot(2): do not end the process.
const RB_HALT: i32 = 8;
/// Clients at most; one more is closed without a banner.
const CLIENTS_MAX: usize = 4096;
/// Frames taken from one client before the next has its turn.
const TURN: usize = 64;
/// How often tokens of forks and files that nobody claims are looked at.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the end waits for clients to take their last answers.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a server could not be bound.
#[derive(Debug)]
pub struct BindError(ParseError);

impl BindError {
    /// The error's number.
    pub fn errno(&self) -> Errno {
        self.0.errno
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.message {
            Some(message) => write!(f, "{}: {message}", self.0.errno),
            None => self.0.errno.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

/// A kernel that can be reached over a URL.
pub struct Server {
    shared: Arc<Shared>,
    listener: Arc<dyn Listener>,
}

/// What the threads of a server share.
pub(crate) struct Shared {
    kernel: Arc<Kernel>,
    forks: Forks,
    pool: Pool,
    /// Written to make the reading thread look again.
    wake: Owned,
    stopping: AtomicBool,
    /// Set when whoever runs the server wants its end, and not only a client.
    released: AtomicBool,
    listener: Arc<dyn Listener>,
    sessions: Mutex<Vec<Arc<Session>>>,
    next_session: AtomicU64,
}

impl Shared {
    /// Makes the reading thread look at its sessions again.
    fn wake(&self) {
        host::signal_eventfd(self.wake.fd());
    }

    /// Ends [`Server::run`]; from now on nobody can connect.
    fn stop(&self) {
        self.listener.unlink();
        self.stopping.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// A session and what the reading thread keeps about it.
struct Conn {
    session: Arc<Session>,
    reader: FrameReader,
    /// Frames may be left that were read already.
    more: bool,
}

impl Server {
    /// Binds a server for `kernel` to `url`. When this returns, clients can connect; they are served by [`Server::run`].
    pub fn bind(kernel: Arc<Kernel>, url: &str) -> Result<Server, BindError> {
        let locator = Locator::parse(url, Role::Server).map_err(BindError)?;
        let listener: Arc<dyn Listener> = locator.listen().map_err(BindError)?.into();
        let silent = |error| BindError(ParseError::silent(host::errno(error)));
        let shared = Arc::new(Shared {
            forks: Forks::default(),
            pool: Pool::default(),
            wake: host::eventfd().map_err(silent)?,
            stopping: AtomicBool::new(false),
            released: AtomicBool::new(false),
            listener: listener.clone(),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            kernel,
        });
        Ok(Server { shared, listener })
    }

    /// The URL that clients use: absolute, with the port that the host chose.
    pub fn url(&self) -> String {
        self.listener.url()
    }

    /// The kernel that is served.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.shared.kernel
    }

    /// Serves until [`Server::stop`] or until a client halts the kernel; with `RB_HALT` it then still waits for `stop`.
    pub fn run(&self) {
        let mut conns: Vec<Conn> = Vec::new();
        while !self.shared.stopping.load(Ordering::SeqCst) {
            self.wait(&conns);
            host::clear_eventfd(self.shared.wake.fd());
            self.accept(&mut conns);
            for conn in &mut conns {
                self.serve(conn);
            }
            conns.retain(|conn| !conn.session.dead());
            self.shared.forks.sweep(&self.shared.kernel);
            self.shared.kernel.parked.sweep(self.shared.kernel.clock.uptime());
        }
        self.farewell(&conns);
        self.shared.kernel.shutdown();
        if self.shared.kernel.halted().is_some_and(|howto| howto & RB_HALT != 0) {
            self.shared.kernel.printf("rump kernel halted (with RB_HALT, not exiting)\n");
            while !self.shared.released.load(Ordering::SeqCst) {
                let _ = host::ppoll(&mut [PollFd::new(self.shared.wake.fd(), POLLIN)], None, None);
                host::clear_eventfd(self.shared.wake.fd());
            }
        }
    }

    /// Ends [`Server::run`] and removes the socket; can be called from any thread, and more than once.
    pub fn stop(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
        self.shared.stop();
    }

    /// Sleeps until a socket is ready or somebody writes to the eventfd.
    fn wait(&self, conns: &[Conn]) {
        let mut fds = vec![PollFd::new(self.shared.wake.fd(), POLLIN), PollFd::new(self.listener.fd(), POLLIN)];
        fds.extend(conns.iter().map(|conn| {
            let events = if conn.session.has_output() { POLLIN | POLLOUT } else { POLLIN };
            PollFd::new(conn.session.fd(), events)
        }));
        let timeout = match () {
            () if conns.iter().any(|conn| conn.more) => Some(Duration::ZERO),
            () if self.shared.forks.any() || self.shared.kernel.parked.any_orphan() => Some(SWEEP),
            () => None,
        };
        let _ = host::ppoll(&mut fds, timeout, None);
        for (conn, fd) in conns.iter().zip(fds.iter().skip(2)) {
            conn.session.set_ready(fd.revents != 0);
        }
    }

    fn accept(&self, conns: &mut Vec<Conn>) {
        while let Ok(link) = self.listener.accept() {
            if conns.len() >= CLIENTS_MAX || !greeted(&*link) {
                continue;
            }
            let id = self.shared.next_session.fetch_add(1, Ordering::Relaxed);
            let session = Session::new(id, link, self.shared.clone());
            lock(&self.shared.sessions).push(session.clone());
            conns.push(Conn { session, reader: FrameReader::new(), more: true });
        }
    }

    /// Takes what a client has sent, and sends what is left for it.
    fn serve(&self, conn: &mut Conn) {
        conn.session.flush();
        if !conn.session.take_ready() && !conn.more {
            return;
        }
        conn.more = false;
        for _ in 0..TURN {
            if conn.session.dead() {
                return;
            }
            match conn.reader.next(conn.session.link()) {
                Ok(Some(frame)) => requests::serve(&conn.session, frame),
                Ok(None) => return,
                Err(_) => return conn.session.die(),
            }
        }
        conn.more = true;
    }

    /// Gives the clients a last chance to take their answers, and closes.
    fn farewell(&self, conns: &[Conn]) {
        let until = host::uptime() + FAREWELL;
        while host::uptime() < until && conns.iter().any(|conn| conn.session.has_output()) {
            conns.iter().for_each(|conn| conn.session.flush());
            host::sleep(Duration::from_millis(1));
        }
        conns.iter().for_each(|conn| conn.session.die());
        self.listener.unlink();
        self.shared.pool.close();
        self.shared.forks.clear(&self.shared.kernel);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends the banner in one piece; a client that does not take it is not served.
fn greeted(link: &dyn Link) -> bool {
    link.send(&[host::IoSlice::new(banner::OURS.as_bytes())]).is_ok_and(|sent| sent == banner::OURS.len())
}
