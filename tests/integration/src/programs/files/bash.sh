# Redirections of every form, substitution, globs, job control and traps, in a script.
shopt -s extglob nullglob globstar
exec 5<> both; echo first >&5; echo second >&5; exec 6< both; read -r line <&6; echo "$line"; read -r line <&6; echo "$line"; exec 5>&- 6<&-
exec {number}> auto; echo "to $((number > 9))" >&$number; exec {number}>&-; cat auto; ls no-such &> all || true; wc -l < all; { echo out; echo err >&2; } > split 2>> split; cat split; echo clobber >| split; (set -C; echo x > split) 2> /dev/null || echo kept
cat <<< "here string" > string; cat string; cat << 'RAW' > raw; cat << COOKED > cooked
$D
RAW
$((6 * 7)) $(cat string) ${D##*/}
COOKED
cat raw cooked
diff <(sort both) <(sort -r both) | grep -c '^[<>]'; tee >(wc -c > count) < both > /dev/null; until test -s count; do :; done; cat count; mapfile -t lines < both; echo "${#lines[@]} ${lines[1]}"; read -r -d '' all < raw || echo "${all/$D/folder}"; echo "$(< auto)"
mkdir -p d/e/f; touch d/{a,b,c}.txt d/e/x.log d/e/f/deep.txt; echo d/*.txt; echo **/*.txt; echo d/!(a*|e); echo none*; echo d/?(z)e; for file in d/*; do [[ -d $file ]] && echo "folder $file"; done; compgen -f d/ | sort; compgen -d d/
[[ both -ef ./both && -s both && ! -e none && -r both && -O both && d -nt no-such && -p <(:) ]] && echo tests; cd d; pushd e > /dev/null; dirs -p | sed "s|.*/bash|bash|"; popd > /dev/null; cd -P ./e/..; echo "${PWD#"$D"}"; cd - > /dev/null; CDPATH=$D/d; cd e > /dev/null; pwd; unset CDPATH; cd "$D"
while read -r a b; do echo "$b $a"; done < <(printf '1 2\n3 4\n') > swapped; cat swapped; while read -r -u 7 line; do echo "7: $line"; done 7< swapped; printf '%s\n' {1..3} | { read -r x; cat > rest; echo "$x"; }; cat rest; echo "$(cat < both | tr a-z A-Z | tee upper)"; cmp upper <(tr a-z A-Z < both)
set -m; sleep 100 < both & sleeper=$!; set +m; state() { until [[ $(ps -o stat= -p $sleeper) == $1* ]]; do :; done; }; kill -STOP $sleeper; state T; kill -CONT $sleeper; state S; kill $sleeper; wait $sleeper 2> /dev/null || echo "job: $?"
(trap 'echo caught >> caught' USR1; kill -USR1 $BASHPID; echo after >> caught); cat caught; (trap 'rm -f lock' EXIT; touch lock; test -e lock); test ! -e lock; coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"; eval "exec ${COPROC[1]}>&-"; wait
(cd d && (cd e && (cd f && pwd; ls) ; pwd); ls); (exec < both; read -r x; echo "$x"); (umask 077; echo > mine; stat -c %a mine); printf '#!/bin/bash\necho "$0 got ${1-} from ${2-nobody}"; cat\n' > d/script; chmod +x d/script; d/script one two < both; PATH=$D/d script three | head -n 1; type -P d/script; source d/script < auto arg; exec -a renamed bash -c 'echo $0; cat both; exec >> both; echo appended; exec cat < both > last'
