# Makes, links, lists, changes and removes names.
umask 022
mkdir -p a/b/c; mkdir -m 700 private; mkdir -v new; ! mkdir a 2> /dev/null
echo data > a/file; ln a/file a/hard; ln -s file a/soft; ln -sr a/b/c relative; ln -sf nowhere dangling; link a/file a/linked
readlink a/soft relative dangling; readlink -f relative; realpath -e a/./b/../soft; realpath --relative-to=a/b a/file; ! readlink -e dangling
ln -s "$D/a/file" absolute; cat absolute; readlink absolute; readlink -f absolute; ln -s "$D/a" folder; cat folder/b/../file; (cd -P folder/b; pwd); rm absolute folder; test a/file -ef a/linked; stat -c '%n %F %A %h %s %u:%g' a/file a/soft a private; stat -L -c %F a/soft; stat -f -c %T . | grep -E 'tmpfs'
mknod pipe p; mkfifo -m 600 fifo; stat -c '%F %a' pipe fifo; mknod null c 1 3; stat -c '%F %t:%T' null
cat fifo > read & echo through a fifo > fifo; wait; cat read
ls -A; ls -1p a; ls -lR --time-style=+ a | grep -v -e '^total' -e '^d'; ls -id a/file a/hard | awk '{ print $1 }' | uniq | wc -l
dir -C -w 80 a; vdir a | tail -n +2 | wc -l; ls -Q a; ls -F; ls no-such 2> /dev/null || echo "ls: $?"
touch -d '2021-03-04 05:06:07.089' a/file; stat -c %y a/hard; touch -r a/file new; stat -c %Y new; touch -h -t 200102030405.06 dangling; stat -c %Y dangling
touch -a -d @100 a/file; touch -m -d @200 a/file; stat -c '%X %Y' a/file; ls -t a; date -u -r a/file +%s; touch -c none; test ! -e none
chmod u=rw,go= a/file; chmod -R g+w,o-rx a; chmod 4755 private; chmod +t new; stat -c '%n %a' a a/b a/file private new; chmod --reference=private a/file; stat -c %a a/hard
chown 12:34 a/file; chgrp 56 a/b; chown -h 7:8 dangling; chown -R --from=12 99 a; stat -c '%n %u:%g' a/file a/b dangling
mktemp -p . tmp.XXXXXX | wc -c; mktemp -d inner.XXXX | tr -c '\n' x; ls -d tmp.* inner.* | wc -l; TMPDIR=$D mktemp | grep -c "^$D/tmp\."
mv a/file a/moved; mv -t new a/moved a/hard; mv -v new renamed; mv -n renamed/hard renamed/moved; ls renamed a; mv -b -T relative dangling; ls -A | grep dangling
mv private "$HOST/"; mv renamed "$HOST/"; stat -c '%a %s' "$HOST/private" "$HOST/renamed/moved"; mv "$HOST/renamed" back; test back/hard -ef back/moved; cat back/moved
! rmdir a 2> /dev/null; rmdir a/b/c; rmdir -p x/y 2> /dev/null || mkdir -p x/y; rmdir -p x/y; unlink a/soft; test ! -L a/soft; rm -v a/linked; rm -rf a back; ! rm a 2> /dev/null; rm -f a
pathchk -p "$(printf %0256d 0)" 2> /dev/null || echo too long for POSIX; touch "$(printf %0255d 0)"; touch "$(printf %0256d 0)" 2> /dev/null || echo too long; rm 000*
mkdir deep; cd deep; for level in $(seq 60); do mkdir directory-$level; cd directory-$level; done; pwd | wc -c | awk '{ print $1 > 800 }'; cd ../../..; pwd | grep -o '[0-9]*$'; cd "$D"; rm -r deep
basename "$D/x.c" .c; dirname "$D/x/y"; test -p pipe -a -c null -a -L dangling -a ! -e a; [ -d . ]; rm pipe fifo null read; ls -A | wc -l
