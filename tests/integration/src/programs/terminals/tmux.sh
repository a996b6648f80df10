# tmux: sessions, windows and panes, keys typed into them, what they show; a client at a terminal that attaches and detaches.
export TMUX_TMPDIR=$HOST SHELL=/bin/sh PS1='$ '; mux() { tmux -f /dev/null "$@"; }; shows() { until mux capture-pane -p -t "$1" | grep -q "$2"; do :; done; }
mux new-session -d -s one -n first -x 60 -y 20 'sh'; mux list-sessions -F '#{session_name} #{window_width}x#{window_height} #{session_attached}'
mux send-keys -t one 'clear; tty | sed "s/[0-9]*$/N/"; stty size; echo typed > file; echo done 1' Enter; shows one '^done 1'; mux capture-pane -p -t one | grep -v '^\$' | grep .; cat file
mux split-window -t one -v 'cat'; mux send-keys -t one 'into cat' Enter; shows one 'into cat'; mux list-panes -t one -F '#{pane_index} #{pane_width} #{pane_current_command}'
mux send-keys -t one C-d; until test "$(mux list-panes -t one | wc -l)" = 1; do :; done
mux new-window -t one -n two 'sh -c "echo in two; exec sleep 1000"'; shows one:two 'in two'; mux list-windows -t one -F '#{window_name} #{window_active}'; mux send-keys -t one:two C-c; until test "$(mux list-windows -t one | wc -l)" = 1; do :; done
mux send-keys -t one 'sleep 1000; echo status $?' Enter; until test "$(mux display -p -t one '#{pane_current_command}')" = sleep; do :; done; mux send-keys -t one C-c; until test "$(mux display -p -t one '#{pane_current_command}')" = sh; do :; done; mux send-keys -t one 'clear; echo after' Enter; shows one '^after'
mux resize-window -t one -x 40 -y 10; until mux send-keys -t one 'clear; stty size' Enter; mux capture-pane -p -t one | grep '^10 40'; do :; done; mux set-buffer 'echo pas""ted'; mux paste-buffer -t one; mux send-keys -t one Enter; shows one pasted; mux send-keys -t one clear Enter
python3 - << 'X'
import os, pty, subprocess
pid, terminal = pty.fork()
if pid == 0: os.environ["TERM"] = "xterm"; os.execvp("tmux", ["tmux", "-f", "/dev/null", "attach", "-t", "one"])
seen = b""
def see(text):
    global seen
    while text not in seen: seen += os.read(terminal, 4096)
    seen = seen.partition(text)[2]
see(b"[one]"); os.write(terminal, b"echo attached $((1 + 1))\r"); see(b"attached 2")
print(subprocess.run(["tmux", "list-clients", "-F", "#{client_session} #{client_termname}"], capture_output=True, text=True).stdout.strip())
os.write(terminal, b"\x02d"); see(b"detached")
try:
    while os.read(terminal, 4096): pass
except OSError: pass
print("client ended:", os.waitpid(pid, 0)[1])
X
mux kill-server; mux list-sessions 2> /dev/null || echo "tmux: $?"
