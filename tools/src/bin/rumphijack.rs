//! rumphijack: runs a program on a rump kernel.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use spec::image::Reason;
use sysproxy::Locator;
use tools::explain;
use tools::starter::{Role, Started, start};

/// Says what a program does when its kernel is gone.
const RETRY: &str = "RUMPHIJACK_RETRYCONNECT";

/// Runs PROGRAM with its files under /rump and its sockets on a rump kernel.
///
/// Without --server, the kernel is a private one that lives as long as PROGRAM. The exit status is PROGRAM's; 126 if it cannot
/// be executed (or, in a sandbox, not be hijacked), 127 if it is not found, 1 if the kernel cannot be had.
#[derive(Parser)]
#[command(
    version,
    override_usage = "rumphijack [--server URL] [--config STRING] [--trace[=FILE]] [--sandbox[=PATHS]] [--creds WHOSE] [--] PROGRAM [ARG…]
       rumphijack --explain [--config STRING] [PROGRAM | PATH…]"
)]
struct Args {
    /// Server to use: unix://PATH, tcp://ADDR:PORT, or `local:` for a kernel inside PROGRAM itself
    #[arg(long, value_name = "URL")]
    server: Option<OsString>,
    /// What to hijack (the RUMPHIJACK variable) [default: path=/rump,socket=all:nolocal]
    #[arg(long, value_name = "STRING")]
    config: Option<OsString>,
    /// Name the kernel that served each call, in FILE or on stderr; `summary` prints a table at the end instead
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "/dev/stderr")]
    trace: Option<OsString>,
    /// Refuse host sockets, and host files other than those that programs need to run and PATHS (a colon list; `-PATH`: read only)
    ///
    /// Refused calls fail with EACCES; a program that cannot be hijacked is not run. Without --config, sockets of all families are
    /// the rump kernel's, local ones too. It is a fence, not a wall: system calls that pass by libc pass by it.
    #[arg(long, value_name = "PATHS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    sandbox: Option<OsString>,
    /// Whose credentials PROGRAM has in a kernel of its own: `root` (the superuser's) or `peer` (its own) [default: root]
    #[arg(long, value_name = "WHOSE", value_parser = ["root", "peer"])]
    creds: Option<String>,
    /// Run nothing: say what the configuration means, where each PATH goes, and whether each PROGRAM can be hijacked
    #[arg(long, conflicts_with_all = ["server", "trace", "sandbox"])]
    explain: bool,
    /// The program and its arguments
    #[arg(
        required_unless_present = "explain",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    program: Vec<OsString>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(args) {
        Ok(code) => code,
        Err(error) => tools::fail(1, format_args!("{error:#}")),
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.explain {
        let config = args.config.or_else(|| std::env::var_os("RUMPHIJACK"));
        let explained = explain::explain(config.as_deref(), &args.program)?;
        print!("{}", explained.text);
        return Ok(explained.status.into());
    }
    let library = library()?;
    let name = args.program[0].to_string_lossy();
    let file = explain::find(&args.program[0]);
    let reason = file.as_deref().and_then(|file| explain::inspect(file).ok()).and_then(|image| image.unhijackable);
    match reason {
        Some(reason) if args.sandbox.is_some() => {
            return Ok(tools::fail(126, format_args!("{name} cannot be hijacked and is not run: {reason}")));
        }
        Some(reason) => eprintln!("{}: warning: {name} runs on the host: {reason}", tools::program()),
        None => {}
    }
    let private = match &args.server {
        Some(_) => None,
        None => Some(Private::start(args.creds.as_deref())?),
    };
    let server = match (&args.server, &private) {
        (Some(url), _) => url.clone(),
        (None, Some(private)) => private.url.clone(),
        (None, None) => unreachable!("a server was given or started"),
    };
    // Programs find out when they need it.
    if let Some(url) = args.server.as_ref().and_then(|url| url.to_str())
        && let Ok(Locator::Remote(endpoint)) = Locator::parse(url, sysproxy::Role::Client)
        && !endpoint.reachable()
    {
        anyhow::bail!("cannot reach rump server {url} (is rump_server running?)");
    }
    let mut command = Command::new(&args.program[0]);
    command.args(&args.program[1..]).env("RUMP_SERVER", server);
    // Another C library's loader would end the program for want of what the library needs.
    if reason != Some(Reason::Loader) {
        command.env("LD_PRELOAD", preload(&library));
    }
    if let Some(config) = &args.config {
        command.env("RUMPHIJACK", config);
    }
    if let Some(creds) = &args.creds {
        match &args.server {
            Some(url) if url.is_empty() || url == "local:" => drop(command.env("RUMP_CREDS", creds)),
            Some(_) => anyhow::bail!("--creds: the kernel of --server decides itself (rump_server --creds)"),
            None => {}
        }
    }
    if let Some(paths) = &args.sandbox {
        command.env("RUMPHIJACK_SANDBOX", sandbox(paths, file.as_deref())?);
        if args.config.is_none() && std::env::var_os("RUMPHIJACK").is_none() {
            command.env("RUMPHIJACK", "path=/rump,socket=all");
        }
    }
    if let Some(file) = &args.trace {
        command.env("RUMPHIJACK_TRACE", file);
    }
    if private.is_some() && std::env::var_os(RETRY).is_none() {
        // What the program leaves behind ends with its kernel: a daemon would run in circles on ENOTCONN.
        command.env(RETRY, "die");
    }
    // Before the program starts, so that no signal is lost between the two.
    let pending = Forwarded::catch()?;
    let launcher = rustix::process::getpid();
    // SAFETY: between fork and exec, prctl and getppid only: both are async-signal safe.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The launcher may have been killed before the line above.
            if rustix::process::getppid() != Some(launcher) {
                return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::CANCELED.raw_os_error()));
            }
            Ok(())
        });
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(tools::fail(127, format_args!("{name}: {error}")));
        }
        Err(error) => return Ok(tools::fail(126, format_args!("{name}: {error}"))),
    };
    let status = pending.wait(child)?;
    drop(private);
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(ExitCode::from(code as u8)),
        (None, signal) => Ok(end_by(signal.unwrap_or(9))),
    }
}

/// Ends this process as the program ended, so that a shell sees the same.
fn end_by(signal: i32) -> ExitCode {
    let no_core = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, no_core);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    ExitCode::from(128 + signal as u8)
}

/// The value of RUMPHIJACK_SANDBOX: the user's paths as the host resolves them, and the program's own file.
fn sandbox(paths: &OsStr, program: Option<&Path>) -> anyhow::Result<OsString> {
    let mut value = Vec::new();
    let mut add = |mark: &[u8], path: &Path| {
        let real = fs::canonicalize(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        value.extend([b":", mark, real.as_os_str().as_bytes()].concat());
        anyhow::Ok(())
    };
    for path in paths.as_bytes().split(|byte| *byte == b':').filter(|path| !path.is_empty()) {
        match path.strip_prefix(b"-") {
            Some(path) => add(b"-", Path::new(OsStr::from_bytes(path)))?,
            None => add(b"", Path::new(OsStr::from_bytes(path)))?,
        }
    }
    if let Some(program) = program.filter(|program| program.exists()) {
        add(b"-", program)?;
    }
    Ok(OsStr::from_bytes(&value).to_owned())
}

/// Finds the library beside this program, in the lib folder next to it, or where `RUMPHIJACK_LIBRARY` says.
fn library() -> anyhow::Result<PathBuf> {
    const NAME: &str = "librumphijack.so";
    if let Some(path) = std::env::var_os("RUMPHIJACK_LIBRARY") {
        return Ok(fs::canonicalize(path)?);
    }
    let here = fs::canonicalize("/proc/self/exe")?;
    let folder = here.parent().unwrap_or(Path::new("/"));
    let places = [folder.join(NAME), folder.join("../lib").join(NAME)];
    let found = places.iter().find(|place| place.is_file()).and_then(|place| fs::canonicalize(place).ok());
    found.ok_or_else(|| anyhow::anyhow!("{NAME} not found in {} or its ../lib", folder.display()))
}

/// The library in front of whatever is preloaded already.
fn preload(library: &Path) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        value.push(OsStr::from_bytes(b":"));
        value.push(others);
    }
    value
}

/// A server of our own: it ends, and its folder goes, when this value does or when this process dies.
struct Private {
    url: OsString,
    started: Option<Started>,
}

impl Private {
    fn start(creds: Option<&str>) -> anyhow::Result<Self> {
        // mkdtemp makes the folder 0700.
        let folder = tempfile::Builder::new().prefix("rumphijack-").tempdir()?;
        let mut url = OsString::from("unix://");
        url.push(folder.path().join("socket"));
        let exe = fs::canonicalize("/proc/self/exe")?;
        let server = exe.with_file_name("rump_server");
        let mut args: Vec<OsString> = vec!["-s".into()];
        args.extend(creds.map(|creds| format!("--creds={creds}").into()));
        args.extend(["--".into(), url.clone()]);
        let started = start(&server, &args, Role::Private)
            .map_err(|error| anyhow::anyhow!("{}: {error}", server.display()))?
            .map_err(|code| anyhow::anyhow!("the private server did not start: {}", abi::Errno::from_raw(code)))?;
        // From here on the server removes it, also when we are killed.
        let _ = folder.keep();
        Ok(Self { url, started: Some(started) })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(Started { mut child, line }) = self.started.take() {
            drop(line);
            let _ = child.wait();
        }
    }
}

/// Signals that go on to the program. Those that the terminal sends reach it anyway, being in the same process group;
/// they only must not end the launcher first.
struct Forwarded {
    signals: signal_hook::iterator::Signals,
}

impl Forwarded {
    fn catch() -> anyhow::Result<Self> {
        let signals = [SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGINT, SIGQUIT, SIGCONT, SIGWINCH];
        Ok(Self { signals: signal_hook::iterator::Signals::new(signals)? })
    }

    fn wait(mut self, mut child: Child) -> anyhow::Result<std::process::ExitStatus> {
        let pid = Pid::from_child(&child);
        let over = Arc::new(AtomicBool::new(false));
        let (handle, done) = (self.signals.handle(), over.clone());
        let forwarder = std::thread::spawn(move || {
            for signal in &mut self.signals {
                let from_terminal = matches!(signal, SIGINT | SIGQUIT | SIGCONT | SIGWINCH);
                if !from_terminal && !done.load(Ordering::SeqCst) {
                    let _ = Signal::from_named_raw(signal).map(|signal| kill_process(pid, signal));
                }
            }
        });
        let status = child.wait()?;
        over.store(true, Ordering::SeqCst);
        handle.close();
        let _ = forwarder.join();
        Ok(status)
    }
}
