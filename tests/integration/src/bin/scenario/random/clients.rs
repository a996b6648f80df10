//! Random operations by several programs on the same folder at once: each has a tree of its own beside the others', and all of them
//! count in cells of a file under record locks, append to a file, replace a file by rename(2), and swap two names.
//!
//! `RANDOM_CLIENT` is the number of the program.

use super::super::prelude::*;
use super::tree::Subject;
use super::{Random, steps};

/// Bytes of a cell: a number in its first eight, and the same byte, made of that number, in the others.
const CELL: usize = 600;
/// Cells of the file.
const CELLS: u64 = 7;
/// Bytes of the file that is replaced as a whole.
const WHOLE: usize = 20_000;

fn client() -> u64 {
    std::env::var("RANDOM_CLIENT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The files that all of them use.
struct Common {
    folder: CString,
    cells: c_int,
    log: c_int,
}

impl Common {
    fn open(folder: &str) -> Self {
        let open = |name: &str, flags| unsafe { open(path(folder, name).as_ptr(), flags | O_CREAT | O_CLOEXEC, 0o644) };
        let common = Self {
            folder: CString::new(folder).unwrap(),
            cells: open("cells", O_RDWR),
            log: open("log", O_WRONLY | O_APPEND),
        };
        assert!(common.cells >= 0 && common.log >= 0, "{}", errno());
        common
    }

    fn name(&self, name: &str) -> CString {
        path(self.folder.to_str().unwrap(), name)
    }

    /// Adds one to a cell under its lock; what is found there must be whole.
    fn count(&self, cell: u64) {
        let mut lock: flock = unsafe { zeroed() };
        (lock.l_type, lock.l_start, lock.l_len) = (F_WRLCK as i16, (cell * CELL as u64) as i64, CELL as i64);
        let mut bytes = [0u8; CELL];
        unsafe {
            assert_eq!(fcntl(self.cells, F_SETLKW, &raw const lock), 0, "{}", errno());
            let got = pread(self.cells, bytes.as_mut_ptr().cast(), CELL, lock.l_start);
            // What nobody has written yet is beyond the end, or a hole.
            assert!((0..=CELL as isize).contains(&got), "cell {cell}: {got}");
            let number = value(&bytes).unwrap_or_else(|| panic!("cell {cell} is torn"));
            bytes.fill((number + 1) as u8);
            bytes[..8].copy_from_slice(&(number + 1).to_le_bytes());
            assert_eq!(pwrite(self.cells, bytes.as_ptr().cast(), CELL, lock.l_start), CELL as isize);
            lock.l_type = F_UNLCK as i16;
            assert_eq!(fcntl(self.cells, F_SETLK, &raw const lock), 0);
        }
    }

    /// Appends a line that says who and the how many-th.
    fn append(&self, number: u32, random: &mut Random) {
        let line = format!("{} {number} {}\n", client(), "x".repeat(random.next() as usize % 900));
        let put = unsafe { write(self.log, line.as_ptr().cast(), line.len()) };
        assert_eq!(put, line.len() as isize);
    }

    /// Puts a new file in the place of the common one, which is there and whole at any time.
    fn replace(&self, number: u32) {
        let (own, whole) = (self.name(&format!("whole.{}", client())), self.name("whole"));
        let byte = client() as u8 ^ number as u8;
        std::fs::write(own.to_str().unwrap(), vec![byte; WHOLE]).unwrap();
        assert_eq!(unsafe { libc::rename(own.as_ptr(), whole.as_ptr()) }, 0, "{}", errno());
        let seen = std::fs::read(whole.to_str().unwrap()).unwrap();
        assert!(seen.len() == WHOLE && seen.iter().all(|byte| *byte == seen[0]), "a part of a file is seen");
    }

    /// Swaps two directories, which are there at any time, one full and one empty.
    fn swap(&self) {
        let (one, two) = (self.name("one"), self.name("two"));
        unsafe {
            let done = renameat2(AT_FDCWD, one.as_ptr(), AT_FDCWD, two.as_ptr(), RENAME_EXCHANGE);
            assert_eq!(done, 0, "{}", errno());
            assert!(access(one.as_ptr(), F_OK) == 0 && access(two.as_ptr(), F_OK) == 0, "a name has gone meanwhile");
        }
    }
}

/// The number in a cell, if it is whole.
fn value(cell: &[u8]) -> Option<u64> {
    let (number, rest) = cell.split_at(8);
    let number = u64::from_le_bytes(number.try_into().ok()?);
    rest.iter().all(|byte| *byte == number as u8).then_some(number)
}

/// Makes what all of them need.
pub fn prepare(folder: &str) {
    for name in ["one", "two", "two/below"] {
        std::fs::create_dir(format!("{folder}/{name}")).unwrap();
    }
    std::fs::write(format!("{folder}/whole"), vec![7; WHOLE]).unwrap();
    println!("ready");
}

/// One of them.
pub fn client_of_several(folder: &str) {
    let common = Common::open(folder);
    let mut tree = Subject::new(&format!("{folder}/tree.{}", client()), 30 + client());
    let mut random = Random::new(40 + client());
    for step in 0..steps() {
        tree.step();
        match random.next() % 4 {
            0 => common.replace(step),
            1 => common.swap(),
            _ => {}
        }
        common.count(random.next() % CELLS);
        common.append(step, &mut random);
    }
    tree.all();
    println!("all agree");
}

/// What is there when all of them, as many as `RANDOM_CLIENT` says, have ended.
pub fn sums(folder: &str) {
    let cells = std::fs::read(format!("{folder}/cells")).unwrap();
    let counted: u64 = cells.chunks(CELL).map(|cell| value(cell).expect("a whole cell")).sum();
    println!("counted: {}", counted == client() * u64::from(steps()));
    let log = std::fs::read_to_string(format!("{folder}/log")).unwrap();
    let mut next = vec![0u32; client() as usize];
    for line in log.lines() {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a whole line");
        let (client, step) = (number(), number());
        assert_eq!(next[client], step as u32, "client {client}");
        next[client] += 1;
        assert!(words.next().is_some_and(|rest| rest.bytes().all(|byte| byte == b'x')), "{line}");
    }
    println!("appended: {}", next.iter().all(|count| *count == steps()));
    let full = ["one", "two"].map(|name| std::fs::read_dir(format!("{folder}/{name}")).unwrap().count());
    println!("swapped: {}", full == [0, 1] || full == [1, 0]);
}
