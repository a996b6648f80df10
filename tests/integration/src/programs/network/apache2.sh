mkdir www
seq 1 50000 > www/data
echo hello from apache > www/index.html
printf '#!/bin/sh\n%s\n' 'printf "Content-Type: text/plain\r\n\r\n"; echo "$QUERY_STRING: $(cat)"' > "$HOST/run.cgi"
chmod 755 "$HOST" "$HOST/run.cgi"
modules=/usr/lib/apache2/modules
for mpm in prefork worker event; do
  cat > "$HOST/conf" << END
ServerRoot $HOST
ServerName localhost
DefaultRuntimeDir $HOST
PidFile $HOST/pid
ErrorLog $HOST/error
Listen 127.0.0.1:7001
Listen [::1]:7001
LoadModule mpm_${mpm}_module $modules/mod_mpm_$mpm.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule dir_module $modules/mod_dir.so
LoadModule alias_module $modules/mod_alias.so
LoadModule $(test $mpm = prefork && echo cgi_module $modules/mod_cgi.so || echo cgid_module $modules/mod_cgid.so)
DocumentRoot $D/www
StartServers 3
ScriptAlias /run $HOST/run.cgi
<Directory />
Require all granted
</Directory>
END
  # A session of its own: apache2 signals its whole process group.
  setsid apache2 -D FOREGROUND -f "$HOST/conf" & server=$!
  up 7001 $server
  url=http://127.0.0.1:7001
  curl -sS $url/ 'http://[::1]:7001/'
  curl -sS -d 'the body' "$url/run?$mpm"
  curl -sS -o /dev/null -w '%{http_code}\n' $url/none
  fetchers=
  for n in 1 2 3 4 5 6 7 8 9 10; do curl -sS $url/data $url/data > got.$n & fetchers="$fetchers $!"; done
  wait $fetchers
  cat got.* | cksum
  kill $server
  wait $server
done
