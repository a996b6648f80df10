//! File systems: a row in [`TABLE`] and a file each.

use std::sync::Arc;

use abi::{Errno, Result};

use crate::rumpuser::Rumpuser;
use crate::vfs::{FileSystem, View};
use options::Options;

pub mod cd9660;
pub mod devfs;
pub mod etfs;
pub mod ext2fs;
pub mod hostfs;
pub mod kernfs;
pub mod msdos;
pub mod options;
pub mod pages;
mod pieces;
pub mod procfs;
mod readonly;
mod report;
pub mod squashfs;
pub mod tmpfs;
pub mod volume;

/// What a file system is made of.
pub struct Request<'a> {
    /// The host of the kernel.
    pub host: &'a Arc<dyn Rumpuser>,
    /// Who mounts, and the names that they see; nobody when the root is made.
    pub view: Option<&'a View<'a>>,
    /// What is mounted, in words that the type understands: a path of the rump kernel or of the host, or nothing.
    pub source: &'a [u8],
    /// `MNT_*`.
    pub flags: i32,
    /// What the type itself is told.
    pub options: Options<'a>,
}

impl Request<'_> {
    /// Says on the console, and to who asks for the kernel's messages, what an errno cannot.
    pub fn say(&self, text: &str) {
        let line = format!("{text}\n");
        self.host.console(line.as_bytes());
        if let Some(view) = self.view {
            view.vfs.note(&line);
        }
    }
}

/// Makes a file system; `EINVAL` for an option that it does not know.
type Make = fn(&Request<'_>) -> Result<Arc<dyn FileSystem>>;

/// The file systems by the names that mount(2) takes.
pub const TABLE: &[(&str, Make)] = &[
    ("tmpfs", tmpfs::mount),
    ("devfs", devfs::mount),
    ("hostfs", hostfs::mount),
    ("msdos", msdos::mount),
    ("ext2fs", ext2fs::mount),
    ("cd9660", cd9660::mount),
    ("squashfs", squashfs::mount),
    ("kernfs", kernfs::mount),
    ("procfs", procfs::mount),
];

/// Names of file systems elsewhere, and the names that they have here.
const ALIASES: &[(&str, &str)] = &[
    ("vfat", "msdos"),
    ("ext2", "ext2fs"),
    ("ext3", "ext2fs"),
    ("ext4", "ext2fs"),
    ("iso9660", "cd9660"),
    ("proc", "procfs"),
];

/// Makes a file system of type `kind`; `ENODEV` for an unknown one.
pub fn mount(kind: &str, request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let kind = ALIASES.iter().find(|(alias, _)| *alias == kind).map_or(kind, |(_, name)| name);
    let (_, make) = TABLE.iter().find(|(name, _)| *name == kind).ok_or(Errno::ENODEV)?;
    make(request)
}
