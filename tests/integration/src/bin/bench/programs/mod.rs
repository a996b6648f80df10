//! Real programs on a rump kernel and on the host.
//!
//! A row is a script of this folder with an argument (`$1`). It is run by `bash -eu` after `prelude.sh`, in an empty folder `$D` on tmpfs,
//! with a folder `$HOST` of the host, and prints its figure on the last line: `start` and `took` measure a time in seconds. `$QUICK` is 1
//! if it is enough that it works, else empty. It ends the servers that it has started.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::row::{Row, Unit, Way, Work, script};

/// All rows of programs.
pub const FAMILIES: &[(&str, &[Row])] = &[("programs", ROWS)];

/// Over the original protocol epoll refuses rump descriptors, without which these do not work.
const EPOLL: &[Way] = &[Way::Host, Way::Extended];

const ROWS: &[Row] = &[
    script("redis-benchmark GET", Unit::Rate, REDIS, "-t get -n 4000", "redis-server redis-benchmark").by(EPOLL),
    script(
        "redis-benchmark SET, 16 at once",
        Unit::Rate,
        REDIS,
        "-t set -P 16 -n 40000",
        "redis-server redis-benchmark",
    )
    .by(EPOLL),
    script("nginx, 32 connections kept (ab)", Unit::Rate, AB, "-k", "nginx ab").by(EPOLL),
    script("nginx, a connection each (ab)", Unit::Rate, AB, "-r", "nginx ab").by(EPOLL),
    script("nginx, 32 connections kept (wrk)", Unit::Rate, WRK, "", "nginx wrk").by(EPOLL),
    script("iperf3, 1 stream", Unit::Bytes, IPERF, "-P 1", "iperf3 python3"),
    script("iperf3, 8 streams", Unit::Bytes, IPERF, "-P 8", "iperf3 python3"),
    script("git clone of 500 files", Unit::Time, GIT, "clone", "git"),
    script("git status of 500 files", Unit::Time, GIT, "status", "git"),
    script("sqlite3, 200 transactions", Unit::Time, SQLITE, "insert", "sqlite3"),
    script("sqlite3, 2,000 selects", Unit::Time, SQLITE, "select", "sqlite3"),
    script("tar of 500 files", Unit::Time, TREE, "tar", "tar"),
    script("grep -r in 500 files", Unit::Time, TREE, "grep", "grep"),
    script("cp -a of 500 files", Unit::Time, TREE, "cp", "cp"),
    script("shell loop of 1,000 writes", Unit::Time, TREE, "loop", "bash"),
];

const PRELUDE: &str = include_str!("prelude.sh");
const REDIS: &str = include_str!("redis.sh");
const AB: &str = concat!(include_str!("nginx.sh"), include_str!("ab.sh"));
const WRK: &str = concat!(include_str!("nginx.sh"), include_str!("wrk.sh"));
const IPERF: &str = include_str!("iperf3.sh");
const GIT: &str = include_str!("git.sh");
const SQLITE: &str = include_str!("sqlite3.sh");
const TREE: &str = include_str!("tree.sh");

/// Says which command of a row is not installed, if one is not.
pub fn missing(row: &Row) -> Option<String> {
    let Work::Script(_, _, uses) = row.work else { return None };
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    let missing = uses.split(' ').find(|program| !has(program))?;
    Some(format!("{missing} is not installed"))
}

/// Completes the command of a script, to which `bash` was given.
pub fn prepare(command: &mut Command, text: &str, with: &str, folder: &str, host: &Path, quick: bool) {
    let port = integration::free_port().to_string();
    let quick = if quick { "1" } else { "" };
    let variables = [("D", folder), ("HOME", folder), ("PORT", &port), ("QUICK", quick)];
    command.args(["-euc", &format!("{PRELUDE}\n{text}"), "bench", with]);
    command.envs(variables).env("HOST", host).env("LC_ALL", "C").env("GIT_CONFIG_NOSYSTEM", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
}
