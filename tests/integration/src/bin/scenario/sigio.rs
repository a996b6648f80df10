//! Signals of files that became ready: O_ASYNC, F_SETOWN, F_SETSIG (fcntl(2)).

use super::forking::{ended, fresh, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("sigio_asked_for", OneProcess, sigio_asked_for),
    ("sigio_plain", HandedOver, sigio_plain),
    ("sigio_chosen", HandedOver, sigio_chosen),
    ("sigio_of_fifos", HandedOver, sigio_of_fifos),
    ("sigio_of_files", HandedOver, sigio_of_files),
    ("sigio_by_ioctl", HandedOver, sigio_by_ioctl),
    ("sigio_to_a_thread", HandedOver, sigio_to_a_thread),
    ("sigio_ends_a_sleep", HandedOver, sigio_ends_a_sleep),
    ("sigio_of_urgent_data", HandedOver, sigio_of_urgent_data),
    ("sigio_between_processes", HandedOverProcesses, sigio_between_processes),
];

const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;
const FIOSETOWN: c_ulong = 0x8901;
const FIOGETOWN: c_ulong = 0x8903;

#[repr(C)]
struct Owner {
    kind: c_int,
    pid: c_int,
}

fn chosen() -> c_int {
    SIGRTMIN() + 3
}

/// The signals of these tests, blocked.
unsafe fn blocked() -> sigset_t {
    unsafe {
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, SIGIO);
        sigaddset(&mut set, chosen());
        pthread_sigmask(SIG_BLOCK, &set, null_mut());
        set
    }
}

/// Waits for a signal, and for its like that came at the same time; says what it tells.
unsafe fn told(what: &str, set: &sigset_t, fd: c_int) {
    unsafe {
        let mut info: siginfo_t = zeroed();
        let limit = timespec { tv_sec: 20, tv_nsec: 0 };
        let signal = sigtimedwait(set, &mut info, &limit);
        // Behind si_code: si_band and si_fd.
        let words = (&raw const info).cast::<i64>();
        let (band, number) = (*words.add(2), *words.add(3) as c_int);
        let name = if signal == SIGIO { "SIGIO".into() } else { format!("{}", signal - SIGRTMIN()) };
        match signal {
            SIGIO => println!("{what}: {name} {:#x}", info.si_code),
            _ => println!("{what}: {name} code {} band {band:#x} its number {}", info.si_code, number == fd),
        }
        while sigtimedwait(set, &mut info, &zeroed()) > 0 {}
    }
}

pub unsafe fn nothing_told(what: &str, set: &sigset_t) {
    unsafe { show(what, sigtimedwait(set, null_mut(), &zeroed())) };
}

unsafe fn flag(what: &str, fd: c_int, flags: c_int) {
    unsafe {
        show(what, fcntl(fd, F_SETFL, flags));
        println!("{:#x}", fcntl(fd, F_GETFL) & (O_ASYNC | O_NONBLOCK));
    }
}

/// Waits for SIGURG.
pub unsafe fn urged(what: &str, set: &sigset_t) {
    unsafe {
        let limit = timespec { tv_sec: 20, tv_nsec: 0 };
        println!("{what}: {}", sigtimedwait(set, null_mut(), &limit) == SIGURG);
    }
}

fn sigio_of_urgent_data(_: &str) {
    unsafe {
        let mut set: sigset_t = zeroed();
        sigaddset(&mut set, SIGURG);
        sigaddset(&mut set, SIGIO);
        pthread_sigmask(SIG_BLOCK, &set, null_mut());
        let (c, a) = connected();
        let press = || send(c, b"u".as_ptr().cast(), 1, MSG_OOB);
        press();
        nothing_told("nobody owns it", &set);
        show("F_SETOWN", fcntl(a, F_SETOWN, getpid()));
        press();
        urged("the owner", &set);
        show("not by what is not urgent", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        nothing_told("nor without the flag", &set);
        show("F_SETSIG", fcntl(a, F_SETSIG, chosen()));
        press();
        urged("whatever signal was chosen", &set);
        let mut owner = -getpgrp();
        show("SIOCSPGRP", ioctl(a, 0x8902, &mut owner));
        show("F_GETOWN", i32::from(fcntl(a, F_GETOWN) == owner));
        owner = 0;
        show("nobody", ioctl(a, 0x8902, &mut owner));
        press();
        nothing_told("nobody owns it", &set);
    }
}

fn sigio_asked_for(_: &str) {
    unsafe {
        blocked();
        let (_c, a) = connected();
        show("F_SETOWN", fcntl(a, F_SETOWN, getpid()));
        show("O_ASYNC", fcntl(a, F_SETFL, O_ASYNC));
        show("O_NONBLOCK", fcntl(a, F_SETFL, O_NONBLOCK));
        show("F_SETSIG 0", fcntl(a, F_SETSIG, 0));
    }
}

fn sigio_plain(_: &str) {
    unsafe {
        let set = blocked();
        let (c, a) = connected();
        show("F_SETOWN", fcntl(a, F_SETOWN, getpid()));
        put(c, b"x");
        nothing_told("not yet", &set);
        flag("O_ASYNC", a, O_ASYNC | O_NONBLOCK);
        nothing_told("what is there is no news", &set);
        put(c, b"y");
        told("data", &set, a);
        put(c, b"z");
        told("more data", &set, a);
        flag("off", a, 0);
        put(c, b"x");
        nothing_told("off", &set);
        flag("on again", a, O_ASYNC);
        shutdown(c, SHUT_WR);
        told("the end", &set, a);
        show("F_SETOWN 0", fcntl(a, F_SETOWN, 0));
        let (s, to) = listener();
        fcntl(s, F_SETOWN, getpid());
        flag("listener", s, O_ASYNC);
        let other = socket(AF_INET, SOCK_STREAM, 0);
        show("connect", connect(other, (&raw const to).cast(), size_of::<sockaddr_in>() as u32));
        told("a connection", &set, s);
        close(s);
        nothing_told("closed", &set);
    }
}

fn sigio_chosen(_: &str) {
    unsafe {
        let set = blocked();
        let (c, a) = connected();
        show("F_SETSIG", fcntl(a, F_SETSIG, chosen()));
        println!("chosen: {}", fcntl(a, F_GETSIG) == chosen());
        show("bad", fcntl(a, F_SETSIG, 65));
        println!("still: {}", fcntl(a, F_GETSIG) == chosen());
        fcntl(a, F_SETOWN, getpid());
        flag("O_ASYNC", a, O_ASYNC);
        put(c, b"x");
        told("data", &set, a);
        let copy = dup(a);
        println!("the copy has it: {}", fcntl(copy, F_GETSIG) == chosen());
        put(c, b"x");
        told("by the first number", &set, a);
        flag("off", a, 0);
        flag("on by the copy", copy, O_ASYNC);
        put(c, b"x");
        told("by the copy's", &set, copy);
        close(copy);
        put(c, b"x");
        told("as before", &set, copy);
        let (udp, to) = (socket(AF_INET, SOCK_DGRAM, 0), loopback(0));
        bind(udp, (&raw const to).cast(), size_of::<sockaddr_in>() as u32);
        let mut address: sockaddr_in = zeroed();
        let mut len = size_of::<sockaddr_in>() as u32;
        getsockname(udp, (&raw mut address).cast(), &mut len);
        fcntl(udp, F_SETOWN, getpid());
        fcntl(udp, F_SETSIG, chosen());
        flag("O_ASYNC", udp, O_ASYNC);
        let from = socket(AF_INET, SOCK_DGRAM, 0);
        sendto(from, c"x".as_ptr().cast(), 1, 0, (&raw const address).cast(), len);
        told("a datagram", &set, udp);
    }
}

fn sigio_of_fifos(folder: &str) {
    unsafe {
        let set = blocked();
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let writer = open(name.as_ptr(), O_WRONLY | O_NONBLOCK);
        for fd in [reader, writer] {
            fcntl(fd, F_SETOWN, getpid());
            fcntl(fd, F_SETSIG, chosen());
        }
        flag("reader", reader, O_ASYNC | O_NONBLOCK);
        put(writer, b"x");
        told("written", &set, reader);
        flag("reader off", reader, O_NONBLOCK);
        flag("writer", writer, O_ASYNC | O_NONBLOCK);
        let bytes = [0u8; 4096];
        while write(writer, bytes.as_ptr().cast(), bytes.len()) > 0 {}
        nothing_told("full", &set);
        let mut all = vec![0u8; 1 << 17];
        println!("read: {}", read(reader, all.as_mut_ptr().cast(), all.len()) > 0);
        told("room", &set, writer);
    }
}

fn sigio_of_files(folder: &str) {
    unsafe {
        blocked();
        let fd = fresh(folder, "f");
        flag("O_ASYNC", fd, O_ASYNC);
        let on: c_int = 1;
        show("FIOASYNC", ioctl(fd, FIOASYNC, &on));
        show("F_SETSIG", fcntl(fd, F_SETSIG, chosen()));
        println!("kept: {}", fcntl(fd, F_GETSIG) == chosen());
        show("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
        println!("kept: {}", fcntl(fd, F_GETOWN) == getpid());
    }
}

fn sigio_by_ioctl(_: &str) {
    unsafe {
        let set = blocked();
        let (c, a) = connected();
        let (mut owner, on, off) = (getpid(), 1, 0);
        show("FIOSETOWN", ioctl(a, FIOSETOWN, &owner));
        owner = 0;
        show("FIOGETOWN", ioctl(a, FIOGETOWN, &mut owner));
        println!("{} {}", owner == getpid(), fcntl(a, F_GETOWN) == getpid());
        show("FIOASYNC", ioctl(a, FIOASYNC, &on));
        println!("{:#x}", fcntl(a, F_GETFL) & O_ASYNC);
        put(c, b"x");
        told("data", &set, a);
        show("FIOASYNC off", ioctl(a, FIOASYNC, &off));
        put(c, b"x");
        nothing_told("off", &set);
        owner = -getpgrp();
        show("a group", ioctl(a, FIOSETOWN, &owner));
        println!("{}", fcntl(a, F_GETOWN) == -getpgrp());
        show("nobody", fcntl(a, F_SETOWN, 0x3fff_ffff));
    }
}

fn sigio_to_a_thread(_: &str) {
    unsafe {
        let set = blocked();
        let (c, a) = connected();
        let (ready, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            ready.send(gettid()).unwrap();
            told("in the thread", &set, a);
        });
        let mut owner = Owner { kind: 0, pid: wait.recv().unwrap() };
        show("F_SETOWN_EX", fcntl(a, F_SETOWN_EX, &owner));
        let tid = owner.pid;
        owner = Owner { kind: 7, pid: 7 };
        show("F_GETOWN_EX", fcntl(a, F_GETOWN_EX, &mut owner));
        println!("{} {}", owner.kind, owner.pid == tid);
        fcntl(a, F_SETSIG, chosen());
        flag("O_ASYNC", a, O_ASYNC);
        put(c, b"x");
        thread.join().unwrap();
        nothing_told("not for the process", &set);
    }
}

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

static HANDLED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// In the host, and in the other kernel.
fn sigio_ends_a_sleep(_: &str) {
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = count as *const () as usize;
        sigaction(SIGIO, &action, null_mut());
        let (c, a) = connected();
        let (_other, quiet) = connected();
        fcntl(a, F_SETOWN, getpid());
        let mut owner = Owner { kind: 0, pid: gettid() };
        fcntl(a, F_SETOWN_EX, &mut owner);
        flag("O_ASYNC", a, O_ASYNC);
        let main = gettid();
        for what in 0..4 {
            let sender = std::thread::spawn(move || {
                until_asleep(getpid(), main);
                put(c, b"x");
            });
            let mut byte = 0u8;
            let mut fds = pollfd { fd: quiet, events: POLLIN, revents: 0 };
            match what {
                0 => _ = show("pause", pause()),
                1 => _ = show("recv", recv(quiet, (&raw mut byte).cast(), 1, 0) as i64),
                2 => _ = show("poll", poll(&mut fds, 1, -1)),
                _ => _ = show("nanosleep", nanosleep(&timespec { tv_sec: 100, tv_nsec: 0 }, null_mut())),
            }
            sender.join().unwrap();
        }
        println!("handled: {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
    }
}

fn sigio_between_processes(_: &str) {
    unsafe {
        let set = blocked();
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            let mut byte = 0u8;
            read(ends[0], (&raw mut byte).cast(), 1);
            put(c, b"x");
            let owner = sigtimedwait(&set, null_mut(), &timespec { tv_sec: 20, tv_nsec: 0 });
            _exit(if owner == SIGIO { 7 } else { 1 });
        }
        fcntl(a, F_SETOWN, getpid());
        flag("O_ASYNC", a, O_ASYNC);
        put(ends[1], b"x");
        told("from the child", &set, a);
        fcntl(a, F_SETOWN, child);
        put(c, b"x");
        ended("to the child", child);
        nothing_told("not here", &set);
        let child = fork();
        if child == 0 {
            signal(SIGIO, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &set, null_mut());
            fcntl(a, F_SETOWN, getpid());
            put(ends[1], b"x");
            loop {
                pause();
            }
        }
        let mut byte = 0u8;
        read(ends[0], (&raw mut byte).cast(), 1);
        put(c, b"x");
        ended("by default", child);
        setpgid(0, 0);
        fcntl(a, F_SETOWN, -getpgrp());
        println!("a group: {}", fcntl(a, F_GETOWN) == -getpgrp());
        put(c, b"x");
        told("to the group", &set, a);
    }
}
