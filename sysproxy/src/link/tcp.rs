//! `tcp://A.B.C.D:PORT` and, ours, `tcp://[v6]:PORT`: a TCP connection without delay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use abi::Errno;

use super::{BACKLOG, Endpoint, Link, Listener, Stream, connect_patiently};
use crate::host::{self, HostFd, Owned};
use crate::url::{ParseError, Role};

/// The longest host part.
const HOST_MAX: usize = 63;

struct Tcp {
    address: SocketAddr,
}

/// Reads `HOST:PORT`, ignoring whatever stands behind a `/`.
///
/// The host is a literal; `*` and `0` stand for any address, on the server's side only.
pub fn parse(rest: &str, role: Role) -> Result<Box<dyn Endpoint>, ParseError> {
    let invalid = |text: String| ParseError::new(Errno::EINVAL, format!("rump_sp_tcp: {text}"));
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let (host, tail) =
        bracketed.or_else(|| rest.split_once(':')).ok_or_else(|| invalid("missing port specifier".into()))?;
    if host.len() > HOST_MAX {
        return Err(invalid("address too long".into()));
    }
    let ip = match (host, bracketed) {
        ("*" | "0", None) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (_, None) => host.parse().map(IpAddr::V4).map_err(|_| invalid(format!("cannot parse {host}")))?,
        (_, Some(_)) => {
            let ip: Ipv6Addr = host.parse().map_err(|_| invalid(format!("cannot parse {host}")))?;
            IpAddr::V6(ip)
        }
    };
    if role == Role::Client && ip.is_unspecified() {
        return Err(invalid("client needs !INADDR_ANY".into()));
    }
    let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    let (port, junk) = tail.split_at(digits);
    if port.is_empty() {
        return Err(invalid(format!("port now found: {rest}")));
    }
    if !junk.is_empty() && !junk.starts_with('/') {
        return Err(invalid(format!("junk at end of port: {rest}")));
    }
    let Ok(port) = port.parse() else {
        return Err(ParseError::new(Errno::ERANGE, format!("rump_sp_tcp: port {port} out of range")));
    };
    Ok(Box::new(Tcp { address: SocketAddr::new(ip, port) }))
}

/// Refuses `tcp6://`, which the original knows by name only; IPv6 is `tcp://[v6]:PORT`.
pub fn refuse_tcp6(_: &str, _: Role) -> Result<Box<dyn Endpoint>, ParseError> {
    Err(ParseError::new(Errno::EOPNOTSUPP, "rump_sp: support not yet implemented".into()))
}

impl Tcp {
    fn connect_by(&self, socket: Owned) -> host::Result<Box<dyn Link>> {
        connect_patiently(|| host::connect_tcp(socket.fd(), &self.address))?;
        host::set_nodelay(socket.fd())?;
        Ok(Box::new(Stream::new(socket)))
    }
}

impl Endpoint for Tcp {
    fn connect(&self) -> host::Result<Box<dyn Link>> {
        self.connect_by(host::tcp_socket(&self.address)?)
    }

    fn connect_beside(&self, other: HostFd) -> host::Result<Box<dyn Link>> {
        let mut socket = host::tcp_socket(&self.address)?;
        if host::network::differ(socket.fd(), other) {
            socket = host::network::in_that_of(other, || host::tcp_socket(&self.address))?;
        }
        self.connect_by(socket)
    }

    fn has_left(&self, other: HostFd) -> bool {
        host::tcp_socket(&self.address).is_ok_and(|socket| host::network::differ(socket.fd(), other))
    }

    fn knows_processes(&self) -> bool {
        false
    }

    fn listen(&self) -> host::Result<Box<dyn Listener>> {
        let socket = host::tcp_socket(&self.address)?;
        host::bind_tcp(socket.fd(), &self.address)?;
        host::listen(socket.fd(), BACKLOG)?;
        host::set_nonblocking(socket.fd(), true)?;
        let address = host::tcp_name(socket.fd())?;
        Ok(Box::new(Door { socket, address }))
    }

    fn url(&self) -> String {
        format!("tcp://{}/", self.address)
    }
}

struct Door {
    socket: Owned,
    address: SocketAddr,
}

impl Listener for Door {
    fn fd(&self) -> HostFd {
        self.socket.fd()
    }

    fn accept(&self) -> host::Result<Box<dyn Link>> {
        let socket = host::accept(self.fd())?;
        host::set_nodelay(socket.fd())?;
        Ok(Box::new(Stream::new(socket)))
    }

    fn url(&self) -> String {
        format!("tcp://{}/", self.address)
    }

    fn unlink(&self) {}
}
