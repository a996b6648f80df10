//! One TCP connection, sans I/O: segments go in, segments come out, time is an argument.
//!
//! [`TcpConn`] is all that the stack knows of a TCP engine. The engine is smoltcp's, unmodified; each socket sits alone in
//! a set, so that ten thousand idle ones cost an active one nothing.

use std::time::Duration;

use abi::{Errno, Result};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::IpEndpoint;
use sysproxy::host::Owned;
use sysproxy::stream::Blocks;

use super::edge::{Edge, Verdict};
use super::link::Link;

/// The states of RFC 9293, with the numbers that `TCP_INFO` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcpState {
    /// No connection.
    Closed = 0,
    /// Waits for a SYN.
    Listen,
    /// Has sent a SYN.
    SynSent,
    /// Has answered a SYN.
    SynReceived,
    /// Both ways open.
    Established,
    /// The peer has closed its side.
    CloseWait,
    /// We have closed our side; not acknowledged yet.
    FinWait1,
    /// Both have closed at once.
    Closing,
    /// Both have closed, the peer first; not acknowledged yet.
    LastAck,
    /// We have closed our side.
    FinWait2,
    /// All is over; late segments are caught.
    TimeWait,
}

impl TcpState {
    /// Whether both sides have ended it: to the program there is no connection any more, as on Linux.
    pub fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed)
    }

    /// Whether the peer will send no more.
    pub fn peer_is_done(self) -> bool {
        matches!(self, Self::CloseWait | Self::Closing | Self::LastAck | Self::TimeWait | Self::Closed)
    }
}

/// Settings of a connection that may change while it lives.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Send small segments at once.
    pub no_delay: bool,
    /// Wait for more before a small segment is sent; that there is more is told by [`Hold`].
    pub cork: bool,
    /// When the peer is asked whether it is there.
    pub keep_alive: Option<KeepAlive>,
    /// TTL or hop limit.
    pub hop_limit: Option<u8>,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// `SO_RCVBUF`; an engine may take it to begin with only.
    pub receive_buffer: usize,
    /// `SO_SNDBUF`; the same.
    pub send_buffer: usize,
    /// `IP_TOS` or `IPV6_TCLASS`.
    pub class: u8,
    /// `TCP_MAXSEG`.
    pub max_segment: Option<u16>,
    /// `TCP_CONGESTION`.
    pub congestion: Congestion,
}

/// How much is sent before it is acknowledged, beyond what the peer has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// All that the peer has room for. It is faster over links that lose, at the cost of whoever shares them.
    None,
    /// RFC 5681.
    Reno,
    /// RFC 9438. The default, as on Linux: RFC 5681 demands one that yields, and without loss it is as fast as none.
    #[default]
    Cubic,
}

impl Congestion {
    /// The names.
    const NAMES: [(&str, Self); 4] =
        [("none", Self::None), ("reno", Self::Reno), ("cubic", Self::Cubic), ("newreno", Self::Reno)];

    /// The names of all, with spaces between.
    pub fn names() -> String {
        Self::NAMES.map(|(name, _)| name).join(" ")
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, congestion)| *congestion == self).map_or("", |(name, _)| name)
    }

    /// Finds one by its name, behind which there may be zeros; `ENOENT` for one that is not known.
    pub fn parse(field: &[u8]) -> abi::Result<Self> {
        let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
        let found = Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, congestion)| *congestion).ok_or(abi::Errno::ENOENT)
    }

    /// Its name, with zeros behind it (`TCP_CA_NAME_MAX`).
    pub fn field(self) -> [u8; 16] {
        let (mut field, name) = ([0; 16], self.name());
        field[..name.len()].copy_from_slice(name.as_bytes());
        field
    }
}

/// `SO_KEEPALIVE` with its three times (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepAlive {
    /// Idle time before the first question.
    pub idle: Duration,
    /// Time between two.
    pub interval: Duration,
    /// How many may stay without an answer.
    pub count: u32,
}

/// How bytes wait that more is to follow (`MSG_MORE`, `TCP_CORK`): those that make no whole segment, until a time.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Bytes of a whole segment.
    pub segment: usize,
    /// When they are sent nevertheless.
    pub until: Instant,
}

/// Bytes that wait for more.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    until: Option<Instant>,
}

impl Held {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// When they are sent nevertheless; `None` if there are none.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether that time has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Adds bytes and returns those that go now: all without `hold`, whole segments with it.
    pub fn add(&mut self, data: &[u8], hold: Option<Hold>) -> Vec<u8> {
        self.bytes.extend_from_slice(data);
        let Some(Hold { segment, until }) = hold else { return self.release() };
        let rest = self.bytes.split_off(self.bytes.len() - self.bytes.len() % segment.max(1));
        let now = std::mem::replace(&mut self.bytes, rest);
        self.until = (!self.bytes.is_empty()).then_some(until);
        now
    }

    /// Returns all bytes, which go now.
    pub fn release(&mut self) -> Vec<u8> {
        self.until = None;
        std::mem::take(&mut self.bytes)
    }
}

/// How a connection that is closed came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The engine does not tell.
    Unknown,
    /// Both sides have ended it.
    Orderly,
    /// The peer has reset it.
    Reset,
}

/// One connection.
pub trait TcpConn: Send {
    /// Takes in a frame that belongs to this connection.
    fn on_segment(&mut self, link: &mut Link, now: Instant, frame: &[u8]);
    /// Sends all that may be sent now.
    fn emit(&mut self, link: &mut Link, now: Instant);
    /// Returns when [`TcpConn::emit`] must be called again at the latest.
    fn deadline(&mut self, link: &mut Link, now: Instant) -> Option<Instant>;
    /// Returns the state.
    fn state(&self) -> TcpState;
    /// Returns how it ended, once it is closed.
    fn ending(&self) -> Ending {
        Ending::Unknown
    }
    /// Takes bytes to be sent; returns how many. Without `hold` they go with all that was held before.
    fn send(&mut self, data: &[u8], hold: Option<Hold>) -> usize;
    /// Gives received bytes; with `peek` they stay.
    fn recv(&mut self, buf: &mut [u8], peek: bool) -> usize;
    /// Bytes received, taken to be sent, and room for more to be sent.
    fn queues(&self) -> Queues;
    /// Closes our side after what is queued.
    fn shut_write(&mut self);
    /// Ends the connection with a reset.
    fn abort(&mut self);
    /// Changes the settings.
    fn tune(&mut self, tuning: &Tuning);
    /// How much data a segment may carry, if the two sides have said so.
    fn segment(&self) -> Option<usize> {
        None
    }
    /// What was seen of its segments.
    fn measured(&self) -> Measured {
        Measured::default()
    }
    /// Says that the stream is urgent up to the byte before `end`, counted from its first.
    fn urge(&mut self, _end: u64) {}
    /// Lets programs move the bytes themselves: which direction is this end's to write, and the memory to map.
    ///
    /// `EOPNOTSUPP` if that cannot be, `EAGAIN` if not now.
    fn share(&mut self) -> Result<(usize, Owned)> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Lets the program at this end know whether its open file blocks.
    fn set_blocks(&self, _blocks: Blocks) {}
    /// The socket on which the program at this end is rung, and the number of the stream.
    fn bell(&self) -> Result<(Owned, u64)> {
        Err(Errno::EAGAIN)
    }
    /// Wakes the program at this end if it sleeps on that.
    fn rouse(&self) {}
    /// Says whether somebody at this end is to hear of all bytes that come.
    fn watch(&self, _edges: bool) {}
    /// Whether programs do so now.
    fn is_shared(&self) -> bool {
        false
    }
    /// Ends that; returns how many bytes the program at this end has read and written itself since this was asked last.
    fn take_back(&mut self) -> [u64; 2] {
        [0; 2]
    }
    /// Marks that somebody is about to wait for bytes; whether a program may have written some that were not there before.
    fn await_bytes(&self) -> bool {
        false
    }
    /// Marks that somebody is about to wait for room; whether a program may have made some that was not there before.
    fn await_room(&self) -> bool {
        false
    }
}

/// What was seen of the segments of a connection (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The smoothed round trip and how much it varies (RFC 6298, 2), once there was one.
    pub round_trip: Option<(Duration, Duration)>,
    /// Segments that were sent once more.
    pub repeated: u32,
    /// Bytes that were sent and not acknowledged.
    pub in_flight: usize,
}

/// Fill of the two buffers of a connection, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Received and not read.
    pub readable: usize,
    /// Size of the receive buffer.
    pub receive_buffer: usize,
    /// Written and not acknowledged.
    pub unsent: usize,
    /// Size of the send buffer.
    pub send_buffer: usize,
}

impl Queues {
    /// Room for more to be sent.
    pub fn writable(&self) -> usize {
        self.send_buffer - self.unsent
    }
}

/// Largest receive buffer: the largest window without a scale factor (RFC 7323).
///
/// With one, smoltcp rounds the window that it offers down, so that its right edge can move back by some bytes. A segment that
/// was sent up to the older edge is cut at the new one, but its FIN is taken: the bytes in between would be lost.
const LARGEST_WINDOW: usize = 65535;

/// smoltcp's engine.
pub struct Smol {
    set: SocketSet<'static>,
    handle: SocketHandle,
    connect_timeout: Duration,
    /// When the peer is asked next whether it is there, and how often it was without an answer; the engine's own way knows one time only.
    question: Option<(Instant, u32)>,
    /// What its segments pass.
    edge: Edge,
    /// Taken to be sent, but waiting for more; the engine has room for it.
    held: Held,
    /// As it was set last.
    tuning: Tuning,
}

impl Smol {
    fn new(receive_buffer: usize, send_buffer: usize, tuning: &Tuning) -> Self {
        let buffer = |len: usize| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(receive_buffer.min(LARGEST_WINDOW)), buffer(send_buffer));
        // Every segment is acknowledged at once: Nagle's algorithm then never waits for a timer.
        socket.set_ack_delay(None);
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        let (held, tuning) = (Held::default(), *tuning);
        let connect_timeout = tuning.connect_timeout;
        let mut conn = Self { set, handle, connect_timeout, question: None, edge: Edge::default(), held, tuning };
        conn.tune(&tuning);
        conn
    }

    /// Gives what is held to the engine.
    fn release(&mut self) {
        let held = self.held.release();
        if !held.is_empty() {
            let _ = self.socket_mut().send_slice(&held);
        }
    }

    /// Starts a connection to `remote`.
    pub fn connect(
        link: &mut Link,
        local: IpEndpoint,
        remote: IpEndpoint,
        buffers: (usize, usize),
        tuning: &Tuning,
    ) -> Result<Self> {
        let mut conn = Self::new(buffers.0, buffers.1, tuning);
        let started = conn.socket_mut().connect(link.context(), remote, local);
        started.map_err(|_| Errno::EADDRNOTAVAIL)?;
        conn.apply_timeout();
        Ok(conn)
    }

    /// Makes a connection that waits for the SYN that is at hand.
    pub fn listen(local: IpEndpoint, buffers: (usize, usize), tuning: &Tuning) -> Result<Self> {
        let mut conn = Self::new(buffers.0, buffers.1, tuning);
        conn.socket_mut().listen(local).map_err(|_| Errno::EADDRNOTAVAIL)?;
        Ok(conn)
    }

    /// Asks the peer whether it is there, when that is due; ends the connection when it has not answered so often.
    fn ask(&mut self, link: &mut Link, now: Instant) {
        let open = matches!(self.state(), TcpState::Established | TcpState::CloseWait | TcpState::FinWait2);
        let Some(times) = self.tuning.keep_alive.filter(|_| open) else {
            self.question = None;
            return;
        };
        // What is on its way is asked for by itself.
        let waits = self.socket().send_queue() > 0;
        match self.question.filter(|_| !waits) {
            None => self.question = Some((now + times.idle.into(), 0)),
            Some((at, _)) if at > now => {}
            Some((_, asked)) if asked >= times.count => self.socket_mut().abort(),
            Some((_, asked)) => {
                if let Some(question) = self.edge.question(self.tuning.hop_limit) {
                    link.leave_packet(now, question);
                }
                self.question = Some((now + times.interval.into(), asked + 1));
            }
        }
    }

    fn socket(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// smoltcp's time limit also ends idle connections, so it stands only while connecting.
    fn apply_timeout(&mut self) {
        let connecting = matches!(self.state(), TcpState::SynSent | TcpState::SynReceived);
        let limit = connecting.then_some(self.connect_timeout);
        self.socket_mut().set_timeout(limit.map(Into::into));
    }
}

impl TcpConn for Smol {
    fn on_segment(&mut self, link: &mut Link, now: Instant, frame: &[u8]) {
        let before = self.state();
        // Who says something is not asked for a while.
        self.question = None;
        match self.edge.arrives(now, frame, before) {
            Verdict::Take => link.ingress(now, frame, &mut self.set, &mut self.edge),
            Verdict::TakeAs(frame) => link.ingress(now, &frame, &mut self.set, &mut self.edge),
            Verdict::TakeAndAnswer(answer) => {
                link.ingress(now, frame, &mut self.set, &mut self.edge);
                link.leave_packet(now, answer);
            }
            Verdict::Answer(answer) => link.leave_packet(now, answer),
            Verdict::Drop => {}
        }
        if self.state() != before {
            self.apply_timeout();
        }
    }

    fn emit(&mut self, link: &mut Link, now: Instant) {
        if self.held.is_due(now) {
            self.release();
        }
        self.ask(link, now);
        while link.egress(now, &mut self.set, &mut self.edge) {}
    }

    fn deadline(&mut self, link: &mut Link, now: Instant) -> Option<Instant> {
        let question = self.question.map(|(at, _)| at);
        [link.deadline(now, &self.set), self.held.until(), question].into_iter().flatten().min()
    }

    fn state(&self) -> TcpState {
        match self.socket().state() {
            tcp::State::Closed => TcpState::Closed,
            tcp::State::Listen => TcpState::Listen,
            tcp::State::SynSent => TcpState::SynSent,
            tcp::State::SynReceived => TcpState::SynReceived,
            tcp::State::Established => TcpState::Established,
            tcp::State::FinWait1 => TcpState::FinWait1,
            tcp::State::FinWait2 => TcpState::FinWait2,
            tcp::State::CloseWait => TcpState::CloseWait,
            tcp::State::Closing => TcpState::Closing,
            tcp::State::LastAck => TcpState::LastAck,
            tcp::State::TimeWait => TcpState::TimeWait,
        }
    }

    fn send(&mut self, data: &[u8], hold: Option<Hold>) -> usize {
        if hold.is_none() && self.held.is_empty() {
            return self.socket_mut().send_slice(data).unwrap_or(0);
        }
        let data = &data[..data.len().min(self.queues().writable())];
        if data.is_empty() {
            return 0;
        }
        let now = self.held.add(data, hold);
        if !now.is_empty() {
            let _ = self.socket_mut().send_slice(&now);
        }
        data.len()
    }

    fn recv(&mut self, buf: &mut [u8], peek: bool) -> usize {
        let socket = self.socket_mut();
        if peek { socket.peek_slice(buf).unwrap_or(0) } else { socket.recv_slice(buf).unwrap_or(0) }
    }

    fn queues(&self) -> Queues {
        let socket = self.socket();
        Queues {
            readable: socket.recv_queue(),
            receive_buffer: socket.recv_capacity(),
            unsent: socket.send_queue() + self.held.len(),
            send_buffer: socket.send_capacity(),
        }
    }

    fn shut_write(&mut self) {
        self.release();
        self.socket_mut().close();
    }

    fn abort(&mut self) {
        self.socket_mut().abort();
    }

    fn tune(&mut self, tuning: &Tuning) {
        let before = std::mem::replace(&mut self.tuning, *tuning);
        if before.cork && !tuning.cork || tuning.no_delay && !before.no_delay {
            self.release();
        }
        if before.keep_alive != tuning.keep_alive {
            self.question = None;
        }
        (self.edge.class, self.edge.max_segment) = (tuning.class, tuning.max_segment);
        let congestion = match tuning.congestion {
            Congestion::None => tcp::CongestionControl::None,
            Congestion::Cubic => tcp::CongestionControl::Cubic,
            Congestion::Reno => tcp::CongestionControl::Reno,
        };
        let socket = self.socket_mut();
        // To set it is to begin anew.
        if socket.congestion_control() != congestion {
            socket.set_congestion_control(congestion);
        }
        socket.set_nagle_enabled(!tuning.no_delay);
        socket.set_hop_limit(tuning.hop_limit.filter(|&limit| limit != 0));
        self.apply_timeout();
    }

    fn segment(&self) -> Option<usize> {
        self.edge.segment()
    }

    fn measured(&self) -> Measured {
        self.edge.measured()
    }

    fn urge(&mut self, end: u64) {
        self.edge.urge(end);
    }
}
