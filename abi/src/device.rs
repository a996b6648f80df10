//! Numbers of devices: the same device has another number on each system.

use crate::stat::{major, makedev, minor};

/// `/dev/console`, NetBSD's number.
pub const CONSOLE: u64 = makedev(0, 0);
/// `/dev/tty`, NetBSD's number.
pub const TTY: u64 = makedev(1, 0);
/// `/dev/ptmx`, NetBSD's number.
pub const PTMX: u64 = makedev(165, 0);
/// `/dev/null`, NetBSD's number.
pub const NULL: u64 = makedev(2, 2);
/// `/dev/zero`, NetBSD's number.
pub const ZERO: u64 = makedev(2, 12);
/// `/dev/full`, NetBSD's number.
pub const FULL: u64 = makedev(2, 11);
/// `/dev/random`, NetBSD's number.
pub const RANDOM: u64 = makedev(46, 0);
/// `/dev/urandom`, NetBSD's number.
pub const URANDOM: u64 = makedev(46, 1);

/// The numbers on both: NetBSD's, Linux's.
const PAIRS: &[(u64, u64)] = &[
    (CONSOLE, makedev(5, 1)),
    (TTY, makedev(5, 0)),
    (PTMX, makedev(5, 2)),
    (NULL, makedev(1, 3)),
    (ZERO, makedev(1, 5)),
    (FULL, makedev(1, 7)),
    (RANDOM, makedev(1, 8)),
    (URANDOM, makedev(1, 9)),
];

/// Majors of `/dev/pts/N` on both.
const PTS: (u32, u32) = (5, 136);

/// The number of `/dev/pts/N`, NetBSD's.
pub const fn pts(index: u32) -> u64 {
    makedev(PTS.0, index)
}

fn known_to_linux(netbsd: u64) -> Option<u64> {
    let pts = (major(netbsd) == PTS.0).then(|| makedev(PTS.1, minor(netbsd)));
    pts.or_else(|| PAIRS.iter().find(|(one, _)| *one == netbsd).map(|(_, other)| *other))
}

fn known_from_linux(linux: u64) -> Option<u64> {
    let pts = (major(linux) == PTS.1).then(|| makedev(PTS.0, minor(linux)));
    pts.or_else(|| PAIRS.iter().find(|(_, other)| *other == linux).map(|(one, _)| *one))
}

/// Follows `back` as far as it leads: so a number that is not known, but is the other's for something else, changes places with that
/// and none is lost.
fn displaced(mut number: u64, back: fn(u64) -> Option<u64>) -> u64 {
    while let Some(next) = back(number) {
        number = next;
    }
    number
}

/// Returns Linux's number of a character device. One to one, so that a number that a program gave to mknod(2) comes back.
pub fn to_linux(netbsd: u64) -> u64 {
    known_to_linux(netbsd).unwrap_or_else(|| displaced(netbsd, known_from_linux))
}

/// Returns NetBSD's number of a character device.
pub fn from_linux(linux: u64) -> u64 {
    known_from_linux(linux).unwrap_or_else(|| displaced(linux, known_to_linux))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in (0..256).flat_map(|major| (0..256).map(move |minor| makedev(major, minor))) {
            assert_eq!((from_linux(to_linux(number)), to_linux(from_linux(number))), (number, number));
        }
        assert_eq!((to_linux(NULL), to_linux(pts(7)), from_linux(makedev(5, 2))), (259, makedev(136, 7), PTMX));
        assert_eq!(to_linux(makedev(8, 1)), makedev(8, 1));
    }
}
