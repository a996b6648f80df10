//! Calls that only Linux has.

pub mod copying;
pub mod locks;
pub mod mapping;
pub mod moving;
pub mod opening;
pub mod pairs;
pub mod status;

use super::prelude::*;

/// Opens a file of the folder.
pub fn opened(folder: &str, name: &str, flags: c_int) -> c_int {
    unsafe { open(path(folder, name).as_ptr(), flags, 0o644) }
}

/// Shows all of an open file, holes as dots, and its length.
pub fn content(what: &str, fd: c_int) {
    let mut buf = vec![0u8; 200_000];
    let got = unsafe { pread(fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
    let Ok(got) = usize::try_from(got) else {
        show(what, got as i64);
        return;
    };
    let mut text = String::new();
    for run in buf[..got].chunk_by(|one, other| one == other) {
        let byte = if run[0].is_ascii_graphic() { char::from(run[0]) } else { '.' };
        match run.len() {
            1..4 => text.extend(std::iter::repeat_n(byte, run.len())),
            count => text.push_str(&format!("({byte}*{count})")),
        }
    }
    println!("{what}: {got} {text}");
}

/// Writes all of a text at the position.
pub fn put(fd: c_int, text: &[u8]) -> i64 {
    unsafe { write(fd, text.as_ptr().cast(), text.len()) as i64 }
}

/// Shows what a read brings.
pub fn take(what: &str, fd: c_int, most: usize) {
    let mut buf = vec![0u8; most];
    let got = unsafe { read(fd, buf.as_mut_ptr().cast(), most) };
    match usize::try_from(got) {
        Ok(got) => println!("{what}: {got} {:?}", String::from_utf8_lossy(&buf[..got.min(40)])),
        Err(_) => drop(show(what, got as i64)),
    }
}
