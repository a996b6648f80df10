//! A routing socket.

use std::sync::{Arc, Mutex};

use abi::poll::{POLLOUT, POLLWRNORM};
use abi::route::RtMsghdr;
use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use zerocopy::FromBytes;

use super::request;
use super::watch::Inbox;
use crate::file::{Events, File};
use crate::net::option::{Kind, Options};
use crate::net::stack::Inet;
use crate::net::{Control, Received, Socket, Waits, ioctl};
use crate::proc::{Proc, lock};
use crate::wait::WaitQueue;
use crate::{Cx, current};

/// A routing socket.
pub struct RouteSocket {
    inet: Arc<Inet>,
    inbox: Arc<Inbox>,
    protocol: i32,
    options: Mutex<Options>,
    /// Whether it was shut down for reading, and for writing.
    ended: Mutex<[bool; 2]>,
}

impl RouteSocket {
    /// Makes a socket that hears of the routes of a family; of all, for 0.
    pub fn open(inet: &Arc<Inet>, protocol: i32) -> Arc<Self> {
        let options = Options::new(Kind::Route, false);
        let inbox = Inbox::new(protocol, options.receive_buffer);
        inet.with(|stack| stack.base.begin_watch(&inbox));
        let (options, ended) = (Mutex::new(options), Mutex::default());
        Arc::new(Self { inet: inet.clone(), inbox, protocol, options, ended })
    }

    /// Serves a request, and tells everybody of it: who asks hears the answer in the same way, unless it has switched that off.
    fn ask(&self, bytes: &[u8], proc: &Proc) -> Result<usize> {
        if lock(&self.ended)[1] {
            return Err(Errno::EPIPE);
        }
        let deaf = !lock(&self.options).has(SO_USELOOPBACK);
        self.inet.with(|stack| {
            let base = &mut stack.base;
            // What came before is told before.
            base.tell_watchers();
            let (result, message) = request::serve(base, bytes, proc.pid, proc.credentials().privileged());
            base.remember();
            if let Some(message) = message {
                base.tell_all(family(&message), &message, deaf.then_some(&self.inbox));
            }
            result.map(|()| bytes.len())
        })
    }

    fn take(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let message = match self.inbox.take(peek) {
            Err(Errno::EAGAIN) if lock(&self.ended)[0] => return Ok(Received::default()),
            taken => taken?,
        };
        let (len, full) = (message.len().min(buf.len()), message.len());
        buf[..len].copy_from_slice(&message[..len]);
        let flags = if len < full { MSG_TRUNC } else { 0 };
        Ok(Received { len, full, from: Some(address()), flags, control: Vec::new(), at_mark: false })
    }
}

/// The address of all routing sockets.
fn address() -> Sockaddr {
    Sockaddr::Other { family: AF_ROUTE as u8, data: Vec::new() }
}

/// The family of the destination that a message begins with; 0 if it has none.
fn family(message: &[u8]) -> i32 {
    let addr = RtMsghdr::read_from_prefix(message).ok().and_then(|(_, rest)| rest.get(1));
    addr.map_or(0, |family| i32::from(*family))
}

impl File for RouteSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.take(buf, false).map(|received| received.len)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        let (_, proc) = current::get().ok_or(Errno::EACCES)?;
        self.ask(buf, &proc)
    }

    fn ready(&self) -> Events {
        let end = if lock(&self.ended)[0] { abi::poll::POLLIN } else { 0 };
        self.inbox.fill().1 | POLLOUT | POLLWRNORM | end
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.inbox.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        let (next, room) = (self.inbox.fill().0, lock(&self.options).send_buffer);
        let fill = ioctl::Fill { readable: || Ok(next), unsent: 0, room, at_mark: None };
        ioctl::socket(cx, &self.inet, command, data, fill)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for RouteSocket {
    fn domain(&self) -> (i32, i32, i32) {
        (AF_ROUTE, SOCK_RAW, self.protocol)
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
        if to.is_some() {
            return Err(Errno::EISCONN);
        }
        self.ask(data, cx.proc)
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        self.take(buf, flags & MSG_PEEK != 0)
    }

    fn shutdown(&self, how: i32) -> Result<()> {
        let mut ended = lock(&self.ended);
        match how {
            SHUT_RD => ended[0] = true,
            SHUT_WR => ended[1] = true,
            SHUT_RDWR => *ended = [true; 2],
            _ => return Err(Errno::EINVAL),
        }
        drop(ended);
        self.inbox.queue.wake();
        Ok(())
    }

    fn local(&self) -> Result<Sockaddr> {
        Ok(address())
    }

    fn peer(&self) -> Result<Sockaddr> {
        Ok(address())
    }

    fn option(&self, level: i32, name: i32, _max: usize) -> Result<Vec<u8>> {
        let value = match (level, name) {
            (SOL_SOCKET, SO_TYPE) => SOCK_RAW,
            (SOL_SOCKET, SO_ERROR) => self.inbox.take_error().map_or(0, Errno::raw),
            (SOL_SOCKET, SO_ACCEPTCONN) => 0,
            _ => return lock(&self.options).get(level, name),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        let mut options = lock(&self.options);
        options.set(level, name, value)?;
        self.inbox.set_room(options.receive_buffer);
        Ok(())
    }

    fn waits(&self) -> Waits {
        lock(&self.options).waits()
    }
}
