//! kqueue and kevent through the dispatcher: NetBSD's filters, and the one that epoll sets are made of.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use abi::event::*;
use abi::fcntl::{F_DUPFD, O_CREAT, O_RDWR};
use abi::poll::{POLLHUP, POLLIN, POLLOUT, POLLRDNORM};
use abi::stat::Stat;
use abi::syscalls::nr;
use abi::{Errno, Result};
use kernel::Kernel;
use kernel::config::Config;
use kernel::file::{Events, File, OpenFile};
use kernel::proc::{Lwp, Proc, lock};
use kernel::rumpuser::sim::SimHost;
use kernel::usermem::UserMem;
use kernel::wait::WaitQueue;
use zerocopy::{FromZeros, IntoBytes};

const BASE: u64 = 0x10000;
/// Where changes go.
const CHANGES: usize = 0;
/// Where events come.
const EVENTS: usize = 0x8000;
/// Where other data is.
const DATA: usize = 0xf000;
/// kevent's word for "do not wait".
const AT_ONCE: u64 = 1;

/// A process whose memory begins at [`BASE`].
struct Client {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    memory: Mutex<Vec<u8>>,
    extended: bool,
}

impl UserMem for Client {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        buf.copy_from_slice(lock(&self.memory).get(at..at + buf.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }
    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        Ok(lock(&self.memory)[at..].iter().take(max).take_while(|byte| **byte != 0).copied().collect())
    }
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        lock(&self.memory).get_mut(at..at + data.len()).ok_or(Errno::EFAULT)?.copy_from_slice(data);
        Ok(())
    }
    fn raise(&self, _signal: i32) {}
    fn extended(&self) -> bool {
        self.extended
    }
}

fn change(fd: i64, filter: u32, flags: u32) -> Kevent {
    Kevent { ident: fd as u64, filter, flags, data: fd, udata: 100 + fd as u64, ..Kevent::default() }
}

/// A change that watches the events of poll.
fn polled(fd: i64, events: Events, flags: u32) -> Kevent {
    Kevent { fflags: u32::from(events as u16), ..change(fd, EVFILT_POLL, flags) }
}

impl Client {
    fn boot(extended: bool) -> Self {
        let config = Config { threads: false, ..Config::default() };
        let kernel = Kernel::boot(SimHost::new(1), config).unwrap();
        let proc = kernel.spawn(b"test").unwrap();
        Self { kernel, proc, memory: Mutex::new(vec![0; 1 << 16]), extended }
    }

    fn both(&self, nr: u32, args: &[u64]) -> Result<[i64; 2]> {
        let lwp = Lwp::new(&*self.kernel.rumpuser, 0);
        kernel::syscall::syscall(&self.kernel, &self.proc, &lwp, nr, args, self)
    }

    fn call(&self, nr: u32, args: &[u64]) -> Result<i64> {
        self.both(nr, args).map(|ret| ret[0])
    }

    fn kqueue(&self) -> i64 {
        self.call(nr::kqueue, &[]).unwrap()
    }

    fn pipe(&self) -> (i64, i64) {
        let [reader, writer] = self.both(nr::pipe, &[]).unwrap();
        (reader, writer)
    }

    fn write(&self, fd: i64, text: &[u8]) {
        lock(&self.memory)[DATA..DATA + text.len()].copy_from_slice(text);
        let args = [fd as u64, BASE + DATA as u64, text.len() as u64];
        assert_eq!(self.call(nr::write, &args), Ok(text.len() as i64));
    }

    fn read(&self, fd: i64, len: u64) {
        assert!(self.call(nr::read, &[fd as u64, BASE + DATA as u64, len]).is_ok());
    }

    fn close(&self, fd: i64) {
        self.call(nr::close, &[fd as u64]).unwrap();
    }

    fn kevent(&self, kq: i64, changes: &[Kevent], room: u64, limit: u64) -> Result<Vec<Kevent>> {
        lock(&self.memory)[CHANGES..CHANGES + size_of_val(changes)].copy_from_slice(changes.as_bytes());
        let (from, to) = (BASE + CHANGES as u64, BASE + EVENTS as u64);
        let count = self.call(nr::kevent, &[kq as u64, from, changes.len() as u64, to, room, 0, limit])?;
        let mut events = vec![Kevent::default(); count as usize];
        let bytes = events.as_mut_slice().as_mut_bytes();
        bytes.copy_from_slice(&lock(&self.memory)[EVENTS..EVENTS + bytes.len()]);
        Ok(events)
    }

    fn change(&self, kq: i64, change: Kevent) -> Result<()> {
        self.kevent(kq, &[change], 0, 0).map(drop)
    }

    /// What the queue has now: the caller's word, and what is there.
    fn look(&self, kq: i64) -> Vec<(u64, u32)> {
        self.kevent(kq, &[], 64, AT_ONCE).unwrap().iter().map(|event| (event.udata - 100, event.fflags)).collect()
    }
}

const IN: u32 = POLLIN as u32;

#[test]
fn a_netbsd_client_hears_how_much_there_is_and_of_the_end() {
    let client = Client::boot(false);
    let (kq, (reader, writer)) = (client.kqueue(), client.pipe());
    client.change(kq, change(reader, EVFILT_READ, EV_ADD)).unwrap();
    client.change(kq, change(writer, EVFILT_WRITE, EV_ADD | EV_CLEAR)).unwrap();
    let first = client.kevent(kq, &[], 8, AT_ONCE).unwrap();
    assert_eq!(first.iter().map(|event| (event.ident as i64, event.filter)).collect::<Vec<_>>(), [(writer, 1)]);
    client.write(writer, b"hello");
    let event = client.kevent(kq, &[], 8, AT_ONCE).unwrap()[0];
    assert_eq!((event.ident as i64, event.filter, event.data, event.flags), (reader, EVFILT_READ, 5, 0));
    assert_eq!(event.udata, 100 + reader as u64);
    client.close(writer);
    assert_eq!(client.kevent(kq, &[], 8, AT_ONCE).unwrap()[0].flags, EV_EOF);
}

#[test]
fn flags_say_how_often_is_reported() {
    let client = Client::boot(false);
    let (kq, (reader, writer)) = (client.kqueue(), client.pipe());
    let look = || client.kevent(kq, &[], 8, AT_ONCE).unwrap().len();
    client.write(writer, b"x");
    let set = |flags| client.change(kq, change(reader, EVFILT_READ, flags));
    set(EV_ADD | EV_ONESHOT).unwrap();
    assert_eq!((look(), look()), (1, 0));
    assert_eq!(set(EV_ENABLE), Err(Errno::ENOENT));
    set(EV_ADD | EV_DISPATCH).unwrap();
    assert_eq!((look(), look()), (1, 0));
    set(EV_ENABLE).unwrap();
    assert_eq!((look(), look()), (1, 0));
    set(EV_ADD | EV_ENABLE).unwrap();
    assert_eq!((look(), look()), (1, 1));
    set(EV_DISABLE).unwrap();
    assert_eq!(look(), 0);
    set(EV_DELETE).unwrap();
    assert_eq!(set(EV_DELETE), Err(Errno::ENOENT));
}

#[test]
fn a_failed_change_is_an_event_if_there_is_room() {
    let client = Client::boot(false);
    let (kq, (reader, _writer)) = (client.kqueue(), client.pipe());
    let changes =
        [change(77, EVFILT_READ, EV_ADD), change(reader, 99, EV_ADD), change(reader, EVFILT_READ, EV_ADD | EV_RECEIPT)];
    let told = client.kevent(kq, &changes, 8, AT_ONCE).unwrap();
    let told: Vec<_> = told.iter().map(|event| (event.flags & EV_ERROR != 0, event.data)).collect();
    assert_eq!(told, [(true, i64::from(Errno::EBADF.raw())), (true, i64::from(Errno::EINVAL.raw())), (true, 0)]);
    assert_eq!(client.change(kq, change(77, EVFILT_READ, EV_ADD)), Err(Errno::EBADF));
    assert_eq!(client.kevent(reader, &[], 1, AT_ONCE).map(drop), Err(Errno::EBADF));
    assert_eq!(client.call(nr::kqueue1, &[0x20]), Err(Errno::EINVAL));
}

#[test]
fn poll_events_come_as_levels_as_edges_or_once() {
    let client = Client::boot(true);
    let (kq, (reader, writer)) = (client.kqueue(), client.pipe());
    let r = reader as u64;
    client.change(kq, polled(reader, POLLIN, EV_ADD | EV_FLAG1)).unwrap();
    assert_eq!(client.change(kq, polled(reader, POLLIN, EV_ADD | EV_FLAG1)), Err(Errno::EEXIST));
    assert_eq!(client.look(kq), []);
    client.write(writer, b"x");
    assert_eq!((client.look(kq), client.look(kq)), (vec![(r, IN)], vec![(r, IN)]));
    client.change(kq, polled(reader, POLLIN | POLLRDNORM, EV_ENABLE | EV_CLEAR)).unwrap();
    let edge = vec![(r, u32::from((POLLIN | POLLRDNORM) as u16))];
    assert_eq!((client.look(kq), client.look(kq)), (edge.clone(), vec![]));
    client.write(writer, b"more");
    assert_eq!((client.look(kq), client.look(kq)), (edge, vec![]));
    client.read(reader, 1);
    assert_eq!(client.look(kq), []);
    client.change(kq, polled(reader, POLLIN, EV_ENABLE | EV_DISPATCH)).unwrap();
    assert_eq!(client.look(kq), [(r, IN)]);
    client.close(writer);
    assert_eq!(client.look(kq), []);
    client.change(kq, polled(reader, 0, EV_ENABLE)).unwrap();
    assert_eq!(client.look(kq), [(r, POLLHUP as u32)]);
    client.change(kq, polled(reader, 0, EV_DELETE)).unwrap();
    assert_eq!(client.change(kq, polled(reader, 0, EV_ENABLE)), Err(Errno::ENOENT));
}

#[test]
fn what_is_ready_always_is_not_watched_for_poll_events() {
    let client = Client::boot(true);
    lock(&client.memory)[DATA..DATA + 3].copy_from_slice(b"/f\0");
    let file = client.call(nr::open, &[BASE + DATA as u64, (O_CREAT | O_RDWR) as u64, 0o600]).unwrap();
    assert_eq!(client.change(client.kqueue(), polled(file, POLLIN, EV_ADD)), Err(Errno::EPERM));
}

#[test]
fn a_registration_ends_with_the_last_descriptor_of_its_file() {
    let client = Client::boot(true);
    let (kq, (reader, writer)) = (client.kqueue(), client.pipe());
    client.change(kq, polled(reader, POLLIN, EV_ADD)).unwrap();
    client.write(writer, b"x");
    let other = client.call(nr::fcntl, &[reader as u64, F_DUPFD as u64, 0]).unwrap();
    client.close(reader);
    assert_eq!(client.look(kq).len(), 1);
    assert_eq!(client.change(kq, polled(other, POLLIN, EV_DELETE)), Err(Errno::ENOENT));
    // The file goes by the name that it was registered under.
    let by_name = Kevent { data: reader, ..polled(other, POLLIN | POLLOUT, EV_ENABLE) };
    client.change(kq, by_name).unwrap();
    client.close(other);
    assert_eq!(client.look(kq), []);
    // Another file on the same number is another registration.
    let (again, _writer) = client.pipe();
    assert_eq!(again, reader);
    client.change(kq, polled(again, POLLIN, EV_ADD | EV_FLAG1)).unwrap();
}

#[test]
fn queues_watch_queues_but_not_themselves() {
    let client = Client::boot(true);
    let (top, middle, inner, (reader, writer)) = (client.kqueue(), client.kqueue(), client.kqueue(), client.pipe());
    client.change(top, polled(middle, POLLIN, EV_ADD)).unwrap();
    client.change(middle, polled(inner, POLLIN, EV_ADD | EV_CLEAR)).unwrap();
    client.change(inner, polled(reader, POLLIN, EV_ADD)).unwrap();
    assert_eq!(client.look(top), []);
    client.write(writer, b"x");
    assert_eq!((client.look(top), client.look(top)), (vec![(middle as u64, IN)], vec![(middle as u64, IN)]));
    assert_eq!((client.look(middle), client.look(middle)), (vec![(inner as u64, IN)], vec![]));
    assert_eq!(client.look(top), []);
    client.write(writer, b"y");
    assert_eq!(client.look(top), [(middle as u64, IN)]);
    for (outer, member) in [(inner, top), (inner, middle), (inner, inner)] {
        assert_eq!(client.change(outer, polled(member, POLLIN, EV_ADD)), Err(Errno::ELOOP));
    }
    let mut last = inner;
    let refused = (0..10).find_map(|_| {
        let next = client.kqueue();
        let answer = client.change(last, polled(next, POLLIN, EV_ADD));
        last = next;
        answer.err()
    });
    assert_eq!(refused, Some(Errno::ELOOP));
}

#[test]
fn a_sleeper_hears_of_a_member_that_comes_later() {
    let client = Client::boot(true);
    let (kq, (reader, writer)) = (client.kqueue(), client.pipe());
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| client.kevent(kq, &[], 8, 0));
        while lock(&client.proc.lwps).is_empty() {
            thread::yield_now();
        }
        let own = Client {
            memory: Mutex::new(vec![0; 1 << 16]),
            proc: client.proc.clone(),
            kernel: client.kernel.clone(),
            extended: true,
        };
        own.change(kq, polled(reader, POLLIN, EV_ADD)).unwrap();
        own.write(writer, b"x");
        assert_eq!(sleeper.join().unwrap().unwrap().len(), 1);
    });
}

#[test]
fn the_child_of_a_fork_shares_an_epoll_set_and_not_netbsds_queue() {
    for extended in [true, false] {
        let client = Client::boot(extended);
        let (kq, (reader, _)) = (client.kqueue(), client.pipe());
        let child = client.kernel.fork(&client.proc).unwrap();
        assert!(child.file(abi::Fd(reader as i32)).is_ok());
        assert_eq!(child.file(abi::Fd(kq as i32)).is_ok(), extended);
    }
}

/// A file that counts how often it is looked at.
#[derive(Default)]
struct Counted {
    ready: AtomicBool,
    queue: WaitQueue,
}

static LOOKS: AtomicUsize = AtomicUsize::new(0);

impl File for Counted {
    fn ready(&self) -> Events {
        LOOKS.fetch_add(1, Ordering::Relaxed);
        if self.ready.load(Ordering::Relaxed) { POLLIN } else { 0 }
    }
    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::new_zeroed())
    }
}

#[test]
fn idle_members_cost_nothing() {
    let client = Client::boot(true);
    let kq = client.kqueue();
    *lock(&client.proc.nofile) = (20_000, 20_000);
    let files: Vec<Arc<Counted>> = (0..10_000).map(|_| Arc::default()).collect();
    for file in &files {
        let fd = client.proc.install(OpenFile::new(file.clone(), O_RDWR), false).unwrap();
        client.change(kq, polled(i64::from(fd.0), POLLIN, EV_ADD)).unwrap();
    }
    LOOKS.store(0, Ordering::Relaxed);
    assert_eq!(client.look(kq), []);
    assert_eq!(LOOKS.load(Ordering::Relaxed), 0);
    files[1234].ready.store(true, Ordering::Relaxed);
    files[1234].queue.wake();
    assert_eq!((client.look(kq).len(), client.look(kq).len()), (1, 1));
    files[1234].ready.store(false, Ordering::Relaxed);
    assert_eq!((client.look(kq).len(), client.look(kq).len()), (0, 0));
    assert_eq!(LOOKS.load(Ordering::Relaxed), 3);
}
