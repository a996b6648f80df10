//! The first level: which calls are surely the host's, told without asking the table of calls.
//!
//! Both front doors come here first, and almost every call of a program ends here. So nothing is called, allocated or locked, no
//! thread-local variable is read and no vector register is touched: libc's own code keeps values in those across its system
//! calls, and saving them would cost ten times what the answer does. The functions stand in a section of their own ([`SECTION`]),
//! which tests decode to prove this. What the first level is not sure of, [`calls::dispatch`](crate::calls::dispatch) judges.

use core::sync::atomic::{AtomicPtr, Ordering};

use crate::entry::Call;
use crate::pages::{self, Page};
use crate::quick::{self, LINE, line};
use crate::rump::{copies, listing};
use crate::{calls, exec, fds, handlers, process, raw, route, sandbox, sets, trace};
use spec::Spec;

/// Where the code of the first level stands in the library's file. (The linker makes `__start_` and `__stop_` symbols of it.)
macro_rules! section {
    () => {
        "rumphijack_first"
    };
}
pub(crate) use section;

/// The argument that stands for the working directory: no argument at all.
pub const CWD: u8 = u8::MAX;

/// What the table of calls wants of a system call; the numbers are those of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The call is the host's.
    No,
    /// The table is asked if this descriptor may be other than the host's.
    Fd(u8),
    /// The table is asked if one of these may be.
    Fds(u8, u8),
    /// The table is asked if the path, relative to this descriptor or [`CWD`], may be a rump path.
    At(u8, u8),
    /// The same of two pairs of descriptor and path.
    Two([u8; 4]),
    /// The table is asked if sockets of this family may go to the rump kernel.
    Family(u8),
    /// The table is asked while the working directory is in the rump kernel.
    Inside,
    /// As [`Wanted::Fd`], and while the working directory is in the rump kernel.
    OutsideFd(u8),
    /// As [`Wanted::At`], and while the working directory is in the rump kernel.
    OutsideAt(u8, u8),
    /// The table is asked if the argument has this value.
    Value(u8, i32),
    /// The table is asked if a number from the first argument to the second may be other than the host's.
    Range,
    /// The table is asked if the descriptor may be other than the host's or an epoll set without rump members, which in a process
    /// with one thread will have none when the call is over.
    Waits(u8),
    /// The table is asked while there are mappings that are copies of rump files.
    Copied,
    /// The table is asked if the array of poll(2), at the first argument and as long as the second says, may hold a rump descriptor.
    Polled,
    /// The table is asked if the sets of select(2) may.
    Selected,
    /// The table is asked while handlers of signals begin with the library's code.
    Handlers,
    /// The table is asked each time.
    Always,
}

/// Most members of poll's array that the first level looks at.
const MEMBERS: usize = 64;

/// Most descriptors in a set of select, as `FD_SETSIZE` has it.
const SET: usize = 1024;

/// Most numbers of a range that the first level looks at.
const NUMBERS: u32 = 64;

/// libc's variable that says whether the process has one thread; null if this libc has none.
static SINGLE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// How the names begin that may be the rump kernel's; null before the constructor.
static NAMES: AtomicPtr<Names> = AtomicPtr::new(core::ptr::null_mut());

/// What the first level knows of the configuration.
struct Names {
    /// Each with a slash at its front.
    beginnings: Vec<Beginning>,
    /// The prefix's own name in the folder that holds it, for relative paths.
    in_parent: Option<Beginning>,
    /// Names that the library itself has for descriptors; they matter once there are rump descriptors.
    descriptors: Vec<Beginning>,
    /// The lists of the process's descriptors, which hold the library's own.
    lists: Vec<Beginning>,
    /// Only an expression can tell.
    all: bool,
    families: u64,
}

/// How a name begins.
struct Beginning {
    /// Its first eight bytes as a word, and which of them there are.
    word: u64,
    mask: u64,
    text: Vec<u8>,
}

impl Beginning {
    fn new(text: &[u8]) -> Self {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        for ((byte, there), from) in word.iter_mut().zip(&mut mask).zip(text) {
            (*byte, *there) = (*from, u8::MAX);
        }
        Self { word: u64::from_ne_bytes(word), mask: u64::from_ne_bytes(mask), text: text.to_vec() }
    }
}

/// What the table of calls wants, by the number of the call.
#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
static CALLS: [Wanted; 512] = {
    let mut calls = [Wanted::No; 512];
    let mut nr = 0;
    while nr < calls.len() {
        calls[nr] = calls::wanted(nr);
        nr += 1;
    }
    calls
};

/// Tells the first level what is configured.
pub fn configure(spec: &Spec) {
    let all = spec.pathre.is_some();
    let in_parent = spec.prefix_in().map(|(_, name)| name.to_vec()).filter(|name| !name.is_empty());
    let mut beginnings = spec.beginnings();
    beginnings.extend(exec::image().map(|_| route::OWN_IMAGE.to_vec()));
    let names = Names {
        beginnings: beginnings.iter().map(|name| Beginning::new(name)).collect(),
        in_parent: in_parent.as_deref().map(Beginning::new),
        descriptors: route::DESCRIPTORS.iter().map(|name| Beginning::new(name)).collect(),
        lists: listing::NAMES.iter().map(|name| Beginning::new(name)).collect(),
        all,
        families: spec.families(),
    };
    LINE.absolute.iter().for_each(|bits| bits.store(0, Ordering::Relaxed));
    for name in names.beginnings.iter().chain(&names.descriptors) {
        // After a slash alone comes anything.
        let seconds = name.text.get(1).map_or(0..=u8::MAX, |second| *second..=*second);
        seconds.for_each(|second| {
            let bits = LINE.absolute.get(usize::from(second / 32));
            bits.into_iter().for_each(|bits| _ = bits.fetch_or(1 << (second % 32), Ordering::Relaxed));
        });
    }
    let relative = names.in_parent.as_ref().and_then(|name| name.text.first());
    LINE.relative.store(relative.copied().unwrap_or(0), Ordering::Relaxed);
    LINE.all.store(all, Ordering::Relaxed);
    NAMES.store(Box::into_raw(Box::new(names)), Ordering::Release);
    // SAFETY: the name is a C string.
    let single = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    SINGLE.store(single.cast(), Ordering::Relaxed);
}

/// Lets no call pass from now on: there is a trace, or a child that shares this memory, of which the first level knows nothing.
pub fn attend() {
    LINE.reasons.fetch_add(1, Ordering::Relaxed);
}

/// Takes an [`attend`] back.
pub fn relax() {
    LINE.reasons.fetch_sub(1, Ordering::Relaxed);
}

/// Says whether each of libc's inner system calls comes through front door 2.
pub fn set_all_inside(all: bool) {
    LINE.all_inside.store(all, Ordering::Relaxed);
    pages::forget();
}

/// Whether each of libc's inner system calls comes through front door 2: what libc's functions do is judged there, too.
#[inline(always)]
pub fn all_inside() -> bool {
    line().all_inside.load(Ordering::Relaxed)
}

/// Forgets the reasons of other threads, after a fork.
pub fn after_fork_in_child() {
    LINE.reasons.store(u32::from(trace::on()) + u32::from(sandbox::on()), Ordering::Relaxed);
}

#[inline(always)]
fn names() -> Option<&'static Names> {
    // SAFETY: what was stored is never freed.
    unsafe { NAMES.load(Ordering::Acquire).as_ref() }
}

/// What the table of calls wants of call `nr`, for a number that only the program knows.
#[inline(always)]
pub fn wanted(nr: i64) -> Wanted {
    CALLS.get(nr as usize).copied().unwrap_or(Wanted::No)
}

/// Whether call `nr` is surely the host's: what the trampolines of [`deep`](crate::deep) ask.
#[unsafe(link_section = section!())]
pub extern "C-unwind" fn passes_number(nr: usize, args: &[usize; 6]) -> bool {
    passes(wanted(nr as i64), args)
}

/// Whether a hook need not judge: libc's function does nothing but make the call, whose trampoline judges anyway. These are the calls for which
/// two judges would be dear, since the host's work throws the first one's code out of the cache.
#[inline(always)]
pub fn is_seen_inside(nr: i64) -> bool {
    is_only_a_call(nr) && all_inside()
}

/// Whether libc's function is no more than the system call, and the call one of the dear ones. No cancellation point is: its thread's type is
/// asynchronous inside.
const fn is_only_a_call(nr: i64) -> bool {
    matches!(
        nr,
        libc::SYS_rename
            | libc::SYS_renameat
            | libc::SYS_renameat2
            | libc::SYS_unlinkat
            | libc::SYS_readlinkat
            | libc::SYS_fchownat
            | libc::SYS_utimensat
            | libc::SYS_statx
            | libc::SYS_setxattr
            | libc::SYS_lsetxattr
            | libc::SYS_name_to_handle_at
            | libc::SYS_open_tree
            | libc::SYS_fspick
            | libc::SYS_move_mount
    )
}

/// Whether a call is surely the host's, as far as a few instructions can tell.
#[inline(always)]
pub fn passes_at_once(wanted: Wanted, args: &[usize; 6]) -> bool {
    match wanted {
        Wanted::At(CWD, path) | Wanted::OutsideAt(CWD, path) => quick::is_host(arg(args, path)),
        Wanted::At(dir, path) | Wanted::OutsideAt(dir, path) => quick::is_host_at(arg(args, dir), arg(args, path)),
        Wanted::Two([CWD, from, CWD, to]) => quick::are_host(arg(args, from), arg(args, to)),
        Wanted::Two([dir, from, dir2, to]) => {
            quick::are_host_at(arg(args, dir), arg(args, from), arg(args, dir2), arg(args, to))
        }
        other => passes(other, args),
    }
}

/// Whether a call is surely the host's.
#[inline(always)]
pub fn passes(wanted: Wanted, args: &[usize; 6]) -> bool {
    if line().reasons.load(Ordering::Relaxed) != 0 {
        // posix_spawn(3) asks about every signal, in a child that shares this memory.
        return wanted == Wanted::Handlers && !handlers::are_ours();
    }
    match wanted {
        Wanted::No => true,
        Wanted::Fd(fd) => plain(args, fd),
        Wanted::Fds(one, two) => plain(args, one) && plain(args, two),
        Wanted::At(dir, path) => at(args, dir, path),
        Wanted::Two([dir, path, dir2, path2]) => at(args, dir, path) && at(args, dir2, path2),
        Wanted::Family(domain) => family(arg(args, domain)),
        Wanted::Inside => !process::own_cwd_in_rump(),
        Wanted::OutsideFd(fd) => !process::own_cwd_in_rump() && plain(args, fd),
        Wanted::OutsideAt(dir, path) => !process::own_cwd_in_rump() && at(args, dir, path),
        Wanted::Value(place, value) => arg(args, place) as i32 != value,
        Wanted::Range => range(arg(args, 0) as u32, arg(args, 1) as u32),
        Wanted::Waits(set) => plain(args, set) || waits_alone(arg(args, set) as i32),
        Wanted::Copied => !copies::any(),
        Wanted::Polled => !fds::any_entry() || polled(arg(args, 0), arg(args, 1)),
        Wanted::Selected => !fds::any_entry() || selected(arg(args, 0), arg(args, 1), arg(args, 2), arg(args, 3)),
        Wanted::Handlers => !handlers::are_ours(),
        Wanted::Always => false,
    }
}

/// Whether a function that is more than its call has nothing to do beside it.
#[inline(always)]
pub fn is_plain(Call { nr, wanted }: Call, args: [usize; 6]) -> bool {
    let [_, messages, count, ..] = args;
    let command = messages;
    let count = count as u32 as usize;
    let nothing_else = match nr {
        libc::SYS_sendmsg => !fds::any_entry() || have_no_control(messages, 1, 0),
        libc::SYS_recvmsg => have_no_control(messages, 1, 0),
        libc::SYS_sendmmsg => !fds::any_entry() || have_no_control(messages, count, size_of::<libc::mmsghdr>()),
        libc::SYS_recvmmsg => have_no_control(messages, count, size_of::<libc::mmsghdr>()),
        libc::SYS_fcntl => command as i32 != libc::F_GETOWN,
        libc::SYS_pselect6 => true,
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => true,
        _ => false,
    };
    nothing_else && passes(wanted, &args)
}

#[inline(always)]
fn arg(args: &[usize; 6], at: u8) -> usize {
    args.get(usize::from(at)).copied().unwrap_or_default()
}

/// Whether the descriptor is surely the host's.
#[inline(always)]
fn plain(args: &[usize; 6], fd: u8) -> bool {
    !fds::perhaps(arg(args, fd) as i32)
}

#[inline(always)]
fn family(domain: usize) -> bool {
    names().is_none_or(|names| domain >= 64 || names.families >> domain & 1 == 0)
}

#[inline(always)]
fn at(args: &[usize; 6], dir: u8, path: u8) -> bool {
    let dir = if dir == CWD { raw::word(libc::AT_FDCWD) } else { arg(args, dir) };
    is_host_at(dir, arg(args, path))
}

/// Whether the path at `path` is surely the host's, relative to the descriptor `dir`.
#[inline(never)]
#[unsafe(link_section = section!())]
fn is_host_at(dir: usize, path: usize) -> bool {
    let inside = match dir as i32 {
        libc::AT_FDCWD => process::own_cwd_in_rump(),
        dir if fds::perhaps(dir) => return false,
        _ => false,
    };
    is_host_path(path, inside)
}

/// Whether the numbers from `first` to `last` are surely the host's.
#[inline(always)]
fn range(first: u32, last: u32) -> bool {
    if last.wrapping_sub(first) > NUMBERS {
        return first > last;
    }
    // No iterator, whose code may stand elsewhere.
    let mut fd = first;
    while fd != last {
        if fds::perhaps(fd as i32) {
            return false;
        }
        fd = fd.wrapping_add(1);
    }
    !fds::perhaps(last as i32)
}

/// Whether nobody can give a set its first rump member while it is waited for.
#[inline(always)]
fn waits_alone(set: i32) -> bool {
    // SAFETY: null, or libc's variable.
    let single = unsafe { SINGLE.load(Ordering::Relaxed).as_ref() };
    // SAFETY: libc changes it as it likes.
    single.is_some_and(|single| unsafe { core::ptr::read_volatile(single) } != 0) && sets::is_plain(set)
}

/// Whether the path at `addr` is surely the host's, of which a relative one is `inside` the rump kernel or not.
///
/// A path that cannot be read is: the host answers `EFAULT`. A name below `/proc` or `/dev/fd` is not, once there is a rump descriptor or working directory.
#[inline(always)]
fn is_host_path(addr: usize, inside: bool) -> bool {
    let Some(names) = names() else { return true };
    if names.all {
        return false;
    }
    if addr == 0 {
        return !inside;
    }
    let mut text = Text::at(addr);
    match text.byte(0) {
        Ok(b'/') => {}
        Ok(_) => return !inside && !names.in_parent.as_ref().is_some_and(|name| text.may_begin_with(name)),
        Err(page) => return page == Page::Unreadable && !inside,
    }
    for name in &names.beginnings {
        if text.may_begin_with(name) {
            return false;
        }
    }
    if fds::any_entry() || process::own_cwd_in_rump() {
        for name in &names.descriptors {
            if text.may_begin_with(name) {
                return false;
            }
        }
        return true;
    }
    for name in &names.lists {
        if text.may_begin_with(name) && text.may_be_list(name.text.len()) {
            return false;
        }
    }
    true
}

/// A string of the program that is read byte by byte.
struct Text {
    addr: usize,
    /// The page that is known to be readable, or [`NO_PAGE`].
    page: usize,
}

/// No page begins here.
const NO_PAGE: usize = 1;

impl Text {
    #[inline(always)]
    fn at(addr: usize) -> Self {
        Self { addr, page: NO_PAGE }
    }

    #[inline(always)]
    fn byte(&mut self, at: usize) -> Result<u8, Page> {
        let addr = self.addr.wrapping_add(at);
        let page = addr & !(pages::PAGE - 1);
        if page != self.page {
            match pages::look(addr) {
                Page::Readable => self.page = page,
                other => return Err(other),
            }
        }
        // SAFETY: the page was readable a moment ago. Memory that the program unmaps while it passes it to a call is its own fault.
        Ok(unsafe { core::ptr::read_volatile(addr as *const u8) })
    }

    /// Whether the string begins with `name`, as far as it can be told.
    #[inline(always)]
    fn may_begin_with(&mut self, name: &Beginning) -> bool {
        let last = self.addr.wrapping_add(size_of::<u64>() - 1);
        if last & !(pages::PAGE - 1) == self.page {
            // SAFETY: within the page, which was readable a moment ago.
            let word = unsafe { core::ptr::read_unaligned(self.addr as *const u64) };
            if (word ^ name.word) & name.mask != 0 {
                return false;
            }
        }
        for (at, wanted) in name.text.iter().enumerate() {
            match self.byte(at) {
                Ok(byte) if byte == *wanted => {}
                Ok(_) | Err(Page::Unreadable) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    /// Whether digits and then the name of a list may stand behind the first `begin` bytes, or nothing but what such a list's name ends with.
    #[inline(always)]
    fn may_be_list(&mut self, begin: usize) -> bool {
        // The names of lists end so, those of processes before their numbers.
        if !matches!(self.byte(begin - 1), Ok(b'/')) {
            return true;
        }
        let mut at = begin;
        loop {
            match self.byte(at) {
                Ok(b'0'..=b'9') if at < begin + DIGITS => at += 1,
                Ok(b'/') => {
                    return at > begin
                        && matches!(self.byte(at + 1), Ok(b'f'))
                        && matches!(self.byte(at + 2), Ok(b'd'));
                }
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

/// Most digits that the number of a process has.
const DIGITS: usize = 10;

/// Whether none of `count` messages, the headers of which begin `stride` bytes apart, has control data. `false` if it cannot be told.
#[inline(always)]
pub fn have_no_control(headers: usize, count: usize, stride: usize) -> bool {
    count <= MEMBERS
        && (0..count).all(|at| {
            let place = headers.wrapping_add(at * stride + core::mem::offset_of!(libc::msghdr, msg_controllen));
            // SAFETY: an aligned word does not leave its page, which was readable a moment ago.
            place.is_multiple_of(8) && pages::look(place) == Page::Readable && unsafe { *(place as *const u64) } == 0
        })
}

/// Whether an array of poll(2) surely holds host descriptors only.
#[inline(never)]
#[unsafe(link_section = section!())]
fn polled(addr: usize, count: usize) -> bool {
    const MEMBER: usize = size_of::<libc::pollfd>();
    if count > MEMBERS || !addr.is_multiple_of(align_of::<libc::pollfd>()) {
        return false;
    }
    let mut known = NO_PAGE;
    for member in 0..count {
        let place = addr.wrapping_add(member * MEMBER);
        let page = place & !(pages::PAGE - 1);
        if page != known {
            match pages::look(place) {
                Page::Readable => known = page,
                other => return other == Page::Unreadable,
            }
        }
        // SAFETY: an aligned int does not leave its page, which was readable a moment ago.
        if fds::perhaps(unsafe { core::ptr::read_volatile(place as *const i32) }) {
            return false;
        }
    }
    true
}

/// Whether the sets of select(2) surely hold host descriptors only.
#[inline(never)]
#[unsafe(link_section = section!())]
fn selected(count: usize, read: usize, write: usize, except: usize) -> bool {
    let count = count as i32;
    if count <= 0 {
        return true;
    }
    let count = count as usize;
    count <= SET && is_host_set(read, count) && is_host_set(write, count) && is_host_set(except, count)
}

/// Whether the set at `addr` surely holds host descriptors only.
#[inline(always)]
fn is_host_set(addr: usize, count: usize) -> bool {
    if addr == 0 {
        return true;
    }
    if !addr.is_multiple_of(size_of::<u64>()) {
        return false;
    }
    for word in 0..count.div_ceil(64) {
        let place = addr.wrapping_add(word * size_of::<u64>());
        match pages::look(place) {
            Page::Readable => {}
            other => return other == Page::Unreadable,
        }
        // SAFETY: an aligned word does not leave its page, which was readable a moment ago.
        let mut bits = unsafe { core::ptr::read_volatile(place as *const u64) };
        while bits != 0 {
            if fds::perhaps((word * 64) as i32 + bits.trailing_zeros() as i32) {
                return false;
            }
            bits &= bits - 1;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, OpKind};

    unsafe extern "C" {
        #[link_name = "__start_rumphijack_first"]
        static START: u8;
        #[link_name = "__stop_rumphijack_first"]
        static STOP: u8;
    }

    #[test]
    fn the_code_calls_nothing_and_touches_no_vector_register() {
        let (start, stop) = (&raw const START as usize, &raw const STOP as usize);
        assert!((passes_number as *const () as usize) >= start && stop > start);
        // SAFETY: the linker says that the section lies there.
        let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, stop - start) };
        let mut info = InstructionInfoFactory::new();
        let mut branches = 0;
        for instruction in Decoder::with_ip(64, bytes, start as u64, DecoderOptions::NONE).into_iter() {
            assert!(!instruction.is_invalid(), "{:#x}", instruction.ip());
            if instruction.op0_kind() == OpKind::NearBranch64 {
                let target = instruction.near_branch64() as usize;
                assert!((start..stop).contains(&target), "{:#x} leads to {target:#x}", instruction.ip());
                branches += 1;
            }
            let call = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
            assert!(
                !call || instruction.op0_kind() == OpKind::NearBranch64 || instruction.code() == Code::Syscall,
                "{:?}",
                instruction.code()
            );
            for used in info.info(&instruction).used_registers() {
                let register = used.register();
                assert!(!register.is_vector_register() && !register.is_st() && !register.is_mm(), "{register:?}");
            }
        }
        assert!(branches > 20);
    }

    fn judge(spec: &str, wanted: Wanted, args: [usize; 6]) -> bool {
        configure(&Spec::parse(Some(spec.as_bytes())).unwrap());
        passes(wanted, &args)
    }

    fn path(text: &core::ffi::CStr) -> [usize; 6] {
        [text.as_ptr() as usize, 0, 0, 0, 0, 0]
    }

    /// One test, since the configuration is the process's.
    #[test]
    fn what_is_surely_the_hosts_passes() {
        let at = Wanted::At(CWD, 0);
        for (spec, text, passes) in [
            ("path=/rump", c"/etc/passwd", true),
            ("path=/rump", c"/rum", true),
            ("path=/rump", c"/run/x", true),
            ("path=/rump", c"/rump", false),
            ("path=/rump", c"/rump/x", false),
            ("path=/rump", c"rump", false),
            ("path=/a/rump", c"rump/x", false),
            ("path=/rump", c"run", true),
            ("path=//", c"run", true),
            ("path=/rump", c"", true),
            ("path=/rump", c"/", true),
            ("path=//", c"//x", false),
            ("path=//", c"/x", true),
            ("blanket=/a:/b/c", c"/b/cd", false),
            ("blanket=/a:/b/c", c"/b/d", true),
            ("pathre=x", c"/y", false),
            ("socket=all", c"/rump", true),
        ] {
            assert_eq!(judge(spec, at, path(text)), passes, "{spec} {text:?}");
        }
        let spec = "path=/rump,socket=all:nolocal";
        let cwd = raw_word(libc::AT_FDCWD);
        let (host, rump) = (c"/etc/x".as_ptr() as usize, c"/rump/x".as_ptr() as usize);
        assert!(judge(spec, Wanted::At(0, 1), [cwd, host, 0, 0, 0, 0]));
        assert!(!judge(spec, Wanted::At(0, 1), [cwd, rump, 0, 0, 0, 0]));
        assert!(judge(spec, Wanted::Two([CWD, 0, CWD, 1]), [host, host, 0, 0, 0, 0]));
        assert!(!judge(spec, Wanted::Two([CWD, 0, CWD, 1]), [host, rump, 0, 0, 0, 0]));
        for bad in [0, 8, usize::MAX, 1 << 62] {
            assert!(judge(spec, Wanted::At(CWD, 0), [bad, 0, 0, 0, 0, 0]), "{bad:#x}: the host says EFAULT");
        }
        assert!(judge(spec, Wanted::Family(0), [1, 0, 0, 0, 0, 0]));
        assert!(!judge(spec, Wanted::Family(0), [2, 0, 0, 0, 0, 0]));
        assert!(judge(spec, Wanted::Family(0), [usize::MAX, 0, 0, 0, 0, 0]));
        assert!(judge(spec, Wanted::No, [0; 6]) && !judge(spec, Wanted::Always, [0; 6]));
    }

    fn raw_word(value: i32) -> usize {
        crate::raw::word(value)
    }

    #[test]
    fn a_path_that_runs_into_a_hole_is_the_hosts() {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
        let _alone = pages::ALONE.lock();
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping of two pages, the second of which is given back.
        let last = unsafe {
            let start = mmap_anonymous(core::ptr::null_mut(), 2 * pages::PAGE, rw, MapFlags::PRIVATE).unwrap();
            munmap(start.add(pages::PAGE), pages::PAGE).unwrap();
            pages::forget();
            start as usize + pages::PAGE
        };
        // SAFETY: the last five bytes of the first page.
        unsafe { core::ptr::copy_nonoverlapping(b"/rump".as_ptr(), (last - 5) as *mut u8, 5) };
        let mut text = Text::at(last - 5);
        let mut begins = |name: &[u8]| text.may_begin_with(&Beginning::new(name));
        assert!(begins(b"/rump") && !begins(b"/rump/") && !begins(b"/r/"));
        assert_eq!(text.byte(5), Err(pages::Page::Unreadable));
    }
}
