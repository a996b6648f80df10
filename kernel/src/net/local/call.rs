//! The socket calls on an AF_LOCAL socket.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use abi::socket::*;
use abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use super::socket::{BACKLOG_MAX, LocalSocket, Role, owner};
use crate::Cx;
use crate::file::File;
use crate::net::{Control, Received, Socket, Waits};
use crate::proc::lock;
use crate::wait::NOTHING_NEW;

impl Socket for LocalSocket {
    fn domain(&self) -> (i32, i32, i32) {
        (AF_LOCAL, self.kind, 0)
    }

    fn bind(&self, cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        let Sockaddr::Local(name) = addr else { return Err(Errno::EAFNOSUPPORT) };
        let own = self.own.upgrade().ok_or(Errno::EBADF)?;
        let bound = !lock(&self.state).name.is_empty();
        let name = match (name.is_empty(), bound) {
            (true, _) if !cx.mem.extended() => return Err(Errno::EINVAL),
            // Linux's autobind: a socket without a name gets one.
            (true, true) => return Ok(()),
            (true, false) => self.names.bind_to_any(&own)?,
            // As on Linux, which makes the name before it looks whether the socket has one.
            (false, true) if !matches!(self.names.find(cx, name), Err(Errno::ENOENT)) => return Err(Errno::EADDRINUSE),
            (false, true) => return Err(Errno::EINVAL),
            (false, false) => {
                self.names.bind(cx, name, &own)?;
                name.clone()
            }
        };
        lock(&self.state).name = name;
        Ok(())
    }

    fn listen(&self, cx: &Cx<'_>, backlog: i32) -> Result<()> {
        if self.kind == SOCK_DGRAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let length = if backlog < 0 { BACKLOG_MAX } else { backlog.min(BACKLOG_MAX) } as usize;
        let mut state = lock(&self.state);
        if state.name.is_empty() {
            return Err(Errno::EINVAL);
        }
        match &mut state.role {
            Role::Idle => {
                state.listener = Some(owner(cx));
                state.role = Role::Listening { backlog: length, ready: VecDeque::new(), blocked: Vec::new() };
            }
            Role::Listening { backlog, .. } => *backlog = length,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn connect(&self, cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        let name = match addr {
            Sockaddr::Local(name) => name,
            Sockaddr::Unspec if self.kind == SOCK_DGRAM => {
                lock(&self.state).role = Role::Idle;
                return Ok(());
            }
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let to = self.names.find(cx, name)?;
        if to.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if self.kind == SOCK_DGRAM {
            lock(&self.state).role = Role::Aimed(Arc::downgrade(&to));
            return Ok(());
        }
        self.connect_stream(&to, owner(cx))
    }

    fn accept(&self, _cx: &Cx<'_>) -> Result<(Arc<dyn File>, Sockaddr)> {
        let (socket, blocked) = {
            let mut state = lock(&self.state);
            let Role::Listening { ready, blocked, .. } = &mut state.role else {
                return Err(if self.kind == SOCK_DGRAM { Errno::EOPNOTSUPP } else { Errno::EINVAL });
            };
            (ready.pop_front().ok_or(Errno::EAGAIN)?, std::mem::take(blocked))
        };
        blocked.iter().filter_map(Weak::upgrade).for_each(|queue| queue.wake_for(NOTHING_NEW));
        let peer = socket.peer().unwrap_or(Sockaddr::Local(Vec::new()));
        Ok((socket, peer))
    }

    fn send(
        &self,
        cx: &Cx<'_>,
        data: &[u8],
        flags: i32,
        to: Option<&Sockaddr>,
        control: Vec<Control>,
    ) -> Result<usize> {
        if flags & MSG_OOB != 0 && self.kind != SOCK_STREAM {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match to {
            Some(Sockaddr::Local(name)) if self.kind == SOCK_DGRAM => Some(self.names.find(cx, name)?),
            Some(_) if self.kind == SOCK_DGRAM => return Err(Errno::EINVAL),
            Some(_) if self.channels().is_some() => return Err(Errno::EISCONN),
            Some(_) => return Err(Errno::EOPNOTSUPP),
            None => None,
        };
        let (mut rights, mut sender) = (Vec::new(), owner(cx));
        for message in control {
            match message {
                Control::Rights(files) => rights.extend(files),
                Control::Other { level: SOL_SOCKET, kind: SCM_CREDS, data } if cx.mem.extended() => {
                    sender = claimed(cx, &data)?;
                }
                Control::Other { level: SOL_SOCKET, kind: SCM_CREDS, .. } => {}
                Control::Other { .. } => return Err(Errno::EINVAL),
            }
        }
        match flags & MSG_OOB {
            0 => self.send_message(data, to, rights, Some(sender)),
            _ => self.send_urgent(data, rights, Some(sender)),
        }
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            let len = self.take_urgent(buf, flags & MSG_PEEK != 0)?;
            return Ok(Received { len, full: len, flags: MSG_OOB, ..Received::default() });
        }
        let taken = self.take(buf, flags & MSG_PEEK != 0)?;
        let mut control = Vec::new();
        if lock(&self.state).want_credentials {
            let sender = taken.sender.unwrap_or_default();
            let cred = Sockcred {
                sc_pid: sender.unp_pid,
                sc_uid: sender.unp_euid,
                sc_euid: sender.unp_euid,
                sc_gid: sender.unp_egid,
                sc_egid: sender.unp_egid,
                ..Sockcred::default()
            };
            let data = cred.as_bytes().to_vec();
            control.push(Control::Other { level: SOL_SOCKET, kind: SCM_CREDS, data });
        }
        if !taken.rights.is_empty() {
            control.push(Control::Rights(taken.rights));
        }
        let flags = if taken.len < taken.full { MSG_TRUNC } else { 0 };
        let from = taken.from.filter(|name| self.kind == SOCK_DGRAM && !name.is_empty()).map(Sockaddr::Local);
        Ok(Received { len: taken.len, full: taken.full, from, flags, control, at_mark: taken.at_mark })
    }

    fn is_ended(&self) -> bool {
        self.kind == SOCK_DGRAM && lock(&self.state).shut_read
    }

    fn shutdown(&self, how: i32) -> Result<()> {
        if !matches!(how, SHUT_RD | SHUT_WR | SHUT_RDWR) {
            return Err(Errno::EINVAL);
        }
        // Of an unconnected stream too, as on Linux; NetBSD says ENOTCONN.
        let channels = self.channels();
        {
            let mut state = lock(&self.state);
            state.shut_read |= how != SHUT_WR;
            state.shut_write |= how != SHUT_RD;
        }
        if let Some((rx, tx)) = channels {
            if how != SHUT_WR {
                rx.shut_reader();
            }
            if how != SHUT_RD {
                tx.close_writer(false);
            }
        }
        self.queue.wake();
        Ok(())
    }

    fn local(&self) -> Result<Sockaddr> {
        Ok(Sockaddr::Local(lock(&self.state).name.clone()))
    }

    fn peer(&self) -> Result<Sockaddr> {
        match &lock(&self.state).role {
            Role::Connected { peer_name, .. } => Ok(Sockaddr::Local(peer_name.clone())),
            Role::Aimed(peer) => peer.upgrade().ok_or(Errno::ENOTCONN)?.local(),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn option(&self, level: i32, name: i32, _max: usize) -> Result<Vec<u8>> {
        let state = lock(&self.state);
        let value = match (level, name) {
            (SOL_SOCKET, SO_TYPE) => self.kind,
            (SOL_SOCKET, SO_ERROR) => {
                let reset = matches!(&state.role, Role::Connected { rx, .. } if rx.take_reset());
                if reset { Errno::ECONNRESET.raw() } else { 0 }
            }
            (SOL_SOCKET, SO_ACCEPTCONN) => i32::from(matches!(state.role, Role::Listening { .. })),
            (SOL_LOCAL, LOCAL_CREDS) => i32::from(state.want_credentials),
            (SOL_LOCAL, LOCAL_PEEREID) => {
                return match &state.role {
                    Role::Connected { peer, .. } => Ok(peer.as_bytes().to_vec()),
                    _ => Err(Errno::ENOTCONN),
                };
            }
            _ => return state.options.get(level, name),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        let mut state = lock(&self.state);
        if (level, name) == (SOL_LOCAL, LOCAL_CREDS) {
            state.want_credentials = value.iter().any(|byte| *byte != 0);
            if let Role::Connected { rx, .. } = &state.role {
                rx.mind_senders(state.want_credentials);
            }
            return Ok(());
        }
        state.options.set(level, name, value)?;
        self.inbox.set_limit(state.options.receive_buffer);
        if let Role::Connected { tx, .. } = &state.role {
            tx.set_limit(state.options.send_buffer);
        }
        Ok(())
    }

    fn path(&self) -> &'static str {
        match self.channels() {
            Some((_, tx)) if tx.is_shared() => "shared",
            Some(_) if self.kind == SOCK_STREAM => "joined",
            _ => "",
        }
    }

    fn waits(&self) -> Waits {
        lock(&self.state).options.waits()
    }
}

/// Who a message says that it is from (unix(7), `SCM_CREDENTIALS`). `EPERM` if that is neither the sender nor somebody that it could become, and
/// it is not the superuser.
fn claimed(cx: &Cx<'_>, data: &[u8]) -> Result<Unpcbid> {
    let (claim, _) = Sockcred::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
    let cred = cx.proc.credentials();
    let user = [cred.uid, cred.euid, cred.svuid].contains(&claim.sc_euid);
    let group = [cred.gid, cred.egid, cred.svgid].contains(&claim.sc_egid);
    if cred.euid != 0 && !(user && group && claim.sc_pid == cx.proc.known_as()) {
        return Err(Errno::EPERM);
    }
    Ok(Unpcbid { unp_pid: claim.sc_pid, unp_euid: claim.sc_euid, unp_egid: claim.sc_egid })
}
