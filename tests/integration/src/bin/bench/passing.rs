//! What a call of the host costs more under the library: nanoseconds of each row, natively and through either front door.
//!
//! The programs that make the calls, with the library and without, take turns, and a block's value is its quickest sample: other programs and the
//! processor's clock then disturb all alike. Within a block, samples of the call alternate with those of the bare system call, for the
//! kernel is quicker in one process than in another by more than is to be measured: what counts is how much more the call costs than the bare one.

use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use integration::{Rump, built};

use crate::median;
use crate::rows::{self, Host, Row};

/// Calls of one sample, short enough that most samples are not interrupted.
const CALLS: u32 = 64;
/// Samples of a block.
const SAMPLES: usize = 24;
/// Blocks of each kind, of which the median counts.
const ROUNDS: usize = 7;
/// Programs of each kind, one after the other: where the loader happens to place things makes a difference.
const STARTS: usize = 7;
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
fn measure(row: &Row, inner: bool, bare: Seven) -> [f64; 2] {
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
    let (rows, bare) = (rows::rows(&host), bare());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (row, inner) = line.split_once(' ').expect("a row and a way");
        let row: usize = row.parse().expect("a number");
        let Some(row) = rows.get(row) else { break };
        let [call, bare] = measure(row, inner == "inner", bare);
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
        command.arg("passing").stdin(Stdio::piped()).stdout(Stdio::piped());
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
fn costs(workers: &mut [Worker; 3], row: usize) -> [f64; 4] {
    let mut blocks: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let [native, first, both] = workers;
        let one =
            [native.block(row, "outer"), first.block(row, "outer"), both.block(row, "outer"), both.block(row, "inner")];
        blocks[0].push(one[0][0]);
        (1..4).for_each(|at| blocks[at].push(one[at][1] - one[0][1]));
    }
    blocks.map(median)
}

/// Prints the table of all rows, or of those whose name `only` is part of, and how many cost more than they may.
pub fn table(rump: &Rump, only: &str) {
    let spec = "path=/rump,socket=all:nolocal";
    let nowhere = Host { fd: 0, file: 0, socket: 0, set: 0, path: c"", room: Box::leak(Box::new([0; 1024])) };
    let rows = rows::rows(&nowhere);
    let named = |row: &Row| name(row).contains(only);
    let wanted: Vec<usize> = (0..rows.len()).filter(|row| named(&rows[*row])).collect();
    let mut found: Vec<Vec<[f64; 4]>> = vec![Vec::new(); rows.len()];
    for _ in 0..STARTS {
        let off = format!("{spec},deep=off");
        let mut workers = [None, Some((rump, off.as_str())), Some((rump, spec))].map(Worker::start);
        wanted.iter().for_each(|row| found[*row].push(costs(&mut workers, *row)));
    }
    println!("\n{:<34} {:>10} {:>8} {:>8} {:>8}", "host call passing by", "native ns", "door 1", "both", "in libc");
    let mut over = 0;
    for row in wanted {
        let [native, first, both, inner] =
            [0, 1, 2, 3].map(|at| median(found[row].iter().map(|one| one[at]).collect()));
        let dear = [first, both, inner].iter().zip(BOUNDS).any(|(more, bound)| *more > bound);
        over += usize::from(dear && rows[row].dearer.is_none());
        let note = rows[row].dearer.unwrap_or(if dear { "more than it may" } else { "" });
        println!("{:<34} {native:>10.1} {first:>+8.1} {both:>+8.1} {inner:>+8.1}  {note}", name(&rows[row]));
    }
    println!("{over} rows cost more than {BOUNDS:?} ns");
}

fn name(row: &Row) -> String {
    if !row.function.is_empty() {
        return row.function.to_string_lossy().into_owned();
    }
    format!("syscall({})", row.number)
}

/// Prints how long `true` takes from its start to its end, natively and under the library.
pub fn start_up(rump: &Rump) {
    let spawn = |preload: bool| {
        let mut command = Command::new("/bin/true");
        if preload {
            command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", rump.url());
        }
        let begin = Instant::now();
        assert!(command.status().expect("true").success());
        begin.elapsed().as_secs_f64() * 1000.0
    };
    // The first start may have to search libc.
    spawn(true);
    let (native, ours): (Vec<f64>, Vec<f64>) = (0..300).map(|_| (spawn(false), spawn(true))).unzip();
    let (native, ours) = (median(native), median(ours));
    println!("{:<30} {native:>10.2} {ours:>10.2} {:>+8.2}", "300 starts of true, median", ours - native);
}
