#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Fork on every token there is, those that forbid what a child inherits and
# those that allow it. What the parent calls is counted: a child costs it
# nothing. With P11_LONG=1 each parent has a thousand children.
use strict;
use warnings;
no warnings 'qw';       # "fork=30,4" is one word

use P11::Everywhere;
use P11::Count;
use P11::Test;
use P11::UseKey;
use Test::More;

needs('pkcs11-tool');
my $long = $ENV{P11_LONG};
my $many = $long ? 1000 : 40;
my $some = $long ? 250 : 10;

# What is counted of the parent when it ran with these children in its middle
# is what it calls without them.
sub same_calls {
    my ($t, $name, $before, $children, $after) = @_;
    my $count = P11::Count->new($t->{token}, parent => 1);
    my %how = (env => $count->token->conf_env(file => 'parent.cnf'),
               timeout => 600);
    my $without = $count->during(sub {
        ok_use_key(\%how, "$name: the parent alone",
                   steps_on($t, @$before, @$after));
    });
    my $began;
    my $with = $count->during(sub {
        my $result = ok_use_key(\%how, $name, 'alarm=600',
                                steps_on($t, @$before, @$children, @$after));
        $began = $result->{seconds};
    });
    is_deeply($with, $without, "$name: which the parent does not notice")
        or diag('with: ' . P11::Count::text($with), "\nwithout: "
                . P11::Count::text($without));
    return $began;
}

sub cannot_fork {
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if defined $ENV{P11_SANITIZER_RUNTIME};
        return 0;
    }
    return 1;
}

sub thousand {
    my ($t) = @_;
    my $seconds = same_calls($t, "$many children, four at a time",
        [qw(EC RSA sign)], ["fork=$many,4", qw([ sign=3 ])], [qw(sign=5 free)]);
    figure(sprintf '%s: %d children, %.1f s', $t->{name}, $many, $seconds);
    same_calls($t, 'children that end in every way', [qw(EC sign)],
        [qw(fork=4,2 [ _exit ] fork=4,2 [ free ] fork=2 [ sign free _exit ]
            fork=2 [ sign cleanup exit ] fork=2 [ cleanup _exit ]
            fork=2 [ in=2 [ sign ] free cleanup ])], [qw(sign=3 free)]);
    same_calls($t, 'children that load', [qw(EC sign)],
        ["fork=$some,2", qw([ RSA REF sign=2 free ])], [qw(sign=3)]);
    same_calls($t, 'children of children', [qw(EC sign)],
        [qw(fork=2,2 [ sign fork=3,3 [ sign fork=2 [ sign ] sign ] sign ])],
        [qw(sign=3)]);
    same_calls($t, 'a daemon', [qw(adopt EC sign)],
        [qw(fork [ sign daemon sign=3 fork=2,2 [ sign ] ] reap)], [qw(sign=3)]);
    return;
}

# Before there is anything to inherit.
sub daemons {
    my ($t) = @_;
    ok_use_key($t->{how}, 'a daemon that has loaded only',
               steps_on($t, qw(adopt fork [ EC daemon sign=3 ] reap)));
    ok_use_key($t->{how}, 'a daemon with a reference, and its children',
               steps_on($t, qw(adopt fork [ REF daemon
                               fork=4,4 [ sign=3 ] ] reap)));
    return;
}

# How often each signs is not the same each time, but the rest is.
sub while_signing {
    my ($t) = @_;
    return if cannot_fork();
    my $count = P11::Count->new($t->{token}, parent => 1);
    my %how = (env => $count->token->conf_env(file => 'threads.cnf'),
               timeout => 600);
    my $calls = $count->during(sub {
        my $result = ok_use_key(\%how, "$some forks while 4 threads sign",
            'alarm=600', steps_on($t, qw(EC RSA sign threads=4),
                                  "fork=$some,4", qw([ sign=2 ] stop sign)));
        figure(sprintf '%s: %d forks while 4 threads sign, %.1f s', $t->{name},
               $some, $result->{seconds});
    });
    is($calls->{$_}, 1, "the parent calls $_ once") for qw(C_Initialize C_Login);
    is($calls->{C_Finalize}, undef, '… and C_Finalize never');
    cmp_ok($calls->{C_OpenSession}, '<=', 5, '… has no more sessions than uses')
        or diag(P11::Count::text($calls));
    is($calls->{C_SignInit}, $calls->{C_Sign}, '… and loses no signature');
    ok_use_key($t->{how}, 'children that fork while their threads sign',
               steps_on($t, qw(EC sign fork=2,2 [ threads=3 fork=4,2 [ sign ]
                               stop sign ] sign)));
    return;
}

sub failures {
    my ($t) = @_;
    use_key_fails($t->{how}, 'a child that fails is noticed',
                  qr/a child ended with status 1/,
                  steps_on($t, qw(EC sign fork=3,2 [ load=/nonexistent ])));
    my $none = $t->{token}->uri(object => 'none');
    use_key_fails($t->{how}, 'a child that finds no key says so',
                  qr/no private key matches/,
                  steps_on($t, qw(EC sign fork [), "load=$none", ']'));
    return;
}

on_every_token(sub {
    my ($t) = @_;
    for my $act (\&thousand, \&daemons, \&while_signing, \&failures) {
        $act->($t);
    }
});

done_testing();
