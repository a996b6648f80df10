//! Processes made at bad moments: in handlers, under timers, killed anywhere, with everybody's numbers in their hands.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::forking::{ended, fresh, print_file, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("handler_forks_and_both_return", Processes, handler_forks_and_both_return),
    ("handler_forks_and_both_restart", Processes, handler_forks_and_both_restart),
    ("handler_on_a_small_stack", OneProcess, handler_on_a_small_stack),
    ("spawns_under_a_timer", Processes, spawns_under_a_timer),
    ("thread_on_a_small_stack", OneProcess, thread_on_a_small_stack),
    ("vfork_onto_any_number", Processes, vfork_onto_any_number),
    ("vfork_onto_any_number_and_exec", Processes, vfork_onto_any_number_and_exec),
    ("vfork_children_are_killed_anywhere", Processes, vfork_children_are_killed_anywhere),
];

unsafe extern "C" {
    #[link_name = "vfork"]
    fn make_vfork() -> pid_t;
}

#[inline(never)]
unsafe fn vforked(child: &dyn Fn() -> c_int) -> pid_t {
    unsafe {
        let pid = make_vfork();
        if pid == 0 {
            _exit(child());
        }
        pid
    }
}

unsafe fn on_signal(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        sigaction(signal, &action, null_mut());
    }
}

/// A handler forks in the middle of a read, and the child goes on with that read as the parent does.
unsafe fn forked_inside_a_read(folder: &str, flags: c_int) {
    static CHILD: AtomicI32 = AtomicI32::new(-1);
    extern "C" fn handler(_: c_int) {
        CHILD.store(unsafe { fork() }, SeqCst);
    }
    unsafe {
        let name = path(folder, "fifo");
        unlink(name.as_ptr());
        show("mkfifo", mkfifo(name.as_ptr(), 0o600));
        let both = open(name.as_ptr(), O_RDWR);
        let out = fresh(folder, "out");
        on_signal(SIGUSR1, handler, flags);
        let parent = getpid();
        let teller = fork();
        if teller == 0 {
            until_asleep(parent, parent);
            kill(parent, SIGUSR1);
            _exit(0);
        }
        // The signal is the reader's.
        let mut told: sigset_t = zeroed();
        sigaddset(&mut told, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &told, null_mut());
        let feeder = std::thread::spawn(move || {
            // With a restart both sleep again, and each takes a byte.
            if flags == SA_RESTART {
                while CHILD.load(SeqCst) <= 0 {
                    std::thread::yield_now();
                }
                until_asleep(parent, parent);
                until_asleep(CHILD.load(SeqCst), CHILD.load(SeqCst));
                put(both, b"ab");
            }
        });
        pthread_sigmask(SIG_UNBLOCK, &told, null_mut());
        let mut byte = 0u8;
        let got = read(both, (&raw mut byte).cast(), 1);
        let how = if got < 0 { errno() } else { 0 };
        let line = format!("{}: {got} {how}\n", if getpid() == parent { "parent" } else { "child" });
        put(out, line.as_bytes());
        if getpid() != parent {
            // What it opens and closes is its own.
            let good = dup2(out, 99) == 99 && close(out) == 0 && put(99, b"child on a number of its own\n");
            _exit(i32::from(!good));
        }
        ended("child", CHILD.load(SeqCst));
        ended("told", teller);
        feeder.join().unwrap();
        println!("not here: {}", fcntl(99, F_GETFD));
        let mut lines: Vec<String> = contents(&path(folder, "out")).lines().map(str::to_owned).collect();
        lines.sort();
        println!("{}", lines.join("\n"));
    }
}

fn handler_forks_and_both_return(folder: &str) {
    unsafe { forked_inside_a_read(folder, 0) };
}

fn handler_forks_and_both_restart(folder: &str) {
    unsafe { forked_inside_a_read(folder, SA_RESTART) };
}

/// A handler on a page beside what the host needs for two works on files and sockets, also inside a call, and is interrupted itself.
fn handler_on_a_small_stack(folder: &str) {
    static SOCKET: AtomicI32 = AtomicI32::new(-1);
    static FILE: std::sync::OnceLock<CString> = std::sync::OnceLock::new();
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: c_int) {
        unsafe {
            let fd = open(FILE.get().map_or(null(), |name| name.as_ptr()), O_RDWR | O_APPEND);
            put(fd, b"file ");
            let deep = DEPTH.fetch_add(1, SeqCst);
            if deep == 0 {
                // Comes now, in the middle of this one.
                raise(SIGUSR2);
            }
            put(SOCKET.load(SeqCst), if deep == 0 { b"outer" } else { b"inner" });
            close(fd);
        }
    }
    unsafe {
        let _ = FILE.set(create(folder, "f", b""));
        const AT_MINSIGSTKSZ: c_ulong = 51;
        let size = 2 * (getauxval(AT_MINSIGSTKSZ) as usize).max(1024) + 4096;
        let mut room = vec![0u128; size / 16];
        let stack = stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: size };
        show("sigaltstack", sigaltstack(&stack, null_mut()));
        for signal in [SIGUSR1, SIGUSR2] {
            on_signal(signal, handler, SA_ONSTACK);
        }
        let (c, a) = connected();
        SOCKET.store(a, SeqCst);
        raise(SIGUSR1);
        let mut bytes = [0u8; 10];
        show("came", recv(c, bytes.as_mut_ptr().cast(), 10, MSG_WAITALL) as i64);
        println!("{}", String::from_utf8_lossy(&bytes));
        println!("{}", contents(FILE.get().unwrap()));
        let mut now: stack_t = zeroed();
        sigaltstack(null(), &mut now);
        println!("still there: {} {}", now.ss_sp == stack.ss_sp && now.ss_size == size, now.ss_flags);
        let main = pthread_self();
        let waker = std::thread::spawn(move || {
            until_asleep(getpid(), getpid());
            pthread_kill(main, SIGUSR1);
        });
        show("interrupted", recv(a, bytes.as_mut_ptr().cast(), 1, 0) as i64);
        waker.join().unwrap();
        show("came", recv(c, bytes.as_mut_ptr().cast(), 5, MSG_WAITALL) as i64);
    }
}

/// A handler that opens and closes interrupts fork and posix_spawn wherever they are.
fn spawns_under_a_timer(folder: &str) {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static FILE: std::sync::OnceLock<CString> = std::sync::OnceLock::new();
    extern "C" fn handler(_: c_int) {
        unsafe {
            let before = errno();
            let fd = open(FILE.get().map_or(null(), |name| name.as_ptr()), O_RDWR);
            if fd >= 0 && put(fd, b"x") && close(fd) == 0 {
                HANDLED.fetch_add(1, SeqCst);
            }
            *__errno_location() = before;
        }
    }
    unsafe {
        let _ = FILE.set(create(folder, "f", b""));
        on_signal(SIGALRM, handler, SA_RESTART);
        let every = |microseconds: i64| {
            let time = timeval { tv_sec: 0, tv_usec: microseconds };
            setitimer(ITIMER_REAL, &itimerval { it_interval: time, it_value: time }, null_mut());
        };
        let mut good = 0;
        every(300);
        for _ in 0..15 {
            let argv = [c"true".as_ptr().cast_mut(), null_mut()];
            let mut child = 0;
            unsafe extern "C" {
                static environ: *const *mut c_char;
            }
            let spawned = posix_spawnp(&mut child, c"true".as_ptr(), null(), null(), argv.as_ptr(), environ);
            let mut status = -1;
            waitpid(child, &mut status, 0);
            good += i32::from(spawned == 0 && status == 0);
            let child = fork();
            if child == 0 {
                every(0);
                _exit(i32::from(open(FILE.get().unwrap().as_ptr(), O_RDONLY) < 0));
            }
            waitpid(child, &mut status, 0);
            good += i32::from(status == 0);
        }
        every(0);
        println!("{good}, handled: {}", HANDLED.load(SeqCst) > 0);
    }
}

/// Numbers among which are those that the library keeps for itself, under a limit that leaves it no others.
fn numbers() -> std::ops::Range<c_int> {
    unsafe {
        let mut limit: rlimit = zeroed();
        getrlimit(RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = 1024;
        assert_eq!(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    950..990
}

fn vfork_onto_any_number(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        let mut bad = Vec::new();
        let numbers = numbers();
        for number in numbers.clone() {
            let ends = [
                vforked(&|| i32::from(!(dup2(fd, number) == number && put(number, b"r") && close(number) == 0))),
                vforked(&|| i32::from(!(dup2(null, number) == number && put(number, b"h") && put(fd, b"r")))),
                vforked(&|| {
                    close(number);
                    let copied = dup2(fd, number) == number && dup2(null, number) == number;
                    i32::from(!(copied && put(number, b"h") && close(number) == 0 && close(number) == -1))
                }),
            ];
            for child in ends {
                let mut status = 0;
                waitpid(child, &mut status, 0);
                if status != 0 || !put(fd, b"p") {
                    bad.push(number);
                }
            }
        }
        println!("bad: {bad:?}");
        println!("free here: {}", numbers.clone().all(|number| fcntl(number, F_GETFD) == -1));
        let text = contents(&path(folder, "f"));
        println!("{} {} {}", text.len(), text.matches('r').count(), text.matches('p').count());
    }
}

fn vfork_onto_any_number_and_exec(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let device = open(c"/dev/null".as_ptr(), O_RDWR);
        let mut good = 0;
        for number in numbers().step_by(2) {
            let child = vforked(&|| {
                dup2(device, number);
                dup2(fd, number + 1);
                dup2(fd, 1);
                let command = c"echo out; test -c /proc/self/fd/$0 && echo >&$1";
                let args = [number, number + 1].map(|number| CString::new(number.to_string()).unwrap());
                let shell = c"bash".as_ptr();
                execlp(
                    shell,
                    shell,
                    c"-c".as_ptr(),
                    command.as_ptr(),
                    args[0].as_ptr(),
                    args[1].as_ptr(),
                    null::<c_char>(),
                );
                127
            });
            let mut status = 0;
            waitpid(child, &mut status, 0);
            good += i32::from(status == 0 && put(fd, b"p\n"));
        }
        println!("{good}");
        let text = contents(&path(folder, "f"));
        let count = |wanted: &str| text.lines().filter(|line| *line == wanted).count();
        println!("{} {} {}", count("out"), count(""), count("p"));
    }
}

/// Kills children of vfork wherever they are, while other threads use what a child in this memory may have held. `KILLS` of them, 150 if
/// that is unset.
fn vfork_children_are_killed_anywhere(folder: &str) {
    static STOP: AtomicBool = AtomicBool::new(false);
    static VICTIM: AtomicI32 = AtomicI32::new(0);
    let kills: u32 = std::env::var("KILLS").map_or(150, |number| number.parse().unwrap());
    let fd = unsafe { fresh(folder, "f") };
    let busy: Vec<_> = (0..2)
        .map(|i| {
            let name = path(folder, &format!("busy{i}"));
            std::thread::spawn(move || unsafe {
                while !STOP.load(SeqCst) {
                    let fd = open(name.as_ptr(), O_RDWR | O_CREAT, 0o600);
                    assert!(fd >= 0 && put(fd, b"0123456789"));
                    let copy = dup(fd);
                    assert!(copy >= 0 && close(fd) == 0 && close(copy) == 0);
                }
            })
        })
        .collect();
    let killer = std::thread::spawn(|| {
        let mut delays = (0..2000u64).map(|at| Duration::from_micros(at * 7919 % 2000)).cycle();
        while !STOP.load(SeqCst) {
            let victim = VICTIM.swap(0, SeqCst);
            if victim != 0 {
                let until = Instant::now() + delays.next().unwrap_or_default();
                while Instant::now() < until {}
                unsafe { kill(victim, SIGKILL) };
            }
        }
    });
    unsafe {
        let mut killed = 0;
        for _ in 0..kills {
            let child = vforked(&|| {
                VICTIM.store(getpid(), SeqCst);
                loop {
                    let copy = dup(fd);
                    dup2(copy, 77);
                    put(77, b"child ");
                    close(copy);
                    close(77);
                }
            });
            let mut status = 0;
            waitpid(child, &mut status, 0);
            killed += u32::from(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && put(fd, b""));
        }
        STOP.store(true, SeqCst);
        busy.into_iter().chain([killer]).for_each(|thread| thread.join().unwrap());
        println!("all: {}, free here: {}", killed == kills, fcntl(77, F_GETFD));
        println!("lowest: {}", dup(fd) == fd + 1);
        ftruncate(fd, 0);
        lseek(fd, 0, SEEK_SET);
        put(fd, b"parent");
        print_file(fd);
    }
}

/// A thread with the least stack that the host grants works with files, pipes and connections.
fn thread_on_a_small_stack(folder: &str) {
    extern "C" fn work(name: *mut c_void) -> *mut c_void {
        let mut buf = [0u8; 16];
        let mut good = 0;
        unsafe {
            let fd = open(name.cast(), O_RDWR | O_CREAT | O_TRUNC, 0o600);
            good += write(fd, c"file".as_ptr().cast(), 4) + pread(fd, buf.as_mut_ptr().cast(), 16, 0);
            let mut status: stat = zeroed();
            good += if fstat(fd, &mut status) == 0 { status.st_size as isize } else { 100 };
            good += close(fd) as isize + unlink(name.cast()) as isize;
            let mut ends = [-1; 2];
            good += socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()) as isize;
            good += send(ends[0], c"pair".as_ptr().cast(), 4, 0) + recv(ends[1], buf.as_mut_ptr().cast(), 16, 0);
            let (one, two) = super::sockets::connected();
            good += send(one, c"tcp".as_ptr().cast(), 3, 0) + recv(two, buf.as_mut_ptr().cast(), 16, 0);
            good += isize::from(buf.starts_with(b"tcp"));
            let mut asked = pollfd { fd: one, events: POLLIN | POLLOUT, revents: 0 };
            good += poll(&mut asked, 1, 0) as isize;
            for fd in [one, two, ends[0], ends[1]] {
                good += close(fd) as isize;
            }
        }
        good as *mut c_void
    }
    unsafe {
        let name = path(folder, "small");
        let (mut settings, mut thread, mut good): (pthread_attr_t, pthread_t, _) = (zeroed(), zeroed(), null_mut());
        pthread_attr_init(&mut settings);
        show("stack size", pthread_attr_setstacksize(&mut settings, PTHREAD_STACK_MIN));
        show("create", pthread_create(&mut thread, &settings, work, name.as_ptr().cast_mut().cast()));
        show("join", pthread_join(thread, &mut good));
        println!("good: {}", good as isize);
    }
}
