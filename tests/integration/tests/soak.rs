//! What takes minutes: storms of forks, of file operations, transfers on a loaded machine and over bad links. Not a part of `make test`.

#[path = "links_between/mod.rs"]
mod links_between;

use std::process::{Command, Stdio};

use integration::{Rump, Transport, built, stdout};
use links_between::{Link, run};

/// Seconds after which a program counts as hung.
const LIMIT: &str = "900";

/// A scenario on the kernel, with a long time limit.
fn scenario(rump: &Rump, name: &str, folder: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", LIMIT]).arg(built("rumphijack")).args(["--server", &rump.url(), "--", "sh", "-ec"]);
    command.arg("mkdir -p \"$2\"; exec \"$0\" \"$1\" \"$2\"").arg(built("scenario")).args([name, folder]);
    command.stdin(Stdio::null());
    command
}

/// Descriptors and kilobytes that the server has.
fn held(rump: &Rump) -> (usize, usize) {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", rump.pid())).unwrap().count();
    let status = std::fs::read_to_string(format!("/proc/{}/status", rump.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, line.trim().trim_end_matches(" kB").parse().unwrap())
}

#[test]
fn ten_thousand_forks_leave_nothing_behind() {
    let rump = Rump::start(Transport::Unix);
    stdout(&mut scenario(&rump, "fork_among_busy_threads", "/rump/tmp/first"));
    let before = held(&rump);
    let text = stdout(scenario(&rump, "fork_among_busy_threads", "/rump/tmp/storm").env("FORKS", "10000"));
    assert_eq!(text, "written: 10000\n");
    let after = held(&rump);
    eprintln!("the server's descriptors and kilobytes: {before:?} before, {after:?} after");
    assert_eq!(after.0, before.0);
    assert!(after.1 < before.1 + 8192, "{before:?} {after:?}");
    assert_eq!(rump.ctl(&["ps"]).lines().count(), 4, "a heading, the kernel's two processes and rumpctl itself");
}

#[test]
fn children_killed_in_their_parents_memory_leave_nothing_behind() {
    let rump = Rump::start(Transport::Unix);
    let killed = |kills: &str, folder| {
        let text = stdout(scenario(&rump, "vfork_children_are_killed_anywhere", folder).env("KILLS", kills));
        assert_eq!(text, "all: true, free here: -1\nlowest: true\nparent\n");
    };
    killed("100", "/rump/tmp/first");
    let before = held(&rump);
    killed("20000", "/rump/tmp/storm");
    let after = held(&rump);
    assert_eq!(after.0, before.0);
    assert!(after.1 < before.1 + 8192, "{before:?} {after:?}");
}

#[test]
fn transfers_end_however_busy_the_machine() {
    let rump = Rump::start(Transport::Unix);
    for round in 0..100 {
        let run = |at: usize| {
            scenario(&rump, "tcp", &format!("/rump/tmp/{round}-{at}")).stdout(Stdio::piped()).spawn().unwrap()
        };
        let running: Vec<_> = (0..8).map(run).collect();
        let ended: Vec<_> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        assert!(ended.iter().all(|done| done.status.success() && done.stdout == ended[0].stdout), "{ended:?}");
    }
}

#[test]
fn a_million_random_operations_agree() {
    let rump = Rump::start(Transport::Unix);
    for seed in 0..40u32 {
        for name in ["random_operations", "random_operations_of_processes"] {
            let mut command = scenario(&rump, name, "/rump/tmp/random");
            let text = stdout(command.env("RANDOM_SEED", seed.to_string()).env("RANDOM_STEPS", "10000"));
            assert!(text.starts_with("all agree") && !text.contains("false"), "seed {seed}: {text}");
        }
    }
}

#[test]
fn storms_on_one_folder_lose_nothing() {
    let rump = Rump::start(Transport::Unix);
    let storms = stdout(Command::new(built("scenario")).arg("-"));
    for name in storms.lines().filter_map(|line| line.split(' ').next()).filter(|name| name.starts_with("storm_")) {
        let text = stdout(scenario(&rump, name, &format!("/rump/tmp/{name}")).env("STORM_ROUNDS", "67"));
        assert!(!text.contains("false"), "{name}: {text}");
    }
}

/// All programs over all links, clean ones, and such that lose and disorder.
#[test]
fn programs_serve_each_other_over_all_links() {
    let all = ["ping", "curl", "dig", "iperf3", "ssh", "redis", "asyncio"];
    for link in [Link::Tap, Link::TapRouted, Link::Bus, Link::BusRouted] {
        all.iter().for_each(|name| run(link, "", 10_000_000, &[name]));
    }
    for link in [Link::TapRouted, Link::BusRouted] {
        all[1..].iter().for_each(|name| run(link, "loss 2% delay 2ms reorder 5%", 400_000, &[name]));
        run(link, "loss 10%", 300_000, &["curl"]);
        run(link, "delay 1ms jitter 3ms duplicate 5%", 1_000_000, &["curl"]);
        run(link, "corrupt 3%", 1_000_000, &["curl"]);
    }
}
