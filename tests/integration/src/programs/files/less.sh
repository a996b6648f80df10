seq 100 | gzip -n > packed.gz
seq 500 > n; less n | cksum; less -p 400 +G n < /dev/null | tail -n 1; zless packed.gz | tail -n 1; LESSOPEN='|tr 1 x < %s' less n | head -n 1; less -N n | tail -n 1 | tr -s ' '; less no-such 2> /dev/null || echo "less: $?"; less < n | wc -l; more n | wc -l
