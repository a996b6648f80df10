//! Programs and libraries that libc runs or loads, and its little databases: popen(3), system(3), posix_spawn(3), exec(3), dlopen(3), getmntent(3).

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("popen", Processes, pipes),
    ("system", Processes, shell),
    ("spawn_with_streams", Processes, spawn),
    ("exec_from_folder", Processes, execute),
    ("exec_scripts", Processes, scripts),
    ("exec_with_a_limit_of_file_sizes", Processes, limited),
    ("dlopen", OneProcess, load),
];

unsafe extern "C" {
    fn fexecve(fd: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn execl(path: *const c_char, arg: *const c_char, ...) -> c_int;
    static environ: *const *const c_char;
}

/// All that a command prints.
unsafe fn output_of(command: &str) -> String {
    unsafe {
        let stream = popen(CString::new(command).unwrap().as_ptr(), c"r".as_ptr());
        let mut bytes = Vec::new();
        let mut chunk = [0u8; 500];
        loop {
            let n = fread(chunk.as_mut_ptr().cast(), 1, chunk.len(), stream);
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..n]);
        }
        let status = pclose(stream);
        format!("{} ({status})", String::from_utf8_lossy(&bytes).trim_end())
    }
}

fn pipes(folder: &str) {
    create(folder, "file", b"from the file\n");
    unsafe {
        println!("{}", output_of(&format!("cat {folder}/file")));
        println!("{}", output_of("exit 3"));
        println!("{}", output_of("kill -9 $$"));
        println!("{}", output_of("no-such-command 2>/dev/null"));
        chdir(CString::new(folder).unwrap().as_ptr());
        println!("in the folder: {}", output_of("cat file; echo more > out; wc -l < out"));
        println!("{}", contents(&path(folder, "out")));
        let stream = popen(c"cat > written; echo done >> written".as_ptr(), c"w".as_ptr());
        fprintf(stream, c"%s %d\n".as_ptr(), c"to the command".as_ptr(), 9 as c_int);
        show("pclose", pclose(stream));
        print!("{}", contents(&path(folder, "written")));
        // Two at once: the second child must not hold the first one's pipe.
        let one = popen(c"cat > one".as_ptr(), c"w".as_ptr());
        let two = popen(c"cat > two".as_ptr(), c"w".as_ptr());
        fputs(c"first".as_ptr(), one);
        fputs(c"second".as_ptr(), two);
        show("pclose", pclose(one));
        show("pclose", pclose(two));
        println!("{} {}", contents(c"one"), contents(c"two"));
        let stream = popen(c"cat file".as_ptr(), c"re".as_ptr());
        println!("close on exec {}", fcntl(fileno(stream), F_GETFD));
        pclose(stream);
        show("bad mode", if popen(c"true".as_ptr(), c"x".as_ptr()).is_null() { -1 } else { 0i64 });
        let plain = fopen(c"file".as_ptr(), c"r".as_ptr());
        println!("a big one: {}", output_of("yes 0123456789 | head -c 300000 | tee big | wc -c"));
        let mut st: stat = zeroed();
        stat(c"big".as_ptr(), &mut st);
        println!("{}", st.st_size);
        fclose(plain);
    }
}

fn shell(folder: &str) {
    unsafe {
        chdir(CString::new(folder).unwrap().as_ptr());
        println!("there is one: {}", system(null()) != 0);
        show("system", system(c"echo text > made && test -s made".as_ptr()));
        println!("{}", contents(&path(folder, "made")));
        show("status", WEXITSTATUS(system(c"exit 42".as_ptr())));
        show("signal", WTERMSIG(system(c"kill -TERM $$".as_ptr())));
        show("not found", WEXITSTATUS(system(c"no-such-command 2>/dev/null".as_ptr())));
        // Standard output on a file of the folder.
        let file = open(c"out".as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644);
        fflush(null_mut());
        let saved = dup(1);
        dup2(file, 1);
        let status = system(c"echo one; ls made; echo two >&2 2>/dev/null".as_ptr());
        dup2(saved, 1);
        show("diverted", status);
        print!("{}", contents(c"out"));
        show("position shared", lseek(file, 0, SEEK_CUR));
        // Standard input too: the child takes its part.
        create(folder, "in", b"line one\nline two\nline three\n");
        let input = open(c"in".as_ptr(), O_RDONLY);
        let saved = dup(0);
        dup2(input, 0);
        show("reads a line", system(c"read a; read b; test \"$b\" = 'line two'".as_ptr()));
        show("the rest is ours", lseek(0, 0, SEEK_CUR));
        dup2(saved, 0);
    }
}

fn spawn(folder: &str) {
    create(folder, "in", b"c\na\nb\n");
    unsafe {
        let (input, out) = (path(folder, "in"), path(folder, "out"));
        let mut actions: posix_spawn_file_actions_t = zeroed();
        posix_spawn_file_actions_init(&mut actions);
        posix_spawn_file_actions_addopen(&mut actions, 0, input.as_ptr(), O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&mut actions, 1, out.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o600);
        posix_spawn_file_actions_adddup2(&mut actions, 1, 2);
        let argv = [c"sort".as_ptr(), null()];
        let mut pid = 0;
        let run = |actions: &posix_spawn_file_actions_t, pid: &mut pid_t, argv: &[*const c_char]| {
            let status = posix_spawnp(pid, argv[0], actions, null(), argv.as_ptr().cast(), environ.cast());
            let mut how = -1;
            if status == 0 {
                waitpid(*pid, &mut how, 0);
            }
            println!("spawn {status} exit {how}");
        };
        run(&actions, &mut pid, &argv);
        print!("{}", contents(&out));
        posix_spawn_file_actions_destroy(&mut actions);
        // Open descriptors on their way through.
        let fd = open(path(folder, "log").as_ptr(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600);
        posix_spawn_file_actions_init(&mut actions);
        posix_spawn_file_actions_adddup2(&mut actions, fd, 1);
        posix_spawn_file_actions_adddup2(&mut actions, fd, fd);
        let number = CString::new(format!("echo by 1; echo by {fd} >&{fd}")).unwrap();
        run(&actions, &mut pid, &[c"bash".as_ptr(), c"-c".as_ptr(), number.as_ptr(), null()]);
        print!("{}", contents(&path(folder, "log")));
        posix_spawn_file_actions_destroy(&mut actions);
        posix_spawn_file_actions_init(&mut actions);
        posix_spawn_file_actions_addopen(&mut actions, 0, path(folder, "none").as_ptr(), O_RDONLY, 0);
        run(&actions, &mut pid, &argv);
        posix_spawn_file_actions_destroy(&mut actions);
        posix_spawn_file_actions_init(&mut actions);
        run(&actions, &mut pid, &[c"no-such-program".as_ptr(), null()]);
    }
}

/// Runs in a child with standard output on a file, and prints what it wrote and how it ended.
unsafe fn in_child(folder: &str, run: impl FnOnce() -> c_int) {
    unsafe {
        let out = path(folder, "child-out");
        let child = fork();
        if child == 0 {
            let fd = open(out.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
            dup2(fd, 1);
            run();
            let text = format!("did not run: {}\n", errno());
            write(1, text.as_ptr().cast(), text.len());
            _exit(127);
        }
        let mut how = 0;
        waitpid(child, &mut how, 0);
        println!("{} {:?}", WEXITSTATUS(how), contents(&out));
    }
}

fn copy_program(folder: &str, from: &str, name: &str) -> CString {
    let bytes = std::fs::read(from).unwrap();
    let to = create(folder, name, &bytes);
    unsafe { chmod(to.as_ptr(), 0o755) };
    to
}

fn execute(folder: &str) {
    let cat = copy_program(folder, "/bin/cat", "my-cat");
    let file = create(folder, "file", b"text of the file");
    unsafe {
        let argv = [c"my-cat".as_ptr(), file.as_ptr(), null()];
        in_child(folder, || execv(cat.as_ptr(), argv.as_ptr()));
        in_child(folder, || execve(cat.as_ptr(), argv.as_ptr(), environ));
        in_child(folder, || {
            chdir(CString::new(folder).unwrap().as_ptr());
            execl(c"./my-cat".as_ptr(), c"x".as_ptr(), c"file".as_ptr(), null::<c_char>())
        });
        in_child(folder, || {
            setenv(c"PATH".as_ptr(), CString::new(format!("/nowhere:{folder}:/bin")).unwrap().as_ptr(), 1);
            execvp(c"my-cat".as_ptr(), argv.as_ptr())
        });
        in_child(folder, || fexecve(open(cat.as_ptr(), O_RDONLY), argv.as_ptr(), environ));
        in_child(folder, || fexecve(open(cat.as_ptr(), O_RDONLY | O_CLOEXEC), argv.as_ptr(), environ));
        in_child(folder, || {
            let dir = open(CString::new(folder).unwrap().as_ptr(), O_PATH | O_DIRECTORY);
            syscall(SYS_execveat, dir, c"my-cat".as_ptr(), argv.as_ptr(), environ, 0) as c_int
        });
        chmod(cat.as_ptr(), 0o644);
        in_child(folder, || execv(cat.as_ptr(), argv.as_ptr()));
        in_child(folder, || execv(path(folder, "none").as_ptr(), argv.as_ptr()));
        in_child(folder, || execv(CString::new(folder).unwrap().as_ptr(), argv.as_ptr()));
        let text = create(folder, "no-program", b"just text\n");
        chmod(text.as_ptr(), 0o755);
        in_child(folder, || execve(text.as_ptr(), argv.as_ptr(), environ));
        let mut pid = 0;
        chmod(cat.as_ptr(), 0o755);
        let fd = open(path(folder, "spawned").as_ptr(), O_WRONLY | O_CREAT, 0o644);
        let mut actions: posix_spawn_file_actions_t = zeroed();
        posix_spawn_file_actions_init(&mut actions);
        posix_spawn_file_actions_adddup2(&mut actions, fd, 1);
        let status = posix_spawn(&mut pid, cat.as_ptr(), &actions, null(), argv.as_ptr().cast(), environ.cast());
        let mut how = 0;
        waitpid(pid, &mut how, 0);
        println!("spawned {status} {how} {}", contents(&path(folder, "spawned")));
    }
}

fn scripts(folder: &str) {
    let script = |name: &str, text: &str| {
        let path = create(folder, name, text.as_bytes());
        unsafe { chmod(path.as_ptr(), 0o755) };
        path
    };
    let sh = copy_program(folder, "/bin/sh", "my-sh");
    let plain = script("plain", "#!/bin/sh\necho plain \"$@\"\n");
    let own = script("own", &format!("#!{}\necho own \"$@\"; cat {folder}/data\n", sh.to_string_lossy()));
    let option = script("option", "#!/bin/sh -e\nfalse\necho not reached\n");
    let chain = script("chain", &format!("#!{folder}/plain with argument\nignored\n"));
    let lost = script("lost", "#!/no/such/interpreter\n");
    let bare = script("bare", "echo no first line\n");
    create(folder, "data", b"data");
    unsafe {
        let run = |path: &CStr| {
            let argv = [c"name".as_ptr(), c"one".as_ptr(), c"two words".as_ptr(), null()];
            in_child(folder, || execv(path.as_ptr(), argv.as_ptr()));
        };
        run(&plain);
        run(&own);
        run(&option);
        let argv = [c"name".as_ptr(), c"last".as_ptr(), null()];
        in_child(folder, || execv(lost.as_ptr(), argv.as_ptr()));
        in_child(folder, || execvp(bare.as_ptr(), argv.as_ptr()));
        in_child(folder, || fexecve(open(plain.as_ptr(), O_RDONLY), argv.as_ptr(), environ));
        in_child(folder, || fexecve(open(plain.as_ptr(), O_RDONLY | O_CLOEXEC), argv.as_ptr(), environ));
        let stream =
            popen(CString::new(format!("{} by popen", plain.to_string_lossy())).unwrap().as_ptr(), c"r".as_ptr());
        let mut line = [0; 200];
        println!("{}", text(fgets(line.as_mut_ptr(), 200, stream)).trim_end());
        pclose(stream);
        println!("{}", output_of(&format!("{} | sed s,{folder},FOLDER,", chain.to_string_lossy())));
        println!("{}", output_of(&format!("cd {folder} && ./own relative")));
    }
}

fn load(folder: &str) {
    // A library that is not loaded otherwise.
    let library = ["libBrokenLocale.so.1"]
        .iter()
        .flat_map(|name| ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib"].map(|folder| format!("{folder}/{name}")))
        .find(|name| std::fs::exists(name).unwrap_or(false));
    let bytes = std::fs::read(library.expect("a library of the C library itself")).unwrap();
    let name = create(folder, "library.so", &bytes);
    unsafe {
        let handle = dlopen(name.as_ptr(), RTLD_NOW | RTLD_LOCAL);
        if handle.is_null() {
            println!("{}", text(dlerror()).replace(folder, "FOLDER"));
            return;
        }
        let symbol = dlsym(handle, c"__ctype_get_mb_cur_max".as_ptr());
        let call: extern "C" fn() -> size_t = std::mem::transmute(symbol);
        println!("called: {}", call());
        let mut about: Dl_info = zeroed();
        println!("dladdr {}", dladdr(symbol, &mut about));
        println!("{}", text(about.dli_fname).replace(folder, "FOLDER"));
        println!("none such {}", dlsym(handle, c"no_such_symbol".as_ptr()).is_null());
        println!("again the same {}", dlopen(name.as_ptr(), RTLD_NOW) == handle);
        println!("already loaded {}", dlopen(name.as_ptr(), RTLD_NOW | RTLD_NOLOAD) == handle);
        for _ in 0..3 {
            show("dlclose", dlclose(handle));
        }
        println!("not loaded {}", dlopen(name.as_ptr(), RTLD_NOW | RTLD_NOLOAD).is_null());
        for (what, name) in [
            ("missing", path(folder, "none.so")),
            (
                "no library",
                create(folder, "text.so", b"this is not a library, however long the text may become in the end"),
            ),
            ("cut short", create(folder, "short.so", &bytes[..100])),
            ("empty", create(folder, "empty.so", b"")),
        ] {
            println!("{what} {}", dlopen(name.as_ptr(), RTLD_NOW).is_null());
            println!("  {}", text(dlerror()).replace(folder, "FOLDER"));
        }
        chdir(CString::new(folder).unwrap().as_ptr());
        println!("relative {}", !dlopen(c"./library.so".as_ptr(), RTLD_LAZY | RTLD_GLOBAL).is_null());
    }
}

/// A program that may write no file runs another, which has all its descriptors.
fn limited(folder: &str) {
    let file = create(folder, "file", b"content\n");
    unsafe {
        let fd = open(file.as_ptr(), O_RDONLY);
        dup2(fd, 5);
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let child = fork();
        if child == 0 {
            dup2(ends[1], 1);
            let none = rlimit { rlim_cur: 0, rlim_max: 0 };
            show("setrlimit", setrlimit(RLIMIT_FSIZE, &none));
            let script = c"cat <&5; sh -c 'wc -c <&5; exec 6>&5; readlink /proc/self/fd/6 | wc -l'";
            execl(c"/bin/sh".as_ptr(), c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(errno());
        }
        close(ends[1]);
        let mut bytes = [0u8; 500];
        let mut got = 0;
        while let n @ 1.. = read(ends[0], bytes[got..].as_mut_ptr().cast(), bytes.len() - got) {
            got += n as usize;
        }
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("{:?} {status:#x}", String::from_utf8_lossy(&bytes[..got]));
    }
}
