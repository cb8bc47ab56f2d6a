#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# EC keys of all curves on the command line; explicit parameters, names of
# curves, points in every form, as tokens may have them.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Errors;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $dir = scratch();
my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);
my %how = (env => $count->token->conf_env);
my $data = spew("$dir/data", join "\n", 1 .. 200);
my $digest = spew("$dir/digest", 'd' x 32);
my $sig = "$dir/sig";
my @want = qw(genpkey -propquery ?provider=pkcs11 -algorithm EC -pkeyopt);

# By the token, and judged by an openssl that does not know us.
sub signs {
    my ($how, $name, $key, $public) = @_;
    my $calls = $count->during(sub {
        ok_openssl($how, "$name: signs", 'pkeyutl', '-sign', '-inkey', $key,
                   '-in', $digest, '-out', $sig);
    });
    is($calls->{C_Sign}, 1, "$name: in the token");
    ok_alone("$name: verified", 'pkeyutl', '-verify', '-pubin', '-inkey',
             $public, '-in', $digest, '-sigfile', $sig);
    alone_fails("$name: nothing else", qr/Failure/, 'pkeyutl', '-verify',
                '-pubin', '-inkey', $public, '-in',
                spew("$dir/wrong", 'e' x 32), '-sigfile', $sig);
}

sub agrees {
    my ($name, $key, $public, $how) = @_;
    my @peer = ('-peerkey', "$dir/peer.pub");
    ok_alone("$name: the peer's public key", 'pkey', '-in', "$dir/peer.pem",
             '-pubout', '-out', "$dir/peer.pub");
    ok_openssl($how // \%how, "$name: agrees", 'pkeyutl', '-derive', '-inkey', $key,
               @peer, '-out', "$dir/ours");
    ok_alone("$name: so does the peer", 'pkeyutl', '-derive', '-inkey',
             "$dir/peer.pem", '-peerkey', $public, '-out', "$dir/theirs");
    is(slurp("$dir/ours"), slurp("$dir/theirs"), "$name: on the same");
}

# --- curves by name, made in the token ---

my @curves = (
    # as it is asked for, and what it is then called
    ['P-256', 'prime256v1'], ['secp256r1', 'prime256v1'],
    ['P-384', 'secp384r1'], ['secp521r1', 'secp521r1'],
    ['prime192v1', 'prime192v1'], ['prime239v3', 'prime239v3'],
    ['secp256k1', 'secp256k1'], ['secp160k1', 'secp160k1'],
    ['brainpoolP256r1', 'brainpoolP256r1'],
    ['brainpoolP320t1', 'brainpoolP320t1'],
    ['brainpoolP512r1', 'brainpoolP512r1'],
    ['K-163', 'sect163k1'], ['sect571r1', 'sect571r1'],
    ['c2pnb163v1', 'c2pnb163v1'], ['c2tnb239v1', 'c2tnb239v1'],
    ['wap-wsg-idm-ecid-wtls9', 'wap-wsg-idm-ecid-wtls9'],
);
for my $i (0 .. $#curves) {
    my ($asked, $curve) = @{ $curves[$i] };
    my $label = "curve-$asked";
    my $uri = $token->uri(object => $label);
    my $file = "$dir/$label.pem";
    my $name = $i % 2 ? 'group' : 'ec_paramgen_curve';
    ok_openssl(\%how, "$asked: made", @want, "$name:$asked", '-pkeyopt',
               "pkcs11_uri:$uri", '-out', $file);
    my $public = public_key($token, $label);
    like(openssl(alone(), qw(pkey -pubin -noout -text_pub -in), $public)
         ->{out}, qr/^ASN1 OID: \Q$curve\E$/m, "$asked: $curve");
    like(openssl(\%how, qw(pkey -noout -text -in), $uri)->{out},
         qr/^ASN1 OID: \Q$curve\E$/m, "$asked: told by the key");
    signs(\%how, $asked, $i % 3 ? $uri : $file, $public);
    ok_alone("$asked: a peer", 'genpkey', '-algorithm', 'EC', '-pkeyopt',
             "group:$curve", '-out', "$dir/peer.pem");
    agrees($asked, $uri, $public);
}
for my $row (['no-such', qr/invalid curve|unknown|group/i],
             ['Oakley-EC2N-3', qr/the curve "Oakley-EC2N-3" is not supported/],
             ['SM2', qr/the curve "SM2" is not supported on tokens/]) {
    my ($curve, $words) = @$row;
    my $before = object($token, 'Private Key', 'none');
    my $calls = $count->during(sub {
        openssl_fails(\%how, "$curve: refused", $words, @want, "group:$curve",
            '-pkeyopt', 'pkcs11_uri:' . $token->uri(object => 'none'),
            '-out', '/dev/null');
    });
    is(sum_of($calls), 0, "$curve: before a token is asked");
}

# --- explicit parameters, of a named curve, in the token ---

for my $curve (qw(P-256 brainpoolP384r1 secp224r1 sect283k1)) {
    my $label = "explicit-$curve";
    my $file = "$dir/$label.pem";
    ok_alone("$label: made", 'genpkey', '-algorithm', 'EC', '-pkeyopt',
             "group:$curve", '-pkeyopt', 'ec_param_enc:explicit', '-out',
             $file);
    ok_run({ env => $token->env }, "$label: imported", 'softhsm2-util',
           '--import', $file, '--token', $token->label, '--pin', $token->pin,
           '--label', $label, '--id', unpack 'H*', $label);
    like(object($token, 'Public Key', $label), qr/EC_PARAMS:\s+30/,
         "$label: the token has them so");
    my $uri = $token->uri(object => $label);
    my $public = "$dir/$label.pub";
    ok_alone("$label: public half", 'pkey', '-in', $file, '-pubout', '-out',
             $public);
    ok_alone("$label: with the curve's name", 'pkey', '-pubin', '-in',
             $public, '-ec_param_enc', 'named_curve', '-out',
             "$public.named");
    signs(\%how, $label, $uri, $public);
    ok_openssl(\%how, "$label: written", 'pkey', '-in', $uri, '-pubout',
               '-out', "$dir/out");
    is(slurp("$dir/out"), slurp("$public.named"), "$label: by its name");
    ok_openssl(\%how, "$label: a reference", 'pkey', '-in', $uri, '-out',
               "$file.ref");
    signs(\%how, "$label by reference", "$file.ref", $public);
    # A certificate says the name, or it would not be accepted.
    ok_openssl(\%how, "$label: a certificate", 'req', '-x509', '-new', '-key',
               $uri, '-subj', '/CN=x', '-out', "$dir/x.pem");
    ok_alone("$label: good", 'verify', '-CAfile', "$dir/x.pem",
             "$dir/x.pem");
}

# --- what tokens may say of a key ---

my $plain = $token->keypair('EC:prime256v1', 'plain', 'f0');
my $public = public_key($token, 'plain');
my ($point) = object($token, 'Public Key', 'plain')
    =~ /EC_POINT:\s+0441([0-9a-f]+)/;
my $short = (hex(substr $point, -1) % 2 ? '03' : '02')
    . substr $point, 2, 64;
my $hybrid = (hex(substr $point, -1) % 2 ? '07' : '06') . substr $point, 2;
my $named = unpack 'H*', "\x13\x0aprime256v1";
(my $upper = $named) =~ s/^.*/unpack 'H*', "\x13\x05P-256"/e;
openssl(alone(), qw(ecparam -name prime256v1 -param_enc explicit -outform DER
        -out), "$dir/explicit.der");
my $explicit = unpack 'H*', slurp("$dir/explicit.der");
openssl(alone(), qw(genpkey -algorithm EC -pkeyopt group:P-256 -out),
        "$dir/peer.pem");

sub told {
    my (@lies) = @_;
    my $lying = P11::Count->new($token, lie => join ' ', @lies);
    return { env => $lying->token->conf_env };
}

for my $row (['a PrintableString', "0x180=x$named"],
             ['another name of the curve', "0x180=x$upper"],
             ['explicit parameters', "0x180=x$explicit"],
             ['a bare point', "0x181=x$point"],
             ['a compressed point', "0x181=x0421$short"],
             ['a bare compressed point', "0x181=x$short"],
             ['a hybrid point', "0x181=x0441$hybrid"],
             ['both otherwise', "0x180=x$explicit", "0x181=x$short"]) {
    my ($name, @lies) = @$row;
    my $how = told(@lies);
    my $result = ok_openssl($how, "$name: the key loads", 'pkeyutl', '-sign',
        '-inkey', $plain, '-in', $digest, '-out', $sig);
    is_quiet($result, "$name: without an error");
    ok_alone("$name: and signs", 'pkeyutl', '-verify', '-pubin', '-inkey',
             $public, '-in', $digest, '-sigfile', $sig);
    ok_openssl($how, "$name: its public half", 'pkey', '-in', $plain,
               '-pubout', '-ec_conv_form', 'uncompressed', '-out',
               "$dir/out");
    is(slurp("$dir/out"), slurp($public), "$name: is the same");
    agrees($name, $plain, $public, $how);
}

# The generator, b, the order: none of them may be another.
(my $other_g = $explicit) =~ s/4104 ?6b17d1f2/41046b17d1f3/;
(my $other_b = $explicit) =~ s/5ac635d8/5ac635d9/;
(my $other_n = $explicit) =~ s/bce6faad/bce6faac/;
for my $row (['another generator', $other_g], ['another b', $other_b],
             ['another order', $other_n],
             ['an unknown curve', '06072a863a03040506'],
             ["SM2's curve", '06082a811ccf5501822d'],
             ['an unknown name', unpack 'H*', "\x13\x05P-999"]) {
    my ($name, $params) = @$row;
    isnt($params, $explicit, "$name: it is one");
    refused(told("0x180=x$params"), "$name: refused",
            qr/no RSA or EC public key|not those of a named curve/,
            'pkeyutl', '-sign', '-inkey', $plain, '-in', $digest, '-out',
            '/dev/null');
}
openssl_refuses(told("0x180=x$other_b"), 'parameters of no named curve',
    [qr/CKR_CURVE_NOT_SUPPORTED/, qr/not those of a named curve/],
    'pkeyutl', '-sign', '-inkey', $plain, '-in', $digest, '-out',
    '/dev/null');
openssl_refuses(\%how, 'a curve that tokens are not told', qr/"SM2"/, @want,
    'group:SM2', '-pkeyopt', 'pkcs11_uri:' . $token->uri(object => 'none'),
    '-out', '/dev/null');
for my $row (['half a point', substr $point, 0, 64],
             ['a point of no form', '05' . substr $point, 2],
             ['infinity', '00'], ['no point', '']) {
    my ($name, $told) = @$row;
    refused(told($told eq '' ? '0x181=empty' : "0x181=x$told"),
            "$name: refused", qr/no RSA or EC public key/, 'pkeyutl', '-sign',
            '-inkey', $plain, '-in', $digest, '-out', '/dev/null');
}

# --- how the public half is written ---

for my $form (qw(compressed uncompressed hybrid)) {
    my @form = ('-ec_conv_form', $form);
    ok_openssl(\%how, "$form: written", 'pkey', '-in', $plain, '-pubout',
               @form, '-out', "$dir/ours");
    ok_alone("$form: by default", 'pkey', '-pubin', '-in', $public,
             '-pubout', @form, '-out', "$dir/theirs");
    is(slurp("$dir/ours"), slurp("$dir/theirs"), "$form: the same");
    # The reference holds it in that form, and is still the key's. "ec" cannot
    # write a public half in that form, whose selection leaves the form out.
    for my $command (['pkey', @form], ['ec', '-conv_form', $form]) {
        my ($name, @options) = @$command;
        ok_openssl(\%how, "$form: a reference by $name", $name, '-in',
                   $plain, @options, '-out', "$dir/form.pem");
        signs(\%how, "$form: reference by $name", "$dir/form.pem", $public);
        ok_openssl(\%how, "$form: its public half", 'pkey', '-in',
                   "$dir/form.pem", '-pubout', '-out', "$dir/ours");
        is(slurp("$dir/ours"), slurp("$dir/theirs"), "$form: is in it");
    }
}
for my $encoding (qw(explicit named_curve)) {
    ok_openssl(\%how, "pkey -ec_param_enc $encoding", 'pkey', '-in', $plain,
               '-pubout', '-ec_param_enc', $encoding, '-out', "$dir/ours");
    ok_alone("pkey -ec_param_enc $encoding, by default", 'pkey', '-pubin',
             '-in', $public, '-pubout', '-ec_param_enc', $encoding, '-out',
             "$dir/theirs");
    is(slurp("$dir/ours"), slurp("$dir/theirs"), 'is the same');
    ok_openssl(\%how, "$encoding: a reference", 'pkey', '-in', $plain,
               '-ec_param_enc', $encoding, '-out', "$dir/form.pem");
    signs(\%how, "$encoding reference", "$dir/form.pem", $public);
}
openssl_fails(\%how, 'a form that is none', qr/./, 'pkey', '-in', $plain,
              '-pubout', '-ec_conv_form', 'short');

# --- a secret that is not all of it ---

my $k233 = $token->uri(object => 'k233');
ok_openssl(\%how, 'K-233: made', @want, 'group:K-233', '-pkeyopt',
           "pkcs11_uri:$k233", '-out', '/dev/null');
openssl(alone(), qw(genpkey -algorithm EC -pkeyopt group:K-233 -out),
        "$dir/peer.pem");
openssl(alone(), 'pkey', '-in', "$dir/peer.pem", '-pubout', '-out',
        "$dir/peer.pub");
my @agree = ('pkeyutl', '-derive', '-inkey', $k233, '-peerkey',
             "$dir/peer.pub", '-out', "$dir/ours");
openssl_refuses(told('0x11=x' . 'ab' x 29), 'a secret that is cut off',
                qr/cuts the shared secret to the 29 bytes/, @agree);
# Zeros before it are none of it; more than zeros is wrong.
ok_openssl(told('0x11=x0000' . '01' x 30), 'zeros before the secret', @agree);
is(unpack('H*', slurp("$dir/ours")), '01' x 30, 'are taken away');
ok_openssl(told('0x11=x' . '01' x 28), 'zeros that are missing', @agree);
is(unpack('H*', slurp("$dir/ours")), '0000' . '01' x 28, 'are put there');
for my $n (31, 21, 1) {
    refused(told('0x11=x' . '01' x $n), "a secret of $n octets",
            qr/shared secret has $n bytes, a coordinate has 30/, @agree);
}
refused(told('0x11=empty'), 'no secret', qr/does not give the shared secret/,
        @agree);

# A key that is made says how it is to be written.
my $made = $token->uri(object => 'made');
ok_openssl(\%how, 'made with a compressed point', @want, 'group:P-256',
           '-pkeyopt', 'point-format:compressed', '-pkeyopt',
           "pkcs11_uri:$made", '-out', "$dir/made.pem");
my $reference = openssl(\%how, 'pkey', '-in', "$dir/made.pem", '-pubout');
is($reference->{out}, openssl(alone(), 'pkey', '-pubin', '-in',
   public_key($token, 'made'), '-ec_conv_form', 'compressed', '-pubout')
   ->{out}, 'its reference has it so');
signs(\%how, 'made with a compressed point', "$dir/made.pem",
      public_key($token, 'made'));

errors_are_on_page();
done_testing();
