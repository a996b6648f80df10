//! renameat2(2), linkat(2), unlinkat(2), symlinkat(2): which of several errors comes first.

use super::super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("rename_order_of_errors", OneProcess, rename_order_of_errors),
    ("link_order_of_errors", OneProcess, link_order_of_errors),
    ("unlink_order_of_errors", OneProcess, unlink_order_of_errors),
    ("symlink_order_of_errors", OneProcess, symlink_order_of_errors),
];

/// A path, and the descriptor that it is relative to.
struct End {
    what: &'static str,
    dir: c_int,
    path: *const c_char,
}

/// A descriptor that is not open.
const CLOSED: c_int = 777;
/// An address where nothing is.
const NOWHERE: *const c_char = 8 as *const c_char;

/// The paths, relative to the working directory unless they say otherwise.
const PATHS: &[&CStr] = &[
    c"file",
    c"other",
    c"hard",
    c"file/",
    c"file/x",
    c"dir",
    c"dir/",
    c"dir/.",
    c"dir/..",
    c"full",
    c"full/in",
    c"full/file",
    c"full/in/deep/new",
    c"missing",
    c"missing/",
    c"missing/x",
    c"dangling",
    c"dangling/",
    c"todir",
    c"todir/",
    c"todir/new",
    c"loop",
    c"loop/",
    c"loop/x",
];

/// A working directory that is filled again after each call that has changed it.
struct Place {
    folder: String,
    ends: Vec<End>,
    /// The directory `full`, always by the same number.
    full: c_int,
}

impl Place {
    fn new(folder: &str) -> Self {
        let folder = format!("{folder}/here");
        let mut place = Self { folder, ends: Vec::new(), full: -1 };
        place.fill();
        let long = |bytes: &[u8]| CString::new(bytes).unwrap().into_raw().cast_const();
        let end = |what, dir, path| End { what, dir, path };
        let here = |path: &&'static CStr| end(path.to_str().unwrap(), AT_FDCWD, path.as_ptr());
        place.ends = PATHS.iter().map(here).collect();
        place.ends.extend([
            end("a long name", AT_FDCWD, long(&[b'n'; 300])),
            end("a long path", AT_FDCWD, long(&b"path/".repeat(1000))),
            end("a bad address", AT_FDCWD, NOWHERE),
            end("null", AT_FDCWD, null()),
            end("nothing", AT_FDCWD, c"".as_ptr()),
            end("x at a closed descriptor", CLOSED, c"x".as_ptr()),
            end("nothing at a closed descriptor", CLOSED, c"".as_ptr()),
            end("a bad address at a closed descriptor", CLOSED, NOWHERE),
            end("in at full", place.full, c"in".as_ptr()),
            end("new at full", place.full, c"new".as_ptr()),
        ]);
        place
    }

    fn fill(&mut self) {
        unsafe {
            chdir(c"/".as_ptr());
            let _ = std::fs::remove_dir_all(&self.folder);
            let folder = path(&self.folder, "");
            mkdir(folder.as_ptr(), 0o755);
            chdir(folder.as_ptr());
            for name in ["file", "other"] {
                create(&self.folder, name, name.as_bytes());
            }
            link(c"file".as_ptr(), c"hard".as_ptr());
            for name in [c"dir", c"full", c"full/in", c"full/in/deep"] {
                mkdir(name.as_ptr(), 0o755);
            }
            create(&self.folder, "full/file", b"below");
            for (to, name) in [(c"nowhere", c"dangling"), (c"full", c"todir"), (c"loop", c"loop")] {
                symlink(to.as_ptr(), name.as_ptr());
            }
            let full = open(c"full".as_ptr(), O_RDONLY | O_DIRECTORY);
            if self.full < 0 {
                self.full = full;
            } else {
                dup2(full, self.full);
                close(full);
            }
        }
    }

    /// Prints what came of a call.
    fn told(&mut self, what: &str, answer: c_long) {
        show(what, answer);
        if answer == 0 {
            self.fill();
        }
    }

    fn pairs(&mut self, number: c_long, all_flags: &[c_int]) {
        let count = self.ends.len();
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            for flags in all_flags {
                let (from, to) = (&self.ends[from], &self.ends[to]);
                let what = format!("{} -> {}, {flags:#x}", from.what, to.what);
                let answer = unsafe { syscall(number, from.dir, from.path, to.dir, to.path, *flags) };
                self.told(&what, answer);
            }
        }
    }
}

fn rename_order_of_errors(folder: &str) {
    Place::new(folder).pairs(SYS_renameat2, &[0, 1, 2, 3, 4, 8]);
}

fn link_order_of_errors(folder: &str) {
    Place::new(folder).pairs(SYS_linkat, &[0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, 0x2000]);
}

fn unlink_order_of_errors(folder: &str) {
    let mut place = Place::new(folder);
    for at in 0..place.ends.len() {
        for flags in [0, AT_REMOVEDIR, 1, AT_REMOVEDIR | 1, AT_EMPTY_PATH] {
            let (what, dir, path) = (place.ends[at].what, place.ends[at].dir, place.ends[at].path);
            let answer = unsafe { syscall(SYS_unlinkat, dir, path, flags) };
            place.told(&format!("{what}, {flags:#x}"), answer);
        }
    }
}

fn symlink_order_of_errors(folder: &str) {
    let mut place = Place::new(folder);
    let long = CString::new(b"path/".repeat(1000)).unwrap();
    for at in 0..place.ends.len() {
        for (to, target) in [("nothing", c"".as_ptr()), ("long", long.as_ptr()), ("bad", NOWHERE), ("t", c"t".as_ptr())]
        {
            let (what, dir, path) = (place.ends[at].what, place.ends[at].dir, place.ends[at].path);
            let answer = unsafe { syscall(SYS_symlinkat, target, dir, path) };
            place.told(&format!("{what} to {to}"), answer);
        }
    }
}
