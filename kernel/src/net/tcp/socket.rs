//! A TCP socket as descriptors see it.

use std::sync::Arc;

use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::Owned;

use super::{Pcb, Role};
use crate::Cx;
use crate::file::{Events, File};
use crate::net::addr::{Binding, Family, scope};
use crate::net::conn::TcpState;
use crate::net::option::{longest, mtu_info};
use crate::net::port::Id;
use crate::net::stack::{Base, Inet};
use crate::net::{Control, Received, Socket, Waits, device, ioctl};
use crate::stream::{Given, Sharing};
use crate::wait::WaitQueue;

/// A TCP socket.
pub struct TcpSocket {
    inet: Arc<Inet>,
    id: Id,
    ipv6: bool,
    queue: Arc<WaitQueue>,
}

impl TcpSocket {
    /// Makes a socket.
    pub fn open(inet: &Arc<Inet>, family: Family) -> Arc<Self> {
        let id = inet.with(|stack| stack.tcp.open(family));
        Self::wrap(inet, id, family != Family::V4)
    }

    fn wrap(inet: &Arc<Inet>, id: Id, ipv6: bool) -> Arc<Self> {
        let queue = inet.look(|stack| stack.tcp.pcb(id).map(|pcb| pcb.queue.clone()));
        Arc::new(Self { inet: inet.clone(), id, ipv6, queue: queue.unwrap_or_default() })
    }

    fn family(&self) -> Result<Family> {
        self.inet.look(|stack| stack.tcp.pcb(self.id).map(|pcb| pcb.family))
    }

    /// bind(2) without the client.
    pub fn bind_to(&self, addr: &Sockaddr) -> Result<()> {
        self.inet.with(|stack| {
            let pcb = stack.tcp.pcb_mut(self.id)?;
            let family = pcb.family;
            let endpoint = family.endpoint(addr).map_err(mapped_refused)?;
            if pcb.binding.is_some() || !matches!(pcb.role, Role::Idle) {
                return Err(Errno::EINVAL);
            }
            scope(addr, &mut pcb.options.device, None)?;
            if pcb.options.device.is_some_and(|device| stack.base.link_by_index(device).is_none()) {
                return Err(Errno::ENODEV);
            }
            let addr = Some(endpoint.addr).filter(|addr| !addr.is_unspecified());
            let free = pcb.options.may_bind_anything(self.ipv6);
            if addr.is_some_and(|addr| !stack.base.may_bind(&addr) && !free) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            stack.tcp.bind(&mut stack.base, self.id, Binding { family, addr, port: endpoint.port }, true)
        })
    }

    /// connect(2) without the client.
    pub fn connect_to(&self, addr: &Sockaddr) -> Result<()> {
        if *addr == Sockaddr::Unspec {
            self.inet.with(|stack| stack.tcp.disconnect(&mut stack.base, self.id));
            return Ok(());
        }
        let remote = self.family()?.endpoint(addr)?;
        self.inet.with(|stack| {
            let pcb = stack.tcp.pcb_mut(self.id)?;
            if matches!(pcb.role, Role::Idle) {
                scope(addr, &mut pcb.options.device, None)?;
            }
            stack.tcp.start_connecting(&mut stack.base, self.id, remote)
        })
    }

    /// listen(2) without the client.
    pub fn listen_with(&self, backlog: i32) -> Result<()> {
        self.inet.with(|stack| stack.tcp.start_listening(&mut stack.base, self.id, backlog))
    }

    /// accept(2) without the client.
    pub fn accept_one(&self) -> Result<(Arc<TcpSocket>, Sockaddr)> {
        let id = self.inet.with(|stack| stack.tcp.accept(self.id))?;
        let socket = Self::wrap(&self.inet, id, self.ipv6);
        let peer = socket.remote().unwrap_or(Sockaddr::Unspec);
        Ok((socket, peer))
    }

    fn remote(&self) -> Result<Sockaddr> {
        self.inet.look(|stack| {
            let pcb = stack.tcp.pcb(self.id)?;
            match &pcb.role {
                Role::Connection(conn) => Ok(pcb.family.sockaddr_on(conn.remote, pcb.options.device)),
                _ => Err(Errno::ENOTCONN),
            }
        })
    }

    /// Sends all that there is room for, in as many turns as the peer keeps up.
    pub fn send_bytes(&self, data: &[u8]) -> Result<usize> {
        self.send_all(data, false, false)
    }

    /// Sends, of which there will be `more`, or the last byte of which is `urgent`.
    pub fn send_all(&self, data: &[u8], more: bool, urgent: bool) -> Result<usize> {
        let mut sent = 0;
        loop {
            match self.inet.with(|stack| stack.tcp.send(&mut stack.base, self.id, &data[sent..], more, urgent)) {
                Ok(taken) => sent += taken,
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            }
            if sent == data.len() {
                return Ok(sent);
            }
        }
    }

    /// setsockopt(2) without the client.
    pub fn set(&self, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.inet.with(|stack| {
            let pcb = stack.tcp.pcb_mut(self.id)?;
            if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) && self.ipv6 && pcb.binding.is_some() {
                return Err(Errno::EINVAL);
            }
            if (level, name) == (SOL_SOCKET_EXT, SO_BINDTODEVICE) {
                pcb.options.device = device::by_name(&stack.base, value)?;
                return Ok(());
            }
            pcb.options.set(level, name, value)?;
            if self.ipv6 {
                pcb.family = Family::V6 { v6only: pcb.options.v6only };
            }
            if let Some(binding) = pcb.binding {
                let (addr, port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
                stack.tcp.ports.agree(self.id, binding.port, addr, port);
            }
            let pcb = stack.tcp.pcb_mut(self.id)?;
            if let Role::Connection(conn) = &mut pcb.role {
                let tuning = pcb.options.tuning(super::is_v4(&conn.local));
                conn.engine.tune(&tuning);
                stack.tcp.look_if_plain(self.id);
                stack.tcp.emit(&mut stack.base, self.id);
            }
            Ok(())
        })
    }

    /// Receives the urgent byte (`MSG_OOB`).
    pub fn recv_oob(&self) -> Result<u8> {
        let mut byte = [0];
        self.inet.with(|stack| stack.tcp.recv_urgent(self.id, &mut byte, false)).map(|_| byte[0])
    }

    /// Whether the urgent byte comes next (sockatmark(3)).
    pub fn at_mark(&self) -> Result<bool> {
        self.inet.look(|stack| match &stack.tcp.pcb(self.id)?.role {
            Role::Connection(conn) => Ok(conn.at_mark()),
            _ => Ok(false),
        })
    }

    /// Receives.
    pub fn recv_bytes(&self, buf: &mut [u8], peek: bool) -> Result<usize> {
        self.inet.with(|stack| stack.tcp.recv(&mut stack.base, self.id, buf, peek))
    }
}

/// The MTU on the way to the peer; `ENOTCONN` without one.
fn path_mtu(pcb: &Pcb, base: &Base) -> Result<usize> {
    let Role::Connection(conn) = &pcb.role else { return Err(Errno::ENOTCONN) };
    Ok(longest(&conn.remote.addr).min(base.route_by(&conn.remote.addr, Some(conn.link))?.mtu))
}

/// A bind to a mapped address with `IPV6_V6ONLY` on.
fn mapped_refused(error: Errno) -> Errno {
    if error == Errno::ENETUNREACH { Errno::EINVAL } else { error }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        self.inet.with(|stack| stack.tcp.close(&mut stack.base, self.id));
    }
}

impl File for TcpSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.recv_bytes(buf, false)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.send_bytes(buf)
    }

    fn ready(&self) -> Events {
        self.inet.look(|stack| stack.tcp.ready(self.id))
    }

    fn status_changed(&self, flags: i32) {
        self.inet.look(|stack| stack.tcp.set_blocks(self.id, flags));
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        let state = self.inet.look(|stack| {
            let pcb = stack.tcp.pcb(self.id)?;
            match &pcb.role {
                Role::Connection(conn) => {
                    let readable = conn.readable(pcb.options.has(SO_OOBINLINE));
                    Ok(Some((conn.engine.queues(), readable, conn.at_mark())))
                }
                Role::Listening { .. } => Err(Errno::EINVAL),
                Role::Idle => Ok(None),
            }
        });
        let connected = state.ok().flatten();
        let fill = ioctl::Fill {
            readable: || state.map(|state| state.map_or(0, |(_, readable, _)| readable)),
            unsent: connected.map_or(0, |(queues, ..)| queues.unsent),
            room: connected.map_or(0, |(queues, ..)| queues.writable()),
            at_mark: Some(connected.is_some_and(|(.., at_mark)| at_mark)),
        };
        ioctl::socket(cx, &self.inet, command, data, fill)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn as_stream(&self) -> Option<&dyn Sharing> {
        Some(self)
    }
}

impl Sharing for TcpSocket {
    fn share(&self) -> Result<Given> {
        self.inet.with(|stack| stack.tcp.share(&mut stack.base, self.id))
    }

    fn is_shared(&self) -> bool {
        self.inet.look(|stack| stack.tcp.is_shared(self.id))
    }

    fn moved(&self, read: bool) {
        self.inet.with(|stack| stack.tcp.moved(&mut stack.base, self.id, read));
    }

    fn bell(&self) -> Result<(Owned, u64)> {
        self.inet.look(|stack| stack.tcp.bell(self.id))
    }
}

impl Socket for TcpSocket {
    fn domain(&self) -> (i32, i32, i32) {
        (if self.ipv6 { AF_INET6 } else { AF_INET }, SOCK_STREAM, IPPROTO_TCP)
    }

    fn bind(&self, _cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        self.bind_to(addr)
    }

    fn listen(&self, _cx: &Cx<'_>, backlog: i32) -> Result<()> {
        self.listen_with(backlog)
    }

    fn connect(&self, _cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        self.connect_to(addr)
    }

    fn connected(&self) -> Result<()> {
        self.inet.with(|stack| stack.tcp.connected(&mut stack.base, self.id))
    }

    fn accept(&self, _cx: &Cx<'_>) -> Result<(Arc<dyn File>, Sockaddr)> {
        let (socket, peer) = self.accept_one()?;
        Ok((socket, peer))
    }

    fn path(&self) -> &'static str {
        self.inet.look(|stack| stack.tcp.path(self.id))
    }

    fn send(
        &self,
        _cx: &Cx<'_>,
        data: &[u8],
        flags: i32,
        _to: Option<&Sockaddr>,
        control: Vec<Control>,
    ) -> Result<usize> {
        if control.iter().any(|control| matches!(control, Control::Rights(_))) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.send_all(data, flags & MSG_MORE != 0, flags & MSG_OOB != 0)
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        if flags & MSG_ERRQUEUE != 0 {
            // Errors of streams are told by the calls themselves.
            return Err(Errno::EAGAIN);
        }
        if flags & MSG_OOB != 0 {
            let peek = flags & MSG_PEEK != 0;
            let len = self.inet.with(|stack| stack.tcp.recv_urgent(self.id, buf, peek))?;
            let told = if len == 0 { MSG_OOB | MSG_TRUNC } else { MSG_OOB };
            return Ok(Received { len, flags: told, ..Received::default() });
        }
        let len = self.recv_bytes(buf, flags & MSG_PEEK != 0)?;
        let at_mark = flags & MSG_WAITALL != 0 && self.at_mark()?;
        Ok(Received { len, at_mark, ..Received::default() })
    }

    fn shutdown(&self, how: i32) -> Result<()> {
        self.inet.with(|stack| stack.tcp.shutdown(&mut stack.base, self.id, how))
    }

    fn local(&self) -> Result<Sockaddr> {
        self.inet.look(|stack| {
            let pcb = stack.tcp.pcb(self.id)?;
            let any = smoltcp::wire::IpEndpoint::new(pcb.family.any(), 0);
            let own = pcb.binding.map_or(any, |binding| binding.endpoint());
            Ok(pcb.family.sockaddr_on(own, pcb.options.device))
        })
    }

    fn peer(&self) -> Result<Sockaddr> {
        let open = self.inet.look(|stack| match &stack.tcp.pcb(self.id)?.role {
            Role::Connection(conn) => Ok(conn.seen >= TcpState::Established && !conn.seen.is_over()),
            _ => Ok(false),
        })?;
        if open { self.remote() } else { Err(Errno::ENOTCONN) }
    }

    fn queued(&self) -> (usize, usize) {
        self.inet.look(|stack| stack.tcp.pcb(self.id).map_or((0, 0), super::Pcb::queued))
    }

    fn option(&self, level: i32, name: i32, max: usize) -> Result<Vec<u8>> {
        self.inet.with(|stack| {
            let pcb = stack.tcp.pcb_mut(self.id)?;
            let value = match (level, name) {
                (SOL_SOCKET, SO_TYPE) => SOCK_STREAM,
                (SOL_SOCKET, SO_ERROR) => pcb.error.take().map_or(0, Errno::raw),
                (SOL_SOCKET, SO_ACCEPTCONN) => i32::from(matches!(pcb.role, Role::Listening { .. })),
                (IPPROTO_TCP, TCP_INFO) => {
                    let mtu = |link: usize| stack.base.links[link].device.mtu();
                    return Ok(super::info::tcp_info(pcb, mtu));
                }
                (IPPROTO_TCP, TCP_MAXSEG) if matches!(pcb.role, Role::Connection(_)) => match &pcb.role {
                    Role::Connection(conn) => {
                        super::info::segment(conn, stack.base.links[conn.link].device.mtu()) as i32
                    }
                    _ => 0,
                },
                (SOL_SOCKET_EXT, SO_BINDTODEVICE) => return device::name(&stack.base, pcb.options.device, max),
                (IPPROTO_IP_EXT, IP_MTU) => path_mtu(pcb, &stack.base)? as i32,
                (IPPROTO_IPV6_EXT, IPV6_MTU) if pcb.options.is_ipv6() => path_mtu(pcb, &stack.base)? as i32,
                (IPPROTO_IPV6, IPV6_PATHMTU) if pcb.options.is_ipv6() => {
                    mtu_info(None, 0, max)?;
                    return mtu_info(None, path_mtu(pcb, &stack.base)?, max);
                }
                _ => return pcb.options.get(level, name),
            };
            Ok(value.to_le_bytes().to_vec())
        })
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.set(level, name, value)
    }

    fn waits(&self) -> Waits {
        self.inet.look(|stack| stack.tcp.pcb(self.id).map(|pcb| pcb.options.waits())).unwrap_or_default()
    }
}
