# 50,000 files: made, counted, listed, found and removed.
mkdir many; cd many; seq 0 249 | xargs mkdir; for d in *; do printf "$d/%s\n" {1..200}; done | xargs touch; cd ..
find many -type f | wc -l; du --inodes -s many | cut -f 1; ls -U many/7 | wc -l; find many -type f -name 199 -delete; find many -mindepth 1 -maxdepth 1 -type d -links 2 | wc -l; rm -rf many; ls
