//! ioctl(2): how a command encodes direction and length, the commands, and the Linux twins.

mod convert;
mod interface;
mod table;
pub mod termios;

pub use self::convert::*;
pub use self::interface::*;
pub use self::table::*;
use crate::pairs::plain;

/// The argument is a value, or nothing.
pub const IOC_VOID: u64 = 0x2000_0000;
/// The kernel writes the argument.
pub const IOC_OUT: u64 = 0x4000_0000;
/// The kernel reads the argument.
pub const IOC_IN: u64 = 0x8000_0000;
/// The kernel reads and writes the argument.
pub const IOC_INOUT: u64 = IOC_IN | IOC_OUT;
/// Mask of an argument's length, before it is shifted.
pub const IOCPARM_MASK: u64 = 0x1fff;
/// Beside a command, an extension: the terminal may be changed from its background too, since the caller does not mind `SIGTTOU`.
pub const IOC_ANYWAY: u64 = 1 << 32;
/// The longest argument: a page; a longer one is `ENOTTY`.
pub const IOCPARM_MAX: usize = 4096;

/// Encodes a command.
pub const fn ioc(direction: u64, group: u8, number: u8, len: usize) -> u64 {
    direction | (len as u64 & IOCPARM_MASK) << 16 | (group as u64) << 8 | number as u64
}

/// Encodes a command without an argument (`_IO`).
pub const fn io(group: u8, number: u8) -> u64 {
    ioc(IOC_VOID, group, number, 0)
}

/// Encodes a command that the kernel answers (`_IOR`).
pub const fn ior(group: u8, number: u8, len: usize) -> u64 {
    ioc(IOC_OUT, group, number, len)
}

/// Encodes a command that the kernel is told something with (`_IOW`).
pub const fn iow(group: u8, number: u8, len: usize) -> u64 {
    ioc(IOC_IN, group, number, len)
}

/// Encodes a command that goes both ways (`_IOWR`).
pub const fn iowr(group: u8, number: u8, len: usize) -> u64 {
    ioc(IOC_INOUT, group, number, len)
}

/// Returns the length of a command's argument (`IOCPARM_LEN`).
pub const fn iocparm_len(command: u64) -> usize {
    (command >> 16 & IOCPARM_MASK) as usize
}

/// Returns the group letter of a command.
pub const fn iocgroup(command: u64) -> u8 {
    (command >> 8) as u8
}

plain! {
    /// The size of a terminal, the same layout on both.
    pub struct Winsize {
        pub ws_row: u16,
        pub ws_col: u16,
        pub ws_xpixel: u16,
        pub ws_ypixel: u16,
    }

    /// The settings of a terminal.
    pub struct Termios {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_cc: [u8; 20],
        pub c_ispeed: i32,
        pub c_ospeed: i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_encodes_its_argument() {
        assert_eq!((FIONREAD, FIOCLEX, TIOCGETA), (0x4004_667f, 0x2000_6601, 0x402c_7413));
        assert_eq!((SIOCGIFCONF, SIOCSIFFLAGS), (0xc010_6926, 0x8090_6910));
        assert_eq!((iocparm_len(SIOCGIFFLAGS), iocgroup(SIOCGIFFLAGS)), (144, b'i'));
    }
}
