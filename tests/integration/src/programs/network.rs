//! Programs that use the network: the host's run is in a network namespace of its own.

use super::*;

programs! { "network", network true, config None;
    "apache2" on TCP uses "apache2 curl setsid": "serves files and CGI with the prefork, worker and event modules, ten clients at once";
    "curl" on UNIX uses "curl python3 cmp": "fetches over HTTP, in parallel, and posts; sees refusals and errors";
    "dnsmasq" on TCP uses "dnsmasq dig": "answers dig over UDP, TCP and IPv6";
    "git_daemon" on UNIX uses "git cmp": "serves a repository that git clones, pushes to and pulls from over git://";
    "haproxy" on UNIX uses "haproxy python3 curl socat cmp": "balances two servers with two threads, relays TCP, obeys its control socket";
    "iperf3" on UNIX uses "iperf3 python3": "measures TCP (one and eight streams, both directions) and UDP";
    "lighttpd" on UNIX uses "lighttpd curl cmp": "serves files and CGI with epoll, poll and select";
    "mariadb" on UNIX uses "mariadbd mariadb": "makes a database, serves SQL with InnoDB and Aria, four writers at once, and keeps its data over a restart";
    "memcached" on TCP uses "memcached python3": "keeps the values of ten clients at once with four threads";
    "mosquitto" on TCP uses "mosquitto mosquitto_sub cmp": "carries messages to three listeners over MQTT, and keeps one over a restart";
    "nc" on ALL uses "nc.openbsd cmp": "carries files and lines over TCP, UDP, IPv6 and local sockets";
    "nc_traditional" on TCP uses "nc.traditional cmp rev": "carries a file, and runs a program behind a connection";
    "ncat" on UNIX uses "ncat curl python3 cmp": "carries a file, serves many over TCP and TLS, receives UDP, is an HTTP proxy";
    "nginx" on UNIX uses "nginx curl cmp": "serves files and a proxied server with three workers, a hundred requests at once, across a reload";
    "node" on UNIX uses "node": "serves and asks over HTTP, TCP, UDP and IPv6, fifty requests at once, with files and children";
    "perl" on UNIX uses "perl": "serves several with select, over TCP and UDP, and from a forked child";
    "postgres" on TCP uses "psql setpriv": "makes a cluster, serves psql (tables, indexes, four writers at once), and keeps its data over a restart";
    "python" on TCP uses "python3": "runs asyncio, selectors, socketserver, http.server and the managers and pools of multiprocessing";
    "redis" on UNIX uses "redis-server redis-cli redis-benchmark": "serves commands, a pipe, a subscriber and fifty clients at once; keeps its data over a restart";
    "rsync" on UNIX uses "rsync diff": "serves a module that is listed, fetched and brought up to date";
    "socat" on TCP uses "socat": "relays between TCP, UDP, IPv6, local sockets, programs, files and a pty";
    "ssh" on UNIX uses "ssh sshd socat cmp": "logs in to sshd on the rump network: a command, a pty, scp, sftp, forwarded ports both ways";
    "telnet" on ALL uses "telnet socat": "holds a conversation with a server, and is refused by none";
    "unbound" on UNIX uses "unbound dnsmasq dig": "resolves over UDP, TCP and IPv6 with two threads, and asks a server upstream";
    "wget" on TCP uses "wget python3 cmp": "fetches files and a whole tree over HTTP; sees refusals and errors";
}
