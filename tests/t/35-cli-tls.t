#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# TLS with keys in a token on both ends: s_server and s_client, whatever the
# order of providers, and each of them against an end without us.
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
my %count = map { $_ => P11::Count->new($token) } qw(server client);
my $prefer = '?provider=pkcs11';

# --- a CA in software, certificates for keys in the token ---

my %uri = (rsa => $token->keypair('rsa:2048', 'rsa', '01'),
           p256 => $token->keypair('EC:prime256v1', 'p256', '02'),
           p384 => $token->keypair('EC:secp384r1', 'p384', '03'));
my %plain = (env => $count{client}->token->conf_env(file => 'plain.cnf'));
my $ca = "$dir/ca.pem";
my $names = spew("$dir/names", "subjectAltName=DNS:localhost\n");

sub make {
    my (@command) = @_;
    my $result = openssl(\%plain, @command);
    die "$result->{command}:\n$result->{err}" if $result->{status} != 0;
}

for my $name ('ca', 'other') {
    make('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj',
         "/CN=$name", '-addext', 'basicConstraints=critical,CA:true',
         '-keyout', "$dir/$name.key", '-out', "$dir/$name.pem");
}
# That a key is for RSA-PSS only its reference knows, not the token.
$uri{pss} = "$dir/made.pem";
make('genpkey', '-propquery', $prefer, '-algorithm', 'RSA-PSS', '-pkeyopt',
     'rsa_keygen_bits:2048', '-pkeyopt',
     'pkcs11_uri:' . $token->uri(object => 'pss', id => '%04'),
     '-out', $uri{pss});
make('genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256', '-out',
     "$dir/soft.key");
for my $row ((map { [$_, $uri{$_}, 'ca'] } keys %uri),
             ['soft', "$dir/soft.key", 'ca'],
             ['stranger', $uri{rsa}, 'other']) {
    my ($name, $key, $issuer) = @$row;
    make('req', '-new', '-key', $key, '-subj', "/CN=$name", '-out',
         "$dir/csr");
    make('x509', '-req', '-in', "$dir/csr", '-CA', "$dir/$issuer.pem",
         '-CAkey', "$dir/$issuer.key", '-CAcreateserial', '-extfile', $names,
         '-days', '5', '-out', "$dir/$name.crt");
}
for my $key (keys %uri) {
    make('pkey', '-in', $uri{$key}, '-out', "$dir/$key.pem");
}

# --- one server, some clients ---

# Our side of it: an order of providers.
sub side {
    my ($who, $order) = @_;
    my ($kind, $properties, @providers) = @$order;
    my $counted = $count{$who}->token;

    return alone() if $kind eq 'alone';
    if ($kind eq 'arguments') {
        return { env => { %{ $counted->bare_env }, P11_PIN => $token->pin },
                 providers => \@providers };
    }
    return { env => $counted->conf_env(
        file => "$who.cnf", providers => \@providers,
        defined $properties ? (properties => $properties) : ()) };
}

# serve(HOW, CONNECTIONS, ARGUMENTS…): the port and the server, which ends
# after so many connections.
sub serve {
    my ($how, $connections, @arguments) = @_;
    my $port = free_port();
    my ($new_how, @command) = P11::Test::openssl_command($how, 's_server',
        '-accept', "127.0.0.1:$port", '-naccept', $connections, '-www',
        '-CAfile', $ca, '-Verify', '2', '-verify_return_error', @arguments);
    my $server = start_server($new_how, 'tls', @command);
    accepts($server);
    return ($port, $server);
}

sub client {
    my ($port, @arguments) = @_;
    return ('s_client', '-connect', "127.0.0.1:$port", '-servername',
            'localhost', '-verify_hostname', 'localhost', '-CAfile', $ca,
            '-verify_return_error', '-ign_eof', @arguments);
}

sub asking {
    my ($how) = @_;
    return { %$how, stdin => "GET / HTTP/1.0\r\n\r\n" };
}

# The output is long: shown in part.
sub says {
    my ($result, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok($result->{out} =~ $pattern, $name)
        or diag("not said: $pattern\n", join "\n",
                grep { /^(?:Peer|Server|New|No client|Client|.*Verif)/ }
                split /\n/, $result->{out});
}

# The server's page says that it saw the client's certificate.
sub handshake {
    my ($name, $how, $port, $peer, @arguments) = @_;
    my $result;
    my $server_calls = $count{server}->during(sub {
        my $client_calls = $count{client}->during(sub {
            $result = ok_openssl(asking($how), "$name: is done",
                                 client($port, @arguments));
        });
        $result->{calls} = $client_calls;
    });
    says($result, qr/Verify return code: 0 \(ok\)/,
         "$name: the server is who it says");
    says($result, qr/Client certificate.*Subject: CN ?= ?\Q$peer\E\n/s,
         "$name: and knows its client");
    is_quiet($result, "$name: quietly");
    return ($result, $server_calls);
}

sub ended {
    my ($name, $server) = @_;
    is(stop_server($server, 0), 0, "$name: the server ends with status 0")
        or diag(slurp($server->{err}));
}

my %one = (C_SignInit => 1, C_Sign => 1);

sub work_of {
    my ($calls) = @_;
    return { map { $_ => $calls->{$_} }
             grep { /Sign|Verify|Create|crypt|Digest|Derive|Generate/ }
             keys %$calls };
}

# --- orders ---

my @orders = (
    # kind, default property query, providers
    ['file', undef, qw(default pkcs11)],
    ['file', undef, qw(pkcs11 default)],
    ['file', $prefer, qw(default pkcs11)],
    ['file', $prefer, qw(pkcs11 default)],
    ['arguments', undef, qw(default pkcs11)],
    ['arguments', undef, qw(pkcs11 default)],
);
my %partner = (rsa => 'p256', p256 => 'rsa');

for my $order (@orders) {
    my $server_how = side('server', $order);
    my $client_how = side('client', $order);
    my $pin = $order->[0] eq 'file' ? '' : '?pin-source=env:P11_PIN';

    for my $key (sort keys %partner) {
        my $mine = $partner{$key};
        # By URI on one end, by reference on the other; without a file the
        # reference does not say where the PIN is.
        my $file = $order->[0] eq 'file';
        my $server_key = $file && $key eq 'rsa' ? "$dir/$key.pem"
            : "$uri{$key}$pin";
        my $client_key = $file && $key ne 'rsa' ? "$dir/$mine.pem"
            : "$uri{$mine}$pin";
        my $name = join ' ', $order->[0], @$order[2 .. $#$order],
            $order->[1] // (), $key;
        my ($port, $server) = serve($server_how, 3, '-cert', "$dir/$key.crt",
                                    '-key', $server_key);
        my @certificate = ('-cert', "$dir/$mine.crt", '-key', $client_key);
        my $first = 1;
        for my $version (qw(1.3 1.2)) {
            my $tls = "$name, TLS $version";
            my ($result, $calls) = handshake($tls, $client_how, $port, $mine,
                "-tls" . $version =~ tr/./_/r, @certificate);
            says($result, qr/New, TLSv\Q$version\E, Cipher/,
                 "$tls: of that version");
            is_deeply(work_of($calls), \%one, "$tls: the server signs once");
            is(sum_of($calls), 2, "$tls: by two calls in all")
                or diag(P11::Count::text($calls)) if !$first;
            is_deeply(work_of($result->{calls}), \%one,
                      "$tls: the client signs once");
            $first = 0;
        }
        openssl_fails(asking($client_how), "$name: not without a certificate",
                      qr/certificate required|handshake failure/,
                      client($port, '-tls1_3'));
        ended($name, $server);
    }
}

# --- one end without us, every signature algorithm and group ---

my $ours = ['file', undef, qw(default pkcs11)];
my $preferred = ['file', $prefer, qw(default pkcs11)];
my @soft = ('-cert', "$dir/soft.crt", '-key', "$dir/soft.key");
# What the client's own key signs with has to be in its list, too.
my $own = 'ecdsa_secp256r1_sha256';
my @details = (
    # key, arguments of the client, what it says: from 3.2 on, the signature's
    # name in TLS
    ['rsa', ['-tls1_3', '-sigalgs', "rsa_pss_rsae_sha256:$own"],
     qr/Peer signature type: (?:RSA-PSS|rsa_pss_rsae_)/],
    ['rsa', ['-tls1_3', '-sigalgs', "rsa_pss_rsae_sha384:$own"],
     qr/Peer signing digest: SHA384/],
    ['rsa', ['-tls1_3', '-sigalgs', "rsa_pss_rsae_sha512:$own"],
     qr/Peer signing digest: SHA512/],
    ['rsa', ['-tls1_2', '-sigalgs', "RSA+SHA256:$own"],
     qr/Peer signature type: (?:RSA|rsa_pkcs1_\w+)\n/],
    ['rsa', ['-tls1_2', '-sigalgs', "RSA+SHA512:$own"],
     qr/Peer signature type: (?:RSA|rsa_pkcs1_\w+)\n/],
    ['rsa', ['-tls1_2', '-sigalgs', "rsa_pss_rsae_sha256:$own"],
     qr/Peer signature type: (?:RSA-PSS|rsa_pss_rsae_)/],
    ['rsa', ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'], qr/TLSv1\.1/],
    ['rsa', ['-tls1_2', '-cipher', 'DHE-RSA-AES128-GCM-SHA256'],
     qr/DHE-RSA-AES128-GCM-SHA256/],
    ['pss', ['-tls1_3', '-sigalgs', "rsa_pss_pss_sha256:$own"],
     qr/Peer signature type: (?:RSA-PSS|rsa_pss_pss_)/],
    ['pss', ['-tls1_2', '-sigalgs', "rsa_pss_pss_sha512:$own"],
     qr/Peer signing digest: SHA512/],
    ['p256', ['-tls1_3', '-sigalgs', 'ecdsa_secp256r1_sha256'],
     qr/Peer signature type: (?:ECDSA|ecdsa_)/],
    ['p256', ['-tls1_2', '-sigalgs', "ECDSA+SHA512:$own"],
     qr/Peer signing digest: SHA512/],
    ['p384', ['-tls1_3', '-sigalgs', "ecdsa_secp384r1_sha384:$own"],
     qr/Peer signing digest: SHA384/],
    map({ ['p256', ['-tls1_3', '-groups', $_->[0]], $_->[1]] }
        ['X25519', qr/X25519/], ['P-256', qr/ECDH, prime256v1|P-256/],
        ['P-384', qr/ECDH, secp384r1|P-384/], ['P-521', qr/secp521r1|P-521/],
        ['X448', qr/X448/], ['ffdhe2048', qr/DH, (?:ffdhe2048|2048 bits)/i]),
);
my $sigalgs = join ':', 'RSA+SHA1', map {
    ("RSA-PSS+$_", "rsa_pss_pss_\L$_", "RSA+$_", "ECDSA+$_")
} qw(SHA256 SHA384 SHA512);
for my $order ($ours, $preferred) {
    my $ours_how = side('server', $order);
    for my $key (sort keys %uri) {
        my @rows = grep { $_->[0] eq $key } @details;
        my ($port, $server) = serve($ours_how, scalar @rows, '-cert',
            "$dir/$key.crt", '-key', $uri{$key}, '-cipher',
            'ALL:@SECLEVEL=0', '-sigalgs', $sigalgs, '-groups',
            'X25519:P-256:P-384:P-521:X448:ffdhe2048');
        for my $row (@rows) {
            my (undef, $arguments, $says) = @$row;
            my $name = join ' ', $order->[1] // 'server', $key, @$arguments;
            my ($result, $calls) = handshake($name, alone(), $port, 'soft',
                                             @soft, @$arguments);
            says($result, $says, "$name: as asked for");
            is_deeply(work_of($calls), \%one, "$name: one signature");
        }
        ended("server $key", $server);
    }
    # Groups and versions are offered as without us.
    my $client_how = side('client', $order);
    for my $row (['-tls1_3', 'X25519'], ['-tls1_3', 'P-384'],
                 ['-tls1_3', 'ffdhe2048'], ['-tls1_2', 'P-256:P-384']) {
        my ($version, $group) = @$row;
        for my $key (qw(rsa p384)) {
            my $name = join ' ', $order->[1] // 'client', $key, @$row;
            my ($port, $server) = serve(alone(), 1, @soft, '-groups', $group);
            my ($result) = handshake($name, $client_how, $port, $key,
                $version, '-cert', "$dir/$key.crt", '-key', $uri{$key});
            is_deeply(work_of($result->{calls}), \%one,
                      "$name: one signature");
            ended($name, $server);
        }
    }
    # Nobody's key is on the token: nobody calls it.
    my ($port, $server) = serve($ours_how, 2, @soft);
    for my $version (qw(-tls1_3 -tls1_2)) {
        my ($result, $calls) = handshake("software $version", $client_how,
                                         $port, 'soft', $version, @soft);
        is(P11::Count::text($calls) . P11::Count::text($result->{calls}), '',
           "software $version: no call");
    }
    ended('software', $server);
}

# --- refusals ---

my $client_how = side('client', $ours);
my ($port, $server) = serve(side('server', $ours), 2, '-cert',
                            "$dir/p256.crt", '-key', $uri{p256});
openssl_fails(asking($client_how), 'a stranger is not let in',
              qr/unknown ca|alert/, client($port, '-cert',
              "$dir/stranger.crt", '-key', $uri{rsa}));
openssl_fails(asking($client_how), 'a wrong CA',
              qr/verify error|verify failed/, (client($port, '-cert',
              "$dir/rsa.crt", '-key', $uri{rsa}))[0 .. 6], '-CAfile',
              "$dir/other.pem", '-verify_return_error');
ended('refusals', $server);

for my $command (['s_server', '-accept', '127.0.0.1:' . free_port(),
                  '-naccept', 1], ['s_client', '-connect', '127.0.0.1:1']) {
    my $name = $command->[0];
    for my $row (['p256', 'rsa'], ['p256', 'p384']) {
        my ($cert, $key) = @$row;
        openssl_fails($client_how, "$name: certificate $cert, key $key",
                      qr/mismatch|not match/i, @$command, '-cert',
                      "$dir/$cert.crt", '-key', $uri{$key});
    }
    refused($client_how, "$name: no such key", qr/no private key matches/,
            @$command, '-cert', "$dir/rsa.crt", '-key',
            $token->uri(object => 'none'));
}

done_testing();
