#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What the API says of a key in a token, and how its contexts behave, is what
# the default provider says and does with the same key in software.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);
my $dir = scratch();

# Keys that are known outside of the token, too.
my @keys = (
    # label, id, how it is made
    ['rsa', '01', qw(-algorithm RSA -pkeyopt rsa_keygen_bits:2048)],
    ['p256', '02', qw(-algorithm EC -pkeyopt ec_paramgen_curve:P-256)],
    ['p521', '03', qw(-algorithm EC -pkeyopt ec_paramgen_curve:P-521)],
);
for my $row (@keys) {
    my ($label, $id, @made) = @$row;
    ok_openssl("$label: made", 'genpkey', @made, '-out', "$dir/$label.pem");
    ok_run({ env => $token->env }, "$label: imported", 'softhsm2-util',
           '--import', "$dir/$label.pem", '--token', $token->label, '--pin',
           $token->pin, '--label', $label, '--id', $id);
}

# Which provider does what for keys that are in software.
my %orders = (
    'default first' => {},
    'ours first'    => { providers => [qw(pkcs11 default)] },
    'ours wanted'   => { properties => '?provider=pkcs11' },
);
my $file = 0;
for my $order (sort keys %orders) {
    my %how = (env => $count->token->conf_env(
        %{ $orders{$order} }, file => 'order' . ++$file . '.cnf'));
    for my $row (@keys) {
        my ($label) = @$row;
        for my $program (qw(keydata_ssl contexts_ssl)) {
            my $result;
            my $calls = $count->during(sub {
                $result = ok_run(\%how, "$order: $label: $program",
                    builddir() . "/tests/c/$program",
                    $token->uri(object => $label), "$dir/$label.pem");
            });
            my $n = () = $result->{out} =~ /^ok /mg;
            cmp_ok($n, '>', 70, "$order: $label: $n checks");
            # Keys in software, and public ones, are no business of a token's.
            is_deeply([grep { $calls->{$_} } qw(
                C_CreateObject C_GenerateKeyPair C_VerifyInit C_DigestInit)],
                [], "$order: $label: $program: only signatures by the token");
        }
    }
}
fails_with('a key that is not there is told', qr/not ok 1 - keys/,
           builddir() . '/tests/c/keydata_ssl',
           $token->uri(object => 'none'), "$dir/rsa.pem");
done_testing();
