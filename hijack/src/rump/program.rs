//! Programs that lie in the rump kernel: the host runs a copy, or the interpreter that a script names.

use std::ffi::CString;

use abi::fcntl::{O_CLOEXEC, O_RDONLY};
use abi::mount::{MNT_NOEXEC, MNT_NOWAIT};
use abi::stat::{S_IFMT, S_IFREG, Stat, Statvfs};
use abi::{Errno, Out, Result, UserStr};
use client::stubs;
use sysproxy::host::{self, Owned};

use super::{kernel, name};
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::{trace, user};

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Longest first line of a script that is looked at.
const LINE: usize = 256;

/// Most arguments of a script.
const ARGS: usize = 1 << 20;

/// What is to be run.
pub enum Program {
    /// A copy in the host's memory, and the path of the file, if it has one.
    Binary(Owned, Option<Vec<u8>>),
    /// A script.
    Script(Script),
}

/// A script's interpreter and the arguments for it.
pub struct Script {
    strings: Vec<CString>,
    /// Pointers to `strings`, then the program's own from its first argument on, then null.
    argv: Vec<usize>,
}

impl Script {
    /// Address of the interpreter's path.
    pub fn interpreter(&self) -> usize {
        self.strings.first().map_or(0, |path| path.as_ptr() as usize)
    }

    /// Address of the arguments.
    pub fn argv(&self) -> usize {
        self.argv.as_ptr() as usize
    }

    /// Understands `#!INTERPRETER [ARGUMENT]`, the first line of the script `path` that was called with `argv`.
    fn new(line: &[u8], path: usize, argv: usize) -> Result<Self> {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let (interpreter, argument) = match line.iter().position(u8::is_ascii_whitespace) {
            Some(at) => (line.get(..at), line.get(at..).map(<[u8]>::trim_ascii)),
            None => (Some(line), None),
        };
        let interpreter = interpreter.filter(|name| !name.is_empty()).ok_or(Errno::ENOEXEC)?;
        let path = user::read_path(path)?;
        let words = [Some(interpreter), argument, Some(path.to_bytes())];
        let strings: Vec<CString> = words.into_iter().flatten().flat_map(CString::new).collect();
        let mut pointers: Vec<usize> = strings.iter().map(|string| string.as_ptr() as usize).collect();
        for at in 1..ARGS {
            match user::read::<usize>(argv.wrapping_add(at * size_of::<usize>()))? {
                0 => break,
                pointer => pointers.push(pointer),
            }
        }
        pointers.push(0);
        Ok(Self { strings, argv: pointers })
    }
}

impl Program {
    /// Reads the program at a rump path that the program calls `path`.
    ///
    /// `EACCES` if it is no file with a bit for execution, or mounted with `noexec`, `ENOEXEC` if it is neither binary nor script.
    pub fn load(at: &RumpAt<'_>, path: usize, argv: usize) -> Result<Self> {
        let fd = stubs::openat(kernel()?, at.dir, UserStr::new(at.path), O_RDONLY | O_CLOEXEC, 0)?;
        let program = Self::load_open(RumpFd(fd.0), path, argv);
        let _ = stubs::close(kernel()?, fd);
        program
    }

    /// As [`Program::load`], of an open file.
    pub fn load_open(rump: RumpFd, path: usize, argv: usize) -> Result<Self> {
        let mut status = Stat::default();
        stubs::fstat(kernel()?, rump.fd(), Out::new(&mut status))?;
        if status.st_mode & S_IFMT != S_IFREG || status.st_mode & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        let mut mounted = Statvfs::default();
        stubs::fstatvfs1(kernel()?, rump.fd(), Out::new(&mut mounted), MNT_NOWAIT)?;
        if mounted.f_flag & MNT_NOEXEC as u64 != 0 {
            return Err(Errno::EACCES);
        }
        let mut bytes = vec![0u8; PIECE];
        let got = read(rump, &mut bytes, 0)?;
        let begin = bytes.get(..got).unwrap_or_default();
        if let Some(line) = begin.strip_prefix(b"#!") {
            return Script::new(line.get(..LINE).unwrap_or(line), path, argv).map(Program::Script);
        }
        if !begin.starts_with(b"\x7fELF") {
            return Err(Errno::ENOEXEC);
        }
        let path = name::descriptor(rump).ok().filter(|path| path.first() == Some(&b'/'));
        copy(rump, bytes, got).map(|copy| Program::Binary(copy, path))
    }
}

fn read(rump: RumpFd, bytes: &mut [u8], offset: usize) -> Result<usize> {
    let len = bytes.len();
    stubs::pread(kernel()?, rump.fd(), Out::new(bytes), len, abi::Pad, offset as i64)
}

/// Copies a file, of which `got` bytes are in `bytes`, to a memfd that the new image does not see.
///
/// `EFBIG` if it is longer than the program may write files (RLIMIT_FSIZE).
fn copy(rump: RumpFd, mut bytes: Vec<u8>, mut got: usize) -> Result<Owned> {
    let copy = host::memfd(c"rump-program").map_err(host::errno)?;
    let limit = host::file_limit();
    let mut offset = 0;
    while got > 0 {
        if (offset + got) as u64 > limit {
            trace::say(format_args!("exec: a copy of the program would be longer than RLIMIT_FSIZE allows: {limit}"));
            return Err(Errno::EFBIG);
        }
        let mut rest = bytes.get(..got).unwrap_or_default();
        while !rest.is_empty() {
            let wrote = host::write(copy.fd(), rest).map_err(host::errno)?;
            rest = rest.get(wrote..).unwrap_or_default();
        }
        offset += got;
        got = read(rump, &mut bytes, offset)?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_its_interpreter() {
        let (path, first, second) = (c"/rump/x.sh", c"x.sh", c"one");
        let argv = [first.as_ptr(), second.as_ptr(), std::ptr::null()];
        let script = Script::new(b" /bin/sh  -e -u \nexit", path.as_ptr() as usize, argv.as_ptr() as usize).unwrap();
        let words: Vec<_> = script.strings.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words, ["/bin/sh", "-e -u", "/rump/x.sh"]);
        assert_eq!(script.argv[3..], [second.as_ptr() as usize, 0]);
        assert!(Script::new(b" \n", path.as_ptr() as usize, argv.as_ptr() as usize).is_err());
    }
}
