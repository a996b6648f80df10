mkdir -p module/sub
seq 1 50000 > module/data
echo x > module/sub/x
cat > "$HOST/rsyncd.conf" << END
use chroot = no
log file = $HOST/log
uid = $(id -u)
gid = $(id -g)
[m]
path = $D/module
read only = no
comment = a module
END
rsync --daemon --no-detach --address=127.0.0.1 --port=7001 --config="$HOST/rsyncd.conf" & daemon=$!
up 7001 $daemon
url=rsync://127.0.0.1:7001
rsync $url/
rsync -a $url/m/ copy/
diff -r module copy
echo changed >> copy/data
rm copy/sub/x
seq 1 10000 > copy/new
rsync -rc --delete --stats copy/ $url/m/ | grep -E 'Number of (created|deleted|regular) files'
diff -r module copy
cksum < module/data
rsync $url/none 2>&1 | head -n 1
kill $daemon
