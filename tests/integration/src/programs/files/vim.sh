seq 100 > n; printf 'one\ntwo\nthree\n' > words; chmod 640 words; mkdir backup; ln -s words soft; ln n hard
echo "set backup backupdir=$D/backup directory=$D/backup viminfo=" > .vimrc
# While a shell runs, vim looks for input, and gives up everything after some ends of file: here is none, and no end.
mkfifo in; exec 9<> in; rm in
ex() { vim.tiny -u "$D/.vimrc" -e -s "$@" <&9 9<&- || echo "status $?"; }
ex -c '%s/o/0/g' -c 2d -c wq words; cat words backup/words~; stat -c %a words; ex -c '%g/^[2-9]/d' -c 'w kept' -c '1,3w !tr 1 x > filtered' -c 'r words' -c 'saveas other' -c q n; cat kept filtered; wc -l < other; ex -c '1d' -c x soft; test -L soft; cat words
ex -c '1d' -c x n; test n -ef hard; head -n 1 hard; chmod 400 words; ex -c '1s/^/forced /' -c w! -c q words; cat words; stat -c %a words; ex -c '%!sort -r' -c 'r !echo from a shell' -c 'w out' -c q! n; tail -n 2 out; head -n 1 out; printf '%s\n' '1i' typed . 'w! >> words' q! | vim.tiny -u NONE -e -s new; tail -n 1 words; test ! -e new
mkdir d; cd d; for i in 1 2 3 4 5; do echo "line $i" > f$i; done; ex -c 'argdo %s/line/LINE/ | update' -c qa f[1-5]; cat f*; ex -c 'bufdo 1t. | w' -c qa f[1-5]; wc -l f5; ex -c 'set fileformat=dos' -c wq f1; od -c f1 | head -n 1; ex -c 'cd ..' -c 'e words' -c 'w! d/again' -c q; cmp again ../words; cd ..; head -c 300000 /usr/bin/python3 > binary; cp binary before; ex -b -c 'w!' -c q binary; cmp binary before
# A swap file of a session that was killed gives back what it had typed.
mkfifo in; vim.tiny -u NONE --cmd 'set updatecount=1 directory=.' -e -s words < in & exec 7> in; printf '%s\n' '$a' 'was typed' . preserve 'w done' >&7; until test -s done; do :; done; kill -9 $!; wait $! 2> /dev/null || true; exec 7>&-; ls -A | grep swp; vim.tiny -u NONE -e -s -r words -c 'w! recovered' -c q! < /dev/null; tail -n 1 recovered; ls -A | sort | tr '\n' ' '
