//! TCP in the stack: sockets, the table of connections, listen queues, timers.
//!
//! A [`Pcb`] is what the stack knows of one socket. It outlives its descriptor while its connection still has something to
//! send or to catch (an orphan), and it exists before there is a descriptor while it waits in a listen queue.

mod call;
mod close;
mod fast;
mod info;
mod shared;
mod socket;
mod urgent;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use abi::poll::{POLLIN, POLLRDNORM};
use abi::socket::{SO_REUSEADDR, SO_REUSEPORT, Sockaddr};
use abi::{Errno, Result};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint, IpVersion, TcpPacket};

use crate::net::addr::{Binding, Family};
use crate::net::conn::{Congestion, Ending, Smol, TcpConn, TcpState};
use crate::net::counters::{TcpStat, TcpTable};
use crate::net::option::{Kind, Options};
use crate::net::port::{Claim, Id, Ports};
use crate::net::stack::Base;
use crate::wait::WaitQueue;

pub use self::call::destination;
pub use self::socket::TcpSocket;

/// How long an orphan waits for its peer's FIN (Linux's `tcp_fin_timeout`).
const FIN_WAIT_2: Duration = Duration::from_secs(60);
/// Orphans at most, those in TIME-WAIT aside; beyond that a closed connection is reset at once (Linux's `tcp_max_orphans`).
const MAX_ORPHANS: usize = 4096;
/// Room for connections in TIME-WAIT; beyond that one is forgotten at once (Linux's `tcp_max_tw_buckets`).
const TIME_WAIT_ROOM: usize = 65536;
/// What one takes there that has buffers of its own.
const WITH_BUFFERS: usize = 16;

/// A connection and what the stack remembers of it.
pub struct Conn {
    /// The engine.
    pub engine: Box<dyn TcpConn>,
    /// Our end.
    pub local: IpEndpoint,
    /// The other end.
    pub remote: IpEndpoint,
    /// The interface it goes through.
    pub link: usize,
    /// The state when last looked at.
    pub seen: TcpState,
    /// Whether connect(2) has told of its success.
    pub reported: bool,
    /// Whether its port is claimed by itself, not through a listener.
    pub claimed: bool,
    deadline: Option<Instant>,
    /// When an orphan stops waiting for its peer's FIN; set once it begins to.
    fin_limit: Option<Instant>,
    /// The other end, if both are joined in the fast loop.
    pub mate: Option<Id>,
    /// Whether programs move the bytes of it and its mate themselves.
    pub shared: bool,
    /// Until when accept(2) does not get it without data (`TCP_DEFER_ACCEPT`).
    deferred: Option<Instant>,
    /// Bytes that the program has read.
    read: u64,
    /// Bytes that it has written.
    written: u64,
    /// The urgent byte that has come last.
    urgent: Option<urgent::Urgent>,
    /// What segments have said of urgent bytes.
    pointer: urgent::Pointer,
    /// Bytes that were acknowledged, and since when no more are, though some should be.
    stalled: (u64, Option<Instant>),
    /// What ICMP last said of the way to the peer: the reason, if the connection times out.
    soft_error: Option<Errno>,
    /// Bytes taken from the host's memory for the buffers.
    pub reserved: usize,
    /// Whether it is an orphan in TIME-WAIT, and so counted among those.
    remembered: bool,
    /// What who reports edges was told last.
    told: Told,
}

/// What there was to read, and whether there was room to write.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    unread: usize,
    room: bool,
}

/// What a socket does.
pub enum Role {
    /// Nothing.
    Idle,
    /// Waits for connections.
    Listening {
        /// Connections that may wait.
        backlog: usize,
        /// Half-open ones.
        embryos: usize,
        /// Open ones that nobody has accepted.
        ready: VecDeque<Id>,
    },
    /// Has or had a connection.
    Connection(Box<Conn>),
}

/// A TCP socket.
pub struct Pcb {
    /// Address family.
    pub family: Family,
    /// Woken when something changed.
    pub queue: Arc<WaitQueue>,
    /// Options.
    pub options: Options,
    /// What it is bound to.
    pub binding: Option<Binding>,
    /// Whether bind(2) asked for the binding.
    pub bound_explicitly: bool,
    /// What it does.
    pub role: Role,
    /// `SO_ERROR`.
    pub error: Option<Errno>,
    /// Whether reading was shut down.
    pub shut_read: bool,
    /// Whether writing was shut down.
    pub shut_write: bool,
    /// Whether a descriptor stands for it.
    pub owned: bool,
    /// The listener in whose queue it stands.
    parent: Option<Id>,
}

impl Pcb {
    /// Bytes that can be read, and bytes written that are not acknowledged; of a listener the connections that wait, and how many may.
    pub fn queued(&self) -> (usize, usize) {
        match &self.role {
            Role::Idle => (0, 0),
            Role::Listening { backlog, ready, .. } => (ready.len(), *backlog),
            Role::Connection(conn) => {
                let queues = conn.engine.queues();
                (queues.readable, queues.unsent)
            }
        }
    }
}

/// A connection that no descriptor stands for: not accepted yet, or closed and not over.
pub struct Unowned {
    /// Our end.
    pub local: Sockaddr,
    /// The other end.
    pub remote: Sockaddr,
    /// Its state.
    pub state: TcpState,
    /// As [`Pcb::queued`] says.
    pub queued: (usize, usize),
}

/// All of TCP.
#[derive(Default)]
pub struct Tcp {
    pcbs: HashMap<Id, Pcb>,
    next: Id,
    flows: HashMap<(IpEndpoint, IpEndpoint), Id>,
    listeners: HashMap<u16, Vec<Id>>,
    /// Ports.
    pub ports: Ports,
    timers: BTreeSet<(Instant, Id)>,
    /// Orphans, those in TIME-WAIT aside.
    orphans: usize,
    /// What is taken of [`TIME_WAIT_ROOM`].
    time_waits: usize,
    /// Ends of joined pairs that have something to look at.
    stirred: Vec<Id>,
    /// Whether sockets of this host speak by segments too (`net.inet.tcp.fastloop` is 0).
    pub slow_loop: bool,
    /// What is counted of connections.
    counters: TcpTable,
    /// `TCP_CONGESTION` of new sockets (`net.inet.tcp.congctl.selected`).
    pub congestion: Congestion,
}

impl Tcp {
    /// Makes a socket.
    pub fn open(&mut self, family: Family) -> Id {
        let mut options = Options::new(Kind::Tcp, family != Family::V4);
        options.congestion = self.congestion;
        self.insert(Pcb {
            family,
            queue: Arc::default(),
            options,
            binding: None,
            bound_explicitly: false,
            role: Role::Idle,
            error: None,
            shut_read: false,
            shut_write: false,
            owned: true,
            parent: None,
        })
    }

    fn insert(&mut self, pcb: Pcb) -> Id {
        self.next += 1;
        self.pcbs.insert(self.next, pcb);
        self.next
    }

    /// Returns a socket; `EBADF` once it is gone.
    pub fn pcb(&self, id: Id) -> Result<&Pcb> {
        self.pcbs.get(&id).ok_or(Errno::EBADF)
    }

    /// Returns a socket for changing.
    pub fn pcb_mut(&mut self, id: Id) -> Result<&mut Pcb> {
        self.pcbs.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// Returns the connections that no descriptor stands for, by their ends.
    pub fn unowned(&self) -> Vec<Unowned> {
        let unowned = self.pcbs.values().filter(|pcb| !pcb.owned);
        let mut all: Vec<_> = unowned
            .filter_map(|pcb| match &pcb.role {
                Role::Connection(conn) => Some((conn.local, conn.remote, conn.seen, pcb)),
                _ => None,
            })
            .collect();
        all.sort_by_key(|(local, remote, ..)| (*local, *remote));
        let shown = |(local, remote, state, pcb): (_, _, _, &Pcb)| Unowned {
            local: pcb.family.sockaddr_on(local, pcb.options.device),
            remote: pcb.family.sockaddr_on(remote, pcb.options.device),
            state,
            queued: pcb.queued(),
        };
        all.into_iter().map(shown).collect()
    }

    /// Returns when the next timer is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Runs one timer that is due, or looks at one end of a joined pair; whether there was one.
    pub fn run_timer(&mut self, base: &mut Base) -> bool {
        if self.run_stirred(base) {
            return true;
        }
        let Some(&(at, id)) = self.timers.first() else { return false };
        if at > base.now {
            return false;
        }
        self.timers.pop_first();
        if let Some(Pcb { role: Role::Connection(conn), owned, options, error, .. }) = self.pcbs.get_mut(&id) {
            conn.deadline = None;
            if conn.gives_up_at(options).is_some_and(|at| at <= base.now) {
                *error = error.or(Some(conn.soft_error.unwrap_or(Errno::ETIMEDOUT)));
                conn.engine.abort();
            }
            if !*owned && conn.seen == TcpState::FinWait2 && conn.fin_limit.is_some_and(|limit| limit <= base.now) {
                // Without a word, as on Linux.
                self.forget(base, id);
                return true;
            }
        }
        self.emit(base, id);
        true
    }

    /// Gives a segment to its connection or listener; `false` if nobody wants it.
    pub fn input(
        &mut self,
        base: &mut Base,
        link: usize,
        frame: &[u8],
        local: IpEndpoint,
        remote: IpEndpoint,
        segment: &TcpPacket<&[u8]>,
    ) -> bool {
        let begins = segment.syn() && !segment.ack() && !segment.rst();
        let known = self.flows.get(&(local, remote)).copied();
        // A new connection may begin where an old one is only remembered (RFC 1122, 4.2.2.13).
        let stale = known.filter(|&id| begins && self.state(id) == TcpState::TimeWait);
        if let Some(id) = stale {
            self.forget(base, id);
        }
        let id = match known.filter(|_| stale.is_none()) {
            Some(id) => id,
            // RFC 9293, 3.10.7.2: a listener hears neither what says nothing nor a SYN that also ends.
            None if (begins && segment.fin() || !segment.ack() && !segment.syn())
                && !segment.rst()
                && self.listener(base, link, local, remote).is_some() =>
            {
                return true;
            }
            None if begins => match self.listener(base, link, local, remote) {
                Some(listener) => match self.embryo(base, link, listener, local, remote) {
                    Some(id) => id,
                    // The queue is full: the peer will try again.
                    None => {
                        self.counters.count(TcpStat::SC_OVERFLOWED);
                        return true;
                    }
                },
                None => return false,
            },
            None => return false,
        };
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return false };
        let before = conn.engine.queues();
        conn.engine.on_segment(&mut base.links[link], base.now, frame);
        self.counters.segment(&before, &conn.engine.queues());
        self.look_for_urgent(base, id, segment);
        self.settle(base, id, segment.rst());
        self.emit(base, id);
        true
    }

    /// What was counted of connections, those that there are included.
    pub fn counted(&self) -> TcpTable {
        let mut all = self.counters;
        let open = self.flows.values().filter_map(|id| match &self.pcbs.get(id)?.role {
            Role::Connection(conn) => Some(conn.engine.measured().repeated as usize),
            _ => None,
        });
        all.add(TcpStat::SNDREXMITPACK, open.sum());
        all
    }

    fn state(&self, id: Id) -> TcpState {
        match self.pcbs.get(&id) {
            Some(Pcb { role: Role::Connection(conn), .. }) => conn.engine.state(),
            _ => TcpState::Closed,
        }
    }

    /// Finds the listener for a SYN: the one bound closest; among equals (`SO_REUSEPORT`) by the two ends of the flow.
    fn listener(&self, base: &Base, link: usize, local: IpEndpoint, remote: IpEndpoint) -> Option<Id> {
        let score = |binding: &Binding| {
            let same_family = binding.family.any().version() == local.addr.version();
            (binding.addr.is_some(), same_family)
        };
        let all = self.listeners.get(&local.port)?.iter();
        let index = base.arrived_by(link, &local.addr);
        // An address of a link is reached from inside too, by the loopback.
        let inside = base.links[link].device.is_loopback() && of_a_link(&local);
        let has = |only| base.link_by_index(only).is_some_and(|at| base.links[at].is_ours(&local.addr));
        let hears = |pcb: &&Pcb| pcb.options.device.is_none_or(|only| only == index || inside && has(only));
        let fitting = all.filter_map(|&id| Some((id, self.pcbs.get(&id).filter(hears)?.binding?)));
        let fitting: Vec<_> = fitting.filter(|(_, binding)| binding.covers(&local.addr)).collect();
        let best = fitting.iter().map(|(_, binding)| score(binding)).max()?;
        let best: Vec<Id> = fitting.iter().filter(|(_, b)| score(b) == best).map(|(id, _)| *id).collect();
        best.get(base.spread(local, remote, best.len())).copied()
    }

    /// Makes a connection that will answer a SYN, if the listen queue has room.
    fn embryo(
        &mut self,
        base: &mut Base,
        link: usize,
        listener: Id,
        local: IpEndpoint,
        remote: IpEndpoint,
    ) -> Option<Id> {
        let parent = self.pcbs.get_mut(&listener)?;
        let Role::Listening { backlog, embryos, ready } = &mut parent.role else { return None };
        if *embryos + ready.len() > *backlog {
            return None;
        }
        let mut options = parent.options.clone();
        if of_a_link(&remote) {
            options.device = Some(base.links[link].index);
        }
        let buffers = (options.receive_buffer, options.send_buffer);
        let reserved = buffers.0 + buffers.1;
        base.host.reserve(reserved).ok()?;
        let Ok(engine) = Smol::listen(local, buffers, &options.tuning(is_v4(&local))) else {
            base.host.release(reserved);
            return None;
        };
        *embryos += 1;
        self.counters.count(TcpStat::SC_ADDED);
        let family = parent.family;
        let (reuse_addr, reuse_port) = (options.has(SO_REUSEADDR), options.has(SO_REUSEPORT));
        let binding = Binding { family, addr: Some(local.addr), port: local.port };
        let id = self.insert(Pcb {
            family,
            queue: Arc::default(),
            options,
            binding: Some(binding),
            bound_explicitly: false,
            role: Role::Connection(Box::new(Conn::new(Box::new(engine), local, remote, link, reserved))),
            error: None,
            shut_read: false,
            shut_write: false,
            owned: false,
            parent: Some(listener),
        });
        self.flows.insert((local, remote), id);
        self.ports.connection_begins(id, local, reuse_addr, reuse_port);
        Some(id)
    }

    /// Lets a connection send, and takes note of what that changed.
    pub fn emit(&mut self, base: &mut Base, id: Id) {
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return };
        conn.engine.emit(&mut base.links[conn.link], base.now);
        let mate = conn.mate;
        self.stir(mate);
        self.settle(base, id, false);
        self.schedule(base, id);
    }

    /// Sets the timer of a connection.
    fn schedule(&mut self, base: &mut Base, id: Id) {
        let Some(Pcb { role: Role::Connection(conn), owned, options, .. }) = self.pcbs.get_mut(&id) else { return };
        let engine = conn.engine.deadline(&mut base.links[conn.link], base.now);
        let mut deadline = [engine, conn.deferred, conn.gives_up_at(options)].into_iter().flatten().min();
        // What could not be done now cannot be done at once either.
        deadline = deadline.map(|at| at.max(base.now + Duration::from_millis(1)));
        if *owned && conn.seen == TcpState::TimeWait && conn.engine.queues().readable > 0 {
            // The engine forgets unread data when TIME-WAIT ends.
            deadline = None;
        }
        if !*owned && conn.seen == TcpState::FinWait2 {
            // Not the engine's time: what it set for its own FIN is over.
            deadline = Some(*conn.fin_limit.get_or_insert(base.now + FIN_WAIT_2));
        }
        if deadline != conn.deadline {
            if let Some(old) = conn.deadline {
                self.timers.remove(&(old, id));
            }
            conn.deadline = deadline;
            self.timers.extend(deadline.map(|at| (at, id)));
        }
    }

    /// Draws the consequences of a change of state.
    fn settle(&mut self, base: &mut Base, id: Id, reset: bool) {
        let listener = self.pcbs.get(&id).and_then(|pcb| self.pcbs.get(&pcb.parent?));
        let defer = listener.and_then(|listener| listener.options.defer_accept());
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        let Role::Connection(conn) = &mut pcb.role else { return };
        let (before, now) = (conn.seen, conn.engine.state());
        conn.seen = now;
        if before < TcpState::Established && now >= TcpState::Established {
            self.counters.begins(pcb.parent.is_some(), conn.mate.is_none());
        }
        conn.note_progress(base.now);
        let ending = conn.engine.ending();
        let reset = reset || ending == Ending::Reset;
        let ready = conn.engine.queues().readable > 0 || now > TcpState::Established;
        let news = conn.news(&pcb.options, before);
        base.wake(&pcb.queue, news);
        let parent = pcb.parent;
        match parent {
            // One that was ready stays in the queue, as on Linux: accept(2) gives it, and it says what happened.
            Some(_) if now == TcpState::Closed && before == now => return,
            Some(parent) if now == TcpState::Closed && conn.deferred.is_some() => {
                self.leave_queue(parent, id, TcpState::SynReceived);
                return self.forget(base, id);
            }
            Some(parent) if conn.deferred.is_some_and(|until| ready || until <= base.now) => {
                conn.deferred = None;
                return self.join_queue(base, parent, id);
            }
            Some(_) if now == TcpState::Closed && before >= TcpState::Established => {
                pcb.error = pcb.error.or(Some(Errno::ECONNRESET));
                self.counters.count(TcpStat::DROPS);
                return self.end_flow(id);
            }
            Some(parent) if matches!(now, TcpState::Closed | TcpState::Listen) => {
                self.counters.count(TcpStat::CONNDROPS);
                self.leave_queue(parent, id, before);
                return self.forget(base, id);
            }
            Some(parent) if before < TcpState::Established && now >= TcpState::Established => {
                match defer.filter(|_| !ready) {
                    Some(limit) => conn.deferred = Some(base.now + limit.into()),
                    None => self.join_queue(base, parent, id),
                }
                return;
            }
            _ => {}
        }
        if !pcb.owned && parent.is_none() {
            return self.settle_orphan(base, id);
        }
        if now != TcpState::Closed || before == TcpState::Closed {
            return;
        }
        let cause = match (before, reset) {
            _ if ending == Ending::Orderly => None,
            (TcpState::LastAck | TcpState::TimeWait | TcpState::Closing, _) => None,
            (TcpState::SynSent, true) => Some(Errno::ECONNREFUSED),
            (TcpState::CloseWait, true) => Some(Errno::EPIPE),
            (_, true) => Some(Errno::ECONNRESET),
            (_, false) => Some(conn.soft_error.unwrap_or(Errno::ETIMEDOUT)),
        };
        pcb.error = pcb.error.or(cause);
        if let Some(cause) = cause {
            self.counters.fails(before >= TcpState::Established, cause == Errno::ETIMEDOUT);
        }
        self.end_flow(id);
    }

    /// An orphan answers data with a reset, and goes when its connection is over.
    fn settle_orphan(&mut self, base: &mut Base, id: Id) {
        let Some(Pcb { role: Role::Connection(conn), .. }) = self.pcbs.get_mut(&id) else { return };
        if conn.engine.queues().readable > 0 && conn.seen != TcpState::Closed {
            conn.engine.abort();
            conn.engine.emit(&mut base.links[conn.link], base.now);
            conn.seen = TcpState::Closed;
        }
        if conn.seen == TcpState::Closed {
            return self.forget(base, id);
        }
        if conn.seen == TcpState::TimeWait && !conn.remembered {
            conn.remembered = true;
            self.orphans -= 1;
            self.time_waits += conn.room();
            if self.time_waits > TIME_WAIT_ROOM {
                self.forget(base, id);
            }
        }
    }

    /// Takes a connection out of its listener's queue.
    fn leave_queue(&mut self, parent: Id, id: Id, before: TcpState) {
        if let Some(Pcb { role: Role::Listening { embryos, ready, .. }, .. }) = self.pcbs.get_mut(&parent) {
            match before < TcpState::Established {
                true => *embryos -= 1,
                false => ready.retain(|other| *other != id),
            }
        }
    }

    /// Makes a connection ready to be accepted.
    fn join_queue(&mut self, base: &mut Base, parent: Id, id: Id) {
        if let Some(Pcb { role: Role::Listening { embryos, ready, .. }, queue, .. }) = self.pcbs.get_mut(&parent) {
            *embryos -= 1;
            ready.push_back(id);
            base.wake(queue, POLLIN | POLLRDNORM);
        }
    }

    /// Puts a listener into, or out of, the table that SYNs go by.
    pub fn listen(&mut self, id: Id, port: u16, on: bool) {
        let ids = self.listeners.entry(port).or_default();
        ids.retain(|other| *other != id);
        if on {
            ids.push(id);
        } else if ids.is_empty() {
            self.listeners.remove(&port);
        }
    }

    /// Enters a connection that begins here; an old one that is only remembered makes room.
    pub fn begin_flow(&mut self, base: &mut Base, id: Id, conn: Conn) {
        let flow = (conn.local, conn.remote);
        if let Some(old) = self.flows.get(&flow).copied() {
            self.forget(base, old);
        }
        self.flows.insert(flow, id);
        self.counters.count(TcpStat::CONNATTEMPT);
        if let Some(pcb) = self.pcbs.get_mut(&id) {
            pcb.role = Role::Connection(Box::new(conn));
        }
        self.emit(base, id);
    }

    /// Whether a new connection may go by these ends.
    pub fn flow_is_free(&self, local: IpEndpoint, remote: IpEndpoint) -> bool {
        let old = self.flows.get(&(local, remote)).and_then(|id| self.pcbs.get(id));
        old.is_none_or(|pcb| match &pcb.role {
            Role::Connection(conn) => conn.seen == TcpState::TimeWait && !pcb.owned,
            _ => true,
        })
    }

    /// Takes the oldest connection out of a listen queue.
    pub fn accept(&mut self, listener: Id) -> Result<Id> {
        let Role::Listening { ready, .. } = &mut self.pcb_mut(listener)?.role else { return Err(Errno::EINVAL) };
        let id = ready.pop_front().ok_or(Errno::EAGAIN)?;
        let pcb = self.pcb_mut(id)?;
        pcb.parent = None;
        pcb.owned = true;
        if let Role::Connection(conn) = &mut pcb.role {
            conn.reported = true;
        }
        Ok(id)
    }

    /// Gives up what a socket is bound to, unless bind(2) asked for it.
    pub fn unbind_implicit(&mut self, id: Id) {
        let Some(pcb) = self.pcbs.get_mut(&id) else { return };
        if let Some(binding) = pcb.binding.take_if(|_| !pcb.bound_explicitly) {
            self.ports.release(id, binding.port);
        }
    }

    /// Binds a socket to an address and port; port 0 is any free one.
    pub fn bind(&mut self, base: &mut Base, id: Id, mut binding: Binding, explicitly: bool) -> Result<()> {
        let pcb = self.pcbs.get_mut(&id).ok_or(Errno::EBADF)?;
        if binding.port == 0 {
            binding.port =
                self.ports.ephemeral(&mut base.random, base.settings.ports, |_| false).ok_or(Errno::EADDRINUSE)?;
        }
        let (reuse_addr, reuse_port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
        self.ports.claim(Claim { id, binding, reuse_addr, reuse_port, exclusive: false })?;
        pcb.binding = Some(binding);
        pcb.bound_explicitly = explicitly;
        Ok(())
    }

    /// How many sockets there are, orphans included.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.pcbs.len()
    }
}

/// Whether an end speaks IPv4.
fn is_v4(end: &IpEndpoint) -> bool {
    end.addr.version() == IpVersion::Ipv4
}

/// Whether an end has an address of IPv6 that means something on one link only.
fn of_a_link(end: &IpEndpoint) -> bool {
    matches!(end.addr, IpAddress::Ipv6(addr) if addr.is_unicast_link_local())
}

impl Conn {
    /// What it takes of [`TIME_WAIT_ROOM`].
    fn room(&self) -> usize {
        if self.reserved > 0 { WITH_BUFFERS } else { 1 }
    }

    /// Takes note of what was acknowledged, and since when nothing is that should be.
    fn note_progress(&mut self, now: Instant) {
        let unsent = self.engine.queues().unsent as u64;
        let acknowledged = self.written.saturating_sub(unsent);
        self.stalled = match self.stalled {
            _ if unsent == 0 => (acknowledged, None),
            (before, Some(since)) if before == acknowledged => (before, Some(since)),
            _ => (acknowledged, Some(now)),
        };
    }

    /// Returns when the connection ends because nothing is acknowledged (`TCP_USER_TIMEOUT`).
    fn gives_up_at(&self, options: &Options) -> Option<Instant> {
        let (_, since) = self.stalled;
        Some(since? + options.user_timeout()?.into())
    }

    /// Wraps an engine.
    pub fn new(engine: Box<dyn TcpConn>, local: IpEndpoint, remote: IpEndpoint, link: usize, reserved: usize) -> Self {
        let seen = engine.state();
        Self {
            engine,
            local,
            remote,
            link,
            seen,
            reported: false,
            deadline: None,
            fin_limit: None,
            soft_error: None,
            mate: None,
            shared: false,
            deferred: None,
            read: 0,
            written: 0,
            urgent: None,
            pointer: urgent::Pointer::default(),
            stalled: (0, None),
            reserved,
            remembered: false,
            told: Told::default(),
            claimed: false,
        }
    }
}
