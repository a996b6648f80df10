//! Epoll sets that are asked again and again in vain, without waiting: what comes then is seen by the next question, whoever brought it about,
//! however the member reports, and whatever became of the set meanwhile.

use super::epoll::{Set, ends, put, take};
use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_sets_levels", OneProcess, levels),
    ("busy_sets_edges", OneProcess, edges),
    ("busy_sets_changes", OneProcess, changes),
    ("busy_sets_nested", OneProcess, nested),
    ("busy_sets_streams", OneProcess, streams),
    ("busy_sets_local", LocalSockets, local),
    ("busy_sets_from_outside", Processes, from_outside),
];

/// More than enough for the library to look at memory.
const MANY: usize = 40;

/// A bound datagram socket that is connected to itself: what it sends it receives.
unsafe fn mirror() -> c_int {
    unsafe {
        let s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        let mut addr = loopback(0);
        assert_eq!(bind(s, (&raw const addr).cast(), LEN), 0);
        let mut len = LEN;
        assert_eq!(getsockname(s, (&raw mut addr).cast(), &mut len), 0);
        assert_eq!(connect(s, (&raw const addr).cast(), LEN), 0);
        s
    }
}

/// Asks in vain.
unsafe fn in_vain(set: &Set) {
    (0..MANY).for_each(|_| assert_eq!(unsafe { set.events(4, 0) }, []));
}

fn levels(_: &str) {
    unsafe {
        let (a, b, (r, w), set) = (mirror(), mirror(), ends(), Set::new());
        for (fd, tag) in [(a, 1), (b, 2), (r, 3)] {
            set.add(fd, EPOLLIN, tag);
        }
        for _ in 0..4 {
            in_vain(&set);
            put(a, "x");
            set.look("one", 0);
            set.look("still", 0);
            put(b, "x");
            set.look("two", 0);
            println!("{} {}", take(a), take(b));
            put(w, "x");
            for _ in 0..MANY {
                assert_eq!(set.events(4, 0), [(3, EPOLLIN as u32)]);
            }
            put(b, "x");
            set.look("of both kernels", 0);
            println!("{} {}", take(b), take(r));
        }
        in_vain(&set);
        close(a);
        in_vain(&set);
        put(b, "x");
        set.look("the other", 0);
    }
}

fn edges(_: &str) {
    unsafe {
        let (a, b, set) = (mirror(), mirror(), Set::new());
        set.add(a, EPOLLIN | EPOLLET, 1);
        set.add(b, EPOLLIN | EPOLLONESHOT, 2);
        for _ in 0..4 {
            in_vain(&set);
            put(a, "x");
            set.look("an edge", 0);
            in_vain(&set);
            put(a, "y");
            set.look("another", 0);
            in_vain(&set);
            put(b, "x");
            set.look("once", 0);
            put(b, "y");
            in_vain(&set);
            set.ctl(EPOLL_CTL_MOD, b, EPOLLIN | EPOLLONESHOT, 2);
            set.look("armed again", 0);
            println!("{} {} {} {}", take(a), take(a), take(b), take(b));
            set.ctl(EPOLL_CTL_MOD, b, EPOLLIN | EPOLLONESHOT, 2);
        }
    }
}

fn changes(_: &str) {
    unsafe {
        let (a, (c, s), set) = (mirror(), connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        for _ in 0..3 {
            in_vain(&set);
            set.add(s, EPOLLIN, 2);
            in_vain(&set);
            put(c, "x");
            set.look("a new member", 0);
            set.ctl(EPOLL_CTL_MOD, s, 0, 3);
            in_vain(&set);
            set.ctl(EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT, 3);
            set.look("asked for more", 0);
            take(s);
            set.look("room", 0);
            set.ctl(EPOLL_CTL_DEL, s, 0, 0);
            in_vain(&set);
            put(c, "x");
            in_vain(&set);
            set.add(s, EPOLLIN, 4);
            set.look("it was there before", 0);
            take(s);
            set.ctl(EPOLL_CTL_DEL, s, 0, 0);
            let again = dup(set.0);
            in_vain(&Set(again));
            put(a, "x");
            Set(again).look("by another number", 0);
            take(a);
            close(again);
        }
        set.add(s, EPOLLIN | EPOLLRDHUP, 5);
        in_vain(&set);
        close(c);
        set.look("the end", 0);
    }
}

fn nested(_: &str) {
    unsafe {
        let (a, (c, s), inner, outer) = (mirror(), connected(), Set::new(), Set::new());
        inner.add(a, EPOLLIN, 1);
        outer.add(inner.0, EPOLLIN, 2);
        let polled = || {
            let mut look = pollfd { fd: outer.0, events: POLLIN, revents: 0 };
            (poll(&mut look, 1, 0), look.revents)
        };
        for round in 0..4 {
            in_vain(&outer);
            in_vain(&inner);
            (0..MANY).for_each(|_| assert_eq!(polled(), (0, 0)));
            put(a, "x");
            println!("{:?}", polled());
            outer.look("outside", 0);
            inner.look("inside", 0);
            take(a);
            if round == 1 {
                inner.add(s, EPOLLIN, 3);
            }
            for _ in 0..MANY * usize::from(round >= 1) {
                assert_eq!((outer.events(4, 0), polled()), (vec![], (0, 0)));
                put(c, "x");
                let found = outer.events(4, 0);
                assert_eq!((found, polled()), (vec![(2, EPOLLIN as u32)], (1, POLLIN)));
                take(s);
            }
        }
    }
}

/// Bytes come to go through shared memory, and the kernel hears of them later.
unsafe fn through(c: c_int, s: c_int) {
    unsafe {
        let (a, set, edges) = (mirror(), Set::new(), Set::new());
        set.add(a, EPOLLIN, 1);
        set.add(s, EPOLLIN, 2);
        edges.add(s, EPOLLIN | EPOLLET, 3);
        in_vain(&set);
        in_vain(&edges);
        for n in 0..4 * MANY {
            put(c, "x");
            assert_eq!(set.events(4, 0), [(2, EPOLLIN as u32)], "{n}");
            assert_eq!(edges.events(4, 0), [(3, EPOLLIN as u32)], "{n}");
            assert_eq!((edges.events(4, 0), take(s)), (vec![], 1), "{n}");
            assert_eq!((set.events(4, 0), edges.events(4, 0)), (vec![], vec![]), "{n}");
        }
        in_vain(&set);
        put(a, "x");
        set.look("what is not shared", 0);
        take(a);
        // It was shared before it became a member.
        let late = Set::new();
        late.add(a, EPOLLIN, 4);
        in_vain(&late);
        late.add(s, EPOLLIN, 5);
        in_vain(&late);
        put(c, "x");
        late.look("shared before", 0);
        take(s);
        set.ctl(EPOLL_CTL_DEL, s, 0, 0);
        in_vain(&set);
        put(a, "x");
        set.look("without it", 0);
    }
}

fn streams(_: &str) {
    unsafe {
        let (c, s) = connected();
        through(c, s);
    }
}

fn local(_: &str) {
    unsafe {
        let mut both = [0; 2];
        assert_eq!(socketpair(AF_UNIX, SOCK_STREAM, 0, both.as_mut_ptr()), 0);
        through(both[0], both[1]);
    }
}

/// What another process has done is seen by who was told of it in another way, or has the set from its parent.
fn from_outside(_: &str) {
    unsafe {
        let (a, b, set, (told, tell), (started, start)) = (mirror(), mirror(), Set::new(), ends(), ends());
        set.add(a, EPOLLIN, 1);
        set.add(told, EPOLLIN, 2);
        in_vain(&set);
        const ROUNDS: usize = 200;
        let child = fork();
        if child == 0 {
            for n in 0..ROUNDS {
                assert_eq!(take(started), 1);
                put(a, "x");
                if n % 2 == 0 {
                    assert_eq!(set.events(4, 0), [(1, EPOLLIN as u32)]);
                }
                put(tell, "x");
            }
            _exit(0);
        }
        for n in 0..ROUNDS {
            assert_eq!(set.events(4, 0), [], "{n}");
            put(start, "x");
            if n % 3 == 0 {
                assert_ne!(set.events(4, -1), [], "{n}");
            }
            assert_eq!(take(told), 1);
            assert_eq!(set.events(4, 0), [(1, EPOLLIN as u32)], "{n}");
            assert_eq!(take(a), 1);
        }
        put(b, "x");
        println!("all {}", take(b));
        close(told);
        ended("child", child);
    }
}
