//! A tmpfs at its limits does what Linux's does, and what is removed goes back to the host.

use std::process::Command;

use integration::{Rump, Transport, built, limited, output, stdout};

const OPTIONS: &str = "size=1m,nr_inodes=20";

/// What Linux 6 prints, from `unshare --map-root-user --mount sh -c 'mount -t tmpfs -o … none /mnt && scenario … /mnt'`.
const LINUX: &[(&str, &str)] = &[
    ("full_of_content", include_str!("data/full_of_content.txt")),
    ("full_of_names", include_str!("data/full_of_names.txt")),
    ("busy_file_full", include_str!("data/busy_file_full.txt")),
];

/// The same on this host, if it lets us mount.
fn native(scenario: &str) -> Option<String> {
    let script = format!("mount -t tmpfs -o {OPTIONS} none /mnt && exec \"$0\" \"$1\" /mnt");
    let mut command = limited("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(built("scenario")).arg(scenario);
    let done = output(&mut command);
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn a_small_file_system_agrees_with_linux_at_its_limits() {
    let rump = Rump::start(Transport::Unix);
    for (scenario, linux) in LINUX {
        rump.sh("mkdir -p /rump/mnt");
        rump.ctl(&["mount", "-t", "tmpfs", "-o", OPTIONS, "none", "/mnt"]);
        let ours = stdout(rump.command(built("scenario")).args([scenario, "/rump/mnt"]));
        // Another version of Linux may count a little differently.
        if native(scenario).is_none_or(|native| native != ours) {
            assert_eq!(ours, *linux);
        }
        rump.ctl(&["umount", "/mnt"]);
    }
}

/// Kilobytes that the server has to itself.
fn anonymous(rump: &Rump) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rump.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until the server has at most `most` kilobytes; the allocator lets go a moment after the last file.
fn shrinks_to(rump: &Rump, most: u64) {
    let begun = std::time::Instant::now();
    while anonymous(rump) > most {
        assert!(begun.elapsed().as_secs() < 60, "{} kB, not {most}", anonymous(rump));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn what_is_removed_goes_back_to_the_host() {
    let rump = Rump::start(Transport::Unix);
    rump.sh("cat /etc/passwd > /rump/tmp/f; rm /rump/tmp/f");
    let before = anonymous(&rump);
    rump.sh("head -c 128M /dev/zero > /rump/tmp/big; rm /rump/tmp/big");
    shrinks_to(&rump, before + 8192);
    let mut python = rump.command("python3");
    let script = "
import os
for i in range(2000):
    with open(f'/rump/tmp/{i}', 'wb') as file: file.write(b'x' * 20000)
";
    stdout(Command::args(&mut python, ["-c", script]));
    assert!(anonymous(&rump) > before + 30_000, "files of 20 kB are the kernel's own");
    rump.sh("cd /rump/tmp; rm [0-9]*");
    shrinks_to(&rump, before + 16_384);
}
