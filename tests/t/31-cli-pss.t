#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# RSA keys that are restricted to PSS: by their certificate in the token, or by
# a reference with their public half. What the default provider refuses of the
# same key in a file is refused, and nothing else. Then X9.31.
use strict;
use warnings;

use MIME::Base64 qw(encode_base64 encode_base64url);
use Test::More;
use P11::Cli;
use P11::Count;
use P11::Errors;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $dir = scratch();
my %token = (
    all => P11::Token->needs('SoftHSM', label => 'all'),
    raw => P11::Token->needs('SoftHSM', label => 'raw',
                             mechanisms => 'CKM_RSA_X_509'),
);
my %count = map { $_ => P11::Count->new($token{$_}) } keys %token;
my %how = map { $_ => { env => $count{$_}->token->conf_env } } keys %token;
my $data = spew("$dir/data", join "\n", 1 .. 200);
my $other = spew("$dir/other", join "\n", 1 .. 201);
my $sig = "$dir/sig";
my %plain = (env => { OPENSSL_CONF => spew("$dir/plain.cnf",
    "[req]\ndistinguished_name = name\n[name]\n") });

# The numbers alone, which is all that a token knows.
sub numbers_of {
    my ($file) = @_;
    my ($at) = openssl('asn1parse', '-in', $file)->{out}
        =~ /^\s*(\d+):.*OCTET STRING/m;
    openssl('asn1parse', '-in', $file, '-strparse', $at, '-noout',
            '-out', "$file.der");
    openssl(alone(), 'pkey', '-inform', 'DER', '-in', "$file.der",
            '-out', "$file.plain");
    return "$file.plain";
}

sub reference {
    my ($file, $uri) = @_;
    my $spki = openssl(alone(), 'pkey', '-in', $file, '-pubout', '-outform',
                       'DER');
    return bare_reference($file,
                          "$uri?x-public-key=" . encode_base64url($spki->{out}));
}

sub bare_reference {
    my ($file, $uri) = @_;
    my $der = der(0x30, der(0x1a, 'PKCS#11 Provider URI v1.0')
                        . der(0x0c, $uri));
    return spew("$file.ref", "-----BEGIN PKCS#11 PROVIDER URI-----\n"
        . encode_base64($der) . "-----END PKCS#11 PROVIDER URI-----\n");
}

sub import_key {
    my ($kind, $file, $label, $id) = @_;
    my $token = $token{$kind};
    return ok_run({ env => $token->env }, "$kind: $label: imported",
        'softhsm2-util', '--import', $file, '--token', $token->label,
        '--pin', $token->pin, '--label', $label, '--id', $id);
}

# --- keys: restricted in several ways, and not at all ---

my @keys = (
    ['any'],
    ['sha256', 'md:sha256', 'mgf1_md:sha256', 'saltlen:20'],
    ['sha384', 'md:sha384', 'mgf1_md:sha384', 'saltlen:48'],
    ['mixed', 'md:sha512', 'mgf1_md:sha1', 'saltlen:0'],
);
my @tries = (
    [], ['sha1'], ['sha384'], ['sha512'],
    map { my $md = $_; map { [$md, "rsa_pss_saltlen:$_"] }
          qw(0 19 20 32 47 48 digest max auto) } qw(sha256 sha384 sha512),
);
push @tries, ['sha256', 'rsa_padding_mode:pkcs1'],
    ['sha256', 'rsa_padding_mode:none'], ['sha256', 'rsa_padding_mode:x931'],
    ['sha256', 'rsa_padding_mode:pss'], ['sha256', 'rsa_mgf1_md:sha1'],
    ['sha512', 'rsa_mgf1_md:sha1'], ['sha512', 'rsa_mgf1_md:sha512'];

my $id = 0;
for my $row (@keys) {
    my ($label, @restrictions) = @$row;
    my $file = "$dir/$label.pem";
    ok_alone("$label: made", 'genpkey', '-algorithm', 'RSA-PSS', '-pkeyopt',
             'rsa_keygen_bits:2048', (map { ('-pkeyopt', "rsa_pss_keygen_$_") }
             @restrictions), '-out', $file);
    ok_openssl(\%plain, "$label: its certificate", 'req', '-x509', '-new',
               '-key', $file, '-subj', "/CN=$label", '-out', "$file.crt");
    openssl(alone(), 'x509', '-in', "$file.crt", '-outform', 'DER', '-out',
            "$file.cer");
    openssl(alone(), 'pkey', '-in', $file, '-pubout', '-out', "$file.pub");
    my %uri;
    for my $kind (qw(all raw)) {
        my $hex = sprintf '%02x', ++$id;
        import_key($kind, numbers_of($file), $label, $hex);
        $token{$kind}->add_certificate("$file.cer", "$label", $hex);
        $uri{$kind} = $token{$kind}->uri(id => "%$hex");
        my $told = openssl($how{$kind}, 'pkey', '-in', $uri{$kind}, '-pubout');
        is($told->{out}, slurp("$file.pub"),
           "$kind: $label: as its certificate says");
    }
    my @names = (['all', 'by id', $uri{all}],
                 ['raw', 'by label', $token{raw}->uri(object => $label)],
                 ['all', 'by reference', reference($file, $uri{all})]);
    for my $i (0 .. $#tries) {
        my ($md, @options) = @{ $tries[$i] };
        my @how = ('dgst', defined $md ? "-$md" : (),
                   (map { ('-sigopt', $_) } @options));
        my $wanted = openssl(alone(), @how, '-sign', $file, '-out', $sig,
                             $data);
        my ($kind, $by, $key) = @{ $names[$i % @names] };
        my $name = join ' ', $label, $by, $md // 'default', @options;
        unlink $sig;
        my $result;
        my $calls = $count{$kind}->during(sub {
            $result = openssl($how{$kind}, @how, '-sign', $key, '-out', $sig,
                              $data);
        });
        is($result->{status}, $wanted->{status}, "$name: as by default ("
           . ($wanted->{status} ? 'refused)' : 'signed)'))
            or diag($result->{err});
        is($calls->{C_Sign} // 0, $wanted->{status} ? 0 : 1,
           "$name: the token knows");
        next if $wanted->{status};
        my @verify = (@how, '-verify', "$file.pub", '-signature', $sig);
        s/saltlen:auto/saltlen:max/ for @verify;
        ok_alone("$name: verified", @verify, $data);
        alone_fails("$name: nothing else", qr/failure/i, @verify, $other)
            if $i % 4 == 0;
    }
    openssl_fails($how{all}, "$label: it decrypts nothing", qr/rror/,
                  'pkeyutl', '-decrypt', '-inkey', $uri{all}, '-in', $sig);
    # The reference that is written of it holds the restriction.
    ok_openssl($how{all}, "$label: its reference", 'pkey', '-in', $uri{all},
               '-out', "$dir/written.pem");
    is(openssl($how{all}, 'pkey', '-in', "$dir/written.pem", '-pubout')
       ->{out}, slurp("$file.pub"), "$label: has it too");
    # What it signs is accepted as the certificate's.
    ok_openssl($how{all}, "$label: a request", 'req', '-new', '-key',
               $uri{all}, '-subj', "/CN=$label", '-out', "$dir/x.csr");
    like(openssl(alone(), 'req', '-in', "$dir/x.csr", '-verify', '-noout',
                 '-text')->{out}, qr/Public Key Algorithm: rsassaPss/,
         "$label: and says so");
    ok_openssl(\%plain, "$label: and is good", 'req', '-in', "$dir/x.csr",
               '-verify', '-noout');
}

# With a certificate that does not restrict it, a key is what it is.
my $plain_uri = do {
    my $file = numbers_of("$dir/sha256.pem");
    ok_openssl(\%plain, 'a certificate of the same numbers', 'req', '-x509',
               '-new', '-key', $file, '-subj', '/CN=plain', '-outform',
               'DER', '-out', "$file.cer");
    $token{all}->add_certificate("$file.cer", 'plain', '03');
    $token{all}->uri(id => '%03');
};
ok_openssl($how{all}, 'with two certificates it is unrestricted', 'dgst',
           '-sha1', '-sign', $plain_uri, '-out', $sig, $data);
ok_alone('and signs so', 'dgst', '-sha1', '-prverify',
         "$dir/sha256.pem.plain", '-signature', $sig, $data);

# --- many keys of one token, none of them named ---

my $restricted = "$dir/sha256.pem";
$token{$_} = P11::Token->needs('SoftHSM', label => $_) for qw(single many);
for my $i (0 .. 12) {
    my ($kind, $hex) = ($i == 0 ? 'single' : 'many', sprintf '%02x', $i);
    import_key($kind, "$restricted.plain", "key $i", $hex);
    $token{$kind}->add_certificate("$restricted.cer", "key $i", $hex);
}
ok_alone('a key without a certificate', 'genpkey', '-algorithm', 'RSA',
         '-pkeyopt', 'rsa_keygen_bits:1024', '-out', "$dir/free.pem");
import_key('many', "$dir/free.pem", 'free', 'ff');

for my $row (['single', 1, 0], ['many', 12, 1]) {
    my ($kind, @wanted) = @$row;
    my $listed = openssl({ env => $token{$kind}->conf_env }, 'storeutl',
                         '-keys', $token{$kind}->uri);
    my %kinds;
    for my $pem ($listed->{out} =~ /^(-----BEGIN P.*?^-----END.*?\n)/msg) {
        my $told = openssl({ env => $token{$kind}->conf_env }, 'pkey', '-in',
                           spew("$dir/listed.pem", $pem), '-pubout');
        $kinds{$told->{out} eq slurp("$restricted.pub")}++;
    }
    is_deeply([@kinds{1, ''}], [$wanted[0], $wanted[1] || undef],
              "$kind: $wanted[0] of those listed are restricted, by searches "
              . 'and by an index, and no other')
        or diag($listed->{err});
}
is(openssl({ env => $token{single}->conf_env }, 'pkey', '-pubout', '-in',
           bare_reference("$dir/single", $token{single}->uri(
               type => 'private')))->{out}, slurp("$restricted.pub"),
   'the only key of a token, by a reference');

# --- X9.31 ---

my $key = "$dir/rsa.pem";
ok_alone('an RSA key', 'genpkey', '-algorithm', 'RSA', '-pkeyopt',
         'rsa_keygen_bits:2048', '-out', $key);
import_key($_, $key, 'rsa', 'aa') for qw(all raw);
my @x931 = ('-sigopt', 'rsa_padding_mode:x931');
for my $row (
    # what is feigned; refused where a pattern is there
    ['raw RSA', 'raw', [], undef],
    ['raw RSA and more', 'all', [], undef],
    ['X9.31', 'all', [mechanisms => '0x1 0xb', x931 => 1], undef],
    # The token refuses what it offers: the other way is gone.
    ['X9.31 in vain, and raw RSA', 'all', [mechanisms => '0xb 0x3'], undef],
    ['PKCS#1 only', 'all', [mechanisms => '0x1'],
     qr/does not offer CKM_RSA_X9_31 nor CKM_RSA_X_509/],
    ['no RSA', 'all', [mechanisms => '0x1041'],
     qr/does not offer CKM_RSA_X9_31 nor CKM_RSA_X_509/],
) {
    my ($name, $kind, $feigned, $refusal) = @$row;
    my $count = P11::Count->new($token{$kind}, @$feigned);
    my $how = { env => $count->token->conf_env };
    my $uri = $token{$kind}->uri(object => 'rsa');
    for my $md (qw(sha1 sha256 sha384 sha512)) {
        my @sign = ('dgst', "-$md", @x931, '-sign');
        if (defined $refusal) {
            my $judge = $name eq 'no RSA' ? \&refused : \&openssl_refuses;
            $judge->($how, "X9.31 with $name", $refusal, @sign, $uri, '-out',
                     $sig, $data);
            next;
        }
        ok_openssl($how, "$name: $md: signed", @sign, $uri, '-out', $sig,
                   $data);
        ok_alone("$name: $md: by default", @sign, $key, '-out', "$sig.soft",
                 $data);
        is(slurp($sig), slurp("$sig.soft"), "$name: $md: the same");
        ok_alone("$name: $md: verified", 'dgst', "-$md", @x931, '-prverify',
                 $key, '-signature', $sig, $data);
        alone_fails("$name: $md: nothing else", qr/failure/i, 'dgst', "-$md",
                    @x931, '-prverify', $key, '-signature', $sig, $other);
    }
    openssl_fails($how, "$name: no such hash", qr/invalid x931 digest|rror/,
                  'dgst', '-sha224', @x931, '-sign', $uri, '-out', $sig,
                  $data);
}
errors_are_on_page();
done_testing();
