# A repository with a program in it: cloned, checked, built in parallel, changed and brought back.
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git config --global user.name Someone; git config --global user.email someone@example.org; git config --global gc.autoDetach false; git config --global --add safe.directory '*'
git init -q -b trunk "$HOST/origin"; cd "$HOST/origin"; mkdir lib
for i in 1 2 3 4 5 6 7 8; do echo "int f$i(int n) { return n * $i; }" > lib/f$i.c; done
printf '#include <stdio.h>\nint f3(int), f8(int);\nint main(void) { return !printf("%%d\\n", f3(5) + f8(2)); }\n' > main.c
printf 'OBJECTS := $(patsubst %%.c,%%.o,$(wildcard lib/*.c))\nall: program\nprogram: main.o libf.a ; $(CC) -o $@ main.o libf.a\nlibf.a: $(OBJECTS) ; @rm -f $@; $(AR) rcs $@ $^\nclean: ; @rm -f program *.o *.a lib/*.o\n' > Makefile
git add .; git commit -qm first; for i in 1 2 3; do echo "// $i" >> lib/f$i.c; git commit -qam "change $i"; done; git checkout -q -b other HEAD~2; cd "$D"
git clone -q -b trunk "file://$HOST/origin" work; cd work; git fsck --strict 2>&1 | grep -v '^dangling' || true; git log --format=%H | head -n 1; git status --short
make -s -j 4; ./program; make -q && echo up to date; touch -d '+1 minute' lib/f3.c; make -n | grep -c 'f3.o'; make -s -j 4; "$PWD/program"; make -s clean; git status --short
echo 'int more;' >> main.c; git diff --stat; git commit -qam more; git switch -qc side; git mv lib/f8.c lib/eight.c; git commit -qm renamed; git rebase -q origin/other; git log --format=%s | sort | tr '\n' ' '; git push -q origin side; git -C "$HOST/origin" log -1 --format=%s side; git stash list; git gc -q; git fsck; git worktree add -q ../second trunk; ls ../second; cd ..
git clone -q work again; diff -r --exclude=.git work again && echo the same; git -C again fsck; rm -rf work again second; ls
