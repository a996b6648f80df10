//! The system as a whole: sysctl and reboot.

use abi::sysctl::CTL_MAXNAME;
use abi::{Errno, In, InOut, Out, Result, UserStr};

use super::time::privileged;
use crate::Cx;
use crate::sysctl::{self, Request};

/// Bytes of a new value at most.
const NEW_MAX: usize = 64 * 1024;

/// sysctl(2); the length is stored even when the call fails.
pub fn sysctl(cx: &Cx<'_>, name: In, namelen: u32, oldv: Out, oldlenp: InOut, newv: In, newlen: usize) -> Result<()> {
    if !(1..=CTL_MAXNAME).contains(&(namelen as usize)) {
        return Err(Errno::EINVAL);
    }
    let name: Vec<i32> = cx.mem.read_array(name.addr, namelen as usize)?;
    let room: Option<u64> = if oldlenp.is_null() { None } else { Some(cx.mem.read_inout(oldlenp)?) };
    let room = if oldv.is_null() { None } else { room };
    let new = match newv.is_null() {
        true => None,
        false if newlen > NEW_MAX => return Err(Errno::EINVAL),
        false => Some(cx.mem.read_bytes(newv.addr, newlen)?),
    };
    let privileged = cx.proc.credentials().privileged();
    let answer = sysctl::sysctl(cx.kernel, &Request { name: &name, new: new.as_deref(), privileged });
    let needed = answer.as_ref().map_or(0, |old| old.len());
    let done = answer.and_then(|old| match room.map(|room| room.min(usize::MAX as u64) as usize) {
        None => Ok(()),
        Some(room) => {
            let fits = room.min(old.len());
            cx.mem.store(oldv.addr, &old[..fits])?;
            if fits < old.len() { Err(Errno::ENOMEM) } else { Ok(()) }
        }
    });
    if !oldlenp.is_null() {
        cx.mem.write_inout(oldlenp, &(needed as u64))?;
    }
    done
}

/// reboot(2): ends the kernel; `EPERM` unless the superuser asks. The answer still reaches the caller.
pub fn reboot(cx: &Cx<'_>, opt: i32, _bootstr: UserStr) -> Result<()> {
    privileged(cx)?;
    cx.kernel.halt(opt);
    Ok(())
}
