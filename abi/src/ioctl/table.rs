//! The commands: what the argument is, the name, the encoding, Linux's twin.
//!
//! Commands of Linux that NetBSD lacks but that programs do use are extensions: group `L`, with the low byte of Linux's
//! number; a NetBSD server answers `ENOTTY`. `JGETDENTS` is ours alone: three words, the address and length of a buffer and a
//! spare one; it fills the buffer with directory entries in Linux's layout and stores how many bytes there are as the length.
//! `JREOPEN` too: an int, the flags of open(2); it opens the descriptor's file anew, as Linux does for the name `/dev/fd/N`, and stores
//! the new descriptor there. `JPTPEER` is Linux's `TIOCGPTPEER` in the same form.

use linux_raw_sys::ioctl as host;

use super::{io, ior, iow, iowr};

/// What the argument of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing, or a value.
    Nothing,
    /// An int.
    Int,
    /// The same bytes on both.
    Bytes,
    /// struct termios.
    Termios,
    /// struct ifreq with an address.
    IfreqAddress,
    /// struct ifreq with interface flags.
    IfreqFlags,
    /// struct ifreq with an int, or nothing, beside the name.
    IfreqInt,
    /// struct ifreq with bytes that are the same on both.
    IfreqBytes,
    /// struct ifconf, which points to a list.
    Ifconf,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The name on NetBSD, or Linux's for an extension.
    pub name: &'static str,
    /// NetBSD's number.
    pub netbsd: u64,
    /// Linux's number.
    pub linux: Option<u32>,
    /// What the argument is.
    pub argument: Argument,
}

macro_rules! commands {
    ($($argument:ident $name:ident $encode:ident($($part:literal),*) $(=> $twin:expr)?;)*) => {
        $(
            #[doc = concat!("Command `", stringify!($name), "`.")]
            pub const $name: u64 = $encode($($part),*);
        )*

        /// The commands.
        pub const COMMANDS: &[Command] = &[$(
            Command {
                name: stringify!($name),
                netbsd: $name,
                linux: commands!(@linux $($twin)?),
                argument: Argument::$argument,
            },
        )*];
    };
    (@linux) => { None };
    (@linux $twin:expr) => { Some($twin) };
}

commands! {
    Nothing FIOCLEX io(b'f', 1) => host::FIOCLEX;
    Nothing FIONCLEX io(b'f', 2) => host::FIONCLEX;
    Int FIONREAD ior(b'f', 127, 4) => host::FIONREAD;
    Int FIONWRITE ior(b'f', 121, 4) => host::TIOCOUTQ;
    Int FIONSPACE ior(b'f', 120, 4);
    Int FIONBIO iow(b'f', 126, 4) => host::FIONBIO;
    Int FIOASYNC iow(b'f', 125, 4) => host::FIOASYNC;
    Int FIOSETOWN iow(b'f', 124, 4) => host::FIOSETOWN;
    Int FIOGETOWN ior(b'f', 123, 4) => host::FIOGETOWN;
    Bytes FIOGETBMAP iowr(b'f', 122, 8);
    Int SIOCATMARK ior(b's', 7, 4) => host::SIOCATMARK;
    Int SIOCSPGRP iow(b's', 8, 4) => host::SIOCSPGRP;
    Int SIOCGPGRP ior(b's', 9, 4) => host::SIOCGPGRP;
    Int SIOCSHIWAT iow(b's', 0, 4);
    Int SIOCGHIWAT ior(b's', 1, 4);
    Int SIOCSLOWAT iow(b's', 2, 4);
    Int SIOCGLOWAT ior(b's', 3, 4);
    Termios TIOCGETA ior(b't', 19, 44) => host::TCGETS;
    Termios TIOCSETA iow(b't', 20, 44) => host::TCSETS;
    Termios TIOCSETAW iow(b't', 21, 44) => host::TCSETSW;
    Termios TIOCSETAF iow(b't', 22, 44) => host::TCSETSF;
    Bytes TIOCGWINSZ ior(b't', 104, 8) => host::TIOCGWINSZ;
    Bytes TIOCSWINSZ iow(b't', 103, 8) => host::TIOCSWINSZ;
    Int TIOCGPGRP ior(b't', 119, 4) => host::TIOCGPGRP;
    Int TIOCSPGRP iow(b't', 118, 4) => host::TIOCSPGRP;
    Nothing TIOCSCTTY io(b't', 97) => host::TIOCSCTTY;
    Nothing TIOCNOTTY io(b't', 113) => host::TIOCNOTTY;
    Int TIOCOUTQ ior(b't', 115, 4);
    Bytes TIOCSTI iow(b't', 114, 1) => host::TIOCSTI;
    Nothing TIOCEXCL io(b't', 13) => host::TIOCEXCL;
    Nothing TIOCNXCL io(b't', 14) => host::TIOCNXCL;
    Int TIOCFLUSH iow(b't', 16, 4);
    Nothing TIOCDRAIN io(b't', 94);
    Int TIOCCONS iow(b't', 98, 4) => host::TIOCCONS;
    Int TIOCPKT iow(b't', 112, 4) => host::TIOCPKT;
    Int TIOCGSID ior(b't', 99, 4) => host::TIOCGSID;
    Int TIOCREMOTE iow(b't', 105, 4);
    Int TIOCMGET ior(b't', 106, 4) => host::TIOCMGET;
    Int TIOCMSET iow(b't', 109, 4) => host::TIOCMSET;
    Bytes TIOCPTMGET ior(b't', 70, 2056);
    Bytes TIOCPTSNAME ior(b't', 72, 2056);
    Nothing TIOCGRANTPT io(b't', 71);
    Bytes DIOCGMEDIASIZE ior(b'd', 132, 8);
    Int DIOCGSECTORSIZE ior(b'd', 133, 4);
    Int DIOCCACHESYNC iow(b'd', 118, 4);
    Int DIOCGCACHE ior(b'd', 116, 4);
    Int DIOCSCACHE iow(b'd', 117, 4);
    Int DIOCEJECT iow(b'd', 112, 4);
    Int DIOCLOCK iow(b'd', 113, 4);
    Int DIOCTUR ior(b'd', 128, 4);
    Int DIOCWLABEL iow(b'd', 109, 4);
    Int DIOCKLABEL iow(b'd', 119, 4);
    Nothing DIOCCLRLABEL io(b'd', 115);
    Bytes DIOCGDISKINFO ior(b'd', 127, 16);
    Int DIOCMWEDGES ior(b'd', 131, 4);
    Bytes DIOCGDINFO ior(b'd', 101, 408);
    Bytes DIOCGWEDGEINFO ior(b'd', 122, 208);
    Bytes DIOCGSTRATEGY ior(b'd', 125, 48);
    Int BIOCGBLEN ior(b'B', 102, 4);
    Int BIOCSBLEN iowr(b'B', 102, 4);
    Bytes BIOCSETF iow(b'B', 103, 16);
    Nothing BIOCFLUSH io(b'B', 104);
    Nothing BIOCPROMISC io(b'B', 105);
    Int BIOCGDLT ior(b'B', 106, 4);
    Int BIOCSDLT iow(b'B', 118, 4);
    Bytes BIOCGDLTLIST iowr(b'B', 119, 16);
    Bytes BIOCGETIF ior(b'B', 107, 144);
    Bytes BIOCSETIF iow(b'B', 108, 144);
    Bytes BIOCSRTIMEOUT iow(b'B', 122, 16);
    Bytes BIOCGRTIMEOUT ior(b'B', 123, 16);
    Bytes BIOCGSTATS ior(b'B', 111, 128);
    Int BIOCIMMEDIATE iow(b'B', 112, 4);
    Int BIOCVERSION ior(b'B', 113, 4);
    Int BIOCGHDRCMPLT ior(b'B', 116, 4);
    Int BIOCSHDRCMPLT iow(b'B', 117, 4);
    Int BIOCGSEESENT ior(b'B', 120, 4);
    Int BIOCSSEESENT iow(b'B', 121, 4);
    Int BIOCSFEEDBACK iow(b'B', 125, 4);
    Int BIOCGFEEDBACK ior(b'B', 124, 4);
    Ifconf SIOCGIFCONF iowr(b'i', 38, 16) => host::SIOCGIFCONF;
    IfreqFlags SIOCGIFFLAGS iowr(b'i', 17, 144) => host::SIOCGIFFLAGS;
    IfreqFlags SIOCSIFFLAGS iow(b'i', 16, 144) => host::SIOCSIFFLAGS;
    IfreqAddress SIOCGIFADDR iowr(b'i', 33, 144) => host::SIOCGIFADDR;
    IfreqAddress SIOCSIFADDR iow(b'i', 12, 144) => host::SIOCSIFADDR;
    Bytes SIOCAIFADDR iow(b'i', 26, 64);
    IfreqAddress SIOCDIFADDR iow(b'i', 25, 144) => host::SIOCDIFADDR;
    Bytes SIOCGIFALIAS iowr(b'i', 27, 64);
    IfreqInt SIOCGIFAFLAG_IN iowr(b'i', 39, 144);
    IfreqAddress SIOCGIFNETMASK iowr(b'i', 37, 144) => host::SIOCGIFNETMASK;
    IfreqAddress SIOCSIFNETMASK iow(b'i', 22, 144) => host::SIOCSIFNETMASK;
    IfreqAddress SIOCGIFBRDADDR iowr(b'i', 35, 144) => host::SIOCGIFBRDADDR;
    IfreqAddress SIOCSIFBRDADDR iow(b'i', 19, 144) => host::SIOCSIFBRDADDR;
    IfreqAddress SIOCGIFDSTADDR iowr(b'i', 34, 144) => host::SIOCGIFDSTADDR;
    IfreqAddress SIOCSIFDSTADDR iow(b'i', 14, 144) => host::SIOCSIFDSTADDR;
    IfreqInt SIOCGIFMETRIC iowr(b'i', 23, 144) => host::SIOCGIFMETRIC;
    IfreqInt SIOCSIFMETRIC iow(b'i', 24, 144) => host::SIOCSIFMETRIC;
    IfreqInt SIOCGIFMTU iowr(b'i', 126, 144) => host::SIOCGIFMTU;
    IfreqInt SIOCSIFMTU iow(b'i', 127, 144) => host::SIOCSIFMTU;
    IfreqInt SIOCGIFINDEX iowr(b'i', 140, 144) => host::SIOCGIFINDEX;
    IfreqInt SIOCGIFDLT iowr(b'i', 119, 144);
    Bytes SIOCGIFDATA iowr(b'i', 133, 152);
    Bytes SIOCZIFDATA iowr(b'i', 134, 152);
    Bytes SIOCGIFMEDIA iowr(b'i', 54, 48);
    IfreqInt SIOCSIFMEDIA iowr(b'i', 53, 144);
    Bytes SIOCGIFCAP iowr(b'i', 118, 32);
    Bytes SIOCSIFCAP iow(b'i', 117, 32);
    Bytes SIOCGETHERCAP iowr(b'i', 139, 24);
    IfreqInt SIOCIFCREATE iow(b'i', 122, 144);
    IfreqInt SIOCIFDESTROY iow(b'i', 121, 144);
    Bytes SIOCIFGCLONERS iowr(b'i', 120, 16);
    Bytes SIOCGLINKSTR iowr(b'i', 135, 40);
    Bytes SIOCSLINKSTR iow(b'i', 136, 40);
    Bytes SIOCGDRVSPEC iowr(b'i', 123, 40);
    Bytes SIOCSDRVSPEC iow(b'i', 123, 40);
    IfreqInt SIOCGIFGENERIC iowr(b'i', 58, 144);
    IfreqInt SIOCSIFGENERIC iow(b'i', 57, 144);
    IfreqAddress SIOCADDMULTI iow(b'i', 49, 144) => host::SIOCADDMULTI;
    IfreqAddress SIOCDELMULTI iow(b'i', 50, 144) => host::SIOCDELMULTI;
    Bytes SIOCALIFADDR iow(b'i', 28, 280);
    Bytes SIOCGLIFADDR iowr(b'i', 29, 280);
    Bytes SIOCDLIFADDR iow(b'i', 30, 280);
    Bytes SIOCGIFADDRPREF iowr(b'i', 32, 152);
    Bytes SIOCSIFADDRPREF iow(b'i', 31, 152);
    Bytes SIOCSIFPHYADDR iow(b'i', 70, 64);
    IfreqInt SIOCGIFPSRCADDR iowr(b'i', 71, 144);
    IfreqInt SIOCGIFPDSTADDR iowr(b'i', 72, 144);
    IfreqInt SIOCDIFPHYADDR iow(b'i', 73, 144);
    Bytes SIOCSLIFPHYADDR iow(b'i', 74, 280);
    Bytes SIOCGLIFPHYADDR iowr(b'i', 75, 280);
    IfreqInt SIOCGVH iowr(b'i', 131, 144);
    IfreqInt SIOCSVH iowr(b'i', 130, 144);
    Bytes SIOCADDRT iow(b'r', 10, 56);
    Bytes SIOCDELRT iow(b'r', 11, 56);
    Bytes SIOCAIFADDR_IN6 iow(b'i', 107, 128);
    Bytes SIOCDIFADDR_IN6 iow(b'i', 25, 288);
    Bytes SIOCGIFADDR_IN6 iowr(b'i', 33, 288);
    Bytes SIOCSIFADDR_IN6 iow(b'i', 12, 288);
    Bytes SIOCGIFNETMASK_IN6 iowr(b'i', 37, 288);
    Bytes SIOCGIFDSTADDR_IN6 iowr(b'i', 34, 288);
    Bytes SIOCGIFAFLAG_IN6 iowr(b'i', 73, 288);
    Bytes SIOCGIFALIFETIME_IN6 iowr(b'i', 106, 288);
    Bytes SIOCGIFSTAT_IN6 iowr(b'i', 83, 288);
    Bytes SIOCGIFSTAT_ICMP6 iowr(b'i', 84, 288);
    Bytes SIOCGIFINFO_IN6 iowr(b'i', 108, 72);
    Bytes SIOCSIFINFO_IN6 iowr(b'i', 109, 72);
    Bytes SIOCSIFINFO_FLAGS iowr(b'i', 87, 72);
    Bytes SIOCGNBRINFO_IN6 iowr(b'i', 78, 56);
    Bytes SIOCGDRLST_IN6 iowr(b'i', 74, 416);
    Bytes SIOCSNDFLUSH_IN6 iowr(b'i', 77, 288);
    Bytes SIOCSPFXFLUSH_IN6 iowr(b'i', 79, 288);
    Bytes SIOCSRTRFLUSH_IN6 iowr(b'i', 80, 288);
    Bytes SIOCSDEFIFACE_IN6 iowr(b'i', 85, 24);
    Bytes SIOCGDEFIFACE_IN6 iowr(b'i', 86, 24);
    Bytes SIOCAADDRCTL_POLICY iow(b'u', 108, 72);
    Bytes SIOCDADDRCTL_POLICY iow(b'u', 109, 72);
    Bytes JGETDENTS iowr(b'J', 1, 24);
    Bytes JREOPEN iowr(b'J', 2, 4);
    Int JPTPEER iowr(b'J', 3, 4);
    IfreqInt SIOCGIFNAME iowr(b'L', 0x10, 144) => host::SIOCGIFNAME;
    IfreqBytes SIOCGIFHWADDR iowr(b'L', 0x27, 144) => host::SIOCGIFHWADDR;
    IfreqInt SIOCGIFTXQLEN iowr(b'L', 0x42, 144) => host::SIOCGIFTXQLEN;
    IfreqBytes SIOCGIFMAP iowr(b'L', 0x70, 144) => host::SIOCGIFMAP;
    Nothing TCSBRK io(b'L', 0x09) => host::TCSBRK;
    Nothing TCXONC io(b'L', 0x0a) => host::TCXONC;
    Nothing TCFLSH io(b'L', 0x0b) => host::TCFLSH;
    Int TIOCSETD iow(b'L', 0x23, 4) => host::TIOCSETD;
    Int TIOCGETD ior(b'L', 0x24, 4) => host::TIOCGETD;
    Nothing TCSBRKP io(b'L', 0x25) => host::TCSBRKP;
    Nothing TIOCSBRK io(b'L', 0x28) => host::TIOCSBRK;
    Nothing TIOCCBRK io(b'L', 0x29) => host::TIOCCBRK;
    Int TIOCGPTN ior(b'L', 0x30, 4) => host::TIOCGPTN;
    Int TIOCSPTLCK iow(b'L', 0x31, 4) => host::TIOCSPTLCK;
    Int TIOCGDEV ior(b'L', 0x32, 4) => host::TIOCGDEV;
    Nothing TIOCSIG io(b'L', 0x36) => host::TIOCSIG;
    Int TIOCGPKT ior(b'L', 0x38, 4) => host::TIOCGPKT;
    Int TIOCGPTLCK ior(b'L', 0x39, 4) => host::TIOCGPTLCK;
    Int TIOCGEXCL ior(b'L', 0x40, 4) => host::TIOCGEXCL;
}

/// Returns the row of one of Linux's commands.
pub fn command_from_linux(linux: u32) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.linux == Some(linux))
}

/// Returns the row of one of NetBSD's commands.
pub fn command(netbsd: u64) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.netbsd == netbsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_translate_by_name() {
        let find = |linux| command_from_linux(linux).map(|command| (command.netbsd, command.argument));
        assert_eq!(find(0x541b), Some((FIONREAD, Argument::Int)));
        assert_eq!(find(0x8913), Some((SIOCGIFFLAGS, Argument::IfreqFlags)));
        assert_eq!(find(0x5401), Some((TIOCGETA, Argument::Termios)));
        assert_eq!(find(0x8927), Some((SIOCGIFHWADDR, Argument::IfreqBytes)));
        assert_eq!(find(0x1234), None);
        assert_eq!(command(FIONBIO).map(|command| command.name), Some("FIONBIO"));
    }

    #[test]
    fn no_number_stands_twice() {
        for (at, row) in COMMANDS.iter().enumerate() {
            let mut rest = COMMANDS.iter().skip(at + 1);
            assert!(rest.all(|other| other.netbsd != row.netbsd && (row.linux.is_none() || other.linux != row.linux)));
        }
    }
}
