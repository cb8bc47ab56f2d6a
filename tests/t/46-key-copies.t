#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Copies of keys in session objects, by the setting cache-keys and by what is
# known of the token: who gets one, what it costs, and that it serves as the key
# does. tests/c/core_copy_test.c tells what happens when something fails,
# tests/bench/copies what is gained.
use strict;
use warnings;
no warnings 'qw';       # "fork=3,2" is one word

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');

sub how {
    my ($count, $value) = @_;
    my %settings = defined $value
        ? (settings => { 'pkcs11-module-cache-keys' => $value }) : ();
    return { env => $count->token->conf_env(%settings) };
}

# { function → calls } of the second list of steps, done after the first.
sub calls_of {
    my ($token, $value, $before, $act) = @_;
    my $count = P11::Count->new($token);
    my $how = how($count, $value);
    my $first = $count->during(sub {
        ok_use_key($how, 'what comes before', @$before) if @$before;
    });
    my $both = $count->during(sub {
        ok_use_key($how, "then @$act", @$before, @$act);
    });
    my %calls = map { ($_ => $both->{$_} - ($first->{$_} // 0)) } keys %$both;
    return { map { ($_ => $calls{$_}) } grep { $calls{$_} != 0 } keys %calls };
}

sub is_calls {
    my ($calls, $want, $name) = @_;
    return is_deeply($calls, $want, $name) || diag(P11::Count::text($calls));
}

my %sign = (C_SignInit => 1, C_Sign => 1);
my %copied = (C_CopyObject => 1);
my %again = (C_SignInit => 10, C_Sign => 10);

# Token, setting (undef: none), what the first use costs besides, and the end.
my @rows = (
    ['NSS', undef, \%copied, { C_DestroyObject => 1 }],
    ['NSS', 'auto', \%copied, { C_DestroyObject => 1 }],
    ['NSS', 'true', \%copied, { C_DestroyObject => 1 }],
    ['NSS', 'false', {}, {}],
    ['SoftHSM', undef, {}, {}],
    ['SoftHSM', 'true', \%copied, { C_DestroyObject => 1 }],
);

my %made;
sub token {
    my ($backend) = @_;
    return $made{$backend} if exists $made{$backend};
    my $token = $made{$backend} = P11::Token->make($backend);
    if (defined $token) {
        $token->keypair('rsa:2048', 'rsa', '01');
        $token->keypair('EC:prime256v1', 'ec', '02');
    }
    return $token;
}

sub private { return $_[0]->uri(object => $_[1], type => 'private') }

for my $row (@rows) {
    my ($backend, $value, $first, $end) = @$row;
    my $name = "$backend, " . (defined $value ? "cache-keys = $value"
                                              : 'without a setting');
    subtest $name => sub {
        my $token = token($backend);
        plan(skip_all => P11::Token->missing($backend)) if !defined $token;
        for my $key ('rsa', 'ec') {
            my $load = 'load=' . private($token, $key);
            # What is read at first, as which mechanisms there are, is read.
            my @warm = ($load, 'sign', 'free', $load);
            is_calls(calls_of($token, $value, \@warm, ['sign']),
                     { %sign, %$first }, "$key: the first signature");
            is_calls(calls_of($token, $value, [@warm, 'sign'], ['sign=10']),
                     \%again, "$key: ten more");
            is_calls(calls_of($token, $value, [@warm, 'sign'], ['free']),
                     $end, "$key: the end");
            is_calls(calls_of($token, $value, \@warm, ['free']), {},
                     "$key: the end of one that was not used");
        }
    };
}

# A copy does all that the key does.
for my $backend ('NSS', 'SoftHSM') {
    my $token = token($backend);
  SKIP: {
        skip(P11::Token->missing($backend), 1) if !defined $token;
        my $count = P11::Count->new($token);
        my $how = how($count, 'true');
        my ($rsa, $ec) = (private($token, 'rsa'), private($token, 'ec'));
        for my $steps (["load=$rsa", 'sign=3'], ["load=$rsa", qw(pss sign=3)],
                       ["load=$rsa", 'decrypt=3'], ["load=$ec", 'sign=3'],
                       ["load=$ec", 'derive=3'],
                       ["load=$rsa", 'sign', 'decrypt=2', 'pss', 'sign'],
                       ["load=$ec", 'sign', 'derive', 'sign']) {
            my $calls = $count->during(sub {
                ok_use_key($how, "$backend: @$steps[1 .. $#$steps]", @$steps);
            });
            is($calls->{C_CopyObject}, 1, '… with one copy');
        }
        # Each key and each process has its own.
        my $reference = reference($token, $rsa, lc $backend);
        for my $row (['keys by URI and by reference', 2, "load=$rsa",
                      "load=$reference", 'sign=3'],
                     ['threads', 1, "load=$rsa", qw(sign in=4 [ sign=5 ])],
                     ['children', 4, "load=$rsa",
                      qw(sign fork=3,2 [ sign=3 ] sign)],
                     ['loading it again', 3, "load=$rsa",
                      qw(sign free), "load=$rsa", qw(sign free),
                      "load=$rsa", 'sign']) {
            my ($name, $copies, @steps) = @$row;
            my $calls = $count->during(sub {
                ok_use_key($how, "$backend: $name", @steps);
            });
            is($calls->{C_CopyObject}, $copies, "… have $copies")
                or diag(P11::Count::text($calls));
        }
        ok_use_key($how, "$backend: the key, loaded once more",
            "load=$rsa", 'sign', 'load=' . $token->uri(object => 'rsa'),
            'sign');
        openssl_refuses($how, "$backend: what copies are called",
            qr/no private key matches/, 'pkey', '-noout', '-in',
            private($token, 'copy of a key, by its user'));
    }
}

# A key that wants the PIN for each signature keeps its word.
SKIP: {
    my $token = token('SoftHSM');
    skip(P11::Token->missing('SoftHSM'), 1) if !defined $token;
    my $made = $token->tool(qw(--keypairgen --key-type rsa:2048 --label always
                               --id b1 --always-auth));
    is($made->{status}, 0, 'a key with CKA_ALWAYS_AUTHENTICATE');
    my $count = P11::Count->new($token);
    my $calls = $count->during(sub {
        ok_use_key(how($count, 'true'), 'it signs',
                   'load=' . private($token, 'always'), 'sign=3');
    });
    is($calls->{C_CopyObject}, undef, '… without a copy');
    is($calls->{C_Login}, 4, '… after a login for each');
}

# Whoever cannot copy, or may not, signs as before, and says nothing.
for my $row (['refused', 'C_CopyObject=0x1b'], ['missing', undef,
                                                'C_CopyObject']) {
    my ($name, $fail, $lacks) = @$row;
    my $token = token('SoftHSM');
  SKIP: {
        skip(P11::Token->missing('SoftHSM'), 1) if !defined $token;
        my $count = P11::Count->new($token,
            defined $fail ? (fail => $fail) : (lacks => $lacks));
        my $calls = $count->during(sub {
            my $result = ok_use_key(how($count, 'true'),
                "C_CopyObject is $name: it signs",
                'load=' . private($token, 'rsa'), 'sign=5', 'free');
            is($result->{err}, '', '… silently');
        });
        is($calls->{C_SignInit}, 5, '… at once');
        cmp_ok($calls->{C_CopyObject} // 0, '<=', 1, '… asked for it once');
        is($calls->{C_DestroyObject}, undef, '… and destroys nothing');
    }
}

done_testing();
