#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What the API says of a key in a token, and how its contexts behave, is what
# the default provider says and does with the same key in software.
use strict;
use warnings;

use MIME::Base64 qw(encode_base64 encode_base64url);
use Test::More;
use P11::Cli ();
use P11::Count;
use P11::Test;
use P11::Token;

needs_ssl(qw(keydata_ssl contexts_ssl));
my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);
my $dir = scratch();

# Keys that are known outside of the token, too: files LABEL.pem.
my $pss = 'rsa_pss_keygen';
my @keys = (
    # label, id, checks of contexts at least, how it is made
    ['rsa', '01', 110, qw(RSA rsa_keygen_bits:2048)],
    ['p256', '02', 75, qw(EC ec_paramgen_curve:P-256)],
    ['p521', '03', 75, qw(EC ec_paramgen_curve:P-521)],
    ['pss', '04', 30, qw(RSA-PSS rsa_keygen_bits:2048), "${pss}_md:sha256",
     "${pss}_mgf1_md:sha256", "${pss}_saltlen:32"],
);

# The same numbers as a plain RSA key, which is all that a token knows.
sub plain_rsa {
    my ($file) = @_;
    my ($at) = openssl('asn1parse', '-in', $file)->{out}
        =~ /^\s*(\d+):.*OCTET STRING/m;
    openssl('asn1parse', '-in', $file, '-strparse', $at, '-noout',
            '-out', "$file.der");
    openssl('pkey', '-inform', 'DER', '-in', "$file.der",
            '-out', "$file.plain");
    return "$file.plain";
}

# A reference with the public key: there the restrictions stand.
sub reference {
    my ($file, $uri) = @_;
    my $spki = openssl('pkey', '-in', $file, '-pubout', '-outform', 'DER');
    my $der = P11::Cli::der(0x30,
        P11::Cli::der(0x1a, 'PKCS#11 Provider URI v1.0')
        . P11::Cli::der(0x0c, "$uri?x-public-key="
                              . encode_base64url($spki->{out})));
    return spew("$file.reference", "-----BEGIN PKCS#11 PROVIDER URI-----\n"
        . encode_base64($der) . "-----END PKCS#11 PROVIDER URI-----\n");
}

my %name;       # what loads the token's key
for my $row (@keys) {
    my ($label, $id, undef, $algorithm, @options) = @$row;
    my $file = "$dir/$label.pem";
    ok_openssl("$label: made", 'genpkey', '-algorithm', $algorithm,
               (map { ('-pkeyopt', $_) } @options), '-out', $file);
    my $restricted = $algorithm eq 'RSA-PSS';
    ok_run({ env => $token->env }, "$label: imported", 'softhsm2-util',
           '--import', $restricted ? plain_rsa($file) : $file,
           '--token', $token->label, '--pin', $token->pin,
           '--label', $label, '--id', $id);
    $name{$label} = $token->uri(object => $label);
    $name{$label} = reference($file, $name{$label}) if $restricted;
}

# Which provider does what for keys that are in software.
my %orders = (
    'default first' => {},
    'ours first'    => { providers => [qw(pkcs11 default)] },
    'ours wanted'   => { properties => '?provider=pkcs11' },
);
my $n_files = 0;

sub check {
    my ($order, $program, $label, $least) = @_;
    my %how = (env => $count->token->conf_env(
        %{ $orders{$order} }, file => 'order' . ++$n_files . '.cnf'));
    my $result;
    my $calls = $count->during(sub {
        $result = ok_run(\%how, "$order: $label: $program",
                         builddir() . "/tests/c/$program", $name{$label},
                         "$dir/$label.pem");
    });
    my $n = () = $result->{out} =~ /^ok /mg;
    cmp_ok($n, '>=', $least, "$order: $label: $n checks");
    cmp_ok($calls->{C_Sign} // 0, '>', 0, "$order: $label: the token signs");
    # Keys in software, and public ones, are no business of a token's.
    is_deeply([grep { $calls->{$_} } qw(C_CreateObject C_GenerateKeyPair
                                        C_VerifyInit C_DigestInit)],
              [], "$order: $label: and does nothing else");
    return;
}

for my $order (sort keys %orders) {
    for my $row (@keys) {
        my ($label, undef, $least) = @$row;
        check($order, 'keydata_ssl', $label, 180);
        check($order, 'contexts_ssl', $label, $least);
    }
}

my %how = (env => $token->conf_env);
fails_with(\%how, 'a key that is not there is told', qr/not ok 1 - keys/,
           builddir() . '/tests/c/keydata_ssl', $token->uri(object => 'none'),
           "$dir/rsa.pem");
fails_with(\%how, 'another key is found to be another', qr/not ok .* twin/,
           builddir() . '/tests/c/keydata_ssl', $name{p521}, "$dir/p256.pem");
done_testing();
