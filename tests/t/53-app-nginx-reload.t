#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# nginx is reloaded under load, with other keys and with wrong ones; no
# handshake is lost, and each costs the token one signature.
use strict;
use warnings;

use File::Copy ();
use Test::More;
use P11::Count;
use P11::Daemon;
use P11::Nginx;
use P11::Site;
use P11::Test;

needs(qw(nginx openssl pkcs11-tool));
plan(skip_all => 'libssl was not found when this was configured')
    if !P11::Site::can_load();
my $site = P11::Site->new;
my $count = $site->count;

# What nginx serves: files that change.
my @served = map { my $name = $_; [map { scratch() . "/server-$name.$_" }
                                       qw(pem key)] } qw(rsa ec);
sub serve {
    my ($i, $certificate, $key) = @_;
    File::Copy::copy($certificate, $served[$i][0]) or die "copy: $!\n";
    File::Copy::copy($key, $served[$i][1]) or die "copy: $!\n";
    return;
}
serve(0, @{ $site->key('rsa') });
serve(1, @{ $site->key('ec') });
$site->give_to_worker;

my $nginx = P11::Nginx->new(ca => $site->ca->file, keys => \@served,
                            env => $site->env);
$nginx->start or die $nginx->log, "\n";
ok($site->is_served($nginx->port(0), 'rsa'), 'nginx serves by RSA');
ok($site->is_served($nginx->port(1), 'ec', '1_2'), 'and by EC');
is($count->calls('C_Sign'), 2, 'with a signature of the token each');

# Load, what is done meanwhile, and the calls: two for each who was served, and
# some more for each worker that began to serve.
sub under_load {
    my ($name, $workers, $act) = @_;
    my ($served, $all, $said);
    my $more = 0;
    my ($calls, $vain) = $count->during_and_vain(sub {
        my $load = $site->start_load([map { $nginx->port($_) } 0, 1, 0]);
        ok($site->goes_on(30), "$name: clients are served");
        $more = $act->();
        ($served, $all, $said) = $site->finish_load($load);
    });
    ok($all, "$name: none of $served handshakes was lost") or diag($said);
    is($calls->{C_Sign}, $served + $more, 'one C_Sign for each');
    is($calls->{C_SignInit} - ($vain->{C_SignInit} // 0), $served + $more,
       'after one C_SignInit');
    P11::Site::begins_well($calls, $vain, $workers);
    return $served;
}

# ---- the same configuration again, and again

my $reloads = 5;
my $served = under_load('reloaded', 2 * ($reloads + 1), sub {
    for my $i (1 .. $reloads) {
        ok($nginx->reload, "reload $i");
        ok($site->goes_on(60), 'and it goes on');
    }
    return 0;
});
cmp_ok($served, '>=', 60 * $reloads, 'that was load');

# ---- other keys in the same files

my %new = (rsa => $site->add_key('new-rsa', 'rsa:3072'),
           ec => $site->add_key('new-ec', 'EC:secp384r1'));
$site->give_to_worker;
under_load('keys are replaced', 4, sub {
    serve(0, @{ $new{rsa} });
    serve(1, @{ $new{ec} });
    ok($nginx->reload, 'reloaded');
    ok($site->is_served($nginx->port(0), 'new-rsa', '1_3'), 'RSA: the new key');
    ok($site->is_served($nginx->port(1), 'new-ec', '1_2'), 'EC: the new key');
    $site->token->tool('--delete-object', '--type', 'privkey', '--id', $_)
        for map { $site->id($_) } qw(rsa ec);
    ok($site->goes_on(60), 'the old ones may be deleted, and it goes on');
    return 2;
});
is_deeply([$nginx->complaints], [], 'nginx complained of nothing');

# ---- a wrong configuration: the right one goes on

under_load('the key is of another certificate', 2, sub {
    my $had = length $nginx->log;
    serve(0, $site->key('rsa')->[0], $new{rsa}[1]);
    kill 'HUP', $nginx->master;
    ok(wait_for(60, sub { substr($nginx->log, $had)
                          =~ /\[emerg\].*key values mismatch/ }),
       'that is said, and nothing is replaced');
    ok($site->is_served($nginx->port(0), 'new-rsa'), 'the old one serves');
    return 1;
});

# A reference says which public key it is of.
serve(0, @{ $new{rsa} });
$site->token->tool('--delete-object', '--type', $_, '--label', 'new-ec')
    for qw(privkey pubkey);
$site->token->keypair('EC:secp384r1', 'new-ec', $site->id('new-ec'));
$site->give_to_worker;
ok($nginx->reload, 'a key on the token is another: reloaded');
my $calls = $count->during(sub {
    ok(!$site->is_served($nginx->port(1), 'new-ec'), 'that one serves nobody');
});
is($calls->{C_Sign}, undef, 'nothing was signed');
soon_like(sub { $nginx->log }, qr/public key differs:.*the key was replaced/,
          'nginx says what is wrong');
ok($site->is_served($nginx->port(0), 'new-rsa'), 'the other key serves');

is($nginx->stop, 0, 'nginx ends with exit status 0');
unlike($nginx->log, qr/exited on signal/, 'no worker crashed');
done_testing();
