//! exec: the rump process goes on in the new image.
//!
//! What the new image must know stands in a memfd that it finds by its name under `/proc/self/fd` (no environment variable, which
//! `env -i` would lose): the server, the connection's socket, the map from numbers to rump descriptors, and where relative
//! paths go. Just before the call the memfd, the socket and the template of the placeholders lose their close-on-exec flag; if it
//! fails they get it back. Where the program's limit of file sizes (RLIMIT_FSIZE) leaves no room, the text stands in a pipe instead, whose number the
//! memfd's name tells. Where no `/proc` is mounted, the memfd is found by how its text begins. The server closes its close-on-exec descriptors at the handshake of the new image, the host the placeholders.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use abi::{Errno, Result};
use client::fds::{self as cfds, Pinned};
use client::signals::Blocked;
use client::{Adopted, Remote, Retry, stubs};
use rustix_futex_sync::OnceLock;
use sysproxy::host::{self, HostFd, Owned, POLLNVAL, PollFd};

use crate::calls::{self, Outcome};
use crate::fds::{self, RumpFd};
use crate::original::{self, Numbers};
use crate::process::Handed;
use crate::route::{self, Owner};
use crate::rump::copies;
use crate::rump::program::Program;
use crate::{image, process, raw, sets, trace, user};

/// Name of the memfd.
const NAME: &CStr = c"rumphijack-state";

/// How `/proc/self/fd` shows it.
const LINK: &[u8] = b"/memfd:rumphijack-state";

/// First line of its text.
const MAGIC: &str = "rumphijack 1";

/// The words for [`trace::files`].
const FILES: [&str; 2] = ["trace", "summary"];

/// Longest text that is believed.
const STATE_MAX: usize = 64 << 20;

/// How many numbers are looked at, at least and at most, where descriptors have no names.
const NUMBERS: Range<i32> = 1 << 16..1 << 20;

/// How many interpreters of interpreters there may be, as on Linux.
const INTERPRETERS: usize = 5;

/// See execve(2).
pub fn execve(path: usize, argv: usize, envp: usize) -> Outcome {
    step(path, argv, envp, INTERPRETERS, None)
}

/// Runs `path` after at most `steps` more interpreters; `comm` is the name of the script that it is the interpreter of.
fn step(path: usize, argv: usize, envp: usize, steps: usize, comm: Option<Vec<u8>>) -> Outcome {
    let named = || comm.clone().or_else(|| Some(last_name(user::read_path(path).ok()?.to_bytes())));
    match route::path(path) {
        Owner::Host => with_state(libc::SYS_execve, [path, argv, envp, 0, 0, 0], &Face { comm, image: None }),
        Owner::WorkingDirectory => calls::outcome(Err(Errno::EACCES)),
        Owner::Descriptor(rump) => {
            let _blocked = Blocked::enter();
            run(Program::load_open(rump, path, argv), argv, envp, steps, named())
        }
        Owner::Rump(name) => {
            let _blocked = Blocked::enter();
            run(Program::load(&name.at(), path, argv), argv, envp, steps, named())
        }
    }
}

/// By what the host would know the new image, if it had the file itself.
#[derive(Default)]
struct Face {
    /// Name of the process, if it is not that of the host's file.
    comm: Option<Vec<u8>>,
    /// The program's path, if it is one of the rump kernel.
    image: Option<Vec<u8>>,
}

fn last_name(path: &[u8]) -> Vec<u8> {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec()
}

/// The path of this program, if the host runs a copy of it.
static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();

/// The path of this program, if it is one of the rump kernel, of which the host runs a copy.
pub fn image() -> Option<&'static [u8]> {
    IMAGE.get().map(Vec::as_slice)
}

/// See execveat(2).
pub fn execveat(dir: i32, path: usize, argv: usize, envp: usize, flags: i32) -> Outcome {
    let owner = route::at(dir, path);
    match (owner, fds::lookup(dir)) {
        (Owner::Rump(name), Some(rump)) if name.at().path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 => {
            let _blocked = Blocked::enter();
            // The name by which Linux has the interpreter of a script open it; it would find nothing if the descriptor closes.
            let name = CString::new(format!("/dev/fd/{dir}")).unwrap_or_default();
            match Program::load_open(rump, name.as_ptr() as usize, argv) {
                Ok(Program::Script(_)) if raw::fcntl(dir, libc::F_GETFD, 0) & libc::FD_CLOEXEC as isize != 0 => {
                    calls::outcome(Err(Errno::ENOENT))
                }
                program => run(program, argv, envp, INTERPRETERS, None),
            }
        }
        (Owner::Rump(name), _) => {
            let _blocked = Blocked::enter();
            let comm = user::read_path(path).ok().map(|path| last_name(path.to_bytes()));
            run(Program::load(&name.at(), path, argv), argv, envp, INTERPRETERS, comm)
        }
        (Owner::WorkingDirectory, _) => calls::outcome(Err(Errno::EACCES)),
        (Owner::Descriptor(rump), _) if flags & libc::AT_SYMLINK_NOFOLLOW == 0 => {
            let _blocked = Blocked::enter();
            let comm = user::read_path(path).ok().map(|path| last_name(path.to_bytes()));
            run(Program::load_open(rump, path, argv), argv, envp, INTERPRETERS, comm)
        }
        (Owner::Host | Owner::Descriptor(_), _) => {
            let args = [raw::word(dir), path, argv, envp, raw::word(flags), 0];
            with_state(libc::SYS_execveat, args, &Face::default())
        }
    }
}

/// Runs a program of the rump kernel: the host gets a copy of it, or the interpreter that it names. Without `comm` the process is called
/// as the file.
fn run(program: Result<Program>, argv: usize, envp: usize, steps: usize, comm: Option<Vec<u8>>) -> Outcome {
    match program {
        Ok(Program::Script(_)) if steps == 0 => calls::outcome(Err(Errno::ELOOP)),
        Err(error) => calls::outcome(Err(error)),
        Ok(Program::Binary(copy, image)) => {
            let comm = comm.or_else(|| image.as_deref().map(last_name));
            let empty = c"".as_ptr() as usize;
            let args = [raw::word(copy.fd().0), empty, argv, envp, raw::word(libc::AT_EMPTY_PATH), 0];
            with_state(libc::SYS_execveat, args, &Face { comm, image })
        }
        // The interpreter may be a program of either kernel, and a script itself.
        Ok(Program::Script(script)) => step(script.interpreter(), script.argv(), envp, steps - 1, comm),
    }
}

/// Makes the call with the state handed over, and takes it back when the call fails.
///
/// The program's own signal mask is in force during the call: the new image inherits it.
fn with_state(nr: i64, args: [usize; 6], face: &Face) -> Outcome {
    if !process::ready() {
        return Outcome::Host;
    }
    let checked = match image::check(nr, args) {
        Ok(checked) => checked,
        Err(error) => return calls::outcome(Err(error)),
    };
    let state = {
        let _blocked = Blocked::enter();
        copies::flush_all();
        State::hand_over(face)
    };
    let result = client::signals::unblocked(|| raw::syscall(nr as usize, checked.args));
    let _blocked = Blocked::enter();
    state.take_back();
    Outcome::Done(result)
}

/// What was changed for an exec.
struct State {
    /// What it tells of the library's own numbers stays true.
    _pinned: Pinned,
    /// The memfd, and the pipe if there is one.
    memfd: Option<(i32, Option<i32>)>,
    /// The connection that was made to survive.
    remote: Option<&'static Remote>,
    /// Placeholders that only the library made close-on-exec, because no kernel will be behind them.
    orphans: Vec<i32>,
}

impl State {
    fn hand_over(face: &Face) -> Self {
        let pinned = cfds::pin();
        let handed = process::to_hand_on();
        if let Handed::Nothing = handed {
            return Self { _pinned: pinned, memfd: None, remote: None, orphans: leave_behind() };
        }
        let memfd = hand_over(&handed, face).inspect_err(|error| {
            trace::say(format_args!("exec: the new program begins without rump descriptors: {error}"));
        });
        let remote = if let Handed::Remote(remote) = handed { Some(remote) } else { None };
        Self { _pinned: pinned, memfd: memfd.ok(), remote, orphans: Vec::new() }
    }

    fn take_back(self) {
        if let Some((memfd, pipe)) = self.memfd {
            raw::close(memfd);
            pipe.map(raw::close);
            if let Some(remote) = self.remote {
                let _ = remote.survive_exec(false);
            }
            close_on_exec(fds::template(), true);
            trace::files().into_iter().flatten().for_each(|file| close_on_exec(file, true));
        }
        self.orphans.into_iter().for_each(|fd| close_on_exec(fd, false));
    }
}

fn close_on_exec(fd: i32, on: bool) {
    let _ = host::set_cloexec(HostFd(fd), on);
}

/// Marks the placeholders close-on-exec: the kernel of this process ends with it.
fn leave_behind() -> Vec<i32> {
    let open = |fd: &i32| raw::fcntl(*fd, libc::F_GETFD, 0) == 0;
    let numbers: Vec<i32> = fds::range(0, u32::MAX).into_iter().map(|(fd, _)| fd).filter(open).collect();
    numbers.iter().for_each(|fd| close_on_exec(*fd, true));
    numbers
}

fn hand_over(handed: &Handed, face: &Face) -> Result<(i32, Option<i32>)> {
    let text = describe(handed, face);
    let (memfd, pipe) = written(text.as_bytes())?;
    if let Handed::Remote(remote) = handed {
        remote.survive_exec(true)?;
    }
    close_on_exec(fds::template(), false);
    trace::files().into_iter().flatten().for_each(|file| close_on_exec(file, false));
    close_on_exec(memfd.fd().0, false);
    if let Some(pipe) = &pipe {
        close_on_exec(pipe.fd().0, false);
    }
    Ok((memfd.into_fd().0, pipe.map(|pipe| pipe.into_fd().0)))
}

/// Makes the memfd that holds `text`, or the memfd that tells the number of the pipe that holds it.
fn written(text: &[u8]) -> Result<(Owned, Option<Owned>)> {
    let raised = |low: Owned| client::fds::raise(low.fd()).map_err(host::errno);
    let named = |name: &CStr| raised(host::memfd(name).map_err(host::errno)?);
    if host::file_limit() >= text.len() as u64 {
        let memfd = named(NAME)?;
        write_all(memfd.fd(), text)?;
        return Ok((memfd, None));
    }
    let (read, write) = host::pipe_with_room(text.len()).map_err(host::errno)?;
    write_all(write.fd(), text)?;
    let read = raised(read)?;
    let name = CString::new(format!("{}:{}", NAME.to_string_lossy(), read.fd().0)).map_err(|_| Errno::EINVAL)?;
    Ok((named(&name)?, Some(read)))
}

fn write_all(fd: HostFd, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let wrote = host::write(fd, rest).map_err(host::errno)?;
        rest = rest.get(wrote..).unwrap_or_default();
    }
    Ok(())
}

/// The text of the memfd: a word and its values a line.
fn describe(handed: &Handed, face: &Face) -> String {
    let mut text = format!("{MAGIC}\n");
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{arguments}");
    };
    let url = match handed {
        Handed::Remote(remote) => remote.url(),
        Handed::Later(later) => Some(later.url().to_owned()),
        Handed::Nothing => None,
    };
    if let Some(url) = url {
        line(format_args!("url {url}"));
    }
    line(format_args!("asked {}", crate::server().unwrap_or_default()));
    if let Handed::Remote(remote) = handed {
        line(format_args!("socket {} {}", remote.socket_fd().0, u8::from(remote.extended())));
    }
    line(format_args!("template {}", fds::template()));
    for (word, file) in FILES.iter().zip(trace::files()) {
        if let Some(file) = file {
            line(format_args!("{word} {file}"));
        }
    }
    line(format_args!("cwd {}", u8::from(process::cwd_in_rump())));
    for (word, name) in [("comm", &face.comm), ("image", &face.image)] {
        // It may be of any bytes.
        let digits = |name: &Vec<u8>| name.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        name.iter().for_each(|name| line(format_args!("{word} {}", digits(name))));
    }
    for (fd, rump) in fds::range(0, u32::MAX) {
        line(format_args!("fd {fd} {}", rump.0));
    }
    for (fd, set) in sets::range(0, u32::MAX) {
        if let Some(kqueue) = set.kqueue() {
            line(format_args!("set {fd} {}", kqueue.0));
        }
    }
    text
}

/// Bytes that are written as digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// What an earlier image has handed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Where the server is.
    pub url: Option<String>,
    /// How the earlier image was asked for it.
    pub asked: String,
    /// The connection, and whether the server is ours.
    socket: Option<(i32, bool)>,
    template: Option<i32>,
    /// The files of the trace and of the summary, which the new image may not be able to open.
    files: [Option<i32>; 2],
    /// Whether relative paths go to the rump kernel.
    pub cwd_in_rump: bool,
    /// What the process is to be called, and the path of its program.
    comm: Option<Vec<u8>>,
    image: Option<Vec<u8>>,
    fds: Vec<(i32, RumpFd)>,
    /// Numbers of epoll sets, and the kqueue of each.
    sets: Vec<(i32, RumpFd)>,
    /// What an image of the original library says in place of `fds`.
    original: Option<Numbers>,
}

impl Inherited {
    /// Finds what an earlier image has handed over, and takes it away.
    pub fn find() -> Option<Self> {
        let (memfd, pipe) = find_memfd()?;
        if pipe.is_none() {
            raw::call(libc::SYS_lseek, [raw::word(memfd), 0, libc::SEEK_SET as usize]);
        }
        let text = read_all(pipe.unwrap_or(memfd));
        raw::close(memfd);
        pipe.map(raw::close);
        Self::parse(std::str::from_utf8(&text).ok()?)
    }

    /// The same, from an image of the original library; `fdoff` is the configuration's.
    pub fn from_original<'a>(get: impl Fn(&str) -> Option<&'a [u8]>, fdoff: i32) -> Option<Self> {
        let connection = original::connection(&get)?;
        Some(Self {
            url: Some(connection.url),
            asked: String::from_utf8_lossy(get("RUMP_SERVER").unwrap_or_default()).into_owned(),
            socket: Some((connection.socket, connection.extended)),
            cwd_in_rump: get("RUMPHIJACK__PWDINRUMP").is_some(),
            original: Some(Numbers::parse(get("RUMPHIJACK__DUP2INFO"), fdoff)),
            ..Self::default()
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return None;
        }
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            let mut numbers = rest.split(' ').map_while(|number| number.parse::<i32>().ok());
            match word {
                "url" => found.url = Some(rest.to_owned()),
                "asked" => rest.clone_into(&mut found.asked),
                "socket" => found.socket = Some((numbers.next()?, numbers.next()? != 0)),
                "template" => found.template = numbers.next(),
                word if FILES.contains(&word) => {
                    let places = FILES.iter().zip(&mut found.files).filter(|(known, _)| **known == word);
                    places.for_each(|(_, place)| *place = numbers.next());
                }
                "cwd" => found.cwd_in_rump = numbers.next()? != 0,
                "comm" => found.comm = Some(bytes(rest)?),
                "image" => found.image = Some(bytes(rest)?),
                "set" => found.sets.push((numbers.next()?, RumpFd(numbers.next()?))),
                "fd" => found.fds.push((numbers.next()?, RumpFd(numbers.next()?))),
                _ => return None,
            }
        }
        Some(found)
    }

    /// Has the process known as it would be if the host had the file of its program.
    pub fn show_face(&self) {
        if let Some(comm) = self.comm.as_ref().and_then(|comm| CString::new(comm.as_slice()).ok()) {
            // Linux keeps what it has room for.
            raw::call(libc::SYS_prctl, [libc::PR_SET_NAME as usize, comm.as_ptr() as usize]);
        }
        if let Some(image) = &self.image {
            let _ = IMAGE.set(image.clone());
        }
    }

    /// Where the server is, if it is `server` and the earlier image had not connected to it.
    pub fn unconnected_to(&self, server: Option<&str>) -> Option<&str> {
        let url = self.url.as_deref().filter(|_| self.socket.is_none())?;
        crate::start::same_server(server, &self.asked, Some(url)).then_some(url)
    }

    /// Goes on with the connection if it leads to `server`; the new image is called `name`.
    pub fn adopt_if(&self, server: Option<&str>, name: &[u8], retry: Retry) -> Option<Remote> {
        if !crate::start::same_server(server, &self.asked, self.url.as_deref()) {
            return None;
        }
        let (socket, extended) = self.socket?;
        let adopted = Adopted { fd: HostFd(socket), url: self.url.as_deref(), extended };
        Remote::adopt(adopted, name, retry).ok()
    }

    /// The files of the trace and of the summary. Whoever takes one up takes a duplicate; see [`Self::close_files`].
    pub fn files(&self) -> [Option<i32>; 2] {
        self.files
    }

    /// Closes what [`Self::files`] says.
    pub fn close_files(&mut self) {
        std::mem::take(&mut self.files).into_iter().flatten().for_each(|file| {
            raw::close(file);
        });
    }

    /// The template of the placeholders, if it is still there.
    pub fn template(&self) -> Option<i32> {
        let template = self.template.filter(|fd| raw::fcntl(*fd, libc::F_GETFL, 0) & libc::O_PATH as isize != 0)?;
        close_on_exec(template, true);
        Some(template)
    }

    /// Takes over the numbers whose placeholder is still there; the others were closed or replaced on the way.
    pub fn take_numbers(&self) {
        if let Some(original) = &self.original {
            original.take();
        }
        for (fd, rump) in &self.fds {
            if fds::is_placeholder(*fd) {
                let _lock = fds::lock();
                fds::set(*fd, Some(*rump));
            } else {
                let _ = process::kernel().and_then(|kernel| stubs::close(kernel, rump.fd()));
            }
        }
        sets::inherit(&self.sets).into_iter().for_each(|kqueue| {
            let _ = process::kernel().and_then(|kernel| stubs::close(kernel, kqueue.fd()));
        });
    }

    /// Closes everything: the new image is to be served by another kernel.
    pub fn refuse(&self) {
        if let Some(template) = self.template() {
            let _ = fds::init(0, Some(template));
            self.fds.iter().filter(|(fd, _)| fds::is_placeholder(*fd)).for_each(|(fd, _)| {
                raw::close(*fd);
            });
            raw::close(template);
        }
        if let Some((socket, _)) = self.socket {
            raw::close(socket);
        }
    }
}

/// Reads what was written.
fn read_all(fd: i32) -> Vec<u8> {
    let mut text = Vec::new();
    let mut piece = [0u8; 4096];
    while text.len() < STATE_MAX {
        match host::read(HostFd(fd), &mut piece) {
            Ok(got @ 1..) => text.extend_from_slice(piece.get(..got).unwrap_or_default()),
            _ => break,
        }
    }
    text
}

/// The number of the memfd, by its name, and that of the pipe if the name tells one.
fn find_memfd() -> Option<(i32, Option<i32>)> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    match host::open(c"/proc/self/fd", flags as u32, 0) {
        Ok(folder) => find_by_name(&folder),
        Err(_) => find_by_text().map(|memfd| (memfd, None)),
    }
}

/// The number of the memfd where descriptors have no names: a file in memory, without a name, whose text begins as ours does.
fn find_by_text() -> Option<i32> {
    let limit = host::descriptor_limit();
    let numbers = 0..i32::try_from(limit).unwrap_or(i32::MAX).clamp(NUMBERS.start, NUMBERS.end);
    // poll(2) takes no more at once than the limit says.
    let at_once = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, 256);
    let mut asked = Vec::new();
    numbers.step_by(at_once).find_map(|first| {
        asked.clear();
        asked.extend((first..).take(at_once).map(|fd| PollFd::new(HostFd(fd), 0)));
        host::ppoll(&mut asked, Some(Duration::ZERO), None).ok()?;
        asked.iter().filter(|fd| fd.revents & POLLNVAL == 0).map(|fd| fd.fd).find(|fd| begins_as_ours(*fd))
    })
}

fn begins_as_ours(fd: i32) -> bool {
    let mut begin = [0u8; MAGIC.len()];
    let args = [raw::word(fd), begin.as_mut_ptr() as usize, begin.len(), 0];
    raw::fcntl(fd, libc::F_GET_SEALS, 0) >= 0
        && fds::stat(fd).is_some_and(|stat| stat.st_nlink == 0)
        && raw::call(libc::SYS_pread64, args) == begin.len() as isize
        && begin == *MAGIC.as_bytes()
}

fn find_by_name(folder: &Owned) -> Option<(i32, Option<i32>)> {
    let mut buf = [0u8; 4096];
    loop {
        let args = [raw::word(folder.fd().0), buf.as_mut_ptr() as usize, buf.len()];
        let got = raw::checked(raw::call(libc::SYS_getdents64, args)).ok()?;
        let mut rest = buf.get(..got).filter(|entries| !entries.is_empty())?;
        while let Some((name, next)) = next_entry(rest) {
            rest = next;
            if let Some(fd) = is_memfd(folder.fd().0, name) {
                return Some(fd);
            }
        }
    }
}

/// The name of the first of Linux's directory entries, and what follows it.
fn next_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(entries.get(16..18)?.try_into().ok()?));
    let name = entries.get(19..length)?.split(|byte| *byte == 0).next()?;
    Some((name, entries.get(length..)?))
}

fn is_memfd(folder: i32, name: &[u8]) -> Option<(i32, Option<i32>)> {
    let number = std::str::from_utf8(name).ok()?.parse().ok()?;
    let name = CString::new(name).ok()?;
    // With room for the number of a pipe and for what Linux puts behind a name.
    let mut link = [0u8; LINK.len() + 32];
    let args = [raw::word(folder), name.as_ptr() as usize, link.as_mut_ptr() as usize, link.len()];
    let got = raw::checked(raw::call(libc::SYS_readlinkat, args)).ok()?;
    let rest = link.get(..got)?.strip_prefix(LINK)?.strip_suffix(b" (deleted)")?;
    match rest.split_first() {
        None => Some((number, None)),
        Some((b':', pipe)) => Some((number, Some(std::str::from_utf8(pipe).ok()?.parse().ok()?))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_understood() {
        let text = "rumphijack 1\nurl unix:///tmp/s\nasked unix://s\nsocket 900 1\ntemplate 901\nsummary 902\ncwd 1\ncomm 7368\nimage 2fff\nfd 0 3\nfd 7 4\nset 8 5\n";
        let found = Inherited::parse(text).unwrap();
        assert_eq!((found.url.as_deref(), found.asked.as_str()), (Some("unix:///tmp/s"), "unix://s"));
        assert_eq!((found.socket, found.template, found.cwd_in_rump), (Some((900, true)), Some(901), true));
        assert_eq!(found.files(), [None, Some(902)]);
        assert_eq!(found.fds, [(0, RumpFd(3)), (7, RumpFd(4))]);
        assert_eq!(found.sets, [(8, RumpFd(5))]);
        assert_eq!((found.comm.as_deref(), found.image.as_deref()), (Some(&b"sh"[..]), Some(&b"/\xff"[..])));
    }

    #[test]
    fn another_text_is_refused() {
        assert_eq!(Inherited::parse("rumphijack 2\n"), None);
        assert_eq!(Inherited::parse("rumphijack 1\nfd x\n"), None);
        assert_eq!(Inherited::parse("rumphijack 1\nimage 2\n"), None);
        assert_eq!(Inherited::parse(""), None);
    }

    #[test]
    fn the_memfd_is_found_by_its_name() {
        let memfd = host::memfd(NAME).unwrap();
        host::write(memfd.fd(), b"rumphijack 1\ncwd 1\n").unwrap();
        assert_eq!(find_memfd(), Some((memfd.fd().0, None)));
        assert!(Inherited::find().unwrap().cwd_in_rump);
        let _ = memfd.into_fd();
        assert_eq!(find_memfd(), None);
    }

    #[test]
    fn without_names_the_memfd_is_found_by_its_text() {
        let other = host::memfd(c"other").unwrap();
        host::write(other.fd(), b"rumphijack 2\n").unwrap();
        assert!(!begins_as_ours(other.fd().0) && !begins_as_ours(0) && !begins_as_ours(-1));
        let memfd = host::memfd(c"whatever").unwrap();
        host::write(memfd.fd(), b"rumphijack 1\ncwd 1\n").unwrap();
        assert_eq!(find_by_text(), Some(memfd.fd().0));
    }
}
