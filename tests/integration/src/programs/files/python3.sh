cat > all.py <<'END'
import contextlib, ctypes, filecmp, fcntl, fileinput, glob, hashlib, io, json, lzma, mmap, multiprocessing, os, pathlib, pickle, resource, select, shelve, shutil, signal, sqlite3, stat, subprocess, sys, tarfile, tempfile, threading, zipfile

def files():
    os.makedirs("a/b/c"); path = pathlib.Path("a/b/file"); path.write_text("some text\n" * 1000); print(path.stat().st_size, oct(path.stat().st_mode), path.resolve().relative_to(os.environ["D"]))
    fd = os.open("raw", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640); print(os.write(fd, b"0123456789"), os.pread(fd, 3, 4), os.pwrite(fd, b"XY", 8), os.lseek(fd, 0, os.SEEK_END), os.readv(fd, [bytearray(2)]), os.preadv(fd, [bytearray(4), bytearray(9)], 0), os.writev(fd, [b"a", b"bc"])); os.fsync(fd); os.fdatasync(fd); os.ftruncate(fd, 5); os.posix_fallocate(fd, 0, 100); print(os.fstat(fd).st_size, os.pathconf("raw", "PC_NAME_MAX")); os.fchmod(fd, 0o600); os.utime(fd, ns=(10**9 + 1, 2 * 10**9 + 3)); print(os.stat("raw").st_mtime_ns, os.stat("raw").st_atime_ns); os.close(fd)
    os.symlink("raw", "sym"); os.link("raw", "hard"); os.rename("hard", "a/hard"); os.replace("sym", "a/sym"); print(os.readlink("a/sym"), os.path.lexists("a/sym"), os.path.exists("a/sym"), os.path.samefile("raw", "a/hard"), os.lstat("a/sym").st_size)
    d = os.open("a", os.O_RDONLY | os.O_DIRECTORY); print(sorted(os.listdir(d)), os.stat("hard", dir_fd=d).st_nlink, os.access("b", os.W_OK, dir_fd=d)); os.mkdir("at", dir_fd=d); os.rmdir("at", dir_fd=d); os.unlink("sym", dir_fd=d); os.fchdir(d); print(os.path.basename(os.getcwd())); os.chdir(".."); os.close(d)
    with os.scandir("a") as entries: print(sorted((e.name, e.is_dir(), e.is_symlink(), e.stat().st_nlink) for e in entries if e.name != "b"))
    print([(os.path.relpath(top), sorted(dirs), sorted(names)) for top, dirs, names in os.walk(".", topdown=False)][-1], sorted(glob.glob("**/f*", recursive=True)), sorted(str(p) for p in pathlib.Path(".").rglob("b*")))
    for name, call in (("missing", lambda: os.stat("no")), ("exists", lambda: os.mkdir("a")), ("full", lambda: os.rmdir("a")), ("link", lambda: os.readlink("raw")), ("dir", lambda: open("a", "w")), ("below", lambda: open("raw/x")), ("loop", lambda: (os.symlink("loop", "loop"), open("loop"))), ("unlink", lambda: os.unlink("a/b")), ("xattr", lambda: os.getxattr("raw", "user.none"))):
        try: call(); print(name, "worked")
        except OSError as error: print(name, error.strerror if name != "xattr" else "no such thing")
    shutil.copytree("a", "copy"); print(filecmp.dircmp("a", "copy").diff_files, shutil.disk_usage(".").total > 0); shutil.copy2("raw", os.environ["HOST"]); shutil.move(os.environ["HOST"] + "/raw", "moved"); print(os.stat("moved").st_mtime_ns); shutil.copyfile("a/b/file", "copied"); os.copy_file_range(a := os.open("a/b/file", os.O_RDONLY), b := os.open("ranged", os.O_RDWR | os.O_CREAT), 4000); print(os.fstat(b).st_size, os.sendfile(b, a, 0, 1000), os.fstat(b).st_size); os.close(a); os.close(b); shutil.rmtree("copy")
    with open("text", "w+", encoding="utf-8", buffering=64) as f: f.write("ü" * 100); f.seek(0); print(len(f.read()), f.tell()); f.truncate(4)
    with open("text", "ab", buffering=0) as f: f.write(b"end"); print(f.tell(), f.fileno() >= 0, f.isatty(), f.seekable())
    with fileinput.input("text", inplace=True) as lines: [print("changed", line) for line in lines]
    print(open("text").read())

def temporary():
    tempfile.tempdir = os.environ["D"]
    with tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile(dir=d) as f, tempfile.TemporaryFile(dir=d) as g, tempfile.SpooledTemporaryFile(max_size=10, dir=d) as s: f.write(b"x"); f.flush(); g.write(b"yz"); s.write(b"0" * 20); print(os.listdir(d) == [os.path.basename(f.name)], os.stat(f.name).st_size, g.tell(), s.tell())
    print(not os.path.exists(d)); fd, name = tempfile.mkstemp(); os.close(fd); os.unlink(name)

def processes():
    with open("out", "w") as out: subprocess.run(["sh", "-c", "echo out; echo err >&2"], stdout=out, stderr=subprocess.STDOUT, check=True)
    print(open("out").read().split(), subprocess.run("cat; pwd", shell=True, cwd="a", stdin=open("out"), capture_output=True, text=True).stdout.replace(os.environ["D"], "").split()); print(subprocess.check_output(["tr", "a-z", "A-Z"], input=b"piped"), os.popen("cat out | wc -l").read(), os.system("exit 3") >> 8)
    p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=open("through", "w"), close_fds=True, start_new_session=True); p.communicate(b"popen"); print(p.returncode, open("through").read(), subprocess.run(["sh", "-c", "cat <&$1", "x", str(fd := os.open("out", os.O_RDONLY))], pass_fds=[fd], capture_output=True).stdout)
    r, w = os.pipe(); pid = os.fork()
    if pid == 0: os.dup2(os.open("forked", os.O_WRONLY | os.O_CREAT), 1); os.write(1, b"child"); os.write(w, b"1"); os.execvp("echo", ["echo", "exec"])
    os.read(r, 1); print(os.waitpid(pid, 0)[1], open("forked").read()); pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned; cat 0<&5"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "spawned", os.O_WRONLY | os.O_CREAT, 0o600), (os.POSIX_SPAWN_OPEN, 5, "out", os.O_RDONLY, 0)]); print(os.waitpid(pid, 0)[1], open("spawned").read().split())
    print(subprocess.run([sys.executable, "-c", "import helper; print(helper.x)"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}).stdout if open("helper.py", "w").write("x = 'imported'\n") else "", os.path.isdir("__pycache__"))

def work(path): return os.getpid() and len(open(path).read())
def add(value, lock, path):
    for _ in range(20):
        with lock: value.value += 1; open(path, "a").write("x")
def parallel():
    tempfile.tempdir = None  # its sockets are the host's, and so must be their folder
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool: print(method, pool.map(work, ["out", "a/b/file", "raw"]))
        value, lock = context.Value("i", 0), context.Lock(); workers = [context.Process(target=add, args=(value, lock, "appended")) for _ in range(2)]; [w.start() for w in workers]; [w.join() for w in workers]; print(value.value, os.path.getsize("appended")); os.unlink("appended")
    threads = [threading.Thread(target=lambda i=i: [open(f"t{i}", "a").write(str(j)) for j in range(50)]) for i in range(4)]; [t.start() for t in threads]; [t.join() for t in threads]; print([os.path.getsize(f"t{i}") for i in range(4)])

def memory():
    with open("mapped", "w+b") as f: f.truncate(8192); m = mmap.mmap(f.fileno(), 0); m[0:5] = b"hello"; m[5000:5003] = b"far"; m.flush(); f.seek(0); print(f.read(5), os.pread(f.fileno(), 3, 5000), m.find(b"far")); m.close(); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY); m[0:1] = b"J"; print(m[:5], os.pread(f.fileno(), 5, 0)); m.close(); m = mmap.mmap(f.fileno(), 4096, access=mmap.ACCESS_READ, offset=4096); print(m[904:907]); m.close()
    with open("locked", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX); print(subprocess.run([sys.executable, "-c", "import fcntl\ntry: fcntl.flock(open('locked'), fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError: print('held')"], capture_output=True, text=True).stdout.strip()); fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)
        print(subprocess.run([sys.executable, "-c", "import fcntl\nf = open('locked', 'r+'); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0); print('free')\ntry: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 6)\nexcept BlockingIOError: print('held')"], capture_output=True, text=True).stdout.split())

def archives():
    with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as z: z.write("a/b/file"); z.writestr("s", "string")
    with zipfile.ZipFile("z.zip") as z: print(z.testzip(), sorted(z.namelist())); z.extractall("unzipped")
    with tarfile.open("t.tar.xz", "w:xz") as t: t.add("a")
    with tarfile.open("t.tar.xz") as t: t.extractall("untarred"); print(filecmp.cmp("untarred/a/b/file", "a/b/file", shallow=False), filecmp.cmp("unzipped/a/b/file", "a/b/file", shallow=False))
    db = sqlite3.connect("db"); db.execute("pragma journal_mode=wal"); db.execute("create table t(x)"); db.executemany("insert into t values(?)", ((i,) for i in range(1000))); db.commit(); print(sqlite3.connect("db").execute("select sum(x) from t").fetchone()); db.close()
    with shelve.open("shelf") as s: s["key"] = [1, 2]
    with shelve.open("shelf") as s: print(s["key"])
    pickle.dump({"a": 1}, open("p", "wb")); print(pickle.load(open("p", "rb")), json.load(open("j")) if open("j", "w").write("[1]") else 0, hashlib.file_digest(open("raw", "rb"), "sha256").hexdigest()[:8]); os.mkfifo("fifo"); t = threading.Thread(target=lambda: open("fifo", "w").write("through")); t.start(); print(open("fifo").read()); t.join()

if __name__ == "__main__":
    for part in (files, temporary, processes, parallel, memory, archives): print("--", part.__name__, flush=True); part(); sys.stdout.flush()
END
python3 all.py
python3 -m venv --copies --without-pip env; env/bin/python -c 'import sys, os; print(sys.prefix != sys.base_prefix, os.path.relpath(sys.prefix))'; python3 -m compileall -q helper.py; python3 -m zipfile -l z.zip | wc -l; mkdir app; echo 'print("zipapp")' > app/__main__.py; python3 -m zipapp app; python3 app.pyz; echo 'import sys; print(sys.argv, open(sys.argv[1]).read())' > script.py; python3 script.py j; python3 - < script.py j; ls | sort | tr '\n' ' '
