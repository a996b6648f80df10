git config --global user.name a
git config --global user.email a@example.org
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
git init -q -b main work
cd work
seq 1 5000 > data
git add data
git commit -qm one
git clone -q --bare . ../served.git
git daemon --listen=127.0.0.1 --port=7001 --base-path="$D" --export-all --enable=receive-pack --reuseaddr 2> ../log & daemon=$!
up 7001 $daemon
cd ..
git clone -q git://127.0.0.1:7001/served.git clone
cmp work/data clone/data
cd clone
echo more >> data
git commit -qam two
git push -q origin main
git ls-remote origin
cd ../work
git pull -q git://127.0.0.1:7001/served.git main
git log --oneline
tail -n 1 data
git fsck
! git ls-remote git://127.0.0.1:7001/none.git 2> /dev/null || exit 1
kill $daemon
