//! What the manual pages say of files, as assertions: each operation on each kind of file, each way to spell a path, each errno in the
//! right order (in the manner of pjdfstest).
//!
//! `conformance FOLDER MOUNTS LACKS ALONE [FAMILY…]` works in FOLDER, which is on the host natively and below /rump hijacked, and prints
//! a line for each assertion; both must print the same. MOUNTS is what to mount first, `TYPE SOURCE OPTIONS DIRECTORY;…` (no options: `-`),
//! or `-`. LACKS names what the file system does not have (`-`: it has everything, see [`Has`]): the rows that need it are left out, and
//! family `missing` says what refuses it. ALONE is `alone` where a child would not reach the same kernel. It is run as the
//! superuser, who has other users to be. `FAMILY/N` runs every Nth cell of a large family's table.
//!
//! What cannot be written (it lacks `writing`) is a tree that `conformance tree FOLDER LACKS` has made before; family `frozen` is on it.

#![expect(unsafe_code, reason = "these programs are C in all but name")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each line is one libc call with valid arguments, or deliberately bad ones"
)]

mod ats;
mod dirs;
mod fifos;
mod frozen;
mod gone;
mod locks;
mod modes;
mod mounts;
mod names;
mod ops;
mod owners;
mod rights;
mod single;
mod sizes;
mod things;
mod times;
mod two;
mod walk;

/// What every family uses.
mod prelude {
    pub(crate) use std::ffi::{CStr, CString};
    pub(crate) use std::mem::zeroed;
    pub(crate) use std::ptr::{null, null_mut};

    pub(crate) use libc::*;

    pub(crate) use super::ops::*;
    pub(crate) use super::things::*;
    pub(crate) use super::{Has, c, chosen, home, line, look, said};
}

use std::io::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock, PoisonError};

use prelude::*;

/// What a file system can have, so that not every type does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// Several names for one file.
    Links,
    /// Symbolic links.
    Symlinks,
    /// Owner and group of each file.
    Owners,
    /// Permission bits of each file.
    Modes,
    /// Fifos and sockets.
    Specials,
    /// Device nodes that can be opened.
    Devices,
    /// Holes.
    Holes,
    /// Times to the nanosecond, and the time of the last change of attributes.
    Times,
    /// Names of any bytes.
    Names,
    /// Files without a name, and names that are swapped.
    Linux,
    /// Users who are told apart: the kernel has to know who asks.
    Users,
    /// Leave to mount file systems; what else a kernel may refuse.
    Mounts,
    /// Anything that can be changed.
    Writing,
}

impl Has {
    const ALL: &[(&str, Has)] = &[
        ("links", Has::Links),
        ("symlinks", Has::Symlinks),
        ("owners", Has::Owners),
        ("modes", Has::Modes),
        ("specials", Has::Specials),
        ("devices", Has::Devices),
        ("holes", Has::Holes),
        ("times", Has::Times),
        ("names", Has::Names),
        ("linux", Has::Linux),
        ("users", Has::Users),
        ("mounts", Has::Mounts),
        ("writing", Has::Writing),
    ];

    /// Whether the file system has it.
    pub fn here(self) -> bool {
        !LACKS.get().is_some_and(|lacks| lacks.contains(&self))
    }
}

static LACKS: OnceLock<Vec<Has>> = OnceLock::new();

/// How many cells of a table there are for one that is run, and how many were met.
static SHARE: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(1), AtomicUsize::new(0));

/// Whether the next cell of a family's table is run.
pub fn chosen() -> bool {
    SHARE.1.fetch_add(1, Relaxed).is_multiple_of(SHARE.0.load(Relaxed))
}

/// A family: its name, what it cannot do without, whether it has children, and its assertions.
type Family = (&'static str, &'static [Has], bool, fn());

const FAMILIES: &[Family] = &[
    ("single", &[Has::Writing], false, single::all),
    ("flags", &[Has::Writing], false, single::flags),
    ("two", &[Has::Writing], false, two::all),
    ("rename", &[Has::Writing], false, two::rename),
    ("walk", &[Has::Writing], false, walk::all),
    ("ats", &[Has::Writing], false, ats::all),
    ("modes", &[Has::Writing, Has::Modes], false, modes::all),
    ("owners", &[Has::Writing, Has::Modes, Has::Owners, Has::Users], false, owners::all),
    ("rights", &[Has::Writing, Has::Modes, Has::Owners, Has::Users], false, rights::all),
    ("times", &[Has::Writing, Has::Times], false, times::all),
    ("sizes", &[Has::Writing], false, sizes::all),
    ("dirs", &[Has::Writing], false, dirs::all),
    ("names", &[Has::Writing, Has::Names], false, names::all),
    ("gone", &[Has::Writing], false, gone::all),
    ("fifos", &[Has::Writing, Has::Specials], false, fifos::all),
    ("locks", &[Has::Writing], true, locks::all),
    ("mounts", &[Has::Writing, Has::Mounts], false, mounts::all),
    ("frozen", &[], false, frozen::all),
    ("missing", &[Has::Writing], false, mounts::missing),
];

/// What was printed so far, of one family.
static OUT: Mutex<String> = Mutex::new(String::new());

/// The folder, open.
static HOME: OnceLock<i32> = OnceLock::new();

/// A descriptor of the folder, in which relative paths begin.
pub fn home() -> i32 {
    HOME.get().copied().unwrap_or(-1)
}

/// Prints an assertion.
pub fn line(text: impl std::fmt::Display) {
    let mut out = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    *out += &format!("{text}\n");
}

/// A path as C has it.
pub fn c(path: &str) -> CString {
    CString::new(path).unwrap()
}

/// What a call answered: a number, or the name of an error.
pub fn said(value: impl Into<i64>) -> String {
    let value = value.into();
    if value < 0 { error() } else { value.to_string() }
}

/// The name of the last error.
pub fn error() -> String {
    unsafe extern "C" {
        fn strerrorname_np(number: c_int) -> *const c_char;
    }
    let number = unsafe { *__errno_location() };
    let name = unsafe { strerrorname_np(number) };
    if name.is_null() { number.to_string() } else { unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned() }
}

/// What lstat(2) says, without what differs from run to run: type, mode, links, length of a file, owners if not the superuser.
pub fn look(path: &CStr) -> String {
    let mut st: stat = unsafe { zeroed() };
    if unsafe { lstat(path.as_ptr(), &mut st) } < 0 {
        return error();
    }
    let kind = match st.st_mode & S_IFMT {
        S_IFREG => '-',
        S_IFDIR => 'd',
        S_IFLNK => 'l',
        S_IFIFO => 'p',
        S_IFSOCK => 's',
        S_IFCHR => 'c',
        S_IFBLK => 'b',
        _ => '?',
    };
    let mode = if Has::Modes.here() { format!("{:o}", st.st_mode & 0o7777) } else { String::new() };
    let links = if Has::Links.here() { format!(".{}", st.st_nlink) } else { String::new() };
    let size = if kind == '-' { format!(":{}", st.st_size) } else { String::new() };
    let owners = match (st.st_uid, st.st_gid) {
        (0, 0) => String::new(),
        _ if !Has::Owners.here() => String::new(),
        (uid, gid) => format!("@{uid}.{gid}"),
    };
    format!("{kind}{mode}{links}{size}{owners}")
}

/// Reads the list of what the file system lacks.
fn lack(names: &str) {
    let names = names.split(',').filter(|name| *name != "-");
    let lacks = names.map(|name| Has::ALL.iter().find(|(known, _)| *known == name).expect("a known lack").1);
    LACKS.set(lacks.collect()).unwrap();
}

/// Mounts all of a list.
fn mount_all(list: &str) {
    for one in list.split(';').filter(|one| *one != "-") {
        let words: Vec<CString> = one.split(' ').map(c).collect();
        let [kind, source, options, target] = words.as_slice() else { panic!("TYPE SOURCE OPTIONS DIRECTORY: {one}") };
        let options = if options.as_c_str() == c"-" { null() } else { options.as_ptr() };
        let done = unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.cast()) };
        assert_eq!(done, 0, "mount {one}: {}", error());
    }
}

/// Goes to the folder to work in, and makes it where that can be; the directory above it is a plain one as well.
fn settle(folder: &str) {
    let (above, work) = (c(&format!("{folder}/conformance")), c(&format!("{folder}/conformance/work")));
    unsafe {
        if Has::Writing.here() {
            assert_eq!(mkdir(above.as_ptr(), 0o755) | mkdir(work.as_ptr(), 0o755), 0, "{}", error());
        }
        assert_eq!(chdir(work.as_ptr()), 0, "{}", error());
        HOME.set(open(c".".as_ptr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)).unwrap();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    unsafe {
        // Some answer a request for a signal of a limit by it.
        signal(SIGXFSZ, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        umask(0o022);
    }
    match words.as_slice() {
        ["tree", folder, lacks] => {
            lack(lacks);
            settle(folder);
            frozen::tree();
        }
        [folder, mounts, lacks, alone, wanted @ ..] => {
            lack(lacks);
            mount_all(mounts);
            settle(folder);
            run(*alone == "alone", wanted);
        }
        _ => {
            eprintln!("conformance FOLDER MOUNTS LACKS ALONE [FAMILY…]\nconformance tree FOLDER LACKS");
            std::process::exit(2);
        }
    }
}

/// What part of the family `name` is asked for by `FAMILY` or `FAMILY/N`, if it is that one.
fn share(asked: &str, name: &str) -> Option<usize> {
    match asked.strip_prefix(name)? {
        "" => Some(1),
        part => Some(part.strip_prefix('/')?.parse().expect("FAMILY/N")),
    }
}

/// Runs the families that are wanted and possible.
fn run(alone: bool, wanted: &[&str]) {
    for (name, needs, children, family) in FAMILIES {
        let asked = wanted.iter().find_map(|asked| share(asked, name)).or(wanted.is_empty().then_some(1));
        let Some(share) = asked.filter(|_| !(*children && alone) && needs.iter().all(|need| need.here())) else {
            continue;
        };
        SHARE.0.store(share, Relaxed);
        SHARE.1.store(0, Relaxed);
        family();
        let text = std::mem::take(&mut *OUT.lock().unwrap_or_else(PoisonError::into_inner));
        let labelled: String = text.lines().map(|line| format!("{name} | {line}\n")).collect();
        std::io::stdout().write_all(labelled.as_bytes()).unwrap();
        if Has::Writing.here() {
            unsafe {
                fchdir(home());
                fchmod(home(), 0o755);
                fchown(home(), 0, 0);
            }
            wipe(".");
        }
    }
}
