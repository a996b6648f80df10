//! Walks over directories and patterns: readdir(3), scandir(3), ftw(3), fts(3), glob(3), wordexp(3), realpath(3).

use std::cell::RefCell;

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("readdir", OneProcess, read_directory),
    ("fdopendir", OneProcess, directory_of_descriptor),
    ("scandir", OneProcess, scan_directory),
    ("ftw", OneProcess, file_tree),
    ("nftw", OneProcess, new_file_tree),
    ("fts", OneProcess, traversal),
];

/// struct FTW of ftw(3).
#[repr(C)]
struct Ftw {
    base: c_int,
    level: c_int,
}

/// struct _ftsent of fts(3).
#[repr(C)]
struct FtsEntry {
    cycle: *mut FtsEntry,
    parent: *mut FtsEntry,
    link: *mut FtsEntry,
    number: c_long,
    pointer: *mut c_void,
    accpath: *mut c_char,
    path: *mut c_char,
    errno: c_int,
    symfd: c_int,
    pathlen: c_ushort,
    namelen: c_ushort,
    ino: ino_t,
    dev: dev_t,
    nlink: nlink_t,
    level: c_short,
    info: c_ushort,
    flags: c_ushort,
    instr: c_ushort,
    statp: *mut stat,
    name: [c_char; 1],
}

type Compare = unsafe extern "C" fn(*mut *const dirent, *mut *const dirent) -> c_int;
type Visit = unsafe extern "C" fn(*const c_char, *const stat, c_int) -> c_int;
type NewVisit = unsafe extern "C" fn(*const c_char, *const stat, c_int, *mut Ftw) -> c_int;
type FtsCompare = unsafe extern "C" fn(*mut *const FtsEntry, *mut *const FtsEntry) -> c_int;

unsafe extern "C" {
    fn scandir(
        name: *const c_char,
        list: *mut *mut *mut dirent,
        filter: Option<unsafe extern "C" fn(*const dirent) -> c_int>,
        compare: Option<Compare>,
    ) -> c_int;
    fn alphasort(a: *mut *const dirent, b: *mut *const dirent) -> c_int;
    fn versionsort(a: *mut *const dirent, b: *mut *const dirent) -> c_int;
    fn ftw(name: *const c_char, visit: Visit, descriptors: c_int) -> c_int;
    fn nftw(name: *const c_char, visit: NewVisit, descriptors: c_int, flags: c_int) -> c_int;
    fn fts_open(paths: *const *const c_char, options: c_int, compare: Option<FtsCompare>) -> *mut c_void;
    fn fts_read(walk: *mut c_void) -> *mut FtsEntry;
    fn fts_children(walk: *mut c_void, options: c_int) -> *mut FtsEntry;
    fn fts_set(walk: *mut c_void, entry: *mut FtsEntry, instruction: c_int) -> c_int;
    fn fts_close(walk: *mut c_void) -> c_int;
    fn get_current_dir_name() -> *mut c_char;
}

const FTW_PHYS: c_int = 1;
const FTW_MOUNT: c_int = 2;
const FTW_CHDIR: c_int = 4;
const FTW_DEPTH: c_int = 8;
const FTW_ACTIONRETVAL: c_int = 16;
const FTS_COMFOLLOW: c_int = 1;
const FTS_LOGICAL: c_int = 2;
const FTS_NOCHDIR: c_int = 4;
const FTS_NOSTAT: c_int = 8;
const FTS_PHYSICAL: c_int = 16;
const FTS_SEEDOT: c_int = 32;
const FTS_XDEV: c_int = 64;
const FTS_FOLLOW: c_int = 2;
const FTS_SKIP: c_int = 4;

/// A small tree: `t/a`, `t/b`, `t/d/c`, `t/d/e/f`, and links to a file, a folder, nothing and upwards.
pub fn tree(folder: &str) -> CString {
    unsafe {
        for name in ["t", "t/d", "t/d/e", "t/empty"] {
            mkdir(path(folder, name).as_ptr(), 0o755);
        }
        for name in ["t/a", "t/b.txt", "t/d/c.txt", "t/d/e/f"] {
            create(folder, name, name.as_bytes());
        }
        for (target, name) in [(c"a", "t/la"), (c"d", "t/ld"), (c"nowhere", "t/ln"), (c"..", "t/d/up")] {
            symlink(target.as_ptr(), path(folder, name).as_ptr());
        }
    }
    path(folder, "t")
}

/// Makes the link to a folder lead out of the tree: what is reached by two ways is seen by the one that the file system lists first.
unsafe fn one_way_to_each(folder: &str) {
    unsafe {
        unlink(path(folder, "t/d/up").as_ptr());
        unlink(path(folder, "t/ld").as_ptr());
        mkdir(path(folder, "outside").as_ptr(), 0o755);
        create(folder, "outside/x", b"x");
        symlink(c"../outside".as_ptr(), path(folder, "t/lo").as_ptr());
    }
}

/// A path below the folder, without the folder.
pub fn inside(folder: &str, name: &str) -> String {
    name.strip_prefix(folder).unwrap_or(name).to_owned()
}

unsafe fn entry_name(entry: *const dirent) -> String {
    unsafe { text((*entry).d_name.as_ptr()) }
}

fn read_directory(folder: &str) {
    let t = tree(folder);
    unsafe {
        let dir = opendir(t.as_ptr());
        println!("close on exec {}", fcntl(dirfd(dir), F_GETFD));
        let mut all = Vec::new();
        let start = telldir(dir);
        let mut after_two = 0;
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            all.push(format!("{} {}", entry_name(entry), (*entry).d_type));
            if all.len() == 2 {
                after_two = telldir(dir);
            }
        }
        show("past the end", if readdir(dir).is_null() { 0 } else { 1 });
        seekdir(dir, after_two);
        let again: Vec<String> = std::iter::from_fn(|| {
            let entry = readdir(dir);
            (!entry.is_null()).then(|| format!("{} {}", entry_name(entry), (*entry).d_type))
        })
        .collect();
        println!("the rest again: {}", again == all[2..]);
        seekdir(dir, start);
        println!(
            "the first again: {}",
            format!("{} ", entry_name(readdir(dir))) == all[0].split_at(all[0].find(' ').unwrap() + 1).0
        );
        rewinddir(dir);
        let (mut entry, mut result): (dirent, *mut dirent) = (zeroed(), null_mut());
        let status = readdir_r(dir, &mut entry, &mut result);
        println!("readdir_r {status} {}", !result.is_null());
        let mut own: stat = zeroed();
        let mut listed = 0;
        rewinddir(dir);
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            fstatat(dirfd(dir), (*entry).d_name.as_ptr(), &mut own, AT_SYMLINK_NOFOLLOW);
            listed += i32::from(own.st_ino == (*entry).d_ino);
        }
        println!("{listed} inode numbers agree of {}", all.len());
        show("closedir", closedir(dir));
        all.sort();
        println!("{all:#?}");
        show("of a file", if opendir(path(folder, "t/a").as_ptr()).is_null() { -1 } else { 0i64 });
        show("of none", if opendir(path(folder, "t/none").as_ptr()).is_null() { -1 } else { 0i64 });
        show("of a dangling link", if opendir(path(folder, "t/ln").as_ptr()).is_null() { -1 } else { 0i64 });
        show("of no name", if opendir(c"".as_ptr()).is_null() { -1 } else { 0i64 });
        // What is made and removed while reading.
        let dir = opendir(path(folder, "t/empty").as_ptr());
        for i in 0..500 {
            create(folder, &format!("t/empty/{i}"), b"");
        }
        let mut removed = 0;
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            removed += i32::from(unlinkat(dirfd(dir), (*entry).d_name.as_ptr(), 0) == 0);
        }
        println!("removed {removed}");
        show("rmdir", rmdir(path(folder, "t/empty").as_ptr()));
        println!("in a removed folder {}", readdir(dir).is_null());
        closedir(dir);
    }
}

fn directory_of_descriptor(folder: &str) {
    let t = tree(folder);
    unsafe {
        let fd = open(t.as_ptr(), O_RDONLY | O_DIRECTORY);
        let dir = fdopendir(fd);
        println!("same number {}", dirfd(dir) == fd);
        println!("close on exec {}", fcntl(fd, F_GETFD));
        let below = openat(dirfd(dir), c"d".as_ptr(), O_RDONLY | O_DIRECTORY);
        let inner = fdopendir(below);
        let mut names = Vec::new();
        loop {
            let entry = readdir(inner);
            if entry.is_null() {
                break;
            }
            names.push(entry_name(entry));
        }
        names.sort();
        println!("{names:?}");
        show("closedir", closedir(inner));
        show("descriptor closed", fcntl(below, F_GETFD));
        closedir(dir);
        let file = open(path(folder, "t/a").as_ptr(), O_RDONLY);
        show("of a file", if fdopendir(file).is_null() { -1 } else { 0i64 });
        show("of a closed one", if fdopendir(below).is_null() { -1 } else { 0i64 });
        let path_only = open(t.as_ptr(), O_PATH | O_DIRECTORY);
        show("of a path", if fdopendir(path_only).is_null() { -1 } else { 0i64 });
        // Two directories of one description share the position.
        let fd = open(t.as_ptr(), O_RDONLY | O_DIRECTORY);
        let first = fdopendir(fd);
        let mut count = 0;
        while !readdir(first).is_null() {
            count += 1;
        }
        let second = fdopendir(dup(fd));
        println!("{count} and then nothing {}", readdir(second).is_null());
        rewinddir(second);
        println!("rewound {}", !readdir(second).is_null());
    }
}

unsafe extern "C" fn no_dots(entry: *const dirent) -> c_int {
    unsafe { c_int::from((*entry).d_name[0] != b'.' as c_char) }
}

fn scan_directory(folder: &str) {
    let t = tree(folder);
    unsafe {
        for i in [1, 2, 10, 20, 100] {
            create(folder, &format!("t/v{i}"), b"");
        }
        let listing = |what: &str, filter, compare| {
            let mut list: *mut *mut dirent = null_mut();
            let n = scandir(t.as_ptr(), &mut list, filter, compare);
            let mut names = Vec::new();
            for i in 0..n.max(0) as usize {
                names.push(entry_name(*list.add(i)));
                free((*list.add(i)).cast());
            }
            free(list.cast());
            if compare.is_none() {
                names.sort();
            }
            println!("{what}: {n} {names:?}");
        };
        listing("all", None, None);
        listing("sorted", Some(no_dots as unsafe extern "C" fn(*const dirent) -> c_int), Some(alphasort as Compare));
        listing("by version", Some(no_dots), Some(versionsort));
        let mut list: *mut *mut dirent = null_mut();
        show("of none", scandir(path(folder, "none").as_ptr(), &mut list, None, None));
    }
}

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    pub static FOLDER: RefCell<String> = const { RefCell::new(String::new()) };
}

fn note(line: String) {
    SEEN.with_borrow_mut(|seen| seen.push(line));
}

pub fn below(name: *const c_char) -> String {
    FOLDER.with_borrow(|folder| inside(folder, &unsafe { text(name) }))
}

/// Prints what was noted, in an order that does not depend on the file system.
fn noted(sort: bool) {
    SEEN.with_borrow_mut(|seen| {
        if sort {
            seen.sort();
        }
        seen.drain(..).for_each(|line| println!("  {line}"));
    });
}

unsafe extern "C" fn visit(name: *const c_char, st: *const stat, kind: c_int) -> c_int {
    note(format!("{} kind {kind} {:o}", below(name), unsafe { (*st).st_mode } & S_IFMT));
    0
}

fn file_tree(folder: &str) {
    let t = tree(folder);
    FOLDER.set(folder.to_owned());
    unsafe extern "C" fn stops(_: *const c_char, _: *const stat, _: c_int) -> c_int {
        77
    }
    unsafe {
        one_way_to_each(folder);
        show("ftw", ftw(t.as_ptr(), visit, 10));
        noted(true);
        show("one descriptor", ftw(t.as_ptr(), visit, 1));
        noted(true);
        show("stops", ftw(t.as_ptr(), stops, 10));
        show("of a file", ftw(path(folder, "t/a").as_ptr(), visit, 10));
        noted(true);
        show("of none", ftw(path(folder, "none").as_ptr(), visit, 10));
    }
}

unsafe extern "C" fn visit_new(name: *const c_char, _: *const stat, kind: c_int, at: *mut Ftw) -> c_int {
    let (name, Ftw { base, level }) = (below(name), unsafe { &*at });
    let folder = FOLDER.with_borrow(String::len) as c_int;
    note(format!("{name} kind {kind} base {} level {level}", base - folder));
    // FTW_SKIP_SUBTREE when actions are asked for.
    if name.ends_with("/d") { SKIP.get() } else { 0 }
}

thread_local! {
    static SKIP: std::cell::Cell<c_int> = const { std::cell::Cell::new(0) };
}

fn new_file_tree(folder: &str) {
    let t = tree(folder);
    FOLDER.set(folder.to_owned());
    unsafe {
        show("with links, physical", nftw(t.as_ptr(), visit_new, 10, FTW_PHYS));
        noted(true);
        one_way_to_each(folder);
        for (what, flags) in [
            ("physical", FTW_PHYS),
            ("depth first", FTW_PHYS | FTW_DEPTH),
            ("one file system", FTW_PHYS | FTW_MOUNT),
            ("following", 0),
            ("following, depth first", FTW_DEPTH),
        ] {
            show(what, nftw(t.as_ptr(), visit_new, 10, flags));
            noted(true);
        }
        show("two descriptors", nftw(t.as_ptr(), visit_new, 2, FTW_PHYS));
        noted(true);
        SKIP.set(2);
        show("skipping", nftw(t.as_ptr(), visit_new, 10, FTW_PHYS | FTW_ACTIONRETVAL));
        noted(true);
        SKIP.set(0);
        let before = CString::new(text(get_current_dir_name())).unwrap();
        unsafe extern "C" fn visit_inside(name: *const c_char, _: *const stat, kind: c_int, at: *mut Ftw) -> c_int {
            let base = unsafe { name.add((*at).base as usize) };
            let found = unsafe { access(base, F_OK) };
            if kind != 4 && kind != 6 {
                note(format!("{} reached by its last name: {found}", below(name)));
            }
            0
        }
        show("changing there", nftw(t.as_ptr(), visit_inside, 10, FTW_PHYS | FTW_CHDIR));
        noted(true);
        println!("back again {}", text(get_current_dir_name()) == before.to_string_lossy());
        // All that it takes to remove a tree.
        unsafe extern "C" fn removes(name: *const c_char, _: *const stat, _: c_int, _: *mut Ftw) -> c_int {
            unsafe { remove(name) }
        }
        show("removing", nftw(t.as_ptr(), removes, 10, FTW_PHYS | FTW_DEPTH));
        show("gone", access(t.as_ptr(), F_OK));
    }
}

unsafe extern "C" fn by_name(a: *mut *const FtsEntry, b: *mut *const FtsEntry) -> c_int {
    unsafe { strcmp((**a).name.as_ptr(), (**b).name.as_ptr()) }
}

fn traversal(folder: &str) {
    let t = tree(folder);
    unsafe {
        for (what, options) in [
            ("physical", FTS_PHYSICAL),
            ("physical, staying", FTS_PHYSICAL | FTS_NOCHDIR),
            ("logical", FTS_LOGICAL),
            ("no stat", FTS_PHYSICAL | FTS_NOSTAT),
            ("with dots", FTS_PHYSICAL | FTS_SEEDOT),
            ("one device", FTS_PHYSICAL | FTS_XDEV),
            ("command line followed", FTS_PHYSICAL | FTS_COMFOLLOW),
        ] {
            println!("{what}");
            let link = path(folder, "t/ld");
            let paths = [t.as_ptr(), link.as_ptr(), null()];
            let walk = fts_open(paths.as_ptr(), options, Some(by_name));
            loop {
                *__errno_location() = 0;
                let entry = fts_read(walk);
                if entry.is_null() {
                    println!("  end {}", errno());
                    break;
                }
                let entry_text = inside(folder, &text((*entry).path));
                println!("  {entry_text} info {} level {}", (*entry).info, (*entry).level);
            }
            show("  fts_close", fts_close(walk));
        }
        println!("instructions");
        let paths = [t.as_ptr(), null()];
        let walk = fts_open(paths.as_ptr(), FTS_PHYSICAL, Some(by_name));
        loop {
            let entry = fts_read(walk);
            if entry.is_null() {
                break;
            }
            let name = text((*entry).name.as_ptr());
            println!("  {name} {}", (*entry).info);
            match name.as_str() {
                "d" if (*entry).info == 1 => drop(show("  skip", fts_set(walk, entry, FTS_SKIP))),
                "ld" if (*entry).info == 12 => drop(show("  follow", fts_set(walk, entry, FTS_FOLLOW))),
                "empty" => println!("  children {}", fts_children(walk, 0).is_null()),
                _ => {}
            }
        }
        fts_close(walk);
        let none = path(folder, "none");
        let paths = [none.as_ptr(), null()];
        let walk = fts_open(paths.as_ptr(), FTS_PHYSICAL, None);
        let entry = fts_read(walk);
        println!("missing: info {} errno {}", (*entry).info, (*entry).errno);
    }
}
