//! Front door 2 in real programs: objects that come late, text that must not change, tools beside it, and nothing that escapes.

use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Rump, Transport, built, have, limited, output, stdout};

/// Compiles a program or library of `src/deep` into `folder`.
fn compile(folder: &Path, source: &str, options: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deep").join(source);
    let target = folder.join(source.split('.').next().expect("a name"));
    let target = if source.starts_with("lib") { target.with_extension("so") } else { target };
    let compiler = if source.ends_with(".cc") { "g++" } else { "gcc" };
    stdout(limited(compiler).args(["-O1", "-pthread", "-o"]).arg(&target).arg(path).args(options).current_dir(folder));
    target
}

/// A program that the library is preloaded into without the launcher.
fn preloaded(rump: &Rump, preload: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = limited(program);
    command.env("LD_PRELOAD", preload).env("RUMP_SERVER", rump.url());
    command
}

fn library() -> String {
    built("librumphijack.so").display().to_string()
}

#[test]
fn objects_that_are_loaded_later_pass_through_the_door() {
    let rump = Rump::start(Transport::Unix);
    let folder = rump.folder();
    compile(folder, "libraw.c", &["-shared", "-fPIC"]);
    compile(folder, "libplugin.c", &["-shared", "-fPIC", "-L.", "-lraw", "-Wl,-rpath,$ORIGIN"]);
    let loader = compile(folder, "loader.c", &[]);
    let text = "from the rump kernel";
    let expected = format!(
        "constructor read: {text}\nanswer 42\nraw: 20 {text}\nclose 0\nconstructor read: {text}\nagain ok\nsecond libc: 20 {text}\n"
    );
    assert_eq!(stdout(rump.command(&loader).arg(folder.join("libplugin.so"))), expected);
    // The libraries, the needed one too, on the rump file system.
    rump.sh(&format!("mkdir /rump/tmp/lib; cp {0}/libraw.so {0}/libplugin.so /rump/tmp/lib", folder.display()));
    std::fs::remove_file(folder.join("libraw.so")).expect("the library");
    assert_eq!(stdout(rump.command(&loader).arg("/rump/tmp/lib/libplugin.so")), expected);
}

#[test]
fn text_that_must_not_be_written_is_replaced() {
    let rump = Rump::start(Transport::Unix);
    let mdwe = compile(rump.folder(), "mdwe.c", &[]);
    let script = "echo hello > /rump/tmp/f; grep -c hello /rump/tmp/f; grep -c rumphijack-text /proc/self/maps";
    let done = output(rump.command(&mdwe).args(["sh", "-c", script]));
    if done.status.code() == Some(77) {
        return eprintln!("skipped: this kernel has no PR_SET_MDWE");
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let counts: Vec<u32> = text.lines().map(|line| line.parse().expect("a count")).collect();
    assert!(done.status.success() && counts[0] == 1 && counts[1] >= 2, "{text}");
}

#[test]
fn where_nothing_may_become_executable_front_door_1_works_alone() {
    let rump = Rump::start(Transport::Unix);
    let noexec = compile(rump.folder(), "noexec.c", &[]);
    let trace = rump.folder().join("trace");
    let mut command = limited(&noexec);
    command.arg("env").arg(format!("LD_PRELOAD={}", library())).arg(format!("RUMP_SERVER={}", rump.url()));
    command.arg(format!("RUMPHIJACK_TRACE={}", trace.display()));
    let done = output(command.args(["sh", "-c", "echo hello > /rump/tmp/f; cat /rump/tmp/f"]));
    if done.status.code() == Some(77) {
        return eprintln!("skipped: this kernel lets no program confine itself");
    }
    assert!(done.status.success() && done.stdout == b"hello\n", "{done:?}");
    let trace = std::fs::read_to_string(trace).expect("the trace");
    let said: Vec<&str> = trace.lines().filter_map(|line| Some(line.split_once("deep: ")?.1)).collect();
    let reason = "not possible here: memory that was written may not be executed here";
    assert_eq!(said, [reason, reason], "one line for the shell and one for cat");
}

#[test]
fn the_library_can_be_loaded_while_threads_run() {
    let rump = Rump::start(Transport::Unix);
    let late = compile(rump.folder(), "late.c", &[]);
    for _ in 0..5 {
        let text = stdout(limited(&late).arg(library()).env("RUMP_SERVER", rump.url()));
        assert_eq!(text, "errors 0 blocked 1 stdio on rump 1\n");
    }
}

#[test]
fn signals_jumps_cancellation_and_small_stacks_are_as_without() {
    let rump = Rump::start(Transport::Unix);
    let state = compile(rump.folder(), "state.cc", &[]);
    let native = stdout(limited(&state).arg(rump.folder()));
    assert_eq!(stdout(rump.command(&state).arg("/rump/tmp")), native);
    // With the trace on no call passes by the library.
    rump.sh("rm /rump/tmp/*");
    assert_eq!(stdout(rump.command(&state).arg("/rump/tmp").env("RUMPHIJACK_TRACE", "/dev/null")), native);
}

#[test]
fn children_that_are_killed_while_they_connect_leave_nothing_behind() {
    let rump = Rump::start(Transport::Unix);
    let program = compile(rump.folder(), "killed_children.c", &[]);
    let text = stdout(rump.command(program).arg("/rump/tmp/file"));
    assert_eq!(text, "wrong 0, descriptors 0\nparent 1, its child 0\n");
}

#[test]
fn other_preloads_work_beside_it_in_either_order() {
    let rump = Rump::start(Transport::Unix);
    let others = [
        "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
        "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
        "/usr/libexec/coreutils/libstdbuf.so",
    ];
    let script = "d=/rump/tmp/$$; mkdir $d; seq 5000 > $d/a; sort -rn $d/a > $d/b; head -n 1 $d/b; cp -r $d $d-2;
                  grep -c 99 $d-2/a; wc -c < $d/a; rm -r $d $d-2; ls /rump/tmp | wc -l";
    for other in others.into_iter().filter(|other| Path::new(other).exists()) {
        for preload in [format!("{}:{other}", library()), format!("{other}:{}", library())] {
            let text = stdout(preloaded(&rump, &preload, "sh").args(["-ec", script]));
            assert_eq!(text, "5000\n95\n23893\n0\n", "{preload}");
        }
    }
}

#[test]
fn memory_checkers_see_nothing_wrong() {
    let rump = Rump::start(Transport::Unix);
    rump.sh("echo hi-there > /rump/tmp/x");
    if have("valgrind") {
        let mut command = preloaded(&rump, &library(), "valgrind");
        let text = stdout(command.args(["-q", "--error-exitcode=9", "cat", "/rump/tmp/x"]));
        assert_eq!(text, "hi-there\n");
    }
    let checked = compile(rump.folder(), "string.c", &["-fsanitize=address"]);
    let mut command = preloaded(&rump, &library(), checked);
    command.env("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0");
    assert_eq!(stdout(&mut command), "9 hi-there\nhi-there\n");
}

#[test]
fn debugger_and_profiler_work_beside_it() {
    let rump = Rump::start(Transport::Unix);
    rump.sh("echo hi-there > /rump/tmp/x");
    if have("gdb") {
        let preload = format!("set environment LD_PRELOAD={}", library());
        let mut gdb = limited("gdb");
        gdb.args(["-q", "-nx", "-batch", "-ex", "set startup-with-shell off", "-ex", &preload]);
        gdb.args(["-ex", "catch syscall exit_group", "-ex", "run", "-ex", "continue"]);
        let text = stdout(gdb.args(["--args", "cat", "/rump/tmp/x"]).env("RUMP_SERVER", rump.url()));
        assert!(text.contains("hi-there") && text.contains("exited normally"), "{text}");
    }
    if have("perf") {
        let mut perf = preloaded(&rump, "", "perf");
        let file = rump.folder().join("perf.data");
        perf.args(["record", "-q", "-e", "cpu-clock", "-o"])
            .arg(file)
            .args(["env", &format!("LD_PRELOAD={}", library())]);
        let done = output(perf.args(["cat", "/rump/tmp/x"]));
        // A kernel may forbid profiling.
        if done.status.success() {
            assert_eq!(done.stdout, b"hi-there\n");
        }
    }
}

#[test]
fn without_a_home_it_works_all_the_same() {
    let rump = Rump::start(Transport::Unix);
    let nowhere = rump.folder().join("file");
    std::fs::write(&nowhere, "no folder").expect("a file");
    for (variable, value) in [("HOME", Path::new("/proc/none")), ("XDG_CACHE_HOME", &nowhere)] {
        let mut command = preloaded(&rump, &library(), "sh");
        command.env(variable, value).args(["-c", "echo x > /rump/tmp/home; cat /rump/tmp/home"]);
        assert_eq!(stdout(&mut command), "x\n");
    }
}

#[test]
fn what_is_remembered_of_libraries_is_not_written_beyond_the_limit_of_file_sizes() {
    let rump = Rump::start(Transport::Unix);
    let empty = rump.folder().join("cache");
    std::fs::create_dir(&empty).expect("a folder");
    let mut command = preloaded(&rump, &library(), "bash");
    command.env("XDG_CACHE_HOME", &empty);
    command.args(["-c", "echo x > /rump/tmp/f; ulimit -f 0; /usr/bin/stat -c %s /rump/tmp/f"]);
    assert_eq!(stdout(&mut command), "2\n");
}

/// What real programs do on the rump file system and network, for which the host must not be asked.
const WORK: &[(&str, &str)] = &[
    ("ls", "ls -laR /rump > /dev/null"),
    ("cat", "seq 100 > $D/a; cat $D/a $D/a > $D/b; cat < $D/b > /dev/null"),
    ("grep", "grep -r 99 $D > /dev/null"),
    ("find", "find $D -type f -exec wc {} + > /dev/null; cp -a $D /rump/tmp/copy; du -s /rump/tmp/copy > /dev/null"),
    ("sed", "sed -i s/9/x/ $D/a; sort -o $D/c $D/b; mktemp -p $D > /dev/null; stat $D/c > /dev/null"),
    ("tar", "tar -C $D -cf $D/t.tar a b; tar -C /rump/tmp/copy -xf $D/t.tar"),
    (
        "git",
        "cd $D; git init -q g; cd g; echo x > f; git add f; git -c user.name=a -c user.email=a@b commit -qm x;
             git clone -q . ../g2; cd /",
    ),
    (
        "python3",
        "python3 -c \"import os, shutil, socket, tempfile; d = tempfile.mkdtemp(dir='$D'); open(d + '/f', 'w').write('x'); \
             os.listdir(d); shutil.copytree(d, d + '2'); shutil.rmtree(d); s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); \
             c = socket.create_connection(s.getsockname()); c.send(b'x'); s.accept()[0].recv(1)\"",
    ),
    (
        "perl",
        "perl -e 'opendir(D, $ARGV[0]); my @n = readdir D; open(F, \">\", \"$ARGV[0]/perl\"); print F @n; close F; rename(\"$ARGV[0]/perl\", \"$ARGV[0]/p\")' $D",
    ),
    ("ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -f $D/key; ssh-keygen -lf $D/key > /dev/null"),
];

#[test]
fn nothing_escapes_to_the_host() {
    if !have("strace") {
        return;
    }
    let rump = Rump::start(Transport::Unix);
    for (program, script) in WORK.iter().filter(|(program, _)| have(program)) {
        let log = rump.folder().join("log");
        let mut command = limited("strace");
        command.args(["-f", "-qq", "-s", "200", "-e", "trace=%file,%network", "-o"]).arg(&log);
        command.args(["-E", &format!("LD_PRELOAD={}", library()), "-E", &format!("RUMP_SERVER={}", rump.url())]);
        command.args(["sh", "-ec", &format!("D=/rump/tmp/work; mkdir -p $D /rump/tmp/copy; {script}")]);
        stdout(&mut command);
        let log = std::fs::read_to_string(&log).expect("strace's log");
        let escaped: Vec<&str> = log.lines().filter(|line| escapes(line)).collect();
        assert!(log.lines().count() > 20, "{program}: strace saw nothing");
        assert!(escaped.is_empty(), "{program}:\n{}", escaped.join("\n"));
    }
}

/// Whether a call of the host kernel is about what the rump kernel serves. The arguments of a program that is run (execve) are no
/// names of files, nor is what is sent: there the address counts.
fn escapes(line: &str) -> bool {
    let call = line.split_whitespace().nth(1).unwrap_or_default();
    let named = |before: &str| ["/", "\""].iter().any(|end| line.contains(&format!("{before}\"/rump{end}")));
    match call {
        _ if call.starts_with("execve") => false,
        _ if call.starts_with("send") || call.starts_with("recv") => named("sun_path="),
        _ => named("") || call.starts_with("socket(AF_INET"),
    }
}

#[test]
fn an_escape_would_be_seen() {
    assert!(
        escapes("12 openat(AT_FDCWD, \"/rump/x\", O_RDONLY) = 3") && escapes("1 socket(AF_INET6, SOCK_STREAM, 0) = 3")
    );
    assert!(
        !escapes("12 execve(\"/bin/ls\", [\"ls\", \"/rump/x\"], 0x1) = 0") && !escapes("1 open(\"/rumpx\", 0) = 3")
    );
}
