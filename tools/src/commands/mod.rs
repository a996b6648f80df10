//! The commands of rumpctl, which a server also runs from its rc file.

use std::path::Path;

use clap::Subcommand;
use client::Caller;
use serde_json::{Value, json};

use crate::ctl;

mod archive;
mod drives;
mod ifconfig;
mod mounts;
mod neighbour;
mod netstat;
mod probe;
mod route;
mod sockstat;
mod wrap;

/// A command.
#[derive(Subcommand)]
pub enum Command {
    /// Halts the kernel; its server ends
    // -h is rump.halt's own option.
    #[command(disable_help_flag = true)]
    Halt {
        /// Print help
        #[arg(long, action = clap::ArgAction::Help)]
        help: Option<bool>,
        /// End by an abort, with a core dump
        #[arg(short = 'd')]
        dump: bool,
        /// Halt but do not exit
        #[arg(short = 'h')]
        halt: bool,
        /// Do not write file systems back
        #[arg(short = 'n')]
        nosync: bool,
    },
    /// Lists the processes
    Ps,
    /// Shows what the kernel had to say
    Dmesg,
    /// Prints or sets values: NAME, NAME=VALUE, or all
    Sysctl {
        /// Print everything
        #[arg(short = 'a')]
        all: bool,
        /// Print values only
        #[arg(short = 'n')]
        bare: bool,
        /// Set values, which needs no letter
        #[arg(short = 'w')]
        write: bool,
        /// A name, or NAME=VALUE to set it
        names: Vec<String>,
    },
    /// Shows, makes and changes network interfaces
    Ifconfig(ifconfig::Ifconfig),
    /// Adds, deletes and shows routes
    Route(route::Route),
    /// Shows and changes the hardware addresses of IPv4 neighbours
    Arp(neighbour::Arp),
    /// Shows and changes the hardware addresses of IPv6 neighbours
    Ndp(neighbour::Ndp),
    /// Shows sockets, routes, interfaces, or what was counted
    Netstat(netstat::Netstat),
    /// Shows which process has which socket
    Sockstat(sockstat::Sockstat),
    /// Asks a host for echoes
    #[command(alias = "ping6")]
    Ping(probe::Ping),
    /// Shows the hosts on the way to another one
    #[command(alias = "traceroute6")]
    Traceroute(probe::Traceroute),
    /// Makes a link worse: delay, loss, and the like
    Netem(wrap::Netem),
    /// Writes the frames of an interface to a file
    Pcap(wrap::Pcap),
    /// Mounts SOURCE on the directory DIR; without arguments, lists the mounted file systems
    Mount(mounts::Mount),
    /// Takes the file system mounted on DIR away
    Umount(mounts::Umount),
    /// Shows a host file or device in the root directory, or takes it away
    Drive(drives::Change),
    /// Saves the root file system in a tar archive
    Snapshot(archive::Snapshot),
    /// Makes what is in a tar archive in the root file system
    Restore(archive::Restore),
}

impl Command {
    /// The command that restores an archive.
    pub fn restore(file: &Path) -> Self {
        Self::Restore(archive::Restore { file: file.to_owned() })
    }
}

/// Runs a command; the answer is the lines that it prints.
pub fn run(command: &Command, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
    match command {
        Command::Halt { dump, halt, nosync, .. } => {
            use abi::mount::{RB_DUMP, RB_HALT, RB_NOSYNC};
            let bits = [(*dump, RB_DUMP), (*halt, RB_HALT), (*nosync, RB_NOSYNC)];
            let how = bits.iter().filter(|(given, _)| *given).fold(0, |how, (_, bit)| how | bit);
            ctl::halt(kernel, how).map(|()| Vec::new()).map_err(said("reboot"))
        }
        Command::Ps => ps(kernel, json),
        Command::Dmesg => dmesg(kernel, json),
        Command::Sysctl { all, names, bare, .. } => sysctl(kernel, *all, *bare, names, json),
        Command::Ifconfig(ifconfig) => ifconfig.run(kernel, json),
        Command::Route(route) => route.run(kernel, json),
        Command::Arp(arp) => arp.run(kernel, json),
        Command::Ndp(ndp) => ndp.run(kernel, json),
        Command::Netstat(netstat) => netstat.run(kernel, json),
        Command::Sockstat(sockstat) => sockstat.run(kernel, json),
        Command::Ping(ping) => ping.run(kernel, json),
        Command::Traceroute(traceroute) => traceroute.run(kernel, json),
        Command::Netem(netem) => netem.run(kernel),
        Command::Pcap(pcap) => pcap.run(kernel),
        Command::Mount(mount) => mount.run(kernel, json),
        Command::Umount(umount) => umount.run(kernel),
        Command::Drive(drive) => drive.run(kernel),
        Command::Snapshot(snapshot) => snapshot.run(kernel),
        Command::Restore(restore) => restore.run(kernel),
    }
}

fn said(what: &str) -> impl Fn(abi::Errno) -> anyhow::Error + '_ {
    move |errno| anyhow::anyhow!("{what}: {errno}")
}

fn array(values: impl Iterator<Item = Value>) -> Vec<String> {
    vec![Value::Array(values.collect()).to_string()]
}

fn ps(kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
    let all = ctl::processes(kernel).map_err(said("kern.proc2"))?;
    if json {
        let row =
            |p: &ctl::Process| json!({"pid": p.pid, "ppid": p.ppid, "uid": p.uid, "lwps": p.lwps, "command": p.name});
        return Ok(array(all.iter().map(row)));
    }
    let row = |p: &ctl::Process| format!("{:>5} {:>5} {:>5} {:>5} {}", p.pid, p.ppid, p.uid, p.lwps, p.name);
    Ok(std::iter::once(format!("{:>5} {:>5} {:>5} {:>5} COMMAND", "PID", "PPID", "UID", "NLWP"))
        .chain(all.iter().map(row))
        .collect())
}

fn dmesg(kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
    let text = ctl::messages(kernel).map_err(said("kern.msgbuf"))?;
    let lines = text.lines();
    Ok(if json { array(lines.map(Value::from)) } else { lines.map(str::to_owned).collect() })
}

fn sysctl(kernel: &dyn Caller, all: bool, bare: bool, names: &[String], json: bool) -> anyhow::Result<Vec<String>> {
    let shown = |name: &str, value: &str| if bare { value.to_owned() } else { format!("{name} = {value}") };
    let mut lines = Vec::new();
    let mut values = serde_json::Map::new();
    if all || names.is_empty() {
        for leaf in ctl::sysctl_leaves(kernel, ctl::sysctl_root()).map_err(said("sysctl"))? {
            // Tables that take an argument have no value of their own.
            if let Ok(value) = ctl::sysctl_read(kernel, &leaf.mib) {
                let value = ctl::sysctl_format(leaf.kind, &value);
                lines.push(shown(&leaf.name, &value));
                values.insert(leaf.name, value.into());
            }
        }
    }
    for name in names {
        let (name, new) = name.split_once('=').map_or((name.as_str(), None), |(name, new)| (name, Some(new)));
        let node = ctl::sysctl_find(kernel, name).map_err(said(name))?;
        for leaf in ctl::sysctl_leaves(kernel, node).map_err(said(name))? {
            let old = ctl::sysctl_read(kernel, &leaf.mib).map_err(said(name))?;
            let old = ctl::sysctl_format(leaf.kind, &old);
            let Some(new) = new else {
                lines.push(shown(&leaf.name, &old));
                values.insert(leaf.name, old.into());
                continue;
            };
            ctl::sysctl_write(kernel, &leaf.mib, &encode(leaf.kind, new)?).map_err(said(name))?;
            lines.push(format!("{}: {old} -> {new}", leaf.name));
            values.insert(leaf.name, new.into());
        }
    }
    Ok(if json { vec![Value::Object(values).to_string()] } else { lines })
}

fn encode(kind: u32, value: &str) -> anyhow::Result<Vec<u8>> {
    use abi::sysctl::{CTLTYPE_INT, CTLTYPE_QUAD, CTLTYPE_STRING};
    Ok(match kind {
        CTLTYPE_INT => value.parse::<i32>()?.to_ne_bytes().to_vec(),
        CTLTYPE_QUAD => value.parse::<i64>()?.to_ne_bytes().to_vec(),
        CTLTYPE_STRING => value.bytes().chain([0]).collect(),
        _ => anyhow::bail!("a value of this type cannot be set"),
    })
}
