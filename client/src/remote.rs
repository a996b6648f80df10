//! A rump kernel in another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::syscalls::nr;
use abi::{Errno, Fd, Region, Result};
use rustix_futex_sync::Mutex;
use sysproxy::frame::{Class, Frame, Kind};
use sysproxy::host::{self, HostFd, Owned, POLLIN, POLLRDHUP, PollFd, SigSet};
use sysproxy::link::{Endpoint, Stream};
use sysproxy::message::{self, ClientRequest, SyscallResult};
use sysproxy::url::ParseError;
use sysproxy::{Link, Locator, Role};
use zerocopy::IntoBytes;

use crate::conn::Conn;
use crate::connect::{self, ConnectError, Handshake, program_name};
use crate::exchange::{Outcome, Request, Terms, exchange};
use crate::fds::{self, Kept};
use crate::notices::Question;
use crate::pages::Pages;
use crate::retry::{Retry, delay};
use crate::signals::{self, Blocked, Watch};
use crate::streams::{self, Done, Streams, Woken};
use crate::{Caller, Heir, HostPollFd, carry, poll, shared};

/// Calls that a terminal may have something against when their process has been stopped and continued.
const BEGIN_ANEW: [u32; 4] = [nr::read, nr::readv, nr::write, nr::writev];

/// The number of the handshake on a fresh connection: 0 is used up by connecting, in the original.
const FIRST: u64 = 1;

/// How often to say that a reconnection is still being tried.
const REMIND: std::time::Duration = std::time::Duration::from_secs(120);

/// See [`Remote::knows_foreign_server`].
static FOREIGN: AtomicBool = AtomicBool::new(false);

/// The process's rump process on a server: one connection, shared by all threads.
///
/// The child of a fork must not use or drop its parent's: it makes its own with [`Remote::fork_child`].
pub struct Remote {
    /// Where to connect again; a connection that was taken over without a URL cannot be renewed.
    endpoint: Option<Box<dyn Endpoint>>,
    retry: Retry,
    conn: Mutex<Arc<Conn>>,
    /// Held by the thread that connects again.
    connecting: Mutex<()>,
    signals: Kept,
    /// Streams that need not go by the connection.
    streams: Streams,
    /// Files that need not either.
    pages: Pages,
    /// The [`fds::life`] that it is of.
    life: u32,
}

/// A connection that an earlier image of the process has left open.
#[derive(Clone, Copy, Debug)]
pub struct Adopted<'a> {
    /// The socket.
    pub fd: HostFd,
    /// Where it leads, if that is known.
    pub url: Option<&'a str>,
    /// Whether the server is ours.
    pub extended: bool,
}

impl Remote {
    /// Connects to the server at `url` and introduces the process. The first attempt is the only one.
    ///
    /// The error carries the line for the user where a locator is wrong.
    pub fn connect(url: &str, handshake: Handshake, retry: Retry) -> core::result::Result<Self, ConnectError> {
        Self::open(endpoint(url)?, None, &handshake, retry)
    }

    /// Introduces the process on `link`, or on a connection that is made now.
    fn open(
        endpoint: Box<dyn Endpoint>,
        link: Option<Box<dyn Link>>,
        handshake: &Handshake,
        retry: Retry,
    ) -> core::result::Result<Self, ConnectError> {
        let _blocked = Blocked::enter();
        fds::prepare(false)?;
        let conn = match link {
            Some(link) => connect::begin(link, FIRST)?,
            None => connect::open(&*endpoint, FIRST)?,
        };
        let signals = Kept::new(signals::descriptor()?)?;
        let hello = match handshake {
            Handshake::Guest(name) => message::Handshake::Guest(name),
            Handshake::Fork(token) => message::Handshake::Fork { token: *token, cancel: false },
        };
        // A handler in the child of a fork would make its calls on its parent's connection still.
        let watched = matches!(handshake, Handshake::Guest(_)).then_some(&signals);
        connect::introduce(&conn, watched, &hello)?;
        Ok(Self::with(conn, Some(endpoint), retry, signals))
    }

    /// The absolute form of the locator of a server, which a change of the working directory does not touch.
    pub fn absolute(url: &str) -> core::result::Result<String, ConnectError> {
        Ok(endpoint(url)?.url())
    }

    /// Asks the server at `url`, on a connection of its own, whether it is ours.
    pub fn is_ours(url: &str) -> core::result::Result<bool, ConnectError> {
        let _blocked = Blocked::enter();
        Ok(connect::open(&*endpoint(url)?, FIRST)?.extended)
    }

    /// Takes over a connection of the image before exec; `name` is that of the new program.
    pub fn adopt(adopted: Adopted<'_>, name: &[u8], retry: Retry) -> core::result::Result<Self, ConnectError> {
        let _blocked = Blocked::enter();
        let endpoint = adopted.url.map(endpoint).transpose()?;
        fds::prepare(false)?;
        let socket = Kept::duplicate(adopted.fd)?;
        host::close(adopted.fd)?;
        socket.with(|fd| host::set_nonblocking(fd, true))?;
        // No connect happened, so the numbers start at 0.
        let conn = Arc::new(Conn::new(Box::new(Stream::by(socket.place())), socket, adopted.extended, 0));
        let signals = Kept::new(signals::descriptor()?)?;
        connect::introduce(&conn, Some(&signals), &message::Handshake::Exec(name))?;
        Ok(Self::with(conn, endpoint, retry, signals))
    }

    fn with(conn: Arc<Conn>, endpoint: Option<Box<dyn Endpoint>>, retry: Retry, signals: Kept) -> Self {
        Self::met(&conn);
        let (conn, connecting) = (Mutex::new(conn), Mutex::new(()));
        let (streams, pages) = (Streams::default(), Pages::default());
        Self { endpoint, retry, conn, connecting, signals, streams, pages, life: fds::life() }
    }

    /// Asks the server for a copy of the rump process, for a child that is about to be made.
    ///
    /// One that is to be `noticed` may end before it claims its copy, and nobody would give that back. Where the server does not know its
    /// clients' processes, a connection that is made for the child tells of its end. So it does where the child could not make one any more, in another
    /// network.
    pub fn prefork(&self, noticed: bool) -> Result<Heir> {
        // Up to the end: a handler must not come while memory is given back.
        let _blocked = Blocked::enter();
        let endpoint = self.endpoint.as_ref().filter(|_| self.extended());
        let connected = endpoint.is_some_and(|endpoint| !endpoint.reachable());
        let frame = |_: &Conn, number| ClientRequest::Prefork { connected }.encode(number);
        let (body, passed) = self.request(&Request::new(&frame, Terms::default()))?;
        let token = body.first_chunk::<16>().copied().ok_or(Errno::EPROTO)?;
        let handed_over = passed.into_iter().next().and_then(|fd| Kept::new(fd).ok());
        let connect = || {
            let endpoint = endpoint.filter(|endpoint| !endpoint.knows_processes())?;
            let beside = self.conn().socket().with(fds::raise).ok()?;
            if !noticed && !endpoint.has_left(beside.fd()) {
                return None;
            }
            let link = endpoint.connect_beside(beside.fd()).ok()?;
            Kept::duplicate(link.fd()).ok()
        };
        Ok(Heir::new(token, handed_over.or_else(connect)))
    }

    /// Tells the server which process has come about for a copy, so that it knows when that ends.
    pub fn forked(&self, heir: Heir, pid: i32) {
        let _blocked = Blocked::enter();
        let conn = self.conn();
        if conn.extended && self.endpoint.as_ref().is_some_and(|endpoint| endpoint.knows_processes()) {
            // A server that is gone is noticed by the next call.
            let _ = conn.send(&ClientRequest::Forked { token: heir.token(), pid }.encode(0));
        }
    }

    /// Gives a copy of the rump process back that nobody will claim.
    pub fn release(&self, heir: Heir) {
        let _blocked = Blocked::enter();
        let handed_over = heir.link().and_then(|link| connect::begin(link, FIRST).ok());
        let token = heir.let_go().token();
        let connect = || connect::open(&**self.endpoint.as_ref()?, FIRST).ok();
        let Some(conn) = handed_over.or_else(connect) else { return };
        // The server ends the connection instead of an answer.
        let _ = connect::introduce(&conn, None, &message::Handshake::Fork { token, cancel: true });
    }

    /// In the child of a fork: closes what was inherited, unless it is `shared` with the parent (CLONE_FILES), and claims the copied
    /// process on a new connection.
    ///
    /// Touches no lock of `self`, which other threads of the parent may have held; `self` is then to
    /// be left alone for good ([`std::mem::forget`]).
    pub fn fork_child(&self, heir: Heir, shared: bool) -> core::result::Result<Self, ConnectError> {
        let link = heir.link();
        if shared {
            fds::forget_all()
        } else {
            fds::close_all()
        }
        self.claim(heir, link, self.retry)
    }

    /// In a child that shares the parent's memory: claims the copied process on a new connection. Touches no lock of `self`.
    pub fn guest_child(&self, heir: Heir) -> core::result::Result<Self, ConnectError> {
        self.claim(heir, heir.link(), Retry::Never)
    }

    fn claim(&self, heir: Heir, link: Option<Box<dyn Link>>, retry: Retry) -> core::result::Result<Self, ConnectError> {
        let url = self.url().ok_or(Errno::ENOTCONN)?;
        Self::open(endpoint(&url)?, link, &Handshake::Fork(heir.token()), retry)
    }

    /// Where the server is, absolute; `None` if that is not known.
    pub fn url(&self) -> Option<String> {
        self.endpoint.as_ref().map(|endpoint| endpoint.url())
    }

    /// Whether the server is ours.
    pub fn extended(&self) -> bool {
        self.conn().extended
    }

    /// Whether the process has had to do with a server that is not ours: one that is never told of bad memory while it serves a call.
    pub fn knows_foreign_server() -> bool {
        FOREIGN.load(Ordering::Relaxed)
    }

    fn met(conn: &Conn) {
        if !conn.extended {
            FOREIGN.store(true, Ordering::Relaxed);
        }
    }

    /// The number of the socket, at this moment.
    pub fn socket_fd(&self) -> HostFd {
        self.conn().socket().fd()
    }

    /// Says whether the socket is to stay open over exec: on just before it, off again if it fails.
    pub fn survive_exec(&self, survive: bool) -> Result<()> {
        let _blocked = Blocked::enter();
        let conn = self.conn();
        if survive {
            shared::leave(&conn)
        } else {
            shared::allow(&conn)
        }
        conn.socket().with(|fd| host::set_cloexec(fd, !survive)).map_err(host::errno)
    }

    /// Whether a host descriptor number is the library's own.
    pub fn owns(&self, fd: HostFd) -> bool {
        fds::owns(fd)
    }

    /// What is readable while a signal is pending.
    pub(crate) fn signals(&self) -> &Kept {
        &self.signals
    }

    pub(crate) fn conn(&self) -> Arc<Conn> {
        let _blocked = Blocked::enter();
        Arc::clone(&self.conn.lock())
    }

    /// Makes a request until it is answered or the connection is given up.
    ///
    /// `ENOTCONN` in the child of a fork, which has its own.
    pub(crate) fn request(&self, request: &Request<'_>) -> Result<(Vec<u8>, Vec<Owned>)> {
        let _blocked = Blocked::enter();
        if self.life != fds::life() {
            return Err(Errno::ENOTCONN);
        }
        loop {
            let conn = self.conn();
            match exchange(&conn, Some(&self.signals), request)? {
                Outcome::Answer(body, passed) => {
                    if conn.wants_memory() {
                        shared::enter(&conn);
                    }
                    return Ok((body, passed));
                }
                Outcome::Lost => self.recover(&conn)?,
            }
        }
    }

    /// Makes a system call.
    pub(crate) fn syscall(&self, number: u32, args: &[u64], terms: Terms<'_>) -> Result<[i64; 2]> {
        self.syscall_for_descriptors(number, args, terms).map(|(answer, _)| answer)
    }

    fn syscall_for_descriptors(&self, number: u32, args: &[u64], terms: Terms<'_>) -> Result<([i64; 2], Vec<Owned>)> {
        let frame = |conn: &Conn, reqno| match conn.extended {
            true => carry::frame(reqno, number, args.as_bytes(), terms.regions),
            false => Frame::new(reqno, Class::Req, Kind::Syscall, number, args.as_bytes().to_vec()),
        };
        let (body, passed) = self.request(&Request::new(&frame, Terms { call: number, ..terms }))?;
        Ok((SyscallResult::decode(&body).ok_or(Errno::EPROTO)?.result()?, passed))
    }

    /// Tells the server that bytes were moved on a stream, if somebody is to hear of them there.
    fn tell(&self, number: u32, args: &[u64], told: bool) {
        if let (true, Some(&fd)) = (told, args.first()) {
            self.conn().moved(fd as i32, !Streams::writes(number));
            self.ask_for_bell(fd);
        }
    }

    /// Asks the server for the bell of a stream's end, if it is time.
    fn ask_for_bell(&self, fd: u64) {
        if self.streams.wants_bell(fd)
            && let Ok(([number, _], bell)) = self.syscall_for_descriptors(nr::bell, &[fd], Terms::default())
            && let Some(bell) = bell.into_iter().next()
        {
            self.streams.take_bell(fd, bell, number as u64);
        }
    }

    /// Sleeps until a bell rings; see [`streams::Sleeper`].
    fn sleep(&self, bell: &Kept) -> Woken {
        signals::block_in_earnest();
        let conn = self.conn();
        let mut watch = Watch::new(Some(&self.signals));
        loop {
            // Of the connection only its end is of interest: what comes through it others read.
            let events = [POLLIN, POLLRDHUP, POLLIN];
            let mut fds = events.map(|events| PollFd::new(HostFd(-1), events)).to_vec();
            let own = [Some(bell), Some(conn.socket()), watch.fd()];
            let number = |fds: &mut [PollFd]| {
                fds.iter_mut().zip(own).for_each(|(fd, own)| fd.fd = own.map_or(-1, |own| own.fd().0));
            };
            match fds::sleep(&mut fds, number, None) {
                Err(host::Error::INTR) => continue,
                Err(_) => return Woken::Other,
                Ok(_) => {}
            }
            let told = |at: usize| fds.get(at).is_some_and(|fd| fd.revents != 0);
            if told(0) {
                bell.with(host::silence);
                return Woken::Rung;
            }
            if told(1) {
                return Woken::Other;
            }
            if told(2) {
                let pending = signals::pending();
                if pending.is_empty() {
                    watch.without(SigSet::EMPTY);
                } else if !pending.caught.is_empty() || !signals::open() {
                    return Woken::Signal;
                }
            }
        }
    }

    /// What poll(2) says of descriptors whose streams this program moves itself: how many have something; `None` if the server is to be
    /// asked, or to wait.
    pub(crate) fn polled(&self, set: &mut [abi::poll::PollFd], waits: bool) -> Option<usize> {
        if self.life == fds::life() { self.streams.poll(set, waits) } else { None }
    }

    /// Counts a poll that found nothing: whoever looks often looks at memory from then on.
    pub(crate) fn looked_in_vain(&self, set: &[abi::poll::PollFd]) {
        for polled in set.iter().filter(|polled| polled.fd >= 0) {
            self.asked_in_vain(Question::poll(polled.fd as u64));
            if self.conn().shares() && self.streams.count(polled.fd as u64) {
                self.ask_for_memory(polled.fd as u64);
            }
        }
    }

    /// Counts a question to which the server has said that there is nothing, and asks it for the word that says so next time.
    pub(crate) fn asked_in_vain(&self, question: Question) {
        if !self.conn().shares() {
            return;
        }
        let Some(again) = self.streams.asked_in_vain(question) else { return };
        let answer = self.syscall_for_descriptors(nr::notice, &[question.fd, u64::from(again)], Terms::default());
        let answer = answer.and_then(|([place, _], memory)| {
            let place = usize::try_from(place).map_err(|_| Errno::EPROTO)?;
            Ok((place, memory.into_iter().next()))
        });
        self.streams.noticed(question.fd, answer);
    }

    /// Asks the server to share the memory of a stream, or to lend that of a file.
    fn ask_for_memory(&self, fd: u64) {
        /// What the server answers for a file, and adds if it may be read, and written.
        const FILE: usize = 8;
        const READABLE: usize = 16;
        const WRITABLE: usize = 32;
        let answer = self.syscall_for_descriptors(nr::share, &[fd], Terms::default());
        let answer = answer.and_then(|([given, _], memory)| {
            Ok((usize::try_from(given).map_err(|_| Errno::EPROTO)?, memory.into_iter()))
        });
        let lacking = Errno::EOPNOTSUPP;
        match answer {
            Ok((given, mut memory)) if given & FILE != 0 => {
                let both = memory.next().zip(memory.next()).ok_or(lacking);
                self.streams.answer(fd, Err(lacking));
                let may = |word: usize| given & word != 0;
                self.pages.answer(fd, both.map(|(file, page)| (file, page, may(READABLE), may(WRITABLE))));
            }
            Ok((given, mut memory)) => {
                self.pages.answer(fd, Err(lacking));
                self.streams.answer(fd, memory.next().ok_or(lacking).map(|memory| (memory, given)));
            }
            Err(error) => {
                self.pages.answer(fd, Err(error));
                self.streams.answer(fd, Err(error));
            }
        }
    }

    /// Connects again, as [`Retry`] says: the server then has a new process for us, and the request is sent again.
    ///
    /// `ENOTCONN` when the connection is given up.
    fn recover(&self, lost: &Arc<Conn>) -> Result<()> {
        let limit = match self.retry {
            Retry::Never => return Err(Errno::ENOTCONN),
            Retry::Die => {
                host::warn(&format!("{}: the rump kernel is gone", String::from_utf8_lossy(&program_name())));
                host::exit(1)
            }
            Retry::For(limit) => Some(limit),
            Retry::Forever | Retry::Once => None,
        };
        let begun = host::uptime();
        let mut reminded = begun;
        for attempt in 0.. {
            if attempt > 0 {
                if signals::is_held() {
                    // Others wait for what this thread has.
                    break;
                }
                signals::unblocked(|| host::sleep(delay(attempt)));
                if signals::pending().cancel || self.life != fds::life() {
                    return Err(Errno::EINTR);
                }
            }
            if self.reconnect(lost) {
                if attempt > 0 {
                    host::warn("rump_sp: reconnected!");
                }
                return Ok(());
            }
            let now = host::uptime();
            match (self.retry, limit) {
                (Retry::Once, _) => break,
                (_, Some(limit)) if now - begun >= limit => {
                    host::warn(&format!("rump_sp: reconnect failed, {} second timeout", limit.as_secs()));
                    break;
                }
                _ if attempt == 0 => host::warn("rump_sp: connection to kernel lost, trying to reconnect ..."),
                _ if now - reminded > REMIND => {
                    reminded = now;
                    host::warn("rump_sp: still trying to reconnect ...");
                }
                _ => {}
            }
        }
        Err(Errno::ENOTCONN)
    }

    /// Tries once to connect again, unless another thread has done so.
    fn reconnect(&self, lost: &Arc<Conn>) -> bool {
        // No handler may run as long as this is held: it could make a call that ends here.
        let _connecting = self.connecting.lock();
        if !Arc::ptr_eq(&self.conn(), lost) {
            return true;
        }
        let Some(endpoint) = &self.endpoint else { return false };
        // Connecting uses up a number, as on the first connection.
        let Ok(conn) = connect::open(&**endpoint, lost.next_number() + 1) else { return false };
        let hello = program_name();
        if connect::introduce(&conn, None, &message::Handshake::Guest(&hello)).is_err() {
            return false;
        }
        Self::met(&conn);
        *self.conn.lock() = conn;
        self.streams.forget_all();
        self.pages.forget_all();
        true
    }
}

impl Caller for Remote {
    fn call(&self, number: u32, args: &[u64], regions: &[Region]) -> Result<[i64; 2]> {
        let begins_anew = BEGIN_ANEW.contains(&number);
        let plainly = |args: &[u64], regions: &[Region]| {
            self.syscall(number, args, Terms { regions, interruptible: true, begins_anew, ..Terms::default() })
        };
        if self.life != fds::life() {
            return Err(Errno::ENOTCONN);
        }
        // What is done without the server sleeps nowhere; a request blocks the signals in earnest.
        let _blocked = Blocked::lightly();
        if let Some(answer) = self.pages.shortcut(number, args, regions) {
            return answer;
        }
        let sleeper = |bell: &Kept| self.sleep(bell);
        match self.streams.shortcut(number, args, regions, &sleeper) {
            Done::All(moved, told) => {
                self.tell(number, args, told);
                moved.map(|moved| [moved as i64, 0])
            }
            Done::Part(moved, told) => {
                self.tell(number, args, told);
                let rest = streams::rest(number, args, regions, moved);
                let more = plainly(&rest.args, &rest.regions).map_or(0, |[more, _]| more);
                Ok([moved as i64 + more, 0])
            }
            Done::Nothing => {
                let question = Question::of(number, args);
                if let Some(question) = question.filter(|question| self.streams.denies(*question)) {
                    return question.denial();
                }
                let answer = plainly(args, regions);
                if let Some(question) = question.filter(|question| answer == question.denial()) {
                    self.asked_in_vain(question);
                }
                let moved = if let Ok([moved, _]) = answer { moved } else { 0 };
                let counts = moved > 0 || matches!(answer, Err(Errno::EAGAIN));
                if let Some(fd) = Streams::moves(number, args, regions).filter(|_| counts)
                    && self.conn().shares()
                    && self.streams.count(fd)
                {
                    self.ask_for_memory(fd);
                } else if let Some(&fd) = args.first()
                    && moved > 0
                    && self.conn().shares()
                    && self.pages.count(number, args, moved)
                {
                    self.ask_for_memory(fd);
                } else if let (Some(fd), Ok(_)) = (Streams::moves(number, args, regions), &answer) {
                    // A signal that has ended a call is to be found by who decides whether it begins anew.
                    self.ask_for_bell(fd);
                }
                answer
            }
        }
    }

    fn call_or_host(
        &self,
        number: u32,
        args: &[u64],
        regions: &[Region],
        host: &mut [HostPollFd],
    ) -> Result<Option<[i64; 2]>> {
        poll::call_or_host(self, number, args, regions, host)
    }

    fn call_for_descriptor(&self, number: u32, args: &[u64]) -> Result<Option<Owned>> {
        let terms = Terms { interruptible: true, ..Terms::default() };
        self.syscall_for_descriptors(number, args, terms).map(|(_, passed)| passed.into_iter().next())
    }

    fn moves_itself(&self, fd: Fd) -> bool {
        self.life == fds::life() && self.streams.has(fd.0 as u64)
    }

    fn poll_mixed(
        &self,
        rump: &mut [abi::poll::PollFd],
        host: &mut [HostPollFd],
        timeout: Option<std::time::Duration>,
    ) -> Result<(usize, usize)> {
        poll::mixed(self, rump, host, timeout)
    }
}

/// Reads a locator that must lead to a server.
fn endpoint(url: &str) -> core::result::Result<Box<dyn Endpoint>, ParseError> {
    match Locator::parse(url, Role::Client)? {
        Locator::Remote(endpoint) => Ok(endpoint),
        Locator::Local => Err(ParseError::new(Errno::EINVAL, format!("rump_sp: no server at ``{url}''"))),
    }
}
