//! Which process has which file open, and which way its bytes go: `vendor.rump.files`.

use std::fmt::Write;

use abi::Result;
use abi::sysctl::CTL_VENDOR;

use super::Kind;
use crate::Kernel;
use crate::proc::lock;
use crate::sysctl::{Row, Value};

/// What sysctl(7) shows of files; `vendor.rump` is there.
pub const ROWS: &[Row] =
    &[Row::new(&[CTL_VENDOR, 1000, 2], "files", "Open files and who has them", Value::Table(table))];

/// A line for each descriptor of a file, in the columns of `vendor.rump.sockets`: process, command, descriptor, `file`, nothing twice, the path,
/// no other end, no state, the number that fstat(2) gives, and the way of the bytes: `shared` if programs have the memory, `kernel` if not.
fn table(kernel: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    let view = kernel.vfs.root_view()?;
    let mut text = String::new();
    for proc in kernel.procs.list() {
        let name = lock(&proc.name).clone();
        for (fd, open) in proc.open_files() {
            let Some(file) = open.file.as_vnode().filter(|file| file.at.node.vnode().kind == Kind::Regular) else {
                continue;
            };
            // One whose directory is gone has no path.
            let path = view.path_of_open(file).unwrap_or_default();
            let way = if file.is_lent() { "shared" } else { "kernel" };
            let (pid, ino) = (proc.pid, file.at.node.vnode().ino);
            let _ = writeln!(text, "{pid}\t{name}\t{}\tfile\t0\t0\t{}\t-\t\t{ino}\t{way}", fd.0, path.escape_ascii());
        }
    }
    Ok(text.into_bytes())
}
