//! What a row of the benchmark is, and what it may cost.

use crate::work::Task;

/// Who serves the calls of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The host's kernel, without the library.
    Host,
    /// A `rump_server` over a unix socket, in the original protocol.
    Wire,
    /// The same with our extensions: shared memory instead of the socket.
    Extended,
    /// A kernel in the program.
    Local,
}

impl Way {
    /// All, in the order of the table's columns.
    pub const ALL: [Way; 4] = [Way::Host, Way::Wire, Way::Extended, Way::Local];

    /// Those whose kernel several processes share.
    pub const SHARED: &[Way] = &[Way::Host, Way::Wire, Way::Extended];

    /// Its name in the table and in the JSON.
    pub fn name(self) -> &'static str {
        ["host", "wire", "extended", "local"][self as usize]
    }
}

/// What the figure of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds; less is better.
    Time,
    /// Bytes per second; more is better.
    Bytes,
    /// How often per second; more is better.
    Rate,
    /// A ratio of two times in the same program; less is better.
    Times,
}

impl Unit {
    /// Its name in the JSON.
    pub fn name(self) -> &'static str {
        ["seconds", "bytes per second", "per second", "ratio"][self as usize]
    }

    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Unit::Bytes | Unit::Rate)
    }
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// So many times the host's figure in the same row.
    Host,
    /// So many times the time of a round trip between two processes over the host's unix sockets.
    RoundTrip,
    /// So many seconds above the host's figure.
    Above,
    /// The figure itself.
    Itself,
}

/// What a figure must reach (the floor), and is to reach one day (the aim).
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Which of the row's figures.
    pub way: Way,
    /// What it is held against.
    pub of: Of,
    /// The worst that will do.
    pub floor: f64,
    /// What is hoped for.
    pub aim: f64,
}

/// What makes a figure.
#[derive(Clone, Copy)]
pub enum Work {
    /// A function of this program, run in a process of its own under the library; the number is what the function takes it for.
    Calls(fn(&Task, usize) -> f64, usize),
    /// The same in a process without the library, which starts programs with it.
    Starts(fn(&Task, usize) -> f64, usize),
    /// The same with a second process, on a second kernel: the function runs in both.
    Pair(fn(&Task, usize) -> f64, usize),
    /// A script of `programs/` with an argument, and the commands that it needs.
    Script(&'static str, &'static str, &'static str),
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// What is measured.
    pub name: &'static str,
    /// In what.
    pub unit: Unit,
    /// How.
    pub work: Work,
    /// By which ways.
    pub ways: &'static [Way],
    /// What it must reach.
    pub bounds: &'static [Bound],
    /// Whether a sample takes this time whatever is asked for, because what is measured needs it.
    pub seconds: Option<f64>,
    /// Commands of `rumpctl` that make the kernel ready.
    pub setup: &'static [&'static str],
}

/// The row of a function.
pub const fn row(name: &'static str, unit: Unit, work: fn(&Task, usize) -> f64, number: usize) -> Row {
    Row { name, unit, work: Work::Calls(work, number), ways: &Way::ALL, bounds: &[], seconds: None, setup: &[] }
}

/// The row of a script.
pub const fn script(name: &'static str, unit: Unit, text: &'static str, with: &'static str, uses: &'static str) -> Row {
    Row { work: Work::Script(text, with, uses), ways: Way::SHARED, ..row(name, unit, |_, _| 0.0, 0) }
}

impl Row {
    /// The same, to be held against bounds.
    pub const fn bound(self, bounds: &'static [Bound]) -> Row {
        Row { bounds, ..self }
    }

    /// The same by these ways only.
    pub const fn by(self, ways: &'static [Way]) -> Row {
        Row { ways, ..self }
    }

    /// The same on a kernel that these commands have made ready, with samples of so many seconds.
    pub const fn on(self, setup: &'static [&'static str], seconds: f64) -> Row {
        Row { setup, seconds: Some(seconds), ..self }
    }

    /// The same in a process without the library.
    pub const fn outside(self) -> Row {
        let Work::Calls(work, number) = self.work else { panic!("a function") };
        Row { work: Work::Starts(work, number), ..self }
    }

    /// The same in two processes on two kernels.
    pub const fn paired(self) -> Row {
        let Work::Calls(work, number) = self.work else { panic!("a function") };
        Row { work: Work::Pair(work, number), ways: Way::SHARED, ..self }
    }
}
