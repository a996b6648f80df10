//! ext2 and its successors, ISO 9660, squashfs: what their own tools made is read as it was put in.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use abi::Errno;
use kernel::vfs::Kind;

use super::{Machine, damage, fill, host_tree, sh};

/// More than FAT can hold: links, modes, a fifo, holes.
const MORE: &str = "cd tree; ln -s a/b/c/d link; ln -s /absolute/$(printf 'l%.0s' $(seq 1 150)) far; ln numbers hard; ln numbers a/harder
    mkfifo pipe; truncate -s 5M sparse; echo middle | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none
    chmod 4751 big; chmod 600 nothing; chmod 1777 empty; chmod 700 many; touch -h -d '2001-02-03 04:05:06Z' link
    mkdir deep; cd deep; for i in $(seq 1 30); do mkdir down; cd down; done; echo bottom > bottom";

fn made(script: &str) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    sh(folder.path(), MORE);
    sh(folder.path(), &format!("export LC_ALL=C.UTF-8; {script}"));
    let image = std::fs::read(folder.path().join("image")).unwrap();
    (folder, image)
}

/// Compares everything with the folder that the image was made of.
fn compare(machine: &Machine, top: &Path, what: &str) {
    let wanted = host_tree(top);
    let found = machine.tree("/mnt");
    for (path, content) in &wanted {
        assert!(found.get(path) == Some(content), "{what}: {path}");
        let meta = top.join(path).symlink_metadata().unwrap();
        let (kind, ino, attr) = machine.attr(&format!("/mnt/{path}")).unwrap();
        assert_eq!((attr.mode, attr.mtime.tv_sec), (meta.mode() & 0o7777, meta.mtime()), "{what}: {path}");
        assert_eq!((attr.uid, attr.gid), (meta.uid(), meta.gid()), "{what}: {path}");
        if kind != Kind::Directory {
            assert_eq!((attr.size, u64::from(attr.nlink)), (meta.len(), meta.nlink()), "{what}: {path}");
        }
        if path == "hard" {
            assert_eq!(ino, machine.attr("/mnt/a/harder").unwrap().1, "{what}: links are one file");
        }
    }
    let more: Vec<_> =
        found.keys().filter(|path| !wanted.contains_key(*path) && !path.starts_with("lost+found")).collect();
    assert!(more == ["pipe"] || more.is_empty(), "{what}: {more:?}");
    assert_eq!(machine.attr("/mnt/pipe").unwrap().0, Kind::Fifo, "{what}");
    assert_eq!(machine.write("/mnt/new", b""), Err(Errno::EROFS), "{what}");
    assert_eq!(machine.write("/mnt/numbers", b""), Err(Errno::EROFS), "{what}");
    assert_eq!(machine.read("/mnt/no such"), Err(Errno::ENOENT), "{what}");
    assert_eq!(machine.read("/mnt/numbers/x"), Err(Errno::ENOTDIR), "{what}");
    let (_, up, _) = machine.attr("/mnt/deep/down/..").unwrap();
    assert_eq!(up, machine.attr("/mnt/deep").unwrap().1, "{what}");
}

/// Takes what `tree` cannot read out of it: the fifo has no content.
fn checked(kind: &str, options: &str, script: &str, what: &str) {
    let (folder, image) = made(script);
    let machine = Machine::with(&image, kind, options);
    compare(&machine, &folder.path().join("tree"), what);
    assert!(machine.unmount() == image);
}

#[test]
fn ext2_and_its_successors() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    for (kind, options, size) in [
        ("ext2", "-t ext2", "24M"),
        ("ext2", "-t ext2 -b 1024 -I 128 -O ^filetype", "24M"),
        ("ext3", "-t ext3", "24M"),
        ("ext4", "-t ext4", "24M"),
        ("ext4", "-t ext4 -O inline_data,64bit,metadata_csum -b 4096 -I 256", "24M"),
        ("ext4", "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 512", "24M"),
    ] {
        // With data in inodes, mke2fs itself cuts the hole at the end of a file off.
        let without = if options.contains("inline_data") { "rm tree/sparse; " } else { "" };
        checked(kind, "", &format!("{without}mke2fs -q {options} -d tree image {size}"), options);
    }
}

#[test]
fn what_the_journal_of_ext4_promises_is_read() {
    if crate::lacks(&["mke2fs", "debugfs", "e2fsck"]) {
        return;
    }
    // Two transactions: the first gives `one` and `two` new content, the second takes back what was said of `two`.
    let script = "mkdir tree; for f in one two three; do printf old > tree/$f; truncate -s BLOCK tree/$f; done
        OPTIONS -d tree image SIZE; block() { debugfs -R \"blocks /$1\" image 2> /dev/null | tr -d ' \\n'; }
        printf '\\300\\073\\071\\230new' > fresh; truncate -s BLOCK fresh
        printf 'journal_open JOURNAL\\njournal_write -b %s fresh\\njournal_write -b %s fresh\\njournal_close\\n' $(block one) $(block two) > first
        printf 'journal_open\\njournal_write -r %s\\njournal_close\\n' $(block two) > second
        debugfs -w -f first image > said 2>&1; debugfs -w -f second image >> said 2>&1
        dumpe2fs -h image 2> /dev/null | grep -q needs_recovery; cp image mended; e2fsck -fy mended > /dev/null 2>&1 || [ $? = 1 ]";
    for (options, block, size, journal) in [
        ("mke2fs -q -t ext4 -b 4096", "4096", "16M", ""),
        ("mke2fs -q -t ext3 -b 4096", "4096", "16M", ""),
        ("mke2fs -q -t ext4 -b 4096 -O ^64bit,^metadata_csum", "4096", "16M", ""),
        ("mke2fs -q -t ext4 -b 4096 -O ^64bit,metadata_csum", "4096", "16M", "-c -v 2"),
        ("mke2fs -q -t ext4 -b 1024 -J size=1 -O 64bit,metadata_csum", "1024", "3M", "-c -v 3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        sh(
            folder.path(),
            &script
                .replace("OPTIONS", options)
                .replace("JOURNAL", journal)
                .replace("BLOCK", block)
                .replace("SIZE", size),
        );
        let image = std::fs::read(folder.path().join("image")).unwrap();
        let (machine, mended) =
            (Machine::with(&image, "ext4", ""), std::fs::read(folder.path().join("mended")).unwrap());
        assert!(machine.read("/mnt/one").unwrap().starts_with(b"\xc0\x3b\x39\x98new"), "{options}");
        assert!(machine.read("/mnt/two").unwrap().starts_with(b"old"), "{options}");
        assert!(machine.tree("/mnt") == Machine::with(&mended, "ext4", "").tree("/mnt"), "{options}: as e2fsck has it");
        assert!(machine.host.console_text().contains("read from its journal"), "{}", machine.host.console_text());
        assert!(machine.unmount() == image, "{options}: nothing is written");
        let machine = Machine::with(&image, "ext4", "noload");
        assert!(machine.read("/mnt/one").unwrap().starts_with(b"old"), "{options}");
        if size == "3M" {
            damage::hammer("ext4", &image, 1 << 20, false);
        }
        if options.contains("ext3") {
            // A journal that comes to the same block again and again could be endless.
            let twice =
                "debugfs -w -R \"sif <8> block[2] $(debugfs -R 'bmap <8> 1' image 2> /dev/null)\" image 2> said";
            sh(folder.path(), twice);
            let machine = Machine::new(&std::fs::read(folder.path().join("image")).unwrap());
            assert_eq!(machine.mount("ext4", ""), Err(Errno::EINVAL));
            assert!(machine.host.console_text().contains("its journal cannot be read"));
            assert_eq!(machine.mount("ext4", "noload"), Ok(()));
        }
    }
}

#[test]
fn a_hole_is_found_in_an_ext4_file() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    let (_folder, image) = made("mke2fs -q -t ext4 -d tree image 24M");
    let machine = Machine::with(&image, "ext4", "");
    let view = machine.vfs.root_view().unwrap();
    let file = view.open(&view.cwd, b"/mnt/sparse", 0, 0).unwrap();
    let (data, hole) = (file.at.node.seek_data(0).unwrap(), file.at.node.seek_hole(2_500_000).unwrap());
    assert!(data <= 2_500_000 && data > 2_400_000 && hole > 2_500_000 && hole < 2_600_000, "{data} {hole}");
    assert_eq!(file.at.node.seek_data(hole), Err(Errno::ENXIO));
    let statvfs = machine.vfs.mounts().last().unwrap().statvfs();
    assert!(statvfs.f_bfree > 0 && statvfs.f_bfree < statvfs.f_blocks && statvfs.f_ffree < statvfs.f_files);
}

#[test]
fn iso_9660_with_rock_ridge() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    for (script, what) in [
        ("genisoimage -quiet -R -J -joliet-long -o image tree 2> /dev/null", "genisoimage"),
        ("xorriso -outdev image -map tree / -commit > /dev/null 2>&1", "xorriso"),
    ] {
        // Numbers of links are as the tools count them, so links are compared by number of inode alone.
        let (folder, image) = made(script);
        let machine = Machine::with(&image, "iso9660", "");
        let found = machine.tree("/mnt");
        for (path, content) in host_tree(&folder.path().join("tree")) {
            assert!(found.get(&path) == Some(&content), "{what}: {path}");
            let meta = folder.path().join("tree").join(&path).symlink_metadata().unwrap();
            let attr = machine.attr(&format!("/mnt/{path}")).unwrap().2;
            assert_eq!((attr.mode, attr.mtime.tv_sec), (meta.mode() & 0o7777, meta.mtime()), "{what}: {path}");
        }
        assert_eq!(machine.attr("/mnt/pipe").unwrap().0, Kind::Fifo, "{what}");
        assert_eq!(machine.write("/mnt/new", b""), Err(Errno::EROFS), "{what}");
        assert_eq!(machine.attr("/mnt/deep/down/..").unwrap().1, machine.attr("/mnt/deep").unwrap().1, "{what}");
        assert!(machine.unmount() == image);
    }
}

#[test]
fn iso_9660_with_joliet_and_without() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    let (folder, image) =
        made("rm tree/pipe; genisoimage -quiet -J -joliet-long -f -o image tree/many tree/README.TXT 2> /dev/null");
    let machine = Machine::with(&image, "cd9660", "");
    assert_eq!(machine.read("/mnt/file number 7").as_deref(), Ok(&b"7\n"[..]));
    assert_eq!(machine.names("/mnt").unwrap().len(), 301);
    assert_eq!(machine.attr("/mnt/README.TXT").unwrap().2.mtime.tv_sec, 1_582_979_696);
    assert_eq!(machine.attr("/mnt/README.TXT").unwrap().2.mode, 0o555);
    drop((machine, folder));
    let machine = Machine::with(&image, "cd9660", "nojoliet");
    assert_eq!(machine.read("/mnt/readme.txt").as_deref(), Ok(&b"hello"[..]));
    assert_eq!(Machine::new(&image).mount("cd9660", "colour"), Err(Errno::EINVAL));
}

#[test]
fn iso_9660_with_compressed_files() {
    if crate::lacks(&["xorriso"]) {
        return;
    }
    let script = "xorriso -outdev image -zisofs level=9:block_size=32k -map tree / -set_filter_r --zisofs / -- -commit > /dev/null 2>&1";
    let (folder, image) = made(script);
    let machine = Machine::with(&image, "iso9660", "");
    let found = machine.tree("/mnt");
    for (path, content) in host_tree(&folder.path().join("tree")) {
        assert!(found.get(&path) == Some(&content), "{path}");
    }
    let stored = machine.attr("/mnt/big").unwrap().2;
    assert!(stored.size == 3_000_001 && stored.blocks < 1000, "it is compressed: {} blocks", stored.blocks);
    damage::hammer("cd9660", &small(&format!("rm tree/long; {script}")), 90_000, false);
}

#[test]
fn squashfs_by_each_compression() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    for compression in ["gzip", "xz", "lz4", "zstd", "gzip -noI -noD -noF -no-fragments", "gzip -b 4096"] {
        let script = format!("mksquashfs tree image -comp {compression} -quiet -no-progress > /dev/null");
        checked("squashfs", "", &script, compression);
    }
    let (_folder, image) = made("mksquashfs tree image -comp lzo -quiet -no-progress > /dev/null");
    let machine = Machine::new(&image);
    assert_eq!(machine.mount("squashfs", ""), Err(Errno::EINVAL));
    assert!(machine.host.console_text().contains("compression 3 (lzo) is not known"));
}

#[test]
fn an_image_of_another_kind_is_refused() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    let (_folder, image) = made("mke2fs -q -t ext4 -d tree image 24M");
    for kind in ["msdos", "cd9660", "squashfs"] {
        assert_eq!(Machine::new(&image).mount(kind, ""), Err(Errno::EINVAL), "{kind}");
    }
    for kind in ["msdos", "ext4", "cd9660", "squashfs"] {
        assert_eq!(Machine::new(&[]).mount(kind, ""), Err(Errno::EINVAL), "{kind}");
        assert_eq!(Machine::new(&[0; 100_000]).mount(kind, ""), Err(Errno::EINVAL), "{kind}");
    }
}

fn small(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    sh(folder.path(), damage::TREE);
    sh(folder.path(), &format!("export LC_ALL=C.UTF-8; {script}"));
    std::fs::read(folder.path().join("image")).unwrap()
}

#[test]
fn damaged_ext() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    for (kind, options) in [("ext2", "-t ext2 -b 1024"), ("ext4", "-t ext4 -b 1024 -O ^has_journal,inline_data")] {
        damage::hammer(kind, &small(&format!("mke2fs -q {options} -N 128 -d tree image 1M")), 100_000, false);
    }
}

#[test]
fn damaged_iso() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    damage::hammer("cd9660", &small("genisoimage -quiet -R -o image tree 2> /dev/null"), 90_000, false);
    damage::hammer("cd9660", &small("genisoimage -quiet -J -f -o image tree 2> /dev/null"), 90_000, false);
}

#[test]
fn damaged_squashfs() {
    if crate::lacks(&["mke2fs", "genisoimage", "xorriso", "mksquashfs"]) {
        return;
    }
    for compression in ["gzip", "xz", "lz4", "zstd", "gzip -noI"] {
        let script = format!("mksquashfs tree image -comp {compression} -quiet -no-progress > /dev/null");
        damage::hammer("squashfs", &small(&script), 70_000, false);
    }
}
