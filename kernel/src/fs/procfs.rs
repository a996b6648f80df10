//! procfs: processes and tables of the kernel in Linux's formats (proc(5)).
//!
//! A process is shown under the number that its program knows: the host's, where that is known, else the rump kernel's. What only the host
//! knows of it (its memory, its arguments, its image) is the host's own text, of processes that the host vouches for; what the
//! rump kernel knows better (descriptors, directories, mounts, the network) is ours.

use std::sync::Arc;

use abi::fcntl::{O_CLOEXEC, open_flags_to_linux};
use abi::time::Timespec;
use abi::{Errno, Fd, Result};

use super::Request;
use super::kernfs::{hostname, set_hostname};
use super::report::{Look, Make, Reports, Row, What};
use crate::proc::{Proc, lock};
use crate::sysctl;
use crate::vfs::{FileSystem, Kind, View};

mod status;
mod usage;

pub use usage::Usage;

/// The root; processes follow.
const ROOT: &[Row] = &[
    ("cmdline", 0o444, What::Text(|_| Ok(b"rump\n".to_vec()))),
    ("cpuinfo", 0o444, What::Text(status::cpuinfo)),
    ("filesystems", 0o444, What::Text(status::filesystems)),
    ("loadavg", 0o444, What::Text(status::loadavg)),
    ("meminfo", 0o444, What::Text(status::meminfo)),
    ("mounts", 0o777, What::Link(|_| Ok(b"self/mounts".to_vec()))),
    ("net", 0o777, What::Link(|_| Ok(b"self/net".to_vec()))),
    ("self", 0o777, What::Link(|look| Ok(look.caller.known_as().to_string().into_bytes()))),
    ("stat", 0o444, What::Text(status::kernel_stat)),
    ("swaps", 0o444, What::Text(|_| Ok(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec()))),
    ("sys", 0o555, What::Fixed(SYS)),
    ("uptime", 0o444, What::Text(status::uptime)),
    ("version", 0o444, What::Text(|_| Ok(sysctl::version().into_bytes()))),
    ("vmstat", 0o444, What::Text(status::vmstat)),
];

const SYS: &[Row] = &[("kernel", 0o555, What::Fixed(SYS_KERNEL))];

const SYS_KERNEL: &[Row] = &[
    ("domainname", 0o444, What::Text(|look| Ok(format!("{}\n", lock(&look.kernel.names.domainname)).into_bytes()))),
    ("hostname", 0o644, What::Settable(hostname, set_hostname)),
    ("osrelease", 0o444, What::Text(|_| Ok(format!("{}\n", sysctl::OSRELEASE).into_bytes()))),
    ("ostype", 0o444, What::Text(|_| Ok(format!("{}\n", sysctl::OSTYPE).into_bytes()))),
    ("pid_max", 0o444, What::Text(|_| Ok(b"4194304\n".to_vec()))),
];

/// The directory of a process.
const PROCESS: &[Row] = &[
    ("auxv", 0o400, What::Text(|look| of_host(look, "auxv"))),
    ("cgroup", 0o444, What::Text(|look| of_host(look, "cgroup"))),
    ("cmdline", 0o444, What::Text(|look| of_host(look, "cmdline").or_else(|_| status::name_alone(look)))),
    ("comm", 0o444, What::Text(status::comm)),
    ("cwd", 0o777, What::Link(|look| place(look, |proc| lock(&proc.cwd).dir.clone()))),
    ("environ", 0o400, What::Text(|look| of_host(look, "environ"))),
    (
        "exe",
        0o777,
        What::Link(|look| {
            look.of.local_pid().and_then(|pid| look.kernel.rumpuser.process_link(pid, "exe")).ok_or(Errno::ENOENT)
        }),
    ),
    ("fd", 0o500, What::Made(descriptors)),
    ("fdinfo", 0o500, What::Made(positions)),
    ("io", 0o400, What::Text(|look| of_host(look, "io"))),
    ("limits", 0o444, What::Text(status::limits)),
    ("loginuid", 0o444, What::Text(|look| of_host(look, "loginuid"))),
    ("maps", 0o444, What::Text(|look| of_host(look, "maps"))),
    ("mountinfo", 0o444, What::Text(status::mountinfo)),
    ("mounts", 0o444, What::Text(status::mounts)),
    ("net", 0o555, What::Made(tables)),
    ("oom_score", 0o444, What::Text(|look| of_host(look, "oom_score"))),
    ("oom_score_adj", 0o444, What::Text(|look| of_host(look, "oom_score_adj"))),
    ("root", 0o777, What::Link(|look| place(look, |proc| lock(&proc.cwd).root.clone()))),
    ("sessionid", 0o444, What::Text(|look| of_host(look, "sessionid"))),
    ("smaps", 0o444, What::Text(|look| of_host(look, "smaps"))),
    ("smaps_rollup", 0o444, What::Text(|look| of_host(look, "smaps_rollup"))),
    ("stat", 0o444, What::Text(|look| status::stat(look, "stat"))),
    ("statm", 0o444, What::Text(|look| of_host(look, "statm").or_else(|_| Ok(b"0 0 0 0 0 0 0\n".to_vec())))),
    ("status", 0o444, What::Text(|look| status::status(look, "status"))),
    ("task", 0o555, What::Made(threads)),
    ("wchan", 0o444, What::Text(|look| of_host(look, "wchan"))),
];

/// The directory of a thread.
const THREAD: &[(&str, Make)] = &[
    ("comm", |look, thread| of_host(look, &format!("task/{thread}/comm")).or_else(|_| status::comm(look))),
    ("stat", |look, thread| status::stat(look, &format!("task/{thread}/stat"))),
    ("status", |look, thread| status::status(look, &format!("task/{thread}/status"))),
];

/// Makes a file system of processes; it knows no options.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    request.options.none()?;
    let since = Timespec::from_duration(request.host.wall_clock());
    Ok(Reports::mount("procfs", What::Both(ROOT, processes), PROCESS, since))
}

/// A process each; the kernel itself is none.
fn processes(look: &Look) -> Vec<(String, What)> {
    let all = look.kernel.procs.list();
    all.iter().filter(|proc| proc.pid > 0).map(|proc| (proc.known_as().to_string(), What::Process(proc.pid))).collect()
}

/// The tables that the network has registered: this file system names no part of it.
fn tables(look: &Look) -> Vec<(String, What)> {
    look.kernel.reports.iter().map(|(name, make)| ((*name).to_owned(), What::Report(*make))).collect()
}

/// What the host shows of a process; `ENOENT` if it is not certain which one it is.
fn of_host(look: &Look, file: &str) -> Result<Vec<u8>> {
    let text = look.of.local_pid().and_then(|pid| look.kernel.rumpuser.process_file(pid, file));
    text.ok_or(Errno::ENOENT)
}

/// The fields of a process's `stat` behind its name, which may have spaces and brackets; the first is the state.
fn fields(text: &[u8]) -> Option<Vec<String>> {
    let (_, rest) = std::str::from_utf8(text).ok()?.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn view(look: &Look) -> Result<View<'_>> {
    look.kernel.vfs.root_view()
}

fn place(look: &Look, of: fn(&Proc) -> Option<crate::vfs::Dir>) -> Result<Vec<u8>> {
    let view = view(look)?;
    let dir = of(&look.of).unwrap_or_else(|| view.root.clone());
    view.path_of(&dir)
}

fn descriptors(look: &Look) -> Vec<(String, What)> {
    lock(&look.of.fds).numbers().map(|Fd(fd)| (fd.to_string(), What::Descriptor(fd))).collect()
}

fn positions(look: &Look) -> Vec<(String, What)> {
    lock(&look.of.fds).numbers().map(|Fd(fd)| (fd.to_string(), What::About(position, fd))).collect()
}

/// Where a descriptor is in its file, and its flags (proc_pid_fdinfo(5)).
fn position(look: &Look, fd: i32) -> Result<Vec<u8>> {
    let (open, closes) = {
        let fds = lock(&look.of.fds);
        (fds.get(Fd(fd)).map_err(|_| Errno::ENOENT)?, fds.entry(Fd(fd)).is_ok_and(|entry| entry.close_on_exec))
    };
    let at = open.file.as_vnode().map_or(0, |file| file.position());
    let flags = open_flags_to_linux(open.flags() | if closes { O_CLOEXEC } else { 0 });
    let (inode, mount) = (open.stat()?.st_ino, open.file.as_vnode().map_or(0, |file| file.at.mount.id));
    Ok(format!("pos:\t{at}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{inode}\n").into_bytes())
}

/// The threads, of which only the host knows; the first has the number of the process.
fn threads(look: &Look) -> Vec<(String, What)> {
    let known = look.of.local_pid().map(|pid| look.kernel.rumpuser.process_threads(pid)).unwrap_or_default();
    let all = if known.is_empty() { vec![look.of.known_as()] } else { known };
    all.into_iter().map(|thread| (thread.to_string(), What::All(THREAD, thread))).collect()
}

/// What the link of a descriptor shows: a path, or the kind and number of what has none.
pub fn descriptor(look: &Look, fd: i32) -> Result<Vec<u8>> {
    let open = look.of.place(Fd(fd)).map_err(|_| Errno::ENOENT)?;
    if let Some(file) = open.file.as_vnode() {
        return view(look)?.path_of_open(file);
    }
    let stat = open.stat()?;
    let kind = Kind::from_mode(stat.st_mode);
    Ok(match kind {
        Some(Kind::Socket) => format!("socket:[{}]", stat.st_ino),
        Some(Kind::Fifo) => format!("pipe:[{}]", stat.st_ino),
        Some(Kind::Character) => "/dev/console".to_owned(),
        _ => "anon_inode:[rump]".to_owned(),
    }
    .into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::file::File;
    use crate::rumpuser::sim::SimHost;
    use crate::{Kernel, current};
    use abi::fcntl::{O_RDONLY, O_TRUNC, O_WRONLY};

    fn read(view: &View<'_>, path: &str) -> Result<String> {
        let file = view.open(&view.cwd, path.as_bytes(), O_RDONLY, 0)?;
        let (mut text, mut buf) = (Vec::new(), [0; 16]);
        while let len @ 1.. = file.read(&mut buf)? {
            text.extend_from_slice(&buf[..len]);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn each_process_sees_itself_and_the_others() {
        let kernel = Kernel::boot(SimHost::new(1), Config::default()).unwrap();
        let proc = kernel.spawn(b"looker\0").unwrap();
        let view = kernel.vfs.root_view().unwrap();
        for (kind, path) in [("procfs", "/home"), ("kernfs", "/usr")] {
            view.mount(kind, b"", path.as_bytes(), 0, b"").unwrap();
        }
        assert_eq!(read(&view, "/home/version"), Err(Errno::ENOENT));
        let _current = current::enter(&kernel, &proc);
        assert_eq!(read(&view, "/home/self/comm").unwrap(), "looker\n");
        assert_eq!(read(&view, "/home/1/comm").unwrap(), "rumplocal\n");
        assert_eq!(read(&view, "/home/self/cmdline").unwrap(), "looker\0");
        assert_eq!(read(&view, "/home/99/comm"), Err(Errno::ENOENT));
        assert!(
            read(&view, "/home/mounts").unwrap().contains("\nprocfs /home procfs rw 0 0\nkernfs /usr kernfs rw 0 0\n")
        );
        assert!(read(&view, "/home/net/dev").unwrap().contains("lo0:"));
        assert!(read(&view, "/home/self/stat").unwrap().starts_with(&format!("{} (looker) S 1 ", proc.pid)));
        let node = view.namei(&view.cwd, b"/home/self/fd/0", crate::vfs::namei::Follow::Never).unwrap().node;
        assert_eq!(node.read_link().unwrap(), b"/dev/console");
        let name = view.open(&view.cwd, b"/usr/hostname", O_WRONLY | O_TRUNC, 0).unwrap();
        assert_eq!(name.write(b"renamed\n"), Ok(8));
        assert_eq!(read(&view, "/home/sys/kernel/hostname").unwrap(), "renamed\n");
        assert_eq!(view.open(&view.cwd, b"/usr/none", O_RDONLY, 0).map(drop), Err(Errno::ENOENT));
        kernel.exit(&proc);
        assert_eq!(read(&view, "/home/self/comm"), Err(Errno::ENOENT));
    }
}
