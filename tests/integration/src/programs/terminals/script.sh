# script(1) on a terminal of its own: what runs there, what is kept of it, its size and status; a session in a session.
script -q -e -c 'tty | sed "s/[0-9]*$/N/"; test -t 0 -a -t 1 -a -t 2 && echo terminals; exit 3' kept < /dev/null > shown || echo "script: $?"
tr -d '\r' < shown; grep -c terminals kept
script -q -c 'stty -a < /dev/tty | tr -s " " "\n" | sort | cksum; stty size' /dev/null < /dev/null | tr -d '\r'
script -q -O out -T times -c 'for i in 1 2 3; do echo line $i; done; seq 2000' < /dev/null | tr -d '\r' | cksum; tr -d '\r' < out | grep -c '^[0-9]*$'; scriptreplay -d 100000 -T times -O out | tr -d '\r' | sed -n '/^line/p'
mkfifo keys; exec 4<> keys; script -q -c "script -q -c 'echo inner; stty -echo; stty -a | grep -o -e -echo\\ ' inner; stty -a | grep -o -e ' echo '" outer <&4 | tr -d '\r'; exec 4>&-; grep -c inner inner outer
 script -q -f -c 'cat > taken' /dev/null < keys > /dev/null & exec 4> keys; printf 'one\ntwo\n' >&4; until test "$(grep -c . taken 2> /dev/null)" = 2; do :; done; printf '\004' >&4; wait $!; exec 4>&-; cat taken
script -q -c 'kill -9 $$' /dev/null < /dev/null > /dev/null || echo "killed: $?"; script -q -e -c 'sh -c "kill -TERM \$\$"' /dev/null < /dev/null > /dev/null || echo "killed: $?"
setsid -w script -q -c 'ls -l /proc/self/fd/0 > /dev/null; echo own session' /dev/null < /dev/null | tr -d '\r'
