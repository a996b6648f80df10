use abi::fcntl::{O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SEEK_END, SEEK_SET};

use super::*;
use crate::config::Config;
use crate::file::File;
use crate::rumpuser::sim::SimHost;
use crate::vfs::namei::Follow;
use crate::vfs::{Vfs, VnodeFile};

/// A name space on a host with a file of 32768 bytes that all differ from their neighbours.
fn boot() -> (Vfs, Arc<SimHost>) {
    let host = SimHost::new(1);
    let image: Vec<u8> = (0..32768u32).map(|at| (at % 251) as u8).collect();
    host.put_file("/host/img", &image);
    (Vfs::boot(host.clone(), &Config::default()).unwrap(), host)
}

fn register(vfs: &Vfs, key: &str, kind: Kind, offset: u64, size: Option<u64>) -> Result<()> {
    vfs.etfs_register(key.as_bytes(), Path::new("/host/img"), kind, Window { offset, size })
}

fn open(vfs: &Vfs, path: &str, flags: i32) -> Result<Arc<VnodeFile>> {
    let view = vfs.root_view().unwrap();
    view.open(&view.cwd, path.as_bytes(), flags, 0o644)
}

#[test]
fn a_file_goes_straight_to_the_host() {
    let (vfs, host) = boot();
    register(&vfs, "/f", Kind::Regular, 16000, Some(100)).unwrap();
    let file = open(&vfs, "/f", O_RDWR | O_TRUNC).unwrap();
    let stat = file.stat().unwrap();
    assert_eq!((stat.st_size, stat.st_mode), (100, 0o100755));
    let mut buf = vec![0; 32768];
    assert_eq!(file.read(&mut buf), Ok(16768), "the size is no bound");
    assert_eq!(buf[..16768], host.file("/host/img")[16000..]);
    assert_eq!(file.write(b"more"), Ok(4));
    assert_eq!((host.file("/host/img").len(), file.stat().unwrap().st_size), (32772, 100));
    assert_eq!(file.seek(0, SEEK_END), Ok(100));
    file.status_changed(O_APPEND);
    assert_eq!((file.write(b"end"), file.position()), (Ok(3), 103));
    assert_eq!(host.file("/host/img")[16100..16103], *b"end");
    assert_eq!(file.sync(), Ok(()));
    let reader = open(&vfs, "/f", O_RDONLY).unwrap();
    assert_eq!(reader.read_at(u64::MAX - 5, &mut buf), Err(Errno::EINVAL));
}

#[test]
fn a_disk_ends_where_its_window_does() {
    let (vfs, host) = boot();
    register(&vfs, "/whole", Kind::Block, 0, None).unwrap();
    register(&vfs, "/part", Kind::Block, 16000, Some(16000)).unwrap();
    let mut buf = vec![0; 40000];
    assert_eq!(open(&vfs, "/whole", O_RDONLY).unwrap().read(&mut buf), Ok(32768));
    let part = open(&vfs, "/part", O_RDWR | O_CREAT).unwrap();
    assert_eq!(part.stat().unwrap().st_rdev, makedev(MAJOR, 1));
    assert_eq!((part.read(&mut buf), part.read(&mut buf)), (Ok(16000), Ok(0)));
    assert_eq!(buf[..16000], host.file("/host/img")[16000..32000]);
    assert_eq!(part.seek(-2, SEEK_END), Ok(15998));
    assert_eq!((part.write(b"abcd"), part.write(b"cd")), (Ok(2), Err(Errno::ENOSPC)));
    assert_eq!(host.file("/host/img")[31998..32000], *b"ab");
    assert_eq!(part.read_at(16001, &mut buf), Err(Errno::EINVAL));
}

#[test]
fn a_character_device_moves_whole_sectors() {
    let (vfs, host) = boot();
    register(&vfs, "/raw", Kind::Character, 0, Some(1024)).unwrap();
    let raw = open(&vfs, "/raw", O_RDWR).unwrap();
    let mut buf = [0; 2048];
    assert_eq!(raw.read(&mut buf[..100]), Err(Errno::EINVAL));
    assert_eq!(raw.write_at(100, &[7; 512]), Err(Errno::EINVAL));
    assert_eq!(raw.write_at(512, &[7; 1024]), Ok(512));
    assert_eq!(host.file("/host/img")[512..1024], [7; 512]);
    assert_eq!((raw.seek(0, SEEK_SET), raw.read(&mut buf)), (Ok(0), Ok(1024)));
    // The number leads there from anywhere; an unused one nowhere.
    let view = vfs.root_view().unwrap();
    view.mknod(&view.cwd, b"/tmp/same", Kind::Block, 0o600, makedev(MAJOR, 0)).unwrap();
    view.mknod(&view.cwd, b"/tmp/none", Kind::Block, 0o600, makedev(MAJOR, 5)).unwrap();
    assert_eq!(open(&vfs, "/tmp/same", O_RDONLY).unwrap().read(&mut buf[..10]), Ok(10));
    assert_eq!(open(&vfs, "/tmp/none", O_RDONLY).map(drop), Err(Errno::ENXIO));
}

#[test]
fn a_key_is_the_rest_of_a_path_verbatim() {
    let (vfs, _) = boot();
    register(&vfs, "////key//with/slashes", Kind::Regular, 0, None).unwrap();
    register(&vfs, "/etc", Kind::Regular, 0, None).unwrap();
    let mut view = vfs.root_view().unwrap();
    for path in ["/key//with/slashes", "key//with/slashes", "///key//with/slashes", "/tmp/../key//with/slashes"] {
        assert!(open(&vfs, path, O_RDONLY).is_ok(), "{path}");
    }
    for path in ["/key/with/slashes", "/key//with/slashes/", "/key//with", "/tmp/key//with/slashes"] {
        assert_eq!(open(&vfs, path, O_RDONLY).map(drop), Err(Errno::ENOENT), "{path}");
    }
    let found = view.namei(&view.cwd, b"/etc", Follow::Never).unwrap();
    assert_eq!(found.node.vnode().kind, Kind::Regular, "before the ordinary entry");
    let mut names = Vec::new();
    let root = view.root.node.clone();
    root.read_dir(0, &mut |entry| {
        names.push(entry.name.to_vec());
        true
    })
    .unwrap();
    assert!(!names.iter().any(|name| name.starts_with(b"key")));
    assert_eq!(view.unlink(&view.cwd, b"/etc"), Err(Errno::EOPNOTSUPP));
    assert_eq!(view.rename(&view.cwd, b"/etc", &view.cwd, b"/tmp/etc"), Err(Errno::EOPNOTSUPP));
    view.root = view.namei(&view.cwd, b"/tmp", Follow::Always).unwrap();
    view.cwd = view.root.clone();
    assert_eq!(view.namei(&view.cwd, b"/key//with/slashes", Follow::Always).map(drop), Err(Errno::ENOENT));
}

#[test]
fn registering_and_removing_check_the_key_and_the_window() {
    let (vfs, _) = boot();
    let whole = Window::default();
    assert_eq!(register(&vfs, "f", Kind::Regular, 0, None), Err(Errno::EINVAL));
    assert_eq!(register(&vfs, "/f", Kind::Directory, 0, None), Err(Errno::EOPNOTSUPP));
    assert_eq!(register(&vfs, "/f", Kind::Block, 32769, None), Err(Errno::EINVAL));
    assert_eq!(register(&vfs, "/f", Kind::Regular, 1, Some(32768)), Err(Errno::EINVAL));
    assert_eq!(register(&vfs, "/f", Kind::Regular, 1, Some(u64::MAX)), Err(Errno::EINVAL));
    assert_eq!(vfs.etfs_register(b"/f", Path::new("/host/none"), Kind::Block, whole), Err(Errno::ENOENT));
    for unit in 0..UNITS {
        register(&vfs, &format!("/disk{unit}"), Kind::Block, 0, None).unwrap();
    }
    assert_eq!(register(&vfs, "/disk16", Kind::Block, 0, None), Err(Errno::EBUSY));
    assert_eq!(register(&vfs, "//disk3", Kind::Block, 0, None), Err(Errno::EEXIST));
    let file = open(&vfs, "/disk3", O_WRONLY).unwrap();
    assert_eq!(vfs.etfs_remove(b"disk3"), Err(Errno::EINVAL));
    assert_eq!(vfs.etfs_remove(b"/disk3"), Ok(()));
    assert_eq!(vfs.etfs_remove(b"/disk3"), Err(Errno::ENOENT));
    assert_eq!(file.write(b"x"), Err(Errno::ENXIO));
    assert_eq!(register(&vfs, "/again", Kind::Block, 0, None), Ok(()));
}

#[test]
fn faults_come_as_often_as_asked_for_and_the_same_seed_repeats_them() {
    let faults = |fail| {
        let host = SimHost::new(1);
        host.put_file("/host/img", &[0; 4096]);
        let disks = Disks { fail: Some(fail), seed: Some(7), ..Disks::default() };
        let vfs = Vfs::boot(host, &Config { disks, ..Config::default() }).unwrap();
        register(&vfs, "/dk", Kind::Block, 0, None).unwrap();
        let disk = open(&vfs, "/dk", O_RDONLY).unwrap();
        (0..1000).map(|_| disk.read_at(0, &mut [0; 512]) == Err(Errno::EIO)).collect::<Vec<_>>()
    };
    let count = |fail| faults(fail).into_iter().filter(|fault| *fault).count();
    assert_eq!((count(0), count(10_000)), (0, 1000));
    assert!((400..600).contains(&count(5000)));
    assert_eq!(faults(5000), faults(5000));
}
