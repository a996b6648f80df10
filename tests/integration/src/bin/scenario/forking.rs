//! Every way to make a process, and what the child has of its parent.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("fork_shares_offsets", Processes, fork_shares_offsets),
    ("fork_copies_numbers", Processes, fork_copies_numbers),
    ("fork_without_handlers", Processes, fork_without_handlers),
    ("fork_by_number", Processes, fork_by_number),
    ("clone_with_a_stack", Processes, clone_with_a_stack),
    ("clone_in_this_memory", Processes, clone_in_this_memory),
    ("fork_in_threads", Processes, fork_in_threads),
    ("fork_among_busy_threads", Processes, fork_among_busy_threads),
    ("children_that_die_at_once", Processes, children_that_die_at_once),
    ("end_of_file_after_a_child_that_never_began", Processes, end_of_file_after_a_child_that_never_began),
    ("orphaned_grandchild", Processes, orphaned_grandchild),
    ("daemon_goes_on", Processes, daemon_goes_on),
    ("forkpty_child", Processes, forkpty_child),
    ("end_of_file_after_the_last_child", Processes, end_of_file_after_the_last_child),
    ("fork_with_many_descriptors", Processes, fork_with_many_descriptors),
    ("fork_keeps_directory_and_umask", Processes, fork_keeps_directory_and_umask),
    ("fork_in_a_signal_handler", Processes, fork_in_a_signal_handler),
    ("fork_among_handlers_that_make_calls", Processes, fork_among_handlers_that_make_calls),
];

/// Waits for a child and says how it ended.
pub unsafe fn ended(what: &str, child: pid_t) {
    unsafe {
        let mut status = 0;
        if waitpid(child, &mut status, 0) != child {
            println!("{what}: no child");
        } else if WIFSIGNALED(status) {
            println!("{what}: signal {}", WTERMSIG(status));
        } else {
            println!("{what}: {}", WEXITSTATUS(status));
        }
    }
}

/// Opens a fresh file.
pub unsafe fn fresh(folder: &str, name: &str) -> c_int {
    let fd = unsafe { open(path(folder, name).as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644) };
    assert!(fd >= 0);
    fd
}

pub unsafe fn put(fd: c_int, text: &[u8]) -> bool {
    unsafe { write(fd, text.as_ptr().cast(), text.len()) == text.len() as isize }
}

/// Prints a file from its beginning.
pub unsafe fn print_file(fd: c_int) {
    let mut bytes = [0u8; 4096];
    let got = unsafe { pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    println!("{}", String::from_utf8_lossy(&bytes[..got.max(0) as usize]));
}

fn fork_shares_offsets(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        put(fd, b"parent ");
        let child = fork();
        if child == 0 {
            put(fd, b"child ");
            lseek(fd, 3, SEEK_CUR);
            _exit(lseek(fd, 0, SEEK_CUR) as c_int);
        }
        ended("child", child);
        show("offset", lseek(fd, 0, SEEK_CUR));
        put(fd, b"end");
        print_file(fd);
    }
}

fn fork_copies_numbers(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = fork();
        if child == 0 {
            dup2(fd, 77);
            close(fd);
            _exit(if fcntl(fd, F_GETFD) == -1 && put(77, b"x") { 0 } else { 1 });
        }
        ended("child", child);
        show("still open here", fcntl(fd, F_GETFD));
        show("not open here", fcntl(77, F_GETFD));
        let other = fresh(folder, "g");
        let child = fork();
        if child == 0 {
            _exit(i32::from(!put(other, b"y")));
        }
        close(other);
        ended("child has what the parent closes", child);
    }
}

unsafe extern "C" {
    fn _Fork() -> pid_t;
}

fn fork_without_handlers(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = _Fork();
        if child == 0 {
            _exit(i32::from(!put(fd, b"_Fork")));
        }
        ended("_Fork", child);
        print_file(fd);
    }
}

fn fork_by_number(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = syscall(SYS_fork) as pid_t;
        if child == 0 {
            _exit(i32::from(!put(fd, b"fork ")));
        }
        ended("fork", child);
        let child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) as pid_t;
        if child == 0 {
            _exit(i32::from(!put(fd, b"clone ")));
        }
        ended("clone", child);
        let mut arguments: clone_args = zeroed();
        arguments.exit_signal = SIGCHLD as u64;
        let child = syscall(SYS_clone3, &raw const arguments, size_of::<clone_args>()) as pid_t;
        if child == 0 {
            _exit(i32::from(!put(fd, b"clone3")));
        }
        ended("clone3", child);
        print_file(fd);
        show("bad clone3", syscall(SYS_clone3, 0, size_of::<clone_args>()));
        show("clone of a bad kind", syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
        put(fd, b"parent");
        show("size", lseek(fd, 0, SEEK_END));
    }
}

extern "C" fn writer(fd: *mut c_void) -> c_int {
    unsafe {
        let fd = fd as usize as c_int;
        dup2(fd, 60);
        i32::from(!put(60, b"child ")) + 5
    }
}

fn clone_with_a_stack(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut stack = vec![0u128; 1 << 13];
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        for flags in [SIGCHLD, SIGCHLD | CLONE_FILES, SIGCHLD | CLONE_FS] {
            ended("clone", clone(writer, top, flags, fd as usize as *mut c_void));
        }
        show("in the parent", fcntl(60, F_GETFD).min(0));
        print_file(fd);
        show("no stack", clone(writer, null_mut(), SIGCHLD, null_mut()));
    }
}

fn clone_in_this_memory(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut stack = vec![0u128; 1 << 13];
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        ended("clone", clone(writer, top, CLONE_VM | CLONE_VFORK | SIGCHLD, fd as usize as *mut c_void));
        show("in the parent", fcntl(60, F_GETFD));
        put(fd, b"parent");
        print_file(fd);
    }
}

fn fork_in_threads(folder: &str) {
    let workers: Vec<_> = (0..6)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let fd = fresh(&folder, &format!("t{i}"));
                for _ in 0..10 {
                    let child = fork();
                    if child == 0 {
                        _exit(i32::from(!put(fd, b"c")));
                    }
                    let mut status = 0;
                    assert_eq!(waitpid(child, &mut status, 0), child);
                    assert_eq!(status, 0);
                    assert!(put(fd, b"p"));
                }
                lseek(fd, 0, SEEK_END)
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
}

/// Forks `FORKS` times, 100 if that is unset: the soak test wants more.
fn fork_among_busy_threads(folder: &str) {
    use std::sync::atomic::{AtomicBool, Ordering};
    static STOP: AtomicBool = AtomicBool::new(false);
    let workers: Vec<_> = (0..4)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let fd = fresh(&folder, &format!("busy{i}"));
                while !STOP.load(Ordering::Relaxed) {
                    let mut byte = [0u8; 100];
                    assert_eq!(pwrite(fd, byte.as_ptr().cast(), 100, 0), 100);
                    assert_eq!(pread(fd, byte.as_mut_ptr().cast(), 100, 0), 100);
                    let copy = dup(fd);
                    assert!(copy >= 0 && close(copy) == 0);
                }
            })
        })
        .collect();
    unsafe {
        let fd = fresh(folder, "f");
        let forks = std::env::var("FORKS").map_or(100, |number| number.parse().unwrap());
        for _ in 0..forks {
            let child = fork();
            if child == 0 {
                _exit(i32::from(!put(fd, b".")));
            }
            let mut status = 0;
            assert_eq!(waitpid(child, &mut status, 0), child);
            assert_eq!(status, 0);
        }
        STOP.store(true, Ordering::Relaxed);
        show("written", lseek(fd, 0, SEEK_END));
    }
    for worker in workers {
        worker.join().unwrap();
    }
}

fn children_that_die_at_once(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        for round in 0..30 {
            let child = fork();
            if child == 0 {
                if round % 2 == 0 {
                    _exit(0);
                }
                loop {
                    put(fd, b"x");
                }
            }
            kill(child, SIGKILL);
            let mut status = 0;
            assert_eq!(waitpid(child, &mut status, 0), child);
        }
        show("no child is left", wait(null_mut()));
        lseek(fd, 0, SEEK_END);
        println!("still works: {}", put(fd, b"y"));
    }
}

/// The only writer of a FIFO is a child that is killed at once, before it runs anything. Its parent waits for it only afterwards.
fn end_of_file_after_a_child_that_never_began(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        show("mkfifo", mkfifo(name.as_ptr(), 0o600));
        for _ in 0..20 {
            let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
            let writer = open(name.as_ptr(), O_WRONLY);
            fcntl(reader, F_SETFL, 0);
            let child = fork();
            if child == 0 {
                loop {
                    pause();
                }
            }
            kill(child, SIGKILL);
            close(writer);
            let mut byte = [0u8; 1];
            assert_eq!(read(reader, byte.as_mut_ptr().cast(), 1), 0);
            close(reader);
            assert_eq!(waitpid(child, null_mut(), 0), child);
        }
        show("no child is left", wait(null_mut()));
    }
}

fn orphaned_grandchild(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            let grandchild = fork();
            if grandchild == 0 {
                let parent = getppid();
                while getppid() == parent && parent != 1 {
                    usleep(1000);
                }
                close(ends[0]);
                put(fd, b"orphan");
                put(ends[1], b"!");
                _exit(0);
            }
            _exit(0);
        }
        ended("child", child);
        close(ends[1]);
        let mut byte = 0u8;
        show("told", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        print_file(fd);
    }
}

fn daemon_goes_on(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            if daemon(0, 0) == 0 {
                let mut st: stat = zeroed();
                fstat(1, &mut st);
                let device = st.st_mode & S_IFMT == S_IFCHR;
                put(fd, if device { b"daemon on null" } else { b"daemon on what" });
                put(ends[1], b"!");
            }
            _exit(0);
        }
        ended("child", child);
        let mut byte = 0u8;
        show("told", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        print_file(fd);
    }
}

fn forkpty_child(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut terminal = -1;
        let child = forkpty(&mut terminal, null_mut(), null(), null());
        if child == 0 {
            put(fd, if isatty(0) == 1 { b"tty" } else { b"???" });
            _exit(0);
        }
        ended("child", child);
        print_file(fd);
        println!("terminal: {}", isatty(terminal) == 1);
    }
}

fn end_of_file_after_the_last_child(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        unlink(name.as_ptr());
        show("mkfifo", mkfifo(name.as_ptr(), 0o600));
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let writer = open(name.as_ptr(), O_WRONLY);
        fcntl(reader, F_SETFL, 0);
        let mut children = [0; 5];
        for (at, slot) in children.iter_mut().enumerate() {
            *slot = fork();
            if *slot == 0 {
                put(writer, b"abcde".get(at..=at).unwrap());
                if at == 3 {
                    kill(getpid(), SIGKILL);
                }
                _exit(0);
            }
        }
        close(writer);
        let (mut all, mut bytes) = (Vec::new(), [0u8; 16]);
        loop {
            let got = read(reader, bytes.as_mut_ptr().cast(), 16);
            if got <= 0 {
                show("end", got as i64);
                break;
            }
            all.extend_from_slice(&bytes[..got as usize]);
        }
        all.sort_unstable();
        println!("{}", String::from_utf8_lossy(&all));
        while wait(null_mut()) > 0 {}
    }
}

fn fork_with_many_descriptors(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        for _ in 0..500 {
            assert!(dup(fd) >= 0);
        }
        let child = fork();
        if child == 0 {
            let good = (3..fd + 500).all(|fd| put(fd, b"."));
            close_range(3, 10_000, 0);
            let closed = (3..fd + 500).all(|fd| fcntl(fd, F_GETFD) == -1);
            _exit(i32::from(!good) + 2 * i32::from(!closed));
        }
        ended("child", child);
        println!("all written: {}", lseek(fd, 0, SEEK_END) == i64::from(fd + 500 - 3));
        println!("all open: {}", (fd..fd + 501).all(|fd| fcntl(fd, F_GETFD) == 0));
    }
}

fn fork_keeps_directory_and_umask(folder: &str) {
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        chdir(path(folder, "d").as_ptr());
        umask(0o077);
        let child = fork();
        if child == 0 {
            let fd = open(c"relative".as_ptr(), O_CREAT | O_WRONLY, 0o666);
            let moved = chdir(c"..".as_ptr());
            umask(0);
            _exit(i32::from(fd < 0 || moved != 0));
        }
        ended("child", child);
        println!("{:o}", mode_of(&path(folder, "d/relative")));
        show("here still", access(c"relative".as_ptr(), F_OK));
        println!("{:o}", umask(0));
    }
}

fn fork_in_a_signal_handler(folder: &str) {
    static FD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
    extern "C" fn handler(_: c_int) {
        unsafe {
            let fd = FD.load(std::sync::atomic::Ordering::SeqCst);
            let child = fork();
            if child == 0 {
                put(fd, b"child of a handler ");
                _exit(0);
            }
            waitpid(child, null_mut(), 0);
            put(fd, b"handler");
        }
    }
    unsafe {
        FD.store(fresh(folder, "f"), std::sync::atomic::Ordering::SeqCst);
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        sigaction(SIGUSR1, &action, null_mut());
        let (_c, a) = connected();
        let parent = getpid();
        let child = fork();
        if child == 0 {
            // The parent sleeps in recv, or in its handler: it is told until it says that it was.
            while getppid() == parent {
                until_asleep(parent, parent);
                kill(parent, SIGUSR1);
            }
            _exit(0);
        }
        let mut byte = 0u8;
        show("interrupted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        signal(SIGUSR1, SIG_IGN);
        kill(child, SIGKILL);
        ended("told by", child);
        let mut bytes = [0u8; 26];
        let fd = FD.load(std::sync::atomic::Ordering::SeqCst);
        pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0);
        println!("{}", String::from_utf8_lossy(&bytes));
    }
}

/// At every place of a fork, in turns, comes a signal whose handler uses descriptors.
fn fork_among_handlers_that_make_calls(folder: &str) {
    use std::sync::atomic::{AtomicI32, Ordering};
    static FD: AtomicI32 = AtomicI32::new(-1);
    static CALLED: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: c_int) {
        unsafe {
            let kept = errno();
            let mut byte = [0u8; 1];
            let again = dup(FD.load(Ordering::Relaxed));
            if pread(again, byte.as_mut_ptr().cast(), 1, 0) == 1 && close(again) == 0 {
                CALLED.fetch_add(1, Ordering::Relaxed);
            }
            *__errno_location() = kept;
        }
    }
    unsafe {
        let fd = fresh(folder, "f");
        put(fd, b"x");
        FD.store(fd, Ordering::Relaxed);
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = SA_RESTART;
        sigaction(SIGALRM, &action, null_mut());
        let rounds = 300;
        for round in 0..rounds {
            let before = CALLED.load(Ordering::Relaxed);
            let once = itimerval {
                it_interval: timeval { tv_sec: 0, tv_usec: 0 },
                it_value: timeval { tv_sec: 0, tv_usec: 1 + 3 * round },
            };
            setitimer(ITIMER_REAL, &once, null_mut());
            let child = fork();
            if child == 0 {
                let mut byte = [0u8; 1];
                _exit((pread(fd, byte.as_mut_ptr().cast(), 1, 0) != 1).into());
            }
            let mut status = 1;
            assert_eq!(waitpid(child, &mut status, 0), child);
            assert_eq!(status, 0);
            while CALLED.load(Ordering::Relaxed) == before {
                usleep(100);
            }
        }
        show("handled", i64::from(CALLED.load(Ordering::Relaxed) == rounds as i32));
    }
}
