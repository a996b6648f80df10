//! Directories and the names in them.

pub mod reading;

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("absolute_links", OneProcess, absolute_links),
    ("names", OneProcess, names),
    ("directories", OneProcess, directories),
];

fn names(folder: &str) {
    let (a, b) = (create(folder, "a", b"a"), path(folder, "b"));
    unsafe {
        show("link", link(a.as_ptr(), b.as_ptr()));
        show("link again", link(a.as_ptr(), b.as_ptr()));
        show("rename", rename(b.as_ptr(), path(folder, "c").as_ptr()));
        show("rename missing", rename(b.as_ptr(), a.as_ptr()));
        show("mkdir", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("mkdir again", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("file over directory", rename(a.as_ptr(), path(folder, "d").as_ptr()));
        show("directory over file", rename(path(folder, "d").as_ptr(), a.as_ptr()));
        show("into itself", rename(path(folder, "d").as_ptr(), path(folder, "d/e").as_ptr()));
        create(folder, "d/f", b"");
        show("rmdir of a full one", rmdir(path(folder, "d").as_ptr()));
        show("rmdir of a file", rmdir(a.as_ptr()));
        show("unlink of a directory", unlink(path(folder, "d").as_ptr()));
        show("unlink", unlink(path(folder, "d/f").as_ptr()));
        show("rmdir", rmdir(path(folder, "d").as_ptr()));
        show("rmdir of dot", rmdir(path(folder, ".").as_ptr()));
        show("unlink missing", unlink(path(folder, "d/f").as_ptr()));
        show("symlink", symlink(c"a".as_ptr(), path(folder, "s").as_ptr()));
        let mut buf = [0u8; 16];
        show("readlink", readlink(path(folder, "s").as_ptr(), buf.as_mut_ptr().cast(), 16) as i64);
        show("readlink of a file", readlink(a.as_ptr(), buf.as_mut_ptr().cast(), 16) as i64);
        show("access", access(path(folder, "s").as_ptr(), R_OK | W_OK));
        show("access missing", access(path(folder, "x").as_ptr(), F_OK));
        let real = realpath(path(folder, "s").as_ptr(), null_mut());
        println!("realpath ends: {}", CStr::from_ptr(real).to_string_lossy().ends_with("/a"));
        show("truncate", truncate(a.as_ptr(), 10));
        show("chmod", chmod(a.as_ptr(), 0o604));
        let mut name = path(folder, "tmpXXXXXX").into_bytes_with_nul();
        works("mkstemp", mkstemp(name.as_mut_ptr().cast()));
        show(
            "across kernels",
            if folder.starts_with("/rump") {
                rename(a.as_ptr(), c"/tmp/never".as_ptr())
            } else {
                *__errno_location() = EXDEV;
                -1
            },
        );
    }
}

fn directories(folder: &str) {
    unsafe {
        for i in 0..300 {
            create(folder, &format!("entry-{i:03}"), b"");
        }
        let mut seen = Vec::new();
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            seen.push(CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned());
        }
        println!("{} with dots", seen.len());
        rewinddir(dir);
        let mut removed = 0;
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            if *(*entry).d_name.as_ptr() != b'.' as i8 {
                removed += 1 + unlinkat(dirfd(dir), (*entry).d_name.as_ptr(), 0);
            }
        }
        println!("{removed} removed while reading");
        closedir(dir);
        show("mkdir", mkdir(path(folder, "sub").as_ptr(), 0o700));
        let fd = open(path(folder, "sub").as_ptr(), O_RDONLY | O_DIRECTORY);
        works("openat", openat(fd, c"file".as_ptr(), O_CREAT | O_WRONLY, 0o644));
        show("faccessat", faccessat(fd, c"file".as_ptr(), F_OK, 0));
        show("mkdirat", mkdirat(fd, c"deep".as_ptr(), 0o755));
        show("read of a directory", read(fd, null_mut(), 0) as i64);
        show("fchdir", fchdir(fd));
        show("relative", access(c"file".as_ptr(), F_OK));
        show("chdir up", chdir(c"..".as_ptr()));
        let mut buf = [0u8; 4096];
        let cwd = getcwd(buf.as_mut_ptr().cast(), buf.len());
        println!("cwd is the folder: {}", !cwd.is_null() && CStr::from_ptr(cwd).to_string_lossy() == folder);
        show("small buffer", if getcwd(buf.as_mut_ptr().cast(), 2).is_null() { -1 } else { 0 });
        show("chdir to a file", chdir(c"sub/file".as_ptr()));
        show("chdir to nothing", chdir(c"nothing".as_ptr()));
        show("unlinkat of a directory", unlinkat(fd, c"deep".as_ptr(), AT_REMOVEDIR));
        show("renameat", renameat(fd, c"file".as_ptr(), AT_FDCWD, c"moved".as_ptr()));
        show("moved", access(path(folder, "moved").as_ptr(), F_OK));
    }
}

/// Links that name their target as the program does.
fn absolute_links(folder: &str) {
    let file = create(folder, "file", b"content");
    let (link, dir) = (path(folder, "link"), path(folder, "dir"));
    let whole = CString::new(folder).unwrap();
    unsafe {
        show("symlink", symlink(file.as_ptr(), link.as_ptr()));
        show("of the directory", symlink(whole.as_ptr(), dir.as_ptr()));
        let mut text = [0u8; 256];
        let length = readlink(link.as_ptr(), text.as_mut_ptr().cast(), text.len());
        println!("as written: {}", text[..length.max(0) as usize] == *file.to_bytes());
        let fd = open(link.as_ptr(), O_RDONLY);
        show("read", read(fd, text.as_mut_ptr().cast(), text.len()) as i64);
        close(fd);
        show("through the directory", access(path(folder, "dir/dir/link").as_ptr(), R_OK));
        let found = realpath(path(folder, "dir/link").as_ptr(), null_mut());
        println!("realpath: {}", !found.is_null() && CStr::from_ptr(found) == file.as_c_str());
        show("unlink", unlink(file.as_ptr()));
        show("dangling", access(link.as_ptr(), F_OK));
    }
}
