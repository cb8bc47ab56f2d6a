#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Python's ssl: sixteen threads that load keys at once, threads that sign, forks
# while they do, and a server of forked processes with threads, also with a
# module that aborts in another process than the one that initialised it.
use strict;
use warnings;

use File::Copy ();
use Test::More;
use P11::Count;
use P11::Daemon;
use P11::Site;
use P11::Test;

# The distribution's: another one may have a libssl of its own.
my $python = '/usr/bin/python3';
plan(skip_all => "$python is not installed") if !-x $python;
plan(skip_all => "$python has no ssl with OpenSSL 3")
    if run($python, '-c', 'import ssl; exit(ssl.OPENSSL_VERSION_INFO[0] != 3)')
        ->{status} != 0;
needs(qw(openssl pkcs11-tool));
my $site = P11::Site->new;
my $count = $site->count;
my @names = qw(rsa ec);
$site->add_key($_->[0], $_->[1]), push @names, $_->[0]
    for ['rsa3', 'rsa:3072'], ['ec384', 'EC:secp384r1'];
my @all = map { @{ $site->key($_) } } @names;
my %how = (env => $site->env(PYTHONWARNINGS => 'ignore'), timeout => 300);

sub tls { return ($python, top() . '/tests/data/tls.py', @_) }

# An act of tls.py: its calls, and how many handshakes it made.
sub act {
    my ($name, $act, @pairs) = @_;
    my $result;
    my $calls = $count->during(sub {
        $result = ok_run(\%how, $name, tls($act, $site->ca->file, @pairs));
    });
    my ($n) = $result->{out} =~ /^(\d+)$/m;
    return ($calls, $n // 0);
}

my ($calls, $n) = act('16 threads load references at once', 'loads', @all);
is_deeply($calls, {}, 'which takes no token');

for my $row (['one RSA key', 'rsa'], ['one EC key', 'ec'], ['four', @names]) {
    my ($what, @some) = @$row;
    ($calls, $n) = act("16 threads begin at once and share: $what", 'threads',
                       map { @{ $site->key($_) } } @some);
    is($n, 80, '80 handshakes');
    # Each end signs.
    is($calls->{C_Sign}, 2 * $n, 'two signatures each');
    is($calls->{C_SignInit}, 2 * $n, 'and no more');
    is($calls->{C_Login}, 1, 'one login') or diag(P11::Count::text($calls));
}

SKIP: {
    skip("a sanitizer's allocator does not survive a fork while other "
         . 'threads allocate', 6) if sanitizer();
    for my $name (qw(rsa ec)) {
        ($calls, $n) = act("$name: children, forked between signatures",
                           'fork', @{ $site->key($name) });
        cmp_ok($n, '>', 30, 'all shake hands');
        is($calls->{C_Sign}, 2 * $n, 'two signatures each')
            or diag(P11::Count::text($calls));
    }
}

my $bundle = $site->bundle('ec');
($calls, $n) = act('certificate and reference may be in one file', 'threads',
                   $bundle, $bundle);
is($calls->{C_Sign}, 2 * $n, 'and the token signs');

# ---- a server of two processes

sub server {
    my ($act) = @_;
    my $server = P11::Daemon->new(name => 'python', env => $site->env,
                                  complaint => qr/SSL|Error|another process/);
    $server->set_command(tls("$act:" . $server->port, $site->ca->file,
                             @{ $site->key('ec') }));
    $server->start or die $server->log, "\n";
    return $server;
}

sub serves {
    my ($name, $server) = @_;
    ok($site->is_served($server->port, 'ec', '1_2'), "$name serves openssl");
    my ($served, $all, $said);
    my $calls = $count->during(sub {
        my $load = $site->start_load([($server->port) x 3]);
        ok($site->goes_on(200), 'and many');
        ($served, $all, $said) = $site->finish_load($load);
    });
    ok($all, "none of $served handshakes was lost") or diag($said);
    is($calls->{C_Sign}, $served, 'with a signature each');
    is($server->stop, 0, 'it ends with exit status 0');
    my @complaints = grep { !/EOF/ } $server->complaints;
    is_deeply(\@complaints, [], 'and complained of nothing');
    return;
}

SKIP: {
    skip('libssl was not found when this was configured', 17)
        if !P11::Site::can_load();
    serves('a parent that has signed', server('used'));
    # With a module that does not survive a fork the parent must not have.
    my $counted = $count;
    $count = $site->count_with(owner => 1);
    serves('a parent that has loaded', server('loaded'));
    my $server = server('used');
    my $signed = $count->calls('C_Sign');
    ok(!$site->is_served($server->port, 'ec'), 'it has: nobody is served');
    ok(wait_for(60, sub { $server->log =~ /C_\w+ in another process/ }),
       'the module has ended a child') or diag($server->log);
    is($count->calls('C_Sign'), $signed, 'nothing was signed');
    is($server->stop, 0, 'the parent ends with exit status 0');
    $count = $counted;
}

# ---- refusals

fails_with(\%how, 'the reference of another key is refused',
           qr/KEY_VALUES_MISMATCH|key values mismatch/i,
           tls('threads', $site->ca->file, $site->key('rsa')->[0],
               $site->key('rsa3')->[1]));
my $wrong = spew(scratch() . '/wrong-pin', "9999\n");
chmod 0600, $wrong;
my %wrong = %how;
$wrong{env} = { %{ $how{env} }, OPENSSL_CONF =>
    $count->token->write_conf(file => 'wrong.cnf', settings =>
        { 'pkcs11-module-token-pin' => "file:$wrong" }),
    PKCS11_PROVIDER_DEBUG => "file:$wrong.log,level:1" };
$calls = $count->during(sub {
    fails_with(\%wrong, 'a wrong PIN is an exception in all threads',
               qr/^ssl\.SSLError: /m,
               tls('threads', $site->ca->file, @{ $site->key('ec') }));
});
like(slurp("$wrong.log"), qr/error: CKR_PIN_INCORRECT: /,
     'our log says why: Python shows the last error, which is libssl\'s');
is($calls->{C_Login}, 1, 'the token was shown it once');
is($calls->{C_Sign}, undef, 'nothing was signed');

done_testing();
