//! `snapshot` and `restore`: the tree of the root file system as a tar archive.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use abi::fcntl::{
    AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY, RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
};
use abi::stat::{S_IFBLK, S_IFCHR, makedev};
use abi::time::Timespec;
use abi::{Errno, Fd, In, Out, Pad, UserStr};
use anyhow::{Context, bail, ensure};
use client::{Caller, stubs};
use tar::{Archive, EntryType, GnuExtSparseHeader, Header};

/// Bytes moved at a time.
const PIECE_BYTES: usize = 1 << 20;
/// A block of an archive.
const BLOCK: usize = 512;

/// Saves the root file system.
#[derive(clap::Args)]
pub struct Snapshot {
    /// The tar archive to write; what was there stays until all is written
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Brings back what was saved.
#[derive(clap::Args)]
pub struct Restore {
    /// A tar archive, written by snapshot or another tool
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
}

impl Snapshot {
    /// Writes the archive; the answer names what is not in it.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let shown = || self.file.display().to_string();
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(shown)?;
        let fd = stubs::snapshot(kernel).map_err(|errno| anyhow::anyhow!("snapshot: {errno}"))?;
        let copied = copy(kernel, fd, file.as_file_mut());
        let _ = stubs::close(kernel, fd);
        copied.with_context(shown)?;
        let lines = comments(file.as_file_mut()).with_context(shown)?;
        file.as_file().sync_all().with_context(shown)?;
        file.persist(&self.file).map_err(|error| error.error).with_context(shown)?;
        Ok(lines)
    }
}

/// Writes all that a descriptor of the kernel gives.
fn copy(kernel: &dyn Caller, fd: Fd, file: &mut File) -> anyhow::Result<()> {
    let mut bytes = vec![0; PIECE_BYTES];
    loop {
        let got = stubs::read(kernel, fd, Out::new(bytes.as_mut_slice()), PIECE_BYTES);
        match got.map_err(|errno| anyhow::anyhow!("the kernel: {errno}"))? {
            0 => return Ok(()),
            got => file.write_all(&bytes[..got])?,
        }
    }
}

/// Reads what was written once more, to its end, and returns the comments in it.
fn comments(file: &mut File) -> anyhow::Result<Vec<String>> {
    file.rewind()?;
    let mut found = Vec::new();
    let mut archive = Archive::new(file);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            let text = String::from_utf8_lossy(&text);
            found.extend(text.lines().filter_map(|line| line.split_once("comment=")).map(|(_, text)| text.to_owned()));
        }
    }
    Ok(found)
}

/// A piece of a file's data: its offset in the file, its offset in the archive, its length.
type Piece = (u64, u64, u64);

/// What an entry says, checked.
struct Entry {
    /// The names from the root; none for the root itself.
    path: Vec<Vec<u8>>,
    kind: EntryType,
    mode: u32,
    uid: u32,
    gid: u32,
    atime: Option<Timespec>,
    mtime: Timespec,
    device: u64,
    /// Target of a link.
    link: Vec<u8>,
    /// Length of a file, and where its data stands.
    size: u64,
    pieces: Vec<Piece>,
}

impl Restore {
    /// Checks the whole archive, then makes what is in it.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        let shown = || self.file.display().to_string();
        let file = File::open(&self.file).with_context(shown)?;
        let (entries, lines) = read(&file).with_context(shown)?;
        let root = Tree::open(kernel)?;
        for entry in &entries {
            let made = root.make(entry, &file);
            let done = made.and_then(|()| if entry.kind == EntryType::Directory { Ok(()) } else { root.finish(entry) });
            done.with_context(|| format!("{}: {}", shown(), entry.name()))?;
        }
        // Each after what was made in it.
        for entry in entries.iter().rev().filter(|entry| entry.kind == EntryType::Directory) {
            root.finish(entry).with_context(|| format!("{}: {}", shown(), entry.name()))?;
        }
        Ok(lines)
    }
}

/// Reads all entries; the lines name those that cannot be brought back. Nothing in an archive is believed before it is checked.
fn read(file: &File) -> anyhow::Result<(Vec<Entry>, Vec<String>)> {
    let length = file.metadata()?.len();
    let (mut entries, mut lines) = (Vec::new(), Vec::new());
    let mut reader = file;
    reader.rewind()?;
    let mut archive = Archive::new(reader);
    for found in archive.entries()? {
        let mut found = found.context("damaged or no tar archive")?;
        let name = String::from_utf8_lossy(&found.path_bytes()).into_owned();
        match parse(&mut found, file, length).with_context(|| name.clone())? {
            Some(entry) => entries.push(entry),
            // Remarks on the archive as a whole.
            None if found.header().entry_type() == EntryType::XGlobalHeader => {}
            None => lines.push(format!("{name}: skipped")),
        }
    }
    ensure!(!entries.is_empty(), "damaged or no tar archive");
    // The reader stops after the first of the two empty blocks at the end, or where the file ends.
    let at = archive.into_inner().stream_position()?.saturating_sub(BLOCK as u64);
    let mut end = [0; 2 * BLOCK];
    let whole = file.read_exact_at(&mut end, at).is_ok() && end.iter().all(|byte| *byte == 0);
    ensure!(whole, "the archive is cut off");
    Ok((entries, lines))
}

fn parse(found: &mut tar::Entry<'_, impl Read>, file: &File, length: u64) -> anyhow::Result<Option<Entry>> {
    let kind = match found.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryType::Regular,
        kind @ (EntryType::Directory
        | EntryType::Symlink
        | EntryType::Link
        | EntryType::Fifo
        | EntryType::Char
        | EntryType::Block) => kind,
        _ => return Ok(None),
    };
    let path = names(&found.path_bytes())?;
    let link = found.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
    ensure!(!link.contains(&0), "a NUL in the target");
    if kind == EntryType::Link {
        ensure!(!names(&link)?.is_empty(), "a link to the root");
    }
    let header = found.header().clone();
    let id = |id: io::Result<u64>| -> anyhow::Result<u32> {
        u32::try_from(id?).ok().filter(|id| *id != u32::MAX).context("no such user or group")
    };
    // Before 1970 it is stored as a complement.
    let (mut atime, mut mtime) = (None, Timespec { tv_sec: header.mtime()? as i64, tv_nsec: 0 });
    for record in found.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        match record.key_bytes() {
            b"mtime" => mtime = time(record.value_bytes())?,
            b"atime" => atime = Some(time(record.value_bytes())?),
            b"GNU.sparse.major" | b"GNU.sparse.map" => bail!("this form of sparse files is not read; use --format=gnu"),
            _ => {}
        }
    }
    let begin = found.raw_file_position();
    let (mut size, mut pieces) = (0, Vec::new());
    if kind == EntryType::Regular {
        if header.entry_type() == EntryType::GNUSparse {
            (size, pieces) = sparse(&header, file, found.raw_header_position())?;
        } else {
            size = found.size();
            pieces.push((0, begin, size));
        }
    }
    for (to, from, len) in &pieces {
        let inside = |at: u64, limit: u64| at.checked_add(*len).is_some_and(|end| end <= limit);
        ensure!(inside(*from, length), "the archive is cut off");
        ensure!(inside(*to, size.min(i64::MAX as u64)), "damaged");
    }
    let device = match kind {
        EntryType::Char | EntryType::Block => {
            makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
        }
        _ => 0,
    };
    let (uid, gid, mode) = (id(header.uid())?, id(header.gid())?, header.mode()? & 0o7777);
    Ok(Some(Entry { path, kind, mode, uid, gid, atime, mtime, device, link, size, pieces }))
}

/// The names of a path, without `.`; refuses to leave the root.
fn names(path: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    ensure!(!path.starts_with(b"/"), "an absolute name");
    ensure!(!path.contains(&0), "a NUL in the name");
    let names: Vec<Vec<u8>> =
        path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect();
    ensure!(names.iter().all(|name| name != b".."), "the name leads out of the tree");
    Ok(names)
}

/// A time of an extended header: seconds with a fraction.
fn time(text: &[u8]) -> anyhow::Result<Timespec> {
    let text = str::from_utf8(text)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanos): (i64, i64) = (whole.parse()?, digits.parse()?);
    Ok(match whole.starts_with('-') && nanos > 0 {
        true => Timespec { tv_sec: seconds.checked_sub(1).context("no such time")?, tv_nsec: 1_000_000_000 - nanos },
        false => Timespec { tv_sec: seconds, tv_nsec: nanos },
    })
}

/// The length of a sparse file and its pieces, from its header at `at` and the blocks behind that.
fn sparse(header: &Header, file: &File, at: u64) -> anyhow::Result<(u64, Vec<Piece>)> {
    let gnu = header.as_gnu().context("a sparse file that is not GNU's")?;
    let mut list: Vec<(u64, u64)> = Vec::new();
    let mut add = |fields: &[tar::GnuSparseHeader]| -> anyhow::Result<()> {
        for field in fields.iter().filter(|field| !field.is_empty()) {
            list.push((field.offset()?, field.length()?));
        }
        Ok(())
    };
    add(&gnu.sparse)?;
    let (mut extended, mut data) = (gnu.is_extended(), at + BLOCK as u64);
    while extended {
        let mut block = GnuExtSparseHeader::new();
        file.read_exact_at(block.as_mut_bytes(), data).context("the archive is cut off")?;
        add(&block.sparse)?;
        (extended, data) = (block.is_extended(), data + BLOCK as u64);
    }
    let mut pieces = Vec::new();
    for (offset, len) in list.into_iter().filter(|(_, len)| *len > 0) {
        pieces.push((offset, data, len));
        data = data.checked_add(len).context("damaged")?;
    }
    Ok((gnu.real_size()?, pieces))
}

impl Entry {
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.path.join(&b'/')).into_owned()
    }
}

/// The root directory of a kernel.
struct Tree<'a> {
    kernel: &'a dyn Caller,
    root: Fd,
}

fn said(errno: Errno) -> anyhow::Error {
    anyhow::anyhow!("{errno}")
}

impl<'a> Tree<'a> {
    fn open(kernel: &'a dyn Caller) -> anyhow::Result<Self> {
        let root = stubs::open(kernel, UserStr::new(c"/"), O_RDONLY | O_DIRECTORY, 0).map_err(said)?;
        Ok(Self { kernel, root })
    }

    /// Opens a directory, through no symbolic link.
    fn directory(&self, names: &[Vec<u8>]) -> anyhow::Result<Fd> {
        let path = if names.is_empty() { b".".to_vec() } else { names.join(&b'/') };
        let path = CString::new(path)?;
        let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
        let (path, flags) = (UserStr::new(&path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        stubs::openat2(self.kernel, self.root, path, flags, 0, resolve).map_err(said)
    }

    /// Calls `done` with the directory that an entry is in, and its name there.
    fn at<T>(&self, path: &[Vec<u8>], done: impl FnOnce(Fd, UserStr) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let Some((name, above)) = path.split_last() else { return done(self.root, UserStr::new(c".")) };
        let dir = self.directory(above)?;
        let name = CString::new(name.clone())?;
        let result = done(dir, UserStr::new(&name));
        let _ = stubs::close(self.kernel, dir);
        result
    }

    /// Makes an entry, in place of what is there.
    fn make(&self, entry: &Entry, file: &File) -> anyhow::Result<()> {
        let kernel = self.kernel;
        if entry.path.is_empty() {
            ensure!(entry.kind == EntryType::Directory, "the root is a directory");
            return Ok(());
        }
        self.at(&entry.path, |dir, name| {
            if entry.kind == EntryType::Directory {
                match stubs::mkdirat(kernel, dir, name, 0o700) {
                    Err(Errno::EEXIST) if self.directory(&entry.path).map(|fd| stubs::close(kernel, fd)).is_ok() => {
                        return Ok(());
                    }
                    Err(Errno::EEXIST) => {}
                    done => return done.map_err(said),
                }
            }
            match stubs::unlinkat(kernel, dir, name, 0) {
                Err(Errno::EISDIR) => stubs::unlinkat(kernel, dir, name, AT_REMOVEDIR).map_err(said)?,
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(said(errno)),
            }
            let link = CString::new(entry.link.clone())?;
            match entry.kind {
                EntryType::Directory => stubs::mkdirat(kernel, dir, name, 0o700).map_err(said),
                EntryType::Symlink => stubs::symlinkat(kernel, UserStr::new(&link), dir, name).map_err(said),
                EntryType::Fifo => stubs::mkfifoat(kernel, dir, name, 0o600).map_err(said),
                EntryType::Char => stubs::mknodat(kernel, dir, name, S_IFCHR | 0o600, Pad, entry.device).map_err(said),
                EntryType::Block => stubs::mknodat(kernel, dir, name, S_IFBLK | 0o600, Pad, entry.device).map_err(said),
                EntryType::Link => self
                    .at(&names(&entry.link)?, |from, old| stubs::linkat(kernel, from, old, dir, name, 0).map_err(said)),
                _ => {
                    let fd = stubs::openat(kernel, dir, name, O_WRONLY | O_CREAT | O_EXCL, 0o600).map_err(said)?;
                    let filled = self.fill(fd, entry, file);
                    let _ = stubs::close(kernel, fd);
                    filled
                }
            }
        })
    }

    /// Writes the content of a file; what is all zeros becomes a hole.
    fn fill(&self, fd: Fd, entry: &Entry, file: &File) -> anyhow::Result<()> {
        let mut bytes = vec![0; PIECE_BYTES];
        for (to, from, len) in &entry.pieces {
            let mut done = 0;
            while done < *len {
                let piece = &mut bytes[..(len - done).min(PIECE_BYTES as u64) as usize];
                file.read_exact_at(piece, from + done)?;
                let mut wrote = 0;
                while wrote < piece.len() && piece.iter().any(|byte| *byte != 0) {
                    let rest = &piece[wrote..];
                    let at = (to + done + wrote as u64) as i64;
                    wrote += stubs::pwrite(self.kernel, fd, In::new(rest), rest.len(), Pad, at).map_err(said)?;
                }
                done += piece.len() as u64;
            }
        }
        stubs::ftruncate(self.kernel, fd, Pad, i64::try_from(entry.size)?).map_err(said)
    }

    /// Gives an entry its owner, permissions and times.
    fn finish(&self, entry: &Entry) -> anyhow::Result<()> {
        if entry.kind == EntryType::Link {
            return Ok(());
        }
        let kernel = self.kernel;
        self.at(&entry.path, |dir, name| {
            stubs::fchownat(kernel, dir, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW).map_err(said)?;
            if entry.kind != EntryType::Symlink {
                stubs::fchmodat(kernel, dir, name, entry.mode, AT_SYMLINK_NOFOLLOW).map_err(said)?;
            }
            let times = [entry.atime.unwrap_or(entry.mtime), entry.mtime];
            stubs::utimensat(kernel, dir, name, In::new(&times[..]), AT_SYMLINK_NOFOLLOW).map_err(said)
        })
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        let _ = stubs::close(self.kernel, self.root);
    }
}
