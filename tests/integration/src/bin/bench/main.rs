//! Measures against the host, side by side in one run: medians of several runs, and their ratio.

mod passing;
mod rows;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use integration::{Rump, Transport, built};

/// What is measured: the name, and a Python-free loop of the `scenario`-like worker below.
const LOADS: &[(&str, &str)] = &[
    ("start-up of true", "true"),
    ("shell loop of 200 writes", "for i in $(seq 200); do echo $i; done > \"$DIR/f\""),
    ("dd 16 MiB in 64 KiB writes", "dd if=/dev/zero of=\"$DIR/g\" bs=64k count=256 2> /dev/null"),
    ("cat 16 MiB", "cat \"$DIR/g\" > /dev/null"),
];

/// What is measured in a folder of the host, beside the same folder without us.
const FOLDER_LOADS: &[(&str, &str)] = &[
    ("cp -a of a tree", "rm -rf \"$DIR/t\"; cp -a /usr/include/linux/netfilter \"$DIR/t\""),
    ("find in it", "find \"$DIR/t\" -type f | wc -l > /dev/null"),
    ("diff -r of it", "diff -r /usr/include/linux/netfilter \"$DIR/t\""),
    ("tar of it", "tar cf \"$DIR/t.tar\" -C \"$DIR\" t"),
    ("dd 16 MiB in 64 KiB writes", "dd if=/dev/zero of=\"$DIR/g\" bs=64k count=256 2> /dev/null"),
];

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn measure(mut make: impl FnMut() -> Command) -> f64 {
    let runs = (0..7).map(|_| {
        let mut command = make();
        let begin = Instant::now();
        assert!(command.status().expect("sh").success());
        begin.elapsed().as_secs_f64() * 1000.0
    });
    median(runs.collect())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "passing") {
        return passing::worker(arguments.len() > 1);
    }
    let rump = Rump::start(Transport::Unix);
    if arguments.first().is_some_and(|first| first == "calls") {
        return passing::table(&rump, arguments.get(1).map_or("", String::as_str));
    }
    if arguments.first().is_some_and(|first| first == "start") {
        return passing::start_up(&rump);
    }
    let host = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
    side_by_side("load", LOADS, &rump, host.path(), "/rump/tmp");
    let shown = host.path().to_str().expect("a path that is text");
    rump.ctl(&["mount", "-t", "hostfs", shown, "/home"]);
    side_by_side("load on hostfs", FOLDER_LOADS, &rump, host.path(), "/rump/home");
    passing::start_up(&rump);
    passing::table(&rump, "");
}

/// Runs loads in a folder of the host, then in one of the rump kernel.
fn side_by_side(title: &str, loads: &[(&str, &str)], rump: &Rump, host: &Path, inside: &str) {
    println!("{title:<30} {:>10} {:>10} {:>8}", "host ms", "rump ms", "ratio");
    for (name, script) in loads {
        let native = measure(|| {
            let mut command = Command::new("sh");
            command.args(["-ec", script]).env("DIR", host);
            command
        });
        let ours = measure(|| {
            let mut command = Command::new("sh");
            command.args(["-ec", script]).env("DIR", inside).env("RUMP_SERVER", rump.url());
            command.env("LD_PRELOAD", built("librumphijack.so"));
            command
        });
        println!("{name:<30} {native:>10.2} {ours:>10.2} {:>8.2}", ours / native);
    }
}
