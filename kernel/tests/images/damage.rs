//! Images that were damaged: each error is an error, none a panic, and every walk ends.

use std::time::{Duration, Instant};

use abi::fcntl::{O_NONBLOCK, O_RDONLY};
use kernel::vfs::{Dir, Kind, View};

use super::fat::format;
use super::{Machine, host_tree, sh};

/// Names that a walk looks at.
const NAMES: usize = 3000;
/// Bytes that are read of a file.
const BYTES: usize = 300_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

/// Changes some bytes; most where structures are.
fn damage(image: &mut [u8], random: &mut Random, structure: usize) {
    for _ in 0..1 << random.below(7) {
        let within = [512, structure, structure, image.len()][random.below(4)].min(image.len());
        let at = random.below(within);
        image[at] = match random.below(4) {
            0 => 0,
            1 => 0xff,
            2 => image[at] ^ 1 << random.below(8),
            _ => random.below(256) as u8,
        };
    }
}

/// Looks at all there is, as far as the bounds go.
fn walk(view: &View<'_>, top: Dir, writes: bool, random: &mut Random) -> usize {
    let (mut seen, mut below, mut buf) = (0, vec![(top, 0)], vec![0; 64 * 1024]);
    while let Some((dir, depth)) = below.pop() {
        let mut names = Vec::new();
        let _ = dir.node.read_dir(0, &mut |entry| {
            names.push(entry.name.to_vec());
            names.len() < NAMES
        });
        for name in names {
            seen += 1;
            if seen > NAMES {
                return seen;
            }
            assert!(!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..");
            let Ok(node) = dir.node.lookup(&name) else { continue };
            let found = Dir { mount: dir.mount.clone(), node };
            found.node.attr();
            match found.node.vnode().kind {
                Kind::Directory if depth < 100 => below.push((found, depth + 1)),
                Kind::Symlink => drop(found.node.read_link()),
                Kind::Regular => {
                    let Ok(file) = view.open(&dir, &name, O_RDONLY | O_NONBLOCK, 0) else { continue };
                    let mut done = 0;
                    while let Ok(len @ 1..) = file.read_at(done as u64, &mut buf)
                        && done < BYTES
                    {
                        done += len;
                    }
                    let _ = file.read_at(found.node.attr().size.saturating_sub(1), &mut buf);
                    let _ = (found.node.seek_data(0), found.node.seek_hole(0));
                    if writes {
                        change(view, &dir, &name, random);
                    }
                }
                _ => {}
            }
        }
        if writes && random.below(3) == 0 {
            let name = format!("made here {}", random.below(4));
            let _ = view.mkdir(&dir, name.as_bytes(), 0o755);
            let _ = view.mknod(&dir, b"new file", Kind::Regular, 0o644, 0);
        }
    }
    seen
}

fn change(view: &View<'_>, dir: &Dir, name: &[u8], random: &mut Random) {
    let Ok(file) = view.open(dir, name, abi::fcntl::O_RDWR, 0) else { return };
    match random.below(6) {
        0 => drop(file.write_at(random.below(200_000) as u64, &[1; 3000])),
        1 => drop(file.truncate(view, random.below(100_000) as u64)),
        2 => drop(view.unlink(dir, name)),
        3 => drop(view.rename(dir, name, dir, b"moved, and not for the last time")),
        4 => drop(file.allocate(
            0,
            random.below(100_000) as u64,
            random.below(2) as u32 * abi::fcntl::FALLOC_FL_KEEP_SIZE,
        )),
        _ => {}
    }
}

/// Damages an image again and again, mounts it, walks through it.
pub fn hammer(kind: &str, image: &[u8], structure: usize, writes: bool) {
    let rounds = std::env::var("IMAGES_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(80);
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ image.len() as u64);
    let (mut mounted, mut seen) = (0, 0);
    for round in 0..rounds {
        let mut image = image.to_vec();
        damage(&mut image, &mut random, structure);
        if random.below(10) == 0 {
            image.truncate(random.below(image.len()));
        }
        let begin = Instant::now();
        let machine = Machine::new(&image);
        let before = machine.host.memory.used();
        if machine.mount(kind, "").is_ok() {
            mounted += 1;
            let view = machine.vfs.root_view().unwrap();
            let top = view.namei(&view.cwd, b"/mnt", kernel::vfs::namei::Follow::Always).unwrap();
            seen += walk(&view, top, writes, &mut random);
            let _ = machine.vfs.mounts().last().unwrap().statvfs();
            let _ = view.unmount(b"/mnt", 0);
        }
        assert_eq!(machine.host.memory.used(), before, "{kind}, round {round}: memory is given back");
        assert!(begin.elapsed() < Duration::from_secs(60), "{kind}, round {round} does not end");
    }
    assert!(mounted > rounds / 10 && seen > mounted, "{kind}: {mounted} of {rounds} mounted, {seen} names seen");
}

/// A small tree for images that are damaged.
pub const TREE: &str = "mkdir -p tree/d/e/f tree/many; cd tree; seq 1 20000 > numbers; seq 1 9 > d/e/f/deep
    for i in $(seq 1 40); do echo $i > many/\"a file with the number $i\"; done; echo x > SHORT.TXT
    ln -s d/e/f/deep link; ln -s $(printf 'l%.0s' $(seq 1 300)) long; ln numbers hard; truncate -s 300k sparse; cd ..";

#[test]
fn damaged_fat() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    sh(folder.path(), &format!("{TREE}; rm tree/link tree/long"));
    for (options, size) in [("-F 12 -s 1", 1400), ("-F 16 -s 1", 4400), ("-F 32 -s 1", 2000)] {
        let machine = Machine::with(&format(options, size), "msdos", "");
        for (path, content) in host_tree(&folder.path().join("tree")) {
            match content {
                None => machine.mkdir(&format!("/mnt/{path}")).unwrap(),
                Some(content) => machine.write(&format!("/mnt/{path}"), &content).unwrap(),
            }
        }
        let image = machine.unmount();
        hammer("msdos", &image, 64 * 1024, false);
        hammer("msdos", &image, 64 * 1024, true);
    }
}
