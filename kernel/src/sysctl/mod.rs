//! sysctl(7): the tree of values. A row is a value; nodes on the way to it have rows of their own ([`base`]).

use std::sync::{Mutex, RwLock};

use abi::sysctl::*;
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::config::Config;
use crate::rumpuser::Rumpuser;

mod base;

use base::ROWS;
pub use base::{OSRELEASE, OSTYPE, memory, version};

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
    TextRw(fn(&Kernel) -> String, fn(&Kernel, String) -> Result<()>),
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

/// Copies what fits and leaves a NUL behind it.
fn fill(to: &mut [u8], from: &[u8]) {
    let len = from.len().min(to.len() - 1);
    to[..len].copy_from_slice(&from[..len]);
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
            set(kernel, String::from_utf8_lossy(&new[..end]).into_owned())
        }
        _ => Err(Errno::EPERM),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zerocopy::FromBytes;

    use super::*;
    use crate::rumpuser::sim::SimHost;

    fn kernel() -> Arc<Kernel> {
        let config = Config { threads: false, ..Config::default() };
        Kernel::boot(SimHost::new(1), config).unwrap()
    }

    fn get(kernel: &Kernel, name: &[i32]) -> Result<Vec<u8>> {
        sysctl(kernel, &Request { name, new: None, privileged: true })
    }

    fn set(kernel: &Kernel, name: &[i32], new: &[u8], privileged: bool) -> Result<Vec<u8>> {
        sysctl(kernel, &Request { name, new: Some(new), privileged })
    }

    #[test]
    fn parents_stand_before_children_and_no_number_stands_twice() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..at].iter().all(|other| other.path != row.path), "{}", row.name);
            let parent = &row.path[..row.path.len() - 1];
            assert!(parent.is_empty() || ROWS[..at].iter().any(|other| other.path == parent), "{}", row.name);
        }
    }

    #[test]
    fn a_hostname_can_be_set_by_the_superuser() {
        let kernel = kernel();
        let name = [CTL_KERN, KERN_HOSTNAME];
        assert_eq!(get(&kernel, &name), Ok(b"rump-01234.sim\0".to_vec()));
        assert_eq!(set(&kernel, &name, b"other\0", false), Err(Errno::EPERM));
        assert_eq!(set(&kernel, &name, b"other\0", true), Ok(b"rump-01234.sim\0".to_vec()));
        assert_eq!(get(&kernel, &name), Ok(b"other\0".to_vec()));
        assert_eq!(set(&kernel, &[CTL_HW, HW_NCPU], &[1, 0, 0, 0], true), Err(Errno::EPERM));
    }

    #[test]
    fn wrong_names_have_their_own_errors() {
        let kernel = kernel();
        assert_eq!(get(&kernel, &[CTL_KERN]), Err(Errno::EISDIR));
        assert_eq!(get(&kernel, &[CTL_KERN, 999]), Err(Errno::ENOENT));
        assert_eq!(get(&kernel, &[CTL_KERN, KERN_OSTYPE, 1]), Err(Errno::ENOTDIR));
        assert_eq!(get(&kernel, &[77, 1]), Err(Errno::ENOENT));
        assert_eq!(get(&kernel, &[CTL_KERN, KERN_PROC2, 0]), Err(Errno::EINVAL));
    }

    #[test]
    fn a_query_lists_the_children_of_a_node() {
        let kernel = kernel();
        let bring = Sysctlnode { sysctl_flags: SYSCTL_VERSION, ..Sysctlnode::default() };
        let nodes = set(&kernel, &[CTL_HW, CTL_QUERY], bring.as_bytes(), false).unwrap();
        let nodes = <[Sysctlnode]>::ref_from_bytes(&nodes).unwrap();
        let ncpu = nodes.iter().find(|node| node.sysctl_name.starts_with(b"ncpu\0")).unwrap();
        assert_eq!((ncpu.sysctl_num, ncpu.sysctl_flags & CTLTYPE_MASK, ncpu.sysctl_size), (HW_NCPU, CTLTYPE_INT, 4));
        let root = get(&kernel, &[CTL_QUERY]).unwrap();
        assert!(root.len() >= 13 * size_of::<Sysctlnode>());
        let old = Sysctlnode { sysctl_flags: 0, ..Sysctlnode::default() };
        assert_eq!(set(&kernel, &[CTL_QUERY], old.as_bytes(), false), Err(Errno::EINVAL));
        let about = get(&kernel, &[CTL_HW, CTL_DESCRIBE]).unwrap();
        assert_eq!((&about[..4], &about[12..25]), (&1i32.to_le_bytes()[..], &b"Machine class"[..]));
    }

    #[test]
    fn a_component_can_bring_rows() {
        let kernel = kernel();
        kernel.names.add_rows([Row::new(&[CTL_VENDOR, 1], "answer", "For tests", Value::Int(|_| 42))]);
        assert_eq!(get(&kernel, &[CTL_VENDOR, 1]), Ok(42i32.to_le_bytes().to_vec()));
    }

    #[test]
    fn processes_are_listed_and_selected() {
        let kernel = kernel();
        let proc = kernel.spawn(b"ps").unwrap();
        let list = |selector, arg| {
            let name = [CTL_KERN, KERN_PROC2, selector, arg, size_of::<KinfoProc2>() as i32, 100];
            let bytes = get(&kernel, &name).unwrap();
            let records = <[KinfoProc2]>::ref_from_bytes(&bytes).unwrap();
            records.iter().map(|record| record.p_pid).collect::<Vec<_>>()
        };
        assert_eq!(list(KERN_PROC_ALL, 0), [0, 1, proc.pid]);
        assert_eq!(list(KERN_PROC_PID, 1), [1]);
        assert_eq!(get(&kernel, &[CTL_KERN, KERN_PROC_ARGS, proc.pid, KERN_PROC_ARGV]), Ok(b"ps\0".to_vec()));
    }
}
