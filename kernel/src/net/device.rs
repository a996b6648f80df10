//! `SO_BINDTODEVICE`: sockets that speak through one interface only (socket(7)).

use abi::{Errno, Result};

use super::stack::Base;

/// Longest name of an interface, with its NUL.
const IFNAMSIZ: usize = 16;

/// Finds the interface that an option's value names: its number, `None` for an empty name. `ENODEV` if there is none.
pub fn by_name(base: &Base, value: &[u8]) -> Result<Option<u32>> {
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    // A program that knows Linux only calls the first loopback so.
    let name = if name == b"lo" && base.link_by_name(name).is_none() { b"lo0" } else { name };
    base.link_by_name(name).map(|at| Some(base.links[at].index)).ok_or(Errno::ENODEV)
}

/// Returns the name of an interface with its NUL, empty for none; `EINVAL` if there is less room than for the longest.
pub fn name(base: &Base, device: Option<u32>, room: usize) -> Result<Vec<u8>> {
    let Some(index) = device else { return Ok(Vec::new()) };
    if room < IFNAMSIZ {
        return Err(Errno::EINVAL);
    }
    let at = base.link_by_index(index).ok_or(Errno::ENODEV)?;
    Ok([base.links[at].name.as_bytes(), &[0]].concat())
}
