#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# CMS and S/MIME: signed and decrypted by keys in a token, verified and
# encrypted by an openssl without us.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    raw => P11::Token->needs('SoftHSM', label => 'raw', mechanisms =>
        'CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_X_509'),
);
my %count = map { $_ => P11::Count->new($token{$_}) } keys %token;
my %how = map { $_ => { env => $count{$_}->token->conf_env } } keys %token;
my %key;        # name => [token, URI]
my $id = 0;
for my $row (['rsa', 'all', 'rsa:2048'], ['raw', 'raw', 'rsa:2048'],
             ['p256', 'all', 'EC:prime256v1'],
             ['p384', 'all', 'EC:secp384r1']) {
    my ($name, $kind, $type) = @$row;
    my $uri = $token{$kind}->keypair($type, $name, sprintf '%02x', ++$id);
    $key{$name} = [$kind, $uri];
    ok_openssl($how{$kind}, "$name: a certificate", 'req', '-x509', '-new',
               '-key', $uri, '-subj', "/CN=$name", '-addext',
               'keyUsage=digitalSignature,keyEncipherment,keyAgreement',
               '-out', "$dir/$name.crt");
    # The other way to name it.
    ok_openssl($how{$kind}, "$name: a reference", 'pkey', '-in', $uri,
               '-out', "$dir/$name.pem");
}
my $text = spew("$dir/text", "What is said.\r\nAnd no more.\r\n");
my $out = "$dir/out";
my $message = "$dir/message";

sub crypto {
    my ($calls) = @_;
    return { map { $_ => $calls->{$_} }
             grep { /Sign|Verify|Digest|crypt|Create|Derive|Destroy/ }
             keys %$calls };
}
my %signed = (C_SignInit => 1, C_Sign => 1);
my %decrypted = (C_DecryptInit => 1, C_Decrypt => 1);
my %agreed = (C_DeriveKey => 1, C_DestroyObject => 1);

sub by_the_token {
    my ($name, $key, $want, @command) = @_;
    my ($kind) = @{ $key{$key} };
    my $calls = $count{$kind}->during(sub {
        is_quiet(ok_openssl($how{$kind}, $name, @command),
                 "$name: no error left behind");
    });
    is_deeply(crypto($calls), $want, "$name: by the token")
        or diag(P11::Count::text($calls));
}

# To tell nobody why, OpenSSL goes on with a random content key. What that
# decrypts to ends in good padding once in 256 times: it succeeds, with rubbish.
sub not_read {
    my ($name, $recipient, $key, $what) = @_;
    unlink $out;
    my ($kind, $uri) = @{ $key{$key} };
    my $result = openssl($how{$kind}, 'cms', '-decrypt', '-inform', 'DER',
        '-in', $what, '-recip', "$dir/$recipient.crt", '-inkey', $uri,
        '-out', $out);
    my $told = $result->{status} != 0 && $result->{err} =~ /rror/;
    ok($told || slurp($out) ne slurp($text), $name)
        or diag($result->{command}, "\n", $result->{err});
}

# --- signatures ---

my @pss = ('-keyopt', 'rsa_padding_mode:pss');
for my $row (['rsa'], ['rsa', @pss], ['raw'], ['raw', @pss],
             ['rsa', @pss, '-keyopt', 'rsa_pss_saltlen:20'],
             ['rsa', @pss, '-keyopt', 'rsa_mgf1_md:sha1'],
             ['rsa', '-md', 'sha512'], ['rsa', '-noattr'], ['p256'],
             ['p384', '-md', 'sha384']) {
    my ($key, @options) = @$row;
    my $name = join ' ', 'cms -sign', $key, @options;
    my @signer = ('-signer', "$dir/$key.crt", '-inkey', $key{$key}[1]);

    by_the_token($name, $key, \%signed, 'cms', '-sign', '-binary', '-in',
                 $text, '-outform', 'DER', '-nodetach', '-out', $message,
                 @signer, @options);
    my @judge = ('cms', '-verify', '-inform', 'DER', '-CAfile',
                 "$dir/$key.crt", '-purpose', 'any', '-out', $out, '-in');
    ok_alone("$name: verified", @judge, $message);
    is(slurp($out), slurp($text), "$name: what was said");
    (my $tampered = slurp($message)) =~ s/no more/not all/;
    alone_fails("$name: and nothing else", qr/verification failure/i,
                @judge, spew("$dir/tampered", $tampered));
}
for my $key (qw(rsa p256)) {
    # By reference, detached, as mail.
    my $name = "smime -sign $key";
    by_the_token($name, $key, \%signed, 'smime', '-sign', '-in', $text,
                 '-out', $message, '-signer', "$dir/$key.crt", '-inkey',
                 "$dir/$key.pem");
    ok_alone("$name: verified", 'smime', '-verify', '-in', $message,
             '-CAfile', "$dir/$key.crt", '-out', $out);
    is(slurp($out), slurp($text), "$name: what was said");
    (my $tampered = slurp($message)) =~ s/no more/not all/;
    alone_fails("$name: and nothing else", qr/failure/i, 'smime', '-verify',
                '-in', spew("$dir/tampered", $tampered), '-CAfile',
                "$dir/$key.crt");
}
by_the_token('a signer that is also named in the message', 'rsa', \%signed,
    'cms', '-sign', '-keyid', '-in', $text, '-out', $message, '-signer',
    "$dir/rsa.crt", '-inkey', $key{rsa}[1]);
ok_alone('is found by its key', 'cms', '-verify', '-in', $message, '-CAfile',
         "$dir/rsa.crt", '-purpose', 'any', '-out', $out);

# --- recipients ---

my @oaep = ('-keyopt', 'rsa_padding_mode:oaep');
my @recipients = (
    # key, calls, options of the encryption
    ['rsa', \%decrypted],
    ['rsa', \%decrypted, @oaep],
    ['rsa', \%decrypted, @oaep, '-keyopt', 'rsa_oaep_md:sha256'],
    ['rsa', \%decrypted, @oaep, '-keyopt', 'rsa_oaep_md:sha512', '-keyopt',
     'rsa_mgf1_md:sha1', '-keyopt', 'rsa_oaep_label:0102ff'],
    ['raw', \%decrypted],
    ['raw', \%decrypted, @oaep, '-keyopt', 'rsa_oaep_md:sha256'],
    ['p256', \%agreed],
    ['p384', \%agreed],
    ['p256', \%agreed, '-keyopt', 'ecdh_kdf_md:sha256'],
    ['p384', \%agreed, '-keyopt', 'ecdh_kdf_md:sha512', '-keyopt',
     'ecdh_cofactor_mode:1'],
);
for my $row (@recipients) {
    my ($key, $want, @options) = @$row;
    my $name = join ' ', 'cms -decrypt', $key, @options;
    ok_alone("$name: encrypted", 'cms', '-encrypt', '-binary', '-aes-256-cbc',
             '-in', $text, '-outform', 'DER', '-out', $message, '-recip',
             "$dir/$key.crt", @options);
    for my $inkey ($key{$key}[1], "$dir/$key.pem") {
        unlink $out;
        by_the_token($name, $key, $want, 'cms', '-decrypt', '-inform', 'DER',
                     '-in', $message, '-recip', "$dir/$key.crt", '-inkey',
                     $inkey, '-out', $out);
        is(slurp($out), slurp($text), "$name: what was said");
    }
    my $other = $key =~ /^p/ ? ($key eq 'p256' ? 'p384' : 'p256')
        : $key eq 'rsa' ? 'raw' : 'rsa';
    not_read("$name: not by another key", $key, $other, $message);
    my $broken = slurp($message);
    substr($broken, -20, 1) ^= "\1";
    not_read("$name: a broken one is not taken for it", $key, $key,
             spew("$dir/broken", $broken));
}
for my $key (qw(rsa raw)) {
    ok_alone("smime -encrypt for $key", 'smime', '-encrypt', '-aes-128-cbc',
             '-in', $text, '-out', $message, "$dir/$key.crt");
    unlink $out;
    by_the_token("smime -decrypt $key", $key, \%decrypted, 'smime',
                 '-decrypt', '-in', $message, '-recip', "$dir/$key.crt",
                 '-inkey', $key{$key}[1], '-out', $out);
    is(slurp($out), slurp($text), "smime -decrypt $key: what was said");
    openssl_fails($how{all}, "smime -decrypt $key: no such key",
                  qr/no private key matches/, 'smime', '-decrypt', '-in',
                  $message, '-recip', "$dir/$key.crt", '-inkey',
                  $token{all}->uri(object => 'none'));
}
# Both at once, and without saying which recipient it is.
ok_alone('for three', 'cms', '-encrypt', '-in', $text, '-out', $message,
         map { "$dir/$_.crt" } qw(p256 raw rsa));
for my $key (qw(rsa p256)) {
    ok_openssl($how{all}, "one of three: $key", 'cms', '-decrypt', '-in',
               $message, '-recip', "$dir/$key.crt", '-inkey', $key{$key}[1],
               '-out', $out);
    is(slurp($out), slurp($text), "one of three: $key: what was said");
}
ok_openssl($how{all}, 'by the key alone', 'cms', '-decrypt', '-in', $message,
           '-inkey', $key{rsa}[1], '-out', $out);
is(slurp($out), slurp($text), 'by the key alone: what was said');

done_testing();
