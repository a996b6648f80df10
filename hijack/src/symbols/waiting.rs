//! Entry points that wait for descriptors.

use super::symbols;

symbols! {
    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = SYS_poll(fds, count, timeout), also __poll;
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int = SYS_poll(fds, count, timeout);
    fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int = SYS_ppoll(fds, count, timeout, mask, 8);
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t) -> c_int = SYS_ppoll(fds, count, timeout, mask, 8);
    fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int = SYS_select(count, read, write, except, timeout), also __select;
    fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int = SYS_pselect6(count, read, write, except, timeout, mask) through poll::pselect_function;
    fn fanotify_mark(fd: c_int, flags: c_uint, mask: c_ulong, dir: c_int, path: *const c_char) -> c_int = SYS_fanotify_mark(fd, flags, mask, dir, path);
    fn epoll_create(size: c_int) -> c_int = SYS_epoll_create(size) through epoll::create_function;
    fn epoll_create1(flags: c_int) -> c_int = SYS_epoll_create1(flags) through epoll::create_function;
    fn epoll_wait(set: c_int, events: *mut c_void, max: c_int, timeout: c_int) -> c_int = SYS_epoll_wait(set, events, max, timeout) through bell::wait;
    fn epoll_pwait(set: c_int, events: *mut c_void, max: c_int, timeout: c_int, mask: *const sigset_t) -> c_int = SYS_epoll_pwait(set, events, max, timeout, mask, 8) through bell::wait;
    fn epoll_pwait2(set: c_int, events: *mut c_void, max: c_int, timeout: *const timespec, mask: *const sigset_t) -> c_int = SYS_epoll_pwait2(set, events, max, timeout, mask, 8) through bell::wait;
    fn epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut c_void) -> c_int = SYS_epoll_ctl(set, operation, fd, event);
}
