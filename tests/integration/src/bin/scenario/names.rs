//! Names of hosts and services: the resolver of libc, asking a server of names over the loopback.

use std::io::Write;

use super::prelude::*;
use super::resolver::{Server, message_of};

/// The family.
pub const TABLE: &[Row] = &[
    ("names_lookup", OneProcess, lookup),
    ("names_alias", OneProcess, alias),
    ("names_reverse", OneProcess, reverse),
    ("names_old_calls", OneProcess, old_calls),
    ("names_query", OneProcess, query),
    ("names_search", OneProcess, search),
    ("names_truncated", OneProcess, truncated),
    ("names_retried", OneProcess, retried),
    ("names_failures", OneProcess, failures),
    ("names_no_server", OneProcess, no_server),
    ("names_numeric", OneProcess, numeric),
    ("names_flags", OneProcess, flags),
    ("names_files", OneProcess, files),
    ("names_services", OneProcess, services),
    ("names_by_threads", OneProcess, threads),
    ("names_by_children", Processes, children),
    ("host_name", OneProcess, host_name),
];

unsafe extern "C" {
    fn gethostbyname(name: *const c_char) -> *mut hostent;
    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent;
    fn gethostbyname_r(
        name: *const c_char,
        entry: *mut hostent,
        buf: *mut c_char,
        len: size_t,
        result: *mut *mut hostent,
        error: *mut c_int,
    ) -> c_int;
    fn gethostbyaddr(addr: *const c_void, len: socklen_t, family: c_int) -> *mut hostent;
    fn __h_errno_location() -> *mut c_int;
    fn hstrerror(number: c_int) -> *const c_char;
    fn res_query(name: *const c_char, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int;
    fn res_search(name: *const c_char, class: c_int, kind: c_int, answer: *mut u8, len: c_int) -> c_int;
}

/// Prints what getaddrinfo(3) finds, sorted, or its error.
unsafe fn find(what: &str, name: *const c_char, service: *const c_char, hints: &addrinfo) {
    unsafe {
        let mut found = null_mut();
        let status = getaddrinfo(name, service, hints, &mut found);
        if status != 0 {
            println!("{what}: {}", text(gai_strerror(status)));
            return;
        }
        let mut lines = Vec::new();
        let mut entry = found;
        while !entry.is_null() {
            let e = &*entry;
            let (mut host, mut port) = ([0 as c_char; 100], [0 as c_char; 20]);
            let numeric = NI_NUMERICHOST | NI_NUMERICSERV;
            getnameinfo(e.ai_addr, e.ai_addrlen, host.as_mut_ptr(), 100, port.as_mut_ptr(), 20, numeric);
            lines.push(format!(
                "{} {} {} {} {}",
                text(host.as_ptr()),
                text(port.as_ptr()),
                e.ai_socktype,
                e.ai_protocol,
                text(e.ai_canonname)
            ));
            entry = e.ai_next;
        }
        freeaddrinfo(found);
        lines.sort();
        println!("{what}: {lines:?}");
    }
}

fn hints(family: c_int, kind: c_int, flags: c_int) -> addrinfo {
    let mut hints: addrinfo = unsafe { zeroed() };
    (hints.ai_family, hints.ai_socktype, hints.ai_flags) = (family, kind, flags);
    hints
}

unsafe fn entry(what: &str, entry: *const hostent) {
    unsafe {
        if entry.is_null() {
            println!("{what}: {}", text(hstrerror(*__h_errno_location())));
            return;
        }
        let e = &*entry;
        let list = |mut at: *mut *mut c_char, one: &dyn Fn(*const c_char) -> String| {
            let mut all = Vec::new();
            while !at.is_null() && !(*at).is_null() {
                all.push(one(*at));
                at = at.add(1);
            }
            all
        };
        let bytes =
            |at: *const c_char| format!("{:?}", std::slice::from_raw_parts(at.cast::<u8>(), e.h_length as usize));
        let mut addresses = list(e.h_addr_list, &bytes);
        addresses.sort();
        println!("{what}: {} {:?} {} {addresses:?}", text(e.h_name), list(e.h_aliases, &|at| text(at)), e.h_addrtype);
    }
}

fn lookup(_: &str) {
    let server = Server::start();
    unsafe {
        find("both families", c"host.test".as_ptr(), null(), &hints(AF_UNSPEC, SOCK_STREAM, 0));
        find("IPv4", c"host.test".as_ptr(), c"80".as_ptr(), &hints(AF_INET, SOCK_STREAM, 0));
        find("IPv6", c"host.test".as_ptr(), c"80".as_ptr(), &hints(AF_INET6, SOCK_STREAM, 0));
        find("datagrams", c"host.test".as_ptr(), c"53".as_ptr(), &hints(AF_INET, SOCK_DGRAM, 0));
        find("all types", c"host.test".as_ptr(), c"80".as_ptr(), &hints(AF_INET, 0, 0));
        find("several", c"several.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
        find("with a dot", c"host.test.".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
        find("upper case", c"HOST.Test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
    }
    println!("asked: {:?}", server.stop());
}

fn alias(_: &str) {
    let server = Server::start();
    unsafe {
        find("alias", c"alias.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, AI_CANONNAME));
        find("alias, both", c"alias.test".as_ptr(), null(), &hints(AF_UNSPEC, SOCK_STREAM, AI_CANONNAME));
        entry("gethostbyname", gethostbyname(c"alias.test".as_ptr()));
    }
    server.stop();
}

fn reverse(_: &str) {
    let server = Server::start();
    unsafe {
        let (mut host, mut port) = ([0 as c_char; 100], [0 as c_char; 20]);
        let mut name = |what: &str, addr: *const sockaddr, len: socklen_t, flags: c_int| {
            let status = getnameinfo(addr, len, host.as_mut_ptr(), 100, port.as_mut_ptr(), 20, flags);
            match status {
                0 => println!("{what}: {} {}", text(host.as_ptr()), text(port.as_ptr())),
                _ => println!("{what}: {}", text(gai_strerror(status))),
            }
        };
        name("IPv4", ptr(&at([10, 1, 2, 3], 80)), LEN, NI_NUMERICSERV);
        let six = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        name("IPv6", ptr(&at6(six, 443)), LEN6, NI_NUMERICSERV);
        name("none", ptr(&at([10, 9, 9, 9], 80)), LEN, NI_NUMERICSERV);
        name("none, asked for", ptr(&at([10, 9, 9, 9], 80)), LEN, NI_NAMEREQD);
        name("numbers", ptr(&at([10, 1, 2, 3], 80)), LEN, NI_NUMERICHOST | NI_NUMERICSERV);
        name("short", ptr(&at([10, 1, 2, 3], 80)), 4, 0);
        let addr = [10u8, 1, 2, 3];
        entry("gethostbyaddr", gethostbyaddr(addr.as_ptr().cast(), 4, AF_INET));
        entry("of IPv6", gethostbyaddr(six.as_ptr().cast(), 16, AF_INET6));
        let addr = [10u8, 9, 9, 9];
        entry("of none", gethostbyaddr(addr.as_ptr().cast(), 4, AF_INET));
    }
    server.stop();
}

fn old_calls(_: &str) {
    let server = Server::start();
    unsafe {
        entry("gethostbyname", gethostbyname(c"host.test".as_ptr()));
        entry("several", gethostbyname(c"several.test".as_ptr()));
        entry("gethostbyname2", gethostbyname2(c"host.test".as_ptr(), AF_INET6));
        entry("none", gethostbyname(c"none.test".as_ptr()));
        entry("a number", gethostbyname(c"127.0.0.1".as_ptr()));
        let (mut one, mut result, mut error): (hostent, *mut hostent, c_int) = (zeroed(), null_mut(), 0);
        let mut buf = [0 as c_char; 2000];
        let status = gethostbyname_r(c"host.test".as_ptr(), &mut one, buf.as_mut_ptr(), 2000, &mut result, &mut error);
        println!("status {status}");
        entry("gethostbyname_r", result);
        let status = gethostbyname_r(c"host.test".as_ptr(), &mut one, buf.as_mut_ptr(), 20, &mut result, &mut error);
        println!("too little room: {status} {}", result.is_null());
    }
    server.stop();
}

fn query(_: &str) {
    let server = Server::start();
    unsafe {
        let mut answer = [0u8; 4096];
        for (what, name, kind) in [
            ("A", c"host.test", 1),
            ("AAAA", c"host.test", 28),
            ("MX", c"host.test", 15),
            ("TXT", c"host.test", 16),
            ("none", c"none.test", 1),
        ] {
            let n = res_query(name.as_ptr(), 1, kind, answer.as_mut_ptr(), 4096);
            match n {
                0.. => println!("{what}: {}", message_of(&answer[..n as usize])),
                _ => println!("{what}: {}", text(hstrerror(*__h_errno_location()))),
            }
        }
        println!("little room: {}", res_query(c"several.test".as_ptr(), 1, 1, answer.as_mut_ptr(), 20) > 20);
    }
    println!("asked: {:?}", server.stop());
}

fn search(_: &str) {
    let server = Server::start();
    unsafe {
        server.search(c"test");
        let mut answer = [0u8; 4096];
        let n = res_search(c"host".as_ptr(), 1, 1, answer.as_mut_ptr(), 4096);
        println!("{}", message_of(&answer[..n.max(0) as usize]));
        find("getaddrinfo", c"host".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, AI_CANONNAME));
        entry("gethostbyname", gethostbyname(c"host".as_ptr()));
    }
    println!("asked: {:?}", server.stop());
}

fn truncated(_: &str) {
    let server = Server::start();
    unsafe {
        let mut found = null_mut();
        let status = getaddrinfo(c"big.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0), &mut found);
        let mut count = 0;
        let mut at = found;
        while !at.is_null() {
            (count, at) = (count + 1, (*at).ai_next);
        }
        println!("{status}: {count} addresses");
        let mut answer = vec![0u8; 65536];
        show("res_query", res_query(c"big.test".as_ptr(), 1, 1, answer.as_mut_ptr(), 65536));
    }
    println!("asked: {:?}", server.stop());
}

fn retried(_: &str) {
    let server = Server::start();
    unsafe {
        server.patience(1, 3);
        let start = std::time::Instant::now();
        find("after a second try", c"slow.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
        println!("waited {}", start.elapsed().as_millis() >= 900);
    }
    println!("asked: {:?}", server.stop());
}

fn failures(_: &str) {
    let server = Server::start();
    unsafe {
        server.patience(1, 1);
        let plain = hints(AF_INET, SOCK_STREAM, 0);
        find("no such name", c"none.test".as_ptr(), null(), &plain);
        find("no data", c"empty.test".as_ptr(), null(), &plain);
        find("the server fails", c"broken.test".as_ptr(), null(), &plain);
        find("the server refuses", c"refused.test".as_ptr(), null(), &plain);
        find("no name", null(), null(), &plain);
        find("bad family", c"host.test".as_ptr(), null(), &hints(77, 0, 0));
        find("bad type", c"host.test".as_ptr(), null(), &hints(AF_INET, 77, 0));
        find("bad flags", c"host.test".as_ptr(), null(), &hints(AF_INET, 0, 1 << 20));
        find("unknown service", c"host.test".as_ptr(), c"no-such-service".as_ptr(), &plain);
        find("a number is wanted", c"host.test".as_ptr(), null(), &hints(AF_INET, 0, AI_NUMERICHOST));
        let long = CString::new("x".repeat(70) + ".test").unwrap();
        find("a label too long", long.as_ptr(), null(), &plain);
        entry("no data", gethostbyname(c"empty.test".as_ptr()));
        entry("the server fails", gethostbyname(c"broken.test".as_ptr()));
    }
    server.stop();
}

fn no_server(_: &str) {
    let server = Server::start();
    unsafe {
        server.patience(1, 1);
        server.nobody();
        find("nobody answers", c"host.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
        entry("gethostbyname", gethostbyname(c"host.test".as_ptr()));
    }
    println!("asked: {:?}", server.stop());
}

fn numeric(_: &str) {
    unsafe {
        for name in [c"127.0.0.1", c"::1", c"10.1", c"0x7f000001", c"1.2.3.4.5", c"::ffff:1.2.3.4", c"fe80::1", c"::g"]
        {
            find(&format!("{name:?}"), name.as_ptr(), c"7".as_ptr(), &hints(AF_UNSPEC, SOCK_STREAM, AI_NUMERICHOST));
        }
        find("passive", null(), c"80".as_ptr(), &hints(AF_INET, SOCK_STREAM, AI_PASSIVE));
        find("not passive", null(), c"80".as_ptr(), &hints(AF_INET, SOCK_STREAM, 0));
        find("passive, IPv6", null(), c"80".as_ptr(), &hints(AF_INET6, SOCK_STREAM, AI_PASSIVE));
        find("port 70000", c"127.0.0.1".as_ptr(), c"70000".as_ptr(), &hints(AF_INET, SOCK_STREAM, 0));
    }
}

fn flags(_: &str) {
    let server = Server::start();
    unsafe {
        let name = c"host.test".as_ptr();
        find("mapped", c"four.test".as_ptr(), null(), &hints(AF_INET6, SOCK_STREAM, AI_V4MAPPED));
        find("mapped, all", name, null(), &hints(AF_INET6, SOCK_STREAM, AI_V4MAPPED | AI_ALL));
        find("canonical", name, null(), &hints(AF_INET, SOCK_STREAM, AI_CANONNAME));
        // Of both families: where there is but a loopback, which counts for nothing, neither is left out.
        find("configured", name, null(), &hints(AF_UNSPEC, SOCK_STREAM, AI_ADDRCONFIG));
        find("numeric service", name, c"http".as_ptr(), &hints(AF_INET, SOCK_STREAM, AI_NUMERICSERV));
        find("named service", name, c"http".as_ptr(), &hints(AF_INET, SOCK_STREAM, 0));
    }
    server.stop();
}

fn files(_: &str) {
    unsafe {
        find("localhost", c"localhost".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
        entry("gethostbyname", gethostbyname(c"localhost".as_ptr()));
        let addr = [127u8, 0, 0, 1];
        entry("gethostbyaddr", gethostbyaddr(addr.as_ptr().cast(), 4, AF_INET));
    }
}

fn services(_: &str) {
    unsafe {
        let service = |what: &str, entry: *const servent| match entry.is_null() {
            true => println!("{what}: none"),
            false => println!(
                "{what}: {} {} {}",
                text((*entry).s_name),
                u16::from_be((*entry).s_port as u16),
                text((*entry).s_proto)
            ),
        };
        service("ssh", getservbyname(c"ssh".as_ptr(), c"tcp".as_ptr()));
        service("domain", getservbyname(c"domain".as_ptr(), c"udp".as_ptr()));
        service("any protocol", getservbyname(c"http".as_ptr(), null()));
        service("port 25", getservbyport(c_int::from(25u16.to_be()), c"tcp".as_ptr()));
        service("unknown", getservbyname(c"no-such-service".as_ptr(), null()));
        let protocol = |what: &str, entry: *const protoent| match entry.is_null() {
            true => println!("{what}: none"),
            false => println!("{what}: {} {}", text((*entry).p_name), (*entry).p_proto),
        };
        protocol("tcp", getprotobyname(c"tcp".as_ptr()));
        protocol("17", getprotobynumber(17));
        protocol("unknown", getprotobyname(c"no-such".as_ptr()));
    }
}

fn threads(_: &str) {
    let server = Server::start();
    let port = server.port();
    let all: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(move || unsafe {
                super::resolver::ask_at(port);
                let mut right = 0;
                for _ in 0..20 {
                    let mut found = null_mut();
                    if getaddrinfo(c"host.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0), &mut found) == 0 {
                        let addr = (*found).ai_addr.cast::<sockaddr_in>();
                        right += i32::from((*addr).sin_addr.s_addr.to_ne_bytes() == [10, 1, 2, 3]);
                        freeaddrinfo(found);
                    }
                }
                right
            })
        })
        .collect();
    println!("{}", all.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>());
    println!("asked: {:?}", server.stop());
}

fn children(_: &str) {
    let server = Server::start();
    unsafe {
        let child = fork();
        if child == 0 {
            find("in a child", c"host.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
            let _ = std::io::stdout().flush();
            _exit(0);
        }
        waitpid(child, null_mut(), 0);
        find("in the parent", c"host.test".as_ptr(), null(), &hints(AF_INET, SOCK_STREAM, 0));
    }
    println!("asked: {:?}", server.stop());
}

fn host_name(_: &str) {
    unsafe {
        // The program's host is the host: so are its names.
        let (mut name, mut about): ([c_char; 100], utsname) = ([0; 100], zeroed());
        show("gethostname", gethostname(name.as_mut_ptr(), 100));
        show("uname", uname(&mut about));
        println!("{} {}", text(name.as_ptr()) == text(about.nodename.as_ptr()), text(about.sysname.as_ptr()));
        show("too short", gethostname(name.as_mut_ptr(), 1));
        show("getdomainname", getdomainname(name.as_mut_ptr(), 100));
    }
}
