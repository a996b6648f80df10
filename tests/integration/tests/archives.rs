//! What lasts beyond a kernel: snapshots, and what a server is given when it starts.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use integration::{Rump, Transport, built, limited, output, stdout};

/// What `rumpctl` says on stderr when it fails.
fn refused(rump: &Rump, args: &[&str]) -> String {
    let done = output(limited(built("rumpctl")).args(["-s", &rump.url()]).args(args).stderr(Stdio::piped()));
    assert_eq!(done.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&done.stderr).trim().to_owned()
}

/// Starts a server that ends with the value.
struct Server {
    url: String,
}

impl Server {
    fn start(folder: &Path, options: &[&str]) -> Server {
        let url = format!("unix://{}/socket", folder.display());
        assert!(limited(built("rump_server")).args(options).arg(&url).status().unwrap().success());
        Server { url }
    }

    fn sh(&self, script: &str) -> String {
        stdout(limited(built("rumphijack")).args(["--server", &self.url, "--", "sh", "-ec", script]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = limited(built("rumpctl")).args(["-s", &self.url, "halt"]).status();
    }
}

/// Makes one of everything in the rump kernel.
const MAKE: &str = "cd /rump/tmp; umask 22; mkdir -m 2751 d; echo hello > d/f; ln d/f d/g; ln -s nowhere d/l; mkfifo -m 604 p
    mknod c c 2 2; mknod b b 5 6; chown 12:34 d/f; chmod 4711 d/f; truncate -s 60M sparse; printf x | dd of=sparse bs=1 seek=40M conv=notrunc 2>/dev/null
    truncate -s 1M small; printf y | dd of=small bs=1 seek=500000 conv=notrunc 2>/dev/null
    long=$(printf 'n%.0s' $(seq 200)); mkdir $long; echo deep > $long/$long; ln -s $long/$long/$long/$long link; touch \"$(printf 'odd\\nname \\303\\244 \\377')\"
    touch -d '2001-02-03 04:05:06.123456789' d/f; touch -h -d '1969-12-31 23:59:58.25' d/l; touch -d '2002-02-02 02:02:02.000000001' d";

/// Describes a tree: everything of each node but the numbers that are a kernel's own.
const DESCRIBE: &str = "cd /rump/tmp; find . ! -name '*.sock' \\( -type d -printf '%p %y %m %U %G %n %T@\\n' -o -printf '%p %y %m %U %G %s %n %T@ %l\\n' \\) | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum; stat -c '%t %T' c b; du -sk sparse small";

#[test]
fn what_was_saved_comes_back_as_it_was() {
    let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
    rump.sh(MAKE);
    let bind = "import os, socket; os.chdir('/rump/tmp'); socket.socket(socket.AF_UNIX).bind('x.sock')";
    stdout(rump.launch(&["--config", "path=/rump,socket=all"], "python3").args(["-c", bind]));
    rump.sh("cd /rump/tmp; head -c 20000000 /dev/urandom > big; touch -d '2003-03-03' .");
    let before = rump.sh(DESCRIBE);
    let said =
        stdout(limited(built("rumpctl")).args(["-s", &rump.url(), "snapshot", "tree.tar"]).current_dir(folder.path()));
    assert_eq!(said, "socket skipped: ./tmp/x.sock\n");
    let archive = folder.path().join("tree.tar");
    assert!(fs::metadata(&archive).unwrap().len() < 30_000_000, "sparse files are stored sparsely");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let server = Server::start(folder.path(), &["--restore", archive.to_str().unwrap()]);
    assert_eq!(server.sh(DESCRIBE), before);
    // Into a kernel that has something else there.
    rump.sh("cd /rump/tmp; rm -r d; echo in the way > d; rm big; mkdir big; echo other > small; rm x.sock");
    rump.ctl(&["restore", archive.to_str().unwrap()]);
    assert_eq!(rump.sh(DESCRIBE), before);
}

#[test]
fn tar_reads_a_snapshot_and_a_snapshot_of_tar_is_restored() {
    let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
    rump.sh(MAKE);
    let archive = folder.path().join("tree.tar");
    let archive = archive.to_str().unwrap();
    rump.ctl(&["snapshot", archive]);
    let list = stdout(limited("tar").args(["tvf", archive, "--full-time"]).env("TZ", "UTC"));
    for line in [
        "-rws--x--x 12/34 ",
        "2001-02-03 04:05:06.123456789 ./tmp/d/f",
        "./tmp/d/l -> nowhere",
        "./tmp/d/g link to ./tmp/d/f",
        "drwxr-s--x ",
        " 62914560 ",
    ] {
        assert!(list.contains(line), "{line} in {list}");
    }
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let wanted = ["./tmp/d", "./tmp/small", "./tmp/sparse"];
    stdout(limited("tar").args(["xf", archive, "--no-same-owner", "-C", out.to_str().unwrap()]).args(wanted));
    let sums = |root: &str| {
        format!(
            "cd {root}/tmp; md5sum d/f d/g small; stat -c '%s' sparse; tail -c +41943040 sparse | head -c 2 | od -An -c"
        )
    };
    assert_eq!(stdout(limited("sh").args(["-ec", &sums(out.to_str().unwrap())])), rump.sh(&sums("/rump")));
    // Older forms have no times before 1970.
    stdout(limited("touch").args(["-h", "-d", "2000-01-01"]).arg(out.join("tmp/d/l")));
    for form in ["gnu", "pax", "ustar", "v7"] {
        let made = folder.path().join(form);
        let sparse = if form == "gnu" { "--sparse" } else { "--totals" };
        let mut tar = limited("tar");
        tar.args([
            "cf",
            made.to_str().unwrap(),
            "--format",
            form,
            sparse,
            "-C",
            out.to_str().unwrap(),
            "./tmp/d",
            "./tmp/small",
        ]);
        stdout(&mut tar);
        rump.sh("rm -rf /rump/tmp/d /rump/tmp/small");
        rump.ctl(&["restore", made.to_str().unwrap()]);
        let sum = |root: &str| format!("cd {root}/tmp; md5sum d/f d/g small; readlink d/l; stat -c %h d/g");
        assert_eq!(rump.sh(&sum("/rump")), stdout(limited("sh").args(["-ec", &sum(out.to_str().unwrap())])), "{form}");
    }
}

#[test]
fn a_hostile_or_damaged_archive_changes_nothing() {
    let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
    rump.sh(MAKE);
    let good = folder.path().join("good.tar");
    rump.ctl(&["snapshot", good.to_str().unwrap()]);
    let bytes = fs::read(&good).unwrap();
    let before = rump.sh(DESCRIBE);
    let bad = folder.path().join("bad.tar");
    let bad = bad.to_str().unwrap();
    for cut in [0, 1, 511, 512, 700, 4096, 20_000, bytes.len() / 2, bytes.len() - 1025, bytes.len() - 1024] {
        fs::write(bad, &bytes[..cut]).unwrap();
        let said = refused(&rump, &["restore", bad]);
        assert!(said.lines().count() == 1 && said.contains("bad.tar"), "{cut}: {said}");
    }
    let mut flipped = bytes.clone();
    flipped[100] ^= 0xff;
    fs::write(bad, &flipped).unwrap();
    assert!(refused(&rump, &["restore", bad]).contains("damaged or no tar archive"));
    let script = "import tarfile, io, sys
def make(name, kind=tarfile.REGTYPE, link='', first=None, **more):
    t = tarfile.open(sys.argv[1], 'w', format=tarfile.GNU_FORMAT)
    for i in ([first] if first else []) + [(name, kind, link)]:
        x = tarfile.TarInfo(i[0]); x.type = i[1]; x.linkname = i[2]
        for key, value in more.items(): setattr(x, key, value)
        t.addfile(x, io.BytesIO(b'data') if x.size else None)
    t.close()
exec(sys.argv[2])";
    for (what, expected) in [
        ("make('../../etc/x')", "the name leads out of the tree"),
        ("make('/tmp/x')", "an absolute name"),
        ("make('tmp/a', tarfile.LNKTYPE, '../../x')", "the name leads out of the tree"),
        ("make('tmp/a', tarfile.LNKTYPE, 'tmp/none')", "No such file"),
        ("make('tmp/way/x', first=('tmp/way', tarfile.SYMTYPE, '/etc'))", "tmp/way/x"),
        ("make('tmp/x', uid=2**40)", "no such user or group"),
        ("make('x' * 300)", "File name too long"),
    ] {
        stdout(limited("python3").args(["-c", script, bad, what]));
        let said = refused(&rump, &["restore", bad]);
        assert!(said.lines().count() == 1 && said.contains(expected), "{what}: {said}");
        rump.sh("rm -f /rump/tmp/way; touch -d '2003-03-03' /rump/tmp; ! test -e /rump/etc/x");
    }
    let without_tmp =
        |text: &str| text.lines().filter(|line| !line.starts_with(". ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_tmp(&rump.sh(DESCRIBE)), without_tmp(&before));
    assert!(refused(&rump, &["restore", "/no/such/file"]).contains("No such file"));
    assert!(refused(&rump, &["snapshot", "/no/such/folder/file"]).contains("/no/such/folder/file"));
    let failed =
        output(limited(built("rump_server")).args(["--restore", bad, "unix:///tmp/never"]).stderr(Stdio::piped()));
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("bad.tar"));
}

#[test]
fn a_snapshot_is_of_one_moment_while_names_change() {
    let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
    // Two names move from one directory to the other and back, always both within one: a tree of one moment has each once.
    rump.sh("cd /rump/tmp; mkdir a b; for i in $(seq 50); do echo $i > a/$i; done");
    let moves = "import os
os.chdir('/rump/tmp'); n = 0
while os.path.exists('go'):
    for x, y in (('a', 'b'), ('b', 'a')):
        for i in range(1, 51): os.rename('%s/%d' % (x, i), '%s/%d' % (y, i))
    n += 1
    open('moved', 'w').close()
print(n)";
    rump.sh("touch /rump/tmp/go");
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| stdout(rump.command("python3").args(["-c", moves])));
        let (mut round, mut moved) = (0, false);
        while (round < 20 || !moved) && !mover.is_finished() {
            let archive = folder.path().join(format!("{round}.tar"));
            rump.ctl(&["snapshot", archive.to_str().unwrap()]);
            let list = stdout(limited("tar").args(["tf", archive.to_str().unwrap()]));
            let names = list.lines().filter(|line| line.starts_with("./tmp/a/") || line.starts_with("./tmp/b/"));
            let mut seen: Vec<&str> =
                names.filter_map(|line| line.rsplit('/').next()).filter(|name| !name.is_empty()).collect();
            seen.sort_by_key(|name| name.parse::<u32>().unwrap());
            assert_eq!(seen, (1..=50).map(|at| at.to_string()).collect::<Vec<_>>(), "round {round}");
            moved = list.lines().any(|line| line == "./tmp/moved");
            round += 1;
        }
        rump.sh("rm /rump/tmp/go");
        assert!(mover.join().unwrap().trim().parse::<u32>().unwrap() > 0);
    });
}

#[test]
fn a_server_runs_its_rc_file_before_clients_come() {
    let folder = tempfile::tempdir().unwrap();
    let (shown, image, rc) = (folder.path().join("shown"), folder.path().join("image"), folder.path().join("rc"));
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("f"), "hello\n").unwrap();
    fs::write(&image, "0123456789").unwrap();
    let text = format!(
        "# experiments\nmount -t hostfs -r '{}' /usr\n\nmount -t tmpfs -o size=1m,mode=1777 scratch /home  # small\ndrive key=/img,hostpath={},type=reg,size=host\n",
        shown.display(),
        image.display()
    );
    fs::write(&rc, &text).unwrap();
    let server = Server::start(folder.path(), &["--rc", rc.to_str().unwrap()]);
    assert_eq!(
        server.sh("cat /rump/usr/f; stat -f -c %b /rump/home; cat /rump/img; touch /rump/usr/g 2>/dev/null || echo ro"),
        "hello\n256\n0123456789ro\n"
    );
    drop(server);
    fs::write(&rc, "ps\nmount -t nosuchfs a /usr\n").unwrap();
    let failed = output(
        limited(built("rump_server")).args(["--rc", rc.to_str().unwrap(), "unix:///tmp/never"]).stderr(Stdio::piped()),
    );
    assert_eq!(failed.status.code(), Some(22), "EINVAL");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("rc:2: nosuchfs: no such file system type"));
}

#[test]
fn host_files_come_and_go_while_the_kernel_runs() {
    let (rump, folder) = (Rump::start(Transport::Unix), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("image"), "0123456789").unwrap();
    let drive = |spec: &str| {
        limited(built("rumpctl")).args(["-s", &rump.url(), "drive", spec]).current_dir(folder.path()).output().unwrap()
    };
    assert!(drive("key=/img,hostpath=image,type=reg,offset=2,size=4").status.success());
    assert!(drive("key=/disk,hostpath=new,size=1k").status.success());
    assert_eq!(rump.sh("cat /rump/img; stat -c '%F %s' /rump/img /rump/disk; printf X | dd of=/rump/disk bs=1 seek=5 conv=notrunc 2>/dev/null"), "23456789regular file 4\nblock special file 1024\n");
    assert_eq!(fs::read(folder.path().join("new")).unwrap()[5], b'X');
    assert!(String::from_utf8_lossy(&drive("key=/img,hostpath=image,size=host").stderr).contains("/img: File exists"));
    let script = "exec 3< /rump/img; echo open; read x; cat <&3";
    let mut holder = rump
        .command("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
    rump.ctl(&["drive", "-r", "/img"]);
    drop(holder.stdin.take());
    let done = holder.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&done.stderr).contains("No such device or address"), "{done:?}");
    assert_eq!(rump.sh("ls /rump/img 2>/dev/null || echo gone"), "gone\n");
    assert_eq!(refused(&rump, &["drive", "-r", "/img"]), "rumpctl: /img: No such file or directory");
    let remote = Rump::start(Transport::Tcp);
    assert!(refused(&remote, &["drive", "key=/p,hostpath=/etc/passwd,type=reg"]).contains("Operation not permitted"));
}
