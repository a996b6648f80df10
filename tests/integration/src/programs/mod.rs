//! Debian's programs as a table: what each does on the rump kernel, checked against the host.
//!
//! A row names a program; its work is the shell script of the same name in the family's folder. To add one: write the
//! script, add the row, run `make tables`. The runner (`tests/programs_table.rs`) and the page (`docs/COMPATIBILITY.md`)
//! follow from the rows. A script
//!
//! * is run by `bash -eu` once on the host and once hijacked on each transport of its row, and must print the same: no times, sizes
//!   of directories, inode or process numbers; the name of its folder is replaced by `@` before the comparison;
//! * contains its own assertions, so that it would fail if both sides were wrong (`test`, `cmp`, or a printed value);
//! * starts in an empty folder `$D` (on `/dev/shm`, or `/rump/tmp/NAME`), which is its `$HOME` too; `$HOST` is an empty folder
//!   that is on the host, on another file system, in both runs;
//! * sees in `$PLACE` which file system `$D` is on in its hijacked run, and leaves out on both sides what that cannot do;
//! * waits for conditions, never for time (`up PORT PID` of `prelude.sh`: until a server answers), and ends the processes
//!   that it started.

mod files;
mod network;
pub mod page;
pub mod place;
mod places;
mod processes;
pub mod run;
mod terminals;

use crate::Transport;
use place::Place;

/// A row: a program and the work that it does.
pub struct Program {
    /// The family: a folder of scripts.
    pub family: &'static str,
    /// The row's name, unique in its family, and that of its script.
    pub name: &'static str,
    /// The commands that must be installed.
    pub uses: &'static str,
    /// What it does, in a phrase that begins with a verb.
    pub does: &'static str,
    /// The kernels to do it on.
    pub on: &'static [Transport],
    /// The file systems of each to do it on.
    pub at: &'static [Place],
    /// Whether it uses the network: the host's run then gets a network namespace of its own.
    pub network: bool,
    /// What goes to the rump kernel (rumphijack(3)); the usual for none.
    pub config: Option<&'static str>,
    /// The text of the script.
    pub script: &'static str,
}

/// All rows, family by family.
pub fn all() -> impl Iterator<Item = &'static Program> {
    [files::ROWS, places::ROWS, network::ROWS, processes::ROWS, terminals::ROWS].into_iter().flatten()
}

/// What every script begins with: functions for all, and the end of what a failed one leaves running.
const PRELUDE: &str = include_str!("prelude.sh");

/// Expands a family's rows; `"tar" on UNIX uses "tar gzip": "packs …";` becomes
/// `Program { name: "tar", on: UNIX, uses: "tar gzip", does: "packs …", script: include_str!("files/tar.sh"), … }`. A family may say
/// at its head which file systems its rows are on.
macro_rules! programs {
    ($family:literal, network $network:literal, config $config:expr; $($rows:tt)*) => {
        programs! { $family, network $network, config $config, at place::ROOT; $($rows)* }
    };
    ($family:literal, network $network:literal, config $config:expr, at $at:expr;
        $($name:literal on $on:ident uses $uses:literal: $does:literal;)*) => {
        pub const ROWS: &[Program] = &[$(Program {
            family: $family, name: $name, uses: $uses, does: $does, on: $on, at: $at, network: $network,
            config: $config, script: include_str!(concat!($family, "/", $name, ".sh")),
        }),*];
    };
}
use programs;

const UNIX: &[Transport] = &[Transport::Unix];
const TCP: &[Transport] = &[Transport::Tcp];
const ALL: &[Transport] = &Transport::REMOTE;
const SERVERS: &[Transport] = &[Transport::Unix, Transport::Tcp];

/// Commands that come from a package of another name.
const PACKAGES: &[(&str, &str)] = &[
    ("apache2", "apache2-bin"),
    ("ar", "binutils"),
    ("awk", "mawk"),
    ("cmp", "diffutils"),
    ("column", "bsdextrautils"),
    ("df", "coreutils"),
    ("diff", "diffutils"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("fallocate", "util-linux"),
    ("find", "findutils"),
    ("findmnt", "util-linux"),
    ("flock", "util-linux"),
    ("free", "procps"),
    ("gcc", "gcc libc6-dev"),
    ("ld", "binutils"),
    ("ls", "coreutils"),
    ("mariadb", "mariadb-client"),
    ("mariadbd", "mariadb-server"),
    ("mkfs.fat", "dosfstools"),
    ("more", "util-linux"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("musl-gcc", "musl-tools"),
    ("nc.openbsd", "netcat-openbsd"),
    ("nc.traditional", "netcat-traditional"),
    ("netstat", "net-tools"),
    ("node", "nodejs"),
    ("objdump", "binutils"),
    ("php", "php-cli"),
    ("prlimit", "util-linux"),
    ("ps", "procps"),
    ("psql", "postgresql"),
    ("pstree", "psmisc"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("rev", "util-linux"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("ss", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server openssh-sftp-server"),
    ("strip", "binutils"),
    ("stty", "coreutils"),
    ("taskset", "util-linux"),
    ("vim.tiny", "vim-tiny"),
    ("xargs", "findutils"),
    ("xz", "xz-utils"),
];

impl Program {
    /// The Debian packages that the row needs, that of its first command first, without repetitions.
    pub fn packages(&self) -> Vec<&'static str> {
        let of = |command: &'static str| PACKAGES.iter().find(|row| row.0 == command).map_or(command, |row| row.1);
        let mut packages = Vec::new();
        for package in self.uses.split(' ').flat_map(|command| of(command).split(' ')) {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        packages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_there_twice_and_each_has_a_place_to_run() {
        let mut names: Vec<_> = all().map(|row| (row.family, row.name)).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert!(all().all(|row| !row.on.is_empty() && !row.script.trim().is_empty() && !row.uses.is_empty()));
    }

    #[test]
    fn commands_with_a_package_of_another_name_stand_once_and_in_order() {
        assert!(PACKAGES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn packages_are_named_once() {
        let row = Program {
            family: "",
            name: "",
            uses: "find xargs gcc",
            does: "",
            on: ALL,
            at: place::ROOT,
            network: false,
            config: None,
            script: "",
        };
        assert_eq!(row.packages(), ["findutils", "gcc", "libc6-dev"]);
    }
}
