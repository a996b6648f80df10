//! Host or rump: by descriptor, path, at-pair, two paths or family.
//!
//! A path is judged by its bytes alone ([`Spec::classify`](spec::Spec::classify)): no `..`, `//` or symbolic link
//! is looked through, and a relative path belongs to the kernel that the working directory is in. A relative path
//! of an at-pair belongs to the kernel of its directory descriptor. From the host's directory that the prefix stands in, its
//! name leads to the rump kernel: rsync goes down every path from `/` a component at a time.

use std::ffi::{CStr, CString};

use abi::fcntl::AT_FDCWD;
use abi::{Errno, Result};
use client::signals::Blocked;
use spec::{PathClass, Spec};

use crate::fds::RumpFd;
use crate::user::{self, UserString};
use crate::{config, fds, process, raw};

/// How the host's names for descriptors begin ([`descriptor`] knows them exactly).
pub const DESCRIPTORS: &[&[u8]] = &[b"/dev/std", b"/dev/fd", b"/proc/"];

/// What the names of this program's image begin with.
pub const OWN_IMAGE: &[u8] = b"/proc/";

/// A path in the rump kernel: `path` relative to `dir`, which is `AT_FDCWD` for an absolute path and in a rump
/// working directory.
#[derive(Clone, Copy, Debug)]
pub struct RumpAt<'a> {
    /// Directory that a relative path starts from.
    pub dir: abi::Fd,
    /// The path, its prefix stripped.
    pub path: &'a CStr,
}

/// A path of the program that the rump kernel shall serve.
pub struct Name {
    dir: abi::Fd,
    text: UserString,
    /// The whole path if `text` is only its beginning.
    long: Option<CString>,
    class: PathClass,
}

impl Name {
    fn new(dir: abi::Fd, text: UserString, class: PathClass) -> Self {
        Self { dir, text, long: None, class }
    }

    /// Fetches the rest of a path that is cut; one that is too long stays whole, so that the rump kernel says so (`ENAMETOOLONG`).
    #[cold]
    #[inline(never)]
    fn lengthened(self, addr: usize) -> Self {
        let _blocked = Blocked::enter();
        let Ok(whole) = user::read_string(addr, TOO_LONG) else { return self };
        let class = if whole.len() < TOO_LONG { self.class } else { PathClass::Blanket };
        Name { long: CString::new(whole).ok(), class, ..self }
    }

    /// The path as the rump kernel has it.
    pub fn at(&self) -> RumpAt<'_> {
        let text = self.long.as_deref().unwrap_or(&self.text);
        RumpAt { dir: self.dir, path: self.class.strip(text) }
    }
}

/// Bytes of a path that no kernel takes.
const TOO_LONG: usize = libc::PATH_MAX as usize;

/// Whom a path belongs to.
#[expect(clippy::large_enum_variant, reason = "on the way to the host nothing may be allocated")]
pub enum Owner {
    /// The host, which also answers for a pointer that cannot be read.
    Host,
    /// The rump kernel.
    Rump(Name),
    /// The rump kernel, under a name that the host has for one of its descriptors: `/dev/fd/5`.
    Descriptor(RumpFd),
    /// The rump kernel, under the name that the host has for the working directory: `/proc/self/cwd`.
    WorkingDirectory,
}

/// What stands behind the host's name for this process: `/proc/self`, `/proc/thread-self`, `/proc/PID`.
fn own_process(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"/proc/")?;
    let (name, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'/')?)?;
    let own = matches!(name, b"self" | b"thread-self") || number(name) == Some(raw::getpid());
    own.then_some(rest)
}

/// The number that stands in a name.
pub fn number(digits: &[u8]) -> Option<i32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Whose the path at `addr` is, relative to the Linux descriptor `dir`.
pub fn at(dir: i32, addr: usize) -> Owner {
    whole(addr, judge(dir, addr))
}

/// Fetches the rest of a path of the rump kernel's that is cut.
fn whole(addr: usize, owner: Owner) -> Owner {
    match owner {
        Owner::Rump(name) if name.long.is_none() && name.text.is_cut() => Owner::Rump(name.lengthened(addr)),
        owner => owner,
    }
}

fn judge(dir: i32, addr: usize) -> Owner {
    let Some(spec) = config() else { return Owner::Host };
    let from = match dir {
        libc::AT_FDCWD => process::cwd_in_rump().then_some(abi::Fd(AT_FDCWD)),
        dir => fds::lookup(dir).map(fds::RumpFd::fd),
    };
    if from.is_none() && !spec.takes_paths() {
        return Owner::Host;
    }
    // Matching an expression allocates.
    let _blocked = spec.pathre.is_some().then(Blocked::enter);
    let Ok(text) = user::read_cstr(addr) else { return Owner::Host };
    let class = spec.classify(text.to_bytes(), from.is_some());
    if !class.is_rump()
        && let Some(rump) = descriptor(text.to_bytes())
    {
        return Owner::Descriptor(rump);
    }
    if matches!(class, PathClass::Blanket) && (is_numbers_of_host(text.to_bytes()) || is_own_image(text.to_bytes())) {
        return Owner::Host;
    }
    if class.is_rump()
        && let Some(text) = rump_descriptor(class.strip(&text).to_bytes())
    {
        return Owner::Rump(Name::new(abi::Fd(AT_FDCWD), text, PathClass::Blanket));
    }
    if !class.is_rump()
        && let Some(begin) = below_rump_cwd(text.to_bytes())
    {
        return match begin {
            0 => Owner::WorkingDirectory,
            begin => Owner::Rump(Name::new(abi::Fd(AT_FDCWD), text, PathClass::Rump(begin))),
        };
    }
    match (class, from) {
        (PathClass::Host, None) if dir == libc::AT_FDCWD && spec.pathre.is_some() => below_cwd(spec, &text),
        (PathClass::Host, None) if spec.name_in_parent(text.to_bytes()).is_some() => through_prefix(spec, dir, text),
        (PathClass::Host, _) => Owner::Host,
        (class, Some(dir)) if text.to_bytes().first() != Some(&b'/') => Owner::Rump(Name::new(dir, text, class)),
        (class, _) => Owner::Rump(Name::new(abi::Fd(AT_FDCWD), text, class)),
    }
}

/// Whose the path at `addr` is when it cannot lead out of `dir`: even an absolute one is that directory's kernel's.
pub fn within(dir: i32, addr: usize) -> Owner {
    let from = match dir {
        libc::AT_FDCWD => process::cwd_in_rump().then_some(abi::Fd(AT_FDCWD)),
        dir => fds::lookup(dir).map(fds::RumpFd::fd),
    };
    let owner = match (from, user::read_cstr(addr)) {
        // Taken as it stands, like a blanket.
        (Some(dir), Ok(text)) => Owner::Rump(Name::new(dir, text, PathClass::Blanket)),
        _ => Owner::Host,
    };
    whole(addr, owner)
}

/// The rump descriptor that the host's name means; the host itself would find the placeholder there.
fn descriptor(path: &[u8]) -> Option<RumpFd> {
    let number = match path {
        b"/dev/stdin" => 0,
        b"/dev/stdout" => 1,
        b"/dev/stderr" => 2,
        _ => {
            let digits = path.strip_prefix(b"/dev/fd/").or_else(|| own_process(path)?.strip_prefix(b"/fd/"))?;
            number(digits)?
        }
    };
    fds::lookup(number)
}

/// Whether a path is the host's name for the program of this process.
pub fn is_own_image(path: &[u8]) -> bool {
    own_process(path) == Some(b"/exe")
}

/// Whether a path names a descriptor of this process that the host has, or all of them: the list of a program's numbers is the host's.
fn is_numbers_of_host(path: &[u8]) -> bool {
    let of_process =
        own_process(path).and_then(|rest| rest.strip_prefix(b"/fdinfo").or_else(|| rest.strip_prefix(b"/fd")));
    match of_process.or_else(|| path.strip_prefix(b"/dev/fd")) {
        Some(b"" | b"/") => true,
        Some([b'/', digits @ ..]) => number(digits).is_some_and(|number| fds::lookup(number).is_none()),
        _ => false,
    }
}

/// Whether a path is the host's name for the list of this process's descriptors, or of what is known of them.
pub fn is_list_of_numbers(path: &[u8]) -> bool {
    let of_process = own_process(path).map(|rest| match rest.strip_prefix(b"/task/") {
        Some(thread) => thread.get(thread.iter().position(|byte| *byte == b'/').unwrap_or(0)..).unwrap_or_default(),
        None => rest,
    });
    match of_process.or_else(|| path.strip_prefix(b"/dev")) {
        Some(rest) => matches!(rest.strip_suffix(b"/").unwrap_or(rest), b"/fd" | b"/fdinfo"),
        None => false,
    }
}

/// The rump kernel's own name for a descriptor, with its number instead of the program's; there is none (`ENOENT`) behind a number that is
/// not the rump kernel's. `None` for any other name, and for the three standard ones where they are the host's.
fn rump_descriptor(path: &[u8]) -> Option<UserString> {
    let rest = own_process(path);
    let of_process = rest.and_then(|rest| rest.strip_prefix(b"/fd/"));
    let about = rest.and_then(|rest| rest.strip_prefix(b"/fdinfo/")).and_then(number).and_then(fds::lookup);
    let its_number = path.strip_prefix(b"/dev/fd/").or(of_process).and_then(number);
    // All of one length, with room for the number at their end.
    let mut text = match (about, of_process) {
        (Some(_), _) => *b"/proc/self/fdinfo/0000000000",
        (_, Some(_)) => *b"/proc/././self/fd/0000000000",
        (None, None) => *b"/dev/././././fd/./0000000000",
    };
    match about.or_else(|| descriptor(path)) {
        Some(RumpFd(fd)) => {
            let (mut rest, digits) = (fd.unsigned_abs(), text.get_mut(18..)?);
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            UserString::new(&text).ok()
        }
        None if its_number.is_some_and(|number| number > 2) => UserString::new(b"/dev/fd/none").ok(),
        None => None,
    }
}

/// Where the part of a path begins that is below `/proc/self/cwd`, which is in the rump kernel; 0 if there is none.
fn below_rump_cwd(path: &[u8]) -> Option<usize> {
    let below = own_process(path)?.strip_prefix(b"/cwd").filter(|_| process::cwd_in_rump())?;
    match below.iter().position(|byte| *byte != b'/') {
        None => Some(0),
        Some(0) => None,
        Some(slashes) => Some(path.len() - below.len() + slashes),
    }
}

/// Whose the path at `addr` is, relative to the working directory.
pub fn path(addr: usize) -> Owner {
    at(libc::AT_FDCWD, addr)
}

/// The relative `text` that begins with the prefix's name: the rump kernel's if the host's directory `dir` is the one that the prefix
/// stands in.
#[cold]
#[inline(never)]
fn through_prefix(spec: &Spec, dir: i32, text: UserString) -> Owner {
    let found = || {
        let (parent, _) = spec.prefix_in()?;
        let mut path = [0u8; 4096];
        path.get_mut(..parent.len())?.copy_from_slice(parent);
        let parent = CStr::from_bytes_until_nul(&path).ok()?;
        let here = match dir {
            libc::AT_FDCWD => inode(dir, c".", 0)?,
            dir => inode(dir, c"", libc::AT_EMPTY_PATH)?,
        };
        (here == inode(libc::AT_FDCWD, parent, 0)?).then(|| spec.name_in_parent(text.to_bytes()))?
    };
    match found() {
        Some(name) => Owner::Rump(Name::new(abi::Fd(AT_FDCWD), text, PathClass::Rump(name))),
        None => Owner::Host,
    }
}

/// Device and inode of a file of the host.
fn inode(dir: i32, path: &CStr, flags: i32) -> Option<(u64, u64)> {
    let mut buf = abi::linux::Stat::default();
    let args = [raw::word(dir), path.as_ptr() as usize, &raw mut buf as usize, raw::word(flags)];
    (raw::call(libc::SYS_newfstatat, args) == 0).then_some((buf.st_dev, buf.st_ino))
}

#[cold]
#[inline(never)]
/// The relative `text` under its absolute name, if `pathre` takes that.
fn below_cwd(spec: &Spec, text: &CStr) -> Owner {
    let mut cwd = [0u8; 4096];
    let length = raw::call(libc::SYS_getcwd, [cwd.as_mut_ptr() as usize, cwd.len()]);
    let found = usize::try_from(length).ok().and_then(|length| cwd.get(..length.checked_sub(1)?));
    let full = found.and_then(|cwd| spec.match_below(cwd, text.to_bytes()));
    let Some(full) = full.and_then(|full| CString::new(full).ok()) else { return Owner::Host };
    let addr = full.as_ptr() as usize;
    match user::read_cstr(addr) {
        Ok(text) => whole(addr, Owner::Rump(Name::new(abi::Fd(AT_FDCWD), text, PathClass::Blanket))),
        Err(_) => Owner::Host,
    }
}

/// The path of the directory that the last component of a path is in; `ENOENT` if the path is empty, `ENAMETOOLONG`.
pub fn above(path: &CStr) -> Result<CString> {
    let path = path.to_bytes();
    match path.len() {
        0 => return Err(Errno::ENOENT),
        TOO_LONG.. => return Err(Errno::ENAMETOOLONG),
        _ => {}
    }
    let name = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let above = path.get(..name).unwrap_or_default();
    let above = above.get(..above.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1));
    let above = match above.unwrap_or_default() {
        b"" => b"./".as_slice(),
        above => above,
    };
    CString::new(above).map_err(|_| Errno::EFAULT)
}

/// A path of a call that has two: the descriptor that it is relative to, its address, and whose it is.
pub struct End {
    dir: i32,
    addr: usize,
    owner: Owner,
}

impl End {
    /// Judges a path.
    pub fn new(dir: i32, addr: usize) -> Self {
        Self { dir, addr, owner: at(dir, addr) }
    }

    /// The error of a call whose other path is in the rump kernel, as this one is not.
    pub fn elsewhere(&self) -> Errno {
        let _blocked = Blocked::enter();
        match self.owner {
            Owner::Host => self.host_directory().err().unwrap_or(Errno::EXDEV),
            _ => Errno::EXDEV,
        }
    }

    /// What the host would say of the directory of a path of its own, before it notices that the other path is elsewhere:
    /// `EFAULT`, `ENAMETOOLONG`, `ENOENT`, `EBADF`, `ENOTDIR`, `EACCES`.
    fn host_directory(&self) -> Result<()> {
        let path = user::read_path(self.addr)?;
        let above = above(&path)?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let args = [raw::word(self.dir), above.as_ptr() as usize, raw::word(flags), 0];
        let fd = raw::checked(raw::call(libc::SYS_openat, args))?;
        raw::close(fd as i32);
        Ok(())
    }
}

/// Both paths of link(2) or rename(2) when the rump kernel serves them; `None` when the host does.
///
/// `EXDEV` when there is one of each, if there are the directories of both. What is wrong with the first hides what is wrong with the
/// second: `reach` finds out whether the first can be what the call asks of it.
pub fn two(from: End, to: End, reach: impl Fn(&RumpAt<'_>) -> Result<()>) -> Result<Option<(Name, Name)>> {
    match (from.owner, to.owner) {
        (Owner::Rump(from), Owner::Rump(to)) => Ok(Some((from, to))),
        (Owner::Rump(first), other) => {
            let _blocked = Blocked::enter();
            Err(reach(&first.at()).err().unwrap_or_else(|| End { owner: other, ..to }.elsewhere()))
        }
        (other, Owner::Rump(_)) => Err(End { owner: other, ..from }.elsewhere()),
        _ => Ok(None),
    }
}

/// Whether sockets of the family belong to the rump kernel.
pub fn family(domain: i32) -> bool {
    config().is_some_and(|spec| spec.family(domain))
}
