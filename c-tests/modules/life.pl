# Perl's Net::SSLeay, whose module brings libssl in: handshakes over memory, with callbacks. Prints
# the same on stock and on sesscache, but for the line `declined` where 0 from new_cb removes.
# Run by modules.sh.
use strict;
use warnings;
use Net::SSLeay;

Net::SSLeay::initialize();

my $TLS1_2 = 0x0303;
my @events;
my $keeps = 1;

sub context {
    my $ctx = Net::SSLeay::CTX_new_with_method(Net::SSLeay::TLS_method()) or die;
    Net::SSLeay::CTX_set_min_proto_version($ctx, $TLS1_2);
    Net::SSLeay::CTX_set_max_proto_version($ctx, $TLS1_2);
    Net::SSLeay::CTX_set_options($ctx, Net::SSLeay::OP_NO_TICKET());
    return $ctx;
}

# A full handshake or a resumption in memory; the client's session is the caller's.
sub connect_ends {
    my ($server_ctx, $client_ctx, $session) = @_;
    my ($server, $client) = (Net::SSLeay::new($server_ctx), Net::SSLeay::new($client_ctx));
    my ($server_in, $server_out, $client_in, $client_out) =
        map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) } 1 .. 4;

    Net::SSLeay::set_bio($server, $server_in, $server_out);
    Net::SSLeay::set_bio($client, $client_in, $client_out);
    Net::SSLeay::set_accept_state($server);
    Net::SSLeay::set_connect_state($client);
    Net::SSLeay::set_session($client, $session) if $session;
    for (1 .. 5) {
        Net::SSLeay::do_handshake($client);
        pass($client_out, $server_in);
        Net::SSLeay::do_handshake($server);
        pass($server_out, $client_in);
    }
    my $reused = Net::SSLeay::session_reused($server);
    my $got = Net::SSLeay::get1_session($client);
    Net::SSLeay::set_shutdown($_, 3) for $server, $client;    # both said goodbye
    Net::SSLeay::free($_) for $server, $client;
    return ($reused, $got);
}

sub pass {
    my ($from, $to) = @_;
    while (my $pending = Net::SSLeay::BIO_pending($from)) {
        Net::SSLeay::BIO_write($to, Net::SSLeay::BIO_read($from, $pending));
    }
}

sub stats {
    my ($ctx) = @_;
    my $text = sprintf "number %d hits %d misses %d accept %d",
        map { $_->($ctx) } \&Net::SSLeay::CTX_sess_number, \&Net::SSLeay::CTX_sess_hits,
        \&Net::SSLeay::CTX_sess_misses, \&Net::SSLeay::CTX_sess_accept;
    my $events = @events ? " (@events)" : "";
    @events = ();
    return $text . $events . "\n";
}

my ($server, $client) = (context(), context());
Net::SSLeay::CTX_use_certificate_file($server, "certificate.pem", 1) or die;
Net::SSLeay::CTX_use_PrivateKey_file($server, "key.pem", 1) or die;
Net::SSLeay::CTX_set_session_id_context($server, "perl", 4) or die;
Net::SSLeay::CTX_sess_set_new_cb($server, sub { push @events, "new"; return $keeps });
Net::SSLeay::CTX_sess_set_remove_cb($server, sub { push @events, "remove" });

my ($reused, $session) = connect_ends($server, $client);
print "full: $reused ", stats($server);
($reused) = connect_ends($server, $client, $session);
print "resumed: $reused ", stats($server);
Net::SSLeay::CTX_flush_sessions($server, 0) if defined &Net::SSLeay::CTX_flush_sessions;
print "flushed: ", stats($server);

# Clause 3 tells whose cache it is.
$keeps = 0;
my $before = Net::SSLeay::CTX_sess_number($server);
($reused) = connect_ends($server, $client);
print "declined: ", Net::SSLeay::CTX_sess_number($server) - $before, " (@events)\n";
Net::SSLeay::CTX_free($client);
Net::SSLeay::CTX_free($server);
