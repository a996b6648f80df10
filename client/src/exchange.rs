//! One request and its answer, with the signals that come meanwhile.

use abi::{Errno, Region, Result};
use sysproxy::Frame;
use sysproxy::host::{self, Owned, PollFd, SigSet};
use sysproxy::message::Refusal;

use crate::conn::{Answer, Conn, Event};
use crate::fds::Kept;
use crate::signals::{self, Pending, SIGCANCEL, Watch};

/// The signals of job control that stop a process: SIGTSTP, SIGTTIN, SIGTTOU.
const STOPS: SigSet = SigSet::of(20).union(SigSet::of(21)).union(SigSet::of(22));

/// What came of sending a request once.
#[derive(Debug)]
pub enum Outcome {
    /// The body of the answer, and the descriptors that came for the request.
    Answer(Vec<u8>, Vec<Owned>),
    /// The connection is dead, and what became of the request is unknown.
    Lost,
}

/// A request to be made.
pub struct Request<'a> {
    /// Makes its frame for a connection, given its number there.
    pub frame: &'a dyn Fn(&Conn, u64) -> Frame,
    /// How to wait for its answer.
    pub terms: Terms<'a>,
    /// What to do when it is sent, before anything else is.
    pub then: Option<&'a dyn Fn(&Conn)>,
}

impl<'a> Request<'a> {
    /// Makes one of its frame and terms.
    pub fn new(frame: &'a dyn Fn(&Conn, u64) -> Frame, terms: Terms<'a>) -> Self {
        Self { frame, terms, then: None }
    }
}

/// What may happen while a request is under way.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// What the server may touch.
    pub regions: &'a [Region],
    /// Which call it is, for what is known of how soon such are answered.
    pub call: u32,
    /// Whether it is a system call: a caught signal ends it. Else handlers run and the wait goes on.
    pub interruptible: bool,
    /// Whether the call may be interrupted by a stop too, since it is then made once more.
    pub begins_anew: bool,
    /// Descriptors of the host to look at as well.
    pub host: &'a [PollFd],
    /// Called once when one of them is ready; the wait goes on without them.
    pub on_host: &'a dyn Fn(&Conn, u64),
}

impl Default for Terms<'_> {
    /// Nothing.
    fn default() -> Self {
        Self { regions: &[], call: 0, interruptible: false, begins_anew: false, host: &[], on_host: &|_, _| {} }
    }
}

/// Sends a request and waits for its answer. The caller has all signals blocked.
///
/// The errno of an ERROR frame; `EFAULT` if memory that the request named is bad. `EINTR`, with no signal pending, in the child of a fork
/// that a handler has made: the call is to be made anew, on the child's own connection.
pub fn exchange(conn: &Conn, signals: Option<&Kept>, request: &Request<'_>) -> Result<Outcome> {
    loop {
        let Some(number) = conn.begin(request.terms.regions, request.terms.interruptible) else {
            return Ok(Outcome::Lost);
        };
        if let Err(error) = conn.send_then(&(request.frame)(conn, number), request.then) {
            conn.forget(number);
            match error {
                host::Error::PIPE | host::Error::BADF | host::Error::NOTCONN | host::Error::NOTSOCK => {
                    conn.die();
                    return Ok(Outcome::Lost);
                }
                error => return Err(host::errno(error)),
            }
        }
        match wait(conn, number, signals, &request.terms) {
            Answer::Lost => return Ok(Outcome::Lost),
            Answer::Elsewhere => return Err(Errno::EINTR),
            Answer::Response(_, true, _) => return Err(Errno::EFAULT),
            Answer::Response(body, false, passed) => return Ok(Outcome::Answer(body, passed)),
            Answer::Refused(code) => match Refusal::errno(code) {
                // The server had no memory for it: the whole request is sent again.
                Errno::EAGAIN => {}
                errno => return Err(errno),
            },
        }
    }
}

/// Whether signals end a call. One that is stopped by job control begins anew, as on Linux: its terminal may have another foreground
/// then.
fn interrupts(pending: &Pending, terms: &Terms<'_>) -> bool {
    !pending.caught.is_empty() || (terms.begins_anew && pending.other.iter().any(|signal| STOPS.contains(signal)))
}

fn wait(conn: &Conn, number: u64, signals: Option<&Kept>, terms: &Terms<'_>) -> Answer {
    let mut watch = Watch::new(signals.filter(|_| !signals::is_held()));
    let mut host = terms.host;
    loop {
        match conn.wait(number, terms.call, watch.fd(), host) {
            Event::Done(answer) => return answer,
            Event::Host => {
                host = &[];
                (terms.on_host)(conn, number);
            }
            Event::NoSignals => watch.without(SigSet::EMPTY),
            Event::Signal => {
                let pending = signals::pending();
                if pending.is_empty() {
                    watch.without(SigSet::EMPTY);
                } else if !(terms.interruptible && conn.extended && interrupts(&pending, terms)) {
                    // The original's server cannot be interrupted: handlers run, the call goes on.
                    if !signals::open() {
                        return Answer::Elsewhere;
                    }
                    if pending.cancel {
                        // It waits for the end of the call.
                        watch.without(SigSet::of(SIGCANCEL));
                    }
                } else {
                    conn.interrupt(number);
                    watch.without(pending.caught.union(pending.other));
                }
            }
        }
    }
}
