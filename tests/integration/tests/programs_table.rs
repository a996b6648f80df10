//! Debian's own programs doing real work: each row of the table natively and hijacked. Prints what was done at the end.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use integration::Transport;
use integration::programs::page::kernels;
use integration::programs::place::Place;
use integration::programs::run::{Run, hijacked, may_isolate, missing, natively, traces};
use integration::programs::{Program, all};
use libtest_mimic::{Arguments, Failed, Trial};

/// A line of the report.
struct Done {
    row: &'static Program,
    native: Option<Duration>,
    hijacked: Vec<Duration>,
    result: String,
}

static REPORT: Mutex<Vec<Done>> = Mutex::new(Vec::new());

fn main() {
    let arguments = Arguments::from_args();
    let trials = all().map(|row| Trial::test(format!("{}::{}", row.family, row.name), move || try_row(row))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    report();
    conclusion.exit();
}

fn try_row(row: &'static Program) -> Result<(), Failed> {
    let mut done = Done { row, native: None, hijacked: Vec::new(), result: "as on the host".to_owned() };
    let outcome = match missing(row) {
        Some(command) => {
            done.result = format!("skipped: {command} is not installed");
            Ok(())
        }
        None => both(row, &mut done),
    };
    if outcome.is_err() {
        done.result = "FAILED".to_owned();
    } else if done.result.starts_with("skipped") {
        eprintln!("{}::{} {}", row.family, row.name, done.result);
    }
    REPORT.lock().unwrap().push(done);
    outcome
}

fn both(row: &Program, done: &mut Done) -> Result<(), Failed> {
    for &place in row.at {
        let native = if row.network && !may_isolate() {
            // Its own assertions still hold for the hijacked run.
            done.result = "skipped on the host: no network namespaces".to_owned();
            None
        } else {
            Some(natively(row, place))
        };
        done.native = done.native.max(native.as_ref().map(|run| run.took));
        for &transport in row.on {
            let ours = hijacked(row, transport, place);
            done.hijacked.push(ours.took);
            let host_says = |host: &Run| host.end.is_err() || host.out != ours.out;
            if ours.end.is_err() || native.as_ref().is_some_and(host_says) {
                return Err(message(row, transport, place, native.as_ref(), &ours).into());
            }
        }
    }
    Ok(())
}

fn message(row: &Program, transport: Transport, place: Place, native: Option<&Run>, ours: &Run) -> String {
    let side = |name: &str, run: &Run| {
        let end = run.end.as_ref().err().map_or("success", String::as_str);
        format!("--- {name}: {end}, {:?}\n{}--- {name}, standard error\n{}", run.took, run.out, run.err)
    };
    let host = native.map_or_else(String::new, |run| side("host", run) + &difference(&run.out, &ours.out));
    format!(
        "{}\n{host}{}{}",
        row.does,
        side(&format!("{transport:?}, {}", place.name()), ours),
        traces(row, transport, place)
    )
}

fn difference(host: &str, ours: &str) -> String {
    let at = host.lines().zip(ours.lines()).position(|(host, ours)| host != ours);
    let at = at.unwrap_or_else(|| host.lines().count().min(ours.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
    if host == ours { String::new() } else { format!("--- line {}: `{}` is `{}`\n", at + 1, line(host), line(ours)) }
}

/// The version of the first package of the row.
fn version(row: &Program) -> String {
    let package = row.packages()[0];
    let query = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    query.map_or_else(|_| "-".to_owned(), |done| String::from_utf8_lossy(&done.stdout).into_owned())
}

fn report() {
    let mut report = REPORT.lock().unwrap();
    if report.is_empty() {
        return;
    }
    report.sort_by_key(|done| (done.row.family, done.row.name));
    let seconds = |took: &Duration| format!("{:.2}", took.as_secs_f64());
    println!(
        "{:17} {:22} {:>6} {:>16} {:18} {:24} work",
        "program", "version", "host s", "hijacked s", "kernels", "result"
    );
    for Done { row, native, hijacked, result } in &*report {
        let native = native.as_ref().map_or("-".to_owned(), seconds);
        let hijacked = hijacked.iter().map(seconds).collect::<Vec<_>>().join(" ");
        let (name, version, kernels, does) = (row.name, version(row), kernels(row), row.does);
        println!("{name:17} {version:22} {native:>6} {hijacked:>16} {kernels:18} {result:24} {does}");
    }
}
