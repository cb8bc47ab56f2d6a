#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The end of a process on every token there is: keys freed, providers unloaded,
# OPENSSL_cleanup() and every kind of exit in every order, in parents and
# children, while threads sign; the provider loaded, used and unloaded again and
# again. Status 0, no hang. With P11_LONG=1 a thousand times.
use strict;
use warnings;
no warnings 'qw';       # "fork=2,2" is one word

use P11::Everywhere;
use P11::Test;
use P11::UseKey;
use Test::More;

needs('pkcs11-tool');
my $long = $ENV{P11_LONG};
my $limit = 300;    # KiB

# What is done with the keys, and how it ends.
my @uses = ([], ['sign'], ['free'], [qw(sign free)]);
my @ends = ([], ['exit'], ['_exit'], ['quick_exit'], ['cleanup'],
            [qw(cleanup exit)], [qw(cleanup _exit)],
            [qw(atexit [ free ] exit)], [qw(atexit [ free cleanup ])],
            [qw(in=1 [ exit ])]);
# Threads that outlive the main one have the keys, or load them. One of them says
# that it is over: a module may have a thread that never ends.
my @lasts = (
    [qw(EC RSA sign begin=1 [ sleep=20 sign=2 exit ] leave)],
    [qw(begin=1 [ sleep=20 EC RSA sign=2 free exit ] leave)],
    [qw(EC begin=1 [ sleep=20 sign free cleanup _exit ] leave)],
);
# Handlers of the application run before ours where they were there later, and
# after it where they were there before the module: then keys can only be freed,
# what else is tried is an error. Those that were there before libcrypto's own run
# after that, and can do no more with it than free.
my @handlers = (
    [qw(EC REF sign atexit [ sign free ] exit)],
    [qw(REF atexit [ fails [ sign ] free ] EC sign exit)],
    [qw(REF atexit [ fails [ EC ] free ] EC sign exit)],
    [qw(atexit [ free cleanup ] EC REF sign exit)],
    [qw(atexit [ cleanup _exit ] EC REF sign free exit)],
);
# Parents and children that end in different ways, one after the other.
my @families = (
    [qw(EC RSA sign fork [ sign exit ] fork [ sign free cleanup exit ]
        fork [ cleanup ] fork [ _exit ] fork [ quick_exit ] sign free cleanup)],
    [qw(EC fork=2,2 [ sign fork=2 [ sign free ] cleanup exit ] sign exit)],
    [qw(REF fork=2 [ sign atexit [ free ] ] sign _exit)],
    [qw(REF EC free fork=2 [ EC sign free cleanup exit ] cleanup)],
    [qw(EC sign fork=2 [ in=1 [ sign exit ] ] sign in=1 [ exit ])],
);

sub orders {
    my ($t) = @_;
    for my $end (@ends) {
        ok_use_key($t->{how}, "EC RSA REF @$_ @$end",
                   steps_on($t, qw(EC RSA REF), @$_, @$end)) for @uses;
    }
    ok_use_key($t->{how}, "@$_", steps_on($t, @$_))
        for @lasts, @handlers, @families;
    is(use_key($t->{how}, steps_on($t, qw(EC sign exit=7)))->{status}, 7,
       'a status that is not 0 stays');
    use_key_fails($t->{how}, 'a child that ends badly is noticed',
                  qr/a child ended with status 3/,
                  steps_on($t, qw(EC sign fork [ sign exit=3 ])));
    return;
}

# They sign by contexts that are there: where libcrypto looks for an algorithm,
# or verifies in software, it crashes itself now and then, when another thread
# is in exit().
my @storms = (
    [qw(threads=4 exit)],
    [qw(threads=4 _exit)],
    [qw(threads=4 quick_exit)],
    [qw(fork [ threads=4 exit ] fork [ threads=4 _exit ] threads=4 exit)],
);
my @forks = (
    [qw(threads=4 fork=2,2 [ exit ] exit)],
    [qw(threads=4 fork=2,2 [ threads=2 exit ] exit)],
);

sub while_signing {
    my ($t) = @_;
    my $times = $long ? 25 : 3;
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if defined $ENV{P11_SANITIZER_RUNTIME};
        storm($t, $times, @$_) for @forks;
    }
    storm($t, $times, @$_) for @storms;
    return;
}

sub storm {
    my ($t, $times, @steps) = @_;
    my @keys = $t->{key}{EC} ne $t->{key}{RSA} && $long ? qw(EC RSA) : 'EC';
    for my $key (@keys) {
        ok_every_time($t->{how}, $times, "$key @steps",
                      steps_on($t, 'prepared', $key, @steps));
    }
    return;
}

# ---- providers and contexts

my @orders = (
    [qw(EC sign free unload)],
    [qw(EC sign unload free)],
    [qw(EC RSA sign unload)],
    [qw(EC free unload)],
    [qw(EC unload free)],
    [qw(EC REF unload sign exit)],
    [qw(EC sign unload _exit)],
    [qw(EC sign unload quick_exit)],
    [qw(EC sign unload cleanup)],
    [qw(EC sign unload free cleanup exit)],
    [qw(EC sign free unload cleanup exit)],
    [qw(EC sign unload cleanup free)],
    [qw(EC sign unload fork=2 [ free cleanup exit ] free)],
    [qw(EC sign fork=2 [ unload free ] sign unload free)],
    [qw(EC sign fork=2 [ free unload provider=pkcs11 EC sign free unload ]
        sign free unload)],
    [qw(REF in=2 [ sign free ] unload free)],
    [qw(EC begin=2 [ sleep=20 sign free ] free unload stop)],
);

sub unloading {
    my ($t) = @_;
    my %how = (env => $t->{token}->conf_env(file => 'inactive.cnf',
                                            inactive => 1));
    my @load = qw(provider=pkcs11);
    ok_use_key(\%how, "loaded: @$_", steps_on($t, @load, @$_)) for @orders;
    ok_use_key(\%how, 'keys outlive their provider, which is loaded anew',
               steps_on($t, 'repeat=5', '[', @load, qw(EC REF sign unload ]
                                                       sign free)));
    use_key_fails(\%how, 'what is not loaded finds no key', qr/no key:/,
                  steps_on($t, 'EC'));
    again($t, \%how);
    return;
}

# The modules lose nothing, either.
sub again {
    my ($t, $how) = @_;
    my $n = $long ? 1000 : 50;
    my @round = steps_on($t, qw([ provider=pkcs11 EC REF sign free unload ]));
    my $result = ok_use_key({ %$how, timeout => 1200 },
        "loaded, used and unloaded $n times", 'alarm=1200', 'repeat=20',
        @round, 'mark', "repeat=$n", @round, 'grown');
    my ($kib) = $result->{out} =~ /^(-?\d+)$/m;
    SKIP: {
        skip('the sanitizers keep what is freed', 1)
            if defined $ENV{P11_SANITIZER_RUNTIME};
        cmp_ok($kib // $limit, '<', $limit, 'and memory stays');
    }
    figure(sprintf '%s: loaded, used, unloaded %d times: %s KiB, %.1f s',
           $t->{name}, $n, $kib // '?', $result->{seconds});
    return;
}

sub contexts {
    my ($t) = @_;
    my $cnf = $t->{token}->write_conf(file => 'context.cnf');
    # No OPENSSL_MODULES: openCryptoki looks for the legacy provider.
    my %bare = (env => $t->{token}->env(OPENSSL_CONF => '/dev/null'));
    my @own = ("context=$cnf", '[');
    ok_use_key(\%bare, 'contexts after one another',
               steps_on($t, 'repeat=5', '[', @own, qw(EC sign free ] ])));
    ok_use_key($t->{how}, 'two contexts, the inner one goes first',
               steps_on($t, qw(RSA sign in=1 [), @own,
                        qw(EC sign free ] ] sign free)));
    ok_use_key($t->{how}, 'keys outlive their context',
               steps_on($t, @own, qw(EC sign ] free)));
    ok_use_key($t->{how}, 'children of two contexts',
               steps_on($t, qw(EC sign), @own, qw(RSA sign fork=2,2 [ sign free
                        cleanup exit ] fork=2 [ EC sign ] sign free ])));
    ok_use_key($t->{how}, 'threads with a context each',
               steps_on($t, qw(EC sign in=4 [), @own,
                        qw(RSA sign=2 free ] ] sign)));
    return;
}

on_every_token(sub {
    my ($t) = @_;
    for my $act (\&orders, \&while_signing, \&unloading, \&contexts) {
        $act->($t);
    }
});

done_testing();
