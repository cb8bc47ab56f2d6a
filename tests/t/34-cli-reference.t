#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# References to keys, in PEM and DER: what is in them, who reads them, and what
# becomes of those that are broken or lie.
use strict;
use warnings;

use MIME::Base64 qw(decode_base64 encode_base64);
use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $count = P11::Count->new($token);
my $counted = $count->token;
my %conf = (env => $counted->conf_env);
my $data = spew("$dir/data", "to be signed\n");
my $label = 'PKCS#11 PROVIDER URI';
my $version = 'PKCS#11 Provider URI v1.0';

my %uri = (rsa => $token->keypair('rsa:2048', 'rsa', '01'),
           ec => $token->keypair('EC:prime256v1', 'ec', '02ff'),
           odd => $token->keypair('EC:prime256v1', 'a b/ü;?', '03'));
my %public = map { $_ => public_key($token, $_) } qw(rsa ec);

# --- a reader and a writer of its own ---

sub reference_der {
    my ($uri) = @_;
    return der(0x30, der(0x1a, $version) . der(0x0c, $uri));
}

sub reference_pem {
    my ($uri) = @_;
    my $text = encode_base64(reference_der($uri), '');
    $text =~ s/(.{1,64})/$1\n/g;
    return "-----BEGIN $label-----\n$text-----END $label-----\n";
}

# The URI in a reference, as openssl's own parser shows it.
sub uri_in {
    my ($file, @form) = @_;
    my $parsed = ok_alone("$file is DER", 'asn1parse', @form, '-in', $file);
    my @lines = split /\n/, $parsed->{out};
    is(scalar @lines, 3, 'of three elements');
    like($lines[0], qr/^\s*0:d=0 .* cons: SEQUENCE\s*$/, 'a SEQUENCE');
    like($lines[1], qr/:d=1 .* prim: VISIBLESTRING\s+:\Q$version\E$/,
         'of the version');
    like($lines[2], qr/:d=1 .* prim: UTF8STRING/, 'and a URI');
    return ($lines[2] // '') =~ /UTF8STRING\s+:(.*)$/ ? $1 : '';
}

sub spki {
    my ($uri) = @_;
    my ($text) = $uri =~ /[?&]x-public-key=([A-Za-z0-9_-]+)(?:&|$)/
        or return '';
    return decode_base64($text =~ tr{_-}{/+}r);
}

sub public_der {
    my ($key) = @_;
    ok_alone('the public key in DER', 'pkey', '-pubin', '-in', $public{$key},
             '-outform', 'DER', '-out', "$dir/public.der");
    return slurp("$dir/public.der");
}

sub claim {
    my ($key) = @_;
    my $text = encode_base64(public_der($key), '') =~ tr{/+}{_-}r;
    $text =~ s/=+$//;
    return "x-public-key=$text";
}

# --- what is written ---

my $pin_file = $token->pin_file;
my $odd_file = spew("$dir/a?b", slurp($pin_file));
my @written = (
    # key, what is behind the URI, what stays of it
    ['rsa', '', ''],
    ['ec', '', ''],
    ['ec', '?pin-value=1234', ''],
    ['ec', "?pin-source=file:$pin_file", "pin-source=file:$pin_file"],
    ['ec', "?pin-source=file:$odd_file", "pin-source=file:$odd_file"],
    ['ec', ";pin-source=$pin_file", "pin-source=$pin_file"],
    ['ec', "?x-old-pin-source=nowhere&pin-source=$pin_file",
     "pin-source=$pin_file"],
);
for my $row (@written) {
    my ($key, $query, $stays) = @$row;
    my ($pem, $der) = ("$dir/$key.pem", "$dir/$key.der");

    ok_openssl(\%conf, "$key$query: PEM", 'pkey', '-in', "$uri{$key}$query",
               '-out', $pem);
    my $uri = uri_in($pem);
    is(slurp($pem), reference_pem($uri), 'PEM byte for byte');
    my ($id, $name) = $key eq 'rsa' ? ('%01', 'rsa') : ('%02%FF', 'ec');
    my ($path, $asked) = split /\?/, $uri, 2;
    my %attribute = map { split /=/, $_, 2 } split /;/, $path =~ s/^pkcs11://r;
    like(delete $attribute{serial}, qr/^[0-9a-f]+$/, 'the token by serial');
    is_deeply(\%attribute, { token => 'tok', id => $id, object => $name,
                             type => 'private', model => 'SoftHSM%20v2',
                             manufacturer => 'SoftHSM%20project' },
              'and the key by id and label');
    is(spki($uri), public_der($key), 'with its public key');
    is(join('&', grep { !/^x-public-key=/ } split /&/, $asked), $stays,
       'and nothing else but where the PIN is');
    unlike($uri, qr/pin-value|$token->{pin}$/, 'no PIN');

    ok_openssl(\%conf, "$key: DER", 'pkey', '-in', "$uri{$key}$query",
               '-outform', 'DER', '-out', $der);
    is(uri_in($der, '-inform', 'DER'), $uri, 'the same in DER');
    is(slurp($der), reference_der($uri), 'DER byte for byte');
    for my $format ([$pem], [$der, '-inform', 'DER'], [$der]) {
        my ($file, @form) = @$format;
        is(ok_openssl(\%conf, "$file is read", 'pkey', '-in', $file,
                      @form)->{out}, slurp($pem), 'and is the same key');
    }
    ok_openssl(\%conf, 'nothing is there to encrypt', 'pkey', '-in', $pem,
               '-aes256', '-passout', 'pass:word', '-out', "$dir/encrypted");
    is(slurp("$dir/encrypted"), slurp($pem), 'the same reference');
}
ok_openssl(\%conf, 'a label of odd characters', 'pkey', '-in', $uri{odd},
           '-out', "$dir/odd.pem");
like(uri_in("$dir/odd.pem"), qr/;object=a%20b%2F%C3%BC%3B%3F;/,
     'is written with percent signs');
ok_openssl(\%conf, 'and found again', 'dgst', '-sha256', '-sign',
           "$dir/odd.pem", '-out', "$dir/sig", $data);

ok_openssl(\%conf, "$_: a reference", 'pkey', '-in', $uri{$_}, '-out',
           "$dir/$_.pem") for qw(rsa ec);
my $silent = { env => $counted->conf_env(file => 'silent.cnf', settings =>
    { 'pkcs11-module-reference-public-key' => 'false' }) };
for my $in ($uri{ec}, "$dir/ec.pem") {
    ok_openssl($silent, 'without the public key', 'pkey', '-in', $in, '-out',
               "$dir/bare.pem");
    my $uri = uri_in("$dir/bare.pem");
    unlike($uri, qr/\?|x-public-key/, 'where the setting says so');
    is(ok_openssl(\%conf, 'it is found on the token', 'pkey', '-in',
                  "$dir/bare.pem", '-pubout')->{out}, slurp($public{ec}),
       'all the same');
}

# --- bundles ---

openssl(\%conf, 'req', '-x509', '-new', '-key', $uri{ec}, '-subj', '/CN=x',
        '-out', "$dir/cert.pem");
openssl(alone(), 'genpkey', '-algorithm', 'ED25519', '-out', "$dir/soft.pem");
my %file = map { $_ => slurp("$dir/$_.pem") } qw(cert ec rsa soft);
my @bundles = (
    # content, what storeutl lists
    ["$file{cert}$file{ec}", 'Certificate Pkey'],
    ["$file{ec}$file{cert}", 'Pkey Certificate'],
    ["$file{ec}$file{cert}$file{cert}", 'Pkey Certificate Certificate'],
    ["a word\n\n$file{cert}another\n$file{ec}the end", 'Certificate Pkey'],
    ["$file{ec}$file{rsa}$file{cert}", 'Pkey Pkey Certificate'],
    ["$file{ec}$file{soft}$file{cert}", 'Pkey Pkey Certificate'],
    [join('', $file{cert}, $file{ec}) =~ s/\n/\r\n/gr, 'Certificate Pkey'],
);
my $calls = $count->during(sub {
    for my $i (0 .. $#bundles) {
        my ($content, $list) = @{ $bundles[$i] };
        my $name = "bundle $i";
        my $file = spew("$dir/bundle.pem", $content);
        my $all = ok_openssl(\%conf, "$name: is listed", 'storeutl', '-noout',
                             $file);
        is(join(' ', $all->{out} =~ /^\d+: (.*)$/mg), $list,
           "$name: everything, in order");
        is_quiet($all, "$name: quietly");
        is(ok_openssl(\%conf, "$name: its key", 'pkey', '-in', $file,
                      '-pubout')->{out}, slurp($public{ec}),
           "$name: is the token's");
        is(ok_openssl(\%conf, "$name: its certificate", 'x509', '-in',
                      $file)->{out}, $file{cert}, "$name: is the one");
        is(ok_alone("$name: for others, too", 'x509', '-in', $file)->{out},
           $file{cert}, "$name: the certificate is there");
    }
});
is(sum_of($calls), 0, 'all that without the token')
    or diag(P11::Count::text($calls));

# --- what cannot be written, and is said once ---

for my $form (qw(PVK MSBLOB)) {
    openssl_refuses(\%conf, "no reference in $form",
        [qr/:key does not permit this:/, qr/as a reference only.*PEM or DER/],
        'rsa', '-in', $uri{rsa}, '-outform', $form, '-out', "$dir/none");
}
for my $form (qw(PEM DER)) {
    openssl_refuses(\%conf, "no software key of ours in $form",
        [qr/:key does not permit this:/, qr/this key is not in a token/],
        qw(genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt
           group:P-256 -outform), $form, '-out', "$dir/none");
}

# --- a relative file for the PIN: it is the one of that moment ---

my %bare = (env => $counted->conf_env(file => 'bare.cnf', settings =>
    { 'pkcs11-module-token-pin' => undef }));
sub from_folder {
    my ($folder) = @_;
    return { %bare, as => ['sh', '-c', 'cd "$0" && exec "$@"', $folder] };
}

my ($here, $there) = ("$dir/here & now", "$dir/there");
mkdir $_ or die "$_: $!" for $here, $there;
spew("$here/pin", "$token->{pin}\n");
spew("$there/pin", "wrong\n");
ok_openssl(from_folder($here), 'a relative pin-source', 'pkey', '-in',
           "$uri{ec}?pin-source=file:pin", '-out', "$dir/relative.pem");
like(uri_in("$dir/relative.pem"),
     qr{[?&]pin-source=file:/[^&]*/here%20%26%20now/pin(?:&|$)},
     '… is written with its absolute name');
for my $folder ('/', $there) {
    my $logins = $count->during(sub {
        ok_openssl(from_folder($folder), "… and signs from $folder", 'dgst',
                   '-sha256', '-sign', "$dir/relative.pem", '-out',
                   "$dir/sig", $data);
    });
    is($logins->{C_Login}, 1, '… with one login');
    ok_alone('… what verifies', 'dgst', '-sha256', '-verify', $public{ec},
             '-signature', "$dir/sig", $data);
}

# --- from other writers ---

my $bare = 'pkcs11:token=tok;object=ec';
my @foreign = (
    ['label and type', "$bare;type=private"],
    ['label only', $bare],
    ['id only', 'pkcs11:id=%02%ff;type=private'],
    ['vendor attributes', "$bare;x-one=1?x-two=2"],
    ['an escaped letter', 'pkcs11:token=%74ok;object=ec'],
    ['a PIN', "$bare?pin-value=1234"],
    ['a PIN source', "$bare?pin-source=file:$pin_file"],
    ['a public key', "$bare?" . claim('ec')],
    ['a PIN and a public key', "$bare?pin-value=1234&" . claim('ec')],
);
my $no_pin = { env => $counted->conf_env(file => 'no-pin.cnf', settings =>
    { 'pkcs11-module-token-pin' => undef }) };
for my $row (@foreign) {
    my ($what, $uri) = @$row;
    my $how = $uri =~ /pin-/ ? $no_pin : \%conf;
    for my $form (['PEM', reference_pem($uri)], ['DER', reference_der($uri)]) {
        my $file = spew("$dir/foreign", $form->[1]);
        my $sign = $count->during(sub {
            ok_openssl($how, "$what, $form->[0]: signs", 'dgst', '-sha256',
                       '-sign', $file, '-out', "$dir/sig", $data);
        });
        is($sign->{C_Sign}, 1, "$what: in the token");
        ok_alone("$what: it verifies", 'dgst', '-sha256', '-verify',
                 $public{ec}, '-signature', "$dir/sig", $data);
    }
}
openssl_fails($no_pin, 'without a PIN it does not sign', qr/PIN/, 'dgst',
              '-sha256', '-sign', spew("$dir/foreign", reference_pem($bare)),
              $data);
refused(\%conf, 'a key that is not there', qr/no private key matches/, 'pkey',
        '-noout', '-in', spew("$dir/foreign", reference_pem("${bare}s")));

# --- that lie ---

for my $row (['another key of its type', $uri{odd}, claim('ec')],
             ['a key of another type', $uri{ec}, claim('rsa')],
             ['a key of another type', $uri{rsa}, claim('ec')]) {
    my ($what, $uri, $claim) = @$row;
    my $file = spew("$dir/lie.pem", reference_pem("$uri;type=private?$claim"));
    my $load = $count->during(sub {
        ok_openssl(\%conf, "$what: is loaded", 'pkey', '-noout', '-in',
                   $file);
    });
    is(sum_of($load), 0, "$what: nobody asks the token");
    my $sign = $count->during(sub {
        refused(\%conf, "$what: does not sign", qr/another public key/,
                'dgst', '-sha256', '-sign', $file, '-out', "$dir/sig", $data);
    });
    is($sign->{C_SignInit} // 0, 0, "$what: the token signs nothing");
    cmp_ok(sum_of($sign), '>', 0, "$what: the token was asked");
}

# --- the same claim in a URI that is given to the store ---

for my $key (qw(rsa ec)) {
    my $sign = $count->during(sub {
        ok_openssl(\%conf, "$key: a URI with its public key", 'dgst',
                   '-sha256', '-sign', "$uri{$key}?" . claim($key), '-out',
                   "$dir/sig", $data);
    });
    is($sign->{C_Sign}, 1, '… signs in the token');
    ok_alone('… what verifies', 'dgst', '-sha256', '-verify', $public{$key},
             '-signature', "$dir/sig", $data);
    ok_openssl(\%conf, '… and is its public half', 'pkey', '-pubin', '-in',
               "$uri{$key}?" . claim($key), '-pubout', '-out', "$dir/half");
    is(slurp("$dir/half"), slurp($public{$key}), '… indeed');
}
for my $row (['another key of its type', $uri{odd}, claim('ec')],
             ['a key of another type', $uri{ec}, claim('rsa')]) {
    my ($what, $uri, $claim) = @$row;
    my $sign = $count->during(sub {
        refused(\%conf, "$what in a URI: does not sign",
                qr/another public key than x-public-key/, 'dgst', '-sha256',
                '-sign', "$uri;type=private?$claim", '-out', "$dir/sig",
                $data);
        refused(\%conf, "$what in a URI: is not its public half",
                qr/another public key than x-public-key/, 'pkey', '-pubin',
                '-noout', '-in', "$uri?$claim");
    });
    is($sign->{C_SignInit} // 0, 0, '… the token signs nothing');
}
refused(\%conf, 'a claim that is no key', qr/public key|x-public-key/, 'pkey',
        '-noout', '-in', "$uri{ec}?x-public-key=AAAA");

# A key that has lost its public half: the claim is that.
my $lost = $token->keypair('EC:prime256v1', 'lost', '04');
my $lost_pub = $public{lost} = public_key($token, 'lost');
$token->tool('--delete-object', '--type', 'pubkey', '--id', '04');
refused(\%conf, 'without a public half it is no key',
        qr/object=lost;.*no RSA or EC public key/, 'pkey', '-noout', '-in',
        $lost);
my $lost_sign = $count->during(sub {
    ok_openssl(\%conf, '… with one in the URI it signs', 'dgst', '-sha256',
               '-sign', "$lost?" . claim('lost'), '-out', "$dir/sig", $data);
});
is($lost_sign->{C_Sign}, 1, '… in the token');
ok_alone('… what verifies', 'dgst', '-sha256', '-verify', $lost_pub,
         '-signature', "$dir/sig", $data);

# --- that are broken ---

sub is_version {
    my ($version) = @_;
    return openssl(alone(), 'version')->{out} =~ /^OpenSSL \Q$version\E\./;
}

my $samples = top() . '/tests/data/references';
my @bad = sort glob "$samples/bad-*.pem";
my @good = sort glob "$samples/good*.pem";
cmp_ok(scalar @bad, '>=', 10, 'there are broken references');
$calls = $count->during(sub {
    for my $file (@bad) {
        my ($name) = $file =~ m{([^/]+)$};
        refused(\%conf, "$name: is refused", qr/:pkcs11:/, 'pkey', '-noout',
                '-in', $file);
        refused(\%conf, "$name: also to sign", qr/:pkcs11:/, 'dgst',
                '-sha256', '-sign', $file, $data);
    }
    for my $file (@good) {
        my ($name) = $file =~ m{([^/]+)$};
        ok_openssl(\%conf, "$name: is good", 'pkey', '-noout', '-in', $file);
    }
    my $der = reference_der('');
    $der = "\x30\x83" . substr(pack('N', 70000 + length $der), 1)
        . substr($der, 2, -2) . "\x0c\x83" . substr(pack('N', 70000), 1)
        . 'x' x 70000;
    refused(\%conf, 'one that is too long, in PEM', qr/longer than any/,
            'pkey', '-noout', '-in', spew("$dir/long",
            "-----BEGIN $label-----\n" . encode_base64($der)
            . "-----END $label-----\n"));
    # Newer versions drop what is said of DER, and only do not find the key.
    my ($refused, $why) = is_version('3.0') ? (\&refused, qr/cut off/)
        : (\&openssl_fails, qr/Could not find/);
    $refused->(\%conf, 'and in DER', $why, 'pkey', '-noout', '-in',
               spew("$dir/long", $der));
    for my $n (1, 10, length($bare) + 1) {
        $refused->(\%conf, "one without its last $n octets", $why, 'pkey',
                   '-noout', '-in',
                   spew("$dir/short", substr reference_der($bare), 0, -$n));
    }
});
is(sum_of($calls), 0, 'nothing of that asked the token');

# What is no reference is not ours to complain about.
for my $text ('', 'nothing', "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING",
              reference_pem($bare) =~ s/PROVIDER URI/PROVIDER URL/gr) {
    my $result = openssl_fails(\%conf, 'other files are unreadable as ever',
                               qr/Could not (?:read|find)/, 'pkey', '-noout',
                               '-in', spew("$dir/other", $text));
    my (undef, $ours) = errors($result);
    is(scalar @$ours, 0, 'without a word of ours');
}

done_testing();
