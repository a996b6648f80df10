//! Processes of the host, as far as a terminal controls them: groups, sessions, signals.

use std::ffi::CStr;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::process::{Pid, Signal};

/// The group and the session of a process of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Process group.
    pub pgrp: i32,
    /// Session.
    pub session: i32,
}

/// A line of `/proc/PID/stat`.
struct Status {
    parent: i32,
    group: Group,
    tty: i32,
}

/// Returns group and session of a process; `None` if it does not exist.
pub fn group_of(pid: i32) -> Option<Group> {
    let pid = Pid::from_raw(pid)?;
    let pgrp = rustix::process::getpgid(Some(pid)).ok()?.as_raw_nonzero().get();
    let session = rustix::process::getsid(Some(pid)).ok()?.as_raw_nonzero().get();
    Some(Group { pgrp, session })
}

/// Returns the session of a group; `None` if nobody is in it. As for Linux, a process that leads no group will do.
pub fn session_of_group(pgrp: i32) -> Option<i32> {
    match group_of(pgrp) {
        Some(group) => Some(group.session),
        // Its leader is gone.
        None => all().into_iter().find(|status| status.group.pgrp == pgrp).map(|status| status.group.session),
    }
}

/// Whether no process of the group has a parent in another group of its session: nobody who could continue it.
pub fn is_orphaned(pgrp: i32) -> bool {
    let members = all().into_iter().filter(|status| status.group.pgrp == pgrp);
    let mut parents = members.map(|member| (member.group, group_of(member.parent)));
    !parents.any(|(own, parent)| parent.is_some_and(|parent| parent.session == own.session && parent.pgrp != pgrp))
}

/// What a process may show at most.
const FILE_MAX: usize = 4 << 20;

/// Reads a file of a process's directory.
pub fn process_file(pid: i32, name: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(CWD, format!("/proc/{pid}/{name}"), flags, Mode::empty()).ok()?;
    let (mut text, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while text.len() < FILE_MAX {
        match rustix::io::read(&file, &mut piece[..]).ok()? {
            0 => break,
            len => text.extend_from_slice(&piece[..len]),
        }
    }
    Some(text)
}

/// Reads a link of a process's directory.
pub fn process_link(pid: i32, name: &str) -> Option<Vec<u8>> {
    let target = rustix::fs::readlinkat(CWD, format!("/proc/{pid}/{name}"), Vec::new()).ok()?;
    Some(target.into_bytes())
}

/// The numbers of a process's threads; none if it has gone.
pub fn process_threads(pid: i32) -> Vec<i32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, format!("/proc/{pid}/task"), flags, Mode::empty()).and_then(Dir::new);
    let Ok(folder) = folder else { return Vec::new() };
    folder.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect()
}

/// Whether a process has a controlling terminal of the host.
pub fn has_terminal(pid: i32) -> bool {
    status(&pid.to_string()).is_some_and(|status| status.tty != 0)
}

/// Sends a signal, Linux's number, to all processes of a group that we may signal.
pub fn signal_group(pgrp: i32, signal: i32) {
    if let (Some(pgrp), Some(signal)) = (Pid::from_raw(pgrp).filter(|_| pgrp > 1), Signal::from_named_raw(signal)) {
        // Who is gone or is not ours to signal gets none.
        let _ = rustix::process::kill_process_group(pgrp, signal);
    }
}

/// Sends a signal, Linux's number, to a process.
pub fn signal_process(pid: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(pid).filter(|_| pid > 1), Signal::from_named_raw(signal)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn all() -> Vec<Status> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = openat(CWD, c"/proc", flags, Mode::empty()).and_then(Dir::new) else { return Vec::new() };
    let number =
        |name: &CStr| name.to_str().ok().filter(|name| name.bytes().all(|c| c.is_ascii_digit())).map(str::to_owned);
    dir.flatten().filter_map(|entry| status(&number(entry.file_name())?)).collect()
}

fn status(pid: &str) -> Option<Status> {
    let path = format!("/proc/{pid}/stat");
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 1024];
    let len = rustix::io::read(&file, &mut text).ok()?;
    parse(std::str::from_utf8(text.get(..len)?).ok()?)
}

/// The name stands in brackets, and may have brackets and spaces of its own.
fn parse(text: &str) -> Option<Status> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(1).map(|field| field.parse::<i32>().ok());
    let mut next = || fields.next().flatten();
    let (parent, pgrp, session, tty) = (next()?, next()?, next()?, next()?);
    Some(Status { parent, group: Group { pgrp, session }, tty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_a_status() {
        let status = parse("12 (a) S 1) S 7 8 9 34816 8 4194560").unwrap();
        assert_eq!((status.parent, status.group, status.tty), (7, Group { pgrp: 8, session: 9 }, 34816));
        assert!(parse("12 (a) S 7").is_none());
    }

    #[test]
    fn we_are_in_a_group_that_exists() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let group = group_of(own).unwrap();
        assert_eq!(session_of_group(group.pgrp), Some(group.session));
        assert_eq!(session_of_group(i32::MAX), None);
    }
}
