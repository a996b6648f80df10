# nano at a terminal of its own, driven by what it shows.
cat > drive.py <<'END'
import os, pty, sys
rest = b""
pid, terminal = pty.fork()
if pid == 0: os.environ["TERM"] = "xterm"; os.execvp("nano", ["nano", "--ignorercfiles", *sys.argv[1:]])
def see(text):
    global rest
    while text not in rest: rest += os.read(terminal, 1000)
    rest = rest.partition(text)[2]
def type(keys): os.write(terminal, keys)
see(b"Read 2 lines"); see(b"\x1b[?25h"); type(b"typed \x1b[B\x01more "); type(b"\x12"); see(b"to insert"); type(b"other\r"); see(b"Read 1 line"); type(b"\x0f"); see(b"to Write"); type(b"\r"); see(b"Wrote"); type(b"\x18")
try:
    while os.read(terminal, 1000): pass
except OSError: pass
print("nano ended:", os.waitpid(pid, 0)[1])
END
printf 'first\nsecond\n' > text; echo inserted > other; python3 drive.py text; cat text; chmod 640 text; printf 'x\ny\n' > deep; mkdir d; mv deep d; ln -s d/deep link; python3 drive.py --backup link; cat link link~; stat -c %a text; ls -A . d
