//! Measures against the host, side by side in one run: medians, spreads, and ratios.
//!
//! A row is one kind of work: a function of `work/` that makes plain calls of libc, or a script of `programs/`. Each of its ways (the
//! host, the original protocol, the extended one, a kernel in the program) does the same work, in turns. `docs/BENCHMARKS.md` says how
//! to read the table.

mod passing;
mod programs;
mod report;
mod row;
mod run;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use integration::{Rump, Transport};

use row::{Row, Way};
use run::Effort;
use work::Task;

/// Measures programs on a rump kernel and on the host, side by side.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Rows or families to measure, by a part of their names; all if none is named
    rows: Vec<String>,
    /// Lists the rows
    #[arg(long)]
    list: bool,
    /// Only shows that every row works: least sizes, one sample
    #[arg(long)]
    quick: bool,
    /// Samples of each way
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a sample
    #[arg(long, default_value_t = 0.06)]
    seconds: f64,
    /// Where the report goes as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// (inside) Does the work of one sample of this row
    #[arg(long, hide = true)]
    worker: Option<String>,
    #[arg(long, hide = true, default_value = "")]
    folder: String,
    #[arg(long, hide = true, default_value = "host")]
    way: String,
    /// (inside) Waits for the other process of a pair at this address
    #[arg(long, hide = true)]
    waits: Option<std::net::SocketAddrV4>,
    /// (inside) Calls the other process of a pair at this address
    #[arg(long, hide = true)]
    calls: Option<std::net::SocketAddrV4>,
}

/// The name under which calls of the host are selected, which are no [`Row`]s.
const PASSING: &str = "host calls passing by";

/// The figure in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All rows, with their families.
fn rows() -> impl Iterator<Item = (&'static str, &'static Row)> {
    let families = work::FAMILIES.iter().chain(programs::FAMILIES);
    families.flat_map(|(family, rows)| rows.iter().map(move |row| (*family, row)))
}

impl Arguments {
    /// Whether something of these names is to be measured.
    fn wants(&self, family: &str, name: &str) -> bool {
        let has = |part: &String| [family, name].iter().any(|text| text.to_lowercase().contains(&part.to_lowercase()));
        self.rows.is_empty() || self.rows.iter().any(has)
    }

    fn task(&self) -> Task {
        let way = Way::ALL.into_iter().find(|way| way.name() == self.way).expect("a way");
        let meet = self.waits.map(|at| (at, true)).or(self.calls.map(|at| (at, false)));
        Task {
            way,
            folder: self.folder.clone(),
            time: Duration::from_secs_f64(self.seconds),
            quick: self.quick,
            meet: meet.map(|(at, waits)| (at.ip().octets(), at.port(), waits)),
        }
    }
}

/// As many descriptors as may be, for this process and all that it starts: kernels and programs with 10,000.
fn many_descriptors() {
    // SAFETY: see getrlimit(2).
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("--passing-worker") {
        return passing::worker(words.next().is_some());
    }
    let arguments = Arguments::parse();
    many_descriptors();
    if let Some(name) = &arguments.worker {
        return run::worker_main(name, &arguments.task());
    }
    let wanted: Vec<_> = rows().filter(|(family, row)| arguments.wants(family, row.name)).collect();
    let passing = arguments.wants(PASSING, "");
    if arguments.list {
        wanted.iter().for_each(|(family, row)| println!("{family:<22}{}", row.name));
        return if passing {
            println!("{PASSING}")
        };
    }
    if wanted.is_empty() && !passing {
        eprintln!("bench: no row has such a name (--list shows all)");
        std::process::exit(2);
    }
    let time = Duration::from_secs_f64(if arguments.quick { 0.002 } else { arguments.seconds });
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    measure(&arguments, &wanted, passing, &Effort { rounds, time, quick: arguments.quick });
}

/// Measures, prints the table as it grows, and writes the JSON.
fn measure(arguments: &Arguments, wanted: &[(&'static str, &'static Row)], passing: bool, effort: &Effort) {
    let machine = report::machine();
    println!("{machine}\n{}", report::head());
    let (mut outcomes, mut last) = (Vec::new(), "");
    for &(family, row) in wanted {
        if family != last {
            println!("{family}");
            last = family;
        }
        let outcome = run::measure(row, effort);
        println!("{}", report::line(&outcome));
        outcomes.push((family, outcome));
    }
    let found = passing.then(|| passing::measure(&Rump::start(Transport::Unix), effort));
    let json = report::json(&machine, effort, &outcomes, passing::json(found.as_deref().unwrap_or_default()));
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if !outcomes.is_empty() {
        print!("{}", report::summary(&outcomes));
    }
    if let Some(found) = found {
        passing::print(&found);
    }
    let text = serde_json::to_string_pretty(&json).expect("numbers and texts");
    match std::fs::write(&arguments.json, text + "\n") {
        Ok(()) => println!("\nall figures: {}", arguments.json.display()),
        Err(error) => eprintln!("bench: {}: {error}", arguments.json.display()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_row_is_there_twice() {
        let mut names: Vec<_> = super::rows().map(|(_, row)| row.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
