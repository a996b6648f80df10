//! sysctl(7): the tree of values. A row is a value; nodes on the way to it have rows of their own.

use std::sync::{Mutex, RwLock};

use abi::{Errno, Result};

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

/// Children of the prefix.
const CTL_QUERY: i32 = -2;
/// Descriptions of the children of the prefix.
const CTL_DESCRIBE: i32 = -7;
const SYSCTL_VERSION: u32 = 0x0100_0000;
const VERSION_MASK: u32 = 0xff00_0000;
const READWRITE: u32 = 0x70;
const PERMANENT: u32 = 0x200;
/// Size of struct sysctlnode.
const NODE_BYTES: usize = 96;
/// Size of struct kinfo_proc2.
const PROC2_BYTES: usize = 680;

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
            Value::Node => 1,
            Value::Int(_) => 2,
            Value::IntRw(..) => 2 | READWRITE,
            Value::Text(_) => 3,
            Value::TextRw(..) => 3 | READWRITE,
            Value::Quad(_) => 4,
            Value::Table(_) => 5,
        };
        kind | PERMANENT | SYSCTL_VERSION
    }
}

/// The rows of the base kernel, parents before children.
const ROWS: &[Row] = &[
    Row::new(&[1], "kern", "High kernel", Value::Node),
    Row::new(&[1, 1], "ostype", "Operating system type", Value::Text(|_| OSTYPE.into())),
    Row::new(&[1, 2], "osrelease", "Operating system release", Value::Text(|_| OSRELEASE.into())),
    Row::new(&[1, 3], "osrevision", "Operating system revision", Value::Int(|_| OSREVISION)),
    Row::new(&[1, 4], "version", "Kernel version", Value::Text(|_| version())),
    Row::new(&[1, 5], "maxvnodes", "Maximum number of vnodes", Value::Int(|k| k.config.nvnodes as i32)),
    Row::new(&[1, 6], "maxproc", "Maximum number of simultaneous processes", Value::Int(|_| crate::proc::MAXPROC as i32)),
    Row::new(&[1, 10], "hostname", "System hostname", Value::TextRw(hostname, set_hostname)),
    Row::new(&[1, 12], "clockrate", "Kernel clock rates", Value::Table(clockrate)),
    Row::new(&[1, 18], "ngroups", "Maximum number of supplemental groups", Value::Int(|_| 16)),
    Row::new(&[1, 21], "boottime", "System boot time", Value::Table(boottime)),
    Row::new(&[1, 22], "domainname", "YP domain name", Value::TextRw(domainname, set_domainname)),
    Row::new(&[1, 24], "rawpartition", "Raw partition of a disk", Value::Int(|_| 3)),
    Row::new(&[1, 47], "proc2", "Machine-independent process information", Value::Table(proc2)),
    Row::new(&[1, 48], "proc_args", "Process argument information", Value::Table(proc_args)),
    Row::new(&[2], "vm", "Virtual memory", Value::Node),
    Row::new(&[3], "vfs", "Filesystem", Value::Node),
    Row::new(&[4], "net", "Networking", Value::Node),
    Row::new(&[5], "debug", "Debugging", Value::Node),
    Row::new(&[6], "hw", "Generic CPU, I/O", Value::Node),
    Row::new(&[6, 1], "machine", "Machine class", Value::Text(|_| "amd64".into())),
    Row::new(&[6, 2], "model", "Machine model", Value::Text(|_| "rumpcore (virtual)".into())),
    Row::new(&[6, 3], "ncpu", "Number of CPUs configured", Value::Int(|k| k.config.ncpu as i32)),
    Row::new(&[6, 4], "byteorder", "System byte order", Value::Int(|_| 1234)),
    Row::new(&[6, 5], "physmem", "Bytes of physical memory", Value::Int(|k| memory(k).min(i32::MAX as u64) as i32)),
    Row::new(&[6, 7], "pagesize", "Software page size", Value::Int(|_| 4096)),
    Row::new(&[6, 10], "machine_arch", "Machine CPU class", Value::Text(|_| "x86_64".into())),
    Row::new(&[6, 11], "alignbytes", "Alignment constraint for all types", Value::Int(|_| 15)),
    Row::new(&[6, 13], "physmem64", "Bytes of physical memory", Value::Quad(memory)),
    Row::new(&[6, 16], "ncpuonline", "Number of CPUs online", Value::Int(|k| k.config.ncpu as i32)),
    Row::new(&[7], "machdep", "Machine dependent", Value::Node),
    Row::new(&[8], "user", "User-level", Value::Node),
    Row::new(&[9], "ddb", "In-kernel debugger", Value::Node),
    Row::new(&[10], "proc", "Per-process", Value::Node),
    Row::new(&[11], "vendor", "Vendor specific", Value::Node),
    Row::new(&[12], "emul", "Emulation settings", Value::Node),
    Row::new(&[13], "security", "Security", Value::Node),
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

/// struct clockinfo: hz, tick, tickadj, stathz, profhz.
fn clockrate(_: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    Ok([100i32, 10_000, 40, 100, 100].iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn boottime(kernel: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    let boot = kernel.clock.now().saturating_sub(kernel.clock.since_boot());
    let words = [boot.as_secs(), u64::from(boot.subsec_nanos())];
    Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
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
        0 => true,
        1 => proc.pid == arg,
        2 => pgrp == arg,
        3 => session == arg,
        5 => cred.euid == arg as u32,
        6 => cred.uid == arg as u32,
        7 => cred.egid == arg as u32,
        8 => cred.gid == arg as u32,
        _ => false,
    }
}

fn kinfo_proc2(proc: &Proc) -> Vec<u8> {
    let mut record = vec![0; PROC2_BYTES];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    let cred = proc.credentials();
    let (pgrp, session) = *lock(&proc.pgrp);
    let words = [proc.pid, *lock(&proc.ppid), session, pgrp, 0];
    words.iter().enumerate().for_each(|(n, word)| put(116 + 4 * n, &word.to_le_bytes()));
    let ids = [cred.euid, cred.uid, cred.egid, cred.gid];
    ids.iter().enumerate().for_each(|(n, id)| put(136 + 4 * n, &id.to_le_bytes()));
    // Asleep, as every process of a rump kernel is between its calls.
    put(360, &[3]);
    put(368, lock(&proc.name).as_bytes());
    put(408, b"root");
    put(456, &(proc.started.as_secs() as u32).to_le_bytes());
    put(616, &(lock(&proc.lwps).len() as u64).to_le_bytes());
    record
}

/// `kern.proc_args.PID.WHAT`: only the program's name is known.
fn proc_args(kernel: &Kernel, rest: &[i32]) -> Result<Vec<u8>> {
    let &[pid, what] = rest else { return Err(Errno::EINVAL) };
    let mut name = lock(&kernel.procs.get(pid)?.name).clone().into_bytes();
    name.push(0);
    match what {
        1 | 5 => Ok(name),
        2 => Ok(1i32.to_le_bytes().to_vec()),
        3 => Ok(Vec::new()),
        4 => Ok(0i32.to_le_bytes().to_vec()),
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
            let mut node = [0; NODE_BYTES];
            let mut put = |at: usize, bytes: &[u8]| node[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, &row.value.flags().to_le_bytes());
            put(4, &row.path.last().copied().unwrap_or(0).to_le_bytes());
            put(8, &row.name.as_bytes()[..row.name.len().min(31)]);
            let size = match row.value {
                Value::Node => {
                    let below = self.children(row.path)?.len() as u32;
                    put(48, &below.to_le_bytes());
                    put(52, &below.to_le_bytes());
                    NODE_BYTES
                }
                // Of variable size, as NetBSD says of its tables.
                Value::Table(_) => 0,
                _ => self.read(kernel, row, &[])?.len(),
            };
            put(64, &(size as u64).to_le_bytes());
            nodes.extend_from_slice(&node);
        }
        Ok(nodes)
    }

    /// `CTL_DESCRIBE`: number, version, length and text of each child, or of the one that `new` names.
    fn describe(&self, prefix: &[i32], new: Option<&[u8]>) -> Result<Vec<u8>> {
        check_version(new)?;
        let only = new.and_then(|new| new.get(4..8)?.try_into().ok()).map(i32::from_le_bytes);
        let mut records = Vec::new();
        for row in self.children(prefix)? {
            let number = row.path.last().copied().unwrap_or(0);
            if only.is_some_and(|only| only != number) {
                continue;
            }
            let mut text = [row.about.as_bytes(), b"\0"].concat();
            let head = [number as u32, 0, text.len() as u32];
            text.resize(text.len().next_multiple_of(4), 0);
            records.extend(head.iter().flat_map(|word| word.to_le_bytes()));
            records.extend_from_slice(&text);
        }
        if only.is_some() && records.is_empty() { Err(Errno::ENOENT) } else { Ok(records) }
    }
}

/// A query brings a struct sysctlnode along; its flags carry the version that the client knows.
fn check_version(new: Option<&[u8]>) -> Result<()> {
    let Some(new) = new else { return Ok(()) };
    let flags = new.first_chunk().map(|word| u32::from_le_bytes(*word)).ok_or(Errno::EINVAL)?;
    if flags & VERSION_MASK == SYSCTL_VERSION { Ok(()) } else { Err(Errno::EINVAL) }
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
