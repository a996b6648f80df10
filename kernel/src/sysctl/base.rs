//! The rows of the base kernel: kern.*, hw.* and the nodes that others hang theirs under.

use abi::sysctl::*;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::{Row, Value, fill};
use crate::Kernel;
use crate::proc::{Proc, lock};

/// Name, release and the like of the kernel that this one speaks like.
pub const OSTYPE: &str = "NetBSD";
/// See [`OSTYPE`].
pub const OSRELEASE: &str = "7.99.34";
/// `__NetBSD_Version__` of [`OSRELEASE`].
const OSREVISION: i32 = 799_003_400;

/// The rows of the base kernel, parents before children.
pub const ROWS: &[Row] = &[
    Row::new(&[CTL_KERN], "kern", "High kernel", Value::Node),
    Row::new(&[CTL_KERN, KERN_OSTYPE], "ostype", "Operating system type", Value::Text(|_| OSTYPE.into())),
    Row::new(&[CTL_KERN, KERN_OSRELEASE], "osrelease", "Operating system release", Value::Text(|_| OSRELEASE.into())),
    Row::new(&[CTL_KERN, KERN_OSREV], "osrevision", "Operating system revision", Value::Int(|_| OSREVISION)),
    Row::new(&[CTL_KERN, KERN_VERSION], "version", "Kernel version", Value::Text(|_| version())),
    Row::new(
        &[CTL_KERN, KERN_MAXVNODES],
        "maxvnodes",
        "Maximum number of vnodes",
        Value::Int(|k| k.config.nvnodes as i32),
    ),
    Row::new(
        &[CTL_KERN, KERN_MAXPROC],
        "maxproc",
        "Maximum number of simultaneous processes",
        Value::Int(|_| crate::proc::MAXPROC as i32),
    ),
    Row::new(&[CTL_KERN, KERN_HOSTNAME], "hostname", "System hostname", Value::TextRw(hostname, set_hostname)),
    Row::new(&[CTL_KERN, KERN_CLOCKRATE], "clockrate", "Kernel clock rates", Value::Table(clockrate)),
    Row::new(&[CTL_KERN, KERN_NGROUPS], "ngroups", "Maximum number of supplemental groups", Value::Int(|_| 16)),
    Row::new(&[CTL_KERN, KERN_BOOTTIME], "boottime", "System boot time", Value::Table(boottime)),
    Row::new(&[CTL_KERN, KERN_DOMAINNAME], "domainname", "YP domain name", Value::TextRw(domainname, set_domainname)),
    Row::new(&[CTL_KERN, KERN_RAWPARTITION], "rawpartition", "Raw partition of a disk", Value::Int(|_| 3)),
    Row::new(&[CTL_KERN, KERN_PROC2], "proc2", "Machine-independent process information", Value::Table(proc2)),
    Row::new(&[CTL_KERN, KERN_PROC_ARGS], "proc_args", "Process argument information", Value::Table(proc_args)),
    Row::new(&[CTL_KERN, KERN_MSGBUF], "msgbuf", "Kernel message buffer", Value::Text(|k| k.vfs.messages())),
    Row::new(&[CTL_VM], "vm", "Virtual memory", Value::Node),
    Row::new(&[CTL_VFS], "vfs", "Filesystem", Value::Node),
    Row::new(&[CTL_NET], "net", "Networking", Value::Node),
    Row::new(&[CTL_DEBUG], "debug", "Debugging", Value::Node),
    Row::new(&[CTL_HW], "hw", "Generic CPU, I/O", Value::Node),
    Row::new(&[CTL_HW, HW_MACHINE], "machine", "Machine class", Value::Text(|_| "amd64".into())),
    Row::new(&[CTL_HW, HW_MODEL], "model", "Machine model", Value::Text(|_| "rumpcore (virtual)".into())),
    Row::new(&[CTL_HW, HW_NCPU], "ncpu", "Number of CPUs configured", Value::Int(|k| k.config.ncpu as i32)),
    Row::new(&[CTL_HW, HW_BYTEORDER], "byteorder", "System byte order", Value::Int(|_| 1234)),
    Row::new(
        &[CTL_HW, HW_PHYSMEM],
        "physmem",
        "Bytes of physical memory",
        Value::Int(|k| memory(k).min(i32::MAX as u64) as i32),
    ),
    Row::new(&[CTL_HW, HW_PAGESIZE], "pagesize", "Software page size", Value::Int(|_| 4096)),
    Row::new(&[CTL_HW, HW_MACHINE_ARCH], "machine_arch", "Machine CPU class", Value::Text(|_| "x86_64".into())),
    Row::new(&[CTL_HW, HW_ALIGNBYTES], "alignbytes", "Alignment constraint for all types", Value::Int(|_| 15)),
    Row::new(&[CTL_HW, HW_PHYSMEM64], "physmem64", "Bytes of physical memory", Value::Quad(memory)),
    Row::new(&[CTL_HW, HW_NCPUONLINE], "ncpuonline", "Number of CPUs online", Value::Int(|k| k.config.ncpu as i32)),
    Row::new(&[CTL_MACHDEP], "machdep", "Machine dependent", Value::Node),
    Row::new(&[CTL_USER], "user", "User-level", Value::Node),
    Row::new(&[CTL_DDB], "ddb", "In-kernel debugger", Value::Node),
    Row::new(&[CTL_PROC], "proc", "Per-process", Value::Node),
    Row::new(&[CTL_VENDOR], "vendor", "Vendor specific", Value::Node),
    Row::new(&[CTL_EMUL], "emul", "Emulation settings", Value::Node),
    Row::new(&[CTL_SECURITY], "security", "Security", Value::Node),
];

/// `kern.version`.
pub fn version() -> String {
    format!("{OSTYPE} {OSRELEASE} (RUMP-ROAST)\n")
}

fn hostname(kernel: &Kernel) -> String {
    lock(&kernel.names.hostname).clone()
}

fn set_hostname(kernel: &Kernel, name: String) -> Result<()> {
    *lock(&kernel.names.hostname) = name;
    Ok(())
}

fn domainname(kernel: &Kernel) -> String {
    lock(&kernel.names.domainname).clone()
}

fn set_domainname(kernel: &Kernel, name: String) -> Result<()> {
    *lock(&kernel.names.domainname) = name;
    Ok(())
}

/// What the kernel may use: its limit, else all that the host has.
pub fn memory(kernel: &Kernel) -> u64 {
    kernel.config.memlimit.unwrap_or_else(|| kernel.rumpuser.physical_memory())
}

fn clockrate(_: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    Ok(Clockinfo { hz: 100, tick: 10_000, tickadj: 40, stathz: 100, profhz: 100 }.as_bytes().to_vec())
}

fn boottime(kernel: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    let boot = kernel.clock.now().saturating_sub(kernel.clock.since_boot());
    Ok(abi::time::Timespec::from_duration(boot).as_bytes().to_vec())
}

/// `kern.proc2.SEL.ARG.ELEMSIZE.COUNT`: struct kinfo_proc2 of the selected processes.
fn proc2(kernel: &Kernel, rest: &[i32]) -> Result<Vec<u8>> {
    let &[selector, arg, size, count] = rest else { return Err(Errno::EINVAL) };
    let size = usize::try_from(size).ok().filter(|size| (1..=4096).contains(size)).ok_or(Errno::EINVAL)?;
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let mut records = Vec::new();
    let all = kernel.procs.list();
    let selected = all.iter().filter(|proc| selects(proc, selector, arg));
    // Asked for none, it says how much room all need.
    for proc in selected.take(if count == 0 { usize::MAX } else { count }) {
        let mut record = kinfo_proc2(proc);
        record.resize(size, 0);
        records.extend_from_slice(&record);
    }
    Ok(records)
}

fn selects(proc: &Proc, selector: i32, arg: i32) -> bool {
    let cred = proc.credentials();
    let (pgrp, session) = *lock(&proc.pgrp);
    match selector {
        KERN_PROC_ALL => true,
        KERN_PROC_PID => proc.pid == arg,
        KERN_PROC_PGRP => pgrp == arg,
        KERN_PROC_SESSION => session == arg,
        KERN_PROC_UID => cred.euid == arg as u32,
        KERN_PROC_RUID => cred.uid == arg as u32,
        KERN_PROC_GID => cred.egid == arg as u32,
        KERN_PROC_RGID => cred.gid == arg as u32,
        _ => false,
    }
}

fn kinfo_proc2(proc: &Proc) -> Vec<u8> {
    let cred = proc.credentials();
    let (pgrp, session) = *lock(&proc.pgrp);
    let mut info = KinfoProc2 {
        p_pid: proc.pid,
        p_ppid: *lock(&proc.ppid),
        p_sid: session,
        p_pgid: pgrp,
        p_uid: cred.euid,
        p_ruid: cred.uid,
        p_gid: cred.egid,
        p_rgid: cred.gid,
        p_stat: SACTIVE,
        p_ustart_sec: proc.started.as_secs() as u32,
        p_ustart_usec: proc.started.subsec_micros(),
        p_nlwps: lock(&proc.lwps).len() as u64,
        ..KinfoProc2::default()
    };
    fill(&mut info.p_comm, lock(&proc.name).as_bytes());
    fill(&mut info.p_login, b"root");
    info.as_bytes().to_vec()
}

/// `kern.proc_args.PID.WHAT`: only the program's name is known.
fn proc_args(kernel: &Kernel, rest: &[i32]) -> Result<Vec<u8>> {
    let &[pid, what] = rest else { return Err(Errno::EINVAL) };
    let mut name = lock(&kernel.procs.get(pid)?.name).clone().into_bytes();
    name.push(0);
    match what {
        KERN_PROC_ARGV => Ok(name),
        KERN_PROC_NARGV => Ok(1i32.to_le_bytes().to_vec()),
        KERN_PROC_ENV => Ok(Vec::new()),
        KERN_PROC_NENV => Ok(0i32.to_le_bytes().to_vec()),
        _ => Err(Errno::EINVAL),
    }
}
