//! FAT, against mkfs.fat(8), mtools(1) and fsck.fat(8).

use std::path::Path;

use abi::Errno;
use kernel::file::File;
use kernel::vfs::Kind;

use super::{Machine, fill, host_tree, sh};

/// Makes an empty volume with mkfs.fat, `size` in KiB.
pub fn format(options: &str, size: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    sh(folder.path(), &format!("mkfs.fat {options} -C image {size} > /dev/null 2>&1"));
    std::fs::read(folder.path().join("image")).unwrap()
}

/// Checks an image with fsck.fat; it must find nothing to say.
fn check(image: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("image"), image).unwrap();
    let said = sh(folder.path(), "fsck.fat -n image");
    assert_eq!(said.lines().count(), 2, "{said}");
}

const WIDTHS: [(&str, u32); 3] = [("-F 12 -s 8", 12_000), ("-F 16 -s 4", 30_000), ("-F 32 -s 1", 48_000)];

#[test]
fn what_mtools_wrote_is_read() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    for (options, size) in WIDTHS {
        let script =
            format!("rm -f image; mkfs.fat {options} -C image {size} >/dev/null 2>&1; mcopy -smi image tree/* ::");
        sh(folder.path(), &format!("export LC_ALL=C.UTF-8 TZ=UTC; {script}"));
        let image = std::fs::read(folder.path().join("image")).unwrap();
        let machine = Machine::with(&image, "vfat", "ro");
        assert!(machine.tree("/mnt") == host_tree(&folder.path().join("tree")), "{options}");
        assert_eq!(machine.attr("/mnt/README.TXT").unwrap().2.mtime.tv_sec, 1_582_979_696);
        assert_eq!(machine.attr("/mnt/a.b.c.tar.gz").unwrap().2.mtime.tv_sec, 946_684_798);
        assert_eq!(machine.attr("/mnt/many").unwrap().2.nlink, 2);
        assert_eq!(machine.attr("/mnt/a").unwrap().2.nlink, 3);
        assert_eq!(machine.write("/mnt/new", b""), Err(Errno::EROFS));
        assert!(machine.unmount() == image, "a volume that is mounted read-only stays as it is");
    }
}

#[test]
fn what_we_write_is_read_by_mtools_and_sound() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let wanted = host_tree(&folder.path().join("tree"));
    for (options, size) in WIDTHS {
        let machine = Machine::with(&format(options, size), "msdos", "");
        for (path, content) in &wanted {
            match content {
                None => machine.mkdir(&format!("/mnt/{path}")).unwrap(),
                Some(content) => machine.write(&format!("/mnt/{path}"), content).unwrap(),
            }
        }
        assert!(machine.tree("/mnt") == wanted, "{options}");
        let image = machine.unmount();
        check(&image);
        std::fs::write(folder.path().join("image"), &image).unwrap();
        sh(folder.path(), "export LC_ALL=C.UTF-8; rm -rf back; mkdir back; mcopy -smi image '::*' back");
        assert!(host_tree(&folder.path().join("back")) == wanted, "{options}");
    }
}

#[test]
fn names_differ_by_more_than_case_and_have_aliases() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let machine = Machine::with(&format("-F 16", 16_000), "msdos", "");
    machine.write("/mnt/Long Name.text", b"one").unwrap();
    assert_eq!(machine.read("/mnt/LONGNA~1.TEX").as_deref(), Ok(&b"one"[..]));
    assert_eq!(machine.read("/mnt/long name.TEXT...").as_deref(), Ok(&b"one"[..]));
    let number = machine.attr("/mnt/Long Name.text").unwrap().1;
    machine.rename("/mnt/Long Name.text", "/mnt/LONG name.text").unwrap();
    assert_eq!(machine.names("/mnt").unwrap(), ["LONG name.text"]);
    assert_eq!(machine.attr("/mnt/long name.text").unwrap().1, number, "a file keeps its number");
    machine.write("/mnt/ÄÖÜ.txt", b"two").unwrap();
    assert_eq!(machine.read("/mnt/äöü.TXT").as_deref(), Ok(&b"two"[..]));
    for (name, errno) in [("a:b", Errno::EINVAL), ("a\u{1}", Errno::EINVAL), ("...", Errno::ENOENT)] {
        assert_eq!(machine.write(&format!("/mnt/{name}"), b""), Err(errno), "{name}");
    }
    let long = "漢".repeat(255);
    machine.write(&format!("/mnt/{long}"), b"x").unwrap();
    assert!(machine.names("/mnt").unwrap().contains(&long));
    assert_eq!(machine.write(&format!("/mnt/{}", "n".repeat(256)), b""), Err(Errno::ENAMETOOLONG));
    check(&machine.unmount());
}

#[test]
fn what_fat_cannot_say_is_refused_as_on_linux() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let machine = Machine::with(&format("-F 16", 16_000), "vfat", "uid=5,gid=6,fmask=133,dmask=022");
    machine.write("/mnt/f", b"x").unwrap();
    let view = machine.vfs.root_view().unwrap();
    let at = |path: &str| view.namei(&view.cwd, path.as_bytes(), kernel::vfs::namei::Follow::Never).unwrap();
    let mode = |path: &str| machine.attr(path).unwrap().2.mode;
    assert_eq!((mode("/mnt/f"), mode("/mnt"), machine.attr("/mnt/f").unwrap().2.uid), (0o644, 0o755, 5));
    for (given, kept) in [(0o444, 0o444), (0o600, 0o444), (0o666, 0o644), (0o400, 0o644)] {
        view.chmod(&at("/mnt/f"), given).unwrap();
        assert_eq!(mode("/mnt/f"), kept, "{given:o}");
    }
    assert_eq!(view.chmod(&at("/mnt/f"), 0o4644), Err(Errno::EPERM));
    assert_eq!(view.chown(&at("/mnt/f"), Some(0), None), Err(Errno::EPERM));
    assert_eq!(view.chown(&at("/mnt/f"), Some(5), Some(6)), Ok(()));
    assert_eq!(view.link(&at("/mnt/f"), &view.cwd, b"/mnt/g"), Err(Errno::EPERM));
    assert_eq!(view.symlink(b"f", &view.cwd, b"/mnt/s"), Err(Errno::EPERM));
    assert_eq!(view.mknod(&view.cwd, b"/mnt/p", Kind::Fifo, 0o644, 0).map(drop), Err(Errno::EPERM));
    assert_eq!(machine.mount("vfat", ""), Err(Errno::EBUSY), "the same disk a second time");
    for options in ["umask=9", "uid", "colour=red", "time_offset=9999"] {
        assert_eq!(Machine::new(&format("-F 12", 1000)).mount("vfat", options), Err(Errno::EINVAL), "{options}");
    }
}

#[test]
fn a_full_volume_stays_sound() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    for (options, size) in [("-F 12 -s 1", 300), ("-F 32 -s 1", 2000)] {
        let machine = Machine::with(&format(options, size), "msdos", "");
        machine.write("/mnt/small", b"stays").unwrap();
        assert_eq!(machine.write("/mnt/full", &vec![7; 4 << 20]), Err(Errno::ENOSPC));
        let taken = machine.attr("/mnt/full").unwrap().2.size;
        assert_eq!(machine.read("/mnt/full").unwrap(), vec![7; taken as usize]);
        assert_eq!(machine.mkdir("/mnt/d"), Err(Errno::ENOSPC));
        assert_eq!(machine.truncate("/mnt/small", 1 << 20), Err(Errno::ENOSPC));
        assert_eq!(machine.patch("/mnt/small", 1 << 19, b"x"), Err(Errno::ENOSPC));
        assert_eq!(machine.attr("/mnt/small").unwrap().2.size, 5);
        for errno in [Errno::EFBIG, Errno::ENOSPC] {
            let (offset, size) =
                if errno == Errno::EFBIG { (u64::from(u32::MAX), 1 << 32) } else { (1 << 31, 1 << 31) };
            assert_eq!(machine.patch("/mnt/small", offset, b"x"), Err(errno));
            assert_eq!(machine.truncate("/mnt/small", size), Err(errno));
        }
        let mut made = 0;
        while machine.write(&format!("/mnt/a long name for an empty file, number {made}"), b"").is_ok() {
            made += 1;
        }
        machine.remove("/mnt/full").unwrap();
        machine.mkdir("/mnt/d").unwrap();
        assert_eq!(machine.read("/mnt/small").as_deref(), Ok(&b"stays"[..]));
        check(&machine.unmount());
    }
}

#[test]
fn files_live_on_without_a_name_and_under_a_new_one() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let machine = Machine::with(&format("-F 32 -s 1", 40_000), "msdos", "");
    let free = || machine.vfs.mounts().last().unwrap().statvfs().f_bfree;
    let before = free();
    machine.write("/mnt/a", &[1; 5000]).unwrap();
    machine.write("/mnt/b", &[2; 5000]).unwrap();
    let view = machine.vfs.root_view().unwrap();
    let open = |path: &str| view.open(&view.cwd, path.as_bytes(), abi::fcntl::O_RDWR, 0).unwrap();
    let (a, b) = (open("/mnt/a"), open("/mnt/b"));
    machine.rename("/mnt/a", "/mnt/b").unwrap();
    a.write_at(5000, &[1; 100]).unwrap();
    b.write_at(5000, &[2; 100]).unwrap();
    assert_eq!(machine.read("/mnt/b").unwrap(), vec![1; 5100]);
    let mut buf = vec![0; 6000];
    assert_eq!((b.read_at(0, &mut buf), &buf[..5100]), (Ok(5100), &[2; 5100][..]));
    assert_eq!((b.stat().unwrap().st_nlink, a.stat().unwrap().st_nlink), (0, 1));
    machine.write("/mnt/a", &[3; 10]).unwrap();
    assert_ne!(machine.attr("/mnt/a").unwrap().1, machine.attr("/mnt/b").unwrap().1);
    machine.remove("/mnt/b").unwrap();
    machine.remove("/mnt/a").unwrap();
    assert_eq!(a.read_at(0, &mut buf), Ok(5100));
    drop((a, b));
    assert_eq!(free(), before, "all clusters come back");
    machine.mkdir("/mnt/d").unwrap();
    machine.mkdir("/mnt/d/e").unwrap();
    machine.mkdir("/mnt/f").unwrap();
    assert_eq!(machine.rename("/mnt/d", "/mnt/d/e/g"), Err(Errno::EINVAL));
    assert_eq!(machine.rename("/mnt/f", "/mnt/d"), Err(Errno::ENOTEMPTY));
    machine.rename("/mnt/d/e", "/mnt/f/moved").unwrap();
    let (_, up, _) = machine.attr("/mnt/f/moved/..").unwrap();
    assert_eq!(up, machine.attr("/mnt/f").unwrap().1);
    let [f, d] = [b"/mnt/f", b"/mnt/d"].map(|path| view.parent(&view.cwd, path).unwrap());
    view.rename_found(f, d, abi::fcntl::RENAME_EXCHANGE).unwrap();
    assert_eq!((machine.names("/mnt/d").unwrap(), machine.names("/mnt/f").unwrap()), (vec!["moved".into()], vec![]));
    drop(view);
    check(&machine.unmount());
}

#[test]
fn an_old_mark_of_use_stays() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let mut image = format("-F 16", 16_000);
    image[37] |= 1;
    let machine = Machine::with(&image, "msdos", "");
    assert!(machine.host.console_text().contains("was not unmounted"));
    assert_eq!(machine.unmount()[37] & 1, 1);
    let machine = Machine::with(&format("-F 32", 40_000), "msdos", "");
    assert_eq!(machine.image()[65] & 1, 1, "in use");
    machine.vfs.shutdown(true);
    assert_eq!(machine.image()[65] & 1, 0, "left in good order");
}

/// Some work on a volume, the same each time.
fn work(machine: &Machine) {
    let name = |at: u32| format!("/mnt/d{}/a name that takes slots {at}", at % 3);
    (0..3).for_each(|at| machine.mkdir(&format!("/mnt/d{at}")).unwrap());
    for at in 0..60u32 {
        machine.write(&name(at), &vec![at as u8; at as usize * 97]).unwrap();
        match at % 6 {
            0 => machine.rename(&name(at), &name(at + 1000)).unwrap(),
            1 if at > 12 => machine.remove(&name(at - 6)).unwrap(),
            2 => machine.truncate(&name(at), u64::from(at) * 50).unwrap(),
            3 if at > 12 => machine.rename(&name(at), &name(at - 6)).unwrap(),
            4 => drop(machine.patch(&name(at), u64::from(at) * 200, b"patched").unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_what_fsck_mends() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = format("-F 16 -s 1", 3000);
    let machine = Machine::with(&empty, "msdos", "");
    work(&machine);
    let host = machine.host.clone();
    check(&machine.unmount());
    let writes = host.take_writes();
    assert!(writes.len() > 500);
    let mut image = empty;
    for (killed, (offset, data)) in writes.iter().enumerate() {
        image[*offset as usize..*offset as usize + data.len()].copy_from_slice(data);
        if killed % 37 == 0 {
            std::fs::write(folder.path().join("image"), &image).unwrap();
            mended(folder.path(), killed);
        }
    }
}

/// Some work of which each step may fail.
fn try_work(machine: &Machine) {
    for at in 0..200u32 {
        let name = |at: u32| format!("/mnt/d{}/a name that takes slots {}", at % 3, at % 17);
        let _ = match at % 7 {
            0 => machine.mkdir(&format!("/mnt/d{}", at % 3)),
            1 | 2 => machine.write(&name(at), &vec![at as u8; at as usize * 97]),
            3 => machine.rename(&name(at - 1), &name(at + 5)),
            4 => machine.remove(&name(at - 5)),
            5 => machine.truncate(&name(at - 3), u64::from(at) * 70),
            _ => machine.patch(&name(at - 4), u64::from(at) * 100, b"patched").map(drop),
        };
    }
}

#[test]
fn memory_that_runs_out_leaves_a_sound_volume() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    for every in [2, 3, 7, 20] {
        let machine = Machine::new(&format("-F 16 -s 1", 3000));
        machine.mount("msdos", "").unwrap();
        machine.host.fail_every(every);
        try_work(&machine);
        machine.host.fail_every(0);
        assert!(machine.names("/mnt").is_ok());
        check(&machine.unmount());
    }
}

#[test]
fn a_disk_with_faults_leaves_what_can_be_mounted_again() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        let mut config = kernel::config::Config::default();
        (config.disks.fail, config.disks.seed) = (Some(300), Some(seed));
        let machine = Machine::boot(&format("-F 16 -s 1", 3000), &config);
        while machine.mount("msdos", "").is_err() {}
        try_work(&machine);
        let _ = machine.vfs.root_view().unwrap().unmount(b"/mnt", 0);
        std::fs::write(folder.path().join("image"), machine.image()).unwrap();
        // A write that failed, and its undoing too, is no order of writes any more: it need not be mended without a trace.
        sh(folder.path(), "fsck.fat -a image || [ $? = 1 ]");
        let image = std::fs::read(folder.path().join("image")).unwrap();
        assert!(Machine::with(&image, "msdos", "ro").names("/mnt").is_ok(), "{seed}");
    }
}

/// Lets fsck.fat mend the image: it may repair, and then finds nothing any more.
fn mended(folder: &Path, killed: usize) {
    let said = sh(folder, "fsck.fat -a image || [ $? = 1 ]; fsck.fat -n image");
    let image = std::fs::read(folder.join("image")).unwrap();
    assert!(!said.contains("Leaving filesystem unchanged"), "{killed}: {said}");
    let machine = Machine::with(&image, "msdos", "ro");
    assert!(machine.tree("/mnt").len() < 70, "{killed}");
}
