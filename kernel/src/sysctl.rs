//! sysctl(7): the tree of values. A row is a value; nodes on the way to it have rows of their own.

use std::sync::{Mutex, RwLock};

use abi::sysctl::*;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::config::Config;
use crate::proc::{Proc, lock};
use crate::rumpuser::Rumpuser;

/// Name, release and the like of the kernel that this one speaks like.
pub const OSTYPE: &str = "NetBSD";
/// See [`OSTYPE`].
pub const OSRELEASE: &str = "7.99.34";
/// `__NetBSD_Version__` of [`OSRELEASE`].
const OSREVISION: i32 = 799_003_400;

/// Values that can be set.
pub struct Names {
    /// `kern.hostname`.
    pub hostname: Mutex<String>,
    /// `kern.domainname`.
    pub domainname: Mutex<String>,
    /// setlogin(2).
    pub login: Mutex<Vec<u8>>,
    added: RwLock<Vec<Row>>,
}

impl Names {
    /// The names at boot: `rump-PID.HOST` unless the configuration says otherwise.
    pub fn new(host: &dyn Rumpuser, config: &Config) -> Self {
        let default = || format!("rump-{:05}.{}", host.host_pid(), host.host_name());
        Self {
            hostname: Mutex::new(config.hostname.clone().unwrap_or_else(default)),
            domainname: Mutex::default(),
            login: Mutex::new(b"root".to_vec()),
            added: RwLock::default(),
        }
    }

    /// Adds rows to the tree: how a component brings its own (`net.inet…`).
    pub fn add_rows(&self, rows: impl IntoIterator<Item = Row>) {
        self.added.write().unwrap_or_else(std::sync::PoisonError::into_inner).extend(rows);
    }
}

/// A value or a node of the tree.
#[derive(Clone, Copy)]
pub struct Row {
    /// The numbers that lead to it.
    pub path: &'static [i32],
    /// Its name, the last component only.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it holds.
    pub value: Value,
}

impl Row {
    /// Makes a row.
    pub const fn new(path: &'static [i32], name: &'static str, about: &'static str, value: Value) -> Self {
        Self { path, name, about, value }
    }
}

/// How a value is read and set.
#[derive(Clone, Copy)]
pub enum Value {
    /// Has children.
    Node,
    /// An int.
    Int(fn(&Kernel) -> i32),
    /// An int that can be set.
    IntRw(fn(&Kernel) -> i32, fn(&Kernel, i32) -> Result<()>),
    /// 64 bits.
    Quad(fn(&Kernel) -> u64),
    /// A string.
    Text(fn(&Kernel) -> String),
    /// A string that can be set.
    TextRw(fn(&Kernel) -> String, fn(&Kernel, String)),
    /// Anything else; gets the elements of the name behind the row's path.
    Table(fn(&Kernel, &[i32]) -> Result<Vec<u8>>),
}

impl Value {
    /// The type number (`CTLTYPE_`) and flags.
    fn flags(self) -> u32 {
        let kind = match self {
            Value::Node => CTLTYPE_NODE,
            Value::Int(_) => CTLTYPE_INT,
            Value::IntRw(..) => CTLTYPE_INT | CTLFLAG_READWRITE,
            Value::Text(_) => CTLTYPE_STRING,
            Value::TextRw(..) => CTLTYPE_STRING | CTLFLAG_READWRITE,
            Value::Quad(_) => CTLTYPE_QUAD,
            Value::Table(_) => CTLTYPE_STRUCT,
        };
        kind | CTLFLAG_PERMANENT | SYSCTL_VERSION
    }
}

/// The rows of the base kernel, parents before children.
const ROWS: &[Row] = &[
    Row::new(&[CTL_KERN], "kern", "High kernel", Value::Node),
    Row::new(&[CTL_KERN, KERN_OSTYPE], "ostype", "Operating system type", Value::Text(|_| OSTYPE.into())),
    Row::new(&[CTL_KERN, KERN_OSRELEASE], "osrelease", "Operating system release", Value::Text(|_| OSRELEASE.into())),
    Row::new(&[CTL_KERN, KERN_OSREV], "osrevision", "Operating system revision", Value::Int(|_| OSREVISION)),
    Row::new(&[CTL_KERN, KERN_VERSION], "version", "Kernel version", Value::Text(|_| version())),
    Row::new(&[CTL_KERN, KERN_MAXVNODES], "maxvnodes", "Maximum number of vnodes", Value::Int(|k| k.config.nvnodes as i32)),
    Row::new(&[CTL_KERN, KERN_MAXPROC], "maxproc", "Maximum number of simultaneous processes", Value::Int(|_| crate::proc::MAXPROC as i32)),
    Row::new(&[CTL_KERN, KERN_HOSTNAME], "hostname", "System hostname", Value::TextRw(hostname, set_hostname)),
    Row::new(&[CTL_KERN, KERN_CLOCKRATE], "clockrate", "Kernel clock rates", Value::Table(clockrate)),
    Row::new(&[CTL_KERN, KERN_NGROUPS], "ngroups", "Maximum number of supplemental groups", Value::Int(|_| 16)),
    Row::new(&[CTL_KERN, KERN_BOOTTIME], "boottime", "System boot time", Value::Table(boottime)),
    Row::new(&[CTL_KERN, KERN_DOMAINNAME], "domainname", "YP domain name", Value::TextRw(domainname, set_domainname)),
    Row::new(&[CTL_KERN, KERN_RAWPARTITION], "rawpartition", "Raw partition of a disk", Value::Int(|_| 3)),
    Row::new(&[CTL_KERN, KERN_PROC2], "proc2", "Machine-independent process information", Value::Table(proc2)),
    Row::new(&[CTL_KERN, KERN_PROC_ARGS], "proc_args", "Process argument information", Value::Table(proc_args)),
    Row::new(&[CTL_VM], "vm", "Virtual memory", Value::Node),
    Row::new(&[CTL_VFS], "vfs", "Filesystem", Value::Node),
    Row::new(&[CTL_NET], "net", "Networking", Value::Node),
    Row::new(&[CTL_DEBUG], "debug", "Debugging", Value::Node),
    Row::new(&[CTL_HW], "hw", "Generic CPU, I/O", Value::Node),
    Row::new(&[CTL_HW, HW_MACHINE], "machine", "Machine class", Value::Text(|_| "amd64".into())),
    Row::new(&[CTL_HW, HW_MODEL], "model", "Machine model", Value::Text(|_| "rumpcore (virtual)".into())),
    Row::new(&[CTL_HW, HW_NCPU], "ncpu", "Number of CPUs configured", Value::Int(|k| k.config.ncpu as i32)),
    Row::new(&[CTL_HW, HW_BYTEORDER], "byteorder", "System byte order", Value::Int(|_| 1234)),
    Row::new(&[CTL_HW, HW_PHYSMEM], "physmem", "Bytes of physical memory", Value::Int(|k| memory(k).min(i32::MAX as u64) as i32)),
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

fn set_hostname(kernel: &Kernel, name: String) {
    *lock(&kernel.names.hostname) = name;
}

fn domainname(kernel: &Kernel) -> String {
    lock(&kernel.names.domainname).clone()
}

fn set_domainname(kernel: &Kernel, name: String) {
    *lock(&kernel.names.domainname) = name;
}

/// What the kernel may use: its limit, else all that the host has.
fn memory(kernel: &Kernel) -> u64 {
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

/// Copies what fits and leaves a NUL behind it.
fn fill(to: &mut [u8], from: &[u8]) {
    let len = from.len().min(to.len() - 1);
    to[..len].copy_from_slice(&from[..len]);
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

/// What is asked.
pub struct Request<'a> {
    /// The name, 1 to 12 numbers.
    pub name: &'a [i32],
    /// The new value, or what a query brings along.
    pub new: Option<&'a [u8]>,
    /// Whether the superuser asks.
    pub privileged: bool,
}

/// Serves a request; returns the old value whole, whatever room there is for it.
///
/// `ENOENT` for an unknown name, `ENOTDIR` for one below a value, `EISDIR` for a node, `EPERM` to set what cannot be
/// or by who may not, `EINVAL` for a new value of the wrong size.
pub fn sysctl(kernel: &Kernel, request: &Request<'_>) -> Result<Vec<u8>> {
    let added = kernel.names.added.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let tree = Tree { rows: ROWS.iter().copied().chain(added).collect() };
    match request.name.split_last() {
        Some((&CTL_QUERY, prefix)) => tree.query(kernel, prefix, request.new),
        Some((&CTL_DESCRIBE, prefix)) => tree.describe(prefix, request.new),
        Some((last, _)) if *last < 0 => Err(Errno::EPERM),
        _ => tree.value(kernel, request),
    }
}

struct Tree {
    rows: Vec<Row>,
}

impl Tree {
    fn row(&self, path: &[i32]) -> Option<&Row> {
        self.rows.iter().find(|row| row.path == path)
    }

    /// The children of a node, by number; `path` empty is the root.
    fn children(&self, path: &[i32]) -> Result<Vec<&Row>> {
        if !path.is_empty() {
            match self.row(path).map(|row| row.value) {
                None => return Err(self.missing(path)),
                Some(Value::Node) => {}
                Some(_) => return Err(Errno::ENOTDIR),
            }
        }
        let below = |row: &&Row| row.path.len() == path.len() + 1 && row.path.starts_with(path);
        let mut children: Vec<&Row> = self.rows.iter().filter(below).collect();
        children.sort_by_key(|row| row.path.last());
        Ok(children)
    }

    fn missing(&self, path: &[i32]) -> Errno {
        let leaf = |len: usize| self.row(&path[..len]).is_some_and(|row| !matches!(row.value, Value::Node));
        if (1..path.len()).any(leaf) { Errno::ENOTDIR } else { Errno::ENOENT }
    }

    fn value(&self, kernel: &Kernel, request: &Request<'_>) -> Result<Vec<u8>> {
        let table = |row: &&Row| matches!(row.value, Value::Table(_)) && request.name.starts_with(row.path);
        let found = self.row(request.name).or_else(|| self.rows.iter().find(table));
        let row = found.ok_or_else(|| self.missing(request.name))?;
        let settable = matches!(row.value, Value::IntRw(..) | Value::TextRw(..));
        if request.new.is_some() && !(settable && request.privileged) {
            return Err(if matches!(row.value, Value::Node) { Errno::EISDIR } else { Errno::EPERM });
        }
        let old = self.read(kernel, row, &request.name[row.path.len()..])?;
        if let Some(new) = request.new {
            write(kernel, row, new)?;
        }
        Ok(old)
    }

    fn read(&self, kernel: &Kernel, row: &Row, rest: &[i32]) -> Result<Vec<u8>> {
        let text = |text: String| [text.as_bytes(), b"\0"].concat();
        match row.value {
            Value::Node => Err(Errno::EISDIR),
            Value::Int(get) | Value::IntRw(get, _) => Ok(get(kernel).to_le_bytes().to_vec()),
            Value::Quad(get) => Ok(get(kernel).to_le_bytes().to_vec()),
            Value::Text(get) | Value::TextRw(get, _) => Ok(text(get(kernel))),
            Value::Table(get) => get(kernel, rest),
        }
    }

    /// `CTL_QUERY`: struct sysctlnode of each child.
    fn query(&self, kernel: &Kernel, prefix: &[i32], new: Option<&[u8]>) -> Result<Vec<u8>> {
        check_version(new)?;
        let mut nodes = Vec::new();
        for row in self.children(prefix)? {
            let mut node = Sysctlnode {
                sysctl_flags: row.value.flags(),
                sysctl_num: row.path.last().copied().unwrap_or(0),
                ..Sysctlnode::default()
            };
            fill(&mut node.sysctl_name, row.name.as_bytes());
            node.sysctl_size = match row.value {
                Value::Node => {
                    let below = (self.children(row.path)?.len() as u32).to_le_bytes();
                    node.sysctl_un[..4].copy_from_slice(&below);
                    node.sysctl_un[4..8].copy_from_slice(&below);
                    size_of::<Sysctlnode>() as u64
                }
                // Of variable size, as NetBSD says of its tables.
                Value::Table(_) => 0,
                _ => self.read(kernel, row, &[])?.len() as u64,
            };
            nodes.extend_from_slice(node.as_bytes());
        }
        Ok(nodes)
    }

    /// `CTL_DESCRIBE`: number, version, length and text of each child, or of the one that `new` names.
    fn describe(&self, prefix: &[i32], new: Option<&[u8]>) -> Result<Vec<u8>> {
        check_version(new)?;
        let only = new.and_then(|new| new.get(4..8)?.try_into().ok()).map(i32::from_le_bytes).filter(|only| *only != 0);
        let mut records = Vec::new();
        for row in self.children(prefix)? {
            let number = row.path.last().copied().unwrap_or(0);
            if only.is_some_and(|only| only != number) {
                continue;
            }
            let mut text = [row.about.as_bytes(), b"\0"].concat();
            let head = Sysctldesc { descr_num: number, descr_ver: 0, descr_len: text.len() as u32 };
            text.resize(text.len().next_multiple_of(4), 0);
            records.extend_from_slice(head.as_bytes());
            records.extend_from_slice(&text);
        }
        if only.is_some() && records.is_empty() { Err(Errno::ENOENT) } else { Ok(records) }
    }
}

/// A query brings a struct sysctlnode along; its flags carry the version that the client knows.
fn check_version(new: Option<&[u8]>) -> Result<()> {
    let Some(new) = new else { return Ok(()) };
    let flags = new.first_chunk().map(|word| u32::from_le_bytes(*word)).ok_or(Errno::EINVAL)?;
    if flags & SYSCTL_VERS_MASK == SYSCTL_VERSION { Ok(()) } else { Err(Errno::EINVAL) }
}

fn write(kernel: &Kernel, row: &Row, new: &[u8]) -> Result<()> {
    match row.value {
        Value::IntRw(_, set) => set(kernel, i32::from_le_bytes(new.try_into().map_err(|_| Errno::EINVAL)?)),
        Value::TextRw(_, set) => {
            let end = new.iter().position(|byte| *byte == 0).unwrap_or(new.len());
            if end > 255 {
                return Err(Errno::EINVAL);
            }
            set(kernel, String::from_utf8_lossy(&new[..end]).into_owned());
            Ok(())
        }
        _ => Err(Errno::EPERM),
    }
}
