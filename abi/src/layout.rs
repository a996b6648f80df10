//! Compile-time checks: every structure's size and offsets, NetBSD's against its documented layout and those of
//! [`linux`](crate::linux) against the host kernel's own.

use core::mem::{offset_of, size_of};

use linux_raw_sys::{general, net};

use crate::{event, fcntl, ioctl, linux, mount, poll, resource, route, signal, socket, stat, sysctl, time};

/// Checks sizes and offsets: `type size { field offset, … }`.
macro_rules! layout {
    ($($module:ident::$name:ident $size:literal { $($field:ident $offset:literal),* $(,)? })*) => {$(
        const _: () = {
            assert!(size_of::<$module::$name>() == $size, concat!("size of ", stringify!($name)));
            $(assert!(offset_of!($module::$name, $field) == $offset, concat!("offset of ", stringify!($field)));)*
        };
    )*};
}

/// Checks that two structures have one size and the same offsets: `ours = theirs { our field: their field, … }`.
macro_rules! twin {
    ($($ours:path = $theirs:path { $($field:ident: $their_field:ident),* $(,)? })*) => {$(
        const _: () = {
            assert!(size_of::<$ours>() == size_of::<$theirs>(), concat!("size of ", stringify!($ours)));
            $(assert!(
                offset_of!($ours, $field) == offset_of!($theirs, $their_field),
                concat!("offset of ", stringify!($field)),
            );)*
        };
    )*};
}

layout! {
    stat::Stat 152 {
        st_dev 0, st_mode 8, st_ino 16, st_nlink 24, st_uid 28, st_gid 32, st_rdev 40, st_atim 48, st_mtim 64,
        st_ctim 80, st_birthtim 96, st_size 112, st_blocks 120, st_blksize 128, st_flags 132, st_gen 136,
        st_spare 140,
    }
    stat::Statvfs 2256 {
        f_flag 0, f_bsize 8, f_frsize 16, f_iosize 24, f_blocks 32, f_bfree 40, f_bavail 48, f_bresvd 56,
        f_files 64, f_ffree 72, f_favail 80, f_fresvd 88, f_syncreads 96, f_syncwrites 104, f_asyncreads 112,
        f_asyncwrites 120, f_fsidx 128, f_fsid 136, f_namemax 144, f_owner 152, f_spare 156, f_fstypename 172,
        f_mntonname 204, f_mntfromname 1228,
    }
    event::Kevent 40 { ident 0, filter 8, flags 12, fflags 16, data 24, udata 32 }
    fcntl::Flock 24 { l_start 0, l_len 8, l_pid 16, l_type 20, l_whence 22 }
    socket::IoVec 16 { iov_base 0, iov_len 8 }
    socket::SockaddrStorage 128 { ss_len 0, ss_family 1 }
    socket::SockaddrIn 16 { sin_len 0, sin_family 1, sin_port 2, sin_addr 4, sin_zero 8 }
    socket::SockaddrIn6 28 { sin6_len 0, sin6_family 1, sin6_port 2, sin6_flowinfo 4, sin6_addr 8, sin6_scope_id 24 }
    socket::SockaddrUn 106 { sun_len 0, sun_family 1, sun_path 2 }
    socket::SockaddrDl 20 {
        sdl_len 0, sdl_family 1, sdl_index 2, sdl_type 4, sdl_nlen 5, sdl_alen 6, sdl_slen 7, sdl_data 8,
    }
    socket::MsgHdr 48 {
        msg_name 0, msg_namelen 8, msg_iov 16, msg_iovlen 24, msg_control 32, msg_controllen 40, msg_flags 44,
    }
    socket::MmsgHdr 56 { msg_hdr 0, msg_len 48 }
    socket::CmsgHdr 12 { cmsg_len 0, cmsg_level 4, cmsg_type 8 }
    socket::Sockcred 28 { sc_uid 4, sc_euid 8, sc_gid 12, sc_egid 16, sc_ngroups 20, sc_groups 24 }
    socket::InPktinfo 8 { ipi_addr 0, ipi_ifindex 4 }
    socket::In6Pktinfo 20 { ipi6_addr 0, ipi6_ifindex 16 }
    socket::IpMreq 8 { imr_multiaddr 0, imr_interface 4 }
    socket::Ipv6Mreq 20 { ipv6mr_multiaddr 0, ipv6mr_interface 16 }
    socket::Linger 8 { l_onoff 0, l_linger 4 }
    ioctl::Ifreq 144 { ifr_name 0, ifr_ifru 16 }
    ioctl::Ifconf 16 { ifc_len 0, ifc_buf 8 }
    ioctl::Ifaliasreq 64 { ifra_name 0, ifra_addr 16, ifra_dstaddr 32, ifra_mask 48 }
    ioctl::In6Ifreq 288 { ifr_name 0, ifr_ifru 16 }
    ioctl::In6Aliasreq 128 {
        ifra_name 0, ifra_addr 16, ifra_dstaddr 44, ifra_prefixmask 72, ifra_flags 100, ifra_lifetime 104,
    }
    ioctl::In6Addrlifetime 24 { ia6t_expire 0, ia6t_preferred 8, ia6t_vltime 16, ia6t_pltime 20 }
    ioctl::Ifdrv 40 { ifd_name 0, ifd_cmd 16, ifd_len 24, ifd_data 32 }
    ioctl::Ifcapreq 32 { ifcr_name 0, ifcr_capabilities 16, ifcr_capenable 24 }
    ioctl::IfClonereq 16 { ifcr_total 0, ifcr_count 4, ifcr_buffer 8 }
    ioctl::Ifdatareq 152 { ifdr_name 0, ifdr_data 16 }
    route::IfData 136 {
        ifi_type 0, ifi_addrlen 1, ifi_hdrlen 2, ifi_link_state 4, ifi_mtu 8, ifi_metric 16, ifi_baudrate 24,
        ifi_ipackets 32, ifi_ierrors 40, ifi_opackets 48, ifi_oerrors 56, ifi_collisions 64, ifi_ibytes 72,
        ifi_obytes 80, ifi_imcasts 88, ifi_omcasts 96, ifi_iqdrops 104, ifi_noproto 112, ifi_lastchange 120,
    }
    ioctl::Ifmediareq 48 {
        ifm_name 0, ifm_current 16, ifm_mask 20, ifm_status 24, ifm_active 28, ifm_count 32, ifm_ulist 40,
    }
    route::RtMsghdr 120 {
        rtm_msglen 0, rtm_version 2, rtm_type 3, rtm_index 4, rtm_flags 8, rtm_addrs 12, rtm_pid 16, rtm_seq
        20, rtm_errno 24, rtm_use 28, rtm_inits 32, rtm_rmx 40,
    }
    route::RtMetrics 80 {
        rmx_locks 0, rmx_mtu 8, rmx_hopcount 16, rmx_recvpipe 24, rmx_sendpipe 32, rmx_ssthresh 40, rmx_rtt
        48, rmx_rttvar 56, rmx_expire 64, rmx_pksent 72,
    }
    route::IfMsghdr 152 {
        ifm_msglen 0, ifm_version 2, ifm_type 3, ifm_addrs 4, ifm_flags 8, ifm_index 12, ifm_data 16,
    }
    route::IfaMsghdr 24 {
        ifam_msglen 0, ifam_version 2, ifam_type 3, ifam_addrs 4, ifam_flags 8, ifam_index 16, ifam_metric 12,
    }
    route::IfAnnouncemsghdr 24 { ifan_msglen 0, ifan_version 2, ifan_type 3, ifan_index 4, ifan_name 6, ifan_what 22 }
    time::Timespec 16 { tv_sec 0, tv_nsec 8 }
    time::Timeval 16 { tv_sec 0, tv_usec 8 }
    time::Itimerval 32 { it_interval 0, it_value 16 }
    time::Itimerspec 32 { it_interval 0, it_value 16 }
    time::Timezone 8 { tz_minuteswest 0, tz_dsttime 4 }
    poll::PollFd 8 { fd 0, events 4, revents 6 }
    signal::Sigset 16 { bits 0 }
    resource::Rlimit 16 { rlim_cur 0, rlim_max 8 }
    socket::Unpcbid 12 { unp_pid 0, unp_euid 4, unp_egid 8 }
    socket::TcpInfo 236 {
        tcpi_state 0, tcpi_options 5, tcpi_wscales 6, tcpi_rto 8, tcpi_snd_mss 16, tcpi_rcv_mss 20,
        tcpi_last_data_recv 52, tcpi_rtt 68, tcpi_rttvar 72, tcpi_snd_ssthresh 76, tcpi_snd_cwnd 80,
        tcpi_rcv_space 96, tcpi_snd_wnd 100, tcpi_snd_rexmitpack 120, tcpi_snd_zerowin 128,
    }
    ioctl::Winsize 8 { ws_row 0, ws_col 2, ws_xpixel 4, ws_ypixel 6 }
    ioctl::Termios 44 { c_iflag 0, c_oflag 4, c_cflag 8, c_lflag 12, c_cc 16, c_ispeed 36, c_ospeed 40 }
    mount::TmpfsArgs 40 {
        ta_version 0, ta_nodes_max 8, ta_size_max 16, ta_root_uid 24, ta_root_gid 28, ta_root_mode 32,
    }
    mount::UfsArgs 8 { fspec 0 }
    mount::MsdosfsArgs 168 { fspec 0, uid 136, gid 140, mask 144, flags 148, version 152, dirmask 156, gmtoff 160 }
    mount::IsoArgs 144 { fspec 0, flags 136 }
    mount::NullArgs 136 { target 0 }
    mount::ProcfsArgs 8 { version 0, flags 4 }
    mount::PtyfsArgs 16 { version 0, gid 4, mode 8, flags 12 }
    sysctl::Sysctlnode 96 {
        sysctl_flags 0, sysctl_num 4, sysctl_name 8, sysctl_ver 40, sysctl_un 48, sysctl_size 64, sysctl_func
        72, sysctl_parent 80, sysctl_desc 88,
    }
    sysctl::Sysctldesc 12 { descr_num 0, descr_ver 4, descr_len 8 }
    sysctl::Clockinfo 20 { hz 0, tick 4, tickadj 8, stathz 12, profhz 16 }
    sysctl::KinfoProc2 680 {
        p_flag 112, p_pid 116, p_ppid 120, p_uid 136, p_ruid 140, p_gid 144, p_stat 360, p_comm 368, p_login
        408, p_ustart_sec 456, p_nlwps 616,
    }
    sysctl::KinfoFile 120 {
        ki_fileaddr 0, ki_flag 8, ki_iflags 12, ki_ftype 16, ki_count 20, ki_msgcount 24, ki_usecount 28,
        ki_fucred 32, ki_fuid 40, ki_fgid 44, ki_fops 48, ki_foffset 56, ki_fdata 64, ki_vun 72, ki_vsize 80,
        ki_vtype 88, ki_vtag 92, ki_vdata 96, ki_pid 104, ki_fd 108, ki_ofileflags 112,
    }
    // Linux's, where the host's headers have no twin to compare with.
    linux::Ifreq 40 { ifr_name 0, ifr_ifru 16 }
}

twin! {
    linux::Stat = general::stat {
        st_dev: st_dev, st_ino: st_ino, st_nlink: st_nlink, st_mode: st_mode, st_uid: st_uid, st_gid: st_gid,
        st_rdev: st_rdev, st_size: st_size, st_blksize: st_blksize, st_blocks: st_blocks, st_atim: st_atime,
        st_mtim: st_mtime, st_ctim: st_ctime,
    }
    linux::StatxTimestamp = general::statx_timestamp { tv_sec: tv_sec, tv_nsec: tv_nsec }
    linux::Statx = general::statx {
        stx_mask: stx_mask, stx_blksize: stx_blksize, stx_attributes: stx_attributes, stx_nlink: stx_nlink,
        stx_uid: stx_uid, stx_gid: stx_gid, stx_mode: stx_mode, stx_ino: stx_ino, stx_size: stx_size,
        stx_blocks: stx_blocks, stx_attributes_mask: stx_attributes_mask, stx_atime: stx_atime, stx_btime: stx_btime,
        stx_ctime: stx_ctime, stx_mtime: stx_mtime, stx_rdev_major: stx_rdev_major, stx_rdev_minor: stx_rdev_minor,
        stx_dev_major: stx_dev_major, stx_dev_minor: stx_dev_minor, stx_mnt_id: stx_mnt_id,
    }
    linux::Statfs = general::statfs {
        f_type: f_type, f_bsize: f_bsize, f_blocks: f_blocks, f_bfree: f_bfree, f_bavail: f_bavail, f_files: f_files,
        f_ffree: f_ffree, f_fsid: f_fsid, f_namelen: f_namelen, f_frsize: f_frsize, f_flags: f_flags,
    }
    linux::Flock = general::flock {
        l_type: l_type, l_whence: l_whence, l_start: l_start, l_len: l_len, l_pid: l_pid,
    }
    linux::Timeval = general::__kernel_old_timeval { tv_sec: tv_sec, tv_usec: tv_usec }
    linux::Itimerval = general::__kernel_old_itimerval { it_interval: it_interval, it_value: it_value }
    linux::MsgHdr = net::msghdr {
        msg_name: msg_name, msg_namelen: msg_namelen, msg_iov: msg_iov, msg_iovlen: msg_iovlen,
        msg_control: msg_control, msg_controllen: msg_controllen, msg_flags: msg_flags,
    }
    linux::MmsgHdr = net::mmsghdr { msg_hdr: msg_hdr, msg_len: msg_len }
    linux::CmsgHdr = net::cmsghdr { cmsg_len: cmsg_len, cmsg_level: cmsg_level, cmsg_type: cmsg_type }
    linux::Ucred = net::ucred { pid: pid, uid: uid, gid: gid }
    linux::InPktinfo = net::in_pktinfo { ipi_ifindex: ipi_ifindex, ipi_spec_dst: ipi_spec_dst, ipi_addr: ipi_addr }
    linux::IpMreqn = net::ip_mreqn {
        imr_multiaddr: imr_multiaddr, imr_address: imr_address, imr_ifindex: imr_ifindex,
    }
    linux::Rlimit = general::rlimit { rlim_cur: rlim_cur, rlim_max: rlim_max }
    linux::Termios = general::termios {
        c_iflag: c_iflag, c_oflag: c_oflag, c_cflag: c_cflag, c_lflag: c_lflag, c_line: c_line, c_cc: c_cc,
    }

    // The same layout on both systems: no conversion.
    poll::PollFd = general::pollfd { fd: fd, events: events, revents: revents }
    time::Timespec = general::__kernel_timespec { tv_sec: tv_sec, tv_nsec: tv_nsec }
    socket::IoVec = general::iovec { iov_base: iov_base, iov_len: iov_len }
    socket::Linger = net::linger { l_onoff: l_onoff, l_linger: l_linger }
    socket::IpMreq = net::ip_mreq { imr_multiaddr: imr_multiaddr, imr_interface: imr_interface }
    socket::In6Pktinfo = net::in6_pktinfo { ipi6_addr: ipi6_addr, ipi6_ifindex: ipi6_ifindex }
    socket::Ipv6Mreq = net::ipv6_mreq {
        ipv6mr_multiaddr: ipv6mr_multiaddr, ipv6mr_interface: ipv6mr_ifindex,
    }
    ioctl::Winsize = general::winsize {
        ws_row: ws_row, ws_col: ws_col, ws_xpixel: ws_xpixel, ws_ypixel: ws_ypixel,
    }
    ioctl::Ifconf = net::ifconf { ifc_len: ifc_len, ifc_buf: ifc_ifcu }
}
