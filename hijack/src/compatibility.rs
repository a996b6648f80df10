//! The section "Functions of libc" of `docs/COMPATIBILITY.md`, made from the tables.
//!
//! `compatibility.tsv` names glibc's functions that concern files, paths, sockets and processes, and the calls that each makes. What
//! becomes of a function follows from the two tables; only what no table knows (a call that concerns the host alone, a function
//! that is not served) is written here.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::calls::{self, Row};
use crate::symbols;

/// The page, from the root of the repository.
const PATH: &str = "docs/COMPATIBILITY.md";

const BEGIN: &str = "<!-- functions: made by `make tables` from hijack/src -->\n";
const END: &str = "<!-- functions: end -->\n";

/// glibc's functions.
const FUNCTIONS: &str = include_str!("compatibility.tsv");

/// Calls that touch nothing of a rump kernel, and why. (One that gets a row in the calls table counts as that from then on.)
const HOST: &[(&str, &str)] = &[
    ("munmap mremap msync remap_file_pages process_vm_readv process_vm_writev", "memory of the process"),
    (
        "uname sethostname setdomainname sysinfo prlimit64 sched_setaffinity ustat vhangup unshare",
        "the host's own affairs",
    ),
    ("tgkill wait4", "processes and threads are the host's"),
    ("clone clone3 vfork", "the process is the host's; its copy in the rump kernel is made beside it"),
    ("pipe2 eventfd2 timerfd_create memfd_create pidfd_open fsopen", "a new descriptor of the host"),
    ("inotify_init inotify_init1 fanotify_init", "a new descriptor of the host"),
    ("mq_open mq_unlink mq_notify mq_timedsend mq_timedreceive mq_getsetattr", "queues have names of their own"),
    ("inotify_rm_watch pidfd_getfd", "a rump descriptor is refused by the host"),
];

/// Functions that are not served as long as one of their calls has no row, and why.
const NOT_SERVED: &[(&str, &str)] = &[
    ("clone __clone", "a bare clone(2) that does not share memory gets no copy of the rump process"),
    ("_Fork", "runs no handlers of fork: the child has no rump process"),
    ("__vfork __fork", "old names of fork and vfork: the child has its rump process, the call no refusal of its own"),
    ("_IO_popen", "an old name of popen, whose child must not change rump descriptors"),
];

/// What becomes of a function, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Row,
    Refused,
    Deep,
    Host,
    NoCall,
    NotServed,
}

impl Level {
    const ALL: [Level; 6] = [Level::Row, Level::Refused, Level::Deep, Level::Host, Level::NoCall, Level::NotServed];

    /// The word for it, and what it means.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Level::Row => ("own row", "the function is hooked itself, and served with `deep=off` as well"),
            Level::Refused => {
                ("refused", "hooked; a rump object answers with the errno that Linux has for an object that cannot")
            }
            Level::Deep => ("deep", "each of the calls that it makes inside libc is taken there"),
            Level::Host => ("host", "it concerns the host alone, whatever its arguments"),
            Level::NoCall => ("no call", "it makes no system call"),
            Level::NotServed => ("not served", "see the reasons below"),
        }
    }
}

/// A line of the list.
struct Function {
    group: &'static str,
    name: &'static str,
    kind: &'static str,
    calls: Vec<&'static str>,
}

fn functions() -> impl Iterator<Item = Function> {
    FUNCTIONS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [group, name, kind, calls] = fields[..] else { panic!("a line of four fields: {line}") };
        let calls = calls.split(',').filter(|call| *call != "-").collect();
        Function { group, name, kind, calls }
    })
}

/// The words beside `key` in a list of keys.
fn beside(list: &[(&'static str, &'static str)], key: &str) -> Option<&'static str> {
    list.iter().find(|(keys, _)| keys.split(' ').any(|known| known == key)).map(|(_, words)| *words)
}

fn row(call: &str) -> Option<&'static Row> {
    calls::TABLE.iter().find(|row| row.plain_name() == call)
}

/// What becomes of a function; an error names the call that nobody knows of.
fn level(function: &Function) -> Result<Level, String> {
    let name = function.name;
    if let Some(symbol) = symbols::TABLES.into_iter().flatten().find(|symbol| symbol.name == name) {
        let refused = symbol.call.and_then(|call| calls::TABLE.iter().find(|row| row.name == call));
        let refused = refused.is_some_and(|row| row.handler.starts_with("refuse::"));
        return Ok(if refused { Level::Refused } else { Level::Row });
    }
    if beside(NOT_SERVED, name).is_some() && function.calls.iter().any(|call| row(call).is_none()) {
        return Ok(Level::NotServed);
    }
    if function.calls.is_empty() {
        return Ok(Level::NoCall);
    }
    match function.calls.iter().find(|call| row(call).is_none() && beside(HOST, call).is_none()) {
        Some(unknown) => Err(format!("{name} makes {unknown}, which is in no table")),
        None if function.calls.iter().any(|call| row(call).is_some()) => Ok(Level::Deep),
        None => Ok(Level::Host),
    }
}

fn section() -> String {
    let mut text = String::from(
        "## Functions of libc\n\n\
         Each function of glibc that concerns files, paths, sockets or processes, by what becomes of it when its argument is a rump\n\
         object:\n\n| level | means | functions |\n|---|---|---|\n",
    );
    let all: Vec<(Function, Level)> = functions()
        .map(|function| (level(&function), function))
        .map(|(level, function)| (function, level.unwrap_or_else(|error| panic!("{error}"))))
        .collect();
    for level in Level::ALL {
        let (word, means) = level.words();
        let count = all.iter().filter(|(_, of)| *of == level).count();
        writeln!(text, "| {word} | {means} | {count} |").unwrap();
    }
    let mut groups: Vec<&str> = Vec::new();
    all.iter().for_each(|(function, _)| {
        if !groups.contains(&function.group) {
            groups.push(function.group);
        }
    });
    text.push_str("\n| group | level | functions |\n|---|---|---|\n");
    for group in groups {
        for level in Level::ALL {
            let names: Vec<_> = all
                .iter()
                .filter(|(f, of)| f.group == group && *of == level)
                .map(|(f, _)| format!("`{}`", f.name))
                .collect();
            if !names.is_empty() {
                writeln!(text, "| {group} | {} | {} |", level.words().0, names.join(" ")).unwrap();
            }
        }
    }
    text.push_str("\nNot served:\n\n");
    for (names, why) in NOT_SERVED {
        let names =
            names.split(' ').filter(|name| all.iter().any(|(f, of)| f.name == *name && *of == Level::NotServed));
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        if !names.is_empty() {
            writeln!(text, "* {}: {why}.", names.join(", ")).unwrap();
        }
    }
    text.push_str("\nThe host's, with the reason:\n\n");
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (function, _) in all.iter().filter(|(_, of)| *of == Level::Host) {
        let why = function.calls.iter().find_map(|call| beside(HOST, call)).unwrap_or_default();
        reasons.entry(why).or_default().push(format!("`{}`", function.name));
    }
    for (why, names) in reasons {
        writeln!(text, "* {why}: {}.", names.join(" ")).unwrap();
    }
    text.push('\n');
    text
}

/// Returns `page` with its section as the tables have it now, in front of what else stands there.
fn renew(page: &str) -> String {
    let (before, after) = match page.split_once(BEGIN) {
        Some((before, rest)) => (before, rest.split_once(END).map_or("", |(_, after)| after)),
        None => page.split_once("<!-- ").map_or((page, ""), |(before, _)| page.split_at(before.len())),
    };
    format!("{before}{BEGIN}{}{END}{after}", section())
}

fn page() -> (String, String) {
    let path = format!("{}/../{PATH}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).expect(PATH);
    (path, page)
}

#[test]
fn each_function_of_libc_has_a_level() {
    let unknown: Vec<String> = functions().filter_map(|function| level(&function).err()).collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn a_primitive_that_can_touch_a_rump_object_has_its_own_row() {
    let without = functions().filter(|function| function.kind == "primitive" && level(function) == Ok(Level::Deep));
    assert_eq!(without.map(|function| function.name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_page_agrees_with_the_tables() {
    let (_, page) = page();
    assert!(page == renew(&page), "{PATH} is stale: run `make tables`");
}

#[test]
#[ignore = "writes the page; run by `make tables`"]
fn write_the_page() {
    let (path, page) = page();
    std::fs::write(path, renew(&page)).expect(PATH);
}
