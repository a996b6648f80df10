//! Plain libc code, run natively and hijacked; both must print the same.
//!
//! `scenario NAME FOLDER`: the folder is on the host natively and below /rump hijacked. Every line names a call and what came
//! back. Values that may differ (device and inode numbers, ports, times) are not printed.

#![expect(unsafe_code, reason = "these programs are C in all but name")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each line is one libc call with valid arguments, or deliberately bad ones"
)]

mod files;
mod processes;
mod sockets;

use std::ffi::{CStr, CString};

use files::*;
use libc::*;
use processes::*;
use sockets::*;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).map(String::as_str).unwrap_or_default();
    let folder = args.get(2).cloned().unwrap_or_else(|| "/tmp".into());
    let Some((_, run)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        for (known, _) in SCENARIOS {
            println!("{known}");
        }
        return;
    };
    run(&folder);
}

/// A scenario: what it does in the folder of this name.
type Scenario = fn(&str);

/// Every scenario by its name.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("open_errors", open_errors),
    ("read_write", read_write),
    ("names", names),
    ("directories", directories),
    ("stat_fields", stat_fields),
    ("descriptors", descriptors),
    ("stdio", stdio),
    ("pipes_and_fork", pipes_and_fork),
    ("tcp", tcp),
    ("tcp_errors", tcp_errors),
    ("udp", udp),
    ("options", options),
    ("poll_mixed", poll_mixed),
    ("select_bits", select_bits),
    ("signals", signals),
    ("threads", threads),
    ("bad_pointers", bad_pointers),
    ("devices", devices),
];

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
