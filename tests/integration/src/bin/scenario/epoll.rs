//! epoll: sets of descriptors of both kernels, and how they report.

use super::prelude::*;
use super::waiting::{noted_signals, pending_signal};

/// The family.
pub const TABLE: &[Row] = &[
    ("epoll_level", OneProcess, level),
    ("epoll_edge", OneProcess, edge),
    ("epoll_edge_of_room", OneProcess, edge_of_room),
    ("epoll_edge_of_a_fifo", OneProcess, edge_of_a_fifo),
    ("epoll_edge_of_a_listener", OneProcess, edge_of_a_listener),
    ("epoll_oneshot", OneProcess, oneshot),
    ("epoll_modify", OneProcess, modify),
    ("epoll_data", OneProcess, data),
    ("epoll_streams", OneProcess, streams),
    ("epoll_connects", OneProcess, connects),
    ("epoll_datagrams", OneProcess, datagrams),
    ("epoll_kinds", OneProcess, kinds),
    ("epoll_errors", OneProcess, errors),
    ("epoll_files", OneProcess, files),
    ("epoll_turns", OneProcess, turns),
    ("epoll_same_in_two", OneProcess, same_in_two),
    ("epoll_closed_members", OneProcess, closed_members),
    ("epoll_mask", OneProcess, mask),
    ("epoll_times", OneProcess, times),
    ("epoll_many", OneProcess, many),
];

/// An epoll set of the scenario.
pub struct Set(pub c_int);

impl Set {
    pub unsafe fn new() -> Self {
        unsafe { Self(epoll_create1(EPOLL_CLOEXEC)) }
    }

    pub unsafe fn ctl(&self, operation: c_int, fd: c_int, events: c_int, tag: u64) -> c_int {
        unsafe {
            let mut event = epoll_event { events: events as u32, u64: tag };
            epoll_ctl(self.0, operation, fd, &mut event)
        }
    }

    pub unsafe fn add(&self, fd: c_int, events: c_int, tag: u64) {
        unsafe { assert_eq!(self.ctl(EPOLL_CTL_ADD, fd, events, tag), 0, "{fd}: {}", std::io::Error::last_os_error()) }
    }

    /// Waits and returns what came, by tag.
    pub unsafe fn events(&self, most: usize, limit: c_int) -> Vec<(u64, u32)> {
        unsafe {
            let mut events = vec![epoll_event { events: 0, u64: 0 }; most];
            let count = epoll_wait(self.0, events.as_mut_ptr(), most as c_int, limit);
            let mut found: Vec<_> =
                events.iter().take(count.max(0) as usize).map(|event| (event.u64, event.events)).collect();
            found.sort_unstable();
            found
        }
    }

    /// Waits and prints what came, by tag.
    pub unsafe fn look(&self, what: &str, limit: c_int) {
        println!("{what}: {:x?}", unsafe { self.events(64, limit) });
    }
}

pub unsafe fn put(fd: c_int, text: &str) {
    unsafe { assert_eq!(write(fd, text.as_ptr().cast(), text.len()), text.len() as isize) }
}

pub unsafe fn take(fd: c_int) -> isize {
    unsafe {
        let mut bytes = [0u8; 100];
        read(fd, bytes.as_mut_ptr().cast(), bytes.len())
    }
}

/// A pipe.
pub unsafe fn ends() -> (c_int, c_int) {
    unsafe {
        let mut ends = [0; 2];
        assert_eq!(pipe(ends.as_mut_ptr()), 0);
        (ends[0], ends[1])
    }
}

fn level(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN, 1);
        set.add(r, EPOLLIN, 2);
        set.look("nothing", 20);
        put(c, "xy");
        set.look("socket", 5000);
        set.look("still", 5000);
        put(w, "z");
        set.look("both", 5000);
        take(r);
        set.look("socket again", 5000);
        take(a);
        set.look("none", 20);
        put(w, "z");
        set.look("pipe", 5000);
    }
}

fn edge(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN | EPOLLET, 1);
        set.add(r, EPOLLIN | EPOLLET, 2);
        put(c, "x");
        put(w, "x");
        set.look("first", 5000);
        set.look("no news", 20);
        put(c, "y");
        set.look("more to read", 5000);
        put(w, "y");
        set.look("more in the pipe", 5000);
        put(a, "back");
        set.look("what it sends itself is no news", 20);
        let mut byte = 0u8;
        read(a, (&raw mut byte).cast(), 1);
        set.look("nor is reading some", 20);
        set.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 3);
        set.look("a change looks again", 5000);
        take(a);
        shutdown(c, SHUT_WR);
        set.look("the end is news", 5000);
        set.look("once", 20);
        let late = Set::new();
        late.add(a, EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET, 4);
        late.look("what is there when it is added", 5000);
        late.look("and once", 20);
    }
}

fn edge_of_room(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        fcntl(c, F_SETFL, O_NONBLOCK);
        fcntl(a, F_SETFL, O_NONBLOCK);
        set.add(c, EPOLLOUT | EPOLLET, 1);
        set.look("room", 5000);
        set.look("once", 20);
        let piece = [0u8; 65536];
        while write(c, piece.as_ptr().cast(), piece.len()) > 0 {}
        show("full", write(c, piece.as_ptr().cast(), 1) as i64);
        set.look("none", 20);
        let mut buf = vec![0u8; 65536];
        // The peer reads until there is room again.
        let mut events = Vec::new();
        while events.is_empty() {
            read(a, buf.as_mut_ptr().cast(), buf.len());
            events = set.events(8, 10);
        }
        println!("room again: {events:x?}");
    }
}

fn edge_of_a_fifo(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let r = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let w = open(name.as_ptr(), O_WRONLY | O_NONBLOCK);
        let set = Set::new();
        set.add(r, EPOLLIN | EPOLLET, 1);
        set.add(w, EPOLLOUT | EPOLLET, 2);
        set.look("writable", 5000);
        put(w, "x");
        set.look("readable", 5000);
        put(w, "y");
        set.look("again", 5000);
        take(r);
        set.look("room that was there is no news", 20);
        let full = [0u8; 65536];
        show("fill", write(w, full.as_ptr().cast(), full.len()) as i64);
        set.look("filled", 5000);
        let mut all = [0u8; 65536];
        show("drain", read(r, all.as_mut_ptr().cast(), all.len()) as i64);
        set.look("room", 5000);
        close(w);
        set.look("the writer is gone", 5000);
        unlink(name.as_ptr());
    }
}

fn edge_of_a_listener(_: &str) {
    unsafe {
        let (l, addr) = listener();
        fcntl(l, F_SETFL, O_NONBLOCK);
        let set = Set::new();
        set.add(l, EPOLLIN | EPOLLET, 1);
        let dial = || {
            let c = socket(AF_INET, SOCK_STREAM, 0);
            assert_eq!(connect(c, (&raw const addr).cast(), LEN), 0);
            c
        };
        dial();
        set.look("one", 5000);
        set.look("once", 20);
        dial();
        set.look("another", 5000);
        let accepted = (0..3).filter(|_| accept(l, null_mut(), null_mut()) >= 0).count();
        println!("accepted {accepted}");
        set.look("none", 20);
        dial();
        set.look("a third", 5000);
    }
}

fn oneshot(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN | EPOLLONESHOT, 1);
        set.add(r, EPOLLIN | EPOLLONESHOT, 2);
        put(c, "x");
        put(w, "x");
        set.look("once", 5000);
        put(c, "x");
        put(w, "x");
        set.look("no more", 20);
        show("armed again", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT, 3));
        set.look("socket", 5000);
        set.look("no more", 20);
        shutdown(c, SHUT_WR);
        close(c);
        set.look("not even of the end", 20);
        show("still a member", set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 4));
        show("armed with nothing", set.ctl(EPOLL_CTL_MOD, a, 0, 5));
        set.look("nothing but errors", 20);
        show("edge too", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLRDHUP | EPOLLET | EPOLLONESHOT, 6));
        set.look("at once", 5000);
        set.look("and off", 20);
    }
}

fn modify(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        set.look("quiet", 20);
        show("also out", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLOUT, 2));
        set.look("out", 5000);
        put(c, "x");
        set.look("both", 5000);
        show("by other names", set.ctl(EPOLL_CTL_MOD, a, EPOLLRDNORM | EPOLLWRNORM, 3));
        set.look("names", 5000);
        show("only priority", set.ctl(EPOLL_CTL_MOD, a, EPOLLPRI, 4));
        set.look("nothing", 20);
        show("delete", epoll_ctl(set.0, EPOLL_CTL_DEL, a, null_mut()));
        show("twice", epoll_ctl(set.0, EPOLL_CTL_DEL, a, null_mut()));
        show("change what is not there", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN, 5));
        set.look("gone", 20);
        set.add(a, EPOLLIN, 6);
        set.look("back", 5000);
    }
}

fn data(_: &str) {
    unsafe {
        let (set, mut others) = (Set::new(), Vec::new());
        for tag in [0, 1, u64::MAX, 0x8000_0000_0000_0000, 0xdead_beef_0000_0001, u64::from(u32::MAX)] {
            let (c, a) = connected();
            set.add(a, EPOLLIN, tag);
            put(c, "x");
            others.push(c);
        }
        let (r, w) = ends();
        set.add(r, EPOLLIN, 0x1234_5678_9abc_def0);
        put(w, "x");
        let mut found = Vec::new();
        while found.len() < 7 {
            found = set.events(64, 5000);
        }
        println!("{found:x?}");
    }
}

const ALL: c_int = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM;

fn streams(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        set.add(a, ALL, 1);
        set.look("open", 0);
        set.ctl(EPOLL_CTL_MOD, a, EPOLLRDHUP, 1);
        shutdown(c, SHUT_WR);
        set.look("half closed", 5000);
        set.ctl(EPOLL_CTL_MOD, a, 0, 1);
        set.look("not asked for", 20);
        shutdown(a, SHUT_WR);
        set.look("both ways, never asked for", 5000);
        close(c);
        close(a);
        let (c, a) = connected();
        set.add(a, EPOLLOUT | EPOLLET, 2);
        set.look("writable", 5000);
        let linger = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(c, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), size_of::<linger>() as socklen_t);
        close(c);
        set.look("reset", 5000);
        set.ctl(EPOLL_CTL_MOD, a, ALL, 3);
        set.look("all of it", 5000);
    }
}

fn connects(_: &str) {
    unsafe {
        let set = Set::new();
        let s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        set.add(s, ALL, 1);
        set.look("not connected", 0);
        let (l, addr) = listener();
        connect(s, (&raw const addr).cast(), LEN);
        while set.events(8, 5000).iter().any(|(_, events)| events & EPOLLHUP as u32 != 0) {}
        set.look("connected", 5000);
        close(l);
        let t = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(t, (&raw const addr).cast(), LEN);
        epoll_ctl(set.0, EPOLL_CTL_DEL, s, null_mut());
        set.add(t, EPOLLOUT | EPOLLET, 2);
        set.look("refused", 5000);
        set.look("told", 20);
    }
}

fn datagrams(_: &str) {
    unsafe {
        let (u, set) = (socket(AF_INET, SOCK_DGRAM, 0), Set::new());
        let mut addr = loopback(0);
        bind(u, (&raw const addr).cast(), LEN);
        let mut len = LEN;
        getsockname(u, (&raw mut addr).cast(), &mut len);
        set.add(u, EPOLLIN | EPOLLET, 1);
        let v = socket(AF_INET, SOCK_DGRAM, 0);
        let send = || sendto(v, b"x".as_ptr().cast(), 1, 0, (&raw const addr).cast(), LEN);
        send();
        set.look("one", 5000);
        send();
        set.look("two", 5000);
        take(u);
        set.look("reading is no news", 20);
        set.add(v, EPOLLIN | EPOLLET, 2);
        close(u);
        connect(v, (&raw const addr).cast(), LEN);
        show("to nobody", send() as i64);
        set.look("refused", 5000);
    }
}

fn kinds(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        let mut block: sigset_t = zeroed();
        sigemptyset(&mut block);
        sigaddset(&mut block, SIGUSR1);
        sigprocmask(SIG_BLOCK, &block, null_mut());
        let (event, timer, signals) = (eventfd(0, 0), timerfd_create(CLOCK_MONOTONIC, 0), signalfd(-1, &block, 0));
        for (tag, fd) in [a, event, timer, signals].into_iter().enumerate() {
            set.add(fd, EPOLLIN, tag as u64);
        }
        set.look("nothing", 20);
        let one = 1u64;
        write(event, (&raw const one).cast(), 8);
        set.look("event", 5000);
        take(event);
        let soon = itimerspec { it_interval: zeroed(), it_value: timespec { tv_sec: 0, tv_nsec: 20_000_000 } };
        timerfd_settime(timer, 0, &soon, null_mut());
        set.look("timer", -1);
        take(timer);
        kill(getpid(), SIGUSR1);
        set.look("signal", 5000);
        let mut info = [0u8; 128];
        read(signals, info.as_mut_ptr().cast(), 128);
        put(c, "x");
        set.look("socket", -1);
        write(event, (&raw const one).cast(), 8);
        set.look("two of them", 5000);
    }
}

fn errors(folder: &str) {
    unsafe {
        let ((_c, a), set) = (connected(), Set::new());
        show("add", set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        show("twice", set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        show("odd operation", set.ctl(9, a, EPOLLIN, 1));
        show("no event", epoll_ctl(set.0, EPOLL_CTL_MOD, a, null_mut()));
        show("itself", set.ctl(EPOLL_CTL_ADD, set.0, EPOLLIN, 1));
        show("closed member", set.ctl(EPOLL_CTL_ADD, 777, EPOLLIN, 1));
        show("closed set", Set(777).ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        show("a socket as a set", Set(a).ctl(EPOLL_CTL_ADD, set.0, EPOLLIN, 1));
        show("a pipe as a set", Set(ends().0).ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        let exclusive = EPOLLEXCLUSIVE | EPOLLIN;
        let b = dup(a);
        show("exclusive change", set.ctl(EPOLL_CTL_MOD, a, exclusive, 1));
        show("exclusive and one-shot", set.ctl(EPOLL_CTL_ADD, b, exclusive | EPOLLONESHOT, 1));
        show("exclusive", set.ctl(EPOLL_CTL_ADD, b, exclusive, 1));
        show("change of an exclusive one", set.ctl(EPOLL_CTL_MOD, b, EPOLLIN, 1));
        let mut events = [epoll_event { events: 0, u64: 0 }; 4];
        show("no room", epoll_wait(set.0, events.as_mut_ptr(), 0, 0));
        show("negative room", epoll_wait(set.0, events.as_mut_ptr(), -1, 0));
        show("not a set", epoll_wait(a, events.as_mut_ptr(), 4, 0));
        show("closed", epoll_wait(777, events.as_mut_ptr(), 4, 0));
        set.ctl(EPOLL_CTL_MOD, a, EPOLLOUT, 1);
        show("nowhere to put it", epoll_wait(set.0, null_mut(), 4, 0));
        let (inner, third) = (Set::new(), Set::new());
        inner.add(a, EPOLLIN, 1);
        third.add(inner.0, EPOLLIN, 1);
        show("a circle", inner.ctl(EPOLL_CTL_ADD, third.0, EPOLLIN, 1));
        show("exclusive set", set.ctl(EPOLL_CTL_ADD, inner.0, exclusive, 1));
        let name = create(folder, "regular", b"x");
        let file = open(name.as_ptr(), O_RDONLY);
        show("file as a set", Set(file).ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        show("odd flags", epoll_create1(1));
        show("no size", epoll_create(0));
    }
}

fn files(folder: &str) {
    unsafe {
        let set = Set::new();
        let name = create(folder, "watched", b"x");
        let file = open(name.as_ptr(), O_RDWR);
        show("file", set.ctl(EPOLL_CTL_ADD, file, EPOLLIN, 1));
        show("change", set.ctl(EPOLL_CTL_MOD, file, EPOLLIN, 1));
        let folder = CString::new(folder).unwrap();
        let folder = open(folder.as_ptr(), O_RDONLY | O_DIRECTORY);
        show("folder", set.ctl(EPOLL_CTL_ADD, folder, EPOLLIN, 2));
        let (_c, a) = connected();
        set.add(a, EPOLLOUT, 3);
        set.look("the socket", 5000);
        show("change of a file in a set of sockets", set.ctl(EPOLL_CTL_MOD, file, EPOLLIN, 1));
    }
}

/// With room for one event at a time, everybody has a turn.
fn turns(_: &str) {
    unsafe {
        let (set, mut others) = (Set::new(), Vec::new());
        for tag in 0..4 {
            let ((c, a), (r, w)) = (connected(), ends());
            set.add(a, EPOLLIN, tag);
            set.add(r, EPOLLIN, tag + 10);
            put(c, "x");
            put(w, "x");
            others.push((c, w));
        }
        for room in [1, 2, 3] {
            let mut seen = std::collections::BTreeSet::new();
            // Twice as many turns as an order round all eight would take.
            for _ in 0..16 {
                let found = set.events(room, 5000);
                assert!(!found.is_empty() && found.len() <= room);
                seen.extend(found.iter().map(|(tag, _)| *tag));
            }
            println!("room for {room}: {seen:?}");
        }
        let mut found = Vec::new();
        while found.len() < 8 {
            found = set.events(8, 5000);
        }
        println!("all: {found:?}");
    }
}

fn same_in_two(_: &str) {
    unsafe {
        let ((c, a), one, two) = (connected(), Set::new(), Set::new());
        one.add(a, EPOLLIN | EPOLLET, 1);
        two.add(a, EPOLLIN, 2);
        put(c, "x");
        one.look("one", 5000);
        two.look("two", 5000);
        let b = dup(a);
        one.add(b, EPOLLIN, 3);
        one.look("a duplicate is another member", 5000);
        take(b);
        one.look("none", 20);
        two.look("none", 20);
    }
}

fn closed_members(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        put(c, "x");
        set.look("there", 5000);
        let b = dup(a);
        close(a);
        set.look("lives on by its duplicate", 5000);
        show("cannot be named", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN, 2));
        show("the duplicate is no member", set.ctl(EPOLL_CTL_MOD, b, EPOLLIN, 2));
        close(b);
        set.look("gone", 20);
        let ((c, a), (r, w)) = (connected(), ends());
        set.add(a, EPOLLIN, 3);
        put(c, "x");
        dup2(r, a);
        set.look("replaced", 20);
        set.add(a, EPOLLIN, 4);
        put(w, "x");
        set.look("the new one", 5000);
        let (c, b) = connected();
        dup2(b, a);
        put(c, "x");
        set.look("the pipe lives on", 5000);
        set.add(a, EPOLLIN, 5);
        set.look("both", 5000);
    }
}

fn mask(_: &str) {
    unsafe {
        let ((_c, a), set) = (connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        let open = pending_signal();
        let mut events = [epoll_event { events: 0, u64: 0 }; 4];
        show("blocked", epoll_pwait(set.0, events.as_mut_ptr(), 4, 20, null()));
        println!("{}", noted_signals());
        show("let through", epoll_pwait(set.0, events.as_mut_ptr(), 4, -1, &open));
        println!("{}", noted_signals());
        show("gone", epoll_pwait(set.0, events.as_mut_ptr(), 4, 20, &open));
        kill(getpid(), SIGUSR1);
        sigprocmask(SIG_SETMASK, &open, null_mut());
        println!("{}", noted_signals());
        // SA_RESTART does not concern epoll_wait.
        let timer = itimerval { it_interval: zeroed(), it_value: timeval { tv_sec: 0, tv_usec: 20_000 } };
        let mut action: sigaction = zeroed();
        sigaction(SIGUSR1, null(), &mut action);
        sigaction(SIGALRM, &action, null_mut());
        setitimer(ITIMER_REAL, &timer, null_mut());
        show("interrupted", epoll_wait(set.0, events.as_mut_ptr(), 4, -1));
        println!("{}", noted_signals());
    }
}

fn times(_: &str) {
    unsafe {
        let ((_c, a), set) = (connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        let mut events = [epoll_event { events: 0, u64: 0 }; 4];
        let mut wait = |what: &str, tv_sec: i64, tv_nsec: i64| {
            let limit = timespec { tv_sec, tv_nsec };
            let begun = std::time::Instant::now();
            let args = (set.0, events.as_mut_ptr(), 4, &raw const limit, 0usize, 8usize);
            show(what, syscall(SYS_epoll_pwait2, args.0, args.1, args.2, args.3, args.4, args.5));
            println!(
                "{}",
                begun.elapsed() >= std::time::Duration::new(tv_sec.max(0) as u64, tv_nsec.clamp(0, 999_999_999) as u32)
            );
        };
        wait("at once", 0, 0);
        wait("a nanosecond", 0, 1);
        wait("some microseconds", 0, 250_000);
        wait("milliseconds", 0, 20_000_001);
        wait("no such time", 0, -1);
        wait("nor this", -1, 0);
        let begun = std::time::Instant::now();
        show("epoll_wait", epoll_wait(set.0, events.as_mut_ptr(), 4, 30));
        println!("{}", begun.elapsed().as_millis() >= 30);
    }
}

/// Ten thousand members, half of each kernel: the few that are ready are found.
fn many(_: &str) {
    const SOCKETS: u64 = 5000;
    unsafe {
        let mut limit: rlimit = zeroed();
        getrlimit(RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max.min(12_000);
        assert_eq!(setrlimit(RLIMIT_NOFILE, &limit), 0);
        let set = Set::new();
        let (mut sockets, mut events) = (Vec::new(), Vec::new());
        for tag in 0..SOCKETS {
            let s = socket(AF_INET, SOCK_DGRAM, 0);
            assert!(s >= 0, "{tag}: {}", std::io::Error::last_os_error());
            set.add(s, EPOLLIN, tag);
            sockets.push(s);
        }
        for tag in SOCKETS..10_000 {
            let e = eventfd(0, 0);
            set.add(e, EPOLLIN, tag);
            events.push(e);
        }
        set.look("nothing", 0);
        let from = socket(AF_INET, SOCK_DGRAM, 0);
        for s in [sockets[17], sockets[899], sockets[400]] {
            let mut addr = loopback(0);
            bind(s, (&raw const addr).cast(), LEN);
            let mut len = LEN;
            getsockname(s, (&raw mut addr).cast(), &mut len);
            assert_eq!(sendto(from, b"x".as_ptr().cast(), 1, 0, (&raw const addr).cast(), LEN), 1);
        }
        let one = 1u64;
        write(events[3333], (&raw const one).cast(), 8);
        set.look("four", 5000);
        take(sockets[17]);
        take(events[3333]);
        set.look("two", 5000);
        for &s in &sockets {
            assert_eq!(set.ctl(EPOLL_CTL_MOD, s, EPOLLOUT | EPOLLONESHOT, s as u64), 0);
        }
        println!("all of them: {}", set.events(10_000, 5000).len());
        set.look("and no more", 0);
        for &fd in sockets.iter().chain(&events) {
            close(fd);
        }
        set.look("all closed", 0);
    }
}
