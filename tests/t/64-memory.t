#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What is done again and again takes no more memory than at first. With
# P11_LONG=1 again and again is a million signatures, a hundred thousand loads
# and ten thousand reloads of a server.
use strict;
use warnings;

use Test::More;
use P11::Cert;
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
my $long = $ENV{P11_LONG};
my @grown;

# The steps once more often than the warm-up is what must cost nothing.
# "500 | 100000" is how often, and how often in the long form.
sub is_flat {
    my ($how, $name, $warm_up, $times, $before, @steps) = @_;
    $times = (split / \| /, $times)[$long && $times =~ / / ? 1 : 0];
    my %how = (%$how, timeout => $long ? 7200 : 600);
    my $result = ok_use_key(\%how, "$times times: $name",
        $long ? 'alarm=7200' : 'alarm=600', @$before,
        "repeat=$warm_up", '[', @steps, ']', 'mark',
        "repeat=$times", '[', @steps, ']', 'grown');
    my ($kib) = $result->{out} =~ /^(-?\d+)$/m;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    cmp_ok($kib // $limit, '<', $limit, "$name: memory stays");
    push @grown, sprintf '%5s KiB after %7d times: %s (%.1f s)', $kib // '?',
        $times, $name, $result->{seconds};
    return;
}

my @ref = map { reference($token, $_->[1], $_->[0]) }
    ['rsa-ref', $rsa], ['ec-ref', $ec];
my @rows = (
    ['an ECDSA signature', 500, '10000 | 1000000',
     ["load=$ec", 'unverified'], 'sign'],
    ['an RSA signature', 100, '400 | 20000',
     ["load=$rsa", 'unverified'], 'sign'],
    ['an RSA-PSS signature', 50, '200 | 5000',
     ["load=$rsa", 'pss'], 'sign'],
    ['verification', 10, '200 | 5000', ["load=$ec"], 'verify'],
    ['an RSA decryption', 50, '200 | 5000', ["load=$rsa"], 'decrypt'],
    # SoftHSM keeps 230 bytes of each object of a session.
    ['key agreement', 100, '300 | 600', ["load=$ec"], 'derive'],
    ['loading a reference', 500, '10000 | 100000', [], "load=$ref[1]",
     'free'],
    ['loading a reference to RSA', 100, '500 | 10000', [], "load=$ref[0]",
     'free'],
    ['loading a reference and signing', 100, '500 | 20000', [],
     "load=$ref[1]", 'sign', 'free'],
    ['loading by URI', 50, '300 | 100000', [], "load=$ec", 'free'],
    ['loading two keys by URI', 50, '300 | 10000', [], "load=$ec",
     "load=$rsa", 'free'],
    ['loading by URI and signing', 50, '300 | 10000', [], "load=$ec",
     'sign', 'free'],
    ['a key that is not there', 10, '50 | 1000', [],
     'refused=' . $token->uri(object => 'other')],
    ['a token that is not there', 10, '50 | 1000', [],
     'refused=pkcs11:token=other'],
    ['a URI that is wrong', 10, '200 | 10000', [],
     'refused=pkcs11:token=a;token=b'],
    ['a PIN that is wrong', 10, '200 | 5000', [],
     'refused=' . $token->uri(object => 'ec', type => 'private')
     . '?pin-value=4321'],
    ['threads that sign', 20, '100 | 1000', ["load=$ec"],
     qw(in=8 [ sign ])],
);
is_flat(\%how, @$_) for @rows;
is_flat(\%bare, 'loading and unloading the provider', 20, '200 | 2000',
        [qw(provider=default)], qw(provider=pkcs11 unload provider=default));
is_flat(\%bare, 'loading, using and unloading the provider', 20,
        '200 | 1000',
        ['provider=default'], 'provider=default', 'provider=pkcs11',
        'load=' . pin_uri($token, object => 'ec', type => 'private'),
        qw(sign free unload));

# --- a server that is told to read its configuration again ---

my $reload = builddir() . '/tests/c/reload_ssl';
SKIP: {
    skip('libssl was not found when this was configured', 2) if !-x $reload;
    my $ca = P11::Cert->new;
    my $certificate = $ca->issue('ec', "$ec;type=private", \%how);
    my $times = $long ? 10000 : 200;
    for my $row (['a reference', $ref[1]], ['a URI', "$ec;type=private"]) {
        my ($name, $key) = @$row;
        my $result = ok_run({ %how, timeout => $long ? 7200 : 600 },
            "$times reloads of an SSL_CTX with $name: memory stays",
            $reload, $certificate, $key, 50, $times);
        my ($kib) = $result->{out} =~ /grown by (-?\d+) KiB/;
        push @grown, sprintf '%5s KiB after %7d times: %s (%.1f s)',
            $kib // '?', $times, "an SSL_CTX with $name, and a handshake",
            $result->{seconds};
    }
}

# --- the same, seen by valgrind ---

sub lost_bytes {
    my ($n) = @_;
    my $result = run_in({ %how, timeout => 600 }, 'valgrind',
        '--leak-check=full', '--show-leak-kinds=definite,indirect', '--error-exitcode=0',
        builddir() . '/tests/c/use_key', 'alarm=600', "repeat=$n", '[',
        "load=$ec", "load=$ref[0]", qw(sign verify derive free ]));
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
