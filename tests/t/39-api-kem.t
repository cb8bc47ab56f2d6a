#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# RSA key encapsulation: what a token's key decapsulates is what the default
# provider's does, and the other way round.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs_ssl('kem_ssl');
my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    padded => P11::Token->needs('SoftHSM', label => 'padded',
                                mechanisms => 'CKM_RSA_PKCS'),
);
my %count = map { $_ => P11::Count->new($token{$_}) } keys %token;
my $id = 0;

# A key that is known outside of the token, too: its URI and its file.
sub twins {
    my ($kind, $bits) = @_;
    my ($file, $token) = ("$dir/rsa$bits.pem", $token{$kind});

    ok_openssl("$bits bits: made", 'genpkey', '-algorithm', 'RSA', '-pkeyopt',
               "rsa_keygen_bits:$bits", '-out', $file) if !-e $file;
    ok_run({ env => $token->env }, "$kind: $bits bits: imported",
           'softhsm2-util', '--import', $file, '--token', $token->label,
           '--pin', $token->pin, '--label', "rsa$bits", '--id',
           sprintf '%02x', ++$id);
    return ($token->uri(object => "rsa$bits"), $file);
}

sub kem {
    my ($kind, $what, $how, @twins) = @_;
    my $result;
    my $calls = $count{$kind}->during(sub {
        $result = ok_run({ env => $count{$kind}->token->conf_env(%$how) },
                         "$kind: $what", builddir() . '/tests/c/kem_ssl', $what,
                         @twins);
    });
    diag(grep { /^not ok/ } split /^/, $result->{out});
    return ($calls, $result);
}

my @twins;
for my $bits (2048, 1032, 3072) {
    @twins = twins('all', $bits);
    my ($calls, $result) = kem('all', 'all', {}, @twins);
    my $n = () = $result->{out} =~ /^ok /mg;
    cmp_ok($n, '>', 60, "$bits bits: $n checks");
    my ($done) = $result->{out} =~ /^# by the token: (\d+)/m;
    cmp_ok($done, '>=', 6, "$bits bits: $done by the token");
    is($calls->{C_Decrypt}, $done, '… each by a C_Decrypt, what was refused '
       . 'and what is done in software by none');
    is($calls->{C_DecryptInit}, $done, '… and a C_DecryptInit');
}

my ($calls, $result) = kem('padded', 'refused', {}, twins('padded', 2048));
like($result->{err}, qr/does not offer CKM_RSA_X_509 for key/,
     'the mechanism is named');
is($calls->{C_Decrypt} // 0, 0, 'no other one is tried');

# What the key itself must not, from the beginning: no operation is begun, and
# the token is not asked.
my %made = (
    'not for decryption' => [qw(RSA digitalSignature),
        qr/does not permit this key to decrypt \(CKA_DECRYPT\)/],
    'restricted to PSS' => ['RSA-PSS', undef,
        qr/operation not supported for this keytype/],
);
for my $what (sort keys %made) {
    my ($type, $usage, $words) = @{ $made{$what} };
    my ($pem, $uri) = ("$dir/$type.pem", $token{all}->uri(object => $what));
    ok_openssl({ env => $token{all}->conf_env }, "a key $what", qw(genpkey
        -propquery ?provider=pkcs11 -algorithm), $type, '-out', $pem,
        map { ('-pkeyopt', $_) } "pkcs11_uri:$uri", 'rsa_keygen_bits:2048',
        $usage ? "pkcs11_key_usage:$usage" : ());
    # The token knows of the use, the reference that it is for PSS.
    ($calls, $result) = kem('all', 'denied', {}, $usage ? $uri : $pem,
                            "$dir/rsa2048.pem");
    like($result->{err}, $words, '… says why');
    is($calls->{C_DecryptInit} // 0, 0, '… without a call');
}

ok_openssl({ env => $token{all}->conf_env }, 'a key with a PIN for each use',
    qw(genpkey -propquery ?provider=pkcs11 -algorithm RSA -out),
    "$dir/always.pem", map { ('-pkeyopt', $_) } 'rsa_keygen_bits:2048',
    'pkcs11_uri:' . $token{all}->uri(object => 'always'),
    'pkcs11_always_authenticate:yes');
($calls) = kem('all', 'once', {}, "$dir/always.pem", "$dir/rsa2048.pem");
is_deeply([@{$calls}{qw(C_DecryptInit C_Decrypt C_Login)}], [1, 1, 2],
          '… gets it between the two calls');

($calls) = kem('all', 'blocked', { file => 'blocked.cnf', settings => {
    'pkcs11-module-block-operations' => 'kem' } }, @twins);
is($calls->{C_DecryptInit} // 0, 0, 'nothing is decapsulated');

SKIP: {
    my $help = openssl('pkeyutl', '-help');
    skip 'pkeyutl of this OpenSSL has no -decap', 5
        if "$help->{out}$help->{err}" !~ /-decap/;
    my ($uri, $file) = @twins;
    my $env = { env => $token{all}->conf_env };

    ok_openssl('public half', qw(pkey -pubout -in), $file, '-out',
               "$dir/public.pem");
    ok_openssl('pkeyutl encapsulates', qw(pkeyutl -encap -kemop RSASVE -pubin),
               '-inkey', "$dir/public.pem", '-out', "$dir/sealed", '-secret',
               "$dir/secret");
    ok_openssl($env, "pkeyutl decapsulates with the token's key",
               qw(pkeyutl -decap -kemop RSASVE -inkey), $uri, '-in',
               "$dir/sealed", '-secret', "$dir/again");
    is(slurp("$dir/again"), slurp("$dir/secret"), '… the same secret');
    spew("$dir/sealed", substr slurp("$dir/sealed"), 1);
    fails_with($env, 'pkeyutl: one octet less', qr/should have/,
               have('openssl'), qw(pkeyutl -decap -kemop RSASVE -inkey), $uri,
               '-in', "$dir/sealed", '-secret', "$dir/less");
}
done_testing();
