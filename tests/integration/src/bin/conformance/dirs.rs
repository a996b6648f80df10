//! Reading directories: what is there, its type, its order while the directory changes, positions, removed directories.

use super::prelude::*;
use std::collections::BTreeSet;

/// All of it.
pub fn all() {
    types();
    positions();
    changing();
    counts();
    records();
}

/// The next name, with its type.
unsafe fn next(dir: *mut DIR) -> Option<(String, u8)> {
    unsafe {
        *__errno_location() = 0;
        let entry = readdir(dir);
        (!entry.is_null())
            .then(|| (CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned(), (*entry).d_type))
    }
}

fn names(dir: *mut DIR) -> BTreeSet<String> {
    std::iter::from_fn(|| unsafe { next(dir) }).map(|(name, _)| name).collect()
}

fn types() {
    for thing in Thing::all() {
        thing.make(&format!("{thing:?}"));
    }
    unsafe {
        let dir = opendir(c".".as_ptr());
        let mut found: Vec<(String, u8)> = std::iter::from_fn(|| next(dir)).collect();
        closedir(dir);
        found.sort();
        for (name, kind) in found {
            let mut st: stat = zeroed();
            lstat(c(&name).as_ptr(), &mut st);
            let agrees = kind == DT_UNKNOWN || u32::from(kind) == st.st_mode >> 12;
            line(format_args!("{name}: type {} {agrees}", st.st_mode >> 12));
        }
        let mut own: stat = zeroed();
        let mut dot: stat = zeroed();
        stat(c".".as_ptr(), &mut own);
        stat(c"Full/..".as_ptr(), &mut dot);
        line(format_args!("the parent of a directory is the one it is in: {}", own.st_ino == dot.st_ino));
        let dir = opendir(c"Full".as_ptr());
        let dots: BTreeSet<bool> = std::iter::from_fn(|| {
            let entry = readdir(dir);
            (!entry.is_null()).then(|| {
                let mut st: stat = zeroed();
                let name = CStr::from_ptr((*entry).d_name.as_ptr());
                fstatat(dirfd(dir), name.as_ptr(), &mut st, AT_SYMLINK_NOFOLLOW);
                st.st_ino == (*entry).d_ino
            })
        })
        .collect();
        closedir(dir);
        line(format_args!("numbers of entries are those of their nodes: {dots:?}"));
    }
    wipe(".");
}

fn positions() {
    unsafe {
        for at in 0..20 {
            write_file(&format!("f{at:02}"), b"");
        }
        let dir = opendir(c".".as_ptr());
        let mut told = Vec::new();
        loop {
            let position = telldir(dir);
            let Some((name, _)) = next(dir) else { break };
            told.push((position, name));
        }
        line(format_args!("{} entries", told.len()));
        let unique: BTreeSet<c_long> = told.iter().map(|(position, _)| *position).collect();
        line(format_args!("positions differ: {}", unique.len() == told.len()));
        let back = told.iter().rev().all(|(position, name)| {
            seekdir(dir, *position);
            next(dir).is_some_and(|(found, _)| found == *name)
        });
        line(format_args!("each is found again at its position: {back}"));
        rewinddir(dir);
        line(format_args!("all again after rewinddir: {}", names(dir).len()));
        write_file("late", b"");
        rewinddir(dir);
        line(format_args!("after rewinddir it does: {}", names(dir).contains("late")));
        closedir(dir);
        let fd = open(c".".as_ptr(), O_RDONLY);
        let one = fdopendir(fd);
        line(format_args!("fdopendir: {}", names(one).len()));
        let copy = dup(fd);
        let other = fdopendir(copy);
        line(format_args!("a duplicate is at the end as well: {}", names(other).len()));
        closedir(one);
        closedir(other);
        line(format_args!("fdopendir of a file: {}", {
            let fd = open(c"late".as_ptr(), O_RDONLY);
            let refused = if fdopendir(fd).is_null() { super::error() } else { "0".into() };
            close(fd);
            refused
        }));
        line(format_args!("fdopendir of a place: {}", {
            let fd = open(c".".as_ptr(), O_PATH);
            let refused = if fdopendir(fd).is_null() { super::error() } else { "0".into() };
            close(fd);
            refused
        }));
    }
    wipe(".");
}

/// An entry that stays is shown once, whatever happens to the others.
fn changing() {
    for (what, count) in [("few", 30), ("many", 3000)] {
        let all: BTreeSet<String> = (0..count).map(|at| format!("e{at:04}")).collect();
        for name in &all {
            write_file(name, b"");
        }
        unsafe {
            // Each is removed as soon as it was shown, as rm -r does.
            let dir = opendir(c".".as_ptr());
            let mut shown = Vec::new();
            while let Some((name, _)) = next(dir) {
                if name.starts_with('e') {
                    assert_eq!(unlink(c(&name).as_ptr()), 0);
                    shown.push(name);
                }
            }
            closedir(dir);
            let unique: BTreeSet<String> = shown.iter().cloned().collect();
            line(format_args!("{what}, removed when shown: each once {}", unique == all && shown.len() == all.len()));
            for name in &all {
                write_file(name, b"");
            }
            // Others come, and every other one goes before it is shown.
            let dir = opendir(c".".as_ptr());
            let mut shown = Vec::new();
            let mut at = 0;
            while let Some((name, _)) = next(dir) {
                if at < count {
                    write_file(&format!("new{at}"), b"");
                    if at % 2 == 1 {
                        unlink(c(&format!("e{at:04}")).as_ptr());
                    }
                }
                at += 1;
                shown.push(name);
                assert!(at < 10 * count);
            }
            closedir(dir);
            let stay: Vec<&String> = all.iter().step_by(2).collect();
            let once = stay.into_iter().all(|name| shown.iter().filter(|shown| *shown == name).count() == 1);
            line(format_args!("{what}, while others come and go: those that stay once {once}"));
            // Renamed ones are shown at most by both names.
            wipe(".");
            for name in &all {
                write_file(name, b"");
            }
            let dir = opendir(c".".as_ptr());
            let mut seen = 0;
            let mut at = 0;
            while let Some((name, _)) = next(dir) {
                if at < 20 && name.starts_with('e') {
                    rename(c(&name).as_ptr(), c(&format!("renamed{name}")).as_ptr());
                }
                at += 1;
                seen += usize::from(name.starts_with('e'));
            }
            closedir(dir);
            line(format_args!("{what}, renamed: all old ones {}", seen == all.len()));
        }
        wipe(".");
    }
}

/// Links of a directory: one for each directory in it.
fn counts() {
    unsafe {
        mkdir(c"d".as_ptr(), 0o755);
        for step in [
            "mkdir d/a",
            "mkdir d/b",
            "file d/f",
            "rmdir d/a",
            "rename d/b e",
            "rename e d/c",
            "exchange d/c d/f",
            "rmdir d/f",
            "over",
        ] {
            let words: Vec<&str> = step.split(' ').collect();
            let answer = match words.as_slice() {
                ["mkdir", name] => mkdir(c(name).as_ptr(), 0o755),
                ["file", name] => write_file(name, b""),
                ["rmdir", name] => rmdir(c(name).as_ptr()),
                ["rename", from, to] => rename(c(from).as_ptr(), c(to).as_ptr()),
                ["exchange", ..] if !Has::Linux.here() => {
                    rename(c"d/c".as_ptr(), c"d/g".as_ptr())
                        | unlink(c"d/f".as_ptr())
                        | rename(c"d/g".as_ptr(), c"d/f".as_ptr())
                }
                ["exchange", from, to] => {
                    renameat2(AT_FDCWD, c(from).as_ptr(), AT_FDCWD, c(to).as_ptr(), RENAME_EXCHANGE)
                }
                _ => {
                    mkdir(c"d/x".as_ptr(), 0o755) | mkdir(c"y".as_ptr(), 0o755) | rename(c"y".as_ptr(), c"d/x".as_ptr())
                }
            };
            line(format_args!("{step}: {} d {}", said(answer), look(c"d")));
        }
    }
    wipe(".");
}

/// The records of getdents64(2), and buffers that are too small.
fn records() {
    unsafe {
        write_file("a", b"");
        write_file("b", b"");
        let fd = open(c".".as_ptr(), O_RDONLY);
        for len in [0usize, 1, 23, 24, 25, 32, 48, 100, 4096] {
            lseek(fd, 0, SEEK_SET);
            let mut buf = vec![0u64; len / 8 + 1];
            line(format_args!("getdents of {len}: {}", said(syscall(SYS_getdents64, fd, buf.as_mut_ptr(), len))));
        }
        lseek(fd, 0, SEEK_SET);
        let mut buf = vec![0u64; 40];
        let mut lens = Vec::new();
        loop {
            let n = syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 240);
            if n <= 0 {
                lens.push(said(n));
                break;
            }
            let bytes = std::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), n as usize);
            let mut at = 0;
            while at < bytes.len() {
                let length = u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]);
                lens.push(length.to_string());
                at += usize::from(length);
            }
        }
        lens.sort();
        line(format_args!("records, piece by piece: {}", lens.join(" ")));
        line(format_args!("write to a directory: {}", said(write(fd, c"x".as_ptr().cast(), 1) as i64)));
        line(format_args!("read from a directory: {}", said(read(fd, buf.as_mut_ptr().cast(), 8) as i64)));
        line(format_args!("lseek to the end of a directory: {}", said((lseek(fd, 0, SEEK_END) >= 0) as i32)));
        line(format_args!("lseek to -1 in a directory: {}", said(lseek(fd, -1, SEEK_SET))));
        close(fd);
    }
    wipe(".");
}
