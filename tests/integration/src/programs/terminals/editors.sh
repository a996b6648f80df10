# less and vim at a terminal: what they show and what they save, a size that changes, a stop and going on.
seq 200 > numbers; printf 'one\ntwo\nthree\n' > text
cat > drive <<'X'
log_user 0
set timeout 30
proc see {pattern} { expect -re $pattern; puts "seen: [string trim $expect_out(0,string)]" }
proc watched {} { uplevel #0 { expect_after timeout { puts "nothing more came"; exit 1 } eof { puts "ended early"; exit 1 } } }
proc over {} { expect_after; expect eof; puts "status [lindex [wait] 3]" }
set env(TERM) xterm
set env(LESSHISTFILE) -
set stty_init "rows 10 columns 40"
spawn -noecho less numbers
watched
see {\n9\r}; send " "; see {\n18\r}; send "G"; see {200\r};
stty rows 6 columns 40 < $spawn_out(slave,name)
send "\014"; send "50g"; see {54}; send "/77\r"; see {77}; send "q"; over
spawn -noecho vim.tiny -u NONE -N text
watched
see {three}; send "jccdeux\033"; send ":2s/eux/&x/\r"; send "Gonew\033"; send ":w\r"; see {4L, \d+B written}; send ":set columns?\r"; see {columns=40}
# Both at once: stty changes one after the other, and vim draws anew for each.
exec perl -e {$size = pack("S4", 12, 50, 0, 0); ioctl(STDIN, 0x5414, $size) or die} < $spawn_out(slave,name)
# What is typed before vim has drawn its screen anew is lost.
expect -ex "\033\[2J"; expect -ex "\033\[?25h"; send ":set columns?\r"; see {columns=50}; send ":%!sort\r"; send ":wq\r"; over
set env(PS1) "ready> "
spawn -noecho bash --norc --noprofile --noediting -i
watched
expect "ready> "; send "vim.tiny -u NONE -N text\r"; see {three}; send "x\032"; see {Stopped}; expect "ready> "; send "jobs | grep -c vim\r"; see {\n1\r}; expect "ready> "; send "fg\r"; see {three}; send ":wq\r"; expect "ready> "; send "exit 6\r"; over
X
set -o pipefail; expect -f drive | tr -d '\r'; cat text
