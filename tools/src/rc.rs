//! The rc file of a server: lines of rumpctl commands, run when the kernel has booted.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Parser;
use kernel::Kernel;

use crate::commands::{self, Command};
use crate::inside::Inside;

/// A line.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Runs a file; the first line that fails ends it. What the commands print goes to standard output.
///
/// Words are separated and quoted as in a shell; `#` at the begin of a word begins a comment.
pub fn run(kernel: &Arc<Kernel>, path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    for (number, line) in (1..).zip(text.lines()) {
        run_line(kernel, line).with_context(|| format!("{}:{number}", path.display()))?;
        ensure!(kernel.halted().is_none(), "{}:{number}: the kernel was halted", path.display());
    }
    Ok(())
}

/// Makes what is in a tar archive in the root file system; what is skipped is told on standard output.
pub fn restore(kernel: &Arc<Kernel>, path: &Path) -> anyhow::Result<()> {
    run_command(kernel, &Command::restore(path))
}

fn run_line(kernel: &Arc<Kernel>, line: &str) -> anyhow::Result<()> {
    let words = shlex::split(line).context("quotes do not match")?;
    if words.is_empty() {
        return Ok(());
    }
    let parsed = Line::try_parse_from(words).map_err(|error| {
        // The first line says what is wrong; the others tell of the usage.
        let text = error.to_string();
        anyhow::anyhow!("{}", text.lines().next().unwrap_or_default().trim_start_matches("error: "))
    })?;
    run_command(kernel, &parsed.command)
}

fn run_command(kernel: &Arc<Kernel>, command: &Command) -> anyhow::Result<()> {
    let caller = Inside::new(kernel, "rc").map_err(|errno| anyhow::anyhow!("{errno}"))?;
    for line in commands::run(command, &caller, false)? {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernel::config::Config;
    use kernel::rumpuser::linux::LinuxHost;

    use super::*;

    fn run_text(name: &str, text: &str) -> Result<Arc<Kernel>, String> {
        let config = Config::default();
        let kernel = Kernel::boot(Arc::new(LinuxHost::server(&config)), config).unwrap();
        let path = std::env::temp_dir().join(format!("rc-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let done = run(&kernel, &path);
        std::fs::remove_file(&path).unwrap();
        done.map(|()| kernel).map_err(|error| format!("{error:#}").replace(&path.display().to_string(), "rc"))
    }

    #[test]
    fn lines_are_commands() {
        let text =
            "# what is mounted\n\nmount -t tmpfs -o 'size=1m' scratch /home   # and there\nsysctl kern.hostname=rc\n";
        let kernel = run_text("good", text).unwrap();
        assert_eq!(kernel.vfs.mounts().last().unwrap().path(), b"/home");
    }

    #[test]
    fn networks_are_set_up() {
        let bus = std::env::temp_dir().join(format!("rc-bus-{}", std::process::id()));
        let text = format!(
            "sysctl net.inet6.ip6.dad_count=0 net.inet.ip.forwarding=1\n\
             ifconfig shmif0 create linkstr {} inet 10.1.0.1/24 inet6 fd01::1/64\n\
             netem shmif0 loss 1%\n\
             route add default 10.1.0.2\nroute add -inet6 -net fd09::/16 fd01::9\nroute show\nroute get 10.9.9.9\n\
             arp -s 10.1.0.7 02:00:00:00:00:07\narp -a\nndp -s fd01::7 02:00:00:00:00:07\nndp -a\n\
             netstat -rn\nnetstat -i\nnetstat -s\nnetstat -an\nsockstat\n\
             ping -o 127.0.0.1\ntraceroute -q 1 ::1\n\
             route add default 10.1.0.3\n",
            bus.display()
        );
        // The route that is there already says that the lines before have worked.
        assert_eq!(run_text("network", &text).err().unwrap(), "rc:19: default: File exists");
        std::fs::remove_file(&bus).unwrap();
    }

    #[test]
    fn the_first_failure_ends_it_and_says_where() {
        assert_eq!(
            run_text("unknown", "\nfrobnicate\nhalt\n").err().unwrap(),
            "rc:2: unrecognized subcommand 'frobnicate'"
        );
        assert_eq!(run_text("fails", "umount /home\n").err().unwrap(), "rc:1: /home: Invalid argument");
        assert_eq!(run_text("quotes", "ps 'x\n").err().unwrap(), "rc:1: quotes do not match");
        assert_eq!(run_text("halts", "halt\nps\n").err().unwrap(), "rc:1: the kernel was halted");
    }
}
