//! Who a process is: pids, groups, sessions, user and group ids, login name, limits.

use std::sync::Arc;

use abi::resource::{RLIM_INFINITY, RLIM_NLIMITS, RLIMIT_FSIZE, RLIMIT_NOFILE, Rlimit};
use abi::{Errno, In, Out, Result, UserStr};
use zerocopy::IntoBytes;

use super::time::privileged;
use crate::Cx;
use crate::fdtable::HARD_LIMIT;
use crate::proc::{Credentials, Proc, lock};

/// Supplementary groups at most.
const NGROUPS_MAX: usize = 16;
/// Supplementary groups at most of a process on Linux.
const HOST_GROUPS_MAX: usize = 65536;
/// Bytes of a login name at most.
const MAXLOGNAME: usize = 16;
/// An id that is not to change.
const KEEP: u32 = u32::MAX;

/// getpid(2): own and parent's.
pub fn getpid(cx: &Cx<'_>) -> Result<(i32, i32)> {
    Ok((cx.proc.pid, *lock(&cx.proc.ppid)))
}

/// getppid(2).
pub fn getppid(cx: &Cx<'_>) -> Result<i32> {
    Ok(*lock(&cx.proc.ppid))
}

/// The process that a pid argument names; 0 is the caller.
fn process(cx: &Cx<'_>, pid: i32) -> Result<Arc<Proc>> {
    if pid == 0 { Ok(cx.proc.clone()) } else { cx.kernel.procs.get(pid) }
}

/// getpgrp(2).
pub fn getpgrp(cx: &Cx<'_>) -> Result<i32> {
    getpgid(cx, 0)
}

/// getpgid(2).
pub fn getpgid(cx: &Cx<'_>, pid: i32) -> Result<i32> {
    Ok(lock(&process(cx, pid)?.pgrp).0)
}

/// getsid(2).
pub fn getsid(cx: &Cx<'_>, pid: i32) -> Result<i32> {
    Ok(lock(&process(cx, pid)?.pgrp).1)
}

/// setsid(2): `EPERM` for the leader of a process group.
pub fn setsid(cx: &Cx<'_>) -> Result<i32> {
    let pid = cx.proc.pid;
    if cx.kernel.procs.list().iter().any(|proc| lock(&proc.pgrp).0 == pid) {
        return Err(Errno::EPERM);
    }
    *lock(&cx.proc.pgrp) = (pid, pid);
    Ok(pid)
}

/// setpgid(2): of the caller or its child, within its session.
pub fn setpgid(cx: &Cx<'_>, pid: i32, pgid: i32) -> Result<()> {
    let proc = process(cx, pid)?;
    let pgid = if pgid == 0 { proc.pid } else { pgid };
    let session = lock(&cx.proc.pgrp).1;
    if pgid < 0 {
        return Err(Errno::EINVAL);
    }
    if proc.pid != cx.proc.pid && *lock(&proc.ppid) != cx.proc.pid {
        return Err(Errno::ESRCH);
    }
    let exists = || cx.kernel.procs.list().iter().any(|other| *lock(&other.pgrp) == (pgid, session));
    let (_, its_session) = *lock(&proc.pgrp);
    if its_session != session || its_session == proc.pid || (pgid != proc.pid && !exists()) {
        return Err(Errno::EPERM);
    }
    lock(&proc.pgrp).0 = pgid;
    Ok(())
}

/// getuid(2): real and effective.
pub fn getuid(cx: &Cx<'_>) -> Result<(u32, u32)> {
    let cred = cx.proc.credentials();
    Ok((cred.uid, cred.euid))
}

/// geteuid(2).
pub fn geteuid(cx: &Cx<'_>) -> Result<u32> {
    Ok(cx.proc.credentials().euid)
}

/// getgid(2): real and effective.
pub fn getgid(cx: &Cx<'_>) -> Result<(u32, u32)> {
    let cred = cx.proc.credentials();
    Ok((cred.gid, cred.egid))
}

/// getegid(2).
pub fn getegid(cx: &Cx<'_>) -> Result<u32> {
    Ok(cx.proc.credentials().egid)
}

/// Changes the credentials if they are privileged or `allowed` says so, else `EPERM`.
fn change(cx: &Cx<'_>, allowed: impl FnOnce(&Credentials) -> bool, apply: impl FnOnce(&mut Credentials)) -> Result<()> {
    let mut cred = lock(&cx.proc.cred);
    if !cred.privileged() && !allowed(&cred) {
        return Err(Errno::EPERM);
    }
    apply(&mut cred);
    Ok(())
}

/// setuid(2): all three ids.
pub fn setuid(cx: &Cx<'_>, uid: u32) -> Result<()> {
    change(cx, |cred| uid == cred.uid, |cred| (cred.uid, cred.euid, cred.svuid) = (uid, uid, uid))
}

/// seteuid(2).
pub fn seteuid(cx: &Cx<'_>, euid: u32) -> Result<()> {
    change(cx, |cred| euid == cred.uid || euid == cred.svuid, |cred| cred.euid = euid)
}

/// setgid(2): all three ids.
pub fn setgid(cx: &Cx<'_>, gid: u32) -> Result<()> {
    change(cx, |cred| gid == cred.gid, |cred| (cred.gid, cred.egid, cred.svgid) = (gid, gid, gid))
}

/// setegid(2).
pub fn setegid(cx: &Cx<'_>, egid: u32) -> Result<()> {
    change(cx, |cred| egid == cred.gid || egid == cred.svgid, |cred| cred.egid = egid)
}

/// setreuid(2); the saved id follows the effective one when the real one is set or the effective one differs from it.
pub fn setreuid(cx: &Cx<'_>, ruid: u32, euid: u32) -> Result<()> {
    let allowed = |cred: &Credentials| {
        [KEEP, cred.uid, cred.euid].contains(&ruid) && [KEEP, cred.uid, cred.euid, cred.svuid].contains(&euid)
    };
    change(cx, allowed, |cred| {
        let before = cred.uid;
        cred.uid = if ruid == KEEP { cred.uid } else { ruid };
        cred.euid = if euid == KEEP { cred.euid } else { euid };
        if ruid != KEEP || cred.euid != before {
            cred.svuid = cred.euid;
        }
    })
}

/// setregid(2), as [`setreuid`].
pub fn setregid(cx: &Cx<'_>, rgid: u32, egid: u32) -> Result<()> {
    let allowed = |cred: &Credentials| {
        [KEEP, cred.gid, cred.egid].contains(&rgid) && [KEEP, cred.gid, cred.egid, cred.svgid].contains(&egid)
    };
    change(cx, allowed, |cred| {
        let before = cred.gid;
        cred.gid = if rgid == KEEP { cred.gid } else { rgid };
        cred.egid = if egid == KEEP { cred.egid } else { egid };
        if rgid != KEEP || cred.egid != before {
            cred.svgid = cred.egid;
        }
    })
}

/// getgroups(2); a size of 0 asks for the count.
pub fn getgroups(cx: &Cx<'_>, gidsetsize: i32, gidset: Out) -> Result<i32> {
    let groups = cx.proc.credentials().groups;
    if gidsetsize != 0 {
        if usize::try_from(gidsetsize).map_err(|_| Errno::EINVAL)? < groups.len() {
            return Err(Errno::EINVAL);
        }
        cx.mem.store(gidset.addr, groups.as_bytes())?;
    }
    Ok(groups.len() as i32)
}

/// setgroups(2).
pub fn setgroups(cx: &Cx<'_>, gidsetsize: i32, gidset: In) -> Result<()> {
    privileged(cx)?;
    let count = usize::try_from(gidsetsize).ok().filter(|count| *count <= NGROUPS_MAX).ok_or(Errno::EINVAL)?;
    let groups = cx.mem.read_array(gidset.addr, count)?;
    lock(&cx.proc.cred).groups = groups;
    Ok(())
}

/// setcred, an extension: a program of our own client has changed its ids on the host. Only where a client has the credentials of
/// its host process (`--creds=peer`) does it mean anything; else it stays what it is.
///
/// `ids` are user and group, each real, effective and saved. `EPERM` for an id or a group that the process could not take by itself.
pub fn setcred(cx: &Cx<'_>, ids: In, ngroups: i32, groups: In) -> Result<()> {
    if !cx.kernel.config.creds_from_peer {
        return Ok(());
    }
    let [uid, euid, svuid, gid, egid, svgid] = cx.mem.read::<[u32; 6]>(ids)?;
    let count = usize::try_from(ngroups).ok().filter(|count| *count <= HOST_GROUPS_MAX).ok_or(Errno::EINVAL)?;
    let groups: Vec<u32> = cx.mem.read_array(groups.addr, count)?;
    let mut cred = lock(&cx.proc.cred);
    let users = [cred.uid, cred.euid, cred.svuid];
    let own = [cred.gid, cred.egid, cred.svgid];
    let may = users.contains(&0)
        || ([uid, euid, svuid].iter().all(|id| users.contains(id))
            && [gid, egid, svgid].iter().all(|id| own.contains(id))
            && groups == cred.groups);
    if !may {
        return Err(Errno::EPERM);
    }
    *cred = Credentials { uid, euid, svuid, gid, egid, svgid, groups };
    Ok(())
}

/// issetugid(2): never.
pub fn issetugid(_cx: &Cx<'_>) -> Result<i32> {
    Ok(0)
}

/// getlogin(2): at most `namelen` bytes of the 16 that the name has, NULs behind it.
pub fn getlogin(cx: &Cx<'_>, namebuf: Out, namelen: usize) -> Result<()> {
    let mut name = lock(&cx.kernel.names.login).clone();
    name.resize(MAXLOGNAME, 0);
    cx.mem.store(namebuf.addr, &name[..namelen.min(MAXLOGNAME)])
}

/// setlogin(2): `EPERM` unless the superuser asks, `EINVAL` for a name that is too long.
pub fn setlogin(cx: &Cx<'_>, namebuf: UserStr) -> Result<()> {
    privileged(cx)?;
    if namebuf.is_null() {
        return Err(Errno::EFAULT);
    }
    let name = match cx.mem.copyinstr(namebuf.addr, MAXLOGNAME) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::EINVAL),
        name => name?,
    };
    *lock(&cx.kernel.names.login) = name;
    Ok(())
}

/// getrlimit(2): only descriptors and the sizes of files are limited.
pub fn getrlimit(cx: &Cx<'_>, which: i32, rlp: Out) -> Result<()> {
    let (soft, hard) = match which {
        RLIMIT_NOFILE => {
            let (soft, hard) = *lock(&cx.proc.nofile);
            (soft as u64, hard as u64)
        }
        RLIMIT_FSIZE => *lock(&cx.proc.fsize),
        0..RLIM_NLIMITS => (RLIM_INFINITY, RLIM_INFINITY),
        _ => return Err(Errno::EINVAL),
    };
    cx.mem.write(rlp, &Rlimit { rlim_cur: soft, rlim_max: hard })
}

/// setrlimit(2): `EINVAL` if the soft limit is above the hard one, `EPERM` to raise the hard one.
pub fn setrlimit(cx: &Cx<'_>, which: i32, rlp: In) -> Result<()> {
    if !(0..RLIM_NLIMITS).contains(&which) {
        return Err(Errno::EINVAL);
    }
    let Rlimit { rlim_cur: soft, rlim_max: hard } = cx.mem.read(rlp)?;
    if soft > hard {
        return Err(Errno::EINVAL);
    }
    if which == RLIMIT_NOFILE {
        let (soft, hard) = ((soft as usize).min(HARD_LIMIT), (hard as usize).min(HARD_LIMIT));
        let may = cx.proc.credentials().privileged();
        let mut nofile = lock(&cx.proc.nofile);
        if hard > nofile.1 && !may {
            return Err(Errno::EPERM);
        }
        *nofile = (soft, hard);
    }
    if which == RLIMIT_FSIZE {
        let may = cx.proc.credentials().privileged();
        let mut fsize = lock(&cx.proc.fsize);
        if hard > fsize.1 && !may {
            return Err(Errno::EPERM);
        }
        *fsize = (soft, hard);
    }
    Ok(())
}
