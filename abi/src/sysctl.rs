//! sysctl(3): numbers of names, types and flags of nodes, and the tables' records.

use crate::pairs::plain;

/// Gives names of one meaning their numbers.
macro_rules! numbers {
    ($($(#[$doc:meta])* $prefix:literal { $($name:ident $value:literal,)* })*) => {$($(
        #[doc = concat!($prefix, ": `", stringify!($name), "`.")]
        pub const $name: i32 = $value;
    )*)*};
}

/// The most elements of a name.
pub const CTL_MAXNAME: usize = 12;
/// The longest name of a node, with its NUL.
pub const SYSCTL_NAMELEN: usize = 32;
/// The first number of nodes that are numbered as they are made.
pub const CREATE_BASE: i32 = 1024;

numbers! {
    "Top level" {
        CTL_UNSPEC 0, CTL_KERN 1, CTL_VM 2, CTL_VFS 3, CTL_NET 4, CTL_DEBUG 5, CTL_HW 6, CTL_MACHDEP 7, CTL_USER 8,
        CTL_DDB 9, CTL_PROC 10, CTL_VENDOR 11, CTL_EMUL 12, CTL_SECURITY 13,
    }
    "Meta operation" {
        CTL_EOL -1, CTL_QUERY -2, CTL_CREATE -3, CTL_CREATESYM -4, CTL_DESTROY -5, CTL_MMAP -6, CTL_DESCRIBE -7,
    }
    "kern" {
        KERN_OSTYPE 1, KERN_OSRELEASE 2, KERN_OSREV 3, KERN_VERSION 4, KERN_MAXVNODES 5, KERN_MAXPROC 6,
        KERN_MAXFILES 7, KERN_ARGMAX 8, KERN_SECURELVL 9, KERN_HOSTNAME 10, KERN_HOSTID 11, KERN_CLOCKRATE 12,
        KERN_PROC 14, KERN_FILE 15, KERN_NGROUPS 18, KERN_DOMAINNAME 22, KERN_RAWPARTITION 24, KERN_NTPTIME 25,
        KERN_MBUF 39, KERN_PROC2 47, KERN_PROC_ARGS 48, KERN_MSGBUF 53, KERN_SBMAX 58, KERN_URND 61, KERN_SOMAXKVA 73, KERN_BUF 76,
        KERN_FILE2 77, KERN_HARDCLOCK_TICKS 80, KERN_ARND 81, KERN_BOOTTIME 83, KERN_EVCNT 84,
    }
    "kern.proc2: selection" {
        KERN_PROC_ALL 0, KERN_PROC_PID 1, KERN_PROC_PGRP 2, KERN_PROC_SESSION 3, KERN_PROC_TTY 4, KERN_PROC_UID 5,
        KERN_PROC_RUID 6, KERN_PROC_GID 7, KERN_PROC_RGID 8,
    }
    "kern.proc_args: what" { KERN_PROC_ARGV 1, KERN_PROC_NARGV 2, KERN_PROC_ENV 3, KERN_PROC_NENV 4, }
    "kern.file2: selection" { KERN_FILE_BYFILE 1, KERN_FILE_BYPID 2, }
    "hw" {
        HW_MACHINE 1, HW_MODEL 2, HW_NCPU 3, HW_BYTEORDER 4, HW_PHYSMEM 5, HW_USERMEM 6, HW_PAGESIZE 7,
        HW_DISKNAMES 8, HW_IOSTATS 9, HW_MACHINE_ARCH 10, HW_ALIGNBYTES 11, HW_PHYSMEM64 13, HW_USERMEM64 14,
        HW_IOSTATNAMES 15, HW_NCPUONLINE 16,
    }
    "vfs" { VFS_GENERIC 0, VFS_MAGICLINKS 4, }
    "net.inet.ip" {
        IPCTL_FORWARDING 1, IPCTL_SENDREDIRECTS 2, IPCTL_DEFTTL 3, IPCTL_FORWSRCRT 5, IPCTL_DIRECTEDBCAST 6,
        IPCTL_ALLOWSRCRT 7, IPCTL_SUBNETSARELOCAL 8, IPCTL_MTUDISC 9, IPCTL_ANONPORTMIN 10, IPCTL_ANONPORTMAX 11,
        IPCTL_MTUDISCTIMEOUT 12, IPCTL_MAXFLOWS 13, IPCTL_HOSTZEROBROADCAST 14, IPCTL_LOWPORTMIN 16,
        IPCTL_LOWPORTMAX 17, IPCTL_MAXFRAGPACKETS 18, IPCTL_GRE_TTL 19, IPCTL_CHECKINTERFACE 20, IPCTL_RANDOMID 22,
        IPCTL_LOOPBACKCKSUM 23, IPCTL_STATS 24, IPCTL_DAD_COUNT 25,
    }
    "net.inet.tcp" {
        TCPCTL_RFC1323 1, TCPCTL_SENDSPACE 2, TCPCTL_RECVSPACE 3, TCPCTL_MSSDFLT 4, TCPCTL_SYN_CACHE_LIMIT 5,
        TCPCTL_SYN_BUCKET_LIMIT 6, TCPCTL_SYN_CACHE_INTER 7, TCPCTL_INIT_WIN 8, TCPCTL_MSS_IFMTU 9, TCPCTL_SACK 10,
        TCPCTL_WSCALE 11, TCPCTL_TSTAMP 12, TCPCTL_COMPAT_42 13, TCPCTL_CWM 14, TCPCTL_CWM_BURSTSIZE 15,
        TCPCTL_ACK_ON_PUSH 16, TCPCTL_KEEPIDLE 17, TCPCTL_KEEPINTVL 18, TCPCTL_KEEPCNT 19, TCPCTL_SLOWHZ 20,
        TCPCTL_LOG_REFUSED 22, TCPCTL_RSTRATELIMIT 23, TCPCTL_RSTPPSLIMIT 24, TCPCTL_DELACK_TICKS 25,
        TCPCTL_INIT_WIN_LOCAL 26, TCPCTL_IDENT 27, TCPCTL_LOOPBACKCKSUM 29, TCPCTL_STATS 30, TCPCTL_DEBUG 31,
        TCPCTL_DEBX 32, TCPCTL_DROP 33, TCPCTL_MSL 34,
    }
    "net.inet.udp" {
        UDPCTL_CHECKSUM 1, UDPCTL_SENDSPACE 2, UDPCTL_RECVSPACE 3, UDPCTL_LOOPBACKCKSUM 4, UDPCTL_STATS 5,
    }
    "net.inet.icmp" {
        ICMPCTL_MASKREPL 1, ICMPCTL_RETURNDATABYTES 3, ICMPCTL_ERRPPSLIMIT 4, ICMPCTL_REDIRACCEPT 5,
        ICMPCTL_REDIRTIMEOUT 6, ICMPCTL_STATS 7, ICMPCTL_BMCASTECHO 8,
    }
    "net.inet6.ip6" {
        IPV6CTL_FORWARDING 1, IPV6CTL_SENDREDIRECTS 2, IPV6CTL_DEFHLIM 3, IPV6CTL_FORWSRCRT 5, IPV6CTL_STATS 6,
        IPV6CTL_MAXFRAGPACKETS 9, IPV6CTL_ACCEPT_RTADV 12, IPV6CTL_KEEPFAITH 13, IPV6CTL_LOG_INTERVAL 14,
        IPV6CTL_HDRNESTLIMIT 15, IPV6CTL_DAD_COUNT 16, IPV6CTL_AUTO_FLOWLABEL 17, IPV6CTL_DEFMCASTHLIM 18,
        IPV6CTL_KAME_VERSION 20, IPV6CTL_USE_DEPRECATED 21, IPV6CTL_RR_PRUNE 22, IPV6CTL_V6ONLY 24,
        IPV6CTL_ANONPORTMIN 28, IPV6CTL_ANONPORTMAX 29, IPV6CTL_LOWPORTMIN 30, IPV6CTL_LOWPORTMAX 31,
        IPV6CTL_AUTO_LINKLOCAL 35, IPV6CTL_ADDRCTLPOLICY 38, IPV6CTL_USE_DEFAULTZONE 39, IPV6CTL_MAXFRAGS 41,
        IPV6CTL_RTADV_MAXROUTES 43, IPV6CTL_RTADV_NUMROUTES 44,
    }
}

/// Mask of a node's type in its flags.
pub const CTLTYPE_MASK: u32 = 0xf;
/// An inner node.
pub const CTLTYPE_NODE: u32 = 1;
/// An int.
pub const CTLTYPE_INT: u32 = 2;
/// A string.
pub const CTLTYPE_STRING: u32 = 3;
/// A 64-bit number.
pub const CTLTYPE_QUAD: u32 = 4;
/// The same as `CTLTYPE_QUAD`.
pub const CTLTYPE_LONG: u32 = CTLTYPE_QUAD;
/// Bytes that only the reader understands.
pub const CTLTYPE_STRUCT: u32 = 5;
/// One byte, 0 or 1.
pub const CTLTYPE_BOOL: u32 = 6;

/// Mask of a node's flags.
pub const SYSCTL_FLAGS_MASK: u32 = 0x00ff_fff0;
/// May be read.
pub const CTLFLAG_READONLY: u32 = 0;
/// May be written by root.
pub const CTLFLAG_READWRITE: u32 = 0x70;
/// May be written by anyone.
pub const CTLFLAG_ANYWRITE: u32 = 0x80;
/// May be read by root only.
pub const CTLFLAG_PRIVATE: u32 = 0x100;
/// May not be destroyed.
pub const CTLFLAG_PERMANENT: u32 = 0x200;
/// Owns its data.
pub const CTLFLAG_OWNDATA: u32 = 0x400;
/// Holds its value in the node itself.
pub const CTLFLAG_IMMEDIATE: u32 = 0x800;
/// Is shown in hexadecimal.
pub const CTLFLAG_HEX: u32 = 0x1000;
/// Is a root.
pub const CTLFLAG_ROOT: u32 = 0x2000;
/// Matches any number.
pub const CTLFLAG_ANYNUMBER: u32 = 0x4000;
/// Is not listed.
pub const CTLFLAG_HIDDEN: u32 = 0x8000;
/// Is another node under a second name.
pub const CTLFLAG_ALIAS: u32 = 0x1_0000;
/// Owns its description.
pub const CTLFLAG_OWNDESC: u32 = 0x4_0000;
/// Is unsigned.
pub const CTLFLAG_UNSIGNED: u32 = 0x8_0000;
/// The version of the interface, in the top byte of a node's flags.
pub const SYSCTL_VERSION: u32 = 0x0100_0000;
/// Mask of the version.
pub const SYSCTL_VERS_MASK: u32 = 0xff00_0000;

/// The state of a process that runs or could, in [`KinfoProc2`].
pub const SACTIVE: i8 = 2;

plain! {
    /// A node as `CTL_QUERY` shows it (struct sysctlnode).
    pub struct Sysctlnode {
        pub sysctl_flags: u32,
        pub sysctl_num: i32,
        pub sysctl_name: [u8; 32],
        pub sysctl_ver: u32,
        pub pad0: u32,
        /// The union: of an inner node the counts of children (room and used, 4 bytes each), else an immediate value.
        pub sysctl_un: [u8; 16],
        pub sysctl_size: u64,
        pub sysctl_func: u64,
        pub sysctl_parent: u64,
        pub sysctl_desc: u64,
    }

    /// The head of a record of `CTL_DESCRIBE`; the string follows, padded to 4 bytes.
    pub struct Sysctldesc {
        pub descr_num: i32,
        pub descr_ver: u32,
        pub descr_len: u32,
    }

    /// kern.clockrate.
    pub struct Clockinfo {
        pub hz: i32,
        pub tick: i32,
        pub tickadj: i32,
        pub stathz: i32,
        pub profhz: i32,
    }

    /// A process of kern.proc2; what has no name here is zero.
    pub struct KinfoProc2 {
        pub reserved0: [u64; 14],
        pub p_flag: i32,
        pub p_pid: i32,
        pub p_ppid: i32,
        pub p_sid: i32,
        pub p_pgid: i32,
        pub p_tpgid: i32,
        pub p_uid: u32,
        pub p_ruid: u32,
        pub p_gid: u32,
        pub p_rgid: u32,
        pub reserved1: [u32; 52],
        pub p_stat: i8,
        pub reserved2: [u8; 7],
        pub p_comm: [u8; 24],
        pub reserved3: [u64; 2],
        pub p_login: [u8; 24],
        pub reserved4: [u64; 3],
        pub p_ustart_sec: u32,
        pub p_ustart_usec: u32,
        pub reserved5: [u64; 19],
        pub p_nlwps: u64,
        pub reserved6: [u64; 7],
    }

    /// An open file of kern.file2.
    pub struct KinfoFile {
        pub ki_fileaddr: u64,
        pub ki_flag: u32,
        pub ki_iflags: u32,
        pub ki_ftype: u32,
        pub ki_count: u32,
        pub ki_msgcount: u32,
        pub ki_usecount: u32,
        pub ki_fucred: u64,
        pub ki_fuid: u32,
        pub ki_fgid: u32,
        pub ki_fops: u64,
        pub ki_foffset: u64,
        pub ki_fdata: u64,
        pub ki_vun: u64,
        pub ki_vsize: u64,
        pub ki_vtype: u32,
        pub ki_vtag: u32,
        pub ki_vdata: u64,
        pub ki_pid: i32,
        pub ki_fd: i32,
        pub ki_ofileflags: u32,
        pub pad0: u32,
    }
}

/// `ki_ftype` of a file of a file system.
pub const DTYPE_VNODE: u32 = 1;
/// `ki_ftype` of a socket.
pub const DTYPE_SOCKET: u32 = 2;
/// `ki_ftype` of a pipe.
pub const DTYPE_PIPE: u32 = 3;
/// `ki_ftype` of a kqueue.
pub const DTYPE_KQUEUE: u32 = 4;
/// `ki_ftype` of anything else.
pub const DTYPE_MISC: u32 = 5;
