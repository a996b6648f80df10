set -o pipefail
mkdir -p tree/a/b tree/empty; seq 20000 > tree/a/numbers; printf x > tree/a/b/one; : > tree/none
ln tree/a/b/one tree/hard; ln -s a/b tree/soft; ln -s nowhere tree/dangling; chmod 640 tree/none; mkfifo tree/fifo
truncate -s 1M tree/holes; printf end | dd of=tree/holes bs=1 seek=500000 conv=notrunc status=none
touch -d '2020-02-02 02:02:02.123456789' tree/a/numbers; chmod 2755 tree/empty
same() { (cd "$1" && find . -printf '%P %y %m %l %n' -type f -printf ' %s %T+' -printf '\n' | sort); }
for option in "" -z -J --zstd --sparse "--format=pax"; do
    rm -rf out; mkdir out; tar -c $option -f packed -C tree .; tar -x $option -f packed -C out -p
    diff <(cd tree; find . ! -type d -printf '%P %y %m %l %n %s %Ts\n' | sort) <(cd out; find . ! -type d -printf '%P %y %m %l %n %s %Ts\n' | sort)
    cmp tree/a/numbers out/a/numbers; cmp tree/holes out/holes; test out/hard -ef out/a/b/one
    tar -t $option -f packed | sort | cksum
done
test "$(stat -c %b tree/holes)" -lt 2048
tar -cf - tree | tar -xf - -C "$HOST"; diff -r --no-dereference --exclude=fifo tree "$HOST/tree"
tar -cf all -C tree a; tar -rf all -C tree none; tar --delete -f all a/b/one; tar -tf all | sort; tar -xOf all a/numbers | tail -n 1
tar -cf - -C "$HOST" tree/a | tar -df - -C "$D" && echo no difference
echo more >> tree/a/numbers; tar -cf - -C "$HOST" tree/a | tar -df - -C "$D" || echo differs
tar -cg snapshot -f full tree; echo new > tree/new; tar -cg snapshot -f next tree; tar -tf next | sort
