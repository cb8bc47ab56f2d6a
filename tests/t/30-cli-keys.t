#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Keys on the command line: made in the token, described, listed, referred to.
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
# genpkey makes a key in a token where ours are preferred.
my %prefer = (env => $counted->conf_env(file => 'prefer.cnf',
                                        properties => '?provider=pkcs11'));
my %conf = (env => $counted->conf_env);
my $data = spew("$dir/data", "to be signed\n");

sub objects {
    return $token->tool('--list-objects')->{out};
}

# --- made in the token ---

# signRecover is SoftHSM's default, which newer pkcs11-tools list.
sub only {
    my ($usage) = @_;
    return qr/Usage:\s+\Q$usage\E(?:, signRecover)?$/m;
}

my @made = (
    # name, algorithm and options, type of the key, how pkcs11-tool says it,
    # usage, text
    ['rsa', [qw(RSA rsa_keygen_bits:2048)], qr/RSA/, qr/decrypt, sign/,
     qr/2048 bit/],
    ['rsa-1024-3', [qw(RSA rsa_keygen_bits:1024 rsa_keygen_pubexp:3)],
     qr/RSA/, qr/decrypt, sign/, qr/1024 bit.*Exponent: 3 /s],
    ['pss', [qw(RSA-PSS rsa_keygen_bits:2048)], qr/RSA/, only('sign'),
     qr/2048 bit/],
    ['pss-256', [qw(RSA-PSS rsa_keygen_bits:2048 rsa_pss_keygen_md:sha256
                    rsa_pss_keygen_mgf1_md:sha256 rsa_pss_keygen_saltlen:32)],
     qr/RSA/, only('sign'), qr/Minimum Salt Length: 32/],
    ['p256', [qw(EC group:P-256)], qr/EC/, qr/sign.*derive/, qr/P-256/],
    ['p384', [qw(EC group:P-384)], qr/EC/, qr/sign.*derive/, qr/P-384/],
    ['p521', [qw(EC group:P-521 pkcs11_key_usage:digitalSignature)], qr/EC/,
     qr/Usage:(?=.*sign)(?!.*derive)/, qr/P-521/],
    ['k256', [qw(EC group:secp256k1)], qr/EC/, qr/sign/, qr/secp256k1/],
    ['decrypt-only', [qw(RSA rsa_keygen_bits:1024
                         pkcs11_key_usage:dataEncipherment)], qr/RSA/,
     only('decrypt'), qr/1024 bit/],
);
my $id = 0;
for my $row (@made) {
    my ($name, $what, $type, $usage, $text) = @$row;
    my ($algorithm, @options) = @$what;
    my $hex = sprintf '%02x', ++$id;
    my $file = "$dir/$name.pem";
    my $uri = $token->uri(object => $name, id => "%$hex");

    my $calls = $count->during(sub {
        my $result = ok_openssl(\%prefer, "$name: is made in the token",
            'genpkey', '-algorithm', $algorithm,
            (map { ('-pkeyopt', $_) } @options, "pkcs11_uri:$uri"),
            '-out', $file);
        is_quiet($result, "$name: without an error left behind");
    });
    is($calls->{C_GenerateKeyPair}, 1, "$name: by one C_GenerateKeyPair");
    like(slurp($file), qr/\A-----BEGIN[ ]PKCS\#11[ ]PROVIDER[ ]URI-----\n
                          [^-]+-----END[ ]PKCS\#11[ ]PROVIDER[ ]URI-----\n\z/x,
         "$name: the file is a reference and nothing else");

    my $private = object($token, 'Private Key', $name);
    like($private, $type, "$name: it is in the token");
    like($private, qr/ID:\s+$hex$/m, "$name: under its ID");
    like($private, $usage, "$name: for its usage");
    like($private, qr/Access:\s+sensitive, always sensitive, never extractable/,
         "$name: and never leaves it");
    like(object($token, 'Public Key', $name), qr/ID:\s+$hex$/m,
         "$name: with its public half");

    my $said = ok_openssl(\%conf, "$name: is described", 'pkey', '-in', $file,
                          '-text', '-noout');
    like($said->{out}, $text, "$name: by what it is");
    like($said->{out}, qr/^URI:\ pkcs11:.*;token=tok;id=%$hex;object=$name;
                           type=private$/mx, "$name: and where");
    unlike($said->{out}, qr/\b$counted->{pin}\b|priv:/, "$name: no secrets");
}

# --- one public key, whoever is asked ---

for my $name (map { $_->[0] } grep { $_->[1][0] ne 'RSA-PSS' } @made) {
    my $expected = slurp(public_key($token, $name));
    for my $in ("$dir/$name.pem", $token->uri(object => $name),
                $token->uri(object => $name, type => 'private'),
                $token->uri(object => $name, type => 'public')) {
        my @public = $in =~ /type=public/ ? '-pubin' : ();
        my $got = ok_openssl(\%conf, "$name: public key of $in", 'pkey',
                             @public, '-in', $in, '-pubout');
        is($got->{out}, $expected, "$name: is the one in the token");
    }
}
# An RSA-PSS key stays one in its reference: the token does not know.
for my $name (qw(pss pss-256)) {
    my $public = ok_openssl(\%conf, "$name: public key of the reference",
                            'pkey', '-in', "$dir/$name.pem", '-pubout');
    my $file = spew("$dir/$name-public.pem", $public->{out});
    my $said = ok_alone("$name: is good", 'pkey', '-pubin', '-in', $file,
                        '-pubcheck', '-noout', '-text');
    like($said->{out}, qr/PSS/, "$name: is RSA-PSS");
}

# --- references ---

for my $name (qw(rsa pss-256 p256)) {
    my $file = "$dir/$name.pem";
    my $copy = "$dir/copy.pem";
    ok_openssl(\%conf, "$name: a reference is read and written", 'pkey',
               '-in', $file, '-out', $copy);
    is(slurp($copy), slurp($file), "$name: and stays the same");
    next if $name eq 'pss-256';     # the token's own word is RSA
    ok_openssl(\%conf, "$name: the reference of a URI", 'pkey',
               '-in', $token->uri(object => $name), '-out', $copy);
    is(slurp($copy), slurp($file), "$name: is the one that genpkey wrote");
}
for my $row ([rsa => 'rsa'], [ec => 'p256']) {
    my ($command, $name) = @$row;
    ok_openssl(\%conf, "openssl $command reads a reference", $command,
               '-in', "$dir/$name.pem", '-out', "$dir/copy.pem");
    is(slurp("$dir/copy.pem"), slurp("$dir/$name.pem"),
       "openssl $command writes it");
}

# --- what the token holds ---

# A certificate on the token: of the key p256, made by openssl itself, so that
# nothing of ours has to work for it.
my $cert = "$dir/cert.der";
my $ca_conf = spew("$dir/req.cnf", "[req]\ndistinguished_name=n\n[n]\n");
openssl({ env => { OPENSSL_CONF => $ca_conf } }, 'req', '-x509', '-newkey',
        'rsa:2048', '-nodes', '-keyout', "$dir/soft.pem", '-subj', '/CN=stored',
        '-days', '30', '-outform', 'DER', '-out', $cert);
$token->tool('--write-object', $cert, '--type', 'cert', '--id', '77',
             '--label', 'stored')->{status} == 0 or die "no certificate\n";

sub kinds {
    my ($result) = @_;
    return join ' ', map { s/^\d+: //r } $result->{out} =~ /^(\d+: .*)$/mg;
}

my $n = @made;
my $all = ok_openssl(\%conf, 'all objects', 'storeutl', '-noout',
                     $token->uri);
is(kinds($all), join(' ', ('Pkey') x $n, ('Public key') x $n, 'Certificate'),
   'private keys, then public keys, then certificates');
is(ok_openssl(\%conf, 'and again', 'storeutl', '-noout', '-text',
              $token->uri)->{out},
   ok_openssl(\%conf, 'and again', 'storeutl', '-noout', '-text',
              $token->uri)->{out}, 'in the same order');

my $text = ok_openssl(\%conf, 'storeutl -text', 'storeutl', '-noout', '-text',
                      '-keys', $token->uri);
for my $name (map { $_->[0] } @made) {
    my ($uri) = $text->{out} =~ /^URI: (pkcs11:.*;object=\Q$name\E;.*)$/m;
    isnt($uri, undef, "$name: its URI is told") or next;
    ok_openssl(\%conf, "$name: and is good to paste", 'pkey', '-in', $uri,
               '-pubout', '-out', "$dir/pasted.pem");
    is(slurp("$dir/pasted.pem"), slurp(public_key($token, $name)),
       "$name: it is that key's");
}

my @listings = (
    # what, URI, option, expected
    ['keys only', $token->uri, '-keys', 'Pkey ' x $n],
    ['certificates only', $token->uri, '-certs', 'Certificate '],
    ['type=private', $token->uri(type => 'private'), undef, 'Pkey ' x $n],
    ['type=public', $token->uri(type => 'public'), undef,
     'Public key ' x $n],
    ['type=cert', $token->uri(type => 'cert'), undef, 'Certificate '],
    ['one label', $token->uri(object => 'p256'), undef, 'Pkey Public key '],
    ['one ID', $token->uri(id => '%01'), undef, 'Pkey Public key '],
    ['the certificate', $token->uri(object => 'stored'), undef,
     'Certificate '],
);
for my $row (@listings) {
    my ($what, $uri, $option, $expected) = @$row;
    my $list = ok_openssl(\%conf, "storeutl: $what", 'storeutl', '-noout',
                          $option // (), $uri);
    is(kinds($list) . ' ', $expected, "storeutl: $what: that and no more");
    is_quiet($list, "storeutl: $what: no error");
}

my $stored = ok_openssl(\%conf, 'the certificate comes out', 'x509', '-in',
                        $token->uri(object => 'stored'), '-outform', 'DER',
                        '-out', "$dir/stored.der");
is(slurp("$dir/stored.der"), slurp($cert), 'byte for byte');

my @missing = (
    ['no such object', $token->uri(object => 'none'), qr/pkcs11:token=tok/],
    ['no such token', 'pkcs11:token=none', qr/no token matches.*"tok"/],
    ['no certificate of that name', $token->uri(object => 'none',
     type => 'cert'), qr/no certificate matches/],
    ['no URI', 'pkcs11:token', qr/"token"/],
    ['an attribute twice', 'pkcs11:token=tok;token=tok', qr/"token"/],
    ['secret keys', $token->uri(type => 'secret-key'),
     qr/private keys, public keys and certificates only/],
    ['a wrong PIN', $token->uri(object => 'p256') . '?pin-value=4321',
     qr/CKR_PIN_INCORRECT/],
);
for my $row (@missing) {
    my ($what, $uri, $words) = @$row;
    refused(\%conf, "storeutl: $what", $words, 'storeutl', '-noout', $uri);
}

# --- refusals: nothing is made ---

my $new = $token->uri(object => 'refused');
my $before = objects();
my @refusals = (
    # what, words, algorithm, options
    ['an unknown usage', qr/"signing" is no key usage/,
     'EC', 'group:P-256', "pkcs11_uri:$new", 'pkcs11_key_usage:signing'],
    ['a usage of other keys', qr/nothing that a key of type EC can do/,
     'EC', 'group:P-256', "pkcs11_uri:$new",
     'pkcs11_key_usage:dataEncipherment'],
    ['a usage against the type', qr/nothing that a key of type RSA-PSS/,
     'RSA-PSS', "pkcs11_uri:$new", 'pkcs11_key_usage:dataEncipherment'],
    ['two places', qr/pkcs11_uri and pkcs11_token are both given/,
     'EC', 'group:P-256', "pkcs11_uri:$new", 'pkcs11_token:tok'],
    ['no curve', qr/say -pkeyopt group:P-256/, 'EC', "pkcs11_uri:$new"],
    ['an unknown curve', qr/"P-257"/, 'EC', 'group:P-257', "pkcs11_uri:$new"],
    ['explicit parameters', qr/explicit/, 'EC', 'group:P-256',
     'ec_param_enc:explicit', "pkcs11_uri:$new"],
    ['another class', qr/leave type= out/, 'EC', 'group:P-256',
     'pkcs11_uri:' . $token->uri(object => 'refused', type => 'public')],
    ['a token that is not there', qr/no token matches/, 'EC', 'group:P-256',
     'pkcs11_uri:pkcs11:token=none;object=refused'],
    ['a misspelt attribute', qr/"objct"/, 'EC', 'group:P-256',
     'pkcs11_uri:pkcs11:token=tok;objct=refused'],
    ['a name that is taken', qr/already has a private key/, 'EC',
     'group:P-256', 'pkcs11_uri:' . $token->uri(object => 'p256')],
    ['too many bits', qr/20000 bits/, 'RSA', 'rsa_keygen_bits:20000',
     "pkcs11_uri:$new"],
    ['three primes', qr/2 primes, not 3/, 'RSA', 'rsa_keygen_primes:3',
     "pkcs11_uri:$new"],
    ['an even exponent', qr/odd/, 'RSA', 'rsa_keygen_pubexp:4',
     "pkcs11_uri:$new"],
    ['an unknown storage', qr/say token or session/, 'EC', 'group:P-256',
     "pkcs11_uri:$new", 'pkcs11_storage:disk'],
    ['a wrong PIN', qr/CKR_PIN_INCORRECT/, 'EC', 'group:P-256',
     "pkcs11_uri:$new?pin-value=4321"],
    ['a software key', qr/this key is not in a token/, 'EC', 'group:P-256'],
    ['a session object', qr/ends with this process/, 'EC', 'group:P-256',
     "pkcs11_uri:$new", 'pkcs11_storage:session'],
);
for my $row (@refusals) {
    my ($what, $words, $algorithm, @options) = @$row;
    my $out = "$dir/refused.pem";
    refused(\%prefer, "genpkey refuses $what", $words, 'genpkey',
            '-algorithm', $algorithm, (map { ('-pkeyopt', $_) } @options),
            '-out', $out);
    ok(!-e $out || -z $out, "genpkey refuses $what: and writes nothing");
    unlink $out;
}
openssl_fails(\%conf, 'without the property the option is unknown',
              qr/pkcs11_uri/, 'genpkey', '-algorithm', 'EC',
              '-pkeyopt', 'group:P-256', '-pkeyopt', "pkcs11_uri:$new");
openssl_fails(\%conf, 'a private key does not become PKCS#8',
              qr/error:/, 'pkey', '-in', "$dir/rsa.pem", '-traditional');
is(objects(), $before, 'the token holds what it held before');

done_testing();
