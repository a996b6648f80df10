//! `sockstat`: which process has which socket, in the shape of sockstat(1); and what `netstat -a` shows of them.

use std::collections::HashSet;

use abi::sysctl::CTL_VENDOR;
use client::Caller;
use serde_json::json;

use super::{array, said};
use crate::ctl;

/// Shows which process has which socket.
#[derive(clap::Args)]
pub struct Sockstat {
    /// Only those of IPv4
    #[arg(short = '4')]
    four: bool,
    /// Only those of IPv6
    #[arg(short = '6')]
    six: bool,
    /// Only local ones
    #[arg(short = 'u')]
    local: bool,
    /// Only those that listen, or are not connected
    #[arg(short = 'l')]
    listening: bool,
    /// Only those that are connected
    #[arg(short = 'c', conflicts_with = "listening")]
    connected: bool,
    /// Addresses as numbers, as always
    #[arg(short = 'n')]
    numeric: bool,
    /// Also the queues, the states, which way the bytes go, connections that no process has, and files
    #[arg(short = 'v')]
    verbose: bool,
}

/// `vendor.rump.sockets`.
const SOCKETS: [i32; 3] = [CTL_VENDOR, 1000, 1];

/// `vendor.rump.files`.
const FILES: [i32; 3] = [CTL_VENDOR, 1000, 2];

/// A descriptor of a socket, or a connection without one.
struct Row {
    /// Empty without a process; so are the command and the descriptor.
    process: String,
    command: String,
    descriptor: String,
    protocol: String,
    /// Bytes to be read; of a listener, connections to be accepted.
    readable: u64,
    /// Bytes that are not acknowledged; of a listener, how many connections may wait.
    unsent: u64,
    local: String,
    peer: String,
    /// Empty for a protocol without states.
    state: String,
    /// What fstat(2) gives; empty without a descriptor.
    number: String,
    /// Which way the bytes go; empty for what is neither stream nor file.
    path: String,
}

fn parse(line: &str) -> Row {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    Row {
        process: next().into(),
        command: next().into(),
        descriptor: next().into(),
        protocol: next().into(),
        readable: next().parse().unwrap_or(0),
        unsent: next().parse().unwrap_or(0),
        local: next().into(),
        peer: next().into(),
        state: next().into(),
        number: next().into(),
        path: next().into(),
    }
}

/// Lists the sockets.
fn sockets(kernel: &dyn Caller) -> anyhow::Result<Vec<Row>> {
    rows(kernel, &SOCKETS, "vendor.rump.sockets")
}

/// Lists what a table has.
fn rows(kernel: &dyn Caller, table: &[i32], name: &'static str) -> anyhow::Result<Vec<Row>> {
    let text = ctl::sysctl_read(kernel, table).map_err(said(name))?;
    Ok(String::from_utf8_lossy(&text).lines().map(parse).collect())
}

fn json_of(rows: &[Row]) -> Vec<String> {
    array(rows.iter().map(|row| {
        json!({
            "pid": row.process.parse::<i32>().ok(), "command": row.command, "fd": row.descriptor.parse::<i32>().ok(),
            "protocol": row.protocol, "receive_queue": row.readable, "send_queue": row.unsent, "local": row.local,
            "foreign": row.peer, "state": row.state, "path": row.path,
        })
    }))
}

impl Row {
    fn is_local(&self) -> bool {
        ["stream", "seqpacket", "dgram"].contains(&self.protocol.as_str())
    }

    fn is_internet(&self) -> bool {
        ["tcp", "udp", "raw", "ping"].contains(&self.protocol.trim_end_matches('6'))
    }

    fn is_connected(&self) -> bool {
        !["*.*", "-"].contains(&self.peer.as_str())
    }
}

impl Sockstat {
    /// Shows them.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let mut rows = sockets(kernel)?;
        if self.verbose {
            // A kernel without files has no such table.
            rows.extend(self::rows(kernel, &FILES, "vendor.rump.files").unwrap_or_default());
        }
        rows.retain(|row| self.wants(row));
        if json {
            return Ok(json_of(&rows));
        }
        let line = |words: [&str; 6], more: [&str; 4]| {
            let [command, pid, fd, protocol, local, peer] = words;
            let line = format!("{command:<16} {pid:>6} {fd:>4} {protocol:<10} {local:<28} {peer:<28}");
            let [readable, unsent, path, state] = more;
            let more =
                if self.verbose { format!(" {readable:>7} {unsent:>7} {path:<8} {state}") } else { String::new() };
            (line + &more).trim_end().to_owned()
        };
        let known = |word: &'_ str| if word.is_empty() { "?".to_owned() } else { word.to_owned() };
        let head = ["COMMAND", "PID", "FD", "PROTO", "LOCAL ADDRESS", "FOREIGN ADDRESS"];
        let shown = |row: &Row| {
            let [command, process, fd] = [&row.command, &row.process, &row.descriptor].map(|word| known(word));
            let (readable, unsent) = (row.readable.to_string(), row.unsent.to_string());
            line(
                [&command, &process, &fd, &row.protocol, &row.local, &row.peer],
                [&readable, &unsent, &row.path, &row.state],
            )
        };
        Ok(std::iter::once(line(head, ["RECV-Q", "SEND-Q", "PATH", "STATE"])).chain(rows.iter().map(shown)).collect())
    }

    fn wants(&self, row: &Row) -> bool {
        let six = row.protocol.ends_with('6');
        let families = [(self.four, row.is_internet() && !six), (self.six, six), (self.local, row.is_local())];
        let any = families.iter().all(|(asked, _)| !asked);
        (any || families.iter().any(|(asked, is)| *asked && *is))
            && !(self.listening && row.is_connected() || self.connected && !row.is_connected())
            && (self.verbose || !row.process.is_empty())
    }
}

/// Shows the sockets of the internet as `netstat` does, of one family and one protocol if they are given; with `all`, those that are not
/// connected too.
pub fn active(
    kernel: &dyn Caller,
    all: bool,
    [family, protocol]: [Option<&str>; 2],
    json: bool,
) -> anyhow::Result<Vec<String>> {
    let mut rows = sockets(kernel)?;
    rows.retain(|row| row.is_internet() && (all || row.is_connected()));
    rows.retain(|row| family.is_none_or(|family| (family == "inet6") == row.protocol.ends_with('6')));
    rows.retain(|row| protocol.is_none_or(|protocol| row.protocol.trim_end_matches('6') == protocol));
    // One that several descriptors stand for is one socket.
    let mut seen = HashSet::new();
    rows.retain(|row| row.number.is_empty() || seen.insert(row.number.clone()));
    if json {
        return Ok(json_of(&rows));
    }
    let servers = if all { " (including servers)" } else { "" };
    let mut lines = vec![format!("Active Internet connections{servers}")];
    let line = |protocol: &str, readable: &str, unsent: &str, local: &str, peer: &str, state: &str| {
        let line = format!("{protocol:<6} {readable:>6} {unsent:>6} {local:<28} {peer:<28} {state}");
        line.trim_end().to_owned()
    };
    lines.push(line("Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State"));
    lines.extend(rows.iter().map(|row| {
        line(&row.protocol, &row.readable.to_string(), &row.unsent.to_string(), &row.local, &row.peer, &row.state)
    }));
    Ok(lines)
}
