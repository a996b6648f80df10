//! ioctl(2): the command and its argument are translated by `abi`'s table; a command without a twin is `ENOTTY`.

use abi::ioctl::{self, Argument, Command, IOC_IN, IOC_OUT, Ifconf};
use abi::{Errno, InOut, Out, Result};
use client::stubs;
use linux_raw_sys::ioctl as linux;

use super::{kernel, sigio, terminal};
use crate::fds::RumpFd;
use crate::{raw, user};

/// Where the name of a struct ifreq ends and the union begins.
const IFREQ_UNION: usize = 16;

/// See ioctl(2); `number` is the program's number of the descriptor.
pub fn ioctl(fd: RumpFd, number: i32, command: u32, data: usize) -> Result<usize> {
    match command {
        // A file system that does not share blocks: cp(1) copies instead.
        linux::FICLONE | linux::FICLONERANGE => return Err(Errno::EOPNOTSUPP),
        linux::SIOCGIFCONF => return interfaces(fd, data),
        _ => {
            if let Some(answer) = sigio::ioctl(fd, number, command, data) {
                return answer;
            }
        }
    }
    if let Some(answer) = terminal::ioctl(fd, command, data) {
        return answer;
    }
    let row = ioctl::command_from_linux(command).ok_or(Errno::ENOTTY)?;
    if row.argument == Argument::Nothing {
        stubs::ioctl(kernel()?, fd.fd(), terminal::anyway(row.netbsd), InOut::at(data as u64, 0))?;
    } else {
        exchange(fd, row, data).map_err(|error| no_interface(row, error))?;
    }
    match command {
        linux::FIOCLEX => placeholder(number, libc::FD_CLOEXEC),
        linux::FIONCLEX => placeholder(number, 0),
        _ => Ok(0),
    }
}

/// Makes the placeholder of a descriptor live as long as the descriptor.
fn placeholder(number: i32, flags: i32) -> Result<usize> {
    raw::checked(raw::fcntl(number, libc::F_SETFD, raw::word(flags)))
}

/// Does a command whose argument is a structure.
fn exchange(fd: RumpFd, row: &Command, data: usize) -> Result<()> {
    let length = ioctl::iocparm_len(row.netbsd);
    let mut theirs = vec![0u8; ioctl::linux_argument_len(row.argument, length)];
    let mut ours = vec![0u8; length];
    if row.netbsd & IOC_IN != 0 {
        user::read_bytes(data, &mut theirs)?;
        if row.netbsd & IOC_OUT != 0 && row.argument == Argument::IfreqAddress {
            // The name asks; what stands in the union is rubbish.
            theirs.iter_mut().skip(IFREQ_UNION).for_each(|byte| *byte = 0);
        }
        ours = ioctl::argument_from_linux(row.argument, &theirs)?;
    }
    stubs::ioctl(kernel()?, fd.fd(), terminal::anyway(row.netbsd), InOut::new(ours.as_mut_slice()))?;
    if row.netbsd & IOC_OUT != 0 {
        user::write_bytes(data, &ioctl::argument_to_linux(row.argument, &ours))?;
    }
    Ok(())
}

/// Linux's word for an interface that does not exist.
fn no_interface(row: &Command, error: Errno) -> Errno {
    let about_interfaces = matches!(
        row.argument,
        Argument::IfreqAddress | Argument::IfreqFlags | Argument::IfreqInt | Argument::IfreqBytes
    );
    if error == Errno::ENXIO && about_interfaces { Errno::ENODEV } else { error }
}

/// Does `SIOCGIFCONF`: the list goes through a buffer of ours, since its entries are longer on NetBSD.
fn interfaces(fd: RumpFd, data: usize) -> Result<usize> {
    let mut wanted: Ifconf = user::read(data)?;
    let mut list = Ifconf::default();
    let kernel = kernel()?;
    stubs::ioctl(kernel, fd.fd(), ioctl::SIOCGIFCONF, InOut::new(&mut list))?;
    let mut entries = vec![0u8; usize::try_from(list.ifc_len).map_err(|_| Errno::EIO)?];
    if !entries.is_empty() {
        let buffer = Out::new(entries.as_mut_slice());
        list.ifc_buf = buffer.addr;
        let extra: Vec<_> = abi::Slot::region(&buffer).into_iter().collect();
        stubs::with::ioctl(kernel, fd.fd(), ioctl::SIOCGIFCONF, InOut::new(&mut list), &extra)?;
        entries.truncate(usize::try_from(list.ifc_len).unwrap_or_default());
    }
    let mut found = ioctl::ifconf_to_linux(&entries);
    if wanted.ifc_buf != 0 {
        let whole = size_of::<abi::linux::Ifreq>();
        let room = usize::try_from(wanted.ifc_len).map_err(|_| Errno::EINVAL)?;
        found.truncate(room / whole * whole);
        user::write_bytes(wanted.ifc_buf as usize, &found)?;
    }
    wanted.ifc_len = found.len() as i32;
    user::write(data, &wanted)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_no_command_of_the_object() {
        assert_eq!(ioctl(RumpFd(3), 3, 0x1234, 0), Err(Errno::ENOTTY));
        assert_eq!(ioctl(RumpFd(3), 3, linux::FICLONE, 0), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn a_missing_interface_is_a_missing_device() {
        let flags = ioctl::command_from_linux(linux::SIOCGIFFLAGS).unwrap();
        assert_eq!(no_interface(flags, Errno::ENXIO), Errno::ENODEV);
        let read = ioctl::command_from_linux(linux::FIONREAD).unwrap();
        assert_eq!(no_interface(read, Errno::ENXIO), Errno::ENXIO);
    }
}
