//! Calls that move little data ask for no memory, once what they use has been used before: in a kernel inside a program nothing else stands
//! between a call and its work.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use abi::fcntl::{O_CREAT, O_RDWR};
use abi::socket::{AF_INET, AF_LOCAL, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use abi::syscalls::nr;
use abi::{Errno, Result};
use kernel::Kernel;
use kernel::config::Config;
use kernel::proc::{Lwp, Proc};
use kernel::rumpuser::sim::SimHost;
use kernel::usermem::UserMem;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: passed on.
        unsafe { System.realloc(place, layout, len) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The caller's memory: one page, which begins at its own number.
struct Memory(std::sync::Mutex<[u8; 4096]>);

const BASE: u64 = 0x10000;

impl Memory {
    fn with<T>(&self, addr: u64, len: usize, work: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        let mut bytes = self.0.lock().unwrap();
        bytes.get_mut(at..at + len).map(work).ok_or(Errno::EFAULT)
    }
}

impl UserMem for Memory {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        self.with(addr, buf.len(), |bytes| buf.copy_from_slice(bytes))
    }
    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let len = max.min(4096 - (addr - BASE) as usize);
        self.with(addr, len, |bytes| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
    }
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        self.with(addr, data.len(), |bytes| bytes.copy_from_slice(data))
    }
    fn raise(&self, _signal: i32) {}
}

/// A program in whose process the kernel is.
struct Program {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    lwp: Arc<Lwp>,
    memory: Memory,
}

impl Program {
    fn boot() -> Self {
        let kernel = Kernel::boot(SimHost::new(1), Config { threads: false, ..Config::default() }).unwrap();
        let proc = kernel.spawn(b"test").unwrap();
        let lwp = Lwp::new(&*kernel.rumpuser, 0);
        Self { kernel, proc, lwp, memory: Memory([0; 4096].into()) }
    }

    fn call(&self, number: u32, args: &[u64]) -> u64 {
        let answer = kernel::syscall::syscall(&self.kernel, &self.proc, &self.lwp, number, args, &self.memory);
        answer.unwrap_or_else(|error| panic!("call {number}: {error:?}"))[0] as u64
    }

    fn put(&self, at: u64, bytes: &[u8]) -> u64 {
        self.memory.with(BASE + at, bytes.len(), |to| to.copy_from_slice(bytes)).unwrap();
        BASE + at
    }

    fn pair(&self, kind: i32) -> [u64; 2] {
        self.call(nr::socketpair, &[AF_LOCAL as u64, kind as u64, 0, BASE]);
        let number =
            |at| self.memory.with(BASE + at, 4, |bytes| u32::from_le_bytes(bytes.try_into().unwrap())).unwrap();
        [number(0), number(4)].map(u64::from)
    }

    /// Fails if `work` asks for memory when it is done for the hundredth time.
    fn asks_for_nothing(&self, what: &str, work: impl Fn()) {
        (0..99).for_each(|_| work());
        let before = ASKED.get();
        work();
        assert_eq!(ASKED.get() - before, 0, "{what}");
    }
}

/// Where data lies.
const DATA: u64 = BASE + 2048;
const LEN: u64 = 64;

#[test]
fn null_calls_and_files() {
    let program = Program::boot();
    let name = program.put(0, b"/tmp/file\0");
    let file = program.call(nr::open, &[name, (O_RDWR | O_CREAT) as u64, 0o644]);
    program.asks_for_nothing("lseek", || assert_eq!(program.call(nr::lseek, &[file, 0, 0, 0]), 0));
    program.asks_for_nothing("write, lseek, read", || {
        assert_eq!(program.call(nr::write, &[file, DATA, LEN]), LEN);
        program.call(nr::lseek, &[file, 0, 0, 0]);
        assert_eq!(program.call(nr::read, &[file, DATA, LEN]), LEN);
        program.call(nr::lseek, &[file, 0, 0, 0]);
    });
    program.asks_for_nothing("pwrite, pread", || {
        assert_eq!(program.call(nr::pwrite, &[file, DATA, LEN, 0, 8]), LEN);
        assert_eq!(program.call(nr::pread, &[file, DATA, LEN, 0, 8]), LEN);
    });
    let socket = program.call(nr::socket, &[AF_INET as u64, SOCK_DGRAM as u64, 0]);
    program.asks_for_nothing("getsockname", || {
        let len = program.put(1024, &128u32.to_le_bytes());
        program.call(nr::getsockname, &[socket, BASE, len]);
    });
}

/// What goes in at one end comes out at the other, several times in turns and several times in a row.
fn moves(program: &Program, what: &str, [from, to]: [u64; 2]) {
    let (send, receive) = (
        |fd| assert_eq!(program.call(nr::sendto, &[fd, DATA, LEN, 0, 0, 0]), LEN),
        |fd| assert_eq!(program.call(nr::recvfrom, &[fd, DATA, LEN, 0, 0, 0]), LEN),
    );
    program.asks_for_nothing(&format!("{what}, send and recv"), || {
        send(from);
        receive(to);
        send(to);
        receive(from);
    });
    program.asks_for_nothing(&format!("{what}, several in a row"), || {
        (0..4).for_each(|_| send(from));
        (0..4).for_each(|_| receive(to));
    });
    program.asks_for_nothing(&format!("{what}, write and read"), || {
        assert_eq!(program.call(nr::write, &[from, DATA, LEN]), LEN);
        assert_eq!(program.call(nr::read, &[to, DATA, LEN]), LEN);
    });
}

#[test]
fn pipes() {
    let program = Program::boot();
    program.call(nr::pipe2, &[BASE, 0]);
    program.asks_for_nothing("a pipe", || {
        assert_eq!(program.call(nr::write, &[4, DATA, LEN]), LEN);
        assert_eq!(program.call(nr::read, &[3, DATA, LEN]), LEN);
    });
}

#[test]
fn local_sockets() {
    let program = Program::boot();
    for (what, kind) in [("stream", SOCK_STREAM), ("datagram", SOCK_DGRAM), ("seqpacket", SOCK_SEQPACKET)] {
        moves(&program, what, program.pair(kind));
    }
}

/// 127.0.0.1 and a port, as NetBSD has it.
fn loopback(port: u16) -> [u8; 16] {
    let mut address = [0; 16];
    let [high, low] = port.to_be_bytes();
    address[..8].copy_from_slice(&[16, 2, high, low, 127, 0, 0, 1]);
    address
}

#[test]
fn udp() {
    let program = Program::boot();
    let ends = [5001, 5002].map(|port| {
        let socket = program.call(nr::socket, &[AF_INET as u64, SOCK_DGRAM as u64, 0]);
        program.call(nr::bind, &[socket, program.put(0, &loopback(port)), 16]);
        socket
    });
    let [one, other] = ends;
    program.asks_for_nothing("sendto and recvfrom with addresses", || {
        let to = program.put(0, &loopback(5002));
        assert_eq!(program.call(nr::sendto, &[one, DATA, LEN, 0, to, 16]), LEN);
        let room = program.put(1024, &128u32.to_le_bytes());
        assert_eq!(program.call(nr::recvfrom, &[other, DATA, LEN, 0, BASE, room]), LEN);
    });
    for (socket, port) in [(one, 5002), (other, 5001)] {
        program.call(nr::connect, &[socket, program.put(0, &loopback(port)), 16]);
    }
    moves(&program, "udp", ends);
}

#[test]
fn tcp() {
    let program = Program::boot();
    let stream = || program.call(nr::socket, &[AF_INET as u64, SOCK_STREAM as u64, 0]);
    let (listener, one) = (stream(), stream());
    let address = program.put(0, &loopback(5003));
    program.call(nr::bind, &[listener, address, 16]);
    program.call(nr::listen, &[listener, 1]);
    program.call(nr::connect, &[one, address, 16]);
    let other = program.call(nr::accept, &[listener, 0, 0]);
    moves(&program, "tcp", [one, other]);
}
