//! pthread_cancel(3): threads that are cancelled in a call that sleeps, or before it, and what they leave behind.

use std::sync::atomic::{AtomicI32, Ordering};

use super::forking::{fresh, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("cancelled_in_calls", OneProcess, cancelled_in_calls),
    ("cancelled_between_files", OneProcess, cancelled_between_files),
    ("cancelled_in_sets", OneProcess, cancelled_in_sets),
    ("cancelled_before_a_call", OneProcess, cancelled_before_a_call),
    ("cancelled_in_a_lock", Processes, cancelled_in_a_lock),
    ("cancelled_in_system", Processes, cancelled_in_system),
    ("cancelled_passing_descriptors", OneProcess, cancelled_passing_descriptors),
    ("cancelled_on_the_host", OneProcess, cancelled_on_the_host),
    ("cancelled_by_each_other", OneProcess, cancelled_by_each_other),
];

unsafe extern "C-unwind" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
    fn _pthread_cleanup_push(buffer: *mut c_void, routine: extern "C" fn(*mut c_void), argument: *mut c_void);
    fn _pthread_cleanup_pop(buffer: *mut c_void, run: c_int);
}

/// A call to be cancelled in.
type Sleep = unsafe fn(c_int) -> i64;

/// When a thread is cancelled, and how it is disposed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Asleep in the call; as threads are.
    Asleep,
    /// Asleep in the call; its type is asynchronous.
    Asynchronous,
    /// Before the call, which nothing keeps from sleeping.
    Before,
    /// Asleep in the call, with cancellation disabled until a signal has ended the call.
    Disabled,
}

const SLEEPING: [When; 4] = [When::Asleep, When::Asynchronous, When::Before, When::Disabled];

/// What the thread that is to be cancelled does.
struct Victim {
    fd: c_int,
    sleep: Sleep,
    when: When,
    task: AtomicI32,
    go: AtomicI32,
    returned: AtomicI32,
    cleaned: AtomicI32,
}

extern "C" fn cleaned(victim: *mut c_void) {
    unsafe { (*victim.cast::<Victim>()).cleaned.store(1, Ordering::SeqCst) };
}

extern "C-unwind" fn victim(victim: *mut c_void) -> *mut c_void {
    unsafe {
        let own = &*victim.cast::<Victim>();
        let mut buffer = [0usize; 4];
        _pthread_cleanup_push(buffer.as_mut_ptr().cast(), cleaned, victim);
        pthread_setcancelstate((own.when == When::Disabled).into(), null_mut());
        own.task.store(gettid(), Ordering::SeqCst);
        while own.go.load(Ordering::SeqCst) == 0 {
            sched_yield();
        }
        pthread_setcanceltype((own.when == When::Asynchronous).into(), null_mut());
        let value = (own.sleep)(own.fd);
        own.returned.store(if value < 0 { -errno() } else { 1 }, Ordering::SeqCst);
        pthread_setcanceltype(0, null_mut());
        pthread_setcancelstate(0, null_mut());
        pthread_testcancel();
        _pthread_cleanup_pop(buffer.as_mut_ptr().cast(), 0);
        null_mut()
    }
}

extern "C" fn nothing(_: c_int) {}

/// Cancels a thread in a call that sleeps, or just before it.
unsafe fn cancelled(what: &str, fd: c_int, when: When, sleep: Sleep) {
    unsafe {
        let zero = || AtomicI32::new(0);
        let own = Victim { fd, sleep, when, task: zero(), go: zero(), returned: zero(), cleaned: zero() };
        let mut thread: pthread_t = zeroed();
        let run = std::mem::transmute::<*const (), extern "C" fn(*mut c_void) -> *mut c_void>(victim as *const ());
        assert_eq!(pthread_create(&mut thread, null(), run, (&raw const own).cast_mut().cast()), 0);
        while own.task.load(Ordering::SeqCst) == 0 {
            sched_yield();
        }
        if when == When::Before {
            assert_eq!(pthread_cancel(thread), 0);
        }
        own.go.store(1, Ordering::SeqCst);
        if when != When::Before {
            until_asleep(getpid(), own.task.load(Ordering::SeqCst));
            assert_eq!(pthread_cancel(thread), 0);
        }
        if when == When::Disabled {
            let mut action: sigaction = zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            sigaction(SIGUSR2, &action, null_mut());
            while own.returned.load(Ordering::SeqCst) == 0 {
                until_asleep(getpid(), own.task.load(Ordering::SeqCst));
                pthread_kill(thread, SIGUSR2);
            }
        }
        let mut result = null_mut();
        assert_eq!(pthread_join(thread, &mut result), 0);
        let (returned, cleaned) = (own.returned.load(Ordering::SeqCst), own.cleaned.load(Ordering::SeqCst));
        let when = match when {
            When::Asleep => "asleep",
            When::Asynchronous => "asynchronous",
            When::Before => "before",
            When::Disabled => "disabled",
        };
        println!("{what}, {when}: ended {}, returned {returned}, cleaned up {cleaned}", result as isize == -1);
    }
}

/// Each call in each way; nothing is left behind: the lowest free number is what it was.
unsafe fn all_cancelled(calls: &[(&str, c_int, Sleep)], ways: &[When]) {
    unsafe {
        let lowest = || {
            let fd = dup(0);
            close(fd);
            fd
        };
        let before = lowest();
        for (what, fd, sleep) in calls {
            for when in ways {
                cancelled(what, *fd, *when, *sleep);
            }
        }
        println!("numbers taken: {}", lowest() - before);
    }
}

unsafe fn reads(fd: c_int) -> i64 {
    let mut byte = 0u8;
    unsafe { read(fd, (&raw mut byte).cast(), 1) as i64 }
}

unsafe fn reads_vector(fd: c_int) -> i64 {
    let mut byte = 0u8;
    let vector = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    unsafe { readv(fd, &vector, 1) as i64 }
}

unsafe fn receives(fd: c_int) -> i64 {
    let mut byte = 0u8;
    unsafe { recvfrom(fd, (&raw mut byte).cast(), 1, 0, null_mut(), null_mut()) as i64 }
}

unsafe fn receives_message(fd: c_int) -> i64 {
    unsafe {
        let mut byte = 0u8;
        let mut vector = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        recvmsg(fd, &mut message, 0) as i64
    }
}

unsafe fn receives_messages(fd: c_int) -> i64 {
    unsafe {
        let mut byte = 0u8;
        let mut vector = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut message: mmsghdr = zeroed();
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&mut vector, 1);
        i64::from(recvmmsg(fd, &mut message, 1, 0, null_mut()))
    }
}

unsafe fn polls(fd: c_int) -> i64 {
    let mut fds = pollfd { fd, events: POLLIN, revents: 0 };
    unsafe { i64::from(poll(&mut fds, 1, -1)) }
}

unsafe fn polls_masked(fd: c_int) -> i64 {
    let mut fds = pollfd { fd, events: POLLIN, revents: 0 };
    unsafe { i64::from(ppoll(&mut fds, 1, null(), &zeroed())) }
}

/// The set of select without `FD_SET`, through whose frame nothing can be unwound.
unsafe fn only(fd: c_int) -> [u64; 16] {
    let mut set = [0u64; 16];
    unsafe { set.as_mut_ptr().add(fd as usize / 64).write(1 << (fd % 64)) };
    set
}

unsafe fn selects(fd: c_int) -> i64 {
    unsafe {
        let mut set = only(fd);
        i64::from(select(fd + 1, (&raw mut set).cast(), null_mut(), null_mut(), null_mut()))
    }
}

unsafe fn selects_masked(fd: c_int) -> i64 {
    unsafe {
        let mut set = only(fd);
        i64::from(pselect(fd + 1, (&raw mut set).cast(), null_mut(), null_mut(), null(), &zeroed()))
    }
}

unsafe fn waits(set: c_int) -> i64 {
    unsafe {
        let mut event: epoll_event = zeroed();
        i64::from(epoll_wait(set, &mut event, 1, -1))
    }
}

unsafe fn waits_long(set: c_int) -> i64 {
    unsafe {
        let mut event: epoll_event = zeroed();
        i64::from(epoll_wait(set, &mut event, 1, 600_000))
    }
}

unsafe fn waits_masked(set: c_int) -> i64 {
    unsafe {
        let mut event: epoll_event = zeroed();
        i64::from(epoll_pwait(set, &mut event, 1, -1, &zeroed()))
    }
}

unsafe fn accepts(fd: c_int) -> i64 {
    unsafe { i64::from(accept(fd, null_mut(), null_mut())) }
}

unsafe fn accepts_more(fd: c_int) -> i64 {
    unsafe { i64::from(accept4(fd, null_mut(), null_mut(), SOCK_CLOEXEC)) }
}

/// Until there is no more room, and then on.
unsafe fn fills(fd: c_int) -> i64 {
    let bytes = [7u8; 1 << 14];
    loop {
        let wrote = unsafe { write(fd, bytes.as_ptr().cast(), bytes.len()) };
        if wrote < 0 {
            return wrote as i64;
        }
    }
}

unsafe fn sends(fd: c_int) -> i64 {
    let bytes = [7u8; 1 << 14];
    loop {
        let sent = unsafe { send(fd, bytes.as_ptr().cast(), bytes.len(), MSG_NOSIGNAL) };
        if sent < 0 {
            return sent as i64;
        }
    }
}

unsafe fn by_stdio(fd: c_int) -> i64 {
    unsafe {
        let stream = fdopen(fd, c"r".as_ptr());
        i64::from(fgetc(stream))
    }
}

unsafe fn opens(folder: c_int) -> i64 {
    unsafe { i64::from(openat(folder, c"lonely".as_ptr(), O_RDONLY)) }
}

unsafe fn opens_here(_: c_int) -> i64 {
    unsafe { i64::from(open(c"lonely".as_ptr(), O_WRONLY)) }
}

/// While another thread sleeps in the same kernel, and goes on afterwards.
fn cancelled_in_calls(folder: &str) {
    unsafe {
        let (c, a) = connected();
        let (s, _) = listener();
        let (mine, other) = connected();
        let (told, ready) = std::sync::mpsc::channel();
        let stays = std::thread::spawn(move || {
            told.send(gettid()).unwrap();
            reads(other)
        });
        until_asleep(getpid(), ready.recv().unwrap());
        let udp = socket(AF_INET, SOCK_DGRAM, 0);
        let mut address: sockaddr_in = zeroed();
        address.sin_family = AF_INET as u16;
        show("bind", bind(udp, (&raw const address).cast(), size_of::<sockaddr_in>() as u32));
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let fifo = open(name.as_ptr(), O_RDWR);
        mkfifo(path(folder, "lonely").as_ptr(), 0o600);
        let here = open(path(folder, ".").as_ptr(), O_RDONLY | O_DIRECTORY);
        show("chdir", chdir(path(folder, ".").as_ptr()));
        let stream = dup(mine);
        let calls: [(&str, c_int, Sleep); 18] = [
            ("read", a, reads),
            ("readv", a, reads_vector),
            ("fifo", fifo, reads),
            ("recvfrom", udp, receives),
            ("recvmsg", a, receives_message),
            ("recvmmsg", udp, receives_messages),
            ("poll", a, polls),
            ("ppoll", a, polls_masked),
            ("select", a, selects),
            ("pselect", a, selects_masked),
            ("accept", s, accepts),
            ("accept4", s, accepts_more),
            ("write", c, fills),
            ("send", c, sends),
            ("write to a fifo", fifo, fills),
            ("fgetc", stream, by_stdio),
            ("openat of a fifo", here, opens),
            ("open of a fifo", here, opens_here),
        ];
        all_cancelled(&calls, &SLEEPING);
        println!("works: {}", put(fresh(folder, "f"), b"x"));
        println!("sent: {}", put(mine, b"x"));
        println!("the other thread: {}", stays.join().unwrap());
    }
}

/// What moves from [`SOURCE`], or is looked at there.
static SOURCE: AtomicI32 = AtomicI32::new(-1);

unsafe fn splices(to: c_int) -> i64 {
    unsafe { splice(SOURCE.load(Ordering::SeqCst), null_mut(), to, null_mut(), 10, 0) as i64 }
}

unsafe fn tees(to: c_int) -> i64 {
    unsafe { tee(SOURCE.load(Ordering::SeqCst), to, 10, 0) as i64 }
}

/// Into a pipe that is full.
unsafe fn splices_memory(to: c_int) -> i64 {
    unsafe {
        let bytes = [7u8; 4096];
        let vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        loop {
            let moved = vmsplice(to, &vector, 1, 0);
            if moved < 0 {
                return moved as i64;
            }
        }
    }
}

fn cancelled_between_files(folder: &str) {
    unsafe {
        let fifo = |name: &str| {
            let name = path(folder, name);
            mkfifo(name.as_ptr(), 0o600);
            open(name.as_ptr(), O_RDWR)
        };
        let (empty, target, full) = (fifo("empty"), fifo("target"), fifo("full"));
        let (_c, a) = connected();
        let mut host = [0; 2];
        pipe(host.as_mut_ptr());
        SOURCE.store(empty, Ordering::SeqCst);
        all_cancelled(
            &[("splice", target, splices), ("tee", target, tees), ("vmsplice", full, splices_memory)],
            &SLEEPING,
        );
        all_cancelled(&[("splice to the host", host[1], splices), ("tee to the host", host[1], tees)], &SLEEPING);
        SOURCE.store(a, Ordering::SeqCst);
        all_cancelled(&[("splice of a socket", target, splices)], &SLEEPING);
        SOURCE.store(host[0], Ordering::SeqCst);
        all_cancelled(&[("splice from the host", target, splices), ("tee from the host", target, tees)], &SLEEPING);
        println!("works: {}", put(target, b"x"));
        println!("nothing was moved: {}", reads(target));
    }
}

/// Sets of the host, of both kernels, and one that changes while it is waited for.
fn cancelled_in_sets(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let set = |members: &[c_int]| {
            let set = epoll_create1(0);
            for fd in members {
                let mut event = epoll_event { events: EPOLLIN as u32, u64: *fd as u64 };
                show("epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, *fd, &mut event));
            }
            set
        };
        let (host, rump, both, none) = (set(&[ends[0]]), set(&[a]), set(&[ends[0], a]), set(&[]));
        for (which, fd) in [("host", host), ("rump", rump), ("both", both), ("none", none)] {
            println!("{which}");
            let calls: [(&str, c_int, Sleep); 3] =
                [("epoll_wait", fd, waits), ("with a limit", fd, waits_long), ("epoll_pwait", fd, waits_masked)];
            all_cancelled(&calls, &SLEEPING);
        }
        let mut event = epoll_event { events: EPOLLIN as u32, u64: 7 };
        show("a member comes", epoll_ctl(none, EPOLL_CTL_ADD, a, &mut event));
        put(c, b"x");
        for fd in [rump, both, none] {
            show("epoll_wait", waits(fd));
        }
        put(ends[1], b"x");
        show("epoll_wait", waits(host));
    }
}

unsafe fn syncs(fd: c_int) -> i64 {
    unsafe { i64::from(fsync(fd)) }
}

unsafe fn syncs_data(fd: c_int) -> i64 {
    unsafe { i64::from(fdatasync(fd)) }
}

unsafe fn writes_at(fd: c_int) -> i64 {
    unsafe { pwrite(fd, c"x".as_ptr().cast(), 1, 0) as i64 }
}

unsafe fn writes_vector_at(fd: c_int) -> i64 {
    unsafe {
        let vector = iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        pwritev(fd, &vector, 1, 0) as i64
    }
}

unsafe fn reads_at(fd: c_int) -> i64 {
    let mut byte = 0u8;
    unsafe { pread(fd, (&raw mut byte).cast(), 1, 0) as i64 }
}

unsafe fn allocates(fd: c_int) -> i64 {
    unsafe { i64::from(fallocate(fd, 0, 0, 100)) }
}

unsafe fn copies(fd: c_int) -> i64 {
    unsafe { copy_file_range(SOURCE.load(Ordering::SeqCst), null_mut(), fd, null_mut(), 1, 0) as i64 }
}

unsafe fn closes(fd: c_int) -> i64 {
    unsafe { i64::from(close(fd)) }
}

unsafe fn makes(folder: c_int) -> i64 {
    unsafe { i64::from(openat(folder, c"made".as_ptr(), O_WRONLY | O_CREAT, 0o600)) }
}

unsafe fn connects(fd: c_int) -> i64 {
    unsafe {
        let address = loopback(1);
        i64::from(connect(fd, (&raw const address).cast(), size_of::<sockaddr_in>() as u32))
    }
}

/// These are no points: the call is made, and the thread ends after it.
unsafe fn seeks(fd: c_int) -> i64 {
    unsafe { lseek(fd, 0, SEEK_SET) }
}

unsafe fn truncates(fd: c_int) -> i64 {
    unsafe { i64::from(ftruncate(fd, 7)) }
}

unsafe fn duplicates(fd: c_int) -> i64 {
    unsafe {
        let other = dup(fd);
        i64::from(close_range(other as u32, other as u32, 0))
    }
}

unsafe fn locks(fd: c_int) -> i64 {
    unsafe { i64::from(flock(fd, LOCK_EX)) }
}

/// Calls that do not sleep are points, too, or are not.
fn cancelled_before_a_call(folder: &str) {
    unsafe {
        let file = fresh(folder, "f");
        let source = fresh(folder, "g");
        put(source, b"y");
        lseek(source, 0, SEEK_SET);
        SOURCE.store(source, Ordering::SeqCst);
        let here = open(path(folder, ".").as_ptr(), O_RDONLY | O_DIRECTORY);
        let udp = socket(AF_INET, SOCK_DGRAM, 0);
        let calls: [(&str, c_int, Sleep); 14] = [
            ("fsync", file, syncs),
            ("fdatasync", file, syncs_data),
            ("pwrite", file, writes_at),
            ("pwritev", file, writes_vector_at),
            ("pread", source, reads_at),
            ("fallocate", file, allocates),
            ("copy_file_range", file, copies),
            ("openat", here, makes),
            ("connect", udp, connects),
            ("close", file, closes),
            ("lseek", file, seeks),
            ("ftruncate", source, truncates),
            ("dup", file, duplicates),
            ("flock", file, locks),
        ];
        all_cancelled(&calls, &[When::Before]);
        let mut st: stat = zeroed();
        show("fstat", fstat(file, &mut st));
        println!("size {}", st.st_size);
        show("was not made", access(path(folder, "made").as_ptr(), F_OK));
        let other = open(path(folder, "f").as_ptr(), O_RDWR);
        show("locked", flock(other, LOCK_EX | LOCK_NB));
    }
}

fn whole() -> flock {
    let mut region: flock = unsafe { zeroed() };
    region.l_type = F_WRLCK as i16;
    region
}

unsafe fn locks_record(fd: c_int) -> i64 {
    let region = whole();
    unsafe { i64::from(fcntl(fd, F_SETLKW, &raw const region)) }
}

unsafe fn locks_open_file(fd: c_int) -> i64 {
    let region = whole();
    unsafe { i64::from(fcntl(fd, F_OFD_SETLKW, &raw const region)) }
}

unsafe fn locks_by_lockf(fd: c_int) -> i64 {
    unsafe { i64::from(lockf(fd, F_LOCK, 0)) }
}

/// The lock that a thread has waited for in vain is not held, and nobody waits for it any more.
fn cancelled_in_a_lock(folder: &str) {
    unsafe {
        create(folder, "file", b"x");
        let file = path(folder, "file");
        let fd = open(file.as_ptr(), O_RDWR);
        let region = whole();
        let (mut held, mut done) = ([0; 2], [0; 2]);
        pipe(held.as_mut_ptr());
        pipe(done.as_mut_ptr());
        let holder = fork();
        if holder == 0 {
            let fd = open(file.as_ptr(), O_RDWR);
            fcntl(fd, F_SETLK, &raw const region);
            flock(fd, LOCK_EX);
            put(held[1], b"x");
            reads(done[0]);
            _exit(0);
        }
        reads(held[0]);
        let calls: [(&str, c_int, Sleep); 3] =
            [("F_SETLKW", fd, locks_record), ("F_OFD_SETLKW", fd, locks_open_file), ("lockf", fd, locks_by_lockf)];
        all_cancelled(&calls, &SLEEPING);
        // No point: only what is cancelled at once is cancelled.
        all_cancelled(&[("flock", fd, locks)], &[When::Asynchronous, When::Disabled]);
        put(done[1], b"x");
        waitpid(holder, null_mut(), 0);
        let other = fork();
        if other == 0 {
            let fd = open(file.as_ptr(), O_RDWR);
            let records = fcntl(fd, F_SETLK, &raw const region);
            let open_files = fcntl(fd, F_OFD_SETLK, &raw const region);
            _exit(if (records, open_files, flock(fd, LOCK_EX | LOCK_NB)) == (0, -1, 0) { 0 } else { 1 });
        }
        super::forking::ended("all free", other);
    }
}

/// The command reads what never comes; it is killed with its thread.
unsafe fn runs(_: c_int) -> i64 {
    unsafe { i64::from(system(c"exec cat fifo >/dev/null".as_ptr())) }
}

fn cancelled_in_system(folder: &str) {
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let keep = open(path(folder, "fifo").as_ptr(), O_RDWR);
        show("chdir", chdir(path(folder, ".").as_ptr()));
        all_cancelled(&[("system", -1, runs)], &[When::Asleep, When::Before]);
        show("no child is left", wait(null_mut()));
        let answer = system(c"cat /proc/self/comm > told".as_ptr());
        println!("system works: {answer} {}", contents(&path(folder, "told")).trim());
        println!("works: {}", put(keep, b"x"));
    }
}

static PASSED: AtomicI32 = AtomicI32::new(-1);

unsafe fn passes(fd: c_int) -> i64 {
    unsafe {
        let mut control = [0u64; 3];
        let header: *mut cmsghdr = control.as_mut_ptr().cast();
        ((*header).cmsg_len, (*header).cmsg_level, (*header).cmsg_type) = (20, SOL_SOCKET, SCM_RIGHTS);
        control.as_mut_ptr().add(2).cast::<c_int>().write(PASSED.load(Ordering::SeqCst));
        let mut vector = iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 24);
        loop {
            let sent = sendmsg(fd, &message, 0);
            if sent < 0 {
                return sent as i64;
            }
        }
    }
}

unsafe fn passes_many(fd: c_int) -> i64 {
    unsafe {
        let mut control = [0u64; 3];
        let header: *mut cmsghdr = control.as_mut_ptr().cast();
        ((*header).cmsg_len, (*header).cmsg_level, (*header).cmsg_type) = (20, SOL_SOCKET, SCM_RIGHTS);
        control.as_mut_ptr().add(2).cast::<c_int>().write(PASSED.load(Ordering::SeqCst));
        let mut vector = iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        let mut messages: [mmsghdr; 2] = zeroed();
        let (first, second) = (messages.as_mut_ptr(), messages.as_mut_ptr().add(1));
        for message in [first, second] {
            ((*message).msg_hdr.msg_iov, (*message).msg_hdr.msg_iovlen) = (&mut vector, 1);
        }
        ((*second).msg_hdr.msg_control, (*second).msg_hdr.msg_controllen) = (control.as_mut_ptr().cast(), 24);
        loop {
            let sent = sendmmsg(fd, first, 2, 0);
            if sent < 0 {
                return i64::from(sent);
            }
        }
    }
}

/// Over a local socket that is full.
fn cancelled_passing_descriptors(folder: &str) {
    unsafe {
        PASSED.store(fresh(folder, "f"), Ordering::SeqCst);
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_DGRAM, 0, ends.as_mut_ptr());
        let calls: [(&str, c_int, Sleep); 3] =
            [("sendmsg", ends[0], passes), ("sendmmsg", ends[0], passes_many), ("recvmsg", ends[0], receives_message)];
        all_cancelled(&calls, &SLEEPING);
        println!("works: {}", put(PASSED.load(Ordering::SeqCst), b"x"));
    }
}

/// The same in a pipe of the host's.
fn cancelled_on_the_host(folder: &str) {
    unsafe {
        let file = fresh(folder, "f");
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let calls: [(&str, c_int, Sleep); 4] = [
            ("read", ends[0], reads),
            ("poll", ends[0], polls),
            ("select", ends[0], selects),
            ("fgetc", ends[0], by_stdio),
        ];
        all_cancelled(&calls, &SLEEPING);
        println!("works: {}", put(file, b"x"));
    }
}

/// Threads come and go, cancelled at any moment of their calls.
fn cancelled_by_each_other(folder: &str) {
    extern "C-unwind" fn busy(fd: *mut c_void) -> *mut c_void {
        unsafe {
            let fd = fd as usize as c_int;
            loop {
                let mut fds = pollfd { fd, events: POLLIN, revents: 0 };
                poll(&mut fds, 1, 1);
                let mut byte = 0u8;
                recv(fd, (&raw mut byte).cast(), 1, MSG_DONTWAIT);
                let mut event: epoll_event = zeroed();
                epoll_wait(fd + 1, &mut event, 1, 1);
                writes_at(fd + 2);
            }
        }
    }
    unsafe {
        let (_c, a) = connected();
        let base = 100;
        let set = epoll_create1(0);
        let file = fresh(folder, "f");
        println!("{}", dup2(a, base) == base && dup2(set, base + 1) > 0 && dup2(file, base + 2) > 0);
        let mut ended = 0;
        for round in 0..300 {
            let mut thread: pthread_t = zeroed();
            let run = std::mem::transmute::<*const (), extern "C" fn(*mut c_void) -> *mut c_void>(busy as *const ());
            assert_eq!(pthread_create(&mut thread, null(), run, base as usize as *mut c_void), 0);
            usleep(round * 37 % 3000);
            assert_eq!(pthread_cancel(thread), 0);
            let mut result = null_mut();
            assert_eq!(pthread_join(thread, &mut result), 0);
            ended += i32::from(result as isize == -1);
        }
        println!("ended: {ended}");
        println!("works: {}", put(file, b"x"));
    }
}
