//! Programs that confine themselves: seccomp(2) filters, a limit of open files below what is open.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("seccomp_filter", OneProcess, seccomp_filter),
    ("seccomp_by_number", OneProcess, seccomp_by_number),
    ("seccomp_strict", Processes, seccomp_strict),
    ("no_more_files", OneProcess, no_more_files),
];

/// A filter like OpenSSH's: `getppid` is refused with `EPERM`, what `allowed` does not name ends the process.
fn filter(allowed: &[c_long]) -> Vec<sock_filter> {
    let step = |code: u32, jt, k| sock_filter { code: code as u16, jt, jf: 0, k };
    let answer = |k| step(BPF_RET | BPF_K, 0, k);
    let mut steps = vec![step(BPF_LD | BPF_W | BPF_ABS, 0, 0)];
    for (number, what) in allowed
        .iter()
        .map(|number| (*number, SECCOMP_RET_ALLOW))
        .chain([(SYS_getppid, SECCOMP_RET_ERRNO | EPERM as u32)])
    {
        // Not this number: step over the answer.
        steps.push(sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: 1, k: number as u32 });
        steps.push(answer(what));
    }
    steps.push(answer(SECCOMP_RET_KILL_PROCESS));
    steps
}

/// What OpenSSH's sandbox allows, and what ends a process.
const ALLOWED: &[c_long] = &[
    SYS_read,
    SYS_write,
    SYS_close,
    SYS_poll,
    SYS_ppoll,
    SYS_select,
    SYS_pselect6,
    SYS_shutdown,
    SYS_brk,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_futex,
    SYS_getpid,
    SYS_getrandom,
    SYS_clock_gettime,
    SYS_rt_sigprocmask,
    SYS_sigaltstack,
    SYS_exit,
    SYS_exit_group,
];

/// Talks over TCP with what a filter allows.
unsafe fn talk(near: c_int, far: c_int) {
    unsafe {
        show("write", write(near, c"ping".as_ptr().cast(), 4) as i64);
        let mut set = pollfd { fd: far, events: POLLIN, revents: 0 };
        show("poll", poll(&mut set, 1, -1));
        let mut buf = [0u8; 16];
        show("read", read(far, buf.as_mut_ptr().cast(), 16) as i64);
        show("shutdown", shutdown(far, SHUT_WR));
        show("read at the end", read(near, buf.as_mut_ptr().cast(), 16) as i64);
        show("close", close(near) + close(far));
    }
}

fn seccomp_filter(_: &str) {
    unsafe {
        let (near, far) = connected();
        let mut steps = filter(ALLOWED);
        let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        show("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        show("prctl of nothing", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, null::<sock_fprog>(), 0, 0));
        show("prctl", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program, 0, 0));
        show("getppid", syscall(SYS_getppid));
        talk(near, far);
    }
}

fn seccomp_by_number(_: &str) {
    unsafe {
        let (near, far) = connected();
        let mut steps = filter(ALLOWED);
        let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        show("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        let none = sock_fprog { len: 0, filter: steps.as_mut_ptr() };
        show("seccomp of no step", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const none));
        show("seccomp", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const program));
        show("getppid", syscall(SYS_getppid));
        talk(near, far);
    }
}

/// In a child, which ends by a call that strict mode leaves, and in one that goes too far.
fn seccomp_strict(folder: &str) {
    unsafe {
        let (near, far) = connected();
        let file = open(path(folder, "strict").as_ptr(), O_CREAT | O_RDWR, 0o600);
        for further in [false, true] {
            let child = fork();
            if child == 0 {
                // What happens is told by the status: printing would be a call too many.
                let mut buf = [0u8; 8];
                let mode = if further {
                    syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0)
                } else {
                    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0).into()
                };
                let wrote = write(near, c"ping".as_ptr().cast(), 4) + write(file, c"text".as_ptr().cast(), 4);
                let got = read(far, buf.as_mut_ptr().cast(), 8) + read(file, buf.as_mut_ptr().cast(), 8);
                if further {
                    syscall(SYS_getppid);
                }
                syscall(SYS_exit, mode + wrote as i64 * 10 + got as i64);
            }
            let mut status = 0;
            waitpid(child, &mut status, 0);
            show("status", if WIFEXITED(status) { WEXITSTATUS(status) } else { 256 });
        }
        show("both wrote", lseek(file, 0, SEEK_CUR));
    }
}

fn no_more_files(_: &str) {
    unsafe {
        let (near, far) = connected();
        let limit = rlimit { rlim_cur: 1, rlim_max: 1 };
        show("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
        show("socket", socket(AF_INET, SOCK_STREAM, 0));
        show("dup", dup(near));
        talk(near, far);
    }
}
