//! Measures against the host, side by side in one run: medians of several runs, and their ratio.

mod passing;
mod rows;

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
    println!("{:<30} {:>10} {:>10} {:>8}", "load", "host ms", "rump ms", "ratio");
    for (name, script) in LOADS {
        let native = measure(|| {
            let mut command = Command::new("sh");
            command.args(["-ec", script]).env("DIR", host.path());
            command
        });
        let ours = measure(|| {
            let mut command = Command::new("sh");
            command.args(["-ec", script]).env("DIR", "/rump/tmp").env("RUMP_SERVER", rump.url());
            command.env("LD_PRELOAD", built("librumphijack.so"));
            command
        });
        println!("{name:<30} {native:>10.2} {ours:>10.2} {:>8.2}", ours / native);
    }
    passing::start_up(&rump);
    passing::table(&rump, "");
}
