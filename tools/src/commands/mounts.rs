//! `mount` and `umount`.

use std::ffi::CString;
use std::path::Path;

use abi::UserStr;
use abi::mount::{
    MNT_ASYNC, MNT_FORCE, MNT_LOCAL, MNT_NOATIME, MNT_NODEV, MNT_NOEXEC, MNT_NOSUID, MNT_RDONLY, MNT_RELATIME,
    MNT_SYNCHRONOUS, MNT_UNION, MNT_UPDATE,
};
use anyhow::Context;
use client::{Caller, stubs};
use serde_json::json;

use super::{array, said};
use crate::ctl;

/// The flags in the words of mount(8).
const FLAGS: [(i32, &str); 10] = [
    (MNT_ASYNC, "asynchronous"),
    (MNT_NOATIME, "noatime"),
    (MNT_NODEV, "nodev"),
    (MNT_NOEXEC, "noexec"),
    (MNT_NOSUID, "nosuid"),
    (MNT_RDONLY, "read-only"),
    (MNT_SYNCHRONOUS, "synchronous"),
    (MNT_UNION, "union"),
    (MNT_RELATIME, "relatime"),
    (MNT_LOCAL, "local"),
];

/// The flags that a change of some options leaves as they are.
const STAYING: i32 =
    MNT_NOATIME | MNT_NODEV | MNT_NOEXEC | MNT_NOSUID | MNT_RDONLY | MNT_SYNCHRONOUS | MNT_UNION | MNT_RELATIME;

/// Types whose source is a path of the host.
const OF_HOST: [&str; 1] = ["hostfs"];

/// Mounts a file system.
#[derive(clap::Args)]
pub struct Mount {
    /// Type of the file system
    #[arg(short = 't', value_name = "TYPE", requires = "target")]
    kind: Option<String>,
    /// Options, with commas between: ro, rw, nosuid, nodev, noexec, noatime, …, and the type's own
    #[arg(short = 'o', value_name = "OPTIONS", requires = "source")]
    options: Vec<String>,
    /// Mount read-only, as with -o ro
    #[arg(short = 'r', requires = "source")]
    read_only: bool,
    /// Change the options of what is mounted on DIR
    #[arg(short = 'u', requires = "source", conflicts_with_all = ["kind", "target"])]
    update: bool,
    /// What is mounted; its name alone for a type that needs nothing
    source: Option<String>,
    /// The directory in the rump kernel
    #[arg(value_name = "DIR")]
    target: Option<String>,
}

/// Takes a file system away.
#[derive(clap::Args)]
pub struct Umount {
    /// Even if it is in use: what is open then fails
    #[arg(short = 'f')]
    force: bool,
    /// The directory in the rump kernel
    #[arg(value_name = "DIR")]
    target: String,
}

impl Mount {
    /// Mounts, changes or lists.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let Some(source) = &self.source else { return list(kernel, json) };
        let read_only = self.read_only.then_some("ro");
        let options: Vec<&str> = self.options.iter().map(String::as_str).chain(read_only).collect();
        let options = options.join(",");
        if self.update {
            let all = ctl::mounts(kernel).map_err(said("getvfsstat"))?;
            let old = all.iter().rev().find(|mount| mount.on == *source).map_or(0, |mount| mount.flags as i32);
            return mount(kernel, "", "", source, old & STAYING | MNT_UPDATE, &options);
        }
        let target = self.target.as_ref().context("which directory? give SOURCE and DIR")?;
        let kind = self.kind.as_ref().context("which type? give -t TYPE")?;
        let absolute = if OF_HOST.contains(&kind.as_str()) && Path::new(source).is_relative() {
            // The server may stand elsewhere.
            let path = std::fs::canonicalize(source).with_context(|| source.clone())?;
            Some(path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?}: not UTF-8"))?)
        } else {
            None
        };
        mount(kernel, kind, absolute.as_ref().unwrap_or(source), target, 0, &options)
    }
}

fn mount(
    kernel: &dyn Caller,
    kind: &str,
    source: &str,
    target: &str,
    flags: i32,
    options: &str,
) -> anyhow::Result<Vec<String>> {
    let [kind_text, source, path, options] = [kind, source, target, options].map(CString::new);
    let (kind_text, source, path, options) = (kind_text?, source?, path?, options?);
    let (source, options) = (UserStr::new(&source), UserStr::new(&options));
    let before = ctl::messages(kernel).unwrap_or_default();
    let done = stubs::mount_text(kernel, source, UserStr::new(&path), UserStr::new(&kind_text), flags, options);
    // What the kernel had to say about it: why it failed, or what to know of what is mounted now.
    let after = ctl::messages(kernel).unwrap_or_default();
    let said: Vec<String> = new_lines(&before, &after).map(str::to_owned).collect();
    done.map(|()| said.clone()).map_err(|errno| match errno {
        abi::Errno::ENODEV => anyhow::anyhow!("{kind}: no such file system type"),
        errno if said.is_empty() => anyhow::anyhow!("{target}: {errno}"),
        errno => anyhow::anyhow!("{target}: {errno} ({})", said.join("; ")),
    })
}

/// What text has been added at its end; lines may have gone from its beginning.
fn new_lines<'a>(before: &str, after: &'a str) -> impl Iterator<Item = &'a str> {
    let kept = std::iter::successors(Some(before), |text| text.split_once('\n').map(|(_, rest)| rest));
    kept.filter_map(|kept| after.strip_prefix(kept)).next().unwrap_or(after).lines()
}

impl Umount {
    /// Unmounts.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        let path = CString::new(self.target.as_str())?;
        let flags = if self.force { MNT_FORCE } else { 0 };
        let done = stubs::unmount(kernel, UserStr::new(&path), flags);
        done.map(|()| Vec::new()).map_err(said(&self.target))
    }
}

/// Lists the mounted file systems as mount(8) does.
fn list(kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
    let all = ctl::mounts(kernel).map_err(said("getvfsstat"))?;
    let flags = |bits: u64| {
        FLAGS.iter().filter(move |(bit, _)| bits & *bit as u64 != 0).map(|(_, name)| *name).collect::<Vec<_>>()
    };
    if json {
        return Ok(array(
            all.iter().map(|m| json!({"from": m.from, "on": m.on, "type": m.kind, "flags": flags(m.flags)})),
        ));
    }
    let row = |m: &ctl::Mounted| {
        let flags = flags(m.flags);
        let tail = if flags.is_empty() { String::new() } else { format!(" ({})", flags.join(", ")) };
        format!("{} on {} type {}{tail}", m.from, m.on, m.kind)
    };
    Ok(all.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::new_lines;

    #[test]
    fn new_lines_are_found_when_old_ones_have_gone() {
        let new = |before, after| new_lines(before, after).collect::<Vec<_>>();
        assert_eq!(new("", "a\n"), ["a"]);
        assert_eq!(new("a\nb\n", "a\nb\nc\nd\n"), ["c", "d"]);
        assert_eq!(new("a\nb\n", "b\nc\n"), ["c"]);
        assert_eq!(new("a\nb\n", "a\nb\n"), [""; 0]);
        assert_eq!(new("a\n", "x\ny\n"), ["x", "y"]);
    }
}
