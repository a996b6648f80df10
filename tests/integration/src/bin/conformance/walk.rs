//! How a path is walked (path_resolution(7)): links, lengths, empty names, bad addresses, and which error comes first.

use super::prelude::*;

/// All of it.
pub fn all() {
    lengths();
    if Has::Symlinks.here() {
        links();
        limits_of_links();
    }
    precedence();
    addresses();
    if Has::Modes.here() && Has::Users.here() {
        search();
    }
}

/// Tells what a few operations say of a path that is named by `what`.
fn tell(what: &str, path: &str) {
    let path = c(path);
    unsafe {
        let mut st: stat = zeroed();
        line(format_args!("{what}: stat {}", said(stat(path.as_ptr(), &mut st))));
        line(format_args!("{what}: lstat {}", said(lstat(path.as_ptr(), &mut st))));
        line(format_args!("{what}: open {}", opened(open(path.as_ptr(), O_RDONLY | O_NONBLOCK))));
        line(format_args!("{what}: access {}", said(access(path.as_ptr(), F_OK))));
        line(format_args!("{what}: mkdir {}", said(mkdir(path.as_ptr(), 0o755))));
        line(format_args!("{what}: rmdir {}", said(rmdir(path.as_ptr()))));
        line(format_args!("{what}: unlink {}", said(unlink(path.as_ptr()))));
        line(format_args!("{what}: creat {}", opened(open(path.as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o644))));
        line(format_args!("{what}: rename {}", said(rename(path.as_ptr(), c"made".as_ptr()))));
        line(format_args!("{what}: rename to {}", said(rename(c"file".as_ptr(), path.as_ptr()))));
        line(format_args!("{what}: unlink {}", said(unlink(path.as_ptr()))));
        line(format_args!("{what}: chdir {}", said(chdir(path.as_ptr()))));
        assert_eq!(fchdir(home()), 0);
    }
    bystanders();
}

fn lengths() {
    bystanders();
    for len in [1, 254, 255, 256, 1000] {
        tell(&format!("name of {len}"), &"n".repeat(len));
        tell(&format!("name of {len} in a directory"), &format!("dir/{}", "n".repeat(len)));
        tell(&format!("name of {len} in nothing"), &format!("no/{}", "n".repeat(len)));
        tell(&format!("name of {len} in a file"), &format!("file/{}", "n".repeat(len)));
        tell(&format!("under a name of {len}"), &format!("{}/x", "n".repeat(len)));
    }
    for len in [1022, 1023, 1024, 1025, 2000, 4094, 4095, 4096, 4097, 5000] {
        tell(&format!("path of {len}"), &format!("{}/f", "./".repeat(len)[..len - 2].to_owned()));
        tell(&format!("path of {len} slashes in the end"), &format!("dir{}", "/".repeat(len - 3)));
        let whole = unsafe { CStr::from_ptr(getcwd(null_mut(), 0)) }.to_string_lossy().into_owned();
        tell(&format!("absolute path of {len}"), &format!("{whole}{}f", "/".repeat(len - whole.len() - 1)));
    }
    // A tree that is deeper than a path can say is reached a step at a time.
    let name = "d".repeat(200);
    let mut deep = 0;
    unsafe {
        for _ in 0..24 {
            assert_eq!(mkdir(c(&name).as_ptr(), 0o755) | chdir(c(&name).as_ptr()), 0);
            deep += 1;
        }
        line(format_args!("{deep} deep: a file {}", opened(open(c"f".as_ptr(), O_WRONLY | O_CREAT, 0o644))));
        let mut buf = [0i8; 8192];
        let cwd = getcwd(buf.as_mut_ptr(), buf.len());
        line(format_args!("{deep} deep: getcwd {}", if cwd.is_null() { super::error() } else { "0".into() }));
        line(format_args!("{deep} deep: up {}", said(chdir(c"..".as_ptr()))));
        let mut small = [0i8; 4];
        let cwd = getcwd(small.as_mut_ptr(), small.len());
        line(format_args!("getcwd in 4 bytes {}", if cwd.is_null() { super::error() } else { "0".into() }));
        assert_eq!(fchdir(home()), 0);
    }
    wipe_name(&name);
}

fn links() {
    bystanders();
    unsafe {
        write_file("end", b"end");
        symlink(c"end".as_ptr(), c"l1".as_ptr());
        for at in 2..=41 {
            symlink(c(&format!("l{}", at - 1)).as_ptr(), c(&format!("l{at}")).as_ptr());
        }
        for at in [1, 2, 39, 40, 41] {
            let mut st: stat = zeroed();
            line(format_args!("{at} links: {}", said(stat(c(&format!("l{at}")).as_ptr(), &mut st))));
            line(format_args!("{at} links: open {}", opened(open(c(&format!("l{at}")).as_ptr(), O_RDONLY))));
            line(format_args!(
                "{at} links: creat {}",
                opened(open(c(&format!("l{at}")).as_ptr(), O_RDWR | O_CREAT, 0o600))
            ));
        }
        // Links in the middle count as well.
        symlink(c".".as_ptr(), c"here".as_ptr());
        for count in [1, 39, 40, 41] {
            let path = c(&format!("{}end", "here/".repeat(count)));
            let mut st: stat = zeroed();
            line(format_args!("through {count} links: {}", said(stat(path.as_ptr(), &mut st))));
            line(format_args!("through {count} links: unlink {}", said(unlink(path.as_ptr()))));
            write_file("end", b"end");
            let path = c(&format!("{}l1", "here/".repeat(count)));
            line(format_args!("through {count} links and one: {}", said(stat(path.as_ptr(), &mut st))));
        }
        for (name, target) in [
            ("t.file", "end/"),
            ("t.dir", "dir/"),
            ("t.dot", "dir/."),
            ("t.up", "dir/.."),
            ("t.slashes", "dir//"),
            ("t.none", "no/"),
            ("t.through", "end/x"),
            ("t.long", &"n".repeat(256)),
            ("t.dots", "./dir/../dir/./"),
        ] {
            symlink(c(target).as_ptr(), c(name).as_ptr());
            for after in ["", "/", "/x"] {
                let path = format!("{name}{after}");
                for (what, op) in
                    LOOKING.iter().filter(|(what, _)| matches!(*what, "stat" | "lstat" | "open r" | "chdir"))
                {
                    line(format_args!("{path} ({} of target): {what} {}", target.len(), op(&c(&path))));
                }
                let made = open(c(&path).as_ptr(), O_WRONLY | O_CREAT, 0o644);
                line(format_args!("{path}: creat {}", opened(made)));
                line(format_args!("{path}: mkdir {}", said(mkdir(c(&path).as_ptr(), 0o755))));
            }
            wipe("dir");
            wipe_name("no");
            wipe_name(&"n".repeat(256));
        }
        // `..` behind a link is the parent of where it leads.
        mkdir(c"dir/sub".as_ptr(), 0o755);
        symlink(c"dir/sub".as_ptr(), c"away".as_ptr());
        line(format_args!("away/..: {}", look(c"away/../sub")));
        line(format_args!("away/../..: {}", look(c"away/../../end")));
    }
    wipe(".");
}

fn limits_of_links() {
    for len in [1, 255, 1023, 1024, 4094, 4095, 4096, 5000] {
        let target = format!("{}end", "./".repeat(len)[..len.max(4) - 4].to_owned() + "/");
        let target = if len < 4 { "e".to_owned() } else { target };
        unsafe {
            line(format_args!("target of {len}: symlink {}", said(symlink(c(&target).as_ptr(), c"l".as_ptr()))));
            let mut buf = vec![0u8; 8192];
            line(format_args!(
                "target of {len}: readlink {}",
                said(readlink(c"l".as_ptr(), buf.as_mut_ptr().cast(), 8192) as i64)
            ));
            write_file("end", b"end");
            let mut st: stat = zeroed();
            line(format_args!("target of {len}: stat {}", said(stat(c"l".as_ptr(), &mut st))));
            line(format_args!(
                "target of {len}: size {}",
                if lstat(c"l".as_ptr(), &mut st) < 0 { -1 } else { st.st_size }
            ));
            unlink(c"l".as_ptr());
        }
    }
    wipe(".");
}

fn precedence() {
    bystanders();
    let long = "n".repeat(256);
    for (what, path) in [
        ("nothing, too long", format!("no/{long}")),
        ("too long, nothing", format!("{long}/no")),
        ("file, too long", format!("file/{long}")),
        ("file, nothing", "file/no".into()),
        ("file, dot", "file/.".into()),
        ("file, up", "file/..".into()),
        ("file, slash", "file/".into()),
        ("nothing, dot", "no/.".into()),
        ("nothing, up", "no/..".into()),
        ("nothing, slash", "no/".into()),
        ("dir, dot", "dir/.".into()),
        ("dir, up", "dir/..".into()),
        ("empty", String::new()),
        ("dot", ".".into()),
        ("up", "..".into()),
        ("slash", "/".into()),
        ("slashes", "///".into()),
        ("slash, dot", "/.".into()),
        ("slash, up", "/..".into()),
    ] {
        // The root of the host is not the rump kernel's: only what changes nothing.
        let root = path.starts_with('/');
        for ((name, op), changes) in operations() {
            if !root {
                let answer = op(&c(&path));
                line(format_args!("{what}: {name} {answer}"));
            }
            if changes {
                bystanders();
            }
        }
    }
}

fn addresses() {
    let bad = std::ptr::without_provenance::<c_char>(16);
    let mut st: stat = unsafe { zeroed() };
    for (what, path) in [("null", null()), ("bad", bad)] {
        unsafe {
            line(format_args!("{what}: open {}", opened(openat(home(), path, O_RDONLY))));
            line(format_args!("{what}: stat {}", said(fstatat(home(), path, &mut st, 0))));
            line(format_args!("{what}: unlink {}", said(unlinkat(home(), path, 0))));
            line(format_args!("{what}: mkdir {}", said(mkdirat(home(), path, 0o755))));
            line(format_args!("{what}: rename {}", said(renameat(home(), path, home(), c"x".as_ptr()))));
            line(format_args!("{what}: rename to {}", said(renameat(home(), c"no".as_ptr(), home(), path))));
            line(format_args!("{what}: symlink {}", said(symlinkat(path, home(), c"x".as_ptr()))));
            line(format_args!("{what}: readlink {}", said(readlinkat(home(), path, null_mut(), 0) as i64)));
        }
    }
    unsafe {
        write_file("f", b"12345");
        let bad_stat = std::ptr::without_provenance_mut::<stat>(16);
        line(format_args!("stat into nowhere {}", said(syscall(SYS_newfstatat, AT_FDCWD, c"f".as_ptr(), bad_stat, 0))));
        line(format_args!(
            "stat of nothing into nowhere {}",
            said(syscall(SYS_newfstatat, AT_FDCWD, c"no".as_ptr(), bad_stat, 0))
        ));
        let times = std::ptr::without_provenance::<timespec>(16);
        line(format_args!("times from nowhere {}", said(syscall(SYS_utimensat, AT_FDCWD, c"f".as_ptr(), times, 0))));
        line(format_args!(
            "times of nothing from nowhere {}",
            said(syscall(SYS_utimensat, AT_FDCWD, c"no".as_ptr(), times, 0))
        ));
        let fd = open(c"f".as_ptr(), O_RDWR);
        line(format_args!("read into nowhere {}", said(syscall(SYS_read, fd, 16, 5))));
        line(format_args!("write from nowhere {}", said(syscall(SYS_write, fd, 16, 5))));
        line(format_args!("after that {}", read_file("f")));
        close(fd);
        unlink(c"f".as_ptr());
    }
}

/// Directories that may not be searched, for a user.
fn search() {
    unsafe {
        mkdir(c"shut".as_ptr(), 0o755);
        write_file("shut/f", b"12345");
        mkdir(c"shut/d".as_ptr(), 0o755);
        chmod(c"shut/f".as_ptr(), 0o666);
        for mode in [0o700, 0o744, 0o711, 0o755, 0o733, 0o777] {
            chmod(c"shut".as_ptr(), mode);
            bystanders();
            as_user(|| {
                for path in [
                    "shut",
                    "shut/",
                    "shut/.",
                    "shut/..",
                    "shut/f",
                    "shut/f/",
                    "shut/d",
                    "shut/no",
                    "shut/f/x",
                    "shut/d/../f",
                ] {
                    for (name, op) in LOOKING {
                        line(format_args!("{mode:o} {path}: {name} {}", op(&c(path))));
                    }
                }
            });
        }
        chmod(c"shut".as_ptr(), 0o755);
    }
    wipe(".");
}
