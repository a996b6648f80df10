//! What cannot be changed: each operation on each kind of file of a read-only tree, and all that can be read of it.
//!
//! On Linux `EROFS` is the mount's answer, not the file system's, and comes where the pages of the calls say: behind what the path
//! itself has wrong, before what its last component has.

use super::prelude::*;
use std::collections::BTreeMap;

/// Spellings of a path: as it is, with a slash, and names below it.
const AFTER: &[&str] = &["", "/", "/.", "/..", "/in", "/new"];

/// Owners and modes of files and directories that a user is judged by.
const OWNED: &[(&str, u32, u32, u32)] = &[
    ("own", USER, USER, 0o600),
    ("of the group", OTHER, GROUP, 0o640),
    ("of another", OTHER, OTHER, 0o604),
    ("shut", 0, 0, 0o600),
    ("set", OTHER, OTHER, 0o6755),
    ("sticky", 0, 0, 0o1777),
];

/// Lengths of files: around the blocks of the formats.
const LENGTHS: &[usize] = &[0, 1, 511, 512, 1023, 1024, 2048, 4095, 4096, 4097, 131_071, 131_072, 131_073, 300_000];

/// Makes the tree.
pub fn tree() {
    Thing::File.make("file");
    Thing::Empty.make("dir");
    for thing in Thing::all().filter(|thing| *thing != Thing::None) {
        thing.make(&format!("{thing:?}"));
    }
    unsafe {
        for len in LENGTHS {
            let content: Vec<u8> = (0..*len).map(byte_at).collect();
            write_file(&format!("length {len}"), &content);
        }
        for (name, owner, group, mode) in OWNED {
            for directory in [false, true] {
                let path = format!("{}{name}", if directory { "d " } else { "f " });
                if directory {
                    assert_eq!(mkdir(c(&path).as_ptr(), 0o755), 0);
                    write_file(&format!("{path}/in"), b"inner");
                } else {
                    write_file(&path, b"12345");
                }
                assert_eq!(chown(c(&path).as_ptr(), *owner, *group), 0);
                assert_eq!(chmod(c(&path).as_ptr(), *mode), 0);
            }
        }
        mkdir(c"many".as_ptr(), 0o755);
        for at in 0..300 {
            write_file(&format!("many/entry number {at}"), b"");
        }
        mkdir(c"names".as_ptr(), 0o755);
        for name in names() {
            let name = CString::new([b"names/", name.as_slice()].concat()).unwrap();
            let fd = open(name.as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o644);
            assert!(fd >= 0, "{name:?} {}", super::error());
            close(fd);
        }
        if Has::Links.here() {
            assert_eq!(link(c"length 1".as_ptr(), c"second name".as_ptr()), 0);
        }
        if Has::Symlinks.here() {
            for len in [1, 59, 60, 61, 255] {
                assert_eq!(symlink(c(&"x".repeat(len)).as_ptr(), c(&format!("link of {len}")).as_ptr()), 0);
            }
        }
        let mut deep = String::from("deep");
        for _ in 0..6 {
            mkdir(c(&deep).as_ptr(), 0o755);
            deep += "/down";
        }
        write_file(&deep, b"bottom");
        for name in ["length 1", "deep", "dir"] {
            let times = [timespec { tv_sec: 86_400, tv_nsec: 0 }, timespec { tv_sec: 1_000_000_000, tv_nsec: 0 }];
            assert_eq!(utimensat(AT_FDCWD, c(name).as_ptr(), times.as_ptr(), 0), 0);
        }
    }
}

fn byte_at(at: usize) -> u8 {
    (at / 253 * 7 + at + 1) as u8
}

/// Names of all bytes, or of those that the file system has.
fn names() -> Vec<Vec<u8>> {
    let odd = (1..=255u8).filter(|byte| *byte != b'/').map(|byte| vec![b'n', byte, b'x']);
    let plain = (b'a'..=b'z').map(|byte| vec![byte, b'-', b'x']);
    let long = [64, 200, 255].map(|len| vec![b'l'; len]);
    let all: Vec<Vec<u8>> = if Has::Names.here() { odd.chain(long).collect() } else { plain.collect() };
    all
}

/// An operation on two paths, with its name.
type Two = (&'static str, fn(&CStr, &CStr) -> c_int);

/// All of it, where nothing can be written.
pub fn all() {
    if Has::Writing.here() {
        return;
    }
    each();
    opens();
    contents();
    listings();
    attributes();
}

/// Each operation by the superuser and by a user, who must not get another answer for want of rights.
fn each() {
    let own = OWNED.iter().filter(|_| Has::Modes.here() && Has::Owners.here());
    let own = own.flat_map(|(name, ..)| [format!("f {name}"), format!("d {name}")]);
    let names: Vec<String> = Thing::all().map(|thing| format!("{thing:?}")).chain(own).collect();
    for name in names {
        for after in AFTER {
            let path = c(&format!("{name}{after}"));
            let shown = path.to_string_lossy();
            for ((what, op), _) in operations().into_iter().filter(|(op, _)| of_the_kernel(op)) {
                line(format_args!("{shown}: {what}: {}", op(&path)));
            }
            if !Has::Users.here() {
                continue;
            }
            let answers: Vec<(&str, String)> = as_user(|| {
                let all = operations().into_iter().filter(|(op, _)| of_the_kernel(op));
                all.map(|((what, op), _)| (what, op(&path))).collect()
            });
            for (what, answer) in answers {
                line(format_args!("{shown} by a user: {what}: {answer}"));
            }
        }
    }
    let two: &[Two] = &[
        ("rename", |from, to| unsafe { rename(from.as_ptr(), to.as_ptr()) }),
        ("noreplace", |from, to| unsafe {
            renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), RENAME_NOREPLACE)
        }),
        ("exchange", |from, to| unsafe { renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), RENAME_EXCHANGE) }),
        ("link", |from, to| unsafe { link(from.as_ptr(), to.as_ptr()) }),
    ];
    let paths = ["file", "dir", "no", "no/x", "file/x", ".", "..", "dir/.", "", "Full", "deep/new"];
    for (what, op) in two {
        for from in paths {
            for to in paths {
                line(format_args!("{what} {from:?} {to:?}: {}", said(op(&c(from), &c(to)))));
            }
        }
    }
}

/// Some versions of libc refuse to change the mode of a symbolic link by themselves. What FAT and ISO 9660 tell of a name's length is
/// said by statfs.
fn of_the_kernel(op: &Op) -> bool {
    op.0 != "fchmodat nofollow" && op.0 != "pathconf NAME_MAX"
}

/// All combinations of flags of open(2).
fn opens() {
    let flags = [O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH];
    let names = ["file", "dir", "no", "file/x", "ToFile", "Broken", "Fifo", "Socket"];
    let tmpfile = [O_TMPFILE | O_RDWR, O_TMPFILE | O_WRONLY, O_TMPFILE | O_RDWR | O_EXCL];
    let chosen = |set: usize| flags.iter().enumerate().filter(move |(at, _)| (set >> at) & 1 != 0);
    let sets = (0..1usize << flags.len()).map(|set| chosen(set).fold(0, |all, (_, flag)| all | flag));
    let sets: Vec<c_int> =
        sets.flat_map(|set| [O_RDONLY, O_WRONLY, O_RDWR].map(|mode| set | mode)).chain(tmpfile).collect();
    for name in names {
        for set in &sets {
            let answer = opened(unsafe { open(c(name).as_ptr(), set | O_NONBLOCK, 0o600) });
            line(format_args!("open {name} {set:o}: {answer}"));
        }
    }
    unsafe {
        for name in ["file", "dir"] {
            let fd = open(c(name).as_ptr(), O_RDONLY);
            line(format_args!("{name}: fchmod {}", said(fchmod(fd, 0o600))));
            line(format_args!("{name}: fchown {}", said(fchown(fd, 1, 1))));
            line(format_args!("{name}: futimens {}", said(futimens(fd, null()))));
            line(format_args!("{name}: ftruncate {}", said(ftruncate(fd, 0))));
            line(format_args!("{name}: fallocate {}", said(fallocate(fd, 0, 0, 1))));
            line(format_args!("{name}: write {}", said(write(fd, c"x".as_ptr().cast(), 1) as i64)));
            line(format_args!("{name}: flock {}", said(flock(fd, LOCK_EX | LOCK_NB))));
            line(format_args!("{name}: fsync {}", said(fsync(fd))));
            line(format_args!("{name}: mkdirat {}", said(mkdirat(fd, c"x".as_ptr(), 0o755))));
            line(format_args!("{name}: unlinkat {}", said(unlinkat(fd, c"x".as_ptr(), 0))));
            close(fd);
        }
    }
}

/// What is in the files, read from each side of each block.
fn contents() {
    for len in LENGTHS {
        unsafe {
            let fd = open(c(&format!("length {len}")).as_ptr(), O_RDONLY);
            let mut sum = 0u64;
            let mut total = 0;
            let mut buf = [0u8; 1000];
            while let n @ 1.. = read(fd, buf.as_mut_ptr().cast(), buf.len()) {
                sum =
                    buf[..n as usize].iter().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
                total += n;
            }
            line(format_args!(
                "length {len}: {total} bytes, sum {sum:x}, then {}",
                read(fd, buf.as_mut_ptr().cast(), 1)
            ));
            for at in [0, 1, 510, 1023, 4095, 131_070, 131_072, 299_999, 300_000, i64::MAX - 9] {
                let n = pread(fd, buf.as_mut_ptr().cast(), 8, at);
                line(format_args!("length {len} at {at}: {} {:?}", said(n as i64), &buf[..n.max(0) as usize]));
            }
            line(format_args!("length {len}: end {}", said(lseek(fd, 0, SEEK_END))));
            line(format_args!("length {len}: before {}", said(lseek(fd, -1, SEEK_SET))));
            line(format_args!("length {len}: data {}", said(lseek(fd, 0, SEEK_DATA))));
            line(format_args!("length {len}: hole {}", said(lseek(fd, 0, SEEK_HOLE))));
            let mapped = mmap(null_mut(), (*len).max(1), PROT_READ, MAP_PRIVATE, fd, 0);
            let same = mapped == MAP_FAILED
                || std::slice::from_raw_parts(mapped.cast::<u8>(), *len)
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| *byte == byte_at(at));
            line(format_args!(
                "length {len}: mapped {} {same}",
                if mapped == MAP_FAILED { super::error() } else { "0".into() }
            ));
            if mapped != MAP_FAILED {
                munmap(mapped, (*len).max(1));
            }
            close(fd);
        }
    }
    line(format_args!("at the bottom: {}", read_file(&format!("deep{}", "/down".repeat(6)))));
}

/// What directories list, from each position, and in pieces.
fn listings() {
    for name in [".", "dir", "Full", "many", "names", "deep"] {
        unsafe {
            let dir = opendir(c(name).as_ptr());
            let mut told: Vec<(c_long, Vec<u8>)> = Vec::new();
            let mut kinds = BTreeMap::<bool, usize>::new();
            loop {
                let position = telldir(dir);
                let entry = readdir(dir);
                if entry.is_null() {
                    break;
                }
                let found = CStr::from_ptr((*entry).d_name.as_ptr());
                let mut st: stat = zeroed();
                fstatat(dirfd(dir), found.as_ptr(), &mut st, AT_SYMLINK_NOFOLLOW);
                let type_agrees = (*entry).d_type == DT_UNKNOWN || u32::from((*entry).d_type) == st.st_mode >> 12;
                *kinds.entry(type_agrees && ((*entry).d_ino == st.st_ino || found == c"..")).or_default() += 1;
                told.push((position, found.to_bytes().to_vec()));
            }
            line(format_args!("{name}: types and numbers agree {kinds:?}"));
            let back = told.iter().rev().all(|(position, name)| {
                seekdir(dir, *position);
                let entry = readdir(dir);
                !entry.is_null() && CStr::from_ptr((*entry).d_name.as_ptr()).to_bytes() == name
            });
            line(format_args!("{name}: each found again at its position {back}"));
            closedir(dir);
            let mut names: Vec<String> = told.iter().map(|(_, name)| name.escape_ascii().to_string()).collect();
            names.sort();
            line(format_args!("{name}: {}", names.join(" ")));
        }
    }
}

/// What stat(2) says.
fn attributes() {
    let own = OWNED.iter().flat_map(|(name, ..)| [format!("f {name}"), format!("d {name}")]);
    let lengths = LENGTHS.iter().map(|len| format!("length {len}"));
    let links = [1, 59, 60, 61, 255].map(|len| format!("link of {len}")).into_iter().filter(|_| Has::Symlinks.here());
    let second = ["second name".to_owned()].into_iter().filter(|_| Has::Links.here());
    let things = Thing::all().map(|thing| format!("{thing:?}"));
    for name in
        own.chain(lengths).chain(links).chain(second).chain(things).chain([".", "deep", "many"].map(str::to_owned))
    {
        line(format_args!("{name:?}: {}", look(&c(&name))));
        let mut buf = [0u8; 300];
        let n = unsafe { readlink(c(&name).as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
        line(format_args!(
            "{name:?}: target {} {}",
            said(n as i64),
            String::from_utf8_lossy(&buf[..n.max(0) as usize])
        ));
        if matches!(name.as_str(), "Char" | "Block") {
            let mut st: stat = unsafe { zeroed() };
            unsafe { lstat(c(&name).as_ptr(), &mut st) };
            line(format_args!("{name:?}: device {}.{}", major(st.st_rdev), minor(st.st_rdev)));
        }
    }
    for name in ["length 1", "deep", "dir"] {
        let mut st: stat = unsafe { zeroed() };
        unsafe { stat(c(name).as_ptr(), &mut st) };
        line(format_args!("{name}: modified {}.{}", st.st_mtime, st.st_mtime_nsec));
    }
    if Has::Links.here() {
        let mut st: [stat; 2] = unsafe { zeroed() };
        unsafe {
            stat(c"length 1".as_ptr(), &mut st[0]);
            stat(c"second name".as_ptr(), &mut st[1]);
        }
        line(format_args!("two names, one file: {}", st[0].st_ino == st[1].st_ino));
    }
    unsafe {
        let mut st: statvfs = zeroed();
        assert_eq!(statvfs(c".".as_ptr(), &mut st), 0);
        line(format_args!("read-only {}", st.f_flag & ST_RDONLY != 0));
    }
}
