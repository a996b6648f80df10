//! The same plain libc code natively and hijacked: both must print the same.

use integration::{Rump, Transport, built, limited, stdout};

/// Differences that are meant: scenario, the host's line, ours, and why.
const MEANT: &[(&str, &str, &str, &str)] = &[];

fn names() -> Vec<String> {
    stdout(limited(built("scenario")).arg("-")).lines().map(str::to_owned).collect()
}

fn native(name: &str) -> String {
    // On a tmpfs, as the rump kernel's root is one.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    stdout(limited(built("scenario")).args([name, &folder.path().display().to_string()]))
}

fn hijacked(rump: &Rump, name: &str) -> String {
    let folder = format!("/rump/tmp/{name}");
    let script = "mkdir -p \"$2\" && exec \"$0\" \"$1\" \"$2\"";
    let mut command = rump.command("sh");
    stdout(command.arg("-ec").arg(script).arg(built("scenario")).args([name, &folder]))
}

fn differences(name: &str, host: &str, ours: &str) -> Option<String> {
    let meant = |host: &str, ours: &str| MEANT.iter().any(|row| row.0 == name && row.1 == host && row.2 == ours);
    let (host, ours): (Vec<&str>, Vec<&str>) = (host.lines().collect(), ours.lines().collect());
    let mut lines = Vec::new();
    for at in 0..host.len().max(ours.len()) {
        let (host, ours) = (host.get(at).copied().unwrap_or("(nothing)"), ours.get(at).copied().unwrap_or("(nothing)"));
        if host != ours && !meant(host, ours) {
            lines.push(format!("  line {}: host `{host}`, rump `{ours}`", at + 1));
        }
    }
    (!lines.is_empty()).then(|| format!("{name}:\n{}", lines.join("\n")))
}

fn all_agree(transport: Transport) {
    let rump = Rump::start(transport);
    let failed: Vec<String> = names()
        .iter()
        .filter_map(|name| {
            let ours = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hijacked(&rump, name)));
            match ours {
                Ok(ours) => differences(name, &native(name), &ours),
                Err(_) => Some(format!("{name}: failed, see above")),
            }
        })
        .collect();
    assert!(failed.is_empty(), "{transport:?}\n{}", failed.join("\n"));
}

#[test]
fn scenarios_agree_on_a_private_server() {
    all_agree(Transport::Private);
}

#[test]
fn scenarios_agree_over_unix() {
    all_agree(Transport::Unix);
}

#[test]
fn scenarios_agree_over_tcp() {
    all_agree(Transport::Tcp);
}

/// Locally a kernel lives in one process and goes with exec: scenarios that need more are not for it.
#[test]
fn scenarios_agree_locally() {
    let rump = Rump::start(Transport::Local);
    let alone = [
        "open_errors",
        "read_write",
        "names",
        "directories",
        "stat_fields",
        "descriptors",
        "tcp_errors",
        "udp",
        "options",
        "select_bits",
        "bad_pointers",
        "devices",
    ];
    let failed: Vec<String> = alone
        .iter()
        .filter_map(|name| {
            let ours = stdout(rump.command(built("scenario")).args([name, "/rump/tmp"]));
            differences(name, &native(name), &ours)
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
