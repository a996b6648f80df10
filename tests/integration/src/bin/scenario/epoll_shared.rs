//! epoll: sets in sets, sets with several numbers, threads and processes; what happens while somebody waits.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;

use super::epoll::{Set, ends, put, take};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("epoll_nested", OneProcess, nested),
    ("epoll_nested_early", OneProcess, nested_early),
    ("epoll_set_in_poll", OneProcess, set_in_poll),
    ("epoll_set_duplicated", OneProcess, set_duplicated),
    ("epoll_set_replaced", OneProcess, set_replaced),
    ("epoll_set_range_closed", OneProcess, set_range_closed),
    ("epoll_fork", Processes, fork_with_a_set),
    ("epoll_exec", Processes, exec_with_a_set),
    ("epoll_spawn", Processes, spawn_beside_a_set),
    ("epoll_threads", OneProcess, threads),
    ("epoll_exclusive", OneProcess, exclusive),
    ("epoll_waiter_sees_first_member", OneProcess, waiter_sees_first_member),
    ("epoll_waiter_sees_new_member", OneProcess, waiter_sees_new_member),
    ("epoll_waiter_and_close", OneProcess, waiter_and_close),
    ("epoll_from_nothing", OneProcess, from_nothing),
];

fn nested(_: &str) {
    unsafe {
        let ((c, a), (r, w), inner, outer) = (connected(), ends(), Set::new(), Set::new());
        inner.add(a, EPOLLIN, 1);
        inner.add(r, EPOLLIN, 2);
        outer.add(inner.0, EPOLLIN, 3);
        outer.look("nothing", 20);
        put(c, "x");
        outer.look("socket", 5000);
        inner.look("inside", 5000);
        put(w, "x");
        outer.look("both are one", 5000);
        take(a);
        outer.look("pipe", 5000);
        take(r);
        outer.look("none", 20);
        show("edge", outer.ctl(EPOLL_CTL_MOD, inner.0, EPOLLIN | EPOLLET, 4));
        put(c, "x");
        outer.look("socket, once", 5000);
        outer.look("no news", 20);
        put(c, "y");
        outer.look("news", 5000);
        let top = Set::new();
        top.add(outer.0, EPOLLIN, 5);
        take(a);
        put(c, "z");
        top.look("from the top", 5000);
        show("delete", epoll_ctl(outer.0, EPOLL_CTL_DEL, inner.0, null_mut()));
        top.look("cut off", 20);
        show("twice", epoll_ctl(outer.0, EPOLL_CTL_DEL, inner.0, null_mut()));
        show("again", outer.ctl(EPOLL_CTL_ADD, inner.0, EPOLLIN, 6));
        top.look("joined", 5000);
        close(inner.0);
        outer.look("closed", 20);
    }
}

/// Sets that are members before there is anything of the rump kernel's in them.
fn nested_early(_: &str) {
    unsafe {
        let ((c, a), (r, w)) = (connected(), ends());
        let (inner, outer, top) = (Set::new(), Set::new(), Set::new());
        top.add(outer.0, EPOLLIN, 1);
        outer.add(inner.0, EPOLLIN, 2);
        inner.add(r, EPOLLIN, 3);
        put(w, "x");
        top.look("pipe", 5000);
        take(r);
        inner.add(a, EPOLLIN, 4);
        top.look("nothing", 20);
        put(c, "x");
        top.look("socket", 5000);
        outer.look("middle", 5000);
        inner.look("inside", 5000);
        show("a circle", inner.ctl(EPOLL_CTL_ADD, top.0, EPOLLIN, 5));
        let mut chain = vec![top];
        let mut depth = 3;
        loop {
            let above = Set::new();
            if above.ctl(EPOLL_CTL_ADD, chain[chain.len() - 1].0, EPOLLIN, 6) != 0 {
                show("too deep", -1);
                break;
            }
            depth += 1;
            chain.push(above);
        }
        println!("{depth}");
    }
}

fn set_in_poll(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN, 1);
        set.add(r, EPOLLIN, 2);
        let look = |what: &str, limit: c_int| {
            let mut fds = [pollfd { fd: set.0, events: POLLIN | POLLOUT, revents: 0 }];
            show(what, poll(fds.as_mut_ptr(), 1, limit));
            let mut bits: fd_set = zeroed();
            FD_SET(set.0, &mut bits);
            let mut time = timeval { tv_sec: 0, tv_usec: i64::from(limit.min(20)) * 1000 };
            let ready = select(set.0 + 1, &mut bits, null_mut(), null_mut(), &mut time);
            println!("{:#x} {ready}", fds[0].revents);
        };
        look("nothing", 20);
        put(c, "x");
        look("socket", 5000);
        take(a);
        put(w, "x");
        look("pipe", 5000);
        put(c, "x");
        look("both", 5000);
        take(a);
        take(r);
        look("none", 20);
        show("an edge that was seen", set.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET, 1));
        put(c, "x");
        look("edge", 5000);
        set.look("taken", 5000);
        look("and gone", 20);
    }
}

fn set_duplicated(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        let early = Set(dup(set.0));
        set.add(a, EPOLLIN, 1);
        let late = Set(fcntl(set.0, F_DUPFD_CLOEXEC, 200));
        println!("{}", late.0 >= 200);
        let onto = Set(dup2(set.0, 300));
        put(c, "x");
        for (what, set) in [("itself", &set), ("early", &early), ("late", &late), ("onto", &onto)] {
            set.look(what, 5000);
        }
        show("through another number", early.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 2));
        show("close", close(set.0));
        show("close", close(early.0));
        late.look("the rest", 5000);
        show("change", late.ctl(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLOUT, 3));
        show("close", close(late.0));
        onto.look("the last", 5000);
        show("close", close(onto.0));
        show("gone", onto.ctl(EPOLL_CTL_MOD, a, EPOLLIN, 3));
    }
}

fn set_replaced(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN, 1);
        show("a pipe over the set", dup2(r, set.0) - set.0);
        show("no set", set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
        put(w, "x");
        show("but a pipe", take(set.0) as i64);
        let other = Set::new();
        other.add(a, EPOLLIN, 2);
        show("the set over a socket", dup2(other.0, c) - c);
        let c = Set(c);
        shutdown(a, SHUT_RD);
        c.look("a set", 5000);
        show("a socket over a set", dup2(a, other.0) - other.0);
        c.look("still a set", 5000);
        show("shut", shutdown(other.0, SHUT_RD));
    }
}

fn set_range_closed(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        let high = Set(fcntl(set.0, F_DUPFD, 400));
        put(c, "x");
        show("close_range", syscall(SYS_close_range, 400, 500, 0));
        show("gone", high.ctl(EPOLL_CTL_MOD, a, EPOLLIN, 1));
        set.look("not this one", 5000);
        show("close_range", syscall(SYS_close_range, set.0, set.0, 0));
        let again = Set::new();
        println!("{}", again.0 == set.0);
        again.look("a new one is empty", 20);
    }
}

fn fork_with_a_set(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(a, EPOLLIN | EPOLLET, 1);
        set.add(r, EPOLLIN, 2);
        let (told, tell) = ends();
        let child = fork();
        if child == 0 {
            take(told);
            println!("child: {:?}", set.events(8, 5000));
            let mut others = [0; 2];
            socketpair(AF_UNIX, SOCK_STREAM, 0, others.as_mut_ptr());
            // The set is shared, so the parent will find it.
            set.add(c, EPOLLOUT, 3);
            close(set.0);
            close(a);
            close(c);
            _exit(0);
        }
        put(c, "x");
        put(w, "x");
        put(tell, "x");
        let mut status = 0;
        waitpid(child, &mut status, 0);
        set.look("the edge was the child's", 5000);
        show("its member is mine", set.ctl(EPOLL_CTL_MOD, c, 0, 3));
        set.look("changed", 5000);
        put(c, "y");
        set.look("news", 5000);
    }
}

/// Runs itself again with a set that is not close-on-exec, and with one that is.
fn exec_with_a_set(folder: &str) {
    unsafe {
        if let Ok(numbers) = std::env::var("SCENARIO_SET") {
            let numbers: Vec<c_int> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            let (set, other, a) = (Set(numbers[0]), Set(numbers[1]), numbers[2]);
            set.look("in the new image", 5000);
            Set(numbers[3]).look("by the other number", 5000);
            take(a);
            set.look("nothing", 20);
            show("the other is closed", other.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
            show("known", set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1));
            show("changed", set.ctl(EPOLL_CTL_MOD, a, EPOLLOUT, 7));
            set.look("out", 5000);
            return;
        }
        let ((c, a), (r, _w)) = (connected(), ends());
        let (set, other) = (Set(epoll_create1(0)), Set::new());
        set.add(a, EPOLLIN, 1);
        set.add(r, EPOLLIN, 2);
        other.add(a, EPOLLIN, 3);
        put(c, "x");
        let variable = CString::new(format!("{} {} {a} {}", set.0, other.0, dup(set.0))).unwrap();
        setenv(c"SCENARIO_SET".as_ptr(), variable.as_ptr(), 1);
        let program = std::env::current_exe().unwrap();
        let program = CString::new(program.to_str().unwrap()).unwrap();
        let folder = CString::new(folder).unwrap();
        let args = [program.as_ptr(), c"epoll_exec".as_ptr(), folder.as_ptr(), null()];
        execv(program.as_ptr(), args.as_ptr());
        show("execv", -1);
    }
}

/// A child of posix_spawn closes and replaces the numbers of its own, not the parent's.
fn spawn_beside_a_set(_: &str) {
    unsafe {
        let ((c, a), set) = (connected(), Set(epoll_create1(0)));
        set.add(a, EPOLLIN, 1);
        let mut actions: posix_spawn_file_actions_t = zeroed();
        posix_spawn_file_actions_init(&mut actions);
        posix_spawn_file_actions_addclose(&mut actions, set.0);
        posix_spawn_file_actions_adddup2(&mut actions, 1, set.0);
        let script = CString::new(format!("echo from the child >&{}", set.0)).unwrap();
        let args = [c"sh".as_ptr().cast_mut(), c"-c".as_ptr().cast_mut(), script.as_ptr().cast_mut(), null_mut()];
        let environment = [c"PATH=/usr/bin:/bin".as_ptr().cast_mut(), null_mut()];
        let mut child = 0;
        let shell = c"/bin/sh".as_ptr();
        let spawned = posix_spawn(&mut child, shell, &actions, null(), args.as_ptr(), environment.as_ptr());
        let mut status = 0;
        waitpid(child, &mut status, 0);
        show("spawn", spawned);
        println!("{}", WEXITSTATUS(status));
        put(c, "x");
        set.look("the parent's set", 5000);
    }
}

/// Four threads on one set: each of the one-shot events comes to one of them.
fn threads(_: &str) {
    unsafe {
        let set = Set::new();
        let taken = AtomicUsize::new(0);
        let mut writers = Vec::new();
        for tag in 0..20 {
            let ((c, a), (r, w)) = (connected(), ends());
            set.add(a, EPOLLIN | EPOLLONESHOT, tag);
            set.add(r, EPOLLIN | EPOLLONESHOT, tag + 100);
            writers.extend([c, w]);
        }
        let mut found: Vec<u64> = thread::scope(|scope| {
            let waiter = || {
                let mut mine = Vec::new();
                while taken.load(Ordering::SeqCst) < 40 {
                    let events = set.events(3, 10);
                    taken.fetch_add(events.len(), Ordering::SeqCst);
                    mine.extend(events.iter().map(|(tag, _)| *tag));
                }
                mine
            };
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(waiter)).collect();
            writers.iter().for_each(|fd| put(*fd, "x"));
            waiters.into_iter().flat_map(|waiter| waiter.join().unwrap()).collect()
        });
        found.sort_unstable();
        println!("{} {found:?}", found.len());
    }
}

/// Of two sets that wait for one socket exclusively, at least one reports; without waiters, both do.
fn exclusive(_: &str) {
    unsafe {
        let ((c, a), one, two) = (connected(), Set::new(), Set::new());
        one.add(a, EPOLLIN | EPOLLEXCLUSIVE, 1);
        two.add(a, EPOLLIN | EPOLLEXCLUSIVE, 2);
        put(c, "x");
        one.look("one", 5000);
        two.look("two", 5000);
        take(a);
        one.look("none", 20);
        two.look("none", 20);
        let found = thread::scope(|scope| {
            let waiters = [&one, &two].map(|set| scope.spawn(|| set.events(4, 200).len()));
            // Either finds it, if need be because it looks late.
            put(c, "x");
            waiters.map(|waiter| waiter.join().unwrap())
        });
        println!("somebody: {}", found.iter().sum::<usize>() >= 1);
        take(a);
        show("delete", epoll_ctl(one.0, EPOLL_CTL_DEL, a, null_mut()));
        put(c, "x");
        two.look("the other", 5000);
    }
}

/// Runs `wait` in a thread, and `then` once that sleeps.
unsafe fn while_waiting<T: Send>(wait: impl FnOnce() -> T + Send, then: impl FnOnce()) -> T {
    let thread = AtomicI32::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            thread.store(unsafe { gettid() }, Ordering::SeqCst);
            wait()
        });
        while thread.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        until_asleep(unsafe { getpid() }, thread.load(Ordering::SeqCst));
        then();
        waiter.join().unwrap()
    })
}

/// A set without rump members gets one while threads wait for it.
fn waiter_sees_first_member(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(r, EPOLLIN, 1);
        let found = while_waiting(
            || set.events(4, 20_000),
            || {
                set.add(a, EPOLLIN, 2);
                put(c, "x");
            },
        );
        println!("{found:?}");
        set.look("again", 5000);
        take(a);
        set.look("nothing left behind", 20);
        put(w, "x");
        set.look("the pipe", 5000);
        // The same when the waiter's set is one further out.
        let ((d, b), inner, outer) = (connected(), Set::new(), Set::new());
        outer.add(inner.0, EPOLLIN, 3);
        let found = while_waiting(
            || outer.events(4, 20_000),
            || {
                inner.add(b, EPOLLIN, 4);
                put(d, "x");
            },
        );
        println!("{found:?}");
        take(b);
        outer.look("nothing", 20);
        let time_is_over = Set::new();
        let (r, _w) = ends();
        time_is_over.add(r, EPOLLIN, 6);
        let begun = std::time::Instant::now();
        let found = while_waiting(|| time_is_over.events(4, 300), || time_is_over.add(a, EPOLLIN, 7));
        println!("{found:?} {}", begun.elapsed().as_millis() >= 300);
    }
}

fn waiter_sees_new_member(_: &str) {
    unsafe {
        let ((c, a), (r, w), set) = (connected(), ends(), Set::new());
        set.add(r, EPOLLIN, 1);
        thread::scope(|scope| {
            // The wait begins on a set without rump members, or just after it gets one.
            let waiter = scope.spawn(|| set.events(4, 10_000));
            put(c, "x");
            set.add(a, EPOLLIN, 2);
            // Whoever was waiting for the pipe alone looks again when it has something.
            put(w, "x");
            let found = waiter.join().unwrap();
            println!("{}", !found.is_empty());
        });
        set.look("both", 5000);
        take(a);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| set.events(4, 10_000));
            take(r);
            let ((d, b), _) = (connected(), ());
            put(d, "x");
            set.add(b, EPOLLIN, 3);
            let found = waiter.join().unwrap();
            println!("{}", found.iter().all(|(tag, _)| [1, 3].contains(tag)));
        });
        set.look("the new one", 5000);
    }
}

fn waiter_and_close(_: &str) {
    unsafe {
        let ((c, a), (d, b), set) = (connected(), connected(), Set::new());
        set.add(a, EPOLLIN, 1);
        set.add(b, EPOLLIN, 2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| set.events(4, 10_000));
            close(a);
            put(d, "x");
            println!("{:?}", waiter.join().unwrap());
        });
        take(b);
        // The peer of the closed one has heard of it.
        show("recv", recv(c, [0u8; 1].as_mut_ptr().cast(), 1, 0) as i64);
        let number = set.0;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| set.events(4, 300));
            thread::yield_now();
            let other = Set(dup(number));
            other.add(d, EPOLLOUT | EPOLLONESHOT, 3);
            println!("{:?}", waiter.join().unwrap());
        });
    }
}

/// A set from the times of epoll_create, and one that only a number is known of.
fn from_nothing(_: &str) {
    unsafe {
        let (c, a) = connected();
        let set = Set(epoll_create(5));
        show("close-on-exec", fcntl(set.0, F_GETFD));
        show("close-on-exec", fcntl(Set::new().0, F_GETFD));
        set.add(a, EPOLLIN, 1);
        put(c, "x");
        set.look("epoll_create", 5000);
        let raw = Set(syscall(SYS_epoll_create1, 0) as c_int);
        raw.add(a, EPOLLIN, 2);
        raw.look("by its number", 5000);
        show("stat", {
            let mut stat: stat = zeroed();
            fstat(raw.0, &mut stat)
        });
        show("read", take(raw.0) as i64);
        show("lseek", lseek(raw.0, 0, SEEK_CUR));
    }
}
