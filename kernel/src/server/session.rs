//! One client: its connection, what it has still to be sent, its process and the calls under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use sysproxy::frame::Frame;
use sysproxy::host::{self, HostFd, IoSlice, Owned};
use sysproxy::link::{Bell, Full};
use sysproxy::message;
use sysproxy::peer::Outstanding;
use sysproxy::{Link, ring};
use zerocopy::IntoBytes;

use super::Shared;
use super::rings::Seat;
use crate::proc::{Lwp, Proc, lock};
use crate::wait::about_to_sleep;

/// A worker waits when a client has left this much unread.
const OUTPUT_PAUSE_BYTES: usize = 4 << 20;
/// A client that lets this much pile up is dropped.
const OUTPUT_MAX_BYTES: usize = 64 << 20;
/// Frames that can wait for the next are sent when so much has come together.
const OUTPUT_KEPT_BYTES: usize = 256 << 10;
/// Frames sent at once.
const GATHERED: usize = 16;
/// Calls of one client at most, running and waiting for a thread.
pub const CALLS_MAX: usize = 1024;

/// A client.
pub struct Session {
    /// Counts up; names the client in messages.
    pub id: u64,
    /// What all sessions share.
    pub server: Arc<Shared>,
    link: Box<dyn Link>,
    /// Whether descriptors can go along the link: asked once, since that costs a call of the host.
    passes_descriptors: bool,
    output: Mutex<Output>,
    /// Told when output got shorter, or the client died.
    drained: Condvar,
    state: Mutex<State>,
    /// Requests to the client that wait for an answer.
    asked: Mutex<Outstanding<Arc<Answer>>>,
    /// How far it is on the way to shared memory.
    seat: Mutex<Seat>,
    dead: AtomicBool,
    extended: AtomicBool,
}

/// A frame that is to be sent.
struct Outgoing {
    bytes: Vec<u8>,
    /// Goes with the first byte.
    passed: Option<Owned>,
    /// It is the last one that goes the way it goes; which way comes next.
    then: Option<Then>,
}

/// A way for what is sent.
pub enum Then {
    /// Shared memory.
    Through(ring::Writer, Bell),
    /// The socket.
    Socket,
}

#[derive(Default)]
struct Output {
    frames: VecDeque<Outgoing>,
    /// Bytes of the first frame that are sent already.
    sent: usize,
    bytes: usize,
    /// End the connection when everything is sent.
    closing: bool,
    /// Whether the client did not take all that it was sent: the reading thread is told when it takes more.
    full: bool,
    /// Whether that is told by the socket.
    polled: bool,
}

impl Output {
    /// Takes away what was sent; returns how to go on if that is another way now.
    fn take(&mut self, mut sent: usize) -> Option<Then> {
        self.bytes -= sent;
        while let Some(first) = self.frames.front() {
            let rest = first.bytes.len() - self.sent;
            if sent < rest {
                self.sent += sent;
                return None;
            }
            sent -= rest;
            self.sent = 0;
            if let Some(then @ Some(_)) = self.frames.pop_front().map(|sent| sent.then) {
                return then;
            }
        }
        None
    }
}

/// How far a client is.
#[derive(Default)]
pub struct State {
    /// Its process, once the handshake is done.
    pub proc: Option<Arc<Proc>>,
    /// Its calls, running or waiting for a thread.
    pub calls: Vec<Arc<Lwp>>,
    /// An exec that waits for the calls to end: the number of its request, and the new name.
    pub exec: Option<(u64, Vec<u8>)>,
}

/// What a client answers to a request for its memory.
#[derive(Default)]
pub struct Answer {
    slot: Mutex<Option<Option<Vec<u8>>>>,
    came: Condvar,
}

impl Answer {
    fn give(&self, answer: Option<Vec<u8>>) {
        lock(&self.slot).get_or_insert(answer);
        self.came.notify_all();
    }

    /// Waits for the answer; `None` if there will be none.
    pub fn wait(&self) -> Option<Vec<u8>> {
        about_to_sleep();
        let mut slot = lock(&self.slot);
        loop {
            match slot.take() {
                Some(answer) => return answer,
                None => slot = self.came.wait(slot).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Session {
    /// Makes the session of a client that has been sent the banner.
    pub fn new(id: u64, link: Box<dyn Link>, server: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            id,
            server,
            passes_descriptors: link.passes_descriptors(),
            link,
            output: Mutex::default(),
            drained: Condvar::new(),
            state: Mutex::default(),
            asked: Mutex::new(Outstanding::starting_at(0)),
            seat: Mutex::default(),
            dead: AtomicBool::new(false),
            extended: AtomicBool::new(false),
        })
    }

    /// The connection.
    pub fn link(&self) -> &dyn Link {
        &*self.link
    }

    /// Whether descriptors can go along the link, as between processes of one host.
    pub fn passes_descriptors(&self) -> bool {
        self.passes_descriptors
    }

    /// The socket.
    pub fn fd(&self) -> HostFd {
        self.link.fd()
    }

    /// Whether the client is one of ours.
    pub fn extended(&self) -> bool {
        self.extended.load(Ordering::Relaxed)
    }

    /// Notes that the client is one of ours.
    pub fn set_extended(&self) {
        self.extended.store(true, Ordering::Relaxed);
    }

    /// Whether the client is gone.
    pub fn dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Looks at or changes how far the client is.
    pub fn with_state<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut lock(&self.state))
    }

    /// Sends a frame, or keeps it for later; for the reading thread, which must not wait.
    pub fn post(&self, frame: &Frame) {
        self.post_with(frame, None, None, 0);
    }

    /// The same for a frame behind which another way is taken.
    pub fn post_last(&self, frame: &Frame, then: Then) {
        self.post_with(frame, None, Some(then), 0);
    }

    fn post_with(&self, frame: &Frame, passed: Option<Owned>, then: Option<Then>, patience: usize) {
        self.transmit(&[frame.header.as_bytes(), &frame.body], passed, then, patience);
    }

    /// Sends a frame, given in parts. If it must wait it is queued, and sent with what is queued once that is more than `patience`
    /// bytes.
    fn transmit(&self, parts: &[&[u8]], passed: Option<Owned>, then: Option<Then>, patience: usize) {
        let mut output = lock(&self.output);
        if self.dead() || output.closing {
            return;
        }
        let whole = parts.iter().map(|part| part.len()).sum();
        let mut sent = 0;
        if output.frames.is_empty() && passed.is_none() && then.is_none() {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let at_once = if patience == 0 { self.link.send(&slices) } else { self.link.send_quietly(&slices) };
            // An error is met again by what is left.
            sent = at_once.unwrap_or(0);
        }
        if sent == whole {
            return;
        }
        let mut bytes = parts.concat();
        bytes.drain(..sent);
        output.bytes += bytes.len();
        output.frames.push_back(Outgoing { bytes, passed, then });
        if output.bytes <= patience && sent == 0 {
            return;
        }
        let progress = self.write_out(&mut output);
        let flood = output.bytes > OUTPUT_MAX_BYTES;
        drop(output);
        if progress == Progress::Failed || flood {
            // The reading thread sees the end of the connection, and buries the client.
            self.link.shutdown();
        }
    }

    /// The same for a worker, which first waits until the client has taken most of what it was sent.
    pub fn send(&self, frame: &Frame) {
        self.send_with(frame, None);
    }

    fn send_with(&self, frame: &Frame, passed: Option<Owned>) {
        self.pause();
        self.post_with(frame, passed, None, 0);
    }

    /// Waits until the client has taken most of what it was sent.
    fn pause(&self) {
        let mut output = lock(&self.output);
        while output.bytes > OUTPUT_PAUSE_BYTES && !self.dead() {
            // Not with the lock held: another thread is to read for everybody, and to send what is left.
            drop(output);
            about_to_sleep();
            let nap = Duration::from_secs(1);
            output = lock(&self.output);
            if output.bytes > OUTPUT_PAUSE_BYTES {
                output = self.drained.wait_timeout(output, nap).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Sends a last frame and ends the connection behind it.
    pub fn dismiss(&self, frame: Option<&Frame>) {
        if let Some(frame) = frame {
            self.post(frame);
        }
        let mut output = lock(&self.output);
        output.closing = true;
        let progress = self.write_out(&mut output);
        drop(output);
        if progress != Progress::Full {
            self.link.shutdown();
        }
    }

    /// Whether the connection ends as soon as everything is sent; what the client says is of no account then.
    pub fn dismissed(&self) -> bool {
        lock(&self.output).closing
    }

    /// Whether something is left to be sent.
    pub fn has_output(&self) -> bool {
        lock(&self.output).bytes > 0
    }

    /// Whether the client did not take all that it was sent.
    pub fn is_full(&self) -> bool {
        lock(&self.output).full
    }

    /// Sends what is left, as far as the client takes it.
    pub fn flush(&self) {
        let mut output = lock(&self.output);
        if output.bytes == 0 {
            return;
        }
        let progress = self.write_out(&mut output);
        let done = progress == Progress::Failed || (output.closing && output.frames.is_empty());
        drop(output);
        self.drained.notify_all();
        if done {
            self.link.shutdown();
        }
    }

    fn write_out(&self, output: &mut Output) -> Progress {
        let (progress, polled) = loop {
            match self.write_frames(output) {
                Progress::Full => match self.link.full() {
                    Full::NoMore => {}
                    full => break (Progress::Full, full == Full::Poll),
                },
                progress => break (progress, false),
            }
        };
        output.full = progress == Progress::Full;
        if polled != std::mem::replace(&mut output.polled, polled) {
            self.server.watch_output(self, polled);
        }
        progress
    }

    fn write_frames(&self, output: &mut Output) -> Progress {
        while let Some(first) = output.frames.front() {
            // A descriptor goes with the first byte of its frame, and behind the last frame of one way comes another.
            let together = |(frame, next): &(&Outgoing, &Outgoing)| frame.then.is_none() && next.passed.is_none();
            let pairs = output.frames.iter().zip(output.frames.iter().skip(1)).take(GATHERED - 1).take_while(together);
            let rest = first.bytes.get(output.sent..).unwrap_or_default();
            let more = pairs.map(|(_, next)| &*next.bytes);
            let parts: Vec<_> = std::iter::once(rest).chain(more).map(IoSlice::new).collect();
            let sent = match &first.passed {
                Some(passed) if output.sent == 0 => self.link.send_with(&parts, passed.fd()),
                _ => self.link.send(&parts),
            };
            match sent {
                Ok(sent) => match output.take(sent) {
                    None => {}
                    Some(Then::Through(ring, bell)) => self.link.send_through(Some((ring, bell))),
                    Some(Then::Socket) => self.link.send_through(None),
                },
                Err(host::Error::INTR) => {}
                Err(host::Error::AGAIN) => return Progress::Full,
                Err(_) => {
                    *output = Output { closing: true, ..Output::default() };
                    return Progress::Failed;
                }
            }
        }
        Progress::Done
    }

    /// Asks the client for something of its memory and waits; `None` if the client is gone or in an exec.
    pub fn ask(&self, request: &message::ServerRequest<'_>) -> Option<Vec<u8>> {
        let answer = Arc::new(Answer::default());
        let number = lock(&self.asked).add(answer.clone());
        // Only now: whoever buries the client after this finds the request.
        if self.dead() {
            answer.give(None);
        } else {
            self.send(&request.encode(number));
        }
        let bytes = answer.wait();
        lock(&self.asked).take(number);
        bytes
    }

    /// Has the client store something in its memory, which it does not answer; uses up a number all the same. It goes together with
    /// what comes next, the answer of the call at the latest.
    pub fn copy_out(&self, addr: u64, data: &[u8]) {
        let number = lock(&self.asked).number();
        self.pause();
        self.transmit(&[&message::copy_out(number, addr, data.len()), data], None, None, OUTPUT_KEPT_BYTES);
    }

    /// Hands the client a descriptor for one of its calls.
    pub fn hand_over(&self, request: u64, fd: Owned) {
        let number = lock(&self.asked).number();
        self.send_with(&message::ServerRequest::Descriptor { request }.encode(number), Some(fd));
    }

    /// The same for the reading thread, which must not wait.
    pub fn post_descriptor(&self, request: u64, fd: Owned) {
        let number = lock(&self.asked).number();
        self.post_with(&message::ServerRequest::Descriptor { request }.encode(number), Some(fd), None, 0);
    }

    /// Looks at or changes how far the client is on the way to shared memory.
    pub fn with_seat<T>(&self, body: impl FnOnce(&mut Seat) -> T) -> T {
        body(&mut lock(&self.seat))
    }

    /// Hands an answer to who waits for it; one that nobody waits for is dropped.
    pub fn answered(&self, number: u64, body: Vec<u8>) {
        if let Some(answer) = lock(&self.asked).take(number) {
            answer.give(Some(body));
        }
    }

    /// Gives up all requests to the client.
    pub fn abandon_requests(&self) {
        let waiting: Vec<_> = lock(&self.asked).drain().collect();
        waiting.iter().for_each(|answer| answer.give(None));
    }

    /// Buries a client that is gone: its calls end, and with the last of them its process.
    pub fn die(&self) {
        if self.dead.swap(true, Ordering::SeqCst) {
            return;
        }
        self.leave_memory();
        self.link.shutdown();
        let unsent = std::mem::take(&mut *lock(&self.output));
        drop(unsent);
        self.drained.notify_all();
        self.abandon_requests();
        let proc = self.with_state(|state| {
            state.calls.iter().for_each(|lwp| lwp.interrupt());
            if state.calls.is_empty() { state.proc.take() } else { None }
        });
        if let Some(proc) = proc {
            self.server.kernel.exit(&proc);
        }
        lock(&self.server.sessions).retain(|other| other.id != self.id);
        self.server.forks.session_ended(&self.server.kernel, self.id);
    }

    /// Ends an exec. A client of ours then tells anew what limits its files.
    pub fn finish_exec(&self, proc: &Proc, name: &[u8]) {
        if self.extended() {
            proc.forget_file_limit();
        }
        proc.finish_exec(name);
    }

    /// Counts a call out; the last one lets a waiting exec or the end of the process go on.
    pub fn call_done(&self, lwp: &Arc<Lwp>) {
        let (exec, ended) = self.with_state(|state| {
            if let Some(at) = state.calls.iter().position(|other| Arc::ptr_eq(other, lwp)) {
                state.calls.swap_remove(at);
            }
            match state.calls.is_empty() {
                true if self.dead() => (None, state.proc.take()),
                true => (state.exec.take().zip(state.proc.clone()), None),
                false => (None, None),
            }
        });
        if let Some(((reqno, name), proc)) = exec {
            self.finish_exec(&proc, &name);
            self.send(&message::handshake_done(reqno));
        }
        if let Some(proc) = ended {
            self.server.kernel.exit(&proc);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Full,
    Failed,
}
