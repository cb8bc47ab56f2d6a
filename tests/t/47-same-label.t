#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Keys that share a label, where one of them has lost its public half: nobody
# takes the other one's for it, neither when one key is asked for, nor in a walk
# through many; and a reference uses the key that it claims.
use strict;
use warnings;

use MIME::Base64 qw(encode_base64);
use Test::More;
use P11::Cli;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my %how = (env => $token->conf_env);
my $dir = scratch();
my $data = spew("$dir/data", 'x' x 32);

# The public half in a URI without anything else that tells the two apart, as a
# reference.
sub claim_of {
    my ($name, $label) = @_;
    ok_alone("$name in DER", 'pkey', '-pubin', '-in', "$dir/$name.pub",
             '-outform', 'DER', '-out', "$dir/$name.der");
    my $text = encode_base64(slurp("$dir/$name.der"), '') =~ tr{/+}{_-}r;
    $text =~ s/=+$//;
    my $uri = $token->uri(object => $label, type => 'private')
        . "?x-public-key=$text";
    my $pem = encode_base64(der(0x30, der(0x1a, 'PKCS#11 Provider URI v1.0')
                                . der(0x0c, $uri)));
    return spew("$dir/$name.pem", "-----BEGIN PKCS#11 PROVIDER URI-----\n"
                . "$pem-----END PKCS#11 PROVIDER URI-----\n");
}

# The first of two has none, then the second.
for my $lost (1, 2) {
    my $kept = 3 - $lost;
    my $label = "same$lost";
    my %id = map { $_ => "$lost$_" } 1, 2;
    my %uri = map { $_ => $token->uri(id => "%$id{$_}", type => 'private') }
        1, 2;

    $token->keypair('EC:prime256v1', $label, $id{$_}) for 1, 2;
    ok_openssl(\%how, "$label: what stays", 'pkey', '-in', $uri{$kept},
               '-pubout', '-out', "$dir/$label.pub");
    $token->tool('--delete-object', '--type', 'pubkey', '--id', $id{$lost});
    openssl_fails(\%how, "$label: the one without has none", qr/no public key/,
                  'pkey', '-in', $uri{$lost}, '-pubout');
    openssl_fails(\%how, "$label: they are not the same", qr/several match/,
                  'pkeyutl', '-sign', '-in', $data, '-inkey',
                  $token->uri(object => $label, type => 'private'));
    for my $case (['its id', $uri{$kept}],
                  ['a reference', claim_of($label, $label)]) {
        my ($by, $key) = @$case;
        ok_openssl(\%how, "$label: the other one signs, by $by", 'pkeyutl',
                   '-sign', '-in', $data, '-inkey', $key, '-out',
                   "$dir/signature");
        ok_alone('… which is good', 'pkeyutl', '-verify', '-pubin', '-inkey',
                 "$dir/$label.pub", '-in', $data, '-sigfile',
                 "$dir/signature");
    }
}

# The public halves that a walk through the private keys shows, each once; two
# have none, or so many.
sub walked {
    my ($name, $none) = @_;
    my $walk = openssl_fails(\%how, $name, qr/no public key/, 'storeutl',
                             '-noout', '-text', $token->uri(type => 'private'));
    my $missed = () = $walk->{err} =~ /:no public key:/g;
    is($missed, $none // 2, '… and told of those that have none');
    my @points = $walk->{out} =~ /^pub:\n((?: +[0-9a-f:]+\n)+)/mg;
    my %seen = map { $_ => 1 } @points;
    is(scalar keys %seen, scalar @points, '… others have their own');
    return @points;
}

# So many that an index is made: no public key is shown for two.
$token->keypair('EC:prime256v1', "more$_", "3$_") for 1 .. 8;
my @points = walked('a walk');
is(scalar @points, 10, '… ten keys have a public half');

# A half of that label that is of no other key is still found.
$token->keypair('EC:prime256v1', 'apart', '51');
ok_openssl(\%how, 'a key', 'pkey', '-in', $token->uri(object => 'apart',
           type => 'private'), '-pubout', '-out', "$dir/apart.pub");
$token->tool('--delete-object', '--type', 'pubkey', '--id', '51');
ok_alone('its public half', 'pkey', '-pubin', '-in', "$dir/apart.pub",
         '-outform', 'DER', '-out', "$dir/apart.der");
$token->tool('--write-object', "$dir/apart.der", '--type', 'pubkey', '--label',
             'apart', '--id', '52');
ok_openssl(\%how, 'by its label, with another id', 'pkey', '-in',
           $token->uri(id => '%51', type => 'private'), '-pubout', '-out',
           "$dir/again.pub");
is(slurp("$dir/again.pub"), slurp("$dir/apart.pub"), '… the same');
@points = walked('a walk, too');
is(scalar @points, 11, '… finds it');

# Nor that of a key of another label, which has the half's id.
$token->keypair('EC:prime256v1', 'owner', '62');
my $owner = $token->uri(object => 'owner', type => 'private');
ok_openssl(\%how, 'a key with a public half', 'pkey', '-in', $owner,
           '-pubout', '-out', "$dir/owner.pub");
ok_alone('which', 'pkey', '-pubin', '-in', "$dir/owner.pub", '-outform', 'DER',
         '-out', "$dir/owner.der");
$token->keypair('EC:prime256v1', 'shared', '61');
$token->tool('--delete-object', '--type', 'pubkey', '--id', $_) for 61, 62;
$token->tool('--write-object', "$dir/owner.der", '--type', 'pubkey', '--label',
             'shared', '--id', '62');
for my $by ([id => '%61'], [object => 'shared']) {
    openssl_fails(\%how, "is labelled as another key, by $by->[0]",
                  qr/no public key/, 'pkey', '-pubout', '-in',
                  $token->uri(@$by, type => 'private'));
}
ok_openssl(\%how, '… and stays its own', 'pkey', '-in', $owner, '-pubout',
           '-out', "$dir/again.pub");
is(slurp("$dir/again.pub"), slurp("$dir/owner.pub"), '… the same');
@points = walked('and a walk', 3);
is(scalar @points, 12, '… shows it once');

# An empty id or label is not any: it names what has none.
my $few = P11::Token->make('SoftHSM', label => 'few');
my %few = (env => $few->conf_env);
$few->keypair('EC:prime256v1', 'only', '01');
for my $none ('id', 'object') {
    openssl_refuses(\%few, "$none= is not any $none",
                    qr/no private key matches/, 'pkeyutl', '-sign', '-in',
                    $data, '-inkey', $few->uri($none => '',
                                               type => 'private'));
}
for my $row (['id', '--label', 'bare'], ['object', '--id', '05']) {
    my ($none, $option, $value) = @$row;
    my $other = $few->uri($option eq '--id' ? (id => '%05')
                                            : (object => $value));
    $few->tool('--keypairgen', '--key-type', 'EC:prime256v1', $option, $value);
    my ($by_none, $by_other) = map {
        ok_openssl(\%few, "a key: $_", 'pkey', '-pubout', '-in', $_)->{out}
    } $few->uri($none => '', type => 'private'), "$other;type=private";
    is($by_none, $by_other, "$none= is the one that has none");
}

done_testing();
