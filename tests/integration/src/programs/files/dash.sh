exec dash -eu -c '
exec 5> log 6<> both
echo one >&5; (echo two; echo three) >&5; exec 5>&-
while read -r line; do echo "<$line>"; done < log
echo written >&6; exec 6>&-; cat both
cat << END > here
here $(wc -l < log) $((1 + 2))
END
cat here
echo err 2>&1 > out 1>&2 | cat
mkdir -p a/b; touch a/x1 a/x2 a/b/.hidden
echo a/* a/x? a/b/* a/b/.h* [hl]*
cd a/b; pwd; cd ..; pwd; cd - ; cd ../..; pwd -P
touch -d 2001-01-01 a/x1; test a/x2 -nt a/x1; ! test a/x1 -nt a/x2
ln here same; test here -ef same; ! test log -ef here
set -C; (echo x > here) 2> /dev/null && exit 1; echo y >| here; set +C; cat same
trap "echo trapped >> trace" USR1
kill -USR1 $$; kill -USR1 $$
wc -l < trace
(echo from a job > job1) & (exec > job2; echo from another) & wait
cat job1 job2
echo in | { read -r word; echo "$word" > word; }; cat word
umask 027; : > private; stat -c %A private
printf "echo sourced \${1-plain}\n" > script; . ./script; chmod +x script; sed -i "1i #!/bin/dash" script; ./script arg
trap "echo bye" EXIT
'
