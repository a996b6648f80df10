//! What is done with a stream: positions, buffers, lines, blocks, errors.

use super::prelude::*;
use super::stdio::diverted;

/// The family.
pub const TABLE: &[Row] = &[
    ("stdio_positions", OneProcess, positions),
    ("stdio_buffering", OneProcess, buffering),
    ("stdio_lines", OneProcess, lines),
    ("stdio_scan", OneProcess, scan),
    ("stdio_blocks", OneProcess, blocks),
    ("stdio_errors", OneProcess, errors),
    ("stdio_formatted_output", OneProcess, formatted),
    ("stdio_messages", Processes, messages),
    ("stdio_words", OneProcess, words),
    ("stdio_sockets", OneProcess, sockets),
    ("stdio_devices", OneProcess, devices),
];

unsafe extern "C" {
    fn dprintf(fd: c_int, format: *const c_char, ...) -> c_int;
    fn psignal(signal: c_int, text: *const c_char);
    fn ftrylockfile(stream: *mut FILE) -> c_int;
    fn funlockfile(stream: *mut FILE);
    fn getdelim(line: *mut *mut c_char, room: *mut size_t, end: c_int, stream: *mut FILE) -> ssize_t;
    fn putw(word: c_int, stream: *mut FILE) -> c_int;
    fn getw(stream: *mut FILE) -> c_int;
    fn warn(format: *const c_char, ...);
    fn warnx(format: *const c_char, ...);
    fn err(status: c_int, format: *const c_char, ...) -> !;
    fn error(status: c_int, number: c_int, format: *const c_char, ...);
    static mut optind: c_int;
}

fn positions(folder: &str) {
    let name = create(folder, "file", b"0123456789abcdefghij");
    unsafe {
        let file = fopen(name.as_ptr(), c"r+".as_ptr());
        show("fseeko", fseeko(file, 5, SEEK_SET));
        show("ftello", ftello(file));
        show("getc", fgetc(file));
        show("ungetc", ungetc(b'Z' as c_int, file));
        show("ftell with one pushed back", ftell(file));
        show("getc", fgetc(file));
        let mut mark: fpos_t = zeroed();
        show("fgetpos", fgetpos(file, &mut mark));
        show("end", fseeko(file, -3, SEEK_END));
        show("getc", fgetc(file));
        show("fsetpos", fsetpos(file, &mark));
        show("getc", fgetc(file));
        show("relative", fseek(file, 2, SEEK_CUR));
        show("ftell", ftell(file));
        show("before the start", fseek(file, -1, SEEK_SET));
        show("bad whence", fseek(file, 0, 99));
        show("ftell", ftell(file));
        show("beyond the end", fseeko(file, 1 << 33, SEEK_SET));
        show("ftello", ftello(file));
        show("getc there", fgetc(file));
        println!("eof {}", feof(file) != 0);
        rewind(file);
        println!("eof {}", feof(file) != 0);
        // Reading and writing in turns, with the seek between them that C asks for.
        fgetc(file);
        fseek(file, 0, SEEK_CUR);
        fputc(b'!' as c_int, file);
        fseek(file, 0, SEEK_CUR);
        show("getc", fgetc(file));
        fseek(file, 30, SEEK_SET);
        fputs(c"hole".as_ptr(), file);
        show("fclose", fclose(file));
        println!("{:?}", contents(&name));
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let stream = fdopen(ends[0], c"r".as_ptr());
        show("seek on a pipe", fseek(stream, 0, SEEK_SET));
        show("tell on a pipe", ftell(stream));
    }
}

fn buffering(folder: &str) {
    let name = path(folder, "file");
    let size = |what: &str| {
        let mut st: stat = unsafe { zeroed() };
        unsafe { stat(name.as_ptr(), &mut st) };
        println!("{what}: {}", st.st_size);
    };
    unsafe {
        for (what, mode) in [("full", _IOFBF), ("line", _IOLBF), ("none", _IONBF)] {
            let file = fopen(name.as_ptr(), c"w".as_ptr());
            let mut room = [0i8; 64];
            let given = if mode == _IONBF { null_mut() } else { room.as_mut_ptr() };
            show(what, setvbuf(file, given, mode, 64));
            fputs(c"half".as_ptr(), file);
            size("  half a line");
            fputs(c" line\n".as_ptr(), file);
            size("  a line");
            for _ in 0..10 {
                fputs(c"0123456789".as_ptr(), file);
            }
            size("  more than the buffer");
            show("  fflush", fflush(file));
            size("  all");
            fclose(file);
        }
        let file = fopen(name.as_ptr(), c"w".as_ptr());
        setbuf(file, null_mut());
        fputc(b'x' as c_int, file);
        size("setbuf without one");
        fclose(file);
        let file = fopen(name.as_ptr(), c"w".as_ptr());
        fputs(c"kept".as_ptr(), file);
        size("kept back");
        fflush(null_mut());
        size("flushed with all others");
        // fflush of a stream that is read moves the descriptor to where the reader is.
        fclose(file);
        create(folder, "file", b"0123456789");
        let file = fopen(name.as_ptr(), c"r".as_ptr());
        fgetc(file);
        show("descriptor", lseek(fileno(file), 0, SEEK_CUR));
        show("fflush of a reader", fflush(file));
        show("descriptor", lseek(fileno(file), 0, SEEK_CUR));
        show("getc", fgetc(file));
        fclose(file);
    }
}

fn lines(folder: &str) {
    let long = "y".repeat(10_000);
    let name = create(folder, "file", format!("one\n\nthree;four;{long}\nlast without end").as_bytes());
    unsafe {
        let file = fopen(name.as_ptr(), c"r".as_ptr());
        let (mut line, mut room) = (null_mut(), 0);
        for _ in 0..2 {
            show("getline", getline(&mut line, &mut room, file) as i64);
            println!("{:?}", CStr::from_ptr(line));
        }
        show("getdelim", getdelim(&mut line, &mut room, b';' as c_int, file) as i64);
        println!("{:?}", CStr::from_ptr(line));
        show("getdelim", getdelim(&mut line, &mut room, b';' as c_int, file) as i64);
        show("a long one", getline(&mut line, &mut room, file) as i64);
        println!("{}", room >= 10_001);
        show("the last", getline(&mut line, &mut room, file) as i64);
        println!("{:?} {}", CStr::from_ptr(line), feof(file) != 0);
        println!("after the end: {} {}", getline(&mut line, &mut room, file), ferror(file));
        free(line.cast());
        rewind(file);
        let mut short = [0i8; 3];
        for _ in 0..3 {
            println!("{:?}", CStr::from_ptr(fgets(short.as_mut_ptr(), 3, file)));
        }
        fclose(file);
    }
}

fn scan(folder: &str) {
    let name = create(folder, "numbers", b"12 -7 0x1f word 3.25\n[key=value] trailing");
    unsafe {
        let file = fopen(name.as_ptr(), c"r".as_ptr());
        let (mut a, mut b, mut c, mut d) = (0 as c_int, 0 as c_int, 0 as c_int, 0f64);
        let mut word = [0i8; 32];
        show("fscanf", fscanf(file, c"%d %d %i %31s %lf".as_ptr(), &mut a, &mut b, &mut c, word.as_mut_ptr(), &mut d));
        println!("{a} {b} {c} {:?} {d}", CStr::from_ptr(word.as_ptr()));
        let mut value = [0i8; 32];
        show("a set", fscanf(file, c" [%31[^=]=%31[^]]]".as_ptr(), word.as_mut_ptr(), value.as_mut_ptr()));
        println!("{:?} {:?}", CStr::from_ptr(word.as_ptr()), CStr::from_ptr(value.as_ptr()));
        show("no match", fscanf(file, c"%d".as_ptr(), &mut a));
        show("at", ftell(file));
        show("the rest", fscanf(file, c"%31s".as_ptr(), word.as_mut_ptr()));
        println!("end: {}", fscanf(file, c"%d".as_ptr(), &mut a));
        fclose(file);
    }
}

fn blocks(folder: &str) {
    let name = path(folder, "big");
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        show("fwrite", fwrite(data.as_ptr().cast(), 1, data.len(), file) as i64);
        show("at", ftell(file));
        rewind(file);
        let mut back = vec![0u8; data.len()];
        show("fread", fread(back.as_mut_ptr().cast(), 1, back.len(), file) as i64);
        println!("{}", back == data);
        show("nothing more", fread(back.as_mut_ptr().cast(), 1, 1, file) as i64);
        println!("{}", feof(file) != 0);
        rewind(file);
        show("records", fread(back.as_mut_ptr().cast(), 1000, 4000, file) as i64);
        show("at", ftell(file));
        fseek(file, 1_234_567, SEEK_SET);
        show("one byte", fgetc(file));
        println!("{}", data[1_234_567]);
        let mut sum = 0u64;
        rewind(file);
        loop {
            let n = fread(back.as_mut_ptr().cast(), 7, 613, file);
            if n == 0 {
                break;
            }
            sum += back[..n * 7].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        println!("{}", sum > 0);
        // Every second block is replaced in place.
        for block in (0..3_000_000).step_by(200_000) {
            fseek(file, block, SEEK_SET);
            fwrite([7u8; 100_000].as_ptr().cast(), 100_000, 1, file);
        }
        fclose(file);
        let text = std::fs::read(name.to_str().unwrap()).unwrap();
        let expected = |at: usize| if (at / 100_000).is_multiple_of(2) && at < 3_000_000 { 7 } else { data[at] };
        println!("{} {}", text.len(), text.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    }
}

fn errors(folder: &str) {
    let name = create(folder, "file", b"content");
    let dev = devices_of(folder);
    unsafe {
        let file = fopen(name.as_ptr(), c"r".as_ptr());
        show("write to a reader", fputc(b'x' as c_int, file));
        println!("error {} end {}", ferror(file) != 0, feof(file) != 0);
        clearerr(file);
        println!("error {}", ferror(file) != 0);
        show("still reads", fgetc(file));
        close(fileno(file));
        show("a seek on a closed descriptor", fseek(file, 100_000, SEEK_SET));
        show("fclose", fclose(file));
        let file = fopen(name.as_ptr(), c"w".as_ptr());
        show("read of a writer", fgetc(file));
        println!("error {} end {}", ferror(file) != 0, feof(file) != 0);
        close(fileno(file));
        show("goes to the buffer", fputs(c"lost".as_ptr(), file));
        show("fflush", fflush(file));
        println!("error {}", ferror(file) != 0);
        show("fclose", fclose(file));
        let full = fopen(path(dev, "full").as_ptr(), c"w".as_ptr());
        show("to a full device", fputs(c"some text".as_ptr(), full));
        show("fflush", fflush(full));
        println!("error {}", ferror(full) != 0);
        show("fclose", fclose(full));
        let full = fopen(path(dev, "full").as_ptr(), c"w".as_ptr());
        setvbuf(full, null_mut(), _IONBF, 0);
        show("unbuffered", fprintf(full, c"%d".as_ptr(), 5 as c_int));
        fclose(full);
        let file = fopen(CString::new(folder).unwrap().as_ptr(), c"r".as_ptr());
        show("getc of a folder", fgetc(file));
        println!("error {} end {}", ferror(file) != 0, feof(file) != 0);
        fclose(file);
        // More open files than the process may have.
        let mut limit: rlimit = zeroed();
        getrlimit(RLIMIT_NOFILE, &mut limit);
        let first = open(name.as_ptr(), O_RDONLY);
        setrlimit(RLIMIT_NOFILE, &rlimit { rlim_cur: first as rlim_t + 3, ..limit });
        let mut open_files = 0;
        while !fopen(name.as_ptr(), c"r".as_ptr()).is_null() {
            open_files += 1;
        }
        show("too many", -1i64);
        println!("after {open_files}");
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

fn formatted(folder: &str) {
    let name = path(folder, "file");
    unsafe {
        let fd = open(name.as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644);
        show(
            "dprintf",
            dprintf(fd, c"%s-%08x-%-5d|%c\n".as_ptr(), c"text".as_ptr(), 0xbeefu32, 12 as c_int, b'q' as c_int),
        );
        let long = CString::new("z".repeat(9000)).unwrap();
        show("a long one", dprintf(fd, c"%s\n".as_ptr(), long.as_ptr()));
        show("size", lseek(fd, 0, SEEK_CUR));
        show("on a reader", dprintf(open(name.as_ptr(), O_RDONLY), c"x".as_ptr()));
        close(fd);
        show("on a closed one", dprintf(fd, c"x".as_ptr()));
        let file = fopen(name.as_ptr(), c"w".as_ptr());
        show("fprintf", fprintf(file, c"%*d|%.3s|%%".as_ptr(), 6 as c_int, 42 as c_int, c"abcdef".as_ptr()));
        fclose(file);
        println!("{}", contents(&name));
        let (mut text, mut len) = (null_mut(), 0);
        let memory = open_memstream(&mut text, &mut len);
        fprintf(memory, c"in memory %d".as_ptr(), 1 as c_int);
        fclose(memory);
        println!("{:?} {len}", CStr::from_ptr(text));
        free(text.cast());
    }
}

fn messages(folder: &str) {
    unsafe {
        let text = diverted(folder, 2, || {
            *__errno_location() = EACCES;
            perror(c"perror".as_ptr());
            *__errno_location() = EISDIR;
            warn(c"warn %d".as_ptr(), 1 as c_int);
            warnx(c"warnx %d".as_ptr(), 2 as c_int);
            error(0, ENOSPC, c"error %d".as_ptr(), 3 as c_int);
            psignal(SIGHUP, c"psignal".as_ptr());
            let argv = [c"tool".as_ptr(), c"-a".as_ptr(), c"-q".as_ptr(), null()];
            optind = 1;
            while getopt(3, argv.as_ptr().cast(), c"a".as_ptr()) != -1 {}
            let argv = [c"tool".as_ptr(), c"-a".as_ptr(), null()];
            optind = 1;
            getopt(2, argv.as_ptr().cast(), c"a:".as_ptr());
        });
        print!("{}", text.replace(std::env::args().next().unwrap_or_default().as_str(), "PROGRAM"));
        let status = diverted(folder, 2, || {
            let child = fork();
            if child == 0 {
                *__errno_location() = EPERM;
                err(9, c"err".as_ptr());
            }
            let mut how = 0;
            waitpid(child, &mut how, 0);
            dprintf(2, c"status %d\n".as_ptr(), WEXITSTATUS(how));
        });
        print!("{status}");
        let status = diverted(folder, 2, || {
            let child = fork();
            if child == 0 {
                let none = rlimit { rlim_cur: 0, rlim_max: 0 };
                setrlimit(RLIMIT_CORE, &none);
                abort();
            }
            let mut how = 0;
            waitpid(child, &mut how, 0);
            dprintf(2, c"signal %d\n".as_ptr(), WTERMSIG(how));
        });
        print!("{status}");
    }
}

fn words(folder: &str) {
    let name = path(folder, "words");
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        for word in [1, -2, i32::MAX, i32::MIN] {
            show("putw", putw(word, file));
        }
        show("at", ftell(file));
        rewind(file);
        for _ in 0..4 {
            println!("getw {}", getw(file));
        }
        show("lock", ftrylockfile(file));
        funlockfile(file);
        fclose(file);
        show("remove", remove(name.as_ptr()));
        show("remove of none", remove(name.as_ptr()));
        mkdir(path(folder, "dir").as_ptr(), 0o755);
        create(folder, "dir/file", b"");
        show("remove of a full folder", remove(path(folder, "dir").as_ptr()));
        remove(path(folder, "dir/file").as_ptr());
        show("remove of a folder", remove(path(folder, "dir").as_ptr()));
    }
}

fn sockets(_: &str) {
    unsafe {
        let (c, a) = connected();
        let (input, output) = (fdopen(dup(a), c"r".as_ptr()), fdopen(a, c"w".as_ptr()));
        let client = fdopen(c, c"r+".as_ptr());
        fputs(c"HELO here\r\n".as_ptr(), client);
        show("fflush", fflush(client));
        let mut line = [0i8; 100];
        println!("{:?}", CStr::from_ptr(fgets(line.as_mut_ptr(), 100, input)));
        fprintf(output, c"250 %s\r\n".as_ptr(), c"pleased".as_ptr());
        fflush(output);
        println!("{:?}", CStr::from_ptr(fgets(line.as_mut_ptr(), 100, client)));
        show("no positions", fseek(client, 0, SEEK_SET));
        show("ftell", ftell(client));
        show("shutdown", shutdown(fileno(output), SHUT_WR));
        show("end", fgetc(client));
        println!("{}", feof(client) != 0);
        signal(SIGPIPE, SIG_IGN);
        fputs(c"too late".as_ptr(), output);
        show("fflush", fflush(output));
        println!("{}", ferror(output) != 0);
        show("fclose", fclose(input));
        fclose(output);
        fclose(client);
        // A stream over two descriptors of a rump pipe or a host one: pipe(2) follows `vfs`, not the socket rules.
        let mut ends = [0; 2];
        show("pipe", pipe(ends.as_mut_ptr()));
        let (r, w) = (fdopen(ends[0], c"r".as_ptr()), fdopen(ends[1], c"w".as_ptr()));
        fputs(c"through".as_ptr(), w);
        fclose(w);
        println!("{:?}", CStr::from_ptr(fgets(line.as_mut_ptr(), 100, r)));
        show("end", fgetc(r));
        fclose(r);
    }
}

fn devices(folder: &str) {
    let dev = devices_of(folder);
    unsafe {
        let null_device = fopen(path(dev, "null").as_ptr(), c"r+".as_ptr());
        show("getc", fgetc(null_device));
        clearerr(null_device);
        show("fputs", fputs(c"nothing".as_ptr(), null_device));
        show("fflush", fflush(null_device));
        show("isatty", isatty(fileno(null_device)));
        fclose(null_device);
        let zero = fopen(path(dev, "zero").as_ptr(), c"r".as_ptr());
        let mut buf = vec![1u8; 100_000];
        show("fread", fread(buf.as_mut_ptr().cast(), 1, buf.len(), zero) as i64);
        println!("{}", buf.iter().all(|byte| *byte == 0));
        let mut name = [0i8; 64];
        println!("ttyname_r {}", ttyname_r(fileno(zero), name.as_mut_ptr(), 64));
        println!("ttyname {}", ttyname(fileno(zero)).is_null());
        fclose(zero);
        let file = open(create(folder, "plain", b"").as_ptr(), O_RDWR);
        show("isatty", isatty(file));
        show("posix_fallocate", posix_fallocate(file, 0, 5000));
        show("size", lseek(file, 0, SEEK_END));
        show("bad length", posix_fallocate(file, 0, 0));
        show("bad descriptor", posix_fallocate(9999, 0, 1));
        show("of a reader", posix_fallocate(open(path(folder, "plain").as_ptr(), O_RDONLY), 0, 1));
        lseek(file, 0, SEEK_SET);
        show("lockf", lockf(file, F_LOCK, 100));
        show("test", lockf(file, F_TEST, 100));
        show("try", lockf(file, F_TLOCK, 0));
        show("unlock", lockf(file, F_ULOCK, 0));
        show("bad command", lockf(file, 99, 0));
        show("posix_fadvise", posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));
    }
}
