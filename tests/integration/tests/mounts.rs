//! Mounting while the kernel runs, from rumpctl and from programs, and folders of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use integration::{Rump, Transport, built, have, limited, output, stdout};

/// A kernel with a folder of the host on `/usr`, and beside that folder what must never be seen.
struct Shown {
    rump: Rump,
    folder: tempfile::TempDir,
}

impl Shown {
    fn new(options: &str) -> Shown {
        let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("inside")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "secret\n").unwrap();
        let source = folder.path().join("inside");
        rump.ctl(&["mount", "-t", "hostfs", "-o", options, source.to_str().unwrap(), "/usr"]);
        Shown { rump, folder }
    }

    fn host(&self, name: &str) -> PathBuf {
        self.folder.path().join("inside").join(name)
    }
}

/// What `rumpctl` says on stderr when it fails.
fn refused(rump: &Rump, args: &[&str]) -> String {
    let done = output(limited(built("rumpctl")).args(["-s", &rump.url()]).args(args).stderr(Stdio::piped()));
    assert_eq!(done.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&done.stderr).trim().to_owned()
}

#[test]
fn rumpctl_mounts_lists_changes_and_unmounts() {
    let rump = Rump::start(Transport::Unix);
    assert_eq!(rump.ctl(&["mount"]), "tmpfs on / type tmpfs (local)\ndevfs on /dev type devfs (local)\n");
    rump.ctl(&["mount", "-t", "tmpfs", "-r", "-o", "size=1m,nodev,mode=1777", "scratch", "/home"]);
    let last = || rump.ctl(&["mount"]).lines().last().unwrap_or_default().to_owned();
    assert_eq!(last(), "scratch on /home type tmpfs (nodev, read-only, local)");
    assert_eq!(
        rump.sh("touch /rump/home/f 2>&1 || stat -c %a /rump/home; stat -f -c %b /rump/home | tail -1")
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        ["1777", "256"]
    );
    rump.ctl(&["mount", "-u", "-o", "rw", "/home"]);
    assert_eq!(last(), "scratch on /home type tmpfs (nodev, local)");
    assert!(
        rump.ctl(&["--json", "mount"])
            .contains(r#""flags":["nodev","local"],"from":"scratch","on":"/home","type":"tmpfs""#)
    );
    let mut holder = rump
        .command("sh")
        .args(["-c", "exec 3> /rump/home/f; echo open; read x; echo more >&3; echo $?"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = std::io::BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(refused(&rump, &["umount", "/home"]), "rumpctl: /home: Device or resource busy");
    assert_eq!(refused(&rump, &["mount", "-u", "-r", "/home"]), "rumpctl: /home: Device or resource busy");
    rump.ctl(&["umount", "-f", "/home"]);
    drop(holder.stdin.take());
    let (mut rest, done) = (String::new(), holder.wait_with_output().unwrap());
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
    assert_eq!(rest, "1\n");
    assert!(String::from_utf8_lossy(&done.stderr).contains("I/O error"));
    assert_eq!(rump.ctl(&["mount"]).lines().count(), 2);
    assert_eq!(refused(&rump, &["umount", "/home"]), "rumpctl: /home: Invalid argument");
    assert_eq!(refused(&rump, &["umount", "/"]), "rumpctl: /: Device or resource busy");
    assert_eq!(
        refused(&rump, &["mount", "-t", "nosuchfs", "x", "/home"]),
        "rumpctl: nosuchfs: no such file system type"
    );
}

#[test]
fn mount_and_umount_of_the_host_work_on_folders_of_the_rump_kernel() {
    let shown = Shown::new("ro");
    let inside = shown.folder.path().join("inside");
    fs::write(inside.join("f"), "hello\n").unwrap();
    let script = format!(
        "mount -t hostfs -o ro,noexec {} /rump/home; cat /rump/home/f; umount /rump/home; ls -A /rump/home
         mount -t tmpfs -o size=64k none /rump/home; cd /rump/home; umount /rump/home 2>/dev/null || echo busy
         mount -o remount,ro /rump/home; touch x 2>/dev/null || echo read-only
         umount -l /rump/home; ls -d .; cd /; umount /rump/home 2>/dev/null || echo gone
         mount --bind /rump/tmp /rump/home 2>/dev/null || echo no bind mounts",
        inside.display()
    );
    assert_eq!(shown.rump.sh(&script), "hello\nbusy\nread-only\n.\ngone\nno bind mounts\n");
}

#[test]
fn a_client_from_another_host_does_not_name_folders_of_this_one() {
    let rump = Rump::start(Transport::Tcp);
    assert_eq!(refused(&rump, &["mount", "-t", "hostfs", "/", "/home"]), "rumpctl: /home: Operation not permitted");
}

#[test]
fn a_sandboxed_program_does_not_mount_folders_of_the_host() {
    let rump = Rump::start(Transport::Private);
    let script =
        "mount -t hostfs / /rump/home 2>/dev/null || echo refused; ls -A /rump/home; mount -t tmpfs none /rump/home";
    assert_eq!(stdout(rump.launch(&["--sandbox"], "sh").args(["-ec", script])), "refused\n");
}

#[test]
fn host_and_rump_kernel_see_each_others_changes_at_once() {
    let shown = Shown::new("rw");
    fs::write(shown.host("f"), "from the host\n").unwrap();
    let script = "cd /rump/usr; cat f; echo more >> f; mkdir -m 2751 d; ln f d/g; ln -s f l; mkfifo -m 604 p; chmod 4711 f
                  touch -h -d '2001-02-03 04:05:06.789012345' l; touch -d '2002-02-03 04:05:06.000000007' f; mv d/g d/h; truncate -s 1G s; cp -p f copy";
    assert_eq!(shown.rump.sh(script), "from the host\n");
    assert_eq!(fs::read_to_string(shown.host("d/h")).unwrap(), "from the host\nmore\n");
    let of = |name: &str| fs::symlink_metadata(shown.host(name)).unwrap();
    assert_eq!((of("d").mode(), of("f").mode(), of("p").mode()), (0o42751, 0o104711, 0o10604));
    assert_eq!((of("f").nlink(), of("f").ino(), of("f").mtime_nsec()), (2, of("d/h").ino(), 7));
    assert_eq!((of("l").mtime(), of("l").mtime_nsec()), (981_173_106, 789_012_345));
    assert_eq!((of("s").len(), of("s").blocks(), of("copy").mtime_nsec()), (1 << 30, 0, 7));
    fs::remove_file(shown.host("f")).unwrap();
    fs::rename(shown.host("d"), shown.host("e")).unwrap();
    assert_eq!(
        shown.rump.sh("cd /rump/usr; ls; stat -c '%i %h' e/h; cat l 2>/dev/null || echo gone"),
        format!("copy\ne\nl\np\ns\n{} 1\ngone\n", of("e/h").ino())
    );
}

#[test]
fn tools_work_on_a_host_folder() {
    if !["git", "rsync", "sqlite3", "tar", "diff"].iter().all(|program| have(program)) {
        return;
    }
    let shown = Shown::new("rw");
    let script = "cd /rump/usr; cp -a /usr/include/linux/netfilter a; diff -r /usr/include/linux/netfilter a
        rsync -a --checksum /usr/include/linux/netfilter/ b/; rsync -anic --delete /usr/include/linux/netfilter/ b/
        git init -q r; cd r; cp -r ../a .; git add -A; git -c user.name=n -c user.email=e commit -qm x; cd ..
        git clone -q r c; git -C c fsck 2>/dev/null; diff -r r/a c/a; tar cf t.tar a; mkdir t; tar xf t.tar -C t; diff -r a t/a
        sqlite3 x.db 'pragma journal_mode=wal; create table t(a); insert into t values(1); pragma integrity_check;'
        find . -type f | wc -l; rm -rf a b c r t; ls";
    let done = shown.rump.sh(script);
    let lines: Vec<&str> = done.lines().collect();
    assert_eq!((&lines[..2], &lines[3..]), (&["wal", "ok"][..], &["t.tar", "x.db"][..]), "{done}");
    // Nothing keeps it: it can be taken away.
    shown.rump.ctl(&["umount", "/usr"]);
}

#[test]
fn what_the_host_refuses_to_the_server_fails() {
    let shown = Shown::new("ro");
    fs::write(shown.host("f"), "f").unwrap();
    let script = "cd /rump/usr; for c in 'touch n' 'rm f' 'chmod 1 f' 'mv f g' 'ln f g' 'mkdir d' 'truncate -s 0 f'; do $c 2>&1 && echo DONE; done; cat f";
    let said = shown.rump.sh(script);
    assert_eq!(said.matches("Read-only file system").count(), 7, "{said}");
    assert!(said.ends_with("\nf"));
    let mapped = "import mmap; f = open('/rump/usr/f'); print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[0:1])";
    assert_eq!(stdout(shown.rump.command("python3").args(["-c", mapped])), "b'f'\n");
    assert!(refused(&shown.rump, &["mount", "-t", "hostfs", "/no/such/folder", "/home"]).contains("No such file"));
    assert!(refused(&shown.rump, &["mount", "-t", "hostfs", "/etc/passwd", "/home"]).contains("Not a directory"));
}

#[test]
fn a_mapping_is_the_host_files_own() {
    let shown = Shown::new("rw");
    fs::write(shown.host("f"), "hello").unwrap();
    let script = "import mmap; f = open('/rump/usr/f', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:1] = b'J'; print(open('/rump/usr/f').read())";
    assert_eq!(stdout(shown.rump.command("python3").args(["-c", script])), "Jello\n");
    assert_eq!(fs::read(shown.host("f")).unwrap(), b"Jello");
}

#[test]
fn devices_and_links_of_the_host_lead_nowhere_outside() {
    let shown = Shown::new("rw");
    symlink("../outside/secret", shown.host("up")).unwrap();
    symlink(shown.folder.path().join("outside"), shown.host("absolute")).unwrap();
    let script = "cd /rump/usr; for f in up absolute/secret ../outside/secret absolute/../../outside/secret; do cat $f 2>/dev/null && echo SEEN; done
                  mknod null c 1 3 2>/dev/null || echo no device; (echo through > fifo &) ; readlink up";
    assert_eq!(
        shown.rump.sh(&format!("mkfifo /rump/usr/fifo; {script}; cat fifo")),
        "no device\n../outside/secret\nthrough\n"
    );
}

/// Swaps names on the host as fast as it can, until told.
fn swapping(folder: &Path, stop: &AtomicBool) {
    let (target, here) = (folder.join("inside/d"), folder.join("inside"));
    while !stop.load(Ordering::Relaxed) {
        // The name is a directory, then a link out of the folder, then a directory again.
        let _ = fs::rename(&target, here.join("kept"));
        let _ = symlink(folder.join("outside"), &target);
        let _ = fs::rename(&target, here.join("link"));
        let _ = fs::remove_file(here.join("link"));
        let _ = fs::rename(here.join("kept"), &target);
    }
}

/// Moves a directory out of the folder and back, until told.
fn moving(folder: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let _ = fs::rename(folder.join("inside/moved"), folder.join("outside/moved"));
        let _ = fs::rename(folder.join("outside/moved"), folder.join("inside/moved"));
    }
}

#[test]
fn races_on_the_host_do_not_open_a_way_out() {
    let shown = Shown::new("rw");
    for name in ["d/e", "moved/deep"] {
        fs::create_dir_all(shown.host(name)).unwrap();
    }
    fs::write(shown.host("d/secret"), "mine\n").unwrap();
    fs::write(shown.host("moved/deep/secret"), "mine\n").unwrap();
    // What would be met by `..` out of a directory that was moved out.
    fs::create_dir(shown.folder.path().join("outside/d")).unwrap();
    fs::write(shown.folder.path().join("outside/d/secret"), "secret\n").unwrap();
    fs::set_permissions(shown.folder.path().join("outside"), fs::Permissions::from_mode(0o755)).unwrap();
    let stop = AtomicBool::new(false);
    let script = "
import os, sys, time
begin, seen, found = time.monotonic(), set(), 0
paths = ['d/secret', 'd/e/../secret', 'moved/deep/../../d/secret', 'moved/../secret', 'moved/deep/secret', 'moved/deep/../../secret', 'd/../secret']
os.chdir('/rump/usr')
deep = None
while deep is None:
    try:
        deep = os.open('moved/deep', os.O_PATH)
    except OSError as e:
        seen.add(e.strerror)
while time.monotonic() - begin < 3 or not found:
    for path in paths + ['../secret', '../../secret', '../../d/secret', '../../../outside/secret']:
        try:
            fd = os.open(path, os.O_RDONLY) if not path.startswith('..') else os.open(path, os.O_RDONLY, dir_fd=deep)
            seen.add(os.read(fd, 100)); os.close(fd); found += 1
        except OSError as e:
            seen.add(e.strerror)
    try:
        os.rename('d/secret', 'd/other'); os.rename('d/other', 'd/secret')
    except OSError: pass
    try:
        with open('d/new', 'w') as f: f.write('x')
    except OSError: pass
print(found > 0, b'secret\\n' in seen, *sorted(str(s) for s in seen), sep='\\n')
";
    let said = std::thread::scope(|scope| {
        scope.spawn(|| swapping(shown.folder.path(), &stop));
        scope.spawn(|| moving(shown.folder.path(), &stop));
        let said = output(shown.rump.command("python3").args(["-c", script]));
        stop.store(true, Ordering::Relaxed);
        said
    });
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.starts_with("True\nFalse\n"), "{text}{said:?}");
    assert!(!shown.folder.path().join("outside/new").exists() && !shown.folder.path().join("outside/other").exists());
}
