# Reads no settings of the machine, and asks no password of root.
plain="--no-defaults --user=root --datadir=$D/data"
mkdir data
mariadb-install-db $plain --auth-root-authentication-method=normal --skip-test-db > "$HOST/log" 2>&1 || { cat "$HOST/log"; exit 1; }
serve() {
  mariadbd $plain --socket="$HOST/socket" --pid-file="$D/pid" --bind-address=127.0.0.1,::1 --port=7001 2> "$HOST/log" & server=$!
  until mariadb-admin --no-defaults -h 127.0.0.1 -P 7001 -u root ping > /dev/null 2>&1; do kill -0 $server || { cat "$HOST/log"; exit 1; }; done
}
ask() { mariadb --no-defaults -P 7001 -u root -N "$@"; }
serve
ask -h 127.0.0.1 -e 'create database d'
ask -h 127.0.0.1 d -e 'create table t (id int primary key, v varchar(100), index (v)) engine=InnoDB; create table a (id int) engine=Aria'
ask -h 127.0.0.1 d -e 'insert into t select seq, md5(seq) from seq_1_to_20000; insert into a select seq from seq_1_to_100'
ask -h 127.0.0.1 d -e "select id from t where v = md5('777'); checksum table t, a"
writers=
for n in 0 1 2 3; do ask -h 127.0.0.1 d -e "update t set v = concat(v, '$n') where id % 4 = $n" & writers="$writers $!"; done
wait $writers
ask -h ::1 d -e 'select count(*), sum(length(v)) from t'
mariadb-dump --no-defaults -h 127.0.0.1 -P 7001 -u root --skip-comments d | cksum
mariadb-admin --no-defaults -h 127.0.0.1 -P 7001 -u root shutdown
wait $server

# What was written is there again.
serve
ask -h 127.0.0.1 d -e 'select * from t where id in (1, 20000) order by id; check table t, a'
mariadb-admin --no-defaults -h 127.0.0.1 -P 7001 -u root shutdown
wait $server
