#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Many threads: at first use, with one key, and with fewer sessions than
# threads.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my @ec = map { $token->keypair('EC:prime256v1', "ec$_", "1$_") } 0 .. 3;
my @ref = map { reference($token, $ec[$_], "ref$_") } 0 .. 3;
my $count = P11::Count->new($token);
my $counted = $count->token;
my %how = (env => $counted->conf_env);

# --- first use ---

my $cnf = $counted->write_conf(file => 'context.cnf');
my @firsts = (
    ['one URI', "load=$ec[0]"],
    ['different URIs', "load=@ec $rsa"],
    ['one reference', "load=$ref[0]"],
    ['different references', "load=@ref"],
    ['URIs and references', "load=@ec $rsa @ref"],
);
for my $row (@firsts) {
    my ($name, $load) = @$row;
    my $calls = $count->during(sub {
        ok_every_time(\%how, 5, "16 threads, first use of $name", 'in=16',
                      '[', $load, qw(sign=3 free ]));
    });
    is($calls->{C_Sign}, 5 * 16 * 3, "$name: all in the token");
    is($calls->{C_Initialize}, 5, "$name: C_Initialize once a process");
    is($calls->{C_Login}, 5, "$name: C_Login once a process");
    cmp_ok($calls->{C_OpenSession}, '<=', 5 * 16,
           "$name: no more than a session a thread");
}
ok_every_time(\%how, 3, '16 threads with a library context each', 'in=16',
              '[', "context=$cnf", '[', "load=@ec $rsa", qw(sign=2 free ] ]));
use_key_fails(\%how, 'a thread that finds no key is noticed',
              qr/no private key matches/, 'in=16', '[',
              "load=$ec[0] $ec[1] " . $token->uri(object => 'other'),
              qw(sign free ]));

# --- one key ---

for my $row (['RSA', $rsa, 10], ['EC', $ec[0], 40]) {
    my ($name, $uri, $n) = @$row;
    my $calls = $count->during(sub {
        ok_use_key(\%how, "16 threads sign with one $name key", "load=$uri",
                   'in=16', '[', "sign=$n", ']', 'free');
    });
    is($calls->{C_Sign}, 16 * $n, 'as often as they should');
    cmp_ok($calls->{C_OpenSession}, '<=', 16, 'in a session a thread');
}
ok_use_key(\%how, '16 threads agree by one key', "load=$ec[0]", 'in=16', '[',
           qw(derive=10 verify=5 ]));
ok_use_key(\%how, 'a key is freed by the last of 16 threads', "load=$ec[0]",
           'in=16', '[', qw(sign free ]), 'free');

# --- few sessions ---

for my $limit (1, 2) {
    my %few = (env => $counted->conf_env(file => "few$limit.cnf",
        settings => { 'pkcs11-module-max-sessions' => $limit }));
    for my $row (['one key', "load=$ec[0]"],
                 ['all', "load=@ec $rsa @ref"]) {
        my ($name, $load) = @$row;
        my $calls = $count->during(sub {
            ok_use_key(\%few, "16 threads, max-sessions $limit: $name",
                       'in=16', '[', $load, qw(sign=10 free ]));
        });
        is($calls->{C_Sign}, 160, 'all in the token');
        cmp_ok($calls->{C_OpenSession}, '<=', $limit,
               "never more than $limit open");
        is($calls->{C_Login}, 1, 'one login');
    }
    ok_use_key(\%few, "max-sessions $limit, fork", "load=$ec[0]", 'sign',
               'fork=8,4', '[', qw(in=4 [ sign=5 ] ] sign));
}

done_testing();
