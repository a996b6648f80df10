//! Names made of patterns and of other names: glob(3), wordexp(3), realpath(3), getcwd(3).

use super::prelude::*;
use super::walks::{FOLDER, below, inside, tree};

/// The family.
pub const TABLE: &[Row] = &[
    ("glob", OneProcess, patterns),
    ("wordexp", Processes, expansion),
    ("realpath", OneProcess, real_paths),
    ("working_directory", OneProcess, working_directory),
    ("down_from_the_root", OneProcess, down_from_the_root),
];

unsafe extern "C" {
    fn wordexp(text: *const c_char, words: *mut Words, flags: c_int) -> c_int;
    fn wordfree(words: *mut Words);
    fn getwd(buf: *mut c_char) -> *mut c_char;
    fn get_current_dir_name() -> *mut c_char;
    fn canonicalize_file_name(path: *const c_char) -> *mut c_char;
}

/// wordexp_t of wordexp(3).
#[repr(C)]
struct Words {
    count: size_t,
    words: *mut *mut c_char,
    offset: size_t,
}

fn patterns(folder: &str) {
    tree(folder);
    let look = |what: &str, pattern: &str, flags: c_int| unsafe {
        let mut found: glob_t = zeroed();
        let pattern = CString::new(pattern).unwrap();
        println!("{what}: {}", glob(pattern.as_ptr(), flags, None, &mut found));
        for i in 0..found.gl_pathc {
            println!("  {}", inside(folder, &text(*found.gl_pathv.add(i))));
        }
        globfree(&mut found);
    };
    extern "C" fn complains(name: *const c_char, number: c_int) -> c_int {
        println!("  complaint about {}: {number}", below(name));
        1
    }
    FOLDER.set(folder.to_owned());
    look("star", &format!("{folder}/t/*"), 0);
    look("suffix", &format!("{folder}/t/*/*.txt"), 0);
    look("class", &format!("{folder}/t/[ab]*"), 0);
    look("folders in the middle", &format!("{folder}/t/*/e/?"), 0);
    look("marked", &format!("{folder}/t/*"), GLOB_MARK);
    look("only folders", &format!("{folder}/t/*"), GLOB_ONLYDIR | GLOB_MARK);
    look("braces", &format!("{folder}/t/{{a,d/c,b}}*"), GLOB_BRACE);
    look("dots", &format!("{folder}/t/.*"), 0);
    look("no match", &format!("{folder}/t/z*"), 0);
    look("no match, the pattern", &format!("{folder}/t/z*"), GLOB_NOCHECK);
    look("no magic", &format!("{folder}/t/zz"), GLOB_NOMAGIC);
    look("plain name", &format!("{folder}/t/a"), 0);
    look("dangling link", &format!("{folder}/t/ln"), 0);
    look("escaped", &format!("{folder}/t/\\a"), 0);
    unsafe {
        setenv(c"HOME".as_ptr(), path(folder, "t").as_ptr(), 1);
        look("tilde", "~/*.txt", GLOB_TILDE);
        look("an unknown user", "~no-such-user/*", GLOB_TILDE_CHECK);
        chdir(path(folder, "t").as_ptr());
        look("relative", "*/*", 0);
        look("relative, upwards", "../t/a", 0);
        let mut found: glob_t = zeroed();
        found.gl_offs = 2;
        println!("{}", glob(c"*.txt".as_ptr(), GLOB_DOOFFS, None, &mut found));
        println!("{}", glob(c"d/*.txt".as_ptr(), GLOB_DOOFFS | GLOB_APPEND, None, &mut found));
        for i in 0..found.gl_pathc + 2 {
            println!("  {}", text(*found.gl_pathv.add(i)));
        }
        globfree(&mut found);
        let pattern = path(folder, "t/a/*");
        println!("error: {}", glob(pattern.as_ptr(), GLOB_ERR, Some(complains), &mut found));
    }
}

fn expansion(folder: &str) {
    tree(folder);
    unsafe {
        setenv(c"FOLDER".as_ptr(), path(folder, "t").as_ptr(), 1);
        setenv(c"SEVERAL".as_ptr(), c"one  two".as_ptr(), 1);
        for line in [
            c"$FOLDER/*.txt",
            c"$SEVERAL \"$SEVERAL\" '$SEVERAL'",
            c"$((6 * 7)) ${NONE:-default} ${#SEVERAL}",
            c"$(cat $FOLDER/a; echo x)",
            c"$(ls $FOLDER/d)",
            c"a | b",
            c"\"unfinished",
        ] {
            let mut words: Words = zeroed();
            println!("{line:?}: {}", wordexp(line.as_ptr(), &mut words, 0));
            for i in 0..words.count {
                println!("  {}", inside(folder, &text(*words.words.add(i))));
            }
            if words.count > 0 {
                wordfree(&mut words);
            }
        }
        let mut words: Words = zeroed();
        println!("no commands: {}", wordexp(c"$(true)".as_ptr(), &mut words, 4));
        println!("no unset ones: {}", wordexp(c"$NONE_SUCH".as_ptr(), &mut words, 32));
    }
}

fn real_paths(folder: &str) {
    tree(folder);
    let base = unsafe { text(realpath(CString::new(folder).unwrap().as_ptr(), null_mut())) };
    let look = |name: &str| unsafe {
        let mut buf = [0 as c_char; PATH_MAX as usize];
        let found = realpath(CString::new(name).unwrap().as_ptr(), buf.as_mut_ptr());
        let number = errno();
        if found.is_null() {
            println!("{}: {number} at {}", inside(folder, name), inside(&base, &text(buf.as_ptr())));
        } else {
            println!("{}: {}", inside(folder, name), inside(&base, &text(found)));
        }
    };
    for name in
        ["t", "t/la", "t/ld/c.txt", "t/d/up/a", "t/d/./../d//e/f", "t/ln", "t/a/x", "t/none/x", "t/ld/../a", "t/d/"]
    {
        look(&format!("{folder}/{name}"));
    }
    unsafe {
        symlink(c"loop".as_ptr(), path(folder, "t/loop").as_ptr());
        symlink(path(folder, "t/d/e").as_ptr(), path(folder, "t/absolute").as_ptr());
        look(&format!("{folder}/t/loop"));
        look(&format!("{folder}/t/absolute/f"));
        let name = canonicalize_file_name(path(folder, "t/ld/e/../c.txt").as_ptr());
        println!("canonicalize_file_name {}", inside(&base, &text(name)));
        chdir(path(folder, "t/d").as_ptr());
        println!("relative {}", inside(&base, &text(realpath(c"e/../../la".as_ptr(), null_mut()))));
        println!("dot {}", inside(&base, &text(realpath(c".".as_ptr(), null_mut()))));
        println!("dot dot {}", inside(&base, &text(realpath(c"..".as_ptr(), null_mut()))));
        show("empty", if realpath(c"".as_ptr(), null_mut()).is_null() { -1 } else { 0i64 });
        show("null", if realpath(null(), null_mut()).is_null() { -1 } else { 0i64 });
    }
}

fn working_directory(folder: &str) {
    tree(folder);
    unsafe {
        show("chdir", chdir(path(folder, "t/ld/e").as_ptr()));
        let mut buf = [0 as c_char; PATH_MAX as usize];
        println!("getcwd {}", inside(folder, &text(getcwd(buf.as_mut_ptr(), buf.len()))));
        println!("allocated {}", inside(folder, &text(getcwd(null_mut(), 0))));
        show("too short", if getcwd(buf.as_mut_ptr(), 3).is_null() { -1 } else { 0i64 });
        show("no room", if getcwd(buf.as_mut_ptr(), 0).is_null() { -1 } else { 0i64 });
        println!("getwd {}", inside(folder, &text(getwd(buf.as_mut_ptr()))));
        unsetenv(c"PWD".as_ptr());
        println!("get_current_dir_name {}", inside(folder, &text(get_current_dir_name())));
        setenv(c"PWD".as_ptr(), path(folder, "t/ld/e").as_ptr(), 1);
        println!("with PWD {}", inside(folder, &text(get_current_dir_name())));
        setenv(c"PWD".as_ptr(), path(folder, "t").as_ptr(), 1);
        println!("with a wrong PWD {}", inside(folder, &text(get_current_dir_name())));
        show("up", chdir(c"../..".as_ptr()));
        println!("{}", inside(folder, &text(getcwd(null_mut(), 0))));
        let fd = open(c"d".as_ptr(), O_RDONLY | O_DIRECTORY);
        show("fchdir", fchdir(fd));
        println!("{}", inside(folder, &text(getcwd(null_mut(), 0))));
        show("by a relative name", access(c"c.txt".as_ptr(), F_OK));
        let file = fopen(c"new".as_ptr(), c"w".as_ptr());
        fclose(file);
        show("made there", access(path(folder, "t/d/new").as_ptr(), F_OK));
        mkdir(c"gone".as_ptr(), 0o755);
        chdir(c"gone".as_ptr());
        rmdir(path(folder, "t/d/gone").as_ptr());
        show("in a removed folder", if getcwd(null_mut(), 0).is_null() { -1 } else { 0i64 });
        show("open there", open(c"x".as_ptr(), O_CREAT | O_WRONLY, 0o600));
        show("to a host folder and back", chdir(c"/".as_ptr()));
        println!("{}", text(getcwd(null_mut(), 0)));
        show("back", chdir(path(folder, "t").as_ptr()));
        show("to a file", chdir(c"a".as_ptr()));
    }
}

/// Reaches a folder a component at a time, as rsync does, and by a relative name from the root.
fn down_from_the_root(folder: &str) {
    let file = create(folder, "found", b"by steps");
    unsafe {
        let mut dir = open(c"/".as_ptr(), O_PATH | O_DIRECTORY);
        for component in folder.split('/').filter(|component| !component.is_empty()) {
            let name = CString::new(component).unwrap();
            let next = openat(dir, name.as_ptr(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
            if next < 0 {
                works(component, next);
            }
            close(dir);
            dir = next;
        }
        show("faccessat", faccessat(dir, c"found".as_ptr(), R_OK, 0));
        show("fchdir", fchdir(dir));
        println!("{}", contents(c"found"));
        show("chdir", chdir(c"/".as_ptr()));
        let relative = file.as_bytes_with_nul().strip_prefix(b"/").unwrap();
        println!("{}", contents(CStr::from_bytes_with_nul(relative).unwrap()));
        let missing = format!("{}.missing", relative[..4].escape_ascii());
        println!("{}", contents(&CString::new(missing).unwrap()));
    }
}
