//! mmap(2) of files.

use super::super::prelude::*;
use super::{content, opened, put};

/// The family.
pub const TABLE: &[Row] = &[
    ("mmap_private", OneProcess, private),
    ("mmap_shared", OneProcess, shared),
    ("mmap_errors", OneProcess, errors),
    ("mmap_protection", OneProcess, protection),
    ("mmap_parts", OneProcess, parts),
    ("mmap_outlives_its_descriptor", OneProcess, outlives),
    ("mmap_remapped", OneProcess, remapped),
    ("mmap_msync", OneProcess, synced),
    ("mmap_fork", Processes, forked),
    ("mmap_between_processes", Processes, between_processes),
    ("mmap_exit", Processes, exits),
    ("mmap_beyond_the_end", Processes, beyond_the_end),
    ("mmap_growing_file", OneProcess, growing),
    ("mmap_meets_read_and_write", OneProcess, meets),
    ("mmap_under_locks", Processes, under_locks),
];

const PAGE: usize = 4096;

fn map(fd: c_int, len: usize, protection: c_int, flags: c_int, offset: i64) -> *mut u8 {
    unsafe { mmap(null_mut(), len, protection, flags, fd, offset).cast() }
}

fn mapped(what: &str, at: *mut u8) -> bool {
    let there = !std::ptr::eq(at.cast(), MAP_FAILED);
    show(what, if there { 0i64 } else { -1 });
    there
}

/// Shows bytes of a mapping, in printable form.
fn bytes(what: &str, at: *const u8, len: usize) {
    let text = unsafe { std::slice::from_raw_parts(at, len) };
    println!("{what}: {:?}", String::from_utf8_lossy(text));
}

fn store(at: *mut u8, text: &[u8]) {
    unsafe { at.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
}

fn private(folder: &str) {
    create(folder, "file", &b"0123456789".repeat(1000));
    let fd = opened(folder, "file", O_RDONLY);
    let at = map(fd, 10_000, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    if mapped("private", at) {
        bytes("start", at, 10);
        bytes("end", at.wrapping_add(9_990), 12);
        store(at, b"changed");
        bytes("changed", at, 10);
        bytes("a fresh one", map(fd, 10_000, PROT_READ, MAP_PRIVATE, 0), 10);
        bytes("at an offset", map(fd, 100, PROT_READ, MAP_PRIVATE, PAGE as i64), 10);
    }
    let mut buf = [0u8; 10];
    unsafe { pread(fd, buf.as_mut_ptr().cast(), 10, 0) };
    println!("the file: {:?}", String::from_utf8_lossy(&buf));
}

fn shared(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    let (one, two) = (map(fd, 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0), map(fd, PAGE, PROT_READ, MAP_SHARED, 0));
    if mapped("one", one) && mapped("two", two) {
        store(one, b"abc");
        unsafe { msync(one.cast(), 10, MS_SYNC) };
        content("read", fd);
        bytes("what is behind the end", one.wrapping_add(10), 3);
    }
}

fn errors(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    let (read_only, write_only) = (opened(folder, "file", O_RDONLY), opened(folder, "file", O_WRONLY));
    let rw = PROT_READ | PROT_WRITE;
    mapped("no length", map(fd, 0, PROT_READ, MAP_SHARED, 0));
    mapped("odd offset", map(fd, 10, PROT_READ, MAP_SHARED, 5));
    mapped("no kind", map(fd, 10, PROT_READ, 0, 0));
    mapped("writing one for reading", map(read_only, 10, rw, MAP_SHARED, 0));
    mapped("copying one for reading", map(read_only, 10, rw, MAP_PRIVATE, 0));
    mapped("one for writing", map(write_only, 10, PROT_WRITE, MAP_SHARED, 0));
    mapped("copying one for writing", map(write_only, 10, PROT_READ, MAP_PRIVATE, 0));
    mapped("directory", map(opened(folder, ".", O_RDONLY), 10, PROT_READ, MAP_PRIVATE, 0));
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        mapped("fifo", map(opened(folder, "fifo", O_RDWR), 10, PROT_READ, MAP_PRIVATE, 0));
        mapped("socket", map(socket(AF_INET, SOCK_DGRAM, 0), 10, PROT_READ, MAP_PRIVATE, 0));
    }
    mapped("closed", map(900, 10, PROT_READ, MAP_PRIVATE, 0));
    mapped("anonymous whatever the number", map(fd, 10, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0));
    mapped("no access", map(fd, 10, PROT_NONE, MAP_SHARED, 0));
    mapped("empty file", map(opened(folder, "new", O_RDWR | O_CREAT), 10, PROT_READ, MAP_SHARED, 0));
}

fn protection(folder: &str) {
    create(folder, "file", b"0123456789");
    unsafe {
        let at = map(opened(folder, "file", O_RDONLY), 10, PROT_READ, MAP_PRIVATE, 0);
        show("private, to be written", mprotect(at.cast(), PAGE, PROT_READ | PROT_WRITE));
        store(at, b"x");
        bytes("written", at, 10);
        let at = map(opened(folder, "file", O_RDWR), 10, PROT_READ, MAP_SHARED, 0);
        show("shared, to be written", mprotect(at.cast(), PAGE, PROT_READ | PROT_WRITE));
        store(at, b"y");
        show("msync", msync(at.cast(), PAGE, MS_SYNC));
        show("nothing any more", mprotect(at.cast(), PAGE, PROT_NONE));
    }
    content("file", opened(folder, "file", O_RDONLY));
}

fn parts(folder: &str) {
    create(folder, "file", &vec![b'-'; 5 * PAGE]);
    let fd = opened(folder, "file", O_RDWR);
    let at = map(fd, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    unsafe {
        for page in 0..5 {
            store(at.wrapping_add(page * PAGE), format!("page {page}").as_bytes());
        }
        show("the middle", munmap(at.wrapping_add(2 * PAGE).cast(), PAGE));
        store(at.wrapping_add(PAGE), b"PAGE");
        store(at.wrapping_add(4 * PAGE), b"PAGE");
        show("msync of a part", msync(at.wrapping_add(4 * PAGE).cast(), PAGE, MS_SYNC));
        show("msync across the gap", msync(at.wrapping_add(PAGE).cast(), 2 * PAGE, MS_SYNC));
        show("the start", munmap(at.cast(), 2 * PAGE));
        show("the rest", munmap(at.wrapping_add(3 * PAGE).cast(), 2 * PAGE));
        show("again", munmap(at.cast(), 5 * PAGE));
        show("odd address", munmap(at.wrapping_add(1).cast(), PAGE));
    }
    content("file", fd);
}

fn outlives(folder: &str) {
    let name = create(folder, "file", b"0123456789");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        let at = map(fd, 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        close(fd);
        store(at, b"abc");
        show("munmap", munmap(at.cast(), 10));
        content("after the close", opened(folder, "file", O_RDONLY));
        let fd = opened(folder, "file", O_RDWR);
        let at = map(fd, 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        unlink(name.as_ptr());
        store(at, b"xyz");
        msync(at.cast(), 10, MS_SYNC);
        content("after the unlink", fd);
    }
}

fn remapped(folder: &str) {
    create(folder, "file", &vec![b'-'; 3 * PAGE]);
    let fd = opened(folder, "file", O_RDWR);
    let at = map(fd, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    unsafe {
        store(at.wrapping_add(2 * PAGE), b"third");
        let less: *mut u8 = mremap(at.cast(), 3 * PAGE, PAGE, 0).cast();
        println!("stays: {}", less == at);
        store(less, b"first");
        let elsewhere: *mut u8 = mmap(null_mut(), PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).cast();
        let moved: *mut u8 = mremap(less.cast(), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere).cast();
        println!("moved: {}", moved == elsewhere);
        bytes("moved", moved, 6);
        store(moved, b"moved");
        show("munmap", munmap(moved.cast(), PAGE));
    }
    content("file", fd);
}

fn synced(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    unsafe {
        let at = map(fd, 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        show("async", msync(at.cast(), 10, MS_ASYNC));
        show("sync", msync(at.cast(), 10, MS_SYNC));
        show("invalidate", msync(at.cast(), 10, MS_SYNC | MS_INVALIDATE));
        show("both ways", msync(at.cast(), 10, MS_SYNC | MS_ASYNC));
        show("odd address", msync(at.wrapping_add(1).cast(), 10, MS_SYNC));
        munmap(at.cast(), PAGE);
        show("no mapping", msync(at.cast(), 10, MS_SYNC));
    }
}

/// Runs `body` in a child and waits for it.
fn in_child(body: impl FnOnce()) {
    unsafe {
        let child = fork();
        if child == 0 {
            body();
            _exit(0);
        }
        waitpid(child, null_mut(), 0);
    }
}

fn forked(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    let shared = map(fd, 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    let private = map(fd, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    store(private, b"mine");
    in_child(|| {
        store(shared, b"child");
        store(private, b"CHILD");
    });
    bytes("shared", shared, 10);
    bytes("private", private, 10);
    content("file", fd);
}

fn between_processes(folder: &str) {
    create(folder, "file", &vec![b'-'; PAGE]);
    let open_and_map = || map(opened(folder, "file", O_RDWR), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    let at = open_and_map();
    store(at, b"parent");
    unsafe { msync(at.cast(), PAGE, MS_SYNC) };
    in_child(|| {
        let own = open_and_map();
        bytes("the child sees", own, 8);
        store(own.wrapping_add(10), b"child");
        unsafe { msync(own.cast(), PAGE, MS_SYNC) };
    });
    bytes("the parent sees", open_and_map(), 20);
    content("file", opened(folder, "file", O_RDONLY));
}

fn exits(folder: &str) {
    create(folder, "file", b"0123456789");
    let change =
        |text: &[u8]| store(map(opened(folder, "file", O_RDWR), 10, PROT_READ | PROT_WRITE, MAP_SHARED, 0), text);
    in_child(|| change(b"_exit"));
    content("_exit", opened(folder, "file", O_RDONLY));
    in_child(|| {
        change(b"exit ");
        unsafe { exit(0) };
    });
    content("exit", opened(folder, "file", O_RDONLY));
    in_child(|| {
        change(b"exec ");
        let argv = [c"true".as_ptr(), null()];
        unsafe { execv(c"/bin/true".as_ptr(), argv.as_ptr()) };
    });
    content("exec", opened(folder, "file", O_RDONLY));
}

fn beyond_the_end(folder: &str) {
    create(folder, "file", b"0123456789");
    let at = map(opened(folder, "file", O_RDWR), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    bytes("the rest of the page", at.wrapping_add(8), 4);
    unsafe {
        let child = fork();
        if child == 0 {
            at.wrapping_add(2 * PAGE).read_volatile();
            _exit(0);
        }
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("beyond: {}", if WIFSIGNALED(status) { WTERMSIG(status) } else { 0 });
    }
}

fn growing(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    unsafe {
        put(fd, b"0123");
        let at = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        show("ftruncate", ftruncate(fd, 2 * PAGE as i64));
        store(at.wrapping_add(PAGE), b"stored behind the former end");
        msync(at.cast(), 2 * PAGE, MS_SYNC);
        content("grown", fd);
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{} bytes", st.st_size);
        munmap(at.cast(), 2 * PAGE);
        let at = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
        store(at.wrapping_add(PAGE), b"second page");
        msync(at.cast(), 2 * PAGE, MS_SYNC);
        show("cut", ftruncate(fd, 10));
        show("grown", ftruncate(fd, 2 * PAGE as i64));
        fallocate(fd, 0, 0, 3 * PAGE as i64);
        pwrite(fd, c"end".as_ptr().cast(), 3, 3 * PAGE as i64);
    }
    content("file", fd);
}

/// What is stored is read, what is written is seen: whether the mapping is the file's own memory or a copy.
fn meets(folder: &str) {
    create(folder, "file", &b"0123456789".repeat(1000));
    let (fd, append) = (opened(folder, "file", O_RDWR), opened(folder, "file", O_WRONLY | O_APPEND));
    let at = map(fd, 12_288, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    let only_seen = map(opened(folder, "file", O_RDONLY), 12_288, PROT_READ, MAP_SHARED, 0);
    if !mapped("mapping", at) {
        return;
    }
    let write_at = |text: &str, offset| unsafe { pwrite(fd, text.as_ptr().cast(), text.len(), offset) };
    unsafe {
        store(at, b"stored");
        content("read", fd);
        write_at("written", 4_095);
        bytes("pwrite", at.wrapping_add(4_090), 20);
        lseek(fd, 20, SEEK_SET);
        write(fd, c"there".as_ptr().cast(), 5);
        bytes("write", at.wrapping_add(15), 15);
        write(append, c"appended".as_ptr().cast(), 8);
        bytes("append", at.wrapping_add(9_995), 15);
        bytes("as another mapping shows it", only_seen.wrapping_add(9_995), 15);
        ftruncate(fd, 8_200);
        bytes("cut", at.wrapping_add(8_195), 10);
        ftruncate(fd, 9_000);
        store(at.wrapping_add(8_900), b"in what it grew by");
        let mut buf = [0u8; 30];
        pread(fd, buf.as_mut_ptr().cast(), 30, 8_890);
        println!("{:?}", String::from_utf8_lossy(&buf));
        let copy = opened(folder, "copy", O_RDWR | O_CREAT);
        store(at, b"STORED");
        let (mut from, mut to) = (0, 0);
        show("copy_file_range", copy_file_range(fd, &mut from, copy, &mut to, 10, 0) as i64);
        content("copied", copy);
        (from, to) = (0, 4_000);
        show("copy_file_range", copy_file_range(copy, &mut from, fd, &mut to, 10, 0) as i64);
        bytes("copied into it", at.wrapping_add(3_995), 20);
        show("fallocate", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4));
        bytes("a hole", at, 10);
    }
}

/// Counts in a file by mappings that each process makes for itself; locks keep them apart.
unsafe fn count(name: &CStr, rounds: u32) {
    unsafe {
        let fd = open(name.as_ptr(), O_RDWR);
        let counters = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0).cast::<u32>();
        for round in 0..rounds {
            let mut lock: flock = zeroed();
            lock.l_len = 1;
            lock.l_whence = SEEK_SET as i16;
            let by_record = round % 2 == 0;
            let counter = counters.wrapping_add(if by_record { 0 } else { PAGE / 4 + 5 });
            lock.l_type = F_WRLCK as i16;
            assert_eq!(if by_record { fcntl(fd, F_SETLKW, &raw const lock) } else { flock(fd, LOCK_EX) }, 0);
            counter.write_volatile(counter.read_volatile() + 1);
            lock.l_type = F_UNLCK as i16;
            assert_eq!(if by_record { fcntl(fd, F_SETLK, &raw const lock) } else { flock(fd, LOCK_UN) }, 0);
        }
    }
}

fn under_locks(folder: &str) {
    let name = create(folder, "counters", &[0; 2 * PAGE]);
    unsafe {
        let fd = open(name.as_ptr(), O_RDWR);
        let mut lock: flock = zeroed();
        (lock.l_type, lock.l_len) = (F_WRLCK as i16, 1);
        show("lock", fcntl(fd, F_SETLK, &raw const lock));
        munmap(map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0).cast(), PAGE);
        let other = super::super::random::in_child(|| {
            assert!(fcntl(fd, F_SETLK, &raw const lock) == -1 && errno() == EAGAIN);
        });
        println!("the lock is there when a mapping has gone: {}", super::super::random::all_well(&[other]));
        close(fd);
    }
    let children: Vec<pid_t> = (0..4).map(|_| super::super::random::in_child(|| unsafe { count(&name, 40) })).collect();
    println!("all well: {}", super::super::random::all_well(&children));
    let at = map(opened(folder, "counters", O_RDONLY), 2 * PAGE, PROT_READ, MAP_PRIVATE, 0).cast::<u32>();
    unsafe { println!("{} {}", *at, *at.wrapping_add(PAGE / 4 + 5)) };
}
