#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# stunnel, one process whose threads serve, under another user, with keys on a
# token; it forks while they do, and is reloaded under load.
use strict;
use warnings;

use Test::More;
use P11::Conf;
use P11::Count;
use P11::Daemon;
use P11::Site;
use P11::Test;

needs(qw(stunnel4 openssl pkcs11-tool));
plan(skip_all => 'libssl was not found when this was configured')
    if !P11::Site::can_load();
my $site = P11::Site->new;
my $count = $site->count;
my $user = $site->give_to_worker;

# It reads these as the other user when it is reloaded.
my @keys = map { $site->key($_) } qw(rsa ec);
if (defined $user) {
    chown((getpwnam $user)[2, 3], $_->[1]) for @keys;
}

# Whom stunnel connects to. Its answer is the whole of HTTP here.
my $answer = 'HTTP/1.1 200 OK\r\n\r\nhere\n';
my $backend = free_port();
my $listens = start_server('backend', $^X, '-MIO::Socket::INET', '-e', <<'END',
    $SIG{PIPE} = 'IGNORE';
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $ARGV[0], Listen => 50, ReuseAddr => 1) or die $!;
    syswrite STDOUT, "listens\n";
    while (my $one = $listener->accept) {
        while (my $line = <$one>) { last if $line eq "\r\n" }
        print $one "HTTP/1.1 200 OK\r\n\r\nhere\n";
        close $one;
    }
END
    $backend);
wait_for(60, sub { -s $listens->{out} }) or die slurp($listens->{err});

# The second service runs a program for each client: stunnel forks for that.
my $program = spew(scratch() . '/answer', <<"END");
#!/bin/sh
while read -r line && [ "\${#line}" -gt 1 ]; do :; done
printf '$answer'
END
chmod 0755, $program;

sub stunnel {
    my ($name, $keys, @global) = @_;
    my $debug = scratch() . "/debug-$name";
    my $stunnel = P11::Daemon->new(
        name => "stunnel-$name", ports => scalar @$keys,
        env => $site->env(PKCS11_PROVIDER_DEBUG => "file:$debug,level:1"),
        ready => qr/Configuration successful/,
        complaint => qr/LOG[0-2]|pkcs11:|Configuration failed/);
    my $dir = $stunnel->dir;
    $stunnel->{debug} = spew($debug, '');
    if (defined $user) {
        chown((getpwnam $user)[2, 3], $debug);
        push @global, "setuid = $user",
            'setgid = ' . P11::Daemon::worker_group();
    }
    my $text = join("\n", 'foreground = yes', 'pid =', 'syslog = no',
                    'debug = 5', @global, '');
    for my $i (0 .. $#$keys) {
        $text .= P11::Conf::text('stunnel.conf',
            '[web]' => "[web$i]",
            'accept = 443' => 'accept = 127.0.0.1:' . $stunnel->port($i),
            'connect = 127.0.0.1:80' => $i ? "exec = $program"
                                           : "connect = 127.0.0.1:$backend",
            '/etc/stunnel/server.pem' => $keys->[$i][0],
            '/etc/stunnel/server.key' => $keys->[$i][1])
            . 'CAfile = ' . $site->ca->file . "\nverifyChain = yes\n";
    }
    spew("$dir/stunnel.conf", $text);
    $stunnel->set_command(have('stunnel4'), "$dir/stunnel.conf");
    return $stunnel;
}

my $stunnel = stunnel('server', \@keys);
my $calls = $count->during(sub {
    $stunnel->start or die $stunnel->log, "\n";
});
is_deeply($calls, {}, 'it starts without the token');
for my $row (['rsa', 0, '1_2'], ['rsa', 0, '1_3'], ['ec', 1, '1_2'],
             ['ec', 1, '1_3']) {
    my ($name, $i, $version) = @$row;
    $calls = $count->during(sub {
        ok($site->is_served($stunnel->port($i), $name, $version),
           "stunnel serves by the $name key, TLS $version");
    });
    is($calls->{C_Sign}, 1, 'which the token did');
}

# How often it has read its configuration.
sub configurations { return () = $stunnel->log =~ /Configuration successful/g }

# Each key is used, so that each is looked for. While stunnel makes its listening
# sockets anew, it may refuse.
sub uses_both {
    for my $row ([0, 'rsa'], [1, 'ec']) {
        my ($i, $name) = @$row;
        ok(wait_for(60, sub { $site->is_served($stunnel->port($i), $name) }),
           "… and serves by the $name key");
    }
    return 2;
}

my ($served, $all, $said);
my $reloads = 4;
my $more = 0;
$calls = $count->during(sub {
    # It closes its listening sockets meanwhile, and makes new ones.
    my $load = $site->start_load([map { $stunnel->port($_) } 0, 0, 1], 'retry');
    ok($site->goes_on(30), 'clients are served');
    for my $i (1 .. $reloads) {
        my $had = configurations();
        kill 'HUP', $stunnel->master;
        ok(wait_for(60, sub { configurations() > $had }), "reload $i");
        $more += uses_both();
        ok($site->goes_on(60), 'and it goes on');
    }
    ($served, $all, $said) = $site->finish_load($load);
});
ok($all, "none of $served handshakes was lost") or diag($said);
is($calls->{C_Sign}, $served + $more, 'one C_Sign for each');
is($calls->{C_SignInit}, $served + $more, 'after one C_SignInit');
is($calls->{C_Initialize}, undef, 'the module stays as it is, and')
    or diag(P11::Count::text($calls));
is($calls->{C_FindObjects}, 2 * $reloads, 'each load of a key finds it once')
    or diag(P11::Count::text($calls));
is_deeply([$stunnel->complaints], [], 'stunnel complained of nothing');

# ---- refusals

my $right = slurp($keys[0][1]);
spew($keys[0][1], slurp($keys[1][1]));
my $had = configurations();
kill 'HUP', $stunnel->master;
ok(wait_for(60, sub { $stunnel->log =~ /Failed to reload/ }),
   'reloaded with the reference of another key: that is refused')
    or diag($stunnel->log =~ /(LOG3\[ui.*)/s);
ok($site->is_served($stunnel->port, 'rsa'), 'and the key serves as before');
spew($keys[0][1], $right);
kill 'HUP', $stunnel->master;
ok(wait_for(60, sub { configurations() > $had }), 'the right one is taken');
ok(wait_for(60, sub { $site->is_served($stunnel->port, 'rsa') }), 'and serves');
is($stunnel->stop, 0, 'stunnel ends with exit status 0');

SKIP: {
    skip('not root: nobody is shut out', 5) if !defined $user;
    chmod 0700, $site->token->dir . '/tokens';
    my $shut = stunnel('shut', \@keys);
    ok($shut->start, 'stunnel starts where its user cannot get to the token');
    $calls = $count->during(sub {
        ok(!$site->is_served($shut->port, 'rsa'), 'and cannot serve');
    });
    is($calls->{C_Sign}, undef, 'nothing was signed');
    like(slurp($shut->{debug}),
         qr/error: .*C_Initialize says .* may this user read and lock/,
         'our log says why: stunnel leaves out the words');
    is($shut->stop, 0, 'and ends with exit status 0');
}
done_testing();
