//! The settings of a terminal (termios(4)): the same names, other bits and places.

use linux_raw_sys::general as host;

use super::Termios;
use crate::linux;
use crate::pairs::pairs;

pairs! {
    /// Input modes.
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
        IMAXBEL 0x2000 => host::IMAXBEL;
    }
}

pairs! {
    /// Output modes.
    OUTPUT: i32 {
        OPOST 0x1 => host::OPOST;
        ONLCR 0x2 => host::ONLCR;
        OXTABS 0x4 => host::XTABS;
        ONOEOT 0x8;
        OCRNL 0x10 => host::OCRNL;
        ONOCR 0x20 => host::ONOCR;
        ONLRET 0x40 => host::ONLRET;
    }
}

pairs! {
    /// Control modes; `CS8` stands before the two that it contains.
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
    }
}

pairs! {
    /// Local modes.
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
        TOSTOP 0x40_0000 => host::TOSTOP;
        FLUSHO 0x80_0000 => host::FLUSHO;
        NOKERNINFO 0x200_0000;
        PENDIN 0x2000_0000 => host::PENDIN;
        NOFLSH -0x8000_0000 => host::NOFLSH;
    }
}

pairs! {
    /// Places of the control characters.
    CHARACTERS: i32 {
        VEOF 0 => host::VEOF;
        VEOL 1 => host::VEOL;
        VEOL2 2 => host::VEOL2;
        VERASE 3 => host::VERASE;
        VWERASE 4 => host::VWERASE;
        VKILL 5 => host::VKILL;
        VREPRINT 6 => host::VREPRINT;
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
const DISABLED: u8 = 0xff;

pairs! {
    /// Speeds, which are Linux's bits of `CBAUD` and plain numbers here.
    SPEEDS: i32 {
        B0 0 => host::B0;
        B1200 1200 => host::B1200;
        B2400 2400 => host::B2400;
        B4800 4800 => host::B4800;
        B9600 9600 => host::B9600;
        B19200 19200 => host::B19200;
        B38400 38400 => host::B38400;
        B57600 57600 => host::B57600;
        B115200 115_200 => host::B115200;
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
