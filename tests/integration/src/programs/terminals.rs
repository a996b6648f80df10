//! Programs at terminals, which are the rump kernel's in its run: so are the network and the files.

use super::*;

/// The multiplexer, the terminals that it makes, and the one of the process.
const TERMINALS: Option<&str> = Some("path=/rump,blanket=/dev/ptmx:/dev/pts:/dev/tty,socket=all:nolocal");

programs! { "terminals", network true, config TERMINALS;
    "expect" on UNIX uses "expect bash stty": "types at an interactive bash: line editing, signals from the keyboard, job control, sizes and modes";
    "pty" on UNIX uses "python3": "uses pty, tty and termios: modes, sizes, signals, packets, hang-up, much in both directions at once";
    "editors" on UNIX uses "vim.tiny less expect stty perl": "less and vim at a terminal: what they show and save, a size that changes, a stop and going on";
    "script" on UNIX uses "script": "runs commands at terminals, keeps and replays what they print, a session in a session";
    "tmux" on UNIX uses "tmux python3 stty": "makes sessions, windows and panes, types into them and looks at them; a client attaches and detaches";
    "ssh" on UNIX uses "ssh sshd expect stty": "logs in at a terminal of sshd's, over the rump network: a command, a shell, signals, the size";
}
