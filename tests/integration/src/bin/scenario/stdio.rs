//! Streams: stdio(3) and what it asks of the kernel from inside libc, where no symbol is passed.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("stdio", Processes, stdio),
    ("stdio_modes", OneProcess, modes),
    ("stdio_append", OneProcess, append),
    ("stdio_freopen", OneProcess, reopen),
    ("stdio_standard_streams", OneProcess, standard_streams),
    ("stdio_fdopen", OneProcess, from_descriptor),
    ("stdio_temporary", OneProcess, temporary),
    ("stdio_aliased_stdout", OneProcess, aliased_stdout),
    ("stdio_flush_at_exit", Processes, flush_at_exit),
    ("stdio_numbers", OneProcess, numbers),
];

unsafe extern "C" {
    fn fcloseall() -> c_int;
    fn dprintf(fd: c_int, format: *const c_char, ...) -> c_int;
    fn tempnam(folder: *const c_char, prefix: *const c_char) -> *mut c_char;
    static stdin: *mut FILE;
    static stdout: *mut FILE;
    static stderr: *mut FILE;
}

/// What is said of a stream that did not open: its errno.
pub fn opened(what: &str, file: *mut FILE) -> *mut FILE {
    show(what, if file.is_null() { -1 } else { 0i64 });
    file
}

/// Runs `write` with descriptor `number` leading to a new file, and returns what arrived there.
pub unsafe fn diverted(folder: &str, number: c_int, write: impl FnOnce()) -> String {
    let name = path(folder, "diverted");
    unsafe {
        fflush(null_mut());
        let saved = dup(number);
        let file = open(name.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
        assert_eq!(dup2(file, number), number);
        close(file);
        write();
        fflush(null_mut());
        assert_eq!(dup2(saved, number), number);
        close(saved);
    }
    contents(&name)
}

fn stdio(folder: &str) {
    let name = path(folder, "stream");
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        println!("fopen: {}", !file.is_null());
        for i in 0..1000 {
            fprintf(file, c"line %d\n".as_ptr(), i as c_int);
        }
        show("fflush", fflush(file));
        show("ftell", ftell(file));
        rewind(file);
        let mut buf = [0u8; 64];
        let mut lines = 0;
        while !fgets(buf.as_mut_ptr().cast(), 64, file).is_null() {
            lines += 1;
        }
        println!("{lines} lines");
        show("fclose", fclose(file));
        let file = fopen(name.as_ptr(), c"a".as_ptr());
        fputs(c"appended\n".as_ptr(), file);
        fclose(file);
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("{}", st.st_size);
        println!("missing: {}", fopen(path(folder, "missing").as_ptr(), c"r".as_ptr()).is_null());
        let out = freopen(path(folder, "out").as_ptr(), c"w".as_ptr(), fopen(name.as_ptr(), c"r".as_ptr()));
        fputs(c"reopened".as_ptr(), out);
        fclose(out);
        stat(path(folder, "out").as_ptr(), &mut st);
        println!("{}", st.st_size);
        let pipe = popen(CString::new(format!("cat {folder}/out")).unwrap().as_ptr(), c"r".as_ptr());
        println!("popen: {}", fread(buf.as_mut_ptr().cast(), 1, 64, pipe));
        show("pclose", pclose(pipe));
        show("system", system(CString::new(format!("test -s {folder}/out")).unwrap().as_ptr()));
        show("remove", remove(name.as_ptr()));
    }
}

fn modes(folder: &str) {
    let present = create(folder, "present", b"0123456789");
    let folder_name = CString::new(folder).unwrap();
    unsafe {
        for mode in
            [c"r", c"r+", c"rb", c"r+b", c"rb+", c"re", c"rm", c"rc", c"a", c"a+", c"w", c"w+", c"wb", c"wbe", c"w+x"]
        {
            let file = opened(&format!("{mode:?}"), fopen(present.as_ptr(), mode.as_ptr()));
            if file.is_null() {
                continue;
            }
            let fd = fileno(file);
            println!(
                "  flags {:#o} exec {} at {} size {}",
                fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_CREAT | O_EXCL | O_TRUNC),
                fcntl(fd, F_GETFD),
                ftell(file),
                fseek(file, 0, SEEK_END) as i64 + ftell(file),
            );
            show("  getc", {
                fseek(file, 0, SEEK_SET);
                fgetc(file)
            });
            clearerr(file);
            fseek(file, 0, SEEK_SET);
            show("  fputs", fputs(c"AB".as_ptr(), file));
            show("  fclose", fclose(file));
            println!("  {}", contents(&present));
            create(folder, "present", b"0123456789");
        }
        opened("exclusive, new", fopen(path(folder, "new").as_ptr(), c"wx".as_ptr()));
        opened("exclusive, there", fopen(path(folder, "new").as_ptr(), c"wx".as_ptr()));
        opened("missing", fopen(path(folder, "missing").as_ptr(), c"r".as_ptr()));
        opened("missing, update", fopen(path(folder, "missing").as_ptr(), c"r+".as_ptr()));
        opened("in no folder", fopen(path(folder, "no/file").as_ptr(), c"w".as_ptr()));
        opened("below a file", fopen(path(folder, "present/x").as_ptr(), c"w".as_ptr()));
        opened("a folder, read", fopen(folder_name.as_ptr(), c"r".as_ptr()));
        opened("a folder, written", fopen(folder_name.as_ptr(), c"w".as_ptr()));
        opened("an empty name", fopen(c"".as_ptr(), c"r".as_ptr()));
        opened("a bad mode", fopen(present.as_ptr(), c"q".as_ptr()));
        let wide = opened("with a character set", fopen(present.as_ptr(), c"r,ccs=UTF-8".as_ptr()));
        if !wide.is_null() {
            show("  getc", fgetc(wide));
            fclose(wide);
        }
        opened("with an unknown one", fopen(present.as_ptr(), c"r,ccs=NONE-SUCH".as_ptr()));
        show("mode of what w made", mode_of(&path(folder, "new")));
    }
}

fn append(folder: &str) {
    let name = create(folder, "log", b"first\n");
    unsafe {
        let (one, two) = (fopen(name.as_ptr(), c"a".as_ptr()), fopen(name.as_ptr(), c"a+".as_ptr()));
        show("at, before", ftell(one));
        for i in 0..3 {
            fprintf(one, c"one %d\n".as_ptr(), i as c_int);
            fflush(one);
            fprintf(two, c"two %d\n".as_ptr(), i as c_int);
            fflush(two);
        }
        show("at, after", ftell(one));
        show("a seek does not move the end", fseek(one, 0, SEEK_SET));
        fputs(c"three\n".as_ptr(), one);
        fclose(one);
        rewind(two);
        let mut buf = [0u8; 100];
        show("read from the start", fread(buf.as_mut_ptr().cast(), 1, 5, two) as i64);
        println!("{}", String::from_utf8_lossy(&buf[..5]));
        fseek(two, 0, SEEK_CUR);
        fputs(c"last\n".as_ptr(), two);
        fclose(two);
        print!("{}", contents(&name));
    }
}

fn reopen(folder: &str) {
    let (a, b) = (create(folder, "a", b"content of a"), path(folder, "b"));
    unsafe {
        let file = fopen(a.as_ptr(), c"r".as_ptr());
        let number = fileno(file);
        show("getc", fgetc(file));
        let again = freopen(b.as_ptr(), c"w".as_ptr(), file);
        println!("same stream {}, same number {}", again == file, fileno(again) == number);
        fputs(c"into b".as_ptr(), again);
        let again = freopen(a.as_ptr(), c"r".as_ptr(), again);
        println!("{}", contents(&b));
        show("at the start again", fgetc(again));
        let other = freopen(null(), c"r".as_ptr(), again);
        show("with no name", if other.is_null() { -1 } else { 0i64 });
        if !other.is_null() {
            show("  getc", fgetc(other));
            fclose(other);
        }
        let file = fopen(a.as_ptr(), c"r".as_ptr());
        let gone = freopen(path(folder, "missing").as_ptr(), c"r".as_ptr(), file);
        show("a missing one", if gone.is_null() { -1 } else { 0i64 });
        show("closed meanwhile", fcntl(number, F_GETFD));
    }
}

fn standard_streams(folder: &str) {
    let input = create(folder, "input", b"one\ntwo\nthree\n");
    unsafe {
        let saved = dup(0);
        let file = freopen(input.as_ptr(), c"r".as_ptr(), stdin);
        println!("stdin is number {}", fileno(file));
        let mut line = [0i8; 32];
        while !fgets(line.as_mut_ptr(), 32, stdin).is_null() {
            print!("{}", CStr::from_ptr(line.as_ptr()).to_string_lossy());
        }
        println!("end {}", feof(stdin) != 0);
        println!("position shared {}", lseek(0, 0, SEEK_CUR));
        dup2(saved, 0);
        clearerr(stdin);
        let saved = dup(1);
        let out = freopen(path(folder, "output").as_ptr(), c"w".as_ptr(), stdout);
        let number = if out.is_null() { -1 } else { fileno(out) };
        printf(c"to the file: %s %d\n".as_ptr(), c"text".as_ptr(), 42 as c_int);
        puts(c"and puts".as_ptr());
        putchar(b'!' as c_int);
        fflush(stdout);
        dup2(saved, 1);
        println!("stdout is number {number}");
        println!("{}", contents(&path(folder, "output")));
        let saved = dup(2);
        let out = freopen(path(folder, "complaints").as_ptr(), c"w".as_ptr(), stderr);
        fprintf(out, c"no buffer".as_ptr());
        println!("{}", contents(&path(folder, "complaints")));
        fflush(out);
        dup2(saved, 2);
    }
}

fn from_descriptor(folder: &str) {
    let name = create(folder, "file", b"abcdefghij");
    unsafe {
        let fd = open(name.as_ptr(), O_RDWR);
        lseek(fd, 3, SEEK_SET);
        let file = opened("fdopen", fdopen(fd, c"r+".as_ptr()));
        println!("{} {}", fileno(file) == fd, ftell(file));
        show("getc", fgetc(file));
        fseek(file, 0, SEEK_CUR);
        fputs(c"XY".as_ptr(), file);
        show("fclose", fclose(file));
        show("closed with it", fcntl(fd, F_GETFD));
        println!("{}", contents(&name));
        opened("of a closed one", fdopen(fd, c"r".as_ptr()));
        let reader = open(name.as_ptr(), O_RDONLY);
        opened("mode against the flags", fdopen(reader, c"w".as_ptr()));
        opened("bad mode", fdopen(reader, c"z".as_ptr()));
        let writer = open(name.as_ptr(), O_WRONLY);
        let file = opened("append", fdopen(writer, c"a".as_ptr()));
        show("sets the flag", fcntl(writer, F_GETFL) & O_APPEND);
        fputs(c"end".as_ptr(), file);
        fclose(file);
        println!("{}", contents(&name));
        let high = fcntl(reader, F_DUPFD, 500);
        let file = opened("high number", fdopen(high, c"r".as_ptr()));
        show("fileno", fileno(file));
        show("getc", fgetc(file));
        fclose(file);
        show("fileno of none", lseek(high, 0, SEEK_CUR));
        close(reader);
    }
}

fn temporary(folder: &str) {
    let template = |name: &str| path(folder, name).into_bytes_with_nul();
    let ends = |name: &[u8]| {
        let text = CStr::from_bytes_with_nul(name).unwrap().to_string_lossy().into_owned();
        !text.contains("XXXXXX") && text.starts_with(folder)
    };
    unsafe {
        let mut name = template("a-XXXXXX");
        let fd = works("mkstemp", mkstemp(name.as_mut_ptr().cast()));
        println!("{} mode {:o}", ends(&name), mode_of(CStr::from_bytes_with_nul(&name).unwrap()));
        show("written", write(fd, b"x".as_ptr().cast(), 1) as i64);
        let mut name = template("b-XXXXXX");
        let fd = works("mkostemp", mkostemp(name.as_mut_ptr().cast(), O_APPEND | O_CLOEXEC));
        println!("{} {:#o} {}", ends(&name), fcntl(fd, F_GETFL) & O_APPEND, fcntl(fd, F_GETFD));
        let mut name = template("c-XXXXXX.txt");
        works("mkstemps", mkstemps(name.as_mut_ptr().cast(), 4));
        println!("{} {}", ends(&name), name.ends_with(b".txt\0"));
        let mut name = template("d-XXXXXX.c");
        let fd = works("mkostemps", mkostemps(name.as_mut_ptr().cast(), 2, O_SYNC));
        println!("{} {}", ends(&name), fd >= 0);
        let mut name = template("e-XXXXXX");
        works("mkdtemp", if mkdtemp(name.as_mut_ptr().cast()).is_null() { -1 } else { 0 });
        println!("{} mode {:o}", ends(&name), mode_of(CStr::from_bytes_with_nul(&name).unwrap()));
        let mut name = template("f-XXXXX");
        show("too few letters", mkstemp(name.as_mut_ptr().cast()));
        let mut name = template("none/g-XXXXXX");
        show("in no folder", mkstemp(name.as_mut_ptr().cast()));
        // Both use the folder of P_tmpdir, /tmp, which is the host's in both runs.
        let file = opened("tmpfile", tmpfile());
        fputs(c"gone soon".as_ptr(), file);
        rewind(file);
        let mut buf = [0u8; 16];
        show("read back", fread(buf.as_mut_ptr().cast(), 1, 16, file) as i64);
        let mut st: stat = zeroed();
        fstat(fileno(file), &mut st);
        println!("{} links", st.st_nlink);
        fclose(file);
        let mut name = [0i8; 256];
        #[expect(deprecated, reason = "old programs have it")]
        let named = tmpnam(name.as_mut_ptr());
        println!("tmpnam {}", !named.is_null());
        setenv(c"TMPDIR".as_ptr(), path(folder, "").as_ptr(), 1);
        let name = tempnam(null(), c"pre".as_ptr());
        let text = CStr::from_ptr(name).to_string_lossy().into_owned();
        println!("tempnam {} {}", text.starts_with(folder), text.contains("/pre"));
        opened("opened", fopen(name, c"wx".as_ptr()));
    }
}

fn aliased_stdout(folder: &str) {
    unsafe {
        let text = diverted(folder, 1, || {
            printf(c"printf %05.2f %s\n".as_ptr(), 2.5f64, c"x".as_ptr());
            puts(c"puts".as_ptr());
            fputs(c"fputs\n".as_ptr(), stdout);
            fwrite(b"fwrite\n".as_ptr().cast(), 1, 7, stdout);
            fflush(stdout);
            write(1, b"write\n".as_ptr().cast(), 6);
            dprintf(1, c"dprintf %d\n".as_ptr(), 7 as c_int);
            putchar(b'c' as c_int);
            fputc(b'd' as c_int, stdout);
        });
        println!("{text}");
        let text = diverted(folder, 2, || {
            fprintf(stderr, c"fprintf %d\n".as_ptr(), 1 as c_int);
            *__errno_location() = ENOENT;
            perror(c"perror".as_ptr());
            fputs(c"fputs".as_ptr(), stderr);
        });
        println!("{text}");
        // Big enough for several flushes on the way.
        let text = diverted(folder, 1, || {
            for i in 0..5000 {
                printf(c"%d ".as_ptr(), i as c_int);
            }
        });
        println!("{} bytes, ends {:?}", text.len(), &text[text.len() - 10..]);
        // Both numbers on one description share the position.
        let name = path(folder, "both");
        let saved = [dup(1), dup(2)];
        let file = open(name.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
        dup2(file, 1);
        dup2(1, 2);
        printf(c"out 1\n".as_ptr());
        fflush(stdout);
        fprintf(stderr, c"err 1\n".as_ptr());
        printf(c"out 2\n".as_ptr());
        fflush(stdout);
        dup2(saved[0], 1);
        dup2(saved[1], 2);
        print!("{}", contents(&name));
    }
}

fn flush_at_exit(folder: &str) {
    let name = path(folder, "out");
    let child = |status: c_int, act: &dyn Fn()| unsafe {
        fflush(null_mut());
        let child = fork();
        if child == 0 {
            let file = open(name.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
            dup2(file, 1);
            close(file);
            act();
            exit(status)
        }
        let mut how = 0;
        waitpid(child, &mut how, 0);
        println!("status {}: {:?}", WEXITSTATUS(how), contents(&name));
    };
    unsafe {
        child(0, &|| _ = printf(c"left in the buffer".as_ptr()));
        child(3, &|| {
            let own = fopen(path(folder, "own").as_ptr(), c"w".as_ptr());
            fputs(c"never closed".as_ptr(), own);
            puts(c"line".as_ptr());
        });
        println!("{:?}", contents(&path(folder, "own")));
        child(4, &|| {
            printf(c"lost".as_ptr());
            _exit(4)
        });
        child(5, &|| {
            printf(c"before".as_ptr());
            show("fcloseall", fcloseall());
        });
        // What the parent had in its buffer, both flush: natively twice, and so here.
        let both = fopen(path(folder, "twice").as_ptr(), c"w".as_ptr());
        fputs(c"parent ".as_ptr(), both);
        child(6, &|| _ = fputs(c"child ".as_ptr(), both));
        fclose(both);
        println!("{:?}", contents(&path(folder, "twice")));
    }
}

fn numbers(folder: &str) {
    let name = create(folder, "file", b"by its number");
    unsafe {
        let fd = open(name.as_ptr(), O_RDWR);
        let mut buf = [0u8; 32];
        for way in ["/dev/fd", "/proc/self/fd", &format!("/proc/{}/fd", getpid())] {
            let file = opened(
                &way.replace(&getpid().to_string(), "PID"),
                fopen(path(way, &fd.to_string()).as_ptr(), c"r".as_ptr()),
            );
            if file.is_null() {
                continue;
            }
            let n = fread(buf.as_mut_ptr().cast(), 1, 32, file);
            println!("{}", String::from_utf8_lossy(&buf[..n]));
            fclose(file);
        }
        // Natively a new description, with a position of its own.
        let again = open(path("/dev/fd", &fd.to_string()).as_ptr(), O_RDONLY);
        println!("opens {}", again >= 0);
        show("read", read(again, buf.as_mut_ptr().cast(), 2) as i64);
        show("position of the first", lseek(fd, 0, SEEK_CUR));
        show("not writable", write(again, b"x".as_ptr().cast(), 1) as i64);
        show("a number that is not open", open(c"/dev/fd/9999".as_ptr(), O_RDONLY));
        show("truncated by its number", open(path("/dev/fd", &fd.to_string()).as_ptr(), O_WRONLY | O_TRUNC).min(0));
        show("size", lseek(fd, 0, SEEK_END));
        show("exclusively", open(path("/dev/fd", &fd.to_string()).as_ptr(), O_RDWR | O_CREAT | O_EXCL, 0o600));
        show("not following", open(path("/dev/fd", &fd.to_string()).as_ptr(), O_RDONLY | O_NOFOLLOW));
        unlink(name.as_ptr());
        write(fd, b"nameless".as_ptr().cast(), 8);
        let nameless = open(path("/proc/self/fd", &fd.to_string()).as_ptr(), O_RDONLY);
        show("without a name", read(nameless, buf.as_mut_ptr().cast(), 32) as i64);
        let (c, _a) = connected();
        show("a socket", open(path("/proc/self/fd", &c.to_string()).as_ptr(), O_RDWR));
        let mut st: stat = zeroed();
        show("stat", stat(path("/proc/self/fd", &fd.to_string()).as_ptr(), &mut st));
        println!("{} {:o}", st.st_size, st.st_mode);
    }
}
