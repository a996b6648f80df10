//! Entry points of sockets.

use super::symbols;

symbols! {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = SYS_socket(domain, kind, protocol);
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int = SYS_socketpair(domain, kind, protocol, pair);
    fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int = SYS_bind(fd, addr, len);
    fn connect(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int = SYS_connect(fd, addr, len), also __connect;
    fn listen(fd: c_int, backlog: c_int) -> c_int = SYS_listen(fd, backlog);
    fn accept(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_accept(fd, addr, len);
    fn accept4(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int = SYS_accept4(fd, addr, len, flags);
    fn getsockname(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_getsockname(fd, addr, len);
    fn getpeername(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int = SYS_getpeername(fd, addr, len);
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int = SYS_getsockopt(fd, level, name, value, len);
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int = SYS_setsockopt(fd, level, name, value, len);
    fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t = SYS_sendto(fd, buf, len, flags, 0, 0), also __send;
    fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, addr: *const sockaddr, addrlen: socklen_t) -> ssize_t = SYS_sendto(fd, buf, len, flags, addr, addrlen);
    fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, 0, 0);
    fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, 0, 0);
    fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, addr, addrlen);
    fn __recvfrom_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t) -> ssize_t = SYS_recvfrom(fd, buf, len, flags, addr, addrlen);
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t = SYS_sendmsg(fd, message, flags) through passing::sendmsg;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t = SYS_recvmsg(fd, message, flags) through passing::recvmsg;
    fn sendmmsg(fd: c_int, vector: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int = SYS_sendmmsg(fd, vector, count, flags) through passing::sendmmsg;
    fn recvmmsg(fd: c_int, vector: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int = SYS_recvmmsg(fd, vector, count, flags, timeout) through passing::recvmmsg;
    fn shutdown(fd: c_int, how: c_int) -> c_int = SYS_shutdown(fd, how);
}
