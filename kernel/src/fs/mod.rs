//! File systems: a row in [`TABLE`] and a file each.

use std::sync::Arc;

use abi::{Errno, Result};

use crate::rumpuser::Rumpuser;
use crate::vfs::FileSystem;

pub mod devfs;
pub mod etfs;
pub mod pages;
pub mod tmpfs;

/// Makes a file system of the arguments that mount(2) got for it; none (`&[]`) mean the defaults.
type Make = fn(&Arc<dyn Rumpuser>, &[u8]) -> Result<Arc<dyn FileSystem>>;

/// The file systems by the names that mount(2) takes.
pub const TABLE: &[(&str, Make)] = &[("tmpfs", tmpfs::mount), ("devfs", devfs::mount)];

/// Makes a file system of type `kind`; `ENODEV` for an unknown one.
pub fn mount(kind: &str, host: &Arc<dyn Rumpuser>, data: &[u8]) -> Result<Arc<dyn FileSystem>> {
    let (_, make) = TABLE.iter().find(|(name, _)| *name == kind).ok_or(Errno::ENODEV)?;
    make(host, data)
}
