//! Sockets and the TCP/IP stack.

use abi::socket::Sockaddr;
use abi::{Errno, Result};

use crate::Cx;
use crate::file::File;

/// What a message carried besides its bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes stored.
    pub len: usize,
    /// Who sent it.
    pub from: Option<Sockaddr>,
    /// `MSG_TRUNC` and the like, NetBSD's numbers.
    pub flags: i32,
    /// Control messages.
    pub control: Vec<Control>,
}

/// A control message, already taken out of its C form.
pub enum Control {
    /// Open files (`SCM_RIGHTS`).
    Rights(Vec<std::sync::Arc<crate::file::OpenFile>>),
    /// Any other: level, type, data as NetBSD lays it out.
    Other { level: i32, kind: i32, data: Vec<u8> },
}

/// A socket. No method blocks: `EAGAIN` means "would have to wait" (also `connect` before the handshake is over: see there).
pub trait Socket: File {
    /// Address family, type and protocol, NetBSD's numbers.
    fn domain(&self) -> (i32, i32, i32);
    /// bind(2).
    fn bind(&self, _cx: &Cx<'_>, _addr: &Sockaddr) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// listen(2).
    fn listen(&self, _cx: &Cx<'_>, _backlog: i32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// connect(2): starts it. `EINPROGRESS` when it goes on; the handler then waits with [`Socket::connected`].
    fn connect(&self, _cx: &Cx<'_>, _addr: &Sockaddr) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// Whether a connect that was started is over: `EAGAIN` while not, its error once (as `SO_ERROR`).
    fn connected(&self) -> Result<()> {
        Ok(())
    }
    /// accept(2): the new socket and its peer; `EAGAIN` when none is ready.
    fn accept(&self, _cx: &Cx<'_>) -> Result<(std::sync::Arc<dyn File>, Sockaddr)> {
        Err(Errno::EOPNOTSUPP)
    }
    /// send(2) and its kin; returns the bytes taken.
    fn send(&self, _cx: &Cx<'_>, _data: &[u8], _flags: i32, _to: Option<&Sockaddr>, _control: Vec<Control>) -> Result<usize> {
        Err(Errno::EOPNOTSUPP)
    }
    /// recv(2) and its kin.
    fn recv(&self, _cx: &Cx<'_>, _buf: &mut [u8], _flags: i32) -> Result<Received> {
        Err(Errno::EOPNOTSUPP)
    }
    /// shutdown(2).
    fn shutdown(&self, _how: i32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// getsockname(2).
    fn local(&self) -> Result<Sockaddr>;
    /// getpeername(2); `ENOTCONN` without one.
    fn peer(&self) -> Result<Sockaddr>;
    /// getsockopt(2); the value as NetBSD lays it out, at most `max` bytes.
    fn option(&self, _level: i32, _name: i32, _max: usize) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }
    /// setsockopt(2).
    fn set_option(&self, _cx: &Cx<'_>, _level: i32, _name: i32, _value: &[u8]) -> Result<()> {
        Err(Errno::ENOPROTOOPT)
    }
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO`; `None` is for ever.
    fn time_limits(&self) -> (Option<std::time::Duration>, Option<std::time::Duration>) {
        (None, None)
    }
}
