//! kernfs: facts about the kernel (mount_kernfs(8)), a value a file.

use std::sync::Arc;

use abi::time::Timespec;
use abi::{Errno, Result};

use super::Request;
use super::report::{Look, Reports, Row, What};
use crate::proc::lock;
use crate::sysctl;
use crate::vfs::FileSystem;

/// The files of NetBSD's `/kern` that mean something here.
const ROWS: &[Row] = &[
    ("boottime", 0o444, What::Text(boottime)),
    ("copyright", 0o444, What::Text(copyright)),
    ("hostname", 0o644, What::Settable(hostname, set_hostname)),
    ("hz", 0o444, What::Text(|_| Ok(b"100\n".to_vec()))),
    ("loadavg", 0o444, What::Text(loadavg)),
    ("pagesize", 0o444, What::Text(|_| Ok(b"4096\n".to_vec()))),
    ("physmem", 0o444, What::Text(|look| line(sysctl::memory(&look.kernel) / 4096))),
    ("time", 0o444, What::Text(time)),
    ("usermem", 0o444, What::Text(|look| line(sysctl::memory(&look.kernel) / 4096))),
    ("version", 0o444, What::Text(|_| Ok(sysctl::version().into_bytes()))),
];

/// Makes a file system of kernel values; it knows no options.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    let since = Timespec::from_duration(request.host.wall_clock());
    Ok(Reports::mount("kernfs", What::Fixed(ROWS), &[], since))
}

fn line(value: impl std::fmt::Display) -> Result<Vec<u8>> {
    Ok(format!("{value}\n").into_bytes())
}

fn boottime(look: &Look) -> Result<Vec<u8>> {
    let clock = &look.kernel.clock;
    line(clock.now().saturating_sub(clock.since_boot()).as_secs())
}

fn copyright(_: &Look) -> Result<Vec<u8>> {
    line("A rump kernel written in Rust, with NetBSD's system call interface.")
}

/// The name, as kern.hostname.
pub fn hostname(look: &Look) -> Result<Vec<u8>> {
    line(lock(&look.kernel.names.hostname))
}

/// Sets the name; `EINVAL` for one that is too long or no text.
pub fn set_hostname(look: &Look, name: &[u8]) -> Result<()> {
    let name = str::from_utf8(name).ok().filter(|name| name.len() < 256).ok_or(Errno::EINVAL)?;
    name.clone_into(&mut lock(&look.kernel.names.hostname));
    Ok(())
}

/// Nothing is averaged: no call of a rump kernel computes for long. The last number is the scale.
fn loadavg(_: &Look) -> Result<Vec<u8>> {
    line("0 0 0 2048")
}

fn time(look: &Look) -> Result<Vec<u8>> {
    let now = look.kernel.clock.now();
    line(format_args!("{} {}", now.as_secs(), now.subsec_micros()))
}
