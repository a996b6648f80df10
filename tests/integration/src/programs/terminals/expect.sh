# An interactive shell at a terminal, by expect: line editing, signals from the keyboard, job control, sizes.
cat > drive <<'X'
log_user 0
set timeout 30
# The prompt is never typed, so that an echo is not taken for it.
proc type {keys} { send -- $keys }
proc ready {} { expect "ready> " }
proc see {pattern} { expect -re $pattern; puts [string trim $expect_out(0,string)] }
set env(PS1) "ready> "
spawn -noecho bash --norc --noprofile --noediting -i
expect_after timeout { puts "nothing more came than: $expect_out(buffer)"; exit 1 } eof { puts "ended early"; exit 1 }
ready
type "test -t 0 -a -t 1 && tty > name; echo at \$(sed 's/\[0-9\]*\$/N/' name)\r"; see {at /dev/pts/N}; ready
type "stty rows 30 cols 70; stty size; stty -a | head -n 2\r"; see {30 70\r\nspeed 38400 baud; rows 30; columns 70; line = 0;\r\nintr = \^C; [^\r]*}; ready
type "echo edxx\177\177ited\r"; see {\nedited}; ready
type "echo gone\025echo kept\r"; see {\nkept}; ready
type "sh -c 'echo started; exec sleep 100'\r"; see {\nstarted}; type "\003"; ready; type "echo status \$?\r"; see {status 130}; ready
type "sh -c 'trap \"echo told; exit 4\" INT; echo started; while :; do read -r line; done'\r"; see {\nstarted}; type "\003"; see {told}; ready; type "echo status \$?\r"; see {status 4}; ready
type "sh -c 'echo started; exec sleep 100'\r"; see {\nstarted}; type "\034"; see {Quit}; ready
type "sh -c 'echo reading; exec cat'\r"; see {\nreading}; type "one\r"; see {one\r\none}; type "\032"; see {Stopped}; ready
type "jobs\r"; see {\[1\]\+ +Stopped}; ready
type "fg\r"; see {exec cat'\r\n}; type "two\r"; see {two\r\ntwo}; type "\004"; ready
type "cat &\r"; see {\[1\] \d+} ; ready
type "wait; jobs\r"; see {Stopped +cat}; ready
type "kill %1; fg; echo over\r"; see {over}; ready
type "(stty tostop; echo not yet) & wait; echo continued\r"; see {continued|Stopped}; ready
type "fg; stty -tostop\r"; ready
type "trap 'echo resized' WINCH\r"; ready
stty rows 11 columns 22 < $spawn_out(slave,name)
type "\r"; see {resized}; ready
type "stty size\r"; see {11 22}; ready
type "stty -echo; cat > quiet; stty echo\r"; type "secret\r\004"; ready; type "cat quiet\r"; see {\nsecret}; ready
type "exec sh -c 'stty raw -echo; echo raw; head -c 3 | od -An -c; stty sane; exit 5'\r"; see {\nraw}; type "\003\032x"; see {003 032 +x}
expect_after; expect eof
lassign [wait] pid id error status
puts "status $status"
X
set -o pipefail; expect -f drive | tr -d '\r' | sed -E 's/^\[1\] [0-9]+$/[1] N/'
