//! What a call of the host costs more under the library: nanoseconds of each call natively and through either front door.

use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use integration::{Rump, built};

/// Calls of one sample, short enough that most samples are not interrupted.
const CALLS: u32 = 400;

/// Samples of one call; the one at a twentieth counts, for other programs only ever make a sample longer.
const SAMPLES: usize = 1501;

fn sample<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut times: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let begin = Instant::now();
            (0..CALLS).for_each(|_| drop(black_box(call())));
            begin.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name} {:.1}", times[SAMPLES / 20]);
}

/// libc's own function, past the first front door.
fn inner(name: &CStr) -> *mut c_void {
    // SAFETY: C strings; the library is loaded already.
    let found = unsafe { libc::dlsym(libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW), name.as_ptr()) };
    assert!(!found.is_null(), "{name:?}");
    found
}

/// Measures in this process and prints a line a call; with `rump`, while it has a rump descriptor.
pub fn worker(rump: bool) {
    type Lseek = unsafe extern "C" fn(i32, i64, i32) -> i64;
    type Access = unsafe extern "C" fn(*const libc::c_char, i32) -> i32;
    type Poll = unsafe extern "C" fn(*mut libc::pollfd, libc::nfds_t, i32) -> i32;
    let path = c"/etc/nothing-here".as_ptr();
    // SAFETY: the functions have these prototypes, and are called as their manual pages ask.
    unsafe {
        let lseek: Lseek = std::mem::transmute(inner(c"lseek"));
        let access: Access = std::mem::transmute(inner(c"access"));
        let poll: Poll = std::mem::transmute(inner(c"poll"));
        let fd = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
        assert!(fd >= 0 && (!rump || libc::open(c"/rump/tmp".as_ptr(), libc::O_RDONLY) >= 0));
        let mut fds = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
        sample("close of no descriptor", || libc::close(-1));
        sample("lseek", || libc::lseek(fd, 0, 1));
        sample("lseek inside libc", || lseek(fd, 0, 1));
        sample("access", || libc::access(path, 0));
        sample("access inside libc", || access(path, 0));
        sample("poll", || libc::poll(fds.as_mut_ptr(), 1, 0));
        sample("poll inside libc", || poll(fds.as_mut_ptr(), 1, 0));
        sample("syscall(access)", || libc::syscall(libc::SYS_access, path, 0));
    }
}

/// Runs the worker and returns its lines: name and nanoseconds.
fn measure(rump: Option<(&Rump, &str)>) -> Vec<(String, f64)> {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.arg("passing");
    if let Some((rump, spec)) = rump {
        command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", rump.url()).env("RUMPHIJACK", spec);
        command.arg("rump");
    }
    let done = command.output().expect("the worker");
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line =
        |line: &str| line.rsplit_once(' ').map(|(name, time)| (name.to_owned(), time.parse().expect("a number")));
    text.lines().filter_map(line).collect()
}

/// Prints what each call costs natively, and what it costs more through the first door alone and through both.
pub fn table(rump: &Rump) {
    let spec = "path=/rump,socket=all:nolocal";
    let native = measure(None);
    let first = measure(Some((rump, &format!("{spec},deep=off"))));
    let both = measure(Some((rump, spec)));
    println!("\n{:<30} {:>10} {:>10} {:>10}", "host call passing by", "native ns", "door 1", "both");
    for (((name, native), (_, first)), (_, both)) in native.iter().zip(&first).zip(&both) {
        println!("{name:<30} {native:>10.1} {:>+10.1} {:>+10.1}", first - native, both - native);
    }
}

/// Prints how long `true` takes from its start to its end, natively and under the library.
pub fn start_up(rump: &Rump) {
    let spawn = |preload: bool| {
        let mut times: Vec<f64> = (0..300)
            .map(|_| {
                let mut command = Command::new("/bin/true");
                if preload {
                    command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", rump.url());
                }
                let begin = Instant::now();
                assert!(command.status().expect("true").success());
                begin.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    // The first start may have to search libc.
    spawn(true);
    let (native, ours) = (spawn(false), spawn(true));
    println!("{:<30} {native:>10.2} {ours:>10.2} {:>+8.2}", "300 starts of true, median", ours - native);
}
