//! rump_server: a rump kernel that serves clients over sysproxy (rump_server(1)).

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use abi::Errno;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use kernel::Kernel;
use kernel::config::Config;
use kernel::fs::etfs::Window;
use kernel::rumpuser::linux::LinuxHost;
use kernel::server::Server;
use kernel::vfs;
use signal_hook::consts::{SIGINT, SIGTERM};
use tools::drive::{Drive, Kind};
use tools::rc;
use tools::starter::{Role, report, start};

/// Serves a rump kernel on URL.
///
/// Returns when the server accepts connections, unless -s is given. SIGTERM and SIGINT halt it. Without -l every component is
/// there; with -l, the base and the named ones (rumpvfs, rumpnet, rumpnet_netinet, …).
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Stay in the foreground
    #[arg(short = 's')]
    foreground: bool,
    /// Print boot messages (RUMP_VERBOSE=1)
    #[arg(short = 'v')]
    verbose: bool,
    /// Number of virtual CPUs, or `host` (RUMP_NCPU)
    #[arg(short = 'c', value_name = "NCPU")]
    ncpu: Option<String>,
    /// Limit of memory: bytes, with suffix k, m or g (RUMP_MEMLIMIT)
    #[arg(short = 'r', value_name = "SIZE")]
    memlimit: Option<String>,
    /// Host file or device to expose: key=K,hostpath=P,size=N|host[,offset=O][,type=blk|chr|reg], or disklabel=LETTER
    /// in place of size
    #[arg(short = 'd', value_name = "DRIVESPEC")]
    drives: Vec<Drive>,
    /// Whose credentials clients have: `root` (the superuser's) or `peer` (those of their host process) (RUMP_CREDS)
    #[arg(long, value_name = "WHOSE")]
    creds: Option<String>,
    /// Component of the kernel
    #[arg(short = 'l', value_name = "LIB")]
    libs: Vec<String>,
    /// Kernel module
    #[arg(short = 'm', value_name = "MODULE")]
    modules: Vec<String>,
    /// Run the rumpctl commands in FILE, a line each, when the kernel has booted
    #[arg(long, value_name = "FILE")]
    rc: Option<PathBuf>,
    /// Make what is in the tar archive FILE (see rumpctl snapshot) in the root file system, before --rc
    #[arg(long, value_name = "FILE")]
    restore: Option<PathBuf>,
    /// Write the process id of the server into FILE
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Where to serve: unix://PATH or tcp://ADDR:PORT
    #[arg(value_name = "URL", required = true)]
    url: String,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            if error.kind() == ErrorKind::ValueValidation {
                eprintln!("\n{}", Args::command().bin_name(tools::program()).render_usage());
            }
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let role = Role::from_env();
    if role == Role::Command && !args.foreground { detach() } else { serve(&args, role) }
}

/// Starts itself anew in a session of its own, and ends with the status that the server reports.
fn detach() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let started = std::env::current_exe().and_then(|own| start(&own, &args, Role::Daemon));
    match started {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(code)) => ExitCode::from(code as u8),
        Err(error) => tools::fail(1, format_args!("cannot detach: {error}")),
    }
}

/// An error of the start: the text, and the number that a waiting parent reports: NetBSD's for what went wrong in the
/// kernel, the host's for what the host refused.
struct Failure(String, i32);

impl Failure {
    fn of_kernel(text: impl Into<String>, errno: Errno) -> Self {
        Self(text.into(), errno.raw())
    }
}

/// Allows the server as many descriptors as the host gives: each client takes one, and each file that a client has mapped.
fn take_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // What the host refuses is done without.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// A write to a host file beyond RLIMIT_FSIZE shall fail (`EFBIG`), and not end the server.
fn write_no_signals() {
    let noticed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Where no handler can be set, the signal ends the server as it did.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, noticed);
}

fn serve(args: &Args, role: Role) -> ExitCode {
    if role != Role::Command {
        // Away from the terminal's signals; it fails only for a process group leader, which a fresh child is not.
        let _ = rustix::process::setsid();
    }
    take_descriptors();
    write_no_signals();
    let server = match prepare(args) {
        Ok(server) => Arc::new(server),
        Err(Failure(text, number)) => {
            eprintln!("{}: {text}", tools::program());
            if role != Role::Command {
                let _ = report(number);
            }
            return ExitCode::FAILURE;
        }
    };
    if let Some(file) = &args.pidfile
        && let Err(error) = std::fs::write(file, format!("{}\n", std::process::id()))
    {
        server.stop();
        return tools::fail(1, format_args!("{}: {error}", file.display()));
    }
    let status = match stop_on_signals(&server).and_then(|()| settle(role, &server)) {
        Ok(()) => {
            server.run();
            ExitCode::SUCCESS
        }
        Err(error) => tools::fail(1, error),
    };
    server.stop();
    if role == Role::Private
        && let Some(folder) = args.url.strip_prefix("unix://").and_then(|path| std::path::Path::new(path).parent())
    {
        // The launcher made it for the socket, which is gone.
        let _ = std::fs::remove_dir(folder);
    }
    if let Some(file) = &args.pidfile {
        let _ = std::fs::remove_file(file);
    }
    if role == Role::Command {
        println!("halted");
    }
    if server.kernel().halted().is_some_and(|how| how & abi::mount::RB_DUMP != 0) {
        // reboot(2) asked for a core dump; all that others could miss is gone by now.
        std::process::abort();
    }
    status
}

fn prepare(args: &Args) -> Result<Server, Failure> {
    let mut config = Config::from_env().map_err(|text| Failure::of_kernel(text, Errno::EINVAL))?;
    let set = |done: Result<(), String>| done.map_err(|text| Failure::of_kernel(text, Errno::EINVAL));
    if let Some(ncpu) = &args.ncpu {
        set(config.set_ncpu(ncpu))?;
    }
    if let Some(limit) = &args.memlimit {
        set(config.set_memlimit(limit))?;
    }
    if let Some(creds) = &args.creds {
        set(config.set_creds(creds))?;
    }
    config.verbose |= args.verbose;
    if !args.libs.is_empty() {
        set(config.set_components(&args.libs).map_err(|lib| {
            format!("failed to load -libraries, last error from \"{lib}\":\n  no component of this name")
        }))?;
    }
    if let Some(module) = args.modules.first() {
        let text = format!("module load failed: {module}: {}", Errno::EOPNOTSUPP);
        return Err(Failure::of_kernel(text, Errno::EOPNOTSUPP));
    }
    let host = Arc::new(LinuxHost::server(&config));
    let kernel =
        Kernel::boot(host, config).map_err(|errno| Failure::of_kernel(format!("rump init failed: {errno}"), errno))?;
    for drive in &args.drives {
        expose(&kernel, drive)?;
    }
    let told = |error: anyhow::Error| Failure(format!("{error:#}"), Errno::EINVAL.raw());
    if let Some(file) = &args.restore {
        rc::restore(&kernel, file).map_err(told)?;
    }
    if let Some(file) = &args.rc {
        rc::run(&kernel, file).map_err(told)?;
    }
    Server::bind(kernel, &args.url)
        .map_err(|error| Failure::of_kernel(format!("rump server init failed: {error}"), error.errno()))
}

/// Shows a host file in the kernel.
fn expose(kernel: &Kernel, drive: &Drive) -> Result<(), Failure> {
    let part = drive.prepare().map_err(|refused| Failure(refused.to_string(), refused.number()))?;
    let kind = match drive.kind {
        Kind::Block => vfs::Kind::Block,
        Kind::Character => vfs::Kind::Character,
        Kind::Regular => vfs::Kind::Regular,
    };
    let window = Window { offset: part.offset, size: Some(part.size) };
    let shown = kernel.vfs.etfs_register(drive.key.as_bytes(), Path::new(&drive.hostpath), kind, window);
    shown.map_err(|errno| Failure::of_kernel(format!("etfs register: {errno}"), errno))
}

/// Halts the server on SIGTERM and SIGINT.
fn stop_on_signals(server: &Arc<Server>) -> Result<(), String> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let server = server.clone();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            server.stop();
        }
    });
    Ok(())
}

/// Tells the starter that clients may come; then lets go of it, or ends when it does.
fn settle(role: Role, server: &Arc<Server>) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match role {
        Role::Command => Ok(()),
        Role::Daemon => {
            let line = rustix::io::dup(rustix::stdio::stdin()).map_err(|error| text(&error))?;
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
            let null = null.map_err(|error| text(&error))?;
            rustix::stdio::dup2_stdin(&null).map_err(|error| text(&error))?;
            rustix::stdio::dup2_stdout(&null).map_err(|error| text(&error))?;
            rustix::stdio::dup2_stderr(&null).map_err(|error| text(&error))?;
            // A starter that is gone meanwhile is no reason to end.
            let _ = rustix::io::write(&line, &0i32.to_ne_bytes());
            Ok(())
        }
        Role::Private => {
            let server = server.clone();
            report(0).map_err(|error| text(&error))?;
            std::thread::spawn(move || {
                let mut end = [0];
                while matches!(std::io::stdin().read(&mut end), Ok(n) if n > 0) {}
                server.stop();
            });
            Ok(())
        }
    }
}
