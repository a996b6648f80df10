//! The harness: kernels to run programs against, programs with a hard time limit, and readable failures.

pub mod programs;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Seconds after which a program counts as hung.
const LIMIT: u32 = 60;

/// Returns a binary that `make build` left beside this one, or beside its folder if this is a test.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not beside {}: run `make build` first", own.display()))
}

/// Which kernel serves the programs of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The launcher's own server.
    Private,
    /// A `rump_server` on a unix socket.
    Unix,
    /// A `rump_server` on TCP.
    Tcp,
    /// A kernel in the program itself.
    Local,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 4] = [Transport::Private, Transport::Unix, Transport::Tcp, Transport::Local];
    /// Those that several processes can share.
    pub const REMOTE: [Transport; 3] = [Transport::Private, Transport::Unix, Transport::Tcp];
}

/// A kernel that lasts as long as the value.
pub struct Rump {
    url: Option<String>,
    server: bool,
    folder: TempDir,
}

impl Rump {
    /// Gets a kernel ready.
    pub fn start(transport: Transport) -> Rump {
        Self::start_with(transport, &[])
    }

    /// The same with options for the server, if there is one.
    pub fn start_with(transport: Transport, options: &[&str]) -> Rump {
        let folder = TempDir::new().expect("temporary folder");
        let (url, server) = match transport {
            Transport::Private => (None, false),
            Transport::Local => (Some("local:".to_owned()), false),
            Transport::Unix => (Some(format!("unix://{}/socket", folder.path().display())), true),
            Transport::Tcp => (Some(format!("tcp://{}:4711", own_address())), true),
        };
        let rump = Rump { url, server, folder };
        if server {
            let url = rump.url();
            let pidfile = rump.folder.path().join("pid");
            let mut command = Command::new(built("rump_server"));
            command.args(options).arg("--pidfile").arg(pidfile).arg(&url).stdin(Stdio::null());
            alone(&mut command);
            let status = command.status().expect("rump_server");
            assert!(status.success(), "rump_server {url}: {status}");
        }
        rump
    }

    /// The server's URL; for a private kernel there is none.
    pub fn url(&self) -> String {
        self.url.clone().unwrap_or_default()
    }

    /// The process id of the server.
    pub fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.folder.path().join("pid")).expect("pid file");
        text.trim().parse().expect("process id")
    }

    /// A folder that goes with the kernel.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the command that runs `program` on this kernel.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.launch(&[], program)
    }

    /// The same with options for the launcher.
    pub fn launch(&self, options: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = limited(built("rumphijack"));
        if let Some(url) = &self.url {
            command.arg("--server").arg(url);
        }
        command.args(options).arg("--").arg(program);
        command
    }

    /// Runs a shell script on this kernel and returns what it printed; anything but success fails the test.
    pub fn sh(&self, script: &str) -> String {
        stdout(self.command("sh").args(["-ec", script]))
    }

    /// Runs `rumpctl` on this kernel.
    pub fn ctl(&self, args: &[&str]) -> String {
        stdout(limited(built("rumpctl")).args(["-s", &self.url()]).args(args))
    }
}

impl Drop for Rump {
    fn drop(&mut self) {
        if self.server && self.folder.path().join("pid").exists() {
            let status = limited(built("rumpctl")).args(["-s", &self.url(), "halt"]).stderr(Stdio::null()).status();
            if !status.is_ok_and(|status| status.success()) {
                // SAFETY: plain kill(2) of a server that this test started.
                unsafe { libc::kill(self.pid(), libc::SIGKILL) };
            }
        }
    }
}

/// A command that is killed, with all its children that stay in its group, when it hangs.
pub fn limited(program: impl AsRef<OsStr>) -> Command {
    limited_to(LIMIT, program)
}

/// The same with so many seconds.
pub fn limited_to(seconds: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--signal=KILL").arg(seconds.to_string()).arg(program).stdin(Stdio::null());
    command.env_remove("LD_PRELOAD").env_remove("RUMP_SERVER").env_remove("RUMPHIJACK");
    alone(&mut command);
    command
}

/// Has a command begin with the standard streams and no other descriptor, whatever the test itself was given.
fn alone(command: &mut Command) {
    let mark = || {
        // SAFETY: one system call. The descriptors are marked, not closed: one of them tells whether the exec has failed.
        match unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(mark) };
}

/// Waits for a condition, at most a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed and returns its standard output; on failure the test shows both outputs.
pub fn stdout(command: &mut Command) -> String {
    let done = output(command);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if !done.status.success() {
        panic!("{command:?}: {}\n--- stdout\n{out}\n--- stderr\n{err}\n--- trace\n{}", done.status, traced(command));
    }
    out.into_owned()
}

/// Runs a failed command once more with the trace on.
fn traced(command: &Command) -> String {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args()).env("RUMPHIJACK_TRACE", "/dev/stderr").stdin(Stdio::null());
    alone(&mut again);
    match again.output() {
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            format!("({})\n{}", done.status, lines[lines.len().saturating_sub(80)..].join("\n"))
        }
        Err(error) => error.to_string(),
    }
}

/// Returns an address of the host's loopback network that no other server of the tests has, so that its ports are free.
fn own_address() -> std::net::Ipv4Addr {
    static SERVERS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    std::net::Ipv4Addr::new(127, high | 0x80, low, SERVERS.fetch_add(1, Ordering::Relaxed))
}

/// Returns a port that nothing on the host's loopback listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("address").port()
}

/// Whether a Debian program that a test needs is here; says so when not.
pub fn have(program: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file());
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
