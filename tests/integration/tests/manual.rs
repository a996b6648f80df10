//! The manual pages name what `--help` names, and nothing else.

use std::collections::BTreeSet;

use integration::{built, limited, stdout};

fn help(words: &[&str]) -> String {
    stdout(limited(built(words[0])).args(&words[1..]).arg("--help"))
}

/// The first words of the lines below a heading of a help text.
fn below<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let rest = help.split_once(&format!("\n{heading}:\n")).map_or("", |(_, rest)| rest);
    rest.lines().take_while(|line| line.is_empty() || line.starts_with(' ')).map(str::trim_start)
}

/// The options of a help text, as `-s` and `--server`.
fn options(help: &str) -> BTreeSet<String> {
    let lines = below(help, "Options").filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split([' ', '[', '=', ',']));
    words.filter(|word| word.starts_with('-')).map(str::to_owned).collect()
}

/// The words behind an mdoc macro in the items of a page.
fn items(page: &str, mdoc: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix(".It ")) {
        let words: Vec<&str> = line.split(' ').collect();
        found.extend(words.windows(2).filter(|pair| pair[0] == mdoc).map(|pair| pair[1].to_owned()));
    }
    found
}

/// The options that a page explains.
fn explained(page: &str) -> BTreeSet<String> {
    items(page, "Fl").into_iter().map(|name| format!("-{name}")).collect()
}

fn page(name: &str) -> String {
    let path = format!("{}/../../docs/man/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn each_option_stands_in_its_page() {
    for program in ["rumphijack", "rump_server"] {
        assert_eq!(options(&help(&[program])), explained(&page(&format!("{program}.1"))), "{program}");
    }
}

#[test]
fn each_command_of_rumpctl_and_its_options_stand_in_its_page() {
    let (own, page) = (help(&["rumpctl"]), page("rumpctl.1"));
    let commands: BTreeSet<String> = below(&own, "Commands")
        .filter_map(|line| line.split(' ').next())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(commands.contains("ps"), "{own}");
    assert_eq!(commands, items(&page, "Cm"));
    let mut all = options(&own);
    for command in commands.iter().filter(|command| *command != "help") {
        all.extend(options(&help(&["rumpctl", command])));
    }
    assert_eq!(all, explained(&page));
}
