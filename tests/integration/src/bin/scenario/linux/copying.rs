//! copy_file_range(2), fallocate(2), holes, preadv2(2) and pwritev2(2).

use super::super::prelude::*;
use super::{content, opened, put};

/// The family.
pub const TABLE: &[Row] = &[
    ("copy_file_range", OneProcess, copy_range),
    ("copy_file_range_errors", OneProcess, copy_range_errors),
    ("fallocate_modes", OneProcess, fallocate_modes),
    ("fallocate_errors", OneProcess, fallocate_errors),
    ("posix_fallocate", OneProcess, posix_allocate),
    ("holes", OneProcess, holes),
    ("holes_made", OneProcess, holes_made),
    ("seek_errors", OneProcess, seek_errors),
    ("preadv2", OneProcess, read_vectors),
    ("pwritev2", OneProcess, write_vectors),
    ("advice", OneProcess, advice),
    ("sync_family", OneProcess, sync_family),
    ("large_offsets", OneProcess, large_offsets),
];

fn copy_range(folder: &str) {
    create(folder, "from", b"0123456789");
    let (from, to) = (opened(folder, "from", O_RDWR), opened(folder, "to", O_RDWR | O_CREAT));
    unsafe {
        show("all", copy_file_range(from, null_mut(), to, null_mut(), 100, 0) as i64);
        content("to", to);
        show("at the end", copy_file_range(from, null_mut(), to, null_mut(), 100, 0) as i64);
        println!("positions {} {}", lseek(from, 0, SEEK_CUR), lseek(to, 0, SEEK_CUR));
        let (mut here, mut there) = (2i64, 20i64);
        show("offsets", copy_file_range(from, &mut here, to, &mut there, 4, 0) as i64);
        println!("offsets {here} {there}, positions {} {}", lseek(from, 0, SEEK_CUR), lseek(to, 0, SEEK_CUR));
        content("to", to);
        let (mut here, mut there) = (0i64, 50i64);
        show("within a file", copy_file_range(from, &mut here, from, &mut there, 10, 0) as i64);
        let (mut here, mut there) = (0i64, 5i64);
        show("overlapping", copy_file_range(from, &mut here, from, &mut there, 10, 0) as i64);
        let mut here = 1000i64;
        show("beyond the end", copy_file_range(from, &mut here, to, null_mut(), 10, 0) as i64);
        show("nothing", copy_file_range(from, null_mut(), to, null_mut(), 0, 0) as i64);
    }
    content("from", from);
}

fn copy_range_errors(folder: &str) {
    create(folder, "from", b"0123456789");
    let from = opened(folder, "from", O_RDONLY);
    let to = opened(folder, "to", O_WRONLY | O_CREAT);
    let append = opened(folder, "to", O_WRONLY | O_APPEND);
    let directory = opened(folder, ".", O_RDONLY);
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let fifo = opened(folder, "fifo", O_RDWR);
        let copy = |what: &str, from, to, flags| {
            show(what, copy_file_range(from, null_mut(), to, null_mut(), 5, flags) as i64);
        };
        copy("flags", from, to, 1);
        copy("from a directory", directory, to, 0);
        copy("to a directory", from, directory, 0);
        copy("from a fifo", fifo, to, 0);
        copy("to a fifo", from, fifo, 0);
        copy("appending", from, append, 0);
        copy("from one for writing", to, to, 0);
        copy("to one for reading", from, from, 0);
        copy("closed", from, 900, 0);
        let mut host = [0; 2];
        pipe(host.as_mut_ptr());
        copy("from a pipe", host[0], to, 0);
        copy("to a pipe", from, host[1], 0);
        copy("from another kernel's directory", opened("/", ".", O_RDONLY), to, 0);
        show("directory to a pipe", sendfile(host[1], directory, null_mut(), 5) as i64);
        let mut negative = -1i64;
        show("negative offset", copy_file_range(from, &mut negative, to, null_mut(), 5, 0) as i64);
    }
}

fn sizes(what: &str, fd: c_int) {
    unsafe {
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{what}: {} bytes, {} blocks", st.st_size, st.st_blocks);
    }
}

fn fallocate_modes(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        show("plain", fallocate(fd, 0, 0, 10_000));
        sizes("plain", fd);
        show("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 10_000, 50_000));
        sizes("keep size", fd);
        let data = vec![b'x'; 40_000];
        put(fd, &data);
        show("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5_000, 20_000));
        content("punched", fd);
        sizes("punched", fd);
        show("punch beyond", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 30, 20_000));
        show("punch without keep", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 100));
        show("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
        show("zero", fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
        show("insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
        show("unknown", fallocate(fd, 0x4000, 0, 4096));
        content("same", fd);
        show("ftruncate", ftruncate(fd, 3));
        sizes("cut", fd);
    }
}

fn fallocate_errors(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let fd = opened(folder, "file", O_RDWR);
        show("negative offset", fallocate(fd, 0, -1, 10));
        show("no length", fallocate(fd, 0, 0, 0));
        show("too far", fallocate(fd, 0, i64::MAX, 10));
        show("read only", fallocate(opened(folder, "file", O_RDONLY), 0, 0, 10));
        show("fifo", fallocate(opened(folder, "fifo", O_RDWR), 0, 0, 10));
        show("directory", fallocate(opened(folder, ".", O_RDONLY), 0, 0, 10));
        show("closed", fallocate(900, 0, 0, 10));
    }
}

fn posix_allocate(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        show("posix_fallocate", posix_fallocate(fd, 100, 9000));
        sizes("allocated", fd);
        show("again", posix_fallocate(fd, 0, 5));
        sizes("as before", fd);
        show("bad", posix_fallocate(fd, -1, 5));
    }
}

fn seek(what: &str, fd: c_int, offset: i64, whence: c_int) {
    show(what, unsafe { lseek(fd, offset, whence) });
}

fn holes(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        pwrite(fd, c"data".as_ptr().cast(), 4, 20_000);
        pwrite(fd, c"data".as_ptr().cast(), 4, 100_000);
        ftruncate(fd, 200_000);
        sizes("sparse", fd);
        let mut at = 0;
        while at >= 0 {
            at = show("data", lseek(fd, at, SEEK_DATA));
            if at >= 0 {
                at = show("hole", lseek(fd, at, SEEK_HOLE));
            }
        }
        seek("inside data", fd, 20_002, SEEK_DATA);
        seek("inside a hole", fd, 50_000, SEEK_HOLE);
        seek("at the end", fd, 200_000, SEEK_HOLE);
        seek("beyond", fd, 300_000, SEEK_DATA);
        seek("negative", fd, -5, SEEK_DATA);
        println!("position {}", lseek(fd, 0, SEEK_CUR));
    }
}

fn holes_made(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        put(fd, &vec![b'd'; 65_536]);
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16_384);
        seek("hole", fd, 0, SEEK_HOLE);
        seek("data", fd, 8192, SEEK_DATA);
        seek("last hole", fd, 30_000, SEEK_HOLE);
        pwrite(fd, c"x".as_ptr().cast(), 1, 12_288);
        seek("data in the hole", fd, 8192, SEEK_DATA);
        seek("hole after it", fd, 12_288, SEEK_HOLE);
        sizes("now", fd);
    }
}

fn seek_errors(folder: &str) {
    create(folder, "file", b"content");
    let fd = opened(folder, "file", O_RDONLY);
    seek("bad whence", fd, 0, 9);
    seek("negative", fd, -1, SEEK_SET);
    seek("far", fd, i64::MAX, SEEK_SET);
    seek("past the largest", fd, i64::MAX, SEEK_END);
    seek("from the end", fd, -3, SEEK_END);
    unsafe {
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let fifo = opened(folder, "fifo", O_RDWR);
        seek("fifo", fifo, 0, SEEK_CUR);
        show("pread of a fifo", pread(fifo, null_mut(), 0, 0) as i64);
    }
    let empty = opened(folder, "empty", O_RDWR | O_CREAT);
    seek("data of nothing", empty, 0, SEEK_DATA);
    seek("hole of nothing", empty, 0, SEEK_HOLE);
}

fn read_vectors(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDONLY);
    let (mut one, mut two) = ([0u8; 4], [0u8; 4]);
    let vector = [
        iovec { iov_base: one.as_mut_ptr().cast(), iov_len: 4 },
        iovec { iov_base: two.as_mut_ptr().cast(), iov_len: 4 },
    ];
    for (what, offset, flags) in [
        ("at 1", 1, 0),
        ("position", -1, 0),
        ("position again", -1, 0),
        ("RWF_HIPRI", 0, 1),
        ("RWF_DSYNC", 0, 2),
        ("RWF_NOWAIT", 0, 8),
        ("RWF_APPEND", 0, 16),
        ("unknown", 0, 0x4000_0000),
        ("negative", -2, 0),
    ] {
        show(what, unsafe { preadv2(fd, vector.as_ptr(), 2, offset, flags) as i64 });
    }
    println!("{:?} {:?}", String::from_utf8_lossy(&one), String::from_utf8_lossy(&two));
    unsafe {
        let directory = opened(folder, ".", O_RDONLY);
        show("directory", preadv2(directory, vector.as_ptr(), 2, 0, 0) as i64);
        show("too many", preadv2(fd, vector.as_ptr(), 1025, 0, 0) as i64);
        show("none", preadv2(fd, vector.as_ptr(), 0, 0, 0) as i64);
    }
}

fn write_vectors(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    let text = *b"abcdef";
    let vector = [
        iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: 2 },
        iovec { iov_base: text.as_ptr().wrapping_add(2).cast_mut().cast(), iov_len: 4 },
    ];
    for (what, offset, flags) in [
        ("at 4", 4, 0),
        ("position", -1, 0),
        ("RWF_DSYNC", 20, 2),
        ("RWF_SYNC", -1, 4),
        ("RWF_APPEND", 0, 16),
        ("RWF_APPEND at the position", -1, 16),
        ("RWF_NOAPPEND", 1, 32),
        ("both", 0, 48),
        ("unknown", 0, 0x4000_0000),
    ] {
        show(what, unsafe { pwritev2(fd, vector.as_ptr(), 2, offset, flags) as i64 });
        println!("position {}", unsafe { lseek(fd, 0, SEEK_CUR) });
    }
    content("file", fd);
    unsafe {
        fcntl(fd, F_SETFL, O_APPEND);
        show("O_APPEND wins", pwritev2(fd, vector.as_ptr(), 2, 0, 0) as i64);
        show("RWF_NOAPPEND wins", pwritev2(fd, vector.as_ptr(), 2, 0, 32) as i64);
    }
    content("file", fd);
}

fn advice(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDONLY);
        for advice in [POSIX_FADV_NORMAL, POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, 77] {
            show("fadvise", posix_fadvise(fd, 0, 100, advice));
        }
        show("negative", posix_fadvise(fd, 0, -1, 0));
        show("readahead", readahead(fd, 0, 100) as i64);
        show("readahead of one for writing", readahead(opened(folder, "file", O_WRONLY), 0, 100) as i64);
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        show("fifo", posix_fadvise(opened(folder, "fifo", O_RDWR), 0, 100, 0));
        show("readahead of a directory", readahead(opened(folder, ".", O_RDONLY), 0, 100) as i64);
    }
}

fn sync_family(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDONLY);
        show("fsync", fsync(fd));
        show("fdatasync", fdatasync(fd));
        show("syncfs", syncfs(fd));
        show("sync_file_range", sync_file_range(fd, 0, 10, SYNC_FILE_RANGE_WRITE));
        show("bad flags", sync_file_range(fd, 0, 10, 0x100));
        show("negative", sync_file_range(fd, -1, 10, 0));
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let fifo = opened(folder, "fifo", O_RDWR);
        show("fsync of a fifo", fsync(fifo));
        show("sync_file_range of a fifo", sync_file_range(fifo, 0, 10, 0));
        show("fsync of a directory", fsync(opened(folder, ".", O_RDONLY)));
        sync();
    }
}

fn large_offsets(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        show("pwrite", pwrite(fd, c"end".as_ptr().cast(), 3, 5 << 30) as i64);
        sizes("sparse", fd);
        show("negative pwrite", pwrite(fd, c"x".as_ptr().cast(), 1, -1) as i64);
        show("past the largest", pwrite(fd, c"x".as_ptr().cast(), 1, i64::MAX) as i64);
        show("ftruncate, negative", ftruncate(fd, -1));
        show("ftruncate of one for reading", ftruncate(opened(folder, "file", O_RDONLY), 0));
        show("truncate of a directory", truncate(CString::new(folder).unwrap().as_ptr(), 0));
        let mut buf = [7u8; 8];
        show("pread", pread(fd, buf.as_mut_ptr().cast(), 8, (5 << 30) - 5) as i64);
        println!("{buf:?}");
    }
}
