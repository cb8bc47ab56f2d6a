#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What is done again and again takes no more memory than at first.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
plan(skip_all => 'the sanitizers keep what is freed')
    if defined $ENV{P11_SANITIZER_RUNTIME};
my $token = P11::Token->needs('SoftHSM');
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my $ec = $token->keypair('EC:prime256v1', 'ec', '02');
my %how = (env => $token->conf_env);
my %bare = (env => $token->bare_env);
my $limit = 300;    # KiB
my @grown;

# The steps once more often than the warm-up is what must cost nothing.
sub is_flat {
    my ($how, $name, $warm_up, $times, $before, @steps) = @_;
    my $result = ok_use_key($how, "$times times: $name", @$before,
        "repeat=$warm_up", '[', @steps, ']', 'mark',
        "repeat=$times", '[', @steps, ']', 'grown');
    my ($kib) = $result->{out} =~ /^(-?\d+)$/m;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    cmp_ok($kib // $limit, '<', $limit, "$name: memory stays");
    push @grown, sprintf '%5s KiB after %d times: %s (%.1f s)', $kib // '?',
        $times, $name, $result->{seconds};
    return;
}

my @ref = map { reference($token, $_->[1], $_->[0]) }
    ['rsa-ref', $rsa], ['ec-ref', $ec];
my @rows = (
    ['an ECDSA signature', 500, 10000, ["load=$ec", 'unverified'], 'sign'],
    ['an RSA signature', 100, 400, ["load=$rsa", 'unverified'], 'sign'],
    ['an RSA-PSS signature', 50, 200, ["load=$rsa", 'pss'], 'sign'],
    ['verification', 10, 200, ["load=$ec"], 'verify'],
    # SoftHSM keeps 230 bytes of each object of a session.
    ['key agreement', 100, 300, ["load=$ec"], 'derive'],
    ['loading a reference', 500, 10000, [], "load=$ref[1]", 'free'],
    ['loading a reference to RSA', 100, 500, [], "load=$ref[0]", 'free'],
    ['loading a reference and signing', 100, 500, [], "load=$ref[1]",
     'sign', 'free'],
    ['loading by URI', 50, 300, [], "load=$ec", "load=$rsa", 'free'],
    ['loading by URI and signing', 50, 300, [], "load=$ec", 'sign', 'free'],
    ['a key that is not there', 10, 50, [],
     'refused=' . $token->uri(object => 'other')],
    ['a token that is not there', 10, 50, [], 'refused=pkcs11:token=other'],
    ['a URI that is wrong', 10, 200, [], 'refused=pkcs11:token=a;token=b'],
    ['a PIN that is wrong', 10, 200, [],
     'refused=' . $token->uri(object => 'ec', type => 'private')
     . '?pin-value=4321'],
    ['threads that sign', 20, 100, ["load=$ec"], qw(in=8 [ sign ])],
);
is_flat(\%how, @$_) for @rows;
is_flat(\%bare, 'loading and unloading the provider', 20, 200,
        [qw(provider=default)], qw(provider=pkcs11 unload provider=default));
is_flat(\%bare, 'loading, using and unloading the provider', 20, 200,
        ['provider=default'], 'provider=default', 'provider=pkcs11',
        'load=' . pin_uri($token, object => 'ec', type => 'private'),
        qw(sign free unload));

# --- the same, seen by valgrind ---

sub lost_bytes {
    my ($n) = @_;
    my $result = run_in(\%how, 'valgrind', '--leak-check=full',
        '--show-leak-kinds=definite,indirect', '--error-exitcode=0',
        builddir() . '/tests/c/use_key', "repeat=$n", '[', "load=$ec",
        "load=$ref[0]", qw(sign verify derive free ]));
    my @lost = $result->{err} =~ /(?:definitely|indirectly) lost: ([\d,]+)/g;
    s/,//g for @lost;
    my $sum = 0;
    $sum += $_ for @lost;
    is($result->{status}, 0, "$n times under valgrind")
        or diag($result->{err});
    my ($invalid) = $result->{err} =~ /(Invalid (?:read|write)|uninit.*)/;
    is($invalid, undef, 'every access is to memory that is there')
        or diag($result->{err});
    return $sum;
}

SKIP: {
    skip('valgrind is not installed', 5) if !have('valgrind');
    my ($few, $many) = (lost_bytes(2), lost_bytes(12));
    is($many, $few, "12 times lose what 2 times lose: $few bytes");
}

diag(join "\n", 'Growth of what stays in memory:', @grown);
done_testing();
