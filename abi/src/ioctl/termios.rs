//! The settings of a terminal (termios(4)): the same names, other bits and places.

use linux_raw_sys::general as host;

use super::Termios;
use crate::linux;
use crate::pairs::pairs;

pairs! {
    /// Input modes; `IUCLC` and `IUTF8` are Linux's, in bits that NetBSD leaves free.
    INPUT: i32 {
        IGNBRK 0x1 => host::IGNBRK;
        BRKINT 0x2 => host::BRKINT;
        IGNPAR 0x4 => host::IGNPAR;
        PARMRK 0x8 => host::PARMRK;
        INPCK 0x10 => host::INPCK;
        ISTRIP 0x20 => host::ISTRIP;
        INLCR 0x40 => host::INLCR;
        IGNCR 0x80 => host::IGNCR;
        ICRNL 0x100 => host::ICRNL;
        IXON 0x200 => host::IXON;
        IXOFF 0x400 => host::IXOFF;
        IXANY 0x800 => host::IXANY;
        IUCLC 0x1000 => host::IUCLC;
        IMAXBEL 0x2000 => host::IMAXBEL;
        IUTF8 0x4000 => host::IUTF8;
    }
}

pairs! {
    /// Output modes; those from `OLCUC` on are Linux's, in bits that NetBSD leaves free. `OXTABS` is both bits of Linux's `TABDLY`, and
    /// so stands before them.
    OUTPUT: i32 {
        OPOST 0x1 => host::OPOST;
        ONLCR 0x2 => host::ONLCR;
        OXTABS 0x4 => host::XTABS;
        ONOEOT 0x8;
        OCRNL 0x10 => host::OCRNL;
        ONOCR 0x20 => host::ONOCR;
        ONLRET 0x40 => host::ONLRET;
        OLCUC 0x80 => host::OLCUC;
        OFILL 0x100 => host::OFILL;
        OFDEL 0x200 => host::OFDEL;
        NL1 0x400 => host::NL1;
        CR1 0x800 => host::CR1;
        CR2 0x1000 => host::CR2;
        TAB1 0x2000 => host::TAB1;
        TAB2 0x4000 => host::TAB2;
        BS1 0x8000 => host::BS1;
        VT1 0x1_0000 => host::VT1;
        FF1 0x2_0000 => host::FF1;
    }
}

pairs! {
    /// Control modes; `CS8` stands before the two that it contains. `CMSPAR` is Linux's, in a bit that NetBSD leaves free.
    CONTROL: i32 {
        CS8 0x300 => host::CS8;
        CS6 0x100 => host::CS6;
        CS7 0x200 => host::CS7;
        CSTOPB 0x400 => host::CSTOPB;
        CREAD 0x800 => host::CREAD;
        PARENB 0x1000 => host::PARENB;
        PARODD 0x2000 => host::PARODD;
        HUPCL 0x4000 => host::HUPCL;
        CLOCAL 0x8000 => host::CLOCAL;
        CRTSCTS 0x1_0000 => host::CRTSCTS;
        CMSPAR 0x200_0000 => host::CMSPAR;
    }
}

pairs! {
    /// Local modes; `XCASE` is Linux's, in a bit that NetBSD leaves free.
    LOCAL: i32 {
        ECHOKE 0x1 => host::ECHOKE;
        ECHOE 0x2 => host::ECHOE;
        ECHOK 0x4 => host::ECHOK;
        ECHO 0x8 => host::ECHO;
        ECHONL 0x10 => host::ECHONL;
        ECHOPRT 0x20 => host::ECHOPRT;
        ECHOCTL 0x40 => host::ECHOCTL;
        ISIG 0x80 => host::ISIG;
        ICANON 0x100 => host::ICANON;
        ALTWERASE 0x200;
        IEXTEN 0x400 => host::IEXTEN;
        EXTPROC 0x800 => host::EXTPROC;
        XCASE 0x1000 => host::XCASE;
        TOSTOP 0x40_0000 => host::TOSTOP;
        FLUSHO 0x80_0000 => host::FLUSHO;
        NOKERNINFO 0x200_0000;
        PENDIN 0x2000_0000 => host::PENDIN;
        NOFLSH -0x8000_0000 => host::NOFLSH;
    }
}

pairs! {
    /// Places of the control characters; `VSWTC` is Linux's, in a place that NetBSD leaves free.
    CHARACTERS: i32 {
        VEOF 0 => host::VEOF;
        VEOL 1 => host::VEOL;
        VEOL2 2 => host::VEOL2;
        VERASE 3 => host::VERASE;
        VWERASE 4 => host::VWERASE;
        VKILL 5 => host::VKILL;
        VREPRINT 6 => host::VREPRINT;
        VSWTC 7 => host::VSWTC;
        VINTR 8 => host::VINTR;
        VQUIT 9 => host::VQUIT;
        VSUSP 10 => host::VSUSP;
        VDSUSP 11;
        VSTART 12 => host::VSTART;
        VSTOP 13 => host::VSTOP;
        VLNEXT 14 => host::VLNEXT;
        VDISCARD 15 => host::VDISCARD;
        VMIN 16 => host::VMIN;
        VTIME 17 => host::VTIME;
        VSTATUS 18;
    }
}

/// A control character that is switched off: all ones here, zero on Linux.
pub const DISABLED: u8 = 0xff;

pairs! {
    /// Speeds, which are Linux's bits of `CBAUD` and plain numbers here.
    SPEEDS: i32 {
        B0 0 => host::B0;
        B50 50 => host::B50;
        B75 75 => host::B75;
        B110 110 => host::B110;
        B134 134 => host::B134;
        B150 150 => host::B150;
        B200 200 => host::B200;
        B300 300 => host::B300;
        B600 600 => host::B600;
        B1200 1200 => host::B1200;
        B1800 1800 => host::B1800;
        B2400 2400 => host::B2400;
        B4800 4800 => host::B4800;
        B9600 9600 => host::B9600;
        B19200 19200 => host::B19200;
        B38400 38400 => host::B38400;
        B57600 57600 => host::B57600;
        B115200 115_200 => host::B115200;
        B230400 230_400 => host::B230400;
        B460800 460_800 => host::B460800;
        B500000 500_000 => host::B500000;
        B576000 576_000 => host::B576000;
        B921600 921_600 => host::B921600;
        B1000000 1_000_000 => host::B1000000;
        B1152000 1_152_000 => host::B1152000;
        B1500000 1_500_000 => host::B1500000;
        B2000000 2_000_000 => host::B2000000;
        B2500000 2_500_000 => host::B2500000;
        B3000000 3_000_000 => host::B3000000;
        B3500000 3_500_000 => host::B3500000;
        B4000000 4_000_000 => host::B4000000;
    }
}

impl Termios {
    /// Translates Linux's structure; what NetBSD lacks is dropped.
    pub fn from_linux(linux: &linux::Termios) -> Self {
        let modes = |table: crate::pairs::Pairs, bits: u32| table.flags_from_linux(bits as i32).0 as u32;
        let speed = SPEEDS.from_linux((linux.c_cflag & host::CBAUD) as i32).unwrap_or(B9600);
        let mut termios = Self {
            c_iflag: modes(INPUT, linux.c_iflag),
            c_oflag: modes(OUTPUT, linux.c_oflag),
            c_cflag: modes(CONTROL, linux.c_cflag & !host::CBAUD),
            c_lflag: modes(LOCAL, linux.c_lflag),
            c_cc: [DISABLED; 20],
            c_ispeed: speed,
            c_ospeed: speed,
        };
        for (netbsd, host_at) in places() {
            if let (Some(to), Some(from)) = (termios.c_cc.get_mut(netbsd), linux.c_cc.get(host_at)) {
                let a_number = netbsd == VMIN as usize || netbsd == VTIME as usize;
                *to = if *from == 0 && !a_number { DISABLED } else { *from };
            }
        }
        termios
    }

    /// Makes Linux's structure; what Linux lacks is dropped.
    pub fn to_linux(&self) -> linux::Termios {
        let modes = |table: crate::pairs::Pairs, bits: u32| table.flags_to_linux(bits as i32) as u32;
        let speed = SPEEDS.to_linux(self.c_ospeed).unwrap_or(host::B9600 as i32) as u32;
        let mut termios = linux::Termios {
            c_iflag: modes(INPUT, self.c_iflag),
            c_oflag: modes(OUTPUT, self.c_oflag),
            c_cflag: modes(CONTROL, self.c_cflag) | speed,
            c_lflag: modes(LOCAL, self.c_lflag),
            ..Default::default()
        };
        for (netbsd, host_at) in places() {
            if let (Some(to), Some(from)) = (termios.c_cc.get_mut(host_at), self.c_cc.get(netbsd)) {
                *to = if *from == DISABLED { 0 } else { *from };
            }
        }
        termios
    }
}

/// The places of the characters that both systems have: NetBSD's and Linux's.
fn places() -> impl Iterator<Item = (usize, usize)> {
    CHARACTERS.0.iter().filter_map(|pair| Some((pair.netbsd as usize, pair.linux? as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_terminal_survives_the_round_trip() {
        let mut sane = Termios {
            c_iflag: (BRKINT | ICRNL | IXON | IMAXBEL) as u32,
            c_oflag: (OPOST | ONLCR) as u32,
            c_cflag: (CS8 | CREAD | HUPCL) as u32,
            c_lflag: (ECHO | ECHOE | ISIG | ICANON | IEXTEN) as u32,
            c_cc: [DISABLED; 20],
            c_ispeed: 38400,
            c_ospeed: 38400,
        };
        sane.c_cc[VINTR as usize] = 3;
        sane.c_cc[VMIN as usize] = 1;
        sane.c_cc[VTIME as usize] = 0;
        let linux = sane.to_linux();
        assert_eq!((linux.c_cc[0], linux.c_cc[6], linux.c_lflag), (3, 1, 0x801b));
        assert_eq!(linux.c_cflag, 0x4bf);
        assert_eq!(Termios::from_linux(&linux), sane);
    }
}
