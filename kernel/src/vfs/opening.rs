//! From a path to an open file (open(2), openat2(2)).

use std::sync::Arc;

use abi::fcntl::{
    O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOFOLLOW, O_PATH, O_RDONLY, O_TMPFILE, O_TRUNC, O_WRONLY,
};
use abi::mount::MNT_NODEV;
use abi::{Errno, Result};

use super::namei::{Follow, Last};
use super::{Dir, Kind, View, VnodeFile, perm};

/// What is to be opened.
struct Opened {
    found: Dir,
    /// Whether it was just made.
    made: bool,
    /// The directory that it is in and its name there, if it came by one.
    name: Option<(Dir, Vec<u8>)>,
}

fn named(dir: Dir, last: Last) -> Option<(Dir, Vec<u8>)> {
    if let Last::Name(name) = last { Some((dir, name)) } else { None }
}

impl View<'_> {
    /// Opens `path` (open(2)). A fifo's opener must then [`VnodeFile::meet`] its partner.
    ///
    /// `ELOOP` for a symbolic link with `O_NOFOLLOW`, as Linux says (NetBSD: `EFTYPE`); `EISDIR` for writing a directory;
    /// `ENXIO` for a socket, as Linux says (NetBSD: `EOPNOTSUPP`), and for a device that does not exist; `EACCES` for one on a mount
    /// with `nodev`.
    pub fn open(&self, at: &Dir, path: &[u8], flags: i32, mode: u32) -> Result<Arc<VnodeFile>> {
        let follow = if flags & O_NOFOLLOW == 0 { Follow::Always } else { Follow::WithSlash };
        let opened = match () {
            () if flags & O_TMPFILE != 0 => self.create_unnamed(&self.namei(at, path, follow)?, flags, mode)?,
            () if flags & O_CREAT != 0 => self.create(at, path, flags, mode)?,
            () => self.existing(at, path, follow)?,
        };
        self.open_found(opened, flags)
    }

    /// Opens what is open already, whatever name it has now.
    pub fn open_again(&self, open: &VnodeFile, flags: i32) -> Result<Arc<VnodeFile>> {
        let opened = Opened { found: open.at.clone(), made: false, name: open.opened_as.clone() };
        self.open_found(opened, flags & !O_CREAT)
    }

    /// Opens a place that was found (or just made) before.
    fn open_found(&self, Opened { found, made, name }: Opened, flags: i32) -> Result<Arc<VnodeFile>> {
        if flags & O_PATH != 0 {
            // Only the place matters: no permission is asked for, no device opened, no fifo waited for.
            if flags & O_DIRECTORY != 0 && found.node.vnode().kind != Kind::Directory {
                return Err(Errno::ENOTDIR);
            }
            return Ok(Arc::new(VnodeFile::place(found).opened_as(name)));
        }
        self.may_open(&found, flags, made)?;
        if flags & O_TRUNC != 0 && !made && found.node.vnode().kind == Kind::Regular {
            self.resize(&found, 0)?;
        }
        Ok(Arc::new(VnodeFile::new(found, flags, self)?.opened_as(name)))
    }

    /// Finds what `path` names.
    fn existing(&self, at: &Dir, path: &[u8], follow: Follow) -> Result<Opened> {
        let target = self.walk(at, path, follow)?;
        let found = target.found.ok_or(Errno::ENOENT)?;
        let found = if target.slash { found.directory()? } else { found };
        Ok(Opened { found, made: false, name: named(target.dir, target.last) })
    }

    /// Finds what `path` names, or makes a file there.
    fn create(&self, at: &Dir, path: &[u8], flags: i32, mode: u32) -> Result<Opened> {
        if flags & O_DIRECTORY != 0 {
            return Err(Errno::EINVAL);
        }
        let exclusive = flags & O_EXCL != 0;
        let follow = if exclusive || flags & O_NOFOLLOW != 0 { Follow::Never } else { Follow::Always };
        if path.ends_with(b"/") && matches!(self.parent(at, path)?.last, Last::Name(_)) {
            return Err(Errno::EISDIR);
        }
        loop {
            let target = self.walk(at, path, follow)?;
            if exclusive && target.found.is_some() {
                return Err(Errno::EEXIST);
            }
            if target.slash || !matches!(target.last, Last::Name(_)) {
                return Err(Errno::EISDIR);
            }
            if let Some(found) = target.found {
                return Ok(Opened { found, made: false, name: named(target.dir, target.last) });
            }
            match self.make(&target, Kind::Regular, mode & 0o7777, 0, b"") {
                Ok(node) => {
                    let found = Dir { mount: target.dir.mount.clone(), node };
                    return Ok(Opened { found, made: true, name: named(target.dir, target.last) });
                }
                // Somebody else was faster: open theirs.
                Err(Errno::EEXIST) if !exclusive => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Makes a file without a name on the file system of a directory; with `O_EXCL` it never gets one.
    fn create_unnamed(&self, dir: &Dir, flags: i32, mode: u32) -> Result<Opened> {
        let dir = dir.clone().directory()?;
        self.may_change(&dir)?;
        let new = self.new_node(&dir, Kind::Regular, mode & 0o7777, 0, b"");
        let node = dir.node.create_unnamed(&new, flags & O_EXCL == 0)?;
        // As Linux shows one.
        let name = format!("#{}", node.vnode().ino).into_bytes();
        Ok(Opened { found: Dir { mount: dir.mount.clone(), node }, made: true, name: Some((dir, name)) })
    }

    /// Judges an open in the order of Linux: what it is, then permissions, then what there is to open.
    fn may_open(&self, found: &Dir, flags: i32, made: bool) -> Result<()> {
        let kind = found.node.vnode().kind;
        let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
        match kind {
            Kind::Directory if flags & O_CREAT != 0 => return Err(Errno::EISDIR),
            Kind::Directory if writes => return Err(Errno::EISDIR),
            Kind::Directory => {}
            _ if flags & O_DIRECTORY != 0 && flags & O_TMPFILE == 0 => return Err(Errno::ENOTDIR),
            Kind::Symlink => return Err(Errno::ELOOP),
            Kind::Character | Kind::Block if found.mount.flags() & MNT_NODEV != 0 => return Err(Errno::EACCES),
            _ => {}
        }
        if made {
            return Ok(());
        }
        if writes && matches!(kind, Kind::Regular | Kind::Directory) {
            found.mount.writable()?;
        }
        let read = if flags & O_ACCMODE != O_WRONLY { perm::READ } else { 0 };
        perm::access(&*found.node, &self.cred, read | if writes { perm::WRITE } else { 0 })?;
        if flags & O_NOATIME != 0 {
            perm::owner(&found.node.attr(), &self.cred)?;
        }
        if kind == Kind::Socket { Err(Errno::ENXIO) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::File;
    use crate::vfs::testing;
    use abi::fcntl::{O_RDWR, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV};

    #[test]
    fn open_checks_what_it_finds() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let open = |path: &[u8], flags| view.open(&view.cwd, path, flags, 0o644).map(drop);
        view.symlink(b"/tmp/made", &view.cwd, b"/tmp/link").unwrap();
        view.mknod(&view.cwd, b"/tmp/socket", Kind::Socket, 0o644, 0).unwrap();
        assert_eq!(open(b"/tmp/made", O_RDONLY), Err(Errno::ENOENT));
        assert_eq!(open(b"/tmp/link", O_WRONLY | O_CREAT | O_EXCL), Err(Errno::EEXIST));
        assert_eq!(open(b"/tmp/link", O_RDONLY | O_NOFOLLOW), Err(Errno::ELOOP));
        assert_eq!(open(b"/tmp/link", O_WRONLY | O_CREAT), Ok(()));
        assert_eq!(open(b"/tmp/made", O_WRONLY | O_CREAT | O_EXCL), Err(Errno::EEXIST));
        assert_eq!(open(b"/tmp/made/", O_RDONLY), Err(Errno::ENOTDIR));
        assert_eq!(open(b"/tmp/other/", O_WRONLY | O_CREAT), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp/made", O_RDONLY | O_DIRECTORY), Err(Errno::ENOTDIR));
        assert_eq!(open(b"/tmp", O_RDONLY | O_CREAT), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp", O_WRONLY), Err(Errno::EISDIR));
        assert_eq!(open(b"/tmp", O_RDONLY | O_DIRECTORY), Ok(()));
        assert_eq!(open(b"/tmp/socket", O_RDONLY), Err(Errno::ENXIO));
    }

    #[test]
    fn a_place_is_opened_whatever_it_is() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.symlink(b"nowhere", &view.cwd, b"/tmp/link").unwrap();
        view.mknod(&view.cwd, b"/tmp/fifo", Kind::Fifo, 0, 0).unwrap();
        let place =
            |path: &[u8], flags| view.open(&view.cwd, path, O_PATH | flags, 0).map(|file| file.at.node.vnode().kind);
        assert_eq!(place(b"/tmp/link", O_NOFOLLOW), Ok(Kind::Symlink));
        assert_eq!(place(b"/tmp/link", 0), Err(Errno::ENOENT));
        assert_eq!(place(b"/tmp/fifo", 0), Ok(Kind::Fifo));
        assert_eq!(place(b"/tmp/fifo", O_DIRECTORY), Err(Errno::ENOTDIR));
        assert_eq!(place(b"/tmp", O_DIRECTORY), Ok(Kind::Directory));
    }

    #[test]
    fn a_file_without_a_name_can_be_given_one() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let unnamed = |flags| view.open(&view.cwd, b"/tmp", O_TMPFILE | O_DIRECTORY | O_RDWR | flags, 0o600).unwrap();
        let file = unnamed(0);
        assert_eq!((file.write(b"content"), file.stat().unwrap().st_nlink), (Ok(7), 0));
        assert_eq!(view.link(&file.at, &view.cwd, b"/tmp/named"), Ok(()));
        assert_eq!(file.stat().unwrap().st_nlink, 1);
        view.unlink(&view.cwd, b"/tmp/named").unwrap();
        assert_eq!(view.link(&file.at, &view.cwd, b"/tmp/named"), Err(Errno::ENOENT));
        assert_eq!(view.link(&unnamed(O_EXCL).at, &view.cwd, b"/tmp/named"), Err(Errno::ENOENT));
    }

    #[test]
    fn an_open_file_knows_its_name() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.mkdir(&view.cwd, b"/tmp/d", 0o755).unwrap();
        let file = view.open(&view.cwd, b"/tmp/a", O_RDWR | O_CREAT, 0o600).unwrap();
        let dir = view.open(&view.cwd, b"/tmp/d/.", O_RDONLY, 0).unwrap();
        let path = |file: &VnodeFile| view.path_of_open(file).map(|path| String::from_utf8(path).unwrap());
        assert_eq!((path(&file), path(&dir)), (Ok("/tmp/a".into()), Ok("/tmp/d".into())));
        view.rename(&view.cwd, b"/tmp/a", &view.cwd, b"/tmp/d/b").unwrap();
        assert_eq!(path(&file), Ok("/tmp/d/b".into()));
        let again = view.open_again(&file, O_RDONLY).unwrap();
        view.unlink(&view.cwd, b"/tmp/d/b").unwrap();
        view.open(&view.cwd, b"/tmp/a", O_RDWR | O_CREAT, 0o600).unwrap();
        assert_eq!((path(&file), path(&again)), (Ok("/tmp/a (deleted)".into()), Ok("/tmp/a (deleted)".into())));
        let unnamed = view.open(&view.cwd, b"/tmp/d", O_TMPFILE | O_DIRECTORY | O_RDWR, 0o600).unwrap();
        assert!(path(&unnamed).unwrap().starts_with("/tmp/d/#"));
        view.rmdir(&view.cwd, b"/tmp/d").unwrap();
        assert_eq!((path(&unnamed), path(&dir)), (Err(Errno::ENOENT), Err(Errno::ENOENT)));
    }

    #[test]
    fn a_walk_keeps_to_its_restrictions() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        view.mkdir(&view.cwd, b"/tmp/d", 0o755).unwrap();
        view.symlink(b"..", &view.cwd, b"/tmp/d/up").unwrap();
        let (tmp, root) = (view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap(), view.cwd.clone());
        let mut walk = |resolve, at: &Dir, path: &[u8]| {
            view.resolve = resolve;
            view.namei(at, path, Follow::Always).map(drop)
        };
        assert_eq!(walk(RESOLVE_BENEATH, &tmp, b"d/up/d"), Ok(()));
        assert_eq!(walk(RESOLVE_BENEATH, &tmp, b"d/up/.."), Err(Errno::EXDEV));
        assert_eq!(walk(RESOLVE_BENEATH, &tmp, b"/tmp"), Err(Errno::EXDEV));
        assert_eq!(walk(RESOLVE_NO_SYMLINKS, &tmp, b"d/up"), Err(Errno::ELOOP));
        assert_eq!(walk(RESOLVE_NO_XDEV, &root, b"dev"), Err(Errno::EXDEV));
        assert_eq!(walk(RESOLVE_NO_XDEV, &root, b"tmp/../tmp"), Ok(()));
    }
}
