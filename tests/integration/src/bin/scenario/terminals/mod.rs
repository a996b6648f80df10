//! Pseudo terminals: made by hand from the devices of the kernel, so that the same code finds the host's natively and the rump kernel's
//! below the prefix.

pub mod discipline;
pub mod jobs;
pub mod settings;

use super::prelude::*;

/// A new terminal: the master and the slave, opened by name.
pub(super) unsafe fn terminal(folder: &str) -> (c_int, c_int) {
    unsafe {
        let master = master(folder);
        (master, slave(folder, master))
    }
}

/// A new master, whose slave can be opened.
pub(super) unsafe fn master(folder: &str) -> c_int {
    unsafe {
        let name = CString::new(format!("{}/ptmx", devices_of(folder))).unwrap();
        let master = open(name.as_ptr(), O_RDWR | O_NOCTTY);
        assert!(master >= 0, "ptmx: {}", errno());
        assert_eq!((grantpt(master), unlockpt(master)), (0, 0));
        master
    }
}

/// The path of a master's slave.
pub(super) unsafe fn name_of(folder: &str, master: c_int) -> CString {
    unsafe {
        let mut index = 0;
        assert_eq!(ioctl(master, TIOCGPTN, &mut index), 0);
        CString::new(format!("{}/pts/{index}", devices_of(folder))).unwrap()
    }
}

pub(super) unsafe fn slave(folder: &str, master: c_int) -> c_int {
    unsafe {
        let slave = open(name_of(folder, master).as_ptr(), O_RDWR | O_NOCTTY);
        assert!(slave >= 0, "slave: {}", errno());
        slave
    }
}

/// Types something.
pub(super) unsafe fn types(master: c_int, text: &[u8]) {
    unsafe { assert_eq!(write(master, text.as_ptr().cast(), text.len()), text.len() as isize) };
}

/// What comes before `mark`. Between the two sides of a terminal the host's kernel has a thread of its own, so what is written on one side
/// comes late on the other, but in order: the caller writes the mark behind what is looked for.
pub(super) unsafe fn heard_until(fd: c_int, mark: &[u8]) -> Vec<u8> {
    unsafe {
        let mut all = Vec::new();
        let mut byte = 0u8;
        while !all.ends_with(mark) {
            let mut look = pollfd { fd, events: POLLIN, revents: 0 };
            if poll(&mut look, 1, 10_000) != 1 {
                println!("nothing comes any more behind {:?}", shown(&all));
                break;
            }
            if read(fd, (&raw mut byte).cast(), 1) != 1 {
                println!("end: {}", errno());
                break;
            }
            all.push(byte);
        }
        all.truncate(all.len().saturating_sub(mark.len()));
        all
    }
}

/// What the master hears of what came before: the slave prints a mark without any change, and all before it is that. Echoes come
/// before it if the slave could read what was typed.
pub(super) unsafe fn heard(master: c_int, slave: c_int) -> Vec<u8> {
    unsafe {
        let mut before: termios = zeroed();
        tcgetattr(slave, &mut before);
        let mut plain = before;
        plain.c_oflag &= !OPOST;
        tcsetattr(slave, TCSANOW, &plain);
        assert_eq!(write(slave, MARK.as_ptr().cast(), MARK.len()), MARK.len() as isize);
        tcsetattr(slave, TCSANOW, &before);
        heard_until(master, MARK)
    }
}

const MARK: &[u8] = b"<mark>";

pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Reads once and prints what came.
pub(super) unsafe fn reads(what: &str, fd: c_int, room: usize) {
    unsafe {
        let mut buf = vec![0u8; room];
        match read(fd, buf.as_mut_ptr().cast(), room) {
            -1 => println!("{what}: {}", text(strerror(errno()))),
            len => println!("{what}: {len} \"{}\"", shown(&buf[..len as usize])),
        }
    }
}

/// Waits until there is something to read.
pub(super) unsafe fn wait_for(fd: c_int) {
    unsafe {
        let mut look = pollfd { fd, events: POLLIN, revents: 0 };
        if poll(&mut look, 1, 10_000) != 1 {
            println!("nothing to read");
        }
    }
}

/// Changes settings.
pub(super) unsafe fn set(fd: c_int, change: impl FnOnce(&mut termios)) {
    unsafe {
        let mut settings: termios = zeroed();
        assert_eq!(tcgetattr(fd, &mut settings), 0);
        change(&mut settings);
        assert_eq!(tcsetattr(fd, TCSANOW, &settings), 0);
    }
}

/// Makes a terminal pass everything on as it is.
pub(super) unsafe fn raw(fd: c_int) {
    unsafe { set(fd, |settings| cfmakeraw(settings)) };
}

/// Makes reads of a descriptor not wait.
pub(super) unsafe fn nonblocking(fd: c_int) {
    unsafe { assert_eq!(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0) };
}
