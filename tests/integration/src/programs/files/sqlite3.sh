# Both journals, with two processes at once, and a rollback after a kill.
for mode in delete wal truncate persist memory; do
    echo "-- $mode"; db=$mode.db
    sqlite3 $db "PRAGMA journal_mode=$mode; CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT); BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(i * i) FROM n; COMMIT; SELECT count(*), sum(length(v)) FROM t;"
    sqlite3 $db "BEGIN; DELETE FROM t; ROLLBACK; CREATE INDEX i ON t(v); SELECT k FROM t WHERE v = hex(2500); PRAGMA integrity_check;"
    for writer in 1 2 3; do (for k in 1 2 3 4 5; do sqlite3 -cmd '.timeout 30000' $db "INSERT INTO t(v) VALUES('writer $writer')"; done) & done; wait
    sqlite3 $db "SELECT v, count(*) FROM t WHERE v LIKE 'writer%' GROUP BY v; VACUUM; PRAGMA integrity_check;"; ls | grep -c "^$db"
done
# A transaction that its process did not live to commit is undone by the next one.
mkfifo in; sqlite3 delete.db < in > out & exec 7> in; echo 'PRAGMA cache_size=5; PRAGMA cache_spill=5; BEGIN; UPDATE t SET v = v || 1; SELECT 1;' >&7; until test -s out; do :; done; ls delete.db-journal; kill -9 $!; wait $! 2> /dev/null || true; exec 7>&-; sqlite3 delete.db "PRAGMA integrity_check; SELECT count(*) FROM t WHERE v LIKE '%1' AND k = 3;"; ls delete.db*
# A lock that one process holds is seen by the other.
sqlite3 wal.db < in > out2 & exec 7> in; echo 'BEGIN IMMEDIATE; SELECT 1;' >&7; until test -s out2; do :; done; sqlite3 wal.db 'INSERT INTO t(v) VALUES(0)' 2>&1 || true; sqlite3 wal.db 'SELECT count(*) > 0 FROM t'; ls wal.db*; echo 'COMMIT;' >&7; exec 7>&-; wait; ls wal.db*
sqlite3 wal.db .dump | sqlite3 copy.db; sqlite3 copy.db 'SELECT count(*) FROM t'; sqlite3 copy.db ".backup $HOST/backup.db"; sqlite3 "$HOST/backup.db" "ATTACH '$D/delete.db' AS d; SELECT count(*) FROM t JOIN d.t USING (k)"; printf 'a,b\n1,x\n2,y\n' > csv; sqlite3 :memory: -cmd '.import --csv csv c' '.mode html' '.once out.html' 'SELECT * FROM c' '.output stdout' 'SELECT sum(a) FROM c'; wc -l < out.html; sqlite3 copy.db "PRAGMA mmap_size=1000000; SELECT sum(k) FROM t; UPDATE t SET v = 1; SELECT writefile('blob', zeroblob(5000)), length(readfile('csv'));"; stat -c %s blob
