//! What the links below `/proc/self` and `/dev/fd` show of descriptors and of the working directory, and what is done by these names.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("links_of_files", OneProcess, of_files),
    ("links_of_moved_files", OneProcess, of_moved_files),
    ("links_of_nameless", OneProcess, of_nameless),
    ("links_of_the_working_directory", OneProcess, of_the_working_directory),
    ("links_followed", OneProcess, followed),
    ("links_executed", Processes, executed),
];

/// Shows a link's target, the folder left away.
fn shown(folder: &str, what: &str, name: &str) {
    let name = CString::new(name).unwrap();
    let mut buf = [0u8; 4096];
    let got = unsafe { readlink(name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    if got < 0 {
        show(what, got as i64);
        return;
    }
    println!("{what}: {:?}", String::from_utf8_lossy(&buf[..got as usize]).replace(folder, "FOLDER"));
}

fn names_of(fd: c_int) -> [String; 3] {
    [format!("/proc/self/fd/{fd}"), format!("/dev/fd/{fd}"), format!("/proc/{}/fd/{fd}", unsafe { getpid() })]
}

fn by_number(folder: &str, what: &str, fd: c_int) {
    shown(folder, what, &format!("/proc/self/fd/{fd}"));
}

fn of_files(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        mkdir(path(folder, "d").as_ptr(), 0o755);
        let fd = open(file.as_ptr(), O_RDONLY);
        for name in names_of(fd) {
            shown(folder, "file", &name);
            let real = realpath(CString::new(name).unwrap().as_ptr(), null_mut());
            println!("real {:?}", CStr::from_ptr(real).to_string_lossy().replace(folder, "FOLDER"));
        }
        by_number(folder, "again", dup(fd));
        by_number(folder, "through a link", open(path(folder, "link").as_ptr(), O_RDONLY));
        by_number(folder, "the link", open(path(folder, "link").as_ptr(), O_PATH | O_NOFOLLOW));
        let dir = open(path(folder, "d").as_ptr(), O_RDONLY | O_DIRECTORY);
        by_number(folder, "directory", dir);
        by_number(folder, "made in it", openat(dir, c"made".as_ptr(), O_CREAT | O_WRONLY, 0o600));
        by_number(folder, "up and down", openat(dir, c"../d/./made".as_ptr(), O_RDONLY));
        by_number(folder, "reopened", open(CString::new(format!("/dev/fd/{fd}")).unwrap().as_ptr(), O_RDONLY));
        dup2(fd, 0);
        shown(folder, "standard input", "/proc/self/fd/0");
        shown(folder, "its device", "/dev/stdin");
        let mut buf = [0u8; 4];
        let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
        show("cut", readlink(name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) as i64);
        show("no room", readlink(name.as_ptr(), buf.as_mut_ptr().cast(), 0) as i64);
        show("bad address", syscall(SYS_readlink, name.as_ptr(), 8usize, 100usize));
    }
}

fn of_moved_files(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        let fd = open(file.as_ptr(), O_RDONLY);
        link(file.as_ptr(), path(folder, "other").as_ptr());
        by_number(folder, "with two names", fd);
        unlink(path(folder, "other").as_ptr());
        rename(file.as_ptr(), path(folder, "new").as_ptr());
        by_number(folder, "renamed", fd);
        rename(path(folder, "new").as_ptr(), path(folder, "d/new").as_ptr());
        by_number(folder, "moved", fd);
        rename(path(folder, "d").as_ptr(), path(folder, "e").as_ptr());
        by_number(folder, "directory renamed", fd);
        let dir = open(path(folder, "e").as_ptr(), O_RDONLY);
        let last = open(create(folder, "last", b"").as_ptr(), O_RDONLY);
        unlink(path(folder, "last").as_ptr());
        by_number(folder, "removed", last);
        create(folder, "last", b"another");
        by_number(folder, "another in its place", last);
        unlink(path(folder, "e/new").as_ptr());
        rmdir(path(folder, "e").as_ptr());
        by_number(folder, "directory removed", dir);
    }
}

fn of_nameless(folder: &str) {
    unsafe {
        let (c, a) = connected();
        for fd in [c, a, socket(AF_INET6, SOCK_DGRAM, 0)] {
            let mut st: stat = zeroed();
            fstat(fd, &mut st);
            for name in names_of(fd) {
                let mut buf = [0u8; 100];
                let name = CString::new(name).unwrap();
                let got = readlink(name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()).max(0) as usize;
                println!("{}", buf[..got] == *format!("socket:[{}]", st.st_ino).as_bytes());
            }
        }
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        by_number(folder, "fifo", open(path(folder, "fifo").as_ptr(), O_RDWR));
        by_number(folder, "not open", 900);
    }
}

fn of_the_working_directory(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        chdir(path(folder, "d").as_ptr());
        shown(folder, "working directory", "/proc/self/cwd");
        shown(folder, "by process", &format!("/proc/{}/cwd", getpid()));
        let mut st: stat = zeroed();
        show("stat", stat(c"/proc/self/cwd".as_ptr(), &mut st));
        println!("{:o}", st.st_mode & S_IFMT);
        show("lstat", lstat(c"/proc/self/cwd".as_ptr(), &mut st));
        println!("{:o}", st.st_mode & S_IFMT);
        show("above", chdir(c"/proc/self/cwd/..".as_ptr()));
        shown(folder, "then", "/proc/self/cwd");
        show("below", access(c"/proc/self/cwd//file".as_ptr(), R_OK));
        show("again", chdir(c"/proc/self/cwd".as_ptr()));
        show("a directory in it", open(c"/proc/self/cwd/d".as_ptr(), O_RDONLY | O_DIRECTORY).min(0));
        show("itself", open(c"/proc/self/cwd".as_ptr(), O_RDONLY | O_DIRECTORY).min(0));
    }
}

fn followed(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        let fd = open(file.as_ptr(), O_RDWR);
        let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
        show("chmod", chmod(name.as_ptr(), 0o640));
        println!("{:o}", mode_of(&file));
        show("fchmodat", fchmodat(AT_FDCWD, name.as_ptr(), 0o600, 0));
        println!("{:o}", mode_of(&file));
        show("chown", chown(name.as_ptr(), getuid(), getgid()));
        show("access", access(name.as_ptr(), R_OK));
        show("truncate", truncate(name.as_ptr(), 3));
        println!("{:?}", contents(&file));
        let times = [timeval { tv_sec: 100, tv_usec: 0 }, timeval { tv_sec: 200, tv_usec: 0 }];
        show("utimes", utimes(name.as_ptr(), times.as_ptr()));
        let mut st: stat = zeroed();
        show("stat", stat(name.as_ptr(), &mut st));
        println!("{} {}", st.st_size, st.st_mtime);
        let mut fs: statfs = zeroed();
        show("statfs", statfs(name.as_ptr(), &mut fs));
        show("chdir to a file", chdir(name.as_ptr()));
        let dir = open(path(folder, "d").as_ptr(), O_RDONLY);
        show("chdir", chdir(CString::new(format!("/dev/fd/{dir}")).unwrap().as_ptr()));
        shown(folder, "there", "/proc/self/cwd");
    }
}

fn executed(folder: &str) {
    let script = create(folder, "script", b"#!/bin/sh\necho ran with $1\n");
    unsafe {
        chmod(script.as_ptr(), 0o755);
        let fd = open(script.as_ptr(), O_RDONLY);
        let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
        let child = fork();
        if child == 0 {
            execl(name.as_ptr(), c"script".as_ptr(), c"argument".as_ptr(), null::<c_char>());
            _exit(errno());
        }
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("{status:#x}");
        chmod(script.as_ptr(), 0o644);
        show("without the bit", execl(name.as_ptr(), c"script".as_ptr(), null::<c_char>()));
    }
}
