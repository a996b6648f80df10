//! Random operations on one file, each answer and the whole content checked against a copy in memory (in the manner of fsx).
//!
//! `RANDOM_SEED` and `RANDOM_STEPS` choose another sequence; the same seed is the same sequence.

mod clients;
mod model;
mod tree;

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("random_operations", OneProcess, operations),
    ("random_operations_of_processes", Processes, processes),
    ("random_names", OneProcess, tree::alone),
    ("random_client_first", Several, clients::prepare),
    ("random_client", Several, clients::client_of_several),
    ("random_client_sums", Several, clients::sums),
];

/// The longest that the file becomes.
const SIZE_MAX: usize = 300_000;
/// The most that one operation moves.
const MOVE_MAX: usize = 70_000;
/// How often everything is compared.
const CHECK_EVERY: u32 = 50;
/// Processes that share a file, and how many bytes of it each has to itself before the next one's begin.
const PROCESSES: usize = 4;
const STRIPE: usize = 3_000;

/// Numbers that look random (xorshift64*).
pub struct Random(u64);

impl Random {
    /// The sequence that the environment asks for; `stream` tells sequences of one run apart.
    pub fn new(stream: u64) -> Self {
        let seed: u64 = std::env::var("RANDOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_123);
        let mut random =
            Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (stream + 1).wrapping_mul(0xd134_2543_de82_ef95) | 1);
        (0..8).for_each(|_| {
            random.next();
        });
        random
    }

    /// The next number, of 48 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `end`, small ones and multiples of a page more often than others.
    fn below(&mut self, end: usize) -> usize {
        let number = self.next() as usize;
        let limit = match self.next() % 4 {
            0 => end.min(200),
            _ => end,
        };
        let number = if limit == 0 { 0 } else { number % limit };
        if self.next().is_multiple_of(4) { number / 4096 * 4096 } else { number }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let first = self.next() as u8;
        (0..len).map(|at| first.wrapping_add((at * 7 + at / 251) as u8)).collect()
    }
}

/// How many steps the environment asks for.
pub fn steps() -> u32 {
    std::env::var("RANDOM_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// A file and what it must hold.
struct Subject {
    path: CString,
    fd: c_int,
    append: c_int,
    expected: Vec<u8>,
    random: Random,
    log: Vec<String>,
}

impl Subject {
    fn new(path: CString) -> Self {
        let fd = unsafe { open(path.as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644) };
        let append = unsafe { open(path.as_ptr(), O_WRONLY | O_APPEND) };
        assert!(fd >= 0 && append >= 0, "{}", errno());
        Self { path, fd, append, expected: Vec::new(), random: Random::new(0), log: Vec::new() }
    }

    /// Fails with the operations that led here.
    fn check(&self, what: &str, holds: bool) {
        if !holds {
            let from = self.log.len().saturating_sub(25);
            panic!(
                "{what} (errno {})\nafter {} steps, the last of them:\n{}",
                errno(),
                self.log.len(),
                self.log[from..].join("\n")
            );
        }
    }

    fn same(&self, what: &str, offset: usize, got: &[u8]) {
        let expected = &self.expected[offset.min(self.expected.len())..];
        let expected = &expected[..got.len().min(expected.len())];
        if let Some(at) = got.iter().zip(expected).position(|(got, expected)| got != expected) {
            self.check(&format!("{what}: byte {} is {}, not {}", offset + at, got[at], expected[at]), false);
        }
        self.check(
            &format!("{what}: {} bytes at {offset}, not {}", got.len(), expected.len()),
            got.len() == expected.len(),
        );
    }

    fn put(&mut self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            let end = (offset + data.len()).max(self.expected.len());
            self.expected.resize(end, 0);
            self.expected[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    fn all(&mut self) {
        let mut st: stat = unsafe { zeroed() };
        self.check("fstat", unsafe { fstat(self.fd, &mut st) } == 0);
        self.check(&format!("st_size {}", st.st_size), st.st_size as usize == self.expected.len());
        let mut buf = vec![0u8; SIZE_MAX + MOVE_MAX];
        let got = unsafe { pread(self.fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
        self.check("pread", got >= 0);
        self.same("the whole file", 0, &buf[..got as usize]);
    }

    fn step(&mut self) {
        let (offset, len) = (self.random.below(SIZE_MAX - MOVE_MAX), self.random.below(MOVE_MAX));
        let kind = self.random.next() % OPERATIONS.len() as u64;
        let (name, operation) = OPERATIONS[kind as usize];
        self.log.push(format!("{name} at {offset}, {len}; the file has {}", self.expected.len()));
        unsafe { operation(self, offset, len) };
    }

    /// The part of a range that lies in the file.
    fn inside(&self, offset: usize, len: usize) -> (usize, usize) {
        let offset = offset.min(self.expected.len());
        (offset, len.min(self.expected.len() - offset))
    }
}

type Operation = unsafe fn(&mut Subject, usize, usize);

const OPERATIONS: &[(&str, Operation)] = &[
    ("pread", read_at),
    ("read", read_on),
    ("pwrite", write_at),
    ("pwrite", write_at),
    ("write", write_on),
    ("append", append),
    ("writev", write_pieces),
    ("ftruncate", cut),
    ("truncate", cut_by_name),
    ("map and read", map_and_read),
    ("map and write", map_and_write),
    ("fallocate", reserve),
    ("punch", punch),
    ("copy_file_range", copy),
    ("SEEK_DATA", seek),
    ("reopen", reopen),
];

unsafe fn read_at(file: &mut Subject, offset: usize, len: usize) {
    let mut buf = vec![0u8; len];
    let got = unsafe { pread(file.fd, buf.as_mut_ptr().cast(), len, offset as i64) };
    file.check("pread", got >= 0);
    let should = len.min(file.expected.len().saturating_sub(offset));
    file.check(&format!("pread gave {got}, not {should}"), got as usize == should);
    file.same("pread", offset, &buf[..should]);
}

unsafe fn read_on(file: &mut Subject, offset: usize, len: usize) {
    let mut buf = vec![0u8; len];
    unsafe {
        file.check("lseek", lseek(file.fd, offset as i64, SEEK_SET) == offset as i64);
        let got = read(file.fd, buf.as_mut_ptr().cast(), len);
        let should = len.min(file.expected.len().saturating_sub(offset));
        file.check(&format!("read gave {got}, not {should}"), got == should as isize);
        file.check("lseek", lseek(file.fd, 0, SEEK_CUR) == (offset + should) as i64);
        file.same("read", offset, &buf[..should]);
    }
}

unsafe fn write_at(file: &mut Subject, offset: usize, len: usize) {
    let data = file.random.bytes(len);
    let put = unsafe { pwrite(file.fd, data.as_ptr().cast(), len, offset as i64) };
    file.check(&format!("pwrite took {put}"), put == len as isize);
    file.put(offset, &data);
}

unsafe fn write_on(file: &mut Subject, offset: usize, len: usize) {
    let data = file.random.bytes(len);
    unsafe {
        lseek(file.fd, offset as i64, SEEK_SET);
        file.check("write", write(file.fd, data.as_ptr().cast(), len) == len as isize);
        file.check("lseek", lseek(file.fd, 0, SEEK_CUR) == (offset + len) as i64);
    }
    file.put(offset, &data);
}

unsafe fn append(file: &mut Subject, _: usize, len: usize) {
    let (end, data) = (file.expected.len(), file.random.bytes(len.min(MOVE_MAX / 8)));
    if end + data.len() <= SIZE_MAX {
        let put = unsafe { write(file.append, data.as_ptr().cast(), data.len()) };
        file.check(&format!("append took {put}"), put == data.len() as isize);
        file.put(end, &data);
    }
}

unsafe fn write_pieces(file: &mut Subject, offset: usize, len: usize) {
    let data = file.random.bytes(len);
    let (one, two) = data.split_at(len / 3);
    let pieces = [one, &[], two].map(|piece| iovec { iov_base: piece.as_ptr() as *mut c_void, iov_len: piece.len() });
    let put = unsafe { pwritev(file.fd, pieces.as_ptr(), 3, offset as i64) };
    file.check(&format!("pwritev took {put}"), put == len as isize);
    file.put(offset, &data);
}

unsafe fn cut(file: &mut Subject, offset: usize, _: usize) {
    file.check("ftruncate", unsafe { ftruncate(file.fd, offset as i64) } == 0);
    file.expected.resize(offset, 0);
}

unsafe fn cut_by_name(file: &mut Subject, offset: usize, _: usize) {
    file.check("truncate", unsafe { truncate(file.path.as_ptr(), offset as i64) } == 0);
    file.expected.resize(offset, 0);
}

unsafe fn map_and_read(file: &mut Subject, offset: usize, len: usize) {
    let (offset, len) = file.inside(offset, len);
    let start = offset / 4096 * 4096;
    if len > 0 {
        unsafe {
            let at = mmap(null_mut(), offset + len - start, PROT_READ, MAP_SHARED, file.fd, start as i64);
            file.check("mmap", at != MAP_FAILED);
            file.same("mapping", offset, std::slice::from_raw_parts(at.cast::<u8>().add(offset - start), len));
            munmap(at, offset + len - start);
        }
    }
}

unsafe fn map_and_write(file: &mut Subject, offset: usize, len: usize) {
    let (offset, len) = file.inside(offset, len);
    let start = offset / 4096 * 4096;
    let data = file.random.bytes(len);
    if len > 0 {
        unsafe {
            let at = mmap(null_mut(), offset + len - start, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, start as i64);
            file.check("mmap", at != MAP_FAILED);
            at.cast::<u8>().add(offset - start).copy_from_nonoverlapping(data.as_ptr(), len);
            file.check("msync", msync(at, offset + len - start, MS_SYNC) == 0);
            munmap(at, offset + len - start);
        }
        file.put(offset, &data);
    }
}

unsafe fn reserve(file: &mut Subject, offset: usize, len: usize) {
    let keep = file.random.next().is_multiple_of(2);
    let mode = if keep { FALLOC_FL_KEEP_SIZE } else { 0 };
    let len = len.max(1);
    file.check("fallocate", unsafe { fallocate(file.fd, mode, offset as i64, len as i64) } == 0);
    if !keep {
        let end = file.expected.len().max(offset + len);
        file.expected.resize(end, 0);
    }
}

unsafe fn punch(file: &mut Subject, offset: usize, len: usize) {
    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    file.check("punch", unsafe { fallocate(file.fd, mode, offset as i64, len.max(1) as i64) } == 0);
    let (offset, len) = file.inside(offset, len.max(1));
    file.expected[offset..offset + len].fill(0);
}

unsafe fn copy(file: &mut Subject, offset: usize, len: usize) {
    let (from, len) = file.inside(offset, len);
    let to = file.random.below(SIZE_MAX - MOVE_MAX);
    if from < to + len && to < from + len {
        return;
    }
    let (mut there, mut here) = (from as i64, to as i64);
    let mut done = 0;
    while done < len {
        let got = unsafe { copy_file_range(file.fd, &mut there, file.fd, &mut here, len - done, 0) };
        file.check(&format!("copy_file_range to {to} gave {got}"), got > 0);
        done += got as usize;
    }
    let data = file.expected[from..from + len].to_vec();
    file.put(to, &data);
}

/// Where a hole is said to be there are zeros, and holes and data follow each other.
unsafe fn seek(file: &mut Subject, offset: usize, _: usize) {
    let mut at = offset.min(file.expected.len()) as i64;
    let end = file.expected.len() as i64;
    while at < end {
        let data = unsafe { lseek(file.fd, at, SEEK_DATA) };
        file.check(&format!("SEEK_DATA from {at} is {data}"), data >= at || (data == -1 && errno() == ENXIO));
        let data = if data < 0 { end } else { data };
        let zeros = file.expected[at as usize..data as usize].iter().all(|byte| *byte == 0);
        file.check(&format!("a hole from {at} to {data} holds data"), zeros);
        if data < end {
            at = unsafe { lseek(file.fd, data, SEEK_HOLE) };
            file.check(&format!("SEEK_HOLE from {data} is {at}"), at > data && at <= end);
        } else {
            at = end;
        }
    }
}

unsafe fn reopen(file: &mut Subject, offset: usize, _: usize) {
    let empty = offset.is_multiple_of(8);
    unsafe {
        close(file.fd);
        file.fd = open(file.path.as_ptr(), if empty { O_RDWR | O_TRUNC } else { O_RDWR });
    }
    file.check("open", file.fd >= 0);
    if empty {
        file.expected.clear();
    }
}

fn operations(folder: &str) {
    let mut file = Subject::new(path(folder, "subject"));
    for step in 1..=steps() {
        file.step();
        if step.is_multiple_of(CHECK_EVERY) {
            file.all();
        }
    }
    file.all();
    println!("all agree");
}

/// One process of several: writes and reads its own stripes of the file, and finds there what it wrote.
unsafe fn stripes(name: &CStr, me: usize) {
    let fd = unsafe { open(name.as_ptr(), O_RDWR) };
    let mut random = Random::new(me as u64 + 1);
    let count = SIZE_MAX / STRIPE / PROCESSES;
    let mut expected = vec![vec![0u8; STRIPE]; count];
    for step in 0..steps() {
        let stripe = random.next() as usize % count;
        let base = (stripe * PROCESSES + me) * STRIPE;
        let from = random.below(STRIPE);
        let len = random.below(STRIPE - from).max(1);
        let data = random.bytes(len);
        let (range, at) = (from..from + len, (base + from) as i64);
        let mut buf = vec![0u8; len];
        unsafe {
            match random.next() % 4 {
                0 => {
                    assert_eq!(pwrite(fd, data.as_ptr().cast(), len, at), len as isize);
                    expected[stripe][range].copy_from_slice(&data);
                }
                1 => {
                    lseek(fd, at, SEEK_SET);
                    assert_eq!(write(fd, data.as_ptr().cast(), len), len as isize);
                    expected[stripe][range].copy_from_slice(&data);
                }
                2 => {
                    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
                    assert_eq!(fallocate(fd, mode, at, len as i64), 0);
                    expected[stripe][range].fill(0);
                }
                _ => {
                    assert_eq!(pread(fd, buf.as_mut_ptr().cast(), len, at), len as isize);
                    assert!(buf == expected[stripe][range], "step {step}: process {me}, {len} bytes at {at}");
                }
            }
        }
    }
    for (stripe, expected) in expected.iter().enumerate() {
        let mut buf = vec![0u8; STRIPE];
        let at = (stripe * PROCESSES + me) * STRIPE;
        assert_eq!(unsafe { pread(fd, buf.as_mut_ptr().cast(), STRIPE, at as i64) }, STRIPE as isize);
        assert!(buf == *expected, "process {me}, stripe {stripe} at the end");
    }
}

fn processes(folder: &str) {
    let name = create(folder, "shared", b"");
    unsafe {
        truncate(name.as_ptr(), SIZE_MAX as i64);
        let run = |me| in_child(|| stripes(&name, me));
        let children: Vec<pid_t> = (0..PROCESSES).map(run).collect();
        println!("all agree: {}", all_well(&children));
    }
}

/// Runs `body` in a child, whose status says whether it came to its end.
pub fn in_child(body: impl FnOnce()) -> pid_t {
    unsafe {
        let child = fork();
        if child == 0 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            _exit(i32::from(done.is_err()));
        }
        child
    }
}

/// Waits for children; whether all of them came to their end.
pub fn all_well(children: &[pid_t]) -> bool {
    let mut well = true;
    for child in children {
        let mut status = 0;
        unsafe { waitpid(*child, &mut status, 0) };
        well &= status == 0;
    }
    well
}
