//! AF_NETLINK sockets (netlink(7)), protocol `NETLINK_ROUTE`: questions about interfaces, addresses and routes, as Linux's
//! getifaddrs(3) and network tools ask them. An extension of ours; the messages are in Linux's layout ([`abi::netlink`]).
//!
//! Nothing is sent to multicast groups yet: who wants to know of a change asks again. What else than addresses, routes, neighbours and the state of
//! an interface is to be changed is answered by `EOPNOTSUPP`.

mod answer;
mod change;
mod message;
mod socket;

use std::collections::HashSet;
use std::sync::Mutex;

use abi::{Errno, Result};

pub use self::socket::NetlinkSocket;
use crate::proc::lock;

/// The port ids of a kernel's sockets. The first of a process has the process id, as on Linux.
#[derive(Default)]
pub struct Ports(Mutex<HashSet<u32>>);

impl Ports {
    /// Takes a port id; `EADDRINUSE` if another socket has it.
    fn take(&self, id: u32) -> Result<u32> {
        if lock(&self.0).insert(id) { Ok(id) } else { Err(Errno::EADDRINUSE) }
    }

    /// Takes `wish` or, if it is taken, a free one that is no process id.
    fn any(&self, wish: u32) -> u32 {
        let mut taken = lock(&self.0);
        let others = (0..=u32::MAX >> 1).map(|below| u32::MAX - 4096 - below);
        let id = std::iter::once(wish).chain(others).find(|id| taken.insert(*id));
        id.unwrap_or(u32::MAX)
    }

    fn release(&self, id: u32) {
        lock(&self.0).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use abi::netlink::*;
    use abi::socket::SOCK_RAW;

    use zerocopy::{FromBytes, IntoBytes};

    use super::message::{Request, attribute, begin, finish, requests};
    use super::*;
    use crate::file::File;
    use crate::net::stack::Inet;
    use crate::rumpuser::sim::SimHost;

    fn socket() -> Arc<NetlinkSocket> {
        NetlinkSocket::open(&Arc::default(), &Arc::new(Inet::new(SimHost::new(1))), SOCK_RAW)
    }

    fn header(kind: u16, flags: u16) -> Nlmsghdr {
        Nlmsghdr { nlmsg_type: kind, nlmsg_flags: NLM_F_REQUEST | flags, nlmsg_seq: 9, ..Nlmsghdr::default() }
    }

    /// Sends a request and returns the kinds and bodies of the messages that answer it.
    fn ask(socket: &NetlinkSocket, request: Vec<u8>) -> Vec<(u16, Vec<u8>)> {
        let request = finish(request);
        assert_eq!(socket.write(&request), Ok(request.len()));
        let mut answers = Vec::new();
        let mut buf = [0; 8192];
        while let Ok(len) = socket.read(&mut buf) {
            for Request { header, body } in requests(&buf[..len]) {
                assert_eq!(header.nlmsg_seq, 9);
                answers.push((header.nlmsg_type, body.to_vec()));
            }
        }
        answers
    }

    fn error(answers: &[(u16, Vec<u8>)]) -> Option<i32> {
        let (NLMSG_ERROR, body) = answers.first()? else { return None };
        i32::read_from_prefix(body).ok().map(|(errno, _)| errno)
    }

    #[test]
    fn a_list_of_interfaces_and_addresses_ends_with_done() {
        let socket = socket();
        let links = ask(&socket, begin(header(RTM_GETLINK, NLM_F_DUMP), &Ifinfomsg::default()));
        assert_eq!(links.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [RTM_NEWLINK, NLMSG_DONE]);
        assert!(links[0].1.windows(4).any(|bytes| bytes == b"lo0\0"));
        let all = ask(&socket, begin(header(RTM_GETADDR, NLM_F_DUMP), &Ifaddrmsg::default()));
        // 127.0.0.1 and ::1: the link-local address of the loopback is not shown.
        assert_eq!(all.iter().map(|(_, body)| body[0]).collect::<Vec<_>>(), [2, 10, 0]);
        let inet = Ifaddrmsg { ifa_family: 2, ..Ifaddrmsg::default() };
        let inet = ask(&socket, begin(header(RTM_GETADDR, NLM_F_DUMP), &inet));
        assert_eq!((inet.len(), &inet[0].1[..8]), (2, &[2, 8, 0x80, 254, 1, 0, 0, 0][..]));
    }

    #[test]
    fn one_interface_is_found_by_number_and_by_name() {
        let socket = socket();
        let by_number = Ifinfomsg { ifi_index: 1, ..Ifinfomsg::default() };
        assert_eq!(ask(&socket, begin(header(RTM_GETLINK, 0), &by_number))[0].0, RTM_NEWLINK);
        let by_name = |name: &[u8]| {
            let mut request = begin(header(RTM_GETLINK, 0), &Ifinfomsg::default());
            attribute(&mut request, IFLA_IFNAME, name);
            request
        };
        assert_eq!(ask(&socket, by_name(b"lo0\0"))[0].0, RTM_NEWLINK);
        assert_eq!(error(&ask(&socket, by_name(b"eth0\0"))), Some(-19));
    }

    #[test]
    fn the_way_to_an_address_and_to_nowhere() {
        let socket = socket();
        let to = |addr: [u8; 4]| {
            let mut request = begin(header(RTM_GETROUTE, 0), &Rtmsg { rtm_family: 2, ..Rtmsg::default() });
            attribute(&mut request, RTA_DST, &addr);
            ask(&socket, request)
        };
        let local = to([127, 1, 2, 3]);
        assert_eq!((local[0].0, local[0].1[7]), (RTM_NEWROUTE, RTN_LOCAL));
        assert_eq!(error(&to([10, 0, 0, 1])), Some(-101));
    }

    #[test]
    fn a_change_by_who_may_not_is_refused_and_rubbish_is_not_answered() {
        let socket = socket();
        let change = ask(&socket, begin(header(RTM_NEWADDR, NLM_F_ACK), &Ifaddrmsg::default()));
        assert_eq!(error(&change), Some(-1));
        let rubbish: Vec<u8> = (0..255).collect();
        for at in 0..rubbish.len() {
            assert_eq!(socket.write(&rubbish[at..]), Ok(rubbish.len() - at));
        }
    }

    #[test]
    fn a_reader_that_is_late_is_told_that_answers_were_lost() {
        let socket = socket();
        let request = finish(begin(header(RTM_GETLINK, NLM_F_DUMP), &Ifinfomsg::default()));
        let many: Vec<u8> = std::iter::repeat_n(request.as_bytes(), 2000).flatten().copied().collect();
        assert_eq!(socket.write(&many), Ok(many.len()));
        assert_eq!(socket.read(&mut [0; 8192]), Err(Errno::ENOBUFS));
        assert!(socket.read(&mut [0; 8192]).is_ok());
    }

    #[test]
    fn two_sockets_have_two_port_ids() {
        let ports = Ports::default();
        assert_eq!(ports.any(7), 7);
        assert_ne!(ports.any(7), 7);
        assert_eq!(ports.take(7), Err(Errno::EADDRINUSE));
        ports.release(7);
        assert_eq!(ports.take(7), Ok(7));
    }
}
