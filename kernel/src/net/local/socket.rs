//! An AF_LOCAL socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use abi::ioctl::SIOCATMARK;
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM};
use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::Owned;

use super::Names;
use super::channel::{Channel, How, Message, Taken};
use crate::Cx;
use crate::file::{Events, File};
use crate::net::option::{Kind, Options};
use crate::net::stack::Inet;
use crate::net::{Socket, ioctl};
use crate::proc::lock;
use crate::stream::{self, Given, Sharing};
use crate::wait::{NOTHING_NEW, WaitQueue};

/// The longest listen queue.
pub(super) const BACKLOG_MAX: i32 = 4096;

/// What a socket does.
pub(super) enum Role {
    Idle,
    Listening {
        backlog: usize,
        ready: VecDeque<Arc<LocalSocket>>,
        blocked: Vec<Weak<WaitQueue>>,
    },
    /// A stream or sequenced-packet connection.
    Connected {
        rx: Arc<Channel>,
        tx: Arc<Channel>,
        peer_name: Vec<u8>,
        peer: Unpcbid,
    },
    /// Datagrams go to this socket unless told otherwise.
    Aimed(Weak<LocalSocket>),
}

pub(super) struct State {
    pub(super) name: Vec<u8>,
    pub(super) options: Options,
    pub(super) role: Role,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    pub(super) want_credentials: bool,
    /// Who called listen(2).
    pub(super) listener: Option<Unpcbid>,
}

/// An AF_LOCAL socket.
pub struct LocalSocket {
    pub(super) kind: i32,
    pub(super) names: Arc<Names>,
    pub(super) inet: Arc<Inet>,
    pub(super) queue: Arc<WaitQueue>,
    /// What arrives at a datagram socket.
    pub(super) inbox: Arc<Channel>,
    pub(super) state: Mutex<State>,
    pub(super) own: Weak<LocalSocket>,
}

impl LocalSocket {
    /// Makes a socket of type `kind`.
    pub fn open(names: &Arc<Names>, inet: &Arc<Inet>, kind: i32) -> Arc<Self> {
        let options = Options::new(Kind::Local, false);
        let queue: Arc<WaitQueue> = Arc::default();
        let inbox = Channel::new(false, options.receive_buffer, queue.clone(), None);
        let state = State {
            name: Vec::new(),
            options,
            role: Role::Idle,
            shut_read: false,
            shut_write: false,
            want_credentials: false,
            listener: None,
        };
        let (names, inet, state) = (names.clone(), inet.clone(), Mutex::new(state));
        Arc::new_cyclic(|own| Self { kind, names, inet, queue, inbox, state, own: own.clone() })
    }

    /// Makes two sockets that are connected with each other.
    pub fn pair(names: &Arc<Names>, inet: &Arc<Inet>, kind: i32, owner: Unpcbid) -> (Arc<Self>, Arc<Self>) {
        let (a, b) = (Self::open(names, inet, kind), Self::open(names, inet, kind));
        if kind == SOCK_DGRAM {
            lock(&a.state).role = Role::Aimed(Arc::downgrade(&b));
            lock(&b.state).role = Role::Aimed(Arc::downgrade(&a));
        } else {
            a.join(&b, owner, owner);
        }
        (a, b)
    }

    /// Connects two sockets; `ours` and `theirs` are who stands behind this one and the other.
    fn join(&self, other: &LocalSocket, ours: Unpcbid, theirs: Unpcbid) {
        let stream = self.kind == SOCK_STREAM;
        let size = |socket: &LocalSocket| {
            let state = lock(&socket.state);
            (state.options.send_buffer, state.name.clone(), state.want_credentials)
        };
        let ((our_size, our_name, we_mind), (their_size, their_name, they_mind)) = (size(self), size(other));
        let there = Channel::of_pair(0, stream, our_size, other.queue.clone(), Some(self.queue.clone()));
        let back = Channel::of_pair(1, stream, their_size, self.queue.clone(), Some(other.queue.clone()));
        there.mind_senders(they_mind);
        back.mind_senders(we_mind);
        let (rx, tx) = (back.clone(), there.clone());
        lock(&other.state).role = Role::Connected { rx: there, tx: back, peer_name: our_name, peer: ours };
        lock(&self.state).role = Role::Connected { rx, tx, peer_name: their_name, peer: theirs };
    }

    pub(super) fn connect_stream(&self, to: &Arc<LocalSocket>, who: Unpcbid) -> Result<()> {
        match &lock(&self.state).role {
            Role::Idle => {}
            Role::Listening { .. } => return Err(Errno::EINVAL),
            _ => return Err(Errno::EISCONN),
        }
        let (name, options, listener) = {
            let mut state = lock(&to.state);
            let (name, options, listener) = (state.name.clone(), state.options.clone(), state.listener.unwrap_or(who));
            let Role::Listening { backlog, ready, blocked } = &mut state.role else { return Err(Errno::ECONNREFUSED) };
            if ready.len() > *backlog {
                blocked.push(Arc::downgrade(&self.queue));
                return Err(Errno::EAGAIN);
            }
            (name, options, listener)
        };
        let end = Self::open(&self.names, &self.inet, self.kind);
        {
            let mut state = lock(&end.state);
            (state.name, state.options) = (name, options);
        }
        self.join(&end, who, listener);
        let mut state = lock(&to.state);
        if let Role::Listening { ready, .. } = &mut state.role {
            ready.push_back(end);
        }
        drop(state);
        to.queue.wake_for(POLLIN | POLLRDNORM);
        self.queue.wake_for(NOTHING_NEW);
        Ok(())
    }

    pub(super) fn channels(&self) -> Option<(Arc<Channel>, Arc<Channel>)> {
        match &lock(&self.state).role {
            Role::Connected { rx, tx, .. } => Some((rx.clone(), tx.clone())),
            _ => None,
        }
    }

    fn message(&self, data: Vec<u8>, rights: Vec<Arc<crate::file::OpenFile>>, sender: Option<Unpcbid>) -> Message {
        let from = Some(lock(&self.state).name.clone());
        Message { data, read: 0, rights, from, sender, urgent: false }
    }

    pub(super) fn send_message(
        &self,
        data: &[u8],
        to: Option<Arc<LocalSocket>>,
        rights: Vec<Arc<crate::file::OpenFile>>,
        sender: Option<Unpcbid>,
    ) -> Result<usize> {
        if lock(&self.state).shut_write {
            return Err(Errno::EPIPE);
        }
        if self.kind == SOCK_DGRAM {
            let aimed = match &lock(&self.state).role {
                Role::Aimed(peer) => Some(peer.upgrade().ok_or(Errno::ECONNREFUSED)),
                _ => None,
            };
            let peer = to.map(Ok).or(aimed).ok_or(Errno::ENOTCONN)??;
            if peer.kind != SOCK_DGRAM {
                return Err(Errno::EPROTOTYPE);
            }
            if data.len() > lock(&self.state).options.send_buffer {
                return Err(Errno::EMSGSIZE);
            }
            if lock(&peer.state).shut_read {
                return Err(Errno::EPIPE);
            }
            return peer.inbox.push(self.message(peer.inbox.copy(data), rights, sender), &self.queue);
        }
        let (rx, tx) = self.channels().ok_or(Errno::ENOTCONN)?;
        // A stream has no such ear, on Linux.
        if self.kind == SOCK_SEQPACKET && rx.take_reset() {
            return Err(Errno::ECONNRESET);
        }
        // Only as much as fits is copied; the rest comes in the next turn.
        let look = tx.look();
        let fits = if self.kind == SOCK_STREAM { data.len().min(look.room.max(1)) } else { data.len() };
        tx.push(self.message(tx.copy(&data[..fits]), rights, sender), &self.queue)
    }

    /// Sends bytes to a stream, of which the last is urgent (`MSG_OOB`). `EOPNOTSUPP` for other sockets, and without a byte.
    pub(super) fn send_urgent(
        &self,
        data: &[u8],
        rights: Vec<Arc<crate::file::OpenFile>>,
        sender: Option<Unpcbid>,
    ) -> Result<usize> {
        let Some((last, before)) = data.split_last().filter(|_| self.kind == SOCK_STREAM) else {
            return Err(Errno::EOPNOTSUPP);
        };
        if !before.is_empty() {
            let sent = self.send_message(before, None, rights, sender)?;
            if sent < before.len() {
                return Ok(sent);
            }
            return match self.send_urgent(&[*last], Vec::new(), sender) {
                Err(Errno::EAGAIN) => Ok(sent),
                done => Ok(sent + done?),
            };
        }
        let (_, tx) = self.channels().ok_or(Errno::ENOTCONN)?;
        if lock(&self.state).shut_write {
            return Err(Errno::EPIPE);
        }
        tx.push(Message { urgent: true, ..self.message(vec![*last], rights, sender) }, &self.queue)
    }

    /// Receives the urgent byte. `EOPNOTSUPP` of other sockets than streams; `EINVAL` if there is none, or if it comes with the others.
    pub(super) fn take_urgent(&self, buf: &mut [u8], peek: bool) -> Result<usize> {
        if self.kind != SOCK_STREAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let inline = lock(&self.state).options.has(SO_OOBINLINE);
        let (rx, _) = self.channels().filter(|_| !inline).ok_or(Errno::EINVAL)?;
        rx.pop_urgent(buf, peek)
    }

    pub(super) fn take(&self, buf: &mut [u8], peek: bool) -> Result<Taken> {
        let (rx, shut, how) = {
            let state = lock(&self.state);
            let rx = match &state.role {
                Role::Connected { rx, .. } => rx.clone(),
                _ if self.kind == SOCK_DGRAM => self.inbox.clone(),
                // NetBSD says ENOTCONN of a stream too.
                _ if self.kind == SOCK_STREAM => return Err(Errno::EINVAL),
                Role::Listening { .. } => return Err(Errno::EINVAL),
                _ => return Err(Errno::ENOTCONN),
            };
            let how = How { peek, by_sender: state.want_credentials, inline: state.options.has(SO_OOBINLINE) };
            (rx, state.shut_read, how)
        };
        match rx.pop(buf, how) {
            Err(Errno::EAGAIN) if shut && self.kind != SOCK_DGRAM => Ok(Taken::default()),
            taken => taken,
        }
    }
}

/// Returns who a process is, for `LOCAL_PEEREID`: by the number that the program knows itself by.
pub fn owner(cx: &Cx<'_>) -> Unpcbid {
    let cred = cx.proc.credentials();
    Unpcbid { unp_pid: cx.proc.known_as(), unp_euid: cred.euid, unp_egid: cred.egid }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let (name, role) = {
            let mut state = lock(&self.state);
            (std::mem::take(&mut state.name), std::mem::replace(&mut state.role, Role::Idle))
        };
        self.inbox.close_reader();
        match role {
            Role::Connected { rx, tx, .. } => {
                tx.close_writer(rx.close_reader());
            }
            Role::Listening { ready, blocked, .. } => {
                self.names.unbind(&name);
                drop(ready);
                blocked.iter().filter_map(Weak::upgrade).for_each(|queue| queue.wake_for(NOTHING_NEW));
            }
            Role::Idle | Role::Aimed(_) => self.names.unbind(&name),
        }
    }
}

impl File for LocalSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.take(buf, false).map(|taken| taken.len)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.send_message(buf, None, Vec::new(), None)
    }

    fn ready(&self) -> Events {
        let state = lock(&self.state);
        let mut events = 0;
        let (mut ended, mut broken) = (state.shut_read, state.shut_write);
        match &state.role {
            Role::Listening { ready, .. } if ready.is_empty() => return 0,
            Role::Listening { .. } => return POLLIN | POLLRDNORM,
            Role::Connected { rx, tx, .. } => {
                let (rx, tx) = (rx.look_to_wait(true), tx.look_to_wait(false));
                ended |= rx.no_writer;
                broken |= tx.no_reader;
                events |= if rx.reset { POLLERR } else { 0 };
                events |= if rx.any { POLLIN | POLLRDNORM } else { 0 };
                events |= if rx.urgent { POLLPRI } else { 0 };
                events |= if broken || tx.has_room() { POLLOUT } else { 0 };
            }
            Role::Idle | Role::Aimed(_) if self.kind == SOCK_DGRAM => {
                events |= if self.inbox.look().any { POLLIN | POLLRDNORM } else { 0 };
                let room = match &state.role {
                    Role::Aimed(peer) => peer.upgrade().is_none_or(|peer| peer.inbox.look().room > 0),
                    _ => true,
                };
                events |= if room { POLLOUT } else { 0 };
            }
            _ if ended => return POLLOUT | POLLHUP | POLLIN | POLLRDNORM | POLLRDHUP,
            _ => return POLLOUT | POLLHUP,
        }
        if ended {
            events |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if ended && broken { events | POLLHUP } else { events }
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        if command == SIOCATMARK && self.kind != SOCK_STREAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let (rx, tx) = match self.channels() {
            Some((rx, tx)) => (rx.look(), Some(tx.look())),
            None => (self.inbox.look(), None),
        };
        let unsent = tx.map_or(0, |tx| tx.limit - tx.room.min(tx.limit));
        let fill = ioctl::Fill {
            readable: || Ok(rx.readable),
            unsent,
            room: tx.map_or(0, |tx| tx.room),
            at_mark: Some(rx.at_mark),
        };
        ioctl::socket(cx, &self.inet, command, data, fill)
    }

    fn status_changed(&self, flags: i32) {
        if let Some((_, tx)) = self.channels() {
            tx.set_blocks(stream::blocks(flags, self.waits().receive.is_some()));
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn as_stream(&self) -> Option<&dyn Sharing> {
        Some(self)
    }
}

impl Sharing for LocalSocket {
    fn share(&self) -> Result<Given> {
        if self.kind != SOCK_STREAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let (rx, tx) = self.channels().ok_or(Errno::EAGAIN)?;
        let odd = {
            let state = lock(&self.state);
            state.shut_read || state.shut_write || state.want_credentials
        };
        if odd { Err(Errno::EAGAIN) } else { Channel::share(&rx, &tx) }
    }

    fn is_shared(&self) -> bool {
        self.channels().is_some_and(|(rx, tx)| rx.is_shared() || tx.is_shared())
    }

    fn moved(&self, read: bool) {
        match self.channels() {
            Some((rx, _)) if read => rx.was_read(),
            Some((_, tx)) => tx.written(),
            None => {}
        }
    }

    fn bell(&self) -> Result<(Owned, u64)> {
        self.channels().ok_or(Errno::EAGAIN)?.1.bell()
    }
}
