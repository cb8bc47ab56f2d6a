#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Errors of PIN sources, settings, references and of a token at work: one entry
# each, as 40-error-messages has them for the rest; doc/errors.md shows both.
use strict;
use warnings;

use MIME::Base64 qw(encode_base64);
use Test::More;
use P11::Count;
use P11::Errors;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
$token->keypair('EC:prime256v1', 'key', '01');
$token->keypair('EC:prime256v1', 'twin', '02');
$token->keypair('EC:prime256v1', 'half', '03');
my $uri = $token->uri(object => 'key');
my %how = (env => $token->conf_env);
my $data = spew(scratch() . '/data', 'x' x 32);
my @load = qw(pkey -noout -in);
my @sign = ('pkeyutl', '-sign', '-in', $data, '-out', scratch() . '/sig',
            '-inkey');

sub with {
    my ($from, %settings) = @_;
    return { env => $from->conf_env(settings => \%settings,
                                    file => 'with.cnf') };
}

ok_openssl(\%how, 'all is well', @sign, $uri);

# PIN sources

my $empty = spew(scratch() . '/empty', '');
my $lines = spew(scratch() . '/lines', "1234\n5678\n");
for my $case (
    ['a missing file', 'file:/nonexistent/pin',
     [qr{"/nonexistent/pin"}, qr/No such file/]],
    ['an empty file', "file:$empty", [qr/is empty/]],
    ['a file of two lines', "file:$lines", [qr/more than one line/]],
    ['a variable that is not set', 'env:NO_SUCH_PIN', [qr/"NO_SUCH_PIN"/]],
    ['no credentials', 'credential:pin', [qr/CREDENTIALS_DIRECTORY/]],
    ['a command', '|cat', [qr/commands are not run/]],
    ['no scheme', '1234', [qr/none of file:, env:, fd: and credential:/]],
) {
    my ($name, $source, $patterns) = @$case;
    openssl_refuses({ env => { %{ $how{env} }, NO_SUCH_PIN => undef,
                               CREDENTIALS_DIRECTORY => undef } },
        "PIN source: $name", [qr/:PIN source cannot be used:/, @$patterns],
        @load, "$uri?pin-source=$source");
}

# A PIN that was refused, within one process

my $wrong = "$uri?pin-value=4711";
my $twice = ok_run(\%how, 'a wrong PIN, twice',
    builddir() . '/tests/c/use_key', "refused=$wrong", "refused=$wrong");
my @entries = grep { /:pkcs11:/ } split /\n/, $twice->{err};
is(scalar @entries, 2, '… two entries');
like($entries[1] // '', qr/was refused before|CKR_PIN_INCORRECT/, '… of it');
note_refusal('a PIN that was refused before', $entries[1] // '');

# Settings

for my $case (
    ['a word', ['pkcs11-module-remote', 'maybe'], qr/true, false, auto/],
    ['a number', ['pkcs11-module-wait-ms', 'soon'], qr/from 1 to 3600000/],
    ['no value', ['pkcs11-module-quirks', ''], qr/is empty/],
    ['a name', ['pkcs11-module-pin', '1234'], qr/pkcs11-module-token-pin/],
    ['a section', ['module1', 'nowhere'], qr/"module1"/],
    ['a file for the PIN', ['pkcs11-module-token-pin', $token->pin_file],
     qr/write "file:"/],
) {
    my ($name, $setting, $pattern) = @$case;
    openssl_refuses(with($token, @$setting), "setting: $name",
        [qr/:bad setting:/, qr/$setting->[0]/, $pattern], @load, $uri);
}

# References: one that names another key than its public half, broken ones

sub der {
    my ($tag, $content) = @_;
    my $n = length $content;
    return pack('C', $tag) . ($n < 0x80 ? pack('C', $n)
                                        : $n < 0x100 ? pack('CC', 0x81, $n)
                                        : pack('Cn', 0x82, $n)) . $content;
}

my $key = scratch() . '/key.der';
ok_openssl(\%how, 'a public key', 'pkey', '-in', $uri, '-pubout', '-outform',
           'DER', '-out', $key);
my $claim = encode_base64(slurp($key), '') =~ tr{+/}{-_}r =~ s/=+$//r;
my $inner = der(0x1a, 'PKCS#11 Provider URI v1.0') . der(0x0c,
    $token->uri(object => 'twin', type => 'private') . "?x-public-key=$claim");
my $lie = spew(scratch() . '/lie.pem', "-----BEGIN PKCS#11 PROVIDER URI-----\n"
    . encode_base64(der(0x30, $inner))
    . "-----END PKCS#11 PROVIDER URI-----\n");
ok_openssl(\%how, 'a reference with the public key of another is loaded',
           @load, $lie);
openssl_refuses(\%how, 'a reference with the public key of another',
    [qr/:public key differs:/, qr/write its reference/], @sign, $lie);
for my $name (qw(base64 version uri)) {
    openssl_refuses(\%how, "a broken reference: $name", qr/reference|URI/,
        @load, top() . "/tests/data/references/bad-$name.pem");
}

# Keys

$token->tool('--delete-object', '--type', 'pubkey', '--id', '03');
openssl_refuses(\%how, 'an EC key without its public half',
    [qr/:no public key:/, qr/same CKA_ID/], @load,
    $token->uri(object => 'half'));
# Keys that are named by the one thing that they have, or by nothing: each is
# told of by its own URI.
my $nameless = P11::Token->make('SoftHSM', label => 'bare');
$nameless->tool('--keypairgen', '--key-type', 'EC:prime256v1');
openssl_refuses(with($nameless), 'an EC key without a name',
    [qr/:no public key:/, qr/token=bare;type=private: /,
     qr/no CKA_ID and no label: give it a CKA_ID/],
    @load, $nameless->uri . ';type=private');
$nameless->tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label',
                'alone');
$nameless->tool('--delete-object', '--type', 'pubkey', '--label', 'alone');
openssl_refuses(with($nameless), 'an EC key with nothing but a label',
    [qr/:no public key:/, qr/object=alone;type=private: /,
     qr/no CKA_ID: give it one/], @load, $nameless->uri(object => 'alone'));
ok_openssl(\%how, 'a key to agree with is made',
    qw(genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt group:P-256
       -pkeyopt pkcs11_key_usage:keyAgreement -pkeyopt),
    'pkcs11_uri:' . $token->uri(object => 'derives'), '-out',
    scratch() . '/derives.pem');
openssl_refuses(\%how, 'a key that must not sign',
    [qr/:key does not permit this:/, qr/CKA_SIGN/], @sign,
    $token->uri(object => 'derives'));

# A token at work

my @generate = qw(genpkey -propquery provider=pkcs11 -algorithm EC
                  -pkeyopt group:P-256 -pkeyopt pkcs11_token:tok);
for my $case (
    ['the device fails', 'C_Sign=0x30', [@sign, $uri], qr/CKR_DEVICE_ERROR/],
    ['the device was taken out', 'C_SignInit=0x32', [@sign, $uri],
     qr/CKR_DEVICE_REMOVED/],
    ['the token is full', 'C_GenerateKeyPair=0x31', \@generate,
     qr/CKR_DEVICE_MEMORY/],
    ['the token is write-protected', 'C_GenerateKeyPair=0xe2', \@generate,
     qr/CKR_TOKEN_WRITE_PROTECTED/],
    ['the token grants no such key', 'C_GenerateKeyPair=0x13', \@generate,
     qr/CKR_ATTRIBUTE_VALUE_INVALID/],
    ['no session is left', 'C_OpenSession=0xb1', [@sign, $uri],
     qr/CKR_SESSION_COUNT|timed out/],
    ['it was not confirmed', 'C_Sign=0x50', [@sign, $uri],
     qr/CKR_FUNCTION_CANCELED/],
) {
    my ($name, $fail, $command, $pattern) = @$case;
    my $count = P11::Count->new($token, fail => $fail);
    openssl_refuses(with($count->token, 'pkcs11-module-wait-ms' => 500), $name,
        [$pattern, qr/token "tok"/], @$command);
}

errors_are_on_page();

# Applications that do not show the queue: the log has the same words

my $log = scratch() . '/log';
my $shown = openssl_refuses(
    { env => { %{ $how{env} }, PKCS11_PROVIDER_DEBUG => "file:$log,level:1" } },
    'a key that is not there', qr/no private key matches/, @load,
    $token->uri(object => 'other', type => 'private'));
my ($words) = $shown->{entry} =~ /:(C_\w+: [^:]* \S*pkcs11:[^ ]*)/;
like(slurp($log), qr/ warn: error: no such object: \Q$words\E/,
     'the log has that, too');
unlike(slurp($log), qr/^(?!.* warn: error: no such object: ).*./m,
       'and nothing else');

# … what OpenSSL has a reason of its own for, too, with our words and without.
my $short = spew(scratch() . '/short', 'short');
my $long = spew(scratch() . '/long', 'x' x 257);
my $rsa = $token->keypair('RSA:2048', 'rsa', '02');
for my $case (
    ['a hash of another length', qr/invalid digest length/,
     'PROV_R_INVALID_DIGEST_LENGTH: is 5, should be 32', qw(-sign -pkeyopt digest:sha256 -in), $short],
    ['more than the key takes', qr/data greater than mod len/,
     'RSA_R_DATA_GREATER_THAN_MOD_LEN',
     '-decrypt', '-in', $long],
) {
    my ($what, $reason, $logged, @command) = @$case;
    unlink $log;
    openssl_fails(
        { env => { %{ $how{env} },
                   PKCS11_PROVIDER_DEBUG => "file:$log,level:1" } }, $what,
        $reason, 'pkeyutl', '-inkey', $rsa, '-out', "$short.out", @command);
    like(slurp($log), qr/ warn: error: \Q$logged\E$/m,
         '… in the log, too');
}
# But not that a padding is wrong, which an application may keep to itself.
unlink $log;
openssl_fails(
    { env => { %{ $how{env} },
               PKCS11_PROVIDER_DEBUG => "file:$log,level:1" } },
    'a wrong padding', qr/oaep decoding error/, 'pkeyutl', '-inkey', $rsa,
    qw(-decrypt -pkeyopt rsa_padding_mode:oaep -in),
    spew(scratch() . '/wrong', "\0" . 'x' x 255), '-out', "$short.out");
is(-s $log, 0, '… leaves the log empty');
ok_openssl({ env => { %{ $how{env} },
                      PKCS11_PROVIDER_DEBUG => "file:$log.2,level:1" } },
           'a key that is there', @load, $uri);
is(-s "$log.2", 0, 'leaves the log empty');

done_testing();
