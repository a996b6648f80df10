//! What is used after its name is gone: open files, working directories, directories that are read.

use super::prelude::*;

/// All of it.
pub fn all() {
    files();
    directories();
    working_directory();
    if Has::Linux.here() {
        unnamed();
    }
}

fn files() {
    Thing::File.renew("t");
    unsafe {
        let fd = open(c"t".as_ptr(), O_RDWR);
        if Has::Links.here() {
            link(c"t".as_ptr(), c"second".as_ptr());
        }
        let links = || {
            let mut st: stat = zeroed();
            fstat(fd, &mut st);
            format!("links {} size {}", st.st_nlink, st.st_size)
        };
        line(format_args!("open: {}", links()));
        line(format_args!("unlink: {} {}", said(unlink(c"t".as_ptr())), links()));
        unlink(c"second".as_ptr());
        line(format_args!("the last name: {}", links()));
        line(format_args!("write: {} {}", said(pwrite(fd, c"new".as_ptr().cast(), 3, 5) as i64), links()));
        line(format_args!("read: {}", said(pread(fd, [0u8; 9].as_mut_ptr().cast(), 9, 0) as i64)));
        line(format_args!("ftruncate: {} {}", said(ftruncate(fd, 2)), links()));
        line(format_args!("fchmod: {}", said(fchmod(fd, 0o600))));
        line(format_args!("futimens: {}", said(futimens(fd, null()))));
        if Has::Links.here() {
            line(format_args!(
                "a name again: {}",
                said(linkat(fd, c"".as_ptr(), home(), c"t".as_ptr(), AT_EMPTY_PATH))
            ));
        }
        line(format_args!("made anew: {}", write_file("t", b"other")));
        line(format_args!("two files: {} {}", links(), read_file("t")));
        rename(c"t".as_ptr(), c"u".as_ptr());
        let other = open(c"u".as_ptr(), O_RDONLY);
        write_file("v", b"v");
        rename(c"v".as_ptr(), c"u".as_ptr());
        let mut st: stat = zeroed();
        fstat(other, &mut st);
        line(format_args!("replaced by rename: links {} {}", st.st_nlink, read_file("u")));
        close(fd);
        close(other);
    }
    wipe(".");
}

fn directories() {
    unsafe {
        mkdir(c"d".as_ptr(), 0o755);
        let fd = open(c"d".as_ptr(), O_RDONLY | O_DIRECTORY);
        let dir = opendir(c"d".as_ptr());
        line(format_args!("rmdir: {}", said(rmdir(c"d".as_ptr()))));
        let mut st: stat = zeroed();
        line(format_args!("fstat: {} links {}", said(fstat(fd, &mut st)), st.st_nlink));
        line(format_args!("create: {}", opened(openat(fd, c"f".as_ptr(), O_CREAT | O_RDWR, 0o644))));
        line(format_args!("mkdir: {}", said(mkdirat(fd, c"e".as_ptr(), 0o755))));
        line(format_args!("mknod: {}", said(mknodat(fd, c"e".as_ptr(), S_IFREG | 0o600, 0))));
        write_file("f", b"x");
        line(format_args!("rename into: {}", said(renameat(home(), c"f".as_ptr(), fd, c"f".as_ptr()))));
        if Has::Links.here() {
            line(format_args!("link into: {}", said(linkat(home(), c"f".as_ptr(), fd, c"f".as_ptr(), 0))));
        }
        if Has::Symlinks.here() {
            line(format_args!("symlink into: {}", said(symlinkat(c"x".as_ptr(), fd, c"f".as_ptr()))));
        }
        if Has::Linux.here() {
            line(format_args!("tmpfile: {}", opened(openat(fd, c".".as_ptr(), O_TMPFILE | O_RDWR, 0o600))));
        }
        line(format_args!("look up: {}", said(faccessat(fd, c"f".as_ptr(), F_OK, 0))));
        line(format_args!("dot: {}", said(faccessat(fd, c".".as_ptr(), F_OK, 0))));
        line(format_args!("up: {}", said(fstatat(fd, c"..".as_ptr(), &mut st, 0))));
        line(format_args!("remove dot: {}", said(unlinkat(fd, c".".as_ptr(), AT_REMOVEDIR))));
        line(format_args!("remove what is not there: {}", said(unlinkat(fd, c"f".as_ptr(), 0))));
        *__errno_location() = 0;
        let ended = readdir(dir).is_null();
        let failed = *__errno_location() != 0;
        line(format_args!("read: {ended} {}", said(if failed { -1 } else { 0 })));
        line(format_args!("getdents: {}", said(syscall(SYS_getdents64, fd, [0u64; 40].as_mut_ptr(), 320))));
        line(format_args!("fchmod: {}", said(fchmod(fd, 0o700))));
        line(format_args!("fchdir: {}", said(fchdir(fd))));
        let cwd = getcwd(null_mut(), 0);
        line(format_args!("getcwd: {}", if cwd.is_null() { super::error() } else { "0".into() }));
        fchdir(home());
        closedir(dir);
        close(fd);
    }
    wipe(".");
}

fn working_directory() {
    unsafe {
        mkdir(c"d".as_ptr(), 0o755);
        mkdir(c"d/e".as_ptr(), 0o755);
        let tell = |what: &str| {
            let cwd = getcwd(null_mut(), 0);
            let cwd = if cwd.is_null() {
                super::error()
            } else {
                CStr::from_ptr(cwd).to_string_lossy().rsplit('/').take(1).collect::<String>()
            };
            line(format_args!("{what}: {cwd}"));
        };
        chdir(c"d/e".as_ptr());
        tell("there");
        rename(c"../../d".as_ptr(), c"../../moved".as_ptr());
        tell("moved");
        line(format_args!("removed by its path: {}", said(unlinkat(home(), c"moved/e".as_ptr(), AT_REMOVEDIR))));
        tell("removed");
        let mut st: stat = zeroed();
        line(format_args!("stat dot: {} links {}", said(stat(c".".as_ptr(), &mut st)), st.st_nlink));
        line(format_args!("open dot: {}", opened(open(c".".as_ptr(), O_RDONLY))));
        line(format_args!("create: {}", opened(open(c"f".as_ptr(), O_CREAT | O_RDWR, 0o644))));
        line(format_args!("look up: {}", said(access(c"f".as_ptr(), F_OK))));
        line(format_args!("list: {}", list_here()));
        line(format_args!("up: {}", said(chdir(c"..".as_ptr()))));
        tell("up");
        line(format_args!("the parent, too: {}", said(unlinkat(home(), c"moved".as_ptr(), AT_REMOVEDIR))));
        line(format_args!("up: {}", said(chdir(c"..".as_ptr()))));
        tell("up again");
        fchdir(home());
        line(format_args!("fchdir to a file: {}", {
            write_file("f", b"");
            let fd = open(c"f".as_ptr(), O_RDONLY);
            let refused = said(fchdir(fd));
            close(fd);
            refused
        }));
        line(format_args!("fchdir to nothing: {}", said(fchdir(878))));
    }
    wipe(".");
}

fn list_here() -> String {
    unsafe {
        let dir = opendir(c".".as_ptr());
        if dir.is_null() {
            return super::error();
        }
        let mut count = 0;
        while !readdir(dir).is_null() {
            count += 1;
        }
        closedir(dir);
        count.to_string()
    }
}

/// Files that are made without a name (`O_TMPFILE`).
fn unnamed() {
    unsafe {
        for (what, flags) in [
            ("plain", O_RDWR),
            ("exclusive", O_RDWR | O_EXCL),
            ("write only", O_WRONLY),
            ("append", O_WRONLY | O_APPEND),
        ] {
            let fd = open(c".".as_ptr(), O_TMPFILE | flags, 0o640);
            let mut st: stat = zeroed();
            fstat(fd, &mut st);
            line(format_args!("{what}: links {} mode {:o}", st.st_nlink, st.st_mode));
            line(format_args!("{what}: write {}", said(write(fd, c"abc".as_ptr().cast(), 3) as i64)));
            line(format_args!("{what}: link {}", said(linkat(fd, c"".as_ptr(), home(), c"t".as_ptr(), AT_EMPTY_PATH))));
            line(format_args!("{what}: {} {}", look(c"t"), read_file("t")));
            line(format_args!(
                "{what}: link again {}",
                said(linkat(fd, c"".as_ptr(), home(), c"u".as_ptr(), AT_EMPTY_PATH))
            ));
            unlink(c"t".as_ptr());
            unlink(c"u".as_ptr());
            line(format_args!(
                "{what}: after its names {}",
                said(linkat(fd, c"".as_ptr(), home(), c"t".as_ptr(), AT_EMPTY_PATH))
            ));
            close(fd);
        }
        let fd = open(c".".as_ptr(), O_TMPFILE | O_RDWR | O_CREAT, 0o640);
        line(format_args!("with O_CREAT: {}", opened(fd)));
    }
}
