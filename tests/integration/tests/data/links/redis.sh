# A replica that takes over what is there, and what is written meanwhile.
right redis-server --bind $right4 $right6 --protected-mode no --dir "$PWD" --dbfilename right.rdb --save '' > right.redis &
ask() { local side=$1; shift; $side redis-cli -h "$@"; }
until ask right $right4 ping > /dev/null 2>&1; do sleep 0.05; done
seq 1 20000 | sed 's/.*/RPUSH list value&/' | right redis-cli -h $right4 --pipe > /dev/null
left redis-server --bind $left4 --protected-mode no --dir "$PWD" --dbfilename left.rdb --save '' --replicaof $right6 6379 > left.redis &
until [ "$(ask left $left4 llen list 2> /dev/null)" = 20000 ]; do sleep 0.05; done
seq 1 5000 | sed 's/.*/SET key& value&/' | left redis-cli -h $right4 --pipe > /dev/null
until [ "$(ask left $left4 dbsize)" = 5001 ]; do sleep 0.05; done
[ "$(ask left $left4 lrange list 0 -1 | cksum)" = "$(ask right $right4 lrange list 0 -1 | cksum)" ] && echo "redis: the replica has it all"
ask left $left4 info replication | grep -o 'master_link_status:up'
