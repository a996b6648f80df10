//! What can be said about a program file before it runs: will the dynamic loader put the library in front of libc?
//!
//! Nothing here calls libc, whose functions are the library's own hooks: rustix talks to the host kernel by itself.

use core::fmt;
use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

/// How many interpreters of interpreters there may be, as on Linux.
const INTERPRETERS: usize = 5;

/// Longest first line of a script that the host looks at.
const LINE: usize = 255;

/// Longest name of an interpreter.
const PATH: usize = 4096;

/// Why a program runs on the host alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No dynamic loader takes part.
    Static = 1,
    /// Its user or group would change, so the loader ignores LD_PRELOAD.
    SetId = 2,
    /// It would gain capabilities, so the loader ignores LD_PRELOAD.
    Capabilities = 3,
    /// It is for another processor, or for 32 bits.
    Machine = 4,
    /// Its loader is another C library's.
    Loader = 5,
    /// The environment that it is given has lost LD_PRELOAD.
    Scrubbed = 6,
    /// Go's run-time system makes the system calls of the program, not libc.
    Go = 7,
    /// It has become another user, or sees another root directory, and cannot open the library.
    Unreachable = 8,
}

impl Reason {
    const ALL: [Reason; 8] = [
        Reason::Static,
        Reason::SetId,
        Reason::Capabilities,
        Reason::Machine,
        Reason::Loader,
        Reason::Scrubbed,
        Reason::Go,
        Reason::Unreachable,
    ];

    /// The words for a reason by its number.
    pub fn text(number: u32) -> &'static str {
        match Self::ALL.into_iter().find(|reason| *reason as u32 == number) {
            Some(Reason::Static) => "statically linked, the library is not loaded",
            Some(Reason::SetId) => "set-user-ID or set-group-ID, the loader ignores LD_PRELOAD",
            Some(Reason::Capabilities) => "has file capabilities, the loader ignores LD_PRELOAD",
            Some(Reason::Machine) => "for another processor",
            Some(Reason::Loader) => "linked with another C library than glibc",
            Some(Reason::Scrubbed) => "its environment has no LD_PRELOAD (RUMPHIJACK_STICKY=1 puts it back)",
            Some(Reason::Go) => "made with Go, whose programs make their system calls without libc",
            Some(Reason::Unreachable) => "it cannot open the library's file as this user, or below this root directory",
            None => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::text(*self as u32))
    }
}

/// A program file that the host would run.
#[derive(Debug)]
pub struct Image {
    /// The interpreters that scripts name, from the outermost on.
    pub interpreters: Vec<CString>,
    /// Why the library cannot be in it; `None` if it can.
    pub unhijackable: Option<Reason>,
    /// The file that is run in the end.
    file: OwnedFd,
    header: Option<Header>,
}

impl Image {
    /// Looks at the program at `path`.
    ///
    /// `EACCES` if it is no file that may be executed, `ENOEXEC` if it is neither binary nor script, `ELOOP` for too many
    /// interpreters.
    pub fn inspect(path: &CStr) -> Result<Image> {
        let mut interpreters: Vec<CString> = Vec::new();
        loop {
            let path = interpreters.last().map_or(path, CString::as_c_str);
            let file = executable(path)?;
            let mut begin = [0; LINE];
            let got = rustix::io::pread(&file, &mut begin, 0)?;
            let begin = begin.get(..got).unwrap_or_default();
            if let Some(line) = begin.strip_prefix(b"#!") {
                let next = interpreter(line).ok_or(Errno::NOEXEC)?;
                interpreters.push(next);
                if interpreters.len() > INTERPRETERS {
                    return Err(Errno::LOOP);
                }
                continue;
            }
            let (reason, header) = match Header::read(begin) {
                None => return Err(Errno::NOEXEC),
                Some(Err(reason)) => (Some(reason), None),
                Some(Ok(header)) => {
                    (privileged(&file, path).or_else(|| header.unhijackable(&file, path)), Some(header))
                }
            };
            return Ok(Image { interpreters, unhijackable: reason, file, header });
        }
    }

    /// Counts the `syscall` instructions in the program's own text: calls that pass no function of libc.
    ///
    /// The bytes are counted wherever they stand, so that the true number may be a little lower.
    pub fn system_calls(&self) -> usize {
        let Some(header) = &self.header else { return 0 };
        let segments = header.segments(&self.file);
        segments
            .iter()
            .filter(|segment| segment.kind == PT_LOAD && segment.flags & PF_X != 0)
            .map(|s| self.count(s))
            .sum()
    }

    fn count(&self, segment: &Segment) -> usize {
        let mut found = 0;
        let mut piece = vec![0; 1 << 16];
        let (mut at, end) = (segment.offset, segment.offset.saturating_add(segment.size));
        while at + 1 < end {
            let most = piece.len().min((end - at) as usize);
            let Some(room) = piece.get_mut(..most) else { break };
            let Ok(got @ 2..) = rustix::io::pread(&self.file, &mut *room, at) else { break };
            let bytes = room.get(..got).unwrap_or_default();
            found += bytes.windows(2).filter(|pair| *pair == [0x0f, 0x05]).count();
            // The last byte may be the first of a pair.
            at += got as u64 - 1;
        }
        found
    }
}

/// Opens a file that may be executed.
fn executable(path: &CStr) -> Result<OwnedFd> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::ACCESS),
    }
}

/// Reads the first word of a script's first line.
fn interpreter(line: &[u8]) -> Option<CString> {
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let name = line.split(u8::is_ascii_whitespace).next()?;
    CString::new(name).ok().filter(|name| !name.is_empty())
}

/// Why the host would treat the program as a privileged one, if it would.
fn privileged(file: &OwnedFd, path: &CStr) -> Option<Reason> {
    let status = rustix::fs::fstat(file).ok()?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mode = Mode::from_raw_mode(status.st_mode);
    let set_user = mode.contains(Mode::SUID) && status.st_uid != user;
    let set_group = mode.contains(Mode::SGID | Mode::XGRP) && status.st_gid != group;
    if set_user || set_group {
        return Some(Reason::SetId);
    }
    // Root has all of them already.
    let gains =
        user != 0 && rustix::fs::getxattr(path, c"security.capability", &mut [0u8; 64]).is_ok_and(|got| got > 0);
    gains.then_some(Reason::Capabilities)
}

const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;

/// What the header of an ELF file says about its segments.
#[derive(Debug)]
struct Header {
    offset: u64,
    size: u16,
    count: u16,
}

#[derive(Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

impl Header {
    /// Reads the header of a program of this processor; `None` for no ELF file.
    fn read(begin: &[u8]) -> Option<core::result::Result<Header, Reason>> {
        begin.strip_prefix(b"\x7fELF")?;
        if begin.get(4..6) != Some(&[2, 1]) || half(begin, 18)? != EM_X86_64 {
            return Some(Err(Reason::Machine));
        }
        Some(Ok(Header { offset: long(begin, 32)?, size: half(begin, 54)?, count: half(begin, 56)? }))
    }

    fn segments(&self, file: impl AsFd) -> Vec<Segment> {
        let mut table = vec![0; usize::from(self.size) * usize::from(self.count)];
        let got = rustix::io::pread(file, &mut table, self.offset).unwrap_or(0);
        let entries = table.get(..got).unwrap_or_default().chunks_exact(usize::from(self.size).max(1));
        let read = |entry: &[u8]| {
            Some(Segment {
                kind: word(entry, 0)?,
                flags: word(entry, 4)?,
                offset: long(entry, 8)?,
                size: long(entry, 32)?,
            })
        };
        entries.filter_map(read).collect()
    }

    /// Why this file would not load the library, apart from its privileges.
    fn unhijackable(&self, file: &OwnedFd, path: &CStr) -> Option<Reason> {
        let base = |name: &[u8]| name.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_owned();
        let glibc = |name: &[u8]| base(name).starts_with(b"ld-linux-x86-64.so");
        let segments = self.segments(file);
        let Some(segment) = segments.iter().find(|segment| segment.kind == PT_INTERP) else {
            // The loader itself may be called with a program's name.
            return match base(path.to_bytes()) {
                name if glibc(&name) => None,
                name if name.starts_with(b"ld-musl-") => Some(Reason::Loader),
                _ => Some(Reason::Static),
            };
        };
        let mut name = vec![0; (segment.size as usize).min(PATH)];
        let got = rustix::io::pread(file, &mut name, segment.offset).unwrap_or(0);
        let name = name.get(..got).and_then(|name| CStr::from_bytes_until_nul(name).ok());
        if !name.is_some_and(|name| glibc(name.to_bytes())) {
            return Some(Reason::Loader);
        }
        let notes = segments.iter().filter(|segment| segment.kind == PT_NOTE);
        notes.into_iter().any(|segment| is_go(file, segment)).then_some(Reason::Go)
    }
}

/// Whether a segment of notes begins with Go's.
fn is_go(file: &OwnedFd, segment: &Segment) -> bool {
    let mut note = [0; 16];
    let got = rustix::io::pread(file, &mut note, segment.offset).unwrap_or(0);
    // The length of the name, of the content, the type, the name.
    got == note.len() && note.starts_with(&[4, 0, 0, 0]) && note.ends_with(b"Go\0\0")
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn half(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn word(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn long(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    fn inspect(path: &std::path::Path) -> Result<Image> {
        Image::inspect(&CString::new(path.as_os_str().as_bytes()).unwrap())
    }

    fn file(folder: &std::path::Path, name: &str, content: &[u8], mode: u32) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A header and one segment.
    fn elf(kind: u32, machine: u16, text: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 120];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file[68] = PF_X as u8;
        file[72] = 120;
        file[96..104].copy_from_slice(&(text.len() as u64).to_le_bytes());
        [file.as_slice(), text].concat()
    }

    #[test]
    fn a_program_is_dynamic_static_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let reason = |name, content: &[u8]| inspect(&file(folder, name, content, 0o755)).unwrap().unhijackable;
        assert_eq!(reason("dynamic", &elf(PT_INTERP, EM_X86_64, b"/lib64/ld-linux-x86-64.so.2\0")), None);
        assert_eq!(reason("static", &elf(PT_LOAD, EM_X86_64, b"")), Some(Reason::Static));
        assert_eq!(reason("musl", &elf(PT_INTERP, EM_X86_64, b"/lib/ld-musl-x86_64.so.1\0")), Some(Reason::Loader));
        assert_eq!(reason("arm", &elf(PT_LOAD, 183, b"")), Some(Reason::Machine));
        assert_eq!(inspect(&file(folder, "text", b"hello", 0o755)).unwrap_err(), Errno::NOEXEC);
        assert_eq!(inspect(&folder.join("none")).unwrap_err(), Errno::NOENT);
        assert_eq!(inspect(folder).unwrap_err(), Errno::ACCESS);
    }

    #[test]
    fn a_script_is_what_its_interpreter_is() {
        let folder = tempfile::tempdir().unwrap();
        let program = file(folder.path(), "static", &elf(PT_LOAD, EM_X86_64, b""), 0o755);
        let script = file(folder.path(), "script", format!("#! {} -e\n", program.display()).as_bytes(), 0o755);
        let image = inspect(&script).unwrap();
        assert_eq!(image.interpreters, [CString::new(program.as_os_str().as_bytes()).unwrap()]);
        assert_eq!(image.unhijackable, Some(Reason::Static));
        let endless = folder.path().join("endless");
        file(folder.path(), "endless", format!("#!{}\n", endless.display()).as_bytes(), 0o755);
        assert_eq!(inspect(&endless).unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn its_own_system_calls_are_counted_across_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = vec![0x90; (1 << 16) + 20];
        text[0..2].copy_from_slice(&[0x0f, 0x05]);
        text[65535..65537].copy_from_slice(&[0x0f, 0x05]);
        text[65550..65552].copy_from_slice(&[0x0f, 0x05]);
        let program = file(folder.path(), "go", &elf(PT_LOAD, EM_X86_64, &text), 0o755);
        assert_eq!(inspect(&program).unwrap().system_calls(), 3);
    }
}
