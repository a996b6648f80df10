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

mod code;
mod frames;
mod object;
mod patch;
mod scan;
mod stub;
mod trampoline;
mod unwind;

use core::ffi::CStr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use object::Object;
use stub::Registers;
use trampoline::Targets;

/// What the table of calls wants of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The call is the host's.
    No,
    /// The table is asked if the descriptor in this argument (0 or 4) may be other than the host's.
    Fd(usize),
    /// The table is asked each time.
    Always,
}

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
    pub dispatch: fn(usize, [usize; 6]) -> Outcome,
    /// By the low 16 bits of a descriptor: zero = certainly the host's.
    pub owned: &'static [AtomicU8; 65536],
}

/// What [`install`] did.
#[derive(Debug)]
pub struct Report {
    /// For each object its name, and the number of system calls that now pass through the door, or why none does.
    pub objects: Vec<(&'static str, Result<usize, &'static str>)>,
    /// What is not covered with this C library.
    pub gap: Option<&'static str>,
}

/// The door in use; null before [`install`].
static DOOR: AtomicPtr<Door> = AtomicPtr::new(core::ptr::null_mut());

/// What syscall(2) does with a number, by its low 16 bits: 0 = native, 1 = look at the descriptor, 2 = ask.
static NUMBERS: [AtomicU8; 65536] = [const { AtomicU8::new(0) }; 65536];

/// Leads libc's and the loader's inner system calls to `door`. Meant for the constructor, while there is one thread.
///
/// Fails with the reason if the door is in use already or no object could be changed; an object is changed wholly or not at all.
pub fn install(door: &'static Door) -> Result<Report, &'static str> {
    let new = core::ptr::from_ref(door).cast_mut();
    DOOR.compare_exchange(core::ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed)
        .map_err(|_| "installed already")?;
    for (nr, entry) in NUMBERS.iter().take(1024).enumerate() {
        let test = match scan::wanted(door.wanted, nr) {
            Wanted::No => continue,
            Wanted::Fd(0) => 1,
            Wanted::Fd(_) | Wanted::Always => 2,
        };
        entry.store(test, Ordering::Relaxed);
    }
    let targets = Targets { stub: stub::prepare(), owned: door.owned.as_ptr() as usize, numbers: NUMBERS.as_ptr() as usize };
    let found = object::loaded();
    let objects: Vec<_> = found.iter().map(|object| (object.name, change(object, door, &targets))).collect();
    match objects.iter().find_map(|(_, result)| result.err()) {
        _ if objects.is_empty() => Err("libc.so.6 is not loaded"),
        Some(reason) if objects.iter().all(|(_, result)| result.is_err()) => Err(reason),
        _ => Ok(Report { objects, gap: gap() }),
    }
}

/// Changes one object, and returns the number of sites.
fn change(object: &Object, door: &Door, targets: &Targets) -> Result<usize, &'static str> {
    let frames = frames::Frames::of(object).ok_or("the unwind tables are of an unknown form")?;
    let sites = scan::sites(object, door.wanted);
    if sites.is_empty() {
        return Err("no system calls were found");
    }
    let trampolines = trampoline::build(object, &sites, targets)?;
    let mut jumps = Vec::with_capacity(sites.len() + 3);
    for (site, trampoline) in sites.iter().zip(&trampolines) {
        let long = patch::Jump::long(site.island.unwrap_or(site.window), trampoline.code.start);
        jumps.push(long.ok_or("a trampoline is out of reach")?);
        if let Some(island) = site.island {
            jumps.push(patch::Jump::short(site.window, island).ok_or("an island is out of reach")?);
        }
    }
    unwind::register(&frames, &sites, &trampolines);
    // SAFETY: each window is a whole instruction that nothing leads into, each island unused padding and stored before the
    // jump to it, and each trampoline does what was displaced. All references into the text end before the first store.
    unsafe { patch::apply(&object.text, &jumps) }?;
    Ok(sites.len())
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
    let Registers { rax, rdi, rsi, rdx, r10, r8, r9 } = *registers;
    match (door.dispatch)(rax, [rdi, rsi, rdx, r10, r8, r9]) {
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
    static DOOR_FOR_TESTS: Door = Door { wanted, dispatch, owned: &OWNED };
    /// Calls about [`MAGIC_FD`], and of those the ones whose backtrace reached `raw_read_of_magic_fd`.
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    static TRACED: AtomicUsize = AtomicUsize::new(0);

    type Frame = c_void;
    unsafe extern "C-unwind" {
        fn _Unwind_Backtrace(each: extern "C-unwind" fn(*mut Frame, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
        fn _Unwind_GetIP(frame: *mut Frame) -> usize;
        fn _Unwind_FindEnclosingFunction(address: usize) -> usize;
    }

    fn wanted(nr: usize) -> Wanted {
        match nr as i64 {
            libc::SYS_read | libc::SYS_write | libc::SYS_fstat | libc::SYS_getdents64 | libc::SYS_close => Wanted::Fd(0),
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
            _ => Outcome::Host,
        }
    }

    fn open_text(text: &[u8]) -> Outcome {
        let Ok(file) = rustix::fs::memfd_create(c"deep", rustix::fs::MemfdFlags::empty()) else { return Outcome::Done(-12) };
        let _ = rustix::io::pwrite(&file, text, 0);
        Outcome::Done(rustix::fd::IntoRawFd::into_raw_fd(file) as isize)
    }

    /// Overwrites what Rust code may overwrite.
    fn dirty_vectors() {
        // SAFETY: all registers written are declared.
        unsafe {
            core::arch::asm!("pcmpeqd xmm0, xmm0", "pcmpeqd xmm6, xmm6", "pcmpeqd xmm15, xmm15", out("xmm0") _, out("xmm6") _, out("xmm15") _);
            if std::is_x86_feature_detected!("avx") {
                core::arch::asm!("vzeroall", out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _,
                    out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _, out("ymm12") _,
                    out("ymm13") _, out("ymm14") _, out("ymm15") _);
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
    fn vectors_after_a_call() -> ([u8; 512], isize) {
        let (pattern, mut after, result) = ([0x5au8; 32], [0u8; 512], isize::default());
        let mut result = result;
        macro_rules! each { ($($format:literal)*) => { concat!($($format, "\n"),*) } }
        // SAFETY: access(2) is called as the ABI asks, on an aligned stack; what it may change is declared.
        unsafe {
            core::arch::asm!(
                each!("vmovups ymm0, [rbx]" "vmovups ymm1, [rbx]" "vmovups ymm2, [rbx]" "vmovups ymm3, [rbx]" "vmovups ymm4, [rbx]"),
                "mov r13, rbx", "call r14",
                "vmovups [r12], ymm0", "vmovups [r12 + 32], ymm1", "vmovups [r12 + 64], ymm2", "vmovups [r12 + 96], ymm3",
                "vmovups [r12 + 128], ymm4",
                in("rdi") c"/deep/file".as_ptr(), in("rsi") 0, in("r14") libc::access as *const () as usize,
                in("r12") after.as_mut_ptr(), out("r13") _, lateout("rax") result, clobber_abi("C"),
            );
        }
        let _ = pattern;
        (after, result)
    }
}
