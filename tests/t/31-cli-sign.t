#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Signatures on the command line. What signs is the token, by two calls; what
# says that they are good is an openssl without us.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $count = P11::Count->new($token);
my %conf = (env => $count->token->conf_env);

my $data = spew("$dir/data", "to be signed\n" x 100);
my $tampered = spew("$dir/tampered", "to be signeD\n" x 100);
my $sig = "$dir/sig";
my (%uri, %public);

# sub that signs once; nothing else may be asked of the token's crypto.
sub by_the_token {
    my ($name, $act) = @_;
    my $calls = $count->during($act);
    my %crypto = map { $_ => $calls->{$_} }
        grep { /Sign|Verify|Digest|crypt|Create|Copy|Derive|Random/ }
        keys %$calls;
    # What SoftHSM learnt late it refuses in C_SignInit: RSA-PSS with SHA-3.
    # The padding is then made here.
    my $inits = $name =~ /sha3-.*pss/ ? 2 : 1;
    is_deeply(\%crypto, { C_SignInit => $inits, C_Sign => 1 },
              "$name: two calls") or diag(P11::Count::text($calls));
}

sub without_the_token {
    my ($name, $act) = @_;
    my $calls = $count->during($act);
    is_deeply([grep { /Sign|Verify|crypt|Create/ } keys %$calls], [],
              "$name: no work for the token");
}

my %curve = (p256 => 'prime256v1', p384 => 'secp384r1', p521 => 'secp521r1',
             k256 => 'secp256k1', b256 => 'brainpoolP256r1',
             b384 => 'brainpoolP384r1', b512 => 'brainpoolP512r1');
my @curves;
my $id = 0;
for my $name (sort keys %curve) {
    $uri{$name} = eval {
        $token->keypair("EC:$curve{$name}", $name, sprintf '%02x', ++$id)
    };
    SKIP: {
        skip "pkcs11-tool and the token make no key on $curve{$name}", 1
            if !defined $uri{$name};
        push @curves, $name;
        $public{$name} = public_key($token, $name);
        pass("a key on $curve{$name}");
    }
}
$uri{rsa} = $token->keypair('rsa:2048', 'rsa', '50');
$public{rsa} = public_key($token, 'rsa');

# --- messages: dgst, every hash ---

# dgst($key, $hash, @sigopts): signs, and is verified.
sub dgst {
    my ($key, $hash, @options) = @_;
    my $name = join ' ', 'dgst', $key, $hash, @options;
    my @sigopt = map { ('-sigopt', $_) } @options;

    by_the_token($name, sub {
        my $result = ok_openssl(\%conf, $name, 'dgst', "-$hash", @sigopt,
                                '-sign', $uri{$key}, '-out', $sig, $data);
        is_quiet($result, "$name: no error left behind");
    });
    ok_alone("$name: verified", 'dgst', "-$hash", @sigopt, '-verify',
             $public{$key}, '-signature', $sig, $data);
}

my @sha2 = qw(sha224 sha256 sha384 sha512);
my @hashes = (@sha2, qw(md5 sha1 sha512-224 sha512-256 sha3-224 sha3-256
                        sha3-384 sha3-512 ripemd160));
dgst('rsa', $_) for @hashes, 'md5-sha1';
dgst('rsa', $_, 'rsa_padding_mode:pss')
    for grep { $_ ne 'ripemd160' && $_ ne 'md5' } @hashes;
dgst('p256', $_) for @hashes, 'sm3', 'blake2b512';
for my $key (grep { $_ ne 'p256' } @curves) {
    dgst($key, $_) for qw(sha256 sha512);
}
# What nobody verifies afterwards can be anything: it has to be refused.
alone_fails('another message is refused', qr/Verification failure/, 'dgst',
            '-sha512', '-verify', $public{$curves[-1]}, '-signature', $sig,
            $tampered);

# --- RSASSA-PSS: salts and masks ---

my @pss = (
    # salt length as asked for, hash, hash of MGF1, octets of salt
    ['digest', 'sha256', undef, 32],
    ['digest', 'sha384', undef, 48],
    ['max', 'sha256', undef, 222],
    ['auto', 'sha256', undef, 222],
    ['max', 'sha512', undef, 190],
    ['0', 'sha256', undef, 0],
    ['20', 'sha256', undef, 20],
    ['222', 'sha256', undef, 222],
    ['digest', 'sha256', 'sha1', 32],
    ['20', 'sha1', 'sha256', 20],
    ['max', 'sha512', 'sha256', 190],
    ['0', 'sha384', 'sha512', 0],
);
for my $row (@pss) {
    my ($salt, $hash, $mgf1, $octets) = @$row;
    my @mask = defined $mgf1 ? ("rsa_mgf1_md:$mgf1") : ();
    my $name = join ' ', "pss salt $salt", $hash, @mask;
    my @options = map { ('-sigopt', $_) } 'rsa_padding_mode:pss', @mask;

    by_the_token($name, sub {
        ok_openssl(\%conf, $name, 'dgst', "-$hash", @options,
                   '-sigopt', "rsa_pss_saltlen:$salt", '-sign', $uri{rsa},
                   '-out', $sig, $data);
    });
    my @judge = ('dgst', "-$hash", @options, '-verify', $public{rsa},
                 '-signature', $sig);
    ok_alone("$name: $octets octets of salt", @judge,
             '-sigopt', "rsa_pss_saltlen:$octets", $data);
    alone_fails("$name: not one more", qr/Verification failure/, @judge,
                '-sigopt', 'rsa_pss_saltlen:' . ($octets == 222 ? 221
                                                 : $octets + 1), $data);
    next if !@mask;
    alone_fails("$name: not with the hash's own mask",
                qr/Verification failure/, 'dgst', "-$hash",
                '-sigopt', 'rsa_padding_mode:pss', '-verify', $public{rsa},
                '-signature', $sig, $data);
}

# --- hashes and raw octets: pkeyutl ---

my $octets = join '', map { chr($_ * 7 % 251) } 1 .. 256;
my %input = map { $_ => spew("$dir/in-$_", substr $octets, 0, $_) }
    (0, 1, 20, 28, 32, 36, 48, 53, 64, 256);
# The modulus is bigger: its first octet is at least 0x80.
my @pkeyutl = (
    # key, octets, options
    ['rsa', 20, 'digest:sha1'],
    ['rsa', 32, 'digest:sha256'],
    ['rsa', 64, 'digest:sha3-512'],
    ['rsa', 36, 'digest:md5-sha1'],
    ['rsa', 1], ['rsa', 36], ['rsa', 53],
    ['rsa', 32, 'rsa_padding_mode:pss', 'digest:sha256'],
    ['rsa', 32, 'rsa_padding_mode:pss', 'digest:sha256', 'rsa_mgf1_md:sha512',
     'rsa_pss_saltlen:digest'],
    ['rsa', 20, 'rsa_padding_mode:pss', 'rsa_pss_saltlen:max'],
    map({ ['p256', $_] } 0, 1, 20, 32, 48, 64),
    ['p256', 32, 'digest:sha256'],
    map({ my $key = $_; map { [$key, $_] } 20, 64 }
        grep { $_ ne 'p256' } @curves),
);
for my $row (@pkeyutl) {
    my ($key, $n, @options) = @$row;
    my $name = join ' ', 'pkeyutl', $key, "$n octets", @options;
    my @pkeyopt = map { ('-pkeyopt', $_) } @options;

    by_the_token($name, sub {
        is_quiet(ok_openssl(\%conf, $name, 'pkeyutl', '-sign', '-inkey',
                            $uri{$key}, @pkeyopt, '-in', $input{$n},
                            '-out', $sig), "$name: no error left behind");
    });
    ok_alone("$name: verified", 'pkeyutl', '-verify', '-pubin', '-inkey',
             $public{$key}, @pkeyopt, '-in', $input{$n}, '-sigfile', $sig);
    alone_fails("$name: and nothing else is", qr/Failure|error/, 'pkeyutl',
                '-verify', '-pubin', '-inkey', $public{$key}, @pkeyopt,
                '-in', $input{$n == 28 ? 20 : 28}, '-sigfile', $sig);
}
for my $row (['rsa', 'sha256'], ['rsa', 'sha512', 'rsa_padding_mode:pss'],
             ['p256', 'sha384'], ['p521', 'sha256']) {
    my ($key, $hash, @options) = @$row;
    my $name = join ' ', 'pkeyutl -rawin', $key, $hash, @options;
    my @arguments = ('-rawin', '-digest', $hash,
                     (map { ('-pkeyopt', $_) } @options), '-in', $data);

    by_the_token($name, sub {
        ok_openssl(\%conf, $name, 'pkeyutl', '-sign', '-inkey', $uri{$key},
                   @arguments, '-out', $sig);
    });
    ok_alone("$name: verified", 'pkeyutl', '-verify', '-pubin', '-inkey',
             $public{$key}, @arguments, '-sigfile', $sig);
}

# --- verifying, and recovering, by us: in software ---

ok_openssl(\%conf, 'a signature to verify', 'dgst', '-sha256', '-sign',
           $uri{$_}, '-out', "$dir/sig-$_", $data) for qw(rsa p256);
my $hash = "$dir/hash";
ok_alone('its hash', 'dgst', '-sha256', '-binary', '-out', $hash, $data);
without_the_token('verifying', sub {
    for my $key (qw(rsa p256)) {
        my $good = "$dir/sig-$key";
        my $bytes = slurp($good);
        for my $how (['-prverify', $uri{$key}], ['-verify', $uri{$key}]) {
            my @judge = ('dgst', '-sha256', @$how);
            my $name = "$key: $how->[0]";
            ok_openssl(\%conf, "$name: good", @judge, '-signature', $good,
                       $data);
            openssl_fails(\%conf, "$name: another message",
                          qr/Verification failure/, @judge, '-signature',
                          $good, $tampered);
        }
        my @judge = ('pkeyutl', '-verify', '-inkey', $uri{$key}, '-pkeyopt',
                     'digest:sha256', '-sigfile');
        ok_openssl(\%conf, "$key: pkeyutl -verify", @judge, $good,
                   '-in', $hash);
        openssl_fails(\%conf, "$key: another hash",
                      qr/Verification Failure/, @judge, $good,
                      '-in', $input{32});
        my %broken = (
            'one bit' => substr($bytes, 0, -1)
                         . chr(1 ^ ord substr $bytes, -1),
            'an octet more' => "$bytes\0",
            'an octet less' => substr($bytes, 0, -1),
            'an octet' => "\x30",
            'zeros' => "\0" x length $bytes,
        );
        # A DER length in the long form, which is not DER.
        $broken{'BER'} = substr($bytes, 0, 1) . "\x81" . substr $bytes, 1
            if $key eq 'p256';
        for my $what (sort keys %broken) {
            my $bad = spew("$dir/bad", $broken{$what});
            openssl_fails(\%conf, "$key: $what is refused",
                          qr/Verification Failure/, @judge, $bad,
                          '-in', $hash);
        }
    }
    for my $how ([\%conf, '-inkey', $uri{rsa}],
                 [alone(), '-pubin', '-inkey', $public{rsa}]) {
        my ($run, @key) = @$how;
        my $out = "$dir/recovered";
        ok_openssl($run, "verifyrecover @key", 'pkeyutl', '-verifyrecover',
                   @key, '-pkeyopt', 'digest:sha256', '-in', "$dir/sig-rsa",
                   '-out', $out);
        is(slurp($out), slurp($hash), 'gives the hash');
        openssl_fails($run, 'and refuses what is no signature', qr/error/i,
                      'pkeyutl', '-verifyrecover', @key, '-in', $input{256});
    }
});

# --- refusals: before the token is asked to sign ---

my @refusals = (
    # what, words, command
    ['a hash of the wrong length', qr/invalid digest length/, 'pkeyutl',
     '-sign', '-inkey', $uri{rsa}, '-pkeyopt', 'digest:sha256', '-in',
     $input{20}],
    ['raw RSA of too few octets', qr/too small/, 'pkeyutl', '-sign',
     '-inkey', $uri{rsa}, '-pkeyopt', 'rsa_padding_mode:none', '-in',
     $input{32}],
    ['a salt that does not fit', qr/too large/, 'pkeyutl', '-sign',
     '-inkey', $uri{rsa}, '-pkeyopt', 'rsa_padding_mode:pss', '-pkeyopt',
     'digest:sha256', '-pkeyopt', 'rsa_pss_saltlen:223', '-in', $input{32}],
    ['a hash without DigestInfo', qr/not allowed/, 'dgst', '-blake2b512',
     '-sign', $uri{rsa}, $data],
    ['a padding of RSA for EC', qr/rsa_padding_mode/, 'dgst', '-sha256',
     '-sigopt', 'rsa_padding_mode:pss', '-sign', $uri{p256}, $data],
);
without_the_token('refusals', sub {
    for my $row (@refusals) {
        my ($what, $words, @command) = @$row;
        openssl_fails(\%conf, "$what is refused", $words, @command);
    }
});
refused(\%conf, 'no key of that name', qr/no private key matches/, 'pkeyutl',
        '-sign', '-inkey', $token->uri(object => 'none'), '-in', $input{32});

done_testing();
