//! rumpctl: looks at a running rump kernel, in the words of the BSD tools.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use client::{Handshake, Remote, Retry};
use tools::commands::{self, Command};

/// Looks at and changes a running rump kernel.
///
/// Exit status: 0, or 1 with one line that says what went wrong.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The server, unix://PATH or tcp://ADDR:PORT [default: RUMP_SERVER]
    #[arg(short = 's', long, value_name = "URL", global = true)]
    server: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Has `-s` behind `arp` and `ndp` mean what it means in BSD, an entry to be made; the server's URL is told from it by its `://`.
fn in_bsd_words(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let is_url = |word: Option<&OsString>| word.is_some_and(|word| word.to_string_lossy().contains("://"));
    let entry = |two: &[OsString]| (two[0] == "arp" || two[0] == "ndp") && two[1] == "-s";
    if let Some(at) = args.windows(2).position(entry).filter(|at| !is_url(args.get(at + 2))) {
        args.insert(at + 1, "--".into());
    }
    args
}

fn main() -> ExitCode {
    let args = match Args::try_parse_from(in_bsd_words(std::env::args_os())) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&args) {
        Ok(lines) => {
            // Who reads no further has read enough.
            let mut out = std::io::stdout().lock();
            let _ = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => tools::fail(1, format_args!("{error:#}")),
    }
}

fn run(args: &Args) -> anyhow::Result<Vec<String>> {
    let url = args.server.clone().or_else(|| std::env::var("RUMP_SERVER").ok());
    let url = url.ok_or_else(|| anyhow::anyhow!("no server: give -s URL or set RUMP_SERVER"))?;
    let kernel = Remote::connect(&url, Handshake::Guest(b"rumpctl".to_vec()), Retry::Never)
        .map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
    commands::run(&args.command, &kernel, args.json)
}
