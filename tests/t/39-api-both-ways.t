#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Interoperation both ways: what a token's key signs, decrypts or agrees on,
# the default provider takes, and the other way round, with every padding, hash
# and curve; what one refuses the other refuses.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs_ssl(qw(rsa_both_ssl ec_both_ssl));
my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    raw => P11::Token->needs('SoftHSM', label => 'raw',
                             mechanisms => 'CKM_RSA_X_509'),
);
my $nss = P11::Token->make('NSS');
my $id = 0;

# Runs it on the token; at least so many checks, so many keys "on every side".
# Returns the calls.
sub agrees {
    my ($count, $name, $least, $program, @arguments) = @_;
    my $result;
    my $calls = $count->during(sub {
        $result = ok_run({ env => $count->token->conf_env }, $name,
                         builddir() . "/tests/c/$program", @arguments);
    });
    my $n = () = $result->{out} =~ /^ok /mg;
    cmp_ok($n, '>=', $least, "$name: $n checks");
    diag(grep { /^not ok/ } split /^/, $result->{out});
    return ($calls, $result);
}

# --- RSA: a key that is known outside of the token, too ---

for my $row (['all', 2048], ['raw', 2048], ['all', 1031], ['raw', 3072]) {
    my ($kind, $bits) = @$row;
    my $label = "rsa$bits";
    my $file = "$dir/$label.pem";
    my $token = $token{$kind};
    my $count = P11::Count->new($token);

    if (!-e $file) {
        ok_openssl("$label: made", 'genpkey', '-algorithm', 'RSA', '-pkeyopt',
                   "rsa_keygen_bits:$bits", '-out', $file);
    }
    ok_run({ env => $token->env }, "$kind: $label: imported",
           'softhsm2-util', '--import', $file, '--token', $token->label,
           '--pin', $token->pin, '--label', $label, '--id',
           sprintf '%02x', ++$id);
    my ($calls) = agrees($count, "$kind: $label", 900, 'rsa_both_ssl',
                         $token->uri(object => $label), $file);
    cmp_ok($calls->{C_Sign}, '>', 80, "$kind: $label: signed by the token");
    cmp_ok($calls->{C_Decrypt}, '>', 80, "$kind: $label: and decrypted");
    is(($calls->{C_Verify} // 0) + ($calls->{C_Encrypt} // 0)
       + ($calls->{C_CreateObject} // 0), 0,
       "$kind: $label: public work is not the token's");
}

# --- EC: all curves that the token takes ---

my @curves = (['SoftHSM', $token{all}, 70, 4000], ['NSS', $nss, 3, 200]);
for my $row (@curves) {
    my ($name, $token, $least, $checks) = @$row;
    SKIP: {
        skip(P11::Token->missing($name), 4) if !defined $token;
        my $count = P11::Count->new($token);
        my ($calls, $result) = agrees($count, "$name: all curves", $checks,
                                      'ec_both_ssl', $token->label);
        my $n = () = $result->{out} =~ /: keys on every side$/mg;
        cmp_ok($n, '>=', $least, "$name: $n curves");
        is($calls->{C_DeriveKey}, $calls->{C_DestroyObject},
           "$name: no secret stays in the token");
        cmp_ok($calls->{C_Sign}, '>=', 3 * $n, "$name: it did the work");
        is($calls->{C_Verify} // 0, 0, "$name: and verified nothing");
        like($result->{err}, qr/the curve "SM2" is not supported on tokens/,
             "$name: other curves are named as such");
    }
}
done_testing();
