//! Random operations on a tree of names, each answer and the whole tree checked against a [`Model`]: directories, files, links of both
//! kinds, the flags of open(2) and renameat2(2), files that are open while their names come and go.

use super::super::prelude::*;
use super::model::{Answer, Id, Model, Node, TOP};
use super::{Random, steps};

/// Few, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// How often everything is compared.
const CHECK_EVERY: u32 = 60;
/// Files that are held open at a time.
const HELD_MAX: usize = 4;
/// The longest that a file becomes.
const SIZE_MAX: u64 = 70_000;

/// A tree of the file system, and what it must be.
pub struct Subject {
    top: String,
    model: Model,
    /// Open files, read and written whether they have a name or not.
    held: Vec<(c_int, Id)>,
    random: Random,
    log: Vec<String>,
}

/// The outcome of a call.
fn told(value: i64) -> Answer<i64> {
    if value < 0 { Err(errno()) } else { Ok(value) }
}

impl Subject {
    /// Makes the tree in a new folder.
    pub fn new(top: &str, stream: u64) -> Self {
        let name = CString::new(top).unwrap();
        assert_eq!(unsafe { mkdir(name.as_ptr(), 0o755) }, 0, "{top}: {}", errno());
        Self {
            top: top.to_owned(),
            model: Model::new(&format!("{top}/")),
            held: Vec::new(),
            random: Random::new(stream),
            log: Vec::new(),
        }
    }

    /// Fails with the operations that led here.
    fn check<T: PartialEq + std::fmt::Debug>(&self, what: &str, got: T, expected: T) {
        if got != expected {
            let from = self.log.len().saturating_sub(40);
            let last = self.log[from..].join("\n");
            panic!("{what}: {got:?}, not {expected:?}\nafter {} steps, the last of them:\n{last}", self.log.len());
        }
    }

    fn path(&self, path: &str) -> CString {
        CString::new(format!("{}/{path}", self.top)).unwrap()
    }

    /// A path of up to three names.
    fn some(&mut self) -> String {
        let count = 1 + self.random.next() % 3;
        let names: Vec<&str> = (0..count).map(|_| NAMES[self.random.next() as usize % NAMES.len()]).collect();
        names.join("/")
    }

    /// Does one operation on both.
    pub fn step(&mut self) {
        let (one, two) = (self.some(), self.some());
        let choice = self.random.next() % 16;
        self.log.push(format!("{choice}: {one} {two}"));
        match choice {
            0 | 1 => self.make(&one),
            2 | 3 => self.open(&one),
            4 => self.target(&one, &two),
            5 => self.hard_link(&one, &two),
            6 => self.remove(&one, false),
            7 => self.remove(&one, true),
            8 | 9 => self.rename(&one, &two, 0),
            10 => self.rename(&one, &two, RENAME_NOREPLACE),
            11 => self.rename(&one, &two, RENAME_EXCHANGE),
            12 => self.cut(&one),
            13 => self.look(&one),
            _ => self.use_held(),
        }
    }

    fn make(&mut self, one: &str) {
        let done = told(unsafe { mkdir(self.path(one).as_ptr(), 0o755) }.into()).map(drop);
        let expected = self.model.mkdir(one);
        self.check("mkdir", done, expected);
    }

    fn open(&mut self, one: &str) {
        let all = [O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, O_NOFOLLOW, O_CREAT | O_NOFOLLOW, 0, O_TRUNC];
        let flags = all[self.random.next() as usize % all.len()];
        let got = told(unsafe { open(self.path(one).as_ptr(), O_RDWR | flags, 0o644) }.into());
        let expected = self.model.open(one, flags);
        self.check(&format!("open with {flags:#x}"), got.map(drop), expected.map(drop));
        if let (Ok(fd), Ok(id)) = (got, expected) {
            if self.held.len() == HELD_MAX {
                let (old, _) = self.held.swap_remove(self.random.next() as usize % HELD_MAX);
                unsafe { close(old) };
            }
            self.held.push((fd as c_int, id));
            self.write(self.held.len() - 1);
        }
    }

    fn target(&mut self, one: &str, two: &str) {
        let target = if self.random.next().is_multiple_of(4) { format!("{}/{two}", self.top) } else { two.to_owned() };
        let text = CString::new(target.clone()).unwrap();
        let done = told(unsafe { symlink(text.as_ptr(), self.path(one).as_ptr()) }.into()).map(drop);
        let expected = self.model.symlink(&target, one);
        self.check("symlink", done, expected);
    }

    fn hard_link(&mut self, one: &str, two: &str) {
        let done = told(unsafe { link(self.path(one).as_ptr(), self.path(two).as_ptr()) }.into()).map(drop);
        let expected = self.model.link(one, two);
        self.check("link", done, expected);
    }

    fn remove(&mut self, one: &str, directory: bool) {
        let name = self.path(one);
        let done = unsafe { if directory { rmdir(name.as_ptr()) } else { unlink(name.as_ptr()) } };
        let expected = if directory { self.model.rmdir(one) } else { self.model.unlink(one) };
        self.check("unlink or rmdir", told(done.into()).map(drop), expected);
    }

    fn rename(&mut self, one: &str, two: &str, flags: u32) {
        let (from, to) = (self.path(one), self.path(two));
        let done = unsafe { renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), flags) };
        let expected = self.model.rename(one, two, flags);
        self.check(&format!("rename with {flags}"), told(done.into()).map(drop), expected);
    }

    fn cut(&mut self, one: &str) {
        let len = self.random.next() % SIZE_MAX;
        let done = told(unsafe { truncate(self.path(one).as_ptr(), len as i64) }.into()).map(drop);
        let expected = self.model.truncate(one, len as usize);
        self.check("truncate", done, expected);
    }

    fn look(&mut self, one: &str) {
        for follow in [true, false] {
            let name = self.path(one);
            let mut st: stat = unsafe { zeroed() };
            let done = unsafe { if follow { stat(name.as_ptr(), &mut st) } else { lstat(name.as_ptr(), &mut st) } };
            let expected = self.model.stat(one, follow);
            self.check("stat", told(done.into()).map(drop), expected.map(drop));
            if let Ok(id) = expected {
                self.status(&st, id);
            }
        }
        let mut buf = [0u8; 300];
        let len = told(unsafe { readlink(self.path(one).as_ptr(), buf.as_mut_ptr().cast(), buf.len()) } as i64);
        let got = len.map(|len| String::from_utf8_lossy(&buf[..len as usize]).into_owned());
        self.check("readlink", got, self.model.readlink(one));
    }

    fn status(&self, st: &stat, id: Id) {
        let (kind, size) = match self.model.node(id) {
            Node::Directory { .. } => (S_IFDIR, None),
            Node::File(content) => (S_IFREG, Some(content.len() as i64)),
            Node::Link(target) => (S_IFLNK, Some(target.len() as i64)),
        };
        self.check("kind", st.st_mode & S_IFMT, kind);
        self.check("size", size.unwrap_or(st.st_size), st.st_size);
        self.check("links", st.st_nlink as usize, self.model.links(id));
    }

    fn use_held(&mut self) {
        if !self.held.is_empty() {
            let at = self.random.next() as usize % self.held.len();
            self.write(at);
            self.compare(at);
        }
    }

    fn write(&mut self, at: usize) {
        let (fd, id) = self.held[at];
        let offset = self.random.next() % SIZE_MAX;
        let len = self.random.next() as usize % 3_000;
        let data = self.random.bytes(len);
        let put = unsafe { pwrite(fd, data.as_ptr().cast(), len, offset as i64) };
        self.check("pwrite", told(put as i64), Ok(len as i64));
        let content = self.model.content(id);
        if len > 0 {
            content.resize(content.len().max(offset as usize + len), 0);
            content[offset as usize..offset as usize + len].copy_from_slice(&data);
        }
    }

    fn compare(&mut self, at: usize) {
        let (fd, id) = self.held[at];
        let mut st: stat = unsafe { zeroed() };
        self.check("fstat", unsafe { fstat(fd, &mut st) }, 0);
        self.status(&st, id);
        let expected = self.model.content(id).clone();
        let mut buf = vec![0u8; expected.len() + 10];
        let got = unsafe { pread(fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
        self.check("pread", got as usize, expected.len());
        self.check("what an open file holds", buf[..got as usize] == expected, true);
    }

    /// Compares the whole tree.
    pub fn all(&mut self) {
        (0..self.held.len()).for_each(|at| self.compare(at));
        let mut left = vec![(String::new(), TOP)];
        while let Some((path, id)) = left.pop() {
            let full = if path.is_empty() { self.top.clone() } else { format!("{}/{path}", self.top) };
            let name = CString::new(full.clone()).unwrap();
            let mut st: stat = unsafe { zeroed() };
            self.check(&path, unsafe { lstat(name.as_ptr(), &mut st) }, 0);
            self.status(&st, id);
            match self.model.node(id) {
                Node::Directory { entries, .. } => {
                    let listed = std::fs::read_dir(&full).unwrap();
                    let mut listed: Vec<String> =
                        listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                    listed.sort();
                    self.check(&format!("the names in {path:?}"), listed, entries.keys().cloned().collect());
                    let below = |name: &String| if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                    left.extend(entries.iter().map(|(name, id)| (below(name), *id)));
                }
                Node::File(content) => {
                    let same = std::fs::read(&full).unwrap() == *content;
                    self.check(&format!("the content of {path:?}"), same, true);
                }
                Node::Link(target) => {
                    let got = std::fs::read_link(&full).unwrap();
                    self.check(&path, got.to_str(), Some(target.as_str()));
                }
            }
        }
    }
}

/// One process alone.
pub fn alone(folder: &str) {
    let mut tree = Subject::new(&format!("{folder}/tree"), 20);
    for step in 1..=steps() {
        tree.step();
        if step.is_multiple_of(CHECK_EVERY) {
            tree.all();
        }
    }
    tree.all();
    println!("all agree");
}
