//! The headers of sendmsg(2) and recvmsg(2).

use super::msg_flags_to_linux;
use crate::pairs::plain;
use crate::{Errno, Result, linux};

plain! {
    /// A message (struct msghdr): its counts are 4 bytes, Linux's 8.
    pub struct MsgHdr {
        pub msg_name: u64,
        pub msg_namelen: u32,
        pub pad0: u32,
        pub msg_iov: u64,
        pub msg_iovlen: i32,
        pub pad1: u32,
        pub msg_control: u64,
        pub msg_controllen: u32,
        pub msg_flags: i32,
    }

    /// A message of recvmmsg(2) and sendmmsg(2).
    pub struct MmsgHdr {
        pub msg_hdr: MsgHdr,
        pub msg_len: u32,
        pub pad0: u32,
    }

    /// A piece of memory, the same layout on both (struct iovec).
    pub struct IoVec {
        pub iov_base: u64,
        pub iov_len: u64,
    }
}

/// The most pieces of one message or vector.
pub const IOV_MAX: usize = 1024;

impl MsgHdr {
    /// Translates Linux's header: the pointers stay as they are. `EMSGSIZE` for too many pieces, `ENOBUFS` for more control data
    /// than can be said, as on Linux; the flags of a header are an answer and start out as zero.
    pub fn from_linux(linux: &linux::MsgHdr) -> Result<Self> {
        if linux.msg_iovlen > IOV_MAX as u64 {
            return Err(Errno::EMSGSIZE);
        }
        Ok(Self {
            msg_name: linux.msg_name,
            msg_namelen: linux.msg_namelen,
            msg_iov: linux.msg_iov,
            msg_iovlen: linux.msg_iovlen as i32,
            msg_control: linux.msg_control,
            msg_controllen: u32::try_from(linux.msg_controllen).map_err(|_| Errno::ENOBUFS)?,
            msg_flags: 0,
            ..Self::default()
        })
    }

    /// Makes Linux's header.
    pub fn to_linux(&self) -> linux::MsgHdr {
        linux::MsgHdr {
            msg_name: self.msg_name,
            msg_namelen: self.msg_namelen,
            msg_iov: self.msg_iov,
            msg_iovlen: u64::try_from(self.msg_iovlen).unwrap_or_default(),
            msg_control: self.msg_control,
            msg_controllen: u64::from(self.msg_controllen),
            msg_flags: msg_flags_to_linux(self.msg_flags),
            ..Default::default()
        }
    }
}
