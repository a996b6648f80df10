//! The doors of libc: a call does the same by whichever name, number or pointer it is made.

use super::prelude::*;

pub(crate) const TABLE: &[Row] = &[
    ("by_number", OneProcess, by_number),
    ("by_dlsym", OneProcess, by_dlsym),
    ("a_name_of_our_own", OneProcess, a_name_of_our_own),
    ("old_times", OneProcess, old_times),
    ("old_directory_records", OneProcess, old_directory_records),
    ("fortified_and_old_names", OneProcess, fortified_and_old_names),
    ("calls_that_no_file_serves", OneProcess, calls_that_no_file_serves),
];

/// syscall(2) with the numbers that programs use it for.
fn by_number(folder: &str) {
    let (file, dir) = (path(folder, "file"), path(folder, "d"));
    unsafe {
        show("mkdir", syscall(SYS_mkdir, dir.as_ptr(), 0o755));
        let fd = syscall(SYS_openat, AT_FDCWD, file.as_ptr(), O_RDWR | O_CREAT, 0o640) as i32;
        show("write", syscall(SYS_write, fd, c"twelve bytes".as_ptr(), 12usize));
        show("pwrite64", syscall(SYS_pwrite64, fd, c"T".as_ptr(), 1usize, 0));
        let mut status: stat = zeroed();
        show("newfstatat", syscall(SYS_newfstatat, AT_FDCWD, file.as_ptr(), &mut status, 0));
        println!("{} bytes, mode {:o}", status.st_size, status.st_mode);
        let mut more: statx = zeroed();
        show("statx", syscall(SYS_statx, AT_FDCWD, file.as_ptr(), 0, STATX_BASIC_STATS, &mut more));
        println!("{} bytes", more.stx_size);
        let mut bytes = [0u8; 16];
        show("pread64", syscall(SYS_pread64, fd, bytes.as_mut_ptr(), 16usize, 0));
        println!("{:?}", CStr::from_bytes_until_nul(&bytes));
        show("close", syscall(SYS_close, fd));
        show("close again", syscall(SYS_close, fd));
        show("rmdir", syscall(SYS_rmdir, dir.as_ptr()));
        show("a number that is none", syscall(9999));
        println!("{}", syscall(SYS_getpid) == i64::from(getpid()));
    }
}

type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, ...) -> c_int;
type StatAt = unsafe extern "C" fn(c_int, *const c_char, *mut stat, c_int) -> c_int;
type OpenDir = unsafe extern "C" fn(c_int) -> *mut DIR;
type UnlinkAt = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;
type RenameAt = unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char) -> c_int;
type FutimesAt = unsafe extern "C" fn(c_int, *const c_char, *const timeval) -> c_int;
type Futimens = unsafe extern "C" fn(c_int, *const timespec) -> c_int;
type Lutimes = unsafe extern "C" fn(*const c_char, *const timeval) -> c_int;

/// What a function that is found by its name has to be called as.
unsafe fn find<T: Copy>(name: &CStr) -> T {
    let address = unsafe { dlsym(RTLD_DEFAULT, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    unsafe { std::mem::transmute_copy(&address) }
}

/// The functions that Java looks up.
fn by_dlsym(folder: &str) {
    let folder_name = CString::new(folder).unwrap();
    let times = [timeval { tv_sec: 11, tv_usec: 5 }, timeval { tv_sec: 22, tv_usec: 7 }];
    unsafe {
        let (openat, fstatat): (OpenAt, StatAt) = (find(c"openat64"), find(c"fstatat64"));
        let (fdopendir, unlinkat): (OpenDir, UnlinkAt) = (find(c"fdopendir"), find(c"unlinkat"));
        let renameat: RenameAt = find(c"renameat");
        let (futimesat, futimens, lutimes): (FutimesAt, Futimens, Lutimes) =
            (find(c"futimesat"), find(c"futimens"), find(c"lutimes"));
        let dir = openat(AT_FDCWD, folder_name.as_ptr(), O_RDONLY | O_DIRECTORY);
        let fd = openat(dir, c"new".as_ptr(), O_RDWR | O_CREAT, 0o600);
        works("openat64", fd);
        show("renameat", renameat(dir, c"new".as_ptr(), dir, c"named".as_ptr()));
        show("futimesat", futimesat(dir, c"named".as_ptr(), times.as_ptr()));
        let mut status: stat = zeroed();
        show("fstatat64", fstatat(dir, c"named".as_ptr(), &mut status, 0));
        println!("{} {} {} {}", status.st_atime, status.st_atime_nsec, status.st_mtime, status.st_mtime_nsec);
        show("futimens", futimens(fd, [timespec { tv_sec: 33, tv_nsec: 9 }; 2].as_ptr()));
        fstatat(dir, c"named".as_ptr(), &mut status, 0);
        println!("{} {}", status.st_mtime, status.st_mtime_nsec);
        symlinkat(c"named".as_ptr(), dir, c"link".as_ptr());
        show("lutimes", lutimes(path(folder, "link").as_ptr(), times.as_ptr()));
        fstatat(dir, c"link".as_ptr(), &mut status, AT_SYMLINK_NOFOLLOW);
        println!("{}", status.st_mtime);
        let stream = fdopendir(dup(dir));
        let mut names = Vec::new();
        loop {
            let entry = readdir(stream);
            if entry.is_null() {
                break;
            }
            names.push(CStr::from_ptr((*entry).d_name.as_ptr()).to_owned());
        }
        names.sort();
        println!("{names:?}");
        closedir(stream);
        show("unlinkat", unlinkat(dir, c"named".as_ptr(), 0));
        show("unlinkat again", unlinkat(dir, c"named".as_ptr(), 0));
        close(fd);
        close(dir);
    }
}

/// As openssh has it: a function of the program's own under a name of libc's, which makes the calls of libc's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn mkostemps(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int {
    // The call that counts is made inside libc, which no hook on a name sees.
    let stream = unsafe { fopen(template, c"w+".as_ptr()) };
    if stream.is_null() || suffix != 0 || flags != 0 { -1 } else { unsafe { fileno(stream) } }
}

fn a_name_of_our_own(folder: &str) {
    let name = path(folder, "own");
    unsafe {
        let fd = mkostemps(name.as_ptr().cast_mut(), 0, 0);
        works("our own mkostemps", fd);
        show("write", write(fd, c"own".as_ptr().cast(), 3) as i64);
        show("access", access(name.as_ptr(), F_OK));
        show("close", close(fd));
    }
}

fn old_times(folder: &str) {
    let file = create(folder, "file", b"x");
    let shown = |what: &str, done: c_int| unsafe {
        show(what, done);
        let mut status: stat = zeroed();
        stat(file.as_ptr(), &mut status);
        println!("{} {} {} {}", status.st_atime, status.st_atime_nsec, status.st_mtime, status.st_mtime_nsec);
    };
    let times = |usec| [timeval { tv_sec: 1000, tv_usec: usec }, timeval { tv_sec: 2000, tv_usec: 1 }];
    unsafe {
        shown("utime", utime(file.as_ptr(), &utimbuf { actime: 7, modtime: -9 }));
        shown("utimes", utimes(file.as_ptr(), times(999_999).as_ptr()));
        shown("utimes with a bad time", utimes(file.as_ptr(), times(1_000_000).as_ptr()));
        let fd = open(file.as_ptr(), O_RDWR);
        shown("futimes", futimes(fd, [timeval { tv_sec: 5, tv_usec: 6 }; 2].as_ptr()));
        shown("utime by number", syscall(SYS_utime, file.as_ptr(), &utimbuf { actime: 1, modtime: 2 }) as i32);
        shown("utimes by number", syscall(SYS_utimes, file.as_ptr(), times(3).as_ptr()) as i32);
        shown("a bad time by number", syscall(SYS_utimes, file.as_ptr(), times(-1).as_ptr()) as i32);
        shown("futimesat by number", syscall(SYS_futimesat, fd, null::<c_char>(), times(4).as_ptr()) as i32);
        let before = time(null_mut());
        show("utime to now", utime(file.as_ptr(), null()));
        show("utimes by number to now", syscall(SYS_utimes, file.as_ptr(), null::<timeval>()));
        let mut status: stat = zeroed();
        fstat(fd, &mut status);
        println!("{}", (before - 1..before + 60).contains(&status.st_mtime));
        show("a file that is not there", utime(c"nowhere/x".as_ptr(), null()));
        close(fd);
    }
}

/// getdents(2), which libc left long ago.
fn old_directory_records(folder: &str) {
    for name in ["a", "bb", "a longer name"] {
        create(folder, name, b"");
    }
    let folder = CString::new(folder).unwrap();
    unsafe {
        let fd = open(folder.as_ptr(), O_RDONLY | O_DIRECTORY);
        let mut found = Vec::new();
        let mut buf = [0u8; 1024];
        loop {
            let got = syscall(SYS_getdents, fd, buf.as_mut_ptr(), buf.len()) as usize;
            if got == 0 {
                break;
            }
            let mut at = 0;
            while at < got {
                let length = usize::from(u16::from_ne_bytes([buf[at + 16], buf[at + 17]]));
                let name = CStr::from_bytes_until_nul(&buf[at + 18..at + length]).unwrap().to_owned();
                found.push((name, buf[at + length - 1]));
                at += length;
            }
        }
        found.sort();
        println!("{found:?}");
        close(fd);
    }
}

unsafe extern "C" {
    fn __open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn __read(fd: c_int, buf: *mut c_void, len: usize) -> isize;
    fn __write(fd: c_int, buf: *const c_void, len: usize) -> isize;
    fn __lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t;
    fn __close(fd: c_int) -> c_int;
    fn __read_chk(fd: c_int, buf: *mut c_void, len: usize, room: usize) -> isize;
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int;
    fn __getcwd_chk(buf: *mut c_char, size: usize, room: usize) -> *mut c_char;
    fn eaccess(path: *const c_char, mode: c_int) -> c_int;
}

fn fortified_and_old_names(folder: &str) {
    let file = path(folder, "file");
    unsafe {
        let fd = __open(file.as_ptr(), O_RDWR | O_CREAT, 0o600);
        show("__write", __write(fd, c"hello".as_ptr().cast(), 5) as i64);
        show("__lseek", __lseek(fd, 1, SEEK_SET));
        let mut bytes = [0u8; 8];
        show("__read", __read(fd, bytes.as_mut_ptr().cast(), 2) as i64);
        show("__read_chk", __read_chk(fd, bytes.as_mut_ptr().add(2).cast(), 2, 6) as i64);
        println!("{:?}", CStr::from_bytes_until_nul(&bytes));
        println!("isatty {}, {}", isatty(fd), CStr::from_ptr(strerror(errno())).to_string_lossy());
        println!("posix_fadvise {}", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
        println!("posix_fadvise with bad advice {}", posix_fadvise(fd, 0, 0, 77));
        println!("posix_fadvise of nothing {}", posix_fadvise(-1, 0, 0, POSIX_FADV_NORMAL));
        show("__close", __close(fd));
        show("eaccess", eaccess(file.as_ptr(), R_OK));
        works("__open64_2", __open64_2(file.as_ptr(), O_RDONLY));
        show("chdir", chdir(CString::new(folder).unwrap().as_ptr()));
        let mut cwd = [0 as c_char; PATH_MAX as usize];
        println!(
            "{}",
            CStr::from_ptr(__getcwd_chk(cwd.as_mut_ptr(), cwd.len(), cwd.len())).to_bytes() == folder.as_bytes()
        );
        println!("{}", CStr::from_ptr(getcwd(null_mut(), 0)).to_bytes() == folder.as_bytes());
        println!("{}", getcwd(cwd.as_mut_ptr(), 2).is_null() && errno() == ERANGE);
    }
}

fn calls_that_no_file_serves(folder: &str) {
    let file = create(folder, "file", b"x");
    unsafe {
        let fd = open(file.as_ptr(), O_RDWR);
        let time: itimerspec = zeroed();
        let mut mask: sigset_t = zeroed();
        sigemptyset(&mut mask);
        show("timerfd_settime", timerfd_settime(fd, 0, &time, null_mut()));
        show("signalfd", signalfd(fd, &mask, 0));
        show("setns", setns(fd, 0));
        show("sync_file_range", sync_file_range(fd, 0, 0, 0));
        // The host asks for the privilege first.
        if geteuid() == 0 {
            show("umount2 of a file", umount2(file.as_ptr(), 0));
            show("umount2 with strange flags", umount2(file.as_ptr(), 0x4000));
            show("swapoff", swapoff(file.as_ptr()));
        }
        sync();
        show("syncfs", syncfs(fd));
        close(fd);
    }
}
