//! Runs a row natively and hijacked.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::place::Place;
use super::{PRELUDE, Program};
use crate::{Rump, Transport, limited};

/// Lines of a trace that a failure shows.
const TAIL: usize = 80;

/// The variable by which a run's processes are known; its value is a folder of that run.
const MARK: &str = "PROGRAM_RUN";

/// How long processes may take to end after the script has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a run did.
pub struct Run {
    /// Standard output, with the name of the folder replaced by `@`.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Whether the script succeeded, and if not, how it ended.
    pub end: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// The first of the row's commands that is not installed.
pub fn missing(row: &Program) -> Option<&'static str> {
    let have = |command: &str| SEARCH.split(':').any(|folder| Path::new(folder).join(command).is_file());
    row.uses.split(' ').find(|command| !have(command))
}

/// Where programs are looked for: Debian's, whatever else the machine has.
const SEARCH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this machine lets us make network namespaces, without which the host's run of a network program has no place.
pub fn may_isolate() -> bool {
    // SAFETY: the closure makes system calls only.
    let probe = unsafe { Command::new("true").pre_exec(isolate).status() };
    probe.is_ok_and(|status| status.success())
}

/// Runs the row's script on the host, as far as it goes on a file system of the rump kernel.
pub fn natively(row: &Program, place: Place) -> Run {
    on_host(row, |folder, host| script(&mut limited("bash"), row, place, folder, host))
}

/// Runs the row's script on a fresh rump kernel.
pub fn hijacked(row: &Program, transport: Transport, place: Place) -> Run {
    on_rump(row, transport, place, |_| {})
}

/// Runs the row on both sides once more and returns the ends of their traces.
pub fn traces(row: &Program, transport: Transport, place: Place) -> String {
    let folder = TempDir::new().expect("temporary folder");
    let (host, rump) = (folder.path().join("host"), folder.path().join("rump"));
    if missing_strace() {
        std::fs::write(&host, "(strace is not installed)").expect("temporary file");
    } else {
        on_host(row, |folder, other| {
            let mut command = limited("strace");
            command.args(["-f", "-qq", "-o"]).arg(&host).arg("bash");
            script(&mut command, row, place, folder, other)
        });
    }
    on_rump(row, transport, place, |command| {
        command.env("RUMPHIJACK_TRACE", &rump);
    });
    format!("--- host's trace\n{}\n--- {transport:?}'s trace\n{}", tail(&host), tail(&rump))
}

fn missing_strace() -> bool {
    !Path::new("/usr/bin/strace").exists()
}

fn on_host(row: &Program, make: impl Fn(&Path, &Path) -> Command) -> Run {
    // The rump kernel's root is a tmpfs: so is this, where there is one.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).expect("temporary folder");
    let other = TempDir::new().expect("temporary folder");
    let folder = place.path().join(row.name);
    let mut command = make(&folder, other.path());
    if row.network {
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(isolate) };
    }
    run(&mut command, &folder)
}

fn on_rump(row: &Program, transport: Transport, place: Place, adjust: impl Fn(&mut Command)) -> Run {
    let ground = place.prepare();
    let rump = Rump::start_with(transport, &ground.options().iter().map(String::as_str).collect::<Vec<_>>());
    let other = TempDir::new().expect("temporary folder");
    let folder = Path::new("/rump/tmp").join(row.name);
    let options = row.config.map_or_else(Vec::new, |config| vec!["--config", config]);
    let mut command = script(&mut rump.launch(&options, "bash"), row, place, &folder, other.path());
    adjust(&mut command);
    let mut done = run(&mut command, &folder);
    done.end = done.end.and_then(|()| ground.check(&rump.url()));
    done
}

/// Completes a command that ends in a shell by the script and its surroundings, the same on both sides.
fn script(shell: &mut Command, row: &Program, place: Place, folder: &Path, host: &Path) -> Command {
    let text = format!("mkdir -p \"$D\"; cd \"$D\"\n{PRELUDE}{}", row.script);
    shell.args(["-euc", &text, row.name]);
    shell.env("D", folder).env("HOME", folder).env("HOST", host).env("PLACE", place.name());
    shell.env("PATH", SEARCH).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("TERM", "dumb");
    for variable in ["TMPDIR", "XDG_CONFIG_HOME", "MAKEFLAGS", "PYTHONPATH", "EDITOR", "PAGER"] {
        shell.env_remove(variable);
    }
    std::mem::replace(shell, Command::new("true"))
}

fn run(command: &mut Command, folder: &Path) -> Run {
    // Files, not pipes: a process that is left behind would keep a pipe open.
    let outputs = TempDir::new().expect("temporary folder");
    let (out, err) = (outputs.path().join("out"), outputs.path().join("err"));
    let file = |path: &Path| std::fs::File::create(path).expect("temporary file");
    command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).env(MARK, outputs.path());
    let begin = Instant::now();
    let ended = match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let took = begin.elapsed();
    let end = ended.and(clear(outputs.path()));
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Run { out: text(&out).replace(&*folder.to_string_lossy(), "@"), err: text(&err), end, took }
}

/// Waits for the last process of a run to end; kills and names those that do not.
fn clear(mark: &Path) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        let left = processes(mark);
        if left.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            for (process, _) in &left {
                // SAFETY: plain kill(2) of a process that carries our mark.
                unsafe { libc::kill(*process, libc::SIGKILL) };
            }
            let names: Vec<_> = left.into_iter().map(|(_, name)| name).collect();
            return Err(format!("left processes behind: {}", names.join("; ")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of a run, with their command lines.
fn processes(mark: &Path) -> Vec<(libc::pid_t, String)> {
    let mark = format!("{MARK}={}", mark.display());
    let ours = |process: &libc::pid_t| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let line = |process: libc::pid_t| {
        let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ").chars().take(100).collect()
    };
    let all =
        std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(ours).map(|process| (process, line(process))).collect()
}

fn tail(path: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Puts the calling process into a network namespace of its own, with its loopback interface up.
fn isolate() -> std::io::Result<()> {
    let checked = |result: libc::c_int| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: plain system calls on our own descriptor and on a structure that lives long enough.
    unsafe {
        checked(libc::unshare(libc::CLONE_NEWNET))?;
        let socket = checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let set = checked(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request));
        libc::close(socket);
        set.map(drop)
    }
}
