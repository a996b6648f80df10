//! The tmpfs against a model: random operations of several clients on both must give the same answers and the same tree. What fails
//! is made as short as it can be (proptest).

#[path = "../../tests/integration/src/bin/scenario/random/model.rs"]
mod model;

use std::sync::Arc;

use abi::fcntl::open_flags_from_linux;
use abi::stat::Dirents;
use kernel::config::Config;
use kernel::file::File;
use kernel::rumpuser::Rumpuser;
use kernel::rumpuser::sim::SimHost;
use kernel::vfs::namei::Follow;
use kernel::vfs::open::VnodeFile;
use kernel::vfs::{Kind, Vfs, View};
use libc::{
    ENOTDIR, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR, O_TRUNC, RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR,
    S_IFLNK, S_IFMT, S_IFREG, c_int,
};
use model::{Answer, Id, Model, Node, TOP};
use proptest::prelude::*;
use proptest::sample::Index;

/// Who calls: each has a working directory and open files of its own.
const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String),
    Symlink(String, String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Truncate(String, u64),
    ReadLink(String),
    Stat(String, bool),
    Chdir(String),
    Open(String, c_int),
    // The rest is done on one of the files that the client has open.
    Close(Index),
    Read(Index, usize),
    Write(Index, Vec<u8>),
    ReadAt(Index, u64, usize),
    WriteAt(Index, u64, Vec<u8>),
    Resize(Index, u64),
}

/// What a call gives besides its errno.
#[derive(Debug, PartialEq)]
enum Given {
    Nothing,
    Bytes(Vec<u8>),
    /// Kind, length of what has one, and links.
    Status(u32, Option<u64>, usize),
}

/// An open file.
struct Held {
    file: Arc<VnodeFile>,
    id: Id,
    at: u64,
    appends: bool,
}

/// A client on both sides.
struct Client<'a> {
    view: View<'a>,
    /// The model's number of the working directory.
    at: Id,
    held: Vec<Held>,
}

/// The part of `content` at an offset.
fn part(content: &[u8], offset: u64, len: usize) -> Vec<u8> {
    let rest = content.get(offset as usize..).unwrap_or_default();
    rest[..len.min(rest.len())].to_vec()
}

fn put(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if !data.is_empty() {
        content.resize(content.len().max(end), 0);
        content[offset as usize..end].copy_from_slice(data);
    }
}

fn status(model: &Model, id: Id) -> Given {
    let (kind, size) = match model.node(id) {
        Node::Directory { .. } => (S_IFDIR, None),
        Node::File(content) => (S_IFREG, Some(content.len() as u64)),
        Node::Link(target) => (S_IFLNK, Some(target.len() as u64)),
    };
    Given::Status(kind, size, model.links(id))
}

impl Client<'_> {
    /// One of the files that are open.
    fn one(&mut self, index: Index) -> Option<&mut Held> {
        if self.held.is_empty() { None } else { Some(index.get_mut(&mut self.held)) }
    }

    /// What the model answers; of `open`, the number of the file.
    fn model(&mut self, model: &mut Model, op: &Op) -> Answer<Given> {
        model.at = self.at;
        let done = match op {
            Op::Mkdir(path) => model.mkdir(path),
            Op::Symlink(target, path) => model.symlink(target, path),
            Op::Link(old, new) => model.link(old, new),
            Op::Unlink(path) => model.unlink(path),
            Op::Rmdir(path) => model.rmdir(path),
            Op::Rename(from, to, flags) => model.rename(from, to, *flags),
            Op::Truncate(path, len) => model.truncate(path, *len as usize),
            Op::ReadLink(path) => return model.readlink(path).map(|target| Given::Bytes(target.into())),
            Op::Stat(path, follow) => return model.stat(path, *follow).map(|id| status(model, id)),
            Op::Chdir(path) => model.stat(path, true).and_then(|id| match model.node(id) {
                Node::Directory { .. } => {
                    self.at = id;
                    Ok(())
                }
                _ => Err(ENOTDIR),
            }),
            Op::Open(..) | Op::Close(_) => Ok(()),
            Op::Read(index, len) | Op::ReadAt(index, _, len) => {
                let Some(held) = self.one(*index) else { return Ok(Given::Nothing) };
                let offset = if let Op::ReadAt(_, offset, _) = op { *offset } else { held.at };
                let data = part(model.content(held.id), offset, *len);
                if let Op::Read(..) = op {
                    held.at += data.len() as u64;
                }
                return Ok(Given::Bytes(data));
            }
            Op::Write(index, data) => {
                if let Some(held) = self.one(*index) {
                    let content = model.content(held.id);
                    held.at = if held.appends && !data.is_empty() { content.len() as u64 } else { held.at };
                    put(content, held.at, data);
                    held.at += data.len() as u64;
                }
                Ok(())
            }
            Op::WriteAt(index, offset, data) => {
                if let Some(held) = self.one(*index) {
                    let content = model.content(held.id);
                    // Linux has it so, POSIX not.
                    put(content, if held.appends { content.len() as u64 } else { *offset }, data);
                }
                Ok(())
            }
            Op::Resize(index, len) => {
                if let Some(held) = self.one(*index) {
                    model.content(held.id).resize(*len as usize, 0);
                }
                Ok(())
            }
        };
        done.map(|()| Given::Nothing)
    }

    /// What the kernel answers.
    fn kernel(&mut self, op: &Op) -> abi::Result<Given> {
        let (view, at) = (&self.view, self.view.cwd.clone());
        let at = &at;
        let done = match op {
            Op::Mkdir(path) => view.mkdir(at, path.as_bytes(), 0o755),
            Op::Symlink(target, path) => view.symlink(target.as_bytes(), at, path.as_bytes()),
            Op::Link(old, new) => {
                view.namei(at, old.as_bytes(), Follow::Never).and_then(|old| view.link(&old, at, new.as_bytes()))
            }
            Op::Unlink(path) => view.unlink(at, path.as_bytes()),
            Op::Rmdir(path) => view.rmdir(at, path.as_bytes()),
            Op::Rename(from, to, flags) => {
                let (from, to) = (view.parent(at, from.as_bytes())?, view.parent(at, to.as_bytes())?);
                view.rename_found(from, to, *flags)
            }
            Op::Truncate(path, len) => view.truncate(&view.namei(at, path.as_bytes(), Follow::Always)?, *len),
            Op::ReadLink(path) => return view.read_link(at, path.as_bytes()).map(Given::Bytes),
            Op::Stat(path, follow) => {
                let follow = if *follow { Follow::Always } else { Follow::Never };
                let node = view.namei(at, path.as_bytes(), follow)?.node;
                let (kind, attr) = (node.vnode().kind, node.attr());
                let size = (kind != Kind::Directory).then_some(attr.size);
                return Ok(Given::Status(kind.format(), size, attr.nlink as usize));
            }
            Op::Chdir(path) => {
                let found = view.namei(at, path.as_bytes(), Follow::Always)?;
                if found.node.vnode().kind != Kind::Directory {
                    return Err(abi::Errno::ENOTDIR);
                }
                self.view.cwd = found;
                Ok(())
            }
            Op::Open(..) => Ok(()),
            Op::Close(index) => {
                if !self.held.is_empty() {
                    self.held.swap_remove(index.index(self.held.len()));
                }
                Ok(())
            }
            Op::Read(index, len) | Op::ReadAt(index, _, len) => {
                let Some(held) = self.one(*index) else { return Ok(Given::Nothing) };
                let mut buf = vec![0xff; *len];
                let got = match op {
                    Op::ReadAt(_, offset, _) => held.file.read_at(*offset, &mut buf)?,
                    _ => held.file.read(&mut buf)?,
                };
                buf.truncate(got);
                return Ok(Given::Bytes(buf));
            }
            Op::Write(index, data) => match self.one(*index) {
                Some(held) => held.file.write(data).map(|len| assert_eq!(len, data.len())),
                None => Ok(()),
            },
            Op::WriteAt(index, offset, data) => match self.one(*index) {
                Some(held) => held.file.write_at(*offset, data).map(|len| assert_eq!(len, data.len())),
                None => Ok(()),
            },
            Op::Resize(index, len) => match self.held.len() {
                0 => Ok(()),
                count => self.held[index.index(count)].file.truncate(view, *len),
            },
        };
        done.map(|()| Given::Nothing)
    }

    /// Opens a file on both sides.
    fn open(&mut self, model: &mut Model, path: &str, flags: c_int) -> (Answer<()>, Answer<()>) {
        model.at = self.at;
        let expected = model.open(path, flags);
        let rump = open_flags_from_linux(flags | O_RDWR).expect("flags that both know");
        let file = self.view.open(&self.view.cwd, path.as_bytes(), rump, 0o644).map_err(|errno| errno.to_linux());
        let got = file.as_ref().map(drop).map_err(|errno| *errno);
        if let (Ok(file), Ok(id)) = (file, expected) {
            self.held.push(Held { file, id, at: 0, appends: flags & O_APPEND != 0 });
        }
        (got, expected.map(drop))
    }

    /// Does an operation on both sides; the answers.
    fn both(&mut self, model: &mut Model, op: &Op) -> (Answer<Given>, Answer<Given>) {
        if let Op::Open(path, flags) = op {
            let (got, expected) = self.open(model, path, *flags);
            return (got.map(|()| Given::Nothing), expected.map(|()| Given::Nothing));
        }
        // The model first: it asks which files are open.
        let expected = self.model(model, op);
        (self.kernel(op).map_err(|errno| errno.to_linux()), expected)
    }
}

/// Checks that a directory shows what the model has there, and so on below it.
fn compare(view: &View<'_>, model: &Model, path: &str, id: Id) {
    let name = if path.is_empty() { "/" } else { path };
    let found = view.namei(&view.root, name.as_bytes(), Follow::Never).unwrap();
    let (kind, attr) = (found.node.vnode().kind, found.node.attr());
    let size = (kind != Kind::Directory).then_some(attr.size);
    assert_eq!(Given::Status(kind.format() & S_IFMT, size, attr.nlink as usize), status(model, id), "{name}");
    match model.node(id) {
        Node::Directory { entries, .. } => {
            assert_eq!(view.path_of(&found), Ok(name.as_bytes().to_vec()));
            let directory = view.open(&view.root, name.as_bytes(), 0, 0).unwrap();
            let mut listed = Vec::new();
            while let batch = directory.getdents(view, 64).unwrap()
                && !batch.is_empty()
            {
                listed.extend(Dirents::new(&batch).map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()));
            }
            assert_eq!(listed[..2], [".", ".."]);
            let mut names = listed.split_off(2);
            names.sort();
            assert!(names.iter().eq(entries.keys()), "{name}: {names:?}");
            entries.iter().for_each(|(below, id)| compare(view, model, &format!("{path}/{below}"), *id));
        }
        Node::File(content) => {
            let mut buf = vec![0xff; content.len() + 9];
            let len = found.node.read_at(0, &mut buf).unwrap();
            assert!(buf[..len] == *content, "{name}");
        }
        Node::Link(target) => assert_eq!(found.node.read_link(), Ok(target.clone().into_bytes())),
    }
}

/// A name of one to three parts, the first of which may be the root, or lead up.
fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let above = prop_oneof![6 => name(), 1 => Just("..")];
    let names = (prop::collection::vec(above, 0..3), name()).prop_map(|(mut names, last)| {
        names.push(last);
        names.join("/")
    });
    (any::<bool>(), names).prop_map(|(absolute, names)| if absolute { format!("/{names}") } else { names })
}

fn op() -> impl Strategy<Value = Op> {
    let data = || prop::collection::vec(any::<u8>(), 0..50);
    let offset = || prop_oneof![0..100u64, 4000..4200u64, 65_500..65_600u64, 130_000..200_000u64];
    let file = any::<Index>;
    let flags = prop::sample::select(vec![
        O_CREAT,
        O_CREAT | O_EXCL,
        O_CREAT | O_TRUNC,
        O_CREAT | O_APPEND,
        O_CREAT | O_NOFOLLOW,
        O_NOFOLLOW,
        O_APPEND,
        O_TRUNC,
        0,
    ]);
    prop_oneof![
        3 => path().prop_map(Op::Mkdir),
        2 => (path(), path()).prop_map(|(target, path)| Op::Symlink(target, path)),
        2 => (path(), path()).prop_map(|(old, new)| Op::Link(old, new)),
        3 => path().prop_map(Op::Unlink),
        2 => path().prop_map(Op::Rmdir),
        3 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to, 0)),
        1 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to, RENAME_NOREPLACE)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to, RENAME_EXCHANGE)),
        1 => (path(), offset()).prop_map(|(path, len)| Op::Truncate(path, len)),
        1 => path().prop_map(Op::ReadLink),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat(path, follow)),
        2 => path().prop_map(Op::Chdir),
        5 => (path(), flags).prop_map(|(path, flags)| Op::Open(path, flags)),
        1 => file().prop_map(Op::Close),
        2 => (file(), 0..300usize).prop_map(|(file, len)| Op::Read(file, len)),
        3 => (file(), data()).prop_map(|(file, data)| Op::Write(file, data)),
        2 => (file(), offset(), 0..300usize).prop_map(|(file, offset, len)| Op::ReadAt(file, offset, len)),
        3 => (file(), offset(), data()).prop_map(|(file, offset, data)| Op::WriteAt(file, offset, data)),
        1 => (file(), offset()).prop_map(|(file, len)| Op::Resize(file, len)),
    ]
}

/// Three in a millisecond; more if the environment says so (`PROPTEST_CASES`).
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(2000), ..usual }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_tmpfs_does_what_the_model_does(ops in prop::collection::vec((0..CLIENTS, op()), 1..100)) {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let vfs = Vfs::boot(host, &Config::default()).unwrap();
        // The root is an empty directory, as after chroot(2), so that `..` leads nowhere else.
        let view = || {
            let mut view = vfs.root_view().unwrap();
            let top = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
            (view.cwd, view.root) = (top.clone(), top);
            Client { view, at: TOP, held: Vec::new() }
        };
        let mut clients: Vec<Client<'_>> = (0..CLIENTS).map(|_| view()).collect();
        let mut model = Model::new("/");
        for (who, op) in &ops {
            let (got, expected) = clients[*who].both(&mut model, op);
            prop_assert_eq!(got, expected, "{:?}", op);
        }
        compare(&clients[0].view, &model, "", TOP);
        for held in clients.iter().flat_map(|client| &client.held) {
            let content = model.content(held.id).clone();
            let mut buf = vec![0xff; content.len() + 9];
            let got = held.file.read_at(0, &mut buf).unwrap();
            prop_assert!(buf[..got] == content, "a file that is open");
            prop_assert_eq!(held.file.position(), held.at);
            prop_assert_eq!(held.file.stat().unwrap().st_nlink as usize, model.links(held.id));
        }
    }
}
