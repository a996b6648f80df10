//! What is read and written: positions, lengths, holes, bad memory, other calls that move bytes, mappings.

use super::super::prelude::*;
use super::{busy, hear, hear_at, measure, piece, rub, say, seek, whole};

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_file_calls", OneProcess, every_call),
    ("busy_file_positions", OneProcess, positions),
    ("busy_file_access", OneProcess, access_modes),
    ("busy_file_append", OneProcess, append),
    ("busy_file_sizes", OneProcess, sizes),
    ("busy_file_holes", OneProcess, holes),
    ("busy_file_bad_memory", OneProcess, bad_memory),
    ("busy_file_transfers", OneProcess, transfers),
    ("busy_file_mapped", HandedOver, mapped),
    ("busy_file_full", SmallFileSystem, full),
];

fn every_call(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let fresh = open(path(folder, "f").as_ptr(), O_RDWR);
        hear("read", fd, 11);
        say("write", fd, b"[middle]");
        hear("seen by another", fresh, 24);
        show("pwrite", pwrite(fresh, c"ANOTHER".as_ptr().cast(), 7, 40) as i64);
        hear("seen by the first", fd, 40);
        let mut parts = [[0u8; 3], [0u8; 3]];
        let vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(fd, vector.as_ptr(), 2) as i64);
        println!("{}", parts.concat().escape_ascii());
        show("preadv", preadv(fd, vector.as_ptr(), 2, 42) as i64);
        println!("{}", parts.concat().escape_ascii());
        show("preadv2 at the position", preadv2(fd, vector.as_ptr(), 2, -1, 0) as i64);
        println!("{}", parts.concat().escape_ascii());
        let words = [&b"seven"[..], b"", b" eight"];
        let vector = words.map(|word| iovec { iov_base: word.as_ptr().cast_mut().cast(), iov_len: word.len() });
        show("writev", writev(fd, vector.as_ptr(), 3) as i64);
        show("pwritev", pwritev(fd, vector.as_ptr(), 3, 100) as i64);
        show("pwritev2 appends", pwritev2(fd, vector.as_ptr(), 3, -1, RWF_APPEND) as i64);
        show("and the position", lseek(fd, 0, SEEK_CUR));
        show("pwritev2", pwritev2(fd, vector.as_ptr(), 3, 5, RWF_DSYNC) as i64);
        show("nothing", write(fd, null(), 0) as i64);
        show("nothing", read(fd, null_mut(), 0) as i64);
        show("no vector", readv(fd, null(), 0) as i64);
        show("below the start", pread(fd, parts.as_mut_ptr().cast(), 3, -1) as i64);
        show("below the start", pwrite(fd, c"x".as_ptr().cast(), 1, -9) as i64);
        show("beyond the end", pread(fd, parts.as_mut_ptr().cast(), 3, 1 << 40) as i64);
        let mut left: c_int = -1;
        show("FIONREAD", i64::from(ioctl(fd, FIONREAD, &mut left)));
        println!("{left}");
        show("fsync", fsync(fd));
        show("fdatasync", fdatasync(fd));
        measure("at the end", folder, "f", fd);
        whole("all", folder, "f");
    }
}

fn positions(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        seek("end", fd, -5, SEEK_END);
        hear("rest", fd, 20);
        hear("no more", fd, 20);
        seek("back", fd, -8, SEEK_CUR);
        hear("again", fd, 4);
        seek("before the start", fd, -1, SEEK_SET);
        seek("before the start", fd, -1000, SEEK_CUR);
        seek("stays", fd, 0, SEEK_CUR);
        seek("far", fd, i64::MAX, SEEK_SET);
        seek("too far", fd, 1, SEEK_CUR);
        say("no room there", fd, b"x");
        seek("no such way", fd, 0, 17);
        seek("data", fd, 3, SEEK_DATA);
        seek("hole", fd, 3, SEEK_HOLE);
        seek("no data", fd, 1 << 30, SEEK_DATA);
        seek("stays", fd, 0, SEEK_CUR);
        let twin = dup(fd);
        seek("the duplicate moves", twin, 16, SEEK_SET);
        hear("both", fd, 8);
        hear("both", twin, 8);
        rub(twin);
        hear("busy under both numbers", twin, 8);
        hear("busy under both numbers", fd, 8);
        let other = open(path(folder, "f").as_ptr(), O_RDONLY);
        hear("another has its own", other, 8);
        let again = open(format!("/dev/fd/{fd}\0").as_ptr().cast(), O_RDONLY);
        hear("opened anew", again, 8);
    }
}

fn access_modes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDONLY);
        say("for reading", fd, b"x");
        show("for reading", pwrite(fd, c"x".as_ptr().cast(), 1, 0) as i64);
        show("cut", ftruncate(fd, 3));
        hear("read", fd, 8);
        let fd = busy(folder, "g", O_WRONLY);
        hear("for writing", fd, 8);
        hear_at("for writing", fd, 8, 0);
        say("write", fd, b"written");
        let mut st: stat = zeroed();
        show("fstat", fstat(fd, &mut st));
        println!("{} {:o}", st.st_size, st.st_mode);
        whole("all", folder, "g");
        let fd = open(path(folder, "g").as_ptr(), O_PATH);
        hear("a place", fd, 8);
    }
}

fn append(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR | O_APPEND);
        let plain = busy(folder, "f", O_RDWR);
        for n in 0..60 {
            let line = format!("line {n};");
            assert_eq!(write(fd, line.as_ptr().cast(), line.len()), line.len() as isize);
            if n % 20 == 0 {
                say("somebody else", plain, b"S");
            }
        }
        measure("appended", folder, "f", fd);
        show("pwrite appends too", pwrite(fd, c"!".as_ptr().cast(), 1, 0) as i64);
        seek("back", fd, 0, SEEK_SET);
        hear("reading goes on from there", fd, 8);
        say("and writing at the end", fd, b"END");
        measure("then", folder, "f", fd);
        show("F_SETFL", fcntl(fd, F_SETFL, 0));
        seek("back", fd, 4, SEEK_SET);
        say("no more", fd, b"here");
        show("F_SETFL", fcntl(plain, F_SETFL, O_APPEND));
        say("now the other", plain, b"OTHER");
        show("at the end too", pwrite(plain, c"?".as_ptr().cast(), 1, 0) as i64);
        measure("last", folder, "f", plain);
        whole("all", folder, "f");
    }
}

fn sizes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let other = busy(folder, "f", O_RDWR);
        let name = path(folder, "f");
        show("longer", ftruncate(other, 5000));
        measure("longer", folder, "f", fd);
        hear_at("zeros", fd, 4, 4000);
        show("shorter", ftruncate(other, 100));
        measure("shorter", folder, "f", fd);
        hear_at("the end", fd, 50, 90);
        seek("beyond the end", fd, 150, SEEK_SET);
        hear("nothing there", fd, 10);
        say("a gap", fd, b"after");
        hear_at("zeros in it", other, 60, 98);
        show("by name", truncate(name.as_ptr(), 10));
        measure("by name", folder, "f", fd);
        show("O_TRUNC", i64::from(open(name.as_ptr(), O_WRONLY | O_TRUNC) >= 0));
        measure("nothing left", folder, "f", fd);
        for n in 0..3000 {
            assert_eq!(pwrite(fd, piece(n).as_ptr().cast(), 8, (n * 8) as i64), 8);
        }
        measure("grown", folder, "f", other);
        whole("grown", folder, "f");
        let big = vec![b'b'; 3 << 20];
        seek("start", fd, 1000, SEEK_SET);
        say("much", fd, &big);
        measure("much", folder, "f", fd);
        whole("much", folder, "f");
        let mut back = vec![0u8; 4 << 20];
        show("much", pread(fd, back.as_mut_ptr().cast(), back.len(), 10) as i64);
        println!("{}", back.iter().filter(|byte| **byte == b'b').count());
        show("short again", ftruncate(fd, 1));
        show("long again", ftruncate(fd, 9000));
        println!(
            "{}",
            std::fs::read(std::path::Path::new(folder).join("f")).unwrap().iter().filter(|b| **b != 0).count()
        );
    }
}

fn holes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        show("far", pwrite(fd, c"far".as_ptr().cast(), 3, 1 << 20) as i64);
        measure("a hole", folder, "f", fd);
        seek("data", fd, 4096, SEEK_DATA);
        seek("hole", fd, 0, SEEK_HOLE);
        rub(fd);
        for at in [8192, 8200, 12_000, 500_000] {
            show("into the hole", pwrite(fd, c"in".as_ptr().cast(), 2, at) as i64);
        }
        measure("less of it", folder, "f", fd);
        seek("data", fd, 4096, SEEK_DATA);
        show("reserved", fallocate(fd, 0, 65_536, 8192));
        measure("reserved", folder, "f", fd);
        show("reserved beyond the end", fallocate(fd, FALLOC_FL_KEEP_SIZE, 2 << 20, 8192));
        measure("reserved beyond the end", folder, "f", fd);
        show("punched", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 8192));
        measure("punched", folder, "f", fd);
        hear("zeros", fd, 4);
        show("written again", pwrite(fd, c"again".as_ptr().cast(), 5, 1) as i64);
        measure("written again", folder, "f", fd);
        whole("all", folder, "f");
        let fd = busy(folder, "g", O_RDWR);
        seek("beyond the end", fd, 20_000, SEEK_SET);
        say("in one go", fd, b"there");
        measure("in one go", folder, "g", fd);
        close(fd);
        let fd = open(path(folder, "g").as_ptr(), O_RDWR);
        measure("opened again", folder, "g", fd);
    }
}

fn bad_memory(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let bad = 8 as *mut c_void;
        show("read", read(fd, bad, 8) as i64);
        show("pread", pread(fd, bad, 8, 0) as i64);
        show("write", write(fd, bad, 8) as i64);
        show("pwrite", pwrite(fd, bad, 8, 0) as i64);
        show("no vector", readv(fd, bad.cast(), 2) as i64);
        let vector = [iovec { iov_base: bad, iov_len: 4 }; 2];
        show("bad parts", writev(fd, vector.as_ptr(), 2) as i64);
        show("too many", readv(fd, vector.as_ptr(), 2000) as i64);
        show("fstat", syscall(SYS_fstat, fd, bad));
        show("to the end of memory", pread(fd, usize::MAX as *mut c_void, 4, 0) as i64);
        whole("all", folder, "f");
    }
}

fn transfers(folder: &str) {
    unsafe {
        let (from, to) = (busy(folder, "from", O_RDWR), busy(folder, "to", O_RDWR));
        seek("from", from, 16, SEEK_SET);
        show("sendfile", sendfile(to, from, null_mut(), 24) as i64);
        seek("from", from, 0, SEEK_CUR);
        seek("to", to, 0, SEEK_CUR);
        let mut at = 100i64;
        show("sendfile", sendfile(to, from, &mut at, 50) as i64);
        seek("from", from, 0, SEEK_CUR);
        println!("{at}");
        show("copy_file_range", copy_file_range(from, null_mut(), to, null_mut(), 32, 0) as i64);
        seek("from", from, 0, SEEK_CUR);
        seek("to", to, 0, SEEK_CUR);
        hear("on", from, 8);
        say("on", to, b"on");
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        show("splice", splice(from, null_mut(), ends[1], null_mut(), 16, 0) as i64);
        hear("spliced", ends[0], 32);
        seek("from", from, 0, SEEK_CUR);
        say("into the pipe", ends[1], b"from the pipe");
        show("splice", splice(ends[0], null_mut(), to, null_mut(), 32, 0) as i64);
        seek("to", to, 0, SEEK_CUR);
        whole("from", folder, "from");
        whole("to", folder, "to");
    }
}

fn mapped(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let at = mmap(null_mut(), 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).cast::<u8>();
        let private = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0).cast::<u8>();
        let shown = |at: *const u8| println!("{}", std::slice::from_raw_parts(at, 12).escape_ascii());
        shown(at);
        pwrite(fd, c"written".as_ptr().cast(), 7, 2);
        shown(at);
        shown(private);
        std::ptr::copy_nonoverlapping(b"stored".as_ptr(), at.add(1), 6);
        std::ptr::copy_nonoverlapping(b"private".as_ptr(), private, 7);
        hear("stored", fd, 12);
        pwrite(fd, c"far".as_ptr().cast(), 3, 5000);
        shown(at.add(4998));
        measure("grown", folder, "f", fd);
        show("msync", msync(at.cast(), 8192, MS_SYNC));
        munmap(at.cast(), 8192);
        rub(fd);
        hear_at("after it", fd, 12, 0);
        // Mapped first, and busy then.
        let fd = open(path(folder, "g").as_ptr(), O_RDWR | O_CREAT, 0o644);
        ftruncate(fd, 4096);
        let at = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).cast::<u8>();
        rub(fd);
        rub(fd);
        shown(at);
        std::ptr::copy_nonoverlapping(b"stored".as_ptr(), at, 6);
        hear_at("stored", fd, 12, 0);
        measure("mapped", folder, "g", fd);
    }
}

fn full(folder: &str) {
    unsafe {
        let one = busy(folder, "one", O_RDWR);
        let two = busy(folder, "two", O_RDWR);
        let block = [b'1'; 4096];
        let mut written = 0i64;
        loop {
            let now = write(one, block.as_ptr().cast(), block.len());
            if now <= 0 {
                show("full", now as i64);
                break;
            }
            written += now as i64;
        }
        println!("{written}");
        measure("full", folder, "one", one);
        show("in place", pwrite(two, c"in place".as_ptr().cast(), 8, 16) as i64);
        show("no room", pwrite(two, block.as_ptr().cast(), 4096, 4096) as i64);
        show("cut", ftruncate(one, 8192));
        show("room again", pwrite(two, block.as_ptr().cast(), 4096, 4096) as i64);
        measure("then", folder, "two", two);
        let mut space: statvfs = zeroed();
        show("statvfs", statvfs(path(folder, "one").as_ptr(), &mut space));
        println!("{} of {}", space.f_bfree, space.f_blocks);
        close(one);
        close(two);
        show("statvfs", statvfs(path(folder, "one").as_ptr(), &mut space));
        println!("{} of {}", space.f_bfree, space.f_blocks);
    }
}
