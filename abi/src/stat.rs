//! stat(2), statvfs(2), getdents(2): what is known about a file, a file system, a directory's entries.

use linux_raw_sys::general as host;

use crate::linux;
use crate::pairs::{pairs, plain};
use crate::time::Timespec;

/// Mask of a mode's file type; types and permission bits are the same on both.
pub const S_IFMT: u32 = 0xf000;
/// Fifo.
pub const S_IFIFO: u32 = 0x1000;
/// Character device.
pub const S_IFCHR: u32 = 0x2000;
/// Directory.
pub const S_IFDIR: u32 = 0x4000;
/// Block device.
pub const S_IFBLK: u32 = 0x6000;
/// Regular file.
pub const S_IFREG: u32 = 0x8000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0xa000;
/// Socket.
pub const S_IFSOCK: u32 = 0xc000;
/// Whiteout; Linux has none.
pub const S_IFWHT: u32 = 0xe000;
/// Set-user-ID.
pub const S_ISUID: u32 = 0x800;
/// Set-group-ID.
pub const S_ISGID: u32 = 0x400;
/// Sticky.
pub const S_ISVTX: u32 = 0x200;
/// The permission bits with set-user-ID, set-group-ID and sticky.
pub const ALLPERMS: u32 = 0o7777;

/// File types of directory entries, the same on both.
pub const DT_UNKNOWN: u8 = 0;
/// Fifo.
pub const DT_FIFO: u8 = 1;
/// Character device.
pub const DT_CHR: u8 = 2;
/// Directory.
pub const DT_DIR: u8 = 4;
/// Block device.
pub const DT_BLK: u8 = 6;
/// Regular file.
pub const DT_REG: u8 = 8;
/// Symbolic link.
pub const DT_LNK: u8 = 10;
/// Socket.
pub const DT_SOCK: u8 = 12;
/// Whiteout.
pub const DT_WHT: u8 = 14;

/// Returns the `DT_` type of a mode.
pub const fn mode_to_dt(mode: u32) -> u8 {
    ((mode & S_IFMT) >> 12) as u8
}

pairs! {
    /// The flags of chflags(2).
    FILE_FLAGS: u32 {
        UF_NODUMP 0x1 => host::STATX_ATTR_NODUMP;
        UF_IMMUTABLE 0x2 -> host::STATX_ATTR_IMMUTABLE;
        UF_APPEND 0x4 -> host::STATX_ATTR_APPEND;
        UF_OPAQUE 0x8;
        SF_ARCHIVED 0x1_0000;
        SF_IMMUTABLE 0x2_0000 => host::STATX_ATTR_IMMUTABLE;
        SF_APPEND 0x4_0000 => host::STATX_ATTR_APPEND;
        SF_SNAPSHOT 0x20_0000;
        SF_LOG 0x40_0000;
        SF_SNAPINVAL 0x80_0000;
    }
}

pairs! {
    /// The names of pathconf(2), whose Linux twins are glibc's.
    PATHCONF: i32 {
        _PC_LINK_MAX 1 => 0;
        _PC_MAX_CANON 2 => 1;
        _PC_MAX_INPUT 3 => 2;
        _PC_NAME_MAX 4 => 3;
        _PC_PATH_MAX 5 => 4;
        _PC_PIPE_BUF 6 => 5;
        _PC_CHOWN_RESTRICTED 7 => 6;
        _PC_NO_TRUNC 8 => 7;
        _PC_VDISABLE 9 => 8;
        _PC_SYNC_IO 10 => 9;
        _PC_FILESIZEBITS 11 => 13;
        _PC_SYMLINK_MAX 12 => 19;
        _PC_2_SYMLINKS 13 => 20;
        _PC_ACL_EXTENDED 14;
        _PC_MIN_HOLE_SIZE 15;
    }
}

/// Returns the major number of a device.
pub const fn major(dev: u64) -> u32 {
    (dev >> 8 & 0xfff) as u32
}

/// Returns the minor number of a device.
pub const fn minor(dev: u64) -> u32 {
    (dev & 0xff | dev >> 12 & 0xf_ff00) as u32
}

/// Makes a device number; Linux's kernel encodes the low 32 bits alike.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    (major as u64 & 0xfff) << 8 | minor as u64 & 0xff | (minor as u64 & 0xf_ff00) << 12
}

plain! {
    /// What is known about a file (struct stat).
    pub struct Stat {
        pub st_dev: u64,
        pub st_mode: u32,
        pub pad0: u32,
        pub st_ino: u64,
        pub st_nlink: u32,
        pub st_uid: u32,
        pub st_gid: u32,
        pub pad1: u32,
        pub st_rdev: u64,
        pub st_atim: Timespec,
        pub st_mtim: Timespec,
        pub st_ctim: Timespec,
        pub st_birthtim: Timespec,
        pub st_size: i64,
        pub st_blocks: i64,
        pub st_blksize: i32,
        pub st_flags: u32,
        pub st_gen: u32,
        pub st_spare: [u32; 2],
        pub pad2: u32,
    }

    /// What is known about a file system (struct statvfs).
    pub struct Statvfs {
        pub f_flag: u64,
        pub f_bsize: u64,
        pub f_frsize: u64,
        pub f_iosize: u64,
        pub f_blocks: u64,
        pub f_bfree: u64,
        pub f_bavail: u64,
        pub f_bresvd: u64,
        pub f_files: u64,
        pub f_ffree: u64,
        pub f_favail: u64,
        pub f_fresvd: u64,
        pub f_syncreads: u64,
        pub f_syncwrites: u64,
        pub f_asyncreads: u64,
        pub f_asyncwrites: u64,
        pub f_fsidx: [i32; 2],
        pub f_fsid: u64,
        pub f_namemax: u64,
        pub f_owner: u32,
        pub f_spare: [u32; 4],
        pub f_fstypename: [u8; 32],
        pub f_mntonname: [u8; 1024],
        pub f_mntfromname: [u8; 1024],
        pub pad0: u32,
    }
}

impl Stat {
    /// Makes Linux's structure.
    pub fn to_linux(&self) -> linux::Stat {
        linux::Stat {
            st_dev: self.st_dev,
            st_ino: self.st_ino,
            st_nlink: u64::from(self.st_nlink),
            st_mode: self.st_mode,
            st_uid: self.st_uid,
            st_gid: self.st_gid,
            st_rdev: self.device_to_linux(),
            st_size: self.st_size,
            st_blksize: i64::from(self.st_blksize),
            st_blocks: self.st_blocks,
            st_atim: self.st_atim,
            st_mtim: self.st_mtim,
            st_ctim: self.st_ctim,
            ..Default::default()
        }
    }

    /// Linux's number of the device that it is.
    fn device_to_linux(&self) -> u64 {
        if self.st_mode & S_IFMT == S_IFCHR { crate::device::to_linux(self.st_rdev) } else { self.st_rdev }
    }

    /// Translates Linux's structure, which knows no birth time and no flags.
    pub fn from_linux(linux: &linux::Stat) -> Self {
        Self {
            st_dev: linux.st_dev,
            st_mode: linux.st_mode,
            st_ino: linux.st_ino,
            st_nlink: u32::try_from(linux.st_nlink).unwrap_or(u32::MAX),
            st_uid: linux.st_uid,
            st_gid: linux.st_gid,
            st_rdev: match linux.st_mode & S_IFMT {
                S_IFCHR => crate::device::from_linux(linux.st_rdev),
                _ => linux.st_rdev,
            },
            st_atim: linux.st_atim,
            st_mtim: linux.st_mtim,
            st_ctim: linux.st_ctim,
            st_size: linux.st_size,
            st_blocks: linux.st_blocks,
            st_blksize: i32::try_from(linux.st_blksize).unwrap_or(i32::MAX),
            ..Default::default()
        }
    }

    /// Makes Linux's statx; the birth time is said to be known when it is not zero.
    pub fn to_statx(&self) -> linux::Statx {
        let born = self.st_birthtim != Timespec::default();
        linux::Statx {
            stx_mask: host::STATX_BASIC_STATS | if born { host::STATX_BTIME } else { 0 },
            stx_blksize: self.st_blksize as u32,
            stx_attributes: FILE_FLAGS.flags_to_linux(self.st_flags as i32) as u64,
            stx_attributes_mask: FILE_FLAGS.flags_to_linux(-1) as u64,
            stx_nlink: self.st_nlink,
            stx_uid: self.st_uid,
            stx_gid: self.st_gid,
            stx_mode: self.st_mode as u16,
            stx_ino: self.st_ino,
            stx_size: self.st_size as u64,
            stx_blocks: self.st_blocks as u64,
            stx_atime: statx_time(self.st_atim),
            stx_btime: statx_time(self.st_birthtim),
            stx_ctime: statx_time(self.st_ctim),
            stx_mtime: statx_time(self.st_mtim),
            stx_rdev_major: major(self.device_to_linux()),
            stx_rdev_minor: minor(self.device_to_linux()),
            stx_dev_major: major(self.st_dev),
            stx_dev_minor: minor(self.st_dev),
            ..Default::default()
        }
    }
}

fn statx_time(time: Timespec) -> linux::StatxTimestamp {
    linux::StatxTimestamp { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec as u32, reserved: 0 }
}

/// Linux's magic number of a file system type, by NetBSD's type name.
const MAGIC: &[(&[u8], i64)] = &[
    (b"tmpfs", 0x0102_1994),
    (b"rumpfs", 0x0102_1994),
    (b"ffs", 0x0001_1954),
    (b"ext2fs", 0xef53),
    (b"msdos", 0x4d44),
    (b"cd9660", 0x9660),
    (b"procfs", 0x9fa0),
    (b"nfs", 0x6969),
    (b"ptyfs", 0x1cd1),
];

/// Magic number of a file system type that Linux does not know: "RUMP".
const OTHER_MAGIC: i64 = 0x5255_4d50;

impl Statvfs {
    /// The name of the file system's type, up to its NUL.
    pub fn fstypename(&self) -> &[u8] {
        until_nul(&self.f_fstypename)
    }

    /// The mount point, up to its NUL.
    pub fn mntonname(&self) -> &[u8] {
        until_nul(&self.f_mntonname)
    }

    /// What is mounted, up to its NUL.
    pub fn mntfromname(&self) -> &[u8] {
        until_nul(&self.f_mntfromname)
    }

    /// Makes Linux's statfs.
    pub fn to_linux(&self) -> linux::Statfs {
        let magic = MAGIC.iter().find(|(name, _)| *name == self.fstypename());
        linux::Statfs {
            f_type: magic.map_or(OTHER_MAGIC, |(_, magic)| *magic),
            f_bsize: self.f_bsize as i64,
            f_blocks: self.f_blocks,
            f_bfree: self.f_bfree,
            f_bavail: self.f_bavail,
            f_files: self.f_files,
            f_ffree: self.f_ffree,
            f_fsid: self.f_fsidx,
            f_namelen: self.f_namemax as i64,
            f_frsize: self.f_frsize as i64,
            f_flags: crate::mount::st_flags_to_linux(self.f_flag) as i64,
            ..Default::default()
        }
    }
}

/// Stores `text` in a C character array: cut to leave a NUL, the rest zeroed.
pub fn store_cstr(array: &mut [u8], text: &[u8]) {
    array.fill(0);
    let room = array.len().saturating_sub(1);
    for (to, from) in array.iter_mut().zip(text.iter().take(room)) {
        *to = *from;
    }
}

/// Returns the bytes of a C character array before its NUL.
pub fn until_nul(array: &[u8]) -> &[u8] {
    array.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// Inode number.
    pub fileno: u64,
    /// `DT_` type.
    pub kind: u8,
    /// The name, without NUL.
    pub name: &'a [u8],
}

/// Offset of the name in NetBSD's record.
const NAME_AT: usize = 13;
/// Offset of the name in Linux's record.
const LINUX_NAME_AT: usize = 19;

impl<'a> Dirent<'a> {
    /// Returns the length of NetBSD's record for a name of `name_len` bytes.
    pub const fn reclen(name_len: usize) -> usize {
        (NAME_AT + name_len + 1).next_multiple_of(8)
    }

    /// Returns the length of Linux's record for a name of `name_len` bytes.
    pub const fn linux_reclen(name_len: usize) -> usize {
        (LINUX_NAME_AT + name_len + 1).next_multiple_of(8)
    }

    /// Appends NetBSD's record, or returns false when that would make `out` longer than `limit`.
    pub fn write(&self, out: &mut Vec<u8>, limit: usize) -> bool {
        let start = out.len();
        let length = Self::reclen(self.name.len());
        let Some(end) = start.checked_add(length).filter(|end| *end <= limit) else { return false };
        out.extend_from_slice(&self.fileno.to_le_bytes());
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(self.name);
        out.resize(end, 0);
        true
    }

    /// Appends a `linux_dirent64` whose `d_off` is `offset`, or returns false when that would make `out` longer than `limit`.
    pub fn write_linux(&self, out: &mut Vec<u8>, offset: i64, limit: usize) -> bool {
        let start = out.len();
        let length = Self::linux_reclen(self.name.len());
        let Some(end) = start.checked_add(length).filter(|end| *end <= limit) else { return false };
        out.extend_from_slice(&self.fileno.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(self.name);
        out.resize(end, 0);
        true
    }

    /// Reads NetBSD's record at the start of `bytes` and returns it with its length; `None` when it is cut or wrong.
    pub fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let fileno = u64::from_le_bytes(*bytes.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?));
        let name_len = usize::from(u16::from_le_bytes(*bytes.get(10..)?.first_chunk()?));
        let kind = *bytes.get(12)?;
        let record = bytes.get(..length)?;
        let name = record.get(NAME_AT..NAME_AT + name_len)?;
        Some((Self { fileno, kind, name }, length))
    }
}

/// The entries in what getdents(2) stored; ends at the first record that is cut or wrong.
#[derive(Clone, Debug)]
pub struct Dirents<'a> {
    rest: &'a [u8],
}

impl<'a> Dirents<'a> {
    /// Walks `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Dirents<'a> {
    type Item = Dirent<'a>;

    fn next(&mut self) -> Option<Dirent<'a>> {
        let (entry, length) = Dirent::parse(self.rest)?;
        self.rest = self.rest.get(length..).unwrap_or_default();
        Some(entry)
    }
}
