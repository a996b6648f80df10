//! Programs that look at the system through `/proc`, which is the rump kernel's in its run: it is mounted there first.

use super::*;

/// The network, the files, and all that is below `/proc`.
const PROC: Option<&str> = Some("path=/rump,blanket=/proc,socket=all:nolocal");

programs! { "processes", network true, config PROC;
    "lookers" on UNIX uses "ps free netstat ss lsof pstree findmnt df awk python3": "ps, top, pgrep, pstree, lsof, netstat, ss, free, uptime, vmstat, mount, findmnt and df see the kernel's processes, sockets, times and mounts";
}
