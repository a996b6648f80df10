//! Nothing is silent: the summary, what the trace says about calls and programs that could not be taken, the sticky environment.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use integration::{Rump, Transport, built, output, stdout};

/// A static program for this processor that exits with status 7.
fn static_program(folder: &Path) -> PathBuf {
    // mov edi, 7; mov eax, exit_group; syscall
    let code = [0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];
    let mut file = vec![0u8; 120];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1]);
    put(24, &0x40_0078u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 1]);
    put(64, &[1, 0, 0, 0, 5]);
    put(80, &0x40_0000u64.to_le_bytes());
    put(96, &132u64.to_le_bytes());
    put(104, &132u64.to_le_bytes());
    file.extend_from_slice(&code);
    let path = folder.join("static");
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The numbers of a call in the table of a program: rump, failed, host.
fn counts(text: &str, program: &str, call: &str) -> Vec<u32> {
    let table = text.split("rumphijack: summary of ").find(|table| {
        table.lines().next().is_some_and(|title| title.split_once(' ').is_some_and(|(_, name)| name == program))
    });
    let table = table.unwrap_or_else(|| panic!("no table of {program} in\n{text}"));
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(call));
    line.map(|line| line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect()).unwrap_or_default()
}

#[test]
fn the_summary_counts_what_went_where() {
    let rump = Rump::start(Transport::Unix);
    let script = "echo hello > /rump/tmp/f; /bin/mkdir /rump/tmp/f; exec /bin/cat /rump/tmp/f /etc/hostname";
    let done = output(rump.launch(&["--trace=summary"], "sh").args(["-c", script]));
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{text}");
    // The shell opened one file of the rump kernel and one of the host, and says so before it becomes another program.
    assert_eq!(counts(&text, "sh until it ran /bin/cat", "openat")[0], 1, "{text}");
    assert_eq!(counts(&text, "sh until it ran /bin/cat", "execve"), [0, 0, 1], "{text}");
    assert_eq!(counts(&text, "mkdir", "mkdir"), [1, 1, 0], "{text}");
    let [opened, failed, host] = counts(&text, "cat", "openat")[..] else { panic!("{text}") };
    assert!((opened, failed) == (1, 0) && host >= 1, "{text}");
    assert_eq!(counts(&text, "cat", "write")[0], 0, "{text}");
}

#[test]
fn the_summary_comes_however_a_program_ends() {
    let rump = Rump::start(Transport::Unix);
    let ends = ["import sys; sys.exit(0)", "import os; os._exit(0)", "import ctypes; ctypes.CDLL(None).quick_exit(0)"];
    for end in ends {
        let program = format!("import os; os.mkdir('/rump/tmp/d'); os.rmdir('/rump/tmp/d'); {end}");
        let done = output(rump.launch(&["--trace=summary"], "/usr/bin/python3").args(["-c", &program]));
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(counts(&text, "python3", "rmdir"), [1, 0, 0], "{end}\n{text}");
        assert_eq!(text.matches("summary of").count(), 1, "{end}\n{text}");
    }
    // A child of fork has a table of its own, with what it did itself.
    let program =
        "import os\nos.mkdir('/rump/tmp/e')\nif os.fork() == 0: os.rmdir('/rump/tmp/e'); os._exit(0)\nos.wait()";
    let done = output(rump.launch(&["--trace=summary"], "/usr/bin/python3").args(["-c", program]));
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!((text.matches("   mkdir  ").count(), text.matches("   rmdir  ").count()), (1, 1), "{text}");
    assert_eq!(text.matches("summary of").count(), 2, "{text}");
}

#[test]
fn the_summary_follows_stderr_into_the_rump_kernel_or_goes_to_a_file() {
    let rump = Rump::start(Transport::Unix);
    let script = "ls /rump/tmp 2> /rump/tmp/err; RUMPHIJACK_TRACE= cat /rump/tmp/err";
    let text = stdout(rump.launch(&["--trace=summary"], "sh").args(["-c", script]));
    assert!(counts(&text, "ls", "getdents64")[0] >= 1, "{text}");
    let file = rump.folder().join("summary");
    let done = output(rump.launch(&[&format!("--trace=summary:{}", file.display())], "cat").arg("/rump/tmp/err"));
    assert!(done.stderr.is_empty());
    assert_eq!(counts(&std::fs::read_to_string(file).unwrap(), "cat", "openat")[0], 1);
}

#[test]
fn what_is_not_taken_is_named_once_and_counted() {
    let rump = Rump::start(Transport::Unix);
    let program = static_program(rump.folder());
    let script = "import ctypes, os, socket, subprocess, sys\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for _ in range(3):\n\
        \x20   for ring in (206, 425): print(libc.syscall(ring, 1, bytes(200)), ctypes.get_errno())\n\
        s = socket.socket()\n\
        for _ in range(3):\n\
        \x20   try: s.setsockopt(6, 31, b'tls')\n\
        \x20   except OSError as error: print(error)\n\
        print(subprocess.call([sys.argv[1]]))\n\
        print(subprocess.call(['/usr/bin/env', '-i', '/bin/true']))\n";
    let trace = rump.folder().join("trace");
    let traces = [format!("--trace={}", trace.display()), "--config=path=/rump,socket=all,trace=summary".to_owned()];
    let mut command = rump.launch(&[&traces[0], &traces[1]], "/usr/bin/python3");
    let done = output(command.args(["-c", script]).arg(&program));
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        format!("{}{}7\n0\n", "-1 38\n".repeat(6), "[Errno 92] Protocol not available\n".repeat(3))
    );
    assert!(text.contains("     3  setsockopt level 6 option 31: Protocol not available"), "{text}");
    let lines = std::fs::read_to_string(trace).unwrap();
    let named = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
    assert_eq!(named("not taken: setsockopt level 6 option 31: Protocol not available"), 1, "{lines}");
    for setup in ["io_setup", "io_uring_setup"] {
        assert_eq!(named(&format!("not taken: {setup}: Function not implemented")), 1, "{lines}");
    }
    assert_eq!(named(&format!("not taken: {}: statically linked", program.display())), 1, "{lines}");
    assert_eq!(named("not taken: /bin/true: its environment has no LD_PRELOAD"), 1, "{lines}");
}

#[test]
fn a_spawned_program_that_gets_no_rump_descriptors_is_named() {
    let rump = Rump::start(Transport::Unix);
    let script = "import os\n\
        fd = os.open('/rump/tmp/f', os.O_CREAT | os.O_WRONLY)\n\
        child = os.posix_spawn('/bin/true', ['true'], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1)])\n\
        os.waitpid(child, 0)\n";
    for (deep, said) in [("deep=off", 1), ("deep=auto", 0)] {
        let trace = rump.folder().join(deep);
        let options = [format!("--trace={}", trace.display()), format!("--config=path=/rump,{deep}")];
        let mut command = rump.launch(&[&options[0], &options[1]], "/usr/bin/python3");
        assert_eq!(stdout(command.args(["-c", script])), "");
        let lines = std::fs::read_to_string(trace).unwrap();
        let named = lines.lines().filter(|line| line.contains("spawn: the new program gets no rump descriptors"));
        assert_eq!(named.count(), said, "{lines}");
    }
}

#[test]
fn a_call_has_one_line_on_the_trace() {
    let rump = Rump::start(Transport::Unix);
    let trace = rump.folder().join("trace");
    stdout(rump.launch(&[&format!("--trace={}", trace.display())], "cat").arg("/etc/hostname"));
    let text = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("\"/etc/hostname\"")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(" host openat("), "{text}");
}

#[test]
fn a_sticky_library_survives_a_scrubbed_environment() {
    let rump = Rump::start(Transport::Unix);
    stdout(rump.command("sh").args(["-c", "echo here > /rump/tmp/f"]));
    let read = |sticky: &str, words: &[&str]| {
        let mut command = rump.command("env");
        command.env("RUMPHIJACK_STICKY", sticky).args(words).args(["/bin/cat", "/rump/tmp/f"]);
        String::from_utf8_lossy(&output(&mut command).stdout).into_owned()
    };
    assert_eq!(read("1", &["-i"]), "here\n");
    assert_eq!(read("1", &["-i", "/usr/bin/env", "-i", "A=1"]), "here\n");
    assert_eq!(read("1", &["LD_PRELOAD="]), "here\n");
    assert_eq!(read("1", &["-u", "RUMP_SERVER"]), "here\n");
    assert_eq!(read("0", &["-i"]), "");
    let names = stdout(rump.command("env").env("RUMPHIJACK_STICKY", "1").args(["-i", "A=1", "/usr/bin/env"]));
    assert!(names.starts_with("A=1\nLD_PRELOAD=") || names.contains("\nA=1\n"), "{names}");
}

/// The trace's file has a number, which a child in its parent's memory may want for something else.
#[test]
fn the_trace_follows_a_child_that_takes_its_number() {
    let rump = Rump::start(Transport::Unix);
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let option = format!("--trace={}", trace.display());
    let mut command = rump.launch(&[&option], built("scenario"));
    let text = stdout(command.args(["vfork_onto_any_number", "/rump/tmp"]));
    assert!(text.starts_with("bad: []\nfree here: true\n"), "{text}");
    let trace = std::fs::read_to_string(&trace).unwrap();
    let whole = |line: &str| line.split(' ').next().is_some_and(|pid| pid.parse::<u32>().is_ok());
    assert!(trace.lines().count() > 500 && trace.lines().all(whole), "{trace}");
    let children = trace.lines().filter(|line| line.contains(" rump dup2(")).count();
    assert!(children >= 80, "{children}");
}
