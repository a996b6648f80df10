git config --global user.name Someone
git config --global user.email someone@example.org
git config --global init.defaultBranch trunk
git config --global gc.autoDetach false
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git init -q one; cd one
mkdir -p src/deep; for i in 1 2 3 4 5 6 7 8; do seq "$i" 200 > "src/deep/$i"; done
ln -s deep/1 src/link; printf '#!/bin/sh\necho run\n' > run; chmod +x run
git add .; git commit -qm first; git log --format=%H
git switch -qc side; echo side >> src/deep/1; git rm -q src/deep/8; git commit -qam side
git switch -q trunk; echo trunk >> src/deep/2; git mv src/deep/7 seven; git commit -qam trunk
git merge -q -m merged side; git log --oneline --graph; git status --short; ls src/deep
echo conflict > run; git commit -qam ours; git switch -q side; echo other > run; git commit -qam theirs
git switch -q trunk; ! git merge side; git status --short; git merge --abort
git stash list; echo dirty >> run; git stash -q; git diff --exit-code; git stash pop -q; git diff --stat; git checkout -q run
git tag -a -m one v1; git worktree add -q ../tree v1; cat ../tree/run; git worktree remove ../tree
cd ..; git clone -q one two; git clone -q --bare one "$HOST/bare.git"; cd two
git remote add bare "$HOST/bare.git"; echo pushed > pushed; git add pushed; git commit -qm pushed; git push -q bare trunk
git -C "$HOST/bare.git" log --format=%s -1; git -C ../one pull -q ../two trunk; cat ../one/pushed
git gc -q; git fsck --strict; git count-objects | cut -d, -f1; find .git/objects -name '*.pack' | wc -l
git grep -c 100 -- src | sort; git archive HEAD | tar -tf - | wc -l
cd ..; diff -r --exclude=.git one two; git -C one reset -q --hard v1; git -C one clean -fdxq; git -C one ls-files -s | git hash-object --stdin
