set -o pipefail
mkdir -p t/a/b; seq 3000 > t/a/n; printf x > t/a/b/one; ln t/a/n t/hard; ln -s a/n t/soft; mkfifo t/fifo; chmod 4711 t/a/b/one; chown 3:4 t/a/n; touch -d @1234567890 t/a/n
look() { (cd "$1"; find . ! -type d -printf '%p %y %m %U:%G %l %n %s\n' | sort); }
for format in newc crc odc; do find t -depth -print0 | cpio -0 -o --quiet -H $format > $format; cpio -it --quiet < $format | sort | cksum; mkdir out; (cd out; cpio -idm --quiet < ../$format); diff <(look t) <(look out/t); stat -c %Y out/t/a/n; rm -r out; done
cd t; find . | sort | cpio -pdlm --quiet ../linked; cd ..; test linked/a/n -ef t/a/n; rm -r linked; find t | cpio -pdmu --quiet "$HOST"; diff <(look t) <(look "$HOST/t"); cpio -i --quiet --to-stdout t/a/b/one < newc; echo; (cd t && echo fifo | cpio -oA --quiet -H newc -F ../newc); cpio -it --quiet 'f*' < newc; cpio -itv --quiet -n < odc | awk '{ print $1, $2, $3, $4, $5, $9 }' | grep -v ^d | sort
