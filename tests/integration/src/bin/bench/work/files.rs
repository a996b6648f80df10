//! Files of tmpfs: names, reading and writing in pieces of several sizes, directories.

use std::ffi::CStr;

use super::{Task, done, each, fail, moved};
use crate::row::{Bound, Of, Row, Unit, Way, row};

const HALF: &[Bound] = &[Bound { way: Way::Extended, of: Of::Host, floor: 0.5, aim: 1.0 }];

pub const ROWS: &[Row] = &[
    row("open and close", Unit::Time, open_close, 0),
    row("stat", Unit::Time, stat, 0),
    row("create and unlink", Unit::Time, create, 0),
    row("read 1 B", Unit::Time, read_each, 1),
    row("read 4 KiB", Unit::Bytes, read, 4 << 10),
    row("read 64 KiB", Unit::Bytes, read, 64 << 10).bound(HALF),
    row("read 1 MiB", Unit::Bytes, read, 1 << 20),
    row("write 1 B", Unit::Time, write_each, 1),
    row("write 4 KiB", Unit::Bytes, write, 4 << 10),
    row("write 64 KiB", Unit::Bytes, write, 64 << 10).bound(HALF),
    row("write 1 MiB", Unit::Bytes, write, 1 << 20),
    row("readdir of 10,000 names", Unit::Time, readdir, 10_000),
];

/// Pieces between two returns to the start of the file.
const PIECES: usize = 16;

/// Opens a file with so many bytes.
fn file(path: &CStr, len: usize) -> i32 {
    let content = vec![b'x'; len];
    // SAFETY: see open(2), write(2) and lseek(2).
    unsafe {
        let fd = done(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600), "open");
        let mut left = content.as_slice();
        while !left.is_empty() {
            left = &left[moved(libc::write(fd, left.as_ptr().cast(), left.len()), "write")..];
        }
        libc::lseek(fd, 0, libc::SEEK_SET);
        fd
    }
}

fn open_close(task: &Task, _: usize) -> f64 {
    let path = task.path("file");
    file(&path, 100);
    // SAFETY: see open(2).
    each(task, || _ = done(unsafe { libc::close(done(libc::open(path.as_ptr(), libc::O_RDONLY), "open")) }, "close"))
}

fn stat(task: &Task, _: usize) -> f64 {
    let path = task.path("file");
    file(&path, 100);
    // SAFETY: see stat(2).
    each(task, || unsafe { _ = done(libc::stat(path.as_ptr(), &mut std::mem::zeroed()), "stat") })
}

fn create(task: &Task, _: usize) -> f64 {
    let path = task.path("new");
    // SAFETY: see open(2) and unlink(2).
    each(task, || unsafe {
        libc::close(done(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o600), "open"));
        done(libc::unlink(path.as_ptr()), "unlink");
    })
}

fn read_each(task: &Task, size: usize) -> f64 {
    let (fd, mut buffer, mut pieces) = (file(&task.path("file"), size * PIECES), vec![0u8; size], 0);
    each(task, || {
        // SAFETY: see read(2) and lseek(2).
        unsafe {
            if moved(libc::read(fd, buffer.as_mut_ptr().cast(), size), "read") != size {
                fail("read: less than there is");
            }
            pieces += 1;
            if pieces % PIECES == 0 {
                libc::lseek(fd, 0, libc::SEEK_SET);
            }
        }
    })
}

fn read(task: &Task, size: usize) -> f64 {
    size as f64 / read_each(task, size)
}

fn write_each(task: &Task, size: usize) -> f64 {
    let (fd, buffer, mut pieces) = (file(&task.path("file"), size * PIECES), vec![b'y'; size], 0);
    each(task, || {
        // SAFETY: see write(2) and lseek(2).
        unsafe {
            if moved(libc::write(fd, buffer.as_ptr().cast(), size), "write") != size {
                fail("write: less than there is room for");
            }
            pieces += 1;
            if pieces % PIECES == 0 {
                libc::lseek(fd, 0, libc::SEEK_SET);
            }
        }
    })
}

fn write(task: &Task, size: usize) -> f64 {
    size as f64 / write_each(task, size)
}

fn readdir(task: &Task, names: usize) -> f64 {
    let names = task.many(names);
    let folder = task.path("");
    // SAFETY: see open(2) and readdir(3).
    unsafe {
        for name in 0..names {
            let path = task.path(&format!("name-{name:05}"));
            done(libc::close(done(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600), "open")), "close");
        }
        each(task, || {
            let dir = libc::opendir(folder.as_ptr());
            if dir.is_null() {
                fail("opendir");
            }
            let seen = (0..).take_while(|_| !libc::readdir(dir).is_null()).count();
            libc::closedir(dir);
            // Two more: . and ..
            if seen != names + 2 {
                fail("readdir: not all names");
            }
        })
    }
}
