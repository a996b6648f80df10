//! File systems in images that other tools made: read as they were written, and never trusted.

mod call;
mod damage;
mod fat;
mod readonly;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use abi::Result;
use abi::fcntl::{O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use kernel::config::Config;
use kernel::file::File;
use kernel::fs::etfs::Window;
use kernel::rumpuser::Rumpuser;
use kernel::rumpuser::sim::SimHost;
use kernel::vfs::namei::Follow;
use kernel::vfs::{Attr, Kind, Vfs};

/// A kernel with a disk, on a simulated host.
pub struct Machine {
    pub host: Arc<SimHost>,
    pub vfs: Vfs,
}

impl Machine {
    /// Boots with `image` as `/disk`.
    pub fn new(image: &[u8]) -> Self {
        Self::boot(image, &Config::default())
    }

    /// Boots as `config` says.
    pub fn boot(image: &[u8], config: &Config) -> Self {
        let host = SimHost::new(7);
        host.put_file("/disk", image);
        let rumpuser: Arc<dyn Rumpuser> = host.clone();
        let vfs = Vfs::boot(rumpuser, config).unwrap();
        vfs.etfs_register(b"/disk", Path::new("/disk"), Kind::Block, Window::default()).unwrap();
        vfs.root_view().unwrap().mkdir(&vfs.root().unwrap(), b"/mnt", 0o755).unwrap();
        Self { host, vfs }
    }

    /// Mounts the disk on `/mnt`.
    pub fn mount(&self, kind: &str, options: &str) -> Result<()> {
        self.vfs.root_view()?.mount(kind, b"/disk", b"/mnt", 0, options.as_bytes())
    }

    /// Boots, and mounts the image.
    pub fn with(image: &[u8], kind: &str, options: &str) -> Self {
        let machine = Self::new(image);
        machine.mount(kind, options).unwrap();
        machine
    }

    /// Takes the mount away; returns the image as it is then.
    pub fn unmount(self) -> Vec<u8> {
        self.vfs.root_view().unwrap().unmount(b"/mnt", 0).unwrap();
        self.image()
    }

    pub fn image(&self) -> Vec<u8> {
        self.host.file("/disk")
    }

    pub fn attr(&self, path: &str) -> Result<(Kind, u64, Attr)> {
        let view = self.vfs.root_view()?;
        let node = view.namei(&view.cwd, path.as_bytes(), Follow::Never)?.node;
        Ok((node.vnode().kind, node.vnode().ino, node.attr()))
    }

    pub fn names(&self, path: &str) -> Result<Vec<String>> {
        let view = self.vfs.root_view()?;
        let node = view.namei(&view.cwd, path.as_bytes(), Follow::Never)?.node;
        let mut names = Vec::new();
        node.read_dir(0, &mut |entry| {
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            names.len() < 10_000
        })?;
        Ok(names)
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let view = self.vfs.root_view()?;
        let file = view.open(&view.cwd, path.as_bytes(), O_RDONLY, 0)?;
        let (mut content, mut buf) = (Vec::new(), vec![0; 100_000]);
        while content.len() < 64 << 20 {
            match file.read(&mut buf)? {
                0 => break,
                len => content.extend_from_slice(&buf[..len]),
            }
        }
        Ok(content)
    }

    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let view = self.vfs.root_view()?;
        let file = view.open(&view.cwd, path.as_bytes(), O_WRONLY | O_CREAT | O_TRUNC, 0o644)?;
        let mut done = 0;
        while done < content.len() {
            done += file.write(&content[done..])?;
        }
        Ok(())
    }

    pub fn patch(&self, path: &str, offset: u64, content: &[u8]) -> Result<usize> {
        let view = self.vfs.root_view()?;
        view.open(&view.cwd, path.as_bytes(), O_RDWR, 0)?.write_at(offset, content)
    }

    pub fn truncate(&self, path: &str, size: u64) -> Result<()> {
        let view = self.vfs.root_view()?;
        let file = view.open(&view.cwd, path.as_bytes(), O_RDWR, 0)?;
        file.truncate(&view, size)
    }

    pub fn mkdir(&self, path: &str) -> Result<()> {
        let view = self.vfs.root_view()?;
        view.mkdir(&view.cwd, path.as_bytes(), 0o755)
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let view = self.vfs.root_view()?;
        match self.attr(path)?.0 {
            Kind::Directory => view.rmdir(&view.cwd, path.as_bytes()),
            _ => view.unlink(&view.cwd, path.as_bytes()),
        }
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let view = self.vfs.root_view()?;
        view.rename(&view.cwd, from.as_bytes(), &view.cwd, to.as_bytes())
    }

    pub fn link(&self, path: &str) -> Result<String> {
        let view = self.vfs.root_view()?;
        view.read_link(&view.cwd, path.as_bytes()).map(|target| String::from_utf8_lossy(&target).into_owned())
    }

    /// The tree below a directory: paths with the content of files, the targets of links, nothing for directories.
    pub fn tree(&self, top: &str) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut tree = BTreeMap::new();
        let mut below = vec![String::new()];
        while let Some(path) = below.pop() {
            for name in self.names(&format!("{top}/{path}")).unwrap() {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                let full = format!("{top}/{path}");
                let content = match self.attr(&full).unwrap().0 {
                    Kind::Directory => {
                        below.push(path.clone());
                        None
                    }
                    Kind::Symlink => Some(self.link(&full).unwrap().into_bytes()),
                    Kind::Fifo => continue,
                    _ => Some(self.read(&full).unwrap()),
                };
                tree.insert(path, content);
            }
        }
        tree
    }
}

/// The tree below a folder of the host.
pub fn host_tree(top: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut tree = BTreeMap::new();
    let mut below = vec![top.to_owned()];
    while let Some(folder) = below.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let content = if kind.is_dir() {
                below.push(path.clone());
                None
            } else if kind.is_symlink() {
                Some(std::fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes())
            } else if kind.is_file() {
                Some(std::fs::read(&path).unwrap())
            } else {
                continue;
            };
            tree.insert(path.strip_prefix(top).unwrap().to_string_lossy().into_owned(), content);
        }
    }
    tree
}

/// Where the commands are that make images and check them.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// Whether a command is missing that a test needs; says so.
pub fn lacks(commands: &[&str]) -> bool {
    let there = |command: &&&str| PATH.split(':').any(|folder| Path::new(folder).join(command).exists());
    let missing = commands.iter().find(|command| !there(command));
    missing.inspect(|command| eprintln!("skipped: {command} is not installed")).is_some()
}

/// Runs a shell script in `folder`; it must succeed. Returns what it printed.
pub fn sh(folder: &Path, script: &str) -> String {
    let done = Command::new("bash").args(["-ec", script]).current_dir(folder).env("PATH", PATH).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{script}\n{}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// What goes into the images: big and empty files, many of them, deep folders, long names, names that are not ASCII.
pub fn fill(folder: &Path) {
    sh(
        folder,
        "mkdir -p tree/many tree/a/b/c/d/e/f/g/h tree/empty; cd tree
         head -c 3000001 /dev/zero | tr '\\0' 'x' > big; : > nothing; printf hello > README.TXT
         seq 1 40000 > numbers; cp numbers a/b/c/d/e/f/g/h/deep
         for i in $(seq 1 300); do echo $i > many/\"file number $i\"; done
         echo long > $(printf 'n%.0s' $(seq 1 200)); echo umlaut > 'Grüße aus Köln, 漢字 und mehr'; echo dots > a.b.c.tar.gz
         touch -d '2020-02-29 12:34:56Z' README.TXT numbers; touch -d '1999-12-31 23:59:58Z' a.b.c.tar.gz",
    );
}
