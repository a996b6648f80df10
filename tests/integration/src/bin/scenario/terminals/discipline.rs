//! The line discipline: what is typed, what the reader gets, what is echoed; what is printed (termios(3)).

use super::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("terminal_lines", OneProcess, lines),
    ("terminal_without_lines", OneProcess, without_lines),
    ("terminal_output", OneProcess, output),
    ("terminal_reads_of_lines", OneProcess, reads_of_lines),
    ("terminal_vmin_vtime", OneProcess, vmin_vtime),
    ("terminal_changes_while_typed", OneProcess, changes_while_typed),
    ("terminal_full", OneProcess, full),
    ("terminal_flushes", OneProcess, flushes),
    ("terminal_stop_and_start", OneProcess, stop_and_start),
];

/// What is changed before something is typed.
type Change = fn(&mut termios);

fn as_it_is(_: &mut termios) {}

/// What ends every input, and is no control character.
const END: u8 = b'~';

/// Prints what becomes of `typed`: what the reader gets, read by read if it comes by lines, and what is echoed.
unsafe fn case(folder: &str, what: &str, change: Change, typed: &[u8]) {
    unsafe {
        let (master, slave) = terminal(folder);
        set(slave, change);
        let mut now: termios = zeroed();
        tcgetattr(slave, &mut now);
        // With EXTPROC a read gives what is there, which depends on when the host brings it.
        let by_lines = now.c_lflag & (ICANON | EXTPROC) == ICANON;
        types(master, typed);
        types(master, if by_lines { b"~\n" } else { b"~" });
        let mut got = Vec::new();
        loop {
            let mut buf = [0u8; 256];
            let len = read(slave, buf.as_mut_ptr().cast(), buf.len());
            if len < 0 {
                println!("{what}: {}", text(strerror(errno())));
                break;
            }
            let part = &buf[..len as usize];
            got.extend_from_slice(part);
            if by_lines {
                got.push(b'|');
            }
            if part.contains(&END) {
                break;
            }
        }
        println!("{what}: reads \"{}\", echoes \"{}\"", shown(&got), shown(&heard(master, slave)));
        close(slave);
        close(master);
    }
}

fn lines(folder: &str) {
    let cases: &[(&str, Change, &[u8])] = &[
        ("plain", as_it_is, b"hello\nyou\n"),
        ("return", as_it_is, b"a\rb\r\n"),
        ("erase", as_it_is, b"abc\x7f\x7fd"),
        ("erase everything and more", as_it_is, b"ab\x7f\x7f\x7f\x7fc"),
        ("erase control", as_it_is, b"a\x01\x7fb"),
        ("erase tab", as_it_is, b"a\t\x7fb"),
        ("erase tab after text", as_it_is, b"abc\tdef\t\x7f\x7fg"),
        ("erase tab after tab", as_it_is, b"\t\t\x7fb"),
        ("erase over a line end", as_it_is, b"one\n\x7f\x7ftwo"),
        ("kill", as_it_is, b"abc def\x15ghi"),
        ("kill with a tab", as_it_is, b"abc\tdef\x15ghi"),
        ("word", as_it_is, b"abc  def, ghi  \x17\x17x"),
        ("literal", as_it_is, b"a\x16\x03b\x16\x7fc\x16\nd"),
        ("literal twice", as_it_is, b"\x16\x16\x16\x15"),
        ("reprint", as_it_is, b"abc\x12def"),
        ("end", as_it_is, b"abc\x04def\n\x04"),
        ("two ends", as_it_is, b"\x04\x04x"),
        ("end of line", |t| t.c_cc[VEOL] = b';', b"a;b;c"),
        ("second end of line", |t| t.c_cc[VEOL2] = b'#', b"a#b#c"),
        ("bytes", as_it_is, b"\x80\xff\xe4\x7f\x00\x1b[A"),
        ("wide", |t| t.c_iflag |= IUTF8, "aä€\x7fb\x7f\x7fcä\x7f\x7f\x7fd".as_bytes()),
        ("wide as bytes", as_it_is, "aä\x7f".as_bytes()),
        ("no echo", |t| t.c_lflag &= !ECHO, b"secret\x7f\x7f\n\x15x\n"),
        ("line ends only", |t| t.c_lflag = t.c_lflag & !ECHO | ECHONL, b"secret\nx\n"),
        ("no ECHOE", |t| t.c_lflag &= !ECHOE, b"abc\x7fd\x15e"),
        ("no ECHOK", |t| t.c_lflag &= !ECHOK, b"abc\x15e"),
        ("no ECHOKE", |t| t.c_lflag &= !ECHOKE, b"abc\x15e"),
        ("no ECHOCTL", |t| t.c_lflag &= !ECHOCTL, b"a\x01b\x7f\x7fc\x16\x02"),
        ("ECHOPRT", |t| t.c_lflag |= ECHOPRT, b"abc\x7f\x7fde\x7f\x7f\x7f\x7ff"),
        ("ECHOPRT wide", |t| (t.c_lflag |= ECHOPRT, t.c_iflag |= IUTF8).0, "aä\x7fb".as_bytes()),
        ("no IEXTEN", |t| t.c_lflag &= !IEXTEN, b"ab c\x17\x16d\x12"),
        ("no ICRNL", |t| t.c_iflag &= !ICRNL, b"a\rb\n"),
        ("IGNCR", |t| t.c_iflag |= IGNCR, b"a\rb\n"),
        ("ISTRIP", |t| t.c_iflag |= ISTRIP, b"\xe1\x8a\xff"),
        ("IUCLC", |t| t.c_iflag |= IUCLC, b"Hello\x16W"),
        ("PARMRK", |t| t.c_iflag |= PARMRK, b"a\xffb"),
        ("no ISIG", |t| t.c_lflag &= !ISIG, b"a\x03b\x1cc\x1ad"),
        ("signals for nobody", as_it_is, b"one\ntwo\x03three\x1cfour\x1afive"),
        ("signals without flush", |t| t.c_lflag |= NOFLSH, b"one\ntwo\x03three\x1cfour"),
        ("other characters", |t| (t.c_cc[VERASE] = 8, t.c_cc[VKILL] = b'@', t.c_cc[VEOF] = b'$').2, b"abc\x08\x7f@d$"),
        (
            "characters switched off",
            |t| (t.c_cc[VERASE] = 0, t.c_cc[VINTR] = 0, t.c_cc[VEOF] = 0).2,
            b"a\x7f\x03\x04\x00b",
        ),
        ("EXTPROC", |t| t.c_lflag |= EXTPROC, b"ab\x7f\r\x03\n"),
    ];
    for (what, change, typed) in cases {
        unsafe { case(folder, what, *change, typed) };
    }
}

fn without_lines(folder: &str) {
    let cases: &[(&str, Change, &[u8])] = &[
        ("raw", |t| unsafe { cfmakeraw(t) }, b"a\r\n\x7f\x03\x04\x11\x13\x16\xff\x00"),
        ("no ICANON", |t| t.c_lflag &= !ICANON, b"ab\x7f\x15\x17\x16\x12\x04\r\tc"),
        ("no ICANON, no ECHO", |t| t.c_lflag &= !(ICANON | ECHO), b"ab\x7f\x04\r"),
        ("no ICANON, signals", |t| t.c_lflag &= !ICANON, b"ab\x03cd"),
        ("no ICANON, ECHONL", |t| t.c_lflag = t.c_lflag & !(ICANON | ECHO) | ECHONL, b"a\nb"),
        ("no ICANON, INLCR", |t| (t.c_lflag &= !ICANON, t.c_iflag |= INLCR).1, b"a\rb\nc"),
        ("no ICANON, no ICRNL", |t| (t.c_lflag &= !ICANON, t.c_iflag &= !ICRNL).1, b"a\rb"),
    ];
    for (what, change, typed) in cases {
        unsafe { case(folder, what, *change, typed) };
    }
}

fn output(folder: &str) {
    let cases: &[(&str, Change, &[u8])] = &[
        ("plain", as_it_is, b"one\ntwo\r\nthree\tfour\x08\x1b[0m\x00\xff"),
        ("no OPOST", |t| t.c_oflag &= !OPOST, b"one\ntwo\tthree"),
        ("no ONLCR", |t| t.c_oflag &= !ONLCR, b"one\ntwo"),
        ("XTABS", |t| t.c_oflag |= XTABS, b"\ta\tabcdefg\tabcdefgh\t\x08\t\n1\t\r12\t|"),
        ("XTABS without ONLCR", |t| t.c_oflag = t.c_oflag & !ONLCR | XTABS, b"abc\n\t|\r\t|"),
        ("XTABS, ONLRET", |t| t.c_oflag = t.c_oflag & !ONLCR | XTABS | ONLRET, b"abc\n\t|"),
        ("OCRNL", |t| t.c_oflag |= OCRNL, b"a\rb\n"),
        ("ONOCR", |t| t.c_oflag |= ONOCR, b"\ra\r\r\n\r"),
        ("OLCUC", |t| t.c_oflag |= OLCUC, b"Hello\n"),
        ("wide and tabs", |t| (t.c_oflag |= XTABS, t.c_iflag |= IUTF8).0, "ä€\t|".as_bytes()),
    ];
    for (what, change, printed) in cases {
        unsafe {
            let (master, slave) = terminal(folder);
            set(slave, *change);
            assert_eq!(write(slave, printed.as_ptr().cast(), printed.len()), printed.len() as isize);
            println!("{what}: \"{}\"", shown(&heard(master, slave)));
            close(slave);
            close(master);
        }
    }
}

fn reads_of_lines(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        nonblocking(slave);
        reads("nothing", slave, 10);
        types(master, b"partial");
        types(master, b" line\nnext");
        wait_for(slave);
        let mut count = 0;
        show("FIONREAD", ioctl(slave, FIONREAD, &mut count));
        println!("{count}");
        reads("a part", slave, 4);
        reads("none", slave, 0);
        reads("the rest", slave, 100);
        reads("not whole", slave, 100);
        types(master, b"\x04abc\x04xyz\n");
        wait_for(slave);
        reads("pushed", slave, 4);
        reads("behind it", slave, 3);
        reads("behind that", slave, 100);
        reads("and that", slave, 100);
        reads("nothing left", slave, 100);
        let mut parts = [[0u8; 3]; 2];
        types(master, b"abcde\n");
        wait_for(slave);
        let vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(slave, vector.as_ptr(), 2) as i64);
        println!("{}", shown(&parts.concat()));
        close(slave);
        close(master);
    }
}

/// Types when the calling thread, which is about to read, sleeps.
unsafe fn later(master: c_int, text: &'static [u8]) -> std::thread::JoinHandle<()> {
    let (process, reader) = unsafe { (getpid(), gettid()) };
    std::thread::spawn(move || unsafe {
        until_asleep(process, reader);
        types(master, text);
    })
}

fn vmin_vtime(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        raw(slave);
        let pace = |min: u8, time: u8| set(slave, |t| (t.c_cc[VMIN] = min, t.c_cc[VTIME] = time).0);
        pace(0, 0);
        reads("0, 0, nothing", slave, 10);
        nonblocking(slave);
        reads("0, 0, nothing, without waiting", slave, 10);
        pace(1, 0);
        reads("1, 0, nothing, without waiting", slave, 10);
        fcntl(slave, F_SETFL, O_RDWR);
        pace(0, 1);
        reads("0, 1, nothing", slave, 10);
        pace(3, 0);
        let typist = later(master, b"abcd");
        reads("3, 0", slave, 10);
        typist.join().unwrap();
        types(master, b"ab");
        let mut look = pollfd { fd: slave, events: POLLIN, revents: 0 };
        println!("two of three: {}", poll(&mut look, 1, 0));
        reads("3, 0, room for two", slave, 2);
        pace(3, 1);
        types(master, b"ab");
        reads("3, 1, too few", slave, 10);
        types(master, b"abcdef");
        wait_for(slave);
        reads("3, 1, enough", slave, 4);
        reads("3, 1, the rest", slave, 4);
        pace(0, 50);
        let typist = later(master, b"x");
        reads("0, 50", slave, 10);
        typist.join().unwrap();
        close(slave);
        close(master);
    }
}

fn changes_while_typed(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        nonblocking(slave);
        let canonical = |on: bool| {
            set(slave, |t| if on { t.c_lflag |= ICANON } else { t.c_lflag &= !ICANON });
        };
        types(master, b"one\ntwo");
        wait_for(slave);
        heard_until(master, b"two");
        canonical(false);
        reads("all of it", slave, 100);
        types(master, b"abc");
        wait_for(slave);
        heard_until(master, b"abc");
        canonical(true);
        reads("as a line", slave, 100);
        reads("nothing", slave, 100);
        types(master, b"end\x04");
        wait_for(slave);
        canonical(false);
        reads("an end is a null", slave, 100);
        canonical(true);
        types(master, b"gone\n");
        wait_for(slave);
        let mut settings: termios = zeroed();
        tcgetattr(slave, &mut settings);
        show("with flush", tcsetattr(slave, TCSAFLUSH, &settings));
        reads("flushed", slave, 100);
        close(slave);
        close(master);
    }
}

fn full(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        set(slave, |t| t.c_lflag &= !ECHO);
        nonblocking(slave);
        let long = vec![b'x'; 5000];
        types(master, &long);
        types(master, b"yz\n");
        wait_for(slave);
        let mut line = vec![0u8; 8192];
        let len = read(slave, line.as_mut_ptr().cast(), line.len());
        println!("longest line: {len} ...{}", shown(&line[(len - 4) as usize..len as usize]));
        // Without lines nothing is lost: the typist waits.
        raw(slave);
        nonblocking(master);
        let mut typed = 0;
        while write(master, long.as_ptr().cast(), 1000) > 0 {
            typed += 1;
            assert!(typed < 1000);
        }
        println!("full: {}", text(strerror(errno())));
        // Whether there is room right after that is up to the thread of the host that hands on what was typed.
        let mut read_in_all = 0;
        loop {
            let mut ready = pollfd { fd: slave, events: POLLIN, revents: 0 };
            poll(&mut ready, 1, 200);
            let len = read(slave, line.as_mut_ptr().cast(), line.len());
            if len <= 0 {
                break;
            }
            read_in_all += len;
        }
        println!("at least what was counted: {}", read_in_all >= typed * 1000);
        // And the printer too.
        nonblocking(slave);
        let mut printed = 0;
        loop {
            let len = write(slave, long.as_ptr().cast(), 1000);
            if len <= 0 {
                break;
            }
            printed += len;
            assert!(printed < 1_000_000);
        }
        println!("full: {}", text(strerror(errno())));
        let mut heard = 0;
        loop {
            let mut ready = pollfd { fd: master, events: POLLIN, revents: 0 };
            poll(&mut ready, 1, 200);
            let len = read(master, line.as_mut_ptr().cast(), line.len());
            if len <= 0 {
                break;
            }
            heard += len;
        }
        println!("all heard: {}", heard == printed);
        close(slave);
        close(master);
    }
}

fn flushes(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        nonblocking(slave);
        types(master, b"gone\n");
        wait_for(slave);
        show("TCOFLUSH", tcflush(slave, TCOFLUSH));
        show("TCIFLUSH", tcflush(slave, TCIFLUSH));
        reads("flushed", slave, 100);
        types(master, b"gone\n");
        wait_for(slave);
        show("TCIOFLUSH", tcflush(slave, TCIOFLUSH));
        reads("flushed", slave, 100);
        show("another", tcflush(slave, 77));
        show("drain", tcdrain(slave));
        show("break", tcsendbreak(slave, 0));
        show("flow", tcflow(slave, 77));
        show("of the master", tcflush(master, TCIFLUSH));
        types(master, b"kept\n");
        wait_for(slave);
        reads("kept", slave, 100);
        close(slave);
        close(master);
    }
}

fn stop_and_start(folder: &str) {
    unsafe {
        let (master, slave) = terminal(folder);
        set(slave, |t| t.c_lflag &= !ECHO);
        nonblocking(slave);
        let prints = |what: &str| {
            let done = write(slave, c"x".as_ptr().cast(), 1);
            println!("{what}: {}", if done < 0 { text(strerror(errno())) } else { done.to_string() });
        };
        prints("at first");
        types(master, b"a\x13b\n");
        wait_for(slave);
        prints("stopped");
        let mut look = pollfd { fd: slave, events: POLLOUT, revents: 0 };
        println!("room: {}", poll(&mut look, 1, 0));
        types(master, b"\x11c\n");
        reads("the line", slave, 100);
        wait_for(slave);
        prints("started");
        reads("the line", slave, 100);
        show("TCOOFF", tcflow(slave, TCOOFF));
        prints("off");
        types(master, b"\x11d\n");
        wait_for(slave);
        reads("the line", slave, 100);
        prints("not by ^Q");
        show("TCOON", tcflow(slave, TCOON));
        prints("on");
        set(slave, |t| t.c_iflag |= IXANY);
        types(master, b"\x13e\n");
        wait_for(slave);
        reads("any character", slave, 100);
        prints("started by any");
        set(slave, |t| t.c_iflag &= !IXON);
        types(master, b"\x13\x11\n");
        wait_for(slave);
        reads("as they are", slave, 100);
        show("TCIOFF", tcflow(slave, TCIOFF));
        show("TCION", tcflow(slave, TCION));
        println!("heard \"{}\"", shown(&heard(master, slave)));
        close(slave);
        close(master);
    }
}
