//! Disk images behind a server: mounted by rumpctl and by mount(8), worked on by ordinary tools, and a server that is killed.

use std::path::Path;
use std::process::{Command, Output};

use integration::{built, have, limited, output};

/// Whether a command is missing that a test needs.
fn lacks(commands: &[&str]) -> bool {
    !commands.iter().all(|command| have(command))
}

/// A server with one disk, an image of the host.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Makes the image with a shell script in a new folder, and starts a server that shows it as `/dev/x`.
    fn new(script: &str) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        disk.host(script);
        disk.start();
        disk
    }

    fn start(&self) {
        let drive = format!("key=/dev/x,hostpath={},size=host", self.path().join("image").display());
        let mut server = limited(built("rump_server"));
        let started = output(server.args(["-d", &drive, "--pidfile"]).arg(self.path().join("pid")).arg(self.url()));
        assert!(started.status.success(), "{}", said(&started));
        self.must("mkdir -p /rump/mnt");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn url(&self) -> String {
        format!("unix://{}/socket", self.path().display())
    }

    /// Runs a script on the host; it must succeed. Returns what it printed.
    fn host(&self, script: &str) -> String {
        let path = "/usr/sbin:/sbin:/usr/bin:/bin";
        let mut command = limited("bash");
        let done = output(command.args(["-ec", script]).current_dir(self.path()).env("PATH", path));
        assert!(done.status.success(), "{script}\n{}", said(&done));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Prepares a script that runs hijacked.
    fn hijacked(&self, script: &str) -> Command {
        let mut command = limited(built("rumphijack"));
        command.args(["--server", &self.url(), "--", "bash", "-ec", script]).current_dir(self.path());
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }

    /// Runs a script hijacked; it must succeed. Returns what it printed.
    fn must(&self, script: &str) -> String {
        let done = output(&mut self.hijacked(script));
        assert!(done.status.success(), "{script}\n{}", said(&done));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn ctl(&self, args: &[&str]) -> Output {
        output(limited(built("rumpctl")).args(["-s", &self.url()]).args(args))
    }

    fn mount(&self, kind: &str, options: &str) {
        let done = self.ctl(&["mount", "-t", kind, "-o", options, "/dev/x", "/mnt"]);
        assert!(done.status.success(), "{}", said(&done));
    }

    fn pid(&self) -> i32 {
        std::fs::read_to_string(self.path().join("pid")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.ctl(&["halt"]);
    }
}

fn said(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

const TREE: &str =
    "mkdir -p tree/a/b; seq 20000 > tree/numbers; cp tree/numbers tree/a/b/Copy.txt; echo x > 'tree/ä long name'
    head -c 2000000 /dev/urandom > tree/random; touch -d '2020-01-02 03:04:06Z' tree/numbers tree/a/b/Copy.txt; ";

#[test]
fn ordinary_tools_work_on_a_fat_volume() {
    if lacks(&["mkfs.fat", "fsck.fat", "mke2fs", "genisoimage", "mksquashfs"]) {
        return;
    }
    let disk = Disk::new(&format!("{TREE} mkfs.fat -F 32 -C image 60000 > /dev/null 2>&1"));
    disk.mount("vfat", "rw");
    disk.must("cp -a tree /rump/mnt/; diff -r tree /rump/mnt/tree; tar cf - -C /rump/mnt tree | tar xf - -C /rump/tmp");
    disk.must("diff -r tree /rump/tmp/tree; tar cf - tree | tar xf - -C /rump/mnt --one-top-level=untarred; sync");
    assert_eq!(disk.must("stat -c '%a %s %Y' /rump/mnt/tree/numbers"), "755 108894 1577934246\n");
    let found = disk.must(
        "cd /rump/mnt; find . -type f | sort | xargs -d '\\n' sha256sum | cut -d' ' -f1 | sort | uniq -c | wc -l",
    );
    assert_eq!(found.trim(), "3");
    disk.must(
        "export GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent; git init -q source; cd source; cp -r ../tree/* .; git add .
         git -c user.name=n -c user.email=e commit -qm first; git clone -q . /rump/mnt/clone; cd /rump/mnt/clone; git fsck 2>&1
         git status --porcelain; diff -r --exclude=.git . ../tree; seq 3 > new; git add new
         git -c user.name=n -c user.email=e commit -qm second; git gc -q; git log --oneline | wc -l",
    );
    let busy = disk
        .hijacked("cd /rump/mnt; echo inside; read line")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut busy = busy.unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(busy.stdout.take().unwrap()), &mut line).unwrap();
    assert!(said(&disk.ctl(&["umount", "/mnt"])).contains("busy"));
    drop(busy.stdin.take());
    busy.wait().unwrap();
    assert!(disk.ctl(&["umount", "/mnt"]).status.success());
    disk.host("fsck.fat -n image; mdir -i image ::clone > /dev/null");
}

#[test]
fn mount_of_util_linux_mounts_and_unmounts() {
    if lacks(&["mkfs.fat", "fsck.fat", "mke2fs", "genisoimage", "mksquashfs"]) {
        return;
    }
    let disk = Disk::new("mkfs.fat -C image 4000 > /dev/null 2>&1");
    disk.must(
        "mount -i -n -t vfat -o umask=077,nosuid /rump/dev/x /rump/mnt; echo hello > /rump/mnt/f; umount -i -n /rump/mnt
         test ! -e /rump/mnt/f; mount -i -n -t vfat -o ro /rump/dev/x /rump/mnt; cat /rump/mnt/f; ! touch /rump/mnt/g 2> /dev/null
         umount -i -n /rump/mnt",
    );
    disk.must("mkfs.fat -C /rump/tmp/other 2000 > /dev/null 2>&1");
    assert!(disk.ctl(&["mount", "-t", "vfat", "/tmp/other", "/mnt"]).status.success(), "a file in place of a disk");
    disk.must("echo nested > /rump/mnt/f; sync; mdir -i /rump/tmp/other ::f > /dev/null");
    assert!(!disk.ctl(&["mount", "-t", "vfat", "/tmp/other", "/usr"]).status.success(), "the same a second time");
}

#[test]
fn other_images_are_what_was_put_in() {
    if lacks(&["mkfs.fat", "fsck.fat", "mke2fs", "genisoimage", "mksquashfs"]) {
        return;
    }
    let links = "ln -s numbers tree/link; ln tree/numbers tree/hard; chmod 640 tree/random; ";
    for (kind, script) in [
        ("ext4", "mke2fs -q -t ext4 -d tree image 20M"),
        ("iso9660", "genisoimage -quiet -R -o image tree 2> /dev/null"),
        ("squashfs", "mksquashfs tree image -comp zstd -quiet -no-progress > /dev/null"),
    ] {
        let disk = Disk::new(&format!("export LC_ALL=C.UTF-8; {TREE}{links}{script}"));
        disk.mount(kind, "rw");
        disk.must("diff -r --no-dereference --exclude=lost+found tree /rump/mnt; readlink /rump/mnt/link");
        if kind != "iso9660" {
            // genisoimage writes no numbers of files, so that links are files of their own there, as on Linux.
            disk.must("test /rump/mnt/hard -ef /rump/mnt/numbers");
        }
        let status = disk.must("stat -c '%a %s %Y %h' /rump/mnt/numbers; stat -c %a /rump/mnt/random");
        assert_eq!(status, "644 108894 1577934246 2\n640\n", "{kind}");
        let refused = output(&mut disk.hijacked("touch /rump/mnt/new"));
        assert!(said(&refused).contains("Read-only file system"), "{kind}: {}", said(&refused));
        disk.must("cp -a /rump/mnt/. /rump/tmp/copy; diff -r --no-dereference /rump/mnt /rump/tmp/copy");
    }
}

/// A loop device of the host over a file, as long as the value.
struct Loop(String);

impl Loop {
    /// `None` where the host lets us make none.
    fn over(file: &Path) -> Option<Self> {
        let made = output(limited("/usr/sbin/losetup").args(["-f", "--show"]).arg(file));
        made.status.success().then(|| Self(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        output(limited("/usr/sbin/losetup").args(["-d", &self.0]));
    }
}

#[test]
fn devices_of_the_host_are_disks() {
    if lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let disk = Disk::new("mkfs.fat -C image 4000 > /dev/null 2>&1; mkfs.fat -C other 4000 > /dev/null 2>&1");
    let drive = |spec: &str| assert!(disk.ctl(&["drive", spec]).status.success(), "{spec}");
    drive("key=/zeros,hostpath=/dev/zero,type=chr,size=4096");
    assert_eq!(
        disk.must("stat -c %F /rump/zeros; dd if=/rump/zeros bs=512 count=1 2> /dev/null | head -c 5 | od -An -tx1"),
        "character special file\n 00 00 00 00 00\n"
    );
    let Some(device) = Loop::over(&disk.path().join("other")) else {
        eprintln!("skipped: no loop devices");
        return;
    };
    drive(&format!("key=/dev/disk,hostpath={},size=host", device.0));
    drive(&format!("key=/dev/end,hostpath={},offset=512,size=1024", device.0));
    disk.must("mount -i -n -t vfat /rump/dev/disk /rump/mnt; seq 1000 > /rump/mnt/f; umount -i -n /rump/mnt");
    assert_eq!(
        disk.must("stat -c %F /rump/dev/disk; od -An -tx1 -N 2 /rump/dev/end; wc -c < /rump/dev/end"),
        "block special file\n f8 ff\n1024\n"
    );
    drop(device);
    disk.host("fsck.fat -n other; mcopy -i other ::f - | cmp - <(seq 1000)");
}

#[test]
fn rumpctl_says_why_an_image_is_refused() {
    if lacks(&["mksquashfs", "mke2fs", "debugfs"]) {
        return;
    }
    let disk = Disk::new(
        "mkdir tree; seq 1000 > tree/n; mksquashfs tree image -comp lzo -quiet -no-progress > /dev/null
         mke2fs -q -t ext4 -d tree dirty 8M; debugfs -w -R 'feature needs_recovery' dirty > /dev/null 2>&1",
    );
    let refused = disk.ctl(&["mount", "-t", "squashfs", "/dev/x", "/mnt"]);
    let why = "squashfs: compression 3 (lzo) is not known";
    assert_eq!(said(&refused), format!("rumpctl: /mnt: Invalid argument ({why})\n"));
    let dirty = format!("key=/dirty,hostpath={}/dirty,size=host", disk.path().display());
    assert!(disk.ctl(&["drive", &dirty]).status.success());
    let mounted = disk.ctl(&["mount", "-t", "ext4", "/dirty", "/mnt"]);
    let what = "ext2fs: the volume was not unmounted: 0 blocks are read from its journal\n";
    assert!(mounted.status.success() && said(&mounted) == what, "{}", said(&mounted));
    assert_eq!(disk.must("wc -l < /rump/mnt/n"), "1000\n");
    assert_eq!(said(&disk.ctl(&["dmesg"])), format!("{why}\n{what}"));
}

#[test]
fn a_server_that_is_killed_while_it_writes_leaves_what_fsck_mends() {
    if lacks(&["mkfs.fat", "fsck.fat", "mke2fs", "genisoimage", "mksquashfs"]) {
        return;
    }
    let disk = Disk::new(&format!("{TREE} mkfs.fat -F 16 -C image 30000 > /dev/null 2>&1"));
    for _ in 0..4 {
        disk.mount("vfat", "rw");
        let work = "cd /rump/mnt; while :; do cp -r $OLDPWD/tree $RANDOM; mv */a $RANDOM; rm -rf */b; echo turn; done";
        let mut writer = disk.hijacked(work);
        writer.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut writer = writer.spawn().unwrap();
        let mut turns = std::io::BufReader::new(writer.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut turns, &mut line).unwrap();
        // SAFETY: plain kill(2) of our own server.
        unsafe { libc::kill(disk.pid(), libc::SIGKILL) };
        writer.wait().unwrap();
        let said = disk.host("fsck.fat -a image || [ $? = 1 ]; fsck.fat -n image");
        assert!(!said.contains("Leaving filesystem unchanged"), "{said}");
        std::fs::remove_file(disk.path().join("socket")).ok();
        disk.host("mdel -i image '::*' 2> /dev/null || :");
        disk.start();
    }
}
