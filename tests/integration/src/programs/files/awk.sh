# The same program by gawk and mawk, then what only gawk has.
seq 500 | tr '\n' ' ' | fold -s -w 40 > numbers; printf 'a 1\nb 2\na 3\n' > pairs
for awk in gawk mawk; do
    mkdir $awk; cd $awk
    $awk '{ for (i = 1; i <= NF; i++) sum += $i } END { print NR, sum > "sum"; close("sum"); while ((getline line < "sum") > 0) print "read", line }' ../numbers; cat sum
    $awk '{ print $2 > $1; print $2 >> "all" } END { print "done" | "cat 1>&2"; close("cat 1>&2"); "wc -l < all" | getline n; print n; print system("test -s all"), system("exit 3") }' ../pairs 2> err; cat a b err
    $awk 'BEGIN { while (("ls .." | getline name) > 0) print "entry", name; print "z\ny\nx" | "sort > sorted"; close("sort > sorted"); while (getline < "sorted") print; if ((getline x < "no-such") < 0) print "no such file" }'
    $awk -F: -v OFS=, 'NR == FNR { seen[$1] = 1; next } FNR == 1 { print FILENAME, length(seen) } { $1 = $1; print }' ../pairs /dev/stdin <<< 'x:y'
    $awk 'BEGIN { for (i = 0; i < 40; i++) { f = "many" i; printf "%05d", i > f } for (i = 0; i < 40; i++) close("many" i); while (i--) { getline x < ("many" i); s += x } print s; printf "" > "empty" }'; ls | wc -l; printf 'BEGIN { print ARGV[1] }' > prog; $awk -f prog arg; printf '#!/usr/bin/%s -f\n{ print NF }\n' $awk > exe; chmod +x exe; ./exe ../pairs | tail -n 1; ENV=1 $awk 'BEGIN { print ENVIRON["ENV"]; fflush() }'; cd ..
done
diff -r gawk mawk | grep -v '^[<>]' | head -n 4
gawk -i inplace '{ print NR ": " $0 }' pairs; cat pairs; gawk 'BEGINFILE { print FILENAME, ERRNO; nextfile }' pairs no-such; gawk 'BEGIN { c = "sort"; print "b\na" |& c; close(c, "to"); while ((c |& getline l) > 0) print l; close(c); print strftime("%Y", 0, 1) }'; gawk '@load "filefuncs"; BEGIN { stat("pairs", s); print s["type"], s["size"]; chdir("gawk"); getline x < "sum"; print x }'; gawk '@load "readdir"; /\/f$/ { split($0, p, "/"); print p[2], p[3] }' . | sort; gawk -l rwarray 'BEGIN { a["k"] = "v"; writea("dump", a); delete a; reada("dump", a); print a["k"] }'
