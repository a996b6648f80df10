//! The sandbox fails closed, and `--explain` says beforehand what will happen.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use integration::{Rump, Transport, built, limited, output};

const DENIED: &str = "Permission denied";

/// Runs a shell script in a sandbox with `paths` and returns what it printed, errors among it.
fn fenced(rump: &Rump, paths: &str, script: &str) -> String {
    let script = format!("exec 2>&1; {script}");
    let done = output(rump.launch(&[&format!("--sandbox={paths}")], "sh").args(["-c", &script]));
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn said(done: &Output) -> String {
    String::from_utf8_lossy(&[done.stdout.as_slice(), b"\n---\n", done.stderr.as_slice()].concat()).into_owned()
}

/// A file of an executable mode that is no dynamic program of this machine.
fn foreign_program(folder: &Path) -> String {
    let path = folder.join("foreign");
    std::fs::write(
        &path,
        b"\x7fELF\x01\x01\x01 for 32 bits, of which only the header is looked at: . . . . . . . . . .",
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn host_files_are_refused_unless_they_are_listed() {
    let rump = Rump::start(Transport::Unix);
    let (open, shut, read) = (rump.folder().join("open"), rump.folder().join("shut"), rump.folder().join("read"));
    for folder in [&open, &shut, &read] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("f"), "content\n").unwrap();
    }
    std::os::unix::fs::symlink(shut.join("f"), open.join("link")).unwrap();
    std::os::unix::fs::symlink(shut.join("new"), open.join("dangling")).unwrap();
    let run = |script: &str| {
        let script = script.replace("OPEN", open.to_str().unwrap());
        let script = script.replace("SHUT", shut.to_str().unwrap()).replace("READ", read.to_str().unwrap());
        fenced(&rump, &format!("{}:-{}", open.display(), read.display()), &script)
    };
    assert_eq!(
        run("cat OPEN/f READ/f; echo new > OPEN/new; cat OPEN/new; rm OPEN/new; ls OPEN"),
        "content\ncontent\nnew\ndangling\nf\nlink\n"
    );
    assert_eq!(run("mkdir -p /rump/tmp/d; echo rump > /rump/tmp/d/f; cd /rump/tmp/d; cat f"), "rump\n");
    assert_eq!(run("cat < /dev/null > /dev/null; head -c 0 /etc/passwd; cd /usr/bin; ls -d ."), ".\n");
    let refused = [
        "cat SHUT/f",
        "cat OPEN/../shut/f",
        "cat OPEN/link",
        "cat /proc/self/root/SHUT/f",
        "bash -c 'cd SHUT'",
        "bash -c 'cd /rump/tmp; cd SHUT'",
        "ls SHUT",
        "ls /",
        "cd OPEN && cat ../shut/f",
        "echo x > READ/f",
        "echo x > SHUT/new",
        "echo x > OPEN/dangling",
        "mkdir SHUT/d",
        "rm -f SHUT/f",
        "mv SHUT/f OPEN/g",
        "mv OPEN/f SHUT/g",
        "ln SHUT/f OPEN/g",
        "chmod 600 SHUT/f",
        "touch SHUT/f",
        "touch -d @1 READ/f",
        "rmdir READ",
        "truncate -s 0 READ/f",
        "stat SHUT/f",
        "SHUT/f",
        "touch /etc/new-name",
    ];
    for script in refused {
        let text = run(script);
        assert!(text.contains(DENIED), "{script}: {text}");
    }
    assert_eq!(run("cat OPEN/none 2>&1 | grep -c 'No such file'"), "1\n");
    for folder in [&open, &shut, &read] {
        assert_eq!(std::fs::read_to_string(folder.join("f")).unwrap(), "content\n");
    }
    assert!(!shut.join("new").exists());
}

#[test]
fn sockets_are_the_rump_kernels_or_refused() {
    let rump = Rump::start(Transport::Unix);
    let script = "import socket, sys\n\
        for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):\n\
        \x20   try: socket.socket(family).close(); print('made')\n\
        \x20   except OSError as error: print(error.strerror)\n\
        try: socket.socketpair(); print('made')\n\
        except OSError as error: print(error.strerror)\n";
    let run = |options: &[&str]| {
        let done = output(rump.launch(options, "/usr/bin/python3").args(["-c", script]));
        assert!(done.status.success(), "{}", said(&done));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert_eq!(run(&["--sandbox"]), "made\nmade\nmade\nmade\n");
    let inet = run(&["--sandbox", "--config=path=/rump,socket=inet"]);
    assert_eq!(inet, format!("{DENIED}\nmade\n{DENIED}\n{DENIED}\n"));
}

#[test]
fn the_fence_holds_over_fork_and_exec() {
    let rump = Rump::start(Transport::Unix);
    let secret = rump.folder().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let secret = secret.display();
    for script in [
        format!("sh -c 'sh -c \"cat {secret}; true\"'"),
        format!("env -i /bin/cat {secret}"),
        format!("env -u LD_PRELOAD /bin/cat {secret}"),
        format!("RUMPHIJACK_SANDBOX=/ LD_PRELOAD= cat {secret}"),
        format!("(cat {secret}) | cat"),
        format!("echo {secret} | xargs cat"),
        format!("/usr/bin/python3 -c 'import os; os.system(\"cat {secret}\")'"),
        format!("/usr/bin/python3 -c 'import subprocess; subprocess.run([\"cat\", \"{secret}\"], env={{}})'"),
    ] {
        let text = fenced(&rump, "", &script);
        assert!(text.contains(DENIED) && !text.contains("secret\n"), "{script}: {text}");
    }
}

#[test]
fn what_cannot_be_hijacked_is_not_run_in_a_sandbox() {
    let rump = Rump::start(Transport::Unix);
    let program = foreign_program(rump.folder());
    let direct = output(&mut rump.launch(&["--sandbox"], &program));
    assert_eq!(direct.status.code(), Some(126), "{}", said(&direct));
    assert!(said(&direct).contains("cannot be hijacked and is not run: for another processor"), "{}", said(&direct));
    let trace = rump.folder().join("trace");
    let options = [format!("--sandbox={}", rump.folder().display()), format!("--trace={}", trace.display())];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let nested = output(rump.launch(&options, "sh").args(["-c", &format!("{program}; echo $?")]));
    assert_eq!(String::from_utf8_lossy(&nested.stdout), "126\n", "{}", said(&nested));
    let lines = std::fs::read_to_string(trace).unwrap();
    assert!(lines.contains(&format!("not taken: {program}: for another processor")), "{lines}");
    let shallow = output(&mut rump.launch(&["--sandbox", "--config=path=/rump,deep=off"], "true"));
    assert_eq!(shallow.status.code(), Some(1));
    assert!(said(&shallow).contains("no sandbox: libc's inner calls are not taken: off"), "{}", said(&shallow));
}

#[test]
fn the_launcher_warns_of_a_program_that_runs_on_the_host() {
    let rump = Rump::start(Transport::Unix);
    let done = output(&mut rump.command(foreign_program(rump.folder())));
    assert!(
        said(&done).contains("warning: ") && said(&done).contains("runs on the host: for another processor"),
        "{}",
        said(&done)
    );
}

#[test]
fn explain_says_what_will_happen() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh -e\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let explain = |args: &[&str]| output(limited(built("rumphijack")).arg("--explain").args(args));
    let done = explain(&["cat", script.to_str().unwrap(), "/rump/etc/x", "/etc/x"]);
    let text = said(&done);
    assert!(done.status.success(), "{text}");
    assert!(text.contains("/cat\n  can be hijacked: dynamically linked"), "{text}");
    assert!(text.contains("  a script of /bin/sh\n  can be hijacked"), "{text}");
    assert!(text.contains("path /rump/etc/x\n  rump, as /etc/x\npath /etc/x\n  host\n"), "{text}");
    let foreign = explain(&[&foreign_program(folder.path())]);
    assert_eq!(foreign.status.code(), Some(126));
    assert!(said(&foreign).contains("cannot be hijacked: for another processor"), "{}", said(&foreign));
    assert_eq!(explain(&["no-such-program"]).status.code(), Some(127));
    let wrong = explain(&["--config", "pth=/rump"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(1), 0), "{}", said(&wrong));
}
