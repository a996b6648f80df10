//! Names of any bytes but NUL and the slash.

use super::prelude::*;
use std::os::unix::ffi::OsStringExt;

/// All of it.
pub fn all() {
    let odd: Vec<Vec<u8>> = (1..=255u8)
        .filter(|byte| *byte != b'/' && *byte != b'.')
        .map(|byte| vec![byte])
        .chain((1..=255u8).filter(|byte| *byte != b'/').map(|byte| vec![byte, byte, b'.']))
        .chain(
            [
                &b"..."[..],
                b"....",
                b" ",
                b"  ",
                b"-",
                b"--",
                b"*",
                b"\n\n",
                b".\xff",
                b"A",
                b"a",
                b"\xc3\xa4",
                b"a\xcc\x88",
                b"\xff\xfe",
            ]
            .map(<[u8]>::to_vec),
        )
        .collect();
    let mut made = std::collections::BTreeSet::new();
    let mut answers = std::collections::BTreeMap::new();
    for name in odd {
        let path = CString::new(name.clone()).unwrap();
        unsafe {
            let fd = open(path.as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o644);
            let answer = if fd < 0 { super::error() } else { said(close(fd)) };
            *answers.entry(answer).or_insert(0) += 1;
            made.insert(name);
        }
    }
    line(format_args!("made: {answers:?}"));
    let found: std::collections::BTreeSet<Vec<u8>> =
        std::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name().into_vec()).collect();
    line(format_args!("found as they were made: {}", found == made));
    let mut gone = std::collections::BTreeMap::new();
    for name in &made {
        let path = CString::new(name.clone()).unwrap();
        let moved = CString::new([b"moved ", name.as_slice()].concat()).unwrap();
        unsafe {
            let mut st: stat = zeroed();
            let answer = format!(
                "{} {} {}",
                said(lstat(path.as_ptr(), &mut st)),
                said(rename(path.as_ptr(), moved.as_ptr())),
                said(unlink(moved.as_ptr()))
            );
            *gone.entry(answer).or_insert(0) += 1;
        }
    }
    line(format_args!("seen, moved and removed: {gone:?}"));
    for len in [1usize, 2, 254, 255] {
        let name = vec![0xffu8; len];
        let path = CString::new(name.clone()).unwrap();
        unsafe {
            line(format_args!(
                "{len} bytes: mkdir {} rmdir {}",
                said(mkdir(path.as_ptr(), 0o755)),
                said(rmdir(path.as_ptr()))
            ));
            if Has::Symlinks.here() {
                let mut buf = [0u8; 300];
                let made = said(symlink(path.as_ptr(), c"l".as_ptr()));
                let n = readlink(c"l".as_ptr(), buf.as_mut_ptr().cast(), 300);
                line(format_args!(
                    "{len} bytes: symlink {made} readlink {}",
                    n == len as isize && buf[..len] == name[..]
                ));
                unlink(c"l".as_ptr());
            }
        }
    }
}
