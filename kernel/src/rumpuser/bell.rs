//! What rings for a program: the host's own pipes, for whose ends it has asked for signals (see [`crate::sigio`]).

use abi::Result;
use sysproxy::host::{self, Owned, errno};

use super::shared::Keeper;

/// What a file has become ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Something is to be read.
    Read,
    /// There is room to write.
    Write,
    /// Urgent data has come.
    Urgent,
}

/// Makes the host signal whoever has asked for it on an end.
pub trait Bell: Send + Sync {
    /// Signals those of one side.
    fn ring(&self, side: Side);
    /// A descriptor of a side's end, on which signals are asked for.
    fn end(&self, side: Side) -> Result<Owned>;
}

/// Pipes of a Linux host. A byte that is written signals the reading end, and one that is read the writing end (pipe(7), fcntl(2)).
///
/// The host signals an end when the other goes. So the end that signals stands first in each, to be closed first, and has the higher
/// number: at the end of a process Linux closes from the highest down.
pub struct LinuxBell<K> {
    read: [K; 2],
    write: [K; 2],
    urgent: [K; 2],
}

impl<K: Keeper> LinuxBell<K> {
    /// Makes the pipes, kept by `keep`.
    pub fn new(keep: impl Fn(Owned) -> Result<K>) -> Result<Self> {
        let pipe = || host::pipe_with_room(1).map_err(errno);
        let ((reader, writer), (other_reader, other_writer), (urgent, presser)) = (pipe()?, pipe()?, pipe()?);
        let (writer, other_reader, presser) = (keep(writer)?, keep(other_reader)?, keep(presser)?);
        let (read, write) = ([keep(reader)?, writer], [keep(other_writer)?, other_reader]);
        Ok(Self { read, write, urgent: [keep(urgent)?, presser] })
    }
}

impl<K: Keeper> Bell for LinuxBell<K> {
    fn ring(&self, side: Side) {
        let (reader, writer) = match (side, &self.read, &self.write, &self.urgent) {
            (Side::Read, [reader, writer], ..)
            | (Side::Write, _, [writer, reader], _)
            | (Side::Urgent, .., [reader, writer]) => (reader, writer),
        };
        // Neither end blocks. Of two that ring at once either takes the other's byte.
        let _ = writer.with(|fd| host::write(fd, &[0]));
        let _ = reader.with(|fd| host::read(fd, &mut [0]));
    }

    fn end(&self, side: Side) -> Result<Owned> {
        let [end, _] = match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
            Side::Urgent => &self.urgent,
        };
        // Not below the number that it has itself, which is out of a program's way where the kernel is in one.
        end.with(|end| host::dup_from(end, end.0)).map_err(errno)
    }
}
