//! File calls through the dispatcher, as a client makes them: two processes on one kernel.

use std::sync::{Arc, Mutex};
use std::thread;

use abi::fcntl::{
    AT_REMOVEDIR, F_GETLK, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK, Flock, LOCK_EX, LOCK_NB, O_CREAT, O_NONBLOCK,
    O_RDONLY, O_RDWR, O_WRONLY,
};
use abi::ioctl::JGETDENTS;
use abi::stat::{Dirents, Stat};
use abi::syscalls::nr;
use abi::{Errno, Result};
use kernel::Kernel;
use kernel::config::Config;
use kernel::proc::{Lwp, Proc, lock};
use kernel::rumpuser::sim::SimHost;
use kernel::usermem::UserMem;
use zerocopy::{FromBytes, IntoBytes};

/// A process whose memory begins at [`BASE`].
struct Client {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    memory: Mutex<Vec<u8>>,
}

const BASE: u64 = 0x10000;
/// Where a second path goes.
const OTHER: usize = 2048;
/// Where data goes.
const DATA: usize = 4096;
const CWD: u64 = -100i32 as u32 as u64;

impl UserMem for Client {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        buf.copy_from_slice(lock(&self.memory).get(at..at + buf.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }
    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        let memory = lock(&self.memory);
        let text = memory[at..].iter().take(max).take_while(|byte| **byte != 0);
        Ok(text.copied().collect())
    }
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        lock(&self.memory).get_mut(at..at + data.len()).ok_or(Errno::EFAULT)?.copy_from_slice(data);
        Ok(())
    }
    fn raise(&self, _signal: i32) {}
}

impl Client {
    fn boot() -> Self {
        let config = Config { threads: false, ..Config::default() };
        Self::on(&Kernel::boot(SimHost::new(1), config).unwrap())
    }

    fn on(kernel: &Arc<Kernel>) -> Self {
        let proc = kernel.spawn(b"test").unwrap();
        Self { kernel: kernel.clone(), proc, memory: Mutex::new(vec![0; 1 << 16]) }
    }

    fn call(&self, nr: u32, args: &[u64]) -> Result<i64> {
        let lwp = Lwp::new(&*self.kernel.rumpuser, 0);
        kernel::syscall::syscall(&self.kernel, &self.proc, &lwp, nr, args, self).map(|ret| ret[0])
    }

    fn at(&self, at: usize, bytes: &[u8]) -> u64 {
        lock(&self.memory)[at..at + bytes.len()].copy_from_slice(bytes);
        BASE + at as u64
    }

    fn peek(&self, at: usize, len: usize) -> Vec<u8> {
        lock(&self.memory)[at..at + len].to_vec()
    }

    fn path(&self, path: &str) -> u64 {
        self.at(0, format!("{path}\0").as_bytes())
    }

    fn open(&self, path: &str, flags: i32) -> Result<u64> {
        self.call(nr::open, &[self.path(path), flags as u64, 0o666]).map(|fd| fd as u64)
    }

    fn record(&self, fd: u64, cmd: i32, kind: i32, start: i64, len: i64) -> Result<Flock> {
        let flock = Flock { l_start: start, l_len: len, l_pid: 0, l_type: kind as i16, l_whence: 0 };
        let addr = self.at(DATA, flock.as_bytes());
        self.call(nr::fcntl, &[fd, cmd as u64, addr])?;
        Ok(Flock::read_from_bytes(&self.peek(DATA, size_of::<Flock>())).unwrap())
    }
}

#[test]
fn a_file_lives_its_life() {
    let client = Client::boot();
    assert_eq!(client.call(nr::mkdir, &[client.path("/home/u"), 0o777]), Ok(0));
    assert_eq!(client.call(nr::chdir, &[client.path("/home/u")]), Ok(0));
    assert_eq!(client.call(nr::getcwd, &[BASE + DATA as u64, 64]), Ok(8));
    assert_eq!(client.peek(DATA, 8), b"/home/u\0");
    let fd = client.open("f", O_RDWR | O_CREAT).unwrap();
    assert_eq!(fd, 3);
    let data = client.at(DATA, b"hello");
    assert_eq!(client.call(nr::write, &[fd, data, 5]), Ok(5));
    assert_eq!(client.call(nr::pwrite, &[fd, data, 5, 0, 100_000]), Ok(5));
    assert_eq!(client.call(nr::lseek, &[fd, 0, 0, 2]), Ok(100_005));
    assert_eq!(client.call(nr::pread, &[fd, data, 60_000, 0, 99_999]), Ok(6));
    assert_eq!(client.peek(DATA, 6), b"\0hello");
    assert_eq!(client.call(nr::fstat, &[fd, data]), Ok(0));
    let stat = Stat::read_from_bytes(&client.peek(DATA, size_of::<Stat>())).unwrap();
    assert_eq!((stat.st_size, stat.st_mode, stat.st_nlink), (100_005, 0o100644, 1));
    assert!(stat.st_blocks < 100_005 / 512);
    let old = client.path("f");
    let new = client.at(OTHER, b"g\0");
    assert_eq!(client.call(nr::rename, &[old, new]), Ok(0));
    assert_eq!(client.call(nr::unlinkat, &[CWD, client.path("g"), 0]), Ok(0));
    assert_eq!(client.call(nr::unlinkat, &[CWD, client.path("/home/u"), AT_REMOVEDIR as u64]), Ok(0));
    assert_eq!(client.call(nr::getcwd, &[BASE + DATA as u64, 64]), Err(Errno::ENOENT));
    assert_eq!(client.call(nr::pread, &[fd, data, 5, 0, 0]), Ok(5));
}

#[test]
fn directories_are_read_in_both_layouts() {
    let client = Client::boot();
    let fd = client.open("/", O_RDONLY).unwrap();
    let buf = BASE + DATA as u64;
    let len = client.call(nr::getdents, &[fd, buf, 4096]).unwrap() as usize;
    let bytes = client.peek(DATA, len);
    let names: Vec<_> = Dirents::new(&bytes).map(|entry| String::from_utf8_lossy(entry.name).into_owned()).collect();
    assert_eq!(names, [".", "..", "dev", "etc", "home", "root", "tmp", "usr", "var"]);
    assert_eq!(client.call(nr::getdents, &[fd, buf, 4096]), Ok(0));
    assert_eq!(client.call(nr::lseek, &[fd, 0, 0, 0]), Ok(0));
    let request = client.at(0, [buf, 4096, 0].as_bytes());
    assert_eq!(client.call(nr::ioctl, &[fd, JGETDENTS, request]), Ok(0));
    assert_eq!(u64::from_le_bytes(client.peek(8, 8).try_into().unwrap()), 9 * 24);
    assert_eq!(&client.peek(DATA + 2 * 24 + 18, 5), b"\x04dev\0");
}

#[test]
fn record_locks_belong_to_processes() {
    let one = Client::boot();
    let two = Client::on(&one.kernel);
    let (fd, other) = (one.open("/tmp/f", O_RDWR | O_CREAT).unwrap(), two.open("/tmp/f", O_RDWR).unwrap());
    one.record(fd, F_SETLK, F_WRLCK, 10, 10).unwrap();
    assert_eq!(two.record(other, F_SETLK, F_RDLCK, 0, 0).map(drop), Err(Errno::EAGAIN));
    let found = two.record(other, F_GETLK, F_RDLCK, 0, 0).unwrap();
    assert_eq!((found.l_start, found.l_len, found.l_pid), (10, 10, one.proc.pid));
    two.record(other, F_SETLK, F_RDLCK, 20, 0).unwrap();
    let spare = one.open("/tmp/f", O_RDONLY).unwrap();
    one.call(nr::close, &[spare]).unwrap();
    let found = two.record(other, F_GETLK, F_WRLCK, 0, 0).unwrap();
    assert_eq!(i32::from(found.l_type), F_UNLCK);
}

#[test]
fn waiting_for_each_other_is_refused() {
    let one = Client::boot();
    let two = Client::on(&one.kernel);
    let (fd, other) = (one.open("/tmp/f", O_RDWR | O_CREAT).unwrap(), two.open("/tmp/f", O_RDWR).unwrap());
    one.record(fd, F_SETLK, F_WRLCK, 0, 1).unwrap();
    two.record(other, F_SETLK, F_WRLCK, 1, 1).unwrap();
    // Whoever comes second is refused, and makes way for the first.
    let wait = |client: &Client, fd, start| {
        let done = client.record(fd, F_SETLKW, F_WRLCK, start, 1).map(drop);
        if done.is_err() {
            client.record(fd, F_SETLK, F_UNLCK, 0, 0).unwrap();
        }
        done
    };
    thread::scope(|scope| {
        let waits = scope.spawn(|| wait(&one, fd, 1));
        let outcomes = [wait(&two, other, 0), waits.join().unwrap()];
        assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(Errno::EDEADLK)), "{outcomes:?}");
    });
}

#[test]
fn whole_file_locks_belong_to_open_files() {
    let client = Client::boot();
    let one = client.open("/tmp/f", O_RDWR | O_CREAT).unwrap();
    let two = client.open("/tmp/f", O_RDWR).unwrap();
    let how = (LOCK_EX | LOCK_NB) as u64;
    assert_eq!(client.call(nr::flock, &[one, how]), Ok(0));
    let copy = client.call(nr::dup, &[one]).unwrap() as u64;
    assert_eq!(client.call(nr::flock, &[two, how]), Err(Errno::EAGAIN));
    client.call(nr::close, &[one]).unwrap();
    assert_eq!(client.call(nr::flock, &[two, how]), Err(Errno::EAGAIN));
    client.call(nr::close, &[copy]).unwrap();
    assert_eq!(client.call(nr::flock, &[two, how]), Ok(0));
}

#[test]
fn opening_a_fifo_waits_for_the_other_end() {
    let one = Client::boot();
    let two = Client::on(&one.kernel);
    assert_eq!(one.call(nr::mkfifo, &[one.path("/tmp/p"), 0o666]), Ok(0));
    assert_eq!(one.open("/tmp/p", O_WRONLY | O_NONBLOCK), Err(Errno::ENXIO));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let fd = one.open("/tmp/p", O_RDONLY).unwrap();
            one.call(nr::read, &[fd, BASE + DATA as u64, 100])
        });
        let fd = two.open("/tmp/p", O_WRONLY).unwrap();
        let data = two.at(DATA, b"through");
        assert_eq!(two.call(nr::write, &[fd, data, 7]), Ok(7));
        assert_eq!(reader.join().unwrap(), Ok(7));
    });
}
