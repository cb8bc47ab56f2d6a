#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# TLS by libssl alone, both ends with keys on a token: tests/c/tls_memory_ssl.c
# in every order of providers.
use strict;
use warnings;

use Test::More;
use P11::Cert;
use P11::Count;
use P11::Test;
use P11::Token;

my $program = builddir() . '/tests/c/tls_memory_ssl';
needs_ssl('tls_memory_ssl');
needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');

# ---- what the program wants to find

my $dir = scratch('files');
my %how = (env => $token->conf_env(file => 'prepare.cnf'));
my ($ca, $other_ca) = (P11::Cert->new, P11::Cert->new);
sub put {
    my ($file, $from) = @_;
    return spew("$dir/$file", slurp($from));
}

my $id = 0;
for my $row (['rsa', 'rsa:2048'], ['ec', 'EC:prime256v1'],
             ['gone', 'EC:prime256v1']) {
    my ($name, $type) = @$row;
    my $uri = $token->keypair($type, $name, sprintf '%02x', ++$id)
        . ';type=private';
    put("$name.pem", $ca->issue($name, $uri, \%how));
    ok_openssl(\%how, "a reference to the $name key is written",
               'pkey', '-in', $uri, '-out', "$dir/$name.key");
    spew("$dir/$name.uri", $uri);
}
is($token->tool('--delete-object', '--type', 'privkey', '--id',
                sprintf '%02x', $id)->{status}, 0, 'and the last key deleted');
for my $row (['soft', $ca], ['stranger', $other_ca]) {
    my ($name, $by) = @$row;
    my $key = $by->software_key($name, 'EC', 'P-256');
    put("$name.key", $key);
    put("$name.pem", $by->issue($name, $key));
}
put('ca.pem', $ca->file);

# ---- the program

sub try_tls {
    my ($name, $env, %conf) = @_;
    my $count = P11::Count->new($token);
    my %env = (%{ $count->token->conf_env(%conf) }, %$env);
    my $result = run_in({ env => \%env }, $program, $dir);
    my ($plan) = $result->{out} =~ /^1\.\.(\d+)/m;
    my @bad = grep { /^not ok/ } split /\n/, $result->{out};

    ok($result->{status} == 0 && $result->{signal} == 0 && !@bad
       && ($plan // 0) > 100, $name . ': ' . ($plan // 'no') . ' cases')
        or diag(join "\n", "status $result->{status}",
                "signal $result->{signal}", @bad, $result->{err});
    return $result;
}

my $preferred = '?provider=pkcs11';
for my $row (
    ['default, pkcs11', providers => [qw(default pkcs11)]],
    ['pkcs11, default', providers => [qw(pkcs11 default)]],
    ["default, pkcs11; $preferred",
     providers => [qw(default pkcs11)], properties => $preferred],
    ["pkcs11, default; $preferred",
     providers => [qw(pkcs11 default)], properties => $preferred],
    ['pkcs11, default; ?provider=default',
     providers => [qw(pkcs11 default)], properties => '?provider=default']) {
    my ($name, %conf) = @$row;
    try_tls($name, {}, %conf);
}

SKIP: {
    skip('a sanitizer has its own allocator', 2)
        if defined $ENV{P11_SANITIZER_RUNTIME};
    my ($jemalloc) = grep { -e } glob '/usr/lib/libjemalloc.so.2 '
        . '/usr/lib/*/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2';
    skip('libjemalloc.so.2 is not installed', 2) if !defined $jemalloc;
    my $result = try_tls('with jemalloc', {
        LD_PRELOAD => $jemalloc, MALLOC_CONF => 'stats_print:true' });
    like($result->{err}, qr/Begin jemalloc statistics/,
         'which was the allocator');
}

done_testing();
