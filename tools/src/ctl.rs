//! What `rumpctl` asks of a kernel: each function is one look at it, through NetBSD's own calls.

use abi::sysctl::{CTL_KERN, CTL_QUERY, KERN_MSGBUF, KERN_PROC_ALL, KERN_PROC2};
use abi::{Errno, In, InOut, Out, Result, UserStr};
use client::{Caller, stubs};

/// A process as `ps` shows it.
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Parent's id.
    pub ppid: i32,
    /// User id.
    pub uid: u32,
    /// Threads in a call.
    pub lwps: u64,
    /// Program name.
    pub name: String,
}

/// Length of `struct kinfo_proc2`.
const KINFO_PROC2: usize = 680;

/// Lists the processes (sysctl kern.proc2).
pub fn processes(kernel: &dyn Caller) -> Result<Vec<Process>> {
    let count = 4096;
    let mib = [CTL_KERN, KERN_PROC2, KERN_PROC_ALL, 0, KINFO_PROC2 as i32, count];
    let bytes = sysctl_read(kernel, &mib)?;
    let word =
        |record: &[u8], at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    Ok(bytes
        .chunks_exact(KINFO_PROC2)
        .map(|record| Process {
            pid: word(record, 116) as i32,
            ppid: word(record, 120) as i32,
            uid: word(record, 136),
            lwps: u64::from(word(record, 616)),
            name: c_string(&record[368..392]),
        })
        .collect())
}

fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// What the kernel has said so far, the last lines of it (sysctl kern.msgbuf).
pub fn messages(kernel: &dyn Caller) -> Result<String> {
    let text = sysctl_read(kernel, &[CTL_KERN, KERN_MSGBUF])?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
}

/// Reads a sysctl value of whatever length.
pub fn sysctl_read(kernel: &dyn Caller, mib: &[i32]) -> Result<Vec<u8>> {
    let mut len = 0usize;
    stubs::sysctl(kernel, In::new(mib), mib.len() as u32, Out::NULL, InOut::new(&mut len), In::NULL, 0)?;
    // What grows between the two calls is cut: a little more room makes that unlikely.
    let mut value = vec![0; len + len / 4];
    let mut len = value.len();
    let out = Out::new(value.as_mut_slice());
    stubs::sysctl(kernel, In::new(mib), mib.len() as u32, out, InOut::new(&mut len), In::NULL, 0)?;
    value.truncate(len);
    Ok(value)
}

/// Sets a sysctl value.
pub fn sysctl_write(kernel: &dyn Caller, mib: &[i32], value: &[u8]) -> Result<()> {
    stubs::sysctl(kernel, In::new(mib), mib.len() as u32, Out::NULL, InOut::NULL, In::new(value), value.len())
}

/// A node of the sysctl tree.
pub struct Node {
    /// Its numbers from the root.
    pub mib: Vec<i32>,
    /// Its name from the root, joined by dots.
    pub name: String,
    /// `CTLTYPE_*`.
    pub kind: u32,
}

/// Length of `struct sysctlnode`.
const SYSCTLNODE: usize = 96;

/// Lists the children of a node (CTL_QUERY).
pub fn sysctl_children(kernel: &dyn Caller, parent: &Node) -> Result<Vec<Node>> {
    let mut query = parent.mib.clone();
    query.push(CTL_QUERY);
    let mut version = [0u8; SYSCTLNODE];
    version[..4].copy_from_slice(&abi::sysctl::SYSCTL_VERSION.to_ne_bytes());
    let mut value = vec![0u8; SYSCTLNODE * 256];
    let mut len = value.len();
    let out = Out::new(value.as_mut_slice());
    let (name, count) = (In::new(query.as_slice()), query.len() as u32);
    stubs::sysctl(kernel, name, count, out, InOut::new(&mut len), In::new(&version), SYSCTLNODE)?;
    Ok(value[..len.min(value.len())]
        .chunks_exact(SYSCTLNODE)
        .map(|node| {
            let mut mib = parent.mib.clone();
            mib.push(i32::from_ne_bytes([node[4], node[5], node[6], node[7]]));
            let own = c_string(&node[8..40]);
            let name = if parent.name.is_empty() { own } else { format!("{}.{own}", parent.name) };
            Node { mib, name, kind: u32::from(node[0] & 0xf) }
        })
        .collect())
}

/// The root of the sysctl tree.
pub fn sysctl_root() -> Node {
    Node { mib: Vec::new(), name: String::new(), kind: abi::sysctl::CTLTYPE_NODE }
}

/// Finds a node by its name; `ENOENT` if there is none.
pub fn sysctl_find(kernel: &dyn Caller, name: &str) -> Result<Node> {
    name.split('.').try_fold(sysctl_root(), |node, part| {
        let children = sysctl_children(kernel, &node)?;
        children.into_iter().find(|child| child.name.rsplit('.').next() == Some(part)).ok_or(Errno::ENOENT)
    })
}

/// Lists the leaves below a node, itself if it is one.
pub fn sysctl_leaves(kernel: &dyn Caller, node: Node) -> Result<Vec<Node>> {
    if node.kind != abi::sysctl::CTLTYPE_NODE {
        return Ok(vec![node]);
    }
    let mut leaves = Vec::new();
    for child in sysctl_children(kernel, &node)? {
        leaves.extend(sysctl_leaves(kernel, child)?);
    }
    Ok(leaves)
}

/// A value as sysctl(8) prints it.
pub fn sysctl_format(kind: u32, value: &[u8]) -> String {
    use abi::sysctl::{CTLTYPE_BOOL, CTLTYPE_INT, CTLTYPE_QUAD, CTLTYPE_STRING};
    match (kind, value) {
        (CTLTYPE_INT, [a, b, c, d]) => i32::from_ne_bytes([*a, *b, *c, *d]).to_string(),
        (CTLTYPE_QUAD, [a, b, c, d, e, f, g, h]) => i64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]).to_string(),
        (CTLTYPE_BOOL, [byte]) => byte.to_string(),
        (CTLTYPE_STRING, bytes) => c_string(bytes),
        (_, bytes) => format!("({} bytes)", bytes.len()),
    }
}

/// A mounted file system.
pub struct Mounted {
    /// What is mounted.
    pub from: String,
    /// Where.
    pub on: String,
    /// Type.
    pub kind: String,
    /// `MNT_*`.
    pub flags: u64,
}

const STATVFS: usize = 2256;

/// Lists the mounted file systems (getvfsstat(2)).
pub fn mounts(kernel: &dyn Caller) -> Result<Vec<Mounted>> {
    const MNT_NOWAIT: i32 = 2;
    let count = stubs::getvfsstat(kernel, Out::NULL, 0, MNT_NOWAIT)?.max(0) as usize;
    let mut buffer = vec![0u8; STATVFS * (count + 4)];
    let size = buffer.len();
    let count = stubs::getvfsstat(kernel, Out::new(buffer.as_mut_slice()), size, MNT_NOWAIT)?.max(0) as usize;
    Ok(buffer
        .chunks_exact(STATVFS)
        .take(count)
        .map(|entry| Mounted {
            from: c_string(&entry[1228..2252]),
            on: c_string(&entry[204..1228]),
            kind: c_string(&entry[172..204]),
            flags: entry[..8].iter().rev().fold(0, |flags, &byte| flags << 8 | u64::from(byte)),
        })
        .collect())
}

/// Halts the kernel (reboot(2)); `how` are `RB_*` bits.
pub fn halt(kernel: &dyn Caller, how: i32) -> Result<()> {
    stubs::reboot(kernel, how, UserStr::NULL)
}
