//! A file system of reports: files whose text is made when they are read. kernfs and procfs are tables of such.

use std::sync::{Arc, Mutex};

use abi::time::Timespec;
use abi::{Errno, Fd, Result};

use crate::proc::{Proc, lock};
use crate::vfs::node::Entry;
use crate::vfs::{Attr, Change, Dir, FileSystem, Kind, Mount, Node, Position, Vnode};
use crate::{Kernel, current};

/// Who looks, and whose directory it is.
pub struct Look {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Who looks.
    pub caller: Arc<Proc>,
    /// Whose directory it is; the caller outside of any.
    pub of: Arc<Proc>,
}

/// What is found under a name.
#[derive(Clone)]
pub enum What {
    /// A text.
    Text(fn(&Look) -> Result<Vec<u8>>),
    /// A text about a number: of a descriptor, of a thread.
    About(Make, i32),
    /// A text that another part of the kernel has registered.
    Report(crate::Report),
    /// A text that the superuser may replace.
    Settable(fn(&Look) -> Result<Vec<u8>>, fn(&Look, &[u8]) -> Result<()>),
    /// A symbolic link.
    Link(fn(&Look) -> Result<Vec<u8>>),
    /// The link of a descriptor.
    Descriptor(i32),
    /// What such a link leads to, if that has no place among the files: a socket.
    Object,
    /// A directory with the same names always.
    Fixed(&'static [Row]),
    /// A directory of texts about a number.
    All(&'static [(&'static str, Make)], i32),
    /// A directory whose names are made when somebody looks.
    Made(fn(&Look) -> Vec<(String, What)>),
    /// The same names always, and made ones behind them.
    Both(&'static [Row], fn(&Look) -> Vec<(String, What)>),
    /// The directory of a process, by its number in the rump kernel.
    Process(i32),
}

/// Makes a text about a number.
pub type Make = fn(&Look, i32) -> Result<Vec<u8>>;

/// A name, the permission bits, and what is there.
pub type Row = (&'static str, u32, What);

/// What the tree has in common.
struct Tree {
    kind: &'static str,
    /// Below the directory of a process.
    process: &'static [Row],
    since: Timespec,
}

/// A mounted tree.
pub struct Reports {
    root: Arc<dyn Node>,
    kind: &'static str,
}

impl Reports {
    /// Makes a tree with `rows` in its root; `process` are the rows of a process's directory.
    pub fn mount(kind: &'static str, rows: What, process: &'static [Row], since: Timespec) -> Arc<dyn FileSystem> {
        let tree = Arc::new(Tree { kind, process, since });
        let root = Report::make(&tree, None, "", 0o555, rows, None);
        Arc::new(Self { root, kind: tree.kind })
    }
}

impl FileSystem for Reports {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn root(&self) -> Arc<dyn Node> {
        self.root.clone()
    }
}

/// A node of the tree. It is made by each walk; the same path has the same number always.
struct Report {
    vnode: Vnode,
    tree: Arc<Tree>,
    above: Option<Arc<Report>>,
    path: String,
    mode: u32,
    what: What,
    /// Whose directory it is in, by the number in the rump kernel.
    of: Option<i32>,
    /// The text as it was when reading began.
    text: Mutex<Option<Arc<[u8]>>>,
    this: std::sync::Weak<Report>,
}

/// A number for a path (FNV-1a).
fn number(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, c| (hash ^ u64::from(c)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether a name means a descriptor: our own client writes the number with zeros before it.
fn is_descriptor(what: &What, name: &[u8]) -> bool {
    let (What::Descriptor(fd) | What::About(_, fd)) = what else { return false };
    name.iter().all(u8::is_ascii_digit) && str::from_utf8(name).is_ok_and(|name| name.parse() == Ok(*fd))
}

fn kind_of(what: &What) -> Kind {
    match what {
        What::Text(_) | What::About(..) | What::Report(_) | What::Settable(..) => Kind::Regular,
        What::Link(_) | What::Descriptor(_) => Kind::Symlink,
        What::Object => Kind::Socket,
        What::Fixed(_) | What::All(..) | What::Made(_) | What::Both(..) | What::Process(_) => Kind::Directory,
    }
}

impl Report {
    fn make(
        tree: &Arc<Tree>,
        above: Option<Arc<Report>>,
        path: &str,
        mode: u32,
        what: What,
        of: Option<i32>,
    ) -> Arc<Self> {
        let of = if let What::Process(pid) = what { Some(pid) } else { of };
        let vnode = Vnode::new(kind_of(&what), number(path));
        let (tree, path, text) = (tree.clone(), path.to_owned(), Mutex::default());
        Arc::new_cyclic(|this| Self { vnode, tree, above, path, mode, what, of, text, this: this.clone() })
    }

    /// `ENOENT` when the process whose directory it is has ended, and outside of any call.
    fn look(&self) -> Result<Look> {
        let (kernel, caller) = current::get().ok_or(Errno::ENOENT)?;
        let of = match self.of {
            Some(pid) => kernel.procs.get(pid).map_err(|_| Errno::ENOENT)?,
            None => caller.clone(),
        };
        Ok(Look { kernel, caller, of })
    }

    /// The names in a directory.
    fn names(&self) -> Result<Vec<(String, u32, What)>> {
        let fixed =
            |rows: &'static [Row]| rows.iter().map(|(name, mode, what)| ((*name).to_owned(), *mode, what.clone()));
        let made = |make: fn(&Look) -> Vec<(String, What)>| -> Result<Vec<_>> {
            let mode = |what: &What| match kind_of(what) {
                Kind::Symlink => 0o777,
                Kind::Regular => 0o444,
                _ => 0o555,
            };
            Ok(make(&self.look()?).into_iter().map(|(name, what)| (name, mode(&what), what)).collect())
        };
        Ok(match &self.what {
            What::Fixed(rows) => fixed(rows).collect(),
            What::All(rows, number) => {
                rows.iter().map(|(name, make)| ((*name).to_owned(), 0o444, What::About(*make, *number))).collect()
            }
            What::Made(make) => made(*make)?,
            What::Both(rows, make) => fixed(rows).chain(made(*make)?).collect(),
            What::Process(_) => {
                self.look()?;
                fixed(self.tree.process).collect()
            }
            _ => return Err(Errno::ENOTDIR),
        })
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn text(&self, fresh: bool) -> Result<Arc<[u8]>> {
        if let (false, Some(text)) = (fresh, lock(&self.text).clone()) {
            return Ok(text);
        }
        // Not under the lock: what makes it may look at other processes.
        let text: Arc<[u8]> = match self.what {
            What::Text(make) | What::Settable(make, _) => make(&self.look()?)?.into(),
            What::About(make, number) => make(&self.look()?, number)?.into(),
            What::Report(make) => make(&self.look()?.kernel).into(),
            _ => return Err(Errno::EISDIR),
        };
        *lock(&self.text) = Some(text.clone());
        Ok(text)
    }
}

impl Node for Report {
    fn vnode(&self) -> &Vnode {
        &self.vnode
    }

    fn attr(&self) -> Attr {
        let nlink = if self.vnode.kind == Kind::Directory { 2 } else { 1 };
        let cred = self.of.and_then(|_| self.look().ok()).map(|look| look.of.credentials()).unwrap_or_default();
        let since = self.tree.since;
        Attr {
            mode: self.mode,
            nlink,
            uid: cred.euid,
            gid: cred.egid,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: since,
            mtime: since,
            ctime: since,
            birthtime: since,
        }
    }

    /// A text that can be set can also be cut to nothing before, as a shell does; nothing else changes.
    fn set_attr(&self, change: &Change) -> Result<()> {
        let only_size = change.mode.is_none() && change.uid.is_none() && change.gid.is_none();
        if matches!(self.what, What::Settable(..)) && only_size { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let text = self.text(offset == 0)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let len = buf.len().min(text.len() - from);
        buf[..len].copy_from_slice(&text[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        let What::Settable(_, set) = self.what else { return Err(Errno::EACCES) };
        let look = self.look()?;
        if !look.caller.credentials().privileged() {
            return Err(Errno::EPERM);
        }
        set(&look, data.strip_suffix(b"\n").unwrap_or(data))?;
        let from = if let Position::At(offset) = position { offset } else { 0 };
        Ok((from + data.len() as u64, data.len()))
    }

    /// An open file is reached even when its name is gone, and a socket, which has none, can be looked at. A pipe is not found so.
    fn leads_to(&self, mount: &Arc<Mount>) -> Result<Option<Dir>> {
        let What::Descriptor(fd) = self.what else { return Ok(None) };
        let open = self.look()?.of.place(Fd(fd)).map_err(|_| Errno::ENOENT)?;
        if let Some(file) = open.file.as_vnode() {
            return Ok(Some(file.at.clone()));
        }
        if open.file.as_socket().is_none() {
            return Ok(None);
        }
        let vnode = Vnode::new(Kind::Socket, open.stat()?.st_ino);
        let (tree, what, this) = (self.tree.clone(), What::Object, self.this.clone());
        let above = this.upgrade();
        let node = Report {
            vnode,
            tree,
            above,
            path: String::new(),
            mode: 0o777,
            what,
            of: self.of,
            text: Mutex::default(),
            this,
        };
        Ok(Some(Dir { mount: mount.clone(), node: Arc::new(node) }))
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match self.what {
            What::Link(make) => make(&self.look()?),
            What::Descriptor(fd) => {
                let look = self.look()?;
                super::procfs::descriptor(&look, fd)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>> {
        let mut names = self.names()?.into_iter();
        let found = names.find(|(other, _, what)| other.as_bytes() == name || is_descriptor(what, name));
        let (name, mode, what) = found.ok_or(Errno::ENOENT)?;
        Ok(Report::make(&self.tree, self.this.upgrade(), &self.below(&name), mode, what, self.of))
    }

    fn parent(&self) -> Result<Arc<dyn Node>> {
        match &self.above {
            Some(above) => Ok(above.clone()),
            None => Ok(self.this.upgrade().ok_or(Errno::ENOENT)?),
        }
    }

    fn read_dir(&self, cookie: u64, each: &mut dyn FnMut(Entry<'_>) -> bool) -> Result<()> {
        for ((name, _, what), next) in self.names()?.into_iter().zip(1..) {
            let (ino, kind) = (number(&self.below(&name)), kind_of(&what));
            if next > cookie && !each(Entry { ino, kind, name: name.as_bytes(), next }) {
                break;
            }
        }
        Ok(())
    }
}
