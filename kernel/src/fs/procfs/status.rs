//! Texts about the kernel and its processes.

use std::fmt::Write;
use std::time::Duration;

use abi::mount::MNT_RDONLY;
use abi::{Result, device};

use super::{Look, fields, of_host, usage, view};
use crate::fs;
use crate::proc::lock;
use crate::sysctl;

/// The name of a program whose arguments are not known.
pub fn name_alone(look: &Look) -> Result<Vec<u8>> {
    let mut name = lock(&look.of.name).clone().into_bytes();
    name.push(0);
    Ok(name)
}

/// The name of a program.
pub fn comm(look: &Look) -> Result<Vec<u8>> {
    Ok(format!("{}\n", lock(&look.of.name)).into_bytes())
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

/// How many CPUs were busy, calls in progress, processes, and the highest number of one.
pub fn loadavg(look: &Look) -> Result<Vec<u8>> {
    let [one, five, fifteen] = usage::averages(look);
    let all = look.kernel.procs.list();
    let last = all.iter().map(|proc| proc.known_as()).max().unwrap_or_default();
    let running = running(look);
    Ok(format!("{one:.2} {five:.2} {fifteen:.2} {running}/{} {last}\n", all.len()).into_bytes())
}

/// Calls in progress.
fn running(look: &Look) -> usize {
    look.kernel.procs.list().iter().map(|proc| lock(&proc.lwps).len()).sum()
}

/// The limit of the kernel's memory, or the host's memory, and what the root's files leave of it; in KiB.
fn memory(look: &Look) -> Result<(u64, u64)> {
    let total = sysctl::memory(&look.kernel) / 1024;
    let root = view(look)?.root.mount.fs.stat();
    let used = root.blocks.saturating_sub(root.blocks_free) * root.block_size / 1024;
    Ok((total, total.saturating_sub(used)))
}

/// All memory and what is free of it.
pub fn meminfo(look: &Look) -> Result<Vec<u8>> {
    let (total, free) = memory(look)?;
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

/// CPU time, the programs' as the user's and the kernel's as the system's. Which CPU it was on is not known: each had its share.
pub fn kernel_stat(look: &Look) -> Result<Vec<u8>> {
    let times = usage::times(look);
    let line = |share: u128| {
        let [user, system, idle] = [times.programs, times.kernel, times.idle].map(|time| usage::ticks(time) / share);
        format!("{user} 0 {system} {idle} 0 0 0 0 0 0")
    };
    let mut text = format!("cpu  {}\n", line(1));
    for cpu in 0..look.kernel.config.ncpu {
        let _ = writeln!(text, "cpu{cpu} {}", line(look.kernel.config.ncpu as u128));
    }
    let boot = booted(look).as_secs();
    let (all, running) = (look.kernel.procs.list().len(), running(look));
    let _ = writeln!(text, "intr 0\nctxt 0\nbtime {boot}\nprocesses {all}\nprocs_running {running}\nprocs_blocked 0");
    Ok(text.into_bytes())
}

/// When the kernel was booted, wall clock.
fn booted(look: &Look) -> Duration {
    let clock = &look.kernel.clock;
    clock.now().saturating_sub(clock.since_boot())
}

/// Since boot, and what all CPUs were idle.
pub fn uptime(look: &Look) -> Result<Vec<u8>> {
    let seconds = |time: Duration| format!("{}.{:02}", time.as_secs(), time.subsec_millis() / 10);
    Ok(format!("{} {}\n", seconds(look.kernel.clock.since_boot()), seconds(usage::times(look).idle)).into_bytes())
}

/// What is free; there is nothing to swap, and nothing comes from a disk.
pub fn vmstat(look: &Look) -> Result<Vec<u8>> {
    const PAGE: u64 = 4;
    let (total, free) = memory(look)?;
    let (free, shared) = (free / PAGE, (total - free) / PAGE);
    Ok(format!("nr_free_pages {free}\nnr_shmem {shared}\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n").into_bytes())
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

/// What the host says of a process, or a thread of it, in `file`, with what the rump kernel knows better: the parent, the terminal, and
/// when it began.
pub fn stat(look: &Look, file: &str) -> Result<Vec<u8>> {
    let Ok(host) = of_host(look, file) else { return own_stat(look) };
    let (Some(mut fields), Some(end)) = (fields(&host), host.iter().rposition(|byte| *byte == b')')) else {
        return own_stat(look);
    };
    let session = fields.get(SESSION).and_then(|number| number.parse().ok());
    let pty = session.filter(|session| !look.of.gave_up_terminal(*session));
    let pty = pty.and_then(|session| Some((session, look.kernel.terminals.of_session(session)?)));
    let terminal = pty.as_ref().map_or(0, |(_, pty)| device::to_linux(device::pts(pty.index)));
    let foreground = pty.and_then(|(session, pty)| pty.foreground_of(session)).unwrap_or(-1);
    let known = [
        (PARENT, parent(look).to_string()),
        (TERMINAL, terminal.to_string()),
        (FOREGROUND, foreground.to_string()),
        (STARTED, usage::ticks(look.of.started.saturating_sub(booted(look))).to_string()),
    ];
    for (at, value) in known {
        if let Some(field) = fields.get_mut(at) {
            *field = value;
        }
    }
    let name = String::from_utf8_lossy(&host[..=end]);
    Ok(format!("{name} {}\n", fields.join(" ")).into_bytes())
}

/// Fields of `/proc/PID/stat` behind the name, the first of which is the state.
const PARENT: usize = 1;
const SESSION: usize = 3;
const TERMINAL: usize = 4;
const FOREGROUND: usize = 5;
const STARTED: usize = 19;

/// The number of the parent: of the host's, if that is a process here, else what the rump kernel takes for it.
fn parent(look: &Look) -> i32 {
    let on_host = of_host(look, "stat").ok().and_then(|text| fields(&text)?.get(PARENT)?.parse().ok());
    let here = |host| look.kernel.procs.list().into_iter().find(|proc| proc.local_pid() == Some(host));
    let own = || look.kernel.procs.get(*lock(&look.of.ppid)).ok();
    on_host.and_then(here).or_else(own).map_or(1, |parent| parent.known_as())
}

/// Of a process that the host does not vouch for: only what the rump kernel knows.
fn own_stat(look: &Look) -> Result<Vec<u8>> {
    let of = &look.of;
    let ((pgrp, session), name) = (*lock(&of.pgrp), lock(&of.name).clone());
    let began = usage::ticks(of.started.saturating_sub(booted(look)));
    let (pid, parent) = (of.known_as(), parent(look));
    let head = format!("{pid} ({name}) S {parent} {pgrp} {session} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0");
    Ok(format!("{head} {began}{}\n", " 0".repeat(30)).into_bytes())
}

/// The same, in words.
pub fn status(look: &Look, file: &str) -> Result<Vec<u8>> {
    let Ok(host) = of_host(look, file) else { return own_status(look) };
    let host = String::from_utf8_lossy(&host);
    let line = |line: &str| match line.split_once(':') {
        Some(("PPid", _)) => format!("PPid:\t{}\n", parent(look)),
        _ => format!("{line}\n"),
    };
    Ok(host.lines().map(line).collect::<String>().into_bytes())
}

fn own_status(look: &Look) -> Result<Vec<u8>> {
    let (of, cred) = (&look.of, look.of.credentials());
    let (uid, gid) = (cred.uid, cred.gid);
    let mut text = String::new();
    let _ = writeln!(text, "Name:\t{}\nState:\tS (sleeping)", lock(&of.name));
    let _ = writeln!(text, "Tgid:\t{0}\nPid:\t{0}\nPPid:\t{1}", of.known_as(), parent(look));
    let _ = writeln!(text, "Uid:\t{uid}\t{}\t{}\t{}", cred.euid, cred.svuid, cred.euid);
    let _ = writeln!(text, "Gid:\t{gid}\t{}\t{}\t{}\nThreads:\t1", cred.egid, cred.svgid, cred.egid);
    Ok(text.into_bytes())
}
