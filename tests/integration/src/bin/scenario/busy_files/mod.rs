//! Files on which much has been read and written, and then every call: what programs did by themselves until then comes together with
//! what the kernel does.

pub mod content;
pub mod sharing;
pub mod status;

use super::prelude::*;

const ROUNDS: usize = 40;

/// A piece that tells which it is.
fn piece(n: usize) -> [u8; 8] {
    format!("<{n:06}>").into_bytes().try_into().unwrap()
}

/// Opens a file that holds pieces, on which much was read and written, at its start.
unsafe fn busy(folder: &str, name: &str, flags: c_int) -> c_int {
    unsafe {
        let fd = open(path(folder, name).as_ptr(), O_RDWR | O_CREAT, 0o644);
        assert!(fd >= 0);
        for n in 0..ROUNDS {
            assert_eq!(write(fd, piece(n).as_ptr().cast(), 8), 8);
        }
        close(fd);
        let fd = open(path(folder, name).as_ptr(), flags);
        assert!(fd >= 0);
        rub(fd);
        lseek(fd, 0, SEEK_SET);
        fd
    }
}

/// Reads and writes much, and leaves the content as it is.
unsafe fn rub(fd: c_int) {
    unsafe {
        let mode = fcntl(fd, F_GETFL) & O_ACCMODE;
        let appends = fcntl(fd, F_GETFL) & O_APPEND != 0;
        let mut buf = [0u8; 8];
        for n in 0..ROUNDS {
            let at = (n * 8) as i64;
            if mode != O_WRONLY {
                pread(fd, buf.as_mut_ptr().cast(), 8, at);
            }
            if mode != O_RDONLY && !appends {
                pwrite(fd, piece(n).as_ptr().cast(), 8, at);
            }
        }
    }
}

unsafe fn say(what: &str, fd: c_int, data: &[u8]) {
    unsafe { show(what, write(fd, data.as_ptr().cast(), data.len()) as i64) };
}

unsafe fn hear(what: &str, fd: c_int, room: usize) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = read(fd, buf.as_mut_ptr().cast(), room);
        show(what, got as i64);
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
    }
}

unsafe fn hear_at(what: &str, fd: c_int, room: usize, at: i64) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = pread(fd, buf.as_mut_ptr().cast(), room, at);
        show(what, got as i64);
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
    }
}

unsafe fn seek(what: &str, fd: c_int, at: i64, whence: c_int) {
    unsafe { show(what, lseek(fd, at, whence)) };
}

unsafe fn status(fd: c_int) -> stat {
    unsafe {
        let mut st: stat = zeroed();
        assert_eq!(fstat(fd, &mut st), 0);
        st
    }
}

/// Prints what fstat(2), lseek(2) and the name say of the length, and what is taken.
unsafe fn measure(what: &str, folder: &str, name: &str, fd: c_int) {
    unsafe {
        let (st, mut named): (stat, stat) = (status(fd), zeroed());
        let by_name = stat(path(folder, name).as_ptr(), &mut named);
        println!(
            "{what}: {} {} {} {} {by_name} {} {:?}",
            st.st_size,
            st.st_blocks,
            lseek(fd, 0, SEEK_CUR),
            st.st_nlink,
            named.st_size,
            (st.st_ino == named.st_ino, st.st_mtime == named.st_mtime, st.st_mode == named.st_mode)
        );
    }
}

/// Prints a sum of the whole file, read by somebody who just opened it.
unsafe fn whole(what: &str, folder: &str, name: &str) {
    let bytes = std::fs::read(std::path::Path::new(folder).join(name)).unwrap();
    let sum = bytes.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    println!("{what}: {} bytes, {sum:x}", bytes.len());
}
