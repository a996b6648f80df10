# The applets of one program, which call nothing of the others.
bb() { busybox "$@"; }
seq 100 > n; bb mkdir -p a/b; bb cp n a/b/; bb ln -s b/n a/l; bb ln n a/hard; bb find a -type f | bb sort; bb ls -1 a; bb stat -c '%n %s %h' n; bb cat n | bb head -n 2; bb tail -n 1 n; bb wc -l n; bb md5sum n > sum; bb md5sum -c sum; bb tar -czf t.tgz a; bb mkdir x; bb tar -xzf t.tgz -C x; bb diff -r a x/a && echo same; bb gzip -k n; bb zcat n.gz | bb cmp - n; bb sed -i 's/^1$/one/' n; bb head -n 1 n; bb awk '{ s += $1 } END { print s > "s" }' n; bb cat s; bb grep -c 9 n; bb cpio -o -H newc < <(bb find a) 2> /dev/null | bb cpio -t 2> /dev/null | bb sort
bb dd if=n of=d bs=10 count=3 2> /dev/null; bb od -c d | bb head -n 1; bb chmod 600 d; bb chown 1:2 d; bb stat -c '%a %u:%g' d; bb touch -d '2020-01-01 00:00' d; bb date -u -r d +%F; bb du -a x | bb wc -l; bb readlink -f a/l | bb sed "s|$D/||"; bb realpath a/../n | bb sed "s|$D/||"; bb mktemp -p . q.XXXXXX | bb wc -c; bb truncate -s 5 d; bb wc -c < d; bb mkfifo f; bb cat f & echo fifo > f; wait; bb sort -rn n | bb head -n 2;  bb xargs -a n -n 50 2> /dev/null | bb wc -l; bb mv a moved; bb mv moved "$HOST"; bb cp -a "$HOST/moved" back; bb rm -r x back; bb ls | bb wc -l; bb unzip -v 2> /dev/null | bb head -c 0; bb patch n << 'END'
--- n
+++ n
@@ -1,2 +1,2 @@
-one
+1
 2
END
bb head -n 1 n; bb sh -c 'cd "$HOME"; for f in n*; do echo "$f"; done; echo x > y; read -r z < y; echo "$z $(cat y)" | tee w; test -s w && pwd; exec 5>> w; echo five >&5; exec 5>&-; wc -l < w; set -- *; echo $#; trap "echo bye" EXIT'; printf '#!/bin/busybox sh\necho script "$@"\n' > s.sh; bb chmod +x s.sh; ./s.sh 1 2;  bb timeout 20 busybox true; bb env A=1 busybox sh -c 'echo $A'; bb setsid busybox echo session; bb cp n i; xz -k i; bb xzcat i.xz | bb cmp - n; bb uuencode n name | bb uudecode -o decoded; bb cmp decoded n; bb dos2unix -u n; bb unix2dos i; bb head -c 3 i | bb od -c | bb head -n 1; bb less n < /dev/null | bb tail -n 1; bb unlink i; bb rmdir "$HOST/none" 2> /dev/null || echo "rmdir: $?"; bb shred -u n; bb test -e n || echo gone
