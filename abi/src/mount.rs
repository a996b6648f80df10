//! mount(2), statvfs(2)'s flags and reboot(2).

use crate::pairs::{pairs, plain};

/// Linux's statfs flags (`ST_`).
mod st {
    pub const RDONLY: i32 = 1;
    pub const NOSUID: i32 = 2;
    pub const NODEV: i32 = 4;
    pub const NOEXEC: i32 = 8;
    pub const SYNCHRONOUS: i32 = 16;
    pub const VALID: i32 = 32;
    pub const NOATIME: i32 = 1024;
    pub const RELATIME: i32 = 4096;
}

pairs! {
    /// The flags of mount(2) and of `f_flag`, beside the `ST_` flags that Linux's statfs shows.
    MOUNT_FLAGS: i32 {
        MNT_RDONLY 0x1 => st::RDONLY;
        MNT_SYNCHRONOUS 0x2 => st::SYNCHRONOUS;
        MNT_NOEXEC 0x4 => st::NOEXEC;
        MNT_NOSUID 0x8 => st::NOSUID;
        MNT_NODEV 0x10 => st::NODEV;
        MNT_UNION 0x20;
        MNT_ASYNC 0x40;
        MNT_EXRDONLY 0x80;
        MNT_EXPORTED 0x100;
        MNT_DEFEXPORTED 0x200;
        MNT_EXPORTANON 0x400;
        MNT_EXKERB 0x800;
        MNT_LOCAL 0x1000;
        MNT_QUOTA 0x2000;
        MNT_ROOTFS 0x4000;
        MNT_NOCOREDUMP 0x8000;
        MNT_UPDATE 0x1_0000;
        MNT_RELATIME 0x2_0000 => st::RELATIME;
        MNT_RELOAD 0x4_0000;
        MNT_FORCE 0x8_0000;
        MNT_IGNORE 0x10_0000;
        MNT_GETARGS 0x40_0000;
        MNT_DISCARD 0x80_0000;
        MNT_EXTATTR 0x100_0000;
        MNT_LOG 0x200_0000;
        MNT_NOATIME 0x400_0000 => st::NOATIME;
        MNT_EXNORESPORT 0x800_0000;
        MNT_EXPUBLIC 0x1000_0000;
        MNT_SYMPERM 0x2000_0000;
        MNT_NODEVMTIME 0x4000_0000;
        MNT_SOFTDEP -0x8000_0000;
    }
}

/// unmount(2), an extension: what is in use goes on, and only its names are gone (Linux's flag of the same name).
pub const MNT_DETACH: i32 = 0x20_0000;

/// statvfs1(2): ask the file system.
pub const MNT_WAIT: i32 = 1;
/// statvfs1(2): answer from memory.
pub const MNT_NOWAIT: i32 = 2;
/// statvfs1(2): as `MNT_WAIT`, where that is cheap.
pub const MNT_LAZY: i32 = 3;
/// The same as `MNT_WAIT`, under statvfs(2)'s name.
pub const ST_WAIT: i32 = MNT_WAIT;

/// The flags that describe a mount and show in `f_flag`, as against those that only direct one call of mount(2).
pub const MNT_VISFLAGMASK: i32 = !(MNT_UPDATE | MNT_RELOAD | MNT_FORCE | MNT_DETACH | MNT_GETARGS);

/// Translates `f_flag` to the flags of Linux's statfs.
pub fn st_flags_to_linux(f_flag: u64) -> u64 {
    (MOUNT_FLAGS.flags_to_linux(f_flag as u32 as i32) | st::VALID) as u64
}

/// The longest name of a file system type, with its NUL.
pub const VFS_TYPENAME_LEN: usize = 32;
/// The longest mount point or source, with its NUL.
pub const VFS_MNAME_LEN: usize = 1024;
/// The longest data of mount(2).
pub const VFS_MAXMOUNTDATA: usize = 8192;

plain! {
    /// The data of a tmpfs. `ta_size_max` below 4096 is no limit, `ta_nodes_max` up to 3 the default.
    pub struct TmpfsArgs {
        pub ta_version: i32,
        pub pad0: u32,
        pub ta_nodes_max: u64,
        pub ta_size_max: u64,
        pub ta_root_uid: u32,
        pub ta_root_gid: u32,
        pub ta_root_mode: u32,
        pub pad1: u32,
    }

    /// The data of ffs, ext2fs, sysvbfs and lfs: a rump path to a block device.
    pub struct UfsArgs {
        pub fspec: u64,
    }

    /// The data of msdos; `pad0` is historical.
    pub struct MsdosfsArgs {
        pub fspec: u64,
        pub pad0: [u64; 16],
        pub uid: u32,
        pub gid: u32,
        pub mask: u32,
        pub flags: i32,
        pub version: i32,
        pub dirmask: u32,
        pub gmtoff: i32,
        pub pad1: u32,
    }

    /// The data of cd9660; `pad0` is historical.
    pub struct IsoArgs {
        pub fspec: u64,
        pub pad0: [u64; 16],
        pub flags: i32,
        pub pad1: u32,
    }

    /// The data of a null mount: the directory that is shown; `pad0` is historical.
    pub struct NullArgs {
        pub target: u64,
        pub pad0: [u64; 16],
    }

    /// The data of procfs.
    pub struct ProcfsArgs {
        pub version: i32,
        pub flags: i32,
    }

    /// The data of ptyfs.
    pub struct PtyfsArgs {
        pub version: i32,
        pub gid: u32,
        pub mode: u32,
        pub flags: i32,
    }
}

/// [`IsoArgs`]: names and attributes of Rock Ridge are not looked at.
pub const ISOFSMNT_NORRIP: i32 = 1;
/// [`IsoArgs`]: the names of Joliet are not looked at.
pub const ISOFSMNT_NOJOLIET: i32 = 8;
/// The version in [`TmpfsArgs`].
pub const TMPFS_ARGS_VERSION: i32 = 1;

/// reboot(2): boot again.
pub const RB_AUTOBOOT: i32 = 0;
/// reboot(2): ask for the kernel's name.
pub const RB_ASKNAME: i32 = 1;
/// reboot(2): single user.
pub const RB_SINGLE: i32 = 2;
/// reboot(2): do not sync.
pub const RB_NOSYNC: i32 = 4;
/// reboot(2): halt.
pub const RB_HALT: i32 = 8;
/// reboot(2): dump core.
pub const RB_DUMP: i32 = 0x100;
/// reboot(2): the second argument is a string.
pub const RB_STRING: i32 = 0x400;
/// reboot(2): power off.
pub const RB_POWERDOWN: i32 = 0x808;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statfs_flags_have_other_numbers() {
        let flags = MNT_RDONLY | MNT_NOSUID | MNT_SYNCHRONOUS | MNT_LOCAL;
        assert_eq!(st_flags_to_linux(flags as u64), 1 | 2 | 16 | 32);
        assert_eq!(st_flags_to_linux(u64::from(MNT_SOFTDEP as u32)), 32);
    }
}
