//! A file system of 1 MiB and 20 nodes, and what happens when either is used up.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("full_of_content", SmallFileSystem, content), ("full_of_names", SmallFileSystem, names)];

const PIECE: usize = 65_636;

/// Blocks and nodes, all and free.
fn space(what: &str, folder: &str) {
    unsafe {
        let mut st: statvfs = zeroed();
        statvfs(CString::new(folder).unwrap().as_ptr(), &mut st);
        let (blocks, files) = ((st.f_blocks, st.f_bfree, st.f_bavail), (st.f_files, st.f_ffree));
        println!("{what}: blocks of {} {blocks:?}, nodes {files:?}", st.f_bsize);
    }
}

fn size(what: &str, fd: c_int) {
    unsafe {
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{what}: {} bytes, {} blocks", st.st_size, st.st_blocks);
    }
}

/// Writes pieces until one does not go, and says what each end was.
fn fill(what: &str, fd: c_int, byte: u8) {
    let data = vec![byte; PIECE];
    for piece in 0..40 {
        let put = unsafe { write(fd, data.as_ptr().cast(), PIECE) };
        if put != PIECE as isize {
            show(&format!("{what}, piece {piece}"), put as i64);
            if put < 0 {
                break;
            }
        }
    }
    size(what, fd);
}

fn content(folder: &str) {
    unsafe {
        space("empty", folder);
        let fd = open(path(folder, "big").as_ptr(), O_RDWR | O_CREAT, 0o644);
        fill("fill", fd, b'a');
        space("full", folder);
        let data = [b'b'; 9000];
        show("write again what is there", pwrite(fd, data.as_ptr().cast(), 9000, 5000) as i64);
        show("write past the end", pwrite(fd, data.as_ptr().cast(), 9000, (1 << 20) - 100) as i64);
        show("write behind it", pwrite(fd, data.as_ptr().cast(), 9000, 1 << 20) as i64);
        let append = open(path(folder, "big").as_ptr(), O_WRONLY | O_APPEND);
        show("append", write(append, data.as_ptr().cast(), 1) as i64);
        size("as before", fd);
        let other = open(path(folder, "other").as_ptr(), O_RDWR | O_CREAT, 0o644);
        works("another file", other);
        show("write to it", write(other, data.as_ptr().cast(), 1) as i64);
        size("it", other);
        show("mkdir", mkdir(path(folder, "folder").as_ptr(), 0o755));
        show("short symlink", symlink(c"short".as_ptr(), path(folder, "short").as_ptr()));
        let long = CString::new("x".repeat(200)).unwrap();
        show("long symlink", symlink(long.as_ptr(), path(folder, "long").as_ptr()));
        show("link", link(path(folder, "big").as_ptr(), path(folder, "folder/link").as_ptr()));
        show("rename", rename(path(folder, "folder/link").as_ptr(), path(folder, "renamed").as_ptr()));
        show("truncate up", ftruncate(other, 1 << 40));
        size("sparse", other);
        show("fallocate", fallocate(other, 0, 0, 5000));
        show("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100_000, 500_000));
        space("punched", folder);
        show("fallocate too much", fallocate(other, 0, 0, 2 << 20));
        size("nothing of it", other);
        space("nothing of it", folder);
        show("fallocate", fallocate(other, 0, 1 << 20, 300_000));
        size("some", other);
        space("some", folder);
        let rest = open(path(folder, "rest").as_ptr(), O_RDWR | O_CREAT, 0o644);
        fill("the rest", rest, b'c');
        show(
            "write where it is taken in advance",
            pwrite(other, data.as_ptr().cast(), 9000, (1 << 20) + 50_000) as i64,
        );
        show("write where it is not", pwrite(other, data.as_ptr().cast(), 9000, 2 << 20) as i64);
        show("write across its end", pwrite(other, data.as_ptr().cast(), 9000, (1 << 20) + 299_000) as i64);
        show("to the same length", ftruncate(rest, lseek(rest, 0, SEEK_END)));
        show("cut", ftruncate(rest, 10_001));
        size("cut", rest);
        let mut sum = 0u64;
        let mut buf = vec![0u8; 1 << 20];
        for fd in [fd, rest] {
            let got = pread(fd, buf.as_mut_ptr().cast(), buf.len(), 0);
            sum += buf[..got as usize].iter().zip(1u64..).map(|(byte, at)| u64::from(*byte) * at).sum::<u64>();
        }
        println!("contents: {sum}");
        unlink(path(folder, "big").as_ptr());
        unlink(path(folder, "renamed").as_ptr());
        space("unlinked and open", folder);
        close(fd);
        close(append);
        space("closed", folder);
        close(open(path(folder, "other").as_ptr(), O_WRONLY | O_TRUNC));
        space("emptied", folder);
        show("long symlink", symlink(long.as_ptr(), path(folder, "long").as_ptr()));
        space("one block", folder);
        let buf = open(path(folder, "far").as_ptr(), O_RDWR | O_CREAT, 0o644);
        show("far", pwrite(buf, data.as_ptr().cast(), 10, i64::MAX - 5) as i64);
        show("too far", ftruncate(buf, i64::MAX));
        size("far", buf);
    }
}

fn names(folder: &str) {
    unsafe {
        space("empty", folder);
        let mut made = 0;
        while creates(folder, &format!("f{made}")) {
            made += 1;
        }
        println!("files: {made}");
        show("mkdir", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("symlink", symlink(c"x".as_ptr(), path(folder, "s").as_ptr()));
        show("mkfifo", mkfifo(path(folder, "p").as_ptr(), 0o600));
        show("link", link(path(folder, "f0").as_ptr(), path(folder, "l").as_ptr()));
        show("nameless", open(CString::new(folder).unwrap().as_ptr(), O_TMPFILE | O_RDWR, 0o600));
        show("open of one that is there", open(path(folder, "f0").as_ptr(), O_RDWR | O_CREAT, 0o600).min(0));
        show("rename", rename(path(folder, "f0").as_ptr(), path(folder, "g0").as_ptr()));
        show("rename over", rename(path(folder, "g0").as_ptr(), path(folder, "f1").as_ptr()));
        space("one less", folder);
        show("mkdir", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("rmdir", rmdir(path(folder, "d").as_ptr()));
        show("link", link(path(folder, "f1").as_ptr(), path(folder, "l").as_ptr()));
        space("a link counts", folder);
        show("unlink", unlink(path(folder, "f1").as_ptr()));
        space("one name less", folder);
        show("unlink the last", unlink(path(folder, "l").as_ptr()));
        space("and the file", folder);
        for at in 2..made {
            unlink(path(folder, &format!("f{at}")).as_ptr());
        }
        space("none left", folder);
    }
}

fn creates(folder: &str, name: &str) -> bool {
    unsafe {
        let fd = open(path(folder, name).as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o600);
        close(fd);
        fd >= 0
    }
}
