//! An AF_NETLINK socket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use abi::netlink::{NETLINK_ROUTE, SockaddrNl};
use abi::poll::{POLLERR, POLLIN, POLLOUT, POLLRDNORM};
use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use super::Ports;
use super::answer::answer;
use super::message::requests;
use crate::Cx;
use crate::file::{Events, File};
use crate::net::option::{Kind, Options};
use crate::net::stack::Inet;
use crate::net::{Control, Received, Socket, Waits, ioctl};
use crate::proc::lock;
use crate::wait::WaitQueue;

/// An AF_NETLINK socket.
pub struct NetlinkSocket {
    kind: i32,
    inet: Arc<Inet>,
    ports: Arc<Ports>,
    queue: WaitQueue,
    state: Mutex<State>,
}

struct State {
    options: Options,
    /// The port id; `None` until it is bound.
    port: Option<u32>,
    groups: u32,
    /// Answers that were not read yet.
    inbox: VecDeque<Vec<u8>>,
    /// `ENOBUFS` when answers were lost.
    error: Option<Errno>,
}

impl NetlinkSocket {
    /// Makes a socket of type `kind`.
    pub fn open(ports: &Arc<Ports>, inet: &Arc<Inet>, kind: i32) -> Arc<Self> {
        let options = Options::new(Kind::Netlink, false);
        let state = Mutex::new(State { options, port: None, groups: 0, inbox: VecDeque::new(), error: None });
        Arc::new(Self { kind, inet: inet.clone(), ports: ports.clone(), queue: WaitQueue::new(), state })
    }

    /// The port id; an unbound socket is bound first, to `wish` if that is free.
    fn port(&self, wish: u32) -> u32 {
        *lock(&self.state).port.get_or_insert_with(|| self.ports.any(wish))
    }

    /// Asks the stack, and queues what it answers.
    fn ask(&self, data: &[u8], wish: u32, privileged: bool) -> usize {
        let port = self.port(wish);
        let answers: Vec<_> = self.inet.with(|stack| {
            requests(data).flat_map(|request| answer(&mut stack.base, port, &request, privileged)).collect()
        });
        let mut state = lock(&self.state);
        for datagram in answers {
            let held: usize = state.inbox.iter().map(Vec::len).sum();
            if !state.inbox.is_empty() && held + datagram.len() > state.options.receive_buffer {
                state.error = Some(Errno::ENOBUFS);
                break;
            }
            state.inbox.push_back(datagram);
        }
        drop(state);
        self.queue.wake();
        data.len()
    }

    fn take(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let mut state = lock(&self.state);
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let datagram = state.inbox.front().ok_or(Errno::EAGAIN)?;
        let (len, full) = (datagram.len().min(buf.len()), datagram.len());
        buf[..len].copy_from_slice(&datagram[..len]);
        if !peek {
            state.inbox.pop_front();
        }
        let flags = if len < full { MSG_TRUNC } else { 0 };
        Ok(Received { len, full, from: Some(address(0, 0)), flags, control: Vec::new(), at_mark: false })
    }
}

/// The kernel's own address is port id 0.
fn address(port: u32, groups: u32) -> Sockaddr {
    let data = SockaddrNl { nl_pid: port.to_ne_bytes(), nl_groups: groups.to_ne_bytes(), ..SockaddrNl::default() };
    Sockaddr::Other { family: AF_NETLINK as u8, data: data.as_bytes().to_vec() }
}

/// Reads port id and groups of an address; `EINVAL` for one of another family.
fn read(address: &Sockaddr) -> Result<(u32, u32)> {
    match address {
        Sockaddr::Other { family, data } if i32::from(*family) == AF_NETLINK => {
            let (address, _) = SockaddrNl::read_from_prefix(data).map_err(|_| Errno::EINVAL)?;
            Ok((u32::from_ne_bytes(address.nl_pid), u32::from_ne_bytes(address.nl_groups)))
        }
        _ => Err(Errno::EINVAL),
    }
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        if let Some(port) = lock(&self.state).port {
            self.ports.release(port);
        }
    }
}

impl File for NetlinkSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.take(buf, false).map(|received| received.len)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        // Who writes is not known here, so nobody may change anything.
        Ok(self.ask(buf, u32::MAX, false))
    }

    fn ready(&self) -> Events {
        let state = lock(&self.state);
        let readable = if state.inbox.is_empty() { 0 } else { POLLIN | POLLRDNORM };
        readable | POLLOUT | if state.error.is_some() { POLLERR } else { 0 }
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        let (next, room) = {
            let state = lock(&self.state);
            (state.inbox.front().map_or(0, Vec::len), state.options.send_buffer)
        };
        ioctl::socket(
            cx,
            &self.inet,
            command,
            data,
            ioctl::Fill { readable: || Ok(next), unsent: 0, room, at_mark: None },
        )
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for NetlinkSocket {
    fn domain(&self) -> (i32, i32, i32) {
        (AF_NETLINK, self.kind, NETLINK_ROUTE)
    }

    /// `EINVAL` when it is bound to another port id already, `EADDRINUSE` for one that is taken.
    fn bind(&self, cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        let (port, groups) = read(addr)?;
        let mut state = lock(&self.state);
        match state.port {
            Some(bound) if port != 0 && port != bound => return Err(Errno::EINVAL),
            Some(_) => {}
            None if port == 0 => state.port = Some(self.ports.any(cx.proc.pid as u32)),
            None => state.port = Some(self.ports.take(port)?),
        }
        state.groups = groups;
        Ok(())
    }

    /// The only peer is the kernel.
    fn connect(&self, cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        if *addr != Sockaddr::Unspec && read(addr)?.0 != 0 {
            return Err(Errno::ECONNREFUSED);
        }
        self.port(cx.proc.pid as u32);
        Ok(())
    }

    fn send(
        &self,
        cx: &Cx<'_>,
        data: &[u8],
        flags: i32,
        to: Option<&Sockaddr>,
        control: Vec<Control>,
    ) -> Result<usize> {
        if flags & MSG_OOB != 0 || !control.is_empty() {
            return Err(Errno::EOPNOTSUPP);
        }
        if to.map(read).transpose()?.is_some_and(|(port, _)| port != 0) {
            return Err(Errno::ECONNREFUSED);
        }
        Ok(self.ask(data, cx.proc.pid as u32, cx.proc.credentials().privileged()))
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        self.take(buf, flags & MSG_PEEK != 0)
    }

    fn local(&self) -> Result<Sockaddr> {
        let state = lock(&self.state);
        Ok(address(state.port.unwrap_or(0), state.groups))
    }

    fn peer(&self) -> Result<Sockaddr> {
        Ok(address(0, 0))
    }

    fn option(&self, level: i32, name: i32, _max: usize) -> Result<Vec<u8>> {
        let mut state = lock(&self.state);
        let value = match (level, name) {
            (SOL_SOCKET, SO_TYPE) => self.kind,
            (SOL_SOCKET, SO_ERROR) => state.error.take().map_or(0, Errno::raw),
            (SOL_SOCKET, SO_ACCEPTCONN) => 0,
            _ => return state.options.get(level, name),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        lock(&self.state).options.set(level, name, value)
    }

    fn waits(&self) -> Waits {
        lock(&self.state).options.waits()
    }
}
