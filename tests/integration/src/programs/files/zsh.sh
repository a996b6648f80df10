exec zsh -efu -c '
setopt extended_glob null_glob multios; setopt glob
mkdir -p d/{a,b}/c; for i in {1..12}; do print $i > d/f$i.txt; done; chmod +x d/f3.txt; ln -s f1.txt d/link; : > d/empty
print d/*.txt(n); print d/*(*); print d/*(@); print d/**/*(/); print d/*(L0.); print d/f<5-8>.txt; print d/*~*.txt; print d/f*(om[1]N:t) | wc -w; print -l d/*.txt(.:t:r) | sort -n | tail -n 1
print several > one > two; cat one two; cat < one < two; print to a pipe and a file > three | tr a-z A-Z; cat three; diff =(sort one) <(sort two) && print same; print -u2 err 2> four; cat four; x=$(<one); print $x; read -r y < two; print $y; cat <<< here > here; print >> here added; wc -l < here
zmodload zsh/stat zsh/files zsh/system; zstat -H s d/f1.txt; print $s[size] $s[nlink]; zf_mkdir e; zf_ln -s one e/l; zf_mv two e/; zf_rm -r e; [[ -e e ]] || print gone; sysopen -r -u fd one; sysread -i $fd z; print -n $z; exec {fd}<&-; zmodload zsh/mapfile; mapfile[made]="by mapfile"; cat made; print; print ${mapfile[one]}
autoload -Uz zmv; zmv "d/f(*).txt" "d/\$1.md"; print d/*.md(n); pushd d/a; dirs | wc -w; popd -q; cd d/a/c; print ${PWD:t}; cd -q ../..; print ${PWD:t}; cd ..; coproc cat; print -p via; read -p v; print $v; trap "print bye" EXIT; print "print sourced \$0" > src; . ./src; [[ d/a -nt one || -f one && ! one -ef three ]] && print tests; zcompile src; ls src*'
