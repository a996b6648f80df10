//! Descriptors, streams, fork, signals and threads.

use std::ffi::CString;
use std::mem::zeroed;
use std::ptr::{null, null_mut};

use libc::*;

use super::sockets::*;
use super::{create, path, show};

pub fn descriptors(folder: &str) {
    let file = create(folder, "file", b"0123456789");
    unsafe {
        let a = open(file.as_ptr(), O_RDWR | O_CLOEXEC);
        println!("lowest: {}", a == 3);
        show("cloexec", fcntl(a, F_GETFD));
        let b = dup(a);
        println!("next: {}", b == a + 1);
        show("dup has no cloexec", fcntl(b, F_GETFD));
        lseek(a, 4, SEEK_SET);
        show("shared offset", lseek(b, 0, SEEK_CUR));
        show("dup2", dup2(a, 50));
        show("dup2 onto itself", dup2(50, 50));
        show("dup2 of nothing", dup2(49, 51));
        show("dup3 onto itself", dup3(50, 50, 0));
        show("F_DUPFD", fcntl(a, F_DUPFD, 60));
        show("F_DUPFD_CLOEXEC", fcntl(a, F_DUPFD_CLOEXEC, 60));
        show("its flag", fcntl(61, F_GETFD));
        show("F_GETFL", fcntl(a, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
        show("F_SETFL", fcntl(a, F_SETFL, O_APPEND | O_NONBLOCK));
        show("on the copy", fcntl(b, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
        show("close", close(a));
        show("copy lives", lseek(b, 0, SEEK_CUR));
        let host = open(c"/dev/null".as_ptr(), O_RDWR);
        println!("freed number again: {}", host == a);
        show("host over rump", dup2(host, 60));
        show("writes to null", write(60, b"x".as_ptr().cast(), 1) as i64);
        show("rump over host", dup2(b, host));
        show("reads the file", lseek(host, 0, SEEK_END));
        show("close_range", close_range(50, 61, 0));
        show("gone", fcntl(50, F_GETFD));
        let mut lock: flock = zeroed();
        lock.l_type = F_WRLCK as i16;
        show("F_SETLK", fcntl(b, F_SETLK, &lock));
        show("flock", flock(b, LOCK_EX | LOCK_NB));
        show("isatty", if isatty(b) == 1 { 1 } else { -1 });
        show("FIONBIO", ioctl(b, FIONBIO, &1i32));
        show("not a socket", listen(b, 1));
    }
}

pub fn stdio(folder: &str) {
    let name = path(folder, "stream");
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        println!("fopen: {}", !file.is_null());
        for i in 0..1000 {
            fprintf(file, c"line %d\n".as_ptr(), i as c_int);
        }
        show("fflush", fflush(file));
        show("ftell", ftell(file));
        rewind(file);
        let mut buf = [0u8; 64];
        let mut lines = 0;
        while !fgets(buf.as_mut_ptr().cast(), 64, file).is_null() {
            lines += 1;
        }
        println!("{lines} lines");
        show("fclose", fclose(file));
        let file = fopen(name.as_ptr(), c"a".as_ptr());
        fputs(c"appended\n".as_ptr(), file);
        fclose(file);
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("{}", st.st_size);
        println!("missing: {}", fopen(path(folder, "missing").as_ptr(), c"r".as_ptr()).is_null());
        let out = freopen(path(folder, "out").as_ptr(), c"w".as_ptr(), fopen(name.as_ptr(), c"r".as_ptr()));
        fputs(c"reopened".as_ptr(), out);
        fclose(out);
        stat(path(folder, "out").as_ptr(), &mut st);
        println!("{}", st.st_size);
        let pipe = popen(CString::new(format!("cat {folder}/out")).unwrap().as_ptr(), c"r".as_ptr());
        println!("popen: {}", fread(buf.as_mut_ptr().cast(), 1, 64, pipe));
        show("pclose", pclose(pipe));
        show("system", system(CString::new(format!("test -s {folder}/out")).unwrap().as_ptr()));
        show("remove", remove(name.as_ptr()));
    }
}

pub fn pipes_and_fork(folder: &str) {
    unsafe {
        let fd = open(path(folder, "shared").as_ptr(), O_RDWR | O_CREAT, 0o644);
        let mut ends = [0; 2];
        show("pipe", pipe(ends.as_mut_ptr()));
        let child = fork();
        if child == 0 {
            write(fd, b"child".as_ptr().cast(), 5);
            write(ends[1], b"!".as_ptr().cast(), 1);
            _exit(3);
        }
        let mut byte = 0u8;
        show("from the child", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        show("status", WEXITSTATUS(status));
        show("offset moved by the child", lseek(fd, 0, SEEK_CUR));
        close(ends[1]);
        show("end of file", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        // A pipeline of three with redirections onto the file, as a shell makes it.
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            close(fd);
            execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"from".as_ptr(), c"exec".as_ptr(), null::<c_char>());
            _exit(127);
        }
        waitpid(child, &mut status, 0);
        show("echo", WEXITSTATUS(status));
        show("size", lseek(fd, 0, SEEK_END));
        for _ in 0..20 {
            let child = fork();
            if child == 0 {
                let grandchild = fork();
                if grandchild == 0 {
                    _exit(i32::from(write(fd, b".".as_ptr().cast(), 1) != 1));
                }
                waitpid(grandchild, &mut status, 0);
                _exit(WEXITSTATUS(status));
            }
            waitpid(child, &mut status, 0);
            assert_eq!(WEXITSTATUS(status), 0);
        }
        show("size", lseek(fd, 0, SEEK_END));
        show("exec of nothing", execl(c"/no/such".as_ptr(), c"x".as_ptr(), null::<c_char>()));
        show("still works", lseek(fd, 0, SEEK_END));
    }
}

static HANDLED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// Where the handler says that it has run, if anywhere.
static TOLD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

extern "C" fn handler(_: c_int) {
    HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let told = TOLD.load(std::sync::atomic::Ordering::SeqCst);
    if told >= 0 {
        unsafe { write(told, b"h".as_ptr().cast(), 1) };
    }
}

pub fn signals(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        sigaction(SIGALRM, &action, null_mut());
        // It repeats: a tick between setting it and the call must not be the last.
        let tick = timeval { tv_sec: 0, tv_usec: 30_000 };
        let (timer, off) = (itimerval { it_interval: tick, it_value: tick }, zeroed::<itimerval>());
        setitimer(ITIMER_REAL, &timer, null_mut());
        let mut byte = 0u8;
        show("interrupted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        let mut fds = [pollfd { fd: a, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, -1));
        setitimer(ITIMER_REAL, &off, null_mut());
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst) > 1);
        action.sa_flags = SA_RESTART;
        sigaction(SIGALRM, &action, null_mut());
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            // Sends only after the parent's handler has run.
            read(ends[0], (&raw mut byte).cast(), 1);
            send(c, b"x".as_ptr().cast(), 1, 0);
            _exit(0);
        }
        TOLD.store(ends[1], std::sync::atomic::Ordering::SeqCst);
        setitimer(ITIMER_REAL, &timer, null_mut());
        show("restarted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        setitimer(ITIMER_REAL, &off, null_mut());
        HANDLED.store(0, std::sync::atomic::Ordering::SeqCst);
        waitpid(child, null_mut(), 0);
        action.sa_flags = 0;
        sigaction(SIGPIPE, &action, null_mut());
        shutdown(c, SHUT_WR);
        show("broken pipe", write(c, b"x".as_ptr().cast(), 1) as i64);
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
        let child = fork();
        if child == 0 {
            signal(SIGTERM, SIG_DFL);
            recv(a, (&raw mut byte).cast(), 1, 0);
            recv(a, (&raw mut byte).cast(), 1, 0);
            let (_c, b) = connected();
            recv(b, (&raw mut byte).cast(), 1, 0);
            _exit(0);
        }
        usleep(50_000);
        kill(child, SIGTERM);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("killed by {}", WTERMSIG(status));
    }
}

pub fn threads(folder: &str) {
    let workers: Vec<_> = (0..8)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let name = path(&folder, &format!("thread-{i}"));
                for round in 0..50u8 {
                    let fd = open(name.as_ptr(), O_RDWR | O_CREAT, 0o644);
                    assert!(fd >= 0);
                    let data = [round; 100];
                    assert_eq!(pwrite(fd, data.as_ptr().cast(), 100, i64::from(round) * 100), 100);
                    assert_eq!(close(fd), 0);
                }
                let (c, a) = connected();
                let mut byte = [0u8];
                for round in 0..50 {
                    assert_eq!(send(c, [round].as_ptr().cast(), 1, 0), 1);
                    assert_eq!(recv(a, byte.as_mut_ptr().cast(), 1, 0), 1);
                    assert_eq!(byte[0], round);
                }
                close(c);
                close(a);
                let mut st: stat = zeroed();
                stat(name.as_ptr(), &mut st);
                st.st_size
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
}
