//! What the network commands of `rumpctl` ask of a kernel: ioctl(2) as in BSD, and messages of rtnetlink(7), which our kernel has too.

use std::net::IpAddr;

use abi::ioctl::*;
use abi::netlink::*;
use abi::slot::Direction;
use abi::socket::{AF_INET, AF_NETLINK, MSG_DONTWAIT, SOCK_DGRAM, SOCK_RAW, Sockaddr};
use abi::{Errno, Fd, In, InOut, Out, Region, Result};
use client::{Caller, stubs};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Length of `struct ifreq`, and where its union begins.
const IFREQ: usize = 144;
const UNION: usize = 16;

/// A socket that is there for ioctl(2).
pub struct Control<'a> {
    kernel: &'a dyn Caller,
    socket: Fd,
}

impl Drop for Control<'_> {
    fn drop(&mut self) {
        let _ = stubs::close(self.kernel, self.socket);
    }
}

/// A region of memory that a structure points to.
fn region(bytes: &mut [u8], direction: Direction) -> Region {
    Region { addr: bytes.as_mut_ptr() as u64, len: bytes.len(), direction, own: true }
}

impl<'a> Control<'a> {
    /// Makes the socket.
    pub fn open(kernel: &'a dyn Caller) -> Result<Self> {
        Ok(Self { kernel, socket: stubs::socket(kernel, AF_INET, SOCK_DGRAM, 0)? })
    }

    fn ioctl(&self, command: u64, data: &mut [u8]) -> Result<()> {
        stubs::ioctl(self.kernel, self.socket, command, InOut::new(data))
    }

    /// Makes a request about an interface: `payload` behind its name, in a structure of `len` bytes. Returns the structure.
    pub fn request(&self, command: u64, name: &str, payload: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut data = vec![0; len];
        let name = name.as_bytes();
        if name.len() >= IFNAMSIZ {
            return Err(Errno::EINVAL);
        }
        data[..name.len()].copy_from_slice(name);
        data[UNION..UNION + payload.len()].copy_from_slice(payload);
        self.ioctl(command, &mut data)?;
        Ok(data)
    }

    /// Makes a request with a plain `struct ifreq`.
    pub fn ifreq(&self, command: u64, name: &str, payload: &[u8]) -> Result<Vec<u8>> {
        self.request(command, name, payload, IFREQ)
    }

    /// Gives a driver a text.
    pub fn give(&self, command: u64, name: &str, number: u64, text: &str) -> Result<()> {
        let mut text = [text.as_bytes(), &[0]].concat();
        let extra = [region(&mut text, Direction::In)];
        let payload = [number, text.len() as u64, text.as_ptr() as u64].map(u64::to_ne_bytes).concat();
        let mut data = vec![0; UNION];
        let length = name.len().min(IFNAMSIZ - 1);
        data[..length].copy_from_slice(&name.as_bytes()[..length]);
        data.extend_from_slice(&payload);
        stubs::with::ioctl(self.kernel, self.socket, command, InOut::new(&mut data[..]), &extra)
    }

    /// Takes a text from a driver.
    pub fn take(&self, command: u64, name: &str) -> Result<String> {
        let mut text = vec![0; 4096];
        let extra = [region(&mut text, Direction::Out)];
        let payload = [0, text.len() as u64, text.as_ptr() as u64].map(u64::to_ne_bytes).concat();
        let mut data = vec![0; UNION];
        let length = name.len().min(IFNAMSIZ - 1);
        data[..length].copy_from_slice(&name.as_bytes()[..length]);
        data.extend_from_slice(&payload);
        stubs::with::ioctl(self.kernel, self.socket, command, InOut::new(&mut data[..]), &extra)?;
        Ok(c_string(&text))
    }

    /// Lists what kinds of interfaces can be created.
    pub fn cloners(&self) -> Result<Vec<String>> {
        let mut names = vec![0; IFNAMSIZ * 64];
        let extra = [region(&mut names, Direction::Out)];
        let mut data = [0u8; 16];
        data[4..8].copy_from_slice(&64i32.to_ne_bytes());
        data[8..].copy_from_slice(&(names.as_ptr() as u64).to_ne_bytes());
        stubs::with::ioctl(self.kernel, self.socket, SIOCIFGCLONERS, InOut::new(&mut data), &extra)?;
        let count = u32::from_ne_bytes([data[4], data[5], data[6], data[7]]) as usize;
        Ok(names.chunks_exact(IFNAMSIZ).take(count).map(c_string).collect())
    }
}

fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An address of an interface.
pub struct Address {
    /// The address.
    pub addr: IpAddr,
    /// Length of its prefix.
    pub prefix: u32,
    /// The broadcast address, if there is one.
    pub broadcast: Option<IpAddr>,
    /// What is particular about it, in words.
    pub flags: Vec<&'static str>,
    /// The interface that it means something on, if only there.
    pub scope: Option<u32>,
}

/// An interface and its addresses.
pub struct Interface {
    /// Name, as `lo0`.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// `IFF_*`.
    pub flags: u32,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Hardware address, in hexadecimal.
    pub mac: Option<String>,
    /// What it is connected to.
    pub link_string: Option<String>,
    /// Wrappers around its device.
    pub wrappers: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Packets received and sent, bytes received and sent, and those that were lost.
    pub counters: [u64; 6],
}

/// Lists the interfaces (SIOCGIFCONF and its kin).
pub fn interfaces(kernel: &dyn Caller) -> Result<Vec<Interface>> {
    let control = Control::open(kernel)?;
    let mut buffer = vec![0u8; IFREQ * 1024];
    let mut ifconf = [0u8; 16];
    ifconf[..4].copy_from_slice(&(buffer.len() as u32).to_ne_bytes());
    ifconf[8..].copy_from_slice(&(buffer.as_mut_ptr() as u64).to_ne_bytes());
    let extra = [region(&mut buffer, Direction::Out)];
    stubs::with::ioctl(kernel, control.socket, SIOCGIFCONF, InOut::new(&mut ifconf), &extra)?;
    let used = u32::from_ne_bytes([ifconf[0], ifconf[1], ifconf[2], ifconf[3]]) as usize;
    let mut interfaces: Vec<Interface> = Vec::new();
    for request in buffer[..used.min(buffer.len())].chunks_exact(IFREQ) {
        let name = c_string(&request[..IFNAMSIZ]);
        if interfaces.last().is_none_or(|last| last.name != name) {
            // One that was destroyed meanwhile is not there.
            let Ok(interface) = interface(&control, &name, &request[UNION..]) else { continue };
            interfaces.push(interface);
        }
        let address = address(&control, &name, &request[UNION..]);
        if let (Some(last), Some(address)) = (interfaces.last_mut(), address) {
            last.addresses.push(address);
        }
    }
    Ok(interfaces)
}

fn word(data: &[u8], at: usize) -> u32 {
    data.get(at..).and_then(|data| data.first_chunk()).map_or(0, |word| u32::from_ne_bytes(*word))
}

fn quad(data: &[u8], at: usize) -> u64 {
    data.get(at..).and_then(|data| data.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word))
}

fn interface(control: &Control<'_>, name: &str, link: &[u8]) -> Result<Interface> {
    let flags = word(&control.ifreq(SIOCGIFFLAGS, name, &[])?, UNION) & 0xffff;
    let mtu = word(&control.ifreq(SIOCGIFMTU, name, &[])?, UNION);
    let index = word(&control.ifreq(SIOCGIFINDEX, name, &[])?, UNION);
    let data = control.request(SIOCGIFDATA, name, &[], 152)?;
    let counters = [32, 48, 72, 80, 104, 56].map(|at| quad(&data, UNION + at));
    // struct sockaddr_dl: the lengths of name and address, and both.
    let (before, length) = (8 + usize::from(link[5]), usize::from(link[6]));
    let mac = link.get(before..before + length).filter(|mac| mac.len() == 6);
    let mac = mac.map(|mac| mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
    let link_string = control.take(SIOCGLINKSTR, name).ok();
    let wrappers = control.take(SIOCGDRVSPEC, name).unwrap_or_default();
    let wrappers = wrappers.lines().map(str::to_owned).collect();
    Ok(Interface { name: name.into(), index, flags, mtu, mac, link_string, wrappers, addresses: Vec::new(), counters })
}

fn address(control: &Control<'_>, name: &str, bytes: &[u8]) -> Option<Address> {
    match Sockaddr::parse(&bytes[..usize::from(bytes[0]).clamp(2, 128)]).ok()? {
        Sockaddr::Inet { addr, .. } => {
            let alias = control.request(SIOCGIFALIAS, name, &bytes[..16], 64).ok()?;
            let prefix = alias[52..56].iter().map(|byte| byte.count_ones()).sum();
            let broadcast: [u8; 4] = *alias[36..].first_chunk()?;
            let broadcast = Some(broadcast).filter(|addr| *addr != [0; 4]).map(IpAddr::from);
            Some(Address { addr: addr.into(), prefix, broadcast, flags: Vec::new(), scope: None })
        }
        Sockaddr::Inet6 { addr, scope_id, .. } => {
            const FLAGS: [(u32, &str); 3] = [(2, "tentative"), (4, "duplicated"), (0x40, "autoconf")];
            let ask = |command| control.request(command, name, &bytes[..28], 288);
            let mask = ask(SIOCGIFNETMASK_IN6).map(|mask| mask[24..40].iter().map(|byte| byte.count_ones()).sum());
            let bits = ask(SIOCGIFAFLAG_IN6).map_or(0, |data| word(&data, UNION));
            let flags = FLAGS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect();
            let scope = Some(scope_id).filter(|scope| *scope != 0);
            Some(Address { addr: addr.into(), prefix: mask.unwrap_or(128), broadcast: None, flags, scope })
        }
        _ => None,
    }
}

/// A message that answers a request: its type and its body.
pub struct Message {
    /// `RTM_*`.
    pub kind: u16,
    /// What is behind the header.
    pub body: Vec<u8>,
}

impl Message {
    /// The structure that the body begins with.
    pub fn read<T: FromBytes + Default>(&self) -> T {
        T::read_from_prefix(&self.body).map(|(value, _)| value).unwrap_or_default()
    }

    /// The value of an attribute behind a structure `T`.
    pub fn attribute<T>(&self, wanted: u16) -> Option<&[u8]> {
        let mut rest = self.body.get(size_of::<T>().next_multiple_of(4)..)?;
        loop {
            let (head, _) = Rtattr::read_from_prefix(rest).ok()?;
            let length = usize::from(head.rta_len);
            let value = rest.get(size_of::<Rtattr>()..length)?;
            if head.rta_type & 0x3fff == wanted {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// Reads an address of 4 or 16 bytes.
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

/// The bytes of an address, and Linux's number of its family.
pub fn octets(addr: &IpAddr) -> (Vec<u8>, u8) {
    match addr {
        IpAddr::V4(addr) => (addr.octets().to_vec(), 2),
        IpAddr::V6(addr) => (addr.octets().to_vec(), 10),
    }
}

/// Makes a request of rtnetlink(7); its answers, or its error. `about` is the structure, `attributes` follow it.
pub fn ask(
    kernel: &dyn Caller,
    kind: u16,
    flags: u16,
    about: &(impl IntoBytes + Immutable),
    attributes: &[(u16, Vec<u8>)],
) -> Result<Vec<Message>> {
    let header = Nlmsghdr { nlmsg_type: kind, nlmsg_flags: NLM_F_REQUEST | NLM_F_ACK | flags, ..Nlmsghdr::default() };
    let mut request = [header.as_bytes(), about.as_bytes()].concat();
    for (kind, value) in attributes {
        request.resize(request.len().next_multiple_of(4), 0);
        let head = Rtattr { rta_len: (size_of::<Rtattr>() + value.len()) as u16, rta_type: *kind };
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(value);
    }
    request.resize(request.len().next_multiple_of(4), 0);
    let length = (request.len() as u32).to_ne_bytes();
    request[..4].copy_from_slice(&length);
    let socket = stubs::socket(kernel, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)?;
    let answers = exchange(kernel, socket, &request);
    stubs::close(kernel, socket)?;
    answers
}

/// Sends a request and reads all that answers it, which is there when the call returns.
fn exchange(kernel: &dyn Caller, socket: Fd, request: &[u8]) -> Result<Vec<Message>> {
    stubs::sendto(kernel, socket, In::new(request), request.len(), 0, In::NULL, 0)?;
    let mut messages = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        let out = Out::new(buffer.as_mut_slice());
        let len = match stubs::recvfrom(kernel, socket, out, 65536, MSG_DONTWAIT, Out::NULL, InOut::NULL) {
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Ok(messages),
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..len];
        while let Ok((header, _)) = Nlmsghdr::read_from_prefix(rest) {
            let length = header.nlmsg_len as usize;
            let Some(body) = rest.get(size_of::<Nlmsghdr>()..length) else { break };
            match header.nlmsg_type {
                NLMSG_ERROR => match word(body, 0) as i32 {
                    0 => {}
                    errno => return Err(Errno::from_linux(-errno)),
                },
                NLMSG_DONE => {}
                kind => messages.push(Message { kind, body: body.to_vec() }),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
