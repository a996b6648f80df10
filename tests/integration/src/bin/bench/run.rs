//! Runs a row: its ways in turns, each sample in a process of its own with a hard limit, on a kernel that is fresh for the row.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use integration::{Rump, Transport, built, limited_to};
use tempfile::TempDir;

use crate::programs;
use crate::row::{Of, Row, Way, Work};
use crate::work::{self, Task, ping};

/// Seconds after which a sample counts as hung.
const LIMIT: u32 = 20;
/// The same for a script.
const SCRIPT_LIMIT: u32 = 60;
/// The server's URL, for a process without the library that starts some with it.
const SERVER: &str = "BENCH_SERVER";
/// The addresses of the two kernels of a pair, and the port.
const PAIR: [[u8; 4]; 2] = [[10, 9, 0, 1], [10, 9, 0, 2]];
const PORT: u16 = 5001;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each way.
    pub rounds: usize,
    /// Length of a sample.
    pub time: Duration,
    /// Whether it is enough that everything works.
    pub quick: bool,
}

/// The figures of one way, or why there are none.
pub type Series = Result<Vec<f64>, String>;

/// What became of a row.
pub struct Outcome {
    /// The row.
    pub row: &'static Row,
    /// Its figures, in the order of [`Way::ALL`]; `None` for a way that the row does not go.
    pub ways: [Option<Series>; 4],
    /// Round trips over a unix socket of the host, if something is held against them.
    pub reference: Option<Series>,
}

/// The environment of a program that goes this way, with `socket=` as given.
fn variables(way: Way, url: &str, sockets: &str) -> Vec<(&'static str, OsString)> {
    let (server, more) = match way {
        Way::Host => return Vec::new(),
        Way::Wire => (url, ",extended=off"),
        Way::Extended => (url, ""),
        Way::Local => ("local:", ""),
    };
    vec![
        ("LD_PRELOAD", built("librumphijack.so").into()),
        ("RUMP_SERVER", server.into()),
        ("RUMPHIJACK", format!("path=/rump,socket={sockets}{more}").into()),
        ("RUMPHIJACK_RETRYCONNECT", "die".into()),
    ]
}

/// The environment of a program that a row starts itself.
pub fn environment(way: Way) -> Vec<(&'static str, OsString)> {
    variables(way, &std::env::var(SERVER).unwrap_or_default(), "all")
}

/// The kernels and folders of a row.
struct Place {
    rump: Rump,
    second: Option<Rump>,
    host: TempDir,
    samples: usize,
}

impl Place {
    fn make(row: &Row) -> Self {
        let host = TempDir::with_prefix_in("bench-", "/dev/shm").expect("a folder on a tmpfs of the host");
        let rump = Rump::start(Transport::Unix);
        for line in row.setup {
            rump.ctl(&line.split(' ').collect::<Vec<_>>());
        }
        let second = matches!(row.work, Work::Pair(..)).then(|| {
            let second = Rump::start(Transport::Unix);
            let bus = host.path().join("bus").display().to_string();
            for (rump, [a, b, c, d]) in [&rump, &second].into_iter().zip(PAIR) {
                rump.ctl(&["ifconfig", "shmif0", "create", "linkstr", &bus, "inet", &format!("{a}.{b}.{c}.{d}/24")]);
            }
            second
        });
        Self { rump, second, host, samples: 0 }
    }

    /// A folder that does not exist yet.
    fn folder(&mut self, way: Way) -> String {
        self.samples += 1;
        match way {
            Way::Host => self.host.path().join(self.samples.to_string()).display().to_string(),
            _ => format!("/rump/tmp/{}", self.samples),
        }
    }
}

/// Measures a row; the figures come in turns, so that what else goes on on the machine disturbs all alike.
pub fn measure(row: &'static Row, effort: &Effort) -> Outcome {
    let mut ways: [Option<Series>; 4] = Way::ALL.map(|way| row.ways.contains(&way).then(|| Ok(Vec::new())));
    let held = row.bounds.iter().any(|bound| bound.of == Of::RoundTrip);
    let mut reference: Option<Series> = held.then(|| Ok(Vec::new()));
    if let Some(missing) = programs::missing(row) {
        ways.iter_mut().flatten().for_each(|series| *series = Err(missing.clone()));
        return Outcome { row, ways, reference };
    }
    let mut place = Place::make(row);
    for _ in 0..effort.rounds {
        if let Some(series) = &mut reference {
            take(series, || sample(&ping::ROUND_TRIP, Way::Host, &mut place, effort));
        }
        for (way, series) in Way::ALL.into_iter().zip(&mut ways) {
            if let Some(series) = series {
                take(series, || sample(row, way, &mut place, effort));
            }
        }
    }
    Outcome { row, ways, reference }
}

/// Adds a sample to a series; one that has failed is not tried again.
fn take(series: &mut Series, sample: impl FnOnce() -> Result<f64, String>) {
    let Ok(figures) = series else { return };
    match sample() {
        Ok(figure) => figures.push(figure),
        Err(reason) => *series = Err(reason),
    }
}

fn sample(row: &Row, way: Way, place: &mut Place, effort: &Effort) -> Result<f64, String> {
    let folder = place.folder(way);
    let url = place.rump.url();
    match row.work {
        Work::Script(text, with, _) => {
            let mut command = limited(SCRIPT_LIMIT, &variables(way, &url, "all:nolocal"), Path::new("bash"));
            programs::prepare(&mut command, text, with, &folder, place.host.path(), effort.quick);
            figure(command.output().map_err(|error| error.to_string())?)
        }
        Work::Calls(..) => figure(output(worker(row, way, effort, &folder, &variables(way, &url, "all")))?),
        Work::Starts(..) => {
            let mut command = worker(row, way, effort, &folder, &[]);
            command.env(SERVER, url);
            figure(output(command)?)
        }
        Work::Pair(..) => {
            let second = place.second.as_ref().map(Rump::url).unwrap_or_default();
            let ([_, address], port) = match way {
                Way::Host => ([[127, 0, 0, 1]; 2], integration::free_port()),
                _ => (PAIR, PORT),
            };
            let [a, b, c, d] = address;
            let to = format!("{a}.{b}.{c}.{d}:{port}");
            let mut waiting = worker(row, way, effort, &folder, &variables(way, &second, "all"));
            let mut waiting = waiting.args(["--waits", &to]).spawn().map_err(|error| error.to_string())?;
            let mut calling = worker(row, way, effort, &folder, &variables(way, &url, "all"));
            calling.args(["--calls", &to]);
            let found = output(calling).and_then(figure);
            if found.is_err() {
                // It may wait for ever for who has failed. `timeout` passes the signal on.
                // SAFETY: kill(2) of a child that is not waited for yet.
                unsafe { libc::kill(waiting.id() as i32, libc::SIGTERM) };
            }
            let _ = waiting.wait();
            found
        }
    }
}

/// A command with a limit and these variables, which are not `timeout`'s own.
fn limited(seconds: u32, variables: &[(&str, OsString)], program: &Path) -> Command {
    let mut command = limited_to(seconds, "env");
    for (name, value) in variables {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        command.arg(word);
    }
    command.arg(program);
    command
}

/// The command that runs a row's function.
fn worker(row: &Row, way: Way, effort: &Effort, folder: &str, variables: &[(&str, OsString)]) -> Command {
    let mut command = limited(LIMIT, variables, &std::env::current_exe().expect("our own path"));
    let seconds = row.seconds.filter(|_| !effort.quick).unwrap_or(effort.time.as_secs_f64());
    command.args(["--worker", row.name, "--folder", folder, "--way", way.name(), "--seconds", &seconds.to_string()]);
    if effort.quick {
        command.arg("--quick");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(mut command: Command) -> Result<Output, String> {
    command.output().map_err(|error| error.to_string())
}

/// Reads the figure that a process has printed, or says why there is none.
fn figure(output: Output) -> Result<f64, String> {
    use std::os::unix::process::ExitStatusExt;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    match (output.status.success(), last(&out).trim().parse::<f64>()) {
        (true, Ok(figure)) if figure > 0.0 && figure.is_finite() => Ok(figure),
        (true, _) => Err(format!("no figure: {:?}", last(&out))),
        // `timeout` kills itself as well.
        (false, _) if output.status.signal() == Some(libc::SIGKILL) => Err("hangs: killed at its time limit".into()),
        (false, _) => Err(format!("{}: {}", output.status, last(&err))),
    }
}

/// Does the work of one sample in this process and prints the figure.
pub fn worker_main(name: &str, task: &Task) {
    let mut all = crate::rows().map(|(_, row)| row);
    let row = all.find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"));
    let (Work::Calls(function, number) | Work::Starts(function, number) | Work::Pair(function, number)) = row.work
    else {
        panic!("{name} is a script")
    };
    if !matches!(row.work, Work::Starts(..)) {
        let path = task.path("");
        // SAFETY: see mkdir(2).
        if unsafe { libc::mkdir(path.as_ptr(), 0o700) } < 0 && task.meet.is_none() {
            work::fail("mkdir");
        }
    }
    println!("{:e}", function(task, number));
}
