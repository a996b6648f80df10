printf '#include <stdio.h>\n#include <stdlib.h>\nint main(int count, char **words) { FILE *file = fopen("made", "w"); fprintf(file, "%%d by musl\\n", count); fclose(file); printf("%%s %%s\\n", words[1], getenv("GREETING")); return 7; }\n' > text.c
folder=$HOST; musl-gcc -o "$folder/dynamic" text.c; musl-gcc -static -o "$folder/static" text.c; musl-gcc -o here text.c
for program in "$folder/dynamic" "$folder/static" "$PWD/here"; do (cd "$folder"; GREETING=hello "$program" words || echo "ended with $?"; cat made; rm made); done
env GREETING=env sh -c 'cd "$0"; exec ./dynamic exec' "$folder" || echo "ended with $?"; cat "$folder/made" > copy; cat copy
