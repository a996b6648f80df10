inserts=$(few 20 200) selects=$(few 20 2000)
{
  echo 'create table t(id integer primary key, word text);'
  for ((n = 0; n < inserts; n++)); do echo "insert into t values($n, 'word number $n');"; done
} > inserts
for ((n = 0; n < selects; n++)); do echo "select count(*) from t where id = $((n % 10)) or word = 'word number $n';"; done > selects
case $1 in
insert) start; sqlite3 db < inserts > "$HOST/out"; took; test "$(sqlite3 db 'select count(*) from t')" -ge 10 ;;
select) sqlite3 db < inserts > "$HOST/out"; start; sqlite3 db < selects > "$HOST/out"; took ;;
esac
