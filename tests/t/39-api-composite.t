#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Composite signature algorithms, by the token: what it signs the default
# provider verifies, and the other way round; what one refuses the other
# refuses; in whatever order the providers are.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

my ($both, $rules) = qw(composite_ssl composite_rules_ssl);
needs_ssl($both, $rules);
my ($reason) = run(builddir() . "/tests/c/$both")->{out}
    =~ /^1\.\.0 # SKIP (.*)/;
plan(skip_all => $reason) if defined $reason;

my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    raw => P11::Token->needs('SoftHSM', label => 'raw',
                             mechanisms => 'CKM_RSA_X_509'),
    hashing => P11::Token->needs('SoftHSM', label => 'hashing',
                                 mechanisms => 'CKM_SHA256_RSA_PKCS'),
);
my %count = map { $_ => P11::Count->new($token{$_}) } keys %token;
my %kind = (rsa => [qw(RSA rsa_keygen_bits:2048)], ec => [qw(EC group:P-256)]);
my %file;
my $id = 0;

# A key that is known outside of the token, too: its URI and its file.
sub twins {
    my ($where, $key) = @_;
    my ($algorithm, $option) = @{ $kind{$key} };

    if (!$file{$key}) {
        $file{$key} = "$dir/$key.pem";
        ok_openssl("$key: made", 'genpkey', '-algorithm', $algorithm,
                   '-pkeyopt', $option, '-out', $file{$key});
    }
    ok_run({ env => $token{$where}->env }, "$where: $key: imported",
           'softhsm2-util', '--import', $file{$key}, '--token',
           $token{$where}->label, '--pin', $token{$where}->pin, '--label',
           $key, '--id', sprintf '%02x', ++$id);
    return ($token{$where}->uri(object => $key), $file{$key});
}

# Returns the checks that were made and what was said.
sub composite {
    my ($where, $program, $mode, $how, @twins) = @_;
    my ($result, $name) = (undef, "$where: $program $mode");
    my $calls = $count{$where}->during(sub {
        $result = ok_run({ env => $count{$where}->token->conf_env(%$how) },
                         $name, builddir() . "/tests/c/$program", $mode,
                         @twins);
    });
    diag(grep { /^not ok/ } split /^/, $result->{out});
    is($calls->{C_SignInit} // 0, $calls->{C_Sign} // 0,
       "$name: as many signatures as were begun") if $mode ne 'hashing';
    is(($calls->{C_Verify} // 0) + ($calls->{C_CreateObject} // 0), 0,
       "$name: public work is not the token's");
    my $n = () = $result->{out} =~ /^ok /mg;
    return ($n, $result->{err}, $calls);
}

# Both programs, all that they have.
sub all {
    my ($name, $where, $how, @twins) = @_;
    for my $program ($both, $rules) {
        my ($n) = composite($where, $program, 'all', $how, @twins);
        cmp_ok($n, '>', 400, "$name: $program: $n checks");
    }
    return;
}

my %twins;
for my $key (sort keys %kind) {
    $twins{$key} = [twins('all', $key)];
    all($key, 'all', {}, @{ $twins{$key} });
}
all('padded by us', 'raw', {}, twins('raw', 'rsa'));

# --- in each order of providers ---

for my $row (
    ['pkcs11, default', providers => [qw(pkcs11 default)]],
    ['default, pkcs11', providers => [qw(default pkcs11)]],
) {
    my ($name, @how) = @$row;
    my %preferred = (file => 'preferred.cnf', @how,
                     properties => '?provider=pkcs11');
    for my $key (sort keys %kind) {
        all("$name: $key", 'all', { file => 'order.cnf', @how },
            @{ $twins{$key} });
        all("$name, preferred: $key", 'all', \%preferred, @{ $twins{$key} });
        my ($n) = composite('all', $both, 'preferred', \%preferred,
                            @{ $twins{$key} });
        cmp_ok($n, '>', 9, "$name: $key: $n checks where we are preferred");
    }
}
for my $key (sort keys %kind) {
    my ($n) = composite('all', $both, 'blocked', { file => 'blocked.cnf',
        settings => { 'pkcs11-module-block-operations' => 'signature' } },
        @{ $twins{$key} });
    cmp_ok($n, '>', 9, "$key: none is offered where signatures are blocked");
}

# --- what the token cannot do, or the key must not ---

sub hashing {
    my ($where, @twins) = @_;
    my (undef, $words) = composite($where, $both, 'hashing', {}, @twins);
    like($words, qr/which must have the message/, "$where: the way is shown");
    like($words, qr/does not offer CKM_\w+( nor CKM_\w+)* nor CKM_\w*SHA384/,
         "$where: what is missing is named");
    return;
}

hashing('hashing', twins('hashing', 'rsa'));
SKIP: {
    my $nss = P11::Token->make('NSS');
    skip(P11::Token->missing('NSS'), 5) if !defined $nss;
    $count{nss} = P11::Count->new($nss, mechanisms => '0x1044');
    hashing('nss', $nss->keypair('EC:prime256v1', 'ec', '01'), $file{ec});
}

my %made = (
    'not for signing' => ['RSA', 'keyEncipherment',
        qr/does not permit this key to sign \(CKA_SIGN\)/],
    'restricted to PSS' => ['RSA-PSS', undef,
        qr/signature type and key type incompatible/],
);
for my $what (sort keys %made) {
    my ($type, $usage, $expected) = @{ $made{$what} };
    my ($pem, $uri) = ("$dir/$type.pem", $token{all}->uri(object => $what));
    ok_openssl({ env => $token{all}->conf_env }, "a key $what", qw(genpkey
        -propquery ?provider=pkcs11 -algorithm), $type, '-out', $pem,
        map { ('-pkeyopt', $_) } "pkcs11_uri:$uri", 'rsa_keygen_bits:2048',
        $usage ? "pkcs11_key_usage:$usage" : ());
    my (undef, $words) = composite('all', $both, 'refused', {},
                                   $usage ? $uri : $pem, $file{rsa});
    like($words, $expected, '… says why');
}
done_testing();
