count=$(few 20 500)
test "$1" = loop || tree from $count
start
case $1 in
tar) tar cf all.tar from ;;
grep) test "$(grep -r 'line 77 of' from | wc -l)" = $count ;;
cp) cp -a from to ;;
loop) for ((n = 0; n < 2 * count; n++)); do echo $n; done > file ;;
esac
took
