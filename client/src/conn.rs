//! One connection, shared by all threads: who sends, who receives, and who waits for which answer.
//!
//! Any thread sends, under the send lock. At most one thread at a time, the leader, reads the link: it
//! serves the server's requests for everybody and hands out the answers. The others sleep on the bell
//! of their call. A leader whose own answer has come rings the next one, who takes over.
//!
//! Lock order: `reader`, then `state`; `sending` is innermost and never held with `state`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use abi::Region;
use rustix_futex_sync::{Mutex, MutexGuard};
use sysproxy::Link;
use sysproxy::frame::{Class, Frame, FrameReader, Kind};
use sysproxy::host::{self, HostFd, IoSlice, Owned, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP, PollFd};
use sysproxy::link::{Bell, Full};
use sysproxy::message::{ClientRequest, RingStep, ServerRequest};
use sysproxy::peer::{self, Outstanding};
use sysproxy::ring;
use sysproxy::spin::Spin;

use crate::fds::{self, Kept};
use crate::serve;
use crate::shared::Shared;

/// How long a thread sleeps that could get no bell, for want of descriptors.
const WITHOUT_BELL: std::time::Duration = std::time::Duration::from_millis(5);

/// Kinds of calls that are told apart in what is known of how soon they are answered.
const KINDS: usize = 64;

/// Requests of a connection that are made before it asks for shared memory: many programs make no more.
const REQUESTS: u32 = 24;

/// Looks at shared memory between two looks at the clock.
const LOOKS: usize = 32;

/// Own descriptors that stand before the host's among those that a thread waits for.
const OWN: usize = 3;

/// A connection to a server, up to its end. A new connection is a new `Conn`.
pub struct Conn {
    link: Box<dyn Link>,
    /// The number that the link goes by.
    socket: Kept,
    /// Whether the server is ours.
    pub extended: bool,
    dead: AtomicBool,
    sending: Mutex<()>,
    /// Locked by the leader only.
    reader: Mutex<FrameReader>,
    state: Mutex<State>,
    spins: [Spin; KINDS],
    /// The memory through which bytes come and go, or will.
    shared: Mutex<Option<Arc<Shared>>>,
    /// Held for a step to shared memory or back; whether there are to be any to it.
    steps: Mutex<bool>,
    /// Requests that were made before it was asked for.
    requests: AtomicU32,
}

struct State {
    /// Whether some thread reads the link.
    led: bool,
    calls: Outstanding<Call>,
    /// Bells that no call uses at the moment.
    bells: Vec<Arc<Kept>>,
}

/// A request that is under way.
pub struct Call {
    /// What the server may touch because of it.
    pub regions: Vec<Region>,
    /// Whether it is a system call, which may fail because of bad memory.
    pub system_call: bool,
    /// Whether memory that it named turned out to be bad.
    pub fault: bool,
    /// The descriptors that the server has handed over for it.
    passed: Vec<Owned>,
    answer: Option<Answer>,
    bell: Option<Arc<Kept>>,
    /// Whether its thread sleeps on the bell.
    asleep: bool,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// The body of its answer, whether memory that it named was bad, and the descriptors that came for it.
    Response(Vec<u8>, bool, Vec<Owned>),
    /// The code of an ERROR frame.
    Refused(u32),
    /// The connection ended first.
    Lost,
    /// It goes to another process: this is the child of a fork.
    Elsewhere,
}

/// Why a wait is over.
#[derive(Debug)]
pub enum Event {
    /// The request is done.
    Done(Answer),
    /// A signal waits for the mask to open.
    Signal,
    /// The descriptor that tells of signals is closed.
    NoSignals,
    /// One of the host's descriptors is ready.
    Host,
}

enum Role {
    Leader,
    Follower(Option<Arc<Kept>>),
}

impl Conn {
    /// Starts with a link that is past its banner and goes by the number of `socket`; the first request will have the number `first`.
    pub fn new(link: Box<dyn Link>, socket: Kept, extended: bool, first: u64) -> Self {
        let state = State { led: false, calls: Outstanding::starting_at(first), bells: Vec::new() };
        Self {
            link,
            socket,
            extended,
            dead: AtomicBool::new(false),
            sending: Mutex::new(()),
            reader: Mutex::new(FrameReader::with_descriptors()),
            state: Mutex::new(state),
            spins: [const { Spin::new() }; KINDS],
            shared: Mutex::new(None),
            steps: Mutex::new(true),
            requests: AtomicU32::new(0),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Kept {
        &self.socket
    }

    /// The number that the next request would have.
    pub fn next_number(&self) -> u64 {
        self.state.lock().calls.next_number()
    }

    /// Opens a request; `None` if the connection is dead.
    pub fn begin(&self, regions: &[Region], system_call: bool) -> Option<u64> {
        let regions = regions.to_vec();
        let call =
            Call { regions, system_call, fault: false, passed: Vec::new(), answer: None, bell: None, asleep: false };
        let mut state = self.state.lock();
        (!self.dead.load(Ordering::Relaxed)).then(|| state.calls.add(call))
    }

    /// Takes a request back that could not be sent.
    pub fn forget(&self, reqno: u64) {
        self.state.lock().calls.take(reqno);
    }

    /// Sends a frame whole.
    pub fn send(&self, frame: &Frame) -> host::Result<()> {
        self.send_then(frame, None)
    }

    /// Sends a frame whole, and does something before anybody sends another.
    pub fn send_then(&self, frame: &Frame, then: Option<&dyn Fn(&Self)>) -> host::Result<()> {
        let _sending = self.sending.lock();
        peer::send(&Steady(&*self.link), frame, || self.await_room())?;
        then.into_iter().for_each(|then| then(self));
        Ok(())
    }

    /// Waits until the link may take more.
    fn await_room(&self) -> host::Result<()> {
        let shared = match Steady(&*self.link).full() {
            Full::NoMore => return Ok(()),
            Full::Poll => None,
            Full::Bell => self.shared.lock().clone(),
        };
        let events = if shared.is_some() { POLLRDHUP } else { POLLOUT };
        let mut fds = vec![PollFd::new(HostFd(-1), events), PollFd::new(HostFd(-1), POLLIN)];
        let room = shared.as_ref().map(|shared| &shared.room);
        let _ = fds::sleep(&mut fds, |fds| name([Some(&self.socket), room, None], fds), None);
        let Some(room) = room else { return Ok(()) };
        room.with(host::clear_eventfd);
        match fds.first() {
            Some(socket) if socket.revents != 0 => Err(host::Error::PIPE),
            _ => Ok(()),
        }
    }

    /// Whether it is time to ask for shared memory: once, when so many requests were made that more are to be expected.
    pub fn wants_memory(&self) -> bool {
        self.extended && self.requests.fetch_add(1, Ordering::Relaxed) == REQUESTS && self.link.passes_descriptors()
    }

    /// Keeps the memory through which the server will send, as soon as it says so.
    pub fn share(&self, shared: Arc<Shared>) {
        *self.shared.lock() = Some(shared);
    }

    /// Sends through the memory that it has.
    pub fn send_through_memory(&self) {
        if let Some(shared) = &*self.shared.lock() {
            let writer = ring::Writer::new(shared.memory.clone(), ring::Way::Up);
            self.link.send_through(Some((writer, Bell::by(shared.server.place()))));
        }
    }

    /// Sends through the socket again.
    pub fn send_through_socket(&self) {
        self.link.send_through(None);
    }

    /// The lock of the steps to shared memory and back; it says whether there are to be any to it.
    pub fn steps(&self) -> MutexGuard<'_, bool> {
        self.steps.lock()
    }

    /// Begins to count anew what [`Self::wants_memory`] counts.
    pub fn count_anew(&self) {
        self.requests.store(0, Ordering::Relaxed);
    }

    /// Whether there is memory that bytes go through.
    pub fn shares(&self) -> bool {
        self.shared.lock().is_some()
    }

    /// Receives through the memory, or through the socket again.
    fn receive_through(&self, step: RingStep) {
        let mut shared = self.shared.lock();
        match (step, &*shared) {
            (RingStep::On, Some(now)) => {
                let reader = ring::Reader::new(now.memory.clone(), ring::Way::Down);
                self.link.receive_through(Some((reader, Bell::by(now.server.place()))));
            }
            (RingStep::Off, Some(_)) => {
                self.link.receive_through(None);
                *shared = None;
            }
            _ => {}
        }
    }

    /// Asks our own kind of server to end the sleep of a call.
    pub fn interrupt(&self, reqno: u64) {
        let _ = self.send(&ClientRequest::Interrupt.encode(reqno));
    }

    /// Says that bytes of a stream were written, or `read`, which somebody is to hear of.
    pub fn moved(&self, fd: i32, read: bool) {
        // A server that is gone is noticed by the next call.
        let _ = self.send(&ClientRequest::Moved { fd, read }.encode(0));
    }

    /// Ends the connection: whoever waits for an answer sees it lost.
    pub fn die(&self) {
        let mut state = self.state.lock();
        self.dead.store(true, Ordering::Relaxed);
        Steady(&*self.link).shutdown();
        for call in state.calls.iter_mut().filter(|call| call.answer.is_none()) {
            call.finish(Answer::Lost);
        }
    }

    /// Waits until the request is done, or something else is there to be looked at: then wait again.
    ///
    /// `signals` is readable while a signal is pending; `host` are descriptors to look at as well.
    /// `call` says which call it is.
    pub fn wait(&self, reqno: u64, call: u32, signals: Option<&Kept>, host: &[PollFd]) -> Event {
        loop {
            let role = match self.take_role(reqno) {
                Ok(role) => role,
                Err(answer) => return Event::Done(answer),
            };
            let event = match role {
                Role::Leader => self.lead(reqno, call, signals, host),
                Role::Follower(bell) => self.follow(bell.as_deref(), signals, host),
            };
            if let Some(event) = event {
                self.leave(reqno);
                return event;
            }
        }
    }

    /// Becomes leader if there is none, else gets a bell; or takes the answer that is there.
    fn take_role(&self, reqno: u64) -> Result<Role, Answer> {
        let mut state = self.state.lock();
        let State { led, calls, bells } = &mut *state;
        let Some(call) = calls.get(reqno) else { return Err(Answer::Lost) };
        if let Some(answer) = call.answer.take() {
            bells.extend(call.bell.take());
            calls.take(reqno);
            drop(state);
            return Err(answer);
        }
        if !*led {
            (*led, call.asleep) = (true, false);
            return Ok(Role::Leader);
        }
        if call.bell.is_none() {
            call.bell = bells.pop().or_else(|| host::eventfd().and_then(Kept::new).ok().map(Arc::new));
        }
        call.asleep = true;
        Ok(Role::Follower(call.bell.clone()))
    }

    /// Sleeps until the bell rings (`None`) or something else is there.
    fn follow(&self, bell: Option<&Kept>, signals: Option<&Kept>, host: &[PollFd]) -> Option<Event> {
        let mut fds = watched(signals, host);
        let number = |fds: &mut [PollFd]| name([bell, None, signals], fds);
        let _ = fds::sleep(&mut fds, number, bell.is_none().then_some(WITHOUT_BELL));
        if let Some(bell) = bell
            && fds.first().is_some_and(|fd| fd.revents != 0)
        {
            bell.with(host::clear_eventfd);
            return None;
        }
        other_event(&fds)
    }

    /// Reads the link until the answer to `reqno` has come (`None`) or something else is there.
    fn lead(&self, reqno: u64, call: u32, signals: Option<&Kept>, host: &[PollFd]) -> Option<Event> {
        let mut reader = self.reader.lock();
        let event = self.read_until(&mut reader, reqno, call, signals, host);
        drop(reader);
        let mut state = self.state.lock();
        state.led = false;
        state.ring_next();
        event
    }

    fn read_until(
        &self,
        reader: &mut FrameReader,
        reqno: u64,
        call: u32,
        signals: Option<&Kept>,
        host: &[PollFd],
    ) -> Option<Event> {
        let spin = self.spins.get(call as usize % KINDS);
        let mut fds = watched(signals, host);
        loop {
            match reader.buffered() {
                Ok(Some(frame)) if frame.header.kind() == Some(Kind::Descriptor) => {
                    self.take_descriptor(&frame, reader.take_descriptor());
                    continue;
                }
                Ok(Some(frame)) => match self.take_in(frame) {
                    Some(answered) if answered == reqno => return None,
                    _ => continue,
                },
                Ok(None) => {}
                Err(_) => {
                    self.die();
                    return None;
                }
            }
            if spin.and_then(|spin| spin.look(|| self.look(reader))).is_some() {
                continue;
            }
            let link = Steady(&*self.link);
            if !link.about_to_sleep() {
                let _ = reader.fill(&link);
                continue;
            }
            // Bytes in memory are told by a bell, and the socket tells of the end only.
            let shared = link.ready().and_then(|_| self.shared.lock().clone());
            if let Some(socket) = fds.first_mut() {
                socket.events = if shared.is_some() { POLLRDHUP } else { POLLIN };
            }
            let bell = shared.as_ref().map(|shared| &shared.client);
            match fds::sleep(&mut fds, |fds| name([Some(&self.socket), bell, signals], fds), None) {
                Ok(_) => {}
                Err(host::Error::INTR) => continue,
                // Without a way to wait there is no way to hear an answer.
                Err(_) => {
                    self.die();
                    return None;
                }
            }
            let told = |at: usize| fds.get(at).is_some_and(|fd| fd.revents != 0);
            if let (Some(bell), true) = (bell, told(1)) {
                bell.with(host::clear_eventfd);
            }
            if told(0) || told(1) {
                let filled = reader.fill(&link);
                if filled.is_err() || (bell.is_some() && told(0) && filled == Ok(false)) {
                    self.die();
                    return None;
                }
            } else if let Some(event) = other_event(&fds) {
                return Some(event);
            }
        }
    }

    /// Looks whether something has come, for a moment. An error is found again by who wakes up because of it.
    fn look(&self, reader: &mut FrameReader) -> Option<()> {
        let link = Steady(&*self.link);
        if link.ready().is_some() {
            (0..LOOKS).find(|_| {
                core::hint::spin_loop();
                link.ready() == Some(true)
            })?;
        }
        matches!(reader.fill(&link), Ok(true)).then_some(())
    }

    /// Keeps a descriptor for the call that it was sent for; one that nobody waits for is closed.
    fn take_descriptor(&self, frame: &Frame, passed: Option<Owned>) {
        if let Ok(ServerRequest::Descriptor { request }) = ServerRequest::decode(&frame.header, &frame.body)
            && let Some(call) = self.state.lock().calls.get(request)
        {
            call.passed.extend(passed);
        }
    }

    /// Serves a request of the server, or hands out an answer and returns its number.
    fn take_in(&self, frame: Frame) -> Option<u64> {
        let number = frame.header.reqno;
        match frame.header.class()? {
            Class::Req => {
                let request = ServerRequest::decode(&frame.header, &frame.body).ok()?;
                if let Some(answer) = serve::serve(self, number, request)
                    && self.send(&answer).is_err()
                {
                    self.die();
                }
                return None;
            }
            Class::Resp => {
                if frame.header.kind() == Some(Kind::Ring) {
                    RingStep::from_raw(frame.header.u).into_iter().for_each(|step| self.receive_through(step));
                }
                self.finish(number, |call| Answer::Response(frame.body, call.fault, std::mem::take(&mut call.passed)));
            }
            Class::Error => self.finish(number, |_| Answer::Refused(frame.header.u)),
        }
        Some(number)
    }

    /// Hands out an answer; one that nobody waits for is dropped.
    fn finish(&self, reqno: u64, answer: impl FnOnce(&mut Call) -> Answer) {
        let mut state = self.state.lock();
        if let Some(call) = state.calls.get(reqno).filter(|call| call.answer.is_none()) {
            let answer = answer(call);
            call.finish(answer);
        }
    }

    /// Stops waiting for now. If the bell has rung meanwhile, someone else must lead.
    fn leave(&self, reqno: u64) {
        let mut state = self.state.lock();
        if let Some(call) = state.calls.get(reqno) {
            call.asleep = false;
        }
        if !state.led {
            state.ring_next();
        }
    }

    /// Looks at the calls under way.
    pub(crate) fn with_calls<T>(&self, look: impl FnOnce(&mut Outstanding<Call>) -> T) -> T {
        look(&mut self.state.lock().calls)
    }
}

/// A link whose number stays as it is for the time of each call.
struct Steady<'a>(&'a dyn Link);

impl Link for Steady<'_> {
    fn fd(&self) -> HostFd {
        self.0.fd()
    }
    fn send(&self, parts: &[IoSlice<'_>]) -> host::Result<usize> {
        let _using = fds::using();
        self.0.send(parts)
    }
    fn recv(&self, buf: &mut [u8]) -> host::Result<usize> {
        let _using = fds::using();
        self.0.recv(buf)
    }
    fn recv_with(&self, buf: &mut [u8], passed: &mut Vec<Owned>) -> host::Result<usize> {
        let _using = fds::using();
        self.0.recv_with(buf, passed)
    }
    fn ready(&self) -> Option<bool> {
        self.0.ready()
    }
    fn about_to_sleep(&self) -> bool {
        self.0.about_to_sleep()
    }
    fn full(&self) -> Full {
        self.0.full()
    }
    fn shutdown(&self) {
        let _using = fds::using();
        self.0.shutdown();
    }
    fn go_by(&mut self, _: &'static AtomicI32) {}
}

/// What a thread waits for: two that wake it first, then the signals, then the host's.
fn watched(signals: Option<&Kept>, host: &[PollFd]) -> Vec<PollFd> {
    let mut fds = Vec::with_capacity(host.len() + OWN + 1);
    fds.extend([const { PollFd::new(HostFd(-1), POLLIN) }; OWN - 1]);
    fds.push(PollFd::new(signals.map_or(HostFd(-1), Kept::fd), POLLIN));
    fds.extend_from_slice(host);
    fds
}

/// Gives our own among them the numbers that are true now.
fn name(own: [Option<&Kept>; OWN], fds: &mut [PollFd]) {
    for (kept, fd) in own.into_iter().zip(fds) {
        fd.fd = kept.map_or(-1, |kept| kept.fd().0);
    }
}

impl State {
    /// Wakes a sleeper to take over as leader.
    fn ring_next(&mut self) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.asleep && call.answer.is_none()) {
            call.ring();
        }
    }
}

impl Call {
    fn finish(&mut self, answer: Answer) {
        self.answer = Some(answer);
        self.ring();
    }

    fn ring(&mut self) {
        if let Some(bell) = &self.bell {
            bell.with(host::signal_eventfd);
        }
    }
}

/// What the signals and the host's descriptors say.
fn other_event(fds: &[PollFd]) -> Option<Event> {
    let mut others = fds.iter().skip(OWN - 1);
    match others.next().map_or(0, |signals| signals.revents) {
        0 if others.any(|host| host.revents != 0) => Some(Event::Host),
        0 => None,
        revents if revents & POLLNVAL != 0 => Some(Event::NoSignals),
        _ => Some(Event::Signal),
    }
}
