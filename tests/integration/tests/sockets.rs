//! Everything that a program can ask of a socket is asked by a scenario: `data/sockets.tsv` says which, and is held against their source, and
//! against the options that the wire knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use integration::{built, limited, stdout};

const TABLE: &str = include_str!("data/sockets.tsv");

/// A row: the subject, the words that stand for it, and the scenarios, or a reason.
struct Row {
    subject: &'static str,
    words: Vec<&'static str>,
    scenarios: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let [subject, words, scenarios] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {line}")
        };
        let of = |column: &'static str| column.split_whitespace().collect();
        match words {
            "-" => Row { subject, words: Vec::new(), scenarios: Vec::new() },
            _ => Row { subject, words: of(words), scenarios: of(scenarios) },
        }
    };
    lines.map(row).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The functions and constants of a file, by name; without comments.
fn items(source: &str) -> BTreeMap<String, String> {
    let mut items: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in source.lines() {
        if line.starts_with(|c: char| c.is_alphabetic()) {
            let mut rest = words(line).skip_while(|word| !matches!(*word, "fn" | "const" | "static"));
            // The name comes behind the last of them, as in `const fn`.
            let name = rest.find(|word| !matches!(*word, "fn" | "const" | "static" | "unsafe" | "extern" | "C"));
            current = name.map(str::to_owned);
        }
        if let Some(name) = &current {
            if !line.trim_start().starts_with("//") {
                let text = items.entry(name.clone()).or_default();
                text.push_str(line);
                text.push('\n');
            }
            let whole = line.ends_with(';') && !line.starts_with(' ');
            if whole || matches!(line, "}" | "];") {
                current = None;
            }
        }
    }
    items
}

/// The words of each scenario: of its row, and of what that names in its file, and so on.
fn scenarios() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/scenario")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let items = items(&std::fs::read_to_string(path).unwrap());
            let Some(table) = items.get("TABLE") else { continue };
            // A row is `("name", Needs, function)`.
            for row in table.split("(\"").skip(1) {
                let Some((name, rest)) = row.split_once('"') else { continue };
                let mut found: BTreeSet<String> = BTreeSet::new();
                let mut next: Vec<&str> = words(rest).collect();
                while let Some(word) = next.pop() {
                    if found.insert(word.to_owned()) && word != "TABLE" {
                        next.extend(items.get(word).into_iter().flat_map(|text| words(text)));
                    }
                }
                all.insert(name.to_owned(), found);
            }
        }
    }
    all
}

#[test]
fn each_subject_has_scenarios_that_speak_of_it() {
    let sources = scenarios();
    let known = stdout(limited(built("scenario")).arg("-"));
    let known: BTreeSet<&str> = known.lines().filter_map(|line| line.split(' ').next()).collect();
    for Row { subject, words, scenarios } in rows() {
        assert_eq!(words.is_empty(), scenarios.is_empty(), "{subject}");
        for scenario in scenarios {
            assert!(known.contains(scenario), "{subject}: there is no scenario {scenario}");
            let source = sources.get(scenario).unwrap_or_else(|| panic!("{subject}: no source of {scenario}"));
            for word in &words {
                assert!(source.contains(*word), "{subject}: {scenario} does not speak of {word}");
            }
        }
    }
}

#[test]
fn each_option_has_a_row() {
    let subjects: BTreeSet<&str> = rows().iter().map(|row| row.subject).collect();
    let options = abi::socket::OPTIONS.iter().filter(|option| option.linux.is_some());
    let missing: Vec<&str> = options.map(|option| option.name).filter(|name| !subjects.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn no_subject_stands_twice() {
    let all = rows();
    let subjects: BTreeSet<&str> = all.iter().map(|row| row.subject).collect();
    assert_eq!(subjects.len(), all.len());
}
