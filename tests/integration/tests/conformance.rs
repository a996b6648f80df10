//! What the manual pages say of files: tens of thousands of assertions, of which the host's tmpfs is the judge, on each type of file
//! system, and over each way to a kernel.
//!
//! `cargo test --release -p integration --test conformance -- --nocapture` prints what was asserted of each type, and what each lacks.

mod judge;

use std::path::Path;
use std::sync::Mutex;

use integration::{Rump, Transport, built, limited, stdout};
use judge::{Judge, agree};

/// A type of file system.
struct Type {
    /// What mount(2) calls it.
    name: &'static str,
    /// What is mounted.
    source: Source,
    /// What it lacks (`Has` of the binary), and why: the rows that need it are left out on both sides.
    lacks: &'static [(&'static str, &'static str)],
    /// The families that are run on it: all, or these, of the large ones parts.
    families: &'static [&'static str],
    /// What it says otherwise: a text of differences (`judge.rs`).
    meant: &'static str,
}

/// What is mounted.
enum Source {
    /// Nothing: the root itself.
    Root,
    /// Memory of the kernel, with options.
    Memory(&'static str),
    /// A folder of the host.
    Folder,
    /// An image, which a script of the shell makes; from `tree` if it is only read.
    Image(&'static str),
}

use Source::{Folder, Image, Memory, Root};

const FAT: &[(&str, &str)] = &[
    ("links", "an entry of a directory is the file"),
    ("symlinks", "there is no attribute for them"),
    ("owners", "they are the mount's"),
    ("modes", "there is but one bit: nobody may write"),
    ("specials", "there are files and directories only"),
    ("devices", "there are files and directories only"),
    ("times", "they are kept to two seconds, and that of access to a day"),
    ("linux", "Linux's vfat has neither files without a name nor names that are swapped"),
    ("mounts", "that family is on a tmpfs of its own"),
];

/// All families, of the large ones parts: where the kernel's part is as elsewhere, and each call takes longer.
const IN_PART: &[&str] = &[
    "single/3", "flags", "two/3", "rename", "walk", "ats", "modes", "owners", "rights/6", "times", "sizes", "dirs",
    "names", "gone", "fifos", "locks", "mounts", "missing",
];

const READ_ONLY: (&str, &str) = ("writing", "it is only read");

const VFAT: &str = include_str!("data/conformance/vfat");
const NO_FSYNC: &str = "
# Linux refuses fsync(2) where there can never be anything to write.
- frozen | file: fsync 0
+ frozen | file: fsync EINVAL
- frozen | dir: fsync 0
+ frozen | dir: fsync EINVAL
";

/// The types. A row more, and all families run on it.
const TYPES: &[Type] = &[
    Type { name: "tmpfs", source: Root, lacks: &[], families: &[], meant: "" },
    Type { name: "tmpfs", source: Memory("size=64m"), lacks: &[], families: &[], meant: "" },
    Type {
        name: "hostfs",
        source: Folder,
        lacks: &[("devices", "those of the host are not for the rump kernel")],
        families: IN_PART,
        meant: "
# Nobody makes a device of the host.
- missing | mknod device: 0
+ missing | mknod device: EPERM
",
    },
    Type {
        name: "msdos",
        source: Image("truncate -s 8M image; mkfs.fat -F 12 -s 4 image"),
        lacks: FAT,
        families: &[],
        meant: VFAT,
    },
    Type {
        name: "msdos",
        source: Image("truncate -s 32M image; mkfs.fat -F 16 -s 4 image"),
        lacks: FAT,
        families: &[],
        meant: VFAT,
    },
    Type {
        name: "msdos",
        source: Image("truncate -s 140M image; mkfs.fat -F 32 -s 4 image"),
        lacks: FAT,
        families: &[],
        meant: VFAT,
    },
    Type {
        name: "ext2fs",
        source: Image("mke2fs -q -t ext2 -d tree image 16M"),
        lacks: &[READ_ONLY],
        families: &[],
        meant: "",
    },
    Type {
        name: "ext2fs",
        source: Image("mke2fs -q -t ext4 -d tree image 16M"),
        lacks: &[READ_ONLY],
        families: &[],
        meant: "",
    },
    Type {
        name: "squashfs",
        source: Image("mksquashfs tree image -quiet -no-progress"),
        lacks: &[READ_ONLY],
        families: &[],
        meant: NO_FSYNC,
    },
    Type {
        name: "cd9660",
        source: Image("xorriso -as mkisofs -quiet -R -o image tree"),
        lacks: &[READ_ONLY, ("links", "xorriso writes each name as a file of its own, and counts none")],
        families: &[],
        meant: NO_FSYNC,
    },
];

/// A way to a kernel.
struct Way {
    transport: Transport,
    /// Options of the server, or of the launcher if it is its own.
    options: &'static [&'static str],
    lacks: &'static [&'static str],
    /// The families: all, or these, of the large ones parts.
    families: &'static [&'static str],
}

/// The ways. The kernel is the same behind each: what is told in full of one need not be told of all.
const WAYS: &[Way] = &[
    Way { transport: Transport::Unix, options: &["--creds=peer"], lacks: &[], families: IN_PART },
    Way {
        transport: Transport::Tcp,
        options: &[],
        // Who a client is on its own host is not known over tcp.
        lacks: &["users"],
        families: IN_PART,
    },
    Way {
        transport: Transport::Private,
        options: &["--creds=peer"],
        lacks: &[],
        families: &["single/9", "rights/9", "names", "gone", "locks", "modes"],
    },
];

impl Type {
    fn is_read_only(&self) -> bool {
        self.lacks.iter().any(|(lack, _)| *lack == "writing")
    }

    /// Whether it needs nothing of the host, so that the kernel can be one in the program itself.
    fn is_of_the_kernel(&self) -> bool {
        matches!(self.source, Root | Memory(_))
    }

    fn lacks(&self) -> Vec<&'static str> {
        self.lacks.iter().map(|(lack, _)| *lack).collect()
    }

    /// Runs the suite on it, and returns what it said.
    fn run(&self, lacks: &str) -> String {
        let folder = judge::folder();
        let (drives, mount) = self.prepare(folder.path(), lacks);
        if self.is_of_the_kernel() {
            let rump = Rump::start(Transport::Local);
            let mut command = rump.launch(&["--creds=peer"], built("conformance"));
            return stdout(command.args(["/rump/tmp", &mount, lacks, "alone"]).args(self.families));
        }
        let options: Vec<&str> = ["--creds=peer"].into_iter().chain(drives.iter().map(String::as_str)).collect();
        let rump = Rump::start_with(Transport::Unix, &options);
        stdout(rump.command(built("conformance")).args(["/rump/tmp", &mount, lacks, "children"]).args(self.families))
    }

    /// Makes what is mounted in a folder of the host: options for the server, and what mount(2) is told.
    fn prepare(&self, folder: &Path, lacks: &str) -> (Vec<String>, String) {
        let (name, shown) = (self.name, folder.display());
        match self.source {
            Root => (Vec::new(), "-".into()),
            Memory(options) => (Vec::new(), format!("{name} none {options} /rump/tmp")),
            Folder => (Vec::new(), format!("{name} {shown} - /rump/tmp")),
            Image(script) => {
                if self.is_read_only() {
                    let tree = folder.join("tree");
                    std::fs::create_dir(&tree).expect("a folder for the tree");
                    stdout(limited(built("conformance")).arg("tree").arg(&tree).arg(judge::writable(lacks)));
                }
                let path = "/usr/sbin:/sbin:/usr/bin:/bin";
                stdout(limited("bash").args(["-ec", script]).current_dir(folder).env("PATH", path));
                let drive = format!("key=/image,hostpath={shown}/image,size=host");
                (vec!["-d".into(), drive], format!("{name} /rump/image - /rump/tmp"))
            }
        }
    }

    /// Compares it with the host; a summary.
    fn check(&self, judge: &Judge) -> String {
        let what = match self.source {
            Root => "the root".to_owned(),
            Memory(options) => options.to_owned(),
            Folder => "a folder".to_owned(),
            Image(script) => script.to_owned(),
        };
        let Some(host) = judge.says(&self.lacks(), self.families) else {
            return format!("{} ({what}): nothing, since the host does not let us mount", self.name);
        };
        // Of a kernel in the program itself a child knows nothing.
        let host = if self.is_of_the_kernel() { judge::without_children(&host) } else { host };
        let ours = self.run(&judge::list(&self.lacks()));
        agree(&format!("{} ({what})", self.name), &host, &ours, self.meant);
        let lacks: Vec<String> = self.lacks.iter().map(|(lack, why)| format!("{lack} ({why})")).collect();
        let lacks = if lacks.is_empty() { "nothing".into() } else { lacks.join(", ") };
        format!("{} ({what}): {} assertions; lacks {lacks}", self.name, ours.lines().count())
    }
}

/// Whether the images can be made, and the files of other users: on the host only the superuser makes those.
fn possible() -> bool {
    let tools = ["mkfs.fat", "mke2fs", "mksquashfs", "xorriso"].iter().all(|tool| integration::have(tool));
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: the host's side of the suite needs the superuser");
    }
    root && tools
}

/// Everything, on each type: two at a time.
#[test]
fn every_type_agrees_with_the_host() {
    if !possible() {
        return;
    }
    let judge = Judge::default();
    let next = Mutex::new(TYPES.iter());
    let work = || {
        let mut told = Vec::new();
        loop {
            let Some(one) = next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next() else { return told };
            told.push(one.check(&judge));
        }
    };
    std::thread::scope(|scope| {
        let all = [scope.spawn(work), scope.spawn(work)].map(|worker| worker.join());
        for told in all {
            match told {
                Ok(told) => told.iter().for_each(|line| println!("{line}")),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
}

/// The ways to a kernel change nothing.
#[test]
fn the_way_to_a_server_changes_nothing() {
    if !possible() {
        return;
    }
    let judge = Judge::default();
    for Way { transport, options, lacks, families } in WAYS {
        let (servers, launchers): (&[&str], &[&str]) = match transport {
            Transport::Private => (&[], options),
            _ => (options, &[]),
        };
        let host = judge.says(lacks, families).expect("the suite on the host");
        let rump = Rump::start_with(*transport, servers);
        let mut command = rump.launch(launchers, built("conformance"));
        let ours = stdout(command.args(["/rump/tmp", "-", &judge::list(lacks), "children"]).args(*families));
        agree(&format!("{transport:?}"), &host, &ours, "");
        println!("{transport:?}: {} assertions; lacks {}", ours.lines().count(), judge::list(lacks));
    }
}
