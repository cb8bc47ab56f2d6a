#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The budgets of 60-budget-calls again: however many objects there are, with the
# token in another process, and in a server that serves.
use strict;
use warnings;

use Test::More;
use P11::Budget;
use P11::Cert;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my $ec = $token->keypair('EC:prime256v1', 'ec', '02');

sub private { return $_[0]->uri(id => $_[1], type => 'private') }

# ---- a server, in TLS 1.3, after its first handshake

my %prepare = (env => $token->conf_env(file => 'prepare.cnf'));
my $ca = P11::Cert->new;
for my $row (['rsa', $rsa], ['ec', $ec]) {
    my ($name, $uri) = @$row;
    my $certificate = $ca->issue($name, "$uri;type=private", \%prepare);
    my $key = reference($token, "$uri;type=private", $name);
    my $count = P11::Count->new($token);
    my $port = free_port();
    my $server = start_server({ env => {
            OPENSSL_MODULES => builddir() . '/.libs',
            %{ $count->token->conf_env(file => "$name.cnf") } } },
        "s_server-$name", have('openssl'), qw(s_server -quiet -tls1_3),
        '-accept', "127.0.0.1:$port", '-cert', $certificate, '-key', $key);
    # Its first handshake opens the token; it is asked again until it serves.
    my $shake = sub {
        return openssl($ca->plain, qw(s_client -tls1_3 -verify_return_error),
            '-connect', "127.0.0.1:$port", '-CAfile', $ca->file);
    };
    ok(wait_for(60, sub { $shake->()->{status} == 0 }), "a server, $name");
    my $good = 0;
    my $calls = $count->during(sub {
        $good += $shake->()->{status} == 0 ? 1 : 0 for 1 .. 5;
    });
    is($good, 5, 'five handshakes');
    is_budget("five TLS 1.3 handshakes of a running server, $name", $calls,
              10, 10);
    is_deeply($calls, { C_SignInit => 5, C_Sign => 5 }, 'all are signatures');
    stop_server($server);
}

# ---- the token is in another process

SKIP: {
    my $why = P11::Token->missing('P11KitRemote');
    skip($why, 1) if defined $why;
    skip('p11-kit cannot start where a sanitizer is preloaded', 1)
        if defined $ENV{P11_SANITIZER_RUNTIME};
    my $remote = P11::Token->make('P11KitRemote');
    $remote->keypair('rsa:2048', 'rsa', '01');
    $remote->keypair('EC:prime256v1', 'ec', '02');
    my ($rsa_id, $ec_id) = map { private($remote, $_) } '%01', '%02';
    my $on = "load=$rsa_id";
    my $ref = reference($remote, $ec_id, 'remote');
    # No key agreement: p11-kit 0.24 does not pass it on. A child logs in, for
    # its connection is its own, and closes its session at its end.
    for my $row (
        ['an RSA signature', [$on, 'sign'], ['sign=10'], 20, 20],
        ['an RSA-PSS signature', [$on, 'pss', 'sign'], ['sign=10'], 20, 20],
        ['an ECDSA signature', ["load=$ec_id", 'sign'], ['sign=10'], 20, 20],
        ['an RSA decryption', [$on, 'decrypt'], ['decrypt=10'], 20, 20],
        ['encryption', [$on, 'sign'], ['encrypt=10'], 0, 0],
        ['verification', ["load=$ec_id", 'sign'], ['verify=10'], 2, 2],
        ['loading by id', [$on, 'sign'], ["load=$ec_id"], 5, 6],
        ['a reference at first', [], ["load=$ref"], 0, 0],
        ['freeing a key', [$on, 'sign'], ['free'], 0, 0],
        ['ten children, to the first signature', ["load=$ec_id", 'sign'],
         ['fork=10', '[', 'sign', ']'], 120, 120],
    ) {
        my ($name, $before, $act, $want, $budget) = @$row;
        is_budget("remote: $name", calls_of($remote, $before, $act), $want,
                  $budget);
    }
}

# ---- many objects

my $objects = 0;
for my $n (10, 1000, $ENV{P11_LONG} ? 5000 : ()) {
    # Their labels and ids come more than once: none is asked for.
    ok_run({ env => $token->env, timeout => 600 }, "$n objects and some",
           builddir() . '/tests/c/many_key', $token->module, $token->label,
           $token->pin, 'pair', ($n - $objects) / 2);
    $objects = $n;
    my ($rsa_id, $ec_id) = map { private($token, $_) } '%01', '%02';
    my $on = "load=$rsa_id";
    for my $row (
        ['loading by id', [$on, 'sign'], ["load=$ec_id"], 5, 6],
        ['loading by label', [$on, 'sign'],
         ['load=' . $token->uri(object => 'ec', type => 'private')], 5, 6],
        ['an ECDSA signature', ["load=$ec_id", 'sign'], ['sign=10'], 20, 20],
        ['a child, to its first signature', ["load=$ec_id", 'sign'],
         ['fork=1', '[', 'sign', ']'], 11, 12],
    ) {
        my ($name, $before, $act, $want, $budget) = @$row;
        is_budget("$n objects: $name", calls_of($token, $before, $act), $want,
                  $budget);
    }
    my $count = P11::Count->new($token);
    ok_openssl({ env => $count->token->conf_env }, 'pkeyutl', 'pkeyutl',
               '-sign', '-inkey', $ec_id, '-in', spew("$dir/data", 'x' x 32),
               '-out', "$dir/sig");
    is_budget("$n objects: openssl pkeyutl -sign", $count->read, 16, 20);
}
note('P11_LONG=1 tries 5000 objects, too') if !$ENV{P11_LONG};

tell_figures();
done_testing();
