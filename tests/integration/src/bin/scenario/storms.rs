//! Many processes in the same folder at once: nothing is lost, nothing is seen half done, nobody hangs.
//!
//! `STORM_ROUNDS` makes them longer.

use super::prelude::*;
use super::random::{all_well, in_child};

/// The family.
pub const TABLE: &[Row] = &[
    ("storm_of_appends", Processes, appends),
    ("storm_of_renames_over_a_name", Processes, renames),
    ("storm_in_a_folder_that_is_read", Processes, reading),
    ("storm_of_folders", Processes, folders),
    ("storm_of_folders_that_move", Processes, moving),
    ("storm_of_unlinks_of_open_files", Processes, unlinks),
    ("storm_of_exclusive_creates", Processes, creates),
];

fn rounds(usual: u32) -> u32 {
    usual * std::env::var("STORM_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Lines of 8 processes, some of them by several pieces, come out whole and in each one's order.
fn appends(folder: &str) {
    let name = create(folder, "log", b"");
    let lines = rounds(150);
    let body = |me: u32| unsafe {
        let fd = open(name.as_ptr(), O_WRONLY | O_APPEND);
        for line in 0..lines {
            let text = format!("{me} {line} {}\n", "x".repeat((line % 90) as usize));
            let (one, two) = text.split_at(3);
            let pieces =
                [one, two].map(|piece| iovec { iov_base: piece.as_ptr() as *mut c_void, iov_len: piece.len() });
            let put = match line % 2 {
                0 => write(fd, text.as_ptr().cast(), text.len()),
                _ => writev(fd, pieces.as_ptr(), 2),
            };
            assert_eq!(put, text.len() as isize);
        }
    };
    let children: Vec<pid_t> = (0..8).map(|me| in_child(|| body(me))).collect();
    println!("writers: {}", all_well(&children));
    let text = contents(&name);
    let mut next = [0u32; 8];
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (me, number): (usize, u32) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        assert_eq!((number, words[2].len()), (next[me], (number % 90) as usize), "{line}");
        next[me] += 1;
    }
    println!("all lines, in order: {}", next == [lines; 8]);
}

/// A name that is always there, and always means a whole file.
fn renames(folder: &str) {
    let name = create(folder, "current", &b"0".repeat(5000));
    let body = |me: u32| unsafe {
        for round in 0..rounds(60) {
            let new = create(folder, &format!("new{me}"), &[b'a' + (round % 26) as u8; 5000]);
            assert_eq!(rename(new.as_ptr(), name.as_ptr()), 0);
        }
    };
    let reader = || unsafe {
        let mut buf = [0u8; 6000];
        for _ in 0..rounds(200) {
            let fd = open(name.as_ptr(), O_RDONLY);
            assert!(fd >= 0, "the name is gone: {}", errno());
            assert_eq!(read(fd, buf.as_mut_ptr().cast(), buf.len()), 5000);
            assert!(buf[..5000].iter().all(|byte| *byte == buf[0]), "a file in two parts");
            let mut st: stat = zeroed();
            assert_eq!(stat(name.as_ptr(), &mut st), 0);
            close(fd);
        }
    };
    let mut children: Vec<pid_t> = (0..2).map(|me| in_child(|| body(me))).collect();
    children.extend((0..2).map(|_| in_child(reader)));
    println!("writers and readers: {}", all_well(&children));
}

/// Names that stay are seen once each in every reading, whatever comes and goes between them.
fn reading(folder: &str) {
    for stays in 0..60 {
        create(folder, &format!("stays{stays}"), b"");
    }
    let body = |me: u32| unsafe {
        for round in 0..rounds(120) {
            let name = create(folder, &format!("goes{me}-{}", round % 7), b"x");
            let other = path(folder, &format!("went{me}"));
            match round % 3 {
                0 => assert_eq!(unlink(name.as_ptr()), 0),
                1 => assert_eq!(rename(name.as_ptr(), other.as_ptr()), 0),
                _ => assert_eq!(link(name.as_ptr(), path(folder, &format!("l{me}-{round}")).as_ptr()), 0),
            }
        }
    };
    let reader = || unsafe {
        for _ in 0..rounds(30) {
            let dir = opendir(CString::new(folder).unwrap().as_ptr());
            let mut seen = [0u32; 60];
            loop {
                let entry = readdir(dir);
                if entry.is_null() {
                    break;
                }
                let name = text((*entry).d_name.as_ptr());
                if let Some(number) = name.strip_prefix("stays") {
                    seen[number.parse::<usize>().unwrap()] += 1;
                }
            }
            closedir(dir);
            assert!(seen == [1; 60], "{seen:?}");
        }
    };
    let mut children: Vec<pid_t> = (0..3).map(|me| in_child(|| body(me))).collect();
    children.extend((0..2).map(|_| in_child(reader)));
    println!("writers and readers: {}", all_well(&children));
}

/// Of several who make or remove the same folder, one does each time.
fn folders(folder: &str) {
    let made = create(folder, "made", b"");
    let removed = create(folder, "removed", b"");
    let name = path(folder, "contested");
    let body = || unsafe {
        let (made, removed) = (open(made.as_ptr(), O_WRONLY | O_APPEND), open(removed.as_ptr(), O_WRONLY | O_APPEND));
        for _ in 0..rounds(100) {
            match mkdir(name.as_ptr(), 0o755) {
                0 => drop(write(made, b"+".as_ptr().cast(), 1)),
                _ => assert_eq!(errno(), EEXIST),
            }
            let inner = path(folder, &format!("contested/{}", getpid()));
            if mkdir(inner.as_ptr(), 0o755) < 0 {
                assert_eq!(errno(), ENOENT);
            } else {
                assert_eq!(rmdir(inner.as_ptr()), 0);
            }
            match rmdir(name.as_ptr()) {
                0 => drop(write(removed, b"-".as_ptr().cast(), 1)),
                _ => assert!([ENOENT, ENOTEMPTY].contains(&errno()), "{}", errno()),
            }
        }
    };
    let children: Vec<pid_t> = (0..4).map(|_| in_child(body)).collect();
    println!("makers: {}", all_well(&children));
    let left = usize::from(unsafe { access(name.as_ptr(), F_OK) } == 0);
    println!("made less removed is what is left: {}", contents(&made).len() - contents(&removed).len() == left);
}

/// Folders move into one another: none is lost, none ends up in itself.
fn moving(folder: &str) {
    for name in ["a", "b", "c", "d"] {
        unsafe { mkdir(path(folder, name).as_ptr(), 0o755) };
        create(folder, &format!("{name}/name-{name}"), b"");
    }
    let places = ["a", "b", "c", "d", "a/b", "b/a", "b/c", "c/a", "a/b/c", "c/a/b", "d/a", "a/d", "d/b/c", "c/d"];
    let body = |me: u64| unsafe {
        let mut at = me * 7919 + 1;
        for _ in 0..rounds(250) {
            at = at.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (from, to) = (places[(at >> 33) as usize % places.len()], places[(at >> 43) as usize % places.len()]);
            let (from, to) = (path(folder, from), path(folder, to));
            let exchange = if (at >> 53).is_multiple_of(4) { RENAME_EXCHANGE } else { 0 };
            if renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), exchange) < 0 {
                assert!([ENOENT, EINVAL, ENOTEMPTY, EEXIST].contains(&errno()), "{}", errno());
            }
        }
    };
    let children: Vec<pid_t> = (0..4).map(|me| in_child(|| body(me))).collect();
    println!("movers: {}", all_well(&children));
    let mut found = Vec::new();
    walk(folder, 0, &mut found);
    found.sort();
    println!("{found:?}");
}

/// The names of the files below a folder.
fn walk(folder: &str, depth: u32, found: &mut Vec<String>) {
    assert!(depth < 10, "a folder in itself: {folder}");
    unsafe {
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        assert!(!dir.is_null(), "{folder}");
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            let name = text((*entry).d_name.as_ptr());
            if (*entry).d_type == DT_DIR && !name.starts_with('.') {
                walk(&format!("{folder}/{name}"), depth + 1, found);
            } else if name.starts_with("name-") {
                found.push(name);
            }
        }
        closedir(dir);
    }
}

/// An open file outlives its name, and a name that is made again is another file.
fn unlinks(folder: &str) {
    let name = path(folder, "fleeting");
    let body = |me: u8| unsafe {
        for round in 0..rounds(80) {
            let fd = open(name.as_ptr(), O_RDWR | O_CREAT, 0o644);
            assert!(fd >= 0);
            let mut st: stat = zeroed();
            let data = [me; 100];
            assert_eq!(pwrite(fd, data.as_ptr().cast(), 100, i64::from(me) * 100), 100);
            if unlink(name.as_ptr()) < 0 {
                assert_eq!(errno(), ENOENT);
            }
            let mut buf = [0u8; 100];
            assert_eq!(pread(fd, buf.as_mut_ptr().cast(), 100, i64::from(me) * 100), 100, "round {round}");
            assert_eq!(buf, data);
            assert_eq!(fstat(fd, &mut st), 0);
            assert_eq!(st.st_nlink, 0, "its name is gone");
            close(fd);
        }
    };
    let children: Vec<pid_t> = (0..4).map(|me| in_child(|| body(me + 1))).collect();
    println!("all: {}", all_well(&children));
    println!("left: {}", unsafe { access(name.as_ptr(), F_OK) });
}

/// Of several who create a name exclusively, one does: a lock file.
fn creates(folder: &str) {
    let lock = path(folder, "lock");
    let counter = create(folder, "counter", b"0");
    let body = || unsafe {
        for _ in 0..rounds(25) {
            loop {
                let fd = open(lock.as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o600);
                if fd >= 0 {
                    close(fd);
                    break;
                }
                assert_eq!(errno(), EEXIST);
                sched_yield();
            }
            let number: u32 = contents(&counter).parse().unwrap();
            create(folder, "counter", (number + 1).to_string().as_bytes());
            assert_eq!(unlink(lock.as_ptr()), 0);
        }
    };
    let children: Vec<pid_t> = (0..4).map(|_| in_child(body)).collect();
    println!("all: {}", all_well(&children));
    println!("none lost: {}", contents(&counter) == (4 * rounds(25)).to_string());
}
