//! What the manual pages say of files: tens of thousands of assertions, of which the host's tmpfs is the judge, on each type of file system.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use integration::{Rump, Transport, built, limited, output, stdout};

/// Makes what is to be mounted in a folder of the host, and returns it and the options.
type Source = fn(&Path) -> (String, &'static str);

/// A difference that is meant: the host's line, ours, and why.
type Meant = (&'static str, &'static str, &'static str);

/// A type of file system.
struct Type {
    /// What mount(2) calls it.
    name: &'static str,
    /// Makes what is mounted, of the type's name, in a folder of the host; nothing for the root itself.
    source: Option<Source>,
    /// What it lacks (`Has` of the binary): the rows that need it are left out on both sides.
    lacks: &'static [&'static str],
    /// What it says otherwise.
    meant: &'static [Meant],
}

/// The types. A row more, and all families run on it.
const TYPES: &[Type] = &[
    Type { name: "tmpfs", source: None, lacks: &[], meant: &[] },
    Type { name: "tmpfs", source: Some(|_| ("none".into(), "size=64m")), lacks: &[], meant: &[] },
];

/// Families in which the way to the kernel, or other processes, take part; the others are the kernel's alone.
const ON_THE_WAY: &[&str] =
    &["rename", "walk", "ats", "modes", "times", "sizes", "dirs", "names", "gone", "fifos", "locks", "mounts"];

/// Whether a file system can be mounted natively, in a name space of its own.
fn can_mount() -> bool {
    let script = "mount -t tmpfs none /mnt";
    output(limited("unshare").args(["-m", "sh", "-c", script])).status.success()
}

/// Runs the suite on the host: on a tmpfs of its own, or in /dev/shm where that may not be (which may know no devices).
fn native(lacks: &[&str], families: &[&str]) -> String {
    let suite = built("conformance");
    let lacks = lacks_of(lacks);
    if can_mount() {
        let script = "mount -t tmpfs -o mode=755 none /mnt && cd / && exec \"$0\" /mnt - \"$@\"";
        let mut command = limited("unshare");
        command.args(["-m", "sh", "-ec", script]).arg(suite).args([&lacks, "children"]).args(families);
        return stdout(&mut command);
    }
    let folder = tempfile::Builder::new().permissions(world()).tempdir_in("/dev/shm").expect("a folder in /dev/shm");
    stdout(limited(suite).arg(folder.path()).args(["-", &lacks, "children"]).args(families))
}

fn world() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o755)
}

fn lacks_of(lacks: &[&str]) -> String {
    let own: &[&str] = if can_mount() { &[] } else { &["mounts", "devices"] };
    let all: Vec<&str> = lacks.iter().chain(own).copied().collect();
    if all.is_empty() { "-".into() } else { all.join(",") }
}

/// The lines that differ, but for those that are meant; in order, the first ones only.
fn differences(host: &str, ours: &str, meant: &[Meant]) -> Vec<String> {
    let count = |text: &str| {
        text.lines().fold(BTreeMap::<String, i32>::new(), |mut all, line| {
            *all.entry(line.to_owned()).or_default() += 1;
            all
        })
    };
    let (mut theirs, mut own) = (count(host), count(ours));
    for (host, ours, _) in meant {
        theirs.remove(*host);
        own.remove(*ours);
    }
    let missing = host.lines().filter(|line| theirs.get(*line) > own.get(*line)).map(|line| format!("host: {line}"));
    let more = ours.lines().filter(|line| own.get(*line) > theirs.get(*line)).map(|line| format!("rump: {line}"));
    missing.chain(more).collect()
}

/// Fails with the differences, few enough to be read.
fn agree(what: &str, host: &str, ours: &str, meant: &[Meant]) {
    assert!(host.lines().count() > 100, "{what}: the host said only {host}");
    let differences = differences(host, ours, meant);
    let shown: Vec<&str> = differences.iter().take(60).map(String::as_str).collect();
    assert!(differences.is_empty(), "{what}: {} lines differ\n{}", differences.len(), shown.join("\n"));
}

/// The suite makes files of other users: on the host only the superuser can.
fn superuser() -> bool {
    let own = rustix::process::geteuid().is_root();
    if !own {
        eprintln!("skipped: the host's side of the suite needs the superuser");
    }
    own
}

/// Everything that one process can see, on each type.
#[test]
fn every_type_agrees_with_the_host() {
    if !superuser() {
        return;
    }
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for Type { name, source, lacks, meant } in TYPES {
        let lacks_of_host = lacks_of(lacks);
        let host = known.entry(lacks_of_host.clone()).or_insert_with(|| without_children(&native(lacks, &[])));
        let rump = Rump::start(Transport::Local);
        let mounted = source.map_or("-".into(), |make| {
            let (source, options) = make(rump.folder());
            format!("{name} {source} {options}")
        });
        let mut command = rump.launch(&["--creds=peer"], built("conformance"));
        let ours = stdout(command.args(["/rump/tmp", &mounted, &lacks_of_host, "alone"]));
        agree(&format!("{name} ({mounted})"), host, &ours, meant);
    }
}

/// Leaves out what families with children say.
fn without_children(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("locks |")).map(|line| format!("{line}\n")).collect()
}

/// The families in which the way takes part, on a server that others can use as well.
#[test]
fn the_way_to_a_server_changes_nothing() {
    if !superuser() {
        return;
    }
    let host = native(&[], ON_THE_WAY);
    let rump = Rump::start_with(Transport::Unix, &["--creds=peer"]);
    let mut command: Command = rump.command(built("conformance"));
    let ours = stdout(command.args(["/rump/tmp", "-", &lacks_of(&[]), "children"]).args(ON_THE_WAY));
    agree("unix", &host, &ours, &[]);
}

/// A few on the launcher's own server, whose clients have their own credentials if it is told so.
#[test]
fn a_private_server_agrees_as_well() {
    if !superuser() {
        return;
    }
    let families = ["names", "gone", "locks", "modes"];
    let host = native(&[], &families);
    let rump = Rump::start(Transport::Private);
    let mut command = rump.launch(&["--creds=peer"], built("conformance"));
    let ours = stdout(command.args(["/rump/tmp", "-", &lacks_of(&[]), "children"]).args(families));
    agree("private", &host, &ours, &[]);
}
