//! The server: accepts clients on a sysproxy link and lets them call the kernel (rump_sp(7)).
//!
//! System calls run on [`worker`] threads, and one of these at a time has the duty to read all sockets (see [`reader`]): it runs
//! the calls that it reads itself, so that a call which does not sleep costs one wake-up. Before it sleeps it passes the duty on.
//! [`requests`] serves what was read; [`rings`] has clients come through shared memory. A [`session`] is one client: what it still has
//! to be sent, whom it is asked for memory by, its process. A client that does not read, floods, or dies in mid-call holds up nobody but itself.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::Errno;
use sysproxy::host::epoll::Epoll;
use sysproxy::host::{self, Owned, POLLIN, PollFd};
use sysproxy::url::ParseError;
use sysproxy::{Link, Listener, Locator, Role};

use crate::Kernel;
use crate::proc::lock;

mod forks;
mod memory;
mod reader;
mod requests;
mod rings;
mod session;
mod worker;

use forks::Forks;
use reader::Reader;
use session::Session;
use worker::Pool;

/// reboot(2): do not end the process.
const RB_HALT: i32 = 8;
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
    /// What there is to read: all sockets, the listener and `wake`.
    epoll: Epoll,
    /// Locked by the thread that has the duty.
    reader: Mutex<Reader>,
    /// Written to make the reading thread look again.
    wake: Owned,
    /// Set when whoever runs the server wants its end, and not only a client.
    released: AtomicBool,
    listener: Arc<dyn Listener>,
    /// Connections that did not come through the listener, and are not read yet.
    arrived: Mutex<Vec<Box<dyn Link>>>,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// How many clients have shared memory.
    rings: Arc<AtomicUsize>,
    next_session: AtomicU64,
}

impl Shared {
    /// Wakes the reading thread, or whoever waits for [`Server::stop`].
    fn wake(&self) {
        host::signal_eventfd(self.wake.fd());
    }

    /// Has a connection read that did not come through the listener. Only the reading thread does so.
    fn arrived(&self, link: Box<dyn Link>) {
        lock(&self.arrived).push(link);
    }

    /// Has the reading thread told, or no longer, when a client takes more.
    fn watch_output(&self, session: &Session, watched: bool) {
        // It fails for a client that is dead, whose output is nobody's concern.
        let _ = self.epoll.change(session.fd(), session.id, watched);
    }

    /// Ends [`Server::run`]; from now on nobody can connect.
    fn stop(&self) {
        self.listener.unlink();
        // Before the reading thread wakes up, which asks whether this is the end.
        self.pool.stop();
        self.wake();
    }
}

impl Server {
    /// Binds a server for `kernel` to `url`. When this returns, clients can connect; they are served by [`Server::run`].
    pub fn bind(kernel: Arc<Kernel>, url: &str) -> Result<Server, BindError> {
        let locator = Locator::parse(url, Role::Server).map_err(BindError)?;
        let listener: Arc<dyn Listener> = locator.listen().map_err(BindError)?.into();
        let silent = |error| BindError(ParseError::silent(host::errno(error)));
        let epoll = Epoll::new().map_err(silent)?;
        let wake = host::eventfd().map_err(silent)?;
        epoll.add(wake.fd(), reader::WAKE).map_err(silent)?;
        epoll.add(listener.fd(), reader::DOOR).map_err(silent)?;
        let shared = Arc::new(Shared {
            forks: Forks::default(),
            pool: Pool::default(),
            epoll,
            reader: Mutex::default(),
            wake,
            released: AtomicBool::new(false),
            listener: listener.clone(),
            arrived: Mutex::default(),
            sessions: Mutex::default(),
            rings: Arc::default(),
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
        self.shared.pool.run_until_stopped(&self.shared);
        self.farewell();
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

    /// Gives the clients a last chance to take their answers, and closes.
    fn farewell(&self) {
        let sessions = lock(&self.shared.sessions).clone();
        let until = host::uptime() + FAREWELL;
        while host::uptime() < until && sessions.iter().any(|session| session.has_output()) {
            sessions.iter().for_each(|session| session.flush());
            host::sleep(Duration::from_millis(1));
        }
        sessions.iter().for_each(|session| session.die());
        *lock(&self.shared.reader) = Reader::default();
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
