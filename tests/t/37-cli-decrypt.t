#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Decryption and key agreement on the command line. What encrypts, and what is
# on the other side, is an openssl without us; what decrypts is the token, by
# two calls, whatever its mechanisms are.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $dir = scratch();
my %list = (
    all    => 'ALL',
    raw    => 'CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_X_509',
    padded => 'CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS,CKM_RSA_PKCS_OAEP',
    raw_pkcs => 'CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_PKCS',
);
my (%token, %count, %how, %uri, %public);
for my $kind (sort keys %list) {
    $token{$kind} = P11::Token->needs('SoftHSM', mechanisms => $list{$kind},
                                      label => $kind);
    $count{$kind} = P11::Count->new($token{$kind});
    $how{$kind} = { env => $count{$kind}->token->conf_env };
    $uri{$kind} = $token{$kind}->keypair('rsa:2048', "$kind-rsa", '01');
    $public{$kind} = public_key($token{$kind}, "$kind-rsa");
}
my $out = "$dir/out";
my $cipher = "$dir/cipher";
my %input = map { $_ => spew("$dir/in-$_", join '', map { chr($_ * 7 % 251) }
                                            1 .. $_) }
    (0, 1, 32, 48, 62, 190, 214, 245, 256);

sub opts { return map { ('-pkeyopt', $_) } @_ }

sub encrypted {
    my ($kind, $file, @options) = @_;
    my $result = openssl(alone(), 'pkeyutl', '-encrypt', '-pubin', '-inkey',
                         $public{$kind}, '-in', $file, '-out', $cipher,
                         opts(@options));
    die "$result->{command}: $result->{err}" if $result->{status} != 0;
    return $cipher;
}

sub decrypt {
    my ($kind, $in, @options) = @_;
    unlink $out;
    return ('pkeyutl', '-decrypt', '-inkey', $uri{$kind}, '-in', $in,
            '-out', $out, opts(@options));
}

sub crypto {
    my ($calls) = @_;
    return { map { $_ => $calls->{$_} }
             grep { /Sign|Verify|Digest|crypt|Create|Derive|Random|Destroy/ }
             keys %$calls };
}

my %two = (C_DecryptInit => 1, C_Decrypt => 1);

# --- RSA, each padding ---

my $label = 'rsa_oaep_label:6c6162656c';
my @rows = (
    # octets, options
    [32], [0], [1], [245],
    [32, 'rsa_padding_mode:pkcs1'],
    [256, 'rsa_padding_mode:none'],
    [32, 'rsa_padding_mode:oaep'],
    [0, 'rsa_padding_mode:oaep'],
    [214, 'rsa_padding_mode:oaep'],
    [32, 'rsa_padding_mode:oaep', $label],
    [190, 'rsa_padding_mode:oaep', 'rsa_oaep_md:sha256'],
    [62, 'rsa_padding_mode:oaep', 'rsa_oaep_md:sha384'],
    [62, 'rsa_padding_mode:oaep', 'rsa_oaep_md:sha512', $label],
    [32, 'rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha1'],
    [32, 'rsa_padding_mode:oaep', 'rsa_mgf1_md:sha512'],
    [32, 'rsa_padding_mode:oaep', 'rsa_oaep_md:sha3-256'],
    [32, 'rsa_padding_mode:oaep', 'rsa_oaep_md:blake2s256'],
);
for my $kind (qw(all raw)) {
    for my $row (@rows) {
        my ($n, @options) = @$row;
        my $name = join ' ', $kind, $n, @options;
        encrypted($kind, $input{$n}, @options);
        my $calls = $count{$kind}->during(sub {
            is_quiet(ok_openssl($how{$kind}, $name,
                                decrypt($kind, $cipher, @options)),
                     "$name: no error left behind");
        });
        is_deeply(crypto($calls), \%two, "$name: two calls")
            or diag(P11::Count::text($calls));
        is(slurp($out), slurp($input{$n}), "$name: the message");
    }
}

# A token that takes padding away itself: what it knows, it does.
for my $row (['padded', 32], ['padded', 0], ['padded', 245],
             ['raw_pkcs', 32],
             ['padded', 32, 'rsa_padding_mode:oaep'],
             ['padded', 214, 'rsa_padding_mode:oaep']) {
    my ($kind, $n, @options) = @$row;
    my $name = join ' ', $kind, $n, @options;
    encrypted($kind, $input{$n}, @options);
    my $calls = $count{$kind}->during(sub {
        ok_openssl($how{$kind}, $name, decrypt($kind, $cipher, @options));
    });
    is_deeply(crypto($calls), \%two, "$name: two calls")
        or diag(P11::Count::text($calls));
    is(slurp($out), slurp($input{$n}), "$name: the message");
}
# … and what it does not know is said.
for my $row (
    ['padded', qr/CKM_RSA_X_509/, 'rsa_padding_mode:none'],
    ['raw_pkcs', qr/CKM_RSA_X_509 nor CKM_RSA_PKCS_OAEP/,
     'rsa_padding_mode:oaep'],
    ['padded', qr/CKR_ARGUMENTS_BAD|CKR_MECHANISM_PARAM_INVALID/,
     'rsa_padding_mode:oaep', 'rsa_oaep_md:sha256'],
    ['padded', qr/CKM_RSA_X_509 nor CKM_RSA_PKCS_OAEP/,
     'rsa_padding_mode:oaep', 'rsa_oaep_md:blake2s256'],
) {
    my ($kind, $words, @options) = @$row;
    encrypted($kind, $input{$options[0] =~ /none/ ? 256 : 32}, @options);
    openssl_refuses($how{$kind}, join(' ', $kind, @options, 'is refused'),
                    $words, decrypt($kind, $cipher, @options));
    ok(!-s $out, '… with nothing in the file');
}

# --- refusals ---

# Raw octets, "encrypted" as they are: an encoding of our choice.
sub raw {
    my ($kind, $octets) = @_;
    return encrypted($kind, spew("$dir/em", $octets), 'rsa_padding_mode:none');
}

sub em { return $_[0] . "\xa5" x (255 - length $_[0]) . 'z' }

# Where OpenSSL rejects implicitly (3.2), wrong padding gives a message, too.
my $implicit = openssl(alone(), 'pkeyutl', '-decrypt', '-inkey',
    software_key(), '-in', spew("$dir/zeros", "\0" x 255 . "\1"), '-out', $out)
    ->{status} == 0;
sub software_key {
    my $file = "$dir/software.pem";
    openssl(alone(), 'genrsa', '-out', $file, 2048) if !-e $file;
    return $file;
}
my @explicit = $implicit ? 'rsa_pkcs1_implicit_rejection:0' : ();

my @bad = (
    ['the first octet', em("\1\2" . "\xa5" x 8 . "\0")],
    ['the second octet', em("\0\1" . "\xa5" x 8 . "\0")],
    ['seven octets of padding', em("\0\2" . "\xa5" x 7 . "\0")],
    ['no end of the padding', em("\0\2")],
    ['zeros', "\0" x 255 . "\1"],
);
for my $kind (qw(all raw padded)) {
    for my $row (@bad) {
        my ($what, $octets) = @$row;
        raw($kind, $octets);
        if ($kind eq 'padded' && $implicit) {
            # The token's own libcrypto rejects in the same manner.
            ok_openssl($how{$kind}, "$kind: $what is rejected by the token",
                       decrypt($kind, $cipher, @explicit));
            isnt(slurp($out), substr($octets, 11), 'not without the padding');
            next;
        }
        openssl_fails($how{$kind}, "$kind: $what is refused",
            qr/padding|pkcs decoding|CKR_/i,
            decrypt($kind, $cipher, @explicit));
        ok(!-s $out, "$kind: $what: nothing is given out");
        next if !$implicit;
        my @twice = map {
            ok_openssl($how{$kind}, "$kind: $what is rejected implicitly",
                       decrypt($kind, $cipher));
            slurp($out);
        } 1, 2;
        isnt($twice[0], $twice[1], "$kind: $what: by a secret of the process")
            if length $twice[0] > 8 || length $twice[1] > 8;
    }
    raw($kind, em("\0\2" . "\xa5" x 8 . "\0"));
    ok_openssl($how{$kind}, "$kind: eight octets of padding are enough",
               decrypt($kind, $cipher, @explicit));
    is(slurp($out), "\xa5" x 244 . 'z', "$kind: the longest message");
}
for my $kind (qw(all raw)) {
    my @oaep = ('rsa_padding_mode:oaep', 'rsa_oaep_md:sha256');
    my $wrong = qr/oaep decoding error/;
    encrypted($kind, $input{32}, @oaep, $label);
    for my $row (['no label', @oaep],
                 ['another label', @oaep, 'rsa_oaep_label:6c6162656d'],
                 ['another hash', 'rsa_padding_mode:oaep', $label],
                 ['another mask', @oaep, $label, 'rsa_mgf1_md:sha1']) {
        my ($what, @options) = @$row;
        openssl_fails($how{$kind}, "$kind: OAEP, $what", $wrong,
                      decrypt($kind, $cipher, @options));
        ok(!-s $out, "$kind: OAEP, $what: nothing is given out");
    }
    raw($kind, em("\0\2" . "\xa5" x 8 . "\0"));
    openssl_fails($how{$kind}, "$kind: what is no OAEP", $wrong,
                  decrypt($kind, $cipher, @oaep));
    my $calls = $count{$kind}->during(sub {
        openssl_fails($how{$kind}, "$kind: an octet too many",
                      qr/greater than mod len/,
                      decrypt($kind, spew("$dir/long", 'x' x 257), @explicit));
        openssl_fails($how{$kind}, "$kind: a number above the modulus",
                      qr/too large for modulus/,
                      decrypt($kind, spew("$dir/big", "\xff" x 256),
                              'rsa_padding_mode:none'));
        openssl_fails($how{$kind}, "$kind: a padding for signatures",
                      qr/pkcs1, oaep or none|rsa_padding_mode|illegal/,
                      decrypt($kind, $cipher, 'rsa_padding_mode:pss'));
        openssl_fails($how{$kind}, "$kind: no such digest",
                      qr/rsa_oaep_md|unsupported|invalid/,
                      decrypt($kind, $cipher, 'rsa_padding_mode:oaep',
                              'rsa_oaep_md:none-such'));
        openssl_fails($how{$kind}, "$kind: X9.31",
                      qr/pkcs1, oaep or none|rsa_padding_mode|illegal/,
                      decrypt($kind, $cipher, 'rsa_padding_mode:x931'));
    });
    is_deeply(crypto($calls), {}, "$kind: refused without the token");
}
{
    # A key that must not: made so.
    my $made = openssl($how{all}, 'genpkey', '-propquery', '?provider=pkcs11',
        '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-pkeyopt',
        'pkcs11_uri:' . $token{all}->uri(object => 'signs', id => '%09'),
        '-pkeyopt', 'pkcs11_key_usage:digitalSignature', '-out',
        "$dir/signs.pem");
    is($made->{status}, 0, 'a key for signatures only') or diag($made->{err});
    openssl_refuses($how{all}, 'a key that must not decrypt', qr/CKA_DECRYPT/,
        'pkeyutl', '-decrypt', '-inkey', $token{all}->uri(object => 'signs'),
        '-in', $cipher);
}

# --- encryption: by us, in software ---

my $calls = $count{all}->during(sub {
    for my $row (['pkcs1'], ['oaep', 'rsa_oaep_md:sha256', $label]) {
        my ($mode, @more) = @$row;
        my @options = ("rsa_padding_mode:$mode", @more);
        ok_openssl($how{all}, "encryption: $mode", 'pkeyutl', '-encrypt',
                   '-inkey', $uri{all}, '-in', $input{32}, '-out',
                   "$cipher-$mode", opts(@options));
    }
});
is_deeply(crypto($calls), {}, 'encryption needs no token');
ok_openssl($how{all}, 'PKCS#1 of ours', decrypt('all', "$cipher-pkcs1"));
is(slurp($out), slurp($input{32}), 'is what it was');
ok_openssl($how{all}, 'OAEP of ours', decrypt('all', "$cipher-oaep",
    'rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', $label));
is(slurp($out), slurp($input{32}), 'is what it was');

# --- ECDH ---

my %peer;           # by curve: .key has its private key, .pub the public half
my $id = 20;
for my $curve (qw(prime256v1 secp384r1)) {
    $uri{$curve} = $token{all}->keypair("EC:$curve", $curve, ++$id);
    $public{$curve} = public_key($token{all}, $curve);
    $peer{$curve} = "$dir/peer-$curve";
    for my $make (['genpkey', '-algorithm', 'EC', '-pkeyopt',
                   "group:$curve", '-out', "$peer{$curve}.key"],
                  ['pkey', '-in', "$peer{$curve}.key", '-pubout', '-out',
                   "$peer{$curve}.pub"]) {
        ok_alone("a peer on $curve: $make->[0]", @$make);
    }
}
my @kdf = ('kdf-type:X963KDF', 'kdf-outlen:40');
my @agreements = (
    # octets (0: of a coordinate), options
    [0], [0, 'ecdh_cofactor_mode:1'],
    [40, @kdf, 'kdf-digest:SHA256'],
    [40, @kdf, 'kdf-digest:SHA1', 'hexkdf-ukm:0102feff'],
    [40, @kdf, 'kdf-digest:SHA512', 'hexkdf-ukm:00', 'ecdh_cofactor_mode:1'],
);
for my $curve (sort keys %peer) {
    for my $row (@agreements) {
        my ($n, @options) = @$row;
        my $name = join ' ', $curve, @options;
        $n ||= $curve eq 'secp384r1' ? 48 : 32;
        unlink $out;
        my $calls = $count{all}->during(sub {
            is_quiet(ok_openssl($how{all}, $name, 'pkeyutl', '-derive',
                '-inkey', $uri{$curve}, '-peerkey', "$peer{$curve}.pub",
                '-out', $out, opts(@options)), "$name: quietly");
        });
        is_deeply(crypto($calls),
                  { C_DeriveKey => 1, C_DestroyObject => 1 },
                  "$name: derived by the token");
        ok_alone("$name: the peer's side", 'pkeyutl', '-derive', '-inkey',
                 "$peer{$curve}.key", '-peerkey', $public{$curve}, '-out',
                 "$out-peer", opts(@options));
        ok(slurp($out) eq slurp("$out-peer") && -s $out == $n,
           "$name: both have the same $n octets");
    }
}

# Peers that are none. A point that is not on the curve has no key at all.
sub spki {
    my ($curve, $point) = @_;
    openssl(alone(), 'pkey', '-pubin', '-in', $public{$curve}, '-outform',
            'DER', '-out', "$dir/spki.der");
    my $der = slurp("$dir/spki.der");
    my $params = P11::Cli::der(0x30, substr $der, 4, ord substr $der, 3, 1);
    my $text = P11::Cli::der(0x30, $params . P11::Cli::der(3, "\0$point"));
    return spew("$dir/odd.der", $text);
}
my ($x, $y) = do {
    openssl(alone(), 'pkey', '-pubin', '-in', "$peer{prime256v1}.pub",
            '-outform', 'DER', '-out', "$dir/peer.der");
    unpack 'a32 a32', substr slurp("$dir/peer.der"), -64;
};
my %odd = (
    'infinity' => "\0",
    'beside the curve' => "\4$x" . substr($y, 0, 31)
        . chr(1 ^ ord substr $y, 31),
    'zeros' => "\4" . "\0" x 64,
    'too short' => "\4" . substr("$x$y", 1),
    'too long' => "\4$x$y\0",
    'another form' => "\5$x$y",
);
my $tries = $count{all}->during(sub {
    for my $what (sort keys %odd) {
        openssl_fails($how{all}, "a peer: $what", qr/rror/, 'pkeyutl',
            '-derive', '-inkey', $uri{prime256v1}, '-peerform', 'DER',
            '-peerkey', spki('prime256v1', $odd{$what}));
    }
    openssl_fails($how{all}, 'a peer on another curve',
        qr/different parameters|mismatch/i, 'pkeyutl', '-derive', '-inkey',
        $uri{prime256v1}, '-peerkey', "$peer{secp384r1}.pub");
    openssl_fails($how{all}, 'no such digest', qr/rror/, 'pkeyutl', '-derive',
        '-inkey', $uri{prime256v1}, '-peerkey', "$peer{prime256v1}.pub",
        opts(@kdf, 'kdf-digest:none-such'));
    openssl_fails($how{all}, 'no such function', qr/rror|kdf-type/, 'pkeyutl',
        '-derive', '-inkey', $uri{prime256v1}, '-peerkey',
        "$peer{prime256v1}.pub", opts('kdf-type:HKDF'));
});
is_deeply(crypto($tries), {}, 'refused without the token');
ok_openssl($how{all}, 'the same way, a good peer', 'pkeyutl', '-derive',
           '-inkey', $uri{prime256v1}, '-peerform', 'DER', '-peerkey',
           spki('prime256v1', "\4$x$y"), '-out', $out);

# --- TLS 1.2 with RSA key exchange ---

# handshakes(KIND, SETTINGS): what a server with that key does with good
# clients, and the calls that it takes each time.
sub kex_server {
    my ($kind, %settings) = @_;
    my $cert = "$dir/$kind.crt";
    my %server = (env => $count{$kind}->token->conf_env(
        settings => \%settings, file => 'server.cnf'));
    if (!-e $cert) {
        ok_openssl($how{$kind}, "$kind: a certificate", 'req', '-x509',
                   '-new', '-key', $uri{$kind}, '-subj', '/CN=localhost',
                   '-out', $cert);
    }
    my $port = free_port();
    my ($how, @command) = P11::Test::openssl_command(\%server, 's_server',
        '-accept', "127.0.0.1:$port", '-www', '-tls1_2', '-cipher', 'kRSA',
        '-cert', $cert, '-key', $uri{$kind});
    my $server = start_server($how, 'kex', @command);
    accepts($server);
    return ($server, 's_client', '-connect', "127.0.0.1:$port", '-tls1_2',
            '-cipher', 'AES128-GCM-SHA256', '-CAfile', $cert,
            '-verify_return_error', '-ign_eof');
}
my $asking = { %{ alone() }, stdin => "GET / HTTP/1.0\r\n\r\n" };

for my $row (['all', {}], ['raw', {}],
             ['padded', { 'pkcs11-module-tls-rsa-by-token' => 'yes' }]) {
    my ($kind, $settings) = @$row;
    my ($server, @client) = kex_server($kind, %$settings);
    for my $time (1, 2) {
        my $result;
        my $calls = $count{$kind}->during(sub {
            $result = ok_openssl($asking, "$kind: kRSA, time $time", @client);
        });
        like($result->{out}, qr/Cipher is AES128-GCM-SHA256/,
             "$kind: by that cipher");
        is_deeply(crypto($calls), \%two, "$kind: two calls");
        is(sum_of($calls), 2, "$kind: in all") if $time == 2;
    }
    stop_server($server);
}
{
    my ($server, @client) = kex_server('padded');
    my $calls = $count{padded}->during(sub {
        openssl_fails($asking, 'padded: no kRSA unless it is allowed',
                      qr/alert|handshake/, @client);
    });
    is_deeply(crypto($calls), {}, 'padded: the token is not asked');
    # It tells its client first, and then its user.
    ok(wait_for(60, sub { slurp($server->{err})
                          =~ /pkcs11-module-tls-rsa-by-token/ }),
       'padded: the server says how to allow it')
        or diag(slurp($server->{err}));
    stop_server($server);
}

done_testing();
