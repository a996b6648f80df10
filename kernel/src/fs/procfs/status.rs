//! Texts about the kernel and its processes.

use std::fmt::Write;

use abi::Result;
use abi::mount::MNT_RDONLY;

use super::{Look, view};
use crate::fs;
use crate::proc::lock;
use crate::sysctl;

/// The name of a program whose arguments are not known.
pub fn name_alone(look: &Look) -> Result<Vec<u8>> {
    let mut name = lock(&look.of.name).clone().into_bytes();
    name.push(0);
    Ok(name)
}

/// One entry a CPU that the kernel was given.
pub fn cpuinfo(look: &Look) -> Result<Vec<u8>> {
    let mut text = String::new();
    for cpu in 0..look.kernel.config.ncpu {
        let _ = writeln!(text, "processor\t: {cpu}\nvendor_id\t: rump\nmodel name\t: rumpcore (virtual)\n");
    }
    Ok(text.into_bytes())
}

/// The types that mount(2) knows; none of them needs a device.
pub fn filesystems(_: &Look) -> Result<Vec<u8>> {
    Ok(fs::TABLE.iter().map(|(name, _)| format!("nodev\t{name}\n")).collect::<String>().into_bytes())
}

/// Calls in progress and processes; nothing is averaged.
pub fn loadavg(look: &Look) -> Result<Vec<u8>> {
    let all = look.kernel.procs.list();
    let running: usize = all.iter().map(|proc| lock(&proc.lwps).len()).sum();
    let last = all.iter().map(|proc| proc.known_as()).max().unwrap_or_default();
    Ok(format!("0.00 0.00 0.00 {running}/{} {last}\n", all.len()).into_bytes())
}

/// The limit of the kernel's memory, or the host's memory; what is free is what tmpfs has left.
pub fn meminfo(look: &Look) -> Result<Vec<u8>> {
    let total = sysctl::memory(&look.kernel) / 1024;
    let root = view(look)?.root.mount.fs.stat();
    let free = (root.blocks_free * root.block_size / 1024).min(total);
    let mut text = String::new();
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", total - free),
        ("Slab", 0),
        ("SReclaimable", 0),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "{:<16}{value:>8} kB", format!("{name}:"));
    }
    Ok(text.into_bytes())
}

/// The kernel counts no CPU time of its own.
pub fn kernel_stat(look: &Look) -> Result<Vec<u8>> {
    let mut text = "cpu  0 0 0 0 0 0 0 0 0 0\n".to_owned();
    for cpu in 0..look.kernel.config.ncpu {
        let _ = writeln!(text, "cpu{cpu} 0 0 0 0 0 0 0 0 0 0");
    }
    let clock = &look.kernel.clock;
    let boot = clock.now().saturating_sub(clock.since_boot()).as_secs();
    let all = look.kernel.procs.list();
    let _ = writeln!(text, "intr 0\nctxt 0\nbtime {boot}\nprocesses {}\nprocs_running 1\nprocs_blocked 0", all.len());
    Ok(text.into_bytes())
}

/// Since boot; idle as long.
pub fn uptime(look: &Look) -> Result<Vec<u8>> {
    let up = look.kernel.clock.since_boot();
    let seconds = format!("{}.{:02}", up.as_secs(), up.subsec_millis() / 10);
    Ok(format!("{seconds} {seconds}\n").into_bytes())
}

/// Only descriptors are limited.
pub fn limits(look: &Look) -> Result<Vec<u8>> {
    let (soft, hard) = *lock(&look.of.nofile);
    let head = format!("{:<26}{:<21}{:<21}{:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    Ok((head + &format!("{:<26}{soft:<21}{hard:<21}{:<10}\n", "Max open files", "files")).into_bytes())
}

/// A name in a table of mounts: spaces and the like as `\040`.
fn quoted(name: &[u8]) -> String {
    let one = |c: &u8| match c {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{c:03o}"),
        c => char::from(*c).to_string(),
    };
    name.iter().map(one).collect()
}

/// The mounts, the root first (fstab(5)).
pub fn mounts(look: &Look) -> Result<Vec<u8>> {
    let mut text = String::new();
    for mount in look.kernel.vfs.mounts() {
        let way = if mount.flags() & MNT_RDONLY == 0 { "rw" } else { "ro" };
        let (from, path) = (quoted(mount.from()), quoted(mount.path()));
        let _ = writeln!(text, "{from} {path} {} {way} 0 0", mount.fs.kind());
    }
    Ok(text.into_bytes())
}

/// The mounts with their numbers (proc_pid_mountinfo(5)).
pub fn mountinfo(look: &Look) -> Result<Vec<u8>> {
    let mut text = String::new();
    for mount in look.kernel.vfs.mounts() {
        let way = if mount.flags() & MNT_RDONLY == 0 { "rw" } else { "ro" };
        let above = mount.covered.as_ref().map_or(0, |on| on.mount.id);
        let (from, path) = (quoted(mount.from()), quoted(mount.path()));
        let device = format!("{}:{}", abi::stat::major(mount.id), abi::stat::minor(mount.id));
        let _ = writeln!(text, "{} {above} {device} / {path} {way} - {} {from} {way}", mount.id, mount.fs.kind());
    }
    Ok(text.into_bytes())
}

/// Of a process that the host does not vouch for: only what the rump kernel knows.
pub fn stat(look: &Look) -> Result<Vec<u8>> {
    let of = &look.of;
    let ((pgrp, session), name) = (*lock(&of.pgrp), lock(&of.name).clone());
    let ticks = of.started.saturating_sub(look.kernel.clock.now().saturating_sub(look.kernel.clock.since_boot()));
    let head =
        format!("{} ({name}) S {} {pgrp} {session} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0", of.known_as(), lock(&of.ppid));
    Ok(format!("{head} {}{}\n", ticks.as_millis() / 10, " 0".repeat(30)).into_bytes())
}

/// The same, in words.
pub fn status(look: &Look) -> Result<Vec<u8>> {
    let (of, cred) = (&look.of, look.of.credentials());
    let (uid, gid) = (cred.uid, cred.gid);
    let mut text = String::new();
    let _ = writeln!(text, "Name:\t{}\nState:\tS (sleeping)", lock(&of.name));
    let _ = writeln!(text, "Tgid:\t{0}\nPid:\t{0}\nPPid:\t{1}", of.known_as(), lock(&of.ppid));
    let _ = writeln!(text, "Uid:\t{uid}\t{}\t{}\t{}", cred.euid, cred.svuid, cred.euid);
    let _ = writeln!(text, "Gid:\t{gid}\t{}\t{}\t{}\nThreads:\t1", cred.egid, cred.svgid, cred.egid);
    Ok(text.into_bytes())
}
