use abi::fcntl::{O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, O_TMPFILE};
use abi::stat::S_IFDIR;

use super::*;
use crate::config::Config;
use crate::file::File;
use crate::rumpuser::linux::LinuxHost;
use crate::rumpuser::{HostNode, Rumpuser};
use crate::vfs::namei::Follow;
use crate::vfs::{Vfs, View};

/// A folder of the real host, mounted on `/usr`.
struct Folder {
    path: std::path::PathBuf,
    vfs: Vfs,
}

impl Folder {
    fn new(name: &str, options: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hostfs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        let config = Config::default();
        let host: Arc<dyn Rumpuser> = Arc::new(LinuxHost::server(&config));
        let vfs = Vfs::boot(host, &config).unwrap();
        let folder = Folder { path, vfs };
        folder.view().mount("hostfs", folder.path.as_os_str().as_bytes(), b"/usr", 0, options.as_bytes()).unwrap();
        folder
    }

    fn view(&self) -> View<'_> {
        self.vfs.root_view().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[test]
fn an_object_is_one_node_under_all_its_names() {
    let folder = Folder::new("same", "");
    let view = folder.view();
    std::fs::write(folder.path.join("f"), "x").unwrap();
    std::fs::hard_link(folder.path.join("f"), folder.path.join("g")).unwrap();
    let node = |path: &[u8]| view.namei(&view.cwd, path, Follow::Always).unwrap().node;
    let (f, g) = (node(b"/usr/f"), node(b"/usr/g"));
    assert!(crate::vfs::node::same(&f, &g));
    let ino = f.vnode().ino;
    drop((f, g));
    assert_eq!(node(b"/usr/g").vnode().ino, ino);
    assert!(!crate::vfs::node::same(&node(b"/usr"), &node(b"/")));
}

#[test]
fn dot_dot_follows_what_the_host_moves_and_stops_outside() {
    let folder = Folder::new("up", "");
    let mut view = folder.view();
    for name in ["a/b/c", "d"] {
        std::fs::create_dir_all(folder.path.join(name)).unwrap();
    }
    view.cwd = view.namei(&view.cwd, b"/usr/a/b/c", Follow::Always).unwrap();
    assert_eq!(view.path_of(&view.cwd), Ok(b"/usr/a/b/c".to_vec()));
    std::fs::rename(folder.path.join("a/b/c"), folder.path.join("d/e")).unwrap();
    assert_eq!(view.path_of(&view.cwd), Ok(b"/usr/d/e".to_vec()));
    assert!(view.namei(&view.cwd, b"../../a", Follow::Always).is_ok());
    // What lay above now lies below: no circle.
    std::fs::rename(folder.path.join("a"), folder.path.join("d/e/a")).unwrap();
    assert!(view.namei(&view.cwd, b"a/../..", Follow::Always).is_ok());
    let outside = folder.path.with_extension("outside");
    std::fs::rename(folder.path.join("d"), &outside).unwrap();
    let deep = view.cwd.clone();
    assert!(view.namei(&deep, b"a/b", Follow::Always).is_ok());
    assert_eq!(view.namei(&deep, b"../..", Follow::Always).map(drop), Err(Errno::ENOENT));
    assert_eq!(view.namei(&deep, b"../../../etc", Follow::Always).map(drop), Err(Errno::ENOENT));
    assert_eq!(view.path_of(&deep), Err(Errno::ENOENT));
    std::fs::remove_dir_all(&outside).unwrap();
}

#[test]
fn a_directory_is_read_in_pieces_while_the_host_changes_it() {
    let folder = Folder::new("list", "");
    let view = folder.view();
    for at in 0..2000 {
        std::fs::write(folder.path.join(format!("stays{at}")), "").unwrap();
    }
    let dir = view.open(&view.cwd, b"/usr", O_RDONLY | O_DIRECTORY, 0).unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for round in 0.. {
        let piece = dir.getdents_linux(&view, 1000).unwrap();
        if piece.is_empty() {
            break;
        }
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let len = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let name = rest[19..len].split(|byte| *byte == 0).next().unwrap();
            *seen.entry(name.to_vec()).or_insert(0) += 1;
            rest = &rest[len..];
        }
        std::fs::write(folder.path.join(format!("comes{round}")), "").unwrap();
        let _ = std::fs::remove_file(folder.path.join(format!("comes{}", round - 1)));
    }
    let stayed = seen.iter().filter(|(name, _)| name.starts_with(b"stays"));
    assert!(stayed.clone().all(|(_, times)| *times == 1));
    assert_eq!((stayed.count(), seen[&b"."[..]], seen[&b".."[..]]), (2000, 1, 1));
}

#[test]
fn a_file_without_a_name_gets_one() {
    let folder = Folder::new("unnamed", "");
    let view = folder.view();
    let file = match view.open(&view.cwd, b"/usr", O_TMPFILE | O_DIRECTORY | O_RDWR, 0o640) {
        // The host's file system has no such files.
        Err(Errno::EOPNOTSUPP) => return,
        opened => opened.unwrap(),
    };
    assert_eq!((file.write(b"content"), file.stat().unwrap().st_nlink), (Ok(7), 0));
    assert_eq!(view.link(&file.at, &view.cwd, b"/usr/named"), Ok(()));
    assert_eq!(std::fs::read(folder.path.join("named")).unwrap(), b"content");
}

#[test]
fn a_read_only_mount_hands_no_descriptor_out() {
    let folder = Folder::new("share", "");
    let view = folder.view();
    std::fs::write(folder.path.join("f"), "x").unwrap();
    let file = view.open(&view.cwd, b"/usr/f", O_RDONLY, 0).unwrap();
    assert!(file.share(O_RDONLY).is_ok());
    view.mount("", b"", b"/usr", abi::mount::MNT_UPDATE, b"ro").unwrap();
    assert_eq!(file.share(O_RDONLY).map(drop), Err(Errno::EOPNOTSUPP));
    assert_eq!(view.open(&view.cwd, b"/usr/f", O_RDWR, 0).map(drop), Err(Errno::EROFS));
    assert_eq!(view.mount("", b"", b"/usr", abi::mount::MNT_UPDATE, b"dev"), Ok(()));
    assert!(folder.vfs.mounts()[2].flags() & abi::mount::MNT_NODEV != 0);
}

#[test]
fn a_socket_lasts_as_long_as_its_name() {
    let folder = Folder::new("socket", "");
    let view = folder.view();
    let node = view.mknod(&view.cwd, b"/usr/s", Kind::Socket, 0o777, 0).unwrap();
    let id = Arc::as_ptr(&node).cast::<()>();
    drop(node);
    let found = || view.namei(&view.cwd, b"/usr/s", Follow::Always).unwrap().node;
    assert_eq!(Arc::as_ptr(&found()).cast::<()>(), id);
    view.rename(&view.cwd, b"/usr/s", &view.cwd, b"/usr/t").unwrap();
    let before = Arc::strong_count(&view.namei(&view.cwd, b"/usr/t", Follow::Always).unwrap().node);
    let held = view.namei(&view.cwd, b"/usr/t", Follow::Always).unwrap().node;
    view.unlink(&view.cwd, b"/usr/t").unwrap();
    assert_eq!((before, Arc::strong_count(&held)), (2, 1));
}

#[test]
fn devices_are_neither_made_nor_opened() {
    let folder = Folder::new("devices", "");
    let view = folder.view();
    let made = view.mknod(&view.cwd, b"/usr/null", Kind::Character, 0o666, 0x103).map(drop);
    assert_eq!(made, Err(Errno::EPERM));
    assert_eq!(view.open(&view.cwd, b"/usr/f", O_RDWR | O_CREAT, 0o2755).map(drop), Ok(()));
    assert_eq!(view.mount("hostfs", b"relative", b"/home", 0, b""), Err(Errno::EINVAL));
    assert_eq!(view.mount("hostfs", b"/", b"/home", 0, b"quick"), Err(Errno::EINVAL));
    let mut stranger = folder.view();
    stranger.on_host = false;
    assert_eq!(stranger.mount("hostfs", b"/", b"/home", 0, b""), Err(Errno::EPERM));
}

#[test]
fn descriptors_run_out_before_the_host_has_none() {
    let host = LinuxHost::server(&Config::default());
    let top = host.open_folder(&std::env::temp_dir()).unwrap();
    let mut held = Vec::new();
    let refused = loop {
        match top.lookup(b".") {
            Ok(node) => held.push(node),
            Err(errno) => break errno,
        }
        if held.len() > 20_000 {
            // A host that gives so many is tried no further.
            return;
        }
    };
    assert_eq!(refused, Errno::ENFILE);
    drop(held);
    assert!(top.lookup(b".").is_ok());
}

/// A generator of the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// The host moves, swaps and removes names inside and outside of the folder, and out of it and back, while a client walks,
/// makes, moves and removes. No walk may end at what was never inside, and nothing is left behind.
#[test]
fn whatever_the_host_moves_nothing_outside_is_found() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let host = crate::rumpuser::sim::SimHost::new(seed);
        let top = host.tree.root();
        let (shown, _) = top.make(b"shown", S_IFDIR | 0o755, b"").unwrap();
        let (outside, _) = top.make(b"outside", S_IFDIR | 0o755, b"").unwrap();
        let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        for name in names {
            // What is marked so was outside from the beginning, and never moves.
            outside.make(&[name, b"-kept"].concat(), S_IFDIR | 0o751, b"").unwrap();
        }
        let vfs = Vfs::boot(host.clone(), &Config::default()).unwrap();
        let mut view = vfs.root_view().unwrap();
        view.mount("hostfs", b"/shown", b"/usr", 0, b"").unwrap();
        let usr = view.namei(&view.cwd, b"/usr", Follow::Always).unwrap();
        for _ in 0..3000 {
            let (one, other) = (names[dice.roll(4)], names[dice.roll(4)]);
            let deep = |dice: &mut Dice| shown.lookup(names[dice.roll(4)]).ok();
            let place = [b"/usr/".as_slice(), one, b"/", other].concat();
            match dice.roll(12) {
                0 => drop(view.mkdir(&view.cwd, &place, 0o755)),
                1 => drop(view.mkdir(&usr, one, 0o755)),
                2 => drop(shown.rename(one, &*outside, other, 0)),
                3 => drop(outside.rename(one, &*shown, other, 0)),
                4 => drop(deep(&mut dice).map(|deep| shown.rename(one, &*deep, other, 0))),
                5 => drop(deep(&mut dice).map(|deep| deep.rename(one, &*shown, other, 2))),
                6 => drop(shown.make(one, abi::stat::S_IFLNK | 0o777, b"../outside")),
                7 => drop(shown.remove(one, false).or_else(|_| shown.remove(one, true))),
                8 => drop(view.rename(&usr, one, &view.cwd, &place)),
                9 => drop(view.namei(&view.cwd, &place, Follow::Always).map(|found| view.cwd = found)),
                10 => view.cwd = usr.clone(),
                _ => {
                    for path in
                        [&b".."[..], b"../..", b"../../outside", b"../a-kept", b"../../../outside/b-kept", b"../c"]
                    {
                        let Ok(found) = view.namei(&view.cwd, path, Follow::Always) else { continue };
                        assert_ne!(found.node.attr().mode, 0o751, "seed {seed}");
                        let ino = found.node.vnode().ino;
                        let is_outside =
                            Arc::ptr_eq(&found.mount, &usr.mount) && ino == outside.status().unwrap().st_ino;
                        assert!(!is_outside && view.path_of(&found) != Ok(b"/outside".to_vec()), "seed {seed}");
                    }
                    let _ = view.path_of(&view.cwd);
                }
            }
        }
        view.cwd = view.root.clone();
        drop(usr);
        assert_eq!(view.unmount(b"/usr", 0), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_simulated_host_serves_files_too() {
    let host = crate::rumpuser::sim::SimHost::new(1);
    host.tree.root().make(b"shown", S_IFDIR | 0o755, b"").unwrap();
    let vfs = Vfs::boot(host.clone(), &Config::default()).unwrap();
    let view = vfs.root_view().unwrap();
    view.mount("hostfs", b"/shown", b"/usr", 0, b"").unwrap();
    let file = view.open(&view.cwd, b"/usr/f", O_RDWR | O_CREAT, 0o600).unwrap();
    assert_eq!((file.write(b"hello"), file.stat().unwrap().st_size), (Ok(5), 5));
    view.link(&file.at, &view.cwd, b"/usr/g").unwrap();
    view.unlink(&view.cwd, b"/usr/f").unwrap();
    assert_eq!(file.stat().unwrap().st_nlink, 1);
    let seen = host.open_folder(Path::new("/shown/g")).unwrap();
    assert_eq!((seen.status().unwrap().st_ino, seen.status().unwrap().st_size), (file.stat().unwrap().st_ino, 5));
    let stat = vfs.mounts()[2].statvfs();
    assert_eq!((stat.f_blocks, stat.f_bfree, stat.f_bavail, stat.f_ffree), (1000, 500, 400, 50));
}
