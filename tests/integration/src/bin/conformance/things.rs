//! What a name can stand for, and who asks.

use super::prelude::*;

/// What a name in the folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Nothing.
    None,
    /// A file of five bytes.
    File,
    /// A directory without entries.
    Empty,
    /// A directory with a file `in`.
    Full,
    /// A symbolic link to a file.
    ToFile,
    /// A symbolic link to a directory with a file `in`.
    ToDir,
    /// A symbolic link to nothing.
    Broken,
    /// A symbolic link to itself.
    Loop,
    /// A fifo.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device that does not exist.
    Char,
    /// A block device that does not exist.
    Block,
}

use Thing::*;

impl Thing {
    const ALL: [Thing; 12] = [None, File, Empty, Full, ToFile, ToDir, Broken, Loop, Fifo, Socket, Char, Block];

    /// All that the file system can have.
    pub fn all() -> impl Iterator<Item = Thing> {
        Self::ALL.into_iter().filter(|thing| match thing {
            ToFile | ToDir | Broken | Loop => Has::Symlinks.here(),
            Fifo | Socket => Has::Specials.here(),
            Char | Block => Has::Devices.here(),
            _ => true,
        })
    }

    /// Makes it, and what it leads to beside it.
    pub fn make(self, name: &str) {
        let (path, target) = (c(name), format!("{name}.to"));
        let base = name.rsplit('/').next().unwrap_or(name);
        unsafe {
            let made = match self {
                None => 0,
                File => write_file(name, b"12345"),
                Empty => mkdir(path.as_ptr(), 0o755),
                Full => mkdir(path.as_ptr(), 0o755) | write_file(&format!("{name}/in"), b"inner"),
                ToFile => write_file(&target, b"12345") | symlink(c(&format!("{base}.to")).as_ptr(), path.as_ptr()),
                ToDir => {
                    Full.make(&target);
                    symlink(c(&format!("{base}.to")).as_ptr(), path.as_ptr())
                }
                Broken => symlink(c(&format!("{base}.to")).as_ptr(), path.as_ptr()),
                Loop => symlink(c(base).as_ptr(), path.as_ptr()),
                Fifo => mkfifo(path.as_ptr(), 0o644),
                Socket => mknod(path.as_ptr(), S_IFSOCK | 0o644, 0),
                Char => mknod(path.as_ptr(), S_IFCHR | 0o644, makedev(240, 77)),
                Block => mknod(path.as_ptr(), S_IFBLK | 0o644, makedev(240, 77)),
            };
            assert_eq!(made, 0, "{self:?} {name}: {}", super::error());
        }
    }

    /// Makes it anew, whatever there was.
    pub fn renew(self, name: &str) {
        wipe_name(name);
        wipe_name(&format!("{name}.to"));
        self.make(name);
    }

    /// What it looks like, and what it leads to or has in it.
    pub fn look(self, name: &str) -> String {
        let own = look(&c(name));
        match self {
            Full | Empty => format!("{own} in {}", look(&c(&format!("{name}/in")))),
            ToFile | Broken => format!("{own} to {}", look(&c(&format!("{name}.to")))),
            ToDir => format!("{own} to {}", look(&c(&format!("{name}.to/in")))),
            _ => own,
        }
    }
}

/// Makes a file with a content; 0.
pub fn write_file(name: &str, content: &[u8]) -> c_int {
    unsafe {
        let fd = open(c(name).as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
        assert!(fd >= 0, "{name}: {}", super::error());
        assert_eq!(write(fd, content.as_ptr().cast(), content.len()), content.len() as isize);
        close(fd)
    }
}

/// The content of a file.
pub fn read_file(name: &str) -> String {
    unsafe {
        let fd = open(c(name).as_ptr(), O_RDONLY);
        if fd < 0 {
            return super::error();
        }
        let mut bytes = [0u8; 256];
        let n = read(fd, bytes.as_mut_ptr().cast(), bytes.len());
        close(fd);
        if n < 0 { super::error() } else { String::from_utf8_lossy(&bytes[..n as usize]).into_owned() }
    }
}

/// Removes a name and all below it.
pub fn wipe_name(name: &str) {
    let path = c(name);
    unsafe {
        if unlink(path.as_ptr()) < 0 && rmdir(path.as_ptr()) < 0 && *__errno_location() == ENOTEMPTY {
            wipe(name);
            assert_eq!(rmdir(path.as_ptr()), 0, "{name}: {}", super::error());
        }
    }
}

/// Removes all that is in a directory.
pub fn wipe(name: &str) {
    unsafe {
        let dir = opendir(c(name).as_ptr());
        assert!(!dir.is_null(), "{name}: {}", super::error());
        let mut names = Vec::new();
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            let entry = CStr::from_ptr((*entry).d_name.as_ptr());
            if entry != c"." && entry != c".." {
                names.push(entry.to_owned());
            }
        }
        let fd = dirfd(dir);
        for entry in names {
            if unlinkat(fd, entry.as_ptr(), 0) < 0 && unlinkat(fd, entry.as_ptr(), AT_REMOVEDIR) < 0 {
                // Here, since a path may have become too long.
                fchmodat(fd, entry.as_ptr(), 0o700, 0);
                let below = openat(fd, entry.as_ptr(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
                let back = open(c".".as_ptr(), O_RDONLY | O_DIRECTORY);
                assert_eq!(fchdir(below), 0, "{}", super::error());
                wipe(".");
                assert_eq!(fchdir(back), 0, "{}", super::error());
                close(below);
                close(back);
                assert_eq!(unlinkat(fd, entry.as_ptr(), AT_REMOVEDIR), 0, "{entry:?}: {}", super::error());
            }
        }
        closedir(dir);
    }
}

/// A user and group that own nothing by themselves.
pub const USER: u32 = 61001;
/// Another user.
pub const OTHER: u32 = 61002;
/// A supplementary group of [`USER`].
pub const GROUP: u32 = 61003;

/// Does something as [`USER`].
pub fn as_user<R>(body: impl FnOnce() -> R) -> R {
    unsafe {
        assert_eq!(setgroups(1, &GROUP), 0, "{}", super::error());
        assert_eq!(setegid(USER), 0, "{}", super::error());
        assert_eq!(seteuid(USER), 0, "{}", super::error());
        let answer = body();
        assert_eq!(seteuid(0), 0, "{}", super::error());
        assert_eq!(setegid(0), 0, "{}", super::error());
        assert_eq!(setgroups(0, null()), 0, "{}", super::error());
        answer
    }
}
