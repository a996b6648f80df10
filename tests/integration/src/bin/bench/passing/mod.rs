//! What a call of the host costs more under the library: nanoseconds of each row, natively and through either front door.
//!
//! The programs that make the calls, with the library and without, take turns, and a block's value is its quickest sample: other
//! programs and the processor's clock then disturb all alike. There are several programs of each kind, one after the other, for where
//! the loader happens to place things makes a difference. Within a block, samples of the call alternate with those of the bare system
//! call, for the kernel is quicker in one process than in another by more than is to be measured: what counts is how much more the call
//! costs than the bare one.

mod calls;

use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use calls::{Host, Row};
use integration::{Rump, built};
use serde_json::{Value, json};

use crate::median;
use crate::run::Effort;

/// Calls of one sample, short enough that most samples are not interrupted.
const CALLS: u32 = 64;
/// Samples of a block.
const SAMPLES: usize = 24;
/// Blocks of each kind, of which the median counts.
const BLOCKS: usize = 7;
/// What a call may cost more, in nanoseconds: through front door 1 alone, through both, and inside libc.
const BOUNDS: [f64; 3] = [5.0, 15.0, 15.0];

type Six = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
type Seven = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize) -> usize;

/// Finds a function: the one that programs call, or libc's own, past the first front door.
fn function(name: &CStr, inner: bool) -> Option<*mut c_void> {
    // SAFETY: C strings; libc is loaded already.
    let found = unsafe {
        let library = if inner { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW) } else { libc::RTLD_DEFAULT };
        libc::dlsym(library, name.as_ptr())
    };
    (!found.is_null()).then_some(found)
}

/// Maps a function that makes the system call of its first argument. It belongs to no object, so that nobody changes it.
fn bare() -> Seven {
    // mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; mov r10, r8; mov r8, r9; mov r9, [rsp + 8]; syscall; ret
    const CODE: [u8; 26] = [
        0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8,
        0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05, 0xc3,
    ];
    let (rw, rx) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
    // SAFETY: a fresh mapping of our own, which gets the code of a function with this prototype.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, rw, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert!(page != libc::MAP_FAILED);
        page.cast::<u8>().copy_from_nonoverlapping(CODE.as_ptr(), CODE.len());
        assert_eq!(libc::mprotect(page, 4096, rx), 0);
        std::mem::transmute::<*mut c_void, Seven>(page)
    }
}

/// The quickest samples of a block: of `call`, and of `bare` in turn with it.
fn block(mut call: impl FnMut(), mut bare: impl FnMut()) -> [f64; 2] {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..SAMPLES {
        for (least, which) in least.iter_mut().zip([&mut call as &mut dyn FnMut(), &mut bare]) {
            let begin = Instant::now();
            (0..CALLS).for_each(|_| which());
            *least = least.min(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    least
}

/// Measures a block of a row: the call, and the bare system call.
fn one(row: &Row, inner: bool, bare: Seven) -> [f64; 2] {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (row.args, row.raw);
    let number = row.number as usize;
    // SAFETY: the functions take their words in the six registers; those that a function does not have it does not look at. The
    // arguments are such that the host writes to `room` only.
    unsafe {
        let bare = || _ = black_box(bare(number, g, h, i, j, k, l));
        match function(row.function, inner) {
            Some(found) if !row.function.is_empty() => {
                let found: Six = std::mem::transmute(found);
                block(|| _ = black_box(found(a, b, c, d, e, f)), bare)
            }
            _ => {
                let found: Seven = std::mem::transmute(function(c"syscall", inner).expect("syscall"));
                block(|| _ = black_box(found(number, a, b, c, d, e, f)), bare)
            }
        }
    }
}

/// Measures blocks in this process, as the lines at standard input ask; with `rump`, while it has a rump descriptor.
pub fn worker(rump: bool) {
    // SAFETY: the functions are called as their manual pages ask.
    let host = unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut one);
        libc::sched_setaffinity(0, size_of_val(&one), &one);
        let fd = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
        assert!(fd >= 0 && (!rump || libc::open(c"/rump/tmp".as_ptr(), libc::O_RDONLY) >= 0));
        let room = Box::leak(Box::new([0_u64; 1024]));
        room[0] = u64::from(fd as u32) | (libc::POLLIN as u64) << 32;
        let (file, set) = (libc::memfd_create(c"bench".as_ptr(), 0), libc::epoll_create1(0));
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
        Host { fd, file, set, socket, path: c"/etc/nothing-here", room }
    };
    let (rows, bare) = (calls::rows(&host), bare());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (row, inner) = line.split_once(' ').expect("a row and a way");
        let row: usize = row.parse().expect("a number");
        let Some(row) = rows.get(row) else { break };
        let [call, bare] = one(row, inner == "inner", bare);
        println!("{call:.2} {:.2}", call - bare);
    }
}

/// A program that makes the calls.
struct Worker {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Worker {
    fn start(rump: Option<(&Rump, &str)>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.arg("--passing-worker").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((rump, spec)) = rump {
            command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", rump.url()).env("RUMPHIJACK", spec);
            command.arg("rump");
        }
        let mut child = command.spawn().expect("the worker");
        let (ask, answer) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { child, ask, answer: BufReader::new(answer) }
    }

    /// Nanoseconds of a call, and how many more those are than of the bare system call in the same program.
    fn block(&mut self, row: usize, way: &str) -> [f64; 2] {
        writeln!(self.ask, "{row} {way}").expect("the worker listens");
        let mut line = String::new();
        self.answer.read_line(&mut line).expect("an answer");
        let mut words = line.split_whitespace().map(|word| word.parse().expect("a number"));
        [(); 2].map(|()| words.next().unwrap_or_else(|| panic!("row {row}: {line:?}")))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.ask.write_all(b"999999 end\n");
        let _ = self.answer.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}

/// What a row costs natively, and what more through the first door alone, through both, and inside libc.
fn costs(workers: &mut [Worker; 3], row: usize, rounds: usize) -> [f64; 4] {
    let mut blocks: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let [native, first, both] = workers;
        let one =
            [native.block(row, "outer"), first.block(row, "outer"), both.block(row, "outer"), both.block(row, "inner")];
        blocks[0].push(one[0][0]);
        (1..4).for_each(|at| blocks[at].push(one[at][1] - one[0][1]));
    }
    blocks.map(|figures| median(&figures))
}

/// What was found of a call.
pub struct Found {
    name: String,
    /// Nanoseconds of the call natively.
    native: f64,
    /// Nanoseconds more through front door 1 alone, through both, and inside libc.
    more: [f64; 3],
    /// Why it may cost more than [`BOUNDS`].
    dearer: Option<&'static str>,
}

impl Found {
    /// Whether it costs more than it may.
    fn dear(&self) -> bool {
        self.dearer.is_none() && self.more.iter().zip(BOUNDS).any(|(more, bound)| *more > bound)
    }
}

/// Measures all rows.
pub fn measure(rump: &Rump, effort: &Effort) -> Vec<Found> {
    let spec = "path=/rump,socket=all:nolocal";
    let nowhere = Host { fd: 0, file: 0, socket: 0, set: 0, path: c"", room: Box::leak(Box::new([0; 1024])) };
    let rows = calls::rows(&nowhere);
    let mut found: Vec<Vec<[f64; 4]>> = vec![Vec::new(); rows.len()];
    let blocks = if effort.quick { 1 } else { BLOCKS };
    for _ in 0..effort.rounds {
        let off = format!("{spec},deep=off");
        let mut workers = [None, Some((rump, off.as_str())), Some((rump, spec))].map(Worker::start);
        found.iter_mut().enumerate().for_each(|(row, found)| found.push(costs(&mut workers, row, blocks)));
    }
    let digest = |(row, found): (&Row, &Vec<[f64; 4]>)| {
        let [native, more @ ..] = [0, 1, 2, 3].map(|at| median(&found.iter().map(|one| one[at]).collect::<Vec<_>>()));
        Found { name: name(row), native, more, dearer: row.dearer }
    };
    rows.iter().zip(&found).map(digest).collect()
}

/// Prints the table, and how many cost more than they may.
pub fn print(found: &[Found]) {
    println!("\n{:<34} {:>10} {:>8} {:>8} {:>8}", "host calls passing by", "native ns", "door 1", "both", "in libc");
    for one in found {
        let [first, both, inner] = one.more;
        let note = one.dearer.unwrap_or(if one.dear() { "more than it may" } else { "" });
        println!("{:<34} {:>10.1} {first:>+8.1} {both:>+8.1} {inner:>+8.1}  {note}", one.name, one.native);
    }
    let middle = |at: usize| median(&found.iter().map(|one| one.more[at]).collect::<Vec<_>>());
    println!("{:<34} {:>10} {:>+8.1} {:>+8.1} {:>+8.1}", "median of all", "", middle(0), middle(1), middle(2));
    let dear = found.iter().filter(|one| one.dear()).count();
    println!("{dear} of {} cost more than {BOUNDS:?} ns", found.len());
}

/// The same for machines.
pub fn json(found: &[Found]) -> Value {
    let one = |one: &Found| {
        json!({ "call": one.name, "native ns": one.native, "door 1": one.more[0], "both doors": one.more[1],
            "in libc": one.more[2], "dearer because": one.dearer, "holds": !one.dear() })
    };
    found.iter().map(one).collect()
}

fn name(row: &Row) -> String {
    if !row.function.is_empty() {
        return row.function.to_string_lossy().into_owned();
    }
    format!("syscall({})", row.number)
}
