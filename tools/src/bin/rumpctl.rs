//! rumpctl: looks at a running rump kernel, in the words of the BSD tools.

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

fn main() -> ExitCode {
    let args = match Args::try_parse() {
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
