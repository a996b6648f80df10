faketime '2001-02-03 04:05:06' sh -c 'date "+%F %H:%M" > dated; cat dated'; LD_PRELOAD="${LD_PRELOAD:-} $(ls /usr/lib/*/faketime/libfaketime.so.1)" FAKETIME='@2011-01-01 00:00:00' date +%Y
eatmydata sh -c 'echo quickly > quick; sync quick; dd if=/dev/zero of=zeros bs=4096 count=3 conv=fsync 2>/dev/null'; cat quick; cksum zeros
fakeroot sh -c 'id -u; echo mine > owned; chown 12:13 owned; stat -c "%u %g" owned; mknod null c 1 3 2>/dev/null; tar cf owned.tar owned'; tar tvf owned.tar | tr -s ' ' | cut -d ' ' -f 1,2,6
seq 3 | stdbuf -oL cat > lines; stdbuf -o0 -e0 wc -l lines
