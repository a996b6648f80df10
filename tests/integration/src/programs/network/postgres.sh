# The server refuses to be root, and its own user must reach the library and the folders.
as=
if test "$(id -u)" = 0; then
  chmod 755 "$HOST"
  chmod o+x "$D/.."
  as="setpriv --reuid=postgres --regid=postgres --clear-groups"
  if test -n "${LD_PRELOAD:-}"; then
    cp "$LD_PRELOAD" "$HOST/library.so"
    as="env LD_PRELOAD=$HOST/library.so $as"
  fi
fi
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
mkdir data
test -z "$as" || chown postgres data
cd /
$as "$bin/initdb" -D "$D/data" -A trust -U admin --no-sync > "$HOST/log" 2>&1 || { cat "$HOST/log"; exit 1; }
serve() {
  $as "$bin/postgres" -D "$D/data" -h 127.0.0.1,::1 -p 7001 -k '' -F 2> "$HOST/log" & server=$!
  until "$bin/pg_isready" -q -h 127.0.0.1 -p 7001; do kill -0 $server || { cat "$HOST/log"; exit 1; }; done
}
ask() { "$bin/psql" -X -q -At -v ON_ERROR_STOP=1 -p 7001 -U admin postgres "$@"; }
serve
ask -h 127.0.0.1 -c 'create table t (id int primary key, v text)' -c 'insert into t select n, md5(n::text) from generate_series(1, 20000) n'
ask -h 127.0.0.1 -c "create index on t (v)" -c "analyze t" -c "select id from t where v = md5('777')"
ask -h 127.0.0.1 -c 'copy t to stdout' | cksum
writers=
for n in 0 1 2 3; do ask -h 127.0.0.1 -c "update t set v = v || '$n' where id % 4 = $n" & writers="$writers $!"; done
wait $writers
ask -h ::1 -c 'select count(*), sum(length(v)) from t'
kill -INT $server
wait $server

# What was written is there again.
serve
ask -h 127.0.0.1 -c "select v from t where id in (1, 20000) order by id"
kill -INT $server
wait $server
