//! Programs that use the network: the host's run is in a network namespace of its own.

use super::*;

programs! { "network", network true;
    "curl" on UNIX uses "curl python3 cmp": "fetches over HTTP, in parallel, and posts; sees refusals and errors";
    "git_daemon" on UNIX uses "git cmp": "serves a repository that git clones, pushes to and pulls from over git://";
    "iperf3" on UNIX uses "iperf3 python3": "measures TCP (one and eight streams, both directions) and UDP";
    "nc" on ALL uses "nc.openbsd cmp": "carries files and lines over TCP, UDP, IPv6 and local sockets";
    "nc_traditional" on TCP uses "nc.traditional cmp rev": "carries a file, and runs a program behind a connection";
    "ncat" on UNIX uses "ncat curl python3 cmp": "carries a file, serves many over TCP and TLS, receives UDP, is an HTTP proxy";
    "perl" on UNIX uses "perl": "serves several with select, over TCP and UDP, and from a forked child";
    "socat" on TCP uses "socat": "relays between TCP, UDP, IPv6, local sockets, programs, files and a pty";
    "ssh" on UNIX uses "ssh sshd socat cmp": "logs in to sshd on the rump network: a command, a pty, scp, sftp, forwarded ports both ways";
    "telnet" on ALL uses "telnet socat": "holds a conversation with a server, and is refused by none";
    "wget" on TCP uses "wget python3 cmp": "fetches files and a whole tree over HTTP; sees refusals and errors";
}
