# Copies, fills, cuts and measures files, within the kernel and between the kernels.
mkdir -p tree/sub; seq 1 50000 > tree/numbers; : > tree/empty; ln tree/numbers tree/sub/hard; ln -s ../numbers tree/sub/soft; ln -s nowhere tree/dangling
printf '#!/bin/sh\necho runs "$@"\n' > tree/run; chmod 751 tree/run; chown 5:6 tree/empty; touch -d @1000000000.5 tree/numbers; mkfifo tree/fifo; chmod 2770 tree/sub
attributes() { (cd "$1"; find . -printf '%p %y %m %U:%G %l' \( -type f -printf ' %n %s %T@' -o -true \) -printf '\n' | sort); }
attributes tree | sed -E '/numbers|hard/!s/ [0-9.]+$//'
cp -a tree copy; diff <(attributes tree) <(attributes copy); test copy/numbers -ef copy/sub/hard
cp -a tree "$HOST/there"; diff <(attributes tree) <(attributes "$HOST/there"); cp -a "$HOST/there" again; diff <(attributes tree) <(attributes again); cmp again/numbers tree/numbers
cp -rL tree/sub followed; test -f followed/soft; cp -r --preserve=mode tree/run kept; stat -c %a kept; ./kept on its own; cp --attributes-only -p tree/numbers hollow; stat -c '%s %Y' hollow
cp -l tree/numbers linked; test linked -ef tree/numbers; cp -s "$PWD/tree/empty" symbolic; readlink symbolic; cp --parents tree/sub/soft "$HOST"; ls "$HOST/tree/sub"
echo old > old; touch -d @1 old; cp -u old hollow; test ! -s hollow; cp -u tree/run old; head -n 1 old; cp -b old hollow; ls hollow*; cp -n old kept; cp --remove-destination -v kept linked; cp --reflink=auto tree/numbers auto; cmp auto tree/numbers
! cp tree nowhere-else 2> /dev/null; ! cp old old 2> /dev/null; ! cp -r tree tree/sub/inside 2> "$HOST/error"; grep -c 'into itself' "$HOST/error"; rm -rf tree/sub/inside
truncate -s 3M holes; printf middle | dd of=holes bs=1M seek=1 conv=notrunc status=none; cp --sparse=always holes sparse; cp --sparse=never holes full; cmp holes sparse; cmp holes full; stat -c %s sparse full
test "$(stat -c %b sparse)" -lt 1000; test "$(stat -c %b full)" -ge 6000; du -k --apparent-size full | cut -f 1; test "$(du -k sparse | cut -f 1)" -lt 500; du -ab tree/sub | tail -n 1 | wc -l; du -sb tree/numbers
truncate -s -10 full; truncate -s +1K full; truncate -s %4K full; stat -c %s full; truncate -r kept full; stat -c %s full; fallocate -l 100000 room; stat -c %s room; test "$(stat -c %b room)" -ge 195
dd if=/dev/zero of=zeros bs=4k count=100 status=none; dd if=tree/numbers of=part bs=1000 skip=3 count=2 status=none; cksum part; dd if=tree/numbers bs=512 conv=ucase,swab count=1 status=none | cksum; dd if=part of=zeros bs=1 seek=50 count=20 conv=notrunc oflag=append status=none; stat -c %s zeros
dd if=tree/numbers of=synced bs=64k conv=fsync status=none; cmp synced tree/numbers; dd if=tree/numbers iflag=fullblock,skip_bytes skip=288884 status=none; dd if=no-such 2> /dev/null || echo "dd: $?"
install -d -m 750 to/bin; install -D -m 644 -o 3 -g 4 part to/lib/x/part; install -t to/bin -s tree/run 2> /dev/null || install -t to/bin tree/run; install -p tree/numbers to; install -C tree/numbers to; find to -printf '%p %y %m %U:%G\n' | sort; to/bin/run installed
echo secret > secret; shred -u -n 1 -z secret; test ! -e secret; echo secret > secret; shred -n 2 -s 100 secret; stat -c %s secret; ! grep -q secret secret; sync secret . ; sync -f secret
tee one two < part | cmp - part; cmp one two; echo more | tee -a one > /dev/null; tail -n 1 one; split -b 100k tree/numbers piece.; ls piece.*; cat piece.* | cmp - tree/numbers; split -n l/3 -d part p; cat p0* | cmp - part; split -l 200 --filter='wc -l > $FILE.count' part q; cat q*.count
csplit -s -f section- tree/numbers 100 '/^2000$/' '{0}'; wc -l section-*; df -P . | awk 'NR == 2 { print $6 != "", $2 >= $3 + $4 }'; df --output=target . > /dev/null; df -i . | wc -l
mv tree "$HOST/moved"; test ! -e tree; diff -r --no-dereference --exclude=fifo "$HOST/moved" again; chmod 0 again/numbers; cat again/numbers | wc -l; rm -rf "$HOST/moved" "$HOST/there" again copy; ls | wc -l
