cat > server.pl << 'END'
use strict; use warnings; use IO::Socket::INET; use IO::Select;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 7001, Listen => 5, ReuseAddr => 1) or die;
my $set = IO::Select->new($listener);
my $ended = 0;
# One connection is the probe of the script.
while ($ended < 4 and my @ready = $set->can_read) {
    for my $one (@ready) {
        if ($one == $listener) { $set->add($one->accept) }
        elsif (defined(my $line = <$one>)) { chomp $line; print $one scalar reverse($line), "\n" }
        else { $set->remove($one); close $one; $ended++ }
    }
}
END
perl server.pl & server=$!
up 7001 $server
perl -MIO::Socket::INET -we 'for (qw(one two three)) { my $s = IO::Socket::INET->new("127.0.0.1:7001") or die; print $s "$_\n"; print scalar <$s> }'
wait $server

cat > both.pl << 'END'
use strict; use warnings; use IO::Socket::IP; use Socket;
my $in = IO::Socket::IP->new(LocalHost => '::1', Proto => 'udp', Type => SOCK_DGRAM) or die $!;
my $out = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $in->sockport, Type => SOCK_DGRAM) or die $!;
$out->send("a datagram\n");
$in->recv(my $got, 100);
print $got;
my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 1) or die;
my $child = fork // die;
if (!$child) { print { $listener->accept } 'x' x 100000, "\nfrom the child\n"; exit 3 }
my $client = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $listener->sockport) or die $!;
my @lines = <$client>;
waitpid $child, 0;
print length $lines[0], ' ', $lines[1], $? >> 8, "\n";
END
perl both.pl
