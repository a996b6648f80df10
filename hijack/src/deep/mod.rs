//! Front door 2: the system calls that libc makes from inside itself.
//!
//! stdio, `opendir`, `realpath`, `getaddrinfo`, `popen` and many others reach the kernel without passing a symbol that could be
//! hooked. At start-up the `syscall` instructions of the C library and the loader are found ([`scan`]), and the instruction
//! before each wanted one is turned into a jump ([`patch`]) to a [`trampoline`], which asks the table of calls through the
//! [`stub`], or, for a descriptor that is surely the host's, goes on as libc would have.
//!
//! ```text
//! libc:  mov eax, 1  →  jmp trampoline ──► mov eax, 1; is this descriptor the host's? ──yes──► syscall ─┐
//!        syscall                              └─ no, or a path ──► stub ──► decide() ──Host─────┘       │
//!        cmp rax, -4096  ◄──────────────────────────────────────────────Done(result)────────────────────┘
//! ```

mod cache;
mod code;
mod frames;
mod object;
mod own;
mod patch;
mod scan;
mod stub;
mod trampoline;
mod unwind;
mod watch;

use cache::{Cache, Miss};
use client::signals::Blocked;
use core::ffi::CStr;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use frames::Frames;

pub use crate::first::Wanted;
pub use crate::pages::Forgets;
pub use crate::quick::Paths;
use object::Object;
use patch::Others;
use rustix::mm::ProtFlags;
use rustix_futex_sync::Mutex;
use scan::Sites;
use std::ffi::CString;
use stub::Registers;
use trampoline::Targets;

/// Largest text that is searched.
const LARGEST: usize = 128 << 20;

/// What the table of calls says about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call is to be made natively.
    Host,
    /// The call was made; this is what the kernel would have returned.
    Done(isize),
}

/// What stands behind the door. The functions allocate, lock and call nothing of libc on the way to [`Outcome::Host`], leave
/// errno alone, and may be entered again from a signal handler.
pub struct Door {
    /// Asked once per call number, at start-up.
    pub wanted: fn(usize) -> Wanted,
    /// Whether a call is surely the host's. Calls nothing, and leaves vector registers alone.
    pub passes: extern "C-unwind" fn(usize, &[usize; 6]) -> bool,
    /// What is asked before `passes` about calls on paths, if anything.
    pub quick: Option<fn(Paths) -> usize>,
    pub dispatch: fn(usize, [usize; 6]) -> Outcome,
    /// By the low 16 bits of a descriptor: zero = certainly the host's.
    pub owned: &'static [AtomicU8; 65536],
    /// When a call can make memory unreadable; asked once per call number, at start-up.
    pub forgets: fn(usize) -> Forgets,
    /// Counted up after such a call, by [`STEP`](crate::pages::STEP).
    pub generation: &'static AtomicU64,
    /// Told of each object that is loaded later and holds system calls, with signals blocked.
    pub report: fn(&str, Result<Changed, &'static str>),
}

/// What was done to an object.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// How many of its system calls now pass through the door.
    pub sites: usize,
    /// How many wanted ones do not.
    pub missed: usize,
}

/// An object's name, and what was done or why nothing was.
pub type Entry = (String, Result<Changed, &'static str>);

/// What [`install`] did.
#[derive(Debug)]
pub struct Report {
    /// The objects that hold system calls.
    pub objects: Vec<Entry>,
    /// Whether objects that are loaded later are changed too.
    pub watching: bool,
    /// What is not covered with this C library.
    pub gap: Option<&'static str>,
}

impl Report {
    /// Whether every wanted call of the C library and the loader passes through the door.
    pub fn complete(&self) -> bool {
        let whole = |name: &str| self.objects.iter().any(|(other, done)| name == other && is_whole(done));
        object::NAMES.iter().all(|name| whole(name))
    }
}

/// Whether nothing of an object stays with the host.
pub fn is_whole(done: &Result<Changed, &'static str>) -> bool {
    done.is_ok_and(|changed| changed.missed == 0)
}

/// Whether an object of this name holds libc's inner system calls.
pub fn is_libc(name: &str) -> bool {
    object::NAMES.contains(&name)
}

/// The door in use; null before [`install`].
static DOOR: AtomicPtr<Door> = AtomicPtr::new(core::ptr::null_mut());

/// What syscall(2) does with a number, by its low 16 bits: 0 = native, 1 = look at the descriptor, 2 = ask, 3 = native, and
/// memory may be unreadable afterwards.
static NUMBERS: [AtomicU8; 65536] = [const { AtomicU8::new(0) }; 65536];

/// What is remembered between two changes of the loader's list.
struct State {
    targets: Targets,
    /// Folders that may hold what was found in objects.
    places: Vec<CString>,
    /// The text of the objects that have been looked at.
    known: Vec<Range<usize>>,
    watching: bool,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Leads the inner system calls of libc, the loader and all other objects to `door`, now and when more are loaded; `places` are
/// folders that may keep what was found in them. Meant for the constructor, while there is one thread.
///
/// Fails with the reason if the door is in use already or neither libc nor the loader could be changed; an object is changed
/// wholly or not at all.
pub fn install(door: &'static Door, places: Vec<CString>) -> Result<Report, &'static str> {
    let new = core::ptr::from_ref(door).cast_mut();
    DOOR.compare_exchange(core::ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed)
        .map_err(|_| "installed already")?;
    for (nr, entry) in NUMBERS.iter().take(1024).enumerate() {
        let test = match scan::wanted(door.wanted, nr) {
            Wanted::No if (door.forgets)(nr) == Forgets::No => continue,
            Wanted::No => 3,
            Wanted::Fd(0) => 1,
            _ => 2,
        };
        entry.store(test, Ordering::Relaxed);
    }
    let targets = Targets {
        stub: stub::prepare(door.passes),
        quick: Paths::ALL.map(|paths| door.quick.map_or(0, |quick| quick(paths))),
        owned: door.owned.as_ptr() as usize,
        numbers: NUMBERS.as_ptr() as usize,
        generation: door.generation.as_ptr() as usize,
    };
    let mut state = State { targets, places, known: Vec::new(), watching: false };
    let others = if sysproxy::host::one_thread() { Others::None } else { Others::Running };
    let objects = state.update(door, others);
    let watching = state.watching;
    *STATE.lock() = Some(state);
    let libc: Vec<_> = objects.iter().filter(|(name, _)| is_libc(name)).collect();
    match libc.iter().find_map(|(_, done)| done.err()) {
        _ if libc.is_empty() => Err("libc.so.6 is not loaded"),
        Some(reason) if libc.iter().all(|(_, done)| done.is_err()) => Err(reason),
        _ => Ok(Report { objects, watching, gap: gap() }),
    }
}

/// What the loader calls when objects have come or gone, in the thread that is in dlopen(3) or dlclose(3).
extern "C" fn changed() {
    let _blocked = Blocked::enter();
    // SAFETY: the loader leads here only after `install` has set the door.
    let door = unsafe { &*DOOR.load(Ordering::Acquire) };
    // A fork can have left the lock of another thread behind: then the objects stay as they are.
    let Some(mut state) = STATE.try_lock() else { return };
    let Some(state) = state.as_mut() else { return };
    for (name, done) in state.update(door, Others::None) {
        (door.report)(&name, done);
    }
}

impl State {
    /// Changes the objects that have not been looked at yet, and forgets those that are gone.
    fn update(&mut self, door: &Door, others: Others) -> Vec<Entry> {
        let objects = object::loaded();
        self.known.retain(|text| objects.iter().any(|object| object.text == *text));
        let new: Vec<_> = objects.into_iter().filter(|object| !self.known.contains(&object.text)).collect();
        let cache = if new.is_empty() { None } else { Cache::open(&self.places, door) };
        let mut entries = Vec::new();
        for object in new {
            match self.change(&object, door, cache.as_ref(), others) {
                Ok(Changed { sites: 0, missed: 0 }) => {}
                done => entries.push((object.name, done)),
            }
            self.known.push(object.text);
        }
        entries
    }

    /// Changes one object.
    fn change(
        &mut self,
        object: &Object,
        door: &Door,
        cache: Option<&Cache>,
        others: Others,
    ) -> Result<Changed, &'static str> {
        let Sites { found: sites, missed } = sites(object, door, cache)?;
        if sites.is_empty() {
            return if is_libc(&object.name) {
                Err("no system calls were found")
            } else {
                Ok(Changed { sites: 0, missed })
            };
        }
        let frames = Frames::of(object).ok_or("the unwind tables are of an unknown form")?;
        let trampolines = trampoline::build(object, &sites, &self.targets)?;
        let mut jumps = Vec::with_capacity(sites.len() + 4);
        for (site, trampoline) in sites.iter().zip(&trampolines) {
            let long = patch::Jump::long(site.island.unwrap_or(site.window), trampoline.code.start);
            jumps.push(long.ok_or("a trampoline is out of reach")?);
            if let Some(island) = site.island {
                jumps.push(patch::Jump::short(site.window, island).ok_or("an island is out of reach")?);
            }
        }
        if object.name == object::LOADER && !self.watching {
            let watch = watch::jump(object, changed);
            self.watching = watch.is_some();
            jumps.extend(watch);
        }
        unwind::register(&frames, &sites, &trampolines);
        let keep = if object.writable { ProtFlags::WRITE } else { ProtFlags::empty() };
        let keep = keep | ProtFlags::READ | ProtFlags::EXEC;
        // SAFETY: each window is a whole instruction that nothing leads into, each island unused padding and stored before the
        // jump to it, and each trampoline does what was displaced. All references into the text end before the first store.
        let left = unsafe { patch::apply(&object.text, keep, &jumps, others) }?;
        Ok(Changed { sites: sites.len() - left, missed: missed + left })
    }
}

/// Finds the system calls of an object, in the cache or by a scan.
fn sites(object: &Object, door: &Door, cache: Option<&Cache>) -> Result<Sites, &'static str> {
    let miss = match cache.map(|cache| cache.load(object)) {
        Some(Ok(sites)) => return Ok(sites),
        Some(Err(miss)) => miss,
        None => Miss::Changed,
    };
    if object.text.len() > LARGEST {
        return Err("it is too large to be searched");
    }
    let sites = scan::sites(object, door);
    if let (Some(cache), Miss::Absent) = (cache, miss)
        && !is_traced()
    {
        cache.store(object, &sites);
    }
    Ok(sites)
}

/// Whether a debugger is there, whose breakpoints a scan finds instead of the instructions.
fn is_traced() -> bool {
    let status = sysproxy::host::read_file(c"/proc/self/status").unwrap_or_default();
    let tracer = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"TracerPid:\t"));
    tracer != Some(b"0")
}

/// Returns what this C library does in a way that is not intercepted.
fn gap() -> Option<&'static str> {
    // SAFETY: the function takes nothing and returns a string that lives forever.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_str().unwrap_or_default();
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    // From 2.41 on all cancellable calls share one instruction, whose address the cancellation handler checks.
    let newer = (parts.next(), parts.next()) >= (Some(2), Some(41));
    newer.then_some("glibc 2.41 or newer: calls that are cancellation points inside libc stay with the host")
}

/// Asks the door about the call in `registers`: 0 = make it natively, 1 = done, and rax holds the result.
///
/// No destructor stands in this frame: a thread that is cancelled in a call is unwound through it.
unsafe extern "C-unwind" fn decide(registers: *mut Registers) -> usize {
    // SAFETY: the stub passes its own save area, and a trampoline can be reached only after `install` set the door.
    let (registers, door) = unsafe { (&mut *registers, &*DOOR.load(Ordering::Acquire)) };
    match (door.dispatch)(registers.rax, registers.args) {
        Outcome::Host => 0,
        Outcome::Done(result) => {
            registers.rax = result as usize;
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::{c_char, c_int, c_void};
    use core::sync::atomic::AtomicUsize;

    const MAGIC_FD: i32 = 777;
    static OWNED: [AtomicU8; 65536] = [const { AtomicU8::new(0) }; 65536];
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    pub const DOOR_FOR_TESTS: Door = Door {
        wanted,
        passes,
        quick: None,
        dispatch,
        owned: &OWNED,
        forgets: crate::pages::forgets,
        generation: &GENERATION,
        report: |_, _| {},
    };
    static TEST_DOOR: Door = DOOR_FOR_TESTS;
    /// Calls about [`MAGIC_FD`], and of those the ones whose backtrace reached `raw_read_of_magic_fd`.
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    static TRACED: AtomicUsize = AtomicUsize::new(0);

    type Frame = c_void;
    unsafe extern "C-unwind" {
        fn _Unwind_Backtrace(each: extern "C-unwind" fn(*mut Frame, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
        fn _Unwind_GetIP(frame: *mut Frame) -> usize;
        fn _Unwind_FindEnclosingFunction(address: usize) -> usize;
        fn dprintf(fd: c_int, format: *const c_char, ...) -> c_int;
    }

    /// Knows of `access` alone, and of that by the mode.
    extern "C-unwind" fn passes(nr: usize, args: &[usize; 6]) -> bool {
        nr as i64 == libc::SYS_access && args[1] == libc::X_OK as usize
    }

    fn wanted(nr: usize) -> Wanted {
        match nr as i64 {
            libc::SYS_read | libc::SYS_write | libc::SYS_fstat | libc::SYS_getdents64 | libc::SYS_close => {
                Wanted::Fd(0)
            }
            libc::SYS_lseek => Wanted::Fd(0),
            libc::SYS_mmap => Wanted::Fd(4),
            libc::SYS_openat | libc::SYS_readlink | libc::SYS_access | libc::SYS_newfstatat => Wanted::Always,
            _ => Wanted::No,
        }
    }

    /// Serves the names under /deep and the descriptor 777, and /etc/hosts.
    fn dispatch(nr: usize, args: [usize; 6]) -> Outcome {
        dirty_vectors();
        // SAFETY: the tests pass good strings only.
        let path = |argument: usize| unsafe { CStr::from_ptr(argument as *const c_char) }.to_bytes();
        match nr as i64 {
            libc::SYS_openat => match path(args[1]) {
                b"/deep/file" => open_text(b"first line\nsecond line\n"),
                b"/etc/hosts" => open_text(b"10.9.8.7 host.deep\n"),
                b"/deep/directory" => {
                    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
                    let opened = rustix::fs::open(c"/proc/self/task", flags, rustix::fs::Mode::empty());
                    Outcome::Done(opened.map_or(-2, |fd| rustix::fd::IntoRawFd::into_raw_fd(fd) as isize))
                }
                _ => Outcome::Host,
            },
            libc::SYS_readlink => match path(args[0]) {
                b"/deep" => Outcome::Done(-(libc::EINVAL as isize)),
                b"/deep/link" => {
                    // SAFETY: realpath passes a buffer of a path's size.
                    unsafe { core::ptr::copy_nonoverlapping(b"/proc".as_ptr(), args[1] as *mut u8, 5) };
                    Outcome::Done(5)
                }
                _ => Outcome::Host,
            },
            libc::SYS_access if path(args[0]) == b"/deep/file" => Outcome::Done(0),
            libc::SYS_read | libc::SYS_write if args[0] as i32 == MAGIC_FD => {
                CAUGHT.fetch_add(1, Ordering::Relaxed);
                count_backtrace();
                Outcome::Done(args[2] as isize)
            }
            libc::SYS_lseek if args[0] as i32 == MAGIC_FD => Outcome::Done(-(libc::ESPIPE as isize)),
            _ => Outcome::Host,
        }
    }

    fn open_text(text: &[u8]) -> Outcome {
        let Ok(file) = rustix::fs::memfd_create(c"deep", rustix::fs::MemfdFlags::empty()) else {
            return Outcome::Done(-12);
        };
        let _ = rustix::io::pwrite(&file, text, 0);
        Outcome::Done(rustix::fd::IntoRawFd::into_raw_fd(file) as isize)
    }

    /// Overwrites what Rust code may overwrite.
    fn dirty_vectors() {
        // SAFETY: all registers written are declared.
        unsafe {
            core::arch::asm!("pcmpeqd xmm0, xmm0", "pcmpeqd xmm15, xmm15", clobber_abi("C"));
            if std::is_x86_feature_detected!("avx") {
                core::arch::asm!("vzeroall", clobber_abi("C"));
            }
        }
    }

    fn count_backtrace() {
        extern "C-unwind" fn each(frame: *mut Frame, _: *mut c_void) -> c_int {
            // SAFETY: called by the unwinder with its frame.
            let function = unsafe { _Unwind_FindEnclosingFunction(_Unwind_GetIP(frame)) };
            let wanted = [raw_read_of_magic_fd as *const () as usize, blocked_read as *const () as usize];
            TRACED.fetch_add(wanted.contains(&function) as usize, Ordering::Relaxed);
            0
        }
        // SAFETY: `each` has the signature that the unwinder asks for.
        unsafe { _Unwind_Backtrace(each, core::ptr::null_mut()) };
    }

    #[inline(never)]
    extern "C-unwind" fn raw_read_of_magic_fd() -> isize {
        // SAFETY: the door answers without touching the buffer.
        let got = unsafe { libc::syscall(libc::SYS_read, MAGIC_FD, 0, 12) };
        core::hint::black_box(got as isize)
    }

    #[inline(never)]
    extern "C-unwind" fn blocked_read(fd: c_int) -> isize {
        let mut byte = 0u8;
        // SAFETY: one byte for one byte.
        let got = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
        core::hint::black_box(got)
    }

    extern "C" fn on_alarm(_: c_int) {
        count_backtrace();
    }

    /// Returns what ymm0 to ymm15 hold after access(2) of a name that the door serves, all having held 0x5a.
    #[target_feature(enable = "avx")]
    fn vectors_after_a_call() -> [u8; 512] {
        let mut image = [0x5au8; 512];
        macro_rules! call {
            ($($number:literal)*) => {
                // SAFETY: access(2) is called as the ABI asks; what it or these lines change is declared.
                unsafe {
                    core::arch::asm!(
                        $(concat!("vmovups ymm", $number, ", [r12 + 32 * ", $number, "]"),)*
                        "call r14",
                        $(concat!("vmovups [r12 + 32 * ", $number, "], ymm", $number),)*
                        in("r12") image.as_mut_ptr(), in("r14") libc::access as *const () as usize,
                        inout("rdi") c"/deep/file".as_ptr() => _, inout("rsi") 0 => _, clobber_abi("C"),
                    )
                }
            };
        }
        call!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        image
    }

    /// The tests proper, in a process of its own, because what `install` does cannot be undone.
    #[test]
    #[ignore = "changes the process; run by what_libc_does_inside_passes_through_the_door"]
    fn in_a_process_of_its_own() {
        let report = install(&TEST_DOOR, Vec::new()).unwrap();
        assert!(report.objects.len() == 2 && report.objects.iter().all(|(_, result)| result.is_ok()), "{report:?}");
        assert!(install(&TEST_DOOR, Vec::new()).is_err());
        OWNED[MAGIC_FD as usize].store(1, Ordering::Relaxed);
        // SAFETY: libc's functions, called as their manual pages ask.
        unsafe {
            // stdio
            let (file, mut line) = (libc::fopen(c"/deep/file".as_ptr(), c"r".as_ptr()), [0u8; 32]);
            assert!(!file.is_null() && !libc::fgets(line.as_mut_ptr().cast(), 32, file).is_null());
            assert!(line.starts_with(b"first line\n\0") && libc::fclose(file) == 0);
            assert_eq!(dprintf(MAGIC_FD, c"twelve bytes".as_ptr()), 12);
            assert_eq!(CAUGHT.swap(0, Ordering::Relaxed), 1);
            // directories and links
            let directory = libc::opendir(c"/deep/directory".as_ptr());
            assert!(!directory.is_null() && !libc::readdir(directory).is_null() && libc::closedir(directory) == 0);
            let mut resolved = [0u8; libc::PATH_MAX as usize];
            assert!(!libc::realpath(c"/deep/link".as_ptr(), resolved.as_mut_ptr().cast()).is_null());
            assert!(resolved.starts_with(b"/proc\0"));
            // the resolver
            let mut found = core::ptr::null_mut();
            assert_eq!(libc::getaddrinfo(c"host.deep".as_ptr(), core::ptr::null(), core::ptr::null(), &mut found), 0);
            let address = &*(*found).ai_addr.cast::<libc::sockaddr_in>();
            assert_eq!(address.sin_addr.s_addr.to_ne_bytes(), [10, 9, 8, 7]);
            libc::freeaddrinfo(found);
            // what the host serves as ever
            assert_eq!((libc::access(c"/nowhere".as_ptr(), 0), *libc::__errno_location()), (-1, libc::ENOENT));
            assert_eq!((libc::access(c"/nowhere".as_ptr(), 1), *libc::__errno_location()), (-1, libc::ENOENT));
            assert_eq!(libc::access(c"/proc/self/exe".as_ptr(), libc::X_OK), 0);
            assert_eq!(libc::syscall(libc::SYS_getppid), i64::from(libc::getppid()));
            assert_eq!(libc::system(c"exit 7".as_ptr()), 7 << 8);
        }
        // the machine state, and the way back up the stack
        if std::is_x86_feature_detected!("avx") {
            // SAFETY: the feature was just detected.
            assert_eq!(unsafe { vectors_after_a_call() }, [0x5a; 512]);
        }
        assert_eq!(raw_read_of_magic_fd(), 12);
        assert_eq!((CAUGHT.load(Ordering::Relaxed), TRACED.swap(0, Ordering::Relaxed)), (1, 1));
        interrupt_a_blocked_read();
        assert_eq!(TRACED.load(Ordering::Relaxed), 1);
        flags_survive();
        what_takes_memory_away_is_counted();
    }

    /// Sets all status flags, or none, calls the stub with call `nr`, and compares what the flags are then.
    fn flags_survive() {
        const STATUS: u64 = 0x8d5;
        for (nr, mode) in [(libc::SYS_access, libc::X_OK), (libc::SYS_access, libc::F_OK)] {
            for flags in [STATUS, 0, 0x801, 0x40] {
                let (after, answer): (u64, usize);
                // SAFETY: the stub's own convention: rcx and r11 are free, rax is the number and the result; a path for each mode.
                unsafe {
                    core::arch::asm!(
                        "push {flags}", "popfq", "call {stub}", "pushfq", "pop {after}",
                        flags = in(reg) flags | 2, stub = in(reg) stub::prepare(passes), after = lateout(reg) after,
                        inout("rax") nr => _, out("rcx") answer, out("r11") _,
                        in("rdi") c"/deep/none".as_ptr(), in("rsi") mode, in("rdx") 0, in("r10") 0, in("r8") 0, in("r9") 0,
                    );
                }
                assert_eq!((after & STATUS, answer), (flags, 0), "{mode}");
            }
        }
    }

    fn what_takes_memory_away_is_counted() {
        let count = || GENERATION.load(Ordering::Relaxed);
        let (none, read) = (libc::PROT_NONE, libc::PROT_READ);
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the mapping is this function's own.
        unsafe {
            let page = libc::mmap(core::ptr::null_mut(), 8192, read, private, -1, 0);
            let mut before = count();
            let mut counted = |by: u64, what: &str| {
                assert_eq!(count(), before + by * crate::pages::STEP, "{what}");
                before = count();
            };
            libc::mprotect(page, 8192, read | libc::PROT_WRITE);
            counted(0, "mprotect to readable and writable");
            libc::mprotect(page, 8192, read);
            counted(1, "mprotect to readable only");
            libc::mprotect(page, 8192, none);
            counted(1, "mprotect to nothing");
            libc::mmap(page, 4096, none, private | libc::MAP_FIXED, -1, 0);
            counted(1, "mmap over something");
            libc::madvise(page, 4096, libc::MADV_DONTNEED);
            counted(0, "madvise");
            libc::madvise(page, 4096, 102);
            counted(1, "madvise that guards");
            libc::syscall(libc::SYS_munmap, page, 4096);
            counted(1, "syscall(munmap)");
            libc::munmap(page.add(4096), 4096);
            counted(1, "munmap");
            assert_eq!((libc::syscall(libc::SYS_munmap, 1, 1), *libc::__errno_location()), (-1, libc::EINVAL));
        }
    }

    /// Blocks in a trampoline's own system call until a handler has looked at the stack; the call is then restarted.
    fn interrupt_a_blocked_read() {
        let mut ends = [0; 2];
        // SAFETY: libc's functions, called as their manual pages ask; the handler only looks at the stack.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = on_alarm as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, core::ptr::null_mut()), 0);
            let reader = libc::pthread_self();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(core::time::Duration::from_millis(100));
                libc::pthread_kill(reader, libc::SIGUSR1);
                std::thread::sleep(core::time::Duration::from_millis(50));
                libc::write(ends[1], c"x".as_ptr().cast(), 1)
            });
            assert_eq!(blocked_read(ends[0]), 1);
            assert_eq!(writer.join().unwrap(), 1);
        }
    }

    #[test]
    fn what_libc_does_inside_passes_through_the_door() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let name = concat!(module_path!(), "::in_a_process_of_its_own");
        let name = name.split_once("::").map_or(name, |(_, path)| path);
        let output = child.args([name, "--exact", "--ignored", "--test-threads=1"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
