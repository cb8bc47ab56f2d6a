#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Fork: while threads sign, again in children, in daemons, from parents that
# have used the token and from those that have not. Each process that hangs is
# ended by SIGALRM, which its parent tells.
use strict;
use warnings;
no warnings 'qw';       # "fork=30,4" is one word

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');

# One token where a child keeps what its parent had, one where it has nothing.
my @tokens = (
    ['SoftHSM', P11::Token->needs('SoftHSM')],
    ['SoftHSM that resets on fork',
     P11::Token->needs('SoftHSM', reset_on_fork => 'true')],
);
my $pub = scratch() . '/pub.pem';

# what, steps, of which RSA, EC, REF become "load=…"
my @rows = (
    ['children that sign', [qw(EC RSA sign fork=30,4 [ sign=3 ] sign)]],
    ['children of children',
     [qw(EC sign fork=3,3 [ sign fork=3,3 [ sign fork=3 [ sign ] sign ] sign ]
         sign)]],
    ['children of a parent that has not signed',
     [qw(EC RSA fork=4,4 [ sign=3 ] sign=3)]],
    ['children that load', [qw(EC sign fork=8,2 [ RSA EC sign=2 free ] sign)]],
    ['24 children at once that log in first', [qw(fork=24,24 [ EC sign ])]],
    ['children of children of children, all at once',
     [qw(EC sign fork=4,4 [ sign fork=4,4 [ sign fork=3,3 [ sign ] sign ] sign ]
         sign)]],
    ['children with threads',
     [qw(EC RSA sign fork=6,2 [ in=4 [ sign=5 ] sign ] sign)]],
    ['children that fork while their threads sign',
     [qw(EC sign fork=2,2 [ threads=3 fork=10,2 [ sign ] stop sign ] sign)]],
    ['children that _exit at once', [qw(EC sign fork=10,2 [ _exit ] sign)]],
    ['children that free', [qw(EC sign fork=10,2 [ free ] sign)]],
    ['children that end in other ways',
     [qw(EC sign fork=5 [ sign _exit ] fork=5 [ sign free cleanup _exit ]
         fork=5 [ cleanup exit ] sign)]],
    ['a daemon', [qw(EC sign adopt fork [ sign daemon sign=3 ] reap sign)]],
    ['a daemon that has loaded only',
     [qw(adopt fork [ EC RSA daemon sign=3 ] reap)]],
    ['a daemon with a reference',
     [qw(adopt fork [ REF daemon sign=3 fork=4,2 [ sign=3 ] ] reap)]],
    ['references', [qw(REF fork=30,4 [ sign=3 ])]],
);

# Four parents each, with 25 children.
my @storms = (
    ['EC', [qw(EC sign threads=4 fork=25,2 [ sign=2 ] stop sign)]],
    ['RSA', [qw(RSA sign threads=4 fork=25,2 [ sign=2 ] stop sign)]],
    ['both, children at once',
     [qw(RSA EC sign threads=4 fork=25,8 [ sign ] stop sign)]],
);

sub steps {
    my ($words, %key) = @_;
    return map { defined $key{$_} ? "load=$key{$_}" : $_ } @$words;
}

sub cannot_fork {
    my ($words) = @_;
    my $can = !defined $ENV{P11_SANITIZER_RUNTIME}
        || !grep { /^threads=/ } @$words;
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if !$can;
    }
    return !$can;
}

for (@tokens) {
    my ($where, $token) = @$_;
    my %key = (RSA => $token->keypair('rsa:2048', 'rsa', '01'),
               EC => $token->keypair('EC:prime256v1', 'ec', '02'));
    $key{REF} = reference($token, $key{EC}, "$token->{label}-ref");
    my %how = (env => $token->conf_env);

    for my $row (@rows) {
        my ($name, $words) = @$row;
        next if cannot_fork($words);
        ok_use_key(\%how, "$where: $name", steps($words, %key));
    }
    for my $row (@storms) {
        my ($name, $words) = @$row;
        next if cannot_fork($words);
        ok_every_time(\%how, 4, "$where: 25 forks while 4 threads sign, $name",
                      steps($words, %key));
    }
    use_key_fails(\%how, "$where: a child that fails is noticed",
                  qr/a child ended with status 1/, "load=$key{EC}",
                  qw(sign fork=3,2 [), 'load=/nonexistent', ']');

    # What the parent of references does with the token: nothing.
    my $count = P11::Count->new($token);
    my %counted = (env => $count->token->conf_env);
    ok_use_key(\%counted, "$where: a parent that only loads a reference",
               "load=$key{REF}", qw(fork=4,2 [ _exit ]));
    is_deeply($count->read, {}, "$where: does not open the module");
    ok_use_key(\%counted, "$where: its children sign", "load=$key{REF}",
               qw(fork=4,2 [ sign=3 ]));
    is($count->calls('C_Sign'), 12, "$where: in the token");
}

# --- a token that a remote module misses at first, in every process ---

# One thread starts the module anew, the others wait for that.
my $strict = $tokens[1][1];
my $missed = spew(scratch() . '/missed', 'starts=2');
my $count = P11::Count->new($strict, manufacturer => 'PKCS#11 Kit',
                            device => $missed, latency_us => 1000);
my %missed = (env => $count->token->conf_env(file => 'missed.cnf'));
my $ec = 'load=' . $strict->uri(object => 'ec');
ok_use_key(\%missed, 'a token that is missed at first', $ec, 'sign');
is($count->calls('C_Initialize'), 2, '… is found by the second start');
ok_use_key(\%missed, '… by 8 threads', 'in=8', '[', $ec, qw(sign ]));
ok_use_key(\%missed, '… by 8 threads of children', $ec, 'sign',
           qw(fork=2 [ in=8 [ sign ] ] sign));
spew($missed, 'starts=99');
use_key_fails(\%missed, '… and one that is never there is missed',
              qr/no token matches pkcs11:token=tok/, $ec);

# --- a module that aborts in another process than the one that began ---

# A child that does not use it ends without a call; one that does dies of it,
# and its parent does not.
my $owned = P11::Count->new($strict, owner => 1, manufacturer =>
                            'PKCS#11 Kit');
my %owned = (env => $owned->token->conf_env(file => 'owned.cnf'));
my $ref = 'load=' . scratch() . '/tok-ref.pem';
for my $end ([], ['exit'], ['_exit'], ['quick_exit'], ['free'],
             [qw(free cleanup)], [qw(cleanup exit)], [qw(in=2 [ sleep ])],
             [qw(fork=2 [ free exit ])]) {
    ok_use_key(\%owned, "a module that must not be used in a child is not: @$end",
               $ec, $ref, qw(sign fork=2 [), @$end, qw(] sign free));
}
use_key_fails(\%owned, 'in one that signs it aborts',
              [qr/C_Initialize in another process/,
               qr/a child ended with signal 6/], $ec, qw(sign fork [ sign ]));
ok_use_key(\%owned, 'the parent goes on', $ec,
           qw(sign fails [ fork [ sign ] ] sign=3));
ok_use_key(\%owned, 'by reference children sign, and their parent then', $ref,
           qw(fork=4,2 [ sign fails [ fork [ sign ] ] sign ] sign=3));
ok_use_key(\%owned, 'and daemons', 'adopt', 'fork', '[', $ref,
           qw(daemon sign=3 ] reap));

done_testing();
