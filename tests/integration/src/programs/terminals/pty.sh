# Python's pty, tty and termios: a terminal by openpty and by fork, its modes, size, signals, packets, and what its end shows.
cat > work.py <<'X'
import array, errno, fcntl, os, pty, select, signal, struct, sys, termios, tty
def until(fd, text):
    got = b""
    while text not in got: got += os.read(fd, 1000)
    return got
master, slave = pty.openpty()
print(os.isatty(master), os.isatty(slave), os.ttyname(slave).rstrip("0123456789"), os.ttyname(slave) == os.ptsname(master) if hasattr(os, "ptsname") else True)
os.write(slave, b"out\n"); print(os.read(master, 100))
os.write(master, b"typed\n"); print(os.read(slave, 100), os.read(master, 100))
tty.setraw(slave); os.write(master, b"\x03raw\x04"); print(os.read(slave, 100), select.select([master], [], [], 0)[0] == [])
modes = termios.tcgetattr(slave); modes[6][termios.VMIN] = 3; modes[6][termios.VTIME] = 0; termios.tcsetattr(slave, termios.TCSANOW, modes)
os.write(master, b"ab"); print(select.select([slave], [], [], 0)[0] == []); os.write(master, b"c"); print(os.read(slave, 100))
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 34, 0, 0)); print(struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, b"\0" * 8)), os.get_terminal_size(slave))
os.write(master, b"left"); select.select([slave], [], []); count = array.array("i", [0]); fcntl.ioctl(slave, termios.FIONREAD, count); print(count[0]); termios.tcflush(slave, termios.TCIFLUSH); print(select.select([slave], [], [], 0)[0] == [])
fcntl.ioctl(master, termios.TIOCPKT, struct.pack("i", 1)); os.write(slave, b"packet"); print(os.read(master, 100)); termios.tcflow(slave, termios.TCOOFF); print(os.read(master, 1)); termios.tcflow(slave, termios.TCOON); print(os.read(master, 1))
os.close(slave)
try: print(os.read(master, 10))
except OSError as error: print(errno.errorcode[error.errno])
os.close(master)
# A session of its own: signals from the keyboard, the size that changes, the foreground, the hang-up at its end.
pid, master = pty.fork()
if pid == 0:
    def told(number, frame): os.write(1, f"told {signal.Signals(number).name}\n".encode())
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGCONT): signal.signal(number, told)
    print("own", os.tcgetpgrp(0) == os.getpgrp(), os.getsid(0) == os.getpid(), os.ctermid(), os.open("/dev/tty", os.O_RDWR) > 2, flush=True)
    for line in sys.stdin: print("line", line.strip(), tuple(os.get_terminal_size()), flush=True)
    print("end", flush=True); signal.pause() if len(sys.argv) > 1 else os._exit(7)
print(until(master, b"True\r\n"))
os.write(master, b"one\n"); print(until(master, b")\r\n"))
os.write(master, b"\x03"); print(until(master, b"INT\r\n")); os.write(master, b"\x1c"); print(until(master, b"QUIT\r\n"))
termios.tcsetwinsize(master, (5, 50)) if hasattr(termios, "tcsetwinsize") else fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 50, 0, 0))
print(until(master, b"WINCH\r\n")); os.write(master, b"two\n"); print(until(master, b")\r\n"))
os.kill(pid, signal.SIGSTOP); print(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])); os.kill(pid, signal.SIGCONT); print(until(master, b"CONT\r\n"))
os.write(master, b"\x04"); print(until(master, b"end\r\n")); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.close(master)
pid, master = pty.fork()
if pid == 0: print("ready", flush=True); signal.pause()
until(master, b"ready"); os.close(master); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
# Much in both directions at once through a raw terminal.
pid, master = pty.fork()
if pid == 0: tty.setraw(0); os.write(1, b"go"); os.execvp("head", ["head", "-c", "200000"])
until(master, b"go"); data = os.urandom(200000); sent = 0; got = b""
while len(got) < len(data):
    readable, writable, _ = select.select([master], [master] if sent < len(data) else [], [])
    if writable: sent += os.write(master, data[sent:sent + 4096])
    if readable: got += os.read(master, 65536)
print(got == data, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", "tty | sed 's/[0-9]*$/N/'; exit 4"])))
X
python3 work.py < /dev/null | tr -d '\r'
