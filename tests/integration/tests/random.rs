//! Random operations on files with a fresh seed each run, which a failure names: `RANDOM_SEED=… scenario random_operations FOLDER` repeats it.

use std::process::{Command, Stdio};

use integration::{Rump, Transport, built, limited, stdout};

/// Operations of one run.
const STEPS: &str = "1500";
/// Programs that work in one folder at once, and the operations of each.
const CLIENTS: usize = 4;
const CLIENT_STEPS: &str = "250";

/// Those of one client; the second has children.
const ALONE: [&str; 3] = ["random_operations", "random_names", "random_operations_of_processes"];

fn fresh_seed() -> String {
    let time = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    (u64::from(time.subsec_nanos()) << 16 ^ u64::from(std::process::id())).to_string()
}

fn told<'a>(command: &'a mut Command, seed: &str, steps: &str) -> &'a mut Command {
    command.env("RANDOM_SEED", seed).env("RANDOM_STEPS", steps)
}

/// Runs scenarios one after the other in a folder.
fn one_by_one(scenarios: &[&str], folder: &str, command: impl Fn() -> Command) {
    for scenario in scenarios {
        let seed = fresh_seed();
        eprintln!("RANDOM_SEED={seed} RANDOM_STEPS={STEPS} scenario {scenario}");
        let text = stdout(told(&mut command(), &seed, STEPS).args([scenario, folder]));
        assert!(text == "all agree\n" || text == "all agree: true\n", "{text}");
    }
}

/// Runs several programs in a folder at once, and looks at what they leave.
fn all_at_once(folder: &str, command: impl Fn() -> Command) {
    let seed = fresh_seed();
    eprintln!("RANDOM_SEED={seed} RANDOM_STEPS={CLIENT_STEPS} RANDOM_CLIENT=0… scenario random_client");
    let scenario = |name: &str, number: usize| {
        let mut command = command();
        told(&mut command, &seed, CLIENT_STEPS).env("RANDOM_CLIENT", number.to_string()).args([name, folder]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    stdout(&mut scenario("random_client_first", 0));
    let clients: Vec<_> = (0..CLIENTS).map(|number| scenario("random_client", number).spawn().unwrap()).collect();
    for client in clients {
        let done = client.wait_with_output().unwrap();
        assert!(done.stdout == b"all agree\n", "{}", String::from_utf8_lossy(&done.stderr));
    }
    let sums = stdout(&mut scenario("random_client_sums", CLIENTS));
    assert_eq!(sums, "counted: true\nappended: true\nswapped: true\n");
}

fn on(transport: Transport) {
    let rump = Rump::start(transport);
    one_by_one(&ALONE, "/rump/tmp", || rump.command(built("scenario")));
    all_at_once("/rump/tmp", || rump.command(built("scenario")));
}

/// What the tester itself expects is what the host does.
#[test]
fn the_host_agrees() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let shown = folder.path().display().to_string();
    one_by_one(&ALONE, &shown, || limited(built("scenario")));
    all_at_once(&shown, || limited(built("scenario")));
}

#[test]
fn random_operations_agree_over_unix() {
    on(Transport::Unix);
}

#[test]
fn random_operations_agree_over_tcp() {
    on(Transport::Tcp);
}

/// The file system is a folder of the host: it is that of both sides, but the kernel in between has its own ideas of it.
#[test]
fn random_operations_agree_on_a_folder_of_the_host() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let rump = Rump::start(Transport::Unix);
    rump.ctl(&["mount", "-t", "hostfs", folder.path().to_str().unwrap(), "/usr"]);
    one_by_one(&["random_names"], "/rump/usr", || rump.command(built("scenario")));
    all_at_once("/rump/usr", || rump.command(built("scenario")));
}

#[test]
fn random_operations_agree_locally() {
    let rump = Rump::start(Transport::Local);
    one_by_one(&ALONE[..2], "/rump/tmp", || rump.command(built("scenario")));
}
