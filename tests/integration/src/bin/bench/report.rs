//! The table on the terminal, what the bounds say, and the JSON.

use serde_json::{Value, json};

use crate::median;
use crate::row::{Bound, Of, Row, Unit, Way};
use crate::run::{Effort, Outcome, Series};

/// Cells of a bar. It shows how much slower than the host: 1/32 at its left end, 1 in the middle, 32 at its right end.
const CELLS: usize = 20;
const RANGE: f64 = 32.0;

/// What a bound says of a row.
pub struct Verdict {
    /// The bound.
    pub bound: Bound,
    /// What was found, in the bound's terms.
    pub found: f64,
    /// Whether the floor holds.
    pub holds: bool,
    /// Whether the aim is reached.
    pub reached: bool,
}

/// The first and the third quartile of some figures.
fn quartiles(figures: &[f64]) -> [f64; 2] {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    [sorted.len() / 4, sorted.len() * 3 / 4].map(|at| sorted.get(at).copied().unwrap_or(f64::NAN))
}

/// The median of a way, if there is one.
fn of(outcome: &Outcome, way: Way) -> Option<f64> {
    outcome.ways[way as usize].as_ref()?.as_ref().ok().map(|figures| median(figures))
}

/// Holds a row against its bounds.
pub fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    let judge = |bound: &Bound| {
        let ours = of(outcome, bound.way)?;
        let found = match bound.of {
            Of::Host => ours / of(outcome, Way::Host)?,
            Of::RoundTrip => ours / median(outcome.reference.as_ref()?.as_ref().ok()?),
            Of::Above => ours - of(outcome, Way::Host)?,
            Of::Itself => ours,
        };
        let within = |limit: f64| if outcome.row.unit.more_is_better() { found >= limit } else { found <= limit };
        Some(Verdict { bound: *bound, found, holds: within(bound.floor), reached: within(bound.aim) })
    };
    outcome.row.bounds.iter().filter_map(judge).collect()
}

/// A figure with three digits and its unit.
fn shown(figure: f64, unit: Unit) -> String {
    let (scale, word): (f64, &str) = match unit {
        Unit::Time if figure < 1e-6 => (1e9, "ns"),
        Unit::Time if figure < 1e-3 => (1e6, "µs"),
        Unit::Time if figure < 1.0 => (1e3, "ms"),
        Unit::Time => (1.0, "s"),
        Unit::Bytes if figure < 1e6 => (1e-3, "kB/s"),
        Unit::Bytes if figure < 1e9 => (1e-6, "MB/s"),
        Unit::Bytes => (1e-9, "GB/s"),
        Unit::Rate if figure < 1e3 => (1.0, "/s"),
        Unit::Rate => (1e-3, "k/s"),
        Unit::Times => (1.0, "×"),
    };
    let value = figure * scale;
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {word}")
}

/// A column: median and half of the distance between the quartiles.
fn column(series: Option<&Series>, unit: Unit) -> String {
    match series {
        None => String::new(),
        Some(Err(_)) => "failed".into(),
        Some(Ok(figures)) => {
            let (middle, [low, high]) = (median(figures), quartiles(figures));
            format!("{} ±{:.0}%", shown(middle, unit), (high - low) / middle * 50.0)
        }
    }
}

/// How much slower than the host, where less is better for every unit.
fn slower(ratio: f64, unit: Unit) -> f64 {
    if unit.more_is_better() { 1.0 / ratio } else { ratio }
}

/// Draws how much slower than the host a row is, with the floor where it is a ratio to the host.
fn bar(slower: f64, floor: Option<f64>) -> String {
    let place = |value: f64| ((value.ln() / RANGE.ln() + 1.0) / 2.0 * CELLS as f64).round().clamp(0.0, CELLS as f64);
    let filled = place(slower) as usize;
    let mark = floor.map(|floor| place(floor) as usize);
    let cell = |at: usize| match (mark == Some(at), at < filled) {
        (true, _) => '┃',
        (false, true) => '█',
        (false, false) if at == CELLS / 2 => '┊',
        (false, false) => ' ',
    };
    (0..=CELLS).map(cell).collect()
}

/// The head of the table.
pub fn head() -> String {
    let [host, wire, extended, local] = Way::ALL.map(Way::name);
    let bar = format!("{:<9}1{:>10}", "1/32", "32");
    format!(
        "{:<44}{host:>18}{wire:>18}{extended:>18}{local:>18} {:>9}  {bar}  {}",
        "", "ext:host", "floor (of the extended way) and whether it holds"
    )
}

/// The line of a row.
pub fn line(outcome: &Outcome) -> String {
    let row = outcome.row;
    let columns: String =
        outcome.ways.iter().map(|series| format!("{:>18}", column(series.as_ref(), row.unit))).collect();
    let ratio = of(outcome, Way::Extended).zip(of(outcome, Way::Host)).map(|(ours, host)| ours / host);
    let verdicts = verdicts(outcome);
    let verdict = verdicts.iter().find(|verdict| verdict.bound.way == Way::Extended);
    let floor = verdict.filter(|verdict| verdict.bound.of == Of::Host);
    let floor = floor.map(|verdict| slower(verdict.bound.floor, row.unit));
    let drawn = ratio.map_or(String::new(), |ratio| bar(slower(ratio, row.unit), floor));
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2} ×"));
    let said = verdict.map_or(String::new(), |verdict| said(row, verdict));
    format!("{:<44}{columns} {ratio:>9}  {drawn:<22} {said}", row.name).trim_end().to_owned()
}

/// A bound and what was found, in words.
fn said(row: &Row, verdict: &Verdict) -> String {
    let relation = if row.unit.more_is_better() { "≥" } else { "≤" };
    let number = |value: f64| match verdict.bound.of {
        Of::Host => format!("{value:.2} × host"),
        Of::RoundTrip => format!("{value:.2} × round trip"),
        Of::Above => format!("host + {:.2} ms", value * 1e3),
        Of::Itself => shown(value, row.unit),
    };
    let judged = match (verdict.holds, verdict.reached) {
        (_, true) => "aim reached",
        (true, _) => "holds",
        _ => "NOT HELD",
    };
    format!("{relation} {}: {} {judged}", number(verdict.bound.floor), number(verdict.found))
}

/// All bounds of some rows, and what could not be measured.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\nbounds\n");
    for outcome in outcomes {
        for verdict in verdicts(outcome) {
            let row = outcome.row;
            text += &format!("  {:<42}{:<10}{}\n", row.name, verdict.bound.way.name(), said(row, &verdict));
        }
    }
    let failed = outcomes.iter().flat_map(|outcome| {
        let ways = Way::ALL.into_iter().zip(&outcome.ways);
        ways.filter_map(|(way, series)| Some((outcome.row.name, way, series.as_ref()?.as_ref().err()?)))
    });
    let mut failed = failed.peekable();
    if failed.peek().is_some() {
        text += "not measured\n";
    }
    failed.for_each(|(name, way, why)| text += &format!("  {name:<42}{:<10}{why}\n", way.name()));
    text
}

fn series(series: &Series) -> Value {
    match series {
        Err(why) => json!({ "failed": why }),
        Ok(figures) => {
            let [low, high] = quartiles(figures);
            json!({ "median": median(figures), "quartiles": [low, high], "samples": figures })
        }
    }
}

fn outcome_json(family: &str, outcome: &Outcome) -> Value {
    let ways: serde_json::Map<String, Value> = Way::ALL
        .into_iter()
        .zip(&outcome.ways)
        .filter_map(|(way, found)| Some((way.name().to_owned(), series(found.as_ref()?))))
        .collect();
    let host = of(outcome, Way::Host);
    let ratios: serde_json::Map<String, Value> = Way::ALL[1..]
        .iter()
        .filter_map(|way| Some((way.name().to_owned(), json!(of(outcome, *way)? / host?))))
        .collect();
    let bounds: Vec<Value> = verdicts(outcome)
        .iter()
        .map(|Verdict { bound, found, holds, reached }| {
            let of = ["host", "unix-socket round trip", "seconds above host", "itself"][bound.of as usize];
            json!({ "way": bound.way.name(), "of": of, "floor": bound.floor, "aim": bound.aim, "found": found,
                "holds": holds, "aim reached": reached })
        })
        .collect();
    let reference = outcome.reference.as_ref().map(series);
    json!({ "family": family, "name": outcome.row.name, "unit": outcome.row.unit.name(), "ways": ways,
        "ratios to host": ratios, "round trip": reference, "bounds": bounds })
}

/// What runs here, in a line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|words| words.1);
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let load = read("/proc/loadavg");
    format!(
        "{cores} × {}, Linux {}, load {}",
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("?")
    )
}

/// The whole report.
pub fn json(machine: &str, effort: &Effort, outcomes: &[(&str, Outcome)], passing: Value) -> Value {
    let rows: Vec<Value> = outcomes.iter().map(|(family, outcome)| outcome_json(family, outcome)).collect();
    json!({ "machine": machine, "rounds": effort.rounds, "seconds": effort.time.as_secs_f64(), "quick": effort.quick,
        "rows": rows, "host calls passing by": passing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_three_digits_and_a_unit() {
        assert_eq!(shown(8.5e-7, Unit::Time), "850 ns");
        assert_eq!(shown(1.234e-5, Unit::Time), "12.3 µs");
        assert_eq!(shown(2.5e9, Unit::Bytes), "2.50 GB/s");
    }

    #[test]
    fn a_bar_is_full_at_32_times_slower_and_shows_the_floor() {
        assert_eq!(bar(32.0, None).matches('█').count(), CELLS);
        assert_eq!(bar(1.0, None).matches('█').count(), CELLS / 2);
        assert_eq!(bar(1e-9, Some(1.0)).find('┃'), Some(CELLS / 2));
    }
}
