//! Random operations on files with a fresh seed each run, which a failure names: `RANDOM_SEED=… scenario random_operations FOLDER` repeats it.

use std::process::Command;

use integration::{Rump, Transport, built, limited, stdout};

/// Operations of one run.
const STEPS: &str = "1500";

fn fresh_seed() -> String {
    let time = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    (u64::from(time.subsec_nanos()) << 16 ^ u64::from(std::process::id())).to_string()
}

fn told<'a>(command: &'a mut Command, seed: &str) -> &'a mut Command {
    eprintln!("RANDOM_SEED={seed} RANDOM_STEPS={STEPS}");
    command.env("RANDOM_SEED", seed).env("RANDOM_STEPS", STEPS)
}

fn on(transport: Transport, scenarios: &[&str]) {
    let rump = Rump::start(transport);
    for scenario in scenarios {
        let mut command = rump.command(built("scenario"));
        let text = stdout(told(&mut command, &fresh_seed()).args([scenario, "/rump/tmp"]));
        assert!(text == "all agree\n" || text == "all agree: true\n", "{text}");
    }
}

/// What the tester itself expects is what the host does.
#[test]
fn the_host_agrees() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    for scenario in ["random_operations", "random_operations_of_processes"] {
        let mut command = limited(built("scenario"));
        stdout(told(&mut command, &fresh_seed()).args([scenario, &folder.path().display().to_string()]));
    }
}

#[test]
fn random_operations_agree_over_unix() {
    on(Transport::Unix, &["random_operations", "random_operations_of_processes"]);
}

#[test]
fn random_operations_agree_over_tcp() {
    on(Transport::Tcp, &["random_operations", "random_operations_of_processes"]);
}

#[test]
fn random_operations_agree_locally() {
    on(Transport::Local, &["random_operations"]);
}
