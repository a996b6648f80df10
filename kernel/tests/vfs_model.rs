//! The tmpfs against a model: random operations on both must give the same answers and the same tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::fcntl::{O_APPEND, O_CREAT, O_RDWR, RENAME_EXCHANGE, RENAME_NOREPLACE};
use abi::stat::Dirents;
use abi::{Errno, Result};
use kernel::config::Config;
use kernel::file::File;
use kernel::rumpuser::Rumpuser;
use kernel::rumpuser::sim::SimHost;
use kernel::vfs::namei::Follow;
use kernel::vfs::{Kind, Vfs, View};
use proptest::prelude::*;

/// A path of one to three short names below `/tmp`.
type Names = Vec<&'static str>;

#[derive(Clone, Debug)]
enum Op {
    Mkdir(Names),
    Write(Names, u64, Vec<u8>),
    Append(Names, Vec<u8>),
    Truncate(Names, u64),
    Link(Names, Names),
    Unlink(Names),
    Rmdir(Names),
    Rename(Names, Names, u32),
}

/// The model: a tree of directories whose leaves are numbers of files.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Directory(BTreeMap<&'static str, Tree>),
    File(usize),
}

#[derive(Clone, Debug)]
struct Model {
    root: Tree,
    files: Vec<Vec<u8>>,
}

impl Model {
    fn new() -> Self {
        Self { root: Tree::Directory(BTreeMap::new()), files: Vec::new() }
    }

    fn find(&self, names: &[&'static str]) -> Result<&Tree> {
        let mut at = &self.root;
        for name in names {
            at = match at {
                Tree::Directory(entries) => entries.get(name).ok_or(Errno::ENOENT)?,
                Tree::File(_) => return Err(Errno::ENOTDIR),
            };
        }
        Ok(at)
    }

    fn entries(&mut self, names: &[&'static str]) -> Result<&mut BTreeMap<&'static str, Tree>> {
        let mut at = &mut self.root;
        for name in names {
            at = match at {
                Tree::Directory(entries) => entries.get_mut(name).ok_or(Errno::ENOENT)?,
                Tree::File(_) => return Err(Errno::ENOTDIR),
            };
        }
        if let Tree::Directory(entries) = at { Ok(entries) } else { Err(Errno::ENOTDIR) }
    }

    fn parent<'a>(
        &mut self,
        names: &'a [&'static str],
    ) -> Result<(&mut BTreeMap<&'static str, Tree>, &'a &'static str)> {
        let (last, above) = names.split_last().ok_or(Errno::ENOENT)?;
        Ok((self.entries(above)?, last))
    }

    fn file(&mut self, names: &[&'static str], create: bool) -> Result<usize> {
        let fresh = self.files.len();
        let (entries, last) = self.parent(names)?;
        match entries.get(last) {
            Some(Tree::File(number)) => return Ok(*number),
            Some(Tree::Directory(_)) => return Err(Errno::EISDIR),
            None if !create => return Err(Errno::ENOENT),
            None => entries.insert(last, Tree::File(fresh)),
        };
        self.files.push(Vec::new());
        Ok(fresh)
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Mkdir(names) => {
                let (entries, last) = self.parent(names)?;
                if entries.contains_key(last) {
                    return Err(Errno::EEXIST);
                }
                entries.insert(last, Tree::Directory(BTreeMap::new()));
            }
            Op::Write(names, offset, data) => {
                let number = self.file(names, true)?;
                let file = &mut self.files[number];
                let end = *offset as usize + data.len();
                if !data.is_empty() {
                    file.resize(file.len().max(end), 0);
                    file[*offset as usize..end].copy_from_slice(data);
                }
            }
            Op::Append(names, data) => {
                let number = self.file(names, true)?;
                self.files[number].extend_from_slice(data);
            }
            Op::Truncate(names, len) => {
                let number = self.file(names, false)?;
                self.files[number].resize(*len as usize, 0);
            }
            Op::Link(old, new) => {
                let found = self.find(old)?.clone();
                let (entries, last) = self.parent(new)?;
                if entries.contains_key(last) {
                    return Err(Errno::EEXIST);
                }
                if matches!(found, Tree::Directory(_)) {
                    return Err(Errno::EPERM);
                }
                entries.insert(last, found);
            }
            Op::Unlink(names) => {
                let (entries, last) = self.parent(names)?;
                match entries.get(last).ok_or(Errno::ENOENT)? {
                    Tree::Directory(_) => return Err(Errno::EISDIR),
                    Tree::File(_) => entries.remove(last),
                };
            }
            Op::Rmdir(names) => {
                let (entries, last) = self.parent(names)?;
                match entries.get(last).ok_or(Errno::ENOENT)? {
                    Tree::File(_) => return Err(Errno::ENOTDIR),
                    Tree::Directory(below) if !below.is_empty() => return Err(Errno::ENOTEMPTY),
                    Tree::Directory(_) => entries.remove(last),
                };
            }
            Op::Rename(from, to, flags) => self.rename(from, to, *flags)?,
        }
        Ok(())
    }

    /// In the order of Linux's do_renameat2().
    fn rename(&mut self, from: &Names, to: &Names, flags: u32) -> Result<()> {
        // Both walks come before the look at what they found.
        self.parent(from)?;
        self.parent(to)?;
        let moved = self.find(from)?.clone();
        let replaced = self.find(to).ok().cloned();
        match (flags, &replaced) {
            (RENAME_NOREPLACE, Some(_)) => return Err(Errno::EEXIST),
            (RENAME_EXCHANGE, None) => return Err(Errno::ENOENT),
            _ => {}
        }
        if from == to {
            return Ok(());
        }
        let above = |one: &Names, other: &Names| other.len() > one.len() && other.starts_with(one);
        if above(from, to) && matches!(moved, Tree::Directory(_)) {
            return Err(Errno::EINVAL);
        }
        if above(to, from) {
            return Err(if flags == RENAME_EXCHANGE { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if let (Tree::File(one), Some(Tree::File(other))) = (&moved, &replaced)
            && one == other
        {
            return Ok(());
        }
        if let (RENAME_EXCHANGE, Some(other)) = (flags, &replaced) {
            let (entries, last) = self.parent(from)?;
            entries.insert(last, other.clone());
            let (entries, last) = self.parent(to)?;
            entries.insert(last, moved);
            return Ok(());
        }
        match (&moved, &replaced) {
            (Tree::File(_), Some(Tree::Directory(_))) => return Err(Errno::EISDIR),
            (Tree::Directory(_), Some(Tree::File(_))) => return Err(Errno::ENOTDIR),
            (Tree::Directory(_), Some(Tree::Directory(below))) if !below.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        let (entries, last) = self.parent(from)?;
        entries.remove(last);
        let (entries, last) = self.parent(to)?;
        entries.insert(last, moved);
        Ok(())
    }
}

fn path(names: &Names) -> Vec<u8> {
    format!("/tmp/{}", names.join("/")).into_bytes()
}

fn apply(view: &View<'_>, op: &Op) -> Result<()> {
    let at = &view.cwd;
    match op {
        Op::Mkdir(names) => view.mkdir(at, &path(names), 0o755),
        Op::Write(names, offset, data) => {
            let file = view.open(at, &path(names), O_RDWR | O_CREAT, 0o644)?;
            file.write_at(*offset, data).map(|len| assert_eq!(len, data.len()))
        }
        Op::Append(names, data) => {
            let file = view.open(at, &path(names), O_RDWR | O_CREAT | O_APPEND, 0o644)?;
            file.write(data).map(|len| assert_eq!(len, data.len()))
        }
        Op::Truncate(names, len) => view.truncate(&view.namei(at, &path(names), Follow::Always)?, *len),
        Op::Link(old, new) => view.link(&view.namei(at, &path(old), Follow::Never)?, at, &path(new)),
        Op::Unlink(names) => view.unlink(at, &path(names)),
        Op::Rmdir(names) => view.rmdir(at, &path(names)),
        Op::Rename(from, to, flags) => {
            let (from, to) = (view.parent(at, &path(from))?, view.parent(at, &path(to))?);
            view.rename_found(from, to, *flags)
        }
    }
}

/// Checks that the directory `at` shows what the model has there, with right link counts and contents.
fn compare(view: &View<'_>, model: &Model, at: &[u8], tree: &BTreeMap<&'static str, Tree>) {
    let directory = view.open(&view.cwd, at, 0, 0).unwrap();
    let mut listed = Vec::new();
    loop {
        let batch = directory.getdents(view, 64).unwrap();
        if batch.is_empty() {
            break;
        }
        listed.extend(Dirents::new(&batch).map(|entry| entry.name.to_vec()));
    }
    assert_eq!(listed[..2], [b".".to_vec(), b"..".to_vec()]);
    let mut names = listed.split_off(2);
    names.sort();
    assert_eq!(names, tree.keys().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>());
    let below = tree.values().filter(|entry| matches!(entry, Tree::Directory(_))).count();
    assert_eq!(directory.stat().unwrap().st_nlink, below as u32 + 2);
    for (name, entry) in tree {
        let path = [at, b"/", name.as_bytes()].concat();
        let found = view.namei(&view.cwd, &path, Follow::Never).unwrap();
        match entry {
            Tree::Directory(below) => {
                assert_eq!(view.path_of(&found), Ok(path.clone()));
                compare(view, model, &path, below);
            }
            Tree::File(number) => {
                assert_eq!(found.node.vnode().kind, Kind::Regular);
                assert_eq!(found.node.attr().nlink as usize, links(&model.root, *number));
                let mut buf = vec![0xff; model.files[*number].len() + 9];
                let len = found.node.read_at(0, &mut buf).unwrap();
                assert!(buf[..len] == model.files[*number]);
            }
        }
    }
}

fn links(tree: &Tree, number: usize) -> usize {
    match tree {
        Tree::File(other) => usize::from(*other == number),
        Tree::Directory(entries) => entries.values().map(|entry| links(entry, number)).sum(),
    }
}

fn names() -> impl Strategy<Value = Names> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    let data = || prop::collection::vec(any::<u8>(), 0..50);
    let offset = || prop_oneof![0..100u64, 4000..4200u64, 65_500..65_600u64, 130_000..200_000u64];
    prop_oneof![
        3 => names().prop_map(Op::Mkdir),
        3 => (names(), offset(), data()).prop_map(|(names, offset, data)| Op::Write(names, offset, data)),
        1 => (names(), data()).prop_map(|(names, data)| Op::Append(names, data)),
        1 => (names(), offset()).prop_map(|(names, len)| Op::Truncate(names, len)),
        2 => (names(), names()).prop_map(|(old, new)| Op::Link(old, new)),
        2 => names().prop_map(Op::Unlink),
        2 => names().prop_map(Op::Rmdir),
        3 => (names(), names()).prop_map(|(from, to)| Op::Rename(from, to, 0)),
        1 => (names(), names()).prop_map(|(from, to)| Op::Rename(from, to, RENAME_NOREPLACE)),
        2 => (names(), names()).prop_map(|(from, to)| Op::Rename(from, to, RENAME_EXCHANGE)),
    ]
}

proptest! {
    #[test]
    fn the_tmpfs_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let host: Arc<dyn Rumpuser> = SimHost::new(1);
        let vfs = Vfs::boot(host, &Config::default()).unwrap();
        let view = vfs.root_view().unwrap();
        let mut model = Model::new();
        for op in &ops {
            prop_assert_eq!(apply(&view, op), model.apply(op), "{:?}", op);
        }
        let Tree::Directory(root) = &model.root else { unreachable!("the root is a directory") };
        compare(&view, &model, b"/tmp", root);
    }
}
