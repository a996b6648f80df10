# Databases with four writers at once: programs that come and go, and connections that stay; a rollback journal and WAL, read and mapped.
cat > work.py <<'P'
import os, sqlite3, sys
def add(name, mode, mapped):
    db = sqlite3.connect(f"{mode}{mapped}.db", timeout=50, isolation_level=None)
    db.execute(f"PRAGMA mmap_size={mapped}"); db.execute("PRAGMA synchronous=OFF")
    for at in range(25):
        db.execute("BEGIN IMMEDIATE")
        count, = db.execute("SELECT count(*) FROM t WHERE who = ?", (name,)).fetchone()
        assert count == at, (name, mode, count, at)
        db.execute("INSERT INTO t VALUES(?, ?, ?)", (name, at, os.urandom(300))); db.execute("UPDATE total SET n = n + 1"); db.execute("COMMIT")
        # What this connection has read before, others have changed since.
        n, rows = db.execute("SELECT n, (SELECT count(*) FROM t) FROM total").fetchone(); assert n == rows, (name, mode, n, rows)
for mode in "delete", "wal":
    for mapped in 0, 1000000:
        db = sqlite3.connect(f"{mode}{mapped}.db"); print(db.execute(f"PRAGMA journal_mode={mode}").fetchone())
        db.executescript("CREATE TABLE t(who, at, data); CREATE INDEX i ON t(who, at); CREATE TABLE total(n); INSERT INTO total VALUES(0);"); db.close()
        children = []
        for name in "abcd":
            child = os.fork()
            if child == 0: add(name, mode, mapped); os._exit(0)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
        db = sqlite3.connect(f"{mode}{mapped}.db")
        print(db.execute("SELECT who, count(*) FROM t GROUP BY who").fetchall(), db.execute("SELECT n FROM total").fetchone(), db.execute("PRAGMA integrity_check").fetchone()); db.close()
P
python3 work.py
sqlite3 came.db 'PRAGMA journal_mode=wal; CREATE TABLE t(v)'; for writer in 1 2 3 4; do (for k in 1 2 3 4 5; do sqlite3 -cmd '.timeout 50000' came.db "INSERT INTO t VALUES('writer $writer')"; done) & done; wait
sqlite3 came.db "SELECT v, count(*) FROM t GROUP BY v; PRAGMA integrity_check; PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA integrity_check"; sqlite3 came.db .dump | sqlite3 copy.db; sqlite3 copy.db 'SELECT count(*) FROM t'; ls
