//! Interfaces: getifaddrs(3), if_nameindex(3), netdevice(7), rtnetlink(7).
//!
//! The interfaces are those of the kernel that has the sockets: `lo` natively, `lo0` hijacked. Only what a loopback has everywhere is
//! printed.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("interface_addresses", OneProcess, addresses),
    ("interface_numbers", OneProcess, numbers),
    ("interfaces_by_name", OneProcess, by_name),
    ("interface_ioctls", OneProcess, ioctls),
    ("netlink_sockets", OneProcess, sockets),
    ("netlink_requests", OneProcess, requests),
    ("netlink_children", Processes, children),
];

/// The name of the loopback interface, and its number.
unsafe fn loopback_name() -> (CString, c_uint) {
    unsafe {
        let mut all = null_mut();
        assert_eq!(getifaddrs(&mut all), 0);
        let mut at = all;
        while !at.is_null() && (*at).ifa_flags & IFF_LOOPBACK as c_uint == 0 {
            at = (*at).ifa_next;
        }
        assert!(!at.is_null());
        let name = CStr::from_ptr((*at).ifa_name).to_owned();
        freeifaddrs(all);
        let list = if_nameindex();
        let mut at = list;
        while (*at).if_index != 0 && CStr::from_ptr((*at).if_name) != &*name {
            at = at.add(1);
        }
        let number = (*at).if_index;
        if_freenameindex(list);
        (name, number)
    }
}

fn addresses(_: &str) {
    unsafe {
        let mut all = null_mut();
        show("getifaddrs", getifaddrs(&mut all));
        let mut lines = Vec::new();
        let mut at = all;
        while !at.is_null() {
            let a = &*at;
            at = a.ifa_next;
            if a.ifa_flags & IFF_LOOPBACK as c_uint == 0 {
                continue;
            }
            let up = a.ifa_flags & (IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_POINTOPOINT) as c_uint;
            let what = match a.ifa_addr.is_null() {
                true => "none".into(),
                false => match i32::from((*a.ifa_addr).sa_family) {
                    AF_INET => {
                        let (addr, mask) = (&*a.ifa_addr.cast::<sockaddr_in>(), &*a.ifa_netmask.cast::<sockaddr_in>());
                        format!("{:?} {:?}", addr.sin_addr.s_addr.to_ne_bytes(), mask.sin_addr.s_addr.to_ne_bytes())
                    }
                    AF_INET6 => {
                        let (addr, mask) =
                            (&*a.ifa_addr.cast::<sockaddr_in6>(), &*a.ifa_netmask.cast::<sockaddr_in6>());
                        if addr.sin6_addr.s6_addr != ONE {
                            continue;
                        }
                        format!("{:?} {:?}", addr.sin6_addr.s6_addr, mask.sin6_addr.s6_addr)
                    }
                    AF_PACKET => {
                        let addr = &*a.ifa_addr.cast::<sockaddr_ll>();
                        let data = !a.ifa_data.is_null();
                        format!("link {} {} {} {data}", addr.sll_hatype, addr.sll_halen, addr.sll_ifindex > 0)
                    }
                    family => format!("family {family}"),
                },
            };
            lines.push(format!("{up:#x} {what}"));
        }
        freeifaddrs(all);
        lines.sort();
        println!("{lines:#?}");
    }
}

fn by_name(_: &str) {
    unsafe {
        let (name, number) = loopback_name();
        println!("its number {}", if_nametoindex(name.as_ptr()) == number);
        let mut found = [0 as c_char; IF_NAMESIZE];
        println!("its name {}", if_indextoname(number, found.as_mut_ptr()) == found.as_mut_ptr());
        println!("{}", CStr::from_ptr(found.as_ptr()) == &*name);
        for missing in [c"none0", c"", c"a name that is longer than there is room for"] {
            println!("{missing:?}: {} {}", if_nametoindex(missing.as_ptr()), errno());
        }
        println!("no such number: {} {}", if_indextoname(999_999, found.as_mut_ptr()).is_null(), errno());
    }
}

fn numbers(_: &str) {
    unsafe {
        let list = if_nameindex();
        println!("if_nameindex {}", !list.is_null());
        let (name, number) = loopback_name();
        let mut found = false;
        let mut at = list;
        while !at.is_null() && (*at).if_index != 0 {
            found |= CStr::from_ptr((*at).if_name) == &*name && (*at).if_index == number;
            at = at.add(1);
        }
        if_freenameindex(list);
        println!("the loopback is among them {found}, number {}", number > 0);
        // A scope, as programs write it.
        let mut hints: addrinfo = zeroed();
        (hints.ai_family, hints.ai_flags, hints.ai_socktype) = (AF_INET6, AI_NUMERICHOST, SOCK_STREAM);
        let mut result = null_mut();
        let scoped = CString::new(format!("fe80::1%{number}")).unwrap();
        println!("scope by number {}", getaddrinfo(scoped.as_ptr(), null(), &hints, &mut result));
        println!("{}", (*(*result).ai_addr.cast::<sockaddr_in6>()).sin6_scope_id == number);
    }
}

fn ioctls(_: &str) {
    unsafe {
        let (name, number) = loopback_name();
        for (what, family) in [("IPv4", AF_INET), ("IPv6", AF_INET6)] {
            println!("{what}");
            let s = socket(family, SOCK_DGRAM, 0);
            let ask = |what: &str, request: Ioctl, name: &CStr| {
                let mut about: ifreq = zeroed();
                about.ifr_name.iter_mut().zip(name.to_bytes()).for_each(|(to, from)| *to = *from as c_char);
                let r = ioctl(s, request, &mut about);
                show(what, r);
                about
            };
            let flags = ask("flags", SIOCGIFFLAGS, &name);
            println!(
                "{:#x}",
                c_int::from(flags.ifr_ifru.ifru_flags) & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_BROADCAST)
            );
            let mtu = ask("mtu", SIOCGIFMTU, &name);
            println!("{}", mtu.ifr_ifru.ifru_mtu >= 1500);
            let index = ask("index", SIOCGIFINDEX, &name);
            println!("{}", index.ifr_ifru.ifru_ifindex == number as c_int);
            let hardware = ask("hardware address", SIOCGIFHWADDR, &name);
            println!("{}", hardware.ifr_ifru.ifru_hwaddr.sa_family);
            ask("metric", SIOCGIFMETRIC, &name);
            ask("of none", SIOCGIFFLAGS, c"none9");
            if family == AF_INET {
                for (what, request) in [("address", SIOCGIFADDR), ("mask", SIOCGIFNETMASK)] {
                    let found = ask(what, request, &name);
                    println!("{} {:?}", found.ifr_ifru.ifru_addr.sa_family, &found.ifr_ifru.ifru_addr.sa_data[..6]);
                }
                ask("address of none", SIOCGIFADDR, c"none9");
            }
            let mut list: ifconf = zeroed();
            show("how many", ioctl(s, SIOCGIFCONF, &mut list));
            println!("{}", list.ifc_len as usize >= size_of::<ifreq>());
            let mut room: Vec<ifreq> = vec![zeroed(); 50];
            list.ifc_len = (room.len() * size_of::<ifreq>()) as c_int;
            list.ifc_ifcu.ifcu_req = room.as_mut_ptr();
            show("list", ioctl(s, SIOCGIFCONF, &mut list));
            let count = list.ifc_len as usize / size_of::<ifreq>();
            let named = |one: &&ifreq| text(one.ifr_name.as_ptr()) == name.to_string_lossy();
            let found = room[..count].iter().find(named).unwrap();
            println!("{}", found.ifr_ifru.ifru_addr.sa_family);
        }
    }
}

/// struct sockaddr_nl with the given port.
fn peer(port: u32) -> sockaddr_nl {
    let mut addr: sockaddr_nl = unsafe { zeroed() };
    (addr.nl_family, addr.nl_pid) = (AF_NETLINK as u16, port);
    addr
}

fn sockets(_: &str) {
    unsafe {
        let s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        println!("socket {} {}", s >= 0, fcntl(s, F_GETFD));
        show("bind", bind(s, ptr(&peer(0)), 12));
        let (mut own, mut len) = (peer(0), 12);
        show("name", getsockname(s, (&raw mut own).cast(), &mut len));
        println!("{} {len} {}", own.nl_family, own.nl_pid != 0);
        let (mut value, mut four) = (0 as c_int, 4);
        show("SO_TYPE", getsockopt(s, SOL_SOCKET, SO_TYPE, (&raw mut value).cast(), &mut four));
        println!("{value}");
        show("SO_DOMAIN", getsockopt(s, SOL_SOCKET, SO_DOMAIN, (&raw mut value).cast(), &mut four));
        println!("{value}");
        let size: c_int = 32_768;
        show("SO_SNDBUF", setsockopt(s, SOL_SOCKET, SO_SNDBUF, (&raw const size).cast(), 4));
        show("SO_RCVBUF", setsockopt(s, SOL_SOCKET, SO_RCVBUF, (&raw const size).cast(), 4));
        let mut byte = 0u8;
        show("nothing yet", recv(s, (&raw mut byte).cast(), 1, MSG_DONTWAIT) as i64);
        show("listen", listen(s, 1));
        show("a stream", socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
        show("an unknown protocol", socket(AF_NETLINK, SOCK_RAW, 77));
        let mut fds = [pollfd { fd: s, events: POLLIN | POLLOUT, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 0));
        println!("{:#x}", fds[0].revents);
        show("close", close(s));
    }
}

/// Asks for a list and returns the types of the answers, each once, and how many there were.
unsafe fn list(s: c_int, kind: u16, body: &[u8]) -> (Vec<u16>, bool) {
    unsafe {
        let mut request = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&0x301u16.to_ne_bytes());
        request.extend_from_slice(&77u32.to_ne_bytes());
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(body);
        show("ask", i64::from(sendto(s, request.as_ptr().cast(), request.len(), 0, ptr(&peer(0)), 12) > 0));
        let (mut kinds, mut right) = (Vec::new(), true);
        let mut bytes = vec![0u8; 16384];
        loop {
            let (mut from, mut len) = (peer(99), 12);
            let n = recvfrom(s, bytes.as_mut_ptr().cast(), bytes.len(), 0, (&raw mut from).cast(), &mut len);
            right &= n > 0 && from.nl_pid == 0 && len == 12;
            let mut rest = &bytes[..n.max(0) as usize];
            while let Some(header) = rest.first_chunk::<16>() {
                let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
                let kind = u16::from_ne_bytes([header[4], header[5]]);
                right &= u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) == 77;
                kinds.push(kind);
                if kind == 3 || kind == 2 {
                    kinds.dedup();
                    return (kinds, right);
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn requests(_: &str) {
    unsafe {
        let s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        println!("links {:?}", list(s, RTM_GETLINK, &[0; 16]));
        println!("addresses {:?}", list(s, RTM_GETADDR, &[0; 8]));
        println!("IPv4 {:?}", list(s, RTM_GETADDR, &[2, 0, 0, 0, 0, 0, 0, 0]));
        // Cut to what there is room for, and its length told.
        let request = [&[32u8, 0, 0, 0, 18, 0, 1, 3, 5, 0, 0, 0, 0, 0, 0, 0][..], &[0; 16]].concat();
        send(s, request.as_ptr().cast(), 32, 0);
        let mut few = [0u8; 8];
        println!("whole length {}", recv(s, few.as_mut_ptr().cast(), 8, MSG_PEEK | MSG_TRUNC) > 100);
        let mut vector = iovec { iov_base: few.as_mut_ptr().cast(), iov_len: 8 };
        let mut header: msghdr = zeroed();
        (header.msg_iov, header.msg_iovlen) = (&mut vector, 1);
        show("cut", recvmsg(s, &mut header, 0) as i64);
        println!("{:#x}", header.msg_flags & MSG_TRUNC);
        show("to a stranger", sendto(s, request.as_ptr().cast(), 32, 0, ptr(&peer(0x7fff_fff0)), 12) as i64);
    }
}

fn children(_: &str) {
    unsafe {
        let s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        let child = fork();
        if child == 0 {
            let (kinds, right) = list(s, RTM_GETLINK, &[0; 16]);
            _exit(if right && kinds == [RTM_NEWLINK, 3] { 0 } else { 1 });
        }
        let mut how = -1;
        waitpid(child, &mut how, 0);
        println!("{how}");
        println!("{:?}", list(s, RTM_GETADDR, &[0; 8]));
        let (name, number) = loopback_name();
        let child = fork();
        if child == 0 {
            _exit(c_int::from(loopback_name() != (name, number)));
        }
        waitpid(child, &mut how, 0);
        println!("{how}");
    }
}
