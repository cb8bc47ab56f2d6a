#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Whatever the order of providers, and whoever is preferred: keys on a token
# work, by URI and by reference, and everything else is as it was without us.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $count = P11::Count->new($token);
my $counted = $count->token;
my $data = spew("$dir/data", "to be signed\n" x 100);
my $prefer = '?provider=pkcs11';

my %uri = (rsa => $token->keypair('rsa:2048', 'rsa', '01'),
           ec => $token->keypair('EC:prime256v1', 'ec', '02'));
my %public = map { $_ => public_key($token, $_) } keys %uri;

# --- orders: by configuration, on the command line, or both ---

sub by_file {
    my ($name, @how) = @_;
    return { env => $counted->conf_env(file => "$name.cnf", @how) };
}

sub by_arguments {
    return { env => $counted->bare_env, providers => [@_] };
}

my @orders = (
    # name, how, property query, files can be read
    ['file: default, pkcs11', by_file('dp'), undef, 1],
    ['file: pkcs11, default', by_file('pd', providers => [qw(pkcs11 default)]),
     undef, 1],
    ['file: pkcs11', by_file('p', providers => ['pkcs11']), undef, 0],
    ['file: default, pkcs11, preferred',
     by_file('dpp', properties => $prefer), undef, 1],
    ['file: pkcs11, default, preferred',
     by_file('pdp', providers => [qw(pkcs11 default)],
             properties => $prefer), undef, 1],
    ['file: pkcs11, base, preferred',
     by_file('pbp', providers => [qw(pkcs11 base)], properties => $prefer),
     undef, 1],
    ['file, and -propquery', by_file('dp'), $prefer, 1],
    ['-provider default pkcs11', by_arguments(qw(default pkcs11)), undef, 1],
    ['-provider pkcs11 default', by_arguments(qw(pkcs11 default)), undef, 1],
    ['-provider pkcs11', by_arguments('pkcs11'), undef, 0],
    ['-provider pkcs11 base', by_arguments(qw(pkcs11 base)), undef, 1],
    ['-provider default pkcs11 -propquery',
     by_arguments(qw(default pkcs11)), $prefer, 1],
    ['-provider pkcs11 default -propquery',
     by_arguments(qw(pkcs11 default)), $prefer, 1],
    ['-provider pkcs11 -propquery', by_arguments('pkcs11'), $prefer, 0],
);

# Without a file there is a PIN in the environment, and only the URI says so.
my $pin = '?pin-source=env:P11_TEST_PIN';
$_->[1]{env}{P11_TEST_PIN} = $token->pin for @orders;

my (%reference, %text);
for my $key (qw(rsa ec)) {
    $reference{$key} = "$dir/$key.pem";
    my $how = $orders[0][1];
    ok_openssl($how, "$key: a reference", 'pkey', '-in', "$uri{$key}$pin",
               '-out', $reference{$key});
    $text{$key} = ok_openssl($how, "$key: its description", 'pkey', '-in',
                             "$uri{$key}$pin", '-noout', '-text')->{out};
}

sub key_works {
    my ($name, $how, $props, $key, $in) = @_;
    my @props = defined $props ? ('-propquery', $props) : ();
    my $sig = "$dir/sig";
    my $by_file = $in =~ /^pkcs11:/ ? undef : 1;

    my $calls = $count->during(sub {
        ok_openssl($how, "$name: dgst -sign", 'dgst', @props, '-sha256',
                   '-sign', $in, '-out', $sig, $data);
    });
    is($calls->{C_Sign}, 1, "$name: in the token");
    ok_alone("$name: it verifies", 'dgst', '-sha256', '-verify',
             $public{$key}, '-signature', $sig, $data);

    $calls = $count->during(sub {
        ok_openssl($how, "$name: pkeyutl -sign", 'pkeyutl', @props, '-sign',
                   '-inkey', $in, '-rawin', '-digest', 'sha256', '-in', $data,
                   '-out', $sig);
    });
    is($calls->{C_Sign}, 1, "$name: in the token");
    $calls = $count->during(sub {
        ok_openssl($how, "$name: dgst -prverify", 'dgst', @props, '-sha256',
                   '-prverify', $in, '-signature', $sig, $data);
        is(ok_openssl($how, "$name: pkey -pubout", 'pkey', @props, '-in', $in,
                      '-pubout')->{out}, slurp($public{$key}),
           "$name: the public key");
        is(ok_openssl($how, "$name: pkey", 'pkey', @props, '-in',
                      $in)->{out}, slurp($reference{$key}),
           "$name: the reference");
        is(ok_openssl($how, "$name: pkey -text", 'pkey', @props, '-in', $in,
                      '-noout', '-text')->{out}, $text{$key},
           "$name: the description");
    });
    is($calls->{C_SignInit} // 0, 0, "$name: all that without signing");
    is(sum_of($calls), 0, "$name: or any call") if $by_file;

    # A serial number is random, and base has no random numbers: only once a
    # token is used is the default provider there, too.
    return if $name =~ /base/ && $by_file;
    ok_openssl($how, "$name: req -x509", 'req', @props, '-x509', '-new',
               '-key', $in, '-subj', '/CN=x', '-out', "$dir/cert");
    ok_alone("$name: it verifies", 'verify', '-check_ss_sig', '-CAfile',
             "$dir/cert", "$dir/cert");
}

for my $row (@orders) {
    my ($name, $how, $props, $reads_files) = @$row;
    for my $key (qw(rsa ec)) {
        key_works("$name: $key URI", $how, $props, $key, "$uri{$key}$pin");
        next if !$reads_files;
        key_works("$name: $key PEM", $how, $props, $key, $reference{$key});
    }
    openssl_fails($how, "$name: a key that is not there",
                  qr/:pkcs11:.*no private key matches/, 'pkey',
                  (defined $props ? ('-propquery', $props) : ()), '-in',
                  $token->uri(object => 'none') . $pin);
}

# --- who is not on the token is none of our business ---

openssl(alone(), 'genpkey', '-algorithm', 'RSA', '-out', "$dir/soft-rsa");
openssl(alone(), 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256',
        '-out', "$dir/soft-ec");
openssl(alone(), 'genpkey', '-algorithm', 'X25519', '-out', "$dir/soft-x");
openssl(alone(), 'pkey', '-in', "$dir/soft-x", '-pubout', '-out', "$dir/peer");
my $plain = by_file('dp');
for my $key (qw(rsa ec)) {
    openssl($plain, 'req', '-x509', '-new', '-key', "$dir/soft-$key",
            '-subj', "/CN=$key", '-out', "$dir/foreign-$key");
    openssl(alone(), 'dgst', '-sha256', '-sign', "$dir/soft-$key", '-out',
            "$dir/foreign-$key.sig", $data);
}
openssl(alone(), 'rsautl', '-encrypt', '-inkey', "$dir/soft-rsa", '-in',
        spew("$dir/short", 'short'), '-out', "$dir/encrypted");

my @harmless = (
    # the same output every time
    ['version', '-a'],
    ['dgst', '-sha256', $data],
    ['mac', '-digest', 'SHA256', '-macopt', 'key:word', '-in', $data, 'HMAC'],
    ['kdf', '-keylen', '16', '-kdfopt', 'digest:SHA256', '-kdfopt',
     'key:secret', '-kdfopt', 'salt:salt', 'HKDF'],
    ['enc', '-aes-256-cbc', '-K', '00' x 32, '-iv', '00' x 16, '-in', $data,
     '-a'],
    ['passwd', '-6', '-salt', 'salt', 'word'],
    map({ my $key = $_;
          (['verify', '-check_ss_sig', '-CAfile', "$dir/foreign-$key",
            "$dir/foreign-$key"],
           ['x509', '-in', "$dir/foreign-$key", '-noout', '-text'],
           ['x509', '-in', "$dir/foreign-$key", '-noout', '-pubkey'],
           ['pkey', '-in', "$dir/soft-$key", '-text'],
           ['pkey', '-in', "$dir/soft-$key", '-pubout'],
           ['pkey', '-in', "$dir/soft-$key", '-check'],
           ['dgst', '-sha256', '-prverify', "$dir/soft-$key", '-signature',
            "$dir/foreign-$key.sig", $data]) } qw(rsa ec)),
    ['dgst', '-sha256', '-hex', '-sign', "$dir/soft-rsa", $data],
    ['pkeyutl', '-decrypt', '-inkey', "$dir/soft-rsa", '-in',
     "$dir/encrypted"],
    ['pkeyutl', '-derive', '-inkey', "$dir/soft-x", '-peerkey',
     "$dir/peer", '-hexdump'],
);
my @harmless_random = (
    ['rand', '-hex', '8'],
    ['dgst', '-sha256', '-sign', "$dir/soft-ec", '-out', "$dir/out", $data],
    ['dgst', '-sha256', '-sigopt', 'rsa_padding_mode:pss', '-sign',
     "$dir/soft-rsa", '-out', "$dir/out", $data],
    ['req', '-x509', '-new', '-key', "$dir/soft-ec", '-subj', '/CN=x',
     '-out', "$dir/out"],
    ['x509', '-in', "$dir/foreign-rsa", '-key', "$dir/soft-rsa", '-out',
     "$dir/out"],
    ['pkey', '-in', "$dir/soft-rsa", '-aes256', '-passout', 'pass:word',
     '-out', "$dir/out"],
    ['pkcs12', '-export', '-inkey', "$dir/soft-ec", '-in',
     "$dir/foreign-ec", '-passout', 'pass:word', '-out', "$dir/p12"],
    ['pkcs12', '-in', "$dir/p12", '-passin', 'pass:word', '-noenc'],
    ['genpkey', '-algorithm', 'ED25519'],
    ['cms', '-encrypt', '-in', $data, '-out', "$dir/out",
     "$dir/foreign-rsa"],
    ['cms', '-sign', '-signer', "$dir/foreign-ec", '-inkey', "$dir/soft-ec",
     '-in', $data, '-out', "$dir/out"],
);
my @refused_as_ever = (
    ['verify', '-CAfile', "$dir/foreign-rsa", "$dir/foreign-ec"],
    ['dgst', '-sha256', '-prverify', "$dir/soft-rsa", '-signature',
     "$dir/foreign-rsa.sig", "$dir/short"],
    ['pkeyutl', '-decrypt', '-inkey', "$dir/soft-rsa", '-in',
     "$dir/foreign-rsa.sig", '-pkeyopt', 'rsa_padding_mode:oaep'],
);

my @expected = map { openssl(alone(), @$_)->{out} } @harmless;
for my $row (grep { $_->[0] =~ /^file:.*default/ } @orders) {
    my ($name, $how) = @$row;
    my $before = $count->read;
    for my $i (0 .. $#harmless) {
        my @command = @{ $harmless[$i] };
        my $result = ok_openssl($how, "$name: openssl @command", @command);
        is($result->{out}, $expected[$i], "$name: as without us");
        is_quiet($result, "$name: quietly");
    }
    for my $command (@harmless_random) {
        is_quiet(ok_openssl($how, "$name: openssl @$command", @$command),
                 "$name: quietly");
    }
    openssl_fails($how, "$name: openssl @$_", qr/fail|error/i, @$_)
        for @refused_as_ever;
    is_deeply($count->read, $before, "$name: the module was never called");
}

# New software keys: written where the default provider makes them.
my @genpkey = qw(genpkey -algorithm EC -pkeyopt group:P-256);
like(ok_openssl($plain, 'genpkey makes a software key', @genpkey)->{out},
     qr/\A-----BEGIN PRIVATE KEY-----/, 'and writes it');
for my $row (grep { $_->[0] =~ /^file:.*default.*preferred/ } @orders) {
    my $none = refused($row->[1], "$row->[0]: not with ours preferred",
                       qr/this key is not in a token/, @genpkey);
    is($none->{out}, '', "$row->[0]: nothing is written");
}

# --- nothing is opened before a token key is named ---

SKIP: {
    my @strace = ('strace', '-f', '-e', 'trace=open,openat', '-o',
                  "$dir/strace");
    skip 'strace is not installed, or may not trace here', 1
        if !have('strace') || run(@strace, 'true')->{status} != 0;
    my $opens = sub {
        my ($how, @command) = @_;
        my %env = (OPENSSL_MODULES => builddir() . '/.libs',
                   %{ $how->{env} });
        ok_run({ env => \%env }, "strace openssl $command[0]", @strace,
               have('openssl'), @command);
        return slurp("$dir/strace");
    };
    my $module = qr{count-pkcs11\.so|softhsm2\.so};
    for my $row (grep { $_->[0] =~ /^file:/ } @orders) {
        my ($name, $how) = @$row;
        for my $command (['version'], ['dgst', '-sha256', $data],
                         ['list', '-providers']) {
            next if $name eq 'file: pkcs11' && $command->[0] eq 'dgst';
            next if $name =~ /base/ && $command->[0] eq 'dgst';
            my $seen = $opens->($how, @$command);
            like($seen, qr/\.libs\/pkcs11\.so/, "$name: our provider is there")
                if $command->[0] ne 'version';
            unlike($seen, $module, "$name: openssl $command->[0]: no module");
        }
    }
    like($opens->($plain, 'pkey', '-noout', '-in', $uri{ec}), $module,
         'and there it is, once a key is named');
    unlike($opens->($plain, 'pkey', '-noout', '-in', $reference{ec}), $module,
           'but not for a reference');
}

done_testing();
