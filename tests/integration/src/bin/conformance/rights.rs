//! Each operation by a user: whose the file is, whose the directory, and what their modes are.

use super::prelude::*;

/// Owner and mode of the directory.
const PARENTS: &[(&str, u32, u32)] = &[
    ("own", USER, 0o755),
    ("open", OTHER, 0o777),
    ("sticky", OTHER, 0o1777),
    ("own sticky", USER, 0o1777),
    ("foreign", OTHER, 0o755),
    ("unsearchable", OTHER, 0o666),
    ("own unwritable", USER, 0o555),
    ("own unreadable", USER, 0o333),
    ("of the group", OTHER, 0o770),
];

/// Owner and mode of the thing.
const THINGS: &[(u32, u32)] =
    &[(USER, 0o644), (OTHER, 0o644), (OTHER, 0o666), (OTHER, 0o600), (USER, 0o000), (OTHER, 0o111), (USER, 0o500)];

/// All of them.
pub fn all() {
    unsafe {
        assert_eq!(setgroups(1, &GROUP) | setegid(USER), 0);
    }
    each();
    unsafe {
        assert_eq!(setegid(0) | setgroups(0, null()), 0);
    }
    sticky();
    real_and_effective();
}

/// Whether it depends on what the administrator of a Linux allows (`fs.protected_hardlinks`, `_symlinks`, `_fifos`, `_regular`).
fn depends(thing: Thing, owner: u32, parent_mode: u32, operation: &str) -> bool {
    let foreign = owner != USER && thing != Thing::None;
    let sticky = parent_mode & 0o1000 != 0;
    (foreign && operation.starts_with("link "))
        || (foreign && sticky && (thing == Thing::ToFile || operation == "open creat"))
}

fn each() {
    let things = [Thing::None, Thing::File, Thing::Empty, Thing::Full, Thing::ToFile, Thing::Fifo, Thing::Socket];
    for (parent, parent_owner, parent_mode) in PARENTS {
        for thing in things.into_iter().filter(|thing| Thing::all().any(|here| here == *thing)) {
            let modes = match thing {
                Thing::None => &THINGS[..1],
                Thing::File => THINGS,
                _ => &THINGS[..4],
            };
            for (owner, mode) in modes.iter().filter(|_| chosen()) {
                let renew = || {
                    wipe_name("p");
                    unsafe {
                        mkdir(c"p".as_ptr(), 0o755);
                        thing.make("p/t");
                        bystanders();
                        if thing != Thing::None {
                            // Of a link, what it leads to; the link's owner is what matters in a sticky directory.
                            chown(c"p/t".as_ptr(), *owner, *owner);
                            lchown(c"p/t".as_ptr(), *owner, *owner);
                            chmod(c"p/t".as_ptr(), *mode);
                        }
                        let group = if *parent == "of the group" { GROUP } else { *parent_owner };
                        chown(c"p".as_ptr(), *parent_owner, group);
                        chmod(c"p".as_ptr(), *parent_mode);
                        chmod(c".".as_ptr(), 0o777);
                        for name in [c"file", c"dir"] {
                            chown(name.as_ptr(), USER, USER);
                        }
                    }
                };
                renew();
                let operations = operations();
                let policy = |name: &str| depends(thing, *owner, *parent_mode, name);
                let here = format!("{thing:?} {owner}:{mode:o} in {parent}");
                unsafe {
                    assert_eq!(seteuid(USER), 0);
                    for ((name, op), changes) in operations.iter().filter(|((name, _), _)| !policy(name)) {
                        let answer = op(c"p/t");
                        if !changes || answer.starts_with('E') {
                            line(format_args!("{here}: {name}: {answer}"));
                            continue;
                        }
                        assert_eq!(seteuid(0), 0);
                        line(format_args!("{here}: {name}: {answer} -> {}", thing.look("p/t")));
                        renew();
                        assert_eq!(seteuid(USER), 0);
                    }
                    assert_eq!(seteuid(0), 0);
                }
                line(format_args!("{here}: in the end {} {}", thing.look("p/t"), bystanders_now()));
            }
        }
    }
}

/// Who may take what out of whose sticky directory, and put something in its place.
fn sticky() {
    for parent in [0, USER, OTHER] {
        for owner in [0, USER, OTHER] {
            for victim in [0, USER, OTHER] {
                for thing in [Thing::File, Thing::Empty] {
                    let renew = || unsafe {
                        wipe_name("p");
                        wipe_name("q");
                        for dir in [c"p", c"q"] {
                            mkdir(dir.as_ptr(), 0o755);
                        }
                        thing.make("p/t");
                        thing.make("p/u");
                        chown(c"p/t".as_ptr(), owner, owner);
                        chown(c"p/u".as_ptr(), victim, victim);
                        chown(c"p".as_ptr(), parent, parent);
                        chmod(c"p".as_ptr(), 0o1777);
                        chmod(c"q".as_ptr(), 0o777);
                    };
                    let answers: Vec<String> = [("p/t", "p/new"), ("p/t", "p/u"), ("p/t", "q/t"), ("p/u", "")]
                        .map(|(from, to)| {
                            renew();
                            as_user(|| match to {
                                "" => said(unsafe { remove(c(from).as_ptr()) }),
                                _ => said(unsafe { rename(c(from).as_ptr(), c(to).as_ptr()) }),
                            })
                        })
                        .into();
                    line(format_args!("sticky of {parent}: {thing:?} of {owner} over {victim}: {}", answers.join(" ")));
                }
            }
        }
    }
}

/// access(2) asks the real user, everything else the effective one.
fn real_and_effective() {
    Thing::File.renew("t");
    unsafe {
        for mode in [0o600, 0o644, 0o700, 0o000] {
            chmod(c".".as_ptr(), 0o755);
            chmod(c"t".as_ptr(), mode);
            chown(c"t".as_ptr(), OTHER, OTHER);
            as_user(|| {
                for (what, ask) in [("R", R_OK), ("W", W_OK), ("X", X_OK), ("F", F_OK)] {
                    let real = said(access(c"t".as_ptr(), ask));
                    let effective = said(faccessat(AT_FDCWD, c"t".as_ptr(), ask, AT_EACCESS));
                    line(format_args!("{mode:o} {what}: real {real}, effective {effective}"));
                }
            });
        }
    }
    wipe(".");
}
