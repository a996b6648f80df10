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
mod tests;
