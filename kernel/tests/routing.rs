//! Routing sockets and `net.route` through the dispatcher: what BSD's route(8), netstat(1) and getifaddrs(3) ask of the kernel.

use std::sync::{Arc, Mutex};

use abi::ioctl::SIOCAIFADDR;
use abi::route::*;
use abi::socket::{
    AF_INET, AF_INET6, AF_ROUTE, MSG_DONTWAIT, SO_USELOOPBACK, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, Sockaddr,
};
use abi::syscalls::nr;
use abi::sysctl::CTL_NET;
use abi::{Errno, Result};
use kernel::Kernel;
use kernel::config::Config;
use kernel::proc::{Lwp, Proc, lock};
use kernel::rumpuser::sim::SimHost;
use kernel::usermem::UserMem;
use zerocopy::{FromBytes, IntoBytes};

/// Where the program's memory begins, and of how many bytes it is.
const BASE: u64 = 0x10000;
const SIZE: usize = 1 << 16;
/// Where results come.
const OUT: usize = 0x8000;

/// A process of a kernel.
struct Client {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    memory: Mutex<Vec<u8>>,
}

impl UserMem for Client {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        buf.copy_from_slice(lock(&self.memory).get(at..at + buf.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }
    fn copyinstr(&self, _addr: u64, _max: usize) -> Result<Vec<u8>> {
        Err(Errno::EFAULT)
    }
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        lock(&self.memory).get_mut(at..at + data.len()).ok_or(Errno::EFAULT)?.copy_from_slice(data);
        Ok(())
    }
    fn raise(&self, _signal: i32) {}
}

/// A message about a route: its header, and its addresses.
struct Told {
    header: RtMsghdr,
    addrs: Vec<Sockaddr>,
}

impl Client {
    fn boot() -> Self {
        let kernel = Kernel::boot(SimHost::new(1), Config { threads: false, ..Config::default() }).unwrap();
        let proc = kernel.spawn(b"route").unwrap();
        Self { kernel, proc, memory: Mutex::new(vec![0; SIZE]) }
    }

    fn call(&self, nr: u32, args: &[u64]) -> Result<i64> {
        let lwp = Lwp::new(&*self.kernel.rumpuser, 0);
        kernel::syscall::syscall(&self.kernel, &self.proc, &lwp, nr, args, self).map(|ret| ret[0])
    }

    fn put(&self, bytes: &[u8]) {
        lock(&self.memory)[..bytes.len()].copy_from_slice(bytes);
    }

    fn socket(&self, family: i32) -> u64 {
        self.call(nr::socket, &[AF_ROUTE as u64, SOCK_RAW as u64, family as u64]).unwrap() as u64
    }

    /// Writes a request as route(8) does.
    fn ask(&self, socket: u64, kind: u8, flags: i32, addrs: &[(i32, Vec<u8>)]) -> Result<()> {
        let mut body = Vec::new();
        for (_, addr) in addrs {
            let end = body.len() + rt_roundup(addr.len());
            body.extend_from_slice(addr);
            body.resize(end, 0);
        }
        let header = RtMsghdr {
            rtm_msglen: (size_of::<RtMsghdr>() + body.len()) as u16,
            rtm_version: RTM_VERSION,
            rtm_type: kind,
            rtm_flags: flags,
            rtm_addrs: addrs.iter().fold(0, |bits, (bit, _)| bits | bit),
            rtm_seq: 77,
            ..RtMsghdr::default()
        };
        let message = [header.as_bytes(), &body].concat();
        self.put(&message);
        self.call(nr::write, &[socket, BASE, message.len() as u64]).map(|len| assert_eq!(len, message.len() as i64))
    }

    fn receive(&self, socket: u64) -> Result<Vec<u8>> {
        let args = [socket, BASE + OUT as u64, 2048, MSG_DONTWAIT as u64, 0, 0];
        let len = self.call(nr::recvfrom, &args)?;
        Ok(lock(&self.memory)[OUT..OUT + len as usize].to_vec())
    }

    fn hear(&self, socket: u64) -> Told {
        Told::parse(&self.receive(socket).unwrap())
    }

    fn sysctl(&self, rest: [i32; 3]) -> Result<Vec<u8>> {
        let name = [CTL_NET, AF_ROUTE, 0, rest[0], rest[1], rest[2]];
        self.put(name.as_bytes());
        let room = 0x4000u64;
        lock(&self.memory)[64..72].copy_from_slice(&room.to_le_bytes());
        self.call(nr::sysctl, &[BASE, 6, BASE + OUT as u64, BASE + 64, 0, 0])?;
        let memory = lock(&self.memory);
        let len = u64::from_le_bytes(memory[64..72].try_into().unwrap()) as usize;
        Ok(memory[OUT..OUT + len].to_vec())
    }
}

impl Told {
    fn parse(bytes: &[u8]) -> Told {
        let (header, mut rest) = RtMsghdr::read_from_prefix(bytes).unwrap();
        assert_eq!((usize::from(header.rtm_msglen), header.rtm_version), (bytes.len(), RTM_VERSION));
        let mut addrs = Vec::new();
        for _ in 0..header.rtm_addrs.count_ones() {
            let len = usize::from(rest[0]);
            addrs.push(Sockaddr::parse(&rest[..len.max(2)]).unwrap());
            rest = &rest[rt_roundup(len)..];
        }
        assert!(rest.is_empty());
        Told { header, addrs }
    }
}

fn v4(addr: [u8; 4]) -> Vec<u8> {
    Sockaddr::Inet { addr, port: 0 }.encode().to_vec()
}

/// The messages of a list: their types, and their bytes.
fn messages(mut list: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while !list.is_empty() {
        let len = usize::from(u16::from_le_bytes([list[0], list[1]]));
        all.push((list[3], list[..len].to_vec()));
        list = &list[len..];
    }
    all
}

const ONE: [u8; 4] = [127, 0, 0, 1];

#[test]
fn routes_are_added_found_changed_and_deleted() {
    let client = Client::boot();
    let (socket, other, six) = (client.socket(0), client.socket(AF_INET), client.socket(AF_INET6));
    let to = || (RTA_DST, v4([10, 9, 0, 0]));
    let gateway = || (RTA_GATEWAY, v4(ONE));
    // As route(8) has it: a mask of seven bytes, whose family is not set.
    let mask = || (RTA_NETMASK, vec![7, 0, 0, 0, 255, 255, 0]);
    client.ask(socket, RTM_ADD, RTF_UP | RTF_GATEWAY | RTF_STATIC, &[to(), gateway(), mask()]).unwrap();
    for hears in [socket, other] {
        let told = client.hear(hears);
        assert_eq!((told.header.rtm_type, told.header.rtm_seq, told.header.rtm_errno), (RTM_ADD, 77, 0));
        assert_eq!((told.header.rtm_flags & RTF_DONE, told.header.rtm_pid), (RTF_DONE, client.proc.pid));
    }
    assert_eq!(client.receive(six), Err(Errno::EAGAIN), "of another family");
    assert_eq!(client.ask(socket, RTM_ADD, RTF_UP | RTF_GATEWAY, &[to(), gateway(), mask()]), Err(Errno::EEXIST));
    assert_eq!(client.hear(socket).header.rtm_errno, Errno::EEXIST.raw());

    let inside = (RTA_DST, v4([10, 9, 8, 7]));
    client.ask(socket, RTM_GET, 0, std::slice::from_ref(&inside)).unwrap();
    let told = client.hear(socket);
    assert_eq!(told.header.rtm_addrs, RTA_DST | RTA_GATEWAY | RTA_NETMASK);
    assert_eq!(told.addrs[0], Sockaddr::Inet { addr: [10, 9, 0, 0], port: 0 });
    assert_eq!(told.addrs[2], Sockaddr::Inet { addr: [255, 255, 0, 0], port: 0 });
    client.ask(socket, RTM_CHANGE, RTF_UP | RTF_REJECT, &[to(), gateway(), mask()]).unwrap();
    client.hear(socket);
    client.ask(socket, RTM_GET, 0, &[inside]).unwrap();
    assert_eq!(client.hear(socket).header.rtm_flags & (RTF_REJECT | RTF_GATEWAY), RTF_REJECT);

    let list = client.sysctl([AF_INET, NET_RT_DUMP, 0]).unwrap();
    let all: Vec<Told> = messages(&list).iter().map(|(_, bytes)| Told::parse(bytes)).collect();
    let found = |addr| all.iter().find(|told| told.addrs[0] == Sockaddr::Inet { addr, port: 0 }).unwrap();
    assert_eq!(found([10, 9, 0, 0]).header.rtm_flags & RTF_REJECT, RTF_REJECT);
    assert_eq!(found(ONE).header.rtm_flags & (RTF_LOCAL | RTF_HOST), RTF_LOCAL | RTF_HOST);
    client.ask(socket, RTM_DELETE, RTF_UP, &[to(), mask()]).unwrap();
    assert_eq!(client.ask(socket, RTM_DELETE, RTF_UP, &[to(), mask()]), Err(Errno::ESRCH));
    assert_eq!(client.ask(socket, RTM_GET, 0, &[to()]), Err(Errno::ESRCH));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let client = Client::boot();
    let socket = client.socket(0);
    let write = |bytes: &[u8]| {
        client.put(bytes);
        client.call(nr::write, &[socket, BASE, bytes.len() as u64]).map(drop)
    };
    assert_eq!(write(b"short"), Err(Errno::EINVAL));
    let header = RtMsghdr { rtm_msglen: 200, rtm_version: RTM_VERSION, rtm_type: RTM_GET, ..RtMsghdr::default() };
    assert_eq!(write(header.as_bytes()), Err(Errno::EINVAL), "a length that is not its own");
    let header = RtMsghdr { rtm_msglen: 120, ..header };
    assert_eq!(write(header.as_bytes()), Err(Errno::EINVAL), "no destination");
    assert_eq!(write(RtMsghdr { rtm_version: 3, ..header }.as_bytes()), Err(Errno::EPROTONOSUPPORT));
    assert_eq!(write(RtMsghdr { rtm_addrs: -1, ..header }.as_bytes()), Err(Errno::EINVAL));
    let to = || (RTA_DST, v4([10, 0, 0, 1]));
    assert_eq!(client.ask(socket, RTM_ADD, RTF_UP, &[to()]), Err(Errno::EINVAL), "no way");
    let beyond = (RTA_GATEWAY, v4([10, 7, 7, 7]));
    assert_eq!(client.ask(socket, RTM_ADD, RTF_UP | RTF_GATEWAY, &[to(), beyond]), Err(Errno::ENETUNREACH));
    assert_eq!(client.ask(socket, 99, 0, &[to()]), Err(Errno::EOPNOTSUPP));
    let holes = (RTA_NETMASK, v4([255, 0, 255, 0]));
    assert_eq!(client.ask(socket, RTM_ADD, RTF_UP, &[to(), (RTA_GATEWAY, v4(ONE)), holes]), Err(Errno::EINVAL));
    for list in [[0, 99, 0], [0, 0, 0]] {
        assert_eq!(client.sysctl(list), Err(Errno::EINVAL));
    }
    // Whatever the bytes are, nothing breaks.
    for seed in 0..2000u32 {
        let noise = |at: u32| (seed.wrapping_mul(2_654_435_761).wrapping_add(at.wrapping_mul(40_503)) >> 7) as u8;
        let mut bytes: Vec<u8> = (0..120 + seed % 90).map(noise).collect();
        let len = bytes.len() as u16;
        bytes[..4].copy_from_slice(&[len as u8, (len >> 8) as u8, RTM_VERSION, (seed % 5) as u8]);
        let _ = write(&bytes);
    }
}

#[test]
fn an_address_that_comes_is_told_and_listed() {
    let client = Client::boot();
    let (socket, deaf) = (client.socket(0), client.socket(0));
    client.put(&0i32.to_le_bytes());
    client.call(nr::setsockopt, &[deaf, SOL_SOCKET as u64, SO_USELOOPBACK as u64, BASE, 4]).unwrap();
    let control = client.call(nr::socket, &[AF_INET as u64, SOCK_DGRAM as u64, 0]).unwrap() as u64;
    let mut request = [0; 64];
    request[..3].copy_from_slice(b"lo0");
    request[16..32].copy_from_slice(&v4([10, 1, 2, 3]));
    request[48..64].copy_from_slice(&v4([255, 255, 255, 255]));
    client.put(&request);
    client.call(nr::ioctl, &[control, SIOCAIFADDR, BASE]).unwrap();
    for hears in [socket, deaf] {
        let told = client.receive(hears).unwrap();
        let (header, rest) = IfaMsghdr::read_from_prefix(&told).unwrap();
        assert_eq!((header.ifam_type, header.ifam_index), (RTM_NEWADDR, 1));
        assert!(rest.windows(4).any(|addr| addr == [10, 1, 2, 3]));
    }
    // Who does not want to hear itself does not.
    client.ask(deaf, RTM_GET, 0, &[(RTA_DST, v4([10, 1, 2, 3]))]).unwrap();
    assert_eq!(client.receive(deaf), Err(Errno::EAGAIN));
    let told = client.hear(socket);
    assert_eq!(told.header.rtm_flags & RTF_LOCAL, RTF_LOCAL);

    let list = messages(&client.sysctl([0, NET_RT_IFLIST, 0]).unwrap());
    let kinds: Vec<u8> = list.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [RTM_IFINFO, RTM_NEWADDR, RTM_NEWADDR, RTM_NEWADDR, RTM_NEWADDR]);
    let (about, rest) = IfMsghdr::read_from_prefix(&list[0].1).unwrap();
    assert_eq!((about.ifm_index, about.ifm_addrs, about.ifm_data.ifi_type), (1, RTA_IFP, 24));
    assert_eq!(&rest[8..11], b"lo0");
    let only = |family| messages(&client.sysctl([family, NET_RT_IFLIST, 1]).unwrap()).len();
    assert_eq!((only(AF_INET), only(AF_INET6)), (3, 3));
    assert_eq!(client.sysctl([0, NET_RT_IFLIST, 7]), Ok(Vec::new()));
}
