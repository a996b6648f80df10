export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
tree from "$(few 20 500)"
git -C from init -q
git -C from add .
git -C from commit -qm 'all of it'
case $1 in
clone) start; git clone -q --no-local from to; took; test -d to/.git ;;
status) start; for _ in 1 2 3; do git -C from status --porcelain; done; took ;;
esac
