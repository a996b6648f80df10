//! Lengths, offsets and holes: truncate(2), lseek(2), pwrite(2), fallocate(2), statfs(2).

use super::prelude::*;

/// All of it.
pub fn all() {
    lengths();
    seeks();
    appends();
    by_kind();
    if Has::Holes.here() {
        holes();
    }
    figures();
}

fn size(fd: c_int) -> i64 {
    unsafe {
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        st.st_size
    }
}

fn bytes(fd: c_int, offset: i64, len: usize) -> String {
    let mut buf = vec![b'?'; len];
    let n = unsafe { pread(fd, buf.as_mut_ptr().cast(), len, offset) };
    if n < 0 { super::error() } else { String::from_utf8_lossy(&buf[..n as usize]).escape_default().to_string() }
}

fn lengths() {
    Thing::File.renew("t");
    unsafe {
        let fd = open(c"t".as_ptr(), O_RDWR);
        for length in [0, 5, 3, 10, 4096, 4095, 5000, 4097, 100_000, 1, i64::MIN, -1] {
            let by_fd = said(ftruncate(fd, length));
            line(format_args!("ftruncate {length}: {by_fd} {} {}", size(fd), bytes(fd, 0, 12)));
            let by_name = said(truncate(c"t".as_ptr(), length));
            line(format_args!("truncate {length}: {by_name} {} {}", size(fd), bytes(fd, 0, 12)));
        }
        // What was cut off does not come back.
        pwrite(fd, c"abcdefgh".as_ptr().cast(), 8, 0);
        ftruncate(fd, 3);
        ftruncate(fd, 8);
        line(format_args!("down and up: {}", bytes(fd, 0, 20)));
        pwrite(fd, c"z".as_ptr().cast(), 1, 20);
        line(format_args!("written beyond: {}", bytes(fd, 0, 30)));
        for flags in [O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_APPEND, O_WRONLY | O_APPEND] {
            let fd = open(c"t".as_ptr(), flags);
            line(format_args!("ftruncate of {flags:o}: {}", said(ftruncate(fd, 7))));
            line(format_args!("read of {flags:o}: {}", said(read(fd, [0u8; 4].as_mut_ptr().cast(), 4) as i64)));
            line(format_args!("write of {flags:o}: {}", said(write(fd, c"x".as_ptr().cast(), 1) as i64)));
            line(format_args!("fallocate of {flags:o}: {}", said(fallocate(fd, 0, 0, 4))));
            line(format_args!("fsync of {flags:o}: {}", said(fsync(fd))));
            close(fd);
        }
        close(fd);
    }
}

fn seeks() {
    Thing::File.renew("t");
    unsafe {
        let fd = open(c"t".as_ptr(), O_RDWR);
        for (offset, whence) in [
            (0, SEEK_SET),
            (3, SEEK_SET),
            (2, SEEK_CUR),
            (-2, SEEK_END),
            (7, SEEK_END),
            (-8, SEEK_CUR),
            (-100, SEEK_CUR),
            (-1, SEEK_SET),
            (-6, SEEK_END),
            (i64::MAX, SEEK_SET),
            (1, SEEK_CUR),
            (0, SEEK_CUR),
            (i64::MAX, SEEK_END),
            (0, 9),
            (0, -1),
            (0, SEEK_DATA),
            (4, SEEK_DATA),
            (5, SEEK_DATA),
            (-1, SEEK_DATA),
            (0, SEEK_HOLE),
            (5, SEEK_HOLE),
            (6, SEEK_HOLE),
        ] {
            line(format_args!(
                "lseek {offset} {whence}: {}, at {}",
                said(lseek(fd, offset, whence)),
                said(lseek(fd, 0, SEEK_CUR))
            ));
        }
        for offset in [-1, i64::MIN, i64::MAX, i64::MAX - 1, 5, 6] {
            let mut buf = [0u8; 4];
            line(format_args!("pread at {offset}: {}", said(pread(fd, buf.as_mut_ptr().cast(), 4, offset) as i64)));
            line(format_args!("pread 0 at {offset}: {}", said(pread(fd, buf.as_mut_ptr().cast(), 0, offset) as i64)));
            line(format_args!("pwrite 0 at {offset}: {}", said(pwrite(fd, buf.as_ptr().cast(), 0, offset) as i64)));
        }
        line(format_args!("pwrite 0 beyond: size {}", size(fd)));
        lseek(fd, 50, SEEK_SET);
        line(format_args!("write 0 beyond: {}, size {}", said(write(fd, c"".as_ptr().cast(), 0) as i64), size(fd)));
        line(format_args!("read beyond: {}", said(read(fd, [0u8; 4].as_mut_ptr().cast(), 4) as i64)));
        // Duplicates share the position, other openings do not.
        let (same, other) = (dup(fd), open(c"t".as_ptr(), O_RDONLY));
        lseek(fd, 2, SEEK_SET);
        line(format_args!(
            "positions: {} {} {}",
            said(lseek(fd, 0, SEEK_CUR)),
            said(lseek(same, 0, SEEK_CUR)),
            said(lseek(other, 0, SEEK_CUR))
        ));
        for fd in [fd, same, other] {
            close(fd);
        }
    }
}

fn appends() {
    Thing::File.renew("t");
    unsafe {
        let fd = open(c"t".as_ptr(), O_RDWR | O_APPEND);
        line(format_args!("append: at {}", said(lseek(fd, 0, SEEK_CUR))));
        line(format_args!(
            "append: {} at {}",
            said(write(fd, c"ab".as_ptr().cast(), 2) as i64),
            said(lseek(fd, 0, SEEK_CUR))
        ));
        lseek(fd, 1, SEEK_SET);
        line(format_args!(
            "append after lseek: {} {}",
            said(write(fd, c"cd".as_ptr().cast(), 2) as i64),
            bytes(fd, 0, 30)
        ));
        lseek(fd, 1, SEEK_SET);
        line(format_args!(
            "pwrite goes to the end: {} {}",
            said(pwrite(fd, c"ef".as_ptr().cast(), 2, 0) as i64),
            bytes(fd, 0, 30)
        ));
        line(format_args!("pwrite leaves the position: {}", said(lseek(fd, 0, SEEK_CUR))));
        fcntl(fd, F_SETFL, 0);
        line(format_args!(
            "append no more: {} {}",
            said(pwrite(fd, c"gh".as_ptr().cast(), 2, 0) as i64),
            bytes(fd, 0, 30)
        ));
        fcntl(fd, F_SETFL, O_APPEND);
        line(format_args!(
            "append again: {} {}",
            said(pwrite(fd, c"ij".as_ptr().cast(), 2, 0) as i64),
            bytes(fd, 0, 30)
        ));
        line(format_args!(
            "truncate under append: {} {}",
            said(ftruncate(fd, 3)),
            said(write(fd, c"k".as_ptr().cast(), 1) as i64)
        ));
        line(format_args!("after it: {}", bytes(fd, 0, 30)));
        let parts = [
            iovec { iov_base: c"12".as_ptr() as *mut c_void, iov_len: 2 },
            iovec { iov_base: c"34".as_ptr() as *mut c_void, iov_len: 2 },
        ];
        line(format_args!("writev: {} {}", said(writev(fd, parts.as_ptr(), 2) as i64), bytes(fd, 0, 30)));
        close(fd);
    }
}

/// Operations on a descriptor of what is no file.
fn by_kind() {
    for thing in [Thing::Empty, Thing::Fifo].into_iter().filter(|thing| Thing::all().any(|here| here == *thing)) {
        thing.renew("t");
        unsafe {
            let fd = open(c"t".as_ptr(), if thing == Thing::Empty { O_RDONLY } else { O_RDWR | O_NONBLOCK });
            let mut buf = [0u8; 8];
            let at = buf.as_mut_ptr().cast::<c_void>();
            line(format_args!("{thing:?}: pread {}", said(pread(fd, at, 1, 0) as i64)));
            line(format_args!("{thing:?}: pread -1 {}", said(pread(fd, at, 1, -1) as i64)));
            line(format_args!("{thing:?}: pwrite {}", said(pwrite(fd, at, 1, 0) as i64)));
            line(format_args!("{thing:?}: read {}", said(read(fd, at, 1) as i64)));
            line(format_args!("{thing:?}: ftruncate {}", said(ftruncate(fd, 0))));
            line(format_args!("{thing:?}: truncate {}", said(truncate(c"t".as_ptr(), 0))));
            line(format_args!("{thing:?}: fallocate {}", said(fallocate(fd, 0, 0, 1))));
            line(format_args!("{thing:?}: lseek {}", said(lseek(fd, 0, SEEK_SET))));
            line(format_args!("{thing:?}: lseek data {}", said(lseek(fd, 0, SEEK_DATA))));
            line(format_args!("{thing:?}: fsync {}", said(fsync(fd))));
            line(format_args!("{thing:?}: fdatasync {}", said(fdatasync(fd))));
            line(format_args!("{thing:?}: getdents {}", said(syscall(SYS_getdents64, fd, at, 8))));
            line(format_args!("{thing:?}: FIONREAD {}", said(ioctl(fd, FIONREAD, at))));
            line(format_args!("{thing:?}: posix_fadvise {}", posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL)));
            line(format_args!(
                "{thing:?}: mmap {}",
                if mmap(null_mut(), 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED {
                    super::error()
                } else {
                    "0".into()
                }
            ));
            close(fd);
        }
    }
}

fn holes() {
    unsafe {
        let fd = open(c"h".as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644);
        ftruncate(fd, 1 << 20);
        let map = |what: &str| {
            let mut found = Vec::new();
            let mut at = 0;
            while let data @ 0.. = lseek(fd, at, SEEK_DATA) {
                at = lseek(fd, data, SEEK_HOLE);
                found.push(format!("{data}..{at}"));
            }
            let end = super::error();
            let mut st: stat = zeroed();
            fstat(fd, &mut st);
            line(format_args!("{what}: {} then {end}, size {}, blocks {}", found.join(" "), st.st_size, st.st_blocks));
        };
        map("all hole");
        pwrite(fd, c"x".as_ptr().cast(), 1, 8192);
        map("one page");
        pwrite(fd, c"x".as_ptr().cast(), 1, 500_000);
        map("two pages");
        fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 8192, 4096);
        map("one punched");
        fallocate(fd, 0, 0, 8192);
        lseek(fd, 0, SEEK_SET);
        ftruncate(fd, 600_000);
        ftruncate(fd, 1 << 20);
        map("cut and grown");
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 2 << 20, 4096);
        line(format_args!("kept size: {}", size(fd)));
        ftruncate(fd, 0);
        map("nothing");
        pwrite(fd, c"x".as_ptr().cast(), 1, (1 << 40) - 1);
        line(format_args!("far out: {} {}", size(fd), bytes(fd, (1 << 40) - 1, 9)));
        for (mode, offset, len) in [
            (0, -1, 5),
            (0, 0, 0),
            (0, 0, -1),
            (0, i64::MAX, 1),
            (0, 1, i64::MAX),
            (FALLOC_FL_PUNCH_HOLE, 0, 1),
            (0x80, 0, 1),
            (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 1 << 41, 4096),
        ] {
            line(format_args!("fallocate {mode:x} {offset} {len}: {}", said(fallocate(fd, mode, offset, len))));
        }
        line(format_args!("size after that: {}", size(fd)));
        close(fd);
        unlink(c"h".as_ptr());
    }
}

/// The figures of statfs(2) and statvfs(3) fit together, and tell what was taken and given back.
fn figures() {
    unsafe {
        let free = || {
            let mut st: statvfs = zeroed();
            assert_eq!(statvfs(c".".as_ptr(), &mut st), 0);
            st
        };
        let before = free();
        line(format_args!("name length: {}", before.f_namemax));
        line(format_args!("block: {} {}", before.f_bsize, before.f_frsize));
        line(format_args!(
            "free at most all: {} {}",
            before.f_bfree <= before.f_blocks,
            before.f_ffree <= before.f_files
        ));
        line(format_args!(
            "available at most free: {} {}",
            before.f_bavail <= before.f_bfree,
            before.f_favail <= before.f_ffree
        ));
        let mut st: statfs = zeroed();
        assert_eq!(statfs(c".".as_ptr(), &mut st), 0);
        line(format_args!(
            "statfs: block {}, names {}, same {}",
            st.f_bsize,
            st.f_namelen,
            st.f_blocks == before.f_blocks
        ));
        let fd = open(c"big".as_ptr(), O_RDWR | O_CREAT, 0o644);
        let piece = vec![7u8; 1 << 20];
        for _ in 0..4 {
            assert_eq!(write(fd, piece.as_ptr().cast(), piece.len()), 1 << 20);
        }
        let mut open_st: statfs = zeroed();
        fstatfs(fd, &mut open_st);
        line(format_args!(
            "fstatfs is of the same: {}",
            open_st.f_blocks == st.f_blocks && open_st.f_bsize == st.f_bsize
        ));
        let full = free();
        let taken = (before.f_bfree as i64 - full.f_bfree as i64) * before.f_frsize as i64;
        line(format_args!("4 MiB take about as much: {}", (taken - (4 << 20)).abs() < 2 << 20));
        close(fd);
        unlink(c"big".as_ptr());
        let after = free();
        let left = (before.f_bfree as i64 - after.f_bfree as i64) * before.f_frsize as i64;
        line(format_args!("and give it back: {}", left.abs() < 2 << 20));
        let made = 50;
        for at in 0..made {
            write_file(&format!("n{at}"), b"");
        }
        let many = free();
        if before.f_files > 0 {
            let taken = before.f_ffree as i64 - many.f_ffree as i64;
            line(format_args!("{made} files take as many nodes: {}", (taken - made).abs() < 25));
        } else {
            line("nodes are not counted");
        }
    }
    wipe(".");
}
