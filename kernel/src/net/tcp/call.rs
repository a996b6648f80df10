//! What the socket calls do to a TCP socket of the stack.

use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM};
use abi::socket::{SHUT_RD, SHUT_RDWR, SHUT_WR, SO_DONTROUTE, SO_OOBINLINE};
use abi::{Errno, Result};
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

use super::info::segment;
use super::{Conn, Pcb, Role, Tcp, Told};
use crate::file::Events;
use crate::net::addr::Binding;
use crate::net::conn::{Hold, Queues, Smol, TcpState};
use crate::net::option::Options;
use crate::net::port::Id;
use crate::net::stack::{Base, Way};
use crate::wait::{EVERYTHING, NOTHING_NEW};

/// The longest listen queue (Linux's `net.core.somaxconn`; NetBSD's is 128).
const SOMAXCONN: i32 = 4096;

/// How long a small segment waits for more (tcp(7), `TCP_CORK`).
const CORKED: Duration = Duration::from_millis(200);

/// Turns the wildcard, as a destination, into the loopback address, as Linux and NetBSD do.
pub fn destination(mut remote: IpEndpoint) -> IpEndpoint {
    if remote.addr.is_unspecified() {
        remote.addr = match remote.addr {
            IpAddress::Ipv4(_) => Ipv4Address::LOCALHOST.into(),
            IpAddress::Ipv6(_) => Ipv6Address::LOCALHOST.into(),
        };
    }
    remote
}

impl Tcp {
    /// listen(2). An unbound socket gets a port, as on Linux.
    pub fn start_listening(&mut self, base: &mut Base, id: Id, backlog: i32) -> Result<()> {
        let length = if backlog < 0 { SOMAXCONN } else { backlog.min(SOMAXCONN) } as usize;
        let pcb = self.pcb_mut(id)?;
        match &mut pcb.role {
            Role::Listening { backlog, .. } => {
                *backlog = length;
                return Ok(());
            }
            Role::Connection(_) => return Err(Errno::EINVAL),
            Role::Idle => {}
        }
        let family = pcb.family;
        let port = match pcb.binding {
            Some(binding) => binding.port,
            None => {
                self.bind(base, id, Binding { family, addr: None, port: 0 }, true)?;
                self.pcb(id)?.binding.map_or(0, |binding| binding.port)
            }
        };
        self.ports.make_exclusive(id, port)?;
        self.pcb_mut(id)?.role = Role::Listening { backlog: length, embryos: 0, ready: Default::default() };
        self.listen(id, port, true);
        Ok(())
    }

    /// connect(2): sends the SYN. `EINPROGRESS` when that went well; [`Tcp::connected`] tells the rest.
    pub fn start_connecting(&mut self, base: &mut Base, id: Id, remote: IpEndpoint) -> Result<()> {
        let pcb = self.pcb_mut(id)?;
        match &mut pcb.role {
            Role::Listening { .. } => return Err(Errno::EISCONN),
            Role::Connection(conn) if conn.seen < TcpState::Established && conn.seen != TcpState::Closed => {
                return Err(Errno::EALREADY);
            }
            // The second connect of a program that does not wait tells how the first went.
            Role::Connection(conn) if !conn.reported => return self.connected(base, id),
            Role::Connection(_) => return Err(Errno::EISCONN),
            Role::Idle => {}
        }
        pcb.error = None;
        let remote = destination(remote);
        let near_only = pcb.options.has(SO_DONTROUTE);
        let only = pcb.options.device.map(|index| base.named_link(index, &remote.addr)).transpose()?;
        let Way { link, source, direct, .. } = base.route_by(&remote.addr, only)?;
        if !direct && near_only {
            return Err(Errno::ENETUNREACH);
        }
        if remote.addr.is_multicast() || base.is_broadcast(&remote.addr) {
            return Err(Errno::ENETUNREACH);
        }
        if remote.port == 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let (family, options) = (pcb.family, pcb.options.clone());
        let addr = pcb.binding.and_then(|binding| binding.source()).unwrap_or(source);
        if addr.version() != remote.addr.version() {
            return Err(Errno::EAFNOSUPPORT);
        }
        let port = match pcb.binding {
            Some(binding) => binding.port,
            None => self.port_towards(base, id, Binding { family, addr: Some(addr), port: 0 }, remote)?,
        };
        let local = IpEndpoint::new(addr, port);
        if !self.flow_is_free(local, remote) {
            // Linux's word; NetBSD's is EADDRINUSE.
            return Err(Errno::EADDRNOTAVAIL);
        }
        let binding = Binding { family, addr: Some(addr), port };
        self.ports.narrow(id, binding);
        self.pcb_mut(id)?.binding = Some(binding);
        if self.join_local(base, id, link, local, remote) {
            return Err(Errno::EINPROGRESS);
        }
        let buffers = (options.receive_buffer, options.send_buffer);
        let reserved = buffers.0 + buffers.1;
        base.host.reserve(reserved).map_err(|_| Errno::ENOBUFS)?;
        let engine =
            Smol::connect(&mut base.links[link], local, remote, buffers, &options.tuning(super::is_v4(&local)));
        let engine = engine.inspect_err(|_| base.host.release(reserved))?;
        let mut conn = Conn::new(Box::new(engine), local, remote, link, reserved);
        conn.claimed = true;
        self.begin_flow(base, id, conn);
        Err(Errno::EINPROGRESS)
    }

    /// Binds to a port from which `remote` can be reached: a free one, or one that another connection uses elsewhere.
    fn port_towards(&mut self, base: &mut Base, id: Id, mut binding: Binding, remote: IpEndpoint) -> Result<u16> {
        let Some(addr) = binding.addr else { return Err(Errno::EINVAL) };
        let usable = |port| {
            let local = IpEndpoint::new(addr, port);
            local != remote && self.flow_is_free(local, remote)
        };
        binding.port =
            self.ports.ephemeral(&mut base.random, base.settings.ports, usable).ok_or(Errno::EADDRNOTAVAIL)?;
        self.ports.share(id, binding);
        let pcb = self.pcb_mut(id)?;
        pcb.binding = Some(binding);
        pcb.bound_explicitly = false;
        Ok(binding.port)
    }

    /// Whether a connect is over: `EAGAIN` while not, then its error.
    pub fn connected(&mut self, base: &mut Base, id: Id) -> Result<()> {
        let pcb = self.pcb_mut(id)?;
        let Role::Connection(conn) = &mut pcb.role else { return Err(Errno::ECONNABORTED) };
        match conn.seen {
            TcpState::SynSent | TcpState::SynReceived => Err(Errno::EAGAIN),
            TcpState::Closed if !conn.reported => {
                let error = pcb.error.take().unwrap_or(Errno::ECONNABORTED);
                self.disconnect(base, id);
                Err(error)
            }
            _ => {
                conn.reported = true;
                Ok(())
            }
        }
    }

    /// Takes bytes to be sent, of which there will be `more`; `EAGAIN` when there is room for none.
    pub fn send(&mut self, base: &mut Base, id: Id, data: &[u8], more: bool, urgent: bool) -> Result<usize> {
        let pcb = self.pcb_mut(id)?;
        if let Some(error) = pcb.error.take() {
            return Err(error);
        }
        // NetBSD answers ENOTCONN on a socket that was never connected; programs here expect Linux's EPIPE.
        let Role::Connection(conn) = &mut pcb.role else { return Err(Errno::EPIPE) };
        match conn.seen {
            _ if pcb.shut_write => return Err(Errno::EPIPE),
            TcpState::SynSent | TcpState::SynReceived => return Err(Errno::EAGAIN),
            TcpState::Established | TcpState::CloseWait => {}
            _ => return Err(Errno::EPIPE),
        }
        let hold = (more || pcb.options.is_corked())
            .then(|| Hold { segment: segment(conn, base.links[conn.link].device.mtu()), until: base.now + CORKED });
        if urgent {
            // Its place in the stream counts.
            self.take_back(id);
        }
        let Role::Connection(conn) = &mut self.pcb_mut(id)?.role else { return Err(Errno::EPIPE) };
        let mut taken = conn.engine.send(data, hold);
        if taken == 0 && conn.engine.await_room() {
            taken = conn.engine.send(data, hold);
        }
        if taken == 0 && !data.is_empty() {
            return Err(Errno::EAGAIN);
        }
        conn.written += taken as u64;
        if let Some(byte) = taken.checked_sub(1).map(|last| data[last]).filter(|_| urgent) {
            self.mark_urgent(base, id, byte);
        }
        self.emit(base, id);
        Ok(taken)
    }

    /// Gives received bytes; 0 at the end of the stream, `EAGAIN` when there are none yet.
    pub fn recv(&mut self, base: &mut Base, id: Id, buf: &mut [u8], peek: bool) -> Result<usize> {
        let pcb = self.pcb_mut(id)?;
        let inline = pcb.options.has(SO_OOBINLINE);
        let Role::Connection(conn) = &mut pcb.role else {
            return Err(pcb.error.take().unwrap_or(Errno::ENOTCONN));
        };
        let mut before = conn.engine.queues().readable;
        let mut got = conn.take(buf, peek, inline);
        if got == 0 && conn.engine.await_bytes() {
            before = conn.engine.queues().readable;
            got = conn.take(buf, peek, inline);
        }
        if got > 0 {
            let Queues { readable, receive_buffer, .. } = conn.engine.queues();
            conn.told.unread = readable;
            if !peek && readable + got > before {
                // What waited for room has come in by this: news for who reports edges, as it is on Linux when the window opens.
                base.wake(&pcb.queue, POLLIN | POLLRDNORM);
            }
            // The peer hears of the room once it is worth a segment.
            let worth_it = readable == 0 || readable <= receive_buffer / 2 && conn.seen != TcpState::TimeWait;
            if worth_it && !peek {
                self.emit(base, id);
            }
            return Ok(got);
        }
        match pcb.error.take() {
            Some(error) => Err(error),
            None if pcb.shut_read || conn.seen.peer_is_done() => Ok(0),
            None => Err(Errno::EAGAIN),
        }
    }

    /// shutdown(2); a listener stops listening, as on Linux.
    pub fn shutdown(&mut self, base: &mut Base, id: Id, how: i32) -> Result<()> {
        let (read, write) = match how {
            SHUT_RD => (true, false),
            SHUT_WR => (false, true),
            SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        if read {
            // Who reads finds the end from now on.
            self.take_back(id);
        }
        let pcb = self.pcb_mut(id)?;
        let queue = pcb.queue.clone();
        match &mut pcb.role {
            Role::Idle => return Err(Errno::ENOTCONN),
            Role::Listening { .. } if read => self.stop_listening(base, id),
            Role::Listening { .. } => {}
            Role::Connection(conn) if conn.seen.is_over() => return Err(Errno::ENOTCONN),
            Role::Connection(conn) => {
                pcb.shut_read |= read;
                pcb.shut_write |= write;
                if write {
                    conn.engine.shut_write();
                }
                self.emit(base, id);
            }
        }
        base.wake(&queue, EVERYTHING);
        Ok(())
    }

    /// Returns the events of poll(2) that hold now, as Linux has them.
    pub fn ready(&self, id: Id) -> Events {
        let Ok(pcb) = self.pcb(id) else { return POLLHUP };
        let failed = if pcb.error.is_some() { POLLERR } else { 0 };
        match &pcb.role {
            Role::Listening { ready, .. } if ready.is_empty() => failed,
            Role::Listening { .. } => failed | POLLIN | POLLRDNORM,
            Role::Idle => failed | POLLOUT | POLLHUP,
            Role::Connection(conn) => {
                if conn.engine.is_shared() {
                    conn.engine.watch(pcb.queue.by_edges());
                }
                let events = connection_events(pcb, conn);
                // Who looks may wait now for what there is not.
                let marked = events & POLLIN == 0 && conn.engine.await_bytes();
                let marked = events & POLLOUT == 0 && conn.engine.await_room() || marked;
                failed | if marked { connection_events(pcb, conn) } else { events }
            }
        }
    }
}

/// Whether there is so much room for more to be sent that poll(2) says so.
fn has_room(options: &Options, queues: Queues) -> bool {
    queues.writable() >= options.send_low() && queues.writable() * 2 >= queues.unsent
}

impl Conn {
    /// Returns what is new since the last time: more to read, or room again. A change of state is news of every kind.
    pub(super) fn news(&mut self, options: &Options, before: TcpState) -> Events {
        let queues = self.engine.queues();
        let now = Told { unread: queues.readable, room: has_room(options, queues) };
        let told = std::mem::replace(&mut self.told, now);
        // What programs have moved themselves nobody was told of.
        let unknown = self.shared;
        if unknown && !self.engine.is_shared() {
            self.take_back();
        }
        let mut news = if self.seen == before { NOTHING_NEW } else { EVERYTHING };
        if now.unread > told.unread || unknown && now.unread > 0 {
            news |= POLLIN | POLLRDNORM;
        }
        if now.room && (!told.room || unknown) {
            news |= POLLOUT;
        }
        news
    }
}

fn connection_events(pcb: &Pcb, conn: &Conn) -> Events {
    if matches!(conn.seen, TcpState::SynSent | TcpState::SynReceived) {
        return 0;
    }
    let queues = conn.engine.queues();
    let no_more_in = pcb.shut_read || conn.seen.peer_is_done();
    let no_more_out = pcb.shut_write || !matches!(conn.seen, TcpState::Established | TcpState::CloseWait);
    let room = has_room(&pcb.options, queues);
    let mut events = 0;
    // The urgent byte does not count where it is left out.
    let left_out = usize::from(conn.at_mark() && !pcb.options.has(SO_OOBINLINE));
    if no_more_in || queues.readable >= pcb.options.receive_low() + left_out {
        events |= POLLIN | POLLRDNORM;
    }
    if conn.has_urgent() {
        events |= POLLPRI;
    }
    if no_more_in {
        events |= POLLRDHUP;
    }
    if no_more_out || room {
        events |= POLLOUT;
    }
    if no_more_in && no_more_out {
        events |= POLLHUP;
    }
    events
}
