//! Operations on two paths: each kind of file by each.

use super::prelude::*;

/// A name, what the file system must have for it, and the call.
type Both = (&'static str, Option<Has>, fn(&CStr, &CStr) -> c_int);

fn renamed(from: &CStr, to: &CStr, flags: c_uint) -> c_int {
    unsafe { renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), flags) }
}

const BOTH: &[Both] = &[
    ("link", Some(Has::Links), |from, to| unsafe { link(from.as_ptr(), to.as_ptr()) }),
    ("link followed", Some(Has::Links), |from, to| unsafe {
        linkat(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), AT_SYMLINK_FOLLOW)
    }),
    ("rename", None, |from, to| unsafe { libc::rename(from.as_ptr(), to.as_ptr()) }),
    ("noreplace", Some(Has::Linux), |from, to| renamed(from, to, RENAME_NOREPLACE)),
    ("exchange", Some(Has::Linux), |from, to| renamed(from, to, RENAME_EXCHANGE)),
];

/// What comes behind the first and the second name.
const SLASHES: &[(&str, &str)] = &[("", ""), ("/", ""), ("", "/"), ("/", "/"), ("/.", ""), ("", "/.."), ("", "/new")];

/// All of them, in one directory and across two.
pub fn all() {
    unsafe {
        mkdir(c"s".as_ptr(), 0o755);
    }
    for (name, _, op) in BOTH.iter().filter(|(_, has, _)| has.is_none_or(Has::here)) {
        for from in Thing::all() {
            for to in Thing::all().filter(|_| chosen()) {
                for place in ["u", "s/u"] {
                    let renew = || {
                        from.renew("t");
                        to.renew(place);
                    };
                    renew();
                    let intact = (from.look("t"), to.look(place));
                    for (first, second) in SLASHES.iter().take(if place == "u" { SLASHES.len() } else { 4 }) {
                        let paths = (format!("t{first}"), format!("{place}{second}"));
                        let answer = said(op(&c(&paths.0), &c(&paths.1)));
                        let now = (from.look("t"), to.look(place));
                        let told = if now == intact { String::new() } else { format!(" -> {}, {}", now.0, now.1) };
                        line(format_args!("{name} {from:?} {} {to:?} {}: {answer}{told}", paths.0, paths.1));
                        if answer == "0" {
                            renew();
                        }
                    }
                }
            }
        }
    }
}

/// Moves that would break the tree, and other odd pairs.
pub fn rename() {
    let fresh = || {
        for name in ["a", "b", "f", "g"] {
            wipe_name(name);
        }
        for name in ["a", "a/b", "a/b/c", "b"] {
            assert_eq!(unsafe { mkdir(c(name).as_ptr(), 0o755) }, 0);
        }
        Thing::File.make("f");
        if Has::Links.here() {
            assert_eq!(unsafe { link(c"f".as_ptr(), c"g".as_ptr()) }, 0);
        } else {
            Thing::File.make("g");
        }
    };
    let long = "n".repeat(255);
    let longer = "n".repeat(256);
    let pairs: &[(&str, &str)] = &[
        ("a", "a"),
        ("a", "a/"),
        ("a", "a/b"),
        ("a", "a/new"),
        ("a", "a/b/c"),
        ("a", "a/b/c/new"),
        ("a", "a/b/../new"),
        ("a/b", "a"),
        ("a/b/c", "a"),
        ("a/b/c", "a/b"),
        ("a/b", "b"),
        ("a/b", "b/new"),
        ("a/b/c", "b"),
        ("a", "b"),
        ("b", "a"),
        ("b", "a/b/c"),
        (".", "new"),
        ("a", "."),
        ("..", "new"),
        ("a", ".."),
        ("a/.", "new"),
        ("a/..", "new"),
        ("a", "b/."),
        ("a", "b/.."),
        ("", "new"),
        ("a", ""),
        ("", ""),
        ("no", "no"),
        ("no", "new"),
        ("no/x", "new"),
        ("a", "no/x"),
        ("f/x", "new"),
        ("a", "f/x"),
        ("f", "f"),
        ("f", "g"),
        ("f", "a/new"),
        ("f", "a/b"),
        ("a", "f"),
        ("f", &long),
        ("f", &longer),
        (&longer, "new"),
        ("no", &longer),
        ("f", "./f"),
        ("f", "a/../f"),
    ];
    let flags = [
        ("rename", 0),
        ("noreplace", RENAME_NOREPLACE),
        ("exchange", RENAME_EXCHANGE),
        ("both", RENAME_NOREPLACE | RENAME_EXCHANGE),
        ("bad flag", 0x80),
    ];
    let flags = flags.iter().take(if Has::Linux.here() { flags.len() } else { 1 });
    for (name, flags) in flags {
        for (from, to) in pairs {
            fresh();
            let answer = said(renamed(&c(from), &c(to), *flags));
            let tree: Vec<String> =
                ["a", "a/b", "a/b/c", "b", "b/new", "b/c", "new", "f", "g", "a/new"].map(|name| look(&c(name))).into();
            let (from, to) =
                (from.replace(&longer, "256").replace(&long, "255"), to.replace(&longer, "256").replace(&long, "255"));
            line(format_args!("{name} {from} {to}: {answer} {}", tree.join(" ")));
            wipe_name("new");
            wipe_name(&long);
        }
    }
}
