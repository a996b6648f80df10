//! Reading directories, standing in them, moving and removing them.

use super::super::linux::opened;
use super::super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("directory_positions", OneProcess, positions),
    ("directory_small_buffers", OneProcess, small_buffers),
    ("directory_types", OneProcess, types),
    ("directory_links", OneProcess, links),
    ("removed_working_directory", OneProcess, removed_working_directory),
    ("removed_directory", OneProcess, removed_directory),
    ("working_directory_moves", OneProcess, working_directory_moves),
    ("rename_directories", OneProcess, rename_directories),
    ("rename_slashes", OneProcess, rename_slashes),
    ("deep_tree", OneProcess, deep_tree),
    ("changed_while_read", OneProcess, changed_while_read),
    ("at_calls", OneProcess, at_calls),
    ("removing_names", OneProcess, removing_names),
    ("path_errors", OneProcess, path_errors),
];

/// The names that are left to be read, sorted.
fn rest(dir: *mut DIR) -> Vec<String> {
    let mut names = Vec::new();
    unsafe {
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            names.push(CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned());
        }
    }
    names.sort();
    names
}

fn list(what: &str, folder: &str, name: &str) {
    unsafe {
        let dir = opendir(path(folder, name).as_ptr());
        if dir.is_null() {
            show(what, -1);
            return;
        }
        println!("{what}: {}", rest(dir).join(" "));
        closedir(dir);
    }
}

fn positions(folder: &str) {
    for at in 0..40 {
        create(folder, &format!("f{at:02}"), b"");
    }
    unsafe {
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        let mut seen = Vec::new();
        for _ in 0..20 {
            let entry = readdir(dir);
            seen.push(CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned());
        }
        let middle = telldir(dir);
        let first = rest(dir);
        seekdir(dir, middle);
        let second = rest(dir);
        println!("{} and the same again: {}", first.len(), first == second);
        println!("none twice: {}", first.iter().all(|name| !seen.contains(name)));
        rewinddir(dir);
        println!("{} after a rewind", rest(dir).len());
        println!("{} at the end", rest(dir).len());
        create(folder, "late", b"");
        rewinddir(dir);
        println!("sees what is new: {}", rest(dir).contains(&"late".to_owned()));
    }
}

fn small_buffers(folder: &str) {
    create(folder, &"n".repeat(200), b"");
    let fd = opened(folder, ".", O_RDONLY | O_DIRECTORY);
    let mut buf = [0u8; 512];
    unsafe {
        for len in [0, 10, 24, 48] {
            show(&format!("{len} bytes"), syscall(SYS_getdents64, fd, buf.as_mut_ptr(), len));
        }
        show("too small for the next", syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 30));
        show("the rest", syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 512));
        show("the end", syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 512));
        show("bad pointer", {
            lseek(fd, 0, SEEK_SET);
            syscall(SYS_getdents64, fd, 8usize, 512)
        });
    }
}

fn types(folder: &str) {
    create(folder, "file", b"");
    unsafe {
        mkdir(path(folder, "directory").as_ptr(), 0o755);
        symlink(c"x".as_ptr(), path(folder, "link").as_ptr());
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        mknod(path(folder, "null").as_ptr(), S_IFCHR | 0o600, makedev(1, 3));
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        let mut lines = Vec::new();
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            let mut st: stat = zeroed();
            let name = (*entry).d_name.as_ptr();
            fstatat(dirfd(dir), name, &mut st, AT_SYMLINK_NOFOLLOW);
            let up = CStr::from_ptr(name) == c"..";
            let same = up || st.st_ino == (*entry).d_ino;
            lines.push(format!("{} {} {same}", CStr::from_ptr(name).to_string_lossy(), (*entry).d_type));
        }
        lines.sort();
        println!("{}", lines.join("\n"));
    }
}

fn link_count(folder: &str, name: &str) -> u64 {
    unsafe {
        let mut st: stat = zeroed();
        stat(path(folder, name).as_ptr(), &mut st);
        st.st_nlink
    }
}

fn links(folder: &str) {
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        println!("empty {}", link_count(folder, "d"));
        mkdir(path(folder, "d/a").as_ptr(), 0o755);
        mkdir(path(folder, "d/b").as_ptr(), 0o755);
        create(folder, "d/f", b"");
        println!("two below {}", link_count(folder, "d"));
        rename(path(folder, "d/b").as_ptr(), path(folder, "d/a/b").as_ptr());
        println!("moved {} {}", link_count(folder, "d"), link_count(folder, "d/a"));
        rmdir(path(folder, "d/a/b").as_ptr());
        println!("removed {}", link_count(folder, "d/a"));
        let fd = opened(folder, "d/a", O_RDONLY);
        rmdir(path(folder, "d/a").as_ptr());
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("itself removed {}", st.st_nlink);
    }
}

fn removed_working_directory(folder: &str) {
    create(folder, "beside", b"");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        show("chdir", chdir(path(folder, "d").as_ptr()));
        show("rmdir", rmdir(path(folder, "d").as_ptr()));
        let mut buf = [0u8; 512];
        let cwd = getcwd(buf.as_mut_ptr().cast(), 512);
        show("getcwd", if cwd.is_null() { -1i64 } else { 0 });
        show("dot", access(c".".as_ptr(), F_OK));
        works("creating", open(c"file".as_ptr(), O_CREAT | O_WRONLY, 0o600));
        show("mkdir", mkdir(c"sub".as_ptr(), 0o755));
        show("missing", access(c"x".as_ptr(), F_OK));
        let mut st: stat = zeroed();
        show("stat", stat(c".".as_ptr(), &mut st));
        println!("{} links", st.st_nlink);
        let dir = opendir(c".".as_ptr());
        println!("entries {:?}", if dir.is_null() { vec!["-".to_owned()] } else { rest(dir) });
        show("above it", access(c"../beside".as_ptr(), F_OK));
        show("chdir up", chdir(c"..".as_ptr()));
        show("beside", access(c"beside".as_ptr(), F_OK));
    }
}

fn removed_directory(folder: &str) {
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        let fd = opened(folder, "d", O_RDONLY | O_DIRECTORY);
        rmdir(path(folder, "d").as_ptr());
        works("openat", openat(fd, c"file".as_ptr(), O_CREAT | O_WRONLY, 0o600));
        show("mkdirat", mkdirat(fd, c"sub".as_ptr(), 0o755));
        show("symlinkat", symlinkat(c"x".as_ptr(), fd, c"s".as_ptr()));
        show("fchdir", fchdir(fd));
        let mut buf = [0u8; 512];
        show("getdents", syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 512));
        create(folder, "file", b"");
        show("renameat into it", renameat(AT_FDCWD, path(folder, "file").as_ptr(), fd, c"x".as_ptr()));
        show("linkat into it", linkat(AT_FDCWD, path(folder, "file").as_ptr(), fd, c"x".as_ptr(), 0));
    }
}

fn working_directory_moves(folder: &str) {
    unsafe {
        mkdir(path(folder, "one").as_ptr(), 0o755);
        mkdir(path(folder, "one/two").as_ptr(), 0o755);
        show("chdir", chdir(path(folder, "one/two").as_ptr()));
        show("rename above", rename(path(folder, "one").as_ptr(), path(folder, "renamed").as_ptr()));
        let mut buf = [0u8; 1024];
        let cwd = getcwd(buf.as_mut_ptr().cast(), 1024);
        let shown = CStr::from_ptr(cwd).to_string_lossy().into_owned();
        println!("follows: {}", shown == format!("{folder}/renamed/two"));
        show("relative", mkdir(c"three".as_ptr(), 0o755));
        show("chdir to a file", {
            create(folder, "file", b"");
            chdir(path(folder, "file").as_ptr())
        });
        show("chdir up twice", chdir(c"../..".as_ptr()));
        list("here", folder, ".");
        show("getcwd without room", syscall(SYS_getcwd, buf.as_mut_ptr(), 3));
        show("chdir to a link", {
            symlink(c"renamed".as_ptr(), c"link".as_ptr());
            chdir(c"link/two".as_ptr())
        });
        let cwd = getcwd(buf.as_mut_ptr().cast(), 1024);
        println!("resolved: {}", CStr::from_ptr(cwd).to_string_lossy().ends_with("/renamed/two"));
    }
}

fn rename_directories(folder: &str) {
    unsafe {
        for name in ["a", "b", "c", "c/full", "d"] {
            mkdir(path(folder, name).as_ptr(), 0o755);
        }
        let go = |what: &str, from: &str, to: &str| {
            show(what, rename(path(folder, from).as_ptr(), path(folder, to).as_ptr()));
        };
        go("over an empty one", "a", "b");
        go("over a full one", "b", "c");
        go("into itself", "c", "c/full/x");
        go("onto itself", "c", "c");
        go("below a file", "c", "missing/x");
        go("dot", "c/.", "e");
        go("dot dot", "c/..", "e");
        go("to dot", "d", "c/.");
        go("into another", "d", "c/d");
        go("onto the parent", "c/d", "c");
        go("the parent onto the child", "c", "c/d");
        list("c", folder, "c");
    }
}

fn rename_slashes(folder: &str) {
    create(folder, "file", b"");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        let go = |what: &str, from: &str, to: &str| {
            show(what, rename(path(folder, from).as_ptr(), path(folder, to).as_ptr()));
        };
        go("a file with a slash", "file/", "x");
        go("a file to a slash", "file", "x/");
        go("a directory to a slash", "d", "e/");
        go("a directory with a slash", "e/", "d");
        go("a file onto a directory's slash", "file", "d/");
        show("mkdir with slashes", mkdir(path(folder, "f//").as_ptr(), 0o755));
        show("rmdir with slashes", rmdir(path(folder, "f///").as_ptr()));
        show("unlink with a slash", unlink(path(folder, "file/").as_ptr()));
        show("rmdir of dot dot", rmdir(path(folder, "d/..").as_ptr()));
        show("unlinkat, unknown flag", unlinkat(AT_FDCWD, path(folder, "file").as_ptr(), 0x8000));
    }
}

fn deep_tree(folder: &str) {
    unsafe {
        show("chdir", chdir(CString::new(folder).unwrap().as_ptr()));
        let mut depth = 0;
        while depth < 100 && mkdir(c"deep".as_ptr(), 0o755) == 0 && chdir(c"deep".as_ptr()) == 0 {
            depth += 1;
        }
        println!("{depth} deep");
        let mut buf = [0u8; 4096];
        let cwd = getcwd(buf.as_mut_ptr().cast(), 4096);
        println!("{}", CStr::from_ptr(cwd).to_bytes().len() - folder.len());
        for _ in 0..depth {
            chdir(c"..".as_ptr());
            rmdir(c"deep".as_ptr());
        }
        list("nothing is left", folder, ".");
    }
}

fn changed_while_read(folder: &str) {
    for at in 0..500 {
        create(folder, &format!("{at:03}"), b"");
    }
    unsafe {
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        let (mut seen, mut twice) = (std::collections::BTreeSet::new(), 0);
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr()).to_owned();
            if name.to_bytes()[0] == b'.' {
                continue;
            }
            // Removing what was seen must not hide what was not.
            unlinkat(dirfd(dir), name.as_ptr(), 0);
            twice += i32::from(!seen.insert(name));
        }
        println!("{} seen, {twice} twice", seen.len());
        rewinddir(dir);
        println!("{} left", rest(dir).len());
    }
}

fn at_calls(folder: &str) {
    unsafe {
        let dir = opened(folder, ".", O_RDONLY | O_DIRECTORY);
        let file = openat(dir, c"file".as_ptr(), O_CREAT | O_RDWR, 0o644);
        works("openat", file);
        show("mkdirat", mkdirat(dir, c"d".as_ptr(), 0o755));
        show("mkfifoat", mkfifoat(dir, c"fifo".as_ptr(), 0o600));
        show("symlinkat", symlinkat(c"file".as_ptr(), dir, c"s".as_ptr()));
        show("linkat", linkat(dir, c"file".as_ptr(), dir, c"d/hard".as_ptr(), 0));
        show("renameat", renameat(dir, c"d/hard".as_ptr(), dir, c"moved".as_ptr()));
        show("fchmodat", fchmodat(dir, c"file".as_ptr(), 0o600, 0));
        show("fchownat", fchownat(dir, c"s".as_ptr(), 1, 1, AT_SYMLINK_NOFOLLOW));
        let mut st: stat = zeroed();
        show("fstatat", fstatat(dir, c"s".as_ptr(), &mut st, AT_SYMLINK_NOFOLLOW));
        show("below a file", fstatat(file, c"x".as_ptr(), &mut st, 0));
        show("a closed one", fstatat(900, c"x".as_ptr(), &mut st, 0));
        show("absolute whatever the number", fstatat(900, path(folder, "file").as_ptr(), &mut st, 0));
        show("empty", fstatat(dir, c"".as_ptr(), &mut st, 0));
        show("the directory itself", fstatat(dir, c"".as_ptr(), &mut st, AT_EMPTY_PATH));
        println!("{:o}", st.st_mode & S_IFMT);
        show("unknown flag", fstatat(dir, c"file".as_ptr(), &mut st, 0x8000));
        show("faccessat", faccessat(dir, c"file".as_ptr(), R_OK, 0));
        show("unlinkat", unlinkat(dir, c"moved".as_ptr(), 0));
        show("unlinkat of a directory", unlinkat(dir, c"d".as_ptr(), 0));
        show("unlinkat AT_REMOVEDIR", unlinkat(dir, c"d".as_ptr(), AT_REMOVEDIR));
        show("unlinkat AT_REMOVEDIR of a file", unlinkat(dir, c"file".as_ptr(), AT_REMOVEDIR));
        list("left", folder, ".");
    }
}

fn removing_names(folder: &str) {
    create(folder, "file", b"");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        create(folder, "d/inner", b"");
        let remove_file = |what: &str, name: &str| show(what, unlink(path(folder, name).as_ptr()));
        remove_file("a directory", "d");
        remove_file("dot", ".");
        remove_file("dot dot", "d/..");
        remove_file("missing", "none");
        remove_file("below a file", "file/x");
        show("rmdir of a full one", rmdir(path(folder, "d").as_ptr()));
        show("remove of a file", remove(path(folder, "d/inner").as_ptr()));
        show("remove of a directory", remove(path(folder, "d").as_ptr()));
        show("empty name", unlink(c"".as_ptr()));
        show("empty name of a directory", rmdir(c"".as_ptr()));
        show("null", syscall(SYS_unlink, 0usize));
    }
}

fn path_errors(folder: &str) {
    create(folder, "file", b"");
    let mut st: stat = unsafe { zeroed() };
    unsafe {
        symlink(c"loop".as_ptr(), path(folder, "loop").as_ptr());
        for name in ["", "file/.", "file/..", "none/..", "loop/x", "./file", "../", "file//"] {
            show(&format!("{name:?}"), stat(path(folder, name).as_ptr(), &mut st));
        }
        show("null", syscall(SYS_stat, 0usize, &raw mut st));
        show("bad result", syscall(SYS_stat, path(folder, "file").as_ptr(), 8usize));
        show("both bad", syscall(SYS_stat, path(folder, "none").as_ptr(), 8usize));
    }
}
