#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Many threads: at first use, with one key and with many, on one token and on
# two, with fewer sessions than threads, and while others load and free.
# 63-threads-waiting.t tells who waits for whom.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
# A sanitizer makes each of them ten times as dear.
my $n = sanitizer() ? 16 : 64;
my $rounds = $ENV{P11_LONG} ? 25 : sanitizer() ? 1 : 2;
my $often = $ENV{P11_LONG} ? 40 : 4;

my $token = P11::Token->needs('SoftHSM');
$token->add_token('second');
my $second = bless { %$token, label => 'second' }, ref $token;
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my @ec = map { $token->keypair('EC:prime256v1', "ec$_", "1$_") } 0 .. 3;
my @other = ($second->keypair('rsa:2048', 'rsa', '01'),
             $second->keypair('EC:prime256v1', 'ec', '02'));
my @ref = map { reference($token, $ec[$_], "ref$_") } 0 .. 3;
my $rsa_ref = reference($token, $rsa, 'refrsa');
my $count = P11::Count->new($token);
my $counted = $count->token;
my %how = (env => $counted->conf_env);
my %total = (signatures => 0, threads => 0);

# All threads do the steps: in as many processes, and calls are exact.
sub threads_do {
    my ($how, $name, $processes, $signatures, $may, @steps) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $calls = $count->during(sub {
        ok_every_time($how, $processes, "$n threads, $name", "in=$n",
                      '[', @steps, ']');
    });
    is($calls->{C_Sign}, $processes * $n * $signatures,
       "$name: as many C_Sign as signatures");
    is($calls->{C_SignInit}, $calls->{C_Sign}, "$name: none tried again");
    is($calls->{C_Initialize}, $processes, "$name: C_Initialize once");
    is($calls->{C_Login}, $processes * ($may->{tokens} // 1),
       "$name: C_Login once a token");
    cmp_ok($calls->{C_OpenSession}, '<=',
           $processes * ($may->{sessions} // $n) * ($may->{tokens} // 1),
           "$name: no more sessions than there may be");
    $total{signatures} += $calls->{C_Sign};
    $total{threads} += $processes * $n;
    return $calls;
}

# --- first use ---

my $cnf = $counted->write_conf(file => 'context.cnf');
my @firsts = (
    ['one URI', $ec[0]],
    ['different URIs', "@ec $rsa"],
    ['one reference', $ref[0]],
    ['different references', "@ref $rsa_ref"],
    ['URIs and references', "@ec $rsa @ref $rsa_ref"],
);
for my $row (@firsts) {
    my ($name, $keys) = @$row;
    threads_do(\%how, "first use of $name", $rounds, 3, {},
               'meet', "load=$keys", qw(sign=3 free));
}
threads_do(\%how, 'first use of two tokens', $rounds, 3, { tokens => 2 },
           'meet', "load=@ec $rsa @other", qw(sign=3 free));

# The last of them finalises the module: they leave together.
my $calls = threads_do(\%how, 'first use in contexts of their own', $rounds, 2,
                       {}, "context=$cnf", '[', 'meet',
                       "load=@ec $rsa @ref $rsa_ref", qw(sign=2 free meet ]));
is($calls->{C_Finalize}, $rounds, 'C_Finalize once');
use_key_fails(\%how, 'a thread that finds no key is noticed',
              qr/no private key matches/, "in=$n", '[',
              "load=$ec[0] $ec[1] " . $token->uri(object => 'other'),
              qw(sign free ]));

# --- one key ---

for my $row (['RSA', $rsa, 4], ['EC', $ec[0], 20]) {
    my ($name, $uri, $each) = @$row;
    my $calls = $count->during(sub {
        ok_use_key(\%how, "$n threads sign with one $name key", "load=$uri",
                   "in=$n", '[', "sign=$each", ']', 'free');
    });
    is($calls->{C_Sign}, $n * $each, 'as often as they should');
    cmp_ok($calls->{C_OpenSession}, '<=', $n, 'in a session a thread');
}
ok_use_key(\%how, "$n threads agree by one key", "load=$ec[0]", "in=$n", '[',
           qw(derive=5 verify=5 ]));
ok_use_key(\%how, "a key is freed by the last of $n threads", "load=$ec[0]",
           "in=$n", '[', qw(sign free ]), 'free');

# --- few sessions ---

my %few = map { ($_ => { env => $counted->conf_env(file => "few$_.cnf",
    settings => { 'pkcs11-module-max-sessions' => $_ }) }) } 1, 2, 16;
for my $limit (1, 2, 16) {
    for my $row (['one key', $ec[0]],
                 ['many keys', "@ec $rsa @ref $rsa_ref"],
                 ['two tokens', "@ec @other $rsa", 2]) {
        my ($name, $keys, $tokens) = @$row;
        threads_do($few{$limit}, "max-sessions $limit, $name", 1, $often,
                   { sessions => $limit, tokens => $tokens // 1 },
                   "load=$keys", "sign=$often", 'free');
    }
    ok_use_key($few{$limit}, "max-sessions $limit, fork", "load=$ec[0]",
               'sign', 'fork=8,4', '[', qw(in=4 [ sign=5 ] ] sign));
}

# Two modules, each with a counter of its own.
SKIP: {
    my $nss = P11::Token->make('NSS')
        or skip('NSS is not installed: no second module', 1);
    my $key = $nss->keypair('EC:prime256v1', 'nss', '01');
    my $ours = P11::Count->new($token, own => 1);
    my $theirs = P11::Count->new($nss, own => 1);
    for my $limit (1, 2, 16) {
        my %both = (env => { %{ $ours->token->env }, %{ $nss->env },
            OPENSSL_CONF => $ours->token->write_conf(
                file => "both$limit.cnf", also => [$theirs->token],
                settings => { 'pkcs11-module-max-sessions' => $limit,
                              'pkcs11-module-cache-keys' => 'false' }) });
        $_->reset for $ours, $theirs;
        ok_use_key(\%both, "$n threads, max-sessions $limit, two modules",
                   "in=$n", '[', 'meet', "load=$ec[0] $key", "sign=$often",
                   qw(free ]));
        for my $row ([$ours, 'the first'], [$theirs, 'the second']) {
            my ($counts, $which) = @$row;
            is($counts->calls('C_Sign'), $n / 2 * $often,
               "$which has signed for half of them");
            is($counts->calls('C_Initialize') . $counts->calls('C_Login'),
               '11', "$which was started and logged in to once");
            cmp_ok($counts->calls('C_OpenSession'), '<=', $limit,
                   "$which had no more sessions than it may have");
        }
    }
}

# Nobody is left out, though each wants to go on at once.
for my $row (['EC', $ec[0], $often * 25 * $n], ['RSA', $rsa, $often * 5 * $n]) {
    my ($name, $uri, $all) = @$row;
    my $result = ok_use_key($few{1}, "$n threads, one session, $name",
        "load=$uri", qw(unverified prepared alarm=300), "threads=$n",
        "until=$all", qw(stop tally));
    my ($signed, $least, $most) =
        $result->{out} =~ /^signed (\d+), by each (\d+) to (\d+)$/m;
    cmp_ok($least // 0, '>', 0, "$name: none of them starves")
        or diag($result->{out});
    figure("$n threads, one session, $name: $signed signatures, $least to "
           . "$most each") if defined $least;
}

# --- while others load and free ---

# Copies too: each key has one, whose home may be anybody's session.
for my $limit (2, 16) {
    my %copied = (env => $counted->conf_env(file => "copied$limit.cnf",
        settings => { 'pkcs11-module-max-sessions' => $limit,
                      'pkcs11-module-cache-keys' => 'true' }));
    for my $row (['one key', $ec[0], $few{$limit}],
                 ['many keys', "@ec $rsa @ref @other", $few{$limit}, 2],
                 ['copies of one key', $ec[0], \%copied],
                 ['copies of many keys', "@ec $rsa @ref", \%copied]) {
        my ($name, $keys, $settings, $tokens) = @$row;
        threads_do($settings, "max-sessions $limit, they load and free $name",
                   1, $often, { sessions => $limit, tokens => $tokens // 1 },
                   'meet', "repeat=$often", '[', "load=$keys", qw(sign free ]));
    }
}

# Those that keep a key, those that walk through a store and close it early,
# and contexts that come and go with all that is theirs.
my $all = $token->uri(type => 'private');
my ($few_threads, $half) = sanitizer() ? (8, 3) : (16, 7);
my $last = $few_threads - 1;
my $began = $half + 1;
$calls = $count->during(sub {
    ok_use_key(\%how, 'contexts and stores come and go beside them',
        "load=$ec[0]", 'sign', "in=$few_threads", '[', 'meet',
        'only=0-1', '[', "repeat=$often", '[', "context=$cnf", '[',
        "load=@ec $rsa @ref", qw(sign free), "peek=$all", qw(] ] ]),
        "only=2-$half",
        '[', "repeat=$often", '[', "load=@ec $rsa @ref",
        "peek=$all", qw(sign free ] ]),
        "only=$began-$last", '[', "sign=$often", ']', ']', 'sign');
});
# The first time also with the key that they had from the beginning.
is($calls->{C_Sign}, 2 + $began * ($often + 1) + ($last - $half) * $often,
   'as many C_Sign as signatures');
is($calls->{C_Initialize}, 1, 'the module is started once')
    or diag(P11::Count::text($calls));
is($calls->{C_Login}, 1, 'one login');

# With nobody who keeps it, the module ends and starts under those who come.
ok_every_time(\%how, $rounds, 'contexts alone, that come and go', 'in=8', '[',
              qw(meet), "repeat=$often", '[', "context=$cnf", '[',
              "load=@ec $rsa @ref", qw(sign free ] ] ]));

figure("$total{threads} threads in all, $total{signatures} signatures, "
       . 'each call counted');
done_testing();
