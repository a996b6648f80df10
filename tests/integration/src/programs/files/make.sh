# A small program with a library and a generated header: built by make, in parallel, looked at, changed and built again, and run from there.
mkdir -p src lib include
cat > src/main.c <<'END'
#include <stdio.h>
#include <unistd.h>
#include "made.h"
int square(int);
int main(int argc, char **argv) { char cwd[4096]; printf("%s %d %d in %s\n", MADE, square(argc), argc > 1, getcwd(cwd, sizeof cwd) ? "a folder" : "nowhere"); return argc > 2 ? execv(argv[2], argv + 2) : 0; }
END
for i in 1 2 3 4 5 6; do echo "int f$i(void) { return $i; }" > lib/f$i.c; done; echo 'int square(int n) { return n * n; }' > lib/square.c
cat > Makefile <<'END'
CFLAGS = -O1 -g -Iinclude -MMD
LIB := $(patsubst %.c,%.o,$(wildcard lib/*.c))
all: app static libsquare.so
app: src/main.o libsquare.a ; $(CC) -o $@ $^
static: src/main.o libsquare.a ; $(CC) -static -o $@ $^
libsquare.a: $(LIB) ; @rm -f $@; $(AR) rcs $@ $^
libsquare.so: lib/square.c ; $(CC) -shared -fPIC -o $@ $<
src/main.o: include/made.h
include/made.h: Makefile ; @echo '#define MADE "made"' > $@
clean: ; @rm -f app static *.a *.so src/*.[od] lib/*.[od] include/made.h
.PHONY: all clean
-include src/main.d
END
make -s -j 4; make -q all; ./app; ./app x "$D/app" one; "$D/app"; sh -c ./app; (cd src && ../app); PATH=$D app; ls -1 . lib src; make | tail -n 1; touch lib/f3.c; make -n | grep -c f3; make -s; touch -d '+1 hour' include/made.h; make -n 2> /dev/null | grep -c main; make -k none 2> /dev/null || echo "make: $?"
ar t libsquare.a; ar x libsquare.a square.o; nm square.o | cut -d ' ' -f 2-; ar d libsquare.a f1.o; ranlib libsquare.a; nm -s libsquare.a | grep -c ' in '; ld -r -o both.o square.o lib/f2.o; size both.o | awk 'NR == 2 { print $1 > 0 }'; objdump -d square.o | grep -c imul; readelf -s app | grep -c square; objcopy -O binary -j .text square.o text; test -s text; strings -n 4 app | grep -x made; addr2line -fe app "$(nm app | awk '$3 == "square" { print $1 }')" | head -n 1; before=$(stat -c %s app); cp app stripped; strip stripped; test "$(stat -c %s stripped)" -lt "$before"; ./stripped; strip -g -o partly app; ./partly
cat > use.c <<'END'
#include <dlfcn.h>
#include <stdio.h>
int main(void) { void *lib = dlopen("./libsquare.so", RTLD_NOW); if (!lib) return puts(dlerror()), 1; printf("%d\n", ((int (*)(int))dlsym(lib, "square"))(12)); return dlclose(lib); }
END
gcc -save-temps -o use use.c; ./use; ls use*; gcc -shared -fPIC -o libcube.so -x c - <<< 'int cube(int n) { return n * n * n; }'; gcc -x c - -o linked -L. -lcube -Wl,-rpath,"$HOST" <<< 'int cube(int); int main(void) { return cube(3); }'; ./linked 2> /dev/null || echo "linked: $?"; cp libcube.so "$HOST"; ./linked || echo "linked: $?"
gcc -c missing.c 2> /dev/null || echo "gcc: $?"; echo 'int x = ;' > bad.c; gcc -c bad.c 2> err || grep -c error: err; gcc -M src/main.c -Iinclude | grep -c made.h; gcc -E src/main.c -Iinclude -o out.i; gcc -S out.i -o out.s; as out.s -o out.o; gcc out.o square.o -o by-steps; ./by-steps; TMPDIR=$D gcc -o app2 src/main.c square.o -Iinclude; ./app2; gcc -flto -O2 -Iinclude src/main.c lib/square.c -o lto; ./lto; make -s clean; ls | wc -l
