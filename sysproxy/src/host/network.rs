//! Networks of the host (network_namespaces(7)): a socket belongs to that in which it was made, wherever its process goes.

use rustix::fs::{self, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{HostFd, Owned, Result, raw};

/// The number of a socket's network, which no other has.
fn network_of(socket: HostFd) -> Result<u64> {
    const SOL_SOCKET: usize = 1;
    const SO_NETNS_COOKIE: usize = 71;
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as u32;
    let args = [socket.0 as usize, SOL_SOCKET, SO_NETNS_COOKIE, &raw mut cookie as usize, &raw mut len as usize, 0];
    // SAFETY: both are valid for the call to write, and as long as it is told.
    unsafe { raw::syscall6(raw::GETSOCKOPT, args)? };
    Ok(cookie)
}

/// Whether two sockets are of different networks, as far as the host can tell (since Linux 5.14).
pub fn differ(one: HostFd, other: HostFd) -> bool {
    network_of(one).is_ok_and(|one| network_of(other).is_ok_and(|other| one != other))
}

/// Does something with the calling thread in the network of a socket, and comes back.
///
/// `EPERM` without the privileges to go there and to return: then nothing is done.
pub fn in_that_of<T>(socket: HostFd, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let there = descriptor_of(socket)?;
    let here = fs::open(c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // To where the thread is already: who may not do so could not come back either.
    let enter = |network| move_into_link_name_space(network, Some(LinkNameSpaceType::Network));
    enter(std::os::fd::AsFd::as_fd(&here))?;
    enter(there.fd().borrow()?)?;
    let done = body();
    enter(std::os::fd::AsFd::as_fd(&here))?;
    done
}

/// A descriptor of a socket's network; see `SIOCGSKNS` in ioctl_nsfs(2).
fn descriptor_of(socket: HostFd) -> Result<Owned> {
    const SIOCGSKNS: usize = 0x894c;
    // SAFETY: the call takes no memory.
    let fd = unsafe { raw::syscall3(raw::IOCTL, socket.0 as usize, SIOCGSKNS, 0)? };
    Ok(Owned::new(HostFd(fd as i32)))
}

#[cfg(test)]
mod tests {
    use super::super::tcp_socket;
    use super::*;

    #[test]
    fn sockets_of_one_network_do_not_differ() {
        let address = "127.0.0.1:1".parse().unwrap();
        let [one, other] = [(); 2].map(|()| tcp_socket(&address).unwrap());
        assert!(!differ(one.fd(), other.fd()));
        assert!(!differ(one.fd(), HostFd(-1)));
    }
}
