//! What the host says of the suite, and how it is compared with what we say.
//!
//! A difference that is meant stands in a text: `# why`, then pairs of lines, `- ` what the host's tmpfs says and `+ ` what the type
//! says. Where Linux has the type, what stands there is what Linux says of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use integration::{built, limited, output, stdout};

/// The host's answers so far, by what is lacking and which families were asked for.
#[derive(Default)]
pub struct Judge(Mutex<HashMap<String, Arc<Mutex<Option<String>>>>>);

impl Judge {
    /// Runs the suite on the host, once for each question; `None` where a read-only tmpfs is needed and cannot be had.
    pub fn says(&self, lacks: &[&str], families: &[&str]) -> Option<String> {
        let question = format!("{} {}", list(lacks), families.join(" "));
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default().clone();
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_none() {
            *answer = native(lacks, families);
        }
        answer.clone()
    }
}

/// Runs the suite on a tmpfs of its own, or in /dev/shm where that may not be (which may know no devices).
fn native(lacks: &[&str], families: &[&str]) -> Option<String> {
    let suite = built("conformance");
    let lack = list(lacks);
    if can_mount() {
        // A tree is made before nothing can be written any more.
        let script = "mount -t tmpfs -o mode=755 none /mnt; cd /
            case $1 in *writing*) \"$0\" tree /mnt \"$2\"; mount -o remount,ro /mnt;; esac
            lacks=$1; shift 2; exec \"$0\" /mnt - \"$lacks\" children \"$@\"";
        let mut command = limited("unshare");
        command.args(["-m", "sh", "-ec", script]).arg(suite).args([&lack, &writable(&lack)]).args(families);
        return Some(stdout(&mut command));
    }
    if lacks.contains(&"writing") {
        return None;
    }
    let folder = folder();
    Some(stdout(limited(suite).arg(folder.path()).args(["-", &lack, "children"]).args(families)))
}

/// Whether a file system can be mounted natively, in a name space of its own.
fn can_mount() -> bool {
    let script = "mount -t tmpfs none /mnt";
    output(limited("unshare").args(["-m", "sh", "-c", script])).status.success()
}

/// A folder on the host's tmpfs that all users may enter.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let world = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(world).tempdir_in("/dev/shm").expect("a folder in /dev/shm")
}

/// What is lacking, as the suite is told: what the host lacks as well, since both must say the same.
pub fn list(lacks: &[&str]) -> String {
    let own: &[&str] = if can_mount() { &[] } else { &["mounts", "devices"] };
    let own = own.iter().filter(|own| !lacks.contains(own));
    let all: Vec<&str> = lacks.iter().chain(own).copied().collect();
    if all.is_empty() { "-".into() } else { all.join(",") }
}

/// The same list for a file system of the kind that can still be written.
pub fn writable(lacks: &str) -> String {
    let all: Vec<&str> = lacks.split(',').filter(|lack| *lack != "writing").collect();
    if all.is_empty() { "-".into() } else { all.join(",") }
}

/// Puts what is meant into what the host says: each `-` line must be there, and becomes the `+` line behind it.
fn corrected(host: &str, meant: &str) -> String {
    let pairs: Vec<(&str, &str)> = meant
        .split("\n- ")
        .skip(1)
        .map(|pair| {
            let (from, rest) = pair.split_once("\n+ ").expect("a `- ` line, then a `+ ` line");
            (from, rest.lines().next().expect("a line"))
        })
        .collect();
    let mut known: HashMap<&str, (&str, bool)> = pairs.iter().map(|(from, to)| (*from, (*to, false))).collect();
    let mut text = String::with_capacity(host.len());
    for line in host.lines() {
        let shown = match known.get_mut(line) {
            Some((to, used)) => {
                *used = true;
                *to
            }
            None => line,
        };
        text.push_str(shown);
        text.push('\n');
    }
    let stale: Vec<&&str> = known.iter().filter(|(_, (_, used))| !used).map(|(from, _)| from).collect();
    assert!(stale.is_empty(), "the host says no more: {stale:#?}");
    text
}

/// Fails with the lines that differ, few enough to be read.
pub fn agree(what: &str, host: &str, ours: &str, meant: &str) {
    assert!(host.lines().count() > 100, "{what}: the host said only {host}");
    let host = corrected(host, meant);
    let count = |text: &str| {
        text.lines().fold(BTreeMap::<String, i32>::new(), |mut all, line| {
            *all.entry(line.to_owned()).or_default() += 1;
            all
        })
    };
    let (theirs, own) = (count(&host), count(ours));
    let missing = host.lines().filter(|line| theirs.get(*line) > own.get(*line)).map(|line| format!("host: {line}"));
    let more = ours.lines().filter(|line| own.get(*line) > theirs.get(*line)).map(|line| format!("rump: {line}"));
    let differences: Vec<String> = missing.chain(more).collect();
    let shown: Vec<&str> = differences.iter().take(60).map(String::as_str).collect();
    assert!(differences.is_empty(), "{what}: {} lines differ\n{}", differences.len(), shown.join("\n"));
}

/// Leaves out what families with children say.
pub fn without_children(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("locks |")).map(|line| format!("{line}\n")).collect()
}
