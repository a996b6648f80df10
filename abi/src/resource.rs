//! Resource limits (getrlimit(2)).

use linux_raw_sys::general as host;

use crate::linux;
use crate::pairs::{pairs, plain};

pairs! {
    /// The resources.
    RESOURCES: i32 {
        RLIMIT_CPU 0 => host::RLIMIT_CPU;
        RLIMIT_FSIZE 1 => host::RLIMIT_FSIZE;
        RLIMIT_DATA 2 => host::RLIMIT_DATA;
        RLIMIT_STACK 3 => host::RLIMIT_STACK;
        RLIMIT_CORE 4 => host::RLIMIT_CORE;
        RLIMIT_RSS 5 => host::RLIMIT_RSS;
        RLIMIT_MEMLOCK 6 => host::RLIMIT_MEMLOCK;
        RLIMIT_NPROC 7 => host::RLIMIT_NPROC;
        RLIMIT_NOFILE 8 => host::RLIMIT_NOFILE;
        RLIMIT_SBSIZE 9;
        RLIMIT_AS 10 => host::RLIMIT_AS;
        RLIMIT_NTHR 11;
    }
}

/// How many resources there are.
pub const RLIM_NLIMITS: i32 = 12;
/// No limit; Linux's is all ones.
pub const RLIM_INFINITY: u64 = 0x7fff_ffff_ffff_ffff;

plain! {
    /// A soft and a hard limit (struct rlimit).
    pub struct Rlimit {
        pub rlim_cur: u64,
        pub rlim_max: u64,
    }
}

impl Rlimit {
    /// Translates Linux's structure; whatever is at least NetBSD's infinity becomes that.
    pub fn from_linux(linux: &linux::Rlimit) -> Self {
        Self { rlim_cur: linux.rlim_cur.min(RLIM_INFINITY), rlim_max: linux.rlim_max.min(RLIM_INFINITY) }
    }

    /// Makes Linux's structure.
    pub fn to_linux(&self) -> linux::Rlimit {
        let limit = |value| if value >= RLIM_INFINITY { u64::MAX } else { value };
        linux::Rlimit { rlim_cur: limit(self.rlim_cur), rlim_max: limit(self.rlim_max) }
    }
}

/// Translates a resource; `None` for one that NetBSD lacks (`EINVAL` to the program).
pub fn resource_from_linux(linux: i32) -> Option<i32> {
    RESOURCES.from_linux(linux)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_translates() {
        let limits = Rlimit { rlim_cur: 128, rlim_max: RLIM_INFINITY };
        assert_eq!(limits.to_linux(), linux::Rlimit { rlim_cur: 128, rlim_max: u64::MAX });
        assert_eq!(Rlimit::from_linux(&limits.to_linux()), limits);
        assert_eq!(resource_from_linux(7), Some(RLIMIT_NOFILE));
    }
}
