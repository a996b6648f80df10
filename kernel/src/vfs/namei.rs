//! From a path to a place (namei(9)).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::fcntl::{RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV};
use abi::{Errno, Result};

use super::{Dir, Kind, Mount, Node, View, VnodeFile, perm};

/// The longest path, without its NUL.
const PATH_LENGTH: usize = crate::usermem::PATH_MAX - 1;
/// Symbolic links that one walk follows at most (Linux's `MAXSYMLINKS`; NetBSD's is 32).
const SYMLINKS_MAX: u32 = 40;

/// What to do with a symbolic link in the last component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Follow it.
    Always,
    /// Follow it only if a slash comes after it: `lstat("link/")`.
    WithSlash,
    /// Take it for itself: making and removing names.
    Never,
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// A name.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// None: the path is all slashes.
    Root,
}

/// Where a path leads.
pub struct Target {
    /// The directory of the last component.
    pub dir: Dir,
    /// The last component.
    pub last: Last,
    /// Whether slashes follow it.
    pub slash: bool,
    /// What it names, if that exists; the topmost mount there.
    pub found: Option<Dir>,
}

impl View<'_> {
    /// Returns what `path` names, starting at `at` if it is relative.
    ///
    /// `ENOENT` if it does not exist or is empty, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EXDEV` for what
    /// [`View::resolve`] forbids; see path_resolution(7).
    pub fn namei(&self, at: &Dir, path: &[u8], follow: Follow) -> Result<Dir> {
        let target = self.walk(at, path, follow)?;
        let found = target.found.ok_or(Errno::ENOENT)?;
        if target.slash { found.directory() } else { Ok(found) }
    }

    /// Walks `path` as far as the directory of its last component, and looks that up.
    pub fn walk(&self, at: &Dir, path: &[u8], follow: Follow) -> Result<Target> {
        self.walk_to(at, path, Some(follow))
    }

    /// Walks `path` as far as the directory of its last component, for who has something to check before [`View::look_up`].
    pub fn parent(&self, at: &Dir, path: &[u8]) -> Result<Target> {
        self.walk_to(at, path, None)
    }

    /// Looks the last component of a path up, itself if it is a symbolic link; `ENAMETOOLONG`, and `ENOENT` in a removed directory.
    pub fn look_up(&self, target: &mut Target) -> Result<()> {
        let Last::Name(name) = &target.last else { return Ok(()) };
        if target.found.is_some() {
            // The host shows it.
            return Ok(());
        }
        if name.len() > target.dir.mount.fs.name_max() {
            return Err(Errno::ENAMETOOLONG);
        }
        target.dir.is_alive()?;
        target.found = self.child(&target.dir, name)?;
        Ok(())
    }

    /// Walks a path; without `follow` the last component is not looked up.
    fn walk_to(&self, at: &Dir, path: &[u8], follow: Option<Follow>) -> Result<Target> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() > PATH_LENGTH {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut dir = self.start(at, path)?;
        let mut path = path.to_vec();
        let mut rest = 0;
        let mut links = 0;
        loop {
            rest += slashes(&path[rest..]);
            let begin = rest;
            let name = component(&path[begin..]).to_vec();
            rest += name.len();
            let after = slashes(&path[rest..]);
            let (is_last, slash) = (rest + after == path.len(), after > 0);
            if name.is_empty() {
                return Ok(Target { dir: dir.clone(), last: Last::Root, slash, found: Some(dir) });
            }
            self.may_search(&dir)?;
            if let Some(found) = self.vfs.shown_by_host(&dir, &path[begin..]) {
                let last = Last::Name(path[begin..].to_vec());
                return Ok(Target { dir, last, slash: false, found: Some(found) });
            }
            if let (None, true) = (follow, is_last)
                && !matches!(name.as_slice(), b"." | b"..")
            {
                return Ok(Target { dir, last: Last::Name(name), slash, found: None });
            }
            let mut found = match name.as_slice() {
                b"." => Some(dir.clone()),
                b".." if dir.same(at) && self.refuses(RESOLVE_BENEATH) => return Err(Errno::EXDEV),
                b".." => Some(self.above(&dir)?),
                _ => self.child(&dir, &name)?,
            };
            let crosses = |found: &Dir| !Arc::ptr_eq(&found.mount, &dir.mount);
            if self.refuses(RESOLVE_NO_XDEV) && found.as_ref().is_some_and(crosses) {
                return Err(Errno::EXDEV);
            }
            if let Some(link) = found.as_ref().filter(|found| found.node.vnode().kind == Kind::Symlink)
                && (!is_last || follow == Some(Follow::Always) || (slash && follow == Some(Follow::WithSlash)))
            {
                links += 1;
                if links > SYMLINKS_MAX || self.refuses(RESOLVE_NO_SYMLINKS) {
                    return Err(Errno::ELOOP);
                }
                // What openat2(2) keeps inside a directory goes by the path.
                let there = if self.resolve == 0 { link.node.leads_to(&link.mount)? } else { None };
                if there.is_none() {
                    path = spliced(self.inside(&link.node.read_link()?), &path[rest..])?;
                    link.accessed();
                    rest = 0;
                    dir = self.start(&dir, &path)?;
                    continue;
                }
                found = there;
            }
            if is_last {
                let last = match name.as_slice() {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ => Last::Name(name),
                };
                return Ok(Target { dir, last, slash, found });
            }
            dir = found.ok_or(Errno::ENOENT)?;
        }
    }

    /// Returns a link's target as the kernel knows it: without the prefix under which the program made it.
    ///
    /// rumphijack(3) has targets as names of the rump kernel only; then `ln -s /rump/a /rump/b` makes a link to nowhere.
    fn inside<'t>(&self, target: &'t [u8]) -> &'t [u8] {
        let stripped = self.prefix.as_deref().and_then(|prefix| target.strip_prefix(prefix));
        match stripped {
            Some(b"") => b"/",
            Some(rest) if rest.starts_with(b"/") => rest,
            _ => target,
        }
    }

    /// Where a path or the target of a link begins; `EXDEV` if it may not begin at the root.
    fn start(&self, at: &Dir, path: &[u8]) -> Result<Dir> {
        if !path.starts_with(b"/") {
            return Ok(at.clone());
        }
        let crosses = !Arc::ptr_eq(&self.root.mount, &at.mount);
        if self.refuses(RESOLVE_BENEATH) || (crosses && self.refuses(RESOLVE_NO_XDEV)) {
            return Err(Errno::EXDEV);
        }
        Ok(self.root.clone())
    }

    fn refuses(&self, what: u32) -> bool {
        self.resolve & what != 0
    }

    fn may_search(&self, dir: &Dir) -> Result<()> {
        if dir.node.vnode().kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        perm::access(&*dir.node, &self.cred, perm::EXEC)
    }

    /// Returns the entry of a directory, or the root of what is mounted on it.
    fn child(&self, dir: &Dir, name: &[u8]) -> Result<Option<Dir>> {
        if name.len() > dir.mount.fs.name_max() {
            return Err(Errno::ENAMETOOLONG);
        }
        dir.mount.alive()?;
        match dir.node.lookup(name) {
            Ok(node) => Ok(Some(self.vfs.topmost(Dir { mount: dir.mount.clone(), node }))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the directory above `dir`, which is `dir` itself at the process's root.
    pub fn above(&self, dir: &Dir) -> Result<Dir> {
        dir.mount.alive()?;
        let mut dir = dir.clone();
        while !dir.same(&self.root) {
            if !super::node::same(&dir.node, &dir.mount.root) {
                let node = dir.node.parent()?;
                return Ok(self.vfs.topmost(Dir { mount: dir.mount, node }));
            }
            let Some(covered) = dir.mount.covered.clone() else { break };
            dir = covered;
        }
        Ok(dir)
    }

    /// Returns the path from the process's root to a directory.
    ///
    /// `ENOENT` if the directory is removed or lies outside of the root.
    pub fn path_of(&self, dir: &Dir) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        let mut dir = dir.clone();
        while !dir.same(&self.root) {
            if super::node::same(&dir.node, &dir.mount.root) {
                dir = dir.mount.covered.clone().ok_or(Errno::ENOENT)?;
                continue;
            }
            let above = dir.node.parent()?;
            names.push(name_in(&above, &dir.node)?);
            dir.node = above;
        }
        if names.is_empty() {
            return Ok(b"/".to_vec());
        }
        Ok(names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect())
    }

    /// Returns the path of an open file as Linux shows it in `/proc/PID/fd`: its name now; if it has none any more, the one
    /// that it was opened by, with ` (deleted)` behind it.
    ///
    /// Of several names it is the one that it was opened by, as long as that is there. `ENOENT` if the directory that it was in is gone too.
    pub fn path_of_open(&self, file: &VnodeFile) -> Result<Vec<u8>> {
        let node = &file.at.node;
        if node.vnode().kind == Kind::Directory
            && let Ok(path) = self.path_of(&file.at)
        {
            return Ok(path);
        }
        let (dir, name) = file.opened_as.as_ref().ok_or(Errno::ENOENT)?;
        let is_there = |found: Arc<dyn Node>| super::node::same(&found, node);
        if dir.node.lookup(name).is_ok_and(is_there) {
            return self.path_in(dir, name);
        }
        let exists = node.vnode().kind != Kind::Directory && node.attr().nlink > 0;
        match if exists { moved_to(dir, node) } else { None } {
            Some((dir, name)) => self.path_in(&dir, &name),
            None => Ok([self.path_in(dir, name)?.as_slice(), b" (deleted)"].concat()),
        }
    }

    /// Returns the path of `name` in a directory.
    fn path_in(&self, dir: &Dir, name: &[u8]) -> Result<Vec<u8>> {
        let above = self.path_of(dir)?;
        Ok([above.strip_suffix(b"/").unwrap_or(&above), b"/", name].concat())
    }
}

/// Finds a name of `node`, which is no longer called as it was in `dir`: there first, then anywhere on its file system.
fn moved_to(dir: &Dir, node: &Arc<dyn Node>) -> Option<(Dir, Vec<u8>)> {
    let top = Dir { mount: dir.mount.clone(), node: dir.mount.root.clone() };
    let mut below = vec![top, dir.clone()];
    while let Some(dir) = below.pop() {
        if let Ok(name) = name_in(&dir.node, node) {
            return Some((dir, name));
        }
        let mut names = Vec::new();
        let read = dir.node.read_dir(0, &mut |entry| {
            if entry.kind == Kind::Directory && !matches!(entry.name, b"." | b"..") {
                names.push(entry.name.to_vec());
            }
            true
        });
        let directories = names.iter().flat_map(|name| dir.node.lookup(name));
        // A file system of which a directory was removed meanwhile has one less.
        if read.is_ok() {
            below.extend(directories.map(|node| Dir { mount: dir.mount.clone(), node }));
        }
    }
    None
}

/// Returns the name of `node` in the directory `above`.
fn name_in(above: &Arc<dyn Node>, node: &Arc<dyn Node>) -> Result<Vec<u8>> {
    let mut name = None;
    above.read_dir(0, &mut |entry| {
        let hit = entry.ino == node.vnode().ino;
        if hit {
            name = Some(entry.name.to_vec());
        }
        !hit
    })?;
    name.ok_or(Errno::ENOENT)
}

impl super::Vfs {
    /// Returns what the host shows under the key `rest`, if `dir` is the root directory.
    fn shown_by_host(&self, dir: &Dir, rest: &[u8]) -> Option<Dir> {
        let node = self.etfs.lookup(rest)?;
        let root = self.root()?;
        dir.same(&root).then_some(Dir { mount: root.mount, node })
    }

    /// Returns the root of the topmost mount on `at`, or `at` itself.
    pub(super) fn topmost(&self, at: Dir) -> Dir {
        if at.node.vnode().covers.load(Ordering::Acquire) == 0 {
            return at;
        }
        topmost(&super::mount::read(&self.mounts), at)
    }
}

/// Returns the root of the topmost of `mounts` on `at`, or `at` itself.
pub(super) fn topmost(mounts: &[Arc<Mount>], at: Dir) -> Dir {
    let mut at = at;
    while at.node.vnode().covers.load(Ordering::Acquire) > 0 {
        let over = mounts.iter().find(|mount| mount.covered.as_ref().is_some_and(|covered| covered.same(&at)));
        match over {
            Some(mount) => at = Dir { node: mount.root.clone(), mount: mount.clone() },
            None => break,
        }
    }
    at
}

fn slashes(path: &[u8]) -> usize {
    path.iter().take_while(|byte| **byte == b'/').count()
}

fn component(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Puts the target of a link before the rest of the path.
fn spliced(target: &[u8], rest: &[u8]) -> Result<Vec<u8>> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    Ok([target, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testing;

    fn kind(view: &View<'_>, path: &[u8], follow: Follow) -> Result<Kind> {
        view.namei(&view.cwd, path, follow).map(|found| found.node.vnode().kind)
    }

    #[test]
    fn dots_stop_at_the_root_and_cross_mounts() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        let root = view.root.clone();
        for path in [&b"/.."[..], b"/../..", b"/dev/..", b"/./dev/../dev/.././", b"/tmp/.."] {
            assert!(view.namei(&root, path, Follow::Always).unwrap().same(&root), "{path:?}");
        }
        let dev = view.namei(&root, b"dev", Follow::Always).unwrap();
        assert!(view.namei(&dev, b"../dev", Follow::Always).unwrap().same(&dev));
        assert_eq!(view.path_of(&dev), Ok(b"/dev".to_vec()));
    }

    #[test]
    fn a_changed_root_is_not_left() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        view.mkdir(&view.cwd, b"/tmp/a", 0o755).unwrap();
        view.root = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
        view.cwd = view.root.clone();
        assert!(view.namei(&view.cwd, b"/../../a", Follow::Always).is_ok());
        assert_eq!(kind(&view, b"/etc", Follow::Always), Err(Errno::ENOENT));
    }

    #[test]
    fn links_are_followed_up_to_a_limit() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        view.symlink(b"loop", &view.cwd, b"/loop").unwrap();
        view.symlink(b"tmp/", &view.cwd, b"/link").unwrap();
        assert_eq!(kind(&view, b"/loop", Follow::Always), Err(Errno::ELOOP));
        assert_eq!(kind(&view, b"/loop", Follow::WithSlash), Ok(Kind::Symlink));
        assert_eq!(kind(&view, b"/link", Follow::WithSlash), Ok(Kind::Symlink));
        assert_eq!(kind(&view, b"/link/", Follow::WithSlash), Ok(Kind::Directory));
        assert_eq!(kind(&view, b"/link/../etc", Follow::Always), Ok(Kind::Directory));
    }

    #[test]
    fn a_link_may_begin_with_the_path_by_which_the_program_reaches_the_root() {
        let vfs = testing::boot();
        let mut view = vfs.root_view().unwrap();
        for (name, target) in [(b"/a", b"/rump/tmp/" as &[u8]), (b"/b", b"/rump"), (b"/c", b"/rumpelstiltskin")] {
            view.symlink(target, &view.cwd, name).unwrap();
        }
        assert_eq!(kind(&view, b"/a", Follow::Always), Err(Errno::ENOENT));
        view.prefix = Some(b"/rump".as_slice().into());
        assert_eq!(kind(&view, b"/a", Follow::Always), Ok(Kind::Directory));
        assert_eq!(kind(&view, b"/b/tmp", Follow::Always), Ok(Kind::Directory));
        assert_eq!(kind(&view, b"/c", Follow::Always), Err(Errno::ENOENT));
        assert_eq!(kind(&view, b"/rump/tmp", Follow::Always), Err(Errno::ENOENT));
    }

    #[test]
    fn lengths_and_empty_paths_are_checked() {
        let vfs = testing::boot();
        let view = vfs.root_view().unwrap();
        assert_eq!(kind(&view, b"", Follow::Always), Err(Errno::ENOENT));
        assert_eq!(kind(&view, &[b'a'; 256], Follow::Always), Err(Errno::ENAMETOOLONG));
        assert_eq!(kind(&view, &[b'a'; 255], Follow::Always), Err(Errno::ENOENT));
        assert_eq!(kind(&view, &[b'/'; 4096], Follow::Always), Err(Errno::ENAMETOOLONG));
        assert_eq!(kind(&view, &[b'/'; 4095], Follow::Always), Ok(Kind::Directory));
        assert_eq!(kind(&view, b"/dev/null/", Follow::Always), Err(Errno::ENOTDIR));
        assert_eq!(kind(&view, b"/dev/null/x", Follow::Always), Err(Errno::ENOTDIR));
        assert_eq!(kind(&view, b"/none/x", Follow::Always), Err(Errno::ENOENT));
    }
}
