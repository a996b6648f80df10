# The system's own documentation: copied with cp and rsync, there and back, without a difference.
shape() { (cd "$1"; find . ! -type d -printf '%p %y %m %U:%G %n %l %s %Ts\n' | sort | cksum; find . -type d -printf '%p %m %U:%G %Ts\n' | sort | cksum); }
cp -a /usr/share/doc doc; shape /usr/share/doc > before; shape doc | diff before - && echo copied; diff -r --no-dereference /usr/share/doc doc && echo the same; test "$(du -s --inodes doc | cut -f 1)" -gt 10 && echo counted
rsync -aH --checksum doc/ "$HOST/there/"; rm -rf doc; rsync -aH --checksum "$HOST/there/" back/; rsync -aHn --checksum --delete --itemize-changes "$HOST/there/" back/ | grep . || echo nothing to do; shape back | diff before - && echo by rsync; rm -rf "$HOST/there"
rm -rf back before; ls
