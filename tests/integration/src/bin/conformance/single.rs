//! Each operation on each kind of file, by each way to spell its path.

use super::prelude::*;

/// What comes around the name of a path.
const SPELLINGS: &[(&str, &str)] = &[
    ("", ""),
    ("", "/"),
    ("", "/."),
    ("", "/.."),
    ("", "//"),
    ("", "/in"),
    ("", "/new"),
    ("./", ""),
    ("dir/../", ""),
    ("no/", ""),
    ("file/", ""),
    ("file/../", ""),
];

/// All of them.
pub fn all() {
    for thing in Thing::all() {
        for (before, after) in SPELLINGS.iter().filter(|_| chosen()) {
            let path = c(&format!("{before}t{after}"));
            bystanders();
            thing.renew("t");
            let intact = (thing.look("t"), bystanders_now(), look(c"t"));
            for ((name, op), changes) in operations() {
                let answer = op(&path);
                if !changes {
                    line(format_args!("{thing:?} {}: {name}: {answer}", path.to_string_lossy()));
                    continue;
                }
                if answer.starts_with('E') && look(c"t") == intact.2 {
                    line(format_args!("{thing:?} {}: {name}: {answer}", path.to_string_lossy()));
                    continue;
                }
                let now = (thing.look("t"), bystanders_now());
                let same = now.0 == intact.0 && now.1 == intact.1;
                let told = if same { String::new() } else { format!(" -> {} | {}", now.0, now.1) };
                line(format_args!("{thing:?} {}: {name}: {answer}{told}", path.to_string_lossy()));
                bystanders();
                thing.renew("t");
            }
        }
    }
}

/// Flags of open(2) that depend on each other.
const FLAGS: &[(&str, c_int)] = &[
    ("creat", O_CREAT),
    ("excl", O_EXCL),
    ("trunc", O_TRUNC),
    ("dir", O_DIRECTORY),
    ("nofollow", O_NOFOLLOW),
    ("path", O_PATH),
];

/// Access modes; the last is for neither reading nor writing.
const MODES: &[(&str, c_int)] = &[("r", O_RDONLY), ("w", O_WRONLY), ("rw", O_RDWR), ("none", O_ACCMODE)];

/// All combinations of flags of open(2) on each kind of file.
pub fn flags() {
    for thing in Thing::all() {
        thing.renew("t");
        let intact = thing.look("t");
        for (mode_name, mode) in MODES {
            for bits in 0..1 << FLAGS.len() {
                let chosen = FLAGS.iter().enumerate().filter(|(at, _)| bits >> at & 1 != 0).map(|(_, flag)| flag);
                let (names, flags): (Vec<&str>, Vec<c_int>) = chosen.copied().unzip();
                let flags = flags.iter().fold(mode | O_NONBLOCK, |all, flag| all | flag);
                let answer = opened(unsafe { open(c"t".as_ptr(), flags, 0o604) });
                let now = thing.look("t");
                let told = if now == intact { String::new() } else { format!(" -> {now}") };
                line(format_args!("{thing:?} {mode_name} {}: {answer}{told}", names.join("|")));
                if now != intact {
                    thing.renew("t");
                }
            }
        }
    }
}
