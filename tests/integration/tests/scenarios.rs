//! The same plain libc code natively and hijacked: both must print the same.

use std::sync::OnceLock;

use integration::{Rump, Transport, built, limited, output, stdout};

/// Differences that are meant: scenario, the transports, the host's line, ours, and why.
const MEANT: &[(&str, &[Transport], &str, &str, &str)] = &[
    (
        "fcntl_odd_commands",
        &Transport::ALL,
        "lock of a socket: 0",
        "lock of a socket: Invalid argument",
        "record locks are on files, as in NetBSD",
    ),
    (
        "sigio_asked_for",
        &[Transport::Tcp],
        "O_ASYNC: 0",
        "O_ASYNC: Operation not supported",
        "the host's kernel signals for a descriptor that the server hands over, which tcp cannot",
    ),
    (
        "local_urgent_signal",
        &[Transport::Tcp],
        "the owner: true",
        "the owner: false",
        "the same: nobody is there to send SIGURG",
    ),
    (
        "mmap_beyond_the_end",
        &[Transport::Tcp],
        "beyond: 7",
        "beyond: 0",
        "memory cannot be handed over tcp: the mapping is a copy, with zeros behind the end",
    ),
    (
        "pass_errors",
        &Transport::ALL,
        "over TCP: 0",
        "over TCP: Operation not supported",
        "NetBSD refuses descriptors on a socket that cannot pass them; Linux drops them silently",
    ),
];

/// A scenario's name, whether it can run on a kernel of its own process, whether its AF_UNIX sockets are the rump kernel's, and
/// whether the kernel must be able to hand over descriptors.
struct Scenario {
    name: String,
    alone: bool,
    local: bool,
    handed: bool,
}

fn scenarios() -> Vec<Scenario> {
    let text = stdout(limited(built("scenario")).arg("-"));
    let row = |line: &str| {
        let (name, needs) = line.split_once(' ')?;
        let (needs, handed) = needs.split_once(' ').map_or((needs, false), |(needs, more)| (needs, more == "handed"));
        Some(Scenario { name: name.to_owned(), alone: needs == "alone", local: needs == "local", handed })
    };
    // Those that need a file system of their own are run by the test `full`, those that come in groups by `random`.
    let usual = text.lines().filter(|line| !line.ends_with(" apart") && !line.ends_with(" wired"));
    usual.map(|line| row(line).expect("a scenario and what it needs")).collect()
}

fn native(name: &str) -> String {
    // On a tmpfs, as the rump kernel's root is one.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let folder = folder.path().display().to_string();
    if !has_network() {
        return stdout(limited(built("scenario")).args([name, &folder]));
    }
    // As the rump kernel's: only the loopback, set as Linux sets it, whatever the host has.
    let script = "ip link set lo up; exec \"$0\" \"$@\"";
    let mut command = limited("unshare");
    stdout(command.args(["--net", "sh", "-ec", script]).arg(built("scenario")).args([name, &folder]))
}

/// Whether this host lets us make network namespaces; says so when not.
fn has_network() -> bool {
    static MADE: OnceLock<bool> = OnceLock::new();
    *MADE.get_or_init(|| {
        let tried = output(limited("unshare").args(["--net", "ip", "link", "set", "lo", "up"]));
        if !tried.status.success() {
            eprintln!("no network namespace of our own: {}", String::from_utf8_lossy(&tried.stderr));
        }
        tried.status.success()
    })
}

fn hijacked(rump: &Rump, Scenario { name, local, .. }: &Scenario) -> String {
    let folder = format!("/rump/tmp/{name}");
    let options: &[&str] = if *local { &["--config", "path=/rump,socket=all"] } else { &[] };
    let script = "mkdir -p \"$2\" && exec \"$0\" \"$1\" \"$2\"";
    let mut command = rump.launch(options, "sh");
    stdout(command.arg("-ec").arg(script).arg(built("scenario")).args([name, &folder]))
}

fn differences(transport: Transport, name: &str, host: &str, ours: &str) -> Option<String> {
    let meant = |host: &str, ours: &str| {
        MEANT.iter().any(|row| row.0 == name && row.1.contains(&transport) && (row.2, row.3) == (host, ours))
    };
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

/// Runs all `scenarios` natively and by `hijacked`, and fails with every difference.
fn all_agree(transport: Transport, scenarios: &[Scenario], hijacked: impl Fn(&Scenario) -> String) {
    let failed: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario @ Scenario { name, .. }| {
            let both = || differences(transport, name, &native(name), &hijacked(scenario));
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(both));
            done.unwrap_or_else(|_| Some(format!("{name}: failed, see above")))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn all_agree_on(transport: Transport) {
    let rump = Rump::start(transport);
    let hands_over = transport != Transport::Tcp;
    let all: Vec<Scenario> = scenarios().into_iter().filter(|scenario| hands_over || !scenario.handed).collect();
    all_agree(transport, &all, |scenario| hijacked(&rump, scenario));
}

#[test]
fn scenarios_agree_on_a_private_server() {
    all_agree_on(Transport::Private);
}

#[test]
fn scenarios_agree_over_unix() {
    all_agree_on(Transport::Unix);
}

#[test]
fn scenarios_agree_over_tcp() {
    all_agree_on(Transport::Tcp);
}

/// Locally a kernel lives in one process and goes with exec: scenarios that need more are not for it.
#[test]
fn scenarios_agree_locally() {
    let rump = Rump::start(Transport::Local);
    let alone: Vec<Scenario> = scenarios().into_iter().filter(|scenario| scenario.alone).collect();
    let in_one_process =
        |Scenario { name, .. }: &Scenario| stdout(rump.command(built("scenario")).args([name, "/rump/tmp"]));
    all_agree(Transport::Local, &alone, in_one_process);
}

/// The interface on whose link nobody answers: its addresses, one neighbour of whom is known where it would be, and routes that lead nowhere.
mod wired {
    use super::*;

    /// The host's own, in a network namespace: one end of a pair of which the other has no address, so never says a word.
    const NATIVE: &str = "
        ip link set lo up
        ip link add shmif0 type veth peer name silence
        echo 1 > /proc/sys/net/ipv6/conf/silence/disable_ipv6
        echo 0 > /proc/sys/net/ipv6/conf/shmif0/accept_dad
        ip link set shmif0 up; ip link set silence up
        ip addr add 192.0.2.1/24 brd + dev shmif0
        ip addr add 2001:db8::1/64 dev shmif0
        ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev shmif0
        ip neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev shmif0
        ip route add 198.18.0.0/15 via 192.0.2.77
        ip route add unreachable 203.0.113.0/26
        ip route add unreachable 2001:db8:0:1::/64
        ip route add blackhole 203.0.113.64/26
        ip route add blackhole 2001:db8:0:2::/64
        exec \"$0\" \"$@\"";

    /// The same for the rump kernel, by the words of rumpctl(1).
    const OURS: &[&str] = &[
        "sysctl net.inet6.ip6.dad_count=0",
        "ifconfig shmif0 create linkstr BUS inet 192.0.2.1/24 inet6 2001:db8::1/64",
        "arp -s 192.0.2.77 02:00:00:00:00:77",
        "ndp -s 2001:db8::77 02:00:00:00:00:77",
        "route add -net 198.18.0.0/15 192.0.2.77",
        "route add -net 203.0.113.0/26 127.0.0.1 -reject",
        "route add -inet6 -net 2001:db8:0:1::/64 ::1 -reject",
        "route add -net 203.0.113.64/26 127.0.0.1 -blackhole",
        "route add -inet6 -net 2001:db8:0:2::/64 ::1 -blackhole",
    ];

    #[test]
    fn scenarios_agree_where_nobody_answers() {
        // Not every host has such pairs, or lets us set its namespaces up.
        let tried = output(limited("unshare").args(["--net", "sh", "-ec", NATIVE, "true"]));
        if !tried.status.success() {
            return eprintln!("no network namespace of our own: {}", String::from_utf8_lossy(&tried.stderr));
        }
        let rump = Rump::start(Transport::Unix);
        let bus = rump.folder().join("bus").display().to_string();
        for words in OURS {
            rump.ctl(&words.replace("BUS", &bus).split(' ').collect::<Vec<_>>());
        }
        let text = stdout(limited(built("scenario")).arg("-"));
        let all: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(" wired")).collect();
        assert!(!all.is_empty());
        let failed: Vec<String> = all
            .into_iter()
            .filter_map(|name| {
                let mut command = limited("unshare");
                let native =
                    stdout(command.args(["--net", "sh", "-ec", NATIVE]).arg(built("scenario")).args([name, "/"]));
                let ours = stdout(rump.command(built("scenario")).args([name, "/rump/tmp"]));
                differences(Transport::Unix, name, &native, &ours)
            })
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}
