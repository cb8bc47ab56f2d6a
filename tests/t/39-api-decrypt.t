#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Decryption and key agreement through the API: what a token's key does is what
# the default provider does with the same key in software.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs_ssl(qw(decrypt_ssl agree_ssl cofactor_ssl));
my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    raw => P11::Token->needs('SoftHSM', label => 'raw',
                             mechanisms => 'CKM_RSA_X_509'),
);
my %count = map { $_ => P11::Count->new($token{$_}) } keys %token;
my $id = 0;

# A key that is known outside of the token, too: its URI and its file.
sub twins {
    my ($kind, $label, @made) = @_;
    my $file = "$dir/$label.pem";
    my $token = $token{$kind};

    ok_openssl("$label: made", 'genpkey', @made, '-out', $file)
        if !-e $file;
    my $result = run_in({ env => $token->env }, 'softhsm2-util', '--import',
        $file, '--token', $token->label, '--pin', $token->pin, '--label',
        $label, '--id', sprintf '%02x', ++$id);
    return if $result->{status} != 0;
    return ($token->uri(object => $label), $file);
}

sub agrees {
    my ($kind, $label, $program, $least, @twins) = @_;
    my $result;
    my $calls = $count{$kind}->during(sub {
        $result = ok_run({ env => $count{$kind}->token->conf_env },
                         "$kind: $label: $program",
                         builddir() . "/tests/c/$program", @twins);
    });
    my $n = () = $result->{out} =~ /^ok /mg;
    cmp_ok($n, '>', $least, "$kind: $label: $n checks");
    diag(grep { /^not ok/ } split /^/, $result->{out});
    return $calls;
}

for my $row (['all', 2048], ['raw', 2048], ['all', 1032], ['raw', 3072]) {
    my ($kind, $bits) = @$row;
    my $label = "rsa$bits";
    my @twins = twins($kind, $label, '-algorithm', 'RSA', '-pkeyopt',
                      "rsa_keygen_bits:$bits");
    my $calls = agrees($kind, $label, 'decrypt_ssl', 70, @twins);
    # A forked process makes its own.
    cmp_ok($calls->{C_Decrypt}, '>', 20, "$kind: $label: by the token");
    is($calls->{C_DecryptInit}, $calls->{C_Decrypt},
       "$kind: $label: one call each");
}

for my $curve (qw(prime256v1 secp384r1 secp521r1 secp256k1 secp224r1
                  brainpoolP256r1 brainpoolP384r1 brainpoolP512r1
                  brainpoolP320t1 secp112r2 sect163k1 sect283r1)) {
    my $uri = $token{all}->uri(object => $curve);
    my $made = openssl({ env => $token{all}->conf_env }, 'genpkey',
        '-propquery', '?provider=pkcs11', '-algorithm', 'EC', '-pkeyopt',
        "group:$curve", '-pkeyopt', "pkcs11_uri:$uri", '-out', '/dev/null');
    SKIP: {
        skip "the token makes no key on $curve", 1 if $made->{status} != 0;
        my $calls = agrees('all', $curve, 'agree_ssl', 45, $uri);
        cmp_ok($calls->{C_DeriveKey}, '>', 10, "$curve: by the token");
        is($calls->{C_DestroyObject}, $calls->{C_DeriveKey},
           "$curve: no secret stays in the token");
        is($calls->{C_CreateObject} // 0, 0, "$curve: no peer goes there");
        next if $curve !~ /^sect|secp112r2/;

        # The module has a libcrypto of its own, for the default library
        # context of this one is empty.
        my $apart = P11::Count->new($token{all}, apart => 1);
        my $conf = $apart->token->write_conf(
            settings => { 'pkcs11-module-remote' => 'true' });
        ok_run({ env => $apart->token->env(OPENSSL_CONF => '/dev/null') },
               "$curve: peers of every order", builddir()
               . '/tests/c/cofactor_ssl', $uri, $conf);
        is($apart->calls('C_DeriveKey'), 3, "$curve: three are fit");
    }
}
done_testing();
