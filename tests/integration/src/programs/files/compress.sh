seq 50000 > data; head -c 300000 /usr/bin/python3 > binary; : > empty; chmod 640 data; touch -d @1500000000 data
for tool in gzip bzip2 xz zstd; do
    echo "-- $tool"; mkdir $tool; cp -p data binary empty $tool; cd $tool; case $tool in gzip) end=gz ;; bzip2) end=bz2 ;; xz) end=xz ;; zstd) end=zst; set -- --rm -q ;; esac
    $tool "$@" data; test ! -e data; stat -c '%a %Y' data.$end; $tool -t data.$end 2> /dev/null; $tool -dc < data.$end | cmp - ../data; $tool -d "$@" data.$end; cmp data ../data; stat -c '%a %Y' data
    $tool -1 -k -q binary; $tool -9 -c binary > best.$end; $tool -q binary < /dev/null 2> /dev/null && echo overwritten || echo kept; cat best.$end binary.$end > both.$end; $tool -dc both.$end | cmp - <(cat binary binary); $tool -f -q "$@" empty; $tool -dc empty.$end | wc -c
    truncate -s -20 best.$end; $tool -t best.$end 2> /dev/null || echo damaged; echo no archive > fake.$end; $tool -dc fake.$end > out 2> /dev/null || echo refused; ls | sort; set --; cd ..
done
zcat gzip/binary.gz | cmp - binary; zgrep -c 99 gzip/both.gz || true; gzip -l gzip/binary.gz | awk 'NR == 2 { print $2 }'; gzip -r -n xz; ls xz | head -n 3; xz -T 2 --block-size=64KiB -k data; xz --robot -l data.xz | awk '/^totals/ { print ($3 > 1), $5 }'; zstd -q -T2 -k data -o data.zst; zstd -q --train gzip/* xz/* -o dictionary 2> /dev/null || echo too few samples; zstdcat data.zst | cmp - data; bzcat bzip2/binary.bz2 | cmp - binary; bzip2recover bzip2/both.bz2 2> /dev/null; ls bzip2/rec* | wc -l
