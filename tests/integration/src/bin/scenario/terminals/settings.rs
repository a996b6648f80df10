//! Settings, sizes, names and the like (ioctl_tty(2)), packet mode, hanging up.

use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("terminal_settings", OneProcess, settings),
    ("terminal_sizes", OneProcess, sizes),
    ("terminal_names", OneProcess, names),
    ("terminal_commands", OneProcess, commands),
    ("terminal_locks", OneProcess, locks),
    ("terminal_peer", OneProcess, peer),
    ("terminal_packets", OneProcess, packets),
    ("terminal_hangup", OneProcess, hangup),
    ("terminal_left", OneProcess, left),
    ("terminal_waits", OneProcess, waits),
    ("device_nodes", OneProcess, nodes),
];

fn print_settings(what: &str, t: &termios) {
    let characters: Vec<u8> = t.c_cc[..17].to_vec();
    println!("{what}: {:o} {:o} {:o} {:o} {characters:?}", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
}

fn settings(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        let mut now: termios = zeroed();
        show("of the slave", tcgetattr(slave, &mut now));
        print_settings("new", &now);
        show("of the master", tcgetattr(master, &mut now));
        print_settings("new", &now);
        println!("speeds {} {}", cfgetispeed(&now), cfgetospeed(&now));
        for speed in [B50, B9600, B115200, B230400, B4000000, B0] {
            cfsetspeed(&mut now, speed);
            tcsetattr(slave, TCSANOW, &now);
            tcgetattr(slave, &mut now);
            println!("{}", cfgetospeed(&now) == speed);
        }
        now.c_iflag = 0o77777;
        now.c_oflag = 0o177777;
        now.c_lflag = 0o1777 | IEXTEN | EXTPROC;
        now.c_cflag = B9600 | CS5 | CSTOPB | PARENB | PARODD | HUPCL | CLOCAL | CRTSCTS | CMSPAR;
        for (at, character) in now.c_cc[..17].iter_mut().enumerate() {
            *character = 100 + at as u8;
        }
        show("set", tcsetattr(slave, TCSADRAIN, &now));
        tcgetattr(slave, &mut now);
        print_settings("everything", &now);
        // By the master it is the same.
        cfmakeraw(&mut now);
        show("set", tcsetattr(master, TCSANOW, &now));
        tcgetattr(slave, &mut now);
        print_settings("raw", &now);
        let mut new: termios2 = zeroed();
        show("TCGETS2", ioctl(slave, TCGETS2, &mut new));
        println!("{:o} {}", new.c_cflag, new.c_ospeed);
        new.c_cflag = new.c_cflag & !CBAUD | BOTHER;
        (new.c_ispeed, new.c_ospeed) = (12345, 12345);
        show("TCSETS2", ioctl(slave, TCSETS2, &new));
        show("TCGETS2", ioctl(slave, TCGETS2, &mut new));
        println!("{:o} {}", new.c_cflag, new.c_ospeed);
        close(slave);
        close(master);
    }
}

fn sizes(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        let mut size: winsize = zeroed();
        let print = |what: &str, size: &winsize| {
            println!("{what}: {} {} {} {}", size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel);
        };
        show("get", ioctl(slave, TIOCGWINSZ, &mut size));
        print("new", &size);
        let wanted = winsize { ws_row: 24, ws_col: 80, ws_xpixel: 640, ws_ypixel: 480 };
        show("set", ioctl(master, TIOCSWINSZ, &wanted));
        ioctl(slave, TIOCGWINSZ, &mut size);
        print("slave", &size);
        show("set", ioctl(slave, TIOCSWINSZ, &winsize { ws_row: 50, ..wanted }));
        ioctl(master, TIOCGWINSZ, &mut size);
        print("master", &size);
        show("bad address", ioctl(slave, TIOCGWINSZ, 8));
        close(slave);
        close(master);
    }
}

fn names(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        let path = name_of(folder, master);
        println!("isatty {} {}", isatty(master), isatty(slave));
        println!("ptsname {}", text(ptsname(master)) == path.to_str().unwrap());
        println!("ptsname of the slave {} {}", ptsname(slave).is_null(), errno() == ENOTTY);
        let mut name = [0; 64];
        show("ptsname_r", -ptsname_r(master, name.as_mut_ptr(), 64));
        println!("{}", CStr::from_ptr(name.as_ptr()) == path.as_c_str());
        println!("too little room {}", ptsname_r(master, name.as_mut_ptr(), 4) == ERANGE);
        println!("ttyname {}", text(ttyname(slave)) == path.to_str().unwrap());
        println!("ttyname_r {}", ttyname_r(slave, name.as_mut_ptr(), 64));
        println!("{}", CStr::from_ptr(name.as_ptr()) == path.as_c_str());
        let mut status: stat = zeroed();
        show("fstat", fstat(slave, &mut status));
        println!("{:o} {}", status.st_mode & S_IFMT, major(status.st_rdev));
        let mut named: stat = zeroed();
        show("stat", stat(path.as_ptr(), &mut named));
        println!("{} {}", named.st_ino == status.st_ino, named.st_dev == status.st_dev);
        show("chmod", chmod(path.as_ptr(), 0o600));
        println!("{:o}", mode_of(&path));
        show("fchown", fchown(slave, geteuid(), getegid()));
        show("fstat", fstat(master, &mut status));
        println!("{:o} {} {}", status.st_mode & S_IFMT, major(status.st_rdev), minor(status.st_rdev));
        close(slave);
        close(master);
        show("gone", stat(path.as_ptr(), &mut named));
        show("gone", open(path.as_ptr(), O_RDWR));
    }
}

fn commands(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        let mut value = 0;
        for (what, fd) in [("master", master), ("slave", slave)] {
            println!("{what}:");
            for (name, command) in [
                ("TIOCOUTQ", TIOCOUTQ),
                ("FIONREAD", FIONREAD),
                ("TIOCGETD", TIOCGETD),
                ("TIOCGPKT", TIOCGPKT),
                ("TIOCGPTLCK", TIOCGPTLCK),
                ("TIOCGEXCL", TIOCGEXCL),
                ("TIOCMGET", TIOCMGET),
            ] {
                show(name, ioctl(fd, command, &mut value));
                println!("{value}");
            }
            value = 0;
            show("TIOCSETD", ioctl(fd, TIOCSETD, &value));
            show("TIOCGPGRP", ioctl(fd, TIOCGPGRP, &mut value));
            show("TIOCGSID", ioctl(fd, TIOCGSID, &mut value));
            show("TIOCSPGRP", ioctl(fd, TIOCSPGRP, &getpgrp()));
            show("TIOCNOTTY", ioctl(fd, TIOCNOTTY));
            show("an unknown one", ioctl(fd, 0x54ff));
            show("of a socket", ioctl(fd, 0x8905, &mut value));
            show("lseek", lseek(fd, 0, SEEK_SET));
            show("pread", pread(fd, (&raw mut value).cast(), 1, 0) as i64);
            show("ftruncate", ftruncate(fd, 0));
            show("fsync", fsync(fd));
            println!("mmap {}", mmap(null_mut(), 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
        }
        show("TIOCPKT of the slave", ioctl(slave, TIOCPKT, &1));
        close(slave);
        close(master);
    }
}

fn locks(folder: &str) {
    unsafe {
        let name = CString::new(format!("{}/ptmx", devices_of(folder))).unwrap();
        let master = open(name.as_ptr(), O_RDWR | O_NOCTTY);
        let path = name_of(folder, master);
        show("locked", open(path.as_ptr(), O_RDWR | O_NOCTTY));
        let mut locked = 0;
        show("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &mut locked));
        println!("{locked}");
        show("unlockpt", unlockpt(master));
        works("open", open(path.as_ptr(), O_RDWR | O_NOCTTY));
        show("lock", ioctl(master, TIOCSPTLCK, &1));
        show("locked", open(path.as_ptr(), O_RDWR | O_NOCTTY));
        let second = open(name.as_ptr(), O_RDWR | O_NOCTTY);
        println!("another {}", name_of(folder, second) != path);
        close(second);
        close(master);
    }
}

fn peer(folder: &str) {
    unsafe {
        let master = master(folder);
        let slave = works("TIOCGPTPEER", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
        println!("{} {}", isatty(slave), fcntl(slave, F_GETFD));
        println!("{}", text(ttyname(slave)) == name_of(folder, master).to_str().unwrap());
        types(master, b"typed\n");
        reads("read", slave, 100);
        show("of the slave", ioctl(slave, TIOCGPTPEER, O_RDWR));
        close(slave);
        close(master);
    }
}

fn packets(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        show("TIOCPKT", ioctl(master, TIOCPKT, &1));
        let mut on = 0;
        show("TIOCGPKT", ioctl(master, TIOCGPKT, &mut on));
        println!("{on}");
        nonblocking(master);
        reads("nothing", master, 100);
        write(slave, c"data".as_ptr().cast(), 4);
        wait_for(master);
        reads("data", master, 100);
        let look = |what: &str| {
            let mut look = pollfd { fd: master, events: POLLIN | POLLPRI, revents: 0 };
            println!("{what}: {} {:#x}", poll(&mut look, 1, 10_000), look.revents);
        };
        set(slave, |t| t.c_iflag &= !IXON);
        look("no flow control");
        reads("told", master, 100);
        set(slave, |t| t.c_iflag |= IXON);
        look("flow control");
        reads("told", master, 100);
        set(slave, |t| t.c_lflag &= !ECHOE);
        reads("nothing of that", master, 100);
        show("flush", tcflush(slave, TCIFLUSH));
        reads("told", master, 100);
        show("flush", tcflush(slave, TCIOFLUSH));
        reads("told", master, 100);
        show("stop", tcflow(slave, TCOOFF));
        reads("told", master, 100);
        show("start", tcflow(slave, TCOON));
        reads("told", master, 100);
        set(slave, |t| t.c_lflag |= EXTPROC);
        reads("told", master, 100);
        set(slave, |t| t.c_lflag &= !EXTPROC);
        reads("told", master, 100);
        show("off", ioctl(master, TIOCPKT, &0));
        write(slave, c"data".as_ptr().cast(), 4);
        wait_for(master);
        reads("data", master, 100);
        close(slave);
        close(master);
    }
}

fn hangup(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        types(master, b"not read\n");
        wait_for(slave);
        close(master);
        reads("read", slave, 100);
        show("write", write(slave, c"x".as_ptr().cast(), 1) as i64);
        let mut look = pollfd { fd: slave, events: POLLIN | POLLOUT | POLLPRI, revents: 0 };
        println!("poll {} {:#x}", poll(&mut look, 1, 10_000), look.revents);
        let mut settings: termios = zeroed();
        show("tcgetattr", tcgetattr(slave, &mut settings));
        show("TIOCSPGRP", ioctl(slave, TIOCSPGRP, &getpgrp()));
        println!("isatty {}", isatty(slave));
        close(slave);
        // Somebody who waits is told.
        let (master, slave) = terminal(folder);
        let waiter = asleep(move || read(slave, [0u8; 8].as_mut_ptr().cast(), 8) <= 0);
        close(master);
        println!("waited {}", waiter.join().unwrap());
        close(slave);
    }
}

fn left(folder: &str) {
    unsafe {
        let master = master(folder);
        nonblocking(master);
        reads("nobody yet", master, 100);
        types(master, b"early\n");
        let slave = slave(folder, master);
        nonblocking(slave);
        wait_for(slave);
        reads("what came before", slave, 100);
        write(slave, c"last".as_ptr().cast(), 4);
        wait_for(master);
        let echo = heard_until(master, b"last");
        println!("echo \"{}\"", shown(&echo));
        write(slave, c"words".as_ptr().cast(), 5);
        close(slave);
        let mut look = pollfd { fd: master, events: POLLIN | POLLOUT, revents: 0 };
        println!("poll {} {:#x}", poll(&mut look, 1, 10_000), look.revents);
        println!("\"{}\"", shown(&heard_until(master, b"words")));
        reads("left", master, 100);
        println!("poll {} {:#x}", poll(&mut look, 1, 10_000), look.revents);
        let slave = super::slave(folder, master);
        reads("somebody is there again", master, 100);
        println!("poll {} {:#x}", poll(&mut look, 1, 10_000), look.revents);
        close(slave);
        close(master);
    }
}

fn waits(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        let set = epoll_create1(0);
        let watch = |fd: c_int, events: u32| {
            let mut event = epoll_event { events, u64: fd as u64 };
            show("epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, fd, &mut event))
        };
        let look = |what: &str| {
            let mut events = [epoll_event { events: 0, u64: 0 }; 4];
            let count = epoll_wait(set, events.as_mut_ptr(), 4, 5000);
            let mut found: Vec<String> = Vec::new();
            for event in &events[..count.max(0) as usize] {
                let (fd, bits) = (event.u64, event.events);
                found.push(format!("{} {bits:#x}", if fd == master as u64 { "master" } else { "slave" }));
            }
            found.sort();
            println!("{what}: {found:?}");
        };
        watch(master, EPOLLIN as u32 | EPOLLET as u32);
        watch(slave, EPOLLIN as u32);
        types(master, b"line\n");
        wait_for(slave);
        // The host echoes in its own time.
        wait_for(master);
        look("typed");
        reads("line", slave, 100);
        write(slave, c"x".as_ptr().cast(), 1);
        look("printed");
        heard_until(master, b"x");
        let reader = asleep(move || reads("waited", slave, 100));
        types(master, b"late\n");
        reader.join().unwrap();
        close(master);
        look("hung up");
        close(slave);
        close(set);
    }
}

fn nodes(folder: &str) {
    unsafe {
        let devices = devices_of(folder);
        for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
            let path = CString::new(format!("{devices}/{name}")).unwrap();
            let mut status: stat = zeroed();
            show(name, stat(path.as_ptr(), &mut status));
            println!("{:o} {} {}", status.st_mode, major(status.st_rdev), minor(status.st_rdev));
            if name == "tty" || name == "ptmx" {
                continue;
            }
            let fd = open(path.as_ptr(), O_RDWR);
            let mut buf = [7u8; 16];
            show("read", read(fd, buf.as_mut_ptr().cast(), 16) as i64);
            println!("{}", if name.ends_with("random") { "random".into() } else { shown(&buf) });
            show("write", write(fd, buf.as_ptr().cast(), 16) as i64);
            show("pread", pread(fd, buf.as_mut_ptr().cast(), 8, 100) as i64);
            show("lseek", lseek(fd, 1000, SEEK_SET));
            show("lseek", lseek(fd, 0, SEEK_CUR));
            show("truncate", truncate(path.as_ptr(), 0));
            let mut count = 0;
            show("TCGETS", ioctl(fd, TCGETS, &mut [0u8; 64]));
            show("FIONREAD", ioctl(fd, FIONREAD, &mut count));
            let mut look = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
            println!("poll {} {:#x}", poll(&mut look, 1, 0), look.revents);
            if name == "zero" {
                let map = mmap(null_mut(), 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
                println!("mmap {}", map != MAP_FAILED);
                if map != MAP_FAILED {
                    map.cast::<u8>().add(5000).write(1);
                    println!("{} {}", map.cast::<u8>().add(4999).read(), map.cast::<u8>().add(5000).read());
                }
            }
            close(fd);
        }
        let copy = path(folder, "null");
        show("mknod", mknod(copy.as_ptr(), S_IFCHR | 0o666, makedev(1, 3)));
        let mut status: stat = zeroed();
        stat(copy.as_ptr(), &mut status);
        println!("{} {}", major(status.st_rdev), minor(status.st_rdev));
        show("as a directory", open(copy.as_ptr(), O_RDONLY | O_DIRECTORY));
        unlink(copy.as_ptr());
    }
}
