#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Requests, certificates and revocation lists, signed by keys in a token and
# verified by an openssl without us.
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
my $conf = $count->token->conf_env;
my %conf = (env => $conf);

my %uri = (
    rsa => $token->keypair('rsa:2048', 'rsa', '01'),
    p256 => $token->keypair('EC:prime256v1', 'p256', '02'),
    p384 => $token->keypair('EC:secp384r1', 'p384', '03'),
    other => $token->keypair('rsa:2048', 'other', '04'),
);
my %public = map { $_ => slurp(public_key($token, $_)) } keys %uri;

# ok_signed(NAME, COMMAND…): quiet, by one signature of the token.
sub ok_signed {
    my ($name, @command) = @_;
    my $calls = $count->during(sub {
        is_quiet(ok_openssl(\%conf, $name, @command), "$name: quietly");
    });
    is_deeply({ map { $_ => $calls->{$_} }
                grep { /Sign|Verify|Digest|Create/ } keys %$calls },
              { C_SignInit => 1, C_Sign => 1 }, "$name: one signature")
        or diag(P11::Count::text($calls));
}

# A copy of a certificate whose signature ends in another bit.
sub turned {
    my ($cert) = @_;
    openssl(alone(), 'x509', '-in', $cert, '-outform', 'DER', '-out',
            "$dir/turned");
    my $der = slurp("$dir/turned");
    return spew("$dir/turned", substr($der, 0, -1)
                               . chr(1 ^ ord substr $der, -1));
}

my @ways = (
    # name, key, options, what the certificate says
    ['rsa', 'rsa', [], qr/sha256WithRSAEncryption/],
    ['rsa-sha512', 'rsa', ['-sha512'], qr/sha512WithRSAEncryption/],
    # The salt is as long as fits; from 3.1 on, not longer than the hash.
    ['pss', 'rsa', [qw(-sigopt rsa_padding_mode:pss)],
     qr/rsassaPss.*Hash Algorithm: sha256.*Salt Length: 0x(?:[DE]E|20)/s],
    ['pss-digest', 'rsa', [qw(-sha384 -sigopt rsa_padding_mode:pss
                              -sigopt rsa_pss_saltlen:digest)],
     qr/rsassaPss.*sha384.*mgf1 with sha384.*Salt Length: 0x30/s],
    ['pss-mgf1', 'rsa', [qw(-sigopt rsa_padding_mode:pss
                            -sigopt rsa_pss_saltlen:20
                            -sigopt rsa_mgf1_md:sha1)],
     qr/rsassaPss.*sha256.*mgf1 with sha1.*Salt Length: 0x14/s],
    ['p256', 'p256', [], qr/ecdsa-with-SHA256/],
    ['p384', 'p384', ['-sha384'], qr/ecdsa-with-SHA384/],
);

# A leaf that has nothing to do with tokens.
openssl(alone(), 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256',
        '-out', "$dir/leaf.key");
openssl({ env => { OPENSSL_CONF => $conf->{OPENSSL_CONF} } }, 'req', '-new',
        '-key', "$dir/leaf.key", '-subj', '/CN=leaf', '-out',
        "$dir/leaf.csr");

for my $row (@ways) {
    my ($name, $key, $options, $says) = @$row;
    my ($csr, $ca, $cert) = map { "$dir/$name.$_" } qw(csr ca cert);

    ok_signed("$name: req -new", 'req', '-new', '-key', $uri{$key}, @$options,
              '-subj', "/CN=$name", '-out', $csr);
    like(ok_alone("$name: the request is good", 'req', '-in', $csr, '-verify',
                  '-noout', '-text')->{out}, $says, "$name: as asked for");
    is(ok_alone("$name: its key", 'req', '-in', $csr, '-noout',
                '-pubkey')->{out}, $public{$key}, "$name: is the token's");

    ok_signed("$name: req -x509", 'req', '-x509', '-new', '-key', $uri{$key},
              @$options, '-subj', "/CN=$name", '-days', '30',
              '-addext', 'basicConstraints=critical,CA:true', '-out', $ca);
    ok_alone("$name: the CA verifies itself", 'verify', '-check_ss_sig',
             '-x509_strict', '-CAfile', $ca, $ca);
    like(ok_alone("$name: it is read", 'x509', '-in', $ca, '-noout',
                  '-text')->{out}, $says, "$name: as asked for");

    ok_signed("$name: x509 -req", 'x509', '-req', '-in', "$dir/leaf.csr",
              '-CA', $ca, '-CAkey', $uri{$key}, @$options, '-days', '5',
              '-set_serial', '7', '-out', $cert);
    ok_alone("$name: what it issued verifies", 'verify', '-CAfile', $ca,
             $cert);
    alone_fails("$name: not when a bit was turned", qr/signature failure/,
                'verify', '-CAfile', $ca, turned($cert));
}

# A chain of token keys; foreign requests are verified without the token.
my $ext = spew("$dir/ext", "basicConstraints=critical,CA:true\n");
ok_signed('an intermediate CA', 'x509', '-req', '-in', "$dir/p256.csr",
          '-CA', "$dir/rsa.ca", '-CAkey', $uri{rsa}, '-extfile', $ext,
          '-set_serial', '8', '-out', "$dir/middle.cert");
ok_signed('what it issues', 'x509', '-req', '-in', "$dir/leaf.csr",
          '-CA', "$dir/middle.cert", '-CAkey', $uri{p256},
          '-set_serial', '9', '-out', "$dir/chained.cert");
my @chain = ('-CAfile', "$dir/rsa.ca", '-untrusted', "$dir/middle.cert",
             "$dir/chained.cert");
ok_alone('the chain verifies', 'verify', @chain);
my $calls = $count->during(sub {
    ok_openssl(\%conf, 'and with our provider', 'verify', @chain);
    openssl_fails(\%conf, 'an incomplete one does not', qr/unable to get/,
                  'verify', '-CAfile', "$dir/rsa.ca", "$dir/chained.cert");
});
is(P11::Count::text($calls), '', 'without the token');

# Other ways to the same signature.
ok_signed('x509 -key', 'x509', '-in', "$dir/rsa.ca", '-key', $uri{rsa},
          '-days', '9', '-out', "$dir/resigned");
ok_alone('it verifies', 'verify', '-check_ss_sig', '-CAfile', "$dir/resigned",
         "$dir/resigned");
ok_signed('x509 -x509toreq', 'x509', '-x509toreq', '-in', "$dir/p256.ca",
          '-key', $uri{p256}, '-out', "$dir/again.csr");
ok_alone('it verifies', 'req', '-verify', '-noout', '-in', "$dir/again.csr");
ok_signed('spkac', 'spkac', '-key', $uri{rsa}, '-challenge', 'word', '-out',
          "$dir/spkac");
ok_alone('it verifies', 'spkac', '-in', "$dir/spkac", '-verify', '-noout');
for my $row (['rsa'], ['rsa', '-keyopt', 'rsa_padding_mode:pss'], ['p384']) {
    my ($key, @options) = @$row;
    my $name = "cms -sign $key @options";
    ok_signed($name, 'cms', '-sign', '-nodetach', '-signer', "$dir/$key.ca",
              '-inkey', $uri{$key}, @options, '-in', $ext, '-out',
              "$dir/message");
    ok_alone("$name: verifies", 'cms', '-verify', '-in', "$dir/message",
             '-CAfile', "$dir/$key.ca", '-out', "$dir/content");
    (my $text = slurp("$dir/message")) =~ s/[A-Za-z](?=[^\n]*\n\n?\z)/_/;
    alone_fails("$name: not when it was changed", qr/error/i, 'cms',
                '-verify', '-in', spew("$dir/changed", substr $text, 0, -90),
                '-CAfile', "$dir/$key.ca");
}

# --- openssl ca, revocation lists ---

my $store = scratch('ca');
spew("$store/index.txt", '');
spew("$store/serial", "1000\n");
spew("$store/crlnumber", "01\n");
my $ca_conf = spew("$dir/ca.cnf", slurp($conf->{OPENSSL_CONF}) . <<"END");

[ca]
default_ca = default
[default]
database = $store/index.txt
new_certs_dir = $store
serial = $store/serial
crlnumber = $store/crlnumber
default_md = sha256
default_days = 5
default_crl_days = 5
policy = policy
[policy]
commonName = supplied
END
for my $row (['rsa'], ['rsa', '-sigopt', 'rsa_padding_mode:pss'], ['p384']) {
    my ($key, @options) = @$row;
    my $name = "ca $key @options";
    my @ca = ('ca', '-config', $ca_conf, '-batch', '-cert', "$dir/$key.ca",
              '-keyfile', $uri{$key}, @options);
    my ($cert, $crl) = ("$dir/issued", "$dir/crl");

    spew("$store/index.txt", '');
    ok_signed("$name: issues", @ca, '-notext', '-in', "$dir/leaf.csr", '-out',
              $cert);
    ok_alone("$name: a certificate", 'verify', '-CAfile', "$dir/$key.ca",
             $cert);
    ok_signed("$name: -gencrl", @ca, '-gencrl', '-out', $crl);
    ok_alone("$name: not revoked", 'verify', '-crl_check', '-CRLfile', $crl,
             '-CAfile', "$dir/$key.ca", $cert);
    ok_openssl(\%conf, "$name: revokes", @ca, '-revoke', $cert);
    ok_signed("$name: -gencrl", @ca, '-gencrl', '-out', $crl);
    like(ok_alone("$name: the list is read", 'crl', '-in', $crl, '-CAfile',
                  "$dir/$key.ca", '-noout')->{err}, qr/verify OK/,
         "$name: and its signature is good");
    alone_fails("$name: revoked", qr/certificate revoked/, 'verify',
                '-crl_check', '-CRLfile', $crl, '-CAfile', "$dir/$key.ca",
                $cert);
}

# --- refusals ---

my $none = $token->uri(object => 'none');
$calls = $count->during(sub {
    for my $key (qw(other p256)) {
        openssl_fails(\%conf, "a CA's certificate and another key: $key",
                      qr/do(?:es)? not match/, 'x509', '-req', '-in',
                      "$dir/leaf.csr", '-CA', "$dir/rsa.ca", '-CAkey',
                      $uri{$key}, '-set_serial', '1');
    }
    openssl_fails(\%conf, 'a hash for nobody', qr/error/i, 'req', '-new',
                  '-key', $uri{rsa}, '-blake2b512', '-subj', '/CN=none');
    refused(\%conf, 'a CA key that is not there', qr/no private key matches/,
            'x509', '-req', '-in', "$dir/leaf.csr", '-CA', "$dir/rsa.ca",
            '-CAkey', $none, '-set_serial', '1');
    refused(\%conf, 'a request with a key that is not there',
            qr/no private key matches/, 'req', '-new', '-key', $none,
            '-subj', '/CN=none');
});
is($calls->{C_SignInit} // 0, 0, 'nothing was signed');
done_testing();
