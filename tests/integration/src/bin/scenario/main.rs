//! Plain libc code, run natively and hijacked; both must print the same.
//!
//! `scenario NAME FOLDER`: the folder is on the host natively and below /rump hijacked. Every line names a call and what came
//! back. Values that may differ (device and inode numbers, ports, times) are not printed.

#![expect(unsafe_code, reason = "these programs are C in all but name")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each line is one libc call with valid arguments, or deliberately bad ones"
)]

mod bad_memory;
mod busy_files;
mod busy_local;
mod busy_looks;
mod busy_pipes;
mod busy_sets;
mod busy_signals;
mod busy_streams;
mod cancellation;
mod confined;
mod corks;
mod databases;
mod datagrams;
mod descriptors;
mod directories;
mod doors;
mod epoll;
mod epoll_shared;
mod files;
mod forking;
mod full;
mod hazards;
mod interfaces;
mod interrupts;
mod limits;
mod links;
mod linux;
mod local_sockets;
mod local_urgent;
mod messages;
mod names;
mod numbers;
mod passing;
mod paths;
mod processes;
mod programs;
mod random;
mod resolver;
mod sigio;
mod signals;
mod socket_addresses;
mod socket_calls;
mod socket_ends;
mod socket_limits;
mod socket_options;
mod socket_waits;
mod sockets;
mod spawning;
mod stdio;
mod storms;
mod streams;
mod terminals;
mod urgent;
mod waiting;
mod walks;
mod wired;

/// What every family uses.
mod prelude {
    pub(crate) use std::ffi::{CStr, CString};
    pub(crate) use std::mem::{size_of, zeroed};
    pub(crate) use std::ptr::{null, null_mut};

    pub(crate) use libc::*;

    pub(crate) use super::Needs::*;
    pub(crate) use super::sockets::*;
    pub(crate) use super::{
        Row, asleep, contents, create, devices_of, errno, mode_of, path, show, text, until_asleep, works,
    };
}

use prelude::*;

/// What a scenario asks of the kernel that it runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing: one process, which may be the kernel's own.
    OneProcess,
    /// Children that reach the same kernel.
    Processes,
    /// Descriptors of the host that the kernel can hand over.
    HandedOver,
    /// The same, and children.
    HandedOverProcesses,
    /// The same; the kernel knows who they are on its host.
    JobControl,
    /// The same, and AF_UNIX sockets in the rump kernel, where they are not by default.
    LocalSockets,
    /// A folder that is a file system of 1 MiB and 20 nodes.
    SmallFileSystem,
    /// Others of its kind at the same time, or before it.
    Several,
    /// An interface besides the loopback, on whose link nobody answers.
    Wired,
}

/// A scenario: its name, what it needs, and what it does in the folder of the given name.
type Row = (&'static str, Needs, fn(&str));

/// All scenarios, a family a file.
const FAMILIES: &[&[Row]] = &[
    bad_memory::TABLE,
    busy_files::content::TABLE,
    busy_files::sharing::TABLE,
    busy_files::status::TABLE,
    busy_local::TABLE,
    busy_looks::TABLE,
    busy_pipes::TABLE,
    busy_sets::TABLE,
    busy_signals::TABLE,
    busy_streams::TABLE,
    cancellation::TABLE,
    confined::TABLE,
    corks::TABLE,
    databases::TABLE,
    datagrams::TABLE,
    datagrams::ends::TABLE,
    datagrams::errors::TABLE,
    datagrams::loops::TABLE,
    datagrams::groups::TABLE,
    datagrams::raw::TABLE,
    descriptors::TABLE,
    directories::TABLE,
    directories::reading::TABLE,
    doors::TABLE,
    epoll::TABLE,
    epoll_shared::TABLE,
    files::TABLE,
    files::content::TABLE,
    forking::TABLE,
    full::TABLE,
    hazards::TABLE,
    interrupts::TABLE,
    limits::TABLE,
    links::TABLE,
    linux::copying::TABLE,
    linux::locks::TABLE,
    linux::mapping::TABLE,
    linux::moving::TABLE,
    linux::opening::TABLE,
    linux::pairs::TABLE,
    linux::status::TABLE,
    interfaces::TABLE,
    local_sockets::TABLE,
    local_urgent::TABLE,
    messages::TABLE,
    names::TABLE,
    numbers::TABLE,
    passing::TABLE,
    paths::TABLE,
    processes::TABLE,
    programs::TABLE,
    random::TABLE,
    sigio::TABLE,
    signals::TABLE,
    socket_addresses::TABLE,
    socket_calls::TABLE,
    socket_ends::TABLE,
    socket_limits::TABLE,
    socket_options::TABLE,
    socket_waits::TABLE,
    sockets::TABLE,
    spawning::TABLE,
    stdio::TABLE,
    storms::TABLE,
    streams::TABLE,
    terminals::discipline::TABLE,
    terminals::jobs::TABLE,
    terminals::settings::TABLE,
    urgent::TABLE,
    waiting::TABLE,
    walks::TABLE,
    wired::TABLE,
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).map(String::as_str).unwrap_or_default();
    let folder = args.get(2).cloned().unwrap_or_else(|| "/tmp".into());
    let mut all = FAMILIES.iter().copied().flatten();
    match all.clone().find(|(known, ..)| *known == name) {
        Some((.., run)) => run(&folder),
        None => all.by_ref().for_each(|(known, needs, _)| {
            let needs = match needs {
                Needs::OneProcess => "alone",
                Needs::Processes => "processes",
                Needs::HandedOver => "alone handed",
                Needs::HandedOverProcesses | Needs::JobControl => "processes handed",
                Needs::LocalSockets => "local",
                Needs::Wired => "wired",
                Needs::SmallFileSystem | Needs::Several => "apart",
            };
            println!("{known} {needs}");
        }),
    }
}

fn errno() -> i32 {
    unsafe { *__errno_location() }
}

/// Prints the outcome of a call and returns its value.
fn show(what: &str, value: impl Into<i64>) -> i64 {
    let (value, error) = (value.into(), errno());
    if value < 0 {
        println!("{what}: {}", unsafe { CStr::from_ptr(strerror(error)) }.to_string_lossy());
    } else {
        println!("{what}: {value}");
    }
    value
}

/// Prints only whether a call worked.
fn works(what: &str, value: impl Into<i64>) -> i32 {
    let value = value.into();
    show(what, if value < 0 { -1 } else { 0i64 });
    value as i32
}

fn path(folder: &str, name: &str) -> CString {
    CString::new(format!("{folder}/{name}")).unwrap()
}

fn create(folder: &str, name: &str, content: &[u8]) -> CString {
    let path = path(folder, name);
    unsafe {
        let fd = open(path.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
        assert_eq!(write(fd, content.as_ptr().cast(), content.len()), content.len() as isize);
        close(fd);
    }
    path
}

/// What a file holds, read by plain descriptors; `(errno)` if it does not open.
fn contents(path: &CStr) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4096];
    unsafe {
        let fd = open(path.as_ptr(), O_RDONLY);
        if fd < 0 {
            return format!("({})", errno());
        }
        loop {
            let n = read(fd, chunk.as_mut_ptr().cast(), chunk.len());
            if n <= 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..n as usize]);
        }
        close(fd);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The permission bits of a file.
fn mode_of(path: &CStr) -> i32 {
    unsafe {
        let mut st: stat = zeroed();
        if stat(path.as_ptr(), &mut st) < 0 { -1 } else { (st.st_mode & 0o7777) as i32 }
    }
}

/// Waits until a thread sleeps, and goes on sleeping: in the call that is to wait, and not only on its way there. Or until it is gone.
///
/// Its state says that it sleeps; that it was never awake in between, the number of times that it fell asleep.
fn until_asleep(process: pid_t, thread: pid_t) {
    const CALM: u32 = 20;
    let status = format!("/proc/{process}/task/{thread}/status");
    let (mut before, mut calm) = (String::new(), 0);
    while calm < CALM {
        let Ok(text) = std::fs::read_to_string(&status) else { return };
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let (state, slept) = (field("State:"), field("voluntary_ctxt_switches:"));
        if state.starts_with('Z') || state.starts_with('X') {
            return;
        }
        let same = state.starts_with('S') && slept == before;
        calm = if same { calm + 1 } else { 0 };
        before = slept.to_owned();
        unsafe { usleep(1000) };
    }
}

/// Runs `wait` in a thread; returns when that sleeps, or is over.
fn asleep<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(unsafe { gettid() }).unwrap();
        wait()
    });
    until_asleep(unsafe { getpid() }, told.recv().unwrap());
    thread
}

/// The folder of devices: of the host natively, of the rump kernel below the prefix.
fn devices_of(folder: &str) -> &'static str {
    if folder.starts_with("/rump") { "/rump/dev" } else { "/dev" }
}

/// A C string; `(null)` for none.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() { "(null)".into() } else { unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned() }
}
