//! Terminals: reads that wait as `VMIN` and `VTIME` say, what the background must not do, opening a slave by its master.

use std::sync::Arc;

use abi::fcntl::{O_ACCMODE, O_CLOEXEC, O_NOCTTY, O_NONBLOCK};
use abi::{Errno, InOut, Result};

use super::descriptor::{Segment, scatter, total, unit};
use crate::Cx;
use crate::file::{File, OpenFile};
use crate::tty::{End, Side, Use};
use crate::vfs::View;

/// The most that one read takes.
const READ_MAX: usize = 64 * 1024;

/// read(2) of a terminal: one line, or as much as `VMIN` asks for and `VTIME` leaves time for. Who sleeps here in the foreground and
/// comes into the background sleeps on.
pub fn read(cx: &Cx<'_>, open: &OpenFile, end: &End, segments: &[Segment]) -> Result<usize> {
    end.may(cx.into(), Use::Read)?;
    let mut buf = vec![0; total(segments).min(READ_MAX)];
    let pace = end.pace();
    let after = |time| cx.kernel.clock.uptime() + time;
    let mut deadline = pace.first.map(after);
    let mut done = 0;
    let there = end.pty.has_master();
    loop {
        let rest = buf.get_mut(done..).unwrap_or_default();
        let got = open.wait_until(cx, open.nonblocking(), deadline, || match () {
            // Who is hung up while reading is told so, who comes later reads an end.
            () if there && !end.pty.has_master() => Err(Errno::EIO),
            () if end.side == Side::Slave && end.pty.in_background(cx.into()) => Err(Errno::EAGAIN),
            () => end.read(rest),
        });
        match got {
            Ok(len) => {
                done += len;
                if len == 0 || done >= pace.least.min(buf.len()) {
                    break;
                }
                deadline = pace.between.map(after);
            }
            // The time is over.
            Err(Errno::EAGAIN) if deadline.is_some() && !open.nonblocking() => break,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    scatter(cx, segments, 0, &buf[..done], unit(cx, open), 0)?;
    Ok(done)
}

/// Opens the slave of a master (`TIOCGPTPEER`), whatever name it has; `ENOTTY` for what is no terminal, `EIO` for a slave.
pub fn open_peer(cx: &Cx<'_>, open: &OpenFile, data: InOut) -> Result<()> {
    let end = open.file.as_terminal().ok_or(Errno::ENOTTY)?;
    if end.side != Side::Master {
        return Err(Errno::EIO);
    }
    let flags: i32 = cx.mem.read_inout(data)?;
    let file = peer(cx, end, flags)?;
    let fd = cx.proc.install(OpenFile::new(file, flags & (O_ACCMODE | O_NONBLOCK)), flags & O_CLOEXEC != 0)?;
    cx.mem.write_inout(data, &fd.0).inspect_err(|_| {
        let _ = cx.proc.close(fd);
    })
}

/// Opens it by its name where that leads to it, so that fstat(2) and ttyname(3) agree.
fn peer(cx: &Cx<'_>, end: &End, flags: i32) -> Result<Arc<dyn File>> {
    let name = format!("/dev/pts/{}", end.pty.index);
    if let Ok(view) = cx.kernel.vfs.root_view()
        && let Ok(file) = view.open(&view.root, name.as_bytes(), flags & (O_ACCMODE | O_NONBLOCK | O_NOCTTY), 0)
        && file.as_terminal().is_some_and(|slave| Arc::ptr_eq(&slave.pty, &end.pty))
    {
        return Ok(file);
    }
    let slave = end.pty.open_slave(View::of(cx).is_ok_and(|view| view.cred.privileged()))?;
    if flags & O_NOCTTY == 0 {
        slave.opened(cx.into());
    }
    Ok(Arc::new(slave))
}
